//! Promise: what was acknowledged survives `kill -9`, and nothing else turns up.
//!
//! The program itself serves; clients write, change and delete documents at the same time;
//! it is killed at a random instant and started again on what it left. Each client owns its
//! documents, so it knows what each must be: what was acknowledged last, or, of what was
//! under way when the program died, either. Every document is then looked for in all legs:
//! by its id, by a word and a vector that only this version of it has, and among all.
//! Meanwhile snapshots are taken, removed and restored; see `snapshots`.
//!
//! The same over a disk that forgets whatever was not synced, and one that fails: see
//! `support/faults.c`, which is preloaded.
//!
//! `GLEANER_KILLS` says how often (20 times without it), `GLEANER_POWER_LOSSES` the same
//! for power losses (5), `GLEANER_CRASH_SEED` how the dice fall, and
//! `GLEANER_CRASH_REPORT` where to write the figures of the kills.

mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use snapshots::Snapshots;

const CLIENTS: usize = 4;
/// Documents that each client writes again and again.
const IDS: usize = 60;
const DIMENSIONS: usize = 8;
/// Versions that are looked for one by one after each kill, per client.
const SAMPLE: usize = 12;

const DEFINITION: &str = r#"{
  "name": "crash",
  "fields": {
    "body": {"type": "text", "analysis": {"language": "none"}},
    "revision": {"type": "integer"},
    "mark": {"type": "integer"}
  },
  "embedding": {"vector_field": "vector", "dimensions": 8}
}"#;

/// What a document is, by the number of the operation that wrote it and of the last one
/// that changed its mark; `None` for no document.
type State = Option<(u64, u64)>;

/// What a client knows of its documents.
#[derive(Default)]
struct Model {
    known: BTreeMap<String, State>,
    /// Of operations that were under way: what they would have made of a document.
    open: BTreeMap<String, State>,
    /// Everything that any operation ever asked for.
    asked: BTreeSet<(String, State)>,
    acknowledged: u64,
    /// Operations begun.
    revision: u64,
    /// All of them in order, but for what turned out not to have happened.
    history: Vec<Step>,
}

/// What one operation makes of documents.
struct Step {
    changes: Vec<(String, State)>,
    begun: Instant,
    /// When it was acknowledged, or seen to have happened.
    done: Option<Instant>,
}

impl Model {
    fn begin(&mut self, id: &str, state: State) {
        self.begin_all(vec![(id.into(), state)]);
    }

    fn begin_all(&mut self, changes: Vec<(String, State)>) {
        for (id, state) in &changes {
            self.open.insert(id.clone(), *state);
            self.asked.insert((id.clone(), *state));
        }
        self.history.push(Step {
            changes,
            begun: Instant::now(),
            done: None,
        });
    }

    fn acknowledge(&mut self, id: &str) {
        if let Some(state) = self.open.remove(id) {
            self.known.insert(id.into(), state);
        }
        self.acknowledged += 1;
        if let Some(step) = self.history.last_mut() {
            step.done = Some(Instant::now());
        }
    }

    /// Lets what was under way have happened as far as it was found to have.
    fn settle(&mut self, found: &BTreeMap<String, State>) {
        for step in self.history.iter_mut().filter(|step| step.done.is_none()) {
            let is_there = |id: &String, state: &State| found.get(id).copied().flatten() == *state;
            step.changes.retain(|(id, state)| is_there(id, state));
            step.done = Some(Instant::now());
        }
        self.open.clear();
    }
}

fn vector(id: &str, revision: u64) -> Vec<f32> {
    let seed = id.bytes().fold(revision, |hash, byte| {
        hash.wrapping_mul(1_099_511_628_211) ^ u64::from(byte)
    });
    let mut rng = StdRng::seed_from_u64(seed);
    (0..DIMENSIONS)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect()
}

fn word(id: &str, revision: u64) -> String {
    format!("{id}x{revision}")
}

fn document(id: &str, revision: u64, mark: u64) -> Value {
    json!({
        "id": id,
        "body": format!("common {}", word(id, revision)),
        "revision": revision,
        "mark": mark,
        "vector": vector(id, revision),
    })
}

struct Server {
    child: Child,
    base: String,
    agent: ureq::Agent,
}

impl Server {
    fn start(folder: &Path) -> Server {
        Server::over(folder, None)
    }

