//! A shard gives back what was put in, and knows what was met.

use std::num::NonZero;

use super::*;
use crate::domain::entry::{Held, Waiver};
use crate::domain::id::RunId;
use crate::domain::key;
use crate::domain::value::Value;

fn shard_of(epochs: impl Iterator<Item = u32>) -> Shard {
    let mut builder = Builder::new(0, Epoch(400), 0);
    for epoch in epochs {
        builder.push_confirmed(0, b"k", Confirmed { fingerprint: 7, epoch: Epoch(epoch) });
    }
    builder.finish().unwrap()
}

#[test]
fn an_epoch_costs_a_byte_a_key_at_most_and_is_kept_exactly() {
    let epochs = [400, 399, 400, 147, 146, 145, 0, 401, 400];
    let shard = shard_of(epochs.into_iter());
    for (place, epoch) in epochs.into_iter().enumerate() {
        match shard.known(place) {
            Known::Current(fingerprint) => assert_eq!((fingerprint, epoch), (7, 400)),
            Known::Outdated(confirmed) => {
                assert_ne!(epoch, 400);
                assert_eq!(confirmed, Confirmed { fingerprint: 7, epoch: Epoch(epoch) });
            }
            Known::Other => panic!("it is confirmed and nothing else"),
        }
    }
    // A forced full run: all of an earlier epoch.
    let forced = shard_of(std::iter::repeat_n(399, 10_000));
    assert_eq!((forced.said.len(), forced.oldest.len()), (10_000, 0));
    let usual = shard_of(std::iter::repeat_n(400, 10_000));
    assert_eq!((usual.said.len(), usual.oldest.len()), (0, 0));
}

#[test]
fn whatever_an_entry_holds_comes_back_and_takes_no_more_than_its_bytes() {
    let confirmed = Some(Confirmed { fingerprint: 7, epoch: Epoch(3) });
    let held = Some(Held { first: RunId(1), last: RunId(2) });
    let waiver = Some(Waiver { fingerprint: 8, epoch: Epoch(400) });
    let entries = [
        Entry { held, ..Entry::default() },
        Entry { confirmed, held, ..Entry::default() },
        Entry { confirmed, waiver, held, ..Entry::default() },
        Entry::default(),
        Entry { confirmed, ..Entry::default() },
    ];
    let mut builder = Builder::new(0, Epoch(400), 0);
    let many = 1_000 * entries.len();
    entries.iter().cycle().take(many).for_each(|entry| builder.push(0, b"k", entry.clone()));
    let shard = builder.finish().unwrap();
    for (place, entry) in entries.iter().cycle().take(many).enumerate() {
        match shard.known(place) {
            Known::Other => assert_eq!(&shard.other(place), entry),
            Known::Outdated(confirmed) => assert_eq!(Some(confirmed), entry.confirmed),
            Known::Current(_) => panic!("none of them is only that"),
        }
    }
    let each = (shard.extras.len() + 8 * shard.others.len()) / shard.others.len();
    assert!(each < 40, "{each} bytes each");
}

/// Canonical keys of whole numbers, and of texts of several lengths, in the order of their hash.
fn keys(numbers: usize, texts: usize) -> Vec<(KeyHash, Vec<u8>)> {
    let encoded = |value: Value<'_>| {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        (key::hash(&bytes), bytes)
    };
    let numbers = (0..i64::try_from(numbers).unwrap()).map(|n| encoded(Value::Integer(n)));
    let texts = (0..texts).map(|n| encoded(Value::Text(&"x".repeat(n))));
    let mut keys: Vec<_> = numbers.chain(texts).collect();
    keys.sort();
    keys
}

/// How keys are pushed: one by one, or as many at once as have one length, this many at most.
#[derive(Debug, Clone, Copy)]
enum Pushed {
    Alone,
    AtOnce(usize),
}

