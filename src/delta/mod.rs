//! Fingerprints, and rows against the snapshot: what changed.

pub mod examiner;
pub mod fingerprint;
pub mod keys;
pub mod table;
