//! Promise: what a load is named stands for files in a fixed order; reading goes on from any
//! row, and damage costs the rows that it lies in and no others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use gleaner::error::{Code, Error};
use gleaner::ingest::{
    Format, Input, Mapping, Operation, Position, Reject, Row, Source, SourceOptions, resolve,
};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value as Json, json};

use crate::support::binary::Place;
use crate::support::files;

fn rows_at(path: &Path, options: &SourceOptions, from: Position) -> Vec<Row> {
    let input = Input::file(path).unwrap();
    let source = Source::open_at(&input, options, from).unwrap();
    source.map(Result::unwrap).collect()
}

fn rows(path: &Path) -> Vec<Row> {
    rows_at(path, &SourceOptions::default(), Position::default())
}

/// Where a row is, and what it is.
fn told(row: &Row) -> (u64, Option<u64>, Position, u64, Option<Json>) {
    let json = row.json.as_ref().ok().cloned();
    (row.number, row.line, row.position, row.rows, json)
}

/// Columns of `n` rows that every format takes.
fn columns(n: i64) -> Vec<(&'static str, ArrayRef)> {
    let texts = (0..n).map(|i| format!("value number {i}"));
    vec![
        (
            "id",
            Arc::new(StringArray::from_iter_values(
                (0..n).map(|i| format!("d{i}")),
            )),
        ),
        (
            "year",
            Arc::new(Int64Array::from_iter_values((0..n).map(|i| 2000 + i))),
        ),
        ("text", Arc::new(StringArray::from_iter_values(texts))),
    ]
}

