//! What a model would give: its columns and, of what a sync asks for, each field and how its values will look in JSON.
//!
//! A database plans the query and is asked for no row; of files is read what any read begins with. Not responsible for opening
//! (`reader`) nor for what makes a field (`mapping`). Invariant: all that is said is made of names and types, never of a value.

use std::fmt;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use serde::Serialize;

use super::error::Error;
use super::mapping::{self, Selection};
use crate::domain::render::words;
use crate::domain::sync::Model;

/// A model as it would be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub columns: Vec<ColumnSeen>,
    /// Of its tables that count their versions.
    pub versions: Vec<VersionSeen>,
    /// What the files of its tables differ in, where the table unites that.
    pub differences: Vec<String>,
    /// What in the model and the mapping can give another answer for the same rows, as [`Reading`](super::Reading) has it; none
    /// where a run would not begin.
    pub volatile: Vec<String>,
    /// What the sync asks for; every column where it has no mapping.
    pub fields: Vec<FieldSeen>,
    /// Why a run would not begin, as it would say it; what is wrong with a field is there with it.
    pub refused: Option<Error>,
}

/// A column of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnSeen {
    pub name: String,
    /// What the source itself calls its type, where that has another name there.
    pub source_type: Option<String>,
    /// What its values are here.
    #[serde(rename = "type")]
    pub data_type: String,
    #[serde(rename = "nullable")]
    pub is_nullable: bool,
}

/// The version of a table that counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionSeen {
    pub table: String,
    pub version: u64,
    /// What it uses that not everybody can read.
    pub features: Vec<String>,
}

/// A field of what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSeen {
    pub field: String,
    /// What its values look like, in words; or why it is refused, and what to do.
    pub json: Result<String, Error>,
}

impl fmt::Display for VersionSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        match self.features.as_slice() {
            [] => Ok(()),
            features => write!(f, ", which uses {}", features.join(", ")),
        }
    }
}

impl Described {
    /// Changes what is said of each refusal.
    pub(super) fn refine(&mut self, change: impl Fn(Error) -> Error) {
        for field in &mut self.fields {
            let json = std::mem::replace(&mut field.json, Ok(String::new()));
            field.json = json.map_err(&change);
        }
        self.refused = self.refused.take().map(change);
    }

    /// All that a run would refuse, each once.
    pub fn refusals(&self) -> Vec<&Error> {
        let of_fields = self.fields.iter().filter_map(|field| field.json.as_ref().err());
        let of_all = self.refused.iter().filter(|error| {
            !self.fields.iter().any(|field| field.json.as_ref().err() == Some(*error))
        });
        of_fields.chain(of_all).collect()
    }
}

/// The columns of the model's plan, whose source calls their types so, and the fields that are asked for.
///
/// # Errors
/// The columns make no table.
pub(super) fn described(
    state: &SessionState,
    model: &Model,
    plan: &LogicalPlan,
    types: &[String],
    selection: &Selection,
) -> Result<Described, Error> {
    let seen = |(index, field): (usize, &FieldRef)| ColumnSeen {
        name: field.name().clone(),
        source_type: types.get(index).cloned(),
        data_type: field.data_type().to_string(),
        is_nullable: field.is_nullable(),
    };
    let columns = plan.schema().fields().iter().enumerate().map(seen).collect();
    let fields = mapping::each(state, model, plan, selection)?.into_iter();
    let fields = fields.map(|(field, info)| FieldSeen {
        json: info.map(|info| words(&info.data_type, &info.options.form)),
        field,
    });
    Ok(Described {
        columns,
        versions: Vec::new(),
        differences: Vec::new(),
        volatile: Vec::new(),
        fields: fields.collect(),
        refused: None,
    })
}
