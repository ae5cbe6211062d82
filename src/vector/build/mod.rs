//! Building graphs over rows, in one of two ways behind one trait.

mod hnsw_rs;
mod native;
mod near;

use std::fmt::Debug;
use std::sync::atomic::AtomicBool;

use super::graph::Graph;
use super::rows::Rows;

pub(crate) use hnsw_rs::HnswRs;
pub(crate) use native::Native;

/// What a graph is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GraphOptions {
    /// Most links per row on an upper layer, and twice as many on the base layer.
    pub m: usize,
    /// Beam width while building.
    pub ef: usize,
    /// What the layers and the order of insertion are drawn from.
    pub seed: u64,
}

/// A graph to go on from.
pub(crate) struct Before<'a> {
    /// Over other rows.
    pub graph: &'a Graph,
    /// The row now of each row then; `u32::MAX` for those that are gone.
    pub now: &'a [u32],
}

/// A way of building graphs.
pub(crate) trait BuildGraph: Debug + Send + Sync {
    /// A graph over all rows, reusing another one's links where there is one. `None` for
    /// no rows, and once `cancelled` is set.
    fn build(
        &self,
        rows: &Rows,
        options: &GraphOptions,
        before: Option<Before<'_>>,
        cancelled: &AtomicBool,
    ) -> Option<Graph>;
}
