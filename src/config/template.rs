//! The placeholders of paths and bodies: `{{record}}` and `{{record.FIELD}}`. What they stand for is the destination's business.

use serde_json::Value;

/// What a placeholder names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    Record,
    Field(String),
    /// Anything else, and what is never closed, as it is written.
    Other(String),
}

/// The placeholders of one text, in order.
pub fn placeholders(text: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let inner = &rest[at + 2..];
        let Some(end) = inner.find("}}") else {
            found.push(Placeholder::Other(rest[at..].to_owned()));
            break;
        };
        let name = inner[..end].trim();
        found.push(match name.strip_prefix("record") {
            Some("") => Placeholder::Record,
            Some(field) => match field.strip_prefix('.').filter(|field| is_field(field)) {
                Some(field) => Placeholder::Field(field.to_owned()),
                None => Placeholder::Other(name.to_owned()),
            },
            None => Placeholder::Other(name.to_owned()),
        });
        rest = &inner[end + 2..];
    }
    found
}

/// The text with every placeholder made one, so that paths to the same object are equal.
pub fn anonymous(text: &str) -> String {
    let mut anonymous = String::new();
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        anonymous.push_str(before);
        anonymous.push_str("{}");
        rest = inner.split_once("}}").map_or("", |(_, after)| after);
    }
    anonymous + rest
}

/// Whether a body makes an array of the batch's records.
pub fn has_each(body: &Value) -> bool {
    match body {
        Value::Object(map) => {
            map.len() == 1 && map.contains_key("each") || map.values().any(has_each)
        }
        Value::Array(items) => items.iter().any(has_each),
        _ => false,
    }
}

/// Every text in a body, with its pointer.
pub fn texts(body: &Value, pointer: &str, visit: &mut dyn FnMut(&str, &str)) {
    match body {
        Value::String(text) => visit(pointer, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                texts(item, &super::document::child(pointer, &index.to_string()), visit);
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                texts(value, &super::document::child(pointer, name), visit);
            }
        }
        _ => {}
    }
}

fn is_field(field: &str) -> bool {
    !field.is_empty() && !field.contains(['|', '{', '}', '(', ')'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_found_and_what_is_not_one_is_shown() {
        use Placeholder::{Field, Other, Record};
        assert_eq!(
            placeholders(
                "/a/{{record.id}}/{{ record }}/{{record.x|lower}}/{{group}}/{{recordx}}/{{x"
            ),
            [
                Field("id".to_owned()),
                Record,
                Other("record.x|lower".to_owned()),
                Other("group".to_owned()),
                Other("recordx".to_owned()),
                Other("{{x".to_owned()),
            ]
        );
        assert_eq!(anonymous("/a/{{record.id}}/b/{{record.k}}"), "/a/{}/b/{}");
    }

    #[test]
    fn each_is_found_at_any_depth() {
        assert!(has_each(&json!({"a": [{"each": "{{record}}"}]})));
        assert!(!has_each(&json!({"each": 1, "of": 2})));
    }
}
