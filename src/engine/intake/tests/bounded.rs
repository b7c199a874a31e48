//! The same random rows, in so little memory that not all keys fit: once what was put aside is decided on, all is as where
//! they do.

use super::*;
use crate::spill::Error;

/// No key fits among the exact ones, and so many may be looked up at once.
fn none_exact(filter: usize, at_once: usize) -> Fates {
    let mut fates = fates(Shares { keys: at_once * 128, filter, ..Shares::of(0) });
    let long = vec![0; 1 + at_once * 128];
    fates.insert(key::hash(&long), &long, Fate::Blocked);
    fates
}

/// Some rooms: for no key, for a few, for half of them; with a filter that knows all, many or none.
fn tight() -> impl Strategy<Value = Shares> {
    let keys = prop_oneof![Just(0), Just(200), Just(1_000)];
    let filter = prop_oneof![Just(0), Just(64), Just(4_096)];
    (keys, filter).prop_map(|(keys, filter)| Shares { keys, filter, ..Shares::of(0) })
}

fn check_sum(intake: &Intake) -> Result<(), TestCaseError> {
    let tally = intake.counts.tally();
    let sum = tally.unchanged + tally.upserts + tally.invalid + tally.waived;
    prop_assert_eq!(tally.rows_read, sum, "{:?}", tally);
    prop_assert!(tally.upserts >= tally.unsent, "{:?}", tally);
    Ok(())
}

