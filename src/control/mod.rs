//! Who may run when.

pub mod commands;
mod cron_line;
pub mod deciding;
pub mod disabling;
pub mod discarding;
pub mod grouping;
pub mod handle;
pub mod live;
pub mod pausing;
pub mod queue;
pub mod reload;
pub mod sampling;
pub mod schedule;
pub mod service;
pub mod stopping;
pub mod timetable;
pub mod turns;
pub mod until;
pub mod waiting;
pub mod work;
