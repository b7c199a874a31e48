//! The command to remove what is left of a sync that is no longer in the config.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::{By, Held};
use super::extract::{FromBody, FromPath};
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::{App, document};
use crate::domain::message::one_line;
use crate::engine::forgetting::{self, Left};
use crate::store::Scope;

/// The path of forgetting.
pub fn routes(routes: Routes) -> Routes {
    let forget = Route::post(
        Scope::Admin,
        "/api/v1/syncs/{sync}/forget",
        "forget_sync",
        "Remove what is left of a sync that is no longer in the config",
    );
    routes.add(forget.body::<Asked>().json::<Forgotten>(200, "It is gone"), post(self::forget))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ForgetRequest")]
struct Asked {
    /// Why.
    message: Option<String>,
}

/// What was removed.
#[derive(Debug, Serialize, JsonSchema)]
struct Forgotten {
    sync: String,
    removed: Left,
}

/// Forgets the sync: 404 where nothing is known of it, 409 while it is in the config or a run of it goes.
async fn forget(
    State(app): State<App>,
    FromPath(sync): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    Extension(held): Extension<Held>,
    FromBody(Asked { message }): FromBody<Asked>,
) -> Result<Json<Forgotten>, Problem> {
    let refuse = |status, detail: String| Err(Problem::new(status, detail));
    if app.config.sync(&sync).is_some() {
        let detail = format!("`{sync}` is in the config; take it out of there first");
        return refuse(StatusCode::CONFLICT, detail);
    }
    app.samples.check_ready()?;
    let engine = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, document::chain(&error));
    let state = app.config.state.clone();
    if forgetting::left(&store, &state, &sync).await.map_err(engine)?.is_nothing() {
        let detail =
            format!("nothing is known of a sync `{sync}`; `GET /api/v1/runs` lists what ran");
        return refuse(StatusCode::NOT_FOUND, detail);
    }
    let turn = app.samples.turns().take_unless_working(&sync).await;
    let unfinished = store.rows_of(&sync).await?.unfinished;
    let Some(turn) = turn.filter(|_| unfinished == 0) else {
        let detail = format!("a run of `{sync}` has not ended; stop it, and ask again");
        return refuse(StatusCode::CONFLICT, detail);
    };
    let (message, name) = (message.as_deref().and_then(one_line), sync.clone());
    let work = async move || {
        // It goes on though nobody waits for it any more, and so long its key is in use.
        let _held = (held, turn);
        forgetting::forget(&store, &state, &name, message.as_deref(), &who).await
    };
    let gone = app.samples.threads().run(work).await?;
    Ok(Json(Forgotten { sync, removed: gone.map_err(engine)? }))
}
