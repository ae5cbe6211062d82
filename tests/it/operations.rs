//! Promise: a write does what was asked for, to what was expected to be there, or nothing.

use gleaner::index::{Change, Changed, IfVersion};
use gleaner::store::Durability;
use serde_json::{Value, json};

use crate::support::service::Service;
use crate::support::world::{World, ids, note, put, words};

const NOTES: &str = "/v1/indexes/notes/documents";

fn service() -> Service {
    Service::new().with_notes()
}

fn version(service: &Service, id: &str) -> u64 {
    let read = service.get(&format!("{NOTES}/{id}")).json();
    read["version"].as_u64().unwrap()
}

fn found(service: &Service, filter: &str) -> Vec<String> {
    let answer = service.search(json!({
        "vector": [1.0, 1.0, 1.0], "mode": "dense", "filter": filter, "k": 10,
    }));
    let answer = answer.json();
    let mut ids: Vec<String> = answer["hits"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(|hit| hit["id"].as_str().unwrap().to_string())
        .collect();
    ids.sort();
    ids
}

fn patch(service: &Service, path: &str, body: &Value) -> crate::support::service::Answer {
    let json = [("content-type", "application/merge-patch+json")];
    service.send("PATCH", path, &json, body.to_string().as_bytes())
}

#[test]
fn a_write_happens_only_to_the_version_that_is_expected() {
    let service = service();
    let first = version(&service, "a");
    let body = json!({"title": "other", "vector": [1.0, 0.0, 0.0]});
    let wrong = service.put(&format!("{NOTES}/a?if_version={}", first + 1), &body);
    assert_eq!((wrong.status, &*wrong.code()), (409, "version_conflict"));
    assert_eq!(wrong.json()["error"]["found"], format!("version {first}"));
    let wrong = service.put(&format!("{NOTES}/a?if_version=0"), &body);
    assert_eq!(wrong.status, 409);
    assert_eq!(version(&service, "a"), first);

    let right = service.put(&format!("{NOTES}/a?if_version={first}"), &body);
    assert_eq!(right.status, 200);
    let second = right.json()["version"].as_u64().unwrap();
    assert!(second > first);
    assert_eq!(version(&service, "a"), second);
    let new = service.put(&format!("{NOTES}/new?if_version=0"), &body);
    assert_eq!(
        (new.status, &new.json()["status"]),
        (201, &json!("created"))
    );
    let none = service.put(&format!("{NOTES}/none?if_version=7"), &body);
    assert_eq!(none.json()["error"]["found"], "no document");
    for (method, body) in [("PATCH", &b"{}"[..]), ("DELETE", b"")] {
        for version in [0, 7] {
            let path = format!("{NOTES}/none?if_version={version}");
            let json = [("content-type", "application/json")];
            let answer = service.send(method, &path, &json, body);
            assert_eq!((answer.status, &*answer.code()), (409, "version_conflict"));
        }
    }

    let stale = service.delete(&format!("{NOTES}/a?if_version={first}"));
    assert_eq!((stale.status, &*stale.code()), (409, "version_conflict"));
    let gone = service.delete(&format!("{NOTES}/a?if_version={second}"));
    assert_eq!(gone.status, 204);
    assert_eq!(service.delete(&format!("{NOTES}/a")).status, 404);
    for wrong in [
        "if_version=x",
        "if_version=-1",
        "durability=none",
        "sync=no",
    ] {
        let answer = service.put(&format!("{NOTES}/a?{wrong}"), &body);
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"));
    }
    let many = service.post(&format!("{NOTES}?if_version=1"), &json!([]));
    assert_eq!(many.status, 400);
}

#[test]
fn a_part_of_a_document_is_changed_and_the_rest_stays() {
    let service = service();
    let path = format!("{NOTES}/a?refresh=wait");
    let updated = patch(&service, &path, &json!({"stars": 1, "title": "day train"}));
    assert_eq!(updated.status, 200, "{}", updated.json());
    let read = service.get(&format!("{NOTES}/a")).json();
    assert_eq!(read["document"]["title"], "day train");
    assert_eq!(read["document"]["stars"], 1);
    assert_eq!(read["version"], updated.json()["version"]);
    // Its vector is still the one it brought, and filters see the change.
    let answer = service.search(json!({"vector": [1.0, 0.0, 0.0], "mode": "dense", "k": 1}));
    assert_eq!(answer.json()["hits"][0]["id"], "a");
    assert_eq!(found(&service, "stars = 1"), ["a"]);
    // A vector of its own replaces it.
    patch(&service, &path, &json!({"vector": [0.0, 0.0, 1.0]}));
    let answer = service.search(json!({"vector": [0.0, 0.0, 1.0], "mode": "dense", "k": 1}));
    assert_eq!(answer.json()["hits"][0]["id"], "a");

    assert_eq!(patch(&service, &path, &json!({"stars": null})).status, 200);
    assert_eq!(found(&service, "stars >= 0"), ["b"]);
    let before = service.get(&format!("{NOTES}/a")).json();
    for (wrong, status) in [
        (json!({"stars": "many"}), 400),
        (json!({"id": "b"}), 400),
        (json!([1]), 400),
    ] {
        assert_eq!(patch(&service, &path, &wrong).status, status, "{wrong}");
    }
    assert_eq!(
        patch(&service, &format!("{NOTES}/z"), &json!({})).status,
        404
    );
    let stale = format!("{NOTES}/a?if_version=1");
    assert_eq!(patch(&service, &stale, &json!({"stars": 9})).status, 409);
    assert_eq!(service.get(&format!("{NOTES}/a")).json(), before);
}

/// What each of the writers says in its field.
fn said(field: &str, n: u32) -> Value {
    match field {
        "day" => json!(format!("2024-05-{:02}", n + 10)),
        _ => json!(format!("{field} {n}")),
    }
}

#[test]
fn updates_at_the_same_time_lose_nothing() {
    let service = service();
    std::thread::scope(|scope| {
        for field in ["title", "body", "section", "day"] {
            let service = &service;
            scope.spawn(move || {
                for n in 1..=10 {
                    let answer = patch(
                        service,
                        &format!("{NOTES}/a"),
                        &json!({field: said(field, n)}),
                    );
                    assert_eq!(answer.status, 200, "{}", answer.json());
                }
            });
        }
    });
    let read = service.get(&format!("{NOTES}/a")).json();
    for field in ["title", "body", "section", "day"] {
        assert_eq!(read["document"][field], said(field, 10), "{read}");
    }
}

#[test]
fn operations_are_done_in_order_and_answered_for_one_by_one() {
    let service = service();
    let operations = json!([
        {"put": {"id": "c", "title": "ferry", "stars": 1, "vector": [0.0, 0.0, 1.0]}, "if_version": 0},
        {"update": {"id": "c", "stars": 2}},
        {"put": {"id": "a", "title": "x", "vector": [0.0, 0.0, 1.0]}, "if_version": 0},
        {"delete": "b"},
        {"delete": "b"},
        {"update": {"id": "b", "stars": 2}},
        {"update": {"stars": 2}},
        {"put": {"id": "d", "stars": "many", "vector": [0.0, 0.0, 1.0]}},
        {"put": {"id": "e"}, "delete": "e"},
        {"remove": "a"},
        7,
        [{"id": "f", "vector": [0.0, 0.0, 1.0]}],
        {"update": {"id": "c", "stars": 3}},
        {"put": {"id": 12, "vector": [0.0, 0.0, 1.0]}},
        {"delete": 12},
    ]);
    let answer = service.post("/v1/indexes/notes/operations?refresh=wait", &operations);
    assert_eq!(answer.status, 207);
    let answer = answer.json();
    let outcome = |n: usize| -> &str {
        let item = &answer["items"][n];
        let error = item["error"]["code"].as_str();
        error.unwrap_or_else(|| item["status"].as_str().unwrap())
    };
    let outcomes: Vec<&str> = (0..15).map(outcome).collect();
    assert_eq!(
        outcomes,
        [
            "created",
            "updated",
            "version_conflict",
            "deleted",
            "document_not_found",
            "document_not_found",
            "invalid_request",
            "invalid_document",
            "invalid_request",
            "invalid_request",
            "invalid_request",
            "invalid_request",
            "updated",
            "created",
            "deleted",
        ]
    );
    assert_eq!(
        (answer["written"].clone(), answer["rejected"].clone()),
        (json!(6), json!(9))
    );
    assert_eq!(found(&service, "stars = 3"), ["c"]);
    assert_eq!(service.get(&format!("{NOTES}/b")).status, 404);
    let title = &service.get(&format!("{NOTES}/a")).json()["document"]["title"];
    assert_eq!(title, "night train");
}

#[test]
fn what_passes_a_filter_is_deleted_whether_visible_yet_or_not() {
    let service = service();
    let unseen = json!({"title": "unseen", "stars": 2, "vector": [0.0, 0.0, 1.0]});
    service.put(&format!("{NOTES}/c"), &unseen);
    let path = format!("{NOTES}:delete?refresh=wait");
    let answer = service.post(&path, &json!({"filter": "stars <= 2"}));
    assert_eq!(answer.json(), json!({"deleted": 2}), "{}", answer.status);
    assert_eq!(
        service.search(json!({"query": "train unseen"})).json()["hits"][0]["id"],
        "a"
    );
    assert_eq!(service.get(&format!("{NOTES}/c")).status, 404);
    let again = json!({"filter": {"field": "stars", "lte": 2}});
    let again = service.post(&path, &again);
    assert_eq!(again.json(), json!({"deleted": 0}));
    let buffered = format!("{NOTES}:delete?durability=buffered");
    assert_eq!(
        service
            .post(&buffered, &json!({"filter": "stars < 9"}))
            .status,
        400
    );
    for wrong in [
        json!({}),
        json!({"filter": "stars >< 2"}),
        json!({"filter": "stars < 9", "x": 1}),
    ] {
        assert_eq!(service.post(&path, &wrong).status, 400, "{wrong}");
    }
    assert_eq!(service.get(&format!("{NOTES}/a")).status, 200);
}

#[test]
fn one_batch_sees_what_it_did_itself() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "first light", 0.0)]);
    let prepared = vec![
        notes.prepare(note("a", "second light", 10.0)).unwrap(),
        notes.prepare(note("b", "third light", 20.0)).unwrap(),
    ];
    let encoded = notes.encode(prepared).unwrap();
    let changes = [
        (Change::Delete("a"), IfVersion::Any),
        (Change::Put(&encoded[0]), IfVersion::Absent),
        (Change::Put(&encoded[1]), IfVersion::Present),
        (Change::Delete("nobody"), IfVersion::Any),
        (Change::Put(&encoded[1]), IfVersion::Absent),
        (Change::Delete("b"), IfVersion::Present),
    ];
    let before = notes.stats().durable_seq;
    let changed = notes.change(&changes, Durability::Synced).unwrap();
    assert!(matches!(
        changed[..],
        [
            Changed::Deleted,
            Changed::Created { .. },
            Changed::Unmet { version: None },
            Changed::Unmet { version: None },
            Changed::Created { .. },
            Changed::Deleted,
        ]
    ));
    // What did not happen is not in the log.
    assert_eq!(notes.stats().durable_seq, before + 4);
    notes.refresh().unwrap();
    let answer = crate::support::world::ask(&notes, &words("light"));
    assert_eq!(ids(&answer), ["a"]);
    assert_eq!(notes.view().documents, 1);
}

