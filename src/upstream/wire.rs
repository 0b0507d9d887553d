//! The encrypted connection, shared between lettre, which speaks in commands and replies, and us, who send the
//! content past it: in pieces, at the speed of the socket, and knowing which bytes went out.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Bytes that may come in without anything being said in between. The longest honest answer is that to 100
/// recipients, each with a refusal of some lines; a server that talks on and on is cut off here. lettre begins a reply
/// anew with every line that is added to it, so this bounds time more than memory.
const UNASKED_BYTES_MAX: usize = 64 * 1024;

/// A handle to the connection; all clones are the same connection.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    tls: TlsStream<TcpStream>,
    /// Read before anything that comes from the other side.
    prefix: &'static [u8],
    /// What came in so far, while somebody wants to know.
    heard: Option<Vec<u8>>,
    unasked_bytes: usize,
}

impl Wire {
    /// `prefix` is read first, as if the other side had said it.
    pub fn new(tls: TlsStream<TcpStream>, prefix: &'static [u8]) -> Wire {
        Wire(Arc::new(Mutex::new(Inner { tls, prefix, heard: Some(Vec::new()), unasked_bytes: 0 })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Locked for one poll at a time; a panic inside leaves at worst a broken connection.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that came in until now, as text. It is kept no longer.
    pub fn take_heard(&self) -> String {
        let heard = self.inner().heard.take().unwrap_or_default();
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Whether the other side has neither closed the connection nor said anything unasked, as it does before it
    /// closes. Costs no round trip.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        let mut inner = self.inner();
        Pin::new(&mut inner.tls).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner().tls.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if !inner.prefix.is_empty() {
            let (now, later) = inner.prefix.split_at(inner.prefix.len().min(buf.remaining()));
            buf.put_slice(now);
            inner.prefix = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut inner.tls).poll_read(cx, buf);
        let new = &buf.filled()[before..];
        inner.unasked_bytes += new.len();
        if let Some(heard) = &mut inner.heard {
            heard.extend_from_slice(new);
        }
        if inner.unasked_bytes > UNASKED_BYTES_MAX {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the reply does not end")));
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        inner.unasked_bytes = 0;
        Pin::new(&mut inner.tls).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().tls).poll_shutdown(cx)
    }
}
