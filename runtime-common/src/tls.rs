//! The trust roots of every connection, to the API and to the gateway alike.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Whom connections trust: Mozilla's roots, unless told otherwise.
///
/// The crypto provider is ring, named explicitly: no process-wide default is needed or set.
#[derive(Clone, Default)]
pub struct TlsOptions {
    roots: Vec<CertificateDer<'static>>,
    config: Option<Arc<ClientConfig>>,
}

/// Why TLS could not be set up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is not PEM.
    #[error("the trust roots are not PEM: {0}; give a file with BEGIN CERTIFICATE in it")]
    NotPem(String),
    /// There is no certificate in the text.
    #[error("there is no certificate in the PEM text; give a file with BEGIN CERTIFICATE in it")]
    NoCertificate,
    /// A certificate cannot be a trust root, or the provider does not fit.
    #[error("TLS could not be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsOptions {
    /// Trusts the certificates of this PEM text too.
    ///
    /// # Errors
    /// If it is not PEM, holds no certificate, or one that cannot be a root. Nothing is changed then.
    pub fn add_roots(&mut self, pem: &[u8]) -> Result<(), TlsError> {
        let mut found = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            found.push(certificate.map_err(|error| TlsError::NotPem(error.to_string()))?);
        }
        if found.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let mut check = RootCertStore::empty();
        for certificate in &found {
            check.add(certificate.clone()).map_err(TlsError::Setup)?;
        }
        self.roots.append(&mut found);
        Ok(())
    }

    /// Uses the caller's own configuration for everything; roots added here are not looked at.
    pub fn use_config(&mut self, config: Arc<ClientConfig>) {
        self.config = Some(config);
    }

    /// The configuration. Make it once and share it: all shards of a bot use one.
    ///
    /// # Errors
    /// If the provider supports no protocol version that rustls allows, which a working build never
    /// shows.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = &self.config {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        for certificate in &self.roots {
            roots.add(certificate.clone()).map_err(TlsError::Setup)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("extra_roots", &self.roots.len())
            .field("own_config", &self.config.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_roots_are_named_and_change_nothing() {
        let mut tls = TlsOptions::default();
        assert_eq!(tls.add_roots(b""), Err(TlsError::NoCertificate));
        assert_eq!(tls.add_roots(b"no pem"), Err(TlsError::NoCertificate));
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(tls.add_roots(cut), Err(TlsError::NotPem(_))));
        let odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(tls.add_roots(odd), Err(TlsError::Setup(_))));
        assert!(tls.roots.is_empty());
        assert!(tls.client_config().is_ok());
    }

    #[test]
    fn an_own_configuration_is_used_as_it_is() {
        let mut tls = TlsOptions::default();
        let own = tls.client_config().unwrap();
        tls.use_config(Arc::clone(&own));
        assert!(Arc::ptr_eq(&tls.client_config().unwrap(), &own));
    }
}
