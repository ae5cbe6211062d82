//! The filter language.
//!
//! ```text
//! filter     = and { OR and }
//! and        = unary { AND unary }
//! unary      = NOT unary | "(" filter ")" | EXISTS name | comparison
//! comparison = name ( "=" | "!=" ) ( value | range ) | name ( "<" | "<=" | ">" | ">=" ) value
//!            | name [ NOT ] IN ( "[" values "]" | "(" values ")" )
//! range      = [ value ] ".." [ value ]
//! value      = quoted | bare
//! ```

use std::borrow::Cow;

use serde_json::Value as Json;
use winnow::Parser;
use winnow::ascii::{Caseless, multispace0};
use winnow::combinator::{alt, delimited, opt, preceded, separated};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Stateful, Stream};
use winnow::token::{any, literal, take_while};

use super::ast::{Filter, Literal, Range, problem, too_deep, too_long_a_list, too_many_clauses};
use super::{MAX_CLAUSES, MAX_DEPTH, MAX_LIST};
use crate::error::Problem;

/// How deep we are and how many comparisons we have seen, so that no text overflows
/// the stack or builds a tree out of proportion.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    depth: usize,
    clauses: usize,
}

type Input<'i> = Stateful<&'i str, Size>;
type Parsed<T> = Result<T, ErrMode<Wrong>>;

/// What went wrong, and with how much text left, which tells where.
#[derive(Debug)]
struct Wrong {
    left: usize,
    expected: Cow<'static, str>,
    problem: Option<Box<Problem>>,
}

impl<'i> ParserError<Input<'i>> for Wrong {
    type Inner = Self;

