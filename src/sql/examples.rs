//! Few-shot examples: which stored questions to show beside a new one, and which questions are
//! worth annotating with SQL.

/// Vectors of one length each, row by row; their inner product is their similarity.
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    values: &'a [f32],
    dimensions: usize,
}

impl<'a> Vectors<'a> {
    /// Rows of `dimensions` values. What is left at the end is no row.
    pub fn new(values: &'a [f32], dimensions: usize) -> Vectors<'a> {
        Vectors { values, dimensions }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimensions).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn row(&self, n: usize) -> &'a [f32] {
        &self.values[n * self.dimensions..][..self.dimensions]
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// At most `count` rows that are like the query and unlike each other: maximal marginal
/// relevance (Carbonell and Goldstein 1998). Each next one has the greatest
/// `(1 - diversity) * likeness to the query - diversity * greatest likeness to those before`;
/// `diversity` is 0 (the nearest) to 1. Of equal ones the first is taken. In the order in which
/// they were taken, with their likeness to the query.
pub fn diverse(
    query: &[f32],
    rows: Vectors<'_>,
    count: usize,
    diversity: f32,
) -> Vec<(usize, f32)> {
    let likeness: Vec<f32> = (0..rows.len()).map(|n| dot(query, rows.row(n))).collect();
    let mut nearest = vec![f32::NEG_INFINITY; rows.len()];
    let mut taken: Vec<(usize, f32)> = Vec::new();
    let mut left: Vec<usize> = (0..rows.len()).collect();
    while taken.len() < count {
        let worth = |n: usize| {
            let before = if taken.is_empty() { 0.0 } else { nearest[n] };
            (1.0 - diversity) * likeness[n] - diversity * before
        };
        let mut best: Option<(usize, f32)> = None;
        for (place, n) in left.iter().enumerate() {
            let worth = worth(*n);
            if best.is_none_or(|(_, most)| worth > most) {
                best = Some((place, worth));
            }
        }
        let Some((place, _)) = best else {
            break;
        };
        let chosen = left.remove(place);
        taken.push((chosen, likeness[chosen]));
        for n in &left {
            nearest[*n] = nearest[*n].max(dot(rows.row(chosen), rows.row(*n)));
        }
    }
    taken
}

/// What a vote counts less for each neighbour that was chosen before (Su et al. 2022, equation 2).
const DISCOUNT: f64 = 10.0;

/// At most `count` rows that are worth annotating, the first the most: vote-k (Su et al. 2022)
/// in its form without a language model. Every row votes for the `neighbours` rows nearest to it;
/// a vote counts `10^-c` where `c` of the voter's neighbours were chosen already. The row with
/// the most votes is chosen, and so on. Of equal ones the first is taken.
pub fn worth_annotating(rows: Vectors<'_>, neighbours: usize, count: usize) -> Vec<usize> {
    let all = rows.len();
    let mut votes_for: Vec<Vec<usize>> = Vec::with_capacity(all);
    for n in 0..all {
        let mut others: Vec<(f32, usize)> = (0..all)
            .filter(|other| *other != n)
            .map(|other| (dot(rows.row(n), rows.row(other)), other))
            .collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        others.truncate(neighbours);
        votes_for.push(others.into_iter().map(|(_, other)| other).collect());
    }
    let mut chosen: Vec<usize> = Vec::new();
    let mut is_chosen = vec![false; all];
    while chosen.len() < count.min(all) {
        let mut votes = vec![0f64; all];
        for (voter, candidates) in votes_for.iter().enumerate() {
            if is_chosen[voter] {
                continue;
            }
            let already = candidates.iter().filter(|n| is_chosen[**n]).count();
            let weight = DISCOUNT.powi(-i32::try_from(already).unwrap_or(i32::MAX));
            for candidate in candidates {
                votes[*candidate] += weight;
            }
        }
        let mut best: Option<usize> = None;
        for n in (0..all).filter(|n| !is_chosen[*n]) {
            if best.is_none_or(|best| votes[n] > votes[best]) {
                best = Some(n);
            }
        }
        let Some(best) = best else {
            break;
        };
        is_chosen[best] = true;
        chosen.push(best);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors at these angles, in degrees.
    fn at(angles: &[f32]) -> Vec<f32> {
        let unit = |angle: &f32| [angle.to_radians().cos(), angle.to_radians().sin()];
        angles.iter().flat_map(unit).collect()
    }

    fn chosen(angles: &[f32], count: usize, diversity: f32) -> Vec<usize> {
        let values = at(angles);
        let found = diverse(&[1.0, 0.0], Vectors::new(&values, 2), count, diversity);
        found.into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn without_diversity_the_nearest_are_taken() {
        assert_eq!(chosen(&[40.0, 1.0, 2.0, -30.0], 3, 0.0), [1, 2, 3]);
        assert_eq!(chosen(&[5.0, 5.0], 9, 0.0), [0, 1]);
        assert!(chosen(&[], 3, 0.5).is_empty());
        assert!(diverse(&[], Vectors::new(&[], 0), 3, 0.5).is_empty());
    }

    #[test]
    fn with_it_what_says_the_same_comes_later() {
        // 1 and 2 say the same; 3 is on the other side.
        assert_eq!(chosen(&[40.0, 1.0, 2.0, -30.0], 2, 0.6), [1, 0]);
        let (first, likeness) = diverse(&[1.0, 0.0], Vectors::new(&at(&[60.0]), 2), 1, 0.9)[0];
        assert_eq!(first, 0);
        assert!((likeness - 0.5).abs() < 1e-5);
    }

    #[test]
    fn what_many_are_near_to_is_annotated_first_and_each_group_has_its_turn() {
        // Two groups; the middle of the larger one has the most votes, then the smaller's.
        let values = at(&[0.0, 2.0, 4.0, 6.0, 8.0, 90.0, 92.0, 94.0]);
        let found = worth_annotating(Vectors::new(&values, 2), 2, 2);
        assert!((1..=3).contains(&found[0]), "{found:?}");
        assert!(found[1] >= 5, "{found:?}");
        let all = worth_annotating(Vectors::new(&values, 2), 2, 99);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..8).collect::<Vec<_>>());
        assert_eq!(worth_annotating(Vectors::new(&values, 2), 2, 3), all[..3]);
    }
}
