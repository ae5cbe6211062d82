//! Promise: what takes longer than a request goes on when its time is up, is answered with
//! 202 and the address of its task, and tells how it ended. And a definition is changed in
//! place where nothing has to be indexed anew, refused otherwise.

use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::Definition;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::service::{Answer, Service};
use crate::support::world::DEFINITION;

/// Asks until the task has ended; a server with little time may refuse now and then.
fn ended(service: &Service, address: &str) -> Value {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = service.get(address);
        if answer.status == 200 && answer.json()["state"] != "running" {
            return answer.json();
        }
        assert!(
            matches!(answer.status, 200 | 503 | 504),
            "{:?}",
            answer.json()
        );
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with_many_notes() -> Service {
    let service = Service::new().with_notes();
    let documents: Vec<Value> = (0..3000)
        .map(|i| json!({"id": i, "title": format!("train {i}"), "vector": [1, 2, i]}))
        .collect();
    let written = service.post("/v1/indexes/notes/documents", &json!(documents));
    assert_eq!(written.status, 200);
    service
}

#[test]
fn quick_ones_are_answered_as_ever() {
    let service = Service::new().with_notes();
    let compacted = service.send("POST", "/v1/indexes/notes/compact", &[], b"");
    assert_eq!(compacted.status, 200, "{}", compacted.json());
    assert_eq!(compacted.json()["compacted"], "notes");
    assert!(compacted.json()["bytes"].as_u64().unwrap() > 0);
    let tasks = service.get("/v1/tasks").json();
    assert_eq!(tasks["tasks"][0]["kind"], "compact");
    assert_eq!(tasks["tasks"][0]["state"], "done");
    assert_eq!(tasks["tasks"][0]["result"], compacted.json());
    for (path, code) in [
        ("/v1/indexes/nobody/compact", "index_not_found"),
        ("/v1/indexes/nobody/snapshots", "index_not_found"),
    ] {
        assert_eq!(service.send("POST", path, &[], b"").code(), code);
    }
    assert_eq!(
        service.get("/v1/tasks").json()["tasks"][0]["state"],
        "failed"
    );
    for body in [&b"{\"a\": 1}"[..], b"x", b"{", b"[]"] {
        let refused = service.send("POST", "/v1/indexes/notes/compact", &[], body);
        assert_eq!(refused.code(), "invalid_request");
    }
    assert_eq!(service.get("/v1/tasks/x").code(), "task_not_found");
}

#[test]
fn what_takes_longer_than_its_request_goes_on() {
    let service = with_many_notes().restart(|config| {
        config.storage.refresh_ms = 3_600_000;
        config.server.timeout_ms = 25;
    });
    // Opened before, so that the time goes into the work.
    let limit = Instant::now() + Duration::from_secs(60);
    while service.get("/v1/indexes/notes").status != 200 {
        assert!(Instant::now() < limit, "never opened");
    }
    let mut went_on = 0;
    // What it came to, whenever that was.
    let mut outcome = |answer: &Answer| -> Result<Value, String> {
        if answer.status != 202 {
            return match answer.status {
                200 | 201 => Ok(answer.json()),
                _ => Err(answer.code()),
            };
        }
        went_on += 1;
        let began = answer.json();
        let address = answer.header("location").unwrap();
        let id = began["id"].as_str().unwrap();
        assert_eq!(address, format!("/v1/tasks/{id}"));
        assert_eq!(began["index"], "notes");
        let task = ended(&service, address);
        assert_eq!(
            (&task["kind"], &task["started"]),
            (&began["kind"], &began["started"])
        );
        match task["state"].as_str().unwrap() {
            "done" => Ok(task["result"].clone()),
            _ => Err(task["error"]["code"].as_str().unwrap().to_string()),
        }
    };
    let post = |path: &str, body: Value| loop {
        let answer = service.post(&format!("/v1/indexes/notes{path}"), &body);
        if answer.status != 504 {
            return answer;
        }
    };
    let snapshot = outcome(&post("/snapshots", json!({}))).unwrap();
    assert_eq!(snapshot["documents"], 3002);
    let restore = format!("/snapshots/{}/restore", snapshot["id"].as_str().unwrap());
    let again = json!({"name": "again"});
    let restored = outcome(&post(&restore, again.clone())).unwrap();
    assert_eq!(restored, json!({"name": "again", "documents": 3002}));
    // An error is the same, whether the answer brings it or the task.
    let twice = outcome(&post(&restore, again)).unwrap_err();
    assert_eq!(twice, "index_exists");
    let compacted = outcome(&post("/compact", json!({}))).unwrap();
    assert_eq!(compacted["compacted"], "notes");
    assert!(went_on > 0, "nothing took longer than 20 ms");
}

fn definition() -> Value {
    serde_json::to_value(Definition::from_toml(DEFINITION).unwrap()).unwrap()
}

#[test]
fn a_definition_changes_in_place_where_it_can() {
    let service = Service::new();
    let path = "/v1/indexes/notes";
    assert_eq!(service.put(path, &definition()).status, 201);
    assert_eq!(service.put(path, &definition()).status, 200);
    let written = service.post(
        "/v1/indexes/notes/documents?refresh=wait",
        &json!([{"id": "a", "title": "night train", "vector": [1, 0, 0]},
                {"id": "b", "title": "slow ferry", "vector": [0, 1, 0]}]),
    );
    assert_eq!(written.status, 200);
    let hits = |service: &Service, query: &str| {
        let answer = service.search(json!({"query": query, "mode": "lexical"}));
        answer.json()["hits"].as_array().unwrap().len()
    };
    assert_eq!(hits(&service, "ship"), 0);
    let mut changed = definition();
    changed["description"] = json!("for people");
    changed["search"]["candidates"] = json!(7);
    changed["search"]["match"] = json!("all");
    changed["synonyms"] = json!({"groups": [["ship", "ferry"]]});
    changed["unknown_fields"] = json!("store");
    changed["fields"]["title"]["weight"] = json!(3.0);
    changed["fields"]["section"]["many"] = json!(true);
    let answer = service.put(path, &changed);
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["definition"]["search"]["candidates"], 7);
    assert_eq!(hits(&service, "ship"), 1);
    assert_eq!(hits(&service, "night ferry"), 0);
    let extra = json!({"extra": 1, "section": ["x", "y"], "vector": [0, 0, 1]});
    assert_eq!(
        service.put("/v1/indexes/notes/documents/c", &extra).status,
        201
    );
    // It lasts.
    let service = service.restart(|_| {});
    assert_eq!(hits(&service, "ship"), 1);
    let shown = service.get(path).json();
    assert_eq!(shown["definition"]["description"], "for people");

    // What is indexed does not change under its documents.
    let mut other = changed.clone();
    other["fields"]["title"]["analysis"]["language"] = json!("none");
    other["fields"]["section"]["many"] = json!(false);
    other["fields"]["year"] = json!({"type": "integer"});
    other["embedding"]["metric"] = json!("dot");
    other["search"]["candidates"] = json!(9);
    let refused = service.put(path, &other);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "reindex_needed")
    );
    let error = &refused.json()["error"];
    let message = error["message"].as_str().unwrap();
    for path in [
        "fields.title.analysis.language",
        "fields.section.many",
        "fields.year",
        "embedding.metric",
    ] {
        assert!(message.contains(path), "{path}: {message}");
    }
    assert!(!message.contains("candidates"), "{message}");
    let expected = error["expected"].as_str().unwrap();
    assert!(expected.contains("gleaner index reindex notes --into"));
    assert!(expected.contains("POST /v1/indexes/notes/reindex"));
    assert_eq!(service.get(path).json()["definition"], shown["definition"]);
    let mut named = changed.clone();
    named["name"] = json!("else");
    assert_eq!(service.put(path, &named).code(), "invalid_definition");
    // By an alias it is the index behind it.
    let alias = json!({"aliases": {"live": "notes"}});
    assert_eq!(service.post("/v1/aliases", &alias).status, 200);
    changed["search"]["candidates"] = json!(11);
    assert_eq!(service.put("/v1/indexes/live", &changed).status, 200);
    let removed = service.delete(path);
    assert_eq!(
        (removed.status, removed.code().as_str()),
        (409, "index_aliased")
    );
}

