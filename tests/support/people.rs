//! Rows that tell their own expected value: (id, counter, checksum), and an email that is a canary.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Stands in every person's email, a column that is no key: it must be printed nowhere (I12).
pub const CANARY: &str = "canary.person";

/// One row of the people table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person {
    pub id: u32,
    /// Rises with each change of the person, so that an older state is known by it.
    pub counter: u32,
}

impl Person {
    pub fn new(id: u32, counter: u32) -> Person {
        Person { id, counter }
    }

    /// The key as the oracle shows it.
    pub fn key(self) -> String {
        key(self.id)
    }

    /// The person whose record this is, if it is whole.
    pub fn of(record: &Value) -> Option<Person> {
        let number = |field| u32::try_from(record.get(field)?.as_u64()?).ok();
        let person = Person::new(number("id")?, number("counter")?);
        (person.record() == *record).then_some(person)
    }

    /// The record as it must arrive.
    pub fn record(self) -> Value {
        let Person { id, counter } = self;
        json!({ "id": id, "counter": counter, "checksum": self.checksum(), "email": self.email() })
    }

    fn checksum(self) -> String {
        let digest = Sha256::digest(format!("{}/{}", self.id, self.counter));
        format!("c{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
    }

    fn email(self) -> String {
        format!("{CANARY}.{}@example.org", self.id)
    }
}

/// The key of the person with this id, as the oracle shows it.
pub fn key(id: u32) -> String {
    format!("[{id}]")
}

/// The keys of several persons.
pub fn keys(ids: impl IntoIterator<Item = u32>) -> std::collections::BTreeSet<String> {
    ids.into_iter().map(key).collect()
}

/// The persons with these ids, all at counter 1.
pub fn people(ids: impl IntoIterator<Item = u32>) -> Vec<Person> {
    ids.into_iter().map(|id| Person::new(id, 1)).collect()
}

/// A CSV file of these persons.
pub fn csv(people: &[Person]) -> String {
    let mut csv = String::from("id,counter,checksum,email\n");
    for person in people {
        let Person { id, counter } = person;
        csv.push_str(&format!("{id},{counter},{},{}\n", person.checksum(), person.email()));
    }
    csv
}

/// The table that the destination must hold when it mirrors these persons.
pub fn expected(people: &[Person]) -> BTreeMap<String, Value> {
    people.iter().map(|person| (person.key(), person.record())).collect()
}

/// Whether a record is a state that its own id and counter imply.
pub fn is_whole(record: &Value) -> bool {
    Person::of(record).is_some()
}
