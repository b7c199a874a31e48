//! The client against a server that plays one answer: what is sent, and what is made of what comes back.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::destination::answer::{Effect, RecordVerdict};
use crate::destination::definition::{Auth, Decode, Identify, Renewal, Requests};
use crate::destination::http::Fields;
use crate::destination::http::tests::{connection, fields, requests};
use crate::domain::entry::Operation;
use crate::shutdown::Tasks;

/// What the server does with a request it has read.
#[derive(Clone, Copy)]
enum Play {
    Answer(&'static str),
    /// Says nothing, and keeps the connection.
    Silence,
    /// Reads the request and resets the connection.
    Reset,
    /// An answer without an end.
    Endless,
    /// Closes the connection before anything is read.
    HangUp,
}

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks<()>,
}

async fn server(play: Play) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&requests);
    let mut tasks = Tasks::default();
    tasks.spawn(async move {
        let mut connections = Tasks::default();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, play, Arc::clone(&heard)));
        }
    });
    Server { address, requests, _tasks: tasks }
}

async fn serve(mut stream: TcpStream, play: Play, heard: Arc<Mutex<Vec<String>>>) {
    if matches!(play, Play::HangUp) {
        return;
    }
    while let Some(request) = read_request(&mut stream).await {
        heard.lock().expect("no test panics with it").push(request);
        match play {
            Play::Answer(answer) => {
                let written = stream.write_all(answer.as_bytes()).await;
                if written.is_err() || answer.contains("connection: close") {
                    return;
                }
            }
            Play::Silence => std::future::pending::<()>().await,
            Play::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Play::Endless => {
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n[";
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b' '; 65536]).await.is_ok() {}
                return;
            }
            Play::HangUp => return,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return Some(text.into_owned());
            }
        } else if !bytes.is_empty() && !bytes[0].is_ascii_uppercase() {
            // Not HTTP (a TLS greeting): whatever came is the request.
            return Some(text.into_owned());
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn http_at(base_url: &str, change: impl FnOnce(&mut Connection, &mut Requests)) -> Http {
    let auth = Auth::Bearer("canary-token".to_owned().into());
    let mut connection = connection(base_url, auth);
    let mut requests = requests();
    change(&mut connection, &mut requests);
    Http::new(&connection, &requests, &fields(), &[0]).expect("it is valid")
}

fn upsert() -> Outgoing {
    Outgoing {
        operation: Operation::Upsert,
        records: 1,
        body: Bytes::from_static(br#"{"rows":[{"id":1,"email":"ann@example.com"}]}"#),
        path: None,
        idempotency_key: Some("0123abcd".to_owned()),
        run: "42".to_owned(),
        attempt: 3,
    }
}

async fn sent(play: Play, outgoing: &Outgoing) -> (Attempt, Vec<String>) {
    let server = server(play).await;
    let http = http_at(&format!("http://{}", server.address), |_, _| ());
    let attempt = http.send(outgoing).await;
    let requests = server.requests.lock().expect("no test panics with it").clone();
    (attempt, requests)
}

fn code(attempt: &Attempt) -> (&'static str, &str) {
    match &attempt.judgement {
        Judgement::Records(_) => ("records", ""),
        Judgement::NotApplied(refusal) => ("not applied", &refusal.code),
        Judgement::Unknown(refusal) => ("unknown", &refusal.code),
        Judgement::Split(refusal) => ("split", &refusal.code),
        Judgement::Halt(refusal, _) => ("halt", &refusal.code),
    }
}

const DELIVERED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_request_carries_its_headers_and_its_whole_body() {
    let (attempt, requests) = sent(Play::Answer(DELIVERED), &upsert()).await;
    assert_eq!(attempt.judgement, Judgement::Records(vec![RecordVerdict::Delivered]));
    assert_eq!(attempt.status, Some(200));
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(request.starts_with("POST /contacts HTTP/1.1\r\n"), "{request}");
    for line in [
        "authorization: Bearer canary-token",
        "idempotency-key: 0123abcd",
        "x-counterflow-run: 42",
        "x-counterflow-attempt: 3",
        "x-api-key: canary-key",
        concat!("user-agent: counterflow/", env!("CARGO_PKG_VERSION")),
        "content-type: application/json",
        "content-length: 45",
        "accept: application/json",
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{line}: {request}");
    }
    assert!(!request.contains("transfer-encoding") && !request.contains("accept-encoding"));
    assert!(request.ends_with(r#"{"rows":[{"id":1,"email":"ann@example.com"}]}"#), "{request}");
}

#[tokio::test]
async fn a_delete_by_path_has_no_body_and_not_found_is_delivered() {
    let answer = Play::Answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let outgoing = Outgoing {
        operation: Operation::Delete,
        body: Bytes::new(),
        path: Some("/contacts/a%2F1".to_owned()),
        ..upsert()
    };
    let (attempt, requests) = sent(answer, &outgoing).await;
    assert_eq!(attempt.judgement, Judgement::Records(vec![RecordVerdict::Delivered]));
    assert!(requests[0].starts_with("DELETE /contacts/a%2F1 HTTP/1.1\r\n"), "{requests:?}");
    assert!(!requests[0].contains("content-type"));
}

#[tokio::test]
async fn an_empty_204_is_a_receipt_where_a_rule_says_so() {
    let server = server(Play::Answer("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let base_url = format!("http://{}", server.address);
    let http = http_at(&base_url, |_, requests| {
        requests.upsert.outcome[0].status =
            vec![crate::destination::definition::StatusMatch::Class(2)];
        requests.upsert.outcome[0].decode = Decode::None;
    });
    for _ in 0..2 {
        let attempt = http.send(&upsert()).await;
        assert_eq!(attempt.judgement, Judgement::Records(vec![RecordVerdict::Delivered]));
    }
    let strict = http_at(&base_url, |_, _| ());
    assert_eq!(code(&strict.send(&upsert()).await), ("unknown", "204"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for answer in [
        "HTTP/1.1 301 Moved\r\nlocation: /else\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 303 See\r\nlocation: /contacts\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 307 Temporary\r\nlocation: /contacts\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 308 Permanent\r\nlocation: /contacts\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (attempt, requests) = sent(Play::Answer(answer), &upsert()).await;
        assert_eq!(code(&attempt).0, "halt", "{answer}");
        assert_eq!(requests.len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_refused_secret_is_read_anew_and_only_another_one_is_tried_b14() {
    let refused =
        "HTTP/1.1 401 No\r\nconnection: close\r\n\r\n{\"message\":\"canary-token, canary-next\"}";
    let server = server(Play::Answer(refused)).await;
    let kept = Arc::new(Mutex::new("canary-token"));
    let read = Arc::clone(&kept);
    let http = http_at(&format!("http://{}", server.address), |connection, _| {
        let read = move || {
            let token = *read.lock().expect("no test panics with it");
            Some(Auth::Bearer(token.to_owned().into()))
        };
        connection.renewal = Some(Renewal::new(read));
    });
    assert_eq!(code(&http.send(&upsert()).await), ("halt", "401"));
    let old = http.credentials.current();
    *kept.lock().expect("no test panics with it") = "canary-next";
    assert_eq!(code(&http.send(&upsert()).await), ("not applied", "401"));
    assert_eq!(http.renew(&old).await, Ok(true), "one that was in flight meanwhile is tried too");
    let attempt = http.send(&upsert()).await;
    assert_eq!(code(&attempt), ("halt", "401"));
    let Judgement::Halt(refusal, _) = attempt.judgement else { panic!() };
    assert!(!refusal.message.contains("canary"), "{}", refusal.message);
    let requests = server.requests.lock().expect("no test panics with it");
    let tokens = ["canary-token", "canary-token", "canary-next"];
    for (request, token) in requests.iter().zip(tokens) {
        assert!(request.contains(&format!("authorization: Bearer {token}\r\n")), "{request}");
    }
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn nobody_takes_other_credentials_while_some_are_read_anew_so_that_none_is_forgotten_i12() {
    let made: Arc<OnceLock<Weak<Http>>> = Arc::default();
    let kept = Arc::new(Mutex::new("canary-token"));
    let (cell, read) = (Arc::clone(&made), Arc::clone(&kept));
    let http = Arc::new(http_at("http://127.0.0.1:1", |connection, _| {
        connection.renewal = Some(Renewal::new(move || {
            let made = cell.get().and_then(Weak::upgrade);
            let is_held = |http: Arc<Http>| http.credentials.renewing.try_lock().is_err();
            assert!(made.is_none_or(is_held), "it is not held");
            let token = *read.lock().expect("no test panics with it");
            Some(Auth::Bearer(token.to_owned().into()))
        }));
    }));
    made.set(Arc::downgrade(&http)).expect("it is set once");
    for next in ["second", "third"] {
        *kept.lock().expect("no test panics with it") = next;
        assert_eq!(http.renew(&http.credentials.current()).await, Ok(true));
    }
    let current = http.credentials.current();
    for token in ["canary-token", "second", "third"] {
        assert!(current.all_secrets().any(|one| one.expose_secret() == token), "{token}");
    }
}

#[tokio::test]
async fn credentials_that_an_account_was_asked_with_are_those_that_are_sent_whatever_comes_next() {
    let server =
        server(Play::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"id\": 1}")).await;
    let mut connection = connection(&format!("http://{}", server.address), Auth::None);
    let reads = Mutex::new(0);
    connection.renewal = Some(Renewal::new(move || {
        let mut reads = reads.lock().expect("no test panics with it");
        *reads += 1;
        Some(Auth::Bearer(format!("canary-{reads}").into()))
    }));
    let identify = Identify { path: "/me".to_owned(), pointer: "/id".to_owned() };
    let (account, credentials) = identify::account(&connection, &identify).await.expect("it says");
    assert_eq!(account, "1");
    let http = Http::with(
        credentials,
        &connection,
        &requests(),
        Fields { names: &fields(), forms: &[], compares: &[], key: &[0] },
    );
    http.expect("it is valid").send(&upsert()).await;
    let requests = server.requests.lock().expect("no test panics with it");
    assert_eq!(requests.len(), 2);
    for request in requests.iter() {
        assert!(request.contains("authorization: Bearer canary-1\r\n"), "{request}");
    }
}

#[tokio::test]
async fn what_asks_for_the_account_again_says_what_it_made_of_that_and_gives_nothing_away_i12() {
    let refused =
        "HTTP/1.1 401 No\r\ncontent-length: 29\r\n\r\n{\"id\":1,\"message\":\"canary-b\"}";
    let server = server(Play::Answer(refused)).await;
    let http = http_at(&format!("http://{}", server.address), |connection, _| {
        connection.account = Some("acme".to_owned());
        connection.identify = Some(Identify { path: "/me".to_owned(), pointer: "/id".to_owned() });
        let reads = Mutex::new(0);
        connection.renewal = Some(Renewal::new(move || {
            let mut reads = reads.lock().expect("no test panics with it");
            *reads += 1;
            let token = if *reads == 1 { "canary-token" } else { "canary-b" };
            Some(Auth::Bearer(token.to_owned().into()))
        }));
    });
    for _ in 0..2 {
        let attempt = http.send(&upsert()).await;
        let Judgement::Halt(Refusal { code, message }, effect) = attempt.judgement else {
            panic!()
        };
        assert_eq!((code.as_str(), effect), ("401", Effect::None));
        assert!(message.contains("the credentials are refused"), "{message}");
    }
    let attempt = http.judged(
        &http.upsert,
        &upsert(),
        &Answer { status: 401, retry_after: None, body: br#"{"message":"canary-b"}"# },
    );
    let Judgement::Halt(refusal, _) = attempt.judgement else { panic!() };
    assert!(!refusal.message.contains("canary"), "{}", refusal.message);
    let requests = server.requests.lock().expect("no test panics with it");
    let rows = requests.iter().filter(|one| one.starts_with("POST"));
    assert!(rows.clone().all(|one| one.contains("Bearer canary-token\r\n")), "{requests:?}");
    assert_eq!((rows.count(), requests.len()), (2, 4), "{requests:?}");
}

#[tokio::test]
async fn retry_after_comes_with_the_judgement() {
    let answer = "HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let (attempt, _) = sent(Play::Answer(answer), &upsert()).await;
    assert_eq!(code(&attempt), ("not applied", "429"));
    assert_eq!(attempt.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_that_repeats_values_and_secrets_is_scrubbed() {
    let answer = "HTTP/1.1 422 No\r\nconnection: close\r\n\r\n\
        {\"message\":\"ann@example.com by canary-token with canary-key\"}";
    let (attempt, _) = sent(Play::Answer(answer), &upsert()).await;
    let message = "refused: *** by *** with ***".to_owned();
    let refusal = Refusal { code: "422".to_owned(), message };
    assert_eq!(attempt.judgement, Judgement::Split(refusal));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_is_not_sent_again() {
    let (attempt, requests) = sent(Play::Reset, &upsert()).await;
    assert_eq!(code(&attempt), ("unknown", "lost"));
    assert_eq!(requests.len(), 1);
    let cut = Play::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}");
    let (attempt, requests) = sent(cut, &upsert()).await;
    assert_eq!(code(&attempt), ("unknown", "lost"));
    assert_eq!((attempt.status, requests.len()), (Some(200), 1));
}

#[tokio::test]
async fn a_slow_answer_is_unknown() {
    let server = server(Play::Silence).await;
    let base_url = format!("http://{}", server.address);
    let http =
        http_at(&base_url, |connection, _| connection.request_timeout = Duration::from_secs(2));
    assert_eq!(code(&http.send(&upsert()).await), ("unknown", "timeout"));
    assert_eq!(server.requests.lock().expect("no test panics with it").len(), 1);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_and_no_receipt() {
    let (attempt, _) = sent(Play::Endless, &upsert()).await;
    assert_eq!(code(&attempt), ("unknown", "too_long"));
    let long = Play::Answer("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{");
    assert_eq!(code(&sent(long, &upsert()).await.0), ("unknown", "too_long"));
}

#[tokio::test]
async fn what_never_connected_is_not_applied() {
    let attempt = http_at("http://127.0.0.1:1", |_, _| ()).send(&upsert()).await;
    assert_eq!(code(&attempt), ("not applied", "connect"));
    let nowhere = http_at("http://nowhere.invalid", |_, _| ()).send(&upsert()).await;
    assert_eq!(code(&nowhere).0, "not applied");
    match nowhere.judgement {
        Judgement::NotApplied(refusal) => assert!(!refusal.message.contains("/contacts")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_cannot_speak_tls_halts_and_one_that_hangs_up_does_not() {
    let requests = requests();
    for (play, expected) in
        [(Play::Answer(DELIVERED), ("halt", "tls")), (Play::HangUp, ("not applied", "connect"))]
    {
        let server = server(play).await;
        let connection = connection(&format!("https://{}", server.address), Auth::None);
        match Http::new(&connection, &requests, &fields(), &[0]) {
            Ok(http) => assert_eq!(code(&http.send(&upsert()).await), expected),
            Err(error) => eprintln!("not measured: {error}"),
        }
    }
}

#[test]
fn an_attempt_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let http = http_at("http://127.0.0.1:1", |_, _| ());
    is_send(&http.send(&upsert()));
}
