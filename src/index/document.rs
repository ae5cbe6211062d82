//! From a JSON object to what is written: validated, cut into passages, encoded.

use std::ops::Range;

use serde_json::{Map, Value as Json};

use super::Index;
use crate::code::Language;
use crate::document::{Document, FieldType, UnknownFields, strings_at, validate};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::{BoundFilter, Filter};
use crate::model::{EncodeOptions, Input, Task};
use crate::store::{PassageSpan, StoredVectors};
use crate::vector::{Metric, check_stored};

/// Most passages of one document: their numbers have 16 bits.
const MAX_PASSAGES: usize = 1 << 16;

/// A document that fits its index, cut and ready to be encoded.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The checked document.
    pub document: Document,
    /// The text that is encoded; empty where nothing is.
    text: String,
    /// Byte ranges of the passages in `text`.
    passages: Vec<Range<usize>>,
    /// The language of the text, where it is code.
    language: Option<Language>,
    /// Vectors that need no encoding: one that the document brought along, or those it had
    /// in another index.
    ready: Option<StoredVectors>,
    /// Vectors of passages that are known already; empty where none is.
    known: Vec<Option<Vec<f32>>>,
}

impl Prepared {
    /// The texts to encode; none where the document brought its vector or has no text.
    pub fn passages(&self) -> impl Iterator<Item = &str> {
        let wanted = if self.ready.is_some() {
            &[][..]
        } else {
            &self.passages[..]
        };
        // Ranges come from the tokenizer over this very text, on char boundaries.
        wanted.iter().map(|range| &self.text[range.clone()])
    }

    /// The same, as the encoder takes them, those left out whose vectors are known.
    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let unknown = |(i, text)| (!self.knows(i)).then_some(text);
        let texts = self.passages().enumerate().filter_map(unknown);
        texts.map(|text| match self.language {
            Some(language) => Input::Code(language, text),
            None => Input::Text(text),
        })
    }

    fn knows(&self, passage: usize) -> bool {
        self.known.get(passage).is_some_and(Option::is_some)
    }

    /// Takes the vectors of passages from whoever knows them by their texts.
    pub(super) fn know<'v>(&mut self, vector_of: impl Fn(&str) -> Option<&'v [f32]>) {
        let known = self
            .passages()
            .map(|text| vector_of(text).map(<[f32]>::to_vec));
        let known: Vec<_> = known.collect();
        self.known = known;
    }

    /// Whether these are the vectors that it would be written with, if its text is the one
    /// that they were made of.
    pub(super) fn has_vectors(&self, stored: Option<&StoredVectors>) -> bool {
        match (&self.ready, stored) {
            (Some(ready), stored) => stored == Some(ready),
            (None, None) => self.passages.is_empty(),
            (None, Some(stored)) => {
                let starts = |span: &PassageSpan, range: &Range<usize>| {
                    (span.start as usize, span.end as usize) == (range.start, range.end)
                };
                stored.spans.len() == self.passages.len()
                    && stored
                        .spans
                        .iter()
                        .zip(&self.passages)
                        .all(|(s, r)| starts(s, r))
            }
        }
    }

    /// About how many bytes this holds, for callers that bound how much they collect.
    pub fn bytes(&self) -> usize {
        let ready = self
            .ready
            .as_ref()
            .map_or(0, |ready| ready.vectors.len() * 4);
        // The source and the typed values each hold the document once.
        self.text.len() + ready + 2 * weight(&self.document.source)
    }

    /// About how many bytes its vectors will take, of so many dimensions.
    pub fn vector_bytes(&self, dimensions: usize) -> usize {
        self.passages().count() * dimensions * 4
    }
}

/// A document with its vectors, ready to be written.
#[derive(Debug)]
pub struct Encoded {
    /// The checked document.
    pub document: Document,
    /// Its passages' vectors; None where the index has no vectors or the document no text.
    pub vectors: Option<StoredVectors>,
    /// Tokens that were encoded, special tokens included.
    pub tokens: u64,
    /// Passages that were longer than the model takes.
    pub truncated: u32,
}

impl Index {
    /// Checks a JSON object against the definition and cuts its text into passages.
    ///
    /// # Errors
    /// The caller's problem with the document; operator errors of the tokenizer.
    pub fn prepare(&self, mut json: Json) -> Result<Prepared> {
        let ready = self.take_ready_vector(&mut json)?;
        let document = self.validated(json, self.limits().field_bytes)?;
        self.prepare_document(document, ready.map(StoredVectors::ready))
    }

    /// The same of a document whose vector is not in the object.
    ///
    /// # Errors
    /// The caller's problem with the document or the vector.
    pub fn prepare_with_vector(&self, mut json: Json, vector: Vec<f32>) -> Result<Prepared> {
        let embedding = self.definition().embedding.as_ref();
        let field = embedding.and_then(|embedding| embedding.vector_field.as_ref());
        if let (Some(field), Some(object)) = (field, json.as_object_mut()) {
            object.shift_remove(field);
        }
        let field = field.map_or("vector", String::as_str);
        let vector = self.ready_vector(vector, field)?;
        let document = self.validated(json, self.limits().field_bytes)?;
        self.prepare_document(document, Some(StoredVectors::ready(vector)))
    }

