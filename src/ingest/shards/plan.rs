//! Manifests: sources cut into units.
//!
//! ```text
//! OUT/definition.toml        what is encoded by
//! OUT/manifest.jsonl         a unit a line, {"source": "FILE#rows=0..10000", "target": "part-000000.parquet"}
//! OUT/units/000000.csv       the same unit by itself, for engines that spread files over machines:
//!                            a header, and source, target and definition
//! SHARDS/part-000000.parquet the shards, in OUT unless said otherwise
//! SHARDS/definition.toml     again, where whoever reaches the shards finds it
//! .../definition.reading.json beside both: the format and the mapping, where there are any
//! ```
//!
//! Targets are numbered in the order of the sources, so that their names are in the order in
//! which they are to be loaded.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::encode::row_groups;
use super::place::Place;
use super::{Part, Unit};
use crate::error::{Code, Error, Problem, Result};
use crate::index::Definition;
use crate::ingest::{Format, Input, Mapping, Position, Source, SourceOptions, resolve};
use crate::objects;

const DEFINITION: &str = "definition.toml";
const MANIFEST: &str = "manifest.jsonl";
/// What takes the place of a definition's `.toml`.
const READING: &str = ".reading.json";

/// How sources are cut.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Most rows of a unit; none makes each source one unit.
    pub rows_per_unit: Option<u64>,
    /// How the sources will be read.
    pub source: SourceOptions,
}

/// What was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The manifest.
    pub manifest: String,
    /// The definition that the units are encoded by.
    pub definition: String,
    /// Where the shards will be.
    pub shards: String,
    /// Units.
    pub units: u64,
    /// Rows of all sources; absent where they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// A line of a manifest.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    source: String,
    target: String,
}

/// How the rows of units are read, of what [`SourceOptions`] says: what does not belong to the
/// machine that reads them.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reading {
    format: Option<Format>,
    mapping: Mapping,
}

/// Cuts sources (files, folders, patterns and URLs, as loads take them) into units and writes
/// their manifest into the folder `out`, for shards in the folder or below the URL `shards`.
/// What `options` say of the format and the columns lies beside the definition, where
/// [`read_options`] finds it: a unit is read so wherever it is run.
///
/// # Errors
/// `invalid_file` for a source that cannot be read as what it claims to be; `invalid_request`
/// for units without rows; operator errors of the disk and the object store.
pub fn write_plan(
    sources: &[String],
    definition: &Definition,
    out: &Path,
    shards: Option<&str>,
    options: &PlanOptions,
) -> Result<PlanSummary> {
    if options.rows_per_unit == Some(0) {
        return Err(Problem::new(Code::InvalidRequest, "a unit needs rows")
            .field("rows_per_unit")
            .found(0)
            .expected("at least 1")
            .into());
    }
    let folder = out.join("units");
    std::fs::create_dir_all(&folder)
        .map_err(|e| Error::operator_from(format!("cannot create {}", folder.display()), e))?;
    let out = absolute(out)?;
    let shards = match shards {
        Some(url) if objects::is_url(url) => url.trim_end_matches('/').to_string(),
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::operator_from(format!("cannot create {folder}"), e))?;
            absolute(Path::new(folder))?
        }
        None => out.clone(),
    };
    let mut units = Vec::new();
    let mut all_rows = Some(0);
    let names: Vec<String> = sources
        .iter()
        .map(|source| match objects::is_url(source) {
            true => Ok(source.clone()),
            false => absolute(Path::new(source)),
        })
        .collect::<Result<_>>()?;
    for input in resolve(&names, options.source.format)? {
        let source = input.location().to_string();
        let parts = match options.rows_per_unit {
            None => {
                all_rows = None;
                vec![Part::All]
            }
            Some(most) => {
                let rows = rows_in(&input, &options.source)?;
                all_rows = all_rows.map(|all| all + rows);
                let starts = (0..rows).step_by(usize::try_from(most).unwrap_or(usize::MAX));
                starts
                    .map(|start| Part::Rows(start..rows.min(start.saturating_add(most))))
                    .collect()
            }
        };
        for part in parts {
            let target = format!("{shards}/part-{:06}.parquet", units.len());
            units.push(Unit {
                source: source.clone(),
                part,
                target,
            });
        }
    }
    let text = definition.to_toml()?;
    let definition_at = format!("{shards}/{DEFINITION}");
    let scratch = tempfile::tempdir()
        .map_err(|e| Error::operator_from("cannot make a temporary folder", e))?;
    let put = |place: &str, bytes: &[u8]| -> Result<()> {
        let write = |mut file: std::fs::File| {
            file.write_all(bytes)
                .map(|()| file)
                .map_err(|e| Error::operator_from(format!("cannot write {place}"), e))
        };
        Place::new(place)?.write(scratch.path(), write).map(drop)
    };
    put(&definition_at, text.as_bytes())?;
    let reading = Reading {
        format: options.source.format,
        mapping: options.source.mapping.clone(),
    };
    let json = serde_json::to_vec_pretty(&reading)
        .map_err(|e| Error::Bug(format!("a mapping does not serialise: {e}")))?;
    let beside = format!("{out}/{DEFINITION}");
    for definition in BTreeSet::from([&definition_at, &beside]) {
        put(definition, text.as_bytes())?;
        let place = reading_of(definition);
        match reading == Reading::default() {
            // Of an earlier plan.
            true => Place::new(&place)?.remove()?,
            false => put(&place, &json)?,
        }
    }
    let mut manifest = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let line = Line {
            source: unit.spelled(),
            target: unit.target.clone(),
        };
        let json = serde_json::to_vec(&line)
            .map_err(|e| Error::Bug(format!("a unit does not serialise: {e}")))?;
        manifest.extend(json);
        manifest.push(b'\n');
        let csv_of = || -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(["source", "target", "definition"])?;
            csv.write_record([&line.source, &line.target, &definition_at])?;
            Ok(csv.into_inner()?)
        };
        let csv = csv_of().map_err(|e| Error::Bug(format!("a unit does not become a row: {e}")))?;
        put(&format!("{out}/units/{number:06}.csv"), &csv)?;
    }
    // Last: where it is, everything is.
    let at = format!("{out}/{MANIFEST}");
    put(&at, &manifest)?;
    Ok(PlanSummary {
        manifest: at,
        definition: definition_at,
        shards,
        units: units.len() as u64,
        rows: all_rows,
    })
}

