//! Promise: what is kept of a job is its index's own. It comes along with a reindexing, and is
//! nobody's in a restored snapshot; what was asked of a job counts, whoever runs it; and jobs
//! take each other nothing: not the file of rejects, and not the memory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::{Index, ReindexRequest};
use gleaner::ingest::{Input, SourceOptions, resolve};
use gleaner::jobs::{
    self, Control, Job, JobAction, JobOptions, JobOwner, JobReport, JobState, Jobs, MaxRejects,
    NewJob, Running, Wish,
};
use serde_json::{Value, json};

use crate::support::files;
use crate::support::world::World;

fn code<T>(result: Result<T, gleaner::error::Error>) -> Option<Code> {
    result.err().and_then(|e| e.problem().map(|p| p.code))
}

/// A file of rows, of which the last cannot be loaded.
fn write(folder: &Path, name: &str, count: usize) -> Vec<Input> {
    let row = |i: usize| {
        let stars = if i + 1 == count {
            json!("many")
        } else {
            json!(1)
        };
        json!({"id": format!("{name}{i}"), "title": "a train", "stars": stars, "vector": [1, 0, 0]})
    };
    let rows: Vec<Value> = (0..count).map(row).collect();
    let path = files::jsonl(&folder.join(format!("{name}.jsonl")), &rows);
    resolve(&[path.to_str().unwrap().into()], None).unwrap()
}

fn new(index: &str, inputs: Vec<Input>, rejects: PathBuf, owner: JobOwner) -> NewJob {
    NewJob {
        index: index.into(),
        inputs,
        options: JobOptions {
            source: SourceOptions::default(),
            max_rejects: None,
        },
        folder: None,
        rejects,
        owner,
    }
}

fn create(index: &Index, new: NewJob) -> Job {
    jobs::create(index, new, &|| true).unwrap()
}

fn act(index: &Index, job: &Job, action: JobAction) {
    jobs::act(index, &job.id, action, JobOwner::Server, None, &|| true).unwrap();
}

fn run(
    world: &World,
    index: &Index,
    job: &Job,
    control: &Control,
) -> Result<JobReport, gleaner::error::Error> {
    let running = Running {
        settings: &world.config.ingest,
        control,
        still: &|| true,
        progress: &|_| {},
        permitted: &|_| Ok(()),
        rejects: None,
        within: None,
    };
    jobs::run(index, &job.id, running)
}

#[test]
fn what_was_asked_of_a_job_outlives_the_end_of_its_process() {
    let world = World::new();
    let index = world.notes();
    let folder = world.folder.path();
    for (wish, state) in [
        (Wish::Cancel, JobState::Cancelled),
        (Wish::Pause, JobState::Paused),
    ] {
        let inputs = write(folder, "a", 3);
        let rejects = folder.join("rejects");
        let job = create(&index, new("notes", inputs, rejects, JobOwner::Server));
        // Asked for, and then the server stops; or in the other order.
        for first in [wish, Wish::Leave] {
            let control = Control::default();
            control.tell(first);
            control.tell(if first == wish { Wish::Leave } else { wish });
            let report = run(&world, &index, &job, &control).unwrap();
            assert_eq!(report.state, state);
            // What is not to run is not run, from whatever list it was taken.
            let again = run(&world, &index, &job, &Control::default());
            assert_eq!(code(again), Some(Code::JobState));
            assert_eq!(jobs::report(&index, &job.id).unwrap().state, state);
            let again = match state {
                JobState::Paused => JobAction::Resume,
                _ => JobAction::Retry,
            };
            act(&index, &job, again);
        }
    }
    assert_eq!(index.stats().documents, 0);
}

