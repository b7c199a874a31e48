//! The fields of a mapping: SQL, how values are said, and what counts as a change.
//!
//! Not responsible for whether that fits the columns' types, which only the data can tell (`source`). Guards: options that no
//! type fits together are refused here; an option that says what is usual is as none.

use super::document::child;
use super::raw::RawSync;
use super::raw_field::{RawBinary, RawCompare, RawField, RawJson, RawNulls, RawNumbers, RawTime};
use super::raw_forms::StructureOrText;
use super::shape::{nearest, quoted};
use super::units;
use super::validate::Check;
use crate::domain::compare::{Compare, MOST_DIGITS};
use crate::domain::form::{Form, Sample, TimeForm, TimeFormat, Way};
use crate::domain::options::Options;
use crate::domain::sync::{Mapped, column_name};

const FORMATS: [&str; 4] = ["rfc3339", "unix", "unix_ms", "date"];
const COMPARED: [&str; 2] = ["exact", "ignore"];

pub fn mapping(check: &mut Check, pointer: &str, raw: &RawSync) -> Vec<Mapped> {
    let Some(raw) = &raw.mapping else { return Vec::new() };
    if raw.0.is_empty() && check.document.is_empty_map(pointer) {
        check.report(
            pointer,
            "a mapping without fields",
            "name a field, or remove `mapping` to send every column",
        );
    }
    let mapped = raw.0.iter().map(|(field, raw)| {
        let pointer = child(pointer, field);
        if field.is_empty() {
            check.report_key(&pointer, "a field without a name", "name it");
        }
        let (at, expression, options) = match raw {
            StructureOrText::Text(sql) => (pointer, sql.clone(), Options::default()),
            StructureOrText::Structure(raw) => {
                let sql = raw.sql.clone().unwrap_or_else(|| name_in_sql(field));
                let options = options(check, &pointer, raw);
                (child(&pointer, "sql"), sql, options)
            }
        };
        if expression.trim().is_empty() {
            check.report(&at, "an empty expression", "write a column or an SQL expression");
        }
        Mapped { field: field.clone(), expression, options }
    });
    mapped.collect()
}

/// The fields that are not compared, of a sync without a mapping.
pub fn ignored(check: &mut Check, pointer: &str, raw: &RawSync) -> Vec<String> {
    let Some(ignored) = &raw.ignore else { return Vec::new() };
    check.distinct(pointer, ignored);
    if raw.mapping.is_some() {
        let what = "`ignore` is for a sync without a mapping, whose fields are all columns";
        let remedy = match ignored.first() {
            Some(field) => {
                format!("say it in the mapping, as `{field}: {{ sql: {field}, compare: ignore }}`")
            }
            None => "remove it".to_owned(),
        };
        check.report_key(pointer, what, remedy);
    }
    ignored.clone()
}

/// Refuses what two keys could be made alike by.
pub fn of_key(
    check: &mut Check,
    sync: &str,
    mapping: &[Mapped],
    ignored: &[String],
    key: &[String],
) {
    for field in key {
        let at = child(&child(sync, "mapping"), field);
        let mapped = mapping.iter().find(|mapped| mapped.field == *field);
        if let Some(why) = mapped.and_then(|mapped| mapped.options.misfit_of_key()) {
            let (what, remedy) = why.split_once("; ").unwrap_or((why, ""));
            check.report_key(&at, format!("`{field}` of the key {what}"), remedy);
        }
        if let Some(place) = ignored.iter().position(|ignored| ignored == field) {
            let at = child(&child(sync, "ignore"), &place.to_string());
            let what = format!("`{field}` is of the key, and a record is known by its key");
            check.report(&at, what, "take it out of `ignore`");
        }
    }
}

/// The column of this name, whatever letters it has, as one writes it: without quotes where it needs none, so that a structure
/// that says nothing is what the name alone is.
fn name_in_sql(field: &str) -> String {
    match column_name(field).as_deref() == Some(field) {
        true => field.to_owned(),
        false => format!("\"{}\"", field.replace('"', "\"\"")),
    }
}

