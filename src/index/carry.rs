//! Vectors of another index, taken over where encoding anew would make the same.

use serde_json::Value as Json;

use super::{Definition, Embedding, Index, Prepared};
use crate::error::{Code, Problem, Result};
use crate::store::StoredVectors;

/// What of the stored vectors of one index another can take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carry {
    /// Those that a model made.
    pub encoded: bool,
    /// Those that documents brought.
    pub ready: bool,
    /// Those that documents brought have to be measured by another metric.
    other_metric: bool,
}

impl Carry {
    /// Whether anything is.
    pub fn any(self) -> bool {
        self.encoded || self.ready
    }

    /// Leaves what a model made to be made anew.
    pub fn without_encoded(self) -> Carry {
        Carry {
            encoded: false,
            ..self
        }
    }
}

impl Index {
    /// What this index can take over of one of another definition, whose vectors have so
    /// many dimensions and were made by the model of this fingerprint.
    pub fn carries(
        &self,
        other: &Definition,
        fingerprint: Option<&str>,
        dimensions: usize,
    ) -> Carry {
        let (Some(here), Some(there)) = (&self.definition().embedding, &other.embedding) else {
            return Carry::default();
        };
        if dimensions != self.dimensions() {
            return Carry::default();
        }
        let same_texts = |here: &Embedding, there: &Embedding| {
            (&here.model, &here.fields, &here.passages)
                == (&there.model, &there.fields, &there.passages)
                && here.language_field == there.language_field
        };
        Carry {
            encoded: self.fingerprint().is_some()
                && self.fingerprint() == fingerprint
                && same_texts(here, there),
            ready: here.vector_field.is_some(),
            other_metric: here.metric != there.metric,
        }
    }

    /// As [`Index::prepare`], for a document that has these vectors in another index, and
    /// texts of at most so many bytes.
    ///
    /// # Errors
    /// The problem with the document, or with vectors that do not belong to it.
    pub fn prepare_carried(
        &self,
        mut json: Json,
        stored: Option<StoredVectors>,
        carry: Carry,
        field_bytes: usize,
    ) -> Result<Prepared> {
        let taken = match stored {
            // No passage at all is as good as none.
            Some(stored) if stored.spans.is_empty() => None,
            Some(stored) if stored.is_ready() => carry.ready.then_some(stored),
            Some(stored) => carry.encoded.then_some(stored),
            None => None,
        };
        let Some(mut taken) = taken else {
            let ready = self.take_ready_vector(&mut json)?;
            let document = self.validated(json, field_bytes)?;
            return self.prepare_document(document, ready.map(StoredVectors::ready));
        };
        let embedding = self.definition().embedding.as_ref();
        if let (Some(field), Some(object)) = (
            embedding.and_then(|embedding| embedding.vector_field.as_ref()),
            json.as_object_mut(),
        ) {
            object.shift_remove(field);
        }
        let document = self.validated(json, field_bytes)?;
        if taken.is_ready() {
            if carry.other_metric {
                taken.vectors = self.ready_vector(taken.vectors, "vector")?;
            }
        } else {
            let text = self.text_to_encode(&document);
            // They are cut out of the text for those who ask for the nearest passage.
            let fits = taken
                .spans
                .iter()
                .all(|span| text.get(span.start as usize..span.end as usize).is_some());
            if !fits {
                return Err(Problem::new(
                    Code::InvalidVector,
                    format!("document {:?} has passages outside its text", document.id),
                )
                .field("passages")
                .found(format!("{:?}", taken.spans))
                .expected(format!("ranges of its {} bytes", text.len()))
                .into());
            }
        }
        if let Some(vectors) = &self.vectors {
            vectors.check(&taken.vectors)?;
        }
        if taken.vectors.len() != taken.spans.len() * self.dimensions()
            || taken.dimensions != self.dimensions()
        {
            return Err(Problem::new(
                Code::InvalidVector,
                format!("document {:?} has vectors of another length", document.id),
            )
            .field("passages")
            .found(taken.dimensions)
            .expected(self.dimensions().to_string())
            .into());
        }
        self.prepare_document(document, Some(taken))
    }
}
