//! Promise: `GET /openapi.json` describes every route, and describes it as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::service::Service;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Every operation: address, method, description.
pub fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                found.push((path.clone(), method.to_uppercase(), operation.clone()));
            }
        }
    }
    found
}

fn document() -> (Service, Value) {
    let service = Service::new();
    let answer = service.get("/openapi.json");
    assert_eq!(answer.status, 200);
    let json = answer.json();
    (service, json)
}

/// The address with something in place of each name.
pub fn filled(path: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push_str(value);
        rest = after.split_once('}').unwrap().1;
    }
    out + rest
}

/// The address that a route has: what follows a name is an action, and the route's own matter.
fn routed(path: &str) -> String {
    match path.split_once("}:") {
        Some((before, _)) => format!("{before}}}"),
        None => path.to_string(),
    }
}

#[test]
fn the_methods_of_every_address_are_those_that_the_server_knows() {
    let (service, document) = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        described.entry(routed(&path)).or_default().insert(method);
    }
    assert!(described.len() > 40, "{}", described.len());
    for (path, methods) in described {
        // A method that no route has: the answer lists those that it has.
        let answer = service.send("TRACE", &filled(&path, "x"), &[], b"");
        if path == "/mcp" {
            continue;
        }
        assert_eq!(answer.status, 405, "{path}");
        let allowed: BTreeSet<String> = answer
            .header("allow")
            .unwrap()
            .split(',')
            .map(|method| method.trim().to_string())
            .filter(|method| method != "HEAD")
            .collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[test]
fn no_route_is_made_past_the_table() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api");
    let mut made = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in [
                ".route(",
                ".route_service(",
                ".nest(",
                ".nest_service(",
                ".merge(",
            ] {
                for _ in text.matches(call) {
                    made.push((path.file_name().unwrap().to_owned(), call));
                }
            }
        }
    }
    assert_eq!(made, [("mod.rs".into(), ".route(")]);
}

#[test]
fn every_reference_is_met_and_every_operation_has_its_name() {
    let (_service, document) = document();
    let mut references = BTreeSet::new();
    fn walk(value: &Value, references: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(to)) = object.get("$ref") {
                    references.insert(to.clone());
                }
                object.values().for_each(|value| walk(value, references));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, references)),
            _ => {}
        }
    }
    walk(&document, &mut references);
    assert!(references.len() > 50, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap().to_string();
        assert!(
            names.insert(name),
            "{method} {path}: a second one of its name"
        );
        assert!(
            operation["summary"].as_str().unwrap().ends_with('.'),
            "{path}"
        );
        let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        assert!(
            statuses.iter().any(|status| status.starts_with('2')),
            "{method} {path}"
        );
        let body = &operation["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            assert!(!body["example"].is_null(), "{method} {path}: no example");
        }
    }
}

/// What the examples name is made first; what is answered then is described.
#[test]
fn every_example_is_taken() {
    let (service, document) = document();
    let service = {
        let made = service.post(
            "/v1/indexes",
            &json!({"name": "notes", "fields": {
                "title": {"type": "text", "required": true}, "body": {"type": "text"},
                "stars": {"type": "integer"}
            }}),
        );
        assert_eq!(made.status, 201, "{}", made.json());
        service
    };
    let put = "/v1/indexes/notes/documents/n1?refresh=wait";
    assert_eq!(
        service
            .put(put, &json!({"title": "Night train", "stars": 4}))
            .status,
        201
    );
    let ddl = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);";
    let imported = service.post("/v1/schemas", &json!({"name": "shop", "ddl": ddl}));
    assert_eq!(imported.status, 201, "{}", imported.json());
    let mut refused = Vec::new();
    for (path, method, operation) in operations(&document) {
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        // Keys would shut the door behind this test; there are no vectors to fit a combiner of.
        let passed_over = ["/v1/keys", "/mcp", "/v1/indexes/{name}/feedback/fit"];
        if example.is_null() || passed_over.contains(&path.as_str()) {
            continue;
        }
        let address = match path.as_str() {
            path if path.starts_with("/v1/schemas/") => filled(path, "shop"),
            path => path.replace("{name}", "notes").replace("{id}", "n1"),
        };
        let answer = service.send(
            &method,
            &address,
            &[("content-type", "application/json")],
            example.to_string().as_bytes(),
        );
        let status = answer.status.to_string();
        assert!(
            operation["responses"].get(&status).is_some(),
            "{method} {address}: {status} is not described"
        );
        // What is not there may be missed (models are not); what is said has to be understood.
        let codes = [
            "invalid_request",
            "invalid_document",
            "invalid_definition",
            "invalid_schema",
            "invalid_filter",
            "invalid_query",
            "internal",
        ];
        if answer.status >= 400 && codes.contains(&answer.code().as_str()) {
            refused.push(format!("{method} {address}: {}", answer.json()));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}
