//! What a first run that never ended proven leaves to judge by, and what people decide about held deletes.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::check::{check_covered, check_mirror};
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv, expected, key, keys, people};
use crate::support::workspace::{Report, Setup, Workspace};
use crate::support::{NEXT_TOKEN, SOON};

/// A first run over `files`, stopped in its middle: some of the rows are delivered, and no run ever ended proven.
fn stopped(oracle: &Oracle, setup: Setup, files: &[(&str, &[Person])]) -> Workspace {
    let setup = Setup { concurrency: 1, max_deletes: Some("100%"), ..setup };
    let workspace = Workspace::new(oracle, setup);
    files.iter().for_each(|(name, people)| workspace.write(name, &csv(people)));
    oracle.on_request(3, Fault::Hold);
    let process = workspace.spawn_sync(&[]);
    oracle.wait_for_requests(3, SOON);
    process.sigterm();
    workspace.wait_for_run(|run| run["phase"] == "draining");
    oracle.release();
    let report = workspace.report(process).expect(143, "cancelled", &[("delivered", 30)]);
    assert!(report.count("unsent") > 0, "it was in its middle: {report:#?}");
    workspace
}

/// The next run holds these deletes for the cause with this name, and the one after it too.
#[track_caller]
fn holds(oracle: &Oracle, workspace: &Workspace, gone: &BTreeSet<String>, cause: &str) {
    for _ in 0..2 {
        let report = workspace.sync(&[]);
        let held = gone.len() as u64;
        let report = report.expect(4, "partial", &[("held", held), ("deleted", 0), ("unsent", 0)]);
        let causes = report.json["holds"].as_array().cloned().unwrap_or_default();
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert!(causes[0].to_string().contains(cause), "{causes:?}");
    }
    assert!(oracle.deletes().is_empty(), "I5\n{}", oracle.print());
    assert!(gone.iter().all(|key| oracle.record(key).is_some()), "{}", oracle.print());
}

/// The keys that the destination has, of these.
fn delivered(oracle: &Oracle, of: &[Person]) -> BTreeSet<String> {
    of.iter().map(|person| person.key()).filter(|key| oracle.record(key).is_some()).collect()
}

/// All but two persons whom the stopped run had delivered; and the keys of those two.
fn without_two(oracle: &Oracle, all: &[Person]) -> (Vec<Person>, BTreeSet<String>) {
    let gone: BTreeSet<String> = delivered(oracle, all).into_iter().take(2).collect();
    (all.iter().copied().filter(|person| !gone.contains(&person.key())).collect(), gone)
}

#[test]
fn a_mode_that_became_mirror_after_a_stopped_first_run_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { mode: "upsert", ..Setup::default() };
    let mut workspace = stopped(&oracle, setup, &[("people.csv", &people(1..=60))]);
    let (left, gone) = without_two(&oracle, &people(1..=60));
    workspace.write_people(&left);
    workspace.change(|setup| setup.mode = "mirror");
    holds(&oracle, &workspace, &gone, "the mode");
    check_covered(&oracle, &expected(&left));
}

#[test]
fn a_query_edited_after_a_stopped_first_run_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = stopped(&oracle, Setup::default(), &[("people.csv", &people(1..=60))]);
    let (left, gone) = without_two(&oracle, &people(1..=60));
    let ids: Vec<String> = left.iter().map(|person| person.id.to_string()).collect();
    workspace.change(|setup| {
        setup.sql = format!("SELECT * FROM people WHERE id IN ({})", ids.join(", "));
    });
    holds(&oracle, &workspace, &gone, "the model's SQL");
}

#[test]
fn a_file_that_vanished_after_a_stopped_first_run_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let parts = [("part-1.csv", people(1..=60)), ("part-2.csv", people(101..=160))];
    let setup = Setup { location: "part-*.csv".into(), ..Setup::default() };
    let files: Vec<_> = parts.iter().map(|(name, people)| (*name, people.as_slice())).collect();
    let workspace = stopped(&oracle, setup, &files);
    let has_delivered = |(_, people): &&(&str, Vec<Person>)| !delivered(&oracle, people).is_empty();
    let (name, vanished) = parts.iter().find(has_delivered).expect("30 rows were delivered");
    std::fs::remove_file(workspace.path().join(name)).expect("the file is there");
    let gone = delivered(&oracle, vanished);
    holds(&oracle, &workspace, &gone, "vanished_files");
}

