//! What the values of a field look like in JSON, in words for people.
//!
//! Made from the type and the field's form alone. Not responsible for whether they fit together (`form`, `syncable`). Guard:
//! no value of a row is ever in these words.

use arrow::datatypes::{DataType, FieldRef};

use crate::domain::form::{Form, TimeForm, TimeFormat, Way};
use crate::domain::syncable::unpacked;

/// Members of an object that are named.
const NAMED: usize = 6;

/// One value, several, and what is said behind either.
type Said = (&'static str, &'static str, String);

/// What values of this type look like where the form fits it: "number with 2 decimals", "text, RFC 3339 in UTC".
pub fn words(data_type: &DataType, form: &Form) -> String {
    let data_type = unpacked(data_type);
    let (one, _, more) = said(&data_type);
    let usual = format!("{one}{more}");
    let words = match &form.way {
        // Whatever is asked for, there is nothing else to say.
        _ if data_type == DataType::Null => usual,
        Way::Usual => usual,
        Way::NumbersAsText => format!("text, {usual}"),
        Way::Time(time) => timed(time, usual),
        Way::ParsedJson => "the JSON that its text is".to_owned(),
        Way::Hex => "text, hexadecimal".to_owned(),
    };
    match form.omits_null {
        true => format!("{words}; left out for NULL"),
        false => words,
    }
}

fn timed(TimeForm { format, zone }: &TimeForm, usual: String) -> String {
    let of_zone = zone.as_ref().map_or_else(String::new, |zone| format!(" in {zone}"));
    match format {
        TimeFormat::Rfc3339 if zone.is_none() => usual,
        TimeFormat::Rfc3339 => format!("text, RFC 3339{of_zone}"),
        TimeFormat::Unix => "whole number, seconds since 1970".to_owned(),
        TimeFormat::UnixMs => "whole number, milliseconds since 1970".to_owned(),
        TimeFormat::Date => format!("text, RFC 3339 date{of_zone}"),
        TimeFormat::Pattern(pattern) => format!("text by the pattern `{pattern}`{of_zone}"),
    }
}

