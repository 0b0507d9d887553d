//! How much one client may hand in within a minute.
//!
//! Pure: time comes in, in microseconds of a clock that only goes on. Each client has an account that is debited with the
//! time that a message is worth, and that frees as time goes: a minute's worth may come at once (the generic cell rate
//! algorithm). What is remembered is bounded, whoever comes.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Limits;
use crate::mail::Refusal;

const MINUTE_US: u64 = 60_000_000;
/// Clients remembered at the same time.
const CLIENTS_MAX: usize = 10_000;

/// What every client has handed in of late.
#[derive(Debug, Default)]
pub struct Pace {
    clients: HashMap<IpAddr, Used>,
}

/// Until when what was handed in counts.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    messages_until_us: u64,
    bytes_until_us: u64,
}

impl Pace {
    /// Takes a message into account.
    ///
    /// # Errors
    /// Where it is one too many, or too large after what came before. A message that is larger than a minute's worth
    /// waits until nothing counts any more.
    pub fn take(&mut self, ip: IpAddr, bytes: u64, limits: &Limits, now_us: u64) -> Result<(), Refusal> {
        if limits.messages_per_minute.is_none() && limits.bytes_per_minute.is_none() {
            return Ok(());
        }
        let used = self.clients.get(&ip).copied().unwrap_or_default();
        let of_message = limits.messages_per_minute.map_or(0, |limit| MINUTE_US / u64::from(limit.max(1)));
        let of_bytes = limits.bytes_per_minute.map_or(0, |limit| worth_us(bytes, limit));
        let messages_until_us = add(used.messages_until_us, of_message, now_us)
            .ok_or(Refusal::TooManyMessages(limits.messages_per_minute.unwrap_or_default()))?;
        let bytes_until_us = add(used.bytes_until_us, of_bytes, now_us)
            .ok_or(Refusal::TooManyBytes(limits.bytes_per_minute.unwrap_or_default()))?;
        self.remember(ip, Used { messages_until_us, bytes_until_us }, now_us);
        Ok(())
    }

    /// Where too many come at the same time, those who come last go uncounted.
    fn remember(&mut self, ip: IpAddr, used: Used, now_us: u64) {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&ip) {
            self.clients.retain(|_, used| used.messages_until_us.max(used.bytes_until_us) > now_us);
        }
        if self.clients.len() < CLIENTS_MAX || self.clients.contains_key(&ip) {
            self.clients.insert(ip, used);
        }
    }
}

fn worth_us(bytes: u64, limit: u64) -> u64 {
    let worth = u128::from(bytes) * u128::from(MINUTE_US) / u128::from(limit.max(1));
    u64::try_from(worth).unwrap_or(u64::MAX)
}

/// Until when it counts with this on top; `None`: that is over a minute's worth, and something counts already.
fn add(until_us: u64, more_us: u64, now_us: u64) -> Option<u64> {
    if until_us <= now_us {
        return Some(now_us.saturating_add(more_us));
    }
    let until_us = until_us.saturating_add(more_us);
    (until_us - now_us <= MINUTE_US).then_some(until_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn limits(messages: Option<u32>, bytes: Option<u64>) -> Limits {
        Limits { messages_per_minute: messages, bytes_per_minute: bytes, ..Limits::default() }
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_frees_as_time_goes() {
        let (mut pace, limits) = (Pace::default(), limits(Some(6), None));
        let mut take = |seconds: u64| pace.take(ip(1), 1, &limits, seconds * 1_000_000);
        assert!((0..6).all(|_| take(100).is_ok()));
        assert_eq!(take(100), Err(Refusal::TooManyMessages(6)));
        assert_eq!(take(109), Err(Refusal::TooManyMessages(6)));
        assert_eq!(take(110), Ok(()));
        assert_eq!(take(110), Err(Refusal::TooManyMessages(6)));
        assert!((0..6).all(|_| take(400).is_ok()));
        assert!(take(400).is_err());
    }

    #[test]
    fn bytes_count_and_one_large_message_passes_alone() {
        let (mut pace, limits) = (Pace::default(), limits(None, Some(1000)));
        let mut take = |bytes, seconds: u64| pace.take(ip(1), bytes, &limits, seconds * 1_000_000);
        assert_eq!(take(600, 0), Ok(()));
        assert_eq!(take(600, 0), Err(Refusal::TooManyBytes(1000)));
        assert_eq!(take(400, 0), Ok(()));
        assert_eq!(take(5000, 60), Ok(()), "nothing counts any more");
        assert_eq!(take(1, 60 + 240), Err(Refusal::TooManyBytes(1000)), "five minutes' worth");
        assert_eq!(take(1, 60 + 301), Ok(()));
    }

    #[test]
    fn clients_are_counted_apart_and_no_more_of_them_than_fit() {
        let (mut pace, one) = (Pace::default(), limits(Some(1), None));
        for number in 0..2 * u32::try_from(CLIENTS_MAX).unwrap() {
            assert_eq!(pace.take(ip(number), 1, &one, 1), Ok(()));
        }
        assert_eq!(pace.clients.len(), CLIENTS_MAX);
        assert!(pace.take(ip(0), 1, &one, 1).is_err());
        assert_eq!(pace.take(ip(u32::MAX), 1, &one, 2 * MINUTE_US), Ok(()));
        assert_eq!(pace.clients.len(), 1, "who is done is forgotten when there is no room");
        let mut unlimited = Pace::default();
        assert_eq!(unlimited.take(ip(1), u64::MAX, &limits(None, None), 0), Ok(()));
        assert!(unlimited.clients.is_empty());
    }
}
