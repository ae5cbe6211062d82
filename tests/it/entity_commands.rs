//! Promise: a catalog is built, changed, shown, exported and removed by commands, and a command that
//! is killed has done its work or nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use gleaner::entity::Catalogs;
use gleaner::error::Code;
use serde_json::json;

use crate::support::binary::Place;
use crate::support::files;
use crate::support::names::{aliased, everything, name};

#[test]
fn the_life_of_a_catalog_on_the_command_line() {
    let place = Place::with_model("tiny");
    place.write(
        "names.txt.gz",
        files::gzip("red_river\nblue_bird\n\nblue_bird\nred\n"),
    );
    place.write(
        "aliases.tsv",
        "stream\tred_river\nbird\tblue_bird\t4\nbird\n",
    );
    let none = place.ok(&["entities", "list"]);
    assert!(none.out.contains("gleaner entities build"), "{}", none.out);
    let build = [
        "entities",
        "build",
        "things",
        "--names",
        "names.txt.gz",
        "--aliases",
        "aliases.tsv",
        "--model",
        "tiny",
        "--underscores",
        "--rejects",
        "rejects.jsonl",
    ];
    let report = place.json(&build);
    for (key, value) in [
        ("names", 3),
        ("duplicates", 1),
        ("aliases", 2),
        ("rejected", 1),
    ] {
        assert_eq!(report[key], value, "{report}");
    }
    let rejects = std::fs::read_to_string(place.path("rejects.jsonl")).unwrap();
    assert!(rejects.contains("invalid_name"), "{rejects}");
    place.refused(Code::CatalogExists, &build);
    place.ok(&[&build[..], &["--replace"]].concat());

    let shown = place.json(&["entities", "show", "things", "--id", "red river"]);
    assert_eq!(shown, json!([{"name": "red river", "id": "red river"}]));
    let add = [
        "entities",
        "add",
        "things",
        "--name",
        "green city",
        "--id",
        "q1",
        "--alias",
        "town",
        "--popularity",
        "3",
    ];
    assert_eq!(place.json(&add), json!({"added": 1, "replaced": 0}));
    place.write("more.jsonl", "{\"name\": \"fire\", \"id\": 7}\n");
    place.ok(&["entities", "add", "things", "--names", "more.jsonl"]);
    let info = place.json(&["entities", "show", "things"]);
    assert_eq!((&info["names"], &info["added"]), (&json!(5), &json!(2)));
    assert_eq!(info["aliases"], 3);
    assert_eq!(info["model"], "tiny");
    let shown = place.json(&["entities", "show", "things", "--id", "7"]);
    assert_eq!(shown[0]["name"], "fire");
    place.ok(&["entities", "remove", "things", "red"]);
    place.refused(
        Code::EntityNotFound,
        &["entities", "remove", "things", "red"],
    );
    assert_eq!(place.json(&["entities", "compact", "things"])["names"], 4);
    let info = place.json(&["entities", "show", "things"]);
    assert_eq!((&info["names"], &info["added"]), (&json!(4), &json!(0)));
    assert_eq!(place.json(&["entities", "list"])[0]["catalog"], "things");
    place.ok(&["entities", "delete", "things"]);
    place.refused(Code::CatalogNotFound, &["entities", "show", "things"]);
}

#[test]
fn names_come_from_parquet_too() {
    let place = Place::with_model("tiny");
    let rows = [
        json!({"name": "red river", "id": "q1", "aliases": ["stream", "the river"],
               "description": "water", "popularity": 12.5}),
        json!({"name": "rio rojo", "id": "q1", "aliases": [], "popularity": null}),
    ];
    files::parquet_of(&place.path("names.parquet"), &rows);
    place.ok(&[
        "entities",
        "build",
        "things",
        "--names",
        "names.parquet",
        "--model",
        "tiny",
    ]);
    let shown = place.json(&["entities", "show", "things", "--id", "q1"]);
    let names: BTreeSet<&str> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, BTreeSet::from(["red river", "rio rojo"]));
    assert_eq!(place.json(&["entities", "show", "things"])["aliases"], 2);
    // What has no names replaces nothing.
    let replace = |file: &str| {
        let build = [
            "entities",
            "build",
            "things",
            "--replace",
            "--model",
            "tiny",
            "--names",
        ];
        [&build[..], &[file]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (rows, code) in [
        (json!([{"Name": "red"}, {"id": "q1"}]), Code::InvalidFile),
        (json!([{"name": 7}, {"name": null}]), Code::InvalidName),
        (json!([]), Code::InvalidName),
    ] {
        files::jsonl(&place.path("none.jsonl"), rows.as_array().unwrap());
        let command = replace("none.jsonl");
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let refused = place.refused(code, &command);
        assert!(
            code != Code::InvalidFile || refused.contains("Name"),
            "{refused}"
        );
        assert_eq!(place.json(&["entities", "show", "things"])["names"], 2);
    }
    files::jsonl(
        &place.path("text.jsonl"),
        &[json!({"name": "red", "popularity": "3.5"})],
    );
    let command = replace("text.jsonl");
    place.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let shown = place.json(&["entities", "show", "things", "--id", "red"]);
    assert_eq!(shown[0]["popularity"], 3.5);
    place.write("not.parquet", "PAR1 no, it is not");
    let build = [
        "entities",
        "build",
        "more",
        "--names",
        "not.parquet",
        "--model",
        "tiny",
    ];
    place.refused(Code::InvalidFile, &build);
    place.refused(
        Code::ModelNotFound,
        &[
            "entities",
            "build",
            "more",
            "--names",
            "names.parquet",
            "--model",
            "none",
        ],
    );
    assert_eq!(
        place.json(&["entities", "list"]).as_array().unwrap().len(),
        1
    );
}

/// A command of the program that is killed after a while; whether it was done before.
fn killed(place: &Place, args: &[&str], after: Duration) -> bool {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("GLEANER") || name.starts_with("XDG_") {
            command.env_remove(&*name);
        }
    }
    let command = command
        .current_dir(place.folder())
        .env("HOME", place.folder())
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    let _ = child.kill();
    child.wait().unwrap().success()
}

