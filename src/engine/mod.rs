//! The run: source → delta → delivery → receipt → snapshot. Only this room sees the whole line.

pub mod order;
pub mod report;
