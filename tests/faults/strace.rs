//! System calls that are made to fail: one run tells which calls a story makes on the files of the state, and each of
//! them can then be made to fail in a story told again.
//!
//! A call is known by its name, its file, and how often the thread has made it on that file: that is how strace counts.
//! Threads take turns, so that a call may not be met in a story told again; whether it was is in the log.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a call does to a file. The question mark: not every machine has the call.
pub const TRACED: &str = "?open,openat,read,pread64,write,pwrite64,?pwritev,ftruncate,fsync,fdatasync,getdents64,\
                          ?mkdir,?mkdirat,?rename,?renameat,?renameat2,?unlink,?unlinkat,sendto,writev";

/// Where SQLite writes each change first.
const LOG_OF_STORE: &str = "counterflow.db-wal";
const STORE: &str = "counterflow.db";

/// Calls that send; of them the thread's count alone is known, not the socket.
const SENDING: [&str; 2] = ["sendto", "writev"];

/// One call on a file of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    /// Beneath the state's folder; empty for the folder itself, and for what is sent.
    pub file: String,
    /// Of a renaming, the old name; by the new one alone strace does not find it.
    from: Option<String>,
    /// Counted from 1.
    pub nth: usize,
    /// It can make a file or a folder.
    pub is_creating: bool,
    /// Where a thread makes it, it is of the state database, and all that it could lose is durable in the log: SQLite folds it.
    pub is_folding: bool,
}

/// What a call does, whatever its name is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Open,
    Read,
    Write,
    Resize,
    Sync,
    List,
    MakeFolder,
    Rename,
    Remove,
    Send,
}

impl Kind {
    /// By the name of a call that is traced.
    fn of(name: &str) -> Kind {
        let families = [
            ("open", Kind::Open),
            ("read", Kind::Read),
            ("pread", Kind::Read),
            ("writev", Kind::Send),
            ("send", Kind::Send),
            ("write", Kind::Write),
            ("pwrite", Kind::Write),
            ("ftruncate", Kind::Resize),
            ("fsync", Kind::Sync),
            ("fdatasync", Kind::Sync),
            ("getdents", Kind::List),
            ("mkdir", Kind::MakeFolder),
            ("rename", Kind::Rename),
            ("unlink", Kind::Remove),
        ];
        let found = families.iter().find(|(family, _)| name.starts_with(family));
        found.unwrap_or_else(|| panic!("`{name}` is traced, and of no kind")).1
    }
}

impl Call {
    pub fn kind(&self) -> Kind {
        Kind::of(&self.name)
    }

    pub fn is_sending(&self) -> bool {
        self.kind() == Kind::Send
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {} on `{}`", self.name, self.nth, self.file)
    }
}

/// Whether calls can be traced here.
pub fn is_there() -> Result<(), String> {
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-P", "/none"]);
    command.args(["-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1", "true"]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("`strace` may trace nothing here".to_owned()),
        Err(_) => Err("there is no `strace`".to_owned()),
    }
}

/// The command before the binary that notes all calls in `log`.
pub fn noting(log: &str) -> Vec<String> {
    words(&["-y", "-o", log, "-e", &format!("trace={TRACED}")])
}

/// The command before the binary that kills the process when it makes `call`, which is not made then.
pub fn killing(call: &Call, state: &Path, log: &str) -> Vec<String> {
    let mut words = injecting(call, state, "signal=KILL", &call.nth.to_string(), log);
    // With it a call is let pass where nothing but a signal is injected.
    words.retain(|word| word != SECCOMP);
    words
}

/// The command before the binary that makes `call` fail; once, or from then on each time.
pub fn failing(call: &Call, state: &Path, error: &str, is_lasting: bool, log: &str) -> Vec<String> {
    let more = if is_lasting { "+" } else { "" };
    injecting(call, state, &format!("error={error}"), &format!("{}{more}", call.nth), log)
}

/// The command before the binary that lets it make no nameless file in `folder`, for want of room.
pub fn without_room_in(folder: &Path, log: &str) -> Vec<String> {
    let folder = folder.to_str().expect("the paths of the kit are plain");
    let inject = "inject=openat:error=ENOSPC:when=1+";
    words(&["-o", log, "-P", folder, "-e", "trace=openat", "-e", inject])
}

