//! What Gmail says about the connection, the protocol and the login (gmail.md, sections 5.1 and 5.2).

use std::time::Duration;

use super::{BEFORE_RCPT, CONNECT, EHLO_NAME, LATER, LESS_AT_ONCE, MAIL, NEW_APP_PASSWORD, OUR_BUG, ROW};
use crate::upstream::trouble::Limit;
use crate::upstream::verdict::{Row, Stage, Verdict};

pub(super) const ROWS: &[Row] = &[
    // 5.1: connection and protocol.
    Row {
        stages: CONNECT,
        codes: &[421],
        words: &["(ehlo)"],
        example: "421 4.7.0 Try again later, closing connection. (EHLO)",
        verdict: Verdict::PauseForConfiguration,
        meaning: "Gmail does not accept the name that the relay greets it with.",
        cure: EHLO_NAME,
        ..ROW
    },
    Row {
        codes: &[421],
        words: &["connection expired"],
        example: "421 4.7.0 Connection expired, try reconnecting.",
        verdict: Verdict::Reconnect,
        meaning: "The connection was open for as long as Gmail allows.",
        ..ROW
    },
    Row {
        codes: &[421, 451],
        words: &["temporary system problem", "server busy"],
        example: "421 4.3.0 Temporary System Problem. Try again later (10).",
        verdict: Verdict::SlowAccount,
        meaning: "Gmail is busy or has a fault, or finds that too much comes at once.",
        cure: LESS_AT_ONCE,
        ..ROW
    },
    // Said to content it may be about that content: it has to be able to run out of patience.
    Row {
        stages: LATER,
        codes: &[451],
        words: &["server temporarily rejected"],
        example: "451 4.3.0 Mail server temporarily rejected message.",
        verdict: Verdict::RetryLater,
        meaning: "Gmail does not take this message for the moment.",
        ..ROW
    },
    Row {
        stages: BEFORE_RCPT,
        codes: &[451],
        words: &["server temporarily rejected"],
        example: "451 4.3.0 Mail server temporarily rejected message.",
        verdict: Verdict::SlowAccount,
        meaning: "Gmail takes no mail for the moment.",
        cure: LESS_AT_ONCE,
        ..ROW
    },
    Row {
        codes: &[421],
        words: &["not in whitelist for rcpt domain", "tls required for rcpt domain"],
        example: "421 4.7.0 TLS required for RCPT domain, closing connection.",
        verdict: Verdict::RetryLater,
        meaning: "The recipient's domain has a rule that this connection does not meet.",
        cure: "The recipient's administrator can tell which.",
        ..ROW
    },
    Row {
        codes: &[451],
        words: &["timeout - closing connection"],
        example: "451 4.4.2 Timeout - closing connection.",
        verdict: Verdict::Reconnect,
        meaning: "The connection was idle for longer than Gmail allows.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[451],
        words: &["multiple destination domains per transaction"],
        example: "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.",
        verdict: Verdict::Split,
        meaning: "Gmail wants the domains of the recipients one by one.",
        ..ROW
    },
    Row {
        codes: &[451],
        words: &["protocol violation"],
        example: "451 4.5.0 SMTP protocol violation, visit https://support.google.com/a/answer/3221692.",
        verdict: Verdict::RetryLater,
        // Refused in the end, as all that is tried in vain.
        meaning: "Gmail finds that the relay broke the protocol.",
        cure: OUR_BUG,
        ..ROW
    },
    Row {
        codes: &[454, 523, 525],
        words: &["no commands allowed to pipeline after starttls"],
        example: "454 4.5.0 SMTP protocol violation, no commands allowed to pipeline after STARTTLS, see RFC 3207.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail received something in the clear behind STARTTLS: something on the way adds to what we say.",
        cure: "Use port 465, where TLS starts at once, and look for a proxy or firewall that changes mail traffic.",
        ..ROW
    },
    Row {
        codes: &[454, 501],
        words: &["starttls may not be repeated", "no parameters allowed"],
        example: "454 5.5.1 STARTTLS may not be repeated.",
        verdict: Verdict::PauseAccount,
        meaning: "TLS was asked for twice, or in a form that Gmail does not take.",
        cure: OUR_BUG,
        ..ROW
    },
    Row {
        stages: &[Stage::Auth],
        codes: &[501],
        words: &["cannot decode"],
        example: "501 5.5.2 Cannot Decode response.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "Gmail could not read the login.",
        cure: "Check user and app_password for characters that do not belong there.",
        ..ROW
    },
    Row {
        stages: CONNECT,
        codes: &[501],
        words: &["helo/ehlo argument"],
        example: "501 5.5.4 HELO/EHLO argument \"my_host\" invalid, closing connection.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "The name that the relay greets Gmail with is not a host name.",
        cure: EHLO_NAME,
        ..ROW
    },
    Row {
        codes: &[502, 503],
        example: "503 5.5.1 Bad sequence of commands.",
        verdict: Verdict::Reconnect,
        meaning: "Gmail and the relay disagree about where the conversation stands.",
        ..ROW
    },
    Row {
        stages: &[Stage::Auth],
        codes: &[504],
        example: "504 5.7.4 Unrecognized Authentication Type.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "The server does not offer the kind of login that the relay uses.",
        cure: "Check that `host` is smtp.gmail.com.",
        ..ROW
    },
    Row {
        codes: &[554],
        words: &["too many unauthenticated commands"],
        example: "554 5.7.0 Too Many Unauthenticated commands.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "The relay talked to Gmail for too long without a login.",
        cure: "Check that user and app_password of the account are set.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[555],
        words: &["syntax error", "cannot decode response"],
        example: "555 5.5.2 Syntax error, cannot decode response.",
        verdict: Verdict::RefuseMessage,
        meaning: "Gmail cannot read an address of the envelope.",
        cure: "Correct the address in the program that sends.",
        ..ROW
    },
    // 5.2: login. Never the fault of a message.
    Row {
        stages: &[Stage::Auth],
        codes: &[334],
        words: &["eyj"],
        example: "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0=",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail refused an access token: expired, of another user, or without the scope https://mail.google.com/.",
        cure: "Use an app password, or make a new token with that scope for this user.",
        ..ROW
    },
    Row {
        codes: &[454],
        words: &["too many login attempts"],
        example: "454 4.7.0 Too many login attempts, please try again later.",
        verdict: Verdict::HoldAccount(Limit::AtLeast(Duration::from_mins(15))),
        meaning: "There were more logins than Gmail allows in so short a time.",
        cure: "Stop other programs that log in to this account; every try prolongs it.",
        ..ROW
    },
    Row {
        codes: &[454],
        words: &["cannot authenticate due to temporary system problem"],
        example: "454 4.7.0 Cannot authenticate due to temporary system problem. Try again later.",
        verdict: Verdict::RetryLater,
        meaning: "Gmail cannot check logins now.",
        ..ROW
    },
    Row {
        codes: &[530],
        words: &["starttls"],
        example: "530 5.7.0 Must issue a STARTTLS command first.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "Gmail wants TLS before anything else.",
        cure: "Set `port` to 465, or `tls` of the account to \"starttls\".",
        ..ROW
    },
    Row {
        codes: &[530],
        example: "530 5.5.1 Authentication Required. For more information, go to \
            https://support.google.com/mail/?p=WantAuthError",
        verdict: Verdict::PauseForConfiguration,
        meaning: "Gmail wants a login, and none was made.",
        cure: "Check that user and app_password of the account are set, and that `host` is smtp.gmail.com.",
        ..ROW
    },
    Row {
        codes: &[534, 535],
        words: &["application-specific password required", "p=invalidsecondfactor"],
        example: "534 5.7.9 Application-specific password required. For more information, go to \
            https://support.google.com/mail/?p=InvalidSecondFactor",
        verdict: Verdict::PauseAccount,
        meaning: "The account's own password was used where Gmail wants an app password.",
        cure: NEW_APP_PASSWORD,
        ..ROW
    },
    Row {
        codes: &[534, 535],
        words: &["web browser", "p=webloginrequired"],
        example: "534 5.7.9 Please log in with your web browser and then try again. For more information, go to \
            https://support.google.com/mail/?p=WebLoginRequired",
        verdict: Verdict::PauseAccount,
        meaning: "Google does not trust this login.",
        cure: "Sign in to the account with a browser, confirm the security alert, and use an app password.",
        ..ROW
    },
    Row {
        codes: &[535],
        words: &["optional argument not permitted"],
        example: "535 5.5.4 Optional Argument not permitted for that AUTH mode.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail does not take the login in this form.",
        cure: OUR_BUG,
        ..ROW
    },
    Row {
        codes: &[534, 535],
        example: "535 5.7.8 Username and Password not accepted. For more information, go to \
            https://support.google.com/mail/?p=BadCredentials",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail does not accept this user with this password.",
        cure: NEW_APP_PASSWORD,
        ..ROW
    },
];
