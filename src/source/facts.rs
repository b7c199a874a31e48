use crate::domain::file::FileFact;

/// What is known of a source before a row of it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The files of the tables that the model reads, as they were before the first byte was read; by their names below the
    /// config's folder.
    pub files: Vec<FileFact>,
    /// Whether every source of the model can say that it is as it was: then equal files mean equal rows.
    pub can_prove_unchanged: bool,
    /// Of the tables that are declared `rewritten`.
    pub completeness: Vec<Completeness>,
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
