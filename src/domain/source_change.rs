//! What of a model's sources changed, in words, from two descriptions of them as snapshots' headers keep them.
//!
//! Not responsible for the descriptions (`source::definition`): what it does not know of them it tells as less, never as what it
//! is not. Invariant: nothing of the descriptions is told but names and the locations of files.

use serde_json::{Deserializer, Value};

/// The descriptions differ; what of them does.
pub fn source_change(then: &str, now: &str) -> String {
    let both = Sources::of(then).zip(Sources::of(now));
    let changes = both.map_or_else(Vec::new, |(then, now)| changes(&then, &now));
    match changes.is_empty() {
        true => "the source".to_owned(),
        false => changes.join(" and "),
    }
}

/// What a header says: each source, and which databases they turned out to be.
struct Sources<'t> {
    described: Vec<Value>,
    identities: &'t str,
}

impl Sources<'_> {
    fn of(text: &str) -> Option<Sources<'_>> {
        let mut values = Deserializer::from_str(text).into_iter::<Value>();
        let Value::Array(described) = values.next()?.ok()? else { return None };
        let identities = &text[values.byte_offset()..];
        let is_one = described.first()?.is_string();
        let described = if is_one { vec![Value::Array(described)] } else { described };
        Some(Sources { described, identities })
    }

    fn names(&self) -> Vec<&str> {
        self.described.iter().filter_map(|source| source[0].as_str()).collect()
    }
}

fn changes(then: &Sources<'_>, now: &Sources<'_>) -> Vec<String> {
    if then.names() != now.names() {
        return vec![format!("the source (from {} to {})", said(then), said(now))];
    }
    let mut changes = Vec::new();
    for (then, now) in then.described.iter().zip(&now.described).filter(|(then, now)| then != now) {
        let name = now[0].as_str().unwrap_or_default();
        match (&then[1], &now[1]) {
            (Value::Array(then), Value::Array(now)) => of_tables(name, then, now, &mut changes),
            (then, now) if then != now => {
                changes.push(format!("the address, the user or a setting of source `{name}`"));
            }
            _ => {}
        }
        if then[2] != now[2] {
            changes.push(match (&then[2], &now[2]) {
                (Value::Array(_), _) | (_, Value::Array(_)) => {
                    format!("the SQL of tables of source `{name}`, or which of them are read,")
                }
                _ => format!("the store of source `{name}`"),
            });
        }
    }
    if then.identities != now.identities {
        let names = said(now);
        changes.push(format!("which database is found at the address of source {names}"));
    }
    changes
}

/// Tables of files: each its name, its location, how it is read.
fn of_tables(source: &str, then: &[Value], now: &[Value], changes: &mut Vec<String>) {
    let names = |tables: &[Value]| tables.iter().map(|it| it[0].clone()).collect::<Vec<_>>();
    if names(then) != names(now) {
        return changes.push(format!("which tables of source `{source}` are read"));
    }
    for (then, now) in then.iter().zip(now).filter(|(then, now)| then != now) {
        let name = now[0].as_str().unwrap_or_default();
        let what = format!("table `{name}` of source `{source}`");
        changes.push(match (then[1].as_str(), now[1].as_str()) {
            (Some(before), Some(after)) if before != after => {
                format!("the location of {what} (from `{}` to `{}`)", plain(before), plain(after))
            }
            _ => format!("how the files of {what} are read"),
        });
    }
}

/// A location without what may stand behind the `?` of an address; elsewhere it is any letter.
fn plain(location: &str) -> &str {
    match location.starts_with("http://") || location.starts_with("https://") {
        true => location.split('?').next().unwrap_or_default(),
        false => location,
    }
}

fn said(sources: &Sources<'_>) -> String {
    let names: Vec<String> = sources.names().iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named_by_source_and_table() {
        let files = |tables: &str| format!(r#"["lake",[{tables}]]"#);
        let people = files(r#"["people","a/*.csv",{"csv":[",",true,[],[]]},null]"#);
        let web =
            |key: &str| files(&format!(r#"["people","https://h/p.csv{key}","parquet",null]"#));
        let database = |user: &str, more: &str| {
            format!(r#"["app",{{"postgres":["db",5432,"shop","{user}","error"]}}{more}]"#)
        };
        let (orders, plans) = (r#",[["orders","SELECT 1"]]"#, r#",[["orders","SELECT 2"]]"#);
        for (then, now, told) in [
            (
                people.clone(),
                people.replace("a/*", "b/*"),
                "the location of table `people` of source `lake` (from `a/*.csv` to `b/*.csv`)",
            ),
            (
                people.clone(),
                people.replace("[\",\"", "[\";\""),
                "how the files of table `people` of source `lake` are read",
            ),
            (people.clone(), files(""), "which tables of source `lake` are read"),
            (people.clone(), people.replace("lake", "sea"), "the source (from `lake` to `sea`)"),
            (
                web("?key=canary"),
                web("x?key=canary"),
                "(from `https://h/p.csv` to `https://h/p.csvx`)",
            ),
            (
                people.replace("null]]]", "null]],{\"s3\":1}]"),
                people.replace("null]]]", "null]],{\"s3\":2}]"),
                "the store of source `lake`",
            ),
            (
                database("a", ""),
                database("b", ""),
                "the address, the user or a setting of source `app`",
            ),
            (database("a", orders), database("a", plans), "the SQL of tables of source `app`"),
            (
                database("a", "") + " database 5",
                database("a", "") + " database 6",
                "which database is found at the address of source `app`",
            ),
            (
                format!("[{people},{}]", database("a", "")),
                format!("[{},{}]", people.replace("a/*", "b/*"), database("b", "")),
                "(from `a/*.csv` to `b/*.csv`) and the address, the user or a setting of source `app`",
            ),
            ("lake".to_owned(), "sea".to_owned(), "the source"),
            (String::new(), people, "the source"),
        ] {
            let said = source_change(&then, &now);
            assert!(said.contains(told) && !said.contains("canary"), "{then} {now}: {said}");
        }
    }
}
