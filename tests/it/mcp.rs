//! Promise: over MCP, on standard input and output and over HTTP alike, the tools answer what REST
//! and the command line answer; their errors have the stable codes; and nothing that a peer sends
//! ends the server or keeps others from it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gleaner::config::Config;
use gleaner::index::Catalog;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ServiceError, ServiceExt};
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;

const DDL: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, town TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL,
                         customer_id INTEGER REFERENCES customers (id));";

type Client = RunningService<RoleClient, ()>;

async fn called(client: &Client, tool: &'static str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else {
        panic!("{arguments}");
    };
    let call = CallToolRequestParams::new(tool).with_arguments(arguments);
    client.call_tool(call).await.unwrap()
}

fn text(result: &CallToolResult) -> String {
    let blocks = result.content.iter();
    blocks
        .map(|block| block.as_text().unwrap().text.as_str())
        .collect()
}

/// The code of a tool's error, after a look at its text.
fn code(result: &CallToolResult) -> String {
    assert_eq!(result.is_error, Some(true), "{result:?}");
    let error = &result.structured_content.as_ref().unwrap()["error"];
    let code = error["code"].as_str().unwrap();
    assert!(text(result).ends_with(&format!("[{code}]")), "{result:?}");
    code.to_string()
}

/// What holds however the client is connected; `expected` is what REST or the command says.
async fn holds(client: &Client, expected: &Value) {
    let server = client.peer_info().unwrap();
    assert_eq!(server.server_info.as_ref().unwrap().name, "gleaner");
    assert!(
        server
            .instructions
            .as_ref()
            .unwrap()
            .contains("retrieve_schema")
    );

    let tools = client.list_all_tools().await.unwrap();
    for tool in &tools {
        let input = Value::Object((*tool.input_schema).clone());
        assert_eq!(input["type"], "object", "{}", tool.name);
        assert!(!input.to_string().contains("$ref"), "{input}");
        assert!(tool.description.is_some());
        // What comes of a call, be it an error, is held to it by clients.
        let output = Value::Object((**tool.output_schema.as_ref().unwrap()).clone());
        assert_eq!(output["type"], "object", "{}", tool.name);
        assert!(output.get("required").is_none(), "{output}");
        assert_eq!(output["anyOf"][1], json!({"required": ["error"]}));
        let failure = &output["properties"]["error"];
        assert_eq!(failure["required"], json!(["code", "message"]), "{failure}");
    }
    let retrieve = tools
        .iter()
        .find(|tool| tool.name == "retrieve_schema")
        .unwrap();
    let input = &retrieve.input_schema;
    assert_eq!(input["required"], json!(["database", "question"]));
    for (name, property) in input["properties"].as_object().unwrap() {
        assert!(property["description"].is_string(), "{name}: {property}");
    }

    let list = called(client, "list_databases", json!({})).await;
    assert_ne!(list.is_error, Some(true));
    let databases = &list.structured_content.as_ref().unwrap()["schemas"];
    assert_eq!(
        (&databases[0]["name"], &databases[0]["tables"]),
        (&json!("shop"), &json!(2))
    );
    assert!(
        text(&list).contains("shop (2 tables, 6 columns)"),
        "{}",
        text(&list)
    );

    let question = json!({"database": "shop", "question": "In which towns do customers live?",
                          "strategy": "retrieval", "mode": "minimal", "token_budget": 200});
    let answer = called(client, "retrieve_schema", question).await;
    assert_eq!(answer.structured_content.as_ref(), Some(expected));
    assert_eq!(json!(text(&answer)), expected["prompt"]);

    // A schema of DDL text has no cells, and nobody has stored a question.
    let value = json!({"database": "shop", "text": "Fremont", "meaning": false});
    let similar = json!({"database": "shop", "question": "Who lives there?"});
    for (tool, arguments, list) in [
        ("search_values", value, "hits"),
        ("similar_questions", similar, "examples"),
    ] {
        let answer = called(client, tool, arguments.clone()).await;
        let found = answer.structured_content.as_ref().unwrap();
        assert_eq!(found[list], json!([]), "{tool}: {found}");
        let mut elsewhere = arguments;
        elsewhere["database"] = json!("elsewhere");
        let refused = called(client, tool, elsewhere).await;
        assert_eq!(code(&refused), "database_not_found");
    }

    let long = "why ".repeat(25_000);
    for (arguments, expected) in [
        (
            json!({"database": "bank", "question": "Who?"}),
            "database_not_found",
        ),
        (
            json!({"database": "../shop", "question": "Who?"}),
            "database_not_found",
        ),
        (json!({"question": "Who?"}), "invalid_request"),
        (
            json!({"database": 7, "question": "Who?"}),
            "invalid_request",
        ),
        (json!({"database": "shop"}), "invalid_request"),
        (
            json!({"database": "shop", "question": " "}),
            "invalid_request",
        ),
        (
            json!({"database": "shop", "question": "Who?", "mood": "good"}),
            "invalid_request",
        ),
        (
            json!({"database": "shop", "question": "Who?", "mode": "all"}),
            "invalid_request",
        ),
        (
            json!({"database": "shop", "question": "Who?", "token_budget": 2}),
            "invalid_request",
        ),
        (
            json!({"database": "shop", "question": "Who?", "tokenizer": "no"}),
            "model_not_found",
        ),
        (
            json!({"database": "shop", "question": long}),
            "limit_exceeded",
        ),
    ] {
        let refused = called(client, "retrieve_schema", arguments.clone()).await;
        assert_eq!(code(&refused), expected, "{arguments}");
    }
    let refused = called(client, "list_databases", json!({"all": true})).await;
    assert_eq!(code(&refused), "invalid_request");

    let unknown = client
        .call_tool(CallToolRequestParams::new("drop_tables"))
        .await;
    assert!(
        matches!(unknown, Err(ServiceError::McpError(_))),
        "{unknown:?}"
    );
    // And on it goes.
    assert_eq!(client.list_all_tools().await.unwrap().len(), tools.len());
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn service(change: impl FnOnce(&mut Config)) -> Service {
    let service = Service::with(|config| {
        let models = config.data.folder.parent().unwrap().join("models");
        TinyModel::default().write(&models.join("gleaner-minilm"));
        TinyModel::linker().write(&models.join("gleaner-linker"));
        config.models.folders = vec![models];
        change(config);
    });
    let answer = service.post("/v1/schemas", &json!({"name": "shop", "ddl": DDL}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    service
}

const ASKED: &str = r#"{"question": "In which towns do customers live?",
    "strategy": "retrieval", "mode": "minimal", "token_budget": 200}"#;

#[test]
fn over_http() {
    let service = service(|_| {});
    let asked: Value = serde_json::from_str(ASKED).unwrap();
    let expected = service.post("/v1/schemas/shop:retrieve", &asked).json();
    let url = format!("http://{}/mcp", service.address);
    runtime().block_on(async {
        let client = ().serve(StreamableHttpClientTransport::from_uri(url)).await.unwrap();
        holds(&client, &expected).await;
        client.cancel().await.unwrap();
    });
}

/// What a POST to `/mcp` is answered.
fn posted(service: &Service, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut all = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    all.extend(headers);
    let answer = service.send("POST", "/mcp", &all, body.as_bytes());
    (
        answer.status,
        String::from_utf8_lossy(&answer.body).into_owned(),
    )
}

#[test]
fn what_is_no_message_is_refused_and_others_go_on() {
    let service = service(|_| {});
    let list = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}"#;
    let (status, body) = posted(&service, &[], list);
    assert!(
        status == 200 && body.contains("retrieve_schema"),
        "{status} {body}"
    );
    let large = format!(
        r#"{{"jsonrpc": "2.0", "id": 1, "method": "{}"}}"#,
        "x".repeat(gleaner::api::MOST_MESSAGE_BYTES)
    );
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "{",
        "[]",
        "7",
        "{}",
        &large,
        &deep,
        "\u{0}",
        r#"{"jsonrpc": "2.0", "id": 1}"#,
    ] {
        let (status, said) = posted(&service, &[], body);
        assert!((400..500).contains(&status), "{status} {said}");
    }
    // Web pages of others: by a name that was made to lead here, and by their own.
    for headers in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let (status, _) = posted(&service, &[headers], list);
        assert_eq!(status, 403, "{headers:?}");
    }
    // Nothing is held for a peer: no streams to open, no sessions to end.
    for method in ["GET", "DELETE"] {
        let answer = service.send(method, "/mcp", &[("accept", "text/event-stream")], b"");
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!(posted(&service, &[], list).0, 200);
}

