//! E10. State folders as earlier versions left them, with their config and source: `tests/faults/states/VERSION/NAME`.
//!
//! They were made once and are never made anew, as they stand for what is out there. For a new version,
//! `COUNTERFLOW_MAKE_STATES=FOLDER` in the environment makes the scenario write a set into `FOLDER` before it plays.
//! Not for the judge: the oracle has not seen what the earlier version sent, so that each confirmed entry would be ahead.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Scenario;
use crate::damage::copy;
use crate::support::SOON;
use crate::support::check::check_journal;
use crate::support::fault::Fault;
use crate::support::journal::Asked;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, keys, people};
use crate::support::process::Finished;
use crate::support::workspace::{Setup, Workspace};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("E10", "an upgrade sends nothing again and deletes what is gone", settled),
    Scenario::new("E10", "an upgrade repeats what was in doubt under its own key", in_doubt),
    Scenario::new("E10", "an upgrade that is killed goes on under the keys it found", killed),
];

/// What a state folder holds of a sync at rest.
const SETTLED: &str = "settled";
/// One that was killed between a request and its answer.
const IN_DOUBT: &str = "in_doubt";
/// The idempotency key of the request that was in doubt.
const KEY: &str = "idempotency_key";

fn setup() -> Setup {
    Setup { batch: 3, concurrency: 1, max_deletes: Some("100%"), ..Setup::default() }
}

/// What the source held when the state was made: at rest, and at the kill.
fn before() -> Vec<Person> {
    people(1..=12)
}

fn at_the_kill() -> Vec<Person> {
    let mut people = people(3..=14);
    people.iter_mut().take(4).for_each(|person| person.counter = 2);
    people
}

/// A workspace in which `files` lie, with the oracle's address in the environment: the account is declared.
struct World {
    oracle: Oracle,
    workspace: Workspace,
}

impl World {
    fn new() -> World {
        let oracle = Oracle::start(&["id"]);
        let workspace = Workspace::at("${ORACLE}".to_owned(), setup());
        let config = workspace.config().replace("auth: {", "account: acme, auth: {");
        workspace.write("counterflow.yaml", &config);
        World { oracle, workspace }
    }

    /// A world with a state that this version left behind.
    fn of(version: &Path, name: &str) -> World {
        let world = World::new();
        copy(&version.join(name), world.workspace.path());
        world
    }

    fn run(&self, args: &[&str]) -> Finished {
        let process = self.workspace.spawn_with(args, &[("ORACLE", &self.oracle.base_url())]);
        let finished = self.workspace.end(process, SOON);
        self.oracle.wait_for_quiet(SOON);
        finished
    }

    /// Runs the sync; some counts of its tally.
    #[track_caller]
    fn sync<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        let finished = self.run(&["--format", "json", "sync", "people"]);
        let report: Value = finished.clone().expect_code(0).json();
        assert_eq!(report["outcome"], "succeeded", "{finished:#?}");
        assert_eq!(report["kind"], "incremental", "{finished:#?}");
        names.map(|name| report["tally"][name].as_u64().expect("a count"))
    }
}

/// The folders of all versions.
fn versions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/states");
    if let Some(made) = std::env::var_os("COUNTERFLOW_MAKE_STATES") {
        make(Path::new(&made));
    }
    let versions = std::fs::read_dir(folder).expect("the states are there").flatten();
    let versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    assert!(!versions.is_empty(), "there is a state of each version");
    versions
}

fn settled(_: &Scenario) {
    for version in versions() {
        let world = World::of(&version, SETTLED);
        let counts = ["rows_read", "unchanged", "requests"];
        assert_eq!(world.sync(counts), [12, 12, 0], "{}", version.display());
        assert_eq!(world.oracle.connections(), 0, "{}", world.oracle.print());
        let mut next = people(3..=13);
        next[0].counter = 2;
        world.workspace.write_people(&next);
        assert_eq!(world.sync(["upserts", "deleted", "held"]), [2, 2, 0]);
        assert_eq!(world.oracle.deletes(), keys(1..=2), "{}", world.oracle.print());
        let runs = world.run(&["--format", "json", "runs"]).expect_code(0).json();
        assert!(runs.as_array().is_some_and(|runs| runs.len() > 2), "the earlier runs are known");
    }
}

