//! The HTTP interface: questions and commands.
//!
//! Every path is one entry of `routes` and one function in the file of its resource. A request passes, in this order:
//! `access` (is it for us, in time), `closing` (are we on our way out), `gate` (who asks, how often, may they), `command`
//! (once, audited), the function.
//!
//! Not responsible for what a command does (`control`), nor for how the documents look on the command line, which
//! prints the same ones. Invariants: every answer but a success is a problem (RFC 9457) that names the remedy; body,
//! headers, time, connections, watchers and requests in a second have a bound; only requests that name this machine are
//! heard.

mod access;
mod audit;
pub mod backlog;
mod closing;
mod command;
mod connections;
pub mod decisions;
pub mod document;
mod events;
mod extract;
mod forget;
mod gate;
pub mod groups;
mod listener;
mod metrics;
mod openapi;
mod paging;
pub mod probes;
mod problem;
mod reason;
mod reload;
pub mod replace;
mod routes;
mod runs;
mod sample;
mod shape;
mod sources;
pub mod status;
mod syncs;
pub mod token;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::config::Config;
use crate::control::discarding::Counts;
use crate::control::handle::Handle;
use crate::control::sampling::Samples;
use crate::domain::id::Instant;
use crate::engine::run::now;
use crate::shutdown::Shutdown;
use crate::snapshot::Glances;
use crate::store::Store;
use access::Names;
pub use audit::Entry;
use command::Keys;
pub use command::{KEY, LONGEST_KEY, USER, is_key};
use document::RunningConfig;
use gate::Gate;
use listener::Bounded;
use metrics::Statuses;
use problem::Problem;
use routes::Routes;

/// Bytes of a request's body.
const BODY: usize = 64 << 10;

/// What answers are made from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub store: Store,
    pub handle: Handle,
    pub samples: Samples,
    /// Reached when the server closes its connections.
    closing: Shutdown,
    started_at: Instant,
    gate: Arc<Gate>,
    keys: Keys,
    watchers: Arc<Semaphore>,
    /// Held while connections are replaced: the config file is read, decided about and rewritten by one at a time.
    replacing: Arc<Mutex<()>>,
    counts: Counts,
    statuses: Arc<Statuses>,
    glances: Glances,
    /// The OpenAPI document.
    paths: Arc<Value>,
}

impl App {
    /// `closing` is raised when connections are to end.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        handle: Handle,
        samples: Samples,
        closing: Shutdown,
    ) -> App {
        let routes = all();
        let is_loopback = config.server.listen.ip().is_loopback();
        App {
            gate: Arc::new(Gate::new(routes.scopes(), config.server.rate, is_loopback)),
            paths: Arc::new(openapi::document(&routes.all)),
            started_at: now(),
            keys: Keys::default(),
            watchers: Arc::new(Semaphore::new(events::WATCHERS)),
            replacing: Arc::default(),
            statuses: Arc::default(),
            glances: Glances::default(),
            counts: Counts::on(samples.threads().clone()),
            config,
            store,
            handle,
            samples,
            closing,
        }
    }

    /// The config that runs.
    pub(crate) fn running_config(&self) -> RunningConfig {
        let known = self.handle.config();
        RunningConfig {
            revision: self.config.content.revision.clone(),
            since: known.as_ref().map(|known| known.since.to_string()),
            warning: known.and_then(|known| known.warning),
        }
    }
}

/// Every path.
fn all() -> Routes {
    Routes::default()
        .with(probes::routes)
        .with(metrics::routes)
        .with(syncs::routes)
        .with(sample::routes)
        .with(backlog::routes)
        .with(forget::routes)
        .with(decisions::routes)
        .with(connections::routes)
        .with(replace::routes)
        .with(groups::routes)
        .with(sources::routes)
        .with(reload::routes)
        .with(runs::routes)
        .with(events::routes)
        .with(audit::routes)
        .with(openapi::routes)
        .with(wire::routes)
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
    let names = Names { ours: address.ip(), hosts: app.config.server.hosts.clone() };
    let names = Arc::new(names);
    all()
        .router
        .fallback(|| async { Problem::no_path() })
        .method_not_allowed_fallback(|| async { Problem::no_method() })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(app.clone(), command::carried_out))
        .layer(from_fn_with_state(app.clone(), gate::guard))
        .layer(from_fn_with_state(app.clone(), closing::while_open))
        .layer(from_fn(access::in_time))
        .layer(from_fn(move |request, next| access::to_us(Arc::clone(&names), request, next)))
        .layer(from_fn(wire::in_its_words))
        .with_state(app)
}

async fn document_of_paths(State(app): State<App>) -> Json<Value> {
    Json(Value::clone(&app.paths))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::control::deciding::Threads;
    use crate::control::turns::Turns;
    use crate::control::work::Engine;
    use crate::control::{handle, sampling};
    use crate::engine::abandoned::Abandoned;
    use crate::telemetry::traces::Traces;
    use crate::{config, shutdown};

    /// The example's config over a state of its own, with a service that never began.
    pub(crate) async fn app(state: &Path) -> App {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
        let mut config = config::load_for(&example, None).unwrap();
        config.state = state.to_owned();
        let store = Store::open(state).await.unwrap();
        let (handle, _inbox) = handle::channel();
        let (_stopper, closing) = shutdown::channel();
        let engine = Engine {
            store: store.clone(),
            turns: Turns::default(),
            traces: Traces::default(),
            threads: Threads::default(),
            abandoned: Abandoned::default(),
        };
        let (samples, _carrier) = sampling::channel(engine, handle.clone(), Vec::new());
        App::new(Arc::new(config), store, handle, samples, closing)
    }

    #[tokio::test]
    async fn what_syncs_say_of_themselves_is_what_the_document_says() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path()).await;
        let mut schema = app.paths["components"].clone();
        let document = json_of_all(&app).await;
        schema = serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "array", "items": { "$ref": "#/components/schemas/Sync" }, "components": schema,
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
        let known = &app.paths["components"]["schemas"]["Sync"]["properties"];
        for name in document[0].as_object().unwrap().keys() {
            assert!(known.get(name).is_some(), "`{name}` is described");
        }
    }

    async fn json_of_all(app: &App) -> Value {
        let running = app.running_config();
        let all: Vec<_> = app.config.syncs.iter().collect();
        syncs::standings(app, &all).await.iter().map(|status| status.to_json(&running)).collect()
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_a_success() {
        let routes = all().all;
        let mut names: Vec<&str> = routes.iter().map(|route| route.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), routes.len());
        for route in &routes {
            assert!(route.answers.iter().any(|(status, ..)| *status < 300), "{}", route.id);
            assert_eq!(route.scope.is_none(), ["/health", "/ready"].contains(&route.path));
        }
    }
}
