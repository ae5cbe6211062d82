//! The two ways of finding candidates: words and vectors.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::facets::{self, FacetCount};
use super::fusion::LegHit;
use super::learned::Learned;
use super::request::{Plan, SearchRequest};
use super::response::Degraded;
use super::run::ms;
use super::similar::Liked;
use crate::error::{Code, Error, Problem, Result};
use crate::filter::{BoundFilter, Filter, OrdinalSet};
use crate::index::{Index, MatchWords, Mode, View};
use crate::lexical::WordQuery;
use crate::model::CancelOnDrop;
use crate::telemetry::stage;
use crate::vector::{Strategy, VectorHit, VectorQuery};

/// The documents that may be hits; None where all live ones may.
pub(super) fn allowed(
    index: &Index,
    view: &View,
    request: &SearchRequest,
    liked: Option<&Liked>,
) -> Result<Option<OrdinalSet>> {
    let definition = index.definition();
    let mut bound = Vec::new();
    if let Some(only) = &request.only {
        bound.push(index.bind_right(&only.0)?);
    }
    if let Some(filter) = &request.filter {
        let filter = Filter::from_json(&filter.0)?;
        bound.push(filter.bind(&definition.fields, &definition.id_field)?);
    }
    let mut allowed = match bound.len() {
        0 => None,
        1 => Some(view.words.filter(&bound[0])?),
        _ => Some(view.words.filter(&BoundFilter::And(bound))?),
    };
    if let Some(liked) = liked {
        let set = allowed.get_or_insert_with(|| (*view.live).clone());
        for &ordinal in &liked.ordinals {
            set.remove(ordinal);
        }
    }
    Ok(allowed)
}

pub(super) fn word_query(
    index: &Index,
    view: &View,
    plan: &Plan,
    liked: Option<&Liked>,
) -> Result<Option<WordQuery>> {
    let definition = index.definition();
    if let Some(liked) = liked {
        if plan.mode == Mode::Dense {
            return Ok(None);
        }
        return Ok(Some(liked.word_query(&view.words, definition.scoring)?));
    }
    let wanted = plan.mode != Mode::Dense || plan.request.highlight.is_some();
    match &plan.request.query {
        Some(text) if wanted => {
            let all = plan.match_words == MatchWords::All;
            // Whether a word is forgiven depends on whether any document has it, which tells of
            // those that the caller may not see.
            let typos = plan.request.only.is_none();
            Ok(Some(index.parse_query(text, all, typos)?))
        }
        _ => Ok(None),
    }
}

/// A query's vector and the milliseconds its encoding took; no vector where a liked
/// document has none.
type Encoding = Result<(Option<Vec<f32>>, f64)>;

/// The encoding of a query on another thread; it is called off when this is dropped.
struct Started {
    encoded: Receiver<Encoding>,
    _waiting: CancelOnDrop,
}

/// The two legs of one search.
pub(super) struct Legs<'a> {
    pub index: &'a Index,
    pub view: &'a View,
    pub plan: &'a Plan<'a>,
    pub words: Option<&'a WordQuery>,
    pub liked: Option<&'a Liked>,
    pub allowed: Option<&'a OrdinalSet>,
}

/// What the legs found.
#[derive(Default)]
pub(super) struct Found {
    pub lexical: Vec<LegHit>,
    pub matched: u64,
    pub dense: Vec<LegHit>,
    pub passages: Vec<VectorHit>,
    pub strategy: Option<Strategy>,
    /// Passages that the query was compared with.
    pub compared: u64,
    pub degraded: Option<Degraded>,
    pub encode_ms: f64,
    pub words_ms: f64,
    pub vectors_ms: f64,
    pub fusion_ms: f64,
    /// What the vectors were compared with; None where there was nothing to compare.
    pub vector: Option<Vec<f32>>,
    /// How the candidates were scored, where the fusion is a learned one.
    pub learned: Option<Learned>,
    /// Documents that each leg was to return at most.
    pub depth: usize,
}

