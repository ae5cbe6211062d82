//! Promise: texts are linked to what a catalog has and to nothing else, whatever they say, however
//! its tokenizer spells, and as long as somebody waits for it.

use std::collections::BTreeSet;
use std::path::Path;

use gleaner::entity::decode::Marks;
use gleaner::entity::{
    BuildInput, BuildOptions, DisambiguateRequest, EntityLinker, LinkDegraded, LinkMethod,
    LinkRequest, Mentions, NewName, RetrieveEntitiesRequest, RetrieveEntitiesResponse, View, Way,
    Weighings,
};
use gleaner::error::Code;
use gleaner::model::{Cancellation, Generator, TextEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::names::{World, name, plain};
use crate::support::tiny_model::runtime;
use crate::support::toy_generator;

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
    let linker = EntityLinker::new(encoder, Some(generator), &generating());
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

/// A catalog of names in the tokens of a folder, and a linker with the generator of another one.
fn with_generator(
    world: &World,
    speller: &Path,
    generator: &Path,
    names: &[NewName],
) -> (View, EntityLinker) {
    let options = BuildOptions {
        model: "toy".into(),
        model_folder: speller.to_owned(),
        ..world.options()
    };
    let input = BuildInput {
        names: &mut names.iter().cloned().map(Ok),
        aliases: &mut std::iter::empty(),
        rejects: &mut |rejected| panic!("{rejected:?}"),
        progress: &mut |_| {},
    };
    world.catalogs().build("test", &options, input).unwrap();
    let view = world.catalogs().view("test").unwrap();
    let encoder = TextEncoder::open(&world.model, &runtime()).unwrap();
    let generator = Generator::open(generator, &runtime()).unwrap();
    (
        view,
        EntityLinker::new(encoder, Some(generator), &generating()),
    )
}

/// Weights that count what a generator writes.
fn generating() -> Weighings {
    // Shipped weights may leave the generator aside.
    let mut weighings = Weighings::shipped().unwrap();
    let mut weights = weighings.used(false).1;
    (weights.candidate.generated, weights.none.generated) = (0.5, 0.5);
    weighings.with_generator = Way::All;
    weighings.ways.insert(Way::All, weights);
    weighings
}

fn retrieve_request(query: &str, k: usize, samples: Option<usize>) -> RetrieveEntitiesRequest {
    RetrieveEntitiesRequest {
        catalog: String::new(),
        query: query.into(),
        k: Some(k),
        samples,
    }
}

fn disambiguate_request(text: &str, end: usize, candidates: &[&str]) -> DisambiguateRequest {
    DisambiguateRequest {
        catalog: String::new(),
        text: text.into(),
        start: 0,
        end,
        candidates: candidates.iter().map(|name| (*name).to_owned()).collect(),
        threshold: Some(0.0),
        alternatives: Some(100),
    }
}

#[test]
fn as_many_entities_are_retrieved_as_are_asked_for_however_many_names_they_have() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    toy_generator::write(&folder);
    // Twelve entities of eight names each.
    let words = &toy_generator::WORDS[8..];
    let names: Vec<NewName> = (0..96)
        .map(|number| NewName {
            id: Some(format!("q{:02}", number / 8)),
            ..plain(&format!("{} {}", words[number % 10], words[number / 10]))
        })
        .collect();
    let (view, linker) = with_generator(&world, &folder, &folder, &names);
    for k in [1, 5, 10, 12, 50] {
        let found = linker
            .retrieve(&view, &retrieve_request("the red river", k, None))
            .unwrap();
        let entities = found.entities;
        assert_eq!(entities.len(), k.min(12));
        assert!(
            entities.is_sorted_by(|a, b| a.score > b.score),
            "{entities:?}"
        );
        let sum: f32 = entities.iter().map(|entity| entity.score).sum();
        assert!(sum <= 1.0 + 1e-4 && (k < 12 || sum > 0.999), "{sum}");
    }
}

