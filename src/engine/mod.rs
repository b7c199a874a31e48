//! The run: source → delta → delivery → receipt → snapshot. Only this room sees the whole line.

pub mod backlog;
pub mod columns;
pub mod course;
pub mod decisions;
pub mod doctor;
pub mod forgetting;
pub mod identity;
pub mod intake;
pub mod key_pass;
pub mod late;
pub mod line;
pub mod loading;
pub mod opening;
pub mod order;
pub mod plan;
pub mod prepare;
pub mod progress;
pub mod proving;
pub mod reading;
pub mod recovery;
pub mod removals;
pub mod report;
pub mod run;
pub mod sampling;
pub mod skipping;
