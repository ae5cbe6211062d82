//! Promise: a request that is sent again under its key changes nothing twice, whatever became
//! of it the first time, and is answered as it was.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::service::{Answer, Service};
use crate::support::world::DEFINITION;

const NOTES: &str = "/v1/indexes/notes";

fn keyed(service: &Service, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    service.send(method, path, &headers, &body)
}

fn seq(service: &Service) -> u64 {
    let stats = service.get(NOTES).json();
    stats["stats"]["durable_seq"].as_u64().unwrap()
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[test]
fn every_kind_of_write_is_done_once_and_answered_the_same() {
    let mut service = Service::new().with_notes();
    let one = json!({"title": "ferry", "vector": [0.0, 0.0, 1.0]});
    let part = json!({"stars": 5});
    let many = json!([
        {"id": "m1", "title": "tram", "vector": [0.0, 1.0, 1.0]},
        {"id": "m2", "title": 7},
    ]);
    let operations = json!([
        {"put": {"id": "m1", "title": "tram", "vector": [0.0, 1.0, 1.0]}, "if_version": 0},
        {"update": {"id": "nobody", "stars": 1}},
        {"update": {"id": "m1", "stars": 1}},
        {"delete": "b"},
        {"update": {"id": "nobody", "stars": 2}},
    ]);
    let requests = [
        ("PUT", format!("{NOTES}/documents/n?if_version=0"), &one),
        ("PATCH", format!("{NOTES}/documents/n"), &part),
        ("POST", format!("{NOTES}/documents"), &many),
        (
            "POST",
            format!("{NOTES}/operations?refresh=wait"),
            &operations,
        ),
        (
            "POST",
            format!("{NOTES}/documents:delete"),
            &json!({"filter": "stars = 1"}),
        ),
        ("DELETE", format!("{NOTES}/documents/a"), &Value::Null),
    ];
    let mut first = Vec::new();
    for (n, (method, path, body)) in requests.iter().enumerate() {
        let before = seq(&service);
        let answer = keyed(&service, method, path, &format!("key {n}"), body);
        assert!(answer.status < 300, "{path}: {answer:?}");
        assert!(!replayed(&answer));
        assert!(seq(&service) > before, "{path} did nothing");
        first.push(answer);
    }
    // Straight away, and after a restart.
    for round in 0..2 {
        let before = seq(&service);
        for (n, (method, path, body)) in requests.iter().enumerate() {
            let again = keyed(&service, method, path, &format!("key {n}"), body);
            assert_eq!(again.status, first[n].status, "{path}, round {round}");
            assert_eq!(again.body, first[n].body, "{path}, round {round}");
            assert!(replayed(&again), "{path}, round {round}");
        }
        assert_eq!(seq(&service), before, "round {round}");
        service = service.restart(|_| {});
    }
    // Without a key it is done again.
    let before = seq(&service);
    let again = service.post(&requests[2].1, &many);
    assert_eq!(again.status, 207);
    assert_eq!(seq(&service), before + 1);
}

#[test]
fn a_key_is_for_one_request() {
    let service = Service::new().with_notes();
    let path = format!("{NOTES}/documents/n");
    let body = json!({"title": "ferry", "vector": [0.0, 0.0, 1.0]});
    assert_eq!(keyed(&service, "PUT", &path, "k", &body).status, 201);
    let other = json!({"title": "barge", "vector": [0.0, 0.0, 1.0]});
    for (method, path, body) in [
        ("PUT", path.clone(), &other),
        ("PUT", format!("{path}?refresh=wait"), &body),
        ("PUT", format!("{NOTES}/documents/m"), &body),
        ("PATCH", path.clone(), &body),
    ] {
        let answer = keyed(&service, method, &path, "k", body);
        assert_eq!(
            (answer.status, &*answer.code()),
            (422, "key_reused"),
            "{path}"
        );
    }
    assert_eq!(service.get(&path).json()["document"]["title"], "ferry");

    // What was refused was not done: its key is still free, for the same or another request.
    let path = format!("{NOTES}/documents/a");
    let stale = format!("{path}?if_version=77");
    assert_eq!(keyed(&service, "PUT", &stale, "r", &body).status, 409);
    let wrong = json!({"stars": "many"});
    assert_eq!(keyed(&service, "PUT", &path, "r", &wrong).status, 400);
    assert_eq!(keyed(&service, "PUT", &path, "r", &body).status, 200);

    for wrong in ["", &"x".repeat(256)] {
        let answer = keyed(&service, "PUT", &path, wrong, &body);
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "invalid_request"),
            "{wrong}"
        );
        assert_eq!(answer.json()["error"]["field"], "idempotency-key");
    }
    let two = [
        ("content-type", "application/json"),
        ("idempotency-key", "1"),
        ("idempotency-key", "2"),
    ];
    let body = body.to_string();
    let answer = service.send("PUT", &path, &two, body.as_bytes());
    assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"));
}

#[test]
fn records_are_kept_as_long_as_configured() {
    let service = Service::with(|config| config.limits.idempotency_hours = 0).with_notes();
    let path = format!("{NOTES}/documents/n");
    let body = json!({"title": "ferry", "vector": [0.0, 0.0, 1.0]});
    assert_eq!(keyed(&service, "PUT", &path, "k", &body).status, 201);
    // Records count in whole seconds.
    std::thread::sleep(Duration::from_millis(1_100));
    let again = keyed(&service, "PUT", &path, "k", &body);
    assert_eq!(
        again.status, 200,
        "a record past its time is none: it is done again"
    );
}

