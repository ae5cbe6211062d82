//! Promise: `/metrics` tells what docs/metrics.md lists, neither less nor more, in a format that
//! Prometheus reads; what it counts is what happened; and no text of a caller becomes a label.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gleaner::config::Attached;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::files;
use crate::support::scrape::Scrape;
use crate::support::service::Service;
use crate::support::tiny_model::{TinyModel, runtime};

const SEARCH: &str = "/v1/indexes/{name}/search";

/// The metrics of docs/metrics.md and their types.
pub fn documented() -> BTreeMap<String, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut metrics = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(name) = cells.get(1).and_then(|cell| cell.strip_prefix('`')) else {
            continue;
        };
        if cells.len() == 6 {
            let name = name.trim_end_matches('`').to_string();
            assert!(!cells[4].is_empty(), "{line}");
            assert_eq!(metrics.insert(name, cells[2].to_string()), None, "{line}");
        }
    }
    metrics
}

fn until(service: &Service, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let scrape = Scrape::of(service);
        if holds(&scrape) {
            return scrape;
        }
        assert!(Instant::now() < limit, "never: {what}\n{}", scrape.page);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the real thing says of a scrape, where it is installed.
fn check_with_promtool(page: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        println!("promtool is not installed: its opinion is left out");
        return;
    };
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// A place with an encoder, a reranker, and a folder that jobs may read.
struct Place {
    models: TempDir,
    files: TempDir,
    snapshots: TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            models: tempfile::tempdir().unwrap(),
            files: tempfile::tempdir().unwrap(),
            snapshots: tempfile::tempdir().unwrap(),
        };
        TinyModel::default().write(&place.models.path().join("vectors"));
        let reranker = TinyModel {
            labels: 1,
            ..TinyModel::default()
        };
        reranker.write(&place.models.path().join("judge"));
        place
    }

    fn url(&self) -> String {
        format!("file://{}", self.snapshots.path().display())
    }

    fn server(&self) -> Service {
        Service::with(|config| {
            config.models.folders = vec![self.models.path().into()];
            config.models.runtime = runtime();
            config.models.runtime.cache_bytes = 1 << 20;
            config.ingest.sources = vec![self.files.path().to_str().unwrap().into()];
            config.storage.graph_threshold = 60;
            config.snapshots.location = Some(self.url());
        })
    }
}

/// An index whose texts are encoded here.
fn articles() -> Value {
    json!({
        "name": "articles",
        "fields": {"title": {"type": "text"}, "section": {"type": "keyword"}},
        "embedding": {"model": "vectors", "fields": ["title"]},
    })
}

