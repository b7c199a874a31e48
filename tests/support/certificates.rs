//! Certificates made for one scenario: an authority of its own, and what it says of a host. Made by `openssl`, which a
//! machine may lack.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority, and the folder with all that it made.
pub struct Authority {
    folder: TempDir,
}

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    Now,
    /// Until a day in the past.
    Once,
    /// From a day in the future.
    Later,
}

/// Whether certificates can be made here.
pub fn can_be_made() -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.arg("version").stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    is_there.then_some(()).ok_or_else(|| "`openssl` is not on this machine".to_owned())
}

impl Authority {
    pub fn new() -> Authority {
        let authority = Authority { folder: tempfile::tempdir().expect("a folder for the test") };
        let config = "[ca]
default_ca = kit
[kit]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
";
        for (name, text) in [("config", config), ("index", ""), ("serial", "01\n")] {
            std::fs::write(authority.path(name), text).expect("a file can be written");
        }
        authority.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout ca.key -out ca.pem -days 3650 -subj /CN=kit"
        ));
        authority
    }

    /// The certificate that all others hang on, as a file in PEM.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for this host and the key to it, in PEM.
    pub fn pem(&self, host: &str, good: Good) -> (String, String) {
        let dates = match good {
            Good::Now => "-startdate 20200101000000Z -enddate 20491231000000Z",
            Good::Once => "-startdate 20200101000000Z -enddate 20200201000000Z",
            Good::Later => "-startdate 20480101000000Z -enddate 20491231000000Z",
        };
        self.openssl(&format!(
            "req {NEW_KEY} -keyout leaf.key -out leaf.csr -subj /CN={host} -addext subjectAltName=DNS:{host}"
        ));
        self.openssl(&format!(
            "ca -batch -notext -config config -keyfile ca.key -cert ca.pem -in leaf.csr -out leaf.pem {dates}"
        ));
        let read = |name| std::fs::read_to_string(self.path(name)).expect("it was made");
        (read("leaf.pem"), read("leaf.key"))
    }

    /// What a server needs that has a certificate for this host.
    pub fn server(&self, host: &str, good: Good) -> Arc<ServerConfig> {
        self.pem(host, good);
        let chain = CertificateDer::from_pem_file(self.path("leaf.pem")).expect("it was made");
        let key = PrivateKeyDer::from_pem_file(self.path("leaf.key")).expect("it was made");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("it has versions");
        let config = builder.with_no_client_auth().with_single_cert(vec![chain], key);
        Arc::new(config.expect("the key belongs to the certificate"))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    fn openssl(&self, line: &str) {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(self.folder.path());
        let made = command.output().expect("`openssl` was found before");
        assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
