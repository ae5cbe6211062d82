//! Going on where an answer ended, on the view that it stood on.
//!
//! A cursor holds the view of its first page, so what is written meanwhile changes nothing:
//! every document comes once, in one order. Where all that matches is gone through, a page
//! begins after the last place of the one before, however deep that is. Otherwise the ranking
//! of the first page is held, as far as pages may reach.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::options::CursorRequest;
use super::page::Page;
use super::ranking::{List, Ranking, rank};
use super::request::{Plan, SearchRequest};
use super::rerank::RerankRequest;
use super::response::SearchResponse;
use super::run::{Counts, Ground, Part, answer, ms};
use crate::config::Limits;
use crate::error::{Code, Error, Problem, Result};
use crate::index::Index;
use crate::lexical::SortPlace;

/// Positions that a cursor knows: the next one, and the one before for a caller whose
/// answer was lost.
const POSITIONS: usize = 2;

/// A search that goes on.
struct Session {
    request: SearchRequest,
    ground: Ground,
    /// None where each page is looked for anew.
    ranking: Option<Ranking>,
    counts: Counts,
    positions: Mutex<VecDeque<Position>>,
}

/// Where a page begins.
#[derive(Clone)]
struct Position {
    /// Its number, from 1; the first page has no position.
    page: u64,
    /// Hits before it, those that were left out included.
    before: usize,
    /// The place of the last of them.
    after: Option<SortPlace>,
}

/// How deep the ranking of a request has to go.
pub(super) fn reach(plan: &Plan<'_>, limits: &Limits) -> usize {
    let page = plan.offset.saturating_add(plan.k);
    match plan.keep_s {
        None => page,
        // One more says whether there is another page.
        Some(_) if goes_through(plan) => page.saturating_add(1),
        Some(_) => limits.hits,
    }
}

/// Whether each page is looked for anew, after the last place of the one before.
fn goes_through(plan: &Plan<'_>) -> bool {
    plan.scans() && !plan.order.is_empty() && plan.request.collapse.is_none()
}

/// Holds what the next page needs; its token, or none if there is no other page.
pub(super) fn begin(
    index: &Index,
    request: &SearchRequest,
    keep_s: u64,
    plan: &Plan<'_>,
    ground: Ground,
    ranking: Ranking,
    counts: Counts,
) -> Option<String> {
    let next = next(plan, &ranking, plan.offset, plan.offset)?;
    let session = Session {
        // As it began, whatever the definition says by then.
        request: SearchRequest {
            mode: Some(plan.mode),
            candidates: Some(plan.candidates),
            ef: Some(plan.ef),
            fusion: Some(plan.fusion),
            match_words: Some(plan.match_words),
            rerank: Some(match &plan.rerank {
                Some(stage) => stage.request(),
                None => RerankRequest::Whether(false),
            }),
            ..request.clone()
        },
        ground,
        ranking: (!goes_through(plan)).then_some(ranking),
        counts,
        positions: Mutex::new(VecDeque::from([Position { page: 1, ..next }])),
    };
    let keep = Duration::from_secs(keep_s);
    let most = index.limits().cursors;
    let id = index.held().keep(Arc::new(session), keep, most);
    Some(token(&id, 1))
}

/// The page that a token stands for.
///
/// # Errors
/// `cursor_expired` for a token whose cursor is not held any more, or has moved on.
pub(super) fn go_on(
    index: &Index,
    request: &SearchRequest,
    token: &str,
    started: Instant,
) -> Result<SearchResponse> {
    stands_alone(request)?;
    let expired = || -> Error {
        Problem::new(Code::CursorExpired, "the cursor is not held any more")
            .field("cursor.token")
            .found(token)
            .expected("the token of the last answer, within the cursor's keep_s; begin anew")
            .into()
    };
    let (id, page) = token
        .rsplit_once('-')
        .and_then(|(id, page)| Some((id, page.parse::<u64>().ok()?)))
        .ok_or_else(expired)?;
    let session = index
        .held()
        .get(id)
        .and_then(|kept| kept.downcast::<Session>().ok())
        // Another's, who may see something else.
        .filter(|session| session.request.only == request.only)
        .ok_or_else(expired)?;
    let known = |position: &&Position| position.page == page;
    let position = session.positions.lock().iter().find(known).cloned();
    let position = position.ok_or_else(expired)?;

    let plan = session.request.plan(index.definition(), index.limits())?;
    let legs = session.ground.legs(index, &plan);
    let anew;
    let (ranking, from) = match &session.ranking {
        Some(ranking) => (ranking, position.before),
        None => {
            let reach = plan.k.saturating_add(1);
            anew = rank(&legs, reach, position.after.as_ref())?;
            (&anew, 0)
        }
    };
    let part = Part {
        from,
        before: position.before,
    };
    let shown = Page {
        legs: &legs,
        ranking,
    };
    let mut answer = answer(&shown, part, &session.counts)?;
    // After the last page it is kept for its time, for a caller whose answer was lost.
    if let Some(next) = next(&plan, ranking, from, position.before) {
        let page = page + 1;
        let mut positions = session.positions.lock();
        if positions.iter().all(|known| known.page < page) {
            positions.push_back(Position { page, ..next });
            if positions.len() > POSITIONS {
                positions.pop_front();
            }
        }
        answer.cursor = Some(self::token(id, page));
    }
    // The time that it is kept for begins with the answer.
    let _ = index.held().get(id);
    answer.timings.total_ms = ms(started);
    Ok(answer)
}

/// Where the page after the one from `from` on begins, if there is one. `before`: hits
/// before this one.
fn next(plan: &Plan<'_>, ranking: &Ranking, from: usize, before: usize) -> Option<Position> {
    let end = from.saturating_add(plan.k);
    let tally = &ranking.tally;
    let more = if goes_through(plan) {
        tally.end > end
    } else {
        // Where the ranking was cut off, a page of fewer hits says so.
        tally.end > end || (tally.is_cut && tally.end == end)
    };
    let last = match &ranking.list {
        List::Ordered(list) => list.get(end.checked_sub(1)?),
        List::Scored(_) => None,
    };
    more.then(|| Position {
        page: 0,
        before: before.saturating_add(plan.k),
        after: last.and_then(|last| last.place.clone()),
    })
}

fn token(id: &str, page: u64) -> String {
    format!("{id}-{page}")
}

/// A search that goes on has nothing else to say.
fn stands_alone(request: &SearchRequest) -> Result<(), Problem> {
    let alone = SearchRequest {
        cursor: Some(CursorRequest {
            keep_s: None,
            token: request.cursor.as_ref().and_then(|c| c.token.clone()),
        }),
        only: request.only.clone(),
        ..SearchRequest::default()
    };
    if *request == alone {
        return Ok(());
    }
    Err(
        Problem::new(Code::InvalidRequest, "a search that goes on is as it began")
            .field("cursor.token")
            .found("a token with other fields beside it")
            .expected("the token alone"),
    )
}
