//! Promise: what a caller may not see of a database is in nothing that is answered to that
//! caller: no name of a table or column, no key, join, value, sample or example, and no number
//! that was counted with it. A database that has permissions tells nothing to anybody else.

use gleaner::error::Code;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;

/// Tables in a row, each with a key to the next; everything of a table has its mark in it.
const MARKS: [&str; 5] = ["zaxo", "zebu", "ziqu", "zomi", "zuka"];

fn database() -> Value {
    let tables = MARKS.iter().enumerate().map(|(n, mark)| {
        let column = |name: &str, kind: &str, values: Vec<String>| {
            json!({"name": format!("{mark}_{name}"), "data_type": kind, "values": values,
                "description": format!("the {name} of {mark}")})
        };
        let mut columns = vec![
            column("id", "INTEGER", Vec::new()),
            column(
                "town",
                "TEXT",
                (0..3).map(|n| format!("{mark}burg {n}")).collect(),
            ),
        ];
        if n + 1 < MARKS.len() {
            columns.push(column("next", "INTEGER", Vec::new()));
        }
        let row: Vec<String> = columns.iter().map(|_| format!("{mark}cell")).collect();
        json!({"name": format!("{mark}_table"), "columns": columns, "samples": [row],
            "description": format!("all of {mark}"), "primary_key": [format!("{mark}_id")]})
    });
    let keys = MARKS.windows(2).map(|pair| {
        json!({"table": format!("{}_table", pair[0]), "columns": [format!("{}_next", pair[0])],
            "to_table": format!("{}_table", pair[1]), "to_columns": [format!("{}_id", pair[1])]})
    });
    json!({"name": "chain", "tables": tables.collect::<Vec<_>>(),
        "foreign_keys": keys.collect::<Vec<_>>()})
}

