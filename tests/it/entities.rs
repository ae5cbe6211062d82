//! Promise: a catalog of entities holds the names that it was given and no others: through builds,
//! additions, removals, compactions and restarts, for every process that looks; what cannot be
//! taken is refused by name; and a damaged file is said to be one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use gleaner::config::Config;
use gleaner::entity::{
    BuildInput, BuildOptions, BuildReport, Catalogs, EntityLinker, LinkMethod, LinkRequest,
    Mentions, NewAlias, NewName, Node, RejectedName, View, Weighings,
};
use gleaner::error::{Code, Error, Result};
use gleaner::model::TextEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::files;
use crate::support::service::Service;
use crate::support::tiny_model::{TinyModel, runtime};

/// A data folder with the tokenizer of a tiny model beside it.
struct World {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("tiny");
        TinyModel::default().write(&model);
        World { folder, model }
    }

    fn catalogs(&self) -> Catalogs {
        Catalogs::new(self.folder.path())
    }

    fn options(&self) -> BuildOptions {
        BuildOptions {
            model: "tiny".into(),
            model_folder: self.model.clone(),
            max_tokens: 32,
            replace: true,
        }
    }

    fn build(&self, names: &[NewName], aliases: &[NewAlias]) -> (BuildReport, Vec<RejectedName>) {
        let mut rejected = Vec::new();
        let report = self
            .catalogs()
            .build(
                "test",
                &self.options(),
                BuildInput {
                    names: &mut names.iter().cloned().map(Ok),
                    aliases: &mut aliases.iter().cloned().map(Ok),
                    rejects: &mut |one| {
                        rejected.push(one);
                        Ok(())
                    },
                    progress: &mut |_| {},
                },
            )
            .unwrap();
        (report, rejected)
    }
}

fn plain(name: &str) -> NewName {
    NewName {
        name: name.into(),
        ..NewName::default()
    }
}

fn of(id: &str, name: &str) -> NewName {
    NewName {
        id: Some(id.into()),
        ..plain(name)
    }
}

/// Everything that can be written, by walking every path: names and ids.
fn everything(view: &View) -> BTreeSet<(String, String)> {
    fn below(view: &View, node: Node, found: &mut BTreeSet<(String, String)>) {
        for number in view.names_at(node) {
            let record = view.record(number).unwrap().unwrap();
            assert!(found.insert((record.name, record.id)), "a name came twice");
        }
        let mut children = Vec::new();
        view.children(node, &mut children);
        assert!(children.is_sorted_by(|a, b| a.0 < b.0));
        // Every path leads to a name.
        assert!(!children.is_empty() || view.ends(node) || node == view.root());
        for (token, child) in children {
            assert_eq!(view.child(node, token), Some(child));
            below(view, child, found);
        }
    }
    let mut found = BTreeSet::new();
    below(view, view.root(), &mut found);
    assert_eq!(found.len(), view.len());
    found
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(u8, u8)>),
    Remove(u8),
    RemoveName(u8, u8),
    Compact,
    Reopen,
}

