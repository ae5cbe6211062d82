//! Collecting rows, plane by plane.

use std::ops::Range;

use super::super::section::Section;
use super::super::space::{Metric, Shape, Storage, squared_norm};
use super::{HIGH, Rows, largest};

/// Largest absolute value of a 16-bit code, 254 * 127 + 126: its high byte is still within
/// -127..=127.
const MOST_CODE: f32 = 32_384.0;

/// The two bytes of a value in steps of the row's scale, the first 128 too large.
#[inline]
fn split(code: f32) -> (u8, i8) {
    let code = code.round().clamp(-MOST_CODE, MOST_CODE) as i32;
    // To the nearest, so that the rest is within -127..=127.
    let high = (code + HIGH / 2).div_euclid(HIGH);
    ((high + 128) as u8, (code - high * HIGH) as i8)
}

/// Rows being collected.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    shape: Shape,
    ordinals: Vec<u32>,
    starts: Vec<u32>,
    rows: usize,
    high: Vec<u8>,
    middle: Vec<u8>,
    low: Vec<i8>,
    /// Of the row at hand.
    bytes: Vec<u8>,
    scales: Vec<f32>,
    halves: Vec<u16>,
    bits: Vec<u64>,
    bit_scales: Vec<f32>,
    half_norms: Vec<f32>,
}

impl RowsBuilder {
    pub(crate) fn new(shape: Shape) -> RowsBuilder {
        RowsBuilder {
            shape,
            ordinals: Vec::new(),
            starts: vec![0],
            rows: 0,
            high: Vec::new(),
            middle: Vec::new(),
            low: Vec::new(),
            bytes: Vec::new(),
            scales: Vec::new(),
            halves: Vec::new(),
            bits: Vec::new(),
            bit_scales: Vec::new(),
            half_norms: Vec::new(),
        }
    }

    /// Makes room for more, lest growing doubles what is held.
    pub(super) fn reserve(&mut self, documents: usize, rows: usize) {
        let stride = self.shape.stride();
        self.ordinals.reserve_exact(documents);
        self.starts.reserve_exact(documents);
        if self.shape.storage == Storage::F16 {
            self.halves.reserve_exact(rows * stride);
        } else {
            self.high.reserve_exact(rows * stride / 2);
            self.middle.reserve_exact(rows * stride / 2);
            self.low
                .reserve_exact(rows * self.shape.dimensions + self.shape.padding());
            self.scales.reserve_exact(rows);
        }
        if self.shape.storage == Storage::Binary {
            self.bits.reserve_exact(rows * self.shape.words());
        }
    }

    /// Adds a document: `passages` is a whole number of rows, finite and not zero.
    /// Ordinals may come in any order here; [`Rows::merge`] restores it.
    pub(crate) fn push(&mut self, ordinal: u32, passages: &[f32]) {
        let mut unit = Vec::new();
        for row in passages.chunks_exact(self.shape.dimensions) {
            if self.shape.metric == Metric::Cosine {
                let by = (1.0 / squared_norm(row).sqrt()) as f32;
                unit.clear();
                unit.extend(row.iter().map(|v| v * by));
                self.push_row(&unit);
            } else {
                self.push_row(row);
            }
        }
        self.close(ordinal);
    }

