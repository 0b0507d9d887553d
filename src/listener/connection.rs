//! One connection: reads, lets the session think, and does what it says, in its order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::crowd::Crowd;
use super::intake::Intake;
use super::logins::Users;
use super::trace::Recording;
use super::wire::Wire;
use super::{Service, Visitor, note_failed_handshake, place_of, shown};
use crate::clock::now;
use crate::event::{self, Event};
use crate::mail::reply::LF_ENDS_NOTHING;
use crate::mail::{Client, Refusal, Submission};
use crate::policy::Limits;
use crate::smtp::{Action, Input, Offer, Parting, Session, Settings};
use crate::spool::Accepted;

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
    service: &'a Service,
    users: Arc<Users>,
    settings: Arc<Settings>,
    crowd: Crowd,
}

/// How a client is received.
pub struct Reception<'a> {
    pub settings: Arc<Settings>,
    pub offer: Offer,
    /// Those who may log in.
    pub users: Arc<Users>,
    /// For STARTTLS, where it is offered.
    pub tls: Option<Arc<ServerConfig>>,
    pub service: &'a Service,
    /// Where its conversation is written down.
    pub recording: Option<Recording>,
}

/// Why a client is waited for no longer.
enum Late {
    Silent,
    /// Others wait, too.
    Crowded,
}

/// Talks with a client until one of the two has enough, or `stop` says so.
pub async fn converse(wire: Wire, ip: Option<IpAddr>, reception: Reception<'_>, mut stop: watch::Receiver<bool>) {
    let client = Client { helo: String::new(), ip, login: None };
    let begin = if wire.is_encrypted() { Session::inside_tls } else { Session::new };
    let Reception { settings, offer, users, tls, service, recording } = reception;
    let (mut session, greeting) = begin(Arc::clone(&settings), offer, ip);
    let intake = Intake::new(client, service.spool.as_ref());
    let crowd = Crowd::default();
    let mut connection = Connection { wire, tls, intake, recording, service, users, settings, crowd };
    event::log(&Event::Connected { client: &shown(ip) });
    let mut end = connection.carry_out(&mut session, greeting).await;
    connection.record(&[]);
    let mut buffer = Vec::with_capacity(READ_BYTES_MIN);
    while end.is_none() {
        if buffer.len() == buffer.capacity() {
            buffer = Vec::with_capacity((buffer.capacity() * 2).min(READ_BYTES_MAX));
        }
        buffer.clear();
        let input = tokio::select! {
            read = connection.read(&mut buffer) => match read {
                Ok(0) => break,
                Ok(_) => Input::Bytes(&buffer),
                Err(Late::Silent) => Input::Silence,
                Err(Late::Crowded) => Input::Slow,
            },
            _ = stop.changed() => Input::Stop,
        };
        let actions = session.advance(now(), input);
        if !actions.iter().any(|action| matches!(action, Action::Send(_) | Action::Store { .. })) {
            connection.wire.acknowledge();
        }
        end = connection.carry_out(&mut session, actions).await;
        connection.record(&buffer);
    }
    if let Some(recording) = connection.recording.take() {
        recording.finish(matches!(end, Some(End::Closed(_))));
    }
    if let Some(End::Closed(Parting::Ours)) = end {
        last_words(&mut connection.wire).await;
    }
    if session.waits_behind_lf() {
        let warning = format!("{} is gone, behind {LF_ENDS_NOTHING}", shown(ip));
        event::log(&Event::Warning { warning: &warning });
    }
    let Intake { client, messages, .. } = &connection.intake;
    event::log(&Event::Disconnected { client: &client.to_string(), messages: *messages });
}

impl Connection<'_> {
    /// Reads what there is; nothing, where the client is gone.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Late> {
        let limits = &self.settings.policy.limits;
        let began = self.service.places.is_crowded().then(Instant::now);
        let count = wait(self.wire.read_buf(buffer), limits, self.service).await?.unwrap_or(0);
        match began {
            Some(began) if count > 0 && self.crowd.is_too_slow(count, began.elapsed(), limits) => Err(Late::Crowded),
            Some(_) => Ok(count),
            None => {
                self.crowd.forget();
                Ok(count)
            }
        }
    }

    async fn store(&mut self, submission: Submission, rest: Bytes) -> Result<Accepted, Refusal> {
        let limits = &self.settings.policy.limits;
        let place = place_of(self.intake.client.ip);
        if let Err(refusal) = self.service.ensure_pace(place, self.intake.size_with(&rest), limits) {
            self.intake.forget();
            return Err(refusal);
        }
        self.crowd.forget();
        self.intake.store(submission, rest).await
    }

    async fn say(&mut self, replies: &[u8]) -> Option<End> {
        if let Some(recording) = &mut self.recording {
            recording.said(replies);
        }
        match wait(self.wire.write_all(replies), &self.settings.policy.limits, self.service).await {
            Ok(Ok(())) => None,
            _ => Some(End::Gone),
        }
    }

    async fn carry_out(&mut self, session: &mut Session, actions: Vec<Action>) -> Option<End> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(replies) => {
                    if let Some(end) = self.say(&replies).await {
                        return Some(end);
                    }
                }
                Action::Append(piece) => self.intake.append(piece).await,
                Action::Discard => self.intake.forget(),
                Action::Store { submission, rest } => {
                    let stored = self.store(*submission, rest).await;
                    actions.extend(session.advance(now(), Input::Stored(stored)));
                }
                Action::Verify(credentials) => {
                    let place = place_of(self.intake.client.ip);
                    let verified = self.service.logins.verify(place, *credentials, &self.users).await;
                    actions.extend(session.advance(now(), Input::Verified(verified)));
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

    /// Writes down what was read, once everything that it caused was said.
    fn record(&mut self, bytes: &[u8]) {
        if let Some(recording) = &mut self.recording {
            recording.heard(bytes);
        }
    }

    /// `Some`: it could not be had.
    async fn encrypt(&mut self) -> Option<End> {
        let tls = self.tls.take()?;
        let Err(failed) = self.wire.encrypt(tls).await else {
            if let Some(recording) = &mut self.recording {
                recording.encrypted();
            }
            return None;
        };
        note_failed_handshake(self.intake.client.ip, &failed);
        Some(End::Gone)
    }
}

/// Waits for a client that is to say or to read something: for as long as the RFC gives it, or until others need its place.
async fn wait<T>(what: impl Future<Output = T>, limits: &Limits, service: &Service) -> Result<T, Late> {
    let silence = Duration::from_secs(limits.idle_timeout_s);
    let step = silence.min(Duration::from_secs(limits.idle_when_full_s));
    let mut what = pin!(what);
    let mut waited = Duration::ZERO;
    loop {
        let this_time = step.min(silence.saturating_sub(waited));
        if let Ok(done) = timeout(this_time, &mut what).await {
            return Ok(done);
        }
        waited += this_time;
        if waited >= silence {
            return Err(Late::Silent);
        }
        if service.places.is_crowded() {
            return Err(Late::Crowded);
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
