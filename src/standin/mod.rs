//! A stand-in for Gmail: a mail server with TLS, login and Gmail's rules and words, for the demonstration and tests.
//!
//! Binds loopback ports and touches nothing else, but for the folder it may be told to write to. It is as strict as
//! Gmail is known to be, and stricter where RFC 5322 asks for it, so a message that gets through proves that it was
//! repaired. Faults are on order, as data ([`Rule`]). What it saw can be asked for and waited for. Nothing is left
//! behind when it is stopped or dropped. Starting is the only thing that can fail.

mod certificate;
mod command;
mod content;
mod folder;
mod ledger;
mod login;
mod script;
mod scrutiny;
mod session;
mod wire;
mod words;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use certificate::Certificate;
pub use ledger::{Counts, Keep, Received, Tally, TooLate};
pub use script::{Fault, Rule, RuleError, Stage, parse as parse_rules};

use content::Content;
use folder::Folder;
use ledger::Ledger;
use script::Script;

/// How the stand-in is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one who may log in.
    pub user: String,
    /// With this password; blanks don't matter on either side.
    pub password: String,
    /// How much is remembered of what comes in.
    pub keep: Keep,
    /// Listens on `[::1]` too, at the same ports.
    pub ipv6: bool,
    /// With TLS on connect; 0 for any free one.
    pub implicit_port: u16,
    /// With STARTTLS; 0 for any free one.
    pub starttls_port: u16,
    /// A bad one shows what clients do about it.
    pub certificate: Certificate,
    /// Refuses the EHLO names `localhost` and `[127.0.0.1]`, as smtp-relay.gmail.com does (gmail.md, section 1.3).
    pub refuse_localhost: bool,
    /// In one line, without its end; RFC 5322 §2.1.1 allows 998.
    pub line_bytes_max: usize,
    /// In one message; more are refused one by one.
    pub recipients_max: usize,
    /// Announced as SIZE, in bytes.
    pub size_max: u64,
    /// Extensions not to be offered, such as `PIPELINING`.
    pub leave_out: Vec<String>,
    /// Silence, or a reply that nobody reads, ends the connection after this time.
    pub idle_timeout: Duration,
    /// Faults from the first moment on.
    pub rules: Vec<Rule>,
    /// Where each message is written to, as `<n>.eml` and `<n>.json`.
    pub folder: Option<PathBuf>,
    /// Told of messages as they arrive.
    pub tally: Option<Tally>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            user: "me@gmail.com".into(),
            password: "abcd efgh ijkl mnop".into(),
            keep: Keep::Everything,
            ipv6: false,
            implicit_port: 0,
            starttls_port: 0,
            certificate: Certificate::Good,
            refuse_localhost: true,
            line_bytes_max: 998,
            recipients_max: 100,
            size_max: 35_882_577,
            leave_out: Vec::new(),
            idle_timeout: Duration::from_mins(10),
            rules: Vec::new(),
            folder: None,
            tally: None,
        }
    }
}

impl Options {
    /// What EHLO lists (gmail.md, section 1.2): AUTH only under TLS, STARTTLS only without.
    fn extensions(&self, encrypted: bool) -> impl Iterator<Item = String> {
        let size = format!("SIZE {}", self.size_max);
        let login =
            if encrypted { "AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH" } else { "STARTTLS" };
        let all = [&size, "8BITMIME", login, "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"];
        let left_out = |line: &&str| self.leave_out.iter().any(|name| line.split(' ').next() == Some(name));
        all.map(str::to_owned).into_iter().filter(move |line| !left_out(&line.as_str()))
    }
}

/// The ports it listens on, on each address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// With TLS on connect: what 465 is at Gmail.
    pub implicit: u16,
    /// With STARTTLS: what 587 is at Gmail.
    pub starttls: u16,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StandinError {
    #[error("the stand-in cannot listen on {0}: {1}")]
    Listen(IpAddr, io::Error),
    #[error("the stand-in cannot make its certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the stand-in cannot use its certificate: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the stand-in was not to run: {0}")]
    Started(io::Error),
    #[error("the stand-in cannot write to its folder: {0}")]
    Folder(io::Error),
}

/// How a port speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Implicit,
    Starttls,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Implicit => "implicit",
            Mode::Starttls => "starttls",
        }
    }
}

/// What all sessions share.
struct House {
    options: Options,
    acceptor: TlsAcceptor,
    ledger: Ledger,
    script: Script,
    folder: Option<Folder>,
}

impl House {
    fn new_content(&self) -> Content {
        let keep_body = self.ledger.keeps_everything() || self.folder.is_some();
        Content::new(keep_body, self.options.size_max, self.options.line_bytes_max)
    }
}

