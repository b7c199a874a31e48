//! B. Destination: answers whose body tells (B10 to B12).

use std::collections::BTreeSet;

use super::Scenario;
use super::b_wire::changed;
use crate::support::case::Case;
use crate::support::fault::{Body, Fault};
use crate::support::judge::Left;
use crate::support::people::{Person, key, keys, people};
use crate::support::server::Api;
use crate::support::workspace::{PER_RECORD, Setup};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "B10",
        "a poison record is found among a thousand, and it alone rejected",
        poison,
    ),
    Scenario::new("B10", "a refusal that repeats what was sent gives nothing of it away", echo),
    Scenario::new("B10", "a server tells of a refusal without what was sent", echo_of_server),
    Scenario::new(
        "B10",
        "a record that was refused and never taken is not deleted when it leaves",
        refused_and_gone,
    ),
    Scenario::new("B11", "an error inside of 200 or 207 is that record's alone", errors_inside),
    Scenario::new("B11", "a record that is busy is tried again, and it alone", busy),
    Scenario::new("B11", "another number of results than of records is no receipt", wrong_count),
    Scenario::new(
        "B11",
        "matching results by a key in them is refused by name, as it is not built",
        by_their_key,
    ),
    Scenario::new("B12", "an answer that is no HTTP leaves what was sent in doubt", no_http),
    Scenario::new("B12", "a 200 without the declared shape is never a receipt", no_shape),
];

fn rejected(id: u32) -> Left {
    Left { rejected: BTreeSet::from([id]), ..Left::default() }
}

fn poison(scenario: &Scenario) {
    for code in [400, 422] {
        let setup = Setup { batch: 1000, max_deletes: Some("100%"), ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.oracle.always(Fault::Poison(code, keys([613])));
        case.write(&people(1..=1000));
        let report = case.sync(&[]).expect(3, "partial", &[("delivered", 999), ("rejected", 1)]);
        assert_eq!(report.count("requests"), case.oracle.request_count() as u64);
        assert!(case.oracle.request_count() <= 21, "2 log2(1000) + 1\n{}", case.print());
        let named = case.run(&["rejected", "people"]).expect_code(0);
        named.expect_printed(&["613", &code.to_string()]);
        // The others' deletes and changes are not held up by it.
        let mut next = people(501..=1000);
        next[0].counter = 2;
        case.write(&next);
        case.sync(&[]).expect(3, "partial", &[("deleted", 500), ("deferred", 1), ("rejected", 0)]);
        assert_eq!(case.oracle.redundant(), 0, "{}", case.print());
        case.judge_leaving(&rejected(613));
    }
    // A delete that is refused on its own is named, and stays at the destination.
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.oracle.always(Fault::Poison(422, keys([20])));
    case.write(&people(1..=15));
    case.sync(&[]).expect(3, "partial", &[("deleted", 4), ("rejected", 1)]);
    assert_eq!(case.oracle.record(&key(20)), Some(Person::new(20, 1).record()));
    case.judge_leaving(&rejected(20));
}

/// The workspace looks for the token and the mapped values in all that is printed, the judge in all that is stored.
fn echo(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { attempts: 2, ..Setup::default() });
    case.write(&people(1..=3));
    for code in [500, 429, 403, 401, 404, 301, 202] {
        case.oracle.always(Fault::Echo(code));
        let report = case.sync(&[]);
        assert_eq!(report.count("delivered"), 0, "{report:#?}");
        for command in
            [&["status"][..], &["runs"], &["rejected", "people"], &["explain", "people", "1"]]
        {
            case.run(command);
        }
        case.oracle.clear_faults();
    }
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.oracle.on_next(Fault::Echo(422));
    case.write(&[people(1..=3), vec![Person::new(4, 1)]].concat());
    case.sync(&[]).expect(3, "partial", &[("rejected", 1)]);
    case.run(&["rejected", "people"]).expect_code(0).expect_printed(&["422"]);
    case.judge_leaving(&rejected(4));
}

