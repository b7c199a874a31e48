//! Values of fields that have a form of their own.
//!
//! Which types a form fits is `form`'s to say: a value of another kind is said as it usually is. Guards: no digit is lost;
//! what has no such form is refused; whatever is said is JSON.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};

use super::{
    DAY, Unencodable, date, json, json_text, moment, put_date, put_time, render, string,
    time_of_day,
};
use crate::domain::form::{Form, TimeForm, TimeFormat, Way};
use crate::domain::value::Value;

/// Nanoseconds.
const SECOND: i128 = 1_000_000_000;
const MILLISECOND: i128 = 1_000_000;

/// What says the values of one field that has a form of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renderer {
    Usual,
    NumbersAsText,
    Time(TimeFormat, Option<TimeZone>),
    ParsedJson,
    Hex,
}

impl Renderer {
    /// # Errors
    /// There is no such time zone.
    pub fn of(form: &Form) -> Result<Renderer, String> {
        Ok(match &form.way {
            Way::Usual => Renderer::Usual,
            Way::NumbersAsText => Renderer::NumbersAsText,
            Way::Time(TimeForm { format, zone }) => {
                let zone = zone.as_deref().map(TimeZone::get).transpose();
                Renderer::Time(format.clone(), zone.map_err(|error| error.to_string())?)
            }
            Way::ParsedJson => Renderer::ParsedJson,
            Way::Hex => Renderer::Hex,
        })
    }

    /// As [`render`], in this form.
    ///
    /// # Errors
    /// The value has no such form; nothing was appended.
    pub fn render(&self, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        match (self, value) {
            (
                Renderer::NumbersAsText,
                Value::Integer(_) | Value::Unsigned(_) | Value::Decimal { .. },
            ) => {
                out.push(b'"');
                render(value, out)?;
                out.push(b'"');
                Ok(())
            }
            (Renderer::Time(format, zone), value) => time(value, format, zone.as_ref(), out),
            (Renderer::ParsedJson, Value::Text(text)) => json_text::append(text, out),
            (Renderer::Hex, Value::Binary(bytes)) => {
                out.push(b'"');
                for byte in bytes {
                    out.extend(
                        [byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[usize::from(half)]),
                    );
                }
                out.push(b'"');
                Ok(())
            }
            (_, value) => render(value, out),
        }
    }
}

/// A time, as far as it is known.
enum Moment {
    /// With its nanoseconds since 1970 and the zone to show it in.
    Instant(Timestamp, TimeZone),
    Local(DateTime),
    Day(Date),
    Time(jiff::civil::Time),
}

fn time(
    value: Value<'_>,
    format: &TimeFormat,
    zone: Option<&TimeZone>,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let per = match format {
        TimeFormat::Unix => Some(SECOND),
        TimeFormat::UnixMs => Some(MILLISECOND),
        TimeFormat::Rfc3339 if zone.is_none() => return render(value, out),
        TimeFormat::Rfc3339 | TimeFormat::Date | TimeFormat::Pattern(_) => None,
    };
    // Of instants that no calendar has, too.
    if let (Some(per), Value::Timestamp(instant)) = (per, value) {
        json(&instant.div_euclid(per), out);
        return Ok(());
    }
    let Some(moment) = known(value, zone, per.is_some())? else { return render(value, out) };
    if let (Some(per), Moment::Instant(instant, _)) = (per, &moment) {
        json(&instant.as_nanosecond().div_euclid(per), out);
        return Ok(());
    }
    match format {
        TimeFormat::Pattern(pattern) => {
            let time = match &moment {
                Moment::Instant(instant, zone) => {
                    BrokenDownTime::from(&instant.to_zoned(zone.clone()))
                }
                Moment::Local(local) => BrokenDownTime::from(*local),
                Moment::Day(day) => BrokenDownTime::from(*day),
                Moment::Time(time) => BrokenDownTime::from(*time),
            };
            let text = strtime::format(pattern, time).map_err(|_| Unencodable::Pattern)?;
            string(&text, out);
        }
        TimeFormat::Date => {
            let day = match moment {
                Moment::Instant(instant, zone) => zone.to_datetime(instant).date(),
                Moment::Local(local) => local.date(),
                Moment::Day(day) => day,
                Moment::Time(_) => return render(value, out),
            };
            out.push(b'"');
            put_date(day, out);
            out.push(b'"');
        }
        TimeFormat::Rfc3339 | TimeFormat::Unix | TimeFormat::UnixMs => match moment {
            Moment::Instant(instant, zone) => with_offset(instant, &zone, out)?,
            Moment::Local(_) | Moment::Day(_) | Moment::Time(_) => return render(value, out),
        },
    }
    Ok(())
}

