//! The state of one account: whether its mail may go out now. Pure; the deliveries of the account share one.
//!
//! While an account is in trouble, one delivery at a time probes it, with growing pauses; the others wait, and the
//! clock by which mail expires stands still. So nothing about an account ever bounces a message.

use std::time::Duration;

use crate::mail::Timestamp;
use crate::upstream::{Limit, Trouble, TroubleKind};

/// A login that was refused is not tried again before.
const LEAST_OF_PAUSED: Duration = Duration::from_mins(15);

/// How things stand with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    Working,
    Troubled {
        trouble: Trouble,
        /// When it was last tried.
        tried: Timestamp,
        /// Probes that failed.
        probes: u32,
        next_probe: Timestamp,
        /// A delivery is finding out.
        probing: bool,
    },
}

/// What a delivery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Go on.
    Go,
    /// Not before this time; somebody may find out earlier that all is well again.
    WaitUntil(Timestamp),
}

impl Account {
    /// Whether mail may go out as it comes.
    #[must_use]
    pub fn is_working(&self) -> bool {
        *self == Account::Working
    }

    /// Asks for leave to try a message; `asked` is when an operator last ordered a retry, which is as good as the
    /// end of a pause. Who gets leave while the account is in trouble is the one that probes, and must report with
    /// [`Account::tried`] or [`Account::not_tried`].
    pub fn ask_leave(&mut self, now: Timestamp, asked: Option<Timestamp>) -> Leave {
        let Account::Troubled { tried, next_probe, probing, .. } = self else {
            return Leave::Go;
        };
        let due = *next_probe <= now || asked.is_some_and(|asked| asked > *tried);
        if due && !*probing {
            *probing = true;
            return Leave::Go;
        }
        // While another one probes, the time lies in the past and says nothing.
        Leave::WaitUntil((*next_probe).max(now + Duration::from_secs(1)))
    }

    /// There was nothing to try after all.
    pub fn not_tried(&mut self) {
        if let Account::Troubled { probing, .. } = self {
            *probing = false;
        }
    }

    /// An attempt was made. Returns whether the state has become another one, worth a line in the log.
    pub fn tried(&mut self, now: Timestamp, trouble: Option<&Trouble>, pauses: &Pauses) -> bool {
        let before = std::mem::replace(self, Account::Working);
        let Some(trouble) = trouble else {
            return before != Account::Working;
        };
        let (probes, same) = match before {
            Account::Working => (0, false),
            // A delivery that was under way when the trouble began is no probe.
            Account::Troubled { trouble: known, probes, probing, .. } => {
                (probes + u32::from(probing), known.is_same_as(trouble))
            }
        };
        let next_probe = trouble.until.unwrap_or_else(|| now + pauses.pause(trouble.kind, probes));
        *self = Account::Troubled { trouble: trouble.clone(), tried: now, probes, next_probe, probing: false };
        !same
    }
}

/// How long to leave an account alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the first failure to get through; later pauses double.
    pub first: Duration,
    pub longest: Duration,
}

