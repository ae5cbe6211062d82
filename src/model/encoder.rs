//! Texts to vectors.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::cache::{Kept, VectorCache};
use super::code;
use super::files::invalid;
use super::graphs::Graphs;
use super::manifest::Manifest;
use super::parallel;
use super::passages;
use super::pooling::normalize;
use super::queue::{Bounds, Counts, Queue, QueueFigures, Waiting};
use super::request::{Cancellation, EncodeOptions, Input, LongTexts, Prompt, Task};
use super::runtime::RuntimeOptions;
use super::session::EncoderSession;
use super::tokenizer::{TextTokenizer, Tokenized};
use super::windows;
use crate::error::{Code, Problem, Result};

/// Texts tokenised in one go by a thread.
const TOKENIZE_AT_ONCE: usize = 32;

/// Vectors of some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// texts x `dimensions`, row-major; of length 1 (L2) where the manifest says
    /// `normalize`.
    pub vectors: Vec<f32>,
    /// Values per vector.
    pub dimensions: usize,
    /// Tokens of each text that were encoded, prompt and special tokens included; those of
    /// all windows where a text was cut into some.
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
pub struct TextEncoder {
    inner: Arc<Inner>,
    /// Values that are left of each vector.
    dimensions: usize,
    fingerprint: Arc<str>,
}

struct Inner {
    manifest: Manifest,
    fingerprint: String,
    tokenizer: TextTokenizer,
    queue: Queue<Graphs>,
    cache: Option<Arc<VectorCache>>,
    /// Threads that tokenise.
    threads: usize,
    sessions: usize,
}

