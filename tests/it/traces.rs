//! Promise: with the address of a collector each request is sent as a span, a child of its caller's,
//! with its stages below it; without one nothing is; and a collector that is not there stops nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use serde_json::json;

use gleaner::error::Code;

use crate::support::binary::Place;
use crate::support::program::Program;
use crate::support::world::DEFINITION;

/// Takes spans, as a collector does.
struct Collector {
    address: String,
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Collector {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let received: Arc<Mutex<Vec<ExportTraceServiceRequest>>> = Arc::default();
        let kept = received.clone();
        let take = post(move |body: Bytes| async move {
            kept.lock()
                .push(ExportTraceServiceRequest::decode(body).unwrap());
            // An empty answer is that all were taken.
            Vec::new()
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", take);
        runtime.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Collector {
            address,
            received,
            _runtime: runtime,
        }
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock();
        let resources = received.iter().flat_map(|one| &one.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn until(&self, what: &str, holds: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            let spans = self.spans();
            if holds(&spans) {
                return spans;
            }
            let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
            assert!(Instant::now() < limit, "never: {what}: {names:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn place() -> Place {
    let place = Place::new();
    place.write("notes.toml", DEFINITION);
    place.ok(&["index", "create", "notes.toml"]);
    place
}

fn search(program: &Program, headers: &[(&str, &str)]) {
    let body = json!({"query": "train", "vector": [1.0, 0.0, 0.0]});
    let (status, answer) = program.ask("POST", "/v1/indexes/notes/search", headers, &body);
    assert_eq!(status, 200, "{answer}");
}

fn text(span: &Span, attribute: &str) -> String {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|one| one.key == attribute);
    let value = found.and_then(|one| one.value.as_ref()?.value.as_ref());
    match value {
        Some(AnyValue::StringValue(text)) => text.clone(),
        Some(AnyValue::IntValue(number)) => number.to_string(),
        other => panic!("{attribute}: {other:?} in {span:?}"),
    }
}

const NAME: &str = "POST /v1/indexes/{name}/search";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_search_is_a_span_of_its_callers_trace() {
    let collector = Collector::start();
    let place = place();
    let settings = [
        ("GLEANER__TELEMETRY__ENDPOINT", collector.address.as_str()),
        // Of those alone whose caller is traced.
        ("GLEANER__TELEMETRY__SAMPLE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let program = Program::start(&place, &settings).ready();
    search(&program, &[]);
    let of = |flags: &str| format!("00-{TRACE}-{PARENT}-{flags}");
    search(&program, &[("traceparent", &of("00"))]);
    let headers = [
        ("traceparent", of("01")),
        ("x-request-id", "traced-1".into()),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    search(&program, &headers);

    let spans = collector.until("the search is sent", |spans| {
        let names = ["search", "fetch", NAME];
        names
            .iter()
            .all(|name| spans.iter().any(|span| span.name == *name))
    });
    let named = |name: &str| {
        let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {spans:?}");
        found[0]
    };
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    let request = named(NAME);
    assert_eq!(hex(&request.parent_span_id), PARENT);
    // A server's.
    assert_eq!(request.kind, 2);
    assert_eq!(text(request, "http.route"), "/v1/indexes/{name}/search");
    assert_eq!(text(request, "http.request.method"), "POST");
    assert_eq!(text(request, "http.response.status_code"), "200");
    assert_eq!(text(request, "gleaner.request_id"), "traced-1");
    let whole = named("search");
    assert_eq!(whole.parent_span_id, request.span_id);
    assert_eq!(text(whole, "gleaner.index"), "notes");
    for stage in ["filter", "words", "vectors", "fusion", "fetch"] {
        assert_eq!(named(stage).parent_span_id, whole.span_id, "{stage}");
    }
    let received = collector.received.lock();
    let resource = received[0].resource_spans[0].resource.as_ref().unwrap();
    let mut attributes = resource.attributes.iter();
    assert!(attributes.any(|one| one.key == "service.name"
        && one.value.as_ref().unwrap().value == Some(AnyValue::StringValue("gleaner".into()))));
    assert!(!format!("{spans:?}").contains("train"), "{spans:?}");
}

#[test]
fn what_is_encoded_on_another_thread_is_a_part_of_its_search() {
    let collector = Collector::start();
    let place = Place::with_model("vectors");
    place.write(
        "articles.toml",
        "name = \"notes\"\n[fields.title]\ntype = \"text\"\n[embedding]\nmodel = \"vectors\"\nfields = [\"title\"]\n",
    );
    place.ok(&["index", "create", "articles.toml"]);
    let settings = [
        ("GLEANER__TELEMETRY__ENDPOINT", collector.address.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let program = Program::start(&place, &settings).ready();
    let body = json!({"query": "river"});
    assert_eq!(
        program
            .ask("POST", "/v1/indexes/notes/search", &[], &body)
            .0,
        200
    );
    let spans = collector.until("the encoding is sent", |spans| {
        let names = ["encode", "search"];
        names
            .iter()
            .all(|name| spans.iter().any(|span| span.name == *name))
    });
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(find("encode").parent_span_id, find("search").span_id);
    assert_eq!(find("encode").trace_id, find("search").trace_id);
}

#[test]
fn a_server_that_ends_sends_what_is_left() {
    let collector = Collector::start();
    let settings = [
        ("GLEANER__TELEMETRY__ENDPOINT", collector.address.as_str()),
        // By itself it would not within the test.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ];
    let place = place();
    let program = Program::start(&place, &settings).ready();
    search(&program, &[]);
    assert!(collector.spans().is_empty());
    program.stop();
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == NAME), "{spans:?}");
}

#[test]
fn a_collector_that_is_away_stops_nobody_and_is_mentioned_once() {
    let place = place();
    // A port that nobody listens on any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let settings = [
        ("GLEANER__TELEMETRY__ENDPOINT", address.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    let program = Program::start(&place, &settings).ready();
    const LOST: &str = "traces cannot be sent, and are dropped";
    search(&program, &[]);
    program.until_said(LOST, 1);
    // Further batches fail as well.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        search(&program, &[]);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(program.said(LOST).len(), 1, "{}", program.log());
}

#[test]
fn without_a_collector_there_is_nothing() {
    let place = place();
    let threads = |program: &Program| -> Vec<String> {
        let tasks = format!("/proc/{}/task", program.id());
        let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
        let names = tasks.map(|task| std::fs::read_to_string(task.path().join("comm")));
        names.map_while(Result::ok).collect()
    };
    let has = |program: &Program| {
        let names = threads(program);
        names.iter().any(|name| name.starts_with("OpenTelemetry"))
    };
    if cfg!(target_os = "linux") {
        let program = Program::start(&place, &[]).ready();
        search(
            &program,
            &[("traceparent", &format!("00-{TRACE}-{PARENT}-01"))],
        );
        assert!(!has(&program));
        drop(program);
        let collector = Collector::start();
        let settings = [("GLEANER__TELEMETRY__ENDPOINT", collector.address.as_str())];
        assert!(has(&Program::start(&place, &settings).ready()));
    }
    for (key, value) in [
        ("GLEANER__TELEMETRY__ENDPOINT", "nowhere"),
        ("GLEANER__TELEMETRY__SAMPLE", "1.5"),
    ] {
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        let output = command.env(key, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(Code::InvalidConfiguration.as_str()), "{said}");
        let field = key.trim_start_matches("GLEANER__").replace("__", ".");
        assert!(said.contains(&field.to_lowercase()), "{said}");
    }
}
