//! Days and times, as the binary protocol has them.
//!
//! Invariant: a day that no calendar has is told apart from one that it has, and neither is guessed.

use std::fmt::Write as _;

use jiff::civil;

use super::decode::Wrong;
use super::fields::Fields;

/// A value of a day, or of a day and a time; what it does not say is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

/// The value behind the number of its bytes.
pub fn moment(fields: &mut Fields<'_>) -> Result<Moment, Wrong> {
    let malformed = |_| Wrong::Malformed;
    let mut parts = Fields(fields.sized().map_err(malformed)?);
    let mut moment = Moment::default();
    let length = parts.0.len();
    if !matches!(length, 0 | 4 | 7 | 11) {
        return Err(Wrong::Malformed);
    }
    if length >= 4 {
        moment.year = parts.two().map_err(malformed)?;
        [moment.month, moment.day] = parts.fixed().map_err(malformed)?;
    }
    if length >= 7 {
        [moment.hour, moment.minute, moment.second] = parts.fixed().map_err(malformed)?;
    }
    if length == 11 {
        moment.micros = parts.four().map_err(malformed)?;
    }
    Ok(moment)
}

impl Moment {
    /// Days since 1970.
    pub fn days(self) -> Result<i32, Wrong> {
        let Moment { year, month, day, .. } = self;
        // As the mode of the server allows it, one of the three may be none.
        if month == 0 || day == 0 {
            return Err(Wrong::ZeroDate);
        }
        let parts = (i16::try_from(year), i8::try_from(month), i8::try_from(day));
        let (Ok(year), Ok(month), Ok(day)) = parts else { return Err(Wrong::NoDay) };
        let date = civil::Date::new(year, month, day).map_err(|_| Wrong::NoDay)?;
        let since = date.since(civil::date(1970, 1, 1)).map_err(|_| Wrong::NoDay)?;
        Ok(since.get_days())
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> Result<i64, Wrong> {
        let Moment { hour, minute, second, micros, .. } = self;
        if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
            return Err(Wrong::Malformed);
        }
        let seconds = (i64::from(self.days()?) * 24 + i64::from(hour)) * 60 + i64::from(minute);
        Ok((seconds * 60 + i64::from(second)) * 1_000_000 + i64::from(micros))
    }
}

/// A span of hours, printed as the server does.
pub fn time(fields: &mut Fields<'_>, digits: u8, out: &mut String) -> Result<(), Wrong> {
    let malformed = |_| Wrong::Malformed;
    let mut parts = Fields(fields.sized().map_err(malformed)?);
    let length = parts.0.len();
    if !matches!(length, 0 | 8 | 12) {
        return Err(Wrong::Malformed);
    }
    let (mut sign, mut hours, mut minutes, mut seconds, mut micros) = ("", 0, 0, 0, 0);
    if length >= 8 {
        sign = if parts.byte().map_err(malformed)? == 0 { "" } else { "-" };
        let days = u64::from(parts.four().map_err(malformed)?);
        let [hour, minute, second] = parts.fixed().map_err(malformed)?;
        (hours, minutes, seconds) = (days * 24 + u64::from(hour), minute, second);
    }
    if length == 12 {
        micros = parts.four().map_err(malformed)?;
    }
    write!(out, "{sign}{hours:02}:{minutes:02}:{seconds:02}").expect("a String takes every write");
    // More than six are said where the expression does not say how many.
    let digits = if digits <= 6 {
        usize::from(digits)
    } else if micros > 0 {
        6
    } else {
        0
    };
    if digits > 0 {
        let fraction = format!("{micros:06}");
        write!(out, ".{}", &fraction[..digits]).expect("a String takes every write");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Moment {
        moment(&mut Fields(bytes)).unwrap()
    }

    #[test]
    fn days_are_counted_from_1970_and_those_that_are_none_are_told() {
        let day = |year: u16, month, day| {
            let [low, high] = year.to_le_bytes();
            read(&[4, low, high, month, day]).days()
        };
        assert_eq!(day(1970, 1, 1), Ok(0));
        assert_eq!(day(1969, 12, 31), Ok(-1));
        assert_eq!(day(2024, 2, 29), Ok(19_782));
        assert_eq!(day(9999, 12, 31), Ok(2_932_896));
        assert_eq!(day(2023, 2, 29), Err(Wrong::NoDay));
        assert_eq!(day(2024, 200, 1), Err(Wrong::NoDay));
        for (month, of_month) in [(0, 0), (0, 1), (1, 0)] {
            assert_eq!(day(2024, month, of_month), Err(Wrong::ZeroDate));
        }
        assert_eq!(read(&[0]).days(), Err(Wrong::ZeroDate));
        assert_eq!(moment(&mut Fields(&[5, 1, 1, 1, 1, 1])), Err(Wrong::Malformed));
    }

    #[test]
    fn times_are_said_as_the_server_prints_them() {
        let said = |bytes: &[u8], digits| {
            let mut out = String::new();
            time(&mut Fields(bytes), digits, &mut out).map(|()| out)
        };
        assert_eq!(said(&[0], 0).unwrap(), "00:00:00");
        assert_eq!(said(&[8, 1, 34, 0, 0, 0, 22, 59, 59], 0).unwrap(), "-838:59:59");
        assert_eq!(
            said(&[12, 0, 0, 0, 0, 0, 1, 2, 3, 0x20, 0xa1, 7, 0], 2).unwrap(),
            "01:02:03.50"
        );
        assert_eq!(
            said(&[12, 0, 0, 0, 0, 0, 1, 2, 3, 0x20, 0xa1, 7, 0], 39).unwrap(),
            "01:02:03.500000"
        );
        assert_eq!(said(&[7, 0, 0, 0, 0, 0, 1, 2], 0), Err(Wrong::Malformed));
    }
}
