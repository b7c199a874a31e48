//! The client that stores are asked with: our own, in place of the one that comes with object_store, so that there is one TLS
//! in the process, every request is counted, and no error has an address in it.
//!
//! Not responsible for signing nor for trying again, which are object_store's. Invariants: no redirect is followed and no
//! proxy of the environment taken; what is not to be said in the clear goes over TLS alone.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{redirect, retry};

use super::super::secret::Secret;
use super::super::spent::Meter;
use super::error::distrusted;
use super::heard::Heard;

/// Many servers close a connection that is idle for 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// Makes the clients of one store.
#[derive(Debug)]
pub(super) struct Connector {
    pub connect_timeout: Duration,
    pub idle_timeout: Duration,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// Counts requests.
    pub meter: Arc<Meter>,
}

/// Why there is no answer, without an address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lost(pub String);

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    headers: HeaderMap,
    meter: Arc<Meter>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let is_plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let is_plain = is_plain.is_some_and(|said| said == "true");
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.expose());
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("counterflow/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .https_only(!is_plain)
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.idle_timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true);
        if is_plain {
            // Loading the system's certificates takes time and fails where there are none.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| object_store::Error::Generic {
            store: "client",
            source: Box::new(Lost(root(&error))),
        })?;
        let meter = Arc::clone(&self.meter);
        Ok(HttpClient::new(Client { http, headers, meter }))
    }
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.meter.asked();
        let (mut parts, body) = request.into_parts();
        let heard = parts.extensions.remove::<Heard>();
        let lost = |what: &str| HttpError::new(HttpErrorKind::Unknown, Lost(what.to_owned()));
        let url = parts.uri.to_string().parse().map_err(|_| lost("it has no address"))?;
        let mut asked = reqwest::Request::new(parts.method, url);
        *asked.headers_mut() = parts.headers;
        asked.headers_mut().extend(self.headers.clone());
        if !body.is_empty() {
            let bytes = body.as_bytes().ok_or_else(|| lost("nothing is written here"))?;
            *asked.body_mut() = Some(bytes.clone().into());
        }
        let answer = self.http.execute(asked).await.map_err(|error| told(&error))?;
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let body = match heard.filter(|_| parts.status.is_success()) {
            Some(heard) => heard.listen(&parts, body).await?,
            None => HttpResponseBody::new(body.map_err(|error| told(&error))),
        };
        Ok(HttpResponse::from_parts(parts, body))
    }
}

pub(super) fn told(error: &reqwest::Error) -> HttpError {
    let cause = root(error);
    let kind = match () {
        () if error.is_timeout() => HttpErrorKind::Timeout,
        // It has no other certificate when it is asked again.
        () if distrusted(&cause).is_some() => HttpErrorKind::Unknown,
        () if error.is_connect() => HttpErrorKind::Connect,
        () if error.is_builder() => HttpErrorKind::Unknown,
        () => HttpErrorKind::Interrupted,
    };
    let what = match kind {
        HttpErrorKind::Timeout => "it said nothing in time".to_owned(),
        _ => cause,
    };
    HttpError::new(kind, Lost(what))
}

/// The innermost cause, which names no address.
fn root(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut words = None;
    while let Some(inner) = cause {
        words = Some(inner.to_string());
        cause = inner.source();
    }
    words.unwrap_or_else(|| "the client failed".to_owned())
}
