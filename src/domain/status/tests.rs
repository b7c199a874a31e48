//! The rule of statuses: the cases of the seeds by name, and what holds for any facts.

use proptest::prelude::*;

use super::*;

fn sync(name: &str, results: &[(u64, Outcome)]) -> Facts {
    let result = |(run, outcome): &(u64, Outcome)| Finished {
        run: RunId(*run),
        outcome: *outcome,
        tally: Tally::default(),
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
        facts.results[0].tally.rejected = 5;
        assert_eq!(status(&[facts]).word, expected, "{fail_above_rejected:?}");
    }
}

#[test]
fn a_partial_run_that_left_records_undelivered_is_a_failure() {
    for undelivered in
        [Tally { unknown: 2, ..Tally::default() }, Tally { unsent: 2, ..Tally::default() }]
    {
        let mut facts = sync("crm", &[(7, Partial)]);
        facts.results[0].tally = undelivered;
        let Status { word, reason } = status(&[facts]);
        assert_eq!(word, Word::Failed);
        assert_eq!(reason, "2 records were not sent or got no answer in the last run, 7");
    }
    let held = Tally { held: 2, ..Tally::default() };
    let mut facts = sync("crm", &[(7, Partial)]);
    facts.results[0].tally = held;
    assert_eq!(status(&[facts]).word, Word::Running);
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
    let results = prop::collection::vec((prop::sample::select(outcomes), 0..3_u64, 0..2_u64), 0..4);
    let run = || prop::option::weighted(0.4, any::<bool>());
    let limit = prop::option::of(0..3_u64);
    let flags = (seldom(), seldom(), prop::bool::weighted(0.4), seldom());
    (flags, run(), run(), results, limit, any::<bool>(), 0..2_u64).prop_map(
        |(flags, going, waiting, results, limit, scheduled, held)| {
            let (starts, broken, disabled, resumed) = flags;
            let finished = |(run, (outcome, rejected, unsent))| {
                let run = RunId(run);
                let tally = Tally { rejected, unsent, ..Tally::default() };
                Finished { run, outcome, tally, error: None }
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
            Partial => {
                last.tally.unsent > 0
                    || facts.fail_above_rejected.is_some_and(|limit| last.tally.rejected > limit)
            }
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
            on().any(|facts| facts.is_scheduled || facts.going.is_some()) && !on().any(has_failed)
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
