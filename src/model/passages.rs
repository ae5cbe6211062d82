//! Cuts a long text into passages that fit a model's input.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::tokenizer::TextTokenizer;
use crate::error::Result;

/// Byte ranges of the passages of a text, each of at most `room` tokens (without special
/// tokens), each but the first beginning about `overlap` tokens before the end of the one
/// before it. `room` is at least 1 and `overlap` less than `room`.
///
/// Passages cover the text, end on character boundaries, and end at a sentence where one
/// ends in the second half of the room, otherwise between words.
pub(crate) fn cut(
    tokenizer: &TextTokenizer,
    text: &str,
    room: usize,
    overlap: usize,
) -> Result<Vec<Range<usize>>> {
    let spans = tokenizer.spans(text)?;
    if spans.len() <= room {
        // One passage, even of an empty text: there is always something to encode.
        return Ok(std::iter::once(0..text.len()).collect());
    }
    let breaks = breaks(text, &spans);
    let byte = |token: usize| match spans.get(token) {
        _ if token == 0 => 0,
        Some(&(start, _)) => start,
        None => text.len(),
    };
    let mut passages = Vec::new();
    let mut first = 0;
    loop {
        let latest = first + room;
        if latest >= spans.len() {
            passages.push(byte(first)..text.len());
            return Ok(passages);
        }
        // Past the overlap, so that the next passage begins after this one.
        let earliest = first + (room / 2).max(overlap) + 1;
        let end = best(&breaks, earliest.min(latest), latest);
        passages.push(byte(first)..byte(end));
        let back = end - overlap;
        first = (back..end)
            .find(|&token| breaks[token] >= Break::Word)
            .unwrap_or(back);
    }
}

/// How good a place before a token is to begin a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    None,
    Word,
    Sentence,
}

/// The last place of the best kind among the tokens of `earliest..=latest`.
fn best(breaks: &[Break], earliest: usize, latest: usize) -> usize {
    (earliest..=latest)
        .max_by_key(|&token| (breaks.get(token).copied().unwrap_or(Break::None), token))
        .unwrap_or(latest)
}

fn breaks(text: &str, spans: &[(usize, usize)]) -> Vec<Break> {
    let mut sentences = text
        .split_sentence_bound_indices()
        .map(|(start, _)| start)
        .peekable();
    let mut previous_end = 0;
    spans
        .iter()
        .map(|&(start, end)| {
            let mut sentence = false;
            while sentences.next_if(|&bound| bound <= start).is_some() {
                sentence = true;
            }
            let gap = start > previous_end;
            previous_end = end;
            match (sentence, gap) {
                (true, _) => Break::Sentence,
                (false, true) => Break::Word,
                (false, false) => Break::None,
            }
        })
        .collect()
}
