//! Which way to search a segment: scan it, look up a few rows, or walk its graph.
//!
//! # The cost model
//!
//! The unit is one int8 comparison of a sequential scan (about 10 ns at 384
//! dimensions). For a segment with `r` rows of which a share `s` may be
//! answered, a beam of `ef` and `m` links per row:
//!
//! * **scan** walks over every document, looks its bit up, and compares the rows
//!   that pass: `s * r + documents / 8`;
//! * **list** goes through the allowed ordinals, bisecting for each, which wins
//!   when they are few: `allowed * log2(documents) / 4 + 2 * s * r`;
//! * **graph** compares about `ef * m` rows to fill a beam, `1 / s` times as many
//!   where only a share passes, each somewhere else in memory, which costs as
//!   much as [`JUMP`] sequential ones: `JUMP * ef * m / s`.
//!
//! The share is estimated from [`SAMPLE`] documents spread evenly over the
//! segment, so that a filter which takes all of one segment and none of another
//! is planned for each as it is. The same filter always gets the same plan. A
//! walk that turns out twice as dear as scanning gives up and the segment is
//! scanned; so is one that found fewer documents than were asked for.

use crate::filter::OrdinalSet;

use super::rows::Rows;

/// Documents looked at to estimate how many pass a filter.
const SAMPLE: usize = 256;
/// What comparing a row anywhere costs, in rows compared in sequence: measured
/// at 384 dimensions, 2.5 with the rows in the processor's caches and 10 without.
const JUMP: f64 = 5.0;

/// How to search one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Every document, checking each against the filter.
    Scan,
    /// Every allowed ordinal, looking each up.
    List,
    /// The graph, giving up after comparing `budget` rows.
    Walk {
        /// Beam width, in rows.
        ef: usize,
        budget: u64,
    },
}

/// Chooses. `graph` is `m` of the segment's graph, if it has one.
pub(crate) fn plan(
    rows: &Rows,
    graph: Option<usize>,
    depth: usize,
    ef: usize,
    allowed: Option<&OrdinalSet>,
) -> Plan {
    let (documents, count) = (rows.documents().max(1), rows.len().max(1));
    let share = allowed.map_or(1.0, |allowed| share(rows, allowed));
    let passing = share * count as f64;
    let (mut best, mut cost) = (Plan::Scan, passing + documents as f64 / 8.0);
    if let Some(allowed) = allowed {
        let bisect = (documents as f64).log2() / 4.0;
        let list = allowed.len() as f64 * bisect + 2.0 * passing;
        if list < cost {
            (best, cost) = (Plan::List, list);
        }
    }
    if let Some(m) = graph {
        // The beam holds rows, the answer documents.
        let rows_per_document = count.div_ceil(documents).min(16);
        let ef = ef.max(depth).saturating_mul(rows_per_document);
        let walk = JUMP * ef as f64 * m as f64 / share;
        if walk < cost {
            let budget = (2.0 * cost / JUMP) as u64 + 1;
            return Plan::Walk { ef, budget };
        }
    }
    best
}

/// The share of a segment's documents that is allowed, never quite 0.
fn share(rows: &Rows, allowed: &OrdinalSet) -> f64 {
    let documents = rows.documents();
    if documents == 0 {
        return 1.0;
    }
    let sample = documents.min(SAMPLE);
    let hits = (0..sample)
        .filter(|i| allowed.contains(rows.ordinal(i * documents / sample)))
        .count();
    // A sample without a hit still leaves some; the whole set bounds it.
    let estimate = if sample == documents {
        hits as f64
    } else {
        (hits as f64 + 0.5) / (sample as f64 + 0.5) * documents as f64
    };
    (estimate.min(allowed.len() as f64) / documents as f64).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(documents: u32) -> Rows {
        let mut rows = Rows::new(1);
        (0..documents).for_each(|ordinal| rows.push(ordinal, &[1.0]));
        rows
    }

    fn every(step: usize, documents: u32) -> OrdinalSet {
        let mut set = OrdinalSet::with_capacity(0);
        for ordinal in (0..documents).step_by(step) {
            set.insert(ordinal);
        }
        set
    }

    #[test]
    fn the_plan_follows_what_passes() {
        let rows = rows(50_000);
        let with = |allowed: Option<&OrdinalSet>| plan(&rows, Some(16), 10, 64, allowed);
        assert!(matches!(with(None), Plan::Walk { ef: 64, .. }));
        assert!(matches!(with(Some(&every(2, 50_000))), Plan::Walk { .. }));
        assert_eq!(with(Some(&every(10, 50_000))), Plan::Scan);
        assert_eq!(with(Some(&every(5_000, 50_000))), Plan::List);
        assert_eq!(with(Some(&OrdinalSet::with_capacity(0))), Plan::List);
        assert_eq!(plan(&rows, None, 10, 64, None), Plan::Scan);
        assert_eq!(plan(&rows, Some(16), 10, 5_000, None), Plan::Scan);
        assert!(matches!(
            plan(&rows, Some(16), 100, 1, None),
            Plan::Walk { ef: 100, .. }
        ));
        assert_eq!(plan(&Rows::new(1), Some(16), 10, 64, None), Plan::Scan);
    }

    #[test]
    fn a_filter_elsewhere_is_seen_in_the_sample() {
        let rows = rows(50_000);
        let mut elsewhere = OrdinalSet::with_capacity(0);
        for ordinal in 100_000..150_000 {
            elsewhere.insert(ordinal);
        }
        assert!(share(&rows, &elsewhere) < 0.01);
        elsewhere.insert(0);
        assert!(share(&rows, &elsewhere) < 0.02);
    }
}
