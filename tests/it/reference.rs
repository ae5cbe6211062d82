//! Promise: the reference of routes in `docs/rest-reference.md` is what `/openapi.json` says; every
//! page of `docs/` is in the book, and no link of a page leads nowhere.
//!
//! `make schemas` writes the reference anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use crate::openapi::operations;
use crate::support::service::Service;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_reference_of_routes_is_what_the_document_says() {
    let service = Service::new();
    let document = service.get("/openapi.json").json();
    let text = written(&document);
    let file = project().join("docs/rest-reference.md");
    if std::env::var_os("GLEANER_REGENERATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{}: `make schemas` writes it anew",
        file.display()
    );
    for (path, method, _) in operations(&document) {
        assert!(
            text.contains(&format!("### `{method} {path}`")),
            "{method} {path}"
        );
    }
}

/// The document as a page.
fn written(document: &Value) -> String {
    let mut text = String::from(
        "# REST, route by route\n\n\
         Generated from `/openapi.json`, which says the same to programs. [rest.md](rest.md) explains how the \
         routes are used, and what each error means.\n",
    );
    for tag in document["tags"].as_array().unwrap() {
        let name = tag["name"].as_str().unwrap();
        let mut title = name.to_string();
        title[..1].make_ascii_uppercase();
        write!(text, "\n## {title}\n\n{}\n", said(&tag["description"])).unwrap();
        for (path, method, operation) in operations(document) {
            if operation["tags"][0] == name {
                operation_in_words(&mut text, document, &path, &method, &operation);
            }
        }
    }
    text
}

fn said(value: &Value) -> &str {
    value.as_str().unwrap_or_default().trim()
}

fn operation_in_words(
    text: &mut String,
    document: &Value,
    path: &str,
    method: &str,
    operation: &Value,
) {
    write!(
        text,
        "\n### `{method} {path}`\n\n{}",
        said(&operation["summary"])
    )
    .unwrap();
    if !said(&operation["description"]).is_empty() {
        write!(text, " {}", said(&operation["description"])).unwrap();
    }
    text.push('\n');
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let rows: Vec<String> = parameters
        .map(|parameter| {
            let needed = match parameter["required"] == true {
                true => ", required",
                false => "",
            };
            format!(
                "| `{}` | {}{needed} | {} | {} |",
                said(&parameter["name"]),
                said(&parameter["in"]),
                kind(&parameter["schema"]),
                cell(said(&parameter["description"]))
            )
        })
        .collect();
    if !rows.is_empty() {
        write!(
            text,
            "\n| parameter | in | type | |\n|---|---|---|---|\n{}\n",
            rows.join("\n")
        )
        .unwrap();
    }
    for (media, content) in operation["requestBody"]["content"]
        .as_object()
        .into_iter()
        .flatten()
    {
        body(text, document, media, content);
    }
    let answers = operation["responses"].as_object().unwrap();
    text.push_str("\n| answer | |\n|---|---|\n");
    for (status, answer) in answers {
        let answer = resolved(document, answer);
        writeln!(
            text,
            "| {status} | {} |",
            cell(said(&answer["description"]))
        )
        .unwrap();
    }
}

fn body(text: &mut String, document: &Value, media: &str, content: &Value) {
    let schema = resolved(document, &content["schema"]);
    write!(text, "\nBody, `{media}`: {}\n", kind(&content["schema"])).unwrap();
    let mut rows = Vec::new();
    properties(document, schema, 0, &mut rows);
    if !rows.is_empty() {
        write!(
            text,
            "\n| key | type | |\n|---|---|---|\n{}\n",
            rows.join("\n")
        )
        .unwrap();
    }
    let examples = content["examples"].as_object().into_iter().flatten();
    let examples = examples.map(|(_, example)| &example["value"]);
    let one = content.get("example").into_iter();
    for example in one.chain(examples).take(1) {
        let (language, example) = match example {
            Value::String(lines) => ("text", lines.trim_end().to_string()),
            json => ("json", serde_json::to_string_pretty(json).unwrap()),
        };
        write!(text, "\n```{language}\n{example}\n```\n").unwrap();
    }
}

/// The keys of an object, those of its alternatives as well.
fn properties(document: &Value, schema: &Value, depth: usize, rows: &mut Vec<String>) {
    if depth > 3 {
        return;
    }
    let required: BTreeSet<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let needed = match required.contains(name.as_str()) {
            true => ", required",
            false => "",
        };
        let said_here = said(&property["description"]);
        let description = match said_here.is_empty() {
            true => said(&resolved(document, property)["description"]),
            false => said_here,
        };
        let row = format!(
            "| `{name}` | {}{needed} | {} |",
            kind(property),
            cell(description)
        );
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    for word in ["allOf", "oneOf", "anyOf"] {
        for part in schema[word].as_array().into_iter().flatten() {
            properties(document, resolved(document, part), depth + 1, rows);
        }
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(to) => document.pointer(&to[1..]).unwrap_or(schema),
        None => schema,
    }
}

/// A type in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(to) = schema["$ref"].as_str() {
        return to.rsplit('/').next().unwrap_or(to).to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        return values.join(" or ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[word].as_array() {
            let mut kinds: Vec<String> = Vec::new();
            for part in parts.iter().map(kind).filter(|part| part != "null") {
                if !kinds.contains(&part) {
                    kinds.push(part);
                }
            }
            return kinds.join(" or ");
        }
    }
    let name = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        other => other.to_string(),
    };
    match &schema["type"] {
        Value::String(one) => name(one),
        Value::Array(several) => {
            let several = several.iter().filter_map(Value::as_str);
            let kinds: Vec<String> = several.filter(|one| *one != "null").map(name).collect();
            kinds.join(" or ")
        }
        _ => "any".into(),
    }
}

fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(project().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.sort();
    pages
}

#[test]
fn every_page_is_in_the_book() {
    let summary = std::fs::read_to_string(project().join("docs/SUMMARY.md")).unwrap();
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap().to_string();
        let is_listed = summary.contains(&format!("]({name})"));
        assert!(
            name == "SUMMARY.md" || is_listed,
            "{name} is not in docs/SUMMARY.md"
        );
    }
}

/// Links out of a page, and the anchors of its headings.
fn links_and_anchors(text: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut links, mut anchors) = (Vec::new(), BTreeSet::new());
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.to_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let title = heading.take().unwrap_or_default().to_lowercase();
                let kept = title
                    .trim()
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
                let time = times.entry(anchor.clone()).or_default();
                anchors.insert(match *time {
                    0 => anchor,
                    again => format!("{anchor}-{again}"),
                });
                *time += 1;
            }
            Event::Text(said) | Event::Code(said) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&said);
                }
            }
            _ => {}
        }
    }
    (links, anchors)
}

#[test]
fn no_link_leads_nowhere() {
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
    let mut wrong = Vec::new();
    for page in pages()
        .into_iter()
        .chain(others.map(|name| project().join(name)))
    {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links_and_anchors(&text).0 {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path.is_empty() {
                true => page.clone(),
                false => page.parent().unwrap().join(path),
            };
            if !target.exists() {
                wrong.push(format!("{}: {link}: no such file", page.display()));
            } else if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                if !links_and_anchors(&text).1.contains(anchor) {
                    wrong.push(format!("{}: {link}: no such heading", page.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
