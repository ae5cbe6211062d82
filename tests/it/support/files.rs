//! Files of every format the readers know, written for a test.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::Value as Json;

/// Writes one batch of these columns, `group` rows to a row group.
pub fn parquet(
    path: &Path,
    columns: Vec<(&str, ArrayRef)>,
    compression: Compression,
    group: usize,
) -> PathBuf {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(group))
        .build();
    parquet_with(path, columns, properties)
}

/// The same with other properties of the file.
pub fn parquet_with(
    path: &Path,
    columns: Vec<(&str, ArrayRef)>,
    properties: WriterProperties,
) -> PathBuf {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path.to_path_buf()
}

/// Writes JSON objects as Parquet, the schema inferred from them.
pub fn parquet_of(path: &Path, rows: &[Json]) -> PathBuf {
    let schema = arrow::json::reader::infer_json_schema_from_iterator(
        rows.iter().map(Ok::<_, arrow::error::ArrowError>),
    )
    .unwrap();
    let schema = Arc::new(schema);
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::clone(&schema))
        .with_batch_size(rows.len().max(1))
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    if let Some(batch) = decoder.flush().unwrap() {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    path.to_path_buf()
}

/// Writes a line per object.
pub fn jsonl(path: &Path, rows: &[Json]) -> PathBuf {
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.to_string());
        text.push('\n');
    }
    bytes(path, text)
}

/// Writes bytes as they are.
pub fn bytes(path: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    fs::write(path, bytes).unwrap();
    path.to_path_buf()
}

/// Compresses with gzip.
pub fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Compresses with Zstandard.
pub fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 1).unwrap()
}
