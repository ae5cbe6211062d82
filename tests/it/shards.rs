//! Promise: a unit makes its shard once, whole or not at all, whatever it is given; loading the
//! shards of a source in their order gives the index that loading the source gives, without
//! encoding anything.
//!
//! By the program, as a cluster runs it; over files and over an S3 server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use gleaner::error::Code;
use gleaner::index::Index;
use gleaner::ingest::manifest;
use serde_json::{Value, json};

use crate::support::binary::{Place, Said};
use crate::support::s3::S3;
use crate::support::tiny_model::TinyModel;

const DEFINITION: &str = r#"
name = "papers"
[fields.title]
type = "text"
[fields.year]
type = "integer"
[fields.tags]
type = "keyword"
many = true
[embedding]
model = "tiny"
fields = ["title"]
passages = { max_tokens = 18, overlap = 3 }
"#;

const ROWS: usize = 53;

/// A source with rows that are none, and an id that comes again in another unit.
fn rows() -> Vec<String> {
    let mut rows: Vec<String> = (0..ROWS)
        .map(|i| {
            let words = "alpha beta gamma delta epsilon ".repeat(1 + i % 5);
            json!({"id": format!("p{i}"), "title": format!("{words}{i}"), "year": 1950 + i,
                   "tags": ["x", format!("t{}", i % 3)]})
            .to_string()
        })
        .collect();
    rows[7] = "{\"id\": \"broken\", ".into();
    rows[23] = json!({"id": "wrong", "title": "a", "year": "soon"}).to_string();
    rows[41] = json!({"id": "p3", "title": "written once more", "year": 2001}).to_string();
    // No text, so no vectors; and members in another order.
    rows[44] = json!({"year": 1999, "id": "p44"}).to_string();
    rows
}

struct Work {
    place: Place,
}

impl Work {
    fn new() -> Work {
        let place = Place::with_model("tiny");
        place.write("papers.toml", DEFINITION);
        place.write("papers.jsonl", rows().join("\n") + "\n");
        Work { place }
    }

    fn plan(&self) {
        let planned = self.place.json(&[
            "manifest",
            "papers.jsonl",
            "--definition",
            "papers.toml",
            "--out",
            "out",
            "--rows-per-unit",
            "10",
        ]);
        assert_eq!(
            (&planned["units"], &planned["rows"]),
            (&json!(6), &json!(ROWS))
        );
    }

    fn encode(&self) -> Value {
        self.place.json(&ENCODE)
    }

    /// The shards, in their order.
    fn shards(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place.path("out")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut shards: Vec<String> = names
            .filter(|name| name.ends_with(".parquet"))
            .map(|name| format!("out/{name}"))
            .collect();
        shards.sort();
        shards
    }

    fn create(&self, name: &str) {
        self.place
            .ok(&["index", "create", "papers.toml", "--name", name]);
    }

    fn load(&self, index: &str, files: &[String]) -> Value {
        let mut args = vec!["ingest", index];
        args.extend(files.iter().map(String::as_str));
        self.place.json(&args)
    }
}

const ENCODE: [&str; 6] = [
    "encode",
    "--manifest",
    "out/manifest.jsonl",
    "--workers",
    "2",
    "--quiet",
];

/// A document: its id, what it is, and its vectors' bits with their passages.
type Kept = (String, String, Option<(Vec<u32>, String)>);

/// Everything that an index stores, in the order in which it was written.
fn stored(index: &Index) -> Vec<Kept> {
    let ordinals: Vec<u32> = index.view().live.iter().collect();
    let all = index.stored(&ordinals, true).unwrap().into_iter();
    all.map(|one| {
        let vectors = one.vectors.map(|vectors| {
            let bits = vectors.vectors.iter().map(|x| x.to_bits()).collect();
            (bits, format!("{:?}", vectors.spans))
        });
        (one.id, String::from_utf8(one.source).unwrap(), vectors)
    })
    .collect()
}

