//! Promise: linking answers over REST and on the command line; what cannot be answered is refused
//! and changes nothing.

use gleaner::config::Config;
use serde_json::json;

use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;

/// With an encoder named `tiny`.
fn with_encoder(config: &mut Config) {
    let models = config.data.folder.join("models");
    if !models.exists() {
        TinyModel::default().write(&models.join("tiny"));
    }
    config.models.folders = vec![models];
    config.entities.encoder = "tiny".into();
}

/// A service with an encoder and a catalog.
fn service() -> Service {
    let service = Service::with(with_encoder);
    let names = json!([
        {"name": "red river", "id": "q1", "popularity": 5},
        {"name": "red river city", "id": "q2", "aliases": ["red river"]},
        {"name": "mountain", "id": "q3"},
    ]);
    let answer = service.post("/v1/entities", &json!({"name": "things", "names": names}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(answer.header("location"), Some("/v1/entities/things"));
    service
}

#[test]
fn over_rest() {
    let service = service();
    let list = service.get("/v1/entities").json();
    assert_eq!(list["catalogs"][0]["names"], 3);
    let names = json!({"names": [{"name": "the sky", "id": "q 4/é"}]});
    let added = service.post("/v1/entities/things/names", &names);
    assert_eq!(
        (added.status, added.json()),
        (200, json!({"added": 1, "replaced": 0}))
    );
    let path = "/v1/entities/things/names/q%204%2F%C3%A9";
    assert_eq!(service.get(path).json()["names"][0]["name"], "the sky");
    let service = service.restart(with_encoder);
    assert_eq!(service.get(path).status, 200);
    let compacted = service.post("/v1/entities/things/compact", &json!({}));
    assert_eq!(compacted.json()["names"], 4);
    let none = service.post("/v1/entities/none/compact", &json!({}));
    assert_eq!(none.code(), "catalog_not_found");
    let tasks = service.get("/v1/tasks").json();
    let tasks = tasks["tasks"].as_array().unwrap();
    assert_eq!(
        (&tasks[0]["kind"], &tasks[0]["state"]),
        (&json!("compact_catalog"), &json!("done"))
    );
    assert_eq!(tasks.len(), 1);
    assert_eq!(service.delete(path).status, 204);
    assert_eq!(service.get("/v1/entities/things").json()["removed"], 1);
    for answer in [service.get(path), service.delete(path)] {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "entity_not_found")
        );
    }

    let text = "É Red River is by the Mountain. The river is red.";
    let asked = json!({"catalog": "things", "text": text, "threshold": 0, "alternatives": 3});
    let answer = service.post("/v1/entities:link", &asked);
    assert_eq!(answer.status, 200, "{}", answer.json());
    let mentions = answer.json()["mentions"].as_array().unwrap().clone();
    let found: Vec<(&str, u64, u64)> = mentions
        .iter()
        .map(|m| {
            (
                m["mention"].as_str().unwrap(),
                m["start"].as_u64().unwrap(),
                m["end"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [("Red River", 2, 11), ("Mountain", 22, 30)]);
    assert_eq!(mentions[1]["entity"]["id"], "q3");
    assert_eq!(mentions[0]["alternatives"].as_array().unwrap().len(), 1);

    let asked = json!({"catalog": "things", "text": text, "start": 2, "end": 11, "threshold": 0,
                       "candidates": ["mountain", "q2"]});
    let answer = service.post("/v1/entities:disambiguate", &asked).json();
    let mut ids = vec![answer["entity"]["id"].as_str().unwrap()];
    ids.extend(
        answer["alternatives"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["id"].as_str().unwrap()),
    );
    ids.sort();
    assert_eq!(ids, ["q2", "q3"]);
    let shares = answer["alternatives"][0]["score"].as_f64().unwrap()
        + answer["entity"]["score"].as_f64().unwrap()
        + answer["none"].as_f64().unwrap();
    assert!((shares - 1.0).abs() < 1e-4, "{answer}");
    // With a threshold that nothing reaches, none of the catalog is meant.
    let sure = json!({"catalog": "things", "text": text, "start": 2, "end": 11, "threshold": 1});
    assert!(service.post("/v1/entities:disambiguate", &sure).json()["entity"].is_null());

    let asked = json!({"catalog": "things", "query": "how high is a mountain", "k": 2});
    let answer = service.post("/v1/entities:retrieve", &asked).json();
    assert_eq!(answer["entities"][0]["id"], "q3");
    assert_eq!(service.delete("/v1/entities/things").status, 204);
    assert_eq!(
        service.post("/v1/entities:retrieve", &asked).code(),
        "catalog_not_found"
    );
}

#[test]
fn requests_that_cannot_be_answered_change_nothing() {
    let service = service();
    let text = "red river \u{1} end";
    let long = "a ".repeat(500_000);
    let disambiguate = |start: usize, end: usize| {
        (
            "disambiguate",
            json!({"catalog": "things", "text": text, "start": start, "end": end}),
        )
    };
    for ((action, request), code, field) in [
        (disambiguate(3, 3), "invalid_request", "end"),
        (disambiguate(5, 2), "invalid_request", "end"),
        (disambiguate(0, 99), "invalid_request", "end"),
        (disambiguate(90, 99), "invalid_request", "start"),
        (disambiguate(9, 12), "invalid_request", "start"),
        (
            ("link", json!({"catalog": "things", "text": long})),
            "limit_exceeded",
            "text",
        ),
        (
            (
                "link",
                json!({"catalog": "things", "text": "a", "method": "annotate"}),
            ),
            "invalid_request",
            "method",
        ),
        (
            ("link", json!({"catalog": "things", "text": " "})),
            "invalid_request",
            "text",
        ),
        (
            (
                "link",
                json!({"catalog": "things", "text": "Red River. ".repeat(5_001)}),
            ),
            "limit_exceeded",
            "text",
        ),
        (
            ("link", json!({"catalog": "none", "text": "a"})),
            "catalog_not_found",
            "catalog",
        ),
        (
            (
                "link",
                json!({"catalog": "things", "text": "a", "threshold": 2}),
            ),
            "invalid_request",
            "threshold",
        ),
        (
            (
                "retrieve",
                json!({"catalog": "things", "query": "a", "k": 0}),
            ),
            "invalid_request",
            "k",
        ),
        (
            (
                "retrieve",
                json!({"catalog": "things", "query": "a", "samples": 5}),
            ),
            "invalid_request",
            "samples",
        ),
        (
            (
                "disambiguate",
                json!({"catalog": "things", "text": "a", "start": 0, "end": 1, "candidates": ["none"]}),
            ),
            "entity_not_found",
            "candidates[0]",
        ),
    ] {
        let answer = service.post(&format!("/v1/entities:{action}"), &request);
        assert_eq!(answer.code(), code, "{action}: {}", answer.json());
        assert_eq!(
            answer.json()["error"]["field"],
            field,
            "{action}: {}",
            answer.json()
        );
    }
    let many = vec![json!({"name": "a"}); 10_001];
    for (names, code) in [
        (json!([{"name": "fine"}, {"name": "\u{7}"}]), "invalid_name"),
        (json!([{"name": "a".repeat(10_000)}]), "invalid_name"),
        (json!([{"name": "a b ".repeat(200)}]), "invalid_name"),
        (json!(many), "limit_exceeded"),
    ] {
        let answer = service.post("/v1/entities/things/names", &json!({"names": names}));
        assert_eq!(answer.code(), code, "{}", answer.json());
        let answer = service.post("/v1/entities", &json!({"name": "more", "names": names}));
        assert_eq!(answer.code(), code, "{}", answer.json());
    }
    let answer = service.post("/v1/entities", &json!({"name": "things", "names": []}));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "catalog_exists")
    );
    assert_eq!(answer.json()["error"]["field"], "name");
    assert_eq!(service.get("/v1/entities/more").status, 404);
    assert_eq!(service.get("/v1/entities/things").json()["names"], 3);
}
