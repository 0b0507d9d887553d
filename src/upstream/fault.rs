//! Why there was no answer: the failures of the network and of TLS, what they mean and what helps. Pure.

use std::time::Duration;

use rustls::{CertificateError, InvalidMessage};

use super::trouble::{Trouble, TroubleKind};
use super::verdict::Stage;

/// What helps where the network has no way (gmail.md, sections 7 and 9).
pub(super) const NO_WAY: &str =
    "Check that this machine is online; in a container without IPv6, that its network has IPv4.";
pub(super) const NO_NAME: &str =
    "Check `host` of the account and the DNS of this machine; in a container, the DNS that it was given.";
pub(super) const HUNG_UP: &str = "Gmail hangs up on bad EHLO names: set `hostname` to a real host name. Or port and TLS mode are \
    swapped (465 is TLS on connect, 587 is STARTTLS).";
pub(super) const NO_STARTTLS: &str = "Use port 465, which has TLS from the first byte; or look for a firewall or virus scanner \
    on the way that takes STARTTLS away.";
pub(super) const SILENT_PORT: &str =
    "A firewall or the provider may block the port: try port 465 or 587, whichever is not in use now.";
pub(super) const SWAPPED_TLS: &str = "Port and TLS mode are most likely swapped: 465 is TLS on connect \
    (`tls = \"implicit\"`), 587 is STARTTLS (`tls = \"starttls\"`). Leave `tls` out with these two ports.";
pub(super) const BROKEN_TLS: &str = "Port and TLS mode may be swapped (465 is TLS on connect, 587 is STARTTLS), or something \
    on the way intercepts TLS, such as a firewall or a virus scanner.";
pub(super) const OF_WHICH_CLOCK: &str = "See whether the clock of this machine is right (`date`): a wrong one spoils every certificate. If \
    it is, the certificate is not Gmail's own: look for a firewall or virus scanner on the way that intercepts TLS.";
pub(super) const OF_WHOSE_NAME: &str = "Set `host` to the name that the certificate is made for: smtp.gmail.com, and not an address or \
    another name of it. Or something on the way answers in Gmail's place.";
pub(super) const OF_WHICH_ISSUER: &str = "Something on the way intercepts TLS, such as a firewall or a virus scanner: take this machine \
    out of it, or name the file with its root certificate in `ca_file` of the account.";

/// What is shown of an answer that is no SMTP.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Expired,
    NotYetValid,
    OtherName,
    UnknownIssuer,
    Other,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Flaw::Expired => "its time is over",
            Flaw::NotYetValid => "its time has not come yet",
            Flaw::OtherName => "it is made for another name",
            Flaw::UnknownIssuer => "it was issued by somebody whom this machine does not trust",
            Flaw::Other => "it cannot be relied on",
        })
    }
}

impl Flaw {
    fn cure(self) -> &'static str {
        match self {
            Flaw::Expired | Flaw::NotYetValid => OF_WHICH_CLOCK,
            Flaw::OtherName => OF_WHOSE_NAME,
            Flaw::UnknownIssuer | Flaw::Other => OF_WHICH_ISSUER,
        }
    }
}

impl From<&CertificateError> for Flaw {
    fn from(error: &CertificateError) -> Flaw {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Flaw::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Flaw::NotYetValid,
            E::NotValidForName | E::NotValidForNameContext { .. } => Flaw::OtherName,
            E::UnknownIssuer => Flaw::UnknownIssuer,
            _ => Flaw::Other,
        }
    }
}

/// Why there was no answer. All of these pass, or are mended, and count against no message and no recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the name of the mail server was not found: {0}")]
    Dns(String),
    #[error("the network has no way to the mail server: {0}")]
    Unreachable(String),
    #[error("the mail server did not answer the connection in time: {0}")]
    ConnectTimeout(String),
    #[error("the mail server refused the connection: {0}")]
    Refused(String),
    #[error("the certificate of the mail server is not valid, {flaw}: {detail}")]
    Certificate { flaw: Flaw, detail: String },
    #[error("the mail server does not speak TLS at this port: {0}")]
    NotTls(String),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the mail server does not offer STARTTLS: {0}")]
    NoStarttls(String),
    #[error("no answer within {seconds} seconds ({stage})")]
    Timeout { stage: Stage, seconds: u64 },
    #[error("the mail server closed the connection ({stage}): {reason}")]
    Closed { stage: Stage, reason: String },
    #[error("the mail server did not speak SMTP: {0}")]
    Protocol(String),
    #[error("the message needs {0}, which the mail server does not offer")]
    Lacks(&'static str),
    #[error("the content could not be read from the spool: {0}")]
    Spool(String),
}

impl Fault {
    /// What was said is no SMTP. It may be anything, and is shown to people: on one line, and not all of it.
    #[must_use]
    pub fn protocol(said: &str) -> Fault {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let start: String = said.chars().take(SHOWN_CHARACTERS_MAX).map(printable).collect();
        Fault::Protocol(format!("\"{}\"", start.trim()))
    }

