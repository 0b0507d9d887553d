//! Where to listen, and who may relay there: the settings that could make an open relay, so they may not.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::listener::{Host, Settings, TlsMode, Users};
use crate::policy::Allow;
use crate::smtp::{Auth, Offer};

use super::document::{Document, Given, Raw, Table};
use super::report::{Offset, Report};
use super::user;
use super::value::{self, Judged};

const DEFAULT_ADDRESS: Raw<'static> = Raw::Environment("localhost:25");

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// RFC 1918 and RFC 4193.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// RFC 3927 and RFC 4291, section 2.5.6.
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// Every listener. `SMARTHOST_LISTEN` replaces all that the file says, since it cannot say which one it means.
pub fn read(document: &Document<'_>, report: &mut Report) -> Vec<Settings> {
    let users = Arc::new(user::read(document, report));
    let mut listeners = read_listeners(document, report);
    for listener in listeners.iter_mut().filter(|listener| listener.offer.auth == Auth::Required) {
        listener.users = Arc::clone(&users);
    }
    check_users(document, &listeners, &users, report);
    listeners
}

/// Nobody could log in, or nobody has to.
fn check_users(document: &Document<'_>, listeners: &[Settings], users: &Users, report: &mut Report) {
    let is_required = listeners.iter().any(|listener| listener.offer.auth == Auth::Required);
    let tables = document.tables("[[user]]");
    match tables.first() {
        None if is_required => {
            let cure = "add [[user]] with name and password_hash, which `smarthost hash-password` makes";
            report.mistake(None, format!("auth = \"required\", and there is nobody who could log in: {cure}"));
        }
        Some(first) if !is_required && !users.is_empty() => {
            report.warning(first.at, "no listener has auth = \"required\", so nobody has to log in".to_owned());
        }
        _ => {}
    }
}

fn read_listeners(document: &Document<'_>, report: &mut Report) -> Vec<Settings> {
    let absent = document.absent("[[listen]]");
    let tables = document.tables("[[listen]]");
    if let Some(given) = absent.given("address") {
        let addresses = given.items(report).unwrap_or_default();
        if addresses.is_empty() {
            given.wrong("expected addresses such as \"localhost:25\"", report);
        }
        return addresses.iter().filter_map(|address| listener(document, absent, Some(address), report)).collect();
    }
    if tables.is_empty() {
        return listener(document, absent, None, report).into_iter().collect();
    }
    let one = |table: Table<'_>| listener(document, table, table.given("address").as_ref(), report);
    tables.into_iter().filter_map(one).collect()
}

/// Puts a listener together. One that strangers could reach must say who may relay there.
fn listener(
    document: &Document<'_>,
    table: Table<'_>,
    address: Option<&Given<'_>>,
    report: &mut Report,
) -> Option<Settings> {
    let allow = networks(document, table, "allow", report);
    let auth = value::choice(&[("off", Auth::Off), ("any", Auth::Any), ("required", Auth::Required)]);
    let auth = table.read("auth", auth, report).unwrap_or_default();
    let proxy_from = proxy_from(document, table, report);
    let tls = table.read("tls", value::choice(&TLS), report).unwrap_or_default();
    if let Some(given) = table.given("tls").filter(|_| tls != TlsMode::Off && document.table("[tls]").at.is_none()) {
        given.wrong("a certificate is needed for that: write [tls] with certificate and key (certs/README.md)", report);
    }
    let (raw, at) = address.map_or((DEFAULT_ADDRESS, table.at), |given| (given.raw, given.at));
    let (host, port) = match address {
        Some(given) => given.read(|raw| place(raw, document.folder()), report)?,
        None => host_and_port(raw).ok()?,
    };
    let address = raw.text()?.to_owned();
    let allow = match allow {
        Some(allow) => allow,
        // Who may send is decided by the login.
        None if auth == Auth::Required => Allow { networks: networks_of(&EVERYWHERE), except: Vec::new() },
        None if host.is_loopback() => loopback(),
        None => {
            if table.given("allow").is_none() {
                report.mistake(at, open_to_strangers(&address, at));
            }
            Allow::default()
        }
    };
    let lf_only = networks(document, table, "lf_only", report).unwrap_or_default();
    let offer = Offer { auth, ..Offer::default() };
    Some(Settings { address, host, port, allow, tls, proxy_from, offer, lf_only, users: Arc::default() })
}

const TLS: [(&str, TlsMode); 4] =
    [("off", TlsMode::Off), ("starttls", TlsMode::Starttls), ("implicit", TlsMode::Implicit), ("auto", TlsMode::Auto)];

