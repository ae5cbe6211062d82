//! A file or an object, read by ranges of bytes.
//!
//! Of an object only those column chunks are fetched that are read, and of large ones a window
//! at a time, so that memory does not grow with the object: at most [`WINDOWS`] bytes, unless
//! a single page is larger. A file stays open, so that it can be asked whether it is still what
//! it was.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tracing::warn;

use super::inputs::Fingerprint;
use super::remote::Object;
use super::text::open_file;
use crate::error::Error;
use crate::objects;

/// Bytes of a page's header that are asked for at once.
const HEADER_BYTES: usize = 8 << 10;
/// Bytes of an object that are held, all windows together.
const WINDOWS: u64 = 64 << 20;
/// The smallest and the largest window. Of the smallest, those of 2,000 columns fit.
const SMALLEST_WINDOW: u64 = 32 << 10;
const LARGEST_WINDOW: u64 = 8 << 20;
/// Bytes at the end of an object that are fetched first: most footers are in them.
const TAIL: u64 = 64 << 10;

/// Something that is read by ranges; clones share it.
///
/// What the machine or the network does wrong is kept aside while a decoder only hears that it
/// failed, so that it is not taken for damage of the file: see [`trouble`](Ranges::trouble).
#[derive(Clone)]
pub(super) struct Ranges {
    shared: Arc<Shared>,
}

struct Shared {
    name: PathBuf,
    total: u64,
    from: From,
    trouble: Mutex<Option<Error>>,
}

enum From {
    File(File),
    Object {
        object: Object,
        windows: Mutex<Vec<Window>>,
    },
}

/// A part of an object of which some is in memory.
struct Window {
    /// What may be read ahead into.
    part: Range<u64>,
    /// Bytes that are fetched at once.
    size: u64,
    start: u64,
    held: Bytes,
    /// Of all uses of windows, the one that was its last.
    used: u64,
}

impl Window {
    fn new(part: Range<u64>, size: u64) -> Window {
        Window {
            start: part.start,
            part,
            size,
            held: Bytes::new(),
            used: 0,
        }
    }

    fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let from = range.start.checked_sub(self.start)?;
        let to = range.end - self.start;
        // Of machine size where it is held.
        (to <= self.held.len() as u64).then(|| self.held.slice(from as usize..to as usize))
    }
}

impl Ranges {
    /// Opens what a path or a URL names.
    ///
    /// # Errors
    /// As [`Source::open`](super::Source::open) says.
    pub(super) fn open(name: &Path) -> Result<Ranges, Error> {
        let (from, total) = match name.to_str().filter(|name| objects::is_url(name)) {
            Some(url) => {
                let object = Object::open(url)?;
                let total = object.bytes;
                if !object.has_version() {
                    warn!(
                        url,
                        "the server tells neither an ETag nor a time of change: of a change \
                         while the file is read only another length would be noticed"
                    );
                }
                let tail = total.saturating_sub(TAIL)..total;
                let windows = Mutex::new(vec![Window::new(tail, TAIL)]);
                (From::Object { object, windows }, total)
            }
            None => {
                let (file, metadata) = open_file(name)?;
                (From::File(file), metadata.len())
            }
        };
        Ok(Ranges {
            shared: Arc::new(Shared {
                name: name.to_path_buf(),
                total,
                from,
                trouble: Mutex::new(None),
            }),
        })
    }

    /// The path or URL.
    pub(super) fn name(&self) -> &Path {
        &self.shared.name
    }

    /// Length in bytes.
    pub(super) fn total(&self) -> u64 {
        self.shared.total
    }