#[test]
fn loading_shards_gives_what_loading_the_source_gives_without_encoding() {
    let work = Work::new();
    work.create("direct");
    let direct = work.load("direct", &["papers.jsonl".into()]);
    assert_eq!(direct["rejected"], 2);

    work.plan();
    let run = work.encode();
    assert_eq!(
        [
            &run["encoded"],
            &run["skipped"],
            &run["rejected"],
            &run["rows"]
        ],
        [&json!(6), &json!(0), &json!(2), &json!(ROWS)],
        "{run}"
    );
    assert!(run["tokens"].as_u64().unwrap() > 0);
    assert_eq!(run["tokens"], direct["tokens"]);
    // A reject is beside its shard, with the source's own numbers.
    let rejects =
        std::fs::read_to_string(work.place.path("out/part-000002.rejects.jsonl")).unwrap();
    let reject: Value = serde_json::from_str(rejects.trim()).unwrap();
    assert_eq!(
        (&reject["row"], &reject["field"]),
        (&json!(24), &json!("year")),
        "{reject}"
    );
    assert!(
        reject["file"].as_str().unwrap().ends_with("papers.jsonl"),
        "{reject}"
    );

    work.create("apart");
    let apart = work.load("apart", &work.shards());
    assert_eq!(apart["tokens"], 0, "something was encoded: {apart}");
    assert_eq!(apart["rejected"], 0);
    let direct = work.place.look("direct", stored);
    assert_eq!(direct.len(), ROWS - 3);
    assert_eq!(direct, work.place.look("apart", stored));
}

#[test]
fn a_shard_is_made_once_and_again_only_where_something_changed() {
    let work = Work::new();
    work.plan();
    assert_eq!(work.encode()["encoded"], 6);
    let files = || -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let read = |name: String| {
            let path = work.place.path(&name);
            let time = std::fs::metadata(&path).unwrap().modified().unwrap();
            (name, (std::fs::read(path).unwrap(), time))
        };
        work.shards().into_iter().map(read).collect()
    };
    let before = files();
    let again = work.encode();
    assert_eq!(
        (&again["encoded"], &again["skipped"]),
        (&json!(0), &json!(6))
    );
    assert_eq!(again["documents"], json!(ROWS - 2));

    // The same bytes, written again: known by what they say, not by when.
    work.place.write("papers.jsonl", rows().join("\n") + "\n");
    assert_eq!(work.encode()["skipped"], 6);
    assert_eq!(before, files());

    // One row: its unit alone, and what was mended is no reject any more.
    let mut changed = rows();
    changed[23] = json!({"id": "right", "title": "a", "year": 2024}).to_string();
    work.place.write("papers.jsonl", changed.join("\n") + "\n");
    let run = work.encode();
    assert_eq!(
        (&run["encoded"], &run["skipped"]),
        (&json!(1), &json!(5)),
        "{run}"
    );
    assert!(!work.place.path("out/part-000002.rejects.jsonl").exists());
    let after = files();
    let differ = before.iter().filter(|(name, file)| after[*name] != **file);
    assert_eq!(
        differ.map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["out/part-000002.parquet"]
    );

    // Another definition, another model: all of them.
    work.place
        .write("out/definition.toml", DEFINITION.replace("18", "16"));
    assert_eq!(work.encode()["encoded"], 6);
    TinyModel {
        seed: 2,
        ..TinyModel::default()
    }
    .write(&work.place.path("models/tiny"));
    assert_eq!(work.encode()["encoded"], 6);
    // And a shard that is damaged, or something else altogether.
    let bytes = std::fs::read(work.place.path("out/part-000001.parquet")).unwrap();
    work.place
        .write("out/part-000001.parquet", &bytes[..bytes.len() / 2]);
    work.place.write("out/part-000003.parquet", "no Parquet");
    assert_eq!(work.encode()["encoded"], 2);
}

