//! The server: state, HTTP and service put together, and taken apart in order.
//!
//! At the end: not ready, no commands and no new triggers → runs drain, and what commands began ends → the delivery log is
//! written → telemetry is flushed → the state closes → the address is taken down and HTTP closes, which has answered until
//! then. Not responsible for any of these parts, nor for the deadline of it all (`ending`). Invariants: signals are heard
//! before anything is begun; the state is locked before the port is taken, and as long as anything runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::ending::Ending;
use super::exit::Exit;
use super::failure::Failure;
use super::order::Budgets;
use super::output::Output;
use super::reloading::{Hangups, Parts, Reloading};
use super::state::{self, Owned, Place};
use super::stopping::{Cause, Signals};
use super::time::now;
use super::{address, last_good, notify, order, reloading, sync};
use crate::api::{self, App};
use crate::config::{self, Config, Schedule};
use crate::control::deciding::Threads;
use crate::control::handle;
use crate::control::reload::{self, Known};
use crate::control::sampling;
use crate::control::service::{Service, Standing};
use crate::control::turns::Turns;
use crate::control::work::{Engine, WallClock};
use crate::domain::id::Instant;
use crate::engine::abandoned::Abandoned;
use crate::engine::decisions;
use crate::export::Exporter;
use crate::history;
use crate::points::{self, Point};
use crate::shutdown::{self, Stage, Tasks};
use crate::store::{Store, Token};
use crate::telemetry;

/// Serves until a signal; what the signals come to.
pub async fn run(place: &Place, output: &Output) -> Result<Exit, Failure> {
    let start = Start::of(place)?;
    let (signals, hangups) = (Signals::listen()?, Hangups::listen()?);
    let owned = state::own(&start.config).await?;
    let ended = Box::pin(serve(place, &owned, output, &start, signals, hangups)).await;
    owned.store.close().await;
    ended
}

/// The config that a server starts with.
struct Start {
    config: Arc<Config>,
    /// Of what it was read from.
    hash: Option<String>,
    known: Known,
}

impl Start {
    /// By the file; where that is bad or gone by the last good config, with a warning that names what is wrong.
    fn of(place: &Place) -> Result<Start, Failure> {
        // Before it is loaded: a change in between is told of rather once too often.
        let hash = address::hash(&place.file);
        let (config, hash, refused) = match config::load(&place.file) {
            Ok(config) => (config, hash, None),
            Err(problems) => {
                let Some(config) = last_good::find(&place.file) else {
                    return Err(problems.into());
                };
                let hash = address::hash_of(config.written.text.as_bytes());
                (config, Some(hash), Some(problems.to_string()))
            }
        };
        let revision = config.content.revision.clone();
        let warning = refused.map(|refused| reloading::warning(&revision, &refused));
        if let Some(warning) = &warning {
            tracing::error!(
                revision,
                "the server starts with the last good config, not with its file: {warning}"
            );
        }
        Ok(Start {
            config: Arc::new(config),
            hash,
            known: Known { revision, since: now(), warning },
        })
    }
}

