//! What goes wrong with a server, and what its errors mean in words of our own.
//!
//! Invariant: no value of a row is in a message. The server's own words are shown only where no row was read yet.

use std::io;
use std::time::Duration;

use super::packets::LONGEST;
use crate::source::error::Error;
use crate::source::tls::{BY_SOURCE, distrusted};

/// Why an exchange with a server came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// The server's own word.
    Said(Said),
    /// The connection broke.
    Lost(io::Error),
    /// The server closed the connection.
    Ended,
    /// The server said nothing for so long.
    Silent(Duration),
    /// What it says is not whole after so long.
    Slow(Duration),
    /// A packet is longer than any that is taken.
    TooLong,
    /// This is not the protocol.
    Malformed,
    /// The server has no TLS.
    NoTls,
    /// It asks for the password in a way that is not known here.
    Plugin(String),
    /// It asks for the password itself, where anyone could read it.
    InTheOpen,
    /// It asks for the password for a key of its own, which anyone between could have given.
    AnyKey,
}

/// An error of the server.
#[derive(Debug)]
pub struct Said {
    pub code: u16,
    pub message: String,
}

impl Said {
    /// Whether it is of what others hold at the moment: locks, or all statements that there may be.
    pub fn is_busy(&self) -> bool {
        matches!(self.code, 1205 | 1461)
    }
}

/// Of connecting to the database at `place`.
pub fn connecting(failure: &Failure, place: &str) -> Error {
    let refused = |why: &str| Error::Missing(format!("{place} refused the connection: {why}"));
    match failure {
        Failure::Said(Said { code, message }) => {
            let remedy = match code {
                1044 => "correct `database`, or grant this user to read it",
                1045 | 1130 | 1698 => {
                    "correct `user` and `password`, or `tls` where the server demands it of this user, or let the user come from this host"
                }
                1049 => "correct `database`",
                1040 | 1203 => "wait until others have closed theirs, or raise `max_connections`",
                1129 => "have its administrator say `FLUSH HOSTS`",
                3159 => "say `tls: {verify: full}`",
                _ => "check the server",
            };
            refused(&format!("{message} ({code}); {remedy}"))
        }
        Failure::NoTls => refused(
            "it has no TLS; give it a certificate, or say `tls: off` where nobody stands between",
        ),
        Failure::Plugin(name) => refused(&format!(
            "it asks for the password by `{name}`, which is not built; have the user identified by `caching_sha2_password` or \
             `mysql_native_password`"
        )),
        Failure::InTheOpen => refused(
            "it asks for the password itself, which anyone between could read; say `tls: {verify: full}`",
        ),
        Failure::AnyKey => refused(
            "it asks for the password, sealed for a key that anyone between could have given; say `tls: {verify: full}`, or name \
             the server's own key as `server_public_key`",
        ),
        Failure::Malformed => {
            Error::Missing(format!("{place} does not speak as MySQL does; check `host` and `port`"))
        }
        other => {
            let why = told(other);
            let said = distrusted(&why, BY_SOURCE).unwrap_or_else(|| {
                format!("{why}; check the source's address and TLS, and that the server is up")
            });
            Error::Missing(format!("{place} cannot be reached: {said}"))
        }
    }
}

/// Of beginning and checking a session, and of planning a query, at `place`.
pub fn planning(failure: &Failure, place: &str) -> Error {
    let Failure::Said(Said { code, message }) = failure else { return reading(failure, place) };
    let refused = |what: &str| {
        Error::Definition(format!("{place} is refused by the server: {message} ({code}){what}"))
    };
    match code {
        1142 | 1143 | 1227 | 1370 => {
            refused("; a model may only read: grant the source's user `SELECT` on what it reads")
        }
        1046 => refused("; say `database` at the source, or name it in the SQL: `shop.customers`"),
        1064 => refused("; correct its SQL, which is one SELECT"),
        1054 | 1146 | 1305 => refused("; correct its SQL, or look at the right database"),
        1166 => refused("; give the column a name with `AS`"),
        1295 => Error::Definition(format!(
            "{place} is no SELECT; a model may only read, so give it one"
        )),
        1193 => refused(
            "; correct `settings` at the source, and take `statement_timeout` away where the server has no such limit",
        ),
        1229..=1233 | 1238 => refused("; correct `settings` at the source"),
        1792 => writes(place),
        1040 | 1053 | 1158..=1161 | 1205 | 1213 | 1317 | 1412 | 1927 | 1969 | 3024 | 4031 => {
            reading(failure, place)
        }
        _ => refused("; correct its SQL, which is one SELECT"),
    }
}

