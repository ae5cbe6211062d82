//! The combiners of an index: the one that is shipped, and those fitted from its feedback.

use std::sync::Arc;

use super::Index;
use crate::combine::Combiner;

/// The combiner that searches use.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveCombiner {
    /// Its version among the index's own; 0 for the one that is shipped.
    pub version: u32,
    /// Its weights.
    pub combiner: Combiner,
}

impl Index {
    /// The combiner that searches use.
    pub fn combiner(&self) -> Arc<ActiveCombiner> {
        self.combiner.load_full()
    }
}
