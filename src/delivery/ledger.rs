//! What an account has sent in the last 24 hours, against what Gmail lets it send (gmail.md, section 4). Pure.
//!
//! Gmail's window is rolling, so the ledger keeps a count for each minute of a day. A place is taken before a
//! recipient is named to Gmail and given back if nothing came of it, so that several deliveries at once do not go over
//! the limit together.
//!
//! Gmail may allow less than the configuration says, and says so when it is too late. What was counted then is believed
//! to be the limit, until Gmail takes more, or for a day.

use std::collections::VecDeque;
use std::time::Duration;

use crate::mail::Timestamp;
use crate::spool::BelievedLimit;
use crate::upstream::{Limit, Trouble, TroubleKind};

/// The window.
pub const DAY: Duration = Duration::from_hours(24);
const MINUTE_MS: i64 = 60_000;
const MINUTES: i64 = 24 * 60;

/// The ledger of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Recipients in any 24 hours, as configured.
    limit: u32,
    /// The same as Gmail has taught it, where that is less.
    believed: Option<BelievedLimit>,
    /// Recipients sent, by the minute, oldest first.
    sent: VecDeque<(i64, u32)>,
    /// Places taken of which nothing is known yet.
    taken: u32,
}

impl Ledger {
    /// The ledger as the history has it: times and counts, oldest first.
    #[must_use]
    pub fn new(limit: u32, history: &[(Timestamp, u32)], believed: Option<BelievedLimit>) -> Ledger {
        let sent = history.iter().map(|(at, count)| (minute(*at), *count)).collect();
        Ledger { limit, believed, sent, taken: 0 }
    }

    /// Takes places for up to `wanted` recipients; returns how many there were. A probe gets one beyond what is
    /// believed, since nothing else can prove that wrong; nobody gets one beyond what is configured.
    pub fn take(&mut self, now: Timestamp, wanted: u32, probing: bool) -> u32 {
        let left = match self.left(now) {
            0 if probing => self.left_of(self.limit).min(1),
            left => left,
        };
        let places = left.min(wanted);
        self.taken += places;
        places
    }

    /// Gives back places that were taken, whatever became of them.
    pub fn give_back(&mut self, places: u32) {
        self.taken = self.taken.saturating_sub(places);
    }

    /// Enters recipients whom Gmail took. Beyond what was believed, that proves it wrong.
    pub fn enter(&mut self, now: Timestamp, sent: u32) {
        if sent == 0 {
            return;
        }
        let before = self.sent(now);
        self.believed = self.believed.filter(|believed| before < believed.recipients);
        match self.sent.back_mut() {
            Some((last, count)) if *last == minute(now) => *count += sent,
            _ => self.sent.push_back((minute(now), sent)),
        }
    }

    /// Gmail says that the limit of 24 hours is reached. At least one is always believed to be allowed.
    pub fn learn_limit(&mut self, now: Timestamp) {
        let recipients = self.sent(now).max(1);
        self.believed = (recipients < self.limit).then_some(BelievedLimit { recipients, since: now });
    }

    /// What Gmail has taught, as long as it is believed.
    #[must_use]
    pub fn believed_limit(&self) -> Option<BelievedLimit> {
        self.believed
    }

    /// Recipients sent to in the last 24 hours.
    pub fn sent(&mut self, now: Timestamp) -> u32 {
        self.come_to(now);
        self.sent.iter().map(|(_, count)| *count).sum()
    }

    /// How many more recipients may be sent to.
    pub fn left(&mut self, now: Timestamp) -> u32 {
        self.come_to(now);
        self.left_of(self.limit_in_force())
    }

    /// When a place frees that is not free now; `None` where all are free.
    pub fn next_free(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut too_many = self.sent(now).saturating_sub(self.limit_in_force());
        let frees = self.sent.iter().find(|(_, count)| {
            let enough = *count > too_many;
            too_many = too_many.saturating_sub(*count);
            enough
        });
        let (sent_at, _) = frees?;
        let aged = Timestamp::from_millisecond((sent_at + MINUTES + 1) * MINUTE_MS).ok()?;
        // With the belief its limit goes.
        Some(self.believed.map_or(aged, |believed| aged.min(believed.since + DAY)))
    }

