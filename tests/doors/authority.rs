//! Certificates for the tests, made anew each time, and clients that trust them or do not.

use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::program::Relay;
use crate::talk::{Talk, tcp};

/// Signs certificates for `localhost`.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

/// A certificate with its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// TLS on a connection.
pub type Secure = StreamOwned<ClientConnection, TcpStream>;

/// The configuration that names `cert.pem` and `key.pem`.
pub const FILES: &str = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::default();
        // Of two with the same name a client could not say which one it misses.
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {}", fastrand::u64(..)));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("it signs itself").der().clone();
        Authority { issuer: Issuer::new(params, key), root }
    }

    /// Valid in these years, from January to January.
    pub fn pair(&self, years: (i32, i32)) -> Pair {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("that is a name");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes a good pair to where [`FILES`] says.
    pub fn equip(&self, relay: &Relay) {
        self.pair((2020, 2120)).write(relay);
    }

    fn client(&self, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("the root is good");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("there are versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Shakes hands, which must go well for what follows to go well.
    pub fn secure(&self, stream: TcpStream) -> Secure {
        self.secure_for(stream, &[])
    }

    /// The same for a client that says what it wants to speak.
    pub fn secure_for(&self, stream: TcpStream, protocols: &[&str]) -> Secure {
        let name = ServerName::try_from("localhost").expect("that is a name");
        let client = ClientConnection::new(Arc::new(self.client(protocols)), name).expect("it can begin");
        StreamOwned::new(client, stream)
    }

    /// Connects with TLS at once.
    pub fn connect(&self, port: u16) -> Talk<Secure> {
        Talk::over(self.secure(tcp(port)))
    }
}

impl Pair {
    pub fn write(&self, relay: &Relay) {
        relay.write("key.pem", &self.key);
        relay.write("cert.pem", &self.certificate);
    }
}
