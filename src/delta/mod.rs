//! Fingerprints, and rows against the snapshot: what changed.

pub mod buckets;
pub mod ends;
pub mod examiner;
pub mod filter;
pub mod fingerprint;
pub mod key_map;
pub mod keys;
pub mod named;
pub mod parts;
pub mod primary_keys;
pub mod records;
pub mod repetitions;
pub mod shard;
pub mod sightings;
pub mod table;
