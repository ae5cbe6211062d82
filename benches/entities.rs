//! A catalog of millions of names: building it, what it takes, and how fast it answers.
//!
//! `make bench-entities`: builds a catalog of the names in `entities/titles.txt.gz` of the data
//! folder and of nothing else (`--names N` for the first so many), asks it, and does the same with
//! an `fst::Map` over the same tokens, two bytes a token; writes `reports/entities.json`.
//!
//! * **build**: from the compressed file to the synced catalog, tokenising included.
//! * **children**: the allowed tokens after a prefix of a name, at least one token long: walking
//!   to the prefix from the root, and listing them. Prefixes are of names drawn at random.
//! * **memory**: what a process that opened the catalog has in memory (anonymous pages and touched
//!   pages of files) more than before, after 100,000 such questions and 1,000 names read.
//!   The tokenizer's part of it is told apart.
//! * **linking**: texts of 250 words, one after the other, linked to a catalog of the same names with
//!   their aliases; made of the texts of `entities/linking/news-fair-v2-dev.jsonl`. With the
//!   generator `gleaner-generator` too, where it is among the models.

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fst::raw::Fst;
use gleaner::entity::{
    BuildInput, BuildOptions, Catalogs, EntityLinker, LinkMethod, LinkRequest, Mentions, NewAlias,
    View, Weighings,
};
use gleaner::error::Result as Answer;
use gleaner::eval::marked_documents;
use gleaner::ingest::{NameOptions, read_aliases, read_names};
use gleaner::model::{Generator, NameTokenizer, RuntimeOptions, TextEncoder};
use serde_json::json;
use support::{percentile, report};

const QUESTIONS: usize = 100_000;
const READ: usize = 1_000;
/// Words of a text that is linked, and how many texts.
const WORDS: usize = 250;
const TEXTS: usize = 40;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let Some(data) = std::env::var_os("GLEANER_BENCH_DATA").map(PathBuf::from) else {
        println!("skipped: GLEANER_BENCH_DATA names no folder");
        return Ok(());
    };
    let names = data.join("entities/titles.txt.gz");
    if !names.is_file() {
        println!("skipped: {} is missing", names.display());
        return Ok(());
    }
    let models = std::env::var_os("GLEANER_MODELS").map(PathBuf::from);
    let models = models
        .or_else(|| gleaner::config::cache_folder().map(|cache| cache.join("models")))
        .context("no models")?;
    let model = models.join("gleaner-minilm");
    let most = match value("--names") {
        Some(most) => most.parse()?,
        None => usize::MAX,
    };
    let folder = tempfile::tempdir()?;
    let none = &mut std::iter::empty();
    let build = build(folder.path(), "bench", &names, none, &model, most)?;
    let ours = ours(folder.path(), &model)?;
    let peer = peer(folder.path())?;
    println!("{:<28}{:>14}{:>14}", "", "gleaner", "fst");
    let row = |name: &str, ours: f64, peer: Option<f64>| {
        let peer = peer.map_or("-".into(), |peer| format!("{peer:.2}"));
        println!("{name:<28}{ours:>14.2}{peer:>14}");
    };
    row("names", build.names as f64, None);
    row("build, s", build.seconds, None);
    row("peak memory of it, MB", build.peak_mb, None);
    row("on disk, MB", ours.disk_mb, None);
    row("trie on disk, MB", ours.trie_mb, Some(peer.disk_mb));
    row("in memory, MB", ours.resident_mb, Some(peer.resident_mb));
    row("of it the tokenizer, MB", ours.tokenizer_mb, None);
    row(
        "children, median us",
        ours.children.0,
        Some(peer.children.0),
    );
    row("children, 99th us", ours.children.1, Some(peer.children.1));
    row("a name read, median us", ours.name_us, None);
    let mut linked = serde_json::Map::new();
    for generator in [None, Some(models.join("gleaner-generator"))] {
        let name = match &generator {
            None => "without a generator",
            Some(folder) if folder.is_dir() => "with a generator",
            Some(_) => continue,
        };
        let figures = linking(folder.path(), &data, &model, generator.as_deref(), most)?;
        println!(
            "linking {name}: median {:.3} s for {WORDS} words, {:.0} tokens and {:.0} mentions a \
             second",
            figures.median_s, figures.tokens_a_second, figures.mentions_a_second
        );
        linked.insert(
            name.replace(' ', "_"),
            json!({
                "median_s": figures.median_s, "p90_s": figures.p90_s,
                "tokens_a_second": figures.tokens_a_second,
                "mentions_a_second": figures.mentions_a_second,
            }),
        );
    }
    report(
        "entities",
        &json!({
            "names": build.names, "build_s": build.seconds, "build_peak_mb": build.peak_mb,
            "disk_mb": ours.disk_mb, "trie_mb": ours.trie_mb, "resident_mb": ours.resident_mb,
            "tokenizer_mb": ours.tokenizer_mb, "children_us": ours.children.0,
            "children_p99_us": ours.children.1, "name_us": ours.name_us, "linking": linked,
            "fst": {"trie_mb": peer.disk_mb, "resident_mb": peer.resident_mb,
                    "children_us": peer.children.0, "children_p99_us": peer.children.1},
        }),
    )?;
    Ok(())
}

