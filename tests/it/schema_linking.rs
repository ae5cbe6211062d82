//! The part of a schema that a question needs: whatever the order of the source the answer is the
//! same, it is within its budget, it can be joined, and bad input is refused by name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gleaner::error::Code;
use gleaner::model::{TextEncoder, TokenClassifier};
use gleaner::sql::{
    Choice, Database, Detail, Dialect, Focus, FocusRequest, Hints, Least, Linker, Method, Mode,
    Question, Strategy, focus, parse_tables_json,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::tiny_model::{TinyModel, runtime};

/// Singers, concerts, and who sang in which; and a table that nothing joins.
fn tables() -> Value {
    json!([{
        "db_id": "concerts",
        "table_names_original": ["singer", "concert", "singer_in_concert", "weather"],
        "table_names": ["singer", "concert", "singer in concert", "weather"],
        "column_names_original": [
            [-1, "*"], [0, "singer_id"], [0, "name"], [0, "country"], [0, "age"],
            [1, "concert_id"], [1, "title"], [1, "year"],
            [2, "concert_id"], [2, "singer_id"],
            [3, "day"], [3, "rain"]
        ],
        "column_names": [
            [-1, "*"], [0, "singer id"], [0, "name"], [0, "country"], [0, "age"],
            [1, "concert id"], [1, "concert title"], [1, "year"],
            [2, "concert id"], [2, "singer id"],
            [3, "day"], [3, "rain in mm"]
        ],
        "column_types": ["text", "number", "text", "text", "number", "number", "text", "number",
                         "number", "number", "time", "number"],
        "primary_keys": [1, 5, [8, 9]],
        "foreign_keys": [[8, 5], [9, 1]]
    }])
}

fn database() -> Database {
    let mut databases = parse_tables_json(&tables().to_string()).unwrap();
    let mut database = databases.remove(0);
    for table in &mut database.tables {
        let row = |n: usize| {
            table
                .columns
                .iter()
                .map(move |c| Some(format!("{} {n}", c.name)))
        };
        table.samples = (0..2).map(|n| row(n).collect()).collect();
        for column in &mut table.columns {
            column.description = Some(format!("the {} of it", column.name));
            column.values = vec!["a".into(), "b".into()];
        }
    }
    database
}

fn encoder(folder: &Path) -> TextEncoder {
    TinyModel::default().write(folder);
    TextEncoder::open(folder, &runtime()).unwrap()
}

fn linker(folder: &Path) -> Linker {
    Linker::new(encoder(folder), None).unwrap()
}

/// One that reads the likeliest tables as well.
fn reading(folder: &Path) -> Linker {
    let cross = folder.join("linker");
    TinyModel::linker().write(&cross);
    let cross = TokenClassifier::open(&cross, &runtime()).unwrap();
    Linker::new(encoder(&folder.join("encoder")), Some(cross)).unwrap()
}

fn request(strategy: Strategy, budget: Option<usize>) -> FocusRequest {
    FocusRequest {
        strategy,
        mode: Mode::Balanced,
        budget,
        dialect: Some(Dialect::Postgres),
        detail: Detail::default(),
        hints: Hints::default(),
    }
}

const ASKED: Question<'static> = Question {
    text: "What are the names of the singers who sang in the concert with the title Red?",
    evidence: "",
};

fn answer(
    linker: &Linker,
    database: &Database,
    choice: Choice,
    request: &FocusRequest,
) -> gleaner::error::Result<Focus> {
    let index = linker.index(database)?;
    let prepared = linker.prepare(&[ASKED])?;
    let scores = linker.score(&index, &prepared[0], Method::Trained)?;
    let count = |text: &str| Ok(text.split_whitespace().count());
    focus(&index, ASKED, &scores, choice, request, &count, "words")
}

fn shuffled(mut database: Database, seed: u64) -> Database {
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    database.tables.shuffle(&mut random);
    database.foreign_keys.shuffle(&mut random);
    for table in &mut database.tables {
        let mut order: Vec<usize> = (0..table.columns.len()).collect();
        order.shuffle(&mut random);
        table.columns = order.iter().map(|n| table.columns[*n].clone()).collect();
        for row in &mut table.samples {
            *row = order.iter().map(|n| row[*n].clone()).collect();
        }
    }
    database
}

