//! Arrow files and streams (`.arrow`, `.feather`, `.arrows`), a record batch at a time.
//!
//! Both are messages: batches, and dictionaries that those after them use. A file has a
//! footer that says where they lie. Where it is damaged, the file is read as the stream that
//! it is, up to the damage. A batch that cannot be decoded is decoded once more with strings
//! taken as bytes, so that a string that is not UTF-8 is one row's problem; one that cannot
//! be decoded even so is one [`Item`] that stands for all of its rows.
//!
//! A batch is in memory whole: one that is larger than `max_batch_bytes`, or says so of
//! itself, is left out like a damaged one. A dictionary that is, is no rows: the batches that
//! need it cannot be decoded, and those of which its column is left out can.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, Message, MessageHeader, MetadataVersion, root_as_footer, root_as_message};
use serde_json::Map;

use super::columns::{Column, Columns, guard};
use super::{Item, Place, Reader};
use crate::error::{Code, Error, Problem};
use crate::ingest::ranges::{Onward, Ranges};
use crate::ingest::source::Kept;
use crate::ingest::text::stream_error;
use crate::ingest::{Mapping, Position};

const MAGIC: &[u8] = b"ARROW1";
/// The magic number of a file, padded.
const HEAD: u64 = 8;
/// The most that a writer fills up to before the first message.
const ALIGNED: u64 = 64;
/// Before the length of a message, since version 0.15 of Arrow.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Largest footer, and largest header of a message: 64 MiB.
const MAX_HEADER: usize = 64 << 20;
/// Bytes asked for at once.
const BUFFER_BYTES: usize = 256 << 10;

/// An Arrow file or stream, read from one of its rows to its last.
pub(in crate::ingest) struct ArrowRows {
    messages: Messages,
    decoder: FileDecoder,
    /// With strings as bytes.
    bytes: FileDecoder,
    columns: Columns,
    limit: usize,
    /// Dictionaries that the columns need which are read.
    needed: HashSet<i64>,
    /// Of all dictionaries, those that could not be read.
    missing: HashSet<i64>,
    /// The number of the next batch.
    group: u64,
    /// Batches, and rows of the one behind them, that are passed over.
    from: Position,
    /// Rows before the next batch.
    before: u64,
    batch: Option<Arc<RecordBatch>>,
    next: usize,
    start: Place,
    total: u64,
    read: Arc<AtomicU64>,
}

/// Where the messages come from.
struct Messages {
    /// The file, where its footer says where they lie.
    blocks: VecDeque<Block>,
    ranges: Ranges,
    /// Otherwise the stream.
    stream: Option<BufReader<Onward>>,
    /// What is wrong with the footer.
    damage: Option<Problem>,
}

/// A message and its body.
struct Whole {
    block: Block,
    buffer: Buffer,
}

/// Why there is no message.
enum Broken {
    /// The next one can be read.
    Message {
        rows: u64,
        found: String,
    },
    /// The same; it would have been a dictionary, or a part of it.
    Dictionary(i64),
    End(Error),
}

/// What a header says of its message.
struct About {
    kind: MessageHeader,
    rows: u64,
    dictionary: Option<i64>,
    body: i64,
}

impl About {
    fn of(message: &Message<'_>) -> About {
        About {
            kind: message.header_type(),
            rows: rows_of(message),
            dictionary: message
                .header_as_dictionary_batch()
                .map(|dictionary| dictionary.id()),
            body: message.bodyLength(),
        }
    }

    fn broken(&self, found: String) -> Broken {
        match self.dictionary {
            Some(id) => Broken::Dictionary(id),
            None => Broken::Message {
                rows: self.rows,
                found,
            },
        }
    }
}

