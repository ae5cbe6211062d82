//! Searching by words: what is found, in which order, and what survives.

use std::path::Path;
use std::sync::Arc;

use gleaner::document::{
    Document, FieldDefinition, FieldType, Fields, Language, UnknownFields, validate,
};
use gleaner::error::Code;
use gleaner::filter::OrdinalSet;
use gleaner::lexical::{
    Combine, OpenError, QueryOptions, Scoring, SynonymTable, Synonyms, Typos, WordIndex,
    WordOptions, WordQuery, WordReader,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn fields() -> Fields {
    let mut fields = Fields::new();
    for (name, kind) in [
        ("title", FieldType::Text),
        ("body", FieldType::Text),
        ("lang", FieldType::Keyword),
        ("pages", FieldType::Integer),
    ] {
        let mut definition = FieldDefinition::new(kind);
        definition.analysis.language = Language::English;
        definition.many = name == "lang";
        fields.insert(name.to_string(), definition);
    }
    fields
}

fn document(json: Json) -> Document {
    validate(&fields(), "id", UnknownFields::Reject, 1 << 20, json).unwrap()
}

fn options() -> WordOptions {
    WordOptions {
        threads: 1,
        ..WordOptions::default()
    }
}

fn open(dir: &Path) -> WordIndex {
    WordIndex::open_or_rebuild(dir, &fields(), &options()).unwrap()
}

/// An index of bodies, in ordinal order.
fn index_of(dir: &Path, bodies: &[&str]) -> WordReader {
    let index = open(dir);
    for (i, body) in bodies.iter().enumerate() {
        index
            .add(i as u32, &document(json!({"id": i, "body": body})))
            .unwrap();
    }
    index.commit(1).unwrap();
    index.reader().unwrap()
}

fn query(text: &str) -> WordQuery {
    WordQuery::parse(text, &fields(), &QueryOptions::default()).unwrap()
}

fn ordinals(reader: &WordReader, query: &WordQuery) -> Vec<u32> {
    let found = reader.search(query, 100, None).unwrap();
    assert_eq!(found.matched, found.hits.len() as u64);
    let top = reader.top(query, 100, None).unwrap();
    assert_eq!(top, found.hits);
    found.hits.iter().map(|hit| hit.ordinal).collect()
}

fn sorted(mut list: Vec<u32>) -> Vec<u32> {
    list.sort_unstable();
    list
}

#[test]
fn the_syntax_finds_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for (i, json) in [
        json!({"id": 0, "title": "Foxes", "body": "The quick brown fox jumps over the lazy dog."}),
        json!({"id": 1, "title": "Dogs", "body": "A quick dog and a brown cat.", "lang": ["en"]}),
        json!({"id": 2, "title": "Running", "body": "Quickly run, runner; running is fun", "lang": ["en", "fr"]}),
        json!({"id": 3, "body": "C++ and U.S. state-of-the-art e-mail at 5:30", "pages": 300}),
        json!({"id": 4, "title": "東京都の天気", "body": "今日は東京の天気がいい"}),
        json!({"id": 5, "title": "Naïve café", "pages": 12}),
    ]
    .into_iter()
    .enumerate()
    {
        index.add(i as u32, &document(json)).unwrap();
    }
    index.commit(1).unwrap();
    let reader = index.reader().unwrap();
    assert_eq!(reader.documents(), 6);
    for (text, expected) in [
        ("fox", vec![0]),
        ("foxes", vec![0]),
        ("quick dog", vec![0, 1, 2]),
        ("\"quick dog\"", vec![1]),
        ("\"quick fox\"", vec![]),
        ("\"quick fox\"~1", vec![0]),
        ("\"fox quick\"~1", vec![]),
        ("\"jumps over the lazy\"", vec![0]),
        ("\"jumps over a lazy\"", vec![0]),
        ("\"jumps over lazy\"", vec![]),
        ("quick -fox", vec![1, 2]),
        ("quick +cat", vec![1]),
        ("-quick", vec![3, 4, 5]),
        ("quick -\"brown fox\"", vec![1, 2]),
        ("title:dogs", vec![1]),
        ("title:fox -title:dogs", vec![0]),
        ("runs", vec![2]),
        ("running*", vec![2]),
        ("qui*", vec![0, 1, 2]),
        ("fxo~", vec![0]),
        ("foks", vec![]),
        ("lang:en", vec![1, 2]),
        ("lang:en dog", vec![1]),
        ("lang:en lang:fr quick", vec![1, 2]),
        ("quick -lang:fr", vec![0, 1]),
        ("pages:300", vec![3]),
        ("c++", vec![3]),
        ("U.S.", vec![3]),
        ("us", vec![3]),
        ("state-of-the-art", vec![3]),
        ("e-mail", vec![3]),
        ("mail", vec![3]),
        ("5:30", vec![3]),
        ("東京", vec![4]),
        ("天気", vec![4]),
        ("\"東京都\"", vec![4]),
        ("大阪", vec![]),
        ("cafe", vec![5]),
        ("CAFÉ naive", vec![5]),
        ("the", vec![]),
        ("the lang:fr", vec![2]),
        ("the -fox", vec![]),
        ("", vec![]),
        ("!?", vec![]),
    ] {
        assert_eq!(sorted(ordinals(&reader, &query(text))), expected, "{text}");
    }
    let all = QueryOptions {
        all: true,
        ..QueryOptions::default()
    };
    for (text, expected) in [
        ("quick dog", vec![0, 1]),
        ("quick cat", vec![1]),
        ("the quick the cat", vec![1]),
        ("quick nowhere", vec![]),
        ("東京都 天気", vec![4]),
    ] {
        let query = WordQuery::parse(text, &fields(), &all).unwrap();
        assert_eq!(sorted(ordinals(&reader, &query)), expected, "{text}");
    }
}

