//! Walking a graph: the beam search (Malkov and Yashunin, arXiv:1603.09320,
//! algorithms 2 and 5) over flat arrays of links.
//!
//! The beam is one array, nearest first, of rows and whether they have been expanded,
//! rather than two heaps: a few rows are expanded at once and what they bring is merged in
//! together, so that it is moved once, and the rows to expand next are known early enough
//! to fetch their links ahead.

use super::kernels::prefetch;

/// Rows of a beam that are expanded together: their waits for memory overlap, for a few
/// comparisons more.
const AT_ONCE: usize = 4;

/// Marks the end of a row's links.
pub(crate) const NONE: u32 = u32::MAX;

/// The links of rows: `width` places a row, the used ones first.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    pub width: usize,
    pub values: &'a [u32],
}

impl<'a> Links<'a> {
    /// Rows.
    #[inline]
    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// The places of a row; what follows a [`NONE`] is unused.
    #[inline]
    pub(crate) fn places(&self, row: u32) -> &'a [u32] {
        &self.values[row as usize * self.width..][..self.width]
    }

    /// Asks for the places of a row.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        prefetch(self.values, row as usize * self.width, self.width);
    }

    /// The links of a row.
    #[inline]
    pub(crate) fn of(&self, row: u32) -> impl Iterator<Item = u32> + 'a {
        let places = self.places(row).iter().copied();
        places.take_while(|&link| link != NONE)
    }
}

/// What a walk goes toward.
pub(crate) trait Toward {
    /// Similarities to `rows`, greater is nearer, into `out`.
    fn similarities(&mut self, rows: &[u32], out: &mut Vec<f32>);
    /// Similarities of the row will be asked for soon.
    fn prefetch(&self, row: u32);
}

/// A row in a beam, in an order in which greater is nearer and, of equals, the lower row.
/// The lowest bit says that the row waits to be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Near(u64);

impl Near {
    /// `row` is below 2^31, as segments see to.
    #[inline]
    fn waiting(similarity: f32, row: u32) -> Near {
        let bits = similarity.to_bits();
        // Orders like the floats do.
        let key = bits ^ ((bits as i32 >> 31) as u32 | 0x8000_0000);
        Near(u64::from(key) << 32 | u64::from(!row << 1) | 1)
    }

    #[inline]
    pub(crate) fn row(self) -> u32 {
        !(self.0 as u32) >> 1
    }

    #[inline]
    pub(crate) fn similarity(self) -> f32 {
        let key = (self.0 >> 32) as u32;
        f32::from_bits(if key >> 31 == 1 {
            key ^ 0x8000_0000
        } else {
            !key
        })
    }

    #[inline]
    fn is_waiting(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The rows nearest so far, at most `width` of them, nearest first.
#[derive(Default)]
struct Beam {
    width: usize,
    near: Vec<Near>,
    /// All before are expanded.
    next: usize,
    /// What is to be merged in; the rest is left over.
    came: Vec<Near>,
}

impl Beam {
    fn clear(&mut self, width: usize) {
        self.width = width.max(1);
        self.near.clear();
        self.next = 0;
    }

    /// What a row must be greater than to get in.
    #[inline]
    fn floor(&self) -> Near {
        if self.near.len() < self.width {
            Near(0)
        } else {
            self.near[self.width - 1]
        }
    }

    /// Takes in the nearest of rows and their similarities.
    #[inline]
    fn take_in(&mut self, rows: &[u32], similarities: &[f32]) {
        if self.came.len() < rows.len() {
            self.came.resize(rows.len().next_power_of_two(), Near(0));
        }
        // Without a branch: which rows are near enough cannot be predicted.
        let (floor, mut count) = (self.floor(), 0);
        for (&row, &similarity) in rows.iter().zip(similarities) {
            let near = Near::waiting(similarity, row);
            self.came[count] = near;
            count += usize::from(near > floor);
        }
        self.merge(count);
    }

    /// Merges the first `count` that came, in any order, from the end on.
    fn merge(&mut self, count: usize) {
        let came = &mut self.came[..count];
        came.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&nearest) = came.first() else {
            return;
        };
        let first = self.near.partition_point(|other| *other > nearest);
        self.next = self.next.min(first);
        let (mut old, mut new) = (self.near.len(), came.len());
        let mut to = old + new;
        self.near.resize(to.min(self.width), Near(0));
        // Where `new` is 0, what is left is in its place.
        while new > 0 {
            let far = if old > first && self.near[old - 1] < came[new - 1] {
                old -= 1;
                self.near[old]
            } else {
                new -= 1;
                came[new]
            };
            to -= 1;
            if let Some(place) = self.near.get_mut(to) {
                *place = far;
            }
        }
    }

    /// The nearest row that waits to be expanded; none waits before it.
    #[inline]
    fn nearest_waiting(&mut self) -> Option<u32> {
        while let Some(near) = self.near.get(self.next) {
            if near.is_waiting() {
                return Some(near.row());
            }
            self.next += 1;
        }
        None
    }

    /// The rows that are likely to be expanded next.
    #[inline]
    fn likely_next(&self) -> impl Iterator<Item = u32> + '_ {
        let near = self.near.iter().skip(self.next).take(2 * AT_ONCE);
        let waiting = near.filter(|near| near.is_waiting());
        waiting.map(|near| near.row()).take(AT_ONCE)
    }

