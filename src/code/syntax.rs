//! Parsing: the tree of tree-sitter as one flat list of nodes in preorder.
//!
//! A flat list needs no recursion to walk, to search or to free, however deep the code is; the
//! nodes below one are a slice of it. Tree-sitter itself keeps its stacks on the heap, and is
//! asked every few hundred steps whether its time is up.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use tree_sitter::{ParseOptions, Parser};

use super::Language;

/// What reading one text may cost. Only `time` depends on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest text, in bytes.
    pub bytes: usize,
    /// Most nodes of its tree, punctuation included.
    pub nodes: usize,
    /// Deepest nodes that are looked at; what is below counts as part of them.
    pub depth: usize,
    /// Longest time of parsing.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 1 << 20,
            nodes: 1_000_000,
            depth: 1_000,
            time: Duration::from_secs(5),
        }
    }
}

/// Why a text was not parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unparsed {
    /// Longer than [`Limits::bytes`].
    Long,
    /// More nodes than [`Limits::nodes`].
    Nodes,
    /// Longer than [`Limits::time`].
    Time,
}

impl fmt::Display for Unparsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unparsed::Long => "it is longer than what is parsed",
            Unparsed::Nodes => "its syntax tree has too many nodes",
            Unparsed::Time => "parsing it takes too long",
        })
    }
}

/// A node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The grammar's number of its type; see [`Syntax::kind`].
    pub kind: u16,
    /// The grammar's number of the field of its parent that it is; 0 for none.
    pub field: u16,
    /// How far below the root.
    pub depth: u16,
    /// Whether it is a construct of the language, not a mere token.
    pub named: bool,
    /// Place of its parent; its own for the root.
    pub parent: u32,
    /// Place of the first node that is not below it.
    pub end: u32,
    /// Where its text begins, in bytes.
    pub start_byte: u32,
    /// Where its text ends.
    pub end_byte: u32,
}

/// A text's syntax.
#[derive(Debug)]
pub struct Syntax {
    /// Its language.
    pub language: Language,
    /// In preorder: a node, then all that are below it, then its next sibling.
    pub nodes: Vec<Node>,
    /// Places that do not follow the grammar.
    pub errors: usize,
    grammar: tree_sitter::Language,
}

/// Parses a text. Broken code has a tree as well, with what could be understood of it.
///
/// # Errors
/// [`Unparsed`], within about the time of the limits.
pub fn parse(language: Language, text: &str, limits: &Limits) -> Result<Syntax, Unparsed> {
    // Places in the text are kept in 32 bits.
    if text.len() > limits.bytes.min(u32::MAX as usize) {
        return Err(Unparsed::Long);
    }
    let grammar = language.grammar(text);
    let mut parser = Parser::new();
    if parser.set_language(&grammar).is_err() {
        // A grammar of another version than the library: `cargo test` would have said so.
        return Err(Unparsed::Time);
    }
    let started = Instant::now();
    let bytes = text.as_bytes();
    let mut watch = |_: &tree_sitter::ParseState| match started.elapsed() > limits.time {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let options = ParseOptions::new().progress_callback(&mut watch);
    let mut read = |at: usize, _: tree_sitter::Point| bytes.get(at..).unwrap_or_default();
    let tree = parser
        .parse_with_options(&mut read, None, Some(options))
        .ok_or(Unparsed::Time)?;
    let count = tree.root_node().descendant_count();
    if count > limits.nodes {
        return Err(Unparsed::Nodes);
    }
    let (nodes, errors) = flatten(&tree, count, limits.depth.min(u16::MAX as usize));
    Ok(Syntax {
        language,
        nodes,
        errors,
        grammar,
    })
}

fn flatten(tree: &tree_sitter::Tree, count: usize, deepest: usize) -> (Vec<Node>, usize) {
    let mut nodes: Vec<Node> = Vec::with_capacity(count);
    let mut errors = 0;
    // Nodes whose children are being read.
    let mut open: Vec<usize> = Vec::new();
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        let place = nodes.len();
        errors += usize::from(node.is_error() || node.is_missing());
        nodes.push(Node {
            kind: node.kind_id(),
            field: cursor.field_id().map_or(0, |field| field.get()),
            depth: open.len() as u16,
            named: node.is_named(),
            parent: open.last().copied().unwrap_or(0) as u32,
            end: 0,
            start_byte: node.start_byte() as u32,
            end_byte: node.end_byte() as u32,
        });
        if open.len() < deepest && cursor.goto_first_child() {
            open.push(place);
            continue;
        }
        nodes[place].end = nodes.len() as u32;
        while !cursor.goto_next_sibling() {
            let Some(parent) = open.pop() else {
                return (nodes, errors);
            };
            nodes[parent].end = nodes.len() as u32;
            cursor.goto_parent();
        }
    }
}

impl Syntax {
    /// A node's type, as its grammar names it.
    pub fn kind(&self, place: usize) -> &str {
        let kind = self.nodes[place].kind;
        self.grammar.node_kind_for_id(kind).unwrap_or("ERROR")
    }

    /// What it covers of the text, in bytes.
    pub fn span(&self, place: usize) -> Range<usize> {
        let node = &self.nodes[place];
        node.start_byte as usize..node.end_byte as usize
    }

    /// Places of its children, tokens included.
    pub fn children(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.nodes[place].end as usize;
        let mut next = place + 1;
        std::iter::from_fn(move || {
            let child = next;
            (child < end).then(|| {
                next = self.nodes[child].end as usize;
                child
            })
        })
    }

    /// The child that is its parent's field of this name.
    pub fn child(&self, place: usize, field: &str) -> Option<usize> {
        let field = self.grammar.field_id_for_name(field)?.get();
        self.children(place)
            .find(|&child| self.nodes[child].field == field)
    }

    /// Its parent; none of the root.
    pub fn parent(&self, place: usize) -> Option<usize> {
        (place > 0).then(|| self.nodes[place].parent as usize)
    }
}
