//! Building in parallel, always the same graph.
//!
//! Rows are inserted in batches: each row of a batch finds its neighbours in the graph
//! as it was before the batch, on as many threads as there are; then the batch's links
//! are added, those back to its rows grouped by where they start (Manohar et al.,
//! ParlayANN, arXiv:2305.04359). What comes out depends on the order of the rows and the
//! batches, not on the threads. The order is drawn at random, so that rows that are near
//! one another, like passages of one document, rarely share a batch, which would keep
//! them from finding each other; batches grow with the graph.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::super::graph::Graph;
use super::super::rows::{Query, Rows};
use super::super::section::Section;
use super::super::walk::{Links, NONE, Scratch, Toward};
use super::near::{Choice, Layer, Points};
use super::{Before, BuildGraph, GraphOptions};

/// Layers above the base that a graph can have.
const MOST_LAYERS: usize = 15;
/// A batch is this part of the rows that are in already...
const BATCH_SHARE: usize = 32;
/// ... and has at most so many.
const MOST_BATCH: usize = 4096;

/// The builder of this project; see the module.
#[derive(Debug)]
pub(crate) struct Native;

impl BuildGraph for Native {
    fn build(
        &self,
        rows: &Rows,
        options: &GraphOptions,
        before: Option<Before<'_>>,
        cancelled: &AtomicBool,
    ) -> Option<Graph> {
        if rows.len() == 0 {
            return None;
        }
        let mut builder = Builder::new(rows, options, before, cancelled);
        builder.insert_slots()?;
        builder.insert_rest()?;
        builder.reconnect()?;
        Some(builder.finish())
    }
}

