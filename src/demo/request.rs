//! What a request asks of the destination, and how its answer looks; the shapes are those of `config.example.yaml`.
//!
//! Pure. Not responsible for credentials, faults and tables.

use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::object::{Object, Record, word};

/// A request that was understood.
#[derive(Debug, PartialEq)]
pub struct Asked {
    pub object: Object,
    pub is_delete: bool,
    pub items: Vec<Item>,
    shape: Shape,
}

/// One record of the request, in the order sent.
#[derive(Debug, PartialEq)]
pub struct Item {
    pub key: String,
    /// `None` in a delete.
    pub record: Option<Record>,
}

/// How the answer tells of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{"results": [...]}`
    Results,
    /// `[...]`
    Array,
    /// There is one record, and the status says it all.
    Bare,
}

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    NotFound,
    Busy,
    Refused,
}

/// Why a request was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misunderstood(pub StatusCode, pub &'static str);

const UNREADABLE: Misunderstood =
    Misunderstood(StatusCode::UNPROCESSABLE_ENTITY, "the body has not the shape of the example");

impl Asked {
    /// # Errors
    /// There is no such path, or its body has another shape.
    pub fn read(method: &Method, path: &str, body: &[u8]) -> Result<Asked, Misunderstood> {
        let json = || serde_json::from_slice::<Value>(body).map_err(|_| UNREADABLE);
        match (method.as_str(), path) {
            ("POST", "/customers/batch") => {
                Asked::upserts(Object::Customers, field(json()?, "customers")?, Shape::Results)
            }
            ("POST", "/customers/batch/archive") => {
                let ids = field(json()?, "ids")?;
                let ids = ids.as_array().ok_or(UNREADABLE)?;
                let item = |id| Some(Item { key: word(id)?, record: None });
                let items: Option<Vec<Item>> = ids.iter().map(item).collect();
                Ok(Asked {
                    object: Object::Customers,
                    is_delete: true,
                    items: items.ok_or(UNREADABLE)?,
                    shape: Shape::Results,
                })
            }
            ("PATCH", "/orders/batch") => {
                Asked::upserts(Object::Orders, field(json()?, "orders")?, Shape::Results)
            }
            ("POST", "/flights/batch") => Asked::upserts(Object::Flights, json()?, Shape::Array),
            (method, path) => Asked::airline(method, path, json),
        }
    }

    fn airline(
        method: &str,
        path: &str,
        body: impl FnOnce() -> Result<Value, Misunderstood>,
    ) -> Result<Asked, Misunderstood> {
        let carrier = path
            .strip_prefix("/airlines/")
            .filter(|carrier| !carrier.is_empty() && !carrier.contains('/'))
            .ok_or(Misunderstood(StatusCode::NOT_FOUND, "there is no such path"))?;
        let carrier = percent_decode_str(carrier).decode_utf8().map_err(|_| UNREADABLE)?;
        match method {
            "PUT" => {
                let asked =
                    Asked::upserts(Object::Airlines, Value::Array(vec![body()?]), Shape::Bare)?;
                if asked.items[0].key == carrier { Ok(asked) } else { Err(UNREADABLE) }
            }
            "DELETE" => Ok(Asked {
                object: Object::Airlines,
                is_delete: true,
                items: vec![Item { key: carrier.into_owned(), record: None }],
                shape: Shape::Bare,
            }),
            _ => Err(Misunderstood(StatusCode::METHOD_NOT_ALLOWED, "there is only PUT and DELETE")),
        }
    }

    fn upserts(object: Object, records: Value, shape: Shape) -> Result<Asked, Misunderstood> {
        let Value::Array(records) = records else { return Err(UNREADABLE) };
        let item = |record| match record {
            Value::Object(record) => Some(Item { key: object.key(&record)?, record: Some(record) }),
            _ => None,
        };
        let items: Option<Vec<Item>> = records.into_iter().map(item).collect();
        Ok(Asked { object, is_delete: false, items: items.ok_or(UNREADABLE)?, shape })
    }