async fn serve(
    place: &Place,
    owned: &Owned,
    output: &Output,
    start: &Start,
    signals: Signals,
    hangups: Hangups,
) -> Result<Exit, Failure> {
    let Start { config, hash, known } = start;
    admit(&owned.store, config.server.listen).await?;
    let (listener, address) = listen(config.server.listen).await?;
    let (handle, inbox) = handle::channel();
    let (line, desk) = reload::channel(known.clone());
    let handle = handle.with_reloads(line);
    let mut budgets = Budgets::default();
    let standing = standing(config, &mut budgets);
    let orders: Vec<_> = standing.iter().map(|standing| standing.order.clone()).collect();
    Box::pin(decisions::settle_all(&owned.store, &orders)).await?;
    let traces = sync::traces(config)?;
    let store = owned.store.clone();
    let (turns, abandoned) = (Turns::default(), Abandoned::default());
    let threads = Threads::default();
    let engine = Engine { store, turns, traces: traces.clone(), threads, abandoned };
    let (samples, carrier) = sampling::channel(engine.clone(), handle.clone(), orders);
    let (close, mut closing) = shutdown::channel();
    let app = App::new(
        Arc::clone(config),
        owned.store.clone(),
        handle.clone(),
        samples.clone(),
        closing.clone(),
    );
    let (apps, app) = watch::channel(app);
    let mut http = Tasks::default();
    http.spawn(api::serve(app, listener, address, async move {
        closing.reached(Stage::Draining).await;
    }));
    let announced = address::announce(&config.state, address, hash.clone(), known.clone());
    let announced = Arc::new(announced.map_err(|error| Failure::of(&error))?);
    let mut service = Service::new(
        owned.store.clone(),
        standing,
        config.limits(),
        Arc::new(WallClock),
        Arc::new(engine),
        inbox,
    );
    points::reached(Point::BeforeRecovery);
    service.arm().await?;
    if known.warning.is_none() {
        shutdown::blocking(|| last_good::keep(config));
    }
    say(output, address, known, &shown(config, service.next_firings().await?));
    notify::ready();
    let (running, known_apps, commands) = (apps.subscribe(), apps.subscribe(), samples.clone());
    let mut ending = Ending::listen(signals, move || longest_drain(&running.borrow()));
    let parts = Parts {
        file: place.file.clone(),
        config: Arc::clone(config),
        budgets,
        handle,
        desk,
        hangups,
        samples,
        apps,
        announced: Arc::clone(&announced),
        hash: hash.clone(),
    };
    let mut reloads = Tasks::default();
    reloads.spawn(Reloading::new(parts).serve(ending.shutdown()));
    let exporter = order::exporter(config, &owned.store);
    let mut exporting = Tasks::default();
    exporter.clone().map(|exporter| exporting.spawn(exporter.serve(ending.shutdown())));
    let mut removing = Tasks::default();
    // One that a reload takes out goes on until the next start.
    let is_exporting = config.delivery_log.is_some();
    let rules = move |app: &App| {
        let rules = order::history(&app.config);
        history::Rules { awaits_export: rules.awaits_export || is_exporting, ..rules }
    };
    removing.spawn(history::serve(owned.store.clone(), known_apps, rules, ending.shutdown()));
    let (runs, carried) = (service.serve(ending.shutdown()), carrier.serve(ending.shutdown()));
    let drained = async { tokio::join!(Box::pin(runs), Box::pin(carried), commands.ended()).0 };
    let is_clean =
        ending.within("the runs end, and what commands began", drained).await.unwrap_or(false);
    ending.briefly("a reload ends", reloads.next()).await;
    ending.briefly("no more of what is old is removed", removing.next()).await;
    ending.briefly("the delivery log is written", export(exporter, exporting)).await;
    ending.briefly("telemetry is flushed", telemetry::flush(&traces)).await;
    ending.within("the state is closed", owned.store.close()).await;
    drop(announced);
    close.raise(Stage::Draining);
    ending.briefly("the connections end", http.next()).await;
    tracing::info!("the server has ended");
    Ok(match ending.aborted() {
        Some(Cause::Terminate) => Exit::Terminated,
        Some(_) => Exit::Interrupted,
        None if is_clean => Exit::Done,
        None => Exit::Failed,
    })
}

/// How long what goes or may yet begin can drain: by the config that runs, and by those that runs which go began with.
fn longest_drain(app: &App) -> Duration {
    let drains = app.config.syncs.iter().map(|sync| sync.sync.limits.drain_timeout);
    drains.max().unwrap_or_default().max(app.handle.live().longest_drain())
}

/// An address that others can reach needs a token that is good.
async fn admit(store: &Store, wanted: SocketAddr) -> Result<(), Failure> {
    let is_good = |token: &Token| token.is_valid(now());
    if wanted.ip().is_loopback() || store.tokens().await?.iter().any(is_good) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{wanted} can be reached from other machines, and there is no token that is good; make one with `counterflow \
         token create NAME --scope admin`, or listen on a loopback address in `server.listen`"
    )))
}

/// What the last runs came to; once those that are on their way are written.
async fn export(exporter: Option<Exporter>, mut exporting: Tasks<()>) {
    while exporting.next().await.is_some() {}
    if let Some(exporter) = exporter {
        exporter.last().await;
    }
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

fn shown(config: &Config, firings: Vec<(String, Instant)>) -> Vec<(String, String)> {
    let shown = |(name, at): (String, Instant)| {
        let sync = config.sync(&name).and_then(|sync| sync.schedule.as_ref());
        let timing = sync.and_then(Schedule::timing);
        (name, timing.map_or_else(|| at.to_string(), |timing| timing.shown(at)))
    };
    firings.into_iter().map(shown).collect()
}

/// Says that the server is ready; `next`: when each sync fires, by the clock of its schedule.
fn say(output: &Output, address: SocketAddr, known: &Known, next: &[(String, String)]) {
    let Known { revision, warning, .. } = known;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, revision, service.version = version, %address, pid = std::process::id(), "the server is ready");
    let firings: Vec<_> =
        next.iter().map(|(sync, at)| json!({ "sync": sync, "next": at })).collect();
    let document = json!({
        "address": format!("http://{address}"), "schedules": firings, "warning": warning,
    });
    output.answer(&document, || {
        let mut text = format!("listening on http://{address}\n");
        if let Some(warning) = warning {
            text.push_str(&format!("  warning: {warning}\n"));
        }
        for (sync, at) in next {
            text.push_str(&format!("  `{sync}` runs next at {at}\n"));
        }
        text
    });
}
