//! Promise: `gleaner doctor` names what is wrong with an installation, fails where something
//! cannot be used, changes nothing, and may run beside a server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::SystemTime;

use assert_cmd::Command;
use gleaner::index::{Catalog, Definition};
use serde_json::{Value, json};

use crate::support::binary::{Place, Said, one_document};
use crate::support::files;
use crate::support::s3::S3;
use crate::support::tiny_model::TinyModel;
use crate::support::world::{DEFINITION, World, note, put};

const PAGES: &str = r#"
name = "pages"
[fields.title]
type = "text"
[embedding]
model = "tiny"
fields = ["title"]
"#;

/// A place with an index `pages` that the encoder `tiny` has filled.
fn place() -> Place {
    let place = Place::with_model("tiny");
    place.write("pages.toml", PAGES);
    let rows = ["red river", "green city", "cat and dog"];
    let rows = (0..)
        .zip(rows)
        .map(|(id, title)| json!({"id": format!("p{id}"), "title": title}));
    files::jsonl(&place.path("pages.jsonl"), &rows.collect::<Vec<_>>());
    place.ok(&["index", "create", "pages.toml"]);
    place.ok(&["ingest", "pages", "pages.jsonl"]);
    // What is in a file of the store, rather than in its write-ahead log.
    place.ok(&["index", "compact", "pages"]);
    place
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What the doctor found.
struct Found {
    status: Option<i32>,
    report: Value,
}

impl Found {
    fn of(command: &mut Command) -> Found {
        let said = Said::of(command);
        Found {
            report: one_document(&said.out),
            status: said.status,
        }
    }

    /// The findings of a check: outcome, subject, and message with advice.
    fn of_check(&self, check: &str) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = self.report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == check)
            .map(|one| {
                let said = format!("{} ({})", text(&one["message"]), text(&one["advice"]));
                (text(&one["outcome"]), text(&one["subject"]), said)
            })
            .collect()
    }

    /// Asserts that a finding of this check and outcome says this, and that whatever failed has
    /// advice and makes the exit status 1.
    fn says(&self, check: &str, outcome: &str, words: &str) -> &Found {
        let found = self.of_check(check);
        assert!(
            found
                .iter()
                .any(|(is, subject, said)| is == outcome
                    && format!("{subject}: {said}").contains(words)),
            "no {outcome} {check} with {words:?} in {:#}",
            self.report
        );
        let findings = self.report["findings"].as_array().unwrap().iter();
        for finding in findings.clone() {
            assert_eq!(
                finding["outcome"] == "ok",
                finding["advice"].is_null(),
                "{finding}"
            );
        }
        let failed = findings
            .clone()
            .any(|finding| finding["outcome"] == "failed");
        assert_eq!(self.status, Some(i32::from(failed)), "{:#}", self.report);
        assert_eq!(self.report["outcome"] == "failed", failed);
        self
    }

    /// Asserts that nothing failed.
    fn nothing_failed(&self) -> &Found {
        assert_ne!(self.report["outcome"], "failed", "{:#}", self.report);
        assert_eq!(self.status, Some(0));
        self
    }
}

fn doctor(place: &Place, args: &[&str]) -> Command {
    let listen = ["doctor", "--json"];
    let mut command = place.command(&[&listen, args].concat());
    command.env("GLEANER__SERVER__LISTEN", "127.0.0.1:0");
    command
}

fn found(place: &Place) -> Found {
    Found::of(&mut doctor(place, &[]))
}

/// Every file of an installation, with its length and when it was written; not those that ONNX Runtime
/// keeps for itself in the home folder.
fn state(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::metadata(&path).unwrap();
        match data.is_dir() {
            true if path.ends_with(".cache") => {}
            true => all.extend(state(&path)),
            false => drop(all.insert(path, (data.len(), data.modified().unwrap()))),
        }
    }
    all
}

/// Writes over a file's bytes from `at` on.
fn damage(file: &Path, at: u64) {
    let mut file = fs::File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[0xa5; 24]).unwrap();
}

