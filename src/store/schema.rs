//! The versions of the state database: each is one file of SQL that leads from the version before it.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;

use super::Error;
use crate::points::{self, Point};

/// From an empty file to the newest version.
const VERSIONS: [&str; 6] = [
    concat!(
        include_str!("../../sql/state/001.sql"),
        include_str!("../../sql/state/audit_is_never_shortened.sql")
    ),
    include_str!("../../sql/state/002.sql"),
    include_str!("../../sql/state/003.sql"),
    include_str!("../../sql/state/004.sql"),
    include_str!("../../sql/state/005.sql"),
    include_str!("../../sql/state/006.sql"),
];

/// The newest version, which this program writes.
pub(super) const NEWEST: i64 = 6;

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

    /// A run as an older version left it: sync, phase, choice, rows read, error.
    const LEFT: &str = r#"
        WITH left(sync, phase, reason, rows_read, error) AS (VALUES
            ('owed_starting', '{"phase":"starting"}', 'requested', 0, NULL),
            ('owed_killed', '{"phase":"ended","outcome":"interrupted"}', 'requested', 0, 'it died'),
            ('owed_failed', '{"phase":"ended","outcome":"failed"}', 'requested', 0, 'no file'),
            ('owed_stopped', '{"phase":"ended","outcome":"cancelled"}', 'requested', 0, NULL),
            ('withdrawn', '{"phase":"ended","outcome":"cancelled"}', 'requested', 0, 'paused'),
            ('waits', '{"phase":"in_queue"}', 'requested', 0, NULL),
            ('usual', '{"phase":"ended","outcome":"failed"}', 'usual', 0, 'no file'),
            ('read', '{"phase":"ended","outcome":"failed"}', 'requested', 5, 'no file'),
            ('made', '{"phase":"ended","outcome":"failed"}', 'requested', 0, 'no file'),
            ('made', '{"phase":"ended","outcome":"succeeded"}', 'open_epoch', 9, NULL),
            ('owed_failed', '{"phase":"ended","outcome":"failed"}', NULL, 0, 'no file'))
        INSERT INTO runs (sync, trigger, choice, phase, started_at, finished_at, tally, error)
        SELECT sync, '"manual"', iif(reason IS NULL, NULL, json_object('kind', 'full', 'reason', reason, 'opens_epoch', json('true'))), phase, 0,
            iif(phase LIKE '%ended%', 1, NULL), json_object('rows_read', rows_read), error FROM left"#;

    #[tokio::test]
    async fn a_full_resync_that_an_older_version_did_not_make_is_owed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counterflow.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let second = super::super::open::pool(1, options);
        for statement in [VERSIONS[0], VERSIONS[1], LEFT] {
            sqlx::raw_sql(statement).execute(&second).await.unwrap();
        }
        second.close().await;
        // A command beside converts nothing, and gets by with what is there.
        let beside = Store::open_beside(directory.path()).await.unwrap();
        assert!(!beside.is_full_owed("owed_failed").await.unwrap());
        assert_eq!(beside.unfinished_of("waits").await.unwrap().len(), 1);
        beside.close().await;
        let store = Store::open(directory.path()).await.unwrap();
        for sync in ["owed_starting", "owed_killed", "owed_failed", "owed_stopped"] {
            assert!(store.is_full_owed(sync).await.unwrap(), "{sync}");
        }
        for sync in ["withdrawn", "waits", "usual", "read", "made"] {
            assert!(!store.is_full_owed(sync).await.unwrap(), "{sync}");
        }
    }

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
                !store.is_copied("crm", Some((3, "5"))).await.unwrap(),
                "nobody wrote down which file it was"
            );
            assert!(store.known("crm").await.unwrap().is_some());
            store.close().await;
        }
        assert_eq!(VERSIONS.len(), usize::try_from(NEWEST).unwrap());
    }
}
