//! Promise: whatever happens to an index, it answers like a list of documents would.
//!
//! Random writes, updates, deletions, refreshes, compactions and restarts, and after them
//! questions whose answers a plain map knows: which documents there are, which pass a
//! filter however it is written, which vector is nearest, and that asking for more hits only
//! appends. What is not refreshed yet is not seen; what is read by id is the last write.

use std::collections::BTreeMap;

use gleaner::error::Code;
use gleaner::index::{Change, IfVersion, Index};
use gleaner::search::{FilterInput, SearchRequest, SearchResponse};
use gleaner::store::Durability;
use proptest::prelude::*;
use serde_json::json;

use crate::support::world::{World, ask, both, ids, note};

/// What a note is: its stars, which are also the angle of its vector, and its word.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    stars: i64,
    word: u8,
    angle: i64,
}

type Notes = BTreeMap<String, Known>;

#[derive(Debug, Clone)]
enum Step {
    /// Several documents, of which one may come twice.
    Put(Vec<(u8, i64, u8)>),
    Patch(u8, i64),
    Delete(Vec<u8>),
    DeleteBelow(i64),
    Refresh,
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u8..24;
    let stars = 0i64..90;
    prop_oneof![
        6 => prop::collection::vec((id.clone(), stars.clone(), 0u8..4), 1..12).prop_map(Step::Put),
        2 => (id.clone(), stars.clone()).prop_map(|(id, stars)| Step::Patch(id, stars)),
        3 => prop::collection::vec(id, 1..6).prop_map(Step::Delete),
        1 => (0i64..30).prop_map(Step::DeleteBelow),
        4 => Just(Step::Refresh),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn name(id: u8) -> String {
    format!("n{id:02}")
}

fn document(id: u8, stars: i64, word: u8) -> serde_json::Value {
    note(&name(id), &format!("light w{word}"), stars as f64)
}

fn put(index: &Index, notes: &[(u8, i64, u8)]) {
    let prepared = notes
        .iter()
        .map(|&(id, stars, word)| index.prepare(document(id, stars, word)).unwrap());
    let encoded = index.encode(prepared.collect()).unwrap();
    let changes: Vec<_> = encoded
        .iter()
        .map(|one| (Change::Put(one), IfVersion::Any))
        .collect();
    index.change(&changes, Durability::Buffered).unwrap();
}

fn everything(query: &str) -> SearchRequest {
    SearchRequest {
        query: Some(query.into()),
        mode: Some(gleaner::index::Mode::Lexical),
        k: Some(100),
        ..SearchRequest::default()
    }
}

fn sorted(answer: &SearchResponse) -> Vec<String> {
    let mut ids: Vec<String> = ids(answer).into_iter().map(str::to_string).collect();
    ids.sort();
    ids
}

fn names(notes: &Notes, passes: impl Fn(&Known) -> bool) -> Vec<String> {
    let passing = notes.iter().filter(|(_, note)| passes(note));
    passing.map(|(id, _)| id.clone()).collect()
}

/// The counts of an answer's facets against those of the notes that pass.
fn check_facets(answer: &SearchResponse, notes: &Notes, passes: impl Fn(&Known) -> bool) {
    let mut sections = BTreeMap::new();
    let mut stars = BTreeMap::new();
    for note in notes.values().filter(|note| passes(note)) {
        let section = if note.angle < 45 { "near" } else { "far" };
        *sections.entry(section.to_string()).or_insert(0u64) += 1;
        *stars.entry(note.stars).or_insert(0u64) += 1;
    }
    let counted = |field: &str| answer.facets[field].iter();
    let found: BTreeMap<String, u64> = counted("section")
        .map(|facet| (facet.value.as_str().unwrap().to_string(), facet.count))
        .collect();
    assert_eq!(found, sections);
    let found: BTreeMap<i64, u64> = counted("stars")
        .map(|facet| (facet.value.as_i64().unwrap(), facet.count))
        .collect();
    assert_eq!(found, stars);
    assert!(counted("stars").is_sorted_by_key(|facet| std::cmp::Reverse(facet.count)));
}

/// Asks what the map of what is visible knows the answers to.
fn check(index: &Index, visible: &Notes, current: &Notes) {
    let all = ask(index, &everything("light"));
    assert_eq!(sorted(&all), names(visible, |_| true));
    assert_eq!(all.total.value, visible.len() as u64);
    assert_eq!(index.view().documents, visible.len() as u64);
    let mut request = everything("w2");
    request.facets = BTreeMap::from([("section".into(), 10), ("stars".into(), 100)]);
    let word = ask(index, &request);
    assert_eq!(sorted(&word), names(visible, |note| note.word == 2));
    check_facets(&word, visible, |note| note.word == 2);

    // One filter, written in several ways, on either leg.
    let passing = names(visible, |note| (20..60).contains(&note.stars));
    for filter in [
        json!("stars >= 20 AND stars < 60"),
        json!("NOT (stars < 20 OR stars >= 60) AND EXISTS stars"),
        json!({"and": [{"field": "stars", "gte": 20, "lt": 60}]}),
    ] {
        let mut request = everything("light");
        request.filter = Some(FilterInput(filter.clone()));
        let by_words = ask(index, &request);
        assert_eq!(sorted(&by_words), passing, "{filter}");
        assert_eq!(by_words.total.value, passing.len() as u64, "{filter}");
        request.query = None;
        request.mode = Some(gleaner::index::Mode::Dense);
        request.vector = Some(vec![1.0, 0.0, 0.0]);
        request.facets = BTreeMap::from([("section".into(), 10), ("stars".into(), 100)]);
        let by_vectors = ask(index, &request);
        assert_eq!(sorted(&by_vectors), passing, "{filter}");
        check_facets(&by_vectors, visible, |note| (20..60).contains(&note.stars));
    }

    // The nearest by angle; of equals, the one with the lower id.
    let mut request = everything("");
    request.query = None;
    request.mode = Some(gleaner::index::Mode::Dense);
    request.vector = Some(vec![1.0, 0.0, 0.0]);
    let nearest = visible.iter().min_by_key(|(id, note)| (note.angle, *id));
    let answer = ask(index, &request);
    assert_eq!(
        ids(&answer).first().copied(),
        nearest.map(|(id, _)| id.as_str())
    );

    // More hits begin with the fewer.
    let mut request = both("light w1");
    request.k = Some(100);
    let many = ask(index, &request);
    for k in [1, 3, 10] {
        request.k = Some(k);
        let few = ask(index, &request);
        assert_eq!(ids(&few), ids(&many)[..k.min(many.hits.len())]);
    }
    for id in (0..24).map(name) {
        match (index.current(&id), current.get(&id)) {
            (Ok(found), Some(known)) => assert_eq!(found.source["stars"], known.stars),
            (Err(error), None) => {
                assert_eq!(error.problem().unwrap().code, Code::DocumentNotFound);
            }
            (found, known) => panic!("{id}: {found:?} for {known:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn an_index_answers_like_a_map(steps in prop::collection::vec(step(), 1..24)) {
        // Graphs over a handful of documents, so that all of sealing and merging is met.
        let mut world = World::with(|config| config.storage.graph_threshold = 8);
        let mut notes = world.notes();
        let (mut current, mut visible) = (Notes::new(), Notes::new());
        for step in steps {
            match step {
                Step::Put(puts) => {
                    put(&notes, &puts);
                    for (id, stars, word) in puts {
                        current.insert(name(id), Known { stars, word, angle: stars });
                    }
                }
                Step::Patch(id, stars) => {
                    let patch = json!({"stars": stars});
                    let patch = patch.as_object().unwrap();
                    let patched = notes.update(&name(id), patch, None, Durability::Synced);
                    match current.get_mut(&name(id)) {
                        Some(known) => {
                            patched.unwrap();
                            known.stars = stars;
                        }
                        None => prop_assert!(patched.is_err()),
                    }
                }
                Step::Delete(gone) => {
                    for id in gone {
                        let was = current.remove(&name(id)).is_some();
                        prop_assert_eq!(notes.delete(&name(id)).unwrap(), was);
                    }
                }
                Step::DeleteBelow(stars) => {
                    let gone = names(&current, |note| note.stars < stars);
                    // It sees everything that was written, and makes that visible.
                    visible = current.clone();
                    let filter = json!(format!("stars < {stars}"));
                    let deleted = notes.delete_where(&filter).unwrap();
                    prop_assert_eq!(deleted, gone.len() as u64);
                    current.retain(|id, _| !gone.contains(id));
                }
                Step::Refresh => {
                    notes.refresh().unwrap();
                    visible = current.clone();
                }
                Step::Compact => {
                    notes.compact().unwrap();
                    visible = current.clone();
                }
                Step::Reopen => {
                    drop(notes);
                    world = world.reopen();
                    notes = world.notes();
                    visible = current.clone();
                }
            }
            check(&notes, &visible, &current);
        }
    }
}