impl Pauses {
    /// What a person has to mend is probed less eagerly than a line that is down: Gmail counts logins
    /// (gmail.md, section 1.4), and somebody who mends it tells us with a reload or `queue retry`. Where Gmail is
    /// known to want more time, no setting makes it less (gmail.md, section 5).
    fn pause(&self, kind: TroubleKind, probes: u32) -> Duration {
        let doubled = |first: Duration| first.saturating_mul(1 << probes.min(16));
        let (first, least) = match kind {
            TroubleKind::Unreachable | TroubleKind::Slowed => (self.first, Duration::ZERO),
            TroubleKind::Paused => (self.first.saturating_mul(4), LEAST_OF_PAUSED),
            TroubleKind::OverLimit(Limit::AtLeast(least)) => (self.first.saturating_mul(4), least),
            TroubleKind::OverLimit(Limit::Day) | TroubleKind::Misconfigured => {
                (self.first.saturating_mul(4), Duration::ZERO)
            }
        };
        let most_of_least = self.longest.max(least.saturating_mul(4));
        doubled(first).min(self.longest).max(doubled(least).min(most_of_least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses { first: Duration::from_secs(30), longest: Duration::from_hours(1) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn trouble(kind: TroubleKind, topic: &'static str) -> Trouble {
        Trouble { kind, topic, reason: topic.to_owned(), cure: String::new(), until: None }
    }

    fn away() -> Trouble {
        trouble(TroubleKind::Unreachable, "away")
    }

    /// An account whose first attempt, at time 0, met this trouble.
    fn troubled(trouble: &Trouble) -> Account {
        let mut account = Account::Working;
        assert!(account.tried(at(0), Some(trouble), &PAUSES));
        account
    }

    #[test]
    fn a_working_account_gives_leave_to_everybody_and_stays_silent() {
        let mut account = Account::Working;
        assert_eq!((account.ask_leave(at(0), None), account.ask_leave(at(0), None)), (Leave::Go, Leave::Go));
        assert!(!account.tried(at(1), None, &PAUSES));
        assert!(account.is_working());
    }

    #[test]
    fn one_delivery_at_a_time_probes_and_no_earlier_than_the_pause_says() {
        let mut account = troubled(&away());
        assert!(!account.is_working());
        assert_eq!(account.ask_leave(at(29), None), Leave::WaitUntil(at(30)));
        assert_eq!(account.ask_leave(at(30), None), Leave::Go);
        assert_eq!(account.ask_leave(at(30), None), Leave::WaitUntil(at(31)), "somebody is finding out");
        account.not_tried();
        assert_eq!(account.ask_leave(at(30), None), Leave::Go, "there was nothing to try");
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut account = troubled(&away());
        let mut now = at(0);
        for pause in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            let next = now + Duration::from_secs(pause);
            assert_eq!(account.ask_leave(next - Duration::from_secs(1), None), Leave::WaitUntil(next), "{pause}");
            assert_eq!(account.ask_leave(next, None), Leave::Go);
            assert!(!account.tried(next, Some(&away()), &PAUSES), "the same trouble is told once");
            now = next;
        }
    }

    #[test]
    fn what_a_person_has_to_mend_is_probed_less_eagerly() {
        for kind in [TroubleKind::Misconfigured, TroubleKind::OverLimit(Limit::Day)] {
            let mut account = troubled(&trouble(kind, "as Gmail says"));
            assert_eq!(account.ask_leave(at(1), None), Leave::WaitUntil(at(120)), "{kind:?}");
        }
    }

    #[test]
    fn deliveries_that_were_under_way_when_the_trouble_began_are_no_probes() {
        let mut account = troubled(&away());
        for _ in 0..5 {
            assert!(!account.tried(at(1), Some(&away()), &PAUSES));
        }
        assert_eq!(account.ask_leave(at(2), None), Leave::WaitUntil(at(31)));
    }

    #[test]
    fn an_order_of_the_operator_ends_the_pause_once() {
        let mut account = troubled(&away());
        assert_eq!(account.ask_leave(at(5), Some(at(0))), Leave::WaitUntil(at(30)), "it is older than the attempt");
        assert_eq!(account.ask_leave(at(5), Some(at(4))), Leave::Go);
        account.tried(at(6), Some(&away()), &PAUSES);
        assert_eq!(account.ask_leave(at(7), Some(at(4))), Leave::WaitUntil(at(66)));
    }

    #[test]
    fn a_success_ends_the_trouble_and_another_trouble_is_told_anew() {
        let mut account = troubled(&away());
        assert!(account.tried(at(1), Some(&trouble(TroubleKind::Paused, "535")), &PAUSES));
        assert!(account.tried(at(2), Some(&trouble(TroubleKind::Paused, "534")), &PAUSES));
        assert!(account.tried(at(3), None, &PAUSES));
        assert!(account.is_working());
        assert_eq!(troubled(&away()), {
            account.tried(at(0), Some(&away()), &PAUSES);
            account
        });
    }
}
