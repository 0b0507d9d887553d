//! The rules: who may connect, to whom mail may go, through which account, and how much of everything is too much.
//!
//! Pure: answers come from the settings and the arguments alone, so a session asks them without waiting.

pub mod pace;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::mail::{Address, Path, Recipient, Refusal, ReversePath};
pub use routes::{Route, Routes};

/// Everything a session has to know about what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What we call ourselves towards clients and Gmail: a host name.
    pub hostname: String,
    pub limits: Limits,
    pub recipients: Recipients,
    /// The accounts that mail is sent through.
    pub routes: Routes,
}

/// A limit on everything that a client can make grow. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one message, as received. Announced as SIZE (RFC 1870).
    pub message_bytes: u64,
    /// Of the header of one message.
    pub header_bytes: usize,
    /// Of one command line, without its line end. RFC 5321 §4.5.3.1.4 asks for at least 510.
    pub command_bytes: usize,
    /// In one message.
    pub recipients: usize,
    /// At the same time, over all listeners.
    pub connections: usize,
    /// At the same time from one address.
    pub connections_per_client: usize,
    /// Errors against the protocol in one connection before it is closed; a refused recipient is none.
    pub errors: usize,
    /// `Received` fields; more mean that the mail runs in a circle (RFC 5321 §6.3).
    pub hops: usize,
    /// Silence before a connection is closed, in seconds. RFC 5321 §4.5.3.2.7 asks for at least 300.
    pub idle_timeout_s: u64,
    /// The same while nearly all places are taken.
    pub idle_when_full_s: u64,
    /// Bytes a second that a client has to say while nearly all places are taken, where it is waited for.
    pub rate_when_full_bytes_s: u64,
    /// What waits of one client, in percent of the room for mail. 100 is no limit.
    pub spool_share_percent: u8,
    /// Of one client. `None`: as many as it likes, which is what those who send reports for hundreds of machines need.
    pub messages_per_minute: Option<u32>,
    pub bytes_per_minute: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // What Gmail announces (gmail.md, section 4): 25 MiB in base64, and some room for the header.
            message_bytes: 35_882_577,
            header_bytes: 256 * 1024,
            command_bytes: 4096,
            recipients: 1000,
            connections: 500,
            connections_per_client: 50,
            errors: 20,
            hops: 50,
            idle_timeout_s: 300,
            idle_when_full_s: 10,
            rate_when_full_bytes_s: 500,
            spool_share_percent: 80,
            messages_per_minute: None,
            bytes_per_minute: None,
        }
    }
}

/// What becomes of the recipients that clients name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients {
    /// Put behind names that have none.
    pub default_domain: Option<String>,
    /// By the address asked for; to at least one.
    pub alias: BTreeMap<AliasKey, Vec<Address>>,
    /// Where everything goes, whoever was asked for.
    pub redirect_all: Option<Address>,
    /// Where mail may go at all. Empty: nowhere.
    pub allow: Vec<Pattern>,
}

/// The left side of an alias. An exact address wins over a local part, which wins over a whole domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AliasKey {
    /// `backup@nas.local`, kept in lower case: exactly this address.
    Address(Address),
    /// `root`, kept in lower case: this name without a domain, or in the default domain, our own or `localhost`.
    Local(String),
    /// `*@localhost`: everybody in this domain.
    Domain(String),
}

/// A set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `*`
    Everybody,
    /// `*@example.com`
    Domain(String),
    /// `me@example.com`; compared without regard to case, as every large provider does.
    Address(Address),
}

/// As it is written in the configuration.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Everybody => f.write_str("*"),
            Pattern::Domain(domain) => write!(f, "*@{domain}"),
            Pattern::Address(address) => address.fmt(f),
        }
    }
}

impl Pattern {
    /// Whether `address` belongs to the set.
    #[must_use]
    pub fn matches(&self, address: &Address) -> bool {
        match self {
            Pattern::Everybody => true,
            Pattern::Domain(domain) => address.domain() == domain,
            Pattern::Address(known) => {
                known.domain() == address.domain() && known.local().to_lowercase() == address.local().to_lowercase()
            }
        }
    }
}

