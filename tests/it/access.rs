//! Promise: a key may do what its scopes say, to what its patterns name; a tenant's token is told
//! nothing of another tenant's, on any route.

use std::collections::BTreeSet;

use gleaner::access::{AuditEntry, KeyRequest, Keys, Scope};
use serde_json::{Value, json};

use crate::openapi::{filled, operations};
use crate::support::service::{Answer, Service};

/// A service with an administrator's key.
fn guarded() -> (Service, String) {
    let service = Service::new();
    let made = service.post("/v1/keys", &json!({"name": "admin", "scopes": ["admin"]}));
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let key = made.json()["key"].as_str().unwrap().to_string();
    (service, key)
}

fn send(service: &Service, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("authorization", bearer.as_str())];
    let bytes = match body {
        Value::Null => Vec::new(),
        body => {
            headers.push(("content-type", "application/json"));
            body.to_string().into_bytes()
        }
    };
    service.send(method, path, &headers, &bytes)
}

fn key(service: &Service, admin: &str, scopes: &[&str], indexes: &[&str]) -> String {
    let body = json!({"scopes": scopes, "indexes": indexes});
    let made = send(service, admin, "POST", "/v1/keys", &body);
    assert_eq!(made.status, 201, "{}", made.json());
    made.json()["key"].as_str().unwrap().to_string()
}

/// An index whose documents belong to two tenants.
fn shared(service: &Service, admin: &str) {
    let definition = json!({"name": "shared", "fields": {
        "tenant": {"type": "keyword"}, "title": {"type": "text"}, "day": {"type": "integer"},
        "vector": {"type": "keyword"}
    }, "unknown_fields": "store", "embedding": {"dimensions": 3, "vector_field": "v"}});
    let made = send(service, admin, "POST", "/v1/indexes", &definition);
    assert_eq!(made.status, 201, "{}", made.json());
    let documents = json!([
        {"id": "a1", "tenant": "a", "title": "apples of ours", "day": 1, "v": [1.0, 0.0, 0.0]},
        {"id": "a2", "tenant": "a", "title": "apples and pears", "day": 2, "v": [0.9, 0.1, 0.0]},
        {"id": "b1", "tenant": "b", "title": "apples zanzibar", "day": 3, "v": [1.0, 0.1, 0.0]},
        {"id": "b2", "tenant": "b", "title": "zanzibar pears", "day": 4, "v": [0.0, 0.0, 1.0]},
    ]);
    let path = "/v1/indexes/shared/documents?refresh=wait";
    let written = send(service, admin, "POST", path, &documents);
    assert_eq!(written.status, 200, "{}", written.json());
}

fn token(service: &Service, key: &str, filter: &str) -> String {
    let made = send(
        service,
        key,
        "POST",
        "/v1/tokens",
        &json!({"filter": filter}),
    );
    assert_eq!(made.status, 201, "{}", made.json());
    made.json()["token"].as_str().unwrap().to_string()
}

#[test]
fn without_a_key_nothing_but_health_is_answered() {
    let (service, admin) = guarded();
    let document = service.get("/openapi.json").json();
    let mut open = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let address = filled(&path, "x");
        let answer = service.send(&method, &address, &[], b"");
        if operation.get("security").is_none() {
            open.insert(path);
            continue;
        }
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.code(), "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        for wrong in [
            "Basic YTpi",
            "Bearer",
            "Bearer glk_0_0",
            "Bearer v4.local.AAAA",
        ] {
            let answer = service.send(&method, &address, &[("authorization", wrong)], b"");
            assert_eq!(answer.status, 401, "{method} {path} {wrong}");
        }
    }
    assert_eq!(
        open.into_iter().collect::<Vec<_>>(),
        ["/health", "/openapi.json", "/ready"]
    );
    assert_eq!(
        send(&service, &admin, "GET", "/v1/indexes", &Value::Null).status,
        200
    );
}

