//! The real binary, killed at random: a story is made from a seed, and every seed tells the same story again as far as
//! the machine's timing lets it.
//!
//! A story changes the source, runs the sync, by itself or in the server, and ends the process: at a random time, at the
//! n-th request or answer that the oracle sees, at the n-th hit of a point of the protocol, by a signal that asks it to
//! stop, or not at all. Meanwhile the oracle plays a mix of faults, and now and then a person releases or discards what is
//! held. At the end the judge looks at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use counterflow::points::Point;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::runner::{self, catch};
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::fault::Fault;
use crate::support::judge::{Left, id};
use crate::support::known;
use crate::support::people::{Person, key, people};
use crate::support::server::{Api, until as until_so};
use crate::support::workspace::Setup;

/// Holds that a story may end with, one after the other.
const HOLDS: usize = 4;
/// Stories that are told at once.
const SIDE_BY_SIDE: usize = 4;
/// Beyond its drain limit a process that was asked to stop has this long.
const GRACE: Duration = Duration::from_secs(1);
/// How long a drain may take in these stories; `Setup::drain_timeout` in words.
const DRAIN: Duration = Duration::from_secs(2);

/// What chooses the moment of a kill. At a point of the protocol the process aborts; the others are SIGKILL.
const MOMENTS: [&str; 5] = ["time", "request", "answer", "abort at a point", "server"];
/// So many kills must have met everything that is played.
const ENOUGH: u64 = 300;

/// Ids that a destination may reject.
const REJECTED: [u32; 12] = [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45];

/// What came of many stories.
#[derive(Debug, Default)]
pub struct Summary {
    pub stories: u64,
    /// Processes that were ended by a kill, by what chose the moment.
    kills: BTreeMap<&'static str, u64>,
    /// Processes that were asked to stop.
    stops: u64,
    /// Processes that were the server.
    served: u64,
    /// Decisions of people on what was held, while faults went on.
    decisions: u64,
    /// Requests that met a fault, by its name.
    faults: BTreeMap<String, u64>,
    /// The longest that one of them took beyond the moment it was asked.
    pub longest_stop: Duration,
    pub failures: Vec<String>,
}

impl Summary {
    pub fn is_well(&self) -> bool {
        self.failures.is_empty() && self.stories > 0 && self.missing().is_empty()
    }

    /// What chance must have played by now, and did not.
    pub fn missing(&self) -> Vec<String> {
        if self.kills() < ENOUGH {
            return Vec::new();
        }
        let is_met = |moment: &&str| self.kills.get(*moment).is_some_and(|count| *count > 0);
        let moments = MOMENTS.iter().filter(|moment| !is_met(moment)).map(|m| (*m).to_owned());
        let faults = all_faults()
            .iter()
            .map(|fault| name_of(&format!("{fault:?}")))
            .collect::<BTreeSet<_>>();
        let faults = faults.into_iter().filter(|name| !self.faults.contains_key(name));
        let counts =
            [("stops", self.stops), ("servers", self.served), ("decisions", self.decisions)];
        let counts = counts.iter().filter(|(_, count)| *count == 0).map(|(w, _)| (*w).to_owned());
        moments.chain(faults).chain(counts).collect()
    }

    pub fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    pub fn add(&mut self, other: &Summary) {
        self.stories += other.stories;
        for (moment, count) in &other.kills {
            *self.kills.entry(moment).or_default() += count;
        }
        self.stops += other.stops;
        self.served += other.served;
        self.decisions += other.decisions;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        self.longest_stop = self.longest_stop.max(other.longest_stop);
        self.failures.extend(other.failures.iter().cloned());
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { stories, kills, stops, served, decisions, faults, failures, .. } = self;
        let faulty: u64 = faults.values().sum();
        let longest = self.longest_stop.as_secs_f64();
        let kills: Vec<String> =
            kills.iter().map(|(moment, count)| format!("{count} by {moment}")).collect();
        write!(
            f,
            "{} kills ({}) in {stories} stories; {served} servers, {decisions} decisions; {faulty} requests met {} faults; {stops} stops, the longest {longest:.2} s; {} failures",
            self.kills(),
            kills.join(", "),
            faults.len(),
            failures.len()
        )?;
        let missing = self.missing();
        match missing.is_empty() {
            true => Ok(()),
            false => write!(f, "; FAILED: never played: {}", missing.join(", ")),
        }
    }
}

