//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// How much of an overlong row is kept for the rejects file.
pub(super) const START_BYTES: usize = 4 << 10;

/// A line without its line break.
pub(super) enum Line {
    Whole(Vec<u8>),
    /// Its first bytes; the rest was longer than the limit and has been skipped.
    Start(Vec<u8>),
}

/// Splits a stream at its line feeds and never holds more than `limit` bytes of it.
pub(super) struct Lines<R> {
    reader: R,
    limit: usize,
    /// Lines taken so far.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Lines {
            reader,
            limit,
            number: 0,
        }
    }

    /// The next line and its number, from 1; None at the end of the stream.
    pub(super) fn next_line(&mut self) -> io::Result<Option<(u64, Line)>> {
        let mut line = Vec::new();
        // One byte more for the line feed, and one for the carriage return before it.
        let bound = self.limit.saturating_add(2);
        let n = Read::take(&mut self.reader, bound as u64).read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = line.last() == Some(&b'\n');
        if ended {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() <= self.limit {
            return Ok(Some((self.number, Line::Whole(line))));
        }
        if !ended {
            self.reader.skip_until(b'\n')?;
        }
        line.truncate(START_BYTES);
        line.shrink_to_fit();
        Ok(Some((self.number, Line::Start(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, limit: usize) -> Vec<(u64, String, bool)> {
        let mut lines = Lines::new(text.as_bytes(), limit);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next_line().unwrap() {
            let (bytes, whole) = match line {
                Line::Whole(bytes) => (bytes, true),
                Line::Start(bytes) => (bytes, false),
            };
            all.push((number, String::from_utf8(bytes).unwrap(), whole));
        }
        all
    }

    #[test]
    fn lines_end_at_feeds_and_at_the_end() {
        let expected = vec![
            (1, "a".to_string(), true),
            (2, String::new(), true),
            (3, "bc".to_string(), true),
        ];
        assert_eq!(read("a\n\nbc", 9), expected);
        assert_eq!(read("a\r\n\r\nbc\r\n", 9), expected);
    }

    #[test]
    fn the_limit_counts_the_line_without_its_break() {
        for (text, whole) in [
            ("123", true),
            ("1234", true),
            ("12345", false),
            ("123456789", false),
        ] {
            for end in ["", "\n", "\r\n"] {
                let all = read(&format!("{text}{end}ab"), 4);
                if end.is_empty() {
                    continue;
                }
                assert_eq!(all.len(), 2, "{text:?} {end:?}");
                assert_eq!(all[0].2, whole, "{text:?} {end:?}");
                assert_eq!(all[1], (2, "ab".to_string(), true));
            }
        }
    }
}
