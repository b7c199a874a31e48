//! Durations, sizes, rates and shares as people write them. Each error is the remedy.

use std::time::Duration;

use crate::delivery::limits::Rate;
use crate::domain::guard::MaxDeletes;

const DAY: Duration = Duration::from_secs(86_400);

/// `500ms`, `30s`, `2m`, `1h`; more than nothing and at most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let remedy =
        || "write a number and `ms`, `s`, `m` or `h`, such as `30s`; at most `24h`".to_owned();
    let (digits, unit) = split(text);
    let number: u64 = digits.parse().map_err(|_| remedy())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(remedy()),
    };
    let duration = number.checked_mul(milliseconds).map(Duration::from_millis);
    duration.filter(|d| !d.is_zero() && *d <= DAY).ok_or_else(remedy)
}

/// As [`duration`], and `7d`; at most 366 days.
pub fn days(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    if unit != "d" {
        return duration(text)
            .map_err(|remedy| remedy.replace("`24h`", "`366d`").replace("or `h`", "`h` or `d`"));
    }
    let days = digits.parse().ok().filter(|days| (1..=366).contains(days));
    days.map(|days: u32| DAY * days)
        .ok_or_else(|| "write whole days such as `7d`; at most `366d`".to_owned())
}

/// `90d`, or `never`, which is none.
pub fn age(text: &str) -> Result<Option<Duration>, String> {
    const CENTURY: u32 = 36_525;
    if text.trim() == "never" {
        return Ok(None);
    }
    let remedy =
        || "write whole days such as `90d`, at least `1d`, or `never` to keep all".to_owned();
    let (digits, unit) = split(text);
    let days: u32 = digits.parse().map_err(|_| remedy())?;
    let is_sound = unit == "d" && (1..=CENTURY).contains(&days);
    if is_sound { Ok(Some(DAY * days)) } else { Err(remedy()) }
}

/// `512MB`, `1MiB`, `64KiB`, `100B` in bytes; more than nothing.
pub fn size(text: &str) -> Result<u64, String> {
    let remedy = || "write a number and `B`, `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`".to_owned();
    let (digits, unit) = split(text);
    let number: u64 = digits.parse().map_err(|_| remedy())?;
    let factor = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(remedy()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(remedy)
}

/// `50/s`, `100/10s`, `3000/m`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let remedy = || "write requests and a period, such as `50/s`, `100/10s` or `3000/m`".to_owned();
    let (requests, period) = text.split_once('/').ok_or_else(remedy)?;
    let requests: u32 = requests.trim().parse().map_err(|_| remedy())?;
    let period = period.trim();
    let per = if period.starts_with(|c: char| c.is_ascii_digit()) {
        duration(period)
    } else {
        duration(&format!("1{period}"))
    };
    let per = per.map_err(|_| remedy())?;
    if requests == 0 { Err(remedy()) } else { Ok(Rate { requests, per }) }
}

/// `10%`, `0.5%`, `12.25%`.
pub fn share(text: &str) -> Result<MaxDeletes, String> {
    let remedy = || {
        "write a share such as `10%`, two decimals at most, or a number of rows such as `50`"
            .to_owned()
    };
    let number = text.strip_suffix('%').ok_or_else(remedy)?.trim_end();
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = [whole, decimals].iter().all(|part| {
        !part.is_empty() && part.len() <= 3 && part.chars().all(|c| c.is_ascii_digit())
    });
    if !is_number || decimals.len() > 2 {
        return Err(remedy());
    }
    let whole: u32 = whole.parse().map_err(|_| remedy())?;
    let hundredths: u32 = format!("{decimals:0<2}").parse().map_err(|_| remedy())?;
    let basis_points = whole * 100 + hundredths;
    if basis_points > 10_000 { Err(remedy()) } else { Ok(MaxDeletes::BasisPoints(basis_points)) }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_an_end() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["30", "", "s", "0s", "-1s", "1.5s", "25h", "99999999999999999h", "1d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_whole_days_or_no_limit() {
        assert_eq!(age("never"), Ok(None));
        for (text, days) in [("1d", 1), ("90d", 90), ("400 d", 400)] {
            assert_eq!(age(text), Ok(Some(DAY * days)), "{text}");
        }
        for text in ["", "90", "0d", "-1d", "1.5d", "24h", "12w", "99999999d", "d", "none"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_know_thousands_from_kibi() {
        for (text, bytes) in
            [("1MiB", 1 << 20), ("512MB", 512_000_000), ("100B", 100), ("2 kB", 2_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["1", "0B", "MiB", "1Mib", "99999999999999999999B", "18446744073709551615GB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_have_a_period() {
        for (text, requests, seconds) in
            [("50/s", 50, 1), ("100/10s", 100, 10), ("3000/m", 3000, 60)]
        {
            let expected = Rate { requests, per: Duration::from_secs(seconds) };
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for text in ["50", "0/s", "50/", "/s", "50/day", "a/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_hundredths_of_a_percent() {
        for (text, basis_points) in
            [("10%", 1_000), ("0.5%", 50), ("12.25%", 1_225), ("100%", 10_000), ("0%", 0)]
        {
            assert_eq!(share(text), Ok(MaxDeletes::BasisPoints(basis_points)), "{text}");
        }
        for text in ["10", "101%", "%", "-1%", "1.234%", "9999%", "1.%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
