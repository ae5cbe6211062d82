//! Fitting an index's combiner on its feedback.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{EventKind, FeedbackEvent};
use super::learn::{
    Comparison, Grouped, Impression, LearnOptions, LoggedQuery, Seen, compare, learn,
};
use super::log::records;
use crate::combine::{Combiner, LargestWeights, Propensities};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Index, Mode};
use crate::search::{SearchRequest, candidates};

/// Most queries that are fitted on, the latest; what is known of their candidates is held in
/// memory, about 10 KB each.
const MOST_QUERIES: usize = 20_000;
/// Fewest queries to fit on, and to compare on.
const LEAST_QUERIES: usize = 50;
const LEAST_HELD_BACK: usize = 10;
/// A combiner has won if so small a difference would be chance less often than this.
const SIGNIFICANT: f64 = 0.05;

/// How to fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FitRequest {
    /// Use the combiner at once if it wins on the queries that are held back.
    pub activate: bool,
}

impl Default for FitRequest {
    fn default() -> Self {
        FitRequest { activate: true }
    }
}

/// What came of fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FitReport {
    /// The new combiner's version.
    pub version: u32,
    /// The one that it was compared with; 0 for the one that is shipped.
    pub compared_with: u32,
    /// Whether it won: better on the queries held back, and not by chance (p < .05).
    pub won: bool,
    /// Whether searches use it.
    pub activated: bool,
    /// Queries that it was fitted on.
    pub queries: usize,
    /// Clicks in them.
    pub clicks: usize,
    /// Judged pairs, in all queries.
    pub judgments: usize,
    /// Documents that were shown or judged and are no candidates of their queries now: they
    /// teach nothing.
    pub not_found: usize,
    /// Queries that could not be asked, or were too many.
    pub left_out: usize,
    /// How likely each rank is looked at, as estimated.
    pub propensities: Propensities,
    /// Largest weights that negatives had, before they were clipped.
    pub largest_weights: LargestWeights,
    /// On the queries held back.
    pub held_back: Comparison,
}

/// Fits a combiner on an index's feedback, compares it with the one in use on queries that
/// are held back, keeps it as a new version and, if it has won, uses it. Blocking; takes as
/// long as searching for each query of the log, and some seconds.
///
/// # Errors
/// `too_little_feedback`; `invalid_request` for an index without vectors; as [`candidates`].
pub fn fit_feedback(index: &Index, request: &FitRequest) -> Result<FitReport> {
    if index.definition().embedding.is_none() {
        return Err(Problem::new(
            Code::InvalidRequest,
            "a combiner puts words and vectors together, and the index has no vectors",
        )
        .field("index")
        .found(index.name())
        .expected("an index with an embedding")
        .into());
    }
    let mut grouped = Grouped::default();
    for record in records(index)? {
        grouped.add(record.event);
    }
    let mut tally = Tally::default();
    let total = grouped.list.len();
    tally.left_out = total.saturating_sub(MOST_QUERIES);
    let mut queries = Vec::new();
    for (query, events) in grouped.list.into_iter().skip(tally.left_out) {
        if let Some(logged) = logged(index, query, &events, &mut tally)? {
            queries.push(logged);
        }
    }
    let active = index.combiner();
    let shipped = Combiner::shipped()?;
    let held_back = queries.iter().filter(|one| one.is_held_back()).count();
    let learned = learn(&queries, Some(&shipped), &LearnOptions::default());
    let learned = match learned {
        Some(learned) if learned.queries >= LEAST_QUERIES && held_back >= LEAST_HELD_BACK => {
            learned
        }
        other => {
            return Err(Problem::new(
                Code::TooLittleFeedback,
                "there is too little feedback to learn from",
            )
            .field("feedback")
            .found(format!(
                "{} queries with a click or a good grade for a document that is still found, and {held_back} held back",
                other.map_or(0, |learned| learned.queries)
            ))
            .expected(format!("{LEAST_QUERIES}, and {LEAST_HELD_BACK}"))
            .into());
        }
    };
    let held_back = compare(
        &queries,
        &active.combiner,
        &learned.combiner,
        &learned.propensities,
    );
    let won = held_back.after > held_back.before
        && held_back.p < SIGNIFICANT
        && held_back.queries >= LEAST_HELD_BACK;
    let mut report = FitReport {
        version: 0,
        compared_with: active.version,
        won,
        activated: won && request.activate,
        queries: learned.queries,
        clicks: learned.clicks,
        judgments: tally.judgments,
        not_found: tally.not_found,
        left_out: tally.left_out,
        propensities: learned.propensities,
        largest_weights: learned.largest_weights,
        held_back,
    };
    let kept = serde_json::to_value(&report)
        .map_err(|e| Error::Bug(format!("a report does not serialise: {e}")))?;
    report.version = index.keep_combiner(learned.combiner, kept)?;
    if report.activated {
        index.activate_combiner(report.version)?;
    }
    tracing::info!(
        index = index.name(),
        version = report.version,
        won,
        before = report.held_back.before,
        after = report.held_back.after,
        p = report.held_back.p,
        largest_weight = report.largest_weights.relevance,
        "fitted a combiner"
    );
    Ok(report)
}

#[derive(Default)]
struct Tally {
    judgments: usize,
    not_found: usize,
    left_out: usize,
}

/// A query with what is known of its candidates now; None for one that cannot be asked.
fn logged(
    index: &Index,
    query: String,
    events: &[FeedbackEvent],
    tally: &mut Tally,
) -> Result<Option<LoggedQuery>> {
    let request = SearchRequest {
        query: Some(query.clone()),
        mode: Some(Mode::Hybrid),
        ..SearchRequest::default()
    };
    let found = match candidates(index, &request) {
        Ok(found) => found,
        // A query text that is none: it could be logged, and says nothing.
        Err(Error::User(problem))
            if matches!(problem.code, Code::InvalidQuery | Code::LimitExceeded) =>
        {
            tally.left_out += 1;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let places: HashMap<&str, usize> = found.ids.iter().map(String::as_str).zip(0..).collect();
    let mut place = |id: &str| {
        let place = places.get(id).copied();
        tally.not_found += usize::from(place.is_none());
        place
    };
    let mut impressions = Vec::new();
    let mut judgments = BTreeMap::new();
    for event in events {
        match event.kind {
            EventKind::Judgment => {
                if let (Some(id), Some(grade)) = (&event.id, event.grade)
                    && let Some(candidate) = place(id)
                {
                    judgments.insert(candidate, grade);
                }
            }
            EventKind::Impression => {
                let clicked = event.clicked.as_deref().unwrap_or_default();
                let mut seen = Vec::new();
                for one in event.shown.iter().flatten() {
                    if let Some(candidate) = place(&one.id) {
                        seen.push(Seen {
                            candidate,
                            rank: one.rank as usize,
                            clicked: clicked.contains(&one.id),
                        });
                    }
                }
                impressions.push(Impression { seen });
            }
            // One whose impression is not known: at which rank it was shown, nobody knows.
            EventKind::Click => {}
        }
    }
    tally.judgments += judgments.len();
    Ok(Some(LoggedQuery {
        query,
        documents: found.ids,
        features: found.features,
        impressions,
        judgments,
    }))
}
