//! Tables whose columns, rows and keys are others than in the run before: what comes of it is sent, held or named.

use serde_json::{Value, json};

use super::place::{New, Place, Schema, guarded, workspace};
use super::sheet::Sheet;
use crate::stores::{assert_holds, of_age};
use crate::support::oracle::Oracle;
use crate::support::process::Finished;
use crate::support::workspace::{Report, Setup, Workspace};

/// A mirror of a table whose columns change.
struct Mirror<'p> {
    oracle: Oracle,
    place: Box<dyn Place + 'p>,
    workspace: Workspace,
    key: &'static [&'static str],
}

impl<'p> Mirror<'p> {
    /// The table has these columns and rows already.
    fn new(new: &New<'p>, first: &Sheet, setup: Setup) -> Mirror<'p> {
        let (oracle, place, key) = (Oracle::start(setup.key), new(), setup.key);
        place.put_sheet(first);
        let workspace = workspace(&oracle, &*place, Setup { batch: 100, ..setup });
        let mirror = Mirror { oracle, place, workspace, key };
        mirror.workspace.sync(&[]).expect(0, "succeeded", &[("delivered", first.count() as u64)]);
        mirror.assert_holds(first);
        mirror
    }

    /// The model asks for these columns alone from now on.
    fn select(&self, columns: &str) {
        let config = self.workspace.config_now();
        let asked = config.replace("SELECT * FROM", &format!("SELECT {columns} FROM"));
        assert_ne!(config, asked);
        self.workspace.write("counterflow.yaml", &asked);
    }

    #[track_caller]
    fn assert_holds(&self, sheet: &Sheet) {
        assert_eq!(self.oracle.table(), sheet.expected(self.key), "it holds something else");
    }

    /// A run over this table makes the destination like it.
    #[track_caller]
    fn follows(&self, sheet: &Sheet, counts: &[(&str, u64)]) -> Report {
        self.place.put_sheet(sheet);
        let report = self.workspace.sync(&[]);
        self.assert_holds(sheet);
        report.expect(0, "succeeded", counts)
    }

    /// A run over this table sends nothing, as there is nothing to send (I8).
    #[track_caller]
    fn rests(&self, sheet: &Sheet) {
        self.place.put_sheet(sheet);
        self.workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0), ("upserts", 0)]);
    }

    /// A run over this table fails and sends nothing; what it says.
    #[track_caller]
    fn refuses(&self, sheet: &Sheet) -> Finished {
        self.place.put_sheet(sheet);
        let before = self.oracle.request_count();
        let refused = self.workspace.run(&["sync", "people"]);
        assert!(matches!(refused.code, Some(1 | 2)), "it was taken: {refused:#?}");
        assert_eq!(self.oracle.request_count(), before, "something was sent");
        refused
    }

    /// As `refuses`, by the name of this column, which our words quote in one way and those of servers in others.
    #[track_caller]
    fn refuses_by(&self, column: &str, sheet: &Sheet) {
        let said = self.refuses(sheet).printed();
        let is_quoted = |quote| said.contains(&format!("{quote}{column}{quote}"));
        assert!(['`', '\'', '"'].into_iter().any(is_quoted), "no `{column}`: {said}");
    }

    /// A run over this table holds its deletes and names the rows that have no key of their own; all else is sent, by the first
    /// such run alone.
    #[track_caller]
    fn holds(&self, sheet: &Sheet, counts: &[(&str, u64)], words: &[&str]) {
        self.place.put_sheet(sheet);
        let told = self.workspace.run(&["sync", "people"]);
        assert!(self.oracle.deletes().is_empty(), "I5: {:?} were deleted", self.oracle.deletes());
        assert_eq!(told.code, Some(4), "{}", told.printed());
        told.expect_printed(words);
        let report = self.workspace.sync(&[]);
        assert!(self.oracle.deletes().is_empty(), "I5: {:?} were deleted", self.oracle.deletes());
        let report = report.expect(4, "partial", counts);
        assert_eq!(report.count("requests"), 0, "I8: {report:#?}");
    }
}

