//! The bytes between us and one client: over TCP or a Unix socket, in the clear or in TLS.
//!
//! What was read to find out how a client begins is kept, and read again first. The plain way has no box and no buffer of
//! its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::handshake::{self, Failed};

/// A connection as it was accepted.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection, and what was read from it too early.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    unread: Bytes,
}

/// A connection on which SMTP is spoken.
pub enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// A handshake has failed.
    Gone,
}

impl Socket {
    pub fn new(stream: Stream) -> Socket {
        Socket { stream, unread: Bytes::new() }
    }

    /// What the client has sent so far; waits until it is more than before. As before: it sends no more.
    pub async fn look(&mut self, bytes_max: usize) -> io::Result<&[u8]> {
        let mut seen = BytesMut::from(&self.unread[..]);
        let room = bytes_max.saturating_sub(seen.len());
        let mut window = (&mut seen).limit(room);
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read_buf(&mut window).await?,
            Stream::Unix(stream) => stream.read_buf(&mut window).await?,
        };
        self.unread = seen.freeze();
        Ok(&self.unread)
    }

    /// Forgets the first bytes of what was seen.
    pub fn skip(&mut self, count: usize) {
        self.unread.advance(count.min(self.unread.len()));
    }

    /// Says something without waiting for anything. A connection that was just opened has room for a line; where it has
    /// none, the client is gone.
    pub fn say_at_once(&self, bytes: &[u8]) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => socket2::SockRef::from(stream).send(bytes),
            Stream::Unix(stream) => socket2::SockRef::from(stream).send(bytes),
        };
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread[..count]);
            self.unread.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Wire {
    pub async fn read_buf(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read_buf(buffer).await,
            Wire::Tls(stream) => stream.read_buf(buffer).await,
            Wire::Gone => Ok(0),
        }
    }

    /// Writes all of it, and lets it go.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.write_all(bytes).await,
            Wire::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Wire::Gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.shutdown().await,
            Wire::Tls(stream) => stream.shutdown().await,
            Wire::Gone => Ok(()),
        }
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self, Wire::Tls(_))
    }

    /// Shakes hands. Where that fails there is no connection any more.
    pub async fn encrypt(&mut self, tls: Arc<ServerConfig>) -> Result<(), Failed> {
        if let Wire::Plain(socket) = std::mem::replace(self, Wire::Gone) {
            // Boxed, so that it is no part of every conversation in the clear.
            let handshake = Box::pin(handshake::shake(socket, tls));
            *self = Wire::Tls(Box::new(handshake.await?));
        }
        Ok(())
    }

    /// Lets the kernel acknowledge at once what no reply will soon.
    #[cfg(target_os = "linux")]
    pub fn acknowledge(&self) {
        let socket = match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => stream.get_ref().0,
            Wire::Gone => return,
        };
        if let Stream::Tcp(stream) = &socket.stream {
            // Where this cannot be had, the lines only come later.
            let _ = socket2::SockRef::from(stream).set_tcp_quickack(true);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn acknowledge(&self) {}
}