struct Built {
    names: u64,
    seconds: f64,
    peak_mb: f64,
}

fn build(
    folder: &Path,
    catalog: &str,
    names: &Path,
    aliases: &mut dyn Iterator<Item = Answer<NewAlias>>,
    model: &Path,
    most: usize,
) -> Result<Built> {
    let started = Instant::now();
    let options = NameOptions { underscores: true };
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let built = Catalogs::new(folder).build(
        catalog,
        &BuildOptions {
            model: name.into_owned(),
            model_folder: model.to_path_buf(),
            max_tokens: 128,
            after_space: false,
            replace: true,
        },
        BuildInput {
            names: &mut read_names(names, options)?.take(most),
            aliases,
            rejects: &mut |_| Ok(()),
            progress: &mut |_| {},
        },
    )?;
    println!("{built:?}");
    Ok(Built {
        names: built.names,
        seconds: started.elapsed().as_secs_f64(),
        peak_mb: memory("VmHWM")?,
    })
}

/// A line of what Linux says of this process's memory, in megabytes.
fn memory(line: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|other| other.starts_with(line));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: f64 = kilobytes.context("no such line")?.parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Gives freed memory back to the system, so that what building left does not count.
fn trim() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> i32;
    }
    // SAFETY: glibc's own function, which takes any number.
    unsafe { malloc_trim(0) };
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % most.max(1) as u64) as usize
    }
}

struct Measured {
    disk_mb: f64,
    trie_mb: f64,
    resident_mb: f64,
    tokenizer_mb: f64,
    children: (f64, f64),
    name_us: f64,
}

/// Prefixes of names drawn at random, at least a token long, the names themselves included.
fn prefixes(view: &View, random: &mut Random, count: usize) -> Result<Vec<Vec<u32>>> {
    let mut prefixes = Vec::new();
    while prefixes.len() < count {
        let number = random.below(view.len()) as u32;
        let record = view.record(number)?.context("a name")?;
        let tokens = view.tokenizer().tokens(&record.name)?.context("tokens")?;
        prefixes.push(tokens[..=random.below(tokens.len())].to_vec());
    }
    Ok(prefixes)
}

