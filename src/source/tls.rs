//! Whom an encrypted connection to a database believes.
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
