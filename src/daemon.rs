//! The relay as a whole: builds the roles, joins them, and owns start, reload and end.
//!
//! The end is a story of four moves: take no more connections; let sessions come to a safe point; let attempts that
//! are under way come to their end, or break them off when time is short; close the spool. Nothing is lost at
//! any of them, since what was not settled is still in the spool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::clock::now;
use crate::config::{AccountSettings, Config, Keep};
use crate::delivery::fallback::{Link, Ward};
use crate::delivery::{self, Delivery};
use crate::event::{self, Event};
use crate::listener::tls::{self, Certificate, CertificateError, CertificateFiles};
use crate::listener::trace;
use crate::listener::{self, BindError, Bound, BoundAddress, Seats, Service, TlsMode};
use crate::smtp;
use crate::spool::sqlite::{OpenError, SqliteSpool};
use crate::spool::{Heir, Noted, Order, Spool, SpoolError, Which};
use crate::upstream::Upstream;
use crate::upstream::connect::{Endpoint, Trust, TrustError};
use crate::upstream::credentials::Credentials;
use crate::upstream::gmail::Gmail;

/// From the order to stop until what is still under way is broken off. With what follows it stays below the
/// ten seconds that container runtimes grant.
const GRACE: Duration = Duration::from_secs(6);
/// For tasks that were broken off to end.
const LETTING_GO: Duration = Duration::from_millis(500);
/// From the order to stop until the spool is left as it is, should its disk hang.
const END: Duration = Duration::from_millis(7500);
const HOUSEKEEPING_EVERY: Duration = Duration::from_mins(1);
/// File descriptors that one delivery needs at most: a connection and a reader of the spool (its database and its log),
/// or instead of the connection a name that is looked up.
const DESCRIPTORS_OF_A_DELIVERY: usize = 4;
/// Those that come and go beside deliveries and clients, as while the configuration is read again.
const DESCRIPTORS_TO_SPARE: usize = 2;

/// Why the relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Spool(#[from] OpenError),
    #[error(transparent)]
    Listen(#[from] BindError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// A relay that is running.
pub struct Daemon {
    spool: Arc<SqliteSpool>,
    /// Where clients may connect.
    pub addresses: Vec<BoundAddress>,
    config: Config,
    stop: watch::Sender<bool>,
    session: watch::Sender<Arc<smtp::Settings>>,
    keep: watch::Sender<Keep>,
    doors: HashMap<String, watch::Sender<listener::Settings>>,
    certificate: ShownCertificate,
    listeners: JoinSet<()>,
    delivery: Deliveries,
    housekeeping: JoinHandle<()>,
    traces: watch::Sender<Arc<Vec<trace::Want>>>,
    /// Looks for orders to write conversations down.
    orders: JoinHandle<()>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Daemon {{ {:?} }}", self.addresses)
    }
}

/// The certificate that clients see, and what keeps it up to date.
struct ShownCertificate {
    shown: watch::Sender<Option<Arc<ServerConfig>>>,
    keeper: Option<JoinHandle<()>>,
}

/// The deliveries. Those of the configuration before may still have an attempt under way.
struct Deliveries {
    /// Ends the newest ones.
    stop: watch::Sender<bool>,
    /// By account.
    lines: HashMap<String, Lines>,
    tasks: JoinSet<()>,
}

/// One permit for each connection that an account is allowed.
struct Lines {
    permits: Arc<Semaphore>,
    count: usize,
}

