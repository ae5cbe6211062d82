//! Pairs of a query and a passage to scores.
//!
//! **Promise.** A pair's score depends on the model and the two texts alone, not on the pairs
//! scored beside it, up to the last bits of a float. A query is read whole, up to half of what
//! the model reads; what does not fit is cut off the passage, and both are reported.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::files::invalid;
use super::graph::{self, WEIGHTS};
use super::manifest::{MANIFEST, Manifest, ModelKind};
use super::parallel;
use super::queue::{Bounds, Counts, Queue, QueueFigures, Runner, Waiting};
use super::request::{Cancellation, Task};
use super::runtime::RuntimeOptions;
use super::session::{EncoderSession, GraphSource, Wanted};
use super::tokenizer::{PairTemplate, TextTokenizer, Tokenized};
use crate::error::{Code, Error, Problem, Result};

/// Passages tokenised in one go by a thread.
const TOKENIZE_AT_ONCE: usize = 16;

/// How pairs are to be scored.
#[derive(Debug, Clone)]
pub struct ScoreOptions {
    /// Most tokens of a passage; what the model has room for otherwise.
    pub max_tokens: Option<usize>,
    /// Most tokens of all pairs together; more are refused before anything is scored.
    pub most_tokens: usize,
    /// Whether somebody waits for an answer: such pairs go before those of others, which are
    /// scored in bulk.
    pub task: Task,
    /// Refuse, rather than wait, where as many pairs wait as may wait.
    pub refuse_when_full: bool,
    /// Tells that nobody waits for the scores any more.
    pub cancellation: Cancellation,
    /// When what has not begun is left without a score. Pairs are begun in their order then.
    pub deadline: Option<Instant>,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        ScoreOptions {
            max_tokens: None,
            most_tokens: usize::MAX,
            task: Task::Document,
            refuse_when_full: false,
            cancellation: Cancellation::default(),
            deadline: None,
        }
    }
}

/// Scores of some pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct PairScores {
    /// What the classifier says of each pair; None for what the deadline left out. More is
    /// more relevant.
    pub logits: Vec<Option<f32>>,
    /// The same as a score from 0 to 1 (see [`Calibration`](super::Calibration)).
    pub scores: Vec<Option<f32>>,
    /// Tokens of each pair, special tokens included.
    pub tokens: Vec<u32>,
    /// Whether the end of a passage was cut off.
    pub truncated: Vec<bool>,
    /// Whether the end of the query was cut off.
    pub query_truncated: bool,
    /// Longest that one of them waited for a session.
    pub waited: Duration,
}

/// A pair as token ids, for measurements.
#[derive(Debug, Clone)]
pub struct Pair(Tokenized);

impl Pair {
    /// Tokens, special ones included; never none.
    pub fn tokens(&self) -> usize {
        self.0.ids.len()
    }
}

/// A cross-encoder that is loaded and ready. Clones share one set of sessions; any number of
/// threads may score at once.
#[derive(Clone)]
pub struct CrossEncoder {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: Manifest,
    fingerprint: String,
    tokenizer: TextTokenizer,
    template: PairTemplate,
    queue: Queue<PairGraph>,
    threads: usize,
}

impl std::fmt::Debug for CrossEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrossEncoder")
            .field("name", &self.inner.manifest.name)
            .field("fingerprint", &self.inner.fingerprint)
            .finish_non_exhaustive()
    }
}

impl CrossEncoder {
    /// Loads a model folder: one of ours (with `model.toml`), or one as sentence-transformers,
    /// transformers or optimum save a cross-encoder.
    ///
    /// # Errors
    /// InvalidModel naming the file that is missing, broken or does not fit the others;
    /// InvalidConfiguration for options of zero; Operator when ONNX Runtime or a file
    /// cannot be loaded.
    pub fn open(folder: &Path, options: &RuntimeOptions) -> Result<Self> {
        options.check()?;
        let manifest = Manifest::read(folder)?;
        if manifest.kind != ModelKind::Reranker {
            return Err(invalid(MANIFEST, "the model is no reranker")
                .found(manifest.kind.as_str())
                .expected(ModelKind::Reranker.as_str())
                .into());
        }
        let tokenizer = TextTokenizer::open(folder)?;
        let template = tokenizer.pair_template()?;
        // A token of the query and one of the passage.
        if manifest.max_tokens < template.specials() + 2 {
            return Err(
                invalid(MANIFEST, "`max_tokens` leaves no room for two texts")
                    .found(manifest.max_tokens)
                    .expected(format!("{} or more", template.specials() + 2))
                    .into(),
            );
        }
        let (graph, first) = PairGraph::open(folder, &manifest, &tokenizer, options)?;
        let sessions = options.session_count();
        let bounds = Bounds {
            sessions,
            batch_tokens: options.batch_tokens,
            waiting: options.queue_texts,
            pad: tokenizer.pad(),
        };
        Ok(CrossEncoder {
            inner: Arc::new(Inner {
                fingerprint: manifest.fingerprint(),
                manifest,
                tokenizer,
                template,
                queue: Queue::new(graph, first, bounds),
                threads: sessions * options.threads_per_session,
            }),
        })
    }

