//! The state of one account: whether its mail may go out now, and how much at once. Pure; the deliveries of the account
//! share one.
//!
//! | state | what it means | how it ends |
//! | --- | --- | --- |
//! | working | mail goes out as it comes | |
//! | slowed | Gmail takes mail, but wants less at once: a pause, then one connection | step by step, while Gmail does not complain |
//! | blocked | nothing gets through: over its limit, paused, misconfigured or unreachable | one delivery at a time probes, with growing pauses |
//!
//! In every state but the first the clock by which mail expires stands still. So nothing about an account ever bounces
//! a message.

use std::time::Duration;

use crate::mail::Timestamp;
use crate::spool::TroubleNote;
use crate::upstream::{Limit, Trouble, TroubleKind};

/// A login that was refused is not tried again before (gmail.md, section 5: "15 min → hours").
const LEAST_OF_PAUSED: Duration = Duration::from_mins(15);
/// A slowed account gets one connection more after so many attempts in a row that Gmail did not complain about.
const UNDISTURBED_FOR_A_STEP: u32 = 5;
/// Or after this time without a complaint.
const CALM_FOR_A_STEP: Duration = Duration::from_mins(10);
/// While others are at work nobody knows for how long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How things stand with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Deliveries at the same time, when all is well.
    connections: usize,
    /// Attempts that were given leave and have not reported yet.
    under_way: usize,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Working,
    Slowed(Slowed),
    Blocked(Blocked),
}

/// Mail goes through, but less of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slowed {
    trouble: Trouble,
    since: Timestamp,
    /// Deliveries at the same time, for now.
    lines: usize,
    /// How often Gmail complained.
    complaints: u32,
    /// When it last did.
    complained: Timestamp,
    /// Nobody goes before.
    next: Timestamp,
    /// Attempts in a row without a complaint, since the last step.
    undisturbed: u32,
    /// From when on there is calm.
    calm_from: Timestamp,
}

/// Nothing gets through.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blocked {
    trouble: Trouble,
    since: Timestamp,
    /// When it was last tried.
    tried: Timestamp,
    /// Probes that failed.
    probes: u32,
    next_probe: Timestamp,
    /// A delivery is finding out.
    probing: bool,
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
    /// As it was left, by the process or the configuration before: what was wrong is wrong until somebody has found
    /// out, which one delivery may do at once.
    #[must_use]
    pub fn new(connections: usize, left: Option<&TroubleNote>, now: Timestamp) -> Account {
        Account { connections, under_way: 0, state: left.map_or(State::Working, |note| State::left(note, now)) }
    }

    /// Whether mail may go out as it comes.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.state == State::Working
    }

    /// Whether its mail had better go through another account: nothing gets through here, and it is not the way that
    /// both have in common. Where that is another one for the other, it goes `elsewhere`.
    #[must_use]
    pub fn needs_another(&self, elsewhere: bool) -> bool {
        match &self.state {
            State::Working | State::Slowed(_) => false,
            State::Blocked(blocked) => elsewhere || blocked.trouble.kind != TroubleKind::Unreachable,
        }
    }

    /// Whether somebody is finding out if mail gets through again.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        matches!(&self.state, State::Blocked(blocked) if blocked.probing)
    }

    /// What is wrong, to be kept for others to see.
    #[must_use]
    pub fn note(&self) -> Option<TroubleNote> {
        let (trouble, since) = match &self.state {
            State::Working => return None,
            State::Slowed(slowed) => (&slowed.trouble, slowed.since),
            State::Blocked(blocked) => (&blocked.trouble, blocked.since),
        };
        let (reason, cure) = (trouble.reason.clone(), trouble.cure.clone());
        Some(TroubleNote { state: trouble.word().to_owned(), reason, cure, since })
    }

    /// Asks for leave to try a message; `asked` is when an operator last ordered a retry, which is as good as the
    /// end of a pause. Who gets leave must report with [`Account::tried`] or [`Account::not_tried`].
    pub fn ask_leave(&mut self, now: Timestamp, asked: Option<Timestamp>) -> Leave {
        let leave = match &mut self.state {
            State::Working => Leave::Go,
            State::Slowed(slowed) => slowed.leave(now, asked, self.under_way),
            State::Blocked(blocked) => blocked.leave(now, asked),
        };
        self.under_way += usize::from(leave == Leave::Go);
        leave
    }

    /// There was nothing to try after all.
    pub fn not_tried(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        if let State::Blocked(blocked) = &mut self.state {
            blocked.probing = false;
        }
    }

    /// An attempt was made. Returns whether something is new, worth a line in the log.
    pub fn tried(&mut self, now: Timestamp, trouble: Option<&Trouble>, pauses: &Pauses) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        match (&mut self.state, trouble) {
            (State::Working, None) => false,
            (State::Slowed(slowed), None) => {
                slowed.pass(now);
                self.is_fast_again()
            }
            (State::Blocked(_), None) => {
                self.state = State::Working;
                true
            }
            (State::Slowed(slowed), Some(trouble)) if trouble.kind == TroubleKind::Slowed => {
                slowed.complain(now, trouble, pauses)
            }
            (State::Blocked(blocked), Some(trouble)) if trouble.word() == blocked.trouble.word() => {
                blocked.fail(now, trouble, pauses)
            }
            (_, Some(trouble)) => {
                self.state = State::begin(now, trouble, pauses);
                true
            }
        }
    }

    /// Lets time mend what only time can. Returns whether something is new.
    pub fn ease(&mut self, now: Timestamp) -> bool {
        if let State::Slowed(slowed) = &mut self.state {
            slowed.ease(now);
        }
        self.is_fast_again()
    }

    /// A slowed account that has made its last step works.
    fn is_fast_again(&mut self) -> bool {
        let fast = matches!(&self.state, State::Slowed(slowed) if slowed.lines > 1 && slowed.lines >= self.connections);
        if fast {
            self.state = State::Working;
        }
        fast
    }
}

