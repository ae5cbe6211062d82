//! Promise: an input that is changed, replaced or removed ends the load that reads it, and is
//! no reject of it; a file whose parts are too large costs these, whatever it says of itself,
//! and no memory; and a load can be halted wherever it is.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::Int32Type;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use gleaner::error::{Code, Error};
use gleaner::ingest::{Input, Mapping, Position, Row, Source, SourceOptions, resolve};
use gleaner::jobs::{self, Control, Job, JobOptions, JobOwner, JobState, NewJob, Running, Wish};
use parquet::basic::Compression;
use parquet::data_type::ByteArray;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::{Statistics, ValueStatistics};
use serde_json::{Value as Json, json};

use crate::support::binary::Place;
use crate::support::files;
use crate::support::world::World;

fn open(input: &Input, options: &SourceOptions, from: Position) -> Result<Source, Error> {
    Source::open_at(input, options, from)
}

fn rows_at(path: &Path, options: &SourceOptions, from: Position) -> Vec<Row> {
    let source = open(&Input::file(path).unwrap(), options, from).unwrap();
    source.map(Result::unwrap).collect()
}

fn code(error: &Error) -> Code {
    error.problem().unwrap().code
}

fn rows(count: usize) -> Vec<Json> {
    (0..count)
        .map(|i| json!({"id": format!("d{i}"), "stars": i % 5, "vector": [1, i, 0]}))
        .collect()
}

/// Five batches of ten rows whose column `d` needs a dictionary of a megabyte, which takes
/// little room in the file.
fn with_dictionary(path: &Path, stream: bool) {
    let ids = (0..50).map(|i| format!("d{i}"));
    let words = (0..50).map(|i| format!("{}{i}", "a".repeat(20_000)));
    let words: Vec<String> = words.collect();
    let dictionary: DictionaryArray<Int32Type> = words.iter().map(String::as_str).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from_iter_values(ids))),
        ("d", Arc::new(dictionary)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let options = IpcWriteOptions::default();
    let options = options.try_with_compression(Some(CompressionType::LZ4_FRAME));
    let (file, options) = (File::create(path).unwrap(), options.unwrap());
    let parts = (0..5).map(|i| batch.slice(i * 10, 10));
    if stream {
        let mut writer =
            StreamWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
        parts.for_each(|part| writer.write(&part).unwrap());
        writer.finish().unwrap();
    } else {
        let mut writer = FileWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
        parts.for_each(|part| writer.write(&part).unwrap());
        writer.finish().unwrap();
    }
}

#[test]
fn a_dictionary_that_is_too_large_is_no_record_batch() {
    let dir = tempfile::tempdir().unwrap();
    for (name, stream) in [("a.arrow", false), ("a.arrows", true)] {
        let path = dir.path().join(name);
        with_dictionary(&path, stream);
        let mut options = SourceOptions {
            max_batch_bytes: 300_000,
            ..SourceOptions::default()
        };
        // The batches that need it are lost, each as itself.
        let lost = rows_at(&path, &options, Position::default());
        let groups: Vec<(u64, u64, u64)> = lost
            .iter()
            .map(|row| (row.position.row_group, row.number, row.rows))
            .collect();
        let expected: Vec<_> = (0..5).map(|i| (i, i * 10 + 1, 10)).collect();
        assert_eq!(groups, expected, "{name}");
        assert!(lost.iter().all(|row| row.json.is_err()));
        // Without its column they are read, and from any row on.
        options.mapping = Mapping {
            drop: vec!["d".into()],
            ..Mapping::default()
        };
        let whole = rows_at(&path, &options, Position::default());
        let ids: Vec<&Json> = whole
            .iter()
            .map(|row| &row.json.as_ref().unwrap()["id"])
            .collect();
        assert_eq!(ids.len(), 50, "{name}");
        for (i, row) in whole.iter().enumerate() {
            assert_eq!(row.position.row_group, i as u64 / 10);
            let again = rows_at(&path, &options, row.next());
            let again: Vec<_> = again
                .iter()
                .map(|row| (row.number, &row.json.as_ref().unwrap()["id"]))
                .collect();
            let left: Vec<_> = (i + 2..=50).map(|n| (n as u64, ids[n - 1])).collect();
            assert_eq!(again, left, "{name}, behind row {i}");
        }
        // Where it is allowed it is read.
        let all = rows_at(&path, &SourceOptions::default(), Position::default());
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|row| row.json.is_ok()));
    }
}

