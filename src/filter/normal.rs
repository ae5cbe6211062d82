//! One form for filters that mean the same.

use std::cmp::Ordering;

use super::bind::{BoundFilter, Bounds, Target, compare};
use crate::document::Value;

impl BoundFilter {
    /// The filter in normal form: it passes the same documents, and filters that are
    /// equal up to order, repetition, nesting, double negation, De Morgan's laws, `IN`
    /// against several `=`, and the spelling of bounds come out equal.
    ///
    /// It does not decide equivalence in general; two filters may mean the same and
    /// still differ, which costs a cache entry and nothing else.
    pub fn normalise(self) -> BoundFilter {
        normal(self, false)
    }

    /// Whether this is the normal form of a filter that no document passes.
    pub fn is_nothing(&self) -> bool {
        *self == nothing()
    }
}

fn nothing() -> BoundFilter {
    BoundFilter::Not(Box::new(BoundFilter::All))
}

fn not(filter: BoundFilter) -> BoundFilter {
    BoundFilter::Not(Box::new(filter))
}

/// Pushes negations down to the comparisons, then tidies each level.
fn normal(filter: BoundFilter, negated: bool) -> BoundFilter {
    match filter {
        BoundFilter::Not(inner) => normal(*inner, !negated),
        BoundFilter::And(parts) if negated => any(normals(parts, true)),
        BoundFilter::And(parts) => all(normals(parts, false)),
        BoundFilter::Or(parts) if negated => all(normals(parts, true)),
        BoundFilter::Or(parts) => any(normals(parts, false)),
        leaf => {
            let leaf = tidy(leaf);
            match (leaf, negated) {
                (BoundFilter::Not(inner), true) => *inner,
                (leaf, true) => not(leaf),
                (leaf, false) => leaf,
            }
        }
    }
}

fn normals(parts: Vec<BoundFilter>, negated: bool) -> Vec<BoundFilter> {
    parts.into_iter().map(|f| normal(f, negated)).collect()
}

/// A comparison in its one spelling.
fn tidy(leaf: BoundFilter) -> BoundFilter {
    match leaf {
        BoundFilter::In(target, values) => one_of(target, values),
        // Every document has an id.
        BoundFilter::Exists(Target::Id) => BoundFilter::All,
        // Every value begins with nothing.
        BoundFilter::Prefix(target, prefix) if prefix.is_empty() => {
            tidy(BoundFilter::Exists(target))
        }
        BoundFilter::Range {
            target,
            bounds,
            many,
        } => {
            let (Some(low), Some(high)) = (whole(bounds.low, 1), whole(bounds.high, -1)) else {
                return nothing();
            };
            if low.is_none() && high.is_none() {
                return BoundFilter::Exists(target);
            }
            if let (Some((l, li)), Some((h, hi))) = (&low, &high) {
                match compare(l, h) {
                    Ordering::Greater => return nothing(),
                    Ordering::Equal if *li && *hi => return one_of(target, vec![l.clone()]),
                    Ordering::Equal => return nothing(),
                    Ordering::Less => {}
                }
            }
            BoundFilter::Range {
                target,
                bounds: Bounds { low, high },
                many,
            }
        }
        other => other,
    }
}

/// One end of a range.
type End = Option<(Value, bool)>;

/// Integers and dates step by one, so an excluded end is the next value included. None
/// if there is no next value, which leaves the range empty.
fn whole(end: End, step: i64) -> Option<End> {
    Some(match end {
        Some((Value::Integer(i), false)) => Some((Value::Integer(i.checked_add(step)?), true)),
        Some((Value::Date(i), false)) => Some((Value::Date(i.checked_add(step)?), true)),
        other => other,
    })
}

fn one_of(target: Target, mut values: Vec<Value>) -> BoundFilter {
    if values.is_empty() {
        return nothing();
    }
    values.sort_by(compare);
    values.dedup_by(|a, b| compare(a, b) == Ordering::Equal);
    BoundFilter::In(target, values)
}

