//! Pairs of texts to some values for each of their tokens.
//!
//! **Promise.** What is said of a pair's tokens depends on the model and the pair alone, not on
//! the pairs beside it, up to the last bits of a float.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Batch;
use super::cross_encoder::logits;
use super::files::invalid;
use super::graph::{self, WEIGHTS};
use super::manifest::{MANIFEST, Manifest, ModelKind};
use super::queue::{Bounds, Counts, Queue, QueueFigures, Runner, Waiting};
use super::request::Task;
use super::runtime::RuntimeOptions;
use super::session::{EncoderSession, GraphSource, Wanted};
use super::tokenizer::{PairTemplate, TextTokenizer, Tokenized};
use crate::error::{Error, Result};

/// A pair as token ids, special ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPair {
    tokens: Tokenized,
    /// Where the second text begins.
    second: usize,
}

impl TokenPair {
    /// Tokens, special ones included; never none.
    pub fn tokens(&self) -> usize {
        self.tokens.ids.len()
    }

    /// The place of the second text's first token.
    pub fn second(&self) -> usize {
        self.second
    }
}

/// A classifier of tokens that is loaded and ready. Clones share one set of sessions; any
/// number of threads may classify at once.
#[derive(Clone)]
pub struct TokenClassifier {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: Manifest,
    fingerprint: String,
    tokenizer: TextTokenizer,
    template: PairTemplate,
    queue: Queue<TokenGraph>,
}

impl std::fmt::Debug for TokenClassifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenClassifier")
            .field("name", &self.inner.manifest.name)
            .field("fingerprint", &self.inner.fingerprint)
            .finish_non_exhaustive()
    }
}

