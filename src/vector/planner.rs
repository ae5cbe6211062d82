//! Which way to search a segment: scan it, look up a few rows, or walk its graph.
//!
//! # The cost model
//!
//! The unit is comparing one row somewhere in memory by int8. For a segment with `r` rows of which a share `s` may be answered, a beam of
//! `ef`, and `k` documents wanted:
//!
//! * **scan** looks every document's bit up and compares the rows that pass:
//!   `s * r + documents / 25`;
//! * **list** goes through the allowed ordinals, which wins when they are few, and always
//!   where no ordinal is missing between the first and the last, so that no bisection is
//!   needed: `s * r + allowed / 20`, else `s * r + allowed * log2(documents) / 4`;
//! * **walk** goes through the graph as if there were no filter, and drops what does not
//!   pass: a beam wide enough that more than `k` are left, and about as good as one of `ef`
//!   without a filter, which is `min(1 / s, 2) * ef + (1 / s - 1) * k` or so. A place in
//!   the beam costs [`WALK`];
//! * **hop** jumps over what does not pass, which leaves the beam at `ef` until so few pass
//!   that the graph falls apart, below [`SPARSE`], and costs looking at the links of links:
//!   [`HOP`] for a place in the beam.
//!
//! Measured on 100,000 vectors of sentences; `make bench-vectors` shows how far from the
//! best way the chosen one is.
//!
//! The share is estimated from [`SAMPLE`] documents spread evenly over the segment, so
//! that a filter which takes all of one segment and none of another is planned for each as
//! it is. The same filter always gets the same plan. A segment is scanned after all if
//! hopping turns out twice as dear as that, or if too few documents were found.

use crate::filter::OrdinalSet;

use super::rows::Rows;

/// Documents looked at to estimate how many pass a filter.
const SAMPLE: usize = 256;
/// What a place in a beam costs, in rows compared.
const WALK: f64 = 20.0;
/// The same where links of links are looked at.
const HOP: f64 = 70.0;
/// A place in a beam of this width costs twice as much.
const WIDE: f64 = 5_000.0;
/// Below this share a beam that hops has to be wider.
const SPARSE: f64 = 0.07;

/// What may be answered.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'a> {
    pub set: &'a OrdinalSet,
    /// Its members.
    pub count: usize,
}

/// A way of searching a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Compare all that may be answered.
    Scan,
    /// Walk the graph and drop what may not be answered.
    Walk,
    /// Walk the graph, jumping over what may not be answered.
    Hop,
}

/// How to search one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Every document, checking each against the filter.
    Scan,
    /// Every allowed ordinal, looking each up.
    List,
    /// The graph.
    Walk(Walk),
}

/// How to walk a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Beam width, in rows.
    pub width: usize,
    /// Rows to compare at most while hopping.
    pub budget: u64,
    /// Whether to jump over what is not allowed.
    pub two_hops: bool,
}

/// Chooses, or does as it is told. `graph`: whether there is one.
pub(crate) fn plan(
    rows: &Rows,
    graph: bool,
    depth: usize,
    ef: usize,
    allowed: Option<Allowed<'_>>,
    told: Option<Way>,
) -> Plan {
    let (documents, count) = (rows.documents().max(1), rows.len().max(1));
    let share = allowed.map_or(1.0, |allowed| share(rows, allowed));
    let passing = share * count as f64;
    let (mut best, mut cost) = (Plan::Scan, passing + documents as f64 / 25.0);
    if let Some(allowed) = allowed {
        let lookup = match rows.ordinals().are_dense() {
            true => 0.05,
            false => (documents as f64).log2() / 4.0,
        };
        let list = allowed.count as f64 * lookup + passing;
        if list < cost {
            (best, cost) = (Plan::List, list);
        }
    }
    if !graph || told == Some(Way::Scan) {
        return best;
    }
    // The beam holds rows, the answer documents.
    let rows_per_document = count.div_ceil(documents).min(16);
    let depth = (depth * rows_per_document) as f64;
    let ef = (ef.max(1) * rows_per_document) as f64;
    let ef = ef.max(depth);
    let walk_width = if share < 1.0 {
        let wide = (1.0 / share).min(2.0) * ef + (1.0 / share - 1.0) * depth;
        wide.max(1.6 * depth / share)
    } else {
        ef
    };
    let hop_width = ef * (SPARSE / share).max(1.0);
    // Putting a row into its place takes longer in a wide beam.
    let (walk, hop) = (
        WALK * walk_width * (1.0 + walk_width / WIDE),
        HOP * hop_width * (1.0 + hop_width / WIDE),
    );
    let two_hops = match told {
        Some(way) => way == Way::Hop,
        None if walk.min(hop) >= cost => return best,
        None => hop < walk,
    };
    let width = if two_hops { hop_width } else { walk_width };
    Plan::Walk(Walk {
        width: width.min(count as f64) as usize,
        budget: match told {
            Some(_) => u64::MAX,
            None => 2 * cost as u64,
        },
        two_hops,
    })
}

