use serde::Serialize;
use serde_json::{Map, Value};

/// A record as the destination holds it, field by field.
pub type Record = Map<String, Value>;

/// What the destination has tables of; one for each sync of `config.example.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    Customers,
    Orders,
    Airlines,
    Flights,
}

impl Object {
    pub const ALL: [Object; 4] =
        [Object::Customers, Object::Orders, Object::Airlines, Object::Flights];

    pub fn name(self) -> &'static str {
        match self {
            Object::Customers => "customers",
            Object::Orders => "orders",
            Object::Airlines => "airlines",
            Object::Flights => "flights",
        }
    }

    /// The sync that writes it.
    pub fn sync(self) -> &'static str {
        match self {
            Object::Customers => "customers_to_crm",
            Object::Orders => "orders_to_crm",
            Object::Airlines => "airlines_to_timetable",
            Object::Flights => "flights_to_timetable",
        }
    }

    /// Whether its sync deletes what left the model.
    pub fn is_mirrored(self) -> bool {
        matches!(self, Object::Customers | Object::Airlines)
    }

    /// The fields that identify a record.
    fn key_fields(self) -> &'static [&'static str] {
        match self {
            Object::Customers => &["id"],
            Object::Orders => &["order_id", "line"],
            Object::Airlines => &["carrier"],
            Object::Flights => &["time_hour", "carrier", "flight"],
        }
    }

    /// The record's key as `explain` takes it, such as `SO-000412/2`; `None` where a field of it is missing.
    pub fn key(self, record: &Record) -> Option<String> {
        let words: Option<Vec<String>> =
            self.key_fields().iter().map(|field| word(record.get(*field)?)).collect();
        Some(words?.join("/"))
    }
}

/// A field of a key; a key has no NULL and nothing nested.
pub fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_written_as_explain_takes_it_and_a_record_without_it_has_none() {
        let record = |value: Value| value.as_object().unwrap().clone();
        let order = record(json!({ "order_id": "SO-1", "line": 2, "sku": "A" }));
        assert_eq!(Object::Orders.key(&order).as_deref(), Some("SO-1/2"));
        assert_eq!(Object::Orders.key(&record(json!({ "order_id": "SO-1" }))), None);
        assert_eq!(Object::Customers.key(&record(json!({ "id": null }))), None);
    }
}
