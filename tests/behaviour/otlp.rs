//! Traces of runs for an OpenTelemetry collector (D3, D6): what is in them and what is not, and that nobody waits for them.

#[cfg(feature = "otlp")]
mod collector;

use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::workspace::{Setup, Workspace};

#[cfg(not(feature = "otlp"))]
#[test]
fn a_build_without_traces_refuses_the_section_and_says_so_of_the_variable() {
    let oracle = Oracle::start(&["id"]);
    let head = "telemetry: { otlp: { endpoint: \"http://127.0.0.1:1\" } }";
    let mut workspace = Workspace::new(&oracle, Setup { head, ..Setup::default() });
    workspace.write_people(&people(1..=3));
    let words = ["telemetry.otlp", "this build sends no traces", "--features otlp"];
    for command in [&["validate"][..], &["serve"], &["sync", "people"]] {
        workspace.run(command).expect_code(2).expect_printed(&words);
    }
    // Those who only look are answered.
    workspace.run(&["status"]).expect_code(0);
    workspace.change(|setup| setup.head = "");
    let variable = "OTEL_EXPORTER_OTLP_ENDPOINT";
    workspace.setup.environment.push((variable, "http://127.0.0.1:1".to_owned()));
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 3)]);
    report.finished.expect_printed(&[variable, "this build sends no traces"]);
}

#[cfg(feature = "otlp")]
mod sending {
    use std::time::{Duration, Instant};

    use super::collector::{Collector, Span};
    use super::*;
    use crate::support::server::Server;
    use crate::support::{TOKEN, canaries};

    /// The one credential of the collector; the other is the destination's.
    const SECRET: &str = "otlp-s3cret-of-the-collector";

    fn workspace(oracle: &Oracle, collector: &Collector, head: &str) -> Workspace {
        let mut workspace = Workspace::new(oracle, Setup::default());
        workspace.write_people(&people(1..=25));
        let section = format!(
            "telemetry: {{ otlp: {{ endpoint: \"{}/in/\", headers: {{ Authorization: \"Bearer ${{SECRET}}\" }} }} }}",
            collector.base_url()
        );
        let config = format!("{head}\n{section}\n{}", workspace.config());
        workspace.write("counterflow.yaml", &config);
        workspace.setup.environment.push(("SECRET", SECRET.to_owned()));
        workspace
    }

    const LISTEN: &str = "server: { listen: \"127.0.0.1:0\" }";

    #[track_caller]
    fn one<'s>(spans: &'s [Span], name: &str) -> &'s Span {
        let mut named = spans.iter().filter(|span| span.name == name);
        let span = named.next().unwrap_or_else(|| panic!("no span `{name}`: {spans:#?}"));
        assert!(named.next().is_none(), "more than one span `{name}`: {spans:#?}");
        span
    }

    #[test]
    fn a_run_of_a_server_is_a_span_with_its_phases_and_no_secret_and_no_row_i12() {
        let (oracle, collector) = (Oracle::start(&["id"]), Collector::start());
        let workspace = workspace(&oracle, &collector, LISTEN);
        let server = Server::start(&workspace);
        let document = server.ended(server.run(r#"{"full": true}"#));
        // Long before the next batch is due: what is sent is sent by the end.
        collector.watch(workspace.state().join("counterflow.db-wal"));
        let finished = server.end().expect_code(0);
        for text in [collector.text(), finished.printed()] {
            canaries::assert_none(&text, "what was sent or printed");
        }
        assert!(!finished.printed().contains(SECRET), "{finished:#?}");
        assert!(!collector.bodies().contains(SECRET));

        let sent = collector.requests();
        assert!(!sent.is_empty(), "{finished:#?}");
        for request in &sent {
            assert_eq!(request.path, "/in/v1/traces");
            assert!(request.is_file_there, "D6: telemetry is flushed before the state closes");
            assert_eq!(request.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
            let agent = format!("counterflow/{}", env!("CARGO_PKG_VERSION"));
            assert_eq!(request.header("user-agent"), Some(agent.as_str()), "D3");
            assert_eq!(request.resource["service.name"], "counterflow");
            assert_eq!(request.resource["service.version"], env!("CARGO_PKG_VERSION"), "D3");
        }
        let spans = collector.spans();
        let run = one(&spans, "run");
        for (name, expected) in [
            ("sync", "people"),
            ("run", "1"),
            ("kind", "full"),
            ("trigger", "api"),
            ("outcome", "succeeded"),
            ("revision", document["revision"].as_str().expect("it began with one")),
            ("rows_read", "25"),
            ("delivered", "25"),
            ("requests", "3"),
        ] {
            assert_eq!(run.attributes[&format!("counterflow.{name}")], expected, "{name}");
        }
        assert_eq!((run.parent.as_str(), run.is_error), ("", false), "{run:#?}");
        let mut begun = run.start;
        for name in ["starting", "reading", "draining", "committing"] {
            let phase = one(&spans, name);
            assert_eq!((&phase.trace, &phase.parent), (&run.trace, &run.id), "{name}");
            assert!(begun <= phase.start && phase.start <= phase.end && phase.end <= run.end);
            begun = phase.end;
        }
        assert_eq!(spans.len(), 5, "{spans:#?}");
    }

    #[test]
    fn a_run_here_is_sent_to_where_the_environment_says_and_a_failure_keeps_its_words() {
        let (oracle, collector) = (Oracle::start(&["id"]), Collector::start());
        let mut workspace = Workspace::new(&oracle, Setup::default());
        workspace.write_people(&people(1..=3));
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.base_url());
        workspace.setup.environment.push(endpoint);
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        workspace.run(&["sample", "people", "--limit", "1"]).expect_code(0);
        std::fs::remove_file(workspace.path().join("people.csv")).expect("it is there");
        workspace.sync(&[]).expect(1, "failed", &[]);
        let spans = collector.spans();
        let runs: Vec<_> = spans.iter().filter(|span| span.name == "run").collect();
        let told =
            runs.iter().map(|run| (run.attributes["counterflow.outcome"].as_str(), run.is_error));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [("succeeded", false), ("succeeded", false), ("failed", true)]
        );
        assert!(!collector.text().contains("people.csv"), "the words of an error are not sent");
        assert!(collector.requests().iter().all(|request| request.path == "/v1/traces"));
    }

    #[test]
    fn nobody_waits_for_a_collector_that_never_answers_d6() {
        let (oracle, collector) = (Oracle::start(&["id"]), Collector::mute());
        let workspace = workspace(&oracle, &collector, LISTEN);
        let server = Server::start(&workspace);
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(server.ended(server.run("{}"))["phase"], "succeeded");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let began = Instant::now();
        let finished = server.end().expect_code(0);
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        finished.expect_printed(&["not all traces were sent", "the state is closed"]);
        workspace.assert_state_holds_no_canary();
    }

    #[test]
    fn a_collector_that_refuses_fails_no_run_and_is_named_without_its_path() {
        let (oracle, collector) = (Oracle::start(&["id"]), Collector::refusing());
        let workspace = workspace(&oracle, &collector, "");
        let report = workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 25)]);
        let text = report.finished.printed();
        report.finished.expect_printed(&["traces cannot be sent", "401", &collector.base_url()]);
        assert!(
            !text.contains("/in/v1") && !text.contains(SECRET) && !text.contains(TOKEN),
            "{text}"
        );
    }
}
