//! One connection: reads, lets the session think, and does what it says, in its order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::timeout;

use super::intake::Intake;
use super::trace::Recording;
use super::wire::Wire;
use super::{Visitor, note_failed_handshake, shown};
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
    wire: Wire,
    /// For STARTTLS, where it is offered.
    tls: Option<Arc<ServerConfig>>,
    intake: Intake<'a>,
    recording: Option<Recording>,
}

/// Who is at the other end.
pub struct Peer {
    pub wire: Wire,
    /// `None` for a program of this machine.
    pub ip: Option<IpAddr>,
    /// For STARTTLS, where it is offered.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Talks with a client until one of the two has enough, or `stop` says so.
pub async fn converse(
    peer: Peer,
    settings: &Arc<Settings>,
    offer: Offer,
    spool: &dyn Spool,
    recording: Option<Recording>,
    mut stop: watch::Receiver<bool>,
) {
    let silence = Duration::from_secs(settings.policy.limits.idle_timeout_s);
    let Peer { wire, ip, tls } = peer;
    let client = Client { helo: String::new(), ip, login: None };
    let begin = if wire.is_encrypted() { Session::inside_tls } else { Session::new };
    let mut connection = Connection { wire, tls, intake: Intake::new(client, spool), recording };
    event::log(&Event::Connected { client: &shown(ip) });
    let (mut session, greeting) = begin(Arc::clone(settings), offer, ip);
    let mut end = connection.carry_out(&mut session, greeting, silence).await;
    connection.record(&[]);
    let mut buffer = Vec::with_capacity(READ_BYTES_MIN);
    while end.is_none() {
        if buffer.len() == buffer.capacity() {
            buffer = Vec::with_capacity((buffer.capacity() * 2).min(READ_BYTES_MAX));
        }
        buffer.clear();
        let input = tokio::select! {
            read = timeout(silence, connection.wire.read_buf(&mut buffer)) => match read {
                Ok(Ok(count)) if count > 0 => Input::Bytes(&buffer),
                Ok(_) => break,
                Err(_) => Input::Silence,
            },
            _ = stop.changed() => Input::Stop,
        };
        let actions = session.advance(now(), input);
        if !actions.iter().any(|action| matches!(action, Action::Send(_) | Action::Store { .. })) {
            connection.wire.acknowledge();
        }
        end = connection.carry_out(&mut session, actions, silence).await;
        connection.record(&buffer);
    }
    if let Some(recording) = connection.recording.take() {
        recording.finish(matches!(end, Some(End::Closed(_))));
    }
    if let Some(End::Closed(Parting::Ours)) = end {
        last_words(&mut connection.wire).await;
    }
    let Intake { client, messages, .. } = &connection.intake;
    event::log(&Event::Disconnected { client: &client.to_string(), messages: *messages });
}

impl Connection<'_> {
    async fn carry_out(&mut self, session: &mut Session, actions: Vec<Action>, patience: Duration) -> Option<End> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(replies) => {
                    if let Some(recording) = &mut self.recording {
                        recording.said(&replies);
                    }
                    match timeout(patience, self.wire.write_all(&replies)).await {
                        Ok(Ok(())) => {}
                        _ => return Some(End::Gone),
                    }
                }
                Action::Append(piece) => self.intake.append(piece).await,
                Action::Discard => self.intake.forget(),
                Action::Store { submission, rest } => {
                    let stored = self.intake.store(*submission, rest).await;
                    actions.extend(session.advance(now(), Input::Stored(stored)));
                }
                Action::Encrypt => {
                    if let Some(end) = self.encrypt().await {
                        return Some(end);
                    }
                    actions.extend(session.advance(now(), Input::Encrypted));
                }
                Action::Log { refusal, command } => self.intake.log_refusal(&refusal, &command),
                Action::Close(parting) => return Some(End::Closed(parting)),
            }
        }
        None
    }

    /// `Some`: it could not be had.
    async fn encrypt(&mut self) -> Option<End> {
        let tls = self.tls.take()?;
        let failed = self.wire.encrypt(tls).await.err()?;
        note_failed_handshake(self.intake.client.ip, &failed);
        Some(End::Gone)
    }

    /// Writes down what was read, once everything that it caused was said.
    fn record(&mut self, bytes: &[u8]) {
        if let Some(recording) = &mut self.recording {
            recording.heard(bytes);
        }
    }
}

/// Tells a client why it may not speak, without reading a byte of it.
pub async fn turn_away(visitor: Visitor, refusal: &Refusal) {
    log_dismissal(visitor.ip, refusal);
    let mut wire = Wire::Plain(visitor.socket);
    if let Ok(Ok(())) = timeout(LAST_WORDS, wire.write_all(last_line(refusal).as_bytes())).await {
        last_words(&mut wire).await;
    }
}

/// The same without waiting for anything, not even until the client has read it.
pub fn dismiss(visitor: &Visitor, refusal: &Refusal) {
    log_dismissal(visitor.ip, refusal);
    visitor.socket.say_at_once(last_line(refusal).as_bytes());
}

fn last_line(refusal: &Refusal) -> String {
    format!("{}\r\n", refusal.reply())
}

fn log_dismissal(ip: Option<IpAddr>, refusal: &Refusal) {
    event::log(&Event::Rejected {
        client: &shown(ip),
        reply: &refusal.reply().to_string(),
        command: "",
        reason: &refusal.to_string(),
    });
}

/// Closes our side, and waits for the other one a little: a socket closed over unread bytes would send a reset,
/// which overtakes our last reply.
async fn last_words(wire: &mut Wire) {
    let _ = timeout(LAST_WORDS, wire.shutdown()).await;
    let mut bytes = 0;
    let drain = async {
        let mut buffer = Vec::with_capacity(4096);
        while let Ok(count @ 1..) = wire.read_buf(&mut buffer).await {
            buffer.clear();
            bytes += count;
            if bytes > LAST_BYTES_MAX {
                break;
            }
        }
    };
    let _ = timeout(LAST_WORDS, drain).await;
}
