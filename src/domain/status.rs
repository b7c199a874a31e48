//! The one rule from what is known of syncs to their status, for one sync and for all syncs of a connection.
//!
//! A sync by itself is a group of one. Not responsible for finding the facts out (`api::status`). Invariants: the words are
//! tried in the order of [`Word`], and the first that applies stands; what is not known is never shown as healthy.
//!
//! Over several syncs a word applies as follows.
//! - Server Reinitializing, Unknown, Restarting, Failed: if it applies to any of them. Failed looks at the last result of
//!   each, so that it stays until a later run of the same sync has succeeded.
//! - Disabled: if all are disabled. Those that are, beside others that are not, count no further: nothing of them waits,
//!   goes or fails until they are resumed.
//! - In Queue: if a run waits and none goes.
//! - Running: if something is active, meaning that a run goes or a schedule is on; every last result is then a success.
//!   Where there is no result yet, none says otherwise.
//! - Idle: nothing is active, or there are no syncs.
//!
//! Held deletes change no word; where it is known how all stand, the reason tells of them.

use super::id::RunId;
use super::run::Outcome;
use super::tally::Tally;

/// Where a sync or a connection stands; the first in this order that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    ServerReinitializing,
    Unknown,
    Disabled,
    Restarting,
    InQueue,
    Failed,
    Running,
    Idle,
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Word::ServerReinitializing => "Server Reinitializing",
            Word::Unknown => "Unknown",
            Word::Disabled => "Disabled",
            Word::Restarting => "Restarting",
            Word::InQueue => "In Queue",
            Word::Failed => "Failed",
            Word::Running => "Running",
            Word::Idle => "Idle",
        })
    }
}

/// A status and why it is that one, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub word: Word,
    pub reason: String,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub run: RunId,
    pub outcome: Outcome,
    pub tally: Tally,
    pub error: Option<String>,
}

/// A run that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Going {
    pub run: RunId,
    /// It goes on with what an earlier process had begun or taken in.
    pub is_restart: bool,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub is_restart: bool,
    /// For what, such as `its turn`.
    pub what_for: String,
}

/// What is known of one sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub sync: String,
    /// The server reads its config or takes up what an earlier process left.
    pub is_reinitializing: bool,
    /// Why it is not known how the sync stands.
    pub unreadable: Option<String>,
    /// Why the sync is disabled.
    pub disabled: Option<String>,
    pub going: Option<Going>,
    pub waiting: Option<Waiting>,
    /// It was resumed or started since its last result: when and by whom.
    pub resumed: Option<String>,
    /// The newest first, back to the first that is not Cancelled; what comes after that does not matter.
    pub results: Vec<Finished>,
    /// A partial run that left records undelivered counts as failed, and one with more standing rejections than this; without
    /// it, rejections are only told with the run.
    pub fail_above_rejected: Option<u64>,
    pub is_scheduled: bool,
    /// Deletes that wait for a person; they change no word.
    pub held: u64,
}

impl Facts {
    /// The last result that says something; a cancelled run changes nothing.
    fn last(&self) -> Option<&Finished> {
        self.results.iter().find(|result| result.outcome != Outcome::Cancelled)
    }

    /// Why the last result is a failure, if it is one.
    fn failure(&self) -> Option<String> {
        let last = self.last()?;
        let Finished { run, outcome, tally, ref error } = *last;
        match outcome {
            Outcome::Failed | Outcome::Interrupted => {
                let why = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
                Some(format!("the last run, {run}, {}{why}", verb(outcome)))
            }
            Outcome::Partial if tally.undelivered() > 0 => Some(format!(
                "{} records were not sent or got no answer in the last run, {run}",
                tally.undelivered()
            )),
            Outcome::Partial => {
                let rejected = tally.standing_rejections();
                let limit = self.fail_above_rejected.filter(|limit| rejected > *limit)?;
                Some(format!(
                    "{rejected} records were rejected in the last run, {run}, and more than {limit} count as failed"
                ))
            }
            Outcome::Succeeded | Outcome::Skipped | Outcome::Cancelled => None,
        }
    }

    fn restart(&self) -> Option<String> {
        let going = self.going.filter(|going| going.is_restart).map(|going| going.run);
        let waiting = self.waiting.as_ref().filter(|waiting| waiting.is_restart);
        if let Some(run) = going.or(waiting.map(|waiting| waiting.run)) {
            return Some(format!("run {run} takes up what was left when the process before ended"));
        }
        let resumed = self.resumed.as_ref()?;
        let what = match (self.going, &self.waiting) {
            (Some(Going { run, .. }), _) => format!("its first run since, {run}, goes"),
            (None, Some(Waiting { run, what_for, .. })) => {
                format!("its first run since, {run}, waits for {what_for}")
            }
            (None, None) if self.is_scheduled => "its schedule is on".to_owned(),
            // Nothing restarts: nobody has asked for a run.
            (None, None) => return None,
        };
        Some(format!("resumed {resumed}; {what}"))
    }

