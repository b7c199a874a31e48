//! From an answer to what it means for the batch: the declared rules first, then the defaults of design.md §4. Pure.
//!
//! Guards: delivered is said only where a rule declares it and the answer has the declared shape; a redirect is never a
//! receipt; what may have been applied is unknown; every message is scrubbed (I12).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::time::{Duration, SystemTime};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::receipt;
use super::scrub::Scrub;
use crate::destination::answer::{Attempt, Effect, Judgement, RecordVerdict, Refusal};
use crate::destination::definition::{Decode, OutcomeRule, PerRecord, StatusMatch, Then};
use crate::domain::entry::Operation;
use crate::points;

/// What was asked.
pub(super) struct Asked<'a> {
    pub operation: Operation,
    pub records: u32,
    /// Whether the path names the one record by its whole key.
    pub has_key_in_path: bool,
    pub scrub: &'a Scrub<'a>,
}

/// What was answered, read in full.
pub(super) struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: &'a [u8],
}

impl Answer<'_> {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.body).ok()
    }
}

/// Judges a full answer.
pub(super) fn judge(rules: &[OutcomeRule], asked: &Asked<'_>, answer: &Answer<'_>) -> Attempt {
    let json = OnceCell::new();
    let judge = Judge { asked, answer, json: &json };
    let rule = rules.iter().find(|rule| judge.does_match(rule));
    let judgement = match rule {
        Some(rule) => judge.by_rule(rule),
        None => judge.by_default(),
    };
    Attempt { judgement, status: Some(answer.status), retry_after: answer.retry_after }
}

struct Judge<'a> {
    asked: &'a Asked<'a>,
    answer: &'a Answer<'a>,
    json: &'a OnceCell<Option<Value>>,
}

