//! Reads verdicts record by record out of an answer.
//!
//! Two readers of one meaning: a scan without allocation that can only say "every record was delivered", and a full
//! reading for everything else. Guard: an answer without the declared shape yields no verdict at all.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::scrub::Scrub;
use crate::destination::answer::{RecordVerdict, Refusal};
use crate::destination::definition::{By, PerRecord};

/// A value that can tell a record's status.
#[derive(Debug, Clone, Copy)]
enum Scalar<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    fn of(value: &'a Value) -> Option<Scalar<'a>> {
        Some(match value {
            Value::Null => Scalar::Null,
            Value::Bool(boolean) => Scalar::Boolean(*boolean),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => Scalar::Integer(integer),
                (None, Some(integer)) => Scalar::Unsigned(integer),
                (None, None) => Scalar::Float(number.as_f64()?),
            },
            Value::String(text) => Scalar::Text(text),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    /// Whether this is the declared value: `200` is `"200"`, and `"2xx"` is every whole number of that class.
    fn is(self, declared: &Value) -> bool {
        match (declared, self) {
            (Value::Null, Scalar::Null) => true,
            (Value::Bool(declared), Scalar::Boolean(is)) => *declared == is,
            (Value::Number(declared), Scalar::Integer(is)) => declared.as_i64() == Some(is),
            (Value::Number(declared), Scalar::Unsigned(is)) => declared.as_u64() == Some(is),
            (Value::Number(declared), Scalar::Float(is)) => declared.as_f64() == Some(is),
            (Value::Number(declared), Scalar::Text(is)) => {
                is.parse().is_ok_and(|is| declared.as_i64() == Some(is))
            }
            (Value::String(declared), Scalar::Integer(is)) => {
                declared.parse() == Ok(is) || class(declared).is_some_and(|class| is / 100 == class)
            }
            (Value::String(declared), Scalar::Text(is)) => {
                declared == is
                    || class(declared).is_some_and(|class| {
                        is.len() == 3 && is.parse::<i64>().is_ok_and(|is| is / 100 == class)
                    })
            }
            _ => false,
        }
    }

    fn is_any(self, declared: &[Value]) -> bool {
        declared.iter().any(|declared| self.is(declared))
    }
}

/// `2` of `2xx`.
fn class(declared: &str) -> Option<i64> {
    match declared.as_bytes() {
        [digit @ b'1'..=b'5', b'x', b'x'] => Some(i64::from(digit - b'0')),
        _ => None,
    }
}

/// Whether the answer is JSON of the declared shape and names all `records` as delivered. `false` says nothing.
pub(super) fn is_all_delivered(list: &PerRecord, records: u32, answer: &str) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(answer);
    let items = Step { pointer: &list.items, end: Items { list, records } };
    items.deserialize(&mut deserializer).is_ok_and(|is| is) && deserializer.end().is_ok()
}

/// The verdict of each record, in the order sent; `Err` says what of the declared shape is missing.
pub(super) fn verdicts(
    list: &PerRecord,
    records: u32,
    answer: &Value,
    scrub: &Scrub<'_>,
) -> Result<Vec<RecordVerdict>, String> {
    let By::Index = list.by;
    let Some(items) = answer.pointer(&list.items) else {
        return Err(format!("it has nothing at `{}`", list.items));
    };
    let Value::Array(items) = items else {
        return Err(format!("there is no list at `{}`", list.items));
    };
    if u32::try_from(items.len()) != Ok(records) {
        return Err(format!(
            "the list at `{}` has {} items for {records} records",
            list.items,
            items.len()
        ));
    }
    items.iter().map(|item| verdict(list, item, scrub)).collect()
}

fn verdict(list: &PerRecord, item: &Value, scrub: &Scrub<'_>) -> Result<RecordVerdict, String> {
    let status = item
        .pointer(&list.status)
        .ok_or_else(|| format!("an item has nothing at `{}`", list.status))?;
    let is_any = |declared: &[Value]| match Scalar::of(status) {
        Some(scalar) => scalar.is_any(declared),
        None => declared.contains(status),
    };
    if is_any(&list.delivered) {
        return Ok(RecordVerdict::Delivered);
    }
    let text = |pointer: &Option<String>| {
        let value = pointer.as_deref().and_then(|pointer| item.pointer(pointer))?;
        match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    };
    let code = text(&list.code).unwrap_or_else(|| match status {
        Value::String(status) => status.clone(),
        Value::Array(_) | Value::Object(_) => "rejected".to_owned(),
        status => status.to_string(),
    });
    let message = text(&list.message).unwrap_or_default();
    let refusal = Refusal { code: scrub.code(&code), message: scrub.message(&message) };
    Ok(if is_any(&list.retry) {
        RecordVerdict::Retry(refusal)
    } else {
        RecordVerdict::Rejected(refusal)
    })
}

/// What stands at the end of a pointer.
trait End<'de>: Copy {
    fn end<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error>;
}

