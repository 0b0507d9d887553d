//! The ways into the relay: its spool, and where that may not be used, a listener that answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::listener::Local;
use crate::mail::Reply;
use crate::smtp::{Input, Settings};
use crate::spool::Spool;

/// How long a listener on this machine may take to say that it is there.
const GREETING: Duration = Duration::from_secs(10);
/// How long it may take for anything else: it may have a slow disk, or many clients.
const REPLY: Duration = Duration::from_mins(5);
/// A line of a reply is no longer than this (RFC 5321 §4.5.3.1.5).
const LINE_BYTES_MAX: u64 = 2048;

/// Something that bytes go into and come out of.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a listener.
pub type Connection = BufReader<Box<dyn Stream>>;

/// One way in, with a conversation begun.
pub enum Door<'a> {
    /// The session is in this process; these replies are still to be read.
    Spool(Box<Local<'a>>, Vec<u8>),
    Listener(Connection),
}

impl<'a> Door<'a> {
    /// Through the spool.
    pub async fn to_spool(settings: Settings, spool: &'a dyn Spool) -> Door<'a> {
        let (local, greeting) = Local::begin(Arc::new(settings), spool).await;
        Door::Spool(Box::new(local), greeting)
    }

    /// Says something, and hears the reply.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn say(&mut self, command: &[u8]) -> io::Result<Reply> {
        self.write(command).await?;
        self.reply().await
    }

    /// Says something that has no reply yet.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Door::Spool(local, replies) => {
                replies.extend(local.hear(Input::Bytes(bytes)).await);
                Ok(())
            }
            Door::Listener(connection) => {
                timeout(REPLY, connection.get_mut().write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
            }
        }
    }

    /// Whether the other side has said its last word already.
    pub fn is_closed(&self) -> bool {
        matches!(self, Door::Spool(local, _) if local.is_closed())
    }

    /// The next reply.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        match self {
            Door::Spool(_, replies) => {
                let mut unread = replies.as_slice();
                let reply = read_reply(&mut unread).await;
                *replies = unread.to_vec();
                reply
            }
            Door::Listener(connection) => {
                timeout(REPLY, read_reply(connection)).await.map_err(|_| io::ErrorKind::TimedOut)?
            }
        }
    }
}

/// A reply with all its lines.
async fn read_reply(input: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Reply> {
    let mut text = String::new();
    loop {
        let mut line = Vec::new();
        tokio::io::AsyncReadExt::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line);
        let code = line.get(..3).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::UnexpectedEof)?;
        text = [&text, line.get(4..).unwrap_or_default().trim_end()].concat();
        if line.get(3..4) != Some("-") {
            return Ok(Reply::received(code, &text));
        }
        text.push(' ');
    }
}

/// Connects to a listener, by its address as it stands in the configuration. The greeting is the first reply.
///
/// # Errors
/// Where nobody is there.
pub async fn connect(address: &str) -> io::Result<Connection> {
    let opened = timeout(GREETING, open(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let mut connection = BufReader::new(opened);
    let waiting = timeout(GREETING, connection.fill_buf()).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if waiting.starts_with(b"220") { Ok(connection) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

async fn open(address: &str) -> io::Result<Box<dyn Stream>> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let (host, port) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let here = if ["*", "0.0.0.0", "::"].contains(&host) { "localhost" } else { host };
    let port: u16 = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(Box::new(TcpStream::connect((here, port)).await?))
}
