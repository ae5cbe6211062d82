//! From text to the words that are indexed: the same chain for documents and queries.
//!
//! 1. Text is cut into words by Unicode's rules (UAX #29), then at what those rules
//!    leave joined between letters (`user_id`, `example.com`); numbers keep their
//!    points (`3.5`), abbreviations lose theirs (`U.S.A.` becomes `usa`).
//! 2. Scripts written without spaces (Han, Hiragana, Katakana, Hangul, Thai, Lao, Khmer,
//!    Burmese) are cut into overlapping bigrams, as Lucene's CJKAnalyzer does; a lone
//!    character stays a unigram.
//! 3. Width and compatibility forms are folded (NFKC) and letters lower-cased.
//! 4. As the field asks: stop words are left out, accents dropped, words stemmed. Accents
//!    go before stemming, so that `cafe` finds `café` whatever the stemmer thinks of é.
//! 5. Words longer than [`MAX_WORD_BYTES`] are left out: they are encoded data.
//!
//! Left-out words keep their position, so phrases do not match across them.

use std::collections::VecDeque;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenFilter, TokenStream,
    Tokenizer,
};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::{UWordBoundIndices, UnicodeSegmentation};

use crate::document::{Analysis, Language};

/// Longest word that is indexed, in bytes after folding.
const MAX_WORD_BYTES: usize = 128;

/// Version of the chain. It is part of the tokenizer's name and so of the index's
/// schema: changing what the chain yields and this number makes old directories rebuild.
const VERSION: u32 = 1;

/// The name under which tantivy knows an analysis.
pub(super) fn tokenizer_name(analysis: &Analysis) -> String {
    let language = match tantivy_language(analysis.language) {
        Some(_) => format!("{:?}", analysis.language).to_lowercase(),
        None => "none".to_string(),
    };
    format!(
        "words{VERSION}_{language}_{}{}{}",
        if analysis.stemming { "s" } else { "-" },
        if analysis.stop_words { "w" } else { "-" },
        if analysis.fold_accents { "a" } else { "-" },
    )
}

/// The chain for an analysis.
pub(super) fn analyzer(analysis: &Analysis) -> TextAnalyzer {
    let language = tantivy_language(analysis.language);
    let words = WordTokenizer {
        elisions: elisions(analysis.language),
    };
    let mut chain = TextAnalyzer::builder(words).dynamic();
    if let Some(stop) = language
        .filter(|_| analysis.stop_words)
        .and_then(StopWordFilter::new)
    {
        chain = chain.filter_dynamic(stop);
    }
    if analysis.fold_accents {
        chain = chain
            .filter_dynamic(DropMarks)
            .filter_dynamic(AsciiFoldingFilter);
    }
    if let Some(language) = language.filter(|_| analysis.stemming) {
        chain = chain.filter_dynamic(Stemmer::new(language));
    }
    chain.filter_dynamic(KeepFitting).build()
}

/// One analysed word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The word as indexed.
    pub text: String,
    /// Its position among the words of the text, left-out ones included.
    pub position: u32,
    /// Where it stands in the text, in bytes.
    pub span: std::ops::Range<usize>,
}

/// Runs the chain over a text.
pub(super) fn words(analyzer: &TextAnalyzer, text: &str) -> Vec<Word> {
    let mut analyzer = analyzer.clone();
    let mut stream = analyzer.token_stream(text);
    let mut words = Vec::new();
    while stream.advance() {
        let token = stream.token();
        words.push(Word {
            text: token.text.clone(),
            position: u32::try_from(token.position).unwrap_or(u32::MAX),
            span: token.offset_from..token.offset_to,
        });
    }
    words
}

/// English words by their stems, for whoever compares short texts without an index.
pub(crate) struct Stems(TextAnalyzer);

impl Stems {
    /// Without English's most frequent words.
    pub(crate) fn english() -> Stems {
        Stems(analyzer(&Analysis {
            language: Language::English,
            ..Analysis::default()
        }))
    }

