//! Which sync runs now, which waits, and what a trigger comes to.
//!
//! Pure: no IO, no clock, no async; the caller makes durable what [`Queue::needed`] names before it says
//! [`Queue::accept`]. One line for each connection, by priority (`domain::priority`); the connections take turns. Not here:
//! when schedules fire (`timetable`), how a wait is told (`waiting`). Guards:
//!
//! - **Q1** a sync never has two runs going;
//! - **Q2** a trigger that was accepted is followed by a run that begins after it, at least as strong, unless that run
//!   is withdrawn;
//! - **Q3** no more runs go at once than the limit, none more of a group than its limit, and no more than one waits
//!   behind each sync;
//! - **Q4** one run starts up at a time;
//! - **Q5** a connection that has a run that may begin is passed over at most once by each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::RunId;
use crate::domain::kind::{Choice, Kind, KindReason};
use crate::domain::priority::{Line, Priority};
use crate::domain::run::{Phase, Trigger};
use crate::points::is_planted;
use crate::store::RunRow;

/// What a trigger asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Force Full Resync.
    pub is_full: bool,
    pub trigger: Trigger,
}

/// A run that waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub wish: Wish,
}

/// What must be durable before a trigger counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Nothing waits yet: a new run.
    NewRun,
    /// This run waits already, and becomes a full one.
    Stronger(RunId),
    /// This run waits already and does what is wished.
    Nothing(RunId),
}

/// How many runs go at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of all syncs.
    pub running: usize,
    /// Of the syncs of each group that has a limit.
    pub groups: BTreeMap<String, usize>,
}

/// Where a sync stands in line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub connection: String,
    pub group: Option<String>,
    pub priority: Priority,
}

/// A sync that is not idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Queued(Waiting),
    Running(RunId),
    RunningWithNext(RunId, Waiting),
}

/// The syncs of one connection whose run waits, none of whose runs goes, and that are not held.
#[derive(Debug, Default)]
struct Connection {
    line: Line<Option<String>, String>,
    /// When it last had a turn: the number of that turn.
    served: u64,
}

/// All syncs of one process.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// By sync.
    places: BTreeMap<String, Place>,
    /// By sync; one that is not here is idle.
    lanes: BTreeMap<String, Lane>,
    /// By name.
    connections: BTreeMap<String, Connection>,
    turns: u64,
    /// Runs that wait.
    waiting: usize,
    /// Runs that go.
    going: usize,
    /// Runs that go, of each group that has some.
    going_of: BTreeMap<String, usize>,
    /// The run that starts up.
    starting: Option<RunId>,
    /// Syncs that stand in no line, though a run of theirs may wait.
    held: BTreeSet<String>,
}

impl Wish {
    /// What is to be stored of the wish with a run that waits.
    pub fn choice(self) -> Option<Choice> {
        self.is_full.then_some(Choice {
            kind: Kind::Full,
            reason: KindReason::Requested,
            opens_epoch: true,
            unchanged_since: None,
            unchanged_version: None,
            bound_stays: None,
        })
    }

    /// The wish that a stored run stands for, as far as it has not been granted: once a run reads, its epoch is open,
    /// and the next one goes on with that.
    pub fn of(row: &RunRow) -> Wish {
        let is_ahead = matches!(row.phase, Phase::InQueue | Phase::Starting);
        let is_requested = row.choice.is_some_and(|choice| choice.reason == KindReason::Requested);
        Wish { is_full: is_ahead && is_requested, trigger: row.trigger }
    }
}

impl Limits {
    /// Nothing goes at once, as where one run is made by hand.
    pub fn one() -> Limits {
        Limits { running: 1, groups: BTreeMap::new() }
    }
}

impl Queue {
    /// An idle queue. A sync without a place has a connection of its own, which has no name.
    pub fn new(limits: Limits, places: BTreeMap<String, Place>) -> Queue {
        Queue {
            limits,
            places,
            lanes: BTreeMap::new(),
            connections: BTreeMap::new(),
            turns: 0,
            waiting: 0,
            going: 0,
            going_of: BTreeMap::new(),
            starting: None,
            held: BTreeSet::new(),
        }
    }

