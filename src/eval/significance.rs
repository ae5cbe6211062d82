//! Whether a difference between two systems is more than chance.

/// The paired randomisation test (Fisher 1935; Smucker, Allan and Carterette 2007): how often
/// the mean of the differences would be as far from 0 if each had either sign by chance, over
/// `draws` draws from a fixed sequence. Two-sided, above 0, at most 1; 1 without differences.
pub fn randomisation_test(differences: &[f64], draws: usize) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    // Sums in another order differ in their last bits.
    let slack = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    if observed <= slack {
        return 1.0;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut as_far = 0usize;
    for _ in 0..draws {
        let mut sum = 0.0;
        for chunk in differences.chunks(64) {
            let mut signs = split_mix(&mut state);
            for d in chunk {
                sum += if signs & 1 == 0 { *d } else { -d };
                signs >>= 1;
            }
        }
        as_far += usize::from(sum.abs() >= observed - slack);
    }
    (as_far + 1) as f64 / (draws + 1) as f64
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_told_from_more_than_chance() {
        assert_eq!(randomisation_test(&[], 1_000), 1.0);
        assert_eq!(randomisation_test(&[0.0; 9], 1_000), 1.0);
        // All of ten differences of one sign: 2 of 1,024 ways.
        let p = randomisation_test(&[1.0; 10], 100_000);
        assert!((p - 2.0 / 1024.0).abs() < 0.0008, "{p}");
        let mixed: Vec<f64> = (0..100)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        assert_eq!(randomisation_test(&mixed, 1_000), 1.0);
        // A mean of half a deviation over 64 queries is no chance, a twentieth is.
        let shifted = |by: f64| -> Vec<f64> {
            (0..64)
                .map(|i| by + if i % 2 == 0 { 1.0 } else { -1.0 })
                .collect()
        };
        assert!(randomisation_test(&shifted(0.5), 10_000) < 0.001);
        assert!(randomisation_test(&shifted(0.05), 10_000) > 0.5);
    }
}
