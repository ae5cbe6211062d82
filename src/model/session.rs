//! One ONNX Runtime session of an encoder: which inputs the graph takes, which outputs
//! it gives.

use std::path::Path;

use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{TensorElementType, TensorRef};

use super::batch::Batch;
use super::files::invalid;
use super::runtime::{self, Device, RuntimeOptions};
use crate::error::{Error, Result};

/// Outputs of published encoders with a vector for every token.
const TOKENS: [&str; 2] = ["last_hidden_state", "token_embeddings"];
/// Outputs with one vector for every text.
const TEXTS: [&str; 2] = ["sentence_embedding", "vectors"];
/// Outputs with what a classifier says of every text, before any activation.
const LOGITS: [&str; 1] = ["logits"];
/// The output with the vectors of every token after every layer; one output for each layer
/// has its number after this and a `.` or `_`.
const LAYERS: &str = "hidden_states";

/// What is wanted of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Token vectors, or finished ones where there are no others: the pooling is the
    /// manifest's.
    TokensOrTexts,
    /// Finished vectors: the pooling is the graph's.
    Texts,
    /// Token vectors: the pooling is a head's.
    Tokens,
    /// Token vectors of every layer: the pooling is a head's.
    Layers,
    /// What a classifier says of every text.
    Logits,
    /// What a classifier says of every token.
    TokenLogits,
}

/// Where a graph is.
#[derive(Debug, Clone)]
pub(crate) enum GraphSource {
    /// A file, with external data beside it where it has some.
    File(std::path::PathBuf),
    /// Serialised in memory.
    Memory(std::sync::Arc<Vec<u8>>),
}

/// What an input of the graph is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    Ids,
    Mask,
    /// Token types: 0, and 1 from the second of two texts on.
    Types,
    /// 0, 1, 2, ...
    Positions,
    /// 1 for the tokens that a fused pooling takes.
    PoolingMask,
}

/// What the graph's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// Vectors of tokens, still to be pooled.
    Tokens,
    /// One vector per text.
    Texts,
    /// Vectors of tokens after every layer, still to be pooled.
    Layers,
}

/// A session with what its inputs and outputs mean.
pub(crate) struct EncoderSession {
    session: Session,
    feeds: Vec<(String, Feed)>,
    outputs: Vec<String>,
    kind: OutputKind,
    dimensions: Option<usize>,
}

impl EncoderSession {
    /// Loads a graph.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime cannot be loaded; InvalidModel for a graph that it
    /// refuses or whose inputs and outputs are not what is wanted of an encoder.
    pub(crate) fn open(
        source: &GraphSource,
        options: &RuntimeOptions,
        wanted: Wanted,
    ) -> Result<Self> {
        let mut builder = builder(options)?;
        let (session, name) = match source {
            GraphSource::File(path) => (builder.commit_from_file(path), path.display().to_string()),
            GraphSource::Memory(bytes) => (
                builder.commit_from_memory(bytes),
                super::graph::WEIGHTS.to_owned(),
            ),
        };
        Self::new(session.map_err(|e| refused(&name, &e))?, &name, wanted)
    }

    /// Loads a graph that we wrote ourselves, with one thread on the processor.
    pub(crate) fn from_memory(bytes: &[u8], library: Option<&Path>) -> Result<Self> {
        let options = RuntimeOptions {
            library: library.map(Path::to_path_buf),
            ..RuntimeOptions::default()
        };
        let name = super::graph::WEIGHTS;
        let session = builder(&options)?
            .commit_from_memory(bytes)
            .map_err(|e| refused(name, &e))?;
        Self::new(session, name, Wanted::TokensOrTexts)
    }

    fn new(session: Session, file: &str, wanted: Wanted) -> Result<Self> {
        let mut feeds = Vec::new();
        for input in session.inputs() {
            let feed = match input.name() {
                "input_ids" => Feed::Ids,
                "attention_mask" => Feed::Mask,
                "token_type_ids" => Feed::Types,
                "position_ids" => Feed::Positions,
                "pooling_mask" => Feed::PoolingMask,
                other => {
                    return Err(invalid(file, "the graph takes an input we cannot give")
                        .found(other)
                        .expected(
                            "input_ids, attention_mask, token_type_ids, position_ids, pooling_mask",
                        )
                        .into());
                }
            };
            if input.dtype().tensor_type() != Some(TensorElementType::Int64) {
                return Err(invalid(
                    file,
                    format!("the input `{}` has another type", input.name()),
                )
                .found(input.dtype())
                .expected("a tensor of int64")
                .into());
            }
            feeds.push((input.name().to_owned(), feed));
        }
        if !feeds.iter().any(|(_, feed)| *feed == Feed::Ids) {
            return Err(invalid(file, "the graph takes no token ids")
                .expected("an input named input_ids")
                .into());
        }
        let (outputs, kind) = chosen(&session, file, wanted)?;
        let mut dimensions = None;
        for output in session.outputs() {
            if !outputs.iter().any(|name| name == output.name()) {
                continue;
            }
            if output.dtype().tensor_type() != Some(TensorElementType::Float32) {
                return Err(invalid(
                    file,
                    format!("the output `{}` has another type", output.name()),
                )
                .found(output.dtype())
                .expected("a tensor of float")
                .into());
            }
            dimensions = output
                .dtype()
                .tensor_shape()
                .and_then(|shape| shape.last().copied())
                .and_then(|size| usize::try_from(size).ok())
                .filter(|&size| size > 0);
        }
        Ok(EncoderSession {
            session,
            feeds,
            outputs,
            kind,
            dimensions,
        })
    }

