//! What outlasts a run: the disk, the source, the destination, the clock, and who judges them.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterflow::domain::id::{Instant, RunId};
use counterflow::domain::run::Outcome;
use counterflow::domain::sync::Mode;
use counterflow::engine::decisions;
use counterflow::snapshot::disk::Disk as _;
use counterflow::snapshot::memory_disk::MemoryDisk;
use counterflow::snapshot::{Known, Snapshot};

use super::chance::Chance;
use super::fixture::{self, SYNC};
use super::judge::{Broken, Judge, broken};
use super::plan::{Edit, Loss, Part, Plan, Run, Setting, Step};
use super::session::{self, Ended};
use super::source::Source;
use super::target::{Request, Target};

/// Runs after which a history without faults has to be at rest.
const MOST_RUNS: u32 = 12;
const DAY: i64 = 86_400_000;

/// How often each thing happened.
pub type Statistics = BTreeMap<&'static str, u64>;

pub struct World {
    pub setting: Setting,
    pub disk: MemoryDisk,
    /// What the store knows of the snapshot.
    pub known: Option<Known>,
    pub clock: i64,
    latest: i64,
    /// Over the whole history.
    pub ticks: u64,
    pub runs: u64,
    pub requests: u64,
    /// Changes of the source, and the largest cursor that one had when it was made, or could have had by the last run.
    writes: i64,
    newest: i64,
    pub source: Source,
    pub target: Target,
    pub judge: Judge,
    pub mapping: usize,
    pub mode: Mode,
    pub statistics: Statistics,
}

impl World {
    pub fn new(setting: &Setting, is_told: bool) -> World {
        World {
            setting: setting.clone(),
            disk: MemoryDisk::new(),
            known: None,
            clock: 1_000 * DAY,
            latest: 0,
            ticks: 0,
            runs: 0,
            requests: 0,
            writes: 0,
            newest: i64::MIN,
            source: Source::default(),
            target: Target::new(setting.repeat, setting.answers_by_record, is_told),
            judge: Judge::new(setting),
            mapping: 0,
            mode: setting.mode,
            statistics: Statistics::new(),
        }
    }

    /// Plays all of it, then lets it come to rest.
    pub fn play(&mut self, plan: &Plan) -> Result<(), Broken> {
        for step in &plan.steps {
            self.tell(|| format!("{step:?}"));
            match step {
                Step::Edit(edit) => self.edit(edit),
                Step::Clock(milliseconds) => {
                    self.count("clock steps");
                    self.clock += milliseconds;
                }
                Step::Run(run) => {
                    self.run(run)?;
                }
                Step::Decide { is_release, crash } => self.decide(*is_release, *crash)?,
            }
        }
        self.rest()?;
        if self.are_segments_merged() {
            self.count("histories whose segments were merged");
        }
        Ok(())
    }

    /// Segments are numbered as they are written; those that were merged are gone.
    fn are_segments_merged(&self) -> bool {
        let names = self.disk.list().unwrap_or_default();
        let segments = names.iter().filter_map(|name| name.strip_prefix("segment-"));
        let lowest = segments.filter_map(|number| number.parse::<u32>().ok()).min();
        lowest.is_some_and(|lowest| lowest > 8)
    }

