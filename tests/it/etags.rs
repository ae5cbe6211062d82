//! Promise: a document's version is its ETag, and preconditions of HTTP hold.

use serde_json::json;

use crate::support::service::Service;

const ADDRESS: &str = "/v1/indexes/notes/documents/c";

fn put(service: &Service, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let body = json!({"title": "ferry", "stars": 1, "vector": [0.0, 0.0, 1.0]}).to_string();
    let headers = [&[("content-type", "application/json")], headers].concat();
    let answer = service.send("PUT", ADDRESS, &headers, body.as_bytes());
    (answer.status, answer.header("etag").map(str::to_string))
}

#[test]
fn preconditions_hold() {
    let service = Service::new().with_notes();
    let (status, first) = put(&service, &[("if-none-match", "*")]);
    assert_eq!(status, 201);
    let first = first.unwrap();
    assert_eq!(put(&service, &[("if-none-match", "*")]).0, 412);
    let (status, second) = put(&service, &[("if-match", &first)]);
    assert_eq!(status, 200);
    let second = second.unwrap();
    assert_ne!(first, second);
    assert_eq!(put(&service, &[("if-match", &first)]).0, 412);
    let read = service.get(ADDRESS);
    assert_eq!(read.header("etag"), Some(second.as_str()));
    assert_eq!(read.json()["version"].to_string(), second.trim_matches('"'));
    let again = |tag: &str| service.send("GET", ADDRESS, &[("if-none-match", tag)], b"");
    let unchanged = again(&second);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(again(&first).status, 200);
    // By the parameter it is a conflict, as before; by both it is a mistake.
    let conflict = service.send("DELETE", &format!("{ADDRESS}?if_version=1"), &[], b"");
    assert_eq!(
        (conflict.status, conflict.code().as_str()),
        (409, "version_conflict")
    );
    let gone = service.send("DELETE", ADDRESS, &[("if-match", &first)], b"");
    assert_eq!(
        (gone.status, gone.code().as_str()),
        (412, "version_conflict")
    );
    for wrong in ["3", "\"x\"", "*", "\"1\", \"2\"", "W/\"1\""] {
        let (status, _) = put(&service, &[("if-match", wrong)]);
        assert_eq!(status, 400, "{wrong}");
    }
    let both = service.send(
        "DELETE",
        &format!("{ADDRESS}?if_version=1"),
        &[("if-match", &second)],
        b"",
    );
    assert_eq!(both.status, 400);
    assert_eq!(
        service
            .send("DELETE", ADDRESS, &[("if-match", &second)], b"")
            .status,
        204
    );
}
