//! Abbreviations written out: `custAcctNo` is a customer's account number.
//!
//! The words of the same schema come first (`acct` where `account` occurs), then a short list of
//! what is abbreviated everywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::Database;
use super::names::split_words;

/// Abbreviations that mean the same in most schemas.
const COMMON: &[(&str, &str)] = &[
    ("acct", "account"),
    ("addr", "address"),
    ("amt", "amount"),
    ("avg", "average"),
    ("bal", "balance"),
    ("bldg", "building"),
    ("cnt", "count"),
    ("ctry", "country"),
    ("cust", "customer"),
    ("dept", "department"),
    ("desc", "description"),
    ("descr", "description"),
    ("dest", "destination"),
    ("dob", "date of birth"),
    ("doc", "document"),
    ("dt", "date"),
    ("emp", "employee"),
    ("flg", "flag"),
    ("fname", "first name"),
    ("fk", "foreign key"),
    ("freq", "frequency"),
    ("gov", "government"),
    ("grp", "group"),
    ("img", "image"),
    ("lang", "language"),
    ("lat", "latitude"),
    ("lname", "last name"),
    ("lng", "longitude"),
    ("loc", "location"),
    ("lon", "longitude"),
    ("max", "maximum"),
    ("mfr", "manufacturer"),
    ("mgr", "manager"),
    ("min", "minimum"),
    ("msg", "message"),
    ("mth", "month"),
    ("nbr", "number"),
    ("no", "number"),
    ("num", "number"),
    ("nr", "number"),
    ("ord", "order"),
    ("org", "organization"),
    ("orig", "original"),
    ("pct", "percent"),
    ("perc", "percent"),
    ("pk", "primary key"),
    ("pmt", "payment"),
    ("pop", "population"),
    ("pos", "position"),
    ("prev", "previous"),
    ("prod", "product"),
    ("pts", "points"),
    ("qty", "quantity"),
    ("ref", "reference"),
    ("seq", "sequence"),
    ("src", "source"),
    ("stat", "status"),
    ("std", "standard"),
    ("tel", "telephone"),
    ("tot", "total"),
    ("trans", "transaction"),
    ("txn", "transaction"),
    ("univ", "university"),
    ("usr", "user"),
    ("val", "value"),
    ("veh", "vehicle"),
    ("vol", "volume"),
    ("wt", "weight"),
    ("yr", "year"),
];

/// Shortest abbreviation that the words of a schema explain: of two letters too many words
/// would be one.
const SHORTEST: usize = 3;

/// What abbreviations stand for in one schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abbreviations {
    known: BTreeMap<String, String>,
    words: BTreeSet<String>,
}

impl Abbreviations {
    /// Those of a schema: its own words explain what is short for one of them, where it is for
    /// one only.
    pub fn of(database: &Database) -> Abbreviations {
        let mut words = BTreeSet::new();
        let mut add = |text: &str| words.extend(split_words(text));
        for table in &database.tables {
            add(&table.name);
            table.readable.as_deref().into_iter().for_each(&mut add);
            for column in &table.columns {
                add(&column.name);
                column.readable.as_deref().into_iter().for_each(&mut add);
            }
        }
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for (short, long) in COMMON {
            known.insert((*short).into(), (*long).into());
        }
        for short in &words {
            if short.chars().count() < SHORTEST || COMMON.iter().any(|(_, long)| long == short) {
                continue;
            }
            let mut longer = words.iter().filter(|word| abbreviates(short, word));
            if let (Some(long), None) = (longer.next(), longer.next()) {
                known.insert(short.clone(), long.clone());
            }
        }
        Abbreviations { known, words }
    }

    /// An identifier as words, abbreviations written out.
    pub fn expand(&self, identifier: &str) -> String {
        let words = split_words(identifier);
        let written: Vec<&str> = words
            .iter()
            .map(|word| self.known.get(word).unwrap_or(word).as_str())
            .collect();
        written.join(" ")
    }

    /// Whether a word occurs in the schema's names.
    pub fn knows(&self, word: &str) -> bool {
        self.words.contains(word)
    }
}

/// Whether `short` is short for `long`: begins alike, is made of its letters in order without
/// the vowels, and has lost at least a third of it.
fn abbreviates(short: &str, long: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (short.chars().collect(), long.chars().collect());
    if !a.iter().chain(&b).all(|c| c.is_alphabetic()) || a.len() * 3 > b.len() * 2 || a[0] != b[0] {
        return false;
    }
    // A beginning is a word of its own more often than not (`part`, `partner`).
    if long.starts_with(short) {
        return false;
    }
    let mut rest = b.iter();
    let in_order = a.iter().all(|c| rest.any(|other| other == c));
    in_order && a.iter().skip(1).all(|c| !"aeiou".contains(*c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Column, Table};

    #[test]
    fn abbreviations_are_written_out() {
        let column = |name: &str| Column {
            name: name.into(),
            ..Column::default()
        };
        let database = Database {
            tables: vec![Table {
                name: "shipment".into(),
                columns: [
                    "cust_acct_no",
                    "shpmt_dt",
                    "carrier",
                    "ware_house",
                    "wareh_x",
                    "stat",
                ]
                .map(column)
                .into(),
                ..Table::default()
            }],
            ..Database::default()
        };
        let words = Abbreviations::of(&database);
        assert_eq!(words.expand("cust_acct_no"), "customer account number");
        assert_eq!(words.expand("ShpmtDt"), "shipment date");
        assert_eq!(words.expand("carrier"), "carrier");
    }

    #[test]
    fn only_words_without_their_vowels_are_short_for_others() {
        assert!(abbreviates("shpmt", "shipment"));
        assert!(!abbreviates("part", "partner"));
        assert!(!abbreviates("name", "names"));
        assert!(!abbreviates("date", "database"));
        assert!(!abbreviates("id", "2"));
    }
}
