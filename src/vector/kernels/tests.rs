//! Every kernel against sums written out, on random and adversarial rows.

use super::*;

/// Dimensions around every lane width, and the usual ones.
fn dimensions() -> impl Iterator<Item = usize> {
    (1..140)
        .chain((140..1100).step_by(37))
        .chain([256, 384, 512, 768, 1023, 1024, 1025, 1536, 4096])
}

fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

/// Row numbers in no order, some twice, as many as leave every remainder of four.
fn id_lists(rows: u32) -> Vec<Vec<u32>> {
    (0..10u32)
        .map(|n| (0..n).map(|i| (i * 7 + 3) % rows).collect())
        .collect()
}

fn check_u4(query: &[i8], rows: &[u8]) {
    let stride = query.len() / 2;
    for ids in id_lists((rows.len() / stride) as u32) {
        let expected: Vec<i64> = ids
            .iter()
            .map(|&id| {
                let row = &rows[id as usize * stride..][..stride];
                let values = row.iter().map(|b| b & 15).chain(row.iter().map(|b| b >> 4));
                let pairs = query.iter().zip(values);
                pairs.map(|(&q, r)| i64::from(q) * i64::from(r)).sum()
            })
            .collect();
        for kernels in available() {
            let mut out = vec![0; ids.len()];
            (kernels.dots_u4)(query, rows, &ids, &mut out);
            let out: Vec<i64> = out.into_iter().map(i64::from).collect();
            assert_eq!(out, expected, "{} at {stride}", kernels.name);
        }
    }
}

fn signed(bytes: Vec<u8>) -> Vec<i8> {
    bytes.into_iter().map(|b| b as i8).collect()
}

#[test]
fn nibble_kernels_are_exact() {
    for values in (BLOCK..=20 * BLOCK).step_by(BLOCK).chain([4096]) {
        let bytes = 11 * values / 2;
        let rows = noise(2, bytes);
        check_u4(&signed(noise(1, values)), &rows);
        for query in [127, -127, -128, 0] {
            check_u4(&vec![query; values], &rows);
            for row in [0x00, 0x01, 0x10, 0x0f, 0xf0, 0xff] {
                check_u4(&vec![query; values], &vec![row; bytes]);
            }
        }
        let alternating: Vec<i8> = (0..values)
            .map(|i| if i % 2 == 0 { 127 } else { -127 })
            .collect();
        let rows: Vec<u8> = (0..bytes)
            .map(|i| if i % 2 == 0 { 255 } else { 0 })
            .collect();
        check_u4(&alternating, &rows);
    }
}

#[test]
fn half_precision_kernels_agree_with_a_sum_in_double() {
    for stride in dimensions() {
        let query: Vec<f32> = noise(3, stride)
            .iter()
            .map(|&b| f32::from(b) / 100.0 - 1.3)
            .collect();
        let values: Vec<half::f16> = noise(4, 11 * stride)
            .iter()
            .map(|&b| half::f16::from_f32(f32::from(b) / 50.0 - 2.5))
            .collect();
        let rows: Vec<u16> = values.iter().map(|v| v.to_bits()).collect();
        for ids in id_lists(11) {
            for kernels in available() {
                let mut out = vec![0.0; ids.len()];
                (kernels.dots_f16)(&query, &rows, &ids, &mut out);
                for (&id, found) in ids.iter().zip(out) {
                    let row = &values[id as usize * stride..][..stride];
                    let pairs = query.iter().zip(row);
                    let products = pairs.map(|(&q, r)| f64::from(q) * f64::from(r.to_f32()));
                    close(found, products, kernels.name, stride);
                }
            }
        }
    }
}

