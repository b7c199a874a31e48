//! One object an address: what its server says of it decides what may be made of it.

use std::sync::{Arc, Mutex};

use super::{assert_holds, ndjson, of_age, workspace};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Asked, Becomes, Web};
use crate::shared::reads;
use crate::support::TOKEN;
use crate::support::oracle::Oracle;
use crate::support::people::{Person, csv};

/// A server with one file, which gives no parts of it.
struct Held {
    web: Web,
    content: Arc<Mutex<(String, Vec<Person>)>>,
}

impl Held {
    fn start() -> Held {
        let content = Arc::new(Mutex::new((String::new(), Vec::new())));
        let held = Arc::clone(&content);
        let web = Web::start(0, move |asked| {
            let (more, people) = held.lock().expect("nobody panics with it").clone();
            let text = csv(&people);
            let tag = more.lines().find_map(|line| line.strip_prefix("ETag: "));
            let is_other = asked.header("if-match").is_some_and(|asked| Some(asked) != tag);
            let (status, text) = match asked.header("authorization") {
                Some(known) if known == format!("Bearer {TOKEN}") && is_other => {
                    ("412 Changed", String::new())
                }
                Some(known) if known == format!("Bearer {TOKEN}") => ("200 OK", text),
                _ => ("401 Who", String::new()),
            };
            let length = text.len();
            Becomes::Answered(
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n{text}")
                    .into_bytes(),
            )
        });
        Held { web, content }
    }

    /// Has these people, and says this of itself beside its length.
    fn has(&self, more: &str, people: &[Person]) {
        *self.content.lock().expect("nobody panics with it") = (more.to_owned(), people.to_owned());
    }

    fn source(&self, headers: &str) -> String {
        let port = self.web.port;
        format!(
            "lake: {{ store: {{ http: {{ headers: {headers} }} }}, files: {{ people: \"http://127.0.0.1:{port}/a%20b/people.csv\" }} }}"
        )
    }
}

const KNOWN: &str = "{ Authorization: \"Bearer ${TOKEN}\" }";

pub fn tagged(_server: &Seaweed) {
    let (oracle, held) = (Oracle::start(&["id"]), Held::start());
    let workspace = workspace(&oracle, &held.source(KNOWN));
    held.has("ETag: \"1\"\r\n", &of_age(1..=20, 0));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    let reads = held.web.reads();
    workspace.sync(&[]).expect(0, "skipped", &[]);
    assert_eq!(held.web.reads(), reads, "a HEAD is all");
    let is_there = |asked: &Asked| asked.target == "/a%20b/people.csv";
    assert!(held.web.seen().iter().all(is_there), "{:?}", held.web.seen());
    held.has("ETag: \"2\"\r\n", &of_age(1..=19, 1));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 19), ("deletes", 1)]);
    // Without a tag nobody knows whether it is one state of the file: it is sent, and nothing is deleted.
    for more in ["", "Last-Modified: Sun, 22 Nov 2026 12:00:00 GMT\r\n", "ETag: W/\"3\"\r\n"] {
        held.has(more, &of_age(1..=18, 2));
        let ended = workspace.sync(&[]).expect(4, "partial", &[("held", 1)]);
        assert!(ended.finished.printed().contains("has no ETag"), "{more}: {ended:#?}");
        assert_eq!(oracle.table().len(), 19);
    }
    held.has("ETag: \"4\"\r\n", &of_age(1..=18, 3));
    workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 18), ("deletes", 1)]);
    assert_holds(&oracle, &of_age(1..=18, 3));
}

/// A server that breaks off in the middle, and gives another part when the rest is asked for.
pub fn other_rest(_server: &Seaweed) {
    for (rest, is_right) in [("right", true), ("first", false), ("whole", false)] {
        let oracle = Oracle::start(&["id"]);
        let text = ndjson(&of_age(10..=29, 0));
        let (all, half) = (text.len(), text.len() / 2);
        assert!(all % 2 == 0 && text[half - 1] == b'\n', "the halves are alike");
        let web = Web::start(0, move |asked| {
            let head = |status: &str, length: usize, more: &str| {
                format!(
                    "HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {length}\r\n{more}\r\n"
                )
            };
            let part = |from: usize, to: usize, text: &[u8]| {
                let range = format!("Content-Range: bytes {from}-{}/{all}\r\n", to - 1);
                [head("206 Part", to - from, &range).as_bytes(), text].concat()
            };
            let asked_for = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
            let from = asked_for.and_then(|range| range.split('-').next()?.parse().ok());
            Becomes::Answered(match from {
                None => [head("200 OK", all, "").as_bytes(), &text[..half]].concat(),
                Some(from) => match rest {
                    "right" => part(from, all, &text[from..]),
                    "first" => part(0, half, &text[..half]),
                    _ => [head("200 OK", all, "").as_bytes(), &text].concat(),
                },
            })
        });
        let source = format!(
            "lake: {{ store: {{ idle_timeout: 300ms }}, files: {{ people: \"http://127.0.0.1:{}/people.ndjson\" }} }}",
            web.port
        );
        let workspace = workspace(&oracle, &source);
        let ended = workspace.run(&["sync", "people"]);
        if is_right {
            ended.expect_code(0);
            assert_holds(&oracle, &of_age(10..=29, 0));
        } else {
            assert_eq!(ended.code, Some(1), "{rest}: {}", ended.printed());
            assert!(ended.printed().contains("people.ndjson"), "{rest}: {}", ended.printed());
            assert!(oracle.table().len() <= 10, "{rest}: {:?}", oracle.table());
        }
        let is_rest = |asked: &Asked| asked.header("range").is_some();
        assert!(web.seen().iter().any(is_rest), "{rest}: {:#?}", web.seen());
    }
}

