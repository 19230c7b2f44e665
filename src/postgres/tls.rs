//! TLS as libpq means it, by rustls: `require` encrypts, `verify-ca` checks the signature, `verify-full` the name too.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslNegotiation;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::model::Failure;
use crate::postgres::{Address, Authorities, SslMode};

/// What encrypts the connections to this address; also for pools and for cancelling.
pub fn connector(address: &Address) -> Result<MakeRustlsConnect> {
    let tls = &address.tls;
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier {
        chain: chain_check(address, &provider)?,
        pinned: pinned(tls.mode, &tls.authorities)?,
        check_name: tls.mode == SslMode::VerifyFull,
        provider: provider.clone(),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("sslkey", key, &error))?;
            builder
                .with_client_auth_cert(certificates("sslcert", certificate)?, key)
                .map_err(|error| failed(format!("the client's certificate and key cannot be used: {error}")))?
        }
    };
    if address.config.get_ssl_negotiation() == SslNegotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn chain_check(address: &Address, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<WebPkiServerVerifier>>> {
    let mut roots = RootCertStore::empty();
    match &address.tls.authorities {
        Authorities::File(_) if address.tls.mode == SslMode::Disable => return Ok(None),
        // As libpq: who names a file of authorities wants them asked, even under `require`.
        Authorities::File(file) => roots.add_parsable_certificates(certificates("sslrootcert", file)?),
        Authorities::System if address.tls.mode < SslMode::VerifyCa => return Ok(None),
        Authorities::System => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if roots.is_empty() {
        bail!(failed("no authority is known that could vouch for the server".to_string()).hint("Name a PEM file with sslrootcert=FILE."));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| failed(format!("TLS cannot be set up: {error}")))?;
    Ok(Some(verifier))
}

fn pinned(mode: SslMode, authorities: &Authorities) -> Result<Vec<CertificateDer<'static>>> {
    match authorities {
        Authorities::File(file) if mode != SslMode::Disable => certificates("sslrootcert", file),
        _ => Ok(Vec::new()),
    }
}

fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            bail!(failed(format!("{parameter} {} holds no certificate", file.display())))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(parameter, file, &error)),
    }
}

fn unreadable(parameter: &str, file: &Path, error: &rustls::pki_types::pem::Error) -> anyhow::Error {
    failed(format!("{parameter} {} cannot be read: {error}", file.display())).hint("It must be a PEM file without a passphrase.").into()
}

fn failed(message: String) -> Failure {
    Failure::new("tls_failed", message)
}

#[derive(Debug)]
struct Verifier {
    /// None: any certificate will do, as `require` promises secrecy from listeners only.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that were named one by one: believed even where they are the server's own.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is looked at before the name: this error says that the chain is good.
            Err(rustls::Error::InvalidCertificate(error)) if is_wrong_name(&error) && !self.check_name => {
                Ok(ServerCertVerified::assertion())
            }
            // The self-signed certificate of PostgreSQL's manual is an authority too, which webpki wants no server to be. Dates are
            // looked at before that, names after it.
            Err(rustls::Error::InvalidCertificate(error)) if is_authority(&error) && self.pinned.contains(end_entity) => {
                if self.check_name {
                    rustls::client::verify_server_name(&rustls::server::ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.chain.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.chain.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn is_wrong_name(error: &CertificateError) -> bool {
    matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

pub(super) fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity")
}
