//! Promise: whoever is slow, idle or gone keeps nobody else from being answered, and a server that
//! is told to stop ends cleanly with every write that it answered.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};

/// Idle connections, where the system lets both processes have so many.
const IDLE: u64 = 10_000;
/// Those that are slow in each way, at most.
const SLOW: usize = 200;
/// Longest that an answer may take beside them; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(folder: &Path) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            // Who does not finish is waited for as long as a request may take.
            .env("GLEANER__SERVER__TIMEOUT_MS", "10000")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let before = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            if let Some((_, address)) = said[before..].split_once("listening address=") {
                break address.trim().parse().unwrap();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Running { child, address }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> std::io::Result<u16> {
        request(self.address, method, path, body)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own; the status of its answer.
fn request(address: SocketAddr, method: &str, path: &str, body: &Value) -> std::io::Result<u16> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut heard = String::new();
    socket.read_to_string(&mut heard)?;
    let status = heard.get(9..12).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

fn notes() -> Value {
    json!({"name": "notes", "fields": {"title": {"type": "text"}}})
}

/// As many files as may be open; how many connections that leaves room for.
fn room() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    match limit.maximum.unwrap_or(u64::MAX) {
        // Hardly more than the other tests have open here.
        ..8_000 => 200,
        // Less what the server leaves to its indexes, and those tests.
        files => files - files / 4 - 2_000,
    }
}

#[test]
fn idle_slow_and_half_sent_requests_keep_nobody_from_being_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path());
    assert_eq!(server.send("POST", "/v1/indexes", &notes()).unwrap(), 201);
    let put = "/v1/indexes/notes/documents/a?refresh=wait";
    assert_eq!(
        server.send("PUT", put, &json!({"title": "train"})).unwrap(),
        201
    );
    let count = room().min(IDLE);
    let slow = SLOW.min(count as usize / 4);
    let mut held = Vec::new();
    for n in 0..count {
        held.push(TcpStream::connect(server.address).unwrap_or_else(|e| panic!("{n}: {e}")));
    }
    let beginnings: [&[u8]; 2] = [
        // Half of a head.
        b"POST /v1/indexes/notes/search HTTP/1.1\r\nhost: x\r\ncontent-",
        // Half of a body.
        b"POST /v1/indexes/notes/search HTTP/1.1\r\nhost: x\r\n\
          content-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"query\": \"tr",
    ];
    for socket in held.iter_mut().take(slow) {
        socket.write_all(beginnings[0]).unwrap();
    }
    for socket in held.iter_mut().skip(slow).take(slow) {
        socket.write_all(beginnings[1]).unwrap();
    }
    // Others send one byte after the other meanwhile.
    let stop = Arc::new(AtomicUsize::new(0));
    let mut dripping = held.split_off(held.len() - slow.min(50));
    let drips = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let head = beginnings[1];
            for byte in head.chunks(1).cycle() {
                if stop.load(Ordering::Relaxed) == 1 {
                    return;
                }
                for socket in &mut dripping {
                    let _ = socket.write_all(byte);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    for n in 0..30 {
        let begun = Instant::now();
        let body = json!({"query": "train"});
        let search = server.send("POST", "/v1/indexes/notes/search", &body);
        assert_eq!(search.unwrap(), 200);
        let path = format!("/v1/indexes/notes/documents/b{n}");
        assert_eq!(
            server.send("PUT", &path, &json!({"title": "x"})).unwrap(),
            201
        );
        assert_eq!(server.send("GET", "/health", &Value::Null).unwrap(), 200);
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
    stop.store(1, Ordering::Relaxed);
    drips.join().unwrap();
}

#[test]
fn told_to_stop_under_load_it_ends_cleanly_and_keeps_what_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Running::start(folder.path());
    assert_eq!(server.send("POST", "/v1/indexes", &notes()).unwrap(), 201);
    let address = server.address;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut answered = BTreeSet::new();
                for n in 0.. {
                    let id = format!("w{writer}-{n}");
                    let path = format!("/v1/indexes/notes/documents/{id}");
                    match request(address, "PUT", &path, &json!({"title": "train"})) {
                        Ok(201) => drop(answered.insert(id)),
                        // Nobody listens any more.
                        _ => return answered,
                    }
                }
                answered
            })
        })
        .collect();
    // Someone who will never finish must not keep it from ending.
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"POST /v1/indexes/notes/search HTTP/1.1\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    let pid = Pid::from_child(&server.child);
    kill_process(pid, Signal::TERM).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        // The longest that a request may take, and some.
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    let answered: BTreeSet<String> = writers
        .into_iter()
        .flat_map(|writer| writer.join().unwrap())
        .collect();
    assert!(answered.len() > 20, "{}", answered.len());
    let server = Running::start(folder.path());
    for id in answered {
        let path = format!("/v1/indexes/notes/documents/{id}");
        assert_eq!(
            server.send("GET", &path, &Value::Null).unwrap(),
            200,
            "{id}"
        );
    }
}
