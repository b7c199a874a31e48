//! Segments of a snapshot are merged behind a run, or before one where all were stopped; whatever becomes of that is no run's
//! fault.

use crate::support::SOON;
use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, keys, people};
use crate::support::server::{Server, until};
use crate::support::workspace::{Setup, Workspace};

/// Runs whose commits each leave a segment, until one more has to merge them.
const RUNS: u32 = 8;

fn segments(workspace: &Workspace) -> usize {
    let folder = workspace.state().join("snapshots/people");
    let names = std::fs::read_dir(folder).expect("it is there").flatten();
    let is_segment = |name: &str| name.starts_with("segment-");
    names.filter(|entry| entry.file_name().to_str().is_some_and(is_segment)).count()
}

#[test]
fn segments_that_cannot_be_merged_are_a_warning_and_the_run_says_what_it_came_to_all_the_same() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup::default());
    for run in 1..=RUNS {
        workspace.write_people(&people(1..=run));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    }
    assert_eq!(segments(&workspace), 8);
    // The next commit writes segment 9, and a file of this name cannot be made.
    let in_its_way = workspace.state().join("snapshots/people/segment-10");
    std::fs::create_dir(&in_its_way).expect("it is not there yet");
    oracle.always(Fault::RejectKeys(keys([10]), "invalid_email".into()));
    workspace.write_people(&people(1..=RUNS + 2));
    let report = workspace.sync(&[]).expect(3, "partial", &[("delivered", 1), ("rejected", 1)]);
    report.finished.expect_printed(&["could not be made smaller", "segment-10"]);
    workspace.run(&["rejected", "people"]).expect_code(0).expect_printed(&["10", "invalid_email"]);
    std::fs::remove_dir(&in_its_way).expect("it is empty");
    assert_eq!(segments(&workspace), 9);
    workspace.sync(&[]).expect(3, "partial", &[("deferred", 1), ("requests", 0)]);
    assert_eq!(segments(&workspace), 1, "the next run merges them");
    oracle.clear_faults();
    workspace.sync(&["--full"]).expect(0, "succeeded", &[("delivered", 10)]);
    check_mirror(&oracle, &expected(&people(1..=RUNS + 2)));
}

#[test]
fn segments_are_merged_before_a_run_where_every_one_is_stopped() {
    let oracle = Oracle::start(&["id"]);
    let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..Setup::default() });
    let mut left = Vec::new();
    for run in 1..=2 * RUNS + 2 {
        workspace.write_people(&people(1..=run));
        let before = oracle.request_count();
        oracle.on_next(Fault::Hold);
        let process = workspace.spawn_sync(&[]);
        oracle.wait_for_requests(before + 1, SOON);
        process.sigterm();
        workspace.wait_for_run(|run| run["phase"] == "draining");
        oracle.release();
        workspace.report(process).expect(143, "cancelled", &[("delivered", 1)]);
        left.push(segments(&workspace));
    }
    assert_eq!(left[15..], [16, 17, 2], "{left:?}");
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    check_mirror(&oracle, &expected(&people(1..=2 * RUNS + 2)));
}

#[test]
fn a_server_merges_segments_behind_a_run_that_has_ended() {
    let oracle = Oracle::start(&["id"]);
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let sync = "schedule: { cron: \"30 3 29 2 *\" }";
    let workspace = Workspace::new(&oracle, Setup { head, sync, ..Setup::default() });
    let server = Server::start(&workspace);
    for run in 1..=RUNS + 1 {
        workspace.write_people(&people(1..=run));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    }
    until("what the runs left is merged", || (segments(&workspace) == 1).then_some(()));
    server.end().expect_code(0);
    workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    check_mirror(&oracle, &expected(&people(1..=RUNS + 1)));
}