#[test]
fn it_can_be_switched_off_and_reached_under_other_names() {
    let off = service(|config| config.mcp.enabled = false);
    let answer = off.post("/mcp", &json!({}));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "route_not_found")
    );
    let named = service(|config| {
        config.mcp.hosts = vec!["gleaner.example".into()];
        config.mcp.origins = vec!["https://app.example:443".into()];
    });
    let list = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}"#;
    let headers = [
        ("host", "gleaner.example"),
        ("origin", "https://app.example"),
    ];
    assert_eq!(posted(&named, &headers, list).0, 200);
}

/// `gleaner mcp` with `shop` in its catalogue.
fn place() -> Place {
    let place = Place::with_model("gleaner-minilm");
    place.write("shop.sql", DDL);
    place.ok(&["schema", "import", "shop", "--ddl", "shop.sql"]);
    place
}

fn started(place: &Place, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gleaner"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("GLEANER") || name.starts_with("XDG_") {
            command.env_remove(&*name);
        }
    }
    command
        .current_dir(place.folder())
        .env("HOME", place.folder())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end, which has to come soon.
fn ended(mut child: Child) -> (Option<i32>, String) {
    for _ in 0..600 {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            return (status.code(), said);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

#[test]
fn over_standard_input_and_output() {
    let place = place();
    let question = "In which towns do customers live?";
    let args = [
        "schema",
        "retrieve",
        "shop",
        question,
        "--strategy",
        "retrieval",
    ];
    let expected = place.json(&[&args[..], &["--mode", "minimal", "--budget", "200"]].concat());
    let mut child = started(&place, &["mcp"]);
    let runtime = runtime();
    runtime.block_on(async {
        use tokio::net::unix::pipe;
        let to: std::os::fd::OwnedFd = child.stdin.take().unwrap().into();
        let from: std::os::fd::OwnedFd = child.stdout.take().unwrap().into();
        let to = pipe::Sender::from_owned_fd(to).unwrap();
        let from = pipe::Receiver::from_owned_fd(from).unwrap();
        let client = ().serve((from, to)).await.unwrap();
        holds(&client, &expected).await;
        client.cancel().await.unwrap();
    });
    drop(runtime);
    // Whoever started it has gone: it goes as well, without a word of trouble.
    let (status, said) = ended(child);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn nonsense_on_standard_input_ends_nothing() {
    let place = place();
    let mut child = started(&place, &["mcp"]);
    let mut to = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begin = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        {"protocolVersion": "2025-06-18", "capabilities": {},
         "clientInfo": {"name": "test", "version": "1"}}});
    writeln!(to, "{begin}").unwrap();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["result"]["serverInfo"]["name"], "gleaner", "{first}");
    writeln!(
        to,
        r#"{{"jsonrpc": "2.0", "method": "notifications/initialized"}}"#
    )
    .unwrap();
    writeln!(to, "{{\nnonsense\n\n[[[").unwrap();
    writeln!(to, "{}", "x".repeat(4 * gleaner::api::MOST_MESSAGE_BYTES)).unwrap();
    to.write_all(b"\xff\xfe\n").unwrap();
    writeln!(
        to,
        r#"{{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}}"#
    )
    .unwrap();
    let answer = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|answer| answer["id"] == 2)
        .unwrap();
    assert!(answer["result"]["tools"].is_array(), "{answer}");
    drop(to);
    assert_eq!(ended(child).0, Some(0));
}

