//! The versions of the state database: each is one file of SQL that leads from the version before it.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;

use super::Error;
use crate::points::{self, Point};

/// From an empty file to the newest version.
const VERSIONS: [&str; 2] =
    [include_str!("../../sql/state/001.sql"), include_str!("../../sql/state/002.sql")];

/// The newest version, which this program writes.
pub(super) const NEWEST: i64 = 2;

/// 'CtFw', as the first version writes it.
pub(super) const APPLICATION: i64 = 0x4374_4677;

/// Leads a database from a version to the newest, whole or not at all. Version 0 is an empty file.
///
/// # Errors
/// The database cannot be written; it is as it was.
pub(super) async fn raise(
    options: SqliteConnectOptions,
    path: &Path,
    version: i64,
) -> Result<(), Error> {
    let known = usize::try_from(version).unwrap_or(VERSIONS.len());
    let writer = super::open::pool(1, options);
    let raised = async {
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        for version in VERSIONS.iter().skip(known) {
            sqlx::raw_sql(*version).execute(&mut *transaction).await?;
        }
        points::reached(Point::StateRaised);
        transaction.commit().await
    };
    let raised = raised.await.map_err(|error| Error::database(path, error));
    writer.close().await;
    raised
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_state_of_the_first_version_is_led_to_the_newest_and_keeps_what_it_knew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counterflow.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let first = super::super::open::pool(1, options);
        sqlx::raw_sql(VERSIONS[0]).execute(&first).await.unwrap();
        let known = "INSERT INTO known_snapshots VALUES ('crm', '0000000000000007', 3)";
        sqlx::raw_sql(known).execute(&first).await.unwrap();
        first.close().await;
        for _ in 0..2 {
            let store = Store::open(directory.path()).await.unwrap();
            assert!(
                !store.is_copied("crm", Some("5")).await.unwrap(),
                "nobody wrote down which file it was"
            );
            assert!(store.known("crm").await.unwrap().is_some());
            store.close().await;
        }
        assert_eq!(VERSIONS.len(), usize::try_from(NEWEST).unwrap());
    }
}
