//! C6. A power cut between the renaming of the manifest and the sync of its folder: the old name may be back.

use std::path::{Path, PathBuf};

use super::Scenario;
use crate::damage::{names, snapshot};
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::people;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "C6",
        "a renaming that is undone by a power cut leaves the generation before it",
        undone,
    ),
    Scenario::new("C6", "a renaming that is undone in a first run loses nothing", undone_at_first),
];

/// What is left of the new manifest under its temporary name.
#[derive(Debug, Clone, Copy)]
enum Temporary {
    Whole,
    Empty,
    Gone,
}

/// A second name of the manifest, which outlives its replacement: a power cut brings back the very file.
fn second_name(case: &Case) -> PathBuf {
    let name = case.workspace.path().join("manifest-before");
    std::fs::hard_link(snapshot(case).join("manifest"), &name).expect("it is there");
    name
}

/// Makes the folder what it was before the manifest was renamed; `before` is the manifest of the generation before.
fn undo(case: &mut Case, before: Option<&Path>, temporary: Temporary) {
    let folder = snapshot(case);
    let (manifest, next) = (folder.join("manifest"), folder.join("manifest.tmp"));
    std::fs::rename(&manifest, &next).expect("a manifest is there");
    if let Some(before) = before {
        std::fs::rename(before, &manifest).expect("a file can be renamed");
    }
    match temporary {
        Temporary::Whole => {}
        Temporary::Empty => std::fs::write(&next, "").expect("a file can be written"),
        Temporary::Gone => std::fs::remove_file(&next).expect("it was just renamed"),
    }
    case.say(format!("the renaming is undone; the temporary file is {temporary:?}"));
}

fn changed(scenario: &Scenario) -> Case {
    Case::changed(&scenario.replay(), Setup { batch: 3, concurrency: 1, ..Setup::default() })
}

fn end_at(case: &mut Case, point: &str) {
    let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", point)]);
    assert!(case.end(started).signal.is_some(), "it was ended at {point}");
}

fn undone(scenario: &Scenario) {
    for temporary in [Temporary::Whole, Temporary::Empty, Temporary::Gone] {
        let mut twin = changed(scenario);
        end_at(&mut twin, "manifest_written:1");
        let mut case = changed(scenario);
        let before = second_name(&case);
        end_at(&mut case, "manifest_renamed:1");
        undo(&mut case, Some(&before), temporary);
        if matches!(temporary, Temporary::Whole) {
            let (undone, written) = (names(&snapshot(&case)), names(&snapshot(&twin)));
            assert_eq!(undone, written, "the folder is what it was before the renaming");
        }
        let report = case.sync(&[]).expect(0, "succeeded", &[]);
        assert!(report.count("upserts") == 0, "the journal was still there: {report:#?}");
        case.judge();
        twin.judge();
    }
}

fn undone_at_first(scenario: &Scenario) {
    for temporary in [Temporary::Whole, Temporary::Empty, Temporary::Gone] {
        // The commit that opens the epoch: nothing has left yet.
        let setup = || Setup { batch: 3, concurrency: 1, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup());
        case.write(&people(1..=12));
        end_at(&mut case, "manifest_renamed:1");
        assert_eq!(case.oracle.request_count(), 0);
        undo(&mut case, None, temporary);
        case.judge();
        // The commit at the end of the run.
        let mut case = Case::new(&scenario.replay(), setup());
        case.write(&people(1..=12));
        case.oracle.on_next(Fault::Hold);
        let started = case.spawn_with(&[], &[("COUNTERFLOW_END_AT", "manifest_renamed:2")]);
        case.oracle.wait_for_requests(1, SOON);
        let opened = second_name(&case);
        case.oracle.release();
        assert!(case.end(started).signal.is_some());
        undo(&mut case, Some(&opened), temporary);
        case.judge();
    }
}
