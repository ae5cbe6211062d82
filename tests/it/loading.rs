//! Promise: files become an index, whatever their format; a row that does not fit goes to
//! the rejects file with its reason and the others load; loading again replaces.

use std::collections::BTreeSet;
use std::path::Path;

use gleaner::error::Code;
use gleaner::index::{Index, Mode, Stats};
use gleaner::ingest::Reject;
use gleaner::search::SearchRequest;
use serde_json::{Value, json};

use crate::support::binary::{Place, one_document};
use crate::support::files;
use crate::support::world::{ask, ids, words};

/// A path in the repository.
fn repository(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the shipped sample.
fn sample() -> Vec<Value> {
    let text = std::fs::read_to_string(repository("sample/articles.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A place with the index `articles` as it is shipped, under a tiny encoder.
fn articles() -> Place {
    let place = Place::with_model("gleaner-minilm");
    place.ok(&["index", "create", &repository("indexes/articles.toml")]);
    place
}

/// What an index holds and answers, apart from log sequences and timings.
#[derive(Debug, PartialEq)]
struct Contents {
    documents: Vec<Value>,
    answers: Vec<Vec<(String, f32)>>,
    passages: u64,
}

fn contents(index: &Index, known: &[&str]) -> Contents {
    let requests = [
        ("how bread rises", Mode::Lexical, None),
        ("\"night train\" OR ferry", Mode::Lexical, None),
        ("animals in the night", Mode::Hybrid, None),
        (
            "medieval building",
            Mode::Dense,
            Some("section = \"history\""),
        ),
        (
            "water",
            Mode::Hybrid,
            Some("published >= 2018-01-01 AND rating >= 3 AND minutes < 9"),
        ),
        (
            "water",
            Mode::Dense,
            Some("featured = true OR tags IN [\"japan\", \"history\"]"),
        ),
    ];
    let answers = requests.map(|(query, mode, filter)| {
        let answer = ask(
            index,
            &SearchRequest {
                mode: Some(mode),
                filter: filter.map(Into::into),
                k: Some(400),
                ..words(query)
            },
        );
        assert!(!answer.hits.is_empty(), "{query}");
        answer
            .hits
            .into_iter()
            .map(|hit| (hit.id, hit.score))
            .collect()
    });
    Contents {
        documents: known
            .iter()
            .map(|id| Value::Object(index.get(id).unwrap()))
            .collect(),
        answers: answers.into(),
        passages: index.stats().passages,
    }
}

#[test]
fn parquet_and_json_lines_give_the_same_index() {
    let rows = sample();
    let known: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    let load = |file: &str, settings: &[(&str, &str)]| -> (Contents, Stats) {
        let place = articles();
        let file = repository(file);
        place
            .command(&["ingest", "articles", &file])
            .envs(settings.iter().copied())
            .assert()
            .success();
        assert!(!place.path("articles-rejects.jsonl").exists(), "{file}");
        place.look("articles", |index| (contents(index, &known), index.stats()))
    };
    let (lines, stats) = load("sample/articles.jsonl", &[]);
    assert_eq!((stats.documents, stats.passages), (320, 320));
    assert_eq!(lines.documents, rows);
    let (parquet, same) = load("sample/articles.parquet", &[]);
    assert_eq!(parquet, lines);
    assert_eq!(same, stats);
    // However the rows fall into batches.
    let (small, same) = load(
        "sample/articles.jsonl",
        &[("GLEANER__INGEST__BATCH_DOCUMENTS", "7")],
    );
    assert_eq!(small.documents, lines.documents);
    for (few, many) in small.answers.iter().zip(&lines.answers) {
        let ids =
            |hits: &[(String, f32)]| hits.iter().map(|h| h.0.clone()).collect::<BTreeSet<_>>();
        assert_eq!(ids(few), ids(many));
        for (id, score) in few {
            let other = many.iter().find(|hit| hit.0 == *id).unwrap().1;
            assert!((score - other).abs() < 1e-3, "{id}: {score} {other}");
        }
    }
    assert_eq!(
        (same.documents, same.durable_seq),
        (stats.documents, stats.durable_seq)
    );
}

#[test]
fn loading_again_replaces_and_does_not_double() {
    let place = articles();
    let file = repository("sample/articles.parquet");
    let first = place.json(&["ingest", "articles", &file]);
    assert_eq!(
        (&first["loaded"], &first["replaced"]),
        (&json!(320), &json!(0))
    );
    let rows = sample();
    let known: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    let before = place.look("articles", |index| contents(index, &known));
    let again = place.json(&["ingest", "articles", &file]);
    assert_eq!(
        (&again["loaded"], &again["replaced"], &again["unchanged"]),
        (&json!(320), &json!(0), &json!(320))
    );
    place.look("articles", |index| {
        assert_eq!(index.stats().documents, 320);
        assert_eq!(contents(index, &known), before);
    });

    // What changed is changed, what went stays.
    let mut rows = rows;
    rows.truncate(3);
    rows[0]["body"] = json!("A zyzzyva is a weevil.");
    files::jsonl(&place.path("three.jsonl"), &rows);
    place.ok(&["ingest", "articles", "three.jsonl"]);
    place.look("articles", |index| {
        assert_eq!(index.stats().documents, 320);
        assert_eq!(
            ids(&ask(index, &lexical("zyzzyva"))),
            [rows[0]["id"].as_str().unwrap()]
        );
    });
}

fn lexical(query: &str) -> SearchRequest {
    SearchRequest {
        mode: Some(Mode::Lexical),
        ..words(query)
    }
}

const TYPED: &str = r#"
name = "shop"
id_field = "sku"
[fields.title]
type = "text"
required = true
[fields.kind]
type = "keyword"
[fields.tags]
type = "keyword"
many = true
[fields.stars]
type = "integer"
[fields.price]
type = "float"
[fields.day]
type = "date"
[fields.open]
type = "boolean"
[fields.sizes]
type = "integer"
many = true
"#;

#[test]
fn csv_is_read_by_the_fields_types() {
    let csv = "sku,Headline,kind,tags,stars,price,day,open,sizes,internal\n\
        s1,\"Red, \"\"new\"\" house\",12,red|green,5,7.50,2024-05-01,TRUE,\"[1,2]\",x\n\
        s2,\"Two\nlines\",n/a,,-3,1e2,2023-01-31T12:00:00Z,0,3|4,y\n\
        \r\n\
        s3, spaced ,,solo, 7 ,,,,,\n";
    let expected = json!([
        {"sku": "s1", "title": "Red, \"new\" house", "kind": "12", "tags": ["red", "green"],
         "stars": 5, "price": 7.5, "day": "2024-05-01", "open": true, "sizes": [1, 2]},
        {"sku": "s2", "title": "Two\nlines", "kind": "n/a", "stars": -3, "price": 100.0,
         "day": "2023-01-31T12:00:00Z", "open": false, "sizes": [3, 4]},
        {"sku": "s3", "title": " spaced ", "tags": ["solo"], "stars": 7},
    ]);
    // Tabs instead, compressed, under a name that says nothing.
    let rows = [
        "s4\tFour\t4\t\t4\t4\t2024-04-04\tf\t4\tz",
        "s5\tFive\t\t\t\t\t\t\t\t",
    ];
    let tsv = format!(
        "{}\n{}\n",
        csv.lines().next().unwrap().replace(',', "\t"),
        rows.join("\n")
    );
    let place = Place::new();
    place.write("shop.toml", TYPED);
    place.ok(&["index", "create", "shop.toml"]);
    place.write("shop.csv", csv);
    place.write("more", files::gzip(tsv));
    let mapped = ["--map", "Headline=title", "--drop", "internal"];
    let loaded = place.json(&[&["ingest", "shop", "shop.csv"], &mapped[..]].concat());
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(3), &json!(0))
    );
    let more = ["ingest", "shop", "more", "--format", "tsv"];
    let loaded = place.json(&[&more[..], &mapped[..]].concat());
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(2), &json!(0))
    );

    // Without the mapping the columns are unknown fields, and every row says so; a load of
    // which nothing arrived has failed.
    let unmapped = place.run(&["ingest", "shop", "shop.csv", "--json"]);
    assert_eq!(unmapped.status, Some(1), "{unmapped:?}");
    let unmapped = one_document(&unmapped.out);
    assert_eq!(
        (&unmapped["loaded"], &unmapped["rejected"]),
        (&json!(0), &json!(3))
    );
    place.look("shop", |index| {
        for row in expected.as_array().unwrap() {
            let id = row["sku"].as_str().unwrap();
            assert_eq!(&Value::Object(index.get(id).unwrap()), row, "{id}");
        }
        for (filter, found) in [
            ("kind = \"12\"", vec!["s1"]),
            ("tags = green", vec!["s1"]),
            ("stars >= 4", vec!["s1", "s3", "s4"]),
            ("price >= 7.5 AND price <= 100", vec!["s1", "s2"]),
            ("day < 2024-01-01", vec!["s2"]),
            ("open = false", vec!["s2", "s4"]),
            ("sizes = 2 OR sizes = 3", vec!["s1", "s2"]),
            ("NOT EXISTS day", vec!["s3", "s5"]),
        ] {
            let answer = ask(
                index,
                &SearchRequest {
                    filter: Some(filter.into()),
                    ..words("house lines spaced four five")
                },
            );
            let mut hits = ids(&answer);
            hits.sort_unstable();
            assert_eq!(hits, found, "{filter}");
        }
    });

    let twice = [
        "ingest",
        "shop",
        "shop.csv",
        "--map",
        "Headline=title",
        "--map",
        "kind=title",
    ];
    let said = place.refused(Code::InvalidConfiguration, &twice);
    assert!(said.contains("kind=title"), "{said}");
    let missing = ["ingest", "shop", "shop.csv", "--map", "Titel=title"];
    let said = place.refused(Code::InvalidFile, &missing);
    assert!(
        said.contains("Titel") && said.contains("Headline"),
        "{said}"
    );
}

