//! Promises of an answer: one write reaches every leg, the same question has the same
//! answer, fewer hits come with a reason, every score can be taken apart.

use gleaner::error::Code;
use gleaner::index::{Fusion, FusionMethod, Mode};
use gleaner::search::{HighlightRequest, Like, SearchRequest, TotalCounts, search};
use proptest::prelude::*;
use serde_json::json;

use crate::support::world::{World, ask, both, ids, note, put, words, write};

fn dense(k: usize) -> SearchRequest {
    SearchRequest {
        vector: Some(vec![1.0, 0.0, 0.0]),
        k: Some(k),
        ..SearchRequest::default()
    }
}

#[test]
fn a_write_reaches_every_leg_at_once() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        vec![note("a", "light", 0.0), note("b", "light", 20.0)],
    );
    write(
        &notes,
        vec![note("c", "light", 5.0), note("a", "dark", 80.0)],
    )
    .unwrap();
    notes.delete("b").unwrap();

    // Before the refresh every leg still answers from the old view.
    let mut near = dense(10);
    near.filter = Some(r#"section = "near""#.into());
    assert_eq!(ids(&ask(&notes, &words("light"))), ["a", "b"]);
    assert_eq!(ids(&ask(&notes, &dense(10))), ["a", "b"]);
    assert_eq!(ids(&ask(&notes, &near)), ["a", "b"]);

    notes.refresh().unwrap();
    assert_eq!(ids(&ask(&notes, &words("light"))), ["c"]);
    assert_eq!(ids(&ask(&notes, &words("dark"))), ["a"]);
    assert_eq!(ids(&ask(&notes, &dense(10))), ["c", "a"]);
    assert_eq!(ids(&ask(&notes, &near)), ["c"]);
    assert_eq!(notes.view().documents, 2);
}

#[test]
fn ties_break_by_id_whatever_the_order_of_writing() {
    let names = ["m", "c", "x", "a", "q"];
    let mut orders = vec![names.to_vec()];
    orders.push(names.iter().rev().copied().collect());
    for order in orders {
        let world = World::new();
        let notes = world.notes();
        for id in order {
            put(&notes, vec![note(id, "same words", 30.0)]);
        }
        let by_ranks = SearchRequest {
            fusion: Some(Fusion {
                method: FusionMethod::Rrf,
                ..Fusion::default()
            }),
            ..both("same")
        };
        for request in [words("same"), both("same"), dense(10), by_ranks] {
            let answer = ask(&notes, &request);
            assert_eq!(ids(&answer), ["a", "c", "m", "q", "x"]);
            let score = answer.hits[0].score;
            assert!(answer.hits.iter().all(|hit| hit.score == score));
            let page = SearchRequest {
                k: Some(2),
                offset: Some(1),
                ..request
            };
            assert_eq!(ids(&ask(&notes, &page)), ["c", "m"]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Asking for more hits never reorders the first ones, and pages join without gaps.
    #[test]
    fn more_hits_begin_with_the_fewer(
        notes_to_make in proptest::collection::vec((0u32..90, 0usize..4), 1..40),
        candidates in 1usize..12,
        few in 1usize..20,
        mode in 0usize..3,
    ) {
        let titles = ["light", "light dark", "dark", "light light sea"];
        let world = World::new();
        let notes = world.notes();
        put(&notes, notes_to_make.iter().enumerate()
            .map(|(i, &(angle, title))| note(&format!("n{i}"), titles[title], f64::from(angle)))
            .collect());
        let request = SearchRequest {
            mode: Some([Mode::Hybrid, Mode::Lexical, Mode::Dense][mode]),
            vector: (mode != 1).then(|| vec![1.0, 0.0, 0.0]),
            candidates: Some(candidates),
            ..words("light")
        };
        let all = ask(&notes, &SearchRequest { k: Some(100), ..request.clone() });
        let some = ask(&notes, &SearchRequest { k: Some(few), ..request.clone() });
        prop_assert_eq!(&ids(&all)[..some.hits.len()], &ids(&some)[..]);
        let page = ask(&notes, &SearchRequest { k: Some(few), offset: Some(few), ..request });
        let rest = ids(&all);
        let rest = rest.get(few..).unwrap_or_default();
        prop_assert_eq!(&rest[..few.min(rest.len())], &ids(&page)[..]);
    }
}

/// The same where a graph is walked, whose answer may change with the breadth of the walk.
#[test]
fn more_hits_begin_with_the_fewer_in_a_graph() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::support::world::config_in(folder.path());
    config.storage.graph_threshold = 400;
    let catalog = gleaner::index::Catalog::new(&config).unwrap();
    let definition = gleaner::index::Definition::from_toml(
        r#"
        name = "points"
        [fields.title]
        type = "text"
        [embedding]
        vector_field = "vector"
        dimensions = 24
        "#,
    )
    .unwrap();
    let points = catalog.create(definition).unwrap();
    let mut state = 7u64;
    let mut vector = || -> Vec<f32> {
        (0..24)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 40) as f32 / 16_777_216.0 - 0.5
            })
            .collect()
    };
    let documents = (0..2000)
        .map(|i| json!({"id": format!("p{i:04}"), "title": "point", "vector": vector()}))
        .collect();
    put(&points, documents);
    points.wait_for_background();
    let mut walked = false;
    for _ in 0..10 {
        let request = SearchRequest {
            vector: Some(vector()),
            candidates: Some(10),
            ef: Some(4),
            explain: true,
            ..SearchRequest::default()
        };
        let few = ask(
            &points,
            &SearchRequest {
                k: Some(10),
                ..request.clone()
            },
        );
        let many = ask(
            &points,
            &SearchRequest {
                k: Some(600),
                ..request
            },
        );
        assert_eq!(many.hits.len(), 600);
        assert_eq!(ids(&few), ids(&many)[..10]);
        let detail = few.hits[0]
            .explanation
            .as_ref()
            .unwrap()
            .dense
            .as_ref()
            .unwrap();
        walked |= detail.detail.as_ref().unwrap()["strategy"] == "graph";
    }
    assert!(walked, "no search walked the graph: the test shows nothing");
}

