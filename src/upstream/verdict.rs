//! The judge: what Gmail's replies and the network's failures mean, and what is to be done about them.
//!
//! Pure. The rules are [`TABLE`], read from the top; what is not in it is judged by its first digit. Two things hold
//! whatever Gmail says: only an answer about a message can refuse it, so nothing about an account ever bounces mail
//! (README, promise 3); and a reply that nobody knows is tried again. A code alone is no verdict: `550 5.4.5` is a
//! limit that frees itself, `421 4.7.0 (EHLO)` never heals (gmail.md, section 0).

use std::fmt;
use std::time::Duration;

use crate::mail::{Enhanced, Outcome, Reply, Timestamp, Why};

pub use super::verdict_table::TABLE;

/// What Gmail was answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection itself, before any greeting.
    Connect,
    Greeting,
    Ehlo,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The end of the content.
    Dot,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Stage; 9] = [
        Stage::Connect,
        Stage::Greeting,
        Stage::Ehlo,
        Stage::Starttls,
        Stage::Auth,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Dot,
    ];

    /// Whether the answer can be about a message; before MAIL it is about the account or the connection.
    #[must_use]
    pub fn is_about_mail(self) -> bool {
        matches!(self, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot)
    }
}

/// As an operator says it.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Connect => "connect",
            Stage::Greeting => "greeting",
            Stage::Ehlo => "EHLO",
            Stage::Starttls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Mail => "MAIL",
            Stage::Rcpt => "RCPT",
            Stage::Data => "DATA",
            Stage::Dot => "end of message",
        })
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Gmail took it.
    Delivered,
    /// Try later, with the usual patience.
    RetryLater,
    /// This recipient will never get it; the others may.
    RefuseRecipient,
    /// Nobody will ever get this message.
    RefuseMessage,
    /// Too much for one transaction: the rest goes in another. Where there is nothing left to split, try later.
    Split,
    /// The session had gone stale: connect anew at once, counting no attempt. The second time in a row, try later.
    Reconnect,
    /// The account waits until somebody acts; its mail waits with it.
    PauseAccount,
    /// The account waits until its limit frees; its mail waits with it.
    HoldAccount,
}

impl Verdict {
    /// What the relay does, as half a sentence.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Verdict::Delivered => "counts the message as delivered",
            Verdict::RetryLater => "keeps the message and tries again later",
            Verdict::RefuseRecipient => "gives up on this recipient and tells the sender",
            Verdict::RefuseMessage => "gives up on the message and tells the sender",
            Verdict::Split => "sends the rest in another transaction",
            Verdict::Reconnect => "connects anew and tries again at once",
            Verdict::PauseAccount => "keeps all mail and pauses the account until somebody acts",
            Verdict::HoldAccount => "keeps all mail and holds the account until the limit frees",
        }
    }
}

/// One kind of reply, and what it means. A reply belongs to the first row that it fits in every respect.
#[derive(Debug)]
pub struct Row {
    /// Where Gmail may say it; empty for anywhere.
    pub stages: &'static [Stage],
    /// The three digits: one of these.
    pub codes: &'static [u16],
    /// The enhanced code: one of these; empty for any or none, as Gmail changes them over the years.
    pub enhanced: &'static [Enhanced],
    /// The words: at least one of these is in them; in lower case, empty for any words.
    pub words: &'static [&'static str],
    /// What it looks like. A test sees to it that the row is the first to fit this.
    pub example: &'static str,
    pub verdict: Verdict,
    /// What it means, in one sentence for the user.
    pub meaning: &'static str,
    /// What the user can do; empty where there is nothing to do.
    pub cure: &'static str,
}

impl Row {
    /// Whether `reply`, given at `stage`, is of this kind.
    #[must_use]
    pub fn fits(&self, stage: Stage, reply: &Reply) -> bool {
        (self.stages.is_empty() || self.stages.contains(&stage)) && self.fits_reply(reply, &reply.text().to_lowercase())
    }

