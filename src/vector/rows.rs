//! The vectors of a segment: rows in full precision and in int8.
//!
//! Rows are passages. Those of one document lie together, and documents are
//! ordered by ordinal, so a document is a range of rows, a passage's number is
//! its place in that range, and an ordinal is found by bisection.

use std::ops::Range;

use super::kernels::{Kernels, kernels};

/// A query, or a row, in int8: `value ~ scale * code`, codes within -127..=127.
fn quantise(vector: &[f32], codes: &mut Vec<i8>) -> f32 {
    let largest = vector.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        codes.resize(codes.len() + vector.len(), 0);
        return 0.0;
    }
    let by = 127.0 / largest;
    codes.extend(
        vector
            .iter()
            .map(|v| (v * by).round().clamp(-127.0, 127.0) as i8),
    );
    largest / 127.0
}

/// A query ready to be compared with rows.
pub(crate) struct Query {
    full: Vec<f32>,
    codes: Vec<i8>,
    code_sum: i32,
    scale: f32,
    kernels: Kernels,
}

impl Query {
    /// `vector` is finite and of the rows' dimensions.
    pub(crate) fn new(vector: &[f32]) -> Query {
        let mut codes = Vec::with_capacity(vector.len());
        let scale = quantise(vector, &mut codes);
        Query {
            full: vector.to_vec(),
            code_sum: codes.iter().map(|&c| i32::from(c)).sum(),
            codes,
            scale,
            kernels: *kernels(),
        }
    }

    /// Whether every row scores 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.scale == 0.0
    }
}

/// Rows of `dimensions` values. Immutable once in a segment.
#[derive(Debug)]
pub(crate) struct Rows {
    dimensions: usize,
    /// One per document, ascending.
    ordinals: Vec<u32>,
    /// First row of each document, and the number of rows at the end.
    starts: Vec<u32>,
    full: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

impl Rows {
    pub(crate) fn new(dimensions: usize) -> Rows {
        Rows {
            dimensions,
            ordinals: Vec::new(),
            starts: vec![0],
            full: Vec::new(),
            codes: Vec::new(),
            scales: Vec::new(),
        }
    }

    fn with_capacity(dimensions: usize, documents: usize, rows: usize) -> Rows {
        let mut starts = Vec::with_capacity(documents + 1);
        starts.push(0);
        Rows {
            dimensions,
            ordinals: Vec::with_capacity(documents),
            starts,
            full: Vec::with_capacity(rows * dimensions),
            codes: Vec::with_capacity(rows * dimensions),
            scales: Vec::with_capacity(rows),
        }
    }

    /// Adds a document: `passages` is a whole number of rows, finite. Ordinals
    /// may come in any order here; [`Rows::merge`] restores it.
    pub(crate) fn push(&mut self, ordinal: u32, passages: &[f32]) {
        for row in passages.chunks_exact(self.dimensions) {
            let scale = quantise(row, &mut self.codes);
            self.scales.push(scale);
        }
        self.full.extend_from_slice(passages);
        self.close(ordinal);
    }

    /// Makes a document of the rows since the last one.
    fn close(&mut self, ordinal: u32) {
        self.ordinals.push(ordinal);
        // The index keeps the number of rows below u32::MAX.
        self.starts
            .push(u32::try_from(self.scales.len()).unwrap_or(u32::MAX));
    }

    /// All the documents of `parts` that `keep` wants, ordered by ordinal. Of
    /// an ordinal that occurs twice the one added last stays.
    pub(crate) fn merge(dimensions: usize, parts: &[&Rows], keep: impl Fn(u32) -> bool) -> Rows {
        let mut order: Vec<(u32, usize, usize)> = parts
            .iter()
            .enumerate()
            .flat_map(|(part, rows)| {
                let keep = &keep;
                rows.ordinals
                    .iter()
                    .enumerate()
                    .filter(move |&(_, &ordinal)| keep(ordinal))
                    .map(move |(document, &ordinal)| (ordinal, part, document))
            })
            .collect();
        if !order.is_sorted() {
            order.sort_unstable();
        }
        let total = order
            .iter()
            .map(|&(_, part, document)| parts[part].range(document).len())
            .sum();
        let mut merged = Rows::with_capacity(dimensions, order.len(), total);
        let mut next = order.iter().skip(1).map(|&(ordinal, ..)| ordinal);
        for &(ordinal, part, document) in &order {
            if next.next() == Some(ordinal) {
                continue;
            }
            let (from, rows) = (parts[part], parts[part].range(document));
            let values = rows.start * dimensions..rows.end * dimensions;
            merged.full.extend_from_slice(&from.full[values.clone()]);
            merged.codes.extend_from_slice(&from.codes[values]);
            merged.scales.extend_from_slice(&from.scales[rows]);
            merged.close(ordinal);
        }
        merged
    }

