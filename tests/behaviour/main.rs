//! The behaviours of the product, shown through its command line against an oracle destination.
#![cfg(unix)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with tests/faults; each uses a part of it")]
mod support;

mod bad_input;
mod changes;
mod check_keys;
mod commands;
mod control_plane;
mod definition;
mod deletes;
mod delivered_key;
mod demo;
mod doubt;
mod epochs;
mod flights;
mod foretold;
#[cfg(feature = "faults")]
mod fuzzing;
mod golden;
mod guard;
mod holds;
mod invalid;
mod oracle_itself;
mod pause;
mod receipts;
mod rejections;
mod reload;
mod secrets;
mod serve;
mod source_values;
mod starting;
mod statuses;
mod stops;
mod unreachable;
mod values;