/// Of reading the answer to a query, at `place`.
pub fn reading(failure: &Failure, place: &str) -> Error {
    let code = match failure {
        Failure::Said(said) => said.code,
        Failure::Silent(time) => {
            return Error::Missing(format!(
                "{place}: the database said nothing for {time:?}; make the query quicker, or raise `idle_timeout` at the source"
            ));
        }
        Failure::Slow(time) => {
            return Error::Missing(format!(
                "{place}: the database's answer was not whole within {time:?}, which is twice the source's `idle_timeout`; see \
                 why it is slow, or raise that"
            ));
        }
        Failure::Malformed => {
            return Error::Damaged(format!(
                "the answer to {place} is damaged; check what stands between here and the server"
            ));
        }
        Failure::TooLong => {
            return Error::Misfit(format!(
                "{place} has a row of more than {} MiB; leave its longest column out, or cut it with `LEFT`",
                LONGEST >> 20
            ));
        }
        lost => {
            return Error::Missing(format!(
                "{place}: the connection to the database was lost ({}); the next run reads again",
                told(lost)
            ));
        }
    };
    let failed = |why: &str| Error::Query(format!("the query of {place} failed: {why} ({code})"));
    match code {
        1792 => writes(place),
        1690 | 1264 => failed("a number is out of its type's range; cast to a wider one"),
        1365 => failed("division by zero; guard it with `NULLIF(divisor, 0)`"),
        1242 => failed("a subquery gave more than one row"),
        1292 | 1366 | 1411 | 1525 => {
            failed("a value cannot be read as the type that it is turned into; guard it")
        }
        1142 | 1143 | 1227 | 1370 => {
            failed("a table, a column or a function is not for this user; grant it")
        }
        1317 | 1927 | 1028 => failed("the server ended it, by a person or a rule of its own"),
        1969 | 3024 | 1907 => failed(
            "it took longer than the server lets it; raise `statement_timeout` at the source, or make the query quicker",
        ),
        1053 | 4031 => {
            failed("the server went down or closed the session; the next run reads again")
        }
        1205 | 1213 | 3572 => failed("a lock was not to be had in time; the next run tries again"),
        1412 | 1615 => failed("a table was changed while it was read; the next run reads again"),
        1158..=1161 => failed("the connection broke at the server; the next run reads again"),
        1021 | 1037 | 1038 | 1041 | 1114 | 1206 | 3 | 28 => {
            failed("the server lacks memory or disk; make the query smaller, or wait")
        }
        _ => failed("the server gave it up; its log says why"),
    }
}

fn writes(place: &str) -> Error {
    Error::Definition(format!(
        "{place} writes or locks; a model may only read, so give it one SELECT without `FOR UPDATE` or functions that write"
    ))
}

/// What went wrong, for the log: of what the server says its number alone.
pub fn word(failure: &Failure) -> String {
    match failure {
        Failure::Said(Said { code, .. }) => format!("the server says {code}"),
        other => told(other),
    }
}

/// What went wrong outside of the server, with its causes.
fn told(failure: &Failure) -> String {
    match failure {
        Failure::Lost(error) => {
            let mut said = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                let words = inner.to_string();
                if !said.contains(&words) {
                    said = format!("{said}: {words}");
                }
                cause = inner.source();
            }
            said
        }
        Failure::Silent(time) => format!("no word for {time:?}"),
        Failure::Slow(time) => format!("no whole answer within {time:?}"),
        Failure::TooLong => "it sent more than was asked for".to_owned(),
        Failure::Malformed => "what came is not the protocol".to_owned(),
        _ => "the server closed the connection".to_owned(),
    }
}
