//! The idempotency key of a request, by which a destination that knows keys tells a repetition from what is asked for anew.
//!
//! Not responsible for which numbers are used again (`domain::entry`, `engine::intake`). Invariant I7: a repetition has the key
//! that it had, and no key stands for two bodies.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use super::batch::{Batch, Record};
use crate::domain::id::{IntentNumber, Lineage};
use crate::points;

/// The idempotency key of these places of a batch: XXH3-128 in hex over the keys of their records. The same records, said in the
/// same way, have the same one in every attempt, and after a kill too. A fingerprint alone does not tell what is said: values of
/// one fingerprint can be said in several ways, by what an option compares, the order of a map, a decimal's scale or a zone's new
/// rules. Records of intents below `contents_from` have theirs without what is said, as the program that sent them first had it.
pub fn key(
    lineage: Lineage,
    sync: &str,
    batch: &Batch,
    places: &[Range<u32>],
    contents_from: IntentNumber,
) -> String {
    let (mut whole, mut bytes) = (Vec::with_capacity(32 * batch.records.len()), Vec::new());
    for record in batch.at(places) {
        bytes.clear();
        put_record(lineage, sync, batch, record, &mut bytes);
        if batch.number(record) >= contents_from && is_content_told() {
            bytes.extend_from_slice(&xxh3_128(batch.path(record)).to_le_bytes());
            bytes.extend_from_slice(&xxh3_128(batch.json(record)).to_le_bytes());
        }
        put_hexadecimal(xxh3_128(&bytes), &mut whole);
    }
    format!("{:032x}", xxh3_128(&whole))
}

/// What two ways to say one fingerprint are told apart by, but where a defect of the fault kit has them be one.
fn is_content_told() -> bool {
    !points::is_planted("one_key_for_what_counts_as_the_same")
        && !points::is_planted("one_key_for_two_contents")
}

/// What names one record, its operation and its intent.
fn put_record(lineage: Lineage, sync: &str, batch: &Batch, record: &Record, out: &mut Vec<u8>) {
    out.extend_from_slice(&lineage.0.to_le_bytes());
    for bytes in [sync.as_bytes(), batch.key(record)] {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(batch.operation.word().as_bytes());
    if !points::is_planted("one_key_for_two_contents") {
        out.extend_from_slice(&record.fingerprint.to_le_bytes());
    }
    out.extend_from_slice(&batch.number(record).0.to_le_bytes());
}

/// As `{:032x}`, which is slow for each record.
fn put_hexadecimal(number: u128, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in number.to_be_bytes() {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::batch::{Batcher, Item};
    use crate::destination::definition::BatchLimits;
    use crate::domain;
    use crate::domain::entry::Operation;
    use crate::domain::id::BatchNumber;

    const SPENT: IntentNumber = IntentNumber(3);

    /// The key of records of which the first was sent before, under number 3; the batch is the sixth.
    fn key_of(contents: [&str; 2], contents_from: u64) -> String {
        let limits = BatchLimits { records: 9, bytes: 1000 };
        let batcher = Batcher::new(Operation::Upsert, limits, 0);
        let keys = [b"a", b"b"];
        let item = |place: usize| Item {
            key: keys[place],
            key_hash: domain::key::hash(keys[place]),
            fingerprint: 7,
            number: (place == 0).then_some(SPENT),
            fragment: contents[place].as_bytes(),
            target_len: 1,
            is_retry: false,
        };
        let mut batch = batcher.group(&[item(0), item(1)]);
        batch.number = BatchNumber(6);
        key(Lineage(1), "s", &batch, std::slice::from_ref(&(0..2)), IntentNumber(contents_from))
    }

    #[test]
    fn one_fingerprint_said_in_two_ways_has_two_keys_from_the_number_on_i7() {
        let before = ["/1.0", "/2.0"];
        for (contents_from, older, newer) in [
            (0, true, true),
            (3, true, true),
            (4, false, true),
            (6, false, true),
            (7, false, false),
        ] {
            let differs = |after| key_of(after, contents_from) != key_of(before, contents_from);
            assert!(!differs(before), "{contents_from}");
            // By path and by body.
            for other in ["/1.00", "+1.0"] {
                assert_eq!(differs([other, before[1]]), older, "{contents_from}");
            }
            for other in ["/2.00", "+2.0"] {
                assert_eq!(differs([before[0], other]), newer, "{contents_from}");
            }
        }
    }

    #[test]
    fn keys_of_intents_before_the_number_are_those_of_a_program_that_knew_of_none() {
        // As computed by another program from what version 0.1.0 hashed, and from what is hashed now.
        assert_eq!(key_of(["/1.0", "/2.0"], 7), "0afe1d76aaa4cd24b0a816a37f63313e");
        assert_eq!(key_of(["/1.0", "/2.0"], 0), "c5257f2f31fcc2e5bcf54b645c160aed");
    }

    #[test]
    fn hexadecimal_has_all_digits_of_a_number() {
        for number in [0, 1, 0xabc, u128::MAX, 0x0123_4567_89ab_cdef << 64] {
            let mut out = Vec::new();
            put_hexadecimal(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{number:032x}"));
        }
    }
}
