//! Commands that confine the binary: a namespace of its own with other mounts, another user, limits of resources.

use std::process::{Command, Stdio};

/// Runs `script` in a mount namespace of its own; `"$@"` in it is the binary with its arguments.
pub fn mounting(script: &str) -> Vec<String> {
    // A user that is not root becomes root of a user namespace.
    words(&["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"])
}

/// As a user who owns nothing here.
pub fn as_nobody() -> Vec<String> {
    words(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
}

/// With limits as prlimit says them, such as `--nofile=20`.
pub fn limited(limit: &str) -> Vec<String> {
    words(&["prlimit", limit])
}

/// The words as commands take them.
pub fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Whether namespaces with mounts can be made here.
pub fn can_mount() -> Result<(), String> {
    let script = "mount -t tmpfs -o size=64k tmpfs /mnt && \"$@\"";
    works(&mounting(script), "a mount namespace cannot be made here")
}

/// Whether the binary can be run as another user.
pub fn can_be_nobody() -> Result<(), String> {
    let mut all = as_nobody();
    all.push(env!("CARGO_BIN_EXE_counterflow").to_owned());
    works(&all, "the binary cannot be run as a user who owns nothing")
}

/// Whether limits can be set here.
pub fn can_limit() -> Result<(), String> {
    works(&limited("--nofile=100"), "there is no `prlimit`")
}

fn works(command: &[String], otherwise: &str) -> Result<(), String> {
    let mut tried = Command::new(&command[0]);
    tried.args(&command[1..]).arg(if command.len() > 1 { "true" } else { "--version" });
    if command.last().is_some_and(|word| word.ends_with("counterflow")) {
        tried = Command::new(&command[0]);
        tried.args(&command[1..]).arg("version");
    }
    tried.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match tried.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(otherwise.to_owned()),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
