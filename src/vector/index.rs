//! The growing index: adding, publishing, and building graphs in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem, Result};
use crate::filter::OrdinalSet;

use super::build::{BuildGraph, GraphOptions, HnswRs, Native};
use super::compaction::{Live, merge_flat, pick, rewrite};
use super::folder::{Folder, Owner};
use super::kernels::kernels;
use super::reader::VectorReader;
use super::rows::{Rows, RowsBuilder};
use super::segment::Segment;
use super::space::{MOST_DIMENSIONS, Metric, Shape, Storage, check_stored};

/// Passages of a document: their numbers have 16 bits.
const MOST_PASSAGES: usize = 1 << 16;
/// Rows waiting to be published.
const MOST_PENDING: usize = 1 << 29;

/// What builds graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Builder {
    /// This project's: parallel, always the same graph, goes on from one that is there.
    #[default]
    Native,
    /// The `hnsw_rs` crate, its graph laid out like ours: several times slower.
    HnswRs,
}

/// What an index of vectors is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorOptions {
    /// Values per vector, 1 to 4,096.
    pub dimensions: usize,
    /// How two vectors are compared.
    pub metric: Metric,
    /// How they are kept for searching.
    pub storage: Storage,
    /// Passages in flat segments from which a graph is built over them;
    /// `usize::MAX` for never.
    pub graph_threshold: usize,
    /// Links per passage and layer of a graph, twice as many on its base layer;
    /// kept within 4 to 128.
    pub m: usize,
    /// Beam width while a graph is built, at least `m` in effect.
    pub ef_construction: usize,
    /// Threads that graphs are built with; 0 for as many as the machine has. They step back
    /// for everything else that wants to run, so that searches go on meanwhile.
    pub build_threads: usize,
    /// What builds the graphs.
    pub builder: Builder,
    /// What the layers of graphs are drawn from: the same segments, options and seed give
    /// the same graphs with [`Builder::Native`], whatever the number of threads.
    pub seed: u64,
}

impl VectorOptions {
    /// The defaults for vectors of this many dimensions.
    pub fn new(dimensions: usize) -> VectorOptions {
        VectorOptions {
            dimensions,
            metric: Metric::default(),
            storage: Storage::default(),
            graph_threshold: 20_000,
            m: 16,
            ef_construction: 200,
            build_threads: 0,
            builder: Builder::default(),
            seed: 0,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            dimensions: self.dimensions,
            metric: self.metric,
            storage: self.storage,
        }
    }

    pub(super) fn builder(&self) -> &'static dyn BuildGraph {
        match self.builder {
            Builder::Native => &Native,
            Builder::HnswRs => &HnswRs,
        }
    }

    pub(super) fn graph(&self) -> GraphOptions {
        GraphOptions {
            m: self.m,
            ef: self.ef_construction,
            seed: self.seed,
        }
    }
}

/// Vectors of documents, several per document, growing. See the module for what
/// it promises. Shared between threads as it is; searches go through a
/// [`VectorReader`] and never wait.
pub struct VectorIndex {
    inner: Arc<Inner>,
}

struct Inner {
    options: VectorOptions,
    /// Where segments with a graph are kept.
    folder: Option<Folder>,
    /// Builds have threads of their own: on those that everybody shares, a query that is to
    /// be encoded would wait for a whole batch of insertions.
    threads: rayon::ThreadPool,
    state: Mutex<State>,
    idle: Condvar,
    reader: ArcSwap<VectorReader>,
    closing: AtomicBool,
    rewrites: Rewrites,
}

/// What was done in the background since the index was opened.
#[derive(Default)]
struct Rewrites {
    done: AtomicU64,
    failed: AtomicU64,
    nanoseconds: AtomicU64,
}

/// Figures of an index of vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VectorFigures {
    /// Passages that were added and wait for a publication.
    pub unpublished: u64,
    /// Passages in flat segments, which every search scans; dead ones included, as below.
    pub flat: u64,
    /// Passages in segments with a graph.
    pub in_graphs: u64,
    /// Flat segments.
    pub flat_segments: u64,
    /// Segments with a graph.
    pub graph_segments: u64,
    /// Bytes of memory that vectors and graphs take; what sealed files hold is not counted.
    pub memory_bytes: u64,
    /// Whether a graph is being built, or a file read through.
    pub is_busy: bool,
    /// Graphs that were built, and segments that were rewritten, since the index was opened.
    pub rewrites: u64,
    /// Those that failed.
    pub failed_rewrites: u64,
    /// Seconds that the former took.
    pub rewrite_seconds: f64,
}

