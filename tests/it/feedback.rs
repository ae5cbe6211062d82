//! Promise: feedback that was acknowledged is kept, once, whatever happens; what is not in
//! order is refused with its field and changes nothing; it is exported as documented; and a
//! combiner that is fitted on it is used only if it wins, can be rolled back, and survives a
//! restart.

use std::path::Path;

use arrow::array::{Array, BooleanArray, StringArray, UInt32Array};
use gleaner::feedback::FEEDBACK_COLUMNS;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::service::{Answer, Service};
use crate::support::tiny_model::{TinyModel, runtime};

const FEEDBACK: &str = "/v1/indexes/notes/feedback";

fn impression(query: &str, ids: &[&str], clicked: &[&str]) -> Value {
    let shown: Vec<Value> = ids
        .iter()
        .zip(1..)
        .map(|(id, rank)| json!({"id": id, "rank": rank}))
        .collect();
    json!({"type": "impression", "query": query, "shown": shown, "clicked": clicked})
}

fn add(service: &Service, events: &[Value]) -> Answer {
    service.post("/v1/feedback", &json!({"index": "notes", "events": events}))
}

fn counts(service: &Service) -> Value {
    service.get(FEEDBACK).json()["events"].clone()
}

#[test]
fn what_was_acknowledged_is_kept_once() {
    let mut service = Service::new().with_notes();
    let body = json!({"index": "notes", "events": [
        {"type": "judgment", "query": "a", "id": "x", "grade": 3},
        impression("a", &["x", "y"], &["y"]),
        {"type": "click", "query": "a", "id": "x"},
    ]})
    .to_string();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let send = |service: &Service| service.send("POST", "/v1/feedback", &headers, body.as_bytes());
    let first = send(&service);
    assert_eq!(first.status, 200, "{}", first.json());
    assert_eq!(first.json(), json!({"index": "notes", "added": 3}));
    for _ in 0..2 {
        let again = send(&service);
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let expected =
            json!({"judgments": 1, "impressions": 1, "clicks": 1, "oldest": 1, "newest": 3});
        assert_eq!(counts(&service), expected);
        service = service.restart(|_| {});
    }
    // Through an alias it is the index's own; of more than it keeps the oldest give way.
    let service = service.restart(|config| config.limits.feedback_events = 4);
    let aliases = service.post("/v1/aliases", &json!({"aliases": {"n": "notes"}}));
    assert_eq!(aliases.status, 200);
    let event = json!({"type": "judgment", "query": "b", "id": "x", "grade": 0});
    let answer = service.post("/v1/feedback", &json!({"index": "n", "events": [event]}));
    assert_eq!(answer.json()["index"], "notes");
    add(
        &service,
        &[json!({"type": "judgment", "query": "c", "id": "x", "grade": 0})],
    );
    assert_eq!(counts(&service)["oldest"], 2);
    assert_eq!(counts(&service)["newest"], 5);
}

