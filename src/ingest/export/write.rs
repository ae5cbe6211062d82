//! Writing an export.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::datatypes::Schema;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::Value as Json;

use super::table::{Table, parse};
use super::{FORMAT, KEY, Manifest, arrow_bug};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::Filter;
use crate::index::{Index, Stored, View};
use crate::ingest::Progress;

/// Documents looked up at once.
const LOOKED_UP: usize = 16;
/// Bytes that a row group takes in memory, about, before it is written.
const GROUP_BYTES: usize = 32 << 20;
/// Most documents in a row group.
const GROUP_ROWS: usize = 100_000;
/// How hard columns are compressed: vectors hardly are, texts well even so.
const LEVEL: i32 = 3;

/// An export on its way into a file, a document at a time: memory is bounded by a row group.
pub(in crate::ingest) struct Writing<W: Write + Send> {
    table: Table,
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> Writing<W> {
    /// Begins a file of documents whose members are mostly in this order.
    pub(in crate::ingest) fn new(
        to: W,
        manifest: &Manifest,
        usual_order: &[String],
    ) -> Result<Writing<W>> {
        let table = Table::new(manifest, usual_order);
        let schema = table.schema().clone();
        let properties = properties(&schema, table.passages())?;
        let writer = ArrowWriter::try_new(to, schema, Some(properties)).map_err(arrow_bug)?;
        Ok(Writing { table, writer })
    }

    fn has_vectors(&self) -> bool {
        self.table.has_vectors()
    }

    /// Adds a document.
    ///
    /// # Errors
    /// An operator's error where the file cannot be written to.
    pub(in crate::ingest) fn push(&mut self, stored: Stored) -> Result<()> {
        self.table.push(stored)?;
        // After each: a single one may be large.
        if self.table.is_full() {
            self.writer.write(&self.table.take()?).map_err(cannot)?;
            if self.writer.memory_size() >= GROUP_BYTES {
                self.writer.flush().map_err(cannot)?;
            }
        }
        Ok(())
    }

    /// Ends the file with what it says of itself.
    pub(in crate::ingest) fn finish(mut self, manifest: &Manifest) -> Result<W> {
        let json = serde_json::to_string(manifest)
            .map_err(|e| Error::Bug(format!("a manifest does not serialise: {e}")))?;
        self.writer
            .append_key_value_metadata(KeyValue::new(KEY.to_string(), json));
        self.writer.write(&self.table.take()?).map_err(cannot)?;
        self.writer.into_inner().map_err(cannot)
    }
}

fn cannot(error: parquet::errors::ParquetError) -> Error {
    Error::operator_from("cannot write the export", error)
        .advice("make room on that disk, or name another file")
}

/// What is to be written: one view of an index, which is held until it is.
pub struct Export {
    index: Arc<Index>,
    view: Arc<View>,
    ordinals: Vec<u32>,
}

impl Export {
    /// All documents written so far, or those of them that pass a filter.
    ///
    /// # Errors
    /// `invalid_filter`; operator errors of the disk.
    pub fn new(index: Arc<Index>, filter: Option<&Json>) -> Result<Export> {
        let definition = index.definition();
        let bound = filter
            .map(|filter| -> Result<_> {
                let filter = Filter::from_json(filter)?;
                let bound = filter.bind(&definition.fields, &definition.id_field)?;
                Ok(bound.normalise())
            })
            .transpose()?;
        index.refresh()?;
        let view = index.view();
        let ordinals = match bound {
            Some(bound) => {
                let mut passing = view.words.filter(&bound)?;
                passing.and(&view.live);
                passing.iter().collect()
            }
            None => view.live.iter().collect(),
        };
        Ok(Export {
            index,
            view,
            ordinals,
        })
    }

    /// How many documents those are.
    pub fn documents(&self) -> u64 {
        self.ordinals.len() as u64
    }

    /// The members of the first document in their order: most documents of an index agree.
    fn usual_order(&self) -> Result<Vec<String>> {
        let first = self.ordinals.get(..1).unwrap_or_default();
        let Some(first) = self.index.stored(first, false)?.pop() else {
            return Ok(Vec::new());
        };
        Ok(parse(&first.source)?
            .into_iter()
            .map(|(name, _)| name)
            .collect())
    }

    /// Writes them, a row group at a time. `progress.loaded` counts documents,
    /// `progress.passages` vectors.
    ///
    /// # Errors
    /// An operator's error where `to` cannot be written to, or the store not be read.
    pub fn write<W: Write + Send>(self, to: W, progress: &Progress) -> Result<W> {
        let definition = self.index.definition().clone();
        let manifest = Manifest {
            format: FORMAT,
            seq: self.view.seq,
            dimensions: self.index.dimensions(),
            fingerprint: self.index.fingerprint().map(str::to_string),
            definition,
            shard: None,
        };
        let mut writing = Writing::new(to, &manifest, &self.usual_order()?)?;
        for ordinals in self.ordinals.chunks(LOOKED_UP) {
            for stored in self.index.stored(ordinals, writing.has_vectors())? {
                let passages = stored.vectors.as_ref().map_or(0, |v| v.spans.len());
                progress.passages.fetch_add(passages as u64, Relaxed);
                writing.push(stored)?;
            }
            progress.loaded.fetch_add(ordinals.len() as u64, Relaxed);
            progress.bytes.fetch_add(ordinals.len() as u64, Relaxed);
        }
        writing.finish(&manifest)
    }
}

/// Writes an export to a file, which appears as a whole or not at all.
///
/// # Errors
/// `invalid_request` where the file is there already, unless it may be replaced.
pub fn export_file(export: Export, path: &Path, replace: bool, progress: &Progress) -> Result<u64> {
    if !replace && path.exists() {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("{} is there already", path.display()),
        )
        .field("to")
        .found("a file")
        .expected("a name that is free, or --force to replace the file")
        .into());
    }
    write_whole(path, |file| export.write(file, progress))
}

/// Lets `write` write a file, which appears as a whole, synced, in the place of one that may be
/// there, or not at all. Its length.
///
/// # Errors
/// Those of `write`; `invalid_request` for a path without a name; operator errors of the disk.
pub(in crate::ingest) fn write_whole(
    path: &Path,
    write: impl FnOnce(File) -> Result<File>,
) -> Result<u64> {
    let name = path.file_name().ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "there is no name to write to")
            .field("to")
            .found(path.display())
            .expected("the name of a file")
    })?;
    let mut beside = name.to_os_string();
    beside.push(format!(".{}.writing", uuid::Uuid::new_v4().simple()));
    let beside = path.with_file_name(beside);
    let cannot = |e| {
        Error::operator_from(format!("cannot write {}", path.display()), e)
            .advice("make room on that disk, or name another file")
    };
    let put = || -> Result<()> {
        let file = write(File::create_new(&beside).map_err(cannot)?)?;
        file.sync_all().map_err(cannot)?;
        drop(file);
        std::fs::rename(&beside, path).map_err(cannot)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(cannot)
    };
    let written = put();
    if written.is_err() && beside.exists() {
        // What went wrong is the better message where this does too.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    let length = std::fs::metadata(path).map_err(cannot)?.len();
    Ok(length)
}

fn properties(schema: &Schema, passages: &str) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(LEVEL).map_err(arrow_bug)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("gleaner {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    let columns = ArrowSchemaConverter::new()
        .convert(schema)
        .map_err(arrow_bug)?;
    for column in columns.columns() {
        // No two vectors have a value in common.
        if column.path().parts().first().map(String::as_str) == Some(passages) {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), false);
        }
    }
    Ok(properties.build())
}
