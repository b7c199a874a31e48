//! The values that a test makes, and how each must stand in a request: computed from digits and calendar parts here, not
//! with the product's rendering.

use std::fmt::Write as _;

use arrow::datatypes::DataType;

pub const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// One value as a person would say it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Boolean(bool),
    Integer(i128),
    /// Of 16, 32 or 64 bits, by its column.
    Float(f64),
    /// The digits without their point, and how many of them stand behind it.
    Decimal {
        digits: String,
        scale: usize,
    },
    Text(String),
    Bytes(Vec<u8>),
    Date(Day),
    /// Nanoseconds since midnight.
    Time(i128),
    /// A day and the nanoseconds of it: in UTC where the column has a zone.
    Moment(Day, i128),
    /// Nanoseconds.
    Duration(i128),
    Interval {
        months: i32,
        days: i32,
        nanoseconds: i64,
    },
    List(Vec<Cell>),
    /// The members by their names.
    Struct(Vec<(String, Cell)>),
    /// The keys with their values.
    Map(Vec<(Cell, Cell)>),
}

/// A day of the proleptic Gregorian calendar, of the years from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

impl Day {
    pub fn new(year: i64, month: i64, day: i64) -> Day {
        Day { year, month, day }
    }

    /// Days since 1970-01-01, counted by leap years.
    pub fn number(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let Day { year, month, day } = self;
        let leaps = |year: i64| year / 4 - year / 100 + year / 400;
        let is_leap = leaps(year) > leaps(year - 1);
        let of_year = BEFORE[usize::try_from(month - 1).expect("a month")] + day - 1;
        let of_year = of_year + i64::from(is_leap && month > 2);
        (year - 1) * 365 + leaps(year - 1) + of_year - 719_162
    }
}

impl Cell {
    /// Nanoseconds since the beginning of 1970.
    pub fn instant(&self) -> Option<i128> {
        match self {
            Cell::Moment(day, rest) => Some(i128::from(day.number()) * DAY + rest),
            _ => None,
        }
    }

    /// Whether a request can carry it (E6): not NaN, infinities and years beyond 9999, nor a map with a key twice.
    pub fn is_sayable(&self) -> bool {
        match self {
            Cell::Float(float) => float.is_finite(),
            Cell::Date(day) | Cell::Moment(day, _) => day.year <= 9999,
            Cell::List(items) => items.iter().all(Cell::is_sayable),
            Cell::Struct(members) => members.iter().all(|(_, member)| member.is_sayable()),
            Cell::Map(entries) => {
                let is_once = |key: &Cell| entries.iter().filter(|(it, _)| it.is(key)).count() == 1;
                entries.iter().all(|(key, value)| is_once(key) && value.is_sayable())
            }
            _ => true,
        }
    }

    /// Whether both are one value: zeros have no sign, one NaN is as good as another, and neither members nor entries have an
    /// order.
    pub fn is(&self, other: &Cell) -> bool {
        match (self, other) {
            (Cell::Float(one), Cell::Float(other)) => {
                one == other || one.is_nan() && other.is_nan()
            }
            (Cell::List(ours), Cell::List(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(one, it)| one.is(it))
            }
            (Cell::Struct(ours), Cell::Struct(theirs)) => {
                is_permuted(ours, theirs, |one, other| one.0 == other.0 && one.1.is(&other.1))
            }
            (Cell::Map(ours), Cell::Map(theirs)) => {
                is_permuted(ours, theirs, |one, other| one.0.is(&other.0) && one.1.is(&other.1))
            }
            _ => self == other,
        }
    }

    /// The same value said in another way: zeros with the other sign, members and entries from behind.
    pub fn disguise(&mut self) {
        match self {
            Cell::Float(float) if *float == 0.0 => *float = -*float,
            Cell::List(items) => items.iter_mut().for_each(Cell::disguise),
            Cell::Struct(members) => {
                members.reverse();
                members.iter_mut().for_each(|(_, member)| member.disguise());
            }
            Cell::Map(entries) => {
                entries.reverse();
                entries.iter_mut().for_each(|(_, value)| value.disguise());
            }
            _ => {}
        }
    }

    /// Makes sure that `json` is this value as a column of this type carries it.
    pub fn check(&self, data_type: &DataType, json: &str) -> Result<(), String> {
        let is_right = match (self, data_type) {
            (Cell::Text(text), _) => {
                serde_json::from_str::<String>(json).is_ok_and(|read| read == *text)
            }
            (Cell::Float(float), DataType::Float64) => {
                json.parse::<f64>().is_ok_and(|read| read.to_bits() == (float + 0.0).to_bits())
            }
            // The shortest text of the column's own width.
            (Cell::Float(float), _) => json
                .parse::<f32>()
                .is_ok_and(|read| f64::from(read).to_bits() == (float + 0.0).to_bits()),
            _ => self.text() == json,
        };
        match is_right {
            true => Ok(()),
            false => Err(format!("`{json}` was sent for {self:?} of {data_type}")),
        }
    }

