//! A generator's graphs: a BERT that reads, and a small decoder that writes with the same embeddings.
//!
//! Inputs and outputs have optimum's names (`model::generator`). Three graphs share one file of word
//! embeddings: what reads, what writes a whole answer, and what writes one more token. In fp32.
//!
//! The encoder adds a vector to the states of a mention's tokens, before its first trained layer,
//! and part of the embeddings to what it gives. The decoder's layers are BERT's with an attention to
//! what was read; what they give is compared with the words' embeddings.

use super::bert::{Arithmetic, Writer};
use super::builder::{Attribute, Dimension, GraphBuilder, float_bytes};
use super::onnx::ElementType;
use super::weights::{BertConfig, BertWeights, DecoderLayer, DecoderWeights, Dense, Norm};
use crate::error::{Error, Result};

/// What tells the encoder where a mention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Token before a mention.
    pub opening: u32,
    /// Token after it.
    pub closing: u32,
    /// The layer from which on its tokens are marked.
    pub layer: usize,
}

/// The serialised graphs, and the contents of the file that they share.
pub(crate) struct GeneratorGraphs {
    pub encoder: Vec<u8>,
    pub decoder: Vec<u8>,
    pub with_past: Vec<u8>,
    pub external: Vec<u8>,
}

const BATCH: Dimension = Dimension::Named("batch_size");
/// Tokens of an answer, of an input, of an answer before and with the new ones.
const LENGTH: Dimension = Dimension::Named("decoder_sequence_length");
const READ: Dimension = Dimension::Named("encoder_sequence_length");
const BEFORE: Dimension = Dimension::Named("past_decoder_sequence_length");
const ALL: Dimension = Dimension::Named("past_decoder_sequence_length + 1");

/// Writes the graphs.
///
/// # Errors
/// Bug, where a mark lies past the last layer.
pub(super) fn build(
    config: &BertConfig,
    weights: &BertWeights,
    decoder: &DecoderWeights,
    marks: Marks,
    external: &str,
) -> Result<GeneratorGraphs> {
    let writer = || Writer {
        graph: GraphBuilder::new(Some(external)),
        config,
        arithmetic: Arithmetic::Float,
    };
    let (encoder, words) = encoder(writer(), weights, decoder, marks)?;
    let (whole, of_whole) = writes(writer(), weights, decoder, false);
    let (with_past, of_past) = writes(writer(), weights, decoder, true);
    if words != of_whole || words != of_past {
        return Err(Error::Bug(
            "the graphs of a generator do not share their words".to_owned(),
        ));
    }
    Ok(GeneratorGraphs {
        encoder,
        decoder: whole,
        with_past,
        external: words,
    })
}

fn encoder(
    mut writer: Writer<'_>,
    weights: &BertWeights,
    decoder: &DecoderWeights,
    marks: Marks,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let hidden = writer.config.hidden;
    let length = Dimension::Named("sequence_length");
    for input in ["input_ids", "attention_mask"] {
        writer
            .graph
            .input(input, ElementType::Int64, &[BATCH, length]);
    }
    let mask = cast(
        &mut writer.graph,
        "attention_mask",
        ElementType::Int32,
        "mask",
    );
    let embedded = writer.embeddings(weights);
    let mut x = embedded.clone();
    for (index, layer) in weights.layers.iter().enumerate() {
        if index == marks.layer {
            x = marked(&mut writer.graph, &x, decoder, marks, hidden);
        }
        // The layer names what it gives as the next one's input, which may be marked first.
        let output = format!("layer.{index}.states");
        x = writer.layer(index, layer, &x, &mask, &output, false)?;
    }
    let graph = &mut writer.graph;
    let copied = graph.floats("copied", &[hidden], &decoder.copied);
    let words = graph.node("Mul", &[&embedded, &copied], "copied.words", &[]);
    let output = graph.node("Add", &[&x, &words], "last_hidden_state", &[]);
    let shape = [BATCH, length, Dimension::Fixed(hidden)];
    graph.output(&output, ElementType::Float, &shape);
    Ok(finish(writer))
}

