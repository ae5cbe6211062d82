//! Text as a list of lines, and long lists of them in overlapping parts, cut where the syntax is
//! least deep.

use std::ops::Range;

use super::{CutLimits, LineRange};

/// A line, or a piece of one that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// 1-based.
    pub number: u32,
    /// In the text, without the line break.
    pub span: Range<usize>,
    /// Depth of what begins on it; the largest where nothing does.
    pub depth: u16,
}

/// The starts of a text's lines, for finding a line's number.
pub(super) struct Lines {
    starts: Vec<usize>,
    depths: Vec<u16>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts: Vec<usize> = std::iter::once(0).chain(breaks).collect();
        Lines {
            depths: vec![u16::MAX; starts.len()],
            starts,
        }
    }

    /// Notes that something of this depth begins at a place.
    pub(super) fn note(&mut self, text: &str, at: usize, depth: u16) {
        let line = self.line(at);
        if depth < self.depths[line] && text[self.starts[line]..at].trim().is_empty() {
            self.depths[line] = depth;
        }
    }

    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at).max(1) - 1
    }

    /// The lines of a range of the text, blank ones at its ends left out; those longer than
    /// `most` bytes in pieces.
    pub(super) fn within(&self, text: &str, range: Range<usize>, most: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let (first, last) = (self.line(range.start), self.line(range.end));
        for line in first..=last {
            let next = self
                .starts
                .get(line + 1)
                .map_or(text.len(), |&next| next - 1);
            let mut start = self.starts[line].max(range.start);
            let end = next.min(range.end);
            let number = line as u32 + 1;
            let depth = self.depths[line];
            while end.saturating_sub(start) > most {
                let mut cut = text.floor_char_boundary(start + most);
                if cut == start {
                    cut = text.ceil_char_boundary(start + 1);
                }
                let span = start..cut;
                lines.push(Line {
                    number,
                    span,
                    depth,
                });
                start = cut;
            }
            if start <= end {
                let span = start..end;
                lines.push(Line {
                    number,
                    span,
                    depth,
                });
            }
        }
        let blank = |line: &Line| text[line.span.clone()].trim().is_empty();
        while lines.last().is_some_and(blank) {
            lines.pop();
        }
        let skip = lines.iter().take_while(|line| blank(line)).count();
        lines.drain(..skip);
        lines
    }
}

/// Cuts lines into parts of at most so many bytes, unless a line alone is longer.
pub(super) fn parts(lines: &[Line], limits: &CutLimits) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut from = 0;
    // Lines before this one are in a part.
    let mut covered = 0;
    while from < lines.len() {
        let mut bytes = 0;
        let mut full = from;
        let mut half = from + 1;
        while full < lines.len()
            && (full == from || bytes + size(&lines[full]) <= limits.part_bytes)
        {
            bytes += size(&lines[full]);
            full += 1;
            if bytes * 2 < limits.part_bytes {
                half = full + 1;
            }
        }
        if full == lines.len() {
            parts.push(from..full);
            break;
        }
        if full <= covered {
            // What is shared left no room for a line that is not.
            from = covered;
            continue;
        }
        // The latest of the least deep lines in the second half begins the next part.
        let first = half.min(full).max(covered + 1);
        let cut = (first..=full).rev().min_by_key(|&at| lines[at].depth);
        let cut = cut.unwrap_or(full).max(from + 1);
        parts.push(from..cut);
        covered = cut;
        let (mut next, mut shared) = (cut, 0);
        while next > from + 1 && shared + size(&lines[next - 1]) <= limits.overlap_bytes {
            next -= 1;
            shared += size(&lines[next]);
        }
        from = next;
    }
    parts
}

fn size(line: &Line) -> usize {
    line.span.len() + 1
}

/// The text of lines; what is left out between them is marked.
pub(super) fn join(text: &str, lines: &[Line]) -> String {
    let mut joined = String::new();
    for (n, line) in lines.iter().enumerate() {
        if let Some(before) = n.checked_sub(1).map(|n| &lines[n]) {
            let between = &text[before.span.end..line.span.start];
            if line.number > before.number {
                joined.push('\n');
            }
            if !between.trim().is_empty() {
                joined.push_str("…\n");
            }
        }
        joined.push_str(&text[line.span.clone()]);
    }
    joined
}

/// The ranges of their numbers.
pub(super) fn ranges(lines: &[Line]) -> Vec<LineRange> {
    let mut ranges: Vec<LineRange> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some(last) if line.number <= last.last + 1 => last.last = line.number,
            _ => ranges.push(LineRange {
                first: line.number,
                last: line.number,
            }),
        }
    }
    ranges
}
