//! Sends one attempt and reads its answer whole, within bounds.
//!
//! Not responsible for trying again. Guards: one call is at most one request on the wire (no redirect, no retry, no
//! proxy of the environment); what was sent without a full answer is unknown, and only what never connected is not
//! applied; errors carry no address, since paths hold keys.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect, retry};
use secrecy::ExposeSecret as _;

use super::credentials::Current;
use super::identify::{self, Fault};
use super::loss::{lost, root};
use super::outcome::{Answer, Asked, judge, retry_after};
use super::scrub::Scrub;
use super::{Error, Http, Prepared};
use crate::destination::Outgoing;
use crate::destination::answer::{Attempt, Effect, Judgement, Refusal};
use crate::destination::definition::{Connection, Identify};
use crate::domain::entry::Operation;
use crate::points;
use crate::shutdown::blocking;

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
        .redirect(redirects())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(connect_timeout)
        .timeout(connection.request_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_nodelay(true);
    if !points::is_planted("proxy_honoured") {
        builder = builder.no_proxy();
    }
    if !connection.base_url.starts_with("https:") {
        // Loading the system's certificates takes time and fails where there are none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Error::Client(root(&error)))
}

fn redirects() -> redirect::Policy {
    match () {
        () if points::is_planted("redirect_followed") => redirect::Policy::default(),
        () => redirect::Policy::none(),
    }
}

impl Http {
    /// See [`crate::destination::Destination::send`].
    pub async fn send(&self, outgoing: &Outgoing) -> Attempt {
        let Some(prepared) = self.prepared(outgoing.operation) else {
            return halted("request", format!("no `{}` is declared", outgoing.operation.word()));
        };
        let credentials = self.credentials.current();
        let Some(request) = self.request(prepared, outgoing, &credentials) else {
            return halted("request", "the address or a header cannot be sent".to_owned());
        };
        match self.client.execute(request).await {
            Err(error) => lost(&error, None),
            Ok(response) => {
                let status = response.status().as_u16();
                let wait =
                    response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let wait = wait.and_then(|text| retry_after(text, points::wall_clock()));
                let body = match read(response).await {
                    Ok(body) => body,
                    Err(attempt) => {
                        return Attempt { status: Some(status), retry_after: wait, ..attempt };
                    }
                };
                let answer = Answer { status, retry_after: wait, body: &body };
                let attempt = self.judged(prepared, outgoing, &answer);
                self.renewed(attempt, outgoing.operation, &credentials).await
            }
        }
    }

    /// A request that was refused for its credentials was not applied, and may be tried again where there are others now.
    /// But a delete only where they are known to be for the same account: another one may hold other records of these keys.
    async fn renewed(&self, attempt: Attempt, operation: Operation, used: &Current) -> Attempt {
        let may_be_renewed = operation == Operation::Upsert
            || self.credentials.is_of_one_account
            || points::is_planted("renewal_skips_hold");
        let Judgement::Halt(refusal, effect) = &attempt.judgement else { return attempt };
        if attempt.status != Some(401) || !may_be_renewed {
            return attempt;
        }
        let since = |code: &str, why: &str| {
            let message = format!("the secret has changed since; {why}");
            Refusal { code: code.to_owned(), message }
        };
        match self.renew(used).await {
            Ok(false) => attempt,
            Ok(true) => {
                let judgement = Judgement::NotApplied(since(&refusal.code, &refusal.message));
                Attempt { judgement, ..attempt }
            }
            Err(fault) => {
                let refusal = since(&fault.code, &fault.message);
                let judgement = match fault.is_passing {
                    true => Judgement::NotApplied(refusal),
                    false => Judgement::Halt(refusal, *effect),
                };
                Attempt { judgement, retry_after: fault.retry_after, ..attempt }
            }
        }
    }

    /// The destination has refused `used`: whether others stand by now. Where the account was asked for, it is asked for
    /// again before any row is sent with them.
    ///
    /// # Errors
    /// The others are for another account, or it was not learned; then they do not stand.
    pub(super) async fn renew(&self, used: &Current) -> Result<bool, Fault> {
        let _turn = self.credentials.renewing.lock().await;
        if self.credentials.current().authorization != used.authorization {
            return Ok(true);
        }
        let Some(others) = blocking(|| self.credentials.others()) else { return Ok(false) };
        if let Some(identify) = &self.connection.identify
            && !points::is_planted("renewal_unasked")
            && let Err(fault) = self.confirm(identify, &others).await
        {
            self.credentials.forgo(&others);
            return Err(fault);
        }
        self.credentials.take(others);
        Ok(true)
    }

    /// That these credentials are for the account that the run began with.
    async fn confirm(&self, identify: &Identify, others: &Current) -> Result<(), Fault> {
        let found = identify::whose(&self.client, &self.connection, identify, others).await?;
        match &self.connection.account {
            Some(account) if *account == found => Ok(()),
            _ => Err(identify::fault(
                "other_account",
                format!("it is of account `{found}`, which this run did not begin with"),
            )),
        }
    }

    fn judged(&self, prepared: &Prepared, outgoing: &Outgoing, answer: &Answer<'_>) -> Attempt {
        let credentials = self.credentials.current();
        let secrets = credentials.all_secrets().chain(&self.hidden);
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
        let retry_after = retry_after(retry_after_header, std::time::UNIX_EPOCH);
        self.judged(prepared, outgoing, &Answer { status, retry_after, body })
    }

    fn request(
        &self,
        prepared: &Prepared,
        outgoing: &Outgoing,
        credentials: &Current,
    ) -> Option<reqwest::Request> {
        let url = match (&prepared.url, &outgoing.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) if path.starts_with('/') => {
                Url::parse(&format!("{}{path}", self.connection.base_url)).ok()?
            }
            (None, _) => return None,
        };
        let mut request = reqwest::Request::new(prepared.method.clone(), url);
        let headers = request.headers_mut();
        headers.clone_from(&prepared.headers);
        if let Some(authorization) = &credentials.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if !points::is_planted("run_not_named") {
            headers.insert("x-counterflow-run", HeaderValue::try_from(&outgoing.run).ok()?);
        }
        headers.insert("x-counterflow-attempt", HeaderValue::from(outgoing.attempt));
        if let Some(name) = &prepared.idempotency_header {
            let key = HeaderValue::try_from(outgoing.idempotency_key.as_ref()?).ok()?;
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

/// The request never left.
fn halted(code: &str, message: String) -> Attempt {
    unjudged(Judgement::Halt(Refusal { code: code.to_owned(), message }, Effect::None))
}

#[cfg(test)]
mod tests;
