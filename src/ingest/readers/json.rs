//! JSON: a line per object, one array of objects, or objects one after the other.

use std::io::{self, BufRead};
use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::lines::{Line, Lines, START_BYTES};
use super::{Item, Items, Reader};
use crate::error::{Code, Error, Problem};
use crate::ingest::Text;
use crate::ingest::source::Kept;
use crate::ingest::text::stream_error;

/// A `.json` file, whose shape its first bytes tell: an array if the first is `[`,
/// lines if the first line is a JSON value by itself, otherwise values one after the
/// other, each over as many lines as it likes.
pub(in crate::ingest) fn open(text: Text, limit: usize) -> Items {
    let head = text.head.trim_ascii_start();
    if head.first() != Some(&b'[')
        && let Some(end) = head.iter().position(|&byte| byte == b'\n')
        && serde_json::from_slice::<serde::de::IgnoredAny>(&head[..end]).is_ok()
    {
        return lines(text, limit);
    }
    let in_array = head.first() == Some(&b'[');
    let (path, reader) = text.into_reader();
    Box::new(JsonValues {
        values: Values::new(reader, limit, in_array),
        path,
        limit,
    })
}

/// A file of one JSON object to a line.
pub(in crate::ingest) fn lines(text: Text, limit: usize) -> Items {
    let (path, reader) = text.into_reader();
    Box::new(JsonLines {
        lines: Lines::new(reader, limit),
        path,
        limit,
    })
}

struct JsonLines<R> {
    lines: Lines<R>,
    path: PathBuf,
    limit: usize,
}

impl<R: BufRead + Send> Reader for JsonLines<R> {
    /// Without parsing them.
    fn pass_over(&mut self) -> Option<Result<(), Error>> {
        loop {
            return match self.lines.next_line() {
                Err(error) => Some(Err(stream_error(&self.path, error))),
                Ok(None) => None,
                Ok(Some((_, Line::Whole(bytes)))) if bytes.trim_ascii().is_empty() => continue,
                Ok(Some(_)) => Some(Ok(())),
            };
        }
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            return match self.lines.next_line() {
                Err(error) => Some(Err(stream_error(&self.path, error))),
                Ok(None) => None,
                Ok(Some((_, Line::Whole(bytes)))) if bytes.trim_ascii().is_empty() => continue,
                Ok(Some((line, Line::Whole(bytes)))) => Some(Ok(whole(line, bytes))),
                Ok(Some((line, Line::Start(bytes)))) => Some(Ok(start(line, bytes, self.limit))),
            };
        }
    }
}

struct JsonValues<R> {
    values: Values<R>,
    path: PathBuf,
    limit: usize,
}

impl<R: BufRead + Send> Reader for JsonValues<R> {}

impl<R: BufRead> Iterator for JsonValues<R> {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.values.next_value() {
            Ok(None) => None,
            Ok(Some((line, Line::Whole(bytes)))) => Some(Ok(whole(line, bytes))),
            Ok(Some((line, Line::Start(bytes)))) => Some(Ok(start(line, bytes, self.limit))),
            Err(End::Io(error)) => Some(Err(stream_error(&self.path, error))),
            Err(End::Shape {
                line,
                found,
                expected,
            }) => Some(Err(Problem::new(
                Code::InvalidFile,
                format!(
                    "{} is not whole JSON, from line {line} on",
                    self.path.display()
                ),
            )
            .found(found)
            .expected(expected)
            .into())),
        }
    }
}

fn whole(line: u64, bytes: Vec<u8>) -> Item {
    Item {
        place: None,
        rows: 1,
        line: Some(line),
        json: parse(&bytes),
        vectors: None,
        kept: Kept::Text(bytes),
    }
}

fn start(line: u64, bytes: Vec<u8>, limit: usize) -> Item {
    Item {
        place: None,
        rows: 1,
        line: Some(line),
        json: Err(too_long(limit)),
        vectors: None,
        kept: Kept::Start(bytes),
    }
}

