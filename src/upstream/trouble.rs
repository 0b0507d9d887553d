//! What is wrong with an account, or with the way to Gmail. Pure.
//!
//! Whatever it is, it is never held against a message.

use std::time::Duration;

use crate::mail::Timestamp;

/// What is used up, and will be free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Recipients in any 24 hours (gmail.md, section 4).
    Day,
    /// Something else. It is not worth asking again before this time is over.
    AtLeast(Duration),
}

/// How an account stands in the way of its mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// Mail goes through, but Gmail wants less of it at once.
    Slowed,
    /// Until its limit frees.
    OverLimit(Limit),
    /// Until somebody acts, most often at Google.
    Paused,
    /// Until the configuration, or the name of this machine, is another one.
    Misconfigured,
    /// Until Gmail can be reached again, or has time.
    Unreachable,
}

impl TroubleKind {
    /// The word for it in the log and in `status`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            TroubleKind::Slowed => "slowed",
            TroubleKind::OverLimit(_) => "over_limit",
            TroubleKind::Paused => "paused",
            TroubleKind::Misconfigured => "misconfigured",
            TroubleKind::Unreachable => "unreachable",
        }
    }

    /// Reads back what [`TroubleKind::word`] wrote. A word of another version is tried as a line that is down.
    #[must_use]
    pub fn from_word(word: &str) -> TroubleKind {
        match word {
            "slowed" => TroubleKind::Slowed,
            "over_limit" => TroubleKind::OverLimit(Limit::Day),
            "paused" => TroubleKind::Paused,
            "misconfigured" => TroubleKind::Misconfigured,
            _ => TroubleKind::Unreachable,
        }
    }
}

/// What is wrong with an account, or with the way to Gmail. It never counts against a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// What it is, without anything that differs from one try to the next, as Gmail's session names do: the same
    /// trouble is told once.
    pub topic: &'static str,
    /// What it means, with Gmail's own words.
    pub reason: String,
    /// What the user can do; may be empty.
    pub cure: String,
    /// When it is known to be over, where that is known.
    pub until: Option<Timestamp>,
}

impl Trouble {
    /// The word for it in the log and in `status`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.kind.word()
    }

    /// Whether another trouble is the same one, met again.
    #[must_use]
    pub fn is_same_as(&self, other: &Trouble) -> bool {
        self.kind == other.kind && self.topic == other.topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        use TroubleKind as K;
        for kind in [K::Slowed, K::OverLimit(Limit::Day), K::Paused, K::Misconfigured, K::Unreachable] {
            assert_eq!(TroubleKind::from_word(kind.word()), kind);
        }
        assert_eq!(TroubleKind::from_word("of a later version"), K::Unreachable);
    }
}
