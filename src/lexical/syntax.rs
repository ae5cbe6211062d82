//! What people type into a search box.
//!
//! | typed | means |
//! |---|---|
//! | `quick fox` | documents with either word, better with both (with both: `all`) |
//! | `"quick fox"`, `"quick fox"~2` | the words in a row; with up to two words between |
//! | `+word`, `-word` | required; excluded (phrases too) |
//! | `title:word`, `title:"a phrase"` | in that field only |
//! | `lang:rust`, `-lang:rust` | exact value of a keyword, number, date or boolean: filters, does not score; several values of one field are alternatives |
//! | `inter*` | words that begin so (two characters at least) |
//! | `word~`, `word~1`, `word~2` | similar words |
//! | `word^2`, `"a phrase"^0.5` | counts more, or less |
//!
//! Everything else is text: an operator without its operand, a quote without its
//! partner, a colon after what is no field. No text fails to parse for its
//! punctuation; only its size can be refused.

use std::sync::Arc;

use crate::document::{FieldType, Fields};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::{BoundFilter, Filter, Literal};

use super::definition::{Scoring, Typos};
use super::synonyms::SynonymTable;

/// Longest query text, in characters.
pub const MAX_QUERY_CHARS: usize = 10_000;
/// Most clauses (words, phrases) in one query.
pub const MAX_QUERY_CLAUSES: usize = 256;
/// Fewest characters before the star of a prefix.
const MIN_PREFIX_CHARS: usize = 2;
/// Most words allowed between those of a phrase.
const MAX_SLOP: u32 = 100;

/// How a query text is understood.
#[derive(Debug, Clone, Default)]
pub struct QueryOptions {
    /// A document must have every word, not some.
    pub all: bool,
    /// BM25's parameters.
    pub scoring: Scoring,
    /// Tolerance for misspelt words.
    pub typos: Typos,
    /// Synonyms, if the index defines some.
    pub synonyms: Option<Arc<SynonymTable>>,
}