    /// The model's description.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.inner.manifest.name
    }

    /// Identity of the scores (see [`Manifest::fingerprint`]).
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// The weight against a first stage that its makers found best, 0 to 1.
    pub fn recommended_weight(&self) -> Option<f32> {
        self.inner.manifest.recommended.weight
    }

    /// Longest pair in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.inner.manifest.max_tokens
    }

    /// Most tokens of a query that are read: half of the room there is.
    pub fn max_query_tokens(&self) -> usize {
        (self.max_tokens() - self.inner.template.specials()) / 2
    }

    /// What was scored since the model was opened.
    pub fn counts(&self) -> Counts {
        self.inner.queue.counts()
    }

    /// The same, and what it does now.
    pub(crate) fn figures(&self) -> QueueFigures {
        self.inner.queue.figures()
    }

    /// Scores of a query with each of the passages, in their order. Blocks until done; the
    /// work is spread over the model's sessions.
    ///
    /// # Errors
    /// InvalidRequest for `max_tokens` of 0; LimitExceeded past
    /// [`ScoreOptions::most_tokens`]; Overloaded and Timeout as the options say; Operator, when
    /// ONNX Runtime fails.
    pub fn score<S: AsRef<str> + Sync>(
        &self,
        query: &str,
        passages: &[S],
        options: &ScoreOptions,
    ) -> Result<PairScores> {
        let inner = &*self.inner;
        let (pairs, query_truncated) = self.tokenize(query, passages, options.max_tokens)?;
        let tokens: Vec<u32> = pairs
            .iter()
            .map(|pair| u32::try_from(pair.ids.len()).unwrap_or(u32::MAX))
            .collect();
        let total: usize = pairs.iter().map(|pair| pair.ids.len()).sum();
        if total > options.most_tokens {
            return Err(Problem::new(
                Code::LimitExceeded,
                "the pairs of query and document have too many tokens together",
            )
            .field("documents")
            .found(total)
            .expected(format!("at most {} tokens", options.most_tokens))
            .into());
        }
        let truncated = pairs.iter().map(|pair| pair.truncated).collect();
        let waiting = Waiting {
            refuse: options.refuse_when_full,
            cancellation: options.cancellation.clone(),
            deadline: options.deadline,
        };
        let scored = inner.queue.encode(options.task, pairs, waiting)?;
        let labels = inner.manifest.dimensions;
        let mut values = scored.vectors.chunks_exact(labels.max(1));
        let logits: Vec<Option<f32>> = scored
            .done
            .iter()
            .map(|&done| {
                let value = values.next();
                value.filter(|_| done).map(logit)
            })
            .collect();
        if logits.iter().flatten().any(|logit| !logit.is_finite()) {
            return Err(Error::operator(format!(
                "the reranker {:?} gave a score that is no number",
                self.name()
            ))
            .advice("check the model with `gleaner models check`, or add it again"));
        }
        let calibration = inner.manifest.calibration;
        Ok(PairScores {
            scores: logits
                .iter()
                .map(|logit| logit.map(|logit| calibration.score(logit)))
                .collect(),
            logits,
            tokens,
            truncated,
            query_truncated,
            waited: scored.waited,
        })
    }

    /// Pairs as [`CrossEncoder::score`] would run them; for measurements.
    ///
    /// # Errors
    /// As [`CrossEncoder::score`].
    pub fn pairs<S: AsRef<str> + Sync>(&self, query: &str, passages: &[S]) -> Result<Vec<Pair>> {
        let (pairs, _) = self.tokenize(query, passages, None)?;
        Ok(pairs.into_iter().map(Pair).collect())
    }

    /// A session of the same graph outside the queue, with this many threads: the bare
    /// runtime against which the pipeline is measured.
    ///
    /// # Errors
    /// As [`CrossEncoder::open`].
    pub fn bare(&self, threads: usize) -> Result<BarePairs> {
        Ok(BarePairs {
            session: self.inner.queue.runner().session(threads)?,
            pad: self.inner.tokenizer.pad(),
        })
    }

    /// Pairs as token ids, and whether the query was cut.
    fn tokenize<S: AsRef<str> + Sync>(
        &self,
        query: &str,
        passages: &[S],
        most: Option<usize>,
    ) -> Result<(Vec<Tokenized>, bool)> {
        let inner = &*self.inner;
        if most == Some(0) {
            return Err(Problem::new(
                Code::InvalidRequest,
                "passages of no tokens have nothing to score",
            )
            .field("max_tokens")
            .found(0)
            .expected("1 or more")
            .into());
        }
        let (query, query_truncated) = inner.tokenizer.first(query, self.max_query_tokens())?;
        let room = self.max_tokens() - inner.template.specials() - query.len();
        let room = most.map_or(room, |most| room.min(most));
        let chunks: Vec<&[S]> = passages.chunks(TOKENIZE_AT_ONCE).collect();
        let parts = parallel::map(chunks.len(), inner.threads, |index| {
            let pairs = chunks[index].iter().map(|passage| {
                let (ids, more) = inner.tokenizer.first(passage.as_ref(), room)?;
                Ok(inner.template.join(&query, &ids, more))
            });
            pairs.collect::<Result<Vec<_>>>()
        })?;
        Ok((parts.into_iter().flatten().collect(), query_truncated))
    }
}

