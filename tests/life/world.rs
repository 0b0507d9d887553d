//! The relay under test in a month that its dice make: mail comes in, attempts are made, stopped and broken off, the
//! process is killed, the operator gives orders, and the clock is turned on.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use smarthost::delivery::account::{Leave, Pauses};
use smarthost::delivery::repair::FromRule;
use smarthost::delivery::schedule::{OnUncertain, Patience};
use smarthost::delivery::{Delivery, Settings, repair};
use smarthost::mail::{MessageId, ReversePath, Submission, Timestamp};
use smarthost::policy::{Limits, Pattern, Policy, Recipients, Routes};
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{Claim, Content, Filter, Lease, Order, Spool, Which};

use tokio::sync::oneshot;

use crate::gmail::{Connection, Gmail, Owed, any_trouble};
use crate::sample::{address, at, content, submission};
use crate::stepped::{Stepped, Steps};

/// Few enough to be reached on busy days.
const DAILY_LIMIT: u32 = 40;
pub const PATIENCE: Patience = Patience {
    first: Duration::from_secs(30),
    longest: Duration::from_hours(1),
    give_up_after: Duration::from_hours(10),
    on_uncertain: OnUncertain::Retry,
};
/// Attempts at the same time.
const ATTEMPTS_MAX: usize = 2;

/// A message that the spool holds or held.
pub struct Known {
    pub submission: Submission,
    /// The working time of the account when it was accepted.
    accepted_at_age: Duration,
    /// Of a report: about which message it is, and its text.
    pub about: Option<(MessageId, String)>,
}

struct Attempt {
    future: Pin<Box<dyn Future<Output = ()>>>,
    number: usize,
}

enum Progress {
    Step,
    Ended,
    Panicked,
}

/// What a process consists of.
struct Relay {
    spool: Arc<SqliteSpool>,
    stepped: Arc<Stepped>,
    delivery: Arc<Delivery>,
}

/// One life of the relay, and all that is known about it from outside.
pub struct World {
    dice: fastrand::Rng,
    now: Timestamp,
    folder: tempfile::TempDir,
    relay: Option<Relay>,
    steps: Steps,
    pub gmail: Gmail,
    attempts: Vec<Attempt>,
    attempts_made: usize,
    /// Attempts that were stopped, killed or panicked.
    pub broken_off: BTreeSet<usize>,
    pub known: BTreeMap<MessageId, Known>,
    /// The outcome after which nothing is owed, by recipient, and how often there was one.
    pub settled: BTreeMap<Owed, Vec<String>>,
    history_seen: i64,
    /// How long the account has been working: our own count of what the spool counts.
    age: Duration,
    pub faults: Vec<String>,
    sent: usize,
}

fn folder() -> tempfile::TempDir {
    // Memory, where there is some: a month has thousands of syncs.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn settings() -> Settings {
    let hostname = "relay.example.net".to_owned();
    let account_address = address("me@gmail.com");
    let recipients = Recipients {
        default_domain: None,
        alias: BTreeMap::new(),
        redirect_all: None,
        allow: vec![Pattern::Everybody],
    };
    Settings {
        account: "home".to_owned(),
        address: account_address.clone(),
        connections: ATTEMPTS_MAX,
        daily_limit: DAILY_LIMIT,
        patience: PATIENCE,
        keep_content: None,
        pauses: Pauses { first: PATIENCE.first, longest: PATIENCE.longest },
        policy: Policy {
            hostname: hostname.clone(),
            limits: Limits::default(),
            recipients,
            routes: Routes::only("home"),
        },
        repair: repair::Settings { hostname, account_address, from: FromRule::Rewrite, send_as: Vec::new() },
    }
}

impl Relay {
    async fn start(folder: &Path, now: Timestamp, steps: &Steps) -> Relay {
        let spool = Arc::new(SqliteSpool::open(folder, now).unwrap());
        let inner = Arc::clone(&spool) as Arc<dyn Spool>;
        let stepped = Arc::new(Stepped { spool: inner, steps: steps.clone(), settlements_to_fail: 0.into() });
        let noted = spool.noted("home").await.unwrap();
        let delivery = Arc::new(Delivery::new(Arc::clone(&stepped) as Arc<dyn Spool>, settings(), noted, now));
        Relay { spool, stepped, delivery }
    }

    /// Ends in order; all attempts must have ended.
    fn close(self) {
        let Relay { spool, stepped, delivery } = self;
        drop((delivery, stepped));
        Arc::into_inner(spool).expect("nobody else uses the spool").close();
    }
}