#[test]
fn what_is_not_in_order_is_refused_and_changes_nothing() {
    let service = Service::new()
        .with_notes()
        .restart(|config| config.limits.feedback_batch = 3);
    let good = json!({"type": "judgment", "query": "a", "id": "x", "grade": 3});
    let with = |name: &str, value: Value| {
        let mut event = good.clone();
        event[name] = value;
        event
    };
    let shown = |shown: Value| json!({"type": "impression", "query": "a", "shown": shown});
    let long = "x".repeat(200);
    #[rustfmt::skip]
    let cases: Vec<(Value, &str, &str)> = vec![
        (with("type", json!("opinion")), "invalid_request", "events[1].type"),
        (with("grade", json!(11)), "invalid_request", "events[1].grade"),
        (with("grade", Value::Null), "invalid_request", "events[1].grade"),
        (with("query", json!("  ")), "invalid_request", "events[1].query"),
        (with("query", json!("x".repeat(10_001))), "limit_exceeded", "events[1].query"),
        (with("id", json!("")), "invalid_request", "events[1].id"),
        (with("id", json!("x".repeat(5_000))), "limit_exceeded", "events[1].id"),
        (with("time", json!("yesterday")), "invalid_request", "events[1].time"),
        (with("session", json!(long)), "limit_exceeded", "events[1].session"),
        (with("shown", json!([{"id": "x", "rank": 1}])), "invalid_request", "events[1].shown"),
        (with("weight", json!(1)), "invalid_request", "events[1].weight"),
        (shown(json!([])), "invalid_request", "events[1].shown"),
        (shown(json!([{"id": "x", "rank": 0}])), "invalid_request", "events[1].shown[0].rank"),
        (shown(json!([{"id": "x", "rank": 1}, {"id": "y", "rank": 1}])), "invalid_request", "events[1].shown[1]"),
        (shown(json!([{"id": "x", "rank": 1}, {"id": "x", "rank": 2}])), "invalid_request", "events[1].shown[1]"),
        (impression("a", &["x"], &["y"]), "invalid_request", "events[1].clicked[0]"),
        (json!({"type": "click", "id": "x"}), "invalid_request", "events[1].query"),
        (json!({"type": "click", "query": "a"}), "invalid_request", "events[1].id"),
    ];
    for (event, code, field) in cases {
        let answer = add(&service, &[good.clone(), event.clone()]);
        assert_eq!(answer.code(), code, "{event}");
        assert_eq!(answer.json()["error"]["field"], field, "{event}");
    }
    for (events, code) in [
        (vec![], "invalid_request"),
        (vec![good.clone(); 4], "limit_exceeded"),
    ] {
        assert_eq!(add(&service, &events).code(), code);
    }
    let nobody = json!({"index": "nobody", "events": [good]});
    assert_eq!(
        service.post("/v1/feedback", &nobody).code(),
        "index_not_found"
    );
    assert_eq!(counts(&service)["newest"], 0);
    // Nothing to learn from, nothing to go back to, no such version.
    assert_eq!(
        service
            .post(&format!("{FEEDBACK}/rollback"), &json!({}))
            .code(),
        "invalid_request"
    );
    let version = service.post(&format!("{FEEDBACK}/activate"), &json!({"version": 7}));
    assert_eq!(version.json()["error"]["field"], "version");
}

fn rows(bytes: Vec<u8>) -> Vec<(String, String, Option<u32>, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feedback.parquet");
    std::fs::write(&path, bytes).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let columns: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(columns, FEEDBACK_COLUMNS.map(|(name, _, _)| name));
    let mut all = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let text = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            column
                .as_any()
                .downcast_ref::<StringArray>()
                .unwrap()
                .clone()
        };
        let (kinds, documents) = (text("type"), text("document"));
        let ranks = batch.column_by_name("rank").unwrap();
        let ranks = ranks.as_any().downcast_ref::<UInt32Array>().unwrap();
        let clicked = batch.column_by_name("clicked").unwrap();
        let clicked = clicked.as_any().downcast_ref::<BooleanArray>().unwrap();
        for i in 0..batch.num_rows() {
            let rank = ranks.is_valid(i).then(|| ranks.value(i));
            all.push((
                kinds.value(i).into(),
                documents.value(i).into(),
                rank,
                clicked.value(i),
            ));
        }
    }
    all
}

#[test]
fn exports_hold_a_row_for_each_document() {
    let service = Service::new().with_notes();
    let mut first = impression("a", &["x", "y"], &[]);
    first["answer"] = json!("one");
    let mut other = impression("a", &["x", "z"], &[]);
    other["session"] = json!("s");
    let events = [
        first,
        other,
        json!({"type": "click", "answer": "one", "id": "y"}),
        json!({"type": "click", "query": "a", "session": "s", "id": "z"}),
        json!({"type": "click", "query": "a", "session": "t", "id": "z"}),
        json!({"type": "judgment", "query": "a", "id": "x", "grade": 1}),
    ];
    assert_eq!(add(&service, &events).status, 200);
    let file = service.get(&format!("{FEEDBACK}/export"));
    assert_eq!(
        file.header("content-type"),
        Some("application/vnd.apache.parquet")
    );
    let row = |kind: &str, id: &str, rank: Option<u32>, clicked: bool| {
        (kind.to_string(), id.to_string(), rank, clicked)
    };
    let expected = [
        row("impression", "x", Some(1), false),
        row("impression", "y", Some(2), true),
        row("impression", "x", Some(1), false),
        row("impression", "z", Some(2), true),
        row("click", "z", None, true),
        row("judgment", "x", None, false),
    ];
    assert_eq!(rows(file.body), expected);
}

