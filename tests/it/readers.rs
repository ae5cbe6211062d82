//! Promise: a file of any format becomes rows in bounded memory; a bad row is rejected
//! with its reason and the others load; nothing in a file makes a reader panic.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use gleaner::error::{Code, Error, Problem};
use gleaner::ingest::{Format, Mapping, Reject, Row, Source, SourceOptions};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::support::files;

fn open(path: &Path) -> Result<Source, Error> {
    Source::open(path, &SourceOptions::default())
}

fn rows(path: &Path) -> Vec<Row> {
    open(path).unwrap().map(Result::unwrap).collect()
}

fn objects(path: &Path) -> Vec<Json> {
    rows(path)
        .into_iter()
        .map(|row| row.json.unwrap())
        .collect()
}

/// The problem of a result that must be the caller's mistake with the file.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &[&str]) -> Problem {
    let problem = match result {
        Err(Error::User(problem)) => *problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem.code, Code::InvalidFile, "{problem}");
    for word in words {
        assert!(
            problem.to_string().contains(word),
            "{problem} lacks {word:?}"
        );
    }
    problem
}

fn people() -> Vec<Json> {
    (0..3000)
        .map(|i| json!({"id": format!("p{i}"), "age": i, "note": "naïve \"quoted\"\n"}))
        .collect()
}

#[test]
fn every_format_gives_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let people = people();
    let lines: String = people.iter().map(|row| format!("{row}\n")).collect();
    let pretty = serde_json::to_string_pretty(&people).unwrap();
    let spread: String = people.iter().map(|row| format!("{row:#}")).collect();
    for (name, bytes) in [
        ("a.jsonl", lines.clone().into_bytes()),
        ("a.ndjson", lines.replace('\n', "\r\n\n").into_bytes()),
        ("bom.jsonl", format!("\u{feff}{lines}").into_bytes()),
        ("lines.json", lines.clone().into_bytes()),
        ("array.json", pretty.clone().into_bytes()),
        ("spread.json", spread.into_bytes()),
        ("a.jsonl.gz", files::gzip(&lines)),
        ("a.json.zst", files::zstd(&pretty)),
        // The name does not say that it is compressed; the bytes do.
        ("b.jsonl", files::gzip(&lines)),
    ] {
        let path = files::bytes(&at(name), bytes);
        assert!(objects(&path) == people, "{name}");
    }
    let path = files::parquet_of(&at("a.parquet"), &people);
    assert!(objects(&path) == people);
    assert_eq!(open(&path).unwrap().rows_hint(), Some(3000));

    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["id", "age", "note"]).unwrap();
    for row in &people {
        let cell = |name: &str| row[name].as_str().unwrap().to_string();
        csv.write_record([cell("id"), row["age"].to_string(), cell("note")])
            .unwrap();
    }
    let csv = csv.into_inner().unwrap();
    let strings: Vec<Json> = people
        .iter()
        .map(|row| json!({"id": row["id"], "age": row["age"].to_string(), "note": row["note"]}))
        .collect();
    assert!(objects(&files::bytes(&at("a.csv"), &csv)) == strings);
    assert!(objects(&files::bytes(&at("a.csv.gz"), files::gzip(&csv))) == strings);
    assert!(!Format::Csv.is_typed() && Format::Jsonl.is_typed());

    // A name that tells nothing needs the format.
    let path = files::bytes(&at("rows.txt"), &lines);
    refused(open(&path), &["rows.txt", "format", ".ndjson"]);
    let options = SourceOptions {
        format: Some(Format::Jsonl),
        ..Default::default()
    };
    assert_eq!(Source::open(&path, &options).unwrap().count(), 3000);
}

#[test]
fn progress_of_a_file_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let people = people();
    for path in [
        files::jsonl(&dir.path().join("a.jsonl"), &people),
        files::parquet_of(&dir.path().join("a.parquet"), &people),
    ] {
        let mut source = open(&path).unwrap();
        assert_eq!(
            source.bytes_total(),
            std::fs::metadata(&path).unwrap().len()
        );
        let mut before = 0;
        while let Some(row) = source.next() {
            row.unwrap();
            assert!(source.bytes_read() >= before);
            before = source.bytes_read();
        }
        assert_eq!(before, source.bytes_total());
        assert!(source.next().is_none());
    }
}

