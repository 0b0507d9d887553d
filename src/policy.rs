//! The rules: who may connect, to whom mail may go, and how much of everything is too much.
//!
//! Pure: answers come from the settings and the arguments alone, so a session asks them without waiting.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::mail::{Address, Path, Recipient, Refusal, ReversePath};

/// Everything a session has to know about what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What we call ourselves towards clients and Gmail: a host name.
    pub hostname: String,
    pub limits: Limits,
    pub recipients: Recipients,
    /// The account that mail is sent through.
    pub account: String,
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
    /// Error replies in one connection before it is closed.
    pub errors: usize,
    /// `Received` fields; more mean that the mail runs in a circle (RFC 5321 §6.3).
    pub hops: usize,
    /// Silence before a connection is closed, in seconds. RFC 5321 §4.5.3.2.7 asks for at least 300.
    pub idle_timeout_s: u64,
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
        }
    }
}

/// What becomes of the recipients that clients name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients {
    /// Put behind names that have none.
    pub default_domain: Option<String>,
    /// By the address asked for.
    pub alias: BTreeMap<AliasKey, Address>,
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

/// Who may connect to one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    pub networks: Vec<IpNet>,
}

impl Allow {
    /// Whether a client at `ip` may connect. An IPv4 address in IPv6 clothes counts as the IPv4 address.
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// How often an alias may lead to another alias: enough for any honest use, and no circle.
const ALIAS_STEPS_MAX: usize = 10;

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

    /// Where mail for the recipient that a client named goes.
    ///
    /// # Errors
    /// One refusal for each reason why it goes nowhere.
    pub fn recipient(&self, path: Path) -> Result<Recipient, Refusal> {
        let asked = self.qualify(path)?;
        let address = match &self.recipients.redirect_all {
            Some(everything) => everything.clone(),
            None => self.follow_aliases(&asked),
        };
        if address.has_literal_domain() {
            return Err(Refusal::RecipientLiteral(address.to_string()));
        }
        if !self.recipients.allow.iter().any(|pattern| pattern.matches(&address)) {
            return Err(Refusal::RecipientNotAllowed(address.to_string()));
        }
        let original = (address != asked).then_some(asked);
        Ok(Recipient { address, original })
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
    /// An alias may lead to another one; a circle ends where it closes.
    fn follow_aliases(&self, asked: &Address) -> Address {
        let mut address = asked;
        for _ in 0..ALIAS_STEPS_MAX {
            match self.alias_of(address) {
                Some(next) if next != address => address = next,
                _ => break,
            }
        }
        address.clone()
    }

    fn alias_of(&self, address: &Address) -> Option<&Address> {
        let alias = &self.recipients.alias;
        let local = address.local().to_lowercase();
        let exact = Address::new(&local, address.domain()).ok().map(AliasKey::Address);
        exact
            .and_then(|key| alias.get(&key))
            .or_else(|| self.is_ours(address.domain()).then(|| alias.get(&AliasKey::Local(local))).flatten())
            .or_else(|| alias.get(&AliasKey::Domain(address.domain().to_owned())))
    }

    /// Whether a bare name and the name in this domain are the same mailbox.
    fn is_ours(&self, domain: &str) -> bool {
        domain == "localhost" || domain == self.hostname || self.recipients.default_domain.as_deref() == Some(domain)
    }
}