fn rejects(path: &Path) -> Vec<Reject> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_bad_row_goes_to_the_rejects_file_and_the_others_load() {
    let place = Place::new();
    place.write("shop.toml", TYPED);
    place.ok(&["index", "create", "shop.toml"]);
    let good = |i: usize| json!({"sku": format!("g{i}"), "title": format!("good {i}"), "stars": i});
    let mut lines: Vec<String> = (0..1000).map(|i| good(i).to_string()).collect();
    // Row 500 of line 501: a blank line stands before it.
    lines[400].push('\n');
    lines[499] = json!({"sku": "bad", "title": "bad", "stars": "many"}).to_string();
    place.write("rows.jsonl", lines.join("\n"));
    let rows: Vec<Value> = lines
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let mut csv = String::from("sku,title,stars\n");
    for row in &rows {
        let stars = row["stars"].to_string().replace('"', "");
        csv += &format!(
            "{},{},{stars}\n",
            row["sku"].as_str().unwrap(),
            row["title"].as_str().unwrap()
        );
    }
    place.write("rows.csv", csv);

    let original = |file: &str| match file {
        "rows.csv" => "bad,bad,many".to_string(),
        _ => lines[499].clone(),
    };
    for (file, line) in [("rows.jsonl", 501), ("rows.csv", 501)] {
        let loaded = place.json(&["ingest", "shop", file]);
        assert_eq!(
            (&loaded["loaded"], &loaded["rejected"]),
            (&json!(999), &json!(1)),
            "{file}"
        );
        let rejects = rejects(&place.path("shop-rejects.jsonl"));
        let [reject] = rejects.as_slice() else {
            panic!("{rejects:?}");
        };
        assert_eq!(reject.file, file);
        assert_eq!((reject.row, reject.line), (Some(500), Some(line)), "{file}");
        assert_eq!(reject.code, Code::InvalidDocument);
        assert_eq!(reject.field.as_deref(), Some("stars"));
        assert_eq!(reject.found.as_deref(), Some("\"many\" (string)"));
        assert_eq!(reject.expected.as_deref(), Some("a whole number"));
        assert_eq!(reject.original, original(file));
        assert!(reject.message.contains("\"bad\""), "{}", reject.message);
    }
    place.look("shop", |index| {
        assert_eq!(index.stats().documents, 999);
        assert!(index.get("bad").is_err());
        for i in [0, 498, 500, 999] {
            assert_eq!(Value::Object(index.get(&format!("g{i}")).unwrap()), good(i));
        }
    });

    // What was rejected can be mended and loaded: an original is a row.
    let mended = rejects(&place.path("shop-rejects.jsonl"))[0]
        .original
        .replace("many", "5");
    place.write("mended.csv", format!("sku,title,stars\n{mended}\n"));
    place.ok(&["ingest", "shop", "mended.csv"]);
    place.look("shop", |index| {
        assert_eq!(index.get("bad").unwrap()["stars"], 5)
    });
}