fn in_doubt(_: &Scenario) {
    for version in versions() {
        let world = World::of(&version, IN_DOUBT);
        let key = std::fs::read_to_string(version.join(IN_DOUBT).join(KEY)).expect("it is kept");
        // Four changed and two are new, of which three have left, and two are gone.
        assert_eq!(world.sync(["upserts", "deleted", "unchanged"]), [6, 2, 6]);
        let requests = world.oracle.requests();
        let repeated: Vec<_> = requests
            .iter()
            .filter(|request| request.sent.idempotency_key.as_deref() == Some(key.trim()))
            .collect();
        let [repeated] = repeated.as_slice() else {
            panic!("`{key}` is not repeated once\n{}", world.oracle.print());
        };
        let asked = |asked: Asked| {
            let operations = requests.iter().flat_map(|request| &request.sent.operations);
            operations.filter(|operation| operation.asked == asked).count()
        };
        assert_eq!(repeated.sent.operations.len(), 3);
        assert_eq!((asked(Asked::Upsert), asked(Asked::Delete)), (6, 2));
        assert_eq!(world.oracle.deletes(), keys(1..=2));
        check_journal(&world.oracle);
        assert_eq!(world.sync(["unchanged", "requests"]), [12, 0]);
    }
}

/// What an older program left in doubt stays so over several runs of this one, beside what is in doubt of this one's own.
fn killed(_: &Scenario) {
    for version in versions() {
        let world = World::of(&version, IN_DOUBT);
        let key = std::fs::read_to_string(version.join(IN_DOUBT).join(KEY)).expect("it is kept");
        world.oracle.know_keys();
        let kill_at = |number: usize| {
            world.oracle.on_request(number, Fault::ApplyThenHold);
            let address = world.oracle.base_url();
            let process = world.workspace.spawn_with(&["sync", "people"], &[("ORACLE", &address)]);
            world.oracle.wait_for_requests(number, SOON);
            process.kill();
            world.oracle.wait_for_quiet(SOON);
        };
        kill_at(1);
        kill_at(2);
        // Of one connection, the second request is the first that this program numbers itself.
        let known = world.oracle.request_count();
        kill_at(known + 2);
        world.sync(["upserts"]);
        let keys: Vec<_> = world
            .oracle
            .requests()
            .iter()
            .map(|request| request.sent.idempotency_key.clone().expect("a request has a key"))
            .collect();
        assert!(
            keys[..3].iter().all(|sent| sent == key.trim()),
            "I7: `{key}` is not repeated\n{}",
            world.oracle.print()
        );
        assert!(keys[4..].contains(&keys[3]), "I7: its own is not\n{}", world.oracle.print());
        assert_eq!(world.oracle.deletes(), crate::support::people::keys(1..=2));
        check_journal(&world.oracle);
        assert_eq!(world.sync(["unchanged", "requests"]), [12, 0]);
    }
}

fn make(folder: &Path) {
    let world = World::new();
    world.workspace.write_people(&before());
    world.run(&["sync", "people"]).expect_code(0);
    copy(world.workspace.path(), &folder.join(SETTLED));
    world.workspace.write_people(&at_the_kill());
    let known = world.oracle.request_count();
    world.oracle.on_next(Fault::ApplyThenHold);
    let address = world.oracle.base_url();
    let process = world.workspace.spawn_with(&["sync", "people"], &[("ORACLE", &address)]);
    world.oracle.wait_for_requests(known + 1, SOON);
    process.kill();
    copy(world.workspace.path(), &folder.join(IN_DOUBT));
    let key = world.oracle.requests()[known].sent.idempotency_key.clone();
    let key = key.expect("a request has an idempotency key");
    std::fs::write(folder.join(IN_DOUBT).join(KEY), key).expect("it can be written");
}
