//! Promise: every list is answered a page at a time, in the same way.

use serde_json::{Value, json};

use crate::support::service::Service;

/// All pages of a list, each with so many entries.
fn pages(
    service: &Service,
    path: &str,
    entries: &str,
    name: &str,
    limit: usize,
) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let answer = service.get(&format!("{path}?limit={limit}{after}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        let answer = answer.json();
        let page = answer[entries].as_array().unwrap().iter();
        let page = page.map(|entry| entry[name].as_str().unwrap().to_string());
        pages.push(page.collect());
        match answer["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return pages,
        }
    }
}

#[test]
fn pages_of_indexes_go_on_where_one_is_gone() {
    let service = Service::new();
    for name in ["a", "b", "c", "d", "e"] {
        let index = json!({"name": name, "fields": {"title": {"type": "text"}}});
        assert_eq!(service.post("/v1/indexes", &index).status, 201);
    }
    let found = pages(&service, "/v1/indexes", "indexes", "name", 2);
    assert_eq!(found, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    assert_eq!(
        pages(&service, "/v1/indexes", "indexes", "name", 5).len(),
        1
    );
    assert_eq!(service.get("/v1/indexes").json()["next"], Value::Null);
    assert_eq!(service.delete("/v1/indexes/b").status, 204);
    let rest = service.get("/v1/indexes?after=b").json();
    assert_eq!(rest["indexes"].as_array().unwrap().len(), 3);
}

#[test]
fn pages_of_snapshots_and_tasks_are_those_of_the_list() {
    let service = Service::new().with_notes();
    for _ in 0..3 {
        let taken = service.send("POST", "/v1/indexes/notes/snapshots", &[], b"");
        assert!(taken.status < 300, "{}", taken.json());
    }
    for (path, entries) in [
        ("/v1/indexes/notes/snapshots", "snapshots"),
        ("/v1/tasks", "tasks"),
    ] {
        let one_by_one = pages(&service, path, entries, "id", 1);
        let whole = pages(&service, path, entries, "id", 1_000);
        assert_eq!(one_by_one.concat(), whole[0], "{path}");
        assert_eq!(one_by_one.len(), 3, "{path}");
        let gone = service.get(&format!("{path}?after=nothing"));
        assert_eq!((gone.status, gone.code()), (400, "invalid_request".into()));
    }
}

/// The description says which lists there are.
#[test]
fn every_list_refuses_the_same_parameters() {
    let service = Service::new().with_notes();
    let document = service.get("/openapi.json").json();
    let mut lists = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array();
        let mut names = parameters.into_iter().flatten().map(|p| p["name"].as_str());
        if !names.any(|name| name == Some("after")) {
            continue;
        }
        lists += 1;
        let path = path.replace("{name}", "notes");
        for wrong in ["limit=0", "limit=1001", "limit=x", "page=2"] {
            let answer = service.get(&format!("{path}?{wrong}"));
            assert_eq!(answer.status, 400, "{path} {wrong}");
            assert_eq!(answer.code(), "invalid_request", "{path} {wrong}");
        }
    }
    assert_eq!(lists, 8);
}