impl State {
    fn begin(now: Timestamp, trouble: &Trouble, pauses: &Pauses) -> State {
        let trouble = trouble.clone();
        if trouble.kind == TroubleKind::Slowed {
            return State::Slowed(Slowed::new(trouble, now, now + pauses.pause(TroubleKind::Slowed, 0)));
        }
        let next_probe = pauses.next_probe(now, &trouble, 0);
        State::Blocked(Blocked { trouble, since: now, tried: now, probes: 0, next_probe, probing: false })
    }

    /// Without a topic: the first attempt tells what is wrong, also where it is the same.
    fn left(note: &TroubleNote, now: Timestamp) -> State {
        let TroubleNote { state, reason, cure, since } = note.clone();
        let trouble = Trouble { kind: TroubleKind::from_word(&state), topic: "", reason, cure, until: None };
        if trouble.kind == TroubleKind::Slowed {
            return State::Slowed(Slowed { since, ..Slowed::new(trouble, now, now) });
        }
        State::Blocked(Blocked { trouble, since, tried: now, probes: 0, next_probe: now, probing: false })
    }
}

impl Slowed {
    fn new(trouble: Trouble, now: Timestamp, next: Timestamp) -> Slowed {
        let (lines, complaints, undisturbed) = (1, 1, 0);
        Slowed { trouble, since: now, lines, complaints, complained: now, next, undisturbed, calm_from: next }
    }

    fn leave(&mut self, now: Timestamp, asked: Option<Timestamp>, under_way: usize) -> Leave {
        // A clock that was set back must not make a pause of years.
        if self.complained > now || asked.is_some_and(|asked| asked > self.complained) {
            self.next = self.next.min(now);
            self.calm_from = self.calm_from.min(now);
        }
        match self.next {
            next if next > now => Leave::WaitUntil(next),
            _ if under_way < self.lines => Leave::Go,
            _ => Leave::WaitUntil(now + ASK_AGAIN),
        }
    }

    /// Nobody was given leave in the pause: who reports then was under way when it began, and says nothing new.
    fn is_late(&self, now: Timestamp) -> bool {
        now < self.next && now >= self.complained
    }

    fn complain(&mut self, now: Timestamp, trouble: &Trouble, pauses: &Pauses) -> bool {
        if self.is_late(now) {
            return false;
        }
        let told = self.trouble.is_same_as(trouble);
        let (since, complaints) = (self.since, self.complaints.saturating_add(1));
        let next = now + pauses.pause(TroubleKind::Slowed, self.complaints);
        *self = Slowed { since, complaints, ..Slowed::new(trouble.clone(), now, next) };
        !told
    }

