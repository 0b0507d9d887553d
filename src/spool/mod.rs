//! What survives: every message that was answered with 250, until nobody is owed it.
//!
//! This file is the contract; `sqlite` keeps it. The same tests judge every store (`tests/spool_contract`).
//!
//! The states of a message, and what a crash in each of them means:
//!
//! | state | what exists | moved on by | if the relay dies here |
//! | --- | --- | --- | --- |
//! | receiving | bytes in a session, perhaps chunks of an [`Upload`] | [`Spool::accept`] | the client has no 250 and sends again; the chunks are removed at the next start |
//! | stored, unanswered | the commit, but no 250 on the wire | the listener | the client may send again: a duplicate that nobody can prevent (RFC 1047) |
//! | due | a message whose time has come | [`Spool::claim`] | nothing is lost |
//! | waiting, held | a message whose time is ahead, or that the operator holds | time, [`Spool::order`] | nothing is lost |
//! | leased | a [`Lease`] with a generation | [`Spool::settle`], or giving it back | due again when the store is opened |
//! | sending | a lease, marked: the final dot may be out | [`Spool::settle`], or giving it back | due again, as uncertain |
//! | answered, unsettled | Gmail said 250, our commit has not happened | [`Spool::settle`] | due again, as uncertain |
//! | settled | history only | [`Spool::prune`] | nothing is lost |
//!
//! Guarantees: an [`Accepted`] exists only after a synced commit. A recipient stops being owed only by a final
//! outcome or the operator's delete, in the same commit as the report about it. No clock ends a lease: it lasts until
//! it is settled, given back, or its process has died. A lease that is not the newest changes nothing. Stored content
//! is never altered.

pub mod sqlite;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::mail::{Client, Message, MessageId, Outcome, Protocol, Recipient, ReversePath, Submission, Timestamp};

/// Content of this many bytes or less comes with the claim, in one piece, and is not asked for again.
pub const WHOLE_BYTES_MAX: u64 = 64 * 1024;

/// A time before this comes from a clock that was not set yet, as after a start without network: 2020.
pub const CLOCK_IS_SET: Timestamp = Timestamp::constant(1_577_836_800, 0);

/// The proof that a message is on stable storage. Only a store makes one, and only it lets a session say 250.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    id: MessageId,
}

impl Accepted {
    /// The id under which the message is known from now on.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }
}

/// Content of a message.
#[derive(Debug)]
pub enum Content {
    /// Small enough to have stayed in memory.
    Memory(Bytes),
    /// Already in the store, all of it.
    Uploaded(Upload),
}

impl Content {
    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Uploaded(upload) => upload.bytes,
        }
    }
}

/// A piece that is being stored.
type Storing = Pin<Box<dyn Future<Output = Result<(), AcceptError>> + Send + Sync>>;

/// A piece that is being read.
pub type Reading = Pin<Box<dyn Future<Output = Result<Option<Bytes>, SpoolError>> + Send>>;

/// Content on its way into the store, in pieces. Dropped before [`Spool::accept`], it is removed again.
pub struct Upload {
    id: MessageId,
    bytes: u64,
    /// The last piece, while it is being stored.
    under_way: Option<Storing>,
    /// Whether it was given up. Locked while a piece is stored, so that none comes behind its removal.
    given_up: Arc<Mutex<bool>>,
    abandon: Option<Box<dyn FnOnce(MessageId) + Send + Sync>>,
}

impl Upload {
    /// How much was added so far, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload {{ {}, {} bytes }}", self.id, self.bytes)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(abandon) = self.abandon.take() {
            abandon(self.id);
        }
    }
}

/// The right to deliver a message. Dropped without [`Spool::settle`] it is given back at once, so that a delivery that
/// ends in a panic or at shutdown delays nothing.
pub struct Lease {
    pub message: Message,
    generation: i64,
    release: Option<Box<dyn FnOnce(MessageId, i64) + Send + Sync>>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease {{ {}, generation {} }}", self.message.id, self.generation)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release(self.message.id, self.generation);
        }
    }
}

/// What [`Spool::claim`] found.
#[derive(Debug)]
pub enum Claim {
    /// A message, ours until it is settled or the lease is dropped.
    Leased(Box<Lease>),
    /// Nothing is due.
    Nothing {
        /// When the next message will be, if there is one.
        until: Option<Timestamp>,
        /// Brings a message that is accepted from now on. A short cut, never the only way: whoever stops waiting misses
        /// nothing, since the message is then due and can be claimed.
        handed: oneshot::Receiver<Lease>,
    },
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    RetryAt(Timestamp),
    /// Not before an operator releases it.
    Hold,
    /// Nobody is owed the message any more.
    Done,
}