/// splitmix64: noise from a number.
fn noise(seed: u64, row: u32) -> u64 {
    let mut x = (seed ^ u64::from(row))
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The top layer of a row: exponentially distributed with a mean of `1 / ln m`.
fn top_layer(seed: u64, row: u32, m: usize) -> usize {
    // In (0, 1]: the logarithm is finite.
    let uniform = ((noise(seed, row) >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    ((-uniform.ln() / (m as f64).ln()) as usize).min(MOST_LAYERS)
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// The working memory of a thread that finds neighbours.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    query: Query,
    nodes: Vec<u32>,
    similarities: Vec<f32>,
    near: Vec<(u32, f32)>,
    choice: Choice,
}

/// A link to be added: on which layer, from and to which node, that is row or slot.
type Link = (u8, u32, u32);

struct Builder<'a> {
    points: Points<'a>,
    rows: usize,
    m: usize,
    ef: usize,
    cancelled: &'a AtomicBool,
    base: Vec<u32>,
    /// Whether a row is in the base layer from the start.
    old: Vec<bool>,
    /// Rows in the base layer.
    inserted: usize,
    slots: Vec<u32>,
    /// The top layer of each slot.
    tops: Vec<u8>,
    layers: Vec<Vec<u32>>,
    /// The rows of the base layer only, in the order of their insertion.
    rest: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(
        rows: &'a Rows,
        options: &GraphOptions,
        before: Option<Before<'_>>,
        cancelled: &'a AtomicBool,
    ) -> Builder<'a> {
        let (count, m) = (rows.len(), options.m);
        let points = Points::new(rows);
        let mut base = vec![NONE; count * 2 * m];
        let mut old = vec![false; count];
        if let Some(before) = before.filter(|before| before.graph.m == m) {
            take_over(&before, &points, &mut base, &mut old);
        }
        let mut order: Vec<(usize, bool, u64, u32)> = (0..count as u32)
            .map(|row| {
                let top = top_layer(options.seed, row, m);
                (top, old[row as usize], noise(!options.seed, row), row)
            })
            .collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        // Every walk starts at slot 0: that has to be a row which is linked already.
        let first = order.iter().position(|row| row.1).unwrap_or(0);
        order[first].0 = order[0].0;
        order[..=first].rotate_right(1);
        let upper = order.iter().take_while(|row| row.0 > 0).count().max(1);
        let (upper, rest) = order.split_at(upper);
        let layers = (1..=upper[0].0).map(|layer| {
            let slots = upper.iter().take_while(|row| row.0 >= layer).count();
            vec![NONE; slots * m]
        });
        Builder {
            points,
            rows: count,
            m,
            ef: options.ef.max(m),
            cancelled,
            base,
            inserted: old.iter().filter(|&&old| old).count(),
            slots: upper.iter().map(|row| row.3).collect(),
            tops: upper.iter().map(|row| row.0 as u8).collect(),
            layers: layers.collect(),
            rest: rest.iter().filter(|row| !row.1).map(|row| row.3).collect(),
            old,
        }
    }

    fn layer(&self, layer: usize) -> Layer<'_> {
        let Some(above) = layer.checked_sub(1) else {
            return Layer::base(&self.points, &self.base, 2 * self.m);
        };
        Layer {
            points: &self.points,
            links: Links {
                width: self.m,
                values: &self.layers[above],
            },
            slots: Some(&self.slots),
        }
    }

    /// Inserts the rows that are on upper layers, on all of their layers.
    fn insert_slots(&mut self) -> Option<()> {
        let mut first = 1;
        while first < self.slots.len() {
            // What is in the upper layers counts here, however large the base is.
            let last = (first + batch_after(first)).min(self.slots.len());
            let slots: Vec<u32> = (first as u32..last as u32).collect();
            let links = self.find(&slots, |builder, slot, worker| {
                builder.links_of_slot(slot, worker)
            });
            self.add(links)?;
            first = last;
        }
        let new = self.slots.iter().filter(|&&row| !self.old[row as usize]);
        self.inserted += new.count();
        Some(())
    }

    /// Inserts the rows that are on the base layer only.
    fn insert_rest(&mut self) -> Option<()> {
        let rest = std::mem::take(&mut self.rest);
        let mut rest = rest.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_after(self.inserted).min(rest.len()));
            let links = self.find(batch, |builder, row, worker| {
                let start = builder.descend(row, 0, worker);
                let mut links = Vec::with_capacity(2 * builder.m);
                builder.choose(0, row, row, start, worker, &mut links);
                links
            });
            self.add(links)?;
            self.inserted += batch.len();
            rest = later;
        }
        Some(())
    }

    /// The new links of many nodes at once, in their order.
    fn find(
        &self,
        nodes: &[u32],
        of: impl Fn(&Self, u32, &mut Worker) -> Vec<Link> + Send + Sync,
    ) -> Vec<Link> {
        let links: Vec<Vec<Link>> = nodes
            .par_iter()
            .with_min_len(4)
            .map(|&node| {
                if self.cancelled.load(Ordering::Relaxed) {
                    return Vec::new();
                }
                WORKER.with_borrow_mut(|worker| of(self, node, worker))
            })
            .collect();
        links.concat()
    }

    fn links_of_slot(&self, slot: u32, worker: &mut Worker) -> Vec<Link> {
        let row = self.slots[slot as usize];
        let top = usize::from(self.tops[slot as usize]);
        let mut links = Vec::new();
        let mut start = self.descend(row, top, worker);
        for layer in (1..=top).rev() {
            start = self.choose(layer, slot, row, start, worker, &mut links);
        }
        if !self.old[row as usize] {
            let start = self.slots[start as usize];
            self.choose(0, row, row, start, worker, &mut links);
        }
        links
    }

    /// Where to start on `layer`, coming down from the top: a slot, or a row of the base.
    fn descend(&self, row: u32, layer: usize, worker: &mut Worker) -> u32 {
        let mut slot = 0;
        for above in (layer + 1..=self.layers.len()).rev() {
            let above = self.layer(above);
            let mut toward = above.toward(row, &mut worker.query);
            slot = worker.scratch.descend(above.links, slot, &mut toward);
        }
        match layer {
            0 => self.slots[slot as usize],
            _ => slot,
        }
    }

    /// Finds and chooses the links of a node that is the row `row`; the node nearest.
    fn choose(
        &self,
        layer: usize,
        node: u32,
        row: u32,
        start: u32,
        worker: &mut Worker,
        links: &mut Vec<Link>,
    ) -> u32 {
        let on = self.layer(layer);
        let mut toward = on.toward(row, &mut worker.query);
        let scratch = &mut worker.scratch;
        scratch.beam(on.links, [start], self.ef, &mut toward);
        let found = scratch.found().iter();
        let near = found.map(|near| (near.row(), near.similarity()));
        // As many as there is room for, of which at least `m`: on the base layer a walk then
        // takes fewer comparisons for the same recall than with `m` and what links back.
        worker.choice.diverse(&on, near, room(&on), self.m);
        let chosen = worker.choice.kept.iter();
        links.extend(chosen.map(|&other| (layer as u8, node, other)));
        scratch.found().first().map_or(start, |near| near.row())
    }

    /// Adds links and those back. `None` when cancelled.
    fn add(&mut self, links: Vec<Link>) -> Option<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return None;
        }
        let same = |a: &Link, b: &Link| (a.0, a.1) == (b.0, b.1);
        for group in links.chunk_by(same) {
            self.places(group).copy_from_slice_of(group);
        }
        let back = links.iter().map(|&(layer, from, to)| (layer, to, from));
        let mut back: Vec<Link> = back.collect();
        back.par_sort_unstable();
        // Most have room; only those that do not have to choose.
        let mut full = Vec::new();
        for group in back.chunk_by(same) {
            let places = self.places(group);
            let used = places.iter().take_while(|&&link| link != NONE).count();
            // The last place of a row is kept for `reconnect`.
            let spare = usize::from(group[0].0 == 0);
            if used + group.len() + spare <= places.len() {
                places[used..].copy_from_slice_of(group);
            } else {
                full.push(group);
            }
        }
        let this = &*self;
        let lists: Vec<Vec<u32>> = full
            .par_iter()
            .with_min_len(4)
            .map(|group| WORKER.with_borrow_mut(|worker| this.choose_anew(group, worker)))
            .collect();
        for (group, list) in full.iter().zip(&lists) {
            let places = self.places(group);
            places.fill(NONE);
            places[..list.len()].copy_from_slice(list);
        }
        Some(())
    }

    /// The places of the node where a group of links starts.
    fn places(&mut self, group: &[Link]) -> &mut [u32] {
        let (layer, from) = group.first().map_or((0, 0), |link| (link.0, link.1));
        let (from, m) = (from as usize, self.m);
        match usize::from(layer).checked_sub(1) {
            None => &mut self.base[from * 2 * m..][..2 * m],
            Some(layer) => &mut self.layers[layer][from * m..][..m],
        }
    }

    /// The links of a node that gets more than it has room for.
    fn choose_anew(&self, group: &[Link], worker: &mut Worker) -> Vec<u32> {
        let (layer, from, _) = group[0];
        let on = self.layer(usize::from(layer));
        worker.nodes.clear();
        worker.nodes.extend(on.links.of(from));
        worker.nodes.extend(group.iter().map(|link| link.2));
        choose_among(&on, on.row(from), worker)
    }

    /// Makes rows that no walk can reach reachable: dropping links for more diverse ones
    /// can cut off whole clusters of near duplicates. `None` when cancelled.
    fn reconnect(&mut self) -> Option<()> {
        let mut reached = vec![false; self.rows];
        self.reach(self.slots[0], &mut reached);
        let mut worker = Worker::default();
        for row in 0..self.rows as u32 {
            if reached[row as usize] {
                continue;
            }
            if self.cancelled.load(Ordering::Relaxed) {
                return None;
            }
            let start = self.descend(row, 0, &mut worker);
            self.choose(0, row, row, start, &mut worker, &mut Vec::new());
            // Through the nearest reached row that has room for one more link.
            for from in worker.scratch.found().iter().map(|near| near.row()) {
                if !reached[from as usize] {
                    continue;
                }
                let places = self.places(&[(0, from, row)]);
                if let Some(place) = places.iter_mut().find(|place| **place == NONE) {
                    *place = row;
                    self.reach(row, &mut reached);
                    break;
                }
            }
        }
        Some(())
    }

    /// Marks everything that the base layer reaches from `row`.
    fn reach(&self, row: u32, reached: &mut [bool]) {
        let links = self.layer(0).links;
        let mut ahead = vec![row];
        reached[row as usize] = true;
        while let Some(row) = ahead.pop() {
            for next in links.of(row) {
                if !std::mem::replace(&mut reached[next as usize], true) {
                    ahead.push(next);
                }
            }
        }
    }

    fn finish(self) -> Graph {
        let layers = self.layers.iter();
        Graph {
            m: self.m,
            base: Section::copy(&self.base),
            slots: Section::copy(&self.slots),
            layers: layers.map(|layer| Section::copy(layer)).collect(),
        }
    }
}