#[test]
fn several_files_are_one_load() {
    let place = Place::new();
    place.write("shop.toml", TYPED);
    place.ok(&["index", "create", "shop.toml"]);
    let row = |id: &str, title: &str| json!({"sku": id, "title": title});
    files::parquet_of(
        &place.path("a.parquet"),
        &[row("a", "first"), row("b", "first")],
    );
    place.write("b.csv", "sku,title,stars\nb,second,1\nc,second,none\n");
    place.write(
        "c.jsonl.gz",
        files::gzip(format!("{}\n{}\n", row("d", "third"), row("a", "third"))),
    );
    place.write(
        "d.json",
        json!([row("e", "fourth"), {"sku": "f"}]).to_string(),
    );
    place.write("e.jsonl.zst", files::zstd(row("g", "fifth").to_string()));
    let files = ["a.parquet", "b.csv", "c.jsonl.gz", "d.json", "e.jsonl.zst"];
    let loaded = place.json(&[&["ingest", "shop"], &files[..]].concat());
    let figures = ["files", "rows", "loaded", "replaced", "rejected"].map(|key| &loaded[key]);
    assert_eq!(
        figures,
        [&json!(5), &json!(9), &json!(7), &json!(2), &json!(2)]
    );
    let bad: Vec<(String, u64)> = rejects(&place.path("shop-rejects.jsonl"))
        .into_iter()
        .map(|reject| (reject.file, reject.row.unwrap()))
        .collect();
    assert_eq!(bad, [("b.csv".into(), 2), ("d.json".into(), 2)]);
    place.look("shop", |index| {
        // A later file wins.
        assert_eq!(index.get("a").unwrap()["title"], "third");
        assert_eq!(index.get("b").unwrap()["title"], "second");
        assert_eq!(index.stats().documents, 5);
    });

    // A name that is wrong is noticed before anything is loaded.
    place.write("new.csv", "sku,title\nnew,new\n");
    place.refused(
        Code::InvalidFile,
        &["ingest", "shop", "new.csv", "nowhere.csv"],
    );
    place.look("shop", |index| assert!(index.get("new").is_err()));
    // Of a file that is damaged half-way, what was read before stays, and what was not is a
    // reject; the others load.
    let many: String = (0..3000)
        .map(|i| format!("{}\n", row(&format!("m{i}"), "many")))
        .collect();
    let whole = files::gzip(many);
    place.write("cut.jsonl.gz", &whole[..whole.len() * 9 / 10]);
    let loaded = place.json(&["ingest", "shop", "cut.jsonl.gz", "new.csv"]);
    assert_eq!(loaded["rejected"], 1, "{loaded}");
    let lost = rejects(&place.path("shop-rejects.jsonl"));
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (lost[0].file.as_str(), lost[0].code),
        ("cut.jsonl.gz", Code::InvalidFile)
    );
    place.look("shop", |index| {
        assert_eq!(index.get("m1000").unwrap()["title"], "many");
        assert!(index.get("m2999").is_err());
        assert_eq!(index.get("new").unwrap()["title"], "new");
        let found = ask(index, &words("many"));
        assert_eq!(
            found.total.value + 6,
            index.stats().documents,
            "and it is visible"
        );
    });
}