/// The largest file of this ending in a folder.
fn largest(folder: &Path, like: impl Fn(&str) -> bool) -> PathBuf {
    let files = state(folder).into_iter();
    let files = files.filter(|(path, _)| like(path.file_name().unwrap().to_str().unwrap()));
    let file = files.max_by_key(|(_, (bytes, _))| *bytes);
    file.unwrap_or_else(|| panic!("no such file in {}", folder.display()))
        .0
}

#[test]
fn nothing_is_wrong_with_a_sound_installation_and_nothing_is_changed() {
    let place = place();
    let before = state(place.folder());
    for args in [&[][..], &["--full"]] {
        let found = Found::of(&mut doctor(&place, args));
        found
            .nothing_failed()
            .says("configuration", "ok", "no configuration file")
            .says("environment", "ok", "GLEANER__SERVER__LISTEN")
            .says("onnx_runtime", "ok", "loads")
            .says("model", "ok", "tiny: ")
            .says("model", "ok", "index \"pages\"")
            .says("data_folder", "ok", "writable")
            // As the first command has made it.
            .says("permissions", "ok", "(mode 7")
            .says("server", "ok", "no server")
            .says("index", "ok", "pages: ")
            .says("index", "ok", "3 documents")
            .says("clock", "ok", "")
            // The defaults are not there, and nothing needs them.
            .says("model", "warning", "nothing that is there needs it");
        assert_eq!(state(place.folder()), before);
    }
    // In words, and only what is not as it should be.
    let mut quiet = place.command(&["doctor", "--quiet"]);
    let said = Said::of(quiet.env("GLEANER__SERVER__LISTEN", "127.0.0.1:0"));
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(
        said.out.contains("warning model gleaner-minilm"),
        "{said:?}"
    );
    assert!(!said.out.contains("ok      "), "{said:?}");
    assert!(said.out.trim_end().ends_with(" 0 failed"), "{said:?}");
}

#[test]
fn a_model_that_is_gone_or_another_is_named_with_who_needs_it() {
    let place = place();
    let weights = place.path("models/tiny/model.safetensors");
    let sound = fs::read(&weights).unwrap();
    damage(&weights, sound.len() as u64 / 2);
    found(&place).says("model", "failed", "another version of tiny");

    fs::remove_file(&weights).unwrap();
    found(&place).says("model", "failed", "tiny: ");
    fs::remove_dir_all(place.path("models/tiny")).unwrap();
    found(&place)
        .says("model", "failed", "there is no model of this name")
        .says("model", "failed", "index \"pages\"");

    // A reranker where an encoder belongs.
    TinyModel::linker().write(&place.path("models/tiny"));
    found(&place).says("model", "failed", "a text-encoder is needed");

    // One that the configuration asks for by name.
    let mut named = doctor(&place, &[]);
    named.env("GLEANER__ENTITIES__GENERATOR", "poet");
    Found::of(&mut named).says("model", "failed", "poet: ");
}

#[test]
fn damage_of_a_store_is_found() {
    let place = place();
    let store = place.path("data/indexes/pages/store");
    let list = largest(&store, |name| name.starts_with("MANIFEST"));
    let sound = fs::read(&list).unwrap();
    damage(&list, 20);
    found(&place).says("index", "failed", "pages: ");
    fs::write(&list, &sound).unwrap();
    found(&place).nothing_failed();

    // Documents that no search has asked for yet: whoever reads everything sees it.
    let tables = state(&store).into_keys();
    for table in tables.filter(|path| path.extension().is_some_and(|e| e == "sst")) {
        let sound = fs::read(&table).unwrap();
        damage(&table, 4);
        Found::of(&mut doctor(&place, &["--full"])).says("index", "failed", "pages: ");
        fs::write(&table, &sound).unwrap();
    }
    Found::of(&mut doctor(&place, &["--full"])).nothing_failed();

    fs::remove_file(store.join("CURRENT")).unwrap();
    found(&place).says("index", "failed", "does not hold a store");
}

