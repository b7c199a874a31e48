//! Firings over changes of the clock by hand, and over random lines, zones and years against croner.

use std::str::FromStr;

use jiff::Zoned;
use proptest::prelude::*;

use super::*;

fn instant(text: &str) -> Instant {
    Instant(text.parse::<Timestamp>().unwrap().as_millisecond())
}

/// The firings after a local midnight, as local times with their offsets.
fn firings(line: &str, zone: &str, day: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(line, zone).unwrap();
    let midnight = format!("{day}T00:00[{zone}]").parse::<Zoned>().unwrap();
    let local = |firing: Instant| {
        let timestamp = Timestamp::from_millisecond(firing.0).unwrap();
        timestamp.to_zoned(TimeZone::get(zone).unwrap()).strftime("%d %H:%M %:z").to_string()
    };
    let before = Instant(midnight.timestamp().as_millisecond() - 1);
    schedule.next(before, count).into_iter().map(local).collect()
}

#[test]
fn an_interval_fires_at_its_multiples_whenever_it_is_asked() {
    let schedule = Schedule::every(Duration::from_secs(900));
    let quarter = instant("2026-05-04T12:15:00Z");
    assert_eq!(schedule.next_after(instant("2026-05-04T12:00:00Z")), Some(quarter));
    assert_eq!(schedule.next_after(instant("2026-05-04T12:07:31Z")), Some(quarter));
    assert_eq!(schedule.next_after(Instant(quarter.0 - 1)), Some(quarter));
    assert_eq!(schedule.next(quarter, 2)[1], instant("2026-05-04T12:45:00Z"));
    assert_eq!(schedule.next_after(Instant(-1)), Some(Instant(0)));
    assert_eq!(schedule.next_after(Instant(i64::MAX)), None);
}

#[test]
fn a_time_is_shown_by_the_clock_of_its_zone_with_its_offset() {
    let berlin = Schedule::parse("30 3 * * *", "Europe/Berlin").unwrap();
    let shown = |text: &str| berlin.shown(instant(text));
    assert_eq!(shown("2026-10-24T01:30:00Z"), "2026-10-24T03:30:00+02:00");
    assert_eq!(shown("2026-10-25T02:30:00.999Z"), "2026-10-25T03:30:00+01:00");
    let (quarter, text) = (Schedule::every(Duration::from_secs(900)), "2026-10-24T01:30:00Z");
    let london = Schedule::parse("30 3 * * *", "Europe/London").unwrap();
    assert_eq!(quarter.shown(instant(text)), text);
    assert_eq!(london.shown(instant("2026-12-24T01:30:00Z")), "2026-12-24T01:30:00Z");
}

#[test]
fn a_firing_is_strictly_after_the_instant_asked_about() {
    let schedule = Schedule::parse("*/15 * * * *", "UTC").unwrap();
    let noon = instant("2026-05-04T12:00:00Z");
    let quarter = instant("2026-05-04T12:15:00Z");
    assert_eq!(schedule.next_after(noon), Some(quarter));
    assert_eq!(schedule.next_after(Instant(noon.0 - 1)), Some(noon));
    assert_eq!(schedule.next_after(Instant(quarter.0 - 1)), Some(quarter));
    assert_eq!(schedule.next_after(instant("2101-01-01T00:00:00Z")), None);
}

#[test]
fn weekdays_count_from_sunday_as_zero() {
    // 2026-11-01 is a Sunday.
    assert_eq!(firings("0 9 * * 1", "UTC", "2026-11-01", 1), ["02 09:00 +00:00"]);
    assert_eq!(
        firings("0 9 * * MON-FRI", "UTC", "2026-11-06", 2).concat(),
        "06 09:00 +00:0009 09:00 +00:00"
    );
    assert_eq!(
        firings("0 9 * * 7", "UTC", "2026-11-01", 2),
        ["01 09:00 +00:00", "08 09:00 +00:00"]
    );
}

#[test]
fn two_restricted_day_fields_are_either_and_a_star_is_no_restriction() {
    let days = |line| -> Vec<String> {
        let firings = firings(line, "UTC", "2026-11-01", 4);
        firings.into_iter().map(|firing| firing[..2].to_owned()).collect()
    };
    assert_eq!(days("0 0 1,3 * MON"), ["01", "02", "03", "09"]);
    assert_eq!(days("0 0 * * MON"), ["02", "09", "16", "23"]);
    assert_eq!(days("0 0 */2 * MON"), ["09", "23", "07", "21"]);
}

