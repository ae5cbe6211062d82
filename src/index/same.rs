//! What of a load need not be written, because it is stored, and what not encoded.
//!
//! What holds: a document is the same where its object says the same, in whatever order, and
//! its vectors are those that encoding it now would make. Of one that changed, passages whose
//! text was stored keep their vectors, which encoding would make again to the bit.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::document::source_text;
use super::{Index, Prepared};
use crate::error::Result;
use crate::store::StoredVectors;

/// A document that is stored as it is.
#[derive(Debug)]
pub struct Same {
    /// The document, in case that another takes its place after all.
    prepared: Prepared,
    /// The ordinal of the one that it equals.
    ordinal: u32,
}

impl Index {
    /// Takes the documents out that are stored already, and lets the others keep the vectors
    /// of passages that are. Where an id comes twice, or is among `others`, its documents are
    /// left as they are: which of them is stored depends on those before.
    ///
    /// # Errors
    /// Operator errors of the disk.
    pub fn take_same(
        &self,
        prepared: Vec<Prepared>,
        others: &[&str],
    ) -> Result<Vec<Result<Same, Prepared>>> {
        // Keeps what is read here from being given back meanwhile.
        let _view = self.view();
        let ids: Vec<&str> = prepared
            .iter()
            .map(|one| one.document.id.as_str())
            .collect();
        let ordinals = self.store.ordinals(&ids)?;
        if ordinals.iter().all(Option::is_none) {
            return Ok(prepared.into_iter().map(Err).collect());
        }
        let mut times: HashMap<&str, u32> = HashMap::with_capacity(ids.len());
        for id in ids.iter().chain(others) {
            *times.entry(id).or_default() += 1;
        }
        let stored: Vec<Option<u32>> = ids
            .iter()
            .zip(ordinals)
            .map(|(id, ordinal)| ordinal.filter(|_| times.get(id) == Some(&1)))
            .collect();
        let known: Vec<u32> = stored.iter().flatten().copied().collect();
        let mut sources = self.store.sources(&known)?.into_iter();
        let mut vectors = match self.vectors {
            Some(_) => self.store.vectors_many(&known)?.into_iter(),
            None => vec![None; known.len()].into_iter(),
        };
        let mut sorted = Vec::with_capacity(prepared.len());
        for (mut one, ordinal) in prepared.into_iter().zip(stored) {
            let Some(ordinal) = ordinal else {
                sorted.push(Err(one));
                continue;
            };
            let (source, vectors) = (sources.next().flatten(), vectors.next().flatten());
            // What cannot be read is written anew.
            let source: Option<Map<String, Json>> =
                source.and_then(|source| serde_json::from_slice(&source).ok());
            sorted.push(match source {
                Some(source)
                    if source == one.document.source && one.has_vectors(vectors.as_ref()) =>
                {
                    Ok(Same {
                        prepared: one,
                        ordinal,
                    })
                }
                Some(source) => {
                    if let Some(vectors) = vectors {
                        self.keep_vectors(&mut one, &source, &vectors);
                    }
                    Err(one)
                }
                None => Err(one),
            });
        }
        Ok(sorted)
    }

    /// Those of the documents whose like has been replaced or deleted since it was looked at:
    /// they have to be written.
    ///
    /// # Errors
    /// Operator errors of the disk.
    pub fn changed_since(&self, same: Vec<Same>) -> Result<Vec<Prepared>> {
        let ids: Vec<&str> = same
            .iter()
            .map(|same| same.prepared.document.id.as_str())
            .collect();
        let ordinals = self.store.ordinals(&ids)?;
        Ok(same
            .into_iter()
            .zip(ordinals)
            .filter(|(same, ordinal)| *ordinal != Some(same.ordinal))
            .map(|(same, _)| same.prepared)
            .collect())
    }

    /// Takes the vectors of passages over whose texts are in a stored document too.
    fn keep_vectors(&self, one: &mut Prepared, source: &Map<String, Json>, old: &StoredVectors) {
        let Some(embedding) = &self.definition().embedding else {
            return;
        };
        if old.is_ready() || old.dimensions != self.dimensions() {
            return;
        }
        let language = |source: &Map<String, Json>| {
            let field = embedding.language_field.as_ref()?;
            source_text(source, field)
        };
        if language(source) != language(&one.document.source) {
            return;
        }
        let texts = embedding.fields.iter();
        let texts: Vec<String> = texts
            .filter_map(|field| source_text(source, field))
            .collect();
        let text = texts.join("\n");
        let rows = old.vectors.chunks_exact(old.dimensions.max(1));
        let known: HashMap<&str, &[f32]> = old
            .spans
            .iter()
            .zip(rows)
            .filter_map(|(span, row)| {
                Some((text.get(span.start as usize..span.end as usize)?, row))
            })
            .collect();
        one.know(|passage| known.get(passage).copied());
    }
}
