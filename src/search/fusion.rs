//! From two ranked lists to one.

use std::collections::HashMap;

use crate::index::{Fusion, FusionMethod};

/// A document in one leg's list, best first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegHit {
    /// The document.
    pub ordinal: u32,
    /// The leg's own score; finite.
    pub score: f32,
}

/// A document after fusion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The document.
    pub ordinal: u32,
    /// The fused score.
    pub score: f32,
    /// Rank from 0 and score in the words' list.
    pub lexical: Option<(usize, f32)>,
    /// Rank from 0 and score in the vectors' list.
    pub dense: Option<(usize, f32)>,
    /// What each leg contributed before its weight.
    pub parts: (f32, f32),
    /// Follows the fused candidates, ranked by its best rank in a leg.
    pub beyond: bool,
}

/// Fuses two lists: the first `candidates` of each by `fusion`, and after them whatever
/// stands deeper, by its best rank in either list.
///
/// The order of the first part depends on the first `candidates` of each list alone, and
/// the second part only grows at its end as the lists get longer, so a longer answer
/// begins with the shorter one. Equal scores are ordered by ordinal here; the caller
/// breaks ties by id once the ids are known.
pub fn fuse(
    lexical: &[LegHit],
    dense: &[LegHit],
    candidates: usize,
    fusion: &Fusion,
) -> Vec<Candidate> {
    let mut fused = merge(lexical, dense);
    let lexical_ranks = competition_ranks(lexical);
    let dense_ranks = competition_ranks(dense);
    let lexical_scale = Scale::of(&lexical[..candidates.min(lexical.len())]);
    let dense_scale = Scale::of(&dense[..candidates.min(dense.len())]);
    let part = |place: Option<(usize, f32)>, scale: &Scale, ranks: &[usize]| match place {
        Some((place, score)) if place < candidates => match fusion.method {
            // Where no combiner can be asked, both legs count by what their scores say.
            FusionMethod::MinMax | FusionMethod::Learned => scale.apply(score),
            FusionMethod::Rrf => 1.0 / (fusion.rrf_k + ranks[place] as f32 + 1.0),
        },
        _ => 0.0,
    };
    for one in &mut fused {
        one.beyond = one.best_rank() >= candidates;
        one.parts = (
            part(one.lexical, &lexical_scale, &lexical_ranks),
            part(one.dense, &dense_scale, &dense_ranks),
        );
        one.score = fusion.lexical * one.parts.0 + fusion.dense * one.parts.1;
    }
    order_fused(&mut fused);
    fused
}

/// The documents of two lists, each once, in no order.
pub(super) fn merge(lexical: &[LegHit], dense: &[LegHit]) -> Vec<Candidate> {
    let mut all: HashMap<u32, Candidate> = HashMap::with_capacity(lexical.len() + dense.len());
    for (rank, hit) in lexical.iter().enumerate() {
        all.entry(hit.ordinal)
            .or_insert_with(|| Candidate::new(hit.ordinal))
            .lexical = Some((rank, hit.score));
    }
    for (rank, hit) in dense.iter().enumerate() {
        all.entry(hit.ordinal)
            .or_insert_with(|| Candidate::new(hit.ordinal))
            .dense = Some((rank, hit.score));
    }
    all.into_values().collect()
}

/// Puts the fused candidates in order, and what lies beyond them behind.
pub(super) fn order_fused(fused: &mut [Candidate]) {
    fused.sort_unstable_by(|a, b| {
        let first = a.beyond.cmp(&b.beyond);
        let second = if a.beyond {
            a.best_rank().cmp(&b.best_rank())
        } else {
            b.score.total_cmp(&a.score)
        };
        first.then(second).then(a.ordinal.cmp(&b.ordinal))
    });
}

/// Ranks from 0 in which equal scores share the first's rank: what a document gets from
/// its rank must not depend on the order in which documents were written.
fn competition_ranks(hits: &[LegHit]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(hits.len());
    for (place, hit) in hits.iter().enumerate() {
        let rank = match place.checked_sub(1) {
            Some(before) if hits[before].score == hit.score => ranks[before],
            _ => place,
        };
        ranks.push(rank);
    }
    ranks
}

