//! What Gmail says about limits and policy of the account (gmail.md, sections 5.3 and 5.6).

use std::time::Duration;

use super::{LATER, MAIL, ROW, SMTP_RELAY, WAIT_FOR_LIMIT, WRONG_HOST};
use crate::mail::Enhanced;
use crate::upstream::trouble::Limit;
use crate::upstream::verdict::{Row, Verdict};

/// Where a probe an hour is as often as is wise.
const AN_HOUR: Verdict = Verdict::HoldAccount(Limit::AtLeast(Duration::from_hours(1)));

/// `x.7.23` to `x.7.32`: what a server that delivers without login has to fulfil (gmail.md, section 5.6).
const SENDER_RULES: [Enhanced; 20] = {
    let mut codes = [Enhanced(4, 7, 23); 20];
    let mut nth: u16 = 0;
    while nth < 10 {
        codes[nth as usize] = Enhanced(4, 7, 23 + nth);
        codes[nth as usize + 10] = Enhanced(5, 7, 23 + nth);
        nth += 1;
    }
    codes
};

pub(super) const ROWS: &[Row] = &[
    // 5.3: limits and policy. Never the fault of a message, whatever the first digit says.
    // The limit of all users of a customer together: what this account has sent says nothing about it.
    Row {
        codes: &[550],
        words: &["exceeded for customer"],
        example: "550 5.7.1 Daily SMTP relay sending limit exceeded for customer.",
        verdict: AN_HOUR,
        meaning: "This organisation has relayed as much mail as Google allows in 24 hours.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["daily smtp relay"],
        example: "550 5.4.5 Daily SMTP relay limit exceeded for user.",
        verdict: Verdict::HoldAccount(Limit::Day),
        meaning: "This user has relayed as much mail as Google allows in 24 hours.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["sending limit exceeded", "sending quota exceeded", "p=dailylimit"],
        example: "550 5.4.5 Daily user sending limit exceeded.",
        verdict: Verdict::HoldAccount(Limit::Day),
        meaning: "The account has sent as much mail as Gmail allows in 24 hours.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[550],
        enhanced: &[Enhanced(5, 4, 5)],
        example: "550 5.4.5 You have reached a limit for sending mail.",
        verdict: Verdict::HoldAccount(Limit::Day),
        meaning: "The account has sent as much mail as Gmail allows for now.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[450],
        words: &["peak smtp relay limit exceeded"],
        example: "450 4.2.1 Peak SMTP relay limit exceeded for customer.",
        verdict: Verdict::HoldAccount(Limit::AtLeast(Duration::from_mins(10))),
        meaning: "This organisation relays more mail at once than Google allows in ten minutes.",
        cure: "Nothing to do: it frees within ten minutes.",
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["email quota exceeded"],
        example: "550 5.7.1 Email quota exceeded.",
        verdict: AN_HOUR,
        meaning: "A limit of the account was reached: on sending, or on storage.",
        cure: "See whether the storage of the account is full at https://one.google.com/storage; if not, just wait.",
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["mail sending denied"],
        example: "550 5.7.0 Mail Sending denied.",
        verdict: Verdict::PauseAccount,
        meaning: "The account may not send mail: it was disabled, or is not a member of the Workspace domain.",
        cure: "Sign in to the account with a browser, or ask the administrator of the domain.",
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["mail relay denied"],
        example: "550 5.7.0 Mail relay denied [203.0.113.7].",
        verdict: Verdict::PauseForConfiguration,
        meaning: "Google does not know this machine as one that may relay.",
        cure: SMTP_RELAY,
        ..ROW
    },
    // Mail from nobody is no exception: it is sent after a login too.
    Row {
        codes: &[550],
        words: &["invalid credentials for relay"],
        example: "550 5.7.1 Invalid credentials for relay [203.0.113.7].",
        verdict: Verdict::PauseForConfiguration,
        meaning: "The machine is known to Google, but the sender's domain is not one of this customer.",
        cure: SMTP_RELAY,
        ..ROW
    },
    Row {
        codes: &[421, 550],
        words: &["same message-id"],
        example: "421 4.7.28 Gmail has detected this message exceeded its quota for sending messages with the same \
            Message-ID.",
        verdict: Verdict::RetryLater,
        meaning: "Too many messages had the same Message-ID.",
        cure: "Make the program that sends give each message a Message-ID of its own, or none.",
        ..ROW
    },
    Row {
        codes: &[421, 550],
        words: &["unusual rate of"],
        example: "550 5.7.1 Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
        verdict: AN_HOUR,
        meaning: "Gmail finds the amount of mail unusual and wants less.",
        cure: "See which client sends so much with `smarthost history`, and lower daily_limit.",
        ..ROW
    },
    Row {
        stages: LATER,
        codes: &[452],
        words: &["too many recipients"],
        example: "452 4.5.3 Your message has too many recipients.",
        verdict: Verdict::Split,
        meaning: "The transaction has more recipients than Gmail takes at once.",
        ..ROW
    },
    Row {
        stages: LATER,
        codes: &[550],
        words: &["too many recipients"],
        example: "550 5.5.3 Too many recipients for this sender.",
        verdict: Verdict::Split,
        meaning: "The transaction has more recipients than Gmail takes from this sender.",
        cure: "If it stays, the account has reached its limit; wait, or lower daily_limit.",
        ..ROW
    },
    Row {
        stages: LATER,
        codes: &[452],
        words: &["domain policy size per transaction exceeded"],
        example: "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate \
            transaction.",
        verdict: Verdict::Split,
        meaning: "A domain wants this recipient in a transaction of its own.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["policy that prohibited the mail"],
        example: "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail \
            that you sent. - gcdp",
        verdict: Verdict::RefuseMessage,
        meaning: "A rule that an administrator made, of the sender's or the recipient's domain, forbids this message.",
        cure: "The administrator of the domain can tell which rule.",
        ..ROW
    },
    // 5.6: what only servers without login should hear. A recipient is not to blame for it.
    Row {
        codes: &[421, 450, 550],
        words: &["not authorized to send email directly", "ipv6 sending guidelines"],
        example: "550 5.7.1 The IP you're using to send mail is not authorized to send email directly to our servers.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "The relay talks to a server of Gmail's that takes mail from other providers only.",
        cure: WRONG_HOST,
        ..ROW
    },
    Row {
        codes: &[421, 450, 451, 550],
        enhanced: &SENDER_RULES,
        example: "550 5.7.26 Your email has been blocked because the sender is unauthenticated.",
        verdict: Verdict::PauseForConfiguration,
        meaning: "Gmail wants SPF, DKIM, DMARC, TLS or a host name, as of a server that delivers without login.",
        cure: WRONG_HOST,
        ..ROW
    },
];
