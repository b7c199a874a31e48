use std::fs::File;
use std::path::{Path, PathBuf};

use super::open::{options, pool};
use super::{Error, query};
use crate::folders;
use crate::points::{self, Point};

/// Puts a copy of a database beside it, whole and safe on disk, before it is led to a newer version: with it an older program
/// can go on where it was. One that an upgrade before left is replaced.
///
/// # Errors
/// The copy cannot be written; then there is none, and the database is as it was.
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
    let reader = pool(1, options(path));
    // What is still in the log is copied too.
    let copied = query("VACUUM INTO ?").bind(next.display().to_string()).execute(&reader).await;
    reader.close().await;
    copied.map_err(|error| Error::database(&next, error))?;
    points::reached(Point::StateCopied);
    let place = || -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600))?;
        File::open(&next)?.sync_all()?;
        std::fs::rename(&next, &kept)?;
        folders::sync_parent(&kept)
    };
    place().map_err(failed)?;
    points::reached(Point::StateKept);
    tracing::info!(version, kept = %kept.display(), "the state is led to a newer version; the database as it was is kept");
    Ok(kept)
}