/// The share of a segment's documents that is allowed, never quite 0.
fn share(rows: &Rows, allowed: Allowed<'_>) -> f64 {
    let documents = rows.documents();
    if documents == 0 {
        return 1.0;
    }
    let ordinals = rows.ordinals();
    let sample = documents.min(SAMPLE);
    let hits = (0..sample)
        .filter(|place| {
            // Somewhere in each part, lest a filter keeps step with the sample.
            let first = place * documents / sample;
            let part = ((place + 1) * documents / sample - first).max(1);
            let document = first + place.wrapping_mul(0x9e37_79b9) / 256 % part;
            allowed.set.contains(ordinals.of(document as u32))
        })
        .count();
    // A sample without a hit still leaves some; the whole set bounds it.
    let estimate = if hits == sample || sample == documents {
        hits as f64 / sample as f64 * documents as f64
    } else {
        (hits as f64 + 0.5) / (sample as f64 + 0.5) * documents as f64
    };
    (estimate.min(allowed.count as f64) / documents as f64).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::super::rows::RowsBuilder;
    use super::super::space::{Metric, Shape, Storage};
    use super::*;

    fn rows(documents: u32) -> Rows {
        let mut rows = RowsBuilder::new(Shape {
            dimensions: 1,
            metric: Metric::Dot,
            storage: Storage::F16,
        });
        (0..documents).for_each(|ordinal| rows.push(ordinal, &[1.0]));
        rows.finish()
    }

    fn counted(set: &OrdinalSet) -> Allowed<'_> {
        Allowed {
            set,
            count: set.len(),
        }
    }

    fn every(step: usize, documents: u32) -> OrdinalSet {
        (0..documents).step_by(step).collect()
    }

    #[test]
    fn the_plan_follows_what_passes() {
        let rows = rows(200_000);
        let with =
            |allowed: Option<&OrdinalSet>| plan(&rows, true, 10, 64, allowed.map(counted), None);
        let walks =
            |plan: Plan, hops: bool| matches!(plan, Plan::Walk(walk) if walk.two_hops == hops);
        assert!(matches!(with(None), Plan::Walk(Walk { width: 64, .. })));
        assert!(walks(with(Some(&every(1, 200_000))), false));
        assert!(walks(with(Some(&every(4, 200_000))), false));
        assert!(walks(with(Some(&every(20, 200_000))), true));
        assert_eq!(with(Some(&every(20_000, 200_000))), Plan::List);
        assert_eq!(with(Some(&OrdinalSet::with_capacity(0))), Plan::List);
        assert_eq!(plan(&rows, false, 10, 64, None, None), Plan::Scan);
        assert_eq!(plan(&rows, true, 10, 50_000, None, None), Plan::Scan);
        assert!(matches!(
            plan(&rows, true, 100, 1, None, None),
            Plan::Walk(Walk { width: 100, .. })
        ));
        for (told, hops) in [(Way::Walk, false), (Way::Hop, true)] {
            let few = every(20_000, 200_000);
            assert!(walks(
                plan(&rows, true, 10, 64, Some(counted(&few)), Some(told)),
                hops
            ));
        }
        let told = plan(&rows, true, 10, 64, None, Some(Way::Scan));
        assert_eq!(told, Plan::Scan);
    }

    #[test]
    fn a_filter_that_keeps_step_with_the_sample_is_seen() {
        let rows = rows(131_072);
        for first in 0..2 {
            let half: OrdinalSet = (first..131_072).step_by(2).collect();
            let share = share(&rows, counted(&half));
            assert!((0.4..0.6).contains(&share), "{share}");
        }
    }

    #[test]
    fn a_filter_elsewhere_is_seen_in_the_sample() {
        let rows = rows(50_000);
        let mut elsewhere: OrdinalSet = (100_000..150_000).collect();
        assert!(share(&rows, counted(&elsewhere)) < 0.01);
        elsewhere.insert(0);
        assert!(share(&rows, counted(&elsewhere)) < 0.02);
    }
}