    /// Over a disk with faults, if there is one.
    fn over(folder: &Path, disk: Option<&Disk>) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gleaner"));
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env_clear()
            .env("GLEANER_CONFIG", folder.join("config.toml"));
        if let Some(disk) = disk {
            command
                .env("LD_PRELOAD", &disk.library)
                .env("GLEANER_FAULTS_ROOT", folder.join("data"))
                .env("GLEANER_FAULTS_KEEP", disk.kept.path());
        }
        let mut child = command
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
        // Whatever else it says is not to fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Server { child, base, agent }
    }
}

impl Server {
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's way to the server; `None` once nobody answers.
fn send(
    agent: &ureq::Agent,
    method: &str,
    address: &str,
    body: Option<&Value>,
) -> Option<(u16, Value)> {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(address)
        .header("content-type", "application/json")
        .body(body.map_or(Vec::new(), |body| body.to_string().into_bytes()))
        .unwrap();
    let mut response = agent.run(request).ok()?;
    let body = response.body_mut().read_to_vec().ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some((response.status().as_u16(), body))
}

/// Writes until nobody answers, or the server is about to be killed: its port is free then, and
/// another test's server may take it before the next request.
fn client(
    number: usize,
    base: &str,
    agent: &ureq::Agent,
    stopping: &AtomicBool,
    model: &mut Model,
    rng: &mut StdRng,
) {
    let documents = format!("{base}/crash/documents");
    let pick = |rng: &mut StdRng| format!("c{number}d{}", rng.random_range(0..IDS));
    while !stopping.load(Ordering::SeqCst) {
        model.revision += 1;
        let revision = model.revision;
        let id = pick(rng);
        let wait = if rng.random_bool(0.05) {
            "?refresh=wait"
        } else {
            ""
        };
        let answered = match rng.random_range(0..10) {
            0..4 => {
                model.begin(&id, Some((revision, revision)));
                let body = document(&id, revision, revision);
                let put = send(
                    agent,
                    "PUT",
                    &format!("{documents}/{id}{wait}"),
                    Some(&body),
                );
                put.map(|(status, body)| {
                    assert!(matches!(status, 200 | 201), "{status} {body}");
                    model.acknowledge(&id);
                })
            }
            4..6 => {
                let there = model.known.get(&id).copied().flatten().is_some();
                model.begin(&id, None);
                let delete = send(agent, "DELETE", &format!("{documents}/{id}{wait}"), None);
                delete.map(|(status, body)| {
                    let wanted = if there { 204 } else { 404 };
                    assert_eq!(status, wanted, "{body}");
                    model.acknowledge(&id);
                })
            }
            6..8 => {
                let Some(Some((written, _))) = model.known.get(&id).copied() else {
                    continue;
                };
                model.begin(&id, Some((written, revision)));
                let patch = json!({"mark": revision});
                let patch = send(
                    agent,
                    "PATCH",
                    &format!("{documents}/{id}{wait}"),
                    Some(&patch),
                );
                patch.map(|(status, body)| {
                    assert_eq!(status, 200, "{body}");
                    model.acknowledge(&id);
                })
            }
            _ => {
                let ids: BTreeSet<String> = (0..20).map(|_| pick(rng)).collect();
                let (mut operations, mut changes) = (Vec::new(), Vec::new());
                for id in &ids {
                    let there = model.known.get(id).copied().flatten().is_some();
                    if there && rng.random_bool(0.3) {
                        changes.push((id.clone(), None));
                        operations.push(json!({"delete": id}));
                    } else {
                        changes.push((id.clone(), Some((revision, revision))));
                        operations.push(json!({"put": document(id, revision, revision)}));
                    }
                }
                model.begin_all(changes);
                let body = Value::from(operations);
                let bulk = send(
                    agent,
                    "POST",
                    &format!("{base}/crash/operations{wait}"),
                    Some(&body),
                );
                bulk.map(|(status, body)| {
                    assert_eq!(status, 200, "{body}");
                    assert_eq!(body["rejected"], 0, "{body}");
                    ids.iter().for_each(|id| model.acknowledge(id));
                })
            }
        };
        if answered.is_none() {
            return;
        }
    }
}

#[derive(Default)]
struct Findings {
    lost: Vec<String>,
    invented: Vec<String>,
}

impl Findings {
    fn assert_none(&self) {
        assert!(self.lost.is_empty(), "lost: {:#?}", self.lost);
        assert!(self.invented.is_empty(), "invented: {:#?}", self.invented);
    }
}

/// What the index holds, by one search over everything; also how many it says there are.
fn everything(server: &Server, index: &str, search: &Value) -> BTreeMap<String, State> {
    let address = format!("{}/{index}/search", server.base);
    let (status, answer) = send(&server.agent, "POST", &address, Some(search)).unwrap();
    assert_eq!(status, 200, "{answer}");
    let hits = answer["hits"].as_array().unwrap();
    let found: BTreeMap<String, State> = hits
        .iter()
        .map(|hit| {
            let number = |field: &str| hit["document"][field].as_u64().unwrap();
            let id = hit["id"].as_str().unwrap().to_string();
            let (revision, mark) = (number("revision"), number("mark"));
            let body = hit["document"]["body"].as_str().unwrap();
            assert_eq!(body, format!("common {}", word(&id, revision)));
            (id, Some((revision, mark)))
        })
        .collect();
    assert_eq!(found.len(), hits.len(), "a document came twice");
    let total = &answer["total"];
    if total["value"] != hits.len() {
        let differing = by_id(server, index, &found);
        let (hits, (_, again)) = (
            hits.len(),
            send(&server.agent, "POST", &address, Some(search)).unwrap(),
        );
        panic!(
            "{search} counts {total} and answers {hits}; by id otherwise: {differing:?}; again it \
             counts {} and answers {}",
            again["total"],
            again["hits"].as_array().map_or(0, Vec::len)
        );
    }
    found
}

/// What asking for every document by its id says otherwise than `found`.
fn by_id(server: &Server, index: &str, found: &BTreeMap<String, State>) -> Vec<String> {
    let ids = (0..CLIENTS).flat_map(|c| (0..IDS).map(move |d| format!("c{c}d{d}")));
    ids.filter_map(|id| {
        let address = format!("{}/{index}/documents/{id}", server.base);
        let (status, answer) = send(&server.agent, "GET", &address, None).unwrap();
        let differs = (status == 200) != found.contains_key(&id);
        differs.then(|| format!("{id}: {status} {answer}"))
    })
    .collect()
}

/// The same by words, by vectors and by a filter.
fn in_every_leg(server: &Server, index: &str, findings: &mut Findings) -> BTreeMap<String, State> {
    let by_words = json!({"query": "common", "mode": "lexical", "k": 1000});
    let by_vectors = json!({
        "vector": vector("anything", 0), "mode": "dense", "k": 1000, "exact": true,
    });
    let by_filter = json!({
        "query": "common", "mode": "lexical", "k": 1000, "filter": "revision >= 0 AND mark >= 0",
    });
    let found = everything(server, index, &by_words);
    for (leg, search) in [("vectors", by_vectors), ("filter", by_filter)] {
        let other = everything(server, index, &search);
        for id in found.keys().chain(other.keys()) {
            if found.get(id) != other.get(id) {
                let (words, other) = (found.get(id), other.get(id));
                findings.lost.push(format!(
                    "{id} in {index}: {words:?} by words, {other:?} by {leg}"
                ));
            }
        }
    }
    found
}

/// Compares what is there with what the clients know, and lets them know what became of
/// the operations that were under way.
fn verify(server: &Server, models: &mut [Model], rng: &mut StdRng, findings: &mut Findings) {
    let refresh = format!("{}/crash/refresh", server.base);
    let started = Instant::now();
    let (status, answer) = loop {
        let (status, answer) = send(&server.agent, "POST", &refresh, None).unwrap();
        // The index may still be opened in the background.
        if status != 503 || started.elapsed() > Duration::from_secs(30) {
            break (status, answer);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status, 200, "{answer}");
    let found = in_every_leg(server, "crash", findings);
    for (number, model) in models.iter_mut().enumerate() {
        for place in 0..IDS {
            let id = format!("c{number}d{place}");
            let state = found.get(&id).copied().flatten();
            let known = model.known.get(&id).copied().flatten();
            let open = model.open.get(&id).copied();
            if state != known && open != Some(state) {
                match model.asked.contains(&(id.clone(), state)) || state.is_none() {
                    true => findings
                        .lost
                        .push(format!("{id}: {state:?} for {known:?}, {open:?}")),
                    false => findings.invented.push(format!("{id}: {state:?}")),
                }
            }
            model.known.insert(id, state);
        }
        model.settle(&found);
        // One by one, by what only this version has.
        let there: Vec<(String, u64, u64)> = model
            .known
            .iter()
            .filter_map(|(id, state)| state.map(|(revision, mark)| (id.clone(), revision, mark)))
            .collect();
        for _ in 0..SAMPLE.min(there.len()) {
            let (id, revision, mark) = &there[rng.random_range(0..there.len())];
            let address = format!("{}/crash/documents/{id}", server.base);
            let (_, read) = send(&server.agent, "GET", &address, None).unwrap();
            if read["document"]["revision"] != *revision || read["document"]["mark"] != *mark {
                findings.lost.push(format!("{id}: read as {read}"));
            }
            let searches = [
                json!({"query": word(id, *revision), "mode": "lexical", "k": 1}),
                json!({"vector": vector(id, *revision), "mode": "dense", "k": 1}),
            ];
            for search in searches {
                let address = format!("{}/crash/search", server.base);
                let (_, answer) = send(&server.agent, "POST", &address, Some(&search)).unwrap();
                if answer["hits"][0]["id"] != **id {
                    findings
                        .lost
                        .push(format!("{id}: {search} finds {}", answer["hits"]));
                }
            }
        }
    }
    // Nobody else's documents.
    let theirs: BTreeSet<&String> = models.iter().flat_map(|m| m.known.keys()).collect();
    let strangers = found.keys().filter(|id| !theirs.contains(id));
    findings
        .invented
        .extend(strangers.map(|id| format!("{id}: nobody's")));
}

/// What lies between the program and the real disk.
struct Disk {
    library: PathBuf,
    /// What would survive a power loss, by inode.
    kept: TempDir,
}

impl Disk {
    /// A disk on which everything that lies in `folder` has been synced.
    fn new(folder: &Path, work: &Path) -> Disk {
        let library = work.join("faults.so");
        if !library.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/faults.c");
            let compiled = Command::new("cc")
                .args(["-O1", "-shared", "-fPIC", "-o"])
                .args([&library, &source])
                .arg("-ldl")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&compiled.stderr);
            assert!(compiled.status.success(), "{said}");
        }
        let kept = tempfile::tempdir().unwrap();
        let disk = Disk { library, kept };
        disk.sync_all(folder);
        disk
    }

