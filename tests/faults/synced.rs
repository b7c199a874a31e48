//! The order of writes, syncs, renamings and requests of a process, from a log of its calls: what was safe when.
//!
//! A call has a beginning and an end in the log, and others may come between. Something is safe from the end of a sync that
//! began after the end of the write. Not responsible for what must be safe (`catalogue/a_power.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use counterflow::domain::value::Value;

use crate::support::journal::{Asked, Operation};
use crate::support::known;
use crate::support::people::Person;

/// The command before the binary that notes, in `log`, all that writes, syncs, renames, removes and sends, with what.
pub fn noting(log: &str) -> Vec<String> {
    let traced = "trace=?open,openat,write,pwrite64,writev,?pwritev,fsync,fdatasync,?rename,?renameat,?renameat2,\
                  ?unlink,?unlinkat,?mkdir,?mkdirat,sendto,sendmsg";
    let words =
        ["strace", "-f", "--seccomp-bpf", "-yy", "-x", "-s", "1000000", "-o", log, "-e", traced];
    words.map(str::to_owned).to_vec()
}

/// One call that succeeded.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: String,
    /// The file or the socket; of a renaming, the new name.
    pub path: String,
    /// Of a renaming, the old name.
    from: String,
    /// What was written.
    data: Vec<u8>,
    /// Lines of the log.
    begun: usize,
    ended: usize,
}

impl Step {
    fn is_write(&self) -> bool {
        ["write", "pwrite", "writev"].iter().any(|name| self.name.starts_with(name))
    }

    fn is_sync(&self) -> bool {
        self.name == "fsync" || self.name == "fdatasync"
    }

    fn is_on(&self, part: &str) -> bool {
        self.path.rsplit('/').next().is_some_and(|name| name.starts_with(part))
    }

    fn is_after(&self, other: &Step) -> bool {
        self.begun > other.ended
    }
}

/// All calls of a log that succeeded, in the order of their ends.
pub fn steps(log: &Path) -> Vec<Step> {
    let bytes = std::fs::read(log).expect("strace has written its log");
    let text = String::from_utf8_lossy(&bytes);
    let mut open = BTreeMap::<&str, (usize, &str)>::new();
    let mut steps = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (place, head));
        } else if rest.starts_with("<... ") {
            let Some((begun, head)) = open.remove(thread) else { continue };
            let Some((_, tail)) = rest.split_once(" resumed>") else { continue };
            steps.extend(step(&format!("{head}{tail}"), begun, place));
        } else {
            steps.extend(step(rest, place, place));
        }
    }
    steps
}

fn step(call: &str, begun: usize, ended: usize) -> Option<Step> {
    let (call, result) = call.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let (name, arguments) = call.split_once('(')?;
    let quoted = quoted(arguments);
    let is_by_name =
        ["open", "rename", "unlink", "mkdir"].iter().any(|word| name.starts_with(word));
    let text = |place: usize| {
        quoted
            .get(place)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    };
    let (path, from) = if name.starts_with("rename") {
        (text(1), text(0))
    } else if is_by_name {
        (text(0), String::new())
    } else {
        let described = arguments.split_once('<')?.1;
        let end = if described.starts_with("TCP") { "]>" } else { ">" };
        (described.split_once(end)?.0.to_owned(), String::new())
    };
    let data = if is_by_name { Vec::new() } else { quoted.concat() };
    Some(Step { name: name.to_owned(), path, from, data, begun, ended })
}

/// The strings among the arguments of a call, as bytes.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    let mut strings = Vec::new();
    let mut characters = arguments.chars();
    while characters.by_ref().any(|character| character == '"') {
        let mut bytes = Vec::new();
        while let Some(character) = characters.next().filter(|character| *character != '"') {
            let escaped = if character == '\\' { characters.next() } else { None };
            match escaped {
                None => bytes.extend(character.to_string().into_bytes()),
                Some('x') => {
                    let digits: String = characters.by_ref().take(2).collect();
                    bytes.extend(u8::from_str_radix(&digits, 16));
                }
                Some('n') => bytes.push(b'\n'),
                Some('r') => bytes.push(b'\r'),
                Some('t') => bytes.push(b'\t'),
                Some('v') => bytes.push(0x0b),
                Some('f') => bytes.push(0x0c),
                Some('0') => bytes.push(0),
                Some(other) => bytes.extend(other.to_string().into_bytes()),
            }
        }
        strings.push(bytes);
    }
    strings
}

/// The beginnings of requests to this address: the call with the first byte, and the text from there on.
pub fn requests<'s>(steps: &'s [Step], address: &str) -> Vec<(&'s Step, String)> {
    let is_ours =
        |step: &&Step| step.path.starts_with("TCP") && step.path.ends_with(&format!("->{address}"));
    let text = |step: &'s Step| (step, String::from_utf8_lossy(&step.data).into_owned());
    steps.iter().filter(is_ours).map(text).filter(|(_, text)| text.starts_with("POST /")).collect()
}

