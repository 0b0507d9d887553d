//! Taking addresses. What fails here is told with the ways out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::{Host, Settings, into_tokio};

/// Connections that may wait to be accepted; the kernel caps it at its own limit.
const BACKLOG: i32 = 1024;

/// A socket that is ours.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: TcpListener,
    pub settings: Settings,
    /// Where it listens, with the real port.
    pub address: SocketAddr,
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
    InUse(SocketAddr),
    #[error("cannot use a socket that was opened for us: {0}; a socket unit needs ListenStream= with a TCP port")]
    Inherited(io::Error),
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// The sockets that were opened for us before we started, as systemd does for a socket unit (`sd_listen_fds(3)`). Each
/// is served under the settings of the listener with its port, else of the first one. Where there are any, none of our
/// own is bound.
///
/// # Errors
/// Where one of them is no listening TCP socket.
pub fn inherited(settings: &[Settings]) -> Result<Vec<Bound>, BindError> {
    let mut passed = ListenFd::from_env();
    let mut bound = Vec::new();
    for index in 0..passed.len() {
        let Some(socket) = passed.take_tcp_listener(index).map_err(BindError::Inherited)? else { continue };
        let address = socket.local_addr().map_err(BindError::Inherited)?;
        let of_port = settings.iter().find(|settings| settings.port == address.port());
        let Some(settings) = of_port.or(settings.first()).cloned() else { continue };
        let socket = into_tokio(socket.into()).map_err(BindError::Inherited)?;
        bound.push(Bound { socket, settings, address });
    }
    Ok(bound)
}

/// How often to look for a port that is free in both families, where any will do.
const TRIES: u32 = 20;

/// Takes every address of a listener.
///
/// # Errors
/// Where one cannot be had. `localhost` is content with one family where the machine lacks the other.
pub fn bind(settings: &Settings) -> Result<Vec<Bound>, BindError> {
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

fn bind_all(settings: &Settings, addresses: &[SocketAddr]) -> Result<Vec<Bound>, BindError> {
    let mut bound: Vec<Bound> = Vec::new();
    let mut missing = None;
    for wanted in addresses {
        // With port 0 the families share the port that the first one was given.
        let port = bound.first().filter(|_| wanted.port() == 0).map_or(wanted.port(), |first| first.address.port());
        let address = SocketAddr::new(wanted.ip(), port);
        match listen(address) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(|error| BindError::Other(address, error))?;
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
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        _ => BindError::Other(address, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Allow;

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
        let settings = Settings {
            address: "localhost:0".into(),
            host,
            port: 0,
            allow: Allow { networks: Vec::new() },
            offer: crate::smtp::Offer::default(),
        };
        let bound = bind(&settings).unwrap();
        assert!(bound.iter().all(|one| one.address.port() == bound[0].address.port() && one.address.port() != 0));
        let again = Settings { port: bound[0].address.port(), ..settings };
        assert!(matches!(bind(&again), Err(BindError::InUse(_))));
    }
}