/// Names that share words, some of which the tokenizer does not tell apart.
fn name(number: u8) -> String {
    let words = ["red", "river", "the", "cat", "Red", "in x"];
    let at = |n: u8| words[usize::from(n) % words.len()];
    match number % 3 {
        0 => at(number / 3).to_owned(),
        1 => format!("{} {}", at(number / 3), at(number / 5)),
        _ => format!("{} {} {}", at(number / 3), at(number / 5), at(number / 7)),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0_u8..8, 0_u8..60), 1..4).prop_map(Step::Add),
        2 => (0_u8..8).prop_map(Step::Remove),
        2 => (0_u8..8, 0_u8..60).prop_map(|(id, name)| Step::RemoveName(id, name)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_catalog_is_the_set_of_what_was_added_and_not_removed(
        first in prop::collection::vec((0_u8..8, 0_u8..60), 0..20),
        steps in prop::collection::vec(step(), 0..25),
    ) {
        let world = World::new();
        let new = |&(id, number): &(u8, u8)| of(&format!("q{id}"), &name(number));
        world.build(&first.iter().map(new).collect::<Vec<_>>(), &[]);
        let pair = |&(id, number): &(u8, u8)| (name(number), format!("q{id}"));
        let mut model: BTreeSet<(String, String)> = first.iter().map(pair).collect();
        let mut catalogs = world.catalogs();
        // Another process, as it were, that looks all the time.
        let other = world.catalogs();
        for step in &steps {
            match step {
                Step::Add(names) => {
                    let report = catalogs.add("test", names.iter().map(new).collect()).unwrap();
                    prop_assert_eq!(report.added + report.replaced, names.len());
                    model.extend(names.iter().map(pair));
                }
                Step::Remove(id) => {
                    let id = format!("q{id}");
                    let gone = model.iter().filter(|(_, other)| *other == id).count();
                    match catalogs.remove("test", &id, None) {
                        Ok(count) => prop_assert_eq!(count, gone),
                        Err(error) => {
                            prop_assert_eq!(code(&error), Some(Code::EntityNotFound));
                            prop_assert_eq!(gone, 0);
                        }
                    }
                    model.retain(|(_, other)| *other != id);
                }
                Step::RemoveName(id, number) => {
                    let (name, id) = pair(&(*id, *number));
                    let was = model.remove(&(name.clone(), id.clone()));
                    let removed = catalogs.remove("test", &id, Some(&name));
                    prop_assert_eq!(removed.is_ok(), was);
                }
                Step::Compact => {
                    let report = catalogs.compact("test").unwrap();
                    prop_assert_eq!(report.names as usize, model.len());
                }
                Step::Reopen => catalogs = world.catalogs(),
            }
            prop_assert_eq!(&everything(&catalogs.view("test").unwrap()), &model);
            prop_assert_eq!(&everything(&other.view("test").unwrap()), &model);
        }
        let mut by_id: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, id) in model {
            by_id.entry(id).or_default().insert(name);
        }
        for id in (0..8).map(|id| format!("q{id}")) {
            let names = catalogs.entity("test", &id);
            let names = names.map(|records| records.into_iter().map(|r| r.name).collect());
            prop_assert_eq!(names.ok(), by_id.get(&id).cloned());
        }
    }
}

fn code(error: &Error) -> Option<Code> {
    error.problem().map(|problem| problem.code)
}

/// Names that an alias stands for, with counts.
fn aliased(view: &View, alias: &str) -> Vec<(String, u32)> {
    let tokens = view.tokenizer().tokens(alias).unwrap().unwrap();
    let aliases = view.aliased(&tokens).into_iter();
    aliases
        .map(|alias| {
            let record = view.record(alias.name).unwrap().unwrap();
            (record.name, alias.count)
        })
        .collect()
}

