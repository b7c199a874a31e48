//! What makes a connection and its requests usable, checked without a network; every problem at once, with its place.

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

use super::Fields;
use super::template::{self, Scope, Segment};
use crate::destination::definition::{
    Auth, Body, Connection, Decode, OutcomeRule, Repeat, Request, Requests, StatusMatch, Then,
};
use crate::domain::compare::Compare;

/// A thing in the definition that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub at: At,
    /// JSON pointer below `at`, such as `/path` or `/body/rows/each/id`.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Connection,
    Upsert,
    Delete,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = match self.at {
            At::Connection => "connection",
            At::Upsert => "upsert",
            At::Delete => "delete",
        };
        write!(f, "`{at}{}`: {}", self.pointer.replace('/', "."), self.message)
    }
}

/// Every problem of the definition; none means that it can be built.
pub fn validate(connection: &Connection, requests: &Requests, fields: Fields<'_>) -> Vec<Problem> {
    let Fields { names: fields, forms, compares, key } = fields;
    let mut problems = Problems { at: At::Connection, found: Vec::new() };
    problems.connection(connection);
    if key.is_empty() || key.iter().any(|index| *index >= fields.len()) {
        problems.at = At::Upsert;
        problems.add("", "the key has a field that is not mapped, or none; map every field of it");
        return problems.found;
    }
    let mut scope = Scope { fields, forms, key, is_delete: false };
    problems.at = At::Upsert;
    problems.request(&requests.upsert, scope, connection);
    problems.path_moves(&requests.upsert, scope, compares);
    if let Some(delete) = &requests.delete {
        problems.at = At::Delete;
        scope.is_delete = true;
        problems.request(delete, scope, connection);
    }
    problems.found
}

/// Headers that the client makes of the request.
const OURS: [&str; 5] =
    ["host", "content-length", "transfer-encoding", "connection", "content-encoding"];