fn service() -> (TempDir, Service) {
    let models = tempfile::tempdir().unwrap();
    TinyModel::default().write(&models.path().join("tiny"));
    let service = Service::with(|config| {
        config.models.folders = vec![models.path().into()];
        config.schemas.encoder = "tiny".into();
        config.schemas.linker = String::new();
    });
    let answer = service.post("/v1/schemas", &json!({"database": database()}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    for (n, mark) in MARKS.iter().enumerate() {
        let written = json!({"question": format!("{mark} towns"),
            "sql": format!("SELECT {mark}_town FROM {mark}_table")});
        let mut examples = vec![written];
        if let Some(next) = MARKS.get(n + 1) {
            examples.push(
                json!({"question": format!("{mark} with {next}"), "sql": format!(
                "SELECT count(*) FROM {mark}_table JOIN {next}_table ON {mark}_next = {next}_id")}),
            );
        }
        let answer = service.post("/v1/schemas/chain/examples", &json!({"examples": examples}));
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    let written: serde_json::Map<String, Value> = MARKS
        .iter()
        .map(|mark| {
            let about = json!({"readable": format!("{mark} in words")});
            (format!("{}_TABLE", mark.to_uppercase()), about)
        })
        .collect();
    let answer = service.put(
        "/v1/schemas/chain/descriptions",
        &json!({"tables": written}),
    );
    assert_eq!(answer.status, 200, "{}", answer.json());
    (models, service)
}

/// Everything that a caller can have answered.
fn answers(service: &Service, caller: &str) -> Vec<(String, u16, Value)> {
    let question = "how many towns are there beside the next one";
    let mut asked = vec![
        ("GET".to_string(), "/v1/schemas".to_string(), Value::Null),
        ("GET".into(), "/v1/schemas/chain".into(), Value::Null),
        (
            "GET".into(),
            "/v1/schemas/chain/examples".into(),
            Value::Null,
        ),
    ];
    for strategy in ["full", "retrieval"] {
        for budget in [Value::Null, json!(120)] {
            let body = json!({"question": question, "strategy": strategy, "examples": 9,
                "token_budget": budget, "mode": "conservative"});
            asked.push(("POST".into(), "/v1/schemas/chain:retrieve".into(), body));
        }
    }
    let which = json!({"question": question, "schemas": 2});
    asked.push(("POST".into(), "/v1/schemas:retrieve".into(), which));
    let similar = json!({"question": question, "limit": 50});
    asked.push((
        "POST".into(),
        "/v1/schemas/chain/examples:similar".into(),
        similar,
    ));
    let annotate = json!({"questions": ["which one", "what else"]});
    asked.push((
        "POST".into(),
        "/v1/schemas/chain/examples:annotate".into(),
        annotate,
    ));
    for mark in MARKS {
        let values = json!({"text": format!("{mark}burg 1"), "limit": 50});
        asked.push(("POST".into(), "/v1/schemas/chain:values".into(), values));
    }
    let answered = asked.into_iter().map(|(method, path, mut body)| {
        let answer = if method == "GET" {
            service.get(&format!("{path}?caller={caller}"))
        } else {
            body["caller"] = json!(caller);
            service.post(&path, &body)
        };
        (format!("{path} {body}"), answer.status, answer.json())
    });
    answered.collect()
}

#[test]
fn what_is_hidden_is_nowhere() {
    let (_models, service) = service();
    for hidden in 1u32..(1 << MARKS.len()) - 1 {
        let is_hidden = |n: usize| hidden & (1 << n) != 0;
        let marks = |wanted: bool| {
            let marks = MARKS.iter().enumerate();
            marks
                .filter(move |(n, _)| is_hidden(*n) == wanted)
                .map(|(_, mark)| *mark)
        };
        let deny: Vec<String> = marks(true).map(|mark| format!("{mark}*")).collect();
        let permissions = json!({"callers": {"app": {"allow": ["*"], "deny": deny}}});
        let answer = service.put("/v1/schemas/chain/permissions", &permissions);
        assert_eq!((answer.status, answer.json()), (200, permissions));
        let (mut seen, mut examples) = (String::new(), 0);
        for (asked, status, answer) in answers(&service, "app") {
            // A budget may be too small for anything.
            assert!(
                status == 200 || asked.contains("120") && status == 400,
                "{asked}: {answer}"
            );
            let text = answer.to_string().to_lowercase();
            for mark in marks(true) {
                assert!(
                    !text.contains(mark),
                    "{mark} in the answer to {asked}: {answer}"
                );
            }
            if asked.starts_with("/v1/schemas/chain/examples ") {
                examples = answer["examples"].as_array().unwrap().len();
            }
            if asked.starts_with("/v1/schemas ") {
                assert_eq!(answer["schemas"][0]["tables"], marks(false).count());
            }
            seen += &text;
        }
        // What may be seen is.
        for mark in marks(false) {
            for what in ["table", "town", "burg 1", " in words"] {
                let sign = if what.starts_with([' ', 'b']) {
                    ""
                } else {
                    "_"
                };
                let text = format!("{mark}{sign}{what}");
                assert!(seen.contains(&text), "{text}");
            }
        }
        let pairs = (1..MARKS.len()).filter(|n| !is_hidden(*n) && !is_hidden(n - 1));
        assert_eq!(examples, marks(false).count() + pairs.count());
    }
}

#[test]
fn without_permission_there_is_nothing() {
    let (_models, service) = service();
    let permissions = json!({"callers": {
        "app": {"allow": ["*"]},
        "shut": {"allow": []},
        "past": {"allow": ["gone_*"]},
    }});
    service.put("/v1/schemas/chain/permissions", &permissions);
    for caller in ["nobody", "shut", "past", "App", "*", ""] {
        for (asked, status, answer) in answers(&service, caller) {
            let everywhere =
                asked.starts_with("/v1/schemas ") || asked.contains("schemas:retrieve");
            match everywhere {
                true => assert_eq!(status, 200, "{asked}: {answer}"),
                false => {
                    assert_eq!(status, 403, "{asked}: {answer}");
                    assert_eq!(answer["error"]["code"], "caller_not_permitted");
                }
            }
            let text = answer.to_string();
            assert!(
                !MARKS.iter().any(|mark| text.contains(mark)),
                "{asked}: {answer}"
            );
        }
    }
    for (path, body) in [
        ("/v1/schemas/chain:retrieve", json!({"question": "q"})),
        ("/v1/schemas/chain:values", json!({"text": "t"})),
        (
            "/v1/schemas/chain/examples:similar",
            json!({"question": "q"}),
        ),
        ("/v1/schemas/chain/examples", json!({"examples": []})),
    ] {
        let answer = service.post(path, &body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "caller_not_permitted")
        );
        let expected = answer.json()["error"]["expected"].to_string();
        assert!(expected.contains("permissions of chain"), "{expected}");
    }
    assert_eq!(
        service
            .delete("/v1/schemas/chain/examples/0?caller=nobody")
            .status,
        403
    );
    assert_eq!(service.get("/v1/schemas").json(), json!({"schemas": []}));

    // They outlive an import and a restart, and can be taken away.
    let answer = service.post("/v1/schemas", &json!({"database": database()}));
    assert_eq!(answer.status, 200);
    let service = service.restart(|_| {});
    assert_eq!(
        service.get("/v1/schemas/chain/permissions").json(),
        permissions
    );
    assert_eq!(service.get("/v1/schemas/chain").status, 403);
    assert_eq!(service.get("/v1/schemas/chain?caller=app").status, 200);
    for bad in [
        json!({"callers": {"a": {"allow": ["[z"]}}}),
        json!({"callers": {"": {"allow": []}}}),
        json!({"callers": {"a": {"deny": []}}}),
        json!({"everybody": true}),
    ] {
        let answer = service.put("/v1/schemas/chain/permissions", &bad);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "invalid_request"),
            "{bad}"
        );
    }
    assert_eq!(
        service.get("/v1/schemas/chain/permissions").json(),
        permissions
    );
    assert_eq!(service.delete("/v1/schemas/chain/permissions").status, 204);
    assert_eq!(service.get("/v1/schemas/chain").status, 200);
    assert_eq!(
        service.get("/v1/schemas/chain/permissions").json(),
        Value::Null
    );
    let answer = service.put("/v1/schemas/gone/permissions", &permissions);
    assert_eq!(answer.code(), "database_not_found");
}

