//! The bytes between the stand-in and its client: lines in, replies out, TLS below.
//!
//! Replies gather until the next read, so a group of pipelined commands is answered with one write (RFC 2920 §3.2).
//! A client that is silent for too long shows as [`io::ErrorKind::TimedOut`], one that went away as
//! [`io::ErrorKind::UnexpectedEof`].

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const BUFFER_BYTES: usize = 64 * 1024;
/// AUTH may need 12,288 octets (RFC 4954 §4.3); nothing else comes near.
const LINE_BYTES_MAX: usize = 16 * 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to read the last reply.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// rustls reads 4 KiB at a time; the buffer below it turns that into few system calls.
type Socket = BufReader<TcpStream>;

enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// Given up, by closing or by a handshake that failed.
    Gone,
}

impl Transport {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.read_buf(buffer).await,
            Transport::Tls(stream) => stream.read_buf(buffer).await,
            Transport::Gone => Ok(0),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.write_all(bytes).await,
            Transport::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Transport::Gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.shutdown().await,
            Transport::Tls(stream) => stream.shutdown().await,
            Transport::Gone => Ok(()),
        }
    }
}

/// One connection.
pub(super) struct Wire {
    transport: Transport,
    input: BytesMut,
    output: Vec<u8>,
    /// The replies gathered may not be sent before.
    not_before: Option<Instant>,
    idle_timeout: Duration,
}

impl Wire {
    pub fn new(socket: TcpStream, idle_timeout: Duration) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        Ok(Wire {
            transport: Transport::Plain(BufReader::with_capacity(BUFFER_BYTES, socket)),
            input: BytesMut::with_capacity(BUFFER_BYTES),
            output: Vec::with_capacity(1024),
            not_before: None,
            idle_timeout,
        })
    }

    /// Whether the client sent more than was read: at STARTTLS and DATA it must not have.
    pub fn has_input(&self) -> bool {
        let below = matches!(&self.transport, Transport::Plain(socket) if !socket.buffer().is_empty());
        below || !self.input.is_empty()
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// Shakes hands. Whatever was said before stays in the clear and counts for nothing (RFC 3207 §4.2).
    pub async fn encrypt(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.flush().await?;
        let Transport::Plain(socket) = std::mem::replace(&mut self.transport, Transport::Gone) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// Puts bytes behind the replies that wait to be sent.
    pub fn say(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Forgets what was not sent yet.
    pub fn unsay(&mut self) {
        self.output.clear();
    }

    /// The replies gathered by now leave at the earliest after `delay`.
    pub fn hold(&mut self, delay: Duration) {
        let moment = Instant::now() + delay;
        self.not_before = Some(self.not_before.map_or(moment, |earlier| earlier.max(moment)));
    }

    /// Sends all replies that wait.
    pub async fn flush(&mut self) -> io::Result<()> {
        if let Some(moment) = self.not_before.take() {
            sleep_until(moment).await;
        }
        if self.output.is_empty() {
            return Ok(());
        }
        timeout(self.idle_timeout, self.transport.write(&self.output)).await??;
        self.output.clear();
        Ok(())
    }

    /// Sends what waits, then reads at least one byte more.
    async fn fill(&mut self) -> io::Result<()> {
        self.flush().await?;
        // Room for what a TLS record or a read below may bring; the space of consumed lines is used again.
        self.input.reserve(BUFFER_BYTES / 2);
        match timeout(self.idle_timeout, self.transport.read(&mut self.input)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next line without its CRLF. A lone CR or LF is part of the line.
    ///
    /// A line longer than any command shows as [`io::ErrorKind::InvalidData`].
    pub async fn line(&mut self) -> io::Result<BytesMut> {
        let mut searched = 0;
        loop {
            if let Some(at) = memmem::find(&self.input[searched..], b"\r\n") {
                let line = self.input.split_to(searched + at);
                self.input.advance(2);
                return Ok(line);
            }
            searched = self.input.len().saturating_sub(1);
            if searched > LINE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.fill().await?;
        }
    }

    /// Hands bytes to `eat` until it says that it has enough. `eat` returns how many it took, and whether that is all.
    pub async fn feed(&mut self, mut eat: impl FnMut(&[u8]) -> (usize, bool)) -> io::Result<()> {
        loop {
            let (taken, enough) = eat(&self.input);
            self.input.advance(taken);
            if enough {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Says what was to be said, ends the stream in order, and lets the client read it.
    pub async fn close(&mut self) {
        let farewell = async {
            self.flush().await?;
            self.transport.shutdown().await?;
            // A socket closed with bytes unread answers with a reset, which may overtake the last reply.
            loop {
                self.input.clear();
                if self.transport.read(&mut self.input).await? == 0 {
                    return Ok::<(), io::Error>(());
                }
            }
        };
        // A client that is gone, or does not listen, is no concern of ours any more.
        let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
        self.transport = Transport::Gone;
    }

    /// Sends what was to be said before, then is gone without a word of farewell.
    pub async fn drop_dead(&mut self) -> io::Result<()> {
        let result = self.flush().await;
        self.transport = Transport::Gone;
        result
    }

    /// Never says anything again; ends when the client goes away.
    pub async fn keep_silent(&mut self) -> io::Result<()> {
        self.flush().await?;
        while self.transport.read(&mut self.input).await? > 0 {
            self.input.clear();
        }
        Ok(())
    }
}
