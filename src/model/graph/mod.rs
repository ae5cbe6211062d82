//! ONNX graphs written by ourselves, from published weights.
//!
//! A model folder that holds only `model.safetensors` needs no exporter: the graph is
//! written here, already in ONNX Runtime's fused operators, in fp32 or with int8
//! weights and activations whose scales were fixed beforehand.

mod bert;
pub(super) mod builder;
mod calibrate;
mod generator;
pub(super) mod onnx;
mod quantize;
mod weights;

use std::path::Path;

use prost::Message;

use crate::error::{Error, Result};
use crate::model::files::invalid;
use crate::model::runtime::RuntimeOptions;
use crate::model::tokenizer::{TOKENIZER, TextTokenizer};

use bert::Arithmetic;
use calibrate::Calibration;
use weights::{BertConfig, BertWeights, DecoderWeights};

pub(crate) use generator::{GeneratorGraphs, Marks};
pub(crate) use weights::{CONFIG, Purpose, WEIGHTS};

/// A serialised graph; `external` holds the contents of the file named on request.
pub(crate) struct BuiltGraph {
    pub model: Vec<u8>,
    pub external: Option<Vec<u8>>,
    /// Values per token vector, or labels of a pair.
    pub dimensions: usize,
}

/// Whether a graph of the folder has weights in int8; false for what cannot be read.
pub(crate) fn is_integer(folder: &Path, file: &str) -> bool {
    let Ok(bytes) = std::fs::read(folder.join(file)) else {
        return false;
    };
    let integers = [onnx::ElementType::Uint8, onnx::ElementType::Int8].map(|e| e as i32);
    onnx::ModelProto::decode(bytes.as_slice())
        .ok()
        .and_then(|model| model.graph)
        .is_some_and(|graph| {
            // Zero points alone are single values.
            graph.initializer.iter().any(|tensor| {
                let kind = tensor.data_type.unwrap_or_default();
                integers.contains(&kind) && tensor.dims.iter().product::<i64>() > 1
            })
        })
}

/// A graph of ours that gives its token vectors after every layer as well, as
/// `hidden_states.N`, the embeddings' first.
///
/// # Errors
/// Bug, for a graph that is not ours.
pub(crate) fn with_layers(model: &[u8]) -> Result<Vec<u8>> {
    let mut model = onnx::ModelProto::decode(model)
        .map_err(|e| Error::Bug(format!("a graph of ours cannot be read: {e}")))?;
    let graph = model
        .graph
        .as_mut()
        .ok_or_else(|| Error::Bug("a graph of ours is empty".to_owned()))?;
    let last = graph
        .output
        .first()
        .cloned()
        .ok_or_else(|| Error::Bug("a graph of ours gives nothing".to_owned()))?;
    let made = |name: &String| {
        let nodes = graph.node.iter();
        nodes.flat_map(|node| &node.output).any(|o| o == name)
    };
    let mut states: Vec<String> = (0..)
        .map(|layer| bert::tap(layer, bert::Site::Qkv))
        .take_while(made)
        .collect();
    states.extend(last.name.clone());
    for (layer, state) in states.into_iter().enumerate() {
        let name = format!("hidden_states.{layer}");
        graph.node.push(onnx::NodeProto {
            input: vec![state],
            output: vec![name.clone()],
            name: Some(format!("{name}/Identity")),
            op_type: Some("Identity".to_owned()),
            ..onnx::NodeProto::default()
        });
        graph.output.push(onnx::ValueInfoProto {
            name: Some(name),
            ..last.clone()
        });
    }
    Ok(model.encode_to_vec())
}

/// The shape that `config.json` announces: (hidden size, positions).
///
/// # Errors
/// InvalidModel for a `config.json` we cannot build a graph for.
pub(crate) fn shape(folder: &Path) -> Result<(usize, usize)> {
    let config = BertConfig::read(folder)?;
    Ok((config.hidden, config.positions))
}

/// The fp32 graph of the folder's weights.
///
/// # Errors
/// InvalidModel naming the file that does not fit.
pub(crate) fn float(
    folder: &Path,
    tokenizer: &TextTokenizer,
    purpose: Purpose,
    external: Option<&str>,
) -> Result<BuiltGraph> {
    let config = read_config(folder, tokenizer)?;
    let weights = BertWeights::read(folder, &config, purpose)?;
    let (model, external) = bert::build(&config, &weights, Arithmetic::Float, external)?;
    Ok(BuiltGraph {
        model,
        external,
        dimensions: purpose.width(&config),
    })
}

/// The int8 graph of the folder's weights, calibrated on the built-in texts.
///
/// # Errors
/// As [`float`]; Operator when ONNX Runtime fails.
pub(crate) fn integer(
    folder: &Path,
    tokenizer: &TextTokenizer,
    purpose: Purpose,
    max_tokens: usize,
    options: &RuntimeOptions,
    external: Option<&str>,
) -> Result<BuiltGraph> {
    let config = read_config(folder, tokenizer)?;
    let weights = BertWeights::read(folder, &config, purpose)?;
    let calibration = Calibration::run(&config, &weights, tokenizer, max_tokens, options)?;
    let (model, external) = bert::build(
        &config,
        &weights,
        Arithmetic::Integer(&calibration),
        external,
    )?;
    Ok(BuiltGraph {
        model,
        external,
        dimensions: purpose.width(&config),
    })
}

/// The graphs of a generator: of its folder's weights, which hold a decoder of so many layers.
///
/// # Errors
/// As [`float`].
pub(crate) fn generator(
    folder: &Path,
    tokenizer: &TextTokenizer,
    layers: usize,
    marks: Marks,
    external: &str,
) -> Result<GeneratorGraphs> {
    let config = read_config(folder, tokenizer)?;
    let weights = BertWeights::read(folder, &config, Purpose::Encoder)?;
    let decoder = DecoderWeights::read(folder, &config, layers)?;
    generator::build(&config, &weights, &decoder, marks, external)
}

/// The shape, once it is sure that every token has an embedding.
fn read_config(folder: &Path, tokenizer: &TextTokenizer) -> Result<BertConfig> {
    let config = BertConfig::read(folder)?;
    if tokenizer.vocabulary() > config.vocabulary {
        return Err(
            invalid(TOKENIZER, "the tokenizer knows more tokens than the model")
                .found(tokenizer.vocabulary())
                .expected(format!("at most {}, by {CONFIG}", config.vocabulary))
                .into(),
        );
    }
    Ok(config)
}
