use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::super::definition::{Format, SchemaRule, Table};
use crate::domain::file::FileFact;

/// What is known of a file that was just written.
pub(super) fn fact(path: &Path) -> FileFact {
    let metadata = path.metadata().expect("it was just written");
    FileFact {
        table: "t".into(),
        path: path.to_string_lossy().into_owned(),
        size: metadata.len(),
        inode: metadata.ino(),
        changed: 0,
        ends_within_line: None,
        etag: None,
    }
}

/// The table of the Arrow files here.
pub(super) fn table(location: &Path) -> Table {
    Table {
        name: "t".into(),
        folder: "/".into(),
        location: location.into(),
        objects: None,
        format: Format::Arrow,
        compression: None,
        partitions: None,
        schema: SchemaRule::Same,
        rewritten: None,
    }
}