impl Found {
    /// Whether the legs returned all there is.
    pub fn is_all(&self) -> bool {
        self.lexical.len() < self.depth && self.dense.len() < self.depth
    }

    /// Whether the vectors were compared with anything.
    pub fn had_vector(&self) -> bool {
        self.vector.is_some()
    }
}

impl Legs<'_> {
    /// The first `depth` documents of each leg. Deeper than the candidates a leg only adds
    /// to the end of its list.
    pub fn search(&self, depth: usize) -> Result<Found> {
        let mut found = Found {
            depth,
            ..Found::default()
        };
        match self.plan.mode {
            Mode::Lexical => self.search_words(&mut found)?,
            Mode::Dense => self.search_vectors(&mut found, self.vector())?,
            Mode::Hybrid => {
                // The query is encoded on another thread while this one searches the words.
                let encoding = self.start_encoding();
                self.search_words(&mut found)?;
                let vector = match encoding {
                    Some(encoding) => self.finish_encoding(encoding),
                    None => self.vector(),
                };
                self.search_vectors(&mut found, vector)?;
            }
        }
        Ok(found)
    }

    /// Goes deeper with what was encoded already.
    pub fn deepen(&self, found: &mut Found, depth: usize) -> Result<()> {
        found.depth = depth;
        if self.plan.mode != Mode::Dense {
            self.search_words(found)?;
        }
        self.search_nearest(found)
    }

    fn search_words(&self, found: &mut Found) -> Result<()> {
        let Some(query) = self.words else {
            return Ok(());
        };
        let started = Instant::now();
        let _words = stage!("words");
        let words = &self.view.words;
        // Only lexical answers say how many documents match; counting costs time.
        let hits = if self.plan.mode == Mode::Lexical {
            let counted = words.search(query, found.depth, self.allowed)?;
            found.matched = counted.matched;
            counted.hits
        } else {
            words.top(query, found.depth, self.allowed)?
        };
        found.lexical = hits
            .iter()
            .map(|hit| LegHit {
                ordinal: hit.ordinal,
                score: hit.score,
            })
            .collect();
        found.words_ms += ms(started);
        Ok(())
    }

    /// Counts the values that were asked for, over the documents that the total counts.
    pub fn facets(&self) -> Result<BTreeMap<String, Vec<FacetCount>>> {
        let wanted = &self.plan.request.facets;
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        if let (Mode::Lexical, Some(words)) = (self.plan.mode, self.words) {
            let matching = self.view.words.matching(words, self.allowed)?;
            return facets::count(self.view, wanted, &matching);
        }
        facets::count(self.view, wanted, self.allowed.unwrap_or(&self.view.live))
    }

    /// The query's vector and how long encoding it took; None where a liked document
    /// has no vector.
    fn vector(&self) -> Encoding {
        if let Some(liked) = self.liked {
            return Ok((liked.vector.clone(), 0.0));
        }
        if let Some(vector) = &self.plan.request.vector {
            let vector = self.index.ready_vector(vector.clone(), "vector")?;
            return Ok((Some(vector), 0.0));
        }
        let Some(text) = &self.plan.request.query else {
            return Ok((None, 0.0));
        };
        let encoder = self.index.encoder()?;
        let _encode = stage!("encode");
        let (vector, worked) = encoder.encode_query(text, &self.plan.cancellation)?;
        Ok((Some(vector), worked.as_secs_f64() * 1e3))
    }

    /// Starts to encode the query on another thread; None where there is nothing to
    /// encode, or the encoder is not there, which [`Legs::vector`] then says.
    fn start_encoding(&self) -> Option<Started> {
        if self.liked.is_some() || self.plan.request.vector.is_some() {
            return None;
        }
        let text = self.plan.request.query.clone()?;
        let encoder = self.index.encoder().ok()?.clone();
        let (send, encoded) = sync_channel(1);
        // Of its own: a search goes on where only its encoding is late.
        let cancellation = self.plan.cancellation.of_part();
        let waiting = cancellation.on_drop();
        let span = tracing::Span::current();
        rayon::spawn(move || {
            // What is logged here belongs to the search.
            let _of_search = span.enter();
            let _encode = stage!("encode");
            let encoded = encoder
                .encode_query(&text, &cancellation)
                .map(|(vector, worked)| (Some(vector), worked.as_secs_f64() * 1e3));
            // The search may have stopped waiting.
            let _ = send.send(encoded);
        });
        Some(Started {
            encoded,
            _waiting: waiting,
        })
    }

    /// Waits for the query's vector, as long as the limits allow; then nobody does.
    fn finish_encoding(&self, encoding: Started) -> Encoding {
        let budget = Duration::from_millis(self.index.limits().encode_ms);
        match encoding.encoded.recv_timeout(budget) {
            Ok(encoded) => encoded,
            Err(RecvTimeoutError::Timeout) => Err(Problem::new(
                Code::Timeout,
                "the query was not encoded in time",
            )
            .found(format!("more than {} ms", budget.as_millis()))
            .into()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::Bug("encoding the query panicked".into()))
            }
        }
    }

    fn search_vectors(&self, found: &mut Found, vector: Encoding) -> Result<()> {
        let vector = match vector {
            Ok((vector, took)) => {
                found.encode_ms = took;
                vector
            }
            // The words can answer where the encoder cannot; a caller's mistake stays one.
            Err(Error::User(problem))
                if !problem.code.is_about_the_model() && problem.code != Code::Timeout =>
            {
                return Err(Error::User(problem));
            }
            Err(error) if self.plan.mode == Mode::Hybrid => {
                tracing::warn!(index = self.index.name(), %error, "answering without the vectors");
                found.degraded = Some(Degraded {
                    lost: Mode::Dense.as_str().into(),
                    // What is the operator's business stays in the log: folders too.
                    reason: match error.problem() {
                        Some(problem) if problem.code == Code::InvalidModel => format!(
                            "the model cannot be used: {} is missing or not what it should be",
                            problem.field.as_deref().unwrap_or("a file")
                        ),
                        Some(problem) => problem.message.clone(),
                        None => "the encoder failed".into(),
                    },
                });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        found.vector = vector;
        self.search_nearest(found)
    }

    fn search_nearest(&self, found: &mut Found) -> Result<()> {
        let (Some(vector), Some(reader)) = (&found.vector, &self.view.vectors) else {
            return Ok(());
        };
        let started = Instant::now();
        let _vectors = stage!("vectors");
        let allowed = Some(self.allowed.unwrap_or(&self.view.live));
        let mut hits = reader.search(
            vector,
            &VectorQuery {
                exact: self.plan.request.exact,
                ..VectorQuery::new(self.plan.candidates, self.plan.ef)
            },
            allowed,
        )?;
        let depth = found.depth;
        if depth > self.plan.candidates {
            // A deeper walk of a graph may find other candidates. So that more hits never
            // reorder the first ones, the candidates stay, and what follows them is exact.
            let known: HashSet<u32> = hits.hits.iter().map(|hit| hit.ordinal).collect();
            let deeper = reader.search(
                vector,
                &VectorQuery {
                    exact: true,
                    ..VectorQuery::new(depth, self.plan.ef)
                },
                allowed,
            )?;
            let more = deeper
                .hits
                .into_iter()
                .filter(|hit| !known.contains(&hit.ordinal));
            hits.hits.extend(more);
            hits.scored += deeper.scored;
            hits.hits.truncate(depth);
        }
        found.dense = hits
            .hits
            .iter()
            .map(|hit| LegHit {
                ordinal: hit.ordinal,
                score: hit.score,
            })
            .collect();
        found.passages = hits.hits;
        found.strategy = Some(hits.strategy);
        found.compared += hits.scored;
        found.vectors_ms += ms(started);
        Ok(())
    }
}
