//! A trie of token sequences in a few bits a node.
//!
//! Nodes are numbered by levels, from left to right; the root is 0. So the children of a node are
//! neighbours, and their tokens a slice of the array of all tokens, ascending: what a decoder may
//! write next is read where it lies. Three bits a node say the rest: whether a sequence ends here
//! (`ends`), whether there are children (`inner`), whether it is its parent's first child
//! (`firsts`). The `n`-th inner node's children begin at the `n`-th first child: one rank and one
//! select. (A variant of LOUDS, Jacobson 1989, whose unary degrees are split into two vectors so
//! that leaves, half of all nodes, are told by one bit.)
//!
//! Sequences are numbered in the order of the nodes that they end at.

mod bits;

use super::column::Column;
pub(super) use bits::{BitBuilder, Bits};

/// Tokens of all nodes, as narrow as the vocabulary allows.
#[derive(Debug)]
pub(crate) enum Tokens {
    /// A vocabulary of at most 65,536.
    Narrow(Column<u16>),
    Wide(Column<u32>),
}

impl Tokens {
    fn len(&self) -> usize {
        match self {
            Tokens::Narrow(tokens) => tokens.len(),
            Tokens::Wide(tokens) => tokens.len(),
        }
    }

    #[inline]
    fn get(&self, at: usize) -> Option<u32> {
        match self {
            Tokens::Narrow(tokens) => tokens.get(at).map(|&token| u32::from(token)),
            Tokens::Wide(tokens) => tokens.get(at).copied(),
        }
    }
}

/// Token sequences under construction: added in ascending order, none of them twice.
#[derive(Debug, Default)]
pub(crate) struct TrieBuilder {
    /// By depth, the children of the root first.
    levels: Vec<Level>,
    last: Vec<u32>,
    root_ends: bool,
}

#[derive(Debug, Default)]
struct Level {
    tokens: Vec<u32>,
    ends: BitBuilder,
    inner: BitBuilder,
    firsts: BitBuilder,
}

impl TrieBuilder {
    /// Adds a sequence, which comes after all that were added before. Returns its length, which
    /// is the level that it ends on.
    pub(crate) fn push(&mut self, sequence: &[u32]) -> usize {
        debug_assert!(self.levels.is_empty() || self.last.as_slice() < sequence);
        let shared = self.last.iter().zip(sequence);
        let shared = shared.take_while(|(a, b)| a == b).count();
        for depth in shared..sequence.len() {
            // The first child of a node that was a leaf so far; a node past the shared part is new.
            let first = match depth {
                0 => self.levels.is_empty(),
                _ => depth > shared || depth == self.last.len(),
            };
            if let Some(parent) = depth.checked_sub(1).filter(|_| first) {
                self.levels[parent].inner.set_last();
            }
            if self.levels.len() == depth {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[depth];
            level.tokens.push(sequence[depth]);
            level.ends.push(depth + 1 == sequence.len());
            level.inner.push(false);
            level.firsts.push(first);
        }
        self.root_ends |= sequence.is_empty();
        self.last.clear();
        self.last.extend_from_slice(sequence);
        sequence.len()
    }

    /// The trie; `narrow` where every token is below 65,536.
    pub(crate) fn finish(self, narrow: bool) -> Trie {
        let (mut ends, mut inner, mut firsts) = (
            BitBuilder::default(),
            BitBuilder::default(),
            BitBuilder::default(),
        );
        ends.push(self.root_ends);
        inner.push(!self.levels.is_empty());
        firsts.push(false);
        let nodes = 1 + self
            .levels
            .iter()
            .map(|level| level.tokens.len())
            .sum::<usize>();
        let (mut short, mut wide) = (Vec::new(), Vec::new());
        match narrow {
            true => short.reserve_exact(nodes),
            false => wide.reserve_exact(nodes),
        }
        let root = Level {
            tokens: vec![0],
            ..Level::default()
        };
        for level in std::iter::once(root).chain(self.levels) {
            match narrow {
                true => short.extend(level.tokens.iter().map(|&token| token as u16)),
                false => wide.extend_from_slice(&level.tokens),
            }
            ends.append(&level.ends);
            inner.append(&level.inner);
            firsts.append(&level.firsts);
        }
        Trie {
            tokens: match narrow {
                true => Tokens::Narrow(short.into()),
                false => Tokens::Wide(wide.into()),
            },
            ends: ends.finish(),
            inner: inner.finish(),
            firsts: firsts.finish(),
        }
    }
}

/// What has to be known of a trie to read its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Shape {
    nodes: usize,
    sequences: usize,
    inner: usize,
    firsts: usize,
    narrow: bool,
}

