//! C7. A state that was restored from an old backup or cloned to a second place: noticed, and no deletes until it is
//! rebaselined.

use super::Scenario;
use crate::damage::{Aside, Copy, assert_halts, committed, snapshot};
use crate::support::case::Case;
use crate::support::judge::Left;
use crate::support::people::people;
use crate::support::process::Process;
use crate::support::{SOON, TOKEN};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "C7",
        "a state that was restored from a backup is refused until it is rebaselined",
        restored,
    )
    .needing(tells_births),
    Scenario::new(
        "C7",
        "a backup that is copied over the files of the state is refused until it is rebaselined",
        copied_over,
    )
    .needing(tells_births),
    Scenario::new(
        "C7",
        "a backup that is copied beside the database it belongs to is refused until it is rebaselined",
        copied_over_without_snapshots,
    )
    .needing(tells_births),
    Scenario::new(
        "C7",
        "a word for a copied state is no word for a definition that changed as well",
        copied_and_changed,
    )
    .needing(tells_births),
    Scenario::new("C7", "a commit that was not remembered is no copy", not_remembered),
    Scenario::new(
        "C7",
        "a state that was cloned is refused in its new place and goes on in the old one",
        cloned,
    )
    .needing(tells_births),
    Scenario::new(
        "C7",
        "a state that was moved to another disk goes on once a person says so",
        moved_by_copy,
    )
    .needing(tells_births),
    Scenario::new("C7", "a state that was renamed, or whose modes were changed, goes on", renamed),
    Scenario::new("C7", "a snapshot restored without its database is refused", snapshot_alone),
];

/// Whether the file system of the workspaces says when a file was made.
fn tells_births() -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let metadata = file.as_file().metadata().map_err(|error| error.to_string())?;
    metadata.created().map(drop).map_err(|_| "files do not say when they were made".to_owned())
}

const COPIED: [&str; 3] =
    ["was restored from a backup or copied", "rebaseline people -m WHY", "--keep-snapshot"];

fn restored(scenario: &Scenario) {
    put_back_by(scenario, |case, backup| {
        let (state, aside) = (case.workspace.state(), case.workspace.path().join("aside"));
        std::fs::rename(&state, &aside).expect("a folder can be moved");
        backup.put_back();
    });
}

fn copied_over(scenario: &Scenario) {
    put_back_by(scenario, |_, backup| backup.put_over());
}

fn copied_over_without_snapshots(scenario: &Scenario) {
    put_back_by(scenario, |case, backup| {
        std::fs::remove_dir_all(case.workspace.state().join("snapshots")).expect("they are there");
        backup.put_over();
    });
}

