//! What is played against MariaDB beside what every kind of server plays.

mod described;
mod ends;
mod entering;
mod refusals;
mod values;

use super::Scenario;
use super::servers::mysql::MySql;

/// All, by name.
pub const SCENARIOS: [Scenario<MySql>; 10] = [
    ("every type of MySQL is what the server says it is", values::every_type),
    ("random values of MySQL are what the server casts them to", values::random),
    ("what has no place is named with its column and its row", values::misfits),
    ("what a table's columns are is looked at once more before its rows are", ends::table_changed),
    ("an answer that the server itself makes shorter proves nothing", ends::made_shorter),
    ("a password of MySQL travels by TLS and is told nobody", entering::tls),
    ("who is not let in is told what to do", entering::refused),
    ("what is no query of MySQL that only reads is refused by name", refusals::refused),
    ("what a model of MySQL would give is told before a row is read", described::model),
    ("a doctor tells how a MySQL server stands to us", described::doctor),
];
