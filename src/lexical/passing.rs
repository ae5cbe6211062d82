//! Which documents pass a filter.

use std::ops::Bound;

use tantivy::query::{EnableScoring, Query, RangeQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, TERMINATED, Term};

use super::fault;
use super::view::{Segment, View};
use crate::document::Value;
use crate::error::{Error, Result};
use crate::filter::{BoundFilter, Bounds, OrdinalSet, Target};

/// Ordinals of the live documents that pass.
pub(super) fn passing(view: &View, filter: &BoundFilter) -> Result<OrdinalSet> {
    Ok(match filter {
        BoundFilter::All => (*view.live()).clone(),
        BoundFilter::Exists(Target::Id) => (*view.live()).clone(),
        BoundFilter::Exists(Target::Field(field)) => {
            terms(view, &[Term::from_field_text(view.columns.present, field)])?
        }
        BoundFilter::In(target, values) => {
            let wanted = values.iter().filter_map(|value| match target {
                Target::Id => value
                    .as_str()
                    .map(|id| Term::from_field_text(view.columns.id, id)),
                Target::Field(field) => view.columns.defined.get(field)?.term(value),
            });
            terms(view, &wanted.collect::<Vec<_>>())?
        }
        BoundFilter::Range { target, bounds, .. } => range(view, target, bounds)?,
        BoundFilter::Prefix(target, prefix) => {
            let field = match target {
                Target::Id => Some(view.columns.id),
                Target::Field(field) => view.columns.defined.get(field).map(|c| c.field),
            };
            match field {
                Some(field) => begins_with(view, field, prefix)?,
                None => OrdinalSet::new(),
            }
        }
        BoundFilter::Not(inner) => {
            let mut rest = (*view.live()).clone();
            rest.and_not(&passing(view, inner)?);
            rest
        }
        BoundFilter::Or(parts) => {
            let mut all = OrdinalSet::new();
            for part in parts {
                all.or(&passing(view, part)?);
            }
            all
        }
        BoundFilter::And(parts) => {
            let mut parts = parts.iter();
            let Some(first) = parts.next() else {
                return Ok((*view.live()).clone());
            };
            let mut rest = passing(view, first)?;
            for part in parts {
                if rest.is_empty() {
                    break;
                }
                match part {
                    BoundFilter::Not(inner) => rest.and_not(&passing(view, inner)?),
                    part => rest.and(&passing(view, part)?),
                }
            }
            rest
        }
    })
}

/// Live documents with any of these terms.
fn terms(view: &View, terms: &[Term]) -> Result<OrdinalSet> {
    let mut set = OrdinalSet::new();
    for segment in &view.segments {
        for term in terms {
            let Some(postings) = segment.postings(term, IndexRecordOption::Basic)? else {
                continue;
            };
            add_alive(segment, postings, &mut set);
        }
    }
    Ok(set)
}

/// Adds the live documents of a segment among `documents`.
fn add_alive(segment: &Segment, mut documents: impl DocSet, set: &mut OrdinalSet) {
    let mut doc = documents.doc();
    while doc < TERMINATED {
        if segment.is_alive(doc)
            && let Some(ordinal) = segment.ordinal(doc)
        {
            set.insert(ordinal);
        }
        doc = documents.advance();
    }
}

/// Live documents with a term of the field that begins with this.
fn begins_with(view: &View, field: Field, prefix: &str) -> Result<OrdinalSet> {
    let mut set = OrdinalSet::new();
    for segment in &view.segments {
        let inverted = segment.reader.inverted_index(field).map_err(fault)?;
        let cannot = |e| Error::operator_from("the words of the index cannot be read", e);
        let from = inverted.terms().range().ge(prefix);
        let mut terms = from.into_stream().map_err(cannot)?;
        while terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
            let postings = inverted
                .read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)
                .map_err(cannot)?;
            add_alive(segment, postings, &mut set);
        }
    }
    Ok(set)
}

fn range(view: &View, target: &Target, bounds: &Bounds) -> Result<OrdinalSet> {
    let Target::Field(field) = target else {
        return Err(Error::Bug("a range over the document's id".into()));
    };
    let Some(column) = view.columns.defined.get(field) else {
        return Err(Error::Bug(format!(
            "a range over an unknown field {field:?}"
        )));
    };
    if bounds.low.is_none() && bounds.high.is_none() {
        return passing(view, &BoundFilter::Exists(target.clone()));
    }
    let end = |end: &Option<(Value, bool)>| -> Result<Bound<Term>> {
        let Some((value, included)) = end else {
            return Ok(Bound::Unbounded);
        };
        let term = column.term(value).ok_or_else(|| {
            let kind = value.kind().with_article();
            Error::Bug(format!("{kind} bound for field {field:?}"))
        })?;
        Ok(if *included {
            Bound::Included(term)
        } else {
            Bound::Excluded(term)
        })
    };
    let query = RangeQuery::new(end(&bounds.low)?, end(&bounds.high)?);
    let weight = query
        .weight(EnableScoring::disabled_from_schema(&view.columns.schema))
        .map_err(fault)?;
    let mut set = OrdinalSet::new();
    for segment in &view.segments {
        weight
            .for_each_no_score(&segment.reader, &mut |docs| {
                for &doc in docs {
                    if segment.is_alive(doc)
                        && let Some(ordinal) = segment.ordinal(doc)
                    {
                        set.insert(ordinal);
                    }
                }
            })
            .map_err(fault)?;
    }
    Ok(set)
}
