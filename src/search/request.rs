//! What a search may ask for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::facets;
use super::options::{self, Collapse, CursorRequest, Sort, SortSchema};
use super::rerank::{RerankRequest, RerankSchema, Stage};
use crate::config::Limits;
use crate::document::{FieldType, Fields, is_parent};
use crate::error::{Code, Problem, Result};
use crate::index::{Definition, Fusion, MAX_CANDIDATES, MAX_EF, MatchWords, Mode};
use crate::lexical::SortKey;
use crate::model::Cancellation;

/// Longest mark put around a highlighted word.
const MAX_MARK_BYTES: usize = 256;
/// Most ids that one `like` may name.
const MAX_LIKE_IDS: usize = 32;

/// A search. One of `query`, `vector` and `like` must be there, or `sort`; all else has
/// defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct SearchRequest {
    /// What is looked for: words, "phrases", -exclusions, field:word, prefix*, fuzzy~.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Which legs answer; the index's default otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Number of hits, 1 to the configured limit; 10 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Hits to leave out at the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// Leaves out hits whose final score is lower. What a score means depends on the mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// Which documents may be hits: a text such as `section = "science" AND rating >= 4`,
    /// or the same as an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterInput>,
    /// A vector of the caller's own, in place of the query's encoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// Documents like these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<Like>,
    /// Candidates each leg hands to the fusion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Breadth of a graph search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef: Option<usize>,
    /// Scan all vectors rather than search the graph.
    pub exact: bool,
    /// How the legs are fused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fusion: Option<Fusion>,
    /// Whether one word or all words must be in a document.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_words: Option<MatchWords>,
    /// Fields whose values are counted over all documents to be found, with the most values
    /// of each to return.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facets: BTreeMap<String, usize>,
    /// The order of hits, by their fields' values; by relevance otherwise. Without `query`,
    /// `vector` and `like`, all documents that pass the filter in this order. In dense and
    /// hybrid mode the candidates are put in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<SortSchema>>")]
    pub sort: Option<Vec<Sort>>,
    /// Only the best hit of each value of a field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapse: Option<Collapse>,
    /// Pages through one point in time, whatever is written meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<CursorRequest>,
    /// Fields of a hit's document to return, or objects with fields; all of them by
    /// default, none with `[]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Mark the query's words in these fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highlight: Option<HighlightRequest>,
    /// Whether and how a cross-encoder re-ranks the first documents: `true`, `false`, or an
    /// object with settings in place of the definition's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<RerankSchema>")]
    pub rerank: Option<RerankRequest>,
    /// Take each hit's score apart.
    pub explain: bool,
    /// What the caller may see at all, whatever else it asks: not part of a request, but set by
    /// who knows the caller's rights.
    #[serde(skip)]
    #[schemars(skip)]
    pub only: Option<FilterInput>,
}

/// A filter, as text or as an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FilterInput(pub Json);

impl From<&str> for FilterInput {
    fn from(text: &str) -> Self {
        FilterInput(Json::String(text.into()))
    }
}

/// Documents to look for more of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Like {
    /// Ids of documents in the same index, 1 to 32. They are not among the hits.
    pub ids: Vec<String>,
}

/// What to mark in hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HighlightRequest {
    /// Text fields to mark; all of them by default.
    pub fields: Option<Vec<String>>,
    /// Longest fragment, in characters, 20 to 10,000.
    pub max_chars: usize,
    /// Put before a marked word.
    pub pre: String,
    /// Put after a marked word.
    pub post: String,
    /// Make the text safe for HTML, so that only the marks are tags.
    pub escape: bool,
}

impl Default for HighlightRequest {
    fn default() -> Self {
        HighlightRequest {
            fields: None,
            max_chars: 160,
            pre: "<em>".into(),
            post: "</em>".into(),
            escape: true,
        }
    }
}

/// Hits where a request does not say how many.
pub const DEFAULT_K: usize = 10;

/// A request held to the limits, with the definition's defaults filled in.
pub(super) struct Plan<'a> {
    pub request: &'a SearchRequest,
    pub mode: Mode,
    pub k: usize,
    pub offset: usize,
    pub candidates: usize,
    pub ef: usize,
    pub fusion: Fusion,
    pub match_words: MatchWords,
    /// The order of hits; none for that of relevance.
    pub order: Vec<SortKey>,
    /// Nothing is looked for: all that passes the filter is listed.
    pub listing: bool,
    /// How long a cursor is kept, in seconds, where one is asked for.
    pub keep_s: Option<u64>,
    /// Re-ranking, where it is asked for.
    pub rerank: Option<Stage>,
    /// Tells that nobody waits for the answer any more.
    pub cancellation: Cancellation,
}

