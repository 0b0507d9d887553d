//! What operators see and order, and what time makes of it all.

use std::time::Duration;

use bytes::Bytes;
use smarthost::mail::{Client, MessageId, ReversePath, Timestamp};
use smarthost::spool::{
    Backlog, BelievedLimit, Content, Filter, Next, Noted, Order, Restored, Settlement, State, TroubleNote,
    WHOLE_BYTES_MAX, Which,
};

use crate::sample::*;
use crate::{Opened, contract, ids, only, stores};

contract! {
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

    a_lease_of_a_dead_daemon_protects_nothing(opened) {
        let id = accept(opened.spool(), &["a@example.com"], at(0)).await;
        let late = claim(opened.spool(), at(0)).await;
        assert_eq!(list(opened.beside().as_ref()).await[0].state, State::Sending);
        opened.spool = None;
        let beside = opened.beside();
        assert_eq!(list(beside.as_ref()).await[0].state, State::Waiting);
        assert_eq!(beside.order(&only(id), Order::Delete, at(1)).await, Ok(vec![id]));
        assert_eq!(list(beside.as_ref()).await, []);
        drop(late);
    }

    mail_moves_from_one_store_to_another_and_back(opened) {
        let from = opened.spool();
        let id = accept(from, &["a@example.com", "b@example.com"], at(5)).await;
        let mut lease = claim(from, at(5)).await;
        let outcomes = vec![(0, delivered()), (1, deferred())];
        from.settle(&mut lease, &settlement(at(6), outcomes, Next::RetryAt(at(60)))).await.unwrap();
        let queued = list(from).await.remove(0);
        let mut submission = from.show(id).await.unwrap().unwrap().submission;
        submission.envelope.recipients = queued.to.clone();
        let restored = Restored { id, submission, attempts: queued.attempts, held: true };
        assert_eq!(from.restore(restored.clone(), small()).await, Ok(false), "it is owed here");
        assert_eq!(from.order(&only(id), Order::Export, at(7)).await, Ok(vec![id]));
        assert_eq!((list(from).await, nothing_until(from, at(99)).await), (vec![], None));

        let folder = tempfile::tempdir().unwrap();
        let to = (opened.store.open)(folder.path());
        let mut upload = to.upload(at(8));
        to.append(&mut upload, Bytes::from_static(b"Subject: x\r\n\r\n")).await.unwrap();
        to.append(&mut upload, Bytes::from_static(b"Battery low\r\n")).await.unwrap();
        assert_eq!(to.restore(restored.clone(), Content::Uploaded(upload)).await, Ok(true));
        let there = list(to.as_ref()).await.remove(0);
        assert_eq!((there.state, there.attempts, &there.to, there.id), (State::Held, 1, &queued.to, id));
        assert_eq!(content(to.as_ref(), id).await, b"Subject: x\r\n\r\nBattery low\r\n");

        // What was let go here comes back, and its past is still known.
        assert_eq!(from.restore(Restored { held: false, ..restored }, small()).await, Ok(true));
        let back = claim(from, at(99)).await;
        assert_eq!(back.message.owed.len(), 1);
        assert_eq!(back.message.owed[0].1.address.to_string(), "b@example.com");
        let past: Vec<_> = from.show(id).await.unwrap().unwrap().past.into_iter().map(|past| past.outcome).collect();
        assert_eq!(past, ["delivered", "deferred", "exported"]);
    }

    small_content_comes_with_the_claim(opened) {
        let spool = opened.spool();
        accept(spool, &["a@example.com"], at(0)).await;
        let lease = claim(spool, at(0)).await;
        assert_eq!(lease.message.content.as_ref().map(Bytes::len), Some(27));
        let large = Bytes::from(vec![b'x'; usize::try_from(WHOLE_BYTES_MAX).unwrap() + 1]);
        spool.accept(submission(&["a@example.com"], at(1)), Content::Memory(large)).await.unwrap();
        assert_eq!(claim(spool, at(1)).await.message.content, None);
    }

    content_is_kept_for_as_long_as_the_settlement_says(opened) {
        let spool = opened.spool();
        let id = accept(spool, &["a@example.com"], at(0)).await;
        let mut lease = claim(spool, at(0)).await;
        let keep_content_until = Some(at(100));
        let settlement =
            Settlement { keep_content_until, ..settlement(at(1), vec![(0, delivered())], Next::Done) };
        spool.settle(&mut lease, &settlement).await.unwrap();
        let day = Duration::from_hours(24);
        spool.prune(at(99), day).await.unwrap();
        assert_eq!(content(spool, id).await.len(), 27);
        spool.prune(at(101), day).await.unwrap();
        assert_eq!(content(spool, id).await.len(), 0);
        assert!(spool.show(id).await.unwrap().is_some(), "the history is kept for longer");
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
            one.envelope.recipients[0].originals = vec![address(&format!("alias{place}@localhost"))];
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
        assert_eq!(found(Filter { client: some("CELLAR"), ..Filter::default() }).await.len(), 3, "by its login");
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
        let day = Duration::from_hours(24);
        assert_eq!(spool.prune(at(2) + day, day).await, Ok(true));
        assert_eq!(spool.show(messages[0]).await, Ok(None));
        let kept: Vec<_> = history(spool, Filter::default()).await.iter().map(|past| past.id).collect();
        assert_eq!(kept, [messages[2], messages[1]]);
        assert_eq!(claim(spool, at(1000)).await.message.id, messages[1]);
        assert_eq!(spool.prune(at(2) + day, day).await, Ok(false));
    }

    a_message_is_forgotten_with_the_last_of_its_past(opened) {
        let spool = opened.spool();
        let id = accept(spool, &["a@example.com"], at(0)).await;
        for (second, outcome) in [(0, deferred()), (50, delivered())] {
            let mut lease = claim(spool, at(second)).await;
            let next = if outcome.is_final() { Next::Done } else { Next::RetryAt(at(50)) };
            spool.settle(&mut lease, &settlement(at(second), vec![(0, outcome)], next)).await.unwrap();
        }
        let day = Duration::from_hours(24);
        spool.prune(at(10) + day, day).await.unwrap();
        let outcomes: Vec<_> = spool.show(id).await.unwrap().unwrap().past.into_iter().map(|past| past.outcome).collect();
        assert_eq!(outcomes, ["delivered"]);
        spool.prune(at(51) + day, day).await.unwrap();
        assert_eq!(spool.show(id).await, Ok(None));
        // Written by a clock that was ten years ahead, it would stay for ten years.
        let future = at(10 * 365 * 24 * 3600);
        accept(spool, &["a@example.com"], at(60)).await;
        let mut lease = claim(spool, at(60)).await;
        spool.settle(&mut lease, &settlement(future, vec![(0, delivered())], Next::Done)).await.unwrap();
        assert_eq!(spool.prune(at(70), day).await, Ok(true));
        assert_eq!(history(spool, Filter::default()).await, []);
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
        assert_eq!(spool.adopt(&["home".to_owned()], Box::new(|_, _| "home".to_owned())).await, Ok(1));
        assert_eq!(spool.adopt(&["home".to_owned()], Box::new(|_, _| "home".to_owned())).await, Ok(0));
        let (first, second) = (claim(spool, at(1)).await, claim(spool, at(1)).await);
        assert_eq!((first.message.id, first.message.patience_ms), (id, 0));
        assert_eq!((second.message.id, second.message.patience_ms), (own, 120_000));
    }

    mail_of_accounts_that_are_gone_goes_to_the_heir_of_each(opened) {
        let spool = opened.spool();
        for (account, from) in [("old", "a@example.com"), ("gone", "b@example.com"), ("home", "a@example.com")] {
            let mut one = submission(&["to@example.com"], at(0));
            one.account = account.to_owned();
            one.envelope.reverse_path = ReversePath::Mailbox(address(from));
            spool.accept(one, small()).await.unwrap();
        }
        let accounts = ["home".to_owned(), "work".to_owned()];
        let heir = |from: &ReversePath, _: &Client| {
            let name = if from.to_string().starts_with('a') { "work" } else { "home" };
            name.to_owned()
        };
        assert_eq!(spool.adopt(&accounts, Box::new(heir)).await, Ok(2));
        assert_eq!(spool.adopt(&accounts, Box::new(heir)).await, Ok(0));
        let queued = spool.list(&Which::All).await.unwrap();
        let accounts: Vec<&str> = queued.iter().map(|queued| queued.account.as_str()).collect();
        assert_eq!(accounts, ["work", "home", "home"]);
    }

    what_was_sent_counts_for_the_account_that_it_went_through(opened) {
        let spool = opened.spool();
        accept(spool, &["a@example.com", "b@example.com"], at(0)).await;
        let mut lease = claim(spool, at(0)).await;
        let through = Some("spare".to_owned());
        let first = Settlement { through, ..settlement(at(1), vec![(0, delivered())], Next::RetryAt(at(1))) };
        spool.settle(&mut lease, &first).await.unwrap();
        let mut lease = claim(spool, at(1)).await;
        spool.settle(&mut lease, &settlement(at(2), vec![(1, delivered())], Next::Done)).await.unwrap();
        for account in ["home", "spare"] {
            let sent = spool.sent_since(account, at(0)).await.unwrap();
            assert_eq!(sent.iter().map(|(_, count)| count).sum::<u32>(), 1, "{account}");
            let filter = Filter { account: Some(account.to_owned()), limit: 10, ..Filter::default() };
            let past = spool.history(&filter).await.unwrap();
            assert_eq!(past.len(), 1);
            assert_eq!(past[0].1.account, account);
        }

        // It still does when the message has another account by then.
        accept(spool, &["a@example.com", "b@example.com"], at(3)).await;
        let mut lease = claim(spool, at(3)).await;
        spool.settle(&mut lease, &settlement(at(3), vec![(0, delivered())], Next::RetryAt(at(4)))).await.unwrap();
        assert_eq!(spool.adopt(&["work".to_owned()], Box::new(|_, _| "work".to_owned())).await, Ok(1));
        let sent = |history: Vec<(Timestamp, u32)>| history.iter().map(|(_, count)| count).sum::<u32>();
        assert_eq!(sent(spool.sent_since("home", at(0)).await.unwrap()), 2);
        assert_eq!(sent(spool.sent_since("work", at(0)).await.unwrap()), 0);
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
