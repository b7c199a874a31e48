//! A server with many syncs that fire together: how late they are, how it answers meanwhile, and what becomes of its runs
//! when it is killed under that load.
//!
//! Everything is measured from outside the process: the database read-only (`watch`), answers over HTTP (`prober`), the
//! oracle's journal, `/proc`. What breaks an invariant fails the play; times are figures, and fail nothing.

pub mod figures;
pub mod fleet;
pub mod judge;
pub mod prober;
pub mod store;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use self::figures::{Figures, spread, usage};
use self::fleet::{Firing, Fleet, name_of};
use self::judge::Wrong;
use self::prober::Answers;
use self::store::{Database, Stored};
use self::watch::{Seen, now};
use crate::evidence::Origin;
use crate::support::SOON;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::process::Process;
use crate::support::server::{Api, until};

/// Between two looks at runs that are waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Asked {
    pub syncs: u32,
    pub max_running: u32,
    pub firing: Firing,
    /// How often they fire before the kills.
    pub ticks: u32,
    pub cycles: u32,
    /// How long the destination takes to answer.
    pub answer: Duration,
    /// How long a server without work is looked at.
    pub idle: Duration,
    /// The longest time from being ready to a kill.
    pub longest_life: Duration,
    pub seed: u64,
    /// Prints nothing.
    pub is_quiet: bool,
    /// Writes `tests/LOAD.md`.
    pub is_recorded: bool,
}

/// A play as it goes on.
struct Play<'a> {
    asked: &'a Asked,
    oracle: &'a Oracle,
    fleet: &'a Fleet,
    chance: SmallRng,
    figures: Figures,
    wrong: Wrong,
    /// Runs that were answered with 202.
    accepted: Vec<i64>,
    /// Runs that went when a process was killed, and for which no server has been asked since.
    interrupted: BTreeSet<i64>,
    /// From being started to being ready.
    starts: Vec<Duration>,
    /// From being started to the first answer for the last run that was asked for before.
    answers: Vec<Duration>,
}

/// A server that is ready.
struct Serving {
    process: Process,
    api: Api,
}

/// Plays it; what is wrong, in words.
pub fn play(asked: &Asked) -> Vec<String> {
    let origin = Origin::now();
    let oracle = Oracle::start(&["id"]);
    let fleet = Fleet::new(&oracle, asked.syncs, asked.max_running);
    let mut play = Play {
        asked,
        oracle: &oracle,
        fleet: &fleet,
        chance: SmallRng::seed_from_u64(asked.seed),
        figures: Figures::new(asked.is_quiet),
        wrong: Wrong::default(),
        accepted: Vec::new(),
        interrupted: BTreeSet::new(),
        starts: Vec::new(),
        answers: Vec::new(),
    };
    let Asked { syncs, max_running, answer, seed, .. } = asked;
    let firing = format!("due every {} s", asked.firing.period().as_secs());
    let said = format!(
        "{syncs} syncs, {firing}; at most {max_running} run at once; the destination answers after {answer:?}; seed {seed}"
    );
    play.figures.add("load", said);
    play.idle();
    fleet.write_config(asked.firing);
    oracle.always(Fault::SlowAnswer(*answer));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&is_over);
        scope.spawn(|| fleet.change_until(asked.firing.period(), &is_over));
        let serving = play.loaded();
        play.kills(serving);
    });
    play.settle();
    let Play { mut figures, wrong, .. } = play;
    let wrong = wrong.all();
    figures.add("invariants", if wrong.is_empty() { "kept".to_owned() } else { wrong.join("; ") });
    if asked.is_recorded {
        figures.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/LOAD.md"), &origin);
    }
    wrong
}

