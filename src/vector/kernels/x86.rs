//! Kernels for x86_64, behind run-time detection.

use std::arch::x86_64::*;

use super::{BLOCK, Fine, Kernels, portable};

/// Every set of kernels that this processor runs, the fastest last.
pub(super) fn available() -> impl Iterator<Item = Kernels> {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("popcnt");
    let vnni = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    [(avx2, AVX2), (vnni, AVX512_VNNI)]
        .into_iter()
        .filter_map(|(runs, kernels)| runs.then_some(kernels))
}

/// Handed out only by `available`, after detection of AVX2, FMA, F16C and POPCNT.
const AVX2: Kernels = Kernels {
    name: "avx2",
    // SAFETY: installed only where these features were detected, as are the next.
    dots_u4: |query, rows, ids, out| unsafe { dots_u4_avx2(query, rows, ids, out) },
    // SAFETY: as above.
    dots_f16: |query, rows, ids, out| unsafe { dots_f16_avx2(query, rows, ids, out) },
    // SAFETY: as above.
    dots_bits: |planes, rows, ids, out| unsafe { dots_bits_popcnt(planes, rows, ids, out) },
    // SAFETY: as above.
    dot_fine: |query, row| unsafe { dot_fine_avx2(query, row) },
};

/// Handed out only by `available`, after detection of AVX-512 F, BW and VNNI and
/// of what [`AVX2`] needs.
const AVX512_VNNI: Kernels = Kernels {
    name: "avx512-vnni",
    // SAFETY: installed only where these features were detected.
    dots_u4: |query, rows, ids, out| unsafe { dots_u4_vnni(query, rows, ids, out) },
    dots_f16: AVX2.dots_f16,
    dots_bits: AVX2.dots_bits,
    dot_fine: AVX2.dot_fine,
};

/// Panics if a row does not exist: what makes the pointers below sound.
#[inline(always)]
fn check(rows: usize, stride: usize, ids: &[u32]) {
    let last = ids.iter().fold(0, |last, &id| last.max(id));
    assert!(
        ids.is_empty() || (last as usize + 1) * stride <= rows,
        "a row that does not exist"
    );
}

/// `maddubs` cannot saturate here: 2 * 15 * 128 fits 16 bits easily. The 16-bit sums are
/// widened before they could overflow.
#[target_feature(enable = "avx2")]
fn dots_u4_avx2(query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
    let stride = query.len() / 2;
    check(rows.len(), stride, ids);
    assert!(stride.is_multiple_of(32));
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for (&id, out) in ids.iter().zip(out) {
        let row = &rows[id as usize * stride..][..stride];
        let mut sum = _mm256_setzero_si256();
        for at in (0..stride).step_by(32) {
            // SAFETY: reads 32 bytes at `at`, and `at` + 32 <= `stride`, which is the
            // length of the row and half that of the query.
            let (r, first, second) = unsafe {
                (
                    _mm256_loadu_si256(row.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(query.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(query.as_ptr().add(stride + at).cast()),
                )
            };
            let a = _mm256_maddubs_epi16(_mm256_and_si256(r, low), first);
            let b = _mm256_and_si256(_mm256_srli_epi16::<4>(r), low);
            let both = _mm256_add_epi16(a, _mm256_maddubs_epi16(b, second));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(both, ones));
        }
        let sum = _mm_add_epi32(
            _mm256_castsi256_si128(sum),
            _mm256_extracti128_si256::<1>(sum),
        );
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
        *out = _mm_cvtsi128_si32(sum);
    }
}

/// `dpbusd` multiplies unsigned by signed bytes, which is what rows and queries are.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dots_u4_vnni(query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
    let stride = query.len() / 2;
    check(rows.len(), stride, ids);
    assert!(out.len() >= ids.len() && stride.is_multiple_of(32));
    // The usual dimensions keep the query in registers.
    match (stride / BLOCK, stride % BLOCK) {
        (0, 32) => dots_u4_half_block(query, rows, ids, out),
        (1, 0) => dots_u4_blocks::<1>(query, rows, ids, out),
        (2, 0) => dots_u4_blocks::<2>(query, rows, ids, out),
        (3, 0) => dots_u4_blocks::<3>(query, rows, ids, out),
        (4, 0) => dots_u4_blocks::<4>(query, rows, ids, out),
        (6, 0) => dots_u4_blocks::<6>(query, rows, ids, out),
        (8, 0) => dots_u4_blocks::<8>(query, rows, ids, out),
        (blocks, rest) => {
            let low = _mm512_set1_epi8(15);
            let mask = if rest > 0 { u64::from(u32::MAX) } else { 0 };
            four_by_four(rows, stride, ids, out, |row| {
                let mut sums = [_mm512_setzero_si512(); 4];
                let mut add = |at: usize, mask: u64| {
                    // SAFETY: the mask allows reads below `stride` only, which is the
                    // length of each row and half that of the query.
                    unsafe {
                        let first = _mm512_maskz_loadu_epi8(mask, query.as_ptr().add(at));
                        let second = query.as_ptr().add(stride + at);
                        let second = _mm512_maskz_loadu_epi8(mask, second);
                        for (sum, row) in sums.iter_mut().zip(row) {
                            let r = _mm512_maskz_loadu_epi8(mask, row.add(at).cast());
                            let a = _mm512_and_si512(r, low);
                            let b = _mm512_and_si512(_mm512_srli_epi16::<4>(r), low);
                            *sum = _mm512_dpbusd_epi32(*sum, a, first);
                            *sum = _mm512_dpbusd_epi32(*sum, b, second);
                        }
                    }
                };
                for block in 0..blocks {
                    add(BLOCK * block, u64::MAX);
                }
                add(BLOCK * blocks, mask);
                sums
            });
        }
    }
}

