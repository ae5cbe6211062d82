//! The configuration, and what the environment makes of it.

use std::path::Path;

use super::{Check, Finding};
use crate::config::{Config, DEFAULT_FILE};

/// Variables of gleaner that stand for a key by a short name.
const SHORT: [(&str, &str); 2] = [
    ("GLEANER_DATA", "data.folder"),
    ("GLEANER_MODELS", "models.folders"),
];
/// How the others begin.
const PREFIX: &str = "GLEANER__";

pub(super) fn look(config: &Config, file: Option<&Path>) -> Vec<Finding> {
    let default = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default.is_file().then_some(default));
    let mut findings = vec![match config.models.runtime.check() {
        Ok(()) => {
            let read = match file {
                Some(file) => format!(
                    "{} can be read, and every key of it is known",
                    file.display()
                ),
                None => "there is no configuration file: everything is at its default".into(),
            };
            Finding::ok(Check::Configuration, read)
        }
        Err(error) => Finding::of_error(
            Check::Configuration,
            &error,
            "mend this key of [models.runtime]",
        ),
    }];
    findings.extend(secrets(config));
    findings.push(overrides(file));
    findings
}

/// Databases whose URL is to come from somewhere that does not have it.
fn secrets(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &config.schemas.sources {
        let missing = match (&source.url_env, &source.url_file, &source.sqlite) {
            (Some(name), _, _) if std::env::var_os(name).is_none() => {
                Some(format!("the variable {name}, which is not set"))
            }
            (_, Some(file), _) if !file.is_file() => {
                Some(format!("the file {}, which is not there", file.display()))
            }
            (_, _, Some(file)) if !file.is_file() => {
                Some(format!("the file {}, which is not there", file.display()))
            }
            _ => None,
        };
        findings.extend(missing.map(|missing| {
            Finding::warning(
                Check::Configuration,
                format!(
                    "the database {:?} of schemas.sources is to be found by {missing}",
                    source.name
                ),
                "set it for the server, or remove the entry",
            )
        }));
    }
    findings
}

/// What the environment overrides. Names only: a value may be a secret.
fn overrides(file: Option<&Path>) -> Finding {
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let table: toml::Table = text
        .and_then(|text| toml::from_str(&text).ok())
        .unwrap_or_default();
    let mut set = Vec::new();
    let mut overridden = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|_| !value.is_empty()) else {
            continue;
        };
        let short = SHORT.into_iter().find(|(short, _)| *short == name);
        let key = match (short, name.strip_prefix(PREFIX)) {
            (Some((_, key)), _) => key.to_owned(),
            (None, Some(key)) => key.to_lowercase().replace("__", "."),
            (None, None) => continue,
        };
        set.push(name.to_owned());
        if in_table(&table, &key) {
            overridden.push(format!("{name} ({key})"));
        }
    }
    set.sort();
    overridden.sort();
    match (set.is_empty(), overridden.is_empty()) {
        (true, _) => Finding::ok(Check::Environment, "no variable changes the configuration"),
        (false, true) => Finding::ok(
            Check::Environment,
            format!("set by variables: {}", set.join(", ")),
        ),
        (false, false) => Finding::warning(
            Check::Environment,
            format!(
                "variables override what the configuration file says: {}",
                overridden.join(", ")
            ),
            "a change of the file does nothing while they are set: unset them, or remove the keys from the file",
        ),
    }
}

fn in_table(table: &toml::Table, key: &str) -> bool {
    let mut parts = key.split('.');
    let Some(mut value) = parts.next().and_then(|part| table.get(part)) else {
        return false;
    };
    for part in parts {
        match value.get(part) {
            Some(inner) => value = inner,
            None => return false,
        }
    }
    true
}
