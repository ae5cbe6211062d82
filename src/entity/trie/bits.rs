//! Bit vectors that know how many ones come before a place (rank) and where the n-th one is
//! (select).
//!
//! Beside the bits lie a running count for every 512 of them and the place of every 64th one:
//! 0.0625 and, of bits that are all ones, 0.5 further bits a bit. Either question then reads a few
//! neighbouring words.

use super::super::column::Column;

/// Bits of one running count.
const BLOCK: usize = 512;
const BLOCK_WORDS: usize = BLOCK / 64;
/// Ones from one noted place to the next.
const SAMPLE: usize = 64;

/// Bits that are still being added.
#[derive(Debug, Default, Clone)]
pub(crate) struct BitBuilder {
    words: Vec<u64>,
    len: usize,
}

impl BitBuilder {
    pub(in crate::entity) fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        if bit {
            self.words[self.len / 64] |= 1 << (self.len % 64);
        }
        self.len += 1;
    }

    /// Makes the last bit a one.
    pub(in crate::entity) fn set_last(&mut self) {
        if let Some(last) = self.len.checked_sub(1) {
            self.words[last / 64] |= 1 << (last % 64);
        }
    }

    /// Adds all bits of another, in order.
    pub(in crate::entity) fn append(&mut self, other: &BitBuilder) {
        let shift = self.len % 64;
        for &word in &other.words {
            if shift == 0 {
                self.words.push(word);
            } else {
                // There is a last word, because it is partly filled.
                if let Some(last) = self.words.last_mut() {
                    *last |= word << shift;
                }
                self.words.push(word >> (64 - shift));
            }
        }
        self.len += other.len;
        self.words.truncate(self.len.div_ceil(64));
    }

    pub(in crate::entity) fn finish(self) -> Bits {
        let mut counts = Vec::with_capacity(self.words.len() / BLOCK_WORDS + 1);
        let mut samples = Vec::new();
        let mut ones = 0_usize;
        for (index, &word) in self.words.iter().enumerate() {
            if index.is_multiple_of(BLOCK_WORDS) {
                counts.push(ones as u32);
            }
            let here = word.count_ones() as usize;
            // The next one to be noted, counted within this word.
            let next = ones.next_multiple_of(SAMPLE) - ones;
            if next < here {
                samples.push((index * 64) as u32 + select_in_word(word, next as u32));
            }
            ones += here;
        }
        Bits {
            words: self.words.into(),
            counts: counts.into(),
            samples: samples.into(),
            len: self.len,
            ones,
        }
    }
}

/// Place of the `n`-th one (from 0) of a word that has so many.
fn select_in_word(mut word: u64, n: u32) -> u32 {
    for _ in 0..n {
        word &= word.wrapping_sub(1);
    }
    word.trailing_zeros()
}

/// Bits that do not change any more.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    words: Column<u64>,
    counts: Column<u32>,
    samples: Column<u32>,
    len: usize,
    ones: usize,
}

impl Bits {
    /// Bits of these columns; None where the columns cannot belong to `len` bits.
    pub(in crate::entity) fn new(
        words: Column<u64>,
        counts: Column<u32>,
        samples: Column<u32>,
        len: usize,
        ones: usize,
    ) -> Option<Bits> {
        let fits = words.len() == len.div_ceil(64)
            && counts.len() == words.len().div_ceil(BLOCK_WORDS)
            && samples.len() == ones.div_ceil(SAMPLE)
            && u32::try_from(len).is_ok();
        fits.then_some(Bits {
            words,
            counts,
            samples,
            len,
            ones,
        })
    }

    /// The columns as they lie in a file, with what tells them apart.
    pub(in crate::entity) fn columns(&self) -> [(&'static str, &[u8]); 3] {
        [
            ("words", self.words.bytes()),
            ("counts", self.counts.bytes()),
            ("samples", self.samples.bytes()),
        ]
    }

    pub(in crate::entity) fn len(&self) -> usize {
        self.len
    }

    /// How many ones there are.
    pub(in crate::entity) fn ones(&self) -> usize {
        self.ones
    }

    /// The bit at a place; false past the end.
    #[inline]
    pub(in crate::entity) fn get(&self, at: usize) -> bool {
        self.words
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// How many ones come before a place, which is at most the length.
    #[inline]
    pub(in crate::entity) fn rank(&self, at: usize) -> usize {
        let (block, word) = (at / BLOCK, at / 64);
        let Some(&count) = self.counts.get(block) else {
            return self.ones;
        };
        let before = &self.words[block * BLOCK_WORDS..word.min(self.words.len())];
        let mut rank = count as usize;
        rank += before
            .iter()
            .map(|w| w.count_ones() as usize)
            .sum::<usize>();
        if let Some(&last) = self.words.get(word) {
            rank += (last & ((1 << (at % 64)) - 1)).count_ones() as usize;
        }
        rank
    }

    /// Place of the `n`-th one, counted from 0; the length where there are not so many.
    #[inline]
    pub(in crate::entity) fn select(&self, n: usize) -> usize {
        let Some(&from) = self.samples.get(n / SAMPLE) else {
            return self.len;
        };
        let mut left = (n % SAMPLE) as u32;
        let mut at = from as usize / 64;
        let Some(&first) = self.words.get(at) else {
            return self.len;
        };
        let mut word = first & (u64::MAX << (from % 64));
        loop {
            let ones = word.count_ones();
            if left < ones {
                return at * 64 + select_in_word(word, left) as usize;
            }
            left -= ones;
            at += 1;
            match self.words.get(at) {
                Some(&next) => word = next,
                None => return self.len,
            }
        }
    }

    /// Place of the first one at or after a place; the length where there is none.
    #[inline]
    pub(in crate::entity) fn next_one(&self, from: usize) -> usize {
        let mut at = from / 64;
        let Some(&first) = self.words.get(at) else {
            return self.len;
        };
        let mut word = first & (u64::MAX << (from % 64));
        loop {
            if word != 0 {
                return at * 64 + word.trailing_zeros() as usize;
            }
            at += 1;
            match self.words.get(at) {
                Some(&next) => word = next,
                None => return self.len,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranks_and_selections_are_those_of_counting(
            parts in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.3), 0..700), 0..5),
        ) {
            let mut built = BitBuilder::default();
            for part in &parts {
                let mut builder = BitBuilder::default();
                part.iter().for_each(|&bit| builder.push(bit));
                built.append(&builder);
            }
            let bits = built.finish();
            let plain = parts.concat();
            let ones: Vec<usize> = (0..plain.len()).filter(|&at| plain[at]).collect();
            prop_assert_eq!((bits.len(), bits.ones()), (plain.len(), ones.len()));
            for at in 0..=plain.len() {
                prop_assert_eq!(bits.get(at), plain.get(at) == Some(&true));
                prop_assert_eq!(bits.rank(at), ones.partition_point(|&one| one < at));
                let next = ones.iter().find(|&&one| one >= at);
                prop_assert_eq!(bits.next_one(at), next.copied().unwrap_or(plain.len()));
            }
            for n in 0..=ones.len() {
                prop_assert_eq!(bits.select(n), ones.get(n).copied().unwrap_or(plain.len()));
            }
        }
    }
}