fn batch(columns: Vec<(&'static str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The rows of a batch in record batches of `rows` rows.
fn arrow_file(path: &Path, batch: &RecordBatch, rows: usize, with: Option<CompressionType>) {
    let options = IpcWriteOptions::default()
        .try_with_compression(with)
        .unwrap();
    let file = File::create(path).unwrap();
    let mut writer = FileWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
    for start in (0..batch.num_rows()).step_by(rows) {
        let length = rows.min(batch.num_rows() - start);
        writer.write(&batch.slice(start, length)).unwrap();
    }
    writer.finish().unwrap();
}

fn arrow_stream(path: &Path, batch: &RecordBatch, rows: usize) {
    let mut writer = StreamWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap();
    for start in (0..batch.num_rows()).step_by(rows) {
        let length = rows.min(batch.num_rows() - start);
        writer.write(&batch.slice(start, length)).unwrap();
    }
    writer.finish().unwrap();
}

/// Plain pages without statistics, so that a value lies in the file once and as it is.
fn plain(group: usize, dictionary: bool) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(dictionary)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .set_max_row_group_row_count(Some(group))
        .build()
}

/// Overwrites the only place of a file where `old` is.
fn patch(path: &Path, old: &[u8], new: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter_map(|(at, window)| (window == old).then_some(at))
        .collect();
    let [at] = places[..] else {
        panic!("{} places in {}", places.len(), path.display());
    };
    bytes[at..at + new.len()].copy_from_slice(new);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn names_stand_for_files_in_a_fixed_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in [
        "b.csv",
        "a.jsonl",
        "notes.txt",
        ".hidden.jsonl",
        "_SUCCESS.json",
        "deep/er/c.parquet",
        "deep/d.arrow",
        "_tmp/x.csv",
        "[odd].csv",
    ] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let all = |names: &[&str], format: Option<Format>| -> Result<Vec<String>, Error> {
        let names: Vec<String> = names
            .iter()
            .map(|name| match name.contains(':') {
                true => name.replace("ROOT", root.to_str().unwrap()),
                false => root.join(name).to_str().unwrap().to_string(),
            })
            .collect();
        let found = resolve(&names, format)?;
        Ok(found
            .iter()
            .map(|input| {
                let path = Path::new(input.location()).strip_prefix(root).unwrap();
                path.to_str().unwrap().to_string()
            })
            .collect())
    };
    let of = |names: &[&str]| all(names, None).unwrap();
    assert_eq!(
        of(&[""]),
        [
            "[odd].csv",
            "a.jsonl",
            "b.csv",
            "deep/d.arrow",
            "deep/er/c.parquet"
        ]
    );
    assert_eq!(
        of(&["b.csv", "a.jsonl"]),
        ["b.csv", "a.jsonl"],
        "in the order of the names"
    );
    assert_eq!(
        of(&["b.csv", ""])[..2],
        ["b.csv", "[odd].csv"],
        "once, where it is named first"
    );
    assert_eq!(of(&["*.{csv,jsonl}"]), ["[odd].csv", "a.jsonl", "b.csv"]);
    assert_eq!(of(&["**/*.parquet"]), ["deep/er/c.parquet"]);
    assert_eq!(
        of(&["deep/*"]),
        ["deep/d.arrow"],
        "a star stays within a folder"
    );
    assert_eq!(of(&["?.csv"]), ["b.csv"]);
    assert_eq!(
        of(&["[odd].csv"]),
        ["[odd].csv"],
        "a file may be called like a pattern"
    );
    assert_eq!(of(&["file://ROOT/deep/*.arrow"]), ["deep/d.arrow"]);
    // With the format named, every file is of it.
    assert!(
        all(&[""], Some(Format::Jsonl))
            .unwrap()
            .contains(&"notes.txt".to_string())
    );
    for name in ["missing.csv", "*.missing", "deep/er/*.csv"] {
        let error = all(&[name], None).unwrap_err();
        assert_eq!(
            error.problem().unwrap().code,
            Code::InvalidFile,
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    assert!(all(&["empty"], None).is_err());
    // A file is another one once it has changed.
    let before = Input::file(&root.join("a.jsonl")).unwrap();
    assert_eq!(before.again().unwrap(), before);
    std::fs::write(root.join("a.jsonl"), "xy").unwrap();
    assert_ne!(before.again().unwrap(), before);
}

#[test]
fn reading_goes_on_from_any_row() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let all = batch(columns(25));
    files::parquet(&at("a.parquet"), columns(25), Compression::SNAPPY, 10);
    arrow_file(&at("a.arrow"), &all, 10, None);
    arrow_file(&at("lz4.arrow"), &all, 10, Some(CompressionType::LZ4_FRAME));
    arrow_file(&at("zstd.feather"), &all, 7, Some(CompressionType::ZSTD));
    arrow_stream(&at("a.arrows"), &all, 10);
    let objects: Vec<Json> = rows(&at("a.parquet"))
        .into_iter()
        .map(|r| r.json.unwrap())
        .collect();
    assert_eq!(
        objects[24],
        json!({"id": "d24", "year": 2024, "text": "value number 24"})
    );
    files::jsonl(&at("a.jsonl"), &objects);
    let lines: String = objects.iter().map(|row| format!("{row}\n\n")).collect();
    files::bytes(&at("b.jsonl.gz"), files::gzip(lines));
    files::bytes(
        &at("a.json"),
        serde_json::to_string_pretty(&objects).unwrap(),
    );
    for name in [
        "a.parquet",
        "a.arrow",
        "lz4.arrow",
        "zstd.feather",
        "a.arrows",
        "a.jsonl",
        "b.jsonl.gz",
        "a.json",
    ] {
        let whole = rows(&at(name));
        let json: Vec<&Json> = whole.iter().map(|row| row.json.as_ref().unwrap()).collect();
        assert!(json.into_iter().eq(&objects), "{name}");
        for (i, row) in whole.iter().enumerate() {
            assert_eq!(row.number, i as u64 + 1, "{name}");
            let options = SourceOptions::default();
            for (from, left) in [(row.position, &whole[i..]), (row.next(), &whole[i + 1..])] {
                let again = rows_at(&at(name), &options, from);
                assert!(
                    again.iter().map(told).eq(left.iter().map(told)),
                    "{name} {from:?}"
                );
            }
        }
        let groups = whole.last().unwrap().position.row_group;
        assert_eq!(
            groups > 0,
            Format::of(&at(name)).unwrap().has_groups(),
            "{name}"
        );
    }
}

#[test]
fn a_damaged_row_group_costs_its_own_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    for dictionary in [false, true] {
        files::parquet_with(&path, columns(40), plain(10, dictionary));
        // Both the length of a value and what it says are nonsense then.
        let bytes = std::fs::read(&path).unwrap();
        let value = b"value number 13";
        let found = bytes
            .windows(value.len())
            .position(|window| window == value)
            .unwrap();
        let mut broken = bytes.clone();
        broken[found - 4..found].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
        std::fs::write(&path, broken).unwrap();
        let all = rows(&path);
        let lost: Vec<&Row> = all.iter().filter(|row| row.json.is_err()).collect();
        let [lost] = lost[..] else {
            panic!("{lost:?}");
        };
        assert_eq!(lost.position.row_group, 1);
        let problem = lost.json.as_ref().unwrap_err();
        assert_eq!(problem.code, Code::InvalidFile, "{problem}");
        assert!(problem.message.contains("row group 1"), "{problem}");
        // Before a page of values that are in a row, they can be read.
        assert_eq!(lost.number + lost.rows, 21, "{lost:?}");
        assert!(dictionary || lost.number == 14, "{lost:?}");
        let numbers: Vec<u64> = all.iter().map(|row| row.number).collect();
        let expected: Vec<u64> = (1..=lost.number).chain(21..=40).collect();
        assert_eq!(numbers, expected);
        // Behind it reading goes on, and it is not told of twice.
        let behind = rows_at(&path, &SourceOptions::default(), lost.next());
        assert_eq!(behind[0].number, 21);
        assert!(behind.iter().all(|row| row.json.is_ok()));
    }
}

#[test]
fn a_string_that_is_not_utf8_costs_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for dictionary in [false, true] {
        files::parquet_with(&at("a.parquet"), columns(40), plain(20, dictionary));
        patch(&at("a.parquet"), b"value number 13", b"value \xff\xfe");
        only_row_14_is_refused(&at("a.parquet"));
    }
    let all = batch(columns(40));
    arrow_file(&at("a.arrow"), &all, 20, None);
    patch(&at("a.arrow"), b"value number 13", b"value \xff\xfe");
    only_row_14_is_refused(&at("a.arrow"));
    arrow_stream(&at("a.arrows"), &all, 20);
    patch(&at("a.arrows"), b"value number 13", b"value \xff\xfe");
    only_row_14_is_refused(&at("a.arrows"));
}

