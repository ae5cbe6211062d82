//! The graphs of a model: what they are given and what they give.

use std::path::Path;

use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, TensorRef};

use super::super::files::invalid;
use super::super::runtime::RuntimeOptions;
use super::super::session::{builder, failed, refused};
use super::{DECODER, ENCODER, MERGED, WITH_PAST};
use crate::error::{Error, Result};

/// The graphs of a model.
pub(super) struct Sessions {
    pub encoder: Graph,
    pub decoder: Graph,
    /// What takes what is remembered; the decoder itself where it is a merged one.
    pub with_past: Option<Graph>,
    pub merged: bool,
}

/// A session with the names of its inputs.
pub(super) struct Graph {
    session: Session,
    inputs: Vec<String>,
    /// Shapes of the inputs that are remembered, for heads and sizes.
    pub pasts: Vec<Past>,
    file: &'static str,
}

/// An input of something that is remembered.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub input: String,
    pub output: String,
    pub of_encoder: bool,
    pub heads: usize,
    pub size: usize,
}

/// Numbers with their shape: rows first.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Cells {
    /// These rows, in this order.
    ///
    /// # Errors
    /// Operator, where a graph has given fewer rows than it was asked for.
    pub(super) fn gather(&self, rows: impl ExactSizeIterator<Item = usize>) -> Result<Cells> {
        let size: usize = self.shape.iter().skip(1).product();
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let mut values = Vec::with_capacity(rows.len() * size);
        for row in rows {
            let cells = self.values.get(row * size..(row + 1) * size);
            values.extend_from_slice(cells.ok_or_else(|| {
                Error::operator("a graph of the generator gives fewer rows than it was given")
                    .advice("export the model again")
            })?);
        }
        Ok(Cells { shape, values })
    }
}

/// What a graph may be given.
#[derive(Default)]
pub(super) struct Feeds<'a> {
    pub shape: [usize; 2],
    pub ids: &'a [i64],
    pub mask: Option<([usize; 2], &'a [i64])>,
    pub states: Option<&'a Cells>,
    /// By the names of the inputs.
    pub pasts: Vec<(&'a str, &'a Cells)>,
    pub use_cache: bool,
}

impl Graph {
    pub(super) fn open(
        folder: &Path,
        file: &'static str,
        options: &RuntimeOptions,
    ) -> Result<Graph> {
        let path = folder.join(file);
        if !path.is_file() {
            return Err(invalid(
                file,
                format!("the model folder {} lacks a file", folder.display()),
            )
            .found("no such file")
            .expected(format!("{file}, as optimum exports it"))
            .into());
        }
        let session = builder(options)?
            .commit_from_file(&path)
            .map_err(|e| refused(file, &e))?;
        let mut pasts = Vec::new();
        let mut inputs = Vec::new();
        for input in session.inputs() {
            inputs.push(input.name().to_owned());
            let Some(rest) = input.name().strip_prefix("past_key_values.") else {
                continue;
            };
            if input.dtype().tensor_type() != Some(TensorElementType::Float32) {
                return Err(invalid(file, "what is remembered has another type")
                    .found(format!("{}: {}", input.name(), input.dtype()))
                    .expected("a tensor of float")
                    .into());
            }
            let dimension = |at: usize| {
                let shape = input.dtype().tensor_shape();
                let size = shape.and_then(|shape| shape.get(at).copied()).unwrap_or(1);
                usize::try_from(size).unwrap_or(1).max(1)
            };
            pasts.push(Past {
                input: input.name().to_owned(),
                output: format!("present.{rest}"),
                of_encoder: rest.contains(".encoder."),
                heads: dimension(1),
                size: dimension(3),
            });
        }
        Ok(Graph {
            session,
            inputs,
            pasts,
            file,
        })
    }

    /// The last length of an output's shape, where the graph fixes it.
    pub(super) fn width_of(&self, name: &str) -> Option<usize> {
        let outputs = self.session.outputs().iter();
        let output = outputs.into_iter().find(|output| output.name() == name)?;
        let last = output.dtype().tensor_shape()?.last().copied()?;
        usize::try_from(last).ok().filter(|&width| width > 0)
    }

    fn has_output(&self, name: &str) -> bool {
        self.session
            .outputs()
            .iter()
            .any(|output| output.name() == name)
    }