/// `rarea` was the most frequent of its like and is the least; only the deleted had `rarec`.
#[test]
fn deletions_leave_no_trace_in_the_scores_of_patterns() {
    let bodies: Vec<String> = (0..40u32)
        .map(|i| match i {
            0..3 => "rarea rarec".to_string(),
            3 => "rarea and filler".to_string(),
            4..6 => format!("rareb and filler number {i}"),
            _ => format!("filler number {i}"),
        })
        .collect();
    let add = |index: &WordIndex, from: usize| {
        for (i, body) in bodies.iter().enumerate().skip(from) {
            let document = document(json!({"id": i, "body": body}));
            index.add(i as u32, &document).unwrap();
        }
        index.commit(1).unwrap();
    };
    let (before, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (before, fresh) = (open(before.path()), open(fresh.path()));
    add(&before, 0);
    // Too few for a merge, which would be rid of them.
    (0..3).for_each(|i| before.delete(i).unwrap());
    before.commit(2).unwrap();
    add(&fresh, 3);
    let (before, fresh) = (before.reader().unwrap(), fresh.reader().unwrap());
    let typos = |most| QueryOptions {
        typos: Typos {
            enabled: true,
            max_expansions: most,
            ..Typos::default()
        },
        ..QueryOptions::default()
    };
    for (text, most) in [
        ("rare*", 50),
        ("rar* filler", 50),
        ("rarex~1", 50),
        ("rarex~1", 1),
        ("rarex", 50),
        ("rarex number", 2),
    ] {
        let query = WordQuery::parse(text, &fields(), &typos(most)).unwrap();
        let expected = fresh.search(&query, 100, None).unwrap();
        let found = before.search(&query, 100, None).unwrap();
        assert!(!found.hits.is_empty(), "{text}");
        assert_eq!(found.hits, expected.hits, "{text} with {most}");
    }
}

#[test]
fn typos_and_synonyms_help_as_defined() {
    let dir = tempfile::tempdir().unwrap();
    let reader = index_of(
        dir.path(),
        &[
            "a laboratory",
            "labratory life",
            "new york hotels",
            "ny hotels",
            "york is not new",
        ],
    );
    let parse =
        |text: &str, options: &QueryOptions| WordQuery::parse(text, &fields(), options).unwrap();
    let typos = QueryOptions {
        typos: Typos {
            enabled: true,
            ..Typos::default()
        },
        ..QueryOptions::default()
    };
    assert_eq!(ordinals(&reader, &parse("laborotory", &typos)), [0, 1]);
    // A word that exists stands for itself alone.
    assert_eq!(ordinals(&reader, &parse("laboratory", &typos)), [0]);
    assert_eq!(ordinals(&reader, &query("laborotory")), [] as [u32; 0]);
    let synonyms = Synonyms {
        groups: vec![vec!["ny".into(), "new york".into()]],
        ..Synonyms::default()
    };
    synonyms.check().unwrap();
    for all in [false, true] {
        let options = QueryOptions {
            all,
            synonyms: Some(Arc::new(SynonymTable::new(&synonyms))),
            ..QueryOptions::default()
        };
        let found = ordinals(&reader, &parse("ny hotels", &options));
        assert_eq!(found, [3, 2], "the word that was typed counts more");
        let found = ordinals(&reader, &parse("hotels new york", &options));
        assert_eq!(found[..2], [2, 3]);
    }
}

#[test]
fn hits_are_limited_to_what_is_allowed_and_counted_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let bodies: Vec<String> = (0..300)
        .map(|i| format!("word {}", "more ".repeat(i % 3)))
        .collect();
    let reader = index_of(
        dir.path(),
        &bodies.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    for allowed in [
        (0..300).collect::<OrdinalSet>(),
        (0..300).filter(|o| o % 2 == 1).collect(),
        [7, 8, 9, 1000].into_iter().collect(),
        OrdinalSet::new(),
    ] {
        let expected: Vec<u32> = allowed.iter().filter(|&o| o < 300).collect();
        let found = reader.search(&query("word"), 1000, Some(&allowed)).unwrap();
        assert_eq!(
            sorted(found.hits.iter().map(|h| h.ordinal).collect()),
            expected
        );
        for depth in [0, 1, 5] {
            let some = reader
                .search(&query("word"), depth, Some(&allowed))
                .unwrap();
            assert_eq!(some.matched, expected.len() as u64);
            assert_eq!(some.hits, found.hits[..depth.min(expected.len())]);
            let top = reader.top(&query("word"), depth, Some(&allowed)).unwrap();
            assert_eq!(top, some.hits);
        }
    }
    let mut scores = reader.search(&query("word"), 300, None).unwrap().hits;
    let ranked = scores.clone();
    scores.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.ordinal.cmp(&b.ordinal)));
    assert_eq!(ranked, scores, "ties break by ordinal");
}