/// Follows `pointer` through objects, then reads the end. As in `Value::pointer`, the last of repeated names counts.
#[derive(Clone, Copy)]
struct Step<'p, E> {
    pointer: &'p str,
    end: E,
}

impl<'de, E: End<'de>> DeserializeSeed<'de> for Step<'_, E> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.pointer.is_empty() {
            self.end.end(deserializer)
        } else {
            deserializer.deserialize_map(self)
        }
    }
}

impl<'de, E: End<'de>> Visitor<'de> for Step<'_, E> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object on the way of the pointer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let path = self.pointer.strip_prefix('/').unwrap_or(self.pointer);
        let (name, rest) = match path.find('/') {
            Some(end) => path.split_at(end),
            None => (path, ""),
        };
        let mut found = None;
        while let Some(is_named) = map.next_key_seed(IsName(name))? {
            if is_named {
                found = Some(map.next_value_seed(Step { pointer: rest, end: self.end })?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        found.ok_or_else(|| A::Error::custom("nothing at the pointer"))
    }
}

/// Compares a name of an object. Names that JSON pointers escape are left to the full reading.
struct IsName<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0 && !name.contains('~'))
    }
}

/// The list of results.
#[derive(Clone, Copy)]
struct Items<'p> {
    list: &'p PerRecord,
    records: u32,
}

impl<'de> End<'de> for Items<'_> {
    fn end<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of results")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let status = Step { pointer: &self.list.status, end: Status(&self.list.delivered) };
        let mut delivered = 0_u64;
        while let Some(is_delivered) = items.next_element_seed(status)? {
            if !is_delivered {
                return Err(A::Error::custom("not every record was delivered"));
            }
            delivered += 1;
        }
        Ok(delivered == u64::from(self.records))
    }
}

/// The value that tells.
#[derive(Clone, Copy)]
struct Status<'p>(&'p [Value]);

