//! Foreign keys that nobody declared, from names, types and values.
//!
//! A key is inferred where a column's name says whose key it holds: that of another table's
//! primary key (`customer_id`), or of the other table with or without a word for a key behind it
//! (`customer`, `customer_code`). Types have to agree, values where they are known have to be
//! among the other's, and where two tables come into question equally, neither is taken: a wrong
//! join is worse than a missing one. `docs/schemas.md` says what this finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names::split_words;
use super::{Column, Database, ForeignKey, Origin, Table};

/// Words behind a name that say that it is a key.
const KEY_WORDS: &[&str] = &[
    "id", "ids", "code", "key", "no", "number", "nr", "num", "fk", "ref",
];
/// What tables of many things have: no name of a key where it stands alone.
const PLAIN: &[&str] = &[
    "name",
    "title",
    "description",
    "type",
    "status",
    "date",
    "time",
    "year",
    "month",
    "day",
    "value",
    "text",
    "comment",
    "note",
    "position",
    "rank",
    "order",
    "index",
    "level",
    "age",
];
/// Share of known values that have to be among those of the other column.
const SHARE: f64 = 0.9;

/// A name as it is compared: words without their plural, a word for a key apart.
struct Name {
    stem: Vec<String>,
    key: bool,
}

impl Name {
    fn new(identifier: &str) -> Name {
        let mut stem: Vec<String> = split_words(identifier);
        let mut key = false;
        if stem.len() == 1
            && let Some(rest) = stem[0].strip_suffix("id").filter(|rest| rest.len() >= 3)
        {
            // `stuid`: written together, as older schemas do.
            stem = vec![rest.to_string()];
            key = true;
        }
        while stem.len() > 1 && stem.last().is_some_and(|w| KEY_WORDS.contains(&w.as_str())) {
            stem.pop();
            key = true;
        }
        if stem.len() == 1 && KEY_WORDS.contains(&stem[0].as_str()) {
            stem.clear();
            key = true;
        }
        let stem = stem.iter().map(|word| singular(word)).collect();
        Name { stem, key }
    }
}

/// A table whose key others may hold.
struct Target<'a> {
    table: &'a Table,
    /// The words of its name, in the singular.
    words: Vec<String>,
    key: &'a Column,
    key_name: Name,
}

/// Targets by what a column has to be called after, so that no column is compared with all.
struct Targets<'a> {
    all: Vec<Target<'a>>,
    by_words: HashMap<Vec<String>, Vec<usize>>,
    by_key: HashMap<Vec<String>, Vec<usize>>,
}

impl<'a> Targets<'a> {
    fn of(database: &'a Database) -> Targets<'a> {
        let all: Vec<Target> = database.tables.iter().filter_map(target).collect();
        let mut by_words: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        let mut by_key: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        for (n, target) in all.iter().enumerate() {
            by_words.entry(target.words.clone()).or_default().push(n);
            let stem = target.key_name.stem.clone();
            by_key.entry(stem).or_default().push(n);
        }
        Targets {
            all,
            by_words,
            by_key,
        }
    }

    /// Those that [`score`] may like: a name ends with the table's, or is the key's.
    fn named(&self, name: &Name) -> impl Iterator<Item = &Target<'a>> {
        let ends = (0..=name.stem.len()).filter_map(|n| self.by_words.get(&name.stem[n..]));
        let mut places: Vec<usize> = ends.flatten().copied().collect();
        places.extend(self.by_key.get(&name.stem).into_iter().flatten());
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|n| &self.all[n])
    }
}

/// Adds what can be inferred to a database's foreign keys. Columns that have one already, and
/// those of views, get none.
pub fn infer_keys(database: &mut Database) {
    let targets = Targets::of(database);
    let mut taken: BTreeSet<(&str, &str)> = BTreeSet::new();
    for key in &database.foreign_keys {
        taken.extend(key.columns.iter().map(|c| (key.table.as_str(), c.as_str())));
    }
    let mut found = Vec::new();
    for table in database.tables.iter().filter(|table| !table.view) {
        for column in &table.columns {
            if taken.contains(&(table.name.as_str(), column.name.as_str())) {
                continue;
            }
            if let Some(target) = choose(table, column, &targets) {
                found.push(ForeignKey {
                    table: table.name.clone(),
                    columns: vec![column.name.clone()],
                    to_table: target.table.name.clone(),
                    to_columns: vec![target.key.name.clone()],
                    origin: Origin::Inferred,
                });
            }
        }
    }
    let mut known: BTreeMap<(String, String), BTreeSet<(String, String)>> = BTreeMap::new();
    for key in &database.foreign_keys {
        let pair = (key.table.clone(), key.to_table.clone());
        let columns = key
            .columns
            .iter()
            .cloned()
            .zip(key.to_columns.iter().cloned());
        known.entry(pair).or_default().extend(columns);
    }
    // Two tables with the same key (of one thing) would point at each other.
    for key in found {
        let back = known.get(&(key.to_table.clone(), key.table.clone()));
        let mutual = back.is_some_and(|columns| {
            columns.contains(&(key.to_columns[0].clone(), key.columns[0].clone()))
        });
        if !mutual {
            let pair = (key.table.clone(), key.to_table.clone());
            let columns = (key.columns[0].clone(), key.to_columns[0].clone());
            known.entry(pair).or_default().insert(columns);
            database.foreign_keys.push(key);
        }
    }
}

