//! A sync at a glance: its status, its last run, what goes on, what is held, when it runs next.
//!
//! Reads beside whoever writes: no lock, no write. A snapshot or a store that cannot be read is shown, as a status that is
//! Unknown, and is no failure. Not responsible for the rule from facts to status (`domain::status`).

use serde_json::{Value, json};

use super::document::{self, RunningConfig, chain};
use crate::config::{Config, Schedule, SyncConfig};
use crate::control::disabling::{Closed, closed};
use crate::control::pausing::{Paused, standing};
use crate::control::queue::Place;
use crate::control::waiting::{Begun, wait};
use crate::domain::id::{Instant, Lineage};
use crate::domain::kind::Choice;
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::status::{self, Facts, Finished, Going, Waiting};
use crate::engine::backlog;
use crate::shutdown::Tasks;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::header::Header;
use crate::snapshot::{self, View};
use crate::store::{self, Audited, DisabledSource, Pause, RunRow, StateLock, Store};

/// Fire times that are shown of each schedule.
pub const FIRINGS: usize = 5;
/// Runs that are looked at together for one that has ended.
const LOOK_BACK: u32 = 20;

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
    /// Or why the snapshot cannot be read.
    pub header: Result<Option<Header>, String>,
    pub next: Vec<Instant>,
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
    /// Its lineage and generation.
    known: Option<(Lineage, u64)>,
    has_owner: bool,
}

impl<'c> Status<'c> {
    /// Reads what is known at `now`. There is no store before the first run; one that cannot be opened is the reason why not.
    /// `is_reinitializing`: this process is a server that is starting.
    pub async fn read(
        config: &Config,
        store: Result<Option<&Store>, &str>,
        sync: &'c SyncConfig,
        is_reinitializing: bool,
        now: Instant,
    ) -> Status<'c> {
        let name = &sync.sync.name;
        let stored = match store {
            Ok(store) => stored(config, store, sync).await.map_err(|error| chain(&error)),
            Err(why) => Err(why.to_owned()),
        };
        let (stored, store_error) = match stored {
            Ok(stored) => (stored, None),
            Err(why) => (Stored::default(), Some(why)),
        };
        let pause = standing(stored.pause.clone(), sync.paused);
        let closed = closed(name, pause.clone(), sync.paused, stored.source.as_ref(), now);
        let timing = sync.schedule.as_ref().and_then(Schedule::timing);
        let next = match timing {
            Some(timing) if closed.is_none() => timing.next(now, FIRINGS),
            _ => Vec::new(),
        };
        let header = header(config, name, stored.known).await;
        let unreadable = store_error.clone().or_else(|| header.as_ref().err().cloned());
        let facts = Facts {
            is_reinitializing,
            unreadable,
            disabled: closed.as_ref().map(Closed::why),
            is_scheduled: sync.schedule.is_some(),
            fail_above_rejected: sync.fail_above_rejected,
            resumed: stored.resumed(pause.as_ref()),
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
            header,
            next,
        }
    }

    pub fn to_json(&self, config: &RunningConfig) -> Value {
        let header = self.header.as_ref().ok().and_then(Option::as_ref);
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
            "entries": header.map(|header| header.entries),
            "is_epoch_open": header.map(|header| header.is_epoch_open),
            "hold": header.and_then(|header| header.hold.as_ref()).map(|hold| json!({
                "run": hold.run, "keys": hold.keys, "causes": hold.causes,
            })),
            "snapshot_error": self.header.as_ref().err(),
            "after": self.sync.schedule.as_ref().and_then(Schedule::after),
            "next": self.next.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "config": config,
        })
    }
}

async fn stored(
    config: &Config,
    store: Option<&Store>,
    sync: &SyncConfig,
) -> Result<Stored, store::Error> {
    let name = sync.sync.name.as_str();
    let has_owner = StateLock::is_held(&config.state)?;
    let Some(store) = store else { return Ok(Stored { has_owner, ..Stored::default() }) };
    // Before the runs that ended, so that one that ends meanwhile is not overlooked.
    let mut unfinished = store.begun_or_of(name).await?;
    let what_for = what_for(config, sync, &unfinished, has_owner);
    unfinished.retain(|run| run.sync == name);
    let ended = ended(store, name).await?;
    unfinished.retain(|run| ended.iter().all(|ended| ended.id != run.id));
    let (pause, known) = (store.pause(name).await?, store.known(name).await?);
    let known = known.map(|(lineage, generation, _)| (lineage, generation));
    let source = store.disabled_sources().await?.remove(&sync.sync.model.source);
    let discarded = store.last_audited(name, backlog::COMMAND).await?;
    Ok(Stored { ended, unfinished, what_for, pause, source, discarded, known, has_owner })
}

/// What a run of this sync that is queued waits for. `unfinished`: of all syncs, at least those that have begun.
fn what_for(config: &Config, sync: &SyncConfig, unfinished: &[RunRow], has_owner: bool) -> String {
    if !has_owner {
        return "the next start of a server or a sync".to_owned();
    }
    let begun: Vec<Begun> = unfinished
        .iter()
        .filter(|run| run.phase != Phase::InQueue)
        .map(|run| Begun {
            sync: &run.sync,
            run: run.id,
            group: config.sync(&run.sync).and_then(|sync| sync.group.as_deref()),
            is_starting: run.phase == Phase::Starting,
        })
        .collect();
    let place = Place {
        connection: sync.sync.connection.clone(),
        group: sync.group.clone(),
        priority: sync.priority,
    };
    wait(&config.limits(), &sync.sync.name, &place, &begun).to_string()
}

/// The last run that ended, and behind it the last that says how the sync does, if that is another.
async fn ended(store: &Store, name: &str) -> Result<Vec<RunRow>, store::Error> {
    let (mut ended, mut before) = (Vec::new(), None);
    loop {
        let page = store.runs(Some(name), LOOK_BACK, before).await?;
        let Some(oldest) = page.last() else { return Ok(ended) };
        before = Some(oldest.id);
        for run in page.into_iter().filter(|run| run.phase.is_ended()) {
            let is_result = is_result(&run);
            if is_result || ended.is_empty() {
                ended.push(run);
            }
            if is_result {
                return Ok(ended);
            }
        }
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
                    rejected: row.tally.rejected + row.tally.deferred,
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
    let rejected = row.tally.rejected + row.tally.deferred;
    Some(Finished { run: row.id, outcome, rejected, error: row.error.clone() })
}

/// The snapshot is read from disk, on a thread where that holds up nobody.
async fn header(
    config: &Config,
    name: &str,
    known: Option<(Lineage, u64)>,
) -> Result<Option<Header>, String> {
    let disk = LocalDisk::existing(config.state.join("snapshots").join(name));
    let name = name.to_owned();
    let mut tasks = Tasks::default();
    tasks.spawn_blocking(move || match View::read(&disk, &name) {
        Ok(None) if known.is_some() => Err(chain(&snapshot::Error::Missing { sync: name })),
        Ok(view) => Ok(view.map(|view| view.header().clone())),
        Err(error) => Err(chain(&error)),
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
