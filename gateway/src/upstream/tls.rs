//! The TLS side of the upstream: rustls on ring, certificates and host name always checked.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::config::{TlsConfig, UpstreamConfigError};

/// Builds what rustls needs from the files named in `config`.
pub(crate) fn client_config(config: &TlsConfig) -> Result<Arc<ClientConfig>, UpstreamConfigError> {
    let roots = match &config.ca_file {
        Some(path) => roots_of(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let client_config = match &config.client {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_file(&identity.key_file)
                .map_err(|error| unusable(&identity.key_file, error))?;
            builder.with_client_auth_cert(certificates(&identity.cert_file)?, key)?
        }
    };
    Ok(Arc::new(client_config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, UpstreamConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, error))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, UpstreamConfigError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(UpstreamConfigError::NoSystemRoots);
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, UpstreamConfigError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, error))?;
    if certificates.is_empty() {
        return Err(unusable(path, "holds no certificate"));
    }
    Ok(certificates)
}

fn unusable(path: &Path, reason: impl ToString) -> UpstreamConfigError {
    UpstreamConfigError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing here").unwrap();
        for path in [dir.path().join("missing.pem"), empty] {
            let config = TlsConfig {
                ca_file: Some(path.clone()),
                client: None,
            };
            let error = client_config(&config).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