#[test]
fn the_order_of_tables_and_columns_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    for linker in [linker(folder.path()), reading(folder.path())] {
        for strategy in [Strategy::Full, Strategy::Retrieval] {
            for mode in [Mode::Minimal, Mode::Balanced, Mode::Conservative] {
                let request = FocusRequest {
                    mode,
                    ..request(strategy, None)
                };
                let expected = answer(&linker, &database(), linker.choice(mode), &request).unwrap();
                for seed in 0..5 {
                    let other = shuffled(database(), seed);
                    assert_ne!(other, database());
                    let found = answer(&linker, &other, linker.choice(mode), &request).unwrap();
                    assert_eq!(found, expected, "{strategy:?} {mode:?} {seed}");
                }
            }
        }
    }
}

#[test]
fn the_likeliest_tables_are_read_and_no_more_than_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let linker = reading(folder.path());
    let mut wide = database();
    let table = wide.tables[0].clone();
    for n in 0..40 {
        let mut more = table.clone();
        more.name = format!("singer{n}");
        more.primary_key = Vec::new();
        for column in 0..60 {
            let mut copy = more.columns[1].clone();
            copy.name = format!("the long name of a thing {column}");
            more.columns.push(copy);
        }
        for row in &mut more.samples {
            row.resize(more.columns.len(), None);
        }
        wide.tables.push(more);
    }
    let names = linker.feature_names();
    let logit = |names: &[String]| names.iter().position(|n| n == "cross_logit").unwrap();
    let prepared = linker.prepare(&[ASKED]).unwrap();
    let read = |database: &Database| {
        let index = linker.index(database).unwrap();
        let (columns, tables) = linker.features(&index, &prepared[0]).unwrap();
        let count =
            |rows: &[Vec<f32>], place: usize| rows.iter().filter(|r| r[place] > -20.0).count();
        (
            count(&columns, logit(&names.0)),
            count(&tables, logit(&names.1)),
        )
    };
    assert_eq!(read(&database()), (11, 4));
    let (columns, tables) = read(&wide);
    // Twelve inputs of at most 256 tokens.
    assert!(
        tables <= 8 && (12..12 * 140).contains(&columns),
        "{columns} {tables}"
    );
}

/// Runs where `GLEANER_MODELS` holds the default linker, as `make test` sees to.
#[test]
fn tables_are_read_as_the_linker_was_trained_on_them() {
    let folders: Vec<PathBuf> = std::env::var_os("GLEANER_MODELS")
        .map(|folders| std::env::split_paths(&folders).collect())
        .unwrap_or_default();
    let mut folders = folders.iter().map(|folder| folder.join("gleaner-linker"));
    let Some(model) = folders.find(|folder| folder.is_dir()) else {
        eprintln!("skipped: no folder of GLEANER_MODELS holds gleaner-linker (make test sets it)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cross = TokenClassifier::open(&model, &runtime()).unwrap();
    let linker = Linker::new(encoder(folder.path()), Some(cross)).unwrap();
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/gleaner-linker/linked.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(&linked).unwrap()).unwrap();
    let mut databases = parse_tables_json(&json!([expected["database"]]).to_string()).unwrap();
    let index = linker.index(&databases.remove(0)).unwrap();
    let question = Question {
        text: expected["question"].as_str().unwrap(),
        evidence: expected["evidence"].as_str().unwrap(),
    };
    let prepared = linker.prepare(&[question]).unwrap();
    let (columns, tables) = linker.features(&index, &prepared[0]).unwrap();
    let names = linker.feature_names();
    let place = |names: &[String]| names.iter().position(|n| n == "cross_logit").unwrap();
    // The service multiplies in int8: sure ones are a little more or less sure.
    let logistic = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let near = |found: f32, expected: &Value, what: &str| {
        let expected = expected
            .as_f64()
            .unwrap_or_else(|| panic!("nothing of {what}"));
        let apart = (logistic(f64::from(found)) - logistic(expected)).abs();
        assert!(apart < 0.15, "{what}: {found}, not {expected}");
        apart
    };
    let mut apart = Vec::new();
    let (column, table) = (place(&names.0), place(&names.1));
    for (number, facts) in index.database().tables.iter().enumerate() {
        apart.push(near(
            tables[number][table],
            &expected["tables"][&facts.name],
            &facts.name,
        ));
        for (n, own) in facts.columns.iter().enumerate() {
            let name = format!("{}.{}", facts.name, own.name);
            let found = columns[index.first_column(number) + n][column];
            apart.push(near(found, &expected["columns"][&name], &name));
        }
    }
    assert_eq!(apart.len(), 3 + 5 + 3 + 40);
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    assert!(mean < 0.01, "{mean}");
}

#[test]
fn a_model_that_links_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = encoder(&folder.path().join("encoder"));
    for (name, model) in [
        (
            "short",
            TinyModel {
                max_tokens: 64,
                ..TinyModel::linker()
            },
        ),
        (
            "values",
            TinyModel {
                labels: 3,
                ..TinyModel::linker()
            },
        ),
    ] {
        let place = folder.path().join(name);
        model.write(&place);
        let cross = TokenClassifier::open(&place, &runtime()).unwrap();
        let refused = Linker::new(encoder.clone(), Some(cross)).err().unwrap();
        assert_eq!(
            refused.problem().unwrap().code,
            Code::InvalidModel,
            "{name}"
        );
    }
}

