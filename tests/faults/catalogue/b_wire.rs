//! B. Destination: what goes wrong on the wire, before, within and after a request (B1 to B6, B18).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Scenario;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::{Body, Fault};
use crate::support::front::{Does, Front};
use crate::support::oracle::Oracle;
use crate::support::people::{Person, key, people};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("B1", "a reset after a full answer takes no receipt back", answer_then_reset),
    Scenario::new("B2", "what was applied without an answer is asserted again", applied_unanswered),
    Scenario::new(
        "B2",
        "what only its key keeps from being applied twice is not halved",
        not_halved_in_doubt,
    ),
    Scenario::new("B3", "what was taken and dropped is sent again", taken_and_dropped),
    Scenario::new(
        "B4",
        "a request reset or half closed within its body is sent again",
        within_body,
    ),
    Scenario::new("B4", "a refused connection leaves nothing in doubt", refused),
    Scenario::new("B5", "an upsert applied late is mended by a full resync", applied_late),
    Scenario::new("B5", "a delete applied late is mended by a full resync", deleted_late),
    Scenario::new("B5", "an upsert applied after its delete is mended when the row returns", ghost),
    Scenario::new("B6", "an answer that comes too slowly is given up in time", too_slow),
    Scenario::new("B6", "an answer without an end takes bounded memory", without_end),
    Scenario::new("B6", "a gzip bomb is never unpacked", gzip_bomb),
    Scenario::new("B18", "an answer that nobody asked for is no receipt", unasked),
    Scenario::new("B18", "a keep-alive race costs a counted retry and no row", keep_alive_race),
];

/// One to two hundred and then some changes of every sort: more counters, fewer people, new people.
pub fn changed(of: u32) -> Vec<Person> {
    let mut changed = people(of / 5..=of + 3);
    changed.iter_mut().step_by(3).for_each(|person| person.counter = 2);
    changed
}

/// Plays `fault` once in an upsert and once in a delete of a story, in the first request and in a later one, counts all
/// attempts, and judges.
pub fn upserts_and_deletes(scenario: &Scenario, setup: Setup, fault: &Fault) {
    let mut case = Case::new(&scenario.replay(), setup);
    case.say(format!("{fault:?}"));
    case.oracle.on_request(1, fault.clone());
    case.oracle.on_request(3, fault.clone());
    case.write(&people(1..=30));
    case.sync(&[]);
    let first = case.oracle.request_count();
    case.write(&people(1..=24));
    case.oracle.on_request(first + 1, fault.clone());
    case.sync(&[]);
    case.assert_attempts_counted();
    case.judge();
}

/// A request that is written to a connection just as it is reset is lost, unseen: it is counted, and nothing is redundant.
fn answer_then_reset(scenario: &Scenario) {
    let mut case = Case::new(&scenario.replay(), Setup::default());
    case.oracle.always(Fault::AnswerThenReset);
    case.write(&people(1..=60));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 60), ("unknown", 0)]);
    case.write(&changed(60));
    case.sync(&[]).expect(0, "succeeded", &[("unknown", 0)]);
    assert_eq!(case.oracle.redundant(), 0, "{}", case.print());
    case.judge();
}

fn applied_unanswered(scenario: &Scenario) {
    for fault in [
        Fault::ApplyThenDrop,
        Fault::ApplyThenReset,
        Fault::ApplyThenCut(0),
        Fault::ApplyThenCut(12),
        Fault::ApplyThenCut(150),
        Fault::ApplyThenCut(usize::MAX),
    ] {
        upserts_and_deletes(scenario, Setup::default(), &fault);
    }
    // Given up: doubt outlasts the run, whatever the row becomes meanwhile.
    for (repeat, attempts) in [("natural", 1), ("key", 1), ("never", 4)] {
        let setup = Setup { attempts, repeat, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.write(&people(1..=10));
        case.sync(&[]).expect(0, "succeeded", &[]);
        case.oracle.on_next(Fault::ApplyThenDrop);
        let mut next = people(1..=11);
        next[0].counter = 2;
        case.write(&next);
        let counts = [("unknown", 2), ("delivered", 0), ("requests", 1)];
        case.sync(&[]).expect(1, "partial", &counts);
        case.write(&people(1..=10));
        case.assert_attempts_counted();
        case.judge();
    }
}

/// Halves have other keys than the whole: where only the key keeps a record from being applied twice, a batch that may
/// have been applied is not halved.
fn not_halved_in_doubt(scenario: &Scenario) {
    let setup = Setup { repeat: "key", ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.oracle.on_next(Fault::ApplyThenDrop);
    case.oracle.on_next(Fault::TooLarge413(3));
    case.write(&people(1..=10));
    let counts = [("unknown", 10), ("delivered", 0), ("requests", 2), ("retries", 1)];
    case.sync(&[]).expect(1, "partial", &counts);
    case.assert_attempts_counted();
    case.judge();
}

fn taken_and_dropped(scenario: &Scenario) {
    for fault in [Fault::DropBeforeApply, Fault::HalfClose] {
        upserts_and_deletes(scenario, Setup::default(), &fault);
    }
}

fn within_body(scenario: &Scenario) {
    for bytes in [0, 100] {
        for fault in [Fault::ResetWithinBody(bytes), Fault::HalfCloseWithinBody(bytes)] {
            let setup = Setup { request_timeout: Some("2s"), ..Setup::default() };
            upserts_and_deletes(scenario, setup, &fault);
        }
    }
    // A body that fills the socket: the reset comes while it is still being written.
    let setup = Setup { batch: 5000, request_timeout: Some("5s"), ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.oracle.on_request(1, Fault::ResetWithinBody(50_000));
    case.oracle.on_request(2, Fault::HalfCloseWithinBody(50_000));
    case.write(&people(1..=5000));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 5000), ("retries", 2)]);
    case.assert_attempts_counted();
    case.judge();
}

