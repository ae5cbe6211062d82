//! A BERT encoder as a graph of ONNX Runtime's fused operators.
//!
//! Inputs `input_ids` and `attention_mask` (int64, batch x sequence), output
//! `last_hidden_state` (f32, batch x sequence x hidden). Padding sits on the right and
//! is masked; it has no influence on the vectors of the tokens before it.
//!
//! A cross-encoder (weights with a classifier) takes `token_type_ids` as well and gives
//! `logits` (f32, batch x labels): the first token's vector through the pooler and the
//! classifier, as BertForSequenceClassification does it. In integers its last layer is
//! computed for the first token alone, which saves it all but the keys and the values.
//! Without a pooler `logits` are those of every token (batch x sequence x labels), as
//! BertForTokenClassification has it.

use std::ops::Range;

use super::builder::{Attribute, Dimension, GraphBuilder, float_bytes};
use super::calibrate::Calibration;
use super::onnx::ElementType;
use super::quantize::{self, QuantizedDense};
use super::weights::{Activation, BertConfig, BertWeights, Classifier, Dense, Layer, Norm};
use crate::error::Result;

/// Whether all texts of the batch have the same length.
const UNPADDED: &str = "unpadded";

/// In what numbers the dense layers are computed.
#[derive(Clone, Copy)]
pub(crate) enum Arithmetic<'a> {
    /// fp32.
    Float,
    /// fp32, with the inputs of every dense layer as further outputs, named by [`tap`].
    Tapped,
    /// u8 activations by i8 weights, with the activations' scales fixed beforehand.
    Integer(&'a Calibration),
}

/// The dense layers whose inputs are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Site {
    Qkv,
    AttentionOutput,
    Up,
    Down,
}

impl Site {
    pub(crate) const ALL: [Site; 4] = [Site::Qkv, Site::AttentionOutput, Site::Up, Site::Down];
}

/// Name of the value that feeds a dense layer.
pub(crate) fn tap(layer: usize, site: Site) -> String {
    let part = match site {
        Site::Qkv => "input",
        Site::AttentionOutput => "context",
        Site::Up => "attended",
        Site::Down => "activated",
    };
    format!("layer.{layer}.{part}")
}

/// Writes the graph; returns the model and, where `external` names a file, the contents
/// of that file with the word embeddings.
///
/// # Errors
/// Bug, when the calibration is of another model.
pub(crate) fn build(
    config: &BertConfig,
    weights: &BertWeights,
    arithmetic: Arithmetic<'_>,
    external: Option<&str>,
) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let mut writer = Writer {
        graph: GraphBuilder::new(external),
        config,
        arithmetic,
    };
    let batch = [
        Dimension::Named("batch_size"),
        Dimension::Named("sequence_length"),
    ];
    writer.graph.input("input_ids", ElementType::Int64, &batch);
    writer
        .graph
        .input("attention_mask", ElementType::Int64, &batch);
    if weights.second_type.is_some() {
        writer
            .graph
            .input("token_type_ids", ElementType::Int64, &batch);
    }
    let hidden = [batch[0], batch[1], Dimension::Fixed(config.hidden)];

    let mask = writer.graph.node(
        "Cast",
        &["attention_mask"],
        "mask",
        &[("to", Attribute::Int(ElementType::Int32 as i64))],
    );
    if let Arithmetic::Integer(_) = arithmetic {
        let least = writer.graph.node(
            "ReduceMin",
            &[&mask],
            "mask.least",
            &[("keepdims", Attribute::Int(0))],
        );
        writer.graph.node(
            "Cast",
            &[&least],
            UNPADDED,
            &[("to", Attribute::Int(ElementType::Bool as i64))],
        );
    }
    let mut x = writer.embeddings(weights);
    let last = weights.layers.len();
    for (index, layer) in weights.layers.iter().enumerate() {
        let output = if index + 1 == last {
            "last_hidden_state".to_owned()
        } else {
            tap(index + 1, Site::Qkv)
        };
        let pooled = weights.classifier.as_ref();
        let pooled = pooled.is_some_and(|classifier| classifier.pooler.is_some());
        let first_alone = index + 1 == last && pooled;
        let first_alone = first_alone && matches!(arithmetic, Arithmetic::Integer(_));
        x = writer.layer(index, layer, &x, &mask, &output, first_alone)?;
    }
    match &weights.classifier {
        // What is calibrated is the layers.
        Some(classifier) if !matches!(arithmetic, Arithmetic::Tapped) => {
            let logits = writer.classifier(classifier, &x);
            let labels = Dimension::Fixed(classifier.labels.outputs);
            match classifier.pooler {
                Some(_) => writer
                    .graph
                    .output(&logits, ElementType::Float, &[batch[0], labels]),
                None => {
                    writer
                        .graph
                        .output(&logits, ElementType::Float, &[batch[0], batch[1], labels])
                }
            }
        }
        _ => writer.graph.output(&x, ElementType::Float, &hidden),
    }
    if matches!(arithmetic, Arithmetic::Tapped) {
        for layer in 0..last {
            for site in Site::ALL {
                let wide = match site {
                    Site::Down => config.intermediate,
                    _ => config.hidden,
                };
                let shape = [batch[0], batch[1], Dimension::Fixed(wide)];
                writer
                    .graph
                    .output(&tap(layer, site), ElementType::Float, &shape);
            }
        }
    }
    Ok(writer.graph.finish())
}

