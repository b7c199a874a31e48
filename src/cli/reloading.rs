//! Reads the config of a running server anew: on SIGHUP, when asked, and when the file or one that it names has changed.
//!
//! Not responsible for what changes (`config::compare`) nor for putting it in place (`control`). Invariants: a file with
//! problems, or none, changes nothing and is told of until a good one comes; a file is read once it is at rest; one reload at
//! a time, and what answers questions knows of a config once it is in place.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::address::{self, Announced};
use super::failure::Failure;
use super::order::Budgets;
use super::{last_good, serve, time};
use crate::api::App;
use crate::config::compare::{Account, Changes, compare};
use crate::config::{self, Config};
use crate::control::handle::Handle;
use crate::control::pausing::SELF;
use crate::control::reload::{Asked, Change, Desk, Known, Refused, Reloaded, Request};
use crate::control::sampling::Samples;
use crate::shutdown::{Shutdown, Stage, Tasks, blocking};

/// How often the files are looked at; one that was the same twice is at rest.
const LOOK: Duration = Duration::from_secs(2);

/// SIGHUP, heard from the moment this is made: from then on it no longer ends the process.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    pub fn listen() -> Result<Hangups, Failure> {
        Ok(Hangups(signal(SignalKind::hangup()).map_err(|error| Failure::of(&error))?))
    }
}

/// What a file looks like from outside: size, time of change in two parts, inode.
type Look = Option<(u64, i64, i64, u64)>;

/// Reads the config anew, one time after another.
pub struct Reloading {
    file: PathBuf,
    config: Arc<Config>,
    budgets: Budgets,
    handle: Handle,
    desk: Desk,
    hangups: Hangups,
    samples: Samples,
    apps: watch::Sender<App>,
    announced: Arc<Announced>,
    /// Of the file that runs.
    hash: Option<String>,
    /// The files that count.
    files: BTreeSet<PathBuf>,
    /// How they looked when they were last read.
    read: Vec<Look>,
    /// How they looked the last time, where that is another look.
    restless: Option<Vec<Look>>,
}

/// What a reload needs of the server.
pub struct Parts {
    pub file: PathBuf,
    pub config: Arc<Config>,
    /// In use by the config's syncs.
    pub budgets: Budgets,
    pub handle: Handle,
    pub desk: Desk,
    pub hangups: Hangups,
    pub samples: Samples,
    pub apps: watch::Sender<App>,
    pub announced: Arc<Announced>,
    /// Of the config's file.
    pub hash: Option<String>,
}

impl Reloading {
    pub fn new(parts: Parts) -> Reloading {
        let Parts { file, config, budgets, handle, desk, hangups, .. } = parts;
        let Parts { samples, apps, announced, hash, .. } = parts;
        let files = files(&file, &config.content.files);
        // A file that does not run was never read here: it is as soon as it is at rest, with the files that it names.
        let is_read = desk.known.borrow().warning.is_none();
        let read = if is_read { looks(&files) } else { Vec::new() };
        Reloading {
            file,
            config,
            budgets,
            handle,
            desk,
            hangups,
            samples,
            apps,
            announced,
            hash,
            files,
            read,
            restless: None,
        }
    }

