//! Fingerprints of version 1: the sum, modulo 2^128, over the mapped fields, of XXH3-128(canonical encoding of the value, seed
//! = XXH3-64(field name)). Slower than what came after; frozen.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::domain::column::{Column, Visitor};
use crate::domain::compare::Compare;
use crate::domain::entry::Fingerprint;
use crate::domain::value::Value;

/// One seed for each field that counts, by its column.
#[derive(Debug, Clone)]
pub struct Fingerprinter(Vec<(usize, u64, Compare)>);

impl Fingerprinter {
    pub(super) fn new<'f>(fields: impl IntoIterator<Item = (&'f str, Compare)>) -> Fingerprinter {
        let fields = fields.into_iter().enumerate();
        let counting = fields.filter(|(_, (_, compare))| *compare != Compare::Ignore);
        let seeded =
            counting.map(|(column, (field, compare))| (column, xxh3_64(field.as_bytes()), compare));
        Fingerprinter(seeded.collect())
    }

    pub(super) fn rows(&self, columns: &[Column<'_>], rows: usize) -> Vec<Fingerprint> {
        let mut sums = vec![0; rows];
        for (column, seed, compare) in &self.0 {
            let (seed, compare) = (*seed, *compare);
            let mut sum = Sum { sums: &mut sums, seed, compare, encoded: Vec::new() };
            columns[*column].visit(&mut sum);
        }
        sums
    }
}

/// Adds the values of one column.
struct Sum<'s> {
    sums: &'s mut [Fingerprint],
    seed: u64,
    compare: Compare,
    encoded: Vec<u8>,
}

impl Visitor for Sum<'_> {
    fn visit(&mut self, row: usize, value: Value<'_>) {
        self.encoded.clear();
        self.compare.coarse(value).encode(&mut self.encoded);
        let hash = xxh3_128_with_seed(&self.encoded, self.seed);
        self.sums[row] = self.sums[row].wrapping_add(hash);
    }
}
