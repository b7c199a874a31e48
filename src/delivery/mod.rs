//! Many batches in flight within the connection's limits.

pub mod limits;
