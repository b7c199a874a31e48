//! What is played against MariaDB and MySQL beside what every kind of server plays.

mod cursor;
mod described;
mod ends;
mod entering;
mod joins;
mod random;
pub mod refusals;
mod vague;
pub mod values;

use super::Scenario;
use super::servers::mysql::MySql;

/// All, by name.
pub const SCENARIOS: [Scenario<MySql>; 23] = [
    ("expressions of MySQL have types of their own", values::expressions),
    ("random values of MySQL are what the server casts them to", values::random),
    ("random values of the other types of MySQL are what the server casts them to", random::others),
    ("what has no place is named with its column and its row", values::misfits),
    ("what a table's columns are is looked at once more before its rows are", ends::table_changed),
    ("a table that is renamed into place before it is read is read whole", ends::renamed),
    ("an answer of another transaction or in other letters is none", ends::elsewhere),
    ("a key of an enum that is in doubt is asked for as it is written", cursor::of_an_enum),
    ("zero dates of a cursor are read as what has no value", cursor::zero_dates),
    ("an answer that the server itself makes shorter proves nothing", ends::made_shorter),
    ("a password of MySQL travels by TLS and is told nobody", entering::tls),
    ("who is not let in is told what to do", entering::refused),
    ("a model that joins asks MySQL once", joins::once),
    ("a certificate of MySQL's client is shown to its server alone", entering::certificate),
    ("settings of MySQL hold for a read", entering::settings),
    ("a key that is none and a file that is none are told and not waited for", entering::keys),
    ("a server that does not say which one it is is read all the same", vague::unnamed),
    ("a question to end a query that is not taken is told of", vague::unheard),
    ("a table outside of transactions is warned of by runs", vague::outside),
    ("what is no query of MySQL that only reads is refused by name", refusals::refused),
    ("what a model of MySQL would give is told before a row is read", described::model),
    ("a doctor tells how a MySQL server stands to us", described::doctor),
    ("a doctor keeps what a MySQL server said before it fell silent", described::silent),
];

/// What a whole play asks of MySQL 5.6 too: types, one state, sessions that end, cut answers, what is described. The others need
/// what it has not: TLS of today, a limit for the time of a statement, a RETURNING, a LIMIT ROWS EXAMINED. By name all can be
/// played.
pub const OF_EVERY_VERSION: [&str; 25] = [
    "a mirror follows the database and sends nothing twice",
    "a cursor restricts what the server sends, and keys in doubt are asked for",
    "a sample of a database sends the rows that were chosen",
    "a Unix socket is as good as an address",
    "a server that kills the query leaves the destination as it is",
    "a model that joins a database with files follows both",
    "a join that wants nothing of one side is proven",
    "a joined table whose answer fails deletes nothing",
    "a stop of a joined model frees its sessions",
    "expressions of MySQL have types of their own",
    "random values of MySQL are what the server casts them to",
    "random values of the other types of MySQL are what the server casts them to",
    "what has no place is named with its column and its row",
    "what a table's columns are is looked at once more before its rows are",
    "a table that is renamed into place before it is read is read whole",
    "an answer of another transaction or in other letters is none",
    "a key of an enum that is in doubt is asked for as it is written",
    "zero dates of a cursor are read as what has no value",
    "who is not let in is told what to do",
    "a model that joins asks MySQL once",
    "settings of MySQL hold for a read",
    "a key that is none and a file that is none are told and not waited for",
    "a table outside of transactions is warned of by runs",
    "what a model of MySQL would give is told before a row is read",
    "a doctor keeps what a MySQL server said before it fell silent",
];