fn loopback() -> Allow {
    Allow { networks: networks_of(&LOOPBACK), except: Vec::new() }
}

/// Who may say who others are: programs of this machine, where nothing else is said.
fn proxy_from(document: &Document<'_>, table: Table<'_>, report: &mut Report) -> Option<Allow> {
    let truth = |raw: Raw<'_>| raw.truth().ok_or_else(|| "expected true or false".to_owned());
    let is_on = table.read("proxy", truth, report).unwrap_or_default();
    let from = networks(document, table, "proxy_from", report);
    is_on.then(|| from.unwrap_or_else(loopback))
}

/// A list of networks. In a container a gateway belongs to none of them: it has to be named.
fn networks(document: &Document<'_>, table: Table<'_>, key: &str, report: &mut Report) -> Option<Allow> {
    let gateways = &document.environment.gateways;
    let networks = table.list_of_some(key, |raw| network(raw, gateways), report)?.concat();
    let wants_gateway = |given: &Given<'_>| given.raw.text() == Some("gateway");
    if let Some(given) = table.given(key).filter(|_| gateways.is_empty())
        && given.items(report).is_some_and(|items| items.iter().any(wants_gateway))
    {
        report.warning(
            given.at,
            format!("{} names nobody by \"gateway\": this machine has no default gateway", given.name),
        );
    }
    let is_named = |ip: &IpAddr| networks.contains(&IpNet::from(*ip));
    let except = gateways.iter().filter(|ip| document.environment.in_container && !is_named(ip)).copied().collect();
    Some(Allow { networks, except })
}

fn open_to_strangers(address: &str, at: Offset) -> String {
    let cure = match at {
        Some(_) => {
            "add allow = [\"192.168.1.0/24\"] with the networks of your devices, or allow = [\"private\"], or auth = \"required\""
        }
        None => "set SMARTHOST_ALLOW=192.168.1.0/24 with the networks of your devices, or SMARTHOST_ALLOW=private",
    };
    format!(
        "listener \"{address}\" can be reached from other machines, and nothing says who may relay there: {cure}; \
         or listen on \"localhost:25\", for this machine alone"
    )
}

/// A host and a port, or `unix:` and a path; in the file that starts from its folder.
fn place(raw: Raw<'_>, folder: &Path) -> Judged<(Host, u16)> {
    let Some(path) = raw.text().and_then(|text| text.strip_prefix("unix:")) else { return host_and_port(raw) };
    let path = if let Raw::File(_) = raw { folder.join(path) } else { PathBuf::from(path) };
    match path.as_os_str().len() {
        // The kernel has room for so many (unix(7)).
        0 | 108.. => Err(r#"expected a path of at most 107 bytes, such as "unix:/run/smarthost/smtp.sock""#.to_owned()),
        _ if path.is_dir() => Err("that is a folder; expected the path of a socket".to_owned()),
        _ => Ok((Host::Unix(path), 0)),
    }
}

/// `localhost:25`, `192.0.2.1:25`, `[::1]:25` or `*:25`. A missing host could mean every address or this machine
/// alone, so it means nothing.
fn host_and_port(raw: Raw<'_>) -> Judged<(Host, u16)> {
    const EXPECTED: &str = r#"expected host:port, such as "localhost:25", "[::1]:25" or "*:25", or "unix:/path""#;
    let text = raw.text().ok_or(EXPECTED)?;
    let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
    let port: u16 = port.parse().map_err(|_| EXPECTED)?;
    let host = match host {
        "" => return Err(format!("say which host: \"*:{port}\" for every address, or \"localhost:{port}\"")),
        "*" => Host::Every,
        _ if host.starts_with('[') => {
            let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(EXPECTED)?;
            Host::Ip(IpAddr::V6(inside.parse().map_err(|_| EXPECTED)?))
        }
        _ if host.contains(':') => return Err(format!("an IPv6 address stands in brackets: \"[{host}]:{port}\"")),
        _ => match host.parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) => Host::Name(value::parse_domain(host).ok_or(EXPECTED)?),
        },
    };
    Ok((host, port))
}

