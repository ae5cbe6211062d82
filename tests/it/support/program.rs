//! The program itself as a server, with what it logs: as JSON, a line at a time.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use super::binary::Place;

pub struct Program {
    child: Child,
    base: String,
    agent: ureq::Agent,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Serves the data and models of a place; what it logs is JSON unless `set` says otherwise.
    /// `set`: variables of its environment.
    pub fn start(place: &Place, set: &[(&str, &str)]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(place.folder())
            .env_clear()
            .envs(
                // Where ONNX Runtime is.
                std::env::vars_os().filter(|(name, _)| name == "ORT_DYLIB_PATH"),
            )
            .env("GLEANER__LOG__JSON", "true")
            .envs(set.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (listening, address) = std::sync::mpsc::channel();
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let said = serde_json::from_str::<Value>(&line).unwrap_or_default();
                if said["fields"]["message"] == "listening" {
                    let address = said["fields"]["address"].as_str().unwrap().to_string();
                    let _ = listening.send(address);
                }
                kept.lock().push(line);
            }
        });
        let address = address.recv_timeout(Duration::from_secs(60));
        let address = address.unwrap_or_else(|_| panic!("it does not listen: {:?}", lines.lock()));
        Program {
            child,
            base: format!("http://{address}"),
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(60)))
                .build()
                .new_agent(),
            lines,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens: ADDRESS:PORT.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Stops it as a service manager does, and waits until it has ended.
    pub fn stop(mut self) {
        let id = i32::try_from(self.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    /// Sends JSON, with headers; status and body.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, String) {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Vec::new(),
            body => {
                request = request.header("content-type", "application/json");
                body.to_string().into_bytes()
            }
        };
        let mut answer = self.agent.run(request.body(body).unwrap()).unwrap();
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec().unwrap();
        // One that is compressed is none.
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Waits until it is ready.
    pub fn ready(self) -> Program {
        let limit = Instant::now() + Duration::from_secs(60);
        while self.ask("GET", "/ready", &[], &Value::Null).0 != 200 {
            assert!(Instant::now() < limit, "never ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.lines.lock().join("\n")
    }

    /// The lines with this message.
    pub fn said(&self, message: &str) -> Vec<Value> {
        let lines = self.lines.lock();
        let lines = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["fields"]["message"] == message)
            .collect()
    }

    /// Waits for so many lines with this message.
    pub fn until_said(&self, message: &str, count: usize) -> Vec<Value> {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            let said = self.said(message);
            if said.len() >= count {
                return said;
            }
            assert!(
                Instant::now() < limit,
                "not said: {message}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
