//! `smarthost standin`: plays Gmail on loopback ports, for tests of your own.

use std::io::{self, Write};
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{Failure, Global};
use crate::daemon::{Asked, Signals};
use crate::mail::Timestamp;
use crate::standin::{self, Keep, Standin, StandinError, Tally, parse_rules};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The port with TLS on connect; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port with STARTTLS; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    starttls_port: u16,
    /// Who may log in.
    #[arg(long, default_value = "me@gmail.com")]
    user: String,
    /// With this password. It is for tests: do not give a real one.
    #[arg(long, default_value = "abcd efgh ijkl mnop")]
    password: String,
    /// Where to write the certificate to trust: a `ca_file`.
    #[arg(long, value_name = "PATH")]
    ca_file: PathBuf,
    /// Write every message into this folder, as `N.eml` and `N.json`.
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
    /// Misbehave: `rcpt bad@ => 550 5.1.1 no such user`, `dot times=1 => close`, `all delay=20ms`.
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    /// Count messages and forget them.
    #[arg(long)]
    counts_only: bool,
    /// Print a line with the time, in seconds since 1970, when N messages have come, and again after each N.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tell_every: Option<u64>,
}

pub async fn run(_: &Global, options: &Options) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let rules = parse_rules(&options.rules.join("\n")).map_err(|error| Failure::BadInput(error.to_string()))?;
    let (to, mut arrivals) = mpsc::unbounded_channel();
    let settings = standin::Options {
        user: options.user.clone(),
        password: options.password.clone(),
        keep: if options.counts_only { Keep::CountsOnly } else { Keep::Everything },
        ipv6: true,
        implicit_port: options.port,
        starttls_port: options.starttls_port,
        rules,
        folder: options.folder.clone(),
        tally: options.tell_every.map(|every| Tally { every, to }),
        ..standin::Options::default()
    };
    let telling = tokio::spawn(async move {
        while let Some((number, at)) = arrivals.recv().await {
            tell_arrival(number, at)?;
        }
        io::Result::Ok(())
    });
    let asked_to_stop = async { while signals.next().await == Asked::Reload {} };
    let counts = standin::run(settings, |standin| tell(standin, options), asked_to_stop).await;
    telling.abort();
    let counts = counts.map_err(|error| match error {
        StandinError::Started(error) => Failure::Io(error),
        error => Failure::Unavailable(error.to_string()),
    })?;
    Ok(writeln!(io::stdout(), "{counts:#?}")?)
}

fn tell(standin: &Standin, options: &Options) -> io::Result<()> {
    let path = options.ca_file.display();
    let written = standin.write_ca(&options.ca_file);
    written.map_err(|error| io::Error::new(error.kind(), format!("cannot write {path}: {error}")))?;
    let ports = standin.ports();
    writeln!(
        io::stdout(),
        "Playing Gmail at localhost:{} (TLS on connect) and localhost:{} (STARTTLS); trust {path}.",
        ports.implicit,
        ports.starttls
    )
}

fn tell_arrival(number: u64, at: Timestamp) -> io::Result<()> {
    let at_us = at.as_microsecond();
    writeln!(io::stdout(), "{number} messages at {}.{:06}", at_us / 1_000_000, at_us % 1_000_000)
}