/// Conjunction of normal forms.
fn all(parts: Vec<BoundFilter>) -> BoundFilter {
    let mut flat = Vec::new();
    for part in parts {
        match part {
            BoundFilter::And(inner) => flat.extend(inner),
            BoundFilter::All => {}
            part if part.is_nothing() => return part,
            part => flat.push(part),
        }
    }
    let Some(mut flat) = join_ranges(flat) else {
        return nothing();
    };
    // NOT a = 1 AND NOT a = 2 is NOT a IN [1, 2].
    let mut excluded: Vec<BoundFilter> = Vec::new();
    flat.retain(|part| match part {
        BoundFilter::Not(inner) if matches!(**inner, BoundFilter::In(..)) => {
            excluded.push((**inner).clone());
            false
        }
        _ => true,
    });
    flat.extend(join_lists(excluded).into_iter().map(not));
    finish(flat, BoundFilter::All, BoundFilter::And)
}

/// Disjunction of normal forms.
fn any(parts: Vec<BoundFilter>) -> BoundFilter {
    let mut flat = Vec::new();
    for part in parts {
        match part {
            BoundFilter::Or(inner) => flat.extend(inner),
            BoundFilter::All => return BoundFilter::All,
            part if part.is_nothing() => {}
            part => flat.push(part),
        }
    }
    finish(join_lists(flat), nothing(), BoundFilter::Or)
}

/// Joins the `IN`s of one field.
fn join_lists(parts: Vec<BoundFilter>) -> Vec<BoundFilter> {
    let mut lists: indexmap::IndexMap<Target, Vec<Value>> = indexmap::IndexMap::new();
    let mut rest = Vec::new();
    for part in parts {
        match part {
            BoundFilter::In(target, values) => lists.entry(target).or_default().extend(values),
            part => rest.push(part),
        }
    }
    rest.extend(
        lists
            .into_iter()
            .map(|(target, values)| one_of(target, values)),
    );
    rest
}

/// Joins the ranges of a field that holds one value; where it may hold several, each
/// range may be satisfied by another value. None if a joined range is empty.
fn join_ranges(parts: Vec<BoundFilter>) -> Option<Vec<BoundFilter>> {
    let mut ranges: indexmap::IndexMap<Target, Bounds> = indexmap::IndexMap::new();
    let mut rest = Vec::new();
    for part in parts {
        match part {
            BoundFilter::Range {
                target,
                bounds,
                many: false,
            } => {
                let joined = ranges.entry(target).or_insert(Bounds {
                    low: None,
                    high: None,
                });
                joined.low = tighter(joined.low.take(), bounds.low, Ordering::Greater);
                joined.high = tighter(joined.high.take(), bounds.high, Ordering::Less);
            }
            part => rest.push(part),
        }
    }
    for (target, bounds) in ranges {
        let range = tidy(BoundFilter::Range {
            target,
            bounds,
            many: false,
        });
        if range.is_nothing() {
            return None;
        }
        rest.push(range);
    }
    Some(rest)
}

fn tighter(a: End, b: End, wins: Ordering) -> End {
    match (a, b) {
        (Some((x, xi)), Some((y, yi))) => Some(match compare(&x, &y) {
            Ordering::Equal => (x, xi && yi),
            order if order == wins => (x, xi),
            _ => (y, yi),
        }),
        (a, b) => a.or(b),
    }
}

/// Sorts, drops repetitions, and unwraps what holds a single part.
fn finish(
    parts: Vec<BoundFilter>,
    empty: BoundFilter,
    many: fn(Vec<BoundFilter>) -> BoundFilter,
) -> BoundFilter {
    let mut keyed: Vec<(String, BoundFilter)> =
        parts.into_iter().map(|f| (f.to_string(), f)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.dedup_by(|a, b| a.0 == b.0);
    let contradicted = keyed.iter().any(|(_, f)| match f {
        BoundFilter::Not(inner) => {
            let inner = inner.to_string();
            keyed.binary_search_by(|(key, _)| key.cmp(&inner)).is_ok()
        }
        _ => false,
    });
    if contradicted {
        // A part and its negation: no document in a conjunction, all in a disjunction.
        return match empty {
            BoundFilter::All => nothing(),
            _ => BoundFilter::All,
        };
    }
    let mut parts: Vec<BoundFilter> = keyed.into_iter().map(|(_, f)| f).collect();
    match parts.len() {
        0 => empty,
        1 => parts.remove(0),
        _ => many(parts),
    }
}
