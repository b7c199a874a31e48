//! Real servers, started for the tests and ended with them.

pub mod cutting;
pub mod postgres;
pub mod process;
