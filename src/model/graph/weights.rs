//! BERT's weights as the published safetensors files hold them.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::Result;
use crate::model::files::{invalid, read, read_json};

/// File of a model's weights.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// File of a model's shape.
pub(crate) const CONFIG: &str = "config.json";

/// Activation between the two feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x Phi(x), by the error function.
    Gelu,
    /// The tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// Shape of a BERT.
#[derive(Debug, Clone)]
pub(crate) struct BertConfig {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub vocabulary: usize,
    pub positions: usize,
    pub token_types: usize,
    pub epsilon: f32,
    pub activation: Activation,
}

#[derive(Deserialize)]
struct ConfigFile {
    model_type: Option<String>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

impl BertConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// InvalidModel for anything but a BERT with absolute positions whose sizes make sense.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file: ConfigFile = read_json(folder, CONFIG)?;
        let unsupported = |key: &str, found: &str, expected: &str| {
            invalid(CONFIG, format!("cannot build a graph for this `{key}`"))
                .found(found)
                .expected(expected)
        };
        let kind = file.model_type.unwrap_or_default();
        if kind != "bert" {
            return Err(unsupported(
                "model_type",
                &kind,
                "bert, or an ONNX file beside it (onnx/model.onnx)",
            )
            .into());
        }
        if let Some(kind) = file.position_embedding_type
            && kind != "absolute"
        {
            return Err(unsupported("position_embedding_type", &kind, "absolute").into());
        }
        let activation = match file.hidden_act.as_deref().unwrap_or("gelu") {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                let expected = "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast or relu";
                return Err(unsupported("hidden_act", other, expected).into());
            }
        };
        let size = |key: &str, value: Option<usize>| {
            value.filter(|&v| v > 0).ok_or_else(|| {
                invalid(CONFIG, format!("`{key}` is missing or zero")).expected("1 or more")
            })
        };
        let config = BertConfig {
            hidden: size("hidden_size", file.hidden_size)?,
            layers: size("num_hidden_layers", file.num_hidden_layers)?,
            heads: size("num_attention_heads", file.num_attention_heads)?,
            intermediate: size("intermediate_size", file.intermediate_size)?,
            vocabulary: size("vocab_size", file.vocab_size)?,
            positions: size("max_position_embeddings", file.max_position_embeddings)?,
            token_types: size("type_vocab_size", file.type_vocab_size.or(Some(2)))?,
            epsilon: file.layer_norm_eps.unwrap_or(1e-12),
            activation,
        };
        if !config.hidden.is_multiple_of(config.heads) {
            return Err(
                invalid(CONFIG, "heads do not divide the hidden size evenly")
                    .found(format!("{} / {}", config.hidden, config.heads))
                    .into(),
            );
        }
        Ok(config)
    }
}

/// A dense layer: `weight` is `inputs` x `outputs` row-major (transposed from PyTorch's),
/// `bias` has `outputs` values.
pub(crate) struct Dense {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub inputs: usize,
    pub outputs: usize,
}

/// Gain and offset of a layer normalisation.
pub(crate) struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// One transformer layer.
pub(crate) struct Layer {
    /// Query, key and value beside each other: hidden x 3 hidden.
    pub qkv: Dense,
    pub attention_output: Dense,
    pub attention_norm: Norm,
    pub up: Dense,
    pub down: Dense,
    pub output_norm: Norm,
}

/// What a BERT's weights are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Vectors of texts.
    Encoder,
    /// Scores of pairs of texts: token types, and a classifier with so many labels.
    CrossEncoder { labels: usize },
    /// So many values for each token of pairs of texts.
    Tokens { labels: usize },
}

impl Purpose {
    /// Values that the graph gives for each token, or for each pair.
    pub(crate) fn width(self, config: &BertConfig) -> usize {
        match self {
            Purpose::Encoder => config.hidden,
            Purpose::CrossEncoder { labels } | Purpose::Tokens { labels } => labels,
        }
    }
}

/// What makes scores out of the first token's vector: BERT's pooler (dense, tanh) and a dense
/// layer with a value for each label; without a pooler, out of every token's.
pub(crate) struct Classifier {
    /// hidden x hidden.
    pub pooler: Option<Dense>,
    /// hidden x labels.
    pub labels: Dense,
}

/// A layer of a decoder: attention to what is written, attention to what was read, and the
/// feed-forward part.
pub(crate) struct DecoderLayer {
    pub query: Dense,
    pub key: Dense,
    pub value: Dense,
    pub attention_output: Dense,
    pub attention_norm: Norm,
    pub cross_query: Dense,
    pub cross_key: Dense,
    pub cross_value: Dense,
    pub cross_output: Dense,
    pub cross_norm: Norm,
    pub up: Dense,
    pub down: Dense,
    pub output_norm: Norm,
}

