//! Promise: a bulk request without end is written while it comes and answered meanwhile, takes no
//! more memory than a step of it, says exactly which of its documents are written, and holds
//! nobody up: neither a server that stops nor others who write.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::program::Program;
use crate::support::service::Service;

const PATH: &str = "/v1/indexes/notes/documents";

/// A request that is sent piece by piece, and its answer, which is read line by line.
struct Stream {
    socket: TcpStream,
    answer: BufReader<TcpStream>,
}

impl Stream {
    fn open(address: impl std::net::ToSocketAddrs, path: &str, headers: &str) -> Stream {
        let mut socket = TcpStream::connect(address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            socket,
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/x-ndjson\r\naccept: application/x-ndjson\r\n\
             transfer-encoding: chunked\r\n{headers}\r\n"
        )
        .unwrap();
        let answer = BufReader::new(socket.try_clone().unwrap());
        Stream { socket, answer }
    }

    fn send(&mut self, text: &str) {
        write!(self.socket, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    }

    fn end(&mut self) {
        self.socket.write_all(b"0\r\n\r\n").unwrap();
    }

    /// The status, once the head of the answer is there.
    fn status(&mut self) -> u16 {
        let mut head = String::new();
        self.answer.read_line(&mut head).unwrap();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
        while head.trim() != "" {
            head.clear();
            self.answer.read_line(&mut head).unwrap();
        }
        status
    }

    /// The next line that is JSON; none at the end. Lengths of pieces lie between.
    fn line(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.answer.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }

    /// Every line that is left.
    fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

trait Plain {
    /// With an index without vectors.
    fn plain(self) -> Self;
}

impl Plain for Service {
    fn plain(self) -> Service {
        assert_eq!(self.post("/v1/indexes", &notes()).status, 201);
        self
    }
}

fn notes() -> Value {
    json!({"name": "notes", "fields": {"title": {"type": "text"}}})
}

fn document(n: usize) -> String {
    format!("{{\"id\": \"d{n}\", \"title\": \"train number {n}\"}}\n")
}

fn documents(range: std::ops::Range<usize>) -> String {
    range.map(document).collect()
}

fn count(service: &Service) -> u64 {
    service.send("POST", "/v1/indexes/notes/refresh", &[], b"");
    let answer = service.search(json!({"query": "train", "mode": "lexical", "k": 1}));
    answer.json()["total"]["value"].as_u64().unwrap()
}

#[test]
fn neither_bytes_nor_documents_of_a_stream_have_a_limit() {
    let service = Service::with(|config| {
        config.limits.body_bytes = 64 * 1024;
        config.limits.bulk_documents = 10;
    })
    .plain();
    let all = 3_000;
    let mut stream = Stream::open(service.address, &format!("{PATH}?refresh=wait"), "");
    for from in (0..all).step_by(500) {
        stream.send(&documents(from..from + 500));
    }
    stream.end();
    assert_eq!(stream.status(), 200);
    let last = stream.rest().pop().unwrap();
    let expected = json!({"done": all, "written": all, "rejected": 0, "finished": true});
    assert_eq!(last, expected);
    let found = service.search(json!({"query": "train", "mode": "lexical", "k": 1}));
    assert_eq!(found.json()["total"]["value"], all);
    // As a whole it would be too large.
    let whole = service.lines(PATH, documents(0..all).as_bytes());
    assert_eq!((whole.status, whole.code()), (413, "limit_exceeded".into()));
}

#[test]
fn what_has_come_is_written_and_answered_before_the_rest_comes() {
    let service = Service::new().plain();
    let mut stream = Stream::open(service.address, PATH, "");
    stream.send(&documents(0..5));
    // Half a line is left for later.
    let next = document(5);
    let (half, other) = next.split_at(9);
    stream.send(half);
    assert_eq!(stream.status(), 200);
    let expected = json!({"done": 5, "written": 5, "rejected": 0, "finished": false});
    assert_eq!(stream.line().unwrap(), expected);
    assert_eq!(count(&service), 5);
    stream.send(other);
    // The last line need not end.
    stream.send(document(6).trim_end());
    stream.end();
    assert_eq!(stream.rest().last().unwrap()["written"], 7);
    assert_eq!(count(&service), 7);
}

#[test]
fn each_rejected_document_is_named_and_all_others_are_written() {
    let service = Service::new().plain();
    let mut stream = Stream::open(service.address, PATH, "");
    let bad: BTreeSet<usize> = [3, 300, 301, 777].into();
    let mut text = String::from("\n\n");
    for n in 0..800 {
        match bad.contains(&n) {
            true => text.push_str(&format!("{{\"id\": \"d{n}\", \"title\": 7}}\n\n")),
            false => text.push_str(&document(n)),
        }
    }
    stream.send(&text);
    stream.end();
    assert_eq!(stream.status(), 200);
    let mut lines = stream.rest();
    let expected = json!({"done": 800, "written": 796, "rejected": 4, "finished": true});
    assert_eq!(lines.pop().unwrap(), expected);
    let mut named = BTreeSet::new();
    for line in lines.iter().filter(|line| line["item"].is_u64()) {
        let item = line["item"].as_u64().unwrap() as usize;
        assert_eq!(line["id"], format!("d{item}"));
        assert_eq!(line["error"]["code"], "invalid_document");
        named.insert(item);
    }
    assert_eq!(named, bad);
    assert_eq!(count(&service), 796);
}

#[test]
fn operations_stream_too() {
    let service = Service::new().plain();
    let mut stream = Stream::open(service.address, "/v1/indexes/notes/operations", "");
    stream.send("{\"put\": {\"id\": \"a\", \"title\": \"train\"}, \"if_version\": 0}\n");
    stream.send("{\"update\": {\"id\": \"a\", \"title\": \"slow train\"}}\n{\"delete\": \"b\"}\n");
    stream.end();
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.rest().last().unwrap()["done"], 3);
    let found = service.get("/v1/indexes/notes/documents/a").json();
    assert_eq!(found["document"]["title"], "slow train");
}

#[test]
fn a_line_that_is_too_long_ends_it_after_those_before() {
    let service = Service::with(|config| config.limits.body_bytes = 64 * 1024).plain();
    let mut stream = Stream::open(service.address, PATH, "");
    stream.send(&documents(0..7));
    let piece = "x".repeat(1 << 20);
    stream.send(&format!("{{\"title\": \"{piece}"));
    stream.send(&piece);
    assert_eq!(stream.status(), 200);
    let last = stream.rest().pop().unwrap();
    assert_eq!(last["error"]["code"], "limit_exceeded", "{last}");
    assert_eq!(
        (&last["done"], &last["finished"]),
        (&json!(7), &json!(false))
    );
    assert_eq!(count(&service), 7);
}

#[test]
fn a_line_is_as_long_as_it_may_be_however_it_comes() {
    let service = Service::with(|config| config.limits.body_bytes = 64 * 1024).plain();
    // Whole, in one piece, behind others.
    let mut stream = Stream::open(service.address, PATH, "");
    let long = "x".repeat(100_000);
    stream.send(&format!("{}{{\"title\": \"{long}\"}}\n", documents(0..3)));
    stream.end();
    assert_eq!(stream.status(), 200);
    let last = stream.rest().pop().unwrap();
    assert_eq!(last["error"]["code"], "limit_exceeded", "{last}");
    assert_eq!(last["done"], 3);
    let mut stream = Stream::open(service.address, PATH, "");
    let fits = "x".repeat(60_000);
    for n in 0..60 {
        stream.send(&format!("{{\"id\": \"{n}\", \"title\": \"{fits}\"}}\n"));
    }
    stream.end();
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.rest().pop().unwrap()["written"], 60);
}

