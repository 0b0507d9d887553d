//! Faults on order: rules that say where the stand-in misbehaves, how, and how often.
//!
//! Pure but for its counters. Rules are data, or text with one rule a line:
//!
//! ```text
//! # stage [text to find] [times=N] [after=N] [delay=D] => what happens
//! rcpt bad@ => 550 5.1.1 no such user
//! mail => 550 5.4.5 Daily user sending limit exceeded
//! dot times=1 after=2 => lose
//! all delay=20ms
//! ```

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The place in a conversation where a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A connection came in; nothing was said, not even TLS. The text to match is `implicit` or `starttls`.
    Connect,
    /// The greeting is due. The text to match is the same.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    /// DATA, before the content. The text to match is the envelope.
    Data,
    /// The content is complete. The text to match is the envelope: sender and recipients.
    Dot,
    Rset,
    Noop,
    Quit,
    /// Any other command, such as BDAT, VRFY or an unknown one.
    Other,
    /// Every one of them.
    All,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This instead of Gmail's words, byte for byte; `\n` in it ends a line. A 2yz or 3yz does what was asked.
    Reply(String),
    /// All is well, but the answer comes this much later. Commands in one group wait together, as behind a slow line.
    DelayThen(Duration),
    /// The connection is closed; nothing is done or said.
    CloseBefore,
    /// It is done and answered, then the connection is closed.
    CloseAfter,
    /// It is done, and the connection is closed without an answer: the case that no client can tell from the former.
    LoseReply,
    /// No answer, ever; the connection stays open.
    Silent,
    /// At DATA: go ahead, then close the connection after this many bytes of content.
    CutContentAfter(usize),
    /// This answer, then the connection is closed.
    AnswerThenClose(String),
    /// Bytes that are no reply.
    Garbage,
    /// A reply with always one line more.
    EndlessReply,
    /// A reply whose first line does not end.
    EndlessLine,
}

/// One fault on order. The first rule that acts wins; delays add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it acts.
    pub when: Stage,
    /// Only where the argument of the command holds this, in any case.
    pub matching: Option<String>,
    /// How often it acts; `None` for always.
    pub times: Option<u32>,
    /// How many chances it lets pass first.
    pub after: u32,
    /// What happens then.
    pub act: Fault,
}

impl Rule {
    /// A rule that always acts at this stage.
    #[must_use]
    pub fn new(when: Stage, act: Fault) -> Rule {
        Rule { when, matching: None, times: None, after: 0, act }
    }

    fn fits(&self, stage: Stage, text: &str) -> bool {
        (self.when == stage || self.when == Stage::All)
            && self.matching.as_ref().is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
    }
}

/// Why a line is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule \"{line}\": {why}")]
pub struct RuleError {
    pub line: String,
    pub why: &'static str,
}

/// Reads rules from text, one a line; empty lines and lines that start with `#` are skipped.
///
/// # Errors
/// Names the first line that is not a rule.
pub fn parse(text: &str) -> Result<Vec<Rule>, RuleError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rules: Result<Vec<Vec<Rule>>, RuleError> =
        lines.map(|line| parse_line(line).map_err(|why| RuleError { line: line.to_owned(), why })).collect();
    Ok(rules?.concat())
}

/// A line that delays and acts is two rules.
fn parse_line(line: &str) -> Result<Vec<Rule>, &'static str> {
    let (left, act) = line.split_once("=>").map_or((line, None), |(left, act)| (left, Some(act.trim())));
    let mut words = left.split_whitespace();
    let when = words.next().ok_or("there is no stage")?.parse()?;
    let mut rule = Rule::new(when, Fault::CloseBefore);
    let mut delay = None;
    for word in words {
        match word.split_once('=') {
            Some(("times", count)) => rule.times = Some(count.parse().map_err(|_| "`times` takes a number")?),
            Some(("after", count)) => rule.after = count.parse().map_err(|_| "`after` takes a number")?,
            Some(("delay", time)) => {
                delay = Some(humantime::parse_duration(time).map_err(|_| "`delay` takes a time such as 20ms")?);
            }
            _ if rule.matching.is_none() => rule.matching = Some(word.to_owned()),
            _ => return Err("only one text to find is possible"),
        }
    }
    let delayed = delay.map(|time| Rule { act: Fault::DelayThen(time), ..rule.clone() });
    let acting = act.map(str::parse).transpose()?.map(|act| Rule { act, ..rule });
    match (delayed, acting) {
        (None, None) => Err("nothing happens: add `delay=20ms`, or `=>` and what is to happen"),
        rules => Ok([rules.0, rules.1].into_iter().flatten().collect()),
    }
}

impl FromStr for Stage {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Stage, &'static str> {
        Ok(match word.to_ascii_lowercase().as_str() {
            "connect" => Stage::Connect,
            "greeting" => Stage::Greeting,
            "ehlo" => Stage::Ehlo,
            "starttls" => Stage::Starttls,
            "auth" => Stage::Auth,
            "mail" => Stage::Mail,
            "rcpt" => Stage::Rcpt,
            "data" => Stage::Data,
            "dot" => Stage::Dot,
            "rset" => Stage::Rset,
            "noop" => Stage::Noop,
            "quit" => Stage::Quit,
            "other" => Stage::Other,
            "all" => Stage::All,
            _ => {
                return Err(
                    "the stage is one of connect, greeting, ehlo, starttls, auth, mail, rcpt, data, dot, rset, \
                            noop, quit, other, all",
                );
            }
        })
    }
}