    fn fits_reply(&self, reply: &Reply, words: &str) -> bool {
        self.codes.contains(&reply.code())
            && (self.enhanced.is_empty() || reply.enhanced().is_some_and(|code| self.enhanced.contains(&code)))
            && (self.words.is_empty() || self.words.iter().any(|part| words.contains(part)))
    }
}

/// What a reply means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// In one sentence for the user.
    pub meaning: &'static str,
    /// What the user can do; empty where there is nothing to do.
    pub cure: &'static str,
}

/// Judges what Gmail answered at `stage`. To be asked of the last reply to a command, not of 334 and 354.
#[must_use]
pub fn judge(stage: Stage, reply: &Reply) -> Judgement {
    let judgement = match TABLE.iter().find(|row| row.fits(stage, reply)) {
        Some(row) => Judgement { verdict: row.verdict, meaning: row.meaning, cure: row.cure },
        None => judge_by_digit(stage, reply),
    };
    Judgement { verdict: narrow(stage, judgement.verdict), ..judgement }
}

/// Judges a reply of which nobody knows what it answered, as people paste it from a log.
#[must_use]
pub fn judge_anywhere(reply: &Reply) -> Judgement {
    let words = reply.text().to_lowercase();
    match TABLE.iter().find(|row| row.fits_reply(reply, &words)) {
        Some(row) => Judgement { verdict: row.verdict, meaning: row.meaning, cure: row.cure },
        None => judge_by_digit(Stage::Dot, reply),
    }
}

/// RFC 5321 §4.2.1: what the first digit says.
fn judge_by_digit(stage: Stage, reply: &Reply) -> Judgement {
    let (verdict, meaning, cure) = match reply.code() {
        200..300 => (Verdict::Delivered, "Gmail accepted it.", ""),
        400..500 => (Verdict::RetryLater, "Gmail could not do it now.", ""),
        500..600 if stage.is_about_mail() => (Verdict::RefuseMessage, "Gmail refused it for good.", ""),
        500..600 => (
            Verdict::PauseAccount,
            "Gmail refused the connection or the login for a reason that is not known here.",
            "Look at the words of the reply, and at host, port, user and app_password of the account.",
        ),
        _ => (Verdict::RetryLater, "The reply is not one that a mail server may give.", ""),
    };
    Judgement { verdict, meaning, cure }
}

/// A refusal is as wide as what was asked: RCPT asks for one recipient, MAIL, DATA and the dot for the message. What is
/// said before is said of the account, and refuses no message.
fn narrow(stage: Stage, verdict: Verdict) -> Verdict {
    match (verdict, stage) {
        (Verdict::RefuseRecipient | Verdict::RefuseMessage, Stage::Rcpt) => Verdict::RefuseRecipient,
        (Verdict::RefuseRecipient | Verdict::RefuseMessage, _) if stage.is_about_mail() => Verdict::RefuseMessage,
        (Verdict::RefuseRecipient | Verdict::RefuseMessage, _) => Verdict::PauseAccount,
        (verdict, _) => verdict,
    }
}

/// How an account stands in the way of its mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// Until somebody acts.
    Paused,
    /// Until its limit frees.
    OverLimit,
    /// Until Gmail can be reached again, or has time.
    Unreachable,
}

/// What is wrong with an account, or with the way to Gmail. It never counts against a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// What it means, with Gmail's own words.
    pub reason: String,
    /// What the user can do; may be empty.
    pub cure: String,
    /// When it is known to be over, where that is known.
    pub until: Option<Timestamp>,
}

impl Trouble {
    /// The word for it in the log and in `status`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.kind {
            TroubleKind::Paused => "paused",
            TroubleKind::OverLimit => "over_limit",
            TroubleKind::Unreachable => "unreachable",
        }
    }

    /// Whether it usually passes without anybody acting, and soon.
    #[must_use]
    pub fn mends_itself(&self) -> bool {
        self.kind == TroubleKind::Unreachable
    }
}

