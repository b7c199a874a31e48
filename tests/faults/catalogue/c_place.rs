//! C1 and C3. A place that cannot take the state: full, read-only, of a wrong mode, not there, out of descriptors, with
//! files that may not grow. Each ends with a word, and once it is as it was, nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Scenario, is_exhaustive};
use crate::confine::{self, borrowed};
use crate::damage::Copy;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::people;
use crate::support::process::Finished;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "C1",
        "a disk that fills up ends the run with a word wherever it does and loses nothing",
        fills_up,
    )
    .needing(confine::can_mount),
    Scenario::new(
        "C1",
        "a disk without the room for a run ends it before anything is sent",
        too_small,
    )
    .needing(confine::can_mount),
    Scenario::new(
        "C3",
        "a state folder that is read-only ends the run with a word and can still be read",
        read_only,
    )
    .needing(confine::can_mount),
    Scenario::new(
        "C3",
        "files and folders of a wrong mode end the run with a word and lose nothing",
        wrong_modes,
    )
    .needing(confine::can_be_nobody),
    Scenario::new("C3", "a state folder that is taken away under a run loses nothing", taken_away),
    Scenario::new("C3", "a state that cannot be a folder is named", no_folder),
    Scenario::new(
        "C3",
        "too few file descriptors end the run with a word and lose nothing",
        few_descriptors,
    )
    .needing(confine::can_limit),
    Scenario::new(
        "C3",
        "files that may not grow end the run with a word and lose nothing",
        small_files,
    )
    .needing(confine::can_limit),
];

/// What a person can do about a place that cannot be used, in the product's words.
const REMEDIES: [&str; 3] = [
    "make the disk usable again (space, permissions)",
    "check that it exists and its permissions",
    "check the folder's permissions",
];
/// As `REMEDIES`; where so few are left that nothing can be said of the place, the system's word for it.
const DESCRIPTORS: [&str; 4] = [REMEDIES[0], REMEDIES[1], REMEDIES[2], "Too many open files"];

/// A run has been; rows came, changed and went since.
fn changed(scenario: &Scenario) -> Case {
    let setup = Setup { batch: 3, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=60));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let mut next = people(3..=75);
    next.iter_mut().take(40).for_each(|person| person.counter = 2);
    case.write(&next);
    case
}

/// Runs the sync under this command; it ends by itself, and if it failed, with a word that holds one of `words`.
#[track_caller]
fn run_under(case: &mut Case, command: &[String], words: &[&str]) -> Finished {
    let started = case.spawn_under(&borrowed(command), &[], &[]);
    let finished = case.end(started);
    assert!(!finished.stderr.contains("panicked"), "{finished:#?}\n{}", case.print());
    assert_eq!(finished.signal, None, "{finished:#?}\n{}", case.print());
    if finished.code != Some(0) {
        assert!(words.iter().any(|word| finished.printed().contains(word)), "{finished:#?}");
    }
    finished
}

/// The state is moved to a small file system for the run, and back.
const ON_A_SMALL_DISK: &str = "
    mount -t tmpfs -o size=SIZEk,mode=700 small hold || exit 99
    cp -a state/. hold/ 2>/dev/null || exit 98
    mount --bind hold state || exit 99
    \"$@\"; code=$?
    umount state
    rm -rf state.next && cp -a hold state.next && rm -rf state && mv state.next state
    exit $code";

/// A run that is told that there is room enough finds out as it writes.
const ROOMY: (&str, &str) = ("COUNTERFLOW_FREE_DISK", "1000000000000");

fn fills_up(scenario: &Scenario) {
    let (mut full, mut fitted, mut size) = (0, 0, 90);
    while fitted == 0 && size < 2_000 {
        let mut case = changed(scenario);
        std::fs::create_dir(case.workspace.path().join("hold")).expect("a folder can be made");
        let script = ON_A_SMALL_DISK.replace("SIZE", &size.to_string());
        case.say(format!("a disk of {size} KiB"));
        let words = ["make room", "make the disk usable"];
        let command = confine::mounting(&script);
        let before = Copy::of(&case.workspace.state());
        // There and back, the state is a copy that a person has to vouch for.
        let started = case.spawn_under(&borrowed(&command), &["--keep-snapshot"], &[ROOMY]);
        let finished = case.end(started);
        assert!(!finished.stderr.contains("panicked"), "{finished:#?}\n{}", case.print());
        match finished.code {
            Some(0) => fitted += 1,
            // What was there before does not fit.
            Some(98) => before.put_back(),
            Some(1) => {
                full += 1;
                assert!(
                    words.iter().any(|word| finished.printed().contains(word)),
                    "{finished:#?}\n{}",
                    case.print()
                );
            }
            _ => panic!("{finished:#?}\n{}", case.print()),
        }
        case.sync(&["--keep-snapshot"]).expect(0, "succeeded", &[]);
        case.judge();
        size += if is_exhaustive() { 4 } else { 24 };
    }
    assert!(full > 2 && fitted > 0, "{full} disks were too small, {fitted} were not");
}