#[test]
fn segments_and_deletions_change_no_score() {
    let bodies = [
        "apple banana",
        "banana cherry banana",
        "cherry",
        "apple apple date",
        "date fig",
        "banana fig apple",
        "cherry date",
        "apple",
    ];
    let once = tempfile::tempdir().unwrap();
    let kept: Vec<(u32, &str)> = (0..).zip(bodies).filter(|(i, _)| i % 3 != 2).collect();
    let index = open(once.path());
    for &(i, body) in &kept {
        index
            .add(i, &document(json!({"id": i, "body": body})))
            .unwrap();
    }
    index.commit(1).unwrap();
    let whole = index.reader().unwrap();
    let often = tempfile::tempdir().unwrap();
    let index = open(often.path());
    for (i, body) in (0..).zip(bodies) {
        index
            .add(i, &document(json!({"id": i, "body": body})))
            .unwrap();
        index.commit(u64::from(i)).unwrap();
    }
    for i in (0..8).filter(|i| i % 3 == 2) {
        index.delete(i).unwrap();
    }
    index.commit(9).unwrap();
    let pieces = index.reader().unwrap();
    for combine in [Combine::Sum, Combine::Best, Combine::Combined] {
        let options = QueryOptions {
            scoring: Scoring {
                combine,
                ..Scoring::default()
            },
            ..QueryOptions::default()
        };
        for text in [
            "apple",
            "apple banana date",
            "\"apple banana\" fig",
            "+apple date",
            "ba* fgi~1",
        ] {
            let query = WordQuery::parse(text, &fields(), &options).unwrap();
            let expected = whole.search(&query, 10, None).unwrap();
            assert!(!expected.hits.is_empty(), "{text}");
            assert_eq!(pieces.search(&query, 10, None).unwrap(), expected, "{text}");
            for hit in &expected.hits {
                let explained = pieces.explain(&query, hit.ordinal).unwrap().unwrap();
                assert!((explained.score - hit.score).abs() < 1e-5, "{text}");
            }
        }
    }
    assert!(
        pieces.explain(&query("apple"), 2).unwrap().is_none(),
        "deleted"
    );
    assert!(
        pieces.explain(&query("apple"), 4).unwrap().is_none(),
        "does not match"
    );
    let explained = pieces.explain(&query("apple"), 3).unwrap().unwrap();
    let field = &explained.clauses[0].fields[0];
    assert_eq!(
        (field.field.as_str(), field.tf, field.df, field.length),
        ("body", 2.0, 3, 3)
    );
}