/// The most memory that a command ever had, in bytes.
fn most_memory(place: &Place, args: &[&str]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gleaner"))
        .current_dir(place.folder())
        .env("HOME", place.folder())
        .env_remove("GLEANER_DATA")
        .env_remove("GLEANER_CONFIG")
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let line = status.unwrap_or_default();
        let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(found.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    most
}

#[test]
fn a_string_that_comes_a_thousand_times_is_held_once() {
    let place = Place::new();
    place.write(
        "shop.toml",
        "name = \"shop\"\n[fields.n]\ntype = \"integer\"\n[fields.text]\ntype = \"text\"\n",
    );
    place.ok(&["index", "create", "shop.toml"]);
    // A string of 600 kB in each of 1,024 rows: a file of some kilobytes.
    let long = StringArray::from(vec!["x".repeat(600_000)]);
    let keys = Int32Array::from(vec![0; 1024]);
    let texts = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(long)).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_page_size_limit(1 << 24)
        .build();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(StringArray::from_iter_values(
                (0..1024).map(|i| i.to_string()),
            )),
        ),
        ("n", Arc::new(Int64Array::from_iter_values(0..1024))),
        ("text", Arc::new(texts)),
    ];
    let path = files::parquet_with(&place.path("a.parquet"), columns, properties);
    assert!(path.metadata().unwrap().len() < 100_000);
    let most = most_memory(
        &place,
        &["ingest", "shop", "a.parquet", "--where", "n = 7", "--quiet"],
    );
    assert!(most > 10 << 20, "{most}");
    assert!(most < 400 << 20, "{} MiB", most >> 20);
}

#[test]
fn pages_past_the_limit_cost_the_rows_that_need_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let ids = || -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            (0..40).map(|i| format!("d{i}")),
        ))
    };
    // Row 13 has a list that is equal values throughout, so that it is nothing in the file; or
    // a long string.
    let lists = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(
        (0..40).map(|i| Some(vec![Some(7_i64); if i == 12 { 50_000 } else { 100 }])),
    );
    let texts = (0..40).map(|i| "x".repeat(if i == 12 { 500_000 } else { 100 }));
    let texts = StringArray::from_iter_values(texts);
    let properties = || {
        WriterProperties::builder()
            .set_compression(Compression::ZSTD(Default::default()))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some(20))
            .set_data_page_row_count_limit(1)
            .set_write_batch_size(1)
    };
    let plain = properties().set_dictionary_enabled(false).build();
    for (column, properties) in [
        (Arc::new(lists) as ArrayRef, properties().build()),
        (Arc::new(texts), plain),
    ] {
        files::parquet_with(&path, vec![("id", ids()), ("x", column)], properties);
        let options = SourceOptions {
            max_batch_bytes: 20_000,
            ..SourceOptions::default()
        };
        let all = rows_at(&path, &options, Position::default());
        let lost: Vec<&Row> = all.iter().filter(|row| row.json.is_err()).collect();
        let [lost] = lost[..] else {
            panic!("{lost:?}");
        };
        // A page holds a few rows, and where a list ends the next page tells.
        assert!((10..=13).contains(&lost.number), "{lost:?}");
        assert_eq!(lost.number + lost.rows, 21, "{lost:?}");
        let numbers: Vec<u64> = all.iter().map(|row| row.number).collect();
        let expected: Vec<u64> = (1..=lost.number).chain(21..=40).collect();
        assert_eq!(numbers, expected);
        let whole = rows_at(&path, &SourceOptions::default(), Position::default());
        assert!(whole.len() == 40 && whole.iter().all(|row| row.json.is_ok()));
    }
}

/// The same file, its bounds of strings as old writers stated them: by signed bytes, in the
/// fields that were deprecated for it.
fn with_old_bounds(path: &Path, column: usize, min: &str, max: &str) {
    let bytes = std::fs::read(path).unwrap();
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&File::open(path).unwrap())
        .unwrap();
    let old = |chunk: &ColumnChunkMetaData| {
        let bound = |text: &str| Some(ByteArray::from(text));
        let statistics = ValueStatistics::new(bound(min), bound(max), None, Some(0), true);
        let builder = chunk.clone().into_builder();
        builder
            .set_statistics(Statistics::ByteArray(statistics))
            .build()
            .unwrap()
    };
    let groups: Vec<RowGroupMetaData> = metadata
        .row_groups()
        .iter()
        .map(|group| {
            let mut columns = group.columns().to_vec();
            columns[column] = old(&columns[column]);
            let builder = group.clone().into_builder();
            builder.set_column_metadata(columns).build().unwrap()
        })
        .collect();
    let changed = ParquetMetaData::new(metadata.file_metadata().clone(), groups);
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    let mut written = bytes[..bytes.len() - 8 - length as usize].to_vec();
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &changed)
        .finish()
        .unwrap();
    written.extend(footer);
    std::fs::write(path, written).unwrap();
}