    /// What a trigger of this sync would need.
    pub fn needed(&self, sync: &str, wish: Wish) -> Needed {
        match self.waiting(sync) {
            None => Needed::NewRun,
            Some(waiting) if wish.is_full && !waiting.wish.is_full => Needed::Stronger(waiting.run),
            Some(waiting) => Needed::Nothing(waiting.run),
        }
    }

    /// Takes a trigger in, whose `run` is durable: the one that [`Queue::needed`] named, or else a new one.
    pub fn accept(&mut self, sync: &str, wish: Wish, run: RunId) {
        let merged = |waiting: Waiting| {
            assert_eq!(waiting.run, run, "Q3: one run waits for a sync, and a trigger joins it");
            let is_full = waiting.wish.is_full || wish.is_full;
            Waiting { wish: Wish { is_full, ..waiting.wish }, ..waiting }
        };
        let fresh = Waiting { run, wish };
        let lane = self.lanes.get(sync).copied();
        if is_planted("trigger_during_run_lost") && matches!(lane, Some(Lane::Running(_))) {
            return;
        }
        let next = match lane {
            None => Lane::Queued(fresh),
            Some(Lane::Queued(waiting)) => Lane::Queued(merged(waiting)),
            Some(Lane::Running(going)) => Lane::RunningWithNext(going, fresh),
            Some(Lane::RunningWithNext(going, waiting)) => {
                Lane::RunningWithNext(going, merged(waiting))
            }
        };
        if lane.is_none() {
            self.stand_in_line(sync);
        }
        if matches!(lane, None | Some(Lane::Running(_))) {
            self.waiting += 1;
        }
        self.lanes.insert(sync.to_owned(), next);
    }

    /// The next run that may begin, which starts up from then on, and goes.
    pub fn begin(&mut self) -> Option<(String, Waiting)> {
        if self.going >= self.limits.running || self.starting.is_some() {
            return None;
        }
        let Queue { limits, going_of, connections, turns, .. } = &mut *self;
        let may_go = |group: &Option<String>| has_place(limits, going_of, group.as_deref());
        let ready = connections.values_mut().filter(|connection| connection.line.has(may_go));
        let next = ready.min_by_key(|connection| connection.served)?;
        let sync = next.line.take(may_go).expect("somebody of it may go");
        *turns += 1;
        next.served = *turns;
        let waiting = self.waiting(&sync).expect("whoever stands in line has a waiting run");
        self.waiting -= 1;
        self.count_going(&sync, true);
        self.starting = Some(waiting.run);
        self.lanes.insert(sync.clone(), Lane::Running(waiting.run));
        Some((sync, waiting))
    }

    /// Lets these syncs, and no others, begin nothing. They take no place meanwhile, and stand at the end of their line then.
    pub fn hold(&mut self, held: BTreeSet<String>) {
        if held == self.held {
            return;
        }
        let before = std::mem::replace(&mut self.held, held);
        for connection in self.connections.values_mut() {
            connection.line.remove(|sync| self.held.contains(sync));
        }
        for sync in before.difference(&self.held.clone()) {
            if matches!(self.lanes.get(sync), Some(Lane::Queued(_))) {
                self.stand_in_line(sync);
            }
        }
    }

    /// The run has started up, or does no longer keep others from it.
    pub fn started(&mut self, run: RunId) {
        self.starting = self.starting.filter(|starting| *starting != run);
    }

    /// A run that was going has ended.
    pub fn ended(&mut self, sync: &str) {
        let run = match self.lanes.remove(sync) {
            Some(Lane::Running(run)) => run,
            Some(Lane::RunningWithNext(run, waiting)) => {
                self.lanes.insert(sync.to_owned(), Lane::Queued(waiting));
                self.stand_in_line(sync);
                run
            }
            Some(Lane::Queued(_)) | None => panic!("Q1: only a run that was going can end"),
        };
        self.started(run);
        self.count_going(sync, false);
    }

