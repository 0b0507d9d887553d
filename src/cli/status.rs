//! `smarthost status`: is the relay running, and how do its accounts stand.

use std::io::{self, Write};

use serde_json::json;

use super::{Failure, Global, print_json, table};
use crate::clock::now;
use crate::config::Config;
use crate::spool::sqlite::{self, OpenError, SqliteSpool};
use crate::spool::{Backlog, Spool};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let config = global.config()?;
    let running = sqlite::is_in_use(&config.spool);
    let backlog = match SqliteSpool::open_beside(&config.spool) {
        Ok(spool) => spool.backlog(now()).await?,
        // Nothing was ever accepted: an ordinary state before the first start.
        Err(OpenError::Missing(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let account = &config.account.name;
    let known = backlog.into_iter().find(|backlog| backlog.account == *account);
    let backlog = known.unwrap_or_else(|| Backlog::empty(account));
    if options.json { print_json(&as_json(&config, running, &backlog)) } else { print(&config, running, &backlog) }
}

fn as_json(config: &Config, running: bool, backlog: &Backlog) -> serde_json::Value {
    json!({
        "running": running,
        "spool": config.spool.display().to_string(),
        "accounts": [{
            "account": backlog.account,
            "user": config.account.user.to_string(),
            "state": backlog.trouble.as_ref().map_or("working", |trouble| trouble.state.as_str()),
            "reason": backlog.trouble.as_ref().map(|trouble| trouble.reason.clone()),
            "cure": backlog.trouble.as_ref().map(|trouble| trouble.cure.clone()),
            "since": backlog.trouble.as_ref().map(|trouble| trouble.since.to_string()),
            "sent_24h": backlog.sent_24h,
            "daily_limit": config.account.daily_limit,
            "waiting": backlog.waiting,
            "held": backlog.held,
            "oldest": backlog.oldest.map(|oldest| oldest.to_string()),
        }],
    })
}

fn print(config: &Config, running: bool, backlog: &Backlog) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let addresses: Vec<&str> = config.listeners.iter().map(|listener| listener.address.as_str()).collect();
    if running {
        writeln!(out, "smarthost is running, for clients at {}", addresses.join(", "))?;
    } else {
        writeln!(out, "smarthost is not running. Start it with `smarthost run`; what waits is kept.")?;
    }
    writeln!(out, "Spool     {}", config.spool.display())?;
    writeln!(out, "Account   {} ({})", backlog.account, config.account.user)?;
    match &backlog.trouble {
        None => writeln!(out, "State     working")?,
        Some(trouble) => {
            writeln!(out, "State     {} since {}", trouble.state, table::time(trouble.since))?;
            writeln!(out, "Reason    {}", trouble.reason)?;
            writeln!(out, "Cure      {}", trouble.cure)?;
        }
    }
    writeln!(out, "Sent      {} of {} recipients in the last 24 hours", backlog.sent_24h, config.account.daily_limit)?;
    let oldest = backlog.oldest.map_or_else(String::new, |oldest| {
        format!(", the oldest for {}", table::duration(table::seconds(oldest, now())))
    });
    let held = if backlog.held > 0 { format!(", and {} held", backlog.held) } else { String::new() };
    writeln!(out, "Waiting   {}{oldest}{held}", backlog.waiting)?;
    Ok(())
}
