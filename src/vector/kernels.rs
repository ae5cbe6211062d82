//! Dot products, chosen once for the processor at hand.
//!
//! The only file with `unsafe`: intrinsics behind run-time detection. Every
//! kernel gives the same answer as the portable one: exactly for int8, and up
//! to the order of its sums for f32.

use std::sync::OnceLock;

/// `sum(a[i] * b[i])` over int8. The third argument is `sum(b[i])`, which the
/// VNNI kernel needs (its left operand is unsigned) and the others ignore.
/// Exact for up to 65,000 dimensions.
pub(crate) type DotI8 = fn(&[i8], &[i8], i32) -> i32;
/// `sum(a[i] * b[i])` over f32.
pub(crate) type DotF32 = fn(&[f32], &[f32]) -> f32;

/// The kernels in use. Where lengths differ, the shorter one counts.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// For logs.
    pub name: &'static str,
    pub dot_i8: DotI8,
    pub dot_f32: DotF32,
}

/// The fastest kernels this processor runs.
pub(crate) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().last().copied().unwrap_or(PORTABLE))
}

const PORTABLE: Kernels = Kernels {
    name: "portable",
    dot_i8: dot_i8_portable,
    dot_f32: dot_f32_portable,
};

/// Every set of kernels this processor runs, the fastest last.
fn available() -> Vec<Kernels> {
    #[allow(unused_mut)]
    let mut all = vec![PORTABLE];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(x86::AVX2);
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.push(x86::AVX512_VNNI);
            }
        }
    }
    all
}

/// Asks for the bytes of a row that will be read soon.
#[inline(always)]
pub(crate) fn prefetch(row: &[i8]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

fn dot_i8_portable(a: &[i8], b: &[i8], _sum_b: i32) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| i32::from(x) * i32::from(y))
        .sum()
}

