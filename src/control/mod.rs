//! Who may run when.

pub mod commands;
mod cron_line;
pub mod disabling;
pub mod grouping;
pub mod handle;
pub mod pausing;
pub mod queue;
pub mod reload;
pub mod schedule;
pub mod service;
pub mod stopping;
pub mod timetable;
pub mod until;
pub mod waiting;
pub mod work;
