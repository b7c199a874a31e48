//! The sessions of one read with a server, which all see one state of the database.
//!
//! The first has the server plan what is asked, and holds all of it. Then another one begins, which sees one state for all
//! that it does, holds the same and takes its place: its answer is of no earlier state than that in which all was held.
//! Where the plan asks more often, or another read is to see the same, it exports its state and others begin with it, all
//! before the first row: each has the state for itself then, and none is kept for the sake of another. Not responsible for
//! what is asked (`stream`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::try_join_all;

use super::definition::Definition;
use super::error;
use super::sees::Sees;
use super::session::Session;
use crate::points::is_planted;
use crate::source::error::Error;
use crate::source::reader::Settings;

/// Those that wait to be asked. Dropped, they end.
pub struct Sessions {
    definition: Definition,
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Under which name the server shares the state, if it was asked to.
    at: Option<String>,
    waiting: Vec<Session>,
    /// The queries that were planned, each with its place.
    held: Vec<(String, String)>,
    /// Of the database, once it was asked.
    identity: Option<String>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions with {}", self.definition.remote.place())
    }
}

impl Sessions {
    /// None yet; they will see the state that another read shares `at` this name, or that which the first of them sees.
    pub fn new(definition: &Definition, settings: &Settings, at: Option<&str>) -> Arc<Sessions> {
        let state = State { at: at.map(str::to_owned), ..State::default() };
        let (definition, settings) = (definition.clone(), settings.clone());
        Arc::new(Sessions { definition, settings, state: Mutex::new(state) })
    }

    pub fn is_infinity_null(&self) -> bool {
        self.definition.is_infinity_null
    }

    /// One to plan with. It sees the state that another read shares, or none yet.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn begin(&self) -> Result<Session, Error> {
        let at = self.state().at.clone();
        self.open(at.as_deref().map_or(Sees::Newest, Sees::Shared)).await
    }

    async fn open(&self, sees: Sees<'_>) -> Result<Session, Error> {
        let Settings { name, cancels, .. } = &self.settings;
        Session::open(&self.definition, name, cancels, sees).await
    }

    /// One that holds what was planned; `None` where somebody waits to hold something of it alone.
    async fn begin_behind(&self, sees: Sees<'_>) -> Result<Option<Session>, Error> {
        let mut session = self.open(sees).await?;
        let held = self.state().held.clone();
        for (query, place) in &held {
            if !session.hold(query, place).await? {
                session.leave().await;
                return Ok(None);
            }
        }
        Ok(Some(session))
    }

    /// Has `session`, and each that begins later, hold what the query of the model or table at `place` reads.
    ///
    /// # Errors
    /// As [`Session::hold`], or others hold it for too long.
    pub async fn hold(
        &self,
        session: &mut Session,
        query: String,
        place: &str,
    ) -> Result<(), Error> {
        if !session.hold(&query, place).await? {
            return Err(error::locked(place));
        }
        self.state().held.push((query, place.to_owned()));
        Ok(())
    }

    /// Has the database say which one it is, once.
    ///
    /// # Errors
    /// As [`Session::identity`].
    pub async fn identify(&self, session: &mut Session) -> Result<(), Error> {
        if self.identity().is_none() {
            let identity = session.identity(&self.definition.remote.place()).await?;
            self.state().identity = Some(identity);
        }
        Ok(())
    }

    /// What the database said.
    pub fn identity(&self) -> Option<String> {
        self.state().identity.clone().filter(|_| !is_planted("another_database_believed"))
    }

    /// Lets one wait until it is taken.
    pub fn put(&self, session: Session) {
        self.state().waiting.push(session);
    }

    pub fn take(&self) -> Option<Session> {
        self.state().waiting.pop()
    }

    /// Has one that sees one state take the place of the one that waits, with which all was planned. `false`: somebody waits to
    /// hold something of it alone, and none waits any more; to be planned anew.
    ///
    /// # Errors
    /// As [`Session::open`] and [`Session::hold`].
    pub async fn still(&self) -> Result<bool, Error> {
        if self.state().at.is_some() || is_planted("state_before_locks") {
            return Ok(true);
        }
        let Some(holder) = self.take() else { return Ok(true) };
        let behind = self.begin_behind(Sees::Still).await;
        holder.leave().await;
        match behind? {
            Some(still) => self.put(still),
            None => {
                self.state().held.clear();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has so many wait, which all see one state, where one waits with which all was planned.
    ///
    /// # Errors
    /// As [`Sessions::still`], or the server cannot share the state.
    pub async fn await_readers(&self, count: usize) -> Result<(), Error> {
        let unsaid = |error| self.definition.remote.unsaid(error);
        if count == 0 {
            if let Some(session) = self.take() {
                session.leave().await;
            }
            return Ok(());
        }
        let place = self.definition.remote.place();
        if !self.still().await.map_err(unsaid)? {
            return Err(error::locked(&place));
        }
        if count > 1 {
            let at = self.share().await?;
            let sees = at.as_deref().map_or(Sees::Newest, Sees::Shared);
            let more = try_join_all((1..count).map(|_| self.begin_behind(sees))).await;
            let more: Option<Vec<_>> = more.map_err(unsaid)?.into_iter().collect();
            self.state().waiting.extend(more.ok_or_else(|| error::locked(&place))?);
        }
        Ok(())
    }

    /// Under which name another read can see the state, as long as none of them was asked for its answer; `None` where none
    /// waits, and nothing is read.
    ///
    /// # Errors
    /// The server cannot share it, or is gone.
    pub async fn share(&self) -> Result<Option<String>, Error> {
        let (known, session) = {
            let mut state = self.state();
            (state.at.clone(), state.waiting.pop())
        };
        let Some(mut session) = session else { return Ok(None) };
        let exported = match known {
            Some(known) => known,
            None => {
                let place = self.definition.remote.place();
                let exported = session.export(&place).await;
                exported.map_err(|error| self.definition.remote.unsaid(error))?
            }
        };
        let mut state = self.state();
        state.at = Some(exported.clone());
        state.waiting.push(session);
        Ok(Some(exported))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
