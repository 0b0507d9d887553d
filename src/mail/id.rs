//! The number by which a message is known to everybody: the client's 250, the log, the queue commands.

use std::fmt;
use std::str::FromStr;

use super::Timestamp;

/// Crockford's alphabet: no `i`, `l`, `o`, `u`, so that an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 13 characters of 5 bits hold the 63 bits in use.
const LENGTH: usize = 13;
/// Low bits that tell apart messages of the same millisecond.
const RANDOM_BITS: u32 = 22;

/// Names one message in one spool. Ids sort by the time of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(i64);

impl MessageId {
    /// The id for a message accepted at `now`; `noise` fills the low bits.
    #[must_use]
    pub fn new(now: Timestamp, noise: u32) -> MessageId {
        let milliseconds = now.as_millisecond().max(0) & ((1 << 41) - 1);
        MessageId((milliseconds << RANDOM_BITS) | i64::from(noise & ((1 << RANDOM_BITS) - 1)))
    }

    /// The number that the store keeps.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }

    /// Reads back a number that the store kept.
    #[must_use]
    pub fn from_number(number: i64) -> MessageId {
        MessageId(number & i64::MAX)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; LENGTH];
        for (place, character) in text.iter_mut().rev().enumerate() {
            let digit = (self.0 >> (5 * place)) & 31;
            *character = ALPHABET[usize::try_from(digit).unwrap_or(0)];
        }
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// What is wrong with a text that should be a message id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a message id (13 letters and digits, as `smarthost queue list` shows them)")]
pub struct NotAnId(String);

impl FromStr for MessageId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<MessageId, NotAnId> {
        let refuse = || NotAnId(text.to_owned());
        if text.len() != LENGTH {
            return Err(refuse());
        }
        let mut number: i64 = 0;
        for character in text.bytes() {
            let digit =
                ALPHABET.iter().position(|&known| known == character.to_ascii_lowercase()).ok_or_else(refuse)?;
            number = (number << 5) | i64::try_from(digit).map_err(|_| refuse())?;
        }
        if number < 0 { Err(refuse()) } else { Ok(MessageId(number)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_back() {
        for number in [0, 1, 31, 32, i64::MAX, 0x1234_5678_9abc_def0] {
            let id = MessageId::from_number(number);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        }
    }

    #[test]
    fn later_messages_sort_later() {
        let early = MessageId::new(Timestamp::from_millisecond(1_000).unwrap(), u32::MAX);
        let late = MessageId::new(Timestamp::from_millisecond(1_001).unwrap(), 0);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "../../etc/pass", "zzzzzzzzzzzzz", "0000000000000x", "000000000000u"] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }
}
