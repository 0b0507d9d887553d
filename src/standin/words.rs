//! What Gmail says, word for word where it is known (gmail.md, sections 1, 2 and 5).
//!
//! `\n` stands between lines; the session adds its mark behind the last (`… <session> - gsmtp`). No rule here.

pub(super) const AUTH_ACCEPTED: &str = "235 2.7.0 Accepted";
pub(super) const GO_AHEAD: &str = "354 Go ahead";
pub(super) const READY_FOR_TLS: &str = "220 2.0.0 Ready to start TLS";
pub(super) const SENDER_OK: &str = "250 2.1.0 OK";
pub(super) const RECIPIENT_OK: &str = "250 2.1.5 OK";
pub(super) const OK: &str = "250 2.0.0 OK";
pub(super) const FLUSHED: &str = "250 2.1.5 Flushed";
pub(super) const TRY_MY_BEST: &str = "252 2.1.5 Send some mail, I'll try my best";
pub(super) const HELP: &str = "214 2.0.0 https://www.google.com/search?btnI&q=RFC+5321";
pub(super) const BYE: &str = "221 2.0.0 closing connection";

pub(super) const TIMEOUT: &str = "451 4.4.2 Timeout - closing connection.";
pub(super) const UNKNOWN_COMMAND: &str = "502 5.5.1 Unrecognized command.";
pub(super) const SYNTAX: &str = "555-5.5.2 Syntax error, cannot decode response. For more information, go to\n\
    555 5.5.2  https://support.google.com/a/answer/3221692 and review RFC 5321 specifications.";
pub(super) const TOO_CHATTY: &str = "554 5.7.0 Too Many Unauthenticated commands.";

pub(super) const EHLO_FIRST: &str = "503 5.5.1 EHLO/HELO first.";
pub(super) const MAIL_FIRST: &str = "503 5.5.1 MAIL first.";
pub(super) const RCPT_FIRST: &str = "503 5.5.1 RCPT first.";
pub(super) const MAIL_TWICE: &str = "503 5.5.1 Bad sequence of commands: sender already given.";
pub(super) const DATA_AFTER_BDAT: &str = "503 5.5.1 Bad sequence of commands: DATA after BDAT.";
pub(super) const EARLY_CONTENT: &str = "451 4.5.0 SMTP protocol violation, see RFC 2920.";

pub(super) const EHLO_EMPTY: &str = "501 5.5.4 Empty HELO/EHLO argument not allowed, closing connection.";
pub(super) const EHLO_LOCALHOST: &str = "421 4.7.0 Try again later, closing connection. (EHLO)";

pub(super) const STARTTLS_ARGUMENT: &str = "501 5.7.11 STARTTLS: no parameters allowed (RFC 3207).";
pub(super) const STARTTLS_TWICE: &str = "454 5.5.1 STARTTLS may not be repeated.";
pub(super) const STARTTLS_PIPELINED: &str =
    "454 4.5.0 SMTP protocol violation, no commands allowed to pipeline after STARTTLS, see RFC 3207.";
pub(super) const STARTTLS_FIRST: &str = "530 5.7.0 Must issue a STARTTLS command first.";

pub(super) const AUTH_REQUIRED: &str = "530-5.5.1 Authentication Required. For more information, go to\n\
    530 5.5.1  https://support.google.com/mail/?p=WantAuthError";
pub(super) const BAD_CREDENTIALS: &str = "535-5.7.8 Username and Password not accepted. For more information, go to\n\
    535 5.7.8  https://support.google.com/mail/?p=BadCredentials";
pub(super) const AUTH_TWICE: &str = "503 5.7.0 No identity changes permitted.";
pub(super) const AUTH_UNKNOWN: &str = "504 5.7.4 Unrecognized Authentication Type.";
pub(super) const XOAUTH_OVER: &str = "504 5.7.4 XOAUTH is no longer supported.";
pub(super) const AUTH_UNDECODABLE: &str = "501 5.5.2 Cannot Decode response.";
pub(super) const AUTH_LOGIN_ARGUMENT: &str = "535 5.5.4 Optional Argument not permitted for that AUTH mode.";
/// `Username:` and `Password:` in base64.
pub(super) const ASK_USER: &str = "334 VXNlcm5hbWU6";
pub(super) const ASK_PASSWORD: &str = "334 UGFzc3dvcmQ6";
pub(super) const ASK: &str = "334 ";
/// What the 334 after a refused token decodes to.
pub(super) const TOKEN_REFUSED: &str = r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;

pub(super) const TOO_MANY_RECIPIENTS: &str = "452-4.5.3 Your message has too many recipients. For more information \
    regarding\n452-4.5.3 Google's sending limits, go to\n452 4.5.3  https://support.google.com/mail/?p=TooManyRecipientsError";
pub(super) const TOO_LARGE: &str = "552-5.2.3 Your message exceeded Google's message size limits. To view our\n\
    552-5.2.3 message size guidelines, go to\n552 5.2.3  https://support.google.com/mail/?p=MaxSizeError";
pub(super) const TOO_MANY_HOPS: &str = "554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop.";
pub(super) const MALFORMED: &str = "554 5.6.0 Mail message is malformed. Not accepted.";
pub(super) const HEADER_TOO_LARGE: &str =
    "552 5.3.4 Your message's headers exceed Google's limits on header size and number.";

/// `550 5.7.1`, as Gmail says it of a message that breaks RFC 5322; `what` is a sentence without its full stop.
pub(super) fn not_compliant(what: &str) -> String {
    format!(
        "550-5.7.1 Our system has detected that this message is not RFC 5322 compliant:\n550-5.7.1 {what}.\n\
         550-5.7.1 To reduce the amount of spam sent to Gmail, this message has been blocked. For more information, \
         go to\n550 5.7.1  https://support.google.com/mail/?p=RfcMessageNonCompliant"
    )
}

/// `501 5.5.4`: the EHLO argument is not a name.
pub(super) fn bad_ehlo(argument: &str) -> String {
    format!("501 5.5.4 HELO/EHLO argument \"{argument}\" invalid, closing connection.")
}

/// `553 5.1.7`: MAIL without a usable address.
pub(super) fn bad_sender(address: &str) -> String {
    format!("553 5.1.7 The sender address <{address}> is not a valid RFC 5321 address.")
}

/// `553 5.1.3`: RCPT without a usable address.
pub(super) fn bad_recipient(address: &str) -> String {
    format!("553 5.1.3 The recipient address <{address}> is not a valid RFC 5321 address.")
}

/// `553 5.1.2`: RCPT with a domain that cannot be in the DNS.
pub(super) fn no_such_domain(domain: &str) -> String {
    format!("553 5.1.2 We weren't able to find the recipient domain {domain}. Please check for any spelling errors.")
}
