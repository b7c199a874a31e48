//! Real servers, started for the tests and ended with them; and what is asked of each kind of them.

pub mod asking;
pub mod azurite;
pub mod cutting;
pub mod gcs;
pub mod mysql;
pub mod postgres;
pub mod process;
pub mod seaweed;
pub mod web;

use self::cutting::Protocol;

/// A running server of a kind, as the scenarios for all kinds know it.
pub trait Server {
    fn words(&self) -> &'static Words;

    fn port(&self) -> u16;

    /// A new database, which goes when this does, in which these statements were made.
    fn database<'s>(&'s self, sql: &str) -> Box<dyn Database + 's>;

    /// How often it was asked to end a query.
    fn count_cancels(&self) -> usize;

    /// Is down while this goes on, and there again behind it.
    fn outage(&self, meanwhile: &dyn Fn());

    /// Whether servers of its version know what this SQL makes.
    fn knows(&self, _sql: &str) -> bool {
        true
    }
}

/// A database of a server.
pub trait Database {
    /// What the server answers; it must not refuse.
    #[track_caller]
    fn ask(&self, sql: &str) -> String;

    /// The source of a config that reads it, over this port, with more keys.
    fn source_at(&self, port: u16, more: &str) -> String;

    fn source(&self) -> String;

    /// The same over a Unix socket.
    fn socket_source(&self) -> String;

    /// How many sessions our sync has open.
    fn count_sessions(&self) -> usize;

    /// How many of them have a query that goes on.
    fn count_active(&self) -> usize;

    /// Ends the sessions of our sync, as an administrator does.
    fn end_sessions(&self);
}

/// What the kinds say differently.
pub struct Words {
    pub protocol: Protocol,
    /// A table with a column `g` of all whole numbers from one to another.
    pub series: fn(u32, u32) -> String,
    /// An expression that takes so many seconds, and is text.
    pub sleep: fn(&str) -> String,
    /// A query that computes for long before its first row.
    pub long: &'static str,
    /// What is said of a session that an administrator ended.
    pub ended: &'static [&'static str],
    /// The code of a query that took too long.
    pub too_long: &'static str,
    /// The code of a password that does not let in.
    pub not_let_in: &'static str,
    /// Gives `renewed_user` this password.
    pub renewed: fn(&str) -> String,
    /// Expressions that are text, and other text at each run, and what each calls.
    pub flapping: &'static [(&'static str, &'static str)],
    /// The types of times with a zone and without one.
    pub timestamps: [&'static str; 2],
}
