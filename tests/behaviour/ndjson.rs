//! Tables of NDJSON: what a line says is what arrives, and what is cut proves nothing.

use serde_json::{Value, json};

use crate::support::check::check_mirror;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, expected, people};
use crate::support::workspace::{Setup, Workspace};

fn workspace(oracle: &Oracle, location: &str) -> Workspace {
    Workspace::new(oracle, Setup { location: location.to_owned(), ..Setup::default() })
}

fn lines(people: &[Person]) -> String {
    people.iter().map(|person| format!("{}\n", person.record())).collect()
}

#[test]
fn objects_arrive_exactly_as_they_are_written_and_once() {
    for location in ["people.ndjson", "people.jsonl"] {
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, location);
        workspace.write(
            location,
            "{\"id\":1,\"n\":12345678901234567890,\"price\":0.30,\"name\":\"\\u00e9 \\ud83d\\ude00\",\"ok\":true}\n\
             {\"id\":2,\"name\":null,\"late\":{\"a\": [1.0, \"x\"]}}\n\
             {\"price\":1,\"id\":3}\n",
        );
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
        let sent: Vec<Value> = oracle.table().into_values().collect();
        let row = |id: u32, n: &str, price: &str, name: &str, ok: &str, late: &str| {
            let row = format!(
                "{{\"id\":{id},\"n\":{n},\"price\":{price},\"name\":{name},\"ok\":{ok},\"late\":{late}}}"
            );
            serde_json::from_str::<Value>(&row).expect("it is JSON")
        };
        let nested = "\"{\\\"a\\\":[1.0,\\\"x\\\"]}\"";
        assert_eq!(
            sent,
            [
                row(1, "12345678901234567890", "0.30", "\"é 😀\"", "true", "null"),
                row(2, "null", "null", "null", "null", nested),
                row(3, "null", "1.00", "null", "null", "null"),
            ]
        );
        workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("unchanged", 3)]);
    }
}

#[test]
fn types_are_pinned_by_the_first_run_and_a_later_misfit_deletes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "people.ndjson");
    workspace.write("people.ndjson", "{\"id\":1,\"v\":5}\n{\"id\":2,\"v\":6}\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    workspace.write("people.ndjson", "{\"id\":1,\"v\":\"canary\"}\n");
    let report = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
    report.finished.expect_printed(&["`v`", "line 1", "BIGINT", "`v: JSON`"]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    workspace.write("people.ndjson", "{\"id\":1,\"v\":7}\n{\"id\":2}\n");
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    let expected = [json!({ "id": 1, "v": 7 }), json!({ "id": 2, "v": null })];
    assert_eq!(oracle.table().into_values().collect::<Vec<_>>(), expected);
}

/// At each length: within a line it is damage, behind one the guard and the last line's end speak.
#[test]
fn a_cut_file_deletes_nothing() {
    let oracle = Oracle::start(&["id"]);
    let all = people(1..=6);
    let mut workspace = workspace(&oracle, "people.ndjson");
    workspace.change(|setup| setup.max_deletes = Some("100%"));
    let whole = lines(&all);
    workspace.write("people.ndjson", &whole);
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 6)]);
    let third = whole.match_indices('\n').nth(2).expect("there are six lines").0;
    for length in [third - 1, third - 20, third + 2] {
        workspace.write("people.ndjson", &whole[..length]);
        let report = workspace.sync(&[]).expect(1, "failed", &[("deletes", 0), ("held", 0)]);
        report.finished.expect_printed(&["people.ndjson", "is the file cut"]);
    }
    // Without the end of its last line it may have been cut there: the deletes wait for a person.
    workspace.write("people.ndjson", &whole[..third]);
    workspace.sync(&[]).expect(4, "partial", &[("deletes", 3), ("held", 3)]);
    workspace.write("people.ndjson", "");
    workspace.sync(&[]).expect(4, "partial", &[("held", 6)]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    workspace.write("people.ndjson", &lines(&all[..3]));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 3)]);
    check_mirror(&oracle, &expected(&all[..3]));
}

#[test]
fn one_file_of_several_that_is_gone_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let workspace = workspace(&oracle, "people-*.ndjson");
    let all = people(1..=8);
    workspace.write("people-a.ndjson", &lines(&all[..4]));
    workspace.write("people-b.ndjson", &lines(&all[4..]));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 8)]);
    std::fs::remove_file(workspace.path().join("people-b.ndjson")).expect("it is there");
    workspace.sync(&[]).expect(4, "partial", &[("held", 4)]);
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    workspace.write("people-b.ndjson", &lines(&all[4..]));
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    check_mirror(&oracle, &expected(&all));
}