impl Daemon {
    /// Opens the spool, takes the addresses, and begins to deliver what waits.
    ///
    /// # Errors
    /// Says what is in the way; nothing is left running then.
    pub async fn start(config: Config) -> Result<Daemon, StartError> {
        let trusts = trusts(&config)?;
        let certificate = read_certificate(&config)?;
        let mut bound = listener::inherited(&config.listeners)?;
        if bound.is_empty() {
            for settings in &config.listeners {
                bound.extend(listener::bind(settings)?);
            }
        }
        let spool = Arc::new(SqliteSpool::open(&config.spool, now())?);
        spool.limit_share(config.policy.limits.spool_share_percent);
        let (stop, _) = watch::channel(false);
        let (keep, keep_settings) = watch::channel(config.keep);
        let (session, session_settings) = watch::channel(Arc::new(session_settings(&config)));
        let seats = seats(&config, bound.len());
        let (traces, configured) = watch::channel(Arc::new(config.traces.clone()));
        let (wants, wanted) = watch::channel(Arc::new(config.traces.clone()));
        let certificate = ShownCertificate::show(certificate);
        let shown = certificate.shown.subscribe();
        let service =
            Service::new(Arc::clone(&spool) as Arc<dyn Spool>, session_settings, shown, seats).tracing(wanted);
        let service = Arc::new(service);
        let addresses = bound.iter().map(|bound| bound.address.clone()).collect();
        let mut daemon = Daemon {
            delivery: Deliveries::start(&spool, &config, trusts).await,
            orders: tokio::spawn(trace::follow_orders(config.spool.clone(), configured, wants)),
            traces,
            housekeeping: tokio::spawn(keep_house(Arc::clone(&spool), session.subscribe(), keep_settings)),
            spool,
            addresses,
            config,
            stop,
            session,
            keep,
            doors: HashMap::new(),
            certificate,
            listeners: JoinSet::new(),
        };
        for bound in bound {
            daemon.listen(&service, bound);
        }
        let addresses: Vec<String> = daemon.addresses.iter().map(ToString::to_string).collect();
        event::log(&Event::Ready { addresses: &addresses.join(", ") });
        Ok(daemon)
    }

    fn listen(&mut self, service: &Arc<Service>, bound: Bound) {
        let door = self.doors.entry(bound.settings.address.clone());
        let door = door.or_insert_with(|| watch::channel(bound.settings.clone()).0);
        self.listeners.spawn(Arc::clone(service).serve(bound, door.subscribe(), self.stop.subscribe()));
    }

    /// Goes on under another configuration. What cannot change while running is said, and stays as it was.
    pub async fn reload(&mut self, config: Config) -> Result<(), StartError> {
        let trusts = trusts(&config)?;
        let certificate = read_certificate(&config)?;
        let fixed = fixed_parts_that_differ(&self.config, &config);
        self.session.send_replace(Arc::new(session_settings(&config)));
        self.spool.limit_share(config.policy.limits.spool_share_percent);
        self.keep.send_replace(config.keep);
        self.traces.send_replace(Arc::new(config.traces.clone()));
        if certificate.is_some() {
            self.certificate.replace(certificate);
        }
        for settings in &config.listeners {
            if let Some(door) = self.doors.get(&settings.address) {
                door.send_replace(settings.clone());
            }
        }
        // An address that is no longer written stays open until the restart, and must not begin to speak in the clear.
        if self.doors.values().all(|door| door.borrow().tls == TlsMode::Off) {
            self.certificate.replace(None);
        }
        self.delivery.replace(&self.spool, &config, trusts).await;
        let changes = match fixed.as_slice() {
            [] => "everything is in force".to_owned(),
            fixed => format!("in force, except for {}, which needs a restart", fixed.join(" and ")),
        };
        event::log(&Event::Reloaded { changes: &changes });
        self.config = with_fixed_parts_of(&self.config, config);
        Ok(())
    }

