//! A look at a Parquet footer, and at the headers of pages, before they are decoded.
//!
//! The decoder reserves memory by the list lengths that a footer states and recurses
//! by the nesting it states; either can end the process where an error was due. The
//! footer is Thrift's compact protocol, which can be walked without knowing what it
//! means: every length is held against the bytes that are left, every nesting against
//! a bound.

/// Deepest nesting of groups in a schema; real ones stay below ten.
const MAX_SCHEMA_DEPTH: usize = 64;
/// Deepest nesting of Thrift values; the Parquet definitions need about ten.
const MAX_DEPTH: usize = 32;

/// Checks that every length in the footer fits into it and that its schema is no deeper
/// than 64 groups.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(bytes: &[u8]) -> Result<(), &'static str> {
    let mut walk = Walk { bytes };
    let mut last_field = 0;
    while let Some((field, kind)) = walk.field(last_field)? {
        last_field = field;
        // FileMetaData: 2 is the schema, a list of SchemaElement flattened in depth-first
        // order.
        if field == 2 && kind == LIST {
            walk.schema()?;
        } else {
            walk.value(kind, MAX_DEPTH)?;
        }
    }
    Ok(())
}

/// What a page's header states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// Its length when it is decompressed.
    pub(super) bytes: u64,
    /// Values, nulls and those of nested lists included.
    pub(super) values: u64,
}

/// Whether bytes begin as the header of a page does: with its type and its lengths, both of them
/// numbers of 32 bits.
pub(super) fn begins_a_page(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15, 0 | 2 | 4 | 6, 0x15, ..])
}

/// Reads the header of a page, which need not be all of `bytes`.
///
/// # Errors
/// What is wrong with it; also where it is not whole.
pub(super) fn page(bytes: &[u8]) -> Result<Page, &'static str> {
    let mut walk = Walk { bytes };
    let mut page = Page::default();
    let mut last = 0;
    while let Some((field, kind)) = walk.field(last)? {
        last = field;
        match (field, kind) {
            // PageHeader: 2 is uncompressed_page_size; 5, 7 and 8 are the headers of pages of
            // data, of a dictionary, and of data in the second version.
            (2, 4..=6) => page.bytes = walk.count()?,
            (5 | 7 | 8, STRUCT) => {
                let mut last = 0;
                while let Some((field, kind)) = walk.field(last)? {
                    last = field;
                    match (field, kind) {
                        // num_values, in each of them.
                        (1, 4..=6) => page.values = walk.count()?,
                        _ => walk.value(kind, MAX_DEPTH)?,
                    }
                }
            }
            _ => walk.value(kind, MAX_DEPTH)?,
        }
    }
    Ok(page)
}

const LIST: u8 = 9;
const STRUCT: u8 = 12;
/// Field of a SchemaElement: how many of the following elements are its children.
const NUM_CHILDREN: i16 = 5;

const CUT_SHORT: &str = "a footer with a value that is cut short";
const TOO_LONG: &str = "a footer with a length past its end";

/// What is left of the footer.
struct Walk<'a> {
    bytes: &'a [u8],
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&first, rest) = self.bytes.split_first().ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(first)
    }

    fn skip(&mut self, n: u64) -> Result<(), &'static str> {
        let n = usize::try_from(n).map_err(|_| TOO_LONG)?;
        self.bytes = self.bytes.get(n..).ok_or(TOO_LONG)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a footer with a number of more than 64 bits")
    }

    /// A number that counts something; a negative one is none.
    fn count(&mut self) -> Result<u64, &'static str> {
        let count = u64::try_from(zigzag(self.varint()?));
        count.map_err(|_| "a header with a negative count")
    }

    /// The next field of a struct: its id and type; None at the end of the struct.
    fn field(&mut self, last: i16) -> Result<Option<(i16, u8)>, &'static str> {
        let head = self.byte()?;
        let kind = head & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => zigzag(self.varint()?) as i16,
            delta => last.wrapping_add(i16::from(delta)),
        };
        Ok(Some((id, kind)))
    }

    /// Length and element type of a list; each element takes a byte at least.
    fn list(&mut self) -> Result<(u64, u8), &'static str> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        if length > self.bytes.len() as u64 {
            return Err(TOO_LONG);
        }
        Ok((length, head & 0x0f))
    }

    /// Walks over one value of this type as it stands in a struct's field.
    fn value(&mut self, kind: u8, depth: usize) -> Result<(), &'static str> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err("a footer that is nested too deeply");
        };
        match kind {
            // The type of a boolean field is its value.
            1 | 2 => Ok(()),
            3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            LIST | 10 => {
                let (length, kind) = self.list()?;
                for _ in 0..length {
                    self.element(kind, depth)?;
                }
                Ok(())
            }
            11 => {
                let length = self.varint()?;
                if length == 0 {
                    return Ok(());
                }
                if length > self.bytes.len() as u64 {
                    return Err(TOO_LONG);
                }
                let kinds = self.byte()?;
                for _ in 0..length {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 0x0f, depth)?;
                }
                Ok(())
            }
            STRUCT => {
                let mut last = 0;
                while let Some((field, kind)) = self.field(last)? {
                    last = field;
                    self.value(kind, depth)?;
                }
                Ok(())
            }
            13 => self.skip(16),
            _ => Err("a footer with a value of no known type"),
        }
    }

    /// The same inside a list or map, where a boolean takes a byte.
    fn element(&mut self, kind: u8, depth: usize) -> Result<(), &'static str> {
        match kind {
            1 | 2 => self.skip(1),
            kind => self.value(kind, depth),
        }
    }

    fn schema(&mut self) -> Result<(), &'static str> {
        let (length, kind) = self.list()?;
        if kind != STRUCT {
            return Err("a footer whose schema is not a list of columns");
        }
        // Children still to come of each open group, outermost first.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..length {
            let mut children = 0;
            let mut last = 0;
            while let Some((field, kind)) = self.field(last)? {
                last = field;
                if field == NUM_CHILDREN && (4..=6).contains(&kind) {
                    children = u64::try_from(zigzag(self.varint()?)).unwrap_or(0);
                } else {
                    self.value(kind, MAX_DEPTH)?;
                }
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            if open.len() > MAX_SCHEMA_DEPTH {
                return Err("a schema nested more than 64 groups deep");
            }
        }
        Ok(())
    }
}

fn zigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_past_the_end_are_refused() {
        // Field 4 (row groups), a list of structs that claims 2^31 - 1 of them.
        let lying = [0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
        assert_eq!(check(&lying), Err(TOO_LONG));
        // Field 4, three empty structs; end.
        assert_eq!(check(&[0x49, 0x3c, 0, 0, 0, 0]), Ok(()));
        assert_eq!(check(&[0x49, 0x3c, 0, 0]), Err(TOO_LONG));
        assert_eq!(check(&[]), Err(CUT_SHORT));
    }

    #[test]
    fn deep_schemas_are_refused() {
        let nested = |depth: u8| {
            let mut bytes = vec![0x29, 0xfc, depth];
            for _ in 0..depth {
                bytes.extend([0x55, 2, 0]); // num_children = 1
            }
            bytes.push(0);
            bytes
        };
        assert_eq!(check(&nested(60)), Ok(()));
        assert!(check(&nested(70)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_safely(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
        }
    }
}
