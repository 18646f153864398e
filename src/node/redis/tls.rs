//! TLS by rustls. Certificates are always verified.

use std::sync::Arc;

use redsync_engine::NodeError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What TLS needs to know, in PEM.
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
    servername: Option<String>,
}

impl Tls {
    /// Reads the certificates.
    pub fn new(options: TlsOptions) -> Self {
        Self { config: config(&options).map(Arc::new), servername: options.servername }
    }

    /// The handshake.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NodeError> {
        let config = self.config.clone()?;
        let name = self.servername.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| NodeError::new("ERR_TLS", "the host's name cannot be verified"))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| refusal(&error))
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
        return Err(unusable("there is no certificate authority to trust"));
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

/// Why the handshake failed. Its own text may quote certificates.
fn refusal(error: &std::io::Error) -> NodeError {
    use tokio_rustls::rustls::{CertificateError, Error};
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let what = match tls {
        None => return super::stream::io_error(error),
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the server's certificate is for another name",
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the server's certificate has expired",
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the server's certificate is from an authority that is not trusted"
        }
        Some(Error::InvalidCertificate(_)) => "the server's certificate is not valid",
        Some(Error::AlertReceived(_)) => "the server refused the handshake",
        Some(Error::InvalidMessage(_)) => "the server does not speak TLS",
        Some(_) => "the handshake failed",
    };
    NodeError::new("ERR_TLS", what)
}
