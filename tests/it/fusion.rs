//! Promise: the default fusion is a weighted mean of what is known of each candidate, with
//! weights that depend on the query: its scores lie in 0..1 and can be taken apart, each leg
//! is asked about the candidates of the other, more hits never reorder the first ones, and
//! what is known does not depend on how the index was written.
//!
//! And: what is learned from a click log that is biased by position and by what was shown
//! comes nearer to what is true than the ranking that was shown, and than the same fit
//! without the corrections.

use std::collections::HashMap;

use gleaner::combine::{CANDIDATE_FEATURES, Combiner, Evidence, features};
use gleaner::eval::JudgedQuery;
use gleaner::feedback::{SimulationOptions, simulate};
use gleaner::index::{Fusion, FusionMethod, Index, Mode};
use gleaner::search::{Hit, SearchRequest, candidates};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::world::{World, ask, both, note, put};

fn explained(index: &Index, request: &SearchRequest) -> Vec<Hit> {
    let request = SearchRequest {
        explain: true,
        ..request.clone()
    };
    ask(index, &request).hits
}

fn notes() -> Vec<Value> {
    let mut all = vec![
        note("near", "nothing in common", 1.0),
        note("word", "a light in the window", 80.0),
        note("both", "light", 5.0),
    ];
    all.extend((0..40).map(|i| {
        let title = ["light rain", "heavy rain", "a light lunch", "dark matter"][i % 4];
        note(&format!("n{i:02}"), title, 10.0 + i as f64)
    }));
    all
}

#[test]
fn scores_are_the_sum_of_their_contributions() {
    let world = World::new();
    let index = world.notes();
    put(&index, notes());
    let hits = explained(&index, &both("light lunch"));
    assert_eq!(hits.len(), 10);
    for hit in &hits {
        assert!((0.0..=1.0).contains(&hit.score));
        let fusion = hit.explanation.as_ref().unwrap().fusion.as_ref().unwrap();
        assert_eq!(fusion.method, FusionMethod::Learned);
        let learned = fusion.learned.as_ref().unwrap();
        assert_eq!(learned.version, 0);
        let names: Vec<&str> = learned.features.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, CANDIDATE_FEATURES);
        let (mut weights, mut score) = (0.0, 0.0);
        for feature in &learned.features {
            assert!(feature.weight >= 0.0 && (0.0..=1.0).contains(&feature.value));
            weights += feature.weight;
            score += feature.contribution;
        }
        assert!((weights - 1.0).abs() < 1e-5, "{weights}");
        assert!((score - hit.score).abs() < 1e-5, "{score} {}", hit.score);
    }
}

#[test]
fn each_leg_is_asked_about_the_candidates_of_the_other() {
    let world = World::new();
    let index = world.notes();
    put(&index, notes());
    // One candidate of each leg: the other leg has not found it.
    let request = SearchRequest {
        candidates: Some(1),
        k: Some(2),
        ..both("window")
    };
    let hits = explained(&index, &request);
    let value = |id: &str, name: &str| {
        let hit = hits.iter().find(|hit| hit.id == id).unwrap();
        let fusion = hit.explanation.as_ref().unwrap().fusion.as_ref().unwrap();
        let learned = fusion.learned.as_ref().unwrap();
        learned
            .features
            .iter()
            .find(|f| f.name == name)
            .unwrap()
            .value
    };
    assert_eq!(value("word", "covered"), 1.0);
    assert_eq!(value("near", "covered"), 0.0);
    // Second of two by the vectors, although they did not find it.
    assert!(value("word", "dense_rank") > 0.5);
    assert_eq!(value("near", "dense_rank"), 1.0);
}

#[test]
fn more_hits_never_reorder_the_first_ones() {
    let world = World::new();
    let index = world.notes();
    put(&index, notes());
    let order = |k: usize| -> Vec<String> {
        let request = SearchRequest {
            k: Some(k),
            candidates: Some(8),
            ..both("light rain")
        };
        ask(&index, &request)
            .hits
            .into_iter()
            .map(|hit| hit.id)
            .collect()
    };
    let all = order(43);
    assert_eq!(all.len(), 43);
    for k in 1..43 {
        assert_eq!(order(k), all[..k]);
    }
}