impl Judgement {
    /// What `reply`, which was judged, makes of the recipients it was about.
    #[must_use]
    pub fn outcome(&self, reply: &Reply) -> Outcome {
        match self.verdict {
            Verdict::Delivered => Outcome::Delivered(reply.clone()),
            Verdict::RefuseRecipient | Verdict::RefuseMessage => Outcome::Refused(Why::Reply(reply.clone())),
            Verdict::RetryLater
            | Verdict::Split
            | Verdict::Reconnect
            | Verdict::PauseAccount
            | Verdict::HoldAccount => Outcome::Deferred(Why::Reply(reply.clone())),
        }
    }

    /// The trouble that `reply`, which was judged, means for the account; `None` where the account is fine.
    #[must_use]
    pub fn trouble(&self, reply: &Reply) -> Option<Trouble> {
        match self.verdict {
            Verdict::PauseAccount => Some(self.trouble_of(TroubleKind::Paused, reply)),
            Verdict::HoldAccount => Some(self.trouble_of(TroubleKind::OverLimit, reply)),
            _ => None,
        }
    }

    /// The trouble that a reply means which came before anything was said about a message: whatever it is, nothing
    /// gets through.
    #[must_use]
    pub fn trouble_before_mail(&self, reply: &Reply) -> Trouble {
        self.trouble(reply).unwrap_or_else(|| self.trouble_of(TroubleKind::Unreachable, reply))
    }

    fn trouble_of(&self, kind: TroubleKind, reply: &Reply) -> Trouble {
        Trouble { kind, reason: format!("{} ({reply})", self.meaning), cure: self.cure.to_owned(), until: None }
    }
}

/// Why there was no answer. All of these pass, and count against no message and no recipient.
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
    /// No answer within this time.
    #[must_use]
    pub fn late(stage: Stage, after: Duration) -> Fault {
        Fault::Timeout { stage, seconds: after.as_secs() }
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
        let (reason, cure) = (self.to_string(), self.cure().to_owned());
        Trouble { kind: TroubleKind::Unreachable, reason, cure, until: None }
    }

    /// What the user can do about it (gmail.md, section 9, rows 12, 18 and 19; section 7).
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Fault::Dns(_) => {
                "Check `host` of the account and the DNS of this machine; in a container, the DNS that it was given."
            }
            Fault::Unreachable(_) => {
                "Check that this machine is online; in a container without IPv6, that its network has IPv4."
            }
            Fault::ConnectTimeout(_) => {
                "A firewall or the provider may block the port: try port 465 or 587, whichever is not in use now."
            }
            Fault::Refused(_) => "Check `host` and `port` of the account: Gmail listens on 465 and 587.",
            Fault::Tls(_) => {
                "Port and TLS mode may be swapped (465 is TLS on connect, 587 is STARTTLS), or something on the way \
                 intercepts TLS; then name its root in `ca_file`. A wrong clock spoils every certificate too."
            }
            Fault::NoStarttls(_) => {
                "Use port 465, which has TLS from the first byte; or look for a firewall or virus scanner on the way that \
                 takes STARTTLS away."
            }
            Fault::Timeout { .. } => {
                "If it stays, look for a firewall that holds connections up; large mail needs time."
            }
            Fault::Closed { stage: Stage::Connect | Stage::Greeting | Stage::Ehlo, .. } => {
                "Gmail hangs up on bad EHLO names: set `hostname` to a real host name. Or port and TLS mode are swapped \
                 (465 is TLS on connect, 587 is STARTTLS)."
            }
            Fault::Closed { .. } | Fault::Lacks(_) => "",
            Fault::Spool(_) => "Look at the disk that the spool is on.",
            Fault::Protocol(_) => {
                "Something else answers at this port: check `host` and `port`, and firewalls that inspect mail."
            }
        }
    }
}