/// A line now and then, faster than a chunk is closed: what has come is written all the same.
#[test]
fn what_drips_is_written_and_told() {
    let service = Service::with(|config| config.server.timeout_ms = 3_000).plain();
    let mut stream = Stream::open(service.address, PATH, "");
    let mut other = stream.socket.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        // Longer than a request may take.
        for n in 0..50 {
            let text = document(n);
            write!(other, "{:x}\r\n{text}\r\n", text.len()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        other.write_all(b"0\r\n\r\n").unwrap();
    });
    let started = Instant::now();
    assert_eq!(stream.status(), 200);
    assert!(stream.line().unwrap()["done"].as_u64().unwrap() < 30);
    assert!(started.elapsed() < Duration::from_secs(3));
    dripping.join().unwrap();
    assert_eq!(stream.rest().pop().unwrap()["written"], 50);
}

#[test]
fn a_key_that_is_revoked_ends_it() {
    let service = Service::new().plain();
    let admin = json!({"scopes": ["admin"]});
    let admin = service.post("/v1/keys", &admin).json()["key"].clone();
    let bearer = format!("Bearer {}", admin.as_str().unwrap());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let made = service.send("POST", "/v1/keys", &headers, br#"{"scopes": ["write"]}"#);
    let made = made.json();
    let header = format!(
        "authorization: Bearer {}\r\n",
        made["key"].as_str().unwrap()
    );
    let mut stream = Stream::open(service.address, PATH, &header);
    stream.send(&documents(0..10));
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.line().unwrap()["done"], 10);
    let key = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(service.send("DELETE", &key, &headers[..1], b"").status, 204);
    stream.send(&documents(10..20));
    let last = stream.rest().pop().unwrap();
    assert_eq!(last["error"]["code"], "unauthenticated", "{last}");
    assert_eq!(last["done"], 10);
}

