//! The sockets of the clients' side: accept, permits, deadlines. Drives a [`smtp::Session`] and carries out what it
//! says; the one caller of [`Spool::accept`].
//!
//! It touches the network, the spool through its trait, and the clock. A connection that ends in a panic ends
//! alone. Replies of one group leave in one write without delay; nothing is looked up before the greeting.

mod bind;
mod connection;
mod crowd;
mod entrance;
mod handshake;
mod intake;
mod local;
mod logins;
mod password;
mod places;
mod proxy;
mod seats;
pub mod tls;
pub mod trace;
mod unix;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::event::{self, Event};
use crate::mail::Refusal;
use crate::policy::pace::Pace;
use crate::policy::{Allow, Limits};
use crate::smtp;
use crate::spool::Spool;
pub use bind::{BindError, Bound, BoundAddress, bind, inherited};
use connection::Reception;
pub use entrance::TlsMode;
use entrance::Unannounced;
use handshake::Failed;
pub use local::Local;
use logins::Logins;
pub use logins::Users;
pub use password::PasswordHash;
use places::Seat;
use places::{Places, Turn};
pub use seats::{Seats, open_descriptors, raise_descriptor_limit};
use trace::Recording;
use wire::{Socket, Wire};

/// How long to wait when no further connection can be taken, as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is told.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// One address that clients connect to, who may, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As it was written, for messages.
    pub address: String,
    pub host: Host,
    /// Zero means any free port; it is zero for a Unix socket.
    pub port: u16,
    pub allow: Allow,
    pub tls: TlsMode,
    /// Who may say in the PROXY protocol who the client is; `None`: that is not spoken here.
    pub proxy_from: Option<Allow>,
    pub offer: smtp::Offer,
    /// Those who may speak with lone line feeds in place of CR LF.
    pub lf_only: Allow,
    /// Those who may log in.
    pub users: Arc<Users>,
}

impl Settings {
    /// Plain SMTP for nobody.
    #[must_use]
    pub fn plain(host: Host, port: u16) -> Settings {
        Settings {
            address: String::new(),
            host,
            port,
            allow: Allow::default(),
            tls: TlsMode::Off,
            proxy_from: None,
            offer: smtp::Offer::default(),
            lf_only: Allow::default(),
            users: Arc::default(),
        }
    }

    fn meet(&self, ip: Option<IpAddr>, session: Arc<smtp::Settings>) -> Welcome {
        let stranger = ip.and_then(|ip| self.allow.refusal(ip));
        let offer = smtp::Offer { lf_only: self.lf_only.admits(place_of(ip)), ..self.offer };
        Welcome { stranger, tls: self.tls, offer, users: Arc::clone(&self.users), session }
    }
}

/// What one client is met with: all of it out of the same settings, always.
struct Welcome {
    /// Why it may not come in.
    stranger: Option<Refusal>,
    tls: TlsMode,
    offer: smtp::Offer,
    users: Arc<Users>,
    session: Arc<smtp::Settings>,
}

/// A connection with somebody at its other end.
struct Visitor {
    socket: Socket,
    /// `None` for a program of this machine.
    ip: Option<IpAddr>,
}

/// As the log shows it.
fn shown(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "local".to_owned(), |ip| ip.to_string())
}

