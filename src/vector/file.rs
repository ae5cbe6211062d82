//! The file of a sealed segment.
//!
//! ```text
//! 0   "GLNRVEC\n"  version  bytes of the header  CRC-32 of the header     (u64, 3 x u32)
//! 64  the header, as JSON: shape, counts, which sections there are and where, with
//!     CRC-32 of every mebibyte of each
//! ..  the sections, each at a multiple of 4096: arrays of little-endian numbers
//! ```
//!
//! A segment never changes, so neither does its file: it is written beside its place,
//! synced, renamed, and read through a memory map from then on. Opening reads, checks and
//! keeps to what is small: the header, which documents there are, what has to hold between
//! the sections. Vectors and links, nearly all of the file, are not read then, so that
//! opening takes milliseconds however large it is; their checksums are for whoever opened it
//! to check in the background. Links are checked when they are followed, so damage that is
//! not found yet gives wrong answers at worst. Whatever is wrong with a file is said, and
//! the segment is made anew from the store. A file of another version is not read either.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::Pod;
use memmap2::{Mmap, MmapOptions};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::rows::Rows;
use super::section::Section;
use super::segment::Segment;
use super::space::{Metric, Shape, Storage};

const MAGIC: &[u8; 8] = b"GLNRVEC\n";
const VERSION: u32 = 2;
/// Where the header starts.
const HEADER: usize = 64;
/// Longest header: some thousand sections of a terabyte.
const MOST_HEADER: usize = 1 << 26;
const ALIGN: usize = 4096;
/// What one checksum covers.
const BLOCK: usize = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    #[error("is of version {0}, and this program reads version {VERSION}")]
    Version(u32),
    #[error("was made for another index, or for other vectors than this one has")]
    Other,
}

impl Unusable {
    /// Whether no other day, and no other version of this program, could use the file.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self, Unusable::Damaged(_) | Unusable::Other)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    dimensions: usize,
    metric: Metric,
    storage: Storage,
    m: usize,
    layers: usize,
    /// The index whose vectors these are.
    owner: String,
    /// The older files that count beside this one.
    keeps: Vec<u64>,
    sections: Vec<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    name: String,
    start: u64,
    bytes: u64,
    checksums: Vec<u32>,
}

impl Place {
    fn range(&self) -> Option<Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        Some(start..start.checked_add(usize::try_from(self.bytes).ok()?)?)
    }
}

/// The sections of a segment with a graph, by name.
fn sections<'a>(segment: &'a Segment, graph: &'a Graph) -> Vec<(String, &'a [u8])> {
    fn bytes<T: Pod>(section: &Section<T>) -> &[u8] {
        bytemuck::cast_slice(section)
    }
    let rows = &segment.rows;
    let mut all = vec![
        ("ordinals".into(), bytes(&rows.ordinals)),
        ("starts".into(), bytes(&rows.starts)),
        ("high".into(), bytes(&rows.high)),
        ("middle".into(), bytes(&rows.middle)),
        ("low".into(), bytes(&rows.low)),
        ("scales".into(), bytes(&rows.scales)),
        ("halves".into(), bytes(&rows.halves)),
        ("bits".into(), bytes(&rows.bits)),
        ("bit_scales".into(), bytes(&rows.bit_scales)),
        ("half_norms".into(), bytes(&rows.half_norms)),
        ("document_of".into(), bytes(&segment.document_of)),
        ("base".into(), bytes(&graph.base)),
        ("slots".into(), bytes(&graph.slots)),
    ];
    for (layer, links) in graph.layers.iter().enumerate() {
        all.push((format!("layer_{layer}"), bytes(links)));
    }
    all
}

/// Whether checksums are compared: fuzzing looks at what is behind them, which no changed byte
/// would get to.
const COMPARED: bool = !cfg!(feature = "fuzzing");

fn checksums(bytes: &[u8]) -> Vec<u32> {
    bytes.par_chunks(BLOCK).map(crc32fast::hash).collect()
}

