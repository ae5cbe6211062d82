//! Promise: `POST /v1/embeddings` and `GET /v1/models` speak OpenAI's protocol: every shape of
//! input, both encodings, usage; what cannot be done is refused with its field, and what
//! nobody waits for any more is not encoded.
//!
//! `make test-clients` asks the same with the official client.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gleaner::config::Config;
use gleaner::model::{RuntimeOptions, Task, TextEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::service::{Answer, Service};
use crate::support::tiny_model::{TinyModel, runtime};

const MODEL: &str = "tiny";

/// A server with a tiny model that has prompts and, as our own folder, short vectors.
struct Encoders {
    service: Service,
    models: TempDir,
}

impl Encoders {
    fn new() -> Encoders {
        Encoders::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Encoders {
        let model = TinyModel {
            query_prompt: "search: ",
            ..TinyModel::default()
        };
        Encoders::of(&model, change)
    }

    fn of(model: &TinyModel, change: impl FnOnce(&mut Config)) -> Encoders {
        let models = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        model.write(source.path());
        let mut options =
            gleaner::model::PrepareOptions::new(MODEL, gleaner::model::Precision::Fp32);
        options.runtime = runtime();
        let folder = models.path().join(MODEL);
        gleaner::model::prepare(source.path(), &folder, &options).unwrap();
        let path = folder.join("model.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("matryoshka = [8]\n{text}")).unwrap();
        let service = Service::with(|config| {
            config.models.folders = vec![models.path().into()];
            config.models.runtime = runtime();
            change(config);
        });
        Encoders { service, models }
    }

    fn ask(&self, body: &Value) -> Answer {
        self.service.post("/v1/embeddings", body)
    }

    /// The answer to a request for the model that must succeed.
    fn vectors(&self, more: Value) -> Value {
        let mut body = json!({"model": MODEL});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.ask(&body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.json());
        answer.json()
    }

    fn encoder(&self) -> TextEncoder {
        open(&self.models.path().join(MODEL))
    }
}

fn open(folder: &Path) -> TextEncoder {
    TextEncoder::open(folder, &runtime()).unwrap()
}

/// The vector at this place, of numbers.
fn vector(answer: &Value, place: usize) -> Vec<f32> {
    let one = &answer["data"][place];
    assert_eq!(one["object"], "embedding");
    assert_eq!(one["index"], place);
    let values = one["embedding"].as_array().unwrap();
    values.iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

#[test]
fn every_shape_of_input_is_encoded_as_by_the_library() {
    let encoders = Encoders::new();
    let encoder = encoders.encoder();
    let texts = ["the red river", "", "a cat in the house"];
    let expected = encoder.encode(Task::Document, &texts).unwrap();
    let ids = encoder.token_ids(Task::Document, &texts).unwrap();
    let all = encoders.vectors(json!({"input": texts}));
    assert_eq!(all["object"], "list");
    assert_eq!(all["model"], MODEL);
    assert_eq!(all["data"].as_array().unwrap().len(), texts.len());
    let tokens: u32 = expected.tokens.iter().sum();
    assert_eq!(
        all["usage"],
        json!({"prompt_tokens": tokens, "total_tokens": tokens})
    );
    assert_eq!(all.get("truncated"), None);
    let lists = encoders.vectors(json!({"input": ids}));
    for (place, row) in expected.rows().enumerate() {
        assert_eq!(vector(&all, place), row);
        assert_eq!(vector(&lists, place), row);
    }
    let first = expected.rows().next().unwrap();
    for input in [json!(texts[0]), json!(ids[0])] {
        let one = encoders.vectors(json!({"input": input, "user": "me"}));
        assert_eq!(one["data"].as_array().unwrap().len(), 1);
        assert_eq!(vector(&one, 0), first);
    }
    // Base64 is the same values, exactly.
    let packed = encoders.vectors(json!({"input": texts, "encoding_format": "base64"}));
    for (place, row) in expected.rows().enumerate() {
        let text = packed["data"][place]["embedding"].as_str().unwrap();
        let bytes = STANDARD.decode(text).unwrap();
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(values, row);
    }
}

#[test]
fn tasks_prompts_lengths_and_windows_are_chosen_by_request() {
    let encoders = Encoders::new();
    let encoder = encoders.encoder();
    let text = "the red river";
    let query = encoders.vectors(json!({"input": text, "task": "query"}));
    let expected = encoder.encode(Task::Query, &[text]).unwrap();
    assert_eq!(vector(&query, 0), expected.vectors);
    let named = encoders.vectors(json!({"input": text, "prompt_name": "query"}));
    assert_eq!(named["data"], query["data"]);
    let given = encoders.vectors(json!({"input": text, "prompt": "search: "}));
    assert_eq!(given["data"], query["data"]);

    let short = encoders.vectors(json!({"input": text, "dimensions": 8}));
    let whole = encoder.encode(Task::Document, &[text]).unwrap().vectors;
    let length = whole[..8].iter().map(|v| v * v).sum::<f32>().sqrt();
    let values = vector(&short, 0);
    assert_eq!(values.len(), 8);
    for (a, b) in values.iter().zip(&whole) {
        assert!((a - b / length).abs() < 1e-6);
    }
    let full = encoders.vectors(json!({"input": text, "dimensions": 32}));
    assert_eq!(vector(&full, 0), whole);

    let long = "cat dog ".repeat(80);
    let cut = encoders.vectors(json!({"input": ["a", long]}));
    assert_eq!(cut["truncated"], json!([1]));
    assert_eq!(cut["usage"]["total_tokens"], 3 + 64);
    let whole = encoders.vectors(json!({"input": ["a", long], "long_texts": "windows"}));
    assert_eq!(whole.get("truncated"), None);
    assert!(whole["usage"]["total_tokens"].as_u64().unwrap() > 160);
}

#[test]
fn what_cannot_be_done_is_refused_with_its_field() {
    let encoders = Encoders::with(|config| {
        config.limits.embedding_inputs = 4;
        config.limits.embedding_tokens = 100;
        config.limits.field_bytes = 1000;
    });
    let text = "a cat";
    let cases = [
        (
            json!({"model": "nobody", "input": text}),
            404,
            "model_not_found",
            "model",
        ),
        (json!({"model": MODEL}), 400, "invalid_request", "input"),
        (json!({"input": text}), 400, "invalid_request", "model"),
        (
            json!({"model": MODEL, "input": []}),
            400,
            "invalid_request",
            "input",
        ),
        (
            json!({"model": MODEL, "input": {}}),
            400,
            "invalid_request",
            "input",
        ),
        (
            json!({"model": MODEL, "input": ["a", 3]}),
            400,
            "invalid_request",
            "input",
        ),
        (
            json!({"model": MODEL, "input": [["a"]]}),
            400,
            "invalid_request",
            "input[0][0]",
        ),
        (
            json!({"model": MODEL, "input": [1, 5000]}),
            400,
            "invalid_request",
            "input[0]",
        ),
        (
            json!({"model": MODEL, "input": vec!["a"; 5]}),
            400,
            "limit_exceeded",
            "input",
        ),
        (
            json!({"model": MODEL, "input": vec!["cat ".repeat(40); 3]}),
            400,
            "limit_exceeded",
            "input",
        ),
        (
            json!({"model": MODEL, "input": ["a", "b".repeat(1001)]}),
            400,
            "limit_exceeded",
            "input[1]",
        ),
        (
            json!({"model": MODEL, "input": text, "dimensions": 9}),
            400,
            "invalid_request",
            "dimensions",
        ),
        (
            json!({"model": MODEL, "input": text, "encoding_format": "hex"}),
            400,
            "invalid_request",
            "encoding_format",
        ),
        (
            json!({"model": MODEL, "input": text, "encoding_format": 3}),
            400,
            "invalid_request",
            "encoding_format",
        ),
        (
            json!({"model": MODEL, "input": text, "task": ["query"]}),
            400,
            "invalid_request",
            "task",
        ),
        (
            json!({"model": MODEL, "input": text, "task": "both"}),
            400,
            "invalid_request",
            "task",
        ),
        (
            json!({"model": MODEL, "input": text, "prompt_name": "x"}),
            400,
            "invalid_request",
            "prompt_name",
        ),
        (
            json!({"model": MODEL, "input": text, "prompt": "cat ".repeat(99)}),
            400,
            "invalid_request",
            "prompt",
        ),
        (
            json!({"model": MODEL, "input": text, "expert": "law"}),
            404,
            "model_not_found",
            "expert",
        ),
        (
            json!({"model": MODEL, "input": text, "inputs": 3}),
            400,
            "invalid_request",
            "inputs",
        ),
    ];
    for (body, status, code, field) in cases {
        let answer = encoders.ask(&body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{body}"
        );
        let error = &answer.json()["error"];
        assert_eq!(error["field"], field, "{body}: {error}");
        assert!(error["expected"].is_string(), "{body}: {error}");
    }
    let wrong = encoders.service.send(
        "POST",
        "/v1/embeddings",
        &[("content-type", "text/plain")],
        b"{}",
    );
    assert_eq!(wrong.status, 415);
    assert_eq!(encoders.service.get("/v1/embeddings").status, 405);
    // Nothing of it harms what comes after.
    encoders.vectors(json!({"input": text}));
}

#[test]
fn models_are_listed_and_shown() {
    let encoders = Encoders::new();
    std::fs::create_dir(encoders.models.path().join("broken")).unwrap();
    std::fs::write(encoders.models.path().join("broken/model.toml"), "x").unwrap();
    let list = encoders.service.get("/v1/models").json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    let entry = &list["data"][0];
    assert_eq!(entry["id"], MODEL);
    assert_eq!(entry["object"], "model");
    assert_eq!(entry["owned_by"], "gleaner");
    assert!(entry["created"].as_u64().unwrap() > 1_600_000_000);
    assert_eq!(entry["dimensions"], 32);
    assert_eq!(entry["matryoshka"], json!([8]));
    let shown = encoders.service.get(&format!("/v1/models/{MODEL}"));
    assert_eq!(shown.json(), *entry);
    for name in ["nobody", "broken", "..%2Ftiny"] {
        let answer = encoders.service.get(&format!("/v1/models/{name}"));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "model_not_found")
        );
    }
}

#[test]
fn a_broken_model_is_not_the_callers_mistake_and_names_no_folder() {
    let encoders = Encoders::new();
    let folder = encoders.models.path().join(MODEL);
    let graph = folder.join("model.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    let definition = json!({
        "name": "notes",
        "fields": {"title": {"type": "text"}},
        "embedding": {"model": MODEL, "fields": ["title"]},
    });
    let ask = || {
        let embedded = encoders.ask(&json!({"model": MODEL, "input": "a cat"}));
        let made = encoders.service.post("/v1/indexes", &definition);
        [embedded, made]
    };
    let of_bytes = ask();
    std::fs::write(folder.join("model.toml"), "name").unwrap();
    for answer in of_bytes.into_iter().chain(ask()) {
        let said = answer.json().to_string();
        assert_eq!(answer.status, 500, "{said}");
        assert_eq!(answer.code(), "invalid_model");
        let home = encoders.models.path().to_str().unwrap();
        assert!(!said.contains(home) && !said.contains("sha256"), "{said}");
    }
    let listed = encoders.service.get("/v1/models").json();
    assert_eq!(listed["data"], json!([]));
}

/// A model whose texts take a while.
fn slow() -> TinyModel {
    TinyModel {
        hidden: 256,
        layers: 6,
        intermediate: 1024,
        max_tokens: 128,
        ..TinyModel::default()
    }
}

#[test]
fn a_full_queue_is_an_overload_and_ends() {
    let encoders = Encoders::of(&slow(), |config| {
        config.models.runtime = RuntimeOptions {
            sessions: Some(1),
            queue_texts: 60,
            ..runtime()
        };
    });
    let long = "tree ".repeat(120);
    let body = json!({"model": MODEL, "input": vec![long; 50]});
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| encoders.ask(&body)))
            .collect();
        asking.into_iter().map(|a| a.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert!(!done.is_empty() && !refused.is_empty());
    for answer in refused {
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    encoders.vectors(json!({"input": "a cat"}));
}

#[test]
fn a_query_does_not_wait_for_a_load_and_a_caller_who_left_costs_nothing() {
    let encoders = Encoders::of(&slow(), |config| {
        config.models.runtime = RuntimeOptions {
            sessions: Some(1),
            ..runtime()
        };
    });
    encoders.vectors(json!({"input": "warm up"}));
    let long = "tree ".repeat(120);
    let body = json!({"model": MODEL, "input": vec![long; 1500]}).to_string();
    let load = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(encoders.service.address).unwrap();
    socket.write_all(load.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    encoders.vectors(json!({"input": "the blue house", "task": "query"}));
    let query = asked.elapsed();
    // The load's caller leaves; what is left of it would take much longer than this.
    drop(socket);
    let asked = Instant::now();
    encoders.vectors(json!({"input": vec!["another load"; 4]}));
    let other = asked.elapsed();
    assert!(query < Duration::from_secs(5), "{query:?}");
    assert!(other < Duration::from_secs(5), "{other:?}");
}

#[test]
fn an_index_may_be_of_an_expert_and_of_short_vectors() {
    let encoders = Encoders::new();
    let create = |embedding: Value| {
        let definition = json!({
            "name": "notes",
            "fields": {"title": {"type": "text"}},
            "embedding": embedding,
        });
        encoders.service.post("/v1/indexes", &definition)
    };
    let wrong = create(json!({"model": MODEL, "expert": "law", "fields": ["title"]}));
    assert_eq!(wrong.code(), "model_not_found");
    assert_eq!(wrong.json()["error"]["field"], "embedding.expert");
    let wrong = create(json!({"expert": "law", "vector_field": "v", "dimensions": 3}));
    assert_eq!(wrong.json()["error"]["field"], "embedding.expert");
    let wrong = create(json!({"model": MODEL, "dimensions": 9, "fields": ["title"]}));
    assert_eq!(wrong.code(), "invalid_definition");
    let made = create(json!({"model": MODEL, "dimensions": 8, "fields": ["title"]}));
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.json()["stats"]["dimensions"], 8);
    let written = encoders.service.post(
        "/v1/indexes/notes/documents?refresh=wait",
        &json!([{"id": "a", "title": "the red river"}, {"id": "b", "title": "a cat"}]),
    );
    assert_eq!(written.status, 200, "{}", written.json());
    let found = encoders
        .service
        .search(json!({"query": "a cat", "mode": "dense"}));
    assert_eq!(found.json()["hits"].as_array().unwrap().len(), 2);
}
