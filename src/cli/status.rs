//! `smarthost status`: is the relay running, and how do its accounts stand.

use std::io::{self, Write};

use serde_json::json;

use super::{Failure, Global, print_json, table};
use crate::clock::now;
use crate::config::{AccountSettings, Config};
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
struct Standing<'a> {
    account: &'a AccountSettings,
    backlog: Backlog,
    noted: Noted,
    sent: u32,
    left: u32,
    next_free: Option<Timestamp>,
}

impl<'a> Standing<'a> {
    fn new(account: &'a AccountSettings, backlog: Backlog, noted: Noted, history: &[(Timestamp, u32)]) -> Standing<'a> {
        let now = now();
        let mut ledger = Ledger::new(account.daily_limit, history, noted.believed_limit);
        let (sent, left, next_free) = (ledger.sent(now), ledger.left(now), ledger.next_free(now));
        let noted = Noted { believed_limit: ledger.believed_limit(), ..noted };
        Standing { account, backlog, noted, sent, left, next_free }
    }

    /// How all of them stand, in the order of the file.
    async fn read(config: &'a Config) -> Result<Vec<Standing<'a>>, Failure> {
        let spool = match SqliteSpool::open_beside(&config.spool) {
            Ok(spool) => spool,
            // Nothing was ever accepted: an ordinary state before the first start.
            Err(OpenError::Missing(_)) => {
                let empty = |account: &'a AccountSettings| {
                    Standing::new(account, Backlog::empty(&account.name), Noted::default(), &[])
                };
                return Ok(config.accounts.iter().map(empty).collect());
            }
            Err(error) => return Err(error.into()),
        };
        let backlogs = spool.backlog(now()).await?;
        let mut standings = Vec::new();
        for account in &config.accounts {
            let backlog = backlogs.iter().find(|backlog| backlog.account == account.name).cloned();
            let noted = spool.noted(&account.name).await?;
            let history = spool.sent_since(&account.name, now() - ledger::DAY).await?;
            let backlog = backlog.unwrap_or_else(|| Backlog::empty(&account.name));
            standings.push(Standing::new(account, backlog, noted, &history));
        }
        Ok(standings)
    }
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let config = global.config()?;
    let running = sqlite::is_in_use(&config.spool);
    let standings = Standing::read(&config).await?;
    if options.json {
        let accounts: Vec<_> = standings.iter().map(Standing::as_json).collect();
        let spool = config.spool.display().to_string();
        return print_json(&json!({ "running": running, "spool": spool, "accounts": accounts }));
    }
    print(&config, running, &standings)
}

impl Standing<'_> {
    fn as_json(&self) -> serde_json::Value {
        let Standing { account, backlog, noted, sent, left, next_free } = self;
        let trouble = noted.trouble.as_ref();
        json!({
            "account": account.name,
            "user": account.user.to_string(),
            "state": trouble.map_or("working", |trouble| trouble.state.as_str()),
            "reason": trouble.map(|trouble| trouble.reason.clone()),
            "cure": trouble.map(|trouble| trouble.cure.clone()),
            "since": trouble.map(|trouble| trouble.since.to_string()),
            "fallback": account.fallback,
            "sent_24h": sent,
            "daily_limit": account.daily_limit,
            "believed_limit": noted.believed_limit.map(|believed| believed.recipients),
            "left_24h": left,
            "next_place_frees": next_free.map(|time| time.to_string()),
            "uncertain_24h": backlog.uncertain_24h,
            "waiting": backlog.waiting,
            "held": backlog.held,
            "oldest": backlog.oldest.map(|oldest| oldest.to_string()),
        })
    }
}

fn print(config: &Config, running: bool, standings: &[Standing<'_>]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let addresses: Vec<&str> = config.listeners.iter().map(|listener| listener.address.as_str()).collect();
    if running {
        writeln!(out, "smarthost is running, for clients at {}", addresses.join(", "))?;
    } else {
        writeln!(out, "smarthost is not running. Start it with `smarthost run`; what waits is kept.")?;
    }
    writeln!(out, "Spool     {}", config.spool.display())?;
    for standing in standings {
        if standings.len() > 1 {
            writeln!(out)?;
        }
        print_account(&mut out, standing)?;
    }
    Ok(())
}

fn print_account(out: &mut impl Write, standing: &Standing<'_>) -> Result<(), Failure> {
    let Standing { account, backlog, noted, .. } = standing;
    writeln!(out, "Account   {} ({})", account.name, account.user)?;
    match &noted.trouble {
        None => writeln!(out, "State     working")?,
        Some(trouble) => {
            writeln!(out, "State     {} since {}", trouble.state, table::time(trouble.since))?;
            writeln!(out, "Reason    {}", trouble.reason)?;
            if !trouble.cure.is_empty() {
                writeln!(out, "Cure      {}", trouble.cure)?;
            }
        }
    }
    if let Some(fallback) = &account.fallback {
        writeln!(out, "Fallback  {fallback}")?;
    }
    print_sent(out, standing)?;
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

fn print_sent(out: &mut impl Write, standing: &Standing<'_>) -> Result<(), Failure> {
    let (sent, limit) = (standing.sent, standing.account.daily_limit);
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
