//! What a client has to do to keep its place while nearly all places are taken: say something, and not too slowly
//! (reliability-security.md, section 7). While there are places enough, it may take all the time that the RFC gives it.

use std::time::Duration;

use crate::policy::Limits;

/// How long a client is watched before it can be called slow.
const WATCHED: Duration = Duration::from_secs(10);

/// How one client used the time in which it was waited for, since it last handed a message in and while it was crowded.
/// What the relay itself took does not count.
#[derive(Debug, Default)]
pub struct Crowd {
    heard_bytes: u64,
    waited: Duration,
}

impl Crowd {
    /// There is room, or the client has done something useful.
    pub fn forget(&mut self) {
        *self = Crowd::default();
    }

    /// Takes into account what came in after this time. `true`: it is too little.
    pub fn is_too_slow(&mut self, bytes: usize, waited: Duration, limits: &Limits) -> bool {
        self.heard_bytes += bytes as u64;
        self.waited += waited;
        if self.waited < WATCHED {
            return false;
        }
        let asked = u128::from(limits.rate_when_full_bytes_s) * self.waited.as_millis() / 1000;
        let is_too_slow = u128::from(self.heard_bytes) < asked;
        self.forget();
        is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_is_not_enough_and_a_slow_line_is() {
        let limits = Limits { rate_when_full_bytes_s: 500, ..Limits::default() };
        let second = Duration::from_secs(1);
        let mut drip = Crowd::default();
        assert!((1..10).all(|_| !drip.is_too_slow(1, second, &limits)));
        assert!(drip.is_too_slow(1, second, &limits));
        let mut modem = Crowd::default();
        assert!((1..100).all(|_| !modem.is_too_slow(600, second, &limits)));
        let mut useful = Crowd::default();
        assert!((1..100).all(|_| {
            useful.forget();
            !useful.is_too_slow(1, 9 * second, &limits)
        }));
    }
}
