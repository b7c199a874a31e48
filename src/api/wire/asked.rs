//! What a call of the wire asks for: bodies and queries, read leniently where the clients differ, and refused by name.

use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::refusal::{ROOT, Refusal};
use super::sync::Word;
use crate::domain::id::Instant;

/// Syncs of a page, where the question does not say.
const PER_PAGE: u32 = 20;
const MOST: u32 = 200;

/// What a start may say, as it is described.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "WireStart")]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Start {
    /// The sync's own next kind, where it is left out.
    #[schemars(rename = "syncType")]
    sync_type: Option<SyncType>,
}

#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum SyncType {
    Incremental,
    Full,
}

/// A body that says nothing.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "WireStop")]
pub struct Stop {}

/// Whether a full run is asked for. A missing body, `{}` and a missing `syncType` leave the kind to the sync; keys that are
/// not known here are left to whoever sent them.
pub fn is_full(body: &[u8]) -> Result<bool, Refusal> {
    let body = object(body)?;
    match body.get("syncType") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(word)) if word == "incremental" => Ok(false),
        Some(Value::String(word)) if word == "full" => Ok(true),
        Some(_) => Err(Refusal::bad_request(
            "`syncType` is neither `incremental` nor `full`; leave it out for the sync's own next kind",
        )),
    }
}

/// A body that must be an object where there is one.
pub fn object(body: &[u8]) -> Result<Value, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    match serde_json::from_slice(body) {
        Ok(object @ Value::Object(_)) => Ok(object),
        _ => Err(Refusal::bad_request("the body is no JSON object; send one, or none")),
    }
}

/// The query of a list, as text: what is wrong with it is said in the words of the wire.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Query {
    /// Only those that are so.
    #[schemars(with = "Word", transform = or_empty)]
    status: Option<String>,
    /// Only those that began later.
    #[schemars(with = "String", extend("format" = "date-time"), transform = or_empty)]
    started_after: Option<String>,
    /// Only those that began earlier.
    #[schemars(with = "String", extend("format" = "date-time"), transform = or_empty)]
    started_before: Option<String>,
    /// How many a page has; 20 unless said.
    #[schemars(with = "u32", range(min = 1, max = MOST), transform = or_empty)]
    per_page: Option<String>,
    /// Which page, from 1.
    #[schemars(with = "u64", range(min = 1, max = u64::MAX), transform = or_empty)]
    page: Option<String>,
}

/// An empty one is as none.
fn or_empty(schema: &mut Schema) {
    let description = schema.remove("description");
    let filled = std::mem::take(schema);
    *schema = json_schema!({ "anyOf": [filled, { "type": "string", "maxLength": 0 }] });
    description.map(|text| schema.insert("description".to_owned(), text));
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub status: Option<Word>,
    pub after: Option<Instant>,
    pub before: Option<Instant>,
    pub per_page: u32,
    /// From 1.
    pub page: u64,
}

impl Query {
    pub fn page(&self) -> Result<Page, Refusal> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let status = filled(&self.status).map(|word| {
            let what = "`status` is none of `running`, `succeeded` and `failed`";
            Word::read(&word).ok_or_else(|| Refusal::bad_request(what))
        });
        let per_page = number("per_page", filled(&self.per_page), u64::from(MOST))?;
        let per_page = per_page.map_or(PER_PAGE, |most| u32::try_from(most).unwrap_or(MOST));
        let page = number("page", filled(&self.page), u64::MAX)?.unwrap_or(1);
        Ok(Page {
            status: status.transpose()?,
            after: instant("started_after", filled(&self.started_after))?,
            before: instant("started_before", filled(&self.started_before))?,
            per_page,
            page,
        })
    }
}

fn number(name: &str, text: Option<String>, most: u64) -> Result<Option<u64>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    let refuse = || {
        let most = if most == u64::MAX { "on".to_owned() } else { format!("to {most}") };
        Refusal::bad_request(format!("`{name}` is no number from 1 {most}"))
    };
    number.ok_or_else(refuse).map(Some)
}

fn instant(name: &str, text: Option<String>) -> Result<Option<Instant>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let refuse = |_| {
        let what = format!("`{name}` is no time as in `2026-11-21T12:00:00Z` (RFC 3339)");
        Refusal::bad_request(what)
    };
    // A `+` of an offset that was not encoded has become a space.
    let read = text.replace(' ', "+").parse::<jiff::Timestamp>().map_err(refuse)?;
    Ok(Some(Instant(read.as_millisecond())))
}

impl Page {
    /// How many syncs come before the page.
    pub fn offset(&self) -> u64 {
        (self.page - 1).saturating_mul(u64::from(self.per_page))
    }

    /// The path of the next page, if there are more than `total` syncs up to here.
    pub fn next(&self, connection: &str, total: u64) -> Option<String> {
        let last = self.page.saturating_mul(u64::from(self.per_page));
        if last >= total {
            return None;
        }
        let mut path = format!("{ROOT}/retl-connections/{connection}/syncs?page={}", self.page + 1);
        let mut add = |name: &str, value: String| path.push_str(&format!("&{name}={value}"));
        add("per_page", self.per_page.to_string());
        if let Some(status) = self.status {
            add("status", status.to_string());
        }
        let time = |at: Instant| {
            let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
            at.to_string()
        };
        self.after.into_iter().for_each(|at| add("started_after", time(at)));
        self.before.into_iter().for_each(|at| add("started_before", time(at)));
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_may_say() {
        for (body, expected) in [
            ("", Some(false)),
            (" \n", Some(false)),
            ("{}", Some(false)),
            (r#"{"syncType":null}"#, Some(false)),
            (r#"{"syncType":"incremental"}"#, Some(false)),
            (r#"{"syncType":"full","else":1}"#, Some(true)),
            (r#"{"syncType":"Full"}"#, None),
            (r#"{"syncType":""}"#, None),
            (r#"{"syncType":1}"#, None),
            ("[]", None),
            ("null", None),
            ("{", None),
        ] {
            assert_eq!(is_full(body.as_bytes()).ok(), expected, "{body}");
        }
    }

    #[test]
    fn the_next_page_keeps_the_question_and_the_last_has_none() {
        let query = |page: &str, per_page: &str| Query {
            status: Some("failed".to_owned()),
            started_after: Some("2026-01-02T03:04:05.678 01:00".to_owned()),
            started_before: Some(String::new()),
            per_page: Some(per_page.to_owned()),
            page: Some(page.to_owned()),
        };
        let page = query("2", "3").page().unwrap();
        assert_eq!((page.offset(), page.next("crm", 6)), (3, None));
        let next = "/v2/retl-connections/crm/syncs?page=3&per_page=3&status=failed&started_after=2026-01-02T02:04:05.678Z";
        assert_eq!(page.next("crm", 7).unwrap(), next);
        for (page, per_page) in [("0", "1"), ("-1", "1"), ("x", "1"), ("1", "0"), ("1", "201")] {
            assert!(query(page, per_page).page().is_err(), "{page} {per_page}");
        }
        let far = query(&u64::MAX.to_string(), "200").page().unwrap();
        assert_eq!((far.offset(), far.next("crm", 7)), (u64::MAX, None));
        assert_eq!(Query::default().page().unwrap().per_page, PER_PAGE);
        let odd = Query { started_before: Some("yesterday".to_owned()), ..Query::default() };
        assert!(odd.page().is_err());
        let odd = Query { status: Some("aborted".to_owned()), ..Query::default() };
        assert!(odd.page().is_err());
    }
}
