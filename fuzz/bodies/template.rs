//! The templates of a path and a body → problems, or a request. Guards: what `validate` passes can be compiled; the body of a
//! batch is JSON with each record's values in it; no value leads a path to another object.

use counterflow::destination::definition::{
    Auth, BatchLimits, Body, Connection, Decode, Idempotency, Method, OutcomeRule, Repeat, Request,
    Requests, StatusMatch, Then,
};
use counterflow::destination::http::check::validate;
use counterflow::destination::http::{Fields, Http};
use counterflow::domain::form::{Form, Way};
use counterflow::domain::value::Value;

use super::Input;

/// The input is a byte that chooses the operation, the size of a batch and whether NULL is left out, a line with the path, and the JSON of the body;
/// without one there is none.
pub fn fuzz_template(data: &[u8]) -> bool {
    let mut input = Input { rest: data };
    let choice = input.byte();
    let omitted = Form { omits_null: true, way: Way::Usual };
    let forms = if choice & 4 == 4 { &[Form::default(), omitted][..] } else { &[] };
    let (is_delete, records) = (choice & 1 == 1, if choice & 2 == 2 { 1 } else { 3 });
    let Ok(path) = std::str::from_utf8(input.line()) else { return false };
    let body = match input.rest {
        [] => Body::None,
        text => match serde_json::from_slice(text) {
            Ok(json) => Body::Json(json),
            Err(_) => return false,
        },
    };
    let fields = ["id", "name"].map(str::to_owned);
    let (tested, other) = (request(path, body, records), request("/other", each(), 3));
    let requests = match is_delete {
        false => Requests { upsert: tested.clone(), delete: None },
        true => Requests { upsert: other, delete: Some(tested.clone()) },
    };
    let connection = connection("http://127.0.0.1:9");
    let scope = Fields { names: &fields, forms, compares: &[], key: &[0] };
    if !validate(&connection, &requests, scope).is_empty() {
        // It may be compiled all the same; it may not panic.
        let _ = Http::compiled(&connection, &tested, scope, is_delete);
        return false;
    }
    let encoder = Http::compiled(&connection, &tested, scope, is_delete)
        .unwrap_or_else(|problem| panic!("valid, and not compiled: {problem:?}"));
    let mut steps = Vec::new();
    for id in ["plain", "a/../b?c#d", "{{record}}", "\"\\\u{0}é%2F"] {
        let value = |field: usize| if field == 0 { Value::Text(id) } else { Value::Null };
        let mut fragment = Vec::new();
        // Refused where the path is too long, or has steps that are dots.
        let Ok(rendered) = encoder.render(value, &mut fragment) else { continue };
        let (path, json) = fragment.split_at(rendered.target_len as usize);
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        steps.push(path.iter().filter(|byte| **byte == b'/').count());
        assert!(!path.contains(&b'#'), "a value ends the path");
        if tested.body != Body::None {
            let fragments = vec![json; records.min(2) as usize];
            let body = encoder.body(fragments.into_iter());
            let read = serde_json::from_slice::<serde_json::Value>(&body);
            assert!(read.is_ok(), "no JSON: {body:?}");
        }
    }
    assert!(steps.windows(2).all(|two| two[0] == two[1]), "a value leads elsewhere: {steps:?}");
    true
}

fn each() -> Body {
    Body::Json(serde_json::json!({ "each": "{{record}}" }))
}

pub fn request(path: &str, body: Body, records: u32) -> Request {
    Request {
        method: Method::Post,
        path: path.to_owned(),
        headers: Vec::new(),
        batch: BatchLimits { records, bytes: 1 << 20 },
        body,
        idempotency: Idempotency { repeat: Repeat::Natural, header: None },
        outcome: vec![OutcomeRule {
            status: vec![StatusMatch::Class(2)],
            when: Vec::new(),
            decode: Decode::None,
            then: Then::Delivered,
        }],
        written: None,
        hidden: Vec::new(),
    }
}

pub fn connection(base_url: &str) -> Connection {
    Connection {
        name: "crm".to_owned(),
        base_url: base_url.to_owned(),
        auth: Auth::None,
        headers: Vec::new(),
        connect_timeout: std::time::Duration::from_secs(1),
        request_timeout: std::time::Duration::from_secs(2),
        account: None,
        identify: None,
        written: None,
        hidden: Vec::new(),
        renewal: None,
    }
}
