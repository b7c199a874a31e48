//! The simulator: histories made from a seed, played through the pure parts of the product in virtual time, on a disk
//! that can lose what was not synced, against a destination that loses answers; judged after every run and at the end.
//!
//! What is the product's own: the examiner and its table, intake and late lanes, removals, guard and holds, kinds and
//! definitions, batches, window, retries, receipts, rendering and idempotency keys, and all of the snapshot. What stands
//! for the rest: an order of events in place of tasks (session.rs, flights.rs, reading.rs), a destination (target.rs) and a
//! source (source.rs). Every history can be replayed from its seed alone, and a failing one is made smaller first.

mod chance;
mod cursor;
mod fixture;
mod flights;
mod held;
mod judge;
mod numbers;
mod plan;
pub mod planted;
mod reading;
mod sample;
mod session;
mod shrinking;
mod source;
mod target;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::judge::Broken;
use self::plan::Plan;
pub use self::world::Statistics;
use self::world::World;
use crate::runner;

/// A history in which an invariant does not hold.
#[derive(Debug)]
pub struct Violation {
    pub seed: u64,
    pub invariant: &'static str,
    what: String,
    plan: Plan,
    /// The shrunk plan as it was played, with every request and what came of it.
    story: Vec<String>,
}

/// What came of many histories.
#[derive(Debug, Default)]
pub struct Summary {
    pub histories: u64,
    pub statistics: Statistics,
    /// The first one found.
    pub violation: Option<Violation>,
    seed: u64,
    took: Duration,
}

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    Histories(u64),
    Time(Duration),
}

/// What must have happened at least once in 20,000 histories.
const EXPECTED: [&str; 65] = [
    "answers 401",
    "answers 403",
    "answers 413",
    "answers 429",
    "answers 503",
    "answers lost",
    "answers lost and applied late",
    "answers that ask for records again",
    "answers that reject records",
    "answers with a wrong count",
    "bounds that moved",
    "bounds that stayed",
    "changes of the mapping",
    "clock steps",
    "connections refused",
    "crashes between two steps",
    "crashes on disk",
    "crashes while deciding",
    "crashes while opening",
    "discards",
    "disk failures",
    "drains beyond their limit",
    "epochs",
    "full resyncs",
    "halts",
    "histories whose segments were merged",
    "holds",
    "kills",
    "power cuts",
    "power cuts that lose pages",
    "power cuts that tear",
    "reads of everything by a cursor",
    "reads of what is new by a cursor",
    "reads that fail",
    "reads that prove nothing",
    "reads without room to put keys aside",
    "records deferred",
    "records deleted",
    "records delivered",
    "records rejected",
    "records unknown",
    "records unsent",
    "recoveries",
    "recoveries from a torn journal",
    "releases",
    "requests applied late",
    "rows asked for by their keys",
    "rows decided on after the read",
    "rows found invalid after the read",
    "rows invalid",
    "rows of the future",
    "rows repeated after they had left",
    "rows written late",
    "rows written later than is read",
    "runs",
    "runs in mirror mode",
    "runs in upsert mode",
    "runs that left nothing to do",
    "samples",
    "samples before the first run",
    "samples under a changed mapping",
    "samples while a hold stands",
    "samples while an epoch is open",
    "stops",
    "stops at once",
];

/// Histories after which all of that must have happened.
const ENOUGH: u64 = 20_000;

/// Plays histories and prints what came of them; whether all is well.
pub fn play(seed: u64, extent: Extent) -> bool {
    let summary = many(seed, extent);
    print!("{summary}");
    runner::figure(format!("{summary:#}"));
    summary.is_well()
}

/// Plays the history of a seed.
///
/// # Errors
/// An invariant does not hold in it; the violation names the smallest history found that breaks the same one.
pub fn run(seed: u64) -> Result<Statistics, Box<Violation>> {
    let plan = Plan::of(seed);
    attempt(&plan).map_err(|broken| {
        let (plan, broken) = shrinking::shrink(plan, broken, &attempt);
        let mut world = World::new(&plan.setting, true);
        let _ = catch_unwind(AssertUnwindSafe(|| world.play(&plan)));
        let story = world.target.story.take().unwrap_or_default();
        Box::new(Violation { seed, invariant: broken.invariant, what: broken.what, plan, story })
    })
}

fn attempt(plan: &Plan) -> Result<Statistics, Broken> {
    let mut world = World::new(&plan.setting, false);
    match catch_unwind(AssertUnwindSafe(|| world.play(plan))) {
        Ok(played) => played.map(|()| world.statistics),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Broken { invariant: "panic", what: text.unwrap_or_default() })
        }
    }
}

/// Plays histories on all cores, those of `seed`, `seed + 1` and so on, until one fails or the extent is reached.
pub fn many(seed: u64, extent: Extent) -> Summary {
    let (begun, next, is_over) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let play = || {
        let (mut own, mut played) = (Statistics::new(), 0);
        while !is_over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_beyond = match extent {
                Extent::Histories(count) => number >= count,
                Extent::Time(time) => begun.elapsed() >= time,
            };
            if is_beyond {
                break;
            }
            match run(seed.wrapping_add(number)) {
                Ok(statistics) => add(&mut own, &statistics),
                Err(violation) => {
                    is_over.store(true, Ordering::Relaxed);
                    let mut summary = summary.lock().expect("nobody panics with it");
                    summary.violation.get_or_insert(*violation);
                }
            }
            played += 1;
        }
        let mut summary = summary.lock().expect("nobody panics with it");
        add(&mut summary.statistics, &own);
        summary.histories += played;
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(play))));
    std::panic::set_hook(hook);
    let mut summary = summary.into_inner().expect("nobody panics with it");
    (summary.took, summary.seed) = (begun.elapsed(), seed);
    summary
}

fn add(sum: &mut Statistics, other: &Statistics) {
    other.iter().for_each(|(what, count)| *sum.entry(what).or_default() += count);
}

impl Summary {
    /// What should have happened and never did, in so many histories that it should have.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |what: &&&str| self.statistics.get(**what).is_none_or(|count| *count == 0);
        match self.histories < ENOUGH {
            true => Vec::new(),
            false => EXPECTED.iter().filter(is_missing).copied().collect(),
        }
    }

    pub fn is_well(&self) -> bool {
        self.violation.is_none() && self.missing().is_empty()
    }
}

/// All of it in lines; the alternate form is one sentence.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !f.alternate() {
            for (what, count) in &self.statistics {
                writeln!(f, "{count:>10}  {what}")?;
            }
            if let Some(violation) = &self.violation {
                writeln!(f, "{violation}")?;
            }
            return self
                .missing()
                .iter()
                .try_for_each(|what| writeln!(f, "FAILED: `{what}` never happened"));
        }
        let found = u64::from(self.violation.is_some());
        write!(
            f,
            "simulator: {} histories from seed {}, {found} violations, in {:.0} s",
            self.histories,
            self.seed,
            self.took.as_secs_f64()
        )
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "FAILED: {} does not hold: {}", self.invariant, self.what)?;
        writeln!(f, "{:?}", self.plan.setting)?;
        self.story.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let replay = "cargo test --features faults --test faults -- simulator";
        write!(f, "replay: {replay} --seed {} --once", self.seed)
    }
}
