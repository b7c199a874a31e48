//! One run here and now: lock, recovery, the engine's run, the report.
//!
//! Not responsible for the run itself. Invariant: signals are heard before anything is begun, so that none ends the
//! process in the middle of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::address::Address;
use super::bar::Bar;
use super::exit::{self, Exit};
use super::failure::Failure;
use super::output::{Format, Output};
use super::state::{self, Owned, Owner, Place};
use super::stopping::{Signals, Watch};
use super::{address, order, report_text, time};
use crate::config::{Config, SyncConfig};
use crate::control::disabling::{closed, disabled_of};
use crate::control::handle::Given;
use crate::control::pausing::{Paused, end_what_is_over};
use crate::control::queue::{Limits, Needed, Queue, Wish};
use crate::control::service::{take_in, take_in_for};
use crate::domain::id::RunId;
use crate::domain::run::{Outcome, Trigger};
use crate::domain::tally::Tally;
use crate::engine::abandoned::Abandoned;
use crate::engine::compacting;
use crate::engine::order::Order;
use crate::engine::progress::Progress;
use crate::engine::recovery;
use crate::engine::report::{Report, Took};
use crate::engine::run::run as engine_run;
use crate::history;
use crate::points::{self, Point};
use crate::shutdown;
use crate::store::{Decision, RunRow};
use crate::telemetry;
use crate::telemetry::traces::Traces;

/// What is wished of a run beside its being made.
#[derive(Debug)]
pub struct Asked {
    pub is_full: bool,
    pub keeps_snapshot: bool,
    /// Why.
    pub message: Option<String>,
}

/// Runs the sync here and waits for its end; the exit code. A run that could not begin is reported like one that failed.
pub async fn run(place: &Place, output: &Output, sync: &str, asked: Asked) -> u8 {
    match Box::pin(attempt(place, output, sync, asked)).await {
        Ok(exit) => exit.code(),
        Err(failure) if output.format == Format::Json => {
            output.answer(&never_begun(sync, &failure), String::new);
            failure.exit.code()
        }
        Err(failure) => output.failed(&failure),
    }
}

async fn attempt(
    place: &Place,
    output: &Output,
    sync: &str,
    asked: Asked,
) -> Result<Exit, Failure> {
    let config = place.config_for(None)?;
    state::find(&config, sync)?;
    // Before anything is begun, so that no signal ends the process in its middle.
    let signals = Signals::listen()?;
    let (owned, config) = match state::owner(place, Some(sync)).await? {
        Owner::Us(owned, config) => (owned, config),
        Owner::Server(server) => return beside(server, place, output, sync, asked, signals).await,
    };
    let found = state::find(&config, sync)?;
    let order = order::order(&config, found, asked.is_full, Trigger::Manual);
    points::reached(Point::StateOwned);
    let queue = recover(&owned, output).await?;
    refuse_paused(&owned, found).await?;
    let (who, store) = place.given(&owned.store);
    let given = Given {
        who,
        message: asked.message,
        store,
        decision: asked.keeps_snapshot.then(|| Decision::Keep { at: time::now() }),
    };
    let ended = watched(&owned, output, &config, order, given, signals, queue);
    let (report, exit) = Box::pin(ended).await?;
    history::last(&owned.store, &order::history(&config)).await;
    owned.store.close().await;
    print(output, &report);
    Ok(exit)
}

/// What takes the traces of runs that are made here.
pub fn traces(config: &Config) -> Result<Traces, Failure> {
    Traces::start(config.traces.as_ref()).map_err(|error| Failure::usage(error.to_string()))
}

/// A sync that is paused is not run, by whatever command.
pub async fn refuse_paused(owned: &Owned, sync: &SyncConfig) -> Result<(), Failure> {
    let name = &sync.sync.name;
    owned.store.forget_outdated_pause(name, sync.paused).await?;
    let now = time::now();
    end_what_is_over(&owned.store, name, now).await?;
    let (pause, sources) = (owned.store.pause(name).await?, owned.store.disabled_sources().await?);
    let source = disabled_of(&sync.sync.model, &sources);
    match closed(name, pause, sync.paused, source, now) {
        Some(closed) => Err(Failure::usage(closed.to_string())),
        None => Ok(()),
    }
}

/// Has the server run the sync.
async fn beside(
    found: Address,
    place: &Place,
    output: &Output,
    sync: &str,
    asked: Asked,
    signals: Signals,
) -> Result<Exit, Failure> {
    let server = place.server_at(&found)?;
    let Address { address, config, .. } = found;
    if config.is_some() && config != address::hash(&place.file) {
        output.aside(&format!(
            "`{}` is not what the server at {address} runs by; `counterflow reload` says why, or puts it in place",
            place.file.display()
        ));
    }
    let (report, exit) = Box::pin(server.sync(place, output, sync, asked, signals)).await?;
    print(output, &report);
    Ok(exit)
}