#[test]
fn names_are_given_by_the_entity_and_none_is_dropped() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    toy_generator::write(&folder);
    let words = &toy_generator::WORDS[8..];
    let at = |number: usize| {
        format!(
            "{} {} {} {}",
            words[number % 10],
            words[number / 10 % 10],
            words[number / 100 % 10],
            words[number / 1000]
        )
    };
    let names: Vec<NewName> = (0..1_400)
        .map(|number| NewName {
            id: Some(
                if number < 600 {
                    "q1"
                } else if number < 601 {
                    "q2"
                } else {
                    "q3"
                }
                .to_owned(),
            ),
            // The one name of the second is the least popular.
            popularity: Some(if number == 600 { 0.0 } else { 9.0 }),
            ..plain(&at(number))
        })
        .collect();
    let (view, linker) = with_generator(&world, &folder, &folder, &names);
    let answer = linker.disambiguate(
        &view,
        &disambiguate_request("The red city", 7, &["q1", "q2"]),
    );
    let answer = answer.unwrap();
    let mut ids: Vec<String> = answer
        .alternatives
        .into_iter()
        .map(|entity| entity.id)
        .collect();
    ids.extend(answer.entity.map(|entity| entity.id));
    ids.sort();
    assert_eq!(ids, ["q1", "q2"]);
    let error = linker
        .disambiguate(
            &view,
            &disambiguate_request("The red city", 7, &["q1", "q2", "q3"]),
        )
        .unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(
        (problem.code, problem.field.as_deref()),
        (Code::LimitExceeded, Some("candidates"))
    );
}

#[test]
fn names_that_a_generator_cannot_write_are_not_written() {
    let world = World::new();
    let (folder, speller) = (
        world.folder.path().join("toy"),
        world.folder.path().join("speller"),
    );
    // It has places for six tokens; the start takes one.
    toy_generator::write_with(&folder, |config, _| {
        config["max_position_embeddings"] = json!(6);
        config["n_positions"] = json!(96);
    });
    std::fs::create_dir(&speller).unwrap();
    std::fs::copy(
        folder.join("tokenizer.json"),
        speller.join("tokenizer.json"),
    )
    .unwrap();
    let long = "red river city in the red x";
    let names = [
        plain("red river"),
        plain("red river city in the"),
        plain(long),
    ];
    // Known to be a generator, it says so at once.
    let mut rejected = Vec::new();
    let options = BuildOptions {
        model: "toy".into(),
        model_folder: folder.clone(),
        ..world.options()
    };
    let input = BuildInput {
        names: &mut names.iter().cloned().map(Ok),
        aliases: &mut std::iter::empty(),
        rejects: &mut |one| {
            rejected.push((one.row, one.problem.code));
            Ok(())
        },
        progress: &mut |_| {},
    };
    world.catalogs().build("test", &options, input).unwrap();
    assert_eq!(rejected, [(3, Code::InvalidName)]);
    let error = world.catalogs().add("test", vec![plain(long)]).unwrap_err();
    assert_eq!(
        error.problem().map(|problem| problem.code),
        Some(Code::InvalidName)
    );
    // Else they are there, and are never what it writes.
    let (view, linker) = with_generator(&world, &speller, &folder, &names);
    assert_eq!(view.len(), 3);
    let written = |found: RetrieveEntitiesResponse| {
        let mut names: Vec<String> = found.entities.into_iter().map(|one| one.name).collect();
        names.sort();
        names
    };
    let short = ["red river", "red river city in the"];
    for samples in [None, Some(200)] {
        let found = linker.retrieve(&view, &retrieve_request("the red river", 3, samples));
        assert_eq!(written(found.unwrap()), short, "{samples:?}");
    }
    let text = format!("{long} .");
    let asked = disambiguate_request(&text, long.len(), &[long, "red river"]);
    assert_eq!(
        linker
            .disambiguate(&view, &asked)
            .unwrap()
            .alternatives
            .len(),
        1
    );
    let marked = linker.disambiguate(&view, &disambiguate_request(&text, long.len(), &[]));
    assert!(marked.is_ok());
    let request = LinkRequest {
        method: LinkMethod::Annotate,
        ..link_request(&text)
    };
    for mention in linker.link(&view, &request).unwrap().mentions {
        assert!(
            mention
                .entity
                .is_none_or(|entity| short.contains(&entity.name.as_str()))
        );
    }
}

