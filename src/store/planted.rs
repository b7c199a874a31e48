//! The defect that the fault kit plants in the opening of a database.

use std::path::Path;

use super::Error;
use super::open::{create, inspect, is_written, options};
use crate::points::is_planted;

/// Puts a new database in the place of one that cannot be used.
pub(super) async fn recreate(path: &Path) -> Result<(), Error> {
    let is_planted = is_planted("store_recreated") && is_written(path)?;
    if is_planted && inspect(options(path), path, true).await.is_err() {
        std::fs::remove_file(path).map_err(|source| Error::io(path.to_path_buf(), source))?;
        create(path).await?;
    }
    Ok(())
}
