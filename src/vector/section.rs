//! Arrays that are either ours or a part of a mapped file.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use memmap2::{Advice, Mmap, MmapMut};

/// From here on an array has pages of its own, which may then be huge ones: walking a
/// graph jumps all over it, and with small pages looking up an address costs about as
/// much as reading what is there.
const OWN_PAGES: usize = 1 << 21;

/// A cache line, to have the allocator align to it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

enum Memory {
    Heap(Vec<Line>),
    Pages(Mmap),
    File(Arc<Mmap>, Range<usize>),
}

/// An immutable array whose first value lies at the start of a cache line.
pub(crate) struct Section<T> {
    memory: Memory,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Pod> Section<T> {
    /// A copy of `values`.
    pub(crate) fn copy(values: &[T]) -> Section<T> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let memory = Self::pages(bytes).unwrap_or_else(|| {
            let mut lines = vec![Line::zeroed(); bytes.len().div_ceil(64)];
            bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
            Memory::Heap(lines)
        });
        Section {
            memory,
            len: values.len(),
            values: PhantomData,
        }
    }

    /// Large arrays on pages of their own; `None` for small ones, and where the system
    /// has no pages to give.
    fn pages(bytes: &[u8]) -> Option<Memory> {
        if bytes.len() < OWN_PAGES {
            return None;
        }
        let mut pages = MmapMut::map_anon(bytes.len()).ok()?;
        // Only a wish: without huge pages it is slower, not wrong.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(Advice::HugePage);
        pages.copy_from_slice(bytes);
        pages.make_read_only().ok().map(Memory::Pages)
    }

    /// The bytes `range` of a mapped file. `None` where they do not lie in the file, are
    /// not a whole number of values, or do not start at a multiple of 64.
    pub(crate) fn mapped(file: &Arc<Mmap>, range: Range<usize>) -> Option<Section<T>> {
        let bytes = file.get(range.clone())?;
        if !range.start.is_multiple_of(64) || !bytes.len().is_multiple_of(size_of::<T>()) {
            return None;
        }
        Some(Section {
            len: bytes.len() / size_of::<T>(),
            memory: Memory::File(Arc::clone(file), range),
            values: PhantomData,
        })
    }

    /// Bytes held in memory of this process; what a file backs is not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.memory {
            Memory::File(..) => 0,
            _ => self.len * size_of::<T>(),
        }
    }
}

impl<T: Pod> Deref for Section<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let bytes = match &self.memory {
            Memory::Heap(lines) => bytemuck::cast_slice(lines),
            Memory::Pages(pages) => &pages[..],
            Memory::File(file, range) => &file[range.clone()],
        };
        bytemuck::cast_slice(&bytes[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> Default for Section<T> {
    fn default() -> Self {
        Section::copy(&[])
    }
}

impl<T: Pod> fmt::Debug for Section<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} values]", self.len)
    }
}
