//! The units of a folder as JSON lines: what would be indexed, for whoever wants to read it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::document::{documents, language_name};
use super::load::CodeOptions;
use super::walk;
use crate::error::{Error, Result};

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UnitSummary {
    /// Files that were cut into units.
    pub files: u64,
    /// Units.
    pub units: u64,
    /// Files that were left out: binary, generated and the like.
    pub skipped: u64,
}

/// Writes the documents that loading a folder would make, one JSON object a line, in the order of
/// their paths; those in `languages` alone, where it names any.
///
/// # Errors
/// `invalid_file` for a folder that is not there; an operator's error where `to` cannot be
/// written.
pub fn write_units(
    folder: &Path,
    to: &Path,
    options: &CodeOptions,
    languages: &[String],
) -> Result<UnitSummary> {
    let disk =
        |e: std::io::Error| Error::operator_from(format!("cannot write {}", to.display()), e);
    let walked = walk::walk(folder, &options.without)?;
    let mut out = BufWriter::new(File::create(to).map_err(disk)?);
    let mut summary = UnitSummary::default();
    for found in &walked.files {
        let Ok((text, language)) = walk::read(found, &options.walk) else {
            summary.skipped += 1;
            continue;
        };
        let name = language_name(language, &found.path);
        if !languages.is_empty() && !languages.iter().any(|wanted| wanted == name) {
            continue;
        }
        let repository = &options.repository;
        let made = documents(repository, &found.path, language, &text, &options.parse);
        summary.files += 1;
        for document in made.documents {
            summary.units += 1;
            serde_json::to_writer(&mut out, &document).map_err(|e| disk(e.into()))?;
            out.write_all(b"\n").map_err(disk)?;
        }
    }
    out.flush().map_err(disk)?;
    Ok(summary)
}
