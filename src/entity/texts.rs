//! Texts by number, compressed in blocks.
//!
//! Texts that follow each other are alike (names are in the order of their tokens), so that a
//! block of some hundred compresses well and is unpacked in microseconds. Blocks are read from the
//! file when they are asked for, not through a memory map: what was answered once does not stay in
//! this process's memory.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use lru::LruCache;

use super::column::Column;

/// Bytes of texts that make a block.
const BLOCK: usize = 16 << 10;
/// A text that is longer has a block of its own, at most this long.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Most bytes that a block unpacks to.
const MAX_BLOCK: usize = BLOCK + MAX_TEXT + 16;
const LEVEL: i32 = 9;

/// Texts under construction.
#[derive(Debug, Default)]
pub(super) struct TextsBuilder {
    open: Vec<u8>,
    packed: Vec<u8>,
    /// Of every block but the open one: its first text and where it ends.
    firsts: Vec<u32>,
    ends: Vec<u64>,
    len: u32,
    first: u32,
}

impl TextsBuilder {
    /// Adds a text of at most [`MAX_TEXT`] bytes.
    pub(super) fn push(&mut self, text: &str) -> io::Result<()> {
        self.open
            .extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
        self.open.extend_from_slice(text.as_bytes());
        self.len += 1;
        match self.open.len() >= BLOCK {
            true => self.close(),
            false => Ok(()),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        if self.first == self.len {
            return Ok(());
        }
        let block = zstd::bulk::compress(&self.open, LEVEL)?;
        self.packed.extend_from_slice(&block);
        self.open.clear();
        self.firsts.push(self.first);
        self.ends.push(self.packed.len() as u64);
        self.first = self.len;
        Ok(())
    }

    /// Adds all texts of another, in order.
    pub(super) fn append(&mut self, mut other: TextsBuilder) -> io::Result<()> {
        self.close()?;
        other.close()?;
        let (len, bytes) = (self.len, self.packed.len() as u64);
        self.firsts
            .extend(other.firsts.iter().map(|first| first + len));
        self.ends.extend(other.ends.iter().map(|end| end + bytes));
        self.packed.append(&mut other.packed);
        self.len += other.len;
        self.first = self.len;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<PackedTexts> {
        self.close()?;
        Ok(PackedTexts {
            packed: self.packed,
            firsts: self.firsts,
            ends: self.ends,
        })
    }
}

/// Texts as they are written to a file.
#[derive(Debug)]
pub(super) struct PackedTexts {
    packed: Vec<u8>,
    firsts: Vec<u32>,
    ends: Vec<u64>,
}

impl PackedTexts {
    /// The columns as they lie in a file, by name.
    pub(super) fn columns(&self) -> [(&'static str, &[u8]); 3] {
        [
            ("firsts", bytemuck::cast_slice(&self.firsts)),
            ("ends", bytemuck::cast_slice(&self.ends)),
            ("packed", &self.packed),
        ]
    }
}

/// Texts in a file.
#[derive(Debug)]
pub(super) struct Texts {
    file: Arc<File>,
    /// Where the blocks begin in the file.
    start: u64,
    bytes: u64,
    firsts: Column<u32>,
    ends: Column<u64>,
}

/// A block that is not what was written; the file was found in order when it was opened.
fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a block of texts is damaged")
}

impl Texts {
    /// Texts whose blocks take `bytes` bytes from `start` of a file on.
    pub(super) fn new(
        file: Arc<File>,
        start: u64,
        bytes: u64,
        firsts: Column<u32>,
        ends: Column<u64>,
    ) -> Option<Texts> {
        let sound = firsts.len() == ends.len()
            && ends.is_sorted()
            && ends.last().copied().unwrap_or(0) == bytes
            && firsts.first().is_none_or(|&first| first == 0)
            && firsts.is_sorted();
        sound.then_some(Texts {
            file,
            start,
            bytes,
            firsts,
            ends,
        })
    }

    /// Bytes that the texts take in the file.
    pub(super) fn packed_bytes(&self) -> u64 {
        self.bytes
    }

    fn block_of(&self, number: u32) -> Option<usize> {
        self.firsts
            .partition_point(|&first| first <= number)
            .checked_sub(1)
    }

    fn unpack(&self, block: usize) -> io::Result<Vec<u8>> {
        let begin = match block.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before).ok_or_else(damaged)?,
        };
        let end = *self.ends.get(block).ok_or_else(damaged)?;
        let mut packed = vec![0; end.saturating_sub(begin) as usize];
        self.file.read_exact_at(&mut packed, self.start + begin)?;
        let size = zstd::bulk::Decompressor::upper_bound(&packed).unwrap_or(MAX_BLOCK);
        zstd::bulk::decompress(&packed, size.min(MAX_BLOCK))
    }

    /// The text of this number; None where there is none.
    pub(super) fn get(&self, number: u32) -> io::Result<Option<String>> {
        let Some(block) = self.block_of(number) else {
            return Ok(None);
        };
        text_of(&self.unpack(block)?, number - self.firsts[block])
    }

    /// Reads many texts, and unpacks few blocks for those that are near each other.
    pub(super) fn reader(&self) -> TextReader<'_> {
        TextReader {
            texts: self,
            blocks: LruCache::new(NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN)),
        }
    }
}

/// See [`Texts::reader`].
pub(super) struct TextReader<'a> {
    texts: &'a Texts,
    blocks: LruCache<usize, Block>,
}

/// A block with where its texts begin.
struct Block {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl TextReader<'_> {
    /// As [`Texts::get`].
    pub(super) fn get(&mut self, number: u32) -> io::Result<Option<String>> {
        let Some(at) = self.texts.block_of(number) else {
            return Ok(None);
        };
        let texts = self.texts;
        let block = self.blocks.try_get_or_insert(at, || {
            let bytes = texts.unpack(at)?;
            let mut starts = Vec::new();
            let mut next = 0;
            while let Some(text) = text_at(&bytes, next) {
                starts.push(next);
                next += 3 + text.len();
            }
            io::Result::Ok(Block { bytes, starts })
        })?;
        let index = (number - self.texts.firsts[at]) as usize;
        let Some(&start) = block.starts.get(index) else {
            return Ok(None);
        };
        let text = text_at(&block.bytes, start).ok_or_else(damaged)?;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

/// The bytes of the text that begins at `start` of a block.
fn text_at(block: &[u8], start: usize) -> Option<&[u8]> {
    let length = block.get(start..start + 3)?;
    let length =
        usize::from(length[0]) | usize::from(length[1]) << 8 | usize::from(length[2]) << 16;
    block.get(start + 3..start + 3 + length)
}

fn text_of(block: &[u8], index: u32) -> io::Result<Option<String>> {
    let mut start = 0;
    for _ in 0..index {
        match text_at(block, start) {
            Some(text) => start += 3 + text.len(),
            None => return Ok(None),
        }
    }
    let text = text_at(block, start);
    Ok(text.map(|text| String::from_utf8_lossy(text).into_owned()))
}