    /// Until the server drains.
    pub async fn serve(mut self, mut shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.reached(Stage::Draining) => return,
                Some(asked) = self.desk.asks.recv() => {
                    let Asked { request, reply } = asked;
                    // Whoever asked may be gone; what is in place stands.
                    let _ = reply.send(self.reload(request).await);
                }
                Some(()) = self.hangups.0.recv() => drop(self.reload(Request::of("SIGHUP")).await),
                _ = ticks.tick() => {
                    if self.has_changed().await {
                        drop(self.reload(Request::of(SELF)).await);
                    }
                }
            }
        }
    }

    /// Whether a file looks other than when it was read, and as it did the last time.
    async fn has_changed(&mut self) -> bool {
        // The files may be far away, and hold up nobody.
        let files = self.files.clone();
        let mut tasks = Tasks::default();
        tasks.spawn_blocking(move || looks(&files));
        let looks = tasks.next().await.expect("the one task was just spawned");
        if looks == self.read {
            self.restless = None;
            return false;
        }
        let is_at_rest = self.restless.as_ref() == Some(&looks);
        self.restless = Some(looks);
        is_at_rest
    }

    async fn reload(&mut self, request: Request) -> Result<Reloaded, Refused> {
        let running = self.config.content.revision.clone();
        if let Some(expected) = request.expected.clone().filter(|expected| *expected != running) {
            return Err(Refused::Stale { expected, running });
        }
        // Before it is read: a change in between is read once more.
        let (looks, hash) = blocking(|| (looks(&self.files), address::hash(&self.file)));
        (self.read, self.restless) = (looks, None);
        let reloaded = match self.load().await {
            Ok(config) => {
                let good = config.clone();
                let placed = self.put_in_place(request, config).await;
                if placed.is_ok() {
                    blocking(|| last_good::keep(&good));
                }
                placed
            }
            Err(refused) => Err(refused),
        };
        if let Err(Refused::Service(_)) = &reloaded {
            // Not the file's fault: it is read again.
            self.read.clear();
        }
        if reloaded.is_ok() {
            self.hash = hash;
        }
        self.tell(reloaded.as_ref().err());
        reloaded
    }

    async fn load(&mut self) -> Result<Config, Refused> {
        let file = self.file.clone();
        let mut tasks = Tasks::default();
        tasks.spawn_blocking(move || config::load(&file));
        let loaded = tasks.next().await.expect("the one task was just spawned");
        let config = match loaded {
            Ok(config) => config,
            Err(problems) => {
                self.count(problems.files().to_vec(), true);
                return Err(Refused::Bad {
                    text: problems.to_string(),
                    problems: problems.to_json(),
                });
            }
        };
        self.count(config.content.files.clone(), config.state != self.config.state);
        if config.state == self.config.state {
            return Ok(config);
        }
        let what = format!(
            "`state` cannot change while the server runs, from `{}` to `{}`",
            self.config.state.display(),
            config.state.display()
        );
        let remedy =
            "end the server, move the folder, and start it again; or put the old value back";
        let file = config.path.display().to_string();
        let text = format!("{file}: state: {what}; {remedy}");
        let problem = json!({
            "file": file, "line": 0, "column": 0, "place": "state", "what": what, "remedy": remedy,
        });
        Err(Refused::Bad { text, problems: json!([problem]) })
    }

    /// These files count from now on; beside those that did, where `is_more`.
    fn count(&mut self, named: Vec<PathBuf>, is_more: bool) {
        let mut next = files(&self.file, &named);
        if is_more {
            next.extend(self.files.iter().cloned());
        }
        if next != self.files {
            self.files = next;
            self.read = blocking(|| looks(&self.files));
        }
    }

    async fn put_in_place(
        &mut self,
        request: Request,
        config: Config,
    ) -> Result<Reloaded, Refused> {
        let changes = compare(&self.config, &config);
        let is_changed = config.content != self.config.content || !changes.is_empty();
        let revision = config.content.revision.clone();
        let reloaded = Reloaded {
            revision: revision.clone(),
            is_changed,
            changes: changes.to_json(),
            words: changes.words(),
        };
        if is_changed {
            let change = self.change(&config, &changes, request);
            let who = change.who.clone();
            let orders = change.syncs.iter().map(|standing| standing.order.clone()).collect();
            self.handle.apply(change).await?;
            self.samples.replace(orders);
            tracing::info!(revision, who, changes = reloaded.words, "the config was reloaded");
            self.config = Arc::new(config);
            let config = Arc::clone(&self.config);
            self.apps.send_modify(|app| app.config = config);
        }
        Ok(reloaded)
    }

    fn change(&mut self, config: &Config, changes: &Changes, request: Request) -> Change {
        let Request { who, why, store, .. } = request;
        let why = why.map_or(String::new(), |why| format!("{why}; "));
        let revision = &config.content.revision;
        let syncs = serve::standing(config, &mut self.budgets);
        let bears = |(name, parts): (&String, &BTreeSet<Account>)| {
            // One that was removed and comes back has the budget that its runs may still use.
            let is_other = parts.contains(&Account::Budget) || parts.contains(&Account::Added);
            let (budget, known) = (self.budgets.get(name)?, config.connections.get(name)?);
            is_other.then(|| (Arc::clone(budget), known.limits))
        };
        Change {
            syncs,
            limits: config.limits(),
            budgets: changes.connections.iter().filter_map(bears).collect(),
            changed: changes.restarting(),
            rescheduled: changes.rescheduled(),
            who,
            message: format!("{why}revision {revision}: {}", changes.words()),
            store,
        }
    }

    /// Lets the log, whoever asks, and commands beside the state know how the config that runs stands to the file.
    fn tell(&self, refused: Option<&Refused>) {
        if let Some(refused) = refused {
            let running = &self.config.content.revision;
            tracing::error!(running, "the config was not reloaded, and nothing changed: {refused}");
        }
        let revision = &self.config.content.revision;
        self.desk.known.send_modify(|known| {
            if known.revision != *revision {
                *known = Known { revision: revision.clone(), since: time::now(), warning: None };
            }
            known.warning = refused.map(|refused| warning(revision, &refused.to_string()));
        });
        let known = self.desk.known.borrow().clone();
        let announced = blocking(|| self.announced.again(self.hash.clone(), known));
        if let Err(error) = announced {
            tracing::warn!(%error, "the config that runs could not be announced beside the state");
        }
    }
}

/// What is said where another config runs than the file as it is now.
pub fn warning(revision: &str, why: &str) -> String {
    format!("the config file as it is now does not run, revision {revision} does: {why}")
}

fn files(config: &Path, named: &[PathBuf]) -> BTreeSet<PathBuf> {
    named.iter().cloned().chain([config.to_owned()]).collect()
}

fn looks(files: &BTreeSet<PathBuf>) -> Vec<Look> {
    let look = |file: &PathBuf| {
        let seen = std::fs::metadata(file).ok()?;
        Some((seen.len(), seen.mtime(), seen.mtime_nsec(), seen.ino()))
    };
    files.iter().map(look).collect()
}