#[test]
fn a_worker_that_is_killed_leaves_whole_shards_only() {
    let work = Work::new();
    let rows: Vec<String> = (0..3_000)
        .map(|i| json!({"id": format!("p{i}"), "title": "alpha beta gamma"}).to_string())
        .collect();
    work.place.write("papers.jsonl", rows.join("\n"));
    work.place.ok(&[
        "manifest",
        "papers.jsonl",
        "--definition",
        "papers.toml",
        "--out",
        "out",
        "--rows-per-unit",
        "100",
    ]);
    for wanted in [1, 5] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(ENCODE)
            .current_dir(work.place.folder())
            .env_clear()
            .envs(std::env::var_os("ORT_DYLIB_PATH").map(|path| ("ORT_DYLIB_PATH", path)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while work.shards().len() < wanted && child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "no shard");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for shard in work.shards() {
            let manifest = manifest(&work.place.path(&shard)).unwrap().unwrap();
            assert_eq!(manifest.shard.unwrap().documents, 100);
        }
    }
    let left = work.shards().len();
    let run = work.encode();
    assert_eq!(run["skipped"], left);
    assert_eq!(run["documents"], 3_000);
    work.create("apart");
    assert_eq!(work.load("apart", &work.shards())["loaded"], 3_000);
}

#[test]
fn shards_that_would_have_to_be_encoded_again_are_refused() {
    let work = Work::new();
    work.plan();
    work.encode();
    let shard = &work.shards()[0];
    // Another model of the same name.
    let other = Place::with_model("tiny");
    TinyModel {
        seed: 2,
        ..TinyModel::default()
    }
    .write(&other.path("models/tiny"));
    other.write("papers.toml", DEFINITION);
    other.ok(&["index", "create", "papers.toml"]);
    let path = work.place.path(shard).display().to_string();
    let said = other.refused(Code::ModelMismatch, &["ingest", "papers", &path]);
    assert!(said.contains("another model"), "{said}");
    // Vectors of other texts.
    work.place
        .write("other.toml", DEFINITION.replace("18", "24"));
    work.place.ok(&["index", "create", "other.toml"]);
    let said = work
        .place
        .refused(Code::InvalidFile, &["ingest", "papers", shard]);
    assert!(
        said.contains("18 tokens") && said.contains("24 tokens"),
        "{said}"
    );
    assert_eq!(work.place.look("papers", |index| index.view().documents), 0);
    // One for an index of the same texts under another name is not.
    work.create("renamed");
    assert_eq!(
        work.load("renamed", std::slice::from_ref(shard))["rejected"],
        0
    );
}

#[test]
fn parts_are_rows_or_row_groups_and_failures_say_whether_to_try_again() {
    let work = Work::new();
    work.create("direct");
    work.load("direct", &["papers.jsonl".into()]);
    work.place.ok(&["export", "direct", "--to", "all.parquet"]);
    let unit = |source: &str| {
        let args = [
            "encode",
            source,
            "one.parquet",
            "--definition",
            "papers.toml",
            "--quiet",
        ];
        work.place.run(&[&args[..], &["--json"]].concat())
    };
    let documents = |source: &str| -> Value {
        let said = unit(source);
        assert_eq!(said.status, Some(0), "{said:?}");
        serde_json::from_str::<Value>(&said.out).unwrap()["documents"].clone()
    };
    assert_eq!(documents("all.parquet#rows=0..7"), 7);
    assert_eq!(documents("all.parquet#rows=45..1000"), 5);
    assert_eq!(documents("all.parquet#row_groups=0..1"), ROWS - 3);
    // An export brings its vectors along: nothing to encode.
    let said: Value = serde_json::from_str(&unit("all.parquet").out).unwrap();
    assert_eq!(said["tokens"], 0, "{said}");

    let failing = |source: &str, status: i32| {
        let said = unit(source);
        assert_eq!(said.status, Some(status), "{said:?}");
        assert!(said.err.contains("gleaner: "), "{said:?}");
    };
    let before = std::fs::read(work.place.path("one.parquet")).unwrap();
    failing("nowhere.jsonl", 1);
    failing("all.parquet#row_groups=0..9", 1);
    failing("all.parquet#rows=9..1", 1);
    work.place.write(
        "cut.parquet",
        &std::fs::read(work.place.path("all.parquet")).unwrap()[..900],
    );
    failing("cut.parquet", 1);
    // What was there before stays as it was.
    assert_eq!(
        before,
        std::fs::read(work.place.path("one.parquet")).unwrap()
    );
    // No place to write to: worth trying again, unlike the others.
    let said = work.place.run(&[
        "encode",
        "papers.jsonl",
        "papers.toml/one.parquet",
        "--definition",
        "papers.toml",
    ]);
    assert_eq!(said.status, Some(75), "{said:?}");
}

