//! Addresses: parsed once, never text again until they are written out.
//!
//! The form kept is what was meant; how it was written (brackets, quotes, routes) is the business of
//! `smtp::command`. No address holds a control character, so none can break out of a command or a header line.

use std::fmt;
use std::str::FromStr;

/// Octets allowed before the `@`. RFC 5321 §4.5.3.1.1 asks for at least 64.
const LOCAL_BYTES_MAX: usize = 64;
/// Octets allowed after it (RFC 5321 §4.5.3.1.2).
const DOMAIN_BYTES_MAX: usize = 255;
/// Octets of the whole: a path has 256 with its brackets (RFC 5321 §4.5.3.1.3).
const ADDRESS_BYTES_MAX: usize = 254;

/// Ends of domains that no mail from the Internet reaches.
const PRIVATE_DOMAINS: [&str; 9] =
    ["local", "localhost", "localdomain", "internal", "lan", "home", "invalid", "test", "home.arpa"];

/// A mailbox, `local@domain` (RFC 5321 §4.1.2).
///
/// The local part is kept unquoted and as written, since only its host may interpret it (§2.4); the domain is
/// kept in lower case without a closing dot. Equality compares exactly that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: String,
}

/// What is wrong with a text that should be an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("there is no address")]
    Empty,
    #[error("there is no name before the @")]
    NoLocal,
    #[error("there is no domain after the @")]
    NoDomain,
    #[error("it holds a control character")]
    Control,
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("the part before the @ is longer than 64 bytes")]
    LocalTooLong,
    #[error("the domain is longer than 255 bytes")]
    DomainTooLong,
    #[error("it is longer than 254 bytes")]
    TooLong,
    #[error("the domain is not a host name")]
    BadDomain,
    #[error("a quotation mark is not closed, or something follows it")]
    BadQuotes,
}

impl Address {
    /// Joins an unquoted local part and a domain.
    ///
    /// # Errors
    /// Says which of the two is not usable, and why.
    pub fn new(local: &str, domain: &str) -> Result<Address, AddressError> {
        let address = Address { local: check_local(local)?, domain: check_domain(domain)? };
        let is_short = address.local.len() + 1 + address.domain.len() <= ADDRESS_BYTES_MAX;
        if is_short { Ok(address) } else { Err(AddressError::TooLong) }
    }

    /// The part before the `@`, unquoted.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the `@`, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the domain is an address in brackets, as in `ups@[192.0.2.5]`.
    #[must_use]
    pub fn has_literal_domain(&self) -> bool {
        self.domain.starts_with('[')
    }

    /// Whether an answer to it could arrive from elsewhere: its domain has a dot, and is neither an address in
    /// brackets nor one of the names that exist only inside a house (RFC 2606, RFC 6762, RFC 8375, and habit).
    #[must_use]
    pub fn can_receive(&self) -> bool {
        let inside = |end: &&str| self.domain == **end || self.domain.ends_with(&format!(".{end}"));
        self.domain.contains('.') && !self.has_literal_domain() && !PRIVATE_DOMAINS.iter().any(inside)
    }

    /// Whether it can only be sent where SMTPUTF8 is offered (RFC 6531).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.is_ascii()
    }
}

fn check_local(local: &str) -> Result<String, AddressError> {
    match local {
        "" => Err(AddressError::NoLocal),
        _ if local.chars().any(char::is_control) => Err(AddressError::Control),
        _ if local.len() > LOCAL_BYTES_MAX => Err(AddressError::LocalTooLong),
        _ => Ok(local.to_owned()),
    }
}

fn check_domain(domain: &str) -> Result<String, AddressError> {
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if domain.chars().any(char::is_control) {
        return Err(AddressError::Control);
    }
    if domain.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::DomainTooLong);
    }
    let fits = match domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => is_address_literal(literal),
        None => domain.split('.').all(is_label),
    };
    if fits { Ok(domain) } else { Err(AddressError::BadDomain) }
}

/// The inside of an address literal (RFC 5321 §4.1.3). Some clients forget the `IPv6:` tag; we do not mind.
fn is_address_literal(literal: &str) -> bool {
    let literal = literal.strip_prefix("ipv6:").unwrap_or(literal);
    literal.parse::<std::net::IpAddr>().is_ok()
}

