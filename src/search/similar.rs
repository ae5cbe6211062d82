//! More like these: documents as the query.

use serde_json::json;

use super::request::SearchRequest;
use crate::error::{Code, Problem, Result};
use crate::filter::{BoundFilter, Filter};
use crate::index::{Index, View};
use crate::lexical::{Scoring, WordQuery, WordReader};
use crate::vector::check_vector;

/// What the liked documents are searched by.
pub(super) struct Liked {
    /// The documents, which are not to be hits themselves.
    pub ordinals: Vec<u32>,
    /// The mean of their vectors; None where none of them has one.
    pub vector: Option<Vec<f32>>,
    /// Their texts by text field, for the most telling words.
    pub texts: Vec<(String, String)>,
}

/// Words that stand for the liked documents.
const TELLING_WORDS: usize = 25;

impl Liked {
    /// The most telling words of the liked documents, as a query.
    pub(super) fn word_query(&self, words: &WordReader, scoring: Scoring) -> Result<WordQuery> {
        let mut terms = Vec::new();
        for (field, text) in &self.texts {
            terms.extend(words.terms_of(text, field, TELLING_WORDS)?);
        }
        terms.sort_by(|a, b| {
            b.weight
                .total_cmp(&a.weight)
                .then_with(|| (&a.field, &a.term).cmp(&(&b.field, &b.term)))
        });
        terms.truncate(TELLING_WORDS);
        Ok(words.more_like(&terms, scoring))
    }
}

/// Reads the liked documents, if the request names any.
///
/// # Errors
/// `document_not_found` for an id that is not in the view.
pub(super) fn liked(index: &Index, view: &View, request: &SearchRequest) -> Result<Option<Liked>> {
    let Some(like) = &request.like else {
        return Ok(None);
    };
    let definition = index.definition();
    let mut ordinals = Vec::with_capacity(like.ids.len());
    for id in &like.ids {
        // In the view, not in the store: what was updated since is another document.
        let named = Filter::from_json(&json!({
            "field": &definition.id_field,
            "eq": id,
        }))?;
        let named = named.bind(&definition.fields, &definition.id_field)?;
        // One that the caller may not see is as little there as one that is not.
        let bound = match &request.only {
            None => named,
            Some(only) => BoundFilter::And(vec![index.bind_right(&only.0)?, named]),
        };
        match view.words.filter(&bound)?.iter().next() {
            Some(ordinal) => ordinals.push(ordinal),
            None => {
                return Err(Problem::new(
                    Code::DocumentNotFound,
                    format!("index {:?} has no such document", index.name()),
                )
                .field("like.ids")
                .found(id)
                .into());
            }
        }
    }
    let mut sum = vec![0f64; index.dimensions()];
    let mut vectors = 0usize;
    for &ordinal in &ordinals {
        let Some(stored) = index.stored_vectors(ordinal)? else {
            continue;
        };
        for row in stored.vectors.chunks_exact(stored.dimensions.max(1)) {
            for (s, &x) in sum.iter_mut().zip(row) {
                *s += f64::from(x);
            }
            vectors += 1;
        }
    }
    let mean = sum.iter().map(|x| (x / vectors.max(1) as f64) as f32);
    let mean: Vec<f32> = mean.collect();
    // Opposite vectors may cancel out: then there is nothing to search by.
    let usable = check_vector(&mean, index.dimensions(), "like").is_ok();
    let vector = usable.then_some(mean);
    let mut texts = Vec::new();
    for document in index.documents(&ordinals)?.into_iter().flatten() {
        texts.extend(index.searched_texts(&document.source));
    }
    Ok(Some(Liked {
        ordinals,
        vector,
        texts,
    }))
}
