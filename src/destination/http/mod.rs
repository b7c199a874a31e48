//! The declarative HTTP destination: requests from templates, answers judged by declared rules.
//!
//! This file is what is prepared once. `client` sends, `outcome` judges, `encoder` renders records, `check` refuses what
//! cannot work. Guards: secrets appear in no `Debug`, and the credentials go to the host of the base URL only.

pub mod check;
mod client;
mod credentials;
pub mod encoder;
mod fold;
pub mod identify;
mod loss;
mod outcome;
mod receipt;
mod scrub;
mod template;

use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::check::Problem;
pub use self::credentials::Credentials;
use self::encoder::Encoder;
use self::template::{Scope, Template};
use crate::destination::definition::{Body, Connection, Method, OutcomeRule, Request, Requests};
use crate::domain::compare::Compare;
use crate::domain::entry::Operation;
use crate::domain::form::Form;
use crate::domain::hexadecimal;

/// Why a destination cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the destination cannot work: {}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Problem>),
    #[error(
        "no HTTPS client can be made: {0}; install the system's CA certificates (`ca-certificates`)"
    )]
    Client(String),
}

/// One object at one HTTP API.
pub struct Http {
    client: reqwest::Client,
    connection: Connection,
    upsert: Prepared,
    delete: Option<Prepared>,
    identity: String,
    rendering: String,
    credentials: Credentials,
    /// What references stand for elsewhere: never to be repeated either.
    hidden: Vec<SecretString>,
}

/// The fields of the records.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'f> {
    /// The mapped fields, in the order of the batch's columns.
    pub names: &'f [String],
    /// By field; those that are not there are the usual one.
    pub forms: &'f [Form],
    /// What of each field counts as a change; of those that are not there, everything.
    pub compares: &'f [Compare],
    /// The places of the key's fields.
    pub key: &'f [usize],
}

