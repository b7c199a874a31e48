//! Run a model's query, yield record batches, prove the end of the read.

pub mod definition;
