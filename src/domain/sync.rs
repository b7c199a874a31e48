//! What a sync is, as far as the pure rules and the run need it, and what of it the snapshot's header keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::guard::MaxDeletes;
use super::key_field::{KeyField, is_same_key};
use super::kind::KindReason;
use super::options::{Options, Recorded};
use super::source_change::source_change;

use crate::points;

/// Whether rows that left the source are deleted at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Upsert,
    Mirror,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Upsert => "upsert",
            Mode::Mirror => "mirror",
        })
    }
}

/// One field of the destination object and the SQL expression over the model's columns that fills it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub struct Mapped {
    pub field: String,
    pub expression: String,
    pub options: Options,
}

impl Mapped {
    /// Without options.
    pub fn plain<F: Into<String>, E: Into<String>>(field: F, expression: E) -> Mapped {
        Mapped { field: field.into(), expression: expression.into(), options: Options::default() }
    }
}

/// The fields that identify a record, as far as the definition alone says so: those that `key` names, else those that carry
/// the primary key's columns as they are. No mapping means every column under its own name.
pub fn delivered_key(
    key: &[String],
    mapping: &[Mapped],
    primary_key: &[String],
) -> Option<Vec<String>> {
    if !key.is_empty() || mapping.is_empty() {
        return Some(if key.is_empty() { primary_key } else { key }.to_vec());
    }
    let carrier = |column: &String| {
        let carries = |mapped: &&Mapped| mapped.expression.trim().trim_matches('"') == column;
        mapping.iter().find(carries).map(|mapped| mapped.field.clone())
    };
    primary_key.iter().map(carrier).collect()
}

/// The column that an expression is and nothing else: a word, or anything in double quotes.
pub fn column_name(expression: &str) -> Option<String> {
    let expression = expression.trim();
    let quoted = expression.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(name) = quoted {
        return (!name.is_empty() && !name.contains('"')).then(|| name.to_owned());
    }
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_word = expression.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && expression.chars().all(is_of_word);
    // As SQL does.
    is_word.then(|| expression.to_lowercase())
}

/// The sources that a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// Its tables go by their own names.
    One(String),
    /// In the order of the config; their tables go by `source.table`.
    Joined(Vec<String>),
}

/// A model: a query with a primary key over one source, or over several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    pub reads: Reads,
    pub sql: String,
    pub primary_key: Vec<String>,
    /// By which upsert syncs read no more than new rows.
    pub cursor: Option<Cursor>,
}

impl Model {
    /// The names of its sources, in the order of the config.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let names = match &self.reads {
            Reads::One(source) => std::slice::from_ref(source),
            Reads::Joined(sources) => sources,
        };
        names.iter().map(String::as_str)
    }

    pub fn reads(&self, source: &str) -> bool {
        self.sources().any(|name| name == source)
    }
}

/// When a run finds out which keys come more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckKeys {
    /// While rows are sent: the first row of such a key may have left by then.
    #[default]
    Streaming,
    /// Before anything is sent, by a pass over the key columns.
    First,
}

/// The limits of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLimits {
    pub max_deletes: MaxDeletes,
    /// Null and repeated keys and unencodable values above this fail the run.
    pub max_invalid: u64,
    pub drain_timeout: std::time::Duration,
}

/// The standing definition of a sync, validated; the request templates live with the destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Sync {
    pub name: String,
    pub model: Model,
    pub connection: String,
    pub mode: Mode,
    /// In the order of the file; empty means every column of the model under its own name.
    pub mapping: Vec<Mapped>,
    /// Fields that are not compared, where there is no mapping to say so.
    pub ignored: Vec<String>,
    /// The mapped fields that identify the record at the destination, in order; empty means the primary key's columns.
    pub key: Vec<String>,
    pub check_keys: CheckKeys,
    pub limits: RunLimits,
}

impl Sync {
    /// The columns of the model that make the delivered key, in its order, as far as the definition alone says so; `None` where
    /// a field of it is no column as it is.
    pub fn key_columns(&self) -> Option<Vec<String>> {
        let Sync { key, mapping, model, .. } = self;
        let fields = delivered_key(key, mapping, &model.primary_key)?;
        let column = |field: String| match mapping.iter().find(|mapped| mapped.field == field) {
            Some(mapped) => column_name(&mapped.expression),
            None => mapping.is_empty().then_some(field),
        };
        fields.into_iter().map(column).collect()
    }

