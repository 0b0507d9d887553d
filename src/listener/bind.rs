//! Taking addresses. What fails here is told with the ways out.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::unix::{self, SocketFile};
use super::wire::{Socket as Connection, Stream};
use super::{Host, Settings, into_tokio};

/// Connections that may wait to be accepted; the kernel caps it at its own limit.
const BACKLOG: i32 = 1024;

/// A socket that is ours.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: Listening,
    pub settings: Settings,
    /// Where it listens.
    pub address: BoundAddress,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// With the real port.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundAddress::Tcp(address) => address.fmt(f),
            BoundAddress::Unix(path) => f.write_str(&unix::shown(path)),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listening {
    Tcp(TcpListener),
    /// The file is that of systemd where it gave us the socket. It comes first and so is removed first: as long as
    /// somebody listens nobody else takes its place.
    Unix {
        _file: Option<SocketFile>,
        socket: UnixListener,
    },
}

impl Listening {
    /// The next connection, and where it comes from: `None` for a program of this machine.
    pub async fn accept(&self) -> io::Result<(Connection, Option<IpAddr>)> {
        match self {
            Listening::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((Connection::new(Stream::Tcp(stream)), Some(peer.ip().to_canonical())))
            }
            Listening::Unix { socket, .. } => {
                let (stream, _) = socket.accept().await?;
                Ok((Connection::new(Stream::Unix(stream)), None))
            }
        }
    }
}

/// Why an address is not ours.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("listen address {0}: the name has no address ({1})")]
    NoAddress(String, io::Error),
    #[error(
        "may not listen on {0}: ports below 1024 need a right that this process lacks. Ways out, one is enough:\n  \
         - give the program the right: sudo setcap cap_net_bind_service=+ep /path/to/smarthost\n  \
         - let everybody use port 25 and above: sudo sysctl net.ipv4.ip_unprivileged_port_start=25\n  \
         - under systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE in the service, or a socket unit with ListenStream=25\n  \
         - listen on another port: SMARTHOST_LISTEN=localhost:2525, or address = \"localhost:2525\" under [[listen]]"
    )]
    Forbidden(SocketAddr),
    #[error(
        "{0} is already in use: another mail server or another smarthost listens there. Stop that one, or choose another port"
    )]
    InUse(String),
    #[error(
        "cannot use a socket that was opened for us: {0}; a socket unit needs ListenStream= with a TCP port or a path"
    )]
    Inherited(io::Error),
    #[error("cannot listen on unix:{0}: {1}. Is its folder there, and may this user write to it?")]
    Socket(String, io::Error),
    #[error(
        "cannot listen on unix:{0}: there is a file of this name that is no socket. Remove it, or choose another path"
    )]
    NoSocket(String),
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// The sockets that were opened for us before we started, as systemd does for a socket unit (`sd_listen_fds(3)`). Each
/// is served under the settings of the listener with its port or path, else of the first one. Where there are any, none of
/// our own is bound.
///
/// # Errors
/// Where one of them is no listening socket for streams, TCP or Unix.
pub fn inherited(settings: &[Settings]) -> Result<Vec<Bound>, BindError> {
    let mut passed = ListenFd::from_env();
    let mut bound = Vec::new();
    for index in 0..passed.len() {
        let Some((socket, address)) = take(&mut passed, index).map_err(BindError::Inherited)? else { continue };
        let its_own = settings.iter().find(|settings| match &address {
            BoundAddress::Tcp(address) => !settings.host.is_unix() && settings.port == address.port(),
            BoundAddress::Unix(path) => settings.host == Host::Unix(path.clone()),
        });
        let Some(settings) = its_own.or(settings.first()).cloned() else { continue };
        bound.push(Bound { socket, settings, address });
    }
    Ok(bound)
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<(Listening, BoundAddress)>> {
    if let Ok(Some(socket)) = passed.take_unix_listener(index) {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        // A name that is no path is abstract (unix(7)).
        let path = address.as_pathname().map_or_else(|| PathBuf::from("(abstract)"), PathBuf::from);
        let socket = UnixListener::from_std(socket)?;
        return Ok(Some((Listening::Unix { socket, _file: None }, BoundAddress::Unix(path))));
    }
    let Some(socket) = passed.take_tcp_listener(index)? else { return Ok(None) };
    let address = socket.local_addr()?;
    Ok(Some((Listening::Tcp(into_tokio(socket.into())?), BoundAddress::Tcp(address))))
}

/// How often to look for a port that is free in both families, where any will do.
const TRIES: u32 = 20;

/// Takes every address of a listener.
///
/// # Errors
/// Where one cannot be had. `localhost` is content with one family where the machine lacks the other.
pub fn bind(settings: &Settings) -> Result<Vec<Bound>, BindError> {
    if let Host::Unix(path) = &settings.host {
        return bind_unix(settings, path);
    }
    let addresses = addresses(settings)?;
    let mut tries = if settings.port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_all(settings, &addresses) {
            Err(BindError::InUse(_)) if tries > 0 => {}
            result => return result,
        }
    }
}

