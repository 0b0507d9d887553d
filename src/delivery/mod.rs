//! What happens to stored mail: an attempt repairs a message on its way to Gmail, and settles what came of it.
//!
//! It touches the spool and the upstream only through their traits; time comes from its caller, and from tokio's
//! clock for waiting. It guarantees that every recipient of a message ends as delivered or is reported, that settled
//! recipients are never named again, and that trouble with the account or on the way there never bounces a
//! message; a line that breaks in the middle of one message counts against that message. A panic ends one attempt; the
//! message is tried again later.

pub mod account;
pub mod fallback;
pub mod ledger;
pub mod notice;
pub mod outgoing;
pub mod repair;
pub mod schedule;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::event::{self, Event};
use crate::mail::{Address, Message, Outcome, Recipient, ReversePath, Timestamp, Why, header};
use crate::policy::Policy;
use crate::spool::{Lease, Next, Noted, Settlement, Spool, SpoolError};
use crate::upstream::{Consignment, Dispatch, Limit, Trouble, TroubleKind, Upstream};
use account::{Account, Pauses};
use fallback::Ward;
use ledger::Ledger;
use notice::Reporter;
use outgoing::{Marked, Repaired};
use schedule::{OnUncertain, Patience};

/// Pause before a settlement is offered to the store again; it doubles.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
const SETTLE_AGAIN_LONGEST: Duration = Duration::from_mins(1);

/// What the deliveries of one account have to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account's name.
    pub account: String,
    /// Its mailbox.
    pub address: Address,
    /// Deliveries at the same time, each over a connection of its own.
    pub connections: usize,
    /// Recipients in any 24 hours; what is over waits.
    pub daily_limit: u32,
    pub patience: Patience,
    /// How long content is kept when nobody is owed it any more; `None`: not at all.
    pub keep_content: Option<Duration>,
    pub pauses: Pauses,
    pub policy: Policy,
    pub repair: repair::Settings,
}

/// The deliveries of one account.
pub struct Delivery {
    spool: Arc<dyn Spool>,
    settings: Settings,
    account: Mutex<Account>,
    /// Read from the history when it is first needed.
    ledger: OnceCell<Mutex<Ledger>>,
    /// What the spool keeps of the account, as far as we know.
    kept: Mutex<Noted>,
    /// Accounts whose mail it sends while they cannot.
    wards: OnceLock<Vec<Ward>>,
}

/// Places in the ledger that one attempt has taken; given back when dropped.
struct Places<'a> {
    ledger: &'a Mutex<Ledger>,
    count: u32,
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        lock(self.ledger).give_back(self.count);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Delivery {{ {} }}", self.settings.account)
    }
}

impl Delivery {
    /// The deliveries of one account, of which none runs yet; `noted` is what was known of it before.
    #[must_use]
    pub fn new(spool: Arc<dyn Spool>, settings: Settings, noted: Noted, now: Timestamp) -> Delivery {
        let account = Mutex::new(Account::new(settings.connections, noted.trouble.as_ref(), now));
        Delivery { spool, settings, account, ledger: OnceCell::new(), kept: Mutex::new(noted), wards: OnceLock::new() }
    }

    /// One attempt, whole: repair, deliver, judge, settle.
    pub async fn attempt(&self, mut lease: Lease, upstream: &mut dyn Upstream, started: Timestamp) {
        let settlement = self.try_once(&lease, upstream, started).await;
        self.settle(&mut lease, &settlement).await;
    }

    /// An attempt up to what is to be stored of it.
    async fn try_once(&self, lease: &Lease, upstream: &mut dyn Upstream, started: Timestamp) -> Settlement {
        let clock = Instant::now();
        let message = &lease.message;
        if message.uncertain {
            self.not_tried();
            return self.conclude(message, broken_off(message), started).await;
        }
        match self.dispatch(lease, upstream, started).await {
            Ok(dispatch) => {
                let at = started + clock.elapsed();
                self.report(dispatch.trouble.as_ref(), at).await;
                self.conclude(message, dispatch, at).await
            }
            Err(words) => {
                event::log(&Event::SpoolFailed { reason: &words });
                self.not_tried();
                self.unread(message, &words, started + clock.elapsed())
            }
        }
    }