/// Says that it is over when it is dropped, though it be by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Play<'_> {
    fn spawn(&self) -> Process {
        self.fleet.workspace.spawn(&["--format", "json", "serve"])
    }

    /// A server that is ready, and has ended what was interrupted.
    fn start(&mut self) -> Serving {
        let begun = Instant::now();
        let process = self.spawn();
        let api = Api::announced(&self.fleet.workspace, &process);
        if let Some(run) = self.accepted.last() {
            let path = format!("/api/v1/runs/{run}");
            until(&path, || (api.get(&path).status == 200).then_some(()));
            self.answers.push(begun.elapsed());
        }
        let api = Api::of(&self.fleet.workspace, &process);
        self.starts.push(begun.elapsed());
        for run in std::mem::take(&mut self.interrupted) {
            let phase = api.get(&format!("/api/v1/runs/{run}")).json["phase"].clone();
            if phase != "interrupted" {
                let said = format!("run {run} went when it was killed, and is {phase} now");
                self.wrong.add("stuck", [said]);
            }
        }
        Serving { process, api }
    }

    /// Ends a server as people do.
    fn end(&self, serving: Serving) {
        serving.process.sigterm();
        self.fleet.workspace.end(serving.process, SOON * 2).expect_code(0);
        self.oracle.wait_for_quiet(SOON);
    }

    /// The first runs of all syncs, and what a server takes that has nothing to do.
    fn idle(&mut self) {
        let serving = self.start();
        self.figures.times("start with an empty state", &self.starts);
        let begun = Instant::now();
        self.run_all(&serving);
        let took = begun.elapsed().as_secs_f64();
        self.figures.add("first runs of all syncs", format!("{took:.1} s, answers at once"));
        let (since, before) = (Instant::now(), usage(&serving.process));
        std::thread::sleep(self.asked.idle);
        let peak = serving.process.most_memory();
        let used = usage(&serving.process).since(before, since.elapsed(), peak);
        self.figures.add("idle, after those", used);
        self.end(serving);
        let serving = self.start();
        let (since, before) = (Instant::now(), usage(&serving.process));
        std::thread::sleep(self.asked.idle);
        let peak = serving.process.most_memory();
        let used = usage(&serving.process).since(before, since.elapsed(), peak);
        self.figures.add("idle, after a restart", used);
        self.end(serving);
    }

    /// A run of each sync, to its end; the greatest of their numbers.
    fn run_all(&mut self, serving: &Serving) -> Vec<i64> {
        let run = |sync: usize| {
            let path = format!("/api/v1/syncs/{}/run", name_of(sync));
            let answered = serving.api.post(&path, "").expect(202);
            answered.json["run"].as_i64().expect("a run has a number")
        };
        let runs: Vec<i64> = (0..self.fleet.len()).map(run).collect();
        let last = runs.iter().copied().max().unwrap_or_default();
        let limit = Duration::from_secs(20) + Duration::from_secs(1) * self.asked.syncs;
        let left = self.wait_while(limit, move |run| run.id <= last);
        let said = left
            .iter()
            .map(|run| format!("after {limit:?} run {} of {} is {}", run.id, run.sync, run.word()));
        self.wrong.add("lost", said);
        self.accepted.extend(&runs);
        runs
    }

    /// Waits while there are such runs without an end; those that there are when the time is over.
    fn wait_while(&self, limit: Duration, is_such: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        let until = Instant::now() + limit;
        let mut database = Database::open(&self.fleet.workspace.state());
        let left = loop {
            let mut left = database.unfinished();
            left.retain(&is_such);
            if left.is_empty() || Instant::now() >= until {
                break left;
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        database.close();
        left
    }

    /// Ticks of the schedule, watched and asked about meanwhile.
    fn loaded(&mut self) -> Serving {
        let serving = self.start();
        let state = self.fleet.workspace.state();
        let whole = self.asked.firing.period();
        // What was missed meanwhile is caught up on first, as far as that can be.
        self.wait_while(whole * 2, Stored::waits);
        let period = i64::try_from(whole.as_millis()).expect("it is no such period");
        let first = (now() / period + 1) * period;
        let end = first + i64::from(self.asked.ticks) * period;
        let before = (Instant::now(), usage(&serving.process));
        let is_over = AtomicBool::new(false);
        let chance = SmallRng::seed_from_u64(self.asked.seed + 1);
        let (seen, answers) = std::thread::scope(|scope| {
            let ends = Ends(&is_over);
            let watching = scope.spawn(|| watch::watch(&state, period, &is_over));
            let asking =
                scope.spawn(|| prober::ask_until(&serving.api, self.fleet.len(), chance, &is_over));
            // Until the last of the ticks has had all of its time.
            let left = u64::try_from(end - 50 - now()).unwrap_or_default();
            std::thread::sleep(Duration::from_millis(left));
            drop(ends);
            (watching.join().expect("it panics not"), asking.join().expect("it panics not"))
        });
        let (since, earlier) = before;
        let peak = serving.process.most_memory();
        let used = usage(&serving.process).since(earlier, since.elapsed(), peak);
        self.figures.add("under load", used);
        self.judge_ticks(&seen, first, end, period);
        self.count_answers(answers);
        serving
    }

    fn judge_ticks(&mut self, seen: &Seen, first: i64, end: i64, period: i64) {
        let syncs: Vec<String> = (0..self.fleet.len()).map(name_of).collect();
        let ticks = seen.ticks(&syncs, first, end, period);
        self.figures
            .times("lateness, from due to durable In Queue; p99 < 1 s is to hold", &ticks.lateness);
        self.figures.add(
            "ticks that joined a run that waited",
            format!("{} of {}", ticks.joined, ticks.joined + ticks.lateness.len()),
        );
        let lost = ticks.lost.iter().map(|(sync, due)| format!("{sync}, due at {due}, has no run"));
        self.wrong.add("lost", lost);
        let mut going = seen.going.clone();
        going.sort_unstable();
        if let (Some(most), Some(median)) = (going.last(), going.get(going.len() / 2)) {
            self.figures.add("runs that go at once", format!("median {median}, at most {most}"));
        }
        self.wrong.add("overlap", seen.violations.iter().cloned());
        let mut firsts: BTreeMap<i64, Instant> = BTreeMap::new();
        for request in self.oracle.requests() {
            if let Some(run) = request.sent.run.and_then(|run| run.parse().ok()) {
                firsts.entry(run).or_insert(request.sent.at);
            }
        }
        let arrivals = seen.arrivals.iter();
        let times: Vec<Duration> = arrivals
            .filter_map(|seen| Some(firsts.get(&seen.run.id)?.saturating_duration_since(seen.seen)))
            .collect();
        self.figures.times("from durable In Queue to the first row at the destination", &times);
    }

    fn count_answers(&mut self, answers: Answers) {
        let Answers { took, accepted, wrong } = answers;
        let all: Vec<Duration> = took.values().flatten().copied().collect();
        self.figures.times("answers of the API meanwhile; p99 < 50 ms is to hold", &all);
        for (what, took) in took {
            self.figures.add(format!("- {what}"), spread(&took));
        }
        self.wrong.add("no answer", wrong);
        self.accepted.extend(accepted);
    }

    /// Kills and restarts; the server that serves now is the first to be killed.
    fn kills(&mut self, first: Serving) {
        let Asked { cycles, .. } = *self.asked;
        let before = (self.starts.len(), self.answers.len());
        let mut serving = Some(first);
        let (mut early, mut went) = (0, 0);
        for cycle in 0..cycles {
            // One of five is killed while it starts.
            let process = if cycle % 5 == 4 {
                early += 1;
                let process = self.spawn();
                let longest =
                    self.starts.last().copied().unwrap_or(SOON) + Duration::from_millis(200);
                std::thread::sleep(self.random(longest));
                process
            } else {
                let Serving { process, api } = serving.take().unwrap_or_else(|| self.start());
                self.live(&api);
                process
            };
            went += self.kill(process);
            if cycle % 10 == 9 && !self.asked.is_quiet {
                println!("after {} kills: {went} runs went when they were killed", cycle + 1);
            }
        }
        if went == 0 {
            self.wrong.add("not fired", ["no run went when the server was killed".to_owned()]);
        }
        let said = format!("{cycles}, {early} of them while it started; {went} runs went then");
        self.figures.add("kills", said);
        if let Some(serving) = serving {
            self.kill(serving.process);
        }
        self.figures.times(
            "from a start after a kill to the first answer for an earlier run; max < 3 s is to hold",
            &self.answers[before.1..],
        );
        self.figures.times("from a start after a kill to being ready", &self.starts[before.0..]);
    }

    /// Syncs are asked for until a random moment.
    fn live(&mut self, api: &Api) {
        let until = Instant::now() + self.random(self.asked.longest_life);
        let mut answers = Answers::default();
        while Instant::now() < until {
            answers.trigger(api, &name_of(self.chance.random_range(0..self.fleet.len())));
            std::thread::sleep(self.random(Duration::from_millis(200)));
        }
        self.accepted.extend(answers.accepted);
        self.wrong.add("no answer", answers.wrong);
    }

    fn random(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.chance.random_range(0.0..1.0))
    }

    /// Kills it; how many runs went.
    fn kill(&mut self, process: Process) -> usize {
        process.kill();
        self.oracle.wait_for_quiet(SOON);
        let left = store::left_behind(&self.fleet.workspace.state());
        let going: Vec<&Stored> = left.iter().filter(|run| run.goes()).collect();
        self.wrong.add("overlap", watch::twice(&going));
        let known = self.interrupted.len();
        self.interrupted.extend(going.iter().map(|run| run.id));
        self.interrupted.len() - known
    }

    /// The sources change no more, and each sync runs once again: all is judged.
    fn settle(&mut self) {
        self.oracle.clear_faults();
        let serving = self.start();
        let settled: BTreeSet<i64> = self.run_all(&serving).into_iter().collect();
        self.end(serving);
        let mut database = Database::open(&self.fleet.workspace.state());
        let runs = database.runs_after(0);
        database.close();
        let last = runs.iter().filter(|run| settled.contains(&run.id));
        let bad = last.filter(|run| !run.is("succeeded") && !run.is("skipped"));
        self.wrong.add(
            "not settled",
            bad.map(|run| format!("run {} of {}: {} {:?}", run.id, run.sync, run.phase, run.error)),
        );
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        runs.iter().for_each(|run| *outcomes.entry(run.word()).or_default() += 1);
        let said: Vec<String> =
            outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
        self.figures.add("runs", format!("{}: {}", runs.len(), said.join(", ")));
        let failed = runs.iter().filter(|run| run.is("failed"));
        let errors: BTreeSet<&str> = failed.filter_map(|run| run.error.as_deref()).collect();
        for error in errors.iter().take(3) {
            self.figures.add("a run failed", *error);
        }
        self.figures.add("Sync Now answered with 202", self.accepted.len().to_string());
        let period = i64::try_from(self.asked.firing.period().as_millis());
        let period = period.expect("it is no such period");
        let settled = settled.last().copied().unwrap_or_default();
        judge::runs(&mut self.wrong, &runs, &self.accepted, settled, period);
        judge::order(&mut self.wrong, &self.oracle.requests());
        judge::destination(&mut self.wrong, self.fleet, self.oracle);
    }
}