/// The problem of a row past the limit.
pub(super) fn too_long(limit: usize) -> Problem {
    Problem::new(Code::LimitExceeded, "the row is too long")
        .found(format!("more than {limit} bytes"))
        .expected(format!("at most {limit} bytes"))
}

fn parse(bytes: &[u8]) -> Result<Map<String, Json>, Problem> {
    let problem = |message: &str| Problem::new(Code::InvalidDocument, message);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        problem("the row is not valid UTF-8")
            .found(format!("an invalid byte at offset {}", error.valid_up_to()))
            .expected("UTF-8")
    })?;
    let json: Json = serde_json::from_str(text).map_err(|error| {
        problem("the row is not valid JSON")
            .found(error)
            .expected("a JSON object")
    })?;
    let kind = match json {
        Json::Object(object) => return Ok(object),
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
    };
    Err(problem("the row is not an object")
        .found(kind)
        .expected("a JSON object"))
}

/// Why the values of a file end early.
enum End {
    Io(io::Error),
    Shape {
        line: u64,
        found: &'static str,
        expected: &'static str,
    },
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Io(error)
    }
}

/// Finds where each value of a stream begins and ends by its brackets and quotes,
/// without parsing it: a value that is broken inside is still one value, and one that
/// is too long is skipped in constant memory.
struct Values<R> {
    reader: R,
    limit: usize,
    in_array: bool,
    /// The array's opening bracket is still ahead.
    before_array: bool,
    done: bool,
    line: u64,
}

impl<R: BufRead> Values<R> {
    fn new(reader: R, limit: usize, in_array: bool) -> Self {
        Values {
            reader,
            limit,
            in_array,
            before_array: in_array,
            done: false,
            line: 1,
        }
    }

    fn next_value(&mut self) -> Result<Option<(u64, Line)>, End> {
        if self.done {
            return Ok(None);
        }
        // Between two values.
        loop {
            let Some(byte) = self.peek()? else {
                self.done = true;
                return if self.in_array {
                    Err(self.shape("the end of the file", "the array closed by ]"))
                } else {
                    Ok(None)
                };
            };
            match byte {
                b' ' | b'\t' | b'\r' => {}
                b'\n' => self.line += 1,
                b',' if self.in_array => {}
                b'[' if self.before_array => self.before_array = false,
                b']' if self.in_array => {
                    self.done = true;
                    self.reader.consume(1);
                    return self.after_array();
                }
                _ => return self.value(byte).map(Some),
            }
            self.reader.consume(1);
        }
    }

    /// Whether anything but blanks follows the array.
    fn after_array(&mut self) -> Result<Option<(u64, Line)>, End> {
        while let Some(byte) = self.peek()? {
            match byte {
                b' ' | b'\t' | b'\r' => {}
                b'\n' => self.line += 1,
                _ => return Err(self.shape("more text after the array", "the end of the file")),
            }
            self.reader.consume(1);
        }
        Ok(None)
    }

    /// The value that begins with `first`, which is next in the stream.
    fn value(&mut self, first: u8) -> Result<(u64, Line), End> {
        let line = self.line;
        let mut bytes = Vec::new();
        let mut length = 0usize;
        let mut scan = Scan::new(first);
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                // A bare number may end with the file; nothing else may.
                if scan.is_scalar() {
                    break;
                }
                self.done = true;
                return Err(End::Shape {
                    line,
                    found: "the end of the file inside a value",
                    expected: "the value's closing bracket",
                });
            }
            let (used, ended) = scan.take(chunk, &mut self.line);
            length = length.saturating_add(used);
            if length <= self.limit {
                bytes.extend_from_slice(&chunk[..used]);
            } else if bytes.len() < START_BYTES {
                let room = START_BYTES - bytes.len();
                bytes.extend_from_slice(&chunk[..used.min(room)]);
            } else {
                bytes.truncate(START_BYTES);
                bytes.shrink_to_fit();
            }
            self.reader.consume(used);
            if ended {
                break;
            }
        }
        if length > self.limit {
            bytes.truncate(START_BYTES);
            return Ok((line, Line::Start(bytes)));
        }
        Ok((line, Line::Whole(bytes)))
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    fn shape(&self, found: &'static str, expected: &'static str) -> End {
        End::Shape {
            line: self.line,
            found,
            expected,
        }
    }
}

