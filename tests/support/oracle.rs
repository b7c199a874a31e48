//! The oracle destination: a server in the test process that applies what it is asked, plays faults, remembers all.
//!
//! It runs on a thread and runtime of its own, so that tests may block. `POST /contacts/batch` with `{"records":
//! [...]}` upserts, `POST /contacts/batch/archive` with `{"ids": [...]}` deletes; both are answered record by record.
//! `DELETE /contacts/KEY` deletes one record whose key is one field of text. A request is written down, judged and
//! applied in one step under one lock, so that what a test sees after waiting is never half done. Not responsible for
//! judging the journal: see `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::fault::{Fault, Script};
use super::journal::{Journal, Request, Sent, hash};
use super::play;
use super::wire::{Answer, Head, Wire};
use super::{NEXT_TOKEN, TOKEN};

/// A running oracle; it ends when dropped.
pub struct Oracle {
    shared: Arc<Shared>,
    address: String,
    /// The states of the workspaces that were made for it.
    pub(super) states: Mutex<Vec<PathBuf>>,
    /// Keys that people let go: what is held under them is nobody's.
    pub(super) ownerless: Mutex<BTreeSet<String>>,
    _end: oneshot::Sender<()>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Rises with each release.
    pub(super) released: watch::Sender<u64>,
}

struct State {
    journal: Journal,
    script: Script,
    /// Knows idempotency keys: one that comes with another body than before is refused with 422.
    knows_keys: bool,
    /// The bearer tokens that are taken.
    tokens: Vec<String>,
    /// What `GET /me` names as the account.
    account: Value,
    /// What the next questions are answered with instead.
    answers: Vec<(u16, String)>,
    questions: usize,
    /// The next question waits for `release`.
    holds_question: bool,
    connections: usize,
    /// Connections that have not ended.
    open: usize,
    /// A connection of `wait_for_quiet` that is not accepted yet; it is not counted.
    probe: Option<SocketAddr>,
}

/// What was decided about a request, all at once.
pub(super) struct Decision {
    pub number: usize,
    pub fault: Fault,
    pub answer: Answer,
    pub is_receipt: bool,
    /// The count of releases when the request came.
    pub releases: u64,
}

