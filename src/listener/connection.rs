//! One connection: reads, lets the session think, and does what it says, in its order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::intake::Intake;
use crate::clock::now;
use crate::event::{self, Event};
use crate::mail::{Client, Refusal};
use crate::smtp::{Action, Input, Offer, Parting, Session, Settings};
use crate::spool::Spool;

/// What is read at once: enough for commands and small mail, and more for whoever fills that.
const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// How long a client that was turned away may take to notice, so that it reads our reply and not a reset.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much of what it still sends is thrown away meanwhile.
const LAST_BYTES_MAX: usize = 1024 * 1024;

/// Why a connection is over.
enum End {
    /// We close it.
    Closed(Parting),
    /// The client did, or the line broke.
    Gone,
}

struct Connection<'a> {
    stream: TcpStream,
    intake: Intake<'a>,
}

/// Talks with a client until one of the two has enough, or `stop` says so.
pub async fn converse(
    stream: TcpStream,
    ip: IpAddr,
    settings: &Arc<Settings>,
    offer: Offer,
    spool: &dyn Spool,
    mut stop: watch::Receiver<bool>,
) {
    let silence = Duration::from_secs(settings.policy.limits.idle_timeout_s);
    let client = Client { helo: String::new(), ip: Some(ip), login: None };
    let mut connection = Connection { stream, intake: Intake::new(client, spool) };
    event::log(&Event::Connected { client: &ip.to_string() });
    let (mut session, greeting) = Session::new(Arc::clone(settings), offer, Some(ip));
    let mut end = connection.carry_out(&mut session, greeting, silence).await;
    let mut buffer = Vec::with_capacity(READ_BYTES_MIN);
    while end.is_none() {
        if buffer.len() == buffer.capacity() {
            buffer = Vec::with_capacity((buffer.capacity() * 2).min(READ_BYTES_MAX));
        }
        buffer.clear();
        let input = tokio::select! {
            read = timeout(silence, connection.stream.read_buf(&mut buffer)) => match read {
                Ok(Ok(count)) if count > 0 => Input::Bytes(&buffer),
                Ok(_) => break,
                Err(_) => Input::Silence,
            },
            _ = stop.changed() => Input::Stop,
        };
        let actions = session.advance(now(), input);
        if !actions.iter().any(|action| matches!(action, Action::Send(_) | Action::Store { .. })) {
            connection.acknowledge();
        }
        end = connection.carry_out(&mut session, actions, silence).await;
    }
    if let Some(End::Closed(Parting::Ours)) = end {
        last_words(&mut connection.stream).await;
    }
    let Intake { client, messages, .. } = &connection.intake;
    event::log(&Event::Disconnected { client: &client.to_string(), messages: *messages });
}

impl Connection<'_> {
    async fn carry_out(&mut self, session: &mut Session, actions: Vec<Action>, patience: Duration) -> Option<End> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(replies) => match timeout(patience, self.stream.write_all(&replies)).await {
                    Ok(Ok(())) => {}
                    _ => return Some(End::Gone),
                },
                Action::Append(piece) => self.intake.append(piece).await,
                Action::Discard => self.intake.forget(),
                Action::Store { submission, rest } => {
                    let stored = self.intake.store(*submission, rest).await;
                    actions.extend(session.advance(now(), Input::Stored(stored)));
                }
                Action::Log { refusal, command } => self.intake.log_refusal(&refusal, &command),
                Action::Close(parting) => return Some(End::Closed(parting)),
            }
        }
        None
    }

    /// Lets the kernel acknowledge at once what no reply will soon. Old programs write line by line without `TCP_NODELAY`: each
    /// line would wait for the acknowledgement of the one before, which Linux holds back for 40 ms.
    fn acknowledge(&self) {
        // Where this cannot be had, the lines only come later.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.stream).set_tcp_quickack(true);
    }
}

/// Tells a client why it may not speak, without reading a byte of it.
pub async fn turn_away(mut stream: TcpStream, ip: IpAddr, refusal: &Refusal) {
    log_dismissal(ip, refusal);
    if let Ok(Ok(())) = timeout(LAST_WORDS, stream.write_all(last_line(refusal).as_bytes())).await {
        last_words(&mut stream).await;
    }
}

/// The same without waiting for anything, not even until the client has read it.
pub fn dismiss(stream: &TcpStream, ip: IpAddr, refusal: &Refusal) {
    log_dismissal(ip, refusal);
    // A connection that was just opened has room for a line. Where it has none, the client is gone.
    let _ = socket2::SockRef::from(stream).send(last_line(refusal).as_bytes());
}

fn last_line(refusal: &Refusal) -> String {
    format!("{}\r\n", refusal.reply())
}

fn log_dismissal(ip: IpAddr, refusal: &Refusal) {
    event::log(&Event::Rejected {
        client: &ip.to_string(),
        reply: &refusal.reply().to_string(),
        command: "",
        reason: &refusal.to_string(),
    });
}

/// Closes our side, and waits for the other one a little: a socket closed over unread bytes would send a reset,
/// which overtakes our last reply.
async fn last_words(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut bytes = 0;
    let drain = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            bytes += count;
            if bytes > LAST_BYTES_MAX {
                break;
            }
        }
    };
    let _ = timeout(LAST_WORDS, drain).await;
}
