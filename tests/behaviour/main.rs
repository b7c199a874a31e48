//! The behaviours of the product, shown through its command line against an oracle destination.
#![cfg(unix)]

mod support;

mod oracle_itself;
