//! TLS by rustls. Certificates are always verified.

use std::io;
use std::sync::Arc;

use redsync_engine::NodeError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::failure::io_error;

/// What TLS needs to know, in PEM.
#[derive(PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// The authorities to trust instead of the system's.
    pub ca: Option<String>,
    /// A client certificate and its key.
    pub identity: Option<(String, String)>,
    /// The name to verify instead of the host's.
    pub servername: Option<String>,
}

/// How to make a connection secure.
#[derive(Clone)]
pub struct Tls {
    /// Or why none can be made: told by each call, as everything that is wrong with a node.
    config: Result<Arc<ClientConfig>, NodeError>,
    options: Arc<TlsOptions>,
}

impl Tls {
    /// Reads the certificates.
    pub fn new(options: TlsOptions) -> Self {
        Self { config: config(&options).map(Arc::new), options: Arc::new(options) }
    }

    /// What it was made with.
    pub fn options(&self) -> &Arc<TlsOptions> {
        &self.options
    }

    /// The handshake.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NodeError> {
        let config = self.config.clone()?;
        let name = self.options.servername.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| NodeError::new("ERR_TLS", "the host's name cannot be verified"))?;
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| refusal(&error).unwrap_or_else(|| io_error(&error)))
    }
}

fn config(options: &TlsOptions) -> Result<ClientConfig, NodeError> {
    let unusable = |what: &'static str| NodeError::new("ERR_TLS", what);
    let mut roots = RootCertStore::empty();
    let authorities = match &options.ca {
        Some(pem) => certificates(pem).ok_or_else(|| unusable("tls.ca cannot be read"))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    // The system's store may hold some that rustls cannot use.
    roots.add_parsable_certificates(authorities);
    if roots.is_empty() {
        return Err(unusable(match options.ca {
            Some(_) => "tls.ca has no certificate that can be used",
            None => "the system has no certificate authority to trust: give one in tls.ca",
        }));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("TLS is not available"))?
        .with_root_certificates(roots);
    match &options.identity {
        None => Ok(config.with_no_client_auth()),
        Some((cert, key)) => {
            let cert = certificates(cert).ok_or_else(|| unusable("tls.cert cannot be read"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| unusable("tls.key cannot be read"))?;
            config
                .with_client_auth_cert(cert, key)
                .map_err(|_| unusable("tls.cert and tls.key do not fit"))
        }
    }
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.ok().filter(|certificates| !certificates.is_empty())
}

/// What has made TLS fail, if it was TLS: it may come after the handshake, which for a client is over
/// before the server has looked at its certificate. The error's own text may quote certificates.
pub fn refusal(error: &io::Error) -> Option<NodeError> {
    use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};
    let what = match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name",
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the server's certificate has expired",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is from an authority that is not trusted"
        }
        // Somebody trusts a certificate by giving it as `ca`, and it says that it is an authority's.
        Error::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            "the server's certificate is an authority's own: the server needs one that the authority has issued"
        }
        Error::InvalidCertificate(_) => "the server's certificate is not valid",
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a client certificate"
        }
        Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => "the server does not accept the client certificate",
        Error::AlertReceived(_) => "the server refused the handshake",
        Error::InvalidMessage(_) => "the server does not speak TLS",
        _ => "the handshake failed",
    };
    Some(NodeError::new("ERR_TLS", what))
}