#[test]
fn a_peer_that_says_nothing_or_something_else() {
    let place = place();
    let child = started(&place, &["mcp"]);
    assert_eq!(
        ended({
            let mut child = child;
            drop(child.stdin.take());
            child
        })
        .0,
        Some(0)
    );
    let mut child = started(&place, &["mcp"]);
    let mut to = child.stdin.take().unwrap();
    writeln!(
        to,
        r#"{{"jsonrpc": "2.0", "method": "notifications/initialized"}}"#
    )
    .unwrap();
    drop(to);
    let (_, said) = ended(child);
    assert!(!said.contains("panicked"), "{said}");
}

/// What the operator has to mend is told to the one who started the command, and to nobody over
/// the network.
#[test]
fn an_operators_trouble_names_paths_to_the_operator_alone() {
    let place = place();
    std::fs::remove_dir_all(place.path("models")).unwrap();
    let mut child = started(&place, &["mcp"]);
    let mut to = child.stdin.take().unwrap();
    for message in [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
            {"protocolVersion": "2025-06-18", "capabilities": {},
             "clientInfo": {"name": "test", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
            {"name": "retrieve_schema",
             "arguments": {"database": "shop", "question": "Who?"}}}),
    ] {
        writeln!(to, "{message}").unwrap();
    }
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answer = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|answer| answer["id"] == 2)
        .unwrap();
    let error = &answer["result"]["structuredContent"]["error"];
    assert_eq!(error["code"], "operator_error", "{answer}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("found: gleaner-"),
        "{answer}"
    );
    drop(to);
    ended(child);

    let service = service(|_| {});
    std::fs::remove_dir_all(service.folder().join("models")).unwrap();
    let call = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "retrieve_schema", "arguments": {"database": "shop", "question": "Who?"}}}"#;
    let (status, body) = posted(&service, &[], call);
    assert!(
        status == 200 && body.contains("operator_error"),
        "{status} {body}"
    );
    assert!(!body.contains("found: gleaner-"), "{body}");
}

