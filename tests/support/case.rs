//! One scenario's world: the oracle, the workspace, what the source ever held, what every process came to.
//!
//! A scenario writes the source, starts and ends processes through it, and hands it to the judge (`judge.rs`) at the end.
//! Each step is written down, so that a failure can be read as a story. Not responsible for when faults are played.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use counterflow::domain::entry::Entry;
use counterflow::domain::id::{Epoch, RunId};
use serde_json::Value;

use super::SOON;
use super::check;
use super::journal::Asked;
use super::judge::run_of;
use super::known::{self, Entries};
use super::oracle::Oracle;
use super::people::{Person, key, people};
use super::process::{Finished, Process};
use super::workspace::{Report, Setup, Workspace};

/// What stands in front of a process exits so where it has not started it.
const NOT_STARTED: i32 = 98;

/// Ids of the co-writer's rows, which must never be touched.
pub const CO_WRITER: std::ops::Range<u32> = 900_001..900_004;

/// See the file's comment.
pub struct Case {
    pub oracle: Oracle,
    pub workspace: Workspace,
    /// The one command that plays this scenario again.
    replay: String,
    pub(super) story: Vec<String>,
    /// What the source held, one after the other.
    pub(super) sources: Vec<Vec<Person>>,
    pub(super) attempts: Vec<Attempt>,
    /// Keys that people let go: what the destination holds under them is nobody's.
    pub(super) discarded: BTreeSet<String>,
    /// Keys that people ever let go: the first record under them is new again.
    pub(super) ever_discarded: BTreeSet<String>,
    /// Keys whose deletes a person has released, and which have not been found in the source since.
    released: BTreeSet<String>,
    last_run: u64,
    /// Requests up to this one are of processes that were looked at.
    looked_at: usize,
    /// Numbers and text of records are integers and text in the source too, so that fingerprints can be told.
    pub(super) is_plain: Cell<bool>,
    /// Of runs up to this one the store tells nothing, or gives their numbers again.
    pub(super) forgotten: u64,
}

/// One process that could run the sync.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// Those of `sources` that it may have read.
    pub sources: std::ops::RangeInclusive<usize>,
    /// The numbers of the requests that came while it was there.
    pub requests: std::ops::RangeInclusive<usize>,
    /// The numbers of the runs that it sent requests for. A store that has lost some gives theirs again.
    pub runs: Vec<u64>,
    /// The snapshot before it.
    pub entries: Entries,
    /// The epoch after it.
    pub epoch: Option<Epoch>,
    /// Keys that a person had released before it.
    pub released: BTreeSet<String>,
    pub report: Option<Report>,
    /// It ended without a word.
    pub has_crashed: bool,
    /// Something around it was in its way: a limit, a wrapper, a state that had to be mended after it.
    pub is_disturbed: bool,
    /// What the last run that it made to its end says of itself: its report, or its document where it was a server's.
    pub ended: Option<Value>,
}

/// A process that was started for a case.
pub struct Started {
    pub process: Process,
    before: Before,
    ending: Ending,
    /// It was told to end, or something stands around it that may be in its way.
    is_disturbed: bool,
}

/// How a process may end, beside by a code that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// By SIGKILL, which is sent to it.
    Killed,
    /// By SIGABRT: it was told to abort at a point of the protocol.
    Aborted,
    /// In whatever way: its memory ends.
    OfMemory,
}

impl Started {
    fn plain(process: Process, before: Before) -> Started {
        Started { process, before, ending: Ending::Killed, is_disturbed: false }
    }

    /// Its memory ends, which it need not survive, nor find a word for.
    pub fn short_of_memory(self) -> Started {
        Started { ending: Ending::OfMemory, ..self }
    }
}

/// What was so before a process was started.
#[derive(Debug, Clone)]
struct Before {
    first_source: usize,
    /// How many requests had come.
    requests: usize,
    entries: Entries,
    released: BTreeSet<String>,
    is_server: bool,
}

impl Case {
    /// A world of its own. `name` is the scenario's id, with which `replay` names the command to play it again.
    pub fn new(replay: &str, setup: Setup) -> Case {
        let oracle = Oracle::start(&["id"]);
        let base_url = oracle.base_url();
        Case::at(replay, oracle, base_url, setup)
    }