impl FromStr for Fault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Fault, &'static str> {
        let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
        let answer = |text: &str| text.replace("\\n", "\n");
        match (word, rest) {
            ("close", "") => Ok(Fault::CloseBefore),
            ("close", "after") => Ok(Fault::CloseAfter),
            ("close", reply) => Ok(Fault::AnswerThenClose(answer(reply))),
            ("lose", "") => Ok(Fault::LoseReply),
            ("silent", "") => Ok(Fault::Silent),
            ("garbage", "") => Ok(Fault::Garbage),
            ("endless", "") => Ok(Fault::EndlessReply),
            ("endless", "line") => Ok(Fault::EndlessLine),
            ("cut", bytes) => bytes.parse().map(Fault::CutContentAfter).map_err(|_| "`cut` takes a number of bytes"),
            (code, _) if code.starts_with(|c: char| c.is_ascii_digit()) => Ok(Fault::Reply(answer(text))),
            _ => Err("what happens is a reply such as `550 5.1.1 no`, or one of close, close after, close REPLY, \
                      lose, silent, cut N, garbage, endless, endless line"),
        }
    }
}

/// What is to happen at one place of one conversation.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub delay: Duration,
    /// Anything but [`Fault::DelayThen`].
    pub fault: Option<Fault>,
}

/// The rules in force, with how often each had its chance.
#[derive(Debug, Default)]
pub(super) struct Script {
    armed: Mutex<Vec<(Rule, u32)>>,
    /// Whether there is any rule: without one, nothing is locked and no text is built.
    armed_at_all: AtomicBool,
}

impl Script {
    /// Replaces all rules; counting starts anew.
    pub fn replace(&self, rules: Vec<Rule>) {
        let mut armed = self.lock();
        self.armed_at_all.store(!rules.is_empty(), Ordering::Release);
        *armed = rules.into_iter().map(|rule| (rule, 0)).collect();
    }

    /// What is to happen at `stage`; `text` is what rules may look into.
    pub fn turn(&self, stage: Stage, text: impl FnOnce() -> String) -> Turn {
        let mut turn = Turn::default();
        if !self.armed_at_all.load(Ordering::Acquire) {
            return turn;
        }
        let text = text();
        for (rule, chances) in self.lock().iter_mut().filter(|(rule, _)| rule.fits(stage, &text)) {
            *chances = chances.saturating_add(1);
            let spent = rule.times.is_some_and(|times| *chances > rule.after.saturating_add(times));
            if *chances <= rule.after || spent {
                continue;
            }
            match &rule.act {
                Fault::DelayThen(time) => turn.delay += *time,
                fault => {
                    turn.fault = Some(fault.clone());
                    break;
                }
            }
        }
        turn
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Rule, u32)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_rule_is_read() {
        let rules = parse(
            "# a comment\n\nrcpt bad@ => 550 5.1.1 no\nDOT times=1 after=2 => lose\nall delay=20ms\n\
             ehlo delay=1s => close 421 4.7.0 a\\n421 b\ndata => cut 1000\nmail => endless line",
        )
        .unwrap();
        let reply = |text: &str| Fault::Reply(text.into());
        assert_eq!(rules[0], Rule { matching: Some("bad@".into()), ..Rule::new(Stage::Rcpt, reply("550 5.1.1 no")) });
        assert_eq!(rules[1], Rule { times: Some(1), after: 2, ..Rule::new(Stage::Dot, Fault::LoseReply) });
        assert_eq!(rules[2], Rule::new(Stage::All, Fault::DelayThen(Duration::from_millis(20))));
        assert_eq!(rules[3], Rule::new(Stage::Ehlo, Fault::DelayThen(Duration::from_secs(1))));
        assert_eq!(rules[4], Rule::new(Stage::Ehlo, Fault::AnswerThenClose("421 4.7.0 a\n421 b".into())));
        assert_eq!(rules[5].act, Fault::CutContentAfter(1000));
        assert_eq!(rules[6].act, Fault::EndlessLine);
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for line in ["lunch => 550 no", "mail", "mail => perhaps", "mail times=x => close", "mail a b => close"] {
            assert_eq!(parse(line).unwrap_err().line, line);
        }
    }

    #[test]
    fn a_rule_acts_as_often_as_it_says_and_delays_add_up() {
        let script = Script::default();
        script.replace(parse("mail delay=1s\nmail a@ after=1 times=1 => silent\nall delay=2s").unwrap());
        let turn = |text: &str| {
            let turn = script.turn(Stage::Mail, || text.into());
            (turn.delay.as_secs(), turn.fault)
        };
        assert_eq!(turn("A@b"), (3, None));
        assert_eq!(turn("A@b"), (1, Some(Fault::Silent)));
        assert_eq!(turn("A@b"), (3, None));
        assert_eq!(script.turn(Stage::Quit, String::new).delay.as_secs(), 2);
    }
}
