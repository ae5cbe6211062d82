//! Promise: bad input is the caller's 4xx, with a stable code, the field, what was found
//! and what was expected; it changes nothing. And every route does what docs/rest.md says.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gleaner::api::Server;
use gleaner::config::Config;
use gleaner::error::{Code, Error};
use gleaner::index::Catalog;
use serde_json::{Value, json};

use crate::support::service::{Answer, Service};
use crate::support::tiny_model::TinyModel;
use crate::support::world::config_in;

fn hits(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["id"].as_str().unwrap().to_string())
        .collect()
}

fn until(limit: Duration, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < limit, "still not so after {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_life_of_an_index() {
    let service = Service::new();
    let health = service.get("/health");
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &json!("ok"))
    );
    until(Duration::from_secs(10), || {
        service.get("/ready").status == 200
    });
    assert_eq!(service.get("/v1/indexes").json(), json!({"indexes": []}));

    let service = service.with_notes();
    let list = service.get("/v1/indexes").json();
    assert_eq!(list["indexes"][0]["name"], "notes");
    assert_eq!(list["indexes"][0]["stats"]["documents"], 2);
    let one = service.get("/v1/indexes/notes").json();
    assert_eq!(one["definition"]["name"], "notes");
    assert_eq!(one["stats"]["documents"], 2);

    assert_eq!(service.delete("/v1/indexes/notes").status, 204);
    let gone = service.get("/v1/indexes/notes");
    assert_eq!(
        (gone.status, gone.code().as_str()),
        (404, "index_not_found")
    );
    // The name is free again.
    service.with_notes();
}

#[test]
fn the_life_of_a_document() {
    let service = Service::new().with_notes();
    let path = "/v1/indexes/notes/documents/c";
    let note = json!({"title": "late train", "vector": [0.0, 0.0, 1.0]});
    let put = service.put(&format!("{path}?refresh=wait"), &note);
    assert_eq!(put.status, 201);
    assert_eq!(
        put.json(),
        json!({"id": "c", "status": "created", "version": 3})
    );
    let get = service.get(path);
    assert_eq!(
        get.json(),
        json!({"id": "c", "version": 3, "document": {"id": "c", "title": "late train"}})
    );

    let note = json!({"id": "c", "title": "early train", "vector": [0.0, 0.0, 1.0]});
    let put = service.put(&format!("{path}?refresh=wait"), &note);
    assert_eq!(put.status, 200);
    assert_eq!(
        put.json(),
        json!({"id": "c", "status": "updated", "version": 4})
    );
    assert_eq!(hits(&service.search(json!({"query": "early"}))), ["c"]);
    assert!(hits(&service.search(json!({"query": "late"}))).is_empty());

    assert_eq!(service.delete(&format!("{path}?refresh=wait")).status, 204);
    assert!(hits(&service.search(json!({"query": "early"}))).is_empty());
    for again in [service.delete(path), service.get(path)] {
        assert_eq!(
            (again.status, again.code().as_str()),
            (404, "document_not_found")
        );
    }
}

#[test]
fn ids_are_percent_encoded_in_addresses() {
    let service = Service::new().with_notes();
    for (encoded, id) in [
        ("a%2Fb", "a/b"),
        ("%C3%A9t%C3%A9%20%3F", "été ?"),
        ("%25", "%"),
    ] {
        let path = format!("/v1/indexes/notes/documents/{encoded}");
        let put = service.put(&path, &json!({"vector": [1, 2, 3]}));
        assert_eq!((put.status, &put.json()["id"]), (201, &json!(id)));
        assert_eq!(service.get(&path).json()["document"]["id"], id);
    }
    // A number in the body is the id that its digits spell.
    let put = service.put(
        "/v1/indexes/notes/documents/7",
        &json!({"id": 7, "vector": [1, 2, 3]}),
    );
    assert_eq!(put.status, 201);
}