struct State {
    pending: RowsBuilder,
    /// Those a job is working on first, then the others in order of age.
    segments: Vec<Arc<Segment>>,
    /// How many of the first are being worked on.
    busy: usize,
    /// The worker is done with a job and has not looked for the next one.
    settling: bool,
    live: Live,
    /// The sealed segments were opened and their files not read through yet.
    unverified: bool,
    /// Documents whose files turned out damaged.
    lost: Vec<u32>,
    /// After a job failed: how many rows there have to be for the next one.
    wait_for_rows: usize,
    worker: Option<JoinHandle<()>>,
}

impl VectorIndex {
    /// An empty index, in memory only.
    ///
    /// Errors: `invalid_definition` for a number of dimensions out of range.
    pub fn new(options: VectorOptions) -> Result<VectorIndex> {
        VectorIndex::make(options, None)
    }

    /// An index that keeps its segments with graphs in files in `folder`, and begins with
    /// those of `owner` that are there. Documents that were added and are not in one of them
    /// have to be added again: [`VectorReader::documents`] tells. The files are read through
    /// in the background; documents of one that turns out damaged are dropped and have to be
    /// added again as well: [`VectorIndex::lost`] tells. A file with an ordinal that the
    /// owner has not given yet belongs to another history (a store that was put back to an
    /// earlier state, say) and is not used.
    ///
    /// Errors: as `new`; operator errors where the folder cannot be used.
    pub fn open(options: VectorOptions, folder: &Path, owner: &Owner) -> Result<VectorIndex> {
        VectorIndex::make(options, Some((folder, owner)))
    }

