//! D5. The calendar: hours that the clock leaves out or repeats, a leap day, and days in which no process ran or none was
//! awake. A real server lives through them by a clock that is stepped; beside `people`, whose schedule is in question, it has
//! the sync `beside`, whose firing shows that the time has come.

use jiff::Timestamp;
use serde_json::Value;

use super::Scenario;
use super::d_triggers::{STEP, now};
use crate::support::SOON;
use crate::support::case::{Case, Started};
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::server::{Api, until_within};
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "D5",
        "in New York what the clock leaves out fires once behind it, what it repeats once or in both hours",
        new_york,
    ),
    Scenario::new(
        "D5",
        "in Berlin what the clock leaves out fires once behind it, what it repeats once or in both hours",
        berlin,
    ),
    Scenario::new(
        "D5",
        "on Lord Howe the half hour that the clock leaves out or repeats is no other",
        lord_howe,
    ),
    Scenario::new("D5", "a leap day fires in its year alone", leap_day),
    Scenario::new("D5", "three days without a server are one run", days_down),
    Scenario::new("D5", "three days of sleep are one run", days_asleep),
];

/// Two schedules in a zone: that of `people`, and that of `beside`.
#[derive(Clone, Copy)]
struct Lines {
    zone: &'static str,
    people: &'static str,
    beside: &'static str,
}

/// A world with a destination of its own for `beside`.
struct Days {
    case: Case,
    other: Oracle,
    lives: u32,
}

impl Days {
    fn new(scenario: &Scenario) -> Days {
        let setup = Setup { batch: 3, concurrency: 1, ..Setup::default() };
        Days { case: Case::new(&scenario.replay(), setup), other: Oracle::start(&["id"]), lives: 0 }
    }

    /// A server under a clock that is stepped by so many milliseconds, that many after its start.
    fn serve(&mut self, zone: &str, lines: [&str; 2], step: &str) -> (Started, Api) {
        self.lives += 1;
        self.case.write(&people(1..=9 + self.lives));
        let config = self.case.workspace.config();
        let (before, sync) = config.split_once("  people:\n    model").expect("there is a sync");
        let url = self.other.base_url();
        let other = format!(
            "connections:\n  beside:\n    http: {{ base_url: \"{url}\", auth: {{ bearer: \"${{TOKEN}}\" }} }}\n"
        );
        let before = before.replacen("connections:\n", &other, 1);
        let scheduled = |name: &str, line: &str, sync: &str| {
            format!(
                "  {name}:\n    schedule: {{ cron: \"{line}\", time_zone: {zone} }}\n    model{sync}"
            )
        };
        let beside = sync.replace("connection: crm", "connection: beside");
        let syncs = scheduled("people", lines[0], sync) + &scheduled("beside", lines[1], &beside);
        let config = format!("server: {{ listen: \"127.0.0.1:0\" }}\n{before}{syncs}");
        self.case.workspace.write("counterflow.yaml", &config);
        let environment = [(STEP, step), ("RUST_LOG", "counterflow=debug")];
        self.case.say(format!("serve {lines:?} in {zone}, {step}"));
        let serve = ["--format", "json", "serve"];
        let process = self.case.workspace.spawn_logged(&serve, &environment);
        let api = Api::of(&self.case.workspace, &process);
        (self.case.started(process), api)
    }

    /// A server from this time on, until `beside` has fired so often; how often `people` has.
    fn live(&mut self, lines: Lines, from: &str, beside: usize) -> usize {
        let Lines { zone, people, .. } = lines;
        let by = from.parse::<Timestamp>().expect("it is a time").as_millisecond() - now();
        let (server, api) = self.serve(zone, [people, lines.beside], &format!("{by}:0"));
        let fired = self.fire(&api, beside);
        self.end(server);
        fired
    }

