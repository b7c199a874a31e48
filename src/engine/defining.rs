use super::opening::{self, Asked, Refused};
use super::order::Order;
use super::prepare::{Error, folder};
use crate::delta::fingerprint;
use crate::destination::Destination;
use crate::domain::key_field::KeyField;
use crate::domain::kind::Choice;
use crate::domain::sync::{Definition, Mapped};
use crate::domain::value::ENCODING_VERSION;
use crate::snapshot::header::Header;
use crate::source::{FieldInfo, Reading, key_type_name};

/// The definition of a run, as the snapshot's header is to keep it.
pub(super) fn define(order: &Order, reading: &Reading, destination: &Destination) -> Definition {
    let mapping = if order.sync.mapping.is_empty() {
        let identity = |field: &FieldInfo| Mapped {
            options: field.options.clone(),
            ..Mapped::plain(&*field.name, &*field.name)
        };
        reading.fields.iter().map(identity).collect()
    } else {
        order.sync.mapping.clone()
    };
    let key = reading.key.iter().map(|index| &reading.fields[*index]).map(|field| KeyField {
        name: field.name.clone(),
        data_type: key_type_name(&field.data_type) + field.options.form.of_key(),
    });
    Definition {
        source: reading.source.clone(),
        sql: order.sync.model.sql.clone(),
        mode: order.sync.mode,
        key: key.collect(),
        destination: destination.identity(),
        mapping,
        rendering: destination.rendering(),
        encoding: ENCODING_VERSION,
        fingerprints: fingerprint::VERSION,
    }
}

/// The kind of a run of this definition over that snapshot.
///
/// # Errors
/// A person has to say what becomes of the snapshot first.
pub(super) fn choose(
    order: &Order,
    header: Option<&Header>,
    now: &Definition,
) -> Result<Choice, Error> {
    let asked = Asked {
        is_full: order.is_full,
        keeps_snapshot: order.keeps_snapshot,
        is_set_aside: is_set_aside(order),
    };
    opening::choose(header, now, asked).map_err(|Refused { why, may_be_kept }| {
        let sync = order.sync.name.clone();
        match may_be_kept {
            true => Error::DefinitionChanged(why, sync),
            false => Error::EncodingChanged(why, sync),
        }
    })
}

/// Whether an earlier snapshot of the sync lies in an archive beside this one.
fn is_set_aside(order: &Order) -> bool {
    let is_archive = |name: std::ffi::OsString| name.to_string_lossy().starts_with("archive-");
    std::fs::read_dir(folder(&order.state, &order.sync.name))
        .is_ok_and(|entries| entries.flatten().any(|entry| is_archive(entry.file_name())))
}