/// The size of the batch after so many rows.
fn batch_after(inserted: usize) -> usize {
    (inserted / BATCH_SHARE).clamp(1, MOST_BATCH)
}

/// Links that are chosen for a node at most. On the base layer one place is kept free, for
/// rows that would otherwise not be reached.
fn room(layer: &Layer<'_>) -> usize {
    match layer.slots {
        None => layer.links.width - 1,
        Some(_) => layer.links.width,
    }
}

/// Chooses the links of a row among the worker's nodes, which may hold one twice.
fn choose_among(layer: &Layer<'_>, row: u32, worker: &mut Worker) -> Vec<u32> {
    let mut toward = layer.toward(row, &mut worker.query);
    toward.similarities(&worker.nodes, &mut worker.similarities);
    let near = &mut worker.near;
    near.clear();
    let similarities = worker.similarities.iter().copied();
    near.extend(worker.nodes.iter().copied().zip(similarities));
    near.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    near.dedup_by_key(|near| near.0);
    let near = near.iter().copied();
    worker.choice.diverse(layer, near, room(layer), 0);
    worker.choice.kept.clone()
}

/// Takes another graph's links over, between the rows that are left of it. A row that
/// loses a link gets those of the lost one to choose from (Singh et al., FreshDiskANN,
/// arXiv:2105.09613, algorithm 4).
fn take_over(before: &Before<'_>, points: &Points<'_>, base: &mut [u32], old: &mut [bool]) {
    let links = before.graph.base();
    let width = links.width;
    let mut then = vec![NONE; old.len()];
    for (row, &now) in (0..).zip(before.now) {
        if let Some(place) = then.get_mut(now as usize) {
            *place = row;
            old[now as usize] = true;
        }
    }
    let now = |row: u32| before.now.get(row as usize).copied().unwrap_or(NONE);
    let layer = Layer::base(points, &[], width);
    base.par_chunks_mut(width)
        .zip(then.par_iter())
        .enumerate()
        .with_min_len(64)
        .filter(|(_, (_, then))| **then != NONE)
        .for_each(|(row, (places, &then))| {
            WORKER.with_borrow_mut(|worker| {
                worker.nodes.clear();
                let mut lost = false;
                for link in links.of(then) {
                    if now(link) != NONE {
                        worker.nodes.push(now(link));
                        continue;
                    }
                    lost = true;
                    // The links of a file may say anything.
                    if link as usize >= links.rows() {
                        continue;
                    }
                    let beyond = links.of(link).map(now);
                    worker
                        .nodes
                        .extend(beyond.filter(|&n| n != NONE && n as usize != row));
                }
                if lost {
                    worker.nodes = choose_among(&layer, row as u32, worker);
                }
                places[..worker.nodes.len()].copy_from_slice(&worker.nodes);
            });
        });
}