    /// Runs the graph; gives the outputs of these names, in their order.
    pub(super) fn run(&mut self, feeds: &Feeds<'_>, wanted: &[&str]) -> Result<Vec<Cells>> {
        let shape = |shape: &[usize]| shape.iter().map(|&n| n as i64).collect::<Vec<i64>>();
        let ints = |dims: [usize; 2], values: &[i64]| -> Result<SessionInputValue<'static>> {
            let tensor = Tensor::from_array((shape(&dims), values.to_vec())).map_err(failed)?;
            Ok(tensor.into())
        };
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        for name in &self.inputs {
            let value: SessionInputValue<'_> = match name.as_str() {
                "input_ids" | "decoder_input_ids" => ints(feeds.shape, feeds.ids)?,
                "attention_mask" | "encoder_attention_mask" => match feeds.mask {
                    Some((dims, mask)) => ints(dims, mask)?,
                    None => continue,
                },
                "encoder_hidden_states" => match feeds.states {
                    Some(states) => floats(states)?,
                    None => continue,
                },
                "use_cache_branch" => Tensor::from_array((vec![1_i64], vec![feeds.use_cache]))
                    .map_err(failed)?
                    .into(),
                past => match feeds.pasts.iter().find(|(name, _)| *name == past) {
                    Some((_, cells)) => floats(cells)?,
                    None => continue,
                },
            };
            inputs.push((name, value));
        }
        // Only what is asked for is computed and copied.
        let mut selector = OutputSelector::no_default();
        for name in wanted {
            selector = selector.with(*name);
        }
        let options = RunOptions::new().map_err(failed)?.with_outputs(selector);
        let outputs = self
            .session
            .run_with_options(inputs, &options)
            .map_err(failed)?;
        wanted
            .iter()
            .map(|name| {
                let value = outputs.get(*name).ok_or_else(|| {
                    Error::operator(format!("{} of the generator gives no {name}", self.file))
                        .advice("export the model again")
                })?;
                let (shape, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
                Ok(Cells {
                    shape: shape
                        .iter()
                        .map(|&n| usize::try_from(n).unwrap_or(0))
                        .collect(),
                    values: values.to_vec(),
                })
            })
            .collect()
    }
}

fn floats(cells: &Cells) -> Result<SessionInputValue<'_>> {
    let shape: Vec<i64> = cells.shape.iter().map(|&n| n as i64).collect();
    // ONNX Runtime takes no view of nothing.
    if cells.values.is_empty() {
        let empty = Tensor::from_array((shape, Vec::<f32>::new())).map_err(failed)?;
        return Ok(empty.into());
    }
    let view = TensorRef::from_array_view((shape, cells.values.as_slice())).map_err(failed)?;
    Ok(view.into())
}

impl Sessions {
    /// Loads the graphs of a folder.
    pub(super) fn open(folder: &Path, options: &RuntimeOptions) -> Result<Sessions> {
        let open = |file| Graph::open(folder, file, options);
        let merged = folder.join(MERGED).is_file();
        let sessions = Sessions {
            encoder: open(ENCODER)?,
            decoder: open(if merged { MERGED } else { DECODER })?,
            with_past: match folder.join(WITH_PAST).is_file() && !merged {
                true => Some(open(WITH_PAST)?),
                false => None,
            },
            merged,
        };
        sessions.check()?;
        Ok(sessions)
    }

    /// Refuses graphs that are not what they should be, by their inputs and outputs.
    fn check(&self) -> Result<()> {
        let lacking = |graph: &Graph, what: &str| -> Error {
            invalid(
                graph.file,
                "the graph is not one of an encoder-decoder model",
            )
            .found(graph.inputs.join(", "))
            .expected(what)
            .into()
        };
        let all = [
            Some(&self.encoder),
            Some(&self.decoder),
            self.with_past.as_ref(),
        ];
        for graph in all.into_iter().flatten() {
            if !graph.inputs.iter().any(|name| name.ends_with("input_ids")) {
                return Err(lacking(graph, "an input named input_ids"));
            }
            let output = match graph.file {
                ENCODER => "last_hidden_state",
                _ => "logits",
            };
            if !graph.has_output(output) {
                return Err(lacking(graph, &format!("an output named {output}")));
            }
        }
        if let Some(graph) = &self.with_past {
            for past in graph.pasts.iter().filter(|past| !past.of_encoder) {
                if !graph.has_output(&past.output) {
                    return Err(lacking(graph, &format!("an output named {}", past.output)));
                }
            }
        }
        if let Some(with_past) = self.remembering() {
            for past in &with_past.pasts {
                if !self.decoder.has_output(&past.output) {
                    return Err(lacking(
                        &self.decoder,
                        &format!("an output named {}", past.output),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The graph that takes what is remembered.
    pub(super) fn remembering(&self) -> Option<&Graph> {
        match self.merged {
            true => Some(&self.decoder),
            false => self.with_past.as_ref(),
        }
    }
}