    fn make(mut options: VectorOptions, folder: Option<(&Path, &Owner)>) -> Result<VectorIndex> {
        if !(1..=MOST_DIMENSIONS).contains(&options.dimensions) {
            return Err(Problem::new(
                Code::InvalidDefinition,
                "vectors of a number of dimensions that cannot be indexed",
            )
            .field("dimensions")
            .found(options.dimensions)
            .expected(format!("1 to {MOST_DIMENSIONS}"))
            .into());
        }
        options.m = options.m.clamp(4, 128);
        tracing::debug!(kernels = kernels().name, "vector index made");
        let shape = options.shape();
        let threads = match options.build_threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            threads => threads,
        };
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|n| format!("vector-build-{n}"))
            .start_handler(|_| step_back())
            .build()
            .map_err(|error| Error::operator_from("cannot start threads for graphs", error))?;
        let (folder, segments) = match folder {
            None => (None, Vec::new()),
            Some((path, owner)) => {
                let opened = threads.install(|| Folder::open(path, shape, owner));
                let (folder, segments) = opened.map_err(|error| {
                    Error::operator_from(format!("cannot use the folder {}", path.display()), error)
                })?;
                (Some(folder), segments)
            }
        };
        let segments: Vec<Arc<Segment>> = segments.into_iter().map(Arc::new).collect();
        let unverified = !segments.is_empty();
        let index = VectorIndex {
            inner: Arc::new(Inner {
                reader: ArcSwap::from_pointee(VectorReader::new(shape, segments.clone())),
                folder,
                threads,
                state: Mutex::new(State {
                    pending: RowsBuilder::new(shape),
                    segments,
                    busy: 0,
                    settling: false,
                    live: Live::default(),
                    unverified,
                    lost: Vec::new(),
                    wait_for_rows: 0,
                    worker: None,
                }),
                idle: Condvar::new(),
                closing: AtomicBool::new(false),
                rewrites: Rewrites::default(),
                options,
            }),
        };
        index.inner.start_background(&mut index.inner.state.lock());
        Ok(index)
    }

    /// What it was made with.
    pub fn options(&self) -> &VectorOptions {
        &self.inner.options
    }

    /// Adds a document: its passages one after another, each a vector. It is
    /// found from the next publication on. Without passages it does nothing. An
    /// ordinal is added once, as a new version of a document has a new one; added again, the
    /// nearer of both answers until a merge leaves the later.
    ///
    /// Errors: `invalid_vector` for what is not a whole number of vectors, for
    /// values that are not finite, and for more than 65,536 passages;
    /// `limit_exceeded` when half a billion passages wait for a publication.
    pub fn add(&self, ordinal: u32, passages: &[f32]) -> Result<()> {
        self.check(passages)?;
        let dimensions = self.inner.options.dimensions;
        if passages.is_empty() {
            return Ok(());
        }
        let mut state = self.inner.state.lock();
        if state.pending.len() + passages.len() / dimensions > MOST_PENDING {
            return Err(Problem::new(
                Code::LimitExceeded,
                "too many vectors wait for a publication",
            )
            .found(state.pending.len())
            .expected(format!("at most {MOST_PENDING}"))
            .into());
        }
        state.pending.push(ordinal, passages);
        Ok(())
    }

    /// Whether [`VectorIndex::add`] would take these passages: for writers that must know
    /// before they make a document durable.
    ///
    /// Errors: `invalid_vector`, as `add`.
    pub fn check(&self, passages: &[f32]) -> Result<()> {
        let dimensions = self.inner.options.dimensions;
        if !passages.len().is_multiple_of(dimensions) || passages.len() / dimensions > MOST_PASSAGES
        {
            return Err(Problem::new(
                Code::InvalidVector,
                "the vectors of a document do not have the index's shape",
            )
            .found(format!("{} values", passages.len()))
            .expected(format!(
                "at most {MOST_PASSAGES} vectors of {dimensions} values"
            ))
            .into());
        }
        for passage in passages.chunks_exact(dimensions) {
            check_stored(
                passage,
                dimensions,
                self.inner.options.metric,
                self.inner.options.storage,
                "vector",
            )?;
        }
        Ok(())
    }

    /// Says which of the ordinals below `below` are live. Merges and graphs made
    /// from now on leave the others out; ordinals from `below` on are kept.
    /// Searches are not affected: they say themselves what is allowed.
    pub fn set_live(&self, live: Arc<OrdinalSet>, below: u32) {
        let mut state = self.inner.state.lock();
        state.live.set = Some(live);
        state.live.below = below;
    }

    /// Makes everything added so far visible, in a new reader, which is also
    /// what [`VectorIndex::reader`] gives from now on. May start building a graph
    /// in the background.
    pub fn publish(&self) -> Arc<VectorReader> {
        let inner = &self.inner;
        let mut state = inner.state.lock();
        if state.pending.documents() > 0 {
            let shape = inner.options.shape();
            let pending = std::mem::replace(&mut state.pending, RowsBuilder::new(shape));
            let live = state.live.clone();
            let rows = Rows::merge(shape, &[&pending.finish()], |o| live.keeps(o));
            if rows.documents() > 0 {
                state.segments.push(Arc::new(Segment::flat(rows)));
                let fixed = state.busy;
                merge_flat(&mut state.segments, fixed, shape, &live);
            }
            inner.show(&state);
        }
        inner.start_background(&mut state);
        inner.reader.load_full()
    }

    /// What is visible now.
    pub fn reader(&self) -> Arc<VectorReader> {
        self.inner.reader.load_full()
    }

    /// Documents added, those not yet published and those deleted but not yet
    /// merged away included.
    pub fn len(&self) -> usize {
        let state = self.inner.state.lock();
        let published: usize = state.segments.iter().map(|s| s.rows().documents()).sum();
        published + state.pending.documents()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held by vectors and graphs; older readers still in use keep what
    /// they see in addition, and a build about as much again as what it reads.
    pub fn memory_bytes(&self) -> usize {
        let state = self.inner.state.lock();
        let segments: usize = state.segments.iter().map(|s| s.memory_bytes()).sum();
        segments + state.pending.memory_bytes()
    }

    /// How much it holds, and what was done in the background.
    pub fn figures(&self) -> VectorFigures {
        let state = self.inner.state.lock();
        let mut figures = VectorFigures {
            unpublished: state.pending.len() as u64,
            is_busy: state.busy > 0 || state.settling,
            memory_bytes: state.pending.memory_bytes() as u64,
            ..VectorFigures::default()
        };
        for segment in &state.segments {
            let (segments, rows) = match segment.graph() {
                Some(_) => (&mut figures.graph_segments, &mut figures.in_graphs),
                None => (&mut figures.flat_segments, &mut figures.flat),
            };
            *segments += 1;
            *rows += segment.rows().len() as u64;
            figures.memory_bytes += segment.memory_bytes() as u64;
        }
        drop(state);
        let rewrites = &self.inner.rewrites;
        figures.rewrites = rewrites.done.load(Ordering::Relaxed);
        figures.failed_rewrites = rewrites.failed.load(Ordering::Relaxed);
        figures.rewrite_seconds = rewrites.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        figures
    }

    /// Rewrites every segment with a graph that has a dead document, and waits until that and
    /// all other work in the background is done.
    pub fn compact(&self) {
        let mut state = self.inner.state.lock();
        state.live.purge = true;
        self.inner.start_background(&mut state);
        while state.busy > 0 || state.settling {
            self.inner.idle.wait(&mut state);
        }
        state.live.purge = false;
    }

    /// Whether documents have been dropped because the file that held them is damaged.
    pub fn has_lost(&self) -> bool {
        !self.inner.state.lock().lost.is_empty()
    }

    /// Those documents: they have to be added again.
    pub fn lost(&self) -> Vec<u32> {
        self.inner.state.lock().lost.clone()
    }

    /// Notes that they have been.
    pub fn restored(&self) {
        self.inner.state.lock().lost.clear();
    }

    /// Whether a graph is being built or a file read through.
    pub fn is_busy(&self) -> bool {
        let state = self.inner.state.lock();
        state.busy > 0 || state.settling
    }

    /// Waits until no graph is being built and every file has been read through.
    pub fn wait_for_background(&self) {
        let mut state = self.inner.state.lock();
        while state.busy > 0 || state.settling {
            self.inner.idle.wait(&mut state);
        }
    }
}