/// Token sequences that do not change any more.
#[derive(Debug)]
pub(crate) struct Trie {
    tokens: Tokens,
    ends: Bits,
    inner: Bits,
    firsts: Bits,
}

/// The children of a node: neighbours, by ascending tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Children {
    /// First of them.
    pub start: u32,
    /// The node after the last.
    pub end: u32,
}

impl Trie {
    /// The root.
    pub(crate) const ROOT: u32 = 0;

    /// Nodes, the root included.
    pub(crate) fn nodes(&self) -> usize {
        self.ends.len()
    }

    /// Sequences.
    pub(crate) fn len(&self) -> usize {
        self.ends.ones()
    }

    /// Tokens of the longest sequence.
    pub(crate) fn depth(&self) -> usize {
        // Where a level ends, the next one begins; it ends before the first child of the first
        // inner node of its own.
        let (mut depth, mut end) = (0, 1);
        while end < self.nodes() {
            let inner = self.inner.rank(end);
            let next = match inner < self.firsts.ones() {
                true => self.firsts.select(inner),
                false => self.nodes(),
            };
            if next <= end {
                // Not of a file that is whole.
                return usize::MAX;
            }
            (depth, end) = (depth + 1, next);
        }
        depth
    }

    /// The children of a node.
    #[inline]
    pub(crate) fn children(&self, node: u32) -> Children {
        let node = node as usize;
        if !self.inner.get(node) {
            return Children { start: 0, end: 0 };
        }
        let start = self.firsts.select(self.inner.rank(node));
        let end = self.firsts.next_one(start + 1);
        Children {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The token that leads to a node.
    #[inline]
    pub(crate) fn token(&self, node: u32) -> u32 {
        self.tokens.get(node as usize).unwrap_or_default()
    }

    /// The child of a node that a token leads to.
    pub(crate) fn child(&self, node: u32, token: u32) -> Option<u32> {
        let Children { start, end } = self.children(node);
        let range = start as usize..end as usize;
        let at = match &self.tokens {
            Tokens::Narrow(tokens) => {
                let token = u16::try_from(token).ok()?;
                tokens.get(range)?.binary_search(&token).ok()?
            }
            Tokens::Wide(tokens) => tokens.get(range)?.binary_search(&token).ok()?,
        };
        Some(start + at as u32)
    }

    /// The node that a sequence leads to.
    pub(crate) fn walk(&self, sequence: &[u32]) -> Option<u32> {
        let mut tokens = sequence.iter();
        tokens.try_fold(Trie::ROOT, |node, &token| self.child(node, token))
    }

    /// The number of the sequence that ends at a node.
    #[inline]
    pub(crate) fn sequence(&self, node: u32) -> Option<u32> {
        let node = node as usize;
        self.ends.get(node).then(|| self.ends.rank(node) as u32)
    }

    /// All sequences in ascending order, with their numbers. Meant for going through a trie once.
    pub(crate) fn sequences(&self) -> Sequences<'_> {
        Sequences {
            trie: self,
            path: Vec::new(),
            // Nodes still to be visited, with their depths.
            stack: vec![(Trie::ROOT, 0)],
        }
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            nodes: self.nodes(),
            sequences: self.len(),
            inner: self.inner.ones(),
            firsts: self.firsts.ones(),
            narrow: matches!(self.tokens, Tokens::Narrow(_)),
        }
    }

    /// Its columns as they lie in a file, by name.
    pub(super) fn columns(&self) -> Vec<(String, &[u8])> {
        let tokens = match &self.tokens {
            Tokens::Narrow(tokens) => tokens.bytes(),
            Tokens::Wide(tokens) => tokens.bytes(),
        };
        let mut columns = vec![("tokens".to_owned(), tokens)];
        for (name, bits) in [
            ("ends", &self.ends),
            ("inner", &self.inner),
            ("firsts", &self.firsts),
        ] {
            let of = bits.columns().into_iter();
            columns.extend(of.map(|(column, bytes)| (format!("{name}.{column}"), bytes)));
        }
        columns
    }