/// What is known of a time in this zone. `begins`: a day is the instant at which it begins there.
fn known(
    value: Value<'_>,
    zone: Option<&TimeZone>,
    begins: bool,
) -> Result<Option<Moment>, Unencodable> {
    let within = |local: DateTime, zone: &TimeZone| {
        // What the clock left out is later, and of what it repeated the first is meant.
        let instant = zone.to_ambiguous_timestamp(local).compatible();
        let instant = instant.map_err(|_| Unencodable::OutOfCalendar)?;
        Ok(Moment::Instant(instant, zone.clone()))
    };
    Ok(Some(match value {
        Value::Timestamp(instant) => {
            let instant =
                Timestamp::from_nanosecond(instant).map_err(|_| Unencodable::OutOfCalendar)?;
            Moment::Instant(instant, zone.cloned().unwrap_or(TimeZone::UTC))
        }
        Value::LocalTimestamp(instant) => {
            let part = |part: i128| i64::try_from(part).map_err(|_| Unencodable::OutOfCalendar);
            let day = date(part(instant.div_euclid(DAY.into()))?)?;
            let time = time_of_day(part(instant.rem_euclid(DAY.into()))?);
            let local = day.to_datetime(time.ok_or(Unencodable::OutOfCalendar)?);
            match zone {
                Some(zone) => within(local, zone)?,
                None => Moment::Local(local),
            }
        }
        Value::Date(days) => {
            let day = date(i64::from(days))?;
            match zone.filter(|_| begins) {
                Some(zone) => within(day.to_datetime(jiff::civil::Time::midnight()), zone)?,
                None => Moment::Day(day),
            }
        }
        Value::Time(nanoseconds) => {
            Moment::Time(time_of_day(nanoseconds).ok_or(Unencodable::OutOfCalendar)?)
        }
        _ => return Ok(None),
    }))
}

