//! The definitions of a file: where they are, what they are called, what belongs to them.

use std::ops::Range;

use super::roles::{Role, is_comment, is_leading, is_wrapper, role, separator};
use super::{CutLimits, Language, Syntax};

/// Nested definitions shorter than this stay with their outer one, however long that is.
const SHORTEST_NESTED: usize = 400;

/// A function or a type that becomes a unit.
#[derive(Debug)]
pub(super) struct Definition {
    /// Its node.
    pub node: usize,
    /// With what stands before it and belongs to it, to the ends of their lines.
    pub extent: Range<usize>,
    /// Where it begins without its leading comments.
    pub after_comments: usize,
    pub role: Role,
    /// Qualified.
    pub symbol: String,
    /// Inside of a type.
    pub member: bool,
    /// The definition that it is cut out of.
    pub outer: Option<usize>,
}

/// What encloses a place.
struct Enclosing {
    end: usize,
    role: Role,
    symbol: String,
    definition: Option<usize>,
}

/// Finds the definitions, outer ones before inner ones, in the order of the text.
pub(super) fn find(
    syntax: &Syntax,
    text: &str,
    module: &str,
    limits: &CutLimits,
) -> Vec<Definition> {
    let mut found: Vec<Definition> = Vec::new();
    let mut prefix = module.to_string();
    let mut enclosing: Vec<Enclosing> = Vec::new();
    for place in 0..syntax.nodes.len() {
        while enclosing.last().is_some_and(|e| e.end <= place) {
            enclosing.pop();
        }
        let node = &syntax.nodes[place];
        if !node.named {
            continue;
        }
        let Some(mut role) = role(syntax.language, syntax.kind(place)) else {
            continue;
        };
        let Some(name) = name(syntax, text, place, role) else {
            continue;
        };
        // A namespace without a body is of all that comes after it.
        if role == Role::Scope
            && syntax.language == Language::Php
            && syntax.child(place, "body").is_none()
        {
            role = Role::Prefix;
        }
        if role == Role::Prefix {
            prefix = name;
            continue;
        }
        let (before, before_role) = match enclosing.last() {
            Some(e) => (e.symbol.as_str(), e.role),
            None => (prefix.as_str(), Role::Scope),
        };
        let symbol = match before.is_empty() {
            true => name,
            false => {
                let between = separator(syntax.language, before_role, role);
                format!("{before}{between}{name}")
            }
        };
        let outer = enclosing.iter().rev().find_map(|e| e.definition);
        if role != Role::Scope {
            let extent = extent(syntax, text, place);
            let inside = enclosing.iter().any(|e| e.role == Role::Function);
            if inside {
                let long = outer.is_some_and(|o| found[o].extent.len() > limits.part_bytes);
                if !long || extent.0.len() < SHORTEST_NESTED {
                    continue;
                }
            }
            let begin = match outer {
                Some(outer) => found[outer].extent.start,
                None => 0,
            };
            let last = found.iter().rev().find(|other| other.outer == outer);
            let begin = last.map_or(begin, |last| begin.max(last.extent.end));
            let end = outer.map_or(text.len(), |outer| found[outer].extent.end);
            let (extent, after_comments) = extent;
            let extent = extent.start.max(begin)..extent.end.min(end);
            if extent.is_empty() {
                continue;
            }
            found.push(Definition {
                node: place,
                after_comments: after_comments.max(extent.start),
                extent,
                role,
                symbol: symbol.clone(),
                member: role == Role::Function
                    && (before_role == Role::Type || syntax.kind(place) == "method_declaration"),
                outer,
            });
        }
        enclosing.push(Enclosing {
            end: node.end as usize,
            role,
            symbol,
            definition: (role != Role::Scope).then(|| found.len() - 1),
        });
    }
    found
}

/// What a definition is called; none for what is no definition after all.
fn name(syntax: &Syntax, text: &str, place: usize, role: Role) -> Option<String> {
    let of = |node: usize| text.get(syntax.span(node)).map(tidy);
    let named = |field: &str| syntax.child(place, field).and_then(of);
    let kind = syntax.kind(place);
    let name = match (syntax.language, kind) {
        (Language::Rust, "impl_item") => {
            let name = named("type")?;
            // Of all that it is generic over, its methods' names say nothing.
            name.split('<').next().map(str::to_string)
        }
        (Language::Java, "package_declaration") | (Language::Go, "package_clause") => {
            let last = syntax
                .children(place)
                .filter(|&c| syntax.nodes[c].named && !is_comment(syntax.kind(c)));
            last.last().and_then(of)
        }
        (Language::Go, "method_declaration") => {
            let receiver = named("receiver").unwrap_or_default();
            let receiver = receiver.trim_matches(['(', ')']);
            let kind = receiver.rsplit([' ', '*']).next().unwrap_or_default();
            let kind = kind.split('[').next().unwrap_or_default();
            named("name").map(|name| format!("{kind}.{name}"))
        }
        (Language::C | Language::Cpp, "function_definition") => {
            declared(syntax, place).and_then(of)
        }
        (Language::C | Language::Cpp, _) if role == Role::Type => {
            syntax.child(place, "body")?;
            let alias = || {
                let parent = syntax.parent(place)?;
                let wrapper = syntax.kind(parent) == "type_definition";
                wrapper
                    .then(|| syntax.child(parent, "declarator"))?
                    .and_then(of)
            };
            named("name").or_else(alias)
        }
        (Language::JavaScript | Language::TypeScript | Language::Tsx, "variable_declarator") => {
            is_function(syntax, syntax.child(place, "value")?).then(|| named("name"))?
        }
        (Language::JavaScript | Language::TypeScript | Language::Tsx, "pair") => {
            is_function(syntax, syntax.child(place, "value")?).then(|| named("key"))?
        }
        (
            Language::JavaScript | Language::TypeScript | Language::Tsx,
            "field_definition" | "public_field_definition",
        ) => {
            let name = || named("property").or_else(|| named("name"));
            is_function(syntax, syntax.child(place, "value")?).then(name)?
        }
        (Language::JavaScript | Language::TypeScript | Language::Tsx, "assignment_expression") => {
            let last = |name: String| name.rsplit('.').next().map(str::to_string);
            let left = || named("left").and_then(last);
            is_function(syntax, syntax.child(place, "right")?).then(left)?
        }
        (Language::CSharp, "operator_declaration") => {
            named("operator").map(|operator| format!("operator{operator}"))
        }
        (Language::CSharp, "conversion_operator_declaration") => {
            named("type").map(|kind| format!("operator {kind}"))
        }
        _ => named("name"),
    };
    name.map(|name| name.trim_matches(['"', '\'', '`']).to_string())
        .filter(|name| !name.is_empty())
}