    /// No answer within this time.
    #[must_use]
    pub fn late(stage: Stage, after: Duration) -> Fault {
        Fault::Timeout { stage, seconds: after.as_secs() }
    }

    /// Why a handshake failed.
    #[must_use]
    pub fn of_handshake(error: &std::io::Error) -> Fault {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(cause)) => {
                Fault::Certificate { flaw: cause.into(), detail: cause.to_string() }
            }
            // The first bytes were no TLS at all, such as a greeting in the clear.
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Fault::NotTls(error.to_string()),
            _ => Fault::Tls(error.to_string()),
        }
    }

    /// Whether it would meet every message alike: it came before there was anything of this one but its size.
    #[must_use]
    pub fn meets_every_message(&self) -> bool {
        match self {
            Fault::Timeout { stage, .. } | Fault::Closed { stage, .. } => {
                !stage.is_about_mail() || *stage == Stage::Mail
            }
            Fault::Lacks(_) | Fault::Spool(_) => false,
            _ => true,
        }
    }

    /// The trouble it means for the account.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        let kind = match self {
            Fault::Certificate { .. } | Fault::NotTls(_) => TroubleKind::Misconfigured,
            _ => TroubleKind::Unreachable,
        };
        let cure = self.cure();
        Trouble { kind, topic: cure, reason: self.to_string(), cure: cure.to_owned(), until: None }
    }

    /// What the user can do about it (gmail.md, section 9, rows 12, 18 and 19; section 7).
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Fault::Dns(_) => NO_NAME,
            Fault::Unreachable(_) => NO_WAY,
            Fault::ConnectTimeout(_) => SILENT_PORT,
            Fault::Refused(_) => "Check `host` and `port` of the account: Gmail listens on 465 and 587.",
            Fault::Certificate { flaw, .. } => flaw.cure(),
            Fault::NotTls(_) => SWAPPED_TLS,
            Fault::Tls(_) => BROKEN_TLS,
            Fault::NoStarttls(_) => NO_STARTTLS,
            Fault::Timeout { stage: Stage::Greeting | Stage::Starttls, .. } => {
                "Port and TLS mode may be swapped (465 is TLS on connect, 587 is STARTTLS), or a firewall holds the \
                 connection up."
            }
            Fault::Timeout { .. } => {
                "If it stays, look for a firewall that holds connections up; large mail needs time."
            }
            Fault::Closed { stage: Stage::Connect | Stage::Greeting | Stage::Ehlo, .. } => HUNG_UP,
            Fault::Closed { .. } | Fault::Lacks(_) => "",
            Fault::Spool(_) => "Look at the disk that the spool is on.",
            Fault::Protocol(_) => {
                "Something else answers at this port: check `host` and `port`, and firewalls that inspect mail."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::UnixTime;

    #[test]
    fn what_is_no_smtp_is_shown_without_its_control_characters_and_in_part() {
        let said = format!("\x1b[31m\r\n{}", "x".repeat(100_000));
        let told = Fault::protocol(&said).to_string();
        assert!(!told.chars().any(char::is_control) && told.len() < 300, "{told}");
        assert_eq!(
            Fault::protocol("HTTP/1.1 \"x\"").to_string(),
            "the mail server did not speak SMTP: \"HTTP/1.1 \"x\"\""
        );
    }

    fn handshake(cause: rustls::Error) -> Fault {
        Fault::of_handshake(&std::io::Error::new(std::io::ErrorKind::InvalidData, cause))
    }

    #[test]
    fn a_certificate_that_is_not_valid_is_told_in_plain_words() {
        use CertificateError as E;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1));
        for (error, words, cure) in [
            (E::Expired, "its time is over", "clock"),
            (E::ExpiredContext { time, not_after: time }, "its time is over", "clock"),
            (E::NotValidYet, "its time has not come yet", "clock"),
            (E::NotValidForName, "it is made for another name", "`host`"),
            (E::UnknownIssuer, "somebody whom this machine does not trust", "`ca_file`"),
            (E::BadSignature, "it cannot be relied on", "intercepts TLS"),
        ] {
            let fault = handshake(rustls::Error::InvalidCertificate(error));
            assert!(fault.to_string().contains(words), "{fault}");
            let trouble = fault.trouble();
            assert_eq!(trouble.kind, TroubleKind::Misconfigured);
            assert!(trouble.cure.contains(cure), "{}", trouble.cure);
        }
    }

    #[test]
    fn an_answer_in_the_clear_is_told_from_tls_that_fails() {
        let swapped = handshake(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)).trouble();
        assert_eq!(swapped.kind, TroubleKind::Misconfigured);
        assert!(swapped.cure.contains("swapped"), "{}", swapped.cure);
        let failed = handshake(rustls::Error::HandshakeNotComplete).trouble();
        assert_eq!(failed.kind, TroubleKind::Unreachable);
        let cut = Fault::of_handshake(&std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        assert_eq!(cut.trouble().kind, TroubleKind::Unreachable);
    }
}