#[test]
fn what_nobody_waits_for_ends() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    toy_generator::write(&folder);
    let (view, linker) = with_generator(&world, &folder, &folder, &[plain("red river")]);
    let cancellation = Cancellation::default();
    let asked = linker.until(&cancellation);
    let annotate = LinkRequest {
        method: LinkMethod::Annotate,
        ..link_request("the red river")
    };
    assert!(asked.link(&view, &link_request("the red river")).is_ok());
    cancellation.cancel();
    for ended in [
        asked.link(&view, &link_request("the red river")).err(),
        asked.link(&view, &annotate).err(),
        asked
            .disambiguate(&view, &disambiguate_request("red river", 9, &[]))
            .err(),
        asked
            .retrieve(&view, &retrieve_request("the red river", 3, None))
            .err(),
        asked
            .retrieve(&view, &retrieve_request("the red river", 3, Some(9)))
            .err(),
    ] {
        let code = ended.and_then(|error| error.problem().map(|problem| problem.code));
        assert_eq!(code, Some(Code::Timeout));
    }
    // Others go on.
    assert!(linker.link(&view, &link_request("the red river")).is_ok());
}

#[test]
fn spans_are_right_whatever_a_tokenizer_takes_for_a_mark() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    toy_generator::write_with(&folder, |_, tokenizer| {
        tokenizer["normalizer"] = json!({"type": "NFKC"})
    });
    let names = ["red river", "the city", "cat", "in x"];
    let names: Vec<NewName> = names.map(plain).into();
    let (view, linker) = with_generator(&world, &folder, &folder, &names);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    let words = [
        "red", "river", "the", "cat", "in", "x", "\u{ff5b}", "\u{ff5d}", "\u{ff3b}", "\u{ff3d}",
    ];
    let words = prop::sample::select(words.to_vec());
    let texts = prop::collection::vec(words, 1..30).prop_map(|words| words.join(" "));
    let mentions = std::cell::Cell::new(0);
    runner
        .run(&texts, |text| {
            let request = LinkRequest {
                method: LinkMethod::Annotate,
                ..link_request(&text)
            };
            for mention in linker.link(&view, &request).unwrap().mentions {
                // By whole words, none of which was left out.
                let before = text.chars().take(mention.start).last();
                let after = text.chars().nth(mention.end);
                prop_assert!(
                    before.is_none_or(char::is_whitespace),
                    "{text}: {mention:?}"
                );
                prop_assert!(after.is_none_or(char::is_whitespace), "{text}: {mention:?}");
                prop_assert_eq!(mention.mention.trim(), &mention.mention);
                mentions.set(mentions.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(mentions.get() > 10);
}

/// A tokenizer with these parts, of these pieces.
fn tokenizer(model: Value, normalizer: Value, pre_tokenizer: Value) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": null, "model": model,
    })
}

