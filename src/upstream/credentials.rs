//! What proves to Gmail who we are. The secret cannot be printed: its type has no text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

/// A user and an app password (gmail.md, section 2.1).
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The full address of the mailbox.
    pub user: String,
    /// 16 letters, without the blanks that Google shows between them.
    pub app_password: SecretString,
}

impl Credentials {
    /// The whole command that logs in, AUTH PLAIN with an initial response (RFC 4954 §4, RFC 4616 §2).
    pub(super) fn auth_plain(&self) -> SecretString {
        let words = format!("\0{}\0{}", self.user, self.app_password.expose_secret());
        SecretString::from(format!("AUTH PLAIN {}\r\n", STANDARD.encode(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_is_what_the_rfc_says_and_prints_as_nothing() {
        let credentials = Credentials { user: "tim".into(), app_password: "tanstaaftanstaaf".to_owned().into() };
        // RFC 4616 §4, the first example.
        assert_eq!(credentials.auth_plain().expose_secret(), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n");
        assert!(!format!("{credentials:?}").contains("tanstaaf"));
    }
}
