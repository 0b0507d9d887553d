//! The vocabulary of mail: plain values that every other part may name.
//!
//! Touches nothing: no sockets, files, clock or randomness. A value is parsed once, at the border, and is never
//! text again until it is written out. Failing to parse is an error value; nothing here panics on input.

pub mod address;
pub mod header;
pub mod id;
pub mod outcome;
pub mod reply;
pub mod stuffing;

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
pub use jiff::Timestamp;

pub use address::{Address, Path, ReversePath};
pub use id::MessageId;
pub use outcome::{Outcome, Why};
pub use reply::{Enhanced, Refusal, Reply};

/// Who handed a message in: what it called itself and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The name given in HELO or EHLO, made safe for a header and a log line; empty when none was usable.
    pub helo: String,
    /// The address of the other end; `None` for mail of this machine: reports of ours, and what came through a Unix socket.
    pub ip: Option<IpAddr>,
    /// The name it logged in with, made safe for a log line. Where logins are not checked this is a label and no more.
    pub login: Option<String>,
}

/// What the relay calls itself as the author of reports.
const OURSELVES: &str = "smarthost";

impl Client {
    /// The relay itself, as the author of reports.
    #[must_use]
    pub fn ourselves() -> Client {
        Client { helo: OURSELVES.to_owned(), ip: None, login: None }
    }
}

/// Shown as operators know it from other mail servers: `name[address]`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.helo.is_empty() { "unknown" } else { &self.helo };
        match self.ip {
            Some(ip) => write!(f, "{name}[{ip}]"),
            None if self.helo == OURSELVES => f.write_str(OURSELVES),
            None if self.helo.is_empty() => f.write_str("local"),
            None => write!(f, "{name}[local]"),
        }
    }
}

/// The protocol a message came by, as the `with` clause of a `Received` field names it (RFC 5321 §4.4, RFC 3848).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The client said HELO, or nothing.
    Smtp,
    /// The client said EHLO.
    Esmtp,
    /// The client said EHLO and asked for SMTPUTF8 (RFC 6531 §4.3).
    Utf8Smtp,
    /// ESMTP inside of TLS.
    Esmtps,
    /// With SMTPUTF8, inside of TLS.
    Utf8Smtps,
    /// ESMTP of a client that has logged in.
    Esmtpa,
    Utf8Smtpa,
    /// The same inside of TLS.
    Esmtpsa,
    Utf8Smtpsa,
    /// Made here: a report of ours.
    Local,
}

impl Protocol {
    /// The registered word (IANA "Mail Transmission Types").
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Smtp => "SMTP",
            Protocol::Esmtp => "ESMTP",
            Protocol::Utf8Smtp => "UTF8SMTP",
            Protocol::Esmtps => "ESMTPS",
            Protocol::Utf8Smtps => "UTF8SMTPS",
            Protocol::Esmtpa => "ESMTPA",
            Protocol::Utf8Smtpa => "UTF8SMTPA",
            Protocol::Esmtpsa => "ESMTPSA",
            Protocol::Utf8Smtpsa => "UTF8SMTPSA",
            Protocol::Local => "local",
        }
    }

    /// Reads back what [`Protocol::as_str`] wrote; an unknown word counts as `SMTP`.
    #[must_use]
    pub fn from_word(word: &str) -> Protocol {
        const ALL: [Protocol; 9] = [
            Protocol::Esmtp,
            Protocol::Utf8Smtp,
            Protocol::Esmtps,
            Protocol::Utf8Smtps,
            Protocol::Esmtpa,
            Protocol::Utf8Smtpa,
            Protocol::Esmtpsa,
            Protocol::Utf8Smtpsa,
            Protocol::Local,
        ];
        ALL.into_iter().find(|protocol| protocol.as_str() == word).unwrap_or(Protocol::Smtp)
    }

    /// ESMTP with what was used of it (RFC 3848, RFC 6531 §4.3); nothing else changes.
    #[must_use]
    pub fn with(self, smtputf8: bool, tls: bool, login: bool) -> Protocol {
        match (self, smtputf8, tls, login) {
            (Protocol::Esmtp, false, true, false) => Protocol::Esmtps,
            (Protocol::Esmtp, false, false, true) => Protocol::Esmtpa,
            (Protocol::Esmtp, false, true, true) => Protocol::Esmtpsa,
            (Protocol::Esmtp, true, false, false) => Protocol::Utf8Smtp,
            (Protocol::Esmtp, true, true, false) => Protocol::Utf8Smtps,
            (Protocol::Esmtp, true, false, true) => Protocol::Utf8Smtpa,
            (Protocol::Esmtp, true, true, true) => Protocol::Utf8Smtpsa,
            (protocol, ..) => protocol,
        }
    }
}

/// One who is to receive a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where the mail goes.
    pub address: Address,
    /// Whom the client asked for, where an alias or `redirect_all` made this one of it; several may lead to one.
    pub originals: Vec<Address>,
}

/// More are not kept for one recipient: a client can name as many as it likes.
const ORIGINALS_MAX: usize = 100;

impl Recipient {
    /// Takes over whom the client asked for, where another one leads to the same address.
    pub fn join(&mut self, other: Recipient) {
        for original in other.originals {
            if self.originals.len() < ORIGINALS_MAX && !self.originals.contains(&original) {
                self.originals.push(original);
            }
        }
    }

    /// Whom the client asked for, for people; empty where that is the address itself.
    #[must_use]
    pub fn asked_for(&self) -> String {
        self.originals.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Recipient {
        Recipient { address, originals: Vec::new() }
    }
}

/// From whom and to whom: the envelope of RFC 5321 §2.3.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub reverse_path: ReversePath,
    /// At least one, in the order in which they were named, none twice.
    pub recipients: Vec<Recipient>,
    /// The client asked for SMTPUTF8, or an address is not ASCII (RFC 6531).
    pub smtputf8: bool,
}

/// A message that wants to be accepted, but for its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    pub envelope: Envelope,
    pub client: Client,
    pub protocol: Protocol,
    /// The account it is to be sent through, by name.
    pub account: String,
    /// When the final dot came in.
    pub received: Timestamp,
}

/// A stored message as a delivery gets it: without those recipients who are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub submission: Submission,
    /// Size of the content as it was received, in bytes.
    pub size: u64,
    /// Recipients still owed, with their place in the envelope: outcomes are recorded by that place.
    pub owed: Vec<(u32, Recipient)>,
    /// Attempts made before this one.
    pub attempts: u32,
    /// How long the account has been working since this message was accepted, in milliseconds: the clock by
    /// which mail expires. It stands still while the account is paused (README, promise 3).
    pub patience_ms: u64,
    /// The final dot of an earlier attempt may have gone out, and nobody knows what came of it.
    pub uncertain: bool,
    /// The whole content, where it is small enough to have stayed in memory; otherwise read it from the spool.
    pub content: Option<Bytes>,
}