/// RFC 3339 knows offsets of whole minutes; of another one the nearest is taken, and the same instant said by that.
fn with_offset(instant: Timestamp, zone: &TimeZone, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    if *zone == TimeZone::UTC {
        return moment(instant.as_nanosecond(), b"Z\"", out);
    }
    let seconds = zone.to_offset(instant).seconds();
    let minutes = (seconds + 30).div_euclid(60);
    let offset = Offset::from_seconds(minutes * 60).map_err(|_| Unencodable::OutOfCalendar)?;
    let local = offset.to_datetime(instant);
    out.push(b'"');
    put_date(local.date(), out);
    out.push(b'T');
    put_time(local.time(), out);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    out.extend_from_slice(format!("{sign}{hours:02}:{minutes:02}\"").as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::i256;

    use super::*;

    fn said(form: Way, value: Value<'_>) -> Result<String, Unencodable> {
        let mut out = b"before".to_vec();
        let form = Form { omits_null: false, way: form };
        let result = Renderer::of(&form).expect("there is such a zone").render(value, &mut out);
        let text = String::from_utf8(out.split_off(6)).expect("it is UTF-8");
        match result {
            Ok(()) => {
                serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
                Ok(text)
            }
            Err(why) => {
                assert_eq!(text, "", "nothing is appended");
                Err(why)
            }
        }
    }

    fn timed(format: &str, zone: &str, value: Value<'_>) -> String {
        let format = match format {
            "rfc3339" => TimeFormat::Rfc3339,
            "unix" => TimeFormat::Unix,
            "unix_ms" => TimeFormat::UnixMs,
            "date" => TimeFormat::Date,
            pattern => TimeFormat::Pattern(pattern.to_owned()),
        };
        let zone = (!zone.is_empty()).then(|| zone.to_owned());
        said(Way::Time(TimeForm { format, zone }), value).expect("it has such a form")
    }

    #[test]
    fn numbers_as_text_have_every_digit_and_floats_stay_numbers() {
        let text = |value| said(Way::NumbersAsText, value).unwrap();
        assert_eq!(text(Value::Integer(-9_007_199_254_740_993)), r#""-9007199254740993""#);
        assert_eq!(text(Value::Unsigned(u64::MAX)), r#""18446744073709551615""#);
        let decimal = Value::Decimal { mantissa: i256::from_i128(1050), scale: 2 };
        assert_eq!(text(decimal), r#""10.50""#);
        assert_eq!(text(Value::Integer(0)), r#""0""#);
        assert_eq!(text(Value::Null), "null");
        assert_eq!(text(Value::Float64(0.5)), "0.5");
        let bytes = said(Way::Hex, Value::Binary(&[0, 0xab, 255])).unwrap();
        assert_eq!(bytes, r#""00abff""#);
    }

    #[test]
    fn an_instant_is_shown_in_its_zone_and_is_the_same_instant() {
        // 2024-03-31T00:59:59.5Z, half a second before summer begins in Berlin.
        let spring = 1_711_846_799_500_000_000;
        let instant = Value::Timestamp(spring);
        let next = Value::Timestamp(spring + 500_000_000);
        for (format, zone, value, text) in [
            ("rfc3339", "", instant, r#""2024-03-31T00:59:59.500Z""#),
            ("rfc3339", "UTC", instant, r#""2024-03-31T00:59:59.500Z""#),
            ("rfc3339", "Europe/Berlin", instant, r#""2024-03-31T01:59:59.500+01:00""#),
            ("rfc3339", "Europe/Berlin", next, r#""2024-03-31T03:00:00+02:00""#),
            ("rfc3339", "Asia/Kathmandu", next, r#""2024-03-31T06:45:00+05:45""#),
            ("rfc3339", "America/New_York", next, r#""2024-03-30T21:00:00-04:00""#),
            // By the sun, 53 minutes and 28 seconds: what is said is the same instant.
            (
                "rfc3339",
                "Europe/Berlin",
                Value::Timestamp(-3_000_000_000_000_000_000),
                r#""1874-12-07T19:33:00+00:53""#,
            ),
            ("unix", "", instant, "1711846799"),
            ("unix", "Europe/Berlin", Value::Timestamp(-1), "-1"),
            ("unix_ms", "", instant, "1711846799500"),
            ("unix", "", Value::Timestamp(i128::MAX), "170141183460469231731687303715"),
            ("date", "", instant, r#""2024-03-31""#),
            ("date", "America/New_York", instant, r#""2024-03-30""#),
            ("%d.%m.%Y %H:%M %Z", "Europe/Berlin", next, r#""31.03.2024 03:00 CEST""#),
            ("a \"%Y\"\\", "", next, r#""a \"2024\"\\""#),
        ] {
            assert_eq!(timed(format, zone, value), text, "{format} {zone}");
        }
    }

    #[test]
    fn a_wall_clock_s_time_is_one_of_its_zone_where_that_is_said() {
        let day = 19_813; // 2024-03-31
        let at = |hour: i128, minute: i128| {
            let minutes = i128::from(day) * 1_440 + hour * 60 + minute;
            Value::LocalTimestamp(minutes * 60 * SECOND)
        };
        let autumn =
            Value::LocalTimestamp((i128::from(day) + 210) * i128::from(DAY) + 9_000 * SECOND);
        for (format, zone, value, text) in [
            ("rfc3339", "", at(2, 30), r#""2024-03-31T02:30:00""#),
            ("rfc3339", "Europe/Berlin", at(1, 30), r#""2024-03-31T01:30:00+01:00""#),
            // What the clock left out is later.
            ("rfc3339", "Europe/Berlin", at(2, 30), r#""2024-03-31T03:30:00+02:00""#),
            // What it repeated is meant the first time.
            ("rfc3339", "Europe/Berlin", autumn, r#""2024-10-27T02:30:00+02:00""#),
            ("unix", "Europe/Berlin", at(0, 0), "1711839600"),
            ("date", "", at(23, 59), r#""2024-03-31""#),
            ("%H.%M", "", at(23, 59), r#""23.59""#),
            ("unix_ms", "UTC", Value::Date(day), "1711843200000"),
            ("unix", "Europe/Berlin", Value::Date(day), "1711839600"),
            ("%d/%m/%y", "", Value::Date(day), r#""31/03/24""#),
            ("date", "", Value::Date(day), r#""2024-03-31""#),
            ("%H:%M", "", Value::Time(3_723_000_000_000), r#""01:02""#),
            ("rfc3339", "", Value::Time(3_723_000_000_000), r#""01:02:03""#),
        ] {
            assert_eq!(timed(format, zone, value), text, "{format} {zone}");
        }
        assert_eq!(timed("unix", "UTC", Value::Null), "null");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_refused_where_it_would_need_one() {
        for format in [TimeFormat::Date, TimeFormat::Pattern("%Y".to_owned())] {
            let form = Way::Time(TimeForm { format, zone: None });
            assert_eq!(said(form, Value::Timestamp(i128::MAX)), Err(Unencodable::OutOfCalendar));
        }
    }
}