fn put_back_by(scenario: &Scenario, put_back: impl Fn(&Case, &Copy)) {
    let mut case = committed(scenario);
    let backup = Copy::of(&case.workspace.state());
    // These are at the destination, and the backup does not know them.
    case.write(&people(3..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let database = case.workspace.state().join("counterflow.db");
    let made = || database.metadata().and_then(|file| file.created()).ok();
    let before = made();
    put_back(&case, &backup);
    case.runs_are_lost();
    case.write(&people(8..=17));
    case.say(format!(
        "the state is restored from a backup that is one run old; its database is the same file: {}",
        before == made()
    ));
    for _ in 0..2 {
        assert_halts(&mut case, &COPIED);
        case.run(&["plan", "people"]).expect_code(1).expect_printed(&COPIED);
    }
    let deletes = case.oracle.deletes();
    let rebaseline = ["rebaseline", "people", "-m", "restored from a backup", "--yes"];
    case.run(&rebaseline).expect_code(0);
    // What is there is nobody's until it is sent again.
    case.let_go(3..=20);
    case.sync(&[]).expect(0, "succeeded", &[("upserts", 10), ("deletes", 0)]);
    assert_eq!(case.oracle.deletes(), deletes, "nothing was deleted\n{}", case.print());
    case.judge();
}

fn cloned(scenario: &Scenario) {
    let mut case = committed(scenario);
    let clone = Copy::of(case.workspace.path());
    let before = case.oracle.request_count();
    case.say("the whole folder is cloned, and both go on");
    case.write(&people(8..=17));
    std::fs::copy(case.workspace.path().join("people.csv"), clone.path().join("people.csv"))
        .expect("a file can be copied");
    for _ in 0..2 {
        let args = ["--config", "counterflow.yaml", "--format", "json", "sync", "people"];
        let process = Process::spawn(clone.path(), &args, &[("TOKEN", TOKEN)]);
        let refused = case.workspace.end(process, SOON).expect_code(1);
        refused.expect_printed(&COPIED);
    }
    assert_eq!(case.oracle.request_count(), before, "the clone sent something\n{}", case.print());
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.judge();
}

fn moved_by_copy(scenario: &Scenario) {
    let mut case = committed(scenario);
    Copy::of(&case.workspace.state()).put_back();
    case.say("the state is moved to another disk: every file of it is a new one");
    case.write(&people(8..=17));
    assert_halts(&mut case, &COPIED);
    case.sync(&["--keep-snapshot"]).expect(0, "succeeded", &[]);
    case.judge();
}

/// Whoever says that the copy is true may not know that the key changed as well: that is asked on its own.
fn copied_and_changed(scenario: &Scenario) {
    let mut case = committed(scenario);
    Copy::of(&case.workspace.state()).put_back();
    case.write(&people(8..=17));
    case.workspace.change(|setup| {
        setup.sql = "SELECT CAST(id AS INT) AS id, counter, checksum, email FROM people".to_owned();
    });
    case.say("the state is moved to another disk, and the key changed");
    assert_halts(&mut case, &COPIED);
    let before = case.oracle.request_count();
    let refused = case.sync(&["--keep-snapshot"]).finished.expect_code(1);
    refused.expect_printed(&["the key changed", "--keep-snapshot"]);
    assert_halts(&mut case, &["the key changed", "--keep-snapshot", "rebaseline people -m WHY"]);
    assert_eq!(case.oracle.request_count(), before, "nothing was sent\n{}", case.print());
    case.sync(&["--keep-snapshot"]).expect(4, "partial", &[("upserts", 2), ("held", 5)]);
    case.judge_leaving(&Left { held: (3..=7).collect(), ..Left::default() });
}

fn not_remembered(scenario: &Scenario) {
    for nth in 1..=3 {
        let mut case = committed(scenario);
        case.write(&people(8..=17));
        let end = format!("before_remembering:{nth}");
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", &end)]);
        assert!(case.end(started).signal.is_some(), "it was killed at {end}");
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.judge();
    }
}

fn renamed(scenario: &Scenario) {
    let mut case = committed(scenario);
    let state = case.workspace.state();
    let elsewhere = case.workspace.path().join("elsewhere");
    std::fs::rename(&state, &elsewhere).expect("a folder can be moved");
    std::fs::rename(&elsewhere, &state).expect("a folder can be moved");
    let database = state.join("counterflow.db");
    let mode = database.metadata().expect("it is there").permissions();
    std::fs::set_permissions(&database, mode).expect("a mode can be set");
    let file = std::fs::File::options().append(true).open(&database).expect("it can be opened");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a time can be set");
    case.say("the state was renamed and back, and its database touched");
    case.write(&people(8..=17));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.judge();
}

fn snapshot_alone(scenario: &Scenario) {
    let mut case = committed(scenario);
    let backup = Copy::of(&snapshot(&case));
    case.write(&people(3..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let latest = Aside::of(&snapshot(&case));
    backup.put_back();
    case.write(&people(8..=17));
    case.say("the snapshot alone is restored from a backup that is one run old");
    assert_halts(&mut case, &["was committed already", "rebaseline people -m WHY"]);
    latest.put_back();
    case.judge();
}
