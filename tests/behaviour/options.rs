//! Options of a mapping's fields: how values are said, and what counts as a change.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};

use crate::support::oracle::Oracle;
use crate::support::parquet;
use crate::support::people::CANARY;
use crate::support::workspace::{Setup, Workspace};

const FILE: &str = "people.parquet";
/// 2024-03-31T01:00:00Z, when summer begins in Berlin, in microseconds.
const SPRING: i64 = 1_711_846_800_000_000;
const MINUTE: i64 = 60_000_000;

fn workspace(oracle: &Oracle, sync: &'static str) -> Workspace {
    let (location, max_deletes) = (FILE.to_owned(), Some("100%"));
    Workspace::new(oracle, Setup { location, sync, max_deletes, ..Setup::default() })
}

fn write(workspace: &Workspace, columns: Vec<(&str, ArrayRef)>) {
    parquet::write(&workspace.path().join(FILE), &parquet::batch(columns), 100);
}

fn numbers(numbers: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(numbers.to_vec()))
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn floats(floats: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(floats.to_vec()))
}

fn instants(instants: &[Option<i64>]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(instants.to_vec()).with_timezone("UTC"))
}

/// The bodies of all requests so far, one after the other.
fn sent(oracle: &Oracle) -> String {
    oracle.requests().iter().map(|request| request.sent.beginning.as_str()).collect()
}

const FORMS: &str = "mapping:
      id: { sql: id, numbers: text }
      mrr: { numbers: text }
      note: { nulls: omit }
      seen: { time: { zone: Europe/Berlin } }
      day: { sql: seen, time: { format: '%d.%m.%Y', zone: Europe/Berlin } }
      at: { sql: seen, time: { format: unix_ms } }
      profile: { json: parse }
      photo: { binary: hex }";

#[test]
fn values_are_said_as_the_options_of_their_fields_say_and_keys_so_on_deletes_too() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, FORMS);
    let write = |rows: usize| {
        let mrr = Decimal128Array::from(vec![1_050, 0]).with_precision_and_scale(12, 2);
        let mrr: ArrayRef = Arc::new(mrr.expect("they fit"));
        let photo: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None]));
        let profile = "{\"a\" : [1.00,\n 12345678901234567890.5e3]}";
        let columns = vec![
            ("id", numbers(&[1, 2])),
            ("mrr", mrr),
            ("note", texts(&[Some(""), None])),
            ("seen", instants(&[Some(SPRING), None])),
            ("profile", texts(&[Some(profile), None])),
            ("photo", photo),
        ];
        let columns = columns.into_iter().map(|(name, array)| (name, array.slice(0, rows)));
        write(&workspace, columns.collect());
    };
    write(2);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2), ("invalid", 0)]);
    let said = sent(&oracle);
    for record in [
        r#"{"id":"1","mrr":"10.50","note":"","seen":"2024-03-31T03:00:00+02:00","day":"31.03.2024","at":1711846800000,"profile":{"a": [1.00,12345678901234567890.5e3]},"photo":"00ff"}"#,
        r#"{"id":"2","mrr":"0.00","seen":null,"day":null,"at":null,"profile":null,"photo":null}"#,
    ] {
        assert!(said.contains(record), "{record} in {said}");
    }
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("unchanged", 2)]);
    write(1);
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 1)]);
    let said = sent(&oracle);
    assert!(said.ends_with(r#"{"ids":[{"id":"2"}]}"#), "{said}");
    assert_eq!(oracle.table().len(), 1, "{}", oracle.print());
}

#[test]
fn an_ignored_field_makes_no_row_be_sent_and_is_sent_with_every_row_that_is() {
    for sync in ["mapping: { id: id, name: name, synced: { compare: ignore } }", "ignore: [synced]"]
    {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, sync);
        let write = |names: [&str; 2], synced: [i64; 2]| {
            let columns = vec![
                ("id", numbers(&[1, 2])),
                ("name", texts(&names.map(Some))),
                ("synced", numbers(&synced)),
            ];
            write(&workspace, columns);
        };
        write(["ann", "bob"], [1, 1]);
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
        write(["ann", "bob"], [2, 2]);
        workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("unchanged", 2)]);
        write(["anna", "bob"], [3, 3]);
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("unchanged", 1)]);
        let said = sent(&oracle);
        assert!(said.ends_with(r#"{"records":[{"id":1,"name":"anna","synced":3}]}"#), "{said}");
    }
}