    /// Stores what became of an attempt, however often the store fails: Gmail may have the message by now, and whoever
    /// forgot that would send it again.
    async fn settle(&self, lease: &mut Lease, settlement: &Settlement) {
        let mut pause = SETTLE_AGAIN;
        loop {
            match self.spool.settle(lease, settlement).await {
                Ok(()) => return self.log_outcomes(&lease.message, settlement),
                Err(error) => {
                    event::log(&Event::SpoolFailed { reason: &error.to_string() });
                    if let SpoolError::LeaseLost(_) = error {
                        return;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(SETTLE_AGAIN_LONGEST);
        }
    }

    /// What is to be stored where the content could not be read: nothing was said of it to Gmail.
    fn unread(&self, message: &Message, words: &str, at: Timestamp) -> Settlement {
        let next = Next::RetryAt(at + self.settings.patience.first);
        let outcomes = deferred(&message.owed, words);
        Settlement { at, outcomes, next, counted: false, through: None, notice: None, keep_content_until: None }
    }

    /// Takes as many places in the ledger as the message has recipients, or as there are.
    async fn take_places(&self, message: &Message, now: Timestamp) -> Places<'_> {
        let ledger = self.ledger.get_or_init(|| self.read_ledger(now)).await;
        let wanted = u32::try_from(message.owed.len()).unwrap_or(u32::MAX);
        let probing = self.account().is_probed();
        Places { ledger, count: lock(ledger).take(now, wanted, probing) }
    }

    async fn read_ledger(&self, now: Timestamp) -> Mutex<Ledger> {
        let sent = self.spool.sent_since(&self.settings.account, now - ledger::DAY).await;
        let sent = sent.unwrap_or_else(|error| {
            event::log(&Event::SpoolFailed { reason: &error.to_string() });
            Vec::new()
        });
        let believed = lock(&self.kept).believed_limit;
        Mutex::new(Ledger::new(self.settings.daily_limit, &sent, believed))
    }

    /// Hands the message to Gmail, for as many of those it is owed to as there are places left today.
    async fn dispatch(
        &self,
        lease: &Lease,
        upstream: &mut dyn Upstream,
        started: Timestamp,
    ) -> Result<Dispatch, String> {
        let message = &lease.message;
        let places = self.take_places(message, started).await;
        let (now, later) = message.owed.split_at(message.owed.len().min(places.count as usize));
        if now.is_empty() {
            let trouble = lock(places.ledger).trouble(started, self.settings.pauses.longest);
            return Ok(Dispatch { outcomes: deferred(later, &trouble.reason), trouble: Some(trouble) });
        }
        let repaired = Repaired::survey(Arc::clone(&self.spool), message, &self.settings.repair).await?;
        let consignment = self.consignment(message, now, repaired.plan());
        let synced = self.settings.patience.on_uncertain == OnUncertain::Hold;
        let mut content = Marked { repaired, spool: self.spool.as_ref(), lease, synced };
        let dispatch = upstream.deliver(&consignment, &mut content).await;
        enter(&dispatch, &mut lock(places.ledger), started);
        Ok(dispatch)
    }

    /// The envelope as Gmail sees it: the sender is the account (gmail.md, section 6), but a report stays from
    /// nobody, so that no report can be made about it.
    fn consignment(&self, message: &Message, owed: &[(u32, Recipient)], plan: &repair::Plan) -> Consignment {
        let reverse_path = match message.submission.envelope.reverse_path {
            ReversePath::Null => ReversePath::Null,
            ReversePath::Mailbox(_) => ReversePath::Mailbox(self.settings.address.clone()),
        };
        let recipients: Vec<_> = owed.iter().map(|(place, recipient)| (*place, recipient.address.clone())).collect();
        Consignment {
            smtputf8: plan.smtputf8 || recipients.iter().any(|(_, address)| address.needs_smtputf8()),
            reverse_path,
            recipients,
            size: plan.size,
            eight_bit: plan.eight_bit,
            first_try: message.attempts == 0,
        }
    }

    /// Tells the account what an attempt met; and others, where that is news.
    async fn report(&self, trouble: Option<&Trouble>, at: Timestamp) {
        let is_news = self.account().tried(at, trouble, &self.settings.pauses);
        self.keep_note().await;
        if is_news {
            self.log_account(trouble);
        }
    }

    /// Keeps what is known of the account, where that has changed. Several may do so at once: who finds that there is
    /// something newer than what it wrote writes again, so that the newest is written last.
    async fn keep_note(&self) {
        let mut written = lock(&self.kept).clone();
        loop {
            let noted = self.noted();
            if noted == written {
                return;
            }
            if let Err(error) = self.spool.note_account(&self.settings.account, &noted).await {
                return event::log(&Event::SpoolFailed { reason: &error.to_string() });
            }
            lock(&self.kept).clone_from(&noted);
            written = noted;
        }
    }

    fn noted(&self) -> Noted {
        let believed_limit = match self.ledger.get() {
            Some(ledger) => lock(ledger).believed_limit(),
            None => lock(&self.kept).believed_limit,
        };
        Noted { trouble: self.account().note(), believed_limit }
    }

    fn log_account(&self, trouble: Option<&Trouble>) {
        let account = &self.settings.account;
        event::log(&match trouble {
            None => Event::Account { account, state: "working", reason: "mail is taken again", cure: "" },
            Some(trouble) => {
                Event::Account { account, state: trouble.word(), reason: &trouble.reason, cure: &trouble.cure }
            }
        });
    }

    /// Makes of what Gmail said what is to be stored. Who has no outcome, because the daily limit left no place, is
    /// still owed, and has not been waiting for Gmail.
    async fn conclude(&self, message: &Message, dispatch: Dispatch, at: Timestamp) -> Settlement {
        let Dispatch { outcomes, trouble } = dispatch;
        let slowed = trouble.as_ref().is_some_and(|trouble| trouble.kind == TroubleKind::Slowed);
        let (outcomes, next) = if trouble.is_some() && !slowed {
            // Due at once: it goes as soon as the account may be tried again.
            (outcomes, Next::RetryAt(at))
        } else {
            // Where Gmail wants less at once others come first, so that a message it always says that to holds nobody
            // back; but that is no reason to give it up.
            let waited = if slowed { Duration::ZERO } else { Duration::from_millis(message.patience_ms) };
            let attempts = message.attempts.saturating_add(1);
            self.settings.patience.after(at, message.id, attempts, waited, outcomes)
        };
        let settled = outcomes.iter().filter(|(_, outcome)| outcome.is_final()).count();
        let next = match next {
            _ if settled == message.owed.len() => Next::Done,
            Next::Done => Next::RetryAt(at),
            later => later,
        };
        let counted = trouble.is_none() || slowed;
        let keep_content_until = self.settings.keep_content.map(|keep| at + keep);
        let own = message.submission.account == self.settings.account;
        let through = (!own).then(|| self.settings.account.clone());
        let settlement = Settlement { at, outcomes, next, counted, through, notice: None, keep_content_until };
        self.with_notice(message, settlement).await
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

    fn log_outcomes(&self, message: &Message, settlement: &Settlement) {
        let (id, account, at) = (message.id, self.settings.account.as_str(), settlement.at);
        let next_try = if let Next::RetryAt(time) = settlement.next { Some(time) } else { None };
        for (place, outcome) in &settlement.outcomes {
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
                Outcome::Deferred(_) => Event::Deferred { id, to, account, reply, next_try: next_try.unwrap_or(at) },
                Outcome::Uncertain(_) => Event::Uncertain { id, to, account, reply, next_try },
                Outcome::Refused(_) => Event::Refused { id, to, account, reply },
                Outcome::Expired(_) => Event::Expired { id, to, account, reply },
            });
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }
}

/// What is behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters what was sent, and learns from Gmail where that is the limit.
fn enter(dispatch: &Dispatch, ledger: &mut Ledger, at: Timestamp) {
    let sent = dispatch.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Delivered(_)));
    ledger.enter(at, u32::try_from(sent.count()).unwrap_or(u32::MAX));
    if dispatch.trouble.as_ref().is_some_and(|trouble| trouble.kind == TroubleKind::OverLimit(Limit::Day)) {
        ledger.learn_limit(at);
    }
}

fn deferred(owed: &[(u32, Recipient)], words: &str) -> Vec<(u32, Outcome)> {
    to_all(owed, &Outcome::Deferred(Why::NoAnswer(words.to_owned())))
}

fn to_all(owed: &[(u32, Recipient)], outcome: &Outcome) -> Vec<(u32, Outcome)> {
    owed.iter().map(|(place, _)| (*place, outcome.clone())).collect()
}

/// What became of an attempt that ended with its process, or was broken off, behind the final dot.
fn broken_off(message: &Message) -> Dispatch {
    let words = "the relay was stopped when the message had been sent, and before the answer was stored";
    let outcome = Outcome::Uncertain(Why::NoAnswer(words.to_owned()));
    Dispatch { outcomes: to_all(&message.owed, &outcome), trouble: None }
}

fn recipient_at(message: &Message, place: u32) -> Option<&Recipient> {
    message.owed.iter().find(|(other, _)| *other == place).map(|(_, recipient)| recipient)
}
