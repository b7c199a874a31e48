//! The demo: its story ends with everything equal, whatever is left behind is nothing, and its destination serves the
//! example as it stands.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::SOON;
use crate::support::process::{Finished, Process};

/// The story takes about 15 seconds, most of them `Retry-After`; a busy machine gets more.
const STORY: Duration = Duration::from_secs(240);

/// Starts a command in the folder, with the folder as the place for temporary files.
fn spawn(folder: &Path, args: &[&str]) -> Process {
    let temporary = folder.to_str().expect("a temporary folder has a plain name");
    Process::spawn(folder, args, &[("TMPDIR", temporary)])
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().expect("the folder is there").next().is_none()
}

/// The counts of one object in one comparison.
fn object<'d>(document: &'d Value, step: &str, when: &str, object: &str) -> &'d Value {
    let found = |list: &'d Value, field: &str, value: &str| {
        list.as_array()
            .and_then(|list| list.iter().find(|one| one[field] == value))
            .unwrap_or_else(|| panic!("there is `{value}` in {document:#}"))
    };
    let step = found(&document["steps"], "name", step);
    found(&found(&step["comparisons"], "when", when)["objects"], "object", object)
}

fn story(folder: &Path) -> Finished {
    spawn(folder, &["--format", "json", "demo"]).wait(STORY)
}

#[test]
fn the_story_ends_with_everything_equal_and_every_fault_played() {
    let folder = tempfile::tempdir().unwrap();
    let document = story(folder.path()).expect_code(0).json();
    assert_eq!(document["is_equal"], true, "{document:#}");
    assert_eq!(document["problems"], Value::Array(Vec::new()), "{document:#}");
    let steps: Vec<&Value> =
        document["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps, ["first", "change", "stop", "kill"]);
    let faults = document["destination"]["faults"].as_object().unwrap();
    assert_eq!(faults.len(), 6);
    for (fault, played) in faults {
        assert!(played.as_u64() > Some(0), "{fault}: {document:#}");
    }
    assert!(document["destination"]["absorbed"].as_u64() > Some(0), "{document:#}");
    assert!(is_empty(folder.path()), "the demo's folder is gone");

    // What was interrupted is seen to differ, and each step mends it.
    let orders = |step, when| object(&document, step, when, "orders");
    assert_eq!(orders("first", "after the first runs")["missing"], 1);
    let lost = orders("stop", "after the loss")["missing"].as_u64();
    let left = orders("stop", "after the stop")["missing"].as_u64();
    assert!(lost > left && left > Some(0), "{document:#}");
    let killed = object(&document, "kill", "after the kill", "customers");
    assert!(killed["extra"].as_u64() > Some(0) && killed["stale"].as_u64() > Some(0));
    for (step, when) in [
        ("change", "after the incremental runs"),
        ("stop", "after the resumed run"),
        ("kill", "after the recovery"),
    ] {
        for name in ["customers", "orders", "airlines", "flights"] {
            let one = object(&document, step, when, name);
            assert_eq!(one["equal"], one["source"], "{step}: {one:#}");
            assert_eq!(
                (&one["missing"], &one["extra"], &one["stale"]),
                (&0.into(), &0.into(), &0.into())
            );
        }
    }
}

#[test]
fn an_interrupted_story_leaves_no_folder_behind_and_prints_no_colour_in_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(folder.path(), &["demo", "--seed", "7"]);
    let begun = Instant::now();
    let is_running = || {
        let entries = folder.path().read_dir().expect("the folder is there").flatten();
        entries.map(|entry| entry.path()).any(|demo| demo.join("counterflow-state").is_dir())
    };
    while !is_running() {
        assert!(begun.elapsed() < SOON, "the first run does not begin");
        std::thread::yield_now();
    }
    process.sigint();
    let finished = process.wait(SOON).expect_code(130).expect_printed(&["seed 7", "$ counterflow"]);
    assert!(!finished.printed().contains('\u{1b}'), "{finished:#?}");
    assert!(is_empty(folder.path()), "the demo's folder is gone");
}

#[test]
fn the_example_runs_as_it_stands_against_the_destination_alone() {
    let folder = tempfile::tempdir().unwrap();
    // Free a moment ago: nobody else on this machine is given it so soon.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(root.join("config.example.yaml")).unwrap();
    for name in ["fixtures", "sql"] {
        std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
    }
    let config = example.replace("127.0.0.1:8089", &free);
    std::fs::write(folder.path().join("counterflow.yaml"), config).unwrap();

    let destination = spawn(folder.path(), &["demo", "--serve", "--listen", &free]);
    // A sync that comes before it listens tries again.
    for sync in
        ["customers_to_crm", "orders_to_crm", "airlines_to_timetable", "flights_to_timetable"]
    {
        spawn(folder.path(), &["sync", sync]).wait(SOON).expect_code(0);
    }
    destination.sigint();
    destination.wait(SOON).expect_code(130).expect_printed(&[
        "276 customers",
        "1000 orders",
        "16 airlines",
        "503 flights",
    ]);
}

#[test]
fn a_place_where_no_folder_can_be_made_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let temporary = nowhere.to_str().expect("a temporary folder has a plain name");
    Process::spawn(folder.path(), &["demo"], &[("TMPDIR", temporary)])
        .wait(SOON)
        .expect_code(1)
        .expect_printed(&[temporary, "`TMPDIR`"]);
}

#[test]
fn the_destination_listens_on_loopback_only() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "192.0.2.1:8089", "[::]:0"] {
        spawn(folder.path(), &["demo", "--serve", "--listen", address])
            .wait(SOON)
            .expect_code(2)
            .expect_printed(&[address, "loopback"]);
    }
    spawn(folder.path(), &["demo", "--listen", "127.0.0.1:0"]).wait(SOON).expect_code(2);
}