/// A request, but for its records.
struct Prepared {
    method: reqwest::Method,
    /// Where the path is the same for all.
    url: Option<Url>,
    /// But `Authorization`.
    headers: HeaderMap,
    idempotency_header: Option<HeaderName>,
    encoder: Encoder,
    outcome: Vec<OutcomeRule>,
    has_key_in_path: bool,
    /// Scalars and path steps of the templates.
    constants: Vec<String>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Http {
    /// Compiles the requests over fields that are all said as usual. `fields` are the mapped fields in the order of the
    /// batch's columns, `key` the places of the key's fields among them. Opens no connection.
    ///
    /// # Errors
    /// The definition cannot work (see [`check::validate`]), or the system has no CA certificates.
    pub fn new(
        connection: &Connection,
        requests: &Requests,
        fields: &[String],
        key: &[usize],
    ) -> Result<Http, Error> {
        let fields = Fields { names: fields, forms: &[], compares: &[], key };
        Http::with(Credentials::new(connection), connection, requests, fields)
    }

    /// As [`Http::new`], with credentials that were read before, and fields that may have forms of their own.
    ///
    /// # Errors
    /// As there.
    pub fn with(
        credentials: Credentials,
        connection: &Connection,
        requests: &Requests,
        fields: Fields<'_>,
    ) -> Result<Http, Error> {
        let problems = check::validate(connection, requests, fields);
        let Fields { names: fields, forms, key, .. } = fields;
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let prepare = |request: &Request, is_delete| {
            Prepared::new(connection, request, Scope { fields, forms, key, is_delete })
                .map_err(|problem| Error::Invalid(vec![problem]))
        };
        Ok(Http {
            client: client::build(connection)?,
            connection: connection.clone(),
            upsert: prepare(&requests.upsert, false)?,
            delete: requests.delete.as_ref().map(|delete| prepare(delete, true)).transpose()?,
            identity: identity(connection, &requests.upsert),
            rendering: rendering(&requests.upsert, fields),
            credentials,
            hidden: hidden(connection, requests),
        })
    }

    /// See [`super::Destination::encoder`].
    pub fn encoder(&self, operation: Operation) -> Option<&Encoder> {
        self.prepared(operation).map(|prepared| &prepared.encoder)
    }

    /// See [`super::Destination::carries_key`].
    pub fn carries_key(&self, operation: Operation) -> bool {
        self.prepared(operation).is_some_and(|prepared| prepared.idempotency_header.is_some())
    }

    /// See [`super::Destination::identity`].
    pub fn identity(&self) -> String {
        self.identity.clone()
    }

    /// See [`super::Destination::rendering`].
    pub fn rendering(&self) -> String {
        self.rendering.clone()
    }

    /// See [`super::Destination::credentials_hash`].
    pub fn credentials_hash(&self, lineage: u128) -> Option<String> {
        self.credentials.hash(lineage)
    }

    /// The encoder that [`Http::new`] would make of this request, without a client. For the fuzz targets.
    ///
    /// # Errors
    /// A template cannot be compiled.
    #[cfg(feature = "faults")]
    #[doc(hidden)]
    pub fn compiled(
        connection: &Connection,
        request: &Request,
        fields: Fields<'_>,
        is_delete: bool,
    ) -> Result<Encoder, Problem> {
        let Fields { names: fields, forms, key, .. } = fields;
        Prepared::new(connection, request, Scope { fields, forms, key, is_delete })
            .map(|prepared| prepared.encoder)
    }

    fn prepared(&self, operation: Operation) -> Option<&Prepared> {
        match operation {
            Operation::Upsert => Some(&self.upsert),
            Operation::Delete => self.delete.as_ref(),
        }
    }
}

impl Prepared {
    fn new(
        connection: &Connection,
        request: &Request,
        scope: Scope<'_>,
    ) -> Result<Prepared, Problem> {
        let at = if scope.is_delete { check::At::Delete } else { check::At::Upsert };
        let problem = |pointer: &str, message| Problem { at, pointer: pointer.to_owned(), message };
        let path = template::path(&request.path, scope).map_err(|why| problem("/path", why))?;
        let template = match &request.body {
            Body::None => Template::default(),
            Body::Json(value) => template::body(value, scope).map_err(|mut whys| {
                let (pointer, why) = whys.swap_remove(0);
                problem(&format!("/body{pointer}"), why)
            })?,
        };
        let is_in_path = |index: &usize| path.iter().any(|it| it.field() == Some(*index));
        let has_fields = path.iter().any(|segment| segment.field().is_some());
        let url = if has_fields {
            None
        } else {
            let url = Url::parse(&format!("{}{}", connection.base_url, request.path));
            Some(url.map_err(|error| problem("/path", error.to_string()))?)
        };
        let mut constants = template.constants.clone();
        let written = request.written.as_ref().unwrap_or(&request.path);
        constants.extend(written.split(['/', '?', '&', '=', ',']).map(str::to_owned));
        constants.retain(|constant| {
            let is_in = |hidden: &SecretString| constant.contains(hidden.expose_secret());
            !connection.hidden.iter().chain(&request.hidden).any(is_in)
        });
        let idempotency_header = request.idempotency.header.as_ref();
        Ok(Prepared {
            method: match request.method {
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
                Method::Patch => reqwest::Method::PATCH,
                Method::Delete => reqwest::Method::DELETE,
            },
            url,
            headers: headers(connection, request),
            idempotency_header: idempotency_header.and_then(|name| name.parse().ok()),
            has_key_in_path: scope.key.iter().all(is_in_path) && !scope.key.is_empty(),
            encoder: Encoder {
                fields: scope.fields.to_vec(),
                path: has_fields.then_some(path),
                template,
                limits: request.batch,
            },
            outcome: request.outcome.clone(),
            constants,
        })
    }
}

/// The headers every attempt has beside `Authorization`; the request's own win over the connection's, both over ours.
fn headers(connection: &Connection, request: &Request) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if request.body != Body::None {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.extend(headers_of(&connection.headers));
    headers.extend(headers_of(&request.headers));
    headers
}

/// Headers as the config has them; a later one of a name takes the place of an earlier.
fn headers_of(written: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        if let (Ok(name), Ok(mut value)) =
            (HeaderName::try_from(name), HeaderValue::try_from(value))
        {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers
}

/// What references stand for, as far as there is something to hide.
fn hidden(connection: &Connection, requests: &Requests) -> Vec<SecretString> {
    let requests = std::iter::once(&requests.upsert).chain(&requests.delete);
    let all = connection.hidden.iter().chain(requests.flat_map(|request| &request.hidden));
    all.filter(|hidden| !hidden.expose_secret().is_empty()).cloned().collect()
}

/// The account and the object. It is stored and shown: where references stand in the file it is what is written there,
/// and a hash tells what they stand for.
pub fn identity(connection: &Connection, upsert: &Request) -> String {
    let account = connection.account.as_ref().unwrap_or(&connection.base_url);
    if connection.written.is_none() && upsert.written.is_none() {
        return format!("{account} {}", upsert.path);
    }
    let mut digest = Sha256::new();
    for part in [account, &upsert.path] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    let hash = hexadecimal::of(&digest.finalize()[..8]);
    let (account, path) = (connection.written.as_ref(), upsert.written.as_ref());
    format!(
        "{} {} ({hash})",
        account.or(connection.account.as_ref()).unwrap_or(&connection.base_url),
        path.unwrap_or(&upsert.path)
    )
}

/// Raised when the same template and row begin to look different.
const RENDERING_VERSION: u32 = 1;

/// A hash of method, path, body and field names, whatever the order of names.
pub fn rendering(upsert: &Request, fields: &[String]) -> String {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    let body = match &upsert.body {
        Body::None => Value::Null,
        Body::Json(value) => {
            let mut value = value.clone();
            value.sort_all_objects();
            value
        }
    };
    let text = serde_json::json!([format!("{:?}", upsert.method), upsert.path, body, fields]);
    format!("http-{RENDERING_VERSION}:{}", hexadecimal::of(&Sha256::digest(text.to_string())))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::destination::definition::{
        Auth, BatchLimits, Decode, Idempotency, Renewal, Repeat, StatusMatch, Then,
        is_credential_name,
    };

    pub fn connection(base_url: &str, auth: Auth) -> Connection {
        Connection {
            name: "crm".to_owned(),
            base_url: base_url.to_owned(),
            auth,
            headers: vec![("X-Api-Key".to_owned(), "canary-key".to_owned())],
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(20),
            account: None,
            identify: None,
            written: None,
            hidden: Vec::new(),
            renewal: None,
        }
    }

    pub fn request(path: &str, body: Body, records: u32) -> Request {
        Request {
            method: Method::Post,
            path: path.to_owned(),
            headers: Vec::new(),
            batch: BatchLimits { records, bytes: 1 << 20 },
            body,
            idempotency: Idempotency {
                repeat: Repeat::Key,
                header: Some("Idempotency-Key".to_owned()),
            },
            outcome: vec![OutcomeRule {
                status: vec![StatusMatch::Exactly(200)],
                when: Vec::new(),
                decode: Decode::Json,
                then: Then::Delivered,
            }],
            written: None,
            hidden: Vec::new(),
        }
    }

    pub fn requests() -> Requests {
        let rows = Body::Json(json!({"rows": {"each": "{{record}}"}}));
        Requests {
            upsert: request("/contacts", rows, 100),
            delete: Some(Request {
                method: Method::Delete,
                ..request("/contacts/{{record.id}}", Body::None, 1)
            }),
        }
    }

    pub fn fields() -> Vec<String> {
        ["id", "email"].map(str::to_owned).to_vec()
    }

    fn http(connection: &Connection, requests: &Requests) -> Http {
        Http::new(connection, requests, &fields(), &[0]).expect("it is valid")
    }

    fn bearer(token: &str) -> Auth {
        Auth::Bearer(token.to_owned().into())
    }

    #[test]
    fn identity_is_the_account_or_the_address_and_the_object() {
        let mut connection = connection("http://crm.example.com", Auth::None);
        assert_eq!(http(&connection, &requests()).identity(), "http://crm.example.com /contacts");
        connection.account = Some("acme".to_owned());
        assert_eq!(http(&connection, &requests()).identity(), "acme /contacts");
    }

    #[test]
    fn an_identity_shows_references_as_they_are_written_and_tells_what_they_stand_for() {
        let with = |token: &str| {
            let mut connection = connection(&format!("http://crm/{token}"), Auth::None);
            connection.written = Some("http://crm/${TOK}".to_owned());
            let mut requests = requests();
            requests.upsert.path = format!("/b?k={token}");
            requests.upsert.written = Some("/b?k=${TOK}".to_owned());
            let http = http(&connection, &requests);
            let printed = format!("{connection:?} {http:?} {requests:?}");
            assert!(!printed.contains("canary"), "{printed}");
            http.identity()
        };
        let identity = with("canary-1");
        assert!(identity.starts_with("http://crm/${TOK} /b?k=${TOK} ("), "{identity}");
        assert!(!identity.contains("canary"), "{identity}");
        assert_eq!(identity, with("canary-1"));
        assert_ne!(identity, with("canary-2"));
    }

    #[test]
    fn names_of_credentials_are_known_by_their_last_word() {
        for name in [
            "X-Auth",
            "X-Api-Key",
            "apikey",
            "accessToken",
            "Authorization",
            "x_secret",
            "Ocp-Subscription-Key",
        ] {
            assert!(is_credential_name(name), "{name}");
        }
        for name in ["X-Client", "primary_key", "Idempotency-Key", "key", "X-Token-Type", "author"]
        {
            assert!(!is_credential_name(name), "{name}");
        }
    }

    #[test]
    fn rendering_changes_with_how_a_row_looks_and_with_nothing_else() {
        let connection = connection("http://crm.example.com", Auth::None);
        let first = http(&connection, &requests()).rendering();
        let mut same = requests();
        same.delete = None;
        same.upsert.batch.records = 7;
        same.upsert.headers.push(("X-A".to_owned(), "b".to_owned()));
        assert_eq!(http(&connection, &same).rendering(), first);
        let mut other = requests();
        other.upsert.body = Body::Json(json!({"rows": {"each": ["{{record}}"]}}));
        assert_ne!(http(&connection, &other).rendering(), first);
    }

    #[test]
    fn credentials_are_told_apart_by_a_keyed_hash() {
        let hash = |auth, lineage| {
            let connection = connection("http://crm.example.com", auth);
            http(&connection, &requests()).credentials_hash(lineage).expect("there are some")
        };
        assert_eq!(hash(bearer("a"), 1), hash(bearer("a"), 1));
        assert_ne!(hash(bearer("a"), 1), hash(bearer("b"), 1));
        assert_ne!(hash(bearer("a"), 1), hash(bearer("a"), 2));
        assert_eq!(hash(bearer("a"), 1).len(), 64);
        let mut bare = connection("http://crm.example.com", Auth::None);
        bare.headers.clear();
        assert_eq!(http(&bare, &requests()).credentials_hash(1), None);
    }

    #[test]
    fn credentials_are_read_anew_when_a_run_begins_if_they_can_be() {
        let mut connection = connection("http://crm.example.com", bearer("a"));
        let hash = |connection: &Connection| http(connection, &requests()).credentials_hash(1);
        let first = hash(&connection);
        connection.renewal = Some(Renewal::new(|| None));
        assert_eq!(hash(&connection), first);
        connection.renewal = Some(Renewal::new(|| Some(bearer("b"))));
        assert_ne!(hash(&connection), first);
    }

    #[test]
    fn nothing_that_is_printed_holds_a_secret() {
        let connection = connection("http://crm.example.com", bearer("canary-token"));
        let http = http(&connection, &requests());
        let printed = format!("{connection:?} {http:?} {:?}", http.upsert.headers);
        assert!(!printed.contains("canary"), "{printed}");
    }
}
