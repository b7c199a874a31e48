//! What is played against PostgreSQL beside what every kind of server plays.

mod cursor;
mod described;
mod ends;
mod entering;
mod refusals;
mod values;

use super::Scenario;
use super::servers::postgres::Postgres;

/// All, by name.
pub const SCENARIOS: [Scenario<Postgres>; 13] = [
    ("every type is what the server says it is", values::every_type),
    ("every number keeps every digit", values::numbers),
    ("what has no place is named", values::misfits),
    ("what is infinitely long ago is read as what has no value", cursor::infinite),
    ("a cursor by which the server cannot compare makes a run read everything", cursor::refused),
    ("a password travels by TLS and is told nobody", entering::tls),
    ("a password is found in its file", entering::passfile),
    ("an answer that ends behind CopyDone proves nothing", ends::behind_copy_done),
    ("an answer without its trailer proves nothing", ends::without_trailer),
    ("a table that is written anew while a run waits for it is read whole", ends::rewritten),
    ("what is no query that only reads is refused by name", refusals::refused),
    ("what a model of PostgreSQL would give is told before a row is read", described::model),
    ("a doctor tells how a PostgreSQL server stands to us", described::doctor),
];