#[test]
fn an_index_reopens_as_of_its_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    {
        let index = open(dir.path());
        assert_eq!(index.covered(), 0);
        index
            .add(0, &document(json!({"id": "a", "body": "first"})))
            .unwrap();
        index.commit(17).unwrap();
        let before = index.reader().unwrap();
        index
            .add(1, &document(json!({"id": "b", "body": "first again"})))
            .unwrap();
        assert_eq!(index.reader().unwrap().documents(), 1);
        index.commit(18).unwrap();
        index.delete(0).unwrap();
        index
            .add(2, &document(json!({"id": "c", "body": "first lost"})))
            .unwrap();
        assert_eq!(
            ordinals(&before, &query("first")),
            [0],
            "a reader stays as it was"
        );
        assert_eq!((before.covered(), index.covered()), (17, 18));
    }
    let index = open(dir.path());
    assert_eq!(index.covered(), 18);
    assert_eq!(
        sorted(ordinals(&index.reader().unwrap(), &query("first"))),
        [0, 1]
    );
    let again = WordIndex::open_or_create(dir.path(), &fields(), &options());
    assert!(
        matches!(again, Err(OpenError::Other(_))),
        "locked is not damaged"
    );
}

#[test]
fn damaged_and_foreign_directories_are_rebuilt() {
    let damage: [&dyn Fn(&Path); 5] = [
        &|dir| std::fs::write(dir.join("meta.json"), "{").unwrap(),
        &|dir| std::fs::remove_file(dir.join("meta.json")).unwrap(),
        &|dir| {
            for file in files(dir, "idx") {
                std::fs::remove_file(file).unwrap();
            }
        },
        &|dir| {
            for file in files(dir, "term") {
                let mut bytes = std::fs::read(&file).unwrap();
                bytes[3] ^= 0x55;
                std::fs::remove_file(&file).unwrap();
                std::fs::write(file, bytes).unwrap();
            }
        },
        &|dir| {
            for file in files(dir, "fast") {
                std::fs::remove_file(&file).unwrap();
                std::fs::write(file, "short").unwrap();
            }
        },
    ];
    for (i, damage) in damage.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        drop(index_of(dir.path(), &["some words", "more words"]));
        damage(dir.path());
        let opened = WordIndex::open_or_create(dir.path(), &fields(), &options());
        assert!(
            matches!(opened, Err(OpenError::Rebuild { .. })),
            "damage {i}"
        );
        let index = open(dir.path());
        assert_eq!(
            (index.covered(), index.reader().unwrap().documents()),
            (0, 0)
        );
    }
    let dir = tempfile::tempdir().unwrap();
    drop(index_of(dir.path(), &["some words"]));
    let mut other = fields();
    other["body"].weight = 3.0;
    drop(WordIndex::open_or_create(dir.path(), &other, &options()).unwrap());
    other["body"].analysis.language = Language::German;
    let opened = WordIndex::open_or_create(dir.path(), &other, &options());
    assert!(matches!(opened, Err(OpenError::Rebuild { .. })));
}

fn files(dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

#[test]
fn what_a_killed_commit_left_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let words = dir.path().join("words");
    let add = |index: &WordIndex, ordinal: u32| {
        let body = document(json!({"id": format!("d{ordinal}"), "body": "light"}));
        index.add(ordinal, &body).unwrap();
    };
    let index = open(&words);
    (0..4).for_each(|ordinal| add(&index, ordinal));
    index.commit(1).unwrap();
    let before = std::fs::read(words.join("meta.json")).unwrap();
    let again = |index: &WordIndex| {
        index.delete(0).unwrap();
        add(index, 4);
        index.commit(2)
    };
    drop(index);
    let index = open(&words);
    again(&index).unwrap();
    assert!(!files(&words, "del").is_empty());
    drop(index);
    // As if it had been killed after writing its files and before they counted: the same
    // operations come again, at the same place of the log, and want the same files.
    std::fs::write(words.join("meta.json"), before).unwrap();
    let index = open(&words);
    assert_eq!(index.covered(), 1);
    again(&index).unwrap();
    let reader = index.reader().unwrap();
    assert_eq!(sorted(ordinals(&reader, &query("light"))), [1, 2, 3, 4]);
}

