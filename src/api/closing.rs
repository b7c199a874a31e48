//! What is still answered while the server shuts down.
//!
//! Invariants: no command is taken in but to stop what goes; once the state is closed, only the probes answer, and they do
//! until the listener is gone.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::Problem;
use crate::control::handle::{Readiness, Refused};

/// What needs no state.
const PROBES: [&str; 3] = ["/health", "/ready", "/version"];

/// Lets a request through that can still be granted.
pub async fn while_open(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_question = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let is_stop = path.ends_with("/stop");
    let is_draining = app.handle.readiness() == Readiness::Draining;
    let is_late = app.store.is_closed() || (is_draining && !is_question && !is_stop);
    if is_late && !PROBES.contains(&path) {
        return Problem::from(Refused::Draining).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::serve;
    use crate::shutdown::Tasks;

    #[tokio::test]
    async fn once_the_state_is_closed_only_the_probes_answer() {
        let folder = tempfile::tempdir().unwrap();
        let app = crate::api::tests::app(folder.path()).await;
        let store = app.store.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Tasks::default();
        let (_apps, app) = tokio::sync::watch::channel(app);
        tasks.spawn(serve(app, listener, address, std::future::pending()));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        let client = client.build().unwrap();
        let status = async |path: &str| {
            let asked = client.get(format!("http://{address}{path}")).send().await;
            asked.unwrap().status().as_u16()
        };
        assert_eq!((status("/api/v1/runs").await, status("/health").await), (200, 200));
        store.close().await;
        assert_eq!((status("/api/v1/runs").await, status("/v2/nothing").await), (503, 503));
        assert_eq!((status("/health").await, status("/version").await), (200, 200));
        assert_eq!(status("/ready").await, 503);
    }
}
