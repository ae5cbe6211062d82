//! The tools about indexes: which there are, and searching one.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{indexes, search};
use super::tools::{Answer, Asked, Refused, answer, named_by, read};
use crate::document::{FieldType, Fields, strings_at};
use crate::error::{Error, Result};
use crate::index::{Definition, Index};
use crate::search::{Hit, SearchRequest, SearchResponse};

/// Longest piece of a document in the text of an answer, in characters.
const SNIPPET_CHARS: usize = 400;
/// Most lines of a unit of code there.
const CODE_LINES: usize = 16;
/// Most fragments of a field there.
const FRAGMENTS: usize = 2;

/// Nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListIndexes {}

pub(super) fn list_indexes(asked: &Asked<'_>, arguments: JsonObject) -> Result<Answer, Refused> {
    let ListIndexes {} = read(arguments)?;
    let names = indexes::reached(asked.app, asked.access)?;
    let list = indexes::IndexList {
        indexes: indexes::entries(asked.app, names),
        next: None,
    };
    let lines = list.indexes.iter().map(|index| {
        let figures = index.stats.as_ref();
        format!(
            "{}{}{}\n",
            index.name,
            figures
                .map(|stats| format!(" ({} documents)", stats.documents))
                .unwrap_or_default(),
            index
                .description
                .as_deref()
                .map(|said| format!(": {said}"))
                .unwrap_or_default()
        )
    });
    let text: String = match list.indexes.is_empty() {
        true => "There are no indexes yet.".into(),
        false => lines.collect(),
    };
    answer(text, &list)
}

pub(super) fn search(asked: &Asked<'_>, mut arguments: JsonObject) -> Result<Answer, Refused> {
    let name = named_by(&mut arguments, "index", "a name that list_indexes gives")?;
    // Nothing is said of a name that is not reached, be it a wrong field of the request.
    asked.access.require_name(&name)?;
    let request: SearchRequest = read(arguments)?;
    let first = request.offset.unwrap_or(0);
    let found = search::answered(asked.app, asked.access, &name, request, asked.cancellation);
    let (index, response) = found.map_err(|error| match error {
        // Whoever operates this is told why; to others it is an operator's error.
        Error::Operator(_) if asked.operator && asked.app.catalog.is_open_elsewhere(&name) => {
            Refused::InUse(name)
        }
        other => other.into(),
    })?;
    answer(in_words(&index, &response, first), &response)
}

/// What was found, to be read; the hit at the top is number `first` + 1.
fn in_words(index: &Index, response: &SearchResponse, first: usize) -> String {
    let mut out = String::new();
    if response.hits.is_empty() {
        out += "Nothing was found.\n";
    }
    for (place, hit) in response.hits.iter().enumerate() {
        let rank = first.saturating_add(place).saturating_add(1);
        out += &format!("{rank}. {} (score {:.4})\n", hit.id, hit.score);
        for line in hit_in_words(index.definition(), hit) {
            out += &format!("   {line}\n");
        }
    }
    for (field, counts) in &response.facets {
        let counts: Vec<String> = counts
            .iter()
            .map(|one| format!("{} {}", plain(&serde_json::json!(one.value)), one.count))
            .collect();
        out += &format!("{field}: {}\n", counts.join(", "));
    }
    for lost in &response.degraded {
        out += &format!("Without {}: {}\n", lost.lost, lost.reason);
    }
    if let Some(short) = &response.short {
        out += &format!(
            "{} hits of {} asked for: {}\n",
            short.found, short.asked, short.reason
        );
    }
    if let Some(cursor) = &response.cursor {
        out += &format!("More with cursor token {cursor}\n");
    }
    out
}

/// What is said of a hit beside its id: where it is, what it is called, and a piece of it.
fn hit_in_words(definition: &Definition, hit: &Hit) -> Vec<String> {
    let mut lines = Vec::new();
    let document = &hit.document;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let code = text("path").filter(|_| document.contains_key("lines"));
    if let Some(path) = code {
        let mut line = format!("{path}:{}", text("lines").unwrap_or_default());
        if let Some(symbol) = text("symbol").filter(|symbol| !symbol.is_empty()) {
            line += &format!(" {} {symbol}", text("kind").unwrap_or_default());
        }
        lines.push(line);
    }
    if let Some(title) = text("title").filter(|title| !title.is_empty()) {
        lines.push(cut(title));
    }
    if let Some(highlights) = hit.highlights.as_ref().filter(|marked| !marked.is_empty()) {
        for (_, fragments) in highlights {
            let fragments = fragments.as_array().into_iter().flatten();
            let fragments = fragments.filter_map(Value::as_str).take(FRAGMENTS);
            lines.extend(fragments.map(cut));
        }
    } else if let Some(code) = text("code").filter(|_| code.is_some()) {
        lines.extend(code.lines().take(CODE_LINES).map(shortened));
        let left = code.lines().count().saturating_sub(CODE_LINES);
        if left > 0 {
            lines.push(format!("... {left} more lines"));
        }
    } else if let Some(passage) = &hit.passage {
        lines.push(cut(&passage.text));
    } else if let Some(text) = first_text(&definition.fields, document) {
        lines.push(cut(&text));
    } else if lines.is_empty() && !document.is_empty() {
        lines.push(cut(&Value::Object(document.clone()).to_string()));
    }
    lines
}

/// The first of the texts that a document has, beside its title.
fn first_text(fields: &Fields, document: &Map<String, Value>) -> Option<String> {
    let texts = fields
        .iter()
        .filter(|(name, field)| field.kind == FieldType::Text && name.as_str() != "title");
    texts
        .flat_map(|(name, _)| strings_at(document, name))
        .find(|text| !text.trim().is_empty())
        .map(str::to_owned)
}

/// A text on one line, and not too long.
fn cut(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    shortened(&words.join(" "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SNIPPET_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
