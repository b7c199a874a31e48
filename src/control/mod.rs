//! Who may run when.

mod cron_line;
pub mod schedule;
