//! The log as a Parquet file, a row for each document of each event: what trainers read.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
    UInt8Builder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use super::event::{EventKind, FeedbackEvent};
use super::log::records;
use crate::error::{Code, Error, Problem, Result};
use crate::index::Index;

/// Rows in a batch.
const BATCH: usize = 8_192;

/// The columns, their types and what they hold, in order.
pub const FEEDBACK_COLUMNS: [(&str, &str, &str); 10] = [
    (
        "number",
        "uint64",
        "number of the event in the index's log; rows of one event share it",
    ),
    ("type", "string", "judgment, impression or click"),
    (
        "time",
        "timestamp in milliseconds, UTC",
        "when it happened, or came",
    ),
    (
        "query",
        "string, nullable",
        "the text searched for; null for a click that named its answer alone",
    ),
    (
        "answer",
        "string, nullable",
        "the caller's name for what was shown",
    ),
    (
        "session",
        "string, nullable",
        "the caller's name for who searched",
    ),
    ("document", "string", "id of the document"),
    (
        "rank",
        "uint32, nullable",
        "where it was shown, from 1; null for judgments and for clicks whose impression is not known",
    ),
    (
        "clicked",
        "boolean",
        "whether it was clicked, by the impression itself or by a later click",
    ),
    ("grade", "uint8, nullable", "0 to 10 for judgments"),
];

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedbackExport {
    /// Events.
    pub events: u64,
    /// Rows: documents of events.
    pub rows: u64,
}

/// Writes the log to a file that is not there yet, or is replaced by `force`.
///
/// # Errors
/// `invalid_file` for a file that is there; operator errors of the disk.
pub fn export_feedback(index: &Index, to: &Path, force: bool) -> Result<FeedbackExport> {
    if to.exists() && !force {
        return Err(Problem::new(Code::InvalidFile, "the file is there already")
            .field("to")
            .found(to.display())
            .expected("another name, or --force")
            .into());
    }
    // Beside it and renamed, so that a file under its name is whole.
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let cannot = |e| Error::operator_from(format!("cannot write {}", to.display()), e);
    let file = File::create(&part).map_err(cannot)?;
    let (done, file) = write(index, file)?;
    file.sync_all().map_err(cannot)?;
    std::fs::rename(&part, to).map_err(cannot)?;
    Ok(done)
}

/// The same into anything.
pub(crate) fn write<W: Write + Send>(index: &Index, to: W) -> Result<(FeedbackExport, W)> {
    let schema = Arc::new(schema());
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let failed = |e| Error::operator_from("cannot write a Parquet file", e);
    let mut writer = ArrowWriter::try_new(to, schema.clone(), Some(properties)).map_err(failed)?;
    let mut done = FeedbackExport { events: 0, rows: 0 };
    let mut columns = Columns::default();
    for record in records(index)? {
        done.events += 1;
        done.rows += columns.add(record.number, &record.event);
        if columns.rows >= BATCH {
            writer.write(&columns.batch(&schema)?).map_err(failed)?;
        }
    }
    writer.write(&columns.batch(&schema)?).map_err(failed)?;
    Ok((done, writer.into_inner().map_err(failed)?))
}

fn schema() -> Schema {
    let kinds = [
        DataType::UInt64,
        DataType::Utf8,
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        DataType::UInt32,
        DataType::Boolean,
        DataType::UInt8,
    ];
    let columns = FEEDBACK_COLUMNS.iter().zip(kinds);
    let fields: Vec<Field> = columns
        .map(|((name, kind, _), data)| Field::new(*name, data, kind.ends_with("nullable")))
        .collect();
    Schema::new(fields)
}

#[derive(Default)]
struct Columns {
    number: UInt64Builder,
    kind: StringBuilder,
    time: TimestampMillisecondBuilder,
    query: StringBuilder,
    answer: StringBuilder,
    session: StringBuilder,
    document: StringBuilder,
    rank: UInt32Builder,
    clicked: BooleanBuilder,
    grade: UInt8Builder,
    rows: usize,
}

impl Columns {
    /// Adds an event's rows; how many.
    fn add(&mut self, number: u64, event: &FeedbackEvent) -> u64 {
        let before = self.rows;
        let clicked = event.clicked.as_deref().unwrap_or_default();
        match event.kind {
            EventKind::Impression => {
                for one in event.shown.iter().flatten() {
                    self.row(
                        number,
                        event,
                        &one.id,
                        Some(one.rank),
                        clicked.contains(&one.id),
                    );
                }
            }
            EventKind::Judgment | EventKind::Click => {
                let id = event.id.as_deref().unwrap_or_default();
                self.row(number, event, id, None, event.kind == EventKind::Click);
            }
        }
        (self.rows - before) as u64
    }

    fn row(
        &mut self,
        number: u64,
        event: &FeedbackEvent,
        id: &str,
        rank: Option<u32>,
        clicked: bool,
    ) {
        let time = event
            .time
            .as_deref()
            .and_then(|t| DateTime::parse_from_rfc3339(t).ok());
        self.number.append_value(number);
        self.kind.append_value(match event.kind {
            EventKind::Judgment => "judgment",
            EventKind::Impression => "impression",
            EventKind::Click => "click",
        });
        // It is filled in when an event is taken.
        self.time
            .append_value(time.map_or(0, |t| t.timestamp_millis()));
        self.query.append_option(event.query.as_deref());
        self.answer.append_option(event.answer.as_deref());
        self.session.append_option(event.session.as_deref());
        self.document.append_value(id);
        self.rank.append_option(rank);
        self.clicked.append_value(clicked);
        self.grade.append_option(event.grade);
        self.rows += 1;
    }

    fn batch(&mut self, schema: &Arc<Schema>) -> Result<RecordBatch> {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.number.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.time.finish().with_timezone("UTC")),
            Arc::new(self.query.finish()),
            Arc::new(self.answer.finish()),
            Arc::new(self.session.finish()),
            Arc::new(self.document.finish()),
            Arc::new(self.rank.finish()),
            Arc::new(self.clicked.finish()),
            Arc::new(self.grade.finish()),
        ];
        RecordBatch::try_new(schema.clone(), columns)
            .map_err(|e| Error::Bug(format!("columns do not make a batch: {e}")))
    }
}
