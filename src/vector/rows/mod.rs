//! The vectors of a segment.
//!
//! Rows are passages. Those of one document lie together, and documents are ordered by
//! ordinal, so a document is a range of rows, a passage's number is its place in that
//! range, and an ordinal is found by bisection.
//!
//! A row is kept in planes, arrays of their own, of which as few are read as the work at
//! hand needs: what limits a walk through a graph is how many bytes it has to wait for.
//! With [`Storage::Int8`] a value is 16 bits, `scale * (254 * (16 * high + middle - 128) +
//! low)`. A graph is walked by the high nibbles; they and the middle ones make int8, by
//! which rows are scanned and what a walk found is put in order; all three make the score.

mod builder;
mod finder;
mod query;

use std::ops::Range;

use super::kernels::{Fine, distance_f16, distance_fine, kernels, prefetch};
use super::section::Section;
use super::space::{Metric, Plane, Shape, Storage};

pub(crate) use builder::RowsBuilder;
pub(crate) use finder::Finder;
pub(crate) use query::Query;

/// What one step of the high byte is worth, in steps of the code.
const HIGH: i32 = 254;

fn largest(vector: &[f32]) -> f32 {
    vector.iter().fold(0.0f32, |m, v| m.max(v.abs()))
}

/// The ordinals of documents.
#[derive(Clone, Copy)]
pub(crate) struct Ordinals<'a> {
    all: &'a [u32],
    /// The first of them, where none is missing up to the last.
    dense: Option<u32>,
}

impl Ordinals<'_> {
    /// Whether none is missing between the first and the last.
    pub(crate) fn are_dense(&self) -> bool {
        self.dense.is_some()
    }

    #[inline]
    pub(crate) fn of(&self, document: u32) -> u32 {
        match self.dense {
            Some(first) => first + document,
            None => self.all[document as usize],
        }
    }

    /// The document of an ordinal.
    #[inline]
    pub(crate) fn find(&self, ordinal: u32) -> Option<usize> {
        match self.dense {
            Some(first) => {
                let document = ordinal.checked_sub(first)? as usize;
                (document < self.all.len()).then_some(document)
            }
            None => self.all.binary_search(&ordinal).ok(),
        }
    }
}

/// Rows of one shape. Immutable.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(super) shape: Shape,
    /// One per document, ascending.
    pub(super) ordinals: Section<u32>,
    /// First row of each document, and the number of rows at the end; empty where every
    /// document has one row.
    pub(super) starts: Section<u32>,
    /// The planes; those that the shape does not use are empty.
    pub(super) high: Section<u8>,
    pub(super) middle: Section<u8>,
    /// Without padding between rows; what the last one is padded with follows it, so that
    /// each can be read to the end of its stride.
    pub(super) low: Section<i8>,
    pub(super) scales: Section<f32>,
    pub(super) halves: Section<u16>,
    pub(super) bits: Section<u64>,
    pub(super) bit_scales: Section<f32>,
    pub(super) half_norms: Section<f32>,
}

impl Rows {
    /// All the documents of `parts`, which have one shape, that `keep` wants, ordered by
    /// ordinal. Of an ordinal that occurs twice the one added last stays.
    pub(crate) fn merge(shape: Shape, parts: &[&Rows], keep: impl Fn(u32) -> bool) -> Rows {
        Rows::merge_tracing(shape, parts, keep).0
    }

    /// The same, and for each document of the result which part it comes from and
    /// which of its documents it was.
    pub(crate) fn merge_tracing(
        shape: Shape,
        parts: &[&Rows],
        keep: impl Fn(u32) -> bool,
    ) -> (Rows, Vec<(u32, u32)>) {
        let mut order: Vec<(u32, u32, u32)> = Vec::new();
        for (part, rows) in (0u32..).zip(parts) {
            let kept = (0u32..).zip(rows.ordinals.iter().copied());
            let kept = kept.filter(|&(_, ordinal)| keep(ordinal));
            order.extend(kept.map(|(document, ordinal)| (ordinal, part, document)));
        }
        if !order.is_sorted() {
            order.sort_unstable();
        }
        let mut merged = RowsBuilder::new(shape);
        let rows = order.iter();
        let rows = rows.map(|&(_, part, document)| parts[part as usize].range(document as usize));
        merged.reserve(order.len(), rows.map(|range| range.len()).sum());
        let mut origins = Vec::with_capacity(order.len());
        for (at, &(ordinal, part, document)) in order.iter().enumerate() {
            if order.get(at + 1).is_some_and(|next| next.0 == ordinal) {
                continue;
            }
            merged.copy(parts[part as usize], document as usize);
            origins.push((part, document));
        }
        (merged.finish(), origins)
    }

