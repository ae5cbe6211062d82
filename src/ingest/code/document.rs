//! A unit of code as a document of an index.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::code::{
    CutLimits, Cutting, Kind, Language, Limits, MARKDOWN, Unit, Unparsed, cut, cut_markdown,
    cut_text, is_markdown, parse,
};

/// Longer ids, of deep paths, end in a digest instead.
const LONGEST_ID: usize = 400;
/// Changes when documents of the same file become others, so that they are all made anew.
const FORMAT: u32 = 1;
/// The language of a file without a grammar, and of one that was not parsed.
const TEXT: &str = "text";

/// A file's documents.
pub(super) struct Documents {
    pub documents: Vec<Map<String, Json>>,
    /// The language that they carry.
    pub language: &'static str,
    /// Why it was indexed as text although its language has a grammar.
    pub unparsed: Option<Unparsed>,
    /// Places that do not follow its grammar.
    pub errors: usize,
}

/// The language that a file's documents carry, if it can be parsed.
pub(super) fn language_name(language: Option<Language>, path: &str) -> &'static str {
    match language {
        Some(language) => language.as_str(),
        None if is_markdown(path) => MARKDOWN,
        None => TEXT,
    }
}

/// Cuts a file into documents. Their ids are `repository/path#symbol`, with `~2` for the second
/// of that name in the file and `@2` for the second part of a long one.
pub(super) fn documents(
    repository: &str,
    path: &str,
    language: Option<Language>,
    text: &str,
    limits: &Limits,
) -> Documents {
    let cut_limits = CutLimits::default();
    let cutting = Cutting {
        path,
        limits: &cut_limits,
    };
    let parsed = language.map(|language| parse(language, text, limits));
    let (units, name, unparsed, errors) = match &parsed {
        Some(Ok(syntax)) => (
            cut(syntax, text, cutting),
            syntax.language.as_str(),
            None,
            syntax.errors,
        ),
        Some(Err(reason)) => (cut_text(text, cutting), TEXT, Some(*reason), 0),
        None if is_markdown(path) => (cut_markdown(text, cutting), MARKDOWN, None, 0),
        None => (cut_text(text, cutting), TEXT, None, 0),
    };
    let mut times: HashMap<String, u32> = HashMap::new();
    let documents = units
        .iter()
        .map(|unit| {
            let called = called(unit);
            let time = times.entry(called.clone()).or_default();
            // Parts of one unit are one time of its name.
            *time += u32::from(unit.part == 1 || *time == 0);
            document(repository, path, name, unit, (&called, *time))
        })
        .collect();
    Documents {
        documents,
        language: name,
        unparsed,
        errors,
    }
}

/// A unit's name in ids. A heading may have the signs that number namesakes and parts.
fn called(unit: &Unit) -> String {
    match unit.kind {
        Kind::Section => unit.symbol.replace(['~', '@'], "-"),
        _ => unit.symbol.clone(),
    }
}

fn document(
    repository: &str,
    path: &str,
    language: &str,
    unit: &Unit,
    (called, time): (&str, u32),
) -> Map<String, Json> {
    let mut id = format!("{repository}/{path}#{called}");
    if time > 1 {
        id += &format!("~{time}");
    }
    if unit.part > 1 {
        id += &format!("@{}", unit.part);
    }
    if id.len() > LONGEST_ID {
        let digest = hex(&Sha256::digest(&id)[..8]);
        id.truncate(id.floor_char_boundary(LONGEST_ID - 20));
        id += &format!("...{digest}");
    }
    let lines: Vec<String> = unit.lines.iter().map(ToString::to_string).collect();
    let (first, last) = (unit.lines.first(), unit.lines.last());
    let mut document = Map::new();
    let mut put = |name: &str, value: Json| document.insert(name.into(), value);
    put("id", json!(id));
    put("repository", json!(repository));
    put("path", json!(path));
    put("language", json!(language));
    put("symbol", json!(unit.symbol));
    put("kind", json!(unit.kind));
    put("lines", json!(lines.join(",")));
    put("first_line", json!(first.map_or(1, |lines| lines.first)));
    put("last_line", json!(last.map_or(1, |lines| lines.last)));
    if unit.parts > 1 {
        put("part", json!(unit.part));
    }
    if let Some(docstring) = &unit.docstring {
        put("docstring", json!(docstring));
    }
    if let Some(signature) = &unit.signature {
        put("signature", json!(signature));
    }
    put("code", json!(unit.code));
    put("identifiers", json!(unit.identifiers));
    let mut hash = Sha256::new();
    hash.update(FORMAT.to_le_bytes());
    hash.update(Json::Object(document.clone()).to_string());
    let hash = hex(&hash.finalize()[..16]);
    document.insert("hash".into(), json!(hash));
    document
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