    fn pass(&mut self, now: Timestamp) {
        if self.is_late(now) {
            return;
        }
        self.undisturbed += 1;
        if self.undisturbed >= UNDISTURBED_FOR_A_STEP {
            self.step(now);
        }
    }

    fn ease(&mut self, now: Timestamp) {
        if self.calm_from + CALM_FOR_A_STEP <= now {
            self.step(now);
        }
    }

    fn step(&mut self, now: Timestamp) {
        self.lines += 1;
        self.undisturbed = 0;
        self.calm_from = now;
    }
}

impl Blocked {
    fn leave(&mut self, now: Timestamp, asked: Option<Timestamp>) -> Leave {
        // A clock that was set back must not make a pause of years.
        let due = self.next_probe <= now || self.tried > now || asked.is_some_and(|asked| asked > self.tried);
        if due && !self.probing {
            self.probing = true;
            return Leave::Go;
        }
        // While another one probes, the time lies in the past and says nothing.
        Leave::WaitUntil(self.next_probe.max(now + ASK_AGAIN))
    }

    fn fail(&mut self, now: Timestamp, trouble: &Trouble, pauses: &Pauses) -> bool {
        let told = self.trouble.is_same_as(trouble);
        // A delivery that was under way when the trouble began is no probe.
        self.probes = self.probes.saturating_add(u32::from(self.probing));
        self.next_probe = pauses.next_probe(now, trouble, self.probes);
        (self.tried, self.probing) = (now, false);
        if !told {
            self.trouble = trouble.clone();
        }
        !told
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
    fn next_probe(&self, now: Timestamp, trouble: &Trouble, probes: u32) -> Timestamp {
        trouble.until.unwrap_or_else(|| now + self.pause(trouble.kind, probes))
    }

    /// What a person has to mend is probed less eagerly than a line that is down: Gmail counts logins
    /// (gmail.md, section 1.4), and somebody who mends it tells us with a reload or `queue retry`. Where Gmail is
    /// known to want more time, no setting makes it less (gmail.md, section 5).
    fn pause(&self, kind: TroubleKind, failures: u32) -> Duration {
        let doubled = |first: Duration| first.saturating_mul(1 << failures.min(16));
        let least = match kind {
            TroubleKind::Unreachable | TroubleKind::Slowed => return doubled(self.first).min(self.longest),
            TroubleKind::Paused => LEAST_OF_PAUSED,
            TroubleKind::OverLimit(Limit::AtLeast(least)) => least,
            TroubleKind::OverLimit(Limit::Day) | TroubleKind::Misconfigured => Duration::ZERO,
        };
        let least = doubled(least).min(self.longest.max(least.saturating_mul(4)));
        doubled(self.first.saturating_mul(4)).min(self.longest).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses { first: Duration::from_secs(30), longest: Duration::from_hours(1) };
    const AWAY: TroubleKind = TroubleKind::Unreachable;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn trouble(kind: TroubleKind, topic: &'static str) -> Trouble {
        Trouble { kind, topic, reason: topic.to_owned(), cure: String::new(), until: None }
    }

    fn working(connections: usize) -> Account {
        Account::new(connections, None, at(0))
    }

    /// An account with three connections whose first attempt, at time 0, met this trouble.
    fn troubled(kind: TroubleKind) -> Account {
        let mut account = working(3);
        assert_eq!(account.ask_leave(at(0), None), Leave::Go);
        assert!(account.tried(at(0), Some(&trouble(kind, "away")), &PAUSES));
        account
    }

    /// So many attempts without a complaint, one after the other; whether each of them is news.
    fn undisturbed(account: &mut Account, second: i64, attempts: usize) -> Vec<bool> {
        let one = |_| {
            assert_eq!(account.ask_leave(at(second), None), Leave::Go);
            account.tried(at(second), None, &PAUSES)
        };
        (0..attempts).map(one).collect()
    }

    fn word(account: &Account) -> String {
        account.note().map_or_else(|| "working".to_owned(), |note| note.state)
    }

    #[test]
    fn a_working_account_gives_leave_to_everybody_and_stays_silent() {
        let mut account = working(1);
        assert_eq!((account.ask_leave(at(0), None), account.ask_leave(at(0), None)), (Leave::Go, Leave::Go));
        assert!(!account.tried(at(1), None, &PAUSES));
        assert!(account.is_working() && account.note().is_none());
    }

    #[test]
    fn one_delivery_at_a_time_probes_and_no_earlier_than_the_pause_says() {
        let mut account = troubled(AWAY);
        assert!(!account.is_working());
        assert_eq!(account.ask_leave(at(29), None), Leave::WaitUntil(at(30)));
        assert!(!account.is_probed());
        assert_eq!(account.ask_leave(at(30), None), Leave::Go);
        assert!(account.is_probed());
        assert_eq!(account.ask_leave(at(30), None), Leave::WaitUntil(at(31)), "somebody is finding out");
        account.not_tried();
        assert_eq!(account.ask_leave(at(30), None), Leave::Go, "there was nothing to try");
    }

    /// The pauses of gmail.md, section 5, in minutes.
    #[test]
    fn pauses_double_and_are_as_long_as_the_trouble_asks_for() {
        let hold = |minutes| TroubleKind::OverLimit(Limit::AtLeast(Duration::from_mins(minutes)));
        for (kind, minutes) in [
            (AWAY, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]),
            (TroubleKind::Misconfigured, [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]),
            (TroubleKind::OverLimit(Limit::Day), [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]),
            (TroubleKind::Paused, [15.0, 30.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0]),
            (hold(15), [15.0, 30.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0]),
            (hold(10), [10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0]),
            (hold(60), [60.0, 120.0, 240.0, 240.0, 240.0, 240.0, 240.0, 240.0, 240.0]),
        ] {
            let mut account = troubled(kind);
            let mut now = at(0);
            for pause in minutes {
                let next = now + Duration::from_secs_f64(pause * 60.0);
                assert_eq!(account.ask_leave(next - Duration::from_secs(1), None), Leave::WaitUntil(next), "{kind:?}");
                assert_eq!(account.ask_leave(next, None), Leave::Go);
                assert!(!account.tried(next, Some(&trouble(kind, "away")), &PAUSES), "the same trouble is told once");
                now = next;
            }
            assert_eq!(account.note().map(|note| note.since), Some(at(0)));
        }
        let hasty = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(1) };
        assert_eq!(hasty.pause(hold(15), 0), Duration::from_mins(15), "no setting makes it less");
        assert_eq!(hasty.pause(AWAY, 9), Duration::from_secs(1));
    }

