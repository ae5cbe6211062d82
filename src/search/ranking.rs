//! The documents that a search finds, in order: by relevance or by fields' values, all of
//! them or the best of each group.
//!
//! * By relevance the legs are asked for enough documents for the page. To fill a page with
//!   groups they are asked for more, up to [`DEEPEST`]; more only ever adds at the end.
//! * Words in an order of their own, and groups of them, are found by going through all
//!   that matches, so that nothing is beyond reach.
//! * Vectors have no such end: in dense and hybrid mode the candidates, whose number does not
//!   depend on how many hits are wanted, are put in order.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::fusion::{Candidate, fuse};
use super::learned::fuse_learned;
use super::legs::{Found, Legs};
use super::page::order;
use super::rerank::Reranking;
use super::response::InnerHit;
use super::run::ms;
use crate::document::Value;
use crate::error::Result;
use crate::filter::OrdinalSet;
use crate::index::{FusionMethod, MAX_CANDIDATES, Mode};
use crate::lexical::{SortAmong, SortBy, SortKey, SortPlace, SortQuery, SortedHit};
use crate::telemetry::stage;

/// Documents that each leg is asked for at most to fill a page with groups.
const DEEPEST: usize = MAX_CANDIDATES;
/// How much deeper each attempt to fill a page goes.
const DEEPER: usize = 4;

/// Documents in order.
pub(super) struct Ranking {
    pub list: List,
    pub found: Found,
    /// Whether two legs were fused.
    pub fused: bool,
    /// What re-ranking made of it, where it was asked for.
    pub rerank: Option<Reranking>,
    pub tally: Tally,
}

/// The order itself.
pub(super) enum List {
    /// By relevance; ties are still to be broken by id.
    Scored(Vec<Candidate>),
    /// In its final order.
    Ordered(Vec<Ranked>),
}

impl List {
    pub fn len(&self) -> usize {
        match self {
            List::Scored(list) => list.len(),
            List::Ordered(list) => list.len(),
        }
    }
}

/// A document in its final place.
#[derive(Debug, Clone)]
pub(super) struct Ranked {
    pub candidate: Candidate,
    /// Where it stands in an order of fields' values.
    pub place: Option<SortPlace>,
    pub group: Option<Value>,
    pub inner: Option<Vec<InnerHit>>,
}

impl Ranked {
    pub fn new(candidate: Candidate) -> Ranked {
        Ranked {
            candidate,
            place: None,
            group: None,
            inner: None,
        }
    }
}

/// What came of what was looked at, for the reason why there are so few hits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Documents that were put in order.
    pub ranked: u64,
    /// Those left out because they score lower than `min_score`.
    pub lower: u64,
    /// Whether they are all there are.
    pub is_all: bool,
    /// Hits of the list that pages may reach.
    pub end: usize,
    /// Whether there may be hits beyond that.
    pub is_cut: bool,
}

/// Finds documents in the order that the plan says, at least `reach` of them if there are
/// so many; where all that matches is gone through, only those after a place.
pub(super) fn rank(legs: &Legs<'_>, reach: usize, after: Option<&SortPlace>) -> Result<Ranking> {
    if legs.plan.scans() {
        scan(legs, reach, after)
    } else if !legs.plan.order.is_empty() {
        reorder(legs)
    } else if legs.plan.request.collapse.is_some() {
        collapse(legs, reach)
    } else {
        relevant(legs, reach)
    }
}

/// By relevance.
fn relevant(legs: &Legs<'_>, reach: usize) -> Result<Ranking> {
    let mut found = legs.search(legs.plan.candidates.max(reach))?;
    let mut rerank = None;
    let (list, ranked) = listed(legs, &mut found, &mut rerank)?;
    let is_all = found.is_all();
    let lower = ranked - list.len() as u64;
    Ok(Ranking {
        rerank,
        tally: Tally {
            ranked,
            lower,
            is_all,
            end: list.len().min(reach),
            // Beyond what scores too low everything does.
            is_cut: (!is_all && lower == 0) || list.len() > reach,
        },
        fused: is_fused(legs, &found),
        list: List::Scored(list),
        found,
    })
}

fn is_fused(legs: &Legs<'_>, found: &Found) -> bool {
    legs.plan.mode == Mode::Hybrid && found.degraded.is_none()
}

/// One list of what the legs found, re-ranked where that is asked for, without what scores
/// too low; and how many there were with it. What is re-ranked is scored once, however often
/// the list gets longer.
fn listed(
    legs: &Legs<'_>,
    found: &mut Found,
    rerank: &mut Option<Reranking>,
) -> Result<(Vec<Candidate>, u64)> {
    let mut list = fused(legs, found)?;
    if rerank.is_none() {
        *rerank = Reranking::new(legs, &list)?;
    }
    if let Some(rerank) = rerank {
        rerank.apply(&mut list);
    }
    let ranked = list.len() as u64;
    if let Some(least) = legs.plan.request.min_score {
        list.retain(|one| one.score >= least);
    }
    Ok((list, ranked))
}