impl<'de> End<'de> for Status<'_> {
    fn end<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Status<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(Scalar::Null.is_any(self.0))
    }

    fn visit_bool<E>(self, is: bool) -> Result<bool, E> {
        Ok(Scalar::Boolean(is).is_any(self.0))
    }

    fn visit_i64<E>(self, is: i64) -> Result<bool, E> {
        Ok(Scalar::Integer(is).is_any(self.0))
    }

    fn visit_u64<E>(self, is: u64) -> Result<bool, E> {
        let scalar = i64::try_from(is).map_or(Scalar::Unsigned(is), Scalar::Integer);
        Ok(scalar.is_any(self.0))
    }

    fn visit_f64<E>(self, is: f64) -> Result<bool, E> {
        Ok(Scalar::Float(is).is_any(self.0))
    }

    fn visit_str<E>(self, is: &str) -> Result<bool, E> {
        Ok(Scalar::Text(is).is_any(self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(items: &str, status: &str, delivered: &[Value]) -> PerRecord {
        PerRecord {
            by: By::Index,
            items: items.to_owned(),
            status: status.to_owned(),
            delivered: delivered.to_vec(),
            retry: vec![json!(429)],
            code: Some("/error/code".to_owned()),
            message: Some("/error/message".to_owned()),
        }
    }

    fn read(list: &PerRecord, records: u32, answer: &str) -> Result<Vec<RecordVerdict>, String> {
        let scrub = Scrub::new(b"[]", None, &[], &[]);
        let value = serde_json::from_str(answer).map_err(|error| error.to_string())?;
        verdicts(list, records, &value, &scrub)
    }

    #[test]
    fn the_scan_and_the_full_reading_agree() {
        let results = || list("/results", "/status", &[json!("2xx"), json!("ok")]);
        for (list, records, answer, is_all) in [
            (results(), 2, r#"{"results":[{"status":200},{"status":"201"}]}"#, true),
            (results(), 1, r#"{"results":[{"id":[1,{}],"status":"ok","x":null}],"more":{}}"#, true),
            (results(), 0, r#"{"results":[]}"#, true),
            (results(), 1, r#"{"results":[{"status":500,"status":200}]}"#, true),
            (results(), 1, r#"{"results":[],"results":[{"status":200}]}"#, true),
            (results(), 2, r#"{"results":[{"status":200}]}"#, false),
            (results(), 1, r#"{"results":[{"status":200},{"status":200}]}"#, false),
            (results(), 1, r#"{"results":[{"status":200}]"#, false),
            (results(), 1, r#"{"results":[{"status":200}]} x"#, false),
            (results(), 1, r#"{"results":[{"status":404}]}"#, false),
            (results(), 1, r#"{"results":[{"status":[200]}]}"#, false),
            (results(), 1, r#"{"results":[{}]}"#, false),
            (results(), 1, r#"{"results":{"status":200}}"#, false),
            (results(), 1, r#"[{"status":200}]"#, false),
            (results(), 1, "", false),
            (list("", "", &[json!(true)]), 2, "[true,true]", true),
            (list("", "", &[json!(true)]), 2, "[true,false]", false),
            (list("", "/error", &[Value::Null]), 1, r#"[{"error":null}]"#, true),
            (list("", "/error", &[Value::Null]), 1, r#"[{"error":{"code":"x"}}]"#, false),
            (list("/a/b", "/c/d", &[json!(200)]), 1, r#"{"a":{"b":[{"c":{"d":"200"}}]}}"#, true),
            (list("", "/s", &[json!("200")]), 1, r#"[{"s":200}]"#, true),
            (list("", "/s", &[json!(1.5)]), 1, r#"[{"s":1.5}]"#, true),
            (list("", "/s", &[json!("2xx")]), 1, r#"[{"s":2000}]"#, false),
            (list("", "/s", &[json!(true)]), 1, r#"[{"s":"true"}]"#, false),
        ] {
            assert_eq!(is_all_delivered(&list, records, answer), is_all, "{answer}");
            let full = read(&list, records, answer).is_ok_and(|verdicts| {
                verdicts.iter().all(|verdict| *verdict == RecordVerdict::Delivered)
            });
            assert_eq!(full, is_all, "{answer}");
        }
        // Pointers the scan does not follow are left to the full reading.
        for pointer in ["/a~1b", "/0"] {
            let answer = if pointer == "/0" { "[[[200]]]" } else { r#"{"a/b":[[200]]}"# };
            let list = list(pointer, "/0", &[json!(200)]);
            assert!(!is_all_delivered(&list, 1, answer));
            assert_eq!(read(&list, 1, answer), Ok(vec![RecordVerdict::Delivered]));
        }
    }

    proptest::proptest! {
        #[test]
        fn the_scan_never_says_delivered_where_the_full_reading_does_not(
            parts in proptest::collection::vec(0_usize..14, 0..24),
            records in 0_u32..4,
        ) {
            const PARTS: [&str; 14] = [
                "{", "}", "[", "]", ",", ":", "\"r\"", "\"s\"", "200", "\"200\"", "404", "null",
                "{\"s\":200}", "{\"r\":[{\"s\":200}]}",
            ];
            let answer: String = parts.iter().map(|part| PARTS[*part]).collect();
            for list in [list("/r", "/s", &[json!("2xx")]), list("", "/s", &[json!(200)])] {
                let full = read(&list, records, &answer).is_ok_and(|verdicts| {
                    verdicts.iter().all(|verdict| *verdict == RecordVerdict::Delivered)
                });
                proptest::prop_assert_eq!(is_all_delivered(&list, records, &answer), full);
            }
        }
    }

    #[test]
    fn each_record_has_its_own_verdict_in_the_order_sent() {
        let list = list("", "/s", &[json!(200)]);
        let answer = r#"[{"s":200},{"s":"429"},{"s":422,"error":{"code":"BAD","message":"no\nway"}},{"s":"x"}]"#;
        let refusal = |code: &str, message: &str| Refusal {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        assert_eq!(
            read(&list, 4, answer),
            Ok(vec![
                RecordVerdict::Delivered,
                RecordVerdict::Retry(refusal("429", "")),
                RecordVerdict::Rejected(refusal("BAD", "no way")),
                RecordVerdict::Rejected(refusal("x", "")),
            ])
        );
    }
}
