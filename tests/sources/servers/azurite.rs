//! A server that speaks the protocol of Azure Blob Storage: Azurite, with an account of the tests' own. What tests put there is
//! signed by themselves, so that nothing of ours vouches for what ours reads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use super::asking::{answer, content, status};
use super::process::{self, Server, free_port};
use crate::blobs::{self, Blobs};
use crate::support::TOKEN;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(90);
const ACCOUNT: &str = "reader";
/// Of the signatures of the tests.
const VERSION: &str = "2019-12-12";
const UNTIL: &str = "2049-01-01T00:00:00Z";

/// A running server.
pub struct Azurite {
    port: u16,
    files: Files,
    containers: AtomicUsize,
    /// Runs as long as this lives.
    _server: Server,
}

/// Where blobs are written.
#[derive(Clone)]
pub struct Files {
    port: u16,
    signature: String,
}

/// Where the program is.
pub fn program() -> Result<PathBuf, String> {
    process::program("azurite-blob", "`azurite-blob` is not in PATH (npm install azurite@3.37.0)")
}

/// The key of the account, as it is told to whoever may know.
pub fn key() -> String {
    BASE64_STANDARD.encode(TOKEN)
}

impl Azurite {
    pub fn start(program: &Path) -> Azurite {
        let (folder, port) = (process::folder(), free_port());
        let mut command = Command::new(program);
        command.args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]);
        command.args(["--silent", "--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", key()));
        let server = Server::start(folder, command, "KILL");
        let files = Files { port, signature: signature() };
        let begun = Instant::now();
        while files.write("PUT", "/reader/first?restype=container", b"") != Some(201) {
            assert!(server.is_running(), "it ended:\n{}", server.log());
            assert!(begun.elapsed() < START, "it does not start:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Azurite { port, files, containers: AtomicUsize::new(0), _server: server }
    }
}

/// What lets the tests write: a signature for all of the account.
pub fn signature() -> String {
    let signed = format!("{ACCOUNT}\nrwdlc\nb\nsco\n\n{UNTIL}\n\n\n{VERSION}\n");
    let mut hash = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).expect("any length will do");
    hash.update(signed.as_bytes());
    let signed = BASE64_STANDARD.encode(hash.finalize().into_bytes());
    let signed = utf8_percent_encode(&signed, NON_ALPHANUMERIC);
    format!("sv={VERSION}&ss=b&srt=sco&sp=rwdlc&se={UNTIL}&sig={signed}")
}

impl Files {
    fn write(&self, method: &str, target: &str, bytes: &[u8]) -> Option<u16> {
        let target = self.signed(target);
        status(self.port, method, &target, "x-ms-blob-type: BlockBlob\r\n", bytes)
    }

    fn signed(&self, target: &str) -> String {
        let joint = if target.contains('?') { '&' } else { '?' };
        format!("{target}{joint}{}", self.signature)
    }
}

impl blobs::Files for Files {
    #[track_caller]
    fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        let put = self.write("PUT", &path(container, key), bytes);
        assert_eq!(put, Some(201), "{key} was not put");
    }

    #[track_caller]
    fn remove(&self, container: &str, key: &str) {
        let gone = self.write("DELETE", &path(container, key), b"");
        assert_eq!(gone, Some(202), "{key} is still there");
    }

    fn list(&self, container: &str) -> String {
        let target = self.signed(&format!("/{ACCOUNT}/{container}?restype=container&comp=list"));
        content(&answer(self.port, "GET", &target, "", b"").expect("it answers"))
    }
}

fn path(container: &str, key: &str) -> String {
    let parts = key.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    format!("/{ACCOUNT}/{container}/{}", parts.collect::<Vec<_>>().join("/"))
}

impl Blobs for Azurite {
    fn port(&self) -> u16 {
        self.port
    }

    fn files(&self) -> Box<dyn blobs::Files> {
        Box::new(self.files.clone())
    }

    fn bucket(&self) -> String {
        let container = format!("lake-{}", self.containers.fetch_add(1, Ordering::Relaxed));
        let made = format!("/{ACCOUNT}/{container}?restype=container");
        assert_eq!(self.files.write("PUT", &made, b""), Some(201), "{container} was not made");
        blobs::Files::put(&self.files, &container, "other/object.txt", b"none of yours");
        container
    }

    fn scheme(&self) -> &'static str {
        "az"
    }

    fn source_of(&self, port: u16, table: &str) -> String {
        format!(
            "lake: {{ store: {{ az: {{ account: {ACCOUNT}, endpoint: \"http://127.0.0.1:{port}/{ACCOUNT}\", \
             access_key: \"${{AZ_KEY}}\" }} }}, files: {{ people: {table} }} }}"
        )
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("AZ_KEY", key())]
    }

    fn right(&self) -> &'static str {
        "by the key of account `reader`, which the config says"
    }
}
