//! Promise: what lies in an object store or on a web server loads as a file does; of Parquet
//! only what is needed is fetched; no request goes to another server than the one named.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int64Array, StringArray};
use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use gleaner::error::Code;
use gleaner::ingest::{Position, Reject, Source, SourceOptions, resolve};
use parquet::basic::Compression;
use serde_json::{Value as Json, json};

use crate::support::binary::{Place, Said};
use crate::support::files;
use crate::support::s3::S3;

const SHOP: &str = r#"
name = "shop"
[fields.title]
type = "text"
[fields.stars]
type = "integer"
"#;

fn shop() -> Place {
    let place = Place::new();
    place.write("shop.toml", SHOP);
    place.ok(&["index", "create", "shop.toml"]);
    place
}

/// Thirty rows of two fields, and a column that nobody needs.
fn columns(n: i64) -> Vec<(&'static str, ArrayRef)> {
    let ids = (0..30).map(|i| format!("{n}-{i}"));
    let titles = (0..30).map(|i| format!("title {n} {i}"));
    // No two alike, so that they take their place.
    let ballast = (0..30).map(|i| {
        let mut state = (n * 31 + i) as u64;
        let letter = move |_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            char::from(b'a' + (state >> 33) as u8 % 26)
        };
        (0..200_000).map(letter).collect::<String>()
    });
    vec![
        ("id", Arc::new(StringArray::from_iter_values(ids))),
        ("title", Arc::new(StringArray::from_iter_values(titles))),
        ("stars", Arc::new(Int64Array::from_iter_values(0..30))),
        ("ballast", Arc::new(StringArray::from_iter_values(ballast))),
    ]
}

/// The rows that `columns` are, as lines.
fn lines(n: i64) -> String {
    let row =
        |i: i64| json!({"id": format!("{n}-{i}"), "title": format!("title {n} {i}"), "stars": i});
    (0..30).map(|i| format!("{}\n", row(i))).collect()
}

