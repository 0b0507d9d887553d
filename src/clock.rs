//! The one place that reads the clock. Everything pure is handed the time instead.

use crate::mail::Timestamp;

/// The time of day, in UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