#[test]
fn a_killed_command_has_done_its_work_or_nothing() {
    let place = Place::with_model("tiny");
    place.write("names.txt", "red\nriver\n");
    let many: String = (0..3_000_u32)
        .map(|number| format!("{}\n", name((number % 60) as u8)))
        .collect();
    place.write("many.txt", many);
    let build = |file: &'static str| {
        [
            "entities",
            "build",
            "things",
            "--names",
            file,
            "--model",
            "tiny",
            "--replace",
        ]
    };
    place.ok(&build("names.txt"));
    let catalogs = Catalogs::new(&place.config().data.folder);
    let look = || everything(&catalogs.view("things").unwrap());
    let mut known = look();
    // From before the program has begun to after it has ended.
    let started = std::time::Instant::now();
    place.ok(&["entities", "list"]);
    let whole = started.elapsed() * 3 / 2;
    for round in 0..16_u32 {
        let after = whole * round / 15;
        let one = (name(round as u8), format!("q{round}"));
        let add = [
            "entities", "add", "things", "--name", &one.0, "--id", &one.1,
        ];
        let done = killed(&place, &add, after);
        let found = look();
        if done || found.contains(&one) {
            known.insert(one);
        }
        assert_eq!(found, known, "round {round}");
        killed(&place, &["entities", "compact", "things"], after);
        assert_eq!(look(), known, "round {round}");
        if round % 4 == 3 {
            let (file, names) = match round % 8 {
                3 => ("many.txt", (0..60).map(name).collect()),
                _ => ("names.txt", vec!["red".to_owned(), "river".to_owned()]),
            };
            let new: BTreeSet<_> = names.into_iter().map(|name| (name.clone(), name)).collect();
            let done = killed(&place, &build(file), after);
            let found = look();
            assert!(found == new || (!done && found == known), "round {round}");
            known = found;
        }
    }
    // What they left is gone with the next that ends well.
    place.ok(&["entities", "compact", "things"]);
    assert_eq!(look(), known);
    let folder = place.config().data.folder.join("entities/things");
    let folders = std::fs::read_dir(folder).unwrap().flatten();
    assert_eq!(folders.filter(|entry| entry.path().is_dir()).count(), 1);
}

#[test]
fn what_is_exported_builds_the_same_catalog() {
    let place = Place::with_model("tiny");
    let names = [
        json!({"name": "red river", "id": "q1", "description": "water", "popularity": 2.5}),
        json!({"name": "Red River", "id": "q2"}),
        json!({"name": "the cat", "aliases": ["the water"]}),
        json!({"name": "gone", "id": "q3", "aliases": ["the cat"]}),
    ];
    files::jsonl(&place.path("names.jsonl"), &names);
    place.write("aliases.tsv", "Stream\tthe cat\t7\n");
    let build = |catalog: &str, names: &str, aliases: &str| {
        place.ok(&[
            "entities",
            "build",
            catalog,
            "--model",
            "tiny",
            "--names",
            names,
            "--aliases",
            aliases,
        ])
    };
    build("things", "names.jsonl", "aliases.tsv");
    place.ok(&["entities", "remove", "things", "q3"]);
    place.ok(&[
        "entities", "add", "things", "--name", "city", "--id", "q4", "--alias", "town",
    ]);
    let export = [
        "entities",
        "export",
        "things",
        "--names",
        "out.jsonl",
        "--aliases",
        "out.tsv",
    ];
    let exported = place.json(&export);
    assert_eq!(exported, json!({"names": 4, "aliases": 3, "left_out": 0}));
    build("again", "out.jsonl", "out.tsv");
    let catalogs = Catalogs::new(&place.config().data.folder);
    let views = ["things", "again"].map(|name| catalogs.view(name).unwrap());
    assert_eq!(everything(&views[0]), everything(&views[1]));
    for alias in ["the water", "stream", "town", "the cat"] {
        let [one, other] = views.each_ref().map(|view| aliased(view, alias));
        assert_eq!(one, other, "{alias}");
        assert_eq!(one.is_empty(), alias == "the cat");
    }
    for id in ["q1", "q2", "the cat", "q4"] {
        let [one, other] = ["things", "again"].map(|name| catalogs.entity(name, id).unwrap());
        assert_eq!(one, other);
    }
    place.refused(
        Code::CatalogNotFound,
        &["entities", "export", "none", "--names", "names.jsonl"],
    );
    assert!(!std::fs::read(place.path("names.jsonl")).unwrap().is_empty());
}
