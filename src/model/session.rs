//! One ONNX Runtime session of an encoder: which inputs the graph takes, which output
//! it gives.

use std::path::Path;

use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{TensorElementType, TensorRef};

use super::batch::Batch;
use super::files::invalid;
use super::runtime;
use crate::error::{Error, Result};

/// Outputs of published encoders: token vectors before finished sentence vectors, since
/// the pooling is the manifest's.
const OUTPUTS: [&str; 3] = [
    "last_hidden_state",
    "token_embeddings",
    "sentence_embedding",
];

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
    /// Token types: always the first.
    Types,
    /// 0, 1, 2, ...
    Positions,
}

/// What the graph's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// Vectors of tokens, still to be pooled.
    Tokens,
    /// One vector per text.
    Texts,
}

/// A session with what its inputs and output mean.
pub(crate) struct EncoderSession {
    session: Session,
    feeds: Vec<(String, Feed)>,
    output: String,
    kind: OutputKind,
    dimensions: Option<usize>,
}

impl EncoderSession {
    /// Loads a graph.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime cannot be loaded; InvalidModel for a graph that it
    /// refuses or whose inputs and outputs are not an encoder's.
    pub(crate) fn open(
        source: &GraphSource,
        library: Option<&Path>,
        threads: usize,
    ) -> Result<Self> {
        match source {
            GraphSource::File(path) => {
                let name = path.display().to_string();
                let mut builder = builder(library, threads)?;
                let session = builder
                    .commit_from_file(path)
                    .map_err(|e| refused(&name, &e))?;
                Self::new(session, &name)
            }
            GraphSource::Memory(bytes) => Self::from_memory(bytes, library, threads),
        }
    }

    /// Loads a graph that we wrote ourselves.
    pub(crate) fn from_memory(
        bytes: &[u8],
        library: Option<&Path>,
        threads: usize,
    ) -> Result<Self> {
        let name = super::graph::WEIGHTS;
        let mut builder = builder(library, threads)?;
        let session = builder
            .commit_from_memory(bytes)
            .map_err(|e| refused(name, &e))?;
        Self::new(session, name)
    }

    fn new(session: Session, file: &str) -> Result<Self> {
        let mut feeds = Vec::new();
        for input in session.inputs() {
            let feed = match input.name() {
                "input_ids" => Feed::Ids,
                "attention_mask" => Feed::Mask,
                "token_type_ids" => Feed::Types,
                "position_ids" => Feed::Positions,
                other => {
                    return Err(invalid(file, "the graph takes an input we cannot give")
                        .found(other)
                        .expected("input_ids, attention_mask, token_type_ids, position_ids")
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
        let output = OUTPUTS
            .iter()
            .find_map(|&name| session.outputs().iter().find(|o| o.name() == name))
            .ok_or_else(|| {
                let names: Vec<&str> = session.outputs().iter().map(|o| o.name()).collect();
                invalid(file, "the graph has no output of an encoder")
                    .found(names.join(", "))
                    .expected(OUTPUTS.join(", "))
            })?;
        let shape = output.dtype().tensor_shape();
        let kind = match shape.map(|shape| shape.len()) {
            Some(3) => OutputKind::Tokens,
            Some(2) => OutputKind::Texts,
            _ if output.name() == "sentence_embedding" => OutputKind::Texts,
            _ => OutputKind::Tokens,
        };
        if output.dtype().tensor_type() != Some(TensorElementType::Float32) {
            return Err(invalid(
                file,
                format!("the output `{}` has another type", output.name()),
            )
            .found(output.dtype())
            .expected("a tensor of float")
            .into());
        }
        let dimensions = shape
            .and_then(|shape| shape.last().copied())
            .and_then(|size| usize::try_from(size).ok())
            .filter(|&size| size > 0);
        let output = output.name().to_owned();
        Ok(EncoderSession {
            session,
            feeds,
            output,
            kind,
            dimensions,
        })
    }

    /// Name of the output that is used.
    pub(crate) fn output(&self) -> &str {
        &self.output
    }

    /// What that output is.
    pub(crate) fn kind(&self) -> OutputKind {
        self.kind
    }

    /// Values per vector, where the graph announces it.
    pub(crate) fn dimensions(&self) -> Option<usize> {
        self.dimensions
    }

    /// Runs a batch; `visit` sees every output of type float with its name, row-major.
    ///
    /// # Errors
    /// Operator, when the session fails.
    pub(crate) fn run(&mut self, batch: &Batch, mut visit: impl FnMut(&str, &[f32])) -> Result<()> {
        let failed = |e: ort::Error| {
            Error::operator_from("ONNX Runtime failed to encode a batch", e.to_string())
                .advice("if memory is short, lower batch_tokens or sessions")
        };
        let shape = batch.shape();
        let cells = batch.ids().len();
        let feeds = |feed| self.feeds.iter().any(|(_, f)| *f == feed);
        let types = vec![0; if feeds(Feed::Types) { cells } else { 0 }];
        let positions: Vec<i64> = (0..if feeds(Feed::Positions) { cells } else { 0 })
            .map(|cell| (cell % batch.longest()) as i64)
            .collect();
        let mut inputs = Vec::with_capacity(self.feeds.len());
        for (name, feed) in &self.feeds {
            let values: &[i64] = match feed {
                Feed::Ids => batch.ids(),
                Feed::Mask => batch.mask(),
                Feed::Types => &types,
                Feed::Positions => &positions,
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

/// Options all sessions share.
fn builder(library: Option<&Path>, threads: usize) -> Result<SessionBuilder> {
    let environment = runtime::environment(library)?;
    let configured = || -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&environment)?
            .with_log_level(LogLevel::Error)?
            .with_intra_threads(threads)?
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
    configured()
        .map_err(|e| Error::operator_from("cannot set up an ONNX Runtime session", e.to_string()))
}

fn refused(file: &str, error: &ort::Error) -> Error {
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
        EncoderSession::from_memory(&graph(inputs, output), None, 1)
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