/// Why the intent of a request, which names all its records, is not surely safe when the request leaves; `None` if it is.
pub fn unsafe_intent(steps: &[Step], leaving: &Step, operations: &[Operation]) -> Option<String> {
    let marks: Vec<Vec<u8>> = operations.iter().map(mark).collect();
    let holds = |data: &[u8], mark: &[u8]| data.windows(mark.len()).any(|part| part == mark);
    let names = |step: &&Step| {
        let is_journal = step.is_write() && step.is_on("journal");
        is_journal && marks.iter().all(|mark| holds(&step.data, mark))
    };
    let Some(intent) = steps.iter().filter(names).rfind(|intent| leaving.is_after(intent)) else {
        return Some("no intent was written before it".to_owned());
    };
    let is_synced = |path: &str, since: &Step| {
        let is_it = |step: &&Step| step.is_sync() && step.path == path;
        steps.iter().filter(is_it).any(|sync| sync.is_after(since) && leaving.is_after(sync))
    };
    if !is_synced(&intent.path, intent) {
        return Some(format!("`{}` was not synced between its intent and it", intent.path));
    }
    let made = steps.iter().find(|step| step.name.starts_with("open") && step.path == intent.path);
    let made = made.expect("what is written was opened");
    let folder = intent.path.rsplit_once('/').expect("the journal is in a folder").0;
    (!is_synced(folder, made)).then(|| format!("the name of `{}` was not synced", intent.path))
}

/// What an intent has of an operation, as it lies in the journal: of an upsert the fingerprint, of a delete the key.
fn mark(operation: &Operation) -> Vec<u8> {
    if let (Asked::Upsert, Some(person)) = (operation.asked, Person::of(&operation.record)) {
        return known::fingerprints(&[person])[0].to_le_bytes().to_vec();
    }
    let number = operation.key.trim_matches(['[', ']']).parse().expect("people have numbers");
    let mut key = Vec::new();
    Value::Integer(number).encode(&mut key);
    key
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked {
    pub manifests: usize,
    pub segments: usize,
}

fn is_within(path: &str, folder: &str) -> bool {
    Path::new(path).starts_with(folder)
}

/// Looks at each commit: all new segments and the manifest are safe before the manifest has its name, their names too, and
/// those of new folders on the way to them; its name is safe before anything is removed, and in the end.
///
/// # Errors
/// What was not safe.
pub fn commits(steps: &[Step]) -> Result<Checked, String> {
    let mut checked = Checked::default();
    let renamings = steps.iter().filter(|step| step.name.starts_with("rename"));
    for renaming in renamings.filter(|step| step.is_on("manifest")) {
        let folder = renaming.path.rsplit_once('/').expect("a manifest is in a folder").0;
        let synced = |path: &str, since: &Step, until: Option<&Step>| {
            let is_it = |step: &&Step| step.is_sync() && step.path == path && step.is_after(since);
            steps.iter().filter(is_it).any(|sync| until.is_none_or(|until| until.is_after(sync)))
        };
        let is_ours = |step: &&Step| step.path.starts_with(folder) && renaming.is_after(step);
        let written: BTreeSet<&str> = steps
            .iter()
            .filter(is_ours)
            .filter(|step| step.is_write() && step.is_on("segment"))
            .map(|step| step.path.as_str())
            .chain([renaming.from.as_str()])
            .collect();
        for path in &written {
            let mut writes = steps.iter().filter(is_ours).filter(|step| step.is_write());
            let Some(last) = writes.rfind(|step| step.path == **path) else {
                return Err(format!("`{path}` was renamed, and never written"));
            };
            if !synced(path, last, Some(renaming)) {
                return Err(format!("`{path}` was not synced before the manifest had its name"));
            }
            if !synced(folder, last, Some(renaming)) {
                return Err(format!("the name of `{path}` was not synced before the manifest's"));
            }
        }
        let is_made = |step: &&Step| step.name.starts_with("mkdir") && renaming.is_after(step);
        let made = steps.iter().filter(is_made).filter(|step| is_within(folder, &step.path));
        for making in made {
            let parent = making.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if !synced(parent, making, Some(renaming)) {
                return Err(format!("the name of `{}` was not synced", making.path));
            }
        }
        let is_removal = |step: &&Step| step.name.starts_with("unlink") && step.is_after(renaming);
        let removal = steps.iter().find(|step| is_removal(step) && step.path.starts_with(folder));
        if !synced(folder, renaming, removal) {
            let until = removal.map_or("the end", |removal| removal.path.as_str());
            return Err(format!("the folder was not synced between the renaming and {until}"));
        }
        checked.manifests += 1;
        checked.segments += written.len() - 1;
    }
    Ok(checked)
}