pub(super) struct Writer<'a> {
    pub graph: GraphBuilder,
    pub config: &'a BertConfig,
    pub arithmetic: Arithmetic<'a>,
}

impl Writer<'_> {
    pub(super) fn embeddings(&mut self, weights: &BertWeights) -> String {
        let (vocabulary, hidden) = (self.config.vocabulary, self.config.hidden);
        let words = if let Arithmetic::Integer(_) = self.arithmetic {
            let (rows, scales) = quantize::rows(&weights.words, hidden);
            let bytes = rows.iter().map(|v| v.cast_unsigned()).collect();
            let table = self
                .graph
                .large("word", ElementType::Int8, &[vocabulary, hidden], bytes);
            let scales = self.graph.large(
                "word.scale",
                ElementType::Float,
                &[vocabulary, 1],
                float_bytes(&scales),
            );
            let rows = self.gather(&table, "word.integers");
            let scales = self.gather(&scales, "word.scales");
            let rows = self.graph.node(
                "Cast",
                &[&rows],
                "word.floats",
                &[("to", Attribute::Int(ElementType::Float as i64))],
            );
            self.graph.node("Mul", &[&rows, &scales], "words", &[])
        } else {
            let bytes = float_bytes(&weights.words);
            let table = self
                .graph
                .large("word", ElementType::Float, &[vocabulary, hidden], bytes);
            self.gather(&table, "words")
        };
        // Positions 0 to length - 1, the same for every text of the batch.
        let table = self.graph.floats(
            "position",
            &[self.config.positions, hidden],
            &weights.positions,
        );
        let length = self.graph.node(
            "Shape",
            &["input_ids"],
            "length",
            &[("start", Attribute::Int(1)), ("end", Attribute::Int(2))],
        );
        let zero = self.graph.integers("zero", &[0]);
        let positions =
            self.graph
                .node("Slice", &[&table, &zero, &length, &zero], "positions", &[]);
        let places = match &weights.second_type {
            None => positions,
            Some(difference) => self.with_types(&positions, difference),
        };
        self.skip_norm(
            &words,
            &places,
            None,
            &weights.embedding_norm,
            "embeddings.norm",
            &tap(0, Site::Qkv),
        )
    }

    /// What every token gets for its place, and those of the second type for that.
    fn with_types(&mut self, positions: &str, difference: &[f32]) -> String {
        let hidden = self.config.hidden;
        let second = self.graph.floats("type.second", &[hidden], difference);
        let to = [("to", Attribute::Int(ElementType::Float as i64))];
        let types = self
            .graph
            .node("Cast", &["token_type_ids"], "types.floats", &to);
        let axis = self.graph.integers("types.axis", &[2]);
        let column = self
            .graph
            .node("Unsqueeze", &[&types, &axis], "types.column", &[]);
        let added = self.graph.node("Mul", &[&column, &second], "types", &[]);
        self.graph
            .node("Add", &[positions, &added], "positions.typed", &[])
    }

    /// Scores out of the first token's vector, or without a pooler out of every token's.
    fn classifier(&mut self, classifier: &Classifier, x: &str) -> String {
        let Some(pooler) = &classifier.pooler else {
            return self.plain(&classifier.labels, x, "logits");
        };
        let first = self.graph.integer("first", 0);
        let along = [("axis", Attribute::Int(1))];
        let state = self
            .graph
            .node("Gather", &[x, &first], "first.state", &along);
        let pooled = self.plain(pooler, &state, "pooler");
        let pooled = self.graph.node("Tanh", &[&pooled], "pooled", &[]);
        self.plain(&classifier.labels, &pooled, "logits")
    }

    /// A dense layer in floats.
    pub(super) fn plain(&mut self, dense: &Dense, x: &str, output: &str) -> String {
        let part = |part: &str| format!("{output}.{part}");
        let shape = [dense.inputs, dense.outputs];
        let weight = self.graph.floats(&part("weight"), &shape, &dense.weight);
        let bias = self
            .graph
            .floats(&part("bias"), &[dense.outputs], &dense.bias);
        let product = self
            .graph
            .node("MatMul", &[x, &weight], &part("product"), &[]);
        self.graph.node("Add", &[&product, &bias], output, &[])
    }

    /// The first token of each text.
    fn first(&mut self, x: &str) -> String {
        let zero = self.graph.integers(&format!("{x}.first.zero"), &[0]);
        let one = self.graph.integers(&format!("{x}.first.one"), &[1]);
        let output = format!("{x}.first");
        self.graph
            .node("Slice", &[x, &zero, &one, &one], &output, &[])
    }

    pub(super) fn gather(&mut self, table: &str, output: &str) -> String {
        self.graph.node(
            "Gather",
            &[table, "input_ids"],
            output,
            &[("axis", Attribute::Int(0))],
        )
    }

    pub(super) fn layer(
        &mut self,
        index: usize,
        layer: &Layer,
        x: &str,
        mask: &str,
        output: &str,
        first_alone: bool,
    ) -> Result<String> {
        let name = |part: &str| format!("layer.{index}.{part}");
        let context = self.attention(index, &layer.qkv, x, mask, first_alone)?;
        let first;
        let x = match first_alone {
            false => x,
            true => {
                first = self.first(x);
                &first
            }
        };
        let (mixed, bias) = self.dense(
            index,
            Site::AttentionOutput,
            &layer.attention_output,
            &context,
            &name("mixed"),
        )?;
        let attended = self.skip_norm(
            x,
            &mixed,
            bias.as_deref(),
            &layer.attention_norm,
            &name("attended.norm"),
            &tap(index, Site::Up),
        );

        let (up, bias) = self.dense(index, Site::Up, &layer.up, &attended, &name("up"))?;
        let activated = self.activation(&up, bias.as_deref(), &tap(index, Site::Down));
        let (down, bias) = self.dense(index, Site::Down, &layer.down, &activated, &name("down"))?;
        Ok(self.skip_norm(
            &attended,
            &down,
            bias.as_deref(),
            &layer.output_norm,
            &name("output.norm"),
            output,
        ))
    }

    /// Self-attention up to the weighted sum of the values; of the first token alone where
    /// that is all that is wanted.
    fn attention(
        &mut self,
        index: usize,
        qkv: &Dense,
        x: &str,
        mask: &str,
        first_alone: bool,
    ) -> Result<String> {
        let output = tap(index, Site::AttentionOutput);
        let heads = [("num_heads", Attribute::Int(self.config.heads as i64))];
        let name = format!("layer.{index}.qkv");
        let Arithmetic::Integer(calibration) = self.arithmetic else {
            let weight = self.graph.floats(
                &format!("{name}.weight"),
                &[qkv.inputs, qkv.outputs],
                &qkv.weight,
            );
            let bias = self
                .graph
                .floats(&format!("{name}.bias"), &[qkv.outputs], &qkv.bias);
            return Ok(self.graph.contrib(
                "Attention",
                &[x, &weight, &bias, mask],
                &output,
                &heads,
            ));
        };
        let quantized = quantize::dense(qkv, calibration.range(index, Site::Qkv)?);
        let input = self.quantize(&quantized, x, &name);
        let asking = match first_alone {
            false => input.clone(),
            true => QuantizedInput {
                integers: self.first(&input.integers),
                ..input.clone()
            },
        };
        let [query, key, value] = [(0, "query"), (1, "key"), (2, "value")].map(|(part, what)| {
            let third = self.config.hidden;
            let columns = part * third..(part + 1) * third;
            let output = format!("layer.{index}.{what}");
            let input = if part == 0 { &asking } else { &input };
            self.multiply(&quantized, columns, &qkv.bias, input, &output)
        });
        // Without a mask to apply, the runtime computes attention block by block (Dao et
        // al. 2022), which is a quarter faster on long texts.
        Ok(self.graph.either(
            UNPADDED,
            "MultiHeadAttention",
            [&[&query, &key, &value], &[&query, &key, &value, "", mask]],
            &output,
            &heads,
        ))
    }

    /// A dense layer. Returns the product and, when it is still to be added by the
    /// operator that follows, the name of the bias.
    fn dense(
        &mut self,
        index: usize,
        site: Site,
        dense: &Dense,
        x: &str,
        output: &str,
    ) -> Result<(String, Option<String>)> {
        let Arithmetic::Integer(calibration) = self.arithmetic else {
            let bias = self
                .graph
                .floats(&format!("{output}.bias"), &[dense.outputs], &dense.bias);
            let weight = self.graph.floats(
                &format!("{output}.weight"),
                &[dense.inputs, dense.outputs],
                &dense.weight,
            );
            let product = self.graph.node("MatMul", &[x, &weight], output, &[]);
            return Ok((product, Some(bias)));
        };
        let quantized = quantize::dense(dense, calibration.range(index, site)?);
        let input = self.quantize(&quantized, x, output);
        let columns = 0..dense.outputs;
        let product = self.multiply(&quantized, columns, &dense.bias, &input, output);
        Ok((product, None))
    }

    /// Quantises the input of a dense layer.
    fn quantize(&mut self, dense: &QuantizedDense, x: &str, name: &str) -> QuantizedInput {
        let part = |part: &str| format!("{name}.input.{part}");
        let scaled = match &dense.factors {
            None => x.to_owned(),
            Some(factors) => {
                let factors = self
                    .graph
                    .floats(&part("factors"), &[factors.len()], factors);
                self.graph.node("Mul", &[x, &factors], &part("scaled"), &[])
            }
        };
        let scale = self.graph.floats(&part("scale"), &[], &[dense.input_scale]);
        let zero = self.graph.unsigned(&part("zero"), &[], &[dense.input_zero]);
        let integers = self.graph.node(
            "QuantizeLinear",
            &[&scaled, &scale, &zero],
            &part("integers"),
            &[],
        );
        QuantizedInput {
            integers,
            scale,
            zero,
        }
    }

    /// Multiplies a quantised input by some columns of the weights and adds their bias.
    fn multiply(
        &mut self,
        dense: &QuantizedDense,
        columns: Range<usize>,
        bias: &[f32],
        input: &QuantizedInput,
        output: &str,
    ) -> String {
        let part = |part: &str| format!("{output}.{part}");
        let all = dense.scales.len().max(1);
        let weights: Vec<i8> = dense
            .weights
            .chunks_exact(all)
            .flat_map(|row| &row[columns.clone()])
            .copied()
            .collect();
        let width = columns.len();
        let weight = self.graph.signed(
            &part("weight"),
            &[dense.weights.len() / all, width],
            &weights,
        );
        let weight_scale = self.graph.floats(
            &part("weight.scale"),
            &[width],
            &dense.scales[columns.clone()],
        );
        let weight_zero = self
            .graph
            .signed(&part("weight.zero"), &[width], &vec![0; width]);
        let bias = self.graph.floats(&part("bias"), &[width], &bias[columns]);
        self.graph.contrib(
            "MatMulIntegerToFloat",
            &[
                &input.integers,
                &weight,
                &input.scale,
                &weight_scale,
                &input.zero,
                &weight_zero,
                &bias,
            ],
            output,
            &[],
        )
    }

    pub(super) fn activation(&mut self, x: &str, bias: Option<&str>, output: &str) -> String {
        match (self.config.activation, bias) {
            (Activation::Gelu, Some(bias)) => {
                self.graph.contrib("BiasGelu", &[x, bias], output, &[])
            }
            (Activation::Gelu, None) => self.graph.contrib("Gelu", &[x], output, &[]),
            (Activation::GeluTanh, Some(bias)) => {
                self.graph.contrib("FastGelu", &[x, bias], output, &[])
            }
            (Activation::GeluTanh, None) => self.graph.contrib("FastGelu", &[x], output, &[]),
            (Activation::Relu, None) => self.graph.node("Relu", &[x], output, &[]),
            (Activation::Relu, Some(bias)) => {
                let sum = self
                    .graph
                    .node("Add", &[x, bias], &format!("{output}.sum"), &[]);
                self.graph.node("Relu", &[&sum], output, &[])
            }
        }
    }

    /// Layer normalisation of `x + skip + bias`. In separate operators: the runtime's
    /// fused one (SkipLayerNormalization) takes six times as long on a processor.
    pub(super) fn skip_norm(
        &mut self,
        x: &str,
        skip: &str,
        bias: Option<&str>,
        norm: &Norm,
        name: &str,
        output: &str,
    ) -> String {
        let hidden = self.config.hidden;
        let part = |part: &str| format!("{name}.{part}");
        let gamma = self.graph.floats(&part("gamma"), &[hidden], &norm.gamma);
        let beta = self.graph.floats(&part("beta"), &[hidden], &norm.beta);
        let biased = match bias {
            Some(bias) => self.graph.node("Add", &[skip, bias], &part("biased"), &[]),
            None => skip.to_owned(),
        };
        let sum = self.graph.node("Add", &[x, &biased], &part("sum"), &[]);
        self.graph.node(
            "LayerNormalization",
            &[&sum, &gamma, &beta],
            output,
            &[
                ("axis", Attribute::Int(-1)),
                ("epsilon", Attribute::Float(self.config.epsilon)),
            ],
        )
    }
}

/// Names of a quantised input's values.
#[derive(Clone)]
struct QuantizedInput {
    integers: String,
    scale: String,
    zero: String,
}
