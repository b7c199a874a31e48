//! The sources: one suite that all kinds pass ([`conformance`]), and what real servers must be able to do to us beside that.
//!
//! Scenarios of a kind are played one after the other, against one server of it, and several kinds side by side. A machine
//! without the server says so aloud, and with `KIT_DEMAND_ALL` that fails. `-- WORD` plays those whose name, such as
//! `mysql: a mirror follows ..`, holds the word; without words the defects that are planted in the product are played too, each
//! of which a scenario must find.
#![cfg(unix)]

#[path = "../faults/demand.rs"]
mod demand;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/behaviour; each uses a part of it")]
mod support;

mod blobs;
mod conformance;
mod mysql;
mod planted;
mod postgres;
mod reading;
mod servers;
mod shared;
mod stores;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::blobs::Blobs;
use self::conformance::{Disk, Kind, Rows};
use self::servers::Server;
use self::servers::azurite::Azurite;
use self::servers::gcs::Gcs;
use self::servers::mysql::{MySql, Programs as Mysqls};
use self::servers::postgres::{Postgres, Programs};
use self::servers::seaweed::Seaweed;
use self::support::{TOKEN, certificates};

/// One scenario: its name, and what is played.
type Scenario<S> = (&'static str, fn(&S));

/// One scenario of a kind, or of all kinds.
type Play<S> = (String, Box<dyn Fn(&S)>);

/// Something to be done beside others.
type Job<'j> = Box<dyn FnOnce() + Send + 'j>;

/// Kinds that are played at once, as are planted defects; more would be in the way of what has to end within a second.
const SIDE_BY_SIDE: usize = 2;

/// Beyond this a planted defect hangs: all that a scenario waits for has a bound of its own.
const LONGEST: Duration = Duration::from_secs(600);

/// What is asked for, and what came of it.
struct Suite {
    words: Vec<String>,
    count: Mutex<Count>,
}

/// What came of the scenarios.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    left_out: usize,
    /// What the machine lacks for kinds that were not played.
    lacking: BTreeMap<String, String>,
    results: BTreeMap<String, bool>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let suite = Suite { words, count: Mutex::default() };
    // Those that take long come first.
    side_by_side(vec![
        Box::new(|| suite.play_postgres("postgres", Programs::newest(), false)),
        Box::new(|| suite.play_stores()),
        Box::new(|| suite.play_postgres("postgres 12", Programs::of(12), true)),
        Box::new(|| suite.play_postgres("postgres 18", Programs::of(18), true)),
        Box::new(|| suite.play("files", None, || Disk, conformance::plays(conformance::on_disk()))),
        Box::new(|| suite.play_mysql("mysql", Mysqls::mariadb(), false)),
        Box::new(|| suite.play_mysql("mysql 5.6", Mysqls::mysql(), true)),
        Box::new(|| suite.play_azurite()),
        Box::new(|| suite.play_gcs()),
    ]);
    let rows = rows();
    let problems = rows.problems();
    problems.iter().for_each(|problem| println!("FAILED       conformance: {problem}"));
    suite.count().failed += problems.len();
    rows.print(&suite.count().results);
    if suite.words.is_empty() {
        let planted = planted::PLANTED.iter();
        side_by_side(planted.map(|it| -> Job<'_> { Box::new(|| suite.find(it)) }).collect());
    }
    let Count { passed, failed, lacking, left_out, .. } = std::mem::take(&mut *suite.count());
    println!("{passed} passed, {failed} failed, {left_out} not measured");
    let is_met = demand::is_met(lacking.values().map(String::as_str));
    match failed == 0 && is_met && passed + left_out > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Every kind, in the order of the table.
fn rows() -> Rows {
    let mut rows = Rows::default();
    rows.add("files", &conformance::on_disk());
    rows.add("stores", &conformance::in_stores());
    rows.add("az", &conformance::in_blobs::<Azurite>());
    rows.add("gs", &conformance::in_blobs::<Gcs>());
    for server in ["postgres", "postgres 12", "postgres 18"] {
        rows.add(server, &conformance::databases::kinds::<Postgres>());
    }
    for server in ["mysql", "mysql 5.6"] {
        rows.add(server, &conformance::databases::kinds::<MySql>());
    }
    rows
}

/// Does them all, in their order, so many at once.
fn side_by_side(jobs: Vec<Job<'_>>) {
    let jobs = Mutex::new(VecDeque::from(jobs));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        while let Some(job) = next() {
            job();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(work);
        }
    });
}

impl Suite {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn play_postgres(&self, kind: &str, programs: Result<Programs, String>, is_other: bool) {
        let lacking = programs.as_ref().err().cloned();
        let start = || Postgres::start(&programs.expect("it was looked for"));
        let plays = of_database(&postgres::SCENARIOS);
        let plays = self.of_version(kind, plays, is_other, &postgres::OF_EVERY_VERSION);
        self.play(kind, lacking, start, plays);
    }

    fn play_mysql(&self, kind: &str, programs: Result<Mysqls, String>, is_other: bool) {
        let lacking = programs.as_ref().err().cloned();
        let start = || MySql::start(&programs.expect("it was looked for"));
        let plays = of_database(&mysql::SCENARIOS);
        let plays = self.of_version(kind, plays, is_other, &mysql::OF_EVERY_VERSION);
        self.play(kind, lacking, start, plays);
    }

    /// What a whole play asks of a version that is another than the one that all is asked of.
    fn of_version<S>(
        &self,
        kind: &str,
        mut plays: Vec<Play<S>>,
        is_other: bool,
        of_every: &[&str],
    ) -> Vec<Play<S>> {
        for wanted in of_every.iter().filter(|it| !plays.iter().any(|(name, _)| name == *it)) {
            println!("FAILED       {kind}: `{wanted}` is no scenario");
            self.count().failed += 1;
        }
        if is_other && self.words.is_empty() {
            plays.retain(|(name, _)| of_every.contains(&&**name) || conformance::is_property(name));
        }
        plays
    }

    fn play_stores(&self) {
        let weed = servers::seaweed::program();
        let lacking = weed.as_ref().err().cloned();
        let start = || Seaweed::start(&weed.expect("it was looked for"), TOKEN);
        let of_kinds = conformance::plays(conformance::in_stores());
        self.play("stores", lacking, start, own(&stores::SCENARIOS).chain(of_kinds).collect());
    }

    fn play_azurite(&self) {
        let azurite = servers::azurite::program();
        let lacking = azurite.as_ref().err().cloned();
        let start = || Azurite::start(&azurite.expect("it was looked for"));
        self.play("az", lacking, start, of_blobs(&blobs::az::SCENARIOS, conformance::in_blobs()));
    }

    fn play_gcs(&self) {
        let gcs = servers::gcs::program();
        let lacking = gcs.as_ref().err().cloned();
        let start = || Gcs::start(&gcs.expect("it was looked for"));
        self.play("gs", lacking, start, of_blobs(&blobs::gs::SCENARIOS, conformance::in_blobs()));
    }

    /// Plays what is chosen of one kind, one after the other.
    fn play<S>(
        &self,
        kind: &str,
        lacking: Option<String>,
        start: impl FnOnce() -> S,
        plays: Vec<Play<S>>,
    ) {
        let full = |name: &str| format!("{kind}: {name}");
        let is_chosen = |name: &str| {
            self.words.is_empty() || self.words.iter().any(|word| full(name).contains(word))
        };
        let chosen: Vec<_> = plays.into_iter().filter(|(name, _)| is_chosen(name)).collect();
        if chosen.is_empty() {
            return;
        }
        if let Some(lacking) = lacking.or_else(|| certificates::can_be_made().err()) {
            let mut count = self.count();
            count.left_out += chosen.len();
            count.lacking.insert(kind.to_owned(), lacking);
            return;
        }
        let Ok(server) = catch_unwind(AssertUnwindSafe(start)) else {
            println!("FAILED       {kind}: its server does not start");
            self.count().failed += 1;
            return;
        };
        for (name, play) in chosen {
            let begun = Instant::now();
            let is_well = catch_unwind(AssertUnwindSafe(|| play(&server))).is_ok();
            let word = if is_well { "passed" } else { "FAILED" };
            println!("{word}       {} ({:.1} s)", full(&name), begun.elapsed().as_secs_f64());
            let mut count = self.count();
            count.results.insert(full(&name), is_well);
            count.passed += usize::from(is_well);
            count.failed += usize::from(!is_well);
        }
    }

    /// Whether the scenario fails where the defect is planted, in a process of its own, and says the words.
    fn find(&self, (defect, scenario, words): &(&str, &str, &str)) {
        let kind = scenario.split(": ").next().unwrap_or_default();
        if self.count().lacking.contains_key(kind) {
            println!("not measured `{defect}` by `{scenario}`");
            self.count().left_out += 1;
            return;
        }
        let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
        // What the product does in this very process has it too.
        command.arg(scenario).envs([("KIT_DEFECT", defect), ("COUNTERFLOW_DEFECT", defect)]);
        let (said, failures) = ended(command);
        let is_found = said.contains("FAILED       ") && failures.contains(words);
        println!(
            "{}        `{defect}` by `{scenario}`",
            if is_found { "found" } else { "NOT FOUND" }
        );
        self.count().failed += usize::from(!is_found);
    }
}

/// What the command has written when it ends, to its output and to its errors. One that hangs is ended, with all that it started.
fn ended(mut command: Command) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let [out, errors] = ["out", "errors"].map(|name| folder.path().join(name));
    let file = |path: &Path| File::create(path).expect("a file can be made");
    command.process_group(0).stdout(file(&out)).stderr(file(&errors));
    let mut child = command.spawn().expect("this program can be started");
    let begun = Instant::now();
    while let Ok(None) = child.try_wait() {
        if begun.elapsed() > LONGEST {
            let _ = Command::new("kill")
                .args(["-s", "KILL", "--", &format!("-{}", child.id())])
                .status();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text =
        |path: &Path| std::fs::read(path).map(|it| String::from_utf8_lossy(&it).into_owned());
    (text(&out).expect("it was made"), text(&errors).expect("it was made"))
}

fn own<S: 'static>(scenarios: &[Scenario<S>]) -> impl Iterator<Item = Play<S>> {
    let play = |(name, play): &Scenario<S>| -> Play<S> { ((*name).to_owned(), Box::new(*play)) };
    scenarios.iter().map(play)
}

/// What every source plays, what every database does, and its own.
fn of_database<S: Server + 'static>(scenarios: &[Scenario<S>]) -> Vec<Play<S>> {
    let kinds: Vec<Kind<S>> = conformance::databases::kinds();
    let shared = shared::SCENARIOS.iter().map(|(name, play)| -> Play<S> {
        ((*name).to_owned(), Box::new(move |server: &S| play(server)))
    });
    conformance::plays(kinds).into_iter().chain(shared).chain(own(scenarios)).collect()
}

/// What every source plays, what every store does that is none of S3's kind, and its own.
fn of_blobs<S: Blobs + 'static>(scenarios: &[Scenario<S>], kinds: Vec<Kind<S>>) -> Vec<Play<S>> {
    let shared = blobs::SCENARIOS.iter().map(|(name, play)| -> Play<S> {
        ((*name).to_owned(), Box::new(move |server: &S| play(server)))
    });
    conformance::plays(kinds).into_iter().chain(shared).chain(own(scenarios)).collect()
}
