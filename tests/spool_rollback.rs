//! A batch that is rolled back takes nothing of those that follow with it.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

mod sample;

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use sample::*;
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{Claim, Spool};
use tokio::task::JoinSet;

/// More requests than one transaction takes.
const REQUESTS: usize = 300;

/// The lease of a claim that was rolled back, as on a full disk, has the generation that the next claim gets. It must not
/// give that one's message to somebody else, who would send it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_rolled_back_does_not_free_the_lease_of_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(SqliteSpool::open(folder.path(), at(0)).unwrap());
    let other = Connection::open(folder.path().join("spool.db")).unwrap();
    // Like a disk that is full, this rolls back all of the transaction.
    other
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON recipient WHEN new.address = 'full@example.com'
             BEGIN SELECT RAISE(ROLLBACK, 'full'); END",
        )
        .unwrap();
    accept(spool.as_ref(), &["a@example.com"], at(0)).await;

    // While the thread waits for the database, so many requests come that they need two transactions.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut requests = JoinSet::new();
    let ask = |requests: &mut JoinSet<()>| {
        let spool = Arc::clone(&spool);
        requests.spawn(async move { drop(spool.grow_older("home", Duration::ZERO).await) });
    };
    ask(&mut requests);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Polled once each, in this order, so that they are asked in this order.
    let mut rolled_back = spool.claim("home", at(1));
    assert!(poll_once(&mut rolled_back).is_none());
    let mut full = spool.accept(submission(&["full@example.com"], at(1)), small());
    assert!(poll_once(&mut full).is_none());
    for _ in 0..REQUESTS {
        ask(&mut requests);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut next = spool.claim("home", at(1));
    assert!(poll_once(&mut next).is_none());
    other.execute_batch("ROLLBACK").unwrap();

    assert!(rolled_back.await.is_err() && full.await.is_err());
    let Claim::Leased(lease) = next.await.unwrap() else { panic!("the message is due") };
    requests.join_all().await;
    spool.grow_older("home", Duration::ZERO).await.unwrap();
    let third = spool.claim("home", at(2)).await.unwrap();
    assert!(matches!(third, Claim::Nothing { .. }), "the message is being delivered already");
    drop(lease);
}

/// Polls a future once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