/// Adds the mention's vector to the states of its tokens, the marks included.
fn marked(
    graph: &mut GraphBuilder,
    x: &str,
    decoder: &DecoderWeights,
    marks: Marks,
    hidden: usize,
) -> String {
    let axis = graph.integer("mark.axis", 1);
    let mut counted = |name: &str, token: u32| {
        let part = |part: &str| format!("mark.{name}.{part}");
        let id = graph.integer(&part("id"), i64::from(token));
        let there = graph.node("Equal", &["input_ids", &id], &part("there"), &[]);
        let there = cast(graph, &there, ElementType::Float, &part("one"));
        let count = graph.node("CumSum", &[&there, &axis], &part("count"), &[]);
        (there, count)
    };
    let (_, opened) = counted("opening", marks.opening);
    let (closing, closed) = counted("closing", marks.closing);
    let open = graph.node("Sub", &[&opened, &closed], "mark.open", &[]);
    let within = graph.node("Add", &[&open, &closing], "mark.within", &[]);
    let last = graph.integers("mark.last", &[2]);
    let within = graph.node("Unsqueeze", &[&within, &last], "mark.column", &[]);
    let vector = graph.floats("mark.vector", &[hidden], &decoder.mention);
    let added = graph.node("Mul", &[&within, &vector], "mark.added", &[]);
    graph.node("Add", &[x, &added], "mark.states", &[])
}

/// The decoder: of whole answers, or of one token more after what is remembered.
fn writes(
    mut writer: Writer<'_>,
    weights: &BertWeights,
    decoder: &DecoderWeights,
    past: bool,
) -> (Vec<u8>, Vec<u8>) {
    let (hidden, vocabulary) = (writer.config.hidden, writer.config.vocabulary);
    let graph = &mut writer.graph;
    graph.input("input_ids", ElementType::Int64, &[BATCH, LENGTH]);
    graph.input("encoder_attention_mask", ElementType::Int64, &[BATCH, READ]);
    if !past {
        let shape = [BATCH, READ, Dimension::Fixed(hidden)];
        graph.input("encoder_hidden_states", ElementType::Float, &shape);
    }
    cast(graph, "encoder_attention_mask", ElementType::Int32, "mask");
    let (mut x, table) = places(&mut writer, weights, past);
    for (index, layer) in decoder.layers.iter().enumerate() {
        x = layer_of(&mut writer, index, layer, &x, past);
    }
    let x = writer.plain(&decoder.transform, &x, "transform");
    let x = norm(
        &mut writer,
        &decoder.transform_norm,
        &x,
        "transform.norm",
        "compared",
    );
    let graph = &mut writer.graph;
    let flat = graph.integers("flat", &[-1, hidden as i64]);
    let rows = graph.node("Reshape", &[&x, &flat], "rows", &[]);
    let bias = graph.floats("word.bias", &[vocabulary], &decoder.bias);
    let transposed = [("transB", Attribute::Int(1))];
    let logits = graph.node("Gemm", &[&rows, &table, &bias], "logits.rows", &transposed);
    let shape = graph.node("Shape", &["input_ids"], "shape", &[]);
    let width = graph.integers("vocabulary", &[vocabulary as i64]);
    let along = [("axis", Attribute::Int(0))];
    let shape = graph.node("Concat", &[&shape, &width], "logits.shape", &along);
    graph.node("Reshape", &[&logits, &shape], "logits", &[]);
    let shape = [BATCH, LENGTH, Dimension::Fixed(vocabulary)];
    graph.output("logits", ElementType::Float, &shape);
    finish(writer)
}

/// Embeddings of what is written, and the table of words.
fn places(writer: &mut Writer<'_>, weights: &BertWeights, past: bool) -> (String, String) {
    let (config, graph) = (writer.config, &mut writer.graph);
    let shape = [config.vocabulary, config.hidden];
    let bytes = float_bytes(&weights.words);
    let table = graph.large("word", ElementType::Float, &shape, bytes);
    let shape = [config.positions, config.hidden];
    let positions = graph.floats("position", &shape, &weights.positions);
    let of = |axis: i64| {
        [
            ("start", Attribute::Int(axis)),
            ("end", Attribute::Int(axis + 1)),
        ]
    };
    let zero = graph.integers("zero", &[0]);
    let length = graph.node("Shape", &["input_ids"], "length", &of(1));
    let (from, to) = match past {
        false => (zero.clone(), length),
        true => {
            let before = graph.node(
                "Shape",
                &[&remembered(0, "decoder", "key")],
                "before",
                &of(2),
            );
            let all = graph.node("Add", &[&before, &length], "all", &[]);
            (before, all)
        }
    };
    let places = graph.node("Slice", &[&positions, &from, &to, &zero], "positions", &[]);
    let words = writer.gather(&table, "words");
    let norm = &weights.embedding_norm;
    let x = writer.skip_norm(&words, &places, None, norm, "embeddings.norm", "embedded");
    (x, table)
}

/// Name of what a graph takes of what is remembered.
fn remembered(layer: usize, of: &str, what: &str) -> String {
    format!("past_key_values.{layer}.{of}.{what}")
}

