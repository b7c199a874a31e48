//! Sends one attempt and reads its answer whole, within bounds.
//!
//! Not responsible for trying again. Guards: one call is at most one request on the wire (no redirect, no retry, no
//! proxy of the environment); what was sent without a full answer is unknown, and only what never connected is not
//! applied; errors carry no address, since paths hold keys.

use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect, retry};
use secrecy::ExposeSecret as _;

use super::loss::{lost, root};
use super::outcome::{Answer, Asked, judge, retry_after};
use super::scrub::Scrub;
use super::{Error, Http, Prepared};
use crate::destination::Outgoing;
use crate::destination::answer::{Attempt, Judgement, Refusal};
use crate::destination::definition::Connection;
use crate::points;

/// Bytes of the longest answer that is read; a longer one is no receipt.
pub(super) const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// Many servers close a connection that is idle for 5 s; reusing it later races with them and leaves doubt.
const IDLE: std::time::Duration = std::time::Duration::from_secs(4);
/// More than a connection's budget ever has in flight, so that no connection is closed for want of a place.
const IDLE_CONNECTIONS: usize = 256;

/// Builds the client of one connection.
pub(super) fn build(connection: &Connection) -> Result<Client, Error> {
    // A connect that outlasts the whole request would look like a request without an answer.
    let connect_timeout = connection.connect_timeout.min(connection.request_timeout * 9 / 10);
    let mut builder = Client::builder()
        .user_agent(concat!("counterflow/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(connect_timeout)
        .timeout(connection.request_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_nodelay(true);
    if !connection.base_url.starts_with("https:") {
        // Loading the system's certificates takes time and fails where there are none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Error::Client(root(&error)))
}

impl Http {
    /// See [`crate::destination::Destination::send`].
    pub async fn send(&self, outgoing: &Outgoing) -> Attempt {
        let Some(prepared) = self.prepared(outgoing.operation) else {
            return halted("request", format!("no `{}` is declared", outgoing.operation.word()));
        };
        let Some(request) = self.request(prepared, outgoing) else {
            return halted("request", "the address or a header cannot be sent".to_owned());
        };
        match self.client.execute(request).await {
            Err(error) => lost(&error, None),
            Ok(response) => {
                let status = response.status().as_u16();
                let wait =
                    response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let wait = wait.and_then(|text| retry_after(text, SystemTime::now()));
                let body = match read(response).await {
                    Ok(body) => body,
                    Err(attempt) => {
                        return Attempt { status: Some(status), retry_after: wait, ..attempt };
                    }
                };
                let answer = Answer { status, retry_after: wait, body: &body };
                self.judged(prepared, outgoing, &answer)
            }
        }
    }

    fn judged(&self, prepared: &Prepared, outgoing: &Outgoing, answer: &Answer<'_>) -> Attempt {
        let secrets = self.secrets.iter().chain(&self.hidden);
        let secrets: Vec<&str> = secrets.map(|secret| secret.expose_secret()).collect();
        let path = outgoing.path.as_deref();
        let scrub = Scrub::new(&outgoing.body, path, &prepared.constants, &secrets);
        let asked = Asked {
            operation: outgoing.operation,
            records: outgoing.records,
            has_key_in_path: prepared.has_key_in_path,
            scrub: &scrub,
        };
        judge(&prepared.outcome, &asked, answer)
    }

    /// What [`Http::send`] makes of this answer, read in full. For the fuzz targets.
    #[cfg(feature = "faults")]
    #[doc(hidden)]
    pub fn judge(
        &self,
        outgoing: &Outgoing,
        status: u16,
        retry_after_header: &str,
        body: &[u8],
    ) -> Attempt {
        let prepared = self.prepared(outgoing.operation).expect("the target declares it");
        let retry_after = retry_after(retry_after_header, SystemTime::UNIX_EPOCH);
        self.judged(prepared, outgoing, &Answer { status, retry_after, body })
    }

    fn request(&self, prepared: &Prepared, outgoing: &Outgoing) -> Option<reqwest::Request> {
        let url = match (&prepared.url, &outgoing.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) if path.starts_with('/') => {
                Url::parse(&format!("{}{path}", self.base_url)).ok()?
            }
            (None, _) => return None,
        };
        let mut request = reqwest::Request::new(prepared.method.clone(), url);
        let headers = request.headers_mut();
        headers.clone_from(&prepared.headers);
        headers.insert("x-counterflow-run", HeaderValue::try_from(&outgoing.run).ok()?);
        headers.insert("x-counterflow-attempt", HeaderValue::from(outgoing.attempt));
        if let Some(name) = &prepared.idempotency_header {
            let key = HeaderValue::try_from(&outgoing.idempotency_key).ok()?;
            headers.insert(name.clone(), key);
        }
        if !outgoing.body.is_empty() {
            *request.body_mut() = Some(outgoing.body.clone().into());
        }
        Some(request)
    }
}

/// Reads the answer to its end.
pub(super) async fn read(mut response: Response) -> Result<Bytes, Attempt> {
    let too_long = || {
        let message = format!("the answer is longer than {LONGEST_ANSWER} bytes");
        unjudged(Judgement::Unknown(Refusal { code: "too_long".to_owned(), message }))
    };
    let declared = response.content_length().unwrap_or(0);
    if usize::try_from(declared).map_or(true, |declared| declared > LONGEST_ANSWER) {
        return Err(too_long());
    }
    let status = response.status().as_u16();
    let mut next = async || response.chunk().await.map_err(|error| lost(&error, Some(status)));
    let Some(first) = next().await? else { return Ok(Bytes::new()) };
    let mut whole = Vec::new();
    let mut last = first;
    // Most answers are one chunk, and that one is not copied.
    while let Some(chunk) = next().await? {
        whole.extend_from_slice(&last);
        last = chunk;
        if whole.len() + last.len() > LONGEST_ANSWER && !points::is_planted("unlimited_answer") {
            return Err(too_long());
        }
    }
    if whole.is_empty() {
        return Ok(last);
    }
    whole.extend_from_slice(&last);
    Ok(whole.into())
}

fn unjudged(judgement: Judgement) -> Attempt {
    Attempt { judgement, status: None, retry_after: None }
}

fn halted(code: &str, message: String) -> Attempt {
    unjudged(Judgement::Halt(Refusal { code: code.to_owned(), message }))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::destination::answer::RecordVerdict;
    use crate::destination::definition::{Auth, Decode, Requests};
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
            idempotency_key: "0123abcd".to_owned(),
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
            Judgement::Halt(refusal) => ("halt", &refusal.code),
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
        let cut =
            Play::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}");
        let (attempt, requests) = sent(cut, &upsert()).await;
        assert_eq!(code(&attempt), ("unknown", "lost"));
        assert_eq!((attempt.status, requests.len()), (Some(200), 1));
    }

    #[tokio::test]
    async fn a_slow_answer_is_unknown() {
        let server = server(Play::Silence).await;
        let base_url = format!("http://{}", server.address);
        let http = http_at(&base_url, |connection, _| {
            connection.request_timeout = Duration::from_millis(200)
        });
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let attempt = http_at(&format!("http://{address}"), |_, _| ()).send(&upsert()).await;
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
}