/// Writes a segment of the index `owner` with a graph to `path`, durably; of the older files those numbered
/// `keeps` go on counting.
pub(crate) fn write(
    path: &Path,
    segment: &Segment,
    graph: &Graph,
    owner: &str,
    keeps: Vec<u64>,
) -> io::Result<()> {
    let shape = segment.rows.shape();
    let sections = sections(segment, graph);
    let mut header = Header {
        dimensions: shape.dimensions,
        metric: shape.metric,
        storage: shape.storage,
        m: graph.m,
        layers: graph.layers.len(),
        owner: owner.to_string(),
        keeps,
        sections: Vec::new(),
    };
    for (name, bytes) in &sections {
        header.sections.push(Place {
            name: name.clone(),
            // As long as any that follows; the right one comes below.
            start: u64::MAX,
            bytes: bytes.len() as u64,
            checksums: checksums(bytes),
        });
    }
    let mut end = HEADER + serde_json::to_vec(&header)?.len();
    for place in &mut header.sections {
        let start = end.next_multiple_of(ALIGN);
        place.start = start as u64;
        end = start + place.bytes as usize;
    }
    let json = serde_json::to_vec(&header)?;

    let beside = path.with_extension("writing");
    let mut out = BufWriter::new(File::create(&beside)?);
    let mut written = 0;
    let mut put = |out: &mut BufWriter<File>, at: usize, bytes: &[u8]| -> io::Result<()> {
        // At most a page, or the header's estimate and its real length apart.
        io::copy(
            &mut io::Read::take(io::repeat(0), (at - written) as u64),
            out,
        )?;
        written = at + bytes.len();
        out.write_all(bytes)
    };
    put(&mut out, 0, MAGIC)?;
    put(&mut out, 8, &VERSION.to_le_bytes())?;
    put(&mut out, 12, &(json.len() as u32).to_le_bytes())?;
    put(&mut out, 16, &crc32fast::hash(&json).to_le_bytes())?;
    put(&mut out, HEADER, &json)?;
    for (place, (_, bytes)) in header.sections.iter().zip(&sections) {
        put(&mut out, place.start as usize, bytes)?;
    }
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Sections that are checked on opening: what others are understood by.
const CHECKED_FIRST: [&str; 4] = ["ordinals", "starts", "document_of", "slots"];

/// A file that has been opened.
pub(crate) struct Opened {
    pub segment: Segment,
    /// The older files that count beside it.
    pub keeps: Vec<u64>,
    pub unverified: Unverified,
}

/// The sections of a file whose checksums have not been checked yet.
pub(crate) struct Unverified {
    map: Arc<Mmap>,
    places: Vec<Place>,
}

impl Unverified {
    /// Reads the sections from end to end and says whether they are as they were written;
    /// true also once `cancelled` is set.
    pub(crate) fn verify(&self, cancelled: &AtomicBool) -> bool {
        let blocks = self.places.par_iter().flat_map(|place| {
            let bytes = section_of(&self.map, place).unwrap_or_default();
            bytes.par_chunks(BLOCK).zip(&place.checksums)
        });
        blocks.all(|(block, &sum)| {
            cancelled.load(Ordering::Relaxed) || crc32fast::hash(block) == sum || !COMPARED
        })
    }
}

fn section_of<'a>(map: &'a Mmap, place: &Place) -> Result<&'a [u8], Unusable> {
    let bytes = place.range().and_then(|range| map.get(range));
    let bytes = bytes.ok_or(Unusable::Damaged("a section is cut off"))?;
    match bytes.len().div_ceil(BLOCK) == place.checksums.len() {
        true => Ok(bytes),
        false => Err(Unusable::Damaged("a checksum is missing")),
    }
}

