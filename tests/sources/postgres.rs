//! What is played against PostgreSQL beside what every kind of server plays.

mod catalog;
mod cursor;
mod described;
mod ends;
mod entering;
mod held;
mod joins;
mod random;
pub mod refusals;
pub mod values;
mod volatile;

use super::Scenario;
use super::servers::postgres::Postgres;

/// All, by name.
pub const SCENARIOS: [Scenario<Postgres>; 30] = [
    ("every number keeps every digit", values::numbers),
    ("random values of every type of PostgreSQL are what the server prints", random::every_type),
    ("what has no place is named", values::misfits),
    ("what is infinitely long ago is read as what has no value", cursor::infinite),
    ("a cursor by which the server cannot compare makes a run read everything", cursor::refused),
    ("a password travels by TLS and is told nobody", entering::tls),
    ("a password is found in its file", entering::passfile),
    ("a certificate of PostgreSQL's client is shown to its server alone", entering::certificate),
    ("settings of PostgreSQL hold for a read", entering::settings),
    ("a table that is written anew while a run waits for it is read whole", ends::rewritten),
    ("another database under the same name deletes nothing", ends::another),
    ("all answers of one read are of one state", joins::one_state),
    ("the pass over keys sees the state that is sent", joins::two_reads),
    ("a state that is not shared is named, and only where it has to be", joins::not_shared),
    ("a session that waits beside another is ended with it", joins::waiting),
    ("a row that is too long is refused before it is taken in", ends::too_long),
    ("what is no query that only reads is refused by name", refusals::refused),
    ("rows that a policy hides are not taken for deleted", refusals::hidden),
    ("what a model of PostgreSQL would give is told before a row is read", described::model),
    ("a plan names what a query calls, and nothing that it does not call", volatile::called),
    ("a server that does not tell what a query calls is read all the same", volatile::untold),
    ("what a server says that is no text ends nothing", volatile::no_text),
    ("a doctor tells how a PostgreSQL server stands to us", described::doctor),
    ("a doctor keeps what a PostgreSQL server said before it fell silent", described::silent),
    ("a table that only a function reads holds the deletes by its name", held::functions),
    ("a run comes behind whoever waits to lock what it reads, or says so", held::between),
    ("a doctor tells what a role may not read, and waits for nobody", held::doctor),
    ("a model that would take too many sessions is refused by name", held::sessions),
    ("every type that the server has is read as it prints it or refused by name", catalog::walk),
    ("a value that has no place is named with the key of its row", catalog::keys),
];

/// What a whole play asks of other versions too: types, one state, sessions that hold and end, cut answers and what is described.
/// By name all of them can be played.
pub const OF_EVERY_VERSION: [&str; 20] = [
    "a mirror follows the database and sends nothing twice",
    "a cursor restricts what the server sends, and keys in doubt are asked for",
    "a server that kills the query leaves the destination as it is",
    "a model that joins a database with files follows both",
    "a joined table whose answer fails deletes nothing",
    "a stop of a joined model frees its sessions",
    "every number keeps every digit",
    "random values of every type of PostgreSQL are what the server prints",
    "what has no place is named",
    "a password travels by TLS and is told nobody",
    "a table that is written anew while a run waits for it is read whole",
    "another database under the same name deletes nothing",
    "all answers of one read are of one state",
    "the pass over keys sees the state that is sent",
    "a session that waits beside another is ended with it",
    "rows that a policy hides are not taken for deleted",
    "what a model of PostgreSQL would give is told before a row is read",
    "a plan names what a query calls, and nothing that it does not call",
    "a model whose rows are others at each run says by which function",
    "a doctor tells how a PostgreSQL server stands to us",
];