#[test]
fn mentions_are_found_whatever_the_tokenizer_counts_to_a_word() {
    // SentencePiece's: a piece of the space and the word, whose span has both.
    let pieces = [
        "<unk>", "▁", "▁Paris", "▁New", "▁York", "Paris", "York", "▁in", "▁and", ".", "a", "北",
        "京",
    ];
    let pieces: Vec<Value> = pieces
        .iter()
        .map(|piece| json!([piece, if *piece == "<unk>" { 0.0 } else { -1.0 }]))
        .collect();
    let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false});
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
    // GPT's and BART's: bytes as characters, the space before a word one of them.
    let mut vocabulary = serde_json::Map::new();
    for byte in 33_u8..127 {
        let id = vocabulary.len();
        vocabulary.insert(char::from(byte).to_string(), json!(id));
    }
    for character in (0xa1..=0xac_u32).chain(0xae..=0xff).chain(0x100..=0x143) {
        let id = vocabulary.len();
        vocabulary.insert(char::from_u32(character).unwrap().to_string(), json!(id));
    }
    for merged in ["ĠP", "Pa", "ĠPa"] {
        let id = vocabulary.len();
        vocabulary.insert(merged.into(), json!(id));
    }
    let bpe = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "vocab": vocabulary, "merges": ["Ġ P", "P a", "ĠP a"],
    });
    let bytes = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": false, "use_regex": true});
    let words = json!({"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "Paris": 1, "New": 2, "York": 3, "北": 4, "京": 5}});
    let han = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                     "strip_accents": false, "lowercase": false});
    let text = "I am in Paris. I go to New York and Paris, not Parisian. 我在北京。";
    for (at, tokenizer) in [
        tokenizer(unigram.clone(), Value::Null, metaspace("always")),
        tokenizer(unigram, Value::Null, metaspace("first")),
        tokenizer(bpe.clone(), Value::Null, bytes(false)),
        tokenizer(bpe, Value::Null, bytes(true)),
        tokenizer(words, han, json!({"type": "BertPreTokenizer"})),
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new();
        std::fs::write(
            world.folder.path().join("other.json"),
            tokenizer.to_string(),
        )
        .unwrap();
        let folder = world.folder.path().join("speller");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let options = BuildOptions {
            model_folder: folder,
            ..world.options()
        };
        let names = ["Paris", "New York", "北京"];
        let input = BuildInput {
            names: &mut names.iter().map(|name| Ok(plain(name))),
            aliases: &mut std::iter::empty(),
            rejects: &mut |rejected| panic!("{at}: {rejected:?}"),
            progress: &mut |_| {},
        };
        world.catalogs().build("test", &options, input).unwrap();
        let view = world.catalogs().view("test").unwrap();
        let encoder = TextEncoder::open(&world.model, &runtime()).unwrap();
        let linker = EntityLinker::new(encoder, None, &Weighings::shipped().unwrap());
        for which in [Mentions::All, Mentions::Capitalized] {
            let request = LinkRequest {
                mentions: which,
                ..link_request(text)
            };
            let linked = linker.link(&view, &request).unwrap();
            let found: Vec<(&str, usize)> = linked
                .mentions
                .iter()
                .map(|one| (one.mention.as_str(), one.start))
                .collect();
            let expected = [("Paris", 8), ("New York", 23), ("Paris", 36), ("北京", 59)];
            assert_eq!(found, expected, "tokenizer {at}");
        }
    }
}

#[test]
fn a_catalog_of_another_spelling_is_linked_without_the_generator() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    toy_generator::write(&folder);
    // In the tokens of the encoder.
    world.build(&[plain("red river"), plain("the city")], &[]);
    let view = world.catalogs().view("test").unwrap();
    let open = |generator: bool| {
        let encoder = TextEncoder::open(&world.model, &runtime()).unwrap();
        let generator = generator.then(|| Generator::open(&folder, &runtime()).unwrap());
        EntityLinker::new(encoder, generator, &generating())
    };
    let (with, without) = (open(true), open(false));
    let lost = |degraded: Option<LinkDegraded>| degraded.map(|degraded| degraded.lost);
    let text = "a red river in the city";
    let linked = with.link(&view, &link_request(text)).unwrap();
    let alone = without.link(&view, &link_request(text)).unwrap();
    assert_eq!(linked.mentions, alone.mentions);
    assert_eq!(linked.mentions.len(), 2);
    let marked = disambiguate_request("red river", 9, &[]);
    let marked = with.disambiguate(&view, &marked).unwrap();
    let query = with
        .retrieve(&view, &retrieve_request(text, 5, None))
        .unwrap();
    assert_eq!(query.entities.len(), 2);
    for degraded in [linked.degraded, marked.degraded, query.degraded] {
        assert_eq!(lost(degraded), Some("generator".into()));
    }
    assert_eq!(lost(alone.degraded), None);
    // What only a generator can do is refused.
    let annotate = LinkRequest {
        method: LinkMethod::Annotate,
        ..link_request(text)
    };
    for refused in [
        with.link(&view, &annotate).err(),
        with.retrieve(&view, &retrieve_request(text, 5, Some(3)))
            .err(),
    ] {
        let code = refused.and_then(|error| error.problem().map(|problem| problem.code));
        assert_eq!(code, Some(Code::ModelMismatch));
    }
}

