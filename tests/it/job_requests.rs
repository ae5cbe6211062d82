//! Promise: a job over REST is the load that the command line does: it can be watched, halted,
//! resumed, called off and retried; a server that is started again goes on with it; and it
//! reads only what the configuration allows.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use gleaner::config::Config;
use serde_json::{Value, json};

use crate::support::files;
use crate::support::service::Service;

/// A server whose jobs may read `files` in its folder, in batches so small that they take a
/// while.
fn server() -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::with(|config| allow(config, &folder)).with_notes();
    (service, folder)
}

fn allow(config: &mut Config, folder: &tempfile::TempDir) {
    config.ingest.sources = vec![folder.path().to_str().unwrap().into()];
    config.ingest.batch_documents = 8;
    config.storage.refresh_ms = 3_600_000;
}

fn write(folder: &tempfile::TempDir, name: &str, count: usize) -> String {
    let rows: Vec<Value> = (0..count)
        .map(|i| {
            let stars = if i % 100 == 99 { json!("many") } else { json!(i % 5) };
            json!({"id": format!("{name}{i}"), "title": format!("night train {i}"), "stars": stars, "vector": [1.0, i as f64, 0.5]})
        })
        .collect();
    let path = files::jsonl(&folder.path().join(format!("{name}.jsonl")), &rows);
    path.to_str().unwrap().to_string()
}

fn make(service: &Service, input: &str) -> String {
    let made = service.post("/v1/jobs", &json!({"index": "notes", "inputs": [input]}));
    assert_eq!(made.status, 202, "{}", made.json());
    let id = made.json()["id"].as_str().unwrap().to_string();
    assert_eq!(
        made.header("location"),
        Some(format!("/v1/jobs/{id}").as_str())
    );
    id
}

fn show(service: &Service, id: &str) -> Value {
    let shown = service.get(&format!("/v1/jobs/{id}"));
    assert_eq!(shown.status, 200, "{}", shown.json());
    shown.json()
}

fn act(service: &Service, id: &str, action: &str) -> (u16, Value) {
    let answer = service.send("POST", &format!("/v1/jobs/{id}:{action}"), &[], b"");
    (answer.status, answer.json())
}

fn until(service: &Service, id: &str, what: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + Duration::from_secs(120);
    loop {
        let job = show(service, id);
        if what(&job) {
            return job;
        }
        assert!(Instant::now() < limit, "it never came to that: {job}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn under_way(job: &Value) -> bool {
    job["state"] == "running" && job["loaded"].as_u64().unwrap() > 0
}

#[test]
fn a_job_is_halted_resumed_and_watched_to_its_end() {
    let (service, folder) = server();
    let input = write(&folder, "a", 4_000);
    let id = make(&service, &input);
    until(&service, &id, under_way);
    let (status, paused) = act(&service, &id, "pause");
    assert_eq!(
        (status, &paused["state"]),
        (200, &json!("paused")),
        "{paused}"
    );
    let rows = paused["rows"].as_u64().unwrap();
    assert!(rows > 0 && rows < 4_000, "{paused}");
    // It stays as it is, and asking again changes nothing.
    assert_eq!(act(&service, &id, "pause").1["state"], "paused");
    assert_eq!(show(&service, &id)["rows"], rows);
    let (status, refused) = act(&service, &id, "retry");
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("job_state"))
    );

    let (status, resumed) = act(&service, &id, "resume");
    assert_eq!(status, 200, "{resumed}");
    // Its events: progress that grows, and the end.
    let address = format!("http://{}/v1/jobs/{id}/events", service.address);
    let mut response = ureq::get(&address).call().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events: Vec<(String, Value)> = Vec::new();
    let mut name = String::new();
    for line in BufReader::new(response.body_mut().as_reader()).lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_string();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    let (last, end) = events.pop().unwrap();
    assert_eq!((last.as_str(), &end["state"]), ("end", &json!("done")));
    assert!(events.iter().all(|(name, _)| name == "progress"));
    let grows: Vec<u64> = events
        .iter()
        .map(|(_, job)| job["rows"].as_u64().unwrap())
        .collect();
    assert!(grows.is_sorted(), "{grows:?}");
    let figures = ["rows", "loaded", "rejected", "replaced"].map(|key| &end[key]);
    assert_eq!(
        figures,
        [&json!(4_000), &json!(3_960), &json!(40), &json!(0)]
    );

    // What it loaded is visible without anybody's doing, once each.
    let all = service.get("/v1/indexes/notes").json();
    assert_eq!(
        all["stats"]["documents"]
            .as_u64()
            .or(all["documents"].as_u64()),
        Some(3_962),
        "{all}"
    );
    let rejects = service.get(&format!("/v1/jobs/{id}/rejects"));
    let lines: Vec<Value> = String::from_utf8(rejects.body)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 40);
    assert_eq!(lines[0]["row"], 100);
    assert_eq!(end["rejects"], format!("/v1/jobs/{id}/rejects"));
    // Of one that has ended there is the end alone.
    let body = service.get(&format!("/v1/jobs/{id}/events")).body;
    let body = String::from_utf8(body).unwrap();
    assert!(
        body.starts_with("event: end") && body.matches("event:").count() == 1,
        "{body}"
    );
    assert_eq!(service.get("/v1/jobs").json()["jobs"][0]["id"], id);
}