/// E4.
pub fn columns(new: &New<'_>) {
    let plan = |rows: Value| Sheet::new(&["id", "plan"], &rows);
    let seats = |rows: Value| Sheet::new(&["id", "plan", "seats"], &rows);
    let first = plan(json!([[1, "free"], [2, "pro"], [3, "pro"]]));
    let mirror = Mirror::new(new, &first.shortened("id"), Setup::default());
    // Others in order and width, the key among them.
    mirror.rests(&Sheet::new(&["plan", "id"], &json!([["free", 1], ["pro", 2], ["pro", 3]])));
    let sent = |report: Report| report.expect_kind("full", "mapping_changed");
    // One comes, by which a row that goes is none the less deleted.
    let rows = || json!([[1, "free", null], [2, "pro", 7]]);
    sent(mirror.follows(&seats(rows()), &[("upserts", 2), ("deleted", 1), ("held", 0)]));
    mirror.rests(&seats(rows()).shortened("seats"));
    // Its values are texts.
    let texts = seats(json!([[1, "free", "none"], [2, "pro", "7"]]));
    let schema = mirror.place.schema();
    if schema == Schema::Typed {
        mirror.follows(&texts, &[("upserts", 2), ("deletes", 0)]);
        mirror.rests(&texts);
        mirror.follows(&seats(rows()), &[("upserts", 2), ("deletes", 0)]);
    } else {
        mirror.refuses_by("seats", &texts);
        mirror.rests(&seats(rows()));
    }
    let last = if schema == Schema::OfRows {
        let both = |rows| Sheet::new(&["id", "plan", "seats", "chairs"], &rows);
        let renamed = both(json!([[1, "free", null, null], [2, "pro", null, 7]]));
        sent(mirror.follows(&renamed, &[("upserts", 2), ("deletes", 0)]));
        let last = both(json!([[1, "free", null, null], [2, "pro", null, null]]));
        mirror.follows(&last, &[("upserts", 1), ("deletes", 0)]);
        last
    } else {
        let renamed = Sheet::new(&["id", "plan", "chairs"], &rows());
        sent(mirror.follows(&renamed, &[("upserts", 2), ("deletes", 0)]));
        let last = plan(json!([[1, "free"], [2, "pro"]]));
        sent(mirror.follows(&last, &[("upserts", 2), ("deletes", 0)]));
        last
    };
    // The key is of another type, so that no record is known by it.
    let other = plan(json!([["1", "free"], ["b", "pro"]]));
    let remedies: &[&str] = match schema {
        Schema::Typed => &["the key changed", "rebaseline", "--keep-snapshot"],
        Schema::Named | Schema::OfRows => &["`id`", "pinned", "rebaseline"],
    };
    mirror.refuses(&other).expect_printed(remedies);
    mirror.rests(&last);
    mirror.assert_holds(&last);
    named(new);
}

/// Of columns that a mapping or a model names: others come and go, and are none of its business.
fn named(new: &New<'_>) {
    let setup = Setup { sync: "mapping: { id: id, plan: plan }", ..Setup::default() };
    let rows = || json!([[1, "free"], [2, "pro"]]);
    let first = Sheet::new(&["id", "plan"], &rows());
    let mirror = Mirror::new(new, &first, setup);
    let beside = json!([["x", 1, "free"], ["y", 2, "pro"]]);
    mirror.rests(&Sheet::new(&["note", "id", "plan"], &beside));
    if mirror.place.schema() == Schema::OfRows {
        let cleared = Sheet::new(&["id", "plan"], &json!([[1, null], [2, null]]));
        mirror.follows(&cleared, &[("upserts", 2), ("deletes", 0)]);
        let keyless = Sheet::new(&["plan"], &json!([["free"], ["pro"]]));
        mirror.holds(&keyless, &[("invalid", 2), ("held", 2)], &["NULL"]);
        mirror.follows(&first, &[("upserts", 2), ("held", 0)]);
        return;
    }
    let renamed = Sheet::new(&["id", "tier"], &rows());
    mirror.refuses_by("plan", &renamed);
    mirror.refuses_by("id", &Sheet::new(&["ident", "plan"], &rows()));
    mirror.select("id, plan");
    mirror.refuses_by("plan", &renamed);
    mirror.rests(&first);
    mirror.assert_holds(&first);
}