#[test]
fn by_the_command_line() {
    let place = Place::with_model("tiny");
    place.write(
        "config.toml",
        "[schemas]\nencoder = \"tiny\"\nlinker = \"\"\n",
    );
    place.write("chain.json", database().to_string());
    place.ok(&["schema", "import", "chain", "--database", "chain.json"]);
    let open = place.json(&["schema", "permissions", "chain"]);
    assert_eq!(open, json!({"permissions": null}));
    let allow = [
        "schema",
        "permissions",
        "chain",
        "--caller",
        "app",
        "--allow",
        "Z*",
    ];
    let set = place.json(&[&allow[..], &["--deny", "zaxo*"]].concat());
    assert_eq!(
        set["permissions"]["callers"]["app"]["deny"],
        json!(["zaxo*"])
    );
    let shown = place.ok(&["schema", "permissions", "chain"]).out;
    assert!(
        shown.contains("app: Z*, but not zaxo* (4 tables)"),
        "{shown}"
    );
    place.refused(Code::CallerNotPermitted, &["schema", "show", "chain"]);
    for asked in [
        &["schema", "show", "chain", "--caller", "app"][..],
        &["schema", "values", "chain", "zaxoburg 1", "--caller", "app"],
        &[
            "schema",
            "retrieve",
            "chain",
            "the next towns",
            "--caller",
            "app",
        ],
        &["schema", "which", "the next towns", "--caller", "app"],
        &["schema", "examples", "list", "chain", "--caller", "app"],
    ] {
        let said = place.ok(asked).out;
        assert!(!said.contains("zaxo"), "{asked:?}: {said}");
    }
    let which = place.ok(&["schema", "which", "the next towns"]).out;
    assert!(!which.contains("chain"), "{which}");
    place.refused(
        Code::InvalidRequest,
        &["schema", "permissions", "chain", "--shut-out", "other"],
    );
    place.ok(&["schema", "permissions", "chain", "--shut-out", "app"]);
    place.refused(
        Code::CallerNotPermitted,
        &["schema", "show", "chain", "--caller", "app"],
    );
    place.ok(&["schema", "permissions", "chain", "--open"]);
    place.ok(&["schema", "show", "chain"]);
}

#[test]
fn an_example_that_is_hidden_is_neither_found_nor_replaced() {
    let (_models, service) = service();
    let permissions = json!({"callers": {
        "all": {"allow": ["*"]},
        "app": {"allow": ["*"], "deny": ["zebu*"]},
    }});
    service.put("/v1/schemas/chain/permissions", &permissions);
    let path = "/v1/schemas/chain/examples";
    let list = |caller: &str| service.get(&format!("{path}?caller={caller}")).json();
    let add = |caller: &str, question: &str, sql: &str| {
        let body = json!({"caller": caller, "examples": [{"question": question, "sql": sql}]});
        let answer = service.post(path, &body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    };
    let before = list("all")["examples"].as_array().unwrap().len();
    let seen = list("app")["examples"].as_array().unwrap().len();
    // That question is stored with SQL over a table that this caller may not see.
    let answer = add("app", "ZEBU towns?", "SELECT zaxo_town FROM zaxo_table");
    assert_eq!(
        (&answer["added"], &answer["replaced"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(answer["total"], seen + 1);
    let all = list("all")["examples"].clone();
    assert_eq!(all.as_array().unwrap().len(), before + 1);
    assert!(all.to_string().contains("zebu_town"), "it is still there");
    // Asked again it is the caller's own that is replaced.
    let again = add("app", "zebu towns", "SELECT zuka_town FROM zuka_table");
    assert_eq!(
        (&again["added"], &again["replaced"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(again["ids"], answer["ids"]);
    assert_eq!(again["total"], seen + 1);
    // An id tells nothing of whether there is another.
    let free = add("app", "never asked", "SELECT zuka_town FROM zuka_table");
    assert_eq!(
        free["ids"][0].as_str().unwrap().len(),
        answer["ids"][0].as_str().unwrap().len()
    );
}

#[test]
fn where_a_table_comes_from_is_not_for_callers() {
    let (_models, service) = service();
    let permissions = json!({"callers": {"app": {"allow": ["*"]}}});
    service.put("/v1/schemas/chain/permissions", &permissions);
    for path in ["/v1/schemas?caller=app", "/v1/schemas/chain?caller=app"] {
        let answer = service.get(path).json();
        let of = answer.pointer("/schemas/0").unwrap_or(&answer);
        assert_eq!(of["source"], "", "{answer}");
    }
}
