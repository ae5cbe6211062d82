//! How many functions are parsed and featurised a second on two cores.
//!
//! The functions are those of this repository (Rust and Python), each of them a text of its own
//! as it is in an index; a file is cut first, which is measured apart. Nothing is encoded.
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
use rayon::prelude::*;
use serde_json::json;
use support::report;

const CORES: usize = 2;
/// Every figure is the median of so many runs.
const RUNS: usize = 5;

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
    report(
        "code",
        &json!({
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
