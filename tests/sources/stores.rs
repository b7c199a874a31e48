//! What is played against object stores, and against servers on the web.

mod cursor;
mod delta;
mod described;
pub mod ends;
mod files;
mod https;
mod reads;
mod refusals;
mod web;

use super::Scenario;
use super::servers::seaweed::Seaweed;
use super::shared;
use super::support::oracle::Oracle;
use super::support::people::Person;
use super::support::workspace::{Setup, Workspace};
use super::support::{parquet, people};

/// All, by name.
pub const SCENARIOS: [Scenario<Seaweed>; 32] = [
    (
        "a mirror follows objects of every format and skips them unread while they are the same",
        reads::mirror,
    ),
    ("a long-lived server sees a new object in its next run", reads::long_lived),
    ("a run says what listing cost as the store has counted it", reads::cost),
    ("keys of any kind are found and read", reads::keys),
    (
        "an object that vanished holds its deletes and an empty listing deletes nothing",
        reads::vanished,
    ),
    ("a completion marker alone is no table", reads::lone_marker),
    ("a page of a listing that is not the last is gone on with", reads::cut_listing),
    ("directories of objects are columns and one that vanished holds", files::directories),
    ("an answer that breaks off is taken up again or is no answer", ends::cut),
    ("a long read that breaks off again and again goes on where it ended", ends::long),
    ("a first run that broke off has seen no end that a cut text could lack", ends::unseen),
    ("what is taken up is the rest of the answer, or is no answer", web::other_rest),
    ("a silent store is given up by name", ends::silent),
    ("what is wrong with a store is named and no secret is told", refusals::refused),
    ("a doctor tells how a store stands to us and what is in it", described::doctor),
    ("a file on the web is read as its server can tell of it", web::tagged),
    ("a file on the web that was just changed, or is another's, proves nothing", web::at_rest),
    ("what a server on the web cannot do is named", web::refused),
    ("objects are read over TLS and skipped while they are the same", https::objects),
    ("a server whose certificate is not believed is named by what it lacks", https::distrusted),
    ("a stop ends a greeting of TLS at once", https::stopped),
    ("a mirror follows a Delta table and skips a version unread", delta::mirror),
    ("a long-lived server sees a new version of a Delta table", delta::long_lived),
    ("a run says what finding a version cost as the store has counted it", delta::cost),
    ("a Delta table that went back or lost its log deletes nothing", delta::went_back),
    ("a data file of fewer rows than the log says is no answer", delta::short),
    ("a Delta table that was restored and has caught up deletes nothing", delta::caught_up),
    ("a cursor over objects restricts what is sent", cursor::objects),
    ("a cursor over a Delta table restricts what is sent", cursor::delta),
    ("a version goes on from another as lists tell it, and what is not told holds", delta::looks),
    ("a commit that is written anew while the log is replayed is no answer", delta::rewritten),
    ("an unchanged Delta table is skipped by one list, however long its log is", delta::long_log),
];

/// A workspace whose one model reads the table `people`, which is made of what this location names.
pub fn workspace(oracle: &Oracle, source: &str) -> Workspace {
    let head = "server: { listen: 127.0.0.1:0 }";
    let setup =
        Setup { head, rests: true, batch: 100, max_deletes: Some("100%"), ..Setup::default() };
    let workspace = Workspace::new(oracle, setup);
    shared::reads(&workspace, source);
    workspace
}

/// The source of a config that reads this location by way of the store at this port. `more` is said of the store.
pub fn source(port: u16, bucket: &str, location: &str, more: &str) -> String {
    format!(
        "lake: {{ store: {{ s3: {{ endpoint: \"http://127.0.0.1:{port}\", access_key_id: reader, \
         secret_access_key: \"${{TOKEN}}\" }}{more} }}, files: {{ people: \"s3://{bucket}/{location}\" }} }}"
    )
}

pub fn ndjson(people: &[Person]) -> Vec<u8> {
    people.iter().flat_map(|person| format!("{}\n", person.record()).into_bytes()).collect()
}

pub fn parquet_file(people: &[Person]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("people.parquet");
    parquet::write(&path, &parquet::people(people), 100);
    std::fs::read(path).expect("it was just written")
}

/// People with this counter.
pub fn of_age(ids: std::ops::RangeInclusive<u32>, counter: u32) -> Vec<Person> {
    ids.map(|id| Person::new(id, counter)).collect()
}

/// How the oracle must show them.
#[track_caller]
pub fn assert_holds(oracle: &Oracle, people: &[Person]) {
    assert!(oracle.table() == people::expected(people), "it holds something else");
}
