//! How a read ends, and what it leaves of its source: all of one state, or nothing that is believed; and nothing else.

use std::time::Instant;

use super::place::{AT_ONCE, Changed, FREED, New, Part, Place, workspace};
use crate::shared::wait_until;
use crate::stores::{assert_holds, of_age};
use crate::support::SOON;
use crate::support::oracle::Oracle;
use crate::support::workspace::Setup;

fn setup() -> Setup {
    Setup { batch: 100, ..Setup::default() }
}

/// A stop of a read that hangs ends it at once, its server has nothing to do for it any more, and the next run goes on.
pub fn cancel(new: &New<'_>) {
    let place = new();
    let all = of_age(1..=300, 0);
    place.put(&all);
    let mut way = 0;
    while let Some(hang) = place.hang(way) {
        way += 1;
        let how = hang.how;
        let oracle = Oracle::start(&["id"]);
        let workspace = workspace(&oracle, &*place, setup());
        let usual = workspace.config_now();
        if let Some(sql) = &hang.sql {
            workspace.write("counterflow.yaml", &usual.replace(&place.sql(), sql));
        }
        let named: Vec<_> =
            hang.environment.iter().map(|(name, it)| (*name, it.as_str())).collect();
        let process = workspace.spawn_with(&["sync", "people"], &named);
        wait_until(|| (hang.is_reached)(), how);
        process.sigterm();
        let told = Instant::now();
        loop {
            // A look takes a while itself.
            let looked = told.elapsed();
            if (hang.is_over)() {
                break;
            }
            assert!(looked < FREED, "{how}: it goes on after the stop");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let ended = workspace.end(process, SOON);
        assert!(told.elapsed() < AT_ONCE, "{how}: it ended after {:?}", told.elapsed());
        assert_eq!(ended.code, Some(143), "{how}: {}", ended.printed());
        drop(hang);
        assert!(place.mend(), "{how}: it did not hang");
        workspace.write("counterflow.yaml", &usual);
        let next =
            workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 300), ("deletes", 0)]);
        assert_eq!(next.word("kind"), "full", "I11, {how}");
        assert_holds(&oracle, &all);
    }
    assert!(way > 0, "nothing hung");
}

pub fn midway(new: &New<'_>) {
    breaks(new, Part::Middle);
}

pub fn proof(new: &New<'_>) {
    breaks(new, Part::End);
}

/// A destination holds 400 people of whom the source has half: a run that believes what it read of them deletes.
fn breaks(new: &New<'_>, part: Part) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    place.put(&of_age(1..=400, 0));
    let workspace = workspace(&oracle, &*place, setup());
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 400)]);
    let next = of_age(1..=200, 1);
    place.put(&next);
    // How much there is to read is seen by a whole read that sends nothing.
    workspace.run(&["plan", "people"]).expect_code(0);
    let mut way = 0;
    while let Some(broken) = place.break_at(part, way, &next) {
        way += 1;
        let how = &broken.how;
        let ended = workspace.run(&["sync", "people"]);
        assert!(oracle.deletes().is_empty(), "{how} was believed\n{}", ended.printed());
        assert_eq!(ended.code, Some(broken.code), "{how}: {}", ended.printed());
        assert_eq!(oracle.table().len(), 400, "{how}");
        for word in &broken.words {
            assert!(ended.printed().contains(word), "{how}: no `{word}`: {}", ended.printed());
        }
        assert!(place.mend(), "{how}: it did not break");
    }
    assert!(way > 0, "nothing broke");
    place.put(&next);
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 200), ("held", 0)]);
    assert_holds(&oracle, &next);
}