/// One entry of `allow`: a word for several networks, a network or an address.
pub fn network(raw: Raw<'_>, gateways: &[IpAddr]) -> Judged<Vec<IpNet>> {
    const EXPECTED: &str =
        r#"expected "loopback", "private", "link-local", "gateway", or a network or address such as "192.168.1.0/24""#;
    let text = raw.text().ok_or(EXPECTED)?;
    match text {
        "loopback" => return Ok(networks_of(&LOOPBACK)),
        "private" => return Ok(networks_of(&PRIVATE)),
        "link-local" => return Ok(networks_of(&LINK_LOCAL)),
        "gateway" => return Ok(gateways.iter().copied().map(IpNet::from).collect()),
        _ => {}
    }
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| EXPECTED)?;
    let network = canonical(network);
    if is_half_the_world(&network) {
        return Err("that lets strangers send through your account (an open relay); write the networks of your \
                    own devices, such as \"192.168.1.0/24\", or \"private\""
            .to_owned());
    }
    Ok(vec![network])
}

fn networks_of(words: &[&str]) -> Vec<IpNet> {
    words.iter().filter_map(|word| word.parse().ok()).collect()
}

/// Without host bits; an IPv4 network in IPv6 clothes as the IPv4 network, since that is how clients are compared.
pub fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let bits = v6.prefix_len().checked_sub(MAPPED_BITS);
    match (v6.addr().to_ipv4_mapped(), bits) {
        (Some(v4), Some(bits)) => Ipv4Net::new(v4, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

/// Wider than any network that one owner has. The widest private ones are `10.0.0.0/8` and `fc00::/7`.
fn is_half_the_world(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => v4.prefix_len() < 8,
        IpNet::V6(v6) => v6.prefix_len() < 7 || holds_all_ipv4(v6),
    }
}

/// `::/64` and the like do not match IPv4 clients here, but whoever wrote it may have meant them.
fn holds_all_ipv4(network: &Ipv6Net) -> bool {
    network.contains(&std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let name = |name: &str| Host::Name(name.to_owned());
        let ip = |ip: &str| Host::Ip(ip.parse().unwrap());
        for (text, meant) in [
            ("localhost:25", Some((name("localhost"), 25, true))),
            ("LocalHost:0", Some((name("localhost"), 0, true))),
            ("127.9.9.9:2525", Some((ip("127.9.9.9"), 2525, true))),
            ("[::1]:25", Some((ip("::1"), 25, true))),
            ("[::ffff:127.0.0.1]:25", Some((ip("::ffff:127.0.0.1"), 25, true))),
            ("*:25", Some((Host::Every, 25, false))),
            ("0.0.0.0:25", Some((ip("0.0.0.0"), 25, false))),
            ("[::]:25", Some((ip("::"), 25, false))),
            ("192.168.1.9:25", Some((ip("192.168.1.9"), 25, false))),
            ("mail_in:25", Some((name("mail_in"), 25, false))),
            ("localhost.example.com:25", Some((name("localhost.example.com"), 25, false))),
            (":25", None),
            ("25", None),
            ("localhost", None),
            ("localhost:", None),
            ("localhost:65536", None),
            ("::1:25", None),
            ("[127.0.0.1]:25", None),
            ("[::1:25", None),
            ("a b:25", None),
            ("unix:/run/smtp.sock", None),
            ("", None),
        ] {
            let read = host_and_port(Raw::Environment(text)).ok();
            let shown = read.map(|(host, port)| (host.clone(), port, host.is_loopback()));
            assert_eq!(shown, meant, "{text:?}");
        }
    }

    #[test]
    fn networks_are_canonical_and_never_the_world() {
        for (text, meant) in [
            ("192.168.1.5/24", Some("192.168.1.0/24")),
            ("192.168.1.5", Some("192.168.1.5/32")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("::ffff:192.168.1.0/120", Some("192.168.1.0/24")),
            ("::ffff:192.168.1.5", Some("192.168.1.5/32")),
            ("fc00::/7", Some("fc00::/7")),
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("128.0.0.0/1", None),
            ("::ffff:0.0.0.0/96", None),
            ("::/64", None),
            ("2000::/3", None),
            ("lan", None),
            ("gateway", Some("172.17.0.1/32")),
            ("192.168.1.0/33", None),
        ] {
            let meant = meant.map(|network| networks_of(&[network]));
            let gateways = ["172.17.0.1".parse().unwrap()];
            assert_eq!(network(Raw::Environment(text), &gateways).ok(), meant, "{text:?}");
        }
    }

    #[test]
    fn the_words_stand_for_whole_networks() {
        for words in [&LOOPBACK[..], &PRIVATE[..], &LINK_LOCAL[..]] {
            assert_eq!(networks_of(words).len(), words.len());
        }
    }
}
