//! A10. Another version of the program on the same state, with rows in doubt: an upgrade keeps what it found and may be
//! killed at any of its moments; an older program refuses what a newer one wrote, and changes nothing.

use std::path::{Path, PathBuf};

use counterflow::points::Point;

use super::Scenario;
use crate::damage::{content, copy, snapshot};
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::check::check_journal;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{keys, people};
use crate::support::process::Finished;
use crate::support::workspace::{Setup, Workspace};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "A10",
        "an upgrade that is killed at any of its moments loses nothing of what was in doubt",
        upgrade,
    ),
    Scenario::new(
        "A10",
        "an older program refuses a newer state by name and leaves it as it is",
        downgrade,
    ),
    Scenario::new("A10", "the database that an upgrade kept is what the older program had", kept),
];

/// Where SQLite has the version that a program gives its file, as four bytes, see https://sqlite.org/fileformat.html.
const USER_VERSION: std::ops::Range<usize> = 60..64;
/// Where the files of a snapshot have their version.
const SNAPSHOT_VERSION: std::ops::Range<usize> = 8..12;

fn version(database: &Path) -> u32 {
    let bytes = std::fs::read(database).expect("it is there");
    u32::from_be_bytes(bytes[USER_VERSION].try_into().expect("four bytes"))
}

/// A state of the first version, killed between a request and its answer.
struct Old {
    oracle: Oracle,
    workspace: Workspace,
}

impl Old {
    fn new() -> Old {
        let oracle = Oracle::start(&["id"]);
        let setup =
            Setup { batch: 3, concurrency: 1, max_deletes: Some("100%"), ..Setup::default() };
        let workspace = Workspace::at("${ORACLE}".to_owned(), setup);
        let states = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/states");
        copy(&states.join("0.1.0/in_doubt"), workspace.path());
        Old { oracle, workspace }
    }

    fn database(&self) -> PathBuf {
        self.workspace.state().join("counterflow.db")
    }

    fn sync(&self, end_at: &str) -> Finished {
        let address = self.oracle.base_url();
        let mut environment = vec![("ORACLE", address.as_str())];
        if !end_at.is_empty() {
            environment.push(("COUNTERFLOW_END_AT", end_at));
        }
        let arguments = ["--format", "json", "sync", "people"];
        let process = self.workspace.spawn_with(&arguments, &environment);
        let finished = self.workspace.end(process, SOON);
        self.oracle.wait_for_quiet(SOON);
        finished
    }
}

fn upgrade(_: &Scenario) {
    for point in Point::OF_AN_UPGRADE {
        let old = Old::new();
        let end_at = format!("{}:1", point.name());
        for _twice in 0..2 {
            let killed = old.sync(&end_at);
            assert!(killed.signal.is_some(), "it was killed at {end_at}: {killed:#?}");
            assert_eq!(version(&old.database()), 1, "{end_at}: it is led over whole or not at all");
            assert_eq!(old.oracle.request_count(), 0, "{end_at}: nothing was sent");
        }
        let finished = old.sync("").expect_code(0);
        let report = finished.json();
        assert!(version(&old.database()) > 1, "{end_at}");
        let kept = old.workspace.state().join("counterflow.db.version-1");
        assert_eq!(version(&kept), 1, "{end_at}: what it was before is kept");
        // Four changed and two are new, of which three had left, and two are gone.
        let count = |name: &str| report["tally"][name].as_u64().expect("a count");
        assert_eq!((count("upserts"), count("deleted"), count("unchanged")), (6, 2, 6));
        assert_eq!(report["kind"], "incremental", "I11: {report:#}");
        let key = std::fs::read_to_string(old.workspace.path().join("idempotency_key"));
        let key = key.expect("it is kept");
        let requests = old.oracle.requests();
        let is_repeated = |key: &str| {
            requests.iter().filter(|sent| sent.sent.idempotency_key.as_deref() == Some(key)).count()
        };
        assert_eq!(is_repeated(key.trim()), 1, "I7: {}", old.oracle.print());
        assert_eq!(old.oracle.deletes(), keys(1..=2));
        check_journal(&old.oracle);
    }
}

/// A case with rows in doubt, at rest.
fn in_doubt(scenario: &Scenario) -> Case {
    let setup = Setup { batch: 3, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=12));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(1..=18));
    case.oracle.on_next(Fault::ApplyThenDrop);
    case.workspace.change(|setup| setup.attempts = 1);
    case.sync(&[]).expect(1, "partial", &[("unknown", 3)]);
    case
}

fn downgrade(scenario: &Scenario) {
    let mut case = in_doubt(scenario);
    let database = case.workspace.state().join("counterflow.db");
    let manifest = snapshot(&case).join("manifest");
    for (file, place, newer, words) in [
        (
            &database,
            USER_VERSION,
            99_u32.to_be_bytes(),
            ["counterflow.db", "has version 99", "newer program"],
        ),
        (
            &manifest,
            SNAPSHOT_VERSION,
            99_u32.to_le_bytes(),
            ["manifest", "newer counterflow", "people"],
        ),
    ] {
        let whole = std::fs::read(file).expect("it is there");
        let mut bytes = whole.clone();
        bytes[place.clone()].copy_from_slice(&newer);
        if file == &manifest {
            let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..28]);
            bytes[28..36].copy_from_slice(&checksum.to_le_bytes());
        }
        // The same file, as another program would have written it.
        std::fs::write(file, &bytes).expect("it can be written");
        case.say(format!("`{}` is of a newer version", file.display()));
        let files = content(&snapshot(&case));
        let requests = case.oracle.request_count();
        let refused = case.workspace.run(&["sync", "people"]).expect_code(1);
        refused.expect_printed(&words);
        let status = case.workspace.run(&["status"]);
        assert!(!status.printed().contains("panicked"), "{status:#?}");
        if file == &database {
            case.workspace.run(&["serve"]).expect_code(1).expect_printed(&words);
            assert_eq!(std::fs::read(file).ok(), Some(bytes), "it is left as it is");
        }
        assert_eq!(content(&snapshot(&case)), files, "the snapshot is left as it is");
        assert_eq!(case.oracle.request_count(), requests, "nothing was sent");
        std::fs::write(file, whole).expect("it can be written");
    }
    case.judge();
}

fn kept(_: &Scenario) {
    let old = Old::new();
    let names =
        |folder: &Path| content(folder).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    old.sync("").expect_code(0);
    let state = old.workspace.state();
    assert!(names(&state).contains(&"counterflow.db.version-1".to_owned()), "{:?}", names(&state));
    assert!(!names(&state).iter().any(|name| name.ends_with(".next")), "{:?}", names(&state));
    // Put back where nothing was done since, it is an older state like any other: here with its own snapshot.
    let again = Old::new();
    let log = again.workspace.state().join("counterflow.db-wal");
    std::fs::remove_file(log).expect("it is there");
    std::fs::copy(state.join("counterflow.db.version-1"), again.database()).expect("it can be");
    let runs = again.workspace.run(&["--format", "json", "runs"]).expect_code(0).json();
    assert_eq!(runs.as_array().map(Vec::len), Some(2), "{runs:#}");
    again.sync("").expect_code(0);
    assert_eq!(again.oracle.deletes(), keys(1..=2));
}
