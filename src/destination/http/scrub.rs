//! Makes a destination's message fit to be kept and shown: free of the sent records' values and of our secrets, on one
//! line, and short (I12).
//!
//! Values are found whatever their ASCII case, and by a long beginning where the destination cut them. Not found: values
//! that the destination reformatted. Nothing is prepared until the first message is cleaned.

use std::cell::OnceCell;
use std::collections::HashMap;

/// Characters of the longest message that is kept.
const LONGEST_MESSAGE: usize = 200;
/// Characters of the longest code that is kept.
const LONGEST_CODE: usize = 64;
/// Bytes of a message that are looked at.
const LONGEST_LOOK: usize = 4096;
/// Shorter values say nothing and would blank out every message.
const SHORTEST_VALUE: usize = 4;
/// So much of a value's beginning is as good as the value.
const TELLING_BEGINNING: usize = 12;
const MARK: &str = "***";

/// What one request must not see again in a message.
pub(super) struct Scrub<'a> {
    body: &'a [u8],
    path: Option<&'a str>,
    /// Scalars of the templates: they may be named.
    constants: &'a [String],
    secrets: &'a [&'a str],
    index: OnceCell<Index>,
}

/// Values by their first bytes, in lower case.
type Index = HashMap<[u8; SHORTEST_VALUE], Vec<String>>;

impl<'a> Scrub<'a> {
    pub fn new(
        body: &'a [u8],
        path: Option<&'a str>,
        constants: &'a [String],
        secrets: &'a [&'a str],
    ) -> Scrub<'a> {
        Scrub { body, path, constants, secrets, index: OnceCell::new() }
    }

    pub fn message(&self, text: &str) -> String {
        self.clean(text, LONGEST_MESSAGE)
    }

    pub fn code(&self, text: &str) -> String {
        self.clean(text, LONGEST_CODE)
    }

    fn clean(&self, text: &str, longest: usize) -> String {
        let text = &text[..text.floor_char_boundary(LONGEST_LOOK)];
        let index = self.index.get_or_init(|| self.indexed());
        one_line(&without(text, index), longest)
    }

    fn indexed(&self) -> Index {
        let mut index = Index::new();
        let mut add = |value: &str| {
            if let Some(beginning) = beginning(value.as_bytes()) {
                index.entry(beginning).or_default().push(value.to_owned());
            }
        };
        let mut add_value = |value: &str| {
            if !self.constants.iter().any(|constant| constant == value) {
                add(value);
            }
        };
        scalars(self.body, &mut add_value);
        for step in self.path.unwrap_or("").split(['/', '?', '&', '=', ',']) {
            add_value(step);
            add_value(&percent_encoding::percent_decode_str(step).decode_utf8_lossy());
        }
        self.secrets.iter().for_each(|secret| add(secret));
        for values in index.values_mut() {
            values.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            values.dedup();
        }
        index
    }
}

fn beginning(bytes: &[u8]) -> Option<[u8; SHORTEST_VALUE]> {
    let mut beginning: [u8; SHORTEST_VALUE] = *bytes.first_chunk()?;
    beginning.make_ascii_lowercase();
    Some(beginning)
}

fn without(text: &str, index: &Index) -> String {
    let mut out = String::with_capacity(text.len());
    let mut place = 0;
    while let Some(character) = text[place..].chars().next() {
        let rest = &text[place..];
        let found = beginning(rest.as_bytes())
            .and_then(|beginning| index.get(&beginning))
            .and_then(|values| values.iter().map(|value| shared(rest, value)).max())
            .unwrap_or(0);
        if found > 0 {
            out.push_str(MARK);
            place += found;
        } else {
            out.push(character);
            place += character.len_utf8();
        }
    }
    out
}

/// Bytes at the front of `text` that tell of `value`; zero if they do not.
fn shared(text: &str, value: &str) -> usize {
    let pairs = text.bytes().zip(value.bytes());
    let length = pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    if length == value.len() || length >= TELLING_BEGINNING {
        text.floor_char_boundary(length)
    } else {
        0
    }
}

/// One line without control and direction characters, of at most `longest` characters.
fn one_line(text: &str, longest: usize) -> String {
    let is_invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out = String::new();
    let words = text.split(|c: char| c.is_whitespace() || is_invisible(c));
    for word in words.filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    match out.char_indices().nth(longest) {
        Some((end, _)) => out[..end].to_owned(),
        None => out,
    }
}

/// Calls `found` with every string and number of JSON that we made ourselves, names left out.
fn scalars(json: &[u8], found: &mut impl FnMut(&str)) {
    let mut place = 0;
    while let Some(&byte) = json.get(place) {
        let start = place;
        if byte == b'"' {
            place = end_of_string(json, start);
            if json.get(place) != Some(&b':') {
                let raw = &json[start..place];
                match serde_json::from_slice::<String>(raw) {
                    Ok(text) => found(&text),
                    Err(_) => found(&String::from_utf8_lossy(raw)),
                }
            }
        } else if byte == b'-' || byte.is_ascii_digit() {
            while json.get(place).is_some_and(|byte| b"+-.eE0123456789".contains(byte)) {
                place += 1;
            }
            found(&String::from_utf8_lossy(&json[start..place]));
        } else {
            place += 1;
        }
    }
}

/// The place after the string that begins at `start`.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while let Some(byte) = json.get(place) {
        match byte {
            b'"' => return place + 1,
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"type":"contact","rows":[{"email":"ann@example.com","note":"line\n\"two\" of a long story","mrr":1234.50,"age":42}]}"#;

    fn cleaned(text: &str) -> String {
        let constants = ["contact".to_owned()];
        Scrub::new(BODY, Some("/c/k%20ey9"), &constants, &["s3cr3t-token"]).message(text)
    }

    #[test]
    fn values_of_the_record_and_secrets_are_taken_out_and_names_stay() {
        assert_eq!(
            cleaned("email ANN@example.com of contact is taken"),
            "email *** of contact is taken"
        );
        assert_eq!(cleaned("mrr 1234.50 at age 42"), "mrr *** at age 42");
        assert_eq!(
            cleaned("note line\n\"two\" of a long st... is too long"),
            "note ***... is too long"
        );
        assert_eq!(cleaned("no such key: k ey9"), "no such key: ***");
        assert_eq!(cleaned("bad token s3cr3t-token."), "bad token ***.");
    }

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(cleaned("a\r\n\u{1b}[31mb\u{202e}c\0"), "a [31mb c");
        assert_eq!(cleaned(&"é".repeat(10_000)).chars().count(), LONGEST_MESSAGE);
        assert_eq!(cleaned(""), "");
    }

    #[test]
    fn damaged_input_ends() {
        scalars(b"\"abc\\", &mut |_| ());
        scalars(b"[-", &mut |_| ());
    }
}
