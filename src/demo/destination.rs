//! The destination that misbehaves: an HTTP server on a loopback address, inside this process.
//!
//! It applies what it is asked, plays faults and counts. A request is judged and applied in one step under one lock, so
//! that what is compared is never half done; what is applied and not yet answered is known as such. Not responsible for
//! which fault comes (`faults`) nor for the shapes of requests (`request`). Invariant: it listens on loopback only.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::conduct::{Answer, Conduct, Decision, Gate, Passage};
use super::faults::{Fault, Temper};
use super::object::{Object, Record};
use super::request::{Asked, Misunderstood};
use super::table::Table;
use crate::shutdown::{self, Shutdown, Stage, Stopper, Tasks};

/// `Bearer demo` and, for user `timetable` with password `demo`, basic.
const CREDENTIALS: [&str; 2] = ["Bearer demo", "Basic dGltZXRhYmxlOmRlbW8="];
/// How long the end waits for what is being answered.
const END: Duration = Duration::from_secs(2);

/// A running destination; what it serves is aborted when it is dropped.
#[derive(Debug)]
pub struct Destination {
    shared: Arc<Shared>,
    address: SocketAddr,
    stopper: Stopper,
    tasks: Tasks<()>,
}

#[derive(Debug)]
struct Shared {
    conduct: Mutex<Conduct>,
    /// Rises when a request waits at the gate.
    waiting: watch::Sender<u64>,
    opened: watch::Sender<Opening>,
}

/// How the gate was last opened.
#[derive(Debug, Clone, Copy, Default)]
struct Opening {
    /// Rises each time.
    turn: u64,
    /// Whether those who waited are hung up on, unanswered.
    is_hung_up: bool,
}

/// What it all came to, so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub requests: u64,
    pub faults: BTreeMap<Fault, u64>,
    /// Operations that came again because their answer had been lost, and did no harm.
    pub absorbed: u64,
}

