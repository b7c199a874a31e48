//! The template of a path. Guard: two records never share one.

use super::{Placeholder, Scope, Segment, placeholder, push_literal};
use crate::domain::form::{Form, Way};

/// Compiles the path; without a placeholder it is one literal.
pub(in crate::destination::http) fn path(
    text: &str,
    scope: Scope<'_>,
) -> Result<Vec<Segment>, String> {
    if !text.starts_with('/') {
        return Err("a path begins with `/`".to_owned());
    }
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        literal_of_path(&rest[..start], &mut segments)?;
        let Some(end) = rest[start..].find("}}") else {
            return Err("`{{` without `}}`".to_owned());
        };
        match placeholder(&rest[start + 2..start + end], scope)? {
            Placeholder::Record => {
                return Err("a path takes one field at a time, as `{{record.FIELD}}`".to_owned());
            }
            Placeholder::Field(index) => segments.push(step(index, scope)?),
        }
        rest = &rest[start + end + 2..];
    }
    literal_of_path(rest, &mut segments)?;
    refuse_shared_paths(&segments)?;
    Ok(segments)
}

/// The value of a field in a path.
fn step(index: usize, scope: Scope<'_>) -> Result<Segment, String> {
    let refuse = |option: &str, why: &str| {
        let name = &scope.fields[index];
        Err(format!(
            "`{name}` has `{option}`, and {why}; leave `{{{{record.{name}}}}}` out of the path, or `{option}` out of the mapping"
        ))
    };
    match scope.form(index) {
        Some(Form { omits_null: true, .. }) => {
            refuse("nulls: omit", "a path has no step that can be left out")
        }
        Some(Form { way: Way::ParsedJson, .. }) => {
            refuse("json: parse", "a parsed value cannot name a record in a path")
        }
        _ => scope.value(index),
    }
}

fn literal_of_path(text: &str, segments: &mut Vec<Segment>) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
    if let Some(character) = text.chars().find(|c| !u8::try_from(*c).is_ok_and(is_allowed)) {
        return Err(format!(
            "`{}` cannot stand in a path; percent-encode it",
            character.escape_default()
        ));
    }
    let path = text.split('?').next().unwrap_or(text);
    if path.split('/').any(|step| matches!(undotted(step).as_str(), "." | "..")) {
        return Err("`.` and `..` cannot stand in a path; write the path out".to_owned());
    }
    if !text.is_empty() {
        push_literal(segments, text.as_bytes());
    }
    Ok(())
}

fn undotted(step: &str) -> String {
    step.replace("%2e", ".").replace("%2E", ".")
}

/// Values are percent-encoded, so only a character that never appears in one keeps two of them apart.
fn refuse_shared_paths(segments: &[Segment]) -> Result<(), String> {
    let is_apart = |literal: &[u8]| {
        literal.iter().any(|byte| !byte.is_ascii_alphanumeric() && !b"-_.~%".contains(byte))
    };
    let mut is_separated = true;
    for segment in segments {
        match segment {
            Segment::Literal(literal) => is_separated |= is_apart(literal),
            Segment::Comma => {}
            _ if !is_separated => {
                return Err("two placeholders in a path need a `/` or another reserved character \
                            between them, or two records could share a path"
                    .to_owned());
            }
            _ => is_separated = false,
        }
    }
    Ok(())
}
