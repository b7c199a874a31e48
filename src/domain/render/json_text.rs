//! Text that is JSON, put into a request as what it says: white space goes, all else is copied, numbers digit by digit.
//!
//! Names in it are contents of the row, so each stands before `: `, as the key of a map does: by that blank it is taken for a
//! value where rows' values must not be shown (`destination::http::scrub`). Guards: what is appended is one JSON value;
//! what looks at it in depth ends before its stack does.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Unencodable;

/// Levels of lists and objects. Common readers take 127, of which the request itself has some.
const DEEPEST: usize = 100;

/// Appends the value; appends nothing if it fails.
#[inline(never)]
pub(super) fn append(text: &str, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    // Looked at in no depth, and no number is made of its digits.
    let _: IgnoredAny = serde_json::from_str(text).map_err(|_| Unencodable::NotJson)?;
    if has_half_a_character(text) {
        return Err(Unencodable::NotJson);
    }
    if has_huge_number(text) {
        return Err(Unencodable::HugeNumber);
    }
    let start = out.len();
    let (mut levels, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_string => {
                is_string = is_escaped || byte != b'"';
                is_escaped = byte == b'\\' && !is_escaped;
            }
            b'"' => is_string = true,
            b'{' | b'[' => levels += 1,
            b'}' | b']' => levels -= 1,
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            _ => {}
        }
        if levels > DEEPEST {
            out.truncate(start);
            return Err(Unencodable::DeepJson);
        }
        out.push(byte);
        if byte == b':' && !is_string {
            out.push(b' ');
        }
    }
    // It is not deep by now, and JSON, so that nothing else can be wrong with it.
    serde_json::from_str::<Distinct>(text).map(drop).map_err(|_| {
        out.truncate(start);
        Unencodable::RepeatedMember
    })
}

/// Whether a number is beyond the range of doubles, which many readers make of it.
fn has_huge_number(text: &str) -> bool {
    let is_of_number = |letter: char| letter.is_ascii_digit() || "+-.eE".contains(letter);
    // Every second part is a string, once escapes are stepped over.
    let (mut rest, mut is_string) = (text, false);
    while !rest.is_empty() {
        let end = match is_string {
            true => rest.find(['"', '\\']),
            false => rest.find('"'),
        };
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        let mut numbers = part.split(|letter| !is_of_number(letter));
        let is_huge = |number: &str| number.parse::<f64>().is_ok_and(|it| !it.is_finite());
        if !is_string && numbers.any(is_huge) {
            return true;
        }
        let is_escape = after.starts_with('\\');
        is_string ^= !is_escape;
        let mut letters = after.chars();
        letters.by_ref().take(if is_escape { 2 } else { 1 }).for_each(drop);
        rest = letters.as_str();
    }
    false
}

/// JSON whose objects have each member once.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Distinct, D::Error> {
        deserializer.deserialize_any(Distinct)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Distinct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Distinct, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Distinct, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Distinct, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Distinct, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Distinct, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Distinct, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Distinct, A::Error> {
        while items.next_element::<Distinct>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Distinct, A::Error> {
        let mut names = HashSet::<String>::new();
        while let Some((name, Distinct)) = members.next_entry()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a member comes twice"));
            }
        }
        Ok(self)
    }
}

/// Whether an escape in JSON names one half of a pair without the other, which strict readers refuse.
fn has_half_a_character(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        rest = &rest[at..];
        let (taken, is_half) = match (escaped(rest), escaped(rest.get(6..).unwrap_or_default())) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, false),
            (Some(0xD800..=0xDFFF), _) => (6, true),
            (Some(_), _) => (6, false),
            (None, _) => (2, false),
        };
        if is_half {
            return true;
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    false
}

/// The number of an escape of the form `\uXXXX` at the beginning.
fn escaped(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn appended(text: &str) -> Result<String, Unencodable> {
        let mut out = b"before".to_vec();
        let result = append(text, &mut out);
        let rest = String::from_utf8(out.split_off(6)).expect("it is UTF-8");
        assert!(result.is_ok() || rest.is_empty(), "nothing is appended");
        result.map(|()| rest)
    }

    #[test]
    fn white_space_goes_and_every_digit_stays() {
        for (text, said) in [
            (" {\"a\" : [ 1 , 2 ] ,\n\t\"b\": null}\r\n", r#"{"a": [1,2],"b": null}"#),
            (
                "12345678901234567890.12345678901234567890e+200",
                "12345678901234567890.12345678901234567890e+200",
            ),
            (r#"{"1e999": "1e999", "a": "\\\"1e999"}"#, r#"{"1e999": "1e999","a": "\\\"1e999"}"#),
            (
                r#"[{"a": 1}, {"a": 1}, {"b": {"a": 1e-999}}]"#,
                r#"[{"a": 1},{"a": 1},{"b": {"a": 1e-999}}]"#,
            ),
            ("1.00", "1.00"),
            ("-0", "-0"),
            (r#" "a : \" { \\" "#, r#""a : \" { \\""#),
            (r#"{"\\": "\\\"", "b c": ":"}"#, r#"{"\\": "\\\"","b c": ":"}"#),
            ("\"\u{e9} \\u00e9\"", "\"\u{e9} \\u00e9\""),
            ("{}", "{}"),
            ("true", "true"),
        ] {
            assert_eq!(appended(text).as_deref(), Ok(said));
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{a: 1}",
            "[1,]",
            "01",
            "+1",
            "NaN",
            "'a'",
            "1 2",
            "\"a\nb\"",
            "{} {}",
            "\u{feff}1",
            "tru",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            r#"{"a":"\ud800\n"}"#,
            r#""\\\udfff""#,
        ] {
            assert_eq!(appended(text), Err(Unencodable::NotJson), "{text}");
        }
        for text in [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""\u00e9\\""#] {
            assert_eq!(appended(text).as_deref(), Ok(text), "it is whole");
        }
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(appended(&nested(DEEPEST)).is_ok());
        assert_eq!(appended(&nested(DEEPEST + 1)), Err(Unencodable::DeepJson));
        assert_eq!(appended(&nested(1_000_000)), Err(Unencodable::DeepJson));
    }

    #[test]
    fn what_readers_take_in_several_ways_or_not_at_all_is_refused() {
        for text in ["1e400", "[0,-1.5E+309]", r#"{"a": "\\", "b": 1e999}"#] {
            assert_eq!(appended(text), Err(Unencodable::HugeNumber), "{text}");
        }
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "\u0061": 2}}]"#] {
            assert_eq!(appended(text), Err(Unencodable::RepeatedMember), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let members = prop::collection::vec((any::<String>(), inner.clone()), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::Array),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_said_is_the_same_value_on_one_line_however_it_was_written(value in json()) {
            let narrow = appended(&value.to_string()).unwrap();
            let wide = appended(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
            prop_assert_eq!(&narrow, &wide);
            prop_assert_eq!(serde_json::from_str::<Value>(&narrow).unwrap(), value);
        }

        /// Either it is JSON, by another reader, and said as that, or it is refused.
        #[test]
        fn no_text_becomes_what_is_no_json(text in r#"[\[\]{}",:0-9a\\ \n.eE+-]{0,12}"#) {
            if let Ok(said) = appended(&text) {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&said).is_ok());
            }
        }
    }
}
