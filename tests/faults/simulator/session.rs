//! One run, driven through the real parts of the product by what stands for its loop: `engine::run`, `engine::line` and
//! `delivery::worker` without tasks, in virtual time, in an order that a seed decides.
//!
//! Not here: the read (reading.rs), requests and answers (flights.rs), how a sample begins (sample.rs).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use counterflow::delivery::batch::Batcher;
use counterflow::delivery::dispatch::{Dispatch, Terms};
use counterflow::delivery::window::ParcelId;
use counterflow::delta::repetitions::Repeated;
use counterflow::destination::definition::BatchLimits;
use counterflow::domain::entry::Operation;
use counterflow::domain::id::{Instant, IntentNumber};
use counterflow::domain::kind::{Choice, Kind, KindReason};
use counterflow::domain::run::{self, Outcome};
use counterflow::domain::sync::{Definition, Mode, Sync};
use counterflow::domain::tally::Tally;
use counterflow::engine::course::Course;
use counterflow::engine::extent::{Noted, forget_foreign};
use counterflow::engine::fates::Fates;
use counterflow::engine::intake::Waiting;
use counterflow::engine::line::End;
use counterflow::engine::opening::{self, Asked, OfSample};
use counterflow::engine::prepare::Error;
use counterflow::engine::proving::{check_rows, lacking};
use counterflow::engine::removals;
use counterflow::engine::skipping::Begun;
use counterflow::shutdown::Stage;
use counterflow::snapshot::header::Header;
use counterflow::snapshot::journal::Syncer;
use counterflow::snapshot::{self, Snapshot};

use super::chance::Chance;
use super::cursor;
use super::fixture::{self, RETRY, SYNC, baseline, spill};
use super::flights::Flight;
use super::judge::{Broken, Facts, Good, Must, broken, entries};
use super::plan::{Loss, Run, Trouble};
use super::sample;
use super::world::World;

/// Ticks that no run without a defect takes.
const MOST_TICKS: u32 = 5_000;

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    Crashed(Loss),
    /// The disk failed, and the process lives.
    Failed,
    /// A sample is never the first run.
    Refused,
    Committed {
        outcome: Outcome,
        tally: Tally,
    },
}

/// Why a run does not go on.
#[derive(Debug)]
pub enum Halt {
    Crash(Loss),
    Disk(snapshot::Error),
    Refused,
    Broken(Broken),
}

impl From<Broken> for Halt {
    fn from(broken: Broken) -> Halt {
        Halt::Broken(broken)
    }
}

impl From<snapshot::Error> for Halt {
    fn from(error: snapshot::Error) -> Halt {
        Halt::Disk(error)
    }
}

pub struct Session<'w> {
    pub world: &'w mut World,
    pub run: &'w Run,
    pub chance: Chance,
    tick: u32,
    pub elapsed: Duration,
    pub stage: Stage,
    pub definition: Definition,
    pub sync: Sync,
    /// What the snapshot's header said when the run began to read.
    before: Header,
    pub snapshot: Snapshot,
    pub course: Course,
    pub dispatch: Dispatch,
    pub flights: BTreeMap<ParcelId, Flight>,
    pub syncer: Option<Syncer>,
    /// Answers so far.
    pub answers: u32,
    pub facts: Facts,
    pub started: Instant,
    /// What it notes for the next run, and of the model's cursor.
    begun: Begun,
    pub noted: Option<Noted>,
    vanished: Vec<String>,
    is_committed: bool,
}

/// Plays a run to its end.
pub fn play(world: &mut World, run: &Run) -> Result<Ended, Broken> {
    world.runs += 1;
    world.count(match world.mode {
        Mode::Mirror => "runs in mirror mode",
        Mode::Upsert => "runs in upsert mode",
    });
    let on_disk = run.troubles.iter().find_map(|trouble| match trouble {
        Trouble::CrashOnDisk { operation, loss } => Some((*operation, true, Some(*loss))),
        Trouble::DiskFails { operation, is_lasting } => Some((*operation, *is_lasting, None)),
        _ => None,
    });
    let before = world.disk.operations();
    if let Some((operation, is_lasting, _)) = on_disk {
        world.disk.fail_at(operation, is_lasting);
    }
    let mut is_open = false;
    let ended = begin(world, run).and_then(|mut session| {
        is_open = true;
        let ended = session.follow();
        session.leave_behind();
        ended
    });
    match ended {
        Ok(ended) => Ok(ended),
        Err(Halt::Broken(broken)) => Err(broken),
        Err(Halt::Refused) => Ok(Ended::Refused),
        Err(Halt::Crash(loss)) => {
            world.count("crashes between two steps");
            Ok(Ended::Crashed(loss))
        }
        Err(Halt::Disk(error)) => {
            let has_failed = |at: u64| world.disk.operations() > before + at;
            match on_disk.filter(|(operation, ..)| has_failed(*operation)) {
                Some((_, _, Some(loss))) => {
                    world.count(if is_open { "crashes on disk" } else { "crashes while opening" });
                    Ok(Ended::Crashed(loss))
                }
                Some(_) => {
                    world.count("disk failures");
                    Ok(Ended::Failed)
                }
                None => broken("I9", format!("the disk is well, and the run fails: {error}")),
            }
        }
    }
}