impl World {
    pub async fn new(seed: u64) -> World {
        // The spool draws its first id from these.
        fastrand::seed(seed);
        let folder = folder();
        let (steps, gmail) = (Steps::default(), Gmail::default());
        gmail.ledger().dice = fastrand::Rng::with_seed(seed ^ 0xda7a);
        let relay = Some(Relay::start(folder.path(), at(0), &steps).await);
        World {
            dice: fastrand::Rng::with_seed(seed),
            now: at(0),
            folder,
            relay,
            steps,
            gmail,
            attempts: Vec::new(),
            attempts_made: 0,
            broken_off: BTreeSet::new(),
            known: BTreeMap::new(),
            settled: BTreeMap::new(),
            history_seen: 0,
            age: Duration::ZERO,
            faults: Vec::new(),
            sent: 0,
        }
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("it is running")
    }

    /// Something happens.
    pub async fn happen(&mut self) {
        match self.dice.u32(..100) {
            0..9 => self.accept().await,
            9..10 => self.accept_for_nobody().await,
            10..11 => self.trouble_begins(),
            11..13 => self.operator_orders().await,
            13..15 => self.break_off().await,
            15..18 => self.kill().await,
            18..19 => self.restart().await,
            19..21 => self.fail_settlements(),
            21..31 => self.time_passes().await,
            _ => {
                for _ in 0..self.dice.u32(1..5) {
                    self.work().await;
                }
            }
        }
    }

    fn next_submission(&mut self) -> (Submission, Content) {
        self.sent += 1;
        let number = self.sent;
        let to: Vec<String> =
            (0..self.dice.usize(1..5)).map(|place| format!("to{place}.{number}@example.com")).collect();
        let mut submission = submission(&to.iter().map(String::as_str).collect::<Vec<_>>(), self.now);
        match self.dice.u32(..6) {
            0 => submission.envelope.reverse_path = ReversePath::Null,
            1 => submission.envelope.reverse_path = ReversePath::Mailbox(address("ups@cellar.local")),
            _ => {}
        }
        let text =
            format!("Subject: message {number}\n\nBody of {number}\n.\nna\u{ef}ve\n").repeat(self.dice.usize(1..4));
        (submission, Content::Memory(Bytes::from(text)))
    }

    async fn accept(&mut self) {
        let (submission, mut content) = self.next_submission();
        if self.dice.u32(..5) == 0 {
            content = self.uploaded(content).await;
        }
        let listening = if self.dice.bool() && self.may_begin() { self.listen().await } else { None };
        let accepted = self.relay().spool.accept(submission.clone(), content).await.unwrap();
        self.learn(accepted.id(), submission, None);
        let handed = listening.and_then(|mut listening| listening.try_recv().ok());
        if let Some(lease) = handed
            && self.relay().delivery.leave(self.now).await == Leave::Go
        {
            self.begin(lease);
        }
    }

    /// Waits for the next message, if nothing is due.
    async fn listen(&self) -> Option<oneshot::Receiver<Lease>> {
        match self.relay().spool.claim("home", self.now).await.unwrap() {
            Claim::Nothing { handed, .. } => Some(handed),
            Claim::Leased(_) => None,
        }
    }

    /// Whether the account works, as far as others can see.
    async fn is_working(&self) -> bool {
        self.relay().spool.noted("home").await.unwrap().trouble.is_none()
    }

    async fn uploaded(&mut self, content: Content) -> Content {
        let Content::Memory(bytes) = content else { return content };
        let mut upload = self.relay().spool.upload(self.now);
        let cut = self.dice.usize(..bytes.len());
        for piece in [bytes.slice(..cut), bytes.slice(cut..)] {
            self.relay().spool.append(&mut upload, piece).await.unwrap();
        }
        Content::Uploaded(upload)
    }

    /// The client hangs up before it has its 250: the message may be there or not, but not half.
    async fn accept_for_nobody(&mut self) {
        let (submission, content) = self.next_submission();
        let spool = Arc::clone(&self.relay().spool);
        let mut accept = spool.accept(submission, content);
        poll_fn(|context| Poll::Ready(accept.as_mut().poll(context).is_ready())).await;
        drop(accept);
        self.look().await;
    }

    fn trouble_begins(&mut self) {
        // At times much longer than mail is tried for.
        let hours = if self.dice.u32(..4) == 0 { self.dice.u64(20..100) } else { self.dice.u64(1..5) };
        let kind = any_trouble(&mut self.dice);
        self.gmail.ledger().trouble = Some((kind, self.now + Duration::from_hours(hours)));
    }