#[test]
fn a_job_that_waits_for_an_alias_goes_on_in_the_new_index() {
    let source = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        config.ingest.sources = vec![source.path().to_str().unwrap().into()];
    });
    let index = world.notes();
    let live = [("live".to_string(), Some("notes".to_string()))];
    world.catalog.set_aliases(&live.into()).unwrap();
    let inputs = write(source.path(), "a", 3);
    let rejects = world.config.data.folder.join("rejects");
    let job = create(&index, new("live", inputs, rejects, JobOwner::Server));
    let request = ReindexRequest {
        into: "notes-2".into(),
        definition: None,
        alias: Some("live".into()),
    };
    let reindex = world.catalog.reindex("live", request).unwrap();
    assert!(reindex.wait_for(Duration::from_secs(60)));
    assert!(reindex.error().is_none());
    drop((index, reindex));
    let world = world.reopen();
    let server = Jobs::new(world.catalog.clone(), &world.config);
    server.start().unwrap();
    let limit = Instant::now() + Duration::from_secs(30);
    let done = loop {
        match server.report(&job.id) {
            Ok(report) if report.state == JobState::Done => break report,
            other => assert!(Instant::now() < limit, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((done.summary.loaded, done.summary.rejected), (2, 1));
    let new = world.catalog.get("notes-2").unwrap();
    assert_eq!(new.stats().documents, 2);
    assert_eq!(world.catalog.get("notes").unwrap().stats().documents, 0);
    server.stop();
}

#[test]
fn the_jobs_in_a_snapshot_are_nobodys() {
    let world = World::new();
    let index = world.notes();
    let folder = world.folder.path();
    let inputs = write(folder, "a", 3);
    let secret = folder.join("secret");
    let job = create(
        &index,
        new("notes", inputs.clone(), secret, JobOwner::Command),
    );
    run(&world, &index, &job, &Control::default()).unwrap();
    let waits = new("again", inputs.clone(), folder.join("x"), JobOwner::Server);
    let waits = create(&index, waits);
    let taken = world.catalog.take_snapshot("notes").unwrap();
    let restored = world.catalog.restore_snapshot("notes", &taken.id, "again");
    let restored = restored.unwrap();
    assert_eq!(jobs::reports(&index).unwrap().len(), 2);
    assert!(jobs::reports(&restored).unwrap().is_empty());
    for job in [&job, &waits] {
        let id = &job.id;
        assert_eq!(code(jobs::report(&restored, id)), Some(Code::JobNotFound));
        assert_eq!(code(jobs::find(&restored, id)), Some(Code::JobNotFound));
        let ran = run(&world, &restored, job, &Control::default());
        assert_eq!(code(ran), Some(Code::JobNotFound));
    }
    let twin = jobs::unfinished_twin(&restored, "again", &inputs, &SourceOptions::default());
    assert!(twin.unwrap().is_none());
    let server = Jobs::new(world.catalog.clone(), &world.config);
    assert_eq!(code(server.report(&waits.id)), Some(Code::JobNotFound));
    // Other names than its own are not believed for a job of this index either.
    let rejects = server.rejects(&job.id);
    assert_eq!(code(rejects), Some(Code::JobState));
    assert_eq!(server.report(&job.id).unwrap().rejects, None);
    let there = jobs::report(&index, &job.id).unwrap().rejects;
    assert!(there.unwrap().exists());
}

#[test]
fn an_unfinished_job_keeps_its_file_of_rejects_before_there_are_any() {
    let world = World::new();
    let index = world.notes();
    let folder = world.folder.path();
    let inputs = write(folder, "a", 3);
    let path = folder.join("rejects.parquet");
    let command = |path: &Path| new("notes", inputs.clone(), path.into(), JobOwner::Command);
    let first = create(&index, command(&path));
    assert_eq!(first.rejects, path);
    let second = create(&index, command(&path));
    assert_ne!(second.rejects, path);
    // Nor may it be the file in which the other keeps its lines meanwhile.
    let lines = folder.join("rejects.parquet.jsonl");
    assert_ne!(create(&index, command(&lines)).rejects, lines);
    run(&world, &index, &second, &Control::default()).unwrap();
    run(&world, &index, &first, &Control::default()).unwrap();
    for job in [&first, &second] {
        let report = jobs::report(&index, &job.id).unwrap();
        assert_eq!(report.rejects.as_ref(), Some(&job.rejects));
        assert!(job.rejects.exists());
    }
    assert_eq!(create(&index, command(&path)).rejects, path);
}

#[test]
fn a_job_of_the_server_that_is_forgotten_takes_its_rejects_along() {
    let world = World::new();
    let index = world.notes();
    let folder = world.folder.path().join("rejects");
    std::fs::create_dir(&folder).unwrap();
    let inputs = write(world.folder.path(), "a", 3);
    let server = || {
        let new = new("notes", inputs.clone(), folder.clone(), JobOwner::Server);
        create(&index, new)
    };
    let old = server();
    run(&world, &index, &old, &Control::default()).unwrap();
    assert_eq!(old.rejects, folder.join(format!("{}.jsonl", old.id)));
    assert!(old.rejects.exists());
    for _ in 0..99 {
        act(&index, &server(), JobAction::Cancel);
    }
    assert!(old.rejects.exists());
    server();
    assert!(!old.rejects.exists());
    let report = jobs::report(&index, &old.id);
    assert_eq!(code(report), Some(Code::JobNotFound));
    assert!(
        index
            .job_notes(&format!("~inputs/{}", old.id))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn many_inputs_cost_nothing_where_jobs_are_told_of_and_have_a_limit() {
    let world = World::new();
    let index = world.notes();
    let inputs = |count: usize| -> Vec<Input> {
        let one =
            |i: usize| json!({"location": format!("/srv/loads/part-{i:06}.jsonl"), "bytes": 10});
        serde_json::from_value((0..count).map(one).collect()).unwrap()
    };
    let rejects = world.folder.path().join("rejects.jsonl");
    let command = |inputs| new("notes", inputs, rejects.clone(), JobOwner::Command);
    let job = create(&index, command(inputs(5_000)));
    let told = index.job_notes("").unwrap();
    let bytes: usize = told.iter().map(|(_, note)| note.len()).sum();
    assert!(bytes < 4_000, "{bytes} bytes are read to tell of it");
    let report = jobs::report(&index, &job.id).unwrap();
    assert_eq!((report.inputs, report.bytes), (5_000, 50_000));
    // It is the same job as one of the same files, and no other.
    let twin = |inputs: &[Input]| {
        let twin = jobs::unfinished_twin(&index, "notes", inputs, &SourceOptions::default());
        twin.unwrap().map(|twin| twin.id)
    };
    let mut same = inputs(5_000);
    assert_eq!(twin(&same), Some(job.id));
    same.reverse();
    assert_eq!(twin(&same), None);

    let refused = jobs::create(&index, command(inputs(100_001)), &|| true).unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!(problem.code, Code::InvalidRequest);
    assert_eq!(problem.field.as_deref(), Some("inputs"));
    assert!(problem.expected.as_ref().unwrap().contains("100000"));
    assert_eq!(jobs::reports(&index).unwrap().len(), 1);
}

#[test]
fn rejects_as_columns_are_the_jobs_own_and_the_file_that_is_named_is_there() {
    let world = World::new();
    let index = world.notes();
    let folder = world.folder.path();
    let path = folder.join("rejects.parquet");
    let left = folder.join("rejects.parquet.jsonl");
    std::fs::write(&left, "somebody's\n").unwrap();
    // Without a reject nothing is made of what lies there.
    let row = json!({"id": "x", "title": "x", "vector": [1, 0, 0]});
    let sound = files::jsonl(&folder.join("sound.jsonl"), &[row]);
    let sound = resolve(&[sound.to_str().unwrap().into()], None).unwrap();
    let job = create(&index, new("notes", sound, path.clone(), JobOwner::Command));
    let report = run(&world, &index, &job, &Control::default()).unwrap();
    assert_eq!((report.state, report.rejects), (JobState::Done, None));
    assert_eq!(std::fs::read(&left).unwrap(), b"somebody's\n");
    assert!(!path.exists());

    // Whether it fails on the way or at the end, it names a file that is there.
    for most in [MaxRejects::Rows(0), MaxRejects::Share("1%".into())] {
        let inputs = write(folder, "a", 3);
        let mut new = new("notes", inputs, path.clone(), JobOwner::Command);
        new.options.max_rejects = Some(most);
        let job = create(&index, new);
        let report = run(&world, &index, &job, &Control::default()).unwrap();
        assert_eq!(report.state, JobState::Failed);
        let named = report.rejects.unwrap();
        let text = std::fs::read_to_string(&named).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let expected = report.error.unwrap().expected.unwrap();
        assert!(expected.contains(named.to_str().unwrap()), "{expected}");
        // A retry goes on with them, and makes columns of all.
        let most = Some(MaxRejects::Rows(5));
        let (retry, owner) = (JobAction::Retry, JobOwner::Command);
        jobs::act(&index, &job.id, retry, owner, most, &|| true).unwrap();
        let done = run(&world, &index, &job, &Control::default()).unwrap();
        assert_eq!((done.state, done.summary.rejected), (JobState::Done, 1));
        assert_eq!(done.rejects.as_ref(), Some(&path));
        let read = resolve(&[path.to_str().unwrap().into()], None).unwrap();
        let read =
            gleaner::ingest::Source::open(Path::new(read[0].location()), &Default::default());
        assert_eq!(read.unwrap().count(), 1);
        assert!(!named.exists());
    }
}
