//! Why there are fewer hits than were asked for.

use super::legs::Legs;
use super::ranking::Ranking;
use super::run::Ground;
use crate::index::Mode;

/// The reason, for people. `before`: hits left out at the top, or shown on earlier pages.
pub(super) fn reason(legs: &Legs<'_>, ranking: &Ranking, before: usize) -> String {
    let (plan, tally) = (legs.plan, &ranking.tally);
    if legs.view.documents == 0 {
        return "the index holds no visible documents".into();
    }
    if Ground::passing(legs) == 0 {
        return match (&plan.request.filter, legs.liked) {
            (None, Some(_)) => "there are no documents but the liked ones".into(),
            _ => "no document passes the filter".into(),
        };
    }
    let mut reason = what_there_is(legs, ranking);
    if let Some(least) = plan.request.min_score
        && tally.lower > 0
    {
        let kept = tally.ranked - tally.lower;
        reason += &match tally.is_all {
            true => format!(", {kept} of them score {least} or more"),
            false => format!(", {kept} of which score {least} or more"),
        };
    }
    if let Some(collapse) = &plan.request.collapse {
        let groups = ranking.list.len();
        reason += &format!(", in {groups} groups by {}", collapse.field);
    }
    if let Some(limit) = limit(legs, ranking) {
        reason += &format!("; {limit}");
    }
    if before > 0 {
        let what = match before > plan.offset {
            true if plan.offset == 0 => "came on the pages before",
            true => "came before or were left out",
            false => "were left out",
        };
        reason += &format!(", and the first {before} {what}");
    }
    reason
}

/// The documents that a search of this mode can come to.
fn what_there_is(legs: &Legs<'_>, ranking: &Ranking) -> String {
    let (plan, found, tally) = (legs.plan, &ranking.found, &ranking.tally);
    let filter = match plan.request.filter {
        Some(_) => " and pass the filter",
        None => "",
    };
    if plan.listing {
        return match plan.request.filter {
            Some(_) => format!("{} documents pass the filter", tally.ranked),
            None => format!("the index holds {} documents", tally.ranked),
        };
    }
    let ranked = tally.ranked;
    let degraded = found.degraded.is_some();
    if plan.mode == Mode::Lexical {
        return format!("{} documents match the words{filter}", found.matched);
    }
    let mut reason = match (tally.is_all, plan.mode, degraded) {
        (true, _, true) => format!("{ranked} documents match the words{filter}"),
        (false, _, true) => format!("the best {ranked} documents by their words were looked at"),
        (true, Mode::Dense, _) if !found.had_vector() => {
            "the liked documents have no vector to search by".into()
        }
        (true, Mode::Dense, _) => format!("{ranked} documents have a vector{filter}"),
        (false, Mode::Dense, _) => format!("the {ranked} nearest documents were looked at"),
        (true, ..) => format!("{ranked} documents match the words or have a vector{filter}"),
        (false, ..) => {
            format!("the best {ranked} documents by words and by vectors were looked at")
        }
    };
    if degraded {
        reason += "; the vectors could not be searched";
    } else if plan.mode == Mode::Hybrid && !found.had_vector() {
        reason += "; the liked documents have no vector to search by";
    }
    reason
}

/// What kept the search from going further, and what to do about it.
fn limit(legs: &Legs<'_>, ranking: &Ranking) -> Option<String> {
    let (plan, tally) = (legs.plan, &ranking.tally);
    let hits = legs.index.limits().hits;
    if plan.scans() && (plan.request.collapse.is_none() || plan.keep_s.is_none()) {
        return None;
    }
    if !plan.scans() && !plan.order.is_empty() {
        return (!tally.is_all).then(|| {
            "in this mode `sort` orders the candidates alone: ask for more `candidates`, or \
             search in lexical mode"
                .into()
        });
    }
    if plan.keep_s.is_some() && tally.is_cut && tally.end >= hits {
        return Some(format!(
            "pages in this order end after {hits} hits: `sort` in lexical mode, without \
             `collapse`, goes through everything"
        ));
    }
    (plan.request.collapse.is_some() && tally.is_cut)
        .then(|| "no more were looked at to find other groups".into())
}
