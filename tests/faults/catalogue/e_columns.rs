//! E4, E7 and E9. Columns that come, go and change, values that become NULL, and answers that differ each time.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use serde_json::json;

use super::Scenario;
use super::e_shrink::{FORMATS, open_guard};
use crate::support::case::Case;
use crate::support::parquet;
use crate::support::people::{CANARY, people};
use crate::support::table::Mirror;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E4", "a column that is added sends every row with it", added),
    Scenario::new("E4", "a column that is dropped sends every row without it", dropped),
    Scenario::new("E4", "a column that is renamed sends every row under its new name", renamed),
    Scenario::new("E4", "columns in another order change nothing", reordered),
    Scenario::new("E4", "a column beside those that are read changes nothing", beside),
    Scenario::new("E4", "a column that is read and gone fails the run by name", gone),
    Scenario::new("E4", "a column of another type and the same values changes nothing", retyped),
    Scenario::new("E4", "values that do not fit their column's type fail the run", misfits),
    Scenario::new("E4", "a key of another type is refused until a person decides", key_retyped),
    Scenario::new(
        "E4",
        "a member that only a later line of NDJSON has is no less a column",
        late_member,
    ),
    Scenario::new("E7", "a value that becomes NULL is sent as null", becomes_null),
    Scenario::new("E9", "a model that answers otherwise each time is named", flapping),
    Scenario::new("E9", "a model that chooses rows in no order is named", no_order),
];

fn mirror(scenario: &Scenario, location: &str) -> Mirror {
    Mirror::new(&scenario.replay(), &["id"], open_guard(location))
}

fn added(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = mirror(scenario, location);
        mirror.follow(&["id", "plan"], &json!([[1, "free"], [2, "pro"], [3, "pro"]]));
        let rows = json!([[1, "free", 7], [2, "pro", null]]);
        let report = mirror.follow(&["id", "plan", "seats"], &rows);
        let counts = [("upserts", 2), ("deleted", 1), ("held", 0)];
        report.expect_kind("full", "mapping_changed").expect(0, "succeeded", &counts);
    }
}

fn dropped(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = mirror(scenario, location);
        mirror.follow(&["id", "plan", "seats"], &json!([[1, "free", 7], [2, "pro", null]]));
        let report = mirror.follow(&["id", "plan"], &json!([[1, "free"], [2, "pro"]]));
        report.expect_kind("full", "mapping_changed").expect(0, "succeeded", &[("upserts", 2)]);
    }
}

fn renamed(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = mirror(scenario, location);
        mirror.follow(&["id", "plan"], &json!([[1, "free"], [2, "pro"], [3, null]]));
        let report = mirror.follow(&["id", "tier"], &json!([[1, "free"], [2, "pro"], [3, null]]));
        report.expect_kind("full", "mapping_changed").expect(0, "succeeded", &[("upserts", 3)]);
    }
}

fn reordered(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = mirror(scenario, location);
        mirror.follow(&["id", "plan", "seats"], &json!([[1, "free", 7], [2, "pro", null]]));
        let report =
            mirror.follow(&["seats", "plan", "id"], &json!([[7, "free", 1], [null, "pro", 2]]));
        report.expect_kind("incremental", "usual").expect(0, "succeeded", &[("requests", 0)]);
    }
}

fn late_member(scenario: &Scenario) {
    let mut mirror = mirror(scenario, "people.ndjson");
    mirror.workspace.write("people.ndjson", "{\"id\":1}\n{\"id\":2,\"plan\":\"pro\"}\n");
    mirror.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    let sent: Vec<_> = mirror.oracle.table().into_values().collect();
    let expected = [json!({ "id": 1, "plan": null }), json!({ "id": 2, "plan": "pro" })];
    assert_eq!(sent, expected, "a member is lost");
    mirror.assert_at_rest();
}

fn selecting(location: &str) -> Setup {
    Setup { sql: "SELECT id, plan FROM people".to_owned(), ..open_guard(location) }
}