    /// Takes a waiting run out, as it was stopped before it began; false if it waits no more.
    pub fn withdraw(&mut self, sync: &str, run: RunId) -> bool {
        match self.lanes.get(sync).copied() {
            Some(Lane::Queued(waiting)) if waiting.run == run => {
                self.lanes.remove(sync);
                let connection = self.places.get(sync).map_or("", |place| &place.connection);
                if let Some(connection) = self.connections.get_mut(connection) {
                    connection.line.remove(|known| known == sync);
                }
            }
            Some(Lane::RunningWithNext(going, waiting)) if waiting.run == run => {
                self.lanes.insert(sync.to_owned(), Lane::Running(going));
            }
            _ => return false,
        }
        self.waiting -= 1;
        true
    }

    /// Puts other limits and places in place of those there are. Whoever waits goes on waiting, in the line of its new place; a
    /// run that goes counts for its new group, or, where its sync has no place any more, for its old one.
    pub fn change(&mut self, limits: Limits, mut places: BTreeMap<String, Place>) {
        self.limits = limits;
        for (sync, place) in &self.places {
            if !places.contains_key(sync) && self.lanes.contains_key(sync) {
                places.insert(sync.clone(), place.clone());
            }
        }
        let before = std::mem::replace(&mut self.places, places);
        let queued = |(sync, lane): (&String, &Lane)| {
            let has_moved = before.get(sync) != self.places.get(sync);
            (has_moved && matches!(lane, Lane::Queued(_))).then(|| sync.clone())
        };
        let moved: Vec<String> = self.lanes.iter().filter_map(queued).collect();
        for connection in self.connections.values_mut() {
            connection.line.remove(|sync| moved.contains(sync));
        }
        for sync in moved {
            self.stand_in_line(&sync);
        }
        self.going_of.clear();
        for (sync, lane) in &self.lanes {
            let group = self.places.get(sync).and_then(|place| place.group.clone());
            if let (Lane::Running(_) | Lane::RunningWithNext(..), Some(group)) = (lane, group) {
                *self.going_of.entry(group).or_default() += 1;
            }
        }
    }

    /// The run of this sync that goes.
    pub fn going_of(&self, sync: &str) -> Option<RunId> {
        match self.lanes.get(sync).copied()? {
            Lane::Running(run) | Lane::RunningWithNext(run, _) => Some(run),
            Lane::Queued(_) => None,
        }
    }

    /// The run of this sync that waits.
    pub fn waiting(&self, sync: &str) -> Option<Waiting> {
        match self.lanes.get(sync).copied()? {
            Lane::Queued(waiting) | Lane::RunningWithNext(_, waiting) => Some(waiting),
            Lane::Running(_) => None,
        }
    }

    /// How many runs wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether no run waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// How many runs are going.
    pub fn going(&self) -> usize {
        self.going
    }

    fn stand_in_line(&mut self, sync: &str) {
        if self.held.contains(sync) {
            return;
        }
        let place = self.places.get(sync).cloned().unwrap_or_default();
        let connection = self.connections.entry(place.connection).or_default();
        connection.line.push(place.priority, place.group, sync.to_owned());
    }

    fn count_going(&mut self, sync: &str, is_more: bool) {
        let change = |count: &mut usize| if is_more { *count += 1 } else { *count -= 1 };
        change(&mut self.going);
        if let Some(group) = self.places.get(sync).and_then(|place| place.group.clone()) {
            change(self.going_of.entry(group).or_default());
        }
    }
}

/// Whether one more run of the group may go.
fn has_place(limits: &Limits, going: &BTreeMap<String, usize>, group: Option<&str>) -> bool {
    group.is_none_or(|group| {
        let limit = limits.groups.get(group).copied().unwrap_or(usize::MAX);
        going.get(group).copied().unwrap_or_default() < limit
    })
}

#[cfg(test)]
mod tests;
