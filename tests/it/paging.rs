//! Promise: hits in an order of fields' values, the best of each group, and pages of them are
//! what a list of documents would give, sorted, grouped and cut by hand; and pages of one
//! cursor are one answer cut into pieces, whatever is written meanwhile.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::{Index, Mode};
use gleaner::search::{
    Collapse, CursorRequest, Hit, Missing, SearchRequest, SearchResponse, Sort, SortOrder, search,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::service::Service;
use crate::support::shop::problem;
use crate::support::world::{World, ask, both, ids, note, put, words, write};

/// A note whose fields are drawn from few values, so that there are ties, or missing.
fn random_note() -> impl Strategy<Value = Value> {
    let some = |most: u8| prop::option::weighted(0.8, 0..most);
    let tags = prop::collection::vec(0u8..4, 0..3);
    (
        (0u8..30, 0u32..90, 0usize..4),
        (
            some(3),
            tags,
            some(4),
            some(3),
            some(4),
            prop::option::of(any::<bool>()),
        ),
    )
        .prop_map(
            |((id, angle, title), (section, tags, stars, price, day, open))| {
                let title = ["light", "light dark", "dark", "light light sea"][title];
                let mut note = note(&format!("n{id:02}"), title, f64::from(angle));
                note["section"] = json!(section.map(|s| ["x", "xy", "é"][usize::from(s)]));
                note["tags"] = json!(tags.iter().map(|t| format!("t{t}")).collect::<Vec<_>>());
                note["stars"] = json!(section.and(stars).map(|s| i64::from(s) - 2));
                note["price"] = json!(price.map(|p| f64::from(p) * 1.5 - 2.0));
                note["day"] = json!(day.map(|d| format!("200{d}-01-0{}", d + 1)));
                note["open"] = json!(open);
                note
            },
        )
}

fn random_sort() -> impl Strategy<Value = Vec<Sort>> {
    let fields = [
        "section", "tags", "stars", "price", "day", "open", "id", "_score",
    ];
    let order = prop::option::of(prop_oneof![Just(SortOrder::Asc), Just(SortOrder::Desc)]);
    let missing = prop_oneof![Just(Missing::First), Just(Missing::Last)];
    prop::sample::subsequence(fields.to_vec(), 1..4)
        .prop_shuffle()
        .prop_flat_map(move |fields| {
            let keys = prop::collection::vec((order.clone(), missing.clone()), fields.len());
            keys.prop_map(move |keys| {
                let keys = fields.iter().zip(keys);
                keys.map(|(field, (order, missing))| Sort {
                    field: field.to_string(),
                    order,
                    missing,
                })
                .collect()
            })
        })
}

/// What hits are compared by.
fn value_of(hit: &Hit, sort: &Sort) -> Value {
    let descending = is_descending(sort);
    match sort.field.as_str() {
        "id" => json!(hit.id),
        "_score" => json!(hit.score),
        "tags" => {
            let tags = hit.document["tags"].as_array().unwrap();
            let tags = tags.iter().map(|tag| tag.as_str().unwrap());
            json!(if descending { tags.max() } else { tags.min() })
        }
        "day" => match hit.document["day"].as_str() {
            Some(day) => json!(format!("{day}T00:00:00+00:00")),
            None => Value::Null,
        },
        field => hit.document[field].clone(),
    }
}

fn is_descending(sort: &Sort) -> bool {
    match sort.order {
        Some(order) => order == SortOrder::Desc,
        None => sort.field == "_score",
    }
}

fn compare(a: &Hit, b: &Hit, sort: &[Sort]) -> Ordering {
    for key in sort {
        let (x, y) = (value_of(a, key), value_of(b, key));
        let order = match (x.is_null(), y.is_null()) {
            (true, true) => continue,
            (true, false) | (false, true) => {
                let late = key.missing == Missing::Last;
                if x.is_null() == late {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            _ => {
                let order = match (&x, &y) {
                    (Value::String(x), Value::String(y)) => x.cmp(y),
                    (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
                    _ => x.as_f64().unwrap().total_cmp(&y.as_f64().unwrap()),
                };
                if is_descending(key) {
                    order.reverse()
                } else {
                    order
                }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
    a.id.cmp(&b.id)
}

/// What the answer to `request` should be, from one without an order, groups or pages: ids,
/// and of each the further members of its group.
fn expected(index: &Index, request: &SearchRequest) -> Vec<(String, Vec<String>)> {
    let plain = SearchRequest {
        sort: None,
        collapse: None,
        cursor: None,
        fields: None,
        explain: true,
        k: Some(100),
        offset: None,
        ..request.clone()
    };
    let plain = if request.query.is_none() && request.vector.is_none() {
        words("light dark sea")
    } else {
        plain
    };
    let plain = SearchRequest {
        k: Some(100),
        ..plain
    };
    let mut hits = ask(index, &plain).hits;
    let lexical = request.mode == Some(Mode::Lexical);
    let is_candidate = |hit: &Hit| !hit.explanation.as_ref().unwrap().beyond_candidates;
    // Groups of what the words match are found in the order of scores, then ids.
    let by_score = (lexical && request.collapse.is_some()).then(|| vec!["_score".into()]);
    if let Some(sort) = &request.sort.clone().or(by_score) {
        if !lexical {
            hits.retain(is_candidate);
        }
        hits.sort_by(|a, b| compare(a, b, sort));
    }
    let mut groups: HashMap<String, usize> = HashMap::new();
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for hit in hits {
        let group = match &request.collapse {
            Some(collapse) => hit
                .document
                .get(&collapse.field)
                .cloned()
                .unwrap_or_default(),
            None => Value::Null,
        };
        if !group.is_null() {
            if let Some(&at) = groups.get(&group.to_string()) {
                let inner = request.collapse.as_ref().unwrap().inner;
                if out[at].1.len() < inner && (lexical || is_candidate(&hit)) {
                    out[at].1.push(hit.id);
                }
                continue;
            }
            groups.insert(group.to_string(), out.len());
        }
        out.push((hit.id, Vec::new()));
    }
    out
}

fn found(answer: &SearchResponse) -> Vec<(String, Vec<String>)> {
    let inner = |hit: &Hit| {
        let inner = hit.inner.iter().flatten();
        inner.map(|one| one.id.clone()).collect()
    };
    let hits = answer.hits.iter();
    hits.map(|hit| (hit.id.clone(), inner(hit))).collect()
}

fn with_cursor(request: &SearchRequest, k: usize) -> SearchRequest {
    SearchRequest {
        k: Some(k),
        cursor: Some(CursorRequest {
            keep_s: Some(60),
            token: None,
        }),
        ..request.clone()
    }
}

fn going_on(token: &str) -> SearchRequest {
    SearchRequest {
        cursor: Some(CursorRequest {
            keep_s: None,
            token: Some(token.into()),
        }),
        ..SearchRequest::default()
    }
}

/// All pages of a cursor; between them, `meanwhile`.
fn pages(
    index: &Index,
    request: &SearchRequest,
    k: usize,
    mut meanwhile: impl FnMut(usize),
) -> Vec<SearchResponse> {
    let mut pages = vec![ask(index, &with_cursor(request, k))];
    while let Some(token) = &pages.last().unwrap().cursor {
        meanwhile(pages.len());
        let next = ask(index, &going_on(token));
        if next.cursor.is_some() {
            // An answer that was lost can be asked for again.
            let again = ask(index, &going_on(token));
            assert_eq!(ids(&again), ids(&next));
            assert_eq!(again.cursor, next.cursor);
        }
        pages.push(next);
        assert!(pages.len() < 1000, "the pages come to no end");
    }
    pages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn sorted_grouped_and_paged_by_hand_it_is_the_same(
        batches in prop::collection::vec(prop::collection::vec(random_note(), 1..14), 1..5),
        gone in prop::collection::vec(0u8..30, 0..4),
        sort in prop::option::weighted(0.7, random_sort()),
        group in prop::option::weighted(0.5, (0usize..4, 0usize..4)),
        mode in 0usize..4,
        candidates in 1usize..40,
        min_score in prop::option::weighted(0.3, 0.0f32..1.0),
        offset in 0usize..4,
        k in 1usize..9,
    ) {
        let world = World::with(|config| config.storage.graph_threshold = 1_000_000);
        let notes = world.notes();
        // Each batch is a segment of its own, and what a later one replaces is dead there.
        for batch in batches {
            put(&notes, batch);
        }
        for id in gone {
            notes.delete(&format!("n{id:02}")).unwrap();
        }
        notes.refresh().unwrap();

        let mode = [Some(Mode::Lexical), Some(Mode::Dense), Some(Mode::Hybrid), None][mode];
        let listing = mode.is_none();
        let sort = match (listing, sort) {
            (true, None) => Some(vec!["-stars".into()]),
            (true, Some(mut sort)) => {
                sort.retain(|key| key.field != "_score");
                (!sort.is_empty()).then_some(sort).or_else(|| Some(vec!["section".into()]))
            }
            (false, sort) => sort,
        };
        let request = SearchRequest {
            mode: if listing { Some(Mode::Lexical) } else { mode },
            query: (!listing && mode != Some(Mode::Dense)).then(|| "light sea".into()),
            vector: (!listing && mode != Some(Mode::Lexical)).then(|| vec![1.0, 0.0, 0.0]),
            candidates: Some(candidates),
            min_score: min_score.filter(|_| !listing),
            sort: sort.clone(),
            collapse: group.map(|(field, inner)| Collapse {
                field: ["section", "stars", "day", "open"][field].into(),
                inner,
            }),
            ..SearchRequest::default()
        };
        let expected = expected(&notes, &request);
        let all = ask(&notes, &SearchRequest { k: Some(100), ..request.clone() });
        prop_assert_eq!(found(&all), expected.clone());
        for hit in &all.hits {
            let values = hit.sort.clone();
            let wanted = sort.as_ref().map(|sort| sort.iter().map(|key| value_of(hit, key)));
            prop_assert_eq!(
                serde_json::to_string(&values).unwrap(),
                serde_json::to_string(&wanted.map(|w| w.collect::<Vec<_>>())).unwrap()
            );
            let group = group.map(|(field, _)| ["section", "stars", "day", "open"][field]);
            if let Some(group) = group.filter(|&group| group != "day") {
                let value = hit.document.get(group).filter(|value| !value.is_null());
                prop_assert_eq!(hit.group.as_ref(), value);
            }
        }
        // More hits begin with the fewer, pages join, and fewer come with the reason.
        let part = SearchRequest { k: Some(k), offset: Some(offset), ..request.clone() };
        let part = ask(&notes, &part);
        let rest = expected.get(offset..).unwrap_or_default();
        prop_assert_eq!(found(&part), rest[..k.min(rest.len())].to_vec());
        prop_assert_eq!(part.short.is_some(), part.hits.len() < k);
        prop_assert_eq!(part.total, all.total);

        // What is written between pages changes nothing.
        let from = SearchRequest { offset: Some(offset), ..request.clone() };
        let pages = pages(&notes, &from, k, |page| {
            let angle = (page * 7 % 90) as f64;
            write(&notes, vec![note(&format!("n{page:02}"), "light sea", angle)]).unwrap();
            notes.delete(&format!("n{:02}", page * 3)).unwrap();
            notes.refresh().unwrap();
            if page % 3 == 0 {
                notes.compact().unwrap();
            }
        });
        let joined: Vec<_> = pages.iter().flat_map(found).collect();
        prop_assert_eq!(joined, rest.to_vec());
        for page in &pages {
            prop_assert_eq!(page.total, all.total);
            prop_assert_eq!(page.seq, all.seq);
        }
    }
}

/// In every mode, while another thread writes as fast as it can.
#[test]
fn pages_are_one_answer_while_another_thread_writes() {
    let world = World::new();
    let notes = world.notes();
    let text = |i: usize| ["light", "light dark", "light light sea", "sea light"][i % 4];
    put(
        &notes,
        (0..300)
            .map(|i| note(&format!("n{i:03}"), text(i), (i * 7 % 90) as f64))
            .collect(),
    );
    let (stop, rounds) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let writer = std::thread::spawn({
        let (notes, stop, rounds) = (notes.clone(), stop.clone(), rounds.clone());
        move || {
            while !stop.load(Relaxed) {
                let i = rounds.fetch_add(1, Relaxed);
                let id = format!("n{:03}", i * 13 % 400);
                write(&notes, vec![note(&id, text(i), (i % 90) as f64)]).unwrap();
                notes.delete(&format!("n{:03}", i * 29 % 400)).unwrap();
                notes.refresh().unwrap();
                if i % 50 == 49 {
                    notes.compact().unwrap();
                }
            }
        }
    });
    let wait_for_a_write = || {
        let before = rounds.load(Relaxed);
        let begun = Instant::now();
        while rounds.load(Relaxed) == before && !writer.is_finished() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let sorted = |request: SearchRequest, sort: &str| SearchRequest {
        sort: Some(vec!["section".into(), sort.into()]),
        candidates: Some(150),
        ..request
    };
    let lexical = SearchRequest {
        mode: Some(Mode::Lexical),
        ..words("light")
    };
    let dense = SearchRequest {
        vector: Some(vec![1.0, 0.0, 0.0]),
        ..SearchRequest::default()
    };
    for request in [
        lexical.clone(),
        dense.clone(),
        both("light"),
        sorted(lexical, "-stars"),
        sorted(dense, "stars"),
        sorted(both("light"), "_score"),
        sorted(SearchRequest::default(), "id"),
    ] {
        // The view that both stand on: what one cursor begins with, all at once and in parts.
        let (all, pages) = loop {
            let all = ask(&notes, &with_cursor(&request, 1000));
            let first = ask(&notes, &with_cursor(&request, 40));
            if first.seq != all.seq {
                continue;
            }
            let mut pages = vec![first];
            while let Some(token) = &pages.last().unwrap().cursor {
                wait_for_a_write();
                pages.push(ask(&notes, &going_on(token)));
            }
            break (all, pages);
        };
        let joined: Vec<&str> = pages.iter().flat_map(ids).collect();
        assert_eq!(joined, ids(&all), "{request:?}");
        assert!(joined.len() >= 100, "{}", joined.len());
        assert!(pages.iter().all(|page| page.seq == all.seq));
    }
    stop.store(true, Relaxed);
    writer.join().unwrap();
    assert!(rounds.load(Relaxed) > 10);
}

fn numbered(count: usize) -> Vec<Value> {
    (0..count)
        .map(|i| note(&format!("n{i:03}"), "light", (i % 90) as f64))
        .collect()
}

#[test]
fn an_order_of_fields_has_no_depth_limit_and_relevance_says_its_own() {
    let world = World::with(|config| config.limits.hits = 20);
    let notes = world.notes();
    put(&notes, numbered(95));
    let sorted = SearchRequest {
        sort: Some(vec!["-section".into()]),
        ..SearchRequest::default()
    };
    let all: Vec<String> = pages(&notes, &sorted, 20, |_| {})
        .iter()
        .flat_map(|page| page.hits.iter().map(|hit| hit.id.clone()))
        .collect();
    assert_eq!(all.len(), 95);
    let near = |i: usize| i % 90 < 45;
    let (first, second): (Vec<usize>, Vec<usize>) = (0..95).partition(|&i| near(i));
    let wanted = first.into_iter().chain(second);
    assert_eq!(all, wanted.map(|i| format!("n{i:03}")).collect::<Vec<_>>());

    for request in [words("light"), both("light")] {
        let pages = pages(&notes, &request, 10, |_| {});
        let counts: Vec<usize> = pages.iter().map(|page| page.hits.len()).collect();
        assert_eq!(counts, [10, 10, 0]);
        let reason = &pages[2].short.as_ref().unwrap().reason;
        assert!(reason.contains("end after 20 hits"), "{reason}");
    }
}

#[test]
fn a_cursor_is_dropped_when_its_time_is_over_or_others_need_its_place() {
    let world = World::with(|config| config.limits.cursors = 2);
    let notes = world.notes();
    put(&notes, numbered(30));
    let begin = |keep_s: u64| {
        let mut request = with_cursor(&words("light"), 10);
        request.cursor.as_mut().unwrap().keep_s = Some(keep_s);
        ask(&notes, &request).cursor.unwrap()
    };
    let gone = |token: &str| {
        let found = problem(search(&notes, &going_on(token)).unwrap_err());
        assert_eq!(found.code, Code::CursorExpired, "{found}");
        assert_eq!(found.field.as_deref(), Some("cursor.token"));
    };
    let (first, second, third) = (begin(60), begin(60), begin(60));
    gone(&first);
    let next = ask(&notes, &going_on(&second)).cursor.unwrap();
    assert_eq!(ask(&notes, &going_on(&next)).cursor, None);
    for odd in ["", "-", "x-1", &format!("{second}0"), &second[1..], "ÿ-1"] {
        gone(odd);
    }
    assert_eq!(ask(&notes, &going_on(&third)).hits.len(), 10);

    // Nobody asks again: the view goes by itself, and with it what was deleted since.
    put(&notes, numbered(20));
    let view = notes.view();
    let _short = begin(1);
    let weak = Arc::downgrade(&view);
    drop(view);
    notes.delete("n001").unwrap();
    notes.refresh().unwrap();
    assert!(weak.upgrade().is_some(), "the cursor holds its view");
    let _other = begin(60);
    let begun = Instant::now();
    while weak.upgrade().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    // And what cursors hold does not keep an index from being removed.
    drop(notes);
    world.catalog.remove("notes").unwrap();
}

#[test]
fn what_cannot_be_sorted_grouped_or_continued_is_refused() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, numbered(3));
    let sort = |keys: &[&str]| Some(keys.iter().map(|&key| key.into()).collect());
    let sorted = |keys: &[&str]| SearchRequest {
        sort: sort(keys),
        ..words("light")
    };
    let collapsed = |field: &str, inner| SearchRequest {
        collapse: Some(Collapse {
            field: field.into(),
            inner,
        }),
        ..words("light")
    };
    let cursor = |keep_s, token: Option<&str>| SearchRequest {
        cursor: Some(CursorRequest {
            keep_s,
            token: token.map(Into::into),
        }),
        ..words("light")
    };
    let listing = |request: SearchRequest| SearchRequest {
        query: None,
        ..request
    };
    for (request, field) in [
        (sorted(&[]), "sort"),
        (sorted(&["stars"; 5]), "sort"),
        (sorted(&["stars", "-stars"]), "sort[1]"),
        (sorted(&["section", "nobody"]), "sort[1]"),
        (sorted(&["title"]), "sort[0]"),
        (listing(sorted(&["_score"])), "sort[0]"),
        (
            SearchRequest {
                min_score: Some(0.5),
                ..listing(sorted(&["stars"]))
            },
            "min_score",
        ),
        (
            SearchRequest {
                mode: Some(Mode::Hybrid),
                ..listing(sorted(&["stars"]))
            },
            "mode",
        ),
        (collapsed("tags", 0), "collapse.field"),
        (collapsed("title", 0), "collapse.field"),
        (collapsed("price", 0), "collapse.field"),
        (collapsed("nobody", 0), "collapse.field"),
        (collapsed("section", 101), "collapse.inner"),
        (listing(collapsed("section", 0)), "query"),
        (cursor(Some(0), None), "cursor.keep_s"),
        (cursor(Some(601), None), "cursor.keep_s"),
        (cursor(None, Some("x-1")), "cursor.token"),
        (listing(cursor(Some(60), Some("x-1"))), "cursor.token"),
    ] {
        let shown = serde_json::to_string(&request).unwrap();
        let found = problem(search(&notes, &request).expect_err(&shown));
        assert_eq!(found.code, Code::InvalidRequest, "{shown}: {found}");
        assert_eq!(found.field.as_deref(), Some(field), "{shown}: {found}");
        assert!(found.found.is_some() && found.expected.is_some(), "{found}");
    }
    let none = World::with(|config| config.limits.cursors = 0);
    let notes = none.notes();
    let found = problem(search(&notes, &cursor(None, None)).unwrap_err());
    assert_eq!(found.code, Code::LimitExceeded);
}

#[test]
fn explanations_and_scores_are_those_of_the_same_hits_in_order_of_relevance() {
    let world = World::new();
    let notes = world.notes();
    let texts = ["light", "light light sea", "dark light", "light of the sea"];
    put(
        &notes,
        (0..20)
            .map(|i| note(&format!("n{i:02}"), texts[i % 4], (i * 4) as f64))
            .collect(),
    );
    for base in [words("light sea"), both("light sea")] {
        let base = SearchRequest {
            explain: true,
            k: Some(20),
            ..base
        };
        let plain = ask(&notes, &base);
        let plain: HashMap<&str, &Hit> = plain.hits.iter().map(|h| (h.id.as_str(), h)).collect();
        let sorted = SearchRequest {
            sort: Some(vec!["stars".into()]),
            ..base
        };
        let sorted = ask(&notes, &sorted);
        assert_eq!(sorted.hits.len(), 20);
        for hit in &sorted.hits {
            let same = plain[hit.id.as_str()];
            assert_eq!(hit.score, same.score);
            let (mut found, mut wanted) = (hit.explanation.clone(), same.explanation.clone());
            if base_is_lexical(&sorted) {
                // Sorted, not ranked.
                wanted.as_mut().unwrap().lexical.as_mut().unwrap().rank = None;
            }
            assert_eq!(found.take(), wanted.take());
        }
    }
}

fn base_is_lexical(answer: &SearchResponse) -> bool {
    answer.mode == Mode::Lexical
}

#[test]
fn facets_and_totals_count_documents_not_groups() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, numbered(30));
    for sort in [None, Some(vec!["stars".into()])] {
        let request = SearchRequest {
            sort,
            collapse: Some(Collapse {
                field: "section".into(),
                inner: 2,
            }),
            facets: [("section".to_string(), 5)].into(),
            k: Some(1),
            ..words("light")
        };
        let answer = ask(&notes, &request);
        assert_eq!(ids(&answer), ["n000"]);
        assert_eq!(answer.total.value, 30);
        assert_eq!(answer.facets["section"][0].count, 30);
        let inner = answer.hits[0].inner.as_ref().unwrap();
        let inner: Vec<&str> = inner.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(inner, ["n001", "n002"]);
        assert_eq!(answer.short, None);
    }
    // A group of nearly everything: the page is filled from far below the candidates.
    let mut far = numbered(30);
    far.extend((0..3).map(|i| note(&format!("z{i}"), "light", 80.0 + f64::from(i))));
    for (i, note) in far.iter_mut().enumerate() {
        note["section"] = json!(if i < 30 {
            "near".to_string()
        } else {
            format!("s{i}")
        });
    }
    put(&notes, far);
    let request = SearchRequest {
        vector: Some(vec![1.0, 0.0, 0.0]),
        candidates: Some(2),
        k: Some(4),
        collapse: Some(Collapse {
            field: "section".into(),
            inner: 5,
        }),
        ..SearchRequest::default()
    };
    let answer = ask(&notes, &request);
    assert_eq!(ids(&answer), ["n000", "z0", "z1", "z2"]);
    let inner = answer.hits[0].inner.as_ref().unwrap();
    assert_eq!(inner.len(), 1, "further members come from the candidates");
}

#[test]
fn over_http() {
    let service = Service::new().with_notes();
    let page = |body: Value| service.search(body);
    let first = page(json!({
        "sort": ["-stars", {"field": "title", "missing": "first"}], "k": 1,
    }));
    assert_eq!(first.status, 400);
    assert_eq!(first.json()["error"]["field"], "sort[1]");
    for (sort, field) in [
        (json!([{"field": "stars", "order": "up"}]), "sort[0].order"),
        (json!([{"feild": "stars"}]), "sort[0].feild"),
        (json!([{}]), "sort[0].field"),
        (json!([3]), "sort[0]"),
        (json!("stars"), "sort"),
    ] {
        let refused = page(json!({"sort": sort}));
        assert_eq!(refused.status, 400, "{sort}");
        assert_eq!(
            refused.json()["error"]["field"],
            field,
            "{}",
            refused.json()
        );
    }
    let first = page(json!({"sort": ["-stars"], "k": 1, "cursor": {"keep_s": 30}}));
    assert_eq!(first.status, 200, "{}", first.json());
    let first = first.json();
    assert_eq!(first["hits"][0]["id"], "a");
    assert_eq!(first["hits"][0]["sort"], json!([4]));
    assert_eq!(first["total"], json!({"value": 2, "counts": "filtered"}));
    service.delete("/v1/indexes/notes/documents/b");
    service.post("/v1/indexes/notes/refresh", &json!({}));
    let second = page(json!({"cursor": {"token": first["cursor"]}})).json();
    assert_eq!(second["hits"][0]["id"], "b");
    assert_eq!(second["cursor"], Value::Null);
    // The last page too can be asked for again.
    let again = page(json!({"cursor": {"token": first["cursor"]}})).json();
    assert_eq!(again["hits"], second["hits"]);
    let gone = page(json!({"cursor": {"token": "0b6c1f0f6d0d4be29f5e0a4f3f1c2a77-1"}}));
    assert_eq!((gone.status, gone.code().as_str()), (410, "cursor_expired"));
}