impl Pattern {
    /// Whether mail may go there. A local part that names another host, as `user%other@example.com` does, could be sent on
    /// to where the list does not let it go (reliability-security.md, case 106), so a domain does not stand for it.
    fn admits(&self, address: &Address) -> bool {
        let leads_on = || address.local().contains(['@', '%', '!']);
        self.matches(address) && !(matches!(self, Pattern::Domain(_)) && leads_on())
    }
}

/// Who may connect to one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    pub networks: Vec<IpNet>,
    /// Not these, whatever the networks say: gateways of a container, behind which strangers stand.
    pub except: Vec<IpAddr>,
}

impl Allow {
    /// Whether a client at `ip` may connect. An IPv4 address in IPv6 clothes counts as the IPv4 address.
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip)) && !self.except.contains(&ip)
    }

    /// Why a client at `ip` may not connect.
    #[must_use]
    pub fn refusal(&self, ip: IpAddr) -> Option<Refusal> {
        let ip = ip.to_canonical();
        if self.admits(ip) {
            return None;
        }
        let refusal = if self.except.contains(&ip) { Refusal::ClientIsGateway } else { Refusal::ClientNotAllowed };
        Some(refusal(ip.to_string()))
    }

    /// Why one at `ip` may not say who others are. Programs of this machine may.
    #[must_use]
    pub fn proxy_refusal(&self, ip: Option<IpAddr>) -> Option<Refusal> {
        ip.filter(|ip| !self.admits(*ip)).map(|ip| Refusal::ProxyNotTrusted(ip.to_canonical().to_string()))
    }
}

/// How often an alias may lead to another alias: enough for any honest use.
const ALIAS_STEPS_MAX: usize = 100;

impl Policy {
    /// The sender that a client named. A name without a domain gets the default domain, else our own name: it is
    /// where reports would go, and Gmail sees the account in its place anyway.
    ///
    /// # Errors
    /// [`Refusal::BadAddress`] where no address can be made of it.
    pub fn sender(&self, path: Path) -> Result<ReversePath, Refusal> {
        match path {
            Path::Null => Ok(ReversePath::Null),
            Path::Mailbox(address) => Ok(ReversePath::Mailbox(address)),
            Path::Local(local) => {
                let domain = self.recipients.default_domain.as_ref().unwrap_or(&self.hostname);
                Address::new(&local, domain).map(ReversePath::Mailbox).map_err(|why| Refusal::BadAddress(local, why))
            }
        }
    }

    /// Where mail for the recipient that a client named goes: to at least one, and to nobody twice.
    ///
    /// # Errors
    /// One refusal for each reason why it goes nowhere. Where one of several may not be sent to, nobody is.
    pub fn recipients(&self, path: Path) -> Result<Vec<Recipient>, Refusal> {
        let asked = self.qualify(path)?;
        let addresses = match &self.recipients.redirect_all {
            Some(everything) => vec![everything.clone()],
            None => self.follow_aliases(&asked),
        };
        addresses.into_iter().map(|address| self.admit(address, &asked)).collect()
    }

    fn admit(&self, address: Address, asked: &Address) -> Result<Recipient, Refusal> {
        if address.has_literal_domain() {
            return Err(Refusal::RecipientLiteral(address.to_string()));
        }
        if !self.recipients.allow.iter().any(|pattern| pattern.admits(&address)) {
            return Err(Refusal::RecipientNotAllowed(address.to_string()));
        }
        let originals = if address == *asked { Vec::new() } else { vec![asked.clone()] };
        Ok(Recipient { address, originals })
    }

