//! Replaces the connection of syncs in the text of a config file; all else of it stays as it is written.
//!
//! Guard: the text that comes out means what the one that went in means, but for those connections: it is read again and
//! compared, so that an anchor or a form that is not foreseen is refused and never silently changes something else.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::scalar;
use super::tree::{self, Content, Entry, Node};
use crate::folders;

/// The text with `new` as the connection of these syncs, each of which has `old`.
///
/// # Errors
/// One of them is not written in a way that can be replaced by itself; says which and what to do.
pub fn replace_connection(
    text: &str,
    names: &[String],
    old: &str,
    new: &str,
) -> Result<String, String> {
    let bare = text.trim_start_matches(BOM);
    let offset = text.len() - bare.len();
    let mut root = parsed(bare)?;
    let mut spans = Vec::new();
    for name in names {
        let by_hand = || {
            format!(
                "the `connection` of `{name}` is not written as `{old}` in its place, but as a reference or an alias; replace it \
                 by hand"
            )
        };
        let node = connection(&mut root, name).ok_or_else(by_hand)?;
        match &mut node.content {
            Content::Scalar { text, .. } if text == old => new.clone_into(text),
            _ => return Err(by_hand()),
        }
        spans.push((node.position.span.clone(), by_hand()));
    }
    spans.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut changed = text.to_owned();
    for (span, by_hand) in spans {
        let place = span.start + offset..span.end + offset;
        let written = changed.get(place.clone()).map(|written| rewritten(written, old, new));
        changed.replace_range(place, &written.flatten().ok_or(by_hand)?);
    }
    let again = parsed(changed.trim_start_matches(BOM))?;
    match is_same(&root, &again) {
        true => Ok(changed),
        false => Err(
            "other parts of the file share these values by an anchor; write them out, or replace the connection by hand"
                .to_owned(),
        ),
    }
}

const BOM: char = '\u{feff}';

/// A file that is to take the place of another: beside it until then, and gone where it does not.
#[derive(Debug)]
pub struct Next {
    /// What it takes the place of.
    file: PathBuf,
    path: PathBuf,
}

/// How many files this process has written.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

impl Next {
    /// Writes `text` beside the file, or beside what it is a link to, with the same owner and permissions.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(file: &Path, text: &str) -> io::Result<Next> {
        let file = file.canonicalize()?;
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let name = format!("next-{}-{number}.yaml", std::process::id());
        let next = Next { path: file.with_extension(name), file };
        // One that a dead process of the same number left.
        let _ = std::fs::remove_file(&next.path);
        let mut written = OpenOptions::new().write(true).create_new(true).open(&next.path)?;
        let (was, is) = (next.file.metadata()?, written.metadata()?);
        if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
            fchown(&written, Some(was.uid()), Some(was.gid()))?;
        }
        written.set_permissions(was.permissions())?;
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        Ok(next)
    }

    /// Where it is until then.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in the place of the file, whole or not at all.
    ///
    /// # Errors
    /// The file is not what `before` says any more, or it cannot be renamed; it is as it was.
    pub fn put_in_place(self, before: &str) -> io::Result<()> {
        if std::fs::read(&self.file)? != before.as_bytes() {
            return Err(io::Error::other("it was changed meanwhile"));
        }
        std::fs::rename(&self.path, &self.file)?;
        if let Err(error) = folders::sync_parent(&self.file) {
            tracing::warn!(%error, "a power cut may undo what was written to the config file");
        }
        Ok(())
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        // It is gone where it took the place of the other.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn parsed(text: &str) -> Result<Node, String> {
    match tree::read(text) {
        (Some(root), faults) if faults.is_empty() => Ok(root),
        _ => Err("the config file cannot be read; `counterflow validate` says why".to_owned()),
    }
}

fn connection<'n>(root: &'n mut Node, sync: &str) -> Option<&'n mut Node> {
    ["syncs", sync, "connection"].into_iter().try_fold(root, |node, key| {
        let Content::Map(entries) = &mut node.content else { return None };
        entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    })
}

