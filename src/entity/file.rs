//! The file of a catalog's names.
//!
//! ```text
//! 0   "GLNRENT\n"  version  bytes of the header  CRC-32 of the header     (8 bytes, 3 x u32)
//! 64  the header, as JSON: what the sections are about, where they are, with CRC-32 of each
//! ..  the sections, each at a multiple of 64: arrays of little-endian numbers, or packed texts
//! ```
//!
//! A file never changes: it is written beside its place, synced, renamed, and mapped from then on.
//! Opening reads it once from end to end and compares the checksums, without the map, so that what
//! was read for that does not count as memory of the process.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::{Mmap, MmapOptions};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::column::Column;
use super::trie::Columns;

const MAGIC: &[u8; 8] = b"GLNRENT\n";
const VERSION: u32 = 1;
/// Where the header starts.
const HEADER: usize = 64;
/// Longest header.
const MOST_HEADER: usize = 1 << 20;
const ALIGN: usize = 64;
/// Bytes read at once while checking.
const CHUNK: usize = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    #[error("is of version {0}, and this program reads version {VERSION}")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Header<T> {
    about: T,
    sections: Vec<Place>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    name: String,
    start: u64,
    bytes: u64,
    crc: u32,
}

/// Writes a file durably, in place of one of its name; returns its size in bytes.
pub(super) fn write<T: Serialize>(
    path: &Path,
    about: &T,
    sections: &[(String, &[u8])],
) -> io::Result<u64> {
    let mut header = Header {
        about,
        sections: Vec::new(),
    };
    for (name, bytes) in sections {
        header.sections.push(Place {
            name: name.clone(),
            // As long as any that follows; the right one comes below.
            start: u64::MAX,
            bytes: bytes.len() as u64,
            crc: crc32fast::hash(bytes),
        });
    }
    let mut end = HEADER + serde_json::to_vec(&header)?.len();
    for place in &mut header.sections {
        let start = end.next_multiple_of(ALIGN);
        place.start = start as u64;
        end = start + place.bytes as usize;
    }
    let json = serde_json::to_vec(&header)?;
    let mut start = [0; HEADER];
    start[..8].copy_from_slice(MAGIC);
    start[8..12].copy_from_slice(&VERSION.to_le_bytes());
    start[12..16].copy_from_slice(&(json.len() as u32).to_le_bytes());
    start[16..20].copy_from_slice(&crc32fast::hash(&json).to_le_bytes());

    let beside = path.with_extension("writing");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&beside)?);
    out.write_all(&start)?;
    out.write_all(&json)?;
    let mut written = HEADER + json.len();
    for (place, (_, bytes)) in header.sections.iter().zip(sections) {
        let gap = place.start as usize - written;
        io::copy(&mut io::Read::take(io::repeat(0), gap as u64), &mut out)?;
        out.write_all(bytes)?;
        written = place.start as usize + bytes.len();
    }
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(end as u64)
}

/// A file that has been opened.
pub(super) struct Opened<T> {
    pub about: T,
    pub sections: Sections,
}

/// The sections of a file, by name.
pub(super) struct Sections {
    pub file: Arc<File>,
    map: Arc<Mmap>,
    places: Vec<Place>,
}

impl Sections {
    /// Where a section lies in the file.
    pub(super) fn range(&self, name: &str) -> Option<Range<usize>> {
        let place = self.places.iter().find(|place| place.name == name)?;
        let start = usize::try_from(place.start).ok()?;
        Some(start..start.checked_add(usize::try_from(place.bytes).ok()?)?)
    }

    /// A section as an array of numbers.
    pub(super) fn column<T: Pod>(&self, name: &str) -> Option<Column<T>> {
        Column::mapped(&self.map, self.range(name)?)
    }

    /// Size of the file in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }
}

/// Sections whose names begin alike.
pub(super) struct Part<'a>(pub &'a Sections, pub &'a str);

impl Columns for Part<'_> {
    fn narrow(&self, name: &str) -> Option<Column<u16>> {
        self.0.column(&format!("{}.{name}", self.1))
    }

    fn wide(&self, name: &str) -> Option<Column<u32>> {
        self.0.column(&format!("{}.{name}", self.1))
    }

    fn words(&self, name: &str) -> Option<Column<u64>> {
        self.0.column(&format!("{}.{name}", self.1))
    }
}

/// Opens a file and compares its checksums.
pub(super) fn open<T: DeserializeOwned>(path: &Path) -> Result<Opened<T>, Unusable> {
    let file = File::open(path)?;
    let mut start = [0; HEADER];
    match file.read_exact_at(&mut start, 0) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Unusable::Damaged("it is too short"));
        }
        read => read?,
    }
    if !start.starts_with(MAGIC) {
        return Err(Unusable::Damaged("it does not begin like a catalog's file"));
    }
    let number =
        |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    if number(8) != VERSION {
        return Err(Unusable::Version(number(8)));
    }
    let mut json = vec![0; (number(12) as usize).min(MOST_HEADER)];
    let size = file.metadata()?.len();
    if size < (HEADER + json.len()) as u64 {
        return Err(Unusable::Damaged("the header is cut off"));
    }
    file.read_exact_at(&mut json, HEADER as u64)?;
    if crc32fast::hash(&json) != number(16) {
        return Err(Unusable::Damaged("the header's checksum does not fit"));
    }
    let header: Header<T> = serde_json::from_slice(&json)
        .map_err(|_| Unusable::Damaged("the header cannot be read"))?;
    let mut chunk = vec![0; CHUNK];
    for place in &header.sections {
        let end = place.start.checked_add(place.bytes);
        if end.is_none_or(|end| end > size) {
            return Err(Unusable::Damaged("a section is cut off"));
        }
        let mut crc = crc32fast::Hasher::new();
        let mut read = 0;
        while read < place.bytes {
            let part = &mut chunk[..(place.bytes - read).min(CHUNK as u64) as usize];
            file.read_exact_at(part, place.start + read)?;
            crc.update(part);
            read += part.len() as u64;
        }
        if crc.finalize() != place.crc {
            return Err(Unusable::Damaged("a checksum does not fit"));
        }
    }
    // SAFETY: the file lies in the catalog's own folder and is never written to again, only
    // replaced; only somebody who writes to it by other means could change what the map's readers
    // take for constant.
    let map = Arc::new(unsafe { MmapOptions::new().map(&file)? });
    // Which page is needed next cannot be foreseen.
    #[cfg(unix)]
    let _ = map.advise(memmap2::Advice::Random);
    Ok(Opened {
        about: header.about,
        sections: Sections {
            file: Arc::new(file),
            map,
            places: header.sections,
        },
    })
}