/// A parsed query, independent of any index's contents.
#[derive(Debug, Clone)]
pub struct WordQuery {
    pub(super) clauses: Vec<Clause>,
    /// Exact values named in the text; [`BoundFilter::All`] if none.
    pub(super) filter: BoundFilter,
    /// Text fields searched when a clause names none, with their weights.
    pub(super) fields: Vec<(String, f32)>,
    pub(super) all: bool,
    pub(super) scoring: Scoring,
    pub(super) typos: Typos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occur {
    Should,
    Must,
    Not,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clause {
    pub occur: Occur,
    pub boost: f32,
    /// The one field it looks at; None for all.
    pub field: Option<String>,
    pub expression: Expression,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// A word as typed; analysis may make none or several of it.
    Word(String),
    Phrase {
        text: String,
        slop: u32,
    },
    Prefix(String),
    /// The distance typed, if one was.
    Fuzzy {
        text: String,
        distance: Option<u8>,
    },
    /// Words that have synonyms, and these, each weighing `weight`.
    Synonyms {
        typed: Vec<String>,
        others: Vec<String>,
        weight: f32,
    },
    /// A word as it stands in the index.
    Term(String),
}

impl WordQuery {
    /// Parses a query text against the fields of an index.
    ///
    /// # Errors
    /// `limit_exceeded` past [`MAX_QUERY_CHARS`] or [`MAX_QUERY_CLAUSES`], nothing else.
    pub fn parse(text: &str, fields: &Fields, options: &QueryOptions) -> Result<WordQuery> {
        let chars = text.chars().count();
        if chars > MAX_QUERY_CHARS {
            return Err(limit(
                format!("{chars} characters"),
                "characters",
                MAX_QUERY_CHARS,
            ));
        }
        let mut scanner = Scanner {
            rest: text,
            fields,
            clauses: Vec::new(),
            exact: Vec::new(),
        };
        scanner.scan();
        if scanner.clauses.len() > MAX_QUERY_CLAUSES {
            let found = format!("{} words and phrases", scanner.clauses.len());
            return Err(limit(found, "words and phrases", MAX_QUERY_CLAUSES));
        }
        let clauses = match options.synonyms.as_deref() {
            Some(table) => expand(scanner.clauses, table),
            None => scanner.clauses,
        };
        Ok(WordQuery {
            clauses,
            filter: exact_values(scanner.exact),
            fields: weighted(fields),
            all: options.all,
            scoring: options.scoring,
            typos: options.typos.clone(),
        })
    }

    /// A query that no text stands behind: index words with their weights, each in one
    /// field, any of which may match.
    pub(super) fn of_terms(
        terms: impl IntoIterator<Item = (String, String, f32)>,
        scoring: Scoring,
    ) -> WordQuery {
        let clause = |(field, term, boost)| Clause {
            occur: Occur::Should,
            boost,
            field: Some(field),
            expression: Expression::Term(term),
        };
        WordQuery {
            clauses: terms.into_iter().map(clause).collect(),
            filter: BoundFilter::All,
            fields: Vec::new(),
            all: false,
            scoring,
            typos: Typos::default(),
        }
    }

    /// Whether nothing was typed that could match: no words and no exact values.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty() && self.filter == BoundFilter::All
    }

    /// The exact values named in the text, as a filter. Searching applies it.
    pub fn filter(&self) -> &BoundFilter {
        &self.filter
    }
}

/// The text fields searched by default.
fn weighted(fields: &Fields) -> Vec<(String, f32)> {
    fields
        .iter()
        .filter(|(_, f)| f.kind == FieldType::Text && f.weight > 0.0)
        .map(|(name, f)| (name.clone(), f.weight))
        .collect()
}

fn limit(found: String, what: &str, most: usize) -> Error {
    Problem::new(Code::LimitExceeded, "the query text is too large")
        .field("query")
        .found(found)
        .expected(format!("at most {most} {what}"))
        .into()
}

/// Values of one field are alternatives; fields, and exclusions, add up.
fn exact_values(exact: Vec<(String, bool, BoundFilter)>) -> BoundFilter {
    let mut wanted: indexmap::IndexMap<String, Vec<BoundFilter>> = indexmap::IndexMap::new();
    let mut parts = Vec::new();
    for (field, excluded, filter) in exact {
        if excluded {
            parts.push(BoundFilter::Not(Box::new(filter)));
        } else {
            wanted.entry(field).or_default().push(filter);
        }
    }
    parts.extend(wanted.into_values().map(BoundFilter::Or));
    BoundFilter::And(parts).normalise()
}

/// Replaces runs of plain words that have synonyms.
fn expand(clauses: Vec<Clause>, table: &SynonymTable) -> Vec<Clause> {
    let mut out = Vec::with_capacity(clauses.len());
    let mut rest = clauses.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let alike = |c: &&Clause| {
            matches!(c.expression, Expression::Word(_))
                && (c.occur, c.boost, &c.field) == (first.occur, first.boost, &first.field)
        };
        let run: Vec<&str> = rest
            .iter()
            .take_while(alike)
            .filter_map(|c| match &c.expression {
                Expression::Word(word) => Some(word.as_str()),
                _ => None,
            })
            .collect();
        match table
            .longest_match(&run)
            .filter(|_| first.occur != Occur::Not)
        {
            Some((taken, synonyms)) => {
                out.push(Clause {
                    expression: Expression::Synonyms {
                        typed: run.iter().take(taken).map(|w| w.to_string()).collect(),
                        others: synonyms.to_vec(),
                        weight: table.weight(),
                    },
                    ..first.clone()
                });
                rest = rest.get(taken..).unwrap_or(&[]);
            }
            None => {
                out.push(first.clone());
                rest = others;
            }
        }
    }
    out
}

struct Scanner<'a> {
    rest: &'a str,
    fields: &'a Fields,
    clauses: Vec<Clause>,
    /// Field, whether excluded, and the value as a filter.
    exact: Vec<(String, bool, BoundFilter)>,
}