/// What a generator has beside its encoder.
pub(crate) struct DecoderWeights {
    pub layers: Vec<DecoderLayer>,
    /// What the last layer's states go through before they are compared with the words.
    pub transform: Dense,
    pub transform_norm: Norm,
    /// Of every word, vocabulary.
    pub bias: Vec<f32>,
    /// Added to the states of a mention's tokens, hidden.
    pub mention: Vec<f32>,
    /// How much of the embeddings is added to what the encoder gives, hidden.
    pub copied: Vec<f32>,
}

/// All weights of a BERT encoder.
pub(crate) struct BertWeights {
    /// vocabulary x hidden.
    pub words: Vec<f32>,
    /// positions x hidden, with the first token type already added.
    pub positions: Vec<f32>,
    /// What the second token type adds to the first, hidden; for pairs of texts.
    pub second_type: Option<Vec<f32>>,
    /// For pairs of texts.
    pub classifier: Option<Classifier>,
    pub embedding_norm: Norm,
    pub layers: Vec<Layer>,
}

impl BertWeights {
    /// Reads `model.safetensors` of the folder.
    ///
    /// # Errors
    /// InvalidModel naming the tensor that is missing, of another shape, of a type that
    /// is not a float, or not finite.
    pub(crate) fn read(folder: &Path, config: &BertConfig, purpose: Purpose) -> Result<Self> {
        let bytes = read(folder, WEIGHTS)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| {
            invalid(WEIGHTS, "the weights cannot be read")
                .found(format!("{e:?}"))
                .expected("a safetensors file")
        })?;
        Source::new(&tensors).weights(config, purpose)
    }
}

impl DecoderWeights {
    /// Reads so many layers of a decoder, and what belongs to them, from the same file.
    ///
    /// # Errors
    /// As [`BertWeights::read`].
    pub(crate) fn read(folder: &Path, config: &BertConfig, layers: usize) -> Result<Self> {
        let bytes = read(folder, WEIGHTS)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|e| invalid(WEIGHTS, "the weights cannot be read").found(format!("{e:?}")))?;
        Source::new(&tensors).decoder(config, layers)
    }
}

/// Looks tensors up by their name without the prefix that some exporters add.
struct Source<'a> {
    tensors: &'a SafeTensors<'a>,
    names: BTreeMap<String, String>,
}

impl<'a> Source<'a> {
    fn new(tensors: &'a SafeTensors<'a>) -> Self {
        let names = tensors
            .names()
            .into_iter()
            .map(|name| {
                let plain = name.strip_prefix("bert.").unwrap_or(name);
                // Checkpoints of the TensorFlow era say gamma and beta.
                let plain = plain
                    .replace("LayerNorm.gamma", "LayerNorm.weight")
                    .replace("LayerNorm.beta", "LayerNorm.bias");
                (plain, name.to_owned())
            })
            .collect();
        Source { tensors, names }
    }

