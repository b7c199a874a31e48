//! Fingerprints of rows, version 2: the sum, over the mapped fields, of a hash of (field, value) in two halves of 64 bits,
//! each half modulo 2^64.
//!
//! With the seeds s and t, the lower and the upper half of XXH3-128(field name):
//!
//! - a value that a word w of 64 bits and its kind k tell ([`Value::word`]) has the halves
//!   `variant13(w ^ (s + k * ODD))` and `fmix64(w ^ (t + k * ODD))`, where `ODD` is 2^64 divided by the golden ratio;
//!   both are bijections of the word (Stafford's variant 13 as in SplitMix64, and the finaliser of MurmurHash3);
//! - a text of up to 12 bytes has the halves `variant13(variant13(x ^ (s + k * ODD)) ^ y)` and `fmix64(fmix64(x ^ (t + k *
//!   ODD)) ^ y)`, where k is 7, x the length, and in its upper half the first four bytes, y the eight bytes after them,
//!   zeros behind the end: the two words of Arrow's string views;
//! - a longer text (k is 7) or a binary value (k is 8) has those of XXH3-128(its bytes, seed = s + k * `ODD`);
//! - any other has those of XXH3-128(its canonical encoding, seed = s + 255 * `ODD`).
//!
//! A sum does not depend on the order of the columns, and it is computed column by column. A snapshot keeps the version that
//! its epoch began with, as only fingerprints of one version can be compared; the next epoch begins with the latest.

mod version_1;

use arrow::array::{Array as _, StringViewArray};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::domain::column::{Column, Visitor};
use crate::domain::entry::Fingerprint;
use crate::domain::value::{Value, tag};

/// The version of the fingerprints; recorded in every snapshot.
pub const VERSION: u32 = 2;

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes of the longest text that lies in its view.
const SHORT: usize = 12;

/// The kind of the values that neither a word tells nor their bytes alone; any other kind is the tag in the encoding.
const OTHER: u8 = u8::MAX;

/// Hashes rows of one set of fields.
#[derive(Debug, Clone)]
pub enum Fingerprinter {
    /// For snapshots that began with it, until their next epoch.
    First(version_1::Fingerprinter),
    Second(Vec<Seeds>),
}

/// Those of one field.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    low: u64,
    high: u64,
}

impl Fingerprinter {
    /// Of a version that a snapshot records.
    ///
    /// # Panics
    /// If this program does not know the version; such a snapshot is refused before ([`Definition::change`]).
    ///
    /// [`Definition::change`]: crate::domain::sync::Definition::change
    pub fn new<'f>(version: u32, fields: impl IntoIterator<Item = &'f str>) -> Fingerprinter {
        let seeds = |field: &str| {
            let [low, high] = halves(xxh3_128(field.as_bytes()));
            Seeds { low, high }
        };
        match version {
            1 => Fingerprinter::First(version_1::Fingerprinter::new(fields)),
            VERSION => Fingerprinter::Second(fields.into_iter().map(seeds).collect()),
            other => panic!("there are no fingerprints of version {other}"),
        }
    }

    /// The fingerprints of `rows` rows; `columns` in the order of the fields, those after them are not looked at.
    pub fn rows(&self, columns: &[Column<'_>], rows: usize) -> Vec<Fingerprint> {
        let all = match self {
            Fingerprinter::First(first) => return first.rows(columns, rows),
            Fingerprinter::Second(all) => all,
        };
        debug_assert!(all.len() <= columns.len());
        let mut sums = vec![0; rows];
        for (column, seeds) in columns.iter().zip(all) {
            let mut sum = Sum { sums: &mut sums, seeds: *seeds };
            match column {
                Column::Utf8View(array, _) => sum.visit_views(array),
                other => other.visit(&mut sum),
            }
        }
        sums
    }
}

/// Adds the values of one column.
struct Sum<'s> {
    sums: &'s mut [Fingerprint],
    seeds: Seeds,
}

impl Visitor for Sum<'_> {
    #[inline(always)]
    fn visit(&mut self, row: usize, value: Value<'_>) {
        let hashed = match value {
            Value::Text(text) => match short_words(text.as_bytes()) {
                Some(words) => self.seeds.short(words),
                None => self.seeds.bytes(tag::TEXT, text.as_bytes()),
            },
            Value::Binary(bytes) => self.seeds.bytes(tag::BINARY, bytes),
            value => match value.word() {
                Some((kind, word)) => self.seeds.word(kind, word),
                None => self.seeds.other(&value),
            },
        };
        self.add(row, hashed);
    }
}

