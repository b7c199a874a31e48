//! A sync at a glance: its status, its last run, what goes on, what is held, when it runs next.
//!
//! Reads beside whoever writes: no lock, no write. A snapshot or a store that cannot be read is shown, as a status that is
//! Unknown, and is no failure. Not responsible for the rule from facts to status (`domain::status`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::document::{self, RunningConfig, chain};
use crate::config::{Config, Schedule, SyncConfig};
use crate::control::disabling::{Closed, closed, disabled_of};
use crate::control::pausing::{Paused, standing};
use crate::control::queue::{Limits, Place};
pub use crate::control::waiting::Served;
use crate::control::waiting::{Begun, LeftBehind, wait};
use crate::domain::id::Instant;
use crate::domain::kind::Choice;
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::status::{self, Facts, Finished, Going, Waiting};
use crate::engine::backlog;
use crate::engine::prepare::folder;
use crate::shutdown::Tasks;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::{self, Glance, Glances};
use crate::store::{self, Audited, DisabledSource, Pause, RunRow, StateLock, Store};

/// Fire times that are shown of each schedule.
pub const FIRINGS: usize = 5;

/// Where a sync stands.
#[derive(Debug)]
pub struct Status<'c> {
    pub sync: &'c SyncConfig,
    pub status: status::Status,
    /// What the status follows from, for that of a connection.
    pub facts: Facts,
    pub paused: Option<Paused>,
    /// Its source is disabled, though it is not paused by itself.
    pub source: Option<DisabledSource>,
    /// The last pause or resume, unless the config has overruled it.
    pub pause: Option<Pause>,
    /// The last that ended.
    pub last: Option<RunRow>,
    pub unfinished: Vec<RunRow>,
    /// When the backlog was last discarded, and why.
    pub discarded: Option<Audited>,
    /// Whether a process has the state; if none has, nothing goes on, whatever an unfinished run's phase says.
    pub has_owner: bool,
    /// Why runs and pauses cannot be read.
    pub store_error: Option<String>,
    /// What the snapshot says of itself, or why it cannot be read.
    pub snapshot: Result<Option<Glance>, String>,
    /// By the clock of the schedule's zone.
    pub next: Vec<String>,
}

/// What the store has of a sync.
#[derive(Debug, Default)]
struct Stored {
    /// The last, and behind it the last that says how the sync does, if that is another.
    ended: Vec<RunRow>,
    unfinished: Vec<RunRow>,
    /// What a run of this sync that is queued waits for.
    what_for: String,
    pause: Option<Pause>,
    source: Option<DisabledSource>,
    discarded: Option<Audited>,
    /// It is known to have a snapshot.
    has_snapshot: bool,
    has_owner: bool,
}

impl<'c> Status<'c> {
    /// Reads what is known of these syncs at `now`, in their order: the store is asked for all of them at once. There is no
    /// store before the first run; one that cannot be opened is the reason why not.
    pub async fn read(
        config: &Config,
        store: Result<Option<&Store>, &str>,
        glances: &Glances,
        syncs: &[&'c SyncConfig],
        served: Served,
        now: Instant,
    ) -> Vec<Status<'c>> {
        let Served { is_reinitializing, left_behind } = served;
        let stored = match store {
            Ok(store) => stored(config, store, syncs, &left_behind).await,
            Err(why) => syncs.iter().map(|_| Err(why.to_owned())).collect(),
        };
        let snapshots = snapshots(config, glances, syncs).await;
        let all = syncs.iter().zip(stored.into_iter().zip(snapshots));
        all.map(|(sync, (stored, snapshot))| {
            Status::of(sync, stored, snapshot, is_reinitializing, now)
        })
        .collect()
    }

