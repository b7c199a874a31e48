//! E8. One long value, many columns, many rows. What is played with each change is small; `--all` asks for more. The peak
//! of the process's memory is a figure, in MiB.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use serde_json::{Value, json};

use super::e_shrink::{FORMATS, open_guard};
use super::{Scenario, is_exhaustive};
use crate::runner;
use crate::support::parquet;
use crate::support::table::Mirror;
use crate::support::workspace::{Report, Setup};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E8", "a very long value arrives whole", long_value),
    Scenario::new("E8", "a CSV record beyond the limit is refused by its line", long_record),
    Scenario::new("E8", "thousands of columns arrive", many_columns),
    Scenario::new("E8", "the memory for many rows stays under the limit", many_rows),
];

fn sized<T>(usual: T, full: T) -> T {
    if is_exhaustive() { full } else { usual }
}

/// Runs to the end and prints the greatest memory that the process ever had in use, in MiB.
#[track_caller]
fn measured(mirror: &Mirror, what: &str) -> (Report, u64) {
    let process = mirror.workspace.spawn_sync(&[]);
    let peak = Cell::new(0);
    mirror.oracle.wait_while(Duration::from_secs(1_800), |_| {
        peak.set(peak.get().max(process.most_memory() >> 20));
        process.is_running()
    });
    let peak = peak.get();
    runner::figure(format!("E8: {what}: at most {peak} MiB in use"));
    assert!(peak > 0, "the memory was measured");
    (mirror.workspace.report(process), peak)
}

fn long_value(scenario: &Scenario) {
    let length = sized(20_000_000, 100_000_000);
    for location in FORMATS {
        // No CSV record may be so long.
        let length = if location.ends_with(".csv") { length.min(60_000_000) } else { length };
        let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(location));
        let columns = ["id", "text"];
        let text = "long ".repeat(length / 5);
        mirror.write(&columns, &json!([[1, "short"], [2, text], [3, "short"]]));
        let (report, _) = measured(&mirror, &format!("one value of {length} bytes, {location}"));
        report.expect(0, "succeeded", &[("delivered", 3)]);
        let arrived = mirror.oracle.record("[2]").expect("it is there");
        assert!(arrived["text"] == text, "the long value is another one");
        mirror.assert_at_rest();
        let nearly = format!("{}!", &text[..text.len() - 1]);
        mirror.write(&columns, &json!([[1, "short"], [2, nearly]]));
        let report = mirror.workspace.sync(&[]);
        report.expect(0, "succeeded", &[("upserts", 1), ("deleted", 1)]);
    }
}

fn long_record(scenario: &Scenario) {
    let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(FORMATS[0]));
    let rows = json!([[1, "short"], [2, "short"]]);
    mirror.follow(&["id", "text"], &rows);
    mirror.write(&["id", "text"], &json!([[1, "short"], [2, "x".repeat(68 << 20)]]));
    mirror.refuses(&["sync", "people"], &[1], &[FORMATS[0], "line 3"]);
    mirror.assert_holds(&["id", "text"], &rows);
}

fn many_columns(scenario: &Scenario) {
    let count = sized(2_000, 5_000);
    for location in FORMATS {
        let mirror = Mirror::new(&scenario.replay(), &["id"], open_guard(location));
        let names: Vec<String> = (1..count).map(|column| format!("column_{column}")).collect();
        let names: Vec<&str> =
            std::iter::once("id").chain(names.iter().map(String::as_str)).collect();
        let row = |id: u32, value: u32| -> Value {
            (0..count).map(|column| if column == 0 { id } else { column + value }).collect()
        };
        let rows = json!([row(1, 0), row(2, 0), row(3, 0)]);
        mirror.write(&names, &rows);
        let (report, _) = measured(&mirror, &format!("{count} columns, {location}"));
        report.expect(0, "succeeded", &[("delivered", 3)]);
        mirror.assert_holds(&names, &rows);
        let rows = json!([row(1, 0), row(2, 1)]);
        mirror.write(&names, &rows);
        let counts = [("unchanged", 1), ("upserts", 1), ("deleted", 1)];
        let (report, _) = measured(&mirror, &format!("{count} columns again, {location}"));
        report.expect(0, "succeeded", &counts);
        mirror.assert_holds(&names, &rows);
    }
}

/// The limit of the process's memory, in MiB.
const LIMIT: u64 = 512;

fn many_rows(scenario: &Scenario) {
    let count = sized(300_000, 2_000_000);
    let setup = Setup { head: "memory_limit: 512MiB", batch: 1_000, ..open_guard(FORMATS[1]) };
    let mirror = Mirror::new(&scenario.replay(), &["id"], setup);
    let write = |ids: std::ops::Range<i64>, changed: i64| {
        let plan = |id: i64| if id % changed == 0 { "pro" } else { "free" };
        let plans: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(plan)));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter(ids));
        mirror.write_batch(&parquet::batch(vec![("id", ids), ("plan", plans)]));
    };
    write(0..count, i64::MAX);
    let rows = u64::try_from(count).expect("a count");
    let (report, first) = measured(&mirror, &format!("{count} rows, all sent"));
    report.expect(0, "succeeded", &[("delivered", rows)]);
    let (report, second) = measured(&mirror, &format!("{count} rows, none sent"));
    report.expect(0, "succeeded", &[("unchanged", rows), ("requests", 0)]);
    write(1_000..count, 1_000);
    let (report, third) = measured(&mirror, &format!("{count} rows, few sent"));
    report.expect(0, "succeeded", &[("upserts", rows / 1_000 - 1), ("deleted", 1_000)]);
    assert_eq!(mirror.oracle.table().len() as u64, rows - 1_000);
    let peak = first.max(second).max(third);
    assert!(peak < LIMIT, "{peak} MiB, and the limit is {LIMIT}");
}