#[test]
fn a_document_is_visible_after_waiting_for_it() {
    let service = Service::new().with_notes();
    let add = |id: &str, refresh: &str| {
        let answer = service.lines(
            &format!("/v1/indexes/notes/documents{refresh}"),
            format!("{{\"id\": \"{id}\", \"title\": \"ferry {id}\", \"vector\": [1, 1, 1]}}\n")
                .as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    let ferries = || hits(&service.search(json!({"query": "ferry"})));
    add("c", "");
    add("d", "?refresh=false");
    assert!(ferries().is_empty());
    // Not visible yet, and there.
    assert_eq!(service.get("/v1/indexes/notes/documents/c").status, 200);
    add("e", "?refresh=wait");
    assert_eq!(ferries().len(), 3);
    add("f", "");
    let refreshed = service.send("POST", "/v1/indexes/notes/refresh", &[], b"");
    assert_eq!(refreshed.status, 200);
    assert!(refreshed.json()["visible_seq"].as_u64().unwrap() > 0);
    assert_eq!(ferries().len(), 4);
}

#[test]
fn one_bad_document_does_not_stop_the_others() {
    let service = Service::new().with_notes();
    let mut body = Vec::new();
    body.extend_from_slice(b"{\"id\": \"c\", \"title\": \"good\", \"vector\": [1, 0, 0]}\n");
    body.extend_from_slice(b"{\"id\": \"d\", \"title\": \"\xff\xfe\", \"vector\": [1, 0, 0]}\n");
    body.extend_from_slice(b"\n{\"id\": \"e\", \"title\": \n");
    body.extend_from_slice(b"{\"id\": \"f\", \"title\": 3, \"vector\": [1, 0, 0]}\r\n");
    body.extend_from_slice(b"{\"id\": \"g\", \"titel\": \"x\", \"vector\": [1, 0, 0]}\n");
    body.extend_from_slice(b"{\"id\": \"h\", \"vector\": [1, 0]}\n");
    body.extend_from_slice(b"[1, 2]\n");
    body.extend_from_slice(b"{\"title\": \"without an id\", \"vector\": [1, 0, 0]}\n");
    body.extend_from_slice(b"{\"id\": \"a\", \"title\": \"good too\", \"vector\": [1, 0, 0]}");
    let answer = service.lines("/v1/indexes/notes/documents?refresh=wait", &body);
    assert_eq!(answer.status, 207);
    let answer = answer.json();
    assert_eq!(
        (&answer["written"], &answer["rejected"]),
        (&json!(2), &json!(7))
    );
    let row = |n: usize| {
        let item = &answer["items"][n];
        (
            item["id"].as_str(),
            item["status"].as_str().unwrap(),
            item["error"]["code"].as_str(),
            item["error"]["field"].as_str(),
        )
    };
    assert_eq!(row(0), (Some("c"), "created", None, None));
    assert_eq!(row(1), (None, "rejected", Some("invalid_document"), None));
    assert_eq!(
        answer["items"][1]["error"]["found"],
        "byte 0xff at offset 22"
    );
    assert_eq!(row(2), (None, "rejected", Some("invalid_document"), None));
    assert_eq!(
        row(3),
        (
            Some("f"),
            "rejected",
            Some("invalid_document"),
            Some("title")
        )
    );
    assert_eq!(
        row(4),
        (
            Some("g"),
            "rejected",
            Some("invalid_document"),
            Some("titel")
        )
    );
    assert_eq!(
        row(5),
        (
            Some("h"),
            "rejected",
            Some("invalid_vector"),
            Some("vector")
        )
    );
    assert_eq!(row(6).2, Some("invalid_document"));
    assert_eq!(
        row(7),
        (None, "rejected", Some("invalid_document"), Some("id"))
    );
    assert_eq!(row(8), (Some("a"), "updated", None, None));
    assert_eq!(answer["items"].as_array().unwrap().len(), 9);
    assert_eq!(hits(&service.search(json!({"query": "good"}))).len(), 2);
}

#[test]
fn many_documents_are_written_in_steps() {
    let service = Service::new().with_notes();
    let documents: Vec<Value> = (0..700)
        .map(|n| json!({"id": n, "title": format!("bulk {n}"), "vector": [n, 1, 0]}))
        .collect();
    let answer = service.post(
        "/v1/indexes/notes/documents?refresh=wait",
        &json!(documents),
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["written"], 700);
    assert_eq!(
        answer.json()["items"][699],
        json!({"id": "699", "status": "created", "version": 702})
    );
    let found = service
        .search(json!({"query": "bulk", "mode": "lexical"}))
        .json();
    assert_eq!(found["total"]["value"], 700);
    let nothing = service.post("/v1/indexes/notes/documents", &json!([]));
    assert_eq!(
        (nothing.status, &nothing.json()["items"]),
        (200, &json!([]))
    );
}

#[test]
fn several_searches_at_once() {
    let service = Service::new().with_notes();
    let answer = service.search(json!({"queries": [
        {"query": "night"},
        {"query": "slow"},
        {"query": "slow", "k": 0},
        {"query": "train", "filter": "stars >< 3"},
        {"vector": [0.0, 1.0, 0.0], "k": 1},
    ]}));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let results = answer.json()["results"].clone();
    let id = |n: usize| results[n]["hits"][0]["id"].as_str();
    assert_eq!((id(0), id(1), id(4)), (Some("a"), Some("b"), Some("b")));
    assert_eq!(results[2]["error"]["code"], "invalid_request");
    assert_eq!(results[2]["error"]["field"], "k");
    assert_eq!(results[3]["error"]["code"], "invalid_filter");
    assert_eq!(results.as_array().unwrap().len(), 5);
}

/// Method, path, body, status, code, field.
type Line = (
    &'static str,
    &'static str,
    String,
    u16,
    &'static str,
    Option<&'static str>,
);

#[rustfmt::skip] // a table, one mistake a line
fn mistakes() -> Vec<Line> {
    const SEARCH: &str = "/v1/indexes/notes/search";
    const BULK: &str = "/v1/indexes/notes/documents";
    const A: &str = "/v1/indexes/notes/documents/a";
    let search = |body: Value, code, field| -> Line {
        ("POST", SEARCH, body.to_string(), 400, code, Some(field))
    };
    let text = |text: &str| text.to_string();
    vec![
        // Searches: wrong types, unknown fields, out of range.
        search(json!({"query": 3}), "invalid_request", "query"),
        search(json!({"query": "a", "k": "ten"}), "invalid_request", "k"),
        search(json!({"query": "a", "k": -1}), "invalid_request", "k"),
        search(json!({"query": "a", "k": 1.5}), "invalid_request", "k"),
        search(json!({"query": "a", "k": 0}), "invalid_request", "k"),
        search(json!({"query": "a", "k": 1_000_000_000}), "limit_exceeded", "k"),
        search(json!({"query": "a", "offset": 1_000_000_000}), "limit_exceeded", "offset"),
        search(json!({"qery": "a"}), "invalid_request", "qery"),
        search(json!({"query": "a", "fusion": {"lexicl": 1}}), "invalid_request", "fusion.lexicl"),
        search(json!({"query": "a", "mode": "fuzzy"}), "invalid_request", "mode"),
        search(json!({"query": "  "}), "invalid_query", "query"),
        search(json!({}), "invalid_request", "query"),
        search(json!({"query": "a", "filter": "stars >< 3"}), "invalid_filter", "filter"),
        search(json!({"query": "a", "fields": ["nonsense"]}), "invalid_request", "fields"),
        search(json!({"vector": [1.0, 2.0]}), "invalid_vector", "vector"),
        search(json!({"vector": [1.0, "2"]}), "invalid_request", "vector[1]"),
        search(json!({"queries": [{"query": "a"}, {"kk": 1}]}), "invalid_request", "queries[1].kk"),
        search(json!({"queries": []}), "invalid_request", "queries"),
        search(json!({"queries": vec![json!({"query": "a"}); 65]}), "limit_exceeded", "queries"),
        ("POST", SEARCH, text("{\"query\": "), 400, "invalid_request", None),
        ("POST", SEARCH, text("[]"), 400, "invalid_request", None),
        ("POST", SEARCH, text(""), 400, "invalid_request", None),
        ("POST", "/v1/indexes/nobody/search", json!({"query": "a"}).to_string(), 404, "index_not_found", Some("index")),
        ("POST", "/v1/indexes/..%2Fnotes/search", json!({"query": "a"}).to_string(), 404, "index_not_found", Some("index")),
        ("POST", "/v1/indexes/%ff/search", json!({"query": "a"}).to_string(), 400, "invalid_request", Some("path")),
        // Documents.
        ("POST", BULK, text("[{\"id\": \"z\"}, "), 400, "invalid_request", None),
        ("POST", BULK, text("{\"id\": \"z\"}"), 400, "invalid_request", None),
        ("POST", "/v1/indexes/notes/documents?refresh=now", text("[]"), 400, "invalid_request", Some("refresh")),
        ("POST", "/v1/indexes/notes/documents?refesh=wait", text("[]"), 400, "invalid_request", Some("refesh")),
        ("POST", "/v1/indexes/nobody/documents", text("[]"), 404, "index_not_found", Some("index")),
        ("PUT", A, json!({"id": "z", "vector": [1, 0, 0]}).to_string(), 400, "invalid_document", Some("id")),
        ("PUT", A, json!({"title": 3, "vector": [1, 0, 0]}).to_string(), 400, "invalid_document", Some("title")),
        ("PUT", A, json!({"titel": "x", "vector": [1, 0, 0]}).to_string(), 400, "invalid_document", Some("titel")),
        ("PUT", A, json!({"title": "x"}).to_string(), 400, "invalid_document", Some("vector")),
        ("PUT", A, json!({"vector": [0, 0, 0]}).to_string(), 400, "invalid_vector", Some("vector")),
        ("PUT", A, json!({"title": "x".repeat(10_000_000), "vector": [1, 0, 0]}).to_string(), 413, "limit_exceeded", Some("title")),
        ("PUT", A, text("[]"), 400, "invalid_document", None),
        ("PUT", A, text("{"), 400, "invalid_request", None),
        // Indexes.
        ("POST", "/v1/indexes", json!({"name": "notes", "fields": {"t": {"type": "text"}}}).to_string(), 409, "index_exists", Some("name")),
        ("POST", "/v1/indexes", json!({"name": "No Good", "fields": {"t": {"type": "text"}}}).to_string(), 400, "invalid_definition", Some("name")),
        ("POST", "/v1/indexes", json!({"name": "x", "fields": {"t": {"type": "prose"}}}).to_string(), 400, "invalid_definition", Some("fields.t.type")),
        ("POST", "/v1/indexes", json!({"name": "x", "feilds": {}}).to_string(), 400, "invalid_definition", Some("feilds")),
        ("POST", "/v1/indexes", json!({"name": "x"}).to_string(), 400, "invalid_definition", Some("fields")),
        ("POST", "/v1/indexes", json!({"name": "x", "fields": {"t": {"type": "text"}}, "embedding": {"model": "no-such-model", "fields": ["t"]}}).to_string(), 404, "model_not_found", None),
        ("POST", "/v1/indexes", text("nonsense"), 400, "invalid_request", None),
        ("DELETE", "/v1/indexes/nobody", text(""), 404, "index_not_found", Some("index")),
        ("POST", "/v1/indexes/nobody/refresh", text(""), 404, "index_not_found", Some("index")),
        // Addresses and methods.
        ("GET", "/v2/indexes", text(""), 404, "route_not_found", Some("path")),
        ("GET", "/nothing", text(""), 404, "route_not_found", Some("path")),
        ("POST", "/v1/indexes/notes/nonsense", text("{}"), 404, "route_not_found", Some("path")),
        ("PATCH", "/v1/indexes/notes", text("{}"), 405, "method_not_allowed", Some("method")),
        ("GET", SEARCH, text(""), 405, "method_not_allowed", Some("method")),
        ("DELETE", "/health", text(""), 405, "method_not_allowed", Some("method")),
    ]
}

#[test]
fn every_mistake_is_told_and_changes_nothing() {
    let service = Service::new().with_notes();
    let state = || {
        let mut found = service
            .search(json!({"query": "train", "explain": true}))
            .json();
        found.as_object_mut().unwrap().remove("timings");
        let stats = service.get("/v1/indexes").json();
        (
            found,
            stats,
            service.get("/v1/indexes/notes/documents/a").json(),
        )
    };
    let before = state();
    assert_eq!(before.0["hits"].as_array().unwrap().len(), 2);
    for (method, path, body, status, code, field) in mistakes() {
        let headers: &[(&str, &str)] = match body.is_empty() && path != "/v1/indexes/notes/search" {
            true => &[],
            false => &[("content-type", "application/json")],
        };
        let answer = service.send(method, path, headers, body.as_bytes());
        let shown = format!(
            "{method} {path} {}\n-> {} {}",
            body.chars().take(200).collect::<String>(),
            answer.status,
            answer.json()
        );
        assert_eq!(answer.status, status, "{shown}");
        assert_eq!(answer.code(), code, "{shown}");
        if let Some(field) = field {
            let error = answer.json()["error"].clone();
            assert_eq!(error["field"], field, "{shown}");
            assert!(
                error["found"].is_string() || error["expected"].is_string(),
                "{shown}"
            );
        }
        if status == 405 {
            assert!(
                answer.header("allow").is_some_and(|a| !a.is_empty()),
                "{shown}"
            );
        }
        assert_eq!(state(), before, "{shown}");
    }
}

#[test]
fn bodies_are_held_to_their_type() {
    let service = Service::new().with_notes();
    let body = br#"{"query": "train"}"#;
    let none = service.send("POST", "/v1/indexes/notes/search", &[], body);
    let text = [("content-type", "text/plain")];
    let wrong = service.send("POST", "/v1/indexes/notes/search", &text, body);
    for answer in [none, wrong, service.lines("/v1/indexes/notes/search", body)] {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (415, "invalid_request")
        );
        assert_eq!(answer.json()["error"]["field"], "content-type");
    }
}

#[test]
fn bodies_are_held_to_their_size() {
    let service = Service::with(|config| {
        config.limits.body_bytes = 100_000;
        config.limits.bulk_documents = 10;
    })
    .with_notes();
    let large = json!([{"id": "c", "title": "x".repeat(150_000), "vector": [1, 0, 0]}]);
    let answer = service.post("/v1/indexes/notes/documents", &large);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "limit_exceeded")
    );
    assert_eq!(answer.json()["error"]["field"], "body");

    // The same without a length that would give it away.
    let head = "POST /v1/indexes/notes/documents HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut said = head.as_bytes().to_vec();
    for _ in 0..15 {
        said.extend_from_slice(b"2710\r\n");
        said.resize(said.len() + 10_000, b' ');
        said.extend_from_slice(b"\r\n");
    }
    said.extend_from_slice(b"0\r\n\r\n");
    let heard = service.raw(&said);
    assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
    assert!(heard.contains("limit_exceeded"), "{heard}");

    // A chunked body within the limit is read like any other.
    let heard = service.raw(format!("{head}2\r\n[]\r\n0\r\n\r\n").as_bytes());
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");

    let many = vec![json!({"id": "c", "vector": [1, 0, 0]}); 11];
    let answer = service.post("/v1/indexes/notes/documents", &json!(many));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "limit_exceeded")
    );
    assert_eq!(service.get("/v1/indexes/notes/documents/c").status, 404);
}