fn dot_f32_portable(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side, which the compiler turns into vector code.
    let mut lanes = [0.0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let whole = a.len().min(b.len()) / 8 * 8;
    for (x, y) in a_chunks.zip(b_chunks) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    let tail: f32 = a.iter().zip(b).skip(whole).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Kernels;

    /// Reached only through `available`, after detection of AVX2 and FMA.
    pub(super) const AVX2: Kernels = Kernels {
        name: "avx2",
        // SAFETY: installed only where AVX2 was detected.
        dot_i8: |a, b, _| unsafe { dot_i8_avx2(a, b) },
        // SAFETY: installed only where AVX2 and FMA were detected.
        dot_f32: |a, b| unsafe { dot_f32_avx2(a, b) },
    };

    /// Reached only through `available`, after detection of AVX-512 F, BW, VNNI
    /// and of AVX2 and FMA.
    pub(super) const AVX512_VNNI: Kernels = Kernels {
        name: "avx512-vnni",
        // SAFETY: installed only where AVX-512 F, BW and VNNI were detected.
        dot_i8: |a, b, sum_b| unsafe { dot_i8_vnni(a, b, sum_b) },
        dot_f32: AVX2.dot_f32,
    };

    /// Widens to 16 bits before multiplying: `maddubs` would saturate.
    #[target_feature(enable = "avx2")]
    fn dot_i8_avx2(a: &[i8], b: &[i8]) -> i32 {
        let n = a.len().min(b.len());
        let (pa, pb) = (a.as_ptr(), b.as_ptr());
        let mut sums = [_mm256_setzero_si256(); 2];
        let mut i = 0;
        while i + 32 <= n {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: reads 16 bytes at i + 16 * lane, and i + 32 <= n.
                let (x, y) = unsafe {
                    let at = i + 16 * lane;
                    (
                        _mm_loadu_si128(pa.add(at).cast()),
                        _mm_loadu_si128(pb.add(at).cast()),
                    )
                };
                let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), _mm256_cvtepi8_epi16(y));
                *sum = _mm256_add_epi32(*sum, products);
            }
            i += 32;
        }
        let sum = _mm256_add_epi32(sums[0], sums[1]);
        let sum = _mm_add_epi32(
            _mm256_castsi256_si128(sum),
            _mm256_extracti128_si256::<1>(sum),
        );
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
        let tail = super::dot_i8_portable(&a[i..n], &b[i..n], 0);
        _mm_cvtsi128_si32(sum) + tail
    }

    #[target_feature(enable = "avx2,fma")]
    fn dot_f32_avx2(a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        let (pa, pb) = (a.as_ptr(), b.as_ptr());
        // Four sums hide the latency of the multiply-add.
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut i = 0;
        while i + 32 <= n {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: reads 8 values at i + 8 * lane, and i + 32 <= n.
                let (x, y) = unsafe {
                    let at = i + 8 * lane;
                    (_mm256_loadu_ps(pa.add(at)), _mm256_loadu_ps(pb.add(at)))
                };
                *sum = _mm256_fmadd_ps(x, y, *sum);
            }
            i += 32;
        }
        while i + 8 <= n {
            // SAFETY: reads 8 values at i, and i + 8 <= n.
            let (x, y) = unsafe { (_mm256_loadu_ps(pa.add(i)), _mm256_loadu_ps(pb.add(i))) };
            sums[0] = _mm256_fmadd_ps(x, y, sums[0]);
            i += 8;
        }
        let sum = _mm256_add_ps(
            _mm256_add_ps(sums[0], sums[1]),
            _mm256_add_ps(sums[2], sums[3]),
        );
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        let sum = _mm_add_ss(sum, _mm_shuffle_ps::<1>(sum, sum));
        let tail: f32 = a[i..n].iter().zip(&b[i..n]).map(|(x, y)| x * y).sum();
        _mm_cvtss_f32(sum) + tail
    }

    /// `dpbusd` multiplies unsigned by signed: `a` is shifted by 128 (its sign
    /// bit flipped) and `128 * sum(b)` is taken off at the end.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn dot_i8_vnni(a: &[i8], b: &[i8], sum_b: i32) -> i32 {
        let n = a.len().min(b.len());
        let (pa, pb) = (a.as_ptr(), b.as_ptr());
        let flip = _mm512_set1_epi8(i8::MIN);
        let mut sums = [_mm512_setzero_si512(); 2];
        let mut i = 0;
        while i + 128 <= n {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: reads 64 bytes at i + 64 * lane, and i + 128 <= n.
                let (x, y) = unsafe {
                    let at = i + 64 * lane;
                    (
                        _mm512_loadu_si512(pa.add(at).cast()),
                        _mm512_loadu_si512(pb.add(at).cast()),
                    )
                };
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(x, flip), y);
            }
            i += 128;
        }
        while i < n {
            let mask = u64::MAX >> (64 - (n - i).min(64));
            // SAFETY: the mask allows reads of min(64, n - i) bytes at i only.
            // Lanes past the end are zero in y and add nothing.
            let (x, y) = unsafe {
                (
                    _mm512_maskz_loadu_epi8(mask, pa.add(i)),
                    _mm512_maskz_loadu_epi8(mask, pb.add(i)),
                )
            };
            sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_xor_si512(x, flip), y);
            i += 64;
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])) - 128 * sum_b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around every lane width, and the usual dimensions.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..140)
            .chain((140..1100).step_by(37))
            .chain([256, 384, 768, 1023, 1024, 1025, 1100])
    }

    fn noise(seed: u64, n: usize) -> Vec<i8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 24) as u8 as i8
            })
            .collect()
    }

    fn check_i8(a: &[i8], b: &[i8]) {
        let expected: i64 = a
            .iter()
            .zip(b)
            .map(|(&x, &y)| i64::from(x) * i64::from(y))
            .sum();
        let sum_b: i32 = b.iter().map(|&y| i32::from(y)).sum();
        for kernels in available() {
            let found = (kernels.dot_i8)(a, b, sum_b);
            assert_eq!(
                i64::from(found),
                expected,
                "{} at {}",
                kernels.name,
                a.len()
            );
        }
    }

    #[test]
    fn int8_kernels_are_exact() {
        for n in lengths() {
            let (a, b) = (noise(1, n), noise(2, n));
            check_i8(&a, &b);
            for (x, y) in [
                (127, 127),
                (-127, 127),
                (127, -127),
                (-127, -127),
                (-128, -128),
                (0, 127),
            ] {
                check_i8(&vec![x; n], &vec![y; n]);
                check_i8(&vec![x; n], &b);
                check_i8(&a, &vec![y; n]);
            }
            let alternating: Vec<i8> = (0..n)
                .map(|i| if i % 2 == 0 { 127 } else { -127 })
                .collect();
            check_i8(&alternating, &alternating);
        }
    }

    #[test]
    fn int8_kernels_read_from_any_offset() {
        let (a, b) = (noise(3, 600), noise(4, 600));
        for offset in 0..70 {
            check_i8(&a[offset..offset + 400], &b[70 - offset..470 - offset]);
        }
    }

    #[test]
    fn float_kernels_agree_with_a_sum_in_double() {
        for n in lengths() {
            let a: Vec<f32> = noise(5, n).iter().map(|&x| f32::from(x) / 100.0).collect();
            let b: Vec<f32> = noise(6, n).iter().map(|&x| f32::from(x) / 100.0).collect();
            for (a, b) in [
                (&a, &b),
                (&a, &a),
                (&vec![0.0; n], &b),
                (&vec![1e15; n], &b),
            ] {
                let pairs = || a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y));
                let expected: f64 = pairs().sum();
                let magnitude: f64 = pairs().map(f64::abs).sum();
                for kernels in available() {
                    let found = f64::from((kernels.dot_f32)(a, b));
                    assert!(
                        (found - expected).abs() <= magnitude * 1e-5,
                        "{} at {n}: {found} for {expected}",
                        kernels.name
                    );
                }
            }
        }
    }

    #[test]
    fn the_shorter_side_counts() {
        for kernels in available() {
            assert_eq!((kernels.dot_f32)(&[1.0, 2.0, 4.0], &[1.0, 1.0]), 3.0);
            assert_eq!((kernels.dot_i8)(&[1, 2, 4], &[1, 1], 2), 3);
            assert_eq!((kernels.dot_i8)(&[], &[], 0), 0);
        }
        prefetch(&[1; 200]);
        assert!(!kernels().name.is_empty());
    }
}