#[test]
fn a_leap_day_comes_every_four_years() {
    let schedule = Schedule::parse("0 12 29 2 *", "Europe/Berlin").unwrap();
    assert_eq!(
        schedule.next(instant("2026-01-01T00:00:00Z"), 2),
        [instant("2028-02-29T11:00:00Z"), instant("2032-02-29T11:00:00Z")]
    );
}

#[test]
fn a_line_that_never_fires_and_an_unknown_zone_are_refused() {
    let never = Schedule::parse("0 0 30 2 *", "UTC").unwrap_err();
    assert_eq!(never, Error::Never("0 0 30 2 *".to_owned()));
    let nowhere = Schedule::parse("@daily", "Europe/Atlantis").unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "unknown time zone `Europe/Atlantis`; use an IANA name such as `Europe/Berlin`"
    );
}

#[test]
fn new_york_in_spring_moves_what_the_clock_jumps_over_behind_the_gap_once() {
    let day = |line, count| firings(line, "America/New_York", "2026-03-08", count);
    assert_eq!(day("30 2 * * *", 2), ["08 03:30 -04:00", "09 02:30 -04:00"]);
    assert_eq!(day("30 2,3 * * *", 2), ["08 03:30 -04:00", "09 02:30 -04:00"]);
    assert_eq!(
        day("30 * * * *", 4),
        ["08 00:30 -05:00", "08 01:30 -05:00", "08 03:30 -04:00", "08 04:30 -04:00"]
    );
    assert_eq!(day("0 */2 * * *", 3), ["08 00:00 -05:00", "08 03:00 -04:00", "08 04:00 -04:00"]);
    assert_eq!(day("15,45 2 * * *", 3), ["08 03:15 -04:00", "08 03:45 -04:00", "09 02:15 -04:00"]);
}

#[test]
fn new_york_in_autumn_repeats_every_hour_lines_only() {
    let day = |line, count| firings(line, "America/New_York", "2026-11-01", count);
    assert_eq!(day("30 1 * * *", 2), ["01 01:30 -04:00", "02 01:30 -05:00"]);
    assert_eq!(
        day("0,30 1,2 * * *", 4),
        ["01 01:00 -04:00", "01 01:30 -04:00", "01 02:00 -05:00", "01 02:30 -05:00"]
    );
    assert_eq!(
        day("30 * * * *", 4),
        ["01 00:30 -04:00", "01 01:30 -04:00", "01 01:30 -05:00", "01 02:30 -05:00"]
    );
    assert_eq!(
        day("*/30 */1 1 11 *", 6)[2..],
        ["01 01:00 -04:00", "01 01:30 -04:00", "01 01:00 -05:00", "01 01:30 -05:00"]
    );
}

#[test]
fn a_question_asked_inside_the_repeated_hour_is_answered_by_the_same_rule() {
    let between = instant("2026-11-01T06:10:00Z");
    let at = |line: &str| {
        Schedule::parse(line, "America/New_York").unwrap().next_after(between).unwrap()
    };
    assert_eq!(at("30 1 * * *"), instant("2026-11-02T06:30:00Z"));
    assert_eq!(at("30 * * * *"), instant("2026-11-01T06:30:00Z"));
}

#[test]
fn berlin_changes_its_clock_at_two_and_three() {
    assert_eq!(
        firings("30 2 * * *", "Europe/Berlin", "2026-03-29", 2),
        ["29 03:30 +02:00", "30 02:30 +02:00"]
    );
    assert_eq!(
        firings("30 2 * * *", "Europe/Berlin", "2026-10-25", 2),
        ["25 02:30 +02:00", "26 02:30 +01:00"]
    );
    assert_eq!(
        firings("0 */2 * * *", "Europe/Berlin", "2026-10-25", 4),
        ["25 00:00 +02:00", "25 02:00 +02:00", "25 02:00 +01:00", "25 04:00 +01:00"]
    );
}