    /// Words as they are written, in lower case and without accents: every one of them, no stems.
    pub(crate) fn plain() -> Stems {
        Stems(analyzer(&Analysis {
            language: Language::None,
            stemming: false,
            stop_words: false,
            fold_accents: true,
        }))
    }

    /// Words and where each stands in the text, in bytes.
    pub(crate) fn places(&self, text: &str) -> Vec<(String, std::ops::Range<usize>)> {
        let words = words(&self.0, text).into_iter();
        words.map(|word| (word.text, word.span)).collect()
    }

    /// The stems of a text's words, in their order.
    pub(crate) fn of(&self, text: &str) -> Vec<String> {
        let words = words(&self.0, text).into_iter();
        words.map(|word| word.text).collect()
    }
}

fn tantivy_language(language: Language) -> Option<tantivy::tokenizer::Language> {
    use tantivy::tokenizer::Language as T;
    Some(match language {
        Language::None => return None,
        Language::Danish => T::Danish,
        Language::Dutch => T::Dutch,
        Language::English => T::English,
        Language::Finnish => T::Finnish,
        Language::French => T::French,
        Language::German => T::German,
        Language::Hungarian => T::Hungarian,
        Language::Italian => T::Italian,
        Language::Norwegian => T::Norwegian,
        Language::Portuguese => T::Portuguese,
        Language::Russian => T::Russian,
        Language::Spanish => T::Spanish,
        Language::Swedish => T::Swedish,
    })
}

/// Articles and particles that melt into the next word before an apostrophe.
fn elisions(language: Language) -> &'static [&'static str] {
    match language {
        Language::French => &[
            "l", "m", "t", "qu", "n", "s", "j", "d", "c", "jusqu", "quoiqu", "lorsqu", "puisqu",
        ],
        Language::Italian => &[
            "c", "l", "all", "dall", "dell", "nell", "sull", "coll", "pell", "gl", "agl", "dagl",
            "degl", "negl", "sugl", "un", "m", "t", "s", "v", "d",
        ],
        _ => &[],
    }
}

/// Cuts, folds and lower-cases; see the module.
#[derive(Clone)]
struct WordTokenizer {
    elisions: &'static [&'static str],
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream {
            text,
            elisions: self.elisions,
            at: 0,
            run: None,
            unspaced: None,
            pending: VecDeque::new(),
            position: 0,
            token: Token::default(),
        }
    }
}

/// Yields words one at a time, so that a text of megabytes costs no more memory than
/// one of its words.
struct WordStream<'a> {
    text: &'a str,
    elisions: &'static [&'static str],
    /// Start of what no run has taken yet.
    at: usize,
    /// Words of the current run of spaced script, and where the run starts.
    run: Option<(usize, UWordBoundIndices<'a>)>,
    /// State inside a run of unspaced script.
    unspaced: Option<Bigrams<'a>>,
    /// Pieces of the current word, in order.
    pending: VecDeque<Piece>,
    position: usize,
    token: Token,
}

struct Piece {
    text: String,
    from: usize,
    to: usize,
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        match self.next_piece() {
            Some(piece) => {
                self.token.text = piece.text;
                self.token.offset_from = piece.from;
                self.token.offset_to = piece.to;
                self.token.position = self.position;
                self.token.position_length = 1;
                self.position += 1;
                true
            }
            None => false,
        }
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

impl WordStream<'_> {
    fn next_piece(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.pending.pop_front() {
                return Some(piece);
            }
            if let Some(bigrams) = &mut self.unspaced {
                match bigrams.next() {
                    Some(piece) => return Some(piece),
                    None => self.unspaced = None,
                }
            }
            if let Some((start, bounds)) = &mut self.run {
                match bounds.next() {
                    Some((offset, word)) => {
                        cut(word, *start + offset, self.elisions, &mut self.pending);
                    }
                    None => self.run = None,
                }
                continue;
            }
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            let unspaced = is_unspaced(first);
            let end = rest
                .char_indices()
                .find(|&(_, c)| is_unspaced(c) != unspaced && !is_mark(c))
                .map_or(rest.len(), |(i, _)| i);
            let run = &rest[..end];
            if unspaced {
                self.unspaced = Some(Bigrams::new(run, self.at));
            } else {
                self.run = Some((self.at, run.split_word_bound_indices()));
            }
            self.at += end;
        }
    }
}

