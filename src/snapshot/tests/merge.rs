//! A walk over keys that somebody chose so that they share a hash, and over ranges that end at a key.

use std::ops::RangeInclusive;

use super::*;

/// The first bytes of the secret of XXH3, by which keys of 17 to 32 bytes are mixed.
const SECRET: [u64; 2] = [0xbe4b_a423_396c_feb8, 0x1cad_21f7_2c81_017c];

/// Two keys of one hash. XXH3 multiplies two halves of a key, each less a part of the secret: where either is that part, the
/// product says nothing of the other, and only their sum is left.
fn of_one_hash(number: u64) -> [Vec<u8>; 2] {
    let other = SECRET[0].wrapping_add(number).wrapping_sub(SECRET[1]);
    let keys = [[SECRET[0], number], [other, SECRET[1]]];
    keys.map(|halves| [halves[0], halves[1], number, 7].map(u64::to_le_bytes).concat())
}

fn deliver_keys(snapshot: &mut Snapshot, batch: u64, keys: &[Vec<u8>]) {
    let record = |key| IntentRecord { key, fingerprint: 3, number: IntentNumber(batch) };
    let records = keys.iter().map(|key| record(&key[..]));
    snapshot.journal().append_intent(BatchNumber(batch), Operation::Upsert, records);
    let count = u32::try_from(keys.len()).unwrap();
    receipt(snapshot, batch, 0..count, Verdict::Delivered);
    snapshot.commit(|_| {}).unwrap();
}

/// What [`View::visit_stored`] shows, one by one.
fn visit_each(
    view: &View,
    range: RangeInclusive<KeyHash>,
    mut show: impl FnMut(KeyHash, &[u8], Entry),
) {
    let plain = |confirmed| Entry { confirmed: Some(confirmed), ..Entry::default() };
    let mut show = |hash, key: &[u8], entry| {
        assert_eq!(hash, key::hash(key));
        show(hash, key, entry);
    };
    let visit = |stored: Stored<'_>| match stored {
        Stored::Other(hash, key, entry) => show(hash, key, *entry),
        Stored::Confirmed(hash, key, confirmed) => show(hash, key, plain(confirmed)),
        Stored::Stretch(stretch) => {
            assert_eq!(stretch.keys().len(), stretch.fingerprints.len());
            let entries = stretch.keys().zip(stretch.confirmed());
            entries.for_each(|(key, confirmed)| show(key::hash(key), key, plain(confirmed)));
        }
    };
    view.visit_stored(range, visit).unwrap();
}

/// The keys that a walk shows, in its order.
fn walked(view: &View, range: RangeInclusive<KeyHash>) -> Vec<Vec<u8>> {
    let most = view.entries_at_most(&range);
    let mut shown = Vec::new();
    let show = |_: KeyHash, key: &[u8], _: Entry| {
        shown.push(key.to_vec());
        assert!(shown.len() <= most, "the walk has no end");
    };
    visit_each(view, range, show);
    shown
}

#[test]
fn keys_of_one_hash_are_shown_once_each_wherever_they_lie() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    let pairs: Vec<[Vec<u8>; 2]> = (0..5_000).map(of_one_hash).collect();
    assert!(pairs.iter().all(|[one, other]| one != other && key::hash(one) == key::hash(other)));
    let mut keys: Vec<Vec<u8>> = pairs.concat();
    // One half of the pairs lies in two segments, the other in one.
    let (apart, together) = pairs.split_at(2_500);
    let (first, second): (Vec<_>, Vec<_>) =
        apart.iter().cloned().map(|[one, other]| (one, other)).unzip();
    deliver_keys(&mut snapshot, 1, &first);
    deliver_keys(&mut snapshot, 2, &second);
    deliver_keys(&mut snapshot, 3, &together.concat());
    keys.sort_by_cached_key(|key| (key::hash(key), key.clone()));
    assert_eq!(walked(snapshot.view(), 0..=KeyHash::MAX), keys);
}

