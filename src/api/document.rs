//! The documents that both the API and the command line show.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::id::RunId;
use crate::domain::kind::{Kind, KindReason};
use crate::domain::run::{Phase, Trigger};
use crate::domain::tally::Tally;
use crate::store::{self, RunRow};

/// One run with all that is stored of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Run {
    pub run: RunId,
    pub sync: String,
    pub trigger: Trigger,
    /// `null` until the snapshot has been asked.
    pub kind: Option<Kind>,
    pub reason: Option<KindReason>,
    /// The run that left nothing to do, where this one was skipped as nothing has changed since.
    pub unchanged_since: Option<RunId>,
    /// The version of the table then, where the model reads one table that counts its versions.
    pub unchanged_version: Option<u64>,
    /// Why the bound of the model's cursor did not move; `null` where it did, or there is none.
    pub bound_stays: Option<String>,
    pub phase: PhaseWord,
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    #[schemars(extend("format" = "date-time"))]
    pub finished_at: Option<String>,
    pub tally: Tally,
    pub error: Option<String>,
    pub stopped_by: Option<String>,
    pub stop_message: Option<String>,
    /// Of the config that it began with; `null` while it waits, and where an older version made it.
    pub revision: Option<String>,
}

impl From<&RunRow> for Run {
    fn from(row: &RunRow) -> Run {
        Run {
            run: row.id,
            sync: row.sync.clone(),
            trigger: row.trigger,
            kind: row.choice.map(|choice| choice.kind),
            reason: row.choice.map(|choice| choice.reason),
            unchanged_since: row.choice.and_then(|choice| choice.unchanged_since),
            unchanged_version: row.choice.and_then(|choice| choice.unchanged_version),
            bound_stays: row
                .choice
                .and_then(|choice| choice.bound_stays)
                .map(|why| why.to_string()),
            phase: PhaseWord(row.phase),
            started_at: row.started_at.to_string(),
            finished_at: row.finished_at.map(|at| at.to_string()),
            tally: row.tally,
            error: row.error.clone(),
            stopped_by: row.stop.as_ref().map(|stop| stop.who.clone()),
            stop_message: row.stop.as_ref().and_then(|stop| stop.message.clone()),
            revision: row.revision.clone(),
        }
    }
}

/// A phase, or how it ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseWord(pub Phase);

impl Serialize for PhaseWord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PhaseWord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<PhaseWord, D::Error> {
        let word = String::deserialize(deserializer)?;
        let phase = Phase::all().find(|phase| phase.to_string() == word);
        phase.map(PhaseWord).ok_or_else(|| {
            let words: Vec<String> = Phase::all().map(|phase| format!("`{phase}`")).collect();
            serde::de::Error::custom(format!(
                "`{word}` is no phase; use one of {}",
                words.join(", ")
            ))
        })
    }
}

impl JsonSchema for PhaseWord {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Phase".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<String> = Phase::all().map(|phase| phase.to_string()).collect();
        json_schema!({ "type": "string", "enum": words })
    }
}

/// The config that runs; the file's own where no server does.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunningConfig {
    pub revision: String,
    /// When a server put it in place.
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// Why the file as it is now does not run.
    pub warning: Option<String>,
}

/// A pause or a resume that stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Pause {
    pub is_paused: bool,
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// When it ends by itself.
    #[schemars(extend("format" = "date-time"))]
    pub until: Option<String>,
    pub who: String,
    pub message: Option<String>,
}

impl From<&store::Pause> for Pause {
    fn from(pause: &store::Pause) -> Pause {
        Pause {
            is_paused: pause.is_paused,
            since: pause.at.to_string(),
            until: pause.until.map(|until| until.to_string()),
            who: pause.who.clone(),
            message: pause.message.clone(),
        }
    }
}

/// A source that is disabled.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DisabledSource {
    pub source: String,
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    pub who: String,
    pub message: String,
}

impl From<&store::DisabledSource> for DisabledSource {
    fn from(disabled: &store::DisabledSource) -> DisabledSource {
        let store::DisabledSource { source, message, who, at } = disabled.clone();
        DisabledSource { source, since: at.to_string(), who, message }
    }
}

/// When the backlog of a sync was last discarded, and why.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Discarded {
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    pub who: String,
    pub message: Option<String>,
}

/// The document of a backlog that was discarded.
pub fn discarded(audited: &store::Audited) -> Value {
    let store::Audited { at, who, message, .. } = audited.clone();
    json(Discarded { at: at.to_string(), who, message })
}

/// The document of a run.
pub fn run(run: &RunRow) -> Value {
    json(Run::from(run))
}

/// The document of a pause or a resume.
pub fn pause(pause: &store::Pause) -> Value {
    json(Pause::from(pause))
}

/// The document of a source that is disabled.
pub fn source(disabled: &store::DisabledSource) -> Value {
    json(DisabledSource::from(disabled))
}

/// A document as a value.
pub fn json(document: impl Serialize) -> Value {
    serde_json::to_value(document).expect("documents are plain data and always JSON")
}

/// The error and its causes in one line; a cause that its effect has quoted already is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