/// A running stand-in. Dropping it ends everything at once.
pub struct Standin {
    house: Arc<House>,
    ports: Ports,
    ca_pem: String,
    /// One task for each port and address; each owns the sessions that came in there.
    listeners: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Standin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standin").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Standin {
    /// Makes a certificate, binds the ports and starts to listen.
    ///
    /// # Errors
    /// Where one of them, or the folder, is not to be had.
    pub async fn start(options: Options) -> Result<Standin, StandinError> {
        let identity = certificate::make(options.certificate, session::now())?;
        let folder = options.folder.clone().map(Folder::open).transpose().map_err(StandinError::Folder)?;
        let (implicit, implicit_sockets) = bind(options.implicit_port, options.ipv6).await?;
        let (starttls, starttls_sockets) = bind(options.starttls_port, options.ipv6).await?;
        let house = Arc::new(House {
            acceptor: TlsAcceptor::from(identity.tls),
            ledger: Ledger::new(options.keep, options.tally.clone()),
            script: Script::default(),
            folder,
            options,
        });
        house.script.replace(house.options.rules.clone());
        let stopping = watch::Sender::new(false);
        let mut listeners = JoinSet::new();
        for (mode, sockets) in [(Mode::Implicit, implicit_sockets), (Mode::Starttls, starttls_sockets)] {
            for socket in sockets {
                listeners.spawn(listen(socket, mode, Arc::clone(&house), stopping.subscribe()));
            }
        }
        let ports = Ports { implicit, starttls };
        Ok(Standin { house, ports, ca_pem: identity.ca_pem, listeners, stopping })
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The authority that clients have to trust, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Writes that authority to a file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_ca(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, &self.ca_pem)
    }

    /// The options it was started with.
    pub fn options(&self) -> &Options {
        &self.house.options
    }

    /// Replaces all rules, from the next command on.
    pub fn script(&self, rules: Vec<Rule>) {
        self.house.script.replace(rules);
    }

    /// The messages accepted so far, in their order; none where only counts are kept.
    pub fn received(&self) -> Vec<Received> {
        self.house.ledger.received()
    }

    /// How much of everything there was so far.
    pub fn counts(&self) -> Counts {
        self.house.ledger.counts()
    }

    /// All conversations, that of session n at place n - 1; credentials are masked. None where only counts are kept.
    pub fn transcripts(&self) -> Vec<String> {
        self.house.ledger.transcripts()
    }

    /// Waits until `messages` were accepted since the start.
    ///
    /// # Errors
    /// Where that does not happen in time.
    pub async fn wait_for(&self, messages: u64, timeout: Duration) -> Result<Counts, TooLate> {
        self.wait_until(|counts| counts.messages >= messages, timeout).await
    }

    /// Waits until `met` holds; it is asked after each connection, login, message and refused message.
    ///
    /// # Errors
    /// Where that does not happen in time.
    pub async fn wait_until(&self, met: impl Fn(&Counts) -> bool, timeout: Duration) -> Result<Counts, TooLate> {
        self.house.ledger.wait_until(met, timeout).await
    }

    /// Ends every conversation where it stands, and returns when all tasks are gone.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

/// Runs a stand-in until `shutdown` resolves; `started` is told once it listens, and may end it. Returns what it counted.
///
/// # Errors
/// Where it does not start, or `started` fails.
pub async fn run(
    options: Options,
    started: impl FnOnce(&Standin) -> io::Result<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<Counts, StandinError> {
    let standin = Standin::start(options).await?;
    if let Err(error) = started(&standin) {
        standin.stop().await;
        return Err(StandinError::Started(error));
    }
    shutdown.await;
    let counts = standin.counts();
    standin.stop().await;
    Ok(counts)
}

/// Binds one port on the loopback addresses; any free one for 0.
async fn bind(port: u16, ipv6: bool) -> Result<(u16, Vec<TcpListener>), StandinError> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    // A port that is free on one address may be taken on the other, so a few may have to be tried.
    let mut tries = if port == 0 { 20 } else { 1 };
    loop {
        tries -= 1;
        let socket = TcpListener::bind((v4, port)).await.map_err(|error| StandinError::Listen(v4, error))?;
        let bound = socket.local_addr().map_err(|error| StandinError::Listen(v4, error))?.port();
        if !ipv6 {
            return Ok((bound, vec![socket]));
        }
        match TcpListener::bind((v6, bound)).await {
            Ok(other) => return Ok((bound, vec![socket, other])),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(StandinError::Listen(v6, error)),
        }
    }
}

async fn listen(listener: TcpListener, mode: Mode, house: Arc<House>, mut stopping: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopping.changed() => break,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    sessions.spawn(session::run(Arc::clone(&house), socket, peer.ip(), mode));
                }
                // Out of file descriptors, most likely: it passes, but not at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
    sessions.shutdown().await;
}
