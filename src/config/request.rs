//! Requests and the judging of their answers: what can be checked without the model's columns.

use serde_json::Value;

use super::connection::headers;
use super::document::child;
use super::raw_forms::{NumberOrText, StructureOrText};
use super::raw_request::{
    RawBatch, RawBy, RawDecode, RawIdempotency, RawPerRecord, RawRepeat, RawRequest, RawRule,
};
use super::shape::quoted;
use super::template::{self, Placeholder};
use super::validate::Check;
use super::{not_built, units};
use crate::destination::definition::{
    BatchLimits, Body, By, Decode, Idempotency, Method, OutcomeRule, PerRecord, Repeat, Request,
    StatusMatch, Then,
};

const RECORDS: u32 = 100;
const BYTES: u64 = 1 << 20;
const HEADER: &str = "Idempotency-Key";
const VERDICTS: [&str; 5] = ["delivered", "retry", "reject", "split", "halt"];

/// The fields that templates may name.
pub struct Fields<'a> {
    /// None where they are not known before the model is.
    pub known: Option<&'a [String]>,
    /// How they are known, for the message: `in the mapping`, `of the key`.
    pub word: &'static str,
}

/// Checks a request. None where it has no method and path.
pub fn request(
    check: &mut Check,
    pointer: &str,
    raw: &RawRequest,
    fields: &Fields,
) -> Option<Request> {
    let target = target(check, pointer, raw, fields);
    let body = body(check, pointer, raw, fields);
    let batch = batch(check, pointer, raw.batch.as_ref(), &body);
    if let Some((_, path)) = &target {
        let is_single = template::placeholders(path).is_empty() || batch.records == 1;
        if !is_single {
            let what = "a path of one record, and a batch of several";
            check.report_key(&child(pointer, "batch"), what, "say `batch: {records: 1}`");
        }
    }
    let headers = headers(check, &child(pointer, "headers"), raw.headers.as_ref());
    let idempotency = idempotency(check, &child(pointer, "idempotency"), raw.idempotency.as_ref());
    let outcome = outcome(check, &child(pointer, "outcome"), raw);
    let (method, path) = target?;
    let methods = ["post", "put", "patch", "delete"].map(|key| child(pointer, key));
    let written = methods.iter().find_map(|at| check.document.written_reference(at));
    let hidden = check.document.hidden_within(pointer);
    Some(Request { method, path, headers, batch, body, idempotency, outcome, written, hidden })
}

fn target(
    check: &mut Check,
    pointer: &str,
    raw: &RawRequest,
    fields: &Fields,
) -> Option<(Method, String)> {
    let all = [
        ("post", Method::Post, &raw.post),
        ("put", Method::Put, &raw.put),
        ("patch", Method::Patch, &raw.patch),
        ("delete", Method::Delete, &raw.delete),
    ];
    let said: Vec<_> = all
        .iter()
        .filter_map(|(key, method, path)| Some((*key, *method, path.as_ref()?)))
        .collect();
    let (key, method, path) = match said.as_slice() {
        [one] => *one,
        [] => {
            let is_cut = all.iter().any(|(key, ..)| check.document.has(&child(pointer, key)));
            if !is_cut {
                let remedy = "add one of `post:`, `put:`, `patch:` and `delete:` with the path";
                check.report_key(pointer, "a request without a method", remedy);
            }
            return None;
        }
        several => {
            let keys: Vec<&str> = several.iter().map(|(key, ..)| *key).collect();
            check.report_key(
                pointer,
                format!("more than one method: {}", quoted(&keys)),
                "keep one",
            );
            return None;
        }
    };
    let pointer = child(pointer, key);
    if !path.starts_with('/')
        || path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
    {
        let what = format!("`{}` is not a path", check.document.written(&pointer));
        check.report(
            &pointer,
            what,
            "begin with `/` and use no white space; the host is the connection's",
        );
    }
    placeholders(check, &pointer, path, fields);
    Some((method, path.clone()))
}

fn placeholders(check: &mut Check, pointer: &str, text: &str, fields: &Fields) {
    for placeholder in template::placeholders(text) {
        match placeholder {
            Placeholder::Record => {}
            Placeholder::Other(name) => {
                let what = format!("the placeholder `{name}` is not built yet, or a slip");
                check.report(pointer, what, "use `{{record}}` or `{{record.FIELD}}`");
            }
            Placeholder::Field(name) => {
                let Some(known) = fields.known else { continue };
                if !known.contains(&name) {
                    let what = format!("`{name}` is not a field {}", fields.word);
                    check.report(pointer, what, format!("use one of {}", quoted(known)));
                }
            }
        }
    }
}

