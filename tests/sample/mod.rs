//! Mail for the tests of the spool, and times to count from.

#![allow(dead_code, reason = "every test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

use std::time::Duration;

use bytes::Bytes;
use smarthost::mail::{
    Address, Client, Envelope, MessageId, Outcome, Protocol, Recipient, Reply, ReversePath, Submission, Timestamp, Why,
};
use smarthost::spool::{Claim, Content, Filter, Lease, Next, Past, Queued, Settlement, Spool, Which};
use tokio::sync::oneshot;

/// So many seconds after a day in 2023.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A message from a UPS, sent through account `home`.
pub fn submission(to: &[&str], received: Timestamp) -> Submission {
    let recipients = to.iter().map(|to| Recipient::from(address(to))).collect();
    let reverse_path = ReversePath::Mailbox(address("ups@example.org"));
    Submission {
        envelope: Envelope { reverse_path, recipients, smtputf8: false },
        client: Client { helo: "ups".to_owned(), ip: Some([192, 0, 2, 7].into()), login: Some("cellar".to_owned()) },
        protocol: Protocol::Esmtp,
        account: "home".to_owned(),
        received,
    }
}

/// What a report about a message looks like to the spool.
pub fn notice(to: &str, received: Timestamp) -> (Submission, Bytes) {
    let mut submission = submission(&[to], received);
    submission.envelope.reverse_path = ReversePath::Null;
    submission.client = Client::ourselves();
    submission.protocol = Protocol::Local;
    (submission, Bytes::from_static(b"Subject: Undelivered mail\r\n\r\nsorry\r\n"))
}

pub fn small() -> Content {
    Content::Memory(Bytes::from_static(b"Subject: x\r\n\r\nBattery low\r\n"))
}

pub fn delivered() -> Outcome {
    Outcome::Delivered(Reply::plain(250, "OK"))
}

pub fn deferred() -> Outcome {
    Outcome::Deferred(Why::Reply(Reply::plain(451, "Try later")))
}

pub fn refused() -> Outcome {
    Outcome::Refused(Why::Reply(Reply::plain(550, "No such user")))
}

pub fn uncertain() -> Outcome {
    Outcome::Uncertain(Why::NoAnswer("silence".to_owned()))
}

pub fn settlement(at: Timestamp, outcomes: Vec<(u32, Outcome)>, next: Next) -> Settlement {
    Settlement { at, outcomes, next, counted: true, through: None, notice: None, keep_content_until: None }
}

pub async fn accept(spool: &dyn Spool, to: &[&str], received: Timestamp) -> MessageId {
    spool.accept(submission(to, received), small()).await.unwrap().id()
}

/// Claims a message of `home` that must be due.
pub async fn claim(spool: &dyn Spool, now: Timestamp) -> Lease {
    match spool.claim("home", now).await.unwrap() {
        Claim::Leased(lease) => *lease,
        Claim::Nothing { until, .. } => panic!("nothing is due until {until:?}"),
    }
}

/// When the next message of `home` will be due, where none is now.
pub async fn nothing_until(spool: &dyn Spool, now: Timestamp) -> Option<Timestamp> {
    match spool.claim("home", now).await.unwrap() {
        Claim::Nothing { until, .. } => until,
        Claim::Leased(lease) => panic!("{lease:?} is due"),
    }
}

/// Waits for the next message of an account that has nothing due.
pub async fn listen(spool: &dyn Spool, account: &str) -> oneshot::Receiver<Lease> {
    match spool.claim(account, at(0)).await.unwrap() {
        Claim::Nothing { handed, .. } => handed,
        Claim::Leased(lease) => panic!("{lease:?} is due"),
    }
}

pub async fn list(spool: &dyn Spool) -> Vec<Queued> {
    spool.list(&Which::All).await.unwrap()
}

pub async fn history(spool: &dyn Spool, filter: Filter) -> Vec<Past> {
    let filter = Filter { limit: if filter.limit == 0 { 100 } else { filter.limit }, ..filter };
    spool.history(&filter).await.unwrap().into_iter().map(|(_, past)| past).collect()
}

/// All content of a message that the spool holds.
pub async fn content(spool: &dyn Spool, id: MessageId) -> Vec<u8> {
    let mut all = Vec::new();
    let mut index = 0;
    while let Some(piece) = spool.piece(id, index).await.unwrap() {
        all.extend_from_slice(&piece);
        index += 1;
    }
    all
}

/// Waits until `holds` says so; what takes longer than ten seconds never happens.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}