#[test]
fn what_is_announced_and_not_sent_keeps_nobody_out() {
    let service = Service::with(|config| {
        config.limits.body_bytes = 1 << 20;
        config.server.timeout_ms = 5_000;
    })
    .with_notes();
    let head = "POST /v1/indexes/notes/documents HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ncontent-length: 1048576\r\n\r\n[";
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut socket = TcpStream::connect(service.address).unwrap();
            socket.write_all(head.as_bytes()).unwrap();
            socket
        })
        .collect();
    // Their heads are read in their own time; a search asked too early proves nothing.
    std::thread::sleep(Duration::from_millis(300));
    let answer = service.search(json!({"query": "train", "mode": "lexical"}));
    assert_eq!(answer.status, 200, "{}", answer.json());
    // Nor does it keep others from sending what is large.
    let title = "x ".repeat(100_000);
    let large = json!([{"id": "c", "title": title, "vector": [1, 0, 0]}]);
    let answer = service.post("/v1/indexes/notes/documents", &large);
    assert_eq!(answer.status, 200, "{}", answer.json());
    drop(silent);
}

#[test]
fn folders_are_not_told_to_callers() {
    let secret = tempfile::tempdir().unwrap();
    let folder = secret.path().to_path_buf();
    let service = Service::with(|config| config.models.folders = vec![folder]);
    let definition = json!({
        "name": "x",
        "fields": {"t": {"type": "text"}},
        "embedding": {"model": "no-such-model", "fields": ["t"]},
    });
    let answer = service.post("/v1/indexes", &definition);
    assert_eq!(answer.code(), "model_not_found");
    let said = String::from_utf8(answer.body).unwrap();
    assert!(!said.contains(secret.path().to_str().unwrap()), "{said}");
}

