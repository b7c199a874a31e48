//! PostgreSQL: a model's SQL runs there as it stands, in a transaction that only reads, and its rows come by binary COPY.

mod bounded;
mod decode;
pub mod definition;
mod error;
mod examine;
mod frames;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod fuzzing;
mod numeric;
mod passfile;
mod session;
mod stream;
mod wire;

use self::definition::Definition;
pub(super) use self::examine::examine;
use self::session::Session;
pub(super) use self::stream::Scan;
use super::error::Error;
use super::reader::Settings;
use super::restriction::Restriction;
use crate::domain::sync::Model;

/// Has the server plan the model's query.
///
/// # Errors
/// The server is not there, or refuses the query.
pub(super) async fn plan(
    definition: &Definition,
    model: &Model,
    restriction: Option<&Restriction>,
    place: &str,
    settings: &Settings,
) -> Result<Scan, Error> {
    let session = Session::open(definition, &settings.name, &settings.cancels).await?;
    let mut scan = Scan::plan(session, &model.sql, place, definition.is_infinity_null).await?;
    if let Some(restriction) = restriction {
        scan.restrict(restriction).await?;
    }
    Ok(scan)
}
