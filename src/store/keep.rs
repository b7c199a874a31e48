use std::fs::File;
use std::path::{Path, PathBuf};

use super::open::{options, pool};
use super::{Error, query};
use crate::folders;
use crate::points::{self, Point};

/// Puts a copy of a database beside it, whole and safe on disk, before it is led to a newer version: with it an older program
/// can go on where it was. One of the same version that an upgrade before left is replaced.
///
/// # Errors
/// The copy cannot be written; then there is none, nor a part of one, and the database is as it was.
pub(super) async fn keep(path: &Path, version: i64) -> Result<PathBuf, Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".version-{version}"));
    let kept = path.with_file_name(&name);
    name.push(".next");
    let next = path.with_file_name(name);
    let failed = |source| Error::io(next.clone(), source);
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    if let Err(error) = copy(path, &next, &kept).await {
        // It may have taken the last of the disk's room.
        let _ = std::fs::remove_file(&next);
        return Err(error);
    }
    points::reached(Point::StateKept);
    tracing::info!(version, kept = %kept.display(), "the state is led to a newer version; the database as it was is kept");
    Ok(kept)
}

/// Copies the database to `next`, which becomes `kept` once it is whole and safe.
async fn copy(path: &Path, next: &Path, kept: &Path) -> Result<(), Error> {
    let reader = pool(1, options(path));
    let name = next.to_str().expect("no database is opened below a path that is not UTF-8");
    // What is still in the log is copied too.
    let copied = query("VACUUM INTO ?").bind(name.to_owned()).execute(&reader).await;
    reader.close().await;
    copied.map_err(|error| Error::database(next, error))?;
    points::reached(Point::StateCopied);
    let place = || -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(next, std::fs::Permissions::from_mode(0o600))?;
        File::open(next)?.sync_all()?;
        std::fs::rename(next, kept)?;
        folders::sync_parent(kept)
    };
    place().map_err(|source| Error::io(next.to_path_buf(), source))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_copy_that_fails_midway_leaves_nothing_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let path = folder.path().join("counterflow.db");
        store.close().await;
        let whole = pool(1, options(&path));
        let filled = "CREATE TABLE filling AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) \
             SELECT i, hex(zeroblob(1000)) FROM n";
        query(filled).execute(&whole).await.unwrap();
        query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&whole).await.unwrap();
        whole.close().await;
        assert!(keep(&path, 1).await.is_ok());
        let mut file = File::options().write(true).open(&path).unwrap();
        let middle = file.metadata().unwrap().len() / 2;
        file.seek(SeekFrom::Start(middle)).unwrap();
        file.write_all(&[0xff; 1 << 16]).unwrap();
        let failed = keep(&path, 2).await;
        assert!(failed.is_err(), "{failed:?}");
        let names = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> =
            names.filter(|name| name.to_string_lossy().contains("version-2")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