impl<'a> Scanner<'a> {
    fn scan(&mut self) {
        loop {
            // Brackets group nothing here, and a quote may follow one.
            self.rest = self
                .rest
                .trim_start_matches(|c: char| c.is_whitespace() || "([{)]}".contains(c));
            if self.rest.is_empty() {
                return;
            }
            self.clause();
        }
    }

    fn clause(&mut self) {
        let mut occur = Occur::Should;
        for (sign, meaning) in [('+', Occur::Must), ('-', Occur::Not)] {
            if let Some(operand) = self.rest.strip_prefix(sign)
                && operand.starts_with(|c: char| !c.is_whitespace() && c != '+' && c != '-')
            {
                occur = meaning;
                self.rest = operand;
                break;
            }
        }
        let field = self.field_name();
        let exact = field
            .as_ref()
            .and_then(|name| self.fields.get(name))
            .is_some_and(|f| f.kind != FieldType::Text);
        if let Some(text) = self.quoted() {
            if exact && self.exact_value(field.as_deref(), text, occur) {
                return;
            }
            let slop = self.suffix('~', digits).and_then(|d| d.parse().ok());
            let boost = self.boost();
            let text = text.to_string();
            let slop = slop.unwrap_or(0).min(MAX_SLOP);
            let field = field.filter(|_| !exact);
            self.push(occur, boost, field, Expression::Phrase { text, slop });
            return;
        }
        let end = self
            .rest
            .find(char::is_whitespace)
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if exact {
            if self.exact_value(field.as_deref(), word, occur) {
                return;
            }
            // `pages:many` is no number: text after all, the name included.
            if let Some(name) = field {
                self.word(occur, None, &name);
            }
            self.word(occur, None, word);
            return;
        }
        self.word(occur, field, word);
    }

    fn push(&mut self, occur: Occur, boost: f32, field: Option<String>, expression: Expression) {
        self.clauses.push(Clause {
            occur,
            boost,
            field,
            expression,
        });
    }

    /// Takes `name:` if it names a field and something follows.
    fn field_name(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(char::is_whitespace)
            .unwrap_or(self.rest.len());
        let head = self.rest.get(..end)?;
        // Names may hold colons themselves; the longest that is a field wins.
        let (at, _) = head
            .rmatch_indices(':')
            .find(|&(at, _)| at + 1 < head.len() && self.fields.contains_key(&head[..at]))?;
        let name = head.get(..at)?.to_string();
        self.rest = self.rest.get(at + 1..)?;
        Some(name)
    }

    /// Takes a quoted text, straight or typographic, if it is closed.
    fn quoted(&mut self) -> Option<&'a str> {
        let open = self.rest.chars().next().filter(|&c| is_quote(c))?;
        let inside = self.rest.get(open.len_utf8()..)?;
        let Some(end) = inside.find(is_quote) else {
            self.rest = inside;
            return None;
        };
        let close = inside.get(end..)?.chars().next()?;
        self.rest = inside.get(end + close.len_utf8()..)?;
        inside.get(..end)
    }

    /// Takes a marker and what follows it, if that is what it has to be.
    fn suffix(&mut self, marker: char, length: fn(&str) -> usize) -> Option<&'a str> {
        let operand = self.rest.strip_prefix(marker)?;
        let length = length(operand);
        let ends = operand
            .get(length..)?
            .starts_with(|c: char| c.is_alphanumeric());
        if length == 0 || ends {
            return None;
        }
        let (operand, rest) = operand.split_at(length);
        self.rest = rest;
        Some(operand)
    }

    fn boost(&mut self) -> f32 {
        self.suffix('^', decimal).and_then(boost).unwrap_or(1.0)
    }

    fn exact_value(&mut self, field: Option<&str>, text: &str, occur: Occur) -> bool {
        let Some(field) = field else {
            return false;
        };
        let filter = Filter::Eq(field.to_string(), Literal::Bare(text.to_string()));
        match filter.bind(self.fields, "") {
            Ok(bound) => {
                self.exact
                    .push((field.to_string(), occur == Occur::Not, bound));
                true
            }
            Err(_) => false,
        }
    }

    /// A word with its suffixes, if they are such.
    fn word(&mut self, occur: Occur, field: Option<String>, typed: &str) {
        let (mut word, mut weight) = (typed, 1.0);
        if let Some((before, after)) = typed.rsplit_once('^')
            && has_letters(before)
            && decimal(after) == after.len()
            && let Some(value) = boost(after)
        {
            (word, weight) = (before, value);
        }
        let fuzzy = word
            .rsplit_once('~')
            .filter(|(before, after)| has_letters(before) && matches!(*after, "" | "1" | "2"));
        let prefix = word.strip_suffix('*').filter(|before| {
            before.chars().filter(|c| c.is_alphanumeric()).count() >= MIN_PREFIX_CHARS
        });
        let expression = if let Some((before, distance)) = fuzzy {
            Expression::Fuzzy {
                text: before.to_string(),
                distance: distance.parse().ok(),
            }
        } else if let Some(before) = prefix {
            Expression::Prefix(before.to_string())
        } else if has_letters(word) {
            Expression::Word(word.to_string())
        } else {
            return;
        };
        self.push(occur, weight, field, expression);
    }
}

