//! Texts to token ids. Truncation is ours, so that it is counted and reported.

use std::path::Path;
use std::sync::OnceLock;

use tokenizers::Tokenizer;

use super::files::{invalid, read};
use crate::error::{Code, Error, Problem, Result};

/// File of a model's tokenizer.
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// Bytes of text per token that are looked at before a text is taken to be longer than
/// the model reads. English has about 4; too small a guess only costs a second look.
const BYTES_PER_TOKEN: usize = 12;
/// Bytes tokenised at once where a whole text is wanted: the tokenizer's intermediate
/// form is many times larger than its text.
const PIECE: usize = 64 * 1024;

/// A model's tokenizer with what it puts around every text.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    before: Vec<u32>,
    after: Vec<u32>,
    pad: u32,
    ids: OnceLock<u32>,
}

/// Token ids of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokenized {
    /// Special tokens included.
    pub ids: Vec<u32>,
    /// Tokens at the start that are not pooled.
    pub skip: usize,
    /// Some of the text did not fit.
    pub truncated: bool,
}

impl AsRef<[u32]> for Tokenized {
    fn as_ref(&self) -> &[u32] {
        &self.ids
    }
}

impl TextTokenizer {
    /// Reads the folder's `tokenizer.json`.
    ///
    /// # Errors
    /// InvalidModel for a file that is missing or that no tokenizer can be made of.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let bytes = read(folder, TOKENIZER)?;
        let broken = |e: tokenizers::Error| {
            invalid(
                TOKENIZER,
                format!(
                    "no tokenizer can be made of {}",
                    folder.join(TOKENIZER).display()
                ),
            )
            .found(e)
            .expected("a tokenizer.json as Hugging Face's tokenizers writes it")
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(broken)?;
        let pad = tokenizer
            .get_padding()
            .map(|padding| padding.pad_id)
            .or_else(|| tokenizer.token_to_id("[PAD]"))
            .or_else(|| tokenizer.token_to_id("<pad>"))
            .unwrap_or(0);
        // Published files often carry the truncation and padding of their training.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(broken)?;

        let probe = tokenizer.encode("a", true).map_err(broken)?;
        let special = probe.get_special_tokens_mask();
        let before = special.iter().take_while(|&&m| m == 1).count();
        let after = special[before..]
            .iter()
            .rev()
            .take_while(|&&m| m == 1)
            .count();
        let ids = probe.get_ids();
        Ok(TextTokenizer {
            before: ids[..before].to_vec(),
            after: ids[ids.len() - after..].to_vec(),
            tokenizer,
            pad,
            ids: OnceLock::new(),
        })
    }

    /// What every id is below.
    pub(crate) fn ids(&self) -> u32 {
        *self.ids.get_or_init(|| {
            let vocabulary = self.tokenizer.get_vocab(true);
            vocabulary.into_values().max().map_or(0, |id| id + 1)
        })
    }

    /// Number of special tokens before every text.
    pub(crate) fn specials_before(&self) -> usize {
        self.before.len()
    }

    /// Ids without the special tokens around them, where both ends have them.
    pub(crate) fn without_specials<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        ids.strip_prefix(self.before.as_slice())
            .and_then(|rest| rest.strip_suffix(self.after.as_slice()))
            .unwrap_or(ids)
    }

    /// Ids with the special tokens around them.
    pub(crate) fn with_specials(&self, parts: &[&[u32]]) -> Vec<u32> {
        let mut ids = Vec::new();
        ids.extend_from_slice(&self.before);
        for part in parts {
            ids.extend_from_slice(part);
        }
        ids.extend_from_slice(&self.after);
        ids
    }

    /// Id that fills up shorter rows.
    pub(crate) fn pad(&self) -> u32 {
        self.pad
    }

    /// Number of special tokens around every text.
    pub(crate) fn specials(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Largest id the vocabulary can give, plus one.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Token ids of `prompt` followed by `text`, at most `max_tokens` with the special
    /// tokens; what does not fit is cut off the end.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses, which published ones never do.
    pub(crate) fn encode(&self, prompt: &str, text: &str, max_tokens: usize) -> Result<Tokenized> {
        let room = max_tokens.saturating_sub(self.specials());
        let mut look = room.saturating_mul(BYTES_PER_TOKEN).max(256);
        loop {
            let part = head(text, look);
            let whole = part.len() == text.len();
            let content = if prompt.is_empty() {
                self.content(part)?
            } else {
                self.content(&format!("{prompt}{part}"))?
            };
            // A look that was cut short says enough once it is longer than the room.
            if !whole && content.len() <= room {
                look = look.saturating_mul(4);
                continue;
            }
            let kept = content.len().min(room);
            return Ok(Tokenized {
                ids: self.with_specials(&[&content[..kept]]),
                skip: 0,
                truncated: kept < content.len(),
            });
        }
    }

    /// All token ids of `prompt` followed by `text`, special tokens not included.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub(crate) fn whole(&self, prompt: &str, text: &str) -> Result<Vec<u32>> {
        let mut first = prompt;
        let mut rest = text;
        let mut ids = Vec::new();
        loop {
            let piece = head(rest, PIECE);
            rest = &rest[piece.len()..];
            ids.extend(match first {
                "" => self.content(piece)?,
                prompt => self.content(&format!("{prompt}{piece}"))?,
            });
            first = "";
            if rest.is_empty() {
                return Ok(ids);
            }
        }
    }

    /// Number of tokens of a text, special tokens not counted.
    pub(crate) fn count(&self, text: &str) -> Result<usize> {
        self.content(text).map(|ids| ids.len())
    }

    fn content(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Byte ranges of a text's tokens, in order, special tokens not counted. Starts never
    /// decrease and lie on character boundaries.
    pub(crate) fn spans(&self, text: &str) -> Result<Vec<(usize, usize)>> {
        let mut spans = Vec::new();
        let mut base = 0;
        let mut last = 0;
        while base < text.len() {
            let piece = head(&text[base..], PIECE);
            let encoding = self.tokenizer.encode(piece, false).map_err(refused)?;
            for &(start, end) in encoding.get_offsets() {
                let start = text.floor_char_boundary(base + start).max(last);
                let end = text.ceil_char_boundary(base + end).max(start);
                spans.push((start, end));
                last = start;
            }
            base += piece.len();
        }
        Ok(spans)
    }
}

fn refused(error: tokenizers::Error) -> Error {
    Problem::new(Code::InvalidRequest, "the tokenizer refuses a text")
        .found(error)
        .into()
}

/// The beginning of a text: all of it when it has at most `bytes` bytes, otherwise up to
/// the last white space before that, where tokenisers do not look across. A stretch
/// without white space is cut at a character.
fn head(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let cut = text.floor_char_boundary(bytes);
    let window = &text[..cut];
    match window.rfind(char::is_whitespace) {
        Some(space) if space > cut / 2 => &text[..space],
        _ if cut > 0 => window,
        // The first character alone is longer than the limit.
        _ => &text[..text.ceil_char_boundary(1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_before_white_space() {
        assert_eq!(head("one two three", 100), "one two three");
        assert_eq!(head("one two three", 9), "one two");
        assert_eq!(head("aaaaaaaaaaaa", 5), "aaaaa");
        assert_eq!(head("ééé", 1), "é");
        assert_eq!(head("ééé", 3), "é");
    }
}
