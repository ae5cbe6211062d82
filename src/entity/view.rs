//! A catalog at one instant: sealed names, what was added, without what was removed.

use std::collections::HashSet;
use std::sync::Arc;

use super::overlay::Overlay;
use super::sealed::Sealed;
use super::trie::{Children, Trie};
use super::{Alias, NameRecord};
use crate::error::Result;
use crate::model::NameTokenizer;

/// A place in the names of a catalog: a prefix that some name begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// In the sealed trie; [`NOWHERE`] where none of its names begins so.
    sealed: u32,
    /// Among what was added.
    added: u32,
}

const NOWHERE: u32 = u32::MAX;
/// Names that are looked at one by one.
const FEW: usize = 8;

/// A catalog at one instant. Cheap to clone.
#[derive(Clone)]
pub struct View {
    pub(super) sealed: Arc<Sealed>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) tokenizer: Arc<NameTokenizer>,
}

impl View {
    /// Spells names and texts in the generator's tokens.
    pub fn tokenizer(&self) -> &NameTokenizer {
        &self.tokenizer
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.sealed.len() - self.overlay.removals() + self.overlay.additions()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of the longest name, or more where it was removed.
    pub fn longest(&self) -> usize {
        self.sealed.trie.depth().max(self.overlay.longest())
    }

    /// The empty prefix.
    pub fn root(&self) -> Node {
        Node {
            sealed: Trie::ROOT,
            added: self.overlay.root().unwrap_or(NOWHERE),
        }
    }

    /// The tokens by which names go on from a prefix, ascending, with where they lead. What was in
    /// `into` is replaced.
    #[inline]
    pub fn children(&self, node: Node, into: &mut Vec<(u32, Node)>) {
        into.clear();
        if node.sealed != NOWHERE {
            let Children { start, end } = self.sealed.trie.children(node.sealed);
            let children = (start..end).map(|child| {
                let place = Node {
                    sealed: child,
                    added: NOWHERE,
                };
                (self.sealed.trie.token(child), place)
            });
            match self.overlay.removes_nothing() {
                true => into.extend(children),
                false => into.extend(children.filter(|(_, at)| !self.overlay.is_dead(at.sealed))),
            }
        }
        if node.added == NOWHERE {
            return;
        }
        for (token, added) in self.overlay.children(node.added) {
            match into.binary_search_by_key(&token, |&(token, _)| token) {
                Ok(at) => into[at].1.added = added,
                Err(at) => {
                    let sealed = NOWHERE;
                    into.insert(at, (token, Node { sealed, added }));
                }
            }
        }
    }

    /// Where a token leads from a prefix; None where no name goes on so.
    pub fn child(&self, node: Node, token: u32) -> Option<Node> {
        let sealed = (node.sealed != NOWHERE)
            .then(|| self.sealed.trie.child(node.sealed, token))
            .flatten()
            .filter(|&child| !self.overlay.is_dead(child));
        let added = (node.added != NOWHERE)
            .then(|| self.overlay.child(node.added, token))
            .flatten();
        joined(sealed, added)
    }

    /// Where a sequence of tokens leads; None where no name begins so.
    pub fn walk(&self, tokens: &[u32]) -> Option<Node> {
        let mut tokens = tokens.iter();
        tokens.try_fold(self.root(), |node, &token| self.child(node, token))
    }

    /// Whether a name ends at a place.
    pub fn ends(&self, node: Node) -> bool {
        self.sealed_at(node).next().is_some() || self.added_at(node).next().is_some()
    }

    fn sealed_at(&self, node: Node) -> impl Iterator<Item = u32> + '_ {
        let sequence = (node.sealed != NOWHERE)
            .then(|| self.sealed.trie.sequence(node.sealed))
            .flatten();
        let names = sequence.map_or(0..0, |sequence| self.sealed.names_of(sequence));
        names.filter(|&name| !self.overlay.is_removed(name))
    }