#[test]
fn a_secret_that_changed_after_a_stopped_first_run_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let mut workspace = stopped(&oracle, Setup::default(), &[("people.csv", &people(1..=60))]);
    let (left, gone) = without_two(&oracle, &people(1..=60));
    workspace.write_people(&left);
    workspace.change(|setup| setup.token = NEXT_TOKEN);
    holds(&oracle, &workspace, &gone, "credentials_changed");
}

#[test]
fn what_is_gone_after_a_stopped_first_run_is_deleted_where_nothing_else_changed() {
    let oracle = Oracle::start(&["id"]);
    let workspace = stopped(&oracle, Setup::default(), &[("people.csv", &people(1..=60))]);
    let (left, gone) = without_two(&oracle, &people(1..=60));
    workspace.write_people(&left);
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 2)]);
    oracle.assert_deletes_only(&gone);
    check_covered(&oracle, &expected(&left));
}

#[test]
fn an_empty_read_after_a_stopped_first_run_holds_the_deletes() {
    let oracle = Oracle::start(&["id"]);
    let workspace = stopped(&oracle, Setup::default(), &[("people.csv", &people(1..=60))]);
    let gone = delivered(&oracle, &people(1..=60));
    workspace.write_people(&[]);
    holds(&oracle, &workspace, &gone, "empty_read");
}

/// A mirror of 30 persons that may delete nothing without a yes, of which these are gone; the run that held them.
fn held(oracle: &Oracle, gone: std::ops::RangeInclusive<u32>) -> (Workspace, Report) {
    let workspace = Workspace::new(oracle, Setup { max_deletes: Some("0"), ..Setup::default() });
    workspace.write_people(&people(1..=30));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    let count = gone.clone().count() as u64;
    workspace.write_people(&people((1..=30).filter(|id| !gone.contains(id))));
    let report = workspace.sync(&[]).expect(4, "partial", &[("held", count)]);
    (workspace, report)
}

#[test]
fn a_release_ends_with_its_deletes_though_other_records_are_refused() {
    let oracle = Oracle::start(&["id"]);
    let (mut workspace, report) = held(&oracle, 1..=5);
    let with = |counter, last| {
        let changed = |mut person: Person| {
            person.counter = if person.id == 20 { counter } else { person.counter };
            person
        };
        people(6..=last).into_iter().map(changed).collect::<Vec<_>>()
    };
    let refused = Fault::RejectKeys(keys([20]), "422".into());
    workspace.write_people(&with(2, 30));
    oracle.always(refused);
    let run = report.json["run"].to_string();
    workspace.run(&["release", &run, "-m", "they left"]).expect_code(3);
    oracle.assert_deletes_only(&keys(1..=5));
    // That a file ends within a line is no longer said yes to.
    workspace.change(|setup| setup.max_deletes = Some("50%"));
    let cut = |people: &[Person]| csv(people).trim_end().to_owned();
    workspace.write("people.csv", &cut(&with(3, 30)));
    workspace.sync(&[]).expect(3, "partial", &[("deletes", 0), ("rejected", 1)]);
    workspace.write("people.csv", &cut(&with(4, 28)));
    let report = workspace.sync(&[]).expect(4, "partial", &[("held", 2), ("deleted", 0)]);
    assert!(report.json["holds"].to_string().contains("ends within a line"), "{report:#?}");
}