impl Sum<'_> {
    /// As `visit` of each row: a short text lies in its view as it is wanted, and none of it is looked at byte by byte.
    fn visit_views(&mut self, array: &StringViewArray) {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        for (row, view) in array.views().iter().enumerate() {
            let hashed = if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                self.seeds.word(u16::from(tag::NULL), 0)
            } else if *view & u128::from(u32::MAX) <= SHORT as u128 {
                self.seeds.short(halves(*view))
            } else {
                self.seeds.bytes(tag::TEXT, array.value(row).as_bytes())
            };
            self.add(row, hashed);
        }
    }

    #[inline(always)]
    fn add(&mut self, row: usize, hashed: [u64; 2]) {
        let [low, high] = halves(self.sums[row]);
        let (low, high) = (low.wrapping_add(hashed[0]), high.wrapping_add(hashed[1]));
        self.sums[row] = u128::from(high) << 64 | u128::from(low);
    }
}

/// The two words of a short text.
fn short_words(text: &[u8]) -> Option<[u64; 2]> {
    let mut view = [0; 16];
    view.get_mut(4..4 + text.len()).filter(|_| text.len() <= SHORT)?.copy_from_slice(text);
    view[0] = u8::try_from(text.len()).expect("it is short");
    Some(halves(u128::from_le_bytes(view)))
}

impl Seeds {
    #[inline(always)]
    fn word(self, kind: u16, word: u64) -> [u64; 2] {
        let kind = u64::from(kind).wrapping_mul(ODD);
        let low = word ^ self.low.wrapping_add(kind);
        let high = word ^ self.high.wrapping_add(kind);
        [variant13(low), fmix64(high)]
    }

    #[inline(always)]
    fn short(self, [first, last]: [u64; 2]) -> [u64; 2] {
        let [low, high] = self.word(u16::from(tag::TEXT), first);
        [variant13(low ^ last), fmix64(high ^ last)]
    }

    #[inline]
    fn bytes(self, kind: u8, bytes: &[u8]) -> [u64; 2] {
        let seed = self.low.wrapping_add(u64::from(kind).wrapping_mul(ODD));
        halves(xxh3_128_with_seed(bytes, seed))
    }

    #[cold]
    fn other(self, value: &Value<'_>) -> [u64; 2] {
        let mut encoded = Vec::with_capacity(40);
        value.encode(&mut encoded);
        self.bytes(OTHER, &encoded)
    }
}

#[inline(always)]
fn variant13(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[inline(always)]
fn fmix64(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// The lower and the upper half.
#[inline]
fn halves(hash: u128) -> [u64; 2] {
    let low = u64::try_from(hash & u128::from(u64::MAX)).expect("half of the bits");
    let high = u64::try_from(hash >> 64).expect("half of the bits");
    [low, high]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};

    use super::*;

    fn fingerprints(columns: &[(&str, ArrayRef)]) -> Vec<Fingerprint> {
        let typed: Vec<Column<'_>> =
            columns.iter().map(|(_, array)| Column::new(array).expect("scalar")).collect();
        let names = columns.iter().map(|(name, _)| *name);
        Fingerprinter::new(VERSION, names).rows(&typed, columns[0].1.len())
    }

    #[test]
    fn column_order_and_integer_width_do_not_matter_but_places_do() {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", ""]));
        let usual = fingerprints(&[("a", a.clone()), ("b", b.clone())]);
        assert_eq!(usual, fingerprints(&[("b", b.clone()), ("a", wide)]));
        assert_ne!(usual, fingerprints(&[("b", a), ("a", b)]));
    }

    #[test]
    fn a_text_is_the_same_in_every_array_that_carries_it() {
        let texts = ["", "a", "abcd", "abcdefghijkl", "abcdefghijklm", "\u{0}", "Zo\u{eb}"];
        let texts: Vec<_> = texts.into_iter().map(Some).chain([None]).collect();
        let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from(texts.clone()));
        let found = fingerprints(&[("t", views)]);
        assert_eq!(found, fingerprints(&[("t", plain)]));
        assert_eq!(found.iter().collect::<std::collections::HashSet<_>>().len(), texts.len());
    }

    #[test]
    fn version_2_is_frozen() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(42)]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_eq!(
            format!("{:032x}", fingerprints(&[("id", a), ("name", b)])[0]),
            "da135ed9647b1b179ac4bb661ad5c7d8"
        );
    }
}