#[test]
fn units_are_read_as_they_were_planned_wherever_they_run() {
    let work = Work::new();
    let renamed = rows().join("\n").replace("\"title\"", "\"headline\"");
    work.place.write("papers.txt", renamed);
    let plan = |flags: &[&str]| {
        let args = [
            "manifest",
            "papers.txt",
            "--definition",
            "papers.toml",
            "--out",
            "out",
        ];
        work.place.ok(&[&args[..], flags].concat());
    };
    plan(&[
        "--format",
        "jsonl",
        "--map",
        "headline=title",
        "--where",
        "year >= 1960",
    ]);
    // An engine knows a source, a target and a definition.
    let unit = |target: &str, more: &[&str]| {
        let args = [
            "encode",
            "papers.txt",
            target,
            "--definition",
            "out/definition.toml",
        ];
        work.place
            .run(&[&args[..], &["--quiet", "--json"], more].concat())
    };
    let encoded = |said: Said| -> Value {
        assert_eq!(said.status, Some(0), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    };
    let all = work.encode();
    let one = encoded(unit("one.parquet", &[]));
    assert_eq!(all["documents"], one["documents"]);
    assert!(one["documents"].as_u64().unwrap() > 30, "{one}");
    assert!(one["passages"].as_u64().unwrap() > 30, "{one}");
    // Saying the same again is no contradiction, saying something else is.
    let same = [
        "--format",
        "jsonl",
        "--map",
        "headline=title",
        "--where",
        "year >= 1960",
    ];
    assert_eq!(encoded(unit("one.parquet", &same))["state"], "skipped");
    let other = unit("one.parquet", &["--map", "headline=tags"]);
    assert_eq!(other.status, Some(1), "{other:?}");
    assert!(other.err.contains("definition.reading.json"), "{other:?}");
    // A plan without flags takes the place of one with them.
    std::fs::rename(
        work.place.path("papers.jsonl"),
        work.place.path("papers.txt"),
    )
    .unwrap();
    plan(&["--format", "jsonl"]);
    assert!(encoded(unit("one.parquet", &[]))["documents"].as_u64() > one["documents"].as_u64());
}

/// A Parquet file whose schema is so many levels deep.
fn deep(levels: u32) -> Vec<u8> {
    let varint = |mut n: u32| {
        let mut bytes = Vec::new();
        while n > 0x7f {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    // FileMetaData in Thrift's compact protocol: version 1, then the list of the schema.
    let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
    footer.extend(varint(levels));
    for _ in 0..levels {
        // name "a", num_children 1.
        footer.extend([0x48, 1, b'a', 0x15, 0x02, 0x00]);
    }
    // num_rows 0, no row groups.
    footer.extend([0x16, 0x00, 0x19, 0x0c, 0x00]);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", &footer[..], &length, b"PAR1"].concat()
}

#[test]
fn a_hostile_footer_is_refused_for_good() {
    let work = Work::new();
    work.place.write("deep.parquet", deep(200_000));
    let definition = ["--definition", "papers.toml"];
    let run = |args: &[&str]| work.place.run(&[args, &definition[..]].concat());
    let refused = |said: Said| {
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.err.contains("the footer is damaged"), "{said:?}");
    };
    refused(run(&["encode", "deep.parquet#rows=3..9", "one.parquet"]));
    refused(run(&[
        "encode",
        "deep.parquet#row_groups=0..1",
        "one.parquet",
    ]));
    refused(run(&[
        "manifest",
        "deep.parquet",
        "--out",
        "out",
        "--rows-per-unit",
        "5",
    ]));
    // As a target it is no shard, and becomes one.
    let said = run(&["encode", "papers.jsonl", "deep.parquet", "--quiet"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.out.contains("encoded"), "{said:?}");
}

#[test]
fn sources_and_shards_may_be_objects() {
    let work = Work::new();
    let s3 = S3::start("lake");
    let bucket = s3.bucket();
    std::fs::create_dir(bucket.join("in")).unwrap();
    let source = bucket.join("in/papers.jsonl");
    std::fs::write(&source, rows().join("\n")).unwrap();
    let run = |args: &[&str]| -> Value {
        let mut command = work.place.command(args);
        let said = Said::of(command.args(["--json"]).envs(s3.environment()));
        assert_eq!(said.status, Some(0), "{said:?}");
        assert!(!said.err.contains(S3::SECRET), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    };
    let planned = run(&[
        "manifest",
        "s3://lake/in/papers.jsonl",
        "--definition",
        "papers.toml",
        "--out",
        "out",
        "--shards",
        "s3://lake/shards",
        "--rows-per-unit",
        "20",
    ]);
    assert_eq!(planned["definition"], "s3://lake/shards/definition.toml");
    let csv = std::fs::read_to_string(work.place.path("out/units/000001.csv")).unwrap();
    assert_eq!(
        csv,
        "source,target,definition\ns3://lake/in/papers.jsonl#rows=20..40,\
         s3://lake/shards/part-000001.parquet,s3://lake/shards/definition.toml\n"
    );
    // One as an engine runs it, then the rest.
    let fields: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    let unit = [
        "encode",
        fields[0],
        fields[1],
        "--definition",
        fields[2],
        "--quiet",
    ];
    assert_eq!(run(&unit)["state"], "encoded");
    assert_eq!(run(&unit)["state"], "skipped");
    let all = run(&ENCODE);
    assert_eq!(
        (&all["encoded"], &all["skipped"]),
        (&json!(2), &json!(1)),
        "{all}"
    );
    assert!(bucket.join("shards/part-000001.rejects.jsonl").exists());

    work.create("direct");
    work.load("direct", &["papers.jsonl".into()]);
    work.create("apart");
    let shards: Vec<PathBuf> = (0..3)
        .map(|i| bucket.join(format!("shards/part-{i:06}.parquet")))
        .collect();
    let shards: Vec<String> = shards
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(work.load("apart", &shards)["tokens"], 0);
    assert_eq!(
        work.place.look("direct", stored),
        work.place.look("apart", stored)
    );
}

#[test]
fn rows_that_are_lost_together_are_counted_once_by_the_units_they_lie_in() {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};

    use crate::support::files;

    let work = Work::new();
    let texts = |word: &str| {
        let texts = (0..40).map(|i| format!("{word} number {i}"));
        Arc::new(StringArray::from_iter_values(texts)) as arrow::array::ArrayRef
    };
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(20))
        .build();
    let path = work.place.path("a.parquet");
    files::parquet_with(
        &path,
        vec![("id", texts("id")), ("title", texts("title"))],
        properties,
    );
    let mut bytes = std::fs::read(&path).unwrap();
    let value = b"title number 11";
    let at = bytes.windows(value.len()).position(|w| w == value).unwrap();
    bytes[at - 4..at].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    std::fs::write(&path, bytes).unwrap();
    // Rows 11 to 19 are lost, of which 4 lie in the first part and 5 in the second.
    for (part, rejected, documents) in [("0..15", 4, 11), ("15..30", 5, 10), ("30..40", 0, 10)] {
        let source = format!("a.parquet#rows={part}");
        let target = format!("out-{}.parquet", &part[..2]);
        let made = work
            .place
            .json(&["encode", &source, &target, "--definition", "papers.toml"]);
        assert_eq!(
            (&made["rejected"], &made["documents"]),
            (&json!(rejected), &json!(documents)),
            "{part}: {made}"
        );
    }
}