    /// The JSON of what has only one.
    fn text(&self) -> String {
        match self {
            Cell::Null => "null".to_owned(),
            Cell::Boolean(boolean) => boolean.to_string(),
            Cell::Integer(integer) => integer.to_string(),
            Cell::Decimal { digits, scale } => pointed(digits, *scale),
            Cell::Bytes(bytes) => format!("\"{}\"", base64(bytes)),
            Cell::Date(day) => format!("\"{}\"", date(*day)),
            Cell::Time(time) => format!("\"{}\"", clock(*time)),
            Cell::Moment(day, time) => format!("\"{}T{}\"", date(*day), clock(*time)),
            Cell::Duration(nanoseconds) => format!("\"{}\"", duration(*nanoseconds)),
            Cell::Interval { months, days, nanoseconds } => {
                let time = duration(i128::from(*nanoseconds).abs()).replace("PT", "");
                let sign = if *nanoseconds < 0 { "-" } else { "" };
                format!("\"P{months}M{days}DT{sign}{time}\"")
            }
            Cell::Float(_) | Cell::Text(_) => unreachable!("these are compared as read"),
            Cell::List(_) | Cell::Struct(_) | Cell::Map(_) => {
                unreachable!("these are compared part by part")
            }
        }
    }

    /// The JSON of an instant, which is in UTC and says so.
    pub fn check_zoned(&self, json: &str) -> Result<(), String> {
        match self {
            Cell::Null if json == "null" => Ok(()),
            Cell::Moment(day, time) if json == format!("\"{}T{}Z\"", date(*day), clock(*time)) => {
                Ok(())
            }
            _ => Err(format!("`{json}` was sent for the instant {self:?}")),
        }
    }
}

fn is_permuted<T>(ours: &[T], theirs: &[T], is_same: impl Fn(&T, &T) -> bool) -> bool {
    let mut left: Vec<&T> = theirs.iter().collect();
    let mut take = |one| {
        let found = left.iter().position(|other| is_same(one, other));
        found.map(|place| left.swap_remove(place)).is_some()
    };
    ours.len() == theirs.len() && ours.iter().all(&mut take)
}

fn pointed(digits: &str, scale: usize) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let mut padded = "0".repeat((scale + 1).saturating_sub(digits.len())) + digits;
    padded.insert(padded.len() - scale, '.');
    sign.to_owned() + &padded
}

fn date(day: Day) -> String {
    format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
}

/// With 0, 3, 6 or 9 digits behind the point.
fn clock(time: i128) -> String {
    let (seconds, mut fraction) = (time / SECOND, format!("{:09}", time % SECOND));
    while fraction.ends_with("000") {
        fraction.truncate(fraction.len() - 3);
    }
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if !fraction.is_empty() {
        write!(text, ".{fraction}").expect("a String takes every write");
    }
    text
}

fn duration(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanoseconds = nanoseconds.abs();
    let fraction = format!(".{:09}", nanoseconds % SECOND);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}PT{}{fraction}S", nanoseconds / SECOND)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            match place <= three.len() {
                true => text.push(char::from(LETTERS[bits >> (18 - 6 * place) & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

/// The fields of a JSON object, each with its value as it is written.
pub fn fields(object: &str) -> Vec<(String, String)> {
    serde_json::from_str::<serde_json::Value>(object).expect("a record is JSON");
    let parts = parts(object, ["{", "}"]).expect("a record is an object");
    let field = |part: &str| {
        let name = &part[..end(part, b':')];
        let value = part[name.len()..].strip_prefix(':').expect("a value follows its name");
        let name = serde_json::from_str(name).expect("a name is text");
        // The key of a map has a blank behind it.
        (name, value.strip_prefix(' ').unwrap_or(value).to_owned())
    };
    parts.into_iter().map(field).collect()
}

/// What stands between the commas of an object or a list; `None` if it is none.
pub fn parts<'t>(text: &'t str, [open, close]: [&str; 2]) -> Option<Vec<&'t str>> {
    let mut rest = text.strip_prefix(open)?.strip_suffix(close)?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let part = &rest[..end(rest, b',')];
        parts.push(part);
        rest = &rest[part.len()..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(parts)
}

/// The place of the first such byte that is neither in a text nor in an object or a list.
fn end(text: &str, byte: u8) -> usize {
    let (mut is_in_text, mut is_escaped, mut depth) = (false, false, 0);
    for (place, it) in text.bytes().enumerate() {
        match it {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_in_text = !is_in_text,
            _ if is_in_text => {}
            _ if it == byte && depth == 0 => return place,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn what_is_expected_is_right_by_hand() {
    assert_eq!(Day::new(1970, 1, 1).number(), 0);
    assert_eq!(Day::new(2000, 3, 1).number(), 11_017);
    assert_eq!(Day::new(1, 1, 1).number(), -719_162);
    assert_eq!(Day::new(9999, 12, 31).number(), 2_932_896);
    assert_eq!(pointed("-5", 3), "-0.005");
    assert_eq!(pointed("12345", 2), "123.45");
    assert_eq!(clock(3_723 * SECOND + 500_000), "01:02:03.000500");
    assert_eq!(duration(-1_500_000_000), "-PT1.5S");
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
    let object = r#"{"a,\"":"x,}\\","b":-1.50,"c":null}"#;
    let names: Vec<_> =
        fields(object).into_iter().map(|(name, value)| name + "=" + &value).collect();
    assert_eq!(names, [r#"a,"="x,}\\""#, "b=-1.50", "c=null"]);
    let nested = fields(r#"{"a":[1,{"b":"],"}],"c":{"d": [],"e": 2}}"#);
    assert_eq!(nested[1].1, r#"{"d": [],"e": 2}"#);
    assert_eq!(fields(&nested[1].1)[0], ("d".to_owned(), "[]".to_owned()));
    assert_eq!(parts(&nested[0].1, ["[", "]"]).unwrap(), ["1", r#"{"b":"],"}"#]);
}
