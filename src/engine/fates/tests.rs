//! Fates of more keys than fit: none is forgotten, none is found that was not met, and memory stays within its shares.

use super::*;
use crate::engine::lookup::records;

fn fates(keys: usize, filter: usize) -> Fates {
    Fates::new(
        Shares { keys, filter, ..Shares::of(0) },
        Arc::new(Spill::new(&std::env::temp_dir())),
    )
}

fn key(n: u32) -> (KeyHash, [u8; 4]) {
    (key::hash(&n.to_le_bytes()), n.to_le_bytes())
}

/// Bytes that are allocated, but for where the spilled pieces lie.
fn allocated(fates: &Fates) -> usize {
    let beyond = fates.beyond.as_ref().map_or(0, |beyond| {
        let looked_up = match &beyond.stage {
            Stage::LookingUp(lookup) => lookup.allocated(),
            _ => 0,
        };
        let recent = beyond.recent.allocated();
        assert!(recent < 100_000, "the keys of one chunk");
        let piles = beyond.log.allocated() + beyond.unsure.allocated();
        beyond.filter.allocated() + piles + looked_up
    });
    fates.exact.allocated() + beyond
}

/// Keys that were put aside, in the order in which they come back, each with its fate.
fn decided(fates: &mut Fates, heed: impl Fn(&Fates)) -> Vec<(KeyHash, Option<Fate>)> {
    let (mut piece, mut decided) = (Vec::new(), Vec::new());
    while fates.next_unsure(&mut piece).unwrap() {
        heed(fates);
        for (hash, record) in records(&piece) {
            decided.push((hash, fates.get(hash, record).unwrap()));
            fates.insert(hash, record, Fate::Blocked);
        }
    }
    assert!(!fates.has_unsure());
    decided
}

#[test]
fn what_fits_is_exact_and_nothing_is_unsure() {
    let mut fates = fates(1 << 20, 0);
    for n in 0..1_000 {
        let (hash, key) = key(n);
        assert_eq!(fates.get(hash, &key), Ok(None));
        assert_eq!(fates.insert_new(hash, &key, Fate::Pushed), Ok(true));
        assert_eq!(fates.insert_new(hash, &key, Fate::Late), Ok(false));
        assert_eq!(fates.get(hash, &key), Ok(Some(Fate::Pushed)));
    }
    assert!(!fates.has_unsure() && fates.beyond.is_none());
    assert_eq!(fates.spill.size(), 0);
}

#[test]
fn beyond_what_fits_every_key_is_known_again_in_the_end_and_memory_is_bounded() {
    // In the second, fewer keys are looked up at once than there are in a pile.
    check_beyond(1 << 20);
    check_beyond(1 << 16);
}

fn check_beyond(keys: usize) {
    let filter = 1 << 20;
    let mut fates = fates(keys, filter);
    let most = keys + filter + keys / 4;
    let all = 200_000;
    let mut surely_new = 0;
    for n in 0..all {
        let (hash, key) = key(n);
        match fates.insert_new(hash, &key, Fate::Pushed) {
            Ok(is_new) => surely_new += u32::from(is_new),
            Err(Unsure) => fates.put_aside(hash, |out| out.extend(key)),
        }
        if n % 1_000 == 0 {
            assert!(allocated(&fates) <= most, "{n}");
            fates.begin_chunk();
        }
    }
    assert!(surely_new > all - all / 100, "{surely_new}");
    fates.begin_chunk();
    let (again, new) = (0..all / 2, all..all + all / 4);
    let mut aside = 0;
    for n in again.chain(new) {
        let (hash, key) = key(n);
        match fates.get(hash, &key) {
            Err(Unsure) => {
                fates.put_aside(hash, |out| out.extend(key));
                aside += 1;
            }
            Ok(None) => assert!(n >= all, "{n} was met"),
            Ok(Some(fate)) => assert!(n < all && fate == Fate::Pushed),
        }
    }
    assert!(aside > all / 4 && fates.spill.size() > 0);
    // The filter is gone by then.
    let decided = decided(&mut fates, |fates| assert!(allocated(fates) <= most - filter));
    let of = |fate: Option<Fate>| decided.iter().filter(|(_, known)| *known == fate).count();
    // Those that were taken for known, whether put aside once or twice.
    assert!(of(None) + of(Some(Fate::Blocked)) < all as usize / 20, "{}", of(None));
    assert!(of(Some(Fate::Pushed)) > all as usize / 4);
}

#[test]
fn what_comes_after_what_was_decided_finds_it_however_few_keys_are_looked_up_at_once() {
    for (keys, all) in [(0, 500), (500, 500), (100_000, 20_000)] {
        let mut fates = fates(keys, 0);
        // More than fit, three times.
        for n in (0..all).chain(0..all).chain(0..all) {
            let (hash, key) = key(n);
            if fates.insert_new(hash, &key, Fate::Pushed) == Err(Unsure) {
                fates.put_aside(hash, |out| out.extend(key));
            }
        }
        let decided = decided(&mut fates, |_| {});
        let firsts = decided.iter().filter(|(_, fate)| fate.is_none()).count();
        assert_eq!((decided.len() - firsts, decided.len() % 3), (2 * firsts, 0), "{keys}");
    }
}

#[test]
fn a_fate_that_changed_is_the_one_that_is_found() {
    let mut fates = fates(100, 0);
    let [(first, one), (second, another)] = [key(1), key(2)];
    assert_eq!(fates.insert_new(first, &one, Fate::Pushed), Ok(true));
    assert_eq!(fates.insert_new(second, &another, Fate::Pushed), Err(Unsure));
    fates.insert(first, &one, Fate::Left);
    assert_eq!(fates.get(first, &one), Ok(Some(Fate::Left)));
    assert_eq!(fates.get(second, &another), Err(Unsure));
    assert!(!fates.comes_again(second));
}