#[test]
fn everything_that_is_documented_is_told_and_nothing_else() {
    let place = Place::new();
    let service = place.server().with_notes();
    let ok = |answer: crate::support::service::Answer| {
        assert!(answer.status < 300, "{}", answer.json());
        answer
    };

    // Vectors enough for a graph, by a job with a row that does not fit.
    let rows = (0..200).map(|i| {
        let stars = if i == 7 { json!("many") } else { json!(i % 5) };
        json!({"id": format!("n{i}"), "title": "night train", "stars": stars,
               "vector": [1.0, f64::from(i), 0.5]})
    });
    let rows: Vec<Value> = rows.collect();
    let file = files::jsonl(&place.files.path().join("rows.jsonl"), &rows);
    let job = json!({"index": "notes", "inputs": [file.to_str().unwrap()]});
    let job = ok(service.post("/v1/jobs", &job)).json()["id"].clone();
    until(&service, "the job is done", |scrape| {
        scrape.get("gleaner_jobs", &[("state", "done")]) == 1.0
    });
    ok(service.post("/v1/indexes/notes/refresh", &json!({})));
    until(&service, "a graph is built", |scrape| {
        let labels = [("index", "notes"), ("segment", "graph")];
        scrape.get("gleaner_index_vectors", &labels) >= 199.0
    });

    // Texts that are encoded, found and re-ranked.
    ok(service.post("/v1/indexes", &articles()));
    let articles = json!([
        {"id": "a", "title": "the river in spring", "section": "nature"},
        {"id": "b", "title": "the river in winter", "section": "nature"},
    ]);
    ok(service.post("/v1/indexes/articles/documents?refresh=wait", &articles));
    let search = json!({"query": "river", "rerank": {"model": "judge"}});
    let answer = ok(service.post("/v1/indexes/articles/search", &search)).json();
    assert_eq!(answer["rerank"]["scored"], 2, "{answer}");
    let wrong = json!({"query": "river", "filter": "nowhere = 1"});
    assert_eq!(
        service.post("/v1/indexes/articles/search", &wrong).status,
        400
    );
    ok(service.post("/v1/indexes/notes/snapshots", &json!({})));

    let scrape = Scrape::of(&service);
    check_with_promtool(&scrape.page);
    let mut told = scrape.families();
    let rows = |outcome| scrape.get("gleaner_job_rows_total", &[("outcome", outcome)]);
    assert_eq!((rows("written"), rows("rejected")), (199.0, 1.0));
    assert_eq!(scrape.get("gleaner_job_rows_read_total", &[]), 200.0);
    let done = scrape.get("gleaner_jobs_stopped_total", &[("state", "done")]);
    assert_eq!(done, 1.0, "job {job}");
    let labels = [("kind", "snapshot"), ("outcome", "done")];
    assert_eq!(scrape.get("gleaner_tasks_ended_total", &labels), 1.0);
    let labels = [("index", "notes"), ("outcome", "done")];
    assert!(scrape.get("gleaner_index_graph_builds_total", &labels) >= 1.0);
    for (model, kind) in [("vectors", "text-encoder"), ("judge", "reranker")] {
        let labels = [("model", model), ("kind", kind)];
        assert_eq!(scrape.all("gleaner_model_sessions", &labels).len(), 1);
        assert!(scrape.get("gleaner_model_tokens_total", &labels) > 0.0);
        assert!(scrape.get("gleaner_model_busy_seconds_total", &labels) > 0.0);
    }
    let labels = [("index", "articles"), ("code", "invalid_filter")];
    assert_eq!(scrape.get("gleaner_search_errors_total", &labels), 1.0);

    // An index that is attached, and an encoder that is missing.
    let empty = tempfile::tempdir().unwrap();
    let service = service.restart(|config| {
        config.models.folders = vec![empty.path().into()];
        config.snapshots.attached = vec![Attached {
            name: "copy".into(),
            url: place.url(),
            index: Some("notes".into()),
            follow_s: 3_600,
        }];
    });
    until(&service, "the snapshot is attached", |scrape| {
        let copy = [("index", "copy")];
        !scrape
            .all("gleaner_index_attachment_problem", &copy)
            .is_empty()
    });
    let search = json!({"query": "river", "k": 10});
    let answer = ok(service.post("/v1/indexes/articles/search", &search)).json();
    assert_eq!(answer["degraded"][0]["lost"], "dense", "{answer}");
    let scrape = Scrape::of(&service);
    let labels = [("index", "articles"), ("lost", "dense")];
    assert_eq!(scrape.get("gleaner_search_degraded_total", &labels), 1.0);
    let labels = [("index", "articles")];
    assert_eq!(scrape.get("gleaner_search_short_total", &labels), 1.0);
    told.extend(scrape.families());

    if !cfg!(target_os = "linux") {
        println!("what is told of the process is not looked at here");
        return;
    }
    assert_eq!(told, documented());
}