fn refused(scenario: &Scenario) {
    let oracle = Oracle::start(&["id"]);
    let front = Front::start(oracle.address());
    let setup = Setup { attempts: 2, ..Setup::default() };
    let mut case = Case::at(&scenario.replay(), oracle, front.url("http"), setup);
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[]);
    front.does(Does::Refuse);
    case.say("connections are refused");
    case.write(&changed(20));
    let report = case.sync(&[]);
    assert_eq!((report.word("outcome"), report.count("unknown")), ("partial", 0), "{report:#?}");
    assert!(report.count("unsent") > 0 && report.count("delivered") == 0, "{report:#?}");
    front.does(Does::Pass);
    case.judge();
}

/// What a client that gave up had sent is applied after a newer value: the judge lets the key be, as nobody can know it.
/// A full resync sends it again.
fn applied_late(scenario: &Scenario) {
    let setup = Setup { request_timeout: Some("500ms"), ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=10));
    case.sync(&[]).expect(0, "succeeded", &[]);
    let mut next = people(1..=10);
    next[2].counter = 2;
    case.oracle.on_next(Fault::ApplyLate);
    case.write(&next);
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 1), ("retries", 1)]);
    next[2].counter = 3;
    case.write(&next);
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    case.oracle.release();
    case.say("what was given up is applied");
    assert_eq!(case.oracle.record(&key(3)), Some(Person::new(3, 2).record()), "{}", case.print());
    assert_eq!(case.oracle.late(), BTreeSet::from([key(3)]));
    case.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    case.sync(&["--full"]).expect(0, "succeeded", &[]);
    assert_eq!(case.oracle.record(&key(3)), Some(Person::new(3, 3).record()), "{}", case.print());
    assert!(case.oracle.late().is_empty());
    case.assert_attempts_counted();
    case.judge();
}

fn deleted_late(scenario: &Scenario) {
    let setup = Setup { request_timeout: Some("500ms"), attempts: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=10));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.oracle.on_next(Fault::ApplyLate);
    case.write(&people(1..=8));
    case.sync(&[]).expect(1, "partial", &[("unknown", 2)]);
    case.write(&people(1..=10));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 2)]);
    case.oracle.release();
    case.say("the deletes that were given up are applied");
    assert_eq!(case.oracle.late(), BTreeSet::from([key(9), key(10)]), "{}", case.print());
    case.sync(&["--full"]).expect(0, "succeeded", &[]);
    assert!(case.oracle.late().is_empty());
    case.judge();
}

/// The destination holds a row that nobody can know of, as its delete was answered: the judge lets it be.
fn ghost(scenario: &Scenario) {
    let setup = Setup { request_timeout: Some("500ms"), attempts: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=10));
    case.sync(&[]).expect(0, "succeeded", &[]);
    case.oracle.on_next(Fault::ApplyLate);
    case.write(&people(1..=11));
    case.sync(&[]).expect(1, "partial", &[("unknown", 1)]);
    case.write(&people(1..=10));
    case.sync(&[]).expect(0, "succeeded", &[("deleted", 1)]);
    case.oracle.release();
    case.say("the upsert that was given up is applied");
    assert!(case.oracle.record(&key(11)).is_some(), "{}", case.print());
    case.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
    case.write(&people(1..=11));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 1)]);
    assert!(case.oracle.late().is_empty());
    case.judge();
}

