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
            "not built",
            "remove it for now",
        ),
        ("{cron: ", "{crom: ", "syncs.people.schedule.crom", "`crom`", "`cron`"),
    ]);
}
