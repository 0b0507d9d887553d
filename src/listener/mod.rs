//! The sockets of the clients' side: accept, permits, deadlines. Drives a [`smtp::Session`] and carries out what it
//! says; the one caller of [`Spool::accept`].
//!
//! It touches the network, the spool through its trait, and the clock. A connection that ends in a panic ends
//! alone. Replies of one group leave in one write without delay; nothing is looked up before the greeting.

mod bind;
mod connection;
mod crowd;
mod intake;
mod local;
mod logins;
mod password;
mod places;
mod seats;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::event::{self, Event};
use crate::mail::Refusal;
use crate::policy::pace::Pace;
use crate::policy::{Allow, Limits};
use crate::smtp;
use crate::spool::Spool;
pub use bind::{BindError, Bound, bind, inherited};
pub use local::Local;
use logins::Logins;
pub use logins::Users;
pub use password::PasswordHash;
use places::{Places, Turn};
pub use seats::{Seats, open_descriptors, raise_descriptor_limit};

/// How long to wait when no further connection can be taken, as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is told.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// One address that clients connect to, and who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As it was written, for messages.
    pub address: String,
    pub host: Host,
    /// Zero means any free port.
    pub port: u16,
    pub allow: Allow,
    pub offer: smtp::Offer,
    /// Those who may speak with lone line feeds in place of CR LF.
    pub lf_only: Allow,
    /// Those who may log in.
    pub users: Arc<Users>,
}

/// What one client is met with: all of it out of the same settings, always.
#[derive(Debug)]
struct Terms {
    admitted: bool,
    offer: smtp::Offer,
    users: Arc<Users>,
    session: Arc<smtp::Settings>,
}

impl Settings {
    fn terms(&self, ip: IpAddr, session: Arc<smtp::Settings>) -> Terms {
        let offer = smtp::Offer { lf_only: self.lf_only.admits(ip), ..self.offer };
        Terms { admitted: self.allow.admits(ip), offer, users: Arc::clone(&self.users), session }
    }
}

/// Where to listen. Names are resolved when the socket is bound: one name may stand for several addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Every address of this machine, IPv4 and IPv6: `*`.
    Every,
    Ip(IpAddr),
    /// In lower case.
    Name(String),
}

impl Host {
    /// Whether only this machine itself can connect there. A name other than `localhost` (RFC 6761 §6.3)
    /// may come to mean anything, so it does not count.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Host::Every => false,
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }
}

/// What every connection needs.
pub struct Service {
    spool: Arc<dyn Spool>,
    places: Places,
    logins: Logins,
    pace: Mutex<Pace>,
    started: Instant,
    session: watch::Receiver<Arc<smtp::Settings>>,
    /// When it was last told that connections cannot be accepted.
    told: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service {{ {:?} }}", self.places)
    }
}

impl Service {
    /// `session` are the settings of sessions that begin from now on; they may change. The number of places does
    /// not.
    #[must_use]
    pub fn new(spool: Arc<dyn Spool>, session: watch::Receiver<Arc<smtp::Settings>>, seats: Seats) -> Service {
        Service {
            spool,
            places: Places::new(seats),
            logins: Logins::new(),
            pace: Mutex::default(),
            started: Instant::now(),
            session,
            told: Mutex::default(),
        }
    }

    /// Serves one socket until `stop` says so; connections then end at the next safe moment. `settings` say who may
    /// connect from now on, and what for; they may change, but for the address.
    pub async fn serve(
        self: Arc<Self>,
        bound: Bound,
        settings: watch::Receiver<Settings>,
        mut stop: watch::Receiver<bool>,
    ) {
        let Bound { socket, .. } = bound;
        let mut connections = JoinSet::new();
        while !*stop.borrow() {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let ip = peer.ip().to_canonical();
                        let terms = settings.borrow().terms(ip, Arc::clone(&self.session.borrow()));
                        self.receive(stream, ip, terms, &stop, &mut connections);
                    }
                    Err(error) => self.after_accept_error(&error).await,
                },
                Some(ended) = connections.join_next() => note_panic(ended),
                _ = stop.changed() => {}
            }
        }
        drop(socket);
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }

    /// Decides at once what becomes of a connection, so that never more are open than there are seats.
    fn receive(
        self: &Arc<Self>,
        stream: TcpStream,
        ip: IpAddr,
        terms: Terms,
        stop: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        match self.places.turn(ip, terms.admitted, &terms.session.policy.limits) {
            Turn::Go(refusal) if terms.admitted => connection::dismiss(&stream, ip, &refusal),
            // A stranger who comes in crowds costs nothing, not even a line in the log.
            Turn::Go(_) => {}
            turn => {
                connections.spawn(Arc::clone(self).attend(stream, ip, turn, terms, stop.clone()));
            }
        }
    }

    async fn attend(
        self: Arc<Self>,
        stream: TcpStream,
        ip: IpAddr,
        turn: Turn,
        terms: Terms,
        stop: watch::Receiver<bool>,
    ) {
        let place = match turn {
            Turn::Speak(place) => Ok(place),
            Turn::Wait(seat, refusal) => {
                self.places.wait(ip, &terms.session.policy.limits).await.ok_or((Some(seat), refusal))
            }
            Turn::Leave(seat, refusal) => Err((Some(seat), refusal)),
            Turn::Go(refusal) => Err((None, refusal)),
        };
        match place {
            Ok(_place) => connection::converse(stream, ip, terms, &self, stop).await,
            Err((_seat, refusal)) => connection::turn_away(stream, ip, &refusal).await,
        }
    }

    /// Whether a client may hand in so much more within this minute. Costs nothing where nothing is limited.
    fn ensure_pace(&self, ip: IpAddr, bytes: u64, limits: &Limits) -> Result<(), Refusal> {
        if limits.messages_per_minute.is_none() && limits.bytes_per_minute.is_none() {
            return Ok(());
        }
        let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(ip, bytes, limits, now_us)
    }

    /// A client that is gone before it is accepted is its own affair; everything else gets better only with time.
    async fn after_accept_error(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        if self.may_tell() {
            event::log(&Event::Warning { warning: &format!("cannot accept connections for the moment: {error}") });
        }
        sleep(ACCEPT_PAUSE).await;
    }

    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            *told = Some(Instant::now());
        }
        due
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        event::log(&Event::Bug { reason: &error.to_string() });
    }
}

/// A listening socket of ours.
fn into_tokio(socket: socket2::Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    // Connections take this over. Replies must not wait for more of them; where it cannot be set they only come later.
    let _ = socket.set_tcp_nodelay(true);
    TcpListener::from_std(socket.into())
}
