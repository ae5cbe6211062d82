//! The best documents of a query, and how many match.
//!
//! Documents rank by score, then by ordinal, and scores do not depend on segments, so
//! the answer is the same however the index is cut. A query of optional words is
//! evaluated by windows of documents: each word's scores are added into an array, then
//! the array is read in order. When the number of matches is not asked for, words that
//! together cannot lift a document into the best (MaxScore, Turtle and Flood 1995) are
//! looked up only for documents that other words found.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tantivy::{DocId, TERMINATED};

use super::cursor::{Cursor, cursor};
use super::plan::{Leaf, Node, Plan};
use super::view::{Segment, View};
use super::{WordHit, WordHits};
use crate::error::Result;
use crate::filter::OrdinalSet;

/// Documents per window.
const WINDOW: usize = 4096;
/// A filter that passes fewer than one document in this many is walked itself.
const SELECTIVE: u64 = 64;

/// What to bring back.
pub(super) struct Wanted<'a> {
    pub depth: usize,
    /// Only these may be found.
    pub allowed: Option<&'a OrdinalSet>,
    /// Count every match; otherwise [`WordHits::matched`] is the number of hits.
    pub count: bool,
}

/// Takes what matches, segment by segment, each document with its score.
pub(super) trait Sink {
    fn enter(&mut self, segment: &Segment) -> Result<()>;
    fn offer(&mut self, doc: DocId, hit: WordHit);
    fn leave(&mut self) -> Result<()>;
}

/// Gives everything that matches to `sink`; how much that is.
pub(super) fn visit(
    view: &View,
    plan: &Plan,
    allowed: Option<&OrdinalSet>,
    sink: &mut dyn Sink,
) -> Result<u64> {
    let wanted = Wanted {
        depth: 0,
        allowed,
        count: true,
    };
    Ok(run(view, plan, &wanted, None, Some(sink))?.matched)
}

/// Runs a plan over every segment.
pub(super) fn collect(view: &View, plan: &Plan, wanted: &Wanted<'_>) -> Result<WordHits> {
    let best = run(view, plan, wanted, None, None)?;
    let mut hits: Vec<WordHit> = best.heap.into_iter().map(|r| r.0).collect();
    hits.sort_by(rank);
    let matched = if wanted.count {
        best.matched
    } else {
        hits.len() as u64
    };
    Ok(WordHits { hits, matched })
}

/// Every document that matches.
pub(super) fn every(view: &View, plan: &Plan, allowed: Option<&OrdinalSet>) -> Result<OrdinalSet> {
    let wanted = Wanted {
        depth: 0,
        allowed,
        count: true,
    };
    let best = run(view, plan, &wanted, Some(OrdinalSet::new()), None)?;
    Ok(best.every.unwrap_or_default())
}

fn run<'s>(
    view: &View,
    plan: &Plan,
    wanted: &Wanted<'_>,
    every: Option<OrdinalSet>,
    sink: Option<&'s mut dyn Sink>,
) -> Result<Best<'s>> {
    let mut best = Best {
        heap: BinaryHeap::new(),
        depth: wanted.depth,
        matched: 0,
        every,
        sink,
    };
    if !plan.impossible && wanted.allowed.is_none_or(|a| !a.is_empty()) {
        let selective = wanted
            .allowed
            .filter(|a| (a.len() as u64) * SELECTIVE < view.documents());
        for segment in &view.segments {
            if let Some(sink) = &mut best.sink {
                sink.enter(segment)?;
            }
            Walk {
                segment,
                plan,
                wanted,
                not: cursors(&plan.not, segment)?,
            }
            .run(&mut best, selective)?;
            if let Some(sink) = &mut best.sink {
                sink.leave()?;
            }
        }
    }
    Ok(best)
}

/// The order of hits: higher scores, then lower ordinals, come first.
fn rank(a: &WordHit, b: &WordHit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.ordinal.cmp(&b.ordinal))
}

/// The worst hit kept is the greatest, so that the heap gives it up first.
struct Worst(WordHit);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        rank(&self.0, &other.0)
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}

struct Best<'s> {
    heap: BinaryHeap<Worst>,
    depth: usize,
    matched: u64,
    /// Everything that matches, where that is wanted.
    every: Option<OrdinalSet>,
    /// Takes everything instead of the heap.
    sink: Option<&'s mut dyn Sink>,
}

