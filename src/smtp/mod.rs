//! The conversation with a client, without I/O: bytes, answers and time go in, actions come out.
//!
//! Nothing here reads a socket, a clock or a file; `listener` does that and carries the actions out in their order.
//! The same bytes cause the same replies however they are cut (`tests/transcripts.rs` feeds every dialogue whole,
//! by line and byte by byte).
//!
//! A session asks two questions of the world, [`Action::Store`] and [`Action::Verify`], and looks at no further byte until
//! the answer came in as [`Input::Stored`] or [`Input::Verified`]. Sender and recipient rules are pure and need no question.

mod actions;
pub mod command;
mod content;
pub mod line;
mod login;
pub mod session;

use bytes::Bytes;

use crate::mail::{Refusal, Submission};
use crate::spool::Accepted;

pub use login::Credentials;
pub use session::{Session, Settings};

/// A message of this many bytes or less stays in memory. What is larger is handed on in pieces: the first of this size,
/// the others larger, since each one costs a way to the disk and back. Together with the limit on connections this
/// bounds the memory of all sessions.
pub const FIRST_PIECE_BYTES: usize = 64 * 1024;
pub const FURTHER_PIECE_BYTES: usize = 128 * 1024;

/// What one listener offers to those who connect to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    pub auth: Auth,
    /// The client may end its lines with LF alone, and then its messages too (legacy-clients.md, section 6).
    pub lf_only: bool,
}

/// What becomes of AUTH (RFC 4954).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// It is not offered.
    #[default]
    Off,
    /// Whatever is said is taken, and gives no right: for programs that refuse to work without a login.
    Any,
    /// Nothing is sent without a login that was checked.
    Required,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client sent these bytes.
    Bytes(&'a [u8]),
    /// The answer to [`Action::Store`].
    Stored(Result<Accepted, Refusal>),
    /// The answer to [`Action::Verify`].
    Verified(Result<(), Refusal>),
    /// What [`Action::Encrypt`] asked for is done: what follows comes through TLS.
    Encrypted,
    /// The client was silent for as long as it may be.
    Silence,
    /// The client is silent or slow, and others wait.
    Slow,
    /// The relay is to stop: the session says so and ends.
    Stop,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this, in one piece: one or more whole replies.
    Send(Vec<u8>),
    /// A piece of a message too large for memory: put it into the store. Failing to do so is reported as the
    /// answer to the [`Action::Store`] that follows.
    Append(Bytes),
    /// Forget the pieces given so far: the message was refused, or will never end.
    Discard,
    /// Store the message: `rest` is the whole content, or, after [`Action::Append`], what comes behind it.
    Store { submission: Box<Submission>, rest: Bytes },
    /// Find out whether this is one of the users.
    Verify(Box<Credentials>),
    /// Shake hands (RFC 3207 §4); where that fails the connection is over.
    Encrypt,
    /// Tell the log: this was refused. `command` is what the client said, fit to be printed and without secrets.
    Log { refusal: Refusal, command: String },
    /// Close the connection once everything before is written.
    Close(Parting),
}

/// How a connection ends that we close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The client asked for it, and sends no more (RFC 5321 §4.1.1.10).
    Quit,
    /// We do. It may still be sending, and should hear why.
    Ours,
}