#[test]
fn whoever_it_is_said_to_be_asks() {
    let service = service(|config| config.mcp.caller = Some("support".into()));
    let permissions = json!({"callers": {
        "support": {"allow": ["customers"]},
        "boss": {"allow": ["*"]},
    }});
    let answer = service.put("/v1/schemas/shop/permissions", &permissions);
    assert_eq!(answer.status, 200, "{}", answer.json());
    let url = format!("http://{}/mcp", service.address);
    runtime().block_on(async {
        let client = ().serve(StreamableHttpClientTransport::from_uri(url)).await.unwrap();
        for tool in client.list_all_tools().await.unwrap() {
            let input = &tool.input_schema["properties"];
            assert!(input.get("caller").is_none(), "{}: {input}", tool.name);
        }
        // What a model was talked into says nothing.
        for caller in [Value::Null, json!("boss")] {
            let mut asked = json!({"database": "shop", "question": "How many orders?"});
            if !caller.is_null() {
                asked["caller"] = caller;
            }
            let answer = called(&client, "retrieve_schema", asked).await;
            assert_ne!(answer.is_error, Some(true), "{answer:?}");
            let text = text(&answer);
            assert!(
                text.contains("customers") && !text.contains("orders ("),
                "{text}"
            );
        }
        client.cancel().await.unwrap();
    });
}

/// What was found, without what differs from one time to the next.
fn found(mut answer: Value) -> Value {
    assert!(answer["timings"].take().is_object(), "{answer}");
    answer
}

fn structured(result: &CallToolResult) -> Value {
    assert_ne!(result.is_error, Some(true), "{result:?}");
    result.structured_content.clone().unwrap()
}

