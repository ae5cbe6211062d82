//! How long a question to one database takes, in a catalogue of 200 databases with 5,000 tables
//! and 100,000 columns together, and to one database of 3,000 columns.
//!
//! The service answers over HTTP as it is configured by default, with the settings that the
//! quality figures of docs/schemas.md were measured with. Databases are made, not copied from
//! anywhere (`support/databases.rs`); questions go to them in turn, so that none is asked about
//! twice in a row.
//!
//! `GLEANER_BENCH_DATABASES` makes it smaller for a try.

#![allow(clippy::print_stdout)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gleaner::api::Server;
use gleaner::config::{Config, Data};
use gleaner::index::Catalog;
use gleaner::sql::{Cells, Database, Schemas};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use support::databases::{COLUMNS, database, question};
use support::machine::{Usage, Watch, resident_mb};
use support::{percentile, report};

/// Databases, and tables of each.
const DATABASES: usize = 200;
const TABLES: usize = 25;
/// Tables of the large database.
const LARGE_TABLES: usize = 150;
/// Questions to every database, and to the large one.
const ROUNDS: usize = 5;
const LARGE_QUESTIONS: usize = 200;
/// The budget of prompts that have one, in tokens.
const BUDGET: usize = 1024;
/// Callers that ask at once, for the rate.
const CALLERS: usize = 2;

fn main() -> Result<()> {
    let count = match std::env::var("GLEANER_BENCH_DATABASES") {
        Ok(count) => count.parse().context("GLEANER_BENCH_DATABASES")?,
        Err(_) => DATABASES,
    };
    let home = tempfile::tempdir()?;
    let mut config = Config::load(None)?;
    config.data = Data {
        folder: home.path().join("data"),
    };
    config.server.listen = "127.0.0.1:0".into();
    let schemas = Schemas::new(&config.data.folder);
    let mut random = StdRng::seed_from_u64(1);
    let mut asked: Vec<Asked> = Vec::new();
    let (mut tables, mut columns) = (0, 0);
    for number in 0..count {
        let made = database(number, TABLES);
        tables += made.tables.len();
        columns += made.tables.len() * COLUMNS;
        asked.push(Asked::new(&made, ROUNDS + 1, &mut random));
        schemas.put(made, &Cells::default(), "made")?;
    }
    let made = database(count, LARGE_TABLES);
    ensure!(made.tables.len() == LARGE_TABLES, "too few names");
    let large = Asked::new(&made, LARGE_QUESTIONS + 1, &mut random);
    schemas.put(made, &Cells::default(), "made")?;
    println!("{count} databases, {tables} tables, {columns} columns");

    let service = Service::start(config)?;
    let before = resident_mb()?;
    let started = Instant::now();
    let opened = service.ask(&asked[0], 0, &Way::Retrieval)?;
    let mut firsts = Vec::new();
    for database in &asked[1..] {
        firsts.push(service.ask(database, 0, &Way::Retrieval)?);
    }
    let ready = started.elapsed().as_secs_f64();
    let kept_mb = resident_mb()? - before;
    println!(
        "first question of all {:.0} ms, first to a database {:.0} ms; all ready in {ready:.0} s, \
         {kept_mb:.0} MB",
        opened.ms,
        median(&firsts)
    );
    let large_first = service.ask(&large, 0, &Way::Retrieval)?;

    let mut rows = Vec::new();
    for way in [Way::Retrieval, Way::Auto] {
        let watch = Watch::start()?;
        let cpu = Usage::own()?.cpu;
        let mut answers = Vec::new();
        for round in 1..=ROUNDS {
            for database in &asked {
                answers.push(service.ask(database, round, &way)?);
            }
        }
        rows.push(row("catalogue", &way, &answers, &watch, cpu)?);
        let watch = Watch::start()?;
        let cpu = Usage::own()?.cpu;
        let mut answers = Vec::new();
        for round in 1..=LARGE_QUESTIONS {
            answers.push(service.ask(&large, round, &way)?);
        }
        rows.push(row("3,000 columns", &way, &answers, &watch, cpu)?);
    }
    let rate = service.rate(&asked)?;
    println!("{CALLERS} callers at once: {rate:.0} questions a second");
    let peak = Usage::own()?.peak_mb;
    service.stop()?;
    report(
        "schema",
        &json!({
            "databases": count,
            "tables": tables,
            "columns": columns,
            "large": {"tables": LARGE_TABLES, "columns": LARGE_TABLES * COLUMNS,
                      "first_ms": large_first.ms},
            "first_of_all_ms": opened.ms,
            "first_ms": median(&firsts),
            "ready_s": ready,
            "kept_mb": kept_mb,
            "peak_mb": peak,
            "budget": BUDGET,
            "questions": rows,
            "questions_per_s": rate,
            "callers": CALLERS,
        }),
    )
}

/// What is asked of a database.
struct Asked {
    path: String,
    questions: Vec<(String, String)>,
}

