//! The tables that a model may name, those that it reads, and those that are open.
//!
//! Not responsible for what is behind a table (`opening`), nor for the SQL (`statement`). Invariant: a table has one name
//! in a model, and facts, pins and messages know it by that name.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use serde_json::Value;

use super::definition::{Access, Definition};
use super::watched::Watched;
use super::weights::Weights;

/// The sources of a model.
#[derive(Debug)]
pub(super) enum Known<'d> {
    /// Its tables go by their own names.
    One(&'d Definition),
    /// In the order of the config; their tables go by `source.table`.
    Joined(Vec<&'d Definition>),
}

/// A table that a model reads.
#[derive(Debug)]
pub(super) struct Named<'d> {
    /// As the model's SQL has it.
    pub name: TableReference,
    pub source: &'d Definition,
}

/// A table whose columns and types are fixed.
pub(super) struct Opened {
    pub provider: Arc<dyn TableProvider>,
    /// What proves the end of its read.
    pub watched: Watched,
    /// Of its columns, where its scan does not bound what it holds by itself.
    pub weights: Weights,
    /// What its files differ in and the table unites, for people.
    pub differences: Vec<String>,
    /// What of its query can give another answer for the same rows.
    pub volatile: Vec<String>,
    /// It gives no more than a restriction lets through.
    pub is_restricted: bool,
}

impl Opened {
    pub fn new(provider: Arc<dyn TableProvider>, watched: Watched, weights: Weights) -> Opened {
        Opened {
            provider,
            watched,
            weights,
            differences: Vec::new(),
            volatile: Vec::new(),
            is_restricted: false,
        }
    }
}

impl<'d> Known<'d> {
    fn sources(&self) -> &[&'d Definition] {
        match self {
            Known::One(source) => std::slice::from_ref(source),
            Known::Joined(sources) => sources,
        }
    }

    /// The names of the sources whose tables go by `source.table`; none where tables go by their own names.
    pub fn joined(&self) -> impl Iterator<Item = &'d str> {
        let sources: &[&'d Definition] = match self {
            Known::One(_) => &[],
            Known::Joined(sources) => sources,
        };
        sources.iter().map(|source| source.name.as_str())
    }

    /// The names of those of which no model can have two answers that are of one state.
    pub fn asked_once(&self) -> impl Iterator<Item = &'d str> {
        let is_asked_once = |source: &&&'d Definition| matches!(source.access, Access::MySql(_));
        self.sources().iter().filter(is_asked_once).map(|source| source.name.as_str())
    }

    fn name(&self, source: &Definition, table: &str) -> TableReference {
        match self {
            Known::One(_) => TableReference::bare(table),
            Known::Joined(_) => TableReference::partial(source.name.as_str(), table),
        }
    }

    /// Whether SQL may name a table so.
    pub fn has(&self, name: &TableReference) -> bool {
        match (self, name) {
            (Known::One(source), TableReference::Bare { table }) => source.has_table(table),
            (Known::Joined(sources), TableReference::Partial { schema, table }) => {
                let mut sources = sources.iter().filter(|source| *source.name == **schema);
                sources.any(|source| source.has_table(table))
            }
            _ => false,
        }
    }

    /// What SQL has to say for a table of this name, of whichever source.
    pub fn meant(&self, table: &str) -> Option<TableReference> {
        let mut sources = self.sources().iter().filter(|source| source.has_table(table));
        sources.next().map(|source| self.name(source, table))
    }

    /// All names, as SQL has to say them.
    pub fn names(&self) -> Vec<String> {
        let of = |source: &&'d Definition| {
            let source = *source;
            source.tables().map(move |table| self.name(source, table).to_quoted_string())
        };
        self.sources().iter().flat_map(of).collect()
    }

    /// The tables of these names, in the order of the config.
    pub fn read(&self, names: &[TableReference]) -> Vec<Named<'d>> {
        let mut read = Vec::with_capacity(names.len());
        for source in self.sources() {
            for table in source.tables() {
                let is_read = |name: &&TableReference| {
                    name.table() == table && name.schema().is_none_or(|of| of == source.name)
                };
                let named = names.iter().find(is_read);
                read.extend(named.map(|name| Named { name: name.clone(), source }));
            }
        }
        read
    }

    /// What the snapshot's header keeps of the sources: [`Definition::described`] of the tables read, and of several
    /// sources each of those that the model reads a table of, in whatever order it names them.
    pub fn described(&self, read: &[Named<'_>]) -> String {
        let of = |source: &Definition| {
            let names = read.iter().filter(|named| named.source.name == source.name);
            source.described(&names.map(|named| named.name.table()).collect::<Vec<_>>())
        };
        match self {
            Known::One(source) => of(source).to_string(),
            Known::Joined(sources) => {
                let is_read = |source: &&&'d Definition| {
                    read.iter().any(|named| named.source.name == source.name)
                };
                let mut sources: Vec<_> = sources.iter().filter(is_read).collect();
                sources.sort_by(|a, b| a.name.cmp(&b.name));
                sources.into_iter().map(|source| of(source)).collect::<Value>().to_string()
            }
        }
    }
}
