use std::ops::Range;

use super::ends::Ends;
use crate::domain::column::{Column, Visitor};
use crate::domain::key::{self, KeyHash};
use crate::domain::value::Value;

/// The keys of one batch of rows: canonical bytes in one arena, and their hashes.
#[derive(Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Ends,
    hashes: Vec<KeyHash>,
    null_rows: Vec<bool>,
}

impl Keys {
    /// Encodes the key of each of `rows` rows from its fields, in order.
    pub fn new(fields: &[&Column<'_>], rows: usize) -> Keys {
        let mut keys = Keys {
            bytes: Vec::with_capacity(9 * rows),
            ends: Ends::default(),
            hashes: Vec::with_capacity(rows),
            null_rows: vec![false; rows],
        };
        if let [field] = fields {
            field.visit(&mut keys);
        } else {
            for row in 0..rows {
                for field in fields {
                    let value = field.value(row);
                    keys.null_rows[row] |= value == Value::Null;
                    value.encode(&mut keys.bytes);
                }
                keys.ends.push(keys.bytes.len());
            }
        }
        if keys.hashes.len() < rows {
            // Not where they are encoded: what was just written byte by byte cannot be read word by word without a stall.
            keys.hashes = (0..rows).map(|row| key::hash(keys.key(row))).collect();
        }
        keys
    }

    /// Where the row's key lies in the arena.
    pub fn range(&self, row: usize) -> Range<usize> {
        self.ends.range(row)
    }

    pub fn key(&self, row: usize) -> &[u8] {
        &self.bytes[self.range(row)]
    }

    pub fn hash(&self, row: usize) -> KeyHash {
        self.hashes[row]
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether any field of the row's key is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.null_rows[row]
    }
}

impl Visitor for Keys {
    /// Takes the key of a row that is one value.
    #[inline(always)]
    fn visit(&mut self, row: usize, value: Value<'_>) {
        match value.nine() {
            Some(encoded) => {
                self.bytes.extend_from_slice(&encoded);
                self.hashes.push(key::hash(&encoded));
            }
            None => {
                self.null_rows[row] = value == Value::Null;
                value.encode(&mut self.bytes);
            }
        }
        self.ends.push(self.bytes.len());
    }
}