/// Cuts one word of Unicode's into the pieces that are indexed.
fn cut(word: &str, at: usize, elisions: &[&str], out: &mut VecDeque<Piece>) {
    if !word.contains(char::is_alphanumeric) {
        return;
    }
    if word.bytes().all(|b| b.is_ascii_alphanumeric()) {
        out.push_back(Piece {
            text: word.to_ascii_lowercase(),
            from: at,
            to: at + word.len(),
        });
        return;
    }
    // Between letters only apostrophes join; between digits, points and commas too.
    let mut start = 0;
    let mut previous: Option<char> = None;
    let mut parts: Vec<(usize, usize)> = Vec::new();
    let mut chars = word.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let next = chars.peek().map(|&(_, c)| c);
        let joins = c.is_alphanumeric()
            || is_mark(c)
            || is_apostrophe(c)
                && previous.is_some_and(char::is_alphanumeric)
                && next.is_some_and(char::is_alphanumeric)
            || previous.is_some_and(char::is_numeric)
                && next.is_some_and(char::is_numeric)
                && c != '_';
        if !joins {
            if i > start {
                parts.push((start, i));
            }
            start = i + c.len_utf8();
        }
        previous = Some(c);
    }
    if word.len() > start {
        parts.push((start, word.len()));
    }
    // U.S.A is one word, not three.
    let initials = parts.len() > 1
        && word
            .chars()
            .all(|c| c == '.' || c.is_alphabetic() || is_mark(c))
        && parts.iter().all(|&(from, to)| {
            let mut letters = word[from..to].chars();
            letters.next().is_some_and(char::is_alphabetic) && letters.all(is_mark)
        });
    if initials {
        let joined: String = parts.iter().map(|&(from, to)| &word[from..to]).collect();
        out.push_back(Piece {
            text: fold(&joined),
            from: at,
            to: at + word.len(),
        });
        return;
    }
    for (from, to) in parts {
        let mut text = fold(&word[from..to]);
        let mut from = from;
        if let Some((before, after)) = text.split_once('\'')
            && elisions.contains(&before)
        {
            from += word[from..to].find(is_apostrophe).map_or(0, |i| {
                i + word[from + i..].chars().next().map_or(1, char::len_utf8)
            });
            text = after.to_string();
        }
        if !text.is_empty() {
            out.push_back(Piece {
                text,
                from: at + from,
                to: at + to,
            });
        }
    }
}

/// NFKC, lower case, one kind of apostrophe.
fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    word.nfkc()
        .flat_map(char::to_lowercase)
        // Lower-casing may take a composed letter apart (İ).
        .nfkc()
        .map(|c| if is_apostrophe(c) { '\'' } else { c })
        .collect()
}

/// Overlapping bigrams of a run of unspaced script.
struct Bigrams<'a> {
    clusters: unicode_segmentation::GraphemeIndices<'a>,
    start: usize,
    /// Units already folded, with their place in the text.
    units: VecDeque<(char, usize, usize)>,
    /// Whether a bigram of this run has been given, which makes a last lone unit
    /// part of it.
    given: bool,
}

impl<'a> Bigrams<'a> {
    fn new(run: &'a str, start: usize) -> Self {
        Bigrams {
            clusters: run.grapheme_indices(true),
            start,
            units: VecDeque::new(),
            given: false,
        }
    }

    fn next(&mut self) -> Option<Piece> {
        while self.units.len() < 2
            && let Some((offset, cluster)) = self.clusters.next()
        {
            let from = self.start + offset;
            for c in cluster.nfkc().flat_map(char::to_lowercase) {
                if c.is_alphanumeric() || is_mark(c) {
                    self.units.push_back((c, from, from + cluster.len()));
                }
            }
        }
        let (first, from, end) = self.units.pop_front()?;
        let mut text = String::from(first);
        let mut to = end;
        match self.units.front() {
            Some(&(second, _, second_end)) => {
                text.push(second);
                to = second_end;
            }
            None if self.given => return None,
            None => {}
        }
        self.given = true;
        Some(Piece { text, from, to })
    }
}

