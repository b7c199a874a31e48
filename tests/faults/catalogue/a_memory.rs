//! A8. Memory that ends: at the start, while requests are in flight, by the system's own kill, and by the limit that the
//! config sets.

use super::{Scenario, is_exhaustive};
use crate::confine;
use crate::runner;
use crate::strace;
use crate::support::SOON;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::people::people;
use crate::support::process::Finished;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("A8", "a process whose memory ends at its start loses nothing", at_start)
        .needing(confine::can_limit),
    Scenario::new("A8", "a process whose memory ends while it sends loses nothing", while_sending)
        .needing(confine::can_limit),
    Scenario::new("A8", "a process that the system kills for its memory loses nothing", killed)
        .needing(confine::can_group),
    Scenario::new("A8", "a query beyond its memory limit fails by name", beyond_memory_limit),
    Scenario::new(
        "A8",
        "without room on the disk for what does not fit into memory a run fails by name",
        beyond_the_disk,
    )
    .needing(strace::is_there),
];

/// The address space ends somewhere before the first request.
fn at_start(scenario: &Scenario) {
    let (mut played, mut died) = (0, 0);
    let least = confine::least_address_space();
    for more in [0, 2, 4, 8, 12, 16, 24, 32, 64, 256] {
        let mut case = Case::new(&scenario.replay(), Setup::default());
        case.write(&people(1..=200));
        let limit = format!("--as={}", (least + more) << 20);
        let started = case.spawn_under(&["prlimit", &limit], &[], &[]);
        let finished = case.end(started.short_of_memory());
        played += 1;
        died += u32::from(has_died(&finished));
        case.judge();
    }
    runner::figure(format!("A8: {died} of {played} processes died of memory at their start"));
    assert!(died > 0, "the limit was never met");
}

/// Beyond what a process has when it is limited, in KiB, from little on.
const HEADROOMS: [u64; 6] = [0, 64, 256, 1_024, 4_096, 16_384];
/// The request at which it is limited.
const MOMENTS: [usize; 3] = [1, 3, 8];

/// All pairs of both, or some.
fn limits() -> impl Iterator<Item = (u64, usize)> {
    let all = HEADROOMS.into_iter().flat_map(|headroom| MOMENTS.map(|moment| (headroom, moment)));
    all.step_by(if is_exhaustive() { 1 } else { 4 })
}

/// Answers are read up to 8 MiB.
const LONG_ANSWER: usize = 7 << 20;
/// The allocator takes memory from the system only when it is needed, so that the limit counts what is in use.
const ON_DEMAND: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

/// By a signal or in a panic: what could still say why has not died of it.
fn has_died(finished: &Finished) -> bool {
    finished.code.is_none_or(|code| code == 101)
}

/// Each request is applied, and its answer takes memory without being a receipt.
fn long_answers(scenario: &Scenario) -> Case {
    let setup = Setup { batch: 20, concurrency: 8, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=2_000));
    case.oracle.always(Fault::body(200, "application/json", vec![b' '; LONG_ANSWER]).applied());
    case
}

fn has_open(case: &Case) -> bool {
    case.oracle.requests().iter().any(|request| !request.is_answered_whole)
}

/// The memory of a process that has begun to send is limited to what it has, and to a little more.
fn while_sending(scenario: &Scenario) {
    let (mut played, mut died, mut in_flight) = (0, 0, 0);
    for (headroom, moment) in limits() {
        let mut case = long_answers(scenario);
        let started = case.spawn_under(&["prlimit", "--core=0"], &[], &[ON_DEMAND]);
        case.oracle.wait_for_requests(moment, SOON);
        let limited = confine::limit_data(started.process.id(), headroom << 10);
        case.say(format!("its memory ends {headroom} KiB beyond what it has: {limited:?}"));
        let finished = case.end(started.short_of_memory());
        played += 1;
        died += u32::from(has_died(&finished));
        in_flight += u32::from(has_died(&finished) && has_open(&case));
        case.judge();
    }
    runner::figure(format!(
        "A8: {died} of {played} processes died of memory while sending, {in_flight} with requests in flight"
    ));
    assert!(in_flight * 2 >= played, "{in_flight} of {played} died with requests in flight");
}

/// The system kills the process once it needs more than its group has.
fn killed(scenario: &Scenario) {
    let (mut played, mut killed, mut in_flight) = (0, 0, 0);
    for (headroom, moment) in limits() {
        let mut case = long_answers(scenario);
        let group = confine::MemoryGroup::new().expect("a group, as there was one before");
        let within = group.within();
        let started = case.spawn_under(&confine::borrowed(&within), &[], &[ON_DEMAND]);
        case.oracle.wait_for_requests(moment, SOON);
        let is_limited = group.limit(headroom << 10);
        case.say(format!("its group has {headroom} KiB more: {is_limited}"));
        let finished = case.end(started.short_of_memory());
        let is_killed = finished.signal == Some(9);
        played += 1;
        killed += u32::from(is_killed);
        in_flight += u32::from(is_killed && has_open(&case));
        case.judge();
    }
    runner::figure(format!(
        "A8: {killed} of {played} processes were killed for their memory, {in_flight} with requests in flight"
    ));
    assert!(in_flight * 2 >= played, "{in_flight} of {played} were killed with requests in flight");
}

fn beyond_memory_limit(scenario: &Scenario) {
    let setup = Setup {
        sql: "SELECT DISTINCT a.id * 100000 + b.id AS id, a.counter, a.checksum, a.email FROM people a CROSS JOIN people b"
            .to_owned(),
        head: "memory_limit: 16MiB",
        ..Setup::default()
    };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=3_000));
    let report = case.sync(&[]).expect(1, "failed", &[("deletes", 0)]);
    report.finished.expect_printed(&["memory_limit"]);
    case.workspace.change(|setup| setup.sql = "SELECT * FROM people".to_owned());
    case.judge();
}

fn beyond_the_disk(scenario: &Scenario) {
    let setup = Setup { head: "memory_limit: 16MiB", batch: 1_000, ..Setup::default() };
    let mut case = Case::new(&scenario.replay(), setup);
    case.write(&people(1..=10));
    case.sync(&[]).expect(0, "succeeded", &[]);
    // There is room for about 14,000.
    case.write(&people(1..=20_000));
    let full = strace::without_room_in(&case.workspace.state(), "calls");
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    let started = case.spawn_under(&full, &[], &[]);
    let finished = case.end(started);
    assert!(strace::has_fired(&case.workspace.path().join("calls")), "{finished:#?}");
    let printed = ["`memory_limit`", "make room there", "No space left"];
    finished.expect_code(1).expect_printed(&printed);
    case.judge();
}
