//! What the files of a load hold, and what becomes of their columns.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::Config;
use crate::error::Result;
use crate::ingest::{Format, Mapping, SourceOptions};

/// How files are read.
#[derive(Debug, Args)]
pub(super) struct SourceFlags {
    /// What the files hold [default: by their names].
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// A file that says which column becomes which field (TOML).
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Read a column as a field of another name: COLUMN=FIELD; may be repeated.
    #[arg(long = "map", value_name = "COLUMN=FIELD")]
    map: Vec<String>,
    /// Leave a column out; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    drop: Vec<String>,
    /// The column that says what is to be done with a row: insert, update, upsert or delete.
    #[arg(long, value_name = "COLUMN")]
    operation_column: Option<String>,
    /// Load only rows for which this holds, in the language of filters, over columns:
    /// "year >= 2020 AND lang = en". Row groups without any are not read.
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    /// Parquet.
    Parquet,
    /// Arrow, a file or a stream; Feather.
    Arrow,
    /// One JSON object a line.
    Jsonl,
    /// A JSON list of objects.
    Json,
    /// Comma-separated, with a header.
    Csv,
    /// Tab-separated, with a header.
    Tsv,
}

impl SourceFlags {
    /// The same as the readers take it.
    pub(super) fn options(self, config: &Config) -> Result<SourceOptions> {
        let mut mapping = match &self.mapping {
            Some(file) => Mapping::from_file(file)?,
            None => Mapping::default(),
        };
        mapping.drop.extend(self.drop);
        for rename in &self.map {
            mapping.add(rename)?;
        }
        if self.operation_column.is_some() {
            mapping.operation = self.operation_column;
        }
        if let Some(text) = &self.filter {
            mapping.filter = Some(text.parse()?);
        }
        mapping.check()?;
        Ok(SourceOptions {
            format: self.format.map(|format| match format {
                FileFormat::Parquet => Format::Parquet,
                FileFormat::Arrow => Format::Arrow,
                FileFormat::Jsonl => Format::Jsonl,
                FileFormat::Json => Format::Json,
                FileFormat::Csv => Format::Csv,
                FileFormat::Tsv => Format::Tsv,
            }),
            mapping,
            max_row_bytes: config.ingest.row_bytes,
            max_batch_bytes: config.ingest.arrow_batch_bytes,
        })
    }
}
