//! The past that nobody needs any more: runs that ended long ago, old entries of the audit log, keys of commands that are
//! answered no more.
//!
//! Not responsible for what of it is still needed (`store::history`). Invariants: a write is short, and the next one leaves
//! others their turn; a stop is seen at once, as what is removed is removed, and the rest is by the next pass; no run goes
//! that the delivery log has yet to export, unless its whole sync is forgotten (`engine::forgetting`). Receipts that no
//! delivery log exports go with their runs, and never in silence.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::delivery::clock::now;
use crate::delivery::spool;
use crate::domain::id::{Instant, RunId};
use crate::engine::{backlog, unexported};
use crate::export::Done;
use crate::shutdown::{Shutdown, Stage, blocking};
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
    /// Where receipts wait for their export, and where it is written down which runs were exported.
    pub spool: PathBuf,
    /// Whether runs are exported, so that each of them waits for that.
    pub awaits_export: bool,
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
    tell_of_waiting(&rules(&known.borrow()));
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

/// Says it where receipts wait for nobody.
fn tell_of_waiting(rules: &Rules) {
    if rules.awaits_export {
        return;
    }
    let waiting = blocking(|| spool::waiting(&rules.spool)).len();
    if waiting > 0 {
        let spool = rules.spool.display();
        tracing::warn!(
            "receipts of {waiting} runs wait in `{spool}` to be exported, and the config has no `delivery_log`: put it back \
             to have them exported; else each is removed with its run"
        );
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
        let exported = rules.awaits_export.then(|| Done::read(&rules.spool));
        removed.runs = remove_runs(store, which, exported, pause).await?;
    }
    remove_receipts(store, &rules.spool).await?;
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
    exported: Option<Done>,
    pause: Duration,
) -> Result<u64, Error> {
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

/// Removes receipts that wait to be exported with runs that are gone: no export asks for them any more.
async fn remove_receipts(store: &Store, spool: &Path) -> Result<(), Error> {
    let mut removed = 0;
    // A run is there before its receipts are.
    for run in blocking(|| spool::waiting(spool)) {
        if store.run(run).await?.is_none() {
            removed += unexported::remove(spool, &[run]);
        }
    }
    if removed > 0 {
        tracing::warn!(
            "the receipts of {removed} runs that are gone were never exported, and are removed"
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::{Outcome, Trigger};
    use crate::domain::tally::Tally;
    use crate::shutdown;
    use crate::store::{End, NewRun};

    const RULES: Rules = Rules {
        runs: Some(DAYS),
        audit: Some(DAYS),
        results: 1,
        spool: PathBuf::new(),
        awaits_export: false,
    };
    const DAYS: Duration = Duration::from_secs(2 * 86_400);

    /// A state with so many runs and one command of long ago.
    async fn past(count: usize) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let new = NewRun { sync: "crm".to_owned(), choice: None, trigger: Trigger::Api };
        let runs = store.create_runs(&vec![new; count], Instant(0)).await.unwrap();
        let end = |run| End { run, outcome: Outcome::Failed, tally: Tally::default(), error: None };
        let ends: Vec<End> = runs.into_iter().map(end).collect();
        store.finish_all(&ends, Instant(1)).await.unwrap();
        store.audit(&audited("pause")).await.unwrap();
        (folder, store)
    }

    fn audited(command: &str) -> Audited {
        Audited {
            at: Instant(0),
            who: "ada".to_owned(),
            command: command.to_owned(),
            sync: None,
            run: None,
            message: None,
        }
    }

    async fn commands(store: &Store) -> Vec<String> {
        let log = store.audit_log(9).await.unwrap();
        log.into_iter().map(|one| one.command).collect()
    }

    #[tokio::test]
    async fn what_is_old_goes_in_steps_and_once() {
        let (_folder, store) = past(1_200).await;
        let removed = pass(&store, &RULES, Duration::ZERO).await.unwrap();
        assert_eq!(removed, Removed { runs: 1_199, audited: 1 });
        let again = pass(&store, &RULES, Duration::ZERO).await.unwrap();
        assert_eq!(again, Removed::default());
        assert_eq!(commands(&store).await, [COMMAND]);
    }

    #[tokio::test]
    async fn entries_of_removals_go_with_others_and_alone_make_no_more_of_them() {
        let (_folder, store) = past(1).await;
        pass(&store, &Rules { audit: None, ..RULES }, Duration::ZERO).await.unwrap();
        assert_eq!(commands(&store).await, ["pause"], "without an age all of it stays");
        pass(&store, &RULES, Duration::ZERO).await.unwrap();
        store.audit(&audited(COMMAND)).await.unwrap();
        pass(&store, &RULES, Duration::ZERO).await.unwrap();
        assert_eq!(commands(&store).await, [COMMAND, COMMAND]);
        store.audit(&audited("pause")).await.unwrap();
        let removed = pass(&store, &RULES, Duration::ZERO).await.unwrap();
        assert_eq!((removed.audited, commands(&store).await.len()), (2, 2));
    }

    #[tokio::test]
    async fn runs_wait_for_their_export() {
        let (folder, store) = past(3).await;
        let rules = Rules { spool: folder.path().to_owned(), awaits_export: true, ..RULES };
        assert_eq!(pass(&store, &rules, Duration::ZERO).await.unwrap().runs, 0);
        let mut done = Done::default();
        done.add(RunId(2));
        done.write(folder.path()).unwrap();
        assert_eq!(pass(&store, &rules, Duration::ZERO).await.unwrap().runs, 1);
        assert!(store.run(RunId(1)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn receipts_that_no_delivery_log_exports_go_with_their_runs_and_not_before() {
        let (folder, store) = past(2).await;
        let spool = folder.path().join("delivery_log");
        std::fs::create_dir(&spool).unwrap();
        let receipts = |run| spool::file(&spool, RunId(run));
        [1, 2].into_iter().for_each(|run| std::fs::write(receipts(run), "{}\n").unwrap());
        let rules = Rules { spool: spool.clone(), ..RULES };
        let exported = Rules { awaits_export: true, ..rules.clone() };
        pass(&store, &exported, Duration::ZERO).await.unwrap();
        pass(&store, &Rules { runs: None, ..rules.clone() }, Duration::ZERO).await.unwrap();
        assert!(receipts(1).exists() && receipts(2).exists(), "their runs are there");
        pass(&store, &rules, Duration::ZERO).await.unwrap();
        assert!(store.run(RunId(1)).await.unwrap().is_none());
        assert!(!receipts(1).exists() && receipts(2).exists(), "the last run stays");
    }

    #[tokio::test]
    async fn once_a_server_drains_nothing_more_is_removed() {
        let (_folder, store) = past(3).await;
        let (stopper, shutdown) = shutdown::channel();
        let (_known, heard) = watch::channel(());
        stopper.raise(Stage::Draining);
        serve(store.clone(), heard, |()| RULES, shutdown).await;
        assert_eq!(store.runs(None, 9, None).await.unwrap().len(), 3);
    }
}
