//! The filter language and the sets of ordinals it compiles to.
//!
//! A filter arrives as text (`section = "science" AND minutes >= 3`) or as JSON, is
//! parsed into a [`Filter`], and is bound to an index's fields, which gives a
//! [`BoundFilter`] of typed values. A bound filter has one meaning everywhere:
//! [`BoundFilter::matches`] states it on a single document, and whatever evaluates
//! it over an index must give the same documents. [`BoundFilter::normalise`] brings
//! filters that mean the same to one form, so that they share a cache entry.
//!
//! [`OrdinalSet`] is the common currency of the searching rooms: the set of documents
//! that pass, by ordinal.

mod ast;
mod bind;
mod bitmap;
mod normal;
mod parse;
#[cfg(test)]
mod tests;

pub use ast::{Filter, Literal, Range};
pub use bind::{BoundFilter, Bounds, Target};
pub use bitmap::OrdinalSet;

/// Deepest nesting of parentheses, `NOT`s and JSON objects.
pub const MAX_DEPTH: usize = 64;
/// Longest filter text, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Most values in one list.
pub const MAX_LIST: usize = 10_000;
/// Most comparisons in one filter.
pub const MAX_CLAUSES: usize = 4096;