#[test]
fn what_is_confirmed_alone_is_shown_many_at_once_and_only_that() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    let keys: Vec<Vec<u8>> = (0..10_000_u64).map(|n| n.to_le_bytes().to_vec()).collect();
    deliver_keys(&mut snapshot, 1, &keys);
    let shown = |snapshot: &Snapshot, range| {
        let (mut at_once, mut alone, mut others) = (0, 0, 0);
        let visit = |stored: Stored<'_>| match stored {
            Stored::Stretch(stretch) => at_once += stretch.keys().len(),
            Stored::Confirmed(..) => alone += 1,
            Stored::Other(..) => others += 1,
        };
        snapshot.view().visit_stored(range, visit).unwrap();
        (at_once, alone, others)
    };
    assert_eq!(shown(&snapshot, 0..=KeyHash::MAX), (10_000, 0, 0));
    let below = keys.iter().filter(|key| key::hash(key) <= KeyHash::MAX / 2).count();
    assert_eq!(shown(&snapshot, 0..=KeyHash::MAX / 2), (below, 0, 0));
    // A segment that has one of them, and says more of it.
    let record = IntentRecord { key: &keys[5], fingerprint: 7, number: IntentNumber(2) };
    snapshot.journal().append_intent(BatchNumber(2), Operation::Upsert, [record]);
    snapshot.commit(|_| {}).unwrap();
    assert_eq!(shown(&snapshot, 0..=KeyHash::MAX), (9_999, 0, 1));
    // Keys of several lengths, all in one block.
    let keys: Vec<Vec<u8>> = (0..100_usize).map(|n| vec![7; 20 + n % 3 + n]).collect();
    let mut snapshot = begun(&MemoryDisk::new());
    deliver_keys(&mut snapshot, 1, &keys);
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(shown(&snapshot, 0..=KeyHash::MAX), (0, different.len(), 0));
}

#[test]
fn a_walk_ends_with_its_range_also_at_the_last_key_of_a_block() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    let mut keys: Vec<Vec<u8>> = (0..10_000).map(key).collect();
    deliver_keys(&mut snapshot, 1, &keys);
    keys.sort_by_cached_key(|key| key::hash(key));
    for end in 0..keys.len() {
        // All but the ends of blocks say nothing new.
        let is_near = [4_096, 8_192, keys.len()].iter().any(|block| end.abs_diff(*block) < 3);
        if is_near || end % 1_000 == 0 {
            let range = 0..=key::hash(&keys[end]);
            assert_eq!(walked(snapshot.view(), range), keys[..=end], "{end}");
        }
    }
}

#[test]
fn ranges_of_hashes_together_are_everything() {
    let disk = MemoryDisk::new();
    let mut snapshot = begun(&disk);
    deliver(&mut snapshot, 1, 0..9000, 1);
    snapshot.commit(|_| {}).unwrap();
    deliver(&mut snapshot, 2, 8500..9500, 2);
    intent(&mut snapshot, 3, Operation::Upsert, 0..10, 3);
    intent(&mut snapshot, 4, Operation::Delete, 10..20, 0);
    receipt(&mut snapshot, 4, 0..10, Verdict::Delivered);
    snapshot.commit(|_| {}).unwrap();
    // Keys of two lengths.
    deliver(&mut snapshot, 5, 9_450..10_100, 4);
    snapshot.commit(|_| {}).unwrap();
    let (mut found, mut stored) = (Contents::new(), Contents::new());
    for bucket in 0..16u128 {
        let first = bucket << 124;
        let range = first..=first | (u128::MAX >> 4);
        let (before, mut last) = (stored.len(), 0);
        let show = |hash, key: &[u8], entry| {
            assert!(range.contains(&hash) && hash > last);
            last = hash;
            assert_eq!(stored.insert(key.to_vec(), entry), None);
        };
        visit_each(snapshot.view(), range.clone(), show);
        assert!(stored.len() - before <= snapshot.view().entries_at_most(&range));
        let visit = |key: &[u8], entry| {
            assert_eq!(crate::domain::key::hash(key) >> 124, bucket);
            assert_eq!(found.insert(key.to_vec(), entry), None);
        };
        snapshot.view().visit_range(range, visit).unwrap();
    }
    assert_eq!(found, contents(snapshot.view()).unwrap());
    assert_eq!(stored, found);
}