#[test]
fn tables_that_do_not_touch_are_joined_and_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let linker = linker(folder.path());
    let database = database();
    let index = linker.index(&database).unwrap();
    let mut scores = linker
        .score(
            &index,
            &linker.prepare(&[ASKED]).unwrap()[0],
            Method::Trained,
        )
        .unwrap();
    // Two columns, whatever is likely: `singer.name` and `concert.title`.
    scores.tables.fill(0.0);
    scores.columns.fill(0.0);
    let sorted = index.database();
    for (table, column) in [("singer", "name"), ("concert", "title")] {
        let number = sorted.tables.iter().position(|t| t.name == table).unwrap();
        let columns = &sorted.tables[number].columns;
        let place = columns.iter().position(|c| c.name == column).unwrap();
        scores.columns[index.first_column(number) + place] = 0.9;
    }
    let choice = Choice::Above {
        column: Least::any(0.5),
        table: 0.5,
    };
    let count = |text: &str| Ok(text.len());
    let request = request(Strategy::Retrieval, None);
    let found = focus(&index, ASKED, &scores, choice, &request, &count, "bytes").unwrap();
    let kept: Vec<(&str, Vec<&str>)> = found
        .tables
        .iter()
        .map(|t| {
            (
                t.name.as_str(),
                t.columns.iter().map(|c| c.name.as_str()).collect(),
            )
        })
        .collect();
    assert_eq!(
        kept,
        [
            ("concert", vec!["concert_id", "title"]),
            ("singer", vec!["name", "singer_id"]),
            ("singer_in_concert", vec!["concert_id", "singer_id"]),
        ]
    );
    assert_eq!(
        found.join_paths,
        [["concert", "singer_in_concert", "singer"]]
    );
    assert_eq!(found.foreign_keys.len(), 2);
    assert!(found.tables[2].joins && !found.tables[0].joins);
    assert!(
        found
            .ddl
            .contains("FOREIGN KEY (singer_id) REFERENCES singer (singer_id)")
    );
    assert_eq!(found.tokens, found.prompt.len());
    assert!(found.tokens < found.full_tokens && found.dropped.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn an_answer_is_within_its_budget_and_names_what_was_left_out(budget in 20_usize..400) {
        let folder = tempfile::tempdir().unwrap();
        let linker = linker(folder.path());
        let all = answer(&linker, &database(), Choice::All, &request(Strategy::Full, None)).unwrap();
        let names = |focus: &Focus| -> BTreeSet<String> {
            let tables = focus.tables.iter();
            tables
                .flat_map(|t| t.columns.iter().map(|c| format!("{}.{}", t.name, c.name)))
                .collect()
        };
        let request = request(Strategy::Full, Some(budget));
        match answer(&linker, &database(), Choice::All, &request) {
            Ok(found) => {
                prop_assert!(found.tokens <= budget, "{} of {budget}", found.tokens);
                prop_assert_eq!(found.tokens, found.prompt.split_whitespace().count());
                let mut whole = names(&found);
                whole.extend(found.dropped.columns.iter().map(|name| name.replace('"', "")));
                prop_assert_eq!(whole, names(&all));
                prop_assert_eq!(found.dropped.is_empty(), found.tokens == all.tokens);
            }
            Err(error) => {
                let problem = error.problem().unwrap();
                prop_assert_eq!(problem.code, Code::InvalidRequest);
                prop_assert_eq!(problem.field.as_deref(), Some("token_budget"));
                prop_assert!(budget < 60, "{budget}: {problem}");
            }
        }
        let auto = FocusRequest { strategy: Strategy::Auto, ..request };
        if let Ok(found) = answer(&linker, &database(), Choice::All, &auto) {
            let fits = all.full_tokens <= budget;
            prop_assert_eq!(found.strategy == Strategy::Full, fits);
        }
    }
}