#[test]
fn progress_is_told_where_there_is_no_terminal() {
    let place = Place::new();
    place.write("shop.toml", TYPED);
    place.ok(&["index", "create", "shop.toml"]);
    place.write("a.csv", "sku,title,stars\na,good,1\nb,bad,none\n");
    let said = place.ok(&["ingest", "shop", "a.csv"]);
    let line = said
        .err
        .lines()
        .find(|line| line.contains("load finished"))
        .unwrap();
    for part in ["files=1", "rows=2", "loaded=1", "rejected=1", "seconds="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // No bar is drawn into a file.
    assert!(
        !said.err.contains('\r') && !said.err.contains('\u{1b}'),
        "{:?}",
        said.err
    );
    let quiet = place.ok(&["ingest", "shop", "a.csv", "--quiet"]);
    assert!(!quiet.err.contains("load finished"), "{}", quiet.err);
    assert!(
        quiet
            .out
            .contains("1 documents loaded (0 replaced, 1 unchanged)"),
        "{}",
        quiet.out
    );
}

const TEXTS: &str = r#"
name = "texts"
[fields.title]
type = "text"
[fields.body]
type = "text"
[embedding]
model = "tiny"
fields = ["title", "body"]
"#;

#[test]
fn what_the_model_does_not_take_is_counted() {
    let place = Place::with_model("tiny");
    place.write("texts.toml", TEXTS);
    place.ok(&["index", "create", "texts.toml"]);
    let body = |words: usize| "river ".repeat(words);
    files::jsonl(
        &place.path("texts.jsonl"),
        &[
            json!({"id": "fits", "body": body(62)}),
            json!({"id": "long", "body": body(63)}),
            json!({"id": "longer", "title": "a title counts too", "body": body(2000)}),
            json!({"id": "empty"}),
            json!({"id": "blank", "body": " \n "}),
        ],
    );
    let loaded = place.json(&["ingest", "texts", "texts.jsonl"]);
    let figures = ["loaded", "truncated", "passages", "tokens"].map(|key| &loaded[key]);
    assert_eq!(figures, [&json!(5), &json!(2), &json!(3), &json!(3 * 64)]);
    let texts = place.path("texts.jsonl");
    let changed = std::fs::read_to_string(&texts).unwrap();
    std::fs::write(&texts, changed.replace("river ", "water ")).unwrap();
    let said = place.ok(&["ingest", "texts", "texts.jsonl"]).out;
    assert!(said.contains("2 cut to the model's length"), "{said}");
    place.look("texts", |index| {
        // Words find the end that the vector does not know, and texts without a vector.
        let found = ask(index, &lexical("water"));
        assert_eq!(found.total.value, 3);
        assert_eq!(index.stats().documents, 5);
        let dense = ask(
            index,
            &SearchRequest {
                mode: Some(Mode::Dense),
                ..words("river")
            },
        );
        assert_eq!(dense.hits.len(), 3);
    });
}

#[test]
fn long_texts_have_a_vector_for_each_passage() {
    let place = Place::with_model("tiny");
    let passages = "passages = { max_tokens = 16, overlap = 4 }\n";
    place.write("texts.toml", format!("{TEXTS}{passages}"));
    place.ok(&["index", "create", "texts.toml"]);
    let body = "The red cat and the dog are in the house. Fish are in the water of the river! \
        Wind and fire on the mountain; light on the earth. A query with a word is for the index. \
        Birds sing in the green tree by the city.";
    files::jsonl(
        &place.path("texts.jsonl"),
        &[
            json!({"id": "long", "title": "many things", "body": body}),
            json!({"id": "short", "body": "a blue house"}),
            json!({"id": "other", "body": "document and vector. ".repeat(20)}),
        ],
    );
    let loaded = place.json(&["ingest", "texts", "texts.jsonl"]);
    assert_eq!(loaded["truncated"], 0);
    assert!(loaded["passages"].as_u64().unwrap() > 10, "{loaded}");
    place.look("texts", |index| {
        let text = format!("many things\n{body}");
        let ordinal = index.ordinal("long").unwrap().unwrap();
        let stored = index.stored_vectors(ordinal).unwrap().unwrap();
        assert!(stored.spans.len() >= 4, "{}", stored.spans.len());
        assert_eq!(stored.vectors.len(), stored.spans.len() * 32);
        assert_eq!(stored.spans[0].start, 0);
        assert_eq!(
            stored.spans.last().unwrap().end as usize,
            text.trim_end().len()
        );
        for pair in stored.spans.windows(2) {
            assert!(pair[1].start <= pair[0].end && pair[1].start > pair[0].start);
        }
        for span in &stored.spans {
            // Asked for with its own words, each passage is the nearest, and is returned (but
            // for a line break between texts at its end).
            let passage = &text[span.start as usize..span.end as usize];
            let plain = ask(
                index,
                &SearchRequest {
                    mode: Some(Mode::Dense),
                    ..words(passage)
                },
            );
            assert_eq!(
                plain.hits.len(),
                3,
                "a hit for a document, not for a passage"
            );
            let hit = &plain.hits[0];
            assert_eq!(hit.id, "long");
            let found = hit.passage.as_ref().unwrap();
            let passage = passage.trim_matches('\n');
            assert_eq!(found.text, passage);
            assert_eq!(found.of as usize, stored.spans.len());
            assert_eq!(stored.spans[found.number as usize - 1], *span);
            let cut: Vec<String> = found
                .places
                .iter()
                .map(|place| {
                    let text = hit.document[&place.field].as_str().unwrap();
                    let (start, end) = (place.start as usize, place.end as usize);
                    text.chars().skip(start).take(end - start).collect()
                })
                .collect();
            assert_eq!(cut.join("\n"), passage, "{:?}", found.places);
            assert!((hit.score - 1.0).abs() < 1e-4, "{}", hit.score);
        }
        let short = ask(
            index,
            &SearchRequest {
                mode: Some(Mode::Dense),
                ..words("a blue house")
            },
        );
        let passage = short.hits[0].passage.as_ref().unwrap();
        assert_eq!(
            (passage.text.as_str(), passage.number, passage.of),
            ("a blue house", 1, 1)
        );
    });
    // The command line prints the same.
    let answer = place.json(&[
        "search",
        "texts",
        "fish are in the water",
        "--mode",
        "dense",
    ]);
    assert!(answer["hits"][0]["passage"]["text"].is_string(), "{answer}");
}