    /// Notes that the nearest row that waits is expanded.
    #[inline]
    fn expanded(&mut self) {
        if let Some(near) = self.near.get_mut(self.next) {
            near.0 &= !1;
            self.next += 1;
        }
    }
}

/// The rows that a walk has seen.
#[derive(Default)]
struct Visited {
    /// A bit per row.
    bits: Vec<u64>,
    /// The rows whose bits are set, in the order they were seen; what lies past `count` is
    /// left over.
    seen: Vec<u32>,
    count: usize,
}

impl Visited {
    fn clear(&mut self, rows: usize) {
        for row in &self.seen[..self.count] {
            self.bits[(row / 64) as usize] = 0;
        }
        self.count = 0;
        if self.bits.len() < rows.div_ceil(64) {
            self.bits.resize(rows.div_ceil(64), 0);
        }
    }

    /// Adds those of a row's links that were not seen before; they are what `seen` holds
    /// from the place that is returned. Without a branch that depends on it: whether a link
    /// was seen cannot be predicted, and guessing wrong costs more than looking.
    #[inline]
    fn add(&mut self, links: &[u32], rows: usize) -> usize {
        let first = self.count;
        let room = first + links.len();
        if self.seen.len() < room {
            self.seen.resize(room.next_power_of_two(), 0);
        }
        let mut count = first;
        for &link in links {
            // Which also ends the row: no segment has so many rows.
            if link as usize >= rows {
                break;
            }
            let (word, bit) = ((link / 64) as usize, 1u64 << (link % 64));
            let new = self.bits[word] & bit == 0;
            self.bits[word] |= bit;
            self.seen[count] = link;
            count += usize::from(new);
        }
        self.count = count;
        first
    }

    /// Adds a row; whether it was not seen before.
    #[inline]
    fn add_one(&mut self, row: u32, rows: usize) -> bool {
        let first = self.add(&[row], rows);
        self.count > first
    }
}

/// The working memory of walks, used again by the next one.
#[derive(Default)]
pub(crate) struct Scratch {
    visited: Visited,
    beam: Beam,
    fresh: Vec<u32>,
    rejected: Vec<u32>,
    similarities: Vec<f32>,
    /// For whoever names rows otherwise on the way.
    pub rows: Vec<u32>,
    /// Rows compared since this was last set.
    pub compared: u64,
}

impl Scratch {
    fn clear(&mut self, rows: usize, width: usize) {
        self.visited.clear(rows);
        self.beam.clear(width);
    }

    /// What the last walk found, nearest first.
    pub(crate) fn found(&self) -> &[Near] {
        &self.beam.near
    }

    /// Compares the rows seen from place `first` on and puts the near ones into the beam.
    #[inline]
    fn compare_seen(&mut self, first: usize, links: Links<'_>, toward: &mut impl Toward) {
        let fresh = &self.visited.seen[first..self.visited.count];
        self.compared += fresh.len() as u64;
        compare(&mut self.beam, &mut self.similarities, fresh, links, toward);
    }

    /// Compares the fresh rows and puts the near ones into the beam.
    #[inline]
    fn compare_fresh(&mut self, links: Links<'_>, toward: &mut impl Toward) {
        self.compared += self.fresh.len() as u64;
        compare(
            &mut self.beam,
            &mut self.similarities,
            &self.fresh,
            links,
            toward,
        );
    }