/// Each answer of the server is looked at as it comes.
fn echo_of_server(scenario: &Scenario) {
    let head = "server: { listen: \"127.0.0.1:0\" }";
    let mut case = Case::new(&scenario.replay(), Setup { head, attempts: 1, ..Setup::default() });
    case.write(&people(1..=3));
    let started = case.spawn_serve();
    let server = Api::of(&case.workspace, &started.process);
    for code in [500, 403, 401] {
        case.oracle.always(Fault::Echo(code));
        let run = server.run("{}");
        let ended = server.ended(run);
        assert_eq!(ended["tally"]["delivered"], 0, "{ended:#}");
        for path in ["/api/v1/runs", "/api/v1/syncs/people", "/api/v1/syncs", "/metrics", "/"] {
            server.get(path);
        }
        case.oracle.clear_faults();
    }
    started.process.sigterm();
    case.end(started);
    case.judge();
}

fn refused_and_gone(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=12));
    case.oracle.always(Fault::RejectKeys(keys([7]), "invalid_email".into()));
    case.sync(&[]).expect(3, "partial", &[("delivered", 11), ("rejected", 1)]);
    case.write(&people((1..=6).chain(8..=12)));
    case.sync(&[]).expect(0, "succeeded", &[("deletes", 0), ("requests", 0)]);
    case.judge();
}

fn errors_inside(scenario: &Scenario) {
    for code in [200, 207] {
        let outcome = format!("[{{ status: [200, 207], then: {PER_RECORD} }}]");
        let mut case = Case::new(&scenario.replay(), Setup { outcome, ..Setup::default() });
        if code == 207 {
            case.oracle
                .fault_when(|sent| sent.keys().all(|sent| sent != key(7)), Fault::AnswerWith(207));
        }
        case.oracle.always(Fault::RejectKeys(keys([7]), "invalid_email".into()));
        case.write(&people(1..=30));
        case.sync(&[]).expect(3, "partial", &[("delivered", 29), ("rejected", 1), ("unknown", 0)]);
        case.run(&["rejected", "people"]).expect_code(0).expect_printed(&["7", "invalid_email"]);
        case.write(
            &changed(30)
                .into_iter()
                .map(|person| {
                    Person::new(person.id, if person.id == 7 { 1 } else { person.counter })
                })
                .collect::<Vec<_>>(),
        );
        case.sync(&[]).expect(3, "partial", &[("deferred", 1), ("rejected", 0), ("unknown", 0)]);
        case.assert_attempts_counted();
        case.judge_leaving(&rejected(7));
    }
}

fn wrong_count(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup { attempts: 2, ..Setup::default() });
    case.write(&people(1..=10));
    for fault in [Fault::WrongCount, Fault::Repeated] {
        case.oracle.always(fault);
        let counts = [("delivered", 0), ("rejected", 0), ("unknown", 10), ("retries", 1)];
        case.sync(&[]).expect(1, "partial", &counts);
        case.oracle.clear_faults();
    }
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 10)]);
    for fault in [Fault::WrongCount, Fault::Repeated] {
        case.write(&people(1..=6));
        case.oracle.always(fault);
        case.sync(&[]).expect(1, "partial", &[("deleted", 0), ("unknown", 4)]);
        case.oracle.clear_faults();
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.write(&people(1..=10));
        case.sync(&[]).expect(0, "succeeded", &[]);
    }
    case.assert_attempts_counted();
    case.judge();
}

/// Results are matched by their place alone: an id in them that nobody sent, or one that comes twice, is not looked at.
fn by_their_key(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.write(&people(1..=10));
    for by in ["key", "key_map", "token"] {
        let per_record = PER_RECORD.replace("by: index", &format!("by: {by}"));
        case.workspace.change(|setup| {
            setup.outcome = format!("[{{ status: 200, then: {per_record} }}]");
        });
        let words = [&format!("`{by}` is not built yet"), "per_record", "`index`"];
        for command in [&["validate"][..], &["sync", "people"]] {
            case.run(command).expect_code(2).expect_printed(&words);
        }
    }
    assert_eq!(case.oracle.request_count(), 0, "{}", case.print());
    case.workspace.change(|setup| setup.outcome = String::new());
    case.judge();
}