/// One list of what the legs found.
fn fused(legs: &Legs<'_>, found: &mut Found) -> Result<Vec<Candidate>> {
    let started = Instant::now();
    let _fusion = stage!("fusion");
    let plan = legs.plan;
    let mut list = if is_fused(legs, found) && plan.fusion.method == FusionMethod::Learned {
        let (list, learned) = fuse_learned(legs, found)?;
        found.learned = Some(learned);
        list
    } else {
        fuse(&found.lexical, &found.dense, plan.candidates, &plan.fusion)
    };
    if !is_fused(legs, found) {
        // One leg answered alone: its own scores rank and are reported.
        for one in list.iter_mut() {
            if let Some((_, score)) = one.lexical.or(one.dense) {
                one.score = score;
            }
        }
        list.sort_by_key(Candidate::best_rank);
    }
    found.fusion_ms += ms(started);
    Ok(list)
}

/// All that matches, in an order of its own.
fn scan(legs: &Legs<'_>, reach: usize, after: Option<&SortPlace>) -> Result<Ranking> {
    let started = Instant::now();
    let _words = stage!("words");
    let request = legs.plan.request;
    let by_score = [SortKey {
        by: SortBy::Score,
        descending: true,
        missing_first: false,
    }];
    let keys = match legs.plan.order.as_slice() {
        [] => by_score.as_slice(),
        keys => keys,
    };
    let query = SortQuery {
        keys,
        depth: reach,
        after,
        least: request.min_score,
        collapse: request.collapse.as_ref().map(|c| c.field.as_str()),
    };
    let words = &legs.view.words;
    let among = SortAmong::All(legs.allowed);
    let sorted = match legs.words {
        Some(text) => words.search_sorted(text, legs.allowed, &query)?,
        None => words.sorted(among, &query)?,
    };
    let mut list: Vec<Ranked> = sorted
        .hits
        .iter()
        .map(|hit| Ranked {
            place: Some(hit.place.clone()),
            group: hit.group.clone(),
            ..Ranked::new(Candidate {
                // The rank among all that matches is not known.
                lexical: legs.words.map(|_| (0, hit.score)),
                score: hit.score,
                ..Candidate::new(hit.ordinal)
            })
        })
        .collect();
    add_inner(legs, &mut list, |groups, most| match legs.words {
        Some(text) => words.search_members(text, legs.allowed, &query, groups, most),
        None => words.members(among, &query, groups, most),
    })?;
    let found = Found {
        matched: sorted.matched,
        words_ms: ms(started),
        ..Found::default()
    };
    Ok(Ranking {
        tally: Tally {
            ranked: sorted.matched,
            lower: sorted.lower,
            is_all: true,
            end: list.len(),
            is_cut: list.len() == reach,
        },
        list: List::Ordered(list),
        found,
        fused: false,
        rerank: None,
    })
}

/// The candidates in an order of fields' values.
fn reorder(legs: &Legs<'_>) -> Result<Ranking> {
    let mut found = legs.search(legs.plan.candidates)?;
    let mut rerank = None;
    let (candidates, ranked) = listed(legs, &mut found, &mut rerank)?;
    let started = Instant::now();
    let scores: HashMap<u32, f32> = candidates.iter().map(|c| (c.ordinal, c.score)).collect();
    let query = SortQuery {
        keys: &legs.plan.order,
        depth: scores.len(),
        after: None,
        least: None,
        collapse: legs
            .plan
            .request
            .collapse
            .as_ref()
            .map(|c| c.field.as_str()),
    };
    let (words, among) = (&legs.view.words, SortAmong::Scored(&scores));
    let sorted = words.sorted(among, &query)?;
    let by_ordinal: HashMap<u32, Candidate> = candidates.iter().map(|c| (c.ordinal, *c)).collect();
    let mut list: Vec<Ranked> = sorted
        .hits
        .into_iter()
        .filter_map(|hit| {
            Some(Ranked {
                place: Some(hit.place),
                group: hit.group,
                ..Ranked::new(*by_ordinal.get(&hit.ordinal)?)
            })
        })
        .collect();
    add_inner(legs, &mut list, |groups, most| {
        words.members(among, &query, groups, most)
    })?;
    found.fusion_ms += ms(started);
    Ok(Ranking {
        tally: Tally {
            ranked,
            lower: ranked - candidates.len() as u64,
            is_all: found.is_all(),
            end: list.len(),
            is_cut: !found.is_all(),
        },
        fused: is_fused(legs, &found),
        rerank,
        list: List::Ordered(list),
        found,
    })
}