    /// Whether records are identified by something else than the model's primary key, as far as the definition alone says so.
    pub fn has_other_key(&self) -> bool {
        let Sync { key, mapping, model, .. } = self;
        let usual = delivered_key(&[], mapping, &model.primary_key);
        !key.is_empty() && usual.is_none_or(|usual| usual != *key)
    }
}

/// What the snapshot's header records of the definition it was made under. Compared at each run's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The source's name and what the config says of those of its tables that the model reads: locations as they are
    /// written there, formats, CSV options. Stable over restarts, and over a move of the whole project.
    pub source: String,
    pub sql: String,
    pub mode: Mode,
    pub key: Vec<KeyField>,
    /// The account and the object that the sync writes, such as `https://crm.example.com/contacts`.
    pub destination: String,
    pub mapping: Vec<Mapped>,
    /// Everything that decides how a row looks in a request: body template, formats, rendering version.
    pub rendering: String,
    /// The version of the canonical encoding that keys are made with.
    pub encoding: u32,
    /// The version of the fingerprints, which a snapshot keeps for as long as an epoch stands; one that does not say it has
    /// those of version 1.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub fingerprints: u32,
}

#[cfg(test)]
impl Definition {
    /// A mirror of one row without a key.
    pub fn example() -> Definition {
        Definition {
            source: "lake".into(),
            sql: "SELECT 1".into(),
            mode: Mode::Mirror,
            key: Vec::new(),
            destination: "crm/people".into(),
            mapping: Vec::new(),
            rendering: "1".into(),
            encoding: 1,
            fingerprints: 2,
        }
    }
}

fn first_version() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_first_version(version: &u32) -> bool {
    *version == first_version()
}

/// What a changed definition means for the next run (design.md §3, Definition changes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinitionChange {
    None,
    /// The next run is full and opens a new epoch.
    NewEpoch(KindReason),
    /// Refused until `rebaseline`, or until a person says that the snapshot is true all the same, where it may be.
    Refused {
        why: String,
        may_be_kept: bool,
    },
}

impl Definition {
    /// What changed from `self`, the recorded definition, to `now`.
    pub fn change(&self, now: &Definition) -> DefinitionChange {
        if self.encoding != now.encoding {
            let (then, now) = (self.encoding, now.encoding);
            let why = format!(
                "the snapshot was made with encoding version {then}, this version writes {now}"
            );
            return DefinitionChange::Refused { why, may_be_kept: false };
        }
        if self.fingerprints > now.fingerprints {
            let (then, now) = (self.fingerprints, now.fingerprints);
            let why = format!(
                "the snapshot has fingerprints of version {then}, this version knows those up to {now}"
            );
            return DefinitionChange::Refused { why, may_be_kept: false };
        }
        if !is_same_key(&self.key, &now.key) {
            let (then, now) = (describe(&self.key), describe(&now.key));
            let why = format!("the key changed from `{then}` to `{now}`");
            return DefinitionChange::Refused { why, may_be_kept: true };
        }
        if self.destination != now.destination {
            let (then, now) = (&self.destination, &now.destination);
            let why = format!("the destination changed from `{then}` to `{now}`");
            return DefinitionChange::Refused { why, may_be_kept: true };
        }
        let is_missed = points::is_planted("rename_of_column_missed");
        if sorted(&self.mapping) != sorted(&now.mapping) && !is_missed {
            return DefinitionChange::NewEpoch(KindReason::MappingChanged);
        }
        if self.rendering != now.rendering {
            return DefinitionChange::NewEpoch(KindReason::RenderingChanged);
        }
        DefinitionChange::None
    }

    /// What changed from `self` to `now`, where a person says that the snapshot is true of the new key and destination.
    pub fn change_if_kept(&self, now: &Definition) -> DefinitionChange {
        let (key, destination) = (now.key.clone(), now.destination.clone());
        Definition { key, destination, ..self.clone() }.change(now)
    }