#[test]
fn fewer_hits_come_with_the_reason() {
    let world = World::new();
    let notes = world.notes();
    let empty = ask(&notes, &words("light"));
    assert!(empty.short.unwrap().reason.contains("no visible documents"));

    put(
        &notes,
        vec![note("a", "light", 0.0), note("b", "dark", 60.0)],
    );
    let one = ask(&notes, &words("light"));
    let short = one.short.unwrap();
    assert_eq!((short.asked, short.found), (10, 1));
    assert!(
        short.reason.contains("1 documents match"),
        "{}",
        short.reason
    );
    assert_eq!(one.total.value, 1);
    assert_eq!(one.total.counts, TotalCounts::Matching);

    let mut none = both("light");
    none.filter = Some("stars > 1000".into());
    let none = ask(&notes, &none);
    assert_eq!(none.total.value, 0);
    assert!(none.short.unwrap().reason.contains("filter"));

    let mut two = both("light");
    two.k = Some(2);
    assert!(ask(&notes, &two).short.is_none());
}

#[test]
fn the_reason_is_what_limits() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        (0..30)
            .map(|i| {
                note(
                    &format!("n{i:02}"),
                    ["light", "dark"][i % 2],
                    (i * 3) as f64,
                )
            })
            .collect(),
    );
    let near = |request: SearchRequest| SearchRequest {
        filter: Some(r#"section = "near""#.into()),
        ..request
    };
    let deep = |request: SearchRequest| SearchRequest {
        k: Some(50),
        candidates: Some(5),
        ..request
    };
    let least = |least: f32, request: SearchRequest| SearchRequest {
        min_score: Some(least),
        candidates: Some(5),
        ..request
    };
    let sorted = |request: SearchRequest| SearchRequest {
        sort: Some(vec!["stars".into()]),
        candidates: Some(5),
        ..request
    };
    let lexical = |text: &str| SearchRequest {
        mode: Some(Mode::Lexical),
        k: Some(20),
        ..words(text)
    };
    for (request, reason) in [
        (deep(dense(0)), "30 documents have a vector"),
        (
            near(deep(dense(0))),
            "15 documents have a vector and pass the filter",
        ),
        (
            least(0.99, dense(10)),
            "the 10 nearest documents were looked at, 3 of which score 0.99 or more",
        ),
        (
            SearchRequest {
                offset: Some(28),
                ..dense(10)
            },
            "30 documents have a vector, and the first 28 were left out",
        ),
        (
            sorted(dense(10)),
            "the 5 nearest documents were looked at; in this mode `sort` orders the candidates \
             alone: ask for more `candidates`, or search in lexical mode",
        ),
        (
            deep(both("light")),
            "30 documents match the words or have a vector",
        ),
        (lexical("light"), "15 documents match the words"),
        (
            near(lexical("light")),
            "8 documents match the words and pass the filter",
        ),
        (
            least(99.0, lexical("light")),
            "15 documents match the words, 0 of them score 99 or more",
        ),
        (sorted(lexical("light")), "15 documents match the words"),
        (
            near(SearchRequest {
                k: Some(20),
                ..sorted(SearchRequest::default())
            }),
            "15 documents pass the filter",
        ),
    ] {
        let short = ask(&notes, &request).short.unwrap();
        assert_eq!(short.reason, reason, "{request:?}");
    }
}

