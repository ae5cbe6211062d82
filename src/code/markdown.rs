//! Markdown in sections: what is under a heading is found on its own.
//!
//! A section is a heading with its text up to the next heading. Every line with a letter or a digit
//! is in a section, as of code in a unit: what is before the first heading is one too, and a heading
//! with nothing under it begins the section of the heading that follows.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::cut::{Cutting, Header, Kind, Unit, push};
use super::parts::Lines;

/// What a document of Markdown carries as its language.
pub const MARKDOWN: &str = "markdown";
/// Most of a heading that names its section, in bytes: it is repeated in every section below it.
const TITLE_BYTES: usize = 200;

/// Whether a file is Markdown, by its name.
pub fn is_markdown(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| {
        ["md", "markdown", "mdown", "mkd", "mdx"]
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    })
}

/// A heading, where it begins and what it is called.
struct Heading {
    start: usize,
    end: usize,
    level: HeadingLevel,
    title: String,
}

/// Cuts a text of CommonMark (with tables, and a block of metadata at its beginning) into its
/// sections. A section's symbol is its headings from the outermost in, joined by ` > `, the path
/// where there is none; its `docstring` the headings that it is under, so that a section is found
/// by what its page is about.
pub fn cut_markdown(text: &str, cutting: Cutting<'_>) -> Vec<Unit> {
    let mut lines = Lines::of(text);
    let headings = headings(text, &mut lines);
    let mut units = Vec::new();
    let first = headings.first().map_or(text.len(), |first| first.start);
    let mut outer: Vec<(HeadingLevel, &str)> = Vec::new();
    let top = Header {
        symbol: cutting.path.into(),
        kind: Kind::Section,
        docstring: None,
        signature: None,
    };
    let run = |from: usize, to: usize| std::iter::once(from..to).collect();
    push(&mut units, text, &lines, run(0, first), top, cutting.limits);
    let mut start = None;
    for (n, heading) in headings.iter().enumerate() {
        while outer
            .last()
            .is_some_and(|(level, _)| *level >= heading.level)
        {
            outer.pop();
        }
        outer.push((heading.level, &heading.title));
        let from = *start.get_or_insert(heading.start);
        let next = headings.get(n + 1);
        let end = next.map_or(text.len(), |next| next.start);
        let is_bare = !text[heading.end..end].contains(char::is_alphanumeric);
        // A heading of the same level or above has nothing to do with this one.
        if is_bare && next.is_some_and(|next| next.level > heading.level) {
            continue;
        }
        start = None;
        let titles: Vec<&str> = outer.iter().map(|(_, title)| *title).collect();
        let above = titles[..titles.len() - 1].join(" > ");
        let header = Header {
            symbol: titles.join(" > "),
            kind: Kind::Section,
            docstring: (!above.is_empty()).then_some(above),
            signature: Some(heading.title.clone()),
        };
        push(
            &mut units,
            text,
            &lines,
            run(from, end),
            header,
            cutting.limits,
        );
    }
    units
}

/// Where the text begins behind a block of metadata (`---` or `+++` to the same, or `...`) in its
/// first lines. The parser would take rules between sections for such blocks as well.
fn behind_metadata(text: &str) -> usize {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next() else { return 0 };
    let mark = first.trim_end();
    if mark != "---" && mark != "+++" {
        return 0;
    }
    let mut at = first.len();
    for (n, line) in lines.enumerate() {
        at += line.len();
        let line = line.trim_end();
        if line == mark || line == "..." && mark == "---" {
            return at;
        }
        // A key follows the mark; what a rule stands before has none.
        if n == 0 && (line.starts_with('#') || !line.contains([':', '='])) {
            return 0;
        }
    }
    0
}

/// The headings outside of lists and quotations, in order. A part of a long section begins at a
/// paragraph where it can: `lines` are told where these are.
fn headings(text: &str, lines: &mut Lines) -> Vec<Heading> {
    let mut found: Vec<Heading> = Vec::new();
    let (mut is_in_heading, mut depth) = (false, 0_usize);
    let base = behind_metadata(text);
    for (event, range) in Parser::new_ext(&text[base..], Options::ENABLE_TABLES).into_offset_iter()
    {
        if let Event::Start(Tag::Paragraph | Tag::List(_) | Tag::CodeBlock(_) | Tag::Table(_)) =
            event
        {
            lines.note(text, base + range.start, 1);
        }
        match event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                is_in_heading = true;
                found.push(Heading {
                    start: base + range.start,
                    end: base + range.end,
                    level,
                    title: String::new(),
                });
            }
            Event::End(TagEnd::Heading(_)) => is_in_heading = false,
            Event::Start(Tag::List(_) | Tag::BlockQuote(_)) => depth += 1,
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_)) => {
                depth = depth.saturating_sub(1);
            }
            Event::Text(said) | Event::Code(said) if is_in_heading => {
                if let Some(heading) = found.last_mut() {
                    heading.title += &said;
                }
            }
            Event::SoftBreak | Event::HardBreak if is_in_heading => {
                if let Some(heading) = found.last_mut() {
                    heading.title.push(' ');
                }
            }
            _ => {}
        }
    }
    // A heading without a word is a line as any other.
    found.retain(|heading| heading.title.contains(char::is_alphanumeric));
    for heading in &mut found {
        let words: Vec<&str> = heading.title.split_whitespace().collect();
        let mut title = words.join(" ");
        title.truncate(title.floor_char_boundary(TITLE_BYTES));
        heading.title = title;
    }
    found
}