/// What `prepare` and the opening of a line do.
fn begin<'w>(world: &'w mut World, run: &'w Run) -> Result<Session<'w>, Halt> {
    let mut snapshot = Snapshot::open(Arc::new(world.disk.clone()), SYNC, world.known)?;
    if let Some(recovered) = snapshot.recovered() {
        world.count("recoveries");
        if recovered.dropped_bytes > 0 {
            world.count("recoveries from a torn journal");
        }
    }
    world.catch_up();
    if snapshot.header().generation > 0 {
        world.remember(&snapshot);
    }
    let found = entries(snapshot.view())?;
    world.judge.snapshot(&found, snapshot.header(), &world.target)?;
    let begun = fixture::begun(world.mapping, world.source.sql);
    cursor::hides_nothing(world, &begun, snapshot.header(), &found)?;
    let definition = fixture::definition(world.mapping, world.source.sql, world.mode);
    let OfSample { choice, reuse_floor, is_foreign } = match &run.chosen {
        Some(chosen) => sample::choose(world, chosen, snapshot.header(), &definition)?,
        None => {
            let (choice, reuse_floor) = choose(world, run, &mut snapshot, &definition)?;
            OfSample { choice, reuse_floor, is_foreign: false }
        }
    };
    let (reading, noted) = cursor::read(world, run, &snapshot, choice, &begun)?;
    let now = Good {
        files: reading.files.clone(),
        invalid: Some(reading.invalid()),
        sql: world.source.sql,
        mode: world.mode,
    };
    if choice.opens_epoch {
        world.count("epochs");
        if matches!(choice.reason, KindReason::MappingChanged) {
            world.count("changes of the mapping");
            world.judge.numbers.clear();
        }
        world.judge.either_if(false);
        world.judge.recorded_mapping = None;
    }
    if snapshot.header().baseline.is_none() {
        world.judge.goods.push(Good { invalid: None, ..now.clone() });
    }
    let baseline = baseline(world.run_id(), &definition, &now, None);
    forget_foreign(&mut snapshot, &begun)?;
    opening::begin(&mut snapshot, choice, false, baseline)?;
    if is_foreign {
        snapshot.settle_as_foreign();
    }
    world.remember(&snapshot);
    if choice.opens_epoch {
        world.judge.must = Must::Full;
        world.judge.recorded_mapping = Some(world.mapping);
    }
    let before = snapshot.header().clone();
    let header = &Header { reuse_floor: reuse_floor.max(before.reuse_floor), ..before.clone() };
    let destination = fixture::destination(world.mapping);
    let columns = fixture::columns(world.mapping, world.setting.has_primary);
    let named = (choice.kind, header.epoch, world.mapping);
    let mut facts = Facts::new(named, now, reading, entries(snapshot.view())?);
    facts.chosen = run.chosen.as_ref().map(|chosen| chosen.keys.clone());
    facts.is_restricted = noted.as_ref().is_some_and(|noted| noted.met.is_restricted);
    world.judge.keep_same(&facts);
    let limits = BatchLimits { records: world.setting.batch, bytes: 1 << 20 };
    let batcher = |operation| {
        let encoder = destination.encoder(operation)?;
        Some(Batcher::new(operation, limits, encoder.overhead()))
    };
    let dispatch = Dispatch::new(Terms {
        concurrency: world.setting.concurrency,
        retry: RETRY,
        batchers: [Operation::Upsert, Operation::Delete].map(batcher),
        repeat: [world.setting.repeat; 2],
        first_batch: header.next_batch,
    });
    let repeated = match world.setting.checks_keys_first || run.chosen.is_some() {
        true => fixture::repeated(&columns, &facts.reading.rows),
        false => Repeated::default(),
    };
    let waiting = Waiting::of(repeated, world.setting.repeat, run.chosen.is_some());
    let spill = Arc::new(spill(run));
    let fates = Fates::new(world.setting.room.shares(), Arc::clone(&spill));
    let course = Course::new(header, destination, columns, waiting, fates, &spill);
    let session = Session {
        chance: Chance::new(run.seed),
        tick: 0,
        elapsed: Duration::ZERO,
        stage: Stage::Running,
        sync: fixture::sync(&world.setting, world.mode),
        started: Instant(world.clock),
        world,
        run,
        definition,
        before,
        snapshot,
        course,
        dispatch,
        flights: BTreeMap::new(),
        syncer: None,
        answers: 0,
        facts,
        begun,
        noted,
        vanished: Vec::new(),
        is_committed: false,
    };
    Ok(session)
}

