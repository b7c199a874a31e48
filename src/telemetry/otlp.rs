//! Sends the traces of runs by OTLP over HTTP, with the libraries of the OpenTelemetry project.
//!
//! A span for the run, and below it one for each phase. The library's thread sends in the background from a queue with a
//! bound. Not responsible for what a trace says (`traces`). Invariants: a redirect is never followed; what a collector
//! answers is read within a bound; headers are in no log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{redirect, retry};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;

use super::traces::{Error, OfRun};
use crate::domain::id::Instant;
use crate::domain::run::{Outcome, Phase};
use crate::shutdown::Tasks;

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The service's name where the config names none and this is not set.
const SERVICE: &str = "OTEL_SERVICE_NAME";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one request; all attempts of a batch together have the same.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the longest answer that is read.
const LONGEST_ANSWER: usize = 64 << 10;

/// Takes the traces of one process.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Exporter {
    /// Begins to send to this address. Must be called within a runtime.
    ///
    /// # Errors
    /// The address or a header cannot be used.
    pub fn start(
        named_by: &'static str,
        address: &str,
        headers: &[(String, SecretString)],
    ) -> Result<Exporter, Error> {
        let failed = |why: String| Error::Collector { named_by, why };
        let url = reqwest::Url::parse(address).map_err(|error| failed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(failed("it is no address on the web".to_owned()));
        }
        let trouble = Trouble::default();
        let http = client(&url, headers).map_err(failed)?;
        let client = Client { http, runtime: Handle::current(), trouble: trouble.clone() };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(url.as_str())
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // Not the path, which may hold a credential.
        let shown = url.origin().ascii_serialization();
        let heard = Heard { exporter, shown, trouble, is_away: Mutex::new(false) };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(heard)
            .build();
        Ok(Exporter { tracer: provider.tracer(NAME), provider })
    }

    /// Puts the spans of a run into the queue, or drops them where it is full.
    pub fn ended(&self, run: &OfRun<'_>) {
        let start = |name: &'static str, at: Instant| {
            SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(time(at))
        };
        let builder = start("run", run.began).with_attributes(attributes(run));
        let mut root = self.tracer.build_with_context(builder, &Context::new());
        let within = Context::new().with_remote_span_context(root.span_context().clone());
        let ends = run.phases.iter().skip(1).map(|(_, at)| *at).chain([run.ended]);
        for ((phase, at), end) in run.phases.iter().zip(ends) {
            let Some(name) = name(*phase) else { continue };
            self.tracer.build_with_context(start(name, *at), &within).end_with_timestamp(time(end));
        }
        if matches!(run.outcome, Outcome::Failed | Outcome::Interrupted) {
            root.set_status(Status::error(run.outcome.word()));
        }
        root.end_with_timestamp(time(run.ended));
    }

    /// Sends what is in the queue, within a bound. Blocks.
    pub fn close(&self, bound: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(bound) {
            tracing::warn!(%error, "not all traces were sent, and the rest is lost");
        }
    }
}

/// The span of a phase; a run that waits or has ended is in none.
fn name(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Starting => Some("starting"),
        Phase::Reading => Some("reading"),
        Phase::Draining => Some("draining"),
        Phase::Committing => Some("committing"),
        Phase::InQueue | Phase::Ended(_) => None,
    }
}

fn resource() -> Resource {
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", VERSION));
    let is_named = std::env::var_os(SERVICE).is_some_and(|name| !name.is_empty());
    if is_named { builder.build() } else { builder.with_service_name(NAME).build() }
}

fn attributes(run: &OfRun<'_>) -> Vec<KeyValue> {
    let number = |number: u64| Value::I64(i64::try_from(number).unwrap_or(i64::MAX));
    let mut all = vec![
        KeyValue::new("counterflow.sync", run.sync.to_owned()),
        KeyValue::new("counterflow.run", number(run.run.0)),
        KeyValue::new("counterflow.trigger", run.trigger.to_string()),
        KeyValue::new("counterflow.outcome", run.outcome.word()),
        KeyValue::new("counterflow.revision", run.revision.to_owned()),
    ];
    all.extend(run.kind.map(|kind| KeyValue::new("counterflow.kind", kind.to_string())));
    // Its fields are the counts, and nothing else.
    let counts = serde_json::to_value(run.tally).expect("a tally is plain data and always JSON");
    for (name, count) in counts.as_object().into_iter().flatten() {
        let count = number(count.as_u64().unwrap_or_default());
        all.push(KeyValue::new(format!("counterflow.{name}"), count));
    }
    all
}

fn time(at: Instant) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or_default())
}

fn client(
    url: &reqwest::Url,
    headers: &[(String, SecretString)],
) -> Result<reqwest::Client, String> {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let of_header = || format!("the header `{name}` cannot be sent");
        let name: HeaderName = name.parse().map_err(|_| of_header())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| of_header())?;
        value.set_sensitive(true);
        all.insert(name, value);
    }
    let mut builder = reqwest::Client::builder()
        .default_headers(all)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT);
    if url.scheme() != "https" {
        // Loading the system's certificates takes time and fails where there are none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| root(&error))
}

/// Why the last request came to nothing; the library tells less.
#[derive(Debug, Clone, Default)]
struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn put(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Our client, for the library: its thread is none of the runtime's, which therefore sends.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    trouble: Trouble,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let request = reqwest::Request::try_from(request)?;
        let mut sending = Tasks::default();
        sending.spawn_on(send(self.http.clone(), request), &self.runtime);
        let sent = sending.next().await.unwrap_or_else(|| Err("the process ends".to_owned()));
        sent.map_err(|why| {
            self.trouble.put(why.clone());
            why.into()
        })
    }
}

async fn send(http: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, String> {
    let mut answer = http.execute(request).await.map_err(|error| root(&error))?;
    let mut whole = Response::new(Bytes::new());
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = std::mem::take(answer.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| root(&error))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(format!("the answer has more than {LONGEST_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    *whole.body_mut() = Bytes::from(body);
    Ok(whole)
}

/// The innermost cause, which has no address in it.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// The library's exporter, which says in our log when a collector is away, and when it is back.
#[derive(Debug)]
struct Heard {
    exporter: opentelemetry_otlp::SpanExporter,
    shown: String,
    trouble: Trouble,
    is_away: Mutex<bool>,
}

impl SpanExporter for Heard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let trouble = self.trouble.take();
        let mut is_away = self.is_away.lock().unwrap_or_else(PoisonError::into_inner);
        let was_away = std::mem::replace(&mut *is_away, exported.is_err());
        match &exported {
            Err(error) if !was_away => {
                let why = trouble.unwrap_or_else(|| error.to_string());
                let collector = &self.shown;
                tracing::warn!(
                    collector,
                    why,
                    "traces cannot be sent, and are lost until they can"
                );
            }
            Ok(()) if was_away => tracing::info!(collector = self.shown, "traces are sent again"),
            Ok(()) | Err(_) => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
