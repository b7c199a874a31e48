//! B. Destination: answers whose status tells (B7 to B9, B13 to B15).

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use super::Scenario;
use super::b_wire::changed;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::judge::Left;
use crate::support::oracle::Oracle;
use crate::support::people::{key, people};
use crate::support::workspace::{PER_RECORD, Setup};
use crate::support::{NEXT_TOKEN, SOON, TOKEN};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("B7", "a Retry-After is waited for", waited_for),
    Scenario::new(
        "B7",
        "a Retry-After that asks for no wait, or for nonsense, is no wait",
        no_wait,
    ),
    Scenario::new("B7", "a Retry-After beyond the longest time ends the run", too_long),
    Scenario::new("B8", "a burst of failures is outlasted, or ends in doubt", bursts),
    Scenario::new(
        "B9",
        "a batch that is too large is halved, and one record alone rejected",
        halved,
    ),
    Scenario::new("B9", "a 413 before the body is read halves the batch", early),
    Scenario::new("B13", "a proxy in the environment is sent nothing", no_proxy),
    Scenario::new("B13", "a redirect is never a receipt and no token is sent on", redirects),
    Scenario::new("B14", "a refusal of everything halts the run and loses nothing", refusals),
    Scenario::new(
        "B14",
        "a token that is refused before its file has the new one halts, and the next run goes on",
        rotated,
    ),
    Scenario::new("B15", "a status counts only where it is declared", undeclared),
    Scenario::new("B15", "a 202 counts where it is declared", declared),
];

/// How long after the first request the second one came, where the first is refused with `fault`; the case is judged.
fn gap(scenario: &Scenario, fault: Fault) -> Duration {
    let (first, again) = two_tries(scenario, fault);
    again - first
}

/// When a request came, and when its repetition.
#[track_caller]
fn two_tries(scenario: &Scenario, fault: Fault) -> (Instant, Instant) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.oracle.on_request(1, fault);
    case.write(&people(1..=5));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 5), ("requests", 2), ("retries", 1)]);
    let requests = case.oracle.requests();
    let (first, again) = (requests[0].sent.at, requests[1].sent.at);
    case.say(format!("the repetition came after {:?}", again - first));
    case.assert_attempts_counted();
    case.judge();
    (first, again)
}

fn in_seconds(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

fn waited_for(scenario: &Scenario) {
    let second = Duration::from_secs(1);
    for code in [429, 503] {
        let gap = gap(scenario, Fault::retry_after(code, "2"));
        assert!(gap >= 2 * second, "`Retry-After: 2` with {code}: {gap:?}");
    }
    // A date has whole seconds: up to one of them is over already. The process has yet to begin.
    let made = Instant::now();
    let (first, again) = two_tries(scenario, Fault::retry_after(429, &in_seconds(4)));
    assert!(again - made >= 3 * second, "a date in 4 s: {:?}", again - made);
    assert!(again - first < 10 * second, "a date in 4 s: {:?}", again - first);
}

/// What is nonsense would be waited for beyond the bound, if the number in it were taken.
fn no_wait(scenario: &Scenario) {
    let bound = Duration::from_secs(5);
    for value in ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "-7", "7.5", "", "7 s", "+7"] {
        let gap = gap(scenario, Fault::retry_after(429, value));
        assert!(gap < bound, "`Retry-After: {value}`: {gap:?}");
    }
    let gap = gap(scenario, Fault::status(429));
    assert!(gap < bound, "no `Retry-After`: {gap:?}");
}

fn too_long(scenario: &Scenario) {
    let dates = [in_seconds(3600), "Fri, 31 Dec 9999 23:59:59 GMT".to_owned()];
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=5));
    for value in
        ["3600", "99999999999999999999999999"].into_iter().chain(dates.iter().map(String::as_str))
    {
        for (code, left) in [(429, "unsent"), (503, "unknown")] {
            case.say(format!("{code} with `Retry-After: {value}`"));
            case.oracle.on_next(Fault::retry_after(code, value));
            let report = case.sync(&[]).expect(1, "partial", &[(left, 5), ("requests", 1)]);
            let took = report.finished.took;
            assert!(took < SOON / 2, "it took {took:?}\n{}", case.print());
        }
    }
    case.assert_attempts_counted();
    case.judge();
}