/// One value out of a classifier's one or two: the logistic function of the difference is
/// what a softmax over two gives the second.
fn logit(labels: &[f32]) -> f32 {
    match labels {
        [other, relevant] => relevant - other,
        _ => labels.first().copied().unwrap_or_default(),
    }
}

/// The graph of a cross-encoder.
struct PairGraph {
    source: GraphSource,
    options: RuntimeOptions,
    labels: usize,
}

impl PairGraph {
    /// Loads the graph a manifest names, and makes a first session, which is run to see that
    /// it fits.
    fn open(
        folder: &Path,
        manifest: &Manifest,
        tokenizer: &TextTokenizer,
        options: &RuntimeOptions,
    ) -> Result<(Self, EncoderSession)> {
        let labels = manifest.dimensions;
        let source = if manifest.graph == WEIGHTS {
            let purpose = graph::Purpose::CrossEncoder { labels };
            let float = graph::float(folder, tokenizer, purpose, None)?;
            GraphSource::Memory(Arc::new(float.model))
        } else {
            GraphSource::File(PathBuf::from(folder).join(&manifest.graph))
        };
        let graph = PairGraph {
            source,
            options: options.clone(),
            labels,
        };
        let mut session = graph.session(options.threads_per_session)?;
        let probe = Batch::new(&[0], &[vec![0_u32; 3]], 0).typed(vec![2]);
        let values = logits(&mut session, &probe)?.len();
        if values != labels {
            return Err(
                invalid(&manifest.graph, "the graph has other labels than announced")
                    .found(format!("{values} values for a pair"))
                    .expected(format!("{labels}"))
                    .into(),
            );
        }
        Ok((graph, session))
    }

    fn session(&self, threads: usize) -> Result<EncoderSession> {
        let options = RuntimeOptions {
            threads_per_session: threads.max(1),
            ..self.options.clone()
        };
        EncoderSession::open(&self.source, &options, Wanted::Logits)
    }
}

impl Runner for PairGraph {
    type Session = EncoderSession;

    fn open(&self) -> Result<EncoderSession> {
        self.session(self.options.threads_per_session)
    }

    fn run(&self, session: &mut EncoderSession, batch: &Batch) -> Result<Vec<f32>> {
        let values = logits(session, batch)?;
        match values.len() == batch.lengths().len() * self.labels {
            true => Ok(values),
            false => Err(Error::Bug(
                "the output `logits` changed its shape between batches".into(),
            )),
        }
    }
}

/// What a classifier's graph gives of a batch.
pub(super) fn logits(session: &mut EncoderSession, batch: &Batch) -> Result<Vec<f32>> {
    let output = session.outputs().first().cloned().unwrap_or_default();
    let mut found = Vec::new();
    session.run(batch, |name, values| {
        if name == output {
            found = values.to_vec();
        }
    })?;
    Ok(found)
}

/// A session of a cross-encoder's graph that does nothing but run batches.
pub struct BarePairs {
    session: EncoderSession,
    pad: u32,
}

impl BarePairs {
    /// Runs pairs as one batch, filled up to the longest, and drops the result.
    ///
    /// # Errors
    /// Operator, when the session fails.
    pub fn run(&mut self, pairs: &[Pair]) -> Result<()> {
        let rows: Vec<usize> = (0..pairs.len()).collect();
        let ids: Vec<&[u32]> = pairs.iter().map(|pair| pair.0.ids.as_slice()).collect();
        let seconds = pairs.iter().map(|pair| pair.0.second).collect();
        let batch = Batch::new(&rows, &ids, self.pad).typed(seconds);
        self.session.run(&batch, |_, values| {
            std::hint::black_box(values);
        })
    }
}