    pub fn count(&mut self, what: &'static str) {
        *self.statistics.entry(what).or_default() += 1;
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.target.story {
            story.push(what());
        }
    }

    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Poison(value, true) => drop(self.target.poison.insert(*value)),
            Edit::Poison(value, false) => drop(self.target.poison.remove(value)),
            Edit::Stick(key, true) => drop(self.target.sticky.insert(*key)),
            Edit::Stick(key, false) => drop(self.target.sticky.remove(key)),
            Edit::Mapping => self.mapping = 1 - self.mapping,
            Edit::Mode if self.setting.cursor.is_some() => {}
            Edit::Mode if self.mode == Mode::Upsert => self.mode = Mode::Mirror,
            Edit::Mode => self.mode = Mode::Upsert,
            edit => self.write(edit),
        }
    }

    /// A change of the source, with the cursor that it has by now.
    fn write(&mut self, edit: &Edit) {
        self.source.edit(edit);
        let Some(rises) = self.setting.cursor else { return };
        self.writes += 1;
        let now = rises.now(self.clock, self.writes);
        self.newest = self.newest.max(now);
        let (key, changed) = match *edit {
            Edit::Put(key, _) | Edit::Spoil(key) => (key, Some(now)),
            Edit::Stamp(key, _, steps) => (key, steps.map(|steps| rises.shifted(now, steps))),
            Edit::Vanish(file, false) => return self.source.come_back(file, self.setting.files),
            _ => return,
        };
        let least = self.newest.saturating_sub(rises.overlap());
        match changed {
            Some(changed) if changed < least => self.count("rows written later than is read"),
            Some(changed) if changed < now => self.count("rows written late"),
            Some(changed) if changed > now => self.count("rows of the future"),
            _ => {}
        }
        self.source.stamp(key, changed, least);
    }

    fn run(&mut self, run: &Run) -> Result<Ended, Broken> {
        self.count("runs");
        if let Some(rises) = self.setting.cursor {
            self.newest = self.newest.max(rises.now(self.clock, self.writes));
        }
        let ended = session::play(self, run)?;
        self.clock += 60_000;
        self.latest = self.latest.max(self.clock);
        self.tell(|| format!("  → {ended:?}"));
        if let Ended::Crashed(loss) = &ended {
            self.lose(*loss);
        }
        self.disk.heal();
        Ok(ended)
    }

    /// The process is gone, and with it what the loss takes.
    fn lose(&mut self, loss: Loss) {
        let is_kept = |seed: u64, name: &str| {
            let mixed = name.bytes().fold(seed, |sum, byte| sum.rotate_left(8) ^ u64::from(byte));
            Chance::new(mixed).percent(50)
        };
        match loss {
            Loss::Nothing => self.count("kills"),
            Loss::All => {
                self.count("power cuts");
                self.disk.crash();
            }
            Loss::Torn { seed, bytes } => {
                self.count("power cuts that tear");
                self.disk.crash_keeping(|name| is_kept(seed, name), bytes);
            }
            Loss::Pages { seed, page } => {
                self.count("power cuts that lose pages");
                let mut chance = Chance::new(seed);
                let is_written = |_| chance.percent(50);
                self.disk.crash_keeping_pages(|name| is_kept(seed, name), page, is_written);
            }
        }
    }

    /// Nobody waits any more for a request that has left.
    pub fn give_up(&mut self, request: Request, chance: &mut Chance) {
        self.judge.numbers.unanswered(&request);
        let part = chance.pick(&[Part::None, Part::Half, Part::All]);
        let late = chance.percent(25).then(|| self.ticks + u64::from(chance.number(1..80)));
        if late.is_some() {
            self.count("requests applied late");
        }
        self.target.give_up(request, part, late);
    }

    /// Applies what is late by now.
    pub fn catch_up(&mut self) {
        self.target.catch_up(self.ticks);
    }

    /// A person's word on what is held.
    fn decide(&mut self, is_release: bool, crash: Option<(u64, Loss)>) -> Result<(), Broken> {
        let before = self.disk.operations();
        if let Some((operation, _)) = crash {
            self.disk.fail_at(operation, true);
        }
        let decided = self.say(is_release);
        self.disk.heal();
        let has_come = |at: u64| self.disk.operations() > before + at;
        match (decided, crash.filter(|(operation, _)| has_come(*operation))) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some((_, loss))) => {
                self.count("crashes while deciding");
                self.lose(loss);
                Ok(())
            }
            (Err(error), None) => broken("I9", format!("nothing can be decided: {error}")),
        }
    }

    fn say(&mut self, is_release: bool) -> Result<(), counterflow::snapshot::Error> {
        let disk = Arc::new(self.disk.clone());
        let mut snapshot = Snapshot::open(disk, SYNC, self.known)?;
        let Some(run) = snapshot.header().hold.as_ref().map(|hold| hold.run) else {
            return Ok(());
        };
        let mut ids = Vec::new();
        decisions::visit_held(snapshot.view(), run, |key, is_meant| {
            ids.extend(is_meant.then(|| fixture::id(key)));
        })?;
        if is_release {
            self.judge.released.extend(ids);
            self.count("releases");
            decisions::keep_release(&mut snapshot, run, "yes", Instant(self.clock))?;
        } else {
            // Before, as a crash leaves open whether it came through.
            ids.into_iter().for_each(|id| self.judge.disown(id));
            self.count("discards");
            decisions::forget(&mut snapshot, run)?;
        }
        self.remember(&snapshot);
        Ok(())
    }

    pub fn remember(&mut self, snapshot: &Snapshot) {
        let header = snapshot.header();
        self.known =
            Some(Known { lineage: header.lineage, generation: header.generation, journal: None });
    }

    /// Faults are over: runs until nothing is to be done, then a change that has to arrive.
    fn rest(&mut self) -> Result<(), Broken> {
        self.tell(|| "the faults are over".to_owned());
        self.source.heal();
        self.target.poison.clear();
        self.target.sticky.clear();
        self.target.catch_up(u64::MAX);
        self.write(&Edit::Put(0, 1));
        self.settle()?;
        self.write(&Edit::Put(0, 2));
        self.run(&Run::plain(0))?;
        let wanted = fixture::content(self.mapping, 0, 2);
        match self.target.held.get(&0) {
            Some(held) if held.content == wanted => Ok(()),
            other => broken("I9", format!("a fresh change did not arrive: {other:?}")),
        }
    }

    /// Runs without faults, releasing what is held, until one has nothing to send. The judge looks at each.
    fn settle(&mut self) -> Result<(), Broken> {
        for number in 0..MOST_RUNS {
            self.clock = self.latest.max(self.clock) + 2 * DAY;
            let plain = Run::plain(u64::from(number));
            let Ended::Committed { outcome, tally } = self.run(&plain)? else {
                return broken("I9", "a run without faults did not commit");
            };
            if tally.held > 0 {
                self.decide(true, None)?;
            }
            if outcome == Outcome::Succeeded && tally.requests == 0 {
                return Ok(());
            }
        }
        broken(
            "I9",
            format!("after {MOST_RUNS} runs without faults there is still something to do"),
        )
    }

    pub fn run_id(&self) -> RunId {
        RunId(self.runs)
    }
}
