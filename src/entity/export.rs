//! Names and aliases as a build takes them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::compact::as_new;
use super::view::View;
use super::{NewAlias, NewName};
use crate::error::Result;

/// Gives every name of a view, and then every alias of one with how often it means it.
///
/// A catalog keeps the tokens of its aliases alone: they come as the tokenizer reads them, in small
/// letters where it makes no difference. What a tokenizer cannot read back is left out; returns how
/// many these are.
pub(super) fn export(
    view: &View,
    names: &mut dyn FnMut(NewName) -> Result<()>,
    aliases: &mut dyn FnMut(NewAlias) -> Result<()>,
) -> Result<u64> {
    let View {
        sealed,
        overlay,
        tokenizer,
    } = view;
    let mut records = sealed.reader();
    let mut sequences = sealed.trie.sequences();
    while let Some((_, sequence)) = sequences.next() {
        for number in sealed.names_of(sequence) {
            if !overlay.is_removed(number)
                && let Some(record) = records.get(number)?
            {
                names(as_new(record))?;
            }
        }
    }
    let live = || overlay.added.iter().filter(|added| !added.removed);
    for added in live() {
        names(as_new(added.record.clone()))?;
    }
    let mut left_out = 0;
    let mut give = |tokens: &[u32], name: &str, count: u32| -> Result<()> {
        let alias = tokenizer.text_of(tokens)?;
        if tokenizer.tokens(&alias)?.as_deref() != Some(tokens) {
            left_out += 1;
            return Ok(());
        }
        let name = name.to_owned();
        aliases(NewAlias { alias, name, count })
    };
    if let Some(sealed) = sealed.aliases() {
        // Names of many aliases are read once.
        let mut known: HashMap<u32, Option<String>> = HashMap::new();
        let mut sequences = sealed.trie.sequences();
        while let Some((tokens, sequence)) = sequences.next() {
            for alias in sealed.of(sequence).filter_map(|alias| view.live(alias)) {
                let name = match known.entry(alias.name) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let record = view.record(alias.name)?;
                        new.insert(record.map(|record| record.name))
                    }
                };
                if let Some(name) = name {
                    give(tokens, name, alias.count)?;
                }
            }
        }
    }
    for added in live() {
        for alias in &added.aliases {
            give(alias, &added.record.name, 1)?;
        }
    }
    Ok(left_out)
}
