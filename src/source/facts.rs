use crate::domain::file::FileFact;

/// What is known of a source before a row of it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The files of the tables that the model reads, as they were before the first byte was read; by their names below the
    /// config's folder.
    pub files: Vec<FileFact>,
    /// Whether every source of the model can say that it is as it was: then equal files mean equal rows.
    pub can_prove_unchanged: bool,
    /// What it cost to list the objects among them.
    pub cost: Cost,
    /// Of the tables that are declared `rewritten`.
    pub completeness: Vec<Completeness>,
}

/// What listings of objects cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    pub objects: u64,
    /// Requests to stores, tries included.
    pub requests: u64,
}

/// What a table declared `rewritten` says of the completeness of its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    pub table: String,
    /// A completion marker is declared and was not there when the read began.
    pub is_marker_missing: bool,
}

/// What a read of a model would begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As [`Reading::source`](super::Reading::source).
    pub source: String,
    pub facts: Facts,
}