#[test]
fn lord_howe_changes_its_clock_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    assert_eq!(
        firings("15 2 * * *", zone, "2026-10-04", 2),
        ["04 02:45 +11:00", "05 02:15 +11:00"]
    );
    assert_eq!(
        firings("15,45 * * * *", zone, "2026-10-04", 6)[3..],
        ["04 01:45 +10:30", "04 02:45 +11:00", "04 03:15 +11:00"]
    );
    assert_eq!(
        firings("45 1 * * *", zone, "2026-04-05", 2),
        ["05 01:45 +11:00", "06 01:45 +10:30"]
    );
    assert_eq!(
        firings("45 * * * *", zone, "2026-04-05", 4),
        ["05 00:45 +11:00", "05 01:45 +11:00", "05 01:45 +10:30", "05 02:45 +10:30"]
    );
}

#[test]
fn apia_left_out_a_whole_day_and_the_line_fires_once() {
    assert_eq!(
        firings("0 9 * * *", "Pacific/Apia", "2011-12-29", 3),
        ["29 09:00 -10:00", "31 09:00 +14:00", "01 09:00 +14:00"]
    );
}

fn part(low: u32, high: u32) -> impl Strategy<Value = String> {
    let longest = (high - low).min(20);
    prop_oneof![
        3 => (low..=high).prop_map(|number| number.to_string()),
        2 => (low..=high, low..=high)
            .prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (low..=high, low..=high, 1..=longest)
            .prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
    ]
}

fn restricted(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop::collection::vec(part(low, high), 1..3).prop_map(|parts| parts.join(","))
}

fn any_field(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (1..=(high - low).min(20)).prop_map(|step| format!("*/{step}")),
        4 => restricted(low, high),
    ]
}

