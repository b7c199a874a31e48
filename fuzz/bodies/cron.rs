//! A cron line and a time zone → firings. Guards: they rise, each is a whole second and later than what was asked, and
//! whoever asks again at one gets the next.

use counterflow::control::schedule::Schedule;
use counterflow::domain::id::Instant;

use super::Input;

/// The input is a cron line, a line with a time zone, and a line with milliseconds since 1970.
pub fn fuzz_cron(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let mut text = || std::str::from_utf8(input.line()).unwrap_or_default();
    let (cron, zone, from) = (text(), text(), text());
    let Ok(schedule) = Schedule::parse(cron, zone) else { return false };
    let from: i64 = from.trim().parse().unwrap_or(1_700_000_000_000);
    let mut last = Instant(from.clamp(-60_000_000_000_000, 4_000_000_000_000));
    let firings = schedule.next(last, 4);
    for firing in firings {
        assert!(firing > last, "{firing:?} is not after {last:?}");
        assert_eq!(firing.0 % 1_000, 0, "{firing:?} is no whole second");
        assert_eq!(schedule.next_after(last), Some(firing), "one after {last:?}");
        last = firing;
    }
    true
}
