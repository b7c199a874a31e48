//! How the destination receives a request: gate, fault, tables, verdicts; all at once and without waiting.
//!
//! Not responsible for the server and its lock (`destination`), nor for which fault comes (`faults`). Invariant: what is
//! applied counts as unanswered until the server says that the answer leaves.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::faults::{Fault, Faults, Temper};
use super::object::Object;
use super::request::{Asked, Verdict};
use super::table::Table;

/// Seconds, in answers with 429.
const RETRY_AFTER: u64 = 1;

/// The tables and everything that decides what happens to a request.
#[derive(Debug)]
pub struct Conduct {
    pub tables: BTreeMap<Object, Table>,
    pub faults: Faults,
    pub requests: u64,
    pub gate: Option<Gate>,
    /// The one record that is refused for good.
    pub refused: Option<(Object, String)>,
}

/// Answers for one object are held back, without any other fault.
#[derive(Debug)]
pub struct Gate {
    pub object: Object,
    /// Requests that are answered yet.
    pub left: u64,
}

/// What was decided about a request, all at once.
pub struct Decision {
    pub answer: Answer,
    /// The object, and the keys that are unanswered until the answer leaves.
    pub applied: Option<(Object, Vec<String>)>,
    /// The last opening when the request came, where it waits for the next one.
    pub turn: Option<u64>,
}

/// How a request is answered.
pub enum Answer {
    Response(Response),
    /// The request is applied when the gate opens, if anybody still waits for its answer.
    Later(Asked),
    /// The connection is closed instead.
    Lost,
}

/// What the gate does to a request.
pub enum Passage {
    /// There is no gate: faults may be met.
    Free,
    Answered,
    Held,
}

impl Conduct {
    pub fn new(seed: u64, temper: Temper) -> Conduct {
        Conduct {
            tables: Object::ALL.into_iter().map(|object| (object, Table::default())).collect(),
            faults: Faults::new(seed, temper),
            requests: 0,
            gate: None,
            refused: None,
        }
    }

    pub fn table(&self, object: Object) -> &Table {
        self.tables.get(&object).expect("there is a table for each object")
    }

    pub fn table_mut(&mut self, object: Object) -> &mut Table {
        self.tables.entry(object).or_default()
    }

    pub fn pass(&mut self, object: Object) -> Passage {
        match &mut self.gate {
            Some(gate) if gate.object == object => match gate.left.checked_sub(1) {
                Some(left) => {
                    gate.left = left;
                    Passage::Answered
                }
                None => Passage::Held,
            },
            _ => Passage::Free,
        }
    }

    /// Draws a fault and plays it.
    pub fn meet(&mut self, asked: Asked, attempt: u32) -> Decision {
        let Some(fault) = self.faults.draw(asked.object, asked.is_delete, attempt) else {
            return self.apply(asked, &[], false);
        };
        self.faults.count(fault);
        match fault {
            Fault::TooManyRequests => {
                let again = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
                let why = error("too_many_requests", "slow down");
                Decision::answer((StatusCode::TOO_MANY_REQUESTS, again, why).into_response())
            }
            Fault::Unavailable => {
                let why = error("unavailable", "out of order, for a moment");
                Decision::answer((StatusCode::SERVICE_UNAVAILABLE, why).into_response())
            }
            Fault::Locked => {
                let why = error("locked", "somebody else writes this record");
                Decision::answer((StatusCode::CONFLICT, why).into_response())
            }
            Fault::BusyRecords => {
                let busy = self.faults.busy(asked.items.len());
                self.apply(asked, &busy, false)
            }
            Fault::LostAnswer => self.apply(asked, &[], true),
            Fault::RefusedRecord => self.apply(asked, &[], false),
        }
    }

    /// Applies all but the busy and the refused. The places in `busy` are those of the request's items.
    pub fn apply(&mut self, mut asked: Asked, busy: &[usize], is_lost: bool) -> Decision {
        let mut verdicts = Vec::with_capacity(asked.items.len());
        let mut applied = Vec::with_capacity(asked.items.len());
        let object = asked.object;
        for (place, item) in asked.items.iter_mut().enumerate() {
            if busy.contains(&place) {
                verdicts.push(Verdict::Busy);
                continue;
            }
            if self.refused.as_ref().is_some_and(|(of, key)| *of == object && *key == item.key) {
                self.faults.count(Fault::RefusedRecord);
                verdicts.push(Verdict::Refused);
                continue;
            }
            let table = self.tables.entry(object).or_default();
            verdicts.push(match item.record.take() {
                Some(record) => {
                    table.upsert(&item.key, record);
                    Verdict::Ok
                }
                None if table.delete(&item.key) => Verdict::Ok,
                None => Verdict::NotFound,
            });
            applied.push(item.key.clone());
        }
        self.table_mut(object).leave_unanswered(applied.iter().map(String::as_str));
        let answer = match asked.answer(&verdicts) {
            _ if is_lost => Answer::Lost,
            (status, Some(body)) => Answer::Response((status, Json(body)).into_response()),
            (status, None) => Answer::Response(status.into_response()),
        };
        Decision { answer, applied: Some((object, applied)), turn: None }
    }
}

impl Decision {
    pub fn answer(response: Response) -> Decision {
        Decision { answer: Answer::Response(response), applied: None, turn: None }
    }

    pub fn refusal(status: StatusCode, why: &str) -> Decision {
        Decision::answer((status, error("refused", why)).into_response())
    }
}

fn error(code: &str, message: &str) -> Json<Value> {
    Json(json!({ "error": { "code": code, "message": message } }))
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    fn asked(keys: &[&str]) -> Asked {
        let customers: Vec<Value> = keys.iter().map(|key| json!({ "id": key })).collect();
        let body = json!({ "customers": customers }).to_string();
        Asked::read(&Method::POST, "/customers/batch", body.as_bytes()).unwrap()
    }

    fn keys(conduct: &Conduct) -> Vec<&str> {
        conduct.table(Object::Customers).records().keys().map(String::as_str).collect()
    }

    #[test]
    fn what_is_busy_or_refused_is_not_applied_and_the_rest_is() {
        let mut conduct = Conduct::new(1, Temper::Bad);
        conduct.refused = Some((Object::Customers, "3".to_owned()));
        conduct.apply(asked(&["1", "2", "3", "4"]), &[0], false);
        assert_eq!(keys(&conduct), ["2", "4"]);
        assert_eq!(conduct.faults.played()[&Fault::RefusedRecord], 1);
    }

    #[test]
    fn a_lost_answer_is_applied_and_its_repetition_absorbed() {
        let mut conduct = Conduct::new(1, Temper::Bad);
        let decision = conduct.apply(asked(&["1", "2"]), &[], true);
        assert!(matches!(decision.answer, Answer::Lost));
        assert_eq!(keys(&conduct), ["1", "2"]);
        conduct.apply(asked(&["1", "2"]), &[], false);
        assert_eq!(conduct.table(Object::Customers).absorbed(), 2);
    }

    #[test]
    fn a_gate_answers_so_many_and_holds_the_rest_of_its_object_only() {
        let mut conduct = Conduct::new(1, Temper::Bad);
        conduct.gate = Some(Gate { object: Object::Orders, left: 1 });
        assert!(matches!(conduct.pass(Object::Customers), Passage::Free));
        assert!(matches!(conduct.pass(Object::Orders), Passage::Answered));
        assert!(matches!(conduct.pass(Object::Orders), Passage::Held));
    }
}
