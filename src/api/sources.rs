//! Sources: whether each is disabled and by whom, and the commands that change it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::command::By;
use super::extract::{FromBody, FromPath, FromQuery};
use super::paging::Asked;
use super::problem::Problem;
use super::reason::{Why, said};
use super::routes::{Route, Routes};
use super::runs::Page;
use super::{App, document};
use crate::config::Config;
use crate::domain::id::RunId;
use crate::engine::run::now;
use crate::store::{DisabledSource, Scope};

/// The paths of sources.
pub fn routes(routes: Routes) -> Routes {
    let list_all = Route::get("/api/v1/sources", "sources", "Every source");
    let one = Route::get("/api/v1/sources/{source}", "source", "One source");
    let disable = Route::post(
        Scope::Write,
        "/api/v1/sources/{source}/disable",
        "disable_source",
        "Have no sync read it",
    );
    let enable = Route::post(
        Scope::Write,
        "/api/v1/sources/{source}/enable",
        "enable_source",
        "Have syncs read it again",
    );
    routes
        .add(
            list_all.query::<Asked>().json::<Vec<Source>>(200, "A page of sources, by name"),
            get(list),
        )
        .add(one.json::<Source>(200, "The source"), get(self::one))
        .add(
            disable
                .needed_body::<Why>()
                .json::<Changed>(200, "It is disabled")
                .json::<Changed>(202, "It is disabled, and runs drain"),
            post(self::disable),
        )
        .add(
            enable.needed_body::<Why>().json::<Changed>(200, "It is not disabled"),
            post(self::enable),
        )
}

/// A source, and whether it is disabled.
#[derive(Debug, Serialize, JsonSchema)]
struct Source {
    source: String,
    is_disabled: bool,
    disabled: Option<document::DisabledSource>,
    /// That read it.
    syncs: Vec<String>,
}

/// What a command came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SourceChanged")]
struct Changed {
    #[serde(flatten)]
    source: Source,
    /// It was not so before.
    is_changed: bool,
    /// Those that drain: the oldest of each sync that reads it.
    runs: Vec<RunId>,
}

/// Every source, and whether it is disabled, a page at a time.
async fn list(
    State(app): State<App>,
    FromQuery(asked): FromQuery<Asked>,
) -> Result<Page<Source>, Problem> {
    let sources = app.config.sources.keys().map(String::as_str);
    let page = asked.of("/api/v1/sources", sources, |name| name, no_source)?;
    let disabled = app.store.disabled_sources().await?;
    let documents = page.items.iter().map(|name| shown(&app.config, name, disabled.get(*name)));
    let documents = documents.collect();
    Ok(page.answer(documents))
}

/// One source.
async fn one(
    State(app): State<App>,
    FromPath(source): FromPath<String>,
) -> Result<Json<Source>, Problem> {
    Ok(Json(found(&app, &source).await?))
}

/// Disables the source: what its syncs have in flight is finished, and none of them runs. 202 while something drains, else
/// 200. One that is disabled stays as it is.
async fn disable(
    State(app): State<App>,
    FromPath(source): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Response, Problem> {
    let Source { syncs, .. } = found(&app, &source).await?;
    let message = said(message)?;
    let next = DisabledSource { source: source.clone(), message, who, at: now() };
    let syncs: Vec<&str> = syncs.iter().map(String::as_str).collect();
    let runs = store.disable_source(&next, &syncs).await?;
    let is_changed = runs.is_some();
    let runs = runs.unwrap_or_default();
    let status = if runs.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let source = found(&app, &source).await?;
    Ok((status, Json(Changed { source, is_changed, runs })).into_response())
}

/// Enables the source: the schedules of its syncs go on. One that is not disabled stays as it is.
async fn enable(
    State(app): State<App>,
    FromPath(source): FromPath<String>,
    Extension(By { who, store }): Extension<By>,
    FromBody(Why { message }): FromBody<Why>,
) -> Result<Json<Changed>, Problem> {
    found(&app, &source).await?;
    let message = said(message)?;
    let is_changed = store.enable_source(&source, &message, &who, now()).await?;
    let source = found(&app, &source).await?;
    Ok(Json(Changed { source, is_changed, runs: Vec::new() }))
}

async fn found(app: &App, source: &str) -> Result<Source, Problem> {
    if !app.config.sources.contains_key(source) {
        return Err(no_source(source));
    }
    let disabled = app.store.disabled_sources().await?;
    Ok(shown(&app.config, source, disabled.get(source)))
}

fn no_source(name: &str) -> Problem {
    let detail =
        format!("there is no source `{name}`; `GET /api/v1/sources` lists those there are");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn shown(config: &Config, source: &str, disabled: Option<&DisabledSource>) -> Source {
    Source {
        source: source.to_owned(),
        is_disabled: disabled.is_some(),
        disabled: disabled.map(document::DisabledSource::from),
        syncs: config.readers_of(source).map(|sync| sync.sync.name.clone()).collect(),
    }
}