pub fn at_rest(_server: &Seaweed) {
    let (oracle, held) = (Oracle::start(&["id"]), Held::start());
    let workspace = workspace(&oracle, &held.source(KNOWN));
    let date = |second: u32| format!("Date: Sun, 22 Nov 2026 12:00:{second:02} GMT\r\n");
    let changed = "Last-Modified: Sun, 22 Nov 2026 12:00:10 GMT\r\n";
    held.has(&format!("ETag: \"1\"\r\n{changed}{}", date(40)), &of_age(1..=20, 0));
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    workspace.sync(&[]).expect(0, "skipped", &[]);
    // Within one second there may be two states of one tag and one size: it is sent, and nothing is deleted.
    for now in [10, 11] {
        held.has(&format!("ETag: \"2\"\r\n{changed}{}", date(now)), &of_age(1..=19, 1));
        let ended = workspace.sync(&[]).expect(4, "partial", &[("held", 1)]);
        assert!(ended.finished.printed().contains("changed within 2 s"), "{ended:#?}");
    }
    held.has(&format!("ETag: \"2\"\r\n{changed}{}", date(12)), &of_age(1..=19, 1));
    workspace.sync(&[]).expect(0, "succeeded", &[("deletes", 1)]);
    workspace.sync(&[]).expect(0, "skipped", &[]);
    // Who asks as somebody else may get other rows.
    held.has("ETag: \"3\"\r\n", &of_age(1..=18, 1));
    reads(&workspace, &held.source("{ Authorization: \"Bearer ${TOKEN}\", X-Tenant: other }"));
    workspace.sync(&[]).expect(4, "partial", &[("held", 1)]);
    // A server that says to a HEAD that there is nothing is not believed.
    let whole = Web::start(0, |asked| {
        let text = csv(&of_age(1..=5, 0));
        let length = if asked.method == "HEAD" { 0 } else { text.len() };
        let head = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n");
        Becomes::Answered([head, text].concat().into_bytes())
    });
    let oracle = Oracle::start(&["id"]);
    let source =
        format!("lake: {{ files: {{ people: \"http://127.0.0.1:{}/people.csv\" }} }}", whole.port);
    super::workspace(&oracle, &source).sync(&[]).expect(0, "succeeded", &[("delivered", 5)]);
}

pub fn refused(_server: &Seaweed) {
    let (oracle, held) = (Oracle::start(&["id"]), Held::start());
    held.has("ETag: \"1\"\r\n", &of_age(1..=20, 0));
    let workspace = workspace(&oracle, &held.source("{ Accept: text/csv }"));
    let failed = |words: &[&str]| {
        workspace.run(&["sync", "people"]).expect_code(1).expect_printed(words);
    };
    failed(&["people.csv", "refused with 401", "`headers`"]);
    let elsewhere = Web::start(0, |_| {
        let head =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        Becomes::Answered(head.into())
    });
    let at = |port: u16, file: &str| {
        format!("lake: {{ files: {{ people: \"http://127.0.0.1:{port}/{file}\" }} }}")
    };
    reads(&workspace, &at(elsewhere.port, "people.csv"));
    failed(&["answers with 302", "name that one"]);
    let whole = Web::start(0, |_| {
        let head =
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 20\r\n\r\nPAR1............PAR1";
        Becomes::Answered(head.into())
    });
    reads(&workspace, &at(whole.port, "people.parquet"));
    failed(&["gives no parts of an object", "Parquet"]);
    let none = Web::start(0, |_| {
        Becomes::Answered(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n".to_vec())
    });
    reads(&workspace, &at(none.port, "people.csv"));
    failed(&["no object `http://127.0.0.1:", "/people.csv`"]);
    reads(&workspace, &at(1, "people.csv"));
    failed(&["cannot be reached"]);
    assert!(oracle.table().is_empty());
}
