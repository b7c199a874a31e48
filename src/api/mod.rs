//! The HTTP interface: questions and commands on a loopback address.
//!
//! Not responsible for what a command does (`control`), nor for how the documents look on the command line, which
//! prints the same ones. Invariants: every answer but a success is a problem (RFC 9457) that names the remedy; body, time
//! and connections have a bound; only requests that name this machine are heard.

mod access;
pub mod document;
pub mod groups;
mod listener;
mod probes;
mod problem;
mod reload;
mod runs;
pub mod sources;
pub mod status;
mod syncs;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::control::handle::Handle;
use crate::store::Store;
use listener::Bounded;
use problem::Problem;

/// Bytes of a request's body.
const BODY: usize = 64 << 10;

/// What answers are made from.
#[derive(Debug, Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub store: Store,
    pub handle: Handle,
}

/// Serves until `end`, and then until every request is answered; each by what `apps` has when it comes.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    apps: watch::Receiver<App>,
    listener: TcpListener,
    address: SocketAddr,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(Bounded::new(listener), reload::latest(apps, address))
        .with_graceful_shutdown(end)
        .await
}

/// All paths. `address`: where the server listens.
pub fn router(app: App, address: SocketAddr) -> Router {
    Router::new()
        .route("/health", get(probes::health))
        .route("/ready", get(probes::ready))
        .route("/version", get(probes::version))
        .route("/api/v1/syncs", get(syncs::list))
        .route("/api/v1/syncs/{sync}", get(syncs::one))
        .route("/api/v1/syncs/{sync}/run", post(syncs::run))
        .route("/api/v1/syncs/{sync}/stop", post(syncs::stop))
        .route("/api/v1/syncs/{sync}/pause", post(syncs::pause))
        .route("/api/v1/syncs/{sync}/resume", post(syncs::resume))
        .route("/api/v1/connections", get(syncs::connections))
        .route("/api/v1/groups", get(groups::list))
        .route("/api/v1/groups/{group}", get(groups::one))
        .route("/api/v1/groups/{group}/start", post(groups::start))
        .route("/api/v1/groups/{group}/stop", post(groups::stop))
        .route("/api/v1/sources", get(sources::list))
        .route("/api/v1/sources/{source}", get(sources::one))
        .route("/api/v1/sources/{source}/disable", post(sources::disable))
        .route("/api/v1/sources/{source}/enable", post(sources::enable))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{run}", get(runs::one))
        .fallback(|| async { Problem::no_path() })
        .method_not_allowed_fallback(|| async { Problem::no_method() })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(access::in_time))
        .layer(from_fn(move |request, next| access::to_us(address, request, next)))
        .with_state(app)
}
