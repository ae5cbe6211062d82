//! Building with the `hnsw_rs` crate, whose graph is flattened into ours.
//!
//! Slower than [`Native`](super::Native) by several times (`make bench-vectors` prints by
//! how much), and not the same from one run to the next: its threads insert as they come.
//! It is kept as a second opinion on the quality of graphs.

use std::sync::atomic::{AtomicBool, Ordering};

use hnsw_rs::prelude::{Distance, Hnsw};

use super::super::graph::Graph;
use super::super::rows::{Query, Rows};
use super::super::section::Section;
use super::super::walk::{NONE, Toward};
use super::near::{Layer, Points};
use super::{Before, BuildGraph, GraphOptions};

/// Rows inserted between two looks at whether to go on.
const CHUNK: usize = 1024;
/// Layers that `hnsw_rs` allows.
const MOST_LAYERS: usize = 16;

/// The builder; see the module.
#[derive(Debug)]
pub(crate) struct HnswRs;

/// How far apart two rows are, by their numbers.
struct ByRow<'a>(&'a Points<'a>);

thread_local! {
    static QUERY: std::cell::RefCell<(Query, Vec<f32>)> = Default::default();
}

impl Distance<u32> for ByRow<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        let (Some(&a), Some(&b)) = (a.first(), b.first()) else {
            return f32::MAX;
        };
        QUERY.with_borrow_mut(|(query, out)| {
            let layer = Layer::base(self.0, &[], 1);
            layer.toward(a, query).similarities(&[b], out);
            // `hnsw_rs` asserts that no distance is below zero.
            (self.0.farthest() - out[0]).max(0.0)
        })
    }
}

impl BuildGraph for HnswRs {
    fn build(
        &self,
        rows: &Rows,
        options: &GraphOptions,
        _before: Option<Before<'_>>,
        cancelled: &AtomicBool,
    ) -> Option<Graph> {
        if rows.len() == 0 {
            return None;
        }
        let points = Points::new(rows);
        let ids: Vec<[u32; 1]> = (0..rows.len() as u32).map(|row| [row]).collect();
        let hnsw = Hnsw::<u32, ByRow<'_>>::new(
            options.m,
            rows.len(),
            MOST_LAYERS,
            options.ef,
            ByRow(&points),
        );
        let places: Vec<(&[u32], usize)> = ids
            .iter()
            .enumerate()
            .map(|(row, id)| (&id[..], row))
            .collect();
        for chunk in places.chunks(CHUNK) {
            if cancelled.load(Ordering::Relaxed) {
                return None;
            }
            hnsw.parallel_insert_slice(&chunk.to_vec());
        }
        Some(flatten(&hnsw, rows.len(), options.m))
    }
}

/// The same links, in arrays.
fn flatten(hnsw: &Hnsw<u32, ByRow<'_>>, rows: usize, m: usize) -> Graph {
    let points = hnsw.get_point_indexation();
    let mut base = vec![NONE; rows * 2 * m];
    // The rows of the upper layers, those that reach highest first.
    let mut tops: Vec<(u8, u32)> = Vec::new();
    for point in points {
        if point.get_point_id().0 > 0 {
            tops.push((point.get_point_id().0, point.get_origin_id() as u32));
        }
    }
    tops.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    if tops.is_empty() {
        tops.push((0, 0));
    }
    let mut slot_of = std::collections::HashMap::new();
    slot_of.extend((0u32..).zip(&tops).map(|(slot, top)| (top.1, slot)));
    let mut layers: Vec<Vec<u32>> = (1..=tops[0].0)
        .map(|layer| vec![NONE; tops.iter().take_while(|top| top.0 >= layer).count() * m])
        .collect();
    for point in points {
        let row = point.get_origin_id() as u32;
        for (layer, near) in point.get_neighborhood_id().iter().enumerate() {
            let near = near.iter().map(|near| near.d_id as u32);
            match layer.checked_sub(1) {
                None => {
                    let places = &mut base[row as usize * 2 * m..][..2 * m];
                    places.iter_mut().zip(near).for_each(|(p, n)| *p = n);
                }
                Some(above) => {
                    let (Some(&slot), Some(layer)) = (slot_of.get(&row), layers.get_mut(above))
                    else {
                        continue;
                    };
                    let Some(places) = layer.get_mut(slot as usize * m..(slot as usize + 1) * m)
                    else {
                        continue;
                    };
                    let slots = near.filter_map(|row| slot_of.get(&row).copied());
                    places.iter_mut().zip(slots).for_each(|(p, n)| *p = n);
                }
            }
        }
    }
    let slots: Vec<u32> = tops.iter().map(|top| top.1).collect();
    Graph {
        m,
        base: Section::copy(&base),
        slots: Section::copy(&slots),
        layers: layers.iter().map(|layer| Section::copy(layer)).collect(),
    }
}
