//! `smarthost history`: what was delivered, refused or given up.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::sleep;

use super::queue::past_json;
use super::{Failure, Global, print_json, table};
use crate::clock::now;
use crate::spool::{Filter, Past, Spool};

/// How often `--follow` looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Only what happened in this time until now, such as `2h`, `30m` or `7d`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only recipients with this in their address.
    #[arg(long, value_name = "TEXT")]
    to: Option<String>,
    /// Only senders with this in their address.
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// Only clients with this in their name, address or login.
    #[arg(long, value_name = "TEXT")]
    client: Option<String>,
    /// Only what went through this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Attempts after which the mail was still owed, too.
    #[arg(long)]
    attempts: bool,
    /// At most so many entries.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Go on, and print what happens from now on, oldest first.
    #[arg(long)]
    follow: bool,
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let spool = global.spool()?;
    let mut filter = Filter {
        since: options.since.and_then(|since| now().checked_sub(since).ok()),
        to: options.to.clone(),
        from: options.from.clone(),
        client: options.client.clone(),
        account: options.account.clone(),
        only_final: !options.attempts,
        after: None,
        limit: options.limit,
    };
    let mut past = spool.history(&filter).await?;
    if !options.follow {
        if past.is_empty() && !options.json {
            return Ok(writeln!(io::stdout(), "Nothing in the history fits.")?);
        }
        return past.iter().try_for_each(|(_, past)| print(options, past));
    }
    loop {
        past.reverse();
        past.iter().try_for_each(|(_, past)| print(options, past))?;
        io::stdout().flush()?;
        filter.after = past.last().map(|(number, _)| *number).or(filter.after);
        sleep(LOOK_EVERY).await;
        past = spool.history(&filter).await?;
    }
}

fn print(options: &Options, past: &Past) -> Result<(), Failure> {
    if options.json {
        return print_json(&past_json(past));
    }
    let line = format!(
        "{}  {}  {:9}  {} -> {}  from {}  {}",
        table::time(past.at),
        past.id,
        past.outcome,
        table::sender(&past.from),
        past.to.address,
        table::client(&past.client),
        past.reply,
    );
    Ok(writeln!(io::stdout(), "{line}")?)
}
