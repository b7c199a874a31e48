//! A sync at a glance: its status, its last run, what goes on, what is held, when it runs next.
//!
//! Reads beside whoever writes: no lock, no write. A snapshot or a store that cannot be read is shown, as a status that is
//! Unknown, and is no failure. Not responsible for the rule from facts to status (`domain::status`).

use serde_json::{Value, json};

use super::document::{self, chain};
use crate::config::{Config, SyncConfig};
use crate::control::pausing::{Paused, paused, standing};
use crate::control::service::RUNS_AT_ONCE;
use crate::domain::id::{Instant, Lineage};
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::status::{self, Facts, Finished, Going, Waiting};
use crate::shutdown::Tasks;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::header::Header;
use crate::snapshot::{self, View};
use crate::store::{self, Pause, RunRow, StateLock, Store};

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
    /// The last pause or resume, unless the config has overruled it.
    pub pause: Option<Pause>,
    /// The last that ended.
    pub last: Option<RunRow>,
    pub unfinished: Vec<RunRow>,
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
    /// The last, and behind it the last that was not cancelled, if that is another.
    ended: Vec<RunRow>,
    unfinished: Vec<RunRow>,
    /// Runs of all syncs that have begun.
    begun: usize,
    pause: Option<Pause>,
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
            Ok(store) => stored(config, store, name).await.map_err(|error| chain(&error)),
            Err(why) => Err(why.to_owned()),
        };
        let (stored, store_error) = match stored {
            Ok(stored) => (stored, None),
            Err(why) => (Stored::default(), Some(why)),
        };
        let pause = standing(stored.pause.clone(), sync.paused);
        let paused = paused(name, pause.clone(), sync.paused);
        let next = match &sync.schedule {
            Some(schedule) if paused.is_none() => schedule.timing().next(now, FIRINGS),
            _ => Vec::new(),
        };
        let header = header(config, name, stored.known).await;
        let unreadable = store_error.clone().or_else(|| header.as_ref().err().cloned());
        let facts = Facts {
            is_reinitializing,
            unreadable,
            disabled: paused.as_ref().map(|paused| format!("paused {}", paused.why())),
            fail_above_rejected: sync.fail_above_rejected,
            is_scheduled: sync.schedule.is_some(),
            ..stored.facts(name)
        };
        Status {
            sync,
            status: status::status(std::slice::from_ref(&facts)),
            facts,
            paused,
            pause,
            has_owner: stored.has_owner,
            last: stored.ended.into_iter().next(),
            unfinished: stored.unfinished,
            store_error,
            header,
            next,
        }
    }

    pub fn to_json(&self) -> Value {
        let header = self.header.as_ref().ok().and_then(Option::as_ref);
        json!({
            "sync": self.sync.sync.name,
            "mode": self.sync.sync.mode,
            "status": self.status.word.to_string(),
            "status_reason": self.status.reason,
            "is_paused": self.paused.is_some(),
            "is_paused_in_config": self.sync.paused,
            "pause": self.pause.as_ref().map(document::pause),
            "last_run": self.last.as_ref().map(document::run),
            "unfinished": self.unfinished.iter().map(document::run).collect::<Vec<_>>(),
            "has_owner": self.has_owner,
            "store_error": self.store_error,
            "entries": header.map(|header| header.entries),
            "is_epoch_open": header.map(|header| header.is_epoch_open),
            "hold": header.and_then(|header| header.hold.as_ref()).map(|hold| json!({
                "run": hold.run, "keys": hold.keys, "causes": hold.causes,
            })),
            "snapshot_error": self.header.as_ref().err(),
            "next": self.next.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

async fn stored(
    config: &Config,
    store: Option<&Store>,
    name: &str,
) -> Result<Stored, store::Error> {
    let has_owner = StateLock::is_held(&config.state)?;
    let Some(store) = store else { return Ok(Stored { has_owner, ..Stored::default() }) };
    // Before the runs that ended, so that one that ends meanwhile is not overlooked.
    let mut unfinished = store.unfinished().await?;
    let begun = unfinished.iter().filter(|run| run.phase != Phase::InQueue).count();
    unfinished.retain(|run| run.sync == name);
    let ended = ended(store, name).await?;
    unfinished.retain(|run| ended.iter().all(|ended| ended.id != run.id));
    let (pause, known) = (store.pause(name).await?, store.known(name).await?);
    Ok(Stored { ended, unfinished, begun, pause, known, has_owner })
}

/// The last run that ended, and behind it the last that was not cancelled, if that is another.
async fn ended(store: &Store, name: &str) -> Result<Vec<RunRow>, store::Error> {
    let (mut ended, mut before) = (Vec::new(), None);
    loop {
        let page = store.runs(Some(name), LOOK_BACK, before).await?;
        let Some(oldest) = page.last() else { return Ok(ended) };
        before = Some(oldest.id);
        for run in page.into_iter().filter(|run| run.phase.is_ended()) {
            let is_result = !is_cancelled(&run);
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
        let mut results = self.ended.iter().filter(|run| !is_cancelled(run));
        let is_interrupted = results.next().is_some_and(is_interrupted);
        for row in &self.unfinished {
            // A trigger that waited goes on with what was interrupted, and so does what is asked for after it.
            let is_recovery = row.trigger == Trigger::Recovery || is_interrupted;
            let is_restart = is_recovery && self.has_owner;
            match row.phase {
                Phase::InQueue => {
                    let what_for = self.what_for();
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

    /// What a run of this sync that is queued waits for.
    fn what_for(&self) -> String {
        if !self.has_owner {
            "the next start of a server or a sync".to_owned()
        } else if self.begun >= RUNS_AT_ONCE {
            format!("one of the {} runs that go; at most {RUNS_AT_ONCE} go at once", self.begun)
        } else {
            "its turn".to_owned()
        }
    }
}

fn is_cancelled(row: &RunRow) -> bool {
    row.phase == Phase::Ended(Outcome::Cancelled)
}

fn is_interrupted(row: &RunRow) -> bool {
    row.phase == Phase::Ended(Outcome::Interrupted)
}

fn finished(row: &RunRow) -> Option<Finished> {
    let Phase::Ended(outcome) = row.phase else { return None };
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
    fn a_run_that_waits_says_for_which_limit() {
        let unfinished = vec![row(9, Trigger::Api, Phase::InQueue)];
        let stored = Stored { unfinished, has_owner: true, begun: 4, ..Stored::default() };
        let (found, reason) = word(&stored);
        assert_eq!(found, Word::InQueue);
        assert!(reason.contains("run 9") && reason.contains("at most 4"), "{reason}");
    }
}
