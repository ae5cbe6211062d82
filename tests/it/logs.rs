//! Promise: what the server logs of a request can be found by its id, on whichever thread it is
//! done; slow searches are explained where that is asked for; and what people look for is logged
//! nowhere else.

use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::program::Program;
use crate::support::tiny_model::TinyModel;
use crate::support::world::DEFINITION;

const SECRET: &str = "whatsomebodylookedfor";

/// A server with an index of three notes, of which two are near.
fn notes(set: &[(&str, &str)]) -> (Place, Program) {
    let place = Place::new();
    place.write("notes.toml", DEFINITION);
    place.ok(&["index", "create", "notes.toml"]);
    let program = Program::start(&place, set).ready();
    let notes = json!([
        {"id": "a", "title": "night train", "section": "near", "vector": [1.0, 0.0, 0.0]},
        {"id": "b", "title": "slow train", "section": "near", "vector": [0.0, 1.0, 0.0]},
        {"id": "c", "title": "ferry", "section": "far", "vector": [0.0, 0.0, 1.0]},
    ]);
    let path = "/v1/indexes/notes/documents?refresh=wait";
    let (status, answer) = program.ask("POST", path, &[], &notes);
    assert_eq!(status, 200, "{answer}");
    (place, program)
}

fn search(program: &Program, id: &str, body: &Value) -> (u16, String) {
    let path = "/v1/indexes/notes/search";
    program.ask("POST", path, &[("x-request-id", id)], body)
}

#[test]
fn a_line_says_what_came_of_a_request() {
    let (_place, program) = notes(&[("GLEANER__LOG__FILTER", "gleaner=debug")]);
    let body = json!({"query": "train", "mode": "lexical"});
    let (status, answer) = search(&program, "first-1", &body);
    assert_eq!(status, 200, "{answer}");
    // How often it was asked whether it is ready depends on how long that took.
    let answered = |id: &str| {
        let said = (2..50).map(|count| program.until_said("answered", count));
        let mut lines = said.filter_map(|said| {
            let mut lines = said.into_iter();
            lines.find(|line| line["fields"]["id"] == id)
        });
        lines.next().unwrap_or_else(|| panic!("no line of {id}"))
    };
    let line = answered("first-1");
    let fields = &line["fields"];
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(fields["method"], "POST");
    assert_eq!(fields["route"], "/v1/indexes/{name}/search");
    assert_eq!(fields["path"], "/v1/indexes/notes/search");
    assert_eq!(fields["index"], "notes");
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["bytes"], answer.len());
    assert!(fields["took_ms"].as_f64().unwrap() > 0.0);

    // What is compressed is as long as what is sent; it is logged at its end.
    let accepts = [("accept-encoding", "gzip"), ("x-request-id", "packed-1")];
    let (status, _) = program.ask("GET", "/v1/indexes/notes", &accepts, &Value::Null);
    assert_eq!(status, 200);
    let (_, plain) = program.ask("GET", "/v1/indexes/notes", &[], &Value::Null);
    let bytes = answered("packed-1")["fields"]["bytes"].as_u64().unwrap();
    assert!(bytes > 100 && bytes < plain.len() as u64, "{bytes}");

    // An address that is none has neither route nor index.
    let (status, answer) = program.ask("GET", "/v1/nowhere/notes", &[], &Value::Null);
    assert_eq!(status, 404);
    let line = &program.until_said("refused", 1)[0]["fields"];
    assert_eq!(
        (&line["code"], &line["status"]),
        (&json!("route_not_found"), &json!(404))
    );
    assert_eq!(line["bytes"], answer.len());
    assert!(
        line.get("route").is_none() && line.get("index").is_none(),
        "{line}"
    );
}

#[test]
fn what_a_search_does_elsewhere_has_its_id() {
    let place = Place::with_model("vectors");
    place.write(
        "articles.toml",
        "name = \"notes\"\n[fields.title]\ntype = \"text\"\n[embedding]\nmodel = \"vectors\"\nfields = [\"title\"]\n",
    );
    place.ok(&["index", "create", "articles.toml"]);
    // The encoder is gone: a thread that does the work of requests finds out.
    std::fs::remove_dir_all(place.path("models/vectors")).unwrap();
    let program = Program::start(&place, &[]);
    let (status, answer) = search(&program, "elsewhere-1", &json!({"query": "river"}));
    assert_eq!(status, 200, "{answer}");
    let line = &program.until_said("answering without the vectors", 1)[0];
    assert_eq!(
        line["span"],
        json!({"id": "elsewhere-1", "name": "request"}),
        "{line}"
    );
    // Whatever level is asked for.
    drop(program);
    let program = Program::start(
        &place,
        &[("GLEANER__LOG__FILTER", "warn,gleaner::cli=info")],
    );
    assert_eq!(
        search(&program, "elsewhere-2", &json!({"query": "river"})).0,
        200
    );
    let line = &program.until_said("answering without the vectors", 1)[0];
    assert_eq!(line["span"]["id"], "elsewhere-2", "{line}");
}

