//! Promise: settings are chosen on judged queries only where they are better by more than chance
//! explains, and what is written is a definition that searches so.

use std::fmt::Write;

use gleaner::index::{Definition, Mode};
use serde_json::json;

use crate::support::binary::Place;

/// A collection whose words find what is meant, beside an encoder that knows nothing.
fn collection(place: &Place) {
    let (mut corpus, mut queries) = (String::new(), String::new());
    let mut qrels = String::from("query-id\tcorpus-id\tscore\n");
    for n in 0..40 {
        let word = format!("w{}x{}", n % 7, n);
        writeln!(
            corpus,
            "{}",
            json!({"_id": format!("d{n}"), "title": "", "text": format!("a {word} and others")})
        )
        .unwrap();
        writeln!(queries, "{}", json!({"_id": format!("q{n}"), "text": word})).unwrap();
        writeln!(qrels, "q{n}\td{n}\t1").unwrap();
    }
    place.write("set/corpus.jsonl", corpus);
    place.write("set/queries.jsonl", queries);
    place.write("set/qrels/train.tsv", qrels);
}

fn definition(place: &Place, lexical: f32) {
    let text = format!(
        "name = \"beir\"\nunknown_fields = \"ignore\"\n[fields.title]\ntype = \"text\"\n\
         [fields.text]\ntype = \"text\"\n[embedding]\nmodel = \"tiny\"\nfields = [\"text\"]\n\
         [search.fusion]\nmethod = \"minmax\"\nlexical = {lexical}\ndense = {}\n",
        1.0 - lexical
    );
    place.write("index.toml", text);
}

fn place() -> Place {
    let place = Place::with_model("tiny");
    collection(&place);
    place
}

#[test]
fn a_setting_that_is_surely_better_is_written() {
    let place = place();
    definition(&place, 0.0);
    let args = [
        "eval",
        "tune",
        "--beir",
        "set",
        "--index",
        "index.toml",
        "--out",
        "tuned.toml",
    ];
    let found = place.json(&args);
    assert_eq!(found["changed"], true, "{found}");
    assert!(found["interval"][0].as_f64().unwrap() > 0.0, "{found}");
    assert_eq!(found["queries"], 40);
    let tuned = Definition::from_file(&place.path("tuned.toml")).unwrap();
    assert_eq!(
        serde_json::to_value(&tuned.search).unwrap(),
        found["search"]
    );
    // By words alone, or words with something of the vectors.
    let words = tuned.search.mode == Mode::Lexical || tuned.search.fusion.lexical > 0.0;
    assert!(words, "{:?}", tuned.search);
    // Tuned once, nothing is left to gain.
    let again = [
        "eval",
        "tune",
        "--beir",
        "set",
        "--index",
        "tuned.toml",
        "--out",
        "again.toml",
    ];
    assert_eq!(place.json(&again)["changed"], false);
    let same = Definition::from_file(&place.path("again.toml")).unwrap();
    assert_eq!(same, tuned);
}

#[test]
fn too_few_queries_and_impossible_parts_are_refused() {
    let place = place();
    definition(&place, 0.5);
    place.write(
        "set/qrels/few.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    );
    let tune = [
        "eval",
        "tune",
        "--beir",
        "set",
        "--index",
        "index.toml",
        "--keep",
        "kept",
    ];
    for (more, field) in [
        (["--split", "few"], "split"),
        (["--folds", "1"], "folds"),
        (["--folds", "41"], "folds"),
    ] {
        let said = place.refused(
            gleaner::error::Code::InvalidRequest,
            &[&tune[..], &more[..]].concat(),
        );
        assert!(said.contains(field), "{said}");
    }
}