#[test]
fn one_that_is_called_off_can_be_retried_and_others_wait_their_turn() {
    let (service, folder) = server();
    let first = make(&service, &write(&folder, "a", 4_000));
    let second = make(&service, &write(&folder, "b", 50));
    let third = make(&service, &write(&folder, "c", 50));
    until(&service, &first, under_way);
    // One at a time of an index, and what waits can be taken out of the line.
    assert_eq!(show(&service, &second)["state"], "queued");
    assert_eq!(act(&service, &third, "cancel").1["state"], "cancelled");
    let (status, refused) = act(&service, &first, "dance");
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("route_not_found"))
    );
    // An index that is loaded into is not removed under the job's feet.
    assert_eq!(service.delete("/v1/indexes/notes").code(), "task_running");
    let (status, cancelled) = act(&service, &first, "cancel");
    assert_eq!(
        (status, &cancelled["state"]),
        (200, &json!("cancelled")),
        "{cancelled}"
    );
    let done = until(&service, &second, |job| job["state"] == "done");
    assert_eq!(done["loaded"], 50);
    let rows = cancelled["rows"].as_u64().unwrap();
    assert!(rows < 4_000);
    act(&service, &first, "retry");
    let done = until(&service, &first, |job| job["state"] == "done");
    assert_eq!(
        (&done["rows"], &done["replaced"]),
        (&json!(4_000), &json!(0))
    );
    assert_eq!(show(&service, &third)["state"], "cancelled");
    assert_eq!(service.delete("/v1/indexes/notes").status, 204);
    assert_eq!(
        service.get(&format!("/v1/jobs/{first}")).code(),
        "job_not_found"
    );
}

#[test]
fn a_server_that_is_started_again_goes_on() {
    let (service, folder) = server();
    let first = make(&service, &write(&folder, "a", 4_000));
    let second = make(&service, &write(&folder, "b", 300));
    let halted = make(&service, &write(&folder, "c", 50));
    until(&service, &first, under_way);
    assert_eq!(act(&service, &halted, "pause").1["state"], "paused");
    let mut service = service;
    for _ in 0..2 {
        service = service.restart(|config| allow(config, &folder));
        let limit = Instant::now() + Duration::from_secs(60);
        while service.get("/v1/indexes/notes").status != 200 {
            assert!(Instant::now() < limit, "never opened");
        }
        until(&service, &first, |job| job["state"] != "paused");
    }
    let done = until(&service, &first, |job| job["state"] == "done");
    assert_eq!(
        (&done["rows"], &done["replaced"]),
        (&json!(4_000), &json!(0))
    );
    assert_eq!(
        until(&service, &second, |job| job["state"] == "done")["loaded"],
        297
    );
    // One that was halted is not resumed by anybody else.
    assert_eq!(show(&service, &halted)["state"], "paused");
    act(&service, &halted, "resume");
    until(&service, &halted, |job| job["state"] == "done");

    // What may not be read any more is not read, wherever it was allowed once.
    let later = make(&service, &write(&folder, "d", 4_000));
    until(&service, &later, under_way);
    let service = service.restart(|config| {
        allow(config, &folder);
        config.ingest.sources.clear();
    });
    let failed = until_there(&service, &later);
    assert_eq!(failed["error"]["code"], "source_not_permitted", "{failed}");
}

