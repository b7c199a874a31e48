//! Fingerprints of rows, version 1: the sum, modulo 2^128, over the mapped fields, of
//! XXH3-128(canonical encoding of the value, seed = XXH3-64(field name)).
//!
//! A sum does not depend on the order of the columns, and it is computed column by column.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::domain::column::Column;
use crate::domain::entry::Fingerprint;

/// Hashes rows of one set of fields.
#[derive(Debug, Clone)]
pub struct Fingerprinter {
    seeds: Vec<u64>,
}

impl Fingerprinter {
    pub fn new<'f>(fields: impl IntoIterator<Item = &'f str>) -> Fingerprinter {
        let seeds = fields.into_iter().map(|field| xxh3_64(field.as_bytes())).collect();
        Fingerprinter { seeds }
    }

    /// The fingerprints of `rows` rows; `columns` in the order of the fields, those after them are not looked at.
    pub fn rows(&self, columns: &[Column<'_>], rows: usize) -> Vec<Fingerprint> {
        debug_assert!(self.seeds.len() <= columns.len());
        let mut sums = vec![0_u128; rows];
        let mut waiting = Waiting::default();
        for (column, seed) in columns.iter().zip(&self.seeds) {
            column.for_each(|row, value| match value.nine() {
                Some(encoded) => add(&mut sums[row], &encoded, *seed),
                None => {
                    value.encode(&mut waiting.encoded);
                    waiting.ends.push((row, waiting.encoded.len()));
                    if waiting.ends.len() == TOGETHER {
                        waiting.add_to(&mut sums, *seed);
                    }
                }
            });
            waiting.add_to(&mut sums, *seed);
        }
        sums
    }
}

/// Values that are encoded before any of them is hashed.
const TOGETHER: usize = 64;

/// Encoded values of one column. What was just written in small pieces cannot be read in large ones without a stall
/// of the processor, so that hashing follows at some distance.
#[derive(Default)]
struct Waiting {
    encoded: Vec<u8>,
    /// Row, and where its value ends.
    ends: Vec<(usize, usize)>,
}

impl Waiting {
    fn add_to(&mut self, sums: &mut [Fingerprint], seed: u64) {
        let mut start = 0;
        for (row, end) in self.ends.drain(..) {
            add(&mut sums[row], &self.encoded[start..end], seed);
            start = end;
        }
        self.encoded.clear();
    }
}

#[inline]
fn add(sum: &mut Fingerprint, encoded: &[u8], seed: u64) {
    *sum = sum.wrapping_add(xxh3_128_with_seed(encoded, seed));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};

    use super::*;

    fn fingerprints(columns: &[(&str, ArrayRef)]) -> Vec<Fingerprint> {
        let typed: Vec<Column<'_>> =
            columns.iter().map(|(_, array)| Column::new(array).expect("scalar")).collect();
        Fingerprinter::new(columns.iter().map(|(name, _)| *name)).rows(&typed, columns[0].1.len())
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
    fn version_1_is_frozen() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(42)]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_eq!(
            format!("{:032x}", fingerprints(&[("id", a), ("name", b)])[0]),
            "0cf76216339faf56991a34e7a86fecd2"
        );
    }
}