#[test]
fn a_release_does_not_delete_a_key_that_was_back_and_left_again() {
    for refusal in [Some(Fault::RejectKeys(keys([5]), "422".into())), None] {
        let oracle = Oracle::start(&["id"]);
        let (workspace, report) = held(&oracle, 1..=10);
        let mut back = vec![Person::new(5, 2)];
        back.extend(people(11..=30));
        workspace.write_people(&back);
        if let Some(refusal) = refusal {
            oracle.always(refusal);
            workspace.sync(&[]).expect(4, "partial", &[("held", 9), ("rejected", 1)]);
            oracle.clear_faults();
        } else {
            workspace.sync(&[]).expect(4, "partial", &[("held", 9), ("delivered", 1)]);
        }
        workspace.write_people(&people(11..=30));
        let released = workspace.run(&["release", &report.run(), "-m", "the trials ended"]);
        assert_eq!(released.code, Some(4), "key 5 is held anew: {released:#?}");
        assert_eq!(oracle.deletes(), keys([1, 2, 3, 4, 6, 7, 8, 9, 10]), "{}", oracle.print());
        let again = workspace.sync(&[]).expect(4, "partial", &[("held", 1)]);
        workspace.run(&["release", &again.run(), "-m", "this one too"]).expect_code(0);
        assert_eq!(oracle.deletes(), keys(1..=10), "{}", oracle.print());
    }
}

#[test]
fn a_hold_that_goes_on_writes_nothing_of_its_keys_and_any_of_its_runs_may_be_released() {
    for released in ["2", "3", "4"] {
        let oracle = Oracle::start(&["id"]);
        let (workspace, report) = held(&oracle, 1..=5);
        assert_eq!(report.run(), "2");
        let segments = || {
            let folder = workspace.state().join("snapshots").join("people");
            let files = std::fs::read_dir(folder).expect("there is a snapshot");
            let names = files.map(|file| file.expect("a file").file_name().into_string());
            let is_segment = |name: &String| name.starts_with("segment");
            let names = names.map(|name| name.expect("ASCII")).filter(is_segment);
            names.collect::<BTreeSet<_>>()
        };
        let before = segments();
        assert!(!before.is_empty());
        workspace.sync(&[]).expect(4, "partial", &[("held", 5)]);
        assert_eq!(segments(), before, "nothing has changed");
        // One more is gone, which is held from the fourth run on alone.
        workspace.write_people(&people(7..=30));
        workspace.sync(&[]).expect(4, "partial", &[("held", 6)]);
        let said = workspace.run(&["explain", "people", "1"]).expect_code(0);
        said.expect_printed(&["from run 2 to run 4"]);
        let whose = |run| if run == "4" { 1..=6 } else { 1..=5 };
        let code = if released == "4" { 0 } else { 4 };
        workspace.run(&["release", released, "-m", "they left"]).expect_code(code);
        assert_eq!(oracle.deletes(), keys(whose(released)), "{released}\n{}", oracle.print());
        // What is held still is by the run that released the others, and not by those that did before it held them.
        if code == 4 {
            workspace.run(&["release", "3", "-m", "again"]).expect_code(1);
            workspace.run(&["discard", "5", "-m", "it lives on", "--yes"]).expect_code(0);
            workspace.sync(&[]).expect(0, "succeeded", &[("held", 0), ("deletes", 0)]);
        }
    }
}

#[test]
fn a_discard_that_is_killed_while_it_is_written_leaves_no_hold_behind() {
    let oracle = Oracle::start(&["id"]);
    let (mut workspace, report) = held(&oracle, 1..=3);
    workspace.setup.environment.push(("COUNTERFLOW_END_AT", "commit_begun:1".to_owned()));
    let discard = ["discard", &report.run(), "-m", "they live on", "--yes"];
    assert!(workspace.run(&discard).signal.is_some());
    workspace.setup.environment.clear();
    // Whoever opens the snapshot next carries it out, though the run comes to nothing.
    std::fs::remove_file(workspace.path().join("people.csv")).expect("the file is there");
    workspace.sync(&[]).expect(1, "failed", &[]);
    assert!(workspace.status()["hold"].is_null(), "{:#}", workspace.status());
}

