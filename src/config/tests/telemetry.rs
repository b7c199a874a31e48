//! Where traces of runs go.

use secrecy::ExposeSecret as _;

use super::*;

/// The good file with this as its `telemetry:`.
fn with(section: &str) -> Result<Config, Problems> {
    load_text(&format!("{GOOD}telemetry: {section}\n"))
}

/// What is wrong with it, but for what the build cannot do.
fn problems(section: &str) -> Vec<String> {
    let problems = with(section).unwrap_err();
    let words =
        problems.list().iter().map(|problem| format!("{}: {}", problem.place, problem.what));
    words.filter(|words| !words.contains("this build")).collect()
}

#[test]
fn headers_are_references_where_they_hold_credentials() {
    let section = "{otlp: {endpoint: https://otlp.example.com/in/, headers: {Authorization: \"Bearer ${TOKEN}\", \
                   X-Scope: tenant 1, x-team: \"${HOST}\"}}}";
    let looked = load_for_looking(section);
    assert!(looked.is_none() != cfg!(feature = "otlp"), "a build that cannot send has none");
    if let Some(traces) = looked {
        assert_eq!(traces.endpoint, "https://otlp.example.com/in");
        let headers = traces.headers.iter();
        let headers: Vec<&str> = headers.map(|(_, value)| value.expose_secret()).collect();
        assert_eq!(headers, ["Bearer s3cret-token", "tenant 1", "crm.internal"]);
    }
    let open = "{otlp: {endpoint: https://otlp.example.com, headers: {api-key: 0123456789abcdef}}}";
    assert_eq!(problems(open), ["telemetry.otlp.headers.api-key: a secret stands in the file"]);
    assert!(!with(open).unwrap_err().fancy(false).contains("0123456789abcdef"));
    let default = "{otlp: {endpoint: https://a.example.com, headers: {api-key: \"${NONE:-x}\"}}}";
    let words = "a secret may have a default only for a loopback address";
    assert_eq!(problems(default), [format!("telemetry.otlp.headers.api-key: {words}")]);
}

/// As a command reads it that sends nothing.
fn load_for_looking(section: &str) -> Option<Collector> {
    let (_folder, path) = write(&format!("{GOOD}telemetry: {section}\n"));
    let config = read_with(&path, &environment, Wanted::None);
    config.unwrap_or_else(|problems| panic!("{problems}")).traces
}

#[test]
fn an_address_or_a_header_that_cannot_be_used_is_named() {
    for (section, expected) in [
        ("{}", "telemetry: it says nothing"),
        ("{otlp: {}}", "telemetry.otlp: `endpoint` is missing"),
        (
            "{otlp: {endpoint: collector:4318}}",
            "telemetry.otlp.endpoint: `collector:4318` is not an address on the web",
        ),
        (
            "{otlp: {endpoint: http://u:p@a}}",
            "telemetry.otlp.endpoint: credentials stand in the URL",
        ),
        (
            "{otlp: {endpoint: http://a, headers: {host: b}}}",
            "telemetry.otlp.headers.host: `host` is set by us",
        ),
        (
            "{otlp: {endpoint: http://a, headers: {X: a, x: b}}}",
            "telemetry.otlp.headers.x: `x` stands here twice",
        ),
        (
            "{otlp: {endpoint: http://a, headers: {X: ä}}}",
            "telemetry.otlp.headers.X: not the value of a header",
        ),
    ] {
        assert_eq!(problems(section), [expected], "{section}");
    }
}

#[test]
fn a_secret_of_the_collector_may_be_missing_where_nothing_is_sent() {
    let section = "{otlp: {endpoint: http://a, headers: {Authorization: \"${ABSENT}\"}}}";
    assert!(load_for_looking(section).is_none());
    let absent =
        "telemetry.otlp.headers.Authorization: the environment variable `ABSENT` is not set";
    assert_eq!(problems(section), [absent]);
}

#[test]
fn another_collector_counts_at_the_next_start() {
    let old = load_text(GOOD).unwrap();
    let collector = Collector { endpoint: "http://a".to_owned(), headers: Vec::new() };
    let new = Config { traces: Some(collector), ..old.clone() };
    let changes = compare::compare(&old, &new);
    assert_eq!(changes.words(), "take effect at the next start: `telemetry`");
    assert!(compare::compare(&new, &new).is_empty());
}