#[test]
fn highlights_mark_every_form_of_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let reader = index_of(dir.path(), &["dogs run", "the fox", "東京都の天気"]);
    let marked = |text: &str, of: &str, chars: usize| -> Vec<String> {
        let found = reader.highlight(&query(text), "body", of, chars).unwrap();
        found
            .iter()
            .map(|f| {
                assert!(f.text.chars().count() <= chars);
                let mut out = f.text.clone();
                for span in f.spans.iter().rev() {
                    out.insert(span.end, ']');
                    out.insert(span.start, '[');
                }
                out
            })
            .collect()
    };
    assert_eq!(
        marked("running dogs -fox", "The dog was running from a fox.", 100),
        ["The [dog] was [running] from a fox."]
    );
    assert_eq!(
        marked("天気", "今日は東京の天気がいい", 100),
        ["今日は東京の[天気]がいい"]
    );
    assert_eq!(marked("東京都", "東京都の天気", 100), ["[東京都]の天気"]);
    assert_eq!(marked("cat", "no such word here", 7), ["no such"]);
    assert_eq!(marked("cat", "  ", 7), [] as [&str; 0]);
    let long = format!(
        "{} the dog runs {} a dog {}",
        "x ".repeat(200),
        "y ".repeat(200),
        "z ".repeat(200)
    );
    let found = marked("dog run", &long, 40);
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("the [dog] [runs]"), "{found:?}");
    assert!(found[1].contains("a [dog]"), "{found:?}");
    assert_eq!(marked("dog", &"dog".repeat(100), 10).len(), 1);
}

#[test]
fn documents_like_another_share_its_telling_words() {
    let dir = tempfile::tempdir().unwrap();
    let reader = index_of(
        dir.path(),
        &[
            "gene expression in yeast cells",
            "cells of the immune system",
            "stock markets in winter cells",
            "yeast gene regulation",
        ],
    );
    let terms = reader
        .terms_of("gene expression in yeast cells", "body", 3)
        .unwrap();
    let words: Vec<&str> = terms.iter().map(|t| t.term.as_str()).collect();
    assert_eq!(words, ["express", "gene", "yeast"]);
    let like = reader.more_like(&terms, Scoring::default());
    assert_eq!(ordinals(&reader, &like), [0, 3]);
    assert!(reader.terms_of("text", "lang", 3).unwrap().is_empty());
}

#[test]
fn facets_count_documents() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for (i, lang) in [vec!["en"], vec!["en", "fr", "en"], vec![], vec!["de"]]
        .iter()
        .enumerate()
    {
        let json = json!({"id": i, "lang": lang, "pages": i % 2});
        index.add(i as u32, &document(json)).unwrap();
        index.commit(i as u64).unwrap();
    }
    let reader = index.reader().unwrap();
    let shown = |field: &str, among: &OrdinalSet, most| -> Vec<(String, u64)> {
        let facets = reader.facets(field, among, most).unwrap();
        facets
            .iter()
            .map(|f| (f.value.to_string(), f.documents))
            .collect()
    };
    let all = OrdinalSet::full(10);
    assert_eq!(shown("lang", &all, 2), [("en".into(), 2), ("de".into(), 1)]);
    assert_eq!(
        shown("lang", &[1].into_iter().collect(), 9),
        [("en".into(), 1), ("fr".into(), 1)]
    );
    assert_eq!(shown("pages", &all, 9), [("0".into(), 2), ("1".into(), 2)]);
    assert!(shown("body", &all, 9).is_empty());
}

