//! Linking by writing: a generator copies the text and annotates it (GENRE, section 3.2).

use super::super::decode::{Annotations, BeamOptions, Copied, Marks, beam_search};
use super::super::view::View;
use super::measure::check_tokenizer;
use super::mentions::{Stretch, begins_word, ends_word};
use super::write::no_generator;
use crate::error::{Code, Problem, Result};
use crate::model::{Cancellation, Generator};

/// Longest text that is annotated, in bytes: every token of it is written.
pub const MAX_ANNOTATED: usize = 20_000;
/// Tokens of a text that are written at once; marks and names come on top.
const PIECE: usize = 48;
/// Beginnings of a piece that are followed.
const BEAMS: usize = 6;
/// Pieces that are written at once.
const PIECES: usize = 4;

/// A mention that was written, and the names that were.
pub(super) struct Written {
    pub stretch: Stretch,
    /// Numbers of the names.
    pub names: Vec<u32>,
}

/// The mentions that a generator annotates in a text, in its order; none overlaps another.
pub(super) fn annotate(
    view: &View,
    generator: Option<&Generator>,
    text: &str,
    cancellation: &Cancellation,
) -> Result<Vec<Written>> {
    let Some(generator) = generator else {
        return Err(no_generator("method", "detect, or").into());
    };
    if text.len() > MAX_ANNOTATED {
        return Err(
            Problem::new(Code::LimitExceeded, "the text is too long to be annotated")
                .field("text")
                .found(format!("{} bytes", text.len()))
                .expected(format!("at most {MAX_ANNOTATED} bytes; cut it into parts"))
                .into(),
        );
    }
    check_tokenizer(view, generator)?;
    let Some(marks) = Marks::of(view.tokenizer())? else {
        let message = "the generator's tokenizer has no single tokens for { } [ ]";
        return Err(Problem::new(Code::InvalidRequest, message)
            .field("method")
            .found("annotate")
            .expected("detect")
            .into());
    };
    // Of the same length: places in it are places in the text.
    let text = Marks::replaced(text);
    let mut tokens = view.tokenizer().text_tokens(&text)?;
    // What a tokenizer takes for a mark, whatever it was, is not copied.
    tokens.retain(|&(token, _)| !marks.has(token));
    let room = generator.max_tokens().saturating_sub(2);
    let room = room.min(generator.max_answer());
    let pieces = pieces(&text, &tokens, PIECE.min(room / 3).max(1));
    let mut found = Vec::new();
    for some in pieces.chunks(PIECES) {
        let mut inputs = Vec::with_capacity(some.len());
        let mut constraints = Vec::with_capacity(some.len());
        for piece in some {
            let (start, end) = (piece[0].1.0, piece[piece.len() - 1].1.1);
            inputs.push(generator.window("", &text[start..end], "", generator.max_tokens())?);
            let copied = piece.iter().map(|&(token, (start, end))| Copied {
                token,
                begins: begins_word(&text, start),
                ends: ends_word(&text, end),
            });
            constraints.push(Annotations::new(view, copied, marks));
        }
        let options = BeamOptions {
            beams: BEAMS,
            names: 1,
            max_tokens: room,
            ..BeamOptions::default()
        };
        let mut generation = generator.read_while(&inputs, cancellation)?;
        let written = beam_search(&mut generation, &constraints, &options)?;
        for ((piece, constraint), written) in some.iter().zip(&constraints).zip(written) {
            let Some(best) = written.first() else {
                continue;
            };
            for mention in constraint.read(&best.tokens) {
                let (start, end) = (piece[mention.start].1.0, piece[mention.end - 1].1.1);
                let tokens = view.tokenizer().tokens(&text[start..end])?;
                found.push(Written {
                    stretch: Stretch {
                        start,
                        end,
                        tokens: tokens.unwrap_or_default(),
                    },
                    names: view.names_at(mention.name),
                });
            }
        }
    }
    Ok(found)
}

type Token = (u32, (usize, usize));

/// Parts of a text of at most `most` tokens: by sentences where they fit, or else by words.
fn pieces<'a>(text: &str, tokens: &'a [Token], most: usize) -> Vec<&'a [Token]> {
    let mut pieces = Vec::new();
    let mut rest = tokens;
    while rest.len() > most {
        let cut = |good: &dyn Fn(usize) -> bool| (1..=most).rev().find(|&at| good(at));
        let sentence = cut(&|at| {
            let (start, end) = rest[at - 1].1;
            matches!(&text[start..end], "." | "!" | "?")
        });
        let word = || cut(&|at| begins_word(text, rest[at].1.0));
        let at = sentence.or_else(word).unwrap_or(most);
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_the_tokens_in_parts_that_fit(text in "[a-c. !?é]{0,60}", most in 1_usize..9) {
            let tokens: Vec<Token> = text
                .char_indices()
                .filter(|(_, c)| !c.is_whitespace())
                .map(|(at, c)| (u32::from(c), (at, at + c.len_utf8())))
                .collect();
            let parts = pieces(&text, &tokens, most);
            prop_assert!(parts.iter().all(|part| !part.is_empty() && part.len() <= most));
            prop_assert_eq!(parts.concat(), tokens);
        }
    }
}
