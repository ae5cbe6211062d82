//! Promise: a load that is killed, halted or fails goes on where it was, with no document and
//! no reject lost or doubled; loading the same again changes nothing, and encodes only what
//! changed.
//!
//! `GLEANER_JOB_KILLS` says how often the long job is killed (it is left out without it),
//! `GLEANER_JOB_DOCUMENTS` how long it is, and `GLEANER_JOBS_REPORT` where to write the figures.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::Stats;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::files;

const NOTES: &str = r#"
name = "notes"
[fields.title]
type = "text"
[fields.stars]
type = "integer"
[embedding]
vector_field = "vector"
dimensions = 8
"#;

/// So many rows, of which some cannot be loaded, and some have the id of an earlier one.
fn rows(count: usize, seed: u64) -> Vec<Value> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|i| {
            let vector: Vec<f32> = (0..8).map(|_| rng.random_range(-1.0..1.0)).collect();
            let id = match i % 97 {
                96 => i - 90,
                _ => i,
            };
            let stars = match i % 41 {
                40 => json!("many"),
                _ => json!(i % 5),
            };
            json!({"id": format!("n{id}"), "title": format!("note number {i}"), "stars": stars, "vector": vector})
        })
        .collect()
}

/// What a load of a place came to: the whole index, how often it was written to, and the
/// rejects.
#[derive(Debug, PartialEq)]
struct Outcome {
    export: Vec<u8>,
    seq: u64,
    documents: u64,
    rejects: String,
}

fn outcome(place: &Place) -> Outcome {
    place.ok(&[
        "export",
        "notes",
        "--to",
        "notes.parquet",
        "--force",
        "--quiet",
    ]);
    let stats: Stats = place.look("notes", |index| index.stats());
    Outcome {
        export: std::fs::read(place.path("notes.parquet")).unwrap(),
        seq: stats.durable_seq,
        documents: stats.documents,
        rejects: std::fs::read_to_string(place.path("notes-rejects.jsonl")).unwrap(),
    }
}

fn place_with(rows: &[Value]) -> Place {
    let place = Place::new();
    place.write("notes.toml", NOTES);
    place.ok(&["index", "create", "notes.toml"]);
    let half = rows.len() / 2;
    files::jsonl(&place.path("a.jsonl"), &rows[..half]);
    files::parquet_of(&place.path("b.parquet"), &sound(&rows[half..]));
    place
}

/// Columns have one type: what is no number is left out.
fn sound(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    for (i, row) in rows.iter_mut().enumerate() {
        if !row["stars"].is_i64() {
            row["stars"] = json!(0);
            row["title"] = json!(null);
            if i % 2 == 0 {
                // And one that is to be rejected.
                row.as_object_mut().unwrap().shift_remove("id");
            }
        }
    }
    rows
}

const LOAD: [&str; 6] = [
    "ingest",
    "notes",
    "a.jsonl",
    "b.parquet",
    "--quiet",
    "--json",
];