#[test]
fn answers_do_not_depend_on_how_the_index_was_written() {
    let mut answers = Vec::new();
    for seed in 0..4 {
        let world = World::new();
        let index = world.notes();
        let mut documents = notes();
        let mut chance = StdRng::seed_from_u64(seed);
        for i in (1..documents.len()).rev() {
            documents.swap(i, chance.random_range(0..=i));
        }
        for part in documents.chunks(7 + seed as usize) {
            put(&index, part.to_vec());
        }
        let request = SearchRequest {
            k: Some(43),
            ..both("light rain")
        };
        let hits = ask(&index, &request).hits;
        answers.push(
            hits.into_iter()
                .map(|hit| (hit.id, hit.score))
                .collect::<Vec<_>>(),
        );
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn other_fusions_are_had_by_name_or_by_weights() {
    let read = |text: Value| serde_json::from_value::<Fusion>(text).unwrap().method;
    assert_eq!(read(json!({})), FusionMethod::Learned);
    assert_eq!(read(json!({"method": "learned"})), FusionMethod::Learned);
    assert_eq!(read(json!({"method": "rrf"})), FusionMethod::Rrf);
    assert_eq!(
        read(json!({"lexical": 0.3, "dense": 0.7})),
        FusionMethod::MinMax
    );
    let world = World::new();
    let index = world.notes();
    put(&index, notes());
    let weighted = SearchRequest {
        fusion: Some(Fusion {
            lexical: 0.9,
            ..Fusion::default()
        }),
        ..both("light")
    };
    let problem = gleaner::search::search(&index, &weighted).unwrap_err();
    assert_eq!(
        problem.problem().unwrap().field.as_deref(),
        Some("fusion.method")
    );
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let one = (
        0u8..30,
        0u8..=10,
        proptest::option::weighted(0.9, -10i8..10),
        any::<bool>(),
    );
    (
        proptest::collection::vec(one, 1..40),
        proptest::collection::vec(0.1f32..9.0, 0..6),
    )
        .prop_map(|(all, rarities)| Evidence {
            lexical: all.iter().map(|one| f32::from(one.0) / 3.0).collect(),
            covered: all.iter().map(|one| f32::from(one.1) / 10.0).collect(),
            dense: all
                .iter()
                .map(|one| one.2.map(|d| f32::from(d) / 10.0))
                .collect(),
            by_words: all.iter().map(|one| one.3).collect(),
            by_vectors: all.iter().map(|one| !one.3).collect(),
            near_first: all
                .iter()
                .map(|one| one.2.map(|d| f32::from(d.rem_euclid(7))))
                .collect(),
            rarities,
            documents: 1_000,
        })
}

proptest! {
    /// Better evidence of one kind, all else alike, never scores lower; scores lie in 0..1
    /// and follow no order of writing.
    #[test]
    fn better_evidence_never_lowers(evidence in evidence(), turn in 0usize..40) {
        let combiner = Combiner::shipped().unwrap();
        let found = features(&evidence);
        let scores = combiner.scores(&found);
        for (a, row) in found.candidates.iter().enumerate() {
            prop_assert!(row.iter().all(|value| (0.0..=1.0).contains(value)));
            prop_assert!((0.0..=1.0).contains(&scores[a]));
            for (b, other) in found.candidates.iter().enumerate() {
                if row.iter().zip(other).all(|(x, y)| x >= y) {
                    prop_assert!(scores[a] >= scores[b]);
                }
            }
        }
        let turned = |list: &Evidence| {
            let mut other = list.clone();
            let by = turn % list.lexical.len();
            other.lexical.rotate_left(by);
            other.covered.rotate_left(by);
            other.dense.rotate_left(by);
            other.near_first.rotate_left(by);
            other.by_words.rotate_left(by);
            other.by_vectors.rotate_left(by);
            (other, by)
        };
        let (other, by) = turned(&evidence);
        let mut again = combiner.scores(&features(&other));
        again.rotate_right(by);
        for (x, y) in scores.iter().zip(&again) {
            prop_assert!((x - y).abs() < 1e-6);
        }
    }
}

/// A collection in which the words say much and the vectors little, so that equal weights are
/// wrong: documents of topics, of whose words a query has some, and vectors that are mostly
/// noise.
fn judged() -> Vec<JudgedQuery> {
    const TOPICS: usize = 60;
    const WORDS: usize = 12;
    let world = World::new();
    let index = world.notes();
    let mut chance = StdRng::seed_from_u64(5);
    let angle = |topic: usize| 360.0 * topic as f64 / TOPICS as f64;
    let mut documents = Vec::new();
    for topic in 0..TOPICS {
        for n in 0..8 {
            let mut text = Vec::new();
            for _ in 0..7 {
                text.push(format!("t{topic}w{}", chance.random_range(0..WORDS)));
            }
            for _ in 0..6 {
                let other = chance.random_range(0..TOPICS);
                text.push(format!("t{other}w{}", chance.random_range(0..WORDS)));
            }
            let noise = chance.random_range(-75.0..75.0);
            documents.push(note(
                &format!("d{topic}-{n}"),
                &text.join(" "),
                angle(topic) + noise,
            ));
        }
    }
    put(&index, documents);
    let mut queries = Vec::new();
    for n in 0..300 {
        let topic = n % TOPICS;
        let text: Vec<String> = (0..3)
            .map(|_| format!("t{topic}w{}", chance.random_range(0..WORDS)))
            .collect();
        let degrees: f64 = angle(topic) + chance.random_range(-60.0..60.0);
        let request = SearchRequest {
            query: Some(text.join(" ")),
            vector: Some(vec![
                degrees.to_radians().cos() as f32,
                degrees.to_radians().sin() as f32,
                0.0,
            ]),
            mode: Some(Mode::Hybrid),
            candidates: Some(25),
            ..SearchRequest::default()
        };
        let found = candidates(&index, &request).unwrap();
        let relevant: HashMap<String, i32> = (0..8).map(|n| (format!("d{topic}-{n}"), 1)).collect();
        queries.push(JudgedQuery::new(format!("q{n}"), found, &relevant));
    }
    queries
}

#[test]
fn what_is_learned_from_biased_clicks_comes_nearer_to_the_truth() {
    let queries = judged();
    // A ranking that trusts the noise is what people were shown.
    let options = SimulationOptions {
        lexical: 0.3,
        other_lexical: 0.6,
        logs: 1,
        ..SimulationOptions::default()
    };
    let learned = simulate(&queries, &options);
    eprintln!("{learned}");
    let fit = |name: &str| &learned.fits[name];
    let corrected = fit("corrected");
    assert!(corrected.ndcg > learned.shown && corrected.p_shown < 0.05);
    assert!(corrected.ndcg > fit("plain").ndcg && corrected.p_plain < 0.05);
    // The log told how likely each rank is looked at, from the documents that moved.
    for (place, found) in learned.propensities.iter().enumerate().take(5) {
        let truth = 1.0 / (place + 1) as f64;
        assert!((found - truth).abs() < 0.15, "rank {}: {found}", place + 1);
    }
    // And the same clicks teach the same.
    assert_eq!(simulate(&queries, &options), learned);
}
