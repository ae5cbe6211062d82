//! A hybrid query over HTTP, split into its stages.
//!
//! `make bench-search`: loads SciFact (from `GLEANER_BENCH_DATA`) into an index, serves
//! it on a loopback port and asks its 300 test claims in rounds, one at a time over one
//! kept-alive connection. Writes `reports/search.json`.
//!
//! # How to read the split
//! `over HTTP` is the wall time from sending a request to having the answer's last byte.
//! `encode` is the encoder's own time as the answer reports it: tokenising, the graph,
//! pooling; waiting for another thread or for a busy encoder is not in it. `HTTP minus
//! encode` is their difference, query by query: what everything but the encoder adds. The
//! words are searched while the encoder runs and are nearly always done first, so they
//! appear in the difference only as far as they are not; handing the query to the
//! encoder's thread and its vector back does, as does all that HTTP costs on both ends.
//! `the rest` is the difference without the stages that follow one another: those two
//! hand-overs, HTTP, JSON, scheduling.
//!
//! The quantiles are over all queries of all rounds but the first. `undisturbed` is the
//! median over the queries of each one's fastest round, stage by stage: other work on the
//! machine only ever adds time.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use gleaner::api::Server;
use gleaner::config::Config;
use gleaner::index::Catalog;
use serde_json::{Value, json};
use support::machine::{Usage, Watch};
use support::{bench_data, least, median, percentile, report};

/// Rounds over all queries; the first warms up and is not counted.
const ROUNDS: usize = 8;

const STAGES: [&str; 10] = [
    "over HTTP",
    "encode",
    "filter",
    "words",
    "vectors",
    "fusion",
    "fetch",
    "inside",
    "HTTP minus encode",
    "the rest",
];

fn main() -> Result<()> {
    let Some(data) = bench_data("retrieval/scifact")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let mut config = Config::load(None)?;
    config.data.folder = folder.path().join("data");
    config.server.listen = "127.0.0.1:0".into();
    let catalog = Arc::new(Catalog::new(&config)?);
    let index = catalog.create(support::beir_definition()?)?;
    let corpus = support::corpus_file(&data, folder.path())?;
    println!("loading {} ...", data.display());
    support::load(&index, &corpus, &config, folder.path())?;
    let queries = support::queries(&data)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let server = runtime.block_on(Server::bind(&config, catalog.clone()))?;
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.run(async {
        let _ = stopped.await;
    }));
    let url = format!("http://{address}/v1/indexes/{}/search", index.name());
    let agent = ureq::Agent::new_with_defaults();

    // Of each stage and query, the times of the rounds, in milliseconds.
    let mut times = vec![vec![Vec::new(); queries.len()]; STAGES.len()];
    let mut asking = 0.0;
    let watch = Watch::start()?;
    let cpu = Usage::own()?.cpu;
    for round in 0..ROUNDS {
        for (n, query) in queries.iter().enumerate() {
            let began = Instant::now();
            let mut response = agent
                .post(&url)
                .send_json(json!({"query": query, "mode": "hybrid", "k": 10}))
                .with_context(|| format!("asking {query:?}"))?;
            let answer = response.body_mut().read_to_vec()?;
            let wall = began.elapsed().as_secs_f64();
            let answer: Value = serde_json::from_slice(&answer)?;
            anyhow::ensure!(
                answer["hits"]
                    .as_array()
                    .is_some_and(|hits| hits.len() == 10)
                    && answer["degraded"].as_array().is_none_or(Vec::is_empty),
                "a query came back short: {answer}"
            );
            if round == 0 {
                continue;
            }
            asking += wall;
            for (stage, time) in times.iter_mut().zip(split(wall * 1e3, &answer["timings"])) {
                stage[n].push(time);
            }
        }
    }
    let others = watch.others(Usage::own()?.cpu - cpu)?;
    let _ = stop.send(());
    runtime.block_on(serving)??;

    let asked = (ROUNDS - 1) * queries.len();
    println!(
        "{asked} hybrid queries over {} documents, one at a time; others took {others:.2} cores",
        index.view().documents
    );
    println!(
        "{:<20} {:>9} {:>9} {:>12}   ms",
        "stage", "p50", "p99", "undisturbed"
    );
    let mut rows = Vec::new();
    for (name, queries) in STAGES.iter().zip(&times) {
        let all = queries.concat();
        let fastest: Vec<f64> = queries.iter().map(|rounds| least(rounds)).collect();
        let row = [median(&all), percentile(&all, 0.99), median(&fastest)];
        println!(
            "{name:<20} {:>9.3} {:>9.3} {:>12.3}",
            row[0], row[1], row[2]
        );
        rows.push(row);
    }
    let of = |name: &str, column: usize| {
        let stage = STAGES.iter().position(|stage| *stage == name);
        stage.map_or(f64::NAN, |stage| rows[stage][column])
    };
    report(
        "search",
        &json!({
            "p50_ms": of("over HTTP", 0),
            "p99_ms": of("over HTTP", 1),
            "encoder_ms": of("encode", 0),
            "without_encoder_ms": of("HTTP minus encode", 0),
            "without_encoder_undisturbed_ms": of("HTTP minus encode", 2),
            "words_ms": of("words", 0),
            "vectors_ms": of("vectors", 0),
            "fusion_ms": of("fusion", 0),
            "fetch_ms": of("fetch", 0),
            "qps": asked as f64 / asking,
            "others_cores": others,
            "peers": {},
        }),
    )
}

/// The stages of one answer, in the order of [`STAGES`]; milliseconds.
fn split(wall: f64, timings: &Value) -> [f64; STAGES.len()] {
    let t = |name: &str| timings[name].as_f64().unwrap_or(f64::NAN);
    let left = wall - t("encode_ms");
    let after = t("filter_ms") + t("vectors_ms") + t("fusion_ms") + t("fetch_ms");
    [
        wall,
        t("encode_ms"),
        t("filter_ms"),
        t("words_ms"),
        t("vectors_ms"),
        t("fusion_ms"),
        t("fetch_ms"),
        t("total_ms"),
        left,
        left - after,
    ]
}