/// Notes with graphs, in the data folder of a place.
fn place_with_graphs() -> Place {
    let place = Place::new();
    let mut config = place.config();
    config.storage.graph_threshold = 20;
    let catalog = Catalog::new(&config).unwrap();
    let notes = catalog
        .create(Definition::from_toml(DEFINITION).unwrap())
        .unwrap();
    let made = (0..40).map(|i| note(&format!("n{i}"), "light", f64::from(i)));
    put(&notes, made.collect());
    notes.wait_for_background();
    notes.refresh().unwrap();
    drop(notes);
    drop(catalog);
    place
}

#[test]
fn words_and_vectors_that_do_not_fit_are_told_and_not_mended() {
    let place = place_with_graphs();
    let folder = place.path("data/indexes/notes");
    found(&place)
        .nothing_failed()
        .says("index", "ok", "40 documents");

    let vectors = largest(&folder, |name| name.ends_with(".vectors"));
    let sound = fs::read(&vectors).unwrap();
    damage(&vectors, 70);
    let before = state(&folder);
    found(&place)
        .nothing_failed()
        .says("index", "warning", "is damaged: the header's checksum");
    assert_eq!(
        state(&folder),
        before,
        "opening removes it, looking does not"
    );
    fs::write(&vectors, &sound).unwrap();
    // Rows are read only where everything is.
    damage(&vectors, sound.len() as u64 - 30);
    Found::of(&mut doctor(&place, &["--full"])).says("index", "warning", "a checksum does not fit");
    fs::write(&vectors, &sound).unwrap();

    let words = folder.join("words/meta.json");
    fs::remove_file(&words).unwrap();
    found(&place)
        .nothing_failed()
        .says("index", "warning", "words have to be made anew");
    assert!(!words.exists());
    fs::remove_dir_all(folder.join("words")).unwrap();
    found(&place).says("index", "warning", "there is none");
}

#[test]
fn an_index_that_another_process_has_open_is_left_alone() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "light", 1.0)]);
    let place = Place::new();
    let data = world.config.data.folder.to_str().unwrap();
    let found = Found::of(&mut doctor(&place, &["--data", data]));
    let this = format!("(process {}) has it open", std::process::id());
    found.nothing_failed().says("index", "ok", &this);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told() {
    let place = place();
    let data = place.path("data");
    mode(&data, 0o755);
    found(&place).says("permissions", "warning", "chmod o-rwx");
    mode(&data, 0o777);
    found(&place).says("permissions", "failed", "may change");

    place.write("file", "");
    Found::of(&mut doctor(&place, &["--data", "file"])).says("data_folder", "failed", "is a file");
    Found::of(&mut doctor(&place, &["--data", "file/below"])).says("data_folder", "failed", "");
    Found::of(&mut doctor(&place, &["--data", "not/there"]))
        .nothing_failed()
        .says("data_folder", "warning", "the first start makes it");
    assert!(!place.path("not").exists());
    // Nobody may write there, not even root.
    let found = Found::of(&mut doctor(&place, &["--data", "/proc/self"]));
    found.says("data_folder", "failed", "cannot be written in /proc/self");
    Found::of(&mut doctor(&place, &["--data", "/proc/self/none"])).says(
        "data_folder",
        "failed",
        "cannot be made",
    );
}

