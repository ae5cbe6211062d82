//! The parts of a text that show why it was found.

use std::collections::HashMap;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::Word;
use super::plan::{Node, Plan, Sought};

/// Most fragments of one text.
const MAX_FRAGMENTS: usize = 3;

/// A piece of a text with the words that the query asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fragment {
    /// The piece, cut at words; not escaped for any markup.
    pub text: String,
    /// Where the words stand in `text`, in bytes, ascending and apart.
    pub spans: Vec<Range<usize>>,
}

/// The words that a plan for one field looks for, with how telling each is.
pub(super) fn sought(plan: &Plan) -> HashMap<String, f32> {
    let mut words = HashMap::new();
    for node in plan.must.iter().chain(&plan.should) {
        gather(node, &mut words);
    }
    words
}

fn gather(node: &Node, words: &mut HashMap<String, f32>) {
    match node {
        Node::Any { parts, .. } | Node::All(parts) => {
            for part in parts {
                gather(part, words);
            }
        }
        Node::Leaf(leaf) => {
            for field in &leaf.fields {
                let mut add = |term: &tantivy::Term| {
                    if let Some(text) = term.value().as_str() {
                        let weight = words.entry(text.to_string()).or_insert(0.0f32);
                        *weight = weight.max(field.idf.max(0.01));
                    }
                };
                match &field.sought {
                    Sought::Terms(terms) => terms.iter().for_each(|(term, _)| add(term)),
                    Sought::Phrase { terms, .. } => terms.iter().for_each(|(_, term)| add(term)),
                }
            }
        }
    }
}

/// The best fragments of `text`, best first: those with the most telling different
/// words. `words` is the analysed text. Without any word sought, the beginning of the
/// text, without spans; of a blank text, nothing.
pub(super) fn fragments(
    text: &str,
    words: &[Word],
    sought: &HashMap<String, f32>,
    max_chars: usize,
) -> Vec<Fragment> {
    let marks: Vec<Mark> = words
        .iter()
        .filter_map(|word| {
            Some(Mark {
                weight: *sought.get(&word.text)?,
                word: &word.text,
                span: word.span.clone(),
            })
        })
        .collect();
    if max_chars == 0 || text.trim().is_empty() {
        return Vec::new();
    }
    if marks.is_empty() {
        let piece = around(text, 0..0, max_chars);
        return vec![cut(text, piece, &marks)];
    }
    let mut taken: Vec<Range<usize>> = Vec::new();
    while taken.len() < MAX_FRAGMENTS {
        match best_window(text, &marks, max_chars, &taken) {
            Some(window) => taken.push(clear_of(around(text, window, max_chars), &taken)),
            None => break,
        }
    }
    taken
        .into_iter()
        .map(|piece| cut(text, piece, &marks))
        .collect()
}

struct Mark<'a> {
    word: &'a str,
    span: Range<usize>,
    weight: f32,
}

/// The stretch of marks within `max_chars` whose different words weigh most. Repeated
/// words count a little, so that of equal stretches the fuller wins; then the first.
fn best_window(
    text: &str,
    marks: &[Mark<'_>],
    max_chars: usize,
    taken: &[Range<usize>],
) -> Option<Range<usize>> {
    let free = |mark: &Mark<'_>| {
        taken
            .iter()
            .all(|t| mark.span.end <= t.start || t.end <= mark.span.start)
    };
    let mut best: Option<(f32, Range<usize>)> = None;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut weight = 0.0f32;
    let mut first = 0;
    for (i, mark) in marks.iter().enumerate() {
        if !free(mark) {
            counts.clear();
            weight = 0.0;
            first = i + 1;
            continue;
        }
        let count = counts.entry(mark.word).or_insert(0);
        *count += 1;
        weight += if *count == 1 {
            mark.weight
        } else {
            mark.weight * REPEATED
        };
        while let Some(oldest) = marks.get(first)
            && first < i
            && longer_than(text, oldest.span.start..mark.span.end, max_chars)
        {
            if let Some(count) = counts.get_mut(oldest.word) {
                *count -= 1;
                weight -= if *count == 0 {
                    oldest.weight
                } else {
                    oldest.weight * REPEATED
                };
            }
            first += 1;
        }
        let start = marks.get(first).map_or(mark.span.start, |m| m.span.start);
        if best.as_ref().is_none_or(|(w, _)| weight > *w + 1e-4) {
            best = Some((weight, start..mark.span.end));
        }
    }
    best.map(|(_, window)| window)
}

