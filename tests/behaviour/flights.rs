//! Real data: nycflights13, with a composite key of time, text and integer, and a key that is none.
//!
//! The data lies outside the repository; where `COUNTERFLOW_NYCFLIGHTS13` does not name its folder and the usual place
//! has none, these tests say "not measured" and do nothing.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

const KEY: &[&str] = &["time_hour", "carrier", "flight"];

fn data(file: &str) -> Option<PathBuf> {
    let named = std::env::var_os("COUNTERFLOW_NYCFLIGHTS13").map(PathBuf::from);
    let usual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nycflights13");
    let path = named.unwrap_or(usual).join(file);
    let path = path.canonicalize().ok();
    if path.is_none() {
        println!("not measured: `{file}` of nycflights13 is not on this machine");
    }
    path
}

fn workspace(
    oracle: &Oracle,
    table: &'static str,
    file: &str,
    key: &'static [&'static str],
) -> Option<Workspace> {
    let location = data(file)?.display().to_string();
    let sql = format!("SELECT * FROM {table}");
    Some(Workspace::new(
        oracle,
        Setup { table, location, sql, key, batch: 1000, ..Setup::default() },
    ))
}

#[test]
fn all_flights_are_delivered_once_and_the_second_run_sends_nothing() {
    let oracle = Oracle::start(KEY);
    let Some(workspace) = workspace(&oracle, "flights", "flights.parquet", KEY) else { return };
    let first = workspace.spawn_sync(&[]);
    let first = workspace.end(first, Duration::from_secs(580)).expect_code(0).json();
    assert_eq!(first["tally"]["delivered"], 336_776, "{first:#}");
    assert_eq!((oracle.table().len(), oracle.redundant()), (336_776, 0));
    let cancelled = oracle.table().values().filter(|flight| flight["dep_time"].is_null()).count();
    assert_eq!(cancelled, 8_255, "NULL is sent as null");
    let requests = oracle.request_count();
    assert_eq!(requests, 337);
    let again = workspace.spawn_sync(&[]);
    workspace.end(again, Duration::from_secs(580)).expect_code(0);
    assert_eq!(oracle.request_count(), requests, "I8");
    oracle.assert_same_idempotency_key_on_repeats();
}

#[test]
fn weather_keyed_without_the_full_hour_names_its_repeated_keys() {
    let key: &[&str] = &["origin", "year", "month", "day", "hour"];
    let oracle = Oracle::start(key);
    let Some(workspace) = workspace(&oracle, "weather", "weather.csv", key) else { return };
    let run = workspace.spawn(&["sync", "people"]);
    let printed = workspace.end(run, Duration::from_secs(580)).expect_code(3);
    // The repeated hour of the autumn clock change, at each of the three airports.
    printed.expect_printed(&["EWR/2013/11/3/1", "JFK/2013/11/3/1", "LGA/2013/11/3/1"]);
    let sent = oracle.count_of(r#"["EWR",2013,11,3,1]"#);
    assert!(sent <= 1, "a repeated key is never sent twice");
    assert!(oracle.deletes().is_empty());
}