#[test]
fn a_bad_line_is_rejected_and_the_rest_loads() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = b"{\"id\": 1}\n\n{\"id\": \n[1]\n{\"id\": \"\xff\"}\n{\"id\": \"".to_vec();
    text.extend([b'x'].repeat(200));
    text.extend(b"\"}\r\n{\"id\": 6}");
    let path = files::bytes(&dir.path().join("a.jsonl"), &text);
    let options = SourceOptions {
        max_row_bytes: 100,
        ..Default::default()
    };
    let rows: Vec<Row> = Source::open(&path, &options)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let places: Vec<_> = rows
        .iter()
        .map(|row| (row.number, row.line.unwrap()))
        .collect();
    assert_eq!(places, [(1, 1), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]);
    assert_eq!(rows[0].json, Ok(json!({"id": 1})));
    assert_eq!(rows[5].json, Ok(json!({"id": 6})));
    for (i, code, word) in [
        (1, Code::InvalidDocument, "not valid JSON"),
        (2, Code::InvalidDocument, "a list"),
        (3, Code::InvalidDocument, "UTF-8"),
        (4, Code::LimitExceeded, "at most 100 bytes"),
    ] {
        let problem = rows[i].json.as_ref().unwrap_err();
        assert_eq!(problem.code, code);
        assert!(problem.to_string().contains(word), "{problem}");
    }
    assert_eq!(rows[1].original.text(), "{\"id\": ");
    assert_eq!(rows[3].original.text(), "{\"id\": \"\u{fffd}\"}");
    assert!(!rows[4].original.is_whole());
    let reject = Reject::new(
        &path,
        5,
        Some(6),
        rows[4].json.as_ref().unwrap_err(),
        &rows[4].original,
    );
    assert!(reject.original_cut && reject.original.starts_with("{\"id\": \"xxx"));
}

#[test]
fn arrays_and_spread_objects() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| files::bytes(&dir.path().join("a.json"), text);
    let rows = rows(&write(
        "[\n{\"id\": 1},\n{\"id\": },\n 7, {\n\"id\": 4}\n]\n",
    ));
    let lines: Vec<_> = rows.iter().map(|row| row.line.unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 4]);
    let good: Vec<bool> = rows.iter().map(|row| row.json.is_ok()).collect();
    assert_eq!(good, [true, false, false, true]);
    assert_eq!(objects(&write("{\"id\": 1}")), [json!({"id": 1})]);
    assert_eq!(objects(&write("[]")), Vec::<Json>::new());
    assert_eq!(objects(&write("")), Vec::<Json>::new());

    for text in ["[{\"id\": 1}", "[{\"id\": 1}, {\"id\"", "[{\"id\": 1}] x"] {
        let path = write(text);
        let mut source = open(&path).unwrap();
        assert!(source.next().unwrap().is_ok());
        refused(source.next().unwrap(), &["a.json", "line 1"]);
        assert!(source.next().is_none(), "an error is the last item");
    }
}

