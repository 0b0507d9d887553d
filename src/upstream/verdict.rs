//! The judge: what Gmail's replies mean, and what is to be done about them.
//!
//! Pure. The rules are [`rows`], read from the top; what fits none of them is judged by its first digit. Two things hold
//! whatever Gmail says: only an answer about a message can refuse it, so nothing about an account ever bounces mail
//! (README, promise 3); and a reply that nobody knows is tried again. A code alone is no verdict: `550 5.4.5` is a
//! limit that frees itself, `421 4.7.0 (EHLO)` never heals (gmail.md, section 0).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use super::replies::rows;
use super::trouble::{Limit, Trouble, TroubleKind};
use crate::mail::{Enhanced, Outcome, Reply, Why};

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
    /// Try once more; after that this recipient will never get it.
    RetryOnce,
    /// Try later, and send less at once until Gmail no longer minds.
    SlowAccount,
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
    /// The same, and what has to be done is in the configuration.
    PauseForConfiguration,
    /// The account waits until its limit frees; its mail waits with it.
    HoldAccount(Limit),
}

impl Verdict {
    /// What the relay does, as half a sentence.
    #[must_use]
    pub fn action(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Verdict::Delivered => "counts the message as delivered",
            Verdict::RetryLater => "keeps the message and tries again later",
            Verdict::RetryOnce => "tries once more, then gives up on this recipient and tells the sender",
            Verdict::SlowAccount => "keeps the message, tries again later, and sends over one connection for a while",
            Verdict::RefuseRecipient => "gives up on this recipient and tells the sender",
            Verdict::RefuseMessage => "gives up on the message and tells the sender",
            Verdict::Split => "sends the rest in another transaction",
            Verdict::Reconnect => "connects anew and tries again at once",
            Verdict::PauseAccount => "keeps all mail and pauses the account until somebody acts",
            Verdict::PauseForConfiguration => {
                "keeps all mail and pauses the account until the configuration is corrected"
            }
            Verdict::HoldAccount(Limit::Day) => "keeps all mail and holds the account until the limit frees",
            Verdict::HoldAccount(Limit::AtLeast(time)) => return Cow::Owned(held_for(time)),
        })
    }
}

fn held_for(time: Duration) -> String {
    format!("keeps all mail and holds the account until the limit frees, for {} minutes or longer", time.as_secs() / 60)
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
        self.fits_stage(stage) && self.fits_reply(reply, &reply.text().to_lowercase())
    }

    fn fits_stage(&self, stage: Stage) -> bool {
        self.stages.is_empty() || self.stages.contains(&stage)
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
    let judgement = look_up(reply, |row| row.fits_stage(stage)).unwrap_or_else(|| judge_by_digit(stage, reply));
    Judgement { verdict: narrow(stage, judgement.verdict), ..judgement }
}

/// Judges a reply of which nobody knows what it answered, as people paste it from a log.
#[must_use]
pub fn judge_anywhere(reply: &Reply) -> Judgement {
    look_up(reply, |_| true).unwrap_or_else(|| judge_by_digit(Stage::Dot, reply))
}

/// Whether a reply is of a kind that is known, wherever it was said.
#[must_use]
pub fn is_known(reply: &Reply) -> bool {
    look_up(reply, |_| true).is_some()
}

/// The first row that fits. Good news is in none, and is most of what is heard.
fn look_up(reply: &Reply, may_fit: impl Fn(&Row) -> bool) -> Option<Judgement> {
    if reply.code() < 300 {
        return None;
    }
    let words = reply.text().to_lowercase();
    let row = rows().find(|row| may_fit(row) && row.fits_reply(reply, &words))?;
    Some(Judgement { verdict: row.verdict, meaning: row.meaning, cure: row.cure })
}

/// RFC 5321 §4.2.1: what the first digit says.
fn judge_by_digit(stage: Stage, reply: &Reply) -> Judgement {
    let (verdict, meaning, cure) = match reply.code() {
        200..300 => (Verdict::Delivered, "Gmail accepted it.", ""),
        // A 421 of any kind is in the table.
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
    use Verdict::{PauseAccount, RefuseMessage, RefuseRecipient, RetryOnce};
    match (verdict, stage) {
        (RefuseRecipient | RefuseMessage, Stage::Rcpt) => RefuseRecipient,
        (RefuseRecipient | RefuseMessage, _) if stage.is_about_mail() => RefuseMessage,
        (RefuseRecipient | RefuseMessage | RetryOnce, _) if !stage.is_about_mail() => PauseAccount,
        (verdict, _) => verdict,
    }
}

impl Judgement {
    /// What `reply`, which was judged, makes of the recipients it was about; `first_try`: no attempt of the message was
    /// counted before.
    #[must_use]
    pub fn outcome(&self, reply: &Reply, first_try: bool) -> Outcome {
        let why = Why::Reply(reply.clone());
        match self.verdict {
            Verdict::Delivered => Outcome::Delivered(reply.clone()),
            Verdict::RefuseRecipient | Verdict::RefuseMessage => Outcome::Refused(why),
            Verdict::RetryOnce if !first_try => Outcome::Refused(why),
            Verdict::RetryLater
            | Verdict::RetryOnce
            | Verdict::SlowAccount
            | Verdict::Split
            | Verdict::Reconnect
            | Verdict::PauseAccount
            | Verdict::PauseForConfiguration
            | Verdict::HoldAccount(_) => Outcome::Deferred(why),
        }
    }

    /// The trouble that `reply`, which was judged, means for the account; `None` where the account is fine.
    #[must_use]
    pub fn trouble(&self, reply: &Reply) -> Option<Trouble> {
        let kind = match self.verdict {
            Verdict::SlowAccount => TroubleKind::Slowed,
            Verdict::PauseAccount => TroubleKind::Paused,
            Verdict::PauseForConfiguration => TroubleKind::Misconfigured,
            Verdict::HoldAccount(limit) => TroubleKind::OverLimit(limit),
            _ => return None,
        };
        Some(self.trouble_of(kind, reply))
    }

    /// The trouble that a reply means which came before anything was said about a message: whatever it is, nothing
    /// gets through.
    #[must_use]
    pub fn trouble_before_mail(&self, reply: &Reply) -> Trouble {
        self.trouble(reply).unwrap_or_else(|| self.trouble_of(TroubleKind::Unreachable, reply))
    }

    fn trouble_of(&self, kind: TroubleKind, reply: &Reply) -> Trouble {
        let reason = format!("{} ({reply})", self.meaning);
        Trouble { kind, topic: self.meaning, reason, cure: self.cure.to_owned(), until: None }
    }
}
