//! MySQL and MariaDB: a model's SQL runs there as it stands, prepared, in a transaction that only reads, and its rows come by the
//! binary protocol.
//!
//! The protocol is spoken here: the client of the registry believes certificates by rules of its own, rewrites SQL that holds a
//! `:name`, and reads on when nobody wants rows any more.

mod column;
mod connection;
mod decode;
pub mod definition;
mod error;
mod examine;
mod fields;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod fuzzing;
mod greeting;
mod outside;
mod packets;
mod session;
mod stream;
mod temporal;
mod volatile;

use self::definition::Definition;
pub(super) use self::examine::examine;
use self::session::Session;
pub(super) use self::session::identifier;
pub(super) use self::stream::{Query, Scan};
use super::error::Error;
use super::reader::Settings;

/// Has the server plan a query.
///
/// # Errors
/// The server is not there, or refuses the query.
pub(super) async fn plan(
    definition: &Definition,
    query: &Query<'_>,
    place: &str,
    settings: &Settings,
) -> Result<Scan, Error> {
    let session = Session::open(definition, &settings.name, &settings.cancels).await?;
    Scan::plan(session, definition, query, place).await
}