    /// Gives a recipient its domain. Where there is no default domain, a name may still stand in the aliases, and
    /// with `redirect_all` every name will do; our own name then only serves to say who was asked for.
    fn qualify(&self, path: Path) -> Result<Address, Refusal> {
        let local = match path {
            Path::Mailbox(address) => return Ok(address),
            Path::Null => return Err(Refusal::Syntax("RCPT TO:<address>")),
            Path::Local(local) => local,
        };
        let rules = &self.recipients;
        let known = rules.redirect_all.is_some() || rules.alias.contains_key(&AliasKey::Local(local.to_lowercase()));
        let domain = match &rules.default_domain {
            Some(domain) => domain,
            None if known => &self.hostname,
            None => return Err(Refusal::RecipientWithoutDomain(local)),
        };
        Address::new(&local, domain).map_err(|why| Refusal::BadAddress(local, why))
    }
}

impl Policy {
    /// An alias may lead to several, and each of them to others. An address that is among its own aliases is an end.
    fn follow_aliases(&self, asked: &Address) -> Vec<Address> {
        let (mut ends, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![asked]);
        while let Some(address) = open.pop() {
            if !seen.insert(address) {
                continue;
            }
            let next = self.alias_of(address);
            if next.is_empty() || next.contains(address) {
                ends.push(address.clone());
            }
            open.extend(next.iter().rev());
        }
        // A circle has no end; the configuration lets none pass.
        if ends.is_empty() { vec![asked.clone()] } else { ends }
    }

    /// The aliases of an address. Where `root+cron` has none, those of `root` count, as everywhere with such addresses
    /// (RFC 5233 §1); a whole domain comes last.
    fn alias_of(&self, address: &Address) -> &[Address] {
        let alias = &self.recipients.alias;
        let local = address.local().to_lowercase();
        let plain = local.split_once('+').map(|(name, _)| name);
        let of_name = |local: &str| {
            let exact = Address::new(local, address.domain()).ok().map(AliasKey::Address);
            let own =
                || self.is_ours(address.domain()).then(|| alias.get(&AliasKey::Local(local.to_owned()))).flatten();
            exact.and_then(|key| alias.get(&key)).or_else(own)
        };
        let of_domain = || alias.get(&AliasKey::Domain(address.domain().to_owned()));
        of_name(&local).or_else(|| of_name(plain?)).or_else(of_domain).map_or(&[], Vec::as_slice)
    }

    /// Aliases that lead back to where they came from, or on and on, with every step.
    #[must_use]
    pub fn endless_alias(&self) -> Option<Vec<Address>> {
        let mut fine = BTreeSet::new();
        let mut targets = self.recipients.alias.values().flatten();
        targets.find_map(|target| self.endless_from(target, &mut Vec::new(), &mut fine))
    }