impl Judge<'_> {
    fn json(&self) -> Option<&Value> {
        let read = || self.answer.text().and_then(|text| serde_json::from_str(text).ok());
        self.json.get_or_init(read).as_ref()
    }

    fn does_match(&self, rule: &OutcomeRule) -> bool {
        let status = self.answer.status;
        let is_receipt = matches!(rule.then, Then::Delivered | Then::PerRecord(_));
        if is_receipt && status / 100 == 3 {
            return false;
        }
        rule.status.iter().any(|declared| match declared {
            StatusMatch::Exactly(exactly) => *exactly == status,
            StatusMatch::Class(class) => *class == status / 100,
        }) && rule.when.iter().all(|(pointer, value)| {
            self.json().and_then(|json| json.pointer(pointer)) == Some(value)
        })
    }

    fn by_rule(&self, rule: &OutcomeRule) -> Judgement {
        if let (Then::PerRecord(list), true) = (&rule.then, rule.when.is_empty()) {
            return self.per_record(list);
        }
        if rule.decode == Decode::Json && !self.is_json() {
            return self.no_receipt("it is not JSON, as its outcome rule declares");
        }
        match &rule.then {
            Then::PerRecord(list) => self.per_record(list),
            Then::Delivered => self.every(RecordVerdict::Delivered),
            Then::Reject => self.every(RecordVerdict::Rejected(self.refusal("refused"))),
            Then::Retry => Judgement::NotApplied(self.refusal("refused for now")),
            Then::Split => Judgement::Split(self.refusal("refused")),
            Then::Halt => self.halt("refused for every record"),
        }
    }

    fn per_record(&self, list: &PerRecord) -> Judgement {
        let records = self.asked.records;
        let is_scanned = self.json.get().is_none();
        if is_scanned
            && self.answer.text().is_some_and(|text| receipt::is_all_delivered(list, records, text))
        {
            return self.every(RecordVerdict::Delivered);
        }
        let Some(json) = self.json() else {
            if points::is_planted("html_taken_for_success") {
                return self.every(RecordVerdict::Delivered);
            }
            return self.no_receipt("it is not JSON, as its outcome rule declares");
        };
        match receipt::verdicts(list, records, json, self.asked.scrub) {
            Ok(verdicts) if points::is_planted("batch_verdict") => {
                Judgement::Records(vec![verdicts[0].clone(); verdicts.len()])
            }
            Ok(verdicts) => Judgement::Records(verdicts),
            Err(why) => self.no_receipt(&why),
        }
    }

    fn by_default(&self) -> Judgement {
        let status = self.answer.status;
        match status {
            300..=399 if points::is_planted("redirect_taken_for_success") => {
                self.every(RecordVerdict::Delivered)
            }
            300..=399 => self.halt(
                "redirects are not followed; let `base_url` and the path be the final address",
            ),
            401 => self.halt("unauthorised; check the connection's `auth`"),
            403 => self.halt("forbidden; check what the connection's credentials may do"),
            404 | 410 if self.asked.has_key_in_path => match self.asked.operation {
                Operation::Delete => self.every(RecordVerdict::Delivered),
                Operation::Upsert => {
                    self.every(RecordVerdict::Rejected(self.refusal("no such record")))
                }
            },
            404 | 410 => self.halt("no such endpoint; check `base_url` and the request's path"),
            425 | 429 => Judgement::NotApplied(self.refusal("refused for now")),
            408 | 500..=599 => Judgement::Unknown(self.refusal("failed at the destination")),
            413 => Judgement::Split(self.refusal("the request is too large")),
            400..=499 => Judgement::Split(self.refusal("refused")),
            _ => Judgement::Unknown(
                self.refusal("no receipt; no outcome rule declares what this status means"),
            ),
        }
    }

    /// Who is not let in has changed nothing; any other refusal may come from halfway.
    fn halt(&self, ours: &str) -> Judgement {
        let is_let_in = self.answer.status != 401;
        let effect = if is_let_in { Effect::Possible } else { Effect::None };
        Judgement::Halt(self.refusal(ours), effect)
    }

    fn every(&self, verdict: RecordVerdict) -> Judgement {
        let records = usize::try_from(self.asked.records).unwrap_or(usize::MAX);
        Judgement::Records(vec![verdict; records])
    }

    fn is_json(&self) -> bool {
        match self.json.get() {
            Some(json) => json.is_some(),
            None => self
                .answer
                .text()
                .is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()),
        }
    }

    /// `why` never holds anything of the answer.
    fn no_receipt(&self, why: &str) -> Judgement {
        let message = format!("the answer {} is no receipt: {why}", self.answer.status);
        Judgement::Unknown(Refusal { code: "no_receipt".to_owned(), message })
    }

    /// The status as code; our words, then the destination's.
    fn refusal(&self, ours: &str) -> Refusal {
        let theirs = self.their_words().map(|words| self.asked.scrub.message(&words));
        let theirs = if points::is_planted("secret_in_error") {
            self.answer.text().map(str::to_owned)
        } else {
            theirs
        };
        let message = match theirs.filter(|words| !words.is_empty()) {
            Some(theirs) => format!("{ours}: {theirs}"),
            None => ours.to_owned(),
        };
        Refusal { code: self.answer.status.to_string(), message }
    }

    /// The message of an error answer, where APIs commonly put it, or a plain text whole.
    fn their_words(&self) -> Option<Cow<'_, str>> {
        const PLACES: [&str; 13] = [
            "/error/message",
            "/message",
            "/error_description",
            "/errors/0/detail",
            "/errors/0/message",
            "/errors/0/title",
            "/errors/0",
            "/detail",
            "/title",
            "/reason",
            "/error",
            "/0/message",
            "/msg",
        ];
        if self.answer.text().is_some_and(|text| self.asked.scrub.is_echoed_in(text)) {
            return None;
        }
        if let Some(json) = self.json() {
            let text = |place: &&str| json.pointer(place).and_then(Value::as_str);
            return PLACES.iter().find_map(text).map(Cow::Borrowed);
        }
        let text = self.answer.text()?.trim_start();
        let is_prose = !text.starts_with(['<', '{', '[', '\u{feff}']);
        is_prose.then_some(Cow::Borrowed(text))
    }
}

