//! E5 and E8. Real data: nycflights13, with a composite key of time, text and integer, and a key that is none. It lies outside
//! the repository, in the folder that `COUNTERFLOW_NYCFLIGHTS13` names or in the usual place.

use std::path::PathBuf;
use std::time::Duration;

use super::Scenario;
use crate::support::oracle::Oracle;
use crate::support::workspace::{Setup, Workspace};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "E5",
        "keys of real data that the autumn clock change repeats are named",
        weather,
    )
    .needing(has_data),
    Scenario::new(
        "E8",
        "336,776 real rows are delivered once, and the second run sends nothing",
        flights,
    )
    .needing(has_data),
];

const FLIGHTS: &str = "flights.parquet";
const WEATHER: &str = "weather.csv";
const KEY: &[&str] = &["time_hour", "carrier", "flight"];

fn data(file: &str) -> PathBuf {
    let named = std::env::var_os("COUNTERFLOW_NYCFLIGHTS13").map(PathBuf::from);
    let usual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nycflights13");
    named.unwrap_or(usual).join(file)
}

fn has_data() -> Result<(), String> {
    let is_there = [FLIGHTS, WEATHER].iter().all(|file| data(file).is_file());
    is_there.then_some(()).ok_or_else(|| "nycflights13 is not on this machine".to_owned())
}

fn workspace(
    oracle: &Oracle,
    table: &'static str,
    file: &str,
    key: &'static [&'static str],
) -> Workspace {
    let location = data(file).canonicalize().expect("it is there").display().to_string();
    let sql = format!("SELECT * FROM {table}");
    let setup = Setup { table, location, sql, key, batch: 1000, ..Setup::default() };
    Workspace::new(oracle, setup)
}

/// Not for the judge: these are more records than it can copy again and again.
fn flights(_: &Scenario) {
    let oracle = Oracle::start(KEY);
    let workspace = workspace(&oracle, "flights", FLIGHTS, KEY);
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

/// Not for the judge, which knows persons alone.
fn weather(_: &Scenario) {
    let key: &[&str] = &["origin", "year", "month", "day", "hour"];
    let oracle = Oracle::start(key);
    let workspace = workspace(&oracle, "weather", WEATHER, key);
    let run = workspace.spawn(&["sync", "people"]);
    let printed = workspace.end(run, Duration::from_secs(580)).expect_code(3);
    // The repeated hour of the autumn clock change, at each of the three airports.
    printed.expect_printed(&["EWR/2013/11/3/1", "JFK/2013/11/3/1", "LGA/2013/11/3/1"]);
    let sent = oracle.count_of(r#"["EWR",2013,11,3,1]"#);
    assert!(sent <= 1, "a repeated key is never sent twice");
    assert!(oracle.deletes().is_empty());
}