fn too_small(scenario: &Scenario) {
    let mut case = changed(scenario);
    std::fs::create_dir(case.workspace.path().join("hold")).expect("a folder can be made");
    let command = confine::mounting(&ON_A_SMALL_DISK.replace("SIZE", "40960"));
    let before = case.oracle.request_count();
    let started = case.spawn_under(&borrowed(&command), &["--keep-snapshot"], &[]);
    let finished = case.end(started);
    let sent = case.oracle.request_count() - before;
    assert_eq!(sent, 0, "requests left on a disk without room: {finished:#?}\n{}", case.print());
    let finished = finished.expect_code(1);
    finished.expect_printed(&["/state/snapshots/people` has 3", "needs 64 MiB", "make room"]);
    case.sync(&["--keep-snapshot"]).expect(0, "succeeded", &[]);
    case.judge();
}

fn read_only(scenario: &Scenario) {
    for folder in ["state", "state/snapshots", "state/snapshots/people"] {
        let mut case = changed(scenario);
        let script = format!(
            "mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && \"$@\""
        );
        let command = confine::mounting(&script);
        let finished = run_under(&mut case, &command, &REMEDIES).expect_code(1);
        let is_named = ["/state", "`journal-2`"].iter().any(|at| finished.printed().contains(at));
        assert!(is_named, "the place is named: {finished:#?}");
        for asked in [&["status"][..], &["runs"], &["explain", "people", "7"]] {
            let process = case.workspace.spawn_under(&borrowed(&command), asked, &[]);
            case.workspace.end(process, SOON).expect_code(0);
        }
        case.judge();
    }
}

fn wrong_modes(scenario: &Scenario) {
    let wrong = [
        ("state", 0o000),
        ("state", 0o500),
        ("state/lock", 0o000),
        ("state/counterflow.db", 0o000),
        ("state/counterflow.db", 0o400),
        ("state/snapshots", 0o000),
        ("state/snapshots/people", 0o000),
        ("state/snapshots/people", 0o500),
        ("state/snapshots/people/manifest", 0o000),
        ("state/snapshots/people/segment-1", 0o000),
    ];
    for (name, mode) in wrong {
        let mut case = changed(scenario);
        let folder = case.workspace.path().to_path_buf();
        set_mode(&folder, 0o755);
        give(&folder.join("state"));
        let path = folder.join(name);
        let right = path.metadata().expect("it is there").permissions().mode();
        set_mode(&path, mode);
        case.say(format!("`{name}` has the mode {mode:o}"));
        run_under(&mut case, &confine::as_nobody(), &REMEDIES).expect_code(1);
        set_mode(&path, right);
        case.judge();
    }
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("a mode can be set");
}

/// Gives a folder and all that is in it to nobody.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(65_534), Some(65_534)).expect("it can be given");
    if path.is_dir() {
        crate::damage::names(path).iter().for_each(|name| give(&path.join(name)));
    }
}

fn taken_away(scenario: &Scenario) {
    let mut case = changed(scenario);
    let before = case.oracle.request_count();
    case.oracle.on_request(before + 3, Fault::Hold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 3, SOON);
    let (state, aside) = (case.workspace.state(), case.workspace.path().join("aside"));
    std::fs::rename(&state, &aside).expect("a folder can be moved");
    case.say("the state folder is moved away");
    case.oracle.release();
    let put_back = || {
        assert!(!state.join("counterflow.db").exists(), "another state was begun");
        let _ = std::fs::remove_dir_all(&state);
        std::fs::rename(&aside, &state).expect("a folder can be moved");
    };
    let finished = case.end_and_mend(started, put_back).expect_code(1);
    assert!(!finished.stderr.contains("panicked"), "{finished:#?}");
    case.judge();
}

fn no_folder(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=12));
    let state = case.workspace.state();
    std::fs::write(&state, "a file").expect("a file can be written");
    let process = case.workspace.spawn_sync(&[]);
    let finished = case.workspace.end(process, SOON).expect_code(1);
    finished.expect_printed(&["state", "check that it exists and its permissions"]);
    std::fs::remove_file(&state).expect("it is there");
    std::os::unix::fs::symlink("nowhere/at/all", &state).expect("a link can be made");
    let process = case.workspace.spawn_sync(&[]);
    let finished = case.workspace.end(process, SOON).expect_code(1);
    finished.expect_printed(&["state", "check that it exists and its permissions"]);
    std::fs::remove_file(&state).expect("it is there");
    case.judge();
}

fn few_descriptors(scenario: &Scenario) {
    let (mut failed, mut done, mut limit) = (0, 0, 4);
    while done < 2 && limit < 200 {
        let mut case = changed(scenario);
        let finished =
            run_under(&mut case, &confine::limited(&format!("--nofile={limit}")), &DESCRIPTORS);
        failed += u32::from(finished.code != Some(0));
        done += u32::from(finished.code == Some(0));
        case.judge();
        limit += if is_exhaustive() { 1 } else { 3 };
    }
    assert!(failed > 2 && done > 0, "{failed} were too few, {done} were not");
}

fn small_files(scenario: &Scenario) {
    let (mut failed, mut done, mut limit) = (0, 0, 0);
    while done == 0 && limit < 1_000_000 {
        let mut case = changed(scenario);
        let words = ["ulimit -f", "make room", "make the disk usable"];
        let finished = run_under(&mut case, &confine::limited(&format!("--fsize={limit}")), &words);
        failed += u32::from(finished.code != Some(0));
        done += u32::from(finished.code == Some(0));
        case.judge();
        limit += if is_exhaustive() { 1_024 } else { 8_192 };
    }
    assert!(failed > 2 && done > 0, "{failed} were too small, {done} were not");
}
