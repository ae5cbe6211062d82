//! A trained pooling in a graph of its own: token vectors in, one vector per text out.
//!
//! The graph takes, by their names:
//! * `token_states`, f32 [texts, tokens, values]: the encoder's token vectors (latent
//!   attention), or `layer_states`, f32 [texts, layers, tokens, values]: those after every
//!   layer, the embeddings' first (multi-layer pooling);
//! * `pooling_mask`, f32 or int64 [texts, tokens], if it wants it: 1 for a token that is
//!   pooled, 0 for padding and for prompts that are not.
//!
//! Its first output is f32 [texts, values].

use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef};

use super::batch::Batch;
use super::files::invalid;
use super::runtime::RuntimeOptions;
use super::session::{Wanted, builder, failed, refused};
use crate::error::{Error, Result};

const STATES: &str = "token_states";
const LAYERS: &str = "layer_states";
const MASK: &str = "pooling_mask";

/// A session of a head.
pub(crate) struct HeadSession {
    session: Session,
    layered: bool,
    mask: Option<TensorElementType>,
    output: String,
}

impl HeadSession {
    /// Loads a head.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime cannot be loaded; InvalidModel for a graph that it refuses
    /// or that is no head.
    pub(crate) fn open(folder: &Path, file: &str, options: &RuntimeOptions) -> Result<Self> {
        let session = builder(options)?
            .commit_from_file(folder.join(file))
            .map_err(|e| refused(file, &e))?;
        let unfit = |found: &str| {
            invalid(file, "the graph is not a head that can be run here")
                .found(found)
                .expected(format!(
                    "inputs {STATES} or {LAYERS} (f32) and {MASK} (f32 or int64), and an output of f32"
                ))
        };
        let mut layered = None;
        let mut mask = None;
        for input in session.inputs() {
            let element = input.dtype().tensor_type();
            match (input.name(), element) {
                (STATES, Some(TensorElementType::Float32)) => layered = Some(false),
                (LAYERS, Some(TensorElementType::Float32)) => layered = Some(true),
                (MASK, Some(TensorElementType::Float32 | TensorElementType::Int64)) => {
                    mask = element;
                }
                (name, _) => {
                    return Err(unfit(&format!("the input {name}: {}", input.dtype())).into());
                }
            }
        }
        let layered = layered.ok_or_else(|| unfit("no input of token vectors"))?;
        let output = session
            .outputs()
            .first()
            .filter(|o| o.dtype().tensor_type() == Some(TensorElementType::Float32))
            .map(|o| o.name().to_owned())
            .ok_or_else(|| unfit("no output of f32"))?;
        Ok(HeadSession {
            session,
            layered,
            mask,
            output,
        })
    }

    /// What it wants of the encoder.
    pub(crate) fn wants(&self) -> Wanted {
        match self.layered {
            true => Wanted::Layers,
            false => Wanted::Tokens,
        }
    }

    /// Vectors of a batch's rows, one after the other; `states` are its token vectors,
    /// [layers, texts, tokens, values].
    ///
    /// # Errors
    /// Operator, when the session fails.
    pub(crate) fn run(
        &mut self,
        states: &[f32],
        layers: usize,
        width: usize,
        batch: &Batch,
    ) -> Result<Vec<f32>> {
        let [rows, columns] = batch.shape();
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(2);
        let by_text;
        if self.layered {
            by_text = texts_first(states, layers, rows);
            let shape = [rows, layers, columns, width];
            let tensor = TensorRef::from_array_view((shape, by_text.as_slice()));
            inputs.push((LAYERS, tensor.map_err(failed)?.into()));
        } else {
            let shape = [rows, columns, width];
            let tensor = TensorRef::from_array_view((shape, states)).map_err(failed)?;
            inputs.push((STATES, tensor.into()));
        }
        let integers = batch.pooling_mask();
        let floats: Vec<f32> = integers.iter().map(|&m| m as f32).collect();
        match self.mask {
            Some(TensorElementType::Int64) => {
                let tensor = TensorRef::from_array_view(([rows, columns], integers.as_slice()))
                    .map_err(failed)?;
                inputs.push((MASK, tensor.into()));
            }
            Some(_) => {
                let tensor = TensorRef::from_array_view(([rows, columns], floats.as_slice()))
                    .map_err(failed)?;
                inputs.push((MASK, tensor.into()));
            }
            None => {}
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let (_, values) = outputs[self.output.as_str()]
            .try_extract_tensor::<f32>()
            .map_err(failed)?;
        if rows == 0 || values.len() % rows != 0 {
            return Err(Error::Bug(format!(
                "a head made {} values of {rows} texts",
                values.len()
            )));
        }
        Ok(values.to_vec())
    }
}

/// [layers, texts, ...] as [texts, layers, ...].
fn texts_first(states: &[f32], layers: usize, texts: usize) -> Vec<f32> {
    let part = states.len() / (layers * texts).max(1);
    let mut out = Vec::with_capacity(states.len());
    for text in 0..texts {
        for layer in 0..layers {
            let start = (layer * texts + text) * part;
            out.extend_from_slice(&states[start..start + part]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_a_text_come_together() {
        let states = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0];
        assert_eq!(
            texts_first(&states, 3, 2),
            [0.0, 10.0, 20.0, 1.0, 11.0, 21.0]
        );
        assert_eq!(texts_first(&states, 1, 3), states);
    }
}