impl Best<'_> {
    fn count(&mut self, ordinal: u32) {
        self.matched += 1;
        if let Some(every) = &mut self.every {
            every.insert(ordinal);
        }
    }

    /// Whether scores are wanted at all.
    fn takes(&self) -> bool {
        self.depth > 0 || self.sink.is_some()
    }

    fn offer(&mut self, doc: DocId, hit: WordHit) {
        if let Some(sink) = &mut self.sink {
            sink.offer(doc, hit);
        } else if self.heap.len() < self.depth {
            self.heap.push(Worst(hit));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && rank(&hit, &worst.0) == Ordering::Less
        {
            *worst = Worst(hit);
        }
    }

    /// Score below which nothing can enter any more; equal scores still may, with a
    /// lower ordinal.
    fn threshold(&self) -> f32 {
        if self.heap.len() < self.depth || self.sink.is_some() {
            return f32::NEG_INFINITY;
        }
        self.heap.peek().map_or(f32::INFINITY, |w| w.0.score)
    }
}

struct Walk<'a> {
    segment: &'a Segment,
    plan: &'a Plan,
    wanted: &'a Wanted<'a>,
    not: Vec<Box<dyn Cursor>>,
}

fn cursors(nodes: &[Node], segment: &Segment) -> Result<Vec<Box<dyn Cursor>>> {
    let mut out = Vec::new();
    for node in nodes {
        out.extend(cursor(node, segment)?);
    }
    Ok(out)
}

