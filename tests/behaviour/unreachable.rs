//! A destination that cannot be reached, or that lies, or is slow: the report names the place, the cause, how often,
//! and the remedy, and `rejected` lists the records that were left unknown.

use std::time::Duration;

use crate::support::fault::Fault;
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::workspace::{Report, Setup, Workspace};

/// What the one trouble of a run must be.
struct Told {
    code: &'static str,
    message: &'static str,
    remedy: &'static str,
    requests: u64,
}

#[track_caller]
fn check_trouble(report: &Report, address: &str, told: &Told) {
    let troubles = report.json["troubles"].as_array().unwrap_or_else(|| panic!("{report:#?}"));
    let [trouble] = &troubles[..] else { panic!("one trouble: {report:#?}") };
    let word = |field: &str| trouble[field].as_str().unwrap_or_default().to_owned();
    assert_eq!((word("connection").as_str(), word("address").as_str()), ("crm", address));
    assert_eq!(
        (word("code").as_str(), trouble["requests"].as_u64()),
        (told.code, Some(told.requests))
    );
    assert!(word("message").contains(told.message), "{report:#?}");
    assert!(word("remedy").contains(told.remedy), "{report:#?}");
    let error = report.word("error");
    let often = format!("{} x `{}`", told.requests, told.code);
    for said in ["`crm`", address, &often, told.message, told.remedy] {
        assert!(error.contains(said), "`{said}` is not in {error}");
    }
}

/// Two attempts at an address where nobody answers; the same in text and in the list of runs.
#[track_caller]
fn never_connects(base_url: &str, address: &str, told: &Told) {
    let workspace = Workspace::at(base_url.to_owned(), Setup { attempts: 2, ..Setup::default() });
    workspace.write_people(&people(1..=2));
    let report = workspace.sync(&[]).expect(1, "partial", &[("unsent", 2), ("unknown", 0)]);
    check_trouble(&report, address, told);
    let said = [address, told.code, told.message, told.remedy];
    workspace.run(&["sync", "people"]).expect_code(1).expect_printed(&said);
    workspace.run(&["runs", "people"]).expect_code(0).expect_printed(&said);
}

/// Two attempts against `fault`, which leave the records unknown; `rejected` names each of them and why.
#[track_caller]
fn leaves_unknown(fault: Fault, told: &Told) {
    let oracle = Oracle::start(&["id"]);
    oracle.always(fault);
    let setup = Setup { attempts: 2, request_timeout: Some("1s"), ..Setup::default() };
    let workspace = Workspace::new(&oracle, setup);
    workspace.write_people(&people(1..=2));
    let report = workspace.sync(&[]).expect(1, "partial", &[("unknown", 2), ("requests", 2)]);
    check_trouble(&report, &oracle.base_url(), told);
    let run = report.run();
    let listed = workspace.run(&["--format", "json", "rejected", "people", "--run", &run]).json();
    let listed: Vec<_> = listed.as_array().unwrap_or_else(|| panic!("{listed}")).iter().collect();
    for (note, key) in listed.iter().zip(["1", "2"]) {
        assert_eq!((&note["verdict"], &note["key"]), (&"unknown".into(), &key.into()));
        assert_eq!((&note["code"], &note["operation"]), (&told.code.into(), &"upsert".into()));
        assert!(note["message"].as_str().is_some_and(|text| text.contains(told.message)));
    }
    assert_eq!(listed.len(), 2, "{listed:?}");
    let said = ["unknown", told.code, told.message];
    workspace.run(&["rejected", "people", "--run", &run]).expect_code(0).expect_printed(&said);
}

#[test]
fn a_port_where_nobody_listens_is_named_without_the_secret_in_its_path() {
    let address = "http://127.0.0.1:1".to_owned();
    let told = Told {
        code: "connect",
        message: "Connection refused",
        remedy: "check that the destination is up and that `base_url` is its address",
        requests: 2,
    };
    // The workspace looks for the token in all that is printed and stored.
    never_connects(&format!("{address}/hook/${{TOKEN}}"), &address, &told);
}

#[test]
fn an_answer_that_is_no_receipt_is_named_with_its_records() {
    let told = |message| Told {
        code: "no_receipt",
        message,
        remedy: "compare what the destination answers with the rules under `outcome`",
        requests: 2,
    };
    leaves_unknown(Fault::Html200, &told("it is not JSON"));
    leaves_unknown(
        Fault::Json200(r#"{"results":[{"status":"ok"}"#.to_owned()),
        &told("is no receipt"),
    );
    leaves_unknown(Fault::WrongCount, &told("is no receipt"));
}

#[test]
fn an_answer_cut_or_too_slow_is_named_with_its_records() {
    let lost = Told {
        code: "lost",
        message: "the connection ended before the full answer",
        remedy: "check the destination, and any proxy before it",
        requests: 2,
    };
    leaves_unknown(Fault::ApplyThenCut(60), &lost);
    let slow = Told {
        code: "timeout",
        message: "no full answer within the timeout",
        remedy: "raise `request_timeout`",
        requests: 2,
    };
    leaves_unknown(Fault::SlowAnswer(Duration::from_secs(4)), &slow);
    leaves_unknown(Fault::SlowPieces(20, Duration::from_millis(200)), &slow);
}

#[test]
fn a_destination_that_is_busy_or_failing_is_named_with_its_status() {
    let failing = Told {
        code: "503",
        message: "failed at the destination: played",
        remedy: "ask the destination's operator",
        requests: 2,
    };
    leaves_unknown(Fault::status(503), &failing);
    let oracle = Oracle::start(&["id"]);
    oracle.always(Fault::retry_after(429, "0"));
    let workspace = Workspace::new(&oracle, Setup { attempts: 3, ..Setup::default() });
    workspace.write_people(&people(1..=2));
    let report = workspace.sync(&[]).expect(1, "partial", &[("unsent", 2), ("requests", 3)]);
    let told =
        Told { code: "429", message: "refused for now", remedy: "`rate_limit`", requests: 3 };
    check_trouble(&report, &oracle.base_url(), &told);
}

#[test]
fn a_trouble_that_passed_is_counted_and_is_no_error() {
    let oracle = Oracle::start(&["id"]);
    oracle.on_request(1, Fault::status(503));
    let workspace = Workspace::new(&oracle, Setup::default());
    workspace.write_people(&people(1..=2));
    let report = workspace.sync(&[]).expect(0, "succeeded", &[("retries", 1)]);
    assert_eq!(report.json["troubles"][0]["code"], "503", "{report:#?}");
    assert!(report.json["error"].is_null(), "{report:#?}");
}