/// A web server over a folder that answers requests for ranges, and counts what it sends.
struct Web {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Served {
    folder: PathBuf,
    sent: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

async fn file(
    UrlPath(name): UrlPath<String>,
    State(served): State<Served>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Ok(bytes) = std::fs::read(served.folder.join(&name)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let range = headers.get(header::RANGE).and_then(|range| {
        let (start, end) = range
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let (start, end): (usize, usize) = (start.parse().ok()?, end.parse().ok()?);
        Some(start..(end + 1).min(bytes.len()))
    });
    served.requests.fetch_add(1, Ordering::SeqCst);
    // What a server tells of a state depends on the name.
    let weak = bytes
        .iter()
        .fold(0_u64, |sum, byte| sum * 31 % 999_983 + u64::from(*byte));
    let path = served.folder.join(&name);
    let modified = path.metadata().unwrap().modified().unwrap();
    let tag = match name.split('-').next() {
        Some("weak") => [(header::ETAG, format!("W/\"{weak}\""))],
        Some("dated") => [(
            header::LAST_MODIFIED,
            chrono::DateTime::<chrono::Utc>::from(modified)
                .format("%a, %d %b %Y %H:%M:%S GMT")
                .to_string(),
        )],
        _ => [(header::ETAG, format!("\"{}\"", bytes.len()))],
    };
    let send = |range: Range<usize>| {
        if method == Method::GET {
            served.sent.fetch_add(range.len() as u64, Ordering::SeqCst);
        }
        bytes[range].to_vec()
    };
    match range {
        None => (tag, send(0..bytes.len())).into_response(),
        Some(range) => {
            let content = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
            let said = [(header::CONTENT_RANGE, content)];
            (StatusCode::PARTIAL_CONTENT, tag, said, send(range)).into_response()
        }
    }
}

impl Web {
    fn start(folder: PathBuf, elsewhere: Option<SocketAddr>) -> Web {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let requests = Arc::new(AtomicU64::new(0));
        let served = Served {
            folder,
            sent: sent.clone(),
            requests: requests.clone(),
        };
        let away = move |UrlPath(name): UrlPath<String>| async move {
            let elsewhere = elsewhere.unwrap();
            Redirect::temporary(&format!("http://{elsewhere}/files/{name}"))
        };
        let moved = |UrlPath(name): UrlPath<String>| async move {
            Redirect::temporary(&format!("/files/{name}"))
        };
        let router = Router::new()
            .route("/files/{name}", get(file))
            .route("/moved/{name}", get(moved))
            .route("/away/{name}", get(away))
            .with_state(served);
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Web {
            address,
            sent,
            requests,
            _runtime: runtime,
        }
    }

    fn sent(&self) -> u64 {
        self.sent.swap(0, Ordering::SeqCst)
    }
}

#[test]
fn an_object_store_is_read_like_a_folder() {
    let s3 = S3::start("bucket");
    let bucket = s3.bucket();
    std::fs::create_dir_all(bucket.join("data/deep")).unwrap();
    files::parquet(
        &bucket.join("data/a b.parquet"),
        columns(1),
        Compression::UNCOMPRESSED,
        10,
    );
    files::bytes(&bucket.join("data/deep/c.jsonl"), lines(2));
    files::bytes(&bucket.join("data/deep/d.jsonl.gz"), files::gzip(lines(3)));
    files::bytes(&bucket.join("data/_SUCCESS"), "");
    files::bytes(
        &bucket.join("data/broken.parquet"),
        "PAR1 and nothing else PAR",
    );
    let place = shop();
    let run = |args: &[&str]| Said::of(place.command(args).envs(s3.environment()));
    let json = |args: &[&str]| -> Json {
        let said = run(&[args, &["--json"]].concat());
        assert_eq!(said.status, Some(0), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    };
    let drop = ["--drop", "ballast"];
    let loaded = json(&[&["ingest", "shop", "s3://bucket/data/"], &drop[..]].concat());
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(90), &json!(1)),
        "{loaded}"
    );
    let text = std::fs::read_to_string(place.path("shop-rejects.jsonl")).unwrap();
    let reject: Reject = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(reject.file, "s3://bucket/data/broken.parquet");
    place.look("shop", |index| {
        assert_eq!(index.get("1-29").unwrap()["title"], "title 1 29");
        assert_eq!(index.stats().documents, 90);
    });
    let again = |name: &str| json(&["ingest", "shop", name, "--drop", "ballast"])["loaded"].clone();
    assert_eq!(again("s3://bucket/data/**/*.jsonl*"), 60);
    assert_eq!(again("s3://bucket/data/deep/"), 60);
    assert_eq!(again("s3://bucket/data/a%20b.parquet"), 30);
    for name in ["s3://bucket/data/missing.parquet", "s3://bucket/data/*.csv"] {
        let said = run(&["ingest", "shop", name]);
        assert_eq!(said.status, Some(1), "{name}: {said:?}");
        assert!(
            said.err.contains("[invalid_file]") && said.err.contains(name),
            "{said:?}"
        );
    }
}

#[test]
fn of_a_file_on_the_web_only_what_is_needed_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let other = Web::start(dir.path().to_path_buf(), None);
    let web = Web::start(dir.path().to_path_buf(), Some(other.address));
    let parquet = dir.path().join("a.parquet");
    files::parquet(&parquet, columns(1), Compression::UNCOMPRESSED, 10);
    files::bytes(&dir.path().join("a.jsonl"), lines(2));
    let size = parquet.metadata().unwrap().len();
    let place = shop();
    let url = |path: &str| format!("http://{}/{path}", web.address);
    let load = |path: &str, more: &[&str]| {
        let url = url(path);
        let args = [&["ingest", "shop", &url, "--drop", "ballast"], more].concat();
        place.json(&args)["loaded"].clone()
    };
    assert_eq!(load("files/a.parquet", &[]), 30);
    let sent = web.sent();
    assert!(sent < size / 4, "{sent} of {size} bytes");
    assert_eq!(load("moved/a.parquet", &["--where", "stars >= 20"]), 10);
    web.sent();
    let loaded = place.json(&["ingest", "shop", &url("files/a.jsonl")]);
    assert_eq!(loaded["loaded"], 30);
    // Wherever the server would like to send it.
    let said = place.run(&["ingest", "shop", &url("away/a.jsonl")]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_eq!(other.sent(), 0);
    place.refused(
        Code::InvalidFile,
        &["ingest", "shop", &url("files/missing.jsonl")],
    );
    for name in [
        url("files/a.jsonl?token=secret"),
        url("files/a.jsonl").replace("http://", "http://me:secret@"),
    ] {
        let said = place.refused(Code::InvalidConfiguration, &["ingest", "shop", &name]);
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn what_is_held_is_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let web = Web::start(dir.path().to_path_buf(), None);
    // Many small columns: the last header of each is nearer to its end than headers are long.
    let names: Vec<String> = (0..20).map(|i| format!("c{i}")).collect();
    let mut columns = columns(1);
    columns.pop();
    for name in &names {
        let numbers = Int64Array::from_iter_values((0..30).map(|i| i * 7));
        columns.push((name, Arc::new(numbers)));
    }
    let path = dir.path().join("wide.parquet");
    files::parquet(&path, columns, Compression::UNCOMPRESSED, 8);
    // Behind the end that is fetched first.
    let url = format!("http://{}/files/wide.parquet", web.address);
    let inputs = resolve(&[url], None).unwrap();
    let options = SourceOptions::default();
    let source = Source::open_at(&inputs[0], &options, Position::default()).unwrap();
    let rows: Vec<Json> = source.map(|row| row.unwrap().json.unwrap()).collect();
    assert_eq!(rows.len(), 30);
    assert_eq!(rows[29]["c19"], 203);
    // Two looks, the beginning and the end of it, and each of four row groups.
    let requests = web.requests.load(Ordering::SeqCst);
    assert!(requests <= 10, "{requests} requests");
}

#[test]
fn a_change_is_noticed_by_whatever_the_server_tells() {
    let dir = tempfile::tempdir().unwrap();
    let web = Web::start(dir.path().to_path_buf(), None);
    for name in ["weak-a.parquet", "dated-a.parquet"] {
        let path = dir.path().join(name);
        let write = |n| files::parquet(&path, columns(n), Compression::UNCOMPRESSED, 10);
        write(1);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        file.set_modified(past).unwrap();
        let length = path.metadata().unwrap().len();
        let url = format!("http://{}/files/{name}", web.address);
        let inputs = resolve(&[url], None).unwrap();
        let options = SourceOptions::default();
        let open = || Source::open_at(&inputs[0], &options, Position::default());
        let mut source = open().unwrap();
        source.next().unwrap().unwrap();
        // As long as before.
        write(2);
        assert_eq!(path.metadata().unwrap().len(), length);
        let error = source.find_map(Result::err).expect("the change is noticed");
        assert!(error.to_string().contains("changed"), "{name}: {error}");
        let refused = open().unwrap_err();
        let problem = refused.problem().unwrap();
        assert_eq!(problem.code, Code::InputChanged, "{name}: {problem}");
    }
}
