//! What people see that is no reply of Gmail's: errors of TLS, of the network and of OAuth, and things that look strange.
//!
//! Data only, from gmail.md, section 9; replies are in `super::replies`. smarthost does not meet all of it itself; the
//! table says so, for those who meet it with another program. Pure.

use super::fault::{
    BROKEN_TLS, HUNG_UP, NO_NAME, NO_STARTTLS, NO_WAY, OF_WHICH_CLOCK, OF_WHICH_ISSUER, OF_WHOSE_NAME, SILENT_PORT,
    SWAPPED_TLS,
};
use super::replies::NEW_APP_PASSWORD;

/// Something that people see.
#[derive(Debug)]
pub struct Symptom {
    /// The words: at least one of these is in what they see; in lower case. `…` stands for anything in between.
    pub words: &'static [&'static str],
    /// It is what matters even where a reply is part of it.
    pub outweighs_reply: bool,
    /// What it looks like. A test sees to it that the row is the first to fit this.
    pub example: &'static str,
    /// What it means, in a sentence or two.
    pub meaning: &'static str,
    /// What the relay has to do with it, as half a sentence.
    pub relay: &'static str,
    /// What the user can do.
    pub cure: &'static str,
}

impl Symptom {
    /// Whether somebody who wrote `text`, in lower case, sees this.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.words.iter().any(|pattern| holds(text, pattern))
    }
}