    async fn operator_orders(&mut self) {
        let orders = [Order::Retry, Order::Hold, Order::Release, Order::Release];
        let order = orders[self.dice.usize(..orders.len())];
        let ids: Vec<MessageId> = self.known.keys().copied().filter(|_| self.dice.u32(..4) == 0).collect();
        self.relay().spool.order(&Which::Ids(ids), order, self.now).await.unwrap();
    }

    fn fail_settlements(&mut self) {
        // With a second attempt beside it, the pauses between would not be the same for the same dice.
        if self.attempts.len() == 1 {
            let failing = self.dice.u64(1..4);
            self.relay().stepped.settlements_to_fail.store(failing, Ordering::Relaxed);
        }
    }

    /// Turns the clock on to when something is due, or less far.
    async fn time_passes(&mut self) {
        while !self.attempts.is_empty() {
            self.proceed().await;
        }
        let by = Duration::from_secs(self.dice.u64(1..7200));
        self.turn_clock(by).await;
    }

    async fn turn_clock(&mut self, by: Duration) {
        self.now += by;
        let waiting = self.relay().spool.list(&Which::All).await.unwrap();
        let waits = waiting.iter().any(|queued| queued.state != smarthost::spool::State::Held);
        if waits && self.is_working().await {
            self.age += by;
        }
        self.relay().delivery.pass_time(by).await;
    }

    fn may_begin(&self) -> bool {
        let failing = self.relay().stepped.settlements_to_fail.load(Ordering::Relaxed) > 0;
        self.attempts.len() < if failing { 1 } else { ATTEMPTS_MAX }
    }

    /// A delivery goes on by a step, or looks for something to deliver.
    async fn work(&mut self) {
        if self.attempts.is_empty() || (self.may_begin() && self.dice.u32(..4) == 0) {
            self.claim().await;
        } else {
            self.proceed().await;
        }
    }

    /// Whether there was something to deliver.
    async fn claim(&mut self) -> bool {
        if let Leave::WaitUntil(_) = self.relay().delivery.leave(self.now).await {
            return false;
        }
        match self.relay().spool.claim("home", self.now).await.unwrap() {
            Claim::Leased(lease) => {
                self.begin(*lease);
                true
            }
            Claim::Nothing { .. } => {
                self.relay().delivery.not_tried();
                false
            }
        }
    }

    fn begin(&mut self, lease: Lease) {
        self.attempts_made += 1;
        let number = self.attempts_made;
        let id = lease.message.id;
        for (place, _) in &lease.message.owed {
            if self.settled.contains_key(&(id, *place)) {
                self.faults.push(format!("recipient {place} of {id} is settled and named again"));
            }
        }
        let mut connection = Connection {
            gmail: self.gmail.clone(),
            steps: self.steps.clone(),
            message: id,
            attempt: number,
            now: self.now,
            is_report: lease.message.submission.envelope.reverse_path == ReversePath::Null,
            owed: lease.message.owed.iter().map(|(place, to)| (*place, to.address.clone())).collect(),
        };
        let (delivery, now) = (Arc::clone(&self.relay().delivery), self.now);
        let future = Box::pin(async move { delivery.attempt(lease, &mut connection, now).await });
        self.attempts.push(Attempt { future, number });
    }

    /// One of the attempts comes to its next step, or to its end.
    async fn proceed(&mut self) {
        let index = self.dice.usize(..self.attempts.len());
        match self.advance(index).await {
            Progress::Step => return,
            Progress::Ended => {}
            Progress::Panicked => {
                self.broken_off.insert(self.attempts[index].number);
                self.relay().delivery.not_tried();
            }
        }
        drop(self.attempts.swap_remove(index));
        self.look().await;
    }

