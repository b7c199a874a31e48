use datafusion::arrow::datatypes::Schema;

use super::definition::Format;
use super::error::Error;
use super::watched::WatchedFiles;
use super::{csv, partitions};

/// What may be behind a fault of the config, as far as the tables tell that the model reads.
#[derive(Debug, Clone)]
pub(super) enum Hint {
    /// Words, where columns of a text are not told apart.
    Unseparated(String),
    /// Nothing says which columns this table has: none of its files has a line.
    NoLines { table: String },
}

impl Hint {
    /// Of a table that was opened with these columns.
    pub fn of(watched: &WatchedFiles, columns: &Schema) -> Option<Hint> {
        let WatchedFiles { table, files, .. } = watched;
        let names: Vec<&String> = columns.fields().iter().map(|field| field.name()).collect();
        match &table.format {
            Format::Csv(csv) => {
                let said = csv::unseparated(&table.name, csv, &files.first()?.path, &names)?;
                Some(Hint::Unseparated(said))
            }
            Format::NdJson(_) => {
                let directories = partitions::of(table, files).ok().flatten();
                let of_directories = directories.map_or(0, |values| values.fields().len());
                let has_none = names.len() == of_directories;
                has_none.then(|| Hint::NoLines { table: table.name.clone() })
            }
            _ => None,
        }
    }

    /// What a fault that this may be behind is told as; other errors stay as they are.
    pub fn explain(&self, model: &str, error: Error) -> Error {
        match self {
            _ if !error.is_config_fault() => error,
            Hint::Unseparated(words) => error.map(|said| said + words),
            Hint::NoLines { table } => Error::Missing(format!(
                "model `{model}` gave no rows: no file of table `{table}` has a line, so that nothing says which columns it \
                 has; put its rows there, or declare its `columns` ({error})"
            )),
        }
    }
}