/// Tells stories with the seeds from `first` on until there were so many kills.
pub fn play(first: u64, kills: u64) -> Summary {
    let next = AtomicU64::new(first);
    let summary = Mutex::new(Summary::default());
    let lock = || summary.lock().expect("nothing panics with the lock");
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while lock().kills() < kills && lock().failures.is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut one = Summary { stories: 1, ..Summary::default() };
                    if let Err(said) = catch(|| tell(seed, &mut one)) {
                        println!("FAILED story {seed}\n{said}");
                        one.failures.push(said);
                    }
                    lock().add(&one);
                }
            });
        }
    });
    let summary = summary.into_inner().expect("nothing panics with the lock");
    runner::figure(format!("{summary}; seeds {first} to {}", next.into_inner() - 1));
    summary
}

/// Tells the one story of a seed.
pub fn once(seed: u64) -> bool {
    let mut summary = Summary { stories: 1, ..Summary::default() };
    let told = catch(|| tell(seed, &mut summary));
    if let Err(said) = &told {
        println!("FAILED story {seed}\n{said}");
    }
    println!("{summary}");
    told.is_ok()
}

fn tell(seed: u64, summary: &mut Summary) {
    let mut random = SmallRng::seed_from_u64(seed);
    let replay =
        format!("cargo test --features faults --test faults -- kills --once --seed {seed}");
    let setup = Setup {
        mode: if random.random_bool(0.7) { "mirror" } else { "upsert" },
        batch: random.random_range(1..=8),
        concurrency: random.random_range(1..=4),
        attempts: random.random_range(1..=4),
        max_deletes: *[None, Some("3"), Some("30%"), Some("100%")]
            .choose(&mut random)
            .expect("there are some"),
        drain_timeout: "2s",
        request_timeout: Some("1s"),
        longest_time: "2s",
        location: if random.random_bool(0.3) { "people.parquet" } else { "people.csv" }.to_owned(),
        head: "server: { listen: \"127.0.0.1:0\" }",
        rests: true,
        repeat: ["natural", "natural", "key", "never"].choose(&mut random).expect("there are some"),
        ..Setup::default()
    };
    let mut case = Case::new(&replay, setup);
    case.say(format!("{:?}", case.workspace.setup));
    let mut counters = BTreeMap::new();
    let mut held: BTreeSet<u32> = (1..=random.random_range(5..=40)).collect();
    for _ in 0..random.random_range(3..=8) {
        change(&mut held, &mut counters, &mut random);
        let now: Vec<Person> = held
            .iter()
            .map(|id| Person::new(*id, counters.get(id).copied().unwrap_or(1)))
            .collect();
        case.write(&now);
        let mix = faults(&mut random);
        case.say(format!("the oracle plays {mix:?}"));
        case.oracle.mix(random.random(), mix);
        run(&mut case, &mut random, summary);
        decide(&mut case, &mut random, summary);
    }
    let_go(&mut case);
    for request in case.oracle.requests() {
        *summary.faults.entry(name_of(&request.fault)).or_default() += 1;
    }
    summary.faults.remove("None");
    let rejected = if is_mirror(&case) { BTreeSet::new() } else { left_rejected(&case, &held) };
    case.judge_leaving(&Left { rejected, ..Left::default() });
}

fn is_mirror(case: &Case) -> bool {
    case.workspace.setup.mode == "mirror"
}