/// The units of a manifest, a file or an object, and where the definition lies that belongs to
/// it. Targets that are no whole path are beside the manifest.
///
/// # Errors
/// `invalid_file` with the line that is none.
pub fn read_plan(manifest: &str) -> Result<(Vec<Unit>, String)> {
    let damaged = |found: String| {
        Problem::new(
            Code::InvalidFile,
            format!("{manifest}: this is no manifest of units"),
        )
        .found(found)
        .expected("a line {\"source\": ..., \"target\": ...} for each unit")
    };
    let bytes = Place::new(manifest)?
        .read()?
        .ok_or_else(|| damaged("nothing".into()))?;
    let folder = match manifest.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/"),
        None => String::new(),
    };
    let mut units = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_slice(line)
            .map_err(|e| damaged(format!("line {}: {e}", number + 1)))?;
        let is_whole = objects::is_url(&line.target) || Path::new(&line.target).is_absolute();
        let target = match is_whole {
            true => line.target,
            false => format!("{folder}{}", line.target),
        };
        units.push(Unit::new(&line.source, &target)?);
    }
    Ok((units, format!("{folder}{DEFINITION}")))
}

/// A definition in TOML, in a file or an object.
///
/// # Errors
/// `invalid_definition`.
pub fn read_definition(place: &str) -> Result<Definition> {
    if !objects::is_url(place) {
        return Definition::from_file(Path::new(place));
    }
    let text = Place::new(place)?.read()?.map(String::from_utf8);
    match text {
        Some(Ok(text)) => Definition::from_toml(&text),
        found => Err(Problem::new(
            Code::InvalidDefinition,
            "the index definition cannot be read",
        )
        .field("definition")
        .found(match found {
            None => format!("nothing at {place}"),
            Some(_) => format!("bytes that are no text at {place}"),
        })
        .expected("a definition in TOML")
        .into()),
    }
}

/// How the units of a plan are read: by what lies beside the definition they are encoded by, or
/// by `options` where nothing does. Limits are those of `options` always.
///
/// # Errors
/// `invalid_file` where what lies there cannot be read; `invalid_request` where `options` say
/// something else.
pub fn read_options(definition: &str, options: SourceOptions) -> Result<SourceOptions> {
    let place = reading_of(definition);
    let Some(bytes) = Place::new(&place)?.read()? else {
        return Ok(options);
    };
    let planned: Reading = serde_json::from_slice(&bytes).map_err(|e| {
        Problem::new(
            Code::InvalidFile,
            format!("{place}: this does not say how units are read"),
        )
        .found(e)
        .expected("the file that gleaner manifest wrote")
    })?;
    planned.mapping.check()?;
    let asked = Reading {
        format: options.format,
        mapping: options.mapping.clone(),
    };
    if asked != Reading::default() && asked != planned {
        return Err(Problem::new(
            Code::InvalidRequest,
            "the units were planned to be read in another way",
        )
        .field("mapping")
        .found("flags that differ from those of gleaner manifest")
        .expected(format!("no such flags: {place} says how units are read"))
        .into());
    }
    Ok(SourceOptions {
        format: planned.format,
        mapping: planned.mapping,
        ..options
    })
}

/// Where it lies how the units that are encoded by a definition are read.
fn reading_of(definition: &str) -> String {
    let stem = definition.strip_suffix(".toml").unwrap_or(definition);
    format!("{stem}{READING}")
}

/// How many rows an input has: by its footer, or by reading it through.
fn rows_in(input: &Input, options: &SourceOptions) -> Result<u64> {
    let format = options.format;
    let format = format.or_else(|| Format::of(Path::new(input.location())));
    if format == Some(Format::Parquet) {
        return Ok(row_groups(input)?.iter().sum());
    }
    // Whatever is wanted of them, rows are numbered by the file.
    let plain = SourceOptions {
        mapping: Mapping::default(),
        ..options.clone()
    };
    let mut rows = 0;
    for row in Source::open_at(input, &plain, Position::default())? {
        match row {
            Ok(row) => rows = row.number.saturating_add(row.rows).saturating_sub(1),
            // The unit that comes to it says so.
            Err(Error::User(_)) => return Ok(rows + 1),
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

fn absolute(path: &Path) -> Result<String> {
    let whole = std::path::absolute(path)
        .map_err(|e| Error::operator_from(format!("cannot resolve {}", path.display()), e))?;
    let text = whole.to_str().ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "a path that is no text")
            .field("path")
            .found(path.display())
            .expected("a name in UTF-8")
    })?;
    Ok(text.trim_end_matches('/').to_string())
}
