//! A sync at a glance: its last run, what goes on, what is held, when it runs next.
//!
//! Reads beside whoever writes: no lock, no write. A snapshot that cannot be read is shown, not a failure.

use serde_json::{Value, json};

use super::document::{self, chain, shown};
use crate::config::{Config, SyncConfig};
use crate::control::pausing::{Paused, paused, standing};
use crate::control::schedule::Schedule;
use crate::domain::id::{Instant, Lineage};
use crate::shutdown::Tasks;
use crate::snapshot::disk::LocalDisk;
use crate::snapshot::header::Header;
use crate::snapshot::{self, View};
use crate::store::{self, Pause, RunRow, StateLock, Store};

const FIRINGS: usize = 5;
/// How far to look for a run that has ended; more than can go or wait at once.
const LOOK_BACK: u32 = 20;

/// Where a sync stands.
#[derive(Debug)]
pub struct Status<'c> {
    pub sync: &'c SyncConfig,
    pub paused: Option<Paused>,
    /// The last pause or resume, unless the config has overruled it.
    pub pause: Option<Pause>,
    /// The last that ended.
    pub last: Option<RunRow>,
    pub unfinished: Vec<RunRow>,
    /// Whether a process has the state; if none has, nothing goes on, whatever an unfinished run's phase says.
    pub has_owner: bool,
    /// Or why the snapshot cannot be read.
    pub header: Result<Option<Header>, String>,
    pub next: Vec<Instant>,
}

impl<'c> Status<'c> {
    /// Reads what is known at `now`; there is no store before the first run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(
        config: &Config,
        store: Option<&Store>,
        sync: &'c SyncConfig,
        now: Instant,
    ) -> Result<Status<'c>, store::Error> {
        let name = &sync.sync.name;
        let (mut last, mut unfinished, mut pause, mut known) = (None, Vec::new(), None, None);
        if let Some(store) = store {
            let runs = store.runs(Some(name), LOOK_BACK, None).await?;
            last = runs.into_iter().find(|run| run.phase.is_ended());
            unfinished = store.unfinished().await?;
            unfinished.retain(|run| run.sync == *name);
            pause = store.pause(name).await?;
            known = store.known(name).await?;
        }
        let pause = standing(pause, sync.paused);
        let paused = paused(name, pause.clone(), sync.paused);
        let next = match &sync.schedule {
            Some(schedule) if paused.is_none() => {
                let schedule = Schedule::parse(&schedule.cron, &schedule.time_zone);
                schedule.expect("the config has checked it").next(now, FIRINGS)
            }
            _ => Vec::new(),
        };
        let header = header(config, name, known).await;
        let has_owner = StateLock::is_held(&config.state)?;
        Ok(Status { sync, paused, pause, last, unfinished, has_owner, header, next })
    }

    pub fn to_json(&self) -> Value {
        let header = self.header.as_ref().ok().and_then(Option::as_ref);
        json!({
            "sync": self.sync.sync.name,
            "mode": self.sync.sync.mode,
            "is_paused": self.paused.is_some(),
            "is_paused_in_config": self.sync.paused,
            "pause": self.pause.as_ref().map(document::pause),
            "last_run": self.last.as_ref().map(document::run),
            "unfinished": self.unfinished.iter().map(document::run).collect::<Vec<_>>(),
            "has_owner": self.has_owner,
            "entries": header.map(|header| header.entries),
            "is_epoch_open": header.map(|header| header.is_epoch_open),
            "hold": header.and_then(|header| header.hold.as_ref()).map(|hold| json!({
                "run": hold.run, "keys": hold.keys, "causes": hold.causes,
            })),
            "snapshot_error": self.header.as_ref().err(),
            "next": self.next.iter().map(|at| shown(*at)).collect::<Vec<_>>(),
        })
    }
}

/// The snapshot is read from disk, on a thread where that holds up nobody.
async fn header(
    config: &Config,
    name: &str,
    known: Option<(Lineage, u64)>,
) -> Result<Option<Header>, String> {
    let disk = LocalDisk::existing(config.state.join("snapshots").join(name));
    let name = name.to_owned();
    let mut tasks = Tasks::default();
    tasks.spawn_blocking(move || match View::read(&disk, &name) {
        Ok(None) if known.is_some() => Err(chain(&snapshot::Error::Missing { sync: name })),
        Ok(view) => Ok(view.map(|view| view.header().clone())),
        Err(error) => Err(chain(&error)),
    });
    tasks.next().await.expect("the one task was just spawned")
}
