//! What the fuzz targets may see of NDJSON: objects, and what a column of values is read as. Not in a release build.

use std::io::BufRead;

use datafusion::arrow::array::ArrayRef;

use super::super::text::ColumnPlan;
use super::inference::Candidates;
use super::lines::Lines;
use super::object::Object;
use super::rows::{builder, push};

/// One line: its number, and the members of its object with their JSON.
pub type Members = (u64, Vec<(String, String)>);

/// All objects up to the first damage, and whether there was none.
pub fn objects(input: impl BufRead) -> (Vec<Members>, bool) {
    let mut lines = Lines::new(input);
    let mut object = Object::default();
    let mut found = Vec::new();
    loop {
        match lines.next() {
            Ok(None) => return (found, true),
            Ok(Some((line, number))) if object.read(line).is_ok() => {
                let members = object.members();
                let owned = members.map(|it| (it.name.to_owned(), it.json.to_owned())).collect();
                found.push((number, owned));
            }
            _ => return (found, false),
        }
    }
}

/// The column that these values are inferred to be, with the name of its type; `None` where all are null, `Some(Err(n))`
/// where value n does not fit the type that was inferred from it.
pub fn inferred(values: &[&str]) -> Option<Result<(String, ArrayRef), usize>> {
    let mut candidates = Candidates::default();
    let objects = values.iter().map(|value| {
        let mut object = Object::default();
        object.read(format!("{{\"v\":{value}}}").as_bytes()).expect("they are JSON");
        object
    });
    let objects: Vec<Object> = objects.collect();
    let members = || objects.iter().flat_map(Object::members);
    members().for_each(|member| candidates.see(member));
    let column_type = candidates.decide()?;
    let plan = ColumnPlan { name: "v".to_owned(), column_type, is_declared: false };
    let mut column = builder(column_type);
    for (place, member) in members().enumerate() {
        if !push(&plan, &mut column, member) {
            return Some(Err(place));
        }
    }
    Some(Ok((column_type.to_string(), column.finish())))
}