    /// The shape of the vectors.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Documents.
    pub(crate) fn documents(&self) -> usize {
        self.ordinals.len()
    }

    /// Rows over all documents.
    pub(crate) fn len(&self) -> usize {
        let last = self.starts.last();
        last.map_or(self.documents(), |&rows| rows as usize)
    }

    /// Whether every document has one row, which then has the document's number.
    #[inline]
    pub(crate) fn one_each(&self) -> bool {
        self.starts.is_empty()
    }

    /// The ordinal of a document.
    #[inline]
    pub(crate) fn ordinal(&self, document: usize) -> u32 {
        self.ordinals[document]
    }

    /// The ordinals of all documents, looked up once for many of them.
    pub(crate) fn ordinals(&self) -> Ordinals<'_> {
        let all = &*self.ordinals;
        let dense = match (all.first(), all.last()) {
            (Some(&first), Some(&last)) if (last - first) as usize + 1 == all.len() => Some(first),
            _ => None,
        };
        Ordinals { all, dense }
    }

    /// The document of an ordinal.
    pub(crate) fn find(&self, ordinal: u32) -> Option<usize> {
        self.ordinals().find(ordinal)
    }

    /// The rows of a document.
    #[inline]
    pub(crate) fn range(&self, document: usize) -> Range<u32> {
        if self.one_each() {
            document as u32..document as u32 + 1
        } else {
            self.starts[document]..self.starts[document + 1]
        }
    }

    /// The plane by which rows are found, and what goes with it.
    pub(crate) fn finder(&self, by: Plane) -> Finder<'_> {
        Finder {
            kernels: kernels(),
            by,
            stride: self.shape.stride(),
            high: &self.high,
            middle: &self.middle,
            scales: &self.scales,
            halves: &self.halves,
            bits: &self.bits,
            bit_scales: &self.bit_scales,
            half_norms: &self.half_norms,
        }
    }

    fn fine(&self, row: usize) -> Fine<'_> {
        let stride = self.shape.stride();
        let half = row * stride / 2..(row + 1) * stride / 2;
        Fine {
            high: &self.high[half.clone()],
            middle: &self.middle[half],
            // The query is 0 at what follows the row.
            low: &self.low[row * self.shape.dimensions..][..stride],
        }
    }

    /// The score of a row: as precise as what is kept.
    #[inline]
    pub(crate) fn score(&self, query: &Query, row: usize) -> f32 {
        let f16 = self.shape.storage == Storage::F16;
        let halves = || &self.halves[row * self.shape.stride()..][..self.shape.stride()];
        if self.shape.metric == Metric::L2 {
            // By the differences: far from the origin products of whole vectors drown them.
            return -match f16 {
                true => distance_f16(&query.vector, halves()),
                false => {
                    let vector = &query.vector[..self.shape.dimensions];
                    distance_fine(vector, self.fine(row), self.scales[row])
                }
            };
        }
        let kernels = kernels();
        let dot = if f16 {
            let mut dot = [0.0];
            (kernels.dots_f16)(&query.vector, halves(), &[0], &mut dot);
            dot[0]
        } else {
            (kernels.dot_fine)(&query.vector, self.fine(row)) * self.scales[row]
        };
        match self.shape.metric {
            Metric::Cosine => dot.clamp(-1.0, 1.0),
            Metric::Dot | Metric::L2 => dot,
        }
    }

    /// Asks for what [`Rows::score`] will read of a document's first row.
    pub(crate) fn prefetch_fine(&self, document: usize) {
        let stride = self.shape.stride();
        let first = self.range(document).start as usize;
        prefetch(&self.middle, first * stride / 2, stride / 2);
        let dimensions = self.shape.dimensions;
        prefetch(&self.low, first * dimensions, dimensions);
    }

    /// What is compared to find rows, of a score.
    pub(crate) fn similarity_of(&self, score: f32, query: &Query) -> f32 {
        match self.shape.metric {
            Metric::Cosine | Metric::Dot => score,
            Metric::L2 => (score + query.squared_norm) / 2.0,
        }
    }

    /// How far the similarity of a document as it was found is likely to be from its score
    /// at most: four standard deviations of the rounding of both vectors, the largest of its
    /// rows; anything where rows are found by what says little.
    pub(crate) fn doubt(&self, query: &Query, document: usize) -> f32 {
        let dimensions = self.shape.dimensions as f32;
        let of_row = |row: u32| {
            let row = row as usize;
            let step = HIGH as f32 * self.scales[row];
            let length = match self.shape.metric {
                Metric::Cosine => 1.0,
                Metric::L2 => (2.0 * self.half_norms[row]).sqrt(),
                // Not known; this is the most it can be.
                Metric::Dot => step * 127.0 * dimensions.sqrt(),
            };
            // Rounding to steps is off by a step over the square root of 12.
            4.0 * (step * query.length).hypot(query.scale * length) / 12f32.sqrt()
        };
        match self.shape.storage {
            Storage::Binary => f32::INFINITY,
            Storage::F16 if self.shape.metric == Metric::L2 => f32::INFINITY,
            Storage::F16 => 0.0,
            Storage::Int8 => self.range(document).map(of_row).fold(0.0, f32::max),
        }
    }

    /// The best passage of a document, and its score; the first of equals.
    pub(crate) fn best_passage(&self, query: &Query, document: usize) -> (f32, u16) {
        let mut best = (f32::NEG_INFINITY, 0);
        for (passage, row) in self.range(document).enumerate() {
            let score = self.score(query, row as usize);
            if score > best.0 {
                // The index takes no document of more passages than a u16 counts.
                best = (score, passage as u16);
            }
        }
        // Rows of a file that was not read through yet may hold anything; scores are finite.
        (best.0.clamp(f32::MIN, f32::MAX), best.1)
    }

    /// The vector of a row, as precise as what is kept.
    pub(crate) fn vector(&self, row: usize, out: &mut Vec<f32>) {
        out.clear();
        let dimensions = self.shape.dimensions;
        if self.shape.storage == Storage::F16 {
            let halves = &self.halves[row * self.shape.stride()..][..dimensions];
            out.extend(halves.iter().map(|&h| half::f16::from_bits(h).to_f32()));
        } else {
            let (fine, scale) = (self.fine(row), self.scales[row]);
            let pairs = || fine.high.iter().zip(fine.middle);
            let first = pairs().map(|(h, m)| h << 4 | (m & 15));
            let bytes = first.chain(pairs().map(|(h, m)| (h & 0xf0) | m >> 4));
            let values = bytes.zip(fine.low).take(dimensions);
            out.extend(values.map(|(byte, &low)| {
                ((i32::from(byte) - 128) * HIGH + i32::from(low)) as f32 * scale
            }));
        }
    }

    /// Bytes held in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.ordinals.memory_bytes()
            + self.starts.memory_bytes()
            + self.high.memory_bytes()
            + self.middle.memory_bytes()
            + self.low.memory_bytes()
            + self.scales.memory_bytes()
            + self.halves.memory_bytes()
            + self.bits.memory_bytes()
            + self.bit_scales.memory_bytes()
            + self.half_norms.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::space::squared_norm;
    use super::*;

    fn shape(dimensions: usize, metric: Metric, storage: Storage) -> Shape {
        Shape {
            dimensions,
            metric,
            storage,
        }
    }

    fn query(vector: &[f32], shape: &Shape) -> Query {
        let mut query = Query::default();
        query.set(vector, shape);
        query
    }

    #[test]
    fn merging_orders_keeps_and_replaces() {
        for storage in [Storage::Int8, Storage::F16, Storage::Binary] {
            let shape = shape(2, Metric::Dot, storage);
            let mut a = RowsBuilder::new(shape);
            a.push(5, &[1.0, 0.0, 0.0, 1.0]);
            a.push(2, &[0.5, 0.5]);
            a.push(9, &[0.0, 2.0]);
            let mut b = RowsBuilder::new(shape);
            b.push(3, &[3.0, 0.0]);
            b.push(2, &[0.0, 4.0]);
            let (a, b) = (a.finish(), b.finish());
            let (merged, origins) = Rows::merge_tracing(shape, &[&a, &b], |ordinal| ordinal != 9);
            assert_eq!(*merged.ordinals, [2, 3, 5]);
            assert_eq!(origins, [(1, 1), (1, 0), (0, 0)]);
            assert_eq!((merged.range(2), merged.len()), (2..4, 4));
            assert_eq!((merged.find(3), merged.find(9)), (Some(1), None));
            let mut vector = Vec::new();
            for (row, wanted) in [[0.0, 4.0], [3.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
                .iter()
                .enumerate()
            {
                merged.vector(row, &mut vector);
                for (found, wanted) in vector.iter().zip(wanted) {
                    assert!((found - wanted).abs() < 1e-4, "{storage:?}");
                }
            }
            let up = query(&[0.0, 1.0], &shape);
            assert_eq!(merged.best_passage(&up, 2).1, 1);
            assert_eq!(Rows::merge(shape, &[], |_| true).documents(), 0);
        }
    }

    #[test]
    fn scores_are_those_of_the_metric() {
        let (a, b) = ([3.0, -4.0, 0.5], [-1.0, -2.0, 2.5]);
        let dot = -3.0 + 8.0 + 1.25;
        let norms = (9.0f32 + 16.0 + 0.25).sqrt() * (1.0f32 + 4.0 + 6.25).sqrt();
        let distance = 16.0 + 4.0 + 4.0;
        for storage in [Storage::Int8, Storage::F16, Storage::Binary] {
            for (metric, wanted) in [
                (Metric::Cosine, dot / norms),
                (Metric::Dot, dot),
                (Metric::L2, -distance),
            ] {
                let shape = shape(3, metric, storage);
                let mut rows = RowsBuilder::new(shape);
                rows.push(0, &a);
                let found = rows.finish().score(&query(&b, &shape), 0);
                assert!(
                    (found - wanted).abs() < 2e-3 * wanted.abs(),
                    "{metric:?} {storage:?}: {found} for {wanted}"
                );
            }
        }
    }

    #[test]
    fn finding_by_bytes_is_close_and_scoring_closer() {
        let mut state = 9u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            let shape = shape(100, metric, Storage::Int8);
            let vectors: Vec<Vec<f32>> = (0..20)
                .map(|_| (0..100).map(|_| noise()).collect())
                .collect();
            let mut rows = RowsBuilder::new(shape);
            (0..).zip(&vectors).for_each(|(i, v)| rows.push(i, v));
            let rows = rows.finish();
            let target: Vec<f32> = (0..100).map(|_| noise()).collect();
            let mut target_query = query(&target, &shape);
            let (ids, mut found) = ((0..20).collect::<Vec<u32>>(), Vec::new());
            let finder = rows.finder(Plane::Bytes);
            finder.similarities(&mut target_query, &ids, &mut found);
            let norm = |v: &[f32]| squared_norm(v).sqrt();
            for (i, vector) in vectors.iter().enumerate() {
                let pairs = vector.iter().zip(&target);
                let dot: f64 = pairs.map(|(a, b)| f64::from(a * b)).sum();
                let (own, other) = (norm(vector), norm(&target));
                let (similarity, score, size) = match metric {
                    Metric::Cosine => (dot / own / other, dot / own / other, 1.0),
                    Metric::Dot => (dot, dot, own * other),
                    Metric::L2 => (
                        dot - own * own / 2.0,
                        2.0 * dot - own * own - other * other,
                        own * own + other * other,
                    ),
                };
                assert!((f64::from(found[i]) - similarity).abs() < 5e-3 * size);
                let exact = f64::from(rows.score(&target_query, i));
                assert!((exact - score).abs() < 2e-5 * size, "{exact} for {score}");
            }
        }
    }

    #[test]
    fn extreme_vectors_are_harmless() {
        for vector in [vec![1e-18, -1e-18, 0.0], vec![1e18, -1e18, 1.0]] {
            for metric in [Metric::Cosine, Metric::Dot] {
                let shape = shape(3, metric, Storage::Int8);
                let mut rows = RowsBuilder::new(shape);
                rows.push(0, &vector);
                let (rows, mut query) = (rows.finish(), query(&vector, &shape));
                let exact = rows.score(&query, 0);
                let mut approximate = Vec::new();
                let finder = rows.finder(Plane::Bytes);
                finder.similarities(&mut query, &[0], &mut approximate);
                assert!(exact.is_finite() && approximate[0].is_finite());
                assert!((exact - approximate[0]).abs() <= exact.abs() * 0.02 + 1e-30);
            }
        }
    }
}