/// What became of one attempt: everything in it is committed together, or not at all.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub at: Timestamp,
    /// By the recipient's place in the envelope.
    pub outcomes: Vec<(u32, Outcome)>,
    pub next: Next,
    /// Whether this counts as an attempt. A connection that turned out to be stale is none.
    pub counted: bool,
    /// The account that it went through, where that is not the message's own.
    pub through: Option<String>,
    /// The report to the sender, where one is due.
    pub notice: Option<(Submission, Bytes)>,
    /// Until when the content is kept although nobody is owed it any more; `None`: it goes at once.
    pub keep_content_until: Option<Timestamp>,
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Due at once.
    Retry,
    /// Not to be tried until released.
    Hold,
    Release,
    /// Owed to nobody any more; the history says so.
    Delete,
    /// The same, for mail that was written out into files: from then on it is owed from there.
    Export,
}

/// A message from elsewhere, to be taken over as it stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Kept, since Message-ID and the order of the queue come from it.
    pub id: MessageId,
    /// Only those who are still owed it.
    pub submission: Submission,
    pub attempts: u32,
    pub held: bool,
}

/// Which messages an order or a list means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Ids(Vec<MessageId>),
}

/// Where a waiting message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Held,
    /// Being delivered at this moment.
    Sending,
}

impl State {
    /// The word shown to operators.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Held => "held",
            State::Sending => "sending",
        }
    }
}

/// One line of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub id: MessageId,
    pub received: Timestamp,
    pub size: u64,
    pub account: String,
    pub protocol: Protocol,
    pub from: ReversePath,
    /// Those still owed.
    pub to: Vec<Recipient>,
    /// The client asked for it.
    pub smtputf8: bool,
    pub attempts: u32,
    /// `None` while it is being sent.
    pub next_try: Option<Timestamp>,
    pub state: State,
    /// Gmail's last word about it, or why there was none.
    pub last_reply: Option<String>,
    pub client: Client,
}

/// One line of the history: one recipient of one message in one attempt, or deleted by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub id: MessageId,
    pub at: Timestamp,
    /// `delivered`, `deferred`, `refused`, `uncertain`, `expired`, `deleted` or `exported`.
    pub outcome: String,
    /// The one that it went through.
    pub account: String,
    pub from: ReversePath,
    pub to: Recipient,
    pub reply: String,
    pub client: Client,
    pub attempts: u32,
    /// From acceptance to this outcome, in milliseconds.
    pub delay_ms: i64,
}

/// Everything known about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub submission: Submission,
    pub size: u64,
    /// What is still owed, or `None` where nobody is owed anything any more.
    pub queued: Option<Queued>,
    /// Oldest first.
    pub past: Vec<Past>,
}

/// Which part of the history is wanted. Everything that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub since: Option<Timestamp>,
    /// Part of the address.
    pub to: Option<String>,
    /// Part of the address.
    pub from: Option<String>,
    /// Part of the client's name, address or login.
    pub client: Option<String>,
    /// The account that it went through, by its whole name.
    pub account: Option<String>,
    /// Only outcomes after which nothing is owed.
    pub only_final: bool,
    /// Entries numbered above this one, for following along.
    pub after: Option<i64>,
    /// At most so many; the newest ones.
    pub limit: usize,
}

/// What is wrong with an account, as it is kept for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleNote {
    pub state: String,
    pub reason: String,
    pub cure: String,
    pub since: Timestamp,
}

/// What an account is believed to be allowed, because Gmail refused more: recipients in 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BelievedLimit {
    pub recipients: u32,
    /// When Gmail said so.
    pub since: Timestamp,
}

/// What is kept of an account, for `status` and for the next start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// What is wrong with it; `None`: it works.
    pub trouble: Option<TroubleNote>,
    pub believed_limit: Option<BelievedLimit>,
}

/// How one account's queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub account: String,
    pub waiting: u64,
    pub held: u64,
    /// When the oldest waiting message was accepted.
    pub oldest: Option<Timestamp>,
    /// Recipients that Gmail took in the 24 hours before.
    pub sent_24h: u64,
    /// Recipients of whom nobody can know whether Gmail took the message, in the 24 hours before.
    pub uncertain_24h: u64,
    /// Why its mail does not go out, if so.
    pub trouble: Option<TroubleNote>,
}

impl Backlog {
    /// That of an account which has not sent anything yet.
    #[must_use]
    pub fn empty(account: &str) -> Backlog {
        Backlog {
            account: account.to_owned(),
            waiting: 0,
            held: 0,
            oldest: None,
            sent_24h: 0,
            uncertain_24h: 0,
            trouble: None,
        }
    }
}

/// Why a message was not accepted. The client may try again in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// No room: it may come back by itself.
    #[error("{0}")]
    Full(String),
    /// The store failed.
    #[error("{0}")]
    Failed(String),
}

