//! An S3 server in this process, over a folder: `s3s`, which checks requests and their
//! signatures as S3 does. It can keep those who ask waiting.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;

pub struct S3 {
    folder: TempDir,
    bucket: &'static str,
    address: std::net::SocketAddr,
    seen: Arc<Seen>,
    /// Dropping it ends the server.
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    /// Bytes that came with requests.
    bytes: AtomicU64,
    begun: AtomicU64,
    finished: AtomicU64,
    /// Objects that are still taken; negative for any number.
    objects: AtomicI64,
    /// Removals after which one is kept waiting; negative for none.
    removals: AtomicI64,
    /// Whether those that are kept waiting are.
    holding: AtomicBool,
    /// Requests that were kept waiting.
    stalled: AtomicU64,
}

impl Seen {
    /// Notes a request; whether it is to be answered.
    fn see(&self, request: &Request<Incoming>) -> bool {
        let header = request.headers().get("content-length");
        let bytes = header.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        self.bytes.fetch_add(bytes.unwrap_or(0), Ordering::SeqCst);
        let (method, query) = (request.method().as_str(), request.uri().query());
        let query = query.unwrap_or_default();
        if method == "POST" && query.split('&').any(|key| key.starts_with("uploads")) {
            self.begun.fetch_add(1, Ordering::SeqCst);
        }
        let ends = query.contains("uploadId=") && matches!(method, "POST" | "DELETE");
        if ends {
            self.finished.fetch_add(1, Ordering::SeqCst);
        }
        let writes = matches!(method, "PUT" | "POST") && request.uri().path().contains("/objects/");
        if method == "POST" && query.split(['&', '=']).any(|key| key == "delete") {
            let passes = self.removals.fetch_sub(1, Ordering::SeqCst) != 0;
            self.stalled.fetch_add(u64::from(!passes), Ordering::SeqCst);
            return passes;
        }
        if !writes || self.objects.load(Ordering::SeqCst) < 0 {
            return true;
        }
        // Below zero it would mean any number.
        let left = self
            .objects
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                (left > 0).then(|| left - 1)
            });
        if left.is_err() {
            self.stalled.fetch_add(1, Ordering::SeqCst);
        }
        left.is_ok()
    }
}

impl S3 {
    const KEY: &str = "AKTESTS";
    pub const SECRET: &str = "a-secret-of-the-tests";

    /// A server with a bucket.
    pub fn start(bucket: &'static str) -> S3 {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(bucket)).unwrap();
        let seen = Arc::new(Seen {
            objects: AtomicI64::new(-1),
            removals: AtomicI64::new(-1),
            ..Seen::default()
        });
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(S3::KEY, S3::SECRET));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let watching = seen.clone();
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (service, seen) = (service.clone(), watching.clone());
                tokio::spawn(async move {
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (service, answers) = (service.clone(), seen.see(&request));
                        let held = seen.clone();
                        async move {
                            while !answers && held.holding.load(Ordering::SeqCst) {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                            Service::call(&service, request).await
                        }
                    });
                    let server = Builder::new(TokioExecutor::new());
                    // It ends with an error where the other side is killed.
                    let _ = server.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        S3 {
            folder,
            bucket,
            address,
            seen,
            _runtime: runtime,
        }
    }

    /// What a program needs to know to reach it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", S3::KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", S3::SECRET.into()),
        ]
    }

    /// The folder that holds the objects of the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join(self.bucket)
    }

    /// Bytes that came so far.
    pub fn bytes_taken(&self) -> u64 {
        self.seen.bytes.load(Ordering::SeqCst)
    }

    /// Uploads in parts that were begun.
    pub fn multipart_uploads(&self) -> u64 {
        self.seen.begun.load(Ordering::SeqCst)
    }

    /// Uploads in parts that were neither completed nor taken back.
    pub fn unfinished(&self) -> u64 {
        self.multipart_uploads() - self.seen.finished.load(Ordering::SeqCst)
    }

    /// Keeps those waiting who write to objects, after so many, until they are let go.
    pub fn hold_after_objects(&self, taken: i64) {
        self.hold();
        self.seen.objects.store(taken, Ordering::SeqCst);
    }

    /// Keeps one waiting who removes objects, after so many requests to do so, until it is
    /// let go.
    pub fn hold_after_removals(&self, taken: i64) {
        self.hold();
        self.seen.removals.store(taken, Ordering::SeqCst);
    }

    fn hold(&self) {
        self.seen.stalled.store(0, Ordering::SeqCst);
        self.seen.holding.store(true, Ordering::SeqCst);
    }

    /// Answers everybody again.
    pub fn let_go(&self) {
        self.seen.objects.store(-1, Ordering::SeqCst);
        self.seen.removals.store(-1, Ordering::SeqCst);
        self.seen.holding.store(false, Ordering::SeqCst);
    }

    /// Waits until somebody is kept waiting.
    pub fn wait_until_stalled(&self) {
        let started = Instant::now();
        while self.seen.stalled.load(Ordering::SeqCst) == 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "nobody asks");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
