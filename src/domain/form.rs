//! How the values of one field are said in a request, where that is not the usual way, and which types that fits.
//!
//! Not here: what is written (`render::Renderer`), and what counts as a change (`compare`). Guard: a form is refused by name
//! where it does not fit a type, before anything is sent.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::syncable::nested_kind;

/// The form of one field. Stored in the snapshot's header, where the usual one is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    /// A value that is NULL is left out of its object, name and all.
    #[serde(skip_serializing_if = "is_default")]
    pub omits_null: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub way: Way,
}

/// How a value is said that is not NULL. One of them, as no two fit one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As `render` says it.
    #[default]
    Usual,
    /// Integers and decimals as text, digit by digit.
    NumbersAsText,
    Time(TimeForm),
    /// Text that is JSON as what it says.
    ParsedJson,
    /// Bytes as hexadecimal digits.
    Hex,
}

/// How days, times and instants are said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeForm {
    pub format: TimeFormat,
    /// The IANA name of the zone that instants are shown in, and that a wall clock's times and days are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    Rfc3339,
    /// Whole seconds since 1970-01-01T00:00:00Z.
    Unix,
    /// Whole milliseconds since then.
    UnixMs,
    /// `2024-02-29`.
    Date,
    /// A pattern of `strftime`.
    Pattern(String),
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Form {
    /// Whether values are said as they are without a form.
    pub fn is_plain(&self) -> bool {
        is_default(self)
    }

    /// Why values of this type cannot be said so, and what to do; `None` if they can.
    pub fn misfit(&self, data_type: &DataType) -> Option<String> {
        // Nothing but NULL, whatever it is said to be.
        if *data_type == DataType::Null {
            return None;
        }
        let (option, of) = match &self.way {
            Way::Usual => return None,
            Way::Time(time) => return time.misfit(data_type),
            Way::NumbersAsText if data_type.is_integer() || is_decimal(data_type) => return None,
            Way::NumbersAsText => ("numbers: text", "integers and decimals"),
            Way::ParsedJson if is_text(data_type) => return None,
            Way::ParsedJson => ("json: parse", "text"),
            Way::Hex if is_binary(data_type) => return None,
            Way::Hex => ("binary: hex", "bytes"),
        };
        Some(misfit(option, of, data_type))
    }

    /// Why a field of the key cannot be said so, and what to do; `None` if it can: only what keeps any two keys apart, as two
    /// that are said alike would be one record.
    pub fn misfit_of_key(&self) -> Option<&'static str> {
        if self.omits_null {
            return Some("has `nulls: omit`, and a key is never NULL; leave it out");
        }
        match &self.way {
            Way::Usual | Way::NumbersAsText | Way::Hex => None,
            Way::Time(_) => Some(
                "has `time`, by which two keys could look alike; leave it out, and if the key is to be another text, compute \
                 that in the model's SQL",
            ),
            Way::ParsedJson => {
                Some("has `json: parse`, and a key is made of scalars; leave it out")
            }
        }
    }

    /// What it makes of the type of a key, as the snapshot's header keeps it.
    pub fn of_key(&self) -> &'static str {
        match &self.way {
            Way::NumbersAsText => " as text",
            Way::Hex => " as hex",
            Way::Usual | Way::Time(_) | Way::ParsedJson => "",
        }
    }
}