/// Rejected, by the oracle, and gone from the source since: where nothing is deleted, what was said of them stands. Only
/// where the answer was lost with a process is the key in doubt instead, or nobody's if it was never taken.
fn left_rejected(case: &Case, held: &BTreeSet<u32>) -> BTreeSet<u32> {
    let entries = known::entries(&case.workspace).unwrap_or_default();
    let (refused, table) = (case.oracle.refused(), case.oracle.table());
    let mut left = BTreeSet::new();
    for key in refused.iter().filter(|key| !held.contains(&id(key))) {
        let entry = entries.get(key);
        if entry.is_some_and(|entry| entry.rejection.is_some()) {
            left.insert(id(key));
        } else {
            let is_open = entry.map_or(!table.contains_key(key), |entry| entry.doubt.is_some());
            assert!(is_open, "I1: {key} was refused, and {entry:?} says nothing\n{}", case.print());
        }
    }
    left
}

/// All faults are over, and a person releases what the guard has held.
fn let_go(case: &mut Case) {
    case.oracle.clear_faults();
    case.oracle.release();
    // Before a new epoch would heal it, all that is not named is as it must be.
    case.assert_settles();
    // In a new epoch what was rejected is due again.
    case.sync(&["--full"]);
    for _ in 0..HOLDS {
        case.sync(&[]);
        let Some(run) = held_in(case) else { return };
        case.release(&run);
    }
}

/// The run whose deletes are held, if any are.
fn held_in(case: &Case) -> Option<String> {
    let view = known::view(&case.workspace)?;
    view.header().hold.as_ref().map(|hold| hold.run.to_string())
}

/// Now and then a person looks at what is held, while faults go on, and lets it go or keeps it for good.
fn decide(case: &mut Case, random: &mut SmallRng, summary: &mut Summary) {
    let Some(run) = held_in(case).filter(|_| random.random_bool(0.8)) else { return };
    summary.decisions += 1;
    if random.random_bool(0.5) {
        case.release(&run);
        return;
    }
    let entries = known::entries(&case.workspace).unwrap_or_default();
    let held = entries.iter().filter(|(_, entry)| entry.held.is_some());
    let ids: Vec<u32> = held.map(|(key, _)| id(key)).collect();
    case.discard(&run, ids);
}

/// Rows come, change, go, and return to what they were.
fn change(held: &mut BTreeSet<u32>, counters: &mut BTreeMap<u32, u32>, random: &mut SmallRng) {
    for _ in 0..random.random_range(0..=10) {
        let id = random.random_range(1..=45);
        match random.random_range(0..5) {
            0 | 1 => {
                held.insert(id);
                *counters.entry(id).or_insert(1) += 1;
            }
            2 => {
                held.insert(id);
                counters.insert(id, 1);
            }
            _ => {
                held.remove(&id);
            }
        }
    }
    if held.is_empty() {
        held.extend(people(1..=3).iter().map(|person| person.id));
    }
}

/// Some faults, each with a probability.
fn faults(random: &mut SmallRng) -> Vec<(f64, Fault)> {
    if random.random_bool(0.3) {
        return Vec::new();
    }
    let count = random.random_range(1..=4);
    let all = all_faults();
    all.sample(random, count).map(|fault| (random_share(fault), fault.clone())).collect()
}

/// All that may be among them.
fn all_faults() -> [Fault; 19] {
    [
        Fault::ApplyThenDrop,
        Fault::DropBeforeApply,
        Fault::ApplyThenReset,
        Fault::AnswerThenReset,
        Fault::ApplyThenCut(30),
        Fault::WrongCount,
        Fault::Html200,
        Fault::status(500),
        Fault::status(401),
        Fault::Redirect(307, "http://127.0.0.1:9/elsewhere".to_owned()),
        Fault::ApplyThenHold,
        Fault::ApplyLate,
        Fault::Hold,
        Fault::RejectKeys(REJECTED.map(key).into(), "no".to_owned()),
        Fault::status(503),
        Fault::retry_after(429, "0"),
        Fault::TooLarge413(3),
        Fault::SlowAnswer(Duration::from_millis(30)),
        Fault::SlowPieces(4, Duration::from_millis(5)),
    ]
}

/// What a fault is called: those that differ by their numbers only have one name, but a status is what it is.
fn name_of(said: &str) -> String {
    let name = said.split(['(', ' ']).next().unwrap_or_default();
    let status = said.strip_prefix("Status { code: ").and_then(|rest| rest.split(',').next());
    status.map_or_else(|| name.to_owned(), |status| format!("{name} {status}"))
}