fn target(table: &Table) -> Option<Target<'_>> {
    if table.view {
        return None;
    }
    let [key] = table.primary_key.as_slice() else {
        return None;
    };
    let key = table.column(key)?;
    let own = table.name.rsplit('.').next().unwrap_or_default();
    Some(Target {
        table,
        words: split_words(own).iter().map(|word| singular(word)).collect(),
        key,
        key_name: Name::new(&key.name),
    })
}

fn choose<'a>(table: &Table, column: &Column, targets: &'a Targets<'_>) -> Option<&'a Target<'a>> {
    let name = Name::new(&column.name);
    let own_key = table.primary_key.as_slice() == [column.name.clone()];
    let mut best: Option<(u32, &Target)> = None;
    let mut tied = false;
    for target in targets.named(&name) {
        let itself = target.table.name == table.name;
        if itself && target.key.name == column.name {
            continue;
        }
        let Some(score) = score(&name, column, target, itself) else {
            continue;
        };
        // A key of its own refers to another table only where that is named after it.
        if own_key && score < NAMED {
            continue;
        }
        match best {
            Some((other, _)) if other > score => {}
            Some((other, _)) if other == score => tied = true,
            _ => {
                best = Some((score, target));
                tied = false;
            }
        }
    }
    best.filter(|_| !tied).map(|(_, target)| target)
}

/// Score of a target that the column is named after.
const NAMED: u32 = 3;

/// How well a column's name fits a target; None where it does not, or types or values differ.
fn score(name: &Name, column: &Column, target: &Target, itself: bool) -> Option<u32> {
    let plain = matches!(name.stem.as_slice(), [word] if PLAIN.contains(&word.as_str()));
    if name.stem.is_empty()
        || plain && !name.key
        || !same_family(&column.data_type, &target.key.data_type)
    {
        return None;
    }
    let after_table = name.stem == target.words;
    let same_key = name.stem == target.key_name.stem;
    let key_of_table = target.key_name.stem.is_empty() || target.key_name.stem == target.words;
    let score = if itself {
        // Only a role tells a column from the key of its own table.
        return None;
    } else if after_table && (name.key || same_key) {
        NAMED + u32::from(same_key)
    } else if same_key {
        2
    } else if after_table && key_of_table && is_integer(&column.data_type) {
        1
    } else if name.key && key_of_table && name.stem.ends_with(&target.words) {
        // A role before the table's name: `shipping_address_id`.
        1
    } else {
        return None;
    };
    values_fit(column, target.key).then_some(score)
}

fn values_fit(column: &Column, key: &Column) -> bool {
    if column.values.is_empty() || key.values.is_empty() {
        return true;
    }
    let all: BTreeSet<&String> = key.values.iter().collect();
    let known = column
        .values
        .iter()
        .filter(|value| all.contains(value))
        .count();
    // Both are the most frequent ones: of a long list others are as likely.
    known as f64 >= SHARE * column.values.len() as f64 || key.values.len() >= 100
}

fn is_integer(data_type: &str) -> bool {
    family(data_type) == Some('i')
}

/// Integers, texts, other numbers, dates, or nothing that is known.
fn family(data_type: &str) -> Option<char> {
    let name = data_type.to_lowercase();
    let has = |kinds: &[&str]| kinds.iter().any(|kind| name.contains(kind));
    if has(&["date", "time", "interval"]) {
        Some('d')
    } else if has(&["char", "text", "uuid", "clob", "string"]) {
        Some('t')
    } else if has(&["int", "serial", "number", "numeric", "decimal"]) {
        Some('i')
    } else if has(&["real", "float", "double"]) {
        Some('f')
    } else if has(&["bool"]) {
        Some('b')
    } else {
        None
    }
}

fn same_family(a: &str, b: &str) -> bool {
    match (family(a), family(b)) {
        (Some(a), Some(b)) => a == b && !matches!(a, 'd' | 'b'),
        _ => true,
    }
}

/// A word without its plural, as far as endings tell.
fn singular(word: &str) -> String {
    let cut = |ending: &str, instead: &str| {
        let stem = word.strip_suffix(ending)?;
        (stem.len() >= 2).then(|| format!("{stem}{instead}"))
    };
    let kept = ["ss", "us", "is"]
        .iter()
        .any(|ending| word.ends_with(ending));
    if kept {
        return word.to_string();
    }
    cut("ies", "y")
        .or_else(|| cut("sses", "ss"))
        .or_else(|| cut("ches", "ch"))
        .or_else(|| cut("shes", "sh"))
        .or_else(|| cut("xes", "x"))
        .or_else(|| cut("s", ""))
        .unwrap_or_else(|| word.to_string())
}

#[cfg(test)]
mod tests;
