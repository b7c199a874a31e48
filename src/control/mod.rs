//! Who may run when.

pub mod schedule;