    fn of(
        sync: &'c SyncConfig,
        stored: Result<Stored, String>,
        snapshot: Result<Option<Glance>, snapshot::Error>,
        is_reinitializing: bool,
        now: Instant,
    ) -> Status<'c> {
        let name = &sync.sync.name;
        let (stored, store_error) = match stored {
            Ok(stored) => (stored, None),
            Err(why) => (Stored::default(), Some(why)),
        };
        let pause = standing(stored.pause.clone(), sync.paused);
        let closed = closed(name, pause.clone(), sync.paused, stored.source.as_ref(), now);
        let timing = sync.schedule.as_ref().and_then(Schedule::timing);
        let next = match timing {
            Some(timing) if closed.is_none() => {
                timing.next(now, FIRINGS).into_iter().map(|at| timing.shown(at)).collect()
            }
            _ => Vec::new(),
        };
        let snapshot = match snapshot {
            Ok(None) if stored.has_snapshot => {
                Err(chain(&snapshot::Error::Missing { sync: name.clone() }))
            }
            taken => taken.map_err(|error| chain(&error)),
        };
        let unreadable = store_error.clone().or_else(|| snapshot.as_ref().err().cloned());
        let facts = Facts {
            is_reinitializing,
            unreadable,
            disabled: closed.as_ref().map(Closed::why),
            is_scheduled: sync.schedule.is_some(),
            fail_above_rejected: sync.fail_above_rejected,
            resumed: stored.resumed(pause.as_ref()),
            held: snapshot.as_ref().ok().and_then(Option::as_ref).map_or(0, Glance::held),
            ..stored.facts(name)
        };
        let (paused, source) = match closed {
            Some(Closed::Paused(paused)) => (Some(paused), None),
            Some(Closed::Source { disabled, .. }) => (None, Some(disabled)),
            None => (None, None),
        };
        Status {
            sync,
            source,
            status: status::status(std::slice::from_ref(&facts)),
            facts,
            paused,
            pause,
            has_owner: stored.has_owner,
            last: stored.ended.into_iter().next(),
            unfinished: stored.unfinished,
            discarded: stored.discarded,
            store_error,
            snapshot,
            next,
        }
    }

    pub fn to_json(&self, config: &RunningConfig) -> Value {
        let glance = self.snapshot.as_ref().ok().and_then(Option::as_ref);
        json!({
            "sync": self.sync.sync.name,
            "mode": self.sync.sync.mode,
            "status": self.status.word.to_string(),
            "status_reason": self.status.reason,
            "is_paused": self.paused.is_some(),
            "is_paused_in_config": self.sync.paused,
            "pause": self.pause.as_ref().map(document::pause),
            "disabled_source": self.source.as_ref().map(document::source),
            "group": self.sync.group,
            "priority": self.sync.priority,
            "last_run": self.last.as_ref().map(document::run),
            "unfinished": self.unfinished.iter().map(document::run).collect::<Vec<_>>(),
            "discarded_backlog": self.discarded.as_ref().map(document::discarded),
            "has_owner": self.has_owner,
            "store_error": self.store_error,
            "entries": glance.map(|glance| glance.entries),
            "is_epoch_open": glance.map(|glance| glance.is_epoch_open),
            "hold": glance.and_then(|glance| glance.hold.as_ref()).map(|hold| json!({
                "run": hold.run, "keys": hold.keys, "causes": hold.causes,
            })),
            "snapshot_error": self.snapshot.as_ref().err(),
            "after": self.sync.schedule.as_ref().and_then(Schedule::after),
            "next": self.next,
            "config": config,
        })
    }
}

/// What the store has of each of these syncs, or why that cannot be read.
async fn stored(
    config: &Config,
    store: Option<&Store>,
    syncs: &[&SyncConfig],
    left_behind: &LeftBehind,
) -> Vec<Result<Stored, String>> {
    let has_owner = match StateLock::is_held(&config.state) {
        Ok(has_owner) => has_owner,
        Err(error) => return syncs.iter().map(|_| Err(chain(&error))).collect(),
    };
    match store {
        Some(store) => apart(config, store, syncs, has_owner, left_behind).await,
        None => syncs.iter().map(|_| Ok(Stored { has_owner, ..Stored::default() })).collect(),
    }
}

