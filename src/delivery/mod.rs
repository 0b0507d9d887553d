//! What happens to stored mail: an attempt repairs a message on its way to Gmail, and settles what came of it.
//!
//! It touches the spool and the upstream only through their traits; time comes from its caller, and from tokio's
//! clock for waiting. It guarantees that every recipient of a message ends as delivered or is reported, that settled
//! recipients are never named again, and that trouble with the account or on the way there never bounces a
//! message. A panic ends one attempt; the message is tried again later.

pub mod account;
pub mod notice;
pub mod outgoing;
pub mod repair;
pub mod schedule;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{self, Event};
use crate::mail::{Address, Message, Outcome, Recipient, ReversePath, Timestamp, Why, header};
use crate::policy::Policy;
use crate::spool::{Lease, Next, Settlement, Spool, TroubleNote};
use crate::upstream::{Consignment, Dispatch, Trouble, Upstream};
use account::{Account, Pauses};
use notice::Reporter;
use outgoing::Repaired;
use schedule::Patience;

/// What the deliveries of one account have to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account's name.
    pub account: String,
    /// Its mailbox.
    pub address: Address,
    /// Deliveries at the same time, each over a connection of its own.
    pub connections: usize,
    pub patience: Patience,
    pub pauses: Pauses,
    pub policy: Policy,
    pub repair: repair::Settings,
}

/// The deliveries of one account.
pub struct Delivery {
    spool: Arc<dyn Spool>,
    settings: Settings,
    account: Mutex<Account>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Delivery {{ {} }}", self.settings.account)
    }
}

impl Delivery {
    /// The deliveries of one account, of which none runs yet.
    #[must_use]
    pub fn new(spool: Arc<dyn Spool>, settings: Settings) -> Delivery {
        Delivery { spool, settings, account: Mutex::new(Account::Working) }
    }

    /// One attempt: repair, deliver, judge, settle.
    pub async fn attempt(&self, lease: Lease, upstream: &mut dyn Upstream, started: Timestamp) {
        let clock = Instant::now();
        let message = lease.message.clone();
        let dispatch = self.dispatch(&message, upstream).await;
        let at = started + clock.elapsed();
        self.note_trouble(dispatch.trouble.as_ref(), at).await;
        let settlement = self.conclude(&message, dispatch, at).await;
        let outcomes = settlement.outcomes.clone();
        let next = settlement.next;
        match self.spool.settle(lease, settlement).await {
            Ok(()) => self.log_outcomes(&message, &outcomes, next, at),
            Err(error) => event::log(&Event::SpoolFailed { reason: &error.to_string() }),
        }
    }

    /// Lets the clock go on by which mail expires, if the account works. It stands still otherwise.
    pub async fn pass_time(&self, by: Duration) {
        if !self.account().is_working() {
            return;
        }
        if let Err(error) = self.spool.grow_older(&self.settings.account, by).await {
            event::log(&Event::SpoolFailed { reason: &error.to_string() });
        }
    }

    async fn dispatch(&self, message: &Message, upstream: &mut dyn Upstream) -> Dispatch {
        let survey = Repaired::survey(Arc::clone(&self.spool), message, &self.settings.repair).await;
        match survey {
            Ok(mut content) => {
                let consignment = self.consignment(message, content.plan());
                upstream.deliver(&consignment, &mut content).await
            }
            Err(words) => {
                let outcome = Outcome::Deferred(Why::NoAnswer(words));
                Dispatch {
                    outcomes: message.owed.iter().map(|(place, _)| (*place, outcome.clone())).collect(),
                    trouble: None,
                }
            }
        }
    }

    /// The envelope as Gmail sees it: the sender is the account (gmail.md, section 6), but a report stays from
    /// nobody, so that no report can be made about it.
    fn consignment(&self, message: &Message, plan: &repair::Plan) -> Consignment {
        let reverse_path = match message.submission.envelope.reverse_path {
            ReversePath::Null => ReversePath::Null,
            ReversePath::Mailbox(_) => ReversePath::Mailbox(self.settings.address.clone()),
        };
        let recipients: Vec<_> =
            message.owed.iter().map(|(place, recipient)| (*place, recipient.address.clone())).collect();
        Consignment {
            smtputf8: plan.smtputf8 || recipients.iter().any(|(_, address)| address.needs_smtputf8()),
            reverse_path,
            recipients,
            size: plan.size,
            eight_bit: plan.eight_bit,
        }
    }