fn body(check: &mut Check, pointer: &str, raw: &RawRequest, fields: &Fields) -> Body {
    let Some(json) = raw.body.as_ref().and_then(|body| body.json.as_ref()) else {
        return Body::None;
    };
    let pointer = child(&child(pointer, "body"), "json");
    template::texts(json, &pointer, &mut |pointer, text| {
        placeholders(check, pointer, text, fields);
    });
    Body::Json(json.clone())
}

fn batch(check: &mut Check, pointer: &str, raw: Option<&RawBatch>, body: &Body) -> BatchLimits {
    let has_each = matches!(body, Body::Json(json) if template::has_each(json));
    let usual = if has_each { RECORDS } else { 1 };
    let none = RawBatch::default();
    let raw = raw.unwrap_or(&none);
    let pointer = child(&child(pointer, "batch"), "bytes");
    BatchLimits {
        records: raw.records.map_or(usual, |number| number.small()),
        bytes: check.unit(&pointer, raw.bytes.as_deref(), units::size).unwrap_or(BYTES),
    }
}

fn idempotency(check: &mut Check, pointer: &str, raw: Option<&RawIdempotency>) -> Idempotency {
    let none = RawIdempotency::default();
    let raw = raw.unwrap_or(&none);
    let header = raw.header.clone().unwrap_or_else(|| Some(HEADER.to_owned()));
    let header_pointer = child(pointer, "header");
    let is_name = |name: &String| reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok();
    if header.as_ref().is_some_and(|name| !is_name(name)) {
        let what = "not the name of a header";
        check.report(&header_pointer, what, "use letters, digits and `-`, or `null` for none");
    }
    let repeat = match raw.repeat {
        Some(RawRepeat::Natural) => Repeat::Natural,
        Some(RawRepeat::Key) => Repeat::Key,
        Some(RawRepeat::Never) | None => Repeat::Never,
    };
    if repeat == Repeat::Key && header.is_none() {
        let what = "`repeat: key` without a header that carries the key";
        check.report(
            &header_pointer,
            what,
            "name the header the destination knows, or say `repeat: never`",
        );
    }
    Idempotency { repeat, header }
}

fn outcome(check: &mut Check, pointer: &str, raw: &RawRequest) -> Vec<OutcomeRule> {
    let Some(rules) = &raw.outcome else { return Vec::new() };
    let checked: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(index, raw)| rule(check, &child(pointer, &index.to_string()), raw))
        .collect();
    let delivers = |rule: &Option<OutcomeRule>| {
        rule.as_ref().is_none_or(|rule| matches!(rule.then, Then::Delivered | Then::PerRecord(_)))
    };
    if !checked.iter().any(delivers) {
        let remedy = "add a rule with `then: delivered` or `then: {per_record: ..}`";
        check.report_key(pointer, "no rule can tell that a record was delivered", remedy);
    }
    checked.into_iter().flatten().collect()
}

/// Checks a rule. None where its verdict cannot be made sense of, which was reported.
fn rule(check: &mut Check, pointer: &str, raw: &RawRule) -> Option<OutcomeRule> {
    let status = status(check, &child(pointer, "status"), raw);
    let when = when(check, &child(pointer, "when"), raw);
    let then = then(check, &child(pointer, "then"), raw);
    let is_receipt = matches!(then, Some(Then::Delivered | Then::PerRecord(_)));
    // A refusal means the same whatever a proxy wrote into its body; a receipt does not.
    let decode = match raw.decode {
        Some(RawDecode::Json) => Decode::Json,
        None if is_receipt || !when.is_empty() => Decode::Json,
        Some(RawDecode::None) | None => Decode::None,
    };
    let reads_body = !when.is_empty() || matches!(then, Some(Then::PerRecord(_)));
    if decode == Decode::None && reads_body {
        let what = "`decode: none` does not look at the body, and this rule must";
        check.report(&child(pointer, "decode"), what, "say `decode: json`");
    }
    let is_redirect = |status: &StatusMatch| match status {
        StatusMatch::Exactly(status) => *status < 200 || (300..400).contains(status),
        StatusMatch::Class(class) => *class == 1 || *class == 3,
    };
    if is_receipt && status.iter().any(is_redirect) {
        let what = "a redirect or an interim answer is never a receipt";
        check.report(&child(pointer, "status"), what, "use the status of the final answer");
    }
    Some(OutcomeRule { status, when, decode, then: then? })
}