fn bursts(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { attempts: 3, ..Setup::default() });
    let mut upto = 0;
    for code in [500, 502, 503, 504, 408] {
        let page = format!("<html><body><h1>{code}</h1><p>It is not you.</body></html>");
        let fault = Fault::body(code, "text/html", page);
        case.say(format!("bursts of {code}"));
        for fault in [fault.clone(), fault.clone().applied()] {
            upto += 10;
            case.write(&people(1..=upto));
            case.oracle.on_next(fault.clone());
            case.oracle.on_next(fault);
            case.sync(&[]).expect(0, "succeeded", &[("delivered", 10), ("retries", 2)]);
        }
        upto += 10;
        case.write(&people(1..=upto));
        (0..3).for_each(|_| case.oracle.on_next(fault.clone()));
        case.sync(&[]).expect(1, "partial", &[("unknown", 10), ("retries", 2)]);
        case.sync(&[]).expect(0, "succeeded", &[("delivered", 10), ("retries", 0)]);
    }
    case.assert_attempts_counted();
    case.judge();
}

fn halved(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { batch: 20, ..Setup::default() });
    case.oracle.fault_when(|sent| sent.keys().any(|sent| sent == key(7)), Fault::TooLarge413(0));
    case.oracle.always(Fault::TooLarge413(3));
    case.write(&people(1..=40));
    let report = case.sync(&[]).expect(3, "partial", &[("delivered", 39), ("rejected", 1)]);
    assert_eq!(report.count("requests"), case.oracle.request_count() as u64);
    case.write(&people(1..=25));
    case.sync(&[]).expect(3, "partial", &[("deleted", 15), ("rejected", 0), ("deferred", 1)]);
    assert_eq!(case.oracle.redundant(), 0, "{}", case.print());
    case.judge_leaving(&Left { rejected: BTreeSet::from([7]), ..Left::default() });
}

/// The answer comes while the body is still being sent, and the connection ends with it.
fn early(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { batch: 5000, ..Setup::default() });
    for bytes in [0, 1000] {
        case.oracle.on_next(Fault::EarlyAnswer(413, bytes));
    }
    case.write(&people(1..=5000));
    let report = case.sync(&[]).expect(0, "succeeded", &[("delivered", 5000), ("rejected", 0)]);
    assert_eq!(report.count("requests"), case.oracle.request_count() as u64, "{}", case.print());
    assert_eq!(case.oracle.redundant(), 0, "{}", case.print());
    case.judge();
}

fn no_proxy(scenario: &Scenario) {
    let elsewhere = Oracle::start(&["id"]);
    let names =
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let environment = names.map(|name| (name, elsewhere.base_url())).to_vec();
    let mut case = Case::new(&scenario.replay(), Setup { environment, ..Setup::default() });
    case.write(&people(1..=20));
    let report = case.sync(&[]);
    assert_eq!(elsewhere.connections(), 0, "the token was sent elsewhere");
    report.expect(0, "succeeded", &[("delivered", 20)]);
    case.judge();
}

fn redirects(scenario: &Scenario) {
    let elsewhere = Oracle::start(&["id"]);
    let setup = Setup { concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    let there = format!("{}/contacts/batch", elsewhere.base_url());
    let itself = format!("{}/contacts/batch", case.oracle.base_url());
    let cross_scheme = there.replace("http:", "https:");
    case.write(&people(1..=20));
    let mut seen = 0;
    for code in [301, 302, 303, 307, 308, 300, 304] {
        for location in [&there, &cross_scheme, &itself, "/contacts/batch", "//", ""] {
            let fault = Fault::Redirect(code, location.to_owned());
            let fault = if code == 302 { fault.applied() } else { fault };
            case.oracle.always(fault);
            let report = case.sync(&[]);
            assert_eq!(elsewhere.connections(), 0, "the token was sent on");
            let report = report.expect(1, "failed", &[("delivered", 0), ("requests", 1)]);
            assert!(report.word("error").contains(&code.to_string()), "{report:#?}");
            case.oracle.clear_faults();
            seen += 1;
            assert_eq!(case.oracle.request_count(), seen, "{}", case.print());
            if code != 301 {
                break;
            }
        }
    }
    // A delete that is redirected has not happened either.
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&people(1..=15));
    case.oracle.on_next(Fault::Redirect(301, there));
    case.sync(&[]).expect(1, "failed", &[("deleted", 0)]);
    assert_eq!(elsewhere.connections(), 0, "the token was sent on");
    case.assert_attempts_counted();
    case.judge();
}

