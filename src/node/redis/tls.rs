//! TLS by rustls. Certificates are always verified: by authorities, or by what is pinned.

use std::fmt;
use std::io;
use std::sync::Arc;

use redsync_engine::NodeError;
use ring::digest::{SHA256, digest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring as provider, verify_tls12_signature,
    verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::failure::io_error;

/// What TLS needs to know; certificates and keys are PEM.
#[derive(PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// The authorities to trust instead of the system's.
    pub ca: Option<String>,
    /// The fingerprints of the certificates to trust instead of authorities; see `fingerprint`.
    pub pins: Option<Vec<String>>,
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
    let provider = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("TLS is not available"))?;
    let config = match &options.pins {
        Some(pins) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::new(pins, &provider))),
        None => builder.with_root_certificates(roots(options)?),
    };
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

fn unusable(what: &'static str) -> NodeError {
    NodeError::new("ERR_TLS", what)
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, NodeError> {
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
    Ok(roots)
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.ok().filter(|certificates| !certificates.is_empty())
}

/// The SHA-256 of a certificate as Node.js prints it: `AA:BB:...`.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes = digest(&SHA256, certificate);
    let bytes: Vec<_> = bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Trusts the certificates with these fingerprints, and no others. Who has issued one, for which host and
/// until when, is not asked: whoever pins a certificate has answered that. (So does RFC 7671 for DANE-EE.)
#[derive(Debug)]
struct Pinned {
    pins: Vec<String>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(pins: &[String], provider: &CryptoProvider) -> Self {
        Self { pins: pins.to_vec(), algorithms: provider.signature_verification_algorithms }
    }
}

/// A certificate is public: anybody can show a copy of it. What proves that the server is its owner is its
/// signature under this handshake, by the key that the certificate names. So both signatures are verified as
/// they are without a pin.
impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = fingerprint(certificate);
        if self.pins.contains(&found) {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(NotPinned { found }));
        Err(Error::InvalidCertificate(CertificateError::Other(other)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The server has another certificate than one of those that are pinned.
#[derive(Debug)]
struct NotPinned {
    found: String,
}

impl fmt::Display for NotPinned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.found;
        write!(
            formatter,
            "the server's certificate is not the pinned one: its fingerprint256 is {found}"
        )
    }
}

impl std::error::Error for NotPinned {}

/// What has made TLS fail, if it was TLS: it may come after the handshake, which for a client is over
/// before the server has looked at its certificate. The error's own text may quote certificates.
pub fn refusal(error: &io::Error) -> Option<NodeError> {
    use tokio_rustls::rustls::AlertDescription;
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
        Error::InvalidCertificate(CertificateError::Other(OtherError(other)))
            if other.is::<NotPinned>() =>
        {
            return Some(NodeError::new("ERR_TLS", other.to_string()));
        }
        // Somebody trusts a certificate by giving it as `ca`, and it says that it is an authority's.
        Error::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            "the server's certificate is an authority's own: the server needs one that the authority has issued, or pin this one by tls.fingerprint256"
        }
        Error::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("UnsupportedCertVersion") =>
        {
            "the server's certificate is of X.509 version 1: the server needs one of version 3"
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "a signature is wrong: of the server's certificate, or of a server that has not its key"
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

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
    use tokio_rustls::rustls::version::{TLS12, TLS13};
    use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion};

    use super::*;

    /// Of a server, that has made it for itself; nobody has its key any more.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUdawWqPzIOPwFLBUwrYe87NYAqI8wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGcGlubmVkMB4XDTI2MTEyNjE5MjEwMFoXDTI2MTEyNzE5MjEw
MFowETEPMA0GA1UEAwwGcGlubmVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
+uf8nPjshY+fxaKxXsBvM8DCQ5JMjY8T2wfkaXIyVGdtymjhN7n626b8A/u7sttP
MrZKvwtBNJYv1mx36NKvi6NTMFEwHQYDVR0OBBYEFNA6gRBy92vIxn4SP/NJt/qY
fxz2MB8GA1UdIwQYMBaAFNA6gRBy92vIxn4SP/NJt/qYfxz2MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgavdZK3+/fomwPseE49sFRHSASfcRKkX8
an5sGIsA3EkCIQCHqSe7XfO+m+iY8dqjqklrKKMps0IYVYLHzQ5bEjzxPw==
-----END CERTIFICATE-----\n";

    const FINGERPRINT: &str = "A1:AD:F7:DE:28:2A:AB:AF:26:78:64:F6:9D:6B:E9:DC:52:8B:1E:40:B7:D7:59:67:3F:61:90:41:5B:7B:AE:99";

    /// One who has got the certificate, which is public, and signs with a key of his own.
    fn impostor(version: &'static SupportedProtocolVersion) -> TlsAcceptor {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .expect("a key can be made");
        let key = PrivatePkcs8KeyDer::from(key.as_ref().to_vec()).into();
        let key = provider::sign::any_supported_type(&key).expect("the key can sign");
        let shown = certificates(CERTIFICATE).expect("the certificate can be read");
        let certified = SingleCertAndKey::from(CertifiedKey::new(shown, key));
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[version])
            .expect("the version is known")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certified));
        TlsAcceptor::from(Arc::new(config))
    }

    #[test]
    fn whoever_shows_a_pinned_certificate_without_its_key_is_refused() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for version in [&TLS12, &TLS13] {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                let address = listener.local_addr().expect("it has an address");
                let acceptor = impostor(version);
                let serve = async {
                    let (stream, _) = listener.accept().await.expect("somebody connects");
                    acceptor.accept(stream).await.is_ok()
                };
                let tls = Tls::new(TlsOptions {
                    ca: None,
                    pins: Some(vec![FINGERPRINT.to_owned()]),
                    identity: None,
                    servername: None,
                });
                let connect = async {
                    let stream = TcpStream::connect(address).await.expect("it listens");
                    tls.connect("127.0.0.1", stream).await.err()
                };
                let (_, refused) = tokio::join!(serve, connect);
                let refused = refused.expect("no connection");
                assert!(refused.message.starts_with("a signature is wrong"), "{}", refused.message);
            }
        });
    }
}
