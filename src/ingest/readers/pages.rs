//! The pages of a Parquet file, bounded before they are decoded.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::ingest::footer;
use crate::ingest::ranges::{Onward, Ranges};

/// Largest header of a page.
const MAX_PAGE_HEADER: u64 = 1 << 20;
/// Bytes that a value of a list takes: of a view, the largest but for decimals.
const VALUE_BYTES: u64 = 16;

/// A file whose pages are looked at before they are decoded.
///
/// A decoder takes as much memory as the header of a page states, and of lists as many values.
/// Clones share what they have seen.
#[derive(Clone)]
pub(super) struct Pages {
    ranges: Ranges,
    limit: usize,
    columns: Arc<Mutex<Vec<Entered>>>,
}

/// A column, and what of it the batch enters that is being decoded.
struct Entered {
    part: Range<u64>,
    is_list: bool,
    /// The last page, which the decoder may ask for twice.
    page: Option<u64>,
    bytes: u64,
    values: u64,
}

impl Pages {
    pub(super) fn new(ranges: Ranges, limit: usize) -> Pages {
        Pages {
            ranges,
            limit,
            columns: Arc::default(),
        }
    }

    /// For these columns, of which none was entered.
    pub(super) fn of(&self, columns: Vec<(Range<u64>, bool)>) -> Pages {
        let enter = |(part, is_list)| Entered {
            part,
            is_list,
            page: None,
            bytes: 0,
            values: 0,
        };
        *self.columns.lock() = columns.into_iter().map(enter).collect();
        self.clone()
    }

    pub(super) fn begin_batch(&self) {
        for column in self.columns.lock().iter_mut() {
            (column.bytes, column.values) = (0, 0);
        }
    }

    /// Reads the header of a page that did not fit into what is read at once.
    fn long_header(&self, start: u64) -> Result<footer::Page, ParquetError> {
        let columns = self.columns.lock();
        let column = columns.iter().find(|column| column.part.contains(&start));
        let end = column.map_or(self.ranges.total(), |column| column.part.end);
        drop(columns);
        let length = end
            .min(self.ranges.total())
            .saturating_sub(start)
            .min(MAX_PAGE_HEADER);
        // Of machine size: see above.
        let bytes = self.ranges.get_bytes(start, length as usize)?;
        footer::page(&bytes).map_err(|found| ParquetError::General(found.into()))
    }

    /// Adds a page to those that a batch enters, or refuses it.
    fn enter(&self, at: u64, page: footer::Page) -> Result<(), ParquetError> {
        let mut columns = self.columns.lock();
        let column = columns.iter_mut().find(|column| column.part.contains(&at));
        let Some(column) = column.filter(|column| column.page < Some(at)) else {
            return Ok(());
        };
        column.page = Some(at);
        column.bytes = column.bytes.saturating_add(page.bytes);
        // Only of lists a row may have any number of them.
        if column.is_list {
            column.values = column.values.saturating_add(page.values);
        }
        let values = column.values.saturating_mul(VALUE_BYTES);
        let most = column.bytes.max(values);
        match most > self.limit as u64 {
            true => Err(ParquetError::General(format!(
                "pages of {most} bytes for the rows of one column that are decoded together; at \
                 most {} are taken",
                self.limit
            ))),
            false => Ok(()),
        }
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.ranges.total()
    }
}

impl ChunkReader for Pages {
    type T = BufReader<Onward>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut read = self.ranges.get_read(start)?;
        let head = read.fill_buf()?;
        // The decoder asks for the bodies of pages in the same way.
        if footer::begins_a_page(head) {
            let page = footer::page(head).or_else(|_| self.long_header(start));
            self.enter(start, page?)?;
        }
        Ok(read)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        match length > self.limit {
            true => Err(ParquetError::General(format!(
                "{length} bytes in one page; at most {} are taken",
                self.limit
            ))),
            false => self.ranges.get_bytes(start, length),
        }
    }
}
