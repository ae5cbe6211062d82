//! Identifiers in words, as people read them.

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