impl TimeForm {
    fn misfit(&self, data_type: &DataType) -> Option<String> {
        const LOCAL: &str = "a time without a zone is no instant; say which `zone` it is in";
        const DAY: &str = "a day is no instant; say in which `zone` it begins";
        let has_zone = self.zone.is_some();
        let is_unix = matches!(self.format, TimeFormat::Unix | TimeFormat::UnixMs);
        let sample = match data_type {
            DataType::Timestamp(_, None) if is_unix && !has_zone => return Some(LOCAL.to_owned()),
            DataType::Timestamp(_, zone) if zone.is_some() || has_zone => Sample::Zoned,
            DataType::Timestamp(..) => Sample::Local,
            DataType::Date32 | DataType::Date64 if is_unix => {
                return (!has_zone).then(|| DAY.to_owned());
            }
            DataType::Date32 | DataType::Date64 if has_zone => {
                return Some("a day has no zone; leave `zone` out".to_owned());
            }
            DataType::Date32 | DataType::Date64 => Sample::Day,
            DataType::Time32(_) | DataType::Time64(_) => {
                let why = match &self.format {
                    _ if has_zone => "a time of day has no zone; leave `zone` out",
                    TimeFormat::Unix | TimeFormat::UnixMs | TimeFormat::Date => {
                        "a time of day has no date; use `rfc3339` or a pattern such as `%H:%M`"
                    }
                    TimeFormat::Rfc3339 | TimeFormat::Pattern(_) => "",
                };
                if !why.is_empty() {
                    return Some(why.to_owned());
                }
                Sample::Time
            }
            other => return Some(misfit("time", "days, times and instants", other)),
        };
        let TimeFormat::Pattern(pattern) = &self.format else { return None };
        let why = sample.refuses(pattern)?;
        let what = kind(data_type);
        let more = if sample == Sample::Local { ", or say which `zone` it is in" } else { "" };
        Some(format!("`{pattern}` cannot say {what}: {why}; use another pattern{more}"))
    }
}

/// Of which a pattern may ask more than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    Zoned,
    Local,
    Day,
    Time,
}

impl Sample {
    /// Why a pattern of `strftime` cannot say such a time.
    pub fn refuses(self, pattern: &str) -> Option<String> {
        let local = jiff::civil::date(2024, 2, 29).at(23, 59, 58, 123_456_789);
        let said = match self {
            Sample::Zoned => {
                let zoned = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
                jiff::fmt::strtime::format(pattern, &zoned)
            }
            Sample::Local => jiff::fmt::strtime::format(pattern, local),
            Sample::Day => jiff::fmt::strtime::format(pattern, local.date()),
            Sample::Time => jiff::fmt::strtime::format(pattern, local.time()),
        };
        said.err().map(|error| {
            let text = error.to_string();
            text.strip_prefix("strftime formatting failed: ").unwrap_or(&text).to_owned()
        })
    }
}

pub(super) fn misfit(option: &str, of: &str, data_type: &DataType) -> String {
    format!(
        "`{option}` is for {of}, and this is {}; leave it out, or cast the value",
        kind(data_type)
    )
}

/// What values of a type are, in words.
pub(super) fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "a boolean",
        _ if data_type.is_integer() => "an integer",
        _ if data_type.is_floating() => "a float",
        _ if is_decimal(data_type) => "a decimal",
        _ if is_text(data_type) => "text",
        _ if is_binary(data_type) => "bytes",
        DataType::Date32 | DataType::Date64 => "a day",
        DataType::Time32(_) | DataType::Time64(_) => "a time of day",
        DataType::Timestamp(_, None) => "a time without a zone",
        DataType::Timestamp(..) => "an instant",
        DataType::Duration(_) => "a duration",
        DataType::Interval(_) => "an interval",
        _ => match nested_kind(data_type) {
            Some("list") => "a list",
            Some("struct") => "a struct",
            Some("map") => "a map",
            _ => "something else",
        },
    }
}