#[test]
fn aliases_stand_for_names_and_stay_with_them() {
    let world = World::new();
    let names = [
        NewName {
            aliases: vec!["the water".into(), "stream".into()],
            description: Some("water that goes by".into()),
            popularity: Some(7.0),
            ..of("q1", "river")
        },
        of("q2", "mountain"),
        of("q3", "river water"),
    ];
    let alias = |alias: &str, name: &str, count| NewAlias {
        alias: alias.into(),
        name: name.into(),
        count,
    };
    let aliases = [
        alias("the water", "river water", 30),
        alias("the water", "nothing", 3),
        alias("hill", "mountain", 2),
        alias("hill", "mountain", 3),
    ];
    let (report, _) = world.build(&names, &aliases);
    assert_eq!((report.aliases, report.unknown_targets), (3, 1));
    let catalogs = world.catalogs();
    let check = |catalogs: &Catalogs| {
        let view = catalogs.view("test").unwrap();
        let water = [("river water".to_owned(), 30), ("river".to_owned(), 1)];
        assert_eq!(aliased(&view, "the water"), water);
        assert_eq!(aliased(&view, "hill"), [("mountain".to_owned(), 5)]);
        assert!(aliased(&view, "the").is_empty());
    };
    check(&catalogs);
    let record = &catalogs.entity("test", "q1").unwrap()[0];
    assert_eq!(record.description.as_deref(), Some("water that goes by"));
    assert_eq!(record.popularity, Some(7.0));

    // A name that comes anew keeps its aliases, and gets further ones.
    let anew = NewName {
        aliases: vec!["brook".into()],
        ..of("q1", "river")
    };
    let report = catalogs.add("test", vec![anew.clone()]).unwrap();
    assert_eq!((report.added, report.replaced), (0, 1));
    catalogs.add("test", vec![of("q1", "river")]).unwrap();
    assert_eq!(catalogs.entity("test", "q1").unwrap()[0].description, None);
    for _ in 0..2 {
        check(&catalogs);
        let view = catalogs.view("test").unwrap();
        assert_eq!(aliased(&view, "brook"), [("river".to_owned(), 1)]);
        catalogs.compact("test").unwrap();
    }
    catalogs.remove("test", "q1", None).unwrap();
    let view = catalogs.view("test").unwrap();
    assert!(aliased(&view, "brook").is_empty() && aliased(&view, "stream").is_empty());
    assert_eq!(aliased(&view, "the water").len(), 1);
}

