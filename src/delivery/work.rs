//! The deliveries of an account at work: waiting for mail, and for leave to send it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::account::Leave;
use super::{Delivery, schedule::Patience};
use crate::event::{self, Event};
use crate::mail::Timestamp;
use crate::spool::{Claim, Lease, Order, Which};
use crate::upstream::Upstream;

/// How long orders of another process, such as `queue retry`, may go unseen.
const POLL: Duration = Duration::from_secs(1);

impl Delivery {
    /// Delivers until `stop` says so; attempts that are under way then come to their end first. Dropping the future
    /// breaks them off, which loses nothing.
    ///
    /// Each delivery holds one of `lines` for as long as it may have a connection. Those of the configuration before
    /// share them, so that a reload never leads to more connections than allowed, and never waits for an attempt that
    /// hangs while another line is free.
    pub async fn run<U>(
        self: Arc<Self>,
        make_upstream: U,
        now: fn() -> Timestamp,
        lines: Arc<Semaphore>,
        stop: watch::Receiver<bool>,
    ) where
        U: Fn() -> Box<dyn Upstream> + Clone + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for _ in 0..self.settings.connections {
            let (delivery, lines, stop) = (Arc::clone(&self), Arc::clone(&lines), stop.clone());
            tasks.spawn(delivery.work_on_a_line(make_upstream.clone(), now, lines, stop));
        }
        tasks.spawn(Arc::clone(&self).age(stop));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                event::log(&Event::Bug { reason: &error.to_string() });
            }
        }
    }

    async fn work_on_a_line<U>(
        self: Arc<Self>,
        make_upstream: U,
        now: fn() -> Timestamp,
        lines: Arc<Semaphore>,
        mut stop: watch::Receiver<bool>,
    ) where
        U: Fn() -> Box<dyn Upstream>,
    {
        let line = tokio::select! {
            line = lines.acquire_owned() => line,
            _ = stop.changed() => return,
        };
        if line.is_ok() {
            self.work(make_upstream, now, stop).await;
        }
    }

    async fn work<U>(self: Arc<Self>, make_upstream: U, now: fn() -> Timestamp, mut stop: watch::Receiver<bool>)
    where
        U: Fn() -> Box<dyn Upstream>,
    {
        let mut upstream = make_upstream();
        let mut known = None;
        while !*stop.borrow() {
            let lease = tokio::select! {
                lease = self.next_lease(known.take(), upstream.as_mut(), now) => lease,
                _ = stop.changed() => break,
            };
            let delivery = Arc::clone(&self);
            // A task of its own, so that a mistake of ours ends this attempt and nothing else.
            let mut attempt = JoinSet::new();
            attempt.spawn(async move {
                let settlement = delivery.try_once(&lease, upstream.as_mut(), now()).await;
                (upstream, lease, settlement)
            });
            upstream = match attempt.join_next().await {
                Some(Ok((upstream, mut lease, settlement))) => {
                    // The next claim shares its commit with this settlement.
                    ((), known) = tokio::join!(self.settle(&mut lease, &settlement), self.claim_at_once(now()));
                    upstream
                }
                Some(Err(error)) => {
                    event::log(&Event::Bug { reason: &error.to_string() });
                    self.not_tried();
                    make_upstream()
                }
                None => make_upstream(),
            };
        }
        upstream.close().await;
    }

    /// What is due, if the account gives leave at once. Everything else is left to those who wait.
    async fn claim_at_once(&self, now: Timestamp) -> Option<Claim> {
        if self.account().ask_leave(now, None) != Leave::Go {
            return None;
        }
        self.spool.claim(&self.settings.account, now).await.inspect_err(|_| self.not_tried()).ok()
    }

    /// Waits for something to deliver, and for leave to do so. `known` is what a claim has found already.
    async fn next_lease(&self, mut known: Option<Claim>, upstream: &mut dyn Upstream, now: fn() -> Timestamp) -> Lease {
        loop {
            match known.take() {
                Some(Claim::Leased(lease)) => return *lease,
                Some(Claim::Nothing { until, handed }) => {
                    if let Some(lease) = self.claim_for_others(now()).await {
                        return lease;
                    }
                    self.not_tried();
                    if let Some(lease) = self.wait_for_mail(until, handed, upstream, now).await {
                        return lease;
                    }
                }
                None => {}
            }
            if let Leave::WaitUntil(time) = self.leave(now()).await {
                upstream.close().await;
                sleep(until(time, now())).await;
                continue;
            }
            match self.spool.claim(&self.settings.account, now()).await {
                Ok(claim) => known = Some(claim),
                Err(error) => {
                    event::log(&Event::SpoolFailed { reason: &error.to_string() });
                    self.not_tried();
                    sleep(POLL).await;
                }
            }
        }
    }

    /// Waits for mail that is handed over, but no longer than until some is due, or orders may go unseen.
    async fn wait_for_mail(
        &self,
        due: Option<Timestamp>,
        handed: oneshot::Receiver<Lease>,
        upstream: &mut dyn Upstream,
        now: fn() -> Timestamp,
    ) -> Option<Lease> {
        self.mend_times(due, now()).await;
        let wait = due.map_or(POLL, |due| until(due, now()));
        let idle_left = upstream.idle_left();
        tokio::select! {
            // Another delivery may have met trouble meanwhile. The lease is then given back by dropping it.
            Ok(lease) = handed => return Some(lease).filter(|_| self.account().ask_leave(now(), None) == Leave::Go),
            () = sleep(wait) => {}
            () = sleep(idle_left.unwrap_or_default()), if idle_left.is_some() => upstream.close().await,
        }
        None
    }

    /// A time further ahead than any that is ever given was given by a clock that has been set back since: what waits
    /// is then due at once.
    pub(super) async fn mend_times(&self, next: Option<Timestamp>, now: Timestamp) {
        let furthest = now + self.settings.patience.longest;
        if next.is_some_and(|next| next > furthest)
            && let Err(error) = self.spool.order(&Which::All, Order::Retry, now).await
        {
            event::log(&Event::SpoolFailed { reason: &error.to_string() });
        }
    }

    /// Whether a message may be claimed now. Who gets leave must make an attempt, or say that there was
    /// [none to make](Delivery::not_tried).
    pub async fn leave(&self, now: Timestamp) -> Leave {
        let (is_fast_again, is_working) = {
            let mut account = self.account();
            (account.ease(now), account.is_working())
        };
        if is_fast_again {
            self.keep_note().await;
            self.log_account(None);
        }
        if is_working {
            return self.account().ask_leave(now, None);
        }
        let asked = self.spool.retry_asked(&self.settings.account).await.unwrap_or_default();
        self.account().ask_leave(now, asked)
    }

    /// There was nothing to try after all, or the attempt ended by a mistake of ours.
    pub fn not_tried(&self) {
        self.account().not_tried();
    }

    /// Lets the account's mail grow older, in steps that are small beside the time it is tried for.
    async fn age(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Patience { give_up_after, .. } = self.settings.patience;
        let pause = (give_up_after / 20).clamp(POLL, Duration::from_mins(1));
        while !*stop.borrow() {
            let began = Instant::now();
            tokio::select! {
                () = sleep(pause) => self.pass_time(began.elapsed()).await,
                _ = stop.changed() => break,
            }
        }
    }
}

/// From `now` until `time`, but no longer than orders may go unseen.
fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default().min(POLL)
}