    /// Ends in order. Takes no longer than eight seconds.
    pub async fn stop(mut self) {
        let end = Instant::now() + END;
        self.stop.send_replace(true);
        self.delivery.stop.send_replace(true);
        self.housekeeping.abort();
        self.orders.abort();
        if let Some(keeper) = &self.certificate.keeper {
            keeper.abort();
        }
        let orderly = async {
            while self.listeners.join_next().await.is_some() {}
            while self.delivery.tasks.join_next().await.is_some() {}
        };
        if timeout(GRACE, orderly).await.is_err() {
            self.delivery.tasks.shutdown().await;
            self.listeners.shutdown().await;
        }
        let _ = (&mut self.housekeeping).await;
        // Tasks that were broken off may take a moment to let go of the spool.
        let began = Instant::now();
        while Arc::strong_count(&self.spool) > 1 && began.elapsed() < LETTING_GO {
            sleep(Duration::from_millis(5)).await;
        }
        if let Some(spool) = Arc::into_inner(self.spool) {
            // What is not synced by then nobody was promised.
            let _ = timeout_at(end, tokio::task::spawn_blocking(|| spool.close())).await;
        }
    }
}

impl ShownCertificate {
    fn show(certificate: Option<Certificate>) -> ShownCertificate {
        let mut shown = ShownCertificate { shown: watch::channel(None).0, keeper: None };
        shown.replace(certificate);
        shown
    }

    fn replace(&mut self, certificate: Option<Certificate>) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        self.shown.send_replace(certificate.as_ref().map(|certificate| Arc::clone(&certificate.tls)));
        if let Some(certificate) = certificate {
            certificate.warnings(now()).iter().for_each(|warning| event::log(&Event::Warning { warning }));
            self.keeper = Some(tokio::spawn(tls::keep(certificate, self.shown.clone())));
        }
    }
}

impl Deliveries {
    async fn start(spool: &Arc<SqliteSpool>, config: &Config, trusts: Vec<Trust>) -> Deliveries {
        let mut deliveries = Deliveries { stop: watch::channel(false).0, lines: HashMap::new(), tasks: JoinSet::new() };
        deliveries.begin(spool, config, trusts).await;
        deliveries
    }

    async fn begin(&mut self, spool: &Arc<SqliteSpool>, config: &Config, trusts: Vec<Trust>) {
        make_due(spool.as_ref(), Arc::new(session_settings(config))).await;
        let mut deliveries = HashMap::new();
        for account in &config.accounts {
            let noted = noted(spool.as_ref(), &account.name).await;
            let spool = Arc::clone(spool) as Arc<dyn Spool>;
            let delivery = Delivery::new(spool, delivery_settings(config, account), noted, now());
            deliveries.insert(account.name.as_str(), Arc::new(delivery));
        }
        for (account, trust) in config.accounts.iter().zip(trusts) {
            let Some(delivery) = deliveries.get(account.name.as_str()) else { continue };
            delivery.stand_in_for(wards(config, account, &deliveries));
            let endpoint = endpoint(config, account, trust);
            let credentials = credentials(account);
            let make_upstream =
                move || Box::new(Gmail::new(endpoint.clone(), credentials.clone())) as Box<dyn Upstream>;
            let lines = self.lines_of(account);
            self.tasks.spawn(Arc::clone(delivery).run(make_upstream, now, lines, self.stop.subscribe()));
        }
    }

    /// Goes on under another configuration, once an attempt that is under way has left its line.
    async fn replace(&mut self, spool: &Arc<SqliteSpool>, new: &Config, trusts: Vec<Trust>) {
        self.stop.send_replace(true);
        self.stop = watch::channel(false).0;
        self.lines.retain(|name, _| new.accounts.iter().any(|account| account.name == *name));
        self.begin(spool, new, trusts).await;
    }

    /// The lines of an account, as many as it is allowed now.
    fn lines_of(&mut self, account: &AccountSettings) -> Arc<Semaphore> {
        let after = account.connections;
        let new = || Lines { permits: Arc::new(Semaphore::new(after)), count: after };
        let lines = self.lines.entry(account.name.clone()).or_insert_with(new);
        let permits = Arc::clone(&lines.permits);
        let before = std::mem::replace(&mut lines.count, after);
        permits.add_permits(after.saturating_sub(before));
        if let Ok(fewer @ 1..) = u32::try_from(before.saturating_sub(after)) {
            let permits = Arc::clone(&permits);
            self.tasks.spawn(async move {
                if let Ok(permits) = permits.acquire_many_owned(fewer).await {
                    permits.forget();
                }
            });
        }
        permits
    }
}