/// E5. A row that has no key, or that of another row, is named and counted, and nothing is deleted that it may have been.
pub fn keys(new: &New<'_>) {
    let sheet = |rows: Vec<Value>| Sheet::new(&["id", "plan"], &Value::Array(rows));
    let of = |ids: &[u32]| ids.iter().map(|id| json!([id, "a"])).collect::<Vec<_>>();
    let mirror = Mirror::new(new, &sheet(of(&[1, 2, 3, 4, 5, 6, 7, 8, 9])), Setup::default());
    // Changed in both rows, in one and in none; known to nobody; and one that leaves, and one that changes, by themselves. Of
    // two without a key none repeats the other.
    let mut repeated = of(&[1, 2, 4, 5, 5, 6, 8]);
    repeated.extend(
        [[3, 1], [3, 2], [4, 1], [7, 1], [10, 1], [10, 1]]
            .map(|[id, plan]| json!([id, format!("b{plan}")])),
    );
    repeated.extend([json!([null, "a"]), json!([null, "b"])]);
    let words = ["`3`", "`4`", "`5`", "`10`", "more than once", "NULL"];
    let counts = [("invalid", 10), ("upserts", 0), ("deletes", 1), ("held", 1)];
    mirror.holds(&sheet(repeated), &counts, &words);
    assert!(mirror.oracle.record("[10]").is_none(), "a repeated key was sent");
    assert_eq!(mirror.oracle.record("[7]").expect("it is known")["plan"], "b1", "the rest is sent");
    let mended = sheet(of(&[1, 2, 3, 4, 5, 6, 7, 8]));
    mirror.follows(&mended, &[("upserts", 1), ("deleted", 1), ("invalid", 0)]);
    mirror.rests(&mended);
    composite(new);
}

/// Of a key in two parts: NULL in one of them, parts that are others' together, and parts that are repeated alone.
fn composite(new: &New<'_>) {
    let sheet = |rows: Value| Sheet::new(&["region", "id", "plan"], &rows);
    let first = sheet(json!([["eu", 1, "a"], ["us", 1, "a"], ["eu", 2, "a"]]));
    let setup = Setup { key: &["region", "id"], ..Setup::default() };
    let mirror = Mirror::new(new, &first, setup);
    let rows = json!([["eu", 1, "a"], [null, 1, "a"], ["eu", null, "a"], ["us", 2, "a"]]);
    let counts = [("invalid", 2), ("upserts", 0), ("deletes", 2), ("held", 2)];
    mirror.holds(&sheet(rows), &counts, &["NULL"]);
    assert_eq!(mirror.oracle.table().len(), 4, "the rest is sent");
    let apart = sheet(json!([["e", 11, "x"], ["e1", 1, "y"], ["", 1, "z"]]));
    mirror.follows(&apart, &[("upserts", 3), ("deleted", 4), ("invalid", 0)]);
}

/// E11.
pub fn swap(new: &New<'_>) {
    let sheet = |rows: Value| Sheet::new(&["id", "plan", "old_plan"], &rows);
    let all = || sheet(json!([[1, "a", "x"], [2, "b", "x"], [3, "c", "d"]]));
    let less = || sheet(json!([[1, "a", "x"], [2, "b", "x"]]));
    let mirror = Mirror::new(new, &all(), Setup::default());
    mirror.follows(&less(), &[("deletes", 1), ("deleted", 1)]);
    mirror.follows(&all(), &[("upserts", 1), ("deletes", 0)]);
    // It goes and is back before anybody looks.
    mirror.place.put_sheet(&less());
    mirror.rests(&all());
    // Of two rows, and within one.
    let swapped = sheet(json!([[1, "b", "x"], [2, "a", "x"], [3, "d", "c"]]));
    mirror.follows(&swapped, &[("upserts", 3), ("deletes", 0)]);
    mirror.rests(&swapped);
}

/// E2. Deletes beyond the guard wait, run after run, and those within it do not.
pub fn shrinks(new: &New<'_>) {
    let (oracle, place) = (Oracle::start(&["id"]), new());
    place.put(&of_age(1..=40, 0));
    let workspace = guarded(&oracle, &*place, Setup { batch: 100, ..Setup::default() });
    workspace.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
    let left = of_age(12..=40, 1);
    place.put(&left);
    let first = workspace.sync(&[]).expect(4, "partial", &[("upserts", 29), ("held", 11)]);
    let again = workspace.sync(&["--full"]);
    assert!(oracle.deletes().is_empty(), "I13: {:?} were deleted", oracle.deletes());
    again.expect(4, "partial", &[("held", 11), ("deleted", 0)]);
    let yes = ["release", &first.run(), "-m", "they may go"];
    workspace.run(&yes).expect_code(0);
    assert_holds(&oracle, &left);
    let last = of_age(22..=40, 1);
    place.put(&last);
    workspace.sync(&[]).expect(0, "succeeded", &[("deleted", 10), ("held", 0)]);
    assert_holds(&oracle, &last);
    assert_eq!(workspace.sync(&[]).count("requests"), 0, "what is unchanged was sent");
}
