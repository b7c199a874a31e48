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

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::faults::{Fault, Faults, Temper};
use super::object::{Object, Record};
use super::request::{Asked, Misunderstood, Verdict};
use super::table::Table;
use crate::shutdown::{self, Shutdown, Stage, Stopper, Tasks};

/// `Bearer demo` and, for user `timetable` with password `demo`, basic.
const CREDENTIALS: [&str; 2] = ["Bearer demo", "Basic dGltZXRhYmxlOmRlbW8="];
/// Seconds, in answers with 429.
const RETRY_AFTER: u64 = 1;
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
    held: Mutex<Held>,
    /// Rises when a request waits at the gate.
    waiting: watch::Sender<u64>,
    opened: watch::Sender<Opening>,
}

/// Everything under the lock.
#[derive(Debug)]
struct Held {
    tables: BTreeMap<Object, Table>,
    faults: Faults,
    requests: u64,
    gate: Option<Gate>,
    refused: Option<(Object, String)>,
}

/// Answers for one object are held back, without any other fault.
#[derive(Debug)]
struct Gate {
    object: Object,
    /// Requests that are answered yet.
    left: u64,
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

/// What was decided about a request, all at once.
struct Decision {
    answer: Answer,
    /// The object, and the keys that are unanswered until the answer leaves.
    applied: Option<(Object, Vec<String>)>,
    /// The last opening when the request came, where it waits for the next one.
    turn: Option<u64>,
}

enum Answer {
    Response(Response),
    /// The request is applied when the gate opens, if anybody still waits for its answer.
    Later(Asked),
    /// The connection is closed instead.
    Lost,
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
        let held = Held {
            tables: Object::ALL.into_iter().map(|object| (object, Table::default())).collect(),
            faults: Faults::new(seed, temper),
            requests: 0,
            gate: None,
            refused: None,
        };
        let shared = Arc::new(Shared {
            held: Mutex::new(held),
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
        self.shared.held().table(object).records().clone()
    }

    /// The keys of what it applied and never answered.
    pub fn unanswered(&self, object: Object) -> Vec<String> {
        self.shared.held().table(object).unanswered().iter().cloned().collect()
    }

    pub fn counts(&self) -> Counts {
        let held = self.shared.held();
        Counts {
            requests: held.requests,
            faults: held.faults.played().clone(),
            absorbed: held.tables.values().map(Table::absorbed).sum(),
        }
    }

    /// Refuses one of these records from now on, until `accept`; which one.
    pub fn refuse_one(&self, object: Object, keys: Vec<String>) -> Option<String> {
        let mut held = self.shared.held();
        let key = held.faults.pick(keys)?;
        held.refused = Some((object, key.clone()));
        Some(key)
    }

    pub fn accept(&self) {
        self.shared.held().refused = None;
    }

    /// About a third of the records vanish behind everybody's back; how many.
    pub fn lose_a_third(&self, object: Object) -> usize {
        let held = &mut *self.shared.held();
        let Held { tables, faults, .. } = held;
        tables.entry(object).or_default().lose(|| faults.every_third())
    }

    /// The next `answered` requests for this object are answered, without faults; from then on all wait. Of those that wait
    /// the first is applied at once, the others when the gate opens: from outside they look alike.
    pub fn close_gate(&self, object: Object, answered: u64) {
        self.shared.held().gate = Some(Gate { object, left: answered });
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
        self.shared.held().gate = None;
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
        decision = shared.held().apply(asked, &[], false);
    }
    match decision.answer {
        Answer::Response(response) => {
            if let Some((object, keys)) = decision.applied {
                let mut held = shared.held();
                held.table_mut(object).mark_answered(keys.iter().map(String::as_str));
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
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Decision {
        let mut held = self.held();
        held.requests += 1;
        let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !credentials.is_some_and(|given| CREDENTIALS.contains(&given)) {
            return Decision::refusal(StatusCode::UNAUTHORIZED, "say that your token is `demo`");
        }
        let asked = match Asked::read(method, path, body) {
            Ok(asked) => asked,
            Err(Misunderstood(status, why)) => return Decision::refusal(status, why),
        };
        match held.pass(asked.object) {
            Passage::Free => {
                let attempt = headers.get("x-counterflow-attempt");
                let attempt = attempt.and_then(|value| value.to_str().ok()?.parse().ok());
                held.meet(asked, attempt.unwrap_or(1))
            }
            Passage::Answered => held.apply(asked, &[], false),
            Passage::Held => {
                let is_first = *self.waiting.borrow() == 0;
                let decision = if is_first {
                    held.apply(asked, &[], false)
                } else {
                    Decision { answer: Answer::Later(asked), applied: None, turn: None }
                };
                self.waiting.send_modify(|count| *count += 1);
                Decision { turn: Some(self.opened.borrow().turn), ..decision }
            }
        }
    }
}

/// What the gate does to a request.
enum Passage {
    /// There is no gate: faults may be met.
    Free,
    Answered,
    Held,
}

impl Held {
    fn table(&self, object: Object) -> &Table {
        self.tables.get(&object).expect("there is a table for each object")
    }

    fn table_mut(&mut self, object: Object) -> &mut Table {
        self.tables.entry(object).or_default()
    }

    fn pass(&mut self, object: Object) -> Passage {
        match &mut self.gate {
            Some(gate) if gate.object == object => match gate.left.checked_sub(1) {
                Some(left) => {
                    gate.left = left;
                    Passage::Answered
                }
                None => Passage::Held,
            },
            _ => Passage::Free,
        }
    }

    /// Draws a fault and plays it.
    fn meet(&mut self, asked: Asked, attempt: u32) -> Decision {
        let Some(fault) = self.faults.draw(asked.object, asked.is_delete, attempt) else {
            return self.apply(asked, &[], false);
        };
        self.faults.count(fault);
        match fault {
            Fault::TooManyRequests => {
                let again = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
                let why = error("too_many_requests", "slow down");
                Decision::answer((StatusCode::TOO_MANY_REQUESTS, again, why).into_response())
            }
            Fault::Unavailable => {
                let why = error("unavailable", "out of order, for a moment");
                Decision::answer((StatusCode::SERVICE_UNAVAILABLE, why).into_response())
            }
            Fault::Locked => {
                let why = error("locked", "somebody else writes this record");
                Decision::answer((StatusCode::CONFLICT, why).into_response())
            }
            Fault::BusyRecords => {
                let busy = self.faults.busy(asked.items.len());
                self.apply(asked, &busy, false)
            }
            Fault::LostAnswer => self.apply(asked, &[], true),
            Fault::RefusedRecord => self.apply(asked, &[], false),
        }
    }

    /// Applies all but the busy and the refused. The places in `busy` are those of the request's items.
    fn apply(&mut self, mut asked: Asked, busy: &[usize], is_lost: bool) -> Decision {
        let mut verdicts = Vec::with_capacity(asked.items.len());
        let mut applied = Vec::with_capacity(asked.items.len());
        let object = asked.object;
        for (place, item) in asked.items.iter_mut().enumerate() {
            if busy.contains(&place) {
                verdicts.push(Verdict::Busy);
                continue;
            }
            if self.refused.as_ref().is_some_and(|(of, key)| *of == object && *key == item.key) {
                self.faults.count(Fault::RefusedRecord);
                verdicts.push(Verdict::Refused);
                continue;
            }
            let table = self.tables.entry(object).or_default();
            verdicts.push(match item.record.take() {
                Some(record) => {
                    table.upsert(&item.key, record);
                    Verdict::Ok
                }
                None if table.delete(&item.key) => Verdict::Ok,
                None => Verdict::NotFound,
            });
            applied.push(item.key.clone());
        }
        self.table_mut(object).leave_unanswered(applied.iter().map(String::as_str));
        let answer = match asked.answer(&verdicts) {
            _ if is_lost => Answer::Lost,
            (status, Some(body)) => Answer::Response((status, Json(body)).into_response()),
            (status, None) => Answer::Response(status.into_response()),
        };
        Decision { answer, applied: Some((object, applied)), turn: None }
    }
}

impl Decision {
    fn answer(response: Response) -> Decision {
        Decision { answer: Answer::Response(response), applied: None, turn: None }
    }

    fn refusal(status: StatusCode, why: &str) -> Decision {
        Decision::answer((status, error("refused", why)).into_response())
    }
}

fn error(code: &str, message: &str) -> Json<Value> {
    Json(json!({ "error": { "code": code, "message": message } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held {
            tables: BTreeMap::new(),
            faults: Faults::new(1, Temper::Bad),
            requests: 0,
            gate: None,
            refused: None,
        }
    }

    fn asked(keys: &[&str]) -> Asked {
        let customers: Vec<Value> = keys.iter().map(|key| json!({ "id": key })).collect();
        let body = json!({ "customers": customers }).to_string();
        Asked::read(&Method::POST, "/customers/batch", body.as_bytes()).unwrap()
    }

    fn keys(held: &Held) -> Vec<&str> {
        held.table(Object::Customers).records().keys().map(String::as_str).collect()
    }

    #[test]
    fn what_is_busy_or_refused_is_not_applied_and_the_rest_is() {
        let mut held = held();
        held.refused = Some((Object::Customers, "3".to_owned()));
        held.apply(asked(&["1", "2", "3", "4"]), &[0], false);
        assert_eq!(keys(&held), ["2", "4"]);
        assert_eq!(held.faults.played()[&Fault::RefusedRecord], 1);
    }

    #[test]
    fn a_lost_answer_is_applied_and_its_repetition_absorbed() {
        let mut held = held();
        let decision = held.apply(asked(&["1", "2"]), &[], true);
        assert!(matches!(decision.answer, Answer::Lost));
        assert_eq!(keys(&held), ["1", "2"]);
        held.apply(asked(&["1", "2"]), &[], false);
        assert_eq!(held.table(Object::Customers).absorbed(), 2);
    }

    #[test]
    fn a_gate_answers_so_many_and_holds_the_rest_of_its_object_only() {
        let mut held = held();
        held.gate = Some(Gate { object: Object::Orders, left: 1 });
        assert!(matches!(held.pass(Object::Customers), Passage::Free));
        assert!(matches!(held.pass(Object::Orders), Passage::Answered));
        assert!(matches!(held.pass(Object::Orders), Passage::Held));
    }

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