/// Opens the file of a segment whose vectors are of `shape`, of an index that `is_ours`.
pub(crate) fn open(
    path: &Path,
    shape: Shape,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Opened, Unusable> {
    let file = File::open(path)?;
    // SAFETY: the file lies in the index's own folder, which the store's lock keeps for this
    // process, and is never written to again; only somebody who writes to it by other means
    // could change what the map's readers take for constant.
    let map = Arc::new(unsafe { MmapOptions::new().map(&file)? });
    let header = header(&map)?;
    if !is_ours(&header.owner) {
        return Err(Unusable::Other);
    }
    if (header.dimensions, header.metric, header.storage)
        != (shape.dimensions, shape.metric, shape.storage)
    {
        return Err(Unusable::Other);
    }
    for place in &header.sections {
        let bytes = section_of(&map, place)?;
        let is_first = CHECKED_FIRST.contains(&place.name.as_str());
        if COMPARED && is_first && checksums(bytes) != place.checksums {
            return Err(Unusable::Damaged("a checksum does not fit"));
        }
    }
    let segment = assemble(&map, &header, shape)?;
    check(&segment)?;
    let mut places = header.sections;
    places.retain(|place| !CHECKED_FIRST.contains(&place.name.as_str()));
    Ok(Opened {
        segment,
        keeps: header.keeps,
        unverified: Unverified { map, places },
    })
}

fn header(map: &Mmap) -> Result<Header, Unusable> {
    let damaged = Unusable::Damaged("it does not begin like a segment");
    let Some(start) = map.get(..HEADER).filter(|start| start.starts_with(MAGIC)) else {
        return Err(damaged);
    };
    let number =
        |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    if number(8) != VERSION {
        return Err(Unusable::Version(number(8)));
    }
    let length = number(12) as usize;
    let json = map.get(HEADER..HEADER + length.min(MOST_HEADER));
    let json = json.ok_or(Unusable::Damaged("the header is cut off"))?;
    if COMPARED && crc32fast::hash(json) != number(16) {
        return Err(Unusable::Damaged("the header's checksum does not fit"));
    }
    serde_json::from_slice(json).map_err(|_| Unusable::Damaged("the header cannot be read"))
}

fn assemble(map: &Arc<Mmap>, header: &Header, shape: Shape) -> Result<Segment, Unusable> {
    fn section<T: Pod>(
        map: &Arc<Mmap>,
        header: &Header,
        name: &str,
    ) -> Result<Section<T>, Unusable> {
        let place = header.sections.iter().find(|place| place.name == name);
        place
            .and_then(|place| Section::mapped(map, place.range()?))
            .ok_or(Unusable::Damaged("a section is missing or misplaced"))
    }
    let layers = (0..header.layers).map(|layer| section(map, header, &format!("layer_{layer}")));
    Ok(Segment {
        rows: Rows {
            shape,
            ordinals: section(map, header, "ordinals")?,
            starts: section(map, header, "starts")?,
            high: section(map, header, "high")?,
            middle: section(map, header, "middle")?,
            low: section(map, header, "low")?,
            scales: section(map, header, "scales")?,
            halves: section(map, header, "halves")?,
            bits: section(map, header, "bits")?,
            bit_scales: section(map, header, "bit_scales")?,
            half_norms: section(map, header, "half_norms")?,
        },
        graph: Some(Graph {
            m: header.m,
            layers: layers.collect::<Result<_, _>>()?,
            base: section(map, header, "base")?,
            slots: section(map, header, "slots")?,
        }),
        document_of: section(map, header, "document_of")?,
        file: None,
    })
}

/// What has to hold between the sections for the code that reads them.
fn check(segment: &Segment) -> Result<(), Unusable> {
    let rows = &segment.rows;
    let (shape, count, documents) = (rows.shape(), rows.len(), rows.documents());
    let (stride, words) = (shape.stride(), shape.words());
    let used = |used: bool, each: usize| if used { count * each } else { 0 };
    let coded = shape.storage != Storage::F16;
    let binary = shape.storage == Storage::Binary;
    let starts = if rows.one_each() { 0 } else { documents + 1 };
    let low = match coded {
        true => count * shape.dimensions + shape.padding(),
        false => 0,
    };
    let lengths = [
        // None where every document has one row.
        (rows.starts.len(), starts),
        (rows.high.len(), used(coded, stride / 2)),
        (rows.middle.len(), used(coded, stride / 2)),
        (rows.low.len(), low),
        (rows.scales.len(), used(coded, 1)),
        (rows.halves.len(), used(!coded, stride)),
        (rows.bits.len(), used(binary, words)),
        (rows.bit_scales.len(), used(binary, 1)),
        (rows.half_norms.len(), used(shape.metric == Metric::L2, 1)),
        (segment.document_of.len(), used(!rows.one_each(), 1)),
    ];
    if count == 0 || count >= 1 << 31 || lengths.iter().any(|(found, wanted)| found != wanted) {
        return Err(Unusable::Damaged("sections do not fit each other"));
    }
    let increasing = rows.ordinals.is_sorted_by(|a, b| a < b)
        && rows.starts.is_sorted_by(|a, b| a < b)
        && matches!(rows.starts.first(), None | Some(0));
    let fits = (0..)
        .zip(segment.document_of.iter())
        .all(|(row, &document)| {
            let document = document as usize;
            document < documents && rows.range(document).contains(&row)
        });
    if !increasing || !fits {
        return Err(Unusable::Damaged("documents are not in order"));
    }
    let graph = segment.graph.as_ref();
    let sound = graph.is_some_and(|graph| {
        let slots = graph.slots.len();
        (1..=1 << 10).contains(&graph.m)
            && graph.base.len() == count * 2 * graph.m
            && slots > 0
            && graph.slots.iter().all(|&row| (row as usize) < count)
            && graph.layers.iter().all(|layer| {
                layer.len().is_multiple_of(graph.m)
                    && (1..=slots).contains(&(layer.len() / graph.m))
            })
            // Whoever is on a layer is on those below.
            && graph.layers.is_sorted_by(|below, above| below.len() >= above.len())
    });
    if !sound {
        return Err(Unusable::Damaged("the graph does not fit its rows"));
    }
    Ok(())
}