/// A server with an encoder that says little about its texts, and notes of topics.
fn searched() -> (Service, TempDir) {
    let models = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    TinyModel::default().write(source.path());
    let mut options = gleaner::model::PrepareOptions::new("tiny", gleaner::model::Precision::Fp32);
    options.runtime = runtime();
    gleaner::model::prepare(source.path(), &models.path().join("tiny"), &options).unwrap();
    let service = Service::with(|config| {
        config.models.folders = vec![Path::new(models.path()).into()];
        config.models.runtime = runtime();
    });
    let definition = json!({
        "name": "notes",
        "fields": {"text": {"type": "text"}},
        "embedding": {"model": "tiny", "fields": ["text"]},
    });
    assert_eq!(service.post("/v1/indexes", &definition).status, 201);
    let mut chance = StdRng::seed_from_u64(3);
    let documents: Vec<Value> = (0..240)
        .map(|i| {
            let topic = i % 40;
            let words: Vec<String> = (0..8)
                .map(|_| format!("t{topic}w{}", chance.random_range(0..10)))
                .collect();
            json!({"id": format!("d{i}"), "text": words.join(" ")})
        })
        .collect();
    let loaded = service.post(
        "/v1/indexes/notes/documents?refresh=wait",
        &json!(documents),
    );
    assert_eq!(loaded.status, 200, "{}", loaded.json());
    (service, models)
}

#[test]
fn a_combiner_is_used_if_it_wins_and_can_be_rolled_back() {
    let (service, _models) = searched();
    let fit = format!("{FEEDBACK}/fit");
    let few = service.post(&fit, &json!({}));
    assert_eq!(
        (few.status, few.code().as_str()),
        (409, "too_little_feedback")
    );
    // People want what has none of the words: no ranking that trusts them can be right.
    let mut events = Vec::new();
    for n in 0..150 {
        let query = format!("t{}w{} t{}w{}", n % 40, n % 10, n % 40, (n / 10 + 1) % 10);
        let request = json!({"query": query, "k": 100, "fields": [], "explain": true});
        let answer = service.post("/v1/indexes/notes/search", &request).json();
        let hits = answer["hits"].as_array().unwrap();
        let by_vectors = hits
            .iter()
            .filter(|hit| hit["explanation"]["lexical"].is_null());
        for hit in by_vectors.take(3) {
            events.push(json!({"type": "judgment", "query": query, "id": hit["id"], "grade": 1}));
        }
        for hit in hits
            .iter()
            .filter(|hit| !hit["explanation"]["lexical"].is_null())
        {
            events.push(json!({"type": "judgment", "query": query, "id": hit["id"], "grade": 0}));
        }
    }
    for some in events.chunks(1_000) {
        assert_eq!(add(&service, some).status, 200);
    }
    let kept = service.post(&fit, &json!({"activate": false})).json();
    assert_eq!(kept["won"], true, "{kept}");
    assert_eq!(
        (&kept["activated"], &kept["version"]),
        (&json!(false), &json!(1))
    );
    let used = service.post(&fit, &json!({})).json();
    assert_eq!(
        (&used["activated"], &used["version"]),
        (&json!(true), &json!(2)),
        "{used}"
    );
    assert_eq!(
        used["held_back"], kept["held_back"],
        "the same log teaches the same"
    );

    let version = |service: &Service| {
        let request = json!({"query": "t1w1 t1w2", "explain": true, "k": 1});
        let answer = service.post("/v1/indexes/notes/search", &request).json();
        answer["hits"][0]["explanation"]["fusion"]["learned"]["version"].clone()
    };
    assert_eq!(version(&service), 2);
    let service = service.restart(|_| {});
    assert_eq!(version(&service), 2);
    assert_eq!(
        service.get("/v1/indexes/notes").json()["stats"]["combiner"],
        2
    );
    let back = service
        .post(&format!("{FEEDBACK}/rollback"), &json!({}))
        .json();
    assert_eq!(back["active"], 0, "{back}");
    assert_eq!(version(&service), 0);
    let again = service
        .post(&format!("{FEEDBACK}/activate"), &json!({"version": 1}))
        .json();
    assert_eq!(
        (&again["active"], &again["before"]),
        (&json!(1), &json!([0]))
    );
    assert_eq!(version(&service), 1);
    // What is in use is what the next one has to beat.
    let next = service.post(&fit, &json!({})).json();
    assert_eq!(
        (&next["won"], &next["compared_with"]),
        (&json!(false), &json!(1)),
        "{next}"
    );
    let status = service.get(FEEDBACK).json();
    assert_eq!(status["combiner"]["versions"], json!([1, 2, 3]));
}