/// Keys with their places as fingerprints, confirmed in the epoch of their place.
fn built(
    keys: &[(KeyHash, Vec<u8>)],
    expected: usize,
    pushed: Pushed,
    epoch_of: impl Fn(usize) -> Epoch,
) -> Shard {
    let mut builder = Builder::new(0, Epoch(1), expected);
    let mut place = 0;
    while place < keys.len() {
        let epoch = epoch_of(place);
        let is_alike = |at: &usize| {
            let length = |at: usize| keys[at].1.len();
            length(*at) == length(place) && epoch_of(*at) == epoch
        };
        let most = match pushed {
            Pushed::Alone => 1,
            Pushed::AtOnce(most) => most,
        };
        let alike: Vec<usize> = (place..keys.len()).take(most).take_while(is_alike).collect();
        if let Pushed::Alone = pushed {
            let (hash, key) = &keys[place];
            builder.push_confirmed(*hash, key, Confirmed { fingerprint: place as u128, epoch });
        } else {
            let bytes: Vec<u8> = alike.iter().flat_map(|at| keys[*at].1.clone()).collect();
            let fingerprints: Vec<_> = alike.iter().map(|at| (*at as u128).to_le_bytes()).collect();
            let length = NonZero::new(keys[place].1.len()).unwrap();
            builder.push_stretch(Stretch::new(&bytes, length, &fingerprints, epoch).unwrap());
        }
        place += alike.len();
    }
    builder.finish().unwrap()
}

#[test]
fn keys_in_stretches_of_several_epochs_are_as_keys_one_by_one() {
    for (numbers, texts) in [(12_000, 0), (12_000, 3)] {
        let keys = keys(numbers, texts);
        // All of the run's epoch, all of an earlier one, and one after the other.
        for epochs in [[1, 1], [0, 0], [0, 1]] {
            let epoch_of = |place: usize| Epoch(epochs[place / 1_500 % 2]);
            let alone = built(&keys, keys.len(), Pushed::Alone, epoch_of);
            let at_once = built(&keys, keys.len(), Pushed::AtOnce(1_000), epoch_of);
            assert_eq!((alone.ends.even(), at_once.len()), (at_once.ends.even(), keys.len()));
            for (place, (hash, key)) in keys.iter().enumerate() {
                assert_eq!(at_once.key(place), &key[..]);
                assert_eq!(at_once.candidates(*hash), alone.candidates(*hash));
                let known = match at_once.known(place) {
                    Known::Current(fingerprint) => (fingerprint, Epoch(1)),
                    Known::Outdated(confirmed) => (confirmed.fingerprint, confirmed.epoch),
                    Known::Other => panic!("it is confirmed and nothing else"),
                };
                assert_eq!(known, (place as u128, epoch_of(place)));
            }
        }
    }
}

#[test]
fn keys_that_come_in_another_order_make_no_shard() {
    let mut keys = keys(10_000, 0);
    keys.swap(9_000, 9_001);
    for pushed in [1_000, 10_000] {
        let mut builder = Builder::new(0, Epoch(1), keys.len());
        for keys in keys.chunks(pushed) {
            let bytes: Vec<u8> = keys.iter().flat_map(|(_, key)| key.clone()).collect();
            let fingerprints = vec![[0; FINGERPRINT]; keys.len()];
            let length = NonZero::new(NUMBER).unwrap();
            builder.push_stretch(Stretch::new(&bytes, length, &fingerprints, Epoch(1)).unwrap());
        }
        assert!(builder.finish().is_none());
    }
}

#[test]
fn every_key_is_found_and_sighted_and_no_other_however_many_were_expected() {
    for (numbers, texts) in [(0, 0), (1, 0), (3, 0), (4, 0), (2_000, 0), (2_000, 3), (0, 600)] {
        let keys = keys(numbers, texts);
        // One crowded bucket, a few crowded ones, as it should be, and more room than is needed.
        for expected in [0, keys.len() / 10, keys.len(), 3 * keys.len()] {
            let shard = built(&keys, expected, Pushed::Alone, |_| Epoch(1));
            let find = |hash, key: &[u8]| {
                let places = shard.candidates(hash);
                shard.find_in(places.start as usize..places.end as usize, key)
            };
            for (place, (hash, key)) in keys.iter().enumerate() {
                assert_eq!((find(*hash, key), shard.key(place)), (Some(place), &key[..]));
                assert!(matches!(shard.known(place), Known::Current(it) if it == place as u128));
                // A key that is not there, and shares its bucket with one that is.
                let mut other = key.clone();
                *other.last_mut().unwrap() ^= 0x80;
                assert_eq!(find(*hash, &other), None);
                assert_eq!(find(*hash, &key[1..]), None);
            }
            let met = keys.iter().enumerate().step_by(2);
            met.for_each(|(place, _)| assert_eq!(shard.sightings().note(place, 3), 0));
            let unmet: Vec<usize> = shard.sightings().unmet().collect();
            assert_eq!(unmet, (1..keys.len()).step_by(2).collect::<Vec<_>>());
            let met = keys.iter().enumerate().step_by(2);
            met.for_each(|(place, _)| assert_eq!(shard.sightings().note(place, 1), 3));
        }
    }
}
