//! Long texts in overlapping windows: where they are, and one vector out of theirs.

use std::ops::Range;

use super::pooling::normalize;

/// A window shares at least one in so many of its tokens with the one before.
const OVERLAP: usize = 8;

/// Windows of at most `room` (1 or more) over so many tokens: as few as overlap by an
/// eighth, of one length to within a token, evenly spread. They cover all tokens; what fits
/// is one window.
pub(crate) fn cut(tokens: usize, room: usize) -> Vec<Range<usize>> {
    let room = room.max(1);
    if tokens <= room {
        return std::iter::once(0..tokens).collect();
    }
    let overlap = room / OVERLAP;
    let count = (tokens - overlap).div_ceil(room - overlap);
    let length = (tokens + (count - 1) * overlap).div_ceil(count).min(room);
    (0..count)
        .map(|n| {
            // At least two windows: what fits one was answered above.
            let start = n * (tokens - length) / (count - 1);
            start..start + length
        })
        .collect()
}

/// The mean of the windows' vectors, weighted by their tokens, of length 1 where they are.
pub(crate) fn combine(windows: &[f32], weights: &[usize], normalized: bool, out: &mut [f32]) {
    let dimensions = out.len().max(1);
    if let [_] = weights {
        out.copy_from_slice(windows);
        return;
    }
    out.fill(0.0);
    let total: usize = weights.iter().sum();
    for (window, &weight) in windows.chunks_exact(dimensions).zip(weights) {
        let share = weight as f32 / total.max(1) as f32;
        for (sum, value) in out.iter_mut().zip(window) {
            *sum += share * value;
        }
    }
    if normalized {
        normalize(out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_cover_everything_and_overlap(tokens in 0_usize..3000, room in 1_usize..300) {
            let windows = cut(tokens, room);
            prop_assert_eq!(windows[0].start, 0);
            prop_assert_eq!(windows[windows.len() - 1].end, tokens);
            prop_assert!(windows.iter().all(|window| window.len() <= room));
            for pair in windows.windows(2) {
                prop_assert!(pair[1].start + room / OVERLAP <= pair[0].end);
                prop_assert!(pair[1].start > pair[0].start);
            }
        }
    }

    #[test]
    fn a_vector_is_the_weighted_mean_of_its_windows() {
        let mut out = [0.0; 2];
        combine(&[1.0, 0.0, 0.0, 1.0], &[3, 1], false, &mut out);
        assert_eq!(out, [0.75, 0.25]);
        combine(&[0.6, 0.8], &[7], true, &mut out);
        assert_eq!(out, [0.6, 0.8]);
        combine(&[1.0, 0.0, 0.0, 1.0], &[1, 1], true, &mut out);
        assert!((out[0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }
}