fn only_row_14_is_refused(path: &Path) {
    let all = rows(path);
    assert_eq!(all.len(), 40, "{}", path.display());
    for row in &all {
        assert_eq!(
            row.json.is_err(),
            row.number == 14,
            "{}: {row:?}",
            path.display()
        );
    }
    let problem = all[13].json.as_ref().unwrap_err();
    assert_eq!(problem.field.as_deref(), Some("text"), "{problem}");
    assert!(
        problem.found.as_deref().unwrap().contains("not UTF-8"),
        "{problem}"
    );
}

#[test]
fn arrow_files_are_read_up_to_their_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.arrow");
    arrow_file(&path, &batch(columns(40)), 10, None);
    let whole = std::fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let input = Input::file(&path).unwrap();
        Source::open_at(&input, &SourceOptions::default(), Position::default())
    };
    // Without its footer, which a writer that was killed does not write.
    for cut in [whole.len() - 5, whole.len() - 200, whole.len() * 2 / 3] {
        let all: Vec<Result<Row, Error>> = open(&whole[..cut]).unwrap().collect();
        let (last, rows) = all.split_last().unwrap();
        let problem = last.as_ref().unwrap_err().problem().unwrap().clone();
        assert_eq!(problem.code, Code::InvalidFile);
        assert!(
            rows.len() >= 10 && rows.len() % 10 == 0,
            "{cut}: {} rows",
            rows.len()
        );
        assert!(rows.iter().all(|row| row.as_ref().unwrap().json.is_ok()));
    }
    // Whatever is broken, nothing panics, and no row comes twice.
    for at in (0..whole.len()).step_by(7) {
        let mut broken = whole.clone();
        broken[at] ^= 0x5a;
        let Ok(source) = open(&broken) else { continue };
        let numbers: Vec<u64> = source.map_while(Result::ok).map(|row| row.number).collect();
        assert!(numbers.is_sorted(), "{at}: {numbers:?}");
    }
    // A batch that is larger than what is allowed is left out.
    std::fs::write(&path, &whole).unwrap();
    let options = SourceOptions {
        max_batch_bytes: 300,
        ..SourceOptions::default()
    };
    let all = rows_at(&path, &options, Position::default());
    assert_eq!(all.iter().map(|row| row.rows).sum::<u64>(), 40);
    assert!(all.iter().all(|row| row.json.is_err()));
}