impl Destination {
    /// Listens on `address`, whose port may be 0.
    ///
    /// # Errors
    /// The address is taken, or is none of a loopback interface.
    pub async fn start(address: SocketAddr, seed: u64, temper: Temper) -> io::Result<Destination> {
        if !address.ip().is_loopback() {
            return Err(io::Error::other("the demo destination listens on loopback only"));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let conduct = Conduct::new(seed, temper);
        let shared = Arc::new(Shared {
            conduct: Mutex::new(conduct),
            waiting: watch::Sender::new(0),
            opened: watch::Sender::new(Opening::default()),
        });
        let (stopper, shutdown) = shutdown::channel();
        let mut tasks = Tasks::default();
        tasks.spawn(serve(listener, Arc::clone(&shared), shutdown));
        Ok(Destination { shared, address, stopper, tasks })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds of one object.
    pub fn records(&self, object: Object) -> BTreeMap<String, Record> {
        self.shared.conduct().table(object).records().clone()
    }

    /// The keys of what it applied and never answered.
    pub fn unanswered(&self, object: Object) -> Vec<String> {
        self.shared.conduct().table(object).unanswered().iter().cloned().collect()
    }

    pub fn counts(&self) -> Counts {
        let conduct = self.shared.conduct();
        Counts {
            requests: conduct.requests,
            faults: conduct.faults.played().clone(),
            absorbed: conduct.tables.values().map(Table::absorbed).sum(),
        }
    }

    /// Refuses one of these records from now on, until `accept`; which one.
    pub fn refuse_one(&self, object: Object, keys: Vec<String>) -> Option<String> {
        let mut conduct = self.shared.conduct();
        let key = conduct.faults.pick(keys)?;
        conduct.refused = Some((object, key.clone()));
        Some(key)
    }

    pub fn accept(&self) {
        self.shared.conduct().refused = None;
    }

    /// About a third of the records vanish behind everybody's back; how many.
    pub fn lose_a_third(&self, object: Object) -> usize {
        let conduct = &mut *self.shared.conduct();
        let Conduct { tables, faults, .. } = conduct;
        tables.entry(object).or_default().lose(|| faults.every_third())
    }

    /// The next `answered` requests for this object are answered, without faults; from then on all wait. Of those that wait
    /// the first is applied at once, the others when the gate opens: from outside they look alike.
    pub fn close_gate(&self, object: Object, answered: u64) {
        self.shared.conduct().gate = Some(Gate { object, left: answered });
        self.shared.waiting.send_replace(0);
    }

    /// Resolves when so many requests wait at the gate. Cancel-safe.
    pub async fn waiting(&self, requests: u64) {
        let mut waiting = self.shared.waiting.subscribe();
        waiting.wait_for(|count| *count >= requests).await.expect("the sender lives in `self`");
    }

    /// Answers all that waits.
    pub fn open_gate(&self) {
        self.open(false);
    }

    /// Hangs up on all that waits, and opens the gate.
    pub fn hang_up(&self) {
        self.open(true);
    }

    fn open(&self, is_hung_up: bool) {
        self.shared.conduct().gate = None;
        let opened = |last: &mut Opening| *last = Opening { turn: last.turn + 1, is_hung_up };
        self.shared.opened.send_modify(opened);
    }

    /// Ends in order: what is being answered has a moment to be finished.
    pub async fn end(mut self) {
        self.stopper.raise(Stage::Draining);
        // What lasts longer is aborted by the drop.
        let _ = tokio::time::timeout(END, self.tasks.next()).await;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut shutdown: Shutdown) {
    let router = Router::new().fallback(answer).with_state(shared);
    let draining = async move { shutdown.reached(Stage::Draining).await };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(draining).await {
        tracing::warn!(%error, "the demo destination ended");
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut decision = shared.decide(&method, uri.path(), &headers, &body);
    if let Some(turn) = decision.turn {
        let mut opened = shared.opened.subscribe();
        let opening = opened.wait_for(|last| last.turn > turn).await;
        if opening.is_ok_and(|last| last.is_hung_up) {
            return cut();
        }
    }
    if let Answer::Later(asked) = decision.answer {
        decision = shared.conduct().apply(asked, &[], false);
    }
    match decision.answer {
        Answer::Response(response) => {
            if let Some((object, keys)) = decision.applied {
                let mut conduct = shared.conduct();
                conduct.table_mut(object).mark_answered(keys.iter().map(String::as_str));
            }
            response
        }
        Answer::Later(_) | Answer::Lost => cut(),
    }
}

/// An answer whose body fails at once: the server can do nothing but close the connection.
fn cut() -> Response {
    let failure = Err::<Bytes, _>(io::Error::other("played: the answer is lost"));
    Response::new(Body::from_stream(futures::stream::iter([failure])))
}

impl Shared {
    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Decision {
        let mut conduct = self.conduct();
        conduct.requests += 1;
        let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !credentials.is_some_and(|given| CREDENTIALS.contains(&given)) {
            return Decision::refusal(StatusCode::UNAUTHORIZED, "say that your token is `demo`");
        }
        if (method, path) == (&Method::GET, "/me") {
            let account = serde_json::json!({ "account": { "id": "airport" } });
            let answer = Answer::Response(axum::Json(account).into_response());
            return Decision { answer, applied: None, turn: None };
        }
        let asked = match Asked::read(method, path, body) {
            Ok(asked) => asked,
            Err(Misunderstood(status, why)) => return Decision::refusal(status, why),
        };
        match conduct.pass(asked.object) {
            Passage::Free => {
                let attempt = headers.get("x-counterflow-attempt");
                let attempt = attempt.and_then(|value| value.to_str().ok()?.parse().ok());
                conduct.meet(asked, attempt.unwrap_or(1))
            }
            Passage::Answered => conduct.apply(asked, &[], false),
            Passage::Held => {
                let is_first = *self.waiting.borrow() == 0;
                let decision = if is_first {
                    conduct.apply(asked, &[], false)
                } else {
                    Decision { answer: Answer::Later(asked), applied: None, turn: None }
                };
                self.waiting.send_modify(|count| *count += 1);
                Decision { turn: Some(self.opened.borrow().turn), ..decision }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_loopback_is_listened_on_and_only_with_the_token_is_anything_applied() {
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        assert!(Destination::start(anywhere, 1, Temper::Mild).await.is_err());
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let destination = Destination::start(here, 1, Temper::Mild).await.unwrap();
        let decide = |headers: &HeaderMap| {
            let body = json!({ "ids": ["1"] }).to_string();
            let path = "/customers/batch/archive";
            match destination.shared.decide(&Method::POST, path, headers, body.as_bytes()).answer {
                Answer::Response(response) => response.status().as_u16(),
                Answer::Later(_) | Answer::Lost => 0,
            }
        };
        let mut headers = HeaderMap::new();
        assert_eq!(decide(&headers), 401);
        headers.insert(header::AUTHORIZATION, "Bearer demo".parse().unwrap());
        assert_ne!(decide(&headers), 401);
        destination.end().await;
    }
}