#[test]
fn aliases_astray_and_unfinished_work_are_told() {
    let place = place();
    place.write("data/aliases.json", r#"{"now": "pages", "old": "gone"}"#);
    fs::create_dir_all(place.path("data/indexes/half.making/store")).unwrap();
    fs::create_dir_all(place.path("data/indexes/left.removing")).unwrap();
    fs::create_dir_all(place.path("data/snapshots/pages/20260101T000000000Z.making")).unwrap();
    let found = found(&place);
    found
        .says("aliases", "failed", "old: it stands for index \"gone\"")
        .says("leftovers", "warning", "half.making")
        .says("leftovers", "ok", "left.removing")
        .says("leftovers", "ok", "20260101T000000000Z.making");
    assert_eq!(found.of_check("aliases").len(), 1);
    assert!(place.path("data/indexes/left.removing").exists());

    place.write("data/aliases.json", "no json");
    self::found(&place).says("index", "failed", "aliases.json cannot be read");
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let place = place();
    place.write("config.toml", "[server]\nlistn = \"127.0.0.1:0\"\n");
    found(&place).says("configuration", "failed", "listn");
    place.write("config.toml", "[models.runtime]\nsessions = 0\n");
    found(&place).says("configuration", "failed", "sessions");
    place.write(
        "config.toml",
        "[server]\nlisten = \"127.0.0.1:1\"\nqueue = 7\n",
    );
    let found = found(&place);
    found.nothing_failed().says(
        "environment",
        "warning",
        "GLEANER__SERVER__LISTEN (server.listen)",
    );
    // A value may be a secret.
    assert!(!found.report.to_string().contains("127.0.0.1:1\""));

    place.write(
        "config.toml",
        "[[schemas.sources]]\nname = \"shop\"\nurl_env = \"NOT_SET_HERE\"\n",
    );
    self::found(&place).says("configuration", "warning", "NOT_SET_HERE");
    place.write("config.toml", "");
    let mut nowhere = doctor(&place, &[]);
    nowhere.env("GLEANER__SERVER__LISTEN", "nowhere");
    Found::of(&mut nowhere).says("listen", "failed", "nowhere");
    let mut library = doctor(&place, &[]);
    library.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    Found::of(&mut library).says("onnx_runtime", "failed", "/nowhere/libonnxruntime.so");
}

#[test]
fn limits_that_are_too_low_are_told() {
    let place = place();
    let program = env!("CARGO_BIN_EXE_gleaner");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 300 && exec \"$0\" doctor --json", program])
        .current_dir(place.folder())
        .env("GLEANER_DATA", place.path("data"))
        .env("GLEANER_MODELS", place.path("models"))
        .env("GLEANER__SERVER__LISTEN", "127.0.0.1:0")
        .env_remove("GLEANER_CONFIG");
    Found::of(&mut limited).says("open_files", "warning", "300 files");

    let mut greedy = doctor(&place, &[]);
    greedy.env(
        "GLEANER__STORAGE__BLOCK_CACHE_BYTES",
        (1_u64 << 40).to_string(),
    );
    Found::of(&mut greedy).says("memory", "warning", "storage.block_cache_bytes");
}

#[test]
fn the_place_of_snapshots_is_tried() {
    let place = place();
    let at = |location: &str| {
        let mut command = doctor(&place, &[]);
        command.env("GLEANER__SNAPSHOTS__LOCATION", location);
        command
    };
    Found::of(&mut at("/proc/self")).says("snapshots", "failed", "/proc/self");
    let folder = place.path("elsewhere");
    fs::create_dir(&folder).unwrap();
    for location in [
        folder.display().to_string(),
        format!("file://{}", folder.display()),
    ] {
        Found::of(&mut at(&location))
            .nothing_failed()
            .says("snapshots", "ok", &location);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    let s3 = S3::start("backups");
    let mut known = at("s3://backups/gleaner");
    for (name, value) in s3.environment() {
        known.env(name, value);
    }
    Found::of(&mut known)
        .nothing_failed()
        .says("snapshots", "ok", "s3://");
    let mut refused = at("s3://backups/gleaner");
    for (name, value) in s3.environment() {
        refused.env(name, value);
    }
    refused.env("AWS_SECRET_ACCESS_KEY", "another");
    let found = Found::of(&mut refused);
    found.says("snapshots", "failed", "credentials");
    assert!(!found.report.to_string().contains("another\""));
}

#[test]
fn who_may_ask_is_looked_at() {
    let place = place();
    found(&place).says("access", "ok", "there are no keys");
    let with = |variables: &[(&str, &str)]| {
        let mut command = place.command(&["doctor", "--json"]);
        command.env("GLEANER__SERVER__LISTEN", "0.0.0.0:0");
        command.envs(variables.iter().copied());
        Found::of(&mut command)
    };
    with(&[]).says("access", "failed", "gleaner keys create");
    let secret = "a".repeat(31);
    let short = with(&[("GLEANER_ADMIN_KEY", &secret)]);
    short.says("access", "failed", "32 visible ASCII characters");
    assert!(!short.report.to_string().contains(&secret));
    with(&[("GLEANER_ADMIN_KEY", &"a".repeat(32))]).says("access", "warning", "without TLS");

    place.ok(&["keys", "create", "--scope", "admin"]);
    with(&[]).says("access", "warning", "without TLS");
    found(&place).says("access", "ok", "1 are kept");
    place.write("tls.crt", "no certificate");
    let key = place.write("tls.key", "no key");
    let named = [
        ("GLEANER__SERVER__TLS_CERTIFICATE", "tls.crt"),
        ("GLEANER__SERVER__TLS_KEY", "tls.key"),
    ];
    with(&named[..1]).says("access", "failed", "server.tls_key");
    with(&named).says("access", "failed", "tls.crt cannot be used for TLS");
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    place.write("tls.crt", certified.cert.pem());
    place.write("tls.key", certified.signing_key.serialize_pem());
    mode(&key, 0o644);
    with(&named).says("access", "warning", "chmod o-rwx tls.key");
    mode(&key, 0o600);
    let sound = with(&named);
    assert!(
        sound.of_check("access").iter().all(|(is, ..)| is == "ok"),
        "{:#}",
        sound.report
    );
    with(&[("GLEANER__SERVER__AUDIT_LOG", "/proc/self/audit.jsonl")]).says(
        "access",
        "failed",
        "/proc/self/audit.jsonl",
    );
    place.write("data/keys.json", "not what it was");
    found(&place).says("access", "failed", "keys.json");
}

/// A server that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(place: &Place) -> (Running, String) {
        let server = std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(place.folder())
            .env("GLEANER_MODELS", place.path("models"))
            .env("GLEANER_DATA", place.path("data"))
            .env_remove("GLEANER_CONFIG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Running(server);
        let mut log = BufReader::new(server.0.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "{:?}",
                server.0.wait()
            );
            if let Some((_, address)) = line.split_once("listening address=") {
                break address.split_whitespace().next().unwrap().to_string();
            }
        };
        // What is not read would stop it, once the pipe is full.
        std::thread::spawn(move || log.lines().for_each(drop));
        (server, address)
    }
}