#[test]
fn slow_searches_are_explained() {
    let (_place, program) = notes(&[("GLEANER__LOG__SLOW_MS", "0")]);
    let body = json!({"query": "train", "vector": [1.0, 0.0, 0.0], "filter": "section = \"near\"", "k": 5});
    assert_eq!(search(&program, "slow-1", &body).0, 200);
    let line = program.until_said("slow search", 1).remove(0);
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["span"]["id"], "slow-1", "{line}");
    let fields = line["fields"].as_object().unwrap();
    assert_eq!(fields["index"], "notes");
    assert_eq!(fields["mode"], "hybrid");
    assert_eq!(fields["hits"], 2);
    assert_eq!(
        (&fields["documents"], &fields["allowed"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(
        (&fields["strategy"], &fields["compared"]),
        (&json!("scan"), &json!(2))
    );
    assert_eq!(
        (&fields["by_words"], &fields["by_vectors"]),
        (&json!(2), &json!(2))
    );
    assert!(
        fields["short"].as_str().unwrap().contains("filter"),
        "{line}"
    );
    for stage in [
        "filter_ms",
        "words_ms",
        "vectors_ms",
        "fusion_ms",
        "fetch_ms",
        "took_ms",
    ] {
        assert!(fields[stage].as_f64().unwrap() > 0.0, "{stage}: {line}");
    }
    let request: Value = serde_json::from_str(fields["request"].as_str().unwrap()).unwrap();
    assert_eq!(request["query"], "train");
    assert!(
        !fields.contains_key("degraded") && !fields.contains_key("reranked"),
        "{line}"
    );

    // Each of a batch; one that fails says with which code.
    let batch = json!({"queries": [{"query": "ferry", "mode": "lexical"}, {"query": "x", "filter": "y = 1"}]});
    assert_eq!(search(&program, "slow-2", &batch).0, 200);
    let said = program.until_said("slow search", 2);
    assert_eq!(said[1]["span"]["id"], "slow-2");
    let failed = program.until_said("slow search, and it failed", 1);
    assert_eq!(failed[0]["fields"]["code"], "invalid_filter");
}

#[test]
fn slow_searches_are_logged_as_far_as_is_allowed() {
    let settings = |bytes| {
        [
            ("GLEANER__LOG__SLOW_MS", "0"),
            ("GLEANER__LOG__SLOW_REQUEST_BYTES", bytes),
        ]
    };
    let body = json!({"query": SECRET, "mode": "lexical"});
    let (_place, program) = notes(&settings("14"));
    assert_eq!(search(&program, "cut-1", &body).0, 200);
    let line = program.until_said("slow search", 1).remove(0);
    assert_eq!(line["fields"]["request"], "{\"query\":\"what…");
    let (_place, program) = notes(&settings("0"));
    assert_eq!(search(&program, "none-1", &body).0, 200);
    let wrong = json!({"query": SECRET, "filter": format!("{SECRET} = 1")});
    assert_eq!(search(&program, "none-2", &wrong).0, 400);
    program.until_said("slow search, and it failed", 1);
    assert!(
        program.said("slow search")[0]["fields"]
            .get("request")
            .is_none()
    );
    assert!(!program.log().contains(SECRET), "{}", program.log());
}

#[test]
fn what_people_look_for_is_not_logged() {
    let (place, program) = notes(&[]);
    TinyModel::default().write(&place.path("models/vectors"));
    for (status, body) in [
        (200, json!({"query": SECRET, "mode": "lexical"})),
        (400, json!({"query": SECRET, "mode": "hybrid"})),
        (
            400,
            json!({"query": format!("\"{SECRET}"), "mode": "lexical", "filter": format!("{SECRET} = 1")}),
        ),
        (400, json!({"query": SECRET, "k": SECRET})),
    ] {
        let (found, answer) = search(&program, "quiet-1", &body);
        assert_eq!(found, status, "{answer}");
    }
    let texts = json!({"model": "vectors", "input": SECRET});
    let (status, answer) = program.ask("POST", "/v1/embeddings", &[], &texts);
    assert_eq!(status, 200, "{answer}");
    let texts = json!({"model": "nowhere", "input": SECRET});
    assert_ne!(program.ask("POST", "/v1/embeddings", &[], &texts).0, 200);
    program.until_said("refused", 4);
    assert!(!program.log().contains(SECRET), "{}", program.log());
    assert!(program.said("slow search").is_empty());
}
