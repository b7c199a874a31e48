//! D1 and D2. Two processes on one state, and a process that is stopped by the machine in the middle of a request.

use std::time::Duration;

use super::{Scenario, is_exhaustive};
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::people;
use crate::support::process::{Finished, Process};
use crate::support::workspace::Setup;
use crate::support::{SOON, TOKEN};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "D1",
        "a second process on one state is refused, by whatever path it comes",
        second_process,
    ),
    Scenario::new("D1", "of many processes that begin at once one goes on at a time", at_once),
    Scenario::new(
        "D1",
        "the lock of a process that was killed stands in nobody's way",
        killed_holder,
    ),
    Scenario::new("D2", "a process that is stopped for a while mid-request loses nothing", stopped),
];

fn setup() -> Setup {
    Setup { batch: 3, concurrency: 1, request_timeout: Some("1s"), ..Setup::default() }
}

/// Runs a command on another config file of the workspace.
fn run_on(case: &Case, config: &str, args: &[&str]) -> Finished {
    let all = [&["--config", config, "--format", "json"], args].concat();
    let process = Process::spawn(case.workspace.path(), &all, &[("TOKEN", TOKEN)]);
    case.workspace.end(process, SOON)
}

fn second_process(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { request_timeout: None, ..setup() });
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(3..=15));
    let before = case.oracle.request_count();
    case.oracle.on_next(Fault::Hold);
    let holder = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 1, SOON);
    let pid = format!("(pid {})", holder.process.id());
    let folder = case.workspace.path().to_path_buf();
    std::os::unix::fs::symlink("state", folder.join("link")).expect("a link can be made");
    std::os::unix::fs::symlink(&folder, folder.join("here")).expect("a link can be made");
    let absolute = folder.join("state");
    let absolute = absolute.to_str().expect("the paths of the kit are plain");
    let paths = ["./state", "state/", "./link", "./here/state", "here/./link/.", absolute];
    for path in paths {
        let config = case.workspace.config().replacen("./state", path, 1);
        case.workspace.write("other.yaml", &config);
        for command in [
            &["sync", "people"][..],
            &["sync", "people", "--full"],
            &["serve"],
            &["release", "1", "-m", "why"],
            &["rebaseline", "people", "-m", "why", "--yes"],
        ] {
            let refused = run_on(&case, "other.yaml", command);
            let went_on = refused.code != Some(5);
            assert!(!went_on, "a second process went on: {refused:#?}\n{}", case.print());
            refused.expect_printed(&["another process", &pid, "works on"]);
        }
        for command in [&["status"][..], &["runs"], &["explain", "people", "7"]] {
            run_on(&case, "other.yaml", command).expect_code(0);
        }
    }
    assert_eq!(case.oracle.request_count(), before + 1, "{}", case.print());
    let stopping = case.workspace.spawn(&["stop", "people", "--yes"]);
    case.workspace.wait_for_run(|run| run["phase"] == "draining");
    case.oracle.release();
    case.end(holder).expect_code(6);
    case.workspace.end(stopping, SOON).expect_code(0);
    case.judge();
}

fn at_once(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { request_timeout: None, ..setup() });
    let (mut done, mut refused) = (0, 0);
    for round in 1..=4 {
        case.write(&people(1..=10 * round));
        let slow = Fault::SlowAnswer(Duration::from_millis(100));
        (0..2).for_each(|_| case.oracle.on_next(slow.clone()));
        let started: Vec<_> = (0..4).map(|_| case.spawn(&[])).collect();
        for one in started {
            match case.end(one).code {
                Some(0) => done += 1,
                Some(5) => refused += 1,
                other => panic!("{other:?}\n{}", case.print()),
            }
        }
    }
    assert!(done >= 4 && refused > 0, "{done} were done, {refused} were refused");
    let reports = case.workspace.json(&["runs", "--limit", "500"]);
    let runs = reports.as_array().map_or(0, Vec::len);
    assert_eq!(runs, done, "who is refused begins no run: {reports:#}");
    case.judge();
}

fn killed_holder(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { request_timeout: None, ..setup() });
    case.write(&people(1..=12));
    case.oracle.on_next(Fault::ApplyThenHold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(1, SOON);
    case.kill(started);
    let lock = case.workspace.state().join("lock");
    assert!(lock.exists(), "a kill leaves the file");
    case.sync(&[]).expect(0, "succeeded", &[]);
    // The number of a process that lives and is another one.
    for left in [format!("{}\n", std::process::id()), "1\n".to_owned(), "garbage".to_owned()] {
        std::fs::write(&lock, &left).expect("the file can be written");
        case.sync(&[]).expect(0, "succeeded", &[]);
    }
    case.judge();
}

fn stopped(scenario: &Scenario) {
    // Shorter and longer than the request may take.
    let mut times = vec![Duration::from_millis(300), Duration::from_secs(3)];
    if is_exhaustive() {
        times.push(Duration::from_secs(60));
    }
    for time in times {
        for fault in
            [Fault::ApplyThenHold, Fault::Hold, Fault::SlowPieces(5, Duration::from_millis(60))]
        {
            let mut case = Case::new(&scenario.replay(), setup());
            case.write(&people(1..=12));
            case.sync(&[]).expect(0, "succeeded", &[]);
            case.write(&people(3..=20));
            let before = case.oracle.request_count();
            case.oracle.on_request(before + 2, fault.clone());
            let started = case.spawn(&[]);
            case.oracle.wait_for_requests(before + 2, SOON);
            started.process.signal("STOP");
            case.say(format!("SIGSTOP for {time:?}, {fault:?}"));
            // Not a wait: how long the process is stopped.
            std::thread::sleep(time / 2);
            case.oracle.release();
            std::thread::sleep(time / 2);
            started.process.signal("CONT");
            let finished = case.end(started);
            assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}\n{}", case.print());
            case.judge();
        }
    }
}
