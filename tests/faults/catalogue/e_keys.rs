//! E5 and E11. Keys that are missing, repeated or equal after normalising; keys that return, and values that are swapped.

use serde_json::json;

use super::Scenario;
use super::e_shrink::{FORMATS, assert_none_deleted, open_guard};
use crate::support::case::Case;
use crate::support::people::{CANARY, Person, people};
use crate::support::table::Mirror;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E5", "a repeated key is neither sent nor deleted", repeated),
    Scenario::new("E5", "a key that is repeated from the first run on is never sent", never_known),
    Scenario::new("E5", "a null key holds the deletes of what it may have been", null_key),
    Scenario::new("E5", "a null in a part of the key is a null key", null_part),
    Scenario::new("E5", "keys that are equal once normalised are one key twice", normalised),
    Scenario::new("E5", "a row that cannot be said is neither sent nor deleted", unencodable),
    Scenario::new("E11", "a key deleted and inserted again is there in the end", returns),
    Scenario::new("E11", "two keys that swap their values are both sent", swapped),
];

fn repeated(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        case.write(&people(1..=20));
        case.sync(&[]).expect(0, "succeeded", &[]);
        // Changed in both rows, changed in one, and twice the same.
        let mut next = people(1..=20);
        next.extend([(3, 2), (4, 1), (4, 2), (5, 1)].map(|(id, n)| Person::new(id, n)));
        next[2].counter = 3;
        // One that leaves with them waits: it may be the one that is written under another's key.
        next.retain(|person| person.id != 9);
        case.write(&next);
        for _ in 0..3 {
            let report = case.sync(&[]);
            let of_repeated = report.count("deletes") - 1;
            assert!(of_repeated == 0, "I5: {of_repeated} keys that were read are to be deleted");
            let counts = [("invalid", 7), ("upserts", 0), ("held", 1), ("deleted", 0)];
            let report = report.expect(4, "partial", &counts);
            report.finished.expect_printed(&["`3`", "`4`", "`5`", "more than once"]);
        }
        assert_none_deleted(&case);
        let mut mended = people(1..=20);
        mended[3].counter = 4;
        case.write(&mended);
        case.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("held", 0), ("invalid", 0)]);
        case.judge();
    }
}

fn never_known(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        let mut all = people(1..=6);
        all.extend([Person::new(6, 2), Person::new(6, 3)]);
        case.write(&all);
        let report = case.sync(&[]);
        let is_sent = case.oracle.record("[6]").is_some();
        assert!(!is_sent, "a repeated key was sent\n{}", case.print());
        report.expect(3, "partial", &[("invalid", 3), ("upserts", 5), ("delivered", 5)]);
        case.write(&people(1..=6));
        case.sync(&[]).expect(0, "succeeded", &[("upserts", 1), ("invalid", 0)]);
        case.judge();
    }
}

fn null_key(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(location));
        let columns = ["id", "plan"];
        let rows = json!([[1, "free"], [2, "pro"], [3, "pro"]]);
        mirror.follow(&columns, &rows);
        mirror.write(&columns, &json!([[1, "free"], [2, "pro"], [null, "pro"]]));
        for _ in 0..3 {
            let report = mirror.workspace.sync(&[]);
            report.expect(4, "partial", &[("invalid", 1), ("held", 1), ("deleted", 0)]);
        }
        mirror.assert_holds(&columns, &rows);
        mirror.follow(&columns, &json!([[1, "free"], [3, "pro"]]));
    }
}

fn null_part(scenario: &Scenario) {
    for location in FORMATS {
        let setup = Setup { key: &["region", "id"], ..open_guard(location) };
        let mirror = Mirror::new(&scenario.replay(), &["region", "id"], setup);
        let columns = ["region", "id", "plan"];
        let rows = json!([["eu", 1, "free"], ["us", 1, "pro"], ["eu", 2, "pro"]]);
        mirror.follow(&columns, &rows);
        let some_null = json!([["eu", 1, "free"], [null, 1, "pro"], ["eu", null, "pro"]]);
        mirror.write(&columns, &some_null);
        let report = mirror.workspace.sync(&[]);
        report.expect(4, "partial", &[("invalid", 2), ("held", 2), ("deleted", 0)]);
        mirror.assert_holds(&columns, &rows);
        // Parts that only look alike when they are put together are different keys.
        let apart = json!([["e", 11, "x"], ["e1", 1, "y"], ["", 1, "z"]]);
        mirror.follow(&columns, &apart).expect(0, "succeeded", &[("upserts", 3), ("deleted", 3)]);
    }
}

