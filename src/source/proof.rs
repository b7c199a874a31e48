//! Positive proof that a read came to its end, and what of the last complete set is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Completeness, Facts};
use super::watched::Watched;
use crate::domain::file::FileFact;
use crate::points::is_planted;

/// What a read began with; made before the first byte of it is read.
#[derive(Debug)]
#[must_use = "a read without its proof proves nothing"]
pub struct Proof {
    /// One a table.
    watched: Vec<Watched>,
}

/// What a read is judged against.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// Those of the last complete read, or of the first one where none was complete yet.
    pub files: &'a [FileFact],
    /// It was complete: what it does not know of how texts end, it had no need to know.
    pub was_complete: bool,
}

/// What a proven read has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Why it does not go on from what the earlier read had, one reason each, where that had to be asked for; [`vanished`] has
    /// the others.
    pub left: Vec<String>,
    /// As when it began, and with what only a read to the end tells of files.
    pub facts: Facts,
}

/// Why a read cannot be believed to be complete; nothing may be deleted after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; run again when the files are at rest")]
pub struct Unproven {
    pub reason: String,
}

impl Proof {
    pub(super) fn of(watched: Vec<Watched>) -> Proof {
        Proof { watched }
    }

    pub(super) fn facts(&self) -> Facts {
        Watched::facts(&self.watched)
    }

    /// Whether what was read is as it was when the read began. To be asked after every partition ended without an error;
    /// before that it proves nothing. And how it goes on from what an `earlier` read had. May block on the file system.
    ///
    /// # Errors
    /// It is not, and why.
    pub async fn verify(self, earlier: &[FileFact]) -> Result<Verified, Unproven> {
        let mut left = Vec::new();
        for watched in &self.watched {
            left.extend(watched.verify(earlier).await?);
        }
        Ok(Verified { left, facts: self.facts() })
    }
}

/// What of the file set of the last complete read is gone, one reason each; empty if nothing is. For tables declared
/// `rewritten` names prove nothing: there, fewer files or a missing completion marker are the reasons. A text file that
/// ends within a line was cut, unless those of the last complete read had such an end too. An object of which its store
/// cannot say whether it changed may have been two while it was read. A table that counts its versions is one with the same id
/// and no older version.
pub fn vanished(earlier: Earlier<'_>, now: &[FileFact], rewritten: &[Completeness]) -> Vec<String> {
    let (mut reasons, last) = (Vec::new(), earlier.files);
    for completeness in rewritten {
        let table = &completeness.table;
        let count = |files: &[FileFact]| files.iter().filter(|file| file.table == *table).count();
        let (before, after) = (count(last), count(now));
        if completeness.is_marker_missing {
            reasons.push(format!("the completion marker of table `{table}` is missing"));
        }
        if after < before {
            reasons.push(format!("table `{table}` has {after} files, before it had {before}"));
        }
    }
    let present = now.iter().map(|file| (&file.table, &file.path)).collect::<BTreeSet<_>>();
    let is_rewritten = |name: &str| rewritten.iter().any(|table| table.table == name);
    for file in last.iter().filter(|file| !is_rewritten(&file.table)) {
        if !present.contains(&(&file.table, &file.path)) {
            reasons.push(format!("file `{}` of table `{}` is gone", file.path, file.table));
        }
    }
    for file in now.iter().filter(|file| file.is_untold()) {
        let (table, path) = (&file.table, &file.path);
        reasons.push(format!(
            "file `{path}` of table `{table}` has no ETag, or was changed within 2 s before it was looked at, so that a \
             change of it during the read need not show"
        ));
    }
    reasons.extend(now.iter().filter_map(|file| went_back(last, file)));
    let ways = ways(last);
    for file in now.iter().filter(|file| is_cut(earlier, &ways, file)) {
        let (table, path) = (&file.table, &file.path);
        reasons.push(format!("file `{path}` of table `{table}` ends within a line"));
    }
    reasons
}

/// What is wrong with the version of a table that counts them.
fn went_back(last: &[FileFact], now: &FileFact) -> Option<String> {
    let (table, path, version) = (&now.table, &now.path, now.version()?);
    let before = last.iter().find(|file| file.table == *table && file.path == *path)?;
    let before = before.version()?;
    let (from, to) = (before.number, version.number);
    if version.id != before.id {
        return Some(format!(
            "`{path}` of table `{table}` is another Delta table than it was (id `{}`, before it was `{}`)",
            version.id, before.id
        ));
    }
    if to == from && version.commit != before.commit {
        let is_told = version.commit != "-" && before.commit != "-";
        let why = match is_told {
            true => "is of another commit than it was",
            false => {
                "has no commit in its log, or had none before, so that a restore need not show"
            }
        };
        return Some(format!("version {to} of the Delta table `{path}` (table `{table}`) {why}"));
    }
    let is_older = to < from && !is_planted("delta_version_older_accepted");
    is_older.then(|| {
        format!("the Delta table `{path}` (table `{table}`) went back from version {from} to {to}")
    })
}

