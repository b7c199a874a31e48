use datafusion::arrow::datatypes::Schema;

use super::definition::Format;
use super::error::Error;
use super::watched::WatchedFiles;
use super::{csv, partitions};

/// What may be behind a fault of the config, as far as the tables tell that the model reads.
#[derive(Debug, Clone)]
pub(super) enum Hint {
    /// Words, of a table beside which something else may be wrong.
    Words(String),
    /// Nothing says which columns the one table of the model has: no line of its files has a member.
    NoMembers { table: String },
}

impl Hint {
    /// Of a table that was opened with these columns; it may be the model's one table.
    pub fn of(watched: &WatchedFiles, columns: &Schema, is_alone: bool) -> Option<Hint> {
        let WatchedFiles { table, files, .. } = watched;
        let names: Vec<&String> = columns.fields().iter().map(|field| field.name()).collect();
        match &table.format {
            Format::Csv(csv) => {
                let said = csv::unseparated(&table.name, csv, &files.first()?.path, &names)?;
                Some(Hint::Words(said))
            }
            Format::NdJson(_) => {
                let directories = partitions::of(table, files).ok().flatten();
                let of_directories = directories.map_or(0, |values| values.fields().len());
                let has_none = names.len() == of_directories;
                let table = table.name.clone();
                has_none.then(|| match is_alone {
                    true => Hint::NoMembers { table },
                    false => Hint::Words(format!("; {}", memberless(&table))),
                })
            }
            _ => None,
        }
    }

    /// What a fault that this may be behind is told as; other errors stay as they are.
    pub fn explain(&self, model: &str, error: Error) -> Error {
        match self {
            _ if !error.is_config_fault() => error,
            Hint::Words(words) => error.map(|said| said + words),
            Hint::NoMembers { table } => {
                let why = memberless(table);
                Error::Missing(format!("model `{model}` gave no rows: {why} ({error})"))
            }
        }
    }
}

fn memberless(table: &str) -> String {
    format!(
        "no line of table `{table}` has a member, so that nothing says which columns it has: put its rows there, or declare \
         its `columns`"
    )
}
