//! What the destination holds against what the source holds, record by record.
//!
//! Pure. A record counts as equal only when every field is; NULL is a value. Where the sync never deletes, records that
//! left the source are kept on purpose: they are counted apart, and only if the source really had them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::object::{Object, Record};

/// Keys that are named of those that differ.
const EXAMPLES: usize = 5;

/// One object, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub object: Object,
    /// Rows of the source's model.
    pub source: usize,
    /// Records at the destination.
    pub destination: usize,
    pub equal: usize,
    /// In the source only.
    pub missing: usize,
    /// At the destination only, and not kept on purpose.
    pub extra: usize,
    /// At both, with different fields.
    pub stale: usize,
    /// At the destination only, as the sync never deletes.
    pub kept: usize,
    /// A few keys that are missing, extra or stale.
    pub examples: Vec<String>,
}

impl Comparison {
    pub fn is_equal(&self) -> bool {
        self.missing + self.extra + self.stale == 0
    }
}

/// Compares one object. `kept`: keys that the source once had and that may stay.
pub fn compare(
    object: Object,
    source: &BTreeMap<String, Record>,
    destination: &BTreeMap<String, Record>,
    kept: &BTreeSet<String>,
) -> Comparison {
    let mut comparison = Comparison {
        object,
        source: source.len(),
        destination: destination.len(),
        equal: 0,
        missing: 0,
        extra: 0,
        stale: 0,
        kept: 0,
        examples: Vec::new(),
    };
    for (key, row) in source {
        match destination.get(key) {
            Some(record) if record == row => comparison.equal += 1,
            Some(_) => comparison.count(key, |counts| &mut counts.stale),
            None => comparison.count(key, |counts| &mut counts.missing),
        }
    }
    for key in destination.keys().filter(|key| !source.contains_key(*key)) {
        if kept.contains(key) {
            comparison.kept += 1;
        } else {
            comparison.count(key, |counts| &mut counts.extra);
        }
    }
    comparison
}

impl Comparison {
    fn count(&mut self, key: &str, which: impl FnOnce(&mut Comparison) -> &mut usize) {
        *which(self) += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn records(values: &[(&str, Value)]) -> BTreeMap<String, Record> {
        let record = |value: &Value| json!({ "value": value }).as_object().unwrap().clone();
        values.iter().map(|(key, value)| ((*key).to_owned(), record(value))).collect()
    }

    fn compared(source: &[(&str, Value)], destination: &[(&str, Value)]) -> Comparison {
        let (source, destination) = (records(source), records(destination));
        compare(Object::Customers, &source, &destination, &BTreeSet::from(["left".to_owned()]))
    }

    #[test]
    fn what_is_the_same_on_both_sides_is_equal() {
        let both = [("1", json!("a")), ("2", Value::Null)];
        let comparison = compared(&both, &both);
        assert!(comparison.is_equal());
        assert_eq!((comparison.equal, comparison.source, comparison.destination), (2, 2, 2));
    }

    #[test]
    fn a_missing_an_extra_and_a_stale_record_are_each_found_and_named() {
        let source = [("1", json!("a")), ("2", json!("b"))];
        let missing = compared(&source, &source[..1]);
        let extra = compared(&source[..1], &source);
        let stale = compared(&source, &[("1", json!("a")), ("2", json!("c"))]);
        for comparison in [&missing, &extra, &stale] {
            assert!(!comparison.is_equal());
            assert_eq!(
                (comparison.equal, comparison.examples.as_slice()),
                (1, &["2".to_owned()][..])
            );
        }
        assert_eq!((missing.missing, extra.extra, stale.stale), (1, 1, 1));
    }

    #[test]
    fn null_is_neither_empty_nor_absent_and_a_number_is_no_text() {
        for (ours, theirs) in [(Value::Null, json!("")), (json!(7), json!("7"))] {
            assert_eq!(compared(&[("1", ours)], &[("1", theirs)]).stale, 1);
        }
        let (source, mut destination) = (records(&[("1", Value::Null)]), BTreeMap::new());
        destination.insert("1".to_owned(), Record::new());
        assert_eq!(compare(Object::Orders, &source, &destination, &BTreeSet::new()).stale, 1);
    }

    #[test]
    fn what_may_stay_is_counted_apart_and_is_no_difference() {
        let comparison = compared(&[], &[("left", json!("a"))]);
        assert!(comparison.is_equal());
        assert_eq!((comparison.kept, comparison.extra), (1, 0));
    }
}
