//! A certificate authority for one run, and a server certificate by it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::EmulatorError;

/// What a server proves that it is the one it is called.
#[derive(Clone)]
#[non_exhaustive]
pub struct Identity {
    /// Speaks TLS with the certificate.
    pub acceptor: TlsAcceptor,
    /// The certificate of the authority, for clients to trust, as PEM.
    pub ca_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// An authority, and a certificate by it for these names.
    ///
    /// # Errors
    /// If one of the names is none.
    pub fn new(names: &[String]) -> Result<Self, EmulatorError> {
        identity(names)
    }
}

fn identity(names: &[String]) -> Result<Identity, EmulatorError> {
    let fault = |error: rcgen::Error| EmulatorError::Certificate(error.to_string());
    let named = |common: &str| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, common);
        name
    };

    let mut ca = CertificateParams::default();
    ca.distinguished_name = named("gateway emulator authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate().map_err(fault)?;
    let ca_cert = ca.self_signed(&ca_key).map_err(fault)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut leaf = CertificateParams::new(names).map_err(fault)?;
    leaf.distinguished_name = named("gateway emulator");
    let leaf_key = KeyPair::generate().map_err(fault)?;
    let leaf_cert = leaf.signed_by(&leaf_key, &issuer).map_err(fault)?;

    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| EmulatorError::Certificate(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf_cert.der().clone()],
            PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
        )
        .map_err(|error| EmulatorError::Certificate(error.to_string()))?;
    Ok(Identity {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        ca_pem: ca_cert.pem(),
    })
}