    fn queued(&self) -> Option<String> {
        let Waiting { run, what_for, .. } = self.waiting.as_ref()?;
        Some(format!("run {run} waits for {what_for}"))
    }

    /// Why the sync counts as active, if it does.
    fn activity(&self) -> Option<String> {
        let last = match self.last() {
            Some(last) => format!("the last run before, {}, {}", last.run, verb(last.outcome)),
            None => "no run has come to a result yet".to_owned(),
        };
        match self.going {
            Some(Going { run, .. }) => Some(format!("run {run} goes; {last}")),
            None if self.is_scheduled => Some(match self.last() {
                Some(last) => {
                    format!(
                        "the last run, {}, {}; the schedule is on",
                        last.run,
                        verb(last.outcome)
                    )
                }
                None => format!("{last}; the schedule is on"),
            }),
            None => None,
        }
    }

    fn rest(&self) -> String {
        match self.last() {
            Some(last) => format!(
                "nothing is to be done: no schedule and no run asked for; the last run, {}, {}",
                last.run,
                verb(last.outcome)
            ),
            None => "nothing is to be done: no schedule and no run asked for".to_owned(),
        }
    }
}

fn verb(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Partial => "was partial",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "was cancelled",
        Outcome::Interrupted => "was interrupted",
        Outcome::Skipped => "was skipped",
    }
}

/// The status of these syncs taken together: all syncs of a connection, or one sync.
pub fn status(syncs: &[Facts]) -> Status {
    let mut status = first_that_applies(syncs);
    let is_known = !matches!(status.word, Word::ServerReinitializing | Word::Unknown);
    if let Some(held) = held(syncs).filter(|_| is_known) {
        status.reason.push_str(&format!("; {held}"));
    }
    status
}

/// How many deletes wait for a person, where some do.
fn held(syncs: &[Facts]) -> Option<String> {
    let holding: Vec<&Facts> = syncs.iter().filter(|facts| facts.held > 0).collect();
    let count: u64 = holding.iter().map(|facts| facts.held).sum();
    let deletes =
        if count == 1 { "1 delete is held" } else { &format!("{count} deletes are held") };
    match holding.as_slice() {
        [] => None,
        [one] if syncs.len() > 1 => Some(format!("`{}`: {deletes}", one.sync)),
        [_] => Some(deletes.to_owned()),
        several => Some(format!("{deletes}, of {} syncs", several.len())),
    }
}

fn first_that_applies(syncs: &[Facts]) -> Status {
    let is_group = syncs.len() > 1;
    let named = |facts: &Facts, reason: String| {
        if is_group { format!("`{}`: {reason}", facts.sync) } else { reason }
    };
    let first = |among: &[&Facts], why: fn(&Facts) -> Option<String>| {
        among.iter().find_map(|facts| why(facts).map(|reason| named(facts, reason)))
    };
    let is = |word, reason| Status { word, reason };
    let all: Vec<&Facts> = syncs.iter().collect();
    if syncs.iter().any(|facts| facts.is_reinitializing) {
        let reason = "the server reads its config and takes up what was left; ask again soon";
        return is(Word::ServerReinitializing, reason.to_owned());
    }
    if let Some(reason) = first(&all, |facts| facts.unreadable.clone()) {
        return is(Word::Unknown, reason);
    }
    let active: Vec<&Facts> = syncs.iter().filter(|facts| facts.disabled.is_none()).collect();
    if active.is_empty() {
        let disabled = first(&all, |facts| facts.disabled.clone());
        return match disabled {
            Some(reason) if is_group => is(Word::Disabled, format!("every sync is; {reason}")),
            Some(reason) => is(Word::Disabled, reason),
            None => is(Word::Idle, "no sync is there".to_owned()),
        };
    }
    if let Some(reason) = first(&active, Facts::restart) {
        return is(Word::Restarting, reason);
    }
    if active.iter().all(|facts| facts.going.is_none())
        && let Some(reason) = first(&active, Facts::queued)
    {
        return is(Word::InQueue, reason);
    }
    if let Some(reason) = first(&active, Facts::failure) {
        return is(Word::Failed, reason);
    }
    // A run that goes says more than a schedule.
    let going = |facts: &Facts| facts.going.and_then(|_| facts.activity());
    match first(&active, going).or_else(|| first(&active, Facts::activity)) {
        Some(reason) => is(Word::Running, reason),
        None if is_group => is(Word::Idle, "nothing is to be done by any of its syncs".to_owned()),
        None => is(Word::Idle, active[0].rest()),
    }
}

#[cfg(test)]
mod tests;
