//! Fingerprints of version 1: the sum, modulo 2^128, over the mapped fields, of XXH3-128(canonical encoding of the value, seed
//! = XXH3-64(field name)). Slower than what came after; frozen.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::domain::column::{Column, Visitor};
use crate::domain::entry::Fingerprint;
use crate::domain::value::Value;

/// One seed for each field.
#[derive(Debug, Clone)]
pub struct Fingerprinter(Vec<u64>);

impl Fingerprinter {
    pub(super) fn new<'f>(fields: impl IntoIterator<Item = &'f str>) -> Fingerprinter {
        Fingerprinter(fields.into_iter().map(|field| xxh3_64(field.as_bytes())).collect())
    }

    pub(super) fn rows(&self, columns: &[Column<'_>], rows: usize) -> Vec<Fingerprint> {
        let mut sums = vec![0; rows];
        for (column, seed) in columns.iter().zip(&self.0) {
            column.visit(&mut Sum { sums: &mut sums, seed: *seed, encoded: Vec::new() });
        }
        sums
    }
}

/// Adds the values of one column.
struct Sum<'s> {
    sums: &'s mut [Fingerprint],
    seed: u64,
    encoded: Vec<u8>,
}

impl Visitor for Sum<'_> {
    fn visit(&mut self, row: usize, value: Value<'_>) {
        self.encoded.clear();
        value.encode(&mut self.encoded);
        let hash = xxh3_128_with_seed(&self.encoded, self.seed);
        self.sums[row] = self.sums[row].wrapping_add(hash);
    }
}