/// Whether a file ends within a line, and that is not known to be the way of its table. Where of none of its files it is known
/// how they ended, a complete read says nothing by that, as a query need not read a file to its end; one that broke off has
/// seen no end, and what it has sent may have been behind this one.
fn is_cut(earlier: Earlier<'_>, ways: &BTreeMap<&str, bool>, file: &FileFact) -> bool {
    file.ends_within_line == Some(true)
        && match ways.get(&*file.table) {
            Some(is_within_line) => !is_within_line,
            None => !earlier.was_complete && !is_planted("unseen_end_believed"),
        }
        && !is_planted("cut_text_believed")
}

/// Of each table of which it is known how files of it ended, whether one did so within a line.
fn ways(last: &[FileFact]) -> BTreeMap<&str, bool> {
    let mut ways = BTreeMap::new();
    for file in last {
        if let Some(is_within_line) = file.ends_within_line {
            *ways.entry(&*file.table).or_default() |= is_within_line;
        }
    }
    ways
}

/// The files of a read as later reads are to be judged against them, after the `last` complete one. How a file ends that a
/// query had no need to read to its end is as it was known last. That files end within a line does not become their table's
/// way by happening once, unless a person `vouched` for it.
pub fn remembered(last: &[FileFact], mut now: Vec<FileFact>, is_vouched: bool) -> Vec<FileFact> {
    let known = last.iter().filter(|file| file.ends_within_line.is_some());
    let known: BTreeMap<_, _> =
        known.map(|file| ((&file.table, &file.path), file.ends_within_line)).collect();
    let ways = ways(last);
    for file in &mut now {
        let is_first_cut = !is_vouched && ways.get(&*file.table) == Some(&false);
        file.ends_within_line = match file.ends_within_line {
            None => known.get(&(&file.table, &file.path)).copied().flatten(),
            Some(is_within_line) => Some(is_within_line && !is_first_cut),
        };
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::file::TableVersion;

    /// What is missed by a read that has these, after a complete one that had those.
    fn vanished(last: &[FileFact], now: &[FileFact], rewritten: &[Completeness]) -> Vec<String> {
        super::vanished(Earlier { files: last, was_complete: true }, now, rewritten)
    }

    fn file(table: &str, path: &str) -> FileFact {
        FileFact {
            table: table.into(),
            path: path.into(),
            size: 1,
            inode: 1,
            changed: 1,
            ends_within_line: Some(false),
            etag: None,
        }
    }

    #[test]
    fn a_file_that_ends_within_a_line_is_named_where_that_is_not_its_tables_way() {
        let cut = |path| FileFact { ends_within_line: Some(true), ..file("t", path) };
        let whole = [file("t", "/a"), file("t", "/b")];
        let reasons = vanished(&whole, &[file("t", "/a"), cut("/b")], &[]);
        assert_eq!(reasons, ["file `/b` of table `t` ends within a line"]);
        assert!(vanished(&[cut("/a")], &[cut("/a"), cut("/b")], &[]).is_empty());
        assert!(vanished(&[cut("/a")], &[file("t", "/a")], &[]).is_empty());
        assert!(vanished(&[file("u", "/c")], &[file("u", "/c"), cut("/a")], &[]).is_empty());
    }

    #[test]
    fn what_an_older_version_did_not_write_down_gives_no_verdict() {
        let cut = FileFact { ends_within_line: Some(true), ..file("t", "/a") };
        let old = r#"{"table":"t","path":"/a","size":1,"inode":1,"changed":1}"#;
        let old: FileFact = serde_json::from_str(old).unwrap();
        assert!(vanished(std::slice::from_ref(&old), std::slice::from_ref(&cut), &[]).is_empty());
        assert_eq!(remembered(&[old], vec![cut.clone()], false), [cut]);
    }

    #[test]
    fn one_file_whose_end_is_not_known_takes_no_verdict_from_the_others() {
        let known = |path, ends_within_line| FileFact { ends_within_line, ..file("t", path) };
        let cut = [known("/a", Some(true))];
        let before = |b| [known("/a", None), known("/b", b), known("/c", None)];
        let reasons = vanished(&before(Some(false))[..2], &[cut[0].clone(), file("t", "/b")], &[]);
        assert_eq!(reasons, ["file `/a` of table `t` ends within a line"]);
        let after = |was_complete, b| {
            let earlier = Earlier { files: &before(b), was_complete };
            super::vanished(earlier, &cut, &[]).concat().contains("within a line")
        };
        let ends = [Some(false), Some(true), None];
        assert_eq!(ends.map(|b| after(true, b)), [true, false, false]);
        // One that broke off has seen no end of what it sent.
        assert_eq!(ends.map(|b| after(false, b)), [true, false, true]);
    }

    #[test]
    fn the_first_read_that_is_complete_says_what_its_tables_way_is() {
        let known = |ends_within_line| FileFact { ends_within_line, ..file("t", "/a") };
        let cut = known(Some(true));
        assert_eq!(remembered(&[known(None)], vec![cut.clone()], false), [cut]);
    }

    #[test]
    fn a_file_that_is_cut_twice_is_named_twice() {
        let cut = FileFact { ends_within_line: Some(true), ..file("t", "/a") };
        let baseline = remembered(&[file("t", "/a")], vec![cut.clone()], false);
        assert_eq!(vanished(&baseline, std::slice::from_ref(&cut), &[]).len(), 1);
        // Its table's way from the first read on.
        let baseline = remembered(&[], vec![cut.clone()], false);
        assert!(vanished(&baseline, &[cut], &[]).is_empty());
    }

    #[test]
    fn a_file_of_the_last_set_that_is_gone_is_named() {
        let last = [file("t", "/a"), file("t", "/b")];
        let gone = vanished(&last, &[file("t", "/a"), file("t", "/c")], &[]);
        assert_eq!(gone, ["file `/b` of table `t` is gone"]);
    }

    #[test]
    fn an_object_of_which_nobody_knows_whether_it_changed_is_named() {
        let object = FileFact { inode: 0, ends_within_line: None, ..file("t", "http://h/a.csv") };
        let tagged = FileFact { etag: Some("1".into()), ..object.clone() };
        assert!(vanished(&[], std::slice::from_ref(&tagged), &[]).is_empty());
        let reasons = vanished(&[], &[object], &[]);
        assert!(reasons.len() == 1 && reasons[0].contains("has no ETag"), "{reasons:?}");
    }

    #[test]
    fn a_version_that_is_older_or_another_tables_is_named() {
        let at = |number, id| {
            let etag = TableVersion { number, id, commit: "c" }.etag();
            FileFact { inode: 0, ends_within_line: None, etag: Some(etag), ..file("t", "/d") }
        };
        let gone = |before, now| vanished(&[before], &[now], &[]);
        assert!(gone(at(42, "a"), at(42, "a")).is_empty());
        assert!(gone(at(42, "a"), at(43, "a")).is_empty());
        let reasons = gone(at(42, "a"), at(40, "a"));
        assert!(reasons.len() == 1 && reasons[0].contains("from version 42 to 40"), "{reasons:?}");
        let reasons = gone(at(42, "a"), at(43, "b"));
        assert!(reasons.len() == 1 && reasons[0].contains("another Delta table"), "{reasons:?}");
        assert!(vanished(&[], &[at(0, "a")], &[]).is_empty());
        // Of what only a checkpoint is left nobody knows which commit made it.
        let by = |commit| {
            let etag = TableVersion { number: 42, id: "a", commit }.etag();
            FileFact { etag: Some(etag), ..at(42, "a") }
        };
        assert!(gone(by("-"), by("-")).is_empty(), "the same number, and rows of no other");
        for (before, now, words) in [
            ("c", "d", "is of another commit than it was"),
            ("c", "-", "has no commit in its log"),
            ("-", "c", "or had none before"),
        ] {
            let reasons = gone(by(before), by(now)).concat();
            assert!(reasons.contains(words), "{before} {now}: {reasons}");
        }
    }

    #[test]
    fn a_rewritten_table_is_judged_by_count_and_marker() {
        let last = [file("t", "/a"), file("t", "/b")];
        let whole = Completeness { table: "t".into(), is_marker_missing: false };
        let open = Completeness { table: "t".into(), is_marker_missing: true };
        let other = [file("t", "/c"), file("t", "/d")];
        assert!(vanished(&last, &other, std::slice::from_ref(&whole)).is_empty());
        assert_eq!(vanished(&last, &other[..1], &[whole]).len(), 1);
        assert_eq!(vanished(&last, &other, &[open]).len(), 1);
    }
}
