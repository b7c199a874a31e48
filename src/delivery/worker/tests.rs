//! The loop against a small server on this machine, and what the snapshot knows afterwards.

use std::ops::Range;
use std::sync::Mutex;

use futures::FutureExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::delivery::Counts;
use crate::delivery::batch::Item;
use crate::delivery::limits::Limits;
use crate::destination::definition::{
    Auth, BatchLimits, Body, Connection, Decode, Idempotency, Method, OutcomeRule, Requests,
    StatusMatch, Then,
};
use crate::destination::http::Http;
use crate::domain::entry::Entry;
use crate::domain::id::Epoch;
use crate::domain::key;
use crate::domain::priority::Priority;
use crate::snapshot::Snapshot;
use crate::snapshot::memory_disk::MemoryDisk;

const RETRY: Retry = Retry {
    attempts: 3,
    first_delay: Duration::from_millis(2),
    longest_delay: Duration::from_millis(4),
    longest_time: Duration::from_secs(60),
};

/// The status of the answer to the nth request (from 0); `None` hangs up without one.
type Play = fn(usize, &str) -> Option<u16>;

#[derive(Default)]
struct Heard {
    requests: Mutex<Vec<String>>,
    arrived: Notify,
    /// Answers wait for it, where the server holds them.
    answer: Notify,
}

struct Fixture {
    disk: MemoryDisk,
    snapshot: Snapshot,
    delivery: Delivery,
    heard: Arc<Heard>,
    _server: Tasks<()>,
}

impl Fixture {
    async fn new(play: Play, is_holding: bool, records: u32, repeat: Repeat) -> Fixture {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Heard::default());
        let mut server = Tasks::default();
        let shared = Arc::clone(&heard);
        server.spawn(async move {
            let mut connections = Tasks::default();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, play, is_holding, Arc::clone(&shared)));
            }
        });
        let disk = MemoryDisk::new();
        let mut snapshot = Snapshot::open(Arc::new(disk.clone()), "s", None).unwrap();
        snapshot.commit(|header| header.epoch = Epoch(1)).unwrap();
        let limits = Limits { concurrency: 2, rate: None, retry: RETRY };
        let delivery = Delivery::new(Settings {
            destination: Arc::new(destination(&address, records, repeat)),
            budget: Budget::new(&limits),
            priority: Priority::Normal,
            retry: RETRY,
            upsert_repeat: repeat,
            delete_repeat: repeat,
            lineage: snapshot.header().lineage,
            sync: "s".to_owned(),
            run: RunId(1),
            contents_from: IntentNumber(1),
            first_batch: snapshot.header().next_batch,
            drain_timeout: Duration::from_secs(30),
        });
        Fixture { disk, snapshot, delivery, heard, _server: server }
    }

    fn push(&mut self, numbers: Range<u32>) {
        for number in numbers {
            let (key, fragment) = (key(number), format!(r#"{{"id":{number}}}"#));
            self.delivery.dispatch.push(Operation::Upsert, &item(&key, &fragment));
        }
    }

    async fn finish(&mut self) -> Counts {
        self.delivery.dispatch.seal();
        while !self.delivery.dispatch.is_idle() {
            self.delivery.progress(self.snapshot.journal()).await.unwrap();
        }
        let waits = self.delivery.progress(self.snapshot.journal()).now_or_never();
        assert!(waits.is_none(), "an idle delivery waits");
        self.delivery.dispatch.counts()
    }

    fn entry(&mut self, number: u32) -> Option<Entry> {
        self.snapshot.commit(|_| {}).unwrap();
        self.snapshot.view().lookup(&key(number)).unwrap()
    }

    fn keys(&self) -> Vec<String> {
        let requests = self.heard.requests.lock().unwrap();
        let lines = requests.iter().flat_map(|request| request.lines());
        lines.filter_map(|line| line.strip_prefix("idempotency-key: ")).map(str::to_owned).collect()
    }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn item<'a>(key: &'a [u8], fragment: &'a str) -> Item<'a> {
    Item {
        key,
        key_hash: key::hash(key),
        fingerprint: 7,
        number: None,
        fragment: fragment.as_bytes(),
        target_len: 0,
        is_retry: false,
    }
}

fn destination(base_url: &str, records: u32, repeat: Repeat) -> Destination {
    let connection = Connection {
        name: "crm".to_owned(),
        base_url: base_url.to_owned(),
        auth: Auth::None,
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(20),
        account: None,
        identify: None,
        written: None,
        hidden: Vec::new(),
        renewal: None,
    };
    let upsert = crate::destination::definition::Request {
        method: Method::Post,
        path: "/contacts".to_owned(),
        headers: Vec::new(),
        batch: BatchLimits { records, bytes: 1 << 20 },
        body: Body::Json(json!({"rows": {"each": "{{record}}"}})),
        idempotency: Idempotency { repeat, header: Some("Idempotency-Key".to_owned()) },
        outcome: vec![OutcomeRule {
            status: vec![StatusMatch::Exactly(200)],
            when: Vec::new(),
            decode: Decode::None,
            then: Then::Delivered,
        }],
        written: None,
        hidden: Vec::new(),
    };
    let requests = Requests { upsert, delete: None };
    let fields = vec!["id".to_owned()];
    Destination::Http(Http::new(&connection, &requests, &fields, &[0]).unwrap())
}

async fn serve(mut stream: TcpStream, play: Play, is_holding: bool, heard: Arc<Heard>) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.map_or(0, |length| length.parse().unwrap())
        });
        let Some((_, body)) = whole else {
            if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
            continue;
        };
        let nth = {
            let mut requests = heard.requests.lock().unwrap();
            requests.push(text.clone());
            requests.len() - 1
        };
        heard.arrived.notify_one();
        if is_holding {
            heard.answer.notified().await;
        }
        let Some(status) = play(nth, body) else { return };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

