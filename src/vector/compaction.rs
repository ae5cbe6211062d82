//! Which segments to rewrite: merging flat ones, building graphs, and dropping
//! what was deleted.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::filter::OrdinalSet;

use super::build::Before;
use super::index::VectorOptions;
use super::rows::Rows;
use super::segment::Segment;
use super::space::Shape;
use super::walk::NONE;

/// A graph is built anew without its dead documents once this share of a sample
/// is dead.
const DEAD_SHARE: f64 = 0.3;
const SAMPLE: usize = 256;
/// This many graphs of about the same size become one.
const FAN_IN: usize = 4;
/// Rows in one segment at most: rows are numbered in 32 bits.
const MOST_ROWS: usize = 1 << 30;

/// Which documents are alive, as far as it is known.
#[derive(Clone, Default)]
pub(super) struct Live {
    pub set: Option<Arc<OrdinalSet>>,
    /// The set says nothing of ordinals from here on.
    pub below: u32,
    /// Whether segments are rewritten for the sake of any dead document, until none has one.
    pub purge: bool,
}

impl Live {
    /// Whether an ordinal has to be kept.
    pub(super) fn keeps(&self, ordinal: u32) -> bool {
        match &self.set {
            Some(set) => ordinal >= self.below || set.contains(ordinal),
            None => true,
        }
    }

    /// Whether any of the rows' documents is dead.
    fn has_dead(&self, rows: &Rows) -> bool {
        !rows.ordinals.iter().all(|&ordinal| self.keeps(ordinal))
    }

    /// About how much of the rows' documents is dead, from 0 to 1.
    fn dead_share(&self, rows: &Rows) -> f64 {
        let documents = rows.documents();
        let sample = documents.min(SAMPLE);
        let dead = (0..sample)
            .filter(|i| !self.keeps(rows.ordinal(i * documents / sample)))
            .count();
        dead as f64 / sample.max(1) as f64
    }
}

/// Merges the flat segments at the end of the list until each is more than
/// twice the next: few segments, and a row is copied a few times only.
/// `fixed` segments at the start are left alone.
pub(super) fn merge_flat(
    segments: &mut Vec<Arc<Segment>>,
    fixed: usize,
    shape: Shape,
    live: &Live,
) {
    while segments.len() >= fixed + 2 {
        let (a, b) = (&segments[segments.len() - 2], &segments[segments.len() - 1]);
        let (older, newer) = (a.rows(), b.rows());
        let graphs = a.graph().is_some() || b.graph().is_some();
        if graphs || older.len() > 2 * newer.len() || older.len() + newer.len() > MOST_ROWS {
            return;
        }
        let rows = Rows::merge(shape, &[older, newer], |ordinal| live.keeps(ordinal));
        segments.truncate(segments.len() - 2);
        if rows.documents() > 0 {
            segments.push(Arc::new(Segment::flat(rows)));
        }
    }
}

/// The segments that a background job should make one of, if any.
pub(super) fn pick(
    segments: &[Arc<Segment>],
    options: &VectorOptions,
    live: &Live,
) -> Vec<Arc<Segment>> {
    let (graphs, flat): (Vec<_>, Vec<_>) = segments
        .iter()
        .cloned()
        .partition(|segment| segment.graph().is_some());
    let rows =
        |segments: &[Arc<Segment>]| -> usize { segments.iter().map(|s| s.rows().len()).sum() };
    let flat_rows = rows(&flat);
    if flat_rows > 0 && flat_rows >= options.graph_threshold && flat_rows <= MOST_ROWS {
        return flat;
    }
    let tier = |segment: &Arc<Segment>| {
        let times = segment.rows().len() / options.graph_threshold.max(1);
        times.max(1).ilog(FAN_IN)
    };
    for size in graphs.iter().map(&tier) {
        let mut alike: Vec<_> = graphs.iter().filter(|s| tier(s) == size).cloned().collect();
        alike.truncate(FAN_IN);
        if alike.len() == FAN_IN && rows(&alike) <= MOST_ROWS {
            return alike;
        }
    }
    let due = |segment: &Arc<Segment>| match live.purge {
        true => live.has_dead(segment.rows()),
        false => live.dead_share(segment.rows()) >= DEAD_SHARE,
    };
    graphs.into_iter().find(due).into_iter().collect()
}

/// One segment of several, without what is dead: with a graph if its rows are enough,
/// going on from the largest graph among the inputs. `None` where nothing is alive, or
/// when cancelled.
pub(super) fn rewrite(
    inputs: &[Arc<Segment>],
    options: &VectorOptions,
    live: &Live,
    cancelled: &AtomicBool,
) -> Option<Segment> {
    let parts: Vec<&Rows> = inputs.iter().map(|segment| segment.rows()).collect();
    let (rows, origins) =
        Rows::merge_tracing(options.shape(), &parts, |ordinal| live.keeps(ordinal));
    if rows.documents() == 0 {
        return None;
    }
    // Half the threshold, lest a segment that lost a few rows while it was
    // built goes back and forth between the kinds.
    if rows.len() < options.graph_threshold / 2 {
        return Some(Segment::flat(rows));
    }
    let largest = (0..)
        .zip(inputs)
        .filter_map(|(part, segment)| Some((part, segment, segment.graph()?)))
        .max_by_key(|(_, segment, _)| segment.rows().len());
    let now = largest.map(|(part, segment, _)| {
        let mut now = vec![NONE; segment.rows().len()];
        for (document, origin) in origins.iter().enumerate() {
            if origin.0 == part {
                let then = segment.rows().range(origin.1 as usize);
                for (then, row) in then.zip(rows.range(document)) {
                    now[then as usize] = row;
                }
            }
        }
        now
    });
    let before = largest.zip(now.as_deref());
    let before = before.map(|((_, _, graph), now)| Before { graph, now });
    Segment::with_graph(rows, options.builder(), &options.graph(), before, cancelled)
}