impl TokenClassifier {
    /// Loads a model folder: one of ours (with `model.toml`), or one as transformers saves a
    /// BERT for the classification of tokens.
    ///
    /// # Errors
    /// InvalidModel naming the file that is missing, broken or does not fit the others;
    /// InvalidConfiguration for options of zero; Operator when ONNX Runtime or a file
    /// cannot be loaded.
    pub fn open(folder: &Path, options: &RuntimeOptions) -> Result<Self> {
        options.check()?;
        let manifest = Manifest::read(folder)?;
        if manifest.kind != ModelKind::TokenClassifier {
            return Err(invalid(MANIFEST, "the model says nothing of tokens")
                .found(manifest.kind.as_str())
                .expected(ModelKind::TokenClassifier.as_str())
                .into());
        }
        let tokenizer = TextTokenizer::open(folder)?;
        let template = tokenizer.pair_template()?;
        if manifest.max_tokens < template.specials() + 2 {
            return Err(
                invalid(MANIFEST, "`max_tokens` leaves no room for two texts")
                    .found(manifest.max_tokens)
                    .expected(format!("{} or more", template.specials() + 2))
                    .into(),
            );
        }
        let (graph, first) = TokenGraph::open(folder, &manifest, &tokenizer, options)?;
        let bounds = Bounds {
            sessions: options.session_count(),
            batch_tokens: options.batch_tokens,
            waiting: options.queue_texts,
            pad: tokenizer.pad(),
        };
        Ok(TokenClassifier {
            inner: Arc::new(Inner {
                fingerprint: manifest.fingerprint(),
                manifest,
                tokenizer,
                template,
                queue: Queue::new(graph, first, bounds),
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

    /// Identity of what it says (see [`Manifest::fingerprint`]).
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// Longest pair in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.inner.manifest.max_tokens
    }

    /// Special tokens of a pair.
    pub fn special_tokens(&self) -> usize {
        self.inner.template.specials()
    }

    /// Values for each token.
    pub fn labels(&self) -> usize {
        self.inner.manifest.dimensions
    }

    /// What was classified since the model was opened.
    pub fn counts(&self) -> Counts {
        self.inner.queue.counts()
    }

    /// The same, and what it does now.
    pub(crate) fn figures(&self) -> QueueFigures {
        self.inner.queue.figures()
    }

    /// The first `most` tokens (1 or more) of a text, special ones not included.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses, which published ones never do.
    pub fn first(&self, text: &str, most: usize) -> Result<Vec<u32>> {
        Ok(self.inner.tokenizer.first(text, most)?.0)
    }

    /// A pair of these tokens; what is too long is cut off the second.
    pub fn join(&self, first: &[u32], second: &[u32]) -> TokenPair {
        let room = self.max_tokens() - self.special_tokens();
        let first = &first[..first.len().min(room)];
        let kept = second.len().min(room - first.len());
        let template = &self.inner.template;
        TokenPair {
            tokens: template.join(first, &second[..kept], kept < second.len()),
            second: template.join(first, &[], false).ids.len() - template.after(),
        }
    }

    /// A pair of texts: of the first as much as half of the room holds, of the second what is
    /// left.
    ///
    /// # Errors
    /// As [`TokenClassifier::first`].
    pub fn pair(&self, first: &str, second: &str) -> Result<TokenPair> {
        let room = self.max_tokens() - self.special_tokens();
        let first = self.first(first, (room / 2).max(1))?;
        let second = self.first(second, (room - first.len()).max(1))?;
        Ok(self.join(&first, &second))
    }

    /// What the classifier says of each pair's tokens: tokens x [`TokenClassifier::labels`]
    /// values, before any activation, in the order of the pairs. Blocks until done; the work is
    /// spread over the model's sessions.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime fails or a value is no number.
    pub fn classify(&self, pairs: &[TokenPair]) -> Result<Vec<Vec<f32>>> {
        let inner = &*self.inner;
        let tokens = pairs.iter().map(|pair| pair.tokens.clone()).collect();
        let found = inner
            .queue
            .encode(Task::Query, tokens, Waiting::default())?;
        let width = self.labels() * self.max_tokens();
        let rows = found.vectors.chunks_exact(width.max(1)).zip(pairs);
        let values: Vec<Vec<f32>> = rows
            .map(|(row, pair)| row[..pair.tokens() * self.labels()].to_vec())
            .collect();
        if values.iter().flatten().any(|value| !value.is_finite()) {
            return Err(Error::operator(format!(
                "the model {:?} gave a value that is no number",
                self.name()
            ))
            .advice("check the model with `gleaner models check`, or add it again"));
        }
        Ok(values)
    }
}

/// The graph of a classifier of tokens.
struct TokenGraph {
    source: GraphSource,
    options: RuntimeOptions,
    labels: usize,
    max_tokens: usize,
}

impl TokenGraph {
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
            let purpose = graph::Purpose::Tokens { labels };
            let float = graph::float(folder, tokenizer, purpose, None)?;
            GraphSource::Memory(Arc::new(float.model))
        } else {
            GraphSource::File(PathBuf::from(folder).join(&manifest.graph))
        };
        let graph = TokenGraph {
            source,
            options: options.clone(),
            labels,
            max_tokens: manifest.max_tokens,
        };
        let mut session = graph.open_session()?;
        let probe = Batch::new(&[0], &[vec![0_u32; 3]], 0).typed(vec![2]);
        let values = logits(&mut session, &probe)?.len();
        if values != 3 * labels {
            return Err(
                invalid(&manifest.graph, "the graph has other labels than announced")
                    .found(format!("{values} values for 3 tokens"))
                    .expected(format!("{labels} for each"))
                    .into(),
            );
        }
        Ok((graph, session))
    }

    fn open_session(&self) -> Result<EncoderSession> {
        EncoderSession::open(&self.source, &self.options, Wanted::TokenLogits)
    }
}

impl Runner for TokenGraph {
    type Session = EncoderSession;

    fn open(&self) -> Result<EncoderSession> {
        self.open_session()
    }

    /// A row for each pair, as long as the longest pair may be: a queue's rows are alike.
    fn run(&self, session: &mut EncoderSession, batch: &Batch) -> Result<Vec<f32>> {
        let values = logits(session, batch)?;
        let (rows, longest) = (batch.lengths().len(), batch.longest());
        if values.len() != rows * longest * self.labels || longest > self.max_tokens {
            return Err(Error::Bug(
                "the output `logits` changed its shape between batches".into(),
            ));
        }
        let mut found = vec![0.0; rows * self.max_tokens * self.labels];
        for (row, whole) in found
            .chunks_exact_mut(self.max_tokens * self.labels)
            .enumerate()
        {
            let own = &values[batch.tokens(row, self.labels)];
            whole[..own.len()].copy_from_slice(own);
        }
        Ok(found)
    }
}
