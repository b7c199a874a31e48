use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use super::batch::{Batch, Record};
use crate::domain::id::Lineage;
use crate::points;

/// The idempotency key of these places of a batch: XXH3-128 in hex over the keys of their records. The same records have
/// the same one in every attempt, and after a kill too. `is_tolerant`: rows of one fingerprint may be said in several ways,
/// so that what is sent has to tell contents apart.
pub fn key(
    lineage: Lineage,
    sync: &str,
    batch: &Batch,
    places: &[Range<u32>],
    is_tolerant: bool,
) -> String {
    let (mut whole, mut bytes) = (Vec::with_capacity(32 * batch.records.len()), Vec::new());
    for record in batch.at(places) {
        bytes.clear();
        put_record(lineage, sync, batch, record, &mut bytes);
        if is_tolerant && !points::is_planted("one_key_for_what_counts_as_the_same") {
            bytes.extend_from_slice(&xxh3_128(batch.path(record)).to_le_bytes());
            bytes.extend_from_slice(&xxh3_128(batch.json(record)).to_le_bytes());
        }
        put_hexadecimal(xxh3_128(&bytes), &mut whole);
    }
    format!("{:032x}", xxh3_128(&whole))
}

/// All that makes a repetition of one record the same.
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

    #[test]
    fn hexadecimal_has_all_digits_of_a_number() {
        for number in [0, 1, 0xabc, u128::MAX, 0x0123_4567_89ab_cdef << 64] {
            let mut out = Vec::new();
            put_hexadecimal(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{number:032x}"));
        }
    }
}
