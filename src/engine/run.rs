//! The run, read aloud: skip it if nothing has changed since one that left nothing to do; open, check keys if that is asked
//! for, read and deliver, drain, delete what is proven gone, commit, report.
//!
//! Guards: the tally is asserted at the end; nothing is deleted without a proven read; only a commit ends a run
//! well. Not here: rules (domain), the event loop of requests (delivery).

use std::sync::Arc;

use super::abandoned::Abandoned;
use super::key_pass;
use super::line::{End, Line};
use super::order::Order;
use super::prepare::{self, Error, Prepared};
use super::progress::Progress;
use super::reading::QueryRuntime;
use super::report::{Report, Since};
use super::skipping;
pub use crate::delivery::clock::now;
use crate::domain::id::RunId;
use crate::domain::kind::Choice;
use crate::domain::run::{self, Outcome, Phase};
use crate::points::{self, Point};
use crate::shutdown::{Shutdown, Stage};
use crate::store::Store;

/// Runs `order` to its end and records it under `run`. Failures are in the report.
pub async fn run(
    store: &Store,
    order: Order,
    run: RunId,
    shutdown: Shutdown,
    progress: Arc<Progress>,
    abandoned: &Abandoned,
) -> Report {
    let mut report = Report::new(run, order.sync.name.clone());
    let executed = execute(store, &order, shutdown, &progress, abandoned, &mut report).await;
    if let Err(error) = executed {
        report.outcome = Outcome::Failed;
        report.is_config_fault = error.is_config_fault();
        report.error = Some(error.to_string());
        report.is_halt = is_halt(&error);
        if report.is_halt
            && let Err(error) = store.mark_halted(run).await
        {
            tracing::warn!(%run, %error, "a halt could not be stored as one");
        }
    }
    let error = report.error.as_deref();
    let finished = store.finish(run, report.outcome, &report.tally, error, now()).await;
    if let Err(error) = finished {
        report.outcome = Outcome::Failed;
        report.error.get_or_insert_with(|| error.to_string());
    }
    report.ends();
    report
}

/// Whether no later run can do better before a person has done something. A source or a destination that is away comes back.
fn is_halt(error: &Error) -> bool {
    error.is_config_fault()
        || matches!(
            error,
            Error::Halted(_)
                | Error::DefinitionChanged(..)
                | Error::EncodingChanged(..)
                | Error::OlderStore { .. }
                | Error::Copied(_)
        )
}

/// Takes the run out of the queue, and has its query to itself: none that an earlier run has left behind goes beside it,
/// unless that has gone on for longer than such a one is waited for; and its own is known where it is left behind.
async fn execute(
    store: &Store,
    order: &Order,
    mut shutdown: Shutdown,
    progress: &Progress,
    abandoned: &Abandoned,
    report: &mut Report,
) -> Result<(), Error> {
    store.begin(report.run, order.is_full, &order.revision).await?;
    report.enters(Phase::Starting);
    points::reached(Point::RunStarted);
    let sync = &order.sync.name;
    if !abandoned.ended(sync, &mut shutdown).await {
        report.outcome = Outcome::Cancelled;
        return Ok(());
    }
    let (query, cancelling) = QueryRuntime::start()?;
    let (end, spent) = (query.end(), Arc::clone(query.spent()));
    let unchanged = tokio::select! {
        biased;
        () = shutdown.reached(Stage::Draining) => None,
        unchanged = skipping::unchanged(store, order, &query) => unchanged,
    };
    if let Some(unchanged) = unchanged {
        let skipped = Choice::skipped(unchanged);
        report.set_choice(skipped);
        report.outcome = Outcome::Skipped;
        report.tally.listing = spent.total();
        store.set_choice(report.run, skipped).await?;
        return Ok(());
    }
    let carried_out = carry_out(store, order, query, shutdown, progress, report);
    let carried_out = Box::pin(carried_out).await;
    report.tally.listing = spent.total();
    cancelling.end().await;
    // Where nothing cut it short it has come to its end.
    if carried_out.is_err() || report.outcome == Outcome::Cancelled {
        report.abandoned_queries = abandoned.leave(sync, report.run, end).await;
    }
    carried_out
}

async fn carry_out(
    store: &Store,
    order: &Order,
    query: QueryRuntime,
    mut shutdown: Shutdown,
    progress: &Progress,
    report: &mut Report,
) -> Result<(), Error> {
    let prepared = prepare::prepare(store, order, report.run, query, &mut shutdown).await?;
    let Some(prepared) = prepared else {
        report.outcome = Outcome::Cancelled;
        return Ok(());
    };
    report.set_choice(prepared.choice);
    report.since = prepared.extent.restriction.as_ref().map(Since::of);
    report.whole = prepared.extent.whole.map(|why| why.to_string());
    store.set_choice(report.run, prepared.choice).await?;
    let Prepared { pins, extent, held, query, .. } = &prepared;
    let repeated = tokio::select! {
        biased;
        () = shutdown.reached(Stage::Draining) => {
            report.outcome = Outcome::Cancelled;
            return Ok(());
        }
        repeated = key_pass::repeated(order, pins, extent.restriction.as_ref(), held, query) => repeated?,
    };
    let opened = Line::open(store, order, prepared, repeated, report.run, shutdown).await?;
    let Some(mut line) = opened else {
        report.outcome = Outcome::Cancelled;
        return Ok(());
    };
    let ended = follow(&mut line, store, progress, report).await;
    if ended.is_err() {
        line.give_up();
    }
    report.tally = line.tally();
    ended
}

/// From the first row to the commit.
async fn follow(
    line: &mut Line<'_>,
    store: &Store,
    progress: &Progress,
    report: &mut Report,
) -> Result<(), Error> {
    store.set_phase(report.run, Phase::Reading).await?;
    report.enters(Phase::Reading);
    progress.started();
    let mut end = line.read(progress).await?;
    if !matches!(end, End::Stopped) {
        end = line.deliver_late(end, progress).await?;
    }
    if end.allows_deletes() {
        points::reached(Point::BeforeDeletes);
        match line.sort_removals() {
            Ok(true) => line.delete(progress).await?,
            Ok(false) => end = End::Stopped,
            Err(error) => end = End::Failed(error),
        }
    }
    line.enter_drain().await?;
    report.enters(Phase::Draining);
    points::reached(Point::DrainBegun);
    line.settle(progress).await?;
    store.set_phase(report.run, Phase::Committing).await?;
    report.enters(Phase::Committing);
    end = line.halt(end);
    let tally = line.tally();
    report.tally = tally;
    report.holds = line.hold_causes().to_vec();
    // One that comes later is too late to change anything.
    let was_stopped = matches!(end, End::Stopped) || line.stage() > Stage::Running;
    if let Some(why) = line.commit(&end, &tally, was_stopped).await? {
        let choice = Choice { bound_stays: Some(why), ..line.choice() };
        report.set_choice(choice);
        store.set_choice(report.run, choice).await?;
    }
    line.note(store, report).await?;
    report.is_compaction_due = line.is_compaction_due();
    tally.check().map_err(Error::Defect)?;
    report.outcome = run::outcome(&tally, was_stopped);
    match end {
        End::Failed(error) => Err(error),
        End::Proven | End::Restricted | End::Chosen | End::Stopped => Ok(()),
    }
}
