//! `smarthost status`: is the relay running, and how do its accounts stand.

use std::io::{self, Write};

use serde_json::json;

use super::{Failure, Global, print_json, table};
use crate::clock::now;
use crate::config::Config;
use crate::delivery::ledger::{self, Ledger};
use crate::mail::Timestamp;
use crate::spool::sqlite::{self, OpenError, SqliteSpool};
use crate::spool::{Backlog, Noted, Spool};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// How one account stands.
struct Standing {
    backlog: Backlog,
    noted: Noted,
    sent: u32,
    left: u32,
    next_free: Option<Timestamp>,
}

impl Standing {
    fn new(config: &Config, backlog: Backlog, noted: Noted, history: &[(Timestamp, u32)]) -> Standing {
        let now = now();
        let mut ledger = Ledger::new(config.account.daily_limit, history, noted.believed_limit);
        let (sent, left, next_free) = (ledger.sent(now), ledger.left(now), ledger.next_free(now));
        Standing { backlog, noted: Noted { believed_limit: ledger.believed_limit(), ..noted }, sent, left, next_free }
    }

    async fn read(config: &Config) -> Result<Standing, Failure> {
        let account = &config.account.name;
        let spool = match SqliteSpool::open_beside(&config.spool) {
            Ok(spool) => spool,
            // Nothing was ever accepted: an ordinary state before the first start.
            Err(OpenError::Missing(_)) => {
                return Ok(Standing::new(config, Backlog::empty(account), Noted::default(), &[]));
            }
            Err(error) => return Err(error.into()),
        };
        let backlog = spool.backlog(now()).await?.into_iter().find(|backlog| backlog.account == *account);
        let noted = spool.noted(account).await?;
        let history = spool.sent_since(account, now() - ledger::DAY).await?;
        Ok(Standing::new(config, backlog.unwrap_or_else(|| Backlog::empty(account)), noted, &history))
    }
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let config = global.config()?;
    let running = sqlite::is_in_use(&config.spool);
    let standing = Standing::read(&config).await?;
    if options.json { print_json(&as_json(&config, running, &standing)) } else { print(&config, running, &standing) }
}

fn as_json(config: &Config, running: bool, standing: &Standing) -> serde_json::Value {
    let Standing { backlog, noted, sent, left, next_free } = standing;
    let trouble = noted.trouble.as_ref();
    json!({
        "running": running,
        "spool": config.spool.display().to_string(),
        "accounts": [{
            "account": backlog.account,
            "user": config.account.user.to_string(),
            "state": trouble.map_or("working", |trouble| trouble.state.as_str()),
            "reason": trouble.map(|trouble| trouble.reason.clone()),
            "cure": trouble.map(|trouble| trouble.cure.clone()),
            "since": trouble.map(|trouble| trouble.since.to_string()),
            "sent_24h": sent,
            "daily_limit": config.account.daily_limit,
            "believed_limit": noted.believed_limit.map(|believed| believed.recipients),
            "left_24h": left,
            "next_place_frees": next_free.map(|time| time.to_string()),
            "uncertain_24h": backlog.uncertain_24h,
            "waiting": backlog.waiting,
            "held": backlog.held,
            "oldest": backlog.oldest.map(|oldest| oldest.to_string()),
        }],
    })
}

fn print(config: &Config, running: bool, standing: &Standing) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let backlog = &standing.backlog;
    let addresses: Vec<&str> = config.listeners.iter().map(|listener| listener.address.as_str()).collect();
    if running {
        writeln!(out, "smarthost is running, for clients at {}", addresses.join(", "))?;
    } else {
        writeln!(out, "smarthost is not running. Start it with `smarthost run`; what waits is kept.")?;
    }
    writeln!(out, "Spool     {}", config.spool.display())?;
    writeln!(out, "Account   {} ({})", backlog.account, config.account.user)?;
    match &standing.noted.trouble {
        None => writeln!(out, "State     working")?,
        Some(trouble) => {
            writeln!(out, "State     {} since {}", trouble.state, table::time(trouble.since))?;
            writeln!(out, "Reason    {}", trouble.reason)?;
            if !trouble.cure.is_empty() {
                writeln!(out, "Cure      {}", trouble.cure)?;
            }
        }
    }
    print_sent(&mut out, config, standing)?;
    if backlog.uncertain_24h > 0 {
        let words = "in the last 24 hours: sent, but the answer never came (`smarthost history`)";
        writeln!(out, "Uncertain {} {words}", backlog.uncertain_24h)?;
    }
    let oldest = backlog.oldest.map_or_else(String::new, |oldest| {
        format!(", the oldest for {}", table::duration(table::seconds(oldest, now())))
    });
    let held = if backlog.held > 0 { format!(", and {} held", backlog.held) } else { String::new() };
    writeln!(out, "Waiting   {}{oldest}{held}", backlog.waiting)?;
    Ok(())
}

fn print_sent(out: &mut impl Write, config: &Config, standing: &Standing) -> Result<(), Failure> {
    let (sent, limit) = (standing.sent, config.account.daily_limit);
    writeln!(out, "Sent      {sent} of {limit} recipients in the last 24 hours")?;
    if let Some(believed) = standing.noted.believed_limit {
        let (recipients, since) = (believed.recipients, table::time(believed.since));
        writeln!(
            out,
            "Limit     {recipients}, it seems: Gmail took no more at {since}; forgotten when it takes more, or after a day"
        )?;
    }
    let frees =
        standing.next_free.map_or_else(String::new, |time| format!(", the next place frees at {}", table::time(time)));
    writeln!(out, "Left      {}{frees}", standing.left)?;
    Ok(())
}