    /// Names of the outputs that are used: one, or one for each layer in their order.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// What those outputs are.
    pub(crate) fn kind(&self) -> OutputKind {
        self.kind
    }

    /// Values per vector, where the graph announces it.
    pub(crate) fn dimensions(&self) -> Option<usize> {
        self.dimensions
    }

    /// Whether the graph is told which tokens to pool.
    pub(crate) fn takes_pooling_mask(&self) -> bool {
        self.feeds
            .iter()
            .any(|(_, feed)| *feed == Feed::PoolingMask)
    }

    /// Runs a batch; `visit` sees every output of type float with its name, row-major.
    ///
    /// # Errors
    /// Operator, when the session fails.
    pub(crate) fn run(&mut self, batch: &Batch, mut visit: impl FnMut(&str, &[f32])) -> Result<()> {
        let shape = batch.shape();
        let cells = batch.ids().len();
        let feeds = |feed| self.feeds.iter().any(|(_, f)| *f == feed);
        let types = match feeds(Feed::Types) {
            true => batch.types(),
            false => Vec::new(),
        };
        let positions: Vec<i64> = (0..if feeds(Feed::Positions) { cells } else { 0 })
            .map(|cell| (cell % batch.longest()) as i64)
            .collect();
        let pooled = match feeds(Feed::PoolingMask) {
            true => batch.pooling_mask(),
            false => Vec::new(),
        };
        let mut inputs = Vec::with_capacity(self.feeds.len());
        for (name, feed) in &self.feeds {
            let values: &[i64] = match feed {
                Feed::Ids => batch.ids(),
                Feed::Mask => batch.mask(),
                Feed::Types => &types,
                Feed::Positions => &positions,
                Feed::PoolingMask => &pooled,
            };
            let tensor = TensorRef::from_array_view((shape, values)).map_err(failed)?;
            inputs.push((name.as_str(), tensor));
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        for (name, value) in outputs.iter() {
            if let Ok((_, values)) = value.try_extract_tensor::<f32>() {
                visit(name, values);
            }
        }
        Ok(())
    }
}

/// The outputs that are used, and what they are.
fn chosen(session: &Session, file: &str, wanted: Wanted) -> Result<(Vec<String>, OutputKind)> {
    let of = |name: &str| session.outputs().iter().find(|o| o.name() == name);
    let tokens = TOKENS.into_iter().find_map(of);
    let texts = TEXTS.into_iter().find_map(of);
    let found = match wanted {
        Wanted::TokensOrTexts => tokens.or(texts),
        // Published graphs often have both.
        Wanted::Texts => texts.or(tokens),
        Wanted::Tokens => tokens,
        Wanted::Logits | Wanted::TokenLogits => LOGITS.into_iter().find_map(of),
        Wanted::Layers => {
            let layers = layers(session);
            if !layers.is_empty() {
                return Ok((layers, OutputKind::Layers));
            }
            None
        }
    };
    let expected = match wanted {
        Wanted::TokensOrTexts => [TOKENS, TEXTS].concat().join(", "),
        Wanted::Texts => format!("{}, [texts, values]", TEXTS.join(" or ")),
        Wanted::Tokens => TOKENS.join(", "),
        Wanted::Logits => format!("{}, [pairs, labels]", LOGITS.join(", ")),
        Wanted::TokenLogits => format!("{}, [pairs, tokens, labels]", LOGITS.join(", ")),
        Wanted::Layers => {
            format!("{LAYERS}, [layers, texts, tokens, values], or {LAYERS}.0, {LAYERS}.1, ...")
        }
    };
    let missing = || {
        let names: Vec<&str> = session.outputs().iter().map(|o| o.name()).collect();
        let whose = match wanted {
            Wanted::Logits => "the graph has no output of a cross-encoder",
            Wanted::TokenLogits => "the graph has no output of a classifier of tokens",
            _ => "the graph has no output of an encoder",
        };
        invalid(file, whose)
            .found(names.join(", "))
            .expected(expected.clone())
    };
    let output = found.ok_or_else(missing)?;
    let kind = match output.dtype().tensor_shape().map(|shape| shape.len()) {
        Some(3) => OutputKind::Tokens,
        Some(2) => OutputKind::Texts,
        _ if TEXTS.contains(&output.name()) => OutputKind::Texts,
        _ if wanted == Wanted::TokenLogits => OutputKind::Tokens,
        _ if LOGITS.contains(&output.name()) => OutputKind::Texts,
        _ => OutputKind::Tokens,
    };
    let fits = match wanted {
        Wanted::TokensOrTexts | Wanted::Layers => true,
        Wanted::Texts | Wanted::Logits => kind == OutputKind::Texts,
        Wanted::Tokens | Wanted::TokenLogits => kind == OutputKind::Tokens,
    };
    if !fits {
        return Err(missing().into());
    }
    Ok((vec![output.name().to_owned()], kind))
}

/// Names of the outputs that hold the layers' vectors, first layer first.
fn layers(session: &Session) -> Vec<String> {
    let mut numbered: Vec<(usize, String)> = Vec::new();
    for output in session.outputs() {
        match output.name().strip_prefix(LAYERS) {
            Some("") => return vec![LAYERS.to_owned()],
            Some(rest) => {
                let number = rest.strip_prefix(['.', '_']).and_then(|n| n.parse().ok());
                numbered.extend(number.map(|number| (number, output.name().to_owned())));
            }
            None => {}
        }
    }
    numbered.sort();
    numbered.into_iter().map(|(_, name)| name).collect()
}

/// The error of a run that ended badly.
pub(crate) fn failed(error: ort::Error) -> Error {
    Error::operator_from("ONNX Runtime failed to encode a batch", error.to_string())
        .advice("if memory is short, lower batch_tokens or sessions")
}

/// Options all sessions share.
pub(crate) fn builder(options: &RuntimeOptions) -> Result<SessionBuilder> {
    let environment = runtime::environment(options.library.as_deref())?;
    let configured = || -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&environment)?
            .with_log_level(LogLevel::Error)?
            .with_intra_threads(options.threads_per_session)?
            .with_inter_threads(1)?
            // Waiting threads that spin take the cores from the other sessions and from
            // whatever else the process does.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            // What it makes of an addition and a layer normalisation is slower than the two.
            .with_disabled_optimizers("SkipLayerNormFusion")?
            // Batches differ in shape, so a plan of one run's memory never fits the next.
            .with_memory_pattern(false)?;
        Ok(builder)
    };
    let builder = configured().map_err(|e| {
        Error::operator_from("cannot set up an ONNX Runtime session", e.to_string())
    })?;
    match options.device {
        Device::Cpu => Ok(builder),
        Device::Cuda => runtime::on_cuda(builder),
    }
}