/// Whether a value is a function.
fn is_function(syntax: &Syntax, value: usize) -> bool {
    matches!(
        syntax.kind(value),
        "arrow_function" | "function_expression" | "function" | "generator_function"
    )
}

/// The name inside of a declarator of C: `*(*name)(int)`.
fn declared(syntax: &Syntax, place: usize) -> Option<usize> {
    let mut at = syntax.child(place, "declarator")?;
    // Each step goes down the tree.
    loop {
        let next = syntax.child(at, "declarator").or_else(|| {
            let wraps = matches!(
                syntax.kind(at),
                "reference_declarator" | "parenthesized_declarator" | "attributed_declarator"
            );
            let mut inner = syntax.children(at).filter(|&c| syntax.nodes[c].named);
            wraps.then(|| inner.next())?
        });
        match next {
            Some(next) => at = next,
            None => return Some(at),
        }
    }
}

/// A name on one line, of a length that an id can carry.
fn tidy(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().collect();
    let mut name = words.join(" ");
    if name.len() > 120 {
        name.truncate(name.floor_char_boundary(120));
    }
    name
}

/// What belongs to a definition, and where its leading comments end.
fn extent(syntax: &Syntax, text: &str, place: usize) -> (Range<usize>, usize) {
    let mut top = place;
    while let Some(parent) = syntax.parent(top) {
        let kind = syntax.kind(parent);
        let several = || {
            let alike = |&child: &usize| syntax.nodes[child].kind == syntax.nodes[top].kind;
            syntax.children(parent).filter(alike).nth(1).is_some()
        };
        if !is_wrapper(kind) || several() {
            break;
        }
        top = parent;
    }
    let span = syntax.span(top);
    let (mut start, mut after_comments) = (span.start, span.start);
    // What stands before a body stands before the first thing in it.
    while let Some(parent) = syntax.parent(top)
        && parent > 0
        && syntax.span(parent).start == start
    {
        top = parent;
    }
    if let Some(parent) = syntax.parent(top) {
        let mut attributes = true;
        for before in backwards(syntax, parent, top) {
            let span = syntax.span(before);
            let gap = text.get(trimmed_end(text, &span)..start).unwrap_or("x");
            let begins = line_start(text, span.start) == span.start
                || text[line_start(text, span.start)..span.start]
                    .trim()
                    .is_empty();
            let own = is_leading(syntax.kind(before)) && !is_inner(&text[span.clone()]);
            let close = gap.trim().is_empty() && gap.matches('\n').count() <= 1;
            if !own || !close || !begins {
                break;
            }
            start = span.start;
            attributes &= !is_comment(syntax.kind(before));
            if attributes {
                after_comments = start;
            }
        }
    }
    let from = line_start(text, start);
    if text[from..start].trim().is_empty() {
        start = from;
    }
    let mut end = span.end.max(start);
    let rest = &text[end..];
    let line = rest.split('\n').next().unwrap_or_default();
    if line.trim_matches([';', ',', ' ', '\t', '\r']).is_empty() {
        end += line.len();
    }
    (start..end, after_comments)
}

/// The siblings before a node, the nearest first: found from the ends of the lists, so that
/// thousands of siblings cost nothing.
fn backwards<'a>(
    syntax: &'a Syntax,
    parent: usize,
    place: usize,
) -> impl Iterator<Item = usize> + 'a {
    let mut at = place;
    std::iter::from_fn(move || {
        // The node before this one in preorder is below the sibling that is looked for.
        let mut before = at.checked_sub(1)?;
        if before <= parent {
            return None;
        }
        while syntax.nodes[before].parent as usize != parent {
            before = syntax.nodes[before].parent as usize;
        }
        at = before;
        Some(before)
    })
}

/// Comments about what they stand in, not about what follows.
fn is_inner(comment: &str) -> bool {
    ["//!", "/*!", "#!"]
        .iter()
        .any(|mark| comment.starts_with(mark))
}

/// Where a node ends without the line breaks that some grammars count in.
fn trimmed_end(text: &str, span: &Range<usize>) -> usize {
    span.start + text[span.clone()].trim_end().len()
}

pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}