impl std::fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEncoder")
            .field("name", &self.inner.manifest.name)
            .field("fingerprint", &self.fingerprint)
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
        let cache = VectorCache::new(options.cache_bytes);
        Self::open_expert(folder, None, options, cache)
    }

    /// Loads one of a folder's sets of weights, with a cache that models share.
    ///
    /// # Errors
    /// As [`TextEncoder::open`]; ModelNotFound for an expert that there is not.
    pub(crate) fn open_expert(
        folder: &Path,
        expert: Option<&str>,
        options: &RuntimeOptions,
        cache: Option<Arc<VectorCache>>,
    ) -> Result<Self> {
        options.check()?;
        let manifest = Manifest::read(folder)?.of_expert(expert)?;
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
        let (graphs, first) = Graphs::open(folder, &manifest, &tokenizer, options)?;
        let sessions = options.session_count();
        let bounds = Bounds {
            sessions,
            batch_tokens: options.batch_tokens,
            waiting: options.queue_texts,
            pad: tokenizer.pad(),
        };
        let fingerprint = manifest.fingerprint();
        Ok(TextEncoder {
            dimensions: manifest.dimensions,
            fingerprint: fingerprint.as_str().into(),
            inner: Arc::new(Inner {
                fingerprint,
                manifest,
                tokenizer,
                queue: Queue::new(graphs, first, bounds),
                cache,
                threads: sessions * options.threads_per_session,
                sessions,
            }),
        })
    }

    /// The same encoder with the first `dimensions` values of each vector, brought to length
    /// 1 again where the model's are. It shares the sessions, and has a fingerprint of its
    /// own.
    ///
    /// # Errors
    /// InvalidRequest for a length that the manifest does not list: the first values of a
    /// model that was not trained for it are a bad vector, and nothing would show it.
    pub fn with_dimensions(&self, dimensions: usize) -> Result<Self, Problem> {
        let manifest = &self.inner.manifest;
        if dimensions == manifest.dimensions {
            return Ok(TextEncoder {
                dimensions,
                fingerprint: self.inner.fingerprint.as_str().into(),
                inner: self.inner.clone(),
            });
        }
        if !manifest.matryoshka.contains(&dimensions) {
            let mut lengths = manifest.matryoshka.clone();
            lengths.push(manifest.dimensions);
            lengths.sort_unstable();
            lengths.dedup();
            let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
            return Err(Problem::new(
                Code::InvalidRequest,
                "the model was not trained for vectors of this length",
            )
            .field("dimensions")
            .found(dimensions)
            .expected(lengths.join(", ")));
        }
        Ok(TextEncoder {
            dimensions,
            fingerprint: format!("{}/{dimensions}", self.inner.fingerprint).into(),
            inner: self.inner.clone(),
        })
    }

    /// The model's description; of an expert, with its files alone.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.inner.manifest.name
    }

    /// Identity of the vectors (see [`Manifest::fingerprint`]).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Values per vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Longest input in tokens, prompt and special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.inner.manifest.max_tokens
    }

    /// Tokens of a text by the model's tokenizer, special tokens not counted.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses.
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        Ok(self.inner.tokenizer.whole("", text)?.len())
    }

    /// What was encoded since the model was opened.
    pub fn counts(&self) -> Counts {
        self.inner.queue.counts()
    }

    /// The same, and what it does now.
    pub(crate) fn figures(&self) -> QueueFigures {
        self.inner.queue.figures()
    }

    /// Vectors of texts, in their order. A text's vector does not depend on the texts
    /// beside it. Blocks until done; the work is spread over the model's sessions, which
    /// queries get before documents of other calls.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime fails.
    pub fn encode<S: AsRef<str> + Sync>(&self, task: Task, texts: &[S]) -> Result<Embeddings> {
        let inputs: Vec<Input<'_>> = texts.iter().map(|t| Input::Text(t.as_ref())).collect();
        Ok(self.run(&EncodeOptions::new(task), &inputs)?.0)
    }

    /// Vectors of texts, token ids or code, in their order, in other ways than by default.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`]; InvalidRequest for a prompt or a token id that there is
    /// not, or a prompt that leaves no room for a text; LimitExceeded past
    /// [`EncodeOptions::most_tokens`]; Overloaded and Timeout as the options say.
    pub fn encode_with(&self, options: &EncodeOptions, inputs: &[Input<'_>]) -> Result<Embeddings> {
        Ok(self.run(options, inputs)?.0)
    }

    /// The vector of one query, and the time that the encoder worked on it: tokenising,
    /// the graph, pooling. Time spent waiting for a session that others use is not in it.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`]; Timeout, once it was cancelled before its turn came.
    pub fn encode_query(
        &self,
        text: &str,
        cancellation: &Cancellation,
    ) -> Result<(Vec<f32>, Duration)> {
        let started = Instant::now();
        let options = EncodeOptions {
            cached: true,
            cancellation: cancellation.clone(),
            ..EncodeOptions::new(Task::Query)
        };
        let (embeddings, waited) = self.run(&options, &[Input::Text(text)])?;
        let worked = started.elapsed().saturating_sub(waited);
        Ok((embeddings.vectors, worked))
    }

    /// Vectors of texts, and the longest that one of them waited for a session.
    fn run(&self, options: &EncodeOptions, inputs: &[Input<'_>]) -> Result<(Embeddings, Duration)> {
        let inner = &*self.inner;
        let asked = Asked::new(inner, options)?;
        let mut kept: Vec<Option<Kept>> = vec![None; inputs.len()];
        let cache = inner.cache.as_deref().filter(|_| options.cached);
        let keys: Vec<_> = match cache {
            Some(cache) => {
                let keys: Vec<_> = inputs.iter().map(|input| asked.key(inner, input)).collect();
                for (kept, key) in kept.iter_mut().zip(&keys) {
                    *kept = cache.get(key);
                }
                keys
            }
            None => Vec::new(),
        };
        let missing: Vec<usize> = (0..inputs.len()).filter(|&n| kept[n].is_none()).collect();
        let texts = inner.tokenize(&asked, inputs, &missing)?;
        let known = kept.iter().flatten().map(|kept| kept.tokens as usize);
        let fresh = texts.iter().flatten().map(|window| window.ids.len());
        let total: usize = known.chain(fresh).sum();
        if total > options.most_tokens {
            return Err(Problem::new(
                Code::LimitExceeded,
                "the texts have too many tokens together",
            )
            .field("input")
            .found(total)
            .expected(format!("at most {} tokens", options.most_tokens))
            .into());
        }

        let full = inner.manifest.dimensions;
        // What each text's windows weigh, once their tokens are given away.
        let shapes: Vec<Shape> = texts.iter().map(|text| asked.shape(inner, text)).collect();
        let rows: Vec<Tokenized> = texts.into_iter().flatten().collect();
        let waiting = Waiting {
            refuse: options.refuse_when_full,
            cancellation: options.cancellation.clone(),
            deadline: None,
        };
        let encoded = inner.queue.encode(options.task, rows, waiting)?;
        let mut next = 0;
        let mut vector = vec![0.0; full];
        for (&place, shape) in missing.iter().zip(shapes) {
            let windows = &encoded.vectors[next * full..(next + shape.weights.len()) * full];
            next += shape.weights.len();
            windows::combine(
                windows,
                &shape.weights,
                inner.manifest.normalize,
                &mut vector,
            );
            let fresh = Kept {
                vector: vector.as_slice().into(),
                tokens: shape.tokens,
                truncated: shape.truncated,
            };
            if let Some(cache) = cache {
                cache.put(keys[place], fresh.clone());
            }
            kept[place] = Some(fresh);
        }

        let dimensions = self.dimensions;
        let mut embeddings = Embeddings {
            vectors: Vec::with_capacity(inputs.len() * dimensions),
            dimensions,
            tokens: Vec::with_capacity(inputs.len()),
            truncated: Vec::with_capacity(inputs.len()),
        };
        for one in kept.into_iter().flatten() {
            let start = embeddings.vectors.len();
            embeddings
                .vectors
                .extend_from_slice(&one.vector[..dimensions]);
            if dimensions < full && inner.manifest.normalize {
                normalize(&mut embeddings.vectors[start..]);
            }
            embeddings.tokens.push(one.tokens);
            embeddings.truncated.push(one.truncated);
        }
        Ok((embeddings, encoded.waited))
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
        let inner = &*self.inner;
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
    /// included, those of windows one after the other; for measurements.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn token_ids<S: AsRef<str> + Sync>(
        &self,
        task: Task,
        texts: &[S],
    ) -> Result<Vec<Vec<u32>>> {
        let inner = &*self.inner;
        let options = EncodeOptions::new(task);
        let asked = Asked::new(inner, &options)?;
        let inputs: Vec<Input<'_>> = texts.iter().map(|t| Input::Text(t.as_ref())).collect();
        let all: Vec<usize> = (0..inputs.len()).collect();
        let encoded = inner.tokenize(&asked, &inputs, &all)?;
        Ok(encoded
            .into_iter()
            .map(|windows| windows.into_iter().flat_map(|w| w.ids).collect())
            .collect())
    }

    /// A session of the same graph outside the queue, with this many threads: the bare
    /// runtime against which the pipeline is measured.
    ///
    /// # Errors
    /// As [`TextEncoder::open`].
    pub fn bare(&self, threads: usize) -> Result<BareSession> {
        Ok(BareSession {
            session: self.inner.queue.runner().bare(threads)?,
            pad: self.inner.tokenizer.pad(),
        })
    }
}

/// What a text's windows weigh, and what is told of it.
struct Shape {
    weights: Vec<usize>,
    tokens: u32,
    truncated: bool,
}

/// Options, with the manifest's where they leave a choice.
struct Asked<'a> {
    prompt: &'a str,
    /// Tokens of the prompt, where they have to be known.
    prompt_ids: Vec<u32>,
    long_texts: LongTexts,
    /// Tokens at the start of a text that are not pooled.
    skip: usize,
}