fn bind_unix(settings: &Settings, path: &Path) -> Result<Vec<Bound>, BindError> {
    let (socket, file) = unix::listen(path)?;
    let socket =
        UnixListener::from_std(socket).map_err(|error| BindError::Socket(path.display().to_string(), error))?;
    let address = BoundAddress::Unix(path.to_owned());
    Ok(vec![Bound { socket: Listening::Unix { socket, _file: Some(file) }, settings: settings.clone(), address }])
}

fn bind_all(settings: &Settings, addresses: &[SocketAddr]) -> Result<Vec<Bound>, BindError> {
    let mut bound: Vec<Bound> = Vec::new();
    let mut missing = None;
    // With port 0 the families share the port that the first one was given.
    let mut given_port = None;
    for wanted in addresses {
        let port = given_port.filter(|_| wanted.port() == 0).unwrap_or(wanted.port());
        let address = SocketAddr::new(wanted.ip(), port);
        match listen(address) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(|error| BindError::Other(address, error))?;
                given_port = Some(address.port());
                let (socket, address) = (Listening::Tcp(socket), BoundAddress::Tcp(address));
                bound.push(Bound { socket, settings: settings.clone(), address });
            }
            Err(error) if is_missing_family(&error) => missing = Some(BindError::Other(address, error)),
            Err(error) => return Err(explain(address, error)),
        }
    }
    match missing {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

/// `localhost` means both families, whatever the hosts file says of it.
fn addresses(settings: &Settings) -> Result<Vec<SocketAddr>, BindError> {
    let ips: Vec<IpAddr> = match &settings.host {
        Host::Unix(_) => Vec::new(),
        Host::Every => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) if name == "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Host::Name(name) => {
            let found = (name.as_str(), settings.port).to_socket_addrs();
            let found = found.map_err(|error| BindError::NoAddress(settings.address.clone(), error))?;
            let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            ips.sort();
            ips.dedup();
            ips
        }
    };
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, settings.port)).collect())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    into_tokio(socket)
}

fn is_missing_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

fn explain(address: SocketAddr, error: io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => BindError::Forbidden(address),
        io::ErrorKind::AddrInUse => BindError::InUse(address.to_string()),
        _ => BindError::Other(address, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root may listen anywhere, so the refusal itself cannot be had in every test run; its words can.
    #[test]
    fn a_port_that_is_forbidden_is_told_with_the_ways_out() {
        let told = explain(([127, 0, 0, 1], 25).into(), io::ErrorKind::PermissionDenied.into()).to_string();
        for way_out in ["setcap cap_net_bind_service", "ip_unprivileged_port_start", "socket unit", "SMARTHOST_LISTEN="]
        {
            assert!(told.contains(way_out), "{told}");
        }
    }

    #[tokio::test]
    async fn localhost_is_both_families_on_one_port() {
        let host = Host::Name("localhost".to_owned());
        let settings = Settings { address: "localhost:0".into(), ..Settings::plain(host, 0) };
        let bound = bind(&settings).unwrap();
        let port = |one: &Bound| match &one.address {
            BoundAddress::Tcp(address) => address.port(),
            BoundAddress::Unix(_) => 0,
        };
        assert!(bound.iter().all(|one| port(one) == port(&bound[0]) && port(one) != 0));
        let again = Settings { port: port(&bound[0]), ..settings };
        assert!(matches!(bind(&again), Err(BindError::InUse(_))));
    }
}