#[test]
fn what_rounds_to_the_same_is_not_sent_again() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(
        &oracle,
        "mapping: { id: id, score: { compare: { digits: 6 } }, seen: { compare: { precision: 1m } } }",
    );
    let follow = |scores: [f64; 2], seen: [i64; 2], upserts: u64| {
        let columns = vec![
            ("id", numbers(&[1, 2])),
            ("score", floats(&scores)),
            ("seen", instants(&seen.map(Some))),
        ];
        write(&workspace, columns);
        workspace.sync(&[]).expect(0, "succeeded", &[("upserts", upserts)]);
    };
    follow([0.3, 1e9], [SPRING, SPRING], 2);
    follow([0.1 + 0.2, 1e9 + 1.0], [SPRING + 1, SPRING + MINUTE - 1], 0);
    // By the least digit that is kept, and over the edge of the minute.
    follow([0.300_001, 1e9], [SPRING, SPRING + MINUTE], 2);
    assert!(sent(&oracle).contains(r#""score":0.300001,"#), "what is sent is exact");
}

#[test]
fn another_option_sends_every_row_again_and_one_that_says_the_usual_sends_none() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "mapping: { id: id, note: note }");
    write(&workspace, vec![("id", numbers(&[1, 2])), ("note", texts(&[Some("a"), None]))]);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    workspace.change(|setup| {
        setup.sync = "mapping: { id: { sql: id }, note: { sql: note, nulls: send, json: text, compare: exact } }";
    });
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    for (sync, said) in [
        ("mapping: { id: id, note: { sql: note, nulls: omit } }", r#"{"id":2}"#),
        ("mapping: { id: id, note: { sql: note, compare: ignore } }", r#"{"id":2,"note":null}"#),
        ("mapping: { id: id, note: note }", r#"{"id":2,"note":null}"#),
    ] {
        workspace.change(|setup| setup.sync = sync);
        let before = sent(&oracle).len();
        let report = workspace.sync(&[]).expect_kind("full", "mapping_changed");
        report.expect(0, "succeeded", &[("upserts", 2)]);
        assert!(sent(&oracle)[before..].contains(said), "{}", oracle.print());
        workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    }
}

#[test]
fn another_form_of_the_key_is_another_key_until_a_person_decides() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "mapping: { id: id, note: note }");
    write(&workspace, vec![("id", numbers(&[1, 2])), ("note", texts(&[Some("a"), None]))]);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    workspace.change(|setup| {
        setup.sync = "mapping: { id: { sql: id, numbers: text }, note: note }";
    });
    let before = oracle.request_count();
    let refused = workspace.run(&["sync", "people"]);
    assert!(matches!(refused.code, Some(1 | 2)), "{refused:#?}");
    refused.expect_printed(&["`id Int64` to `id Int64 as text`", "rebaseline", "keep-snapshot"]);
    assert_eq!(oracle.request_count(), before, "{}", oracle.print());
    let report = workspace.sync(&["--keep-snapshot"]).expect_kind("full", "mapping_changed");
    report.expect(0, "succeeded", &[("upserts", 2), ("deletes", 0)]);
    assert!(sent(&oracle).contains(r#"{"id":"1","note":"a"}"#), "{}", oracle.print());
}

#[test]
fn options_that_do_not_fit_a_column_are_refused_by_name_before_anything_is_sent() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = workspace(&oracle, "");
    let columns = vec![
        ("id", numbers(&[1])),
        ("note", texts(&[Some("a")])),
        ("score", floats(&[0.5])),
        ("seen", instants(&[Some(SPRING)])),
    ];
    write(&workspace, columns);
    for (sync, words) in [
        ("mapping: { id: id, note: { numbers: text } }", ["field `note`", "this is text"]),
        ("mapping: { id: id, score: { numbers: text } }", ["field `score`", "this is a float"]),
        ("mapping: { id: id, seen: { json: parse } }", ["field `seen`", "this is an instant"]),
        (
            "mapping: { id: id, note: { time: { format: unix } } }",
            ["field `note`", "`time` is for"],
        ),
        (
            "mapping: { id: id, id2: { sql: id, compare: { digits: 3 } } }",
            ["field `id2`", "an integer"],
        ),
        (
            "mapping: { id: id, d: { sql: 'CAST(seen AS DATE)', time: { format: '%H' } } }",
            ["field `d`", "`%H` cannot say a day"],
        ),
        (
            "mapping: { key: 'id + 0', note: { compare: ignore } }\n    key: [note]",
            ["`note` of the key", "ignore"],
        ),
        ("ignore: [nota]", ["`nota` in `ignore`", "did you mean `note`"]),
        ("ignore: [id]", ["`id` is of the key", "take it out of `ignore`"]),
    ] {
        workspace.change(|setup| setup.sync = sync);
        for command in [&["validate", "--sources"], &["plan", "people"], &["sync", "people"]] {
            workspace.run(command).expect_code(2).expect_printed(&words);
        }
    }
    assert_eq!(oracle.request_count(), 0, "{}", oracle.print());
}

#[test]
fn text_that_is_no_json_is_a_refusal_of_its_row_by_its_key_and_of_no_other() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "mapping: { id: id, profile: { json: parse } }");
    let profiles = [Some("[]"), Some(CANARY), Some("{\"a\":1}{}"), None];
    write(&workspace, vec![("id", numbers(&[1, 2, 3, 4])), ("profile", texts(&profiles))]);
    for delivered in [2, 0] {
        let counts = [("invalid", 2), ("delivered", delivered), ("deletes", 0)];
        let report = workspace.sync(&[]).expect(3, "partial", &counts);
        report.finished.expect_printed(&["`2`", "`3`", "field `profile`", "the text is no JSON"]);
    }
    assert_eq!(oracle.table().len(), 2, "{}", oracle.print());
}