impl Asked {
    fn new(database: &Database, count: usize, random: &mut StdRng) -> Asked {
        Asked {
            path: format!("/v1/schemas/{}:retrieve", database.name),
            questions: (0..count).map(|_| question(database, random)).collect(),
        }
    }
}

/// How a question is asked; whatever is not said is the default.
enum Way {
    /// What retrieval finds, as the quality figures have it.
    Retrieval,
    /// All where that is within the budget; it never is here.
    Auto,
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Way::Retrieval => "retrieval",
            Way::Auto => "auto, with a budget",
        }
    }

    fn request(&self, (question, evidence): &(String, String)) -> Value {
        match self {
            Way::Retrieval => {
                json!({"question": question, "evidence": evidence, "strategy": "retrieval"})
            }
            Way::Auto => {
                json!({"question": question, "evidence": evidence, "token_budget": BUDGET})
            }
        }
    }
}

/// An answer: how long it took, and what was in it.
struct Answer {
    ms: f64,
    columns: usize,
    tokens: f64,
}

fn median(answers: &[Answer]) -> f64 {
    share(answers, 0.5)
}

fn share(answers: &[Answer], share: f64) -> f64 {
    let times: Vec<f64> = answers.iter().map(|answer| answer.ms).collect();
    percentile(&times, share)
}

fn row(what: &str, way: &Way, answers: &[Answer], watch: &Watch, cpu: f64) -> Result<Value> {
    let used = Usage::own()?.cpu - cpu;
    let others = watch.others(used)?;
    let count = answers.len() as f64;
    let mean = |figure: fn(&Answer) -> f64| answers.iter().map(figure).sum::<f64>() / count;
    let columns = mean(|answer| answer.columns as f64);
    let tokens = mean(|answer| answer.tokens);
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|at| share(answers, at));
    println!(
        "{what}, {:<20} median {p50:>6.1} ms, p95 {p95:>6.1}, p99 {p99:>6.1}; {:.1} ms of \
         processor; {columns:.1} columns, {tokens:.0} tokens; others took {others:.2} cores",
        way.name(),
        1e3 * used / count
    );
    Ok(json!({
        "what": what, "strategy": way.name(), "questions": answers.len(), "p50_ms": p50,
        "p95_ms": p95, "p99_ms": p99, "cpu_ms": 1e3 * used / count, "avg_columns": columns,
        "avg_tokens": tokens, "others_cores": others,
    }))
}

/// The service, on a port of its own.
struct Service {
    url: String,
    agent: ureq::Agent,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Service {
    fn start(config: Config) -> Result<Service> {
        let (send, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || -> Result<()> {
            let catalog = Arc::new(Catalog::new(&config)?);
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let server = Server::bind(&config, catalog).await?;
                send.send(server.local_addr())?;
                let stop = async {
                    let _ = stopped.await;
                };
                Ok(server.run(stop).await?)
            })
        });
        Ok(Service {
            url: format!("http://{}", address.recv().context("the service ended")?),
            agent: ureq::Agent::config_builder()
                .timeout_global(Some(Duration::from_secs(120)))
                .build()
                .new_agent(),
            stop,
            thread,
        })
    }

    fn ask(&self, asked: &Asked, number: usize, way: &Way) -> Result<Answer> {
        let body = way.request(&asked.questions[number]);
        let started = Instant::now();
        let mut response = self
            .agent
            .post(format!("{}{}", self.url, asked.path))
            .send_json(&body)?;
        let answer = response.body_mut().read_to_vec()?;
        let ms = 1e3 * started.elapsed().as_secs_f64();
        let answer: Value = serde_json::from_slice(&answer)?;
        ensure!(answer["strategy"] == "retrieval", "all of it was kept");
        let tables = answer["tables"].as_array().context("no tables")?.iter();
        Ok(Answer {
            ms,
            columns: tables
                .map(|table| table["columns"].as_array().map_or(0, Vec::len))
                .sum(),
            tokens: answer["tokens"].as_f64().context("no tokens")?,
        })
    }

    /// Questions a second with some callers at once.
    fn rate(&self, asked: &[Asked]) -> Result<f64> {
        let started = Instant::now();
        let mut answered = 0;
        std::thread::scope(|scope| -> Result<()> {
            let parts = asked.chunks(asked.len().div_ceil(CALLERS));
            let callers: Vec<_> = parts
                .map(|part| {
                    scope.spawn(move || -> Result<usize> {
                        for database in part {
                            for round in 1..=ROUNDS {
                                self.ask(database, round, &Way::Retrieval)?;
                            }
                        }
                        Ok(part.len() * ROUNDS)
                    })
                })
                .collect();
            for caller in callers {
                let done = caller
                    .join()
                    .map_err(|_| anyhow::anyhow!("a caller panicked"))?;
                answered += done?;
            }
            Ok(())
        })?;
        Ok(answered as f64 / started.elapsed().as_secs_f64())
    }

    fn stop(self) -> Result<()> {
        drop(self.stop);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the service panicked"))?
    }
}
