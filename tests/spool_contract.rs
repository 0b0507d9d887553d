//! The contract of `src/spool/mod.rs`, kept by every store. Another store is one more line in [`stores`].

mod sample;

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use sample::*;
use smarthost::mail::{MessageId, Recipient, ReversePath};
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{
    AcceptError, Backlog, BelievedLimit, Claim, Content, Filter, LEASE, Next, Noted, Order, Settlement, Spool,
    SpoolError, State, TroubleNote, Which,
};

/// How a store is opened: as the daemon does, and beside it, as the queue commands do.
#[derive(Clone, Copy)]
struct Store {
    open: fn(&Path) -> Arc<dyn Spool>,
    open_beside: fn(&Path) -> Arc<dyn Spool>,
}

fn stores() -> Vec<Store> {
    vec![Store {
        open: |folder| Arc::new(SqliteSpool::open(folder, at(0)).unwrap()),
        open_beside: |folder| Arc::new(SqliteSpool::open_beside(folder).unwrap()),
    }]
}

/// A store on its folder.
struct Opened {
    store: Store,
    folder: tempfile::TempDir,
    spool: Option<Arc<dyn Spool>>,
}

impl Opened {
    fn spool(&self) -> &dyn Spool {
        self.spool.as_deref().unwrap()
    }

    fn beside(&self) -> Arc<dyn Spool> {
        (self.store.open_beside)(self.folder.path())
    }

    /// As if the process had died and was started again.
    fn reopen(&mut self) {
        self.spool = None;
        self.spool = Some((self.store.open)(self.folder.path()));
    }
}