/// Lines on which croner and the rules above agree: they differ where a day field is `*/n`.
fn any_line(hour: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let day = prop_oneof![Just("*".to_owned()), restricted(1, 31)];
    let name = prop::sample::select(vec!["MON", "tue", "Sat", "WED-FRI"]);
    let weekday =
        prop_oneof![Just("*".to_owned()), restricted(0, 7), name.prop_map(str::to_owned),];
    (any_field(0, 59), hour, day, any_field(1, 12), weekday).prop_map(
        |(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"),
    )
}

fn agrees_with_croner(line: &str, zone: &str, second: i64) -> Result<(), TestCaseError> {
    let ours = match Schedule::parse(line, zone) {
        Err(Error::Never(_)) => return Ok(()),
        parsed => parsed.map_err(|error| TestCaseError::fail(error.to_string()))?,
    };
    let theirs = croner::Cron::from_str(line).unwrap();
    let start = Timestamp::from_second(second).unwrap().in_tz(zone).unwrap();
    let expected: Vec<Instant> = theirs
        .iter_after(start)
        .take(5)
        .map(|zoned| Instant(zoned.timestamp().as_millisecond()))
        .take_while(|firing| *firing < instant("2100-01-01T00:00:00Z"))
        .collect();
    let found = ours.next(Instant(second * 1_000), expected.len());
    prop_assert_eq!(found, expected, "{} in {} after {}", line, zone, second);
    Ok(())
}

/// Whether the clock of the zone leaves something out within a day of this firing, or else repeats something.
fn is_beside_a_change(firing: Instant, zone: &TimeZone, is_gap: bool) -> bool {
    let at = Timestamp::from_millisecond(firing.0).unwrap();
    let day = SignedDuration::from_hours(24);
    let (from, to) = (at.checked_sub(day).unwrap(), at.checked_add(day).unwrap());
    let mut changes = zone.following(from).take_while(|change| change.timestamp() <= to);
    changes.any(|change| {
        let before = change.timestamp() - SignedDuration::from_secs(1);
        (change.offset() > zone.to_offset(before)) == is_gap
    })
}

#[test]
fn an_hour_that_comes_twice_fires_once_beside_the_hour_behind_it() {
    // At these seconds the clock goes back, from 24:00 to 23:00 and from 2:00 to 1:30.
    let places = [
        ("0 23,0 * * *", "America/Santiago", 1_079_233_200_000, [-3_600_000, 3_600_000]),
        ("30 2,1 * * *", "Australia/Lord_Howe", 985_446_000_000, [-1_800_000, 3_600_000]),
    ];
    for (line, zone, change, fires) in places {
        let schedule = Schedule::parse(line, zone).unwrap();
        let next = schedule.next(Instant(change - 7_200_000), 2);
        assert_eq!(next, fires.map(|after| Instant(change + after)), "{line} in {zone}");
    }
}

/// As [`agrees_with_croner`] for any hours, but for what is tested by hand above: about gaps, where croner does not move
/// what falls into them by their length, and about repeated hours where the line has a range or a step, which croner takes for
/// a line of every hour, or lists several times, which croner now and then fires in both passes.
fn agrees_where_it_can(line: &str, name: &str, second: i64) -> Result<(), TestCaseError> {
    let Ok(schedule) = Schedule::parse(line, name) else { return Ok(()) };
    let fields: Vec<&str> = line.split(' ').collect();
    let is_once_a_day = fields[..2].iter().all(|field| field.parse::<u32>().is_ok());
    let is_told_alike = fields[1].starts_with('*') || is_once_a_day;
    let zone = TimeZone::get(name).unwrap();
    let start = Timestamp::from_second(second).unwrap().in_tz(name).unwrap();
    let theirs = croner::Cron::from_str(line).unwrap();
    let theirs = theirs.iter_after(start).take(40);
    let theirs: Vec<Instant> =
        theirs.map(|zoned| Instant(zoned.timestamp().as_millisecond())).collect();
    let ours = schedule.next(Instant(second * 1_000), 40);
    let until = ours.last().min(theirs.last()).copied().unwrap_or_default();
    let kept = |firings: Vec<Instant>| -> Vec<Instant> {
        let is_kept = |at: &Instant| {
            *at <= until
                && !is_beside_a_change(*at, &zone, true)
                && (is_told_alike || !is_beside_a_change(*at, &zone, false))
        };
        firings.into_iter().filter(is_kept).collect()
    };
    prop_assert_eq!(kept(ours), kept(theirs), "{} in {} after {}", line, name, second);
    Ok(())
}

const YEAR_2000: i64 = 946_684_800;
const YEAR_2060: i64 = 2_840_140_800;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn croner_agrees_where_the_clock_never_changes(
        line in any_line(any_field(0, 23)),
        zone in prop::sample::select(vec!["UTC", "Asia/Kolkata", "Asia/Tokyo", "America/Phoenix", "Asia/Kathmandu"]),
        second in YEAR_2000..YEAR_2060,
    ) {
        agrees_with_croner(&line, zone, second)?;
    }

    #[test]
    fn croner_agrees_where_the_clock_changes_on_lines_for_every_hour_and_hours_that_never_change(
        line in any_line(prop_oneof![Just("*".to_owned()), restricted(5, 21)]),
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "America/Santiago"]),
        second in YEAR_2000..YEAR_2060,
    ) {
        agrees_with_croner(&line, zone, second)?;
    }

    #[test]
    fn croner_agrees_on_any_hours_where_the_clock_repeats_some_and_beside_gaps(
        line in any_line(any_field(0, 23)),
        zone in prop::sample::select(vec![
            "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo",
            "Asia/Tehran", "Pacific/Auckland", "Atlantic/Azores",
        ]),
        change in 0..240_usize,
        // Asked between the two passes of an hour, croner fires again what the first of them fired.
        ahead in 7_200..100_000_i64,
    ) {
        // Shortly before one of the zone's changes of the clock, as chance alone seldom is.
        let from = Timestamp::from_second(YEAR_2000).unwrap();
        let known = TimeZone::get(zone).unwrap();
        let changes: Vec<i64> =
            known.following(from).take(120).map(|change| change.timestamp().as_second()).collect();
        let second = changes[change % changes.len()] - ahead;
        agrees_where_it_can(&line, zone, second)?;
    }

    #[test]
    fn firings_rise_strictly_and_next_after_is_consistent_inside_every_interval(
        line in any_line(any_field(0, 23)),
        zone in prop::sample::select(vec!["America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
        second in YEAR_2000..YEAR_2060,
    ) {
        let Ok(schedule) = Schedule::parse(&line, zone) else { return Ok(()) };
        let firings = schedule.next(Instant(second * 1_000), 12);
        for pair in firings.windows(2) {
            prop_assert!(pair[0] < pair[1]);
            for at in [pair[0].0, pair[0].0.midpoint(pair[1].0), pair[1].0 - 1] {
                prop_assert_eq!(schedule.next_after(Instant(at)), Some(pair[1]));
            }
        }
    }
}
