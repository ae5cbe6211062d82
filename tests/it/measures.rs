//! Promise: the figures are those of `trec_eval`, and files of runs, judgments and BEIR
//! folders are read whole or refused with the line that is wrong.

use std::path::Path;

use gleaner::error::Error;
use gleaner::eval::{BeirFolder, Hit, Measure, Measures, Qrels, RetrievalReport, Run, evaluate};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::support::files;

fn hit(document: &str, score: f64) -> Hit {
    Hit {
        document: document.into(),
        score,
    }
}

/// Judgments and rankings of the fixture, whose values trec_eval computed; see
/// tests/data/make_measures.py.
fn fixture() -> (Qrels, Run, Json) {
    let data: Json = serde_json::from_str(include_str!("../data/measures.json")).unwrap();
    let mut qrels = Qrels::default();
    for (query, judged) in data["qrels"].as_object().unwrap() {
        for (document, relevance) in judged.as_object().unwrap() {
            qrels.insert(query, document, relevance.as_i64().unwrap() as i32);
        }
    }
    let mut run = Run::default();
    for (query, hits) in data["run"].as_object().unwrap() {
        let hits = hits.as_object().unwrap();
        let hits = hits
            .iter()
            .map(|(d, score)| hit(d, score.as_f64().unwrap()));
        run.insert(query, hits.collect());
    }
    run.rank_by_score();
    (qrels, run, data)
}

#[test]
fn measures_equal_trec_evals() {
    let (qrels, run, data) = fixture();
    let means = data["means"].as_object().unwrap();
    let measures: Vec<Measure> = means.keys().map(|name| name.parse().unwrap()).collect();
    let evaluation = evaluate(&qrels, &run, &measures);
    let expected = data["queries"].as_object().unwrap();
    assert_eq!(evaluation.queries.len(), expected.len());
    for (query, values) in &evaluation.queries {
        for (measure, value) in measures.iter().zip(values) {
            let theirs = expected[query][&measure.to_string()].as_f64().unwrap();
            assert!(
                (value - theirs).abs() < 1e-9,
                "{query} {measure}: {value} {theirs}"
            );
        }
    }
    for (name, mean) in means {
        let ours = evaluation.mean(name.parse().unwrap()).unwrap();
        assert!((ours - mean.as_f64().unwrap()).abs() < 1e-9, "{name}");
    }
}

#[test]
fn which_queries_count() {
    let mut qrels = Qrels::default();
    qrels.insert("answered", "a", 1);
    qrels.insert("unanswered", "a", 2);
    qrels.insert("hopeless", "a", 0);
    let mut run = Run::default();
    run.insert("answered", vec![hit("a", 1.0)]);
    run.insert("hopeless", vec![hit("a", 1.0)]);
    run.insert("unjudged", vec![hit("a", 1.0)]);
    let evaluation = evaluate(&qrels, &run, &Measure::USUAL);
    let queries: Vec<&str> = evaluation.queries.keys().map(String::as_str).collect();
    assert_eq!(queries, ["answered", "unanswered"]);
    assert_eq!(evaluation.mean(Measure::Ndcg(10)), Some(0.5));
    assert_eq!(evaluation.mean(Measure::Ndcg(11)), None);
    let empty = evaluate(&Qrels::default(), &run, &Measure::USUAL);
    assert_eq!(empty.means, [0.0; 5]);

    let mut report = RetrievalReport::default();
    report
        .modes
        .insert("words".into(), Measures::from(&evaluation));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["modes"]["words"]["recall@100"], 0.5);
    assert_eq!(json["modes"]["words"]["mrr@10"], 0.5);
}

#[test]
fn the_given_order_is_the_ranking() {
    let mut qrels = Qrels::default();
    qrels.insert("q", "b", 1);
    let mut run = Run::default();
    run.insert("q", vec![hit("a", 0.1), hit("b", 0.9)]);
    assert_eq!(evaluate(&qrels, &run, &[Measure::Mrr(10)]).means, [0.5]);
    run.rank_by_score();
    assert_eq!(evaluate(&qrels, &run, &[Measure::Mrr(10)]).means, [1.0]);
    // A document that is the query itself does not count where BEIR says so.
    qrels.insert("a", "b", 1);
    run.insert("a", vec![hit("a", 2.0), hit("b", 1.0)]);
    run.remove_queries();
    assert_eq!(run.get("a"), [hit("b", 1.0)]);
    // Repeating a relevant document gains nothing.
    run.insert("q", vec![hit("b", 2.0), hit("b", 1.0)]);
    let twice = evaluate(&qrels, &run, &[Measure::Recall(10), Measure::Ndcg(10)]);
    assert_eq!(twice.queries["q"], [1.0, 1.0]);
}