fn too_slow(scenario: &Scenario) {
    let pause = Duration::from_millis(50);
    for fault in [
        Fault::Endless { is_head: true, piece: 8, pause },
        Fault::Endless { is_head: false, piece: 8, pause },
        Fault::SlowPieces(100, pause),
        Fault::SlowAnswer(SOON),
    ] {
        let setup = Setup { request_timeout: Some("500ms"), attempts: 2, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.oracle.always(fault);
        case.write(&people(1..=5));
        let report = case.sync(&[]).expect(1, "partial", &[("unknown", 5), ("requests", 2)]);
        let took = report.finished.took;
        assert!(took < Duration::from_secs(10), "it took {took:?}\n{}", case.print());
        case.assert_attempts_counted();
        case.judge();
    }
}

/// What an answer may cost in memory, in bytes: the longest that is read is 8 MiB, and it may be there more than once.
const MOST_MEMORY: u64 = 64 << 20;
/// What is unpacked where nothing bounds it: several times of that.
const TOO_MUCH: u64 = 256 << 20;

/// Answers a run's only request with `fault`, and compares the memory that the process had at most with that of a run
/// without a fault.
fn takes_bounded_memory(scenario: &Scenario, fault: Fault) {
    let setup = Setup { attempts: 1, request_timeout: Some("20s"), ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=5));
    let started = case.spawn(&[]);
    let usual = started.process.peak_memory();
    case.end(started).expect_code(0);
    case.oracle.on_next(fault);
    case.write(&people(1..=10));
    let started = case.spawn(&[]);
    let peak = started.process.peak_memory();
    let finished = case.end(started);
    let report = finished.expect_code(1).json();
    assert_eq!((&report["tally"]["unknown"], &report["outcome"]), (&5.into(), &"partial".into()));
    let (usual_mib, mib) = (usual >> 20, peak >> 20);
    assert!(usual > 0 && peak > 0, "the memory was measured");
    let is_bounded = peak < usual + MOST_MEMORY;
    assert!(is_bounded, "the process took {mib} MiB, {usual_mib} usually\n{}", case.print());
    case.say(format!("the process took {mib} MiB at most, {usual_mib} usually"));
    case.assert_attempts_counted();
    case.judge();
}

fn without_end(scenario: &Scenario) {
    for is_head in [true, false] {
        let (piece, pause) = (64 << 10, Duration::ZERO);
        takes_bounded_memory(scenario, Fault::Endless { is_head, piece, pause });
    }
}

/// Zeros in a 165th of their size, shorter than the longest answer that is read.
fn gzip_bomb(scenario: &Scenario) {
    // The last block, of fixed codes, and in it the literal 0; then matches that repeat it 258 times, 13 bits each. The
    // end of the block and the checksum never come: whoever unpacks has unpacked it all by then.
    const BEGINNING: [u8; 11] = [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    const MATCH: [u8; 13] = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    let count = usize::try_from(TOO_MUCH / 258).expect("it fits");
    let bits = BEGINNING.into_iter().chain(MATCH.into_iter().cycle().take(count * MATCH.len()));
    let bits: Vec<u8> = bits.collect();
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    body.extend(
        bits.chunks_exact(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)),
    );
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    takes_bounded_memory(scenario, Fault::Bytes { code: 200, headers, body: Body(body) });
}

/// The destination closes a connection just when the next request comes on it. Every attempt that it saw, and no other,
/// is one that the run reports.
fn keep_alive_race(scenario: &Scenario) {
    let mut lost = 0;
    for pause in [0, 50, 100, 200, 300, 400, 600, 1000, 2000, 4000] {
        let setup = Setup { batch: 1, concurrency: 1, attempts: 8, ..Setup::default() };
        let mut case = Case::new(&scenario.replay(), setup);
        case.oracle.always(Fault::CloseIdle(Duration::from_micros(pause)));
        case.write(&people(1..=40));
        case.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
        let requests = case.oracle.requests();
        lost += requests.iter().filter(|request| request.sent.operations.is_empty()).count();
        case.assert_attempts_counted();
        case.judge();
    }
    assert!(lost > 0, "no request ever came as its connection closed");
}

/// An answer comes twice, and the next request on that connection is dropped: what came too much is not its answer.
fn unasked(scenario: &Scenario) {
    let setup = Setup { batch: 5, concurrency: 1, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    for first in [1, 4, 7] {
        case.oracle.on_request(first, Fault::AnswerTwice);
        case.oracle.on_request(first + 1, Fault::DropBeforeApply);
    }
    case.write(&people(1..=40));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 40), ("retries", 3)]);
    case.assert_attempts_counted();
    case.judge();
}