fn said(data_type: &DataType) -> Said {
    let plain = |one, many| (one, many, String::new());
    let text = |what: &str| ("text", "texts", what.to_owned());
    match data_type {
        DataType::Null => plain("null", "null"),
        DataType::Boolean => plain("true or false", "true or false"),
        DataType::Decimal256(76, 38) => {
            ("number", "numbers", " with the decimals that it needs".to_owned())
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale > 0 =>
        {
            let ending = if *scale == 1 { "" } else { "s" };
            ("number", "numbers", format!(" with {scale} decimal{ending}"))
        }
        _ if data_type.is_integer() || data_type.is_decimal() => {
            plain("whole number", "whole numbers")
        }
        _ if data_type.is_floating() => plain("number", "numbers"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => plain("text", "texts"),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => text(", base64"),
        DataType::Date32 | DataType::Date64 => text(", RFC 3339 date"),
        DataType::Time32(_) | DataType::Time64(_) => text(", RFC 3339 time of day"),
        DataType::Timestamp(_, Some(_)) => text(", RFC 3339 in UTC"),
        DataType::Timestamp(_, None) => text(", RFC 3339 without a zone"),
        DataType::Duration(_) | DataType::Interval(_) => text(", ISO 8601 duration"),
        DataType::List(item) | DataType::LargeList(item) => {
            ("list", "lists", format!(" of {}", several(item.data_type())))
        }
        DataType::Struct(members) => ("object", "objects", format!(" with {}", names(members))),
        DataType::Map(entries, _) => ("object", "objects", of_any_names(entries)),
        other => ("something", "something", format!(" of type `{other}`")),
    }
}

fn several(data_type: &DataType) -> String {
    let (_, many, more) = said(data_type);
    format!("{many}{more}")
}

fn names(members: &[FieldRef]) -> String {
    let named = members.iter().take(NAMED).map(|member| format!("`{}`", member.name()));
    let named = named.collect::<Vec<_>>().join(", ");
    match members.len().checked_sub(NAMED) {
        None | Some(0) if members.is_empty() => "nothing in it".to_owned(),
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}

fn of_any_names(entries: &FieldRef) -> String {
    let DataType::Struct(members) = entries.data_type() else { return String::new() };
    let values = members.get(1).map(|values| several(values.data_type()));
    format!(" of any names, with {}", values.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, new_null_array};
    use arrow::datatypes::{Field, Fields, IntervalUnit, TimeUnit, i256};

    use super::*;
    use crate::domain::column::Column;
    use crate::domain::render::Renderer;
    use crate::domain::value::Value;

    fn usual(data_type: &DataType) -> String {
        words(data_type, &Form::default())
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(item, true)))
    }

    fn of(way: Way) -> Form {
        Form { omits_null: false, way }
    }

    fn time(format: TimeFormat, zone: Option<&str>) -> Form {
        of(Way::Time(TimeForm { format, zone: zone.map(str::to_owned) }))
    }

    /// What a value's JSON begins with, for the words that its type has.
    #[test]
    fn the_words_say_what_is_rendered() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let decimal = Value::Decimal { mantissa: i256::from_i128(1050), scale: 2 };
        let whole = Value::Decimal { mantissa: i256::from_i128(1050), scale: 0 };
        let hour = 3_600_000_000_000;
        for (data_type, form, value, said, json) in [
            (DataType::Int64, Way::Usual, Value::Integer(7), "whole number", "7"),
            (DataType::UInt8, Way::NumbersAsText, Value::Integer(7), "text, whole number", "\"7\""),
            (DataType::Float32, Way::Usual, Value::Float32(0.5), "number", "0.5"),
            (DataType::Decimal128(12, 2), Way::Usual, decimal, "number with 2 decimals", "10.50"),
            (DataType::Decimal128(12, 0), Way::Usual, whole, "whole number", "1050"),
            (DataType::Boolean, Way::Usual, Value::Boolean(true), "true or false", "true"),
            (DataType::Utf8View, Way::Usual, Value::Text("a"), "text", "\"a\""),
            (DataType::BinaryView, Way::Usual, Value::Binary(b"a"), "text, base64", "\"YQ==\""),
            (DataType::Binary, Way::Hex, Value::Binary(b"a"), "text, hexadecimal", "\"61\""),
            (DataType::Date32, Way::Usual, Value::Date(0), "text, RFC 3339 date", "\"1970-01-01\""),
            (
                DataType::Time64(TimeUnit::Microsecond),
                Way::Usual,
                Value::Time(hour),
                "text, RFC 3339 time of day",
                "\"01:00:00\"",
            ),
            (
                zoned,
                Way::Usual,
                Value::Timestamp(0),
                "text, RFC 3339 in UTC",
                "\"1970-01-01T00:00:00Z\"",
            ),
            (
                local,
                Way::Usual,
                Value::LocalTimestamp(0),
                "text, RFC 3339 without a zone",
                "\"1970-01-01T00:00:00\"",
            ),
            (
                DataType::Interval(IntervalUnit::MonthDayNano),
                Way::Usual,
                Value::Interval { months: 1, days: 0, nanoseconds: 0 },
                "text, ISO 8601 duration",
                "\"P1M0DT0S\"",
            ),
            (
                DataType::Utf8,
                Way::ParsedJson,
                Value::Text("[1]"),
                "the JSON that its text is",
                "[1]",
            ),
        ] {
            let form = of(form);
            assert_eq!(words(&data_type, &form), said, "{data_type}");
            let mut out = Vec::new();
            let renderer = Renderer::of(&form).expect("there is no zone");
            renderer.render(value, &mut out).expect("it has such a form");
            assert_eq!(String::from_utf8(out).unwrap(), json, "{data_type}");
        }
    }

    #[test]
    fn times_are_said_as_their_form_says() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let said = |format, zone| words(&zoned, &time(format, zone));
        assert_eq!(said(TimeFormat::Rfc3339, None), "text, RFC 3339 in UTC");
        let berlin = Some("Europe/Berlin");
        assert_eq!(said(TimeFormat::Rfc3339, berlin), "text, RFC 3339 in Europe/Berlin");
        assert_eq!(said(TimeFormat::Unix, berlin), "whole number, seconds since 1970");
        assert_eq!(said(TimeFormat::Date, berlin), "text, RFC 3339 date in Europe/Berlin");
        let pattern = TimeFormat::Pattern("%d.%m.%Y".to_owned());
        assert_eq!(said(pattern, None), "text by the pattern `%d.%m.%Y`");
        let left_out = Form { omits_null: true, way: Way::Usual };
        assert_eq!(words(&DataType::Int8, &left_out), "whole number; left out for NULL");
    }

    #[test]
    fn nested_values_are_said_with_what_is_in_them_and_many_members_by_their_number() {
        let member = |name: &str| Field::new(name, DataType::Int8, true);
        let of = |names: &[&str]| DataType::Struct(names.iter().map(|name| member(name)).collect());
        let entries = Fields::from(vec![member("key"), member("value")]);
        let entries = Arc::new(Field::new("entries", DataType::Struct(entries), false));
        let map = DataType::Map(entries, false);
        let dictionary =
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Float64));
        assert_eq!(usual(&list(DataType::Decimal128(9, 1))), "list of numbers with 1 decimal");
        assert_eq!(usual(&list(list(DataType::Utf8))), "list of lists of texts");
        assert_eq!(usual(&of(&["city", "zip"])), "object with `city`, `zip`");
        assert_eq!(usual(&of(&[])), "object with nothing in it");
        let many = of(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(usual(&many), "object with `a`, `b`, `c`, `d`, `e`, `f` and 2 more");
        assert_eq!(usual(&map), "object of any names, with whole numbers");
        assert_eq!(usual(&dictionary), "number");
        assert_eq!(usual(&DataType::Decimal256(76, 38)), "number with the decimals that it needs");
    }

    /// A type without words would be told by its name in Arrow.
    #[test]
    fn every_type_that_can_be_synced_has_words() {
        for data_type in [
            DataType::Null,
            DataType::Float16,
            DataType::LargeUtf8,
            DataType::FixedSizeBinary(4),
            DataType::Date64,
            DataType::Time32(TimeUnit::Second),
            DataType::Duration(TimeUnit::Second),
            DataType::Decimal32(5, 2),
            DataType::Decimal64(5, -2),
            DataType::LargeList(Arc::new(Field::new_list_field(DataType::Int8, true))),
        ] {
            let array: ArrayRef = new_null_array(&data_type, 1);
            assert!(Column::new(&array).is_some(), "{data_type}");
            assert!(!usual(&data_type).contains("something"), "{data_type}");
        }
    }
}