/// Whatever reads, and whatever a model asks for, leaves the source as it is.
pub fn read_only(new: &New<'_>) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    let all = of_age(1..=50, 0);
    place.put(&all);
    let before = place.state();
    let workspace = workspace(&oracle, &*place, setup());
    for line in [
        &["validate", "--sources"][..],
        &["doctor", "lake"],
        &["plan", "people"],
        &["sync", "people"],
        &["sample", "people", "--limit", "3"],
        &["sync", "people", "--full"],
    ] {
        workspace.run(line).expect_code(0);
        assert_eq!(place.state(), before, "{line:?} wrote to its source");
    }
    assert_holds(&oracle, &all);
    let usual = workspace.config_now();
    for (sql, words) in place.writes() {
        let said = format!("sql: {}", serde_json::json!(sql));
        let plain = format!("sql: \"{}\"", place.sql());
        assert!(usual.contains(&plain), "{usual}");
        workspace.write("counterflow.yaml", &usual.replace(&plain, &said));
        let refused = workspace.run(&["sync", "people"]);
        assert_eq!(place.state(), before, "`{sql}` was carried out");
        assert_ne!(refused.code, Some(0), "`{sql}` was taken");
        assert!(refused.printed().contains(words), "{sql}: no `{words}`: {}", refused.printed());
    }
    assert_holds(&oracle, &all);
}

/// A table that becomes another while it is read: the run has read one state, or has failed; the next one is right.
pub fn change(new: &New<'_>) {
    let (first, second) = (of_age(1..=300, 1), of_age(1..=200, 2));
    let more = of_age(1..=400, 3);
    let (oracle, place) = (Oracle::start(&["id"]), new());
    place.put(&of_age(1..=300, 0));
    let workspace = workspace(&oracle, &*place, setup());
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 300)]);
    // Other rows, and more of them, behind the first rows of a read.
    for (before, after) in [(&first, &second), (&second, &more)] {
        place.put(before);
        place.count_looks_anew();
        let (age, next) = (before[0].counter, after[0].counter);
        let known = oracle.table().len();
        let held = workspace.path().join("held");
        let point = format!("rows_taken:1:{}", held.display());
        let args = ["--format", "json", "sync", "people"];
        let process = workspace.spawn_with(&args, &[("COUNTERFLOW_HOLD_AT", &point)]);
        wait_until(|| held.exists(), "rows were taken");
        place.put(after);
        std::fs::remove_file(&held).expect("it was just there");
        let ended = workspace.end(process, SOON);
        let table = oracle.table();
        let has = |counter: u32| table.values().any(|record| record["counter"] == counter);
        assert!(!has(next), "of age {next}: rows of two states\n{}", ended.printed());
        match (place.changed(), ended.code) {
            (Changed::OneState | Changed::Either, Some(0)) => {
                assert_holds(&oracle, before);
            }
            (Changed::Fails | Changed::Either, Some(1)) => {
                assert_eq!(table.len(), known, "of age {age}: something was deleted");
            }
            _ => panic!("of age {age}: {}", ended.printed()),
        }
        workspace.sync(&[]).expect(
            0,
            "succeeded",
            &[("held", 0), ("rows_read", after.len() as u64)],
        );
        assert_holds(&oracle, after);
    }
    mixed(&*place, &oracle, &workspace);
}

/// As [`change`], where a read looks at the table more than once: between the looks.
fn mixed(place: &dyn Place, oracle: &Oracle, workspace: &crate::support::workspace::Workspace) {
    // As many rows as there are then, so that no length tells.
    let (first, second) = (of_age(1..=400, 4), of_age(1..=399, 5));
    place.put(&first);
    place.count_looks_anew();
    workspace.sync(&[]).expect(0, "succeeded", &[("rows_read", 400)]);
    if !place.change_before_the_last_look(&second) {
        return;
    }
    place.put(&of_age(1..=399, 6));
    let ended = workspace.run(&["sync", "people"]);
    let table = oracle.table();
    assert!(!table.values().any(|record| record["counter"] == 5), "rows of two states were sent");
    assert_eq!(table.len(), 400, "something was deleted");
    assert!(place.mend(), "it never changed");
    ended.expect_code(1).expect_printed(&["changed during the read"]);
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 399), ("deletes", 1)]);
    assert_holds(oracle, &second);
}
