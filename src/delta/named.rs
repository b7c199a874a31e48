//! Delivered keys as people are shown them, to be found among the keys of rows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::delta::key_map::KeyMap;
use crate::domain::key::{self, KeyHash, Shown};
use crate::domain::value::Value;

/// Keys by how they are shown. Several may be shown alike, and then all of them are meant.
#[derive(Debug)]
pub struct Named {
    shown: BTreeSet<String>,
    /// The integers and the text among them, as keys of one field: most keys are such, and need not be shown to be found.
    plain: KeyMap<()>,
    /// Text may be meant that is not shown as it is.
    has_escapes: bool,
}

impl FromIterator<String> for Named {
    fn from_iter<T: IntoIterator<Item = String>>(names: T) -> Named {
        let shown: BTreeSet<String> = names.into_iter().collect();
        let (mut plain, mut key) = (KeyMap::default(), Vec::new());
        for name in &shown {
            let integer = name.parse().ok().map(Value::Integer);
            for value in [Value::Text(name)].into_iter().chain(integer) {
                key.clear();
                value.encode(&mut key);
                if Shown(&key).to_string() == *name {
                    plain.insert(key::hash(&key), &key, ());
                }
            }
        }
        let has_escapes = shown.iter().any(|name| name.contains("\\u{"));
        Named { shown, plain, has_escapes }
    }
}

impl Named {
    /// Whether the key is one of them; `shown` is room for showing it.
    pub fn has(&self, hash: KeyHash, key: &[u8], shown: &mut String) -> bool {
        let mut rest = key;
        let is_plain = match Value::decode(&mut rest) {
            Some(Value::Integer(_)) => true,
            Some(Value::Text(_)) => !self.has_escapes,
            _ => false,
        };
        if is_plain && rest.is_empty() {
            return self.plain.get(hash, key).is_some();
        }
        shown.clear();
        write!(shown, "{}", Shown(key)).expect("a String takes every write");
        self.shown.contains(shown.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_if_and_only_if_it_is_shown_like_one_of_the_names() {
        let names =
            ["42", "007", "-1", "true", "a/b", "x", "", "9223372036854775808", "0.1", "2013-01-01"];
        let escaped = ["\\u{1b}x", "\u{1b}y", "x"];
        let values: [&[Value<'_>]; 20] = [
            &[Value::Integer(42)],
            &[Value::Integer(7)],
            &[Value::Integer(-1)],
            &[Value::Unsigned(u64::MAX / 2 + 1)],
            &[Value::Text("42")],
            &[Value::Text("007")],
            &[Value::Text("x")],
            &[Value::Text("")],
            &[Value::Text("y")],
            &[Value::Text("a/b")],
            &[Value::Text("a"), Value::Text("b")],
            &[Value::Text("a"), Value::Text("c")],
            &[Value::Text("\u{1b}x")],
            &[Value::Text("\\u{1b}x")],
            &[Value::Text("\u{1b}y")],
            &[Value::Boolean(true)],
            &[Value::Float64(0.1)],
            &[Value::Date(15706)],
            &[Value::Null],
            &[],
        ];
        for names in [&names[..], &escaped] {
            let named: Named = names.iter().map(|name| (*name).to_owned()).collect();
            for values in values {
                let mut key = Vec::new();
                values.iter().for_each(|value| value.encode(&mut key));
                let shown = Shown(&key).to_string();
                let has = named.has(key::hash(&key), &key, &mut String::new());
                assert_eq!(has, names.contains(&shown.as_str()), "{shown} {values:?}");
            }
        }
    }
}