impl Oracle {
    /// Starts an oracle whose records are identified by these fields.
    pub fn start(key_fields: &[&str]) -> Oracle {
        let state = State {
            journal: Journal::new(key_fields),
            script: Script::default(),
            knows_keys: false,
            tokens: [TOKEN, NEXT_TOKEN].map(str::to_owned).to_vec(),
            account: json!("acme"),
            answers: Vec::new(),
            questions: 0,
            holds_question: false,
            connections: 0,
            open: 0,
            probe: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            released: watch::Sender::new(0),
        });
        let (end, ended) = oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be made");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("a bound listener has an address");
                told.send(address.to_string()).expect("the test waits for the address");
                tokio::select! {
                    () = listen(listener, serving) => {}
                    _ = ended => {}
                }
            });
        });
        let address = address.recv().expect("the oracle's thread has begun to listen");
        Oracle { shared, address, states: Mutex::default(), ownerless: Mutex::default(), _end: end }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Takes this token from now on, and no other.
    pub fn take_only(&self, token: &str) {
        self.state().tokens = vec![token.to_owned()];
    }

    /// `GET /me` names this account from now on, at `/account/id`.
    pub fn set_account(&self, account: Value) {
        self.state().account = account;
    }

    /// Answers the next question with this status and body; several stand in a queue.
    pub fn answer_question(&self, status: u16, body: &str) {
        self.state().answers.push((status, body.to_owned()));
    }

    /// Leaves the next question without an answer until `release`, or until whoever asks is gone.
    pub fn hold_question(&self) {
        self.state().holds_question = true;
    }

    /// How often it was asked by GET; such questions are no requests of the journal.
    pub fn question_count(&self) -> usize {
        self.state().questions
    }

    /// Plays `fault` on the request with this number, counted from 1.
    pub fn on_request(&self, number: usize, fault: Fault) {
        self.state().script.on_request(number, fault);
    }

    /// Plays `fault` once, on the next request; several stand in a queue.
    pub fn on_next(&self, fault: Fault) {
        self.state().script.on_next(fault);
    }

    /// Plays `fault` on each request that it concerns and the predicate holds for.
    pub fn fault_when(&self, holds_for: impl Fn(&Sent) -> bool + Send + 'static, fault: Fault) {
        self.state().script.when(Box::new(holds_for), fault);
    }

    /// Plays `fault` on each request that it concerns.
    pub fn always(&self, fault: Fault) {
        self.fault_when(|_| true, fault);
    }

    /// Plays each of `faults` with its probability, drawn from `seed`.
    pub fn mix(&self, seed: u64, faults: Vec<(f64, Fault)>) {
        self.state().script.mix(seed, faults);
    }

    /// From now on a key that came with another body is refused with 422, as destinations do that know keys.
    pub fn know_keys(&self) {
        self.state().knows_keys = true;
    }

    /// Takes all faults out, after making sure that each planted one fired.
    pub fn clear_faults(&self) {
        self.assert_faults_fired();
        self.state().script = Script::default();
    }

    /// A scenario whose fault did not fire fails.
    pub fn assert_faults_fired(&self) {
        let unfired = self.state().script.unfired();
        assert!(unfired.is_empty(), "planted but never played: {unfired:#?}\n{}", self.print());
    }

    /// Lets every request go on that is held now, and applies what was to be applied late.
    pub fn release(&self) {
        let mut state = self.state();
        state.journal.apply_late();
        self.shared.released.send_modify(|releases| *releases += 1);
    }

    /// Blocks until at least `count` requests have come.
    ///
    /// # Panics
    /// After `timeout`, with the journal.
    pub fn wait_for_requests(&self, count: usize, timeout: Duration) {
        self.wait_until(timeout, |journal| journal.requests.len() >= count);
    }

    /// Blocks until the journal is as wanted; never sleeps.
    ///
    /// # Panics
    /// After `timeout`, with the journal.
    pub fn wait_until(&self, timeout: Duration, is_so: impl Fn(&Journal) -> bool) {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        while !is_so(&state.journal) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("waited for {timeout:?} in vain\n{}", self.print());
            }
            let (woken, _) = self.shared.changed.wait_timeout(state, left).expect(WHOLE);
            state = woken;
        }
    }

    /// Blocks while it is so, looking again at each change and now and then.
    ///
    /// # Panics
    /// After `timeout`, with the journal.
    pub fn wait_while(&self, timeout: Duration, is_so: impl Fn(&Journal) -> bool) {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        while is_so(&state.journal) {
            assert!(Instant::now() < deadline, "waited for {timeout:?} in vain");
            let look_again = Duration::from_millis(5);
            (state, _) = self.shared.changed.wait_timeout(state, look_again).expect(WHOLE);
        }
    }

    /// Blocks until every connection has ended, so that what a process that is gone had sent is in the journal.
    ///
    /// # Panics
    /// After `timeout`, with the journal.
    pub fn wait_for_quiet(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        // Whatever waits to be accepted comes before a connection made now.
        let probe = std::net::TcpStream::connect(&self.address).expect("the oracle listens");
        state.probe = Some(probe.local_addr().expect("a connection has an address"));
        while state.open > 0 || state.probe.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("connections stay open\n{}", self.print());
            }
            let (woken, _) = self.shared.changed.wait_timeout(state, left).expect(WHOLE);
            state = woken;
        }
    }

    /// A copy of the journal so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().journal.requests.clone()
    }

    /// Keys that were last applied after the client had given up (B5).
    pub fn late(&self) -> BTreeSet<String> {
        self.state().journal.late.clone()
    }

    /// How many requests have come.
    pub fn request_count(&self) -> usize {
        self.state().journal.requests.len()
    }

    /// How many connections were made, with or without a request.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// The final table D, the co-writer's rows included.
    pub fn table(&self) -> BTreeMap<String, Value> {
        self.state().journal.table.clone()
    }

    /// How many records the final table has.
    pub fn count_held(&self) -> usize {
        self.state().journal.table.len()
    }

    /// The record at the destination under this key.
    pub fn record(&self, key: &str) -> Option<Value> {
        self.state().journal.table.get(key).cloned()
    }

    /// How many operations named this key.
    pub fn count_of(&self, key: &str) -> usize {
        let state = self.state();
        let sent = state.journal.requests.iter().flat_map(|request| request.sent.keys());
        sent.filter(|known| *known == key).count()
    }

    /// Puts a row of another writer into the table, which must never be touched.
    pub fn plant(&self, record: Value) {
        let mut state = self.state();
        let key = state.journal.key_of(&record).expect("a planted row has the key fields");
        state.journal.table.insert(key.clone(), record.clone());
        state.journal.planted.insert(key, record);
    }

    /// The rows that `plant` put there.
    pub fn planted(&self) -> BTreeMap<String, Value> {
        self.state().journal.planted.clone()
    }

    /// What was seen that must never be, in words.
    pub fn violations(&self) -> Vec<String> {
        self.state().journal.violations()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

const WHOLE: &str = "nobody panics while holding the oracle's lock";

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(WHOLE)
    }

    /// Changes the journal and wakes those who wait for it.
    pub(super) fn note<T>(&self, change: impl FnOnce(&mut Journal) -> T) -> T {
        let noted = change(&mut self.state().journal);
        self.changed.notify_all();
        noted
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let connection = {
            let mut state = shared.state();
            if state.probe == Some(peer) {
                state.probe = None;
                shared.changed.notify_all();
                continue;
            }
            state.connections += 1;
            state.open += 1;
            state.connections
        };
        shared.changed.notify_all();
        let serving = Arc::clone(&shared);
        open.spawn(async move {
            serve(stream, connection, Arc::clone(&serving)).await;
            serving.state().open -= 1;
            serving.changed.notify_all();
        });
        while open.try_join_next().is_some() {}
    }
}

