//! Connections and groups: their status over their syncs.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::extract::FromPath;
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::shape::StatusWord;
use super::syncs::standings;
use crate::config::SyncConfig;
use crate::domain::status::status;
use axum::http::StatusCode;

/// The paths of connections and groups.
pub fn routes(routes: Routes) -> Routes {
    let one = Route::get("/api/v1/connections/{connection}", "connection", "One connection");
    routes
        .add(
            Route::get("/api/v1/connections", "connections", "Every connection over its syncs")
                .json::<Vec<Connection>>(200, "All connections, by name"),
            get(list),
        )
        .add(one.json::<Connection>(200, "The connection"), get(self::one))
}

/// A connection: a group whose members are the syncs that use it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Connection {
    connection: String,
    status: StatusWord,
    status_reason: String,
    syncs: Vec<String>,
}

async fn list(State(app): State<App>) -> Json<Vec<Connection>> {
    Json(documents(&app).await)
}

async fn one(
    State(app): State<App>,
    FromPath(name): FromPath<String>,
) -> Result<Json<Connection>, Problem> {
    if !app.config.connections.contains_key(&name) {
        let detail = format!(
            "there is no connection `{name}`; `GET /api/v1/connections` lists those there are"
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(Json(document(&app, &name).await))
}

/// All connections.
pub async fn documents(app: &App) -> Vec<Connection> {
    let mut documents = Vec::new();
    for name in app.config.connections.keys() {
        documents.push(document(app, name).await);
    }
    documents
}

async fn document(app: &App, name: &str) -> Connection {
    let is_member = |sync: &&SyncConfig| sync.sync.connection == name;
    let syncs: Vec<&SyncConfig> = app.config.syncs.iter().filter(is_member).collect();
    let facts: Vec<_> =
        standings(app, &syncs).await.into_iter().map(|status| status.facts).collect();
    let status = status(&facts);
    Connection {
        connection: name.to_owned(),
        status: StatusWord(status.word),
        status_reason: status.reason,
        syncs: syncs.iter().map(|sync| sync.sync.name.clone()).collect(),
    }
}