#[test]
fn beside_a_server_it_says_whose_what_is() {
    let place = place();
    let (server, address) = Running::start(&place);
    let who = format!("gleaner (process {})", server.0.id());
    let url = format!("http://{address}");
    let ready = || Said::of(&mut place.command(&["health", "--ready", "--url", &url]));
    let started = std::time::Instant::now();
    while ready().status != Some(0) {
        assert!(started.elapsed().as_secs() < 60, "{:?}", ready());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut command = place.command(&["doctor", "--json"]);
    let found = Found::of(command.env("GLEANER__SERVER__LISTEN", &address));
    found
        .nothing_failed()
        .says(
            "server",
            "ok",
            &format!("{who} serves this data folder, and is ready"),
        )
        .says("listen", "ok", "is this server's")
        .says("index", "ok", &who)
        .says("open_files", "ok", "the server")
        // Its definition is read all the same.
        .says("model", "ok", "index \"pages\"");
    // The server has not noticed.
    assert_eq!(ready().status, Some(0));
    place.ok(&["health", "--url", &url]);

    // A second installation that is to listen at the same address.
    let second = self::place();
    let mut command = second.command(&["doctor", "--json"]);
    let found = Found::of(command.env("GLEANER__SERVER__LISTEN", &address));
    found.says("listen", "failed", &format!("is taken by {who}"));
    // The first one's configuration says another address than its server has.
    self::found(&place).says("server", "warning", &who);

    drop(server);
    let gone = place.run(&["health", "--url", &url]);
    assert_eq!(gone.status, Some(1), "{gone:?}");
    assert!(gone.err.contains("does not answer"), "{gone:?}");
    let found = self::found(&place);
    found.nothing_failed().says("server", "ok", "no server");
}

#[test]
fn what_is_asked_for_its_health_has_to_say_that_it_is_well() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        let body = r#"{"ready": false, "reasons": ["the indexes are being opened"]}"#;
        let head = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        line
    });
    let said = place.run(&["health", "--ready", "--url", &url]);
    assert_eq!(said.status, Some(1));
    assert!(
        said.err.contains("the indexes are being opened"),
        "{said:?}"
    );
    assert!(answering.join().unwrap().starts_with("GET /ready "));
}
