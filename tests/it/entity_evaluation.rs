//! Promise: what is measured of linking is what is right, and weights are fitted on what was
//! measured.

use gleaner::error::Code;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::files;

#[test]
fn evaluation_counts_what_is_right() {
    let place = Place::with_model("tiny");
    place.write("config.toml", "[entities]\nencoder = \"tiny\"\n");
    place.write("titles.txt", "red_river\nblue_bird\nmountain\n");
    // Right by the count, wrong by it, out of reach, and one that means nothing.
    place.write(
        "mention_candidates.tsv.gz",
        // Among them one that the catalog cannot spell, which says nothing of the others.
        files::gzip(
            "River\tRed River\t90\nRiver\tBlue Bird\t1\nRiver\t日本\t1\n\
             Bird\tRed River\t9\nBird\tBlue Bird\t1\n",
        ),
    );
    let label = |start: usize, end: usize, id: &str, name: &str| json!({"span": [start, end], "entity_id": id, "name": name});
    let document = json!({
        "text": "The River, a Bird, the City and é Red River.",
        "labels": [
            label(4, 9, "Q1", "Red River"),
            label(13, 17, "Q2", "Blue Bird"),
            label(23, 27, "Q3", "Green City"),
            label(23, 27, "<NIL>", "Unknown"),
        ],
    });
    files::jsonl(&place.path("mentions.jsonl"), &[document]);
    let eval = [
        "eval",
        "entities",
        "--mentions",
        "mentions.jsonl",
        "--titles",
        "titles.txt",
    ];
    let report = place.json(&[&eval[..], &["--candidates"]].concat());
    assert_eq!(
        (&report["mentions"], &report["nil_mentions"]),
        (&json!(3), &json!(1))
    );
    let close = |found: &Value, wanted: f64| (found.as_f64().unwrap() - wanted).abs() < 1e-9;
    assert!(close(&report["ceiling"], 2.0 / 3.0), "{report}");
    let prior = &report["methods"]["prior"];
    assert!(close(&prior["accuracy"], 1.0 / 3.0), "{report}");
    let answers: u64 = prior["calibration"]["bins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bin| bin["answers"].as_u64().unwrap())
        .sum();
    assert_eq!(answers, 2, "{report}");
    // Of the titles, only the river's whole name is spelled in the text; its last word may mean it.
    let report = place.json(&[&eval[..], &["--link"]].concat());
    assert!(close(&report["ceiling"], 1.0 / 3.0), "{report}");
    assert!(close(&report["linking"]["found"], 0.0), "{report}");
    assert!(
        close(&report["linking"]["methods"]["prior"]["recall"], 0.0),
        "{report}"
    );
    place.refused(
        Code::InvalidFile,
        &[
            "eval",
            "entities",
            "--mentions",
            "titles.txt",
            "--titles",
            "titles.txt",
        ],
    );
}

#[test]
fn weights_are_fitted_on_evidence_and_used() {
    let place = Place::with_model("tiny");
    place.write("config.toml", "[entities]\nencoder = \"tiny\"\n");
    place.write("names.txt", "red river\nblue river\nmountain\n");
    place.write(
        "aliases.tsv",
        "River\tred river\t9\nRiver\tblue river\t1\nHill\tmountain\t1\n",
    );
    place.ok(&[
        "entities",
        "build",
        "things",
        "--names",
        "names.txt",
        "--aliases",
        "aliases.tsv",
    ]);
    let documents: Vec<Value> = (0..40)
        .map(|number| {
            // The likelier of the two is meant three times in four.
            let river = if number % 4 == 0 {
                "blue river"
            } else {
                "red river"
            };
            json!({
                "text": format!("The River and the Hill of {number}."),
                "labels": [
                    {"span": [4, 9], "entity_id": "Q1", "name": river},
                    {"span": [18, 22], "entity_id": "Q2", "name": "mountain"},
                ],
            })
        })
        .collect();
    files::jsonl(&place.path("mentions.jsonl"), &documents);
    let eval = [
        "eval",
        "entities",
        "--mentions",
        "mentions.jsonl",
        "--catalog",
        "things",
        "--link",
    ];
    let report = place.json(&[&eval[..], &["--evidence", "evidence.jsonl"]].concat());
    assert_eq!(report["linking"]["found"], 1.0, "{report}");
    let fit = ["entities", "fit", "evidence.jsonl", "--out", "weights.toml"];
    let fitted = place.json(&fit);
    assert_eq!(fitted["examples"], 160);
    assert!(fitted["ways"].get("all").is_none(), "{fitted}");
    place.write(
        "config.toml",
        "[entities]\nencoder = \"tiny\"\nweights = \"weights.toml\"\n",
    );
    // What is said is how often it is so.
    let link = [
        "entities",
        "link",
        "things",
        "--text",
        "The River and the Hill of 7.",
    ];
    let linked = place.json(&link);
    let river = &linked["mentions"][0]["entity"];
    assert_eq!(river["id"], "red river", "{linked}");
    assert!(
        (0.65..0.85).contains(&river["score"].as_f64().unwrap()),
        "{linked}"
    );
    place.write("evidence.jsonl", "{}\n");
    place.refused(Code::InvalidFile, &fit);
    place.write("weights.toml", "prior = 1\n");
    place.refused(Code::InvalidConfiguration, &link);
}