    /// The answer once each record was judged.
    pub fn answer(&self, verdicts: &[Verdict]) -> (StatusCode, Option<Value>) {
        let results = || verdicts.iter().copied().map(result).collect::<Vec<Value>>();
        match self.shape {
            Shape::Results => (status(verdicts), Some(json!({ "results": results() }))),
            Shape::Array => (StatusCode::OK, Some(Value::Array(results()))),
            Shape::Bare => match verdicts {
                [Verdict::NotFound] => (StatusCode::NOT_FOUND, None),
                _ => (StatusCode::NO_CONTENT, None),
            },
        }
    }
}

fn field(json: Value, name: &str) -> Result<Value, Misunderstood> {
    match json {
        Value::Object(mut fields) => fields.remove(name).ok_or(UNREADABLE),
        _ => Err(UNREADABLE),
    }
}

fn status(verdicts: &[Verdict]) -> StatusCode {
    let is_fine = verdicts.iter().all(|verdict| *verdict == Verdict::Ok);
    if is_fine { StatusCode::OK } else { StatusCode::MULTI_STATUS }
}

fn result(verdict: Verdict) -> Value {
    match verdict {
        Verdict::Ok => json!({ "status": "ok" }),
        Verdict::NotFound => json!({ "status": "not_found" }),
        Verdict::Busy => json!({
            "status": "busy",
            "error": { "code": "busy", "message": "somebody else writes this record" },
        }),
        Verdict::Refused => json!({
            "status": "refused",
            "error": { "code": "under_review", "message": "an auditor looks at this record" },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, path: &str, body: &Value) -> Result<Asked, Misunderstood> {
        Asked::read(&method, path, body.to_string().as_bytes())
    }

    #[test]
    fn every_request_of_the_example_is_understood() {
        let customers = json!({ "customers": [{ "id": "00007" }, { "id": "00008" }] });
        let asked = read(Method::POST, "/customers/batch", &customers).unwrap();
        let keys: Vec<&str> = asked.items.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(keys, ["00007", "00008"]);
        let ids = json!({ "ids": ["00007"] });
        let asked = read(Method::POST, "/customers/batch/archive", &ids).unwrap();
        assert!(asked.is_delete && asked.items[0].record.is_none());
        let orders = json!({ "orders": [{ "order_id": "A", "line": 1 }] });
        assert_eq!(read(Method::PATCH, "/orders/batch", &orders).unwrap().items[0].key, "A/1");
        let carrier = json!({ "carrier": "9E" });
        assert_eq!(read(Method::PUT, "/airlines/9E", &carrier).unwrap().items[0].key, "9E");
        let asked = Asked::read(&Method::DELETE, "/airlines/9%45", b"").unwrap();
        assert!(asked.is_delete && asked.items[0].key == "9E");
        let flights = json!([{ "time_hour": "2013", "carrier": "UA", "flight": 1 }]);
        let asked = read(Method::POST, "/flights/batch", &flights).unwrap();
        assert_eq!(asked.items[0].key, "2013/UA/1");
    }

    #[test]
    fn anything_else_is_refused() {
        let unreadable = |method, path, body| read(method, path, &body) == Err(UNREADABLE);
        assert!(unreadable(Method::POST, "/customers/batch", json!([])));
        assert!(unreadable(Method::POST, "/customers/batch", json!({ "customers": [{}] })));
        assert!(unreadable(Method::PUT, "/airlines/9E", json!({ "carrier": "AA" })));
        let elsewhere = read(Method::POST, "/leads", &json!({})).unwrap_err();
        assert_eq!(elsewhere.0, StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_answer_tells_of_each_record_in_order() {
        let ids = json!({ "ids": ["1", "2", "3"] });
        let asked = read(Method::POST, "/customers/batch/archive", &ids).unwrap();
        let (status, body) = asked.answer(&[Verdict::Ok, Verdict::NotFound, Verdict::Refused]);
        assert_eq!(status, StatusCode::MULTI_STATUS);
        let body = body.unwrap();
        assert_eq!(body["results"][1]["status"], "not_found");
        assert_eq!(body["results"][2]["error"]["code"], "under_review");
    }
}
