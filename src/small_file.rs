//! Files that a person names and that are read at once: certificates, keys and passwords.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// All that the file holds, which is `most` bytes and one more at most. A pipe or a device, which could have a reader wait for
/// ever, is refused. Blocks on the file system.
///
/// # Errors
/// It is not there, may not be read, or is no file.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // A pipe that nobody writes to would not even open.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("it is one of the lower bits");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    /// One that nobody writes to at all is played in tests/sources, as a reader that waits would never end here.
    #[test]
    fn what_is_no_regular_file_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut writer = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        writer.write_all(&[b'x'; 100]).unwrap();
        let refused = read(&pipe, 10).unwrap_err().to_string();
        assert!(refused.contains("no regular file"), "{refused}");
        let refused = read(folder.path(), 10).unwrap_err().to_string();
        assert!(refused.contains("no regular file"), "{refused}");
    }

    #[test]
    fn no_more_of_a_file_is_read_than_shows_that_it_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(read(&file, 10).unwrap(), b"0123456789");
        assert_eq!(read(&file, 3).unwrap(), b"0123");
        assert_eq!(
            read(&folder.path().join("none"), 3).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