/// Ends what an earlier process left unfinished as interrupted, and says so; the queue of what waits, with the runs that go
/// on for the interrupted ones.
pub async fn recover(owned: &Owned, output: &Output) -> Result<Queue, Failure> {
    let store = &owned.store;
    let left = recovery::survey(store, time::now()).await?;
    // Nothing of it begins here but the run that was asked for.
    let mut queue = Queue::new(Limits::one(), BTreeMap::new());
    for row in left.queued {
        let wish = Wish::of(&row);
        if queue.needed(&row.sync, wish) == Needed::NewRun {
            queue.accept(&row.sync, wish, row.id);
        }
    }
    for row in left.begun.iter().filter(|row| row.stop.is_none()) {
        let wish = Wish { trigger: Trigger::Recovery, ..Wish::of(row) };
        take_in(store, &mut queue, &row.sync, wish, time::now()).await?;
    }
    recovery::interrupt(store, &left.begun, time::now()).await?;
    for RunRow { id, sync, .. } in left.begun {
        output.aside(&format!(
            "run {id} of `{sync}` was interrupted; its next one goes on from there"
        ));
    }
    Ok(queue)
}

/// Creates the run for the command that is `given`, unless one of the sync is queued already, and carries it out.
pub async fn watched(
    owned: &Owned,
    output: &Output,
    config: &Config,
    mut order: Order,
    given: Given,
    signals: Signals,
    mut queue: Queue,
) -> Result<(Report, Exit), Failure> {
    let traces = traces(config)?;
    let sync = order.sync.name.clone();
    let wish = Wish { is_full: order.is_full, trigger: order.trigger };
    order.is_full |= queue.waiting(&sync).is_some_and(|waiting| waiting.wish.is_full);
    let run = take_in_for(&given, &mut queue, &sync, wish, time::now()).await?.run;
    // A command beside that was quicker than the run; from here on a pause finds it, and asks it to stop.
    if let Some(by) = owned.store.pause(&sync).await?.filter(|pause| pause.is_paused) {
        let why = Paused { sync, by: Some(by) }.to_string();
        let (tally, now) = (Tally::default(), time::now());
        owned.store.finish(run, Outcome::Cancelled, &tally, Some(&why), now).await?;
        return Err(Failure::usage(why));
    }
    let ended = Box::pin(carried_out(owned, output, config, &traces, order, run, signals)).await;
    if ended.0.outcome == Outcome::Cancelled {
        // Nobody goes on for it by itself, whoever ended it: the next run is another question.
        if let Err(error) = owned.store.spend_word(&sync, run).await {
            tracing::warn!(sync, %run, %error, "a server may begin a run in the place of the one that was cancelled");
        }
    }
    Ok(ended)
}

/// Carries a run out, heeding signals and stop requests; its trace is sent, and the delivery log written.
pub async fn carried_out(
    owned: &Owned,
    output: &Output,
    config: &Config,
    traces: &Traces,
    order: Order,
    run: RunId,
    signals: Signals,
) -> (Report, Exit) {
    let (stopper, shutdown) = shutdown::channel();
    let watch = Watch::start(signals, owned.store.clone(), run, stopper);
    let progress = Arc::new(Progress::default());
    let bar = output.is_watched().then(|| Bar::start(&order.sync.name, Arc::clone(&progress)));
    let (trigger, revision, began) = (order.trigger, order.revision.clone(), time::now());
    let abandoned = Abandoned::default();
    let (behind, stop) = (order.clone(), shutdown.clone());
    let ended = engine_run(&owned.store, order, run, shutdown, progress, &abandoned);
    let report = Box::pin(ended).await;
    drop(bar);
    let exit = exit::of(&report, watch.cause());
    traces.ended(&report.trace(trigger, &revision, began));
    if report.is_compaction_due {
        // A signal ends this, and is no matter of the run any more.
        Box::pin(compacting::behind(&owned.store, &behind, &stop)).await;
    }
    drop(watch);
    telemetry::flush(traces).await;
    if let Some(exporter) = order::exporter(config, &owned.store) {
        exporter.last().await;
    }
    (report, exit)
}

/// Prints what a run came to.
pub fn print(output: &Output, report: &Report) {
    let document = serde_json::to_value(report).expect("a report is plain data and always JSON");
    output.answer(&document, || report_text::human(report));
}

/// The fields of a report, for a run that has no number.
fn never_begun(sync: &str, failure: &Failure) -> Value {
    let mut document = json!({
        "run": null,
        "sync": sync,
        "kind": null,
        "reason": null,
        "outcome": Outcome::Failed,
        "tally": Tally::default(),
        "holds": [],
        "examples": [],
        "troubles": [],
        "abandoned_queries": 0,
        "took": Took::default(),
    });
    if let (Value::Object(fields), Value::Object(why)) = (&mut document, failure.to_json()) {
        fields.extend(why);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_never_began_has_every_field_of_a_report() {
        let document = never_begun("crm", &Failure::failed("the disk is full"));
        let report = Report {
            error: Some("the disk is full".into()),
            ..Report::new(crate::domain::id::RunId(1), "crm".into())
        };
        let mut expected = serde_json::to_value(report).unwrap();
        expected["run"] = Value::Null;
        assert_eq!(document, expected);
    }
}