#[test]
fn files_of_real_writers_are_read_as_they_were_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/writers/fixtures");
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Json> = serde_json::from_str(&text).unwrap();
    assert_eq!(expected.len(), 5);
    for (name, documents) in &expected {
        let all = rows(&folder.join(name));
        assert_eq!(all.len(), documents.as_object().unwrap().len(), "{name}");
        for row in all {
            let json = row.json.unwrap();
            let expected = &documents[json["id"].as_str().unwrap()];
            for (column, value) in expected.as_object().unwrap() {
                assert_eq!(
                    json.get(column),
                    Some(value),
                    "{name}, row {}, {column}",
                    row.number
                );
            }
            let known = expected.as_object().unwrap();
            let more: Vec<_> = json.as_object().unwrap().keys().collect();
            assert_eq!(
                more.len(),
                known.len(),
                "{name}, row {}: {more:?}",
                row.number
            );
        }
    }
}

#[test]
fn row_groups_without_wanted_rows_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    files::parquet(&path, columns(40), Compression::UNCOMPRESSED, 10);
    let options = |filter: &str| SourceOptions {
        mapping: Mapping {
            filter: Some(filter.parse().unwrap()),
            ..Mapping::default()
        },
        ..SourceOptions::default()
    };
    let ids = |filter: &str| -> Vec<u64> {
        let all = rows_at(&path, &options(filter), Position::default());
        all.iter()
            .filter(|row| row.json.is_ok())
            .map(|row| row.number)
            .collect()
    };
    assert_eq!(ids("year >= 2018 AND year < 2022"), [19, 20, 21, 22]);
    assert_eq!(ids("id IN [d3, d33]"), [4, 34]);
    assert_eq!(ids("NOT year > 2000"), [1]);
    assert_eq!(ids("year > 3000"), [0_u64; 0]);
    // The row group that is left out by its statistics is not even decoded.
    let bytes = std::fs::read(&path).unwrap();
    let value = b"value number 13";
    let found = bytes
        .windows(value.len())
        .position(|window| window == value)
        .unwrap();
    let mut broken = bytes;
    broken[found - 4..found].copy_from_slice(&[0xff; 4]);
    std::fs::write(&path, broken).unwrap();
    let all = rows_at(&path, &options("year >= 2020"), Position::default());
    assert_eq!(all.len(), 20);
    assert!(all.iter().all(|row| row.json.is_ok()));
    let problem = Source::open(&path, &options("yaer >= 2020")).unwrap_err();
    assert!(problem.to_string().contains("is year meant?"), "{problem}");
}