/// Names further members of the groups in a list.
fn add_inner(
    legs: &Legs<'_>,
    list: &mut [Ranked],
    members: impl FnOnce(&[Value], usize) -> Result<Vec<Vec<SortedHit>>>,
) -> Result<()> {
    let inner = legs.plan.request.collapse.as_ref().map_or(0, |c| c.inner);
    if inner == 0 {
        return Ok(());
    }
    let groups: Vec<Value> = list.iter().filter_map(|one| one.group.clone()).collect();
    // The hit itself is one of them.
    let mut members = members(&groups, inner + 1)?.into_iter();
    for one in list {
        let others = match one.group {
            Some(_) => members.next().unwrap_or_default(),
            None => Vec::new(),
        };
        let others = others.into_iter();
        let others = others.filter(|other| other.ordinal != one.candidate.ordinal);
        let others = others.take(inner).map(|other| InnerHit {
            id: other.place.id,
            score: other.score,
        });
        one.inner = Some(others.collect());
    }
    Ok(())
}

/// The best of each group by relevance.
fn collapse(legs: &Legs<'_>, reach: usize) -> Result<Ranking> {
    let mut depth = legs.plan.candidates.max(reach);
    let mut found = legs.search(depth)?;
    let mut rerank = None;
    loop {
        let (list, ranked) = listed(legs, &mut found, &mut rerank)?;
        let lower = ranked - list.len() as u64;
        let list = first_of_groups(legs, list)?;
        let is_all = found.is_all();
        // Beyond what scores too low everything does.
        let enough = list.len() >= reach || is_all || lower > 0;
        if enough || depth >= DEEPEST.max(reach) {
            return Ok(Ranking {
                tally: Tally {
                    ranked,
                    lower,
                    is_all,
                    end: list.len().min(reach),
                    is_cut: (!is_all && lower == 0) || list.len() > reach,
                },
                fused: is_fused(legs, &found),
                rerank,
                list: List::Ordered(list),
                found,
            });
        }
        depth = depth.saturating_mul(DEEPER).min(DEEPEST.max(reach));
        legs.deepen(&mut found, depth)?;
    }
}

/// The first document of each group, and of the candidates its further members.
fn first_of_groups(legs: &Legs<'_>, mut list: Vec<Candidate>) -> Result<Vec<Ranked>> {
    let Some(wanted) = &legs.plan.request.collapse else {
        return Ok(Vec::new());
    };
    // Which of equals comes first is a matter of their ids.
    let ordinals: Vec<u32> = list
        .chunk_by(|a, b| order(a, b).is_eq())
        .filter(|equal| equal.len() > 1)
        .flat_map(|equal| equal.iter().map(|one| one.ordinal))
        .collect();
    let ids = legs.index.ids(&ordinals)?;
    let mut ids: HashMap<u32, String> = ordinals
        .into_iter()
        .zip(ids)
        .filter_map(|(ordinal, id)| Some((ordinal, id?)))
        .collect();
    list.sort_by(|a, b| order(a, b).then_with(|| ids.get(&a.ordinal).cmp(&ids.get(&b.ordinal))));
    let among: OrdinalSet = list.iter().map(|one| one.ordinal).collect();
    let mut values = legs.view.words.values(&wanted.field, &among)?;
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut firsts: Vec<Ranked> = Vec::new();
    let mut others: Vec<(usize, Candidate)> = Vec::new();
    for candidate in list {
        let group = values.remove(&candidate.ordinal);
        if let Some(group) = &group {
            match places.entry(group.to_string()) {
                std::collections::hash_map::Entry::Occupied(place) => {
                    others.push((*place.get(), candidate));
                    continue;
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(firsts.len());
                }
            }
        }
        firsts.push(Ranked {
            group,
            inner: (wanted.inner > 0).then(Vec::new),
            ..Ranked::new(candidate)
        });
    }
    if wanted.inner > 0 {
        // Of the candidates alone: how deep else was looked depends on the page.
        others.retain(|(_, other)| !other.beyond);
        let mut named = vec![0; firsts.len()];
        others.retain(|(place, _)| {
            named[*place] += 1;
            named[*place] <= wanted.inner
        });
        let unknown: HashSet<u32> = others.iter().map(|(_, other)| other.ordinal).collect();
        let unknown: Vec<u32> = unknown
            .into_iter()
            .filter(|ordinal| !ids.contains_key(ordinal))
            .collect();
        let found = legs.index.ids(&unknown)?;
        ids.extend(
            unknown
                .into_iter()
                .zip(found)
                .filter_map(|(ordinal, id)| Some((ordinal, id?))),
        );
        for (place, other) in others {
            if let (Some(inner), Some(id)) = (&mut firsts[place].inner, ids.get(&other.ordinal)) {
                inner.push(InnerHit {
                    id: id.clone(),
                    score: other.score,
                });
            }
        }
    }
    Ok(firsts)
}
