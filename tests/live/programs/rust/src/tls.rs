//! Configurations of rustls 0.23.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use rustls::{SupportedProtocolVersion, version};

/// Both versions, or the one that `PEER_TLS` (`1.2`, `1.3`) names.
fn versions() -> Vec<&'static SupportedProtocolVersion> {
    match std::env::var("PEER_TLS").as_deref() {
        Ok("1.2") => vec![&version::TLS12],
        Ok("1.3") => vec![&version::TLS13],
        _ => vec![&version::TLS12, &version::TLS13],
    }
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if let Ok(wanted) = std::env::var("PEER_CIPHER") {
        provider
            .cipher_suites
            .retain(|suite| format!("{suite:?}").contains(&wanted));
    }
    Arc::new(provider)
}

/// A server with this certificate.
pub fn server(certificate: Vec<u8>, key: Vec<u8>) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions())
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::Pkcs8(key.into()))
        .unwrap()
}

/// A client that accepts this certificate and no other.
pub fn client(certificate: Vec<u8>) -> ClientConfig {
    let provider = provider();
    ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions())
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Only {
            certificate,
            provider,
        }))
        .with_no_client_auth()
}

/// The tests' certificate is its own authority, which webpki refuses.
#[derive(Debug)]
struct Only {
    certificate: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if certificate.as_ref() == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