fn refusals(scenario: &Scenario) {
    let setup = Setup { batch: 1, concurrency: 2, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=30));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&changed(30));
    for code in [401, 403, 404, 410] {
        for fault in [Fault::status(code), Fault::body(code, "text/html", "<html>no</html>")] {
            let before = case.oracle.request_count();
            case.oracle.always(fault);
            let report = case.sync(&[]).expect(1, "failed", &[("delivered", 0), ("rejected", 0)]);
            assert!(report.word("error").contains(&code.to_string()), "{report:#?}");
            let requests = case.oracle.request_count() - before;
            assert!(requests <= 2, "no record will succeed\n{}", case.print());
            case.oracle.clear_faults();
        }
    }
    // Only deletes are left.
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&changed(30)[5..]);
    case.oracle.on_next(Fault::status(404));
    let report = case.sync(&[]);
    assert_eq!((report.word("outcome"), report.count("rejected")), ("failed", 0), "{report:#?}");
    case.assert_attempts_counted();
    case.judge();
}

/// The file still holds the old secret when it is read anew: the run halts, whatever it had in flight is kept, and the
/// next process reads the new one.
fn rotated(scenario: &Scenario) {
    let setup = Setup {
        bearer: "file:token",
        http: "account: demo, ",
        batch: 2,
        concurrency: 1,
        ..Setup::default()
    };
    let mut case = Case::new(&scenario.replay(), setup);
    case.workspace.write("token", &format!("{TOKEN}\n"));
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.write(&changed(20));
    let before = case.oracle.request_count();
    case.oracle.on_request(before + 3, Fault::Hold);
    let started = case.spawn(&[]);
    case.oracle.wait_for_requests(before + 3, SOON);
    case.say("the token is rotated");
    case.oracle.take_only(NEXT_TOKEN);
    case.oracle.release();
    let halted = case.end(started).expect_code(1).json();
    assert_eq!(halted["outcome"], "failed", "{halted:#}");
    assert!(halted["error"].as_str().is_some_and(|error| error.contains("401")), "{halted:#}");
    let tally = &halted["tally"];
    assert_eq!((&tally["delivered"], &tally["unknown"]), (&6.into(), &0.into()), "{halted:#}");
    // The old one is of no use to the next run either.
    case.sync(&[]).expect(1, "failed", &[("delivered", 0), ("requests", 1)]);
    case.workspace.write("token", NEXT_TOKEN);
    case.say("the file holds the new token");
    case.sync(&[]).expect(0, "succeeded", &[("unknown", 0)]);
    case.assert_attempts_counted();
    case.judge();
}

fn undeclared(scenario: &Scenario) {
    // After 100 and 103 another answer is waited for.
    let setup = Setup { attempts: 2, request_timeout: Some("500ms"), ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=5));
    for code in [201, 202, 203, 206, 207, 226, 299] {
        case.say(format!("{code}, which no rule declares"));
        case.oracle.always(Fault::AnswerWith(code).applied());
        case.sync(&[]).expect(1, "partial", &[("delivered", 0), ("unknown", 5), ("retries", 1)]);
        case.oracle.clear_faults();
    }
    for code in [202, 204, 205, 101, 100, 103] {
        case.oracle.always(Fault::empty(code));
        case.sync(&[]).expect(1, "partial", &[("delivered", 0), ("unknown", 5)]);
        case.oracle.clear_faults();
    }
    case.assert_attempts_counted();
    case.judge();
}

fn declared(scenario: &Scenario) {
    let by_record = format!("[{{ status: [200, 202], then: {PER_RECORD} }}]");
    let at_once = format!(
        "[{{ status: 202, decode: none, then: delivered }}, {{ status: 200, then: {PER_RECORD} }}]"
    );
    let empty = Fault::empty(202);
    for (outcome, fault) in [(by_record, Fault::AnswerWith(202)), (at_once, empty.receipt())] {
        let mut case = Case::new(&scenario.replay(), Setup { outcome, ..Setup::default() });
        case.write(&people(1..=20));
        case.oracle.always(fault);
        case.sync(&[]).expect(0, "succeeded", &[("delivered", 20), ("retries", 0)]);
        case.write(&changed(20));
        case.sync(&[]).expect(0, "succeeded", &[("unknown", 0), ("retries", 0)]);
        case.assert_attempts_counted();
        case.judge();
    }
}