fn ours(folder: &Path, model: &Path) -> Result<Measured> {
    let mut random = Random(1);
    // Drawn from a catalog of its own, so that what this touches does not count.
    let asked = prefixes(
        &Catalogs::new(folder).view("bench")?,
        &mut random,
        QUESTIONS,
    )?;
    trim();
    let before = memory("VmRSS")?;
    let tokenizer = NameTokenizer::open(model)?;
    let tokenizer_mb = memory("VmRSS")? - before;
    drop(tokenizer);
    trim();
    let before = memory("VmRSS")?;
    let catalogs = Catalogs::new(folder);
    let view = catalogs.view("bench")?;
    let info = catalogs.info("bench")?;
    let mut times = Vec::with_capacity(asked.len());
    let mut children = Vec::new();
    let mut found = 0;
    for prefix in &asked {
        let started = Instant::now();
        let node = view.walk(prefix).context("a prefix")?;
        view.children(node, &mut children);
        times.push(started.elapsed().as_secs_f64() * 1e6);
        found += children.len();
    }
    ensure!(found > 0);
    let mut reads = Vec::new();
    for _ in 0..READ {
        let number = random.below(view.len()) as u32;
        let started = Instant::now();
        ensure!(view.record(number)?.is_some());
        reads.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let resident_mb = memory("VmRSS")? - before;
    Ok(Measured {
        disk_mb: info.bytes as f64 / 1e6,
        trie_mb: info.mapped_bytes as f64 / 1e6,
        resident_mb,
        tokenizer_mb,
        children: (percentile(&times, 0.5), percentile(&times, 0.99)),
        name_us: percentile(&reads, 0.5),
    })
}

struct Linking {
    median_s: f64,
    p90_s: f64,
    tokens_a_second: f64,
    mentions_a_second: f64,
}

/// Links texts to a catalog that has the aliases too.
fn linking(
    folder: &Path,
    data: &Path,
    encoder: &Path,
    generator: Option<&Path>,
    most: usize,
) -> Result<Linking> {
    let data = data.join("entities");
    let reading = NameOptions { underscores: true };
    let speller = generator.unwrap_or(encoder);
    let mut aliases = read_aliases(&data.join("aliases.tsv.gz"), reading)?;
    let names = data.join("titles.txt.gz");
    build(folder, "linking", &names, &mut *aliases, speller, most)?;
    let view = Catalogs::new(folder).view("linking")?;
    let options = RuntimeOptions::default();
    let generator = generator.map(|folder| Generator::open(folder, &options));
    let encoder = TextEncoder::open(encoder, &options)?;
    let linker = EntityLinker::new(encoder, generator.transpose()?, &Weighings::shipped()?);
    let documents = std::fs::read_to_string(data.join("linking/news-fair-v2-dev.jsonl"))?;
    let documents = marked_documents(&documents)?;
    let words = documents
        .iter()
        .flat_map(|one| one.text.split_inclusive(char::is_whitespace));
    let words: Vec<&str> = words.collect();
    let (mut times, mut tokens, mut mentions) = (Vec::new(), 0, 0);
    for text in words.chunks_exact(WORDS).take(TEXTS) {
        let text = text.concat();
        tokens += view.tokenizer().text_tokens(&text)?.len();
        let request = LinkRequest {
            catalog: String::new(),
            text,
            method: LinkMethod::Detect,
            mentions: Mentions::Capitalized,
            threshold: None,
            alternatives: 0,
        };
        let started = Instant::now();
        mentions += linker.link(&view, &request)?.mentions.len();
        times.push(started.elapsed().as_secs_f64());
    }
    let all: f64 = times.iter().sum();
    Ok(Linking {
        median_s: percentile(&times, 0.5),
        p90_s: percentile(&times, 0.9),
        tokens_a_second: tokens as f64 / all,
        mentions_a_second: mentions as f64 / all,
    })
}

/// The same tokens in an `fst`: two bytes a token, the most significant first, and two of 255 at
/// the end of a name; its number is the output.
fn peer(folder: &Path) -> Result<Measured> {
    let path = folder.join("peer.fst");
    let mut random = Random(1);
    let asked = {
        let view = Catalogs::new(folder).view("bench")?;
        let asked = prefixes(&view, &mut random, QUESTIONS)?;
        let file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let mut builder = fst::MapBuilder::new(file)?;
        let mut number = 0;
        let mut stack = vec![(view.root(), Vec::new())];
        let mut children = Vec::new();
        while let Some((node, key)) = stack.pop() {
            if view.ends(node) {
                builder.insert(&key, number)?;
                number += 1;
            }
            view.children(node, &mut children);
            for &(token, child) in children.iter().rev() {
                let mut longer = key.clone();
                longer.extend_from_slice(&(token as u16).to_be_bytes());
                stack.push((child, longer));
            }
        }
        builder.finish()?;
        asked
    };
    trim();
    let before = memory("VmRSS")?;
    let file = std::fs::File::open(&path)?;
    // SAFETY: nobody else knows of the file.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    let fst = Fst::new(map)?;
    let mut times = Vec::with_capacity(asked.len());
    let mut found = 0;
    let mut children: Vec<u32> = Vec::new();
    for prefix in &asked {
        let started = Instant::now();
        let mut node = fst.root();
        for byte in prefix
            .iter()
            .flat_map(|&token| (token as u16).to_be_bytes())
        {
            let at = node.find_input(byte).context("a prefix")?;
            node = fst.node(node.transition_addr(at));
        }
        children.clear();
        for first in node.transitions() {
            let high = u32::from(first.inp) << 8;
            let next = fst.node(first.addr);
            children.extend(
                next.transitions()
                    .map(|second| high | u32::from(second.inp)),
            );
        }
        times.push(started.elapsed().as_secs_f64() * 1e6);
        found += children.len();
    }
    ensure!(found > 0);
    let disk = std::fs::metadata(&path)?.len() as f64 / 1e6;
    Ok(Measured {
        disk_mb: disk,
        trie_mb: disk,
        resident_mb: memory("VmRSS")? - before,
        tokenizer_mb: 0.0,
        children: (percentile(&times, 0.5), percentile(&times, 0.99)),
        name_us: 0.0,
    })
}