fn status(check: &mut Check, pointer: &str, raw: &RawRule) -> Vec<StatusMatch> {
    let Some(raw) = &raw.status else { return Vec::new() };
    let statuses = raw.as_slice();
    let is_list = check.document.has(&child(pointer, "0"));
    let mut matches = Vec::new();
    for (index, status) in statuses.iter().enumerate() {
        let found = match status {
            NumberOrText::Number(number) => {
                let status = u16::try_from(number.0).ok().filter(|s| (100..600).contains(s));
                status.map(StatusMatch::Exactly)
            }
            NumberOrText::Text(text) => match text.as_bytes() {
                [class @ b'1'..=b'5', b'x', b'x'] => {
                    Some(StatusMatch::Class(u16::from(class - b'0')))
                }
                _ => None,
            },
        };
        if found.is_none() {
            let at = if is_list { child(pointer, &index.to_string()) } else { pointer.to_owned() };
            let what = format!("`{}` is not a status", check.document.written(&at));
            check.report(&at, what, "write a number from 100 to 599, or a class such as `2xx`");
        }
        matches.extend(found);
    }
    matches
}

fn when(check: &mut Check, pointer: &str, raw: &RawRule) -> Vec<(String, Value)> {
    let Some(raw) = &raw.when else { return Vec::new() };
    for (json_pointer, _) in &raw.0 {
        if !is_json_pointer(json_pointer) {
            let what = format!("`{json_pointer}` is not a JSON pointer");
            check.report_key(&child(pointer, json_pointer), what, POINTER_REMEDY);
        }
    }
    raw.0.clone()
}

fn then(check: &mut Check, pointer: &str, raw: &RawRule) -> Option<Then> {
    match raw.then.as_ref()? {
        StructureOrText::Structure(then) => {
            let per_record = then.per_record.as_ref()?;
            Some(Then::PerRecord(self::per_record(
                check,
                &child(pointer, "per_record"),
                per_record,
            )))
        }
        StructureOrText::Text(text) => match text.as_str() {
            "delivered" => Some(Then::Delivered),
            "retry" => Some(Then::Retry),
            "reject" => Some(Then::Reject),
            "split" => Some(Then::Split),
            "halt" => Some(Then::Halt),
            _ => {
                let known = format!("use {} or `per_record: {{..}}`", quoted(&VERDICTS));
                let written = check.document.written(pointer).to_owned();
                let what = if text == "per_record" {
                    "`per_record` says how records are found".to_owned()
                } else if not_built::is_value(pointer, text) {
                    format!("`{written}` is not built yet")
                } else {
                    format!("unknown verdict `{written}`")
                };
                check.report(pointer, what, known);
                None
            }
        },
    }
}

fn per_record(check: &mut Check, pointer: &str, raw: &RawPerRecord) -> PerRecord {
    let mut pointed = |key: &str, text: &Option<String>| {
        if text.as_ref().is_some_and(|text| !is_json_pointer(text)) {
            let at = child(pointer, key);
            let what = format!("`{}` is not a JSON pointer", check.document.written(&at));
            check.report(&at, what, POINTER_REMEDY);
        }
        text.clone()
    };
    let items = pointed("items", &raw.items).unwrap_or_default();
    let status = pointed("status", &raw.status).unwrap_or_default();
    let code = pointed("code", &raw.code);
    let message = pointed("message", &raw.message);
    let delivered = raw.delivered.clone().unwrap_or_default();
    let retry = raw.retry.clone().unwrap_or_default();
    for (index, value) in retry.iter().enumerate() {
        if delivered.contains(value) {
            let at = child(&child(pointer, "retry"), &index.to_string());
            check.report(
                &at,
                "a status that means delivered too",
                "keep it in one of the two lists",
            );
        }
    }
    let by = match raw.by {
        Some(RawBy::Index) | None => By::Index,
    };
    PerRecord { by, items, status, delivered, retry, code, message }
}

pub const POINTER_REMEDY: &str =
    "begin each step with `/`, such as `/results/0/status`; `\"\"` is the root";

pub fn is_json_pointer(text: &str) -> bool {
    let is_escaped = text.match_indices('~').all(|(at, _)| text[at + 1..].starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && is_escaped
}