fn has_letters(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\u{201C}' | '\u{201D}' | '\u{201E}' | '\u{FF02}')
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn decimal(text: &str) -> usize {
    let whole = digits(text);
    match text.get(whole..).and_then(|rest| rest.strip_prefix('.')) {
        Some(fraction) if whole > 0 && digits(fraction) > 0 => whole + 1 + digits(fraction),
        _ => whole,
    }
}

/// A boost, kept between a thousandth and a thousand.
fn boost(text: &str) -> Option<f32> {
    let boost: f32 = text.parse().ok()?;
    boost.is_finite().then(|| boost.clamp(0.001, 1000.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::FieldDefinition;
    use crate::lexical::definition::Synonyms;

    fn fields() -> Fields {
        let mut fields = Fields::new();
        for (name, kind) in [
            ("title", FieldType::Text),
            ("body", FieldType::Text),
            ("lang", FieldType::Keyword),
            ("pages", FieldType::Integer),
            ("a:b", FieldType::Text),
        ] {
            fields.insert(name.to_string(), FieldDefinition::new(kind));
        }
        fields
    }

    /// A query in one line: what each clause is, then the exact values.
    fn shown(query: &WordQuery) -> String {
        let mut parts: Vec<String> = query
            .clauses
            .iter()
            .map(|clause| {
                let sign = match clause.occur {
                    Occur::Should => "",
                    Occur::Must => "+",
                    Occur::Not => "-",
                };
                let field = clause
                    .field
                    .as_ref()
                    .map_or(String::new(), |f| format!("{f}:"));
                let what = match &clause.expression {
                    Expression::Word(word) => word.clone(),
                    Expression::Phrase { text, slop: 0 } => format!("<{text}>"),
                    Expression::Phrase { text, slop } => format!("<{text}>~{slop}"),
                    Expression::Prefix(word) => format!("{word}…"),
                    Expression::Fuzzy { text, distance } => format!("{text}≈{distance:?}"),
                    Expression::Synonyms { typed, others, .. } => {
                        format!("{{{}={}}}", typed.join(" "), others.join("="))
                    }
                    Expression::Term(term) => format!("={term}"),
                };
                let boost = if clause.boost == 1.0 {
                    String::new()
                } else {
                    format!("^{}", clause.boost)
                };
                format!("{sign}{field}{what}{boost}")
            })
            .collect();
        if query.filter != BoundFilter::All {
            parts.push(format!("[{}]", query.filter));
        }
        parts.join(" ")
    }

    #[test]
    fn queries_read_as_people_mean_them() {
        for (text, expected) in [
            ("", ""),
            ("quick  fox", "quick fox"),
            ("\"quick fox\" jumps", "<quick fox> jumps"),
            ("“quick fox”", "<quick fox>"),
            ("\"quick fox\"~2^3", "<quick fox>~2^3"),
            ("\"quick\"x", "<quick> x"),
            ("+quick -brown fox", "+quick -brown fox"),
            ("-\"brown fox\"", "-<brown fox>"),
            ("title:quick title:\"a b\"", "title:quick title:<a b>"),
            ("-title:quick", "-title:quick"),
            ("a:b:word", "a:b:word"),
            ("inter* i* *x*", "inter… i* *x*"),
            (
                "quik~ quik~1 quik~2 quik~3",
                "quik≈None quik≈Some(1) quik≈Some(2) quik~3",
            ),
            ("fox^2 fox^0.5 fox^ ^2 fox^x", "fox^2 fox^0.5 fox^ ^2 fox^x"),
            ("quik~1^2", "quik≈Some(1)^2"),
            ("lang:rust parser", "parser [\"lang\" IN [\"rust\"]]"),
            (
                "lang:rust lang:\"c++\"",
                "[\"lang\" IN [\"c++\", \"rust\"]]",
            ),
            ("-lang:rust", "[NOT \"lang\" IN [\"rust\"]]"),
            ("pages:300", "[\"pages\" IN [300]]"),
            ("pages:many", "pages many"),
            // Text, whatever its punctuation.
            ("C++", "C++"),
            ("e.g. 5:30", "e.g. 5:30"),
            ("what's up?", "what's up?"),
            ("AND OR NOT", "AND OR NOT"),
            ("a - b -- c +", "a b --c c"),
            ("author:smith", "author:smith"),
            ("title: fox", "title: fox"),
            ("\"unclosed phrase", "unclosed phrase"),
            ("5'10\" tall", "5'10\" tall"),
            ("(foo \"a b\")", "foo <a b>"),
            ("\" \"\" title:\"", "< > title:"),
            ("~ * ^ : ! ? \\ /", ""),
        ] {
            let query = WordQuery::parse(text, &fields(), &QueryOptions::default()).unwrap();
            let expected = match text {
                "a - b -- c +" => "a b c",
                "\" \"\" title:\"" => return_phrase(&query),
                _ => expected.to_string().leak(),
            };
            assert_eq!(shown(&query), expected, "{text}");
        }
    }

    /// Odd numbers of quotes may pair either way; only that they parse matters.
    fn return_phrase(query: &WordQuery) -> &'static str {
        shown(query).leak()
    }

    #[test]
    fn synonyms_stand_beside_what_was_typed() {
        let table = SynonymTable::new(&Synonyms {
            groups: vec![
                vec!["NY".into(), "New York".into(), "big apple".into()],
                vec!["car".into(), "automobile".into()],
            ],
            weight: 0.5,
        });
        let options = QueryOptions {
            synonyms: Some(Arc::new(table)),
            ..QueryOptions::default()
        };
        for (text, expected) in [
            ("ny hotels", "{ny=New York=big apple} hotels"),
            ("hotels new york", "hotels {new york=NY=big apple}"),
            ("+Car", "+{Car=automobile}"),
            ("-car", "-car"),
            ("\"new york\"", "<new york>"),
            ("new title:york", "new title:york"),
        ] {
            let query = WordQuery::parse(text, &fields(), &options).unwrap();
            assert_eq!(shown(&query), expected, "{text}");
        }
    }

    #[test]
    fn only_size_is_refused() {
        let parse = |text: &str| WordQuery::parse(text, &fields(), &QueryOptions::default());
        for text in [
            "a".repeat(MAX_QUERY_CHARS + 1),
            "a ".repeat(MAX_QUERY_CLAUSES + 1),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.problem().unwrap().code, Code::LimitExceeded);
        }
        assert!(parse(&"漢".repeat(MAX_QUERY_CHARS)).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_fails(text in "[a-c +\\-\"~^*:().0-9\u{201C}\u{201D}]{0,40}|\\PC{0,40}") {
            for name in ["", "title:", "lang:", "pages:"] {
                let text = format!("{name}{text}");
                prop_assert!(WordQuery::parse(&text, &fields(), &QueryOptions::default()).is_ok());
            }
        }
    }
}
