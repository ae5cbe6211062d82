//! Arrays of numbers that are either ours or a part of a mapped file.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

enum Memory<T> {
    Owned(Vec<T>),
    File(Arc<Mmap>, Range<usize>),
}

/// An immutable array of little-endian numbers.
pub(crate) struct Column<T> {
    memory: Memory<T>,
    values: PhantomData<T>,
}

impl<T: Pod> Column<T> {
    /// The bytes `range` of a mapped file; None where they do not lie in it, are not a whole
    /// number of values or not aligned for them.
    pub(super) fn mapped(file: &Arc<Mmap>, range: Range<usize>) -> Option<Column<T>> {
        let bytes = file.get(range.clone())?;
        bytemuck::try_cast_slice::<u8, T>(bytes).ok()?;
        Some(Column {
            memory: Memory::File(Arc::clone(file), range),
            values: PhantomData,
        })
    }

    /// The array as it lies in a file.
    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

impl<T> From<Vec<T>> for Column<T> {
    fn from(values: Vec<T>) -> Self {
        Column {
            memory: Memory::Owned(values),
            values: PhantomData,
        }
    }
}

impl<T: Pod> Default for Column<T> {
    fn default() -> Self {
        Column::from(Vec::new())
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.memory {
            Memory::Owned(values) => values,
            // That it can be read so was found when the column was made.
            Memory::File(file, range) => bytemuck::cast_slice(&file[range.clone()]),
        }
    }
}

impl<T: Pod> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} values]", self.len())
    }
}
