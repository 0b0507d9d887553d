//! The sockets of the clients' side: accept, permits, deadlines. Drives a [`smtp::Session`] and carries out what it
//! says; the one caller of [`Spool::accept`].
//!
//! It touches the network, the spool through its trait, and the clock. A connection that ends in a panic ends
//! alone. Replies of one group leave in one write without delay; nothing is looked up before the greeting.

mod bind;
mod connection;
mod intake;
mod local;
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
use crate::policy::Allow;
use crate::smtp;
use crate::spool::Spool;
pub use bind::{BindError, Bound, bind, inherited};
pub use local::Local;
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
}

impl Settings {
    /// Whether a client at `ip` may connect, and what it is offered: both are of the same settings, always.
    fn meet(&self, ip: IpAddr) -> (bool, smtp::Offer) {
        (self.allow.admits(ip), self.offer)
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
        Service { spool, places: Places::new(seats), session, told: Mutex::default() }
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
                        let (admitted, offer) = settings.borrow().meet(ip);
                        self.receive(stream, ip, admitted, offer, &stop, &mut connections);
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
        admitted: bool,
        offer: smtp::Offer,
        stop: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let settings = Arc::clone(&self.session.borrow());
        match self.places.turn(ip, admitted, &settings.policy.limits) {
            Turn::Go(refusal) if admitted => connection::dismiss(&stream, ip, &refusal),
            // A stranger who comes in crowds costs nothing, not even a line in the log.
            Turn::Go(_) => {}
            turn => {
                connections.spawn(Arc::clone(self).attend(stream, ip, turn, settings, offer, stop.clone()));
            }
        }
    }

    async fn attend(
        self: Arc<Self>,
        stream: TcpStream,
        ip: IpAddr,
        turn: Turn,
        settings: Arc<smtp::Settings>,
        offer: smtp::Offer,
        stop: watch::Receiver<bool>,
    ) {
        let place = match turn {
            Turn::Speak(place) => Ok(place),
            Turn::Wait(seat, refusal) => {
                self.places.wait(ip, &settings.policy.limits).await.ok_or((Some(seat), refusal))
            }
            Turn::Leave(seat, refusal) => Err((Some(seat), refusal)),
            Turn::Go(refusal) => Err((None, refusal)),
        };
        match place {
            Ok(_place) => connection::converse(stream, ip, &settings, offer, self.spool.as_ref(), stop).await,
            Err((_seat, refusal)) => connection::turn_away(stream, ip, &refusal).await,
        }
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