    /// What a caller's right narrows searches to, bound to the fields. What is wrong with it is
    /// not told: it is not the caller's to know.
    ///
    /// # Errors
    /// `not_permitted` for a filter that cannot be read or does not fit the fields.
    pub(crate) fn bind_right(&self, filter: &Json) -> Result<BoundFilter, Problem> {
        let definition = self.definition();
        let bound = Filter::from_json(filter)
            .and_then(|filter| filter.bind(&definition.fields, &definition.id_field));
        bound.map_err(|_| {
            Problem::new(Code::NotPermitted, "the token is not meant for this index")
                .field("authorization")
                .found("a filter that does not fit the index's fields")
                .expected("a token whose filter is about fields of the index")
        })
    }

    /// Whether a document that was read passes what a caller's right narrows searches to.
    ///
    /// # Errors
    /// As [`Index::bind_right`].
    pub fn passes(&self, document: &Map<String, Json>, filter: &Json) -> Result<bool> {
        let bound = self.bind_right(filter)?;
        let definition = self.definition();
        // It was accepted once: what limits and unknown fields mean now does not matter.
        let document = validate(
            &definition.fields,
            &definition.id_field,
            UnknownFields::Store,
            usize::MAX,
            Json::Object(document.clone()),
        );
        Ok(document.is_ok_and(|document| bound.matches(&document)))
    }

    pub(super) fn validated(&self, json: Json, field_bytes: usize) -> Result<Document, Problem> {
        let definition = self.definition();
        validate(
            &definition.fields,
            &definition.id_field,
            definition.unknown_fields,
            field_bytes,
            json,
        )
    }

    /// Cuts the text of a checked document into passages, unless it has its vectors.
    pub(super) fn prepare_document(
        &self,
        document: Document,
        ready: Option<StoredVectors>,
    ) -> Result<Prepared> {
        if ready.is_some() {
            return Ok(Prepared {
                document,
                text: String::new(),
                passages: Vec::new(),
                language: None,
                ready,
                known: Vec::new(),
            });
        }
        let text = self.text_to_encode(&document);
        let passages = self.cut(&text)?;
        if passages.len() > MAX_PASSAGES {
            return Err(Problem::new(
                Code::LimitExceeded,
                format!("document {:?} has too long a text", document.id),
            )
            .field("embedding.passages")
            .found(format!("{} passages", passages.len()))
            .expected(format!("at most {MAX_PASSAGES}"))
            .into());
        }
        let language = self.language_of(&document);
        Ok(Prepared {
            document,
            text,
            passages,
            language,
            ready,
            known: Vec::new(),
        })
    }

    /// The language of a document's code, where the definition has a field for it and there is a
    /// grammar.
    fn language_of(&self, document: &Document) -> Option<Language> {
        let embedding = self.definition().embedding.as_ref()?;
        let field = embedding.language_field.as_ref()?;
        document.text(field)?.parse().ok()
    }

    /// The text of a document that its vectors stand for.
    pub fn text_to_encode(&self, document: &Document) -> String {
        let Some(embedding) = &self.definition().embedding else {
            return String::new();
        };
        if embedding.model.is_none() {
            return String::new();
        }
        let texts: Vec<String> = embedding
            .fields
            .iter()
            .filter_map(|field| document.text(field))
            .collect();
        texts.join("\n")
    }

    /// Texts of the fields that are searched by words, read back from a stored document.
    pub fn searched_texts(&self, source: &Map<String, Json>) -> Vec<(String, String)> {
        self.definition()
            .fields
            .iter()
            .filter(|(_, field)| field.kind == FieldType::Text && field.weight > 0.0)
            .filter_map(|(name, _)| Some((name.clone(), source_text(source, name)?)))
            .collect()
    }

