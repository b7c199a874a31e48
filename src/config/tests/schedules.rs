//! Schedules: what they become, and what is wrong with them.

use std::time::Duration;

use super::problems::each_is_one_problem;
use super::*;

const CRON: &str = "{cron: \"*/15 * * * *\", time_zone: Europe/Berlin}";

#[test]
fn a_schedule_is_a_cron_line_or_an_interval() {
    let schedule = |text: &str| {
        let config = load_text(&GOOD.replacen(CRON, text, 1)).unwrap();
        config.sync("people").unwrap().schedule.clone().unwrap()
    };
    let line = "*/15 * * * *".to_owned();
    let time_zone = "Europe/Berlin".to_owned();
    assert_eq!(schedule(CRON), Schedule::Cron { line, time_zone });
    assert_eq!(schedule("{every: 15m}"), Schedule::Every(Duration::from_secs(900)));
    assert_eq!(schedule("{every: 1s}"), Schedule::Every(Duration::from_secs(1)));
}

#[test]
fn a_schedule_that_says_too_much_or_too_little_is_named() {
    each_is_one_problem(&[
        (
            "cron: \"*/15 * * * *\"",
            "every: 15m",
            "syncs.people.schedule.time_zone",
            "`time_zone` is for `cron`",
            "remove",
        ),
        (
            "{cron: \"*/15 * * * *\", time_zone: Europe/Berlin}",
            "{every: 999ms}",
            "syncs.people.schedule.every",
            "`999ms` is too short",
            "`1s`",
        ),
        (
            "{cron: \"*/15 * * * *\", time_zone: Europe/Berlin}",
            "{every: fortnightly}",
            "syncs.people.schedule.every",
            "`fortnightly`",
            "`30s`",
        ),
        (
            "{cron: \"*/15 * * * *\",",
            "{cron: \"*/15 * * * *\", every: 15m,",
            "syncs.people.schedule.every",
            "both `cron` and `every`",
            "keep one",
        ),
        (
            "{cron: \"*/15 * * * *\", time_zone",
            "{time_zone",
            "syncs.people.schedule",
            "never fires",
            "every: 15m",
        ),
        (
            "{cron: \"*/15 * * * *\", time_zone: Europe/Berlin}",
            "{after: people}",
            "syncs.people.schedule.after",
            "`people` comes after itself",
            "`cron` or `every`",
        ),
        (
            "{cron: \"*/15 * * * *\", time_zone: Europe/Berlin}",
            "{after: peeple}",
            "syncs.people.schedule.after",
            "there is no sync `peeple`",
            "`people`",
        ),
        (
            "{cron: \"*/15 * * * *\", time_zone: Europe/Berlin}",
            "{after: people, every: 1h}",
            "syncs.people.schedule.after",
            "both `after` and `every`",
            "keep one",
        ),
        (
            "schedule: {cron",
            "group: night\n    schedule: {cron",
            "syncs.people.group",
            "there is no group `night`",
            "define it under `groups:`",
        ),
        (
            "schedule: {cron",
            "priority: urgent\n    schedule: {cron",
            "syncs.people.priority",
            "unknown word `urgent`",
            "`high`",
        ),
        ("{cron: ", "{crom: ", "syncs.people.schedule.crom", "`crom`", "`cron`"),
    ]);
}

#[test]
fn a_circle_of_syncs_is_told_once_with_its_path() {
    let (head, sync) = GOOD.split_once("  people:\n").unwrap();
    let of = |name: &str, after: &str| {
        let schedule = format!("{{after: {after}}}");
        let body =
            sync.replacen(CRON, &schedule, 1).replace("    mode:", "    shared: true\n    mode:");
        format!("  {name}:\n{body}")
    };
    let text = format!("{head}{}{}{}", of("a", "c"), of("b", "a"), of("c", "b"));
    let Err(problems) = load_text(&text) else { panic!("a circle") };
    let told = problems.to_string();
    assert!(told.contains("`a` → `b` → `c` → `a`"), "{told}");
    assert_eq!(told.matches("circle").count(), 1, "{told}");
    let straight = format!(
        "{head}{}{}  c:\n{}",
        of("a", "c"),
        of("b", "a"),
        sync.replace("    mode:", "    shared: true\n    mode:")
    );
    let config = load_text(&straight).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.sync("a").unwrap().schedule, Some(Schedule::After("c".to_owned())));
}

#[test]
fn limits_priorities_and_what_a_first_run_waits_for_become_values() {
    let text = GOOD
        .replacen("connections:", "groups: {night: {max_running: 2}, day: {}}\nserver: {max_running: 9}\nconnections:", 1)
        .replacen(
            "    mode: mirror",
            "    mode: mirror\n    group: night\n    priority: high\n    start: now\n    fail_above_rejected: 7\n    disable_after_halts: 0",
            1,
        );
    let config = load_text(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let limits = config.limits();
    assert_eq!((limits.running, limits.groups.len(), limits.groups["night"]), (9, 1, 2));
    let sync = config.sync("people").unwrap();
    assert_eq!((sync.group.as_deref(), sync.priority), (Some("night"), Priority::High));
    assert_eq!((sync.fail_above_rejected, sync.disable_after_halts), (Some(7), 0));
    assert!(sync.starts_now);
    assert_eq!(config.syncs_of("night").count(), 1);
    let usual = load_text(GOOD).unwrap();
    let sync = usual.sync("people").unwrap();
    assert_eq!(
        (usual.server.max_running, sync.disable_after_halts, sync.starts_now),
        (4, 5, false)
    );
}
