//! `${NAME}`, `${NAME:-default}`, `$${` and `file:PATH`.
//!
//! What a reference stands for never appears in a message.

use std::path::Path;

use secrecy::SecretString;

use crate::small_file;

const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Where variables are looked up: the process's environment, or a test's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Something wrong with a reference: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub remedy: String,
    /// The reference is sound, and what it stands for is not there.
    pub is_absent: bool,
}

/// A stretch of text, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
}

/// Puts the variables' values in place of the references. All faults are reported.
pub fn expand(text: &str, environment: Environment) -> Result<String, Vec<Fault>> {
    let parts = parts(text).map_err(|fault| vec![fault])?;
    let mut expanded = String::new();
    let mut faults = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => expanded.push_str(text),
            Part::Variable { name, default } => match look_up(name, default, environment) {
                Some(value) => expanded.push_str(&value),
                None => faults.push(unset(name)),
            },
        }
    }
    if faults.is_empty() { Ok(expanded) } else { Err(faults) }
}

/// What the references of a text stand for; defaults stand in the file and are not among them.
pub fn meant(text: &str, environment: Environment) -> Vec<String> {
    let variables = parts(text).unwrap_or_default().into_iter().filter_map(|part| match part {
        Part::Variable { name, .. } => environment(name),
        Part::Text(_) => None,
    });
    variables.filter(|value| !value.is_empty()).collect()
}

/// Reads a secret, which must be one reference and nothing else. `allows_default` says whether a default may stand in
/// the file in the open.
pub fn secret(
    text: &str,
    folder: &Path,
    allows_default: bool,
    environment: Environment,
) -> Result<SecretString, Fault> {
    let value = if let Some(path) = text.strip_prefix("file:") {
        secret_file(&folder.join(path))?
    } else {
        match parts(text)?.as_slice() {
            [Part::Variable { name, default }] => {
                if default.is_some() && !allows_default {
                    return Err(Fault {
                        what: "a secret may have a default only for a loopback address".to_owned(),
                        remedy: format!("write `${{{name}}}` and set the variable"),
                        is_absent: false,
                    });
                }
                look_up(name, *default, environment).ok_or_else(|| unset(name))?
            }
            _ => {
                return Err(Fault {
                    what: "a secret stands in the file".to_owned(),
                    remedy: "write a reference, `${NAME}` or `file:PATH`, and nothing else"
                        .to_owned(),
                    is_absent: false,
                });
            }
        }
    };
    if value.is_empty() {
        return Err(Fault {
            what: format!("the secret that `{}` stands for is empty", without_default(text)),
            remedy: "set it".to_owned(),
            is_absent: true,
        });
    }
    if value.chars().any(char::is_control) {
        return Err(Fault {
            what: format!(
                "the secret that `{}` stands for has a line break or control character",
                without_default(text)
            ),
            remedy: "store the secret alone, on one line".to_owned(),
            is_absent: false,
        });
    }
    Ok(SecretString::from(value))
}

/// Whether the text is a reference that gives nothing away, as a secret must be.
pub fn is_reference(text: &str) -> bool {
    text.starts_with("file:")
        || matches!(parts(text).as_deref(), Ok([Part::Variable { default: None, .. }]))
}

/// Whether expanding the text would do anything.
pub fn has_references(text: &str) -> bool {
    text.contains("${")
}

fn secret_file(path: &Path) -> Result<String, Fault> {
    let fault = |what: String| Fault {
        what,
        remedy:
            "name a file that holds the secret alone; a relative path begins at this file's folder"
                .to_owned(),
        is_absent: true,
    };
    let shown = path.display();
    let read = small_file::read(path, MAX_SECRET_BYTES)
        .map_err(|error| fault(format!("the secret's file `{shown}` cannot be read: {error}")))?;
    if u64::try_from(read.len()).is_ok_and(|bytes| bytes > MAX_SECRET_BYTES) {
        return Err(fault(format!("the secret's file `{shown}` is over {MAX_SECRET_BYTES} bytes")));
    }
    let text = String::from_utf8(read).map_err(|_| {
        fault(format!("the secret's file `{shown}` cannot be read: it is not UTF-8"))
    })?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}

fn look_up(name: &str, default: Option<&str>, environment: Environment) -> Option<String> {
    let value = environment(name);
    match default {
        Some(default) => {
            Some(value.filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned()))
        }
        None => value,
    }
}

fn unset(name: &str) -> Fault {
    Fault {
        what: format!("the environment variable `{name}` is not set"),
        remedy: format!(
            "set `{name}`, or, where it is no secret, write `${{{name}:-default}}`; `$${{` stands for `${{`"
        ),
        is_absent: true,
    }
}

fn without_default(text: &str) -> String {
    match text.split_once(":-") {
        Some((name, _)) if text.starts_with("${") => format!("{name}}}"),
        _ => text.to_owned(),
    }
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, Fault> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${`: the first dollar goes, the rest stands.
            parts.push(Part::Text(&rest[..at - 1]));
            parts.push(Part::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        let inner = &rest[at + 2..];
        let Some(end) = inner.find('}') else {
            return Err(malformed("a `${` is never closed"));
        };
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(malformed("a `${..}` does not hold the name of a variable"));
        }
        parts.push(Part::Variable { name, default });
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn malformed(what: &str) -> Fault {
    Fault {
        what: what.to_owned(),
        remedy: "write `${NAME}` or `${NAME:-default}`; `$${` stands for `${`".to_owned(),
        is_absent: false,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("crm.example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            "LINES" => Some("a\nb".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_and_escapes_stand() {
        for (text, expected) in [
            ("https://${HOST}/v1", "https://crm.example.com/v1"),
            ("${HOST}${HOST}", "crm.example.comcrm.example.com"),
            ("$${HOST}", "${HOST}"),
            ("cost: 5$ {x}", "cost: 5$ {x}"),
            ("${NONE:-a b}", "a b"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_unset_variable_is_named() {
        let faults = expand("${A}-${HOST}-${B}", &environment).expect_err("unset");
        let names: Vec<_> = faults.iter().map(|fault| fault.what.as_str()).collect();
        assert_eq!(
            names,
            ["the environment variable `A` is not set", "the environment variable `B` is not set"]
        );
        for malformed in ["${A", "${}", "${1A}", "${A-b}"] {
            assert!(expand(malformed, &environment).is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_secret_is_one_reference_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        let read = |text| secret(text, folder.path(), false, &environment);
        assert_eq!(read("file:token").unwrap().expose_secret(), "s3cret");
        assert_eq!(read("${HOST}").unwrap().expose_secret(), "crm.example.com");
        for (text, what) in [
            ("s3cret", "stands in the file"),
            ("Bearer ${HOST}", "stands in the file"),
            ("${HOST:-s3cret}", "only for a loopback address"),
            ("${EMPTY}", "is empty"),
            ("${LINES}", "line break"),
            ("file:none", "cannot be read"),
        ] {
            let fault = read(text).expect_err(text);
            assert!(fault.what.contains(what), "{text}: {}", fault.what);
            assert!(!fault.what.contains("s3cret"));
        }
        let default = secret("${NONE:-demo}", folder.path(), true, &environment).unwrap();
        assert_eq!(default.expose_secret(), "demo");
    }
}
