//! A server on a port of its own, spoken to through real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gleaner::api::Server;
use gleaner::config::Config;
use gleaner::index::{Catalog, Definition};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::{DEFINITION, config_in};

pub struct Service {
    pub address: SocketAddr,
    agent: ureq::Agent,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: Option<TempDir>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!(
                "{e}: {} {:?}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The code of an error, after a look at the shape that every error has.
    pub fn code(&self) -> String {
        let body = self.json();
        let error = &body["error"];
        assert!(error["message"].is_string(), "{body}");
        assert_eq!(
            body["request_id"].as_str(),
            self.header("x-request-id"),
            "{body}"
        );
        assert_eq!(self.header("content-type"), Some("application/json"));
        error["code"].as_str().unwrap().to_string()
    }
}

impl Service {
    pub fn new() -> Service {
        Service::with(|_| {})
    }

    /// A server with settings of its own. Written documents become visible when a test
    /// asks for it, not by themselves.
    pub fn with(change: impl FnOnce(&mut Config)) -> Service {
        let folder = tempfile::tempdir().unwrap();
        Service::over(folder, change)
    }

    fn over(folder: TempDir, change: impl FnOnce(&mut Config)) -> Service {
        let mut config = config_in(folder.path());
        config.storage.refresh_ms = 3_600_000;
        change(&mut config);
        let catalog = Arc::new(Catalog::new(&config).unwrap());
        let (send_address, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = Server::bind(&config, catalog).await.unwrap();
                send_address.send(server.local_addr()).unwrap();
                let stop = async {
                    let _ = stopped.await;
                };
                server.run(stop).await.unwrap();
            });
        });
        Service {
            address: address.recv().unwrap(),
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(30)))
                .build()
                .new_agent(),
            stop: Some(stop),
            thread: Some(thread),
            folder: Some(folder),
        }
    }

    /// The folder that holds its data folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Stops the server as a signal does and starts another on the same folder.
    pub fn restart(mut self, change: impl FnOnce(&mut Config)) -> Service {
        self.end();
        let folder = self.folder.take().unwrap();
        Service::over(folder, change)
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let response = self.agent.run(request).unwrap();
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        body.as_reader().read_to_end(&mut bytes).unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts
                .headers
                .iter()
                .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_string()))
                .collect(),
            body: bytes,
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        let request = format!("http://{}{path}", self.address);
        let mut response = self.agent.get(request).call().unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_string()))
                .collect(),
            body: response.body_mut().read_to_vec().unwrap(),
        }
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "PUT",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub fn lines(&self, path: &str, body: &[u8]) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/x-ndjson")],
            body,
        )
    }

    pub fn search(&self, body: Value) -> Answer {
        self.post("/v1/indexes/notes/search", &body)
    }

    /// Says something on a socket of its own and hears what comes until the other side
    /// closes.
    pub fn raw(&self, said: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.write_all(said).unwrap();
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Creates the index `notes` with two visible notes.
    pub fn with_notes(self) -> Service {
        let definition = Definition::from_toml(DEFINITION).unwrap();
        let made = self.post("/v1/indexes", &serde_json::to_value(definition).unwrap());
        assert_eq!(made.status, 201, "{}", made.json());
        assert_eq!(made.header("location"), Some("/v1/indexes/notes"));
        let written = self.post(
            "/v1/indexes/notes/documents?refresh=wait",
            &json!([
                {"id": "a", "title": "night train", "stars": 4, "vector": [1.0, 0.0, 0.0]},
                {"id": "b", "title": "slow train", "stars": 2, "vector": [0.0, 1.0, 0.0]},
            ]),
        );
        assert_eq!(written.status, 200, "{}", written.json());
        self
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}
