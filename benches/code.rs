//! How many functions are parsed and featurised a second on two cores.
//!
//! The functions are those of this repository (Rust and Python), each of them a text of its own
//! as it is in an index; a file is cut first, which is measured apart. Where `GLEANER_MODELS` holds the
//! model of code, the same functions are encoded by it with their syntax and as plain texts, in turns.
//!
//! `GLEANER_BENCH_CODE` names another folder.

#![allow(clippy::print_stdout)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gleaner::code::{
    CodeGraph, CutLimits, Cutting, GraphLimits, Kind, Language, Limits, cut, parse,
};
use gleaner::model::{EncodeOptions, Input, RuntimeOptions, Task, TextEncoder};
use rayon::prelude::*;
use serde_json::json;
use support::report;

const CORES: usize = 2;
/// Every figure is the median of so many runs.
const RUNS: usize = 5;
/// Functions that are encoded, at most.
const ENCODED: usize = 1_000;

fn main() -> Result<()> {
    let folder = match std::env::var_os("GLEANER_BENCH_CODE") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    };
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(&folder).require_git(false).build() {
        let entry = entry?;
        let Ok(text) = std::fs::read_to_string(entry.path()) else {
            continue;
        };
        if let Some(language) = Language::of_file(entry.path(), &text) {
            files.push((entry.into_path(), language, text));
        }
    }
    ensure!(!files.is_empty(), "no code in {}", folder.display());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(CORES).build()?;
    let functions = pool.install(|| cut_all(&files));
    let cutting = median(|| {
        pool.install(|| cut_all(&files));
    });
    let limits = GraphLimits::default();
    let nodes = |functions: &[(Language, String)]| -> usize {
        let graphs = functions.par_iter().map(|(language, code)| {
            CodeGraph::new(*language, code, &limits).map_or(0, |graph| graph.len())
        });
        graphs.sum()
    };
    let total = pool.install(|| nodes(&functions));
    let graphs = median(|| {
        pool.install(|| nodes(&functions));
    });
    let count = functions.len() as f64;
    let (cut_s, graph_s) = (cutting.as_secs_f64(), graphs.as_secs_f64());
    println!(
        "{} files, {} functions, {total} nodes, {CORES} cores",
        files.len(),
        functions.len()
    );
    println!(
        "  cutting files          {:>8.0} functions/s",
        count / cut_s
    );
    println!(
        "  parsing and graphs     {:>8.0} functions/s",
        count / graph_s
    );
    println!(
        "  both                   {:>8.0} functions/s",
        count / (cut_s + graph_s)
    );
    let encoding = encoding(&functions)?;
    report(
        "code",
        &json!({
            "encoding": encoding,
            "files": files.len(),
            "functions": functions.len(),
            "nodes": total,
            "cores": CORES,
            "cut_functions_per_s": count / cut_s,
            "graph_functions_per_s": count / graph_s,
            "functions_per_s": count / (cut_s + graph_s),
        }),
    )
}

/// What encoding with the syntax costs, beside the encoder alone; nothing without a model.
fn encoding(functions: &[(Language, String)]) -> Result<serde_json::Value> {
    let folders = std::env::var_os("GLEANER_MODELS").unwrap_or_default();
    let folder = std::env::split_paths(&folders)
        .map(|folder| folder.join("gleaner-code"))
        .find(|folder| folder.join("model.toml").is_file());
    let Some(folder) = folder else {
        println!("  encoding: skipped, no folder of GLEANER_MODELS holds gleaner-code");
        return Ok(serde_json::Value::Null);
    };
    let options = RuntimeOptions {
        sessions: Some(CORES),
        threads_per_session: 1,
        ..RuntimeOptions::default()
    };
    let encoder = TextEncoder::open(&folder, &options)?;
    let step = (functions.len() / ENCODED).max(1);
    let some: Vec<_> = functions.iter().step_by(step).take(ENCODED).collect();
    let code: Vec<Input<'_>> = some.iter().map(|(l, code)| Input::Code(*l, code)).collect();
    let texts: Vec<Input<'_>> = some.iter().map(|(_, code)| Input::Text(code)).collect();
    let task = EncodeOptions::new(Task::Document);
    let run = |inputs: &[Input<'_>]| -> Result<f64> {
        let started = Instant::now();
        encoder.encode_with(&task, inputs)?;
        Ok(started.elapsed().as_secs_f64())
    };
    run(&code)?;
    // In turns, so that what else the machine does meets both.
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        times.0.push(run(&texts)?);
        times.1.push(run(&code)?);
    }
    let middle = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[RUNS / 2]
    };
    let (alone, graph) = (middle(&mut times.0), middle(&mut times.1));
    let per_s = |seconds: f64| some.len() as f64 / seconds;
    println!("  encoder alone          {:>8.0} functions/s", per_s(alone));
    println!("  with the graph         {:>8.0} functions/s", per_s(graph));
    println!("  cost of the graph      {:>8.2} x", graph / alone);
    Ok(json!({
        "functions": some.len(),
        "alone_functions_per_s": per_s(alone),
        "graph_functions_per_s": per_s(graph),
        "ratio": graph / alone,
    }))
}

/// The functions and methods of all files.
fn cut_all(files: &[(PathBuf, Language, String)]) -> Vec<(Language, String)> {
    let cut_limits = CutLimits::default();
    let of = |(path, language, text): &(PathBuf, Language, String)| -> Vec<(Language, String)> {
        let Ok(syntax) = parse(*language, text, &Limits::default()) else {
            return Vec::new();
        };
        let path = path.to_string_lossy();
        let cutting = Cutting {
            path: &path,
            limits: &cut_limits,
        };
        let units = cut(&syntax, text, cutting).into_iter();
        units
            .filter(|unit| matches!(unit.kind, Kind::Function | Kind::Method))
            .map(|unit| (*language, unit.code))
            .collect()
    };
    files.par_iter().flat_map_iter(of).collect()
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}