/// Why the store could not do what was asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Somebody else has the message by now; nothing was changed.
    #[error("the lease of {0} is no longer the newest")]
    LeaseLost(MessageId),
    /// The store failed.
    #[error("{0}")]
    Failed(String),
}

/// Names the account that a message is for.
pub type Heir = Box<dyn Fn(&ReversePath, &Client) -> String + Send>;

/// A durable queue. All times are handed in; the store has no clock of its own.
#[async_trait]
pub trait Spool: Send + Sync {
    /// Starts content that is too large for memory.
    fn upload(&self, now: Timestamp) -> Upload;

    /// Adds a piece to it. Returns once the store has taken the piece before, so that a fast client is held back, but
    /// neither waits for the other; all of it is on stable storage only when the message is accepted.
    ///
    /// # Errors
    /// Of this piece or the one before; the upload is then of no more use.
    async fn append(&self, upload: &mut Upload, piece: Bytes) -> Result<(), AcceptError>;

    /// Takes responsibility for a message: it is on stable storage when this returns `Ok`, and nothing of it is
    /// stored when this returns an error. The message is due at once; it may go straight to somebody who
    /// waits for one (see [`Claim::Nothing`]).
    async fn accept(&self, submission: Submission, content: Content) -> Result<Accepted, AcceptError>;

    /// Takes over a message that another spool has let go. The same guarantees as [`Spool::accept`]; `false` where
    /// somebody is owed it here already, and nothing was changed.
    async fn restore(&self, restored: Restored, content: Content) -> Result<bool, AcceptError>;

    /// Leases the message of `account` that has been due for longest (a time of acceptance from before [`CLOCK_IS_SET`]
    /// becomes that of the first claim with a clock that is set), or puts the caller among those who wait for the
    /// next one.
    async fn claim(&self, account: &str, now: Timestamp) -> Result<Claim, SpoolError>;

    /// Piece `index` of a message's content, counted from 0; `None` behind the last one. Reading begins at once, so that
    /// one piece can be read while another is worked on.
    fn piece(&self, id: MessageId, index: u32) -> Reading;

    /// Notes that the final dot is about to go out: from now on nobody can know whether Gmail has the message, until it
    /// is settled. It survives the death of the process when this returns, and a power cut too if it was `synced`.
    async fn mark_sending(&self, lease: &Lease, synced: bool) -> Result<(), SpoolError>;

    /// Records an attempt and ends the lease. After [`SpoolError::Failed`] nothing is recorded and the lease still
    /// holds, so that the same may be offered again.
    async fn settle(&self, lease: &mut Lease, settlement: &Settlement) -> Result<(), SpoolError>;

    /// Lets the patience clock of an account go on, if it has mail waiting (see [`Message::patience_ms`]).
    async fn grow_older(&self, account: &str, by: Duration) -> Result<(), SpoolError>;

    /// Keeps what is known about an account, in place of what was.
    async fn note_account(&self, account: &str, noted: &Noted) -> Result<(), SpoolError>;

    /// What was kept last; of an account without anything, that it works.
    async fn noted(&self, account: &str) -> Result<Noted, SpoolError>;

    /// Gives mail of accounts that are not in `accounts` to the one that `heir` names, whose clock it follows from then
    /// on without having aged. Returns how many messages that were; some of them, where there are many.
    async fn adopt(&self, accounts: &[String], heir: Heir) -> Result<u64, SpoolError>;

    /// What waits, oldest first.
    async fn list(&self, which: &Which) -> Result<Vec<Queued>, SpoolError>;

    /// Everything about one message.
    async fn show(&self, id: MessageId) -> Result<Option<Record>, SpoolError>;

    /// Carries out an order. Returns the ids it changed; a message that is being delivered can be neither retried
    /// nor deleted.
    async fn order(&self, which: &Which, order: Order, now: Timestamp) -> Result<Vec<MessageId>, SpoolError>;

    /// When an operator last ordered a retry of mail of this account.
    async fn retry_asked(&self, account: &str) -> Result<Option<Timestamp>, SpoolError>;

    /// The past, newest first, each entry with its number.
    async fn history(&self, filter: &Filter) -> Result<Vec<(i64, Past)>, SpoolError>;

    /// Forgets what is older than `history`, and content that is kept no longer, and gives free space back; only some
    /// of it where there is much. Tells whether there is more.
    async fn prune(&self, now: Timestamp, history: Duration) -> Result<bool, SpoolError>;

    /// Recipients of an account that Gmail took since a time, by the minute, oldest first.
    async fn sent_since(&self, account: &str, since: Timestamp) -> Result<Vec<(Timestamp, u32)>, SpoolError>;

    /// How each account's queue stands.
    async fn backlog(&self, now: Timestamp) -> Result<Vec<Backlog>, SpoolError>;
}
