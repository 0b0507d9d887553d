//! The way to Gmail: name, address, TLS. What comes out is encrypted and belongs to the right name, or nothing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::verdict::Stage;
use super::wire::Wire;
use crate::mail::Reply;

/// Head start of one address over the next (RFC 8305 §5).
const ADDRESS_DELAY: Duration = Duration::from_millis(250);
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
const TLS_DEADLINE: Duration = Duration::from_secs(30);
/// RFC 5321 §4.5.3.2.1 grants the greeting five minutes.
pub const GREETING_DEADLINE: Duration = Duration::from_mins(5);
/// A reply in the clear, before STARTTLS, is a few lines.
const CLEAR_REPLY_BYTES_MAX: usize = 8 * 1024;

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// On connect, as on port 465 (RFC 8314 §3.3).
    Implicit,
    /// After STARTTLS, as on port 587 (RFC 3207). Without it nothing is sent.
    Starttls,
}

/// Where Gmail is.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub tls: TlsMode,
    /// What we call ourselves there.
    pub hostname: String,
    pub trust: Trust,
}

/// Whose certificates are believed. There is no way to believe everybody.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

/// Why `ca_file` is of no use.
#[derive(Debug, thiserror::Error)]
#[error("ca_file {path}: {reason}")]
pub struct TrustError {
    path: String,
    reason: String,
}

impl Trust {
    /// The roots that come with the program, and those of `ca_file`.
    ///
    /// # Errors
    /// Where the file cannot be read or holds no certificate.
    pub fn new(ca_file: Option<&Path>) -> Result<Trust, TrustError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = ca_file {
            add_file(&mut roots, path).map_err(|reason| TrustError { path: path.display().to_string(), reason })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError { path: String::new(), reason: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut found = false;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        found = true;
    }
    if found { Ok(()) } else { Err("it holds no certificate in PEM form".to_owned()) }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Setback {
    /// Gmail did not answer, or not in SMTP.
    NoAnswer(Fault),
    /// Gmail said no.
    Said(Stage, Reply),
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Setback {
        Setback::NoAnswer(fault)
    }
}

impl Endpoint {
    /// Opens an encrypted connection. The greeting is still to be read from it: with STARTTLS one was said in the
    /// clear, and a second one stands in for it, since nothing said before TLS may count.
    ///
    /// # Errors
    /// All of them pass, or can be mended.
    pub async fn open(&self) -> Result<Wire, Setback> {
        let addresses = self.addresses().await?;
        let mut tcp = connect_to_any(addresses).await?;
        tcp.set_nodelay(true).map_err(|error| Fault::Unreachable(error.to_string()))?;
        let prefix: &'static [u8] = match self.tls {
            TlsMode::Implicit => b"",
            TlsMode::Starttls => {
                let words = timeout(GREETING_DEADLINE, self.ask_for_tls(&mut tcp));
                words.await.map_err(|_| Fault::late(Stage::Starttls, GREETING_DEADLINE))??;
                b"220 TLS\r\n"
            }
        };
        Ok(Wire::new(self.handshake(tcp).await?, prefix))
    }

    /// The addresses of the host, the two families in turn, so that a family that does not work here costs little.
    async fn addresses(&self) -> Result<VecDeque<SocketAddr>, Fault> {
        let lookup = timeout(CONNECT_DEADLINE, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let found = match lookup {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(Fault::Dns(format!("{}: {error}", self.host))),
            Err(_) => return Err(Fault::Dns(format!("{}: no answer", self.host))),
        };
        let (first, second): (VecDeque<_>, VecDeque<_>) = found.partition(SocketAddr::is_ipv6);
        let longest = first.len().max(second.len());
        let (mut first, mut second) = (first.into_iter(), second.into_iter());
        Ok((0..longest).flat_map(|_| [first.next(), second.next()]).flatten().collect())
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(self.host.clone()).map_err(|error| Fault::Tls(error.to_string()))?;
        let handshake = TlsConnector::from(Arc::clone(&self.trust.0)).connect(name, tcp);
        match timeout(TLS_DEADLINE, handshake).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(Fault::of_handshake(&error)),
            Err(_) => Err(Fault::Tls(format!("no answer within {} seconds", TLS_DEADLINE.as_secs()))),
        }
    }

    /// The few words before TLS. Nothing is learnt from them but that TLS may begin (RFC 3207 §4.2).
    async fn ask_for_tls(&self, tcp: &mut TcpStream) -> Result<(), Setback> {
        expect(tcp, Stage::Greeting, 220).await?;
        say(tcp, &format!("EHLO {}\r\n", self.hostname)).await?;
        expect(tcp, Stage::Ehlo, 250).await?;
        say(tcp, "STARTTLS\r\n").await?;
        match expect(tcp, Stage::Starttls, 220).await {
            Err(Setback::Said(_, reply)) if reply.code() >= 500 => Err(Fault::NoStarttls(reply.to_string()).into()),
            answer => answer,
        }
    }
}

async fn say(tcp: &mut TcpStream, command: &str) -> Result<(), Fault> {
    tcp.write_all(command.as_bytes())
        .await
        .map_err(|error| Fault::Closed { stage: Stage::Starttls, reason: error.to_string() })
}

async fn expect(tcp: &mut TcpStream, stage: Stage, code: u16) -> Result<(), Setback> {
    let reply = clear_reply(tcp, stage).await?;
    if reply.code() == code { Ok(()) } else { Err(Setback::Said(stage, reply)) }
}

/// Reads one reply. Whatever follows it in the same breath was put there by somebody who wants it to be taken
/// for something said after TLS; then there is no connection.
async fn clear_reply(tcp: &mut TcpStream, stage: Stage) -> Result<Reply, Fault> {
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let count = tcp.read(&mut piece).await.map_err(|error| Fault::Closed { stage, reason: error.to_string() })?;
        if count == 0 {
            return Err(Fault::Closed { stage, reason: "end of the connection".to_owned() });
        }
        text.extend_from_slice(&piece[..count]);
        if text.len() > CLEAR_REPLY_BYTES_MAX {
            return Err(Fault::Protocol("the reply does not end".to_owned()));
        }
        if let Some(reply) = whole_reply(&text)? {
            return Ok(reply);
        }
    }
}

