//! What was added to a catalog and removed from it since its names were sealed.
//!
//! Additions have a trie of their own, beside the sealed one, and are seen through it at once.
//! Removals of sealed names are noted, and with them the nodes of the sealed trie below which no
//! name is left, so that a decoder is never led to where nothing is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::sealed::Sealed;
use super::trie::Trie;
use super::{Alias, NameRecord};

/// A name that was added.
#[derive(Debug, Clone)]
pub(super) struct Added {
    pub record: NameRecord,
    pub tokens: Vec<u32>,
    /// Tokens of its aliases.
    pub aliases: Vec<Vec<u32>>,
    pub removed: bool,
}

/// Additions and removals.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    pub added: Vec<Added>,
    by_id: HashMap<String, BTreeSet<u32>>,
    /// By a hash of id and name.
    by_name: HashMap<u64, BTreeSet<u32>>,
    names: Paths,
    aliases: Paths,
    /// Numbers of sealed names that are removed.
    removed: HashSet<u32>,
    /// Nodes of the sealed trie with no name left at them or below.
    dead: HashSet<u32>,
    /// Sealed names that were added anew: the aliases of the one mean the other.
    moved: HashMap<u32, u32>,
    /// The same the other way round.
    came_from: HashMap<u32, u32>,
    /// Tokens of the longest name that was ever added.
    longest: usize,
    /// How many were added and are still there.
    live: usize,
}

/// What names of ids are found by.
fn key(id: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, name).hash(&mut hasher);
    hasher.finish()
}

/// A trie that grows.
#[derive(Debug, Clone, Default)]
struct Paths(Vec<Path>);

#[derive(Debug, Clone, Default)]
struct Path {
    children: BTreeMap<u32, u32>,
    /// What ends here, as numbers of what was added.
    ends: BTreeSet<u32>,
    /// How many names end here or below.
    live: u32,
}

impl Paths {
    fn walk(&self, tokens: &[u32]) -> Option<u32> {
        let mut tokens = tokens.iter();
        tokens.try_fold(0, |node, token| self.child(node, *token))
    }

    fn child(&self, node: u32, token: u32) -> Option<u32> {
        let &child = self.0.get(node as usize)?.children.get(&token)?;
        (self.0.get(child as usize)?.live > 0).then_some(child)
    }

    fn insert(&mut self, tokens: &[u32], what: u32) {
        if self.0.is_empty() {
            self.0.push(Path::default());
        }
        let mut node = 0;
        self.0[0].live += 1;
        for &token in tokens {
            let next = self.0.len() as u32;
            let child = *self.0[node].children.entry(token).or_insert(next);
            if child == next {
                self.0.push(Path::default());
            }
            node = child as usize;
            self.0[node].live += 1;
        }
        self.0[node].ends.insert(what);
    }

    fn remove(&mut self, tokens: &[u32], what: u32) {
        let Some(end) = self.walk(tokens) else { return };
        if !self.0[end as usize].ends.remove(&what) {
            return;
        }
        let mut node = 0;
        self.0[0].live -= 1;
        for token in tokens {
            let Some(&child) = self.0[node].children.get(token) else {
                return;
            };
            node = child as usize;
            self.0[node].live -= 1;
        }
    }

    fn ends(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let path = self.0.get(node as usize);
        path.into_iter().flat_map(|path| &path.ends).copied()
    }
}

impl Overlay {
    /// The root of what was added, where anything is there.
    pub(super) fn root(&self) -> Option<u32> {
        self.names
            .0
            .first()
            .is_some_and(|root| root.live > 0)
            .then_some(0)
    }

    /// The child of a node that a token leads to.
    pub(super) fn child(&self, node: u32, token: u32) -> Option<u32> {
        self.names.child(node, token)
    }

