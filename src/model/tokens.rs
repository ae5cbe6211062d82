//! Counting tokens as some model would.

use std::ops::Range;
use std::path::Path;

use super::tokenizer::{TOKENIZER, TextTokenizer};
use crate::error::Result;

/// Counts the tokens of texts by a `tokenizer.json`, special tokens left out.
pub struct TokenCounter(TextTokenizer);

impl TokenCounter {
    /// Opens a `tokenizer.json`, or the one in a folder.
    ///
    /// # Errors
    /// InvalidModel for a file that is missing or that no tokenizer can be made of.
    pub fn open(place: &Path) -> Result<TokenCounter> {
        let folder = match place.file_name() {
            Some(name) if name == TOKENIZER => place.parent().unwrap_or(Path::new("")),
            _ => place,
        };
        Ok(TokenCounter(TextTokenizer::open(folder)?))
    }

    /// Tokens of a text.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses.
    pub fn count(&self, text: &str) -> Result<usize> {
        Ok(self.0.whole("", text)?.len())
    }

    /// The first tokens of a text, at most `most` with the special ones around them, and the
    /// bytes of the text that each stands for: none, at its ends, for special ones.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses.
    pub fn tokens(&self, text: &str, most: usize) -> Result<Vec<(u32, Range<usize>)>> {
        let mut content = self.0.tokens_with_spans(text)?;
        content.truncate(most.saturating_sub(self.0.specials()));
        let (ids, spans): (Vec<u32>, Vec<(usize, usize)>) = content.into_iter().unzip();
        let before = self.0.specials_before();
        let ids = self.0.with_specials(&[&ids]);
        let span = |place: usize| match place.checked_sub(before) {
            None => 0..0,
            Some(place) => spans
                .get(place)
                .map_or(text.len()..text.len(), |&(start, end)| start..end),
        };
        Ok(ids
            .into_iter()
            .enumerate()
            .map(|(n, id)| (id, span(n)))
            .collect())
    }
}