#[test]
fn long_comments_are_given_up_before_columns() {
    let folder = tempfile::tempdir().unwrap();
    let linker = linker(folder.path());
    let mut database = database();
    for table in &mut database.tables {
        for column in &mut table.columns {
            column.description = Some("word ".repeat(40));
        }
    }
    let request = request(Strategy::Full, Some(300));
    let found = answer(&linker, &database, Choice::All, &request).unwrap();
    // Values, which were given up before them, have room again.
    assert_eq!(found.dropped.details, ["samples", "long_comments"]);
    assert!(found.dropped.columns.is_empty() && found.tokens <= 300);
    assert!(found.full_tokens > 450, "{}", found.full_tokens);
    assert!(found.ddl.contains("-- word word word"), "{}", found.ddl);
    // What is not there is not given up.
    for table in &mut database.tables {
        table.samples.clear();
    }
    let found = answer(&linker, &database, Choice::All, &request).unwrap();
    assert_eq!(found.dropped.details, ["long_comments"]);
}

fn place() -> Place {
    let place = Place::with_model("gleaner-minilm");
    place.write("tables.json", tables().to_string());
    place.write(
        "questions.json",
        json!([
            {"db_id": "concerts", "question": "How many singers are there?",
             "query": "SELECT COUNT(*) FROM singer"},
            {"db_id": "concerts", "question": "What are names of singers in Red?", "evidence": "Red is a title",
             "SQL": "SELECT s.name FROM singer s JOIN singer_in_concert USING (singer_id) \
                     JOIN concert c USING (concert_id) WHERE c.title = \"Red\""},
            {"db_id": "concerts", "question": "?", "query": "SELECT nothing FROM nowhere"}
        ])
        .to_string(),
    );
    place
}

#[test]
fn the_measures_count_what_the_sql_needs() {
    let place = place();
    let eval = |more: &[&str]| {
        let files = ["--questions", "questions.json", "--tables", "tables.json"];
        place.json(&[&["eval", "schema"], &files[..], more].concat())
    };
    let full = eval(&["--strategy", "full"]);
    assert_eq!(full["questions"], 3);
    // The third cannot be read and counts as missed.
    assert_eq!(full["srr"], json!(2.0 / 3.0));
    assert_eq!(full["nsr"], 1.0);
    assert_eq!(
        (&full["avg_tables"], &full["avg_columns"]),
        (&json!(4.0), &json!(11.0))
    );
    assert_eq!(full["by_gold_tables"]["3"]["questions"], 1);
    assert_eq!(full["unread"][0]["place"], 2);
    assert_eq!(full["prompts"]["saved"], 0.0);
    // The first column alone, without keys: at most one of the two questions is whole.
    let one = eval(&["--method", "words", "--top", "1", "--bare"]);
    assert_eq!(one["avg_columns"], 1.0);
    assert!(one["nsr"].as_f64().unwrap() < 0.5, "{one}");
    let auto = eval(&["--strategy", "auto", "--budget", "100000"]);
    assert_eq!(auto["prompts"]["full"], 1.0);
    let tiny = eval(&["--strategy", "auto", "--budget", "3"]);
    assert_eq!(
        (&tiny["srr"], &tiny["prompts"]["too_small"]),
        (&json!(0.0), &json!(2))
    );
}

