//! Logs: for people or as JSON lines, to standard error, so that standard output stays the command's own.
//!
//! The level comes from `RUST_LOG` where it is set, else from how often `--verbose` was said. Not here: progress
//! bars (`cli`).

pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
pub mod traces;

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

const VARIABLE: &str = "RUST_LOG";
const OURS: &str = env!("CARGO_CRATE_NAME");

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Human,
    /// One object a line, with the event's fields at its top level.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{VARIABLE}` cannot be read: {0}; write for example `{VARIABLE}=info` or `{VARIABLE}={OURS}=debug`"
    )]
    Directives(String),
    #[error("logging is set up already")]
    Twice,
}

/// Sets up the process's logging; to be called once, by `main`. `verbose` counts `--verbose`: 0 shows warnings,
/// and of this program information too; 1 its debugging; 2 its tracing, and debugging of the libraries.
///
/// # Errors
/// `RUST_LOG` is set to something that cannot be read; or logging is set up already.
pub fn start(format: LogFormat, verbose: u8) -> Result<(), Error> {
    let directives = std::env::var_os(VARIABLE).map(|text| text.to_string_lossy().into_owned());
    let filter = filter(directives.as_deref(), verbose)?;
    let is_coloured = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let subscriber = subscriber(format, filter, is_coloured, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::Twice)
}

/// Brings what was said and is still on its way to where it goes, within a bound: traces of runs, after which none are
/// taken. Lines of the log are written as they are said.
pub async fn flush(traces: &traces::Traces) {
    traces.close().await;
    // Standard error may be gone; there is nobody left to tell.
    let _ = std::io::Write::flush(&mut std::io::stderr());
}

/// An empty variable counts as unset.
fn filter(directives: Option<&str>, verbose: u8) -> Result<EnvFilter, Error> {
    if let Some(directives) = directives.filter(|text| !text.trim().is_empty()) {
        return EnvFilter::builder()
            .with_default_directive(LevelFilter::WARN.into())
            .parse(directives)
            .map_err(|error| Error::Directives(error.to_string()));
    }
    Ok(EnvFilter::new(match verbose {
        0 => format!("warn,{OURS}=info"),
        1 => format!("warn,{OURS}=debug"),
        _ => format!("debug,{OURS}=trace"),
    }))
}

/// Whether it is said by the library whose words have values of rows in them, whatever is asked for: it quotes a table's log.
fn is_quoting(said: &Metadata<'_>) -> bool {
    said.target().starts_with("delta_kernel")
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    is_coloured: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let quiet = FilterFn::new(|said| !is_quoting(said));
    match format {
        LogFormat::Human => {
            Box::new(builder.with_ansi(is_coloured).with_target(false).finish().with(quiet))
        }
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish().with(quiet)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written to it stays to be read.
    #[derive(Clone, Default)]
    pub(crate) struct Page(pub Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, directives: Option<&str>, verbose: u8) -> String {
        let page = Page::default();
        let writer = page.clone();
        let filter = filter(directives, verbose).unwrap();
        let subscriber = subscriber(format, filter, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(rows_read = 7, "run began");
            tracing::debug!("a detail");
            tracing::info!(target: "some_library", "chatter");
            tracing::error!(target: "delta_kernel::scan::state", "canary");
            tracing::error!(target: "delta_kernel_default_engine::json", "canary");
        });
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_logs_are_one_object_a_line_with_the_fields_on_top() {
        let text = logged(LogFormat::Json, None, 0);
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "run began");
        assert_eq!(line["rows_read"], 7);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn human_logs_are_plain_where_colour_is_off() {
        let text = logged(LogFormat::Human, None, 0);
        assert!(text.trim_end().ends_with("INFO run began rows_read=7"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn the_variable_wins_over_verbose_and_an_empty_one_is_unset() {
        assert_eq!(logged(LogFormat::Human, Some("error"), 2), "");
        assert_eq!(logged(LogFormat::Human, Some(""), 1).lines().count(), 2);
        assert_eq!(logged(LogFormat::Human, None, 2).lines().count(), 3);
        assert_eq!(logged(LogFormat::Human, Some("some_library=info"), 0).lines().count(), 1);
        for asked in [
            "delta_kernel=trace,off",
            "delta_kernel::scan=warn",
            "trace,delta_kernel::scan::state=trace,delta_kernel_default_engine=trace",
        ] {
            assert!(!logged(LogFormat::Human, Some(asked), 0).contains("canary"), "{asked}");
        }
    }

    #[test]
    fn directives_that_cannot_be_read_are_an_error_with_a_remedy() {
        let error = filter(Some("counterflow=loud"), 0).unwrap_err().to_string();
        assert!(error.starts_with("`RUST_LOG` cannot be read: "), "{error}");
        assert!(error.ends_with("`RUST_LOG=info` or `RUST_LOG=counterflow=debug`"), "{error}");
    }
}
