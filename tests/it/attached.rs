//! Promise: an index that is attached answers from the newest snapshot that could be brought,
//! whole, and goes on answering whatever becomes of the store; nobody changes it here, and only
//! what is new is downloaded.
//!
//! A publisher and two followers, each the program itself, over an S3 server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::Origin;
use serde_json::{Value, json};

use crate::support::binary::{Place, Said};
use crate::support::s3::S3;
use crate::support::world::{DEFINITION, World};

/// The program, serving.
struct Server {
    child: Child,
    base: String,
    agent: ureq::Agent,
}

impl Server {
    fn start(folder: &Path, s3: &S3) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env_clear()
            .envs(s3.environment())
            // A store that is away is to be noticed before the test is given up.
            .env("AWS_TIMEOUT", "2 seconds")
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
                break format!("http://{}", address.trim());
            }
        };
        // Whatever else it says is not to fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Server { child, base, agent }
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .body(body.map_or(Vec::new(), |body| body.to_string().into_bytes()))
            .unwrap();
        let mut answer = self.agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        (answer.status().as_u16(), json)
    }

    fn stats(&self) -> Value {
        let (status, answer) = self.ask("GET", "/v1/indexes/notes", None);
        assert_eq!(status, 200, "{answer}");
        answer["stats"].clone()
    }

    /// The texts that a search for a word finds.
    fn found(&self, word: &str) -> Vec<String> {
        let search = json!({"query": word, "mode": "lexical", "k": 100});
        let (status, answer) = self.ask("POST", "/v1/indexes/notes/search", Some(search));
        assert_eq!(status, 200, "{answer}");
        let hits = answer["hits"].as_array().unwrap().iter();
        let mut found: Vec<String> = hits
            .map(|hit| hit["document"]["title"].as_str().unwrap().to_string())
            .collect();
        found.sort();
        found
    }

    fn until(&self, what: &str, holds: impl Fn(&Server) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(
                started.elapsed() < Duration::from_secs(50),
                "never: {what}: {}",
                self.stats()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers_from(&self, snapshot: &Value) -> bool {
        &self.stats()["attached"]["snapshot"] == snapshot
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who builds the index.
struct Publisher {
    place: Place,
    s3: S3,
}

const URL: &str = "s3://shelf/published";

impl Publisher {
    fn new() -> Publisher {
        let place = Place::new();
        place.write("notes.toml", DEFINITION);
        place.ok(&["index", "create", "notes.toml"]);
        Publisher {
            place,
            s3: S3::start("shelf"),
        }
    }

    /// Every document of a version has its number in its title, so that an answer that mixes
    /// versions would show. The last fifty come anew each time; the others stay.
    fn publish(&self, version: usize) -> Value {
        let rows: Vec<String> = (0..60)
            .map(|i| {
                let angle = f64::from(i) / 10.0;
                json!({"id": format!("n{i}"), "title": format!("version {version} of {i:02}"),
                       "body": "long ".repeat(200), "vector": [angle.cos(), angle.sin(), 0.1]})
                .to_string()
            })
            .collect();
        self.place.write("notes.jsonl", rows.join("\n"));
        self.place.ok(&["ingest", "notes", "notes.jsonl"]);
        self.snapshot()
    }

    fn snapshot(&self) -> Value {
        let taken = self.run(
            &self.place,
            &["snapshot", "create", "notes", "--location", URL],
        );
        taken["id"].clone()
    }

    fn run(&self, place: &Place, args: &[&str]) -> Value {
        let said = self.said(place, args);
        assert_eq!(said.status, Some(0), "{args:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    fn said(&self, place: &Place, args: &[&str]) -> Said {
        let mut command = place.command(args);
        let said = Said::of(command.arg("--json").envs(self.s3.environment()));
        assert!(!said.err.contains(S3::SECRET), "{said:?}");
        said
    }
}

fn titles(version: usize) -> Vec<String> {
    (0..60)
        .map(|i| format!("version {version} of {i:02}"))
        .collect()
}

fn versions(place: &Place) -> usize {
    let folder = place.path("data/attached/notes/versions");
    std::fs::read_dir(folder).map_or(0, |entries| entries.count())
}

#[test]
fn followers_answer_from_the_newest_snapshot_under_running_searches() {
    let publisher = Publisher::new();
    let first = publisher.publish(1);
    let followers = [Place::new(), Place::new()];
    // One by the command, one by its configuration.
    let attached = publisher.run(
        &followers[0],
        &["index", "attach", "notes", URL, "--follow", "1"],
    );
    assert_eq!(attached["snapshot"]["id"], first);
    followers[1].write(
        "config.toml",
        format!("[[snapshots.attached]]\nname = \"notes\"\nurl = \"{URL}\"\nfollow_s = 1\n"),
    );
    let servers = followers
        .each_ref()
        .map(|place| Server::start(place.folder(), &publisher.s3));
    for server in &servers {
        server.until("ready", |server| server.ask("GET", "/ready", None).0 == 200);
        assert_eq!(server.found("version"), titles(1));
        assert!(server.answers_from(&first));
    }

    // Nobody writes here, in whatever way.
    let bodies = [
        (
            "POST",
            "/documents",
            json!([{"id": "z", "title": "z", "vector": [1, 0, 0]}]),
        ),
        (
            "PUT",
            "/documents/z",
            json!({"id": "z", "title": "z", "vector": [1, 0, 0]}),
        ),
        ("DELETE", "/documents/n1", Value::Null),
        ("POST", "/documents:delete", json!({"filter": "stars >= 0"})),
        ("POST", "/snapshots", Value::Null),
    ];
    for (method, path, body) in bodies {
        let body = (!body.is_null()).then_some(body);
        let (status, answer) = servers[0].ask(method, &format!("/v1/indexes/notes{path}"), body);
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (409, Some("index_read_only")),
            "{method} {path}: {answer}"
        );
    }

    // Every answer is of one version, while versions come and go.
    let stop = AtomicBool::new(false);
    let answers = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for server in &servers {
            let (stop, answers) = (&stop, &answers);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let found = server.found("version");
                    let version = found[0].split(' ').nth(1).unwrap().parse().unwrap();
                    assert_eq!(found, titles(version));
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 2..5 {
                let published = publisher.publish(version);
                for server in &servers {
                    server.until("the newest", |server| server.answers_from(&published));
                    assert_eq!(server.found("version"), titles(version));
                }
            }
        }));
        stop.store(true, Ordering::SeqCst);
        outcome.unwrap();
    });
    assert!(answers.load(Ordering::SeqCst) > 10);
    // What nobody reads any more is given back.
    for (server, place) in servers.iter().zip(&followers) {
        server.until("old versions are removed", |_| versions(place) == 1);
    }
    // The newest that is there: also where the last one was taken back.
    let last = servers[0].stats()["attached"]["snapshot"].clone();
    let id = last.as_str().unwrap();
    publisher.run(
        &publisher.place,
        &["snapshot", "delete", "notes", id, "--location", URL],
    );
    servers[0].until("the one before", |server| {
        server.found("version") == titles(3)
    });
}

