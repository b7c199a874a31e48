//! The schema, and every structural problem of a file by it.
//!
//! What is broken is reported once and cut away, so that the rest can be read into [`RawConfig`] and checked for meaning
//! in the same go. Not responsible for meaning.

use jsonschema::JsonType;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use schemars::Schema;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use super::document::{Document, child, parent, unescaped};
use super::not_built;
use super::raw::RawConfig;

/// The JSON schema of the config file, for editors and for the check.
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfig>();
    without_null(&mut schema);
    schema.to_value()
}

/// Reports every structural problem, cuts away what is broken, and reads the rest.
pub fn read(document: &mut Document) -> RawConfig {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).expect("the generated schema is a schema");
    let mut value = std::mem::take(&mut document.value);
    let mut broken: Vec<String> = document.unresolved().cloned().collect();
    for error in validator.iter_errors(&value) {
        let at = error.instance_path().as_str();
        let schema_at = error.schema_path().as_str();
        let found = Found { pointer: at, instance: error.instance(), schema: &schema, schema_at };
        report(document, &found, error.kind(), &mut broken);
    }
    for pointer in broken {
        cut(&mut value, document, &pointer);
    }
    // A value that is broken at its root leaves nothing.
    let value = if value.is_object() { value } else { Value::Object(serde_json::Map::new()) };
    serde_json::from_value(value).unwrap_or_else(|_| {
        // The message of serde quotes values, which may come from the environment.
        let what = "the file fits the schema and still cannot be read".to_owned();
        document.report("", what, "please report this as a bug, with the file".to_owned());
        RawConfig::default()
    })
}

/// One error of the validator.
struct Found<'a> {
    pointer: &'a str,
    instance: &'a Value,
    schema: &'a Value,
    schema_at: &'a str,
}

impl Found<'_> {
    /// The keys that the schema knows at this place.
    fn known_keys(&self) -> Vec<&str> {
        let object = parent(self.schema_at).and_then(|at| self.schema.pointer(at));
        let properties = object.and_then(|object| object.get("properties")?.as_object());
        properties.map(|keys| keys.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    fn description(&self) -> Option<&str> {
        let object = parent(self.schema_at).and_then(|at| self.schema.pointer(at))?;
        object.get("description")?.as_str()
    }
}

fn report(
    document: &mut Document,
    found: &Found,
    kind: &ValidationErrorKind,
    broken: &mut Vec<String>,
) {
    let pointer = found.pointer;
    if let ValidationErrorKind::AdditionalProperties { unexpected } = kind {
        for name in unexpected {
            let pointer = child(pointer, name);
            unknown_key(document, found, &pointer, name);
            broken.push(pointer);
        }
        return;
    }
    if let ValidationErrorKind::Required { property } = kind {
        let name = property.as_str().unwrap_or_default();
        let what = format!("`{name}` is missing");
        document.report_key(pointer, what, missing_remedy(found, name));
        return;
    }
    broken.push(pointer.to_owned());
    let (what, remedy) = match kind {
        ValidationErrorKind::Type { kind } => wrong_type(document, found, kind),
        ValidationErrorKind::Enum { options } => wrong_word(document, found, options),
        ValidationErrorKind::Minimum { limit } => {
            (format!("{} is too small", found.instance), format!("give at least {limit}"))
        }
        ValidationErrorKind::Maximum { limit } => {
            (format!("{} is too large", found.instance), format!("give at most {limit}"))
        }
        ValidationErrorKind::MinItems { limit } => {
            ("the list is too short".to_owned(), format!("give at least {limit}"))
        }
        other => (format!("breaks the rule `{}`", other.keyword()), String::new()),
    };
    document.report(pointer, what, remedy);
}

fn unknown_key(document: &mut Document, found: &Found, pointer: &str, name: &str) {
    if not_built::is_key(found.pointer, name) {
        let what = format!("`{name}` is not built yet");
        document.report_key(pointer, what, not_built::REMEDY.to_owned());
        return;
    }
    let known = found.known_keys();
    let list = format!("known here: {}", quoted(&known));
    let remedy = match nearest(name, &known) {
        Some(meant) => format!("did you mean `{meant}`? {list}"),
        None => list,
    };
    document.report_key(pointer, format!("unknown key `{name}`"), remedy);
}

fn missing_remedy(found: &Found, name: &str) -> String {
    let object = parent(found.schema_at).and_then(|at| found.schema.pointer(at));
    let property = object.and_then(|object| object.get("properties")?.get(name));
    let description = property.and_then(|property| property.get("description")?.as_str());
    match description {
        Some(description) => format!("add `{name}:` - {}", lower(description)),
        None => format!("add `{name}:`"),
    }
}

fn wrong_type(document: &Document, found: &Found, kind: &TypeKind) -> (String, String) {
    let expected = match kind {
        TypeKind::Single(one) => type_name(*one).to_owned(),
        TypeKind::Multiple(several) => {
            several.iter().map(type_name).collect::<Vec<_>>().join(" or ")
        }
    };
    let takes_text = expected.contains("text");
    let written = document.written(found.pointer);
    let remedy = match found.instance {
        Value::Null => format!("give {expected}, or remove the key"),
        Value::Number(_) | Value::Bool(_) if takes_text => {
            format!("put it in quotes: \"{written}\"")
        }
        Value::String(_) if super::reference::has_references(written) => {
            "a reference stands for text; write the value into the file".to_owned()
        }
        _ => match found.description() {
            Some(description) => format!("give {expected}: {}", lower(description)),
            None => format!("give {expected}"),
        },
    };
    let was = match found.instance {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map of keys",
    };
    (format!("expected {expected}, found {was}"), remedy)
}

fn wrong_word(document: &Document, found: &Found, options: &Value) -> (String, String) {
    let written = document.written(found.pointer);
    let known: Vec<&str> =
        options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if not_built::is_value(found.pointer, written) {
        return (format!("`{written}` is not built yet"), format!("use {}", quoted(&known)));
    }
    let remedy = match nearest(written, &known) {
        Some(meant) => format!("did you mean `{meant}`? known here: {}", quoted(&known)),
        None => format!("known here: {}", quoted(&known)),
    };
    (format!("unknown word `{written}`"), remedy)
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "a map of keys",
        JsonType::String => "text",
    }
}

