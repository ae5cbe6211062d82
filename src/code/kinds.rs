//! The vocabulary of node types: one number for a name, whichever grammar it is of, so that a
//! network learns what a `binary_expression` is once. The list is generated from the grammars
//! and committed; a test tells when it is no longer theirs. Names are only ever added at its end,
//! so that the numbers of a trained model go on meaning the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use super::Language;

/// Names of node types, one a line; the number of the first is 1.
const KINDS: &str = include_str!("kinds.txt");

static NUMBERS: LazyLock<HashMap<&'static str, u16>> = LazyLock::new(|| {
    let names = KINDS.lines().zip(1..=u16::MAX);
    names.collect()
});

/// For each language, and PHP without its tag, the number of each of its grammar's types.
static TABLES: LazyLock<HashMap<(Language, bool), Vec<u16>>> = LazyLock::new(|| {
    let mut tables = HashMap::new();
    for (language, tag) in grammars() {
        let grammar = language.grammar(if tag { "<?php" } else { "" });
        let table = (0..grammar.node_kind_count() as u16)
            .map(|id| {
                let name = grammar.node_kind_for_id(id);
                name.and_then(|name| NUMBERS.get(name))
                    .copied()
                    .unwrap_or(0)
            })
            .collect();
        tables.insert((language, tag), table);
    }
    tables
});

fn grammars() -> impl Iterator<Item = (Language, bool)> {
    let all = Language::ALL.into_iter().map(|language| (language, false));
    all.chain([(Language::Php, true)])
}

/// How many numbers there are, 0 included, which stands for types that are not in the list.
pub fn vocabulary_size() -> usize {
    NUMBERS.len() + 1
}

/// The number of places that do not follow the grammar.
pub(super) fn error() -> u16 {
    NUMBERS.get("ERROR").copied().unwrap_or(0)
}

/// The numbers of a grammar's types, by the grammar's own.
pub(super) fn table(language: Language, text: &str) -> &'static [u16] {
    let tag = language == Language::Php && text.contains("<?");
    TABLES.get(&(language, tag)).map_or(&[], Vec::as_slice)
}

/// The list as it has to be: the one there is, and what the grammars have besides.
pub fn all_kinds() -> String {
    let grammars: Vec<tree_sitter::Language> = grammars()
        .map(|(language, tag)| language.grammar(if tag { "<?php" } else { "" }))
        .collect();
    let mut names = BTreeSet::from(["ERROR"]);
    for grammar in &grammars {
        for id in 0..grammar.node_kind_count() as u16 {
            if grammar.node_kind_is_named(id) && grammar.node_kind_is_visible(id) {
                names.extend(grammar.node_kind_for_id(id));
            }
        }
    }
    let mut list: Vec<&str> = KINDS.lines().collect();
    list.extend(names.into_iter().filter(|name| !NUMBERS.contains_key(name)));
    list.iter().map(|name| format!("{name}\n")).collect()
}
