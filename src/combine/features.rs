//! What the combiner knows of a query and of each of its candidates.

/// What is known of a candidate, each from 0 to 1, in this order. The first
/// [`LEXICAL_FEATURES`] speak of the words, the next three of the vectors, the last two of both.
pub const CANDIDATE_FEATURES: [&str; 9] = [
    "lexical_of_best",
    "lexical_min_max",
    "lexical_rank",
    "covered",
    "dense_min_max",
    "dense_of_all",
    "dense_rank",
    "both",
    "near_first",
];

/// How many of [`CANDIDATE_FEATURES`] speak of the words; they come first.
pub const LEXICAL_FEATURES: usize = 4;

/// What is known of a query, in this order.
pub const QUERY_FEATURES: [&str; 12] = [
    "words",
    "mean_rarity",
    "most_rarity",
    "covered_first",
    "covered_top",
    "lexical_attained",
    "lexical_drop",
    "dense_drop",
    "dense_stands_out",
    "overlap",
    "dense_of_lexical_top",
    "lexical_of_dense_top",
];

const CANDIDATES: usize = CANDIDATE_FEATURES.len();
const QUERIES: usize = QUERY_FEATURES.len();

/// Documents at the top of a leg that query features look at.
const TOP: usize = 10;
/// How many documents count as the first few.
const FIRST: usize = 3;
/// Rank, from 0, at which a rank feature has fallen to a half.
const HALF_RANK: f32 = 10.0;

/// What the legs say about the candidates of a query: one value for each candidate in each
/// list, in one order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// BM25 over the words that the document has, at least 0.
    pub lexical: Vec<f32>,
    /// Share of the query's rarity in the words that it has, 0 to 1.
    pub covered: Vec<f32>,
    /// By the index's metric, higher is nearer; None for a document without a vector.
    pub dense: Vec<Option<f32>>,
    /// How near it is to the middle of the first few documents; None for a document without
    /// a vector. Empty where that is not known.
    pub near_first: Vec<Option<f32>>,
    /// Whether the words found it among their candidates.
    pub by_words: Vec<bool>,
    /// Whether the vectors did.
    pub by_vectors: Vec<bool>,
    /// Rarity of each word of the query.
    pub rarities: Vec<f32>,
    /// Live documents of the index.
    pub documents: u64,
}

/// What is known of a query and its candidates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features {
    /// In the order of [`QUERY_FEATURES`].
    pub query: [f32; QUERIES],
    /// For each candidate, in the order of [`CANDIDATE_FEATURES`].
    pub candidates: Vec<[f32; CANDIDATES]>,
}

