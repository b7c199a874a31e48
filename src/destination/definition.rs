//! What a sync says of its destination, validated: where to send, how a batch looks, how answers are judged.
//!
//! This is the shape that grows to every API of the field: more bodies, more ways to name a record in an answer, more
//! verdicts are new arms here. Whatever the file can say and this cannot is refused by `validate` by name.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// One account at one API, shared by syncs.
#[derive(Clone)]
pub struct Connection {
    pub name: String,
    /// Without a trailing slash; `http` or `https`.
    pub base_url: String,
    pub auth: Auth,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    pub connect_timeout: Duration,
    /// From the start, connecting included, to the last byte of the answer. Connecting never takes all of it.
    pub request_timeout: Duration,
    /// The account the credentials are for, where the user declares it.
    pub account: Option<String>,
    /// How the API is asked for that account, where it is not declared.
    pub identify: Option<Identify>,
    /// What names the account, as the file has it, where references stand in it: what they stand for may be a secret.
    pub written: Option<String>,
    /// What references in the file stand for, other than in `auth`.
    pub hidden: Vec<SecretString>,
    /// Where `auth` may change while the process goes on.
    pub renewal: Option<Renewal>,
}

/// A GET request whose answer says which account the credentials are for.
#[derive(Clone, PartialEq, Eq)]
pub struct Identify {
    /// Begins with `/`.
    pub path: String,
    /// JSON pointer to the account in the answer: text or a number.
    pub pointer: String,
}

/// The path may hold a secret: it is not printed.
impl std::fmt::Debug for Identify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identify").field("pointer", &self.pointer).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether it is known which account the credentials are for, so that a new secret says nothing.
    pub fn knows_account(&self) -> bool {
        self.account.is_some() || self.identify.is_some()
    }
}

/// Headers may be credentials, and addresses may hold some: they are not printed.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("written", &self.written)
            .field("auth", &self.auth)
            .field("headers", &headers)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub enum Auth {
    None,
    Bearer(SecretString),
    Basic { user: String, password: SecretString },
}

/// Reads credentials anew from where they are kept.
#[derive(Clone)]
pub struct Renewal(Arc<dyn Fn() -> Option<Auth> + Send + Sync>);

impl Renewal {
    pub fn new(read: impl Fn() -> Option<Auth> + Send + Sync + 'static) -> Renewal {
        Renewal(Arc::new(read))
    }

    /// The credentials as they are now; `None` where they cannot be read. Blocks.
    pub fn read(&self) -> Option<Auth> {
        (self.0)()
    }
}

/// The requests of one sync.
#[derive(Debug, Clone)]
pub struct Requests {
    pub upsert: Request,
    /// Always there for a mirror.
    pub delete: Option<Request>,
}

#[derive(Clone)]
pub struct Request {
    pub method: Method,
    /// Begins with `/`. `{{record.FIELD}}` stands for that field, percent-encoded, where a batch is one record.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub batch: BatchLimits,
    pub body: Body,
    pub idempotency: Idempotency,
    /// In order; the first that matches judges the answer. Answers that match none are judged by the defaults.
    pub outcome: Vec<OutcomeRule>,
    /// The path as the file has it, where references stand in it: what they stand for may be a secret.
    pub written: Option<String>,
    /// What references in the file stand for.
    pub hidden: Vec<SecretString>,
}

/// Paths, headers and bodies may hold secrets: they are not printed.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("batch", &self.batch)
            .field("idempotency", &self.idempotency)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Whether a header or key of this name holds a credential. The name's last word tells, or two that are one.
pub fn is_credential_name(name: &str) -> bool {
    const ENDINGS: [&str; 12] = [
        "bearer",
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "authorization",
        "authentication",
        "cookie",
        "apikey",
        "credential",
        "credentials",
    ];
    // Keys of tables and of requests are no credentials.
    const HARMLESS: [&str; 5] = ["primary", "unique", "idempotency", "delivered", "foreign"];
    let name = name.to_ascii_lowercase();
    let mut words = name.rsplit(|c: char| !c.is_ascii_alphanumeric());
    let last = words.next().unwrap_or_default();
    let before = words.next();
    ENDINGS.iter().any(|ending| last.ends_with(ending))
        || last == "auth"
        || last == "key" && before.is_some_and(|word| !HARMLESS.contains(&word))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

/// A batch is full at whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    pub records: u32,
    /// Of the encoded body.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    None,
    /// A JSON template. A node `{"each": TEMPLATE}` becomes an array with one TEMPLATE for each record of the batch; in
    /// it `"{{record}}"` is the whole mapped object (for a delete: the key's fields) and `"{{record.FIELD}}"` one value.
    /// Without an `each` the batch must be one record, and the placeholders may stand anywhere.
    Json(serde_json::Value),
}

/// Whether a repetition does harm, and how the destination is told that a request is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub repeat: Repeat,
    /// The header that carries the batch's idempotency key.
    pub header: Option<String>,
}

/// Whether an attempt whose outcome is unknown may be repeated within the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The request sets the same state however often it comes.
    Natural,
    /// The destination recognises the idempotency key.
    Key,
    /// Never within a run; the next run asserts the record.
    Never,
}

/// Matches an answer and says what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeRule {
    pub status: Vec<StatusMatch>,
    /// Values that must stand in the body: JSON pointer and value.
    pub when: Vec<(String, serde_json::Value)>,
    pub decode: Decode,
    pub then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMatch {
    Exactly(u16),
    /// `2xx` is `Class(2)`.
    Class(u16),
}

/// What the body must be for the rule to judge it; an answer of another shape is no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    Json,
    /// The body is not looked at.
    None,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// Every record of the request was delivered.
    Delivered,
    PerRecord(PerRecord),
    /// Nothing was applied; try again later.
    Retry,
    /// Every record of the request is refused for good.
    Reject,
    /// Nothing was applied, and the fault is one record's: halve until it is alone.
    Split,
    /// No record will succeed: end the run.
    Halt,
}

/// How the records of a request are found in its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct PerRecord {
    pub by: By,
    /// JSON pointer to the list of results; `""` is the root.
    pub items: String,
    /// JSON pointer in each item to the value that tells.
    pub status: String,
    /// Status values that mean delivered.
    pub delivered: Vec<serde_json::Value>,
    /// Status values that mean not applied, try again.
    pub retry: Vec<serde_json::Value>,
    /// JSON pointers in each item; every other status means rejected, with this code and message.
    pub code: Option<String>,
    pub message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The list has one item for each record, in the order sent.
    Index,
}