/// Underscores are no part of a host name, but real machines have them.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

/// Characters that need no quotes in a local part (RFC 5321 §4.1.2 `atext`, RFC 6531 §3.3 for the rest).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

/// Reads `local@domain`, with the local part quoted or not.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
        Address::new(&unquote(local)?, domain)
    }
}

/// Takes the quotes off a quoted local part (RFC 5321 `Quoted-string`); leaves any other as it is.
fn unquote(local: &str) -> Result<String, AddressError> {
    let Some(inside) = local.strip_prefix('"') else {
        return Ok(local.to_owned());
    };
    let mut plain = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' if characters.as_str().is_empty() => return Ok(plain),
            '"' => return Err(AddressError::BadQuotes),
            '\\' => plain.push(characters.next().ok_or(AddressError::BadQuotes)?),
            _ => plain.push(c),
        }
    }
    Err(AddressError::BadQuotes)
}

/// Written with quotes only where they are needed.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
        if plain {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

/// What a client may name in MAIL or RCPT, before it is known what it stands for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// `<>`: nobody.
    Null,
    /// A name without a domain, such as `root`.
    Local(String),
    /// A whole address.
    Mailbox(Address),
}

/// Who is told when a message fails (RFC 5321 §3.6, §4.5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// Nobody: the message is itself a report.
    Null,
    /// This mailbox.
    Mailbox(Address),
}

impl ReversePath {
    /// The mailbox, unless it is the null path.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(address) => Some(address),
        }
    }
}

/// Without brackets, and empty for the null path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().map_or(Ok(()), |address| address.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, AddressError> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_written_as_they_were_meant() {
        for (written, meant) in [
            ("a@b", "a@b"),
            ("Alarm.Anlage@Example.COM.", "Alarm.Anlage@example.com"),
            ("\"a b\"@c", "\"a b\"@c"),
            ("\"a\\\"b\"@c", "\"a\\\"b\"@c"),
            ("\"plain\"@c", "plain@c"),
            ("ilo.@b", "\"ilo.\"@b"),
            ("HP Enclosure@b", "\"HP Enclosure\"@b"),
            ("=ipmi@b", "=ipmi@b"),
            ("ups@[192.0.2.9]", "ups@[192.0.2.9]"),
            ("ups@[IPv6:2001:db8::1]", "ups@[ipv6:2001:db8::1]"),
            ("a@b@c", "\"a@b\"@c"),
            ("grüße@bücher.example", "grüße@bücher.example"),
        ] {
            assert_eq!(shown(written).as_deref(), Ok(meant));
            assert_eq!(shown(meant).as_deref(), Ok(meant), "what is written must read back the same");
        }
    }

    #[test]
    fn only_public_domains_can_receive() {
        for (text, can) in [
            ("a@example.com", true),
            ("a@mail.home.example", true),
            ("a@nas", false),
            ("a@nas.local", false),
            ("a@localhost", false),
            ("a@nas.home.arpa", false),
            ("a@[192.0.2.9]", false),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.can_receive()), Ok(can), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_its_reason() {
        let long_local = format!("{}@b", "x".repeat(65));
        let long_domain = format!("a@{}", "x.".repeat(150));
        for (text, reason) in [
            ("", AddressError::Empty),
            ("root", AddressError::NoDomain),
            ("a@", AddressError::NoDomain),
            ("@b", AddressError::NoLocal),
            ("a\rb@c", AddressError::Control),
            ("a@b\nc", AddressError::Control),
            ("a\0@c", AddressError::Control),
            ("a@b c", AddressError::BadDomain),
            ("a@b..c", AddressError::BadDomain),
            ("a@[1.2.3]", AddressError::BadDomain),
            ("\"a@b", AddressError::BadQuotes),
            ("\"a\"b@c", AddressError::BadQuotes),
            (&long_local, AddressError::LocalTooLong),
            (&long_domain, AddressError::DomainTooLong),
        ] {
            assert_eq!(shown(text), Err(reason), "{text:?}");
        }
    }
}
