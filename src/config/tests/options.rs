//! Options of a mapping's fields: what they come to, and how wrong ones are told of.

use super::problems::each_is_one_problem;
use super::*;
use crate::domain::compare::Compare;
use crate::domain::form::{TimeForm, TimeFormat, Way};
use crate::domain::options::Options;

const MAPPED: &str = "mapping: {id: id, ";

fn options(field: &str) -> (String, Options) {
    let text = GOOD.replacen(MAPPED, &format!("{MAPPED}extra: {field}, "), 1);
    let config = load_text(&text).unwrap_or_else(|problems| panic!("{field}: {problems}"));
    let mapping = &config.syncs[0].sync.mapping;
    let mapped = mapping.iter().find(|mapped| mapped.field == "extra").expect("it is mapped");
    (mapped.expression.clone(), mapped.options.clone())
}

#[test]
fn a_field_is_text_or_a_structure_and_what_is_usual_says_nothing() {
    for usual in [
        "id",
        "{ sql: id }",
        "{ sql: id, numbers: number, nulls: send, json: text, binary: base64, compare: exact }",
        "{ sql: id, time: { format: rfc3339 } }",
    ] {
        assert_eq!(options(usual), ("id".to_owned(), Options::default()), "{usual}");
    }
    assert_eq!(options("{ numbers: text }").0, "extra", "the column of its name");
    let way = |field: &str| options(field).1.form.way;
    assert_eq!(way("{ numbers: text }"), Way::NumbersAsText);
    assert_eq!(way("{ json: parse }"), Way::ParsedJson);
    assert_eq!(way("{ binary: hex }"), Way::Hex);
    let time =
        |format, zone: Option<&str>| Way::Time(TimeForm { format, zone: zone.map(str::to_owned) });
    assert_eq!(way("{ time: { format: unix_ms } }"), time(TimeFormat::UnixMs, None));
    assert_eq!(
        way("{ time: { zone: Europe/Berlin } }"),
        time(TimeFormat::Rfc3339, Some("Europe/Berlin"))
    );
    let pattern = TimeFormat::Pattern("%d.%m.%Y".to_owned());
    assert_eq!(way("{ time: { format: '%d.%m.%Y' } }"), time(pattern, None));
    assert!(options("{ nulls: omit }").1.form.omits_null);
    for (field, compare) in [
        ("{ compare: ignore }", Compare::Ignore),
        ("{ compare: { digits: 6 } }", Compare::Digits(6)),
        ("{ compare: { precision: 1m } }", Compare::Precision(60_000_000_000)),
        ("{ numbers: text, compare: { digits: 2 } }", Compare::Digits(2)),
    ] {
        assert_eq!(options(field).1.compare, compare, "{field}");
    }
}

#[test]
fn options_that_fit_nothing_are_refused_by_name() {
    let place = |key: &str| format!("syncs.people.mapping.extra{key}");
    for (field, key, what, remedy) in [
        ("{ numbers: txt }", ".numbers", "unknown word `txt`", "did you mean `text`?"),
        ("{ number: text }", ".number", "unknown key `number`", "did you mean `numbers`?"),
        ("{ nulls: drop }", ".nulls", "unknown word `drop`", "`send`, `omit`"),
        ("{ sql: ' ' }", ".sql", "an empty expression", "write a column"),
        ("{ sql: 'a b' }", ".sql", "the expression", "write one SQL expression"),
        ("{ compare: { digits: 0 } }", ".compare.digits", "0 is too small", "at least 1"),
        ("{ compare: { digits: 39 } }", ".compare.digits", "too large", "at most 38"),
        (
            "{ compare: ignored }",
            ".compare",
            "cannot compare by `ignored`",
            "did you mean `ignore`?",
        ),
        ("{ compare: {} }", ".compare", "nothing to compare by", "add `digits: 6`"),
        (
            "{ compare: { digits: 1, precision: 1m } }",
            ".compare.precision",
            "both `digits`",
            "keep",
        ),
        (
            "{ compare: { precision: 2d } }",
            ".compare.precision",
            "cannot make sense of `2d`",
            "24h",
        ),
        (
            "{ time: { format: unixms } }",
            ".time.format",
            "`unixms` is no format",
            "did you mean `unix_ms`?",
        ),
        (
            "{ time: { format: yyyy-mm-dd } }",
            ".time.format",
            "is no format of a time",
            "such as `%Y-%m-%d`",
        ),
        (
            "{ time: { format: '%Y-%!' } }",
            ".time.format",
            "the pattern `%Y-%!`",
            "what strftime knows",
        ),
        (
            "{ time: { zone: Berlin } }",
            ".time.zone",
            "there is no time zone `Berlin`",
            "`Europe/Berlin`",
        ),
        (
            "{ numbers: text, json: parse }",
            "",
            "`numbers` is for numbers and `json` for text",
            "keep the one",
        ),
        (
            "{ binary: hex, compare: { precision: 1m } }",
            "",
            "`binary` is for bytes",
            "keep the one",
        ),
    ] {
        let broken = format!("{MAPPED}extra: {field}, ");
        each_is_one_problem(&[(MAPPED, &broken, &place(key), what, remedy)]);
    }
}

#[test]
fn what_a_key_or_a_request_cannot_take_is_refused_at_its_place() {
    for (from, to, place, what, remedy) in [
        (
            "mapping: {id: id,",
            "mapping: {id: { compare: { digits: 3 } },",
            "mapping.id",
            "`id` of the key has `compare`",
            "round it in the model's SQL",
        ),
        (
            "mapping: {id: id,",
            "mapping: {id: { nulls: omit },",
            "mapping.id",
            "`id` of the key has `nulls: omit`",
            "leave it out",
        ),
        (
            "mapping: {id: id,",
            "mapping: {id: { time: { format: unix } },",
            "mapping.id",
            "two keys could look alike",
            "leave it out",
        ),
        (
            "    mapping:",
            "    ignore: [email]\n    mapping:",
            "ignore",
            "`ignore` is for a sync without a mapping",
            "`email: { sql: email, compare: ignore }`",
        ),
    ] {
        each_is_one_problem(&[(from, to, &format!("syncs.people.{place}"), what, remedy)]);
    }
}

#[test]
fn the_mapping_that_the_readme_shows_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, block) = readme.split_once("```yaml\nmapping:\n").expect("the README shows a mapping");
    let (block, _) = block.split_once("```").expect("its block ends");
    let fields: String = block.lines().map(|line| format!("    {line}\n")).collect();
    let usual = "    mapping: {id: id, email: lower(email)}\n";
    assert!(GOOD.contains(usual));
    let text = GOOD.replacen(usual, &format!("    mapping:\n{fields}"), 1);
    let config = load_text(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.syncs[0].sync.mapping.iter().all(|mapped| !mapped.options.are_plain()));
}
