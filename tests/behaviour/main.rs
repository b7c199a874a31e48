//! The behaviours of the product, shown through its command line against an oracle destination.
#![cfg(unix)]

mod support;

mod bad_input;
mod changes;
mod commands;
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
mod receipts;
mod rejections;
mod secrets;
mod serve;
mod source_values;
mod starting;
mod stops;
mod unreachable;
mod values;
