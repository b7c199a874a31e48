//! The sessions of one read with a server, which all see one state of the database.
//!
//! One is enough for a plan that asks once, and shares nothing: its answer is of the state in which it begins. Where it asks more
//! often, or another read is to see the same, that one exports a state and others begin with it, all before the first row: each
//! has the state for itself then, and none is kept for the sake of another. Not responsible for what is asked (`stream`).
//! Invariant: before a session has a state, it, or the one whose state it is, holds all that will be read; and each holds it
//! itself before the one that did is let go.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::try_join_all;

use super::definition::Definition;
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

    /// One more, which holds what was planned so far.
    ///
    /// # Errors
    /// As [`Session::open`] and [`Session::hold`].
    pub async fn begin(&self) -> Result<Session, Error> {
        let at = self.state().at.clone();
        self.begin_at(at.as_deref()).await
    }

    async fn begin_at(&self, at: Option<&str>) -> Result<Session, Error> {
        let Settings { name, cancels, .. } = &self.settings;
        let mut session = Session::open(&self.definition, name, cancels, at).await?;
        let held = self.state().held.clone();
        for (query, place) in &held {
            session.hold(query, place).await?;
        }
        Ok(session)
    }

    /// Has `session`, and each that begins later, hold what the query of the model or table at `place` reads.
    ///
    /// # Errors
    /// As [`Session::hold`].
    pub async fn hold(
        &self,
        session: &mut Session,
        query: String,
        place: &str,
    ) -> Result<(), Error> {
        session.hold(&query, place).await?;
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

    /// Has so many wait, which all see the state of the one that waits.
    ///
    /// # Errors
    /// As [`Session::open`], or the server cannot share the state.
    pub async fn await_readers(&self, count: usize) -> Result<(), Error> {
        if count == 0 {
            self.take();
        }
        if count > 1 {
            self.share().await?;
            let more = try_join_all((1..count).map(|_| self.begin())).await;
            let more = more.map_err(|error| self.definition.remote.unsaid(error))?;
            self.state().waiting.extend(more);
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
                let shared = self.stilled(&mut session).await;
                shared.map_err(|error| self.definition.remote.unsaid(error))?
            }
        };
        let mut state = self.state();
        state.at = Some(exported.clone());
        state.waiting.push(session);
        Ok(Some(exported))
    }

    /// Has another session take the place of this one, with the state that this one sees now for all that it does, and exports
    /// that.
    async fn stilled(&self, session: &mut Session) -> Result<String, Error> {
        let place = self.definition.remote.place();
        let first = session.export(&place).await?;
        let mut still = self.begin_at(Some(&first)).await?;
        let exported = still.export(&place).await?;
        std::mem::replace(session, still).close();
        Ok(exported)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