#[test]
fn values_that_are_the_same_and_are_said_otherwise_have_another_idempotency_key_i7() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "mapping: { id: id, mrr: { numbers: text } }");
    let write = |value: i128, scale: i8| {
        let mrr = Decimal128Array::from(vec![value]).with_precision_and_scale(12, scale);
        write(&workspace, vec![("id", numbers(&[1])), ("mrr", Arc::new(mrr.expect("it fits")))]);
    };
    write(105, 1);
    workspace.kill_between_request_and_receipt(&oracle);
    write(1_050, 2);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    let requests = oracle.requests();
    let [first, second] = &requests[..] else { panic!("{}", oracle.print()) };
    assert!(sent(&oracle).contains("\"10.5\"") && sent(&oracle).contains("\"10.50\""));
    assert_ne!(first.sent.idempotency_key, second.sent.idempotency_key, "one key for two bodies");
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
}

#[test]
fn a_repetition_has_its_idempotency_key_unless_what_is_ignored_is_said_otherwise_i7() {
    for synced in [1, 2] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, "ignore: [synced]");
        let write = |synced| {
            write(&workspace, vec![("id", numbers(&[1])), ("synced", numbers(&[synced]))]);
        };
        write(1);
        workspace.kill_between_request_and_receipt(&oracle);
        write(synced);
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
        let requests = oracle.requests();
        let [first, second] = &requests[..] else { panic!("{}", oracle.print()) };
        let is_same = first.sent.body_hash == second.sent.body_hash;
        assert_eq!(is_same, synced == 1);
        assert_eq!(first.sent.idempotency_key == second.sent.idempotency_key, is_same);
    }
}