impl ArrowRows {
    /// Opens a file or a stream and decodes its schema.
    pub(in crate::ingest) fn open(
        ranges: Ranges,
        mapping: &Mapping,
        limit: usize,
    ) -> Result<Self, Error> {
        let path = ranges.name().to_path_buf();
        let head = bytes(&ranges, 0, ranges.total().min(HEAD))?;
        let (schema, version, messages) = match head.starts_with(MAGIC) {
            true => match footer(&ranges) {
                Ok((schema, version, blocks)) => {
                    let messages = Messages {
                        blocks,
                        ranges: ranges.clone(),
                        stream: None,
                        damage: None,
                    };
                    (schema, version, messages)
                }
                Err(Error::User(problem)) => {
                    stream(&ranges, behind_magic(&ranges)?, Some(*problem), limit)?
                }
                Err(error) => return Err(error),
            },
            false => stream(&ranges, 0, None, limit)?,
        };
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let fields = mapping.header(&names).map_err(|mut problem| {
            problem.message = format!("{}: {}", path.display(), problem.message);
            problem
        })?;
        let is_kept = |(i, field): (usize, &Option<String>)| field.is_some().then_some(i);
        let kept: Vec<usize> = fields.iter().enumerate().filter_map(is_kept).collect();
        let fields = schema
            .fields()
            .iter()
            .zip(fields)
            .filter_map(|(field, to)| {
                let extension = field.metadata().get("ARROW:extension:name");
                Some(Column {
                    name: field.name().clone(),
                    field: to?,
                    uuid: extension.is_some_and(|name| name == "arrow.uuid"),
                })
            });
        let columns = Columns {
            fields: fields.collect(),
            reading: None,
            vector: None,
        };
        let mut needed = HashSet::new();
        for index in &kept {
            dictionaries(schema.field(*index), &mut needed);
        }
        let hinted: Vec<FieldRef> = schema.fields().iter().map(bytes_field).collect();
        let hinted = Arc::new(Schema::new(hinted));
        let decoder =
            |schema: SchemaRef| FileDecoder::new(schema, version).with_projection(kept.clone());
        Ok(ArrowRows {
            decoder: decoder(Arc::new(schema)),
            bytes: decoder(hinted),
            messages,
            columns,
            limit,
            needed,
            missing: HashSet::new(),
            group: 0,
            from: Position::default(),
            before: 0,
            batch: None,
            next: 0,
            start: Place {
                position: Position::default(),
                number: 1,
            },
            total: ranges.total(),
            read: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Reads the column of a field as the documents' vectors; see [`Columns::vector`].
    pub(in crate::ingest) fn bring_vectors(&mut self, field: Option<&String>) {
        self.columns.vector = field.cloned();
    }

    /// Size of the file, in bytes.
    pub(in crate::ingest) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes read.
    pub(in crate::ingest) fn read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Decodes the next batch, or says that it cannot be.
    fn advance(&mut self) -> Result<Option<Item>, Error> {
        loop {
            let passed = self.group < self.from.row_group;
            let (rows, found) = match self.messages.next(self.limit, passed) {
                Ok(None) => return Ok(None),
                Err(Broken::End(error)) => return Err(error),
                Err(Broken::Message { rows, found }) => (rows, Err(found)),
                Err(Broken::Dictionary(id)) => {
                    self.missing.insert(id);
                    continue;
                }
                Ok(Some(message)) => {
                    let length = message.buffer.len() as u64;
                    self.read.fetch_add(length, Ordering::Relaxed);
                    let header = guard(|| message.parse());
                    match header.map(|header| (header.header_type(), header)) {
                        Ok((MessageHeader::DictionaryBatch, header)) => {
                            let Some(header) = header.header_as_dictionary_batch() else {
                                continue;
                            };
                            let Whole { block, buffer } = &message;
                            let strings = guard(|| self.decoder.read_dictionary(block, buffer));
                            let bytes = guard(|| self.bytes.read_dictionary(block, buffer));
                            // Where one cannot be decoded, the batches that need it cannot, nor
                            // may they be read by the one that it would have taken the place of.
                            match strings.or(bytes) {
                                Err(_) => drop(self.missing.insert(header.id())),
                                Ok(()) if header.isDelta() => {}
                                Ok(()) => drop(self.missing.remove(&header.id())),
                            }
                            continue;
                        }
                        Ok((MessageHeader::RecordBatch, header)) => {
                            let rows = rows_of(&header);
                            match passed {
                                true => (rows, Ok(None)),
                                false => (rows, self.decode(&message).map(Some)),
                            }
                        }
                        // Tensors and the like hold no rows.
                        Ok(_) => continue,
                        Err(found) => (0, Err(found)),
                    }
                }
            };
            let skipped = match self.group == self.from.row_group {
                true => self.from.row,
                false => 0,
            };
            let place = Place {
                position: Position {
                    row_group: self.group,
                    row: skipped,
                },
                number: self.before.saturating_add(skipped).saturating_add(1),
            };
            self.group += 1;
            self.before = self.before.saturating_add(rows);
            match found {
                Ok(None) => return Ok(Some(passed_over(place))),
                Ok(Some(batch)) => {
                    self.start = place;
                    // Of machine size, or past the end of the batch.
                    self.next = usize::try_from(skipped).unwrap_or(usize::MAX);
                    self.batch = Some(Arc::new(batch));
                    return Ok(None);
                }
                // One that is damaged was told about where something of it was passed over.
                Err(_) if passed || skipped > 0 => {}
                Err(found) => return Ok(Some(lost(place, rows, found))),
            }
        }
    }

    fn decode(&self, message: &Whole) -> Result<RecordBatch, String> {
        if self.needed.intersection(&self.missing).next().is_some() {
            return Err("a dictionary that it needs is too large or cannot be decoded".into());
        }
        let Whole { block, buffer } = message;
        let decode = |decoder: &FileDecoder| {
            let decoded = guard(|| decoder.read_record_batch(block, buffer))?;
            decoded.ok_or_else(|| "an empty message".to_string())
        };
        decode(&self.decoder).or_else(|found| decode(&self.bytes).map_err(|_| found))
    }
}

/// Tells that a batch was passed over.
fn passed_over(place: Place) -> Item {
    Item {
        place: Some(place),
        rows: 0,
        line: None,
        json: Ok(Map::new()),
        vectors: None,
        kept: Kept::Text(Vec::new()),
    }
}

/// The ids of the dictionaries that a field needs.
fn dictionaries(field: &Field, found: &mut HashSet<i64>) {
    // Files are read by these ids still.
    #[allow(deprecated)]
    found.extend(field.dict_id());
    match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => dictionaries(item, found),
        DataType::Struct(fields) => fields.iter().for_each(|field| dictionaries(field, found)),
        DataType::RunEndEncoded(_, values) => dictionaries(values, found),
        DataType::Union(fields, _) => fields
            .iter()
            .for_each(|(_, field)| dictionaries(field, found)),
        _ => {}
    }
}

/// A batch that cannot be decoded.
fn lost(place: Place, rows: u64, found: String) -> Item {
    Item {
        place: Some(place),
        // Where not even that can be read, it stands for one.
        rows: rows.max(1),
        line: None,
        json: Err(Problem::new(
            Code::InvalidFile,
            format!(
                "the {rows} rows of record batch {} cannot be decoded",
                place.position.row_group
            ),
        )
        .found(found)
        .expected("a whole record batch")),
        vectors: None,
        kept: Kept::Text(Vec::new()),
    }
}

impl Reader for ArrowRows {
    /// Without decoding the batches before.
    fn seek(&mut self, from: Position) -> Result<bool, Error> {
        self.from = from;
        Ok(true)
    }
}

impl Iterator for ArrowRows {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = &self.batch
                && self.next < batch.num_rows()
            {
                let mut place = self.start;
                let passed = self.next as u64 - self.start.position.row;
                place.position.row += passed;
                place.number += passed;
                let item = self.columns.item(batch, self.next, place);
                self.next += 1;
                return Some(Ok(item));
            }
            self.batch = None;
            match self.advance() {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) if self.batch.is_some() => {}
                Ok(None) => {
                    let damage = self.messages.damage.take()?;
                    return Some(Err(damage.into()));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Whole {
    fn parse(&self) -> Result<Message<'_>, String> {
        let bytes = match self.buffer.get(..4) {
            Some(mark) if *mark == CONTINUATION => self.buffer.get(8..),
            _ => self.buffer.get(4..),
        };
        let bytes = bytes.ok_or("a message of no length")?;
        root_as_message(bytes).map_err(|error| error.to_string())
    }
}

/// Rows of a record batch, by its header.
fn rows_of(message: &Message<'_>) -> u64 {
    let batch = message.header_as_record_batch();
    batch.map_or(0, |batch| u64::try_from(batch.length()).unwrap_or(0))
}

impl Messages {
    /// The next message; of one that is passed over the header alone.
    fn next(&mut self, limit: usize, passed: bool) -> Result<Option<Whole>, Broken> {
        let message = match &mut self.stream {
            Some(stream) => match next_of_stream(stream, limit) {
                Err(Broken::End(error)) => match (error, self.damage.take()) {
                    // The footer's damage is what there is to say of a file that is cut short.
                    (Error::User(_), Some(damage)) => Err(Broken::End(damage.into())),
                    (error, _) => Err(Broken::End(error)),
                },
                other => other,
            },
            None => match self.blocks.pop_front() {
                None => return Ok(None),
                Some(block) => self.read(block, limit, passed).map(Some),
            },
        }?;
        let Some(message) = message else {
            return Ok(None);
        };
        // A message is not decoded before it is known how much memory that takes.
        let size = guard(|| message.parse()).and_then(|header| {
            let sizes = decoded_bytes(&header, &message.buffer, message.block.metaDataLength());
            sizes.map(|bytes| (bytes, About::of(&header)))
        });
        match size {
            // Dictionaries are decoded also where batches are passed over.
            Ok((bytes, about))
                if bytes > limit as u64 && (!passed || about.dictionary.is_some()) =>
            {
                let found = format!("{bytes} bytes in one message; at most {limit} are taken");
                Err(about.broken(found))
            }
            Ok(_) => Ok(Some(message)),
            Err(found) => Err(
                match guard(|| message.parse().map(|header| About::of(&header))) {
                    Ok(about) => about.broken(found),
                    Err(_) => Broken::Message { rows: 0, found },
                },
            ),
        }
    }

    fn read(&self, block: Block, limit: usize, passed: bool) -> Result<Whole, Broken> {
        let broken = |rows, found: String| Broken::Message { rows, found };
        let (Ok(offset), Ok(header), Ok(body)) = (
            u64::try_from(block.offset()),
            usize::try_from(block.metaDataLength()),
            usize::try_from(block.bodyLength()),
        ) else {
            return Err(broken(0, "a message with a negative length".into()));
        };
        let get = |length: usize| {
            let bytes = self.ranges.bytes(offset, length);
            bytes.map_err(|error| match self.ranges.trouble() {
                Some(trouble) => Broken::End(trouble),
                None => broken(0, error.to_string()),
            })
        };
        let message = |bytes| Whole {
            block,
            buffer: Buffer::from(bytes),
        };
        let head = message(get(header)?);
        let about = guard(|| head.parse().map(|header| About::of(&header)));
        let about = about.map_err(|found| broken(0, found))?;
        if passed && about.kind == MessageHeader::RecordBatch {
            return Ok(head);
        }
        let length = header.saturating_add(body);
        if length > limit {
            let found = format!("a message of {length} bytes; at most {limit} are taken");
            return Err(about.broken(found));
        }
        get(length).map(message).map_err(|error| match error {
            Broken::Message { found, .. } => about.broken(found),
            end => end,
        })
    }
}

/// Bytes that a message takes in memory once it is decompressed, by its own account.
fn decoded_bytes(message: &Message<'_>, buffer: &Buffer, header: i32) -> Result<u64, String> {
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message
            .header_as_dictionary_batch()
            .and_then(|dictionary| dictionary.data()),
        _ => None,
    };
    let Some(batch) = batch else {
        return Ok(0);
    };
    let is_compressed = batch.compression().is_some();
    let mut total = 0_u64;
    for part in batch.buffers().iter().flatten() {
        let length = u64::try_from(part.length()).map_err(|_| "a negative length")?;
        let at = usize::try_from(part.offset())
            .ok()
            .and_then(|offset| offset.checked_add(usize::try_from(header).ok()?));
        // In front of what is compressed stands how long it was; -1 for what is not.
        let prefix = at.and_then(|at| buffer.get(at..at.checked_add(8)?));
        let stated = match prefix.map(<[u8; 8]>::try_from) {
            Some(Ok(prefix)) if is_compressed && length >= 8 => i64::from_le_bytes(prefix),
            _ => -1,
        };
        total = total.saturating_add(u64::try_from(stated).unwrap_or(length));
    }
    Ok(total)
}

type Footer = (Schema, MetadataVersion, VecDeque<Block>);

/// Where the first message of a file begins: writers fill up behind the mark with zeros, to 8
/// bytes or to 64.
fn behind_magic(ranges: &Ranges) -> Result<u64, Error> {
    let end = ranges.total().clamp(HEAD, ALIGNED);
    let padding = bytes(ranges, HEAD, end - HEAD)?;
    let zeros = padding.iter().take_while(|byte| **byte == 0).count() as u64;
    Ok(HEAD + zeros / 8 * 8)
}

/// What the footer of a file says: the schema, and where dictionaries and batches lie.
fn footer(ranges: &Ranges) -> Result<Footer, Error> {
    let (path, total) = (ranges.name(), ranges.total());
    let damaged = |found: String| -> Error {
        invalid(path, "the footer is damaged")
            .found(found)
            .expected("an Arrow footer, and ARROW1 at the end")
            .into()
    };
    let end = total
        .checked_sub(10)
        .ok_or_else(|| damaged(format!("{total} bytes")))?;
    let tail: [u8; 10] = bytes(ranges, end, 10)?
        .as_ref()
        .try_into()
        .map_err(|_| damaged("no end".into()))?;
    let length = read_footer_length(tail).map_err(|error| damaged(error.to_string()))?;
    if length as u64 > end || length > MAX_HEADER {
        return Err(damaged(format!(
            "a footer of {length} bytes in a file of {total}"
        )));
    }
    let bytes = bytes(ranges, end - length as u64, length as u64)?;
    guard(|| -> Result<Footer, String> {
        let footer = root_as_footer(&bytes).map_err(|error| error.to_string())?;
        let schema = footer.schema().ok_or("a footer without a schema")?;
        let dictionaries = footer.dictionaries();
        let dictionaries = dictionaries.iter().flatten().copied();
        let batches = footer.recordBatches();
        let batches = batches.iter().flatten().copied();
        let blocks = dictionaries.chain(batches).collect();
        Ok((fb_to_schema(schema), footer.version(), blocks))
    })
    .map_err(damaged)
}

/// Begins to read a stream, at its schema.
fn stream(
    ranges: &Ranges,
    at: u64,
    damage: Option<Problem>,
    limit: usize,
) -> Result<(Schema, MetadataVersion, Messages), Error> {
    let path = ranges.name();
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, Onward::through(ranges.clone(), at));
    let first = match next_of_stream(&mut stream, limit) {
        Ok(Some(first)) => Ok(first),
        Ok(None) => Err("no message".to_string()),
        Err(Broken::Message { found, .. }) => Err(found),
        Err(Broken::Dictionary(_)) => Err("a dictionary before the schema".to_string()),
        Err(Broken::End(Error::User(problem))) => Err(problem.found.unwrap_or_default()),
        Err(Broken::End(error)) => return Err(error),
    };
    let schema = first.and_then(|first| {
        guard(|| {
            let message = first.parse()?;
            let schema = message.header_as_schema().ok_or("no schema")?;
            Ok::<_, String>((fb_to_schema(schema), message.version()))
        })
    });
    match schema {
        Ok((schema, version)) => {
            let messages = Messages {
                blocks: VecDeque::new(),
                ranges: ranges.clone(),
                stream: Some(stream),
                damage,
            };
            Ok((schema, version, messages))
        }
        Err(found) => {
            let problem = damage.unwrap_or_else(|| {
                invalid(path, "this is no Arrow file")
                    .found(found)
                    .expected("an Arrow IPC file, which begins with ARROW1, or a stream")
            });
            Err(problem.into())
        }
    }
}

/// The next message of a stream; None at its end.
fn next_of_stream(stream: &mut BufReader<Onward>, limit: usize) -> Result<Option<Whole>, Broken> {
    let path = stream.get_ref().name().to_path_buf();
    let end = |error: io::Error| {
        Broken::End(match error.kind() {
            io::ErrorKind::UnexpectedEof => invalid(&path, "the file is cut short")
                .found("the end of the file inside a message")
                .expected("whole messages")
                .into(),
            _ => stream_error(&path, error),
        })
    };
    let wrong = |found: String| {
        let problem = invalid(&path, "this is not a whole Arrow stream");
        Broken::End(problem.found(found).expected("messages").into())
    };
    let mut head = [0; 4];
    let mut read = 0;
    while read < head.len() {
        match stream.read(&mut head[read..]) {
            // A writer that was closed says so, one that was not need not have failed.
            Ok(0) if read == 0 => return Ok(None),
            Ok(0) => return Err(end(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => read += n,
            Err(error) => return Err(end(error)),
        }
    }
    let mut buffer = head.to_vec();
    if head == CONTINUATION {
        stream.read_exact(&mut head).map_err(end)?;
        buffer.extend(head);
    }
    let length = i32::from_le_bytes(head);
    if length == 0 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| wrong(format!("a length of {length}")))?;
    if length > MAX_HEADER {
        return Err(wrong(format!("a header of {length} bytes")));
    }
    let take = |stream: &mut BufReader<Onward>, length: usize, buffer: &mut Vec<u8>| {
        // Memory grows with what there is, not with what was said.
        let read = stream.by_ref().take(length as u64).read_to_end(buffer);
        match read {
            Ok(read) if read == length => Ok(()),
            Ok(_) => Err(end(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(end(error)),
        }
    };
    take(stream, length, &mut buffer)?;
    let header = buffer.len();
    let parsed = guard(|| {
        let message = Whole {
            block: Block::new(0, 0, 0),
            buffer: Buffer::from(buffer.as_slice()),
        };
        let parsed = message.parse()?;
        Ok::<_, String>(About::of(&parsed))
    });
    // Without the header nobody knows where the next message begins.
    let about = parsed.map_err(wrong)?;
    let body = usize::try_from(about.body);
    let body = body.map_err(|_| wrong(format!("a body of {} bytes", about.body)))?;
    if header.saturating_add(body) > limit {
        let passed = io::copy(&mut stream.by_ref().take(body as u64), &mut io::sink());
        passed.map_err(end)?;
        let found = format!("a message of {body} bytes; at most {limit} are taken");
        return Err(about.broken(found));
    }
    take(stream, body, &mut buffer)?;
    let block = Block::new(0, header as i32, body as i64);
    Ok(Some(Whole {
        block,
        buffer: Buffer::from(buffer),
    }))
}

/// An Arrow field with bytes in the place of strings, which lie in memory in the same way.
fn bytes_field(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Dictionary(keys, values) => {
            let values = bytes_field(&Arc::new(Field::new("", (**values).clone(), true)));
            DataType::Dictionary(keys.clone(), Box::new(values.data_type().clone()))
        }
        DataType::Utf8 => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        DataType::Utf8View => DataType::BinaryView,
        DataType::List(item) => DataType::List(bytes_field(item)),
        DataType::LargeList(item) => DataType::LargeList(bytes_field(item)),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(bytes_field(item), *n),
        DataType::ListView(item) => DataType::ListView(bytes_field(item)),
        DataType::LargeListView(item) => DataType::LargeListView(bytes_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(bytes_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(bytes_field(entries), *sorted),
        _ => return Arc::clone(field),
    };
    // With the id of its dictionary, which `with_data_type` keeps.
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

fn bytes(ranges: &Ranges, start: u64, length: u64) -> Result<bytes::Bytes, Error> {
    // Bounded by the callers.
    let read = ranges.bytes(start, length as usize);
    read.map_err(|error| match ranges.trouble() {
        Some(trouble) => trouble,
        None => invalid(ranges.name(), "this is no whole Arrow file")
            .found(error)
            .expected("an Arrow IPC file or stream")
            .into(),
    })
}

fn invalid(path: &Path, message: &str) -> Problem {
    Problem::new(Code::InvalidFile, format!("{}: {message}", path.display()))
}
