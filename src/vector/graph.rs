//! A hierarchical navigable small world graph in flat arrays, and the beam
//! search over it (Malkov and Yashunin, arXiv:1603.09320, algorithms 2 and 5).
//!
//! Nodes are the rows of a segment. The base layer is one array of a fixed
//! number of links per row; the few rows of the upper layers have lists of
//! their own. Building and searching walk the same structure with the same
//! beam. What is visited, and the heaps, live in a scratch space per thread.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and how similar it is to what is searched for; greater is nearer, and
/// of equals the lower row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near {
    pub similarity: f32,
    pub row: u32,
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity
            .total_cmp(&other.similarity)
            .then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

/// Not in the upper layers.
const BASE_ONLY: u32 = u32::MAX;

/// The links of every row on every layer.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Most links on an upper layer; twice as many on the base layer.
    m: usize,
    /// Where every search starts: a row of the top layer.
    pub(super) entry: u32,
    pub(super) top_layer: usize,
    /// `2 * m` places per row, the first `degrees[row]` in use.
    base: Vec<u32>,
    degrees: Vec<u16>,
    /// Index into `upper` of each row, or [`BASE_ONLY`].
    upper_of: Vec<u32>,
    /// Layers 1 and up of the rows that reach them.
    upper: Vec<Vec<Vec<u32>>>,
}

impl Graph {
    /// A graph over `rows` rows without links, whose only node is row 0.
    pub(super) fn new(rows: usize, m: usize) -> Graph {
        Graph {
            m,
            entry: 0,
            top_layer: 0,
            base: vec![0; rows * 2 * m],
            degrees: vec![0; rows],
            upper_of: vec![BASE_ONLY; rows],
            upper: Vec::new(),
        }
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.degrees.len()
    }

    /// Most links a row may have on a layer.
    pub(super) fn most_links(&self, layer: usize) -> usize {
        if layer == 0 { 2 * self.m } else { self.m }
    }

    /// Gives a row its layers 1 to `top`.
    pub(super) fn raise(&mut self, row: u32, top: usize) {
        if top > 0 {
            self.upper_of[row as usize] = self.upper.len() as u32;
            self.upper.push(vec![Vec::new(); top]);
        }
    }

    /// The links of a row on a layer; none above the row's own layers.
    #[inline]
    pub(super) fn links(&self, row: u32, layer: usize) -> &[u32] {
        let row = row as usize;
        if layer == 0 {
            let first = row * 2 * self.m;
            return &self.base[first..first + usize::from(self.degrees[row])];
        }
        match self.upper_of[row] {
            BASE_ONLY => &[],
            slot => self.upper[slot as usize]
                .get(layer - 1)
                .map_or(&[], Vec::as_slice),
        }
    }

    /// Replaces the links of a row on a layer; at most `most_links(layer)`.
    pub(super) fn set_links(&mut self, row: u32, layer: usize, links: &[u32]) {
        let row = row as usize;
        let links = &links[..links.len().min(self.most_links(layer))];
        if layer == 0 {
            let first = row * 2 * self.m;
            self.base[first..first + links.len()].copy_from_slice(links);
            self.degrees[row] = links.len() as u16;
        } else if let Some(list) = self.upper_list(row, layer) {
            list.clear();
            list.extend_from_slice(links);
        }
    }

    /// Adds a link where there is room for one; whether there was.
    pub(super) fn add_link(&mut self, row: u32, layer: usize, link: u32) -> bool {
        let (row, most) = (row as usize, self.most_links(layer));
        if layer == 0 {
            let degree = usize::from(self.degrees[row]);
            if degree < most {
                self.base[row * 2 * self.m + degree] = link;
                self.degrees[row] += 1;
            }
            return degree < most;
        }
        match self.upper_list(row, layer) {
            Some(list) if list.len() < most => {
                list.push(link);
                true
            }
            _ => false,
        }
    }

    fn upper_list(&mut self, row: usize, layer: usize) -> Option<&mut Vec<u32>> {
        self.upper
            .get_mut(self.upper_of[row] as usize)?
            .get_mut(layer - 1)
    }

