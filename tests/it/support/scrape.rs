//! Reads what `/metrics` answers, strictly: what is not of the text format fails the test.

use std::collections::{BTreeMap, BTreeSet};

use super::service::Service;

/// The figures of one scrape.
#[derive(Debug)]
pub struct Scrape {
    /// Type by family.
    pub types: BTreeMap<String, String>,
    /// Name, labels and value of each line.
    pub samples: Vec<Sample>,
    pub page: String,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    pub fn of(service: &Service) -> Scrape {
        let answer = service.get("/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        Scrape::read(String::from_utf8(answer.body).unwrap())
    }

    pub fn read(page: String) -> Scrape {
        let mut types = BTreeMap::new();
        let mut helped = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut samples = Vec::new();
        assert!(page.ends_with('\n'));
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty(), "{line}");
                assert!(helped.insert(name.to_string()), "twice: {line}");
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(types.insert(name.into(), kind.into()).is_none(), "{line}");
                continue;
            }
            let sample = Sample::read(line);
            let family = family_of(&sample.name, &types);
            assert!(types.contains_key(family), "no type before {line}");
            assert!(helped.contains(family), "no help before {line}");
            let key = (sample.name.clone(), sample.labels.clone());
            assert!(seen.insert(key), "twice: {line}");
            samples.push(sample);
        }
        Scrape {
            types,
            samples,
            page,
        }
    }

    /// Families that have at least one figure.
    pub fn families(&self) -> BTreeMap<String, String> {
        let with_figures = self.samples.iter().map(|sample| {
            let family = family_of(&sample.name, &self.types);
            (family.to_string(), self.types[family].clone())
        });
        with_figures.collect()
    }

    /// The figures of this name whose labels include these.
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.name == name
                && labels.all(|(label, value)| {
                    sample.labels.get(*label).map(String::as_str) == Some(value)
                })
        };
        self.samples.iter().filter(has).collect()
    }

    /// The one figure of this name with these labels; 0 where there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.all(name, labels);
        assert!(found.len() < 2, "{name} {labels:?}: {found:?}");
        found.first().map_or(0.0, |sample| sample.value)
    }
}

/// A histogram's lines have endings of their own.
fn family_of<'a>(name: &'a str, types: &BTreeMap<String, String>) -> &'a str {
    let endings = ["_bucket", "_sum", "_count"].iter();
    let mut families = endings.filter_map(|ending| name.strip_suffix(ending));
    let histogram = families.find(|f| types.get(*f).is_some_and(|kind| kind == "histogram"));
    histogram.unwrap_or(name)
}

impl Sample {
    fn read(line: &str) -> Sample {
        let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect(line));
        assert!(
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "{line}"
        );
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").expect(line);
                let (value, after) = quoted(after);
                assert!(labels.insert(label.to_string(), value).is_none(), "{line}");
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ').expect(line);
        Sample {
            name: name.into(),
            labels,
            value: match value {
                "+Inf" => f64::INFINITY,
                value => value.parse().expect(line),
            },
        }
    }
}

/// The value before the quotation mark that ends it, and what comes after.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => match letters.next().expect(text).1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    panic!("a value without an end: {text}");
}