#[tokio::test]
async fn all_is_delivered_and_confirmed() {
    let mut it = Fixture::new(|_, _| Some(200), false, 10, Repeat::Natural).await;
    it.push(0..95);
    let counts = it.finish().await;
    let expected = Counts { delivered: 95, requests: 10, ..Counts::default() };
    assert_eq!(counts, expected);
    let entry = it.entry(94).unwrap();
    assert!(entry.doubt.is_none() && entry.confirmed.unwrap().fingerprint == 7);
    assert_eq!(it.snapshot.header().next_batch, it.delivery.dispatch.next_batch());
}

#[tokio::test]
async fn a_failing_destination_is_tried_again_with_the_same_key() {
    let play: Play = |nth, _| Some(if nth < 2 { 500 } else { 200 });
    let mut it = Fixture::new(play, false, 10, Repeat::Key).await;
    it.push(0..10);
    let counts = it.finish().await;
    assert_eq!((counts.delivered, counts.requests, counts.retries), (10, 3, 2));
    let keys = it.keys();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0] && key.len() == 32));
}

#[tokio::test]
async fn the_one_bad_record_is_found_and_named() {
    let play: Play = |_, body| Some(if body.contains(r#""id":5}"#) { 422 } else { 200 });
    let mut it = Fixture::new(play, false, 8, Repeat::Natural).await;
    it.push(0..8);
    let counts = it.finish().await;
    assert_eq!((counts.delivered, counts.rejected), (7, 1));
    let rejections = it.delivery.dispatch.notes().take_rejected();
    assert_eq!(rejections[0].0, key(5));
    assert_eq!((rejections.len(), rejections[0].2.code.as_str()), (1, "422"));
    let entry = it.entry(5).unwrap();
    assert!(entry.doubt.is_none() && entry.rejection.is_some());
}

#[tokio::test]
async fn a_lost_answer_leaves_doubt() {
    let mut it = Fixture::new(|_, _| None, false, 4, Repeat::Never).await;
    it.push(0..4);
    let counts = it.finish().await;
    assert_eq!((counts.unknown, counts.requests), (4, 1));
    let unknown = it.delivery.dispatch.notes().take_unknown();
    assert_eq!((unknown.len(), unknown[3].2.code.as_str()), (4, "lost"));
    assert_eq!((unknown[3].0.clone(), it.delivery.dispatch.notes().troubles().len()), (key(3), 1));
    assert!(it.entry(3).unwrap().doubt.is_some());
}

#[tokio::test]
async fn an_answer_in_the_drain_counts_and_the_rest_is_unsent() {
    let mut it = Fixture::new(|_, _| Some(200), true, 1, Repeat::Natural).await;
    it.push(0..6);
    it.delivery.dispatch.seal();
    for _ in 0..2 {
        tokio::select! {
            biased;
            () = it.heard.arrived.notified() => {}
            () = async { loop { it.delivery.progress(it.snapshot.journal()).await.unwrap() } } => {}
        }
    }
    it.delivery.drain();
    it.push(6..7);
    it.heard.answer.notify_one();
    it.delivery.progress(it.snapshot.journal()).await.unwrap();
    it.delivery.progress(it.snapshot.journal()).await.unwrap();
    it.delivery.abort();
    let counts = it.finish().await;
    assert_eq!((counts.delivered, counts.unknown, counts.unsent), (1, 1, 5));
    assert_eq!(counts.requests, 2);
}

#[tokio::test]
async fn a_refusal_of_everything_halts() {
    let mut it = Fixture::new(|_, _| Some(401), false, 1, Repeat::Natural).await;
    it.push(0..50);
    let counts = it.finish().await;
    assert_eq!(it.delivery.dispatch.halted().unwrap().code, "401");
    assert_eq!(counts.unsent, 50);
    assert!(counts.requests <= 2);
    assert_eq!(it.entry(0), None);
}

#[tokio::test]
async fn a_withdrawn_record_is_not_sent_unless_its_intent_is_made() {
    let mut it = Fixture::new(|_, _| Some(200), false, 2, Repeat::Natural).await;
    it.push(0..5);
    assert!(it.delivery.dispatch.withdraw(key::hash(&key(0)), &key(0)));
    assert!(it.delivery.dispatch.withdraw(key::hash(&key(4)), &key(4)));
    assert!(!it.delivery.dispatch.withdraw(key::hash(&key(4)), &key(4)));
    let counts = it.finish().await;
    assert_eq!((counts.delivered, it.entry(0)), (3, None));
    assert!(!it.delivery.dispatch.withdraw(key::hash(&key(1)), &key(1)));
}

#[tokio::test]
async fn the_reader_is_held_back_until_batches_have_left() {
    let mut it = Fixture::new(|_, _| Some(200), false, 1, Repeat::Natural).await;
    assert!(it.delivery.dispatch.has_room());
    it.push(0..9);
    assert!(!it.delivery.dispatch.has_room());
    while !it.delivery.dispatch.has_room() {
        it.delivery.progress(it.snapshot.journal()).await.unwrap();
    }
    assert_eq!(it.finish().await.delivered, 9);
}

#[tokio::test]
async fn nothing_leaves_when_its_intent_cannot_be_made_durable() {
    for failing in [1, 2, 3] {
        let mut it = Fixture::new(|_, _| Some(200), false, 1, Repeat::Natural).await;
        it.push(0..6);
        it.delivery.dispatch.seal();
        it.disk.fail_at(failing, true);
        while it.delivery.progress(it.snapshot.journal()).await.is_ok() {}
        assert!(it.delivery.dispatch.is_idle());
        assert_eq!(
            it.delivery.dispatch.counts(),
            Counts { unsent: 6, ..Counts::default() },
            "{failing}"
        );
        assert!(it.heard.requests.lock().unwrap().is_empty());
    }
}
