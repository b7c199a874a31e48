//! Folders of the state, and their names, which a power cut must not take with all that was made safe in them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
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