fn normalised(scenario: &Scenario) {
    for location in FORMATS {
        let setup = Setup {
            sync: "mapping: { email: lower(email), plan: plan }\n    key: [email]",
            ..open_guard(location)
        };
        let mirror = Mirror::new(&scenario.replay(), &["email"], setup);
        let (columns, mapped) = (["id", "email", "plan"], ["email", "plan"]);
        mirror.write(&columns, &json!([[1, "Ann@x", "free"], [2, "bob@x", "pro"]]));
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
        let known = json!([["ann@x", "free"], ["bob@x", "pro"]]);
        mirror.assert_holds(&mapped, &known);
        let twice = json!([
            [1, "Ann@x", "pro"],
            [3, "ANN@X", "team"],
            [2, "bob@x", "pro"],
            [4, "Cid@x", "a"],
            [5, "cid@x", "b"]
        ]);
        mirror.write(&columns, &twice);
        let report = mirror.workspace.sync(&[]);
        let report = report.expect(3, "partial", &[("invalid", 4), ("upserts", 0), ("deletes", 0)]);
        report.finished.expect_printed(&["`ann@x`", "`cid@x`"]);
        mirror.assert_holds(&mapped, &known);
        // The same address in other letters is the same record.
        mirror.write(&columns, &json!([[1, "ANN@x", "free"], [2, "BOB@X", "pro"]]));
        mirror.assert_at_rest();
        mirror.assert_holds(&mapped, &known);
    }
}

fn unencodable(scenario: &Scenario) {
    let setup = Setup {
        sql: "SELECT id, note, CASE WHEN n = 0 THEN CAST('NaN' AS DOUBLE) ELSE n END AS n FROM people"
            .to_owned(),
        ..open_guard(FORMATS[0])
    };
    let mirror = Mirror::new(&scenario.replay(), &["id"], setup);
    // What else is in the row must not be told (I12).
    let write = |rows: &[(u32, u32)]| {
        let rows: Vec<_> = rows.iter().map(|(id, n)| json!([id, CANARY, n])).collect();
        mirror.write(&["id", "note", "n"], &rows.into());
    };
    write(&[(1, 5), (2, 6), (3, 7)]);
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
    let known = mirror.oracle.table();
    write(&[(1, 5), (2, 0), (3, 7), (4, 0)]);
    for _ in 0..2 {
        let report = mirror.workspace.sync(&[]);
        let report = report.expect(3, "partial", &[("invalid", 2), ("upserts", 0), ("deletes", 0)]);
        report.finished.expect_printed(&["NaN", "`2`", "`4`"]);
    }
    assert_eq!(mirror.oracle.table(), known, "{}", mirror.oracle.print());
    write(&[(1, 5), (2, 6), (3, 7)]);
    mirror.assert_at_rest();
}

fn returns(scenario: &Scenario) {
    for location in FORMATS {
        let mut case = Case::new(&scenario.replay(), open_guard(location));
        for gone in [None, Some(3), None, Some(3), None] {
            case.write(&people((1..=5).filter(|id| Some(*id) != gone)));
            case.sync(&[]).expect(0, "succeeded", &[]);
            assert_eq!(case.oracle.record("[3]").is_some(), gone.is_none(), "{}", case.print());
        }
        // It goes and returns between two reads: nothing was lost, and nothing is sent.
        case.write(&people([1, 2, 4, 5]));
        case.write(&people(1..=5));
        case.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
        case.judge();
    }
}

fn swapped(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(location));
        let columns = ["id", "plan", "old_plan"];
        mirror.follow(&columns, &json!([[1, "a", "x"], [2, "b", "x"], [3, "c", "d"]]));
        let across = json!([[1, "b", "x"], [2, "a", "x"], [3, "c", "d"]]);
        mirror.follow(&columns, &across).expect(0, "succeeded", &[("upserts", 2)]);
        let within = json!([[1, "b", "x"], [2, "a", "x"], [3, "d", "c"]]);
        mirror.follow(&columns, &within).expect(0, "succeeded", &[("upserts", 1)]);
    }
}
