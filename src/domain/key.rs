//! A key as delivered: the canonical encodings of its fields, one after the other.

use std::fmt;
use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_128;

use super::hexadecimal;
use super::value::Value;

/// The hash under which segments are ordered and buckets are formed; the high bits name the bucket.
pub type KeyHash = u128;

/// The hash of a key's canonical bytes. Frozen, as segments are ordered by it.
#[inline]
pub fn hash(key: &[u8]) -> KeyHash {
    xxh3_128(key)
}

/// The bytes of a key, for showing to people: `42`, `AA/N14228`, `2013-01-01`. Whatever is text in JSON stands without quotes.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    /// Fields in order, separated by `/`; a key that cannot be decoded is shown in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut is_first = true;
        while !rest.is_empty() {
            let Some(value) = Value::decode(&mut rest) else {
                return f.write_str(&hexadecimal::of(self.0));
            };
            if !is_first {
                f.write_char('/')?;
            }
            is_first = false;
            show(value, f)?;
        }
        Ok(())
    }
}

/// The values of a key, in the order of its fields.
pub fn values(key: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut rest = key;
    let mut values = Vec::new();
    while !rest.is_empty() {
        values.push(Value::decode(&mut rest)?);
    }
    Some(values)
}

fn show(value: Value<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Text(text) => {
            text.chars().try_for_each(|character| match is_unshowable(character) {
                true => write!(f, "{}", character.escape_unicode()),
                false => f.write_char(character),
            })
        }
        other => {
            let mut json = Vec::new();
            match super::render::render(other, &mut json) {
                Ok(()) => f.write_str(String::from_utf8_lossy(&json).trim_matches('"')),
                Err(_) => f.write_str("?"),
            }
        }
    }
}

/// Whether a terminal would obey the character rather than show it, or show others in another order.
pub fn is_unshowable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_command_a_terminal() {
        let mut key = Vec::new();
        Value::Text("\u{1b}[31mred\nx\u{202e}é").encode(&mut key);
        Value::Text("plain").encode(&mut key);
        assert_eq!(Shown(&key).to_string(), "\\u{1b}[31mred\\u{a}x\\u{202e}é/plain");
    }
}