    fn endless_from<'a>(
        &'a self,
        address: &'a Address,
        steps: &mut Vec<&'a Address>,
        fine: &mut BTreeSet<&'a Address>,
    ) -> Option<Vec<Address>> {
        let seen = steps.iter().position(|step| *step == address);
        if let Some(begin) = seen.or_else(|| (steps.len() >= ALIAS_STEPS_MAX).then_some(0)) {
            return Some(steps.iter().skip(begin).chain([&address]).map(|step| (*step).clone()).collect());
        }
        if fine.contains(address) {
            return None;
        }
        steps.push(address);
        let mut next = self.alias_of(address).iter().filter(|next| *next != address);
        let endless = next.find_map(|next| self.endless_from(next, steps, fine));
        steps.pop();
        fine.insert(address);
        endless
    }

    /// Whether a bare name and the name in this domain are the same mailbox.
    fn is_ours(&self, domain: &str) -> bool {
        domain == "localhost" || domain == self.hostname || self.recipients.default_domain.as_deref() == Some(domain)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn path(text: &str) -> Path {
        match text {
            "" => Path::Null,
            _ if text.contains('@') => Path::Mailbox(address(text)),
            _ => Path::Local(text.to_owned()),
        }
    }

    /// Our name is `relay.example.net`; there is no default domain.
    pub fn policy(alias: &[(AliasKey, &str)]) -> Policy {
        let alias = alias.iter().map(|(key, target)| (key.clone(), vec![address(target)]));
        Policy {
            hostname: "relay.example.net".to_owned(),
            limits: Limits::default(),
            recipients: Recipients {
                default_domain: None,
                alias: alias.collect(),
                redirect_all: None,
                allow: vec![Pattern::Everybody],
            },
            routes: Routes::only("me@gmail.com"),
        }
    }

    fn local(name: &str) -> AliasKey {
        AliasKey::Local(name.to_owned())
    }

    fn domain(name: &str) -> AliasKey {
        AliasKey::Domain(name.to_owned())
    }

    /// Where the recipient goes, and in brackets who was asked for, where that is somebody else.
    fn goes(policy: &Policy, asked: &str) -> Result<String, Refusal> {
        let recipients =
            policy.recipients(path(asked))?.into_iter().map(|recipient| match recipient.asked_for().as_str() {
                "" => recipient.address.to_string(),
                original => format!("{} ({original})", recipient.address),
            });
        Ok(recipients.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn an_exact_alias_wins_over_a_name_which_wins_over_a_domain() {
        let alias = [
            (AliasKey::Address(address("backup@nas.local")), "exact@example.com"),
            (local("backup"), "name@example.com"),
            (local("root"), "root@example.com"),
            (domain("nas.local"), "domain@example.com"),
            (domain("localhost"), "localhost@example.com"),
        ];
        let mut policy = policy(&alias);
        policy.recipients.default_domain = Some("home.example".to_owned());
        for (asked, goes_to) in [
            ("backup@nas.local", "exact@example.com (backup@nas.local)"),
            ("BackUp@NAS.local", "exact@example.com (BackUp@nas.local)"),
            ("backup", "name@example.com (backup@home.example)"),
            ("ROOT", "root@example.com (ROOT@home.example)"),
            ("root@localhost", "root@example.com (root@localhost)"),
            ("root@relay.example.net", "root@example.com (root@relay.example.net)"),
            ("root@home.example", "root@example.com (root@home.example)"),
            ("root@nas.local", "domain@example.com (root@nas.local)"),
            ("cron@localhost", "localhost@example.com (cron@localhost)"),
            ("root@elsewhere.example", "root@elsewhere.example"),
            ("cron", "cron@home.example"),
        ] {
            assert_eq!(goes(&policy, asked).as_deref(), Ok(goes_to), "{asked}");
        }
    }

    #[test]
    fn an_alias_may_lead_to_another_and_a_circle_ends() {
        let chain = [(local("cron"), "root@localhost"), (local("root"), "admin@localhost")];
        assert_eq!(goes(&policy(&chain), "cron@localhost").as_deref(), Ok("admin@localhost (cron@localhost)"));

        let own = [(domain("localhost"), "all@localhost")];
        assert_eq!(goes(&policy(&own), "x@localhost").as_deref(), Ok("all@localhost (x@localhost)"));
        assert_eq!(goes(&policy(&own), "all@localhost").as_deref(), Ok("all@localhost"));

        let circle = [(local("a"), "b@localhost"), (local("b"), "a@localhost")];
        let end = goes(&policy(&circle), "a@localhost").unwrap();
        assert!(["a@localhost", "b@localhost (a@localhost)"].contains(&end.as_str()), "{end}");
    }

    #[test]
    fn a_recipient_without_a_domain_needs_somewhere_to_go() {
        let without = policy(&[(local("root"), "me@gmail.com")]);
        assert_eq!(goes(&without, "root").as_deref(), Ok("me@gmail.com (root@relay.example.net)"));
        assert_eq!(goes(&without, "cron"), Err(Refusal::RecipientWithoutDomain("cron".to_owned())));
        assert_eq!(goes(&without, ""), Err(Refusal::Syntax("RCPT TO:<address>")));

        let mut with = without;
        with.recipients.default_domain = Some("example.com".to_owned());
        assert_eq!(goes(&with, "cron").as_deref(), Ok("cron@example.com"));
        let long = "x".repeat(65);
        assert!(matches!(goes(&with, &long), Err(Refusal::BadAddress(name, _)) if name == long));
    }

    #[test]
    fn redirect_all_takes_everything_over_every_alias() {
        let mut policy = policy(&[(local("root"), "root@example.com")]);
        policy.recipients.redirect_all = Some(address("me@gmail.com"));
        for (asked, goes_to) in [
            ("root@localhost", "me@gmail.com (root@localhost)"),
            ("stranger@example.org", "me@gmail.com (stranger@example.org)"),
            ("cron", "me@gmail.com (cron@relay.example.net)"),
            ("ups@[192.0.2.9]", "me@gmail.com (ups@[192.0.2.9])"),
            ("me@gmail.com", "me@gmail.com"),
        ] {
            assert_eq!(goes(&policy, asked).as_deref(), Ok(goes_to), "{asked}");
        }
    }

    #[test]
    fn mail_goes_only_where_it_may_go_after_aliases() {
        let mut policy = policy(&[(local("root"), "Boss@example.com"), (domain("[192.0.2.9]"), "ups@gmail.com")]);
        policy.recipients.allow =
            vec![Pattern::Domain("gmail.com".to_owned()), Pattern::Address(address("boss@example.com"))];
        for (asked, goes_to) in [
            ("anybody@gmail.com", Ok("anybody@gmail.com")),
            ("BOSS@Example.com", Ok("BOSS@example.com")),
            ("root@localhost", Ok("Boss@example.com (root@localhost)")),
            ("x@[192.0.2.9]", Ok("ups@gmail.com (x@[192.0.2.9])")),
            ("clerk@example.com", Err(Refusal::RecipientNotAllowed("clerk@example.com".to_owned()))),
            ("x@mail.gmail.com", Err(Refusal::RecipientNotAllowed("x@mail.gmail.com".to_owned()))),
            ("x@[192.0.2.7]", Err(Refusal::RecipientLiteral("x@[192.0.2.7]".to_owned()))),
        ] {
            assert_eq!(goes(&policy, asked), goes_to.map(str::to_owned), "{asked}");
        }
        policy.recipients.redirect_all = Some(address("clerk@example.com"));
        let refused = Err(Refusal::RecipientNotAllowed("clerk@example.com".to_owned()));
        assert_eq!(goes(&policy, "anybody@gmail.com"), refused, "redirect_all is no way around");
        policy.recipients.allow.clear();
        assert_eq!(goes(&policy, "anybody@gmail.com"), refused, "an empty list lets nothing through");
    }

    #[test]
    fn a_sender_without_a_domain_gets_one() {
        let mut policy = policy(&[]);
        let sender = |policy: &Policy, text: &str| policy.sender(path(text)).map(|sender| sender.to_string());
        assert_eq!(sender(&policy, "").as_deref(), Ok(""));
        assert_eq!(sender(&policy, "ups@nas.local").as_deref(), Ok("ups@nas.local"));
        assert_eq!(sender(&policy, "ups").as_deref(), Ok("ups@relay.example.net"));
        policy.recipients.default_domain = Some("example.com".to_owned());
        assert_eq!(sender(&policy, "ups").as_deref(), Ok("ups@example.com"));
        let long = "x".repeat(65);
        assert!(matches!(sender(&policy, &long), Err(Refusal::BadAddress(name, _)) if name == long));
    }

    #[test]
    fn a_listener_admits_its_networks_alone() {
        let networks = ["192.168.1.0/24", "fe80::/10", "10.1.2.3/32"].map(|network| network.parse().unwrap());
        let allow = Allow { networks: networks.to_vec(), except: vec!["192.168.1.254".parse().unwrap()] };
        for (ip, is_admitted) in [
            ("192.168.1.0", true),
            ("192.168.1.255", true),
            ("::ffff:192.168.1.7", true),
            ("192.168.1.254", false),
            ("::ffff:192.168.1.254", false),
            ("192.168.2.1", false),
            ("::ffff:192.168.2.1", false),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("fe80::1", true),
            ("fec0::1", false),
            ("::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(allow.admits(ip.parse().unwrap()), is_admitted, "{ip}");
        }
        assert!(!Allow::default().admits("127.0.0.1".parse().unwrap()), "an empty list admits nobody");
    }
}
