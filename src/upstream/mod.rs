//! Gmail: one message in, one outcome for each recipient out.
//!
//! This file is the contract; `gmail` keeps it over SMTP. It never sees the spool: content comes as pieces.

pub mod connect;
pub mod credentials;
pub mod fault;
pub mod gmail;
mod replies;
pub mod symptoms;
pub mod trouble;
pub mod verdict;
mod wire;

use async_trait::async_trait;
use bytes::Bytes;

use crate::mail::{Address, Outcome, ReversePath};

pub use trouble::{Limit, Trouble, TroubleKind};

/// What goes over the wire, but for the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consignment {
    pub reverse_path: ReversePath,
    /// With their place in the envelope, by which outcomes are told.
    pub recipients: Vec<(u32, Address)>,
    /// Bytes that will be sent, before dots are stuffed (RFC 1870 §3).
    pub size: u64,
    /// Some octet is above 127 (RFC 6152).
    pub eight_bit: bool,
    /// An address or a header field needs it (RFC 6531).
    pub smtputf8: bool,
    /// No attempt of this message was counted before: what may be an accident is then tried again.
    pub first_try: bool,
}

/// Content fit to be sent: CRLF line ends only, no NUL, ending in CRLF, dots not yet stuffed.
#[async_trait]
pub trait Outgoing: Send {
    /// Goes back to the first piece: a message may need several transactions.
    async fn rewind(&mut self);

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// Where the store fails. The transfer is then broken off, so that half a message is never delivered.
    async fn next(&mut self) -> Result<Option<Bytes>, String>;

    /// The final dot is about to go out, after which nobody can know what becomes of the message until there is an answer.
    ///
    /// # Errors
    /// Why it must not go out. The transfer is then broken off.
    async fn before_the_end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// What came of handing one message to Gmail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// One for every recipient of the consignment.
    pub outcomes: Vec<(u32, Outcome)>,
    /// What is wrong with the account, where that is why it failed, or where Gmail wants less at once. Never a reason to
    /// give up on a message.
    pub trouble: Option<Trouble>,
}

/// One way to Gmail, used by one delivery at a time. It keeps its connection between messages.
#[async_trait]
pub trait Upstream: Send {
    /// Tries to deliver one message, once. Every step has a deadline, and so has all of it.
    async fn deliver(&mut self, consignment: &Consignment, content: &mut dyn Outgoing) -> Dispatch;

    /// How long the connection may still be kept without work; `None` where there is none.
    fn idle_left(&self) -> Option<std::time::Duration>;

    /// Says goodbye, if there is a connection.
    async fn close(&mut self);
}
