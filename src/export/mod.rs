//! The delivery log: what runs came to and each receipt, as Parquet files in a folder that others read.
//!
//! Runs come from the store, receipts from the spools of their runs. Not responsible for what a receipt is (`delivery`).
//! Invariants: nothing here fails a run; a file appears whole, under its name; what was not exported stays until it is,
//! within the spool's limit, unless its sync is forgotten. After a crash in the wrong moment a run is exported twice, under
//! the same number.

mod done;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::delivery::clock::now;
use crate::delivery::spool;
use crate::domain::id::RunId;
use crate::shutdown::{self, Shutdown, Stage};
use crate::store::{self, RunRow, Store};

pub use done::Done;

/// How long the end of a process may wait for its last export; what is begun is written.
const LAST: Duration = Duration::from_secs(4);
/// Runs of one file.
const RUNS: u32 = 10_000;
/// After a failure the pause doubles up to this many times the usual one.
const LONGEST: u32 = 32;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no folder `{}`; make it, or mount it: it is never made here, as it may only be away", .0.display())]
    Away(PathBuf),
    #[error("`{}` cannot be written: {source}; check its disk and permissions", .path.display())]
    Write { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("the spool `{}` cannot be read or written: {source}", .path.display())]
    Spool { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Exports the runs of one state.
#[derive(Debug, Clone)]
pub struct Exporter {
    pub store: Store,
    /// Where receipts wait.
    pub spool: PathBuf,
    /// Where files go.
    pub location: PathBuf,
    /// How long between two exports.
    pub every: Duration,
}

impl Exporter {
    /// Exports again and again until `shutdown` drains.
    pub async fn serve(self, mut shutdown: Shutdown) {
        let mut failures: u32 = 0;
        loop {
            let pause = self.every * 2_u32.saturating_pow(failures).min(LONGEST);
            tokio::select! {
                biased;
                () = shutdown.reached(Stage::Draining) => return,
                () = sleep_until(Instant::now() + pause) => {}
            }
            failures = match self.export().await {
                Ok(_) => 0,
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(%error, "the delivery log cannot be exported; it waits in its spool");
                    }
                    failures.saturating_add(1)
                }
            };
        }
    }

    /// Exports once more, before the process ends, within a bound; says why, where that cannot be.
    pub async fn last(&self) {
        match tokio::time::timeout(LAST, self.export()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the delivery log is not written out; it waits in its spool");
            }
            Err(_elapsed) => {
                tracing::warn!(
                    "the delivery log is not written out in time; the rest waits in its spool"
                );
            }
        }
    }

    /// Exports every run that has ended and was not exported; how many.
    ///
    /// # Errors
    /// What is not exported stays as it is.
    pub async fn export(&self) -> Result<usize, Error> {
        let mut exported = 0;
        loop {
            let some = self.export_some().await?;
            exported += some;
            if some == 0 {
                return Ok(exported);
            }
            // Whoever bounds this is heard between two files.
            tokio::task::yield_now().await;
        }
    }

    async fn export_some(&self) -> Result<usize, Error> {
        let failed = |source| Error::Spool { path: self.spool.clone(), source };
        let swept = shutdown::blocking(|| {
            std::fs::create_dir_all(&self.spool)?;
            let done = Done::read(&self.spool);
            self.sweep(&done).map(|()| done)
        });
        let mut done = swept.map_err(failed)?;
        let (mut rows, mut from) = (Vec::new(), done.first_left());
        while rows.is_empty() {
            let ended = self.store.ended_from(from, RUNS).await?;
            let Some(last) = ended.last() else { return Ok(0) };
            from = RunId(last.id.0 + 1);
            rows.extend(ended.into_iter().filter(|row| !done.contains(row.id)));
        }
        shutdown::blocking(|| self.write(&rows))?;
        rows.iter().for_each(|row| done.add(row.id));
        let written = shutdown::blocking(|| {
            done.write(&self.spool)?;
            self.sweep(&done)
        });
        written.map_err(failed)?;
        Ok(rows.len())
    }

    /// Removes the spools of what was exported.
    fn sweep(&self, done: &Done) -> std::io::Result<()> {
        let spooled = spool::runs(&self.spool)?;
        let exported = spooled.into_iter().filter(|run| done.contains(*run));
        exported.into_iter().try_for_each(|run| spool::remove(&self.spool, run))
    }

    /// Writes both tables; under their names only once they are whole.
    fn write(&self, rows: &[RunRow]) -> Result<(), Error> {
        if !self.location.is_dir() {
            return Err(Error::Away(self.location.clone()));
        }
        let opened = rows
            .iter()
            .filter_map(|row| Some((row, File::open(spool::file(&self.spool, row.id)).ok()?)));
        let spools: Vec<(&RunRow, File)> = opened.collect();
        let (first, last) = (rows[0].id, rows[rows.len() - 1].id);
        let name = |table: &str| format!("{table}-{first}-{last}-{}.parquet", now().0);
        self.place("receipts", &name("receipts"), |path| {
            if spools.is_empty() { Ok(false) } else { Ok(table::receipts(path, &spools)? > 0) }
        })?;
        self.place("runs", &name("runs"), |path| table::runs(path, rows).map(|()| true))
    }

    fn place(
        &self,
        folder: &str,
        name: &str,
        write: impl FnOnce(&Path) -> Result<bool, parquet::errors::ParquetError>,
    ) -> Result<(), Error> {
        let folder = self.location.join(folder);
        let (next, path) = (folder.join(format!(".{name}.next")), folder.join(name));
        let placed = std::fs::create_dir_all(&folder).map_err(Into::into).and_then(|()| {
            if write(&next)? {
                std::fs::rename(&next, &path)?;
            }
            Ok(())
        });
        placed.map_err(|source| {
            // Half a file is in nobody's way, but takes room.
            let _ = std::fs::remove_file(&next);
            Error::Write { path, source }
        })
    }
}