/// Removes the value, or the whole list where it is an item: a list without one of its items means something else.
fn cut(value: &mut Value, document: &Document, pointer: &str) {
    let mut pointer = pointer;
    while document.is_item(pointer) {
        pointer = parent(pointer).unwrap_or_default();
    }
    match parent(pointer) {
        None => *value = Value::Null,
        Some(holder) => {
            if let Some(Value::Object(map)) = value.pointer_mut(holder) {
                map.shift_remove(&unescaped(&pointer[holder.len() + 1..]));
            }
        }
    }
}

/// Takes `null` out of every type, except where it is said to mean something: a key without a value is a slip.
fn without_null(schema: &mut Schema) {
    let keeps = schema.remove("nullable").is_some();
    if !keeps {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [one] = types.as_slice() {
                let one = one.clone();
                schema.insert("type".to_owned(), one);
            }
        }
        if let Some(Value::Array(mut parts)) = schema.remove("anyOf") {
            parts.retain(|part| part.get("type") != Some(&"null".into()));
            match (parts.len(), parts.pop()) {
                (1, Some(Value::Object(part))) => {
                    for (key, value) in part {
                        schema.insert(key, value);
                    }
                }
                (_, last) => {
                    parts.extend(last);
                    schema.insert("anyOf".to_owned(), Value::Array(parts));
                }
            }
        }
    }
    transform_subschemas(&mut WithoutNull, schema);
}

struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        without_null(schema);
    }
}

/// The names in backticks, with commas between.
pub fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The known name that was probably meant, if one is near enough.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let near =
        known.iter().map(|known| (distance(name, known), name.len().abs_diff(known.len()), *known));
    near.filter(|(distance, ..)| *distance <= limit).min().map(|(.., known)| known)
}

/// Insertions, removals, replacements and swaps of neighbours that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// A description as the end of a sentence: lower case at first, no full stop.
fn lower(description: &str) -> String {
    let text = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    let is_word = text.chars().nth(1).is_some_and(|c| c.is_lowercase() || c == ' ');
    match chars.next() {
        Some(first) if is_word => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_no_alternatives_and_no_null_but_one() {
        let text = schema().to_string();
        for absent in ["anyOf", "oneOf", "nullable"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
        assert_eq!(text.matches("\"null\"").count(), 1, "{text}");
    }

    #[test]
    fn slips_of_the_pen_are_near_and_other_words_are_not() {
        let known = ["mapping", "mode", "model"];
        assert_eq!(nearest("maping", &known), Some("mapping"));
        assert_eq!(nearest("mdoe", &known), Some("mode"));
        assert_eq!(nearest("modle", &known), Some("model"));
        assert_eq!(nearest("schedule", &known), None);
    }
}
