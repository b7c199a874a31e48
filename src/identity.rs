//! Which file a path names, so that a file and a copy of it can be told apart.

use std::fs::Metadata;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// When the file was made, which no copy of it shares and no renaming, writing or change of its mode or owner changes.
/// `None` where the file system does not say.
pub fn of(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let made = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}{}", number(&metadata), made.as_nanos()))
}

/// On Linux nobody can say when a file was made but the kernel, and some file systems (vfat, CIFS) number their files anew
/// at each mount.
#[cfg(target_os = "linux")]
fn number(_metadata: &Metadata) -> &'static str {
    ""
}

/// Elsewhere a copy may be given the time as well.
#[cfg(not(target_os = "linux"))]
fn number(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}-", metadata.ino())
}
