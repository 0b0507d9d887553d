//! `smarthost demo`: the whole way of a message, with nothing needed: a stand-in plays Gmail.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::level_filters::LevelFilter;

use super::{Failure, Global};
use crate::config::{self, Environment};
use crate::daemon::{Asked, Daemon, Signals};
use crate::listener::BoundAddress;
use crate::log;
use crate::standin::{self, Standin};

/// How long a step of the demonstration may take; each takes milliseconds.
const STEP_DEADLINE: Duration = Duration::from_secs(20);

/// What an old device sends: no Date, no Message-ID, bare line feeds, a sender that is nobody at Gmail.
const MESSAGE: &str = "From: UPS in the cellar <ups@cellar.local>\nTo: you@example.com\nSubject: Battery low\n\n\
                       The battery is at 11 %. Time to save your work.\n";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long to stay for messages of your own, in seconds; 0 ends after the first message. Without it: until Ctrl-C
    /// on a terminal, 0 otherwise.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    if global.verbose {
        log::start(log::Format::Text, LevelFilter::DEBUG);
    }
    let mut signals = Signals::listen()?;
    let folder = tempfile::tempdir()?;
    let gmail = Standin::start(standin::Options::default()).await;
    let gmail = gmail.map_err(|error| Failure::Unavailable(error.to_string()))?;
    let environment = environment(&gmail, folder.path())?;
    let config = config::load(None, &environment).map_err(Failure::Configuration)?.config;
    let daemon = Daemon::start(config).await?;
    let shown = show(&gmail, &daemon, options, &mut signals).await;
    daemon.stop().await;
    gmail.stop().await;
    shown
}

/// The relay of the demonstration is configured as a container is: by the environment alone.
fn environment(gmail: &Standin, folder: &std::path::Path) -> Result<Environment, Failure> {
    let ca_file = folder.join("ca.pem");
    gmail.write_ca(&ca_file)?;
    let account = gmail.options();
    let variables = [
        ("GMAIL_USER", account.user.clone()),
        ("GMAIL_APP_PASSWORD", account.password.clone()),
        ("GMAIL_HOST", "localhost".to_owned()),
        ("GMAIL_PORT", gmail.ports().implicit.to_string()),
        ("GMAIL_TLS", "implicit".to_owned()),
        ("GMAIL_CA_FILE", ca_file.display().to_string()),
        ("SMARTHOST_HOSTNAME", "relay.example.net".to_owned()),
        ("SMARTHOST_LISTEN", "localhost:0".to_owned()),
        ("SMARTHOST_SPOOL", folder.join("spool").display().to_string()),
    ];
    let variables: BTreeMap<String, String> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Environment { variables, ..Environment::default() })
}

async fn show(gmail: &Standin, daemon: &Daemon, options: &Options, signals: &mut Signals) -> Result<(), Failure> {
    let Some(&BoundAddress::Tcp(address)) = daemon.addresses.first() else {
        return Err(Failure::Unavailable("no address to listen on".to_owned()));
    };
    say("A stand-in for Gmail and a relay are running on this machine. An old device now sends its alarm:\n")?;
    send_as_a_device(address).await?;
    show_arrivals(gmail, 0).await?;
    let stay = match options.seconds {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None if io::stdout().is_terminal() => None,
        None => Some(Duration::ZERO),
    };
    if stay == Some(Duration::ZERO) {
        return say("This is what smarthost does. `smarthost demo --seconds 600` stays for messages of your own.");
    }
    say(&format!(
        "Now send something of your own to {address}, for example:\n\n  \
         printf 'Subject: hello\\n\\nIt works.\\n' | curl -sT - --mail-from me@nas --mail-rcpt you@example.com \
         smtp://{address}\n\nCtrl-C ends."
    ))?;
    watch(gmail, stay, signals).await
}

async fn watch(gmail: &Standin, stay: Option<Duration>, signals: &mut Signals) -> Result<(), Failure> {
    let end = sleep(stay.unwrap_or(Duration::MAX));
    tokio::pin!(end);
    let mut seen = 1;
    loop {
        tokio::select! {
            arrived = gmail.wait_for(seen + 1, Duration::from_hours(1)) => if arrived.is_ok() {
                show_arrivals(gmail, usize::try_from(seen).unwrap_or(usize::MAX)).await?;
                seen = gmail.received().len() as u64;
            },
            () = &mut end => return Ok(()),
            asked = signals.next() => if let Asked::Stop(_) = asked {
                return say("");
            },
        }
    }
}

fn say(words: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{words}")?)
}

/// Speaks as old firmware does, and shows the dialogue.
async fn send_as_a_device(address: SocketAddr) -> Result<(), Failure> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    show_reply(&mut stream).await?;
    let message = format!("{}\r\n.", MESSAGE.trim_end());
    for command in
        ["HELO ups", "MAIL FROM:<ups@cellar.local>", "RCPT TO:<you@example.com>", "DATA", message.as_str(), "QUIT"]
    {
        for line in command.lines() {
            say(&format!("  device  {line}"))?;
        }
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).await?;
        show_reply(&mut stream).await?;
    }
    say("")
}

async fn show_reply(stream: &mut BufReader<TcpStream>) -> Result<(), Failure> {
    let mut line = String::new();
    timeout(STEP_DEADLINE, stream.read_line(&mut line))
        .await
        .map_err(|_| Failure::Unavailable("the relay does not answer".to_owned()))??;
    say(&format!("   relay  {}", line.trim_end()))
}

/// Shows what the stand-in has received since the first `seen` messages.
async fn show_arrivals(gmail: &Standin, seen: usize) -> Result<(), Failure> {
    gmail
        .wait_for(seen as u64 + 1, STEP_DEADLINE)
        .await
        .map_err(|_| Failure::Unavailable("the message did not arrive at the stand-in".to_owned()))?;
    for message in gmail.received().iter().skip(seen) {
        say(&format!(
            "Arrived at the stand-in over TLS, with a login, for {} (from {}):\n",
            message.recipients.join(", "),
            message.mail_from
        ))?;
        for line in String::from_utf8_lossy(&message.content).lines() {
            say(&format!("  | {}", line.trim_end()))?;
        }
        say("")?;
    }
    Ok(())
}