/// Where to listen. Names are resolved when the socket is bound: one name may stand for several addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Every address of this machine, IPv4 and IPv6: `*`.
    Every,
    Ip(IpAddr),
    /// In lower case.
    Name(String),
    /// A socket in the file system; for programs of this machine.
    Unix(PathBuf),
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
            Host::Unix(_) => true,
        }
    }

    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Host::Unix(_))
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
    /// The certificate, for listeners with TLS.
    tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    wants: trace::Wants,
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
    pub fn new(
        spool: Arc<dyn Spool>,
        session: watch::Receiver<Arc<smtp::Settings>>,
        tls: watch::Receiver<Option<Arc<ServerConfig>>>,
        seats: Seats,
    ) -> Service {
        let wants = watch::channel(Arc::default()).1;
        Service {
            spool,
            places: Places::new(seats),
            logins: Logins::new(),
            pace: Mutex::default(),
            started: Instant::now(),
            session,
            tls,
            wants,
            told: Mutex::default(),
        }
    }

    /// Writes down the conversations that are wanted.
    #[must_use]
    pub fn tracing(self, wants: trace::Wants) -> Service {
        Service { wants, ..self }
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
                    Ok((socket, ip)) => self.receive(Visitor { socket, ip }, &settings, &stop, &mut connections),
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
        visitor: Visitor,
        settings: &watch::Receiver<Settings>,
        stop: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let proxy = settings.borrow().proxy_from.as_ref().map(|from| from.proxy_refusal(visitor.ip));
        match proxy {
            None => {
                let welcome = settings.borrow().meet(visitor.ip, Arc::clone(&self.session.borrow()));
                if let Some(turn) = self.turn(&visitor, &welcome) {
                    connections.spawn(Arc::clone(self).attend(visitor, turn, welcome, stop.clone()));
                }
            }
            Some(Some(refusal)) => connection::dismiss(&visitor, &refusal),
            Some(None) => match self.places.seat() {
                Some(seat) => {
                    connections.spawn(Arc::clone(self).attend_behind(visitor, seat, settings.clone(), stop.clone()));
                }
                None => connection::dismiss(&visitor, &Refusal::TooManyConnections(self.places.limit())),
            },
        }
    }

    /// `None`: the client was sent away.
    fn turn(&self, visitor: &Visitor, welcome: &Welcome) -> Option<Turn> {
        match self.places.turn(place_of(visitor.ip), welcome.stranger.clone(), &welcome.session.policy.limits) {
            // A stranger who comes in crowds costs nothing, not even a line in the log.
            Turn::Go(_) if welcome.stranger.is_some() => None,
            Turn::Go(refusal) => {
                connection::dismiss(visitor, &refusal);
                None
            }
            turn => Some(turn),
        }
    }

    /// A client behind a proxy, who is met once the proxy has said who it is.
    async fn attend_behind(
        self: Arc<Self>,
        mut visitor: Visitor,
        seat: Seat,
        settings: watch::Receiver<Settings>,
        mut stop: watch::Receiver<bool>,
    ) {
        let heard = tokio::select! {
            heard = entrance::hear_proxy(&mut visitor.socket) => heard,
            _ = stop.changed() => return,
        };
        match heard {
            Ok(client) => visitor.ip = client.map(|ip| ip.to_canonical()).or(visitor.ip),
            Err(Unannounced::Silent) => return,
            Err(Unannounced::Because(why)) => {
                return connection::turn_away(visitor, &Refusal::NotAnnounced(why)).await;
            }
        }
        let welcome = settings.borrow().meet(visitor.ip, Arc::clone(&self.session.borrow()));
        let turn = self.turn(&visitor, &welcome);
        drop(seat);
        if let Some(turn) = turn {
            self.attend(visitor, turn, welcome, stop).await;
        }
    }

    async fn attend(self: Arc<Self>, visitor: Visitor, turn: Turn, welcome: Welcome, stop: watch::Receiver<bool>) {
        let place = match turn {
            Turn::Speak(place) => Ok(place),
            Turn::Wait(seat, refusal) => {
                let place = self.places.wait(place_of(visitor.ip), &welcome.session.policy.limits).await;
                place.ok_or((Some(seat), refusal))
            }
            Turn::Leave(seat, refusal) => Err((Some(seat), refusal)),
            Turn::Go(refusal) => Err((None, refusal)),
        };
        match place {
            Ok(_place) => self.talk(visitor, welcome, stop).await,
            Err((_seat, refusal)) => connection::turn_away(visitor, &refusal).await,
        }
    }

    async fn talk(&self, visitor: Visitor, welcome: Welcome, mut stop: watch::Receiver<bool>) {
        let Visitor { socket, ip } = visitor;
        let tls = if welcome.tls == TlsMode::Off { None } else { self.tls.borrow().clone() };
        let begun = match welcome.tls {
            TlsMode::Off | TlsMode::Starttls => Ok(Wire::Plain(socket)),
            mode => tokio::select! {
                begun = entrance::enter(socket, mode, tls.clone()) => begun,
                _ = stop.changed() => return,
            },
        };
        let tls = tls.filter(|_| matches!(welcome.tls, TlsMode::Starttls | TlsMode::Auto));
        let offer = smtp::Offer { starttls: tls.is_some(), ..welcome.offer };
        let wire = match begun {
            Ok(wire) => wire,
            Err(failed) => return note_failed_handshake(ip, &failed),
        };
        let Welcome { session: settings, users, .. } = welcome;
        let door = trace::Door { offer, is_encrypted: wire.is_encrypted() };
        let recording = Recording::begin(&self.wants.borrow(), place_of(ip), &settings.policy, door);
        let reception = Reception { settings, offer, users, tls, service: self, recording };
        connection::converse(wire, ip, reception, stop).await;
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

/// Programs of this machine share their places, whichever way they come.
fn place_of(ip: Option<IpAddr>) -> IpAddr {
    ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn note_failed_handshake(ip: Option<IpAddr>, failed: &Failed) {
    if let Failed::Because { reason, cure } = failed {
        event::log(&Event::TlsFailed { client: &shown(ip), reason, cure });
    }
}

/// A listening socket of ours.
fn into_tokio(socket: socket2::Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    // Connections take this over. Replies must not wait for more of them; where it cannot be set they only come later.
    let _ = socket.set_tcp_nodelay(true);
    TcpListener::from_std(socket.into())
}