/// Writes where a group of links goes.
trait CopyTargets {
    fn copy_from_slice_of(&mut self, group: &[Link]);
}

impl CopyTargets for [u32] {
    fn copy_from_slice_of(&mut self, group: &[Link]) {
        for (place, link) in self.iter_mut().zip(group) {
            *place = link.2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rows::RowsBuilder;
    use super::super::super::space::{Metric, Shape, Storage};
    use super::*;

    #[test]
    fn every_row_is_reached() {
        // Few links and vectors without any structure: the hardest to keep together.
        let shape = Shape {
            dimensions: 100,
            metric: Metric::Cosine,
            storage: Storage::Int8,
        };
        let mut rows = RowsBuilder::new(shape);
        for row in 0..6_000u32 {
            let value = |i: u32| noise(3, row * 100 + i) as f32 / u64::MAX as f32 - 0.5;
            rows.push(row, &(0..100).map(value).collect::<Vec<_>>());
        }
        let rows = rows.finish();
        let options = GraphOptions {
            m: 4,
            ef: 40,
            seed: 1,
        };
        let graph = Native.build(&rows, &options, None, &AtomicBool::new(false));
        let graph = graph.unwrap();
        let mut reached = vec![false; rows.len()];
        let mut ahead = vec![graph.slots[0]];
        while let Some(row) = ahead.pop() {
            if !std::mem::replace(&mut reached[row as usize], true) {
                ahead.extend(graph.base().of(row));
            }
        }
        assert_eq!(reached.iter().filter(|&&reached| !reached).count(), 0);
    }
}