/// `new` in the way that `old` is written; `None` if that is another one than those foreseen.
fn rewritten(written: &str, old: &str, new: &str) -> Option<String> {
    let quoted = [('"', format!("\"{new}\"")), ('\'', format!("'{new}'"))];
    for (quote, replacement) in quoted {
        if written == format!("{quote}{old}{quote}") {
            return Some(replacement);
        }
    }
    let is_text = scalar::value(new).is_string();
    (written == old).then(|| if is_text { new.to_owned() } else { format!("\"{new}\"") })
}

/// Whether both say the same, wherever it stands and however text is quoted.
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.content, &other.content) {
        (Content::Scalar { text: one, .. }, Content::Scalar { text: other, .. }) => one == other,
        (Content::List(one), Content::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Content::Map(one), Content::Map(other)) => {
            let is_same = |(one, other): (&Entry, &Entry)| {
                one.key == other.key && is_same(&one.value, &other.value)
            };
            one.len() == other.len() && one.iter().zip(other).all(is_same)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}# top: crm\nconnections: { crm: {}, \"new\": {} } # crm\nsyncs:\n  a:\n    \
        connection:   crm   # the crm, \u{e9}\n    group: g\n  b: { connection: 'crm', group: h }\n  c:\n    connection: \"crm\"\n    group: g\n";

    fn replace(text: &str, names: &[&str], new: &str) -> Result<String, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        replace_connection(text, &names, "crm", new)
    }

    #[test]
    fn only_the_values_of_the_syncs_named_change_and_each_keeps_its_quotes() {
        let changed = replace(TEXT, &["a", "b", "c"], "new").unwrap();
        let by_hand = TEXT
            .replace("connection:   crm ", "connection:   new ")
            .replace("'crm'", "'new'")
            .replace("connection: \"crm\"", "connection: \"new\"");
        assert_eq!(changed, by_hand);
        let one = replace(TEXT, &["b"], "new").unwrap();
        assert_eq!(one, TEXT.replace("'crm'", "'new'"));
    }

    #[test]
    fn a_name_that_would_be_no_text_bare_is_quoted() {
        for name in ["12", "true", "null"] {
            let changed = replace(TEXT, &["a"], name).unwrap();
            assert!(changed.contains(&format!("connection:   \"{name}\"   #")), "{changed}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_by_itself_is_refused() {
        let shared = "syncs:\n  a: { connection: &it crm }\n  b: { connection: *it }\n";
        for names in [&["a"][..], &["b"], &["a", "b"]] {
            assert!(replace(shared, names, "new").unwrap_err().contains("by hand"), "{names:?}");
        }
        let whole = "syncs:\n  a: &it { connection: crm }\n  b: *it\n";
        assert!(replace(whole, &["a"], "new").unwrap_err().contains("an anchor"));
        let escaped = "syncs: { a: { connection: \"c\\x72m\" } }";
        assert!(replace(escaped, &["a"], "new").unwrap_err().contains("by hand"));
        let other = "syncs: { a: { connection: ads } }";
        assert!(replace(other, &["a"], "new").is_err());
        assert!(replace(other, &["nobody"], "new").is_err());
        assert!(replace("syncs: [", &["a"], "new").unwrap_err().contains("validate"));
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all_and_stays_what_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.yaml"), folder.path().join("link.yaml"));
        std::fs::write(&file, "a").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        drop(Next::write(&link, "b").unwrap());
        Next::write(&link, "b").unwrap().put_in_place("other").unwrap_err();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a");
        let next = Next::write(&link, "b").unwrap();
        assert_eq!(std::fs::read_to_string(next.path()).unwrap(), "b");
        next.put_in_place("a").unwrap();
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "b");
        assert!(link.is_symlink());
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(folder.path().read_dir().unwrap().count(), 2, "nothing is left over");
    }
}
