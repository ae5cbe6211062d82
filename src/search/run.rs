//! One search, from the request to the answer.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::facets::{self, FacetCount};
use super::fusion::{Candidate, LegHit, fuse};
use super::request::{HighlightRequest, Plan, SearchRequest};
use super::response::{
    Degraded, Explanation, FusionExplanation, Hit, LegExplanation, SearchResponse, Shortfall,
    Timings, Total, TotalCounts,
};
use super::similar::{Liked, liked};
use crate::document::FieldType;
use crate::error::{Code, Error, Problem, Result};
use crate::filter::{Filter, OrdinalSet};
use crate::index::{Index, MatchWords, Mode, View};
use crate::lexical::WordQuery;
use crate::vector::{Strategy, VectorHit, VectorQuery};

/// Answers a search on the index's current view. Blocking: encodes on this thread while
/// the words are searched on another.
///
/// # Errors
/// The caller's problem with the request; operator errors of the store or, where the
/// vectors alone were asked for, of the encoder.
pub fn search(index: &Index, request: &SearchRequest) -> Result<SearchResponse> {
    let started = Instant::now();
    let plan = request.plan(index.definition(), index.limits())?;
    let view = index.view();
    let mut timings = Timings::default();

    let liked = liked(index, &view, request)?;
    let allowed = allowed(index, &view, request, liked.as_ref())?;
    timings.filter_ms = ms(started);

    let words = word_query(index, &view, &plan, liked.as_ref())?;
    let legs = Legs {
        index,
        view: &view,
        plan: &plan,
        words: words.as_ref(),
        liked: liked.as_ref(),
        allowed: allowed.as_ref(),
    };
    let found = legs.search()?;
    timings.encode_ms = found.encode_ms;
    timings.words_ms = found.words_ms;
    timings.vectors_ms = found.vectors_ms;

    let fusing = Instant::now();
    let fused = plan.mode == Mode::Hybrid && found.degraded.is_none();
    let mut ranked = fuse(&found.lexical, &found.dense, plan.candidates, &plan.fusion);
    if !fused {
        // One leg answered alone: its own scores rank and are reported.
        alone(&mut ranked);
    }
    let reachable = ranked.len() as u64;
    if let Some(least) = request.min_score {
        ranked.retain(|one| one.score >= least);
    }
    let scored_lower = reachable - ranked.len() as u64;
    timings.fusion_ms = ms(fusing);

    let fetching = Instant::now();
    let page = Page {
        legs: &legs,
        found: &found,
        fused,
    };
    let hits = page.fetch(ranked)?;
    timings.fetch_ms = ms(fetching);

    let facets = legs.facets()?;
    let passing = allowed.as_ref().map_or(view.documents, |a| a.len() as u64);
    let total = match plan.mode {
        Mode::Lexical => Total {
            value: found.matched,
            counts: TotalCounts::Matching,
        },
        _ => Total {
            value: passing,
            counts: TotalCounts::Filtered,
        },
    };
    let short = (hits.len() < plan.k).then(|| Shortfall {
        asked: plan.k,
        found: hits.len(),
        reason: reason(&view, &plan, &found, passing, reachable, scored_lower),
    });
    timings.total_ms = ms(started);
    Ok(SearchResponse {
        hits,
        total,
        facets,
        mode: plan.mode,
        short,
        degraded: found.degraded.into_iter().collect(),
        seq: view.seq,
        timings,
    })
}

/// The documents that may be hits; None where all live ones may.
fn allowed(
    index: &Index,
    view: &View,
    request: &SearchRequest,
    liked: Option<&Liked>,
) -> Result<Option<OrdinalSet>> {
    let mut allowed = match &request.filter {
        None => None,
        Some(filter) => {
            let definition = index.definition();
            let bound =
                Filter::from_json(&filter.0)?.bind(&definition.fields, &definition.id_field)?;
            Some(view.words.filter(&bound)?)
        }
    };
    if let Some(liked) = liked {
        let set = allowed.get_or_insert_with(|| (*view.live).clone());
        for &ordinal in &liked.ordinals {
            set.remove(ordinal);
        }
    }
    Ok(allowed)
}