impl Plan<'_> {
    /// Whether all that matches is gone through in an order of its own, so that there is no
    /// depth to go beyond.
    pub fn scans(&self) -> bool {
        let own_order = !self.order.is_empty() || self.request.collapse.is_some();
        self.mode == Mode::Lexical && own_order && self.rerank.is_none()
    }
}

impl SearchRequest {
    /// Checks the request and fills in what the definition says.
    pub(super) fn plan(&self, definition: &Definition, limits: &Limits) -> Result<Plan<'_>> {
        let defaults = &definition.search;
        let k = self.k.unwrap_or(DEFAULT_K);
        let offset = self.offset.unwrap_or(0);
        if k == 0 {
            return Err(out_of_range("k", k, 1, limits.hits).into());
        }
        if k > limits.hits || offset > limits.hits - k {
            let field = if k > limits.hits { "k" } else { "offset" };
            return Err(
                Problem::new(Code::LimitExceeded, "too many hits are asked for")
                    .field(field)
                    .found(if field == "k" { k } else { offset })
                    .expected(format!("k plus offset of at most {}", limits.hits))
                    .into(),
            );
        }
        let candidates = self.candidates.unwrap_or(defaults.candidates);
        if !(1..=MAX_CANDIDATES).contains(&candidates) {
            return Err(out_of_range("candidates", candidates, 1, MAX_CANDIDATES).into());
        }
        let ef = self.ef.unwrap_or(defaults.ef);
        if !(1..=MAX_EF).contains(&ef) {
            return Err(out_of_range("ef", ef, 1, MAX_EF).into());
        }
        if let Some(least) = self.min_score
            && !least.is_finite()
        {
            // A number that JSON may hold and a score cannot reach.
            return Err(
                Problem::new(Code::InvalidRequest, "a score that there is not")
                    .field("min_score")
                    .found(least)
                    .expected("a number that 32 bits hold")
                    .into(),
            );
        }
        let fusion = self.fusion.unwrap_or(defaults.fusion);
        fusion.check(Code::InvalidRequest, "fusion")?;
        self.check_inputs()?;
        let listing = self.is_listing();
        let mode = self.plan_mode(definition)?;
        check_fields(&definition.fields, &definition.id_field, self)?;
        facets::check(&self.facets, &definition.fields)?;
        let (fields, id_field) = (&definition.fields, &definition.id_field);
        let order = match &self.sort {
            Some(sort) => options::order(sort, fields, id_field, listing)?,
            None => Vec::new(),
        };
        if listing && let Some(least) = self.min_score {
            return Err(Problem::new(
                Code::InvalidRequest,
                "nothing is looked for, so nothing has a score",
            )
            .field("min_score")
            .found(least)
            .expected("no least score; or a query, a vector or like")
            .into());
        }
        if let Some(collapse) = &self.collapse {
            collapse.check(fields)?;
        }
        let keep_s = match &self.cursor {
            Some(cursor) => Some(cursor.keep_s(limits)?),
            None => None,
        };
        Ok(Plan {
            request: self,
            mode,
            k,
            offset,
            candidates,
            ef,
            fusion,
            match_words: self.match_words.unwrap_or(defaults.match_words),
            order,
            listing,
            keep_s,
            rerank: Stage::of(self, definition)?,
            cancellation: Cancellation::default(),
        })
    }

    /// Whether only an order says what is wanted.
    fn is_listing(&self) -> bool {
        self.query.is_none() && self.vector.is_none() && self.like.is_none() && self.sort.is_some()
    }

    fn plan_mode(&self, definition: &Definition) -> Result<Mode, Problem> {
        let has_vectors = definition.embedding.is_some();
        let has_model = definition
            .embedding
            .as_ref()
            .is_some_and(|embedding| embedding.model.is_some());
        let wrong = |message: &str, found: Mode, expected: &str| {
            Problem::new(Code::InvalidRequest, message)
                .field("mode")
                .found(found.as_str())
                .expected(expected)
        };
        if self.is_listing() {
            return match self.mode {
                None | Some(Mode::Lexical) => Ok(Mode::Lexical),
                Some(mode) => Err(wrong(
                    "without a query there is nothing to compare vectors with",
                    mode,
                    "no mode; or a query, a vector or like",
                )),
            };
        }
        let only_vector = self.vector.is_some() && self.query.is_none() && self.like.is_none();
        let mode = match self.mode {
            Some(mode) => mode,
            None if only_vector => Mode::Dense,
            None if !has_vectors => Mode::Lexical,
            // Without a model a text can only be searched by its words.
            None if !has_model && self.vector.is_none() && self.like.is_none() => Mode::Lexical,
            None => definition.search.mode,
        };
        if mode != Mode::Lexical && !has_vectors {
            return Err(wrong("this index has no vectors", mode, "lexical"));
        }
        if mode == Mode::Dense && !has_model && self.vector.is_none() && self.like.is_none() {
            return Err(wrong(
                "this index has no model to encode a query with",
                mode,
                "lexical, or a vector of your own",
            ));
        }
        if mode == Mode::Lexical && self.vector.is_some() {
            return Err(wrong(
                "a vector cannot be searched by words",
                mode,
                "dense or hybrid",
            ));
        }
        if only_vector && mode != Mode::Dense {
            return Err(wrong(
                "a vector alone has no words to search",
                mode,
                "dense, or a query beside the vector",
            ));
        }
        Ok(mode)
    }

    fn check_inputs(&self) -> Result<(), Problem> {
        let wrong = |message: &str| Problem::new(Code::InvalidRequest, message);
        match (&self.query, &self.vector, &self.like) {
            (None, None, None) if self.sort.is_some() => Ok(()),
            (None, None, None) => Err(wrong("nothing says what to look for")
                .field("query")
                .found("nothing")
                .expected("a query, a vector, or like; or sort, to list everything")),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err(wrong("like stands alone: the documents are the query")
                    .field("like")
                    .found("like with a query or a vector beside it")
                    .expected("either like, or a query and a vector"))
            }
            (Some(query), _, None) if query.trim().is_empty() => {
                Err(Problem::new(Code::InvalidQuery, "the query is empty")
                    .field("query")
                    .found(format!("{query:?}"))
                    .expected("at least one character that is not a space"))
            }
            (_, _, Some(like)) if like.ids.is_empty() || like.ids.len() > MAX_LIKE_IDS => {
                Err(out_of_range("like.ids", like.ids.len(), 1, MAX_LIKE_IDS))
            }
            _ => Ok(()),
        }
    }
}

