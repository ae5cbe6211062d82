//! Promise: re-ranking orders the first documents by what the cross-encoder says, and leaves
//! everything else as the first stage has it; how deep it goes comes from the definition or
//! the request, never from `k`; what it could not do is said. `/v1/rerank` speaks Cohere's and
//! Jina's protocol (`make test-clients` asks with Cohere's client).

use std::collections::HashMap;
use std::sync::Arc;

use gleaner::error::{Code, Error};
use gleaner::index::{Cascade, Definition, Index, Mode};
use gleaner::model::{CrossEncoder, Precision, PrepareOptions, ScoreOptions, prepare};
use gleaner::search::{
    Collapse, CursorRequest, RerankRequest, RerankSettings, SearchRequest, SearchResponse, Sort,
    search,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::world::{DEFINITION, World, both, ids, note, put, words};

const MODEL: &str = "judge";

fn reranker() -> TinyModel {
    TinyModel {
        labels: 1,
        ..TinyModel::default()
    }
}

/// A world with a reranker and an encoder, and notes of which all match "river".
struct Notes {
    _models: TempDir,
    world: World,
    model: CrossEncoder,
}

impl Notes {
    fn new() -> Notes {
        let models = tempfile::tempdir().unwrap();
        reranker().write(&models.path().join(MODEL));
        TinyModel::default().write(&models.path().join("vectors"));
        let world = World::with(|config| {
            config.models.folders = vec![models.path().into()];
            config.models.runtime = runtime();
        });
        let notes = world.notes();
        put(&notes, documents());
        Notes {
            model: CrossEncoder::open(&models.path().join(MODEL), &runtime()).unwrap(),
            _models: models,
            world,
        }
    }

    fn index(&self) -> Arc<Index> {
        self.world.notes()
    }

    fn ask(&self, request: &SearchRequest) -> SearchResponse {
        search(&self.index(), request).unwrap()
    }

    fn refused(&self, request: &SearchRequest) -> (Code, String) {
        match search(&self.index(), request) {
            Err(Error::User(problem)) => (problem.code, problem.field.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    /// Scores of the notes for a query, by id.
    fn scores(&self, query: &str) -> HashMap<String, f32> {
        let documents = documents();
        let text = |d: &Value| d["title"].as_str().unwrap().to_owned();
        let texts: Vec<String> = documents.iter().map(text).collect();
        let scored = self.model.score(query, &texts, &ScoreOptions::default());
        let scores = scored.unwrap().scores.into_iter().flatten();
        let ids = documents
            .iter()
            .map(|d| d["id"].as_str().unwrap().to_owned());
        ids.zip(scores).collect()
    }
}

fn documents() -> Vec<Value> {
    let more = [
        "red",
        "blue city",
        "wind 7",
        "a dog and a fish",
        "the fire",
        "x",
    ];
    (0..40)
        .map(|n| {
            let rest: Vec<&str> = (0..n % 7).map(|k| more[(n * 3 + k) % more.len()]).collect();
            let title = format!("river {} {}", rest.join(" "), "water ".repeat(n % 4));
            note(&format!("n{n:02}"), title.trim(), n as f64 * 2.0)
        })
        .collect()
}

fn settings(change: impl FnOnce(&mut RerankSettings)) -> Option<RerankRequest> {
    let mut settings = RerankSettings {
        model: Some(MODEL.into()),
        time_ms: Some(60_000),
        ..RerankSettings::default()
    };
    change(&mut settings);
    Some(RerankRequest::Settings(settings))
}

fn reranked(depth: usize, weight: f32) -> SearchRequest {
    SearchRequest {
        k: Some(40),
        rerank: settings(|s| {
            s.depth = Some(depth);
            s.weight = Some(weight);
        }),
        ..both("river water")
    }
}

#[test]
fn the_first_documents_are_in_the_rerankers_order_and_the_rest_in_the_first_stages() {
    let notes = Notes::new();
    let plain = SearchRequest {
        k: Some(40),
        ..both("river water")
    };
    let before = notes.ask(&plain);
    assert!(before.rerank.is_none());
    let scores = notes.scores("river water");
    for depth in [1, 2, 7, 40, 500] {
        let found = notes.ask(&reranked(depth, 1.0));
        let first = depth.min(before.hits.len());
        let summary = found.rerank.clone().unwrap();
        assert_eq!(summary.depth, first);
        assert_eq!(summary.scored, if first < 2 { 0 } else { first });
        assert!(found.degraded.is_empty());
        let mut expected: Vec<&str> = ids(&before)[..first].to_vec();
        if first > 1 {
            expected.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        }
        assert_eq!(ids(&found)[..first], expected);
        assert_eq!(ids(&found)[first..], ids(&before)[first..]);
        if first > 1 {
            for hit in &found.hits[..first] {
                assert!((hit.score - scores[&hit.id]).abs() < 1e-5);
            }
        }
        // Scores fall from the first hit to the last.
        assert!(found.hits.is_sorted_by(|a, b| a.score >= b.score));
    }
    assert_ne!(ids(&notes.ask(&reranked(40, 1.0))), ids(&before));
    // Without weight the first stage decides.
    assert_eq!(ids(&notes.ask(&reranked(40, 0.0))), ids(&before));
}

#[test]
fn the_models_weight_holds_where_nobody_says_one() {
    let models = tempfile::tempdir().unwrap();
    let (published, made) = (models.path().join("published"), models.path().join(MODEL));
    reranker().write(&published);
    let options = PrepareOptions::new(MODEL, Precision::Fp32);
    prepare(&published, &made, &options).unwrap();
    let manifest = made.join("model.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{text}\n[recommended]\nweight = 0.25\n")).unwrap();
    TinyModel::default().write(&models.path().join("vectors"));
    let world = World::with(|config| {
        config.models.folders = vec![models.path().into()];
        config.models.runtime = runtime();
    });
    let notes = world.notes();
    put(&notes, documents());
    let weight = |said: Option<f32>| {
        let request = SearchRequest {
            explain: true,
            rerank: settings(|s| s.weight = said),
            ..both("river")
        };
        let hit = search(&notes, &request).unwrap().hits.remove(0);
        hit.explanation.unwrap().rerank.unwrap().weight
    };
    assert_eq!(weight(None), 0.25);
    assert_eq!(weight(Some(0.75)), 0.75);
}

#[test]
fn more_hits_pages_and_cursors_never_reorder() {
    let notes = Notes::new();
    for weight in [1.0, 0.4] {
        let whole = notes.ask(&reranked(12, weight));
        for k in [1, 5, 12, 13, 30] {
            let mut request = reranked(12, weight);
            request.k = Some(k);
            assert_eq!(ids(&notes.ask(&request)), ids(&whole)[..k]);
            request.offset = Some(40 - k);
            assert_eq!(ids(&notes.ask(&request)), ids(&whole)[40 - k..]);
        }
        // Deeper than the fused candidates too.
        let mut few = reranked(12, weight);
        few.candidates = Some(6);
        let all = notes.ask(&few);
        for k in [3, 9, 20] {
            few.k = Some(k);
            assert_eq!(ids(&notes.ask(&few)), ids(&all)[..k]);
        }
        let mut request = SearchRequest {
            k: Some(9),
            cursor: Some(CursorRequest::default()),
            ..reranked(12, weight)
        };
        let mut paged = Vec::new();
        loop {
            let page = notes.ask(&request);
            paged.extend(ids(&page).into_iter().map(str::to_owned));
            assert_eq!(page.rerank, whole.rerank);
            let Some(token) = page.cursor else { break };
            request = SearchRequest {
                cursor: Some(CursorRequest {
                    token: Some(token),
                    keep_s: None,
                }),
                ..SearchRequest::default()
            };
        }
        assert_eq!(paged, ids(&whole));
    }
}

#[test]
fn every_score_can_be_taken_apart() {
    let notes = Notes::new();
    for weight in [1.0, 0.3] {
        let mut request = reranked(9, weight);
        request.explain = true;
        let found = notes.ask(&request);
        let scores = notes.scores("river water");
        let plain = notes.ask(&SearchRequest {
            k: Some(40),
            ..both("river water")
        });
        let places: HashMap<&str, usize> = ids(&plain).into_iter().zip(1..).collect();
        for (n, hit) in found.hits.iter().enumerate() {
            let explained = hit.explanation.as_ref().unwrap();
            let rerank = explained.rerank.unwrap();
            assert_eq!(rerank.first_rank, places[hit.id.as_str()]);
            assert_eq!(rerank.first_score, explained.fusion.as_ref().unwrap().score);
            assert_eq!(rerank.score.is_some(), n < 9);
            if let (Some(score), Some(a), Some(b)) =
                (rerank.score, rerank.first_as, rerank.score_as)
            {
                assert!((score - scores[&hit.id]).abs() < 1e-5);
                assert!((hit.score - (weight * b + (1.0 - weight) * a)).abs() < 1e-6);
                assert!(rerank.tokens.unwrap() > 4);
            }
        }
    }
}

#[test]
fn the_text_is_made_of_the_fields_that_are_named() {
    let notes = Notes::new();
    let section = |field: &str| SearchRequest {
        k: Some(40),
        rerank: settings(|s| s.fields = Some(vec![field.into()])),
        ..words("river")
    };
    // All that are "far" are alike to the reranker, and those that are "near".
    let found = notes.ask(&section("section"));
    let mut scores: Vec<f32> = found.hits.iter().map(|hit| hit.score).collect();
    scores.dedup();
    assert_eq!(scores.len(), 2);
    // Equals come by id.
    assert!(
        found
            .hits
            .is_sorted_by(|a, b| (-a.score, &a.id) <= (-b.score, &b.id))
    );
    assert_ne!(ids(&found), ids(&notes.ask(&section("title"))));
}

#[test]
fn what_was_not_reached_in_time_follows_in_the_first_stages_order() {
    let notes = Notes::new();
    let plain = notes.ask(&SearchRequest {
        k: Some(40),
        ..both("river water")
    });
    let scores = notes.scores("river water");
    notes.ask(&reranked(40, 1.0));
    for time_ms in [1, 2, 3, 4, 6, 8, 12, 20] {
        let mut request = reranked(40, 1.0);
        request.rerank = settings(|s| s.time_ms = Some(time_ms));
        let found = notes.ask(&request);
        let scored = found.rerank.clone().unwrap().scored;
        let lost: Vec<&str> = found.degraded.iter().map(|d| d.lost.as_str()).collect();
        assert_eq!(lost, if scored < 40 { vec!["rerank"] } else { vec![] });
        let mut first = ids(&plain)[..scored].to_vec();
        first.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        assert_eq!(ids(&found)[..scored], first);
        assert_eq!(ids(&found)[scored..], ids(&plain)[scored..]);
    }
}

#[test]
fn a_cascade_leaves_out_what_is_unlikely() {
    let notes = Notes::new();
    let asked = |cascade: Cascade| SearchRequest {
        explain: true,
        rerank: settings(|s| s.cascade = Some(cascade)),
        ..reranked(40, 1.0)
    };
    let of = |threshold: f32, share: f32| Cascade {
        threshold,
        share,
        ..Cascade::default()
    };
    let all = notes.ask(&asked(of(0.0, 1.0)));
    assert_eq!(ids(&all), ids(&notes.ask(&reranked(40, 1.0))));
    let mut before = 41;
    for threshold in [0.0, 0.02, 0.1, 0.5, 0.9, 1.0] {
        let found = notes.ask(&asked(of(threshold, 1.0)));
        assert!(found.degraded.is_empty());
        let scored = found.rerank.clone().unwrap().scored;
        assert!(scored < before || scored == 0);
        before = scored + 1;
        let mut firsts = Vec::new();
        for (n, hit) in found.hits.iter().enumerate() {
            let rerank = hit.explanation.as_ref().unwrap().rerank.unwrap();
            let chance = rerank.chance.unwrap();
            assert_eq!(rerank.score.is_some(), n < scored);
            assert!(scored < 2 || (chance >= threshold) == (n < scored));
            if n >= scored {
                firsts.push(rerank.first_rank);
            }
        }
        assert!(firsts.is_sorted());
    }
    assert!(before < 10);
    let half = notes.ask(&asked(of(0.0, 0.5))).rerank.unwrap();
    let full = all.rerank.unwrap();
    assert!(half.tokens * 2 <= full.tokens + 64 && half.tokens * 3 > full.tokens);
}

#[test]
fn groups_least_scores_and_lexical_searches_are_re_ranked_too() {
    let notes = Notes::new();
    let scores = notes.scores("river");
    let mut request = SearchRequest {
        mode: Some(Mode::Lexical),
        collapse: Some(Collapse {
            field: "section".into(),
            inner: 2,
        }),
        rerank: settings(|_| {}),
        ..words("river")
    };
    let found = notes.ask(&request);
    assert_eq!(found.hits.len(), 2);
    let best = scores.values().copied().fold(0.0, f32::max);
    assert!((found.hits[0].score - best).abs() < 1e-5);
    assert!(found.hits[0].inner.as_ref().unwrap()[0].score <= best);
    request.collapse = None;
    request.k = Some(40);
    let mut sorted: Vec<f32> = scores.values().copied().collect();
    sorted.sort_by(f32::total_cmp);
    sorted.dedup();
    let least = (sorted[sorted.len() / 2 - 1] + sorted[sorted.len() / 2]) / 2.0;
    request.min_score = Some(least);
    let found = notes.ask(&request);
    let over = scores.values().filter(|&&score| score >= least).count();
    assert!(over > 0 && over < 40);
    assert_eq!(found.hits.len(), over);
    assert!(found.short.unwrap().reason.contains("or more"));
}

#[test]
fn without_the_reranker_the_first_stage_answers_and_says_so() {
    let notes = Notes::new();
    let folder = notes._models.path().join(MODEL);
    let mut definition = Definition::from_toml(DEFINITION).unwrap();
    definition.name = "other".into();
    definition.search.rerank = Some(gleaner::index::Rerank {
        model: Some(MODEL.into()),
        by_default: true,
        ..Default::default()
    });
    let other = notes.world.catalog.create(definition).unwrap();
    put(&other, documents());
    std::fs::write(folder.join("tokenizer.json"), "{").unwrap();
    let found = search(&other, &both("river water")).unwrap();
    assert_eq!(found.degraded[0].lost, "rerank");
    assert!(found.degraded[0].reason.contains("tokenizer.json"));
    assert!(!found.degraded[0].reason.contains('/'));
    assert_eq!(found.rerank.unwrap().scored, 0);
    let off = SearchRequest {
        rerank: Some(RerankRequest::Whether(false)),
        ..both("river water")
    };
    let off = search(&other, &off).unwrap();
    assert!(off.degraded.is_empty() && off.rerank.is_none());
    assert_eq!(
        ids(&off),
        ids(&search(&other, &both("river water")).unwrap())
    );
    // Mended, it is used.
    reranker().write(&folder);
    let found = search(&other, &both("river water")).unwrap();
    assert!(found.degraded.is_empty(), "{:?}", found.degraded);
    assert_eq!(found.rerank.unwrap().scored, 40);
    // What nothing can be re-ranked of is left as it is, where nobody asked for it.
    for request in [
        SearchRequest {
            sort: Some(vec![Sort::from("stars")]),
            ..both("river")
        },
        SearchRequest {
            vector: Some(vec![1.0, 0.0, 0.0]),
            ..SearchRequest::default()
        },
    ] {
        assert!(search(&other, &request).unwrap().rerank.is_none());
    }
}

#[test]
fn what_cannot_be_re_ranked_is_refused_by_field() {
    let notes = Notes::new();
    let with = |rerank| SearchRequest {
        rerank,
        ..both("river")
    };
    let unfit = |field: &str, change: &dyn Fn(&mut RerankSettings)| {
        let found = notes.refused(&with(settings(change)));
        assert_eq!(found, (Code::InvalidRequest, field.to_owned()));
    };
    unfit("rerank.depth", &|s| s.depth = Some(0));
    unfit("rerank.depth", &|s| s.depth = Some(1001));
    unfit("rerank.weight", &|s| s.weight = Some(1.1));
    unfit("rerank.weight", &|s| s.weight = Some(f32::NAN));
    unfit("rerank.time_ms", &|s| s.time_ms = Some(0));
    unfit("rerank.fields", &|s| s.fields = Some(vec!["stars".into()]));
    unfit("rerank.fields", &|s| {
        s.fields = Some(vec!["nothing".into()])
    });
    unfit("rerank.model", &|s| s.model = None);
    unfit("rerank.model", &|s| s.model = Some("vectors".into()));
    let cascade = |threshold, share, weights: &[f64]| Cascade {
        threshold,
        share,
        weights: weights.to_vec(),
    };
    for (field, one) in [
        ("rerank.cascade.threshold", cascade(1.5, 1.0, &[])),
        ("rerank.cascade.share", cascade(0.5, 0.0, &[])),
        ("rerank.cascade.weights", cascade(0.5, 1.0, &[1.0])),
    ] {
        unfit(field, &|s| s.cascade = Some(one.clone()));
    }
    let nobody = with(settings(|s| s.model = Some("nobody".into())));
    assert_eq!(
        notes.refused(&nobody),
        (Code::ModelNotFound, "rerank.model".into())
    );
    let whether = Some(RerankRequest::Whether(true));
    assert_eq!(notes.refused(&with(whether)).1, "rerank.model");
    let sorted = SearchRequest {
        sort: Some(vec![Sort::from("stars")]),
        ..with(settings(|_| {}))
    };
    assert_eq!(notes.refused(&sorted).1, "rerank");
    let textless = SearchRequest {
        vector: Some(vec![1.0, 0.0, 0.0]),
        rerank: settings(|_| {}),
        ..SearchRequest::default()
    };
    assert_eq!(notes.refused(&textless).1, "rerank");
    for (from, to) in [
        ("depth = 5", "depth = 0"),
        ("model = \"judge\"", "by_default = true"),
        ("fields = [\"title\"]", "fields = [\"stars\"]"),
    ] {
        let table = "[search.rerank]\nmodel = \"judge\"\ndepth = 5\nfields = [\"title\"]\n";
        Definition::from_toml(&format!("{DEFINITION}{table}")).unwrap();
        let wrong = format!("{DEFINITION}{}", table.replace(from, to));
        match Definition::from_toml(&wrong) {
            Err(Error::User(problem)) => assert_eq!(problem.code, Code::InvalidDefinition),
            other => panic!("{to}: {other:?}"),
        }
    }
}

struct Rerankers {
    service: Service,
    models: TempDir,
}

fn service() -> Rerankers {
    let models = tempfile::tempdir().unwrap();
    reranker().write(&models.path().join(MODEL));
    TinyModel::default().write(&models.path().join("vectors"));
    let service = Service::with(|config| {
        config.models.folders = vec![models.path().into()];
        config.models.runtime = runtime();
        config.limits.rerank_documents = 50;
        config.limits.rerank_tokens = 2_000;
        config.limits.field_bytes = 10_000;
    });
    Rerankers { service, models }
}

const TEXTS: [&str; 4] = ["a red river", "the dog", "", "wind of the mountain"];

#[test]
fn rerank_answers_in_the_shape_of_cohere_and_jina() {
    let here = service();
    let model = CrossEncoder::open(&here.models.path().join(MODEL), &runtime()).unwrap();
    let scored = model.score("a river", &TEXTS, &ScoreOptions::default());
    let scored = scored.unwrap();
    let scores: Vec<f32> = scored.scores.into_iter().flatten().collect();
    let mut order: Vec<usize> = (0..TEXTS.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let ask = |more: Value| -> Value {
        let mut body = json!({"model": MODEL, "query": "a river", "documents": TEXTS});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let answer = here.service.post("/v1/rerank", &body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    };
    let answer = ask(json!({}));
    assert_eq!(answer["model"], MODEL);
    assert!(answer["id"].is_string());
    let tokens: u32 = scored.tokens.iter().sum();
    assert_eq!(answer["usage"]["total_tokens"], tokens);
    assert_eq!(answer["meta"]["billed_units"]["search_units"], 1);
    let results = answer["results"].as_array().unwrap();
    for (result, &expected) in results.iter().zip(&order) {
        assert_eq!(result["index"], expected);
        let score = result["relevance_score"].as_f64().unwrap() as f32;
        assert_eq!(score, scores[expected]);
        assert!((0.0..=1.0).contains(&score));
        assert!(result.get("document").is_none());
    }
    assert_eq!(results.len(), 4);
    // Cohere's second version, at its own address.
    let body = json!({"model": MODEL, "query": "a river", "documents": TEXTS, "top_n": 2});
    let second = here.service.post("/v2/rerank", &body).json();
    assert_eq!(second["results"], json!(results[..2]));
    // Documents of every shape, read alike, and as they came.
    let objects: Vec<Value> = TEXTS.iter().map(|t| json!({"text": t, "n": 1})).collect();
    let answer = ask(json!({"documents": objects, "return_documents": true}));
    for (result, &expected) in answer["results"].as_array().unwrap().iter().zip(&order) {
        assert_eq!(result["document"], objects[expected]);
    }
    let answer = ask(json!({"return_documents": true, "top_n": 1}));
    assert_eq!(answer["results"].as_array().unwrap().len(), 1);
    assert_eq!(answer["results"][0]["index"], order[0]);
    let document = &answer["results"][0]["document"];
    assert_eq!(document, &json!({"text": TEXTS[order[0]]}));
    let parts = json!([{"title": "a red", "body": "river", "n": 3}, {"body": "the dog"}]);
    let fields = json!({"documents": parts, "rank_fields": ["title", "body"]});
    let found = ask(fields)["results"].clone();
    let plain = json!({"documents": ["a red\nriver", "the dog"]});
    assert_eq!(found, ask(plain)["results"]);
    // What was cut is said.
    let long = "river ".repeat(200);
    let answer = ask(json!({"documents": ["a", long], "query": {"text": "a"}}));
    assert_eq!(answer["truncated"], json!([1]));
    assert!(answer.get("query_truncated").is_none());
    let answer = ask(json!({"documents": ["a"], "query": long}));
    assert_eq!(answer["query_truncated"], true);
    assert_eq!(answer["meta"]["warnings"].as_array().unwrap().len(), 1);
    let few = ask(json!({"max_tokens_per_doc": 1}));
    assert_eq!(few["truncated"], json!([0, 1, 3]));
    // What clients send besides.
    ask(
        json!({"priority": 0, "truncation": true, "return_embeddings": false,
               "max_chunks_per_doc": 1, "top_n": null}),
    );
}

#[test]
fn what_rerank_cannot_do_is_refused_by_field() {
    let here = service();
    let body = json!({"model": MODEL, "query": "a", "documents": ["b"]});
    for (key, value, status, code, field) in [
        ("model", json!("nobody"), 404, "model_not_found", "model"),
        ("model", json!("vectors"), 400, "invalid_request", "model"),
        ("query", json!(3), 400, "invalid_request", "query"),
        ("query", json!(null), 400, "invalid_request", "query"),
        ("documents", json!([]), 400, "invalid_request", "documents"),
        ("documents", json!("b"), 400, "invalid_request", "documents"),
        (
            "documents",
            json!([3]),
            400,
            "invalid_request",
            "documents[0]",
        ),
        (
            "documents",
            json!(["a", {"body": "b"}]),
            400,
            "invalid_request",
            "documents[1]",
        ),
        (
            "documents",
            json!(vec!["b"; 51]),
            400,
            "limit_exceeded",
            "documents",
        ),
        (
            "documents",
            json!(vec!["b ".repeat(60); 50]),
            400,
            "limit_exceeded",
            "documents",
        ),
        (
            "documents",
            json!(["b".repeat(10_001)]),
            400,
            "limit_exceeded",
            "documents[0]",
        ),
        ("top_n", json!(0), 400, "invalid_request", "top_n"),
        ("top_n", json!(-1), 400, "invalid_request", "top_n"),
        (
            "rank_fields",
            json!([]),
            400,
            "invalid_request",
            "rank_fields",
        ),
        (
            "max_chunks_per_doc",
            json!(10),
            400,
            "invalid_request",
            "max_chunks_per_doc",
        ),
        (
            "truncation",
            json!(false),
            400,
            "invalid_request",
            "truncation",
        ),
        (
            "return_embeddings",
            json!(true),
            400,
            "invalid_request",
            "return_embeddings",
        ),
        (
            "max_tokens_per_doc",
            json!(0),
            400,
            "invalid_request",
            "max_tokens_per_doc",
        ),
        ("colour", json!("red"), 400, "invalid_request", "colour"),
    ] {
        let mut body = body.clone();
        body[key] = value.clone();
        let answer = here.service.post("/v1/rerank", &body);
        assert_eq!(answer.status, status, "{key} {value}: {}", answer.json());
        assert_eq!(answer.code(), code, "{key} {value}");
        assert_eq!(
            answer.json()["error"]["field"],
            field,
            "{key} {value}: {}",
            answer.json()
        );
    }
    assert_eq!(here.service.post("/v1/rerank", &body).status, 200);
    let embedded = json!({"model": MODEL, "input": "a"});
    let refused = here.service.post("/v1/embeddings", &embedded);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "invalid_request")
    );
    let models = here.service.get("/v1/models").json();
    let judge = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["id"] == MODEL);
    assert_eq!(judge.unwrap()["kind"], "reranker");
    assert!(judge.unwrap().get("dimensions").is_none());
}

#[test]
fn searches_over_http_say_true_false_or_settings() {
    let here = service();
    let here = Rerankers {
        service: here.service.with_notes(),
        models: here.models,
    };
    let search = |rerank: Value| {
        let body = json!({"query": "train", "mode": "lexical", "rerank": rerank});
        here.service.search(body)
    };
    let answer = search(json!({"model": MODEL, "depth": 5})).json();
    assert_eq!(answer["rerank"]["scored"], 2, "{answer}");
    assert!(answer["timings"]["rerank_ms"].as_f64().unwrap() > 0.0);
    assert!(search(json!(false)).json().get("rerank").is_none());
    assert_eq!(search(json!(true)).json()["error"]["field"], "rerank.model");
    for (wrong, field) in [
        (json!(3), "rerank"),
        (json!({"model": MODEL, "deep": 5}), "rerank.deep"),
        (json!({"model": MODEL, "depth": "x"}), "rerank.depth"),
    ] {
        let answer = search(wrong);
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["field"], field, "{}", answer.json());
    }
}

#[test]
fn the_command_line_re_ranks_measures_and_picks_a_threshold() {
    let place = Place::with_model("tiny");
    reranker().write(&place.path("models").join(MODEL));
    place.write(
        "notes.toml",
        "name = \"notes\"\n[fields.title]\ntype = \"text\"\n[fields.text]\ntype = \"text\"\n\
         [embedding]\nmodel = \"tiny\"\nfields = [\"title\", \"text\"]\n\
         [search.rerank]\nmodel = \"judge\"\ndepth = 20\n",
    );
    let corpus: String = documents()
        .iter()
        .map(|d| {
            format!(
                "{}\n",
                json!({"_id": d["id"], "title": "", "text": d["title"]})
            )
        })
        .collect();
    place.write("beir/corpus.jsonl", corpus);
    let queries: String = (0..12)
        .map(|n| {
            format!(
                "{}\n",
                json!({"_id": format!("q{n}"), "text": format!("river {n}")})
            )
        })
        .collect();
    place.write("beir/queries.jsonl", queries);
    let qrels: String = (0..12)
        .map(|n| format!("q{n}\tn{:02}\t1\n", 3 * n))
        .collect();
    place.write(
        "beir/qrels/train.tsv",
        format!("query-id\tcorpus-id\tscore\n{qrels}"),
    );
    let beir = [
        "--beir",
        "beir",
        "--split",
        "train",
        "--index",
        "notes.toml",
    ];
    let keep = ["--keep", "kept"];
    let modes = ["--modes", "hybrid,rerank"];
    let eval = [&["eval", "retrieval"][..], &beir, &keep, &modes].concat();
    let measured = place.json(&eval);
    let ndcg = |mode: &str| measured["modes"][mode]["ndcg@10"].as_f64().unwrap();
    assert_ne!(ndcg("hybrid"), ndcg("rerank"));
    let kept = ["--keep", "kept2"];
    let cascade = [&["eval", "cascade"][..], &beir, &kept].concat();
    let wrong = [&cascade[..], &["--budget", "2"]].concat();
    place.refused(Code::InvalidRequest, &wrong);
    let cascade = [&cascade[..], &["--budget", "0.4"]].concat();
    let report = place.json(&cascade);
    assert!((report["full"].as_f64().unwrap() - ndcg("rerank")).abs() < 1e-9);
    assert!((report["first"].as_f64().unwrap() - ndcg("hybrid")).abs() < 1e-9);
    assert_eq!(report["cascade"]["weights"].as_array().unwrap().len(), 9);
    let chosen = &report["chosen"];
    assert!(chosen["share"].as_f64().unwrap() <= 0.4, "{chosen}");
    let curve = report["curve"].as_array().unwrap();
    let last = &curve[curve.len() - 1];
    assert_eq!(
        (&last["share"], &last["ndcg"]),
        (&json!(1.0), &report["full"])
    );
    // What is printed for people can be given back, and measures the same by searching.
    let words = place.ok(&cascade).out;
    let toml = &words[words.find("[search.rerank.cascade]").unwrap()..];
    place.write("cascade.toml", toml);
    let given = ["--cascade", "cascade.toml"];
    let again = place.json(&[&cascade[..], &given].concat());
    assert_eq!(again["chosen"], report["chosen"]);
    let searched = place.json(&[&eval[..], &given].concat());
    let found = searched["modes"]["rerank"]["ndcg@10"].as_f64().unwrap();
    assert!((found - chosen["ndcg"].as_f64().unwrap()).abs() < 1e-9);
}