/// Computes the features. A leg that says nothing about a document counts as its worst.
pub fn features(evidence: &Evidence) -> Features {
    let lexical = Leg::new(
        evidence.lexical.iter().copied().map(Some),
        &evidence.by_words,
    );
    let dense = Leg::new(evidence.dense.iter().copied(), &evidence.by_vectors);
    let first = Leg::new(evidence.near_first.iter().copied(), &evidence.by_vectors);
    let best_lexical = lexical.most.max(0.0);
    let rank = |rank: usize| HALF_RANK / (HALF_RANK + rank as f32);
    let candidates: Vec<[f32; CANDIDATES]> = (0..evidence.lexical.len())
        .map(|i| {
            let words = evidence.lexical[i];
            let of_best = if best_lexical > 0.0 {
                (words / best_lexical).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let (by_words, by_vectors) = (lexical.stretched(i), dense.stretched(i));
            [
                of_best,
                by_words,
                if words > 0.0 {
                    rank(lexical.ranks[i])
                } else {
                    0.0
                },
                evidence.covered[i].clamp(0.0, 1.0),
                by_vectors,
                dense.of_all(i),
                match evidence.dense[i] {
                    Some(_) => rank(dense.ranks[i]),
                    None => 0.0,
                },
                by_words.min(by_vectors),
                first.of_all(i),
            ]
        })
        .collect();
    Features {
        query: of_query(evidence, &lexical, &dense, &candidates),
        candidates,
    }
}

fn of_query(
    evidence: &Evidence,
    lexical: &Leg,
    dense: &Leg,
    candidates: &[[f32; CANDIDATES]],
) -> [f32; QUERIES] {
    let rarities = &evidence.rarities;
    let words = rarities.len() as f32;
    let all: f32 = rarities.iter().sum();
    // The rarity of a word that one document has.
    let rarest = (1.0 + evidence.documents as f32).ln().max(1.0);
    let most = rarities.iter().copied().fold(0.0, f32::max);
    let mean = |leg: &Leg, top: usize, feature: usize| {
        let chosen = leg.first(top);
        let sum: f64 = chosen
            .iter()
            .map(|&i| f64::from(candidates[i][feature]))
            .sum();
        (sum / chosen.len().max(1) as f64) as f32
    };
    let (top_words, top_vectors) = (lexical.first(TOP), dense.first(TOP));
    let shared = top_words.iter().filter(|i| top_vectors.contains(i)).count();
    let overlap = shared as f32 / top_words.len().max(top_vectors.len()).max(1) as f32;
    [
        (1.0 + words).ln(),
        if words > 0.0 {
            all / words / rarest
        } else {
            0.0
        },
        most / rarest,
        mean(lexical, 1, 3),
        mean(lexical, TOP, 3),
        // BM25 gives a word at most k1 + 1 times its rarity; 2.2 by default.
        if all > 0.0 {
            lexical.most.max(0.0) / all / 2.2
        } else {
            0.0
        },
        1.0 - mean(lexical, TOP, 0),
        1.0 - mean(dense, TOP, 5),
        dense.stands_out(),
        overlap,
        mean(lexical, TOP, 5),
        mean(dense, TOP, 0),
    ]
}

/// The first few candidates by equal weights, with what each counts: those whose middle
/// [`Evidence::near_first`] is measured from. Documents that are like what was found first
/// are likely to be relevant as well (Rocchio 1971, with pseudo-relevance feedback).
pub fn first_few(found: &Features) -> Vec<(usize, f32)> {
    let mean = |row: &[f32; CANDIDATES]| (row[1] + row[4]) / 2.0;
    let scores: Vec<f32> = found.candidates.iter().map(mean).collect();
    let mut falling = scores.clone();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    let least = falling.get(FIRST - 1).or(falling.last()).copied();
    // Equals are all among them, so that no order of writing decides.
    let is_first = |score: f32| score > 0.0 && least.is_some_and(|least| score >= least);
    let chosen = scores.iter().copied().enumerate();
    chosen.filter(|(_, score)| is_first(*score)).collect()
}

/// The scores of one leg over all candidates.
struct Leg {
    scores: Vec<Option<f32>>,
    /// Ranks from 0; equal scores share the first's, so that they do not depend on the
    /// order in which documents were written.
    ranks: Vec<usize>,
    /// Over those that the leg found itself.
    least_found: f32,
    /// Over all.
    least: f32,
    most: f32,
}

impl Leg {
    fn new(scores: impl Iterator<Item = Option<f32>>, found: &[bool]) -> Leg {
        let scores: Vec<Option<f32>> = scores.collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let key = |i: usize| scores[i].unwrap_or(f32::NEG_INFINITY);
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        let mut ranks = vec![0; scores.len()];
        for (place, &i) in order.iter().enumerate() {
            ranks[i] = match place.checked_sub(1).map(|before| order[before]) {
                Some(before) if key(before) == key(i) => ranks[before],
                _ => place,
            };
        }
        let known = || scores.iter().flatten().copied();
        let found = scores
            .iter()
            .zip(found)
            .filter(|(_, found)| **found)
            .filter_map(|(score, _)| *score);
        let least = known().fold(f32::INFINITY, f32::min);
        let least_found = found.fold(f32::INFINITY, f32::min);
        Leg {
            least_found: if least_found.is_finite() {
                least_found
            } else {
                least
            },
            least,
            most: known().fold(f32::NEG_INFINITY, f32::max),
            scores,
            ranks,
        }
    }

    /// 0 for the last that the leg found and all below, 1 for the first.
    fn stretched(&self, i: usize) -> f32 {
        self.between(i, self.least_found)
    }

    /// 0 for the last of all candidates, 1 for the first.
    fn of_all(&self, i: usize) -> f32 {
        self.between(i, self.least)
    }

    fn between(&self, i: usize, least: f32) -> f32 {
        match self.scores.get(i).copied().flatten() {
            None => 0.0,
            Some(score) if self.most > least => {
                ((score - least) / (self.most - least)).clamp(0.0, 1.0)
            }
            Some(_) => 1.0,
        }
    }

    /// Candidates of the first `top` ranks, in the order of the candidates. Those without a
    /// score, or with none by words, are not among them.
    fn first(&self, top: usize) -> Vec<usize> {
        let is_first =
            |&i: &usize| self.ranks[i] < top && self.scores[i].is_some_and(|score| score != 0.0);
        (0..self.scores.len()).filter(is_first).collect()
    }

    /// How far the best lies above the mean of all, in standard deviations, over 10.
    fn stands_out(&self) -> f32 {
        let known: Vec<f64> = self
            .scores
            .iter()
            .flatten()
            .map(|&s| f64::from(s))
            .collect();
        let count = known.len().max(1) as f64;
        let mean = known.iter().sum::<f64>() / count;
        let variance = known.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / count;
        if variance > 0.0 {
            ((f64::from(self.most) - mean) / variance.sqrt() / 10.0) as f32
        } else {
            0.0
        }
    }
}