impl Walk<'_> {
    fn run(mut self, best: &mut Best<'_>, selective: Option<&OrdinalSet>) -> Result<()> {
        let mut must = Vec::new();
        for node in &self.plan.must {
            match cursor(node, self.segment)? {
                Some(cursor) => must.push(cursor),
                None => return Ok(()),
            }
        }
        if let Some(allowed) = selective {
            let mut should = cursors(&self.plan.should, self.segment)?;
            for (doc, &ordinal) in (0..).zip(self.segment.ordinals.iter()) {
                if allowed.contains(ordinal) {
                    self.consider(doc, &mut must, &mut should, best);
                }
            }
            return Ok(());
        }
        if !must.is_empty() {
            let mut should = cursors(&self.plan.should, self.segment)?;
            let mut doc = 0;
            while doc < TERMINATED {
                match must.iter_mut().map(|c| sought(c, doc)).max() {
                    Some(next) if next > doc => doc = next,
                    _ => {
                        self.consider(doc, &mut must, &mut should, best);
                        doc += 1;
                    }
                }
            }
            return Ok(());
        }
        if !self.plan.should.is_empty() {
            return self.union(best);
        }
        // Only exclusions or exact values: every document that they leave.
        for doc in 0..self.segment.reader.max_doc() {
            self.accept(doc, |_| 0.0, best);
        }
        Ok(())
    }

    /// Offers a document if it has all that is required, and something.
    fn consider(
        &mut self,
        doc: DocId,
        must: &mut [Box<dyn Cursor>],
        should: &mut [Box<dyn Cursor>],
        best: &mut Best<'_>,
    ) {
        if must.iter_mut().any(|c| sought(c, doc) != doc) {
            return;
        }
        let mut any = !must.is_empty() || self.plan.should.is_empty();
        for cursor in should.iter_mut() {
            any |= sought(cursor, doc) == doc;
        }
        if any {
            let score = |doc| {
                let all = must.iter_mut().chain(should.iter_mut());
                let here = all.filter(|c| c.doc() == doc);
                here.map(|c| f64::from(c.score())).sum::<f64>() as f32
            };
            self.accept(doc, score, best);
        }
    }

    /// Offers a document that matches, if nothing excludes it.
    fn accept(&mut self, doc: DocId, score: impl FnOnce(DocId) -> f32, best: &mut Best<'_>) {
        if let Some(ordinal) = self.permitted(doc) {
            best.count(ordinal);
            if best.takes() {
                let score = score(doc);
                best.offer(doc, WordHit { ordinal, score });
            }
        }
    }

    /// The ordinal of a document that lives, is allowed and not excluded.
    fn permitted(&mut self, doc: DocId) -> Option<u32> {
        let ordinal = self.segment.ordinal(doc)?;
        let permitted = self.segment.is_alive(doc)
            && self.wanted.allowed.is_none_or(|a| a.contains(ordinal))
            && !self.not.iter_mut().any(|c| sought(c, doc) == doc);
        permitted.then_some(ordinal)
    }

    /// Documents with any of the optional words.
    fn union(&mut self, best: &mut Best<'_>) -> Result<()> {
        let mut parts: Vec<(f64, Box<dyn Cursor>)> = Vec::new();
        for node in &self.plan.should {
            if let Some(cursor) = cursor(node, self.segment)? {
                parts.push((bound(node), cursor));
            }
        }
        // The least promising first: those are the ones to stop walking.
        parts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut scores = vec![0.0f64; WINDOW];
        let mut seen = vec![0u64; WINDOW / 64];
        // Parts before this one are looked up, not walked.
        let mut walked = 0;
        loop {
            if !self.wanted.count {
                let threshold = f64::from(best.threshold());
                walked = idle(&parts, threshold);
            }
            let (idle, active) = parts.split_at_mut(walked);
            let base = active
                .iter()
                .map(|(_, c)| c.doc())
                .min()
                .unwrap_or(TERMINATED);
            if base >= TERMINATED {
                return Ok(());
            }
            let end = base.saturating_add(WINDOW as u32).min(TERMINATED);
            for (_, cursor) in active {
                cursor.collect(base, end, &mut |at, score| {
                    // `at` is below WINDOW: the cursor stays within the window.
                    scores[at] += f64::from(score);
                    seen[at / 64] |= 1 << (at % 64);
                });
            }
            for (i, word) in seen.iter_mut().enumerate() {
                let mut bits = std::mem::take(word);
                while bits != 0 {
                    let at = i * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let score = std::mem::take(&mut scores[at]);
                    self.found(base + at as u32, score, idle, best);
                }
            }
        }
    }

    /// Completes the score of a document with the words that are only looked up.
    fn found(
        &mut self,
        doc: DocId,
        mut score: f64,
        idle: &mut [(f64, Box<dyn Cursor>)],
        best: &mut Best<'_>,
    ) {
        let threshold = f64::from(best.threshold());
        let mut rest: f64 = idle.iter().map(|(bound, _)| bound).sum();
        if !self.wanted.count && (score + rest) * SLACK < threshold {
            return;
        }
        let Some(ordinal) = self.permitted(doc) else {
            return;
        };
        best.count(ordinal);
        for (bound, cursor) in idle.iter_mut().rev() {
            if (score + rest) * SLACK < threshold {
                return;
            }
            if sought(cursor, doc) == doc {
                score += f64::from(cursor.score());
            }
            rest -= *bound;
        }
        if best.takes() {
            let score = score as f32;
            best.offer(doc, WordHit { ordinal, score });
        }
    }
}

/// Bounds are compared with room for rounding.
const SLACK: f64 = 1.000_001;

/// How many of the least promising parts together stay below the threshold.
fn idle(parts: &[(f64, Box<dyn Cursor>)], threshold: f64) -> usize {
    let mut sum = 0.0;
    parts
        .iter()
        .take_while(|(bound, _)| {
            sum += bound;
            sum * SLACK < threshold
        })
        .count()
}

/// Moves a cursor to a document or past it; says where it stands.
pub(super) fn sought(cursor: &mut Box<dyn Cursor>, doc: DocId) -> DocId {
    let at = cursor.doc();
    if at < doc { cursor.seek(doc) } else { at }
}

/// The most a node can score.
fn bound(node: &Node) -> f64 {
    match node {
        Node::Leaf(leaf) => leaf_bound(leaf),
        Node::All(parts) | Node::Any { parts, .. } => parts.iter().map(bound).sum(),
    }
}

fn leaf_bound(leaf: &Leaf) -> f64 {
    use super::definition::Combine;
    let saturated = f64::from(leaf.scoring.k1) + 1.0;
    let rarity: f64 = match leaf.scoring.combine {
        Combine::Combined => f64::from(leaf.idf),
        _ => {
            let fields = leaf.fields.iter();
            fields.map(|f| f64::from(f.weight) * f64::from(f.idf)).sum()
        }
    };
    saturated * rarity * f64::from(leaf.boost)
}