#[test]
fn texts_are_annotated_with_words_as_they_are_spelled_behind_a_space() {
    let world = World::new();
    let folder = world.folder.path().join("toy");
    // As GPT's and BART's: the space before a word is of its token.
    toy_generator::write_with(&folder, |_, tokenizer| {
        let mut vocabulary = serde_json::Map::new();
        for (id, word) in toy_generator::WORDS.iter().enumerate() {
            let word = if id < 3 {
                (*word).to_owned()
            } else {
                format!("Ġ{word}")
            };
            vocabulary.insert(word, json!(id));
        }
        tokenizer["model"]["vocab"] = vocabulary.into();
        tokenizer["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": false,
                                            "trim_offsets": false, "use_regex": true});
    });
    let names = ["red river", "the city", "cat"];
    let options = BuildOptions {
        model: "toy".into(),
        model_folder: folder.clone(),
        after_space: true,
        ..world.options()
    };
    let input = BuildInput {
        names: &mut names.iter().map(|name| Ok(plain(name))),
        aliases: &mut std::iter::empty(),
        rejects: &mut |rejected| panic!("{rejected:?}"),
        progress: &mut |_| {},
    };
    let catalogs = world.catalogs();
    catalogs.build("test", &options, input).unwrap();
    catalogs.add("test", vec![plain("river")]).unwrap();
    for _ in 0..2 {
        let view = world.catalogs().view("test").unwrap();
        let id = |word: &str| {
            toy_generator::WORDS
                .iter()
                .position(|other| *other == word)
                .unwrap() as u32
        };
        let spelled = view.tokenizer().tokens("red river").unwrap();
        assert_eq!(spelled, Some(vec![id("red"), id("river")]));
        let marks = Marks::of(view.tokenizer()).unwrap().unwrap();
        assert_eq!(
            [marks.open, marks.close, marks.left, marks.right],
            [3, 4, 5, 6]
        );
        let encoder = TextEncoder::open(&world.model, &runtime()).unwrap();
        let generator = Generator::open(&folder, &runtime()).unwrap();
        let linker = EntityLinker::new(encoder, Some(generator), &generating());
        let mut annotated = 0;
        for number in 0..40 {
            let words = ["red river", "the city", "in", "x", "cat"];
            let at = |by: usize| words[number / by % words.len()];
            let text = format!("x {} {} . {} in", at(1), at(5), at(3));
            let request = LinkRequest {
                method: LinkMethod::Annotate,
                ..link_request(&text)
            };
            for mention in linker.link(&view, &request).unwrap().mentions {
                assert_eq!(mention.mention.trim(), mention.mention, "{text}");
                annotated += 1;
            }
            // Detected they are as they are spelled there.
            let found = linker.link(&view, &link_request(&text)).unwrap().mentions;
            let found: Vec<&str> = found.iter().map(|one| one.mention.as_str()).collect();
            let there = [at(1), at(5), at(3)]
                .into_iter()
                .filter(|word| names.contains(word));
            assert_eq!(found, there.collect::<Vec<_>>(), "{text}");
        }
        assert!(annotated > 5, "{annotated}");
        assert!(catalogs.info("test").unwrap().after_space);
        catalogs.compact("test", &mut |_| {}).unwrap();
    }
}
