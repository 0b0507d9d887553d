//! The sockets of the clients' side: accept, permits, deadlines. Drives a [`smtp::Session`] and carries out what it
//! says; the one caller of [`Spool::accept`].
//!
//! It touches the network, the spool through its trait, and the clock. A connection that ends in a panic ends
//! alone. Replies of one group leave in one write without delay; nothing is looked up before the greeting.

mod bind;
mod connection;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::event::{self, Event};
use crate::mail::Refusal;
use crate::policy::{Allow, Limits};
use crate::smtp;
use crate::spool::Spool;
pub use bind::{BindError, Bound, bind, inherited};

/// How long to wait when no further connection can be taken, as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may at the same time be in the course of being told that they have no place.
const TURNED_AWAY_MAX: usize = 64;

/// One address that clients connect to, and who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As it was written, for messages.
    pub address: String,
    pub host: Host,
    /// Zero means any free port.
    pub port: u16,
    pub allow: Allow,
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

/// All connections of the relay, counted.
#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    /// For telling those why who get no place. Beyond these they are dropped without a word.
    turned_away: Semaphore,
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// What every connection needs.
pub struct Service {
    spool: Arc<dyn Spool>,
    places: Places,
    session: watch::Receiver<Arc<smtp::Settings>>,
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
    pub fn new(spool: Arc<dyn Spool>, session: watch::Receiver<Arc<smtp::Settings>>) -> Service {
        let connections = session.borrow().policy.limits.connections;
        let places = Places {
            all: Arc::new(Semaphore::new(connections)),
            turned_away: Semaphore::new(TURNED_AWAY_MAX),
            by_client: Mutex::default(),
        };
        Service { spool, places, session }
    }

    /// Serves one socket until `stop` says so; connections then end at the next safe moment. `allow` says who may
    /// connect from now on; it may change.
    pub async fn serve(self: Arc<Self>, bound: Bound, allow: watch::Receiver<Allow>, mut stop: watch::Receiver<bool>) {
        let Bound { socket, .. } = bound;
        let mut connections = JoinSet::new();
        while !*stop.borrow() {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let ip = peer.ip().to_canonical();
                        let admitted = allow.borrow().admits(ip);
                        connections.spawn(Arc::clone(&self).admit(stream, ip, admitted, stop.clone()));
                    }
                    Err(error) => after_accept_error(&error).await,
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

    async fn admit(self: Arc<Self>, stream: TcpStream, ip: IpAddr, admitted: bool, stop: watch::Receiver<bool>) {
        let settings = Arc::clone(&self.session.borrow());
        // Strangers first: nothing of theirs is read, and they take no place.
        let place = if admitted {
            self.places.take(ip, &settings.policy.limits)
        } else {
            Err(Refusal::ClientNotAllowed(ip.to_string()))
        };
        match place {
            Ok(_place) => connection::converse(stream, ip, &settings, self.spool.as_ref(), stop).await,
            Err(refusal) => {
                if let Ok(_permit) = self.places.turned_away.try_acquire() {
                    connection::turn_away(stream, ip, &refusal).await;
                }
            }
        }
    }
}

/// A place taken; free again when dropped.
struct Place<'a> {
    _permit: tokio::sync::OwnedSemaphorePermit,
    ip: IpAddr,
    places: &'a Places,
}

impl Places {
    fn take(&self, ip: IpAddr, limits: &Limits) -> Result<Place<'_>, Refusal> {
        let permit = Arc::clone(&self.all).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::TooManyConnections(limits.connections))?;
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_client.entry(ip).or_insert(0);
        if *count >= limits.connections_per_client {
            return Err(Refusal::TooManyConnectionsOfClient(limits.connections_per_client));
        }
        *count += 1;
        Ok(Place { _permit: permit, ip, places: self })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut by_client = self.places.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_client.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&self.ip);
            }
        }
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        event::log(&Event::Bug { reason: &error.to_string() });
    }
}

/// A client that is gone before it is accepted is its own affair; everything else gets better only with time.
async fn after_accept_error(error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    event::log(&Event::Warning { warning: &format!("cannot accept connections for the moment: {error}") });
    sleep(ACCEPT_PAUSE).await;
}

/// A listening socket of ours.
fn into_tokio(socket: socket2::Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}
