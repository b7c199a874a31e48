//! The server: state, HTTP and service put together, and taken apart in order.
//!
//! At the end: not ready and no new triggers → runs drain → HTTP closes → the address is taken down → the store closes.
//! Not responsible for any of these parts. Invariants: signals are heard before anything is begun; the state is locked
//! before the port is taken, and as long as anything runs.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::exit::Exit;
use super::failure::Failure;
use super::order::Budgets;
use super::output::Output;
use super::reloading::{Hangups, Parts, Reloading};
use super::state::{self, Owned, Place};
use super::stopping::{Cause, Signals};
use super::{address, order, time};
use crate::api::{self, App};
use crate::config::{Config, Schedule};
use crate::control::handle;
use crate::control::reload::{self, Known};
use crate::control::service::{Service, Standing};
use crate::control::work::{Engine, WallClock};
use crate::domain::id::Instant;
use crate::shutdown::{self, Stage, Stopper, Tasks};

/// How long open connections may hold up the end.
const CLOSING: Duration = Duration::from_secs(5);

/// Serves until a signal; what the signals come to.
pub async fn run(place: &Place, output: &Output) -> Result<Exit, Failure> {
    // Before it is loaded: a change in between is told of rather once too often.
    let hash = address::hash(&place.file);
    let config = Arc::new(place.config()?);
    let (signals, hangups) = (Signals::listen()?, Hangups::listen()?);
    let owned = state::own(&config).await?;
    let ended = Box::pin(serve(place, &owned, output, &config, hash, signals, hangups)).await;
    owned.store.close().await;
    ended
}

async fn serve(
    place: &Place,
    owned: &Owned,
    output: &Output,
    config: &Arc<Config>,
    hash: Option<String>,
    signals: Signals,
    hangups: Hangups,
) -> Result<Exit, Failure> {
    let (listener, address) = listen(config.listen).await?;
    let (handle, inbox) = handle::channel();
    let revision = config.content.revision.clone();
    let known = Known { revision: revision.clone(), since: time::now(), warning: None };
    let (line, desk) = reload::channel(known);
    let handle = handle.with_reloads(line);
    let app =
        App { config: Arc::clone(config), store: owned.store.clone(), handle: handle.clone() };
    let (apps, app) = watch::channel(app);
    let (close, mut closing) = shutdown::channel();
    let mut http = Tasks::default();
    http.spawn(api::serve(app, listener, address, async move {
        closing.reached(Stage::Draining).await;
    }));
    let announced = address::announce(&config.state, address, hash, &revision);
    let announced = Arc::new(announced.map_err(|error| Failure::of(&error))?);
    let work = Arc::new(Engine { store: owned.store.clone() });
    let mut budgets = Budgets::default();
    let standing = standing(config, &mut budgets);
    let mut service = Service::new(
        owned.store.clone(),
        standing,
        config.limits(),
        Arc::new(WallClock),
        work,
        inbox,
    );
    service.arm().await?;
    say(output, address, &revision, &service.next_firings().await?);
    let (stopper, shutdown) = shutdown::channel();
    let aborted = Arc::new(OnceLock::new());
    let mut hearing = Tasks::default();
    hearing.spawn(hear(signals, stopper, Arc::clone(&aborted)));
    let parts = Parts {
        file: place.file.clone(),
        config: Arc::clone(config),
        budgets,
        handle,
        desk,
        hangups,
        apps,
        announced: Arc::clone(&announced),
    };
    hearing.spawn(Reloading::new(parts).serve(shutdown.clone()));
    let is_clean = Box::pin(service.serve(shutdown)).await;
    close.raise(Stage::Draining);
    if tokio::time::timeout(CLOSING, http.next()).await.is_err() {
        tracing::warn!("connections were still open, and are cut");
    }
    drop(announced);
    tracing::info!("the server has ended");
    Ok(match aborted.get() {
        Some(Cause::Terminate) => Exit::Terminated,
        Some(_) => Exit::Interrupted,
        None if is_clean => Exit::Done,
        None => Exit::Failed,
    })
}

async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!(
            "cannot listen on {wanted}: {error}; choose another address in `server.listen`"
        ))
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The syncs of the config as the service knows them.
pub fn standing(config: &Config, budgets: &mut Budgets) -> Vec<Standing> {
    let mut all = Vec::new();
    for (order, sync) in order::orders(config, budgets).into_iter().zip(&config.syncs) {
        all.push(Standing {
            order,
            schedule: sync.schedule.as_ref().and_then(Schedule::timing),
            is_paused: sync.paused,
            after: sync.schedule.as_ref().and_then(Schedule::after).map(str::to_owned),
            starts_now: sync.starts_now,
            group: sync.group.clone(),
            disable_after_halts: sync.disable_after_halts,
        });
    }
    all
}

fn say(output: &Output, address: SocketAddr, revision: &str, next: &[(String, Instant)]) {
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, revision, %address, pid = std::process::id(), "the server is ready");
    let firings: Vec<_> =
        next.iter().map(|(sync, at)| json!({ "sync": sync, "next": at.to_string() })).collect();
    let document = json!({ "address": format!("http://{address}"), "schedules": firings });
    output.answer(&document, || {
        let mut text = format!("listening on http://{address}\n");
        for (sync, at) in next {
            text.push_str(&format!("  `{sync}` runs next at {at}\n"));
        }
        text
    });
}

/// The first signal drains, the second aborts and is the one that the exit code tells of.
async fn hear(mut signals: Signals, stopper: Stopper, aborted: Arc<OnceLock<Cause>>) {
    signals.next().await;
    tracing::info!("shutting down: what is in flight is finished first; a second signal drops it");
    stopper.raise(Stage::Draining);
    let second = signals.next().await;
    // Nobody else sets it.
    let _ = aborted.set(second);
    stopper.raise(Stage::Aborting);
}