fn injecting(call: &Call, state: &Path, what: &str, when: &str, log: &str) -> Vec<String> {
    let Call { name, file, from, .. } = call;
    let path = from.as_ref().map_or_else(|| state.join(file), |from| state.join(from));
    let path = path.to_str().expect("the paths of the kit are plain").trim_end_matches('/');
    // Syncs too, so that what failed has a place among them.
    let (trace, inject) =
        (format!("trace={name},fdatasync"), format!("inject={name}:{what}:when={when}"));
    let rest = ["-e", &trace, "-e", &inject];
    let only: &[&str] = if call.is_sending() { &[] } else { &["-P", path] };
    words(&[&["-o", log], only, &rest].concat())
}

/// Threads are stopped at the calls that are traced, and at no others.
const SECCOMP: &str = "--seccomp-bpf";

fn words(more: &[&str]) -> Vec<String> {
    let all = ["strace", "-f", SECCOMP].iter().chain(more);
    all.map(|word| (*word).to_owned()).collect()
}

/// Whether a call was made to fail.
pub fn has_fired(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains("(INJECTED)"))
}

/// Whether nothing of the file was synced behind the call that was made to fail.
pub fn has_fired_last(log: &Path) -> bool {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let behind = log.rsplit_once("(INJECTED)").map(|(_, behind)| behind);
    behind.is_some_and(|behind| !behind.contains("fdatasync("))
}

/// All calls on files of the state that `log` holds. Those of several threads that are alike in name, file and count are
/// one, with how many they were.
pub fn calls(log: &Path, state: &Path) -> Vec<(Call, usize)> {
    let bytes = std::fs::read(log).expect("strace has written its log");
    let text = String::from_utf8_lossy(&bytes);
    let mut counts = BTreeMap::<(String, String, String), usize>::new();
    // Whether it folds for a thread, and how many have it.
    let mut calls = BTreeMap::<Call, (bool, usize)>::new();
    // Whether the log of the store holds anything, and whether that is durable.
    let (mut has_log, mut is_durable) = (false, true);
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = rest.trim_start().split_once('(') else { continue };
        let Some(path) = path(name, arguments) else { continue };
        let file = match Path::new(path).strip_prefix(state) {
            Ok(file) => file.to_string_lossy().into_owned(),
            Err(_) if SENDING.contains(&name) && path.starts_with("socket:") => String::new(),
            Err(_) => continue,
        };
        let nth = counts.entry((thread.to_owned(), name.to_owned(), file.clone())).or_default();
        *nth += 1;
        let is_creating = name.starts_with("mkdir") || arguments.contains("O_CREAT");
        let old = arguments.split('"').nth(1).filter(|_| name.starts_with("rename"));
        let from = old.and_then(|old| Path::new(old).strip_prefix(state).ok());
        let from = from.map(|from| from.to_string_lossy().into_owned());
        let name = name.to_owned();
        let call = Call { name, file, from, nth: *nth, is_creating, is_folding: false };
        // Of the log it syncs first what is durable already.
        let is_folding = has_log
            && is_durable
            && match call.kind() {
                Kind::Write | Kind::Resize => call.file == STORE,
                Kind::Sync => call.file == STORE || call.file == LOG_OF_STORE,
                _ => false,
            };
        match call.kind() {
            Kind::Write if call.file == LOG_OF_STORE => (has_log, is_durable) = (true, false),
            // What an earlier process left of it is read at the opening.
            Kind::Read if call.file == LOG_OF_STORE && !line.ends_with("= 0") => has_log = true,
            Kind::Sync if call.file == LOG_OF_STORE => is_durable = true,
            Kind::Remove if call.file == LOG_OF_STORE => has_log = false,
            _ => {}
        }
        let known = calls.entry(call).or_insert((false, 0));
        *known = (known.0 || is_folding, known.1 + 1);
    }
    let fold = |(call, (is_folding, times))| (Call { is_folding, ..call }, times);
    calls.into_iter().map(fold).collect()
}

/// The path that a call is about: of a renaming, the new one.
fn path<'l>(name: &str, arguments: &'l str) -> Option<&'l str> {
    let is_by_name =
        ["open", "mkdir", "rename", "unlink"].iter().any(|call| name.starts_with(call));
    if !is_by_name {
        return Some(arguments.split_once('<')?.1.split_once('>')?.0);
    }
    let mut quoted = arguments.split('"').skip(1).step_by(2);
    if name.starts_with("rename") { quoted.nth(1) } else { quoted.next() }
}