    /// Which of the facts that hold the first deletes differ from `baseline`; `None` if none does.
    pub fn hold_cause(&self, baseline: &Definition) -> Option<String> {
        if self.source != baseline.source {
            return Some(source_change(&baseline.source, &self.source));
        }
        let what = if self.sql != baseline.sql {
            "the model's SQL"
        } else if self.mode != baseline.mode && self.mode == Mode::Mirror {
            "the mode"
        } else if !is_same_key(&baseline.key, &self.key) {
            "the key"
        } else if self.destination != baseline.destination {
            "the destination"
        } else {
            return None;
        };
        Some(what.to_owned())
    }
}

fn sorted(mapping: &[Mapped]) -> Vec<&Mapped> {
    let mut sorted: Vec<&Mapped> = mapping.iter().collect();
    sorted.sort_by(|a, b| a.field.cmp(&b.field));
    sorted
}

fn describe(key: &[KeyField]) -> String {
    let fields: Vec<String> =
        key.iter().map(|field| format!("{} {}", field.name, field.data_type)).collect();
    fields.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_a_column_where_it_is_a_word_or_stands_in_quotes() {
        for (expression, column) in [
            ("id", Some("id")),
            (" Id ", Some("id")),
            ("\"Id\"", Some("Id")),
            ("\"a b\"", Some("a b")),
            ("\"a\"\"b\"", None),
            ("id + 1", None),
            ("lower(id)", None),
            ("7", None),
            ("'id'", None),
            ("t.id", None),
            ("\"\"", None),
        ] {
            assert_eq!(column_name(expression).as_deref(), column, "{expression}");
        }
    }

    #[test]
    fn a_model_reads_its_one_source_or_each_of_those_it_joins() {
        let model = |reads: Reads| Model {
            name: "m".into(),
            reads,
            sql: "SELECT 1".into(),
            primary_key: vec!["id".into()],
            cursor: None,
        };
        let one = model(Reads::One("lake".into()));
        assert_eq!(one.sources().collect::<Vec<_>>(), ["lake"]);
        assert!(one.reads("lake") && !one.reads("shop"));
        let joined = model(Reads::Joined(vec!["shop".into(), "lake".into()]));
        assert_eq!(joined.sources().collect::<Vec<_>>(), ["shop", "lake"]);
        assert!(joined.reads("lake") && joined.reads("shop") && !joined.reads("sea"));
    }

    fn definition() -> Definition {
        let mapped = |field: &str| Mapped::plain(field, field);
        Definition {
            sql: "SELECT id, name FROM people".into(),
            key: vec![KeyField { name: "id".into(), data_type: "Int64".into() }],
            mapping: vec![mapped("id"), mapped("name")],
            ..Definition::example()
        }
    }

    #[test]
    fn the_fields_that_carry_the_primary_key_identify_a_record_unless_others_are_named() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mapped = Mapped::plain::<&str, &str>;
        let mapping = [mapped("mail", "lower(email)"), mapped("id", " \"customer_id\" ")];
        let primary_key = words(&["customer_id"]);
        assert_eq!(delivered_key(&[], &mapping, &primary_key), Some(words(&["id"])));
        assert_eq!(delivered_key(&[], &[], &primary_key), Some(primary_key.clone()));
        let key = words(&["mail"]);
        assert_eq!(delivered_key(&key, &mapping, &primary_key), Some(key));
        assert_eq!(delivered_key(&[], &mapping[..1], &primary_key), None);
    }

    #[test]
    fn a_key_that_names_the_primary_key_is_no_other_key() {
        let mapped = Mapped::plain::<&str, &str>;
        let sync = |key: &[&str], mapping: &[Mapped]| Sync {
            name: "crm".into(),
            model: Model {
                name: "people".into(),
                reads: Reads::One("lake".into()),
                sql: "SELECT 1".into(),
                primary_key: vec!["customer_id".into()],
                cursor: None,
            },
            connection: "crm".into(),
            mode: Mode::Mirror,
            mapping: mapping.to_vec(),
            ignored: Vec::new(),
            key: key.iter().map(|field| (*field).to_owned()).collect(),
            check_keys: CheckKeys::Streaming,
            limits: RunLimits {
                max_deletes: MaxDeletes::Default,
                max_invalid: 0,
                drain_timeout: std::time::Duration::ZERO,
            },
        };
        let mapping = [mapped("mail", "email"), mapped("id", "customer_id")];
        for (key, is_other) in [(&[][..], false), (&["id"], false), (&["mail"], true)] {
            assert_eq!(sync(key, &mapping).has_other_key(), is_other, "{key:?}");
        }
        assert!(!sync(&["customer_id"], &[]).has_other_key());
        assert!(sync(&["id"], &mapping[..1]).has_other_key());
    }

    #[test]
    fn mapping_order_is_no_change_but_names_and_rendering_are() {
        let mut now = definition();
        now.mapping.reverse();
        assert_eq!(definition().change(&now), DefinitionChange::None);
        now.mapping[0].field = "full_name".into();
        assert_eq!(
            definition().change(&now),
            DefinitionChange::NewEpoch(KindReason::MappingChanged)
        );
        now = Definition { rendering: "2".into(), ..definition() };
        assert_eq!(
            definition().change(&now),
            DefinitionChange::NewEpoch(KindReason::RenderingChanged)
        );
        now = definition();
        now.mapping[1].options = Options::IGNORED;
        for (then, now) in [(&definition(), &now), (&now, &definition())] {
            assert_eq!(then.change(now), DefinitionChange::NewEpoch(KindReason::MappingChanged));
        }
    }

    #[test]
    fn a_definition_that_does_not_say_so_has_fingerprints_of_version_1() {
        let first = Definition { fingerprints: 1, ..definition() };
        let text = serde_json::to_string(&first).unwrap();
        assert!(!text.contains("fingerprints"));
        assert_eq!(serde_json::from_str::<Definition>(&text).unwrap(), first);
        let second = serde_json::to_string(&definition()).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&second).unwrap(), definition());
    }

    #[test]
    fn a_changed_key_type_or_destination_is_refused_by_name() {
        let mut now = definition();
        now.key[0].data_type = "Utf8".into();
        let DefinitionChange::Refused { why, may_be_kept: true } = definition().change(&now) else {
            panic!("a changed key type must be refused");
        };
        assert!(why.contains("id Int64") && why.contains("id Utf8"), "{why}");
        now.key[0].data_type = "Timestamp(ns)".into();
        let units = Definition {
            key: vec![KeyField { name: "id".into(), data_type: "Timestamp(s)".into() }],
            ..definition()
        };
        assert_eq!(units.change(&now), DefinitionChange::None);
        assert_eq!(units.hold_cause(&now), None);
        now = Definition { destination: "crm/leads".into(), ..definition() };
        assert!(matches!(definition().change(&now), DefinitionChange::Refused { .. }));
        assert_eq!(definition().change_if_kept(&now), DefinitionChange::None);
        assert_eq!(now.hold_cause(&definition()).as_deref(), Some("the destination"));
        // An older snapshot goes on with its fingerprints; a newer one is refused.
        let older = Definition { fingerprints: 1, ..definition() };
        assert_eq!(older.change(&definition()), DefinitionChange::None);
        let newer = definition().change_if_kept(&older);
        assert!(matches!(newer, DefinitionChange::Refused { may_be_kept: false, .. }));
        now.encoding = 2;
        let refused = definition().change_if_kept(&now);
        assert!(matches!(refused, DefinitionChange::Refused { may_be_kept: false, .. }));
    }

    #[test]
    fn changed_sql_and_upsert_turned_mirror_hold_deletes() {
        let baseline = definition();
        let now = Definition { sql: "SELECT 1".into(), ..definition() };
        assert_eq!(now.hold_cause(&baseline).as_deref(), Some("the model's SQL"));
        let upsert = Definition { mode: Mode::Upsert, ..definition() };
        assert_eq!(baseline.hold_cause(&upsert).as_deref(), Some("the mode"));
        assert_eq!(upsert.hold_cause(&baseline), None);
        assert_eq!(baseline.hold_cause(&baseline), None);
    }
}
