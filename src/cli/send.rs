//! `smarthost send`: one message through the listener, as any client would send it, followed to its end.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::{Failure, Global, table};
use crate::clock::now;
use crate::config::Config;
use crate::listener::{Host, Settings, TlsMode};
use crate::mail::{Address, MessageId};
use crate::spool::sqlite::SqliteSpool;
use crate::spool::{Record, Spool};

/// How long the listener may take for one reply.
const REPLY_DEADLINE: Duration = Duration::from_secs(30);
/// How often the history is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Whom to send to.
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<Address>,
    /// The sender, which may decide about the account. Without it: the default account itself.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<Address>,
    /// The subject, where no file is given.
    #[arg(long, default_value = "Test from smarthost")]
    subject: String,
    /// How long to follow the message, such as `30s`; `0s` is until it is accepted.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// A whole message to send, header and all; `-` is standard input.
    file: Option<PathBuf>,
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let config = global.config()?;
    let account = config.default_account().map(|account| account.user.clone());
    let from = options.from.clone().or(account).ok_or_else(|| Failure::BadInput("who sends it? add --from".into()))?;
    let content = content(options, &from)?;
    let id = hand_over(&config, &from, &options.to, &content).await?;
    writeln!(io::stdout(), "Accepted by the relay as {id}.")?;
    let spool = SqliteSpool::open_beside(&config.spool)?;
    if config.accounts.len() > 1
        && let Some(record) = spool.show(id).await?
    {
        writeln!(io::stdout(), "It is for the account \"{}\".", record.submission.account)?;
    }
    follow(&spool, id, options.wait).await
}

/// The message, with CRLF line ends and its dots stuffed.
fn content(options: &Options, from: &Address) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    match &options.file {
        Some(path) if path.as_os_str() == "-" => drop(io::stdin().read_to_end(&mut text)?),
        Some(path) => {
            text = fs::read(path).map_err(|error| Failure::BadInput(format!("{}: {error}", path.display())))?;
        }
        None => {
            let to: Vec<String> = options.to.iter().map(ToString::to_string).collect();
            text = format!(
                "From: {from}\nTo: {}\nSubject: {}\n\nThis is a test, sent with `smarthost send` on {}.\n",
                to.join(", "),
                options.subject.replace(['\r', '\n'], " "),
                table::time(now()),
            )
            .into_bytes();
        }
    }
    let mut wire = Vec::with_capacity(text.len() + 512);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        wire.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    Ok(wire)
}

/// A conversation with the relay, in the manner of an old device: one command, one reply.
struct Conversation {
    stream: BufReader<Box<dyn Stream>>,
}

/// TCP, or a Unix socket.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Whether this command can speak there: without TLS, and without a proxy in front.
fn is_plain(listener: &Settings) -> bool {
    listener.tls != TlsMode::Implicit && listener.proxy_from.is_none()
}

impl Conversation {
    async fn begin(config: &Config) -> Result<Conversation, Failure> {
        let listener = config.listeners.iter().find(|listener| is_plain(listener)).ok_or_else(|| {
            Failure::Unavailable("no listener speaks plain SMTP, so there is none to send through".into())
        })?;
        let host = match &listener.host {
            Host::Every => "localhost".to_owned(),
            Host::Ip(ip) if ip.is_unspecified() => "localhost".to_owned(),
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
            Host::Unix(_) => String::new(),
        };
        let stream = match &listener.host {
            Host::Unix(path) => UnixStream::connect(path).await.map(|stream| Box::new(stream) as Box<dyn Stream>),
            _ => TcpStream::connect((host.as_str(), listener.port))
                .await
                .map(|stream| Box::new(stream) as Box<dyn Stream>),
        };
        let stream = stream.map_err(|error| {
            Failure::Unavailable(format!(
                "no relay answers at {}: {error}. Is `smarthost run` running with this configuration?",
                listener.address
            ))
        })?;
        let mut conversation = Conversation { stream: BufReader::new(stream) };
        conversation.reply("220").await?;
        Ok(conversation)
    }

    async fn say(&mut self, command: &[u8], wanted: &str) -> Result<String, Failure> {
        let written = self.stream.get_mut().write_all(command).await;
        written.map_err(|error| Failure::Unavailable(format!("the relay closed the connection: {error}")))?;
        self.reply(wanted).await
    }

    /// Reads a whole reply; returns its last line.
    async fn reply(&mut self, wanted: &str) -> Result<String, Failure> {
        loop {
            let mut line = String::new();
            let read = timeout(REPLY_DEADLINE, self.stream.read_line(&mut line)).await;
            let line = match read {
                Ok(Ok(1..)) => line.trim_end().to_owned(),
                Ok(Ok(0)) => return Err(Failure::Unavailable("the relay closed the connection".into())),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Failure::Unavailable("the relay does not answer".into())),
            };
            match line.get(3..4) {
                Some("-") => {}
                _ if line.starts_with(wanted) => return Ok(line),
                _ => return Err(Failure::Unavailable(format!("the relay says: {line}"))),
            }
        }
    }
}

async fn hand_over(config: &Config, from: &Address, to: &[Address], content: &[u8]) -> Result<MessageId, Failure> {
    let mut relay = Conversation::begin(config).await?;
    relay.say(b"EHLO localhost\r\n", "250").await?;
    let utf8 = from.needs_smtputf8() || to.iter().any(Address::needs_smtputf8);
    let utf8 = if utf8 { " SMTPUTF8" } else { "" };
    relay.say(format!("MAIL FROM:<{from}>{utf8}\r\n").as_bytes(), "250").await?;
    for address in to {
        relay.say(format!("RCPT TO:<{address}>\r\n").as_bytes(), "250").await?;
    }
    relay.say(b"DATA\r\n", "354").await?;
    let accepted = relay.say(content, "250").await?;
    relay.say(b"QUIT\r\n", "221").await?;
    let id = accepted.rsplit(' ').next().and_then(|word| word.parse().ok());
    id.ok_or_else(|| Failure::Unavailable(format!("what answered is no smarthost: {accepted}")))
}

/// Tells each thing that happens to the message, until nobody is owed it or time is up.
async fn follow(spool: &SqliteSpool, id: MessageId, patience: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    let mut told = 0;
    while began.elapsed() < patience {
        let Some(Record { past, queued, .. }) = spool.show(id).await? else {
            return Err(Failure::Unavailable(format!(
                "the relay that answered does not use this configuration's spool; {id} is in another one"
            )));
        };
        for past in &past[told.min(past.len())..] {
            writeln!(io::stdout(), "{}: {} ({})", past.to.address, past.outcome, past.reply)?;
        }
        told = past.len();
        if queued.is_none() {
            let failed =
                past.iter().any(|past| !["delivered", "deferred", "uncertain"].contains(&past.outcome.as_str()));
            return if failed { Err(Failure::Unavailable("not everybody gets it".to_owned())) } else { Ok(()) };
        }
        sleep(LOOK_EVERY).await;
    }
    writeln!(io::stdout(), "It waits in the queue; `smarthost queue show {id}` tells how it goes on.")?;
    Ok(())
}
