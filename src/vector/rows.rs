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

use std::ops::Range;

use super::kernels::{Fine, Kernels, distance_f16, distance_fine, kernels, prefetch};
use super::section::Section;
use super::space::{Metric, Plane, Shape, Storage, squared_norm};

/// Largest absolute value of a 16-bit code, 254 * 127 + 126: its high byte is still within
/// -127..=127.
const MOST_CODE: f32 = 32_384.0;
/// What one step of the high byte is worth, in steps of the code.
const HIGH: i32 = 254;

/// What the middle nibble is on average.
const MIDDLE: f32 = 7.5;

/// The two bytes of a value in steps of the row's scale, the first 128 too large.
#[inline]
fn split(code: f32) -> (u8, i8) {
    let code = code.round().clamp(-MOST_CODE, MOST_CODE) as i32;
    // To the nearest, so that the rest is within -127..=127.
    let high = (code + HIGH / 2).div_euclid(HIGH);
    ((high + 128) as u8, (code - high * HIGH) as i8)
}

fn largest(vector: &[f32]) -> f32 {
    vector.iter().fold(0.0f32, |m, v| m.max(v.abs()))
}

/// A vector ready to be compared with rows: a query, or one of the rows themselves.
/// Its buffers are used again by the next one.
#[derive(Default)]
pub(crate) struct Query {
    /// Padded to the stride.
    vector: Vec<f32>,
    /// Of the vector as it was given.
    squared_norm: f32,
    /// Of the vector as it is compared.
    length: f32,
    /// In int8, padded.
    codes: Vec<i8>,
    /// Their sum: a row's bytes are 128 more than the values they stand for.
    code_sum: i32,
    /// What one step of the codes is worth.
    scale: f32,
    /// In 4 bits, as planes.
    planes: Vec<u64>,
    /// Sum of the planes' values, `2 q - 15`.
    plane_sum: i32,
    plane_scale: f32,
    /// Scratch.
    products: Vec<i32>,
    middle_products: Vec<i32>,
}

impl Query {
    /// Takes a vector, finite and of the shape's dimensions.
    pub(crate) fn set(&mut self, vector: &[f32], shape: &Shape) {
        let norm = squared_norm(vector);
        let by = match shape.metric {
            Metric::Cosine => (1.0 / norm.sqrt()) as f32,
            _ => 1.0,
        };
        self.vector.clear();
        self.vector.extend(vector.iter().map(|v| v * by));
        self.vector.resize(shape.stride(), 0.0);
        self.squared_norm = norm as f32;
        self.length = norm.sqrt() as f32 * by;
        match shape.storage {
            Storage::Int8 => self.set_codes(),
            Storage::Binary => self.set_planes(shape),
            Storage::F16 => {}
        }
    }

    /// Takes a row, to find the rows near it with the finder for [`Shape::built_by`]. Gives
    /// no scores.
    pub(crate) fn set_row(&mut self, rows: &Rows, row: usize) {
        let stride = rows.shape.stride();
        let values = row * stride..(row + 1) * stride;
        if rows.shape.built_by() == Plane::Halves {
            let halves = rows.halves[values].iter();
            self.vector.clear();
            self.vector
                .extend(halves.map(|&h| half::f16::from_bits(h).to_f32()));
        } else {
            let half = values.start / 2..values.end / 2;
            let (high, middle) = (&rows.high[half.clone()], &rows.middle[half]);
            let pairs = || high.iter().zip(middle);
            let code = |high: u8, middle: u8| ((high << 4 | middle) ^ 0x80) as i8;
            self.codes.clear();
            self.codes
                .extend(pairs().map(|(&h, &m)| code(h & 15, m & 15)));
            self.codes
                .extend(pairs().map(|(&h, &m)| code(h >> 4, m >> 4)));
            self.sum_codes();
            self.scale = HIGH as f32 * rows.scales[row];
        }
    }

    /// Makes the codes, where the shape does not make `set` do so.
    pub(crate) fn set_codes(&mut self) {
        let largest = largest(&self.vector);
        let by = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        self.scale = largest / 127.0;
        self.codes.clear();
        self.codes
            .extend(self.vector.iter().map(|v| (v * by).round() as i8));
        self.sum_codes();
    }

    fn sum_codes(&mut self) {
        self.code_sum = self.codes.iter().map(|&c| i32::from(c)).sum();
    }

