//! A function as a graph network reads it (GNN-Coder, arXiv 2502.15202).
//!
//! Named nodes of the syntax; a node whose only named child covers the same text is a mere
//! wrapper, and the two are one, of the child's type. Edges go from child to parent. Of each node
//! there are its type, its number of children (which ASTGPool scores by) and the bytes that it
//! covers, from which [`CodeGraph::tokens`] finds the tokens whose states its feature is the
//! mean of.
//!
//! A graph is a function of the code's text alone: serving and training cannot differ.
//!
//! # As tensors
//!
//! | tensor | type and shape | of |
//! |---|---|---|
//! | node types | int64, n | `kinds`; below [`super::vocabulary_size`] |
//! | edges | int64, 2 x (n - 1) | (i, `parents[i]`) for every i but 0 |
//! | children | int64, n | `children` |
//! | spans | int64, n x 2 | [`CodeGraph::tokens`]: first token, and the one past the last |
//!
//! Graphs of a batch are put one after the other, and the numbers of their nodes shifted.

use std::ops::Range;

use super::kinds::{error, table};
use super::{Language, Limits, Syntax, Unparsed, parse};

/// Around a method, so that grammars which know it only inside of a class can read it.
const AROUND: (&str, &str) = ("class A {\n", "\n}");

/// How large a graph may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphLimits {
    /// Most nodes; of more, the deepest are left out first, then the last.
    pub nodes: usize,
    /// What parsing may cost.
    pub parse: Limits,
}

impl Default for GraphLimits {
    fn default() -> Self {
        GraphLimits {
            nodes: 512,
            parse: Limits {
                bytes: 64 * 1024,
                nodes: 100_000,
                ..Limits::default()
            },
        }
    }
}

/// The graph of a piece of code. All lists are of one length, at least 1; the first node is the
/// root, and parents come before their children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeGraph {
    /// Types, by the vocabulary over all languages.
    pub kinds: Vec<u16>,
    /// Places of the parents; the root's is its own, and is no edge.
    pub parents: Vec<u32>,
    /// Numbers of children, those that were left out included.
    pub children: Vec<u32>,
    /// What each covers of the code, in bytes.
    pub spans: Vec<Range<u32>>,
    /// Nodes that were left out.
    pub left_out: usize,
}

impl CodeGraph {
    /// The graph of a function's text.
    ///
    /// # Errors
    /// [`Unparsed`] where the text is past the limits of parsing.
    pub fn new(language: Language, code: &str, limits: &GraphLimits) -> Result<Self, Unparsed> {
        let syntax = parse(language, code, &limits.parse)?;
        if syntax.errors == 0 || !has_classes(language) {
            return Ok(CodeGraph::of(&syntax, code, 0, limits.nodes));
        }
        let wrapped = format!("{}{code}{}", AROUND.0, AROUND.1);
        match parse(language, &wrapped, &limits.parse) {
            Ok(other) if other.errors < syntax.errors => {
                let shift = AROUND.0.len() as u32;
                Ok(CodeGraph::of(&other, code, shift, limits.nodes))
            }
            _ => Ok(CodeGraph::of(&syntax, code, 0, limits.nodes)),
        }
    }

    /// Of a text that begins `shift` bytes into what was parsed.
    fn of(syntax: &Syntax, code: &str, shift: u32, most: usize) -> CodeGraph {
        let length = code.len() as u32;
        let table = table(syntax.language, code);
        let inside = |place: usize| {
            let node = &syntax.nodes[place];
            node.start_byte >= shift && node.end_byte <= shift + length
        };
        // The root stays, whatever it covers; around a method it is the class.
        let kept: Vec<usize> = (0..syntax.nodes.len())
            .filter(|&n| n == 0 || syntax.nodes[n].named && (shift == 0 || inside(n)))
            .collect();
        let mut graph = Growing::default();
        // Place of each syntax node in the graph; of one that is left out, its parent's.
        let mut places = vec![0u32; syntax.nodes.len()];
        let mut is_kept = vec![false; syntax.nodes.len()];
        let mut named = vec![0u32; syntax.nodes.len()];
        for &n in &kept {
            is_kept[n] = true;
        }
        for place in 1..syntax.nodes.len() {
            let parent = syntax.nodes[place].parent as usize;
            match is_kept[place] {
                // Children of what is left out are its parent's.
                true => named[nearest(syntax, &is_kept, parent)] += 1,
                false => continue,
            }
        }
        for place in 0..syntax.nodes.len() {
            let node = &syntax.nodes[place];
            let parent = node.parent as usize;
            if !is_kept[place] {
                places[place] = places[parent];
                continue;
            }
            let kind = match node.kind {
                // Which no grammar has, and tree-sitter gives what it could not read.
                u16::MAX => error(),
                kind => table.get(kind as usize).copied().unwrap_or(0),
            };
            let span = match place {
                0 => 0..length,
                _ => {
                    let at = |byte: u32| byte.saturating_sub(shift).min(length);
                    at(node.start_byte)..at(node.end_byte)
                }
            };
            let above = places[parent];
            let outer = nearest(syntax, &is_kept, parent);
            if place > 0 && named[outer] == 1 && graph.covers_same(above, &span, code) {
                graph.kinds[above as usize] = kind;
                places[place] = above;
                continue;
            }
            places[place] = graph.push(kind, above, span);
        }
        graph.finish(most)
    }