    /// As `new`, with an oracle that is reached at another address than its own.
    pub fn at(replay: &str, oracle: Oracle, base_url: String, setup: Setup) -> Case {
        for id in CO_WRITER {
            oracle.plant(Person::new(id, 1).record());
        }
        Case::alone(replay, oracle, base_url, setup)
    }

    /// As `at`, without a co-writer: rows of any shape.
    pub fn alone(replay: &str, oracle: Oracle, base_url: String, setup: Setup) -> Case {
        let workspace = Workspace::at(base_url, setup);
        Case {
            oracle,
            workspace,
            replay: replay.to_owned(),
            story: Vec::new(),
            sources: Vec::new(),
            attempts: Vec::new(),
            discarded: BTreeSet::new(),
            ever_discarded: BTreeSet::new(),
            released: BTreeSet::new(),
            last_run: 0,
            looked_at: 0,
            is_plain: Cell::new(false),
            forgotten: 0,
        }
    }

    /// A mirror of some people whose next run is about to change, add and delete some.
    pub fn changed(replay: &str, setup: Setup) -> Case {
        let mut case = Case::new(replay, setup);
        case.write(&people(1..=12));
        case.sync(&[]).expect(0, "succeeded", &[]);
        let mut next = people(3..=15);
        next.iter_mut().take(4).for_each(|person| person.counter = 2);
        case.write(&next);
        case
    }

    /// Notes a step of the story.
    pub fn say(&mut self, step: impl Into<String>) {
        self.story.push(step.into());
    }

    /// The source holds these persons from now on.
    pub fn write(&mut self, people: &[Person]) {
        let shown: Vec<String> =
            people.iter().map(|person| format!("{}:{}", person.id, person.counter)).collect();
        self.say(format!("source holds {} rows: {}", people.len(), shown.join(" ")));
        self.workspace.write_people(people);
        self.sources.push(people.to_vec());
    }

    /// The source was written otherwise than by `write`: if it can be read at all, it holds these persons.
    pub fn written(&mut self, how: &str, people: &[Person]) {
        self.say(format!("{how}: source holds {} rows", people.len()));
        self.sources.push(people.to_vec());
    }

    /// What the source holds.
    pub fn people(&self) -> &[Person] {
        self.sources.last().map_or(&[], Vec::as_slice)
    }

    /// Starts `sync`, with these arguments too.
    pub fn spawn(&mut self, more: &[&str]) -> Started {
        self.spawn_with(more, &[])
    }

    /// Starts `sync` with more of the environment, such as a point to end at.
    pub fn spawn_with(&mut self, more: &[&str], environment: &[(&str, &str)]) -> Started {
        self.spawn_under(&[], more, environment)
    }