/// The accounts that `account` stands in for: those whose chain of fallbacks leads to it. The configuration has no
/// circles.
fn wards(config: &Config, account: &AccountSettings, deliveries: &HashMap<&str, Arc<Delivery>>) -> Vec<Ward> {
    let place = |other: &AccountSettings| (other.host.clone(), other.port);
    let of_chain_from = |first: &AccountSettings| {
        let mut chain = Vec::new();
        let mut next = first;
        while next.name != account.name {
            let delivery = Arc::clone(deliveries.get(next.name.as_str())?);
            chain.push(Link { delivery, elsewhere: place(next) != place(account) });
            let fallback = next.fallback.as_deref()?;
            next = config.accounts.iter().find(|other| other.name == fallback)?;
        }
        Some(Ward { chain }).filter(|ward| !ward.chain.is_empty())
    };
    config.accounts.iter().filter_map(of_chain_from).collect()
}

/// As many connections of clients as there are file descriptors for, besides those that are open by now and those that
/// deliveries need: mail that cannot go out or be stored helps no client.
fn seats(config: &Config, listeners: usize) -> Seats {
    let limit = listener::raise_descriptor_limit();
    let connections: usize = config.accounts.iter().map(|account| account.connections).sum();
    let deliveries = connections.saturating_mul(DESCRIPTORS_OF_A_DELIVERY);
    // Each listener holds one while it decides what becomes of a client.
    let others = [listener::open_descriptors(), deliveries, listeners, DESCRIPTORS_TO_SPARE];
    let left = others.iter().fold(limit, |left, count| left.saturating_sub(*count));
    let wanted = config.policy.limits.connections;
    let seats = Seats::within(left, wanted);
    if seats.places < wanted {
        let warning = format!(
            "only {} clients can be connected at the same time, not {wanted} (`limits.connections`): this process may have \
             {limit} files and sockets open. Let it have more, as with `ulimit -n` or LimitNOFILE= in a systemd service",
            seats.places
        );
        event::log(&Event::Warning { warning: &warning });
    }
    seats
}

/// A start and a reload are what people do when they have mended something: everything is due at once.
async fn make_due(spool: &dyn Spool, session: Arc<smtp::Settings>) {
    let adopted = adopt(spool, session).await;
    let ordered = spool.order(&Which::All, Order::Retry, now()).await;
    if let Err(error) = adopted.and(ordered.map(|_| ())) {
        event::log(&Event::SpoolFailed { reason: &error.to_string() });
    }
}

/// What was wrong with an account is told as wrong until a probe has found out, so that a relay that is started again
/// and again does not log in with every message.
async fn noted(spool: &dyn Spool, account: &str) -> Noted {
    spool.noted(account).await.unwrap_or_else(|error| {
        event::log(&Event::SpoolFailed { reason: &error.to_string() });
        Noted::default()
    })
}

/// Mail of accounts that are gone goes through those that the rules now name.
async fn adopt(spool: &dyn Spool, session: Arc<smtp::Settings>) -> Result<(), SpoolError> {
    let accounts = session.policy.routes.accounts();
    loop {
        let session = Arc::clone(&session);
        let heir: Heir = Box::new(move |sender, client| session.policy.account(sender, client).to_owned());
        if spool.adopt(&accounts, heir).await? == 0 {
            return Ok(());
        }
    }
}