    fn set_planes(&mut self, shape: &Shape) {
        let words = shape.words();
        let largest = largest(&self.vector);
        let by = if largest > 0.0 { 7.5 / largest } else { 0.0 };
        self.plane_scale = largest / 15.0;
        self.plane_sum = 0;
        self.planes.clear();
        self.planes.resize(4 * words, 0);
        for (i, v) in self.vector[..shape.dimensions].iter().enumerate() {
            let level = (v * by + 7.5).round().clamp(0.0, 15.0) as u64;
            self.plane_sum += 2 * level as i32 - 15;
            for plane in 0..4 {
                self.planes[plane * words + i / 64] |= (level >> plane & 1) << (i % 64);
            }
        }
    }
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
    fn reserve(&mut self, documents: usize, rows: usize) {
        let stride = self.shape.stride();
        self.ordinals.reserve_exact(documents);
        self.starts.reserve_exact(documents);
        if self.shape.storage == Storage::F16 {
            self.halves.reserve_exact(rows * stride);
        } else {
            self.high.reserve_exact(rows * stride / 2);
            self.middle.reserve_exact(rows * stride / 2);
            self.low.reserve_exact(rows * stride);
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
            self.low.resize(end, 0);
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
    fn copy(&mut self, from: &Rows, document: usize) {
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
        part(&mut self.low, &from.low, &rows, stride);
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

    pub(crate) fn finish(self) -> Rows {
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

/// What finding rows reads of them, looked up once for many of them.
#[derive(Clone, Copy)]
pub(crate) struct Finder<'a> {
    kernels: &'static Kernels,
    by: Plane,
    stride: usize,
    high: &'a [u8],
    middle: &'a [u8],
    scales: &'a [f32],
    halves: &'a [u16],
    bits: &'a [u64],
    bit_scales: &'a [f32],
    /// Empty unless the metric is L2.
    half_norms: &'a [f32],
}

impl Finder<'_> {
    /// Approximate similarities of the query to the rows `ids`, as far as they are
    /// needed to rank rows: greater is nearer. Of unit vectors of hundreds of dimensions,
    /// wrong by about 1e-2 by nibbles, 1e-3 by bytes.
    #[inline]
    pub(crate) fn similarities(&self, query: &mut Query, ids: &[u32], out: &mut Vec<f32>) {
        out.clear();
        let (products, middle_products) = (&mut query.products, &mut query.middle_products);
        products.resize(ids.len(), 0);
        match self.by {
            Plane::Nibbles => {
                (self.kernels.dots_u4)(&query.codes, self.high, ids, products);
                let (scales, by) = (self.scales, HIGH as f32 * query.scale);
                let excess = (128.0 - MIDDLE) * query.code_sum as f32;
                out.extend(products.iter().zip(ids).map(|(&product, &id)| {
                    (16.0 * product as f32 - excess) * (scales[id as usize] * by)
                }));
            }
            Plane::Bytes => {
                middle_products.resize(ids.len(), 0);
                (self.kernels.dots_u4)(&query.codes, self.high, ids, products);
                (self.kernels.dots_u4)(&query.codes, self.middle, ids, middle_products);
                let (scales, by) = (self.scales, HIGH as f32 * query.scale);
                let excess = 128 * query.code_sum;
                let products = products.iter().zip(middle_products).zip(ids);
                out.extend(products.map(|((&high, &mut middle), &id)| {
                    (16 * high + middle - excess) as f32 * (scales[id as usize] * by)
                }));
            }
            Plane::Halves => {
                out.resize(ids.len(), 0.0);
                (self.kernels.dots_f16)(&query.vector, self.halves, ids, out);
            }
            Plane::Bits => {
                (self.kernels.dots_bits)(&query.planes, self.bits, ids, products);
                out.extend(products.iter().zip(ids).map(|(&product, &id)| {
                    (2 * product - query.plane_sum) as f32
                        * (self.bit_scales[id as usize] * query.plane_scale)
                }));
            }
        }
        if !self.half_norms.is_empty() {
            for (similarity, &id) in out.iter_mut().zip(ids) {
                *similarity -= self.half_norms[id as usize];
            }
        }
    }

    /// Asks for what [`Finder::similarities`] will read of a row.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        let (row, half) = (row as usize, self.stride / 2);
        match self.by {
            Plane::Nibbles => prefetch(self.high, row * half, half),
            Plane::Bytes => {
                prefetch(self.high, row * half, half);
                prefetch(self.middle, row * half, half);
            }
            Plane::Halves => prefetch(self.halves, row * self.stride, self.stride),
            Plane::Bits => {
                let words = self.stride / 64;
                prefetch(self.bits, row * words, words);
            }
        }
    }
}

/// Rows of one shape. Immutable.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(super) shape: Shape,
    /// One per document, ascending.
    pub(super) ordinals: Section<u32>,
    /// First row of each document, and the number of rows at the end.
    pub(super) starts: Section<u32>,
    /// The planes; those that the shape does not use are empty.
    pub(super) high: Section<u8>,
    pub(super) middle: Section<u8>,
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
        self.starts.last().map_or(0, |&rows| rows as usize)
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
        self.starts[document]..self.starts[document + 1]
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
            low: &self.low[row * stride..(row + 1) * stride],
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
                false => distance_fine(&query.vector, self.fine(row), self.scales[row]),
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
        let first = self.starts[document] as usize * stride;
        prefetch(&self.middle, first / 2, stride / 2);
        prefetch(&self.low, first, stride);
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
        best
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
