//! What the config says of a source, validated.

/// Where rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub tables: Vec<Table>,
}

/// A table made of files, under the name that models use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// A path, or a glob over paths, as it stands in the config; resolved against the config file's folder.
    pub location: std::path::PathBuf,
    pub format: Format,
    /// The files are written anew under new names each time, so that names that vanish prove nothing; what proves that a
    /// set is complete, if anything does.
    pub rewritten: Option<Rewritten>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv(Csv),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    pub delimiter: u8,
    pub has_header: bool,
    /// Words that mean NULL when they are the whole field and not in quotes; an empty field is one where `""` is among
    /// them.
    pub nulls: Vec<String>,
    /// Declared types by column: SQL type names such as `BIGINT`, `VARCHAR`, `DECIMAL(10,2)`, `TIMESTAMP`, `DATE`,
    /// `BOOLEAN`, `DOUBLE`. Columns not named are pinned at the first run that sees a value of them.
    pub columns: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// A file beside the data that is there only when the set is complete, such as `_SUCCESS`.
    pub marker: Option<String>,
}
