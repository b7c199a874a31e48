//! What the documentation promises has the tests that it names, and the files that it hands out.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("it is there")
}

/// The text of all files of a folder, with lines joined.
fn all(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("it is there").flatten();
    let text = |entry: std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => all(&path),
        path if path.extension().is_some_and(|end| end == "rs") => {
            std::fs::read_to_string(path).expect("it can be read")
        }
        _ => String::new(),
    };
    entries.map(text).collect()
}

#[test]
fn every_recovery_scenario_of_the_documentation_names_a_test_that_is_there() {
    let page = text("docs/operations.md");
    let table = page.split("## Recovery scenarios").nth(1).expect("the section is there");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 20, "{}", rows.len());
    assert_tests_are_there(&rows);
}

/// Each row names tests in its last column, and all of them are scenarios of the catalogue or tests of behaviour.
#[track_caller]
fn assert_tests_are_there(rows: &[&str]) {
    let scenarios = all(&root().join("tests/faults")) + &all(&root().join("tests/sources"));
    let tests = all(&root().join("tests/behaviour"));
    for row in rows {
        let shown = row.trim_end_matches('|').rsplit('|').next().expect("a last column");
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {row}");
        for name in names {
            let is_there = scenarios.contains(&format!("\"{name}\""))
                || tests.contains(&format!("fn {name}("));
            assert!(is_there, "`{name}` is no scenario and no test");
        }
    }
}

#[test]
fn every_behaviour_of_the_documentation_is_there_and_names_a_test_that_is() {
    let page = text("docs/behaviours.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let (heads, rows): (Vec<&str>, Vec<&str>) =
        rows.into_iter().partition(|row| row.starts_with("| row ") || row.starts_with("| rule "));
    let id = |row: &str| row.split('|').nth(1).map(|id| id.trim().to_owned()).unwrap_or_default();
    let found: Vec<String> = rows.iter().map(|row| id(row)).collect();
    let numbered = |letter: char, last: u32| (1..=last).map(move |n| format!("{letter}{n}"));
    let mut wanted: Vec<String> = numbered('A', 10).collect();
    wanted.insert(7, "A7b".to_owned());
    const MORE: [(char, u32); 13] = [
        ('B', 13),
        ('C', 10),
        ('D', 14),
        ('E', 8),
        ('F', 10),
        ('G', 8),
        ('H', 5),
        ('I', 8),
        ('J', 7),
        ('K', 7),
        ('L', 4),
        ('M', 12),
        ('N', 4),
    ];
    for (letter, last) in MORE {
        wanted.extend(numbered(letter, last));
    }
    // The rules of the wire come last.
    wanted.extend((1..=7).map(|rule: u32| rule.to_string()));
    // One table a letter, and that of the wire.
    assert_eq!((found, heads.len()), (wanted, MORE.len() + 2));
    assert_tests_are_there(&rows);
}

#[test]
fn unit_and_image_give_the_drain_its_time_and_run_without_root() {
    let unit = text("deploy/counterflow.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).expect("a number of seconds");
    // The usual `drain_timeout`, and what the end may take beside it.
    assert!(seconds > 30 + 40, "{seconds}");
    for line in
        ["Type=notify", "DynamicUser=yes", "ProtectSystem=strict", "StateDirectory=counterflow"]
    {
        assert!(unit.lines().any(|said| said == line), "`{line}` in the unit");
    }
    let image = text("deploy/Dockerfile");
    for word in [
        "-unknown-linux-musl",
        "USER 10001:10001",
        "HEALTHCHECK",
        "VOLUME [\"/var/lib/counterflow\"]",
        "ENV COUNTERFLOW_CONFIG=/etc/counterflow/counterflow.yaml",
    ] {
        assert!(image.contains(word), "`{word}` in the image");
    }
    assert_eq!(image.matches("VOLUME [").count(), 1);
}

#[test]
fn each_alert_has_a_test_that_sees_it_fire() {
    let (rules, tests) = (text("deploy/alerts.yml"), text("deploy/alerts_test.yml"));
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        let is_seen = tests.split("alertname: ").skip(1).any(|test| {
            test.lines().next() == Some(alert) && test.contains("\n          - exp_labels:")
        });
        assert!(is_seen, "`{alert}` fires in deploy/alerts_test.yml");
    }
}