#[test]
fn what_cannot_be_answered_is_refused_by_name() {
    let place = place();
    let ask = |database: &'static str, question: &str, more: &[&str]| -> Vec<String> {
        let args = [
            "schema",
            "retrieve",
            database,
            question,
            "--tables",
            "tables.json",
        ];
        args.iter().chain(more).map(|arg| arg.to_string()).collect()
    };
    let refused = |code: Code, args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        place.refused(code, &args)
    };
    let long = "why ".repeat(25_000);
    assert!(refused(Code::InvalidRequest, ask("concerts", " ", &[])).contains("question"));
    assert!(refused(Code::LimitExceeded, ask("concerts", &long, &[])).contains("question"));
    assert!(refused(Code::InvalidRequest, ask("bank", "Who?", &[])).contains("concerts"));
    let small = ask("concerts", "Who sang?", &["--budget", "2"]);
    assert!(refused(Code::InvalidRequest, small).contains("token_budget"));
    place.write("tables.json", "{}");
    refused(Code::InvalidFile, ask("concerts", "Who?", &[]));
}

#[test]
fn the_command_prints_the_prompt_or_all_of_the_answer() {
    let place = place();
    let args = [
        "schema",
        "retrieve",
        "concerts",
        "Which singer is the oldest?",
        "--tables",
        "tables.json",
        "--dialect",
        "mysql",
        "--evidence",
        "oldest is the greatest age",
    ];
    let words = place.ok(&args).out;
    assert!(
        words.contains("CREATE TABLE singer (") && words.contains("-- Hint: oldest"),
        "{words}"
    );
    let answer = place.json(&args);
    assert_eq!(answer["strategy"], "full");
    assert_eq!(answer["tokenizer"], "gleaner-minilm");
    assert_eq!(
        answer["prompt"].as_str().unwrap().trim_end(),
        words.trim_end()
    );
    let counted = place.json(&[&args[..], &["--tokenizer", "gleaner-minilm"]].concat());
    assert_eq!(counted["tokens"], answer["tokens"]);
}

#[test]
fn a_database_of_the_catalogue_is_answered_about() {
    let place = Place::with_model("gleaner-minilm");
    place.write(
        "shop.sql",
        "CREATE TABLE sale (id INTEGER PRIMARY KEY, amount REAL);",
    );
    place.ok(&["schema", "import", "shop", "--ddl", "shop.sql"]);
    let answer = place.json(&["schema", "retrieve", "shop", "What is the largest amount?"]);
    assert_eq!(answer["tables"][0]["name"], "sale");
    assert!(
        answer["ddl"].as_str().unwrap().contains("amount REAL"),
        "{answer}"
    );
}

#[test]
fn what_still_fits_the_budget_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let linker = linker(folder.path());
    let mut database = database();
    for table in &mut database.tables {
        table.samples = vec![
            table
                .columns
                .iter()
                .map(|_| Some("a rather long cell of words".into()))
                .collect();
            3
        ];
        for column in &mut table.columns {
            column.values = vec!["x".into()];
        }
    }
    let choice = linker.choice(Mode::Balanced);
    let tokens = |detail: Detail| {
        let request = FocusRequest {
            detail,
            ..request(Strategy::Full, None)
        };
        answer(&linker, &database, choice, &request).unwrap().tokens
    };
    let bare = Detail {
        samples: 0,
        ..Detail::default()
    };
    // Room for all but the sample rows: they alone are given up, and the frequent values are not.
    let budget = tokens(bare);
    assert!(budget < tokens(Detail::default()));
    let request = request(Strategy::Full, Some(budget));
    let found = answer(&linker, &database, choice, &request).unwrap();
    assert_eq!(
        (found.tokens, &found.dropped.details[..]),
        (budget, &["samples".to_string()][..])
    );
    // Of a database of which nothing fits but a few columns, what is left over goes to values.
    for budget in 20..budget {
        let request = self::request(Strategy::Full, Some(budget));
        let Ok(found) = answer(&linker, &database, choice, &request) else {
            continue;
        };
        if found.dropped.details.iter().any(|d| d == "values") {
            // A value of each column in the answer is a word or two.
            let columns: usize = found.tables.iter().map(|t| t.columns.len()).sum();
            assert!(
                budget - found.tokens < 4 * columns.max(1),
                "{budget}: {found:?}"
            );
        }
    }
}