/// Scripts written without spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c as u32,
        0x0E00..=0x0EFF // Thai, Lao
        | 0x1000..=0x109F // Burmese
        | 0x1100..=0x11FF // Hangul letters
        | 0x1780..=0x17FF // Khmer
        | 0x2E80..=0x2FDF // radicals
        | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3031..=0x3035 // iteration marks, numerals
        | 0x3041..=0x30FA | 0x30FC..=0x30FF // Hiragana, Katakana without the middle dot
        | 0x3105..=0x312F | 0x3131..=0x318E | 0x31A0..=0x31BF // Bopomofo, Hangul letters
        | 0x31F0..=0x31FF // small Katakana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF // Han
        | 0xA960..=0xA97F | 0xAC00..=0xD7FF // Hangul
        | 0xF900..=0xFAFF // Han, compatibility
        | 0xFF66..=0xFFDC // halfwidth Katakana and Hangul
        | 0x1B000..=0x1B16F // historic Kana
        | 0x20000..=0x3FFFF // Han, supplementary planes
    )
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{02BC}' | '\u{FF07}')
}

fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Drops the accents that stand as marks of their own once letters are taken apart:
/// Latin beyond tantivy's table, Greek, Cyrillic. Cyrillic й stays a letter.
#[derive(Clone)]
struct DropMarks;

impl TokenFilter for DropMarks {
    type Tokenizer<T: Tokenizer> = DropMarksFrom<T>;

    fn transform<T: Tokenizer>(self, tokenizer: T) -> DropMarksFrom<T> {
        DropMarksFrom(tokenizer)
    }
}

#[derive(Clone)]
struct DropMarksFrom<T>(T);

impl<T: Tokenizer> Tokenizer for DropMarksFrom<T> {
    type TokenStream<'a> = DropMarksStream<T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        DropMarksStream(self.0.token_stream(text))
    }
}

struct DropMarksStream<T>(T);

impl<T: TokenStream> TokenStream for DropMarksStream<T> {
    fn advance(&mut self) -> bool {
        if !self.0.advance() {
            return false;
        }
        let token = self.0.token_mut();
        if !token.text.is_ascii() {
            token.text = without_marks(&token.text);
        }
        true
    }

    fn token(&self) -> &Token {
        self.0.token()
    }

    fn token_mut(&mut self) -> &mut Token {
        self.0.token_mut()
    }
}

/// Keeps words that can be indexed: not too long, and not one of which folding and stemming
/// left nothing.
#[derive(Clone)]
struct KeepFitting;

impl TokenFilter for KeepFitting {
    type Tokenizer<T: Tokenizer> = KeepFittingOf<T>;

    fn transform<T: Tokenizer>(self, tokenizer: T) -> KeepFittingOf<T> {
        KeepFittingOf(tokenizer)
    }
}

#[derive(Clone)]
struct KeepFittingOf<T>(T);

impl<T: Tokenizer> Tokenizer for KeepFittingOf<T> {
    type TokenStream<'a> = KeepFittingStream<T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        KeepFittingStream(self.0.token_stream(text))
    }
}

struct KeepFittingStream<T>(T);

