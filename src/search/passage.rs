//! Which passage of a document a hit is for, and where in the document it stands.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::document::strings_at;

/// The passage of a document whose vector was nearest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Passage {
    /// Its number among the passages of the document, from 1.
    pub number: u32,
    /// How many passages the document has.
    pub of: u32,
    /// Its text. Where it takes part of several texts, they are on lines of their own.
    pub text: String,
    /// Where it stands: one place for each text that it takes part of.
    pub places: Vec<Place>,
}

/// A piece of a text of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The field.
    pub field: String,
    /// Which of the field's texts, from 0; more than 0 only where it holds a list.
    pub item: u32,
    /// First character (Unicode scalar value) of the piece, from 0.
    pub start: u32,
    /// One past its last character.
    pub end: u32,
}

/// The text of `span`, a range of bytes in the texts of these fields joined by line breaks,
/// and its places. None where the span does not fit them.
pub(super) fn locate(
    source: &Map<String, Json>,
    fields: &[String],
    span: Range<usize>,
) -> Option<(String, Vec<Place>)> {
    let mut pieces = Vec::new();
    let mut places = Vec::new();
    let mut at = 0;
    for field in fields {
        for (item, text) in strings_at(source, field).into_iter().enumerate() {
            let (start, end) = (at, at + text.len());
            // Behind it stands a line break.
            at = end + 1;
            let from = span.start.clamp(start, end) - start;
            let to = span.end.clamp(start, end) - start;
            if from == to {
                continue;
            }
            let (before, piece) = (text.get(..from)?, text.get(from..to)?);
            let first = number(before.chars().count());
            pieces.push(piece);
            places.push(Place {
                field: field.clone(),
                item: number(item),
                start: first,
                end: first.saturating_add(number(piece.chars().count())),
            });
        }
    }
    (!places.is_empty() && span.end < at).then(|| (pieces.join("\n"), places))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        /// Cutting each place out of its text by characters gives the passage back, and
        /// nothing but line breaks between texts is lost.
        #[test]
        fn places_name_what_the_passage_says(
            title in "[aé水🚀 ]{0,12}",
            notes in proptest::collection::vec("[aé水🚀 \n]{0,8}", 0..4),
            cuts in (0.0..1.0_f64, 0.0..1.0_f64),
        ) {
            let source = json!({"title": title, "inner": {"notes": notes}, "other": "x"});
            let Json::Object(source) = source else { unreachable!() };
            let fields = ["title".to_string(), "inner.notes".to_string()];
            let texts: Vec<&str> = std::iter::once(title.as_str())
                .chain(notes.iter().map(String::as_str))
                .collect();
            let joined = texts.join("\n");
            let bound = |share: f64| {
                let mut at = (joined.len() as f64 * share) as usize;
                while !joined.is_char_boundary(at) { at -= 1; }
                at
            };
            let (a, b) = (bound(cuts.0), bound(cuts.1));
            let span = a.min(b)..a.max(b);
            let located = locate(&source, &fields, span.clone());
            let wanted = &joined[span];
            if wanted.chars().all(|c| c == '\n') {
                return Ok(());
            }
            let (text, places) = located.unwrap();
            let mut cut = Vec::new();
            for place in &places {
                let texts = strings_at(&source, &place.field);
                let text = texts[place.item as usize];
                let (start, end) = (place.start as usize, place.end as usize);
                cut.push(text.chars().skip(start).take(end - start).collect::<String>());
            }
            prop_assert_eq!(cut.join("\n"), text.clone());
            let letters = |text: &str| text.replace('\n', "");
            prop_assert_eq!(letters(&text), letters(wanted));
        }
    }

    #[test]
    fn a_span_of_another_document_is_none() {
        let Json::Object(source) = json!({"title": "é"}) else {
            unreachable!()
        };
        let fields = ["title".to_string()];
        assert_eq!(locate(&source, &fields, 0..7), None);
        assert_eq!(locate(&source, &fields, 1..2), None);
        assert_eq!(locate(&source, &[], 0..1), None);
        assert!(locate(&source, &fields, 0..2).is_some());
    }
}
