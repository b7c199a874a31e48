//! Servers of tests/sources, started here as there.
#![expect(dead_code, reason = "shared with tests/sources; each uses a part of it")]

#[path = "../../tests/sources/servers/asking.rs"]
pub mod asking;
#[path = "../../tests/sources/servers/process.rs"]
pub mod process;
#[path = "../../tests/sources/servers/seaweed.rs"]
pub mod seaweed;