    /// For each node the tokens that overlap what it covers, given the bytes of each token in
    /// their order; empty where the encoder did not read so far.
    pub fn tokens(&self, tokens: &[Range<usize>]) -> Vec<Range<u32>> {
        let spans = self.spans.iter();
        spans
            .map(|span| {
                let first = tokens.partition_point(|token| token.end <= span.start as usize);
                let last = tokens.partition_point(|token| token.start < span.end as usize);
                first as u32..last.max(first) as u32
            })
            .collect()
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Never: there is always a root.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

fn has_classes(language: Language) -> bool {
    use Language::{CSharp, Cpp, Java, JavaScript, Php, Tsx, TypeScript};
    matches!(
        language,
        CSharp | Cpp | Java | JavaScript | Php | Tsx | TypeScript
    )
}

/// A node that is kept, at a place or above it.
fn nearest(syntax: &Syntax, kept: &[bool], mut place: usize) -> usize {
    while !kept[place] && place > 0 {
        place = syntax.nodes[place].parent as usize;
    }
    place
}

/// A graph that nodes are added to.
#[derive(Default)]
struct Growing {
    kinds: Vec<u16>,
    parents: Vec<u32>,
    children: Vec<u32>,
    spans: Vec<Range<u32>>,
    depths: Vec<u32>,
}

impl Growing {
    fn push(&mut self, kind: u16, parent: u32, span: Range<u32>) -> u32 {
        let place = self.kinds.len() as u32;
        if place > 0 {
            self.children[parent as usize] += 1;
        }
        let depth = self
            .depths
            .get(parent as usize)
            .map_or(0, |depth| depth + 1);
        self.kinds.push(kind);
        self.parents.push(parent);
        self.children.push(0);
        self.spans.push(span);
        self.depths.push(depth);
        place
    }

    /// Whether a node covers the same text, but for blanks around it.
    fn covers_same(&self, place: u32, span: &Range<u32>, code: &str) -> bool {
        let outer = &self.spans[place as usize];
        let blank = |from: u32, to: u32| {
            let between = code.get(from as usize..to as usize);
            between.is_some_and(|between| between.trim().is_empty())
        };
        outer.start <= span.start
            && span.end <= outer.end
            && blank(outer.start, span.start)
            && blank(span.end, outer.end)
    }

    /// Leaves out what is past the limit: the deepest, then the last.
    fn finish(self, most: usize) -> CodeGraph {
        let most = most.max(1);
        let all = self.kinds.len();
        let mut order: Vec<usize> = (0..all).collect();
        order.sort_by_key(|&n| (self.depths[n], n));
        order.truncate(most);
        order.sort_unstable();
        // A parent is less deep than its children, so that it is kept where one of them is.
        let mut places = vec![0u32; all];
        for (place, &n) in order.iter().enumerate() {
            places[n] = place as u32;
        }
        CodeGraph {
            kinds: order.iter().map(|&n| self.kinds[n]).collect(),
            parents: order
                .iter()
                .map(|&n| places[self.parents[n] as usize])
                .collect(),
            children: order.iter().map(|&n| self.children[n]).collect(),
            spans: order.iter().map(|&n| self.spans[n].clone()).collect(),
            left_out: all - order.len(),
        }
    }
}