impl Drop for VectorIndex {
    fn drop(&mut self) {
        self.inner.closing.store(true, Ordering::Relaxed);
        let worker = self.inner.state.lock().worker.take();
        if let Some(worker) = worker {
            // It looks at `closing` before every row, and its panics are caught; a file that
            // is being written is finished.
            let _ = worker.join();
        }
    }
}

impl Inner {
    /// Swaps the reader for one over the segments as they are.
    fn show(&self, state: &State) {
        let reader = VectorReader::new(self.options.shape(), state.segments.clone());
        self.reader.store(Arc::new(reader));
    }

    /// Starts the background thread if there is work and none is at it.
    fn start_background(self: &Arc<Self>, state: &mut State) {
        if state.busy > 0 || state.settling {
            return;
        }
        // What is not known to be sound is not built upon.
        let unverified = std::mem::take(&mut state.unverified);
        let inputs = match unverified {
            true => Vec::new(),
            false => self.next_job(state),
        };
        if inputs.is_empty() && !unverified {
            return;
        }
        state.settling = unverified;
        let inner = Arc::clone(self);
        let work = move || {
            let mut inputs = match unverified {
                true => inner.verify(),
                false => inputs,
            };
            while !inputs.is_empty() {
                inputs = inner.work_on(inputs);
            }
        };
        match thread::Builder::new()
            .name("vector-build".into())
            .spawn(work)
        {
            // The one before has ended, or is about to: it holds nothing more.
            Ok(worker) => state.worker = Some(worker),
            Err(error) => {
                state.busy = 0;
                state.settling = false;
                state.unverified = unverified;
                tracing::warn!(%error, "cannot start building a graph; searches scan instead");
            }
        }
    }

    /// Reads the files of the sealed segments through and drops the segments of those that
    /// are damaged; the segments of the first job, empty for none.
    fn verify(&self) -> Vec<Arc<Segment>> {
        let sealed = self.state.lock().segments.clone();
        let of = |segment: &Arc<Segment>| match &segment.file {
            Some(file) => !file.verify(&self.closing),
            None => false,
        };
        let read_through = catch_unwind(AssertUnwindSafe(|| {
            let damaged = sealed.into_iter().filter(of);
            self.threads.install(|| damaged.collect::<Vec<_>>())
        }));
        let damaged = read_through.unwrap_or_else(|_| {
            tracing::error!("reading vector files through failed (a bug in gleaner)");
            Vec::new()
        });
        if !damaged.is_empty() {
            let mut state = self.state.lock();
            state
                .segments
                .retain(|segment| !contains(&damaged, segment));
            for segment in &damaged {
                state.lost.extend(segment.rows().ordinals.iter());
                if let Some(file) = &segment.file {
                    file.replaced();
                }
            }
            self.show(&state);
        }
        // The files go before anybody is told that it is done.
        drop(damaged);
        self.settle(&mut self.state.lock())
    }

