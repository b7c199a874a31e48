//! What a PostgreSQL server says of itself, of who asks, and of what that role could do.
//!
//! Nothing is executed of a model: its query is planned, and the locks that the transaction then has name its tables.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::definition::Definition;
use super::error::{is_locked, planning};
use super::sees::Sees;
use super::session::Session;
use super::volatile;
use crate::domain::sync::Model;
use crate::source::cancel::Cancels;
use crate::source::error::Error;
use crate::source::examine::{Examined, seconds};
use crate::source::trimmed::{Dialect, trimmed};

const ASKED: &str = "SELECT split_part(current_setting('server_version'), ' ', 1), current_user, pg_is_in_recovery(), \
     current_setting('default_transaction_read_only'), extract(epoch FROM clock_timestamp()), \
     (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
     (SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user), \
     (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)";

/// Those of the tables that the transaction has locked which the role could write to.
const WRITABLE: &str = "SELECT count(*), min(format('%I.%I', n.nspname, c.relname)) \
     FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'v', 'f') \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
     AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')";

/// The first row of an answer.
type Row = Vec<Option<String>>;

/// Looks at the server; `models` are those that read it. What was found is in `examined` by then, whatever comes of the rest.
///
/// # Errors
/// It is not reached, or does not let us in.
pub async fn examine(
    definition: &Definition,
    models: &[&Model],
    examined: &mut Examined,
) -> Result<(), Error> {
    let place = definition.remote.place();
    let mut session =
        Session::open(definition, "counterflow doctor", &Cancels::default(), Sees::Newest).await?;
    let before = seconds();
    let row = ask(&mut session, &place, ASKED).await?;
    let after = seconds();
    let said = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let is = |at: usize| said(at) == "t";
    let (role, is_superuser) = (said(1), is(5));
    examined.fact("version", format!("PostgreSQL {}", said(0)));
    examined.fact("role", format!("role `{role}`"));
    examined.fact("standby", if is(2) { "a standby" } else { "no standby" });
    let reads_only = if said(3) == "on" { "reads only by default" } else { "may write by default" };
    examined.fact("read_only", reads_only);
    examined.tls(&definition.remote, row.get(7).and_then(Option::as_deref));
    if let Ok(server) = said(4).parse() {
        examined.clock(server, before, after);
    }
    if is(6) && !is_superuser {
        examined.fact("row_security", "row security does not hold for the role");
    }
    // Whoever waits for a lock holds up all who come behind.
    ask(&mut session, &place, "SET LOCAL lock_timeout = '1s'").await?;
    for model in models {
        match planned(&mut session, &place, &model.sql).await? {
            Ok(is_held) => {
                let of = format!("model `{}`", model.name);
                examined.flaps(&of, &called(&mut session, is_held, &place, &model.sql).await?);
            }
            Err(_) => examined.refuse(model),
        }
    }
    for table in &definition.remote.tables {
        let of_table = format!("table `{}`", table.name);
        match planned(&mut session, &of_table, &table.sql).await? {
            Ok(is_held) => {
                let called = called(&mut session, is_held, &of_table, &table.sql).await?;
                examined.flaps(&of_table, &called);
            }
            Err(error) => examined.problems.push(definition.remote.unsaid(error).to_string()),
        }
    }
    let row = ask(&mut session, &place, WRITABLE).await?;
    let said = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let writable: u64 = said(0).parse().unwrap_or_default();
    if is_superuser {
        examined.advice.push(format!(
            "role `{role}` is a superuser, whom nothing holds back: a read-only role is better"
        ));
    } else if writable > 0 {
        let what = match writable {
            1 => format!("`{}`", said(1)),
            more => format!("{more} tables that models read, such as `{}`", said(1)),
        };
        examined
            .advice
            .push(format!("role `{role}` could write to {what}: a read-only role is better"));
    }
    session.close();
    Ok(())
}

/// Whether the server plans the query and holds its tables as for any read, and not others do; or why it cannot plan it.
async fn planned(
    session: &mut Session,
    place: &str,
    sql: &str,
) -> Result<Result<bool, Error>, Error> {
    ask(session, place, "SAVEPOINT counterflow").await?;
    let prepare = async |client: &Client| match client.prepare(sql).await {
        Err(failure) if is_locked(&failure) => Ok(false),
        prepared => prepared.map(|_| true),
    };
    // That it can be planned says nothing of grants; that others hold its tables for now is no refusal.
    let held = match session.ask(place, prepare, planning).await {
        Ok(true) => session.hold(trimmed(sql, Dialect::Postgres), place).await,
        prepared => prepared,
    };
    let then = match held {
        Ok(true) => "RELEASE SAVEPOINT counterflow",
        Ok(false) | Err(_) => "ROLLBACK TO SAVEPOINT counterflow",
    };
    ask(session, place, then).await?;
    Ok(held)
}

/// What the query calls that flaps, as far as its tables are held and nobody has to be waited for.
async fn called(
    session: &mut Session,
    is_held: bool,
    place: &str,
    sql: &str,
) -> Result<Vec<String>, Error> {
    match is_held {
        true => volatile::called(session, trimmed(sql, Dialect::Postgres), place).await,
        false => Ok(Vec::new()),
    }
}

async fn ask(session: &mut Session, place: &str, sql: &str) -> Result<Row, Error> {
    let answer =
        session.ask(place, async |client| client.simple_query(sql).await, planning).await?;
    let row = answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.map(|row| {
        (0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)).collect()
    });
    Ok(row.unwrap_or_default())
}