#[test]
fn requests_carry_an_id() {
    let service = Service::new();
    let mine = [("x-request-id", "mine-7")];
    let answer = service.send("GET", "/health", &mine, b"");
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
    let answer = service.send("GET", "/nowhere", &mine, b"");
    assert_eq!(answer.json()["request_id"], "mine-7");
    let fresh = |_| {
        service
            .get("/health")
            .header("x-request-id")
            .unwrap()
            .to_string()
    };
    let ids: BTreeSet<String> = (0..5).map(fresh).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn large_answers_are_compressed_when_asked_for() {
    let service = Service::new().with_notes();
    let documents: Vec<Value> = (0..20)
        .map(|n| json!({"id": n, "title": format!("compress {}", "x".repeat(200)), "vector": [1, n, 0]}))
        .collect();
    service.post(
        "/v1/indexes/notes/documents?refresh=wait",
        &json!(documents),
    );
    let ask = |query: &str, encoding: &str| {
        service.send(
            "POST",
            "/v1/indexes/notes/search",
            &[
                ("content-type", "application/json"),
                ("accept-encoding", encoding),
            ],
            json!({"query": query, "mode": "lexical"})
                .to_string()
                .as_bytes(),
        )
    };
    let large = ask("compress", "gzip");
    assert_eq!(large.header("content-encoding"), Some("gzip"));
    assert_eq!(large.body[..2], [0x1f, 0x8b]);
    assert_eq!(ask("nothing", "gzip").header("content-encoding"), None);
    assert_eq!(ask("compress", "identity").header("content-encoding"), None);
}

#[test]
fn a_full_server_says_so_and_goes_on() {
    let service = Service::with(|config| {
        config.server.concurrency = Some(1);
        config.server.queue = 0;
    })
    .with_notes();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = service.search(json!({"query": "train"}));
                    if answer.status == 503 {
                        assert_eq!(answer.code(), "overloaded");
                        assert_eq!(answer.header("retry-after"), Some("1"));
                    } else {
                        assert_eq!(hits(&answer).len(), 2);
                    }
                }
            });
        }
    });
    assert_eq!(hits(&service.search(json!({"query": "train"}))).len(), 2);
}

