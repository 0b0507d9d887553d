//! When to try again, and when to give up. Pure: the same attempt always leads to the same time.

use std::time::Duration;

use crate::mail::{MessageId, Outcome, Timestamp};
use crate::spool::Next;

/// How patient the relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the second attempt. Each further wait is twice as long as the one before.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// How long mail is tried, counted while its account works.
    pub give_up_after: Duration,
    pub on_uncertain: OnUncertain,
}

/// What follows where the final dot went out and the answer never came: Gmail may have the message or not
/// (RFC 1047), and each of these is wrong in one of the two cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// It is tried again as any other: better twice than not at all.
    Retry,
    /// It waits for an operator: better not at all than twice.
    Hold,
}

/// Part of a wait that is left to chance, so that a restart does not send everything in the same second.
const JITTER_PERCENT: u32 = 20;

impl Patience {
    /// The wait after `attempts` attempts, 1 or more. The chance in it comes from the message's id and is the same
    /// each time it is asked for.
    #[must_use]
    pub fn wait(&self, attempts: u32, id: MessageId) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let chance = scatter(id, attempts) % (JITTER_PERCENT + 1);
        // Shortened, never lengthened: `longest` is a promise.
        whole.saturating_sub(whole / 100 * chance)
    }

    /// What follows an attempt: the outcomes, with those given up turned into [`Outcome::Expired`], and the time of
    /// the next attempt, unless nobody is owed anything any more. `waited` is how long the message has been waiting
    /// on the account's clock.
    #[must_use]
    pub fn after(
        &self,
        now: Timestamp,
        id: MessageId,
        attempts: u32,
        waited: Duration,
        outcomes: Vec<(u32, Outcome)>,
    ) -> (Vec<(u32, Outcome)>, Next) {
        let over = waited >= self.give_up_after;
        let outcomes: Vec<_> = outcomes
            .into_iter()
            .map(|(place, outcome)| (place, if over { outcome.expire() } else { outcome }))
            .collect();
        if outcomes.iter().all(|(_, outcome)| outcome.is_final()) {
            return (outcomes, Next::Done);
        }
        if self.on_uncertain == OnUncertain::Hold && outcomes.iter().any(|(_, outcome)| outcome.is_uncertain()) {
            return (outcomes, Next::Hold);
        }
        // What would be tried after the end of patience is tried at its end once more.
        let left = self.give_up_after.saturating_sub(waited).max(Duration::from_secs(1));
        (outcomes, Next::RetryAt(now + self.wait(attempts, id).min(left)))
    }
}

impl Outcome {
    fn expire(self) -> Outcome {
        match self {
            Outcome::Deferred(why) | Outcome::Uncertain(why) => Outcome::Expired(why),
            settled => settled,
        }
    }
}

/// Spreads neighbouring ids evenly (the finaliser of `SplitMix64`).
fn scatter(id: MessageId, attempts: u32) -> u32 {
    let mut z = id.number().unsigned_abs().wrapping_add(u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Reply, Why};

    const PATIENCE: Patience = Patience {
        first: Duration::from_secs(30),
        longest: Duration::from_hours(1),
        give_up_after: Duration::from_hours(120),
        on_uncertain: OnUncertain::Retry,
    };

    fn deferred() -> Outcome {
        Outcome::Deferred(Why::NoAnswer("away".to_owned()))
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let id = MessageId::from_number(77);
        for (attempts, whole) in [(1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (9, 3600), (1000, 3600)] {
            let wait = PATIENCE.wait(attempts, id).as_secs_f64();
            assert!((f64::from(whole) * 0.8..=f64::from(whole)).contains(&wait), "{attempts}: {wait}");
            assert_eq!(PATIENCE.wait(attempts, id), PATIENCE.wait(attempts, id));
        }
    }

    #[test]
    fn neighbours_do_not_come_back_together() {
        let mut waits: Vec<_> = (0..100).map(|n| PATIENCE.wait(8, MessageId::from_number(n))).collect();
        waits.sort();
        waits.dedup();
        assert!(waits.len() >= 15, "{} different waits", waits.len());
    }

    #[test]
    fn what_is_uncertain_is_held_where_the_settings_say_so() {
        let (now, id) = (Timestamp::UNIX_EPOCH, MessageId::from_number(1));
        let outcomes = vec![(0, deferred()), (1, Outcome::Uncertain(Why::NoAnswer("silence".to_owned())))];
        let after = |on_uncertain, outcomes| {
            Patience { on_uncertain, ..PATIENCE }.after(now, id, 1, Duration::ZERO, outcomes).1
        };
        assert_eq!(after(OnUncertain::Hold, outcomes.clone()), Next::Hold);
        assert!(matches!(after(OnUncertain::Retry, outcomes), Next::RetryAt(_)));
        assert!(matches!(after(OnUncertain::Hold, vec![(0, deferred())]), Next::RetryAt(_)));
    }

    #[test]
    fn mail_expires_when_its_patience_is_over_and_not_before() {
        let now = Timestamp::UNIX_EPOCH;
        let id = MessageId::from_number(1);
        let delivered = Outcome::Delivered(Reply::plain(250, "OK"));
        let outcomes = vec![(0, deferred()), (1, delivered.clone())];
        let early = PATIENCE.after(now, id, 9, Duration::from_secs(432_000 - 10), outcomes.clone());
        assert_eq!(early, (outcomes.clone(), Next::RetryAt(now + Duration::from_secs(10))));
        let (late, next) = PATIENCE.after(now, id, 10, PATIENCE.give_up_after, outcomes);
        assert_eq!(next, Next::Done);
        assert_eq!(late, [(0, Outcome::Expired(Why::NoAnswer("away".to_owned()))), (1, delivered)]);
    }
}
