//! Source code: parsing, cutting into functions, and the graph of a function.
//!
//! The promise: whatever a file holds (broken code, a minified bundle, a hundred thousand nested
//! brackets), reading it ends within [`Limits`] and without recursion of ours. What cannot be
//! parsed is text, and says so; no line with a letter or a digit in it is lost by cutting.
//!
//! * [`parse`] makes a [`Syntax`]: the tree of tree-sitter as one flat list.
//! * [`cut()`] makes [`Unit`]s of a file: functions, methods, types, and what is around them.
//! * [`cut_markdown`] makes [`Unit`]s of what is under each heading.
//! * [`CodeGraph`] is a function as a graph network reads it; the same for serving and, by way of
//!   an Arrow file, for training.

mod cut;
mod docs;
mod find;
mod graph;
mod kinds;
mod language;
mod markdown;
mod parts;
mod roles;
mod syntax;

pub use cut::{CutLimits, Cutting, Kind, LineRange, Unit, cut, cut_text};
pub use graph::{CodeGraph, GraphLimits};
pub use kinds::{all_kinds, vocabulary_size};
pub use language::Language;
pub use markdown::{MARKDOWN, cut_markdown, is_markdown};
pub use syntax::{Limits, Node, Syntax, Unparsed, parse};