fn layer_of(
    writer: &mut Writer<'_>,
    index: usize,
    layer: &DecoderLayer,
    x: &str,
    past: bool,
) -> String {
    let name = |part: &str| format!("layer.{index}.{part}");
    let (heads, size) = (
        writer.config.heads,
        writer.config.hidden / writer.config.heads,
    );
    let (heads_fixed, size_fixed) = (Dimension::Fixed(heads), Dimension::Fixed(size));
    let shape = |length: Dimension| [BATCH, heads_fixed, length, size_fixed];
    let count = ("num_heads", Attribute::Int(heads as i64));
    let own = |what: &str| remembered(index, "decoder", what);
    let theirs = |what: &str| remembered(index, "encoder", what);
    let now = |of: &str, what: &str| format!("present.{index}.{of}.{what}");

    // To what is written.
    let query = writer.plain(&layer.query, x, &name("query"));
    let key = writer.plain(&layer.key, x, &name("key"));
    let value = writer.plain(&layer.value, x, &name("value"));
    let mut inputs = vec![query, key, value];
    if past {
        for what in ["key", "value"] {
            let graph = &mut writer.graph;
            graph.input(&own(what), ElementType::Float, &shape(BEFORE));
        }
        inputs.extend(["", "", ""].map(str::to_owned));
        inputs.extend([own("key"), own("value")]);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let outputs = [
        name("context"),
        now("decoder", "key"),
        now("decoder", "value"),
    ];
    let outputs = outputs.each_ref().map(String::as_str);
    let causal = [count, ("unidirectional", Attribute::Int(1))];
    let graph = &mut writer.graph;
    graph.contrib_many("MultiHeadAttention", &inputs, &outputs, &causal);
    let length = if past { ALL } else { LENGTH };
    for what in ["key", "value"] {
        graph.output(&now("decoder", what), ElementType::Float, &shape(length));
    }
    let attention = (&layer.attention_output, &layer.attention_norm);
    let x = mixed(writer, attention, x, &name("context"), &name("attended"));

    // To what was read.
    let query = writer.plain(&layer.cross_query, &x, &name("cross.query"));
    let context = name("cross.context");
    if past {
        for what in ["key", "value"] {
            let graph = &mut writer.graph;
            graph.input(&theirs(what), ElementType::Float, &shape(READ));
        }
        let inputs = [&query, &theirs("key"), &theirs("value"), "", "mask"];
        let graph = &mut writer.graph;
        graph.contrib("MultiHeadAttention", &inputs, &context, &[count]);
    } else {
        let states = "encoder_hidden_states";
        let key = writer.plain(&layer.cross_key, states, &name("cross.key"));
        let value = writer.plain(&layer.cross_value, states, &name("cross.value"));
        let inputs = [query.as_str(), &key, &value, "", "mask"];
        let (keys, values) = (now("encoder", "key"), now("encoder", "value"));
        let graph = &mut writer.graph;
        let outputs = [context.as_str(), &keys, &values];
        graph.contrib_many("MultiHeadAttention", &inputs, &outputs, &[count]);
        for output in [&keys, &values] {
            graph.output(output, ElementType::Float, &shape(READ));
        }
    }
    let attention = (&layer.cross_output, &layer.cross_norm);
    let x = mixed(writer, attention, &x, &context, &name("informed"));

    let up = writer.plain(&layer.up, &x, &name("up"));
    let activated = writer.activation(&up, None, &name("activated"));
    let feed = (&layer.down, &layer.output_norm);
    mixed(writer, feed, &x, &activated, &name("states"))
}

/// A dense layer's part added to what it came from, normalised.
fn mixed(
    writer: &mut Writer<'_>,
    (dense, norm): (&Dense, &Norm),
    x: &str,
    part: &str,
    output: &str,
) -> String {
    let dense = writer.plain(dense, part, &format!("{output}.mixed"));
    writer.skip_norm(x, &dense, None, norm, &format!("{output}.norm"), output)
}

fn norm(writer: &mut Writer<'_>, norm: &Norm, x: &str, name: &str, output: &str) -> String {
    let hidden = writer.config.hidden;
    let part = |part: &str| format!("{name}.{part}");
    let gamma = writer.graph.floats(&part("gamma"), &[hidden], &norm.gamma);
    let beta = writer.graph.floats(&part("beta"), &[hidden], &norm.beta);
    let attributes = [
        ("axis", Attribute::Int(-1)),
        ("epsilon", Attribute::Float(writer.config.epsilon)),
    ];
    let inputs = [x, &gamma, &beta];
    writer
        .graph
        .node("LayerNormalization", &inputs, output, &attributes)
}

fn cast(graph: &mut GraphBuilder, x: &str, to: ElementType, output: &str) -> String {
    graph.node("Cast", &[x], output, &[("to", Attribute::Int(to as i64))])
}

fn finish(writer: Writer<'_>) -> (Vec<u8>, Vec<u8>) {
    let (graph, external) = writer.graph.finish();
    (graph, external.unwrap_or_default())
}