#[test]
fn delimited_rows() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| files::bytes(&dir.path().join(name), text);
    for end in ["\n", "\r\n"] {
        let text = [
            "id,title,,year",
            "1,\"a, b\",x,",
            "2,short",
            "",
            "",
            "3,\"two",
            "lines\",,7",
            "4,,,8",
        ];
        let path = write("a.csv", text.join(end).as_bytes());
        let rows = rows(&path);
        let places: Vec<_> = rows
            .iter()
            .map(|row| (row.number, row.line.unwrap()))
            .collect();
        assert_eq!(places, [(1, 2), (2, 3), (3, 6), (4, 8)], "{end:?}");
        assert_eq!(
            rows[0].json,
            Ok(json!({"id": "1", "title": "a, b", "column_3": "x"}))
        );
        let problem = rows[1].json.as_ref().unwrap_err();
        assert_eq!(problem.found.as_deref(), Some("2"));
        assert_eq!(
            problem.expected.as_deref(),
            Some("4: id, title, column_3, year")
        );
        assert_eq!(rows[1].original.text(), "2,short");
        let lines = format!("two{end}lines");
        assert_eq!(
            rows[2].json,
            Ok(json!({"id": "3", "title": lines, "year": "7"}))
        );
        assert_eq!(rows[3].json, Ok(json!({"id": "4", "year": "8"})));
    }
    let tsv = write("a.tsv", b"id\ttitle\n1\ta, b\n2\t\xe9\n");
    let tsv = rows(&tsv);
    assert_eq!(tsv[0].json, Ok(json!({"id": "1", "title": "a, b"})));
    let problem = tsv[1].json.as_ref().unwrap_err();
    assert_eq!(problem.field.as_deref(), Some("title"));

    refused(open(&write("a.csv", b"")), &["no header"]);
    refused(
        open(&write("a.csv", b"a,b,a\n1,2,3\n")),
        &["same name", "field: a"],
    );
    refused(open(&write("a.csv", b"a,\xff\n1,2\n")), &["UTF-8"]);
    assert_eq!(open(&write("a.csv", b"a,b\n")).unwrap().count(), 0);
}

#[test]
fn an_open_quote_does_not_swallow_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = "id,title\n1,a\n2,\"open\n".to_string();
    for i in 3..40_000 {
        text.push_str(&format!("{i},row {i}\n"));
    }
    let path = files::bytes(&dir.path().join("a.csv"), &text);
    let options = SourceOptions {
        max_row_bytes: 10_000,
        ..Default::default()
    };
    let rows: Vec<Row> = Source::open(&path, &options)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows[1].json.as_ref().unwrap_err().code, Code::LimitExceeded);
    assert_eq!(rows[1].line, Some(3));
    assert_eq!(rows.iter().filter(|row| row.json.is_err()).count(), 1);
    // At most the parser's buffer more than the limit is lost.
    assert!(rows.len() > 30_000, "{}", rows.len());
    for row in &rows[2..] {
        let id: u64 = row.json.as_ref().unwrap()["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(row.line, Some(id + 1));
    }
}

#[test]
fn columns_are_renamed_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let objects = [json!({"id": "1", "headline": "x", "junk": "y"})];
    let mut mapping = Mapping::default();
    mapping.add("headline=title").unwrap();
    mapping.drop.push("junk".into());
    let options = SourceOptions {
        mapping,
        ..Default::default()
    };
    for path in [
        files::jsonl(&dir.path().join("a.jsonl"), &objects),
        files::parquet_of(&dir.path().join("a.parquet"), &objects),
        files::bytes(&dir.path().join("a.csv"), "id,headline,junk\n1,x,y\n"),
    ] {
        let rows: Vec<Row> = Source::open(&path, &options)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(
            rows[0].json,
            Ok(json!({"id": "1", "title": "x"})),
            "{path:?}"
        );
    }
    let path = files::bytes(&dir.path().join("b.csv"), "id,title\n1,x\n");
    refused(
        Source::open(&path, &options),
        &["b.csv", "headline", "id, title"],
    );
    let path = files::bytes(
        &dir.path().join("b.jsonl"),
        "{\"title\": 1, \"headline\": 2}\n{}\n",
    );
    let rows: Vec<Row> = Source::open(&path, &options)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        rows[0].json.as_ref().unwrap_err().field.as_deref(),
        Some("headline")
    );
    assert!(rows[1].json.is_ok());
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let write = |name: &str, bytes: &[u8]| files::bytes(&at(name), bytes);
    refused(
        open(&at("missing.jsonl")),
        &["missing.jsonl", "nothing there"],
    );
    refused(open(&at("missing")), &["nothing there"]);
    refused(open(&at("missing.parquet")), &["nothing there"]);
    std::fs::create_dir(at("folder.parquet")).unwrap();
    refused(open(&at("folder.parquet")), &["a directory"]);
    refused(open(&write("a.parquet", b"")), &["an empty file (0 bytes)"]);
    refused(
        open(&write("a.parquet", b"{\"id\": 1}\n")),
        &["begin with", "PAR1"],
    );
    refused(open(&write("a.parquet", b"PAR1PAR1")), &["8 bytes"]);
    refused(
        open(&write("a.parquet", b"PAR1\xff\xff\xff\x00PAR1")),
        &["footer of"],
    );
    refused(
        open(&write("a.parquet", b"PAREabcdefghPARE")),
        &["encrypted"],
    );
    refused(
        open(&write("a.jsonl.gz", b"{\"id\": 1}\n")),
        &["7b 22", "gzip"],
    );
    refused(
        open(&write("a.jsonl.gz", &files::zstd("{}"))),
        &["zstd", "gzip"],
    );
    refused(open(&write("a.jsonl", b"PAR1....")), &["Parquet"]);
    refused(open(&write("a.csv", b"\xff\xfea\x00")), &["UTF-16"]);

    let whole = std::fs::read(files::parquet_of(&at("b.parquet"), &people())).unwrap();
    refused(
        open(&write("c.parquet", &whole[..whole.len() / 2])),
        &["cut short"],
    );

    let lines: String = people().iter().map(|row| format!("{row}\n")).collect();
    for (name, bytes) in [
        ("d.jsonl.gz", files::gzip(&lines)),
        ("d.jsonl.zst", files::zstd(&lines)),
    ] {
        let path = write(name, &bytes[..bytes.len() - 9]);
        // Short streams are noticed on opening, long ones on the way.
        let error = match open(&path) {
            Err(error) => Err(error),
            Ok(source) => source.last().unwrap().map(|_| ()),
        };
        refused(error.map(|_| ()), &[name, "cut short"]);
    }
}

