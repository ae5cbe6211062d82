//! Promise: cell values are found by words, letters and meaning, in questions too, and stand in the
//! prompt beside their columns within the budget; stored questions are found by likeness and stand
//! in the prompt; the database that answers a question is found among others. All of it by the
//! command line and over REST alike, and bad input is refused by name.

use std::path::Path;

use gleaner::config::Config;
use gleaner::error::Code;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;

fn cities() -> Value {
    let column = |name: &str, kind: &str, values: &[&str]| json!({"name": name, "data_type": kind, "values": values});
    json!({"name": "places", "foreign_keys": [], "tables": [
        {"name": "cities", "primary_key": ["id"], "columns": [
            column("id", "INTEGER", &[]),
            column("name", "TEXT", &["Fremont", "São Paulo", "New York", "York"]),
            column("people", "INTEGER", &[]),
        ]},
        {"name": "stations", "columns": [
            column("kind", "TEXT", &["Fire Department", "Police", "Hospital"]),
            column("mail", "TEXT", &["ann@example.org", "bob@example.org"]),
            column("city", "INTEGER", &[]),
        ]},
        {"name": "weather", "columns": [column("day", "DATE", &[]), column("rain", "REAL", &[])]},
    ]})
}

fn service() -> (TempDir, Service) {
    let models = tempfile::tempdir().unwrap();
    let service = service_with(models.path());
    (models, service)
}

fn use_models(config: &mut Config, models: &Path) {
    config.models.folders = vec![models.to_path_buf()];
    config.schemas.encoder = "tiny".into();
    config.schemas.linker = String::new();
}