    async fn note_trouble(&self, trouble: Option<&Trouble>, at: Timestamp) {
        let changed = self.account().tried(at, trouble, &self.settings.pauses);
        if !changed {
            return;
        }
        if let Err(error) =
            self.spool.note_trouble(&self.settings.account, trouble.map(|trouble| note(trouble, at))).await
        {
            event::log(&Event::SpoolFailed { reason: &error.to_string() });
        }
        let account = &self.settings.account;
        event::log(&match trouble {
            None => Event::Account { account, state: "working", reason: "mail is taken again", cure: "" },
            Some(trouble) => {
                Event::Account { account, state: trouble.word(), reason: &trouble.reason, cure: &trouble.cure }
            }
        });
    }

    /// Makes of what Gmail said what is to be stored.
    async fn conclude(&self, message: &Message, dispatch: Dispatch, at: Timestamp) -> Settlement {
        let Dispatch { outcomes, trouble } = dispatch;
        if trouble.is_some() {
            // Due at once: it goes as soon as the account may be tried again.
            let all_settled = outcomes.iter().all(|(_, outcome)| outcome.is_final());
            let next = if all_settled { Next::Done } else { Next::RetryAt(at) };
            return self.with_notice(message, Settlement { at, outcomes, next, counted: false, notice: None }).await;
        }
        let waited = Duration::from_millis(message.patience_ms);
        let attempts = message.attempts.saturating_add(1);
        let (outcomes, next) = self.settings.patience.after(at, message.id, attempts, waited, outcomes);
        self.with_notice(message, Settlement { at, outcomes, next, counted: true, notice: None }).await
    }

    /// Adds the report about those who failed, to be stored in the same commit as their failure.
    async fn with_notice(&self, message: &Message, mut settlement: Settlement) -> Settlement {
        let failures: Vec<(&Recipient, &Outcome)> = settlement
            .outcomes
            .iter()
            .filter(|(_, outcome)| outcome.is_failure())
            .filter_map(|(place, outcome)| Some((recipient_at(message, *place)?, outcome)))
            .collect();
        if failures.is_empty() {
            return settlement;
        }
        let reporter = Reporter { policy: &self.settings.policy, account: &self.settings.address, at: settlement.at };
        let notice = reporter.report(message, &failures, &self.header(message).await);
        settlement.notice = notice;
        settlement
    }

    /// The header as it was received; as much of it as the first piece holds.
    async fn header(&self, message: &Message) -> Vec<u8> {
        let first = match &message.content {
            Some(whole) => Some(whole.clone()),
            None => self.spool.piece(message.id, 0).await.unwrap_or_default(),
        };
        first.map_or_else(Vec::new, |piece| header::split(&piece).0.to_vec())
    }

    fn log_outcomes(&self, message: &Message, outcomes: &[(u32, Outcome)], next: Next, at: Timestamp) {
        let (id, account) = (message.id, self.settings.account.as_str());
        let next_try = if let Next::RetryAt(time) = next { time } else { at };
        for (place, outcome) in outcomes {
            let to = recipient_at(message, *place).map(|recipient| recipient.address.to_string()).unwrap_or_default();
            let (to, reply) = (to.as_str(), &outcome.reason());
            event::log(&match outcome {
                Outcome::Delivered(_) => Event::Delivered {
                    id,
                    to,
                    account,
                    reply,
                    attempts: message.attempts.saturating_add(1),
                    delay_ms: at.as_millisecond() - message.submission.received.as_millisecond(),
                },
                Outcome::Deferred(_) => Event::Deferred { id, to, account, reply, next_try },
                Outcome::Uncertain(_) => Event::Uncertain { id, to, account, reply, next_try },
                Outcome::Refused(_) => Event::Refused { id, to, account, reply },
                Outcome::Expired(_) => Event::Expired { id, to, account, reply },
            });
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        // Every change of it is a single assignment, so a panic elsewhere leaves it whole.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(trouble: &Trouble, since: Timestamp) -> TroubleNote {
    let (reason, cure) = (trouble.reason.clone(), trouble.cure.clone());
    TroubleNote { state: trouble.word().to_owned(), reason, cure, since }
}

fn recipient_at(message: &Message, place: u32) -> Option<&Recipient> {
    message.owed.iter().find(|(other, _)| *other == place).map(|(_, recipient)| recipient)
}