#[test]
fn indexes_are_searched_as_rest_searches_them() {
    let service = service(|_| {}).with_notes();
    let alias = json!({"aliases": {"papers": "notes"}});
    assert_eq!(service.post("/v1/aliases", &alias).status, 200);
    let asked = [
        json!({"query": "train", "mode": "lexical"}),
        json!({"query": "train", "mode": "lexical", "k": 1, "offset": 1, "filter": "stars >= 1"}),
        json!({"query": "night", "mode": "lexical", "highlight": {"pre": "[", "post": "]"},
               "explain": true, "facets": {"stars": 3}}),
        json!({"vector": [0.0, 1.0, 0.0], "fields": ["stars"]}),
        json!({"sort": [{"field": "stars", "order": "desc"}]}),
        json!({"query": "nothing", "mode": "lexical"}),
    ];
    let texts = [
        vec!["1. ", "2. ", "night train", "slow train"],
        vec!["2. "],
        vec!["1. a (score", "[night] train", "stars: 4 1"],
        vec!["1. b (score 1.0000)\n   {\"stars\":2}"],
        vec!["1. a (score 0.0000)\n   night train\n2. b"],
        vec!["Nothing was found."],
    ];
    let url = format!("http://{}/mcp", service.address);
    runtime().block_on(async {
        let client = ().serve(StreamableHttpClientTransport::from_uri(url)).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        let search = tools.iter().find(|tool| tool.name == "search").unwrap();
        let input = &search.input_schema;
        assert_eq!(input["required"], json!(["index"]));
        for argument in ["index", "query", "k", "filter", "mode", "highlight"] {
            let says = &input["properties"][argument]["description"];
            assert!(says.is_string(), "{argument}: {says}");
        }
        assert!(input["properties"].get("only").is_none());

        let list = called(&client, "list_indexes", json!({})).await;
        assert_eq!(structured(&list), service.get("/v1/indexes").json());
        assert_eq!(text(&list), "notes (2 documents)\n");

        for (request, said) in asked.iter().zip(texts) {
            let expected = found(service.search(request.clone()).json());
            for name in ["notes", "papers"] {
                let mut arguments = request.clone();
                arguments["index"] = json!(name);
                let answer = called(&client, "search", arguments).await;
                assert_eq!(found(structured(&answer)), expected, "{request}");
                for said in &said {
                    assert!(text(&answer).contains(said), "{said:?}: {}", text(&answer));
                }
            }
        }

        for (arguments, expected, field) in [
            (json!({"query": "train"}), "invalid_request", "index"),
            (
                json!({"index": 7, "query": "train"}),
                "invalid_request",
                "index",
            ),
            (
                json!({"index": "other", "query": "train"}),
                "index_not_found",
                "index",
            ),
            (
                json!({"index": "../notes", "query": "train"}),
                "index_not_found",
                "index",
            ),
            (json!({"index": "notes"}), "invalid_request", "query"),
            (
                json!({"index": "notes", "query": " "}),
                "invalid_query",
                "query",
            ),
            (
                json!({"index": "notes", "query": "train", "kk": 3}),
                "invalid_request",
                "kk",
            ),
            (
                json!({"index": "notes", "query": "train", "k": "3"}),
                "invalid_request",
                "k",
            ),
            (
                json!({"index": "notes", "query": "train", "k": 100_000}),
                "limit_exceeded",
                "k",
            ),
            (
                json!({"index": "notes", "query": "train", "mode": "dense"}),
                "invalid_request",
                "mode",
            ),
            (
                json!({"index": "notes", "query": "train", "filter": "nothing = 1"}),
                "invalid_filter",
                "nothing",
            ),
            (
                json!({"index": "notes", "queries": [{"query": "train"}]}),
                "invalid_request",
                "queries",
            ),
            (
                json!({"index": "notes", "query": "train", "caller": "boss"}),
                "invalid_request",
                "caller",
            ),
        ] {
            let refused = called(&client, "search", arguments.clone()).await;
            assert_eq!(code(&refused), expected, "{arguments}");
            let error = &refused.structured_content.as_ref().unwrap()["error"];
            assert_eq!(error["field"], field, "{arguments}: {error}");
        }
        let refused = called(&client, "list_indexes", json!({"all": true})).await;
        assert_eq!(code(&refused), "invalid_request");
        client.cancel().await.unwrap();
    });
}

#[test]
fn a_settled_caller_is_none_of_a_searchs_fields() {
    let service = service(|config| config.mcp.caller = Some("support".into())).with_notes();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "search", "arguments": {"index": "notes", "query": "train", "mode": "lexical"}}});
    let (status, body) = posted(&service, &[], &call.to_string());
    assert!(
        status == 200 && body.contains("night train"),
        "{status} {body}"
    );
}

#[test]
fn texts_are_linked_as_rest_links_them() {
    let service = service(|config| config.entities.encoder = "gleaner-minilm".into());
    let names = json!([{"name": "red river", "id": "q1"}, {"name": "mountain", "id": "q3"}]);
    let made = service.post("/v1/entities", &json!({"name": "things", "names": names}));
    assert_eq!(made.status, 201, "{}", made.json());
    let asked = json!({"catalog": "things", "text": "É Red River is by the Mountain.",
                       "threshold": 0, "alternatives": 3});
    let expected = service.post("/v1/entities:link", &asked).json();
    let url = format!("http://{}/mcp", service.address);
    runtime().block_on(async {
        let client = ().serve(StreamableHttpClientTransport::from_uri(url)).await.unwrap();
        let list = called(&client, "list_catalogs", json!({})).await;
        assert_eq!(structured(&list), service.get("/v1/entities").json());
        assert_eq!(text(&list), "things (2 names)\n");
        let answer = called(&client, "link_entities", asked.clone()).await;
        assert_eq!(structured(&answer), expected);
        let said = text(&answer);
        assert!(
            said.contains("2-11 \"Red River\" is red river [q1] ("),
            "{said}"
        );
        for (change, expected) in [
            (json!({"catalog": "other"}), "catalog_not_found"),
            (json!({"catalog": 7}), "invalid_request"),
            (json!({"text": null}), "invalid_request"),
            (json!({"texts": []}), "invalid_request"),
            (json!({"threshold": 2}), "invalid_request"),
        ] {
            let mut arguments = asked.clone();
            for (name, value) in change.as_object().unwrap() {
                arguments[name] = value.clone();
            }
            let refused = called(&client, "link_entities", arguments).await;
            assert_eq!(code(&refused), expected, "{change}");
        }
        client.cancel().await.unwrap();
    });
}