struct Problems {
    at: At,
    found: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        let (pointer, message) = (pointer.into(), message.into());
        self.found.push(Problem { at: self.at, pointer, message });
    }

    fn connection(&mut self, connection: &Connection) {
        match reqwest::Url::parse(&connection.base_url) {
            Err(error) => self.add("/base_url", format!("not an address: {error}")),
            Ok(url) => {
                if !matches!(url.scheme(), "http" | "https") {
                    self.add("/base_url", "only `http` and `https` are spoken");
                }
                if !url.username().is_empty() || url.password().is_some() {
                    self.add("/base_url", "credentials do not belong here; use `auth`");
                }
                if url.query().is_some() || url.fragment().is_some() {
                    self.add("/base_url", "a query or fragment does not belong here; put it into the path of the requests");
                }
                if connection.base_url.ends_with('/') {
                    self.add("/base_url", "remove the `/` at the end");
                }
            }
        }
        if connection.connect_timeout.is_zero() || connection.request_timeout.is_zero() {
            self.add("", "timeouts are longer than zero");
        }
        self.headers(&connection.headers, connection);
        let is_sendable = match &connection.auth {
            Auth::None => true,
            Auth::Bearer(token) if token.expose_secret().trim().is_empty() => false,
            Auth::Bearer(_) => super::credentials::authorization(&connection.auth).is_some(),
            Auth::Basic { user, .. } => !user.contains(':'),
        };
        if !is_sendable {
            self.add(
                "/auth",
                "the credentials cannot be sent; look for an empty token, a line break or, in the user, a `:`",
            );
        }
    }

    fn headers(&mut self, headers: &[(String, String)], connection: &Connection) {
        for (name, value) in headers {
            let pointer = format!("/headers/{}", template::escaped(name));
            let lower = name.to_ascii_lowercase();
            if HeaderName::try_from(name).is_err() {
                self.add(&pointer, format!("`{}` is not a header's name", name.escape_debug()));
            }
            if value.contains("{{") {
                self.add(&pointer, "a placeholder in a header is not built yet");
            } else if HeaderValue::try_from(value).is_err() {
                self.add(&pointer, "the value cannot be sent; look for a line break");
            }
            if OURS.contains(&lower.as_str()) || lower.starts_with("x-counterflow-") {
                self.add(&pointer, format!("`{lower}` is set by us; remove it"));
            }
            if lower == "authorization" && !matches!(connection.auth, Auth::None) {
                self.add(&pointer, "`auth` sets it already; keep one of the two");
            }
        }
    }

    fn request(&mut self, request: &Request, scope: Scope<'_>, connection: &Connection) {
        if request.batch.records == 0 || request.batch.bytes == 0 {
            self.add("/batch", "a batch holds at least one record and one byte");
        }
        self.headers(&request.headers, connection);
        self.idempotency(request, connection);
        self.outcome(&request.outcome);
        let path = template::path(&request.path, scope);
        let body = match &request.body {
            Body::None => Ok(template::Template::default()),
            Body::Json(value) => template::body(value, scope),
        };
        if let Err(why) = &path {
            self.add("/path", why);
        }
        for (pointer, why) in body.as_ref().err().into_iter().flatten() {
            self.add(format!("/body{pointer}"), why);
        }
        let (Ok(path), Ok(body)) = (path, body) else { return };
        let has_path = path.iter().any(|segment| segment.field().is_some());
        if (has_path || !body.has_each) && request.batch.records > 1 {
            let why = if has_path { "the path names one record" } else { "the body has no `each`" };
            self.add(
                "/batch",
                format!("{why}, so a batch is one record; say `batch: {{records: 1}}`"),
            );
        }
        self.named_fields(&path, &body.record, scope);
    }

    /// A request must name its record; a delete by the whole key, or it could delete others.
    fn named_fields(&mut self, path: &[Segment], record: &[Segment], scope: Scope<'_>) {
        let names =
            |index: usize| path.iter().chain(record).any(|segment| segment.field() == Some(index));
        if !(0..scope.fields.len()).any(names) {
            self.add(
                "/body",
                "nothing of a record is sent; use `{{record}}` or `{{record.FIELD}}`",
            );
        } else if scope.is_delete {
            for index in scope.key.iter().filter(|index| !names(**index)) {
                let name = &scope.fields[*index];
                self.add("", format!("`{name}` is part of the key and not sent: others could be deleted; add `{{{{record.{name}}}}}`"));
            }
        }
    }

    /// A change of what the path names has to send the record to where it is now.
    fn path_moves(&mut self, upsert: &Request, scope: Scope<'_>, compares: &[Compare]) {
        let Ok(path) = template::path(&upsert.path, scope) else { return };
        for index in path.iter().filter_map(Segment::field) {
            if compares.get(index).is_some_and(|compare| *compare != Compare::Exact) {
                let name = &scope.fields[index];
                self.add("/path", format!("`{name}` is in the path, and not every change of it counts, so that a record that moves would not be sent; compare it exactly, or take it out of the path"));
            }
        }
    }

    fn idempotency(&mut self, request: &Request, connection: &Connection) {
        let idempotency = &request.idempotency;
        if idempotency.repeat == Repeat::Key && idempotency.header.is_none() {
            self.add("/idempotency", "the key is not sent; name the header that carries it");
        }
        if let Some(header) = &idempotency.header {
            if HeaderName::try_from(header).is_err() {
                self.add(
                    "/idempotency",
                    format!("`{}` is not a header's name", header.escape_debug()),
                );
            }
            let lower = header.to_ascii_lowercase();
            let ours = ["content-type", "accept", "authorization", "cookie", "user-agent"];
            if OURS.contains(&lower.as_str())
                || ours.contains(&lower.as_str())
                || lower.starts_with("x-counterflow-")
            {
                let why = format!("`{lower}` has a meaning already; name another header");
                self.add("/idempotency/header", why);
            }
            let given = connection.headers.iter().chain(&request.headers);
            if given.into_iter().any(|(name, _)| name.eq_ignore_ascii_case(header)) {
                self.add(
                    "/idempotency",
                    format!("`{header}` is among the `headers` too; keep one"),
                );
            }
        }
    }

    fn outcome(&mut self, rules: &[OutcomeRule]) {
        let is_receipt =
            |rule: &OutcomeRule| matches!(rule.then, Then::Delivered | Then::PerRecord(_));
        if !rules.iter().any(is_receipt) {
            self.add("/outcome", "no rule says which answer means delivered; add one, such as `status: 200` with `then: delivered`");
        }
        for (place, rule) in rules.iter().enumerate() {
            let pointer = format!("/outcome/{place}");
            if rule.status.is_empty() {
                self.add(&pointer, "a rule names the statuses it judges");
            }
            for status in &rule.status {
                let class = match status {
                    StatusMatch::Exactly(status) => status / 100,
                    StatusMatch::Class(class) => *class,
                };
                if !(1..=5).contains(&class) {
                    self.add(&pointer, "a status is 100 to 599, or `1xx` to `5xx`");
                }
                if class == 3 && is_receipt(rule) {
                    self.add(&pointer, "a redirect is never a receipt");
                }
            }
            let mut pointers: Vec<&str> = rule.when.iter().map(|(at, _)| at.as_str()).collect();
            if let Then::PerRecord(list) = &rule.then {
                pointers.extend([list.items.as_str(), list.status.as_str()]);
                pointers.extend(list.code.as_deref());
                pointers.extend(list.message.as_deref());
                if rule.decode == Decode::None {
                    self.add(&pointer, "results record by record need `decode: json`");
                }
                if list.delivered.is_empty() {
                    self.add(&pointer, "no value of the record's status means delivered; name one");
                }
            }
            for wrong in pointers.iter().filter(|at| !at.is_empty() && !at.starts_with('/')) {
                self.add(&pointer, format!("`{wrong}` is not a JSON pointer; begin it with `/`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::definition::{By, PerRecord};
    use crate::destination::http::tests::{connection, fields, request, requests};

    type Change = fn(&mut Connection, &mut Requests);

    fn problems(change: Change) -> Vec<String> {
        let mut connection = connection("https://crm.example.com/v1", Auth::None);
        let mut requests = requests();
        change(&mut connection, &mut requests);
        let fields = Fields { names: &fields(), forms: &[], compares: &[], key: &[0] };
        let problems = validate(&connection, &requests, fields);
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_sound_definition_has_no_problem() {
        assert_eq!(problems(|_, _| ()), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_place() {
        let cases: &[(Change, &str, &str)] = &[
            (|c, _| c.base_url = "crm".into(), "connection.base_url", "not an address"),
            (|c, _| c.base_url = "ftp://crm".into(), "connection.base_url", "only `http`"),
            (|c, _| c.base_url = "http://a:b@crm".into(), "connection.base_url", "use `auth`"),
            (|c, _| c.base_url = "http://crm/?a".into(), "connection.base_url", "query"),
            (|c, _| c.base_url = "http://crm/".into(), "connection.base_url", "remove the `/`"),
            (|c, _| c.request_timeout = std::time::Duration::ZERO, "connection", "timeouts"),
            (
                |c, _| c.auth = Auth::Bearer("a\nb".to_owned().into()),
                "connection.auth",
                "cannot be sent",
            ),
            (|c, _| c.auth = Auth::Bearer(" ".to_owned().into()), "connection.auth", "empty"),
            (
                |c, _| c.headers = vec![("a b".into(), "c".into())],
                "connection.headers.a b",
                "not a header's name",
            ),
            (
                |c, _| c.headers = vec![("a".into(), "c\nd".into())],
                "connection.headers.a",
                "line break",
            ),
            (|c, _| c.headers = vec![("Host".into(), "x".into())], "connection.headers", "by us"),
            (
                |_, r| r.upsert.headers = vec![("a".into(), "{{record.id}}".into())],
                "upsert.headers.a",
                "not built yet",
            ),
            (
                |_, r| r.upsert.body = Body::Json(json!({"each": {"x": "{{record.nope}}"}})),
                "upsert.body.each.x",
                "not a mapped field",
            ),
            (
                |_, r| r.upsert.body = Body::Json(json!({"rows": ["{{record}}"]})),
                "upsert.batch",
                "no `each`",
            ),
            (
                |_, r| r.upsert.body = Body::Json(json!({"rows": {"each": 1}})),
                "upsert.body",
                "nothing of a record",
            ),
            (
                |_, r| r.upsert = request("/c/{{record.id}}", Body::Json(json!("{{record}}")), 2),
                "upsert.batch",
                "path names one record",
            ),
            (
                |_, r| {
                    let body = Body::Json(json!({"each": "{{record.email}}"}));
                    r.delete = Some(request("/archive", body, 10));
                },
                "delete.body.each",
                "only the key",
            ),
            (|_, r| r.upsert.batch.records = 0, "upsert.batch", "at least one record"),
            (|_, r| r.upsert.idempotency.header = None, "upsert.idempotency", "not sent"),
            (
                |_, r| r.upsert.idempotency.header = Some("Authorization".into()),
                "upsert.idempotency.header",
                "has a meaning already",
            ),
            (
                |_, r| r.upsert.idempotency.header = Some("x-api-KEY".into()),
                "upsert.idempotency",
                "among the `headers`",
            ),
            (|_, r| r.upsert.outcome.clear(), "upsert.outcome", "means delivered"),
            (
                |_, r| r.upsert.outcome[0].status = vec![StatusMatch::Class(3)],
                "upsert.outcome.0",
                "redirect",
            ),
            (
                |_, r| r.upsert.outcome[0].when = vec![("a".into(), json!(1))],
                "upsert.outcome.0",
                "JSON pointer",
            ),
            (
                |_, r| {
                    r.upsert.outcome[0].decode = Decode::None;
                    r.upsert.outcome[0].then = Then::PerRecord(PerRecord {
                        by: By::Index,
                        items: String::new(),
                        status: String::new(),
                        delivered: vec![json!(true)],
                        retry: Vec::new(),
                        code: None,
                        message: None,
                    });
                },
                "upsert.outcome.0",
                "`decode: json`",
            ),
        ];
        for (change, place, words) in cases {
            let found = problems(*change);
            let is_it = |text: &String| text.contains(place) && text.contains(words);
            assert!(found.iter().any(is_it), "{place} {words}: {found:?}");
        }
    }

    #[test]
    fn a_delete_that_leaves_out_a_part_of_the_key_is_refused() {
        let connection = connection("https://crm.example.com", Auth::None);
        let fields = Fields { names: &fields(), forms: &[], compares: &[], key: &[0, 1] };
        let problems = validate(&connection, &requests(), fields);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("`email` is part of the key and not sent"));
    }

    #[test]
    fn a_field_of_the_path_of_which_not_every_change_counts_is_refused() {
        let connection = connection("https://crm.example.com", Auth::None);
        let mut requests = requests();
        requests.upsert.path = "/contacts/{{record.email}}".to_owned();
        requests.upsert.batch.records = 1;
        let found = |compares: &[Compare]| {
            let fields = Fields { names: &fields(), forms: &[], compares, key: &[0] };
            validate(&connection, &requests, fields)
        };
        assert_eq!(found(&[Compare::Exact; 2]), []);
        assert_eq!(found(&[Compare::Ignore, Compare::Exact]), []);
        let refused = found(&[Compare::Exact, Compare::Ignore]);
        let [problem] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((problem.at, problem.pointer.as_str()), (At::Upsert, "/path"));
        assert!(problem.message.contains("`email` is in the path"), "{problem}");
    }
}