    /// What is told where no place is left, before Gmail has to. Beyond what is only believed one message is tried after
    /// `pause`.
    pub fn trouble(&mut self, now: Timestamp, pause: Duration) -> Trouble {
        let frees = self.next_free(now);
        let when =
            frees.map_or_else(String::new, |time| format!(" The next place frees at {}.", time.strftime("%H:%M UTC")));
        let (topic, reason, advice, until) = match self.believed {
            None => (
                "daily_limit",
                format!("the daily limit of {} recipients in 24 hours is reached", self.limit),
                "Where Gmail lets the account send more, raise `daily_limit`.",
                frees,
            ),
            Some(BelievedLimit { recipients, .. }) => (
                "believed_limit",
                format!("after {recipients} recipients in 24 hours Gmail took no more, so that is taken for its limit"),
                "One message is tried now and then, in case Gmail takes more.",
                Some(frees.map_or(now + pause, |time| time.min(now + pause))),
            ),
        };
        let cure = format!("Nothing has to be done: mail waits, and goes as places free.{when} {advice}");
        Trouble { kind: TroubleKind::OverLimit(Limit::Day), topic, reason, cure, until }
    }

    fn limit_in_force(&self) -> u32 {
        self.believed.map_or(self.limit, |believed| self.limit.min(believed.recipients))
    }

    fn left_of(&self, limit: u32) -> u32 {
        let sent: u32 = self.sent.iter().map(|(_, count)| *count).sum();
        limit.saturating_sub(sent).saturating_sub(self.taken)
    }

    /// Forgets what is older than a day. What lies ahead was entered by a clock that was ahead, and has been set back
    /// since: it counts as of now, so that it counts for no longer than a day.
    fn come_to(&mut self, now: Timestamp) {
        let this = minute(now);
        while self.sent.front().is_some_and(|(sent_at, _)| *sent_at + MINUTES < this) {
            self.sent.pop_front();
        }
        let mut ahead = 0;
        while let Some((_, count)) = self.sent.pop_back_if(|(sent_at, _)| *sent_at > this) {
            ahead += count;
        }
        if ahead > 0 {
            self.sent.push_back((this, ahead));
        }
        if let Some(believed) = &mut self.believed {
            believed.since = believed.since.min(now);
        }
        self.believed = self.believed.filter(|believed| now < believed.since + DAY);
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millisecond(minutes * MINUTE_MS).unwrap()
    }

    fn ledger(limit: u32, history: &[(Timestamp, u32)]) -> Ledger {
        Ledger::new(limit, history, None)
    }

    #[test]
    fn places_free_a_day_after_they_were_used() {
        let mut ledger = ledger(10, &[(at(0), 3), (at(5), 4)]);
        assert_eq!(ledger.take(at(10), 5, false), 3);
        assert_eq!(ledger.left(at(10)), 0);
        ledger.give_back(3);
        ledger.enter(at(10), 3);
        assert_eq!(ledger.next_free(at(10)), Some(at(MINUTES + 1)));
        assert_eq!(ledger.left(at(MINUTES)), 0);
        assert_eq!((ledger.left(at(MINUTES + 1)), ledger.sent(at(MINUTES + 1))), (3, 7));
        assert_eq!(ledger.left(at(MINUTES + 6)), 7);
        assert_eq!(ledger.left(at(MINUTES + 11)), 10);
        assert_eq!(ledger.next_free(at(MINUTES + 11)), None);
    }

    #[test]
    fn places_that_came_to_nothing_are_free_at_once() {
        let mut ledger = ledger(2, &[]);
        assert_eq!(ledger.take(at(0), 1, false), 1);
        assert_eq!(ledger.take(at(0), 5, false), 1, "another delivery gets only what is left");
        assert_eq!(ledger.take(at(0), 1, true), 0, "nobody goes beyond what is configured");
        ledger.give_back(1);
        assert_eq!(ledger.left(at(0)), 1);
    }