    /// What tells the state of it that is read.
    ///
    /// # Errors
    /// An operator's error of the disk.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, Error> {
        match &self.shared.from {
            From::File(file) => {
                let metadata = file.metadata().map_err(|error| self.cannot(error))?;
                Ok(Fingerprint::of_file(
                    &self.name().to_string_lossy(),
                    &metadata,
                ))
            }
            From::Object { object, .. } => Ok(object.fingerprint()),
        }
    }

    /// The file itself, to be read from its beginning; None for an object.
    ///
    /// # Errors
    /// An operator's error where there are too many open files.
    pub(super) fn file(&self) -> Result<Option<File>, Error> {
        match &self.shared.from {
            From::File(file) => Ok(Some(file.try_clone().map_err(|error| self.cannot(error))?)),
            From::Object { .. } => Ok(None),
        }
    }

    /// Whether the file that was opened, wherever its name led, lies in one of these folders;
    /// objects do not lie in folders.
    pub(super) fn is_within(&self, folders: &[PathBuf]) -> bool {
        let From::File(file) = &self.shared.from else {
            return true;
        };
        // Not by its name, which may lead elsewhere by now.
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let real = real.or_else(|_| self.name().canonicalize());
        real.is_ok_and(|real| folders.iter().any(|folder| real.starts_with(folder)))
    }

    fn cannot(&self, error: io::Error) -> Error {
        Error::operator_from(format!("cannot read {}", self.name().display()), error)
    }

    /// What went wrong that is not the file's fault, once.
    pub(super) fn trouble(&self) -> Option<Error> {
        self.shared.trouble.lock().take()
    }

    /// Says which parts will be read from now on, each from its beginning to its end. Those of
    /// an object are fetched together where they fit into memory.
    pub(super) fn expect(&self, parts: Vec<Range<u64>>) {
        let From::Object { object, windows } = &self.shared.from else {
            return;
        };
        let total = self.total();
        let parts: Vec<Range<u64>> = parts
            .into_iter()
            .map(|part| part.start.min(total)..part.end.min(total))
            .filter(|part| !part.is_empty())
            .collect();
        let share = WINDOWS / (parts.len() as u64).max(1);
        let size = share.clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        let mut made: Vec<Window> = parts
            .iter()
            .map(|part| Window::new(part.clone(), size))
            .collect();
        let all: u64 = parts.iter().map(|part| part.end - part.start).sum();
        if all <= WINDOWS {
            match object.ranges(&parts) {
                Ok(fetched) => {
                    for (window, held) in made.iter_mut().zip(fetched) {
                        window.held = held;
                    }
                }
                // Whoever reads it next hears of it.
                Err(error) => *self.shared.trouble.lock() = Some(error),
            }
        }
        *windows.lock() = made;
    }

    /// The bytes from `start` on, as many as `length`.
    ///
    /// # Errors
    /// An unexpected end where there are fewer, before memory is taken for them; what the
    /// machine or the network says, which is kept aside too.
    pub(super) fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let range = match start.checked_add(length as u64) {
            Some(end) if end <= self.total() => start..end,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!(
                        "{length} bytes from {start} on in a file of {} bytes",
                        self.total()
                    ),
                ));
            }
        };
        match &self.shared.from {
            From::File(file) => {
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, start)
                    .map_err(|error| self.aside(error))?;
                Ok(buffer.into())
            }
            From::Object { object, windows } => {
                let found = fetch(object, &mut windows.lock(), range);
                found.map_err(|error| {
                    let text = error.to_string();
                    self.shared.trouble.lock().get_or_insert(error);
                    io::Error::other(text)
                })
            }
        }
    }

    /// Bytes from a place on that one window gives.
    fn at_hand(&self, at: u64) -> u64 {
        let From::Object { windows, .. } = &self.shared.from else {
            return u64::MAX;
        };
        let windows = windows.lock();
        let Some(window) = windows.iter().find(|window| window.part.contains(&at)) else {
            return u64::MAX;
        };
        let held = window.start..window.start.saturating_add(window.held.len() as u64);
        match held.contains(&at) {
            true => held.end - at,
            false => window.part.end - at,
        }
    }

    /// Keeps aside what the operating system says; a file that has become shorter is damaged.
    fn aside(&self, error: io::Error) -> io::Error {
        if error.raw_os_error().is_none() {
            return error;
        }
        let text = error.to_string();
        *self.shared.trouble.lock() = Some(super::text::stream_error(self.name(), error));
        io::Error::other(text)
    }
}

/// A range of an object, by the window that it lies in.
fn fetch(object: &Object, windows: &mut [Window], range: Range<u64>) -> Result<Bytes, Error> {
    let holds = |part: &Range<u64>| part.start <= range.start && range.end <= part.end;
    let uses = windows.iter().map(|window| window.used).max().unwrap_or(0);
    let Some(window) = windows.iter_mut().find(|window| holds(&window.part)) else {
        return object.range(range);
    };
    window.used = uses + 1;
    if let Some(bytes) = window.get(&range) {
        return Ok(bytes);
    }
    let end = range.end.max(range.start.saturating_add(window.size));
    let fetched = object.range(range.start..end.min(window.part.end))?;
    let length = range.end - range.start;
    // Of machine size: it is in memory.
    let bytes = fetched.slice(..length as usize);
    window.start = range.start;
    // What is handed out whole is not read again.
    window.held = match fetched.len() == bytes.len() {
        true => Bytes::new(),
        false => fetched,
    };
    while windows
        .iter()
        .map(|window| window.held.len() as u64)
        .sum::<u64>()
        > WINDOWS
    {
        let held = windows.iter_mut().filter(|window| !window.held.is_empty());
        match held.min_by_key(|window| window.used) {
            Some(oldest) => oldest.held = Bytes::new(),
            None => break,
        }
    }
    Ok(bytes)
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.total()
    }
}

impl ChunkReader for Ranges {
    type T = BufReader<Onward>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let onward = Onward::new(self.clone(), start);
        Ok(BufReader::with_capacity(HEADER_BYTES, onward))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.bytes(start, length)?)
    }
}

/// What went wrong that is not the file's fault, on its way through readers of bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Trouble(pub(super) Error);

/// The bytes from a place on.
pub(super) struct Onward {
    ranges: Ranges,
    at: u64,
    /// Errors say themselves that they are not the file's.
    is_plain: bool,
}

impl Onward {
    fn new(ranges: Ranges, at: u64) -> Onward {
        Onward {
            ranges,
            at,
            is_plain: false,
        }
    }

    /// A file or an object from a place to its end, read ahead by a window. An error of the network is
    /// a [`Trouble`].
    pub(super) fn through(ranges: Ranges, at: u64) -> Onward {
        if let From::Object { windows, .. } = &ranges.shared.from {
            *windows.lock() = vec![Window::new(0..ranges.total(), LARGEST_WINDOW)];
        }
        Onward {
            is_plain: true,
            ..Onward::new(ranges, at)
        }
    }
}

impl Onward {
    /// The path or URL.
    pub(super) fn name(&self) -> &Path {
        self.ranges.name()
    }
}

impl Read for Onward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.ranges.total().saturating_sub(self.at);
        // Past the end of a part, or of what is held of it, nobody has asked to read.
        let left = left.min(self.ranges.at_hand(self.at));
        // No more than the buffer holds, which is of machine size.
        let length = left.min(buffer.len() as u64) as usize;
        let read = self.ranges.bytes(self.at, length);
        let bytes = read.map_err(|error| match self.ranges.trouble() {
            Some(trouble) if self.is_plain => io::Error::other(Trouble(trouble)),
            trouble => {
                *self.ranges.shared.trouble.lock() = trouble;
                error
            }
        })?;
        buffer[..length].copy_from_slice(&bytes);
        self.at += length as u64;
        Ok(length)
    }
}
