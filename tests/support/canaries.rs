//! I12: no secret, and nothing of a row but its key, is printed, answered or stored.

use std::path::{Path, PathBuf};

use super::people::CANARY;
use super::{NEXT_TOKEN, TOKEN};

/// What must be found nowhere.
const CANARIES: [&str; 3] = [TOKEN, NEXT_TOKEN, CANARY];

/// I12: makes sure that a text that the product gave holds none.
#[track_caller]
pub fn assert_none(text: &str, whose: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "I12: `{canary}` is in {whose}:\n{text}");
    }
}

/// I12: makes sure that no file of a folder holds one; the number of files. A file that goes meanwhile is none.
#[track_caller]
pub fn assert_none_within(folder: &Path) -> usize {
    let mut folders: Vec<PathBuf> = vec![folder.to_path_buf()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            // Not through links: what they lead to is no state, or is seen by itself.
            let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
            if found.is_dir() {
                folders.push(path);
            } else if found.is_file()
                && let Ok(bytes) = std::fs::read(&path)
            {
                files += 1;
                let text = String::from_utf8_lossy(&bytes);
                for canary in CANARIES {
                    assert!(!text.contains(canary), "I12: `{canary}` is in {}", path.display());
                }
            }
        }
    }
    files
}