#[test]
fn totals_count_what_passes_the_filter() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        (0..30)
            .map(|i| note(&format!("n{i}"), "light", f64::from(i * 3)))
            .collect(),
    );
    let filtered = |mut request: SearchRequest| {
        request.filter = Some(r#"section = "near""#.into());
        request.k = Some(3);
        ask(&notes, &request).total
    };
    let hybrid = filtered(both("light"));
    let lexical = filtered(words("light"));
    assert_eq!(hybrid.value, 15);
    assert_eq!(hybrid.counts, TotalCounts::Filtered);
    assert_eq!(lexical.value, 15);
}

#[test]
fn the_explanation_adds_up() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        vec![
            note("a", "light upon light", 40.0),
            note("b", "light", 0.0),
            note("c", "dark", 10.0),
            note("d", "a lighter shade of the sea at night", 70.0),
        ],
    );
    for method in [FusionMethod::MinMax, FusionMethod::Rrf] {
        let fusion = Fusion {
            method,
            lexical: 0.3,
            dense: 0.7,
            ..Fusion::default()
        };
        let answer = ask(
            &notes,
            &SearchRequest {
                explain: true,
                fusion: Some(fusion),
                ..both("light")
            },
        );
        assert_eq!(answer.hits.len(), 4);
        for hit in &answer.hits {
            let explanation = hit.explanation.as_ref().unwrap();
            let part = |leg: &Option<gleaner::search::LegExplanation>| {
                leg.as_ref().map_or(0.0, |l| l.fused_as.unwrap())
            };
            let sum = 0.3 * part(&explanation.lexical) + 0.7 * part(&explanation.dense);
            assert!(
                (sum - hit.score).abs() < 1e-6,
                "{}: {sum} {}",
                hit.id,
                hit.score
            );
            if let Some(lexical) = &explanation.lexical {
                assert!(lexical.detail.is_some(), "the words say how they scored");
            }
        }
    }
}