    /// Documents.
    pub(crate) fn documents(&self) -> usize {
        self.ordinals.len()
    }

    /// Rows over all documents.
    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    /// The ordinal of a document.
    pub(crate) fn ordinal(&self, document: usize) -> u32 {
        self.ordinals[document]
    }

    /// The document of an ordinal.
    pub(crate) fn find(&self, ordinal: u32) -> Option<usize> {
        self.ordinals.binary_search(&ordinal).ok()
    }

    /// The rows of a document.
    #[inline]
    pub(crate) fn range(&self, document: usize) -> Range<usize> {
        self.starts[document] as usize..self.starts[document + 1] as usize
    }

    /// A row in int8.
    #[inline]
    pub(crate) fn code(&self, row: usize) -> &[i8] {
        &self.codes[row * self.dimensions..(row + 1) * self.dimensions]
    }

    /// What one step of a row's code is worth.
    #[inline]
    pub(crate) fn scale(&self, row: usize) -> f32 {
        self.scales[row]
    }

    /// The dot product by int8. For unit vectors of hundreds of dimensions its
    /// error is around 1e-3.
    #[inline]
    pub(crate) fn approximate(&self, query: &Query, row: usize) -> f32 {
        let dot = (query.kernels.dot_i8)(self.code(row), &query.codes, query.code_sum);
        dot as f32 * (self.scales[row] * query.scale)
    }

    /// The dot product by f32.
    #[inline]
    pub(crate) fn exact(&self, query: &Query, row: usize) -> f32 {
        let row = &self.full[row * self.dimensions..(row + 1) * self.dimensions];
        (query.kernels.dot_f32)(row, &query.full)
    }

    /// The best passage of a document by f32, and its score; the first of
    /// equals.
    pub(crate) fn best_passage(&self, query: &Query, document: usize) -> (f32, u16) {
        let mut best = (f32::NEG_INFINITY, 0);
        for (passage, row) in self.range(document).enumerate() {
            let score = self.exact(query, row);
            if score > best.0 {
                // The index takes no document of more passages than a u16 counts.
                best = (score, passage as u16);
            }
        }
        best
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        4 * (self.ordinals.capacity()
            + self.starts.capacity()
            + self.full.capacity()
            + self.scales.capacity())
            + self.codes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_orders_keeps_and_replaces() {
        let mut a = Rows::new(2);
        a.push(5, &[1.0, 0.0, 0.0, 1.0]);
        a.push(2, &[0.5, 0.5]);
        a.push(9, &[0.0, 2.0]);
        let mut b = Rows::new(2);
        b.push(3, &[3.0, 0.0]);
        b.push(2, &[0.0, 4.0]);
        let merged = Rows::merge(2, &[&a, &b], |ordinal| ordinal != 9);
        assert_eq!(merged.ordinals, [2, 3, 5]);
        assert_eq!(merged.full, [0.0, 4.0, 3.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!((merged.range(2), merged.len()), (2..4, 4));
        assert_eq!((merged.find(3), merged.find(9)), (Some(1), None));
        let query = Query::new(&[0.0, 1.0]);
        assert_eq!(merged.best_passage(&query, 2), (1.0, 1));
        assert!((merged.approximate(&query, 0) - 4.0).abs() < 1e-4);
        assert_eq!(Rows::merge(2, &[], |_| true).documents(), 0);
    }

    #[test]
    fn quantising_odd_vectors_is_harmless() {
        let tiny = f32::from_bits(1);
        for vector in [vec![0.0; 3], vec![tiny, -tiny, 0.0], vec![1e18, -1e18, 1.0]] {
            let mut rows = Rows::new(3);
            rows.push(0, &vector);
            let query = Query::new(&vector);
            let (exact, approximate) = (rows.exact(&query, 0), rows.approximate(&query, 0));
            assert!(exact.is_finite() && approximate.is_finite());
            assert!((exact - approximate).abs() <= exact.abs() * 0.02 + 1e-30);
        }
        assert!(Query::new(&[0.0; 8]).is_zero());
    }
}