    /// After a job: the segments of the next, empty for none.
    fn settle(&self, state: &mut State) -> Vec<Arc<Segment>> {
        state.settling = false;
        state.busy = 0;
        let next = self.next_job(state);
        if next.is_empty() {
            self.idle.notify_all();
        }
        next
    }

    /// Picks the segments of the next job and moves them to the front.
    fn next_job(&self, state: &mut State) -> Vec<Arc<Segment>> {
        let rows: usize = state.segments.iter().map(|s| s.rows().len()).sum();
        if self.closing.load(Ordering::Relaxed) || rows < state.wait_for_rows {
            return Vec::new();
        }
        let inputs = pick(&state.segments, &self.options, &state.live);
        if !inputs.is_empty() {
            state.segments.retain(|segment| !contains(&inputs, segment));
            state.segments.splice(0..0, inputs.iter().cloned());
            state.busy = inputs.len();
        }
        inputs
    }

    /// Does one job and gives the segments of the next, empty for none.
    fn work_on(&self, inputs: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
        let (live, others) = {
            let state = self.state.lock();
            let others = state.segments.iter();
            let others = others.filter(|segment| !contains(&inputs, segment));
            (state.live.clone(), others.cloned().collect::<Vec<_>>())
        };
        let started = std::time::Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.threads.install(|| {
                let built = rewrite(&inputs, &self.options, &live, &self.closing)?;
                let keeps: Vec<&Segment> = others.iter().map(Arc::as_ref).collect();
                Some(match &self.folder {
                    Some(folder) => folder.seal(built, &keeps),
                    None => built,
                })
            })
        }));
        drop(others);
        let rows: usize = inputs.iter().map(|s| s.rows().len()).sum();
        match outcome {
            Ok(_) if self.closing.load(Ordering::Relaxed) => {}
            Ok(output) => {
                let in_memory = output.as_ref().is_some_and(|o| o.file.is_none());
                if !in_memory {
                    // What was sealed, or is dead: the files of the inputs are needed no more
                    // once nobody reads them.
                    for file in inputs.iter().filter_map(|segment| segment.file.as_ref()) {
                        file.replaced();
                    }
                }
                let mut state = self.state.lock();
                state.wait_for_rows = 0;
                state.segments.retain(|segment| !contains(&inputs, segment));
                state.segments.splice(0..0, output.map(Arc::new));
                state.busy = 0;
                state.settling = true;
                self.show(&state);
                drop(state);
                let took = started.elapsed();
                self.rewrites.done.fetch_add(1, Ordering::Relaxed);
                // Centuries fit.
                self.rewrites
                    .nanoseconds
                    .fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
                let seconds = took.as_secs_f64();
                tracing::info!(rows, seconds, "rewrote vector segments");
            }
            Err(_) => {
                self.rewrites.failed.fetch_add(1, Ordering::Relaxed);
                let mut state = self.state.lock();
                let all: usize = state.segments.iter().map(|s| s.rows().len()).sum();
                state.wait_for_rows = all.saturating_add(self.options.graph_threshold.max(1));
                tracing::error!(
                    rows,
                    "building a graph failed (a bug in gleaner); searches scan instead"
                );
            }
        }
        // Giving back gigabytes, and files with them, takes a while: nobody waits for it.
        drop(inputs);
        self.settle(&mut self.state.lock())
    }
}

/// Lets every thread that wants to run go before this one.
fn step_back() {
    // Of this thread only, on Linux; elsewhere the whole process would step back.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "graphs are built at normal priority");
    }
}

fn contains(segments: &[Arc<Segment>], segment: &Arc<Segment>) -> bool {
    segments.iter().any(|other| Arc::ptr_eq(other, segment))
}