pub(crate) fn refused(file: &str, error: &ort::Error) -> Error {
    invalid(file, "ONNX Runtime refuses the model")
        .found(error)
        .expected("an ONNX encoder that this version of ONNX Runtime knows")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::builder::{Attribute, Dimension, GraphBuilder};
    use crate::model::graph::onnx::ElementType;

    const SHAPE: [Dimension; 2] = [Dimension::Named("rows"), Dimension::Named("columns")];

    /// Adds its inputs up and casts the sum.
    fn graph(inputs: &[&str], output: &str) -> Vec<u8> {
        let mut graph = GraphBuilder::new(None);
        let mut sum = String::new();
        for (index, name) in inputs.iter().enumerate() {
            graph.input(name, ElementType::Int64, &SHAPE);
            sum = match index {
                0 => (*name).to_owned(),
                _ => graph.node("Add", &[&sum, name], &format!("sum.{index}"), &[]),
            };
        }
        let to = [("to", Attribute::Int(ElementType::Float as i64))];
        graph.node("Cast", &[&sum], output, &to);
        graph.output(output, ElementType::Float, &SHAPE);
        graph.finish().0
    }

    fn open(inputs: &[&str], output: &str) -> Result<EncoderSession> {
        assert!(
            std::env::var_os("ORT_DYLIB_PATH").is_some(),
            "tests of sessions need ONNX Runtime: set ORT_DYLIB_PATH, or run `make test`"
        );
        EncoderSession::from_memory(&graph(inputs, output), None)
    }

    #[test]
    fn every_known_input_is_fed_and_a_finished_vector_is_taken() {
        let all = [
            "input_ids",
            "attention_mask",
            "token_type_ids",
            "position_ids",
        ];
        let mut session = open(&all, "sentence_embedding").unwrap();
        assert_eq!(session.kind(), OutputKind::Texts);
        let batch = Batch::new(&[0, 1], &[vec![10_u32, 20, 30], vec![40]], 0);
        let mut seen = Vec::new();
        session
            .run(&batch, |name, values| {
                assert_eq!(name, "sentence_embedding");
                seen = values.to_vec();
            })
            .unwrap();
        // id + mask + type 0 + position
        assert_eq!(seen, [11.0, 22.0, 33.0, 41.0, 1.0, 2.0]);
    }

    #[test]
    fn a_graph_that_is_no_encoder_is_refused() {
        for (inputs, output) in [
            (["input_ids", "pixel_values"], "last_hidden_state"),
            (["attention_mask", "token_type_ids"], "last_hidden_state"),
            (["input_ids", "attention_mask"], "logits"),
        ] {
            let error = open(&inputs, output).err().expect("refused");
            let code = error.problem().map(|problem| problem.code);
            assert_eq!(code, Some(crate::error::Code::InvalidModel), "{error}");
        }
    }
}
