//! Promise: bad input is the caller's, with a stable code, the field, what was found and
//! what was expected; a bad row is rejected alone, a bad file ends its load, and nothing
//! is lost.

use std::fs;
use std::sync::Arc;

use gleaner::error::Code;
use gleaner::ingest::Reject;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::files;
use crate::support::shop::{SHOP, Shop, good, kept, problem};
use crate::support::world::write;

/// A row of a file, the code it is rejected with, and the field that is named.
type BadRow = (Vec<u8>, Code, Option<&'static str>);

#[rustfmt::skip] // a table, one mistake a line
fn bad_lines() -> Vec<BadRow> {
    use Code::{InvalidDocument, InvalidVector, LimitExceeded};
    let with = |field: &str, value: Value| -> Vec<u8> {
        let mut row = good("bad");
        row[field] = value;
        row.to_string().into_bytes()
    };
    let without = |field: &str| -> Vec<u8> {
        let mut row = good("bad");
        row.as_object_mut().unwrap().remove(field);
        row.to_string().into_bytes()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        // Wrong types.
        (with("title", json!(7)), InvalidDocument, Some("title")),
        (with("title", json!({"text": "x"})), InvalidDocument, Some("title")),
        (with("title", json!(["x"])), InvalidDocument, Some("title")),
        (with("kind", json!(true)), InvalidDocument, Some("kind")),
        (with("kind", json!("x".repeat(9000))), InvalidDocument, Some("kind")),
        (with("tags", json!(["x", 7])), InvalidDocument, Some("tags")),
        (with("stars", json!("3")), InvalidDocument, Some("stars")),
        (with("stars", json!(3.5)), InvalidDocument, Some("stars")),
        (with("stars", json!(u64::MAX)), InvalidDocument, Some("stars")),
        (with("price", json!("cheap")), InvalidDocument, Some("price")),
        (with("day", json!("yesterday")), InvalidDocument, Some("day")),
        (with("day", json!("2023-02-29")), InvalidDocument, Some("day")),
        (with("day", json!(20230201)), InvalidDocument, Some("day")),
        (with("open", json!("true")), InvalidDocument, Some("open")),
        (with("open", json!(1)), InvalidDocument, Some("open")),
        // Ids.
        (without("id"), InvalidDocument, Some("id")),
        (with("id", json!(null)), InvalidDocument, Some("id")),
        (with("id", json!("")), InvalidDocument, Some("id")),
        (with("id", json!(1.5)), InvalidDocument, Some("id")),
        (with("id", json!(["a"])), InvalidDocument, Some("id")),
        (with("id", json!("x".repeat(513))), InvalidDocument, Some("id")),
        // Missing and unknown fields.
        (without("title"), InvalidDocument, Some("title")),
        (with("title", json!(null)), InvalidDocument, Some("title")),
        (with("titel", json!("x")), InvalidDocument, Some("titel")),
        // Vectors.
        (without("vector"), InvalidDocument, Some("vector")),
        (with("vector", json!(null)), InvalidDocument, Some("vector")),
        (with("vector", json!([1, 0])), InvalidVector, Some("vector")),
        (with("vector", json!([1, 0, 0, 0])), InvalidVector, Some("vector")),
        (with("vector", json!([])), InvalidVector, Some("vector")),
        (with("vector", json!([0, 0, 0])), InvalidVector, Some("vector")),
        (with("vector", json!([1, 1e300, 0])), InvalidVector, Some("vector")),
        (with("vector", json!([1, null, 0])), InvalidVector, Some("vector[1]")),
        (with("vector", json!([1, 0, "0"])), InvalidVector, Some("vector[2]")),
        (with("vector", json!("1,0,0")), InvalidVector, Some("vector")),
        // A field of 10 MB, and a row of more than a row may take.
        (with("title", json!("x".repeat(10_000_000))), LimitExceeded, Some("title")),
        (with("title", json!("x".repeat(21 << 20))), LimitExceeded, None),
        // No JSON objects.
        (text("{\"id\": \"bad\", \"vector\": [NaN, 0, 0], \"title\": \"x\"}"), InvalidDocument, None),
        (text("{\"id\": \"bad\", \"price\": 1e999, \"title\": \"x\"}"), InvalidDocument, None),
        (text("{\"id\": \"bad\", \"title\": \"x\""), InvalidDocument, None),
        (text("{\"id\": \"bad\"} {\"id\": \"worse\"}"), InvalidDocument, None),
        (text("7"), InvalidDocument, None),
        (text("[1, 2]"), InvalidDocument, None),
        (text("null"), InvalidDocument, None),
        (text(&"[".repeat(100_000)), InvalidDocument, None),
        (b"{\"id\": \"bad\", \"title\": \"\xff\xfe\"}".to_vec(), InvalidDocument, None),
        (b"\x00\x01\x02".to_vec(), InvalidDocument, None),
    ]
}

/// Every rejected row says what is wrong with it.
fn tells(reject: &Reject, code: Code, field: Option<&str>) {
    let shown = format!("{reject:?}").chars().take(600).collect::<String>();
    assert_eq!(reject.code, code, "{shown}");
    assert_eq!(reject.field.as_deref(), field, "{shown}");
    assert!(!reject.message.is_empty(), "{shown}");
    assert!(
        reject
            .found
            .as_deref()
            .is_some_and(|found| !found.is_empty()),
        "{shown}"
    );
    assert!(
        reject.expected.as_deref().is_some_and(|e| !e.is_empty()),
        "{shown}"
    );
}

#[test]
fn each_bad_row_is_rejected_alone() {
    let shop = Shop::new();
    let bad = bad_lines();
    // One file with a good row before, between and after.
    let mut file = Vec::new();
    for (i, (line, ..)) in bad.iter().enumerate() {
        file.extend(good(&format!("good{i}")).to_string().bytes());
        file.push(b'\n');
        file.extend(line);
        file.push(b'\n');
    }
    file.extend(good("last").to_string().bytes());
    let path = files::bytes(&shop.path("rows.jsonl"), file);
    let (loaded, rejects) = shop.load(&path);
    let loaded = loaded.unwrap();
    assert_eq!(loaded.rejected, bad.len() as u64);
    assert_eq!(loaded.loaded, bad.len() as u64 + 1);
    assert_eq!(rejects.len(), bad.len());
    for (i, (reject, (line, code, field))) in rejects.iter().zip(&bad).enumerate() {
        let number = 2 * i as u64 + 2;
        assert_eq!((reject.row, reject.line), (Some(number), Some(number)));
        tells(reject, *code, *field);
        let original = String::from_utf8_lossy(line);
        match reject.original_cut {
            false => assert_eq!(reject.original, original),
            true => assert!(original.starts_with(&reject.original) && original.len() > 60_000),
        }
    }
    assert!(shop.index.get("bad").is_err());
    assert_eq!(shop.index.stats().documents, 3 + loaded.loaded);
    assert_eq!(kept(&shop.index).documents, shop.before.documents);
}

#[test]
fn the_same_documents_are_refused_by_the_library() {
    let shop = Shop::new();
    for (line, code, field) in bad_lines() {
        let Ok(json) = serde_json::from_slice::<Value>(&line) else {
            continue;
        };
        let shown = json.to_string().chars().take(200).collect::<String>();
        let too_long = line.len() > 20 << 20;
        let found = problem(shop.index.prepare(json.clone()).unwrap_err());
        let field = if too_long { Some("title") } else { field };
        assert_eq!(
            (found.code, found.field.as_deref()),
            (code, field),
            "{shown}"
        );
        assert!(
            found.found.is_some() && found.expected.is_some(),
            "{shown}: {found}"
        );
        if !json.is_object() {
            assert!(
                found.message.contains("must be a JSON object"),
                "{shown}: {found}"
            );
        }
        assert!(write(&shop.index, vec![good("z"), json]).is_err());
    }
    shop.is_as_before("refused documents");
}

#[test]
fn each_bad_row_of_a_csv_file_is_rejected_alone() {
    let shop = Shop::new();
    let bad: Vec<BadRow> = vec![
        (
            b"bad,x,many,,,,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("stars"),
        ),
        (
            b"bad,x,,dear,,,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("price"),
        ),
        (
            b"bad,x,,,soon,,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("day"),
        ),
        (
            b"bad,x,,,,perhaps,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("open"),
        ),
        (
            b"bad,,,,,,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("title"),
        ),
        (
            b",x,,,,,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("id"),
        ),
        (b"bad,x,1".to_vec(), Code::InvalidDocument, None),
        (
            b"bad,x,1,2,3,4,5,6,7,8".to_vec(),
            Code::InvalidDocument,
            None,
        ),
        (
            b"bad,\xff\xfe,,,,,\"[1,0,0]\"".to_vec(),
            Code::InvalidDocument,
            Some("title"),
        ),
        (
            format!("bad,{},,,,,\"[1,0,0]\"", "x".repeat(10_000_000)).into_bytes(),
            Code::LimitExceeded,
            Some("title"),
        ),
        (
            b"bad,x,,,,,\"[1,0]\"".to_vec(),
            Code::InvalidVector,
            Some("vector"),
        ),
        (
            b"bad,x,,,,,\"[0,0,0]\"".to_vec(),
            Code::InvalidVector,
            Some("vector"),
        ),
        (
            b"bad,x,,,,,near".to_vec(),
            Code::InvalidVector,
            Some("vector"),
        ),
    ];
    let mut file = b"id,title,stars,price,day,open,vector\n".to_vec();
    for (i, (line, ..)) in bad.iter().enumerate() {
        file.extend(format!("good{i},light,1,2.5,2024-01-01,t,\"[0, 1, 0.5]\"\n").bytes());
        file.extend(line);
        file.push(b'\n');
    }
    let path = files::bytes(&shop.path("rows.csv"), file);
    let (loaded, rejects) = shop.load(&path);
    let loaded = loaded.unwrap();
    for (i, (reject, (_, code, field))) in rejects.iter().zip(&bad).enumerate() {
        tells(reject, *code, *field);
        assert_eq!(reject.row, Some(2 * i as u64 + 2));
        assert_eq!(reject.line, Some(2 * i as u64 + 3));
    }
    assert_eq!(
        (loaded.loaded, loaded.rejected),
        (bad.len() as u64, bad.len() as u64)
    );
    assert!(shop.index.get("bad").is_err());
    assert_eq!(kept(&shop.index).documents, shop.before.documents);
}

#[test]
fn values_of_parquet_that_no_document_may_have_reject_their_row() {
    use arrow::array::{ArrayRef, Float64Array, ListArray, StringArray};
    use arrow::datatypes::Float32Type;
    let shop = Shop::new();
    let vectors = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(1.0), Some(0.0), Some(0.5)]),
        Some(vec![Some(f32::NAN), Some(0.0), Some(0.0)]),
        Some(vec![Some(f32::INFINITY), Some(0.0), Some(0.0)]),
        Some(vec![Some(0.0), Some(0.0), Some(0.0)]),
        Some(vec![Some(1.0), None, Some(0.0)]),
        Some(vec![Some(1.0), Some(0.0)]),
        None,
        Some(vec![Some(1.0), Some(0.0), Some(0.5)]),
        Some(vec![Some(0.0), Some(0.0), Some(0.5)]),
    ]);
    let count = 9;
    let names: Vec<String> = (0..count).map(|i| format!("row{i}")).collect();
    let mut price = vec![1.5; count];
    price[7] = f64::NAN;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(names.clone()))),
        ("title", Arc::new(StringArray::from(names))),
        ("price", Arc::new(Float64Array::from(price))),
        ("vector", Arc::new(vectors)),
    ];
    let properties = parquet::file::properties::WriterProperties::builder().build();
    let path = files::parquet_with(&shop.path("rows.parquet"), columns, properties);
    let (loaded, rejects) = shop.load(&path);
    let loaded = loaded.unwrap();
    assert_eq!((loaded.loaded, loaded.rejected), (2, 7), "{rejects:?}");
    let told: Vec<(u64, &str)> = rejects
        .iter()
        .map(|reject| {
            assert!(
                reject.found.is_some() && reject.expected.is_some(),
                "{reject:?}"
            );
            (
                reject.row.unwrap(),
                reject.field.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    for ((row, field), (at, name)) in told.iter().zip([
        (2, "vector"),
        (3, "vector"),
        (4, "vector"),
        (5, "vector[1]"),
        (6, "vector"),
        (7, "vector"),
        (8, "price"),
    ]) {
        assert_eq!((*row, *field), (at, name), "{told:?}");
    }
    assert_eq!(kept(&shop.index).documents, shop.before.documents);
}

#[test]
fn files_that_are_none_end_the_load_and_nothing_is_lost() {
    let shop = Shop::new();
    let rows: Vec<Value> = (0..200)
        .map(|i| json!({"id": format!("n{i}"), "title": "x"}))
        .collect();
    let whole = fs::read(files::parquet_of(&shop.path("whole.parquet"), &rows)).unwrap();
    let csv = b"id,title\nn,x\n";
    let mut cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty.parquet", Vec::new(), "empty"),
        ("empty.csv", Vec::new(), "empty"),
        ("empty.tsv", Vec::new(), "empty"),
        ("text.parquet", csv.to_vec(), "PAR1"),
        ("parquet.jsonl", whole.clone(), "Parquet"),
        ("parquet.csv", whole.clone(), "Parquet"),
        ("plain.csv.gz", csv.to_vec(), "gzip"),
        ("wide.csv", b"id,title,title\nn,x,y\n".to_vec(), "title"),
        ("utf16.csv", b"\xff\xfei\x00d\x00".to_vec(), "UTF-16"),
        ("header.csv", b"id,\xff\nn,x\n".to_vec(), "UTF-8"),
        ("notes.txt", csv.to_vec(), "notes.txt"),
    ];
    for length in [
        1,
        3,
        4,
        8,
        12,
        whole.len() / 4,
        whole.len() / 2,
        whole.len() - 9,
    ] {
        cases.push(("cut.parquet", whole[..length].to_vec(), "cut.parquet"));
    }
    for length in [
        whole.len() - 8,
        whole.len() - 5,
        whole.len() - 4,
        whole.len() - 1,
    ] {
        cases.push(("cut.parquet", whole[..length].to_vec(), "cut.parquet"));
    }
    for (name, bytes, part) in cases {
        let length = bytes.len();
        let path = files::bytes(&shop.path(name), bytes);
        let (loaded, rejects) = shop.load(&path);
        let found = problem(loaded.expect_err(name));
        assert_eq!(found.code, Code::InvalidFile, "{name} of {length}: {found}");
        let told = found.to_string();
        assert!(told.contains(part), "{name} of {length}: {told}");
        assert!(found.found.is_some() && found.expected.is_some(), "{told}");
        assert!(rejects.is_empty());
        shop.is_as_before(name);
    }
    fs::create_dir(shop.path("folder.jsonl")).unwrap();
    for (name, part) in [
        ("folder.jsonl", "a directory"),
        ("missing.jsonl", "nothing there"),
    ] {
        let found = problem(shop.load(&shop.path(name)).0.unwrap_err());
        assert_eq!(
            (found.code, found.found.as_deref()),
            (Code::InvalidFile, Some(part))
        );
    }
    // A file of JSON without a row is a file without a row.
    for (name, bytes) in [
        ("empty.jsonl", ""),
        ("empty.json", ""),
        ("list.json", "[]"),
        ("head.csv", "id\n"),
    ] {
        let path = files::bytes(&shop.path(name), bytes);
        let (loaded, rejects) = shop.load(&path);
        assert_eq!((loaded.unwrap().rows, rejects.len()), (0, 0), "{name}");
    }
    shop.is_as_before("files without rows");
    let (loaded, _) = shop.load(&shop.path("whole.parquet"));
    assert_eq!(
        loaded.unwrap().rejected,
        200,
        "the whole file is one, of rows without vectors"
    );
}

#[test]
fn the_command_line_refuses_with_status_1_and_loses_nothing() {
    let place = Place::new();
    place.write("shop.toml", SHOP);
    place.ok(&["index", "create", "shop.toml"]);
    files::jsonl(&place.path("good.jsonl"), &["a", "b", "c"].map(good));
    place.ok(&["ingest", "shop", "good.jsonl"]);
    let before = place.look("shop", kept);

    let whole = fs::read(files::parquet_of(&place.path("w.parquet"), &[good("x")])).unwrap();
    place.write("cut.parquet", &whole[..whole.len() / 2]);
    place.write("empty.parquet", "");
    place.write("bad.toml", "name = \"bad\"\n[fields]\n");
    fs::create_dir(place.path("folder.jsonl")).unwrap();
    #[rustfmt::skip]
    let refused: Vec<(&[&str], Code, &[&str])> = vec![
        (&["ingest", "shop", "cut.parquet"], Code::InvalidFile, &["cut.parquet", "cut short"]),
        (&["ingest", "shop", "empty.parquet"], Code::InvalidFile, &["empty file (0 bytes)"]),
        (&["ingest", "shop", "folder.jsonl"], Code::InvalidFile, &["folder.jsonl", "nothing to load in this folder"]),
        (&["ingest", "shop", "missing.csv"], Code::InvalidFile, &["missing.csv", "found: nothing there"]),
        (&["ingest", "shop", "good.jsonl", "missing.csv"], Code::InvalidFile, &["missing.csv"]),
        (&["ingest", "nobody", "good.jsonl"], Code::IndexNotFound, &["found: nobody", "expected: one of: shop"]),
        (&["search", "nobody", "light"], Code::IndexNotFound, &["field: index", "found: nobody"]),
        (&["search", "shop", "light", "-k", "0"], Code::InvalidRequest, &["field: k", "found: 0", "expected: 1 to 1000"]),
        (&["search", "shop", "light", "-k", "1000000000"], Code::LimitExceeded, &["field: k", "found: 1000000000", "at most 1000"]),
        (&["search", "shop", "light", "--filter", "stars ><"], Code::InvalidFilter, &["field: filter", "found: ", "expected: "]),
        (&["search", "shop", "light", "--filter", "nobody = 3"], Code::InvalidFilter, &["nobody", "stars"]),
        (&["search", "shop", "light", "--mode", "dense"], Code::InvalidRequest, &["field: mode"]),
        (&["search", "shop", " "], Code::InvalidQuery, &["field: query", "found: \" \""]),
        (&["search", "shop", "--like", "nobody"], Code::DocumentNotFound, &["found: nobody"]),
        (&["index", "create", "bad.toml"], Code::InvalidDefinition, &["field: fields", "found: 0"]),
        (&["index", "delete", "nobody"], Code::IndexNotFound, &["found: nobody"]),
    ];
    for (args, code, parts) in refused {
        let said = place.refused(code, args);
        for part in parts {
            assert!(said.contains(part), "{args:?} lacks {part}: {said}");
        }
    }
    assert_eq!(place.look("shop", kept), before);
}
