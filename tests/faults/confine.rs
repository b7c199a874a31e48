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
    works(&mounting(script), &["true"], "a mount namespace cannot be made here")
}

/// Whether the binary can be run as another user.
pub fn can_be_nobody() -> Result<(), String> {
    let version = [env!("CARGO_BIN_EXE_counterflow"), "version"];
    works(&as_nobody(), &version, "the binary cannot be run as a user who owns nothing")
}

/// Whether limits can be set here.
pub fn can_limit() -> Result<(), String> {
    works(&limited("--nofile=100"), &["true"], "there is no `prlimit`")
}

fn works(confining: &[String], confined: &[&str], otherwise: &str) -> Result<(), String> {
    let mut tried = Command::new(&confining[0]);
    tried.args(&confining[1..]).args(confined);
    tried.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match tried.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(otherwise.to_owned()),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
