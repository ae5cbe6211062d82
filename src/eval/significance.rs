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

/// The interval that holds the mean of 95 of 100 samples of as many values, drawn with repetition
/// (the percentile bootstrap, Efron 1979), over `draws` draws from a fixed sequence. Zeros without
/// values.
pub fn bootstrap_interval(values: &[f64], draws: usize) -> [f64; 2] {
    if values.is_empty() || draws == 0 {
        return [0.0; 2];
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut means: Vec<f64> = (0..draws)
        .map(|_| {
            let drawn = (0..values.len()).map(|_| {
                let at = split_mix(&mut state) % values.len() as u64;
                values[at as usize]
            });
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((draws - 1) as f64 * share).round() as usize];
    [at(0.025), at(0.975)]
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
    fn intervals_are_those_of_the_normal_distribution() {
        assert_eq!(bootstrap_interval(&[], 1_000), [0.0, 0.0]);
        assert_eq!(bootstrap_interval(&[2.0; 9], 1_000), [2.0, 2.0]);
        // Of 400 values with a deviation of 1 the mean deviates by a twentieth.
        let values: Vec<f64> = (0..400)
            .map(|n| if n % 2 == 0 { 4.0 } else { 2.0 })
            .collect();
        let [low, high] = bootstrap_interval(&values, 10_000);
        let around = 1.96 / 20.0;
        assert!((low - (3.0 - around)).abs() < 0.01, "{low}");
        assert!((high - (3.0 + around)).abs() < 0.01, "{high}");
    }

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