    /// Walks down from the entry to `layer`, on each layer above it to the row
    /// most like the target.
    pub(super) fn descend(&self, layer: usize, similarity: impl Fn(u32) -> f32) -> Near {
        let mut best = Near {
            similarity: similarity(self.entry),
            row: self.entry,
        };
        for layer in (layer + 1..=self.top_layer).rev() {
            loop {
                let from = best.row;
                for &row in self.links(from, layer) {
                    let near = Near {
                        similarity: similarity(row),
                        row,
                    };
                    best = best.max(near);
                }
                if best.row == from {
                    break;
                }
            }
        }
        best
    }

    /// The `ef` rows most like the target that `accept` takes and a beam from
    /// `start` reaches, nearest first, with the number of rows compared. Rows
    /// that are not accepted are walked through. `None` once more than `budget`
    /// rows were compared.
    pub(super) fn beam(
        &self,
        start: Near,
        layer: usize,
        ef: usize,
        budget: u64,
        walk: &impl Walk,
    ) -> Option<(Vec<Near>, u64)> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear(self.len());
            let found = self.beam_in(scratch, start, layer, ef, budget, walk);
            found.map(|compared| {
                let mut near: Vec<Near> = scratch.found.drain().map(|r| r.0).collect();
                near.sort_unstable_by(|a, b| b.cmp(a));
                (near, compared)
            })
        })
    }

    fn beam_in(
        &self,
        scratch: &mut Scratch,
        start: Near,
        layer: usize,
        ef: usize,
        budget: u64,
        walk: &impl Walk,
    ) -> Option<u64> {
        let mut compared = 1;
        scratch.visit(start.row);
        scratch.ahead.push(start);
        if walk.accept(start.row) {
            scratch.found.push(std::cmp::Reverse(start));
        }
        while let Some(nearest) = scratch.ahead.pop() {
            let full = scratch.found.len() >= ef;
            if full && scratch.found.peek().is_some_and(|worst| nearest < worst.0) {
                break;
            }
            let mut fresh = std::mem::take(&mut scratch.fresh);
            fresh.clear();
            for &row in self.links(nearest.row, layer) {
                if scratch.visit(row) {
                    walk.prefetch(row);
                    fresh.push(row);
                }
            }
            compared += fresh.len() as u64;
            for &row in &fresh {
                let near = Near {
                    similarity: walk.similarity(row),
                    row,
                };
                let full = scratch.found.len() >= ef;
                if full && scratch.found.peek().is_some_and(|worst| near < worst.0) {
                    continue;
                }
                scratch.ahead.push(near);
                if walk.accept(row) {
                    if full {
                        scratch.found.pop();
                    }
                    scratch.found.push(std::cmp::Reverse(near));
                }
            }
            scratch.fresh = fresh;
            if compared > budget {
                return None;
            }
        }
        Some(compared)
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        let upper: usize = self
            .upper
            .iter()
            .map(|layers| {
                let lists: usize = layers.iter().map(|list| 4 * list.capacity() + 24).sum();
                lists + 24
            })
            .sum();
        4 * (self.base.capacity() + self.upper_of.capacity()) + 2 * self.degrees.capacity() + upper
    }
}

/// What a beam is looking for.
pub(super) trait Walk {
    /// How like the target a row is.
    fn similarity(&self, row: u32) -> f32;
    /// Whether a row may be an answer.
    fn accept(&self, row: u32) -> bool;
    /// The row's similarity will be asked for soon.
    fn prefetch(&self, row: u32);
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The working memory of one search, kept by its thread.
#[derive(Default)]
struct Scratch {
    /// A bit per row.
    visited: Vec<u64>,
    /// The words of `visited` that are not zero.
    touched: Vec<u32>,
    ahead: BinaryHeap<Near>,
    found: BinaryHeap<std::cmp::Reverse<Near>>,
    fresh: Vec<u32>,
}

impl Scratch {
    fn clear(&mut self, rows: usize) {
        for word in self.touched.drain(..) {
            self.visited[word as usize] = 0;
        }
        let words = rows.div_ceil(64);
        if self.visited.len() < words {
            self.visited.resize(words, 0);
        }
        self.ahead.clear();
        self.found.clear();
    }

    /// Whether the row is visited for the first time.
    #[inline]
    fn visit(&mut self, row: u32) -> bool {
        let (word, bit) = (row / 64, 1u64 << (row % 64));
        let seen = &mut self.visited[word as usize];
        let first = *seen & bit == 0;
        if *seen == 0 {
            self.touched.push(word);
        }
        *seen |= bit;
        first
    }
}