fn beside(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = Mirror::new(&scenario.replay(), &["id"], selecting(location));
        mirror.follow(&["id", "plan"], &json!([[1, "free"], [2, "pro"]]));
        mirror.write(&["note", "id", "plan"], &json!([["x", 1, "free"], ["y", 2, "pro"]]));
        mirror.assert_at_rest();
        mirror.write(&["id", "remark", "plan"], &json!([[1, 5, "free"], [2, 6, "pro"]]));
        mirror.assert_at_rest();
    }
}

fn gone(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = Mirror::new(&scenario.replay(), &["id"], selecting(location));
        let rows = json!([[1, "free"], [2, "pro"]]);
        mirror.follow(&["id", "plan"], &rows);
        for (columns, named) in [(["id", "tier"], "plan"), (["ident", "plan"], "id")] {
            mirror.write(&columns, &rows);
            mirror.refuses(&["sync", "people"], &[1, 2], &[named]);
            mirror.refuses(&["plan", "people"], &[1, 2], &[named]);
        }
        mirror.write(&["id"], &json!([[1]]));
        mirror.refuses(&["sync", "people"], &[1, 2], &["plan"]);
        mirror.follow(&["id", "plan"], &rows).expect(0, "succeeded", &[("requests", 0)]);
    }
}

fn retyped(scenario: &Scenario) {
    let mirror = mirror(scenario, FORMATS[1]);
    let columns = ["id", "plan", "seats"];
    let rows = json!([[1, "free", 7], [2, "pro", null]]);
    mirror.follow(&columns, &rows);
    let people = [("id", DataType::Int64), ("plan", DataType::Utf8), ("seats", DataType::Int64)];
    for other in [
        [DataType::Int64, DataType::LargeUtf8, DataType::Int32],
        [DataType::Int64, DataType::Utf8View, DataType::UInt64],
        [
            DataType::Int64,
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            DataType::Int8,
        ],
    ] {
        let base: [ArrayRef; 3] = [
            Arc::new(datafusion::arrow::array::Int64Array::from(vec![1, 2])),
            Arc::new(datafusion::arrow::array::StringArray::from(vec!["free", "pro"])),
            Arc::new(datafusion::arrow::array::Int64Array::from(vec![Some(7), None])),
        ];
        let arrays = base.iter().zip(&other).map(|(array, other)| cast(array, other));
        let arrays = arrays.map(|array| array.expect("it can be cast"));
        let named = people.iter().map(|(name, _)| *name).zip(arrays);
        mirror.write_batch(&parquet::batch(named.collect()));
        mirror.assert_at_rest();
        mirror.assert_holds(&columns, &rows);
    }
}

fn misfits(scenario: &Scenario) {
    let mirror = mirror(scenario, FORMATS[0]);
    let columns = ["id", "seats", "since"];
    let rows = json!([[1, 7, "2024-02-29"], [2, 8, "2024-03-01"]]);
    mirror.workspace.write(FORMATS[0], "id,seats,since\n1,7,2024-02-29\n2,8,2024-03-01\n");
    mirror.workspace.sync(&[]).expect(0, "succeeded", &[]);
    mirror.assert_holds(&columns, &rows);
    // The canary in the cell must not be told (I12).
    let (seats, since, id) = (
        format!("1,{CANARY},2024-02-29"),
        format!("1,7,{CANARY}"),
        format!("{CANARY},7,2024-02-29"),
    );
    for (row, column) in [
        (seats.as_str(), "seats"),
        (&since, "since"),
        (&id, "id"),
        ("1,7.5,2024-02-29", "seats"),
        ("1,7,2023-02-29", "since"),
        ("1,99999999999999999999,2024-02-29", "seats"),
    ] {
        mirror.workspace.write(FORMATS[0], &format!("id,seats,since\n{row}\n"));
        mirror.refuses(&["sync", "people"], &[1], &[column, "line 2", FORMATS[0]]);
        mirror.assert_holds(&columns, &rows);
    }
    mirror.workspace.write(FORMATS[0], "id,seats,since\n1,7,2024-02-29\n2,8,2024-03-01\n");
    mirror.assert_at_rest();
}

