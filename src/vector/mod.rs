//! Vectors: distances, segments, and the planner that picks scan or graph.
//!
//! A [`VectorIndex`] grows: documents are added with one vector per passage, and
//! become visible, together, when it is published. What is visible is a
//! [`VectorReader`], which never changes. Underneath lie immutable segments, as
//! in a log-structured merge tree: every publication makes a flat one, small
//! flat ones are merged so that each is more than twice the next, and once
//! their rows are enough for it a background thread builds a graph over them.
//!
//! What it promises:
//!
//! * A reader's answers do not change while the index does; all of a document's
//!   passages are in a reader or none.
//! * A search gives the best passage of each document, ordered by score and then
//!   by ordinal, and the same answer every time.
//! * It is never short: if `depth` allowed documents are there, it gives `depth`.
//! * Scores are those of the index's metric to 16 bits a dimension, by whichever way they
//!   were found.
//!
//! An index that was opened in a folder keeps its segments with graphs in files there, and
//! finds them again. Everything else is given to it anew by whoever owns the documents.

mod build;
mod compaction;
mod file;
mod folder;
mod graph;
mod index;
mod kernels;
mod late;
mod planner;
mod reader;
mod rows;
mod section;
mod segment;
mod space;
mod top;
mod walk;

#[cfg(test)]
mod tests;

pub use folder::{FileState, Inherited, Owner, VectorFile, inspect, next_number};
pub use index::{Builder, VectorFigures, VectorIndex, VectorOptions};
pub use late::MOST_QUERY_VECTORS;
pub use planner::Way;
pub use reader::{Strategy, VectorHit, VectorHits, VectorQuery, VectorReader};
pub use space::{MOST_DIMENSIONS, Metric, Storage, check_stored, check_vector};