#[test]
fn a_request_that_takes_too_long_is_ended() {
    // Only what is to time out has so little time.
    let service = Service::new().with_notes();
    let service = service.restart(|config| config.server.timeout_ms = 200);
    // Promises a hundred bytes and sends two.
    let heard = service.raw(
        b"POST /v1/indexes/notes/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          content-length: 100\r\n\r\n{\"",
    );
    assert!(heard.starts_with("HTTP/1.1 504"), "{heard}");
    assert!(heard.contains("\"timeout\""), "{heard}");
    let service = service.restart(|_| {});
    assert_eq!(hits(&service.search(json!({"query": "train"}))).len(), 2);
}

#[test]
fn what_is_no_http_harms_nobody() {
    let service = Service::new().with_notes();
    for said in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/indexes/notes/search HTTP/1.1\r\ncontent-length: nine\r\n\r\n",
        b"POST /v1/indexes/notes/search HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{",
        b"",
    ] {
        let mut socket = TcpStream::connect(service.address).unwrap();
        // The server may have hung up already.
        let _ = socket.write_all(said);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
    }
    assert_eq!(hits(&service.search(json!({"query": "train"}))).len(), 2);
}

#[test]
fn stopping_loses_nothing() {
    let service = Service::new().with_notes();
    let put = service.put(
        "/v1/indexes/notes/documents/c",
        &json!({"title": "last train", "vector": [1, 1, 0]}),
    );
    assert_eq!(put.status, 201);
    // An open connection that says nothing does not hold the server up.
    let _quiet = TcpStream::connect(service.address).unwrap();
    let started = Instant::now();
    let service = service.restart(|_| {});
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(
        hits(&service.search(json!({"query": "train", "mode": "lexical"}))).len(),
        3
    );
}