#[test]
fn a_decision_about_a_run_that_held_nothing_is_refused_and_names_where_to_look() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, report) = held(&oracle, 1..=3);
    let requests = oracle.request_count();
    for (run, code, words) in
        [("1", 1, "`counterflow status people`"), ("99", 2, "`counterflow runs`")]
    {
        let release = ["release", run, "-m", "a slip of the hand"];
        workspace.run(&release).expect_code(code).expect_printed(&[words]);
        let discard = ["discard", run, "-m", "a slip of the hand", "--yes"];
        workspace.run(&discard).expect_code(code).expect_printed(&[words]);
    }
    assert_eq!(oracle.request_count(), requests, "nothing began\n{}", oracle.print());
    assert_eq!(workspace.status()["hold"]["keys"], json!(3));
    workspace.run(&["release", &report.run(), "-m", "now the right one"]).expect_code(0);
    assert_eq!(oracle.deletes(), keys(1..=3), "{}", oracle.print());
}

#[test]
fn a_discard_leaves_the_keys_that_other_runs_held() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, first) = held(&oracle, 1..=4);
    workspace.write_people(&people(7..=30));
    let second = workspace.sync(&[]).expect(4, "partial", &[("held", 6)]);
    workspace.run(&["discard", &first.run(), "-m", "they live on", "--yes"]).expect_code(0);
    let hold = workspace.status()["hold"].clone();
    assert_eq!((&hold["keys"], &hold["run"]), (&json!(2), &second.json["run"]), "{hold}");
    workspace.sync(&[]).expect(4, "partial", &[("held", 2), ("deletes", 2)]);
    workspace.run(&["discard", &first.run(), "-m", "again", "--yes"]).expect_code(1);
    workspace.run(&["release", &second.run(), "-m", "gone for good"]).expect_code(0);
    assert_eq!(oracle.deletes(), keys(5..=6), "{}", oracle.print());
    assert!(workspace.status()["hold"].is_null());
    assert!(oracle.record(&key(1)).is_some());
}

#[test]
fn a_paused_sync_makes_no_released_delete_and_an_untaken_decision_is_not_audited_a4() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { max_deletes: None, ..Setup::default() });
    workspace.write_people(&people(1..=40));
    workspace.sync(&[]).expect(0, "succeeded", &[]);
    workspace.write_people(&people(1..=20));
    let held = workspace.sync(&[]).expect(4, "partial", &[("held", 20)]);
    let open = workspace.config();
    workspace.write("counterflow.yaml", &open.replace("    mode:", "    paused: true\n    mode:"));
    let release = ["release", &held.run(), "-m", "yes"];
    workspace.run(&release).expect_code(2).expect_printed(&["`people` is paused"]);
    assert!(oracle.deletes().is_empty(), "{}", oracle.print());
    workspace.write_config();
    workspace.run(&release).expect_code(0);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn a_release_stands_over_a_kill_and_a_failed_read_until_its_keys_are_deleted() {
    let oracle = Oracle::start(&["id"]);
    let (workspace, report) = held(&oracle, 1..=20);
    let release = ["release", &report.run(), "-m", "the trials ended"];
    let before = oracle.request_count();
    oracle.on_next(Fault::ApplyThenHold);
    oracle.on_next(Fault::ApplyThenHold);
    let process = workspace.spawn(&release);
    oracle.wait_for_requests(before + 2, SOON);
    process.kill();
    oracle.wait_until(SOON, |journal| journal.requests.iter().all(|request| !request.is_open));
    // One that was released is back, two that nobody has released are gone.
    let mut left = people([3]);
    left.extend(people(23..=30));
    std::fs::remove_file(workspace.path().join("people.csv")).expect("the file is there");
    workspace.sync(&[]).expect(1, "failed", &[]);
    workspace.write_people(&left);
    workspace.sync(&[]).expect(4, "partial", &[("deleted", 19), ("held", 2), ("upserts", 1)]);
    oracle.assert_deletes_only(&keys(1..=20));
    let mut wanted = people([3]);
    wanted.extend(people(21..=30));
    check_mirror(&oracle, &expected(&wanted));
    // It is done: a key of it that leaves again is held again.
    workspace.write_people(&people(23..=30));
    workspace.sync(&[]).expect(4, "partial", &[("deleted", 0), ("held", 3)]);
}
