//! The backlog of a sync, and the decision that what waits while it is paused shall not be sent.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::command::By;
use super::extract::{FromBody, FromPath};
use super::problem::Problem;
use super::reason::said;
use super::routes::{Route, Routes};
use crate::control::discarding::{self, Decision};
use crate::control::pausing::paused;
use crate::engine::backlog::Backlog;
use crate::engine::run::now;
use crate::store::Scope;

/// The paths of backlogs.
pub fn routes(routes: Routes) -> Routes {
    let count = Route::get(
        "/api/v1/syncs/{sync}/backlog",
        "backlog",
        "Count what waits while the sync is paused; the model is read for it",
    );
    let discard = Route::post(
        Scope::Write,
        "/api/v1/syncs/{sync}/discard-backlog",
        "discard_backlog",
        "Decide that what waits shall never be sent",
    );
    routes.add(count.json::<OfSync>(200, "What waits"), get(self::count)).add(
        discard.needed_body::<Asked>().json::<OfSync>(200, "It is discarded"),
        post(self::discard),
    )
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DiscardRequest", extend("required" = ["shown", "message"]))]
struct Asked {
    /// What was shown: no more than that is discarded.
    #[serde(default)]
    #[schemars(with = "Backlog")]
    shown: Option<Backlog>,
    /// Why.
    #[serde(default)]
    #[schemars(extend("pattern" = r"[^\s\x00-\x1f\x7f-\x9f]"))]
    message: String,
}

/// How much waits of one sync.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BacklogOfSync")]
struct OfSync {
    sync: String,
    is_discarded: bool,
    #[serde(flatten)]
    backlog: Backlog,
}

/// Counts the backlog of a paused sync.
async fn count(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
) -> Result<Json<OfSync>, Problem> {
    check_paused(&app, &sync).await?;
    let backlog = discarding::backlog(&app.samples, &app.store, &sync, None).await??;
    Ok(Json(OfSync { sync, is_discarded: false, backlog }))
}

/// Discards the backlog of a paused sync, as far as it was shown.
async fn discard(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    FromBody(Asked { shown, message }): FromBody<Asked>,
) -> Result<Json<OfSync>, Problem> {
    let message = said(message)?;
    let Some(shown) = shown else {
        let detail = format!(
            "`shown` says nothing; send what `GET /api/v1/syncs/{sync}/backlog` counts, as in `{{\"changes\": 3}}`"
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    check_paused(&app, &sync).await?;
    let decision = Some(Decision { shown, message, who });
    let backlog = discarding::backlog(&app.samples, &store, &sync, decision).await??;
    Ok(Json(OfSync { sync, is_discarded: true, backlog }))
}

async fn check_paused(app: &App, sync: &str) -> Result<(), Problem> {
    let configured = app.config.sync(sync).ok_or_else(|| Problem::no_sync(sync))?.paused;
    if paused(sync, app.store.pause(sync).await?, configured, now()).is_none() {
        let detail = format!("`{sync}` is not paused; pause it before its backlog is discarded");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(())
}
