//! One search, from the request to the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::cursor;
use super::facets::FacetCount;
use super::learned::{Known, known};
use super::legs::{Legs, allowed, word_query};
use super::page::Page;
use super::ranking::{Ranking, rank};
use super::request::{Plan, SearchRequest};
use super::response::{SearchResponse, Shortfall, Timings, Total, TotalCounts, Work};
use super::short::reason;
use super::similar::{Liked, liked};
use crate::combine::Features;
use crate::error::{Code, Error, Problem, Result};
use crate::filter::OrdinalSet;
use crate::index::{Index, Mode, View};
use crate::lexical::WordQuery;
use crate::model::Cancellation;
use crate::telemetry::stage;

/// Answers a search on the index's current view, or goes on with one on the view that its
/// cursor holds. Blocking: encodes on this thread while the words are searched on another.
///
/// # Errors
/// The caller's problem with the request; operator errors of the store or, where the
/// vectors alone were asked for, of the encoder.
pub fn search(index: &Index, request: &SearchRequest) -> Result<SearchResponse> {
    search_while(index, request, &Cancellation::default())
}

/// The same for a caller who may leave: what is left of encoding and re-ranking is then not
/// done.
///
/// # Errors
/// As [`search`].
pub fn search_while(
    index: &Index,
    request: &SearchRequest,
    cancellation: &Cancellation,
) -> Result<SearchResponse> {
    let started = Instant::now();
    let _search = stage!("search", gleaner.index = index.name());
    if let Some(token) = request.cursor.as_ref().and_then(|c| c.token.as_deref()) {
        return cursor::go_on(index, request, token, started);
    }
    let mut plan = request.plan(index.definition(), index.limits())?;
    plan.cancellation = cancellation.clone();
    let ground = {
        let _filter = stage!("filter");
        Ground::new(index, &plan)?
    };
    let filter_ms = ms(started);
    let legs = ground.legs(index, &plan);
    let ranking = rank(&legs, cursor::reach(&plan, index.limits()), None)?;
    let counts = Counts::new(&legs, &ranking)?;
    let page = Page {
        legs: &legs,
        ranking: &ranking,
    };
    let part = Part {
        from: plan.offset,
        before: plan.offset,
    };
    let mut answer = answer(&page, part, &counts)?;
    answer.timings.filter_ms = filter_ms;
    if let Some(keep_s) = plan.keep_s {
        answer.cursor = cursor::begin(index, request, keep_s, &plan, ground, ranking, counts);
    }
    answer.timings.total_ms = ms(started);
    Ok(answer)
}

/// What all pages of a search stand on.
pub(super) struct Ground {
    pub view: Arc<View>,
    pub liked: Option<Liked>,
    pub allowed: Option<OrdinalSet>,
    pub words: Option<WordQuery>,
}

impl Ground {
    fn new(index: &Index, plan: &Plan<'_>) -> Result<Ground> {
        let view = index.view();
        let liked = liked(index, &view, plan.request)?;
        let allowed = allowed(index, &view, plan.request, liked.as_ref())?;
        let words = word_query(index, &view, plan, liked.as_ref())?;
        Ok(Ground {
            view,
            liked,
            allowed,
            words,
        })
    }

    pub fn legs<'a>(&'a self, index: &'a Index, plan: &'a Plan<'a>) -> Legs<'a> {
        Legs {
            index,
            view: &self.view,
            plan,
            words: self.words.as_ref(),
            liked: self.liked.as_ref(),
            allowed: self.allowed.as_ref(),
        }
    }

    /// How many documents may be hits.
    pub fn passing(legs: &Legs<'_>) -> u64 {
        let all = legs.view.documents;
        legs.allowed.map_or(all, |allowed| allowed.len() as u64)
    }
}

/// What an answer counts, the same on every page.
#[derive(Clone)]
pub(super) struct Counts {
    pub total: Total,
    pub facets: BTreeMap<String, Vec<FacetCount>>,
}

