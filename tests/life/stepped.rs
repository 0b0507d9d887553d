//! Steps: places where an attempt can be stopped, before and after everything it asks of the world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use smarthost::mail::{MessageId, Submission, Timestamp};
use smarthost::spool::{
    AcceptError, Accepted, Backlog, Claim, Content, Filter, Heir, Lease, Noted, Order, Past, Queued, Reading, Record,
    Restored, Settlement, Spool, SpoolError, Upload, Which,
};

/// Says that the attempt which is being polled has come to a step. The flag is raised for whoever polls, and
/// the attempt goes on when it is polled again. What is no attempt takes no steps.
#[derive(Clone, Default)]
pub struct Steps(Arc<Flags>);

#[derive(Default)]
struct Flags {
    stepping: AtomicBool,
    reached: AtomicBool,
}

impl Steps {
    pub async fn step(&self) {
        let mut passed = !self.0.stepping.load(Ordering::Relaxed);
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut passed, true) {
                return Poll::Ready(());
            }
            self.0.reached.store(true, Ordering::Relaxed);
            Poll::Pending
        })
        .await;
    }

    /// An attempt is polled from now on, or no longer.
    pub fn set_stepping(&self, stepping: bool) {
        self.0.stepping.store(stepping, Ordering::Relaxed);
    }

    /// Whether a step was reached since the last call.
    pub fn take(&self) -> bool {
        self.0.reached.swap(false, Ordering::Relaxed)
    }
}

/// The spool as an attempt sees it: it can be stopped before and after every call, and fails at times.
pub struct Stepped {
    pub spool: Arc<dyn Spool>,
    pub steps: Steps,
    /// How many of the next settlements fail.
    pub settlements_to_fail: AtomicU64,
}

#[async_trait]
impl Spool for Stepped {
    fn upload(&self, now: Timestamp) -> Upload {
        self.spool.upload(now)
    }

    async fn append(&self, upload: &mut Upload, piece: Bytes) -> Result<(), AcceptError> {
        self.spool.append(upload, piece).await
    }

    async fn accept(&self, submission: Submission, content: Content) -> Result<Accepted, AcceptError> {
        self.spool.accept(submission, content).await
    }

    async fn claim(&self, account: &str, now: Timestamp) -> Result<Claim, SpoolError> {
        self.spool.claim(account, now).await
    }

    fn piece(&self, id: MessageId, index: u32) -> Reading {
        let (steps, reading) = (self.steps.clone(), self.spool.piece(id, index));
        Box::pin(async move {
            steps.step().await;
            reading.await
        })
    }

    async fn restore(&self, restored: Restored, content: Content) -> Result<bool, AcceptError> {
        self.spool.restore(restored, content).await
    }

    async fn mark_sending(&self, lease: &Lease, synced: bool) -> Result<(), SpoolError> {
        self.steps.step().await;
        self.spool.mark_sending(lease, synced).await
    }

    async fn settle(&self, lease: &mut Lease, settlement: &Settlement) -> Result<(), SpoolError> {
        self.steps.step().await;
        let failing = self.settlements_to_fail.load(Ordering::Relaxed);
        if failing > 0 {
            self.settlements_to_fail.store(failing - 1, Ordering::Relaxed);
            return Err(SpoolError::Failed("the disk is full, as the dice say".to_owned()));
        }
        let settled = self.spool.settle(lease, settlement).await;
        self.steps.step().await;
        settled
    }

    async fn grow_older(&self, account: &str, by: Duration) -> Result<(), SpoolError> {
        self.spool.grow_older(account, by).await
    }

    async fn note_account(&self, account: &str, noted: &Noted) -> Result<(), SpoolError> {
        self.steps.step().await;
        self.spool.note_account(account, noted).await
    }

    async fn noted(&self, account: &str) -> Result<Noted, SpoolError> {
        self.spool.noted(account).await
    }

    async fn adopt(&self, accounts: &[String], heir: Heir) -> Result<u64, SpoolError> {
        self.spool.adopt(accounts, heir).await
    }

    async fn list(&self, which: &Which) -> Result<Vec<Queued>, SpoolError> {
        self.spool.list(which).await
    }

    async fn show(&self, id: MessageId) -> Result<Option<Record>, SpoolError> {
        self.spool.show(id).await
    }

    async fn order(&self, which: &Which, order: Order, now: Timestamp) -> Result<Vec<MessageId>, SpoolError> {
        self.spool.order(which, order, now).await
    }

    async fn retry_asked(&self, account: &str) -> Result<Option<Timestamp>, SpoolError> {
        self.spool.retry_asked(account).await
    }

    async fn history(&self, filter: &Filter) -> Result<Vec<(i64, Past)>, SpoolError> {
        self.spool.history(filter).await
    }

    async fn prune(&self, now: Timestamp, history: Duration) -> Result<bool, SpoolError> {
        self.spool.prune(now, history).await
    }

    async fn sent_since(&self, account: &str, since: Timestamp) -> Result<Vec<(Timestamp, u32)>, SpoolError> {
        self.spool.sent_since(account, since).await
    }

    async fn backlog(&self, now: Timestamp) -> Result<Vec<Backlog>, SpoolError> {
        self.spool.backlog(now).await
    }
}