#[test]
fn from_the_command_line() {
    let place = Place::new();
    place.write("notes.toml", DEFINITION);
    place.ok(&["index", "create", "notes.toml"]);
    let said = place.ok(&["index", "create", "notes.toml"]);
    assert_eq!(said.out, "notes is of this definition already\n");
    place.write("notes.toml", format!("description = \"new\"\n{DEFINITION}"));
    let said = place.ok(&["index", "create", "notes.toml"]);
    assert_eq!(said.out, "changed the definition of notes\n");
    let shown = place.json(&["index", "show", "notes"]);
    assert_eq!(shown["definition"]["description"], "new");
    place.write(
        "other.toml",
        DEFINITION.replace("dimensions = 3", "dimensions = 4"),
    );
    let refused = place.refused(Code::ReindexNeeded, &["index", "create", "other.toml"]);
    assert!(refused.contains("embedding.dimensions"), "{refused}");
    assert!(refused.contains("gleaner index reindex notes"), "{refused}");

    // One that is broken hides no other.
    place.ok(&["index", "create", "notes.toml", "--name", "broken"]);
    std::fs::remove_file(place.path("data/indexes/broken/store/CURRENT")).unwrap();
    let list = place.json(&["index", "list"]);
    assert_eq!(list[0]["name"], "broken");
    assert!(list[0]["problem"].is_string(), "{list}");
    assert_eq!(list[1]["stats"]["documents"], 0);
    let list = place.ok(&["index", "list"]).out;
    assert!(list.contains("broken  cannot be opened: "), "{list}");
    assert!(list.contains("notes  0 documents"), "{list}");
}

#[test]
fn an_index_that_a_server_has_open_is_not_removed_beside_it() {
    use crate::support::binary::Place;
    let place = Place::new();
    place.write("notes.toml", crate::support::world::DEFINITION);
    place.ok(&["index", "create", "notes.toml"]);
    let catalog = gleaner::index::Catalog::new(&place.config()).unwrap();
    let notes = catalog.get("notes").unwrap();
    let said = place.run(&["index", "delete", "notes"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.err.contains("another process has it open"), "{said:?}");
    // What is written is still there afterwards.
    crate::support::world::put(&notes, vec![crate::support::world::note("a", "light", 3.0)]);
    drop((notes, catalog));
    place.look("notes", |notes| assert_eq!(notes.view().documents, 1));
    place.ok(&["index", "delete", "notes"]);
}

#[test]
fn one_server_at_a_time_works_on_a_data_folder() {
    use crate::support::service::Service;
    let first = Service::new();
    let folder = first.folder().join("data");
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&folder)
        .env_clear()
        .env("HOME", first.folder())
        .current_dir(first.folder())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        said.contains("another server works on the data folder"),
        "{said}"
    );
    assert_eq!(first.get("/health").status, 200);
}
