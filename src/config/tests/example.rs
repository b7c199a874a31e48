//! The example file, which names every key and runs as it stands.

use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::sync::CheckKeys;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml")
}

/// The example with what is commented out in it: lines whose sign has no blank behind it, or more than one.
pub fn whole_example() -> String {
    let text = std::fs::read_to_string(example()).unwrap();
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The variables that the databases and stores of the example need.
fn password(name: &str) -> Option<String> {
    let is_known = matches!(name, "APP_DATABASE_PASSWORD" | "LAKE_SECRET" | "LAKE_TOKEN");
    is_known.then(|| "demo".to_owned())
}

#[test]
fn what_is_commented_out_in_the_example_is_good_where_the_build_can_do_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["fixtures", "sql"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("counterflow.yaml");
    std::fs::write(&path, whole_example()).unwrap();
    let loaded = load_with(&path, &password);
    if cfg!(feature = "otlp") {
        let traces = loaded.unwrap_or_else(|problems| panic!("{problems}")).traces.unwrap();
        assert_eq!(traces.endpoint, "http://127.0.0.1:4318");
        assert_eq!(traces.headers[0].1.expose_secret(), "Bearer demo");
    } else {
        let problems = loaded.unwrap_err().to_string();
        assert!(problems.contains(": telemetry.otlp: this build sends no traces; "), "{problems}");
        assert!(problems.contains("`cargo build --release --features otlp`"), "{problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
        // Those who only look need not be able to.
        assert!(load_for(&path, None).unwrap().traces.is_none());
    }
}

#[test]
fn the_example_has_no_problems_and_names_files_that_are_there() {
    let config = load_with(&example(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    for source in config.sources.values() {
        let Access::Files(files) = &source.access else { panic!("it is made of files") };
        for table in &files.tables {
            assert!(table.path().is_file(), "{}", table.path().display());
        }
    }
    let modes: Vec<_> = config.syncs.iter().map(|s| (s.sync.name.as_str(), s.sync.mode)).collect();
    let checks: Vec<_> = config.syncs.iter().map(|sync| sync.sync.check_keys).collect();
    assert_eq!(checks[..2], [CheckKeys::First, CheckKeys::Streaming]);
    assert_eq!(modes[..2], [("customers_to_crm", Mode::Mirror), ("orders_to_crm", Mode::Upsert)]);
}

#[test]
fn the_config_of_the_readme_has_no_problems() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, rest) = text.split_once("```yaml\n").expect("the README shows a config");
    let (yaml, _) = rest.split_once("```").expect("its block ends");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counterflow.yaml");
    std::fs::write(&file, yaml).unwrap();
    let token = |name: &str| (name == "CRM_TOKEN").then(|| "t".to_owned());
    let config = load_with(&file, &token).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.syncs.len(), 1);
}

#[test]
fn the_example_names_every_key_with_a_comment() {
    let text = whole_example();
    let schema = schema();
    let mut missing = std::collections::BTreeSet::new();
    let mut keys = std::collections::BTreeSet::new();
    properties(&schema, &mut keys);
    let value = Document::read(&text, &|_| None).value;
    let mut found = std::collections::BTreeSet::new();
    meet(&schema, &schema, &value, &mut found);
    for key in keys.difference(&found) {
        missing.insert(key.clone());
    }
    assert!(missing.is_empty(), "not in the example: {missing:?}");

    let lines: Vec<&str> = text.lines().collect();
    let is_explained = |key: &str| {
        lines.iter().enumerate().any(|(index, line)| {
            let bare = line.trim_start().trim_start_matches("- ");
            let above = index.checked_sub(1).map(|above| lines[above].trim_start());
            bare.starts_with(&format!("{key}:"))
                && (line.contains(" #") || is_explained_above(&lines, index, above))
        })
    };
    for (_, key) in keys {
        assert!(is_explained(&key), "`{key}` has no comment in the example");
    }
}

/// A comment may speak of the few lines that follow it.
fn is_explained_above(lines: &[&str], index: usize, above: Option<&str>) -> bool {
    above.is_some_and(|above| above.starts_with('#'))
        || (index.saturating_sub(3)..index).any(|line| lines[line].trim_start().starts_with('#'))
}

type Keys = std::collections::BTreeSet<(String, String)>;

/// Every key of every structure of the schema, with the structure's description to tell them apart.
fn properties(schema: &Value, keys: &mut Keys) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(found)) = map.get("properties") {
                let of = identity(schema);
                keys.extend(found.keys().map(|key| (of.clone(), key.clone())));
            }
            map.values().for_each(|value| properties(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|value| properties(value, keys)),
        _ => {}
    }
}

fn identity(schema: &Value) -> String {
    schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",")
}

/// The keys that a value has, by the schema that describes it.
fn meet(root: &Value, schema: &Value, value: &Value, found: &mut Keys) {
    if let Some(at) = schema.get("$ref").and_then(Value::as_str) {
        return meet(root, root.pointer(at.trim_start_matches('#')).unwrap(), value, found);
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let Some(property) = schema.get("properties").and_then(|all| all.get(key)) {
                    found.insert((identity(schema), key.clone()));
                    meet(root, property, value, found);
                } else if let Some(all) = schema.get("additionalProperties") {
                    meet(root, all, value, found);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = schema.get("items") {
                items.iter().for_each(|item| meet(root, of, item, found));
            }
        }
        _ => {}
    }
}