#[test]
fn what_is_counted_is_what_happened() {
    let service = Service::new().with_notes();
    let before = Scrape::of(&service);
    let secret = "whatsomebodylookedfor";
    for query in [secret, "train"] {
        assert_eq!(
            service
                .search(json!({"query": query, "mode": "lexical"}))
                .status,
            200
        );
    }
    let batch = json!({"queries": [
        {"vector": [1.0, 0.0, 0.0], "k": 1},
        {"vector": [1.0, 0.0, 0.0], "query": secret},
        {"query": "train", "filter": "secret = 1"},
    ]});
    assert_eq!(service.search(batch).status, 200);
    assert_eq!(service.search(json!({"k": 1})).status, 400);
    assert_eq!(service.get(&format!("/v1/indexes/{secret}")).status, 404);
    assert_eq!(service.get(&format!("/{secret}")).status, 404);
    let made_up =
        format!("BREW /{secret} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(service.raw(made_up.as_bytes()).starts_with("HTTP/1.1 404"));
    let put = json!({"title": secret, "vector": [1.0, 0.0, 0.0]});
    let path = format!("/v1/indexes/notes/documents/{secret}");
    assert_eq!(service.put(&path, &put).status, 201);

    let after = Scrape::of(&service);
    let grew =
        |name: &str, labels: &[(&str, &str)]| after.get(name, labels) - before.get(name, labels);
    let requests = |method, route, status| {
        let labels = [("method", method), ("route", route), ("status", status)];
        grew("gleaner_http_requests_total", &labels)
    };
    assert_eq!(requests("POST", SEARCH, "200"), 3.0);
    assert_eq!(requests("POST", SEARCH, "400"), 1.0);
    assert_eq!(requests("GET", "/v1/indexes/{name}", "404"), 1.0);
    assert_eq!(
        requests("PUT", "/v1/indexes/{name}/documents/{id}", "201"),
        1.0
    );
    assert_eq!(requests("GET", "none", "404"), 1.0);
    assert_eq!(requests("OTHER", "none", "404"), 1.0);
    assert_eq!(requests("GET", "/metrics", "200"), 1.0);
    let labels = [("method", "POST"), ("route", SEARCH)];
    assert_eq!(
        grew("gleaner_http_request_duration_seconds_count", &labels),
        4.0
    );
    // This scrape itself.
    assert_eq!(after.get("gleaner_http_requests_in_flight", &[]), 1.0);

    let searches = |mode| {
        grew(
            "gleaner_searches_total",
            &[("index", "notes"), ("mode", mode)],
        )
    };
    assert_eq!(
        (searches("lexical"), searches("dense"), searches("hybrid")),
        (2.0, 1.0, 1.0)
    );
    assert_eq!(
        grew(
            "gleaner_search_duration_seconds_count",
            &[("index", "notes")]
        ),
        4.0
    );
    let errors = |code| {
        grew(
            "gleaner_search_errors_total",
            &[("index", "notes"), ("code", code)],
        )
    };
    assert_eq!(
        (errors("invalid_filter"), errors("invalid_request")),
        (1.0, 1.0)
    );
    let stages = |stage| {
        grew(
            "gleaner_search_stage_duration_seconds_count",
            &[("stage", stage)],
        )
    };
    assert_eq!(
        (stages("words"), stages("vectors"), stages("rerank")),
        (3.0, 2.0, 0.0)
    );
    let labels = [("strategy", "scan")];
    assert_eq!(grew("gleaner_search_vector_strategies_total", &labels), 2.0);
    assert!(grew("gleaner_search_compared_vectors_total", &[]) >= 4.0);
    assert_eq!(
        grew("gleaner_search_short_total", &[("index", "notes")]),
        3.0
    );
    assert!(!after.page.contains(secret), "{}", after.page);

    let notes = [("index", "notes")];
    assert_eq!(after.get("gleaner_index_documents", &notes), 2.0);
    assert_eq!(after.get("gleaner_index_unseen_writes", &notes), 1.0);
    let unpublished = [("index", "notes"), ("segment", "unpublished")];
    assert_eq!(after.get("gleaner_index_vectors", &unpublished), 1.0);
    service.post("/v1/indexes/notes/refresh", &json!({}));
    let visible = Scrape::of(&service);
    assert_eq!(visible.get("gleaner_index_documents", &notes), 3.0);
    assert_eq!(visible.get("gleaner_index_unseen_writes", &notes), 0.0);
    assert_eq!(visible.get("gleaner_index_vectors", &unpublished), 0.0);
    let refreshes = [("index", "notes"), ("outcome", "done")];
    let refreshed = |scrape: &Scrape| scrape.get("gleaner_index_refreshes_total", &refreshes);
    assert_eq!(refreshed(&visible) - refreshed(&after), 1.0);
    assert!(visible.get("gleaner_index_refresh_seconds_total", &notes) > 0.0);

    // What is gone is told of no more.
    assert_eq!(service.delete("/v1/indexes/notes").status, 204);
    let gone = Scrape::of(&service);
    assert!(gone.all("gleaner_index_documents", &notes).is_empty());
    assert_eq!(gone.get("gleaner_indexes_open", &[]), 0.0);
}

#[test]
fn openmetrics_is_answered_where_it_is_asked_for() {
    let service = Service::new().with_notes();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = service.send("GET", "/metrics", &[("accept", accept)], b"");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(kind));
    let page = String::from_utf8(answer.body).unwrap();
    assert!(page.ends_with("\n# EOF\n"), "{page}");
    assert_eq!(page.matches("# EOF").count(), 1);
    assert!(
        page.contains("# TYPE gleaner_http_requests counter\n"),
        "{page}"
    );
    assert!(page.contains("\ngleaner_http_requests_total{"), "{page}");
    assert!(page.contains("\ngleaner_ready "), "{page}");
}

#[test]
fn a_busy_server_is_still_scraped() {
    // Nobody may search but one, nobody may wait.
    let service = Service::with(|config| {
        config.server.concurrency = Some(1);
        config.server.queue = 0;
    })
    .with_notes();
    // A body of which the rest does not come holds no place among searches: bodies do.
    let gate = |scrape: &Scrape, what: &str| scrape.get(what, &[("gate", "searches")]);
    let scrape = Scrape::of(&service);
    assert_eq!(gate(&scrape, "gleaner_gate_capacity"), 1.0);
    assert_eq!(gate(&scrape, "gleaner_gate_in_use"), 0.0);
    // Enough at once that some find the one place taken.
    let refused: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let turned_away = (0..20).filter(|_| {
                        let answer = service.search(json!({"query": "train", "mode": "lexical"}));
                        assert!([200, 503].contains(&answer.status));
                        answer.status == 503
                    });
                    turned_away.count()
                })
            })
            .collect();
        let scraped = Scrape::of(&service);
        assert_eq!(gate(&scraped, "gleaner_gate_capacity"), 1.0);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    let scrape = Scrape::of(&service);
    let labels = [("gate", "searches"), ("reason", "full")];
    let counted = scrape.get("gleaner_gate_refused_requests_total", &labels);
    assert_eq!(counted, refused as f64);
    assert_eq!(gate(&scrape, "gleaner_gate_waiting_requests"), 0.0);
}
