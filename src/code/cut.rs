//! A file in units: functions, methods, types and what is around them.
//!
//! Every line with a letter or a digit in it is in a unit. Lines are in more than one where two
//! definitions share a line, and where parts of a long unit overlap; in no other case. A type's
//! unit is the type without its functions, the module's is the file without its definitions:
//! what was taken out is marked by a line with `…`. A nested function stays with its outer one,
//! unless that one is longer than a part.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::find::{Definition, find};
use super::parts::{Line, Lines, join, parts, ranges};
use super::roles::Role;
use super::{Syntax, docs};
use crate::identifiers::split_words;

/// Most words that identifiers are split into, of one unit.
const MOST_WORDS: usize = 2_000;

/// How a file is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutLimits {
    /// Longest unit in bytes; longer ones are cut into parts.
    pub part_bytes: usize,
    /// Most bytes that a part shares with the one before it.
    pub overlap_bytes: usize,
}

impl Default for CutLimits {
    fn default() -> Self {
        CutLimits {
            part_bytes: 4_000,
            overlap_bytes: 400,
        }
    }
}

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A function outside of any type.
    Function,
    /// A function of a type.
    Method,
    /// A type without its functions.
    Type,
    /// What a file holds besides: its header, imports, constants, statements.
    Module,
    /// What is under a heading of Markdown.
    Section,
    /// A file that was not parsed, or a part of it.
    Text,
}

/// Lines of a file, 1-based, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRange {
    pub first: u32,
    pub last: u32,
}

impl fmt::Display for LineRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// A piece of a file that is found on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name with those of what it is in, as the language writes it; the module's own for
    /// what is in no definition.
    pub symbol: String,
    /// What it is.
    pub kind: Kind,
    /// Which part of a long one, from 1.
    pub part: u32,
    /// How many parts it has.
    pub parts: u32,
    /// Its lines, in order, never empty.
    pub lines: Vec<LineRange>,
    /// What is written about it, without the marks of comments.
    pub docstring: Option<String>,
    /// A definition up to its body.
    pub signature: Option<String>,
    /// Its text; parts after the first begin with the signature.
    pub code: String,
    /// The words of its identifiers, each once, by blanks.
    pub identifiers: String,
}

/// What cutting is told besides.
#[derive(Debug, Clone, Copy)]
pub struct Cutting<'a> {
    /// Path of the file below the folder that is indexed, with `/`.
    pub path: &'a str,
    /// How it is cut.
    pub limits: &'a CutLimits,
}

/// Cuts a file that was parsed.
pub fn cut(syntax: &Syntax, text: &str, cutting: Cutting<'_>) -> Vec<Unit> {
    let module = super::language::module(syntax.language, cutting.path);
    let definitions = find(syntax, text, &module, cutting.limits);
    let mut lines = Lines::of(text);
    for node in &syntax.nodes {
        lines.note(text, node.start_byte as usize, node.depth);
    }
    // What is cut out of each, the module last.
    let mut inner: Vec<Vec<usize>> = vec![Vec::new(); definitions.len() + 1];
    for (n, definition) in definitions.iter().enumerate() {
        inner[definition.outer.unwrap_or(definitions.len())].push(n);
    }
    let mut units = Vec::new();
    let header = Header {
        symbol: if module.is_empty() {
            cutting.path.into()
        } else {
            module
        },
        kind: Kind::Module,
        docstring: docs::header(syntax, text),
        signature: None,
    };
    let whole = runs(0..text.len(), &inner[definitions.len()], &definitions);
    push(&mut units, text, &lines, whole, header, cutting.limits);
    for (n, definition) in definitions.iter().enumerate() {
        let start = definition.extent.start;
        let leading = &text[start
            ..definition
                .after_comments
                .clamp(start, definition.extent.end)];
        let docstring = docs::docstring(syntax, text, definition.node);
        let header = Header {
            symbol: definition.symbol.clone(),
            kind: match definition.role {
                Role::Function if definition.member => Kind::Method,
                Role::Function => Kind::Function,
                _ => Kind::Type,
            },
            docstring: docstring.or_else(|| docs::comments(leading)),
            signature: docs::signature(syntax, text, definition.node, definition.after_comments),
        };
        let own = runs(definition.extent.clone(), &inner[n], &definitions);
        push(&mut units, text, &lines, own, header, cutting.limits);
    }
    units
}

/// Cuts a file that was not parsed.
pub fn cut_text(text: &str, cutting: Cutting<'_>) -> Vec<Unit> {
    let lines = Lines::of(text);
    let header = Header {
        symbol: cutting.path.into(),
        kind: Kind::Text,
        docstring: None,
        signature: None,
    };
    let mut units = Vec::new();
    let whole = std::iter::once(0..text.len()).collect();
    push(&mut units, text, &lines, whole, header, cutting.limits);
    units
}

pub(super) struct Header {
    pub symbol: String,
    pub kind: Kind,
    pub docstring: Option<String>,
    pub signature: Option<String>,
}

/// A range without what is cut out of it.
fn runs(range: Range<usize>, inner: &[usize], all: &[Definition]) -> Vec<Range<usize>> {
    let mut runs = Vec::with_capacity(inner.len() + 1);
    let mut from = range.start;
    for &n in inner {
        runs.push(from..all[n].extent.start.max(from));
        from = all[n].extent.end.max(from);
    }
    runs.push(from..range.end.max(from));
    runs.retain(|run| !run.is_empty());
    runs
}

pub(super) fn push(
    units: &mut Vec<Unit>,
    text: &str,
    lines: &Lines,
    runs: Vec<Range<usize>>,
    header: Header,
    limits: &CutLimits,
) {
    let says = |run: &Range<usize>| text[run.clone()].contains(char::is_alphanumeric);
    if !runs.iter().any(says) {
        return;
    }
    let own: Vec<Line> = runs
        .into_iter()
        // Brackets that enclosed what is cut out say nothing alone.
        .filter(|run| says(run) || header.kind == Kind::Type)
        .flat_map(|run| lines.within(text, run, limits.part_bytes))
        .collect();
    let cut = parts(&own, limits);
    let count = cut.len() as u32;
    for (n, part) in cut.into_iter().enumerate() {
        let part = &own[part];
        let mut code = join(text, part);
        if !code.contains(char::is_alphanumeric) {
            continue;
        }
        let identifiers = words(&header.symbol, &code);
        if let (Some(signature), true) = (&header.signature, n > 0) {
            code = format!("{signature}\n…\n{code}");
        }
        units.push(Unit {
            symbol: header.symbol.clone(),
            kind: header.kind,
            part: n as u32 + 1,
            parts: count,
            lines: ranges(part),
            docstring: header.docstring.clone(),
            signature: header.signature.clone(),
            code,
            identifiers,
        });
    }
}

/// The words of a symbol and of the names in a text, each once.
fn words(symbol: &str, code: &str) -> String {
    let mut seen = HashSet::new();
    let mut words = String::new();
    let names = [symbol, code].into_iter().flat_map(|text| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|name| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
    });
    let mut names_seen = HashSet::new();
    for name in names {
        if !names_seen.insert(name) {
            continue;
        }
        for word in split_words(name) {
            if seen.len() >= MOST_WORDS {
                return words;
            }
            if word.len() < 2 || seen.contains(&word) {
                continue;
            }
            if !words.is_empty() {
                words.push(' ');
            }
            words += &word;
            seen.insert(word);
        }
    }
    words
}