    /// Where the limit was lowered, the first places that free help nobody.
    #[test]
    fn the_next_place_frees_when_enough_have_aged() {
        let history = [(at(0), 3), (at(5), 4), (at(9), 2)];
        for (limit, minutes) in [(20, 0), (9, 0), (7, 0), (6, 5), (3, 5), (2, 9), (1, 9)] {
            assert_eq!(ledger(limit, &history).next_free(at(10)), Some(at(minutes + MINUTES + 1)), "{limit}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_or_is_set_back_counts_for_a_day_and_no_longer() {
        let ten_years = 10 * 365 * MINUTES;
        let mut ledger = ledger(5, &[(at(1000), 2), (at(ten_years), 1)]);
        assert_eq!((ledger.left(at(10)), ledger.sent(at(10))), (2, 3), "they count as sent now");
        ledger.enter(at(10), 2);
        assert_eq!(ledger.left(at(10 + MINUTES)), 0, "nothing frees early");
        assert_eq!(ledger.next_free(at(20)), Some(at(11 + MINUTES)));
        assert_eq!(ledger.left(at(11 + MINUTES)), 5);
    }

    #[test]
    fn what_gmail_refuses_is_believed_to_be_the_limit() {
        let mut ledger = ledger(500, &[(at(0), 100), (at(60), 200)]);
        ledger.learn_limit(at(70));
        assert_eq!(ledger.believed_limit(), Some(BelievedLimit { recipients: 300, since: at(70) }));
        assert_eq!((ledger.left(at(70)), ledger.take(at(70), 5, false)), (0, 0));
        assert_eq!(ledger.next_free(at(70)), Some(at(MINUTES + 1)));
        assert_eq!(ledger.left(at(MINUTES + 1)), 100);

        let mut empty = self::ledger(500, &[]);
        empty.learn_limit(at(0));
        assert_eq!(empty.believed_limit().map(|believed| believed.recipients), Some(1));
        let mut full = self::ledger(300, &[(at(0), 300)]);
        full.learn_limit(at(1));
        assert_eq!(full.believed_limit(), None, "Gmail said nothing new");
    }

    #[test]
    fn what_is_told_names_the_limit_and_when_the_next_place_frees() {
        let mut ledger = ledger(300, &[(at(0), 300)]);
        let told = ledger.trouble(at(10), Duration::from_hours(1));
        assert_eq!(told.until, Some(at(MINUTES + 1)));
        assert!(told.reason.contains("limit of 300") && told.cure.contains("The next place frees at 00:01 UTC."));

        let mut taught = self::ledger(500, &[(at(0), 300)]);
        taught.learn_limit(at(10));
        let told = taught.trouble(at(10), Duration::from_hours(1));
        assert_eq!(told.until, Some(at(70)), "it is only believed");
        assert!(told.reason.contains("after 300 recipients") && told.cure.contains("00:01 UTC"), "{told:?}");
        assert_eq!(taught.trouble(at(MINUTES), Duration::from_hours(1)).until, Some(at(MINUTES + 1)));
    }

    #[test]
    fn a_belief_ends_when_gmail_takes_more_or_after_a_day() {
        let mut ledger = ledger(500, &[(at(0), 300)]);
        ledger.learn_limit(at(10));
        assert_eq!(ledger.take(at(20), 7, true), 1, "a probe goes beyond it");
        ledger.give_back(1);
        ledger.enter(at(20), 1);
        assert_eq!((ledger.believed_limit(), ledger.left(at(20))), (None, 199));

        ledger.learn_limit(at(30));
        assert_eq!((ledger.left(at(29 + MINUTES)), ledger.left(at(30 + MINUTES))), (301, 500));
        // Below it Gmail has proved nothing.
        let mut below = Ledger::new(500, &[(at(0), 2)], Some(BelievedLimit { recipients: 5, since: at(0) }));
        below.enter(at(1), 3);
        assert_eq!(below.left(at(1)), 0);
        below.enter(at(2), 1);
        assert_eq!(below.believed_limit(), None);
        let of_the_future = Some(BelievedLimit { recipients: 5, since: at(10 * 365 * MINUTES) });
        assert_eq!(Ledger::new(500, &[], of_the_future).left(at(0)), 5);
        let mut ledger = Ledger::new(500, &[], of_the_future);
        assert_eq!((ledger.left(at(0)), ledger.left(at(MINUTES))), (5, 500));
    }
}
