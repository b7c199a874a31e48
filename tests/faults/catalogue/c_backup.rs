//! C7. A state that was restored from an old backup or cloned to a second place: noticed, and no deletes until it is
//! rebaselined.

use super::Scenario;
use crate::damage::{Copy, assert_halts, snapshot};
use crate::support::case::Case;
use crate::support::check::differences;
use crate::support::people::{expected, people};
use crate::support::process::Process;
use crate::support::workspace::Setup;
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

fn committed(scenario: &Scenario) -> Case {
    let setup = Setup { batch: 3, concurrency: 1, max_deletes: Some("100%"), ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(3..=15));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case
}

fn restored(scenario: &Scenario) {
    let mut case = committed(scenario);
    let backup = Copy::of(&case.workspace.state());
    // These are at the destination, and the backup does not know them.
    case.write(&people(3..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let (state, aside) = (case.workspace.state(), case.workspace.path().join("aside"));
    std::fs::rename(&state, &aside).expect("a folder can be moved");
    backup.put_back();
    case.write(&people(8..=17));
    case.say("the state is restored from a backup that is one run old");
    for _ in 0..2 {
        assert_halts(&mut case, &COPIED);
    }
    let deletes = case.oracle.deletes();
    let rebaseline = ["rebaseline", "people", "-m", "restored from a backup", "--yes"];
    case.workspace.run(&rebaseline).expect_code(0);
    case.workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 10), ("deletes", 0)]);
    assert_eq!(case.oracle.deletes(), deletes, "nothing was deleted\n{}", case.print());
    let wrong = differences(&expected(case.people()), &case.oracle.table(), false);
    assert!(wrong.is_empty(), "{wrong:?}\n{}", case.print());
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
    let latest = Copy::of(&snapshot(&case));
    backup.put_back();
    case.write(&people(8..=17));
    case.say("the snapshot alone is restored from a backup that is one run old");
    assert_halts(&mut case, &["was committed already", "rebaseline people -m WHY"]);
    latest.put_back();
    case.judge();
}
