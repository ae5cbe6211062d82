//! Promise: texts are linked to what a catalog has and to nothing else, over REST and on the command
//! line; what cannot be answered is refused and changes nothing; and what is measured of linking is
//! what is right.

use std::collections::BTreeSet;

use gleaner::config::Config;
use gleaner::entity::{
    BuildInput, BuildOptions, DisambiguateRequest, EntityLinker, LinkMethod, LinkRequest, Mentions,
    NewName, RetrieveEntitiesRequest, Way, Weighings,
};
use gleaner::error::Code;
use gleaner::model::{Generator, TextEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::files;
use crate::support::names::{World, name, plain};
use crate::support::service::Service;
use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::toy_generator;

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
            (
                "link",
                json!({"catalog": "things", "text": "a", "method": "annotate"}),
            ),
            "invalid_request",
            "method",
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
                "retrieve",
                json!({"catalog": "things", "query": "a", "samples": 5}),
            ),
            "invalid_request",
            "samples",
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

fn link_request(text: &str) -> LinkRequest {
    LinkRequest {
        catalog: String::new(),
        text: text.into(),
        method: LinkMethod::Detect,
        mentions: Mentions::All,
        threshold: None,
        alternatives: 0,
    }
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
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(10_000));
    let words = prop::sample::select(vec![
        "Red", "red", "River", "cat", "The", "in", "x", "é", ".", " ", "\u{0}", "[SEP]", "ﬁ", "\n",
        "\u{202e}", "👍",
    ]);
    let words = prop::collection::vec(words, 1..30).prop_map(|words| words.join(" "));
    let texts = prop_oneof![4 => words, 1 => "\\PC{0,60}", 1 => any::<String>()];
    runner
        .run(&texts, |text| {
            let request = LinkRequest {
                threshold: Some(0.0),
                alternatives: 100,
                ..link_request(&text)
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

#[test]
fn what_a_generator_writes_is_in_the_catalog_whatever_it_reads() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    toy_generator::write(&folder);
    let names = ["red river", "Red River", "the city", "cat", "river . x"];
    let options = BuildOptions {
        model: "toy".into(),
        model_folder: folder.clone(),
        ..world.options()
    };
    let input = BuildInput {
        names: &mut names.iter().map(|name| Ok(plain(name))),
        aliases: &mut std::iter::empty(),
        rejects: &mut |rejected| panic!("{rejected:?}"),
        progress: &mut |_| {},
    };
    world.catalogs().build("test", &options, input).unwrap();
    let view = world.catalogs().view("test").unwrap();
    let encoder = TextEncoder::open(&world.model, &runtime()).unwrap();
    let generator = Generator::open(&folder, &runtime()).unwrap();
    // Shipped weights may leave the generator aside.
    let mut weighings = Weighings::shipped().unwrap();
    let mut weights = weighings.used(false).1;
    (weights.candidate.generated, weights.none.generated) = (0.5, 0.5);
    weighings.with_generator = Way::All;
    weighings.ways.insert(Way::All, weights);
    let linker = EntityLinker::new(encoder, Some(generator), &weighings);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    let words = prop::sample::select(toy_generator::WORDS.to_vec());
    let texts = prop::collection::vec(words, 1..60).prop_map(|words| words.join(" "));
    let annotated = std::cell::Cell::new(0);
    runner
        .run(&texts, |text| {
            let request = LinkRequest {
                method: LinkMethod::Annotate,
                threshold: Some(0.0),
                alternatives: 100,
                ..link_request(&text)
            };
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
                prop_assert!(mention.entity.is_some());
                for entity in mention.entity.iter().chain(&mention.alternatives) {
                    prop_assert!(names.contains(&entity.name.as_str()), "{}", entity.name);
                    prop_assert!((0.0..=1.0).contains(&entity.score));
                }
            }
            annotated.set(annotated.get() + usize::from(last > 0));
            let found = linker.retrieve(
                &view,
                &RetrieveEntitiesRequest {
                    catalog: String::new(),
                    query: text.clone(),
                    k: None,
                    samples: None,
                },
            );
            // A beam of ten reaches all five, each once.
            let found: BTreeSet<String> = found
                .unwrap()
                .entities
                .into_iter()
                .map(|e| e.name)
                .collect();
            prop_assert_eq!(found, names.iter().map(|name| (*name).to_owned()).collect());
            let drawn = RetrieveEntitiesRequest {
                catalog: String::new(),
                query: text.clone(),
                k: None,
                samples: Some(20),
            };
            let drawn = linker.retrieve(&view, &drawn).unwrap().entities;
            let shares: f32 = drawn.iter().map(|entity| entity.score).sum();
            prop_assert!((shares - 1.0).abs() < 1e-4);
            prop_assert!(
                drawn
                    .iter()
                    .all(|entity| names.contains(&entity.name.as_str()))
            );
            // A mention that names nothing may mean whatever is written for it.
            let Some(at) = text.find("in") else {
                return Ok(());
            };
            let marked = linker.disambiguate(
                &view,
                &DisambiguateRequest {
                    catalog: String::new(),
                    start: at,
                    end: at + 2,
                    text: text.clone(),
                    candidates: Vec::new(),
                    threshold: Some(0.0),
                    alternatives: None,
                },
            );
            let marked = marked.unwrap();
            prop_assert!(marked.entity.is_some() && marked.alternatives.len() == 4);
            Ok(())
        })
        .unwrap();
    assert!(annotated.get() > 10, "{annotated:?}");
}
