//! One connection: reads, lets the session think, and does what it says, in its order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::crowd::Crowd;
use super::intake::Intake;
use super::logins::Users;
use super::{Service, Terms};
use crate::clock::now;
use crate::event::{self, Event};
use crate::mail::{Client, Refusal, Submission};
use crate::policy::Limits;
use crate::smtp::{Action, Input, Parting, Session, Settings};
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
    stream: TcpStream,
    ip: IpAddr,
    intake: Intake<'a>,
    service: &'a Service,
    users: Arc<Users>,
    settings: Arc<Settings>,
    crowd: Crowd,
}

/// Why a client is waited for no longer.
enum Late {
    Silent,
    /// Others wait, too.
    Crowded,
}

/// Talks with a client until one of the two has enough, or `stop` says so.
pub async fn converse(stream: TcpStream, ip: IpAddr, terms: Terms, service: &Service, mut stop: watch::Receiver<bool>) {
    let client = Client { helo: String::new(), ip: Some(ip), login: None };
    let mut connection = Connection {
        stream,
        ip,
        intake: Intake::new(client, service.spool.as_ref()),
        service,
        users: terms.users,
        settings: Arc::clone(&terms.session),
        crowd: Crowd::default(),
    };
    event::log(&Event::Connected { client: &ip.to_string() });
    let (mut session, greeting) = Session::new(terms.session, terms.offer, Some(ip));
    let mut end = connection.carry_out(&mut session, greeting).await;
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
            connection.acknowledge();
        }
        end = connection.carry_out(&mut session, actions).await;
    }
    if let Some(End::Closed(Parting::Ours)) = end {
        last_words(&mut connection.stream).await;
    }
    let Intake { client, messages, .. } = &connection.intake;
    event::log(&Event::Disconnected { client: &client.to_string(), messages: *messages });
}

impl Connection<'_> {
    /// Reads what there is; nothing, where the client is gone.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Late> {
        let limits = &self.settings.policy.limits;
        let began = self.service.places.is_crowded().then(Instant::now);
        let count = wait(self.stream.read_buf(buffer), limits, self.service).await?.unwrap_or(0);
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
        if let Err(refusal) = self.service.ensure_pace(self.ip, self.intake.size_with(&rest), limits) {
            self.intake.forget();
            return Err(refusal);
        }
        self.crowd.forget();
        self.intake.store(submission, rest).await
    }

    async fn carry_out(&mut self, session: &mut Session, actions: Vec<Action>) -> Option<End> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(replies) => {
                    let limits = &self.settings.policy.limits;
                    match wait(self.stream.write_all(&replies), limits, self.service).await {
                        Ok(Ok(())) => {}
                        _ => return Some(End::Gone),
                    }
                }
                Action::Append(piece) => self.intake.append(piece).await,
                Action::Discard => self.intake.forget(),
                Action::Store { submission, rest } => {
                    let stored = self.store(*submission, rest).await;
                    actions.extend(session.advance(now(), Input::Stored(stored)));
                }
                Action::Verify(credentials) => {
                    let verified = self.service.logins.verify(self.ip, *credentials, &self.users).await;
                    actions.extend(session.advance(now(), Input::Verified(verified)));
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