#[test]
fn scopes_hold_on_every_route() {
    let (service, admin) = guarded();
    let search = key(&service, &admin, &["search"], &["*"]);
    let write = key(&service, &admin, &["write"], &["*"]);
    let document = service.get("/openapi.json").json();
    let mut seen = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let says = operation["description"].as_str().unwrap();
        let Some(scope) = ["search", "write", "admin"]
            .into_iter()
            .find(|scope| says.contains(&format!("scope `{scope}`")))
        else {
            continue;
        };
        seen.insert(scope);
        for (key, has) in [(&search, "search"), (&write, "write")] {
            let answer = send(&service, key, &method, &filled(&path, "x"), &Value::Null);
            let refused = answer.status == 403 && answer.code() == "not_permitted";
            assert_eq!(
                refused,
                scope != has,
                "{method} {path} with {has}: {}",
                answer.status
            );
        }
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn patterns_hold_on_every_route_that_names_an_index() {
    let (service, admin) = guarded();
    shared(&service, &admin);
    let narrow = key(
        &service,
        &admin,
        &["search", "write", "admin"],
        &["other-*"],
    );
    let document = service.get("/openapi.json").json();
    for (path, method, operation) in operations(&document) {
        if path.contains("/{name}") && !path.contains("/models/") {
            let address = path.replace("{name}", "shared").replace("{id}", "a1");
            let answer = send(&service, &narrow, &method, &address, &Value::Null);
            assert_eq!(answer.code(), "not_permitted", "{method} {address}");
            continue;
        }
        // The names are in the body, or there are several.
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let mut body = example.clone();
        if let Some(object) = body.as_object_mut() {
            for field in ["name", "index", "catalog"] {
                if object.contains_key(field) {
                    object.insert(field.into(), "shared".into());
                }
            }
        }
        let nameless = [
            "/v1/models",
            "/v1/embeddings",
            "/rerank",
            "/v1/tokens",
            "/health",
            "/ready",
            "/openapi.json",
            // What is named is in the arguments of a tool: see below.
            "/mcp",
        ];
        if nameless.iter().any(|part| path.contains(part)) {
            continue;
        }
        let answer = send(&service, &narrow, &method, &filled(&path, "x"), &body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match (method.as_str(), answer.status) {
            // Lists leave out what is not reached.
            ("GET", 200) => assert!(!text.contains("shared"), "{path}: {text}"),
            (_, 403) => assert_eq!(answer.code(), "not_permitted", "{method} {path}"),
            (_, 404) => {}
            _ => panic!("{method} {path}: {} {text}", answer.status),
        }
    }
    // What it reaches, it may.
    let definition = json!({"name": "other-1", "fields": {"title": {"type": "text"}}});
    assert_eq!(
        send(&service, &narrow, "POST", "/v1/indexes", &definition).status,
        201
    );
    let list = send(&service, &narrow, "GET", "/v1/indexes", &Value::Null).json();
    assert_eq!(list["indexes"].as_array().unwrap().len(), 1);
    // No alias of its own takes it to the other.
    let alias = json!({"aliases": {"other-2": "shared"}});
    let answer = send(&service, &narrow, "POST", "/v1/aliases", &alias);
    assert_eq!(answer.code(), "not_permitted");
    let into = json!({"into": "shared-2"});
    let answer = send(
        &service,
        &narrow,
        "POST",
        "/v1/indexes/other-1/reindex",
        &into,
    );
    assert_eq!(answer.code(), "not_permitted");
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let hits = answer.json();
    let hits = hits["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| hit["id"].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn a_tenants_token_is_told_nothing_of_another_tenants() {
    let (service, admin) = guarded();
    shared(&service, &admin);
    let a = token(&service, &admin, "tenant = \"a\"");
    let search = |body: Value| send(&service, &a, "POST", "/v1/indexes/shared/search", &body);
    // Every leg, every order, and whatever the caller's own filter says.
    for body in [
        json!({"query": "apples", "mode": "lexical"}),
        json!({"query": "zanzibar OR apples", "mode": "lexical"}),
        json!({"vector": [1.0, 0.1, 0.0]}),
        json!({"vector": [1.0, 0.1, 0.0], "exact": true}),
        json!({"query": "apples", "vector": [1.0, 0.1, 0.0], "mode": "hybrid"}),
        json!({"sort": [{"field": "day", "order": "desc"}]}),
        json!({"query": "apples", "mode": "lexical", "filter": "tenant = \"b\" OR tenant = \"a\""}),
        json!({"query": "apples", "mode": "lexical", "filter": "NOT tenant = \"c\""}),
        json!({"query": "apples", "mode": "lexical", "collapse": {"field": "tenant"}}),
        json!({"query": "apples", "mode": "lexical", "facets": {"tenant": 10, "day": 10}}),
        json!({"like": {"ids": ["a1"]}}),
    ] {
        let answer = search(body.clone());
        let found = ids(&answer);
        assert!(!found.is_empty(), "{body}");
        assert!(
            found.iter().all(|id| id.starts_with('a')),
            "{body}: {found:?}"
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        for word in ["zanzibar", "\"b\"", "b1", "b2"] {
            assert!(!text.contains(word), "{body}: {text}");
        }
        let total = answer.json()["total"]["value"].as_u64().unwrap();
        assert!(total <= 2, "{body}: {text}");
    }
    assert!(ids(&search(json!({"query": "zanzibar", "mode": "lexical"}))).is_empty());
    let only_b = json!({"query": "apples", "mode": "lexical", "filter": "tenant = \"b\""});
    assert!(ids(&search(only_b)).is_empty());
    // Not as an example either, and as if it were not there.
    let like = |id: &str| search(json!({"like": {"ids": [id]}}));
    let (other, nobody) = (like("b1"), like("nobody"));
    assert_eq!((other.status, other.code()), (nobody.status, nobody.code()));
    // Several at once.
    let several = search(
        json!({"queries": [{"query": "zanzibar", "mode": "lexical"}, {"vector": [0.0, 0.0, 1.0]}]}),
    );
    let text = String::from_utf8_lossy(&several.body).into_owned();
    assert!(text.contains("a1") && !text.contains("zanzibar"), "{text}");
    // What tells how frequent words are elsewhere.
    let explained = search(json!({"query": "apples", "explain": true}));
    assert_eq!(explained.code(), "not_permitted");
    // One document.
    let read = |id: &str| {
        let path = format!("/v1/indexes/shared/documents/{id}");
        send(&service, &a, "GET", &path, &Value::Null)
    };
    assert_eq!(read("a1").status, 200);
    let (other, nobody) = (read("b1"), read("nobody"));
    assert_eq!((other.status, other.code()), (404, nobody.code()));
    let same = |answer: &Answer, id: &str| {
        let mut json = answer.json();
        json["request_id"] = Value::Null;
        json.to_string().replace(id, "ID")
    };
    assert_eq!(same(&other, "b1"), same(&nobody, "nobody"));
    // Every other route is shut.
    let document = service.get("/openapi.json").json();
    let takes = [
        "/v1/indexes/{name}/search",
        "/v1/indexes/{name}/documents/{id}",
    ];
    for (path, method, operation) in operations(&document) {
        if path == "/mcp" {
            // It is open for one of its tools: see below.
            continue;
        }
        let open = operation.get("security").is_none();
        let address = path.replace("{name}", "shared").replace("{id}", "b1");
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let answer = send(&service, &a, &method, &address, example);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("zanzibar"), "{method} {path}: {text}");
        let taken = takes.contains(&path.as_str()) && (method == "GET" || path.ends_with("search"));
        if !open && !taken {
            assert_eq!(answer.code(), "not_permitted", "{method} {path}");
        }
    }
}

/// What a message to `/mcp` is answered.
fn message(service: &Service, key: &str, method: &str, params: &Value) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    service.send("POST", "/mcp", &headers, body.to_string().as_bytes())
}

/// What a tool answers: the code of its error, or nothing, and all that is said.
fn tool(service: &Service, key: &str, name: &str, arguments: &Value) -> (String, Value, String) {
    let call = json!({"name": name, "arguments": arguments});
    let answer = message(service, key, "tools/call", &call);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{name}: {text}");
    let content = answer.json()["result"]["structuredContent"].clone();
    assert!(content.is_object(), "{name}: {text}");
    let code = content["error"]["code"].as_str().unwrap_or_default();
    (code.to_string(), content, text)
}

/// The tools that a key is offered.
fn offered(service: &Service, key: &str) -> Vec<String> {
    let answer = message(service, key, "tools/list", &json!({}));
    assert_eq!(answer.status, 200);
    let tools = answer.json()["result"]["tools"].clone();
    let tools = tools.as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_string())
        .collect()
}

/// A call of every tool that would tell something of what is shared.
fn calls(service: &Service, admin: &str) -> Vec<(String, Value)> {
    let names = offered(service, admin);
    assert!(names.len() >= 8, "{names:?}");
    let call = |name: String| {
        let arguments = match name.as_str() {
            "list_databases" | "list_indexes" | "list_catalogs" => json!({}),
            "retrieve_schema" | "similar_questions" => {
                json!({"database": "shared", "question": "Which zanzibar?"})
            }
            "search_values" => json!({"database": "shared", "text": "zanzibar"}),
            "search" => json!({"index": "shared", "query": "apples", "mode": "lexical"}),
            "link_entities" => json!({"catalog": "shared", "text": "the zanzibar"}),
            other => panic!("{other} is not tried here"),
        };
        (name, arguments)
    };
    names.into_iter().map(call).collect()
}

/// A service whose index, database and catalog are all called `shared`.
fn shared_everywhere() -> (Service, String) {
    let (service, admin) = guarded();
    shared(&service, &admin);
    let ddl = json!({"name": "shared", "ddl": "CREATE TABLE zanzibar (id INTEGER)"});
    let made = send(&service, &admin, "POST", "/v1/schemas", &ddl);
    assert_eq!(made.status, 201, "{}", made.json());
    (service, admin)
}

#[test]
fn patterns_hold_on_every_tool() {
    let (service, admin) = shared_everywhere();
    let narrow = key(&service, &admin, &["search"], &["other-*"]);
    let definition = json!({"name": "other-1", "fields": {"title": {"type": "text"}}});
    let made = send(&service, &admin, "POST", "/v1/indexes", &definition);
    assert_eq!(made.status, 201);
    for (name, arguments) in calls(&service, &admin) {
        let (code, _, text) = tool(&service, &narrow, &name, &arguments);
        match name.starts_with("list_") {
            true => assert!(
                code.is_empty() && !text.contains("shared"),
                "{name}: {text}"
            ),
            false => assert_eq!(code, "not_permitted", "{name}: {text}"),
        }
        for secret in ["zanzibar", "apples of ours", "a1"] {
            let asked = arguments.to_string().contains(secret);
            assert!(asked || !text.contains(secret), "{name}: {text}");
        }
        // The same whether there is something of that name or not.
        let absent = arguments.to_string().replace("shared", "absent");
        let absent: Value = serde_json::from_str(&absent).unwrap();
        let (other, _, other_text) = tool(&service, &narrow, &name, &absent);
        assert_eq!(code, other, "{name}");
        assert_eq!(text, other_text.replace("absent", "shared"), "{name}");
    }
    // Not by a wrong field either, nor by an alias whose name is not reached.
    let alias = json!({"aliases": {"theirs": "other-1"}});
    let answer = send(&service, &admin, "POST", "/v1/aliases", &alias);
    assert_eq!(answer.status, 200, "{}", answer.json());
    for arguments in [
        json!({"index": "shared", "sort": [{"field": "nothing"}]}),
        json!({"index": "shared", "mood": "good"}),
        json!({"index": "theirs", "query": "apples"}),
    ] {
        let (code, ..) = tool(&service, &narrow, "search", &arguments);
        assert_eq!(code, "not_permitted", "{arguments}");
    }
    // What it reaches, it may.
    let (_, list, _) = tool(&service, &narrow, "list_indexes", &json!({}));
    assert_eq!(list["indexes"].as_array().unwrap().len(), 1, "{list}");
    let arguments = json!({"index": "other-1", "query": "apples"});
    let (code, found, _) = tool(&service, &narrow, "search", &arguments);
    assert!(code.is_empty() && found["hits"] == json!([]), "{found}");
    // Who may write alone may call nothing.
    let write = key(&service, &admin, &["write"], &["*"]);
    let refused = message(&service, &write, "tools/list", &json!({}));
    assert_eq!(
        (refused.status, refused.code()),
        (403, "not_permitted".into())
    );
}

#[test]
fn a_tenants_token_is_told_nothing_of_another_tenants_by_any_tool() {
    let (service, admin) = shared_everywhere();
    let a = token(&service, &admin, "tenant = \"a\"");
    assert_eq!(offered(&service, &a), ["search"]);
    for (name, arguments) in calls(&service, &admin) {
        let (code, _, text) = tool(&service, &a, &name, &arguments);
        assert!(
            !text.contains("apples zanzibar") && !text.contains("TABLE"),
            "{name}: {text}"
        );
        let expected = if name == "search" {
            ""
        } else {
            "not_permitted"
        };
        assert_eq!(code, expected, "{name}: {text}");
    }
    for request in [
        json!({"query": "apples", "mode": "lexical"}),
        json!({"query": "zanzibar OR apples", "mode": "lexical"}),
        json!({"vector": [1.0, 0.1, 0.0]}),
        json!({"query": "apples", "vector": [1.0, 0.1, 0.0], "mode": "hybrid"}),
        json!({"sort": [{"field": "day", "order": "desc"}]}),
        json!({"query": "apples", "mode": "lexical", "filter": "tenant = \"b\" OR tenant = \"a\""}),
        json!({"query": "apples", "mode": "lexical", "facets": {"tenant": 10, "day": 10}}),
        json!({"like": {"ids": ["a1"]}}),
    ] {
        let path = "/v1/indexes/shared/search";
        let mut expected = send(&service, &a, "POST", path, &request).json();
        let mut arguments = request.clone();
        arguments["index"] = json!("shared");
        let (code, mut found, text) = tool(&service, &a, "search", &arguments);
        assert_eq!(code, "", "{request}: {text}");
        for word in ["zanzibar", "\"b\"", "b1", "b2"] {
            assert!(!text.contains(word), "{request}: {text}");
        }
        assert!(!found["hits"].as_array().unwrap().is_empty(), "{request}");
        found["timings"].take();
        expected["timings"].take();
        assert_eq!(found, expected, "{request}");
    }
    for (request, expected) in [
        (json!({"query": "apples", "explain": true}), "not_permitted"),
        (json!({"like": {"ids": ["b1"]}}), "document_not_found"),
        (json!({"like": {"ids": ["nobody"]}}), "document_not_found"),
        // Nothing that is called lets a caller say what it may see.
        (json!({"query": "apples", "only": {}}), "invalid_request"),
    ] {
        let mut arguments = request.clone();
        arguments["index"] = json!("shared");
        let (code, ..) = tool(&service, &a, "search", &arguments);
        assert_eq!(code, expected, "{request}");
    }
    // Nor where the token does not reach.
    let made = json!({"filter": "tenant = \"a\"", "indexes": ["others"]});
    let made = send(&service, &admin, "POST", "/v1/tokens", &made).json();
    let elsewhere = made["token"].as_str().unwrap();
    let arguments = json!({"index": "shared", "query": "apples"});
    let (code, ..) = tool(&service, elsewhere, "search", &arguments);
    assert_eq!(code, "not_permitted");
}

#[test]
fn a_cursor_goes_on_for_who_began_it() {
    let (service, admin) = guarded();
    shared(&service, &admin);
    let a = token(&service, &admin, "tenant = \"a\"");
    let b = token(&service, &admin, "tenant = \"b\"");
    let path = "/v1/indexes/shared/search";
    let first = json!({"query": "apples", "mode": "lexical", "k": 1, "cursor": {"keep_s": 60}});
    let begun = send(&service, &a, "POST", path, &first);
    let cursor = begun.json()["cursor"].as_str().unwrap().to_string();
    let next = json!({"cursor": {"token": cursor}});
    for other in [&b, &admin] {
        let answer = send(&service, other, "POST", path, &next);
        assert_eq!(answer.code(), "cursor_expired");
    }
    assert_eq!(ids(&send(&service, &a, "POST", path, &next)).len(), 1);
}

#[test]
fn a_revoked_key_ends_at_once_and_with_it_its_tokens() {
    let (service, admin) = guarded();
    shared(&service, &admin);
    let search = key(&service, &admin, &["search"], &["*"]);
    let narrow = token(&service, &search, "tenant = \"a\"");
    let ask = |key: &str| {
        let body = json!({"query": "apples", "mode": "lexical"});
        send(&service, key, "POST", "/v1/indexes/shared/search", &body).status
    };
    assert_eq!((ask(&search), ask(&narrow)), (200, 200));
    let id = search.split('_').nth(1).unwrap();
    let shown = send(
        &service,
        &admin,
        "GET",
        &format!("/v1/keys/{id}"),
        &Value::Null,
    );
    assert!(shown.json().get("key").is_none() && shown.json()["id"] == id);
    let path = format!("/v1/keys/{id}");
    assert_eq!(
        send(&service, &admin, "DELETE", &path, &Value::Null).status,
        204
    );
    assert_eq!((ask(&search), ask(&narrow)), (401, 401));
    let again = send(&service, &admin, "DELETE", &path, &Value::Null);
    assert_eq!(again.code(), "key_not_found");
}

#[test]
fn acts_of_administrators_are_noted_and_so_are_attempts() {
    let (service, admin) = guarded();
    let search = key(&service, &admin, &["search"], &["*"]);
    let definition = json!({"name": "noted", "fields": {"title": {"type": "text"}}});
    let refused = send(&service, &search, "POST", "/v1/indexes", &definition);
    assert_eq!(refused.status, 403);
    let made = send(&service, &admin, "POST", "/v1/indexes", &definition);
    assert_eq!(made.status, 201);
    let log = service.folder().join("data/audit.jsonl");
    let text = std::fs::read_to_string(log).unwrap();
    let acts: Vec<AuditEntry> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |status: u16| {
        acts.iter()
            .find(|act| act.operation == "createIndex" && act.status == status)
            .unwrap_or_else(|| panic!("{status} is not in {text}"))
    };
    assert_eq!(of(201).request_id.as_deref(), made.header("x-request-id"));
    assert_eq!(of(201).key.as_deref(), admin.split('_').nth(1));
    assert!(of(201).peer.as_ref().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(of(403).request, "POST /v1/indexes");
    assert!(!text.contains(admin.rsplit('_').next().unwrap()));
}

#[test]
fn beyond_this_machine_it_listens_with_a_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::support::world::config_in(folder.path());
    config.server.listen = "0.0.0.0:0".into();
    let listen = || {
        let catalog = std::sync::Arc::new(gleaner::index::Catalog::new(&config).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let bound = runtime.block_on(gleaner::api::Server::bind(&config, catalog));
        bound.map(|server| server.local_addr())
    };
    let refused = listen().unwrap_err().to_string();
    assert!(refused.contains("gleaner keys create"), "{refused}");
    let keys = Keys::open(&config.data.folder).unwrap();
    let made = keys.create(KeyRequest {
        name: String::new(),
        scopes: vec![Scope::Admin],
        indexes: vec!["*".into()],
        expires_at: None,
    });
    made.unwrap();
    assert!(listen().is_ok());
}

#[test]
fn nothing_beside_the_hits_tells_a_token_of_what_it_may_not_see() {
    let (service, admin) = guarded();
    shared(&service, &admin);
    let other = json!({"name": "apart", "fields": {"title": {"type": "text"}}});
    assert_eq!(
        send(&service, &admin, "POST", "/v1/indexes", &other).status,
        201
    );
    let secret = json!([{"id": "b3", "tenant": "b", "title": "x", "day": 1, "extra": "hidden", "v": [1, 0, 0]},
        {"id": "a3", "tenant": "a", "title": "zanzibax", "day": 1, "extra": 1, "v": [1, 0, 0]}]);
    let path = "/v1/indexes/shared/documents?refresh=wait";
    assert_eq!(send(&service, &admin, "POST", path, &secret).status, 200);
    let a = token(&service, &admin, "tenant = \"a\"");
    // An index that the token's filter is not about: neither the filter nor the fields are told.
    let search = json!({"query": "apples", "mode": "lexical"});
    let apart = send(&service, &a, "POST", "/v1/indexes/apart/search", &search);
    assert_eq!(apart.code(), "not_permitted");
    assert!(!String::from_utf8_lossy(&apart.body).contains("tenant"));
    // One that is not there: nor which there are.
    let missing = send(&service, &a, "POST", "/v1/indexes/missing/search", &search);
    assert_eq!(missing.code(), "index_not_found");
    assert!(!String::from_utf8_lossy(&missing.body).contains("apart"));
    // Whether a misspelt word is forgiven would tell whether somebody else has it.
    for word in ["zanzibar", "zanzibay"] {
        let body = json!({"query": word, "mode": "lexical"});
        let found = send(&service, &a, "POST", "/v1/indexes/shared/search", &body);
        assert!(ids(&found).is_empty(), "{word}");
    }
    // A definition that would not take the documents any more.
    let shown = send(&service, &admin, "GET", "/v1/indexes/shared", &Value::Null);
    let mut definition = shown.json()["definition"].clone();
    definition["unknown_fields"] = "reject".into();
    let changed = send(&service, &admin, "PUT", "/v1/indexes/shared", &definition);
    assert_eq!(changed.status, 200, "{}", changed.json());
    let read = |id: &str| {
        let path = format!("/v1/indexes/shared/documents/{id}");
        send(&service, &a, "GET", &path, &Value::Null)
    };
    assert_eq!(read("a3").status, 200);
    assert_eq!(read("b3").code(), "document_not_found");
    // So many patterns that they would cost everybody time.
    let many: Vec<String> = (0..65).map(|n| format!("a{n}*")).collect();
    let request = json!({"filter": "tenant = \"a\"", "indexes": many});
    let refused = send(&service, &admin, "POST", "/v1/tokens", &request);
    assert_eq!(refused.code(), "invalid_request");
    // An attempt without a key that counts is no line of the log: anybody could fill it.
    let log = || std::fs::read_to_string(service.folder().join("data/audit.jsonl")).unwrap();
    let before = log().len();
    for _ in 0..3 {
        assert_eq!(service.delete("/v1/indexes/shared").status, 401);
    }
    assert_eq!(log().len(), before);
}

#[test]
fn an_act_is_noted_although_nobody_waits_for_its_answer() {
    use std::io::Write;
    let (service, admin) = guarded();
    let body = json!({"name": "left", "fields": {"title": {"type": "text"}}}).to_string();
    let mut socket = std::net::TcpStream::connect(service.address).unwrap();
    write!(
        socket,
        "POST /v1/indexes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    // Read on the other side, most likely, and not answered yet.
    std::thread::sleep(std::time::Duration::from_millis(30));
    drop(socket);
    let begun = std::time::Instant::now();
    let log = service.folder().join("data/audit.jsonl");
    while !std::fs::read_to_string(&log)
        .unwrap()
        .contains("createIndex")
    {
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(20),
            "it was not noted"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let shown = send(&service, &admin, "GET", "/v1/indexes/left", &Value::Null);
    assert_eq!(shown.status, 200);
}
