//! A hierarchical navigable small world graph in flat arrays (Malkov and Yashunin,
//! arXiv:1603.09320).
//!
//! The base layer has every row, `2 * m` places for links each. The rows of the upper
//! layers are numbered by **slots**, those that reach highest first, so that each layer
//! is the first so many slots and one list says which row a slot is. Links of upper
//! layers are slots.

use super::section::Section;
use super::walk::{Links, Scratch, Toward};

/// The links of every row on every layer.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Most links on an upper layer; twice as many on the base layer.
    pub(super) m: usize,
    /// `2 * m` places per row.
    pub(super) base: Section<u32>,
    /// The row of each slot. Slot 0 is where every walk starts.
    pub(super) slots: Section<u32>,
    /// `m` places per slot for each layer above the base, the lowest first.
    pub(super) layers: Vec<Section<u32>>,
}

impl Graph {
    /// The links of the base layer.
    pub(crate) fn base(&self) -> Links<'_> {
        Links {
            width: 2 * self.m,
            values: &self.base,
        }
    }

    /// A row of the base layer to start from; `None` only of an empty graph.
    pub(crate) fn descend(&self, toward: &mut impl Toward, scratch: &mut Scratch) -> Option<u32> {
        let slots = &self.slots;
        let mut slot = 0;
        let mut rows = std::mem::take(&mut scratch.rows);
        for layer in self.layers.iter().rev() {
            let links = Links {
                width: self.m,
                values: layer,
            };
            let mut upper = Upper {
                slots,
                toward,
                rows: &mut rows,
            };
            slot = scratch.descend(links, slot, &mut upper);
        }
        scratch.rows = rows;
        slots.get(slot as usize).copied()
    }

    /// Bytes held in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let layers: usize = self.layers.iter().map(Section::memory_bytes).sum();
        self.base.memory_bytes() + self.slots.memory_bytes() + layers
    }
}

/// Toward the same, where rows are named by slots.
struct Upper<'a, T> {
    slots: &'a [u32],
    toward: &'a mut T,
    /// Working memory.
    rows: &'a mut Vec<u32>,
}

impl<T: Toward> Toward for Upper<'_, T> {
    fn similarities(&mut self, slots: &[u32], out: &mut Vec<f32>) {
        self.rows.clear();
        self.rows
            .extend(slots.iter().map(|&slot| self.slots[slot as usize]));
        self.toward.similarities(self.rows, out);
    }

    fn prefetch(&self, slot: u32) {
        self.toward.prefetch(self.slots[slot as usize]);
    }
}