pub(super) fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn of(way: Way) -> Form {
        Form { omits_null: false, way }
    }

    fn time(format: TimeFormat, zone: Option<&str>) -> Form {
        of(Way::Time(TimeForm { format, zone: zone.map(str::to_owned) }))
    }

    #[test]
    fn a_form_that_does_not_fit_a_type_says_so_and_what_to_do() {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let pattern = |text: &str| TimeFormat::Pattern(text.to_owned());
        let berlin = Some("Europe/Berlin");
        for (form, data_type, words) in [
            (of(Way::NumbersAsText), DataType::Utf8View, Some("this is text; leave it out")),
            (of(Way::NumbersAsText), DataType::Float64, Some("this is a float")),
            (of(Way::NumbersAsText), DataType::UInt64, None),
            (of(Way::NumbersAsText), DataType::Decimal256(76, 38), None),
            (of(Way::ParsedJson), DataType::Int64, Some("`json: parse` is for text")),
            (of(Way::ParsedJson), DataType::LargeUtf8, None),
            (of(Way::Hex), DataType::Utf8, Some("`binary: hex` is for bytes")),
            (of(Way::Hex), DataType::FixedSizeBinary(16), None),
            (of(Way::Hex), DataType::Null, None),
            (time(TimeFormat::Date, None), DataType::Int64, Some("`time` is for days")),
            (time(TimeFormat::Unix, None), instant.clone(), None),
            (time(TimeFormat::Unix, None), local.clone(), Some("say which `zone` it is in")),
            (time(TimeFormat::UnixMs, berlin), local.clone(), None),
            (time(TimeFormat::UnixMs, None), DataType::Date32, Some("in which `zone` it begins")),
            (time(TimeFormat::UnixMs, berlin), DataType::Date32, None),
            (time(TimeFormat::Rfc3339, berlin), DataType::Date32, Some("a day has no zone")),
            (time(TimeFormat::Date, None), DataType::Time64(TimeUnit::Nanosecond), Some("%H:%M")),
            (time(pattern("%H:%M"), None), DataType::Time64(TimeUnit::Nanosecond), None),
            (time(pattern("%H:%M"), None), DataType::Date32, Some("`%H:%M` cannot say a day")),
            (time(pattern("%F %z"), None), local.clone(), Some("cannot say a time without a zone")),
            (time(pattern("%F %z"), berlin), local, None),
            (time(pattern("%F %z"), None), instant, None),
        ] {
            let said = form.misfit(&data_type);
            match words {
                None => assert_eq!(said, None, "{form:?} of {data_type}"),
                Some(words) => {
                    let said = said.unwrap_or_default();
                    assert!(said.contains(words) && said.contains("; "), "{words}: {said}");
                }
            }
        }
    }

    #[test]
    fn a_key_takes_only_forms_that_keep_any_two_keys_apart() {
        for way in [Way::Usual, Way::NumbersAsText, Way::Hex] {
            assert_eq!(of(way).misfit_of_key(), None);
        }
        let omitted = Form { omits_null: true, way: Way::Usual };
        for form in [omitted, of(Way::ParsedJson), time(TimeFormat::Rfc3339, Some("UTC"))] {
            assert!(form.misfit_of_key().is_some_and(|why| why.contains("; ")), "{form:?}");
        }
    }

    #[test]
    fn what_is_usual_is_left_out_of_the_header() {
        let text = |form: &Form| serde_json::to_string(form).unwrap();
        assert_eq!(text(&Form::default()), "{}");
        let forms = [
            Form { omits_null: true, way: Way::Usual },
            of(Way::NumbersAsText),
            time(TimeFormat::UnixMs, Some("Europe/Berlin")),
            time(TimeFormat::Pattern("%d.%m.%Y".to_owned()), None),
            of(Way::ParsedJson),
            of(Way::Hex),
        ];
        let told = [
            r#"{"omits_null":true}"#,
            r#"{"way":"numbers_as_text"}"#,
            r#"{"way":{"time":{"format":"unix_ms","zone":"Europe/Berlin"}}}"#,
            r#"{"way":{"time":{"format":{"pattern":"%d.%m.%Y"}}}}"#,
            r#"{"way":"parsed_json"}"#,
            r#"{"way":"hex"}"#,
        ];
        for (form, told) in forms.iter().zip(told) {
            assert_eq!(text(form), told);
            assert_eq!(serde_json::from_str::<Form>(told).unwrap(), *form);
        }
    }
}