/// Rows of half a block lie two to a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
fn dots_u4_half_block(query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
    assert_eq!(query.len(), BLOCK);
    let low = _mm512_set1_epi8(15);
    // SAFETY: the query has twice 32 values.
    let [first, second] = [0, 32].map(|at| unsafe {
        _mm512_broadcast_i64x4(_mm256_loadu_si256(query.as_ptr().add(at).cast()))
    });
    let pair = |ids: [u32; 2]| {
        // SAFETY: the caller has checked that the rows exist, which have 32 bytes each.
        let [a, b] =
            ids.map(|id| unsafe { _mm256_loadu_si256(rows.as_ptr().add(id as usize * 32).cast()) });
        let r = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
        let sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_and_si512(r, low), first);
        let b = _mm512_and_si512(_mm512_srli_epi16::<4>(r), low);
        _mm512_dpbusd_epi32(sum, b, second)
    };
    let four = |ids: [u32; 4]| {
        let (x, y) = (pair([ids[0], ids[1]]), pair([ids[2], ids[3]]));
        // Pairs of lanes of x and y side by side, then those again.
        let a = _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
        // In each 128 bits: x02 y02 x13 y13.
        let a = _mm512_add_epi32(a, _mm512_shuffle_epi32::<0b01_00_11_10>(a));
        // In each: x, y, ..; the two halves of 256 bits belong together.
        let (one, two) = (_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a));
        let half =
            |h: __m256i| _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256::<1>(h));
        // x0 y0 .. and x1 y1 ..: rows 0, 2 and 1, 3.
        _mm_unpacklo_epi32(half(one), half(two))
    };
    let (fours, rest) = ids.as_chunks::<4>();
    for (&ids, out) in fours.iter().zip(out.as_chunks_mut::<4>().0) {
        // SAFETY: four places.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), four(ids)) };
    }
    if let Some(&last) = rest.last() {
        let id = |at: usize| rest.get(at).copied().unwrap_or(last);
        let mut sums = [0; 4];
        // SAFETY: four places.
        unsafe {
            _mm_storeu_si128(sums.as_mut_ptr().cast(), four([id(0), id(1), id(2), id(3)]));
        }
        out[4 * fours.len()..ids.len()].copy_from_slice(&sums[..rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dots_u4_blocks<const BLOCKS: usize>(query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
    assert_eq!(query.len(), 2 * BLOCKS * BLOCK);
    let low = _mm512_set1_epi8(15);
    let mut q = [[_mm512_setzero_si512(); 2]; BLOCKS];
    for (block, q) in q.iter_mut().enumerate() {
        for (half, q) in q.iter_mut().enumerate() {
            // SAFETY: each half of the query has BLOCKS blocks.
            *q = unsafe {
                let at = BLOCK * (half * BLOCKS + block);
                _mm512_loadu_si512(query.as_ptr().add(at).cast())
            };
        }
    }
    four_by_four(rows, BLOCKS * BLOCK, ids, out, |row| {
        let mut sums = [_mm512_setzero_si512(); 4];
        for (block, &[first, second]) in q.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(row) {
                // SAFETY: every row has BLOCKS blocks.
                let r = unsafe { _mm512_loadu_si512(row.add(BLOCK * block).cast()) };
                let a = _mm512_and_si512(r, low);
                let b = _mm512_and_si512(_mm512_srli_epi16::<4>(r), low);
                *sum = _mm512_dpbusd_epi32(*sum, a, first);
                *sum = _mm512_dpbusd_epi32(*sum, b, second);
            }
        }
        sums
    });
}

/// Runs `dots` over four rows at a time, which overlaps their waits for memory,
/// and adds each row's lanes up. The caller has checked that the rows exist and
/// that `out` has a place for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn four_by_four(
    rows: &[u8],
    stride: usize,
    ids: &[u32],
    out: &mut [i32],
    dots: impl Fn([*const u8; 4]) -> [__m512i; 4],
) {
    // SAFETY: `check` has seen that the row exists.
    let row = |id: u32| unsafe { rows.as_ptr().add(id as usize * stride) };
    let (fours, rest) = ids.as_chunks::<4>();
    for (ids, out) in fours.iter().zip(out.as_chunks_mut::<4>().0) {
        *out = sums_of_four(dots(ids.map(row)));
    }
    if let Some(&last) = rest.last() {
        // The last one stands in for those that are missing.
        let id = |at: usize| row(rest.get(at).copied().unwrap_or(last));
        let sums = sums_of_four(dots([id(0), id(1), id(2), id(3)]));
        out[4 * fours.len()..ids.len()].copy_from_slice(&sums[..rest.len()]);
    }
}

/// The sum of the sixteen lanes of each.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sums_of_four(sums: [__m512i; 4]) -> [i32; 4] {
    let half =
        |x: __m512i| _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
    let pairs = _mm256_hadd_epi32(
        _mm256_hadd_epi32(half(sums[0]), half(sums[1])),
        _mm256_hadd_epi32(half(sums[2]), half(sums[3])),
    );
    let all = _mm_add_epi32(
        _mm256_castsi256_si128(pairs),
        _mm256_extracti128_si256::<1>(pairs),
    );
    [
        _mm_extract_epi32::<0>(all),
        _mm_extract_epi32::<1>(all),
        _mm_extract_epi32::<2>(all),
        _mm_extract_epi32::<3>(all),
    ]
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dots_f16_avx2(query: &[f32], rows: &[u16], ids: &[u32], out: &mut [f32]) {
    let stride = query.len();
    check(rows.len(), stride, ids);
    let whole = stride / 16 * 16;
    for (&id, out) in ids.iter().zip(out) {
        let row = &rows[id as usize * stride..][..stride];
        let mut sums = [_mm256_setzero_ps(); 2];
        for at in (0..whole).step_by(16) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let at = at + 8 * lane;
                // SAFETY: reads 8 values at `at`, and `at` + 8 <= `whole` <= `stride`.
                let (r, q) = unsafe {
                    (
                        _mm256_cvtph_ps(_mm_loadu_si128(row.as_ptr().add(at).cast())),
                        _mm256_loadu_ps(query.as_ptr().add(at)),
                    )
                };
                *sum = _mm256_fmadd_ps(r, q, *sum);
            }
        }
        let tail: f32 = query[whole..]
            .iter()
            .zip(&row[whole..])
            .map(|(&q, &r)| q * half::f16::from_bits(r).to_f32())
            .sum();
        *out = sum_f32(_mm256_add_ps(sums[0], sums[1])) + tail;
    }
}

