//! The state of one account: whether its mail may go out now. Pure; the deliveries of the account share one.
//!
//! While an account is in trouble, one delivery at a time probes it, with growing pauses; the others wait, and the
//! clock by which mail expires stands still. So nothing about an account ever bounces a message.

use std::time::Duration;

use crate::mail::Timestamp;
use crate::upstream::Trouble;

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
                (probes + u32::from(probing), known.word() == trouble.word() && known.reason == trouble.reason)
            }
        };
        let next_probe = trouble.until.unwrap_or_else(|| now + pauses.pause(trouble, probes));
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
    /// (gmail.md, section 1.4), and somebody who mends it tells us with a reload or `queue retry`.
    fn pause(&self, trouble: &Trouble, probes: u32) -> Duration {
        let first = if trouble.mends_itself() { self.first } else { self.first.saturating_mul(4) };
        first.saturating_mul(1 << probes.min(16)).min(self.longest)
    }
}
