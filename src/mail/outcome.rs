//! What became of one recipient in one attempt.

use std::fmt;

use super::Reply;

/// Why a recipient was not delivered: Gmail's own words, or ours where there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Gmail answered.
    Reply(Reply),
    /// There was no answer: what happened, in words for the operator.
    NoAnswer(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Reply(reply) => reply.fmt(f),
            Why::NoAnswer(words) => f.write_str(words),
        }
    }
}

/// What one attempt made of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Gmail took the message for this recipient.
    Delivered(Reply),
    /// Still owed; the next attempt tries again.
    Deferred(Why),
    /// Refused for good.
    Refused(Why),
    /// The final dot went out and no answer came back: it may have been delivered or not, and no protocol can
    /// tell (RFC 1047). Still owed.
    Uncertain(Why),
    /// Still owed until now, but tried for as long as the settings say.
    Expired(Why),
}

impl Outcome {
    /// The word for it in the log, the history and the spool.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Delivered(_) => "delivered",
            Outcome::Deferred(_) => "deferred",
            Outcome::Refused(_) => "refused",
            Outcome::Uncertain(_) => "uncertain",
            Outcome::Expired(_) => "expired",
        }
    }

    /// Whether the recipient is no longer owed anything.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Outcome::Delivered(_) | Outcome::Refused(_) | Outcome::Expired(_) => true,
            Outcome::Deferred(_) | Outcome::Uncertain(_) => false,
        }
    }

    /// Whether nobody can know if Gmail took the message.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Outcome::Uncertain(_))
    }

    /// Whether the sender must be told.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Outcome::Refused(_) | Outcome::Expired(_))
    }

    /// The reply or reason, as one line.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Outcome::Delivered(reply) => reply.to_string(),
            Outcome::Deferred(why) | Outcome::Refused(why) | Outcome::Uncertain(why) | Outcome::Expired(why) => {
                why.to_string()
            }
        }
    }
}