#[test]
fn parquet_types_become_json() {
    let dir = tempfile::tempdir().unwrap();
    let some = |array: ArrayRef| array;
    let list = |values: ArrayRef, lengths: [usize; 2]| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        Arc::new(ListArray::new(
            field,
            OffsetBuffer::from_lengths(lengths),
            values,
            None,
        ))
    };
    let vector = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some([Some(0.5), Some(-1.25)]), Some([Some(0.1), Some(3.0)])],
        2,
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(3);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let object = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x"), Some("y")])) as ArrayRef,
        ),
    ]);
    let decimals = |values: [i128; 2], precision, scale| {
        Decimal128Array::from(values.to_vec())
            .with_precision_and_scale(precision, scale)
            .unwrap()
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("utf8", Arc::new(StringArray::from(vec![Some("a"), None]))),
        (
            "large",
            Arc::new(LargeStringArray::from(vec![Some("é"), Some("")])),
        ),
        (
            "view",
            Arc::new(StringViewArray::from(vec![
                Some("a long string, past inlining"),
                None,
            ])),
        ),
        (
            "dict",
            Arc::new(
                vec![Some("red"), Some("blue")]
                    .into_iter()
                    .collect::<DictionaryArray<Int8Type>>(),
            ),
        ),
        ("i8", Arc::new(Int8Array::from(vec![-1, 1]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("i64", Arc::new(Int64Array::from(vec![i64::MIN, 0]))),
        ("f32", Arc::new(Float32Array::from(vec![9.99, -0.5]))),
        ("f64", Arc::new(Float64Array::from(vec![0.1, 1e300]))),
        ("bool", Arc::new(BooleanArray::from(vec![true, false]))),
        ("date32", Arc::new(Date32Array::from(vec![19_844, -1]))),
        (
            "date64",
            Arc::new(Date64Array::from(vec![19_844 * 86_400_000, 0])),
        ),
        (
            "second",
            Arc::new(TimestampSecondArray::from(vec![1_714_521_600, -1])),
        ),
        (
            "milli",
            Arc::new(
                TimestampMillisecondArray::from(vec![1_714_521_600_250, -1])
                    .with_timezone("+02:00"),
            ),
        ),
        (
            "micro",
            Arc::new(
                TimestampMicrosecondArray::from(vec![1_714_521_600_000_001, -1])
                    .with_timezone("UTC"),
            ),
        ),
        (
            "nano",
            Arc::new(TimestampNanosecondArray::from(vec![1, -1])),
        ),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![45_000_500_000, 0])),
        ),
        ("price", Arc::new(decimals([1234, -5], 10, 2))),
        ("whole", Arc::new(decimals([1200, 0], 10, 2))),
        (
            "huge",
            Arc::new(decimals(
                [12_345_678_901_234_567_890_123, 15_000_000_000],
                38,
                10,
            )),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![b"text".as_slice(), b""])),
        ),
        (
            "list",
            list(
                Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
                [3, 0],
            ),
        ),
        (
            "words",
            list(Arc::new(StringArray::from(vec!["x", "y", "z"])), [1, 2]),
        ),
        ("vector", some(Arc::new(vector))),
        ("map", Arc::new(map.finish())),
        ("struct", Arc::new(object)),
        ("null", Arc::new(NullArray::new(2))),
    ];
    for (i, compression) in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{i}.parquet"));
        files::parquet(&path, columns.clone(), compression, 1);
        let objects = objects(&path);
        assert_eq!(
            objects[0],
            json!({
                "utf8": "a", "large": "é", "view": "a long string, past inlining", "dict": "red",
                "i8": -1, "u64": u64::MAX, "i64": i64::MIN, "f32": 9.99, "f64": 0.1, "bool": true,
                "date32": "2024-05-01", "date64": "2024-05-01",
                "second": "2024-05-01T00:00:00Z", "milli": "2024-05-01T00:00:00.250Z",
                "micro": "2024-05-01T00:00:00.000001Z", "nano": "1970-01-01T00:00:00.000000001Z",
                "time": "12:30:00.500", "price": 12.34, "whole": 12,
                "huge": "1234567890123.4567890123", "bytes": "text", "list": [1, null, 3],
                "words": ["x"], "vector": [0.5, -1.25], "map": {"k": 3},
                "struct": {"a": 1, "b": "x"},
            })
        );
        assert_eq!(
            objects[1],
            json!({
                "large": "", "dict": "blue", "i8": 1, "u64": 0, "i64": 0, "f32": -0.5,
                "f64": 1e300, "bool": false, "date32": "1969-12-31", "date64": "1970-01-01",
                "second": "1969-12-31T23:59:59Z", "milli": "1969-12-31T23:59:59.999Z",
                "micro": "1969-12-31T23:59:59.999999Z", "nano": "1969-12-31T23:59:59.999999999Z",
                "time": "00:00:00", "price": -0.05, "whole": 0, "huge": 1.5, "bytes": "",
                "list": [], "words": ["y", "z"], "vector": [f64::from(0.1f32), 3.0],
                "struct": {"b": "y"},
            })
        );
    }
}

