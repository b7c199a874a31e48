//! B. Destination: one that cannot be trusted, and HTTP/2, which is spoken within TLS alone (B16, B18).

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use super::Scenario;
use super::b_wire::changed;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::certificates::{self, Authority, Good};
use crate::support::fault::Fault;
use crate::support::front::{Away, Does, Front};
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("B16", "a host that cannot be trusted is told nothing", untrusted)
        .needing(certificates::can_be_made),
    Scenario::new("B16", "a certificate that goes bad in mid-run halts it", goes_bad)
        .needing(certificates::can_be_made),
    Scenario::new("B16", "a handshake that stalls leaves nothing in doubt", stalled)
        .needing(certificates::can_be_made),
    Scenario::new(
        "B18",
        "a request of HTTP/2 that is turned away is counted, and no row lost",
        goaway,
    )
    .needing(certificates::can_be_made),
];

const HOST: &str = "localhost";

/// A case whose destination speaks TLS, with a certificate of `authority` that is as it should be.
fn behind_tls(
    scenario: &Scenario,
    authority: &Authority,
    setup: Setup,
) -> (Case, Front, Arc<ServerConfig>) {
    let oracle = Oracle::start(&["id"]);
    let front = Front::start(oracle.address());
    let good = authority.server(HOST, Good::Now);
    front.does(Does::Tls(Arc::clone(&good)));
    let trusted = authority.file().display().to_string();
    let setup = Setup { environment: vec![("SSL_CERT_FILE", trusted)], ..setup };
    let case = Case::at(&scenario.replay(), oracle, front.url_of("https", HOST), setup);
    (case, front, good)
}

fn untrusted(scenario: &Scenario) {
    let (authority, other) = (Authority::new(), Authority::new());
    let (mut case, front, good) = behind_tls(scenario, &authority, Setup::default());
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    case.write(&changed(20));
    let requests = case.oracle.request_count();
    for (what, config) in [
        ("expired", authority.server(HOST, Good::Once)),
        ("not yet good", authority.server(HOST, Good::Later)),
        ("for another host", authority.server("elsewhere.example", Good::Now)),
        ("of an unknown authority", other.server(HOST, Good::Now)),
    ] {
        case.say(format!("the certificate is {what}"));
        front.does(Does::Tls(config));
        let before = front.connections();
        let report = case.sync(&[]).expect(1, "failed", &[("delivered", 0), ("unknown", 0)]);
        assert!(report.word("error").contains("tls"), "{what}: {report:#?}");
        assert!(front.connections() > before, "{what}: nobody came");
        assert_eq!(case.oracle.request_count(), requests, "{what}\n{}", case.print());
    }
    // What speaks no TLS at all is no better.
    front.does(Does::Say("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"));
    let report = case.sync(&[]).expect(1, "failed", &[("delivered", 0), ("unknown", 0)]);
    assert!(report.word("error").contains("tls"), "{report:#?}");
    front.does(Does::Tls(good));
    case.judge();
}

/// Three answers are lost, each with its connection; the next connection finds that the certificate has expired.
fn goes_bad(scenario: &Scenario) {
    let authority = Authority::new();
    let setup = Setup { batch: 2, concurrency: 1, ..Setup::default() };
    let (mut case, front, good) = behind_tls(scenario, &authority, setup);
    let expired = authority.server(HOST, Good::Once);
    (0..2).for_each(|_| case.oracle.on_next(Fault::ApplyThenDrop));
    case.oracle.on_next(Fault::Hold);
    case.write(&people(1..=20));
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(3, SOON);
    front.does(Does::Tls(expired));
    case.say("the certificate has expired");
    front.hang_up();
    let halted = case.end(started).expect_code(1).json();
    assert_eq!(halted["outcome"], "failed", "{halted:#}");
    assert!(halted["error"].as_str().is_some_and(|error| error.contains("tls")), "{halted:#}");
    let tally = &halted["tally"];
    assert_eq!((&tally["delivered"], &tally["unknown"]), (&0.into(), &6.into()), "{halted:#}");
    front.does(Does::Tls(good));
    case.judge();
}

fn stalled(scenario: &Scenario) {
    let setup = Setup { http: "connect_timeout: 500ms, ", attempts: 2, ..Setup::default() };
    let authority = Authority::new();
    let (mut case, front, good) = behind_tls(scenario, &authority, setup);
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    case.write(&changed(20));
    for does in [
        Does::Stall,
        Does::StallWithinTls(Arc::clone(&good), 1),
        Does::StallWithinTls(Arc::clone(&good), 100),
        Does::StallWithinTls(Arc::clone(&good), 500),
    ] {
        front.does(does);
        let before = front.connections();
        let report = case.sync(&[]).expect(1, "partial", &[("delivered", 0), ("unknown", 0)]);
        assert!(report.word("error").contains("connect"), "{report:#?}");
        assert!(report.finished.took < SOON / 2, "{report:#?}");
        assert!(front.connections() > before, "nobody came");
    }
    front.does(Does::Tls(good));
    case.judge();
}

/// The destination turns each request of HTTP/2 away: each is counted, and the client repeats none by itself.
fn goaway(scenario: &Scenario) {
    let authority = Authority::new();
    // One at a time: what waits for a stream when the connection ends is an attempt that the destination never sees.
    let setup = Setup { batch: 2, concurrency: 1, attempts: 2, ..Setup::default() };
    let (mut case, front, good) = behind_tls(scenario, &authority, setup);
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    case.write(&changed(20));
    let requests = case.oracle.request_count();
    let mut seen = 0;
    for away in [Away::GoAwayBefore, Away::GoAwayAfter, Away::RefusedStream] {
        case.say(format!("{away:?}"));
        front.does(Does::TurnAway(Arc::clone(&good), away));
        let report = case.sync(&[]).expect(1, "partial", &[("delivered", 0)]);
        let before = std::mem::replace(&mut seen, front.turned_away());
        assert!(seen > before, "no request came in HTTP/2");
        assert_eq!(report.count("requests"), (seen - before) as u64, "I10: {report:#?}");
        assert_eq!(case.oracle.request_count(), requests, "{}", case.print());
    }
    front.does(Does::Tls(good));
    case.judge();
}
