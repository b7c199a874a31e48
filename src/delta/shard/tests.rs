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
    builder.finish()
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
    let shard = builder.finish();
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

/// Keys with their places as fingerprints, one by one or as many at once as have one length.
fn built(keys: &[(KeyHash, Vec<u8>)], expected: usize, is_at_once: bool) -> Shard {
    let mut builder = Builder::new(0, Epoch(1), expected);
    let mut place = 0_u128;
    for alike in keys.chunk_by(|(_, one), (_, next)| is_at_once && one.len() == next.len()) {
        let fingerprints: Vec<u128> = (place..).take(alike.len()).collect();
        place += alike.len() as u128;
        if let ([(hash, key)], [fingerprint]) = (alike, &fingerprints[..]) {
            let confirmed = Confirmed { fingerprint: *fingerprint, epoch: Epoch(1) };
            builder.push_confirmed(*hash, key, confirmed);
        } else {
            let bytes: Vec<u8> = alike.iter().flat_map(|(_, key)| key.clone()).collect();
            let fingerprints: Vec<_> = fingerprints.into_iter().map(u128::to_le_bytes).collect();
            let length = NonZero::new(alike[0].1.len()).unwrap();
            let stretch = Stretch::new(&bytes, length, &fingerprints, Epoch(1)).unwrap();
            builder.push_stretch(stretch);
        }
    }
    builder.finish()
}

#[test]
fn every_key_is_found_and_sighted_and_no_other_however_many_were_expected() {
    let counts = [(0, 0), (1, 0), (3, 0), (4, 0), (2_000, 0), (2_000, 3), (5_000, 3), (0, 600)];
    for (numbers, texts) in counts {
        let keys = keys(numbers, texts);
        // One crowded bucket, a few crowded ones, as it should be, and more room than is needed.
        let expected = [0, keys.len() / 10, keys.len(), 3 * keys.len()];
        for (expected, is_at_once) in expected.into_iter().flat_map(|it| [(it, false), (it, true)])
        {
            let shard = built(&keys, expected, is_at_once);
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