    #[test]
    fn deliveries_that_were_under_way_when_the_trouble_began_are_no_probes() {
        let mut account = troubled(AWAY);
        for _ in 0..5 {
            assert!(!account.tried(at(1), Some(&trouble(AWAY, "away")), &PAUSES));
        }
        assert_eq!(account.ask_leave(at(2), None), Leave::WaitUntil(at(31)));
    }

    #[test]
    fn an_order_of_the_operator_ends_the_pause_once() {
        let mut account = troubled(AWAY);
        assert_eq!(account.ask_leave(at(5), Some(at(0))), Leave::WaitUntil(at(30)), "it is older than the attempt");
        assert_eq!(account.ask_leave(at(5), Some(at(4))), Leave::Go);
        account.tried(at(6), Some(&trouble(AWAY, "away")), &PAUSES);
        assert_eq!(account.ask_leave(at(7), Some(at(4))), Leave::WaitUntil(at(66)));

        let mut slowed = troubled(TroubleKind::Slowed);
        assert_eq!(slowed.ask_leave(at(5), Some(at(0))), Leave::WaitUntil(at(30)));
        assert_eq!(slowed.ask_leave(at(5), Some(at(4))), Leave::Go);
        assert_eq!(slowed.ask_leave(at(5), Some(at(4))), Leave::WaitUntil(at(6)), "still one at a time");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_pause_of_years() {
        for kind in [AWAY, TroubleKind::Paused, TroubleKind::Slowed] {
            assert_eq!(troubled(kind).ask_leave(at(-1), None), Leave::Go, "{kind:?}");
        }
    }

    #[test]
    fn a_success_ends_the_trouble_and_another_trouble_is_told_anew() {
        let mut account = troubled(AWAY);
        for (kind, topic, told, state) in [
            (TroubleKind::Paused, "535", true, "paused"),
            (TroubleKind::Paused, "535", false, "paused"),
            (TroubleKind::Paused, "534", true, "paused"),
            (TroubleKind::Misconfigured, "530", true, "misconfigured"),
            (TroubleKind::Slowed, "421", true, "slowed"),
            (TroubleKind::OverLimit(Limit::Day), "550", true, "over_limit"),
        ] {
            assert_eq!(account.tried(at(1), Some(&trouble(kind, topic)), &PAUSES), told, "{topic}");
            assert_eq!(word(&account), state);
        }
        assert!(account.tried(at(3), None, &PAUSES));
        assert!(account.is_working());
    }

    #[test]
    fn a_slowed_account_pauses_and_then_lets_one_go_at_a_time() {
        let mut account = troubled(TroubleKind::Slowed);
        assert_eq!(account.ask_leave(at(29), None), Leave::WaitUntil(at(30)));
        assert_eq!(account.ask_leave(at(30), None), Leave::Go);
        assert_eq!(account.ask_leave(at(30), None), Leave::WaitUntil(at(31)));
        account.not_tried();
        assert_eq!(account.ask_leave(at(30), None), Leave::Go);
    }

    #[test]
    fn pauses_of_a_slowed_account_double_with_each_complaint_that_is_not_late() {
        let (mut account, complaint) = (troubled(TroubleKind::Slowed), trouble(TroubleKind::Slowed, "away"));
        let mut now = at(0);
        for pause in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert!(!account.tried(now, Some(&complaint), &PAUSES), "of one that was under way before");
            let next = now + Duration::from_secs(pause);
            assert_eq!(account.ask_leave(now, None), Leave::WaitUntil(next));
            assert_eq!(account.ask_leave(next, None), Leave::Go);
            assert!(!account.tried(next, Some(&complaint), &PAUSES), "the same is told once");
            now = next;
        }
    }

