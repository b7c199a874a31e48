//! The behaviours of the product, shown through its command line against an oracle destination.
#![cfg(unix)]

mod support;

mod bad_input;
mod changes;
mod commands;
mod definition;
mod doubt;
mod flights;
mod guard;
mod invalid;
mod oracle_itself;
mod receipts;
mod rejections;
mod secrets;
mod stops;
