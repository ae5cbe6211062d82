//! Counting tokens as some model would.

use std::path::Path;

use super::tokenizer::{SpannedToken, TOKENIZER, TextTokenizer};
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
    pub fn tokens(&self, text: &str, most: usize) -> Result<Vec<SpannedToken>> {
        Ok(self.0.encode_with_spans(text, most)?.0)
    }
}
