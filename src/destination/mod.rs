//! Say one batch to one API and judge the answer. No retry, no concurrency.

pub mod answer;
pub mod definition;
