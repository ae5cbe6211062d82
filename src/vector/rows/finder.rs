//! Finding rows: approximate similarities to many at a time.

use super::super::kernels::{Kernels, prefetch};
use super::super::space::Plane;
use super::{HIGH, Query};

/// What the middle nibble is on average.
const MIDDLE: f32 = 7.5;

/// What finding rows reads of them, looked up once for many of them.
#[derive(Clone, Copy)]
pub(crate) struct Finder<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) by: Plane,
    pub(super) stride: usize,
    pub(super) high: &'a [u8],
    pub(super) middle: &'a [u8],
    pub(super) scales: &'a [f32],
    pub(super) halves: &'a [u16],
    pub(super) bits: &'a [u64],
    pub(super) bit_scales: &'a [f32],
    /// Empty unless the metric is L2.
    pub(super) half_norms: &'a [f32],
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