/// Share of its weight that a word adds when it comes again.
const REPEATED: f32 = 0.1;

fn longer_than(text: &str, span: Range<usize>, chars: usize) -> bool {
    // Bytes are at least as many as characters: most spans need no counting.
    span.len() > chars
        && text
            .get(span)
            .is_some_and(|s| s.chars().nth(chars).is_some())
}

/// Widens a window to up to `max_chars`, evenly to both sides, to whole words.
fn around(text: &str, window: Range<usize>, max_chars: usize) -> Range<usize> {
    let inside = text.get(window.clone()).map_or(0, |s| s.chars().count());
    let spare = max_chars.saturating_sub(inside);
    let before = back(text, window.start, spare / 2);
    let used = text
        .get(before..window.start)
        .map_or(0, |s| s.chars().count());
    let end = forward(text, window.end, spare - used);
    let used = text.get(window.end..end).map_or(0, |s| s.chars().count());
    let start = back(text, window.start, spare.saturating_sub(used));
    // A window of one overlong word is cut.
    let end = if inside > max_chars {
        forward_exactly(text, start, max_chars)
    } else {
        end
    };
    start..end
}

/// Up to `chars` characters before `at`, stopping behind a space.
fn back(text: &str, at: usize, chars: usize) -> usize {
    let Some(before) = text.get(..at) else {
        return at;
    };
    if chars == 0 {
        return at;
    }
    let start = before
        .char_indices()
        .rev()
        .nth(chars - 1)
        .map_or(0, |(i, _)| i);
    if start == 0
        || text
            .get(..start)
            .is_some_and(|s| s.ends_with(char::is_whitespace))
    {
        return start;
    }
    let piece = before.get(start..).unwrap_or("");
    match piece.char_indices().find(|(_, c)| c.is_whitespace()) {
        Some((i, c)) => start + i + c.len_utf8(),
        // Without a space at all, as in Chinese, anywhere will do.
        None if piece.chars().any(|c| c as u32 > 0x2E80) => start,
        None => at,
    }
}

fn forward_exactly(text: &str, at: usize, chars: usize) -> usize {
    text.get(at..)
        .and_then(|rest| rest.char_indices().nth(chars))
        .map_or(text.len(), |(i, _)| at + i)
}

/// Up to `chars` characters after `at`, stopping before a space.
fn forward(text: &str, at: usize, chars: usize) -> usize {
    let end = forward_exactly(text, at, chars);
    if end == text.len()
        || text
            .get(end..)
            .is_some_and(|s| s.starts_with(char::is_whitespace))
    {
        return end;
    }
    let piece = text.get(at..end).unwrap_or("");
    match piece.rfind(char::is_whitespace) {
        Some(i) => at + i,
        None if at == 0 || piece.chars().any(|c| c as u32 > 0x2E80) => end,
        None => at,
    }
}

/// What of a piece does not overlap the pieces already taken. The window it was made
/// from is clear of them, so only its margins give way.
fn clear_of(mut piece: Range<usize>, taken: &[Range<usize>]) -> Range<usize> {
    for other in taken {
        if other.start < piece.end && piece.start < other.end {
            if other.start <= piece.start {
                piece.start = other.end.min(piece.end);
            } else {
                piece.end = other.start.max(piece.start);
            }
        }
    }
    piece
}

fn cut(text: &str, piece: Range<usize>, marks: &[Mark<'_>]) -> Fragment {
    let raw = text.get(piece.clone()).unwrap_or("");
    let start = piece.start + (raw.len() - raw.trim_start().len());
    let shown = raw.trim();
    let end = start + shown.len();
    let mut spans: Vec<Range<usize>> = Vec::new();
    for mark in marks {
        if mark.span.start < start || mark.span.end > end {
            continue;
        }
        let span = mark.span.start - start..mark.span.end - start;
        match spans.last_mut() {
            // Bigrams overlap.
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => spans.push(span),
        }
    }
    Fragment {
        text: shown.to_string(),
        spans,
    }
}