/// Tests that hold for every store: `name(opened) { what must hold }`.
macro_rules! contract {
    ($($(#[$meta:meta])* $name:ident($opened:ident) $body:block)*) => {$(
        $(#[$meta])*
        #[tokio::test]
        async fn $name() {
            for store in stores() {
                let folder = tempfile::tempdir().unwrap();
                let spool = Some((store.open)(folder.path()));
                #[allow(unused_mut, reason = "only some tests reopen the store")]
                let mut $opened = Opened { store, folder, spool };
                $body
            }
        }
    )*};
}

fn ids(queued: &[smarthost::spool::Queued]) -> Vec<MessageId> {
    queued.iter().map(|queued| queued.id).collect()
}

fn only(id: MessageId) -> Which {
    Which::Ids(vec![id])
}

/// An upload of three pieces, and what they make together.
async fn upload(spool: &dyn Spool) -> (smarthost::spool::Upload, Vec<u8>) {
    let mut upload = spool.upload(at(0));
    let mut all = Vec::new();
    for piece in [vec![b'a'; 70_000], vec![b'b'; 65_536], b"end\r\n".to_vec()] {
        all.extend_from_slice(&piece);
        spool.append(&mut upload, Bytes::from(piece)).await.unwrap();
    }
    (upload, all)
}

contract! {
    what_was_accepted_is_there_after_reopening(opened) {
        let mut submission = submission(&["a@example.com", "b@example.com"], at(1));
        submission.envelope.recipients[1].original = Some(address("root@localhost"));
        submission.envelope.smtputf8 = true;
        let accepted = opened.spool().accept(submission.clone(), small()).await.unwrap();
        opened.reopen();
        let record = opened.spool().show(accepted.id()).await.unwrap().unwrap();
        assert_eq!((record.submission, record.size), (submission.clone(), 25 + 2));
        let lease = claim(opened.spool(), at(1)).await;
        assert_eq!((lease.message.id, &lease.message.submission), (accepted.id(), &submission));
        assert_eq!(lease.message.owed, [(0, submission.envelope.recipients[0].clone()), (1, submission.envelope.recipients[1].clone())]);
        assert_eq!(content(opened.spool(), accepted.id()).await, b"Subject: x\r\n\r\nBattery low\r\n");
    }

    unusual_values_come_back_as_they_went_in(opened) {
        let mut odd = submission(&["\"a b\"@example.com", "jörg@bücher.example", "x@[192.0.2.1]"], at(1));
        odd.envelope.reverse_path = ReversePath::Null;
        odd.client.ip = Some("2001:db8::1".parse().unwrap());
        odd.client.helo = String::new();
        let id = opened.spool().accept(odd.clone(), Content::Memory(Bytes::new())).await.unwrap().id();
        assert_eq!(claim(opened.spool(), at(1)).await.message.submission, odd);
        assert_eq!(content(opened.spool(), id).await, b"");
    }

    nothing_of_a_failed_accept_is_stored(opened) {
        // Whose pieces are not all there cannot be accepted: here a restart took them for orphans.
        let beside = opened.beside();
        let (cut, _) = upload(beside.as_ref()).await;
        opened.reopen();
        let answer = beside.accept(submission(&["a@example.com"], at(1)), Content::Uploaded(cut)).await;
        assert!(matches!(answer, Err(AcceptError::Failed(_))), "{answer:?}");
        assert_eq!(list(opened.spool()).await, []);
        assert_eq!(opened.spool().backlog(at(1)).await.unwrap(), []);
    }

    an_upload_gives_the_same_bytes_back(opened) {
        let (upload, all) = upload(opened.spool()).await;
        let uploaded = Content::Uploaded(upload);
        assert_eq!(uploaded.size(), all.len() as u64);
        let id = opened.spool().accept(submission(&["a@example.com"], at(1)), uploaded).await.unwrap().id();
        opened.reopen();
        assert_eq!(content(opened.spool(), id).await, all);
        let lease = claim(opened.spool(), at(1)).await;
        assert_eq!((lease.message.id, lease.message.size, &lease.message.content), (id, all.len() as u64, &None));
    }

    two_claimers_never_hold_one_message(opened) {
        for second in 0..20 {
            accept(opened.spool(), &["a@example.com"], at(second)).await;
        }
        let spool = opened.spool.clone().unwrap();
        let beside = opened.beside();
        let mut claimers = tokio::task::JoinSet::new();
        for number in 0..8 {
            let spool = Arc::clone(if number % 2 == 0 { &spool } else { &beside });
            claimers.spawn(async move {
                let mut mine = Vec::new();
                while let Claim::Leased(lease) = spool.claim("home", at(30)).await.unwrap() {
                    mine.push(*lease);
                    tokio::task::yield_now().await;
                }
                mine
            });
        }
        let leases = claimers.join_all().await.into_iter().flatten().collect::<Vec<_>>();
        let mut claimed: Vec<_> = leases.iter().map(|lease| lease.message.id).collect();
        claimed.sort();
        assert_eq!(claimed, ids(&list(opened.spool()).await));
        assert!(list(opened.spool()).await.iter().all(|queued| queued.state == State::Sending));
    }

    mail_is_claimed_in_the_order_in_which_it_is_due_and_by_its_account(opened) {
        let late = accept(opened.spool(), &["late@example.com"], at(2)).await;
        let early = accept(opened.spool(), &["early@example.com"], at(1)).await;
        let mut other = submission(&["other@example.com"], at(0));
        other.account = "work".to_owned();
        opened.spool().accept(other, small()).await.unwrap();
        let (first, second) = (claim(opened.spool(), at(3)).await, claim(opened.spool(), at(3)).await);
        assert_eq!((first.message.id, second.message.id), (early, late));
        assert_eq!(nothing_until(opened.spool(), at(3)).await, Some(at(3) + LEASE), "the end of the first lease");
    }

    a_claim_with_nothing_due_tells_the_next_time(opened) {
        assert_eq!(nothing_until(opened.spool(), at(0)).await, None);
        accept(opened.spool(), &["a@example.com"], at(50)).await;
        assert_eq!(nothing_until(opened.spool(), at(49)).await, Some(at(50)));
        let mut lease = claim(opened.spool(), at(50)).await;
        let settlement = settlement(at(51), vec![(0, deferred())], Next::RetryAt(at(80)));
        opened.spool().settle(&mut lease, &settlement).await.unwrap();
        assert_eq!(nothing_until(opened.spool(), at(79)).await, Some(at(80)));
        assert_eq!(claim(opened.spool(), at(80)).await.message.attempts, 1);
    }

    an_expired_lease_is_claimed_again_and_its_settlement_changes_nothing(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut late = claim(opened.spool(), at(0)).await;
        let mut newer = claim(opened.spool(), at(0) + LEASE).await;
        let before = opened.spool().show(id).await.unwrap();
        let with_notice = Settlement {
            notice: Some(notice("ups@example.org", at(9))),
            ..settlement(at(9), vec![(0, refused())], Next::Done)
        };
        assert_eq!(opened.spool().settle(&mut late, &with_notice).await, Err(SpoolError::LeaseLost(id)));
        assert_eq!(opened.spool().show(id).await.unwrap(), before);
        assert_eq!(ids(&list(opened.spool()).await), [id]);
        opened.spool().settle(&mut newer, &settlement(at(10), vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(list(opened.spool()).await, []);
    }

    a_lease_that_ended_but_is_still_the_newest_settles(opened) {
        accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = claim(opened.spool(), at(0)).await;
        let late = at(1) + LEASE;
        opened.spool().settle(&mut lease, &settlement(late, vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(list(opened.spool()).await, []);
    }

    a_dropped_lease_is_due_again_at_once(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        drop(claim(opened.spool(), at(5)).await);
        let again = claim(opened.spool(), at(5)).await;
        assert_eq!((again.message.id, again.message.attempts), (id, 0));
    }

    a_claim_that_nobody_waits_for_any_more_leaves_no_lease(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        for _ in 0..20 {
            let spool = opened.spool();
            let mut claim = spool.claim("home", at(5));
            // Asked, and then broken off before the answer, as by a reload.
            std::future::poll_fn(|context| Poll::Ready(claim.as_mut().poll(context).is_ready())).await;
        }
        until("the message is due again", || async {
            matches!(opened.spool().claim("home", at(5)).await.unwrap(), Claim::Leased(lease) if lease.message.id == id)
        })
        .await;
    }

    a_dropped_old_lease_does_not_disturb_the_newer_one(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let old = claim(opened.spool(), at(0)).await;
        let newer = claim(opened.spool(), at(0) + LEASE).await;
        drop(old);
        assert_eq!(nothing_until(opened.spool(), at(1) + LEASE).await, Some(at(0) + LEASE + LEASE));
        assert_eq!(newer.message.id, id);
    }

    a_lease_of_a_process_that_died_is_due_when_the_store_is_opened(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = claim(opened.spool(), at(0)).await;
        opened.reopen();
        let again = claim(opened.spool(), at(1)).await;
        assert_eq!(again.message.id, id);
        let late = settlement(at(2), vec![(0, refused())], Next::Done);
        assert_eq!(opened.spool().settle(&mut lease, &late).await, Err(SpoolError::LeaseLost(id)));
    }

    who_listens_gets_the_message_straight_and_leased(opened) {
        let handed = opened.spool().listen("home");
        let elsewhere = opened.spool().listen("work");
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = handed.await.unwrap();
        assert_eq!(lease.message.id, id);
        assert_eq!(lease.message.content.as_deref(), Some(b"Subject: x\r\n\r\nBattery low\r\n".as_slice()));
        assert_eq!(nothing_until(opened.spool(), at(1)).await, Some(at(0) + LEASE));
        assert_eq!(list(opened.spool()).await[0].state, State::Sending);
        opened.spool().settle(&mut lease, &settlement(at(1), vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(list(opened.spool()).await, []);
        drop(elsewhere);
    }

    a_listener_that_went_away_loses_nothing(opened) {
        drop(opened.spool().listen("home"));
        let first = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let lease = claim(opened.spool(), at(0)).await;
        assert_eq!(lease.message.id, first);
        let handed = opened.spool().listen("home");
        let second = accept(opened.spool(), &["b@example.com"], at(1)).await;
        drop(handed);
        assert_eq!(claim(opened.spool(), at(1)).await.message.id, second);
    }

    a_settlement_is_stored_whole_with_its_notice(opened) {
        let id = accept(opened.spool(), &["a@example.com", "b@example.com", "c@example.com"], at(0)).await;
        let mut lease = claim(opened.spool(), at(1)).await;
        let outcomes = vec![(0, delivered()), (1, refused()), (2, deferred())];
        let report = notice("ups@example.org", at(2));
        let mixed =
            Settlement { notice: Some(report.clone()), ..settlement(at(2), outcomes, Next::RetryAt(at(60))) };
        opened.spool().settle(&mut lease, &mixed).await.unwrap();
        opened.reopen();
        let record = opened.spool().show(id).await.unwrap().unwrap();
        let past: Vec<_> = record.past.iter().map(|past| (past.outcome.as_str(), past.reply.as_str())).collect();
        assert_eq!(past, [("delivered", "250 OK"), ("refused", "550 No such user"), ("deferred", "451 Try later")]);
        assert!(record.past.iter().all(|past| (past.attempts, past.delay_ms) == (1, 2000)));
        let queued = record.queued.unwrap();
        assert_eq!((queued.attempts, queued.next_try, queued.to.len()), (1, Some(at(60)), 1));
        assert_eq!(queued.last_reply.as_deref(), Some("451 Try later"));
        let told = claim(opened.spool(), at(2)).await;
        assert_eq!((&told.message.submission, told.message.owed.len()), (&report.0, 1));
        assert_eq!(content(opened.spool(), told.message.id).await, report.1);
        assert_eq!(claim(opened.spool(), at(60)).await.message.owed, [(2, Recipient::from(address("c@example.com")))]);
    }

    content_goes_when_nobody_is_owed_the_message(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = claim(opened.spool(), at(0)).await;
        opened.spool().settle(&mut lease, &settlement(at(1), vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(opened.spool().piece(id, 0).await, Ok(None));
        assert_eq!(opened.spool().show(id).await.unwrap().unwrap().queued, None);
        assert_eq!(nothing_until(opened.spool(), at(9)).await, None);
    }

    an_attempt_that_does_not_count_is_not_counted(opened) {
        accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = claim(opened.spool(), at(0)).await;
        let stale = settlement(at(1), Vec::new(), Next::RetryAt(at(1)));
        opened.spool().settle(&mut lease, &Settlement { counted: false, ..stale }).await.unwrap();
        let again = claim(opened.spool(), at(1)).await;
        assert_eq!((again.message.attempts, again.message.owed.len()), (0, 1));
    }

    orders_change_what_waits(opened) {
        let spool = opened.spool();
        let (a, b) = (accept(spool, &["a@example.com"], at(0)).await, accept(spool, &["b@example.com"], at(1)).await);
        let order = async |which: Which, order, now| spool.order(&which, order, now).await.unwrap();
        assert_eq!(order(only(a), Order::Hold, at(2)).await, [a]);
        assert_eq!(order(only(a), Order::Hold, at(2)).await, [], "it is held already");
        assert_eq!(order(Which::All, Order::Release, at(2)).await, [a]);
        order(only(a), Order::Hold, at(2)).await;
        assert_eq!(list(spool).await[0].state, State::Held);
        let mut lease = claim(spool, at(3)).await;
        assert_eq!(lease.message.id, b, "what is held is not claimed");
        let later = settlement(at(3), vec![(0, deferred())], Next::RetryAt(at(900)));
        spool.settle(&mut lease, &later).await.unwrap();
        assert_eq!(order(only(b), Order::Retry, at(4)).await, [b]);
        assert_eq!(claim(spool, at(4)).await.message.id, b);
        assert_eq!(order(Which::All, Order::Delete, at(5)).await.len(), 2);
        assert_eq!(list(spool).await, []);
        assert_eq!(content(spool, a).await, b"");
        let record = spool.show(a).await.unwrap().unwrap();
        assert_eq!(record.past[0].outcome, "deleted");
        assert_eq!(order(Which::All, Order::Retry, at(6)).await, [], "what is over stays over");
        assert_eq!(order(only(MessageId::from_number(7)), Order::Delete, at(6)).await, []);
        assert_eq!(nothing_until(spool, at(99)).await, None);
    }

    what_is_being_delivered_can_be_held_but_neither_retried_nor_deleted(opened) {
        let spool = opened.spool();
        let id = accept(spool, &["a@example.com"], at(0)).await;
        let mut lease = claim(spool, at(0)).await;
        for order in [Order::Retry, Order::Delete] {
            assert_eq!(spool.order(&Which::All, order, at(1)).await.unwrap(), [], "{order:?}");
        }
        assert_eq!(spool.order(&only(id), Order::Hold, at(1)).await.unwrap(), [id]);
        spool.settle(&mut lease, &settlement(at(2), vec![(0, deferred())], Next::RetryAt(at(3)))).await.unwrap();
        assert_eq!(nothing_until(spool, at(9)).await, None, "the order holds after the attempt");
        assert_eq!(list(spool).await[0].state, State::Held);
    }

    a_lease_that_has_ended_protects_nothing(opened) {
        let spool = opened.spool();
        let id = accept(spool, &["a@example.com"], at(0)).await;
        let mut late = claim(spool, at(0)).await;
        assert_eq!(spool.order(&Which::All, Order::Delete, at(0) + LEASE).await.unwrap(), [id]);
        let settlement = settlement(at(9), vec![(0, deferred())], Next::RetryAt(at(10)));
        assert_eq!(spool.settle(&mut late, &settlement).await, Err(SpoolError::LeaseLost(id)));
        assert_eq!((list(spool).await, nothing_until(spool, at(99)).await), (vec![], None));
    }

    the_queue_is_listed_oldest_first(opened) {
        let spool = opened.spool();
        let mut accepted = Vec::new();
        for second in [5, 1, 9, 3] {
            accepted.push(accept(spool, &["a@example.com"], at(second)).await);
        }
        accepted.sort();
        assert_eq!(ids(&list(spool).await), accepted);
        let some = Which::Ids(vec![accepted[2], MessageId::from_number(1), accepted[0]]);
        assert_eq!(ids(&spool.list(&some).await.unwrap()), [accepted[0], accepted[2]]);
        assert_eq!(spool.list(&Which::Ids(vec![])).await.unwrap(), []);
    }

    the_history_can_be_filtered(opened) {
        let spool = opened.spool();
        let outcomes = [(0, deferred()), (1, delivered()), (2, refused())];
        for (place, outcome) in outcomes {
            let mut one = submission(&["Anna@example.com"], at(place));
            one.envelope.reverse_path = ReversePath::Mailbox(address(&format!("device{place}@example.org")));
            one.envelope.recipients[0].original = Some(address(&format!("alias{place}@localhost")));
            one.client.helo = format!("Printer{place}");
            spool.accept(one, small()).await.unwrap();
            let mut lease = claim(spool, at(place)).await;
            let next = if outcome.is_final() { Next::Done } else { Next::RetryAt(at(1000)) };
            spool.settle(&mut lease, &settlement(at(10 + place), vec![(0, outcome)], next)).await.unwrap();
        }
        let found = async |filter: Filter| -> Vec<String> {
            history(spool, filter).await.into_iter().map(|past| past.outcome).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(Filter::default()).await, ["refused", "delivered", "deferred"], "newest first");
        assert_eq!(found(Filter { limit: 1, ..Filter::default() }).await, ["refused"]);
        assert_eq!(found(Filter { since: Some(at(11)), ..Filter::default() }).await, ["refused", "delivered"]);
        assert_eq!(found(Filter { only_final: true, ..Filter::default() }).await, ["refused", "delivered"]);
        assert_eq!(found(Filter { to: some("ANNA@"), limit: 2, ..Filter::default() }).await.len(), 2);
        assert_eq!(found(Filter { to: some("alias1"), ..Filter::default() }).await, ["delivered"]);
        assert_eq!(found(Filter { from: some("Device2"), ..Filter::default() }).await, ["refused"]);
        assert_eq!(found(Filter { client: some("printer0"), ..Filter::default() }).await, ["deferred"]);
        assert_eq!(found(Filter { client: some("192.0.2.7"), ..Filter::default() }).await.len(), 3);
        assert_eq!(found(Filter { to: some("nobody"), ..Filter::default() }).await, Vec::<String>::new());
        let all = spool.history(&Filter { limit: 9, ..Filter::default() }).await.unwrap();
        assert_eq!(found(Filter { after: Some(all[1].0), ..Filter::default() }).await, ["refused"]);
    }

    prune_forgets_what_is_over_and_keeps_what_waits(opened) {
        let spool = opened.spool();
        let mut messages = Vec::new();
        for (second, outcome) in [(0, delivered()), (1, deferred()), (2, delivered())] {
            messages.push(accept(spool, &["a@example.com"], at(second)).await);
            let mut lease = claim(spool, at(second)).await;
            let next = if outcome.is_final() { Next::Done } else { Next::RetryAt(at(1000)) };
            spool.settle(&mut lease, &settlement(at(second), vec![(0, outcome)], next)).await.unwrap();
        }
        assert_eq!(spool.prune(at(2)).await, Ok(1));
        assert_eq!(spool.show(messages[0]).await, Ok(None));
        let kept: Vec<_> = history(spool, Filter::default()).await.iter().map(|past| past.id).collect();
        assert_eq!(kept, [messages[2], messages[1]]);
        assert_eq!(claim(spool, at(1000)).await.message.id, messages[1]);
        assert_eq!(spool.prune(at(2)).await, Ok(0));
    }

    mail_grows_older_only_while_it_waits(opened) {
        let spool = opened.spool();
        let minute = Duration::from_mins(1);
        spool.grow_older("home", minute).await.unwrap();
        accept(spool, &["a@example.com"], at(0)).await;
        spool.grow_older("home", minute).await.unwrap();
        spool.grow_older("work", minute).await.unwrap();
        accept(spool, &["b@example.com"], at(1)).await;
        spool.grow_older("home", minute / 2).await.unwrap();
        let (first, second) = (claim(spool, at(1)).await, claim(spool, at(1)).await);
        assert_eq!((first.message.patience_ms, second.message.patience_ms), (90_000, 30_000));
        for mut lease in [first, second] {
            spool.settle(&mut lease, &settlement(at(2), vec![(0, delivered())], Next::Done)).await.unwrap();
        }
        let held = accept(spool, &["c@example.com"], at(3)).await;
        spool.order(&only(held), Order::Hold, at(3)).await.unwrap();
        spool.grow_older("home", minute).await.unwrap();
        spool.order(&only(held), Order::Release, at(3)).await.unwrap();
        assert_eq!(claim(spool, at(3)).await.message.patience_ms, 0, "nobody was trying while all was held");
    }

    mail_of_accounts_that_are_gone_goes_to_the_heir_without_having_aged(opened) {
        let spool = opened.spool();
        let minute = Duration::from_mins(1);
        let mut orphan = submission(&["a@example.com"], at(0));
        orphan.account = "old".to_owned();
        let id = spool.accept(orphan, small()).await.unwrap().id();
        let own = accept(spool, &["b@example.com"], at(1)).await;
        spool.grow_older("old", minute).await.unwrap();
        spool.grow_older("home", minute * 2).await.unwrap();
        assert_eq!(spool.adopt(&["home".to_owned()], "home").await, Ok(1));
        assert_eq!(spool.adopt(&["home".to_owned()], "home").await, Ok(0));
        let (first, second) = (claim(spool, at(1)).await, claim(spool, at(1)).await);
        assert_eq!((first.message.id, first.message.patience_ms), (id, 0));
        assert_eq!((second.message.id, second.message.patience_ms), (own, 120_000));
    }

    orders_of_another_process_are_seen(opened) {
        let beside = opened.beside();
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        assert_eq!(opened.spool().retry_asked("home").await, Ok(None));
        beside.order(&only(id), Order::Hold, at(1)).await.unwrap();
        assert_eq!(nothing_until(opened.spool(), at(2)).await, None);
        beside.order(&only(id), Order::Release, at(2)).await.unwrap();
        beside.order(&Which::All, Order::Retry, at(3)).await.unwrap();
        assert_eq!(opened.spool().retry_asked("home").await, Ok(Some(at(3))));
        assert_eq!(opened.spool().retry_asked("work").await, Ok(None));
        let lease = claim(opened.spool(), at(3)).await;
        assert_eq!(beside.order(&only(id), Order::Delete, at(4)).await, Ok(vec![]));
        drop(lease);
        until("the lease is given back", async || list(beside.as_ref()).await[0].state == State::Waiting).await;
        assert_eq!(beside.order(&only(id), Order::Delete, at(5)).await, Ok(vec![id]));
        assert_eq!(nothing_until(opened.spool(), at(9)).await, None);
    }

    the_backlog_is_counted_by_account(opened) {
        let spool = opened.spool();
        let day = 24 * 3600;
        for (second, outcome) in [(0, delivered()), (day, delivered()), (day + 1, refused()), (day + 2, deferred())] {
            accept(spool, &["a@example.com"], at(second)).await;
            let mut lease = claim(spool, at(second)).await;
            let next = if outcome.is_final() { Next::Done } else { Next::RetryAt(at(9 * day)) };
            spool.settle(&mut lease, &settlement(at(second), vec![(0, outcome)], next)).await.unwrap();
        }
        let held = accept(spool, &["b@example.com"], at(day + 3)).await;
        spool.order(&only(held), Order::Hold, at(day + 3)).await.unwrap();
        let mut other = submission(&["c@example.com"], at(5));
        other.account = "work".to_owned();
        spool.accept(other, small()).await.unwrap();
        let home = Backlog { waiting: 1, held: 1, oldest: Some(at(day + 2)), sent_24h: 1, ..Backlog::empty("home") };
        let work = Backlog { waiting: 1, oldest: Some(at(5)), ..Backlog::empty("work") };
        assert_eq!(spool.backlog(at(day + 10)).await.unwrap(), [home, work]);
    }

    what_is_known_of_an_account_is_kept_until_it_is_over(opened) {
        accept(opened.spool(), &["a@example.com"], at(0)).await;
        assert_eq!(opened.spool().noted("home").await.unwrap(), Noted::default());
        let trouble = TroubleNote {
            state: "paused".to_owned(),
            reason: "535 5.7.8".to_owned(),
            cure: "a new app password".to_owned(),
            since: at(4),
        };
        let believed_limit = Some(BelievedLimit { recipients: 321, since: at(3) });
        let noted = Noted { trouble: Some(trouble.clone()), believed_limit };
        opened.spool().grow_older("home", Duration::from_secs(5)).await.unwrap();
        opened.spool().note_account("home", &noted).await.unwrap();
        opened.reopen();
        assert_eq!(opened.spool().noted("home").await.unwrap(), noted);
        assert_eq!(opened.beside().noted("work").await.unwrap(), Noted::default(), "each account has its own");
        assert_eq!(opened.spool().backlog(at(9)).await.unwrap()[0].trouble, Some(trouble));
        let fine = Noted { trouble: None, ..noted };
        opened.spool().note_account("home", &fine).await.unwrap();
        assert_eq!(opened.spool().noted("home").await.unwrap(), fine);
        assert_eq!(opened.spool().backlog(at(9)).await.unwrap()[0].trouble, None);
        opened.spool().note_account("home", &Noted::default()).await.unwrap();
        assert_eq!(opened.spool().noted("home").await.unwrap(), Noted::default());
        assert_eq!(claim(opened.spool(), at(9)).await.message.patience_ms, 5000, "the clock is not touched by it");
    }
}
