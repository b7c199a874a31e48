//! The shapes of documents that are put together elsewhere, for the OpenAPI document alone; a test holds them against
//! real ones.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::document::{DisabledSource, Discarded, Pause, Run, RunningConfig};
use crate::domain::guard::HoldCause;
use crate::domain::id::RunId;
use crate::domain::priority::Priority;
use crate::domain::status::Word;

/// A status in the words that are the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusWord(pub Word);

impl StatusWord {
    pub const ALL: [Word; 8] = [
        Word::ServerReinitializing,
        Word::Unknown,
        Word::Disabled,
        Word::Restarting,
        Word::InQueue,
        Word::Failed,
        Word::Running,
        Word::Idle,
    ];
}

impl Serialize for StatusWord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for StatusWord {
    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<String> = StatusWord::ALL.iter().map(ToString::to_string).collect();
        json_schema!({ "type": "string", "enum": words })
    }
}

/// Where a sync stands, as `status` has it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Sync")]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Standing {
    sync: String,
    mode: String,
    status: StatusWord,
    status_reason: String,
    is_paused: bool,
    is_paused_in_config: bool,
    /// The last pause or resume, unless the config has overruled it.
    pause: Option<Pause>,
    /// Its source, where that is disabled and the sync not paused.
    disabled_source: Option<DisabledSource>,
    group: Option<String>,
    priority: Priority,
    /// The last that ended.
    last_run: Option<Run>,
    unfinished: Vec<Run>,
    /// When its backlog was last discarded.
    discarded_backlog: Option<Discarded>,
    /// Whether a process has the state.
    has_owner: bool,
    store_error: Option<String>,
    /// Keys that the destination is known to hold, or may hold.
    entries: Option<u64>,
    is_epoch_open: Option<bool>,
    /// Deletes that wait for a person.
    hold: Option<Hold>,
    snapshot_error: Option<String>,
    /// The sync whose success starts it.
    after: Option<String>,
    /// When it runs next, by the clock of the schedule's zone.
    next: Vec<String>,
    config: RunningConfig,
}

#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Hold {
    /// The last run that held them.
    run: RunId,
    keys: u64,
    causes: Vec<HoldCause>,
}
