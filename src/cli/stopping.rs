//! What ends a run before its time: a signal to this process, or a command beside it.
//!
//! The first signal drains, the second aborts; a stop command is seen within 100 ms (`control`). Not responsible for what a
//! drain is: only the stage is raised. The first cause is the one that counts for the exit code.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;
use crate::control::stopping;
use crate::domain::id::RunId;
use crate::shutdown::{Stage, Stopper, Tasks};
use crate::store::Store;

/// What stopped a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Command,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Signals, heard from the moment this is made: from then on they no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn listen() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::of(&error));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Signals { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Cause {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Cause::Interrupt,
            _ = self.terminate.recv() => Cause::Terminate,
        }
    }
}

/// Makes sure that some files can be opened: where the first signal that is listened for finds no descriptor left, the
/// process would end in a panic.
pub fn check_descriptors() -> Result<(), Failure> {
    /// What the runtime, the signals and a first file need.
    const FEWEST: usize = 16;
    let opened: Result<Vec<File>, _> = (0..FEWEST).map(|_| File::open("/dev/null")).collect();
    match opened {
        Err(error) if is_limit(&error) => Err(Failure::failed(format!(
            "not even {FEWEST} files can be opened: {error}; raise the limit of open files (`ulimit -n`)"
        ))),
        // A place without that device says nothing of descriptors.
        _ => Ok(()),
    }
}

/// Whether the process or the system has no descriptor left.
fn is_limit(error: &std::io::Error) -> bool {
    /// ENFILE and EMFILE, the same numbers on every Unix.
    const NONE_LEFT: [i32; 2] = [23, 24];
    error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code))
}

/// From here on a file above the size limit (`ulimit -f`) is an error of the write, and no longer the silent end of the
/// process. Must be called within a runtime.
pub fn outlive_file_limits() -> Result<(), Failure> {
    /// SIGXFSZ, on every system but MIPS.
    const FILE_SIZE_EXCEEDED: i32 = 25;
    // The handler stays for the life of the process; what it hears is not needed.
    let heard = signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED));
    heard.map(|_| ()).map_err(|error| Failure::of(&error))
}

/// Raises the stage of one run when it is to stop; no longer once dropped.
#[derive(Debug)]
pub struct Watch {
    cause: Arc<OnceLock<Cause>>,
    _tasks: Tasks<()>,
}

impl Watch {
    /// Must be called within a runtime.
    pub fn start(signals: Signals, store: Store, run: RunId, stopper: Stopper) -> Watch {
        let cause = Arc::new(OnceLock::new());
        let mut tasks = Tasks::default();
        tasks.spawn(hear(signals, stopper.clone(), Arc::clone(&cause)));
        let told = Arc::clone(&cause);
        tasks.spawn(stopping::heed(store, run, stopper, move || {
            if told.set(Cause::Command).is_ok() {
                tracing::info!("stopped by a command");
            }
        }));
        Watch { cause, _tasks: tasks }
    }

    /// What came first, if anything did.
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }
}

async fn hear(mut signals: Signals, stopper: Stopper, cause: Arc<OnceLock<Cause>>) {
    let first = signals.next().await;
    tracing::info!("stopping: what is in flight is finished first; a second signal drops it");
    // A command may have come before: then that is the cause.
    let _ = cause.set(first);
    stopper.raise(Stage::Draining);
    signals.next().await;
    stopper.raise(Stage::Aborting);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_descriptors_is_one() {
        let is_limit = |code| is_limit(&std::io::Error::from_raw_os_error(code));
        // ENFILE, EMFILE; ENOENT, EACCES.
        assert!(is_limit(23) && is_limit(24) && !is_limit(2) && !is_limit(13));
        assert!(check_descriptors().is_ok());
    }
    use crate::domain::id::Instant;
    use crate::domain::run::Trigger;
    use crate::shutdown;

    #[tokio::test]
    async fn a_stop_command_drains_and_a_stop_now_aborts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let run = store.create_run("crm", None, Trigger::Manual, Instant(0)).await.unwrap();
        let (stopper, mut shutdown) = shutdown::channel();
        let signals = Signals::listen().unwrap();
        let watch = Watch::start(signals, store.clone(), run, stopper);
        assert_eq!(watch.cause(), None);
        store.request_stop("crm", false, "ada", None, Instant(0)).await.unwrap();
        shutdown.reached(Stage::Draining).await;
        assert_eq!((shutdown.stage(), watch.cause()), (Stage::Draining, Some(Cause::Command)));
        store.request_stop("crm", true, "ada", None, Instant(0)).await.unwrap();
        shutdown.reached(Stage::Aborting).await;
    }
}