#[test]
fn a_store_that_is_away_or_damaged_leaves_the_follower_answering() {
    let publisher = Publisher::new();
    let first = publisher.publish(1);
    let place = Place::new();
    publisher.run(&place, &["index", "attach", "notes", URL, "--follow", "1"]);
    let server = Server::start(place.folder(), &publisher.s3);
    server.until("ready", |server| server.ask("GET", "/ready", None).0 == 200);
    assert_eq!(server.ask("GET", "/health", None).1.get("warnings"), None);

    // A snapshot of which an object is not as it was sent.
    let objects = publisher.s3.bucket().join("published/notes/objects");
    let names = || -> std::collections::BTreeSet<_> {
        let entries = std::fs::read_dir(&objects).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names();
    // Nobody looks while it is sent and damaged.
    drop(server);
    let second = publisher.publish(2);
    for name in names().difference(&before) {
        let path = objects.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        std::fs::write(&path, bytes).unwrap();
    }
    let server = Server::start(place.folder(), &publisher.s3);
    server.until("it says so", |server| {
        server.stats()["attached"]["problem"]["code"] == "snapshot_damaged"
    });
    assert!(server.answers_from(&first));
    assert_eq!(server.found("version"), titles(1));
    let (status, health) = server.ask("GET", "/health", None);
    assert_eq!((status, &health["status"]), (200, &json!("ok")));
    let warning = health["warnings"][0].as_str().unwrap();
    assert!(warning.contains("snapshot_damaged"), "{health}");
    // The next one shares nothing with it, once it is taken back.
    let id = second.as_str().unwrap();
    publisher.run(
        &publisher.place,
        &["snapshot", "delete", "notes", id, "--location", URL],
    );
    let third = publisher.publish(3);
    server.until("the whole one", |server| server.answers_from(&third));
    server.until("nothing is wrong any more", |server| {
        server.stats()["attached"].get("problem").is_none()
    });
    assert_eq!(server.found("version"), titles(3));

    // The store goes away for good.
    let Publisher { s3, .. } = publisher;
    drop(s3);
    server.until("it says so", |server| {
        server.stats()["attached"]["problem"]["code"] == "store_unreachable"
    });
    assert_eq!(server.found("version"), titles(3));
    // And a restart answers from what is on the disk, at once.
    drop(server);
    let unreachable = S3::start("other");
    let server = Server::start(place.folder(), &unreachable);
    server.until("ready", |server| server.ask("GET", "/ready", None).0 == 200);
    assert_eq!(server.found("version"), titles(3));
}

#[test]
fn only_what_is_new_is_downloaded_and_names_are_taken_once() {
    let publisher = Publisher::new();
    // Large documents that stay, in a file of their own.
    let rows: Vec<String> = (0..40)
        .map(|i| {
            let body: String = (0..4_000)
                .map(|word| format!("w{} ", (word * 7919 + i) % 9973))
                .collect();
            json!({"id": format!("big{i}"), "title": "big", "body": body, "vector": [1, 0, i]})
                .to_string()
        })
        .collect();
    publisher.place.write("big.jsonl", rows.join("\n"));
    publisher.place.ok(&["ingest", "notes", "big.jsonl"]);
    publisher.snapshot();
    let place = Place::new();
    let attach = [
        "index", "attach", "shelf", URL, "--index", "notes", "--follow", "0",
    ];
    let first = publisher.run(&place, &attach);
    assert_eq!(
        (&first["name"], &first["changed"]),
        (&json!("shelf"), &json!(true))
    );
    let whole = first["new_bytes"].as_u64().unwrap();
    assert!(whole > 300_000, "{first}");
    // Nothing new: nothing downloaded.
    let again = publisher.run(&place, &attach);
    assert_eq!(
        (&again["changed"], &again["new_bytes"]),
        (&json!(false), &json!(0))
    );
    // A little new: a little downloaded.
    publisher.publish(1);
    let little = publisher.run(&place, &attach);
    assert_eq!(little["changed"], true);
    let new = little["new_bytes"].as_u64().unwrap();
    assert!(new * 3 < whole, "{new} of {whole} bytes");
    let shown = publisher.run(&place, &["index", "show", "shelf"]);
    assert_eq!(shown["stats"]["documents"], 100);
    assert_eq!(shown["stats"]["attached"]["index"], "notes");
    let entries = std::fs::read_dir(place.path("data/attached/shelf/versions")).unwrap();
    assert_eq!(entries.count(), 1);

    // A name is one thing.
    place.write("notes.toml", DEFINITION);
    let said = publisher.said(
        &place,
        &["index", "create", "notes.toml", "--name", "shelf"],
    );
    assert!(said.err.contains("[index_read_only]"), "{said:?}");
    place.ok(&["index", "create", "notes.toml"]);
    let said = publisher.said(&place, &["index", "attach", "notes", URL]);
    assert!(said.err.contains("[index_exists]"), "{said:?}");
    let said = publisher.said(
        &place,
        &["index", "attach", "shelf", "s3://shelf/elsewhere"],
    );
    assert!(said.err.contains("[index_exists]"), "{said:?}");
    // Nothing there: nothing attached.
    let said = publisher.said(&place, &["index", "attach", "none", URL]);
    assert!(said.err.contains("[snapshot_not_found]"), "{said:?}");
    assert!(!place.path("data/attached/none").exists());
    place.refused(
        Code::IndexReadOnly,
        &["ingest", "shelf", "notes.toml", "--format", "jsonl"],
    );
    // And removed it is gone, with all that was downloaded.
    place.ok(&["index", "delete", "shelf"]);
    assert!(!place.path("data/attached/shelf").exists());
    place.refused(Code::IndexNotFound, &["index", "show", "shelf"]);
}

#[test]
fn what_another_process_fetches_is_left_alone() {
    let world = World::new();
    let store = tempfile::tempdir().unwrap();
    let origin = || Origin {
        url: format!("file://{}", store.path().display()),
        index: "notes".into(),
        follow_s: 1,
    };
    let code = || {
        let refused = world.catalog.attach("notes", origin()).unwrap_err();
        refused.problem().map(|problem| problem.code)
    };
    // A server has found it first, holds the lock and downloads.
    let own = world.config.data.folder.join("attached/notes");
    let part = own.join("versions/x.making/part");
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, "half").unwrap();
    let lock = std::fs::File::create(own.join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(code(), Some(Code::TaskRunning));
    assert!(part.exists());
    // Once it is at rest, an attachment that comes to nothing is removed as ever.
    drop(lock);
    assert_eq!(code(), Some(Code::SnapshotNotFound));
    assert!(!own.exists());
}