#[test]
fn streams_that_write_all_the_time_leave_turns_to_others() {
    let service = Service::with(|config| config.server.concurrency = Some(2)).plain();
    let address = service.address;
    let streams: Vec<_> = (0..8)
        .map(|n| {
            std::thread::spawn(move || {
                let mut stream = Stream::open(address, PATH, "");
                for part in 0..30 {
                    let from = (n * 30 + part) * 200;
                    stream.send(&documents(from..from + 200));
                }
                stream.end();
                assert_eq!(stream.status(), 200);
                stream.rest().pop().unwrap()
            })
        })
        .collect();
    for n in 0..20 {
        let one = service.put(&format!("{PATH}/z{n}"), &json!({"title": "another train"}));
        assert_eq!(one.status, 201, "{}", one.json());
    }
    for stream in streams {
        let last = stream.join().unwrap();
        assert_eq!(
            (&last["written"], &last["finished"]),
            (&json!(6_000), &json!(true)),
            "{last}"
        );
    }
}

/// Rejected ones among written ones are single ones, however many there are in the end.
#[test]
fn many_single_ones_that_are_wrong_do_not_end_it() {
    let service = Service::new().plain();
    let mut stream = Stream::open(service.address, PATH, "");
    let mut reader = stream.answer.get_ref().try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        std::io::Read::read_to_string(&mut reader, &mut all).unwrap();
        all
    });
    for n in 0..1_500 {
        stream.send(&format!("{{\"title\": 7}}\n{}", document(n)));
    }
    stream.end();
    let answer = reading.join().unwrap();
    let last = answer.lines().rfind(|line| line.starts_with('{')).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    let expected = json!({"done": 3_000, "written": 1_500, "rejected": 1_500, "finished": true});
    assert_eq!(last, expected);
}

#[test]
fn when_everything_is_wrong_the_rest_is_not_read() {
    let service = Service::new().plain();
    let mut stream = Stream::open(service.address, PATH, "");
    stream.send(&"{\"title\": 7}\n".repeat(5_000));
    stream.end();
    assert_eq!(stream.status(), 200);
    let lines = stream.rest();
    let last = lines.last().unwrap();
    assert_eq!(last["error"]["code"], "limit_exceeded");
    let done = last["done"].as_u64().unwrap();
    assert!((1_000..1_300).contains(&done), "{last}");
    let named = lines.iter().filter(|line| line["item"].is_u64());
    assert_eq!(named.count() as u64, done);
}

#[test]
fn what_is_wrong_at_first_is_an_error_like_any() {
    let service = Service::new().plain();
    let refused = |path: &str, headers: &str| {
        let mut stream = Stream::open(service.address, path, headers);
        stream.send(&documents(0..3));
        stream.end();
        let status = stream.status();
        let code = stream.rest()[0]["error"]["code"].clone();
        (status, code.as_str().unwrap_or_default().to_string())
    };
    let found = refused("/v1/indexes/nothing/documents", "");
    assert_eq!(found, (404, "index_not_found".into()));
    let found = refused(PATH, "idempotency-key: k1\r\n");
    assert_eq!(found, (400, "invalid_request".into()));
    let found = refused(&format!("{PATH}?if_version=1"), "");
    assert_eq!(found, (400, "invalid_request".into()));
    assert_eq!(count(&service), 0);
}

#[test]
fn a_caller_who_leaves_has_written_what_was_said_to_be_done() {
    let service = Service::new().plain();
    let mut stream = Stream::open(service.address, PATH, "");
    stream.send(&documents(0..40));
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.line().unwrap()["done"], 40);
    stream.send(&documents(40..50));
    drop(stream);
    assert!(count(&service) >= 40);
    // Others write on.
    let one = service.put(&format!("{PATH}/z"), &json!({"title": "another train"}));
    assert_eq!(one.status, 201);
}

#[test]
fn many_streams_that_wait_keep_nobody_from_writing() {
    let service = Service::with(|config| config.server.concurrency = Some(2)).plain();
    let mut streams: Vec<Stream> = (0..20)
        .map(|n| {
            let mut stream = Stream::open(service.address, PATH, "");
            stream.send(&document(n));
            stream
        })
        .collect();
    for stream in &mut streams {
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.line().unwrap()["written"], 1);
    }
    let started = Instant::now();
    let one = service.put(&format!("{PATH}/z"), &json!({"title": "another train"}));
    assert_eq!(one.status, 201);
    assert!(started.elapsed() < Duration::from_secs(5));
    for mut stream in streams {
        stream.end();
        assert_eq!(stream.rest().last().unwrap()["finished"], true);
    }
}

#[test]
fn a_server_that_stops_says_how_far_it_came() {
    let place = Place::new();
    let program = Program::start(&place, &[]).ready();
    assert_eq!(program.ask("POST", "/v1/indexes", &[], &notes()).0, 201);
    let mut stream = Stream::open(program.address(), PATH, "");
    stream.send(&documents(0..100));
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.line().unwrap()["done"], 100);
    let started = Instant::now();
    let stopping = std::thread::spawn(move || program.stop());
    let last = stream.rest().pop().unwrap();
    assert_eq!(
        (&last["done"], &last["finished"]),
        (&json!(100), &json!(false))
    );
    assert_eq!(last["error"]["code"], "overloaded");
    drop(stream);
    stopping.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    let written = place.look("notes", |index| index.view().documents);
    assert_eq!(written, 100);
}