const NOTES: &str = r#"
name = "notes"
[fields.title]
type = "text"
[fields.body]
type = "text"
"#;

/// Over standard input and output the indexes of the folder are opened, as long as no other process
/// has them, and let go of when they are not asked about any more.
#[test]
fn indexes_are_searched_next_to_servers_that_come_and_go() {
    let place = Place::new();
    place.write("notes.toml", NOTES);
    place.write(
        "notes.jsonl",
        "{\"id\": \"a\", \"title\": \"Rivers\", \"body\": \"The river is\\nred.\"}\n",
    );
    place.ok(&["index", "create", "notes.toml"]);
    place.ok(&["ingest", "notes", "notes.jsonl"]);
    let mut child = started(&place, &["mcp"]);
    let runtime = runtime();
    let river = json!({"index": "notes", "query": "river"});
    runtime.block_on(async {
        use tokio::net::unix::pipe;
        let to: std::os::fd::OwnedFd = child.stdin.take().unwrap().into();
        let from: std::os::fd::OwnedFd = child.stdout.take().unwrap().into();
        let to = pipe::Sender::from_owned_fd(to).unwrap();
        let from = pipe::Receiver::from_owned_fd(from).unwrap();
        let client = ().serve((from, to)).await.unwrap();
        let list = called(&client, "list_indexes", json!({})).await;
        assert_eq!(structured(&list)["indexes"], json!([{"name": "notes"}]));
        let answer = called(&client, "search", river.clone()).await;
        assert_eq!(structured(&answer)["hits"][0]["id"], "a");
        let said = text(&answer);
        assert!(said.starts_with("1. a (score "), "{said}");
        assert!(
            said.contains("\n   Rivers\n   The river is red.\n"),
            "{said}"
        );
        let refused = called(
            &client,
            "search",
            json!({"index": "notes", "words": "river"}),
        )
        .await;
        assert_eq!(code(&refused), "invalid_request");

        // Another process, which is this one, comes to have it, and sees what is written meanwhile.
        let catalog = Catalog::new(&place.config()).unwrap();
        let mut tries = 0;
        let index = loop {
            match catalog.get("notes") {
                Ok(index) => break index,
                Err(error) => assert!(tries < 120, "it is not let go of: {error}"),
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        let refused = called(&client, "search", river.clone()).await;
        assert_eq!(code(&refused), "index_in_use");
        assert!(
            text(&refused).contains("/mcp of that server"),
            "{refused:?}"
        );
        let list = called(&client, "list_indexes", json!({})).await;
        assert_eq!(structured(&list)["indexes"], json!([{"name": "notes"}]));
        // It goes, and this one answers again.
        drop(index);
        drop(catalog);
        let answer = called(&client, "search", river.clone()).await;
        assert_eq!(structured(&answer)["hits"][0]["id"], "a");
        client.cancel().await.unwrap();
    });
    drop(runtime);
    let (status, said) = ended(child);
    assert_eq!(status, Some(0), "{said}");
}

/// Of source code the text says where it is and shows it.
#[test]
fn a_hit_of_code_is_its_place_and_its_lines() {
    let place = Place::with_model("gleaner-minilm");
    let body: String = (1..30).map(|n| format!("    step({n});\n")).collect();
    let code = format!("/// Walks on.\npub fn walk_on() {{\n{body}}}\n");
    place.write("shop/src/walk.rs", code);
    place.ok(&["ingest", "code", "--code", "shop", "--create"]);
    let mut child = started(&place, &["mcp"]);
    let mut to = child.stdin.take().unwrap();
    for message in [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
            {"protocolVersion": "2025-06-18", "capabilities": {},
             "clientInfo": {"name": "test", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
            {"name": "search", "arguments":
                {"index": "code", "query": "walk on", "mode": "lexical", "k": 1}}}),
    ] {
        writeln!(to, "{message}").unwrap();
    }
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answer = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|answer| answer["id"] == 2)
        .unwrap();
    let said = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        said.contains("\n   src/walk.rs:1-32 function walk::walk_on\n"),
        "{said}"
    );
    assert!(
        said.contains("\n       step(3);\n") && said.contains("more lines\n"),
        "{said}"
    );
    drop(to);
    ended(child);
}
