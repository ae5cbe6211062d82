//! The graph part of a model of code: token states and the syntax over them in, one vector per
//! text out, from the transformer's one pass (GNN-Coder, arXiv 2502.15202).
//!
//! The graph of the network takes, by their names, for a batch whose graphs are put one after the
//! other:
//! * `token_states`, f32 [texts, tokens, values];
//! * `text`, int64 [nodes]: which text a node is of, ascending;
//! * `kind`, `parent`, `children`, `first`, `end`, int64 [nodes]: its type, the place of its parent in
//!   this list (a root's is its own), its number of children, and the tokens of its text that it
//!   covers, `end` not included.
//!
//! Its first output is f32 [texts, values].

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::invalid;
use super::runtime::RuntimeOptions;
use super::session::{builder, failed, refused};
use super::tokenizer::{TextTokenizer, Tokenized};
use crate::code::{CodeGraph, GraphLimits, Language};
use crate::error::{Error, Result};

const STATES: &str = "token_states";
const LISTS: [&str; 6] = ["text", "kind", "parent", "children", "first", "end"];

/// How a model reads code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeForm {
    /// File of the network over the syntax.
    pub graph: String,
    /// Most nodes of a text; of more, the deepest are left out first.
    pub nodes: usize,
    /// How many types of nodes it was trained with; later ones are none to it.
    pub vocabulary: u16,
}

/// The syntax of a text over its tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenGraph {
    kinds: Vec<u16>,
    parents: Vec<u32>,
    children: Vec<u32>,
    tokens: Vec<Range<u32>>,
}

/// The tokens of code with the graph over them; without one where it is past the limits of parsing.
///
/// # Errors
/// InvalidRequest for a text that the tokenizer refuses.
pub(crate) fn tokenize(
    tokenizer: &TextTokenizer,
    form: &CodeForm,
    language: Language,
    code: &str,
    max_tokens: usize,
) -> Result<Tokenized> {
    let (tokens, truncated) = tokenizer.encode_with_spans(code, max_tokens)?;
    let limits = GraphLimits {
        nodes: form.nodes,
        ..GraphLimits::default()
    };
    let (ids, spans): (Vec<u32>, Vec<Range<usize>>) = tokens.into_iter().unzip();
    let graph = CodeGraph::new(language, code, &limits).ok().map(|graph| {
        let tokens = graph.tokens(&spans);
        let known = |kind: u16| if kind < form.vocabulary { kind } else { 0 };
        Arc::new(TokenGraph {
            kinds: graph.kinds.into_iter().map(known).collect(),
            parents: graph.parents,
            children: graph.children,
            tokens,
        })
    });
    Ok(Tokenized {
        ids,
        skip: 0,
        second: usize::MAX,
        truncated,
        graph,
    })
}

/// A session of the network.
pub(crate) struct CodeSession {
    session: Session,
    output: String,
}

impl CodeSession {
    /// Loads the network.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime cannot be loaded; InvalidModel for a graph that it refuses
    /// or that takes other inputs.
    pub(crate) fn open(folder: &Path, file: &str, options: &RuntimeOptions) -> Result<Self> {
        let session = builder(options)?
            .commit_from_file(folder.join(file))
            .map_err(|e| refused(file, &e))?;
        let wanted = |name: &str| match name {
            STATES => Some(TensorElementType::Float32),
            name if LISTS.contains(&name) => Some(TensorElementType::Int64),
            _ => None,
        };
        let fits = session.inputs().iter().all(|input| {
            let element = wanted(input.name());
            element.is_some() && element == input.dtype().tensor_type()
        });
        let output = session.outputs().first();
        let output = output.filter(|o| o.dtype().tensor_type() == Some(TensorElementType::Float32));
        let (true, Some(output)) = (fits && session.inputs().len() == 7, output) else {
            let names: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
            return Err(invalid(file, "the graph is not one over syntax")
                .found(names.join(", "))
                .expected(format!(
                    "inputs {STATES} (f32), {} (int64), and an output of f32",
                    LISTS.join(", ")
                ))
                .into());
        };
        Ok(CodeSession {
            output: output.name().to_owned(),
            session,
        })
    }

    /// Vectors of texts, one after the other, of their token states [texts, tokens, width].
    ///
    /// # Errors
    /// Operator, when the session fails.
    pub(crate) fn run(
        &mut self,
        states: &[f32],
        width: usize,
        graphs: &[&TokenGraph],
    ) -> Result<Vec<f32>> {
        let columns = states.len() / (width * graphs.len()).max(1);
        let count = graphs.iter().map(|graph| graph.kinds.len()).sum();
        let mut lists: [Vec<i64>; 6] = std::array::from_fn(|_| Vec::with_capacity(count));
        for (row, graph) in graphs.iter().enumerate() {
            let before = lists[0].len() as i64;
            let [texts, kinds, parents, children, first, end] = &mut lists;
            texts.extend(std::iter::repeat_n(row as i64, graph.kinds.len()));
            kinds.extend(graph.kinds.iter().map(|&kind| i64::from(kind)));
            parents.extend(graph.parents.iter().map(|&at| before + i64::from(at)));
            children.extend(graph.children.iter().map(|&number| i64::from(number)));
            first.extend(graph.tokens.iter().map(|tokens| i64::from(tokens.start)));
            end.extend(graph.tokens.iter().map(|tokens| i64::from(tokens.end)));
        }
        let shape = [graphs.len(), columns, width];
        let states = TensorRef::from_array_view((shape, states)).map_err(failed)?;
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![(STATES, states.into())];
        for (name, list) in LISTS.into_iter().zip(&lists) {
            let list = TensorRef::from_array_view(([list.len()], list.as_slice()));
            inputs.push((name, list.map_err(failed)?.into()));
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let (_, values) = outputs[self.output.as_str()]
            .try_extract_tensor::<f32>()
            .map_err(failed)?;
        if values.len() != graphs.len() * width {
            return Err(Error::Bug(format!(
                "a network over syntax made {} values of {} texts",
                values.len(),
                graphs.len()
            )));
        }
        Ok(values.to_vec())
    }
}