/// Serves one connection until it ends; an error of the wire only ends it.
async fn serve(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    while let Ok(Some(head)) = wire.head().await {
        if let Some((number, fault, bytes)) = within_body(&shared, connection, &head) {
            let _ = wire.wait_for_part(bytes).await;
            play::play_within_body(&shared, wire, number, fault).await;
            return;
        }
        let Ok(body) = wire.body(&head).await else { return };
        if head.method == "GET" {
            let mut released = shared.released.subscribe();
            let (answer, is_held) = question(&shared, &head);
            if is_held {
                tokio::select! {
                    _ = released.changed() => {}
                    () = wire.closed() => return,
                }
            }
            if wire.write(&answer.bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let decision = decide(&shared, connection, head, &body);
        let closes = if let Fault::CloseIdle(pause) = decision.fault { Some(pause) } else { None };
        match play::play(&shared, wire, decision).await {
            Ok(Some(kept)) => wire = kept,
            Ok(None) | Err(_) => return,
        }
        if let Some(pause) = closes {
            tokio::time::sleep(pause).await;
            wire.half_close().await;
            if let Ok(Some(head)) = wire.head().await {
                shared.note(|journal| lost(journal, connection, &head, "came as it closed"));
                wire.closed().await;
            }
            return;
        }
    }
}

/// What a question comes to, of whoever has a token; and whether that waits.
fn question(shared: &Shared, head: &Head) -> (Answer, bool) {
    let mut state = shared.state();
    state.questions += 1;
    let is_held = std::mem::take(&mut state.holds_question);
    let given = head.header("authorization").and_then(|given| given.strip_prefix("Bearer "));
    let is_known = given.is_some_and(|given| state.tokens.iter().any(|token| token == given));
    if !state.answers.is_empty() {
        let (status, body) = state.answers.remove(0);
        return (Answer::new(status, "application/json", body), is_held);
    }
    let answer = match (head.path.as_str(), is_known) {
        ("/me", true) => Answer::json(200, &json!({ "account": { "id": state.account } })),
        ("/me", false) => Answer::json(401, &json!({ "error": "refused" })),
        _ => Answer::json(404, &json!({ "error": "refused" })),
    };
    (answer, is_held)
}

/// Writes a request down that is to be played upon within its body; its number, the fault, and the bytes to wait for.
fn within_body(shared: &Shared, connection: usize, head: &Head) -> Option<(usize, Fault, usize)> {
    let mut state = shared.state();
    let number = state.journal.requests.len() + 1;
    let (fault, bytes) = state.script.choose_within_body(number)?;
    lost(&mut state.journal, connection, head, &format!("{fault:?}"));
    shared.changed.notify_all();
    Some((number, fault, bytes))
}

/// Writes a request down of which nothing is made and no more is known than its head.
fn lost(journal: &mut Journal, connection: usize, head: &Head, fault: &str) {
    let number = journal.requests.len() + 1;
    journal.open(sent(number, connection, head, &[]), fault.to_owned());
    journal.close(number);
}

fn sent(number: usize, connection: usize, head: &Head, body: &[u8]) -> Sent {
    let header = |name| head.header(name).map(str::to_owned);
    Sent {
        number,
        at: Instant::now(),
        connection,
        path: head.path.clone(),
        idempotency_key: header("idempotency-key"),
        run: header("x-counterflow-run"),
        headers: head.headers.clone(),
        body_hash: hash(body),
        beginning: String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned(),
        operations: Vec::new(),
    }
}

/// Writes a request down, chooses its fault and applies it where the fault says so: one step under one lock.
fn decide(shared: &Shared, connection: usize, head: Head, body: &[u8]) -> Decision {
    let mut state = shared.state();
    let State { journal, script, tokens, knows_keys, .. } = &mut *state;
    let number = journal.requests.len() + 1;
    let releases = *shared.released.borrow();
    let mut sent = sent(number, connection, &head, body);
    let given = sent.header("authorization").and_then(|given| given.strip_prefix("Bearer "));
    let parsed = match given {
        Some(given) if tokens.iter().any(|token| token == given) => {
            journal.parse(&head.method, &sent.path, body)
        }
        _ => Err("unauthorized".to_owned()),
    };
    let (fault, refused) = match parsed {
        Ok(_) if *knows_keys && journal.requests.iter().any(|it| it.sent.contradicts(&sent)) => {
            (Fault::None, Some(422))
        }
        Ok(operations) => {
            sent.operations = operations;
            (script.choose(&sent), None)
        }
        Err(why) if why == "no such method" => (Fault::None, Some(405)),
        Err(why) if why == "unauthorized" => (Fault::None, Some(401)),
        Err(why) if why.starts_with("no such path") => (Fault::None, Some(404)),
        Err(_) => (Fault::None, Some(400)),
    };
    let shown = refused.map_or_else(|| format!("{fault:?}"), |code| format!("refused: {code}"));
    journal.open(sent, shown);
    let (answer, is_receipt) = match refused {
        Some(code) => (Answer::json(code, &json!({ "error": "refused" })), false),
        None => play::answer(journal, number, &fault),
    };
    shared.changed.notify_all();
    Decision { number, fault, answer, is_receipt, releases }
}