#[target_feature(enable = "popcnt")]
fn dots_bits_popcnt(planes: &[u64], rows: &[u64], ids: &[u32], out: &mut [i32]) {
    portable::dots_bits(planes, rows, ids, out);
}

#[target_feature(enable = "avx2,fma")]
fn dot_fine_avx2(query: &[f32], row: Fine<'_>) -> f32 {
    let half = row.high.len();
    assert!(half.is_multiple_of(32) && row.middle.len() == half);
    assert!(row.low.len() == 2 * half && query.len() == 2 * half);
    let nibble = _mm_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); 2];
    for at in (0..half).step_by(16) {
        // SAFETY: reads 16 bytes at `at`, and `at` + 16 <= `half`.
        let (high, middle) = unsafe {
            (
                _mm_loadu_si128(row.high.as_ptr().add(at).cast()),
                _mm_loadu_si128(row.middle.as_ptr().add(at).cast()),
            )
        };
        let above = |x: __m128i| _mm_and_si128(_mm_srli_epi16::<4>(x), nibble);
        // The bytes of the values `at..` and of those half a row later.
        let first = _mm_or_si128(
            _mm_slli_epi16::<4>(_mm_and_si128(high, nibble)),
            _mm_and_si128(middle, nibble),
        );
        let second = _mm_or_si128(_mm_andnot_si128(nibble, high), above(middle));
        for (bytes, at) in [(first, at), (second, half + at)] {
            // SAFETY: `at` + 16 <= 2 * `half`, the length of both.
            let (low, q) = unsafe {
                (
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(row.low.as_ptr().add(at).cast())),
                    [
                        _mm256_loadu_ps(query.as_ptr().add(at)),
                        _mm256_loadu_ps(query.as_ptr().add(at + 8)),
                    ],
                )
            };
            // Within 128 * 254 + 128, which 16 bits hold.
            let high = _mm256_mullo_epi16(
                _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(128)),
                _mm256_set1_epi16(254),
            );
            let value = _mm256_add_epi16(high, low);
            let values = [
                _mm256_castsi256_si128(value),
                _mm256_extracti128_si256::<1>(value),
            ];
            for lane in 0..2 {
                let value = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(values[lane]));
                sums[lane] = _mm256_fmadd_ps(value, q[lane], sums[lane]);
            }
        }
    }
    sum_f32(_mm256_add_ps(sums[0], sums[1]))
}

#[inline]
#[target_feature(enable = "avx")]
fn sum_f32(sum: __m256) -> f32 {
    let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps::<1>(sum, sum)))
}