#[test]
fn a_document_is_read_with_its_vectors_where_they_are_asked_for() {
    let service = service();
    let read = service.get(&format!("{NOTES}/a?vectors=true")).json();
    let vectors = json!([{"start": 0, "end": 0, "values": [1.0, 0.0, 0.0]}]);
    assert_eq!(read["vectors"], vectors);
    for path in [format!("{NOTES}/a"), format!("{NOTES}/a?vectors=false")] {
        assert_eq!(service.get(&path).json().get("vectors"), None);
    }
    for wrong in ["vectors=yes", "vector=true"] {
        let answer = service.get(&format!("{NOTES}/a?{wrong}"));
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"));
    }
}

#[test]
fn what_is_wrong_with_an_operation_is_said() {
    let service = service();
    let answer = service.post(
        "/v1/indexes/notes/operations",
        &json!([{"delete": 1.5}, {"del": "a"}, {"put": {"id": "c"}, "delete": "a"}]),
    );
    let found: Vec<Value> = (0..3)
        .map(|n| answer.json()["items"][n]["error"]["found"].clone())
        .collect();
    assert_eq!(found[0], "delete is not an id, a text or a whole number");
    assert!(found[1].to_string().contains("del"), "{}", found[1]);
    assert_eq!(found[2], "none or several of them");
}
