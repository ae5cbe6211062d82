//! Names in the tokens of the model that is to write them.

use std::collections::HashSet;
use std::path::Path;

use super::files::{read, sha256_of};
use super::tokenizer::{TOKENIZER, TextTokenizer};
use crate::error::Result;

/// Spells names in a model's tokens.
pub struct NameTokenizer {
    tokenizer: TextTokenizer,
    /// Tokens that no name is spelled with: those that stand around texts, and the one for what
    /// the tokenizer does not know.
    unusable: HashSet<u32>,
    vocabulary: u32,
    sha256: String,
    splits_at_words: bool,
    after_space: bool,
}

/// Words whose tokens together are those of the texts they make, where tokens do not depend on what
/// stands before, be it a space or not.
const PROBE: [&str; 3] = ["Red", "-", "river"];
const PROBED: [&str; 2] = ["Red - river", "Red-river"];

impl NameTokenizer {
    /// Reads the `tokenizer.json` of a folder.
    ///
    /// # Errors
    /// InvalidModel for a file that is missing or that no tokenizer can be made of.
    pub fn open(folder: &Path) -> Result<NameTokenizer> {
        let tokenizer = TextTokenizer::open(folder)?;
        Ok(NameTokenizer {
            unusable: tokenizer.specials_in_vocabulary(),
            vocabulary: tokenizer.ids(),
            splits_at_words: {
                let apart: Result<Vec<Vec<u32>>> =
                    PROBE.iter().map(|word| tokenizer.whole("", word)).collect();
                let apart = apart?.concat();
                let together = PROBED.iter().map(|text| tokenizer.whole("", text));
                let together = together.collect::<Result<Vec<_>>>()?;
                together.iter().all(|tokens| *tokens == apart)
            },
            sha256: sha256_of(&read(folder, TOKENIZER)?),
            tokenizer,
            after_space: false,
        })
    }

    /// The same that spells names as they are behind a space, in the middle of a text, where `yes`.
    /// Some tokenizers (GPT's, BART's) have other tokens for a word there than at the beginning.
    pub fn after_space(mut self, yes: bool) -> NameTokenizer {
        self.after_space = yes;
        self
    }

    /// Whether names are spelled as they are behind a space.
    pub fn is_after_space(&self) -> bool {
        self.after_space
    }

    /// What every token is below.
    pub fn vocabulary(&self) -> u32 {
        self.vocabulary
    }

    /// Hash of the `tokenizer.json`, in hexadecimal: catalogs and models with the same one
    /// understand each other.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether a word's tokens are the same wherever it stands.
    pub(crate) fn splits_at_words(&self) -> bool {
        self.splits_at_words
    }

    /// The tokens of a name, special tokens not included; None where the name has a part that the
    /// tokenizer does not know, or takes for one of its special tokens.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses, which published ones never do.
    pub fn tokens(&self, name: &str) -> Result<Option<Vec<u32>>> {
        let tokens = match self.after_space {
            true => self.tokenizer.whole("", &format!(" {name}"))?,
            false => self.tokenizer.whole("", name)?,
        };
        let known = tokens.iter().all(|token| !self.unusable.contains(token));
        Ok(known.then_some(tokens))
    }

    /// A text that tokens are read as; its own tokens may be others where the tokenizer cannot say.
    ///
    /// # Errors
    /// InvalidRequest for tokens that the tokenizer refuses.
    pub(crate) fn text_of(&self, tokens: &[u32]) -> Result<String> {
        let text = self.tokenizer.decode(tokens)?;
        Ok(text.trim().to_owned())
    }

    /// The tokens of a text as names are spelled, as [`NameTokenizer::text_tokens`].
    ///
    /// # Errors
    /// As [`NameTokenizer::tokens`].
    pub(crate) fn alone_tokens(&self, text: &str) -> Result<Vec<(u32, (usize, usize))>> {
        if !self.after_space {
            return self.text_tokens(text);
        }
        let mut tokens = self.text_tokens(&format!(" {text}"))?;
        for (_, (start, end)) in &mut tokens {
            (*start, *end) = (start.saturating_sub(1), end.saturating_sub(1));
        }
        Ok(tokens)
    }

    /// The tokens of a text, whatever they are, with the bytes of the text each of them stands
    /// for, but for the white space before it.
    ///
    /// # Errors
    /// As [`NameTokenizer::tokens`].
    pub fn text_tokens(&self, text: &str) -> Result<Vec<(u32, (usize, usize))>> {
        let mut tokens = self.tokenizer.tokens_with_spans(text)?;
        // Tokenizers that count the space before a word to it disagree about whether the span has it.
        for (_, (start, end)) in &mut tokens {
            let rest = text[*start..*end].trim_start();
            *start = *end - rest.len();
        }
        Ok(tokens)
    }
}