/// As `prepare::prepare` of a run of all rows: its kind, and below which number it repeats nothing.
fn choose(
    world: &mut World,
    run: &Run,
    snapshot: &mut Snapshot,
    definition: &Definition,
) -> Result<(Choice, IntentNumber), Halt> {
    let must = world.judge.must;
    let mut is_forced = false;
    if run.is_full {
        world.judge.either_if(false);
        is_forced = opening::force(snapshot)?;
        if is_forced {
            world.count("full resyncs");
            world.remember(snapshot);
        }
        world.judge.must = if is_forced { Must::Full } else { must };
    }
    let asked = Asked { is_full: run.is_full, keeps_snapshot: false, is_set_aside: false };
    let mut choice = opening::choose(Some(snapshot.header()), definition, asked)
        .map_err(|refused| Broken { invariant: "I9", what: refused.why })?;
    if is_forced {
        choice = opening::after_force(choice);
    }
    world.judge.chosen(choice.kind, run.is_full, world.mapping)?;
    Ok((choice, snapshot.header().reuse_floor))
}

impl Session<'_> {
    /// As `engine::run::follow`.
    fn follow(&mut self) -> Result<Ended, Halt> {
        let mut end = self.read()?;
        if !matches!(end, End::Stopped) {
            end = self.decide(end)?;
        }
        if !matches!(end, End::Stopped) {
            self.course.end_read(end.is_proven());
            while self.course.has_late() && self.make_room()? {
                self.course.push_late(&mut self.dispatch).expect("it can be read");
            }
            self.settle()?;
        }
        if end.allows_deletes() {
            self.sort_removals();
            self.course.queue_deletes(|| false).expect("they are in memory");
            while self.course.has_deletes() && self.make_room()? {
                self.course.push_delete(&mut self.dispatch).expect("they are in memory");
            }
            self.settle()?;
        }
        self.settle()?;
        if self.dispatch.halted().is_some() && !matches!(end, End::Failed(_)) {
            self.world.count("halts");
            end = End::Failed(Error::Halted(String::new()));
        }
        let tally = self.course.tally(self.dispatch.counts());
        let was_stopped = matches!(end, End::Stopped) || self.stage > Stage::Running;
        self.commit(&end, &tally, was_stopped)?;
        let outcome = match end {
            End::Failed(_) => Outcome::Failed,
            End::Proven | End::Restricted | End::Chosen | End::Stopped => {
                run::outcome(&tally, was_stopped)
            }
        };
        Ok(Ended::Committed { outcome, tally })
    }

    /// Says how the read ended that came to its end.
    pub fn prove(&mut self) -> End {
        if self.run.troubles.iter().any(|trouble| matches!(trouble, Trouble::Unproven)) {
            self.world.count("reads that prove nothing");
            return End::Failed(Error::Unproven("the files changed".to_owned()));
        }
        let rows_read = self.course.intake.counts.tally().rows_read;
        if self.run.chosen.is_some() {
            return sample::prove(rows_read);
        }
        self.facts.is_read_complete = true;
        if self.facts.is_restricted {
            return End::Restricted;
        }
        let header = self.snapshot.header();
        if let Err(error) = check_rows(SYNC, Some(header), self.facts.reading.rows.len() as u64) {
            return End::Failed(error);
        }
        if let Some(baseline) = &header.baseline {
            self.vanished = lacking(baseline, &self.facts.now.files, &[]);
        }
        End::Proven
    }

    fn sort_removals(&mut self) {
        let facts = removals::Facts {
            definition: &self.definition,
            vanished: std::mem::take(&mut self.vanished),
            rows_read: self.course.intake.counts.tally().rows_read,
            invalid_keys: self.course.invalid_keys(),
            credentials: [None, None],
            declares_account: true,
        };
        let header = self.snapshot.header();
        self.course.sort_removals(&self.sync, header, &facts);
        let (run, journal) = (self.world.run_id(), self.snapshot.journal());
        let noted = self.course.record_removals(run, journal, || false);
        assert!(noted.expect("they are in memory"));
        if self.course.removals().held() > 0 {
            self.world.count("holds");
        }
    }

    fn commit(&mut self, end: &End, tally: &Tally, was_stopped: bool) -> Result<(), Halt> {
        self.pass()?;
        let invalid_keys = Some(self.course.invalid_keys());
        let run = self.world.run_id();
        let baseline = baseline(run, &self.definition, &self.facts.now, invalid_keys);
        let next_batch = self.dispatch.next_batch();
        let is_sample = self.run.chosen.is_some();
        let is_proven = end.is_proven();
        let mut closing = self.course.close(is_proven, tally, was_stopped, baseline, next_batch);
        closing = match is_sample {
            true => closing.of_sample(),
            false => closing.since(self.begun.clone(), self.noted.take()),
        };
        let judge = &mut self.world.judge;
        if !is_sample {
            judge.recorded_mapping = None;
        }
        // Only a commit that may end the epoch leaves open, until it is made, what comes next.
        if self.facts.kind == Kind::Full {
            let has_rest = tally.unsent + tally.unknown > 0 || self.facts.has_left();
            judge.either_if(end.is_proven() && !was_stopped && !has_rest);
        }
        self.snapshot.journal().write()?;
        self.snapshot.commit(|header| {
            closing.change(header, run);
        })?;
        let is_read = match end {
            End::Proven | End::Restricted => self.facts.is_read_complete,
            End::Chosen => is_sample,
            End::Stopped | End::Failed(_) => false,
        };
        let ended = (is_read, was_stopped, self.snapshot.header().is_epoch_open);
        let World { judge, target, .. } = &mut *self.world;
        self.is_committed = true;
        judge.sampled(&self.facts, tally, is_read, (&self.before, self.snapshot.header()))?;
        judge.committed(&self.facts, tally, ended, target)?;
        let after = entries(self.snapshot.view())?;
        judge.snapshot(&after, self.snapshot.header(), target)?;
        judge.rests(&self.facts, self.snapshot.header(), &after, target)?;
        let headers = (&self.before, self.snapshot.header());
        if is_read && !was_stopped && tally.unsent == 0 {
            judge.named(&self.facts, &after, target)?;
        }
        if !is_sample {
            cursor::moved(self.world, headers, &self.facts.reading, &self.begun, &after)?;
        }
        self.tally(tally);
        if self.snapshot.header().at_rest.is_some() {
            self.world.count("runs that left nothing to do");
        }
        if self.facts.has_left() {
            self.world.count("rows repeated after they had left");
        }
        self.pass()?;
        self.world.remember(&self.snapshot);
        if self.snapshot.compact(|| !was_stopped)? {
            self.pass()?;
            self.world.remember(&self.snapshot);
        }
        Ok(())
    }

    fn tally(&mut self, tally: &Tally) {
        for (what, count) in [
            ("records delivered", tally.delivered),
            ("records deleted", tally.deleted),
            ("records rejected", tally.rejected),
            ("records unknown", tally.unknown),
            ("records deferred", tally.deferred),
            ("records unsent", tally.unsent),
            ("rows invalid", tally.invalid),
        ] {
            *self.world.statistics.entry(what).or_default() += count;
        }
    }

    /// Time passes; the process may end here, and a stop may come.
    pub fn pass(&mut self) -> Result<(), Halt> {
        self.tick += 1;
        self.elapsed += Duration::from_millis(1);
        self.world.ticks += 1;
        self.world.catch_up();
        if self.tick > MOST_TICKS {
            broken("I9", format!("a run is not over after {MOST_TICKS} ticks"))?;
        }
        for trouble in &self.run.troubles {
            match trouble {
                Trouble::Crash { tick, loss } if *tick == self.tick => {
                    return Err(Halt::Crash(*loss));
                }
                Trouble::Stop { tick, is_now } if *tick == self.tick => {
                    self.world.count(if *is_now { "stops at once" } else { "stops" });
                    let stage = if *is_now { Stage::Aborting } else { Stage::Draining };
                    self.stage = self.stage.max(stage);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The run is over, in whatever way: what it has in flight goes its own way.
    fn leave_behind(&mut self) {
        let flights = std::mem::take(&mut self.flights);
        for request in flights.into_values().filter_map(|flight| flight.request) {
            self.world.give_up(request, &mut self.chance);
        }
        self.world.judge.keep_same(&self.facts);
        if !self.is_committed {
            self.world.judge.died(&self.facts);
        }
    }

    pub fn wall(&self) -> Instant {
        self.started.plus(i64::try_from(self.elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}
