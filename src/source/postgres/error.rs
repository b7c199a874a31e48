//! What the errors of a server mean, in words of our own.
//!
//! Invariant: no value of a row is in a message. The server's own words are shown only where no row was read yet; its details
//! never.

use std::io;

use tokio_postgres::Error as Failure;

use super::bounded::is_too_long;
use super::frames::LONGEST;
use crate::source::error::Error;
use crate::source::tls::{BY_SOURCE, distrusted};

/// Of connecting to the database at `place`; `lacks`: why no password for it was found, as far as that is known.
pub fn connecting(error: &Failure, place: &str, lacks: Option<&str>) -> Error {
    if is_too_long(error) {
        return Error::Missing(format!(
            "{place} does not speak as PostgreSQL does; check `host` and `port`"
        ));
    }
    let Some(said) = error.as_db_error() else {
        if chain(error).contains("password missing") {
            let lacks = lacks.map_or_else(String::new, |why| format!(": {why}"));
            return Error::Missing(format!(
                "{place} asks for a password, and there is none{lacks}; say `password` at the source, or write a line for it in \
                 the file that `PGPASSFILE` names"
            ));
        }
        return unreachable(place, &chain(error));
    };
    let (code, message) = (said.code().code(), said.message());
    let remedy = match code {
        "28P01" | "28000" => "correct `user`, `password` or the server's `pg_hba.conf`",
        "3D000" => "correct `database`",
        "53300" => "wait until others have closed theirs, or raise `max_connections`",
        _ => "check the server",
    };
    Error::Missing(format!("{place} refused the connection: {message} ({code}); {remedy}"))
}

/// Of a connection to the database at `place` that did not come about.
pub fn unreached(error: &io::Error, place: &str) -> Error {
    unreachable(place, &error.to_string())
}

fn unreachable(place: &str, why: &str) -> Error {
    let said = distrusted(why, BY_SOURCE).unwrap_or_else(|| {
        format!("{why}; check the source's address and TLS, and that the server is up")
    });
    Error::Missing(format!("{place} cannot be reached: {said}"))
}

/// Of a row of the answer to a query, at `place`, that is longer than any that is taken.
pub fn too_long(place: &str) -> Error {
    Error::Misfit(format!(
        "{place} has a row of more than {} MiB; leave its longest column out, or cut it with `left`",
        LONGEST >> 20
    ))
}

/// Of beginning and checking a session, and of planning a query, at `place`.
pub fn planning(error: &Failure, place: &str) -> Error {
    let Some(said) = error.as_db_error() else { return reading(error, place) };
    let (code, message) = (said.code().code(), said.message());
    match code.get(..2) {
        Some("08" | "53" | "57" | "40" | "58") => reading(error, place),
        _ if code == "55P03" => reading(error, place),
        _ if code == "25006" => writes(place),
        _ if code == "25001" => turns(place),
        _ if code == "42501" => Error::Definition(format!(
            "{place} is refused by the server: {message} ({code}); grant it, or, where policies hide rows and that is meant, say \
             `row_security: apply` at the source"
        )),
        _ if message.contains("multiple commands") => {
            Error::Definition(format!("{place} has several statements; give it one SELECT"))
        }
        _ => Error::Definition(format!(
            "{place} is refused by the server: {message} ({code}); {}",
            correction(code)
        )),
    }
}

/// Of having the server plan and hold what the query at `place` reads. To plan it computes what does not change: what the server
/// says then may quote values, unless it is of the query itself.
pub fn holding(error: &Failure, place: &str) -> Error {
    let said = error.as_db_error().map(|said| (said.code().code(), said.message()));
    match said {
        Some((code @ "42501", message)) => Error::Query(format!(
            "{place} may not be read: {message} ({code}); grant it to this user, or, where policies hide rows and that is meant, say \
             `row_security: apply` at the source"
        )),
        Some((code, _)) if ["42", "0A", "3F"].contains(&code.get(..2).unwrap_or("")) => {
            planning(error, place)
        }
        _ => reading(error, place),
    }
}

