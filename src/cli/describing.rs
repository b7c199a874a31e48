//! What models would give, as `validate --sources` shows it: their columns, and how each field of a sync will look in JSON.
//!
//! Not responsible for what is found (`engine::describing`).

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::order::MEMORY_LIMIT;
use crate::config::Config;
use crate::domain::sync::Model;
use crate::engine::describing::{self, Asked};
use crate::source::{ColumnSeen, Described, Error, FieldSeen, Pins, volatile};
use crate::store::{self, Store};

/// Letters of a cell that others are set behind; a longer one moves its line alone.
const WIDEST: usize = 40;

/// A model as it was seen, for one sync where one reads it.
pub struct Seen {
    model: String,
    sync: Option<String>,
    described: Result<Described, Error>,
}

/// Opens the models of these names, or all.
pub async fn describe(config: &Config, names: &[String]) -> Result<Vec<Seen>, Failure> {
    let models = chosen(config, names)?;
    let store = match Store::open_beside(&config.state).await {
        Ok(store) => Some(store),
        Err(store::Error::Absent(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let (mut asked, mut of) = (Vec::new(), Vec::new());
    for model in models {
        let sources = || -> Vec<_> {
            config.sources_of_model(model).map(|source| Arc::new(source.clone())).collect()
        };
        let mut is_read = false;
        for sync in config.syncs.iter().filter(|sync| sync.sync.model.name == model.name) {
            let name = &sync.sync.name;
            asked.push(Asked::of_sync(&sync.sync, sources(), pins(store.as_ref(), name).await?));
            of.push((model.name.clone(), Some(name.clone())));
            is_read = true;
        }
        if !is_read {
            asked.push(Asked::of_model(model, sources()));
            of.push((model.name.clone(), None));
        }
    }
    let memory_limit = config.memory_limit.unwrap_or(MEMORY_LIMIT);
    let described = describing::describe(asked, memory_limit).await;
    let described = described.map_err(|error| Failure::of(&error))?;
    let seen = of.into_iter().zip(described);
    Ok(seen.map(|((model, sync), described)| Seen { model, sync, described }).collect())
}

fn chosen<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Model>, Failure> {
    if let Some(name) = names.iter().find(|name| !config.models.contains_key(*name)) {
        let known: Vec<&str> = config.models.keys().map(String::as_str).collect();
        let (path, known) = (config.path.display(), known.join("`, `"));
        return Err(Failure::usage(format!(
            "there is no model `{name}` in `{path}`; it has `{known}`"
        )));
    }
    let models = config.models.values();
    Ok(models.filter(|model| names.is_empty() || names.contains(&model.name)).collect())
}

/// The types that the sync's runs go by; what cannot be read is as if no run had been.
async fn pins(store: Option<&Store>, sync: &str) -> Result<Pins, Failure> {
    let Some(store) = store else { return Ok(Pins::default()) };
    let pins = store.pins(sync).await?;
    Ok(pins.and_then(|pins| serde_json::from_str(&pins).ok()).unwrap_or_default())
}

impl Seen {
    fn refusals(&self) -> Vec<&Error> {
        match &self.described {
            Ok(described) => described.refusals(),
            Err(error) => vec![error],
        }
    }

    /// As a run would say it.
    fn warnings(&self, described: &Described) -> Vec<String> {
        described.volatile.iter().map(|used| volatile::told(&self.model, used)).collect()
    }

    pub fn to_json(&self) -> Value {
        let field = |seen: &FieldSeen| {
            let refused = seen.json.as_ref().err().map(ToString::to_string);
            json!({ "field": seen.field, "json": seen.json.as_ref().ok(), "refused": refused })
        };
        let described = self.described.as_ref().ok();
        let refused: Vec<String> = self.refusals().iter().map(ToString::to_string).collect();
        json!({
            "model": self.model,
            "sync": self.sync,
            "columns": described.map(|it| json!(it.columns)),
            "versions": described.map(|it| json!(it.versions)),
            "differences": described.map(|it| &it.differences),
            "warnings": described.map(|it| self.warnings(it)),
            "fields": described.map(|it| it.fields.iter().map(field).collect::<Vec<_>>()),
            "problems": refused,
        })
    }
}

/// As bad as the worst of them.
pub fn exit(seen: &[Seen]) -> Exit {
    let refusals = seen.iter().flat_map(Seen::refusals).collect::<Vec<_>>();
    match refusals.iter().any(|error| error.is_config_fault()) {
        true => Exit::Usage,
        false if refusals.is_empty() => Exit::Done,
        false => Exit::Failed,
    }
}

/// For people; the columns of a model stand before the first of its syncs, unless they are others.
pub fn human(seen: &[Seen]) -> String {
    let mut text = String::new();
    let mut last: Option<(&str, &[ColumnSeen])> = None;
    for one in seen {
        let columns = one.described.as_ref().map_or(&[][..], |described| &described.columns);
        if last != Some((&one.model, columns)) {
            let _ = writeln!(text, "\nmodel `{}`", one.model);
            // Files have no names of their own for types.
            let has_types = columns.iter().any(|column| column.source_type.is_some());
            let heads = match has_types {
                true => &["column", "NULL", "type", "in the source"][..],
                false => &["column", "NULL", "type"],
            };
            text.push_str(&table(heads, columns.iter().map(row)));
            last = Some((&one.model, columns));
        }
        if let Ok(described) = &one.described {
            for seen in &described.versions {
                let _ = writeln!(text, "  Delta table `{}`: {seen}", seen.table);
            }
            for difference in &described.differences {
                let _ = writeln!(text, "  united: {difference}");
            }
            for warning in one.warnings(described) {
                let _ = writeln!(text, "  warning: {warning}");
            }
            let who = one.sync.as_ref().map_or_else(
                || "as a sync without a mapping would send it".to_owned(),
                |sync| format!("as `{sync}` sends it"),
            );
            let _ = writeln!(text, "  {who}");
            let fields = described.fields.iter().map(|seen| {
                let json = seen.json.clone();
                vec![seen.field.clone(), json.unwrap_or_else(|_| "refused".to_owned())]
            });
            text.push_str(&table(&["field", "in JSON"], fields));
        }
        for error in one.refusals() {
            let _ = writeln!(text, "  not well: {error}");
        }
    }
    text
}

fn row(column: &ColumnSeen) -> Vec<String> {
    let null = if column.is_nullable { "may be" } else { "never" };
    let source_type = column.source_type.clone().unwrap_or_default();
    vec![column.name.clone(), null.to_owned(), column.data_type.clone(), source_type]
}

/// Lines whose cells stand below each other; nothing where there is none.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = vec![heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    if lines.len() == 1 {
        return String::new();
    }
    let length = |cell: &String| cell.chars().count();
    let widths: Vec<usize> = (0..heads.len())
        .map(|place| lines.iter().map(|line| length(&line[place])).filter(|it| *it <= WIDEST).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut said = String::from("   ");
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(said, " {cell:<width$} ");
        }
        let _ = writeln!(text, "{}", said.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, source_type: Option<&str>) -> ColumnSeen {
        ColumnSeen {
            name: name.into(),
            source_type: source_type.map(str::to_owned),
            data_type: "Int64".into(),
            is_nullable: true,
        }
    }

    fn seen(sync: &str, fields: &[(&str, Result<&str, Error>)]) -> Seen {
        let field = |(field, json): &(&str, Result<&str, Error>)| FieldSeen {
            field: (*field).into(),
            json: json.clone().map(str::to_owned),
        };
        let described = Described {
            columns: vec![column("id", Some("int8")), column("a long name", None)],
            versions: Vec::new(),
            differences: vec!["files differ".into()],
            volatile: vec!["now".into()],
            fields: fields.iter().map(field).collect(),
            refused: None,
        };
        Seen { model: "m".into(), sync: Some(sync.into()), described: Ok(described) }
    }

    #[test]
    fn columns_stand_once_before_the_fields_of_each_sync_and_below_each_other() {
        let warning = volatile::told("m", "now");
        let fields = [("id", Ok("whole number")), ("x", Err(Error::Mapping("x is wrong".into())))];
        let both = [seen("one", &fields[..1]), seen("two", &fields)];
        let expected = format!(
            "
model `m`
    column       NULL    type   in the source
    id           may be  Int64  int8
    a long name  may be  Int64
  united: files differ
  warning: {warning}
  as `one` sends it
    field  in JSON
    id     whole number
  united: files differ
  warning: {warning}
  as `two` sends it
    field  in JSON
    id     whole number
    x      refused
  not well: x is wrong
"
        );
        assert_eq!(human(&both), expected);
        assert_eq!((exit(&both[..1]), exit(&both)), (Exit::Done, Exit::Usage));
        let gone = Error::Missing("gone".into());
        let gone = Seen { model: "m".into(), sync: None, described: Err(gone) };
        assert_eq!(exit(std::slice::from_ref(&gone)), Exit::Failed);
        assert_eq!(human(&[gone]), "\nmodel `m`\n  not well: gone\n");
    }
}