#[test]
fn names_of_measures_are_read_and_written() {
    for name in ["ndcg@10", "recall@100", "mrr@10", "precision@5", "map@1000"] {
        assert_eq!(name.parse::<Measure>().unwrap().to_string(), name);
    }
    for name in ["ndcg", "ndcg@", "ndcg@0", "ndcg@x", "err@10", ""] {
        assert!(
            matches!(name.parse::<Measure>(), Err(Error::User(_))),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn runs_and_judgments_survive_a_file(
        hits in proptest::collection::vec(
            ("[a-c]", "[!-~é]{1,8}", -1e9f64..1e9, -1i32..4), 0..60)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut qrels, mut rankings) = (Qrels::default(), std::collections::BTreeMap::new());
        for (query, document, score, relevance) in hits {
            qrels.insert(&query, &document, relevance);
            let ranking: &mut Vec<Hit> = rankings.entry(query).or_default();
            if ranking.iter().all(|hit| hit.document != document) {
                ranking.push(Hit { document, score });
            }
        }
        let mut run = Run::default();
        for (query, ranking) in rankings {
            run.insert(query, ranking);
        }
        let mut written = Vec::new();
        run.write(&mut written, "test").unwrap();
        let path = files::bytes(&dir.path().join("run"), &written);
        prop_assert_eq!(Run::read(&path).unwrap(), run.clone());
        let path = files::bytes(&dir.path().join("run.gz"), files::gzip(&written));
        prop_assert_eq!(Run::read(&path).unwrap(), run.clone());
        let mut written = Vec::new();
        qrels.write(&mut written).unwrap();
        let path = files::bytes(&dir.path().join("qrels"), &written);
        prop_assert_eq!(Qrels::read(&path).unwrap(), qrels.clone());

        for (_, values) in evaluate(&qrels, &run, &Measure::USUAL).queries {
            for value in values {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
            }
        }
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &[&str]) {
    let text = match result {
        Err(Error::User(problem)) => problem.to_string(),
        other => panic!("{other:?}"),
    };
    for word in words {
        assert!(text.contains(word), "{text:?} lacks {word:?}");
    }
}

#[test]
fn bad_lines_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| files::bytes(&dir.path().join("file"), text);
    let good = "q Q0 a 1 0.5 t\n";
    for (bad, word) in [
        ("q Q0 b 2 0.5\n", "tag"),
        ("q Q0 b x 0.5 t\n", "rank"),
        ("q Q0 b 2 NaN t\n", "finite"),
        ("q Q0 a 2 0.5 t\n", "once"),
    ] {
        let path = write(&format!("{good}\n{bad}"));
        refused(Run::read(&path), &["line 3", word, "file"]);
    }
    let path = write("q Q0 b 7 1 t\nq Q0 a 3 2 t\n");
    assert_eq!(
        Run::read(&path).unwrap().get("q"),
        [hit("a", 2.0), hit("b", 1.0)]
    );

    for (text, words) in [
        ("q\ta\t1\nq\tb\n", ["line 2", "3 columns"]),
        ("q\ta\t1\nq\tb\tx\n", ["line 2", "whole number"]),
        ("q 0 a 1\nq 0 a 2\n", ["line 2", "before, 1"]),
        ("a b\n", ["line 1", "TREC"]),
    ] {
        refused(Qrels::read(&write(text)), &words);
    }
    let beir = Qrels::read(&write("query-id\tcorpus-id\tscore\r\nq\ta b\t2\r\n")).unwrap();
    assert_eq!(beir.get("q").unwrap()["a b"], 2);
    refused(beir.write(Vec::new()), &["without blanks"]);
    assert!(Qrels::read(&write("")).unwrap().is_empty());
    refused(Qrels::read(Path::new("/no/such/file")), &["nothing there"]);
}

#[test]
fn beir_folders() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    refused(BeirFolder::open(&at("missing")), &["no such folder"]);
    refused(BeirFolder::open(dir.path()), &["qrels", "no judgments"]);
    std::fs::create_dir(at("qrels")).unwrap();
    files::bytes(
        &at("qrels/test.tsv"),
        "query-id\tcorpus-id\tscore\n1\td1\t1\n3\td2\t2\n",
    );
    files::bytes(
        &at("qrels/train.tsv.gz"),
        files::gzip("query-id\tcorpus-id\tscore\n9\td1\t1\n"),
    );
    files::bytes(&at("qrels/notes.txt"), "");
    refused(BeirFolder::open(dir.path()), &["corpus.jsonl"]);
    files::jsonl(
        &at("corpus.jsonl"),
        &[
            json!({"_id": "d1", "title": "T", "text": "one", "metadata": {"year": 1}}),
            json!({"_id": 2, "text": "two"}),
        ],
    );
    let queries: Vec<Json> = (1..5)
        .map(|i| json!({"_id": i.to_string(), "text": format!("query {i}")}))
        .collect();
    files::jsonl(&at("queries.jsonl"), &queries);

    let folder = BeirFolder::open(dir.path()).unwrap();
    assert_eq!(folder.splits().collect::<Vec<_>>(), ["test", "train"]);
    refused(folder.qrels("dev"), &["dev", "test, train"]);
    let qrels = folder.qrels("test").unwrap();
    let queries = folder.queries(&qrels).unwrap();
    assert_eq!(queries.keys().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(queries["3"], "query 3");
    refused(folder.queries(&folder.qrels("train").unwrap()), &["\"9\""]);
    let documents: Vec<_> = folder.corpus().unwrap().map(Result::unwrap).collect();
    assert_eq!(documents[0].title, "T");
    assert_eq!(documents[0].metadata["year"], 1);
    assert_eq!(
        (documents[1].id.as_str(), documents[1].text.as_str()),
        ("2", "two")
    );

    files::bytes(
        &at("corpus.jsonl"),
        "{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"b\"}\n",
    );
    let last = folder.corpus().unwrap().last().unwrap();
    refused(last, &["corpus.jsonl", "line 2", "field: text"]);
}
