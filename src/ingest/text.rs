//! Text files, compressed or not, as a stream of decompressed bytes.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use tracing::warn;

use super::format::Compression;
use super::ranges::Trouble;
use crate::error::{Code, Error, Problem};

/// Bytes read ahead to recognise what a file is.
const HEAD_BYTES: u64 = 64 << 10;
/// Bytes asked from the operating system at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes from a file or from an object store, one after the other.
pub(super) type Stream = Box<dyn Read + Send>;

/// An open text file: decompressed, without its byte order mark.
pub(crate) struct Text {
    path: PathBuf,
    /// The first decompressed bytes, at most [`HEAD_BYTES`].
    pub(super) head: Vec<u8>,
    rest: Box<dyn BufRead + Send>,
    /// Size of the file as it lies on disk.
    pub(super) total: u64,
    /// Bytes taken from it so far; shared with the reader.
    pub(super) read: Arc<AtomicU64>,
}

impl Text {
    /// Opens a file, whose name or first bytes say whether it is compressed.
    ///
    /// # Errors
    /// As [`Source::open`](super::Source::open) says.
    pub(crate) fn open(path: &Path) -> Result<Text, Error> {
        let (file, metadata) = open_file(path)?;
        Text::of(path, Box::new(file), metadata.len())
    }

    /// The same for a stream of `total` bytes, which goes by the name `path`.
    ///
    /// # Errors
    /// As [`Source::open`](super::Source::open) says.
    pub(super) fn of(path: &Path, stream: Stream, total: u64) -> Result<Text, Error> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            stream,
            read: Arc::clone(&read),
        };
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, counted);
        let magic = raw.fill_buf().map_err(|e| stream_error(path, e))?;
        if magic.is_empty() {
            warn!(path = %path.display(), "the file is empty: it holds no rows");
        } else if magic.starts_with(b"PAR1") {
            return Err(Problem::new(
                Code::InvalidFile,
                format!("{} is not a text file", path.display()),
            )
            .found("Parquet (it begins with PAR1)")
            .expected("text; or name the format parquet")
            .into());
        }
        let sniffed = Compression::sniff(magic);
        let named = Compression::of(&path.to_string_lossy().to_ascii_lowercase());
        if let Some(named) = named
            && sniffed != Some(named)
            && !magic.is_empty()
        {
            return Err(Problem::new(
                Code::InvalidFile,
                format!("{} is not compressed as its name says", path.display()),
            )
            .found(match sniffed {
                Some(other) => other.as_str().to_string(),
                None => format!("the bytes {}", hex(magic)),
            })
            .expected(named.as_str())
            .into());
        }
        let mut rest: Box<dyn BufRead + Send> = match sniffed {
            None => Box::new(raw),
            Some(Compression::Gzip) => Box::new(BufReader::with_capacity(
                BUFFER_BYTES,
                MultiGzDecoder::new(raw),
            )),
            Some(Compression::Zstd) => Box::new(BufReader::with_capacity(
                BUFFER_BYTES,
                zstd::stream::read::Decoder::with_buffer(raw).map_err(|e| stream_error(path, e))?,
            )),
        };
        let mut head = Vec::new();
        rest.by_ref()
            .take(HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(|e| stream_error(path, e))?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            return Err(Problem::new(
                Code::InvalidFile,
                format!("{} is not UTF-8", path.display()),
            )
            .found("UTF-16 (by its byte order mark)")
            .expected("UTF-8")
            .into());
        }
        if head.starts_with(&[0xef, 0xbb, 0xbf]) {
            head.drain(..3);
        }
        Ok(Text {
            path: path.to_path_buf(),
            head,
            rest,
            total,
            read,
        })
    }

    /// The whole stream, head included.
    pub(crate) fn into_reader(self) -> (PathBuf, impl BufRead + Send) {
        (self.path, Cursor::new(self.head).chain(self.rest))
    }
}

/// Opens a plain file and tells what the file system says of it.
pub(super) fn open_file(path: &Path) -> Result<(File, Metadata), Error> {
    let invalid = |found: &str| -> Error {
        Problem::new(
            Code::InvalidFile,
            format!("{} cannot be read", path.display()),
        )
        .found(found)
        .expected("a file")
        .into()
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => invalid("nothing there"),
        io::ErrorKind::PermissionDenied => {
            Error::operator_from(format!("cannot read {}", path.display()), error)
                .advice("let the account that runs gleaner read it")
        }
        _ => Error::operator_from(format!("cannot read {}", path.display()), error),
    };
    // Asked first: opening a named pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(invalid("a directory"));
    }
    if !metadata.is_file() {
        return Err(invalid("something that is not a plain file"));
    }
    let file = File::open(path).map_err(failed)?;
    Ok((file, metadata))
}

/// An error while reading: the machine's if the operating system reports it, otherwise
/// the file's (a compressed stream that is cut short or damaged).
pub(crate) fn stream_error(path: &Path, error: io::Error) -> Error {
    let error = match error.downcast::<Trouble>() {
        Ok(Trouble(error)) => return error,
        Err(error) => error,
    };
    if error.raw_os_error().is_some() {
        return Error::operator_from(format!("cannot read on in {}", path.display()), error)
            .advice("check the disk, then load the file again");
    }
    Problem::new(
        Code::InvalidFile,
        format!("{} is damaged or cut short", path.display()),
    )
    .found(error)
    .expected("a whole compressed stream")
    .into()
}

/// The first bytes, for a message.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A stream that counts what is read from it.
struct Counted {
    stream: Stream,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
