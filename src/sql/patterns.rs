//! Patterns of names: `*` stands for any characters, `?` for one, `[ab]` or `[a-c]` for one of
//! some and `[!ab]` for one of the others, `{a,b}` for one of several texts. Characters are those
//! of Unicode, and compared whatever their case: a pattern that is to hide a table has to hide it
//! in every alphabet. A backslash is a character of names here.

use regex::{RegexSet, RegexSetBuilder};

/// Some patterns; a name matches where it matches one of them as a whole.
#[derive(Debug, Clone)]
pub(super) struct Patterns(RegexSet);

impl Patterns {
    /// # Errors
    /// What is wrong with which pattern, for people.
    pub(super) fn new(patterns: &[String]) -> Result<Patterns, String> {
        let mut regexes = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let regex = regex(&pattern.to_lowercase());
            regexes.push(regex.map_err(|what| format!("{pattern}: {what}"))?);
        }
        let set = RegexSetBuilder::new(regexes).build();
        set.map(Patterns).map_err(|e| e.to_string())
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(&name.to_lowercase())
    }
}

fn regex(pattern: &str) -> Result<String, &'static str> {
    let mut regex = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut open = false;
    let mut literal = [0; 4];
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '{' if open => return Err("a { within another"),
            '{' => {
                open = true;
                regex.push_str("(?:");
            }
            ',' if open => regex.push('|'),
            '}' if open => {
                open = false;
                regex.push(')');
            }
            '}' => return Err("a } without its {"),
            '[' => {
                let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
                regex.push_str(if negated { "[^" } else { "[" });
                let mut within: Vec<char> = Vec::new();
                loop {
                    match chars.next() {
                        None => return Err("a [ without its ]"),
                        // The first may be one itself.
                        Some(']') if !within.is_empty() => break,
                        Some(c) => within.push(c),
                    }
                }
                let mut n = 0;
                while n < within.len() {
                    let (from, to) = match within[n..] {
                        [from, '-', to, ..] => (from, to),
                        [from, ..] => (from, from),
                        [] => break,
                    };
                    if from > to {
                        return Err("a range that ends before it begins");
                    }
                    regex.push_str(&format!(
                        "\\u{{{:x}}}-\\u{{{:x}}}",
                        u32::from(from),
                        u32::from(to)
                    ));
                    n += if within.get(n + 1) == Some(&'-') && n + 2 < within.len() {
                        3
                    } else {
                        1
                    };
                }
                regex.push(']');
            }
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut literal))),
        }
    }
    if open {
        return Err("a { without its }");
    }
    regex.push('$');
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Patterns::new(&[pattern.into()]).unwrap().matches(name)
    }

    #[test]
    fn characters_are_those_of_every_alphabet() {
        for (pattern, name) in [
            ("?", "ä"),
            ("[äb]", "ä"),
            ("[ä-ö]", "Ö"),
            ("[!ab]", "日"),
            ("gehalt_?", "GEHALT_Ü"),
            ("*", ""),
            ("*", "a/b\nc"),
            ("{löhne,gehälter}*", "Gehälter 2024"),
            ("a.b", "a.b"),
            (r"a\*", r"a\b"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("[*]", "*"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("?", "ab"),
            ("?", ""),
            ("a.b", "axb"),
            ("[a-c]", "-"),
            ("[!ä]", "Ä"),
            ("hr", "chr"),
            ("[*]", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for pattern in ["[a", "{a", "a}", "{a{b}}", "[b-a]", "[]"] {
            assert!(Patterns::new(&[pattern.into()]).is_err(), "{pattern}");
        }
        assert!(!Patterns::new(&[]).unwrap().matches("a"));
    }
}
