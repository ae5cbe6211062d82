//! Dot products of one query with many rows, chosen once for the processor at hand.
//!
//! Rows lie one after another, each as long as the query (its length is the stride),
//! and are named by number. Many at once because that is how graphs are walked and
//! segments scanned: the query stays in registers, and the rows' waits for memory
//! overlap.
//!
//! The only folder with `unsafe` arithmetic: intrinsics behind run-time detection.
//! Every kernel gives the same answer as the portable one: exactly for integers, and
//! up to the order of its sums for floats. A row that does not exist panics; whoever
//! reads row numbers from a file checks them first.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(crate) use portable::{distance_f16, distance_fine};

/// Rows have a multiple of so many values: a cache line of bytes.
pub(crate) const BLOCK: usize = 64;

/// `sum(query[i] * row[i])` for each row of nibbles, 0 to 15: a row's byte `i` holds value
/// `i` in its lower half and value `i + n / 2` in its upper one, where `n`, a multiple of
/// [`BLOCK`], is the query's length. Exact for up to a million values.
pub(crate) type DotsU4 = fn(&[i8], &[u8], &[u32], &mut [i32]);
/// `sum(query[i] * row[i])` for each row of half-precision floats.
pub(crate) type DotsF16 = fn(&[f32], &[u16], &[u32], &mut [f32]);
/// `sum((2 q[i] - 15) * row[i])` for each row of bits, where `q` has 4 bits a value: the
/// first argument holds its four bit planes, the lowest first.
pub(crate) type DotsBits = fn(&[u64], &[u64], &[u32], &mut [i32]);
/// `sum(query[i] * value[i])` for one row of 16-bit values in two planes.
pub(crate) type DotFine = fn(&[f32], Fine<'_>) -> f32;

/// A row of 16-bit values, `254 * (16 * high + middle - 128) + low`, the first two in
/// nibbles as [`DotsU4`] reads them.
#[derive(Clone, Copy)]
pub(crate) struct Fine<'a> {
    pub high: &'a [u8],
    pub middle: &'a [u8],
    pub low: &'a [i8],
}

/// The kernels in use.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// For logs.
    pub name: &'static str,
    pub dots_u4: DotsU4,
    pub dots_f16: DotsF16,
    pub dots_bits: DotsBits,
    pub dot_fine: DotFine,
}

/// The fastest kernels this processor runs.
pub(crate) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().last().copied().unwrap_or(PORTABLE))
}

const PORTABLE: Kernels = Kernels {
    name: "portable",
    dots_u4: portable::dots_u4,
    dots_f16: portable::dots_f16,
    dots_bits: portable::dots_bits,
    dot_fine: portable::dot_fine,
};

/// Every set of kernels this processor runs, the fastest last.
fn available() -> Vec<Kernels> {
    #[allow(unused_mut)]
    let mut all = vec![PORTABLE];
    #[cfg(target_arch = "x86_64")]
    all.extend(x86::available());
    all
}

/// Asks for the memory of `count` values from place `first` on, which will be read soon.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], first: usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = values.as_ptr().wrapping_add(first).cast::<i8>();
        for at in (0..count * size_of::<T>()).step_by(BLOCK) {
            // SAFETY: a prefetch reads nothing, wherever it points, and SSE is part of
            // x86_64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, first, count);
}

#[cfg(test)]
mod tests;
