use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::document;
use super::problem::Problem;
use crate::domain::id::RunId;
use crate::store;

/// Runs of one answer, where the question does not say.
const LIMIT: u32 = 20;
const MOST: u32 = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    sync: Option<String>,
    limit: Option<u32>,
    /// Runs before this one, for the next page.
    before: Option<u64>,
}

/// Runs, the newest first.
pub async fn list(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Asked { sync, limit, before }) = asked?;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        let detail =
            format!("`limit` is {limit}; ask for 1 to {MOST} runs, and for more by `before`");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let rows = app.store.runs(sync.as_deref(), limit, before.map(RunId)).await?;
    if let (true, Some(sync)) = (rows.is_empty(), &sync)
        && app.config.sync(sync).is_none()
    {
        return Err(Problem::no_sync(sync));
    }
    Ok(Json(rows.iter().map(document::run).collect()))
}

/// One run; with its report, if it ended in this process.
pub async fn one(
    State(app): State<App>,
    run: Result<Path<u64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let run = RunId(run?.0);
    // The report comes after the end is stored: asked for first, it never lacks beside an end for good.
    let report = app.handle.report(run);
    let row = app.store.run(run).await?.ok_or(store::Error::NoRun(run))?;
    let mut document = document::run(&row);
    document["is_ended"] = json!(row.phase.is_ended());
    // Not part of a report, but needed by whoever turns it into an exit code.
    document["is_config_fault"] = json!(report.as_ref().map(|report| report.is_config_fault));
    document["report"] = json!(report);
    Ok(Json(document))
}