fn names(intake: &Intake) -> Vec<(String, Option<String>)> {
    let names = intake.notes.iter().map(|note| (note.key.clone(), note.code.clone()));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn in_little_memory_the_same_is_sent_counted_and_named_as_in_plenty(
        (chunks, examined, taken) in orders(),
        shares in tight(),
        has_primary: bool,
        has_pass: bool,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let waiting = || match has_pass {
            true => Waiting { repeated: pass(&chunks, has_primary), repetitions: true },
            false => Waiting::default(),
        };
        let (mut plenty, mut all) = (Intake::new(IntentNumber(0), waiting(), exact()), Fake::default());
        let (mut little, mut outlet) =
            (Intake::new(IntentNumber(0), waiting(), fates(shares)), Fake::default());
        for number in &taken {
            plenty.take(&parts[*number], &mut all).unwrap();
            little.take(&parts[*number], &mut outlet).unwrap();
            check_sum(&little)?;
        }
        prop_assert!(!plenty.has_unsure());
        while little.has_unsure() {
            little.decide(&mut outlet).unwrap();
            check_sum(&little)?;
        }
        prop_assert_eq!(little.counts.tally(), plenty.counts.tally());
        prop_assert_eq!(little.counts.invalid_keys, plenty.counts.invalid_keys);
        prop_assert_eq!(names(&little), names(&plenty));
        prop_assert_eq!(&outlet.waiting, &all.waiting);
        prop_assert!(outlet.twice.is_empty() && outlet.repeated.is_empty());
        prop_assert_eq!(little.lane.len(), plenty.lane.len());
        for key in (0..IDS).map(key_of) {
            let hash = key::hash(&key);
            prop_assert_eq!(little.lane.has(hash, &key), plenty.lane.has(hash, &key));
        }
        let [little, plenty] = [little, plenty].map(|mut it| it.lane.groups(true).1);
        prop_assert_eq!(little, plenty, "as many are left out for the rest of their batch");
    }

    #[test]
    fn in_little_memory_a_repeated_key_is_in_doubt_if_it_has_left_and_else_never_sent(
        (chunks, examined, taken) in orders(),
        shares in tight(),
        has_primary: bool,
        leaves: u64,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates(shares));
        let mut outlet = Fake::default();
        let leave = |outlet: &mut Fake, step: usize| {
            if leaves >> (step % 64) & 1 == 1 {
                let waiting = std::mem::take(&mut outlet.waiting);
                outlet.left.extend(waiting);
            }
        };
        for (step, number) in taken.iter().enumerate() {
            intake.take(&parts[*number], &mut outlet).unwrap();
            leave(&mut outlet, step);
        }
        for step in 32.. {
            if !intake.has_unsure() {
                break;
            }
            intake.decide(&mut outlet).unwrap();
            check_sum(&intake)?;
            leave(&mut outlet, step);
        }
        prop_assert!(outlet.twice.is_empty(), "{:?}", outlet.twice);
        let mut met = BTreeMap::<Vec<u8>, usize>::new();
        for id in chunks.iter().flatten().filter_map(|row| row.0) {
            *met.entry(key_of(id)).or_default() += 1;
        }
        for key in met.iter().filter(|(_, count)| **count > 1).map(|(key, _)| key) {
            prop_assert!(!outlet.waiting.contains(key) && !intake.lane.has(key::hash(key), key));
            let noted = outlet.repeated.iter().filter(|noted| *noted == key).count();
            prop_assert_eq!(noted, usize::from(outlet.left.contains(key)));
        }
        prop_assert_eq!(usize::try_from(intake.counts.left).unwrap(), outlet.repeated.len());
    }

    #[test]
    fn a_retry_for_which_there_is_no_room_is_sent_behind_all_else_unless_its_key_is_found_invalid(
        (chunks, examined, taken) in orders(),
        shares in tight(),
        has_primary: bool,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let sent = |is_full: bool| {
            let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates(shares));
            let mut outlet = Fake::default();
            let filler = filler(33 << 20);
            if is_full {
                intake.lane.push(filler);
            }
            for number in &taken {
                intake.take(&parts[*number], &mut outlet).unwrap();
                check_sum(&intake)?;
            }
            while intake.has_unsure() {
                intake.decide(&mut outlet).unwrap();
                check_sum(&intake)?;
            }
            intake.lane.remove(key::hash(b"filler"), b"filler");
            let late = (0..IDS).map(key_of).filter(|key| intake.lane.has(key::hash(key), key));
            let mut sent: Vec<Vec<u8>> = late.chain(outlet.waiting).collect();
            let (waiting, counts) = (intake.waiting(), intake.counts.tally());
            let in_lane = intake.lane.len() as u64;
            prop_assert!(is_full || waiting == in_lane);
            let before = sent.len();
            while intake.has_put_off() {
                let push = |item: &Item<'_>| {
                    assert!(item.is_retry);
                    sent.push(item.key.to_vec());
                };
                assert_eq!(intake.hand_over(true, push).unwrap(), 0);
            }
            prop_assert_eq!((sent.len() - before) as u64 + in_lane, waiting);
            prop_assert_eq!(intake.waiting(), in_lane);
            sent.sort();
            Ok((sent, counts, waiting))
        };
        prop_assert_eq!(sent(true)?, sent(false)?);
    }

    #[test]
    fn where_all_rows_of_a_chunk_leave_before_the_next_the_same_leave_as_in_plenty(
        (chunks, examined, taken) in orders(),
        has_primary: bool,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let come_to = |fates: Fates| {
            let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates);
            let mut outlet = Fake::default();
            for number in &taken {
                intake.take(&parts[*number], &mut outlet).unwrap();
                let waiting = std::mem::take(&mut outlet.waiting);
                outlet.left.extend(waiting);
            }
            while intake.has_unsure() {
                intake.decide(&mut outlet).unwrap();
            }
            outlet.repeated.sort();
            let Fake { waiting, left, repeated, twice } = outlet;
            (waiting, left, repeated, twice, intake.counts.tally(), names(&intake))
        };
        // The filter has room for all, so that what is unsure was really met.
        prop_assert_eq!(come_to(none_exact(1 << 16, 0)), come_to(exact()));
    }

    #[test]
    fn of_rows_that_were_all_put_aside_none_leaves_whose_key_comes_again(
        (chunks, examined, taken) in orders(),
        has_primary: bool,
    ) {
        let parts = examine(&chunks, &examined, has_primary);
        let fates = none_exact(0, 1_000);
        let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates);
        let mut outlet = Fake::default();
        taken.iter().for_each(|number| intake.take(&parts[*number], &mut outlet).unwrap());
        prop_assert!(outlet.waiting.is_empty());
        while intake.has_unsure() {
            intake.decide(&mut outlet).unwrap();
            let waiting = std::mem::take(&mut outlet.waiting);
            outlet.left.extend(waiting);
        }
        prop_assert!(outlet.repeated.is_empty(), "{:?}", outlet.repeated);
    }
}

#[test]
fn what_waits_to_be_sent_is_taken_back_as_soon_as_its_key_may_come_again() {
    // One that can be sent, one without a form in a request, and one that has the primary key of the first.
    let (row, again) = ((Some(7), 1, Some(1)), Some(7));
    for (second, invalid) in
        [((again, 1, Some(2)), 2), ((again, UNRENDERABLE, Some(2)), 2), ((Some(15), 1, Some(1)), 2)]
    {
        let parts = examine(&[vec![row], vec![second]], &[0, 1], true);
        let mut intake = Intake::new(IntentNumber(0), Waiting::default(), none_exact(1 << 16, 0));
        let mut outlet = Fake::default();
        intake.take(&parts[0], &mut outlet).unwrap();
        assert_eq!(outlet.waiting.len(), 1);
        intake.take(&parts[1], &mut outlet).unwrap();
        assert!(outlet.waiting.is_empty(), "before the read has ended: {second:?}");
        let tally = intake.counts.tally();
        assert_eq!((tally.invalid, tally.upserts, tally.unsent), (invalid, 0, 0), "{second:?}");
        while intake.has_unsure() {
            intake.decide(&mut outlet).unwrap();
        }
        assert_eq!((intake.counts.tally(), intake.counts.left), (tally, 0), "{second:?}");
    }
}

