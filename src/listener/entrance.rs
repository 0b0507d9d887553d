//! What comes before the first word of SMTP: a proxy that says who the client is, and TLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::time::timeout;

use super::handshake::Failed;
use super::proxy::{self, HEADER_BYTES_MAX, Heard};
use super::wire::{Socket, Wire};

/// When TLS begins on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    #[default]
    Off,
    /// When the client says STARTTLS (RFC 3207).
    Starttls,
    /// On connect (RFC 8314 §3.3).
    Implicit,
    /// As the client likes.
    Auto,
}

/// How long a client on an `auto` port may take to begin a handshake, before it is greeted in the clear. A client that
/// wants TLS speaks as soon as it is connected, so this has to cover no more than a slow processor (200 ms were too short
/// for Java on a busy one) and a lost packet; one that wants none waits for the greeting, and would wait for ten seconds at
/// least (legacy-clients.md, section 1). Whoever opens a connection for each message pays this for each; a listener that
/// is not `auto` greets at once.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// The first byte of a handshake in every version (RFC 8446 §5.1). No command begins so.
const HANDSHAKE: u8 = 0x16;
/// A proxy sends its header together with the connection.
const PROXY_DEADLINE: Duration = Duration::from_secs(5);

/// Why nobody knows who is behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unannounced {
    /// The connection ended without a word, as health checks do.
    Silent,
    Because(&'static str),
}

/// Begins the conversation as `mode` says. Where no certificate is there, it is spoken in the clear.
pub async fn enter(mut socket: Socket, mode: TlsMode, tls: Option<Arc<ServerConfig>>) -> Result<Wire, Failed> {
    let wants_tls = match mode {
        TlsMode::Off | TlsMode::Starttls => false,
        TlsMode::Implicit => true,
        TlsMode::Auto => begins_a_handshake(&mut socket).await,
    };
    let mut wire = Wire::Plain(socket);
    if let Some(tls) = tls.filter(|_| wants_tls) {
        wire.encrypt(tls).await?;
    }
    Ok(wire)
}

async fn begins_a_handshake(socket: &mut Socket) -> bool {
    let first = timeout(FIRST_WORD, socket.look(1)).await;
    matches!(first, Ok(Ok([HANDSHAKE, ..])))
}

/// Who the proxy says is there; `None` where it speaks for itself.
pub async fn hear_proxy(socket: &mut Socket) -> Result<Option<IpAddr>, Unannounced> {
    let header = async {
        let mut before = 0;
        loop {
            let bytes = socket.look(HEADER_BYTES_MAX).await.unwrap_or_default();
            let (heard, seen) = (proxy::hear(bytes), bytes.len());
            match heard {
                Heard::Header(header) => return Ok(header),
                Heard::Nonsense(why) => return Err(Unannounced::Because(why)),
                Heard::More if seen == 0 => return Err(Unannounced::Silent),
                Heard::More if seen == before => return Err(Unannounced::Because("a PROXY header that breaks off")),
                Heard::More => before = seen,
            }
        }
    };
    let late = Err(Unannounced::Because("no PROXY header within 5 seconds"));
    let header = timeout(PROXY_DEADLINE, header).await.unwrap_or(late)?;
    socket.skip(header.bytes);
    Ok(header.client)
}
