//! The command to send chosen rows of a sync.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::App;
use super::command::{By, Held};
use super::extract::{FromBody, FromPath};
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::syncs::Queued;
use crate::control::handle::Accepted;
use crate::control::sampling;
use crate::domain::chosen::Chosen;
use crate::domain::message::one_line;
use crate::domain::whole::maybe_whole;
use crate::store::Scope;

/// The path of samples.
pub fn routes(routes: Routes) -> Routes {
    let sample = Route::post(
        Scope::Run,
        "/api/v1/syncs/{sync}/sample",
        "sample_sync",
        "Send chosen rows, whatever the delta says",
    );
    routes.add(
        sample.needed_body::<Rows>().json::<Queued>(202, "The run that will answer it is durable"),
        post(begin),
    )
}

/// The rows, as they are described: `limit`, `where` or both, or `keys`; and why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rows {
    #[serde(deserialize_with = "maybe_whole")]
    limit: Option<u64>,
    #[serde(rename = "where")]
    condition: Option<String>,
    keys: Option<BTreeSet<String>>,
    message: Option<String>,
}

impl JsonSchema for Rows {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SampleRequest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "limit": {
                    "description": "So many rows at most; which, is open.",
                    "type": ["integer", "null"], "minimum": 1, "maximum": u64::MAX,
                },
                "where": {
                    "description": "SQL over one row of the model.",
                    "type": ["string", "null"], "pattern": r"[^\s\x00-\x1f\x7f-\x9f]",
                },
                "keys": {
                    "description": "Delivered keys, as they are shown.",
                    "type": ["array", "null"], "minItems": 1, "items": { "type": "string" },
                },
                "message": { "description": "Why, for the audit log.", "type": ["string", "null"] },
            },
            "oneOf": [
                {
                    "required": ["keys"],
                    "properties": {
                        "keys": { "type": "array" },
                        "limit": { "type": "null" },
                        "where": { "type": "null" },
                    },
                },
                {
                    "anyOf": [
                        { "required": ["limit"], "properties": { "limit": { "type": "integer" } } },
                        { "required": ["where"], "properties": { "where": { "type": "string" } } },
                    ],
                    "properties": { "keys": { "type": "null" } },
                },
            ],
        })
    }
}

/// Sends the rows that the body chooses, whatever the delta says, also while the sync is paused: 202 once the run is
/// durable.
async fn begin(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(by): Extension<By>,
    Extension(held): Extension<Held>,
    FromBody(Rows { limit, condition, keys, message }): FromBody<Rows>,
) -> Result<Queued, Problem> {
    let chosen = Chosen { limit, keys, condition };
    if app.config.sync(&sync).is_none() {
        return Err(Problem::no_sync(&sync));
    }
    sampling::check(&chosen)
        .map_err(|fault| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, fault))?;
    let given = by.given(message.as_deref().and_then(one_line));
    let run = app.samples.begin(&sync, chosen, given, held).await?;
    Ok(Queued::new(sync, Accepted { run, is_joined: false }))
}
