//! Columns whose values are kept nowhere: secrets and personal data, told by their names and by
//! the shape of what they hold.
//!
//! Names are compared word by word (`userPassword`, `E_MAIL`); of columns with such a name no
//! value is even read. What the values look like is asked of all others, before anything is
//! stored. Both err on the side of masking; a column's name, type and description stay.

use super::names::split_words;
use super::{Column, Database};

/// Words that make a column one of secrets or personal data: one word, or some in a row.
pub const SENSITIVE: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "api key",
    "apikey",
    "private key",
    "credential",
    "credentials",
    "salt",
    "otp",
    "pin code",
    "pincode",
    "cvv",
    "cvc",
    "ssn",
    "social security",
    "national id",
    "tax id",
    "passport",
    "driver license",
    "drivers license",
    "driving licence",
    "iban",
    "bic",
    "swift",
    "account number",
    "routing number",
    "card number",
    "credit card",
    "creditcard",
    "debit card",
    "cc number",
    "email",
    "e mail",
    "mail address",
    "phone",
    "telephone",
    "mobile",
    "cell",
    "fax",
    "birth date",
    "birthdate",
    "date of birth",
    "dob",
    "birthday",
    "born",
    "ip address",
    "ipaddress",
    "mac address",
    "biometric",
    "fingerprint",
    "session id",
    "cookie",
    "hash",
    "pin",
    "tel",
    // The commonest of other languages.
    "passwort",
    "kennwort",
    "geburtsdatum",
    "geburtstag",
    "geboren",
    "steuer id",
    "steuernummer",
    "telefon",
    "handy",
    "ausweis",
    "kontonummer",
    "mot de passe",
    "naissance",
    "contrasena",
    "contraseña",
    "nacimiento",
    "telefono",
    "teléfono",
    "senha",
];

/// Values that have to look alike before a column is masked for them.
const SHARE: f64 = 0.5;

/// Which columns are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masking {
    /// Words as in [`SENSITIVE`]; empty masks nothing by name.
    words: Vec<Vec<String>>,
    by_values: bool,
}

impl Default for Masking {
    fn default() -> Self {
        Masking::new(SENSITIVE.iter().copied(), true)
    }
}

impl Masking {
    /// Masks columns by these words, and by their values where `by_values`.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>, by_values: bool) -> Masking {
        let words = words.into_iter().map(split_words);
        Masking {
            words: words.filter(|words| !words.is_empty()).collect(),
            by_values,
        }
    }

    /// As a configuration has it.
    pub fn configured(config: &crate::config::Schemas) -> Masking {
        let common = SENSITIVE.iter().copied().filter(|_| config.mask_common);
        let further = config.mask.iter().map(String::as_str);
        Masking::new(common.chain(further), config.mask_common)
    }

    /// Masks nothing.
    pub fn off() -> Masking {
        Masking::new([], false)
    }

    /// Whether a column is masked for its name.
    pub fn names(&self, column: &Column) -> bool {
        let names = [Some(column.name.as_str()), column.readable.as_deref()];
        names.into_iter().flatten().any(|name| self.name(name))
    }

    fn name(&self, name: &str) -> bool {
        let words = split_words(name);
        self.words.iter().any(|sensitive| {
            let same = |window: &[String]| {
                window.iter().zip(sensitive).all(|(word, other)| {
                    word == other || word.strip_suffix('s').is_some_and(|word| word == other)
                })
            };
            words.windows(sensitive.len()).any(same)
        })
    }

    /// Whether values look like secrets or personal data.
    pub fn tells(&self, values: &[String]) -> bool {
        self.values(values.iter().map(String::as_str))
    }

    fn values<'a>(&self, values: impl Iterator<Item = &'a str>) -> bool {
        if !self.by_values {
            return false;
        }
        let (mut all, mut telling) = (0usize, 0usize);
        for value in values {
            all += 1;
            telling += usize::from(is_telling(value));
        }
        all > 0 && telling as f64 >= SHARE * all as f64
    }

    /// Marks the columns that are masked and drops their values and samples. Columns that are
    /// marked already stay so.
    pub fn apply(&self, database: &mut Database) {
        for table in &mut database.tables {
            for i in 0..table.columns.len() {
                let column = &table.columns[i];
                let samples = table
                    .samples
                    .iter()
                    .filter_map(|row| row.get(i)?.as_deref());
                let values = column.values.iter().map(String::as_str);
                let masked =
                    column.masked || self.names(column) || self.values(values.chain(samples));
                if masked {
                    let column = &mut table.columns[i];
                    column.masked = true;
                    column.values.clear();
                    for row in &mut table.samples {
                        if let Some(value) = row.get_mut(i) {
                            *value = None;
                        }
                    }
                }
            }
        }
    }
}

/// Whether a value is of a shape that only personal data and secrets have.
fn is_telling(value: &str) -> bool {
    let value = value.trim();
    is_email(value)
        || is_card(value)
        || is_social_security(value)
        || is_phone(value)
        || is_secret(value)
}

fn is_email(value: &str) -> bool {
    value.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && !value.contains(char::is_whitespace)
            && host.split('.').count() > 1
            && host.split('.').all(|part| !part.is_empty())
            && !host.contains('@')
    })
}