/// As [`glanced`]; what is damaged of one hides none of the others.
async fn apart(
    config: &Config,
    store: &Store,
    syncs: &[&SyncConfig],
    has_owner: bool,
    left_behind: &LeftBehind,
) -> Vec<Result<Stored, String>> {
    match glanced(config, store, syncs, has_owner, left_behind).await {
        Ok(stored) => stored.into_iter().map(Ok).collect(),
        Err(store::Error::Damaged { .. } | store::Error::Database { .. }) if syncs.len() > 1 => {
            // By halves: few are damaged of many.
            let (some, others) = syncs.split_at(syncs.len() / 2);
            let mut all = Box::pin(apart(config, store, some, has_owner, left_behind)).await;
            all.extend(Box::pin(apart(config, store, others, has_owner, left_behind)).await);
            all
        }
        Err(error) => syncs.iter().map(|_| Err(chain(&error))).collect(),
    }
}

async fn glanced(
    config: &Config,
    store: &Store,
    syncs: &[&SyncConfig],
    has_owner: bool,
    left_behind: &LeftBehind,
) -> Result<Vec<Stored>, store::Error> {
    let names: Vec<&str> = syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
    let mut glance = store.glance(&names, backlog::COMMAND).await?;
    let waits = Waits::new(config, &glance.unfinished, has_owner, left_behind);
    let mut unfinished: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in &glance.unfinished {
        unfinished.entry(&run.sync).or_default().push(run);
    }
    let is_done = |one: &Audited| one.message.as_deref() != Some(backlog::UNDONE);
    let stored = |sync: &&SyncConfig| {
        let name = sync.sync.name.as_str();
        let unfinished: Vec<RunRow> =
            unfinished.get(name).into_iter().flatten().map(|run| RunRow::clone(run)).collect();
        let is_queued = unfinished.iter().any(|run| run.phase == Phase::InQueue);
        Stored {
            ended: glance.ended.remove(name).unwrap_or_default(),
            what_for: if is_queued { waits.of(sync) } else { String::new() },
            unfinished,
            pause: glance.pauses.remove(name),
            source: disabled_of(&sync.sync.model, &glance.disabled).cloned(),
            discarded: glance.audited.remove(name).filter(is_done),
            has_snapshot: glance.known.contains_key(name),
            has_owner,
        }
    };
    Ok(syncs.iter().map(stored).collect())
}

/// What queued runs wait for.
struct Waits<'a> {
    limits: Limits,
    begun: Vec<Begun<'a>>,
    has_owner: bool,
    left_behind: &'a LeftBehind,
}

impl<'a> Waits<'a> {
    /// `unfinished`: of all syncs, at least those that have begun.
    fn new(
        config: &'a Config,
        unfinished: &'a [RunRow],
        has_owner: bool,
        left_behind: &'a LeftBehind,
    ) -> Waits<'a> {
        let begun = unfinished.iter().filter(|run| run.phase != Phase::InQueue);
        let begun = begun.map(|run| Begun {
            sync: &run.sync,
            run: run.id,
            group: config.sync(&run.sync).and_then(|sync| sync.group.as_deref()),
            is_starting: run.phase == Phase::Starting,
        });
        Waits { limits: config.limits(), begun: begun.collect(), has_owner, left_behind }
    }

    fn of(&self, sync: &SyncConfig) -> String {
        if !self.has_owner {
            return "the next start of a server or a sync".to_owned();
        }
        let place = Place {
            connection: sync.sync.connection.clone(),
            group: sync.group.clone(),
            priority: sync.priority,
        };
        let name = &sync.sync.name;
        let left_behind = self.left_behind.get(name).copied();
        wait(&self.limits, name, &place, &self.begun, left_behind).to_string()
    }
}