impl<'a> Asked<'a> {
    fn new(inner: &'a Inner, options: &'a EncodeOptions) -> Result<Self> {
        let manifest = &inner.manifest;
        let prompt = match (&options.prompt, options.task) {
            (Some(Prompt::Text(text)), _) => text,
            (Some(Prompt::Named(name)), _) => manifest.prompts.of_name(name)?,
            (None, Task::Query) => manifest.prompts.query.as_str(),
            (None, Task::Document) => manifest.prompts.document.as_str(),
        };
        let prompt_ids = match prompt {
            "" => Vec::new(),
            prompt => inner.tokenizer.whole("", prompt)?,
        };
        let long_texts = options.long_texts.unwrap_or(manifest.long_texts);
        let around = inner.tokenizer.specials() + prompt_ids.len();
        let whole = options.prompt.is_some() || long_texts == LongTexts::Windows;
        if whole && around >= manifest.max_tokens {
            return Err(
                Problem::new(Code::InvalidRequest, "the prompt leaves no room for a text")
                    .field("prompt")
                    .found(format!("{} tokens", prompt_ids.len()))
                    .expected(format!(
                        "less than {} tokens",
                        manifest.max_tokens - inner.tokenizer.specials()
                    ))
                    .into(),
            );
        }
        // As sentence-transformers has it: what stands before the text, its first special
        // tokens included.
        let skip = match manifest.pool_prompt || prompt_ids.is_empty() {
            true => 0,
            false => inner.tokenizer.specials_before() + prompt_ids.len(),
        };
        Ok(Asked {
            prompt,
            prompt_ids,
            long_texts,
            skip,
        })
    }