    fn added_at(&self, node: Node) -> impl Iterator<Item = u32> + '_ {
        let added = (node.added != NOWHERE).then_some(node.added);
        added.into_iter().flat_map(|added| self.overlay.ends(added))
    }

    /// Numbers of the names that end at a place: several where the tokenizer sees no difference.
    pub fn names_at(&self, node: Node) -> Vec<u32> {
        let sealed = self.sealed.len() as u32;
        let added = self.added_at(node).map(|what| sealed + what);
        self.sealed_at(node).chain(added).collect()
    }

    /// Numbers of the names that are spelled so.
    pub fn names_spelled(&self, tokens: &[u32]) -> Vec<u32> {
        self.walk(tokens)
            .map_or_else(Vec::new, |node| self.names_at(node))
    }

    /// What is known of a name; None where there is none of this number any more.
    ///
    /// # Errors
    /// An operator's error where the catalog's file cannot be read.
    pub fn record(&self, number: u32) -> Result<Option<NameRecord>> {
        match number.checked_sub(self.sealed.len() as u32) {
            None if self.overlay.is_removed(number) => Ok(None),
            None => self.sealed.record(number),
            Some(what) => {
                let added = self.overlay.added.get(what as usize);
                Ok(added
                    .filter(|added| !added.removed)
                    .map(|added| added.record.clone()))
            }
        }
    }

    /// How popular a name is, where that is known.
    pub fn popularity(&self, number: u32) -> Option<f32> {
        match number.checked_sub(self.sealed.len() as u32) {
            None => self.sealed.popularity(number),
            Some(what) => self.overlay.added.get(what as usize)?.record.popularity,
        }
    }

    /// Numbers of the names of an id.
    ///
    /// # Errors
    /// As [`View::record`].
    pub fn names_of_id(&self, id: &str) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut check = |number: u32| -> Result<()> {
            if self.record(number)?.is_some_and(|record| record.id == id) {
                found.push(number);
            }
            Ok(())
        };
        if self.sealed.has_ids() {
            for &number in self.sealed.maybe_of_id(id) {
                check(number)?;
            }
        } else if let Some(tokens) = self.tokenizer.tokens(id)? {
            for number in self.names_spelled(&tokens) {
                if (number as usize) < self.sealed.len() {
                    check(number)?;
                }
            }
        }
        let sealed = self.sealed.len() as u32;
        found.extend(self.overlay.of_id(id).map(|what| sealed + what));
        Ok(found)
    }

    /// Numbers of the names that are called so: all of an id, or those of that name itself.
    ///
    /// # Errors
    /// As [`View::record`].
    pub fn names_called(&self, id_or_name: &str) -> Result<Vec<u32>> {
        let mut numbers = self.names_of_id(id_or_name)?;
        if let Some(tokens) = self.tokenizer.tokens(id_or_name)? {
            for number in self.names_spelled(&tokens) {
                let record = self.record(number)?;
                if record.is_some_and(|record| record.name == id_or_name) {
                    numbers.push(number);
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Number of the name of an id, where the tokens of the name are known. Takes no longer where
    /// the id has many names, or many ids this one.
    ///
    /// # Errors
    /// As [`View::record`].
    pub(super) fn name_of_id(&self, id: &str, name: &str, tokens: &[u32]) -> Result<Option<u32>> {
        if let Some(what) = self.overlay.name_of_id(id, name) {
            return Ok(Some(self.sealed.len() as u32 + what));
        }
        let trie = &self.sealed.trie;
        let sequence = trie.walk(tokens).and_then(|node| trie.sequence(node));
        let Some(sequence) = sequence else {
            return Ok(None);
        };
        let spelled = self.sealed.names_of(sequence);
        // Few are spelled alike, but for different entities of one name.
        let numbers: Vec<u32> = match self.sealed.has_ids() && spelled.len() > FEW {
            true => {
                let of_id = self.sealed.maybe_of_id(id).iter().copied();
                of_id.filter(|number| spelled.contains(number)).collect()
            }
            false => spelled.collect(),
        };
        for number in numbers {
            let record = self.record(number)?;
            if record.is_some_and(|record| record.id == id && record.name == name) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Where aliases begin, to follow them a token at a time.
    pub(super) fn alias_root(&self) -> Option<Node> {
        let sealed = self.sealed.aliases().map(|_| Trie::ROOT);
        joined(sealed, self.overlay.alias_root())
    }

    /// Where a token leads in the aliases.
    pub(super) fn alias_child(&self, node: Node, token: u32) -> Option<Node> {
        let aliases = self.sealed.aliases().filter(|_| node.sealed != NOWHERE);
        let sealed = aliases.and_then(|aliases| aliases.trie.child(node.sealed, token));
        let added = (node.added != NOWHERE)
            .then(|| self.overlay.alias_child(node.added, token))
            .flatten();
        joined(sealed, added)
    }

    /// Whether an alias ends here that stands for a name which is still there.
    pub(super) fn alias_ends(&self, node: Node) -> bool {
        let sealed = || {
            let aliases = self.sealed.aliases()?;
            let sequence = aliases.trie.sequence(node.sealed)?;
            aliases.of(sequence).find_map(|alias| self.live(alias))
        };
        (node.sealed != NOWHERE && sealed().is_some())
            || (node.added != NOWHERE && self.overlay.alias_ends(node.added))
    }

    /// An alias of a sealed name, or of what was added in its place.
    pub(super) fn live(&self, alias: Alias) -> Option<Alias> {
        if !self.overlay.is_removed(alias.name) {
            return Some(alias);
        }
        let what = self.overlay.moved(alias.name)?;
        Some(Alias {
            name: self.sealed.len() as u32 + what,
            ..alias
        })
    }

    /// The names that an alias stands for, the one that is meant most often first.
    pub fn aliased(&self, tokens: &[u32]) -> Vec<Alias> {
        let mut found: Vec<Alias> = Vec::new();
        if let Some(aliases) = self.sealed.aliases()
            && let Some(node) = aliases.trie.walk(tokens)
            && let Some(sequence) = aliases.trie.sequence(node)
        {
            found.extend(aliases.of(sequence).filter_map(|alias| self.live(alias)));
        }
        let sealed = self.sealed.len();
        let known: HashSet<u32> = found.iter().map(|alias| alias.name).collect();
        let added = self.overlay.aliased(tokens);
        let added = added.map(|what| Overlay::alias(what, sealed));
        found.extend(added.filter(|alias| !known.contains(&alias.name)));
        found
    }
}

fn joined(sealed: Option<u32>, added: Option<u32>) -> Option<Node> {
    (sealed.is_some() || added.is_some()).then(|| Node {
        sealed: sealed.unwrap_or(NOWHERE),
        added: added.unwrap_or(NOWHERE),
    })
}