/// A card's number: 13 to 19 digits whose check digit is right (Luhn's), in groups or not.
fn is_card(value: &str) -> bool {
    let digits: Vec<u32> = value.chars().filter_map(|c| c.to_digit(10)).collect();
    let grouped = value
        .chars()
        .all(|c| c.is_ascii_digit() || c == ' ' || c == '-');
    if !grouped || !(13..=19).contains(&digits.len()) || digits[0] == 0 {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match i % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `123-45-6789`.
fn is_social_security(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let lengths = parts.iter().map(|part| part.len());
    lengths.eq([3, 2, 4]) && value.chars().all(|c| c.is_ascii_digit() || c == '-')
}

/// Digits with a plus or an area code in parentheses, as only telephone numbers are written, or
/// three groups with dashes of 3, 3 and 4.
fn is_phone(value: &str) -> bool {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let shape = value
        .chars()
        .all(|c| c.is_ascii_digit() || " +-().x/".contains(c));
    let groups = value.split(['-', '.', ' ']).map(str::len);
    let marked = value.starts_with('+') || value.starts_with('(');
    shape && (8..=17).contains(&digits) && (marked && !value.contains("..") || groups.eq([3, 3, 4]))
}

/// Hashes and keys: long, without spaces, and of the alphabets that those are written in.
fn is_secret(value: &str) -> bool {
    let hashed = [
        "$2a$", "$2b$", "$2y$", "$argon2", "$6$", "$5$", "eyJ", "sk_", "ghp_", "AKIA",
    ];
    if value.len() >= 20 && hashed.iter().any(|prefix| value.starts_with(prefix)) {
        return true;
    }
    matches!(value.len(), 32 | 40 | 56 | 64 | 96 | 128)
        && value.chars().all(|c| c.is_ascii_hexdigit())
        && value.chars().any(|c| c.is_ascii_digit())
        && value.chars().any(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Table;

    fn column(name: &str, values: &[&str]) -> Column {
        Column {
            name: name.into(),
            values: values.iter().map(ToString::to_string).collect(),
            ..Column::default()
        }
    }

    fn masked(columns: Vec<Column>, masking: &Masking) -> Vec<bool> {
        let mut database = Database {
            tables: vec![Table {
                name: "t".into(),
                samples: vec![
                    columns
                        .iter()
                        .map(|_| Some("secret sample".into()))
                        .collect(),
                ],
                columns,
                ..Table::default()
            }],
            ..Database::default()
        };
        masking.apply(&mut database);
        let table = &database.tables[0];
        for (i, column) in table.columns.iter().enumerate() {
            assert_eq!(table.samples[0][i].is_none(), column.masked);
            assert!(!column.masked || column.values.is_empty());
        }
        table.columns.iter().map(|c| c.masked).collect()
    }

    #[test]
    fn names_of_secrets_and_persons_are_masked() {
        let masking = Masking::default();
        for name in [
            "password",
            "userPassword",
            "USER_PWD",
            "api_key",
            "ApiKey",
            "E-Mail",
            "email_address",
            "PhoneNumber",
            "phones",
            "date_of_birth",
            "DOB",
            "ssn",
            "credit_card_no",
            "tokens",
        ] {
            assert_eq!(
                masked(vec![column(name, &["x"])], &masking),
                [true],
                "{name}"
            );
        }
        for name in [
            "name",
            "city",
            "spin",
            "tokenizer",
            "pinned",
            "emailed_by_x_not",
            "keyword",
        ] {
            assert_eq!(
                masked(vec![column(name, &["x"])], &masking),
                [false],
                "{name}"
            );
        }
    }

    #[test]
    fn values_that_give_themselves_away_are_masked() {
        let masking = Masking::default();
        for values in [
            vec!["ann@example.org", "bob.b@mail.example.com", "unknown"],
            vec!["4111 1111 1111 1111", "5500000000000004"],
            vec!["+44 20 7946 0958", "(555) 010-9999"],
            vec!["555-010-9999"],
            vec!["123-45-6789"],
            vec!["5f4dcc3b5aa765d61d8327deb882cf99"],
            vec!["$2b$12$KIXQ0000000000000000000"],
        ] {
            assert_eq!(
                masked(vec![column("c", &values)], &masking),
                [true],
                "{values:?}"
            );
        }
        for values in [
            vec!["Fremont", "San Jose"],
            vec!["2008-01-02", "2008-01-03"],
            vec!["1234567890123", "1234567890124"],
            vec!["12.5", "-3", "+4"],
            vec!["AB-12-1234", "a@b"],
        ] {
            assert_eq!(
                masked(vec![column("c", &values)], &masking),
                [false],
                "{values:?}"
            );
        }
    }

    #[test]
    fn what_is_masked_can_be_chosen() {
        let own = Masking::new(["salary"], false);
        let columns = vec![column("base_salary", &["1"]), column("email", &["a@b.org"])];
        assert_eq!(masked(columns, &own), [true, false]);
        assert_eq!(
            masked(vec![column("password", &["x"])], &Masking::off()),
            [false]
        );
    }
}