    fn from_input(input: &Input<'i>) -> Self {
        Wrong {
            left: input.input.len(),
            expected: Cow::Borrowed("a comparison"),
            problem: None,
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// An error no alternative can mend.
fn wrong<T>(input: &Input<'_>, expected: &'static str) -> Parsed<T> {
    let mut wrong = Wrong::from_input(input);
    wrong.expected = Cow::Borrowed(expected);
    Err(ErrMode::Backtrack(wrong).cut())
}

fn refuse<T>(input: &Input<'_>, problem: Problem) -> Parsed<T> {
    let mut wrong = Wrong::from_input(input);
    wrong.problem = Some(Box::new(problem));
    Err(ErrMode::Backtrack(wrong).cut())
}

/// Longest piece of the filter text that an error repeats, in characters.
const EXCERPT_CHARS: usize = 40;

/// Reads a text that stands `depth` levels deep in a filter of which `clauses`
/// comparisons were read before; what the text holds is added to them.
pub(super) fn parse(text: &str, depth: usize, clauses: &mut usize) -> Result<Filter, Problem> {
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let mut input = Input {
        input: text,
        state: Size {
            depth,
            clauses: *clauses,
        },
    };
    let parsed = any_of(&mut input).and_then(|filter| {
        if input.input.is_empty() {
            Ok(filter)
        } else {
            wrong(&input, "AND, OR, or the end of the filter")
        }
    });
    *clauses = input.state.clauses;
    parsed.map_err(|error| {
        let wrong = match error {
            ErrMode::Backtrack(wrong) | ErrMode::Cut(wrong) => wrong,
            ErrMode::Incomplete(_) => Wrong::from_input(&input),
        };
        if let Some(problem) = wrong.problem {
            return *problem;
        }
        let at = text.len().saturating_sub(wrong.left);
        let rest: String = text
            .get(at..)
            .unwrap_or("")
            .chars()
            .take(EXCERPT_CHARS)
            .collect();
        let character = text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        problem(format!(
            "the filter cannot be read at character {character}"
        ))
        .field("filter")
        .found(if rest.is_empty() {
            "the end".into()
        } else {
            rest
        })
        .expected(wrong.expected)
    })
}

/// `and { OR and }`
fn any_of(input: &mut Input<'_>) -> Parsed<Filter> {
    let mut parts = vec![all_of(input)?];
    while keyword(input, "or")? {
        parts.push(all_of(input)?);
    }
    Ok(one_or(parts, Filter::Or))
}

/// `unary { AND unary }`
fn all_of(input: &mut Input<'_>) -> Parsed<Filter> {
    let mut parts = vec![unary(input)?];
    while keyword(input, "and")? {
        parts.push(unary(input)?);
    }
    Ok(one_or(parts, Filter::And))
}

fn one_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return only;
    }
    many(parts)
}

fn unary(input: &mut Input<'_>) -> Parsed<Filter> {
    input.state.depth += 1;
    if input.state.depth > MAX_DEPTH {
        return refuse(input, too_deep());
    }
    let filter = if keyword(input, "not")? {
        Filter::Not(Box::new(unary(input)?))
    } else if keyword(input, "exists")? {
        match opt(spaced(name)).parse_next(input)? {
            Some(field) => Filter::Exists(field),
            None => return wrong(input, "the name of a field after EXISTS"),
        }
    } else if opt(spaced('(')).parse_next(input)?.is_some() {
        let inner = any_of(input)?;
        if opt(spaced(')')).parse_next(input)?.is_none() {
            return wrong(input, "AND, OR or a closing parenthesis");
        }
        inner
    } else {
        comparison(input)?
    };
    input.state.depth -= 1;
    Ok(filter)
}

fn comparison(input: &mut Input<'_>) -> Parsed<Filter> {
    input.state.clauses += 1;
    if input.state.clauses > MAX_CLAUSES {
        return refuse(input, too_many_clauses());
    }
    let Some(field) = opt(spaced(name)).parse_next(input)? else {
        return wrong(
            input,
            "the name of a field, NOT, EXISTS or an opening parenthesis",
        );
    };
    let operator = opt(spaced(alt(("!=", "<=", ">=", "=", "<", ">")))).parse_next(input)?;
    let Some(operator) = operator else {
        if keyword(input, "starts")? {
            return starts_with(field, input);
        }
        let negated = keyword(input, "not")?;
        if !keyword(input, "in")? {
            return wrong(input, "=, !=, <, <=, >, >=, IN, NOT IN or STARTS WITH");
        }
        let filter = Filter::In(field, list(input)?);
        return Ok(if negated { not(filter) } else { filter });
    };
    if operator == "=" || operator == "!=" {
        let filter = match value_or_range(input)? {
            Ok(value) => Filter::Eq(field, value),
            Err(range) => Filter::Range(field, Box::new(range)),
        };
        return Ok(if operator == "!=" {
            not(filter)
        } else {
            filter
        });
    }
    let Some(value) = opt(spaced(value)).parse_next(input)? else {
        return wrong(input, "a value");
    };
    let value = Some(value);
    let mut range = Range::default();
    match operator {
        "<" => range.lt = value,
        "<=" => range.lte = value,
        ">" => range.gt = value,
        _ => range.gte = value,
    }
    Ok(Filter::Range(field, Box::new(range)))
}

/// What follows `field STARTS`.
fn starts_with(field: String, input: &mut Input<'_>) -> Parsed<Filter> {
    if !keyword(input, "with")? {
        return wrong(input, "WITH after STARTS");
    }
    match opt(spaced(name)).parse_next(input)? {
        Some(prefix) => Ok(Filter::Prefix(field, prefix)),
        None => wrong(input, "a text after STARTS WITH"),
    }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

fn list(input: &mut Input<'_>) -> Parsed<Vec<Literal>> {
    let close = match opt(spaced(alt(('[', '(')))).parse_next(input)? {
        Some('[') => ']',
        Some(_) => ')',
        None => return wrong(input, "a list: [\"a\", \"b\"]"),
    };
    let values: Vec<Literal> =
        separated(0..=MAX_LIST + 1, spaced(value), spaced(',')).parse_next(input)?;
    if values.len() > MAX_LIST {
        return refuse(input, too_long_a_list(values.len()));
    }
    if opt(spaced(close)).parse_next(input)?.is_none() {
        return wrong(input, "a value, a comma, or the end of the list");
    }
    Ok(values)
}

/// A value, or a range as the error side.
fn value_or_range(input: &mut Input<'_>) -> Parsed<Result<Literal, Range>> {
    let low = opt(spaced(value)).parse_next(input)?;
    if opt(spaced("..")).parse_next(input)?.is_none() {
        return match low {
            Some(value) => Ok(Ok(value)),
            None => wrong(input, "a value, or a range such as 1..3"),
        };
    }
    let high = opt(spaced(value)).parse_next(input)?;
    if low.is_none() && high.is_none() {
        return wrong(input, "a value at one end of the range at least");
    }
    Ok(Err(Range {
        gte: low,
        lte: high,
        ..Range::default()
    }))
}

fn value(input: &mut Input<'_>) -> Parsed<Literal> {
    alt((
        quoted.map(|text| Literal::Json(Json::String(text))),
        bare.map(|text: &str| Literal::Bare(text.to_string())),
    ))
    .parse_next(input)
}

fn name(input: &mut Input<'_>) -> Parsed<String> {
    alt((quoted, bare.map(str::to_string))).parse_next(input)
}

/// A run of characters that mean nothing to the language. `..` ends it, so that
/// `1..3` is a range; a keyword where a name or a value belongs has to be quoted.
fn bare<'i>(input: &mut Input<'i>) -> Parsed<&'i str> {
    let start = input.checkpoint();
    let run: &str = take_while(1.., is_bare).parse_next(input)?;
    let end = run.find("..").unwrap_or(run.len());
    let reserved = ["and", "or", "not", "in", "exists"];
    if end == 0
        || reserved
            .iter()
            .any(|word| run[..end].eq_ignore_ascii_case(word))
    {
        input.reset(&start);
        return Err(ErrMode::Backtrack(Wrong::from_input(input)));
    }
    input.reset(&start);
    winnow::token::take(run[..end].chars().count()).parse_next(input)
}

fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !"()[],\"'=!<>".contains(c)
}

fn quoted(input: &mut Input<'_>) -> Parsed<String> {
    let quote = alt(('"', '\'')).parse_next(input)?;
    let mut text = String::new();
    loop {
        let Some(c) = opt(any).parse_next(input)? else {
            return wrong(input, "the closing quote of a string");
        };
        if c == quote {
            return Ok(text);
        }
        text.push(if c == '\\' { escaped(input)? } else { c });
    }
}

fn escaped(input: &mut Input<'_>) -> Parsed<char> {
    const EXPECTED: &str = "\\\", \\', \\\\, \\n, \\t, \\r or \\u with four hexadecimal digits";
    let plain = opt(alt((
        alt(('"', '\'', '\\', '/')),
        'n'.value('\n'),
        't'.value('\t'),
        'r'.value('\r'),
    )))
    .parse_next(input)?;
    if let Some(c) = plain {
        return Ok(c);
    }
    let digits: Option<&str> = opt(preceded(
        'u',
        take_while(4, |c: char| c.is_ascii_hexdigit()),
    ))
    .parse_next(input)?;
    match digits
        .and_then(|d| u32::from_str_radix(d, 16).ok())
        .and_then(char::from_u32)
    {
        Some(c) => Ok(c),
        None => wrong(input, EXPECTED),
    }
}

/// Takes the keyword if it stands here as a word of its own.
fn keyword(input: &mut Input<'_>, word: &'static str) -> Parsed<bool> {
    let start = input.checkpoint();
    let found = opt(preceded(multispace0, literal(Caseless(word)))).parse_next(input)?;
    if found.is_some() && !input.input.starts_with(is_bare) {
        return Ok(true);
    }
    input.reset(&start);
    Ok(false)
}

fn spaced<'i, T>(
    inner: impl Parser<Input<'i>, T, ErrMode<Wrong>>,
) -> impl Parser<Input<'i>, T, ErrMode<Wrong>> {
    delimited(multispace0, inner, multispace0)
}
