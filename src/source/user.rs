//! Who reads the files of this machine, and whether that user could write to them: the system is asked, and nothing is written.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::small_file;

/// Bytes of the list of users that are looked at.
const LONGEST: u64 = 1 << 20;

/// Whether files could be written to; of several, what comes last here is true of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writing {
    /// Nobody could, where they are mounted.
    MountedReadOnly,
    CouldNot,
    /// The system does not tell, as of a file that has gone.
    Untold,
    Could,
}

/// The user of this process, for people.
pub(super) fn name() -> String {
    let status = small_file::read(Path::new("/proc/self/status"), LONGEST);
    let status = String::from_utf8_lossy(&status.unwrap_or_default()).into_owned();
    let users = small_file::read(Path::new("/etc/passwd"), LONGEST).unwrap_or_default();
    named(&status, &String::from_utf8_lossy(&users))
}

/// `status` is what Linux says of the process, of whose users the second is the one whose rights count.
fn named(status: &str, users: &str) -> String {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let Some(id) = ids.and_then(|ids| ids.split_whitespace().nth(1)) else {
        return "the user of this process".to_owned();
    };
    let mut users = users.lines().map(|line| line.split(':'));
    let name = users.find_map(|mut user| {
        let name = user.next()?;
        (user.nth(1) == Some(id)).then_some(name)
    });
    match name {
        Some(name) => format!("user `{name}` ({id})"),
        None => format!("user {id}"),
    }
}

/// Whether one of the files, or a folder that one lies in, could be written to. Blocks on the file system.
pub(super) fn writing(files: impl IntoIterator<Item = PathBuf>) -> Writing {
    let (mut found, mut folder) = (None, PathBuf::new());
    for file in files {
        found = found.max(Some(told(accessible(&file))));
        if let Some(parent) = file.parent().filter(|parent| *parent != folder) {
            found = found.max(Some(told(accessible(parent))));
            folder = parent.to_owned();
        }
        if found == Some(Writing::Could) {
            break;
        }
    }
    found.unwrap_or(Writing::CouldNot)
}

fn accessible(path: &Path) -> Result<(), Errno> {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
}

fn told(answer: Result<(), Errno>) -> Writing {
    match answer {
        Ok(()) => Writing::Could,
        Err(Errno::ROFS) => Writing::MountedReadOnly,
        Err(Errno::ACCESS | Errno::PERM) => Writing::CouldNot,
        Err(_) => Writing::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_the_rights_that_count_and_by_number_where_nobody_names_it() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:0::/:/bin/sh\n";
        assert_eq!(named("Name:\tc\nUid:\t0\t1000\t1000\t1000\n", users), "user `ada` (1000)");
        assert_eq!(named("Uid:\t7\t7\t7\t7\n", users), "user 7");
        assert_eq!(named("", users), "the user of this process");
        assert!(name().starts_with("user "), "{}", name());
    }

    #[test]
    fn what_is_mounted_read_only_is_told_from_what_others_may_write_to() {
        assert_eq!(told(Err(Errno::ROFS)), Writing::MountedReadOnly);
        assert_eq!(told(Err(Errno::ACCESS)), Writing::CouldNot);
        assert_eq!(told(Err(Errno::IO)), Writing::Untold);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.csv");
        std::fs::write(&file, "id\n").unwrap();
        // Nobody may, not even the superuser.
        let kernels = PathBuf::from("/proc/sys/kernel/ostype");
        assert_eq!(writing([kernels.clone()]), Writing::CouldNot);
        let gone = folder.path().join("gone").join("b.csv");
        assert_eq!(writing([kernels.clone(), gone.clone()]), Writing::Untold);
        assert_eq!(writing([kernels, gone, file]), Writing::Could);
        assert_eq!(std::fs::read_to_string(folder.path().join("a.csv")).unwrap(), "id\n");
    }
}