/// Where in a value the scan is.
struct Scan {
    /// Open brackets; a value of brackets ends when it returns to 0.
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// A value without brackets or quotes: it ends before a separator.
    scalar: bool,
    begun: bool,
}

impl Scan {
    fn new(first: u8) -> Self {
        Scan {
            depth: 0,
            in_string: false,
            escaped: false,
            scalar: !matches!(first, b'{' | b'[' | b'"'),
            begun: false,
        }
    }

    fn is_scalar(&self) -> bool {
        self.scalar
    }

    /// How many bytes of `chunk` belong to the value, and whether it ends with them.
    fn take(&mut self, chunk: &[u8], line: &mut u64) -> (usize, bool) {
        for (i, &byte) in chunk.iter().enumerate() {
            if byte == b'\n' && !(self.scalar && self.begun) {
                *line += 1;
            }
            if self.scalar {
                let separates = matches!(byte, b',' | b'[' | b']' | b'{' | b'}' | b'"')
                    || byte.is_ascii_whitespace();
                // The first byte belongs to the value whatever it is, or a stray
                // closing brace would be looked at forever.
                if self.begun && separates {
                    return (i, true);
                }
                self.begun = true;
            } else if self.in_string {
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == b'"' {
                    self.in_string = false;
                    if self.depth == 0 {
                        return (i + 1, true);
                    }
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return (i + 1, true);
                        }
                    }
                    _ => {}
                }
            }
        }
        (chunk.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(text: &str, limit: usize, capacity: usize) -> (Vec<(u64, String)>, bool) {
        let in_array = text.trim_start().starts_with('[');
        let reader = BufReader::with_capacity(capacity, text.as_bytes());
        let mut values = Values::new(reader, limit, in_array);
        let mut all = Vec::new();
        loop {
            match values.next_value() {
                Ok(None) => return (all, true),
                Ok(Some((line, Line::Whole(bytes)))) => {
                    all.push((line, String::from_utf8(bytes).unwrap()));
                }
                Ok(Some((line, Line::Start(_)))) => all.push((line, "too long".into())),
                Err(_) => return (all, false),
            }
        }
    }

    #[test]
    fn values_are_found_whatever_the_chunks() {
        let text = "\n[ {\"a\": \"}]\\\"\"},\n 12, \"x\\\\\", [1, [2]] , {\n}\n,{\"b\"]\n]\n";
        for capacity in 1..20 {
            let (all, whole) = read(text, 100, capacity);
            assert!(whole);
            let values: Vec<&str> = all.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(
                values,
                [
                    "{\"a\": \"}]\\\"\"}",
                    "12",
                    "\"x\\\\\"",
                    "[1, [2]]",
                    "{\n}",
                    "{\"b\"]"
                ]
            );
            let lines: Vec<u64> = all.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, [2, 3, 3, 3, 3, 5]);
        }
    }

    #[test]
    fn a_stream_needs_no_array() {
        let (all, whole) = read("{\n\"a\":1}{\"b\":2}\n} 7", 100, 3);
        assert!(whole);
        let values: Vec<&str> = all.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["{\n\"a\":1}", "{\"b\":2}", "}", "7"]);
    }

    #[test]
    fn long_values_are_skipped_and_short_files_noticed() {
        let long = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(9000));
        let (all, whole) = read(&long, 100, 64);
        assert!(whole);
        assert_eq!(all, [(1, "too long".into()), (1, "{}".into())]);
        assert!(!read("[{}", 100, 64).1);
        assert!(!read("[{},{", 100, 64).1);
        assert!(!read("[{}] {}", 100, 64).1);
        assert!(read("[]", 100, 64).1);
        assert!(read("", 100, 64).1);
    }
}
