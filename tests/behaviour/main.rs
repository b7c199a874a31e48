//! The behaviours of the product, shown through its command line against an oracle destination.
#![cfg(unix)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/faults; each uses a part of it")]
mod support;

mod access;
mod asked_for;
mod audited;
mod backlog;
mod bad_input;
#[cfg(feature = "faults")]
mod case_itself;
mod changes;
mod check_keys;
mod command_line;
mod commands;
mod compaction;
mod compressed;
mod control_plane;
mod cursor;
#[cfg(feature = "faults")]
mod decisions;
mod definition;
mod deletes;
mod delivered_key;
mod delivery_log;
mod delta_lake;
mod demo;
mod described;
#[cfg(feature = "faults")]
mod disk_room;
mod doubt;
mod epochs;
mod every_path;

mod foretold;
mod forget;
#[cfg(feature = "faults")]
mod fuzzing;
mod golden;
mod guard;
mod history;
mod holds;
mod http_commands;
mod http_questions;
mod identity;
mod invalid;
mod joined;
mod laid_out;
mod last_good;
mod listing;
mod many_keys;
mod ndjson;
mod once;
mod operations;
mod options;
mod oracle_itself;
mod order;
mod otlp;
mod pause;
mod printed;
mod receipts;
mod rejections;
mod reload;
mod replace;
mod rudderstack;
mod rudderstack_server;
mod sample;
mod secrets;
mod serve;
mod shutdown;
mod skip;
mod source_values;
mod starting;
mod status_words;
mod statuses;
mod stops;
mod unreachable;
mod values;
mod version;
mod while_paused;

/// The command that plays this test again.
fn again() -> String {
    let thread = std::thread::current();
    let test = thread.name().expect("a test has a name");
    format!("cargo test --features faults --test behaviour -- --exact {test}")
}
