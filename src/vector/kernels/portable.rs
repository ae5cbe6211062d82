//! Kernels in plain Rust: the reference that the others are tested against, and
//! what runs where there is nothing better. Written so that the compiler turns
//! them into vector code (NEON on aarch64).

use super::Fine;

pub(super) fn dots_u4(query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
    let stride = query.len() / 2;
    let (first, second) = query.split_at(stride);
    for (&id, out) in ids.iter().zip(out) {
        let row = &rows[id as usize * stride..][..stride];
        let pairs = row.iter().zip(first.iter().zip(second));
        *out = pairs
            .map(|(&r, (&a, &b))| {
                i32::from(a) * i32::from(r & 15) + i32::from(b) * i32::from(r >> 4)
            })
            .sum();
    }
}

pub(super) fn dots_f16(query: &[f32], rows: &[u16], ids: &[u32], out: &mut [f32]) {
    let stride = query.len();
    for (&id, out) in ids.iter().zip(out) {
        let row = &rows[id as usize * stride..][..stride];
        *out = sum(stride, |i| query[i] * half::f16::from_bits(row[i]).to_f32());
    }
}

#[inline(always)]
pub(super) fn dots_bits(planes: &[u64], rows: &[u64], ids: &[u32], out: &mut [i32]) {
    let words = planes.len() / 4;
    let (low, high) = planes.split_at(2 * words);
    let ((p0, p1), (p2, p3)) = (low.split_at(words), high.split_at(words));
    for (&id, out) in ids.iter().zip(out) {
        let row = &rows[id as usize * words..][..words];
        let (mut weighted, mut set) = (0, 0);
        for (i, &bits) in row.iter().enumerate() {
            weighted += (bits & p0[i]).count_ones()
                + 2 * (bits & p1[i]).count_ones()
                + 4 * (bits & p2[i]).count_ones()
                + 8 * (bits & p3[i]).count_ones();
            set += bits.count_ones();
        }
        *out = 2 * weighted as i32 - 15 * set as i32;
    }
}

pub(super) fn dot_fine(query: &[f32], row: Fine<'_>) -> f32 {
    let half = row.high.len().min(row.middle.len()).min(query.len() / 2);
    let (query, low) = (&query[..2 * half], &row.low[..2 * half]);
    let (high, middle) = (&row.high[..half], &row.middle[..half]);
    let first = sum(half, |i| {
        query[i] * fine(high[i] & 15, middle[i] & 15, low[i])
    });
    let second = sum(half, |i| {
        query[half + i] * fine(high[i] >> 4, middle[i] >> 4, low[half + i])
    });
    first + second
}

/// `sum((query[i] - scale * value[i])^2)` for one row of 16-bit values and a query that may
/// be shorter: without the padding.
pub(crate) fn distance_fine(query: &[f32], row: Fine<'_>, scale: f32) -> f32 {
    let half = row.high.len().min(row.middle.len());
    let query = &query[..query.len().min(2 * half)];
    let low = &row.low[..query.len()];
    let (high, middle) = (&row.high[..half], &row.middle[..half]);
    let square = |x: f32| x * x;
    let first = sum(query.len().min(half), |i| {
        square(query[i] - scale * fine(high[i] & 15, middle[i] & 15, low[i]))
    });
    let second = sum(query.len().saturating_sub(half), |i| {
        let value = fine(high[i] >> 4, middle[i] >> 4, low[half + i]);
        square(query[half + i] - scale * value)
    });
    first + second
}

/// The same for one row of half-precision floats.
pub(crate) fn distance_f16(query: &[f32], row: &[u16]) -> f32 {
    let n = query.len().min(row.len());
    let (query, row) = (&query[..n], &row[..n]);
    sum(n, |i| {
        let difference = query[i] - half::f16::from_bits(row[i]).to_f32();
        difference * difference
    })
}

fn fine(high: u8, middle: u8, low: i8) -> f32 {
    ((i32::from(high << 4 | middle) - 128) * 254 + i32::from(low)) as f32
}

/// Eight sums side by side, which the compiler turns into vector code.
#[inline(always)]
fn sum(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; 8];
    let whole = n / 8 * 8;
    for at in (0..whole).step_by(8) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(at + lane);
        }
    }
    let tail: f32 = (whole..n).map(term).sum();
    lanes.iter().sum::<f32>() + tail
}