/// The reply, once its last line is there and nothing behind it.
///
/// # Errors
/// What was said is none, or more than one.
pub fn whole_reply(text: &[u8]) -> Result<Option<Reply>, Fault> {
    let Some(text) = text.strip_suffix(b"\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(text);
    let mut lines = text.split("\r\n").peekable();
    let mut words = Vec::new();
    let first = lines.peek().and_then(|line| line.get(..3)).map(str::to_owned);
    while let Some(line) = lines.next() {
        let (code, rest) = line.split_at_checked(3).ok_or_else(|| Fault::protocol(line))?;
        let code: u16 = code.parse().map_err(|_| Fault::protocol(line))?;
        words.push(rest.get(1..).unwrap_or("").to_owned());
        if first.as_deref() != line.get(..3) {
            return Err(Fault::Protocol("one reply with two codes".to_owned()));
        }
        match (rest.starts_with('-'), lines.peek()) {
            (true, _) => {}
            (false, None) => return Ok(Some(Reply::received(code, &words.join(" ")))),
            (false, Some(_)) => return Err(Fault::Protocol("something follows the reply before TLS".to_owned())),
        }
    }
    Ok(None)
}

/// The first address that answers; the next one is tried when one fails, and soon anyway.
async fn connect_to_any(mut addresses: VecDeque<SocketAddr>) -> Result<TcpStream, Fault> {
    let mut attempts = JoinSet::new();
    let mut last = Fault::Dns("the name has no address".to_owned());
    loop {
        match addresses.pop_front() {
            Some(address) => drop(attempts.spawn(async move { connect_to(address).await })),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(fault)) => last = fault,
                Err(error) => last = Fault::Unreachable(error.to_string()),
            },
            () = sleep(ADDRESS_DELAY), if !addresses.is_empty() => {}
        }
    }
}

async fn connect_to(address: SocketAddr) -> Result<TcpStream, Fault> {
    match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Fault::Refused(address.to_string())),
        Ok(Err(error)) => Err(Fault::Unreachable(format!("{address}: {error}"))),
        Err(_) => Err(Fault::ConnectTimeout(address.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_in_the_clear_is_taken_whole_and_alone() {
        let reply = whole_reply(b"250-smtp.gmail.com at your service\r\n250 STARTTLS\r\n").unwrap().unwrap();
        assert_eq!(reply.code(), 250);
        assert!(whole_reply(b"250-smtp.gmail.com\r\n").unwrap().is_none());
        assert!(whole_reply(b"220 rea").unwrap().is_none());
    }

    #[test]
    fn words_behind_the_last_reply_end_the_connection() {
        assert!(matches!(whole_reply(b"220 ready\r\n250 injected\r\n"), Err(Fault::Protocol(_))));
        assert!(matches!(whole_reply(b"HTTP/1.1 400 Bad\r\n"), Err(Fault::Protocol(_))));
        assert!(matches!(whole_reply(b"250-ready\r\n220 ready\r\n"), Err(Fault::Protocol(_))));
    }

    #[tokio::test]
    async fn an_address_that_refuses_costs_nothing_when_the_next_one_answers() {
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answering = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = answering.local_addr().unwrap();
        let tcp = connect_to_any(VecDeque::from([refusing, address])).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), address);
        assert!(matches!(connect_to_any(VecDeque::from([refusing])).await, Err(Fault::Refused(_))));
        assert!(matches!(connect_to_any(VecDeque::new()).await, Err(Fault::Dns(_))));
    }

    /// A backlog that is full answers nothing, as a firewall does that drops packets.
    #[tokio::test]
    async fn an_address_that_is_silent_has_a_short_head_start_only() {
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(tcp)) = timeout(Duration::from_millis(100), TcpStream::connect(silent_address)).await {
            waiting.push(tcp);
        }
        let answering = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = answering.local_addr().unwrap();
        let began = tokio::time::Instant::now();
        let tcp = connect_to_any(VecDeque::from([silent_address, address])).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), address);
        assert!(began.elapsed() < CONNECT_DEADLINE);
    }
}