fn holds(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('…').all(|part| match rest.split_once(part) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Looks for the first symptom that fits; where a known reply is in the text, only for one that outweighs it.
#[must_use]
pub fn find(text: &str, has_reply: bool) -> Option<&'static Symptom> {
    let text = text.to_lowercase();
    SYMPTOMS.iter().find(|symptom| (symptom.outweighs_reply || !has_reply) && symptom.fits(&text))
}

const ROW: Symptom = Symptom { words: &[], outweighs_reply: false, example: "", meaning: "", relay: "", cure: "" };

const NO_OAUTH: &str = "logs in with an app password and uses no OAuth, so it never meets this";
const WAITS: &str = "keeps all mail, and tries with growing pauses until it gets through";
const PAUSES: &str = "keeps all mail and pauses the account until the configuration is corrected";
const OR_APP_PASSWORD: &str = "In smarthost, an app password is all that is needed.";

/// What is seen. The first row that fits is the one that counts.
pub const SYMPTOMS: &[Symptom] = &[
    // OAuth: rows 5 to 10.
    Symptom {
        words: &["gmail.send", "insufficient authentication scopes", "insufficientpermissions"],
        outweighs_reply: true,
        example: "535 5.7.8 Username and Password not accepted (OAuth token with the scope gmail.send)",
        meaning: "The access token may send through the Gmail API, but not over SMTP, which wants the whole scope \
            https://mail.google.com/.",
        relay: NO_OAUTH,
        cure: "Ask for the scope https://mail.google.com/ and consent again, or let that program use the Gmail API. In \
            smarthost, an app password is all that is needed.",
    },
    Symptom {
        words: &["invalid_grant", "token has been expired or revoked"],
        example: "invalid_grant: Token has been expired or revoked.",
        meaning: "The refresh token of an OAuth client is dead. Every 7 days: the client is in status \"Testing\". After \
            months: the Google password was changed, access was revoked, the token was unused for six months, or the \
            client has more than 100 tokens.",
        relay: NO_OAUTH,
        cure: "Publish the client to \"In production\" in the Google Cloud console, and consent again. In smarthost, an \
            app password is all that is needed; a changed Google password ends that too.",
        ..ROW
    },
    Symptom {
        words: &[
            "sign in with google temporarily disabled",
            "this app is blocked",
            "app isn't verified",
            "access blocked",
        ],
        example: "Sign in with Google temporarily disabled for this app",
        meaning: "The OAuth client that the program came with has more than 100 users, or was never verified by Google.",
        relay: NO_OAUTH,
        cure: "Make an OAuth client of your own in the Google Cloud console. In smarthost, an app password is all that is \
            needed.",
        ..ROW
    },
    Symptom {
        words: &["invalid_scope", "invalid device flow scope"],
        example: "invalid_scope: Invalid device flow scope: https://mail.google.com/",
        meaning: "Google does not allow Gmail to be used by a login with a code on another device.",
        relay: NO_OAUTH,
        cure: "Log in with a browser on a machine that has one (the loopback flow), and copy the token. In smarthost, an \
            app password is all that is needed.",
        ..ROW
    },
    Symptom {
        words: &["unauthorized_client", "xoauth2", "oauth"],
        example: "XOAUTH2 authentication failed",
        meaning: "Gmail, or Google, refused an access token: it has expired, belongs to another user, or lacks the scope \
            https://mail.google.com/.",
        relay: NO_OAUTH,
        cure: OR_APP_PASSWORD,
        ..ROW
    },
    // Passwords, where the code was not pasted: rows 1 and 2.
    Symptom {
        words: &["username and password not accepted", "badcredentials", "less secure app", "invalid login"],
        example: "Less secure app access is no longer available",
        meaning: "Gmail takes no account password from a program any more, or the app password was revoked.",
        relay: "keeps all mail and pauses the account until somebody acts",
        cure: NEW_APP_PASSWORD,
        ..ROW
    },
    // TLS: row 18, and certificates.
    Symptom {
        words: &[
            "certificate has expired",
            "certificate expired",
            "not yet valid",
            "its time is over",
            "its time has not come",
        ],
        example: "certificate verify failed: certificate has expired",
        meaning: "The certificate that the other end shows is out of its time, or this machine's clock is wrong.",
        relay: PAUSES,
        cure: OF_WHICH_CLOCK,
        ..ROW
    },
    Symptom {
        words: &["hostname mismatch", "not valid for name", "certificate…does not match", "made for another name"],
        example: "certificate verify failed: Hostname mismatch, certificate is not valid for '142.250.27.108'",
        meaning: "The certificate that the other end shows is made for another name than the one that was called.",
        relay: PAUSES,
        cure: OF_WHOSE_NAME,
        ..ROW
    },
    Symptom {
        words: &[
            "self-signed certificate",
            "self signed certificate",
            "unknown issuer",
            "unknownissuer",
            "local issuer",
            "unknown authority",
            "certificate verify failed",
            "whom this machine does not trust",
        ],
        example: "x509: certificate signed by unknown authority",
        meaning: "The certificate that the other end shows was issued by somebody whom this machine does not trust.",
        relay: PAUSES,
        cure: OF_WHICH_ISSUER,
        ..ROW
    },
    Symptom {
        words: &[
            "wrong version number",
            "wrong version",
            "corrupt message",
            "invalidcontenttype",
            "does not look like a tls handshake",
            "unknown protocol",
            "does not speak tls at this port",
        ],
        example: "SSL routines:ssl3_get_record:wrong version number",
        meaning: "One end speaks TLS, the other in the clear: port and TLS mode are swapped.",
        relay: PAUSES,
        cure: SWAPPED_TLS,
        ..ROW
    },
    Symptom {
        words: &[
            "not offer starttls",
            "starttls not supported",
            "starttls extension not supported",
            "doesn't support starttls",
        ],
        example: "SMTPNotSupportedError: STARTTLS extension not supported by server.",
        meaning: "The server, or something on the way to it, does not offer TLS.",
        relay: "keeps all mail and sends nothing without TLS",
        cure: NO_STARTTLS,
        ..ROW
    },
    Symptom {
        words: &["tls failed", "ssl handshake", "tls handshake", "eof…tls", "eof…ssl", "ssl…eof", "tls…eof"],
        example: "SSL_ERROR_SYSCALL: TLS handshake failed, EOF",
        meaning: "The TLS handshake broke off.",
        relay: WAITS,
        cure: BROKEN_TLS,
        ..ROW
    },
    // The network: row 19.
    Symptom {
        words: &[
            "network is unreachable",
            "no route to host",
            "cannot assign requested address",
            "enetunreach",
            "ehostunreach",
            "no way to the mail server",
        ],
        example: "connect to smtp.gmail.com[2a00:1450:400c:c0c::6d]:587: Network is unreachable",
        meaning: "This machine has no way to Gmail: it is offline, or was told an IPv6 address and has no IPv6.",
        relay: "tries IPv4 and IPv6, keeps all mail, and tries with growing pauses until it gets through",
        cure: NO_WAY,
        ..ROW
    },
    Symptom {
        words: &[
            "name or service not known",
            "name resolution",
            "enotfound",
            "eai_again",
            "no such host",
            "getaddrinfo",
            "could not resolve",
            "name of the mail server was not found",
        ],
        example: "getaddrinfo EAI_AGAIN smtp.gmail.com",
        meaning: "The name of the mail server was not found: the DNS does not answer, or the name is misspelt.",
        relay: WAITS,
        cure: NO_NAME,
        ..ROW
    },
    Symptom {
        words: &["connection refused", "econnrefused", "refused the connection"],
        example: "connect ECONNREFUSED 127.0.0.1:25",
        meaning: "Nothing listens at this address and port.",
        relay: WAITS,
        cure: "Where it is the way to Gmail: check `host` and `port` of the account; Gmail listens on 465 and 587. Where \
            it is the way to smarthost: see with `smarthost status` whether it runs, and where it listens.",
        ..ROW
    },
    Symptom {
        words: &["timed out", "etimedout", "i/o timeout", "timeout", "did not answer the connection"],
        example: "dial tcp 142.250.27.108:587: i/o timeout",
        meaning: "Nobody answered: the network, the provider or a firewall drops what goes to this port.",
        relay: WAITS,
        cure: SILENT_PORT,
        ..ROW
    },
    // Row 26, before the words it may stand with.
    Symptom {
        words: &["generic failure"],
        example: "SASL authentication failed: generic failure",
        meaning: "A login was forced on a rule of smtp-relay.gmail.com that goes by the address of the machine alone.",
        relay: "always logs in, and so needs a rule that allows SMTP authentication, or smtp.gmail.com",
        cure: "In the other program, switch AUTH off for such a rule. In smarthost, set `host` to smtp.gmail.com with an app \
            password, or switch \"Require SMTP Authentication\" on in the rule.",
        ..ROW
    },
    // Things that look strange: rows 15, 16 and 23.
    Symptom {
        words: &[
            "sent…nobody",
            "sent…no one",
            "sent…not arrive",
            "sent…never arrive",
            "250…never arrive",
            "delivered…never arrive",
            "mailer-daemon@googlemail.com",
            "you have reached a limit for sending",
        ],
        example: "mail is sent, but nobody gets it; bounces from mailer-daemon@googlemail.com",
        meaning: "Gmail took the mail, and gave it up later: the account is over its limit, or the mail was blocked. It \
            says so by mail to the account's own inbox.",
        relay: "counts what it sends in 24 hours against daily_limit, because Gmail's own word may come too late",
        cure: "Look into the inbox of the sending account, and at `smarthost status` for how much was sent; lower \
            daily_limit if it is the limit.",
        ..ROW
    },
    Symptom {
        words: &[
            "x-google-original-from",
            "from…rewritten",
            "from…replaced",
            "from…shows",
            "from…changed",
            "wrong sender",
            "sender…rewritten",
            "sender…replaced",
        ],
        example: "From shows the Gmail account instead of alerts@example.com",
        meaning: "Gmail replaces every sender that it has not confirmed for the account.",
        relay: "keeps the original sender as the display name, and as Reply-To where an answer can reach it",
        cure: "Confirm the address in Gmail under Settings → Accounts → Send mail as, and name it in `send_as` of the \
            account.",
        ..ROW
    },
    Symptom {
        words: &[
            "to myself",
            "to oneself",
            "to my own",
            "same message-id",
            "not in the inbox",
            "not appear",
            "never appears",
            "only in sent",
        ],
        example: "a test mail to myself never appears in the inbox",
        meaning: "Gmail shows mail with a Message-ID that it knows only once, and its own copy is in Sent.",
        relay: "gives a message a Message-ID of its own where it has none, and keeps it over all attempts",
        cure: "Look in Sent and in All Mail, or send the test to another address. Make the program give each message a \
            Message-ID of its own, or none.",
        ..ROW
    },
    // Row 25.
    Symptom {
        words: &[
            "printer…tls",
            "scanner…tls",
            "device…tls",
            "without tls",
            "no tls",
            "not support tls",
            "not support ssl",
            "tls…not support",
            "ssl…not support",
        ],
        example: "the printer does not support TLS and cannot reach Gmail",
        meaning: "Gmail takes no mail without TLS and a login, and old devices have neither.",
        relay: "takes plain SMTP from such devices, and does TLS and the login itself: this is what it is for",
        cure: "Let the device send to this machine, port 25, without encryption or login; allow its address with `allow` of \
            the listener.",
        ..ROW
    },
    // Row 12, the most general of them.
    Symptom {
        words: &[
            "eof",
            "empty answer",
            "empty response",
            "empty reply",
            "unexpectedly closed",
            "closed unexpectedly",
            "connection closed",
            "closed the connection",
            "connection reset",
            "incomplete response",
        ],
        example: "Connection unexpectedly closed: EOF at connect to smtp-relay.gmail.com",
        meaning: "The server closed the connection before it said anything.",
        relay: WAITS,
        cure: HUNG_UP,
        ..ROW
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_the_first_to_fit_its_own_example_and_can_be_read() {
        for (place, symptom) in SYMPTOMS.iter().enumerate() {
            let example = symptom.example.to_lowercase();
            let first = SYMPTOMS.iter().position(|symptom| symptom.fits(&example));
            assert_eq!(first, Some(place), "{}", symptom.example);
            assert!(symptom.words.iter().all(|words| words.to_lowercase() == *words), "{}", symptom.example);
            assert!(symptom.meaning.ends_with('.') && symptom.cure.ends_with('.'), "{}", symptom.example);
            assert!(!symptom.relay.is_empty() && !symptom.relay.ends_with('.'), "{}", symptom.example);
        }
    }

    #[test]
    fn parts_of_a_pattern_stand_in_their_order() {
        assert!(holds("mail is sent, but nobody gets it", "sent…nobody"));
        assert!(!holds("nobody sent it", "sent…nobody"));
        assert!(!holds("", "eof"));
    }
}