fn key_retyped(scenario: &Scenario) {
    let mirror = mirror(scenario, FORMATS[1]);
    let rows = json!([[1, "free"], [2, "pro"]]);
    mirror.follow(&["id", "plan"], &rows);
    mirror.write(&["id", "plan"], &json!([["1", "free"], ["2", "pro"]]));
    let remedies = ["the key changed", "rebaseline", "--keep-snapshot"];
    for command in [&["sync", "people"][..], &["sync", "people", "--full"], &["plan", "people"]] {
        mirror.refuses(command, &[1, 2], &remedies);
    }
    mirror.assert_holds(&["id", "plan"], &rows);
    mirror.follow(&["id", "plan"], &rows).expect(0, "succeeded", &[("deletes", 0)]);
}

fn becomes_null(scenario: &Scenario) {
    for location in FORMATS {
        let mirror = mirror(scenario, location);
        let columns = ["id", "plan", "seats"];
        mirror.follow(&columns, &json!([[1, "free", 7], [2, "pro", 8], [3, "pro", 9]]));
        let rows = json!([[1, null, 7], [2, "pro", null], [3, "pro", 9]]);
        mirror.follow(&columns, &rows).expect(0, "succeeded", &[("upserts", 2), ("deletes", 0)]);
        let requests = mirror.oracle.requests();
        let body = &requests.last().expect("there was a request").sent.beginning;
        for said in [r#""plan":null"#, r#""seats":null"#] {
            assert!(body.contains(said), "{said} in {body}");
        }
        let empty = json!([[1, "", 7], [2, "pro", null], [3, "pro", 9]]);
        mirror.follow(&columns, &empty).expect(0, "succeeded", &[("upserts", 1)]);
        mirror.follow(&columns, &rows).expect(0, "succeeded", &[("upserts", 1)]);
    }
}

/// Not for the judge: nobody can know what such a model gave.
fn flapping(scenario: &Scenario) {
    for function in ["random", "now", "uuid"] {
        let sql = format!("SELECT id, CAST({function}() AS VARCHAR) AS r FROM people");
        let mut case = Case::new(&scenario.replay(), Setup { sql, ..open_guard(FORMATS[0]) });
        case.workspace.write_people(&people(1..=3));
        let named = format!("model `people` uses `{function}`");
        for _ in 0..2 {
            let report = case.workspace.sync(&[]);
            let report = report.expect(0, "succeeded", &[("upserts", 3), ("deletes", 0)]);
            report.finished.expect_printed(&[&named]);
        }
        for looks in [["plan", "people"], ["validate", "--sources"]] {
            case.run(&looks).expect_code(0).expect_printed(&[&named]);
        }
        // Where the model is mended the rows come to rest.
        case.workspace.change(|setup| setup.sql = "SELECT * FROM people".to_owned());
        let report = case.workspace.sync(&[]);
        assert!(!report.finished.printed().contains("can give another answer"), "{report:#?}");
        case.workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    }
}

fn no_order(scenario: &Scenario) {
    let choice = "SELECT id, plan FROM people LIMIT 2";
    let first = "SELECT id, first_value(plan) AS plan FROM people GROUP BY id";
    let number = "SELECT id, row_number() OVER () AS plan FROM people";
    for (sql, ordered, named) in [
        (choice, "SELECT id, plan FROM people ORDER BY id LIMIT 2", "LIMIT without ORDER BY"),
        (
            first,
            "SELECT id, first_value(plan ORDER BY plan) AS plan FROM people GROUP BY id",
            "first_value without ORDER BY",
        ),
        (
            number,
            "SELECT id, row_number() OVER (ORDER BY id) AS plan FROM people",
            "row_number without ORDER BY",
        ),
    ] {
        let setup = Setup { sql: sql.to_owned(), ..open_guard(FORMATS[0]) };
        let mut mirror = Mirror::new(&scenario.replay(), &["id"], setup);
        mirror.write(&["id", "plan"], &json!([[1, "a"], [2, "b"], [3, "c"]]));
        let named = format!("model `people` uses `{named}`");
        for command in ["plan", "sync"] {
            let told = mirror.workspace.run(&[command, "people"]).expect_code(0);
            told.expect_printed(&[&named]);
        }
        mirror.workspace.change(|setup| setup.sql = ordered.to_owned());
        let told = mirror.workspace.run(&["plan", "people"]).expect_code(0);
        assert!(!told.printed().contains("can give another answer"), "{told:#?}");
    }
}