fn word_query(
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
            Ok(Some(index.parse_query(text, all)?))
        }
        _ => Ok(None),
    }
}

/// A query's vector and the milliseconds its encoding took; no vector where a liked
/// document has none.
type Encoding = Result<(Option<Vec<f32>>, f64)>;

/// The two legs of one search.
struct Legs<'a> {
    index: &'a Index,
    view: &'a View,
    plan: &'a Plan<'a>,
    words: Option<&'a WordQuery>,
    liked: Option<&'a Liked>,
    allowed: Option<&'a OrdinalSet>,
}

/// What the legs found.
#[derive(Default)]
struct Found {
    lexical: Vec<LegHit>,
    matched: u64,
    dense: Vec<LegHit>,
    passages: Vec<VectorHit>,
    strategy: Option<Strategy>,
    degraded: Option<Degraded>,
    encode_ms: f64,
    words_ms: f64,
    vectors_ms: f64,
}

impl Legs<'_> {
    /// Documents each leg must return: enough for the fusion and for the page. Deeper
    /// than the candidates a leg only adds to the end of its list.
    fn depth(&self) -> usize {
        self.plan
            .candidates
            .max(self.plan.offset.saturating_add(self.plan.k))
    }

    fn search(&self) -> Result<Found> {
        let mut found = Found::default();
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

    fn search_words(&self, found: &mut Found) -> Result<()> {
        let Some(query) = self.words else {
            return Ok(());
        };
        let started = Instant::now();
        let words = &self.view.words;
        // Only lexical answers say how many documents match; counting costs time.
        let hits = if self.plan.mode == Mode::Lexical {
            let counted = words.search(query, self.depth(), self.allowed)?;
            found.matched = counted.matched;
            counted.hits
        } else {
            words.top(query, self.depth(), self.allowed)?
        };
        found.lexical = hits
            .iter()
            .map(|hit| LegHit {
                ordinal: hit.ordinal,
                score: hit.score,
            })
            .collect();
        found.words_ms = ms(started);
        Ok(())
    }

    /// Counts the values that were asked for, over the documents that the total counts.
    fn facets(&self) -> Result<BTreeMap<String, Vec<FacetCount>>> {
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
        let (vector, worked) = encoder.encode_query(text)?;
        Ok((Some(vector), worked.as_secs_f64() * 1e3))
    }

    /// Starts to encode the query on another thread; None where there is nothing to
    /// encode, or the encoder is not there, which [`Legs::vector`] then says.
    fn start_encoding(&self) -> Option<Receiver<Encoding>> {
        if self.liked.is_some() || self.plan.request.vector.is_some() {
            return None;
        }
        let text = self.plan.request.query.clone()?;
        let encoder = self.index.encoder().ok()?.clone();
        let (send, receive) = sync_channel(1);
        rayon::spawn(move || {
            let encoded = encoder
                .encode_query(&text)
                .map(|(vector, worked)| (Some(vector), worked.as_secs_f64() * 1e3));
            // The search may have stopped waiting.
            let _ = send.send(encoded);
        });
        Some(receive)
    }

    /// Waits for the query's vector, as long as the limits allow.
    fn finish_encoding(&self, encoding: Receiver<Encoding>) -> Encoding {
        let budget = Duration::from_millis(self.index.limits().encode_ms);
        match encoding.recv_timeout(budget) {
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
        let (Some(vector), Some(reader)) = (vector, &self.view.vectors) else {
            return Ok(());
        };
        let started = Instant::now();
        let allowed = Some(self.allowed.unwrap_or(&self.view.live));
        let mut hits = reader.search(
            &vector,
            &VectorQuery {
                exact: self.plan.request.exact,
                ..VectorQuery::new(self.plan.candidates, self.plan.ef)
            },
            allowed,
        )?;
        let depth = self.depth();
        if depth > self.plan.candidates {
            // A deeper walk of a graph may find other candidates. So that more hits never
            // reorder the first ones, the candidates stay, and what follows them is exact.
            let known: HashSet<u32> = hits.hits.iter().map(|hit| hit.ordinal).collect();
            let deeper = reader.search(
                &vector,
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
        found.vectors_ms = ms(started);
        Ok(())
    }
}

/// Gives candidates of one leg that leg's own score and order.
fn alone(ranked: &mut [Candidate]) {
    for one in ranked.iter_mut() {
        if let Some((_, score)) = one.lexical.or(one.dense) {
            one.score = score;
        }
    }
    ranked.sort_by_key(Candidate::best_rank);
}

/// The page of hits that was asked for.
struct Page<'a> {
    legs: &'a Legs<'a>,
    found: &'a Found,
    fused: bool,
}

impl Page<'_> {
    fn fetch(&self, ranked: Vec<Candidate>) -> Result<Vec<Hit>> {
        let plan = self.legs.plan;
        let end = plan.offset.saturating_add(plan.k).min(ranked.len());
        if plan.offset >= end {
            return Ok(Vec::new());
        }
        // Documents that tie across an edge of the page are fetched too: which of them
        // are on the page is decided by id.
        let first = (0..plan.offset)
            .rev()
            .take_while(|&i| order(&ranked[i], &ranked[plan.offset]) == Ordering::Equal)
            .last()
            .unwrap_or(plan.offset);
        let last = (end..ranked.len())
            .take_while(|&i| order(&ranked[i], &ranked[end - 1]) == Ordering::Equal)
            .last()
            .map_or(end, |i| i + 1);
        // Ids decide first; only the page's own documents are read whole.
        let ordinals: Vec<u32> = ranked[first..last].iter().map(|c| c.ordinal).collect();
        let ids = self.legs.index.ids(&ordinals)?;
        let mut tied: Vec<(Candidate, String)> = ranked[first..last]
            .iter()
            .zip(ids)
            .filter_map(|(candidate, id)| Some((*candidate, id?)))
            .collect();
        tied.sort_by(|a, b| order(&a.0, &b.0).then_with(|| a.1.cmp(&b.1)));
        let page: Vec<Candidate> = tied
            .into_iter()
            .skip(plan.offset - first)
            .take(plan.k)
            .map(|(candidate, _)| candidate)
            .collect();
        let ordinals: Vec<u32> = page.iter().map(|c| c.ordinal).collect();
        let documents = self.legs.index.documents(&ordinals)?;
        page.into_iter()
            .zip(documents)
            .filter_map(|(candidate, document)| {
                let document = document?;
                Some(self.hit(candidate, document.id, document.source))
            })
            .collect()
    }

    fn hit(&self, candidate: Candidate, id: String, source: Map<String, Json>) -> Result<Hit> {
        let request = self.legs.plan.request;
        let explanation = if request.explain {
            Some(self.explain(&candidate)?)
        } else {
            None
        };
        let highlights = match &request.highlight {
            Some(wanted) => self.highlights(wanted, &source)?,
            None => None,
        };
        Ok(Hit {
            passage: self.passage(&candidate, &source)?,
            document: match &request.fields {
                None => source,
                Some(fields) => source
                    .into_iter()
                    .filter(|(name, _)| fields.contains(name))
                    .collect(),
            },
            id,
            score: candidate.score,
            highlights,
            explanation,
        })
    }

    /// The text of the nearest passage, where the definition cuts texts.
    fn passage(&self, candidate: &Candidate, source: &Map<String, Json>) -> Result<Option<String>> {
        let index = self.legs.index;
        let definition = index.definition();
        let cut = definition
            .embedding
            .as_ref()
            .is_some_and(|embedding| embedding.passages.is_some());
        let (true, Some((rank, _))) = (cut, candidate.dense) else {
            return Ok(None);
        };
        let Some(number) = self.found.passages.get(rank).map(|hit| hit.passage) else {
            return Ok(None);
        };
        let Some(stored) = index.stored_vectors(candidate.ordinal)? else {
            return Ok(None);
        };
        let text = index.text_of_source(source);
        Ok(stored
            .spans
            .get(usize::from(number))
            // A vector that the document brought along stands for no text.
            .filter(|span| span.start < span.end)
            .and_then(|span| text.get(span.start as usize..span.end as usize))
            .map(str::to_string))
    }

    fn highlights(
        &self,
        wanted: &HighlightRequest,
        source: &Map<String, Json>,
    ) -> Result<Option<Map<String, Json>>> {
        let Some(query) = self.legs.words else {
            return Ok(None);
        };
        let fields = &self.legs.index.definition().fields;
        let names: Vec<&String> = match &wanted.fields {
            Some(names) => names.iter().collect(),
            None => fields
                .iter()
                .filter(|(_, field)| field.kind == FieldType::Text)
                .map(|(name, _)| name)
                .collect(),
        };
        let mut marked = Map::new();
        for name in names {
            let texts: Vec<&str> = match source.get(name) {
                Some(Json::String(text)) => vec![text],
                Some(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect(),
                _ => continue,
            };
            let mut fragments = Vec::new();
            for text in texts {
                for fragment in
                    self.legs
                        .view
                        .words
                        .highlight(query, name, text, wanted.max_chars)?
                {
                    fragments.push(Json::String(wanted.mark(&fragment.text, &fragment.spans)));
                }
            }
            if !fragments.is_empty() {
                marked.insert(name.clone(), Json::Array(fragments));
            }
        }
        Ok(Some(marked))
    }

    fn explain(&self, candidate: &Candidate) -> Result<Explanation> {
        let plan = self.legs.plan;
        let lexical = match candidate.lexical {
            Some((rank, score)) => Some(LegExplanation {
                rank: rank + 1,
                score,
                fused_as: self.fused.then_some(candidate.parts.0),
                detail: match self.legs.words {
                    Some(query) => self
                        .legs
                        .view
                        .words
                        .explain(query, candidate.ordinal)?
                        .and_then(|detail| serde_json::to_value(detail).ok()),
                    None => None,
                },
            }),
            None => None,
        };
        let dense = candidate.dense.map(|(rank, score)| LegExplanation {
            rank: rank + 1,
            score,
            fused_as: self.fused.then_some(candidate.parts.1),
            detail: self.found.passages.get(rank).map(|hit| {
                json!({
                    "passage": hit.passage,
                    "strategy": self.found.strategy,
                })
            }),
        });
        Ok(Explanation {
            lexical,
            dense,
            fusion: self.fused.then_some(FusionExplanation {
                method: plan.fusion.method,
                lexical_weight: plan.fusion.lexical,
                dense_weight: plan.fusion.dense,
                score: candidate.score,
            }),
            beyond_candidates: candidate.beyond,
        })
    }
}

/// Order of two candidates, ids aside. Deeper than the fused candidates the rank decides:
/// it does not change as more hits are asked for, where the set of equal scores would.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    a.beyond.cmp(&b.beyond).then_with(|| {
        if a.beyond {
            a.best_rank().cmp(&b.best_rank())
        } else {
            b.score.total_cmp(&a.score)
        }
    })
}

fn reason(
    view: &View,
    plan: &Plan,
    found: &Found,
    passing: u64,
    reachable: u64,
    scored_lower: u64,
) -> String {
    let filter = if plan.request.filter.is_some() {
        " and pass the filter"
    } else {
        ""
    };
    if view.documents == 0 {
        return "the index holds no visible documents".into();
    }
    if passing == 0 {
        return "no document passes the filter".into();
    }
    let reachable = match plan.mode {
        Mode::Lexical => format!("{} documents match the words{filter}", found.matched),
        _ if found.degraded.is_some() => format!(
            "{} documents match the words{filter}; the vectors could not be searched",
            found.lexical.len()
        ),
        _ => format!("{reachable} documents match the words or have a vector{filter}"),
    };
    let reachable = match scored_lower {
        0 => reachable,
        lower => format!("{reachable}, {lower} of those found score below min_score"),
    };
    if plan.offset > 0 {
        format!("{reachable}, and the first {} were left out", plan.offset)
    } else {
        reachable
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
