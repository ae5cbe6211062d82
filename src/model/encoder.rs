//! Texts to vectors.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{self, Batch};
use super::files::invalid;
use super::graph::{self, WEIGHTS};
use super::manifest::Manifest;
use super::parallel;
use super::passages;
use super::pool::SessionPool;
use super::pooling::normalize;
use super::runtime::RuntimeOptions;
use super::session::{EncoderSession, GraphSource, OutputKind};
use super::tokenizer::{TextTokenizer, Tokenized};
use crate::error::{Code, Error, Problem, Result};

/// Texts tokenised in one go by a thread.
const TOKENIZE_AT_ONCE: usize = 32;

/// What a text is encoded for; decides its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Something that is looked for.
    Query,
    /// Something that is found.
    Document,
}

/// Vectors of some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// texts x `dimensions`, row-major; of length 1 (L2) where the manifest says
    /// `normalize`.
    pub vectors: Vec<f32>,
    /// Values per vector.
    pub dimensions: usize,
    /// Tokens of each text after truncation, prompt and special tokens included.
    pub tokens: Vec<u32>,
    /// Whether the end of a text was cut off.
    pub truncated: Vec<bool>,
}

impl Embeddings {
    /// The vectors, one per text, in the order of the texts.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.vectors.chunks_exact(self.dimensions.max(1))
    }
}

/// An encoder that is loaded and ready. Clones share one set of sessions; any number of
/// threads may encode at once.
#[derive(Clone)]
pub struct TextEncoder(Arc<Inner>);

struct Inner {
    manifest: Manifest,
    fingerprint: String,
    tokenizer: TextTokenizer,
    source: GraphSource,
    pool: SessionPool,
    output: String,
    output_kind: OutputKind,
    options: RuntimeOptions,
}

impl std::fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEncoder")
            .field("name", &self.0.manifest.name)
            .field("fingerprint", &self.0.fingerprint)
            .finish_non_exhaustive()
    }
}

impl TextEncoder {
    /// Loads a model folder: one of ours (with `model.toml`), or one as
    /// sentence-transformers or optimum save it.
    ///
    /// # Errors
    /// InvalidModel naming the file that is missing, broken or does not fit the others;
    /// InvalidConfiguration for options of zero; Operator when ONNX Runtime or a file
    /// cannot be loaded.
    pub fn open(folder: &Path, options: &RuntimeOptions) -> Result<Self> {
        options.check()?;
        let manifest = Manifest::read(folder)?;
        let tokenizer = TextTokenizer::open(folder)?;
        if manifest.max_tokens <= tokenizer.specials() {
            return Err(invalid(
                super::manifest::MANIFEST,
                "`max_tokens` leaves no room for a text",
            )
            .found(manifest.max_tokens)
            .expected(format!("more than {} special tokens", tokenizer.specials()))
            .into());
        }
        let source = if manifest.graph == WEIGHTS {
            GraphSource::Memory(Arc::new(graph::float(folder, &tokenizer, None)?.model))
        } else {
            GraphSource::File(folder.join(&manifest.graph))
        };
        let pool = SessionPool::open(source.clone(), options)?;
        let (output, output_kind) = {
            let mut session = pool.take(Task::Query)?;
            let (output, kind) = (session.output().to_owned(), session.kind());
            check_dimensions(&mut session, &manifest, &output, kind)?;
            (output, kind)
        };
        Ok(TextEncoder(Arc::new(Inner {
            fingerprint: manifest.fingerprint(),
            manifest,
            tokenizer,
            source,
            pool,
            output,
            output_kind,
            options: options.clone(),
        })))
    }

