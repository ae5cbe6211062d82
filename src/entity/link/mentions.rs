//! Where a text speaks of entities: stretches that are spelled like a name or an alias.
//!
//! The tries of names and aliases are the automaton: from every beginning of a word the text's
//! tokens are followed down as far as they go. Stretches end where words end; of those that
//! overlap the longest stays, of equally long ones the first.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::view::View;
use crate::error::Result;

/// Which stretches count as mentions.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Mentions {
    /// Those that begin with a capital letter, or one without case, where the text has small ones too:
    /// right for names of people and places in languages that write these so.
    #[default]
    Capitalized,
    /// All that the catalog has: right for catalogs of things that are written small.
    All,
}

/// A stretch of a text that may mean an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

/// Most tokens of a mention that are followed.
const LONGEST: usize = 32;
/// Bytes from the beginning of a word on that are looked at where tokens depend on their place.
const WINDOW: usize = 256;

/// English words that are no mention by themselves, whatever a catalog has.
const COMMON: &str = " a about after again all also although am an and another any are as at be \
    because been before being between both but by can could did do does down during each even \
    every few for from had has have he her here his how however i if in into is it its just last \
    like many may me meanwhile more most much must my new next no nor not now of off on once one \
    only or other our out over own said same she should since so some still such than that the \
    their them then there these they this those three through to today tomorrow too two under \
    until up us very was we were what when where which while who why will with would yes \
    yesterday yet you your ";

/// The mentions of a text, in its order; none overlaps another.
pub(super) fn detect(view: &View, text: &str, which: Mentions) -> Result<Vec<Stretch>> {
    let tokens = view.tokenizer().text_tokens(text)?;
    let filter = Filter::new(text, which);
    let local = view.tokenizer().splits_at_words();
    let mut found = Vec::new();
    let mut last_start = None;
    for (at, &(_, (start, _))) in tokens.iter().enumerate() {
        if last_start == Some(start) || !begins_word(text, start) {
            continue;
        }
        last_start = Some(start);
        let mut longest = None;
        let mut follow = |following: &mut dyn Iterator<Item = (u32, usize)>| {
            let mut name = Some(view.root());
            let mut alias = view.alias_root();
            for (length, (token, end)) in following.take(LONGEST).enumerate() {
                name = name.and_then(|node| view.child(node, token));
                alias = alias.and_then(|node| view.alias_child(node, token));
                if name.is_none() && alias.is_none() {
                    break;
                }
                let ends = name.is_some_and(|node| view.ends(node))
                    || alias.is_some_and(|node| view.alias_ends(node));
                if ends && ends_word(text, end) && filter.takes(&text[start..end], start) {
                    longest = Some((end, length + 1));
                }
            }
        };
        if local {
            follow(&mut tokens[at..].iter().map(|&(token, (_, end))| (token, end)));
        } else {
            // What a name is spelled with where it stands alone.
            let end = text.floor_char_boundary((start + WINDOW).min(text.len()));
            let alone = view.tokenizer().alone_tokens(&text[start..end])?;
            follow(&mut alone.iter().map(|&(token, (_, end))| (token, start + end)));
        }
        if let Some((end, length)) = longest {
            found.push((length, start, end));
        }
    }
    found.sort_by_key(|&(length, start, _)| (std::cmp::Reverse(length), start));
    let mut kept: std::collections::BTreeMap<usize, usize> = Default::default();
    for (_, start, end) in found {
        let before = kept.range(..end).next_back();
        if before.is_none_or(|(_, &other)| other <= start) {
            kept.insert(start, end);
        }
    }
    kept.into_iter()
        .map(|(start, end)| {
            let tokens = view.tokenizer().tokens(&text[start..end])?;
            Ok(Stretch {
                start,
                end,
                tokens: tokens.unwrap_or_default(),
            })
        })
        .collect()
}

pub(super) fn begins_word(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at..].chars().next();
    after.is_some_and(char::is_alphanumeric)
        && (!before.is_some_and(char::is_alphanumeric) || apart(before, after))
}

pub(super) fn ends_word(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at..].chars().next();
    !(before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric))
        || apart(before, after)
}

/// Whether what is written next to each other need not be one word: one of the two is of a script
/// that has no spaces between words.
fn apart(before: Option<char>, after: Option<char>) -> bool {
    before.is_some_and(is_unspaced) || after.is_some_and(is_unspaced)
}

/// Thai, Lao, Myanmar, Khmer; kana, and Han with its extensions.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{2fff}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// What a stretch has to look like.
struct Filter<'a> {
    text: &'a str,
    which: Mentions,
    /// Words that the text has in small letters.
    small: HashSet<&'a str>,
    capitals_only: bool,
}

impl<'a> Filter<'a> {
    fn new(text: &'a str, which: Mentions) -> Filter<'a> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let small = words.filter(|word| word.chars().all(char::is_lowercase));
        Filter {
            text,
            which,
            small: small.collect(),
            capitals_only: !text.chars().any(char::is_lowercase),
        }
    }

    fn takes(&self, stretch: &str, start: usize) -> bool {
        let lower = stretch.to_lowercase();
        if !lower.contains(char::is_whitespace) && COMMON.contains(&format!(" {lower} ")) {
            return false;
        }
        if !stretch.chars().any(char::is_alphabetic) {
            return false;
        }
        if self.which == Mentions::All || self.capitals_only {
            return true;
        }
        // Letters without case are as good as capitals.
        let caseless = |c: char| c.is_alphabetic() && !c.is_lowercase();
        if !stretch.chars().next().is_some_and(caseless) {
            return false;
        }
        // A capital that only begins a sentence says nothing.
        let before = self.text[..start].trim_end();
        let begins = before.is_empty() || before.ends_with(['.', '!', '?', ':', '"', '\n']);
        !(begins && self.small.contains(lower.as_str()))
    }
}