    fn cut(&self, text: &str) -> Result<Vec<Range<usize>>> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let passages = self
            .definition()
            .embedding
            .as_ref()
            .and_then(|embedding| embedding.passages);
        match passages {
            Some(passages) => self
                .encoder()?
                .passages(text, passages.max_tokens, passages.overlap),
            // One passage: the whole text, truncated by the encoder where it must be.
            None => Ok(std::iter::once(0..text.len()).collect()),
        }
    }

    /// Encodes the passages of many documents at once, in batches of the encoder's choosing.
    pub fn encode(&self, prepared: Vec<Prepared>) -> Result<Vec<Encoded>> {
        let texts: Vec<Input<'_>> = prepared.iter().flat_map(Prepared::inputs).collect();
        let embeddings = if texts.is_empty() {
            None
        } else {
            let options = EncodeOptions::new(Task::Document);
            Some(self.encoder()?.encode_with(&options, &texts)?)
        };
        drop(texts);
        let mut next = 0;
        let mut encoded = Vec::with_capacity(prepared.len());
        for one in prepared {
            if let Some(ready) = one.ready {
                encoded.push(Encoded {
                    vectors: Some(ready),
                    document: one.document,
                    tokens: 0,
                    truncated: 0,
                });
                continue;
            }
            if one.passages.is_empty() {
                encoded.push(Encoded {
                    document: one.document,
                    vectors: None,
                    tokens: 0,
                    truncated: 0,
                });
                continue;
            }
            let d = self.dimensions();
            let mut vectors = Vec::with_capacity(one.passages.len() * d);
            let (mut tokens, mut truncated) = (0, 0);
            for passage in 0..one.passages.len() {
                if let Some(Some(known)) = one.known.get(passage) {
                    vectors.extend_from_slice(known);
                    continue;
                }
                let row = embeddings.as_ref().and_then(|all| {
                    let vector = all.vectors.get(next * d..(next + 1) * d)?;
                    Some((vector, *all.tokens.get(next)?, *all.truncated.get(next)?))
                });
                let Some((vector, count, cut)) = row else {
                    return Err(Error::Bug("the encoder left a passage out".into()));
                };
                next += 1;
                vectors.extend_from_slice(vector);
                tokens += u64::from(count);
                truncated += u32::from(cut);
            }
            encoded.push(Encoded {
                document: one.document,
                vectors: Some(StoredVectors {
                    dimensions: d,
                    spans: one
                        .passages
                        .iter()
                        .map(|range| PassageSpan {
                            // Fields are bounded far below 4 GiB by the limits.
                            start: range.start as u32,
                            end: range.end as u32,
                        })
                        .collect(),
                    vectors,
                }),
                tokens,
                truncated,
            });
        }
        Ok(encoded)
    }

    /// Takes the vector that a document brought out of its JSON.
    pub(super) fn take_ready_vector(&self, json: &mut Json) -> Result<Option<Vec<f32>>> {
        let Some(embedding) = &self.definition().embedding else {
            return Ok(None);
        };
        let Some(field) = &embedding.vector_field else {
            return Ok(None);
        };
        let Some(object) = json.as_object_mut() else {
            // No document at all, which is what it is refused for.
            return Ok(None);
        };
        // `preserve_order` maps: `shift_remove` keeps the order of what is left.
        let found = object.shift_remove(field);
        let dimensions = self.dimensions();
        match found {
            None | Some(Json::Null) if embedding.model.is_none() => Err(Problem::new(
                Code::InvalidDocument,
                "a document must bring its vector",
            )
            .field(field)
            .found("nothing")
            .expected(format!("a list of {dimensions} numbers"))
            .into()),
            None | Some(Json::Null) => Ok(None),
            Some(Json::Array(items)) => {
                let mut vector = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let Some(number) = item.as_f64() else {
                        return Err(Problem::new(
                            Code::InvalidVector,
                            "a vector holds something that is not a number",
                        )
                        .field(format!("{field}[{i}]"))
                        .found(item)
                        .expected(format!("a list of {dimensions} numbers"))
                        .into());
                    };
                    vector.push(number as f32);
                }
                self.ready_vector(vector, field)
                    .map(Some)
                    .map_err(Error::from)
            }
            Some(other) => Err(
                Problem::new(Code::InvalidVector, "a vector has the wrong type")
                    .field(field)
                    .found(other)
                    .expected(format!("a list of {dimensions} numbers"))
                    .into(),
            ),
        }
    }

    /// Checks a caller's vector, and brings it to length 1 where the index compares by
    /// cosine.
    ///
    /// # Errors
    /// `invalid_vector` for the wrong number of values, values that are not finite, or a
    /// vector of zeros, which is like no other.
    pub fn ready_vector(&self, mut vector: Vec<f32>, field: &str) -> Result<Vec<f32>, Problem> {
        let embedding = self.definition().embedding.as_ref();
        let (metric, storage) = embedding
            .map(|embedding| (embedding.metric, embedding.storage))
            .unwrap_or_default();
        check_stored(&vector, self.dimensions(), metric, storage, field)?;
        if metric == Metric::Cosine {
            let squares = vector.iter().map(|&x| f64::from(x).powi(2));
            let norm = squares.sum::<f64>().sqrt();
            for x in &mut vector {
                *x = (f64::from(*x) / norm) as f32;
            }
        }
        Ok(vector)
    }
}

/// About how many bytes an object takes.
fn weight(object: &Map<String, Json>) -> usize {
    fn of(json: &Json) -> usize {
        match json {
            Json::String(text) => text.len() + 24,
            Json::Array(items) => 24 + items.iter().map(of).sum::<usize>(),
            Json::Object(object) => weight(object),
            _ => 16,
        }
    }
    object
        .iter()
        .map(|(name, json)| name.len() + 48 + of(json))
        .sum()
}

/// The strings of a stored field, joined as [`Document::text`] joins them.
pub(super) fn source_text(source: &Map<String, Json>, field: &str) -> Option<String> {
    let texts = strings_at(source, field);
    (!texts.is_empty()).then(|| texts.join("\n"))
}