#[test]
fn not_ready_says_why() {
    let service = Service::with(|config| {
        let broken = config.data.folder.join("indexes/broken");
        std::fs::create_dir_all(&broken).unwrap();
        std::fs::write(broken.join("store"), "not a store").unwrap();
    });
    until(Duration::from_secs(10), || {
        let ready = service.get("/ready");
        assert_eq!(ready.status, 503);
        let reasons = ready.json()["reasons"].to_string();
        let told = reasons.contains("broken");
        assert!(!reasons.contains("/indexes/"), "{reasons}");
        told
    });
    // One broken index does not take the others down with it.
    let service = service.with_notes();
    assert_eq!(hits(&service.search(json!({"query": "train"}))).len(), 2);
    let entry = service.get("/v1/indexes").json()["indexes"][0].clone();
    assert_eq!(entry, json!({"name": "broken"}));
    let answer = service.get("/v1/indexes/broken");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (500, "operator_error")
    );
    assert!(!answer.json().to_string().contains("/indexes/"));
}

#[test]
fn texts_are_encoded_by_the_indexs_model() {
    let models = tempfile::tempdir().unwrap();
    let tiny = models.path().join("tiny");
    TinyModel::default().write(&tiny);
    let look_there = |config: &mut Config| config.models.folders = vec![models.path().into()];
    let service = Service::with(look_there);
    let made = service.post(
        "/v1/indexes",
        &json!({
            "name": "notes",
            "fields": {"title": {"type": "text"}},
            "embedding": {"model": "tiny", "fields": ["title"]},
        }),
    );
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.json()["definition"]["embedding"]["model"], "tiny");
    let documents: Vec<Value> = (0..80)
        .map(|n| json!({"id": n, "title": format!("light {n} {}", "on the sea ".repeat(n % 9))}))
        .collect();
    let written = service.post(
        "/v1/indexes/notes/documents?refresh=wait",
        &json!(documents),
    );
    assert_eq!(written.status, 200, "{}", written.json());
    assert_eq!(
        service.get("/v1/indexes/notes").json()["stats"]["passages"],
        80
    );
    let dense = service.search(json!({"query": "light 7", "mode": "dense", "k": 80}));
    assert_eq!(hits(&dense).len(), 80);

    // Started anew, it is ready once the model has run.
    let service = service.restart(look_there);
    until(Duration::from_secs(30), || {
        service.get("/ready").status == 200
    });
    let again = service.search(json!({"query": "light 7", "mode": "dense", "k": 80}));
    assert_eq!(hits(&again), hits(&dense));

    // Without its model it is not ready and says why; words still answer.
    std::fs::remove_dir_all(&tiny).unwrap();
    let service = service.restart(look_there);
    until(Duration::from_secs(10), || {
        service.get("/ready").json()["reasons"][0]
            .as_str()
            .is_some_and(|reason| reason.starts_with("index \"notes\""))
    });
    let words = service.search(json!({"query": "light"}));
    assert_eq!(words.json()["degraded"][0]["lost"], "dense");
    assert_eq!(hits(&words).len(), 10);
    let dense = service.search(json!({"query": "light", "mode": "dense"}));
    assert_eq!(dense.code(), "model_not_found");
    let bulk = service.post(
        "/v1/indexes/notes/documents",
        &json!([{"id": "new", "title": "x"}]),
    );
    assert_eq!(bulk.code(), "model_not_found");
}

