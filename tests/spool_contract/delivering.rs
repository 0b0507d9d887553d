//! Mail comes in, is leased, and is settled.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use smarthost::mail::{Recipient, ReversePath};
use smarthost::spool::{AcceptError, Claim, Content, Next, Order, Settlement, Spool, SpoolError, State, Which};

use crate::sample::*;
use crate::{Opened, contract, ids, only, stores};

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
        submission.envelope.recipients[1].originals = vec![address("root@localhost"), address("ups@localhost")];
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
        odd.client.login = None;
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
        assert_eq!(nothing_until(opened.spool(), at(3)).await, None, "the others are leased");
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

    no_clock_ends_a_lease(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = claim(opened.spool(), at(0)).await;
        let in_ten_years = at(10 * 365 * 24 * 3600);
        assert_eq!(nothing_until(opened.spool(), in_ten_years).await, None);
        assert_eq!(opened.spool().order(&Which::All, Order::Retry, in_ten_years).await, Ok(vec![]));
        assert_eq!(opened.beside().order(&only(id), Order::Delete, in_ten_years).await, Ok(vec![]));
        let settlement = settlement(in_ten_years, vec![(0, delivered())], Next::Done);
        opened.spool().settle(&mut lease, &settlement).await.unwrap();
        assert_eq!(list(opened.spool()).await, []);
    }

    a_lease_of_a_process_that_died_changes_nothing(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut late = claim(opened.spool(), at(0)).await;
        opened.reopen();
        let mut newer = claim(opened.spool(), at(0)).await;
        let before = opened.spool().show(id).await.unwrap();
        let with_notice = Settlement {
            notice: Some(notice("ups@example.org", at(9))),
            ..settlement(at(9), vec![(0, refused())], Next::Done)
        };
        assert_eq!(opened.spool().mark_sending(&late, true).await, Err(SpoolError::LeaseLost(id)));
        assert_eq!(opened.spool().settle(&mut late, &with_notice).await, Err(SpoolError::LeaseLost(id)));
        assert_eq!(opened.spool().show(id).await.unwrap(), before);
        assert_eq!(ids(&list(opened.spool()).await), [id]);
        opened.spool().settle(&mut newer, &settlement(at(10), vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(list(opened.spool()).await, []);
    }

    who_was_being_sent_to_when_the_process_died_is_uncertain(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let lease = claim(opened.spool(), at(0)).await;
        assert!(!lease.message.uncertain);
        opened.spool().mark_sending(&lease, false).await.unwrap();
        opened.reopen();
        let mut again = claim(opened.spool(), at(0)).await;
        assert!(again.message.uncertain);
        opened.spool().settle(&mut again, &settlement(at(1), vec![(0, uncertain())], Next::Hold)).await.unwrap();
        assert_eq!(list(opened.spool()).await[0].state, State::Held);
        assert_eq!(opened.spool().backlog(at(2)).await.unwrap()[0].uncertain_24h, 1);
        assert_eq!(nothing_until(opened.spool(), at(99)).await, None);
        opened.spool().order(&only(id), Order::Release, at(100)).await.unwrap();
        assert!(!claim(opened.spool(), at(100)).await.message.uncertain, "it was told");
    }

    a_lease_that_is_given_back_while_it_was_sent_is_uncertain(opened) {
        accept(opened.spool(), &["a@example.com"], at(0)).await;
        let lease = claim(opened.spool(), at(0)).await;
        opened.spool().mark_sending(&lease, true).await.unwrap();
        drop(lease);
        assert!(claim(opened.spool(), at(0)).await.message.uncertain);
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
        opened.reopen();
        let newer = claim(opened.spool(), at(0)).await;
        drop(old);
        assert_eq!(nothing_until(opened.spool(), at(1)).await, None);
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
        let handed = listen(opened.spool(), "home").await;
        let elsewhere = listen(opened.spool(), "work").await;
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let mut lease = handed.await.unwrap();
        assert_eq!(lease.message.id, id);
        assert_eq!(lease.message.content.as_deref(), Some(b"Subject: x\r\n\r\nBattery low\r\n".as_slice()));
        assert_eq!(nothing_until(opened.spool(), at(1)).await, None);
        assert_eq!(list(opened.spool()).await[0].state, State::Sending);
        opened.spool().settle(&mut lease, &settlement(at(1), vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(list(opened.spool()).await, []);
        drop(elsewhere);
    }

    a_listener_that_went_away_loses_nothing(opened) {
        drop(listen(opened.spool(), "home").await);
        let first = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let lease = claim(opened.spool(), at(0)).await;
        assert_eq!(lease.message.id, first);
        let handed = listen(opened.spool(), "home").await;
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
}