/// Slow answers make windows for kills, and may be frequent; the others must leave something delivered.
fn random_share(fault: &Fault) -> f64 {
    if matches!(fault, Fault::SlowAnswer(_) | Fault::SlowPieces(..)) { 0.3 } else { 0.1 }
}

/// One process, from its start to an end that the seed chooses.
fn run(case: &mut Case, random: &mut SmallRng, summary: &mut Summary) {
    let more: &[&str] = if random.random_bool(0.15) { &["--full"] } else { &[] };
    let before = case.oracle.request_count();
    let nth = random.random_range(1..=6);
    match random.random_range(0..12) {
        10 | 11 => serve(case, random, summary),
        0..=2 => {
            let started = case.spawn(more);
            // Not a wait: the moment of the kill, from before the state is opened to beyond the end.
            let moment = Duration::from_millis(
                10_u64.pow(random.random_range(0..=2)) * random.random_range(1..=6),
            );
            std::thread::sleep(moment);
            kill(case, started, summary, "time");
        }
        3 | 4 => {
            let started = case.spawn(more);
            until(case, &started, |journal| journal.requests.len() >= before + nth);
            kill(case, started, summary, "request");
        }
        5 => {
            let started = case.spawn(more);
            until(case, &started, |journal| {
                journal.requests.iter().skip(before).filter(|r| r.is_answered_whole).count() >= nth
            });
            kill(case, started, summary, "answer");
        }
        6 | 7 => {
            let point = Point::ALL.choose(random).expect("there are points");
            let end_at = format!("{}:{nth}", point.name());
            let started = case.spawn_with(more, &[("COUNTERFLOW_END_AT", &end_at)]);
            let finished = case.end(started);
            if finished.signal.is_some() {
                *summary.kills.entry("abort at a point").or_default() += 1;
            }
        }
        8 => {
            let started = case.spawn(more);
            until(case, &started, |journal| journal.requests.len() >= before + nth);
            let signal = *["TERM", "INT"].choose(random).expect("there are two");
            case.say(format!("SIG{signal}"));
            let asked = started.process.signal_at(signal);
            let finished = case.end_within(started, DRAIN + GRACE);
            let took = finished.ended.saturating_duration_since(asked);
            summary.stops += 1;
            summary.longest_stop = summary.longest_stop.max(took);
        }
        _ => {
            let started = case.spawn(more);
            case.end(started);
        }
    }
}

/// The server makes the run, and is killed, asked to stop, or asked once the run has ended.
fn serve(case: &mut Case, random: &mut SmallRng, summary: &mut Summary) {
    let nth = random.random_range(1..=6);
    let before = case.oracle.request_count();
    let started = case.spawn_serve();
    let server = Api::of(&case.workspace, &started.process);
    let body = if random.random_bool(0.15) { r#"{"full": true}"# } else { "{}" };
    let run = server.run(body);
    until_so("the run has come far enough", || {
        let document = server.get(&format!("/api/v1/runs/{run}")).expect(200).json;
        let is_ended = document["is_ended"] == true;
        (is_ended || case.oracle.request_count() >= before + nth).then_some(())
    });
    summary.served += 1;
    match random.random_range(0..4) {
        0 | 1 => return kill(case, started, summary, "server"),
        2 => drop(server.ended(run)),
        _ => {}
    }
    case.say("SIGTERM");
    let asked = started.process.signal_at("TERM");
    case.end_within(started, DRAIN + GRACE);
    summary.stops += 1;
    summary.longest_stop = summary.longest_stop.max(asked.elapsed());
}

fn kill(case: &mut Case, started: Started, summary: &mut Summary, moment: &'static str) {
    let finished = case.kill(started);
    if finished.signal.is_some() {
        *summary.kills.entry(moment).or_default() += 1;
    }
}

/// Waits until the journal is so, or the process has ended.
fn until(
    case: &Case,
    started: &Started,
    is_so: impl Fn(&crate::support::journal::Journal) -> bool,
) {
    case.oracle.wait_while(SOON, |journal| !is_so(journal) && started.process.is_running());
}
