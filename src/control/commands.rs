use crate::domain::id::{Instant, RunId};
use crate::store::{Audited, Error, Store};

/// A command to stop the runs of a sync, and who gave it.
#[derive(Debug, Clone, Copy)]
pub struct Stop<'a> {
    pub sync: &'a str,
    /// Drop what is in flight too.
    pub is_now: bool,
    pub who: &'a str,
    pub message: Option<&'a str>,
}

/// Asks the sync's unfinished runs to stop, and writes it down; the oldest of them, or `None` if nothing goes. Idempotent.
/// Works in the process that runs and beside it.
///
/// # Errors
/// The store cannot be written.
pub async fn stop(store: &Store, stop: Stop<'_>, now: Instant) -> Result<Option<RunId>, Error> {
    let Stop { sync, is_now, who, message } = stop;
    let audited = Audited {
        at: now,
        who: who.to_owned(),
        command: if is_now { "stop --now" } else { "stop" }.to_owned(),
        sync: Some(sync.to_owned()),
        run: None,
        message: message.map(str::to_owned),
    };
    store.ask_stop(sync, is_now, &audited).await
}
