//! The past that nobody needs any more: runs that ended long ago, old entries of the audit log, keys of commands that are
//! answered no more.
//!
//! Not responsible for what of it is still needed (`store::history`). Invariants: a write is short, and the next one leaves
//! others their turn; a stop is seen at once, as what is removed is removed, and the rest is by the next pass; no run goes
//! that the delivery log has yet to export.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::delivery::clock::now;
use crate::domain::id::{Instant, RunId};
use crate::engine::backlog;
use crate::export::Done;
use crate::shutdown::{Shutdown, Stage};
use crate::store::{Audited, Error, OldRuns, Store};

/// The word of the audit log.
pub const COMMAND: &str = "history";
/// Who removes, where nobody asked for it.
const SELF: &str = "counterflow";
/// How long between two passes of a server.
const EVERY: Duration = Duration::from_secs(3_600);
/// Between two writes of a server's pass.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the one pass of a process may take that is no server.
const LAST: Duration = Duration::from_secs(2);
const DAY: i64 = 86_400_000;

/// How long what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Runs, since they ended; `None` for ever.
    pub runs: Option<Duration>,
    /// Entries of the audit log; `None` for ever.
    pub audit: Option<Duration>,
    /// Of each sync so many of the last runs that came to a result stay, however old.
    pub results: u32,
    /// Where it is written down which runs were exported, if they are to be.
    pub spool: Option<PathBuf>,
}

/// What a pass has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub runs: u64,
    pub audited: u64,
}

/// Removes what is old again and again, by the rules that `known` has at the time, until `shutdown` drains.
pub async fn serve<T>(
    store: Store,
    mut known: watch::Receiver<T>,
    rules: impl Fn(&T) -> Rules,
    mut shutdown: Shutdown,
) {
    loop {
        let current = rules(&known.borrow_and_update());
        tokio::select! {
            biased;
            () = shutdown.reached(Stage::Draining) => return,
            removed = pass(&store, &current, PAUSE) => tell(removed),
        }
        tokio::select! {
            biased;
            () = shutdown.reached(Stage::Draining) => return,
            changed = timeout(EVERY, known.changed()) => {
                if changed.is_ok_and(|known| known.is_err()) {
                    return;
                }
            }
        }
    }
}

/// Removes what is old once, before the process ends, within a bound.
pub async fn last(store: &Store, rules: &Rules) {
    if let Ok(removed) = timeout(LAST, pass(store, rules, Duration::ZERO)).await {
        tell(removed);
    }
}

fn tell(removed: Result<Removed, Error>) {
    match removed {
        Ok(Removed { runs: 0, audited: 0 }) => {}
        Ok(Removed { runs, audited }) => {
            tracing::info!(runs, audited, "what is older than `history` says was removed");
        }
        Err(error) => tracing::warn!(%error, "what is old was not removed; the next pass does"),
    }
}

/// Removes all that is old now, with a pause behind each write.
///
/// # Errors
/// The state cannot be read or written; what is removed is removed.
pub async fn pass(store: &Store, rules: &Rules, pause: Duration) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    store.forget_expired_keys(now()).await?;
    if let Some(age) = rules.runs {
        let which = OldRuns { before: ago(age), results: rules.results };
        removed.runs = remove_runs(store, which, rules.spool.as_deref(), pause).await?;
    }
    if let Some(age) = rules.audit {
        // Whole days: a log that is seldom written to is not filled by the entries of its own removal.
        let before = ago(age);
        let before = before.plus(-before.0.rem_euclid(DAY));
        removed.audited = remove_audited(store, before, pause).await?;
    }
    Ok(removed)
}

async fn remove_runs(
    store: &Store,
    which: OldRuns,
    spool: Option<&Path>,
    pause: Duration,
) -> Result<u64, Error> {
    let exported = spool.map(Done::read);
    let is_exported = |run: &RunId| exported.as_ref().is_none_or(|done| done.contains(*run));
    let (mut removed, mut after) = (0, 0);
    loop {
        let step = store.old_runs(after, which).await?;
        let old: Vec<RunId> = step.old.into_iter().filter(is_exported).collect();
        if !old.is_empty() {
            while store.remove_notes(&old).await? {
                sleep(pause).await;
            }
            removed += store.remove_runs(&old).await?;
            sleep(pause).await;
        }
        match step.next {
            Some(next) => after = next,
            None => return Ok(removed),
        }
    }
}

async fn remove_audited(store: &Store, before: Instant, pause: Duration) -> Result<u64, Error> {
    let (mut removed, mut after) = (0, 0);
    loop {
        let step = store.old_audit(after, before, backlog::COMMAND).await?;
        // Entries of removals alone are not worth another one.
        if step.old.iter().any(|(_, command)| command != COMMAND) {
            let entries: Vec<u64> = step.old.iter().map(|(entry, _)| *entry).collect();
            let count = entries.len();
            let audited = Audited {
                at: now(),
                who: SELF.to_owned(),
                command: COMMAND.to_owned(),
                sync: None,
                run: None,
                message: Some(format!(
                    "{count} entries of the audit log from before {before} removed"
                )),
            };
            store.remove_audit(&entries, &audited).await?;
            removed += count as u64;
            sleep(pause).await;
        }
        match step.next {
            Some(next) => after = next,
            None => return Ok(removed),
        }
    }
}

fn ago(age: Duration) -> Instant {
    now().plus(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}