/// Of a sketch, from which nothing leaves: it says of no key that it was not there.
struct Dry;

impl Outlet for Dry {
    fn push(&mut self, _item: &Item<'_>) {}

    fn withdraw(&mut self, _hash: KeyHash, _key: &[u8]) -> bool {
        true
    }

    fn note(&mut self, _record: &Record<'_>) {}
}

#[test]
fn where_nothing_leaves_what_may_have_been_met_is_put_aside_and_counted_as_it_is() {
    let rows = [7, 15, 15].map(|id| vec![(Some(id), 1, None)]);
    let parts = examine(&rows, &[0, 1, 2], false);
    for filter in [0, 1 << 16] {
        let mut intake =
            Intake::new(IntentNumber(0), Waiting::default(), none_exact(filter, 1_000));
        parts.iter().for_each(|part| intake.take(part, &mut Dry).unwrap());
        while intake.has_unsure() {
            intake.decide(&mut Dry).unwrap();
        }
        let tally = intake.counts.tally();
        assert_eq!((tally.upserts, tally.unsent, tally.invalid), (1, 0, 2), "{filter}");
    }
}

#[test]
fn what_cannot_be_put_aside_ends_the_read_and_is_unsent() {
    let folder = tempfile::tempdir().unwrap();
    let spill = Spill::new(folder.path());
    drop(folder);
    let fates = Fates::new(Shares { keys: 0, filter: 0, ..Shares::of(0) }, Arc::new(spill));
    let (mut intake, mut outlet) =
        (Intake::new(IntentNumber(0), Waiting::default(), fates), Fake::default());
    let rows = [7, 15, 23].map(|id| (Some(id), 1, None));
    let parts = examine(&[rows.to_vec()], &[0], false);
    let refused = intake.take(&parts[0], &mut outlet).unwrap_err();
    assert!(matches!(refused, Error::Write { .. }), "{refused}");
    assert!(intake.is_broken() && !intake.has_unsure());
    intake.decide(&mut outlet).unwrap();
    let tally = intake.counts.tally();
    assert_eq!((tally.rows_read, tally.upserts, tally.unsent), (3, 3, 3));
    assert!(outlet.waiting.is_empty());
}

#[test]
fn a_retry_that_was_put_off_and_needs_the_proof_of_the_read_is_left_out_without_it() {
    let parts = examine(&[[5, 13].map(|id| (Some(id), 1, None)).to_vec()], &[0], false);
    let twice = || pass(&[vec![(Some(5), 1, None)], vec![(Some(5), 1, None)]], false);
    for (is_proven, left_out) in [(false, 1), (true, 0)] {
        let waiting = Waiting { repeated: twice(), repetitions: false };
        let mut intake = Intake::new(IntentNumber(0), waiting, exact());
        intake.lane.push(filler(33 << 20));
        intake.take(&parts[0], &mut Fake::default()).unwrap();
        let mut pushed = 0;
        let mut left = 0;
        while intake.has_put_off() {
            left += intake.hand_over(is_proven, |_| pushed += 1).unwrap();
        }
        assert_eq!((left, pushed, intake.waiting()), (left_out, 2 - left_out, 1), "{is_proven}");
    }
}

#[test]
fn where_no_retry_can_be_put_off_the_read_ends_and_what_waits_is_unsent() {
    let folder = tempfile::tempdir().unwrap();
    let spill = Spill::new(folder.path());
    drop(folder);
    let shares = Shares { keys: 1 << 12, filter: 0, ..Shares::of(0) };
    let fates = Fates::new(shares, Arc::new(spill));
    let mut intake = Intake::new(IntentNumber(0), Waiting::default(), fates);
    intake.lane.push(filler(33 << 20));
    let parts = examine(&[[5, 13].map(|id| (Some(id), 1, None)).to_vec()], &[0], false);
    let refused = intake.take(&parts[0], &mut Fake::default()).unwrap_err();
    assert!(matches!(refused, Error::Write { .. }), "{refused}");
    assert!(!intake.has_put_off());
    assert_eq!((intake.waiting(), intake.counts.tally().upserts), (3, 2));
}

#[test]
fn a_repetition_whose_key_comes_again_takes_no_other_of_its_batch_out() {
    let rows = [22, 6, 6].map(|id| vec![(Some(id), 1, None)]);
    let parts = examine(&rows, &[0, 1, 2], false);
    let waiting = Waiting { repetitions: true, ..Waiting::default() };
    let mut intake = Intake::new(IntentNumber(0), waiting, none_exact(0, 1_000));
    let mut outlet = Fake::default();
    parts.iter().for_each(|part| intake.take(part, &mut outlet).unwrap());
    while intake.has_unsure() {
        intake.decide(&mut outlet).unwrap();
    }
    assert_eq!((intake.lane.len(), intake.counts.tally().invalid), (1, 2));
    assert_eq!(intake.lane.groups(true).1, 0, "what is left of the batch goes");
}