#[test]
fn bounds_of_strings_that_were_deprecated_leave_no_row_group_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let names = StringArray::from(vec!["anna", "zoe", "élise"]);
    files::parquet(
        &path,
        vec![("name", Arc::new(names))],
        Compression::UNCOMPRESSED,
        10,
    );
    // By signed bytes é comes first.
    with_old_bounds(&path, 0, "élise", "zoe");
    let found = |filter: &str| {
        let options = SourceOptions {
            mapping: Mapping {
                filter: Some(filter.parse().unwrap()),
                ..Mapping::default()
            },
            ..SourceOptions::default()
        };
        rows_at(&path, &options, Position::default()).len()
    };
    assert_eq!(found("name = anna"), 1);
    assert_eq!(found("name = zoe"), 1);
    assert_eq!(found("name = nobody"), 0);
}

#[test]
fn a_file_that_changes_while_it_is_read_ends_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    let options = SourceOptions::default();
    // More than is read ahead.
    let many = rows(20_000);
    for name in ["a.jsonl", "a.parquet"] {
        let path = dir.path().join(name);
        match name {
            "a.jsonl" => files::jsonl(&path, &many),
            _ => files::parquet_of(&path, &many),
        };
        let input = Input::file(&path).unwrap();
        let mut source = open(&input, &options, Position::default()).unwrap();
        for _ in 0..10 {
            source.next().unwrap().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"\n").unwrap();
        drop(file);
        let last = source.last().unwrap().unwrap_err();
        assert_eq!(code(&last), Code::InputChanged, "{name}: {last}");
        // It is not opened any more, and neither is one that is gone.
        let refused = open(&input, &options, Position::default()).unwrap_err();
        assert_eq!(code(&refused), Code::InputChanged, "{name}: {refused}");
        std::fs::remove_file(&path).unwrap();
        let refused = open(&input, &options, Position::default()).unwrap_err();
        assert_eq!(code(&refused), Code::InputChanged, "{name}: {refused}");
    }
}

#[test]
fn a_file_that_a_link_leads_to_is_opened_only_where_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (inside, outside) = (root.join("in"), root.join("out"));
    for folder in [&inside, &outside] {
        std::fs::create_dir(folder).unwrap();
        files::jsonl(&folder.join("a.jsonl"), &rows(3));
    }
    let link = inside.join("link.jsonl");
    std::os::unix::fs::symlink(inside.join("a.jsonl"), &link).unwrap();
    let options = SourceOptions {
        within: Some(vec![inside.clone()]),
        ..SourceOptions::default()
    };
    let input = Input::file(&link).unwrap();
    assert_eq!(
        open(&input, &options, Position::default()).unwrap().count(),
        3
    );
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(outside.join("a.jsonl"), &link).unwrap();
    let refused = open(&input, &options, Position::default()).unwrap_err();
    assert_eq!(code(&refused), Code::SourceNotPermitted, "{refused}");
}

/// Makes a job of files in the world's index.
fn job(world: &World, files: &[PathBuf], filter: Option<&str>) -> Job {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.to_str().unwrap().into())
        .collect();
    let mapping = Mapping {
        filter: filter.map(|filter| filter.parse().unwrap()),
        ..Mapping::default()
    };
    let new = NewJob {
        index: "notes".into(),
        inputs: resolve(&names, None).unwrap(),
        options: JobOptions {
            source: SourceOptions {
                mapping,
                ..SourceOptions::default()
            },
            max_rejects: None,
        },
        folder: None,
        rejects: world.folder.path().join("rejects.jsonl"),
        owner: JobOwner::Command,
    };
    jobs::create(&world.notes(), new, &|| true).unwrap()
}