#[test]
fn skipping_documents_changes_no_hit() {
    let dir = tempfile::tempdir().unwrap();
    // Words from everywhere to rare, over several windows of documents.
    let bodies: Vec<String> = (0..10_000u32)
        .map(|i| {
            let has = |n: u32| (i.wrapping_mul(2_654_435_761) >> 9) % n == 0;
            let mut body = String::from("every");
            for (n, word) in [(2, " half"), (30, " some"), (700, " few"), (4000, " rare")] {
                if has(n) {
                    body.push_str(&word.repeat(1 + i as usize % 3));
                }
            }
            body
        })
        .collect();
    let reader = index_of(
        dir.path(),
        &bodies.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let odd: OrdinalSet = (0..10_000).filter(|o| o % 2 == 1).collect();
    for combine in [Combine::Sum, Combine::Best, Combine::Combined] {
        let options = QueryOptions {
            scoring: Scoring {
                combine,
                ..Scoring::default()
            },
            ..QueryOptions::default()
        };
        for text in [
            "every half some few rare",
            "every some",
            "half few -rare",
            "every every^3 ra*",
        ] {
            let query = WordQuery::parse(text, &fields(), &options).unwrap();
            for (depth, allowed) in [(1, None), (10, None), (10, Some(&odd)), (500, None)] {
                let exact = reader.search(&query, depth, allowed).unwrap();
                assert_eq!(exact.hits.len(), depth);
                assert_eq!(
                    reader.top(&query, depth, allowed).unwrap(),
                    exact.hits,
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn weights_count_between_fields_of_different_analyses_too() {
    let fields = |title: f32, body: f32, language: Language| {
        let mut fields = fields();
        fields["title"].weight = title;
        fields["body"].weight = body;
        fields["body"].analysis.language = language;
        fields
    };
    for language in [Language::English, Language::German] {
        let dir = tempfile::tempdir().unwrap();
        let plain = fields(1.0, 1.0, language);
        let index = WordIndex::open_or_rebuild(dir.path(), &plain, &options()).unwrap();
        let texts = [("alpha", "beta"), ("beta", "alpha")];
        for (i, (title, body)) in texts.into_iter().enumerate() {
            let json = json!({"id": i, "title": title, "body": body});
            let document = validate(&plain, "id", UnknownFields::Reject, 1 << 20, json).unwrap();
            index.add(i as u32, &document).unwrap();
        }
        index.commit(1).unwrap();
        let reader = index.reader().unwrap();
        for combine in [Combine::Combined, Combine::Sum, Combine::Best] {
            for (title, body, first) in [(4.0, 1.0, 0), (1.0, 4.0, 1)] {
                let options = QueryOptions {
                    scoring: Scoring {
                        combine,
                        ..Scoring::default()
                    },
                    ..QueryOptions::default()
                };
                let fields = fields(title, body, language);
                let query = WordQuery::parse("alpha", &fields, &options).unwrap();
                let hits = reader.search(&query, 10, None).unwrap().hits;
                let said = format!("{language:?} {combine:?} {title} {body}: {hits:?}");
                assert_eq!(hits[0].ordinal, first, "{said}");
                assert!(hits[0].score > 1.2 * hits[1].score, "{said}");
                let top = reader.top(&query, 10, None).unwrap();
                assert_eq!(top, hits, "{said}");
            }
        }
    }
}

#[test]
fn a_query_of_endless_words_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let reader = index_of(dir.path(), &["word"]);
    let error = reader
        .search(&query(&"漢字".repeat(5000)), 10, None)
        .unwrap_err();
    assert_eq!(error.problem().unwrap().code, Code::LimitExceeded);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_text_can_be_searched(text in "[a-c +\\-\"~^*:().0-9漢]{0,30}|\\PC{0,30}") {
        thread_local! {
            static READER: (tempfile::TempDir, WordReader) = {
                let dir = tempfile::tempdir().unwrap();
                let reader = index_of(dir.path(), &["a b c", "aa bb cc", "b a", "漢漢 a1 2", "c c c b"]);
                (dir, reader)
            };
        }
        READER.with(|(_, reader)| {
            for combine in [Combine::Sum, Combine::Best, Combine::Combined] {
                let options = QueryOptions {
                    scoring: Scoring { combine, ..Scoring::default() },
                    ..QueryOptions::default()
                };
                let query = WordQuery::parse(&text, &fields(), &options).unwrap();
                let found = reader.search(&query, 100, None).unwrap();
                assert_eq!(found.matched as usize, found.hits.len());
                for depth in 1..4 {
                    let top = reader.top(&query, depth, None).unwrap();
                    assert_eq!(&top[..], &found.hits[..depth.min(found.hits.len())]);
                }
                for hit in &found.hits {
                    let explained = reader.explain(&query, hit.ordinal).unwrap().unwrap();
                    assert!((explained.score - hit.score).abs() <= 1e-4 * hit.score.abs());
                }
                for fragment in reader.highlight(&query, "body", &text, 10).unwrap() {
                    assert!(text.contains(&fragment.text));
                    assert!(fragment.text.chars().count() <= 10);
                    let mut last = 0;
                    for span in fragment.spans {
                        assert!(span.start >= last && span.start < span.end);
                        assert!(fragment.text.get(span.clone()).is_some());
                        last = span.end;
                    }
                }
            }
        });
    }
}
