//! Building a graph over rows (Malkov and Yashunin, arXiv:1603.09320,
//! algorithms 1 and 4).
//!
//! Rows are inserted one after another and their layers are drawn from a hash
//! of the row number: the same rows give the same graph, so a rebuilt index
//! answers as before. Similarities are int8 dot products.

use std::sync::atomic::{AtomicBool, Ordering};

use super::graph::{Graph, Near, Walk};
use super::kernels::{DotI8, kernels, prefetch};
use super::rows::Rows;

/// Layers above the base that a graph can have.
const MOST_LAYERS: usize = 15;

/// A graph over all rows, `m` links per row and layer (twice as many on the
/// base layer), chosen among the `ef` nearest found. `None` for no rows at all
/// and once `cancelled` is set.
pub(super) fn build(rows: &Rows, m: usize, ef: usize, cancelled: &AtomicBool) -> Option<Graph> {
    let count = u32::try_from(rows.len()).ok().filter(|&n| n > 0)?;
    let mut builder = Builder {
        similarities: Similarities::new(rows),
        graph: Graph::new(rows.len(), m),
        m,
        ef: ef.max(m),
    };
    let top = layer_of(0, m);
    builder.graph.raise(0, top);
    builder.graph.top_layer = top;
    for row in 1..count {
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        builder.insert(row);
    }
    builder.reconnect();
    Some(builder.graph)
}

/// The top layer of a row: exponentially distributed with a mean of `1 / ln m`.
fn layer_of(row: u32, m: usize) -> usize {
    // splitmix64
    let mut x = u64::from(row)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    // In (0, 1]: the logarithm is finite.
    let uniform = ((x >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    ((-uniform.ln() / (m as f64).ln()) as usize).min(MOST_LAYERS)
}

/// Similarity between rows.
struct Similarities<'a> {
    rows: &'a Rows,
    /// Sum of each row's codes, which the kernel asks for.
    sums: Vec<i32>,
    dot: DotI8,
}

impl<'a> Similarities<'a> {
    fn new(rows: &'a Rows) -> Self {
        let sum = |row| rows.code(row).iter().map(|&c| i32::from(c)).sum();
        Similarities {
            sums: (0..rows.len()).map(sum).collect(),
            rows,
            dot: kernels().dot_i8,
        }
    }

    #[inline]
    fn between(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (a as usize, b as usize);
        let dot = (self.dot)(self.rows.code(a), self.rows.code(b), self.sums[b]);
        dot as f32 * (self.rows.scale(a) * self.rows.scale(b))
    }
}

/// Looking for the rows near a row.
struct Towards<'a> {
    similarities: &'a Similarities<'a>,
    row: u32,
}

impl Walk for Towards<'_> {
    fn similarity(&self, row: u32) -> f32 {
        self.similarities.between(row, self.row)
    }

    fn accept(&self, _row: u32) -> bool {
        true
    }

    fn prefetch(&self, row: u32) {
        prefetch(self.similarities.rows.code(row as usize));
    }
}

struct Builder<'a> {
    similarities: Similarities<'a>,
    graph: Graph,
    m: usize,
    ef: usize,
}

impl Builder<'_> {
    fn insert(&mut self, row: u32) {
        let top = layer_of(row, self.m);
        let walk = Towards {
            similarities: &self.similarities,
            row,
        };
        let mut start = self.graph.descend(top, |other| walk.similarity(other));
        self.graph.raise(row, top);
        for layer in (0..=top.min(self.graph.top_layer)).rev() {
            let walk = Towards {
                similarities: &self.similarities,
                row,
            };
            let Some((near, _)) = self.graph.beam(start, layer, self.ef, u64::MAX, &walk) else {
                continue;
            };
            let links = self.diverse(&near, self.m, true);
            self.graph.set_links(row, layer, &links);
            for &link in &links {
                self.link_back(link, layer, row);
            }
            if let Some(&nearest) = near.first() {
                start = nearest;
            }
        }
        if top > self.graph.top_layer {
            self.graph.top_layer = top;
            self.graph.entry = row;
        }
    }

    /// Links `from` to `to`, choosing anew among its links if they are full.
    fn link_back(&mut self, from: u32, layer: usize, to: u32) {
        if self.graph.add_link(from, layer, to) {
            return;
        }
        let near = |row| Near {
            similarity: self.similarities.between(from, row),
            row,
        };
        let links = self.graph.links(from, layer);
        let mut all: Vec<Near> = links.iter().copied().chain([to]).map(near).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let kept = self.diverse(&all, self.graph.most_links(layer), false);
        self.graph.set_links(from, layer, &kept);
    }

    /// Of rows ordered nearest first, up to `most` that are nearer to the target
    /// than to one another. `fill` tops them up with the nearest of the rest.
    fn diverse(&self, near: &[Near], most: usize, fill: bool) -> Vec<u32> {
        let mut kept: Vec<u32> = Vec::with_capacity(most);
        let mut rest = Vec::new();
        for candidate in near {
            if kept.len() >= most {
                return kept;
            }
            let hidden = kept.iter().any(|&other| {
                self.similarities.between(candidate.row, other) >= candidate.similarity
            });
            if hidden {
                rest.push(candidate.row);
            } else {
                kept.push(candidate.row);
            }
        }
        if fill {
            let room = most - kept.len();
            kept.extend(rest.into_iter().take(room));
        }
        kept
    }

    /// Makes rows that no search can reach reachable: dropping links for more
    /// diverse ones can cut off whole clusters of near duplicates.
    fn reconnect(&mut self) {
        let mut reached = vec![false; self.graph.len()];
        self.reach(self.graph.entry, &mut reached);
        for row in 0..self.graph.len() as u32 {
            if reached[row as usize] {
                continue;
            }
            let walk = Towards {
                similarities: &self.similarities,
                row,
            };
            let start = self.graph.descend(0, |other| walk.similarity(other));
            let near = self.graph.beam(start, 0, self.ef, u64::MAX, &walk);
            let near = near.map(|(near, _)| near).unwrap_or_default();
            // Through the nearest reached row that has room for one more link.
            for from in near {
                if reached[from.row as usize] && self.graph.add_link(from.row, 0, row) {
                    self.reach(row, &mut reached);
                    break;
                }
            }
        }
    }

    /// Marks everything the base layer reaches from `row`.
    fn reach(&self, row: u32, reached: &mut [bool]) {
        let mut ahead = vec![row];
        reached[row as usize] = true;
        while let Some(row) = ahead.pop() {
            for &next in self.graph.links(row, 0) {
                if !std::mem::replace(&mut reached[next as usize], true) {
                    ahead.push(next);
                }
            }
        }
    }
}