#[test]
fn a_file_that_vanishes_while_a_job_runs_is_no_reject() {
    let world = World::with(|config| config.ingest.batch_documents = 10);
    let at = |name: &str| world.folder.path().join(name);
    let all = rows(2_000);
    let first = files::jsonl(&at("a.jsonl"), &all[..1_000]);
    let second = files::jsonl(&at("b.jsonl"), &all[1_000..]);
    let index = world.notes();
    let id = job(&world, &[first, second.clone()], None).id;
    let kept = std::fs::read(&second).unwrap();
    let modified = second.metadata().unwrap().modified().unwrap();
    let asked = Cell::new(0);
    // Asked before each batch is written, so while it is loading.
    let still = || {
        asked.set(asked.get() + 1);
        if asked.get() == 3 {
            std::fs::remove_file(&second).unwrap();
        }
        true
    };
    let control = Control::default();
    let running = Running {
        settings: &world.config.ingest,
        control: &control,
        still: &still,
        progress: &|_| {},
        permitted: &|_| Ok(()),
        rejects: None,
        within: None,
    };
    let failed = jobs::run(&index, &id, running).unwrap();
    assert_eq!(
        (failed.state, failed.summary.rejected),
        (JobState::Failed, 0)
    );
    let shown = serde_json::to_value(&failed).unwrap();
    assert_eq!(shown["error"]["code"], "input_changed", "{shown}");
    // It is there again, as it was: the job goes on.
    std::fs::write(&second, kept).unwrap();
    File::options()
        .write(true)
        .open(&second)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    jobs::act(
        &index,
        &id,
        jobs::JobAction::Retry,
        JobOwner::Command,
        None,
        &|| true,
    )
    .unwrap();
    let running = Running {
        still: &|| true,
        ..running
    };
    let done = jobs::run(&index, &id, running).unwrap();
    assert_eq!((done.state, done.summary.loaded), (JobState::Done, 2_000));
}

#[test]
fn a_job_is_halted_while_it_passes_over_rows() {
    let world = World::with(|config| config.ingest.batch_documents = 10);
    let path = world.folder.path().join("a.jsonl");
    files::jsonl(&path, &rows(6_000));
    let index = world.notes();
    let id = job(&world, &[path], Some("stars > 100")).id;
    let control = Control::default();
    control.tell(Wish::Pause);
    let mut running = Running {
        settings: &world.config.ingest,
        control: &control,
        still: &|| true,
        progress: &|_| {},
        permitted: &|_| Ok(()),
        rejects: None,
        within: None,
    };
    let halted = jobs::run(&index, &id, running).unwrap();
    assert_eq!(halted.state, JobState::Paused);
    jobs::act(
        &index,
        &id,
        jobs::JobAction::Resume,
        JobOwner::Command,
        None,
        &|| true,
    )
    .unwrap();
    let control = Control::default();
    running.control = &control;
    let done = jobs::run(&index, &id, running).unwrap();
    let summary = &done.summary;
    assert_eq!(
        (done.state, summary.rows, summary.loaded, summary.files),
        (JobState::Done, 0, 0, 1)
    );
}

#[test]
fn marks_of_what_is_passed_over_move_no_row() {
    let world = World::with(|config| config.ingest.batch_documents = 10);
    let path = world.folder.path().join("a.jsonl");
    // One in 5,000 is wanted, so that marks come between them, and batches without rows.
    let mut all: Vec<String> = (0..90_000).map(|i| format!("{{\"id\":\"{i}\"}}")).collect();
    for i in (0..90_000).step_by(5_000) {
        all[i] = json!({"id": i.to_string(), "stars": 1, "vector": [1, 0, 0]}).to_string();
    }
    files::bytes(&path, all.join("\n"));
    let index = world.notes();
    let id = job(&world, &[path], Some("stars = 1")).id;
    let writes = Cell::new(0);
    let control = Control::default();
    let still = || {
        writes.set(writes.get() + 1);
        // Halted in the middle.
        if writes.get() == 3 {
            control.tell(Wish::Pause);
        }
        true
    };
    let running = Running {
        settings: &world.config.ingest,
        control: &control,
        still: &still,
        progress: &|_| {},
        permitted: &|_| Ok(()),
        rejects: None,
        within: None,
    };
    let halted = jobs::run(&index, &id, running).unwrap();
    assert_eq!(halted.state, JobState::Paused);
    jobs::act(
        &index,
        &id,
        jobs::JobAction::Resume,
        JobOwner::Command,
        None,
        &|| true,
    )
    .unwrap();
    let control = Control::default();
    let running = Running {
        control: &control,
        ..running
    };
    let done = jobs::run(&index, &id, running).unwrap();
    assert_eq!(
        (done.state, done.summary.rows, done.summary.loaded),
        (JobState::Done, 18, 18)
    );
    let ids: HashSet<String> = (0..90_000).step_by(5_000).map(|i| i.to_string()).collect();
    assert!(ids.iter().all(|id| index.get(id).is_ok()));
}