#[test]
fn the_same_request_sent_at_the_same_time_is_done_by_one() {
    let service = Service::new().with_notes();
    let before = seq(&service);
    let documents: Vec<Value> = (0..500)
        .map(|n| json!({"id": format!("d{n}"), "title": "tram", "vector": [0.0, 1.0, 0.0]}))
        .collect();
    let documents = Value::from(documents);
    let path = format!("{NOTES}/documents");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| keyed(&service, "POST", &path, "k", &documents)))
            .collect();
        sent.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for answer in &answers {
        match answer.status {
            200 => assert_eq!(answer.json()["written"], 500),
            409 => assert_eq!(answer.code(), "request_in_progress"),
            other => panic!("{other}: {}", answer.json()),
        }
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    assert_eq!(seq(&service), before + 500);
}

#[test]
fn a_reindexing_takes_over_what_was_done() {
    let service = Service::new().with_notes();
    let moved = service.post("/v1/aliases", &json!({"aliases": {"library": "notes"}}));
    assert_eq!(moved.status, 200);
    let path = "/v1/indexes/library/documents";
    let documents = json!([
        {"id": "m1", "title": "tram", "vector": [0.0, 1.0, 1.0]},
        {"id": "m2", "title": 7},
    ]);
    let first = keyed(&service, "POST", path, "k", &documents);
    assert_eq!(first.status, 207);
    let reindex = json!({"into": "again", "alias": "library"});
    let started = service.post(&format!("{NOTES}/reindex"), &reindex);
    assert!(started.status < 300, "{}", started.json());
    while service.get("/v1/aliases").json()["aliases"]["library"] != "again" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let again = keyed(&service, "POST", path, "k", &documents);
    assert_eq!((again.status, &again.body), (207, &first.body));
    assert!(replayed(&again));
    let other = keyed(&service, "POST", path, "k", &json!([]));
    assert_eq!(other.code(), "key_reused");
}

/// The program itself, to be killed.
struct Running {
    child: Child,
    base: String,
}

impl Running {
    fn start(folder: &std::path::Path) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let base = loop {
            let before = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            if let Some((_, address)) = said[before..].split_once("listening address=") {
                break format!("http://{}/v1/indexes", address.trim());
            }
        };
        // Nobody reads on, and the program must not wait for that.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Running { child, base }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A large request is killed in its middle and sent again, until it is answered.
fn written_by_a_request_that_is_killed(key: Option<&str>) -> (u64, Value) {
    const DOCUMENTS: usize = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent();
    let read = |url: &str| -> Value {
        loop {
            let mut answer = agent.get(url).call().unwrap();
            if answer.status() == 200 {
                return answer.body_mut().read_json().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let running = Running::start(folder.path());
    let definition = gleaner::index::Definition::from_toml(DEFINITION).unwrap();
    let made = agent.post(&running.base).send_json(&definition).unwrap();
    assert_eq!(made.status(), 201);
    let operations: Vec<Value> = (0..DOCUMENTS)
        .map(|n| match n % 50 {
            49 => json!({"update": {"id": format!("d{}", n - 1), "stars": n}}),
            _ => json!({"put": {"id": format!("d{n}"), "vector": [1.0, n as f64, 0.0]}}),
        })
        .collect();
    let send = |base: &str| {
        let mut request = agent.post(format!("{base}/notes/operations"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.send_json(&operations)
    };
    let seq = |base: &str| {
        let stats = read(&format!("{base}/notes"));
        stats["stats"]["durable_seq"].as_u64().unwrap()
    };
    let mut running = running;
    for part in 1..=3 {
        std::thread::scope(|scope| {
            let base = running.base.clone();
            scope.spawn(|| {
                // It dies with the server, which may still be opening the index first.
                while send(&running.base).is_ok_and(|answer| answer.status() == 503) {}
            });
            while seq(&base) < (DOCUMENTS / 4 * part) as u64 {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Not the owner: the other thread still borrows its address.
            let pid = process_id(&running.child);
            let _ = Command::new("kill").args(["-9", &pid]).status().unwrap();
        });
        running.kill();
        running = Running::start(folder.path());
    }
    let mut answer = loop {
        let answer = send(&running.base).unwrap();
        if answer.status() != 503 {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(answer.status(), 200);
    let answer = answer.body_mut().read_json().unwrap();
    (seq(&running.base), answer)
}

fn process_id(child: &Child) -> String {
    child.id().to_string()
}

#[test]
fn a_request_that_is_killed_in_its_middle_goes_on_where_it_was() {
    let (seq, answer) = written_by_a_request_that_is_killed(Some("load 1"));
    assert_eq!(answer["written"], 4_000);
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 4_000);
    for (n, item) in items.iter().enumerate() {
        // Each operation has the version that it got when it was done, the only time.
        assert_eq!(item["version"], n + 1, "{item}");
    }
    assert_eq!(seq, 4_000, "something was done twice");
    // And this test would see it.
    let (seq, _) = written_by_a_request_that_is_killed(None);
    assert!(seq > 4_000, "{seq}");
}
