//! Texts to token ids. Truncation is ours, so that it is counted and reported.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokenizers::Tokenizer;

use super::code::TokenGraph;
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

/// A token and the bytes of its text that it stands for.
pub(crate) type SpannedToken = (u32, Range<usize>);

/// Token ids of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokenized {
    /// Special tokens included.
    pub ids: Vec<u32>,
    /// Tokens at the start that are not pooled.
    pub skip: usize,
    /// First token of the second type; all are of the first where it lies past the end.
    pub second: usize,
    /// Some of the text did not fit.
    pub truncated: bool,
    /// The syntax over the tokens, of code.
    pub graph: Option<Arc<TokenGraph>>,
}

/// What a tokenizer puts around and between two texts that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PairTemplate {
    before: Vec<u32>,
    between: Vec<u32>,
    after: Vec<u32>,
    /// How many of those between are still of the first type; None where there is but one.
    first_type: Option<usize>,
}

impl PairTemplate {
    /// Special tokens of a pair.
    pub(crate) fn specials(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Special tokens behind a pair.
    pub(crate) fn after(&self) -> usize {
        self.after.len()
    }

    /// A pair of these token ids.
    pub(crate) fn join(&self, a: &[u32], b: &[u32], truncated: bool) -> Tokenized {
        let ids = [&self.before, a, &self.between, b, &self.after].concat();
        let first = self.before.len() + a.len();
        Tokenized {
            ids,
            skip: 0,
            second: self.first_type.map_or(usize::MAX, |types| first + types),
            truncated,
            graph: None,
        }
    }
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

    /// The same that takes what looks like a special token for any other characters.
    pub(crate) fn without_special_tokens(mut self) -> TextTokenizer {
        self.tokenizer.set_encode_special_tokens(true);
        self
    }

    /// The id of a special token; None where there is none of this content.
    pub(crate) fn special(&self, content: &str) -> Option<u32> {
        let added = self.tokenizer.get_added_tokens_decoder();
        let mut special = added.into_iter().filter(|(_, token)| token.special);
        special
            .find(|(_, token)| token.content == content)
            .map(|(id, _)| id)
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
                second: usize::MAX,
                truncated: kept < content.len(),
                graph: None,
            });
        }
    }

    /// At most `most` (1 or more) token ids of a text, special tokens not included, and
    /// whether there are more.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub(crate) fn first(&self, text: &str, most: usize) -> Result<(Vec<u32>, bool)> {
        let mut look = most.saturating_mul(BYTES_PER_TOKEN).max(256);
        loop {
            let part = head(text, look);
            let mut ids = self.content(part)?;
            // A look that was cut short says enough once it is longer than what is wanted.
            if part.len() < text.len() && ids.len() <= most {
                look = look.saturating_mul(4);
                continue;
            }
            let more = ids.len() > most;
            ids.truncate(most);
            return Ok((ids, more));
        }
    }

    /// What stands around and between two texts that are read together.
    ///
    /// # Errors
    /// InvalidModel for a tokenizer without a form for pairs, or with one whose token types
    /// are not those of the first text followed by those of the second.
    pub(crate) fn pair_template(&self) -> Result<PairTemplate> {
        let unfit = |found: String| {
            invalid(TOKENIZER, "the tokenizer has no form for pairs of texts")
                .found(found)
                .expected("a post-processor with a template for pairs, as cross-encoders have it")
        };
        let probe = self
            .tokenizer
            .encode(("a", "b"), true)
            .map_err(|e| unfit(e.to_string()))?;
        let (ids, types) = (probe.get_ids(), probe.get_type_ids());
        let sequences = probe.get_sequence_ids();
        let of = |sequence: usize| {
            let of = |s: &Option<usize>| *s == Some(sequence);
            let first = sequences.iter().position(of)?;
            let last = sequences.iter().rposition(of)?;
            Some((first, last + 1))
        };
        let (Some((a, a_end)), Some((b, b_end))) = (of(0), of(1)) else {
            return Err(unfit("one of two texts has no tokens".into()).into());
        };
        let second = types.iter().position(|&kind| kind != 0);
        let second = second.unwrap_or(ids.len());
        let sorted = types[..second].iter().all(|&kind| kind == 0)
            && types[second..].iter().all(|&kind| kind == 1);
        let between = second >= a_end && (second <= b || second == ids.len());
        if a_end > b || !sorted || !between {
            return Err(unfit(format!("token types {types:?} of two words")).into());
        }
        Ok(PairTemplate {
            before: ids[..a].to_vec(),
            between: ids[a_end..b].to_vec(),
            after: ids[b_end..].to_vec(),
            first_type: (second < ids.len()).then_some(second - a_end),
        })
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

    /// The first tokens of a text, at most `most` with the special ones around them, and the bytes
    /// of the text that each stands for: none, at its ends, for special ones. And whether there
    /// were more.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub(crate) fn encode_with_spans(
        &self,
        text: &str,
        most: usize,
    ) -> Result<(Vec<SpannedToken>, bool)> {
        let mut content = self.tokens_with_spans(text)?;
        let room = most.saturating_sub(self.specials());
        let truncated = content.len() > room;
        content.truncate(room);
        let end = text.len();
        let before = self.before.iter().map(|&id| (id, 0..0));
        let after = self.after.iter().map(|&id| (id, end..end));
        let content = content
            .into_iter()
            .map(|(id, (start, end))| (id, start..end));
        Ok((before.chain(content).chain(after).collect(), truncated))
    }

    fn content(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Byte ranges of a text's tokens, in order, special tokens not counted. Starts never
    /// decrease and lie on character boundaries.
    pub(crate) fn spans(&self, text: &str) -> Result<Vec<(usize, usize)>> {
        let tokens = self.tokens_with_spans(text)?;
        Ok(tokens.into_iter().map(|(_, span)| span).collect())
    }

    /// A text's tokens with their byte ranges, as [`TextTokenizer::spans`].
    pub(crate) fn tokens_with_spans(&self, text: &str) -> Result<Vec<(u32, (usize, usize))>> {
        let mut tokens = Vec::new();
        let mut base = 0;
        let mut last = 0;
        while base < text.len() {
            let piece = head(&text[base..], PIECE);
            let encoding = self.tokenizer.encode(piece, false).map_err(refused)?;
            for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
                let start = text.floor_char_boundary(base + start).max(last);
                let end = text.ceil_char_boundary(base + end).max(start);
                tokens.push((id, (start, end)));
                last = start;
            }
            base += piece.len();
        }
        Ok(tokens)
    }

    /// The text of token ids.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, false).map_err(refused)
    }

    /// The tokens that stand for no text: special ones, and the one for what is not known.
    pub(crate) fn specials_in_vocabulary(&self) -> HashSet<u32> {
        let added = self.tokenizer.get_added_tokens_decoder();
        let special = added.into_iter().filter(|(_, token)| token.special);
        let unknown = ["[UNK]", "<unk>"]
            .iter()
            .filter_map(|token| self.tokenizer.token_to_id(token));
        special.map(|(id, _)| id).chain(unknown).collect()
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