/// Whether others hold what was asked for.
pub fn is_locked(error: &Failure) -> bool {
    error.code().is_some_and(|code| code.code() == "55P03")
}

/// Of what others hold, or wait to hold, for longer than they are waited for.
pub fn locked(place: &str) -> Error {
    Error::Query(format!(
        "{place} reads a table that somebody else has locked, or waits to lock, against all reads, as TRUNCATE, ALTER TABLE, VACUUM \
         FULL and a refresh do; see `pg_locks` and `pg_blocking_pids`; the next run tries again (55P03)"
    ))
}

/// Of having two sessions see one state of the database at `place`.
pub fn sharing(error: &Failure, place: &str) -> Error {
    let code = error.as_db_error().map(|said| said.code().code());
    match code.filter(|code| matches!(code.get(..2), Some("0A" | "22" | "25" | "42" | "55"))) {
        Some(code) => Error::Missing(format!(
            "{place} does not let two sessions see one state of it ({code}), as what hands out several servers does not; name one \
             server, or ask it once: join its tables in the `sql` of one of them, and leave `check_keys: first` out; a sample cannot do without"
        )),
        None => planning(error, place),
    }
}

/// What to do where a server refuses a query, or what is set before it.
fn correction(code: &str) -> &'static str {
    match code {
        "42P01" | "3F000" => {
            "correct its SQL, look at the right `database`, or set `search_path` under `settings`"
        }
        "42704" | "22023" => "correct its SQL, or `settings` and `role` at the source",
        "42883" => {
            "correct its SQL: functions of mappings are of here, those of its own SQL of the server"
        }
        _ if code.starts_with("0A") => "the server cannot do it: write its SQL otherwise",
        _ => "correct its SQL, which is one SELECT",
    }
}

/// Of reading the answer to a query, at `place`.
pub fn reading(error: &Failure, place: &str) -> Error {
    if is_too_long(error) {
        return too_long(place);
    }
    let Some(said) = error.as_db_error() else {
        return Error::Missing(format!(
            "{place}: the connection to the database was lost ({}); the next run reads again",
            chain(error)
        ));
    };
    let code = said.code().code();
    let failed = |why: &str| Error::Query(format!("the query of {place} failed: {why} ({code})"));
    match code {
        "25006" => writes(place),
        "25001" => turns(place),
        "22P02" | "22007" | "22023" => {
            failed("a value cannot be read as the type that it is cast to; guard the cast")
        }
        "22012" => failed("division by zero; guard it with `nullif(divisor, 0)`"),
        "22003" | "22008" => {
            failed("a number or a time is out of its type's range; cast to a wider one")
        }
        "22021" | "22P05" => {
            failed("text is not valid in its encoding; convert it with `convert_from`")
        }
        "21000" => failed("a subquery gave more than one row"),
        "42501" => failed(
            "a table, a function or a row is not for this user; grant it, or, where policies hide rows and that is meant, \
             say `row_security: apply` at the source",
        ),
        "57014" => failed(
            "the server cancelled it, by a person or its `statement_timeout`; raise `statement_timeout` at the source",
        ),
        "57P01" | "57P02" | "57P03" => failed("the server went down; the next run reads again"),
        "40001" | "40P01" => failed(
            "it was in the way of others, as on a standby that replays; the next run reads again, and \
             `hot_standby_feedback = on` prevents it",
        ),
        "55P03" => failed("a lock was not to be had in time; the next run tries again"),
        "25P02" => failed("the server gave the transaction up"),
        _ if code.starts_with("53") => {
            failed("the server lacks memory, disk or connections; make the query smaller, or wait")
        }
        _ => failed("the server gave it up; its log says why"),
    }
}

fn writes(place: &str) -> Error {
    Error::Definition(format!(
        "{place} writes or locks; a model may only read, so give it one SELECT without `FOR UPDATE` or `nextval`"
    ))
}

fn turns(place: &str) -> Error {
    Error::Definition(format!(
        "{place} would turn its transaction into another; a model may only read, so take `set_config('transaction_..', ..)` out"
    ))
}

/// What went wrong outside of the server, with its causes.
fn chain(error: &Failure) -> String {
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