#[test]
fn a_mapping_file_says_what_becomes_of_columns() {
    let dir = tempfile::tempdir().unwrap();
    let mapping = Mapping::from_toml(
        r#"
        drop = ["junk"]
        operation = "op"
        [columns]
        headline = "title"
        [fields.id]
        template = "{shop}/{number}"
        required = true
        [fields.year]
        column = "published.year"
        type = "integer"
        default = 0
        [fields.text]
        template = "{headline}. {body}"
        [fields.extra]
        column = "extra"
        type = "json"
        "#,
    )
    .unwrap();
    let options = SourceOptions {
        mapping,
        ..SourceOptions::default()
    };
    let row = |n: u64, op: Json, year: Json| {
        json!({"shop": "s", "number": n, "headline": format!("h{n}"), "body": "b", "junk": true,
               "published": {"year": year}, "op": op, "extra": "{\"a\": 1}"})
    };
    let objects = [
        row(1, json!("insert"), json!("2020")),
        row(2, json!("U"), json!("2021")),
        row(3, json!("d"), json!(null)),
        row(4, json!("merge"), json!("2021")),
        row(5, json!(null), json!("soon")),
    ];
    let jsonl = files::jsonl(&dir.path().join("a.jsonl"), &objects);
    let parquet = files::parquet_of(&dir.path().join("a.parquet"), &objects);
    for path in [&jsonl, &parquet] {
        let all = rows_at(path, &options, Position::default());
        let document = |n: u64, year: i64| {
            json!({"shop": "s", "number": n, "title": format!("h{n}"), "body": "b",
                   "id": format!("s/{n}"), "year": year, "text": format!("h{n}. b"),
                   "extra": {"a": 1}})
        };
        assert_eq!(all[0].json, Ok(document(1, 2020)), "{path:?}");
        assert_eq!(all[0].operation, Operation::Upsert);
        assert_eq!(all[1].operation, Operation::Update);
        assert_eq!(all[2].operation, Operation::Delete);
        assert_eq!(all[2].json, Ok(document(3, 0)), "the default");
        let problem = all[3].json.as_ref().unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("op"));
        let problem = all[4].json.as_ref().unwrap_err();
        assert_eq!(
            problem.field.as_deref(),
            Some("published.year"),
            "{problem}"
        );
    }
    // A column that is not there is told with the one that may be meant.
    let other = files::parquet_of(&dir.path().join("b.parquet"), &[json!({"shops": "s"})]);
    let problem = Source::open(&other, &options).unwrap_err();
    assert!(problem.to_string().contains("headline"), "{problem}");
    for (text, words) in [
        ("colums = {}", "line 1"),
        ("[fields.a]\ntemplate = \"{x\"", "template"),
        ("[fields.a]", "no source"),
        (
            "[fields.a]\ncolumn = \"x\"\ntemplate = \"{y}\"",
            "two sources",
        ),
        (
            "[columns]\nx = \"a\"\n[fields.a]\ncolumn = \"y\"",
            "one column",
        ),
        ("where = \"a >\"", "where"),
    ] {
        let problem = Mapping::from_toml(text).unwrap_err();
        assert!(problem.to_string().contains(words), "{text}: {problem}");
    }
}

const TYPED: &str = r#"
name = "shop"
id_field = "sku"
[fields.title]
type = "text"
required = true
[fields.stars]
type = "integer"
"#;

fn shop() -> Place {
    let place = Place::new();
    place.write("shop.toml", TYPED);
    place.ok(&["index", "create", "shop.toml"]);
    place
}

