//! Whether a connection works: its address, its TLS, and its credentials as far as they can be tested; and whether the disk has
//! the room that the runs of a sync need.

use std::path::Path;

use serde::Serialize;

use super::disk_need::{self, Room, Runs};
use super::{prepare, report};
use crate::destination::definition::Connection;
use crate::destination::http::identify;
use crate::domain::kind::Kind;
use crate::domain::sync::Sync;
use crate::snapshot::View;
use crate::snapshot::disk::LocalDisk;

/// What a test of a connection found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tested {
    pub connection: String,
    /// Scheme, host and port: a path may hold a secret.
    pub address: String,
    pub is_well: bool,
    /// That the API named; only where the connection says `identify:`.
    pub account: Option<String>,
    /// Whether the credentials were tried.
    pub is_authorised: Option<bool>,
    /// A status, or a word such as `connect`.
    pub code: Option<String>,
    /// What was found, in words, with what to do.
    pub message: String,
}

/// Tests a connection with one question, which changes nothing. Without `identify:` the credentials are not sent, and said
/// to be untested.
pub async fn test(connection: &Connection) -> Tested {
    let address = report::address(&connection.base_url).to_owned();
    let name = connection.name.clone();
    let asked = match &connection.identify {
        Some(identify) => {
            identify::account(connection, identify).await.map(|(account, _)| Ok(account))
        }
        None => identify::reach(connection).await.map(Err),
    };
    let tested = Tested {
        connection: name,
        address,
        is_well: asked.is_ok(),
        account: None,
        is_authorised: None,
        code: None,
        message: String::new(),
    };
    match asked {
        Ok(Ok(account)) => Tested {
            message: format!("the credentials are for account `{account}`"),
            account: Some(account),
            is_authorised: Some(true),
            ..tested
        },
        Ok(Err(status)) => Tested {
            message:
                "it answers; the credentials were not tested, as the connection says no `identify:`"
                    .to_owned(),
            code: Some(status.to_string()),
            ..tested
        },
        Err(fault) => Tested {
            is_authorised: matches!(fault.code.as_str(), "401" | "403").then_some(false),
            message: format!("{}; {}", fault.message, remedy(&fault.code)),
            code: Some(fault.code),
            ..tested
        },
    }
}

/// What a look at the disk of a sync's snapshot found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    pub sync: String,
    /// There is room for its next run, as far as that is known.
    pub is_well: bool,
    /// `None` where the snapshot cannot be read.
    pub room: Option<Room>,
    /// What a full run needs, if the next one is none.
    pub needed_in_full_bytes: Option<u64>,
    /// What was found, in words, with what to do.
    pub message: String,
}

/// Looks at the disk of the sync's snapshot, for runs in batches of so many records that read the files of the last one. Blocks.
pub fn look(state: &Path, sync: &Sync, batch: u32, memory_limit: u64) -> Looked {
    let (has_primary, sync) = (sync.has_other_key(), sync.name.as_str());
    let disk = LocalDisk::existing(prepare::folder(state, sync));
    let looked = Looked {
        sync: sync.to_owned(),
        is_well: false,
        room: None,
        needed_in_full_bytes: None,
        message: String::new(),
    };
    let view = match View::read(&disk, sync) {
        Ok(view) => view,
        Err(error) => return Looked { message: error.to_string(), ..looked },
    };
    let view = view.as_ref();
    let baseline = view.and_then(|view| view.header().baseline.as_ref());
    let read = baseline.map_or(0, |baseline| disk_need::bytes(&baseline.files));
    let runs = Runs { state, sync, view, batch, memory_limit, has_primary, read };
    let is_full = view.is_none_or(|view| view.header().is_epoch_open);
    let next = runs.room(if is_full { Kind::Full } else { Kind::Incremental });
    let full = (!is_full).then(|| runs.room(Kind::Full));
    let mut message = next.to_string();
    if let Some(full) = &full {
        message += &format!(", one in full {} MiB", full.needed_mebibytes());
    }
    let checked = next.clone().check();
    if let Err(error) = &checked {
        message = error.to_string();
    }
    Looked {
        is_well: checked.is_ok(),
        needed_in_full_bytes: full.map(|full| full.needed_bytes),
        room: Some(next),
        message,
        ..looked
    }
}

fn remedy(code: &str) -> &'static str {
    match code {
        "no_account" | "404" | "410" => "correct `identify`",
        code => report::remedy(code),
    }
}
