//! Which syncs get another connection, and the config file as it says so then.
//!
//! Not responsible for how the text is changed (`rewrite`), nor for what follows from it. Pure.

use std::io;
use std::path::Path;

use super::{Config, rewrite};

/// What a person asks for: every sync of the old connection, unless some or a group are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub old: String,
    pub new: String,
    pub syncs: Vec<String>,
    pub group: Option<String>,
    /// The snapshots are true of the new connection.
    pub keeps_snapshot: bool,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the file.
    pub syncs: Vec<String>,
    /// Of the whole file.
    pub text: String,
}

/// Why nothing is replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is nothing of that name.
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Unfit(String),
}

/// What comes of it for this config, which `text` is the file of.
///
/// # Errors
/// Why nothing is replaced, with what to do.
pub fn plan(config: &Config, text: &str, asked: &Asked) -> Result<Plan, Refused> {
    let Asked { old, new, syncs, group, .. } = asked;
    for name in [old, new] {
        if !config.connections.contains_key(name) && !config.absent.contains_key(name) {
            let all: Vec<&str> = config.connections.keys().map(String::as_str).collect();
            let (path, all) = (config.path.display(), all.join("`, `"));
            return Err(Refused::Unknown(format!(
                "there is no connection `{name}` in `{path}`; it has `{all}`, and a new one is written there first"
            )));
        }
    }
    if old == new {
        let text = format!("`{old}` cannot be replaced by itself; name another");
        return Err(Refused::Unfit(text));
    }
    for name in syncs {
        let path = config.path.display();
        let unknown = || Refused::Unknown(format!("there is no sync `{name}` in `{path}`"));
        let has = &config.sync(name).ok_or_else(unknown)?.sync.connection;
        if has != old {
            return Err(Refused::Unfit(format!(
                "`{name}` has the connection `{has}` and not `{old}`; leave it out"
            )));
        }
    }
    let is_meant = |name: &str, of: Option<&str>| match group {
        Some(group) => of == Some(group),
        None => syncs.is_empty() || syncs.iter().any(|meant| meant == name),
    };
    let of_old = config.syncs.iter().filter(|sync| sync.sync.connection == *old);
    let meant = of_old.filter(|sync| is_meant(&sync.sync.name, sync.group.as_deref()));
    let syncs: Vec<String> = meant.map(|sync| sync.sync.name.clone()).collect();
    if syncs.is_empty() {
        return Err(Refused::Unfit(format!(
            "none of the syncs that are meant has the connection `{old}`; nothing was replaced"
        )));
    }
    let text = rewrite::replace_connection(text, &syncs, old, new).map_err(Refused::Unfit)?;
    Ok(Plan { syncs, text })
}

/// Why, as the runs that are stopped and the audit say it.
pub fn why(asked: &Asked, message: Option<&str>) -> String {
    let Asked { old, new, .. } = asked;
    let message = message.map_or(String::new(), |message| format!(": {message}"));
    format!("connection `{old}` replaced by `{new}`{message}")
}

/// What is said where the file could not be rewritten, and how it is done all the same.
pub fn unwritten(file: &Path, error: &io::Error) -> String {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    /// Where the file may be read and not written, as in a container: no repetition does better.
    const NEVER: [io::ErrorKind; 4] =
        [PermissionDenied, ReadOnlyFilesystem, ResourceBusy, CrossesDevices];
    let file = file.display();
    let remedy = if NEVER.contains(&error.kind()) {
        "change `connection:` of the syncs in the file yourself, and once it runs say `counterflow rebaseline SYNC -m WHY` \
         of each, or `counterflow sync SYNC --keep-snapshot` where the other account holds the same"
    } else {
        "try again"
    };
    format!("`{file}` was not rewritten: {error}; nothing was replaced, {remedy}")
}

/// The word of the audit log.
pub fn command(asked: &Asked) -> &'static str {
    match asked.keeps_snapshot {
        true => "connection replace --keep-snapshot",
        false => "connection replace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_written_is_named_with_a_way_that_does_not_write_it() {
        /// EIO, EACCES, EBUSY, EXDEV and EROFS of every Unix that is supported.
        const KINDS: [(i32, bool); 5] =
            [(5, true), (13, false), (16, false), (18, false), (30, false)];
        for (number, is_worth_another_try) in KINDS {
            let error = io::Error::from_raw_os_error(number);
            let text = unwritten(Path::new("/etc/counterflow.yaml"), &error);
            assert!(
                text.contains("/etc/counterflow.yaml") && text.contains("nothing was"),
                "{text}"
            );
            assert_eq!(text.contains("try again"), is_worth_another_try, "{text}");
            let is_told = text.contains("`connection:`") && text.contains("rebaseline");
            assert_eq!(is_told, !is_worth_another_try, "{text}");
        }
    }
}
