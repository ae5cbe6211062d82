//! Identifiers in words: for people and rules ([`split_words`]), and for models, which read them as
//! they were trained to ([`words()`]).

/// The words of an identifier, in lower case: told apart by what is neither letter nor digit,
/// by case, and between letters and digits, of every script.
pub fn split_words(identifier: &str) -> Vec<String> {
    let mut words = Vec::new();
    let chars: Vec<char> = identifier.chars().collect();
    let mut word = String::new();
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1);
        let begins = before.is_some_and(|before| {
            let camel = before.is_lowercase() && c.is_uppercase();
            // The last capital of several begins a word: HTTPServer.
            let acronym = before.is_uppercase()
                && c.is_uppercase()
                && after.is_some_and(|after| after.is_lowercase());
            let digits = before.is_alphanumeric() && before.is_numeric() != c.is_numeric();
            camel || acronym || digits
        });
        if begins && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        word.extend(c.to_lowercase());
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// An identifier in words as models read it, in lower case: `custAcct_no2` is `cust acct no 2`.
pub fn words(identifier: &str) -> String {
    let letters: Vec<char> = identifier.chars().collect();
    let mut split = String::with_capacity(identifier.len() + 8);
    let mut n = 0;
    // Pairs that were split are passed over whole, so that `aB1` is `a B1`: as in
    // training/linkers/schema.py, whose models read what this writes.
    while n < letters.len() {
        let here = letters[n];
        let next = letters.get(n + 1).copied();
        let after = letters.get(n + 2).copied();
        let (lower, upper) = (
            |c: char| c.is_ascii_lowercase(),
            |c: char| c.is_ascii_uppercase(),
        );
        let (letter, digit) = (
            |c: char| c.is_ascii_alphabetic(),
            |c: char| c.is_ascii_digit(),
        );
        match (next, after) {
            (Some(next), _)
                if (lower(here) && upper(next))
                    || (letter(here) && digit(next))
                    || (digit(here) && letter(next)) =>
            {
                split.extend([here, ' ', next]);
                n += 2;
            }
            (Some(next), Some(after)) if upper(here) && upper(next) && lower(after) => {
                split.extend([here, ' ', next, after]);
                n += 3;
            }
            _ => {
                split.push(if here.is_alphanumeric() { here } else { ' ' });
                n += 1;
            }
        }
    }
    let lower = split.to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A table's or a column's name in words, and its readable one where that says more.
pub fn written(name: &str, readable: Option<&str>) -> String {
    let own = words(name);
    let other = words(readable.unwrap_or_default());
    let within = |a: &str, b: &str| {
        let b: Vec<&str> = b.split(' ').collect();
        a.split(' ').all(|word| b.contains(&word))
    };
    if other.is_empty() || other == own || within(&other, &own) {
        return if own.is_empty() {
            name.to_lowercase()
        } else {
            own
        };
    }
    if own.is_empty() || within(&own, &other) {
        return other;
    }
    format!("{own} ({other})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_cut_into_words() {
        for (identifier, words) in [
            ("cust_acct_no", "cust acct no"),
            ("customerAccountID", "customer account id"),
            ("HTTPServer2Name", "http server 2 name"),
            ("Größe (cm)", "größe cm"),
            ("__x--y  z", "x y z"),
            ("2ndCode", "2 nd code"),
            ("日付", "日付"),
            ("", ""),
        ] {
            assert_eq!(split_words(identifier).join(" "), words, "{identifier}");
        }
    }

    #[test]
    fn identifiers_are_split_where_their_writer_would() {
        for (identifier, expected) in [
            ("custAcct_no2", "cust acct no 2"),
            ("HTTPServer", "http server"),
            ("CDSCode", "cds code"),
            ("Free Meal Count (K-12)", "free meal count k 12"),
            ("A11", "a 11"),
            ("aB1", "a b1"),
            ("Größe_cm", "größe cm"),
            ("__", ""),
            ("", ""),
        ] {
            assert_eq!(words(identifier), expected, "{identifier}");
        }
    }

    #[test]
    fn the_readable_name_is_added_where_it_says_more() {
        assert_eq!(written("cust_no", None), "cust no");
        assert_eq!(written("cust_no", Some("cust no")), "cust no");
        assert_eq!(
            written("A11", Some("average salary")),
            "a 11 (average salary)"
        );
        assert_eq!(written("name", Some("singer name")), "singer name");
        assert_eq!(written("__", None), "__");
    }
}
