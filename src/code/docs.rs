//! What is written about code: leading comments and docstrings, without their marks.

use super::roles::is_comment;
use super::{Language, Syntax};

/// Longest documentation that is kept apart; the code itself holds all of it.
const LONGEST: usize = 4_000;
/// Longest signature.
const LONGEST_SIGNATURE: usize = 500;

/// The text of comments without `//`, `/* */`, `#` and the stars of their lines; none where
/// nothing is said.
pub(super) fn comments(text: &str) -> Option<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("#[") || line.starts_with('@') && lines.is_empty() {
            continue;
        }
        let line = line
            .trim_start_matches(['/', '#', '*', '!', ';'])
            .trim_end_matches("*/")
            .trim_end();
        lines.push(line.strip_prefix(' ').unwrap_or(line));
    }
    tidy(&lines.join("\n"))
}

/// The docstring that Python has as the first statement of a body.
pub(super) fn docstring(syntax: &Syntax, text: &str, place: usize) -> Option<String> {
    if syntax.language != Language::Python {
        return None;
    }
    let body = match place {
        0 => 0,
        _ => syntax.child(place, "body")?,
    };
    let mut statements = syntax
        .children(body)
        .filter(|&c| syntax.nodes[c].named && !is_comment(syntax.kind(c)));
    let mut first = statements.next()?;
    if syntax.kind(first) == "expression_statement" {
        first = syntax.children(first).next()?;
    }
    if syntax.kind(first) != "string" {
        return None;
    }
    let string = text.get(syntax.span(first))?;
    let string = string.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let lines: Vec<&str> = string
        .trim_matches(['"', '\''])
        .lines()
        .map(str::trim)
        .collect();
    tidy(&lines.join("\n"))
}

/// The comments that a file begins with.
pub(super) fn header(syntax: &Syntax, text: &str) -> Option<String> {
    if let Some(docstring) = docstring(syntax, text, 0) {
        return Some(docstring);
    }
    let mut end = 0;
    let first = syntax.children(0).find(|&c| {
        let kind = syntax.kind(c);
        !(is_comment(kind) || matches!(kind, "php_tag" | "hash_bang_line"))
    });
    let until = first.map_or(text.len(), |first| syntax.span(first).start);
    for comment in syntax.children(0).take_while(|&c| Some(c) != first) {
        let span = syntax.span(comment);
        if !is_comment(syntax.kind(comment)) || text[span.clone()].starts_with("#!/") {
            continue;
        }
        // What is right before the first definition is that one's.
        let rest = &text[span.end.min(until)..until];
        let inner = text[span.clone()].starts_with("//!") || text[span.clone()].starts_with("/*!");
        if inner || rest.matches('\n').count() > 1 || first.is_none() {
            end = span.end;
        }
    }
    let start = match text.starts_with("#!/") {
        true => text.find('\n').unwrap_or(text.len()).min(end),
        false => 0,
    };
    comments(text[start..end].trim_start_matches("<?php"))
}

/// A definition up to its body, on one line.
pub(super) fn signature(syntax: &Syntax, text: &str, place: usize, start: usize) -> Option<String> {
    let body = syntax.child(place, "body").or_else(|| {
        // A function that is a value: `const f = () => { .. }`.
        let value = ["value", "right"]
            .iter()
            .find_map(|field| syntax.child(place, field))?;
        syntax.child(value, "body")
    });
    let end = match body {
        Some(body) => syntax.span(body).start,
        None => syntax.span(place).end,
    };
    let written = text.get(start..end.max(start))?;
    let words: Vec<&str> = written.split_whitespace().collect();
    let mut signature = words.join(" ");
    if signature.len() > LONGEST_SIGNATURE {
        signature.truncate(signature.floor_char_boundary(LONGEST_SIGNATURE));
    }
    (!signature.is_empty()).then_some(signature)
}

fn tidy(text: &str) -> Option<String> {
    let text = text.trim();
    let text = &text[..text.floor_char_boundary(LONGEST)];
    text.contains(char::is_alphanumeric)
        .then(|| text.to_string())
}