    /// A trie of columns in a file; None where they do not fit the shape or each other.
    pub(super) fn open(shape: Shape, columns: &impl Columns) -> Option<Trie> {
        let tokens = match shape.narrow {
            true => Tokens::Narrow(columns.narrow("tokens")?),
            false => Tokens::Wide(columns.wide("tokens")?),
        };
        let bits = |name: &str, ones: usize| {
            Bits::new(
                columns.words(&format!("{name}.words"))?,
                columns.wide(&format!("{name}.counts"))?,
                columns.wide(&format!("{name}.samples"))?,
                shape.nodes,
                ones,
            )
        };
        let trie = Trie {
            tokens,
            ends: bits("ends", shape.sequences)?,
            inner: bits("inner", shape.inner)?,
            firsts: bits("firsts", shape.firsts)?,
        };
        // Every inner node has a first child.
        let fits = trie.tokens.len() == shape.nodes && shape.inner == shape.firsts;
        fits.then_some(trie)
    }
}

/// Columns of a file, by name.
pub(super) trait Columns {
    fn narrow(&self, name: &str) -> Option<Column<u16>>;
    fn wide(&self, name: &str) -> Option<Column<u32>>;
    fn words(&self, name: &str) -> Option<Column<u64>>;
}

/// Goes through the sequences of a trie.
pub(crate) struct Sequences<'a> {
    trie: &'a Trie,
    path: Vec<u32>,
    stack: Vec<(u32, usize)>,
}

impl Sequences<'_> {
    /// The next sequence and its number.
    pub(crate) fn next(&mut self) -> Option<(&[u32], u32)> {
        while let Some((node, depth)) = self.stack.pop() {
            self.path.truncate(depth.saturating_sub(1));
            if depth > 0 {
                self.path.push(self.trie.token(node));
            }
            let Children { start, end } = self.trie.children(node);
            // A child comes after its parent, also in a damaged file: this ends.
            let children = (start..end).rev().filter(|&child| child > node);
            self.stack.extend(children.map(|child| (child, depth + 1)));
            if let Some(number) = self.trie.sequence(node) {
                return Some((&self.path, number));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn built(sequences: &BTreeSet<Vec<u32>>, narrow: bool) -> Trie {
        let mut builder = TrieBuilder::default();
        for sequence in sequences {
            assert_eq!(builder.push(sequence), sequence.len());
        }
        builder.finish(narrow)
    }

    proptest! {
        #[test]
        fn a_trie_holds_its_sequences_and_no_other(
            sequences in prop::collection::btree_set(prop::collection::vec(0_u32..5, 0..6), 0..120),
            others in prop::collection::vec(prop::collection::vec(0_u32..6, 0..7), 0..50),
            narrow in any::<bool>(),
        ) {
            let trie = built(&sequences, narrow);
            prop_assert_eq!(trie.len(), sequences.len());
            for sequence in sequences.iter().chain(&others) {
                let node = trie.walk(sequence);
                let there = node.and_then(|node| trie.sequence(node)).is_some();
                prop_assert_eq!(there, sequences.contains(sequence));
                // What may follow is what follows in a sequence that begins so.
                let follow: BTreeSet<u32> = sequences
                    .iter()
                    .filter_map(|other| other.strip_prefix(sequence.as_slice())?.first().copied())
                    .collect();
                let children = node.map(|node| trie.children(node));
                let found: Vec<u32> = children
                    .map(|c| (c.start..c.end).map(|child| trie.token(child)).collect())
                    .unwrap_or_default();
                prop_assert_eq!(found, follow.into_iter().collect::<Vec<_>>());
            }
            let mut all = trie.sequences();
            let mut numbers = BTreeSet::new();
            let mut listed = Vec::new();
            while let Some((sequence, number)) = all.next() {
                listed.push(sequence.to_vec());
                numbers.insert(number);
            }
            prop_assert_eq!(&listed, &sequences.iter().cloned().collect::<Vec<_>>());
            prop_assert_eq!(numbers, (0..sequences.len() as u32).collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn wide_tokens_are_kept() {
        let trie = built(&BTreeSet::from([vec![250_000, 3], vec![7]]), false);
        assert!(trie.walk(&[250_000, 3]).is_some());
        assert!(trie.walk(&[250_000 % 65_536, 3]).is_none());
    }
}