    fn file(&self, kind: char, inode: u64) -> PathBuf {
        self.kept.path().join(format!("{kind}{inode}"))
    }

    fn sync_all(&self, folder: &Path) {
        let mut listing = String::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let inode = entry.metadata().unwrap().ino();
            let name = entry.file_name().into_string().unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder {
                self.sync_all(&entry.path());
            } else {
                std::fs::copy(entry.path(), self.file('i', inode)).unwrap();
            }
            let kind = if is_folder { 'd' } else { 'i' };
            writeln!(listing, "{kind} {inode} {name}").unwrap();
        }
        let inode = std::fs::metadata(folder).unwrap().ino();
        std::fs::write(self.file('d', inode), listing).unwrap();
    }

    /// Makes of `folder` what a power loss leaves of it.
    fn lose_power(&self, folder: &Path) {
        let inode = std::fs::metadata(folder).unwrap().ino();
        let lost = folder.with_extension("lost");
        std::fs::rename(folder, &lost).unwrap();
        self.restore(inode, folder);
        std::fs::remove_dir_all(lost).unwrap();
    }

    fn restore(&self, inode: u64, to: &Path) {
        std::fs::create_dir(to).unwrap();
        // A folder that was never synced is empty, and so is a file.
        let listing = std::fs::read_to_string(self.file('d', inode)).unwrap_or_default();
        for line in listing.lines() {
            let mut parts = line.splitn(3, ' ');
            let mut part = || parts.next().unwrap();
            let (kind, inode, name) = (part(), part().parse().unwrap(), part());
            if kind == "d" {
                self.restore(inode, &to.join(name));
            } else {
                let kept = std::fs::read(self.file('i', inode)).unwrap_or_default();
                std::fs::write(to.join(name), kept).unwrap();
            }
        }
    }

    /// From now on every write fails like this.
    fn fail(&self, how: &str) {
        std::fs::write(self.kept.path().join("fault"), how).unwrap();
    }

    fn mend(&self) {
        std::fs::remove_file(self.kept.path().join("fault")).unwrap();
    }
}