    #[test]
    fn every_five_undisturbed_attempts_allow_one_more_until_it_works() {
        let mut account = troubled(TroubleKind::Slowed);
        assert_eq!(undisturbed(&mut account, 30, 5), [false; 5]);
        let go = [account.ask_leave(at(30), None), account.ask_leave(at(30), None)];
        assert_eq!((go, account.ask_leave(at(30), None)), ([Leave::Go; 2], Leave::WaitUntil(at(31))));
        (0..2).for_each(|_| account.not_tried());
        // A complaint begins from the front.
        account.ask_leave(at(30), None);
        assert!(!account.tried(at(30), Some(&trouble(TroubleKind::Slowed, "away")), &PAUSES));
        assert_eq!(undisturbed(&mut account, 90, 5), [false; 5]);
        assert_eq!(undisturbed(&mut account, 90, 5), [false, false, false, false, true], "that is worth a line");
        assert!(account.is_working());
    }

    #[test]
    fn ten_minutes_of_calm_are_as_good() {
        let mut account = troubled(TroubleKind::Slowed);
        for (second, eased, state) in
            [(629, false, "slowed"), (630, false, "slowed"), (1229, false, "slowed"), (1230, true, "working")]
        {
            assert_eq!((account.ease(at(second)), word(&account).as_str()), (eased, state), "{second}");
        }
        let mut narrow = working(1);
        narrow.tried(at(0), Some(&trouble(TroubleKind::Slowed, "away")), &PAUSES);
        assert!(!narrow.ease(at(629)) && narrow.ease(at(630)), "one connection is no state for ever");
    }

    #[test]
    fn what_was_wrong_before_a_restart_is_wrong_until_one_probe_has_found_out() {
        for kind in [AWAY, TroubleKind::Paused, TroubleKind::OverLimit(Limit::Day), TroubleKind::Slowed] {
            let before = troubled(kind).note().unwrap();
            let mut account = Account::new(3, Some(&before), at(1000));
            assert_eq!(account.note(), Some(before));
            assert_eq!(account.ask_leave(at(1000), None), Leave::Go, "{kind:?}");
            assert_eq!(account.ask_leave(at(1000), None), Leave::WaitUntil(at(1001)));
            assert!(account.tried(at(1000), Some(&trouble(kind, "away")), &PAUSES), "the first time it is told");
            assert_eq!(account.note().map(|note| note.since), Some(at(0)));
            account.ask_leave(at(9000), None);
            assert!(!account.tried(at(9000), Some(&trouble(kind, "away")), &PAUSES));
        }
    }
}
