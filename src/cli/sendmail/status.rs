//! What a mailer ends with, by what was replied to it (sysexits.h).
//!
//! Pure. Callers look at two of them: 0 means that the message is safe, and 75 that they should come again.

use crate::mail::{Enhanced, Reply};

/// Nothing is wrong.
pub const OK: u8 = 0;
/// The command line makes no sense, or names nobody.
pub const USAGE: u8 = 64;
/// The message cannot be taken as it is.
pub const DATA: u8 = 65;
/// There is no such recipient.
pub const NO_USER: u8 = 67;
/// Refused for another reason.
pub const UNAVAILABLE: u8 = 69;
/// Standard input cannot be read.
pub const IO: u8 = 74;
/// Not now.
pub const TRY_AGAIN: u8 = 75;
/// Not allowed.
pub const NO_PERMISSION: u8 = 77;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;

/// The status that says what a reply says (RFC 3463 for the classes).
#[must_use]
pub fn of(reply: &Reply) -> u8 {
    match (reply.code(), reply.enhanced()) {
        (200..400, _) => OK,
        // Too many recipients are as many the next time.
        (452, Some(Enhanced(4, 5, 3))) => DATA,
        (400..500, _) => TRY_AGAIN,
        (550, Some(Enhanced(5, 1, _))) => NO_USER,
        // The form of an address.
        (_, Some(Enhanced(5, 1, _))) => DATA,
        (_, Some(Enhanced(5, 7, _))) => NO_PERMISSION,
        (_, Some(Enhanced(5, 3 | 4 | 6, _)) | None) if reply.code() != 550 => DATA,
        _ => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_has_its_status() {
        for (reply, status) in [
            ("250 2.0.0 Queued", OK),
            ("354 Go ahead", OK),
            ("421 4.3.2 Stopping", TRY_AGAIN),
            ("451 4.3.0 Failed", TRY_AGAIN),
            ("452 4.5.3 Too many recipients", DATA),
            ("452 4.3.1 Full", TRY_AGAIN),
            ("501 5.1.3 Bad address", DATA),
            ("550 5.1.1 Who", NO_USER),
            ("550 5.7.1 Not there", NO_PERMISSION),
            ("530 5.7.0 Log in first", NO_PERMISSION),
            ("552 5.3.4 Too large", DATA),
            ("554 5.4.6 A circle", DATA),
            ("502 5.5.1 No", UNAVAILABLE),
            ("550 no", UNAVAILABLE),
        ] {
            let (code, text) = reply.split_at(3);
            assert_eq!(of(&Reply::received(code.parse().unwrap(), text.trim())), status, "{reply}");
        }
    }
}
