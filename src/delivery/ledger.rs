//! What an account has sent in the last 24 hours, against what Gmail lets it send (gmail.md, section 4). Pure.
//!
//! Gmail's window is rolling, so the ledger keeps a count for each minute of a day. A place is taken before a
//! recipient is named to Gmail and given back if nothing came of it, so that several deliveries at once do not go over
//! the limit together.

use std::collections::VecDeque;
use std::time::Duration;

use crate::mail::Timestamp;

/// The window.
pub const DAY: Duration = Duration::from_hours(24);
const MINUTE_MS: i64 = 60_000;
const MINUTES: i64 = 24 * 60;

/// The ledger of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Recipients in any 24 hours.
    limit: u32,
    /// Recipients sent, by the minute, oldest first.
    sent: VecDeque<(i64, u32)>,
    /// Places taken of which nothing is known yet.
    taken: u32,
}

impl Ledger {
    /// The ledger as the history has it: times and counts, oldest first.
    #[must_use]
    pub fn new(limit: u32, history: &[(Timestamp, u32)]) -> Ledger {
        let sent = history.iter().map(|(at, count)| (minute(*at), *count)).collect();
        Ledger { limit, sent, taken: 0 }
    }

    /// Takes places for up to `wanted` recipients; returns how many there were.
    pub fn take(&mut self, now: Timestamp, wanted: u32) -> u32 {
        let places = self.left(now).min(wanted);
        self.taken += places;
        places
    }

    /// Gives back places that were taken, whatever became of them.
    pub fn give_back(&mut self, places: u32) {
        self.taken = self.taken.saturating_sub(places);
    }

    /// Enters recipients who were sent to.
    pub fn enter(&mut self, now: Timestamp, sent: u32) {
        match self.sent.back_mut() {
            // A clock that was set back must not put the order wrong.
            Some((last, count)) if *last >= minute(now) => *count += sent,
            _ if sent > 0 => self.sent.push_back((minute(now), sent)),
            _ => {}
        }
    }

    /// How many more recipients may be sent to.
    pub fn left(&mut self, now: Timestamp) -> u32 {
        while self.sent.front().is_some_and(|(sent_at, _)| *sent_at + MINUTES < minute(now)) {
            self.sent.pop_front();
        }
        let sent: u32 = self.sent.iter().map(|(_, count)| *count).sum();
        self.limit.saturating_sub(sent).saturating_sub(self.taken)
    }

    /// When the oldest recipient that still counts no longer does; `None` where none does.
    #[must_use]
    pub fn next_free(&self) -> Option<Timestamp> {
        let (oldest, _) = self.sent.front()?;
        Timestamp::from_millisecond((oldest + MINUTES + 1) * MINUTE_MS).ok()
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

    #[test]
    fn places_free_a_day_after_they_were_used() {
        let mut ledger = Ledger::new(10, &[(at(0), 3), (at(5), 4)]);
        assert_eq!(ledger.take(at(10), 5), 3);
        assert_eq!(ledger.left(at(10)), 0);
        ledger.give_back(3);
        ledger.enter(at(10), 3);
        assert_eq!(ledger.next_free(), Some(at(MINUTES + 1)));
        assert_eq!(ledger.left(at(MINUTES)), 0);
        assert_eq!(ledger.left(at(MINUTES + 1)), 3);
        assert_eq!(ledger.left(at(MINUTES + 6)), 7);
        assert_eq!(ledger.left(at(MINUTES + 11)), 10);
        assert_eq!(ledger.next_free(), None);
    }

    #[test]
    fn places_that_came_to_nothing_are_free_at_once() {
        let mut ledger = Ledger::new(2, &[]);
        assert_eq!(ledger.take(at(0), 1), 1);
        assert_eq!(ledger.take(at(0), 5), 1, "another delivery gets only what is left");
        assert_eq!(ledger.take(at(0), 1), 0);
        ledger.give_back(1);
        assert_eq!(ledger.left(at(0)), 1);
    }

    #[test]
    fn a_clock_set_back_frees_nothing_early() {
        let mut ledger = Ledger::new(5, &[(at(1000), 2)]);
        ledger.enter(at(10), 3);
        assert_eq!(ledger.left(at(10)), 0);
        assert_eq!(ledger.left(at(1000 + MINUTES)), 0);
        assert_eq!(ledger.left(at(1001 + MINUTES)), 5);
    }
}