    /// As `spawn_with`, started by a command that is handed the binary and its arguments.
    pub fn spawn_under(
        &mut self,
        wrapper: &[&str],
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Started {
        self.say(format!("{} sync {} {environment:?}", wrapper.join(" "), more.join(" ")));
        let mut args = vec!["--format", "json", "sync", "people"];
        args.extend_from_slice(more);
        let before = self.before();
        let process = self.workspace.spawn_under(wrapper, &args, environment);
        let is_told = environment.iter().any(|(name, _)| *name == "COUNTERFLOW_END_AT");
        let ending = if is_told { Ending::Aborted } else { Ending::Killed };
        Started { process, before, ending, is_disturbed: is_told || !wrapper.is_empty() }
    }

    /// Starts the server.
    pub fn spawn_serve(&mut self) -> Started {
        self.say("serve");
        let before = Before { is_server: true, ..self.before() };
        let process = self.workspace.spawn(&["--format", "json", "serve"]);
        Started::plain(process, before)
    }

    /// Waits until the newest run is in this phase.
    #[track_caller]
    pub fn wait_for_phase(&self, phase: &str) {
        self.workspace.wait_for_run(|run| run["phase"] == phase);
    }

    /// Takes in a process that can run the sync and has changed nothing yet.
    pub fn started(&mut self, process: Process) -> Started {
        let before = Before { is_server: true, ..self.before() };
        Started::plain(process, before)
    }

    fn before(&self) -> Before {
        let entries = known::entries(&self.workspace).unwrap_or_default();
        let first_source = self.sources.len().saturating_sub(1);
        let requests = self.oracle.request_count();
        Before {
            first_source,
            requests,
            entries,
            released: self.released.clone(),
            is_server: false,
        }
    }

    /// Waits for the end of a process and looks at what it left. A report is asked of one that ended by itself.
    #[track_caller]
    pub fn end(&mut self, started: Started) -> Finished {
        self.end_within(started, SOON * 4)
    }

    /// As `end`, for a process that must have ended within `limit`.
    #[track_caller]
    pub fn end_within(&mut self, started: Started, limit: Duration) -> Finished {
        let Started { process, before, ending, is_disturbed } = started;
        let finished = self.workspace.end(process, limit);
        self.assert_ended_well(&finished, ending, is_disturbed);
        self.take(&finished, before, is_disturbed);
        finished
    }

    /// As `end`; `mend` puts the state right before it is looked at.
    #[track_caller]
    pub fn end_and_mend(&mut self, started: Started, mend: impl FnOnce()) -> Finished {
        let Started { process, before, ending, is_disturbed } = started;
        let finished = self.workspace.end(process, SOON * 4);
        mend();
        self.assert_ended_well(&finished, ending, is_disturbed);
        self.take(&finished, before, true);
        finished
    }

    /// The store has lost what it knew of runs since some commit: their counts are not asked for.
    pub fn runs_are_lost(&mut self) {
        self.forgotten = self.last_run;
    }

    /// Kills a process, whatever it is doing.
    #[track_caller]
    pub fn kill(&mut self, started: Started) -> Finished {
        self.say("SIGKILL");
        started.process.sigkill();
        self.end(started)
    }

    /// A run from the beginning to its end.
    #[track_caller]
    pub fn sync(&mut self, more: &[&str]) -> Report {
        let started = self.spawn(more);
        let finished = self.end(started);
        let json = finished.json();
        Report { finished, json }
    }

    /// A sample of chosen rows, to its end.
    #[track_caller]
    pub fn sample(&mut self, more: &[&str]) -> Report {
        self.say(format!("sample {}", more.join(" ")));
        let before = self.before();
        let args = [&["--format", "json", "sample", "people"][..], more].concat();
        let process = self.workspace.spawn(&args);
        let finished = self.end(Started::plain(process, before));
        let json = finished.json();
        Report { finished, json }
    }

    /// A command other than `sync`, to its end.
    #[track_caller]
    pub fn run(&mut self, args: &[&str]) -> Finished {
        self.say(args.join(" "));
        self.workspace.run(args)
    }

    /// A person releases what run `run` held; the run that follows is the case's as any other.
    #[track_caller]
    pub fn release(&mut self, run: &str) -> Finished {
        self.say(format!("release {run}"));
        let number = RunId(run.parse().expect("a run is a number"));
        let view = known::view(&self.workspace);
        let standing = view.as_ref().and_then(|view| view.header().standing());
        let held = view.as_ref().map(known::entries_of).unwrap_or_default();
        let was_held =
            |entry: &Entry| entry.held.is_some_and(|it| it.was_held_in(number, standing));
        let held = held.into_iter().filter(|(_, entry)| was_held(entry));
        let held: BTreeSet<String> = held.map(|(key, _)| key).collect();
        let mut before = self.before();
        before.released.extend(held.iter().cloned());
        let args = ["--format", "json", "release", run, "-m", "they may go"];
        let process = self.workspace.spawn(&args);
        let finished = self.end(Started::plain(process, before));
        // Of a word that was refused nothing stands.
        if !matches!(finished.code, Some(2 | 5)) {
            self.released.extend(held);
            self.found_again();
        }
        finished
    }

    /// A person lets go of these keys, whose deletes run `run` held.
    #[track_caller]
    pub fn discard(&mut self, run: &str, ids: impl IntoIterator<Item = u32>) {
        self.run(&["discard", run, "-m", "they live on elsewhere", "--yes"]).expect_code(0);
        self.let_go(ids);
    }

    /// These keys were let go of: what the destination holds under them is nobody's.
    pub fn let_go(&mut self, ids: impl IntoIterator<Item = u32>) {
        self.discarded.extend(ids.into_iter().map(key));
        self.ever_discarded.extend(self.discarded.iter().cloned());
    }

    /// A key that was let go is in the source again.
    pub fn discarded_no_more(&mut self, id: u32) {
        self.discarded.remove(&key(id));
    }

    /// Everything that helps to understand a failure: the story, the requests, and the command that plays it again.
    pub fn print(&self) -> String {
        let story: String = self
            .story
            .iter()
            .enumerate()
            .map(|(n, step)| format!("{:>3} {step}\n", n + 1))
            .collect();
        let requests = self.oracle.print();
        let Case { replay, .. } = self;
        format!("the story:\n{story}the requests:\n{requests}again: {replay}\n")
    }

    /// A process ends with a code that means something or by the signal that was meant for it, and never in a panic.
    #[track_caller]
    fn assert_ended_well(&self, finished: &Finished, ending: Ending, is_disturbed: bool) {
        let said = finished.printed();
        let is_panic = ["panicked", "overflowed its stack"].iter().any(|word| said.contains(word));
        let is_meant = match (finished.code, ending) {
            (_, Ending::OfMemory) => return,
            (Some(NOT_STARTED), _) => is_disturbed,
            (Some(code), _) => matches!(code, 0..=6 | 130 | 143),
            (None, Ending::Killed) => finished.signal == Some(9),
            (None, Ending::Aborted) => finished.signal == Some(6),
        };
        assert!(is_meant && !is_panic, "it ended badly: {finished:#?}\n{}", self.print());
    }

    #[track_caller]
    fn take(&mut self, finished: &Finished, before: Before, is_disturbed: bool) {
        let Before { first_source: first, requests: known, entries, released, is_server } = before;
        let json: Option<Value> = serde_json::from_str(finished.stdout.trim()).ok();
        let report = json.filter(|json| json["outcome"].is_string());
        let is_silent = report.is_none() && matches!(finished.code, Some(0 | 3 | 4));
        assert!(is_server || !is_silent, "it says nothing: {finished:#?}\n{}", self.print());
        let said = report.as_ref().map_or("no report".to_owned(), |json| {
            format!("{} {} {}", json["kind"], json["outcome"], json["tally"])
        });
        self.say(format!("ended: code {:?} signal {:?}: {said}", finished.code, finished.signal));
        self.oracle.wait_for_quiet(SOON);
        let requests = self.oracle.requests();
        let first_request = known.max(self.looked_at);
        self.looked_at = requests.len();
        let runs: BTreeSet<u64> = requests[first_request..].iter().filter_map(run_of).collect();
        self.last_run = runs.last().copied().unwrap_or(0).max(self.last_run);
        // What was let go of and is delivered again is ours again.
        let upserted = check::receipts_of(requests[first_request..].iter());
        for operation in upserted.filter(|operation| operation.asked == Asked::Upsert) {
            self.discarded.remove(&operation.key);
        }
        let ended = match is_server && !runs.is_empty() {
            true => self.runs().into_iter().find(|run| is_among(run, &runs)),
            false => report.clone(),
        };
        self.attempts.push(Attempt {
            sources: first..=self.sources.len().saturating_sub(1),
            requests: first_request + 1..=requests.len(),
            runs: runs.into_iter().collect(),
            entries,
            epoch: known::view(&self.workspace).map(|view| view.header().epoch),
            released,
            report: report.map(|json| Report { finished: finished.clone(), json }),
            has_crashed: finished.code.is_none(),
            is_disturbed,
            ended,
        });
        self.found_again();
        let wrong = self.wrong_after_a_process();
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", self.print());
    }

    /// A released key that a run has found in the source again is released no more.
    fn found_again(&mut self) {
        let Some(Attempt { sources, ended: Some(ended), .. }) = self.attempts.last() else {
            return;
        };
        let outcome = ended["outcome"].as_str().or(ended["phase"].as_str());
        if !matches!(outcome, Some("succeeded" | "partial")) || sources.start() != sources.end() {
            return;
        }
        if let Some(read) = self.sources.get(*sources.end()) {
            let read: BTreeSet<String> = read.iter().map(|person| person.key()).collect();
            self.released.retain(|key| !read.contains(key));
        }
    }
}

fn is_among(run: &Value, runs: &BTreeSet<u64>) -> bool {
    run["run"].as_u64().is_some_and(|number| runs.contains(&number))
}