#[test]
fn parquet_uuids_are_written_with_hyphens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let schema = "message m { required fixed_len_byte_array(16) id (UUID); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(&path).unwrap();
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let id: Vec<u8> = (0xf0..=0xff).collect();
    column
        .typed::<parquet::data_type::FixedLenByteArrayType>()
        .write_batch(&[id.into()], None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let id = "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff";
    assert_eq!(objects(&path), [json!({"id": id})]);
}

#[test]
fn a_parquet_column_left_out_is_not_even_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2]))),
        (
            "score",
            Arc::new(Float64Array::from(vec![f64::NAN, f64::NAN])),
        ),
    ];
    files::parquet(&path, columns, Compression::SNAPPY, 9);
    let mut options = SourceOptions::default();
    options.mapping.drop.push("score".into());
    let rows: Vec<Row> = Source::open(&path, &options)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows[1].json, Ok(json!({"id": 2})));
    assert_eq!(rows[1].original.text(), "{\"id\":2}");
}

#[test]
fn parquet_values_without_json_reject_their_row() {
    let dir = tempfile::tempdir().unwrap();
    let floats = |values: [f64; 3]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    let id = || -> ArrayRef { Arc::new(Int32Array::from(vec![1, 2, 3])) };
    let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(1.0)]),
        Some(vec![Some(f32::INFINITY)]),
        None,
    ]);
    let cases: Vec<(&str, ArrayRef, &str)> = vec![
        ("score", floats([1.0, f64::NAN, 2.0]), "NaN"),
        ("vector", Arc::new(vectors), "inf"),
        (
            "blob",
            Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"\xff", b"b"])),
            "offset 0",
        ),
        (
            "when",
            Arc::new(TimestampSecondArray::from(vec![0, i64::MAX, 0])),
            "since 1970",
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![0, i32::MAX, 0])),
            "day 2147483647",
        ),
    ];
    for (name, column, found) in cases {
        let path = dir.path().join("a.parquet");
        files::parquet(
            &path,
            vec![("id", id()), (name, column)],
            Compression::SNAPPY,
            9,
        );
        let rows = rows(&path);
        assert_eq!(rows.len(), 3);
        assert!(rows[0].json.is_ok() && rows[2].json.is_ok(), "{name}");
        let problem = rows[1].json.as_ref().unwrap_err();
        assert_eq!(problem.field.as_deref(), Some(name));
        assert!(
            problem.found.as_deref().unwrap().contains(found),
            "{problem}"
        );
        let original: Json = serde_json::from_str(&rows[1].original.text()).unwrap();
        assert_eq!(original["id"], 2);
        assert!(original[name].is_string());
    }
}

