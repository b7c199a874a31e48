//! Folders of the state, the files that are replaced in them, and the names of both, which a power cut must not take with all
//! that was made safe in them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _};
use std::path::Path;

/// Makes a folder, with those above it, that nobody but the owner may look into: keys may be personal data. One that is there
/// keeps its permissions. The names of new ones are safe from a power cut when it returns.
///
/// # Errors
/// It cannot be made, or its name may not be safe.
pub fn create_private(folder: &Path) -> io::Result<()> {
    let parents = parents_of_new(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    parents.iter().try_for_each(|parent| File::open(parent)?.sync_all())
}

/// Puts `content` in the place of the file, or where there is none yet, whole or not at all; both are safe from a power cut when
/// it returns. `mode` are the permissions of the new one, as far as the process may give them.
///
/// # Errors
/// It cannot be written, and the file is as it was; or the new one is in place, and may not be safe.
pub fn replace(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".next");
    let next = file.with_file_name(name);
    // One that a dead process left may have other permissions.
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&next).and_then(
        |mut written| {
            written.write_all(content)?;
            written.sync_all()
        },
    );
    let placed = written.and_then(|()| std::fs::rename(&next, file));
    if placed.is_err() {
        // Half a file is in nobody's way, but takes room.
        let _ = std::fs::remove_file(&next);
    }
    placed?;
    sync_parent(file)
}

/// Makes the name of a file that has just been put in its place safe from a power cut.
///
/// # Errors
/// It may not be safe.
pub fn sync_parent(file: &Path) -> io::Result<()> {
    parent(file).map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The folder that a path lies in.
pub fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// The folders that get a name in them where this one is made: it is safe once they are synced.
fn parents_of_new(folder: &Path) -> Vec<&Path> {
    folder.ancestors().take_while(|folder| !folder.is_dir()).filter_map(parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays_as_it_was_and_nothing_is_left_beside_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it.json");
        std::fs::write(folder.path().join("it.json.next"), "half of one").unwrap();
        replace(&file, b"one", 0o644).unwrap();
        replace(&file, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // A folder cannot be replaced by a file.
        let in_its_way = folder.path().join("folder");
        std::fs::create_dir_all(in_its_way.join("full")).unwrap();
        replace(&in_its_way, b"three", 0o600).unwrap_err();
        assert_eq!(folder.path().read_dir().unwrap().count(), 2, "nothing is left over");
        replace(&folder.path().join("nowhere/it.json"), b"four", 0o600).unwrap_err();
    }

    #[test]
    fn each_folder_that_gets_a_new_one_is_synced_a9() {
        let folder = tempfile::tempdir().unwrap();
        let parents = |path: &str| parents_of_new(&folder.path().join(path)).len();
        assert_eq!(parents("snapshots/people"), 2);
        create_private(&folder.path().join("snapshots")).unwrap();
        assert_eq!(parents("snapshots/people"), 1);
        assert_eq!(parents("snapshots"), 0);
        let relative = Path::new("no such folder/people");
        assert_eq!(parents_of_new(relative), [Path::new("no such folder"), Path::new(".")]);
    }
}