fn refused(listen: &str) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config_in(folder.path());
    config.server.listen = listen.into();
    let catalog = Arc::new(Catalog::new(&config).unwrap());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(Server::bind(&config, catalog))
        .err()
        .unwrap()
}

#[test]
fn where_it_does_not_listen() {
    let error = refused("0.0.0.0:0");
    assert!(matches!(error, Error::Operator(_)));
    assert!(error.to_string().contains("gleaner keys create"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = refused(&address.to_string()).to_string();
    assert!(
        error.contains(&format!("port {} is taken", address.port())),
        "{error}"
    );
    let error = refused("nonsense");
    assert_eq!(error.problem().unwrap().code, Code::InvalidConfiguration);
}

#[test]
fn the_documentation_names_every_code_and_route() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rest.md");
    let page = std::fs::read_to_string(path).unwrap();
    let schema = serde_json::to_value(schemars::schema_for!(Code)).unwrap();
    let mut codes: Vec<String> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code["const"].as_str().unwrap().to_string())
        .collect();
    codes.extend(["operator_error".into(), "internal".into()]);
    assert!(codes.len() > 15);
    for code in codes {
        assert!(
            page.contains(&format!("| `{code}` |")),
            "docs/rest.md lacks {code}"
        );
    }
    for route in [
        "GET /health",
        "GET /ready",
        "GET /v1/indexes",
        "POST /v1/indexes",
        "GET /v1/indexes/{name}",
        "DELETE /v1/indexes/{name}",
        "POST /v1/indexes/{name}/refresh",
        "POST /v1/indexes/{name}/documents",
        "PUT /v1/indexes/{name}/documents/{id}",
        "GET /v1/indexes/{name}/documents/{id}",
        "DELETE /v1/indexes/{name}/documents/{id}",
        "POST /v1/indexes/{name}/search",
    ] {
        assert!(
            page.contains(&format!("`{route}`")),
            "docs/rest.md lacks {route}"
        );
    }
}
