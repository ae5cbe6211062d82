//! Writing names: which token may come next is the catalog's to say, how likely each is the
//! model's.
//!
//! **Promise.** Only names that exist are written, each at most once. What a name is worth is its
//! probability in the model's own words: the softmax is taken over the whole vocabulary, not over
//! the tokens that are allowed, so that a model that would rather write something else shows it.
//! A beam that is wide enough finds what scoring every name finds ([`beam_search`],
//! [`teacher_force`]); samples ([`Asap`]) converge to the model's distribution over the names.

mod annotate;
#[cfg(test)]
mod annotate_tests;
mod beam;
mod candidates;
mod force;
mod model;
mod sample;
#[cfg(test)]
mod tests;

pub use annotate::{Annotated, Annotations, Copied, Marks};
pub use beam::{BeamOptions, Hypothesis, beam_search};
pub use candidates::Candidates;
pub use force::{Forced, log_sum_exp, teacher_force};
pub use sample::{Asap, Sample};

use super::view::{Node, View};
use crate::error::Result;

/// Names that may be written, as a trie of their tokens.
pub trait Names {
    /// A prefix of a name.
    type Node: Clone + PartialEq;

    /// The empty prefix.
    fn root(&self) -> Self::Node;

    /// The tokens by which a name goes on from a prefix, ascending, with where they lead. What was
    /// in `into` is replaced.
    fn children(&self, node: &Self::Node, into: &mut Vec<(u32, Self::Node)>);

    /// Whether a name ends here.
    fn ends(&self, node: &Self::Node) -> bool;

    /// No name has more tokens than this.
    fn longest(&self) -> usize {
        usize::MAX
    }
}

impl Names for View {
    type Node = Node;

    fn root(&self) -> Node {
        View::root(self)
    }

    fn children(&self, node: &Node, into: &mut Vec<(u32, Node)>) {
        View::children(self, *node, into);
    }

    fn ends(&self, node: &Node) -> bool {
        View::ends(self, *node)
    }

    fn longest(&self) -> usize {
        View::longest(self)
    }
}

impl<T: Names> Names for &T {
    type Node = T::Node;

    fn root(&self) -> T::Node {
        T::root(self)
    }

    fn children(&self, node: &T::Node, into: &mut Vec<(u32, T::Node)>) {
        T::children(self, node, into);
    }

    fn ends(&self, node: &T::Node) -> bool {
        T::ends(self, node)
    }

    fn longest(&self) -> usize {
        T::longest(self)
    }
}

/// Names of at most so many tokens. Prefixes that only longer names go on from are still there, with
/// nothing after them.
#[derive(Debug, Clone, Copy)]
pub struct UpTo<T> {
    names: T,
    tokens: usize,
}

impl<T: Names> UpTo<T> {
    /// Of these names, those of at most `tokens` tokens.
    pub fn new(names: T, tokens: usize) -> UpTo<T> {
        UpTo { names, tokens }
    }
}

impl<T: Names> Names for UpTo<T> {
    type Node = (T::Node, usize);

    fn root(&self) -> Self::Node {
        (self.names.root(), 0)
    }

    fn children(&self, (node, at): &Self::Node, into: &mut Vec<(u32, Self::Node)>) {
        into.clear();
        if *at >= self.tokens {
            return;
        }
        let mut children = Vec::new();
        self.names.children(node, &mut children);
        let children = children.into_iter();
        into.extend(children.map(|(token, node)| (token, (node, at + 1))));
    }

    fn ends(&self, (node, _): &Self::Node) -> bool {
        self.names.ends(node)
    }

    fn longest(&self) -> usize {
        self.names.longest().min(self.tokens)
    }
}

/// Says which token comes next after prefixes that it keeps: of several inputs at once, for each
/// of them several.
///
/// A scorer holds a batch of prefixes, its rows. [`Scorer::start`] makes it one empty prefix for
/// each input; [`Scorer::advance`] makes it prefixes of the rows before with a token added.
pub trait Scorer {
    /// How many inputs there are.
    fn inputs(&self) -> usize;

    /// The token after which a name has ended.
    fn end(&self) -> u32;

    /// One empty prefix for each input, in order.
    fn start(&mut self) -> Result<NextTokens>;

    /// Prefixes that go on from rows of the batch before: which row, and the token that is added.
    fn advance(&mut self, rows: &[(usize, u32)]) -> Result<NextTokens>;

    /// Logarithms of the probabilities of each token of each sequence, and of the end after it:
    /// `sequences` are pairs of an input and tokens.
    ///
    /// What every scorer can do is to go a token at a time; models do it in one pass.
    fn force(&mut self, sequences: &[(usize, &[u32])]) -> Result<Vec<Vec<f32>>> {
        let mut results: Vec<Vec<f32>> = vec![Vec::new(); sequences.len()];
        let first = self.start()?;
        let end = self.end();
        // Sequences that go on, with the row that each is at.
        let mut open: Vec<(usize, usize)> = (0..sequences.len())
            .map(|index| (index, sequences[index].0))
            .collect();
        let mut next = first;
        for at in 0.. {
            let mut rows = Vec::new();
            let mut going_on = Vec::new();
            for (index, row) in open {
                let token = sequences[index].1.get(at).copied();
                results[index].push(next.log_probability(row, token.unwrap_or(end)));
                if let Some(token) = token {
                    going_on.push((index, rows.len()));
                    rows.push((row, token));
                }
            }
            if rows.is_empty() {
                break;
            }
            open = going_on;
            next = self.advance(&rows)?;
        }
        Ok(results)
    }
}

/// What may come next after each row of a batch.
#[derive(Debug, Clone)]
pub struct NextTokens {
    logits: Vec<f32>,
    vocabulary: usize,
    /// Of each row, the logarithm of the sum of its exponentials.
    normalizers: Vec<f32>,
}

impl NextTokens {
    /// Of the logits of rows, one after the other; `vocabulary` of each, 1 or more.
    pub fn new(logits: Vec<f32>, vocabulary: usize) -> NextTokens {
        let normalizers = logits.chunks(vocabulary.max(1)).map(normalizer).collect();
        NextTokens {
            logits,
            vocabulary,
            normalizers,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.normalizers.len()
    }

    /// The logarithm of the probability of a token, among all of the vocabulary; that of 0 for a
    /// token or a row that there is not.
    #[inline]
    pub fn log_probability(&self, row: usize, token: u32) -> f32 {
        let token = token as usize;
        if token >= self.vocabulary {
            return f32::NEG_INFINITY;
        }
        match (
            self.logits.get(row * self.vocabulary + token),
            self.normalizers.get(row),
        ) {
            // What is no number is no probability.
            (Some(logit), Some(normalizer)) if (logit - normalizer).is_nan() => f32::NEG_INFINITY,
            (Some(logit), Some(normalizer)) => logit - normalizer,
            _ => f32::NEG_INFINITY,
        }
    }
}

fn normalizer(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() {
        return most;
    }
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from((logit - most).exp()))
        .sum();
    most + sum.ln() as f32
}
