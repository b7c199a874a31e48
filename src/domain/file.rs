//! The facts that tell a file, an object or a version of a table from every other one.
//!
//! Not responsible for finding them out (`source`), nor for what it means that they differ (`domain::skip`, `source::vanished`).

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
    /// 0 for an object of a store.
    pub inode: u64,
    /// The inode's change time, in nanoseconds since 1970; of an object, when it was written.
    pub changed: i128,
    /// Whether the last line of a text has no end: its writer never ends it, or it was cut. `None` where it is no text, an
    /// object that was not read to its end, or an older version wrote it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_within_line: Option<bool>,
    /// What the store of an object says that it is, which is another once its content is; `None` for a local file, and where
    /// the store says nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// What the tag of a table begins with that counts its versions.
const VERSION: &str = "delta";

/// The version of a table that counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableVersion<'a> {
    pub number: u64,
    /// Of the table, without spaces; another one has another.
    pub id: &'a str,
    /// What tells the commit that made the version from all others.
    pub commit: &'a str,
}

impl TableVersion<'_> {
    /// The tag of a table at this version.
    pub fn etag(&self) -> String {
        format!("{VERSION} {} {} {}", self.number, self.id, self.commit)
    }
}

impl FileFact {
    /// Which version of the table it is, where that counts its versions.
    pub fn version(&self) -> Option<TableVersion<'_>> {
        let (name, rest) = self.etag.as_deref()?.split_once(' ')?;
        let (number, rest) = rest.split_once(' ')?;
        let (id, commit) = rest.split_once(' ')?;
        let number = number.parse().ok()?;
        (name == VERSION).then_some(TableVersion { number, id, commit })
    }

    /// Whether it is an object of which nobody can say whether it changed.
    pub fn is_untold(&self) -> bool {
        self.inode == 0 && self.etag.is_none() && self.path.contains("://")
    }

    /// Whether the file is as it was. How a text ends that is compressed, or an object, is not known before it is read: it is as
    /// its content is. What has a tag is the same while that is, whenever it was written.
    pub fn is_as(&self, was: &FileFact) -> bool {
        let FileFact { table, path, size, inode, changed, ends_within_line, etag } = self;
        (table, path, etag) == (&was.table, &was.path, &was.etag)
            && (*size, *inode) == (was.size, was.inode)
            && (etag.is_some() || *changed == was.changed)
            && (ends_within_line.is_none() || *ends_within_line == was.ends_within_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_file_is_written_down_as_it_always_was() {
        let written = [
            r#"{"table":"t","path":"a.csv","size":9,"inode":4,"changed":5,"ends_within_line":false}"#,
            r#"{"table":"t","path":"a.parquet","size":9,"inode":4,"changed":-5}"#,
        ];
        for text in written {
            let fact: FileFact = serde_json::from_str(text).unwrap();
            assert_eq!(fact.etag, None);
            assert_eq!(serde_json::to_string(&fact).unwrap(), text);
        }
    }

    #[test]
    fn a_version_of_a_table_comes_back_and_no_other_tag_is_one() {
        let version = TableVersion { number: 42, id: "a-b", commit: "\"x y\"" };
        let text = r#"{"table":"t","path":"a","size":9,"inode":0,"changed":5}"#;
        let fact: FileFact = serde_json::from_str(text).unwrap();
        let of = |etag: Option<String>| FileFact { etag, ..fact.clone() };
        assert_eq!(of(Some(version.etag())).version(), Some(version));
        for other in [None, Some("\"delta 42 a b\""), Some("delta x a b"), Some("delta 42 a")] {
            assert_eq!(of(other.map(str::to_owned)).version(), None, "{other:?}");
        }
    }

    #[test]
    fn an_object_is_known_by_its_etag() {
        let text = r#"{"table":"t","path":"a","size":9,"inode":0,"changed":5,"etag":"\"f-1\""}"#;
        let fact: FileFact = serde_json::from_str(text).unwrap();
        assert_eq!(fact.etag.as_deref(), Some("\"f-1\""));
        assert_eq!(serde_json::to_string(&fact).unwrap(), text);
        let other = FileFact { etag: None, ..fact.clone() };
        assert!(!other.is_as(&fact) && !fact.is_as(&other));
        let again = FileFact { changed: 6, ..fact.clone() };
        assert!(again.is_as(&fact), "the same content, written again");
        assert!(!FileFact { changed: 6, ..other.clone() }.is_as(&other));
    }
}