/// Reads a file to its end whatever it holds; rows and errors are both fine.
fn survives(path: &Path, format: Format) {
    let options = SourceOptions {
        format: Some(format),
        max_row_bytes: 300,
        ..Default::default()
    };
    let Ok(source) = Source::open(path, &options) else {
        return;
    };
    for row in source.take(20_000) {
        match row {
            Ok(row) => drop(row.original.text()),
            Err(error) => assert!(error.problem().is_some(), "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_survived(
        text in "[\\[\\]{}\",:a1\\\\ \n\r\t\u{e9}\u{feff}]{0,400}",
        junk in proptest::collection::vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, junk);
        let path = files::bytes(&dir.path().join("file"), &bytes);
        for format in Format::ALL {
            survives(&path, format);
        }
        for mut packed in [files::gzip(&bytes), files::zstd(&bytes)] {
            let cut = at.min(packed.len() - 1);
            packed[cut] ^= 0x55;
            survives(&files::bytes(&path, &packed), Format::Jsonl);
            packed.truncate(cut);
            survives(&files::bytes(&path, &packed), Format::Json);
        }
    }

    #[test]
    fn damaged_parquet_is_survived(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        codec in 0usize..4,
        in_footer in any::<bool>(),
        second in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            (0..50).map(|i| Some([Some(i as f32), None])), 2);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new((0..50).map(|i| (i % 7 > 0).then(|| format!("row {i}"))).collect::<StringArray>())),
            ("dict", Arc::new((0..50).map(|i| Some(["a", "b"][i % 2])).collect::<DictionaryArray<Int8Type>>())),
            ("number", Arc::new(Int64Array::from_iter_values(0..50))),
            ("vector", Arc::new(vectors)),
        ];
        let codec = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
        ][codec];
        // The second version writes values as differences, which nothing else here does.
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_row_count(Some(20))
            .set_dictionary_enabled(!second)
            .set_writer_version(match second {
                true => WriterVersion::PARQUET_2_0,
                false => WriterVersion::PARQUET_1_0,
            })
            .build();
        files::parquet_with(&path, columns, properties);
        let mut bytes = std::fs::read(&path).unwrap();
        let size = bytes.len();
        let footer = u32::from_le_bytes(bytes[size - 8..size - 4].try_into().unwrap()) as usize;
        let start = if in_footer { size - 8 - footer } else { 4 };
        for (index, byte) in damage {
            let at = start + index.index(size - 8 - start);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.drain(4..4 + cut.index(size - 8));
        }
        survives(&files::bytes(&path, &bytes), Format::Parquet);
    }
}
