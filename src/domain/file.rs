use serde::{Deserialize, Serialize};

/// One file of a read's file set. Same facts before and after a read prove that it was not replaced meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFact {
    pub table: String,
    /// Absolute while it is read; in a snapshot below the config's folder, where it lies there, so that a project may move.
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub inode: u64,
    /// The inode's change time, in nanoseconds since 1970.
    pub changed: i128,
    /// Whether the last line of a text has no end: its writer never ends it, or it was cut. `None` where it is no text, or
    /// an older version wrote it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_within_line: Option<bool>,
}