#[test]
fn filters_hold_on_both_legs() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        vec![
            json!({"id": "1", "title": "light", "section": "x", "tags": ["red", "blue"], "stars": 3,
                "price": 1.5, "day": "2024-05-01", "open": true, "vector": [1, 0, 0]}),
            json!({"id": "2", "title": "light", "section": "y", "stars": 7, "price": -2.0,
                "day": "2023-01-31T12:00:00Z", "open": false, "vector": [0.9, 0.1, 0]}),
            json!({"id": "3", "title": "light", "tags": ["blue"], "vector": [0.8, 0.2, 0]}),
        ],
    );
    let table = [
        (r#"section = "x""#, vec!["1"]),
        (r#"section != "x""#, vec!["2", "3"]),
        (r#"tags = "blue""#, vec!["1", "3"]),
        (r#"tags IN ["red", "green"]"#, vec!["1"]),
        ("stars >= 3 AND stars < 7", vec!["1"]),
        ("price < 0", vec!["2"]),
        ("day >= 2024-01-01", vec!["1"]),
        ("open = false", vec!["2"]),
        ("EXISTS stars", vec!["1", "2"]),
        ("NOT EXISTS stars", vec!["3"]),
        (r#"NOT (section = "x" OR stars = 7)"#, vec!["3"]),
        (r#"id IN ["1", "3"]"#, vec!["1", "3"]),
    ];
    for (filter, expected) in table {
        for request in [words("light"), both("light"), dense(10)] {
            let mut found: Vec<String> = ask(
                &notes,
                &SearchRequest {
                    filter: Some(filter.into()),
                    ..request
                },
            )
            .hits
            .into_iter()
            .map(|hit| hit.id)
            .collect();
            found.sort();
            assert_eq!(found, expected, "{filter}");
        }
    }
}

#[test]
fn more_like_this_leaves_the_liked_out() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        vec![
            note("a", "tidal power from the sea", 0.0),
            note("b", "power stations by the sea", 5.0),
            note("c", "knitting patterns", 85.0),
        ],
    );
    for mode in [Mode::Lexical, Mode::Dense, Mode::Hybrid] {
        let answer = ask(
            &notes,
            &SearchRequest {
                like: Some(Like {
                    ids: vec!["a".into()],
                }),
                mode: Some(mode),
                k: Some(1),
                ..SearchRequest::default()
            },
        );
        assert_eq!(ids(&answer), ["b"], "{mode:?}");
    }
    // Updated and not visible yet: the view still has it as it was.
    write(&notes, vec![note("a", "something else", 89.0)]).unwrap();
    let request = SearchRequest {
        like: Some(Like {
            ids: vec!["a".into()],
        }),
        k: Some(1),
        ..SearchRequest::default()
    };
    assert_eq!(ids(&ask(&notes, &request)), ["b"]);
    let missing = search(
        &notes,
        &SearchRequest {
            like: Some(Like {
                ids: vec!["nobody".into()],
            }),
            ..SearchRequest::default()
        },
    )
    .unwrap_err();
    assert_eq!(missing.problem().unwrap().code, Code::DocumentNotFound);
}

#[test]
fn highlights_mark_the_words_and_are_safe_for_html() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        vec![json!({"id": "1", "title": "Running <b>lights</b> & lamps", "vector": [1, 0, 0]})],
    );
    let answer = ask(
        &notes,
        &SearchRequest {
            highlight: Some(HighlightRequest::default()),
            ..words("light run")
        },
    );
    let marked = answer.hits[0].highlights.as_ref().unwrap()["title"][0]
        .as_str()
        .unwrap();
    assert_eq!(
        marked,
        "<em>Running</em> &lt;b&gt;<em>lights</em>&lt;/b&gt; &amp; lamps"
    );
}

#[test]
fn without_its_model_an_index_answers_by_words_and_says_so() {
    // The model vanished after the index was made: only words are left.
    let world = World::new();
    let models = world.folder.path().join("models");
    let tiny = models.join("tiny");
    crate::support::tiny_model::TinyModel::default().write(&tiny);
    let mut config = world.config.clone();
    config.models.folders = vec![models];
    drop(world.catalog);
    let definition = r#"
        name = "texts"
        [fields.body]
        type = "text"
        [embedding]
        model = "tiny"
        fields = ["body"]
    "#;
    {
        let catalog = gleaner::index::Catalog::new(&config).unwrap();
        let index = catalog
            .create(gleaner::index::Definition::from_toml(definition).unwrap())
            .unwrap();
        put(&index, vec![json!({"id": "1", "body": "light"})]);
        assert!(ask(&index, &words("light")).degraded.is_empty());
    }
    std::fs::remove_dir_all(&tiny).unwrap();
    let catalog = gleaner::index::Catalog::new(&config).unwrap();
    let index = catalog.get("texts").unwrap();
    let answer = ask(&index, &words("light"));
    assert_eq!(ids(&answer), ["1"]);
    assert_eq!(answer.degraded[0].lost, "dense");
    let mut only_dense = words("light");
    only_dense.mode = Some(Mode::Dense);
    assert!(search(&index, &only_dense).is_err());
}

#[test]
fn hits_below_the_least_score_are_left_out_and_counted() {
    let world = World::new();
    let notes = world.notes();
    let degrees = [0.0, 30.0, 60.0, 80.0];
    let made = degrees.map(|d| note(&format!("n{d}"), "light", d));
    put(&notes, made.to_vec());
    let mut request = SearchRequest {
        vector: Some(vec![1.0, 0.0, 0.0]),
        ..SearchRequest::default()
    };
    request.min_score = Some(0.6);
    let answer = ask(&notes, &request);
    assert_eq!(ids(&answer), ["n0", "n30"]);
    assert_eq!(answer.total.value, 4);
    let reason = answer.short.unwrap().reason;
    assert!(reason.contains("2 of them score 0.6 or more"), "{reason}");
    // Nothing is left out of what scores enough, however few are asked for.
    request.k = Some(1);
    let answer = ask(&notes, &request);
    assert_eq!(ids(&answer), ["n0"]);
    assert_eq!(answer.short, None);
    request.min_score = Some(f32::NAN);
    let error = search(&notes, &request).unwrap_err();
    assert_eq!(error.problem().unwrap().field.as_deref(), Some("min_score"));
}

#[test]
fn facets_are_of_fields_that_have_values_to_count() {
    let world = World::new();
    let notes = world.notes();
    put(
        &notes,
        vec![note("a", "light", 10.0), note("b", "light", 80.0)],
    );
    let mut request = words("light");
    for (field, most, wrong) in [
        ("title", 3, "facets"),
        ("price", 3, "facets"),
        ("nothing", 3, "facets"),
        ("section", 0, "facets.section"),
        ("section", 5_000, "facets.section"),
    ] {
        request.facets = [(field.to_string(), most)].into();
        let error = search(&notes, &request).unwrap_err();
        assert_eq!(error.problem().unwrap().field.as_deref(), Some(wrong));
    }
    // The first of equals, by their values; k does not matter.
    request.facets = [("section".to_string(), 1)].into();
    request.k = Some(1);
    let answer = ask(&notes, &request);
    assert_eq!(
        serde_json::to_value(&answer.facets).unwrap(),
        json!({"section": [{"value": "far", "count": 1}]})
    );
}
