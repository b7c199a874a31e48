//! Only an answer of the declared shape, read in full, is a receipt; the rest is retried, halts, or leaves doubt.

use std::time::Duration;

use crate::support::check::check_mirror;
use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::{expected, people};
use crate::support::workspace::{Setup, Workspace};

/// While `fault` stands nothing is confirmed and the run is not green; once it is gone one run makes it right.
fn is_never_a_receipt(fault: Fault) {
    let oracle = Oracle::start(&["id"]);
    oracle.always(fault.clone());
    let workspace = Workspace::new(&oracle, Setup { attempts: 2, ..Setup::default() });
    workspace.write_people(&people(1..=5));
    let report = workspace.sync(&[]);
    assert_ne!(report.finished.code, Some(0), "{fault:?}: {report:#?}");
    assert_eq!(report.count("delivered"), 0, "{fault:?}: {report:#?}");
    oracle.clear_faults();
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 5)]);
    check_mirror(&oracle, &expected(&people(1..=5)));
}

#[test]
fn a_page_in_html_with_200_is_never_a_receipt() {
    is_never_a_receipt(Fault::Html200);
}

#[test]
fn another_shape_with_200_is_never_a_receipt() {
    for body in [
        "",
        "{}",
        "[]",
        r#"{"results":null}"#,
        r#"{"results":[{"status":"ok"}"#,
        r#"{"results":[]}"#,
    ] {
        is_never_a_receipt(Fault::Json200(body.to_owned()));
    }
}

#[test]
fn a_count_of_results_that_is_wrong_is_never_a_receipt() {
    is_never_a_receipt(Fault::WrongCount);
}

#[test]
fn a_redirect_is_never_a_receipt_and_is_never_followed() {
    for code in [301, 302, 303, 307, 308] {
        let elsewhere = Oracle::start(&["id"]);
        is_never_a_receipt(Fault::Redirect(
            code,
            format!("{}/contacts/batch", elsewhere.base_url()),
        ));
        assert_eq!(elsewhere.connections(), 0, "no token is sent on after {code}");
    }
}

#[test]
fn what_will_never_succeed_halts_the_run() {
    for code in [401, 403] {
        let oracle = Oracle::start(&["id"]);
        oracle.always(Fault::status(code));
        let workspace = Workspace::new(&oracle, Setup { concurrency: 1, ..Setup::default() });
        workspace.write_people(&people(1..=100));
        let report = workspace.sync(&[]).expect(1, "failed", &[("delivered", 0), ("rejected", 0)]);
        assert!(report.word("error").contains(&code.to_string()), "{report:#?}");
        assert!(oracle.request_count() <= 2, "no record will succeed\n{}", oracle.print());
        oracle.clear_faults();
        workspace.sync(&[]).expect_kind("full", "open_epoch").expect(0, "succeeded", &[]);
        check_mirror(&oracle, &expected(&people(1..=100)));
    }
}

#[test]
fn what_passes_is_tried_again_until_it_has_passed() {
    let faults = [
        Fault::status(500),
        Fault::status(503),
        Fault::status(408),
        Fault::retry_after(429, "0"),
        Fault::retry_after(429, "Sat, 01 Jan 2000 00:00:00 GMT"),
        Fault::retry_after(503, "garbage"),
        Fault::AnswerThenReset,
    ];
    for fault in faults {
        let oracle = Oracle::start(&["id"]);
        oracle.on_request(1, fault.clone());
        let workspace = Workspace::new(&oracle, Setup::default());
        workspace.write_people(&people(1..=30));
        workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 30)]);
        check_mirror(&oracle, &expected(&people(1..=30)));
        oracle.assert_redundant_at_most(0);
    }
}

#[test]
fn a_retry_after_in_seconds_is_waited_for() {
    let oracle = Oracle::start(&["id"]);
    oracle.on_request(1, Fault::retry_after(429, "2"));
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=5));
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("retries", 1)]);
    assert!(report.finished.took >= Duration::from_secs(2), "{report:#?}");
}

#[test]
fn a_slow_destination_is_waited_for_and_a_silent_one_is_given_up() {
    let oracle = Oracle::start(&["id"]);
    let setup = Setup { request_timeout: Some("3s"), ..Setup::default() };
    oracle.on_request(1, Fault::SlowPieces(4, Duration::from_millis(50)));
    oracle.on_request(2, Fault::Hold);
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=20));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20), ("retries", 1)]);
    check_mirror(&oracle, &expected(&people(1..=20)));
}

#[test]
fn an_unreachable_destination_fails_the_run_and_loses_nothing() {
    let url = "http://127.0.0.1:1".to_owned();
    let workspace = Workspace::at(url.clone(), Setup { attempts: 2, ..Setup::default() });
    workspace.write_people(&people(1..=5));
    let report = workspace.sync(&[]);
    assert_ne!(report.finished.code, Some(0), "{report:#?}");
    assert_eq!((report.count("delivered"), report.count("unknown")), (0, 0), "never connected");
}

#[test]
fn a_seeded_storm_of_faults_ends_in_the_right_table() {
    for seed in 1..=3 {
        let oracle = Oracle::start(&["id"]);
        oracle.plant(crate::support::people::Person::new(9_000, 1).record());
        let faults = [
            Fault::status(503),
            Fault::retry_after(429, "0"),
            Fault::ApplyThenDrop,
            Fault::DropBeforeApply,
            Fault::ApplyThenCut(50),
            Fault::ApplyThenReset,
            Fault::AnswerThenReset,
            Fault::Html200,
            Fault::WrongCount,
        ];
        oracle.mix(seed, faults.map(|fault| (0.04, fault)).to_vec());
        let workspace = Workspace::new(&oracle, Setup::default());
        workspace.write_people(&people(1..=400));
        workspace.sync(&[]);
        workspace.write_people(&people(21..=420));
        workspace.sync(&[]);
        oracle.clear_faults();
        workspace.sync(&[]).expect(0, "succeeded", &[]);
        check_mirror(&oracle, &expected(&people(21..=420)));
    }
}