    /// From `start`, always on to the nearest link; the row where no link is nearer.
    pub(crate) fn descend(
        &mut self,
        links: Links<'_>,
        start: u32,
        toward: &mut impl Toward,
    ) -> u32 {
        self.fresh.clear();
        self.fresh.push(start);
        toward.similarities(&self.fresh, &mut self.similarities);
        self.compared += 1;
        let mut best = Near::waiting(self.similarities[0], start);
        loop {
            self.fresh.clear();
            self.fresh.extend(
                links
                    .of(best.row())
                    .filter(|&row| (row as usize) < links.rows()),
            );
            self.compared += self.fresh.len() as u64;
            toward.similarities(&self.fresh, &mut self.similarities);
            let nears = self.fresh.iter().zip(&self.similarities);
            let nearest = nears.map(|(&row, &s)| Near::waiting(s, row)).max();
            match nearest {
                Some(near) if near > best => best = near,
                _ => return best.row(),
            }
        }
    }

    /// Finds the `width` rows nearest that a beam from `starts` reaches.
    pub(crate) fn beam(
        &mut self,
        links: Links<'_>,
        starts: impl IntoIterator<Item = u32>,
        width: usize,
        toward: &mut impl Toward,
    ) {
        let rows = links.rows();
        self.clear(rows, width);
        for row in starts {
            self.visited.add_one(row, rows);
        }
        self.compare_seen(0, links, toward);
        while let Some(row) = self.beam.nearest_waiting() {
            self.beam.expanded();
            let first = self.visited.add(links.places(row), rows);
            for _ in 1..AT_ONCE {
                let Some(row) = self.beam.nearest_waiting() else {
                    break;
                };
                self.beam.expanded();
                self.visited.add(links.places(row), rows);
            }
            for &link in &self.visited.seen[first..self.visited.count] {
                toward.prefetch(link);
            }
            self.beam.likely_next().for_each(|row| links.prefetch(row));
            self.compare_seen(first, links, toward);
        }
    }

    /// The same among the rows that `accept` takes only: what it rejects is neither
    /// compared nor kept, but stands for its own links (the two hops of ACORN-1, Patel et
    /// al., arXiv:2403.04871). The start is in the beam whether it is accepted or not.
    /// Gives up after comparing more than `budget` rows; whether it got to the end.
    pub(crate) fn beam_among(
        &mut self,
        links: Links<'_>,
        start: u32,
        width: usize,
        budget: u64,
        accept: impl Fn(u32) -> bool,
        toward: &mut impl Toward,
    ) -> bool {
        let rows = links.rows();
        // The start has a place of its own where it is not to be found.
        self.clear(rows, width + usize::from(!accept(start)));
        self.fresh.clear();
        if (start as usize) < rows {
            self.visited.add_one(start, rows);
            self.fresh.push(start);
        }
        self.compare_fresh(links, toward);
        while let Some(row) = self.beam.nearest_waiting() {
            self.beam.expanded();
            if self.compared > budget {
                return false;
            }
            self.fresh.clear();
            self.rejected.clear();
            for &link in links.places(row) {
                if link as usize >= rows {
                    break;
                }
                if !accept(link) {
                    links.prefetch(link);
                    self.rejected.push(link);
                } else if self.visited.add_one(link, rows) {
                    toward.prefetch(link);
                    self.fresh.push(link);
                }
            }
            for &between in &self.rejected {
                // About as many as a row without a filter would bring in.
                if self.fresh.len() >= links.width {
                    break;
                }
                if !self.visited.add_one(between, rows) {
                    continue;
                }
                for &link in links.places(between) {
                    if link as usize >= rows {
                        break;
                    }
                    if accept(link) && self.visited.add_one(link, rows) {
                        toward.prefetch(link);
                        self.fresh.push(link);
                    }
                }
            }
            self.compare_fresh(links, toward);
        }
        true
    }
}

/// Compares rows and puts the near ones into the beam.
#[inline]
fn compare(
    beam: &mut Beam,
    similarities: &mut Vec<f32>,
    fresh: &[u32],
    links: Links<'_>,
    toward: &mut impl Toward,
) {
    toward.similarities(fresh, similarities);
    beam.take_in(fresh, similarities);
    beam.likely_next().for_each(|row| links.prefetch(row));
}