fn check_fields(fields: &Fields, id_field: &str, request: &SearchRequest) -> Result<(), Problem> {
    for name in request.fields.iter().flatten() {
        if name != id_field && !fields.contains_key(name) && !is_parent(fields, name) {
            return Err(unknown_field("fields", name, fields.keys()));
        }
    }
    let Some(highlight) = &request.highlight else {
        return Ok(());
    };
    let texts = || {
        fields
            .iter()
            .filter(|(_, field)| field.kind == FieldType::Text)
            .map(|(name, _)| name)
    };
    for name in highlight.fields.iter().flatten() {
        if !texts().any(|text| text == name) {
            return Err(unknown_field("highlight.fields", name, texts()));
        }
    }
    for (name, mark) in [("pre", &highlight.pre), ("post", &highlight.post)] {
        if mark.len() > MAX_MARK_BYTES {
            return Err(Problem::new(Code::LimitExceeded, "a mark is too long")
                .field(format!("highlight.{name}"))
                .found(format!("{} bytes", mark.len()))
                .expected(format!("at most {MAX_MARK_BYTES} bytes")));
        }
    }
    if !(20..=10_000).contains(&highlight.max_chars) {
        return Err(out_of_range(
            "highlight.max_chars",
            highlight.max_chars,
            20,
            10_000,
        ));
    }
    Ok(())
}

fn unknown_field<'a>(
    parameter: &str,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> Problem {
    let known: Vec<&str> = known.map(String::as_str).collect();
    Problem::new(Code::InvalidRequest, "the index has no such field")
        .field(parameter)
        .found(name)
        .expected(format!("one of: {}", known.join(", ")))
}

fn out_of_range(field: &str, found: usize, least: usize, most: usize) -> Problem {
    Problem::new(Code::InvalidRequest, "a number is out of range")
        .field(field)
        .found(found)
        .expected(format!("{least} to {most}"))
}

impl HighlightRequest {
    /// Writes the marks into a fragment; `spans` are byte ranges in order, none
    /// overlapping. With `escape`, everything but the marks is made safe for HTML.
    pub(super) fn mark(&self, text: &str, spans: &[std::ops::Range<usize>]) -> String {
        let mut out = String::with_capacity(text.len() + spans.len() * 16);
        let mut at = 0;
        for span in spans {
            let (Some(before), Some(word)) = (text.get(at..span.start), text.get(span.clone()))
            else {
                continue;
            };
            self.push(&mut out, before);
            out.push_str(&self.pre);
            self.push(&mut out, word);
            out.push_str(&self.post);
            at = span.end;
        }
        self.push(&mut out, text.get(at..).unwrap_or_default());
        out
    }

    fn push(&self, out: &mut String, text: &str) {
        if !self.escape {
            out.push_str(text);
            return;
        }
        for c in text.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                c => out.push(c),
            }
        }
    }
}