/// Small batches: many instants at which something is half done.
fn load(place: &Place, batch: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gleaner"));
    command
        .current_dir(place.folder())
        .env_remove("GLEANER_DATA")
        .env_remove("GLEANER_CONFIG")
        .env("GLEANER_MODELS", place.path("models"))
        .env("GLEANER__INGEST__BATCH_DOCUMENTS", batch)
        // Graphs take long to build without optimisation, and are not what is looked at.
        .env("GLEANER__STORAGE__GRAPH_THRESHOLD", "1000000")
        .args(LOAD)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Kills the load so many times, at random instants, lets it end, and says what it came to,
/// and how many kills met it at work.
fn killed(rows: &[Value], batch: &str, kills: usize, seed: u64, whole: Duration) -> (Place, usize) {
    let place = place_with(rows);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut met = 0;
    for _ in 0..kills {
        let mut child = load(&place, batch).spawn().unwrap();
        // A resumed load takes less than a whole one; it is to be met at work.
        let instant = whole.mul_f64(rng.random_range(0.05..2.0) / (1.0 + kills as f64 / 2.0));
        std::thread::sleep(instant);
        met += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        // One that is done is not begun once more.
        let jobs = place.json(&["jobs", "list", "notes"]);
        if jobs["jobs"][0]["state"] == "done" {
            return (place, met);
        }
    }
    let output = load(&place, batch).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (place, met)
}

fn compare_killed(count: usize, batch: &str, kills: usize, seed: u64) -> (usize, f64, f64) {
    let rows = rows(count, seed);
    let undisturbed = place_with(&rows);
    let started = Instant::now();
    let output = load(&undisturbed, batch).output().unwrap();
    let whole = started.elapsed();
    assert!(output.status.success(), "{output:?}");
    let expected = outcome(&undisturbed);
    let started = Instant::now();
    let (place, met) = killed(&rows, batch, kills, seed, whole);
    let took = started.elapsed();
    let found = outcome(&place);
    assert_eq!(found.rejects, expected.rejects, "seed {seed}");
    assert_eq!(
        (found.documents, found.seq),
        (expected.documents, expected.seq),
        "seed {seed}"
    );
    assert!(
        found.export == expected.export,
        "seed {seed}: the exports differ"
    );
    (met, whole.as_secs_f64(), took.as_secs_f64())
}

#[test]
fn a_job_that_is_killed_goes_on_and_nothing_is_lost_or_doubled() {
    let seed = match std::env::var("GLEANER_JOB_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::rng().random_range(0..1_000_000),
    };
    let (met, ..) = compare_killed(4_000, "50", 4, seed);
    assert!(met > 0, "no kill met it at work; seed {seed}");
}

/// The long one: `make kill-test`.
#[test]
fn a_long_job_that_is_killed_often_ends_as_if_it_had_not_been() {
    let Ok(kills) = std::env::var("GLEANER_JOB_KILLS") else {
        return;
    };
    let kills: usize = kills.parse().unwrap();
    let documents = std::env::var("GLEANER_JOB_DOCUMENTS").map_or(50_000, |n| n.parse().unwrap());
    let seed = std::env::var("GLEANER_JOB_SEED").map_or(7, |seed| seed.parse().unwrap());
    let (met, whole, took) = compare_killed(documents, "512", kills, seed);
    let report = json!({
        "documents": documents,
        "kills": kills,
        "kills_that_met_it_at_work": met,
        "uninterrupted_s": whole,
        "interrupted_s": took,
        "equal": true,
    });
    println!("{report:#}");
    if let Ok(path) = std::env::var("GLEANER_JOBS_REPORT") {
        std::fs::write(path, format!("{report:#}\n")).unwrap();
    }
}

#[test]
fn ctrl_c_halts_a_job_and_its_id_goes_on_with_it() {
    let rows = rows(6_000, 3);
    let place = place_with(&rows);
    let child = load(&place, "10").spawn().unwrap();
    // At work, as its first rejects tell.
    let limit = Instant::now() + Duration::from_secs(60);
    while !place.path("notes-rejects.jsonl").exists() {
        assert!(Instant::now() < limit, "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let halted = child.wait_with_output().unwrap();
    let said = String::from_utf8(halted.stderr).unwrap();
    assert_eq!(halted.status.code(), Some(1), "{said}");
    assert!(said.contains("gleaner jobs resume notes"), "{said}");
    let jobs = place.json(&["jobs", "list", "notes"]);
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["state"], job.get("interrupted")),
        (&json!("paused"), None)
    );
    let id = job["id"].as_str().unwrap();
    let before = job["rows"].as_u64().unwrap();
    assert!(before > 0 && before < 6_000, "{job}");
    // By its id alone, from another folder.
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    let resumed = place
        .command(&[
            "ingest",
            "notes",
            "--resume",
            &id[..6],
            "--json",
            "--data",
            "../data",
        ])
        .current_dir(place.path("elsewhere"))
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    let resumed: Value = serde_json::from_slice(&resumed.stdout).unwrap();
    assert_eq!(
        (&resumed["state"], &resumed["rows"]),
        (&json!("done"), &json!(6_000))
    );
    let whole = place_with(&rows);
    assert!(load(&whole, "10").output().unwrap().status.success());
    assert_eq!(outcome(&place).seq, outcome(&whole).seq);
    assert_eq!(outcome(&place).rejects, outcome(&whole).rejects);
    // It is done, and nothing more can be asked of it.
    place.refused(Code::JobState, &["jobs", "resume", "notes", id]);
    place.refused(Code::JobState, &["jobs", "cancel", "notes", id]);
    place.refused(Code::JobNotFound, &["jobs", "show", "notes", "nobody"]);
}

fn seq(place: &Place, index: &str) -> u64 {
    place.look(index, |index| index.stats().durable_seq)
}

#[test]
fn loading_the_same_again_writes_nothing() {
    let place = place_with(&rows(300, 1)[..200]);
    let first = place.json(&LOAD[..5]);
    assert_eq!(
        (&first["unchanged"], &first["state"]),
        (&json!(0), &json!("done"))
    );
    // But for the ids that come twice, each of which takes the other's place.
    let twice = first["replaced"].as_u64().unwrap();
    let before = seq(&place, "notes");
    let again = place.json(&LOAD[..5]);
    assert_eq!(again["loaded"], first["loaded"]);
    assert!(again["replaced"].as_u64().unwrap() <= 2 * twice, "{again}");
    assert!(seq(&place, "notes") <= before + 2 * twice);

    // In another order of its members and spelling of its numbers a document is the same.
    let place = Place::new();
    place.write("notes.toml", NOTES);
    place.ok(&["index", "create", "notes.toml"]);
    let vector = json!([1, 0, 0, 0, 0, 0, 0, 0.5]);
    place.write(
        "a.jsonl",
        json!({"id": "1", "title": "x", "vector": vector}).to_string(),
    );
    place.ok(&["ingest", "notes", "a.jsonl"]);
    let before = seq(&place, "notes");
    place.write(
        "b.jsonl",
        json!({"vector": vector, "title": "x", "id": "1"}).to_string(),
    );
    let same = place.json(&["ingest", "notes", "b.jsonl"]);
    assert_eq!(
        (&same["loaded"], &same["unchanged"], &same["replaced"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(seq(&place, "notes"), before);
    // With another vector it is another.
    let other = json!([1, 0, 0, 0, 0, 0, 0, 0.25]);
    place.write(
        "c.jsonl",
        json!({"id": "1", "title": "x", "vector": other}).to_string(),
    );
    let changed = place.json(&["ingest", "notes", "c.jsonl"]);
    assert_eq!(
        (&changed["unchanged"], &changed["replaced"]),
        (&json!(0), &json!(1))
    );
}

const TEXTS: &str = r#"
name = "texts"
[fields.title]
type = "text"
[fields.body]
type = "text"
[fields.stars]
type = "integer"
[embedding]
model = "tiny"
fields = ["title", "body"]
passages = { max_tokens = 16, overlap = 0 }
"#;

#[test]
fn only_passages_are_encoded_whose_text_changed() {
    let place = Place::with_model("tiny");
    place.write("texts.toml", TEXTS);
    place.ok(&["index", "create", "texts.toml"]);
    let sentence = "The red cat and the dog are in the house of the river. ";
    let text = |id: &str, stars: u64, body: String| json!({"id": id, "stars": stars, "title": "many things", "body": body});
    let load = |rows: &[Value]| {
        files::jsonl(&place.path("texts.jsonl"), rows);
        let loaded = place.json(&["ingest", "texts", "texts.jsonl"]);
        let of = |key: &str| loaded[key].as_u64().unwrap();
        (of("unchanged"), of("replaced"), of("tokens"))
    };
    let a = text("a", 1, sentence.repeat(8));
    let b = text("b", 1, sentence.repeat(3));
    let (_, _, tokens) = load(&[a.clone(), b.clone()]);
    assert!(tokens > 100);
    assert_eq!(load(&[a.clone(), b.clone()]), (2, 0, 0));
    // What is not encoded may change for nothing.
    let a = text("a", 2, sentence.repeat(8));
    assert_eq!(load(&[a.clone(), b.clone()]), (1, 1, 0));
    // The end of a text: the passages before it keep their vectors.
    let longer = text("a", 2, format!("{}A bird sings.", sentence.repeat(8)));
    let (unchanged, replaced, few) = load(&[longer.clone(), b.clone()]);
    assert_eq!((unchanged, replaced), (1, 1));
    assert!(few > 0 && few * 3 < tokens, "{few} of {tokens}");
    // They are what encoding it all anew makes of it, to the bit.
    let vectors = |place: &Place| {
        place.look("texts", |index| {
            let ordinal = index.ordinal("a").unwrap().unwrap();
            index.stored_vectors(ordinal).unwrap().unwrap()
        })
    };
    let kept = vectors(&place);
    let anew = Place::with_model("tiny");
    anew.write("texts.toml", TEXTS);
    anew.ok(&["index", "create", "texts.toml"]);
    files::jsonl(&anew.path("texts.jsonl"), &[longer, b]);
    anew.ok(&["ingest", "texts", "texts.jsonl"]);
    assert_eq!(kept, vectors(&anew));
}

#[test]
fn an_id_that_comes_twice_ends_with_the_later_row() {
    let place = Place::new();
    place.write("notes.toml", NOTES);
    place.ok(&["index", "create", "notes.toml"]);
    let vector = json!([1, 0, 0, 0, 0, 0, 0, 0]);
    let note = |title: &str| json!({"id": "1", "title": title, "vector": vector});
    for order in [["x", "y"], ["x", "y"], ["y", "x"], ["x", "y"]] {
        files::jsonl(&place.path("a.jsonl"), &[note(order[0]), note(order[1])]);
        for batch in ["1", "2"] {
            place
                .command(&["ingest", "notes", "a.jsonl"])
                .env("GLEANER__INGEST__BATCH_DOCUMENTS", batch)
                .assert()
                .success();
            place.look("notes", |index| {
                assert_eq!(
                    index.get("1").unwrap()["title"],
                    order[1],
                    "{order:?} {batch}"
                );
                assert_eq!(index.stats().documents, 1);
            });
        }
    }
}

#[test]
fn too_many_rejects_end_a_job_and_a_retry_goes_on() {
    let place = Place::new();
    place.write("notes.toml", NOTES);
    place.ok(&["index", "create", "notes.toml"]);
    let note = |i: usize, stars: Value| json!({"id": i, "title": "x", "stars": stars, "vector": [1, 0, 0, 0, 0, 0, 0, 0]});
    let rows: Vec<Value> = (0..100)
        .map(|i| note(i, if i % 10 == 9 { json!("many") } else { json!(1) }))
        .collect();
    files::jsonl(&place.path("a.jsonl"), &rows);
    let args = ["ingest", "notes", "a.jsonl", "--max-rejects", "3"];
    let said = place.refused(Code::TooManyRejects, &args);
    assert!(said.contains("gleaner jobs retry notes"), "{said}");
    let rejects = || std::fs::read_to_string(place.path("notes-rejects.jsonl")).unwrap();
    assert_eq!(rejects().lines().count(), 4);
    place.look("notes", |index| assert_eq!(index.stats().documents, 36));
    let jobs = place.json(&["jobs", "list"]);
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["state"], &job["rows"]),
        (&json!("failed"), &json!(40))
    );
    assert_eq!(job["error"]["code"], "too_many_rejects");
    let id = job["id"].as_str().unwrap();
    // As before it fails at once; with a higher limit it goes on behind the last row.
    place.refused(Code::TooManyRejects, &["jobs", "retry", "notes", id]);
    assert_eq!(rejects().lines().count(), 4);
    let done = place.json(&["jobs", "retry", "notes", id, "--max-rejects", "50%"]);
    let figures = ["state", "rows", "loaded", "rejected"].map(|key| &done[key]);
    assert_eq!(
        figures,
        [&json!("done"), &json!(100), &json!(90), &json!(10)]
    );
    assert_eq!(rejects().lines().count(), 10);
    let shares = ["ingest", "notes", "a.jsonl", "--max-rejects", "5%"];
    place.refused(Code::TooManyRejects, &shares);
    let wrong = place.run(&["ingest", "notes", "a.jsonl", "--max-rejects", "some"]);
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
}

#[test]
fn what_a_job_reads_may_not_change_under_it() {
    let rows = rows(200, 5);
    let place = place_with(&rows);
    let args = [&LOAD[..], &["--max-rejects", "0"]].concat();
    place.refused(Code::TooManyRejects, &args);
    let id = place.json(&["jobs", "list"])["jobs"][0]["id"].clone();
    files::jsonl(&place.path("a.jsonl"), &rows[..50]);
    let id = id.as_str().unwrap();
    let retry = ["jobs", "retry", "notes", id, "--max-rejects", "50%"];
    let said = place.refused(Code::InputChanged, &retry);
    assert!(said.contains("a.jsonl"), "{said}");
    // As other inputs they are another job.
    let other = place.json(&LOAD[..5]);
    assert_ne!(other["id"], id);
    assert_eq!(other.get("resumed"), None);
    assert_eq!(
        place.json(&["jobs", "list", "notes"])["jobs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    place.ok(&["jobs", "list"]);
    place.ok(&["jobs", "show", "notes", id]);
}

#[test]
fn a_job_goes_on_where_all_that_is_left_is_damaged() {
    let rows = rows(40, 5);
    let place = place_with(&rows);
    let whole = std::fs::read(place.path("b.parquet")).unwrap();
    place.write("b.parquet", &whole[..whole.len() / 2]);
    place.write("c.parquet", &whole[..whole.len() / 3]);
    let load = ["ingest", "notes", "a.jsonl", "b.parquet", "c.parquet"];
    let undisturbed = place.json(&load);
    assert_eq!(
        (&undisturbed["state"], &undisturbed["rejected"]),
        (&json!("done"), &json!(2))
    );
    // Stopped behind each of them, it goes on.
    place.refused(
        Code::TooManyRejects,
        &[&load[..], &["--max-rejects", "0"]].concat(),
    );
    let id = place.json(&["jobs", "list"])["jobs"][0]["id"].clone();
    let retry = ["jobs", "retry", "notes", id.as_str().unwrap()];
    let more = [&retry[..], &["--max-rejects", "1"]].concat();
    place.refused(Code::TooManyRejects, &more);
    let done = place.json(&[&retry[..], &["--max-rejects", "2"]].concat());
    for figure in ["state", "rows", "loaded", "rejected", "files"] {
        assert_eq!(done[figure], undisturbed[figure], "{figure}");
    }
    // Where nothing was taken up and nothing can be, that is said at once.
    place.refused(
        Code::InvalidFile,
        &["ingest", "notes", "b.parquet", "c.parquet"],
    );
}

#[test]
fn rejects_of_two_unfinished_jobs_do_not_mix() {
    let place = place_with(&rows(200, 5));
    let first = [&LOAD[..], &["--max-rejects", "1"]].concat();
    place.refused(Code::TooManyRejects, &first);
    let path = place.path("notes-rejects.jsonl");
    let before = std::fs::read_to_string(&path).unwrap();
    let second = place.json(&["ingest", "notes", "b.parquet"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    let other = second["rejects"].as_str().unwrap();
    assert!(
        place.path(other) != path && place.path(other).exists(),
        "{other}"
    );
}

/// What can be asked of a job in each state, written down once more.
fn expected(state: &str, action: &str) -> Option<&'static str> {
    Some(match (state, action) {
        ("queued" | "paused", "pause") => "paused",
        ("queued", "resume") | ("paused", "resume") => "queued",
        ("queued" | "paused" | "cancelled", "cancel") => "cancelled",
        ("failed" | "cancelled", "retry") => "queued",
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_states_of_a_job_are_those_of_the_table(actions in proptest::collection::vec(0usize..6, 1..12)) {
        use gleaner::ingest::{resolve, SourceOptions};
        use gleaner::jobs::{self, Control, JobAction, JobOptions, JobOwner, JobState, MaxRejects, NewJob, Running, Wish};
        use crate::support::world::World;

        let world = World::new();
        let index = world.notes();
        let file = world.folder.path().join("a.jsonl");
        let row = |id: &str, stars: Value| json!({"id": id, "stars": stars, "vector": [1, 0, 0]});
        files::jsonl(&file, &[row("a", json!(1)), row("b", json!("many")), row("c", json!(1))]);
        let new = NewJob {
            index: "notes".into(),
            inputs: resolve(&[file.to_str().unwrap().into()], None).unwrap(),
            options: JobOptions {
                source: SourceOptions::default(),
                max_rejects: Some(MaxRejects::Rows(0)),
            },
            folder: None,
            rejects: world.folder.path().join("rejects.jsonl"),
            owner: JobOwner::Command,
        };
        let job = jobs::create(&index, new, &|| true).unwrap();
        let mut state = "queued";
        for action in actions {
            let (name, action) = match action {
                0 => ("pause", JobAction::Pause),
                1 => ("resume", JobAction::Resume),
                2 => ("cancel", JobAction::Cancel),
                3 => ("retry", JobAction::Retry),
                // It is run: told to halt before it begins, or to its end, which is a failure.
                told => {
                    if state != "queued" {
                        continue;
                    }
                    let control = Control::default();
                    if told == 4 {
                        control.tell(Wish::Pause);
                    }
                    let running = Running {
                        settings: &world.config.ingest,
                        control: &control,
                        still: &|| true,
                        progress: &|_| {},
                        permitted: &|_| Ok(()),
                        rejects: None,
                        within: None,
                    };
                    let report = jobs::run(&index, &job.id, running).unwrap();
                    // Whether it comes to the row that is rejected depends on what was before.
                    prop_assert!(matches!(report.state, JobState::Paused | JobState::Failed));
                    prop_assert!(told == 4 || report.state == JobState::Failed);
                    state = report.state.as_str();
                    continue;
                }
            };
            let acted = jobs::act(&index, &job.id, action, JobOwner::Command, None, &|| true);
            match expected(state, name) {
                Some(next) => {
                    prop_assert_eq!(acted.unwrap().state.as_str(), next);
                    state = next;
                }
                None => {
                    let problem = acted.unwrap_err();
                    prop_assert_eq!(problem.problem().unwrap().code, Code::JobState);
                }
            }
            prop_assert_eq!(jobs::report(&index, &job.id).unwrap().state.as_str(), state);
        }
        let documents = index.stats().documents;
        prop_assert!(documents <= 1, "what lies behind the reject is never read");
    }
}