/// A folder for a server, in which graphs, merges and refreshes happen all the time.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = "[storage]\nrefresh_ms = 50\ngraph_threshold = 100\n[log]\nfilter = \"info\"\n";
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    folder
}

/// Creates the index.
fn create(server: &Server) {
    let definition: Value = serde_json::from_str(DEFINITION).unwrap();
    let (status, answer) = send(&server.agent, "POST", &server.base, Some(&definition)).unwrap();
    assert_eq!(status, 201, "{answer}");
}

/// Lets all clients write until the server is killed after a while, and snapshots be taken
/// where somebody is there to do so.
fn run_and_kill(
    mut server: Server,
    models: &mut [Model],
    snapshots: Option<&mut Snapshots>,
    rng: &mut StdRng,
) {
    let after = Duration::from_micros(rng.random_range(1_000..400_000));
    // Counted from the start, or from the first snapshot: otherwise hardly any would be done.
    let wait_for_snapshot = snapshots.is_some() && rng.random_bool(0.6);
    let (stopping, taken) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (number, model) in models.iter_mut().enumerate() {
            let (base, agent) = (server.base.clone(), server.agent.clone());
            let mut rng = StdRng::seed_from_u64(rng.random());
            let stopping = &stopping;
            scope.spawn(move || {
                client(number, &base, &agent, stopping, model, &mut rng);
                assert!(
                    stopping.load(Ordering::SeqCst),
                    "nobody answers client {number}"
                );
            });
        }
        if let Some(snapshots) = snapshots {
            let (base, agent) = (server.base.clone(), server.agent.clone());
            let rng = StdRng::seed_from_u64(rng.random());
            let (taken, stopping) = (&taken, &stopping);
            scope.spawn(move || snapshots.run(&base, &agent, stopping, taken, rng));
        }
        let started = Instant::now();
        while wait_for_snapshot
            && !taken.load(Ordering::SeqCst)
            && started.elapsed() < Duration::from_secs(10)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(after);
        stopping.store(true, Ordering::SeqCst);
        server.kill();
    });
}

