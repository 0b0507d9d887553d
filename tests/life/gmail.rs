//! A Gmail in memory that misbehaves as its dice say, and a record of everything it was asked and did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use smarthost::mail::{Address, MessageId, Outcome, Reply, ReversePath, Timestamp, Why};
use smarthost::upstream::{Consignment, Dispatch, Limit, Outgoing, Trouble, TroubleKind, Upstream};

use crate::stepped::Steps;

/// One recipient of one message, by its place in the envelope.
pub type Owed = (MessageId, u32);

/// What Gmail took, and whether the relay can have known.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub attempt: usize,
    /// The answer was lost.
    pub uncertain: bool,
}

/// What Gmail knows, and what it is up to.
#[derive(Default)]
pub struct Ledger {
    pub dice: fastrand::Rng,
    /// What is wrong with the account, and until when.
    pub trouble: Option<(TroubleKind, Timestamp)>,
    /// Everything is well from now on.
    pub benign: bool,
    pub taken: BTreeMap<Owed, Vec<Taken>>,
    pub refused: BTreeSet<Owed>,
    /// The bytes of the first complete transfer of each message.
    bytes: BTreeMap<MessageId, Vec<u8>>,
    /// What was wrong with what the relay did.
    pub faults: Vec<String>,
}

/// The ledger, shared by all connections.
#[derive(Clone, Default)]
pub struct Gmail(Arc<Mutex<Ledger>>);

impl Gmail {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A connection, for one attempt at one message.
pub struct Connection {
    pub gmail: Gmail,
    pub steps: Steps,
    pub message: MessageId,
    pub attempt: usize,
    pub now: Timestamp,
    /// Its reports come from nobody, its mail from the account.
    pub is_report: bool,
    /// Who is owed the message, as the spool said.
    pub owed: Vec<(u32, Address)>,
}

const KINDS: [TroubleKind; 6] = [
    TroubleKind::Slowed,
    TroubleKind::OverLimit(Limit::Day),
    TroubleKind::OverLimit(Limit::AtLeast(Duration::from_mins(15))),
    TroubleKind::Paused,
    TroubleKind::Misconfigured,
    TroubleKind::Unreachable,
];

pub fn any_trouble(dice: &mut fastrand::Rng) -> TroubleKind {
    KINDS[dice.usize(..KINDS.len())]
}

fn reply(code: u16, words: &str) -> Reply {
    Reply::plain(code, words)
}

impl Ledger {
    fn trouble_at(&mut self, now: Timestamp) -> Option<Trouble> {
        self.trouble = self.trouble.filter(|(_, until)| *until > now && !self.benign);
        let (kind, _) = self.trouble?;
        let reason = format!("{kind:?}, as the dice say");
        Some(Trouble { kind, topic: kind.word(), reason, cure: "wait".to_owned(), until: None })
    }

    /// What becomes of one recipient, and whether Gmail took the message for it.
    fn fate(&mut self, mut refusable: bool) -> (Outcome, bool) {
        refusable &= !self.benign;
        match if self.benign { 0 } else { self.dice.u32(..100) } {
            0..55 => (Outcome::Delivered(reply(250, "OK")), true),
            55..65 if refusable => (Outcome::Refused(Why::Reply(reply(550, "no such user"))), false),
            65..75 => (Outcome::Uncertain(Why::NoAnswer("the line broke after the dot".to_owned())), self.dice.bool()),
            _ => (Outcome::Deferred(Why::Reply(reply(451, "try again later"))), false),
        }
    }

    fn compare(&mut self, message: MessageId, bytes: &[u8]) {
        if self.bytes.entry(message).or_insert_with(|| bytes.to_vec()) != bytes {
            self.faults.push(format!("{message} was sent with other bytes than before"));
        }
    }
}

impl Connection {
    fn fault(&self, words: &str) {
        self.gmail.ledger().faults.push(format!("attempt {} at {}: {words}", self.attempt, self.message));
    }

