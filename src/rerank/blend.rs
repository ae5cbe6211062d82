//! One score out of the first stage's and the reranker's.

/// How a document's score came about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blended {
    /// The first stage's score, stretched to 0..1.
    pub first: f32,
    /// The reranker's score: stretched likewise, or as it is where it decides alone.
    pub rerank: f32,
    /// `weight * rerank + (1 - weight) * first`.
    pub score: f32,
}

/// Weighted sums of the two scores of some documents, `weight` (0 to 1) for the reranker's.
/// The reranker's are stretched to 0..1 over these documents, except that with a weight of 1
/// they are the documents' scores, calibrated as they are. The first stage's are stretched over
/// `list`, its scores of all documents that might have been scored, these among them: what was
/// left out then does not change how much a difference between two others counts. Equal scores
/// stretch to 1.
pub fn blend(first: &[f32], rerank: &[f32], list: &[f32], weight: f32) -> Vec<Blended> {
    let first = stretched(first, list);
    let rerank = match weight >= 1.0 {
        true => rerank.to_vec(),
        false => stretched(rerank, rerank),
    };
    let both = first.into_iter().zip(rerank);
    both.map(|(first, rerank)| Blended {
        first,
        rerank,
        score: weight * rerank + (1.0 - weight) * first,
    })
    .collect()
}

fn stretched(scores: &[f32], over: &[f32]) -> Vec<f32> {
    let least = over.iter().copied().fold(f32::INFINITY, f32::min);
    let most = over.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = most - least;
    scores
        .iter()
        .map(|score| match range > 0.0 {
            true => (score - least) / range,
            false => 1.0,
        })
        .collect()
}

/// How far below the last document that was scored the first of the others begins.
const STEP: f32 = 1e-3;

/// The score of a document that was not scored: all such keep the first stage's order and the
/// distances of its scores, below `floor`, the least of those that were. `highest`: the
/// greatest first-stage score among them.
pub fn below(floor: f32, highest: f32, first: f32) -> f32 {
    floor - STEP - (highest - first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_weight_goes_from_one_order_to_the_other(
            scores in prop::collection::vec((-50.0_f32..50.0, 0.0_f32..1.0), 1..40),
            weight in 0.0_f32..=1.0,
        ) {
            let first: Vec<f32> = scores.iter().map(|s| s.0).collect();
            let rerank: Vec<f32> = scores.iter().map(|s| s.1).collect();
            for one in blend(&first, &rerank, &first, weight) {
                prop_assert!((0.0..=1.0).contains(&one.score));
                let sum = weight * one.rerank + (1.0 - weight) * one.first;
                prop_assert_eq!(one.score, sum);
            }
            let by_first = blend(&first, &rerank, &first, 0.0);
            let by_rerank = blend(&first, &rerank, &first, 1.0);
            for a in 0..scores.len() {
                prop_assert_eq!(by_rerank[a].score, rerank[a]);
                for b in 0..scores.len() {
                    prop_assert!(first[a] < first[b] || by_first[a].score >= by_first[b].score);
                }
            }
        }

        #[test]
        fn what_is_left_out_does_not_change_the_first_stages_part(
            scores in prop::collection::vec((-50.0_f32..50.0, 0.0_f32..1.0), 2..40),
            kept in 1_usize..40,
        ) {
            let first: Vec<f32> = scores.iter().map(|s| s.0).collect();
            let rerank: Vec<f32> = scores.iter().map(|s| s.1).collect();
            let kept = kept.min(scores.len());
            let all = blend(&first, &rerank, &first, 0.2);
            let some = blend(&first[..kept], &rerank[..kept], &first, 0.2);
            for (one, same) in some.iter().zip(all) {
                prop_assert_eq!(one.first, same.first);
                prop_assert!((0.0..=1.0).contains(&one.score));
            }
        }

        #[test]
        fn what_was_not_scored_stays_below_in_its_order(
            floor in 0.0_f32..1.0,
            mut firsts in prop::collection::vec(-40.0_f32..40.0, 1..40),
        ) {
            firsts.sort_by(|a, b| b.total_cmp(a));
            let scores: Vec<f32> = firsts.iter().map(|&f| below(floor, firsts[0], f)).collect();
            prop_assert!(scores[0] < floor);
            prop_assert!(scores.is_sorted_by(|a, b| a >= b));
        }
    }
}