fn models() -> Vec<Model> {
    (0..CLIENTS).map(|_| Model::default()).collect()
}

fn acknowledged(models: &[Model]) -> u64 {
    models.iter().map(|model| model.acknowledged).sum()
}

fn setting(name: &str, without: u64) -> u64 {
    std::env::var(name).map_or(without, |value| value.parse().unwrap())
}

/// Kills a server again and again, and says what came of it, also to `report`.
fn kill_again_and_again(folder: &Path, kills: u64, report: Option<std::ffi::OsString>) {
    let seed = setting("GLEANER_CRASH_SEED", 7);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = Server::start(folder);
    create(&server);
    let (mut models, mut findings) = (models(), Findings::default());
    let mut snapshots = Snapshots::default();
    let started = Instant::now();
    for kill in 1..=kills {
        run_and_kill(server, &mut models, Some(&mut snapshots), &mut rng);
        server = Server::start(folder);
        verify(&server, &mut models, &mut rng, &mut findings);
        snapshots.verify(&server, &models, &mut findings, kill == kills);
        if kill % 20 == 0 {
            let (seconds, operations) = (started.elapsed().as_secs(), acknowledged(&models));
            println!("{kill} kills in {seconds} s, {operations} operations acknowledged");
        }
    }
    server.kill();
    let acknowledged = acknowledged(&models);
    assert!(
        acknowledged > kills * 5,
        "hardly anything was written: {acknowledged}"
    );
    let figures = json!({
        "kills": kills,
        "acknowledged": acknowledged,
        "lost": findings.lost.len(),
        "invented": findings.invented.len(),
        "snapshots": snapshots.figures(),
        "seed": seed,
    });
    println!("{figures}");
    if let Some(report) = report {
        std::fs::write(report, format!("{figures:#}\n")).unwrap();
    }
    findings.assert_none();
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let folder = folder();
    let report = std::env::var_os("GLEANER_CRASH_REPORT");
    kill_again_and_again(folder.path(), setting("GLEANER_KILLS", 20), report);
}