    /// The model's description.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.0.manifest.name
    }

    /// Identity of the vectors (see [`Manifest::fingerprint`]).
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// Values per vector.
    pub fn dimensions(&self) -> usize {
        self.0.manifest.dimensions
    }

    /// Longest input in tokens, prompt and special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.0.manifest.max_tokens
    }

    /// Vectors of texts, in their order. A text's vector does not depend on the texts
    /// beside it. Blocks until done; the work is spread over the model's sessions, which
    /// queries get before documents of other calls.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime fails.
    pub fn encode<S: AsRef<str> + Sync>(&self, task: Task, texts: &[S]) -> Result<Embeddings> {
        Ok(self.run(task, texts)?.0)
    }

    /// The vector of one query, and the time that the encoder worked on it: tokenising,
    /// the graph, pooling. Time spent waiting for a session that others use is not in it.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn encode_query(&self, text: &str) -> Result<(Vec<f32>, Duration)> {
        let started = Instant::now();
        let (embeddings, waited) = self.run(Task::Query, &[text])?;
        let worked = started.elapsed().saturating_sub(waited);
        Ok((embeddings.vectors, worked))
    }

    /// Vectors of texts, and the time their batches together waited for sessions.
    fn run<S: AsRef<str> + Sync>(&self, task: Task, texts: &[S]) -> Result<(Embeddings, Duration)> {
        let inner = &*self.0;
        let dimensions = inner.manifest.dimensions;
        let encoded = self.tokenize(task, texts)?;
        let lengths: Vec<usize> = encoded.iter().map(|text| text.ids.len()).collect();
        let budget = batch::budget(&lengths, inner.options.batch_tokens, inner.pool.size());
        let batches = batch::plan(&lengths, budget);
        let parts = parallel::map(batches.len(), inner.pool.size(), |index| {
            let batch = Batch::new(&batches[index], &encoded, inner.tokenizer.pad());
            let asked = Instant::now();
            let mut session = inner.pool.take(task)?;
            let waited = asked.elapsed();
            Ok((inner.encode_batch(&mut session, &batch)?, waited))
        })?;
        let mut waited = Duration::ZERO;
        let mut vectors = vec![0.0; texts.len() * dimensions];
        for (rows, (part, wait)) in batches.iter().zip(&parts) {
            waited += *wait;
            for (&row, vector) in rows.iter().zip(part.chunks_exact(dimensions)) {
                vectors[row * dimensions..(row + 1) * dimensions].copy_from_slice(vector);
            }
        }
        let embeddings = Embeddings {
            vectors,
            dimensions,
            tokens: lengths
                .iter()
                .map(|&length| u32::try_from(length).unwrap_or(u32::MAX))
                .collect(),
            truncated: encoded.iter().map(|text| text.truncated).collect(),
        };
        Ok((embeddings, waited))
    }

    /// Byte ranges of the passages of a text: each fits `max_tokens` (or the model's own
    /// limit, if that is less) together with the document prompt and the special tokens,
    /// and repeats about `overlap` tokens of the one before it. Never empty; the ranges
    /// cover the text and lie on character boundaries; cuts fall at the ends of
    /// sentences where that loses less than half a passage, otherwise between words. A
    /// text that fits is one passage.
    ///
    /// # Errors
    /// InvalidRequest, when `max_tokens` leaves no room for a text, or `overlap` is not
    /// less than that room.
    pub fn passages(
        &self,
        text: &str,
        max_tokens: usize,
        overlap: usize,
    ) -> Result<Vec<Range<usize>>> {
        let inner = &*self.0;
        let prompt = inner.tokenizer.count(&inner.manifest.prompts.document)?;
        let around = inner.tokenizer.specials() + prompt;
        let room = max_tokens
            .min(inner.manifest.max_tokens)
            .saturating_sub(around);
        if room == 0 {
            return Err(Problem::new(
                Code::InvalidRequest,
                "passages of this length have no room for text",
            )
            .field("max_tokens")
            .found(max_tokens)
            .expected(format!("more than {around} tokens"))
            .into());
        }
        if overlap >= room {
            return Err(Problem::new(
                Code::InvalidRequest,
                "passages cannot overlap by their whole length",
            )
            .field("overlap")
            .found(overlap)
            .expected(format!("less than {room} tokens"))
            .into());
        }
        passages::cut(&inner.tokenizer, text, room, overlap)
    }

    /// Token ids of texts as [`TextEncoder::encode`] would use them, special tokens
    /// included; for measurements.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn token_ids<S: AsRef<str> + Sync>(
        &self,
        task: Task,
        texts: &[S],
    ) -> Result<Vec<Vec<u32>>> {
        let encoded = self.tokenize(task, texts)?;
        Ok(encoded.into_iter().map(|text| text.ids).collect())
    }

    /// A session of the same graph outside the pool, with this many threads: the bare
    /// runtime against which the pipeline is measured.
    ///
    /// # Errors
    /// As [`TextEncoder::open`].
    pub fn bare(&self, threads: usize) -> Result<BareSession> {
        let library = self.0.options.library.as_deref();
        Ok(BareSession {
            session: EncoderSession::open(&self.0.source, library, threads.max(1))?,
            pad: self.0.tokenizer.pad(),
        })
    }

    fn tokenize<S: AsRef<str> + Sync>(&self, task: Task, texts: &[S]) -> Result<Vec<Tokenized>> {
        let inner = &*self.0;
        let prompt = match task {
            Task::Query => &inner.manifest.prompts.query,
            Task::Document => &inner.manifest.prompts.document,
        };
        let chunks: Vec<&[S]> = texts.chunks(TOKENIZE_AT_ONCE).collect();
        let workers = inner.pool.size() * inner.options.threads_per_session;
        let parts = parallel::map(chunks.len(), workers, |index| {
            chunks[index]
                .iter()
                .map(|text| {
                    inner
                        .tokenizer
                        .encode(prompt, text.as_ref(), inner.manifest.max_tokens)
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }
}

impl Inner {
    /// Vectors of a batch's rows, in its order.
    fn encode_batch(&self, session: &mut EncoderSession, batch: &Batch) -> Result<Vec<f32>> {
        let dimensions = self.manifest.dimensions;
        let rows = batch.lengths().len();
        let mut vectors = vec![0.0; rows * dimensions];
        let mut fits = false;
        session.run(batch, |name, values| {
            if name != self.output {
                return;
            }
            let per_row = match self.output_kind {
                OutputKind::Tokens => batch.longest() * dimensions,
                OutputKind::Texts => dimensions,
            };
            fits = values.len() == rows * per_row;
            if !fits {
                return;
            }
            for (row, vector) in vectors.chunks_exact_mut(dimensions).enumerate() {
                match self.output_kind {
                    OutputKind::Tokens => {
                        let tokens = &values[batch.tokens(row, dimensions)];
                        self.manifest.pooling.pool(tokens, vector);
                    }
                    OutputKind::Texts => {
                        vector.copy_from_slice(&values[row * dimensions..][..dimensions]);
                    }
                }
                if self.manifest.normalize {
                    normalize(vector);
                }
            }
        })?;
        if fits {
            Ok(vectors)
        } else {
            Err(Error::Bug(format!(
                "the output `{}` changed its shape between batches",
                self.output
            )))
        }
    }
}

/// Runs one token and compares the vector's length with the manifest's.
fn check_dimensions(
    session: &mut EncoderSession,
    manifest: &Manifest,
    output: &str,
    kind: OutputKind,
) -> Result<()> {
    let batch = Batch::new(&[0], &[vec![0_u32]], 0);
    let mut found = session.dimensions();
    let announced = found.is_some();
    session.run(&batch, |name, values| {
        if name == output && !announced {
            found = Some(values.len());
        }
    })?;
    if found == Some(manifest.dimensions) {
        return Ok(());
    }
    Err(invalid(
        &manifest.graph,
        "the vectors have another length than announced",
    )
    .found(format!(
        "{} values in `{output}` ({kind:?})",
        found.unwrap_or_default()
    ))
    .expected(format!("{} dimensions", manifest.dimensions))
    .into())
}

/// A session of an encoder's graph that does nothing but run batches.
pub struct BareSession {
    session: EncoderSession,
    pad: u32,
}

impl BareSession {
    /// Runs texts that are already token ids, as one batch, and drops the result.
    ///
    /// # Errors
    /// Operator, when the session fails.
    pub fn run(&mut self, texts: &[Vec<u32>]) -> Result<()> {
        let rows: Vec<usize> = (0..texts.len()).collect();
        let batch = Batch::new(&rows, texts, self.pad);
        self.session.run(&batch, |_, values| {
            std::hint::black_box(values);
        })
    }
}