impl Candidate {
    pub(super) fn new(ordinal: u32) -> Self {
        Candidate {
            ordinal,
            score: 0.0,
            lexical: None,
            dense: None,
            parts: (0.0, 0.0),
            beyond: false,
        }
    }

    /// The better of its ranks, from 0.
    pub fn best_rank(&self) -> usize {
        let rank = |place: Option<(usize, f32)>| place.map_or(usize::MAX, |(rank, _)| rank);
        rank(self.lexical).min(rank(self.dense))
    }
}

/// The range of a leg's scores over its candidates.
struct Scale {
    least: f32,
    range: f32,
}

impl Scale {
    fn of(hits: &[LegHit]) -> Scale {
        let mut least = f32::INFINITY;
        let mut most = f32::NEG_INFINITY;
        for hit in hits {
            least = least.min(hit.score);
            most = most.max(hit.score);
        }
        Scale {
            least,
            range: most - least,
        }
    }

    /// 0 for the last candidate, 1 for the first; 1 for all where they are equal.
    fn apply(&self, score: f32) -> f32 {
        if self.range > 0.0 {
            (score - self.least) / self.range
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hits(scores: &[(u32, f32)]) -> Vec<LegHit> {
        scores
            .iter()
            .map(|&(ordinal, score)| LegHit { ordinal, score })
            .collect()
    }

    #[test]
    fn min_max_weighs_both_legs() {
        let fused = fuse(
            &hits(&[(1, 10.0), (2, 6.0), (3, 2.0)]),
            &hits(&[(2, 0.9), (4, 0.5)]),
            10,
            &Fusion::min_max(),
        );
        let order: Vec<(u32, f32)> = fused.iter().map(|c| (c.ordinal, c.score)).collect();
        assert_eq!(order, [(2, 0.75), (1, 0.5), (3, 0.0), (4, 0.0)]);
    }

    #[test]
    fn reciprocal_ranks_add_up() {
        let fusion = Fusion {
            method: FusionMethod::Rrf,
            lexical: 1.0,
            dense: 1.0,
            rrf_k: 60.0,
        };
        let fused = fuse(
            &hits(&[(1, 3.0), (2, 1.0)]),
            &hits(&[(2, 0.2)]),
            10,
            &fusion,
        );
        assert_eq!(fused[0].ordinal, 2);
        assert!((fused[0].score - (1.0 / 62.0 + 1.0 / 61.0)).abs() < 1e-6);
    }

    fn ranked() -> impl Strategy<Value = Vec<LegHit>> {
        proptest::collection::hash_map(0u32..60, 0u8..20, 0..40).prop_map(|map| {
            let mut list: Vec<LegHit> = map
                .into_iter()
                .map(|(ordinal, score)| LegHit {
                    ordinal,
                    score: f32::from(score),
                })
                .collect();
            list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.ordinal.cmp(&b.ordinal)));
            list
        })
    }

    proptest! {
        /// The promise behind paging: deeper lists only add hits at the end.
        #[test]
        fn a_longer_answer_begins_with_the_shorter(
            lexical in ranked(),
            dense in ranked(),
            candidates in 1usize..20,
            shorter in 0usize..40,
            rrf: bool,
        ) {
            let fusion = Fusion {
                method: if rrf { FusionMethod::Rrf } else { FusionMethod::MinMax },
                ..Fusion::min_max()
            };
            let depth = candidates.max(shorter);
            let cut = |list: &[LegHit]| list[..depth.min(list.len())].to_vec();
            let deep: Vec<u32> = fuse(&lexical, &dense, candidates, &fusion)
                .iter().map(|c| c.ordinal).collect();
            let shallow: Vec<u32> = fuse(&cut(&lexical), &cut(&dense), candidates, &fusion)
                .iter().map(|c| c.ordinal).collect();
            let sure = shorter.min(shallow.len());
            prop_assert_eq!(&shallow[..sure], &deep[..sure]);
        }
    }
}