/// Forgets old history, and finds mail that was accepted for an account which a reload has replaced since.
async fn keep_house(
    spool: Arc<SqliteSpool>,
    session: watch::Receiver<Arc<smtp::Settings>>,
    keep: watch::Receiver<Keep>,
) {
    loop {
        let settings = Arc::clone(&session.borrow());
        let adopted = adopt(spool.as_ref(), settings).await;
        let history = keep.borrow().history;
        let pruned = prune(&spool, history).await;
        if let Err(error) = adopted.and(pruned) {
            event::log(&Event::SpoolFailed { reason: &error.to_string() });
        }
        sleep(HOUSEKEEPING_EVERY).await;
    }
}

/// Forgets what is kept no longer, in small steps: acceptance waits during each.
async fn prune(spool: &SqliteSpool, history: Duration) -> Result<(), SpoolError> {
    while spool.prune(now(), history).await? {}
    Ok(())
}

/// The certificate for clients, where any listener has use for one.
///
/// # Errors
/// Where it is not there or of no use.
pub fn read_certificate(config: &Config) -> Result<Option<Certificate>, CertificateError> {
    let wanted = config.listeners.iter().any(|listener| listener.tls != TlsMode::Off);
    config.tls.as_ref().filter(|_| wanted).map(CertificateFiles::read).transpose()
}

fn session_settings(config: &Config) -> smtp::Settings {
    smtp::Settings { policy: config.policy.clone() }
}

fn trusts(config: &Config) -> Result<Vec<Trust>, TrustError> {
    config.accounts.iter().map(|account| Trust::new(account.ca_file.as_deref())).collect()
}

fn delivery_settings(config: &Config, account: &AccountSettings) -> delivery::Settings {
    delivery::Settings {
        account: account.name.clone(),
        address: account.user.clone(),
        connections: account.connections,
        daily_limit: account.daily_limit,
        patience: config.retry,
        keep_content: config.keep.content,
        pauses: delivery::account::Pauses { first: config.retry.first, longest: config.retry.longest },
        policy: config.policy.clone(),
        repair: repair_settings(config, account),
    }
}

/// What repair has to know for an account.
#[must_use]
pub fn repair_settings(config: &Config, account: &AccountSettings) -> delivery::repair::Settings {
    delivery::repair::Settings {
        hostname: config.policy.hostname.clone(),
        account_address: account.user.clone(),
        from: account.from,
        send_as: account.send_as.clone(),
    }
}

/// Where Gmail is, for an account.
#[must_use]
pub fn endpoint(config: &Config, account: &AccountSettings, trust: Trust) -> Endpoint {
    let (host, port, tls) = (account.host.clone(), account.port, account.tls);
    Endpoint { host, port, tls, hostname: config.policy.hostname.clone(), trust }
}

/// What proves who we are there.
#[must_use]
pub fn credentials(account: &AccountSettings) -> Credentials {
    Credentials { user: account.user.to_string(), app_password: account.app_password.clone() }
}

/// The new configuration as far as it is in force: the next reload is compared with this.
fn with_fixed_parts_of(old: &Config, mut new: Config) -> Config {
    new.listeners.clone_from(&old.listeners);
    new.spool.clone_from(&old.spool);
    new.log = old.log.clone();
    new.policy.limits.connections = old.policy.limits.connections;
    new
}

/// What was changed but cannot be, while the relay runs.
fn fixed_parts_that_differ(old: &Config, new: &Config) -> Vec<&'static str> {
    let addresses =
        |config: &Config| -> Vec<String> { config.listeners.iter().map(|listener| listener.address.clone()).collect() };
    let changes = [
        ("the addresses to listen on", addresses(old) != addresses(new)),
        ("spool.path", old.spool != new.spool),
        ("limits.connections", old.policy.limits.connections != new.policy.limits.connections),
        ("[log]", old.log != new.log),
    ];
    changes.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// What the operating system asks of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Reload,
    Stop(&'static str),
}

/// The signals that a relay listens to.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn listen() -> Result<Signals, StartError> {
        let of = |kind| signal(kind).map_err(StartError::Signals);
        Ok(Signals {
            hangup: of(SignalKind::hangup())?,
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
        }
    }
}
