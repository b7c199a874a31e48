use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;

use crate::delta::examiner::{Examiner, Primary, Scope};
use crate::delta::fingerprint::{self, Fingerprinter};
use crate::delta::primary_keys::PrimaryKeys;
use crate::delta::table::Table;
use crate::domain::column::carried;
use crate::domain::compare::Compare;
use crate::domain::id::{Epoch, Instant};
use crate::domain::value::Value;
use crate::source::Reading;

/// What the columns of a read are.
#[derive(Debug, Clone)]
pub struct Columns {
    /// The first ones are the mapped fields, by these names.
    pub fields: Vec<String>,
    /// What of each field counts as a change; of those that are not there, everything.
    pub compares: Vec<Compare>,
    /// Those of the delivered key, in its order.
    pub key: Vec<usize>,
    pub key_types: Vec<DataType>,
    /// Those of the model's primary key.
    pub primary_key: Vec<usize>,
    /// The version of the fingerprints that their rows get.
    pub fingerprints: u32,
}

impl Columns {
    /// Those of a model's read.
    pub fn of(reading: &Reading) -> Columns {
        let types = reading.key.iter().map(|index| reading.fields[*index].data_type.clone());
        Columns {
            fields: reading.fields.iter().map(|field| field.name.clone()).collect(),
            compares: reading.fields.iter().map(|field| field.options.compare).collect(),
            key: reading.key.clone(),
            key_types: types.collect(),
            primary_key: reading.primary_key.clone(),
            fingerprints: fingerprint::VERSION,
        }
    }

    /// Compares rows of these columns, those of `scope`, with `table`. Primary keys of their own may take `memory` bytes.
    pub fn examiner(
        &self,
        scope: Scope,
        table: &Arc<Table>,
        epoch: Epoch,
        now: Instant,
        memory: usize,
    ) -> Arc<Examiner> {
        let primary = self
            .has_primary()
            .then(|| Arc::new(PrimaryKeys::new(memory)))
            .map(|seen| Primary { columns: self.primary_key.clone(), seen });
        Arc::new(Examiner {
            table: Arc::clone(table),
            fingerprinter: Fingerprinter::comparing(self.fingerprints, self.compared()),
            key: self.key.clone(),
            primary,
            epoch,
            now,
            scope,
        })
    }

    fn compared(&self) -> impl Iterator<Item = (&str, Compare)> {
        let compares = self.compares.iter().copied().chain(std::iter::repeat(Compare::Exact));
        self.fields.iter().map(String::as_str).zip(compares)
    }

    /// Whether rows of one fingerprint may differ.
    pub fn are_tolerant(&self) -> bool {
        self.compares.iter().any(|compare| *compare != Compare::Exact)
    }

    /// Whether the primary key is not the delivered key.
    pub fn has_primary(&self) -> bool {
        self.primary_key != self.key
    }

    /// The values of a delivered key as the columns carry them, by the number of the field; NULL for other fields.
    pub fn value_of_key<'k>(&self, values: &[Value<'k>], field: usize) -> Value<'k> {
        let position = self.key.iter().position(|index| *index == field);
        let value =
            position.and_then(|position| values.get(position).zip(self.key_types.get(position)));
        value.map_or(Value::Null, |(value, data_type)| carried(*value, data_type))
    }
}