fn no_shape(scenario: &Scenario) {
    let whole = r#"{"results":[{"status":"ok"},{"status":"ok"},{"status":"ok"}]}"#;
    let json = [
        "",
        " ",
        "null",
        "true",
        "200",
        "\"ok\"",
        "[]",
        "{}",
        r#"{"results":null}"#,
        r#"{"results":{}}"#,
        r#"{"results":"ok"}"#,
        r#"{"results":[]}"#,
        r#"{"results":[{},{},{}]}"#,
        r#"[{"status":"ok"},{"status":"ok"},{"status":"ok"}]"#,
        r#"{"result":[{"status":"ok"},{"status":"ok"},{"status":"ok"}]}"#,
    ];
    let cut = (1..whole.len()).step_by(7).map(|end| whole[..end].to_owned());
    let json = json.map(str::to_owned).into_iter().chain(cut);
    let trailing =
        json.chain([format!("{whole}{whole}"), format!("{whole}}}"), format!("\u{feff}{whole}")]);
    let mut faults: Vec<Fault> = trailing.map(Fault::Json200).collect();
    faults.extend([
        Fault::Html200,
        Fault::body(200, "text/html", "<html>ok</html>"),
        Fault::body(200, "text/plain", "ok"),
        Fault::body(200, "text/xml", "<results><status>ok</status></results>"),
        Fault::body(200, "image/png", b"\x89PNG\r\n\x1a\n\xff\xfe\x00".to_vec()),
        Fault::body(200, "application/json", b"{\"results\":[\xff]}".to_vec()),
        Fault::empty(200),
    ]);
    // Each is played to a request of its own, in two runs of one case: applied and not.
    let setup = || Setup { batch: 3, concurrency: 2, attempts: 1, ..Setup::default() };
    for is_applied in [true, false] {
        let mut case = Case::new(&scenario.replay(), setup());
        let rows = u32::try_from(3 * faults.len()).expect("there are not so many");
        for fault in &faults {
            case.oracle.on_next(if is_applied { fault.clone().applied() } else { fault.clone() });
        }
        case.write(&people(1..=rows));
        let counts = [("delivered", 0), ("rejected", 0), ("unknown", rows.into())];
        case.sync(&[]).expect(1, "partial", &counts);
        case.assert_attempts_counted();
        case.judge();
    }
}

fn busy(scenario: &Scenario) {
    let outcome = format!(
        "[{{ status: 200, then: {} }}]",
        PER_RECORD.replace("delivered: [ok]", "delivered: [ok], retry: [busy]")
    );
    let setup = Setup { outcome, attempts: 3, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    for busy in [keys([3, 7]), keys([7])] {
        case.oracle.on_next(Fault::BusyKeys(busy));
    }
    case.write(&people(1..=10));
    let counts = [("delivered", 10), ("rejected", 0), ("requests", 3), ("retries", 2)];
    case.sync(&[]).expect(0, "succeeded", &counts);
    let sent: Vec<usize> =
        case.oracle.requests().iter().map(|request| request.sent.operations.len()).collect();
    assert_eq!((sent, case.oracle.redundant()), (vec![10, 2, 1], 0), "{}", case.print());
    // Given up: not applied is not sent, and no doubt is left.
    case.oracle.always(Fault::BusyKeys(keys([1, 2])));
    case.write(&people(3..=12));
    case.sync(&[]).expect(1, "partial", &[("delivered", 2), ("unsent", 2), ("unknown", 0)]);
    case.judge();
}

fn no_http(scenario: &Scenario) {
    let whole = r#"{"results":[{"status":"ok"},{"status":"ok"},{"status":"ok"}]}"#;
    let answers = [
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}".to_owned(),
        whole.to_owned(),
        format!("HTTP/9.9 200 OK\r\ncontent-length: {}\r\n\r\n{whole}", whole.len()),
        format!("HTTP/1.1 two hundred\r\ncontent-length: {}\r\n\r\n{whole}", whole.len()),
        format!("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{whole}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{whole}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{whole}", whole.len() + 1),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{whole}", whole.len() - 1),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{whole}"),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{whole}"
        ),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{whole}\r\n",
            whole.len()
        ),
    ];
    for is_applied in [true, false] {
        let setup = Setup { batch: 3, attempts: 1, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        for answer in &answers {
            let fault = Fault::Raw(Body(answer.clone().into_bytes()));
            case.oracle.on_next(if is_applied { fault.applied() } else { fault });
        }
        let rows = u32::try_from(3 * answers.len()).expect("there are not so many");
        case.write(&people(1..=rows));
        let counts = [("delivered", 0), ("unsent", 0), ("unknown", rows.into())];
        case.sync(&[]).expect(1, "partial", &counts);
        case.assert_attempts_counted();
        case.judge();
    }
}
