//! What the stand-in remembers: messages, counts and conversations, and the waiting for them.
//!
//! Shared by all sessions. With [`Keep::CountsOnly`] it holds counts alone, however much mail comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::mail::Timestamp;

/// How much is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Messages, conversations and counts.
    #[default]
    Everything,
    /// Counts, for measuring: memory does not grow with the mail.
    CountsOnly,
}

/// A message that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The reverse path without brackets; empty for `<>`.
    pub mail_from: String,
    /// The parameters of MAIL as they were written, such as `SIZE=120`.
    pub mail_parameters: Vec<String>,
    /// Without brackets, in their order.
    pub recipients: Vec<String>,
    /// Header and body as the client meant them: dots unstuffed, without the final dot.
    pub content: Bytes,
    /// Which connection it came in, counted from 1.
    pub session: u64,
    pub at: Timestamp,
}

/// How much of everything there was since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub connections: u64,
    /// Connections that are over.
    pub closed: u64,
    pub logins: u64,
    pub failed_logins: u64,
    /// Command lines of all kinds.
    pub commands: u64,
    /// Messages accepted.
    pub messages: u64,
    /// Recipients of those messages.
    pub recipients: u64,
    /// Content of those messages, in bytes.
    pub bytes: u64,
    /// Messages refused after their content: by Gmail's rules, or by a rule of the script.
    pub refused: u64,
    /// Answers that were never given, by a rule of the script.
    pub silences: u64,
}

/// Who is told when messages arrive: their number and the time.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Each one of so many; 0 is told as 1.
    pub every: u64,
    pub to: mpsc::UnboundedSender<(u64, Timestamp)>,
}

impl Tally {
    fn arrived(&self, number: u64, at: Timestamp) {
        if number.is_multiple_of(self.every.max(1)) {
            // Nobody has to listen any more.
            let _ = self.to.send((number, at));
        }
    }
}

/// The condition was not met in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:?} in vain; until then: {counts:?}")]
pub struct TooLate {
    pub waited: Duration,
    pub counts: Counts,
}

/// The counters behind [`Counts`], by the same names.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub connections: AtomicU64,
    pub closed: AtomicU64,
    pub logins: AtomicU64,
    pub failed_logins: AtomicU64,
    pub commands: AtomicU64,
    pub messages: AtomicU64,
    pub recipients: AtomicU64,
    pub bytes: AtomicU64,
    pub refused: AtomicU64,
    pub silences: AtomicU64,
}

/// One conversation, as text with `C:` and `S:` in front of the lines.
pub(super) type Transcript = Arc<Mutex<String>>;

/// Everything remembered.
#[derive(Debug)]
pub(super) struct Ledger {
    keep: Keep,
    tally: Option<Tally>,
    pub counters: Counters,
    received: Mutex<Vec<Received>>,
    transcripts: Mutex<Vec<Transcript>>,
    changed: watch::Sender<()>,
}

impl Ledger {
    pub fn new(keep: Keep, tally: Option<Tally>) -> Ledger {
        Ledger {
            keep,
            tally,
            counters: Counters::default(),
            received: Mutex::default(),
            transcripts: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Whether contents have to be kept at all.
    pub fn keeps_everything(&self) -> bool {
        self.keep == Keep::Everything
    }

    /// A new connection: its number, and the transcript to write.
    pub fn open(&self) -> (u64, Option<Transcript>) {
        let transcript = self.keeps_everything().then(Transcript::default);
        // Under one lock, so that the transcript of session n stands at place n - 1.
        let mut transcripts = lock(&self.transcripts);
        let number = self.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        transcripts.extend(transcript.clone());
        drop(transcripts);
        self.tell();
        (number, transcript)
    }

    /// Adds one, and lets those who wait look again.
    pub fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    /// Counts an accepted message of `size` bytes, and keeps it unless only counts are kept. Returns its number.
    pub fn record(&self, message: Received, size: u64) -> u64 {
        let (counters, at) = (&self.counters, message.at);
        counters.recipients.fetch_add(message.recipients.len() as u64, Ordering::Relaxed);
        counters.bytes.fetch_add(size, Ordering::Relaxed);
        if self.keeps_everything() {
            lock(&self.received).push(message);
        }
        let number = counters.messages.fetch_add(1, Ordering::Release) + 1;
        if let Some(tally) = &self.tally {
            tally.arrived(number, at);
        }
        self.tell();
        number
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }

    pub fn transcripts(&self) -> Vec<String> {
        lock(&self.transcripts).iter().map(|transcript| lock(transcript).clone()).collect()
    }

    pub fn counts(&self) -> Counts {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Counts {
            messages: read(&counters.messages),
            connections: read(&counters.connections),
            closed: read(&counters.closed),
            logins: read(&counters.logins),
            failed_logins: read(&counters.failed_logins),
            commands: read(&counters.commands),
            recipients: read(&counters.recipients),
            bytes: read(&counters.bytes),
            refused: read(&counters.refused),
            silences: read(&counters.silences),
        }
    }

    /// Waits until `met` holds. It is asked after each connection, login, message and refusal.
    pub async fn wait_until(&self, met: impl Fn(&Counts) -> bool, timeout: Duration) -> Result<Counts, TooLate> {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                let counts = self.counts();
                if met(&counts) {
                    return counts;
                }
                // The sender lives as long as `self`, so this only ever ends with a change.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(timeout, waiting).await.map_err(|_| TooLate { waited: timeout, counts: self.counts() })
    }
}

/// A panic elsewhere leaves these lists whole, so the lock is used all the same.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