/// The longest wait that is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// `Retry-After` as seconds or as an HTTP date; a date in the past is no wait, anything else is no answer.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let wait = text.parse().map_or(LONGEST_WAIT, Duration::from_secs);
        return Some(wait.min(LONGEST_WAIT));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::definition::By;

    fn rule(status: StatusMatch, decode: Decode, then: Then) -> OutcomeRule {
        OutcomeRule { status: vec![status], when: Vec::new(), decode, then }
    }

    fn per_record() -> OutcomeRule {
        let list = PerRecord {
            by: By::Index,
            items: "/results".to_owned(),
            status: "/status".to_owned(),
            delivered: vec![json!(200)],
            retry: vec![json!(429)],
            code: None,
            message: Some("/message".to_owned()),
        };
        rule(StatusMatch::Class(2), Decode::Json, Then::PerRecord(list))
    }

    fn judged(rules: &[OutcomeRule], records: u32, status: u16, body: &str) -> Judgement {
        let asked = (Operation::Upsert, records, false);
        judged_as(rules, asked, status, body)
    }

    fn judged_as(
        rules: &[OutcomeRule],
        (operation, records, has_key_in_path): (Operation, u32, bool),
        status: u16,
        body: &str,
    ) -> Judgement {
        let scrub = Scrub::new(br#"[{"email":"ann@example.com"}]"#, None, &[], &[]);
        let asked = Asked { operation, records, has_key_in_path, scrub: &scrub };
        let answer = Answer { status, retry_after: None, body: body.as_bytes() };
        judge(rules, &asked, &answer).judgement
    }

    fn word(judgement: &Judgement) -> &'static str {
        match judgement {
            Judgement::Records(verdicts) => match verdicts[0] {
                RecordVerdict::Delivered => "delivered",
                RecordVerdict::Rejected(_) => "rejected",
                RecordVerdict::Retry(_) => "retry",
            },
            Judgement::NotApplied(_) => "not applied",
            Judgement::Unknown(_) => "unknown",
            Judgement::Split(_) => "split",
            Judgement::Halt(..) => "halt",
        }
    }

    #[test]
    fn every_status_that_no_rule_declares_has_its_default() {
        for (statuses, expected) in [
            (&[100, 199, 200, 201, 202, 204, 207, 299][..], "unknown"),
            (&[300, 301, 302, 303, 304, 307, 308, 399], "halt"),
            (&[401, 403, 404, 410], "halt"),
            (&[425, 429], "not applied"),
            (&[408, 500, 502, 503, 504, 529, 599], "unknown"),
            (&[413, 400, 402, 405, 409, 422, 423, 451, 499], "split"),
            (&[600, 999], "unknown"),
        ] {
            for status in statuses {
                for body in ["", "<html>", "{}", "[{\"status\":200}]"] {
                    let judgement = judged(&[], 3, *status, body);
                    assert_eq!(word(&judgement), expected, "{status} {body}");
                }
            }
        }
        match judged(&[], 1, 413, "") {
            Judgement::Split(refusal) => assert_eq!(refusal.code, "413"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn not_found_on_a_path_with_the_key_is_that_records() {
        for status in [404, 410] {
            let delete = judged_as(&[], (Operation::Delete, 1, true), status, "");
            assert_eq!(delete, Judgement::Records(vec![RecordVerdict::Delivered]));
            let upsert = judged_as(&[], (Operation::Upsert, 1, true), status, "");
            assert_eq!(word(&upsert), "rejected");
            let batch = judged_as(&[], (Operation::Delete, 1, false), status, "");
            assert_eq!(word(&batch), "halt");
        }
    }

    #[test]
    fn an_answer_without_the_declared_shape_is_no_receipt() {
        let delivered = rule(StatusMatch::Exactly(200), Decode::Json, Then::Delivered);
        for body in ["", "<html>ok</html>", "{\"results\":[", "{} {}", "\u{feff}{}"] {
            assert_eq!(word(&judged(std::slice::from_ref(&delivered), 2, 200, body)), "unknown");
        }
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"results":null}"#,
            r#"{"results":[]}"#,
            r#"{"results":[{"status":200}]}"#,
            r#"{"results":[{"status":200},{"status":200},{"status":200}]}"#,
            r#"{"results":[{"status":200},{}]}"#,
            r#"{"results":[{"status":200},{"status":200}]"#,
        ] {
            match judged(&[per_record()], 2, 200, body) {
                Judgement::Unknown(refusal) => assert_eq!(refusal.code, "no_receipt", "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_first_rule_that_matches_judges() {
        let when = |pointer: &str, value, then| OutcomeRule {
            when: vec![(pointer.to_owned(), value)],
            ..rule(StatusMatch::Exactly(200), Decode::Json, then)
        };
        let rules = [
            when("/ok", json!(false), Then::Reject),
            when("/state", json!("BUSY"), Then::Retry),
            rule(StatusMatch::Exactly(200), Decode::Json, Then::Delivered),
            rule(StatusMatch::Exactly(202), Decode::None, Then::Delivered),
            rule(StatusMatch::Class(5), Decode::None, Then::Retry),
            rule(StatusMatch::Exactly(400), Decode::None, Then::Split),
            rule(StatusMatch::Exactly(409), Decode::None, Then::Halt),
            rule(StatusMatch::Class(3), Decode::None, Then::Delivered),
        ];
        for (status, body, expected) in [
            (200, r#"{"ok":false}"#, "rejected"),
            (200, r#"{"state":"BUSY"}"#, "not applied"),
            (200, r#"{"ok":true}"#, "delivered"),
            (200, "<html>", "unknown"),
            (202, "", "delivered"),
            (503, "<html>", "not applied"),
            (400, "", "split"),
            (409, "", "halt"),
            (302, "", "halt"),
            (201, "{}", "unknown"),
        ] {
            assert_eq!(word(&judged(&rules, 1, status, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn results_are_judged_record_by_record() {
        let body = r#"{"results":[{"status":200},{"status":429,"message":"slow"},{"status":422,"message":"ann@example.com is bad"}]}"#;
        let refusal = |code: &str, message: &str| Refusal {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let verdicts = vec![
            RecordVerdict::Delivered,
            RecordVerdict::Retry(refusal("429", "slow")),
            RecordVerdict::Rejected(refusal("422", "*** is bad")),
        ];
        assert_eq!(judged(&[per_record()], 3, 207, body), Judgement::Records(verdicts));
    }

    #[test]
    fn messages_are_found_scrubbed_and_never_html() {
        for (body, message) in [
            (r#"{"error":{"message":"bad ann@example.com"}}"#, "refused: bad ***"),
            (r#"{"message":"no"}"#, "refused: no"),
            (r#"{"errors":[{"detail":"nope"}]}"#, "refused: nope"),
            ("plain\nwords", "refused: plain words"),
            ("<html>secret</html>", "refused"),
            ("{\"truncated", "refused"),
            ("", "refused"),
        ] {
            match judged(&[], 1, 422, body) {
                Judgement::Split(refusal) => assert_eq!(refusal.message, message),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_believed_for_a_day() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (text, expected) in [
            ("0", seconds(0)),
            (" 120 ", seconds(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", seconds(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", seconds(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", seconds(0)),
            ("Sun, 06 Nov 2044 08:00:00 GMT", seconds(86_400)),
            ("99999999", seconds(86_400)),
            ("99999999999999999999999999", seconds(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), expected, "{text}");
        }
    }
}