    async fn advance(&mut self, index: usize) -> Progress {
        let (steps, attempt) = (&self.steps, &mut self.attempts[index].future);
        poll_fn(|context| {
            steps.set_stepping(true);
            // A panic ends the attempt and nothing else, as in a task.
            let polled = catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(context)));
            steps.set_stepping(false);
            match polled {
                Err(_) => Poll::Ready(Progress::Panicked),
                Ok(Poll::Ready(())) => Poll::Ready(Progress::Ended),
                Ok(Poll::Pending) if steps.take() => Poll::Ready(Progress::Step),
                Ok(Poll::Pending) => Poll::Pending,
            }
        })
        .await
    }

    fn drop_attempts(&mut self) {
        self.broken_off.extend(self.attempts.iter().map(|attempt| attempt.number));
        self.attempts.clear();
        self.relay().stepped.settlements_to_fail.store(0, Ordering::Relaxed);
    }

    /// Time is short at the end: attempts are broken off, and the relay is started again.
    async fn break_off(&mut self) {
        self.drop_attempts();
        self.restart().await;
    }

    /// An orderly end, and a new start.
    async fn restart(&mut self) {
        while !self.attempts.is_empty() {
            self.proceed().await;
        }
        self.close();
        self.start().await;
    }

    /// The process is gone between two steps: what is on the disk is all there is.
    async fn kill(&mut self) {
        self.barrier().await;
        let image = folder();
        for name in ["spool.db", "spool.db-wal", "lock"] {
            std::fs::copy(self.folder.path().join(name), image.path().join(name)).unwrap();
        }
        let contents = image.path().join("content");
        std::fs::create_dir(&contents).unwrap();
        for file in std::fs::read_dir(self.folder.path().join("content")).into_iter().flatten().map(Result::unwrap) {
            std::fs::copy(file.path(), contents.join(file.file_name())).unwrap();
        }
        self.drop_attempts();
        self.close();
        self.folder = image;
        self.start().await;
    }

    /// Waits for what the spool writes behind our back.
    async fn barrier(&self) {
        self.relay().spool.order(&Which::Ids(Vec::new()), Order::Hold, self.now).await.unwrap();
    }

    fn close(&mut self) {
        self.relay.take().expect("it is running").close();
    }

    async fn start(&mut self) {
        self.relay = Some(Relay::start(self.folder.path(), self.now, &self.steps).await);
        self.look().await;
    }

    fn learn(&mut self, id: MessageId, submission: Submission, about: Option<(MessageId, String)>) {
        self.known.entry(id).or_insert(Known { submission, accepted_at_age: self.age, about });
    }

    /// Looks for what is new: messages that nobody has seen yet, reports among them, and the history.
    async fn look(&mut self) {
        self.barrier().await;
        for queued in self.relay().spool.list(&Which::All).await.unwrap() {
            if self.known.contains_key(&queued.id) {
                continue;
            }
            let submission = self.relay().spool.show(queued.id).await.unwrap().unwrap().submission;
            let text = String::from_utf8_lossy(&content(self.relay().spool.as_ref(), queued.id).await).into_owned();
            let about = text.split_once("knows the message as ").map(|(_, rest)| rest[..13].parse().unwrap());
            self.learn(queued.id, submission, about.map(|about| (about, text)));
        }
        let filter = Filter { after: Some(self.history_seen), limit: usize::MAX, ..Filter::default() };
        let mut news = self.relay().spool.history(&filter).await.unwrap();
        news.reverse();
        for (number, past) in news {
            self.history_seen = number;
            let envelope = &self.known[&past.id].submission.envelope;
            let place = envelope.recipients.iter().position(|to| *to == past.to).unwrap();
            let owed = (past.id, u32::try_from(place).unwrap());
            match past.outcome.as_str() {
                "deferred" | "uncertain" => continue,
                "refused" if !self.gmail.ledger().refused.contains(&owed) => {
                    self.faults.push(format!("{owed:?} is refused, which Gmail never said"));
                }
                "expired" if past.reply.contains("account is in trouble") || past.reply.contains("no way to Gmail") => {
                    self.faults.push(format!("{owed:?} expired by what is about the account"));
                }
                "expired" if self.age < self.known[&past.id].accepted_at_age + PATIENCE.give_up_after => {
                    self.faults.push(format!("{owed:?} expired before its time"));
                }
                _ => {}
            }
            self.settled.entry(owed).or_default().push(past.outcome);
        }
    }

    /// All is well from now on, and everything runs out.
    pub async fn run_out(&mut self) {
        {
            let mut ledger = self.gmail.ledger();
            ledger.benign = true;
            ledger.trouble = None;
        }
        self.relay().stepped.settlements_to_fail.store(0, Ordering::Relaxed);
        self.relay().spool.order(&Which::All, Order::Release, self.now).await.unwrap();
        for _ in 0..20_000 {
            if !self.attempts.is_empty() {
                self.proceed().await;
            } else if !self.claim().await {
                if self.relay().spool.list(&Which::All).await.unwrap().is_empty() {
                    return;
                }
                self.turn_clock(Duration::from_mins(10)).await;
            }
        }
        self.faults.push("something waits for ever".to_owned());
    }

    /// Ends the process.
    pub fn end(mut self) {
        self.drop_attempts();
        self.close();
    }
}
