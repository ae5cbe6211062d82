//! Vectors ready to be compared with rows.

use super::super::space::{Metric, Plane, Shape, Storage, squared_norm};
use super::{HIGH, Rows, largest};

/// A vector ready to be compared with rows: a query, or one of the rows themselves.
/// Its buffers are used again by the next one.
#[derive(Default)]
pub(crate) struct Query {
    /// Padded to the stride.
    pub(super) vector: Vec<f32>,
    /// Of the vector as it was given.
    pub(super) squared_norm: f32,
    /// Of the vector as it is compared.
    pub(super) length: f32,
    /// In int8, padded.
    pub(super) codes: Vec<i8>,
    /// Their sum: a row's bytes are 128 more than the values they stand for.
    pub(super) code_sum: i32,
    /// What one step of the codes is worth.
    pub(super) scale: f32,
    /// In 4 bits, as planes.
    pub(super) planes: Vec<u64>,
    /// Sum of the planes' values, `2 q - 15`.
    pub(super) plane_sum: i32,
    pub(super) plane_scale: f32,
    /// Scratch.
    pub(super) products: Vec<i32>,
    pub(super) middle_products: Vec<i32>,
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