fn rejects(place: &Place) -> Vec<Reject> {
    let text = std::fs::read_to_string(place.path("shop-rejects.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_folder_loads_but_for_what_is_damaged() {
    let place = shop();
    let part = |n: i64| -> PathBuf {
        std::fs::create_dir_all(place.path("parts")).unwrap();
        place.path(&format!("parts/part-{n}.parquet"))
    };
    let columns = |n: i64, title: &'static str| -> Vec<(&'static str, ArrayRef)> {
        let skus = (0..30).map(|i| format!("{n}-{i}"));
        let titles = (0..30).map(|i| format!("title {n} {i}"));
        vec![
            ("sku", Arc::new(StringArray::from_iter_values(skus))),
            (title, Arc::new(StringArray::from_iter_values(titles))),
            ("stars", Arc::new(Int64Array::from_iter_values(0..30))),
        ]
    };
    for n in 0..7 {
        let title = if n == 2 { "titel" } else { "title" };
        files::parquet_with(&part(n), columns(n, title), plain(10, false));
    }
    // 0 is whole. 1: a string that is not UTF-8. 2: a column is called otherwise. 3: a damaged row
    // group. 4: cut short. 5: another type. 6 is whole again.
    patch(&part(1), b"title 1 12", b"title \xff");
    let bytes = std::fs::read(part(3)).unwrap();
    let value = b"title 3 15";
    let at = bytes
        .windows(value.len())
        .position(|window| window == value)
        .unwrap();
    let mut broken = bytes;
    broken[at - 4..at].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    std::fs::write(part(3), broken).unwrap();
    let bytes = std::fs::read(part(4)).unwrap();
    std::fs::write(part(4), &bytes[..bytes.len() / 2]).unwrap();
    let mut wrong = columns(5, "title");
    wrong[2].1 = Arc::new(StringArray::from_iter_values((0..30).map(|i| {
        if i == 3 {
            "many".to_string()
        } else {
            i.to_string()
        }
    })));
    files::parquet_with(&part(5), wrong, plain(10, false));
    place.write(
        "shop.mapping.toml",
        "[fields.stars]\ncolumn = \"stars\"\ntype = \"integer\"\n\
                                      [fields.title]\ncolumn = \"title\"\n",
    );
    let loaded = place.json(&["ingest", "shop", "parts", "--mapping", "shop.mapping.toml"]);
    assert_eq!(loaded["loaded"], 30 + 29 + 25 + 29 + 30, "{loaded}");
    let rejects = rejects(&place);
    let found: Vec<_> = rejects
        .iter()
        .map(|reject| {
            let file = Path::new(&reject.file)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap();
            let field = reject.field.as_deref().unwrap_or("");
            (
                file,
                reject.row_group,
                reject.row,
                reject.rows.unwrap_or(1),
                field,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("part-1.parquet", Some(1), Some(13), 1, "title"),
            ("part-2.parquet", None, None, 1, "title"),
            ("part-3.parquet", Some(1), Some(16), 5, ""),
            ("part-4.parquet", None, None, 1, ""),
            ("part-5.parquet", Some(0), Some(4), 1, "stars"),
        ],
        "{rejects:?}"
    );
    assert!(
        rejects[1].expected.as_deref().unwrap().contains("titel"),
        "{:?}",
        rejects[1]
    );
    assert_eq!(rejects[4].found.as_deref(), Some("\"many\""));
    place.look("shop", |index| {
        assert_eq!(index.stats().documents, 143);
        assert!(index.get("6-29").is_ok() && index.get("3-20").is_ok());
    });
    // The same as columns.
    place.ok(&[
        "ingest",
        "shop",
        "parts",
        "--mapping",
        "shop.mapping.toml",
        "--rejects",
        "r.parquet",
    ]);
    let columns = rows(&place.path("r.parquet"));
    assert_eq!(columns.len(), 5);
    assert_eq!(columns[0].json.as_ref().unwrap()["row"], 13);
    // If nothing can be read, something is wrong with what was asked.
    place.refused(
        Code::InvalidFile,
        &["ingest", "shop", "parts/part-4.parquet"],
    );
}

#[test]
fn a_column_says_what_is_to_be_done() {
    let place = shop();
    let row = |op: &str, sku: &str, more: Json| {
        let mut row = json!({"op": op, "sku": sku});
        for (name, value) in more.as_object().unwrap() {
            row[name] = value.clone();
        }
        row
    };
    let log = [
        row("insert", "a", json!({"title": "first", "stars": 1})),
        row("c", "b", json!({"title": "second", "stars": 2})),
        // In the order of the rows, also of one id.
        row("update", "a", json!({"stars": 5})),
        row("u", "a", json!({"title": "first, again"})),
        row("delete", "b", json!({})),
        row("update", "b", json!({"stars": 3})),
        row("update", "never", json!({"stars": 3})),
        row("insert", "c", json!({"title": "third"})),
        row("d", "c", json!({})),
        row("insert", "c", json!({"title": "third, again"})),
        row("upsert", "d", json!({"title": "fourth"})),
        row("delete", "never", json!({})),
        row("update", "d", json!({"stars": "many"})),
        row("rename", "d", json!({})),
    ];
    files::jsonl(&place.path("log.jsonl"), &log);
    for again in [false, true] {
        let loaded = place.json(&["ingest", "shop", "log.jsonl", "--operation-column", "op"]);
        assert_eq!(loaded["rejected"], 4, "{again}: {loaded}");
        let codes: Vec<(u64, Code)> = rejects(&place)
            .into_iter()
            .map(|reject| (reject.row.unwrap(), reject.code))
            .collect();
        let expected = [
            (6, Code::DocumentNotFound),
            (7, Code::DocumentNotFound),
            (13, Code::InvalidDocument),
            (14, Code::InvalidDocument),
        ];
        assert_eq!(codes, expected, "{again}");
        place.look("shop", |index| {
            let get = |id: &str| index.get(id).map(Json::Object).ok();
            let first = json!({"sku": "a", "title": "first, again", "stars": 5});
            assert_eq!(get("a"), Some(first), "{again}");
            assert_eq!(get("b"), None);
            assert_eq!(get("c"), Some(json!({"sku": "c", "title": "third, again"})));
            assert_eq!(get("d"), Some(json!({"sku": "d", "title": "fourth"})));
            assert_eq!(index.stats().documents, 3);
        });
    }
}

#[test]
fn a_dry_run_proposes_and_shows() {
    let place = shop();
    place.write(
        "items.csv",
        "item_id,Title,rating\ni1,A lamp,4\ni2,A chair,many\n",
    );
    let proposal = place.json(&["ingest", "shop", "items.csv", "--dry-run"]);
    assert_eq!(
        proposal["mapping"]["columns"],
        json!({"item_id": "sku", "Title": "title"})
    );
    assert_eq!(proposal["mapping"]["drop"], json!(["rating"]));
    assert_eq!(
        proposal["preview"][0]["document"],
        json!({"sku": "i1", "title": "A lamp"})
    );
    place.look("shop", |index| assert_eq!(index.stats().documents, 0));
    // A mapping that is given is shown at work, with what it rejects.
    place.write(
        "m.toml",
        "[columns]\nitem_id = \"sku\"\nTitle = \"title\"\nrating = \"stars\"\n",
    );
    let proposal = place.json(&[
        "ingest",
        "shop",
        "items.csv",
        "--dry-run",
        "--mapping",
        "m.toml",
    ]);
    assert_eq!(proposal["preview"][0]["document"]["stars"], 4);
    assert_eq!(
        proposal["preview"][1]["problem"]["field"], "stars",
        "{proposal}"
    );
    // Where values have types, a string is no number: the load says so, and so does this.
    let typed = r#"{"item_id": "i1", "Title": "A lamp", "rating": "4"}"#;
    place.write("typed.jsonl", typed);
    let flags = ["--dry-run", "--mapping", "m.toml"];
    let proposal = place.json(&[&["ingest", "shop", "typed.jsonl"], &flags[..]].concat());
    assert_eq!(proposal["preview"][0]["problem"]["field"], "stars");
    let said = place.ok(&["ingest", "shop", "items.csv", "--dry-run"]).out;
    assert!(
        said.contains("item_id  -> sku") && said.contains("row 2: {"),
        "{said}"
    );
    // What it says can be loaded.
    let kept = said
        .split_once("--mapping.\n")
        .unwrap()
        .1
        .split_once("row 1")
        .unwrap()
        .0;
    place.write("kept.toml", kept);
    place.ok(&["ingest", "shop", "items.csv", "--mapping", "kept.toml"]);
    place.look("shop", |index| assert_eq!(index.stats().documents, 2));
}
