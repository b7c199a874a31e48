//! The schema that editors are given is what a file is checked by.

use super::*;
use crate::config::tests::example::whole_example;

/// Texts of config files without problems, as they are written.
fn good() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |path: &str| (path.to_owned(), std::fs::read_to_string(root.join(path)).unwrap());
    let (_, readme) = text("README.md");
    let (_, block) = readme.split_once("```yaml\n").expect("the README shows a config");
    let (block, _) = block.split_once("```").expect("its block ends");
    let mut good = vec![
        ("the README".to_owned(), block.to_owned()),
        ("the whole example".to_owned(), whole_example()),
        ("these tests".to_owned(), GOOD.to_owned()),
        text("config.example.yaml"),
        text("src/cli/starter.yaml"),
    ];
    for state in std::fs::read_dir(root.join("tests/faults/states/0.1.0")).unwrap() {
        let path = state.unwrap().path().join("counterflow.yaml");
        good.push(text(path.strip_prefix(root).unwrap().to_str().unwrap()));
    }
    good
}

/// The file as an editor sees it: references as they stand.
fn as_written(text: &str) -> Value {
    Document::read(text, &|_| None).value
}

#[test]
fn every_config_that_is_shown_is_good_by_the_schema_and_none_with_an_unknown_key_is() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let good = good();
    assert!(good.len() >= 7, "{}", good.len());
    for (name, text) in good {
        let mut value = as_written(&text);
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
        value["colour"] = "red".into();
        assert!(!validator.is_valid(&value), "{name}");
    }
}

/// Editors know the words that all drafts of JSON Schema have, not all of the newest.
#[test]
fn the_schema_says_all_in_words_that_old_editors_know() {
    const WORDS: [&str; 15] = [
        "$schema",
        "$ref",
        "title",
        "description",
        "type",
        "properties",
        "additionalProperties",
        "required",
        "items",
        "enum",
        "minimum",
        "maximum",
        "minItems",
        "default",
        "$defs",
    ];
    fn check(schema: &Value) {
        let Some(words) = schema.as_object() else { return };
        for (word, said) in words {
            assert!(WORDS.contains(&word.as_str()), "`{word}` in {schema:#}");
            match word.as_str() {
                "properties" | "$defs" => said.as_object().unwrap().values().for_each(check),
                "items" | "additionalProperties" => check(said),
                _ => {}
            }
        }
    }
    check(&schema());
}