impl Stored {
    /// What follows from the runs.
    fn facts(&self, sync: &str) -> Facts {
        let mut facts = Facts { sync: sync.to_owned(), ..Facts::default() };
        let mut results = self.ended.iter().filter(|run| is_result(run));
        let is_interrupted = results.next().is_some_and(is_interrupted);
        for row in &self.unfinished {
            // A trigger that waited goes on with what was interrupted, and so does what is asked for after it.
            let is_recovery = row.trigger == Trigger::Recovery || is_interrupted;
            let is_restart = is_recovery && self.has_owner;
            match row.phase {
                Phase::InQueue => {
                    let what_for = self.what_for.clone();
                    facts.waiting = Some(Waiting { run: row.id, is_restart, what_for });
                }
                _ if self.has_owner => facts.going = Some(Going { run: row.id, is_restart }),
                // Nobody has written down yet that it was interrupted.
                _ => facts.results.push(Finished {
                    run: row.id,
                    outcome: Outcome::Interrupted,
                    tally: row.tally,
                    error: Some("the process ended before the run did".to_owned()),
                }),
            }
        }
        facts.results.extend(self.ended.iter().filter_map(finished));
        facts
    }

    /// When it was resumed and by whom, if no run has come to a result since.
    fn resumed(&self, pause: Option<&Pause>) -> Option<String> {
        let resumed = pause.filter(|pause| !pause.is_paused)?;
        let result = self.ended.iter().find(|run| is_result(run));
        let since = result.and_then(|run| run.finished_at);
        since
            .is_none_or(|since| since < resumed.at)
            .then(|| format!("{} by {}", resumed.at, resumed.who))
    }
}

/// Whether a run that ended says how its sync does: neither a cancelled one nor a sample of some rows.
fn is_result(row: &RunRow) -> bool {
    row.phase != Phase::Ended(Outcome::Cancelled) && !row.choice.is_some_and(Choice::is_sample)
}

fn is_interrupted(row: &RunRow) -> bool {
    row.phase == Phase::Ended(Outcome::Interrupted)
}

fn finished(row: &RunRow) -> Option<Finished> {
    let Phase::Ended(outcome) = row.phase else { return None };
    if row.choice.is_some_and(Choice::is_sample) {
        return None;
    }
    Some(Finished { run: row.id, outcome, tally: row.tally, error: row.error.clone() })
}