    fn push_row(&mut self, row: &[f32]) {
        let stride = self.shape.stride();
        let end = (self.rows + 1) * stride;
        // The length of what is kept, which differs from the row's by its rounding:
        // distances have to be those of one and the same vector.
        let kept_norm = if self.shape.storage == Storage::F16 {
            let halves = row.iter().map(|&v| half::f16::from_f32(v));
            let norm = squared_norm(&halves.clone().map(f32::from).collect::<Vec<_>>());
            self.halves.extend(halves.map(half::f16::to_bits));
            self.halves.resize(end, 0);
            norm
        } else {
            let largest = largest(row);
            let (by, scale) = (MOST_CODE / largest, largest / MOST_CODE);
            let mut norm = 0.0;
            self.bytes.clear();
            for v in row {
                let (byte, low) = split(v * by);
                self.bytes.push(byte);
                self.low.push(low);
                let code = (i32::from(byte) - 128) * HIGH + i32::from(low);
                norm += f64::from(code as f32 * scale).powi(2);
            }
            self.bytes.resize(stride, 128);
            let (first, second) = self.bytes.split_at(stride / 2);
            let pairs = || first.iter().zip(second);
            self.high.extend(pairs().map(|(a, b)| a >> 4 | (b & 0xf0)));
            self.middle.extend(pairs().map(|(a, b)| (a & 15) | b << 4));
            self.scales.push(scale);
            norm
        };
        if self.shape.storage == Storage::Binary {
            let first = self.bits.len();
            self.bits.resize(first + self.shape.words(), 0);
            for (i, v) in row.iter().enumerate() {
                self.bits[first + i / 64] |= u64::from(*v >= 0.0) << (i % 64);
            }
            // The length along the signs' direction: makes products with the row
            // itself come out right (Gao and Long, arXiv:2405.12497, equation 6).
            let sum: f64 = row.iter().map(|v| f64::from(v.abs())).sum();
            self.bit_scales.push((squared_norm(row) / sum) as f32);
        }
        if self.shape.metric == Metric::L2 {
            self.half_norms.push((kept_norm / 2.0) as f32);
        }
        self.rows += 1;
    }

    /// Makes a document of the rows since the last one.
    fn close(&mut self, ordinal: u32) {
        self.ordinals.push(ordinal);
        // The index keeps the number of rows below u32::MAX.
        self.starts
            .push(u32::try_from(self.rows).unwrap_or(u32::MAX));
    }

    /// Adds a document of other rows of the same shape.
    pub(super) fn copy(&mut self, from: &Rows, document: usize) {
        let rows = from.range(document);
        let rows = rows.start as usize..rows.end as usize;
        let (stride, words) = (self.shape.stride(), self.shape.words());
        fn part<T: bytemuck::Pod>(
            to: &mut Vec<T>,
            from: &Section<T>,
            rows: &Range<usize>,
            n: usize,
        ) {
            // Planes that the shape does not use are empty.
            if !from.is_empty() {
                to.extend_from_slice(&from[rows.start * n..rows.end * n]);
            }
        }
        part(&mut self.high, &from.high, &rows, stride / 2);
        part(&mut self.middle, &from.middle, &rows, stride / 2);
        part(&mut self.low, &from.low, &rows, self.shape.dimensions);
        part(&mut self.scales, &from.scales, &rows, 1);
        part(&mut self.halves, &from.halves, &rows, stride);
        part(&mut self.bits, &from.bits, &rows, words);
        part(&mut self.bit_scales, &from.bit_scales, &rows, 1);
        part(&mut self.half_norms, &from.half_norms, &rows, 1);
        self.rows += rows.len();
        self.close(from.ordinal(document));
    }

    /// Documents.
    pub(crate) fn documents(&self) -> usize {
        self.ordinals.len()
    }

    /// Rows over all documents.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn finish(mut self) -> Rows {
        if self.rows == self.ordinals.len() {
            self.starts = Vec::new();
        }
        if self.shape.storage != Storage::F16 {
            self.low.resize(self.low.len() + self.shape.padding(), 0);
        }
        // One after another, each freed before the next is copied.
        fn section<T: bytemuck::Pod>(values: Vec<T>) -> Section<T> {
            Section::copy(&values)
        }
        Rows {
            shape: self.shape,
            ordinals: section(self.ordinals),
            starts: section(self.starts),
            high: section(self.high),
            middle: section(self.middle),
            low: section(self.low),
            scales: section(self.scales),
            halves: section(self.halves),
            bits: section(self.bits),
            bit_scales: section(self.bit_scales),
            half_norms: section(self.half_norms),
        }
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        let fours = self.ordinals.capacity()
            + self.starts.capacity()
            + self.scales.capacity()
            + self.bit_scales.capacity()
            + self.half_norms.capacity();
        4 * fours
            + self.high.capacity()
            + self.middle.capacity()
            + self.low.capacity()
            + 2 * self.halves.capacity()
            + 8 * self.bits.capacity()
    }
}
