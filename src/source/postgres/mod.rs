//! PostgreSQL: a model's SQL runs there as it stands, in a transaction that only reads, and its rows come by binary COPY.

mod attempt;
mod bounded;
mod decode;
pub mod definition;
mod error;
mod examine;
mod frames;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod fuzzing;
mod locked;
mod numeric;
mod passfile;
mod sees;
mod session;
mod sessions;
mod stream;
mod volatile;
mod wire;

use std::sync::Arc;

pub(super) use self::examine::examine;
pub(super) use self::session::identifier;
pub(super) use self::sessions::Sessions;
pub(super) use self::stream::Scan;
use super::error::Error;
use super::restriction::Restriction;
use crate::domain::sync::Model;

/// How often somebody may come between the session that holds what a model reads and the one that reads it.
const ATTEMPTS: u32 = 5;

/// Has the server plan the model's query.
///
/// # Errors
/// The server is not there, or refuses the query.
pub(super) async fn plan(
    model: &Model,
    restriction: Option<&Restriction>,
    place: &str,
    sessions: &Arc<Sessions>,
) -> Result<Scan, Error> {
    for _ in 0..ATTEMPTS {
        let mut session = sessions.begin().await?;
        sessions.identify(&mut session).await?;
        let mut scan = Scan::plan(sessions, &mut session, &model.sql, place).await?;
        scan.names_rows_by(&model.primary_key);
        if let Some(restriction) = restriction {
            scan.restrict(&mut session, restriction).await?;
        }
        sessions.put(session);
        if sessions.still().await? {
            return Ok(scan);
        }
    }
    Err(error::locked(place))
}

/// Has the server plan the query of a table at `place`, in the one session in which all tables of the read are planned.
///
/// # Errors
/// As [`plan`].
pub(super) async fn plan_table(
    sql: &str,
    place: &str,
    sessions: &Arc<Sessions>,
) -> Result<Scan, Error> {
    let mut session = match sessions.take() {
        Some(session) => session,
        None => sessions.begin().await?,
    };
    sessions.identify(&mut session).await?;
    let scan = Scan::plan(sessions, &mut session, sql, place).await?;
    sessions.put(session);
    Ok(scan)
}
