//! A dense set of ordinals.

/// A set of document ordinals, one bit each.
///
/// Memory is one bit per ordinal up to the largest inserted, so a set over ten
/// million documents takes 1.25 MB; membership is one load and one mask. Ordinals
/// past the end are absent, never an error. Two sets with the same members are equal
/// whatever their capacity.
#[derive(Debug, Clone, Default)]
pub struct OrdinalSet {
    words: Vec<u64>,
}

impl OrdinalSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The empty set, with room for ordinals below `ordinals`.
    pub fn with_capacity(ordinals: u32) -> Self {
        OrdinalSet {
            words: Vec::with_capacity((ordinals as usize).div_ceil(64)),
        }
    }

    /// The set of all ordinals below `up_to`.
    pub fn full(up_to: u32) -> Self {
        let mut words = vec![u64::MAX; (up_to as usize).div_ceil(64)];
        if let Some(last) = words.last_mut()
            && !up_to.is_multiple_of(64)
        {
            *last = (1 << (up_to % 64)) - 1;
        }
        OrdinalSet { words }
    }

    /// Adds an ordinal; true if it was not there.
    pub fn insert(&mut self, ordinal: u32) -> bool {
        let index = (ordinal / 64) as usize;
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let mask = 1u64 << (ordinal % 64);
        // In bounds: resized above.
        let word = &mut self.words[index];
        let absent = *word & mask == 0;
        *word |= mask;
        absent
    }

    /// Takes an ordinal out; true if it was there.
    pub fn remove(&mut self, ordinal: u32) -> bool {
        let mask = 1u64 << (ordinal % 64);
        match self.words.get_mut((ordinal / 64) as usize) {
            Some(word) => {
                let present = *word & mask != 0;
                *word &= !mask;
                present
            }
            None => false,
        }
    }

    /// Whether the ordinal is in the set; false past the end.
    #[inline]
    pub fn contains(&self, ordinal: u32) -> bool {
        let word = self.words.get((ordinal / 64) as usize).copied();
        (word.unwrap_or(0) >> (ordinal % 64)) & 1 == 1
    }

    /// Number of ordinals in the set; counts the bits, so linear in the capacity.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether the set has no member.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&w| w == 0)
    }

    /// One past the largest member; 0 for the empty set.
    pub fn end(&self) -> u32 {
        match self.words.iter().rposition(|&w| w != 0) {
            Some(i) => (i as u32) * 64 + (64 - self.words[i].leading_zeros()),
            None => 0,
        }
    }

    /// Keeps the ordinals that are in both sets.
    pub fn and(&mut self, other: &OrdinalSet) {
        self.words.truncate(other.words.len());
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= theirs;
        }
    }

    /// Adds the ordinals of the other set.
    pub fn or(&mut self, other: &OrdinalSet) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word |= theirs;
        }
    }

    /// Takes out the ordinals of the other set.
    pub fn and_not(&mut self, other: &OrdinalSet) {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= !theirs;
        }
    }

    /// The ordinals below `up_to` that are not in this set.
    pub fn complement(&self, up_to: u32) -> OrdinalSet {
        let mut all = OrdinalSet::full(up_to);
        all.and_not(self);
        all
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                Some(i as u32 * 64 + bit)
            })
        })
    }
}

impl PartialEq for OrdinalSet {
    fn eq(&self, other: &Self) -> bool {
        let shared = self.words.len().min(other.words.len());
        self.words[..shared] == other.words[..shared]
            && self.words[shared..].iter().all(|&w| w == 0)
            && other.words[shared..].iter().all(|&w| w == 0)
    }
}

impl Eq for OrdinalSet {}

impl FromIterator<u32> for OrdinalSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ordinals: I) -> Self {
        let mut set = OrdinalSet::new();
        set.extend(ordinals);
        set
    }
}

impl Extend<u32> for OrdinalSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, ordinals: I) {
        for ordinal in ordinals {
            self.insert(ordinal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::OrdinalSet;

    fn tree() -> impl Strategy<Value = BTreeSet<u32>> {
        proptest::collection::btree_set(0u32..300, 0..80)
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree(a in tree(), b in tree(), up_to in 0u32..320) {
            let set = |t: &BTreeSet<u32>| t.iter().copied().collect::<OrdinalSet>();
            let list = |s: &OrdinalSet| s.iter().collect::<BTreeSet<u32>>();
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert_eq!(x.end(), a.last().map_or(0, |m| m + 1));
            for ordinal in 0..330 {
                prop_assert_eq!(x.contains(ordinal), a.contains(&ordinal));
            }
            let mut z = x.clone();
            z.and(&y);
            prop_assert_eq!(list(&z), &a & &b);
            let mut z = x.clone();
            z.or(&y);
            prop_assert_eq!(list(&z), &a | &b);
            let mut z = x.clone();
            z.and_not(&y);
            prop_assert_eq!(list(&z), &a - &b);
            let rest: BTreeSet<u32> = (0..up_to).filter(|o| !a.contains(o)).collect();
            prop_assert_eq!(list(&x.complement(up_to)), rest);
        }
    }

    #[test]
    fn inserting_and_removing_says_whether_it_changed() {
        let mut set = OrdinalSet::with_capacity(10);
        assert!(set.insert(70));
        assert!(!set.insert(70));
        assert!(!set.remove(1_000_000));
        assert!(set.remove(70));
        assert!(!set.contains(u32::MAX));
        assert_eq!(set, OrdinalSet::new());
    }
}