fn options(check: &mut Check, pointer: &str, raw: &RawField) -> Options {
    let at = |key: &str| child(pointer, key);
    let compare = raw.compare.as_ref().map(|raw| compare(check, &at("compare"), raw));
    let compare = compare.unwrap_or_default();
    let time = raw.time.as_ref().and_then(|raw| time(check, &at("time"), raw));
    let ways = [
        (
            "numbers",
            "numbers",
            (raw.numbers == Some(RawNumbers::Text)).then_some(Way::NumbersAsText),
        ),
        ("time", "times", time.map(Way::Time)),
        ("json", "text", (raw.json == Some(RawJson::Parse)).then_some(Way::ParsedJson)),
        ("binary", "bytes", (raw.binary == Some(RawBinary::Hex)).then_some(Way::Hex)),
    ];
    let compared = match compare {
        Compare::Exact | Compare::Ignore => None,
        Compare::Digits(_) => Some(("compare: {digits}", "numbers")),
        Compare::Precision(_) => Some(("compare: {precision}", "times")),
    };
    let said: Vec<(&str, &str)> = ways
        .iter()
        .filter(|(.., way)| way.is_some())
        .map(|(option, of, _)| (*option, *of))
        .chain(compared)
        .collect();
    if let Some(two) = said.windows(2).find(|two| two[0].1 != two[1].1) {
        let [(first, of_first), (second, of_second)] = [two[0], two[1]];
        let what = format!(
            "`{first}` is for {of_first} and `{second}` for {of_second}, and a field is one of them"
        );
        check.report_key(pointer, what, "keep the one that fits");
    }
    let way = ways.into_iter().find_map(|(.., way)| way).unwrap_or_default();
    let form = Form { omits_null: raw.nulls == Some(RawNulls::Omit), way };
    Options { form, compare }
}

/// None where it says what is usual.
fn time(check: &mut Check, pointer: &str, raw: &RawTime) -> Option<TimeForm> {
    let at = child(pointer, "format");
    let format = match raw.format.as_deref().unwrap_or("rfc3339") {
        "rfc3339" => TimeFormat::Rfc3339,
        "unix" => TimeFormat::Unix,
        "unix_ms" => TimeFormat::UnixMs,
        "date" => TimeFormat::Date,
        pattern if pattern.contains('%') => {
            if let Some(why) = Sample::Zoned.refuses(pattern) {
                let what = format!("the pattern `{}`: {why}", check.document.written(&at));
                check.report(&at, what, "use what strftime knows, such as `%Y-%m-%d %H:%M:%S`");
            }
            TimeFormat::Pattern(pattern.to_owned())
        }
        word => {
            let what = format!("`{}` is no format of a time", check.document.written(&at));
            let known = format!("use {}, or a pattern such as `%Y-%m-%d`", quoted(&FORMATS));
            let remedy = match nearest(word, &FORMATS) {
                Some(meant) => format!("did you mean `{meant}`? {known}"),
                None => known,
            };
            check.report(&at, what, remedy);
            return None;
        }
    };
    if let Some(zone) = &raw.zone
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        let at = child(pointer, "zone");
        let what = format!("there is no time zone `{}`", check.document.written(&at));
        check.report(&at, what, "use an IANA name such as `Europe/Berlin` or `UTC`");
    }
    let is_usual = format == TimeFormat::Rfc3339 && raw.zone.is_none();
    (!is_usual).then(|| TimeForm { format, zone: raw.zone.clone() })
}

fn compare(check: &mut Check, pointer: &str, raw: &StructureOrText<RawCompare>) -> Compare {
    let RawCompare { digits, precision } = match raw {
        StructureOrText::Text(word) => match word.as_str() {
            "exact" => return Compare::Exact,
            "ignore" => return Compare::Ignore,
            word => {
                let what = format!("cannot compare by `{}`", check.document.written(pointer));
                let known =
                    format!("use {}, `{{digits: 6}}` or `{{precision: 1m}}`", quoted(&COMPARED));
                let remedy = match nearest(word, &COMPARED) {
                    Some(meant) => format!("did you mean `{meant}`? {known}"),
                    None => known,
                };
                check.report(pointer, what, remedy);
                return Compare::Exact;
            }
        },
        StructureOrText::Structure(raw) => raw,
    };
    match (digits, precision) {
        (Some(digits), None) => {
            let digits = u8::try_from(digits.0).ok().filter(|digits| *digits <= MOST_DIGITS);
            Compare::Digits(digits.expect("the schema bounds this number"))
        }
        (None, Some(text)) => {
            let period = check.unit(&child(pointer, "precision"), Some(text), units::duration);
            let nanoseconds = period.map(|period| period.as_nanos());
            let nanoseconds = nanoseconds.map(|it| i64::try_from(it).expect("it is a day at most"));
            nanoseconds.map_or(Compare::Exact, Compare::Precision)
        }
        (Some(_), Some(_)) => {
            let what = "both `digits`, for numbers, and `precision`, for times";
            check.report_key(
                &child(pointer, "precision"),
                what,
                "keep the one that fits the field",
            );
            Compare::Exact
        }
        (None, None) => {
            if !check.document.has_problem_within(pointer) {
                let remedy = "add `digits: 6` or `precision: 1m`, or say `exact` or `ignore`";
                check.report_key(pointer, "nothing to compare by", remedy);
            }
            Compare::Exact
        }
    }
}