    fn check(&self, consignment: &Consignment) {
        if consignment.recipients != self.owed || self.owed.is_empty() {
            self.fault("other recipients than those owed were named");
        }
        if (consignment.reverse_path == ReversePath::Null) != self.is_report {
            self.fault("a report has a sender, or mail has none");
        }
    }

    /// Reads the content; sometimes it stops in the middle and begins again, as for another transaction.
    async fn read(&self, content: &mut dyn Outgoing) -> Result<Vec<u8>, String> {
        let again = self.gmail.ledger().dice.u32(..8) == 0;
        if again {
            content.next().await?;
            content.rewind().await;
        }
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await? {
            bytes.extend_from_slice(&piece);
            self.steps.step().await;
        }
        Ok(bytes)
    }

    fn all(&self, outcome: &Outcome) -> Vec<(u32, Outcome)> {
        self.owed.iter().map(|(place, _)| (*place, outcome.clone())).collect()
    }

    /// Answers for each recipient. Trouble may begin in the middle; it is then told with the outcomes so far.
    fn answer(&self) -> Dispatch {
        let mut ledger = self.gmail.ledger();
        let mut outcomes = Vec::new();
        let breaks_at = if ledger.benign { None } else { Some(ledger.dice.usize(..40)) };
        for (number, (place, _)) in self.owed.iter().enumerate() {
            if breaks_at.is_some_and(|at| at <= number && at < 3) {
                let kind = any_trouble(&mut ledger.dice);
                let hours = ledger.dice.u64(1..5);
                ledger.trouble.get_or_insert((kind, self.now + Duration::from_hours(hours)));
            }
            if ledger.trouble_at(self.now).is_some() {
                outcomes.push((*place, Outcome::Deferred(Why::NoAnswer("the account is in trouble".to_owned()))));
                continue;
            }
            let (outcome, took) = ledger.fate(true);
            let owed = (self.message, *place);
            if took {
                let uncertain = matches!(outcome, Outcome::Uncertain(_));
                ledger.taken.entry(owed).or_default().push(Taken { attempt: self.attempt, uncertain });
            }
            if matches!(outcome, Outcome::Refused(_)) {
                ledger.refused.insert(owed);
            }
            outcomes.push((*place, outcome));
        }
        Dispatch { outcomes, trouble: ledger.trouble_at(self.now) }
    }

    async fn dispatch(&self, consignment: &Consignment, content: &mut dyn Outgoing) -> Dispatch {
        self.check(consignment);
        let trouble = self.gmail.ledger().trouble_at(self.now);
        if trouble.is_some() {
            let outcomes = self.all(&Outcome::Deferred(Why::NoAnswer("no way to Gmail".to_owned())));
            return Dispatch { outcomes, trouble };
        }
        let read = async {
            let bytes = self.read(content).await?;
            content.before_the_end().await.map(|()| bytes)
        };
        match read.await {
            Ok(bytes) => self.gmail.ledger().compare(self.message, &bytes),
            Err(words) => {
                return Dispatch { outcomes: self.all(&Outcome::Deferred(Why::NoAnswer(words))), trouble: None };
            }
        }
        let answer = self.answer();
        let panics = {
            let mut ledger = self.gmail.ledger();
            !ledger.benign && ledger.dice.u32(..30) == 0
        };
        if panics {
            // Does what a panic does, without its words on the terminal.
            std::panic::resume_unwind(Box::new("the upstream panics, as the dice say"));
        }
        answer
    }
}

#[async_trait]
impl Upstream for Connection {
    async fn deliver(&mut self, consignment: &Consignment, content: &mut dyn Outgoing) -> Dispatch {
        self.steps.step().await;
        // The daily limit may leave no room for the last ones.
        self.owed.truncate(consignment.recipients.len());
        let dispatch = self.dispatch(consignment, content).await;
        self.steps.step().await;
        dispatch
    }

    fn idle_left(&self) -> Option<Duration> {
        None
    }

    async fn close(&mut self) {}
}
