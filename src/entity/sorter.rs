//! Sorting more records than memory holds: sorted runs in files, merged.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut;

/// Most runs that are merged at once; more are merged into fewer first.
const FAN_IN: usize = 64;

/// Records of a key and a payload, to be had in the order of both.
pub(super) struct Sorter {
    folder: PathBuf,
    name: &'static str,
    memory: usize,
    bytes: Vec<u8>,
    records: Vec<Record>,
    runs: Vec<PathBuf>,
    made: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Record {
    start: usize,
    key: u32,
    payload: u32,
}

impl Record {
    fn key(&self) -> Range<usize> {
        self.start..self.start + self.key as usize
    }

    fn payload(&self) -> Range<usize> {
        let start = self.start + self.key as usize;
        start..start + self.payload as usize
    }
}

impl Sorter {
    /// Sorts in about `memory` bytes; what does not fit goes to files in `folder` whose names begin
    /// with `name`.
    pub(super) fn new(folder: &Path, name: &'static str, memory: usize) -> Sorter {
        Sorter {
            folder: folder.to_path_buf(),
            name,
            memory,
            bytes: Vec::new(),
            records: Vec::new(),
            runs: Vec::new(),
            made: 0,
        }
    }

    /// Adds a record.
    pub(super) fn push(&mut self, key: &[u8], payload: &[u8]) -> io::Result<()> {
        let size = key.len() + payload.len();
        let held = self.bytes.len() + self.records.len() * size_of::<Record>();
        if held + size > self.memory && !self.records.is_empty() {
            self.spill()?;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(payload);
        self.records.push(Record {
            start,
            key: key.len() as u32,
            payload: payload.len() as u32,
        });
        Ok(())
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.records.par_sort_unstable_by(|a, b| {
            let keys = bytes[a.key()].cmp(&bytes[b.key()]);
            keys.then_with(|| bytes[a.payload()].cmp(&bytes[b.payload()]))
        });
    }

    fn run(&mut self) -> PathBuf {
        self.made += 1;
        self.folder.join(format!("{}-{}.run", self.name, self.made))
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let path = self.run();
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        for record in &self.records {
            write_record(
                &mut out,
                &self.bytes[record.key()],
                &self.bytes[record.payload()],
            )?;
        }
        out.flush()?;
        self.runs.push(path);
        self.records.clear();
        self.bytes.clear();
        Ok(())
    }

    /// All records in order.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if !self.runs.is_empty() && !self.records.is_empty() {
            self.spill()?;
        }
        if self.runs.is_empty() {
            self.sort();
            return Ok(Sorted::Memory {
                records: std::mem::take(&mut self.records).into_iter(),
                bytes: std::mem::take(&mut self.bytes),
            });
        }
        // Memory is given back before the runs' buffers are taken.
        self.bytes = Vec::new();
        self.records = Vec::new();
        while self.runs.len() > FAN_IN {
            let path = self.run();
            let some: Vec<PathBuf> = self.runs.drain(..FAN_IN).collect();
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            let mut merge = Merge::open(some)?;
            while let Some((key, payload)) = merge.next()? {
                write_record(&mut out, &key, &payload)?;
            }
            out.flush()?;
            self.runs.push(path);
        }
        Merge::open(std::mem::take(&mut self.runs)).map(Sorted::Files)
    }
}

impl Drop for Sorter {
    fn drop(&mut self) {
        for run in &self.runs {
            let _ = std::fs::remove_file(run);
        }
    }
}

fn write_record(out: &mut impl Write, key: &[u8], payload: &[u8]) -> io::Result<()> {
    out.write_all(&(key.len() as u32).to_le_bytes())?;
    out.write_all(&(payload.len() as u32).to_le_bytes())?;
    out.write_all(key)?;
    out.write_all(payload)
}

/// A record: key and payload.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Records in order.
pub(super) enum Sorted {
    Memory {
        records: std::vec::IntoIter<Record>,
        bytes: Vec<u8>,
    },
    Files(Merge),
}

impl Sorted {
    /// The next record.
    pub(super) fn next(&mut self) -> io::Result<Option<Pair>> {
        match self {
            Sorted::Memory { records, bytes } => Ok(records.next().map(|record| {
                (
                    bytes[record.key()].to_vec(),
                    bytes[record.payload()].to_vec(),
                )
            })),
            Sorted::Files(merge) => merge.next(),
        }
    }
}

/// Runs that are being merged; their files are removed with it.
pub(super) struct Merge {
    readers: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<Head>>,
    paths: Vec<PathBuf>,
}

#[derive(PartialEq, Eq)]
struct Head {
    pair: Pair,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.pair, self.run).cmp(&(&other.pair, other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge {
    fn open(paths: Vec<PathBuf>) -> io::Result<Merge> {
        let mut merge = Merge {
            readers: Vec::new(),
            heads: BinaryHeap::new(),
            paths,
        };
        for path in &merge.paths {
            merge
                .readers
                .push(BufReader::with_capacity(1 << 18, File::open(path)?));
        }
        for run in 0..merge.readers.len() {
            merge.advance(run)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        let reader = &mut self.readers[run];
        let mut lengths = [0; 8];
        match reader.read_exact(&mut lengths) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let [a, b, c, d, e, f, g, h] = lengths;
        let mut read = |length: [u8; 4]| {
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            reader.read_exact(&mut bytes).map(|()| bytes)
        };
        let pair = (read([a, b, c, d])?, read([e, f, g, h])?);
        self.heads.push(Reverse(Head { pair, run }));
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Pair>> {
        let Some(Reverse(Head { pair, run })) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(run)?;
        Ok(Some(pair))
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn records_come_in_order_however_little_memory_there_is(
            records in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 0..4)),
                0..300,
            ),
            memory in 1_usize..4000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(folder.path(), "test", memory);
            for (key, payload) in &records {
                sorter.push(key, payload).unwrap();
            }
            let mut sorted = sorter.finish().unwrap();
            let mut found = Vec::new();
            while let Some(pair) = sorted.next().unwrap() {
                found.push(pair);
            }
            drop(sorted);
            let mut wanted = records;
            wanted.sort();
            prop_assert_eq!(found, wanted);
            // Nothing is left behind.
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