impl<T: TokenStream> TokenStream for KeepFittingStream<T> {
    fn advance(&mut self) -> bool {
        while self.0.advance() {
            if (1..=MAX_WORD_BYTES).contains(&self.0.token().text.len()) {
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.0.token()
    }

    fn token_mut(&mut self) -> &mut Token {
        self.0.token_mut()
    }
}

fn without_marks(word: &str) -> String {
    let mut base = None;
    word.nfd()
        .filter(|&c| {
            if !('\u{0300}'..='\u{036F}').contains(&c) {
                base = Some(c);
                return true;
            }
            c == '\u{0306}' && matches!(base, Some('и' | 'И'))
        })
        .nfc()
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(analysis: &Analysis, text: &str) -> Vec<String> {
        words(&analyzer(analysis), text)
            .into_iter()
            .map(|w| w.text)
            .collect()
    }

    fn plain() -> Analysis {
        Analysis::default()
    }

    fn of(language: Language) -> Analysis {
        Analysis {
            language,
            ..Analysis::default()
        }
    }

    #[test]
    fn words_are_cut_where_people_expect() {
        for (text, expected) in [
            ("state-of-the-art", "state of the art"),
            ("version 3.5, 1,000 items", "version 3.5 1,000 items"),
            ("user_id of example.com", "user id of example com"),
            ("the U.S.A. and e.g. C++", "the usa and eg c"),
            ("What's “up”?", "what's up"),
            ("don’t", "don't"),
            ("ＡＢＣ１２３ ﬁne", "abc123 fine"),
            ("Ünïcode ÉCOLE Straße Łódź", "unicode ecole strasse lodz"),
            ("Ёлка йод Ὀδυσσεύς", "елка йод οδυσσευσ"),
            ("", ""),
            ("?! -- ... \u{200B}", ""),
            ("foo:bar a_b.c/d", "foo bar a b c d"),
            ("x86_64 utf8 3rd", "x86 64 utf8 3rd"),
        ] {
            let found = list(&plain(), text).join(" ");
            assert_eq!(found.replace('ς', "σ"), expected, "{text}");
        }
    }

    #[test]
    fn unspaced_scripts_become_bigrams() {
        for (text, expected) in [
            ("東京都", "東京 京都"),
            ("東", "東"),
            ("我用Rust写代码", "我用 rust 写代 代码"),
            ("ｶﾞｲﾄﾞ", "ガイ イド"),
            ("データベース", "デー ータ タベ ベー ース"),
            ("한국어 검색", "한국 국어 검색"),
            ("東京・大阪", "東京 大阪"),
        ] {
            assert_eq!(list(&plain(), text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn languages_stem_and_drop_their_stop_words() {
        assert_eq!(
            list(&of(Language::English), "The dogs were running"),
            ["dog", "were", "run"]
        );
        assert_eq!(list(&of(Language::English), "John's"), ["john"]);
        assert_eq!(
            list(&of(Language::French), "l’avion d'Air France"),
            list(&of(Language::French), "avion air france")
        );
        let words = words(&analyzer(&of(Language::English)), "cats and dogs");
        assert_eq!(words[1].position, 2, "a stop word keeps its place");
        assert_eq!(words[1].span, 9..13);
    }

    #[test]
    fn accents_match_without_them_in_every_language() {
        for language in [
            Language::French,
            Language::Spanish,
            Language::German,
            Language::None,
        ] {
            for (accented, bare) in [
                ("café", "cafe"),
                ("canción", "cancion"),
                ("Müller", "Muller"),
            ] {
                assert_eq!(list(&of(language), accented), list(&of(language), bare));
            }
        }
    }

    #[test]
    fn long_and_large_texts_are_no_trouble() {
        assert!(list(&plain(), &"x".repeat(1_000_000)).is_empty());
        assert_eq!(list(&plain(), &"word ".repeat(100_000)).len(), 100_000);
        assert_eq!(list(&plain(), &"漢".repeat(100_000)).len(), 99_999);
        list(&plain(), &"e\u{0301}".repeat(100_000));
        list(&plain(), &"\u{0301}".repeat(100_000));
        let words = list(&of(Language::English), "𐞖𝀀 x");
        assert!(!words.iter().any(String::is_empty), "{words:?}");
    }

    proptest! {
        #[test]
        fn spans_lie_on_characters_and_in_order(text in "\\PC{0,60}") {
            for analysis in [plain(), of(Language::French), of(Language::English)] {
                let mut last = 0;
                for word in words(&analyzer(&analysis), &text) {
                    prop_assert!(text.get(word.span.clone()).is_some());
                    prop_assert!(word.span.start >= last);
                    prop_assert!(!word.text.is_empty());
                    last = word.span.start;
                }
            }
        }
    }
}
