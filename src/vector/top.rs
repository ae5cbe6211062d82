//! The best documents seen so far, by an approximate score.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A document that may be among the answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub score: f32,
    pub ordinal: u32,
    /// Which segment of the reader, and which document there.
    pub segment: u32,
    pub document: u32,
}

/// Worse is greater, so that a max-heap has the worst on top.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.ordinal.cmp(&other.ordinal))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// A heap of at most `capacity` candidates, ordered by score, then by ordinal: which ones
/// it holds does not depend on the order they came in.
#[derive(Default)]
pub(crate) struct TopDocuments {
    capacity: usize,
    heap: BinaryHeap<Candidate>,
}

impl TopDocuments {
    /// Begins anew, for `capacity` candidates.
    pub(crate) fn clear(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.heap.clear();
    }

    /// No score below this one gets in.
    #[inline]
    pub(crate) fn floor(&self) -> f32 {
        if self.heap.len() < self.capacity {
            f32::NEG_INFINITY
        } else {
            self.heap.peek().map_or(f32::INFINITY, |worst| worst.score)
        }
    }

    /// Takes the candidate if it is among the best.
    #[inline]
    pub(crate) fn push(&mut self, candidate: Candidate) {
        if self.heap.len() < self.capacity {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// The candidates, in no order; none are left.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Candidate> + '_ {
        self.heap.drain()
    }
}