    /// Tokens and nodes of the children, by ascending tokens.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let path = self.names.0.get(node as usize);
        let children = path.into_iter().flat_map(|path| &path.children);
        children
            .map(|(&token, &child)| (token, child))
            .filter(|&(_, child)| self.names.0.get(child as usize).is_some_and(|p| p.live > 0))
    }

    /// What was added and is spelled so.
    pub(super) fn ends(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        self.names.ends(node)
    }

    /// What was added under this alias.
    pub(super) fn aliased(&self, tokens: &[u32]) -> impl Iterator<Item = u32> + '_ {
        let node = self.aliases.walk(tokens);
        node.into_iter().flat_map(|node| self.aliases.ends(node))
    }

    /// Whether an alias goes on from here; for walking the aliases a token at a time.
    pub(super) fn alias_child(&self, node: u32, token: u32) -> Option<u32> {
        self.aliases.child(node, token)
    }

    pub(super) fn alias_root(&self) -> Option<u32> {
        self.aliases
            .0
            .first()
            .is_some_and(|root| root.live > 0)
            .then_some(0)
    }

    /// Whether an alias ends here.
    pub(super) fn alias_ends(&self, node: u32) -> bool {
        self.aliases.ends(node).next().is_some()
    }

    /// Tokens of the longest name that was added.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether no sealed name is removed.
    #[inline]
    pub(super) fn removes_nothing(&self) -> bool {
        self.removed.is_empty()
    }

    pub(super) fn is_removed(&self, number: u32) -> bool {
        self.removed.contains(&number)
    }

    pub(super) fn is_dead(&self, node: u32) -> bool {
        self.dead.contains(&node)
    }

    /// How many sealed names are removed.
    pub(super) fn removals(&self) -> usize {
        self.removed.len()
    }

    /// How many changes there were, in names.
    pub(super) fn changes(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    /// How many names were added and are still there.
    pub(super) fn additions(&self) -> usize {
        self.live
    }

    /// How many aliases what was added has, of what is still there.
    pub(super) fn aliases(&self) -> usize {
        self.added.iter().map(|added| added.aliases.len()).sum()
    }

    /// Numbers of what was added with this id.
    pub(super) fn of_id(&self, id: &str) -> impl Iterator<Item = u32> + '_ {
        self.by_id.get(id).into_iter().flatten().copied()
    }

    /// The name of an id among what was added.
    pub(super) fn name_of_id(&self, id: &str, name: &str) -> Option<u32> {
        let alike = self.by_name.get(&key(id, name))?;
        let is = |&&what: &&u32| {
            let added = self.added.get(what as usize);
            added.is_some_and(|added| added.record.id == id && added.record.name == name)
        };
        alike.iter().find(is).copied()
    }

    /// Adds a name.
    pub(super) fn add(&mut self, added: Added) {
        let what = self.added.len() as u32;
        self.names.insert(&added.tokens, what);
        for alias in &added.aliases {
            self.aliases.insert(alias, what);
        }
        self.by_id
            .entry(added.record.id.clone())
            .or_default()
            .insert(what);
        let key = key(&added.record.id, &added.record.name);
        self.by_name.entry(key).or_default().insert(what);
        self.longest = self.longest.max(added.tokens.len());
        self.live += 1;
        self.added.push(added);
    }

    /// Removes a name that was added.
    pub(super) fn remove_added(&mut self, what: u32) {
        let Some(added) = self.added.get_mut(what as usize) else {
            return;
        };
        if std::mem::replace(&mut added.removed, true) {
            return;
        }
        self.live -= 1;
        let tokens = std::mem::take(&mut added.tokens);
        let aliases = std::mem::take(&mut added.aliases);
        if let Some(ids) = self.by_id.get_mut(&added.record.id) {
            ids.remove(&what);
        }
        let key = key(&added.record.id, &added.record.name);
        if let Some(alike) = self.by_name.get_mut(&key) {
            alike.remove(&what);
        }
        self.names.remove(&tokens, what);
        for alias in &aliases {
            self.aliases.remove(alias, what);
        }
    }

    /// Removes a sealed name, which is spelled so.
    pub(super) fn remove_sealed(&mut self, sealed: &Sealed, number: u32, tokens: &[u32]) {
        self.removed.insert(number);
        let trie = &sealed.trie;
        let mut path = vec![Trie::ROOT];
        for &token in tokens {
            match path.last().and_then(|&node| trie.child(node, token)) {
                Some(child) => path.push(child),
                None => return,
            }
        }
        while let Some(node) = path.pop() {
            let named = trie.sequence(node).is_some_and(|sequence| {
                sealed
                    .names_of(sequence)
                    .any(|n| !self.removed.contains(&n))
            });
            let children = trie.children(node);
            if named || (children.start..children.end).any(|child| !self.dead.contains(&child)) {
                return;
            }
            self.dead.insert(node);
        }
    }

    /// Notes that a sealed name was added anew, as the next name that is added.
    pub(super) fn moves_to_next(&mut self, number: u32) {
        let next = self.added.len() as u32;
        self.moved.insert(number, next);
        self.came_from.insert(next, number);
    }

    /// Notes that what was added is added anew, as the next name that is added.
    pub(super) fn replaced_by_next(&mut self, what: u32) {
        let next = self.added.len() as u32;
        if let Some(number) = self.came_from.remove(&what) {
            self.moved.insert(number, next);
            self.came_from.insert(next, number);
        }
    }

    /// What was added in the place of a sealed name and is still there.
    pub(super) fn moved(&self, number: u32) -> Option<u32> {
        let &what = self.moved.get(&number)?;
        (!self.added.get(what as usize)?.removed).then_some(what)
    }

    /// What an alias stands for among what was added, in the numbers of a catalog with `sealed`
    /// sealed names.
    pub(super) fn alias(what: u32, sealed: usize) -> Alias {
        Alias {
            name: sealed as u32 + what,
            count: 1,
        }
    }
}
