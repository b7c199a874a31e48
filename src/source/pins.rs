//! The types that inference found at the first run, kept so that later runs read the same columns the same way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// By table, its pinned columns in the order they were first seen. A column that left its file stays pinned, so that
/// it comes back with the type it had. Pins are of the tables of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(BTreeMap<String, Vec<Pin>>);

/// One column's type, as an SQL type name such as `BIGINT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pub column: String,
    #[serde(rename = "type")]
    pub type_name: String,
}

impl Pins {
    /// The type a column is pinned to.
    pub fn get(&self, table: &str, column: &str) -> Option<&str> {
        let pins = self.0.get(table)?;
        pins.iter().find(|pin| pin.column == column).map(|pin| pin.type_name.as_str())
    }

    /// Pins a column that is not pinned yet; a pin that stands is never changed.
    pub fn add(&mut self, table: &str, column: &str, type_name: String) {
        if self.get(table, column).is_none() {
            let pin = Pin { column: column.to_owned(), type_name };
            self.0.entry(table.to_owned()).or_default().push(pin);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tables and their columns.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &[Pin])> {
        self.0.iter().map(|(table, pins)| (table.as_str(), pins.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_stands_and_survives_serialization() {
        let mut pins = Pins::default();
        pins.add("orders", "id", "BIGINT".to_owned());
        pins.add("orders", "id", "VARCHAR".to_owned());
        let json = serde_json::to_string(&pins).unwrap();
        assert_eq!(json, r#"{"orders":[{"column":"id","type":"BIGINT"}]}"#);
        assert_eq!(serde_json::from_str::<Pins>(&json).unwrap(), pins);
    }
}