/// The same once the index is open.
fn until_there(service: &Service, id: &str) -> Value {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = service.get(&format!("/v1/jobs/{id}"));
        if shown.status == 200 && shown.json()["state"] == "failed" {
            return shown.json();
        }
        assert!(Instant::now() < limit, "{:?}", shown.json());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let (service, folder) = server();
    let input = write(&folder, "a", 20);
    let refused = |body: Value| {
        let answer = service.post("/v1/jobs", &body);
        (answer.status, answer.code())
    };
    for (inputs, code) in [
        (json!([]), "invalid_request"),
        (json!(["/etc/passwd"]), "source_not_permitted"),
        (json!(["a.jsonl"]), "source_not_permitted"),
        (json!([format!("{input}/../../x")]), "source_not_permitted"),
        (json!(["s3://bucket/a.jsonl"]), "source_not_permitted"),
        (json!([format!("{input}.gone.jsonl")]), "invalid_file"),
        (json!("a"), "invalid_request"),
    ] {
        let body = json!({"index": "notes", "inputs": inputs});
        assert_eq!(refused(body.clone()).1, code, "{body}");
    }
    assert_eq!(
        refused(json!({"index": "nobody", "inputs": [input]})).1,
        "index_not_found"
    );
    assert_eq!(
        refused(json!({"index": "notes", "inputs": [input], "x": 1})).1,
        "invalid_request"
    );
    let limit = json!({"index": "notes", "inputs": [input], "max_rejects": "some"});
    assert_eq!(refused(limit).1, "invalid_request");
    for path in ["/v1/jobs/x", "/v1/jobs/x/events", "/v1/jobs/x/rejects"] {
        assert_eq!(service.get(path).code(), "job_not_found", "{path}");
    }
    assert_eq!(act(&service, "x", "pause").0, 404);
    assert_eq!(service.get("/v1/jobs").json(), json!({"jobs": []}));
    // Without sources there are none.
    let closed = Service::new().with_notes();
    let answer = closed.post("/v1/jobs", &json!({"index": "notes", "inputs": [input]}));
    assert_eq!(answer.status, 403);
    assert!(
        answer.json()["error"]["expected"]
            .as_str()
            .unwrap()
            .contains("ingest.sources")
    );
}

#[test]
fn a_limit_on_rejects_ends_a_job_and_a_retry_may_raise_it() {
    let (service, folder) = server();
    let input = write(&folder, "a", 1_000);
    let made = service.post(
        "/v1/jobs",
        &json!({"index": "notes", "inputs": [input], "max_rejects": 2}),
    );
    let id = made.json()["id"].as_str().unwrap().to_string();
    let failed = until(&service, &id, |job| job["state"] == "failed");
    assert_eq!(failed["error"]["code"], "too_many_rejects");
    assert_eq!(
        (&failed["rows"], &failed["rejected"]),
        (&json!(300), &json!(3))
    );
    let path = format!("/v1/jobs/{id}:retry");
    assert_eq!(
        service.post(&path, &json!({"max_rejects": "1%"})).status,
        200
    );
    let done = until(&service, &id, |job| job["state"] == "done");
    assert_eq!(
        (&done["loaded"], &done["rejected"]),
        (&json!(990), &json!(10))
    );
}

#[test]
fn jobs_of_one_index_have_rejects_of_their_own() {
    let (service, folder) = server();
    let ids = [("a", 300), ("b", 200)].map(|(name, count)| {
        let id = make(&service, &write(&folder, name, count));
        until(&service, &id, |job| job["state"] == "done");
        (name, id)
    });
    for ((name, id), count) in ids.iter().zip([3, 2]) {
        let body = service.get(&format!("/v1/jobs/{id}/rejects")).body;
        let lines: Vec<Value> = String::from_utf8(body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), count);
        for line in lines {
            let file = line["file"].as_str().unwrap();
            assert!(file.ends_with(&format!("/{name}.jsonl")), "{line}");
        }
    }
}

#[test]
fn who_watches_does_not_keep_a_server_from_stopping() {
    let (service, folder) = server();
    let id = make(&service, &write(&folder, "a", 4_000));
    until(&service, &id, under_way);
    let address = format!("http://{}/v1/jobs/{id}/events", service.address);
    let watching = std::thread::spawn(move || {
        let mut response = ureq::get(&address).call().unwrap();
        let mut heard = Vec::new();
        let _ = response.body_mut().as_reader().read_to_end(&mut heard);
        heard.len()
    });
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    drop(service);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    assert!(watching.join().unwrap() > 0);
}