#[test]
fn snapshots_in_an_object_store_survive_being_killed() {
    let kills = setting("GLEANER_KILLS", 20).div_ceil(4);
    let folder = folder();
    let url = format!("file://{}", folder.path().join("store").display());
    let config = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
    let config = format!("{config}[snapshots]\nlocation = \"{url}\"\n");
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    kill_again_and_again(folder.path(), kills, None);
}

#[test]
fn what_was_acknowledged_survives_a_power_loss() {
    let losses = setting("GLEANER_POWER_LOSSES", 5);
    let mut rng = StdRng::seed_from_u64(setting("GLEANER_CRASH_SEED", 7));
    let folder = folder();
    let data = folder.path().join("data");
    let (mut models, mut findings) = (models(), Findings::default());
    for loss in 1..=losses {
        let disk = Disk::new(&data, folder.path());
        let server = Server::over(folder.path(), Some(&disk));
        if loss == 1 {
            create(&server);
        } else {
            verify(&server, &mut models, &mut rng, &mut findings);
        }
        run_and_kill(server, &mut models, None, &mut rng);
        disk.lose_power(&data);
    }
    let mut server = Server::start(folder.path());
    verify(&server, &mut models, &mut rng, &mut findings);
    server.kill();
    assert!(acknowledged(&models) > losses * 5);
    findings.assert_none();
}

#[test]
fn a_full_or_failing_disk_is_said_and_what_is_there_goes_on_being_found() {
    for (how, status, code) in [
        ("enospc", 507, "storage_full"),
        ("eio", 500, "operator_error"),
        ("fsync", 500, "operator_error"),
    ] {
        let mut rng = StdRng::seed_from_u64(3);
        let folder = folder();
        let disk = Disk::new(&folder.path().join("data"), folder.path());
        let mut server = Server::over(folder.path(), Some(&disk));
        create(&server);
        let (mut models, mut findings) = (models(), Findings::default());
        let put = |server: &Server, model: &mut Model, id: &str| {
            model.revision += 1;
            let revision = model.revision;
            model.begin(id, Some((revision, revision)));
            let address = format!("{}/crash/documents/{id}", server.base);
            let body = document(id, revision, revision);
            let answer = send(&server.agent, "PUT", &address, Some(&body)).unwrap();
            if answer.0 < 300 {
                model.acknowledge(id);
            }
            answer
        };
        for id in ["c0d0", "c0d1", "c0d2"] {
            assert_eq!(put(&server, &mut models[0], id).0, 201, "{how}");
        }
        verify(&server, &mut models, &mut rng, &mut findings);
        disk.fail(how);
        for id in ["c0d3", "c0d4"] {
            let (found, answer) = put(&server, &mut models[0], id);
            assert_eq!(found, status, "{how}: {answer}");
            assert_eq!(answer["error"]["code"], code, "{how}: {answer}");
        }
        let metrics = server.base.replace("/v1/indexes", "/metrics");
        let mut page = server.agent.get(metrics).call().unwrap();
        let page = page.body_mut().read_to_string().unwrap();
        let refused = "gleaner_index_writes_refused{index=\"crash\"} 1";
        assert!(page.contains(refused), "{how}: {page}");
        // Nothing becomes visible that is not on the disk, and reads go on in every leg.
        let refresh = format!("{}/crash/refresh", server.base);
        let (refused, answer) = send(&server.agent, "POST", &refresh, None).unwrap();
        assert!(
            how == "eio" || how == "enospc" || refused >= 500,
            "{how}: {answer}"
        );
        for search in [
            json!({"query": "common", "mode": "lexical"}),
            json!({"vector": vector("c0d1", 2), "mode": "dense"}),
        ] {
            let address = format!("{}/crash/search", server.base);
            let (found, answer) = send(&server.agent, "POST", &address, Some(&search)).unwrap();
            assert_eq!(found, 200, "{how}: {answer}");
            assert_eq!(answer["total"]["value"], 3, "{how}: {answer}");
        }
        disk.mend();
        server.kill();
        let mut server = Server::over(folder.path(), Some(&disk));
        verify(&server, &mut models, &mut rng, &mut findings);
        assert_eq!(put(&server, &mut models[0], "c0d5").0, 201, "{how}");
        verify(&server, &mut models, &mut rng, &mut findings);
        server.kill();
        findings.assert_none();
    }
}