#[test]
fn fine_kernels_agree_with_a_sum_in_double() {
    for n in (BLOCK..=20 * BLOCK).step_by(BLOCK).chain([4096]) {
        let random: Vec<f32> = noise(5, n)
            .iter()
            .map(|&b| f32::from(b) / 100.0 - 1.3)
            .collect();
        for query in [&random, &vec![0.0; n], &vec![1e15; n], &vec![-1e-15; n]] {
            let extremes = [
                (0u8, 0u8, -128i8),
                (255, 255, 127),
                (1, 16, 126),
                (128, 0, 0),
            ];
            let mut rows: Vec<(Vec<u8>, Vec<u8>, Vec<i8>)> = extremes
                .iter()
                .map(|&(h, m, l)| (vec![h; n / 2], vec![m; n / 2], vec![l; n]))
                .collect();
            rows.push((noise(6, n / 2), noise(8, n / 2), signed(noise(7, n))));
            for (high, middle, low) in &rows {
                for kernels in available() {
                    let found = (kernels.dot_fine)(query, Fine { high, middle, low });
                    let nibble = |plane: &[u8], i: usize| match i < n / 2 {
                        true => plane[i] & 15,
                        false => plane[i - n / 2] >> 4,
                    };
                    let products = (0..n).map(|i| {
                        let byte = 16 * i32::from(nibble(high, i)) + i32::from(nibble(middle, i));
                        let value = (byte - 128) * 254 + i32::from(low[i]);
                        f64::from(query[i]) * f64::from(value)
                    });
                    close(found, products, kernels.name, n);
                }
            }
        }
    }
}

fn close(found: f32, products: impl Iterator<Item = f64> + Clone, name: &str, n: usize) {
    let magnitude: f64 = products.clone().map(f64::abs).sum();
    let expected: f64 = products.sum();
    assert!(
        (f64::from(found) - expected).abs() <= magnitude * 1e-5,
        "{name} at {n}: {found} for {expected}"
    );
}

#[test]
fn bit_kernels_are_exact() {
    for words in (1..20).chain([64]) {
        let word = |bytes: Vec<u8>| -> Vec<u64> {
            let eights = bytes.as_chunks::<8>().0.iter();
            eights.map(|b| u64::from_le_bytes(*b)).collect()
        };
        let planes = word(noise(8, 4 * 8 * words));
        let rows = word(noise(9, 11 * 8 * words));
        for (planes, rows) in [
            (&planes, &rows),
            (&vec![u64::MAX; 4 * words], &rows),
            (&planes, &vec![u64::MAX; 11 * words]),
            (&vec![0; 4 * words], &vec![u64::MAX; 11 * words]),
        ] {
            for ids in id_lists(11) {
                let expected: Vec<i32> = ids
                    .iter()
                    .map(|&id| {
                        (0..64 * words)
                            .filter(|i| rows[id as usize * words + i / 64] >> (i % 64) & 1 == 1)
                            .map(|i| {
                                let bit = |plane: usize| {
                                    (planes[plane * words + i / 64] >> (i % 64) & 1) as i32
                                };
                                2 * (bit(0) + 2 * bit(1) + 4 * bit(2) + 8 * bit(3)) - 15
                            })
                            .sum()
                    })
                    .collect();
                for kernels in available() {
                    let mut out = vec![0; ids.len()];
                    (kernels.dots_bits)(planes, rows, &ids, &mut out);
                    assert_eq!(out, expected, "{} at {words} words", kernels.name);
                }
            }
        }
    }
}

#[test]
fn a_row_that_does_not_exist_is_refused() {
    for kernels in available() {
        let refused = std::panic::catch_unwind(|| {
            (kernels.dots_u4)(&[1; BLOCK], &[1; BLOCK], &[0, 2], &mut [0; 2]);
        });
        assert!(refused.is_err(), "{}", kernels.name);
        let refused = std::panic::catch_unwind(|| {
            (kernels.dots_f16)(&[1.0; 16], &[0; 32], &[u32::MAX], &mut [0.0; 1]);
        });
        assert!(refused.is_err(), "{}", kernels.name);
    }
    prefetch(&[1u8; 200], 100, 1000);
    assert!(!kernels().name.is_empty());
}