    /// Waits until `beside` has fired so often, and all that fired has ended; how often `people` has fired.
    fn fire(&mut self, api: &Api, beside: usize) -> usize {
        let count = |sync: &str, log: &str| {
            let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
            let is_it = |line: &Value| line["message"] == "schedule fires" && line["sync"] == sync;
            lines.filter(is_it).count()
        };
        let begun = std::time::Instant::now();
        while count("beside", &self.case.workspace.log()) < beside {
            let waited = begun.elapsed();
            assert!(waited.as_secs() < 90, "D5: it did not fire\n{}", self.case.workspace.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // Where missed ticks fire each, there are many.
        until_within(SOON * 4, "all runs end", &mut || {
            let syncs = api.get("/api/v1/syncs").expect(200).json;
            let mut syncs = syncs.as_array()?.iter();
            syncs.all(|sync| sync["unfinished"] == Value::Array(vec![])).then_some(())
        });
        count("people", &self.case.workspace.log())
    }

    fn end(&mut self, server: Started) {
        server.process.sigterm();
        self.case.end(server).expect_code(0);
    }

    /// Lives one after another, each from a time on until `beside` has fired so often; `people` must fire so often in it.
    #[track_caller]
    fn live_all(&mut self, lines: Lines, lives: &[(&str, usize, usize)]) {
        for (from, beside, people) in lives {
            let fired = self.live(lines, from, *beside);
            let Lines { zone, people: line, .. } = lines;
            let print = self.case.print();
            assert_eq!(fired, *people, "D5: `{line}` in {zone} from {from} on\n{print}");
        }
    }

    fn judge(self) {
        self.case.workspace.write_config();
        self.case.judge();
    }
}

/// The clock goes from 2:00 to 3:00 at 07:00 UTC, and from 2:00 to 1:00 at 06:00 UTC.
fn new_york(scenario: &Scenario) {
    let mut days = Days::new(scenario);
    let lines = |people| Lines { zone: "America/New_York", people, beside: "30 * * * *" };
    let gap = [("2040-03-11T06:40:00Z", 0, 0), ("2040-03-11T07:29:57Z", 1, 1)];
    days.live_all(lines("30 2 * * *"), &gap);
    // What was missed since is one firing, and then each hour has its own.
    let overlap = [
        ("2040-11-04T04:40:00Z", 1, 1),
        ("2040-11-04T05:29:57Z", 1, 1),
        ("2040-11-04T06:29:57Z", 1, 0),
    ];
    days.live_all(lines("30 1 * * *"), &overlap);
    days.judge();
}

/// The clock goes from 2:00 to 3:00 at 01:00 UTC, and from 3:00 to 2:00 at 01:00 UTC.
fn berlin(scenario: &Scenario) {
    let mut days = Days::new(scenario);
    let lines = Lines { zone: "Europe/Berlin", people: "30 2 * * *", beside: "30 * * * *" };
    let lives = [
        ("2040-03-25T00:40:00Z", 0, 0),
        ("2040-03-25T01:29:57Z", 1, 1),
        ("2040-10-27T23:40:00Z", 1, 1),
        ("2040-10-28T00:29:57Z", 1, 1),
        ("2040-10-28T01:29:57Z", 1, 0),
    ];
    days.live_all(lines, &lives);
    days.judge();
}

/// The clock goes from 2:00 to 1:30 at 15:00 UTC, and from 2:00 to 2:30 at 15:30 UTC.
fn lord_howe(scenario: &Scenario) {
    let mut days = Days::new(scenario);
    let zone = "Australia/Lord_Howe";
    let overlap = [
        ("2040-03-31T14:10:00Z", 0, 0),
        ("2040-03-31T14:44:57Z", 1, 1),
        ("2040-03-31T15:14:57Z", 1, 0),
    ];
    days.live_all(Lines { zone, people: "45 1 * * *", beside: "45 * * * *" }, &overlap);
    let gap = [("2040-10-06T15:00:00Z", 1, 1), ("2040-10-06T15:44:57Z", 1, 1)];
    days.live_all(Lines { zone, people: "15 2 * * *", beside: "15 * * * *" }, &gap);
    days.judge();
}

fn leap_day(scenario: &Scenario) {
    let mut days = Days::new(scenario);
    let lines = Lines { zone: "UTC", people: "0 12 29 2 *", beside: "0 12 * * *" };
    let lives = [
        ("2039-02-28T11:00:00Z", 0, 0),
        ("2039-02-28T11:59:57Z", 1, 0),
        ("2039-03-01T11:59:57Z", 1, 0),
        ("2040-02-29T11:00:00Z", 1, 0),
        ("2040-02-29T11:59:57Z", 1, 1),
        ("2040-03-01T11:59:57Z", 1, 0),
    ];
    days.live_all(lines, &lives);
    days.judge();
}

fn days_down(scenario: &Scenario) {
    let mut days = Days::new(scenario);
    let lines = Lines { zone: "Europe/Berlin", people: "*/15 * * * *", beside: "* * * * *" };
    for is_killed in [false, true] {
        let by = |at: &str| at.parse::<Timestamp>().expect("a time").as_millisecond() - now();
        let from = if is_killed { "2040-05-07T00:16:00Z" } else { "2040-05-01T00:16:00Z" };
        let step = format!("{}:0", by(from));
        let (server, api) = days.serve(lines.zone, [lines.people, lines.beside], &step);
        if is_killed {
            // It has caught up on the days before.
            days.fire(&api, 1);
            days.case.kill(server);
        } else {
            days.end(server);
        }
        let from = if is_killed { "2040-05-10T00:16:50Z" } else { "2040-05-04T00:16:50Z" };
        // Once for the days, and again with the next minute.
        let fired = days.live(lines, from, 2);
        assert_eq!(fired, 1, "D5: three days of quarters are one run\n{}", days.case.print());
    }
    days.judge();
}

/// The wall clock jumps ahead as it does when a machine wakes up.
fn days_asleep(scenario: &Scenario) {
    const MINUTE: i64 = 60_000;
    let mut days = Days::new(scenario);
    let now = now();
    // Half an hour away from both ends of the sleep.
    let half = format!("{} * * * *", (now / MINUTE + 30) % 60);
    let wakes_at = (now / MINUTE + 3 * 24 * 60) * MINUTE + 50_000;
    let step = format!("{}:1500", wakes_at - now);
    let (server, api) = days.serve("UTC", [&half, "* * * * *"], &step);
    let fired = days.fire(&api, 2);
    days.end(server);
    assert_eq!(fired, 1, "D5: three days of hours are one run\n{}", days.case.print());
    days.judge();
}
