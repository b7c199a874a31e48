//! Whom an encrypted connection to a database believes, and what is said of whom no connection does.
//!
//! Not responsible for what is said over it. Invariant: nothing but what the config says weakens what is verified.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::remote::{Trust, Verify};
use crate::small_file;

/// The longest file of certificates or keys that is taken.
pub(super) const LONGEST_FILE: u64 = 16 << 20;
/// By what the library says of each certificate that it does not believe.
const DISTRUST: &str = "invalid peer certificate: ";
/// How the authority of a database is named.
pub(super) const BY_SOURCE: &str = "as `tls: {ca: ..}` at the source";

/// What a client goes by. Blocks on the file system.
///
/// # Errors
/// A file with certificates or keys cannot be used; which, and why.
pub(super) fn client(trust: &Trust) -> Result<ClientConfig, String> {
    // By name: others in the process may bring a second one, and then none is the usual one.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let begun = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let begun = match trust.verify {
        Verify::Full => begun.with_root_certificates(roots(trust)?),
        Verify::Authority => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(trust)?), provider)
                    .build()
                    .map_err(|error| error.to_string())?;
            let verifier = Arc::new(AnyHost(verifier));
            begun.dangerous().with_custom_certificate_verifier(verifier)
        }
        Verify::Nothing => {
            begun.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        }
    };
    match &trust.certificate {
        None => Ok(begun.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let unusable =
                |why: String| format!("the key `{}` cannot be used: {why}", key.display());
            let read = small_file::read(key, LONGEST_FILE);
            let read = read.map_err(|error| unusable(error.to_string()))?;
            let private = PrivateKeyDer::from_pem_slice(&read);
            let private = private.map_err(|error| unusable(error.to_string()))?;
            begun.with_client_auth_cert(chain, private).map_err(|error| {
                format!("`{}` and its key do not fit: {error}", certificate.display())
            })
        }
    }
}

/// What a server's certificate lacks, where that is `why` there is no connection to it, and what to do. `ca` says how an
/// authority of one's own is named.
pub(super) fn distrusted(why: &str, ca: &str) -> Option<String> {
    let (_, flaw) = why.split_once(DISTRUST)?;
    let (lack, remedy) = match () {
        // Another authority may have the name of one that is known.
        () if flaw.starts_with("UnknownIssuer") || flaw.starts_with("BadSignature") => (
            "is of an authority that is not known here",
            format!("name the file of that authority {ca}, if this is the right server"),
        ),
        () if flaw.starts_with("certificate not valid for name") => {
            ("is for another host", "name the host as its certificate does".to_owned())
        }
        () if flaw.starts_with("certificate expired") => {
            ("has expired", "have it renewed".to_owned())
        }
        () if flaw.starts_with("certificate not valid yet") => {
            ("is not good yet", "see whether a clock is wrong".to_owned())
        }
        () => ("cannot be believed", "have the server show another".to_owned()),
    };
    Some(format!("its certificate {lack} ({why}); {remedy}"))
}

fn roots(trust: &Trust) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match &trust.authorities {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("`{}` holds no authority: {error}", path.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    match roots.is_empty() {
        true => Err("there is no authority to believe: name a file of certificates as `ca`".into()),
        false => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |why: String| format!("`{}` cannot be used: {why}", path.display());
    let read = small_file::read(path, LONGEST_FILE).map_err(|error| unusable(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&read).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(unusable("it holds no certificate".to_owned())),
        false => Ok(certificates),
    }
}

/// Verifies all but the host that the certificate is for.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Believes everyone.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_believed_is_told_by_what_it_lacks() {
        let said = |error: CertificateError| {
            let why = format!("tls: {}", rustls::Error::InvalidCertificate(error));
            distrusted(&why, "HERE").expect("it is of a certificate")
        };
        let now = UnixTime::now();
        let name = || ServerName::try_from("lake.example.com").unwrap().to_owned();
        let other = CertificateError::NotValidForNameContext {
            expected: name(),
            presented: vec!["DnsName(\"h\")".to_owned()],
        };
        let expired = CertificateError::ExpiredContext { time: now, not_after: now };
        let early = CertificateError::NotValidYetContext { time: now, not_before: now };
        for (error, lack, remedy) in [
            (CertificateError::UnknownIssuer, "an authority that is not known here", "HERE"),
            (CertificateError::BadSignature, "an authority that is not known here", "HERE"),
            (other, "is for another host", "name the host"),
            (expired, "has expired", "renewed"),
            (early, "is not good yet", "clock"),
            (CertificateError::Revoked, "cannot be believed", "show another"),
        ] {
            let said = said(error);
            assert!(said.contains(lack) && said.contains(remedy), "{said}");
        }
        assert_eq!(distrusted("connection refused", "HERE"), None);
        assert_eq!(distrusted("received fatal alert: UnknownCA", "HERE"), None);
    }
}