    fn weights(&self, config: &BertConfig, purpose: Purpose) -> Result<BertWeights> {
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let types = self.get(
            "embeddings.token_type_embeddings.weight",
            &[config.token_types, hidden],
        )?;
        let mut positions = self.get(
            "embeddings.position_embeddings.weight",
            &[config.positions, hidden],
        )?;
        for row in positions.chunks_exact_mut(hidden) {
            for (value, first_type) in row.iter_mut().zip(&types) {
                *value += first_type;
            }
        }
        let (second_type, classifier) = match purpose {
            Purpose::Encoder => (None, None),
            Purpose::CrossEncoder { labels } | Purpose::Tokens { labels } => {
                let second = types.chunks_exact(hidden).nth(1).ok_or_else(|| {
                    invalid(
                        CONFIG,
                        "a model of pairs tells two texts apart by their type",
                    )
                    .found(format!("type_vocab_size {}", config.token_types))
                    .expected("2")
                })?;
                let difference = second.iter().zip(&types).map(|(b, a)| b - a).collect();
                let classifier = Classifier {
                    pooler: match purpose {
                        Purpose::Tokens { .. } => None,
                        _ => Some(self.dense("pooler.dense", hidden, hidden)?),
                    },
                    labels: self.dense("classifier", hidden, labels)?,
                };
                (Some(difference), Some(classifier))
            }
        };
        let layers = (0..config.layers)
            .map(|index| {
                let name = |part: &str| format!("encoder.layer.{index}.{part}");
                let query = self.dense(&name("attention.self.query"), hidden, hidden)?;
                let key = self.dense(&name("attention.self.key"), hidden, hidden)?;
                let value = self.dense(&name("attention.self.value"), hidden, hidden)?;
                Ok(Layer {
                    qkv: beside(&[query, key, value]),
                    attention_output: self.dense(
                        &name("attention.output.dense"),
                        hidden,
                        hidden,
                    )?,
                    attention_norm: self.norm(&name("attention.output.LayerNorm"), hidden)?,
                    up: self.dense(&name("intermediate.dense"), hidden, intermediate)?,
                    down: self.dense(&name("output.dense"), intermediate, hidden)?,
                    output_norm: self.norm(&name("output.LayerNorm"), hidden)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(BertWeights {
            words: self.get(
                "embeddings.word_embeddings.weight",
                &[config.vocabulary, hidden],
            )?,
            positions,
            second_type,
            classifier,
            embedding_norm: self.norm("embeddings.LayerNorm", hidden)?,
            layers,
        })
    }

    fn decoder(&self, config: &BertConfig, layers: usize) -> Result<DecoderWeights> {
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let layer = |index: usize| {
            let square =
                |part: &str| self.dense(&format!("decoder.layer.{index}.{part}"), hidden, hidden);
            let norm = |part: &str| self.norm(&format!("decoder.layer.{index}.{part}"), hidden);
            let up = format!("decoder.layer.{index}.intermediate.dense");
            let down = format!("decoder.layer.{index}.output.dense");
            Ok(DecoderLayer {
                query: square("attention.self.query")?,
                key: square("attention.self.key")?,
                value: square("attention.self.value")?,
                attention_output: square("attention.output.dense")?,
                attention_norm: norm("attention.output.LayerNorm")?,
                cross_query: square("crossattention.self.query")?,
                cross_key: square("crossattention.self.key")?,
                cross_value: square("crossattention.self.value")?,
                cross_output: square("crossattention.output.dense")?,
                cross_norm: norm("crossattention.output.LayerNorm")?,
                up: self.dense(&up, hidden, intermediate)?,
                down: self.dense(&down, intermediate, hidden)?,
                output_norm: norm("output.LayerNorm")?,
            })
        };
        Ok(DecoderWeights {
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            transform: self.dense("cls.predictions.transform.dense", hidden, hidden)?,
            transform_norm: self.norm("cls.predictions.transform.LayerNorm", hidden)?,
            bias: self.get("cls.predictions.bias", &[config.vocabulary])?,
            mention: self.get("mention", &[hidden])?,
            copied: self.get("copied", &[hidden])?,
        })
    }

    fn dense(&self, name: &str, inputs: usize, outputs: usize) -> Result<Dense> {
        let weight = self.get(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Dense {
            weight: transpose(&weight, outputs, inputs),
            bias: self.get(&format!("{name}.bias"), &[outputs])?,
            inputs,
            outputs,
        })
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm> {
        Ok(Norm {
            gamma: self.get(&format!("{name}.weight"), &[size])?,
            beta: self.get(&format!("{name}.bias"), &[size])?,
        })
    }

    fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self
            .names
            .get(name)
            .and_then(|stored| self.tensors.tensor(stored).ok())
            .ok_or_else(|| {
                invalid(WEIGHTS, format!("the tensor `{name}` is missing"))
                    .expected(format!("{shape:?}"))
            })?;
        if tensor.shape() != shape {
            return Err(
                invalid(WEIGHTS, format!("the tensor `{name}` has another shape"))
                    .found(format!("{:?}", tensor.shape()))
                    .expected(format!("{shape:?}, by {CONFIG}"))
                    .into(),
            );
        }
        let data = tensor.data();
        let pairs = || data.chunks_exact(2).map(|b| [b[0], b[1]]);
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            Dtype::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            other => {
                return Err(
                    invalid(WEIGHTS, format!("the tensor `{name}` is not of floats"))
                        .found(format!("{other:?}"))
                        .expected("F32, F16 or BF16")
                        .into(),
                );
            }
        };
        if values.iter().any(|v| !v.is_finite()) {
            return Err(invalid(
                WEIGHTS,
                format!("the tensor `{name}` has values that are not finite"),
            )
            .into());
        }
        Ok(values)
    }
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (r, row) in values.chunks_exact(columns).enumerate() {
        for (c, &value) in row.iter().enumerate() {
            out[c * rows + r] = value;
        }
    }
    out
}

/// Several layers of the same input as one.
fn beside(parts: &[Dense]) -> Dense {
    let inputs = parts.first().map_or(0, |part| part.inputs);
    let outputs = parts.iter().map(|part| part.outputs).sum();
    let mut weight = Vec::with_capacity(inputs * outputs);
    for row in 0..inputs {
        for part in parts {
            weight.extend_from_slice(&part.weight[row * part.outputs..(row + 1) * part.outputs]);
        }
    }
    Dense {
        weight,
        bias: parts.iter().flat_map(|part| part.bias.clone()).collect(),
        inputs,
        outputs,
    }
}
