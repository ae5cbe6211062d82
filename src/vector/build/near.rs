//! How near rows are to one another, and which of the near ones to link to.

use super::super::rows::{Finder, Query, Rows};
use super::super::space::{Metric, squared_norm};
use super::super::walk::{Links, Toward};

/// Rows as points: how near two are is symmetric, and nothing is nearer to a row than
/// the row itself (as products of vectors of different lengths would not have it).
pub(super) struct Points<'a> {
    rows: &'a Rows,
    finder: Finder<'a>,
    /// For dot products: what an additional dimension would have to hold for all rows to
    /// be of the same length (Bachrach et al., 2014). Nearest by angle is then largest by
    /// product with a query, which has 0 there.
    lifts: Vec<f32>,
    /// The largest squared length, for dot products.
    longest: f32,
}

impl<'a> Points<'a> {
    pub(super) fn new(rows: &'a Rows) -> Points<'a> {
        let mut lifts = Vec::new();
        let mut longest = 0.0;
        if rows.shape().metric == Metric::Dot {
            let mut vector = Vec::new();
            lifts.extend((0..rows.len()).map(|row| {
                rows.vector(row, &mut vector);
                squared_norm(&vector) as f32
            }));
            longest = lifts.iter().copied().fold(0.0, f32::max);
            for lift in &mut lifts {
                *lift = (longest - *lift).max(0.0).sqrt();
            }
        }
        Points {
            rows,
            finder: rows.finder(rows.shape().built_by()),
            lifts,
            longest,
        }
    }

    /// More than any two rows are similar.
    pub(super) fn farthest(&self) -> f32 {
        match self.rows.shape().metric {
            Metric::Cosine => 1.01,
            // Products reach the square of the longest length; distances below none.
            Metric::Dot => self.longest * 1.01,
            Metric::L2 => 0.0,
        }
    }

    fn similarities(&self, query: &mut Query, row: u32, rows: &[u32], out: &mut Vec<f32>) {
        self.finder.similarities(query, rows, out);
        if let Some(&lift) = self.lifts.get(row as usize) {
            for (similarity, &id) in out.iter_mut().zip(rows) {
                *similarity += lift * self.lifts[id as usize];
            }
        }
        if self.rows.shape().metric == Metric::L2 {
            let half_norm = self.rows.half_norms[row as usize];
            out.iter_mut().for_each(|s| *s -= half_norm);
        }
    }
}

/// A layer of the graph under construction.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub points: &'a Points<'a>,
    pub links: Links<'a>,
    /// The row of each node; without it nodes are rows.
    pub slots: Option<&'a [u32]>,
}

impl<'a> Layer<'a> {
    /// The base layer, whose nodes are rows.
    pub(super) fn base(points: &'a Points<'a>, links: &'a [u32], width: usize) -> Layer<'a> {
        Layer {
            points,
            links: Links {
                width,
                values: links,
            },
            slots: None,
        }
    }

    pub(super) fn row(&self, node: u32) -> u32 {
        self.slots.map_or(node, |slots| slots[node as usize])
    }

    /// Toward a row, for walks over this layer.
    pub(super) fn toward<'b>(&self, row: u32, query: &'b mut Query) -> TowardRow<'b>
    where
        'a: 'b,
    {
        query.set_row(self.points.rows, row as usize);
        TowardRow {
            points: self.points,
            slots: self.slots,
            row,
            query,
            rows: Vec::new(),
        }
    }
}

/// A row on its way into a layer.
pub(super) struct TowardRow<'a> {
    points: &'a Points<'a>,
    slots: Option<&'a [u32]>,
    row: u32,
    query: &'a mut Query,
    rows: Vec<u32>,
}

impl Toward for TowardRow<'_> {
    fn similarities(&mut self, nodes: &[u32], out: &mut Vec<f32>) {
        match self.slots {
            None => self.points.similarities(self.query, self.row, nodes, out),
            Some(slots) => {
                self.rows.clear();
                self.rows.extend(nodes.iter().map(|&n| slots[n as usize]));
                self.points
                    .similarities(self.query, self.row, &self.rows, out);
            }
        }
    }

    fn prefetch(&self, node: u32) {
        let row = self.slots.map_or(node, |slots| slots[node as usize]);
        self.points.finder.prefetch(row);
    }
}

/// Working memory of [`Choice::diverse`], and what it chose.
#[derive(Default)]
pub(super) struct Choice {
    query: Query,
    similarities: Vec<f32>,
    pub kept: Vec<u32>,
    passed_over: Vec<u32>,
}

impl Choice {
    /// Of nodes and their similarity to a target, nearest first, up to `most` that are
    /// nearer to the target than to one another (Malkov and Yashunin, algorithm 4), filled
    /// up to `fill` with the nearest of the others.
    pub(super) fn diverse(
        &mut self,
        layer: &Layer<'_>,
        near: impl IntoIterator<Item = (u32, f32)>,
        most: usize,
        fill: usize,
    ) {
        self.kept.clear();
        self.passed_over.clear();
        for (node, similarity) in near {
            if self.kept.len() >= most {
                break;
            }
            layer
                .toward(layer.row(node), &mut self.query)
                .similarities(&self.kept, &mut self.similarities);
            if self.similarities.iter().any(|&other| other >= similarity) {
                self.passed_over.push(node);
            } else {
                self.kept.push(node);
            }
        }
        let room = fill.saturating_sub(self.kept.len());
        self.kept.extend(self.passed_over.iter().take(room));
    }
}