impl Counts {
    fn new(legs: &Legs<'_>, ranking: &Ranking) -> Result<Counts> {
        let total = match legs.plan.mode {
            Mode::Lexical if !legs.plan.listing => Total {
                value: ranking.found.matched,
                counts: TotalCounts::Matching,
            },
            _ => Total {
                value: Ground::passing(legs),
                counts: TotalCounts::Filtered,
            },
        };
        Ok(Counts {
            total,
            facets: legs.facets()?,
        })
    }
}

/// Which part of a ranking a page is.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Its first place.
    pub from: usize,
    /// Hits before it, those of earlier pages included.
    pub before: usize,
}

/// The answer with one page of a ranking.
pub(super) fn answer(page: &Page<'_>, part: Part, counts: &Counts) -> Result<SearchResponse> {
    let (legs, ranking) = (page.legs, page.ranking);
    let fetching = Instant::now();
    let _fetch = stage!("fetch");
    let k = legs.plan.k;
    let hits = page.fetch(part.from, k)?;
    let found = &ranking.found;
    let reranking = ranking.rerank.as_ref();
    let lost = [
        found.degraded.as_ref(),
        reranking.and_then(|r| r.degraded.as_ref()),
    ];
    let timings = Timings {
        encode_ms: found.encode_ms,
        words_ms: found.words_ms,
        vectors_ms: found.vectors_ms,
        fusion_ms: found.fusion_ms,
        rerank_ms: reranking.map_or(0.0, |r| r.took_ms),
        fetch_ms: ms(fetching),
        ..Timings::default()
    };
    let short = (hits.len() < k).then(|| Shortfall {
        asked: k,
        found: hits.len(),
        reason: reason(legs, ranking, part.before),
    });
    Ok(SearchResponse {
        hits,
        total: counts.total,
        facets: counts.facets.clone(),
        mode: legs.plan.mode,
        short,
        rerank: reranking.map(|r| r.summary.clone()),
        degraded: lost.into_iter().flatten().cloned().collect(),
        cursor: None,
        seq: legs.view.seq,
        timings,
        work: Work {
            strategy: found.strategy,
            compared: found.compared,
            candidates: legs.plan.candidates,
            by_words: found.lexical.len(),
            by_vectors: found.dense.len(),
            documents: legs.view.documents,
            allowed: match counts.total.counts {
                TotalCounts::Filtered => counts.total.value,
                TotalCounts::Matching => Ground::passing(legs),
            },
        },
    })
}

/// What is known of the candidates of a hybrid search, in no particular order: what a learned
/// fusion puts them in order by, for fitting one.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// Their ids.
    pub ids: Vec<String>,
    /// What is known of them and of the query.
    pub features: Features,
}

/// The candidates of a search, which has to be a hybrid one, on the index's current view.
///
/// # Errors
/// As [`search`]; `invalid_request` for a search in another mode; an operator error where a
/// leg cannot answer.
pub fn candidates(index: &Index, request: &SearchRequest) -> Result<Candidates> {
    let plan = request.plan(index.definition(), index.limits())?;
    if plan.mode != Mode::Hybrid {
        return Err(Problem::new(
            Code::InvalidRequest,
            "only a search by words and vectors has candidates to put together",
        )
        .field("mode")
        .found(plan.mode.as_str())
        .expected("hybrid")
        .into());
    }
    let ground = Ground::new(index, &plan)?;
    let legs = ground.legs(index, &plan);
    let found = legs.search(plan.candidates)?;
    if let Some(lost) = &found.degraded {
        return Err(Error::operator(format!(
            "the candidates are not whole without {}: {}",
            lost.lost, lost.reason
        )));
    }
    let Known { ordinals, features } = known(&legs, &found)?;
    // What was buried since cannot be, as the view is held.
    let ids = index.ids(&ordinals)?;
    Ok(Candidates {
        ids: ids.into_iter().map(Option::unwrap_or_default).collect(),
        features,
    })
}

pub(super) fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