/// What each snapshot says of itself, in the order of the syncs. They are read on a thread where that holds up nobody.
async fn snapshots(
    config: &Config,
    glances: &Glances,
    syncs: &[&SyncConfig],
) -> Vec<Result<Option<Glance>, snapshot::Error>> {
    let place = |sync: &&SyncConfig| {
        let name = sync.sync.name.clone();
        (folder(&config.state, &name), name)
    };
    let places: Vec<(PathBuf, String)> = syncs.iter().map(place).collect();
    let glances = glances.clone();
    let mut tasks = Tasks::default();
    tasks.spawn_blocking(move || {
        let take =
            |(folder, name): (PathBuf, String)| glances.take(&LocalDisk::existing(folder), &name);
        places.into_iter().map(take).collect()
    });
    tasks.next().await.expect("the one task was just spawned")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RunId;
    use crate::domain::status::{Word, status};
    use crate::domain::tally::Tally;

    fn row(id: u64, trigger: Trigger, phase: Phase) -> RunRow {
        RunRow {
            id: RunId(id),
            sync: "crm".to_owned(),
            trigger,
            choice: None,
            phase,
            started_at: Instant(0),
            finished_at: phase.is_ended().then_some(Instant(1)),
            tally: Tally::default(),
            error: None,
            stop: None,
            revision: None,
        }
    }

    fn word(stored: &Stored) -> (Word, String) {
        let status = status(&[stored.facts("crm")]);
        (status.word, status.reason)
    }

    #[test]
    fn a_run_that_began_is_interrupted_once_nobody_has_the_state() {
        let unfinished = vec![row(1, Trigger::Api, Phase::Reading)];
        let left = Stored { unfinished: unfinished.clone(), ..Stored::default() };
        assert_eq!(word(&left).0, Word::Failed);
        let owned = Stored { unfinished, has_owner: true, ..Stored::default() };
        assert_eq!(word(&owned).0, Word::Running);
    }

    #[test]
    fn what_goes_on_after_an_interruption_is_restarting_until_it_has_a_result() {
        let cancelled = row(2, Trigger::Api, Phase::Ended(Outcome::Cancelled));
        let interrupted = row(1, Trigger::Api, Phase::Ended(Outcome::Interrupted));
        let ended = vec![cancelled, interrupted];
        for unfinished in
            [row(3, Trigger::Api, Phase::Reading), row(3, Trigger::Schedule, Phase::InQueue)]
        {
            let unfinished = vec![unfinished];
            let stored =
                Stored { ended: ended.clone(), unfinished, has_owner: true, ..Stored::default() };
            assert_eq!(word(&stored).0, Word::Restarting);
        }
        let unfinished = vec![row(3, Trigger::Recovery, Phase::InQueue)];
        let drained = Stored { unfinished, has_owner: true, ..Stored::default() };
        assert_eq!(word(&drained).0, Word::Restarting);
        assert_eq!(word(&Stored { has_owner: false, ..drained }).0, Word::InQueue);
        assert_eq!(word(&Stored { ended, ..Stored::default() }).0, Word::Failed);
    }

    #[tokio::test]
    async fn a_sync_among_others_stands_where_it_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let app = crate::api::tests::app(folder.path()).await;
        let (config, store, at) = (&app.config, &app.store, Instant(5));
        let syncs: Vec<&SyncConfig> = config.syncs.iter().collect();
        let names: Vec<&str> = syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
        let create = |sync| store.create_run(sync, None, Trigger::Api, at);
        let failed = create(names[0]).await.unwrap();
        let (tally, why) = (Tally::default(), Some("no file"));
        store.finish(failed, Outcome::Failed, &tally, why, at).await.unwrap();
        let going = create(names[1]).await.unwrap();
        store.set_phase(going, Phase::Starting).await.unwrap();
        create(names[0]).await.unwrap();
        let pause = Pause {
            is_paused: true,
            configured: syncs[2].paused,
            message: None,
            who: "ada".to_owned(),
            at,
            until: None,
        };
        store.record_pause(names[2], None, &pause).await.unwrap();
        store.set_known(names[3], crate::domain::id::Lineage(7), 1, None).await.unwrap();
        let _owner = StateLock::take(folder.path()).unwrap();
        let glances = Glances::default();
        let read =
            |syncs| Status::read(config, Ok(Some(store)), &glances, syncs, Served::default(), at);
        let running = app.running_config();
        let to_json = |status: &Status<'_>| status.to_json(&running);
        let together: Vec<Value> = read(&syncs).await.iter().map(to_json).collect();
        let mut alone = Vec::new();
        for sync in &syncs {
            alone.extend(read(std::slice::from_ref(sync)).await.iter().map(to_json));
        }
        assert_eq!(together, alone);
        let words: Vec<&Value> = together.iter().map(|status| &status["status"]).collect();
        assert_eq!(words[..4], ["In Queue", "Running", "Disabled", "Unknown"]);
        let waits = together[0]["status_reason"].as_str().unwrap();
        assert!(waits.contains(&format!("the start-up of `{}`", names[1])), "{waits}");
    }

    #[test]
    fn a_resume_counts_until_a_run_that_ended_after_it() {
        let pause = |is_paused, at| Pause {
            is_paused,
            configured: false,
            message: None,
            who: "ada".to_owned(),
            at: Instant(at),
            until: None,
        };
        let ended = vec![row(1, Trigger::Api, Phase::Ended(Outcome::Failed))];
        let stored = Stored { ended, ..Stored::default() };
        assert!(stored.resumed(Some(&pause(false, 2))).unwrap().ends_with("by ada"));
        assert_eq!(stored.resumed(Some(&pause(false, 1))), None);
        assert_eq!(stored.resumed(Some(&pause(true, 2))), None);
        assert_eq!(stored.resumed(None), None);
    }
}
