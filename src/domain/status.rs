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
    /// Records that the destination rejected, in this run or before it, and that stand so.
    pub rejected: u64,
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
    /// A partial run with more rejected records than this counts as failed; without it, none does: it has committed, and
    /// what was rejected is told with the run.
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
        let Finished { run, outcome, rejected, ref error } = *last;
        match outcome {
            Outcome::Failed | Outcome::Interrupted => {
                let why = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
                Some(format!("the last run, {run}, {}{why}", verb(outcome)))
            }
            Outcome::Partial => {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sync(name: &str, results: &[(u64, Outcome)]) -> Facts {
        let result = |(run, outcome): &(u64, Outcome)| Finished {
            run: RunId(*run),
            outcome: *outcome,
            rejected: 0,
            error: None,
        };
        let results = results.iter().rev().map(result).collect();
        Facts { sync: name.to_owned(), results, is_scheduled: true, ..Facts::default() }
    }

    fn going(facts: Facts, run: u64) -> Facts {
        Facts { going: Some(Going { run: RunId(run), is_restart: false }), ..facts }
    }

    fn waiting(run: u64) -> Option<Waiting> {
        Some(Waiting { run: RunId(run), is_restart: false, what_for: "its turn".to_owned() })
    }

    use Outcome::{Cancelled, Failed, Interrupted, Partial, Skipped, Succeeded};

    #[test]
    fn case_1_all_succeeded_and_the_next_iteration_goes_on_is_running() {
        let group = [
            going(sync("ss1", &[(1, Failed), (3, Succeeded)]), 5),
            sync("ss2", &[(2, Succeeded), (4, Succeeded)]),
        ];
        let Status { word, reason } = status(&group);
        assert_eq!(word, Word::Running);
        assert_eq!(reason, "`ss1`: run 5 goes; the last run before, 3, succeeded");
    }

    #[test]
    fn case_2_one_failed_and_its_next_iteration_goes_on_is_failed() {
        let group = [
            going(sync("ss1", &[(1, Succeeded), (3, Failed)]), 5),
            sync("ss2", &[(2, Succeeded), (4, Succeeded)]),
        ];
        let Status { word, reason } = status(&group);
        assert_eq!((word, reason.as_str()), (Word::Failed, "`ss1`: the last run, 3, failed"));
    }

    #[test]
    fn case_3_one_failed_and_succeeded_since_while_another_goes_on_is_running() {
        let group =
            [sync("ss1", &[(1, Failed), (3, Succeeded)]), going(sync("ss2", &[(2, Succeeded)]), 4)];
        assert_eq!(status(&group).word, Word::Running);
    }

    #[test]
    fn what_each_last_result_makes_of_a_sync() {
        for (results, expected) in [
            (&[][..], Word::Running),
            (&[(1, Succeeded)], Word::Running),
            (&[(1, Failed), (2, Skipped)], Word::Running),
            (&[(1, Succeeded), (2, Failed)], Word::Failed),
            (&[(1, Succeeded), (2, Interrupted)], Word::Failed),
            (&[(1, Failed), (2, Cancelled)], Word::Failed),
            (&[(1, Succeeded), (2, Cancelled), (3, Cancelled)], Word::Running),
            (&[(1, Cancelled)], Word::Running),
            (&[(1, Failed), (2, Partial)], Word::Running),
        ] {
            assert_eq!(status(&[sync("crm", results)]).word, expected, "{results:?}");
            let unscheduled = Facts { is_scheduled: false, ..sync("crm", results) };
            let word = if expected == Word::Failed { Word::Failed } else { Word::Idle };
            assert_eq!(status(&[unscheduled]).word, word, "{results:?}");
        }
    }

    #[test]
    fn a_partial_run_is_failed_above_the_limit_and_never_without_one() {
        for (fail_above_rejected, expected) in
            [(None, Word::Running), (Some(4), Word::Failed), (Some(5), Word::Running)]
        {
            let mut facts = Facts { fail_above_rejected, ..sync("crm", &[(1, Partial)]) };
            facts.results[0].rejected = 5;
            assert_eq!(status(&[facts]).word, expected, "{fail_above_rejected:?}");
        }
    }

    #[test]
    fn disabled_syncs_count_only_where_all_are() {
        let disabled = |results| Facts { disabled: Some("paused".into()), ..sync("a", results) };
        let failed = disabled(&[(1, Failed)]);
        assert_eq!(status(std::slice::from_ref(&failed)).word, Word::Disabled);
        assert_eq!(status(&[failed.clone(), failed.clone()]).word, Word::Disabled);
        assert_eq!(status(&[failed, sync("b", &[(2, Succeeded)])]).word, Word::Running);
        assert_eq!(status(&[]).word, Word::Idle);
    }

    #[test]
    fn the_reason_names_the_limit_the_error_and_the_restart() {
        let queued = Facts { waiting: waiting(2), ..sync("crm", &[]) };
        assert_eq!(status(&[queued]).reason, "run 2 waits for its turn");
        let mut failed = sync("crm", &[(1, Failed)]);
        failed.results[0].error = Some("no `id`".into());
        assert_eq!(status(&[failed]).reason, "the last run, 1, failed: no `id`");
        let going = Some(Going { run: RunId(3), is_restart: true });
        let restarting = Facts { going, ..sync("crm", &[(2, Interrupted)]) };
        let Status { word, reason } = status(&[restarting]);
        assert_eq!(word, Word::Restarting);
        assert!(reason.contains("run 3"), "{reason}");
    }

    #[test]
    fn whoever_was_resumed_is_restarting_until_a_result_where_a_run_is_to_come_b10() {
        let resumed = Facts { resumed: Some("by ada".into()), ..sync("crm", &[(1, Failed)]) };
        let Status { word, reason } = status(std::slice::from_ref(&resumed));
        assert_eq!((word, &*reason), (Word::Restarting, "resumed by ada; its schedule is on"));
        let asked = Facts { is_scheduled: false, ..resumed.clone() };
        assert_eq!(status(std::slice::from_ref(&asked)).word, Word::Failed);
        assert_eq!(status(&[Facts { waiting: waiting(2), ..asked }]).word, Word::Restarting);
        let beside = [sync("ads", &[(2, Succeeded)]), going(resumed, 3)];
        assert_eq!(status(&beside).reason, "`crm`: resumed by ada; its first run since, 3, goes");
    }

    #[test]
    fn held_deletes_are_told_of_and_change_no_word() {
        let holding = |name, held| Facts { held, ..sync(name, &[(1, Partial)]) };
        for (held, told) in [
            (&[1][..], "; 1 delete is held"),
            (&[12], "; 12 deletes are held"),
            (&[0, 2], "; `b`: 2 deletes are held"),
            (&[3, 2, 0], "; 5 deletes are held, of 2 syncs"),
        ] {
            let named = || ["a", "b", "c"].into_iter().zip(held);
            let bare: Vec<Facts> = named().map(|(name, _)| holding(name, 0)).collect();
            let Status { word, reason } = status(&bare);
            let syncs: Vec<Facts> = named().map(|(name, held)| holding(name, *held)).collect();
            assert_eq!(status(&syncs), Status { word, reason: format!("{reason}{told}") });
        }
        let unreadable = Some("no file".into());
        assert_eq!(status(&[Facts { unreadable, ..holding("a", 3) }]).reason, "no file");
    }

    fn any_facts() -> impl Strategy<Value = Facts> {
        let seldom = || prop::bool::weighted(0.15);
        let outcomes = vec![Succeeded, Partial, Failed, Cancelled, Interrupted, Skipped];
        let results = prop::collection::vec((prop::sample::select(outcomes), 0..3_u64), 0..4);
        let run = || prop::option::weighted(0.4, any::<bool>());
        let limit = prop::option::of(0..3_u64);
        let flags = (seldom(), seldom(), prop::bool::weighted(0.4), seldom());
        (flags, run(), run(), results, limit, any::<bool>(), 0..2_u64).prop_map(
            |(flags, going, waiting, results, limit, scheduled, held)| {
                let (starts, broken, disabled, resumed) = flags;
                let finished = |(run, (outcome, rejected))| {
                    let run = RunId(run);
                    Finished { run, outcome, rejected, error: None }
                };
                Facts {
                    sync: "crm".to_owned(),
                    is_reinitializing: starts,
                    unreadable: broken.then(|| "broken".to_owned()),
                    disabled: disabled.then(|| "paused".to_owned()),
                    going: going.map(|is_restart| Going { run: RunId(8), is_restart }),
                    waiting: waiting.map(|is_restart| Waiting {
                        run: RunId(9),
                        is_restart,
                        what_for: "its turn".to_owned(),
                    }),
                    resumed: resumed.then(|| "by ada".to_owned()),
                    results: (1..).zip(results).map(finished).collect(),
                    fail_above_rejected: limit,
                    is_scheduled: scheduled,
                    held,
                }
            },
        )
    }

    /// The rows of the table, each by itself: whether the word applies, whatever else does.
    fn applies(word: Word, syncs: &[Facts]) -> bool {
        let on = || syncs.iter().filter(|facts| facts.disabled.is_none());
        let is_restart = |facts: &Facts| {
            let is_asked = facts.going.is_some() || facts.waiting.is_some() || facts.is_scheduled;
            facts.going.is_some_and(|run| run.is_restart)
                || facts.waiting.as_ref().is_some_and(|run| run.is_restart)
                || facts.resumed.is_some() && is_asked
        };
        let has_failed = |facts: &Facts| {
            let mut results = facts.results.iter().filter(|run| run.outcome != Cancelled);
            results.next().is_some_and(|last| match last.outcome {
                Failed | Interrupted => true,
                Partial => facts.fail_above_rejected.is_some_and(|limit| last.rejected > limit),
                Succeeded | Skipped | Cancelled => false,
            })
        };
        match word {
            Word::ServerReinitializing => syncs.iter().any(|facts| facts.is_reinitializing),
            Word::Unknown => syncs.iter().any(|facts| facts.unreadable.is_some()),
            Word::Disabled => !syncs.is_empty() && on().count() == 0,
            Word::Restarting => on().any(is_restart),
            Word::InQueue => {
                on().any(|facts| facts.waiting.is_some()) && on().all(|facts| facts.going.is_none())
            }
            Word::Failed => on().any(has_failed),
            Word::Running => {
                on().any(|facts| facts.is_scheduled || facts.going.is_some())
                    && !on().any(has_failed)
            }
            Word::Idle => true,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn the_first_word_that_applies_stands_and_says_why(
            syncs in prop::collection::vec(any_facts(), 0..4),
        ) {
            const ORDER: [Word; 8] = [
                Word::ServerReinitializing, Word::Unknown, Word::Disabled, Word::Restarting,
                Word::InQueue, Word::Failed, Word::Running, Word::Idle,
            ];
            let expected = ORDER.into_iter().find(|word| applies(*word, &syncs));
            let found = status(&syncs);
            prop_assert_eq!(Some(found.word), expected);
            prop_assert!(!found.reason.is_empty());
            prop_assert!(ORDER.is_sorted());
        }
    }
}