fn service_with(models: &Path) -> Service {
    TinyModel::default().write(&models.join("tiny"));
    let service = Service::with(|config| use_models(config, models));
    let answer = service.post("/v1/schemas", &json!({"database": cities()}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    service
}

#[test]
fn values_are_found_and_written_beside_their_columns() {
    let (_models, service) = service();
    let search = |text: &str, meaning: bool| {
        let body = json!({"text": text, "meaning": meaning});
        let answer = service.post("/v1/schemas/places:values", &body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["hits"].clone()
    };
    for (text, value, matched) in [
        ("fremont", "Fremont", "exact"),
        ("sao paulo", "São Paulo", "exact"),
        ("fire departments", "Fire Department", "words"),
        ("Fremnt", "Fremont", "ngrams"),
    ] {
        let first = &search(text, false)[0];
        assert_eq!(
            (&first["value"], &first["matched"]),
            (&json!(value), &json!(matched)),
            "{text}"
        );
        assert!(
            first["score"]
                .as_f64()
                .is_some_and(|score| score > 0.3 && score <= 1.0)
        );
    }
    // What nothing is like in words is found by its vector, if at all.
    assert!(
        search("zzz", true)
            .as_array()
            .unwrap()
            .iter()
            .all(|hit| hit["matched"] == "meaning")
    );
    // Masked by what they look like.
    assert!(
        !search("ann@example.org", true)
            .to_string()
            .contains("example.org")
    );

    let ask = |body: Value| service.post("/v1/schemas/places:retrieve", &body).json();
    let question = "How many people live in São Paulo?";
    let body = json!({"question": question, "strategy": "retrieval", "mode": "minimal"});
    let found = ask(body.clone());
    let matched = &found["matched_values"][0];
    assert_eq!(
        (&matched["table"], &matched["column"], &matched["value"]),
        (&json!("cities"), &json!("name"), &json!("São Paulo"))
    );
    let span = |end: &str| matched["span"][end].as_u64().unwrap() as usize;
    let words: String = question
        .chars()
        .skip(span("start"))
        .take(span("end") - span("start"))
        .collect();
    assert_eq!(words, "São Paulo");
    let ddl = found["ddl"].as_str().unwrap();
    let line = ddl
        .lines()
        .find(|line| line.contains("\"name\"") || line.contains(" name "));
    let line = line.unwrap_or_else(|| panic!("{ddl}"));
    assert!(line.contains("values: 'São Paulo'"), "{line}");
    let columns = found["tables"][0]["columns"].as_array().unwrap();
    let name = columns
        .iter()
        .find(|column| column["name"] == "name")
        .unwrap();
    assert!(
        ["linked", "value"].contains(&name["reason"].as_str().unwrap()),
        "{found}"
    );

    // Named by the evidence: no place in the question.
    let mut hinted = body.clone();
    hinted["question"] = json!("How many people live there?");
    hinted["evidence"] = json!("there is New York");
    let found = ask(hinted);
    assert_eq!(found["matched_values"][0]["value"], "New York");
    assert!(found["matched_values"][0]["span"].is_null());

    // Where no values are asked for there are none in the text.
    let mut bare = body.clone();
    bare["values"] = json!(0);
    let found = ask(bare);
    assert!(!found["ddl"].as_str().unwrap().contains("Paulo"), "{found}");

    // Every budget is kept, and says what was given up.
    let whole = ask(json!({"question": question}))["tokens"]
        .as_u64()
        .unwrap();
    for budget in (20..=whole).step_by(7) {
        let answer = service.post(
            "/v1/schemas/places:retrieve",
            &json!({"question": question, "token_budget": budget}),
        );
        let found = answer.json();
        match answer.status {
            200 => {
                assert!(found["tokens"].as_u64().unwrap() <= budget, "{found}");
                let given = found["dropped"]["details"]
                    .to_string()
                    .contains("matched_values");
                let there = found["ddl"].as_str().unwrap().contains("Paulo");
                assert!(!(given && there), "{found}");
            }
            status => assert_eq!(
                (status, &found["error"]["field"]),
                (400, &json!("token_budget"))
            ),
        }
    }

    for (body, code, field) in [
        (json!({"text": " "}), "invalid_request", "text"),
        (json!({"text": "a", "limit": 0}), "invalid_request", "limit"),
        (
            json!({"text": "a", "limit": 101}),
            "invalid_request",
            "limit",
        ),
        (
            json!({"text": "a".repeat(100_000)}),
            "limit_exceeded",
            "text",
        ),
    ] {
        let problem = service.post("/v1/schemas/places:values", &body).json()["error"].clone();
        assert_eq!(
            (&problem["code"], &problem["field"]),
            (&json!(code), &json!(field))
        );
    }
    // A new import takes values away.
    let ddl = json!({"name": "places", "ddl": "CREATE TABLE cities (name TEXT)"});
    assert_eq!(service.post("/v1/schemas", &ddl).status, 200);
    assert_eq!(search("fremont", true), json!([]));
}

#[test]
fn stored_questions_are_found_and_shown() {
    let models = tempfile::tempdir().unwrap();
    let service = service_with(models.path());
    let at = "/v1/schemas/places/examples";
    let examples = json!({"examples": [
        {"question": "How many cities are there?", "sql": "SELECT count(*) FROM cities"},
        {"question": "How many cities are there in all?", "sql": "SELECT count(id) FROM cities;"},
        {"question": "Which day had the most rain?", "sql": "SELECT day FROM weather ORDER BY rain DESC LIMIT 1"},
    ]});
    let added = service.post(at, &examples).json();
    assert_eq!((&added["added"], &added["total"]), (&json!(3), &json!(3)));
    let service = service.restart(|config| use_models(config, models.path()));
    let list = service.get(at).json();
    assert_eq!(list["examples"].as_array().unwrap().len(), 3);
    let similar = |diversity: f64, limit: usize| -> Vec<String> {
        let body = json!({"question": "How many cities are there?", "diversity": diversity, "limit": limit});
        let answer = service
            .post("/v1/schemas/places/examples:similar", &body)
            .json();
        let examples = answer["examples"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"));
        examples
            .iter()
            .map(|example| example["id"].as_str().unwrap().to_string())
            .collect()
    };
    let id = |n: usize| added["ids"][n].as_str().unwrap().to_string();
    assert_eq!(similar(0.0, 1), [id(0)]);
    assert_eq!(similar(0.0, 9).len(), 3);
    assert_eq!(similar(1.0, 1).len(), 1);

    let ask = |body: &Value| service.post("/v1/schemas/places:retrieve", body).json();
    let mut body = json!({"question": "How many cities are there?", "examples": 2,
        "samples": 0, "values": 0});
    let found = ask(&body);
    let prompt = found["prompt"].as_str().unwrap();
    assert!(
        prompt.contains("-- Question: How many cities are there?\nSELECT count(*) FROM cities;\n"),
        "{prompt}"
    );
    assert!(prompt.ends_with("-- Question: How many cities are there?\n"));
    assert_eq!(found["full_tokens"], found["tokens"]);
    // They are given up before any of the schema is.
    let without =
        ask(&json!({"question": "How many cities are there?", "samples": 0, "values": 0}));
    body["token_budget"] = json!(without["tokens"].as_u64().unwrap() + 3);
    let less = ask(&body);
    assert_eq!(less["dropped"]["examples"], 2, "{less}");
    assert_eq!(less["tables"].as_array().unwrap().len(), 3);
    assert_eq!(less["strategy"], "full");

    let annotate = json!({"limit": 2, "questions": [
        "How many cities are there", "what rains", "what else rains", "what else rains?", "who"]});
    let worth = service
        .post("/v1/schemas/places/examples:annotate", &annotate)
        .json();
    let worth = worth["questions"].as_array().unwrap();
    assert_eq!(worth.len(), 2);
    assert!(
        worth
            .iter()
            .all(|one| one["place"] != 0 && one["place"] != 3),
        "{worth:?}"
    );

    for (path, body, code, field) in [
        (
            "",
            json!({"examples": [{"question": "q", "sql": "SELECT 1 FROM nowhere"}]}),
            "invalid_request",
            "sql",
        ),
        (
            "",
            json!({"examples": [{"question": "q"}]}),
            "invalid_request",
            "examples[0]",
        ),
        (
            ":similar",
            json!({"question": ""}),
            "invalid_request",
            "question",
        ),
        (
            ":similar",
            json!({"question": "q", "diversity": 2}),
            "invalid_request",
            "diversity",
        ),
        (
            ":annotate",
            json!({"questions": []}),
            "invalid_request",
            "questions",
        ),
        (
            ":annotate",
            json!({"questions": ["a", " "]}),
            "invalid_request",
            "questions[1]",
        ),
        (
            ":annotate",
            json!({"questions": vec!["a"; 2001]}),
            "limit_exceeded",
            "questions",
        ),
    ] {
        let answer = service.post(&format!("{at}{path}"), &body);
        let problem = answer.json()["error"].clone();
        assert_eq!(problem["code"], code, "{problem}");
        let at = problem["field"].as_str().unwrap_or_default();
        assert!(at.starts_with(field), "{problem}");
    }
    assert_eq!(service.delete(&format!("{at}/{}", id(2))).status, 204);
    assert_eq!(
        service.delete(&format!("{at}/{}", id(2))).code(),
        "example_not_found"
    );
    assert_eq!(
        service.get(at).json()["examples"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn the_database_that_answers_is_found() {
    let (_models, service) = service();
    for (name, ddl) in [
        (
            "shop",
            "CREATE TABLE orders (order_id INT, customer TEXT, price REAL)",
        ),
        (
            "school",
            "CREATE TABLE pupils (pupil_id INT, teacher TEXT, grade INT)",
        ),
    ] {
        let answer = service.post("/v1/schemas", &json!({"name": name, "ddl": ddl}));
        assert_eq!(answer.status, 201);
    }
    let ask = |body: Value| service.post("/v1/schemas:retrieve", &body);
    let body =
        json!({"question": "Which teacher has the pupils with the best grade?", "databases": 2});
    let found = ask(body.clone()).json();
    let ranked = found["databases"].as_array().unwrap();
    assert_eq!((ranked.len(), &found["compared"]), (2, &json!(3)));
    assert_eq!(ranked[0]["database"], "school", "{found}");
    assert_eq!(ranked[0]["schema"]["database"], "school");
    assert!(ranked[1]["schema"].is_null());
    assert!(
        ranked[0]["words"].to_string().contains("teacher"),
        "{found}"
    );
    assert!(ranked[0]["score"].as_f64() >= ranked[1]["score"].as_f64());
    assert_eq!(ask(body).json(), found, "asked again");
    for (body, field) in [
        (json!({"question": ""}), "question"),
        (json!({"question": "q", "databases": 0}), "databases"),
        (json!({"question": "q", "schemas": 9}), "schemas"),
    ] {
        let answer = ask(body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["field"]),
            (400, &json!(field))
        );
    }
}

#[test]
fn by_the_command_line() {
    let place = Place::with_model("tiny");
    place.write(
        "config.toml",
        "[schemas]\nencoder = \"tiny\"\nlinker = \"\"\n",
    );
    place.write("places.json", cities().to_string());
    place.ok(&["schema", "import", "places", "--database", "places.json"]);
    let hits = place.json(&[
        "schema",
        "values",
        "places",
        "fremont",
        "--limit",
        "1",
        "--no-meaning",
    ]);
    assert_eq!(hits["hits"][0]["column"], "name");
    let said = place
        .ok(&["schema", "values", "places", "zzz", "--no-meaning"])
        .out;
    assert!(said.contains("nothing"), "{said}");
    place.refused(Code::DatabaseNotFound, &["schema", "values", "other", "x"]);
    place.refused(Code::InvalidRequest, &["schema", "values", "places", " "]);
    place.write(
        "pairs.jsonl",
        "{\"question\": \"all cities\", \"sql\": \"SELECT name FROM cities\"}\n\nnot json\n\
         {\"question\": \"all planets\", \"query\": \"SELECT name FROM planets\"}\n\
         {\"question\": \"all rain\", \"query\": \"SELECT rain FROM weather\"}\n",
    );
    let loaded = place.json(&[
        "schema",
        "examples",
        "add",
        "places",
        "--file",
        "pairs.jsonl",
    ]);
    assert_eq!(loaded["total"], 2);
    let lines: Vec<u64> = loaded["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejected| rejected["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 4]);
    place.ok(&[
        "schema",
        "examples",
        "add",
        "places",
        "--question",
        "q",
        "--sql",
        "SELECT day FROM weather",
    ]);
    let list = place.json(&["schema", "examples", "list", "places"]);
    let id = list[2]["id"].as_str().unwrap();
    let similar = place.json(&[
        "schema",
        "examples",
        "similar",
        "places",
        "all cities",
        "--limit",
        "1",
    ]);
    assert_eq!(similar["examples"][0]["sql"], "SELECT name FROM cities");
    place.write("more.txt", "how many\n\nwhich ones\n");
    let worth = place.json(&[
        "schema", "examples", "annotate", "places", "more.txt", "--limit", "1",
    ]);
    assert_eq!(worth["questions"].as_array().unwrap().len(), 1);
    let prompt = place
        .ok(&[
            "schema",
            "retrieve",
            "places",
            "all cities",
            "--examples",
            "1",
        ])
        .out;
    assert!(prompt.contains("SELECT name FROM cities;"), "{prompt}");
    place.ok(&["schema", "examples", "remove", "places", id]);
    place.refused(
        Code::ExampleNotFound,
        &["schema", "examples", "remove", "places", id],
    );
    let which = place.json(&["schema", "which", "how many cities", "--schemas", "0"]);
    assert_eq!(which["databases"][0]["database"], "places");
}