    /// Key of an input's vector. Who asks for it, and with whom, plays no part in it.
    fn key(&self, inner: &Inner, input: &Input<'_>) -> super::cache::Key {
        let long_texts = match self.long_texts {
            LongTexts::Truncate => b"truncate".as_slice(),
            LongTexts::Windows => b"windows",
        };
        let (kind, bytes) = match input {
            Input::Text(text) => (b"text".as_slice(), text.as_bytes().to_vec()),
            Input::Code(language, code) => (language.as_str().as_bytes(), code.as_bytes().to_vec()),
            Input::Tokens(ids) => (
                b"tokens".as_slice(),
                ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
            ),
        };
        VectorCache::key(&[
            inner.fingerprint.as_bytes(),
            self.prompt.as_bytes(),
            long_texts,
            kind,
            &bytes,
        ])
    }

    fn shape(&self, inner: &Inner, windows: &[Tokenized]) -> Shape {
        let tokens: usize = windows.iter().map(|window| window.ids.len()).sum();
        let around = inner.tokenizer.specials() + self.prompt_ids.len();
        Shape {
            weights: windows
                .iter()
                .map(|window| window.ids.len().saturating_sub(around))
                .collect(),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            truncated: windows.iter().any(|window| window.truncated),
        }
    }

    /// Token ids of one input, in one window or several.
    fn tokenize(&self, inner: &Inner, input: &Input<'_>) -> Result<Vec<Tokenized>> {
        let (tokenizer, max_tokens) = (&inner.tokenizer, inner.manifest.max_tokens);
        if let (Input::Code(language, code), Some(form), "") =
            (input, &inner.manifest.code, self.prompt)
        {
            let one = code::tokenize(tokenizer, form, *language, code, max_tokens)?;
            return Ok(vec![one]);
        }
        let mut one = match *input {
            Input::Text(text) | Input::Code(_, text) => match self.long_texts {
                LongTexts::Truncate => tokenizer.encode(self.prompt, text, max_tokens)?,
                LongTexts::Windows => {
                    let ids = tokenizer.whole(self.prompt, text)?;
                    return Ok(self.windows(inner, ids));
                }
            },
            Input::Tokens(ids) => {
                if let Some(id) = ids.iter().find(|&&id| id >= tokenizer.ids()) {
                    return Err(Problem::new(
                        Code::InvalidRequest,
                        "the model's tokenizer has no such token",
                    )
                    .field("input")
                    .found(id)
                    .expected(format!(
                        "ids below {}, of the model's own tokenizer",
                        tokenizer.ids()
                    ))
                    .into());
                }
                let content = tokenizer.without_specials(ids);
                let whole = [self.prompt_ids.as_slice(), content].concat();
                match self.long_texts {
                    LongTexts::Windows => return Ok(self.windows(inner, whole)),
                    LongTexts::Truncate => {
                        let room = max_tokens.saturating_sub(tokenizer.specials());
                        let kept = whole.len().min(room);
                        Tokenized {
                            ids: tokenizer.with_specials(&[&whole[..kept]]),
                            skip: 0,
                            second: usize::MAX,
                            truncated: kept < whole.len(),
                            graph: None,
                        }
                    }
                }
            }
        };
        one.skip = self.skip;
        Ok(vec![one])
    }

    /// Windows over ids that begin with the prompt's; each begins with it.
    fn windows(&self, inner: &Inner, ids: Vec<u32>) -> Vec<Tokenized> {
        let tokenizer = &inner.tokenizer;
        let (prompt, text) = ids.split_at(self.prompt_ids.len().min(ids.len()));
        let around = tokenizer.specials() + prompt.len();
        let room = inner.manifest.max_tokens.saturating_sub(around);
        windows::cut(text.len(), room)
            .into_iter()
            .map(|window| Tokenized {
                ids: tokenizer.with_specials(&[prompt, &text[window]]),
                skip: self.skip,
                second: usize::MAX,
                truncated: false,
                graph: None,
            })
            .collect()
    }
}

impl Inner {
    /// Token ids of the inputs at these places, in their order.
    fn tokenize(
        &self,
        asked: &Asked<'_>,
        inputs: &[Input<'_>],
        places: &[usize],
    ) -> Result<Vec<Vec<Tokenized>>> {
        let chunks: Vec<&[usize]> = places.chunks(TOKENIZE_AT_ONCE).collect();
        let parts = parallel::map(chunks.len(), self.threads.max(self.sessions), |index| {
            chunks[index]
                .iter()
                .map(|&place| {
                    asked
                        .tokenize(self, &inputs[place])
                        .map_err(|error| at(error, place))
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }
}

/// Says which of the inputs a problem is with.
fn at(error: crate::error::Error, place: usize) -> crate::error::Error {
    match error {
        crate::error::Error::User(problem) => {
            let field = problem.field.as_deref().unwrap_or("input");
            let field = format!("{field}[{place}]");
            (*problem).field(field).into()
        }
        other => other,
    }
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