#[test]
fn a_build_says_what_it_did_not_take() {
    let world = World::new();
    let long = "red ".repeat(40);
    let names = [
        plain("red river"),
        plain("red river"),
        plain("Red River"),
        plain(" "),
        plain("red\u{7}river"),
        plain("日本"),
        plain("[SEP]"),
        plain(&long),
        NewName {
            popularity: Some(f32::NAN),
            ..plain("blue")
        },
        of("", "green"),
        NewName {
            aliases: vec!["".into(), "the cat".into()],
            ..plain("cat")
        },
    ];
    let (report, rejected) = world.build(&names, &[]);
    let rows: Vec<u64> = rejected.iter().map(|one| one.row).collect();
    assert_eq!(rows, [4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(
        rejected
            .iter()
            .all(|one| one.problem.code == Code::InvalidName)
    );
    let fields: Vec<&str> = rejected
        .iter()
        .map(|one| one.problem.field.as_deref().unwrap())
        .collect();
    assert_eq!(fields[5..], ["popularity", "id", "aliases"]);
    assert_eq!((report.duplicates, report.rejected), (1, 8));
    let found = everything(&world.catalogs().view("test").unwrap());
    let found: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let spelled_alike = report.names - report.spellings;
    assert_eq!(found, ["Red River", "cat", "red river"]);
    assert!(spelled_alike <= 1);
    // Adding is all or nothing, and names what is wrong.
    let catalogs = world.catalogs();
    let error = catalogs
        .add("test", vec![plain("wind"), plain("")])
        .unwrap_err();
    assert_eq!(code(&error), Some(Code::InvalidName));
    assert!(error.to_string().contains("names[1].name"), "{error}");
    assert_eq!(catalogs.view("test").unwrap().len(), 3);
}

#[test]
fn a_build_that_fails_leaves_the_catalog_as_it_was() {
    let world = World::new();
    world.build(&[plain("red")], &[]);
    let catalogs = world.catalogs();
    let view = catalogs.view("test").unwrap();
    let broken: Result<NewName> = Err(Error::operator("the disk fails"));
    let failed = catalogs.build(
        "test",
        &world.options(),
        BuildInput {
            names: &mut [Ok(plain("blue")), broken].into_iter(),
            aliases: &mut std::iter::empty(),
            rejects: &mut |_| Ok(()),
            progress: &mut |_| {},
        },
    );
    assert!(matches!(failed, Err(Error::Operator(_))));
    assert_eq!(everything(&catalogs.view("test").unwrap()).len(), 1);
    // Nothing is left behind: one generation, the manifest, the locks.
    let entries = std::fs::read_dir(world.folder.path().join("entities/test")).unwrap();
    assert_eq!(entries.count(), 4);
    // Whoever holds a view goes on with it when the catalog is replaced.
    world.build(&[plain("blue"), plain("green")], &[]);
    assert_eq!(everything(&view), everything(&view));
    assert_eq!(everything(&catalogs.view("test").unwrap()).len(), 2);
    let error = world.catalogs().view("none").err().unwrap();
    assert_eq!(code(&error), Some(Code::CatalogNotFound));
    for name in ["../test", "", "A"] {
        let error = world.catalogs().view(name).err().unwrap();
        assert_eq!(code(&error), Some(Code::CatalogNotFound));
    }
    assert!(world.catalogs().add("none", vec![plain("red")]).is_err());
    assert_eq!(world.catalogs().names().unwrap(), ["test"]);
}

/// The folder of the generation that counts.
fn generation(world: &World) -> PathBuf {
    let entries = std::fs::read_dir(world.folder.path().join("entities/test")).unwrap();
    let folders = entries.flatten().map(|entry| entry.path());
    let mut folders = folders.filter(|path| path.is_dir());
    folders.next().unwrap()
}

#[test]
fn a_damaged_file_is_the_operators() {
    let world = World::new();
    let names: Vec<NewName> = (0..60)
        .map(|number| NewName {
            aliases: vec![format!("a {}", name(number))],
            description: Some("what it is".into()),
            popularity: Some(1.0),
            ..of(&format!("q{number}"), &name(number))
        })
        .collect();
    world.build(&names, &[]);
    let file = generation(&world).join("names.bin");
    let whole = std::fs::read(&file).unwrap();
    let is_damaged = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let opened = world.catalogs().view("test");
        matches!(opened, Err(Error::Operator(_)))
    };
    for cut in (0..whole.len()).step_by(97) {
        assert!(is_damaged(&whole[..cut]), "cut at {cut}");
    }
    for at in (0..whole.len()).step_by(131) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        // Between sections lies nothing that counts.
        let error = is_damaged(&bytes);
        assert!(error || bytes[at] == 0x10, "changed at {at}");
    }
    assert!(!is_damaged(&whole));
    let manifest = world.folder.path().join("entities/test/catalog.json");
    for text in ["", "{}", "{\"version\": 9}"] {
        std::fs::write(&manifest, text).unwrap();
        let opened = world.catalogs().view("test");
        assert!(matches!(opened, Err(Error::Operator(_))), "{text}");
    }
}

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
fn evaluation_counts_what_is_right() {
    let place = Place::with_model("tiny");
    place.write("config.toml", "[entities]\nencoder = \"tiny\"\n");
    place.write("titles.txt", "red_river\nblue_bird\nmountain\n");
    // Right by the count, wrong by it, out of reach, and one that means nothing.
    place.write(
        "mention_candidates.tsv.gz",
        files::gzip(
            "River\tRed River\t90\nRiver\tBlue Bird\t1\nBird\tRed River\t9\nBird\tBlue Bird\t1\n",
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
    // Two answers, one right, to three questions.
    assert!(close(&prior["micro_f1"], 0.4), "{report}");
    // Of the titles, only the river's whole name is spelled in the text.
    let report = place.json(&[&eval[..], &["--link"]].concat());
    assert!(close(&report["ceiling"], 0.0), "{report}");
    assert!(close(&report["linking"]["recall"], 0.0), "{report}");
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

/// With an encoder named `tiny`.
fn with_encoder(config: &mut Config) {
    let models = config.data.folder.join("models");
    if !models.exists() {
        TinyModel::default().write(&models.join("tiny"));
    }
    config.models.folders = vec![models];
    config.entities.encoder = "tiny".into();
}

/// A service with an encoder and a catalog.
fn service() -> Service {
    let service = Service::with(with_encoder);
    let names = json!([
        {"name": "red river", "id": "q1", "popularity": 5},
        {"name": "red river city", "id": "q2", "aliases": ["red river"]},
        {"name": "mountain", "id": "q3"},
    ]);
    let answer = service.post("/v1/entities", &json!({"name": "things", "names": names}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(answer.header("location"), Some("/v1/entities/things"));
    service
}

#[test]
fn over_rest() {
    let service = service();
    let list = service.get("/v1/entities").json();
    assert_eq!(list["catalogs"][0]["names"], 3);
    let names = json!({"names": [{"name": "the sky", "id": "q 4/é"}]});
    let added = service.post("/v1/entities/things/names", &names);
    assert_eq!(
        (added.status, added.json()),
        (200, json!({"added": 1, "replaced": 0}))
    );
    let path = "/v1/entities/things/names/q%204%2F%C3%A9";
    assert_eq!(service.get(path).json()["names"][0]["name"], "the sky");
    let service = service.restart(with_encoder);
    assert_eq!(service.get(path).status, 200);
    let compacted = service.post("/v1/entities/things/compact", &json!({}));
    assert_eq!(compacted.json()["names"], 4);
    assert_eq!(service.delete(path).status, 204);
    assert_eq!(service.get("/v1/entities/things").json()["removed"], 1);
    for answer in [service.get(path), service.delete(path)] {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "entity_not_found")
        );
    }

    let text = "É Red River is by the Mountain. The river is red.";
    let asked = json!({"catalog": "things", "text": text, "threshold": 0, "alternatives": 3});
    let answer = service.post("/v1/entities:link", &asked);
    assert_eq!(answer.status, 200, "{}", answer.json());
    let mentions = answer.json()["mentions"].as_array().unwrap().clone();
    let found: Vec<(&str, u64, u64)> = mentions
        .iter()
        .map(|m| {
            (
                m["mention"].as_str().unwrap(),
                m["start"].as_u64().unwrap(),
                m["end"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [("Red River", 2, 11), ("Mountain", 22, 30)]);
    assert_eq!(mentions[1]["entity"]["id"], "q3");
    assert_eq!(mentions[0]["alternatives"].as_array().unwrap().len(), 1);

    let asked = json!({"catalog": "things", "text": text, "start": 2, "end": 11, "threshold": 0,
                       "candidates": ["mountain", "q2"]});
    let answer = service.post("/v1/entities:disambiguate", &asked).json();
    let mut ids = vec![answer["entity"]["id"].as_str().unwrap()];
    ids.extend(
        answer["alternatives"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["id"].as_str().unwrap()),
    );
    ids.sort();
    assert_eq!(ids, ["q2", "q3"]);
    let shares = answer["alternatives"][0]["score"].as_f64().unwrap()
        + answer["entity"]["score"].as_f64().unwrap()
        + answer["none"].as_f64().unwrap();
    assert!((shares - 1.0).abs() < 1e-4, "{answer}");
    // With a threshold that nothing reaches, none of the catalog is meant.
    let sure = json!({"catalog": "things", "text": text, "start": 2, "end": 11, "threshold": 1});
    assert!(service.post("/v1/entities:disambiguate", &sure).json()["entity"].is_null());

    let asked = json!({"catalog": "things", "query": "how high is a mountain", "k": 2});
    let answer = service.post("/v1/entities:retrieve", &asked).json();
    assert_eq!(answer["entities"][0]["id"], "q3");
    assert_eq!(service.delete("/v1/entities/things").status, 204);
    assert_eq!(
        service.post("/v1/entities:retrieve", &asked).code(),
        "catalog_not_found"
    );
}

#[test]
fn requests_that_cannot_be_answered_change_nothing() {
    let service = service();
    let text = "red river \u{1} end";
    let long = "a ".repeat(500_000);
    let disambiguate = |start: usize, end: usize| {
        (
            "disambiguate",
            json!({"catalog": "things", "text": text, "start": start, "end": end}),
        )
    };
    for ((action, request), code, field) in [
        (disambiguate(3, 3), "invalid_request", "end"),
        (disambiguate(5, 2), "invalid_request", "end"),
        (disambiguate(0, 99), "invalid_request", "end"),
        (disambiguate(90, 99), "invalid_request", "start"),
        (disambiguate(9, 12), "invalid_request", "start"),
        (
            ("link", json!({"catalog": "things", "text": long})),
            "limit_exceeded",
            "text",
        ),
        (
            ("link", json!({"catalog": "things", "text": " "})),
            "invalid_request",
            "text",
        ),
        (
            ("link", json!({"catalog": "none", "text": "a"})),
            "catalog_not_found",
            "catalog",
        ),
        (
            (
                "link",
                json!({"catalog": "things", "text": "a", "threshold": 2}),
            ),
            "invalid_request",
            "threshold",
        ),
        (
            (
                "retrieve",
                json!({"catalog": "things", "query": "a", "k": 0}),
            ),
            "invalid_request",
            "k",
        ),
        (
            (
                "disambiguate",
                json!({"catalog": "things", "text": "a", "start": 0, "end": 1, "candidates": ["none"]}),
            ),
            "entity_not_found",
            "candidates[0]",
        ),
    ] {
        let answer = service.post(&format!("/v1/entities:{action}"), &request);
        assert_eq!(answer.code(), code, "{action}: {}", answer.json());
        assert_eq!(
            answer.json()["error"]["field"],
            field,
            "{action}: {}",
            answer.json()
        );
    }
    let many = vec![json!({"name": "a"}); 10_001];
    for (names, code) in [
        (json!([{"name": "fine"}, {"name": "\u{7}"}]), "invalid_name"),
        (json!([{"name": "a".repeat(10_000)}]), "invalid_name"),
        (json!([{"name": "a b ".repeat(200)}]), "invalid_name"),
        (json!(many), "limit_exceeded"),
    ] {
        let answer = service.post("/v1/entities/things/names", &json!({"names": names}));
        assert_eq!(answer.code(), code, "{}", answer.json());
        let answer = service.post("/v1/entities", &json!({"name": "more", "names": names}));
        assert_eq!(answer.code(), code, "{}", answer.json());
    }
    let answer = service.post("/v1/entities", &json!({"name": "things", "names": []}));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "catalog_exists")
    );
    assert_eq!(service.get("/v1/entities/more").status, 404);
    assert_eq!(service.get("/v1/entities/things").json()["names"], 3);
}

#[test]
fn no_text_is_linked_to_what_is_not_in_the_catalog() {
    let world = World::new();
    let names: Vec<NewName> = (0..60).map(|number| plain(&name(number))).collect();
    let (_, _) = world.build(&names, &[]);
    let view = world.catalogs().view("test").unwrap();
    let known: BTreeSet<String> = names.into_iter().map(|new| new.name).collect();
    let encoder = TextEncoder::open(&world.model, &runtime()).unwrap();
    let linker = EntityLinker::new(encoder, None, &Weighings::shipped().unwrap());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let words = prop::sample::select(vec![
        "Red", "red", "River", "cat", "The", "in", "x", "é", ".", " ", "\u{0}", "[SEP]", "ﬁ", "\n",
        "\u{202e}", "👍",
    ]);
    runner
        .run(&prop::collection::vec(words, 1..30), |words| {
            let text = words.join(" ");
            let request = LinkRequest {
                catalog: String::new(),
                text: text.clone(),
                method: LinkMethod::Detect,
                mentions: Mentions::All,
                threshold: Some(0.0),
                alternatives: 100,
            };
            if text.trim().is_empty() {
                return Ok(());
            }
            let mut last = 0;
            for mention in linker.link(&view, &request).unwrap().mentions {
                let span: String = text
                    .chars()
                    .skip(mention.start)
                    .take(mention.end - mention.start)
                    .collect();
                prop_assert_eq!(&span, &mention.mention);
                prop_assert!(mention.start >= last && mention.end > mention.start);
                last = mention.end;
                for entity in mention.entity.iter().chain(&mention.alternatives) {
                    prop_assert!(known.contains(&entity.name));
                    prop_assert!((0.0..=1.001).contains(&entity.score));
                }
            }
            Ok(())
        })
        .unwrap();
}
