//! Traces of runs, for an OpenTelemetry collector: what one says, and the handle that takes it.
//!
//! Not responsible for how it is sent (`otlp`, in a build with that feature). Invariants: whoever ends a run is never held
//! up and never fails by its trace; a trace has names, words and counts, and nothing of rows, errors or secrets.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::id::{Instant, RunId};
use crate::domain::kind::Kind;
use crate::domain::run::{Outcome, Phase, Trigger};
use crate::domain::tally::Tally;
use crate::shutdown::Tasks;

#[cfg(feature = "otlp")]
use super::otlp::Exporter;
#[cfg(not(feature = "otlp"))]
use nothing::Exporter;

/// Whether this build can send traces.
pub const IS_BUILT: bool = cfg!(feature = "otlp");
/// What to do where it cannot.
pub const REMEDY: &str =
    "use a build that has it, made with `cargo build --release --features otlp`";

/// The variables that name a collector where the config names none, and what is appended to the value of each.
const VARIABLES: [(&str, &str); 2] =
    [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", PATH)];
/// Where a collector takes traces.
const PATH: &str = "/v1/traces";
/// How long the end of a process may wait for what is not sent yet.
const LAST: Duration = Duration::from_secs(4);

/// A collector of traces, by OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct Collector {
    /// The address that `/v1/traces` follows, without a slash at its end.
    pub endpoint: String,
    /// Sent with every request.
    pub headers: Vec<(String, SecretString)>,
}

/// Two are the same if the same is sent to the same place.
impl PartialEq for Collector {
    fn eq(&self, other: &Collector) -> bool {
        let headers = |of: &Collector| -> Vec<(String, String)> {
            let each = |(name, value): &(String, SecretString)| {
                (name.clone(), value.expose_secret().to_owned())
            };
            of.headers.iter().map(each).collect()
        };
        self.endpoint == other.endpoint && headers(self) == headers(other)
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct OfRun<'a> {
    pub sync: &'a str,
    pub run: RunId,
    /// `None` where it failed before that was known.
    pub kind: Option<Kind>,
    pub trigger: Trigger,
    pub outcome: Outcome,
    /// Of the config that it began with.
    pub revision: &'a str,
    pub tally: &'a Tally,
    pub began: Instant,
    /// When it came to each of its phases, in order.
    pub phases: &'a [(Phase, Instant)],
    pub ended: Instant,
}

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this build sends no traces; {REMEDY}")]
    NotBuilt,
    #[error("traces cannot be sent to the collector that {named_by} names: {why}; correct it")]
    Collector { named_by: &'static str, why: String },
}

/// Takes the traces of runs, and sends them where that is asked for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Exporter>>);

impl Traces {
    /// Sends to the collector of the config, or else to that of the environment; nowhere, if neither names one. Must be called
    /// within a runtime.
    ///
    /// # Errors
    /// The address or a header cannot be used, or the build cannot send.
    pub fn start(collector: Option<&Collector>) -> Result<Traces, Error> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some((named_by, address)) = address(collector, variable) else {
            return Ok(Traces::default());
        };
        if !IS_BUILT && collector.is_none() {
            // It may be set for every process of the machine.
            tracing::warn!("`{named_by}` is set, and this build sends no traces; {REMEDY}");
            return Ok(Traces::default());
        }
        let headers = collector.map(|collector| collector.headers.as_slice()).unwrap_or_default();
        let exporter = Exporter::start(named_by, &address, headers)?;
        Ok(Traces(Some(Arc::new(exporter))))
    }

    /// Takes the trace of a run. What finds no place in the queue is dropped.
    pub fn ended(&self, run: &OfRun<'_>) {
        if let Some(exporter) = &self.0 {
            exporter.ended(run);
        }
    }

    /// Sends what is not sent yet, within a bound; nothing is taken after that.
    pub async fn close(&self) {
        let Some(exporter) = self.0.clone() else { return };
        let mut closing = Tasks::default();
        closing.spawn_blocking(move || exporter.close(LAST));
        closing.next().await;
    }
}

/// Where traces go, and who says so.
fn address(
    collector: Option<&Collector>,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<(&'static str, String)> {
    if let Some(collector) = collector {
        return Some(("`telemetry.otlp`", format!("{}{PATH}", collector.endpoint)));
    }
    VARIABLES.into_iter().find_map(|(name, path)| {
        let address = variable(name).filter(|address| !address.trim().is_empty())?;
        let address = address.trim();
        let base = if path.is_empty() { address } else { address.trim_end_matches('/') };
        Some((name, format!("{base}{path}")))
    })
}

/// What stands for the exporter where there is none.
#[cfg(not(feature = "otlp"))]
mod nothing {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::{Error, OfRun};

    #[derive(Debug)]
    pub enum Exporter {}

    impl Exporter {
        pub fn start(_: &str, _: &str, _: &[(String, SecretString)]) -> Result<Exporter, Error> {
            Err(Error::NotBuilt)
        }

        pub fn ended(&self, _: &OfRun<'_>) {
            match *self {}
        }

        pub fn close(&self, _: Duration) {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str) -> Collector {
        Collector { endpoint: endpoint.to_owned(), headers: Vec::new() }
    }

    #[test]
    fn the_config_wins_over_the_environment_and_an_empty_variable_is_unset() {
        let set = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://b:4318/".to_owned()),
            _ => Some(" ".to_owned()),
        };
        let named = address(Some(&of("http://a:4318")), set);
        assert_eq!(named, Some(("`telemetry.otlp`", "http://a:4318/v1/traces".to_owned())));
        let named = address(None, set);
        let expected = "http://b:4318/v1/traces".to_owned();
        assert_eq!(named, Some(("OTEL_EXPORTER_OTLP_ENDPOINT", expected)));
        let traces = |_: &str| Some("http://c/in".to_owned());
        let expected = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/in".to_owned());
        assert_eq!(address(None, traces), Some(expected), "the address of traces stands as it is");
        assert_eq!(address(None, |_| None), None);
    }

    #[test]
    fn another_header_is_another_collector() {
        let with = |value: &str| Collector {
            headers: vec![("api-key".to_owned(), SecretString::from(value))],
            ..of("http://a:4318")
        };
        assert_eq!(with("a"), with("a"));
        assert_ne!(with("a"), with("b"));
        assert!(!format!("{:?}", with("canary")).contains("canary"));
    }

    #[cfg(not(feature = "otlp"))]
    #[test]
    fn a_build_that_cannot_send_refuses_and_names_the_remedy() {
        let refused = Traces::start(Some(&of("http://a:4318"))).unwrap_err();
        assert!(refused.to_string().ends_with("`cargo build --release --features otlp`"));
    }
}
