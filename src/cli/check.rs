//! `smarthost check`: tries everything the configuration names, step by step, without sending anything.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Failure, Global};
use crate::config::{AccountSettings, Config, Loaded};
use crate::daemon::{self, StartError};
use crate::listener::{self, BindError};
use crate::policy::{Route, Routes};
use crate::spool::sqlite::{self, OpenError, SqliteSpool};
use crate::upstream::Upstream as _;
use crate::upstream::connect::Trust;
use crate::upstream::gmail::Gmail;

/// For the whole way to Gmail and back.
const LOGIN_DEADLINE: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Stop before the network.
    #[arg(long)]
    offline: bool,
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    let Loaded { config, warnings, source } = global.load()?;
    let source = source.map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    tell("configuration", &format!("read from {source}"))?;
    for warning in &warnings {
        tell("warning", warning)?;
    }
    let running = sqlite::is_in_use(&config.spool);
    check_listeners(&config, running)?;
    check_spool(&config, running)?;
    tell_routes(&config)?;
    let mut trusts = Vec::new();
    for account in &config.accounts {
        trusts.push(Trust::new(account.ca_file.as_deref()).map_err(StartError::from)?);
    }
    if options.offline {
        return tell("done", "everything on this machine is in order; the network was not tried");
    }
    let mut faults = Vec::new();
    for (account, trust) in config.accounts.iter().zip(trusts) {
        match check_login(&config, account, trust).await {
            // What is wrong with one account says nothing about the next.
            Err(Failure::Unavailable(words)) if config.accounts.len() > 1 => {
                faults.push(format!("account \"{}\": {words}", account.name));
            }
            checked => checked?,
        }
    }
    if faults.is_empty() {
        tell("done", "everything is in order")
    } else {
        Err(Failure::Unavailable(faults.join("\n")))
    }
}

/// Which mail goes through which account, where there is a choice.
fn tell_routes(config: &Config) -> Result<(), Failure> {
    let Routes { routes, default } = &config.policy.routes;
    if config.accounts.len() == 1 {
        return Ok(());
    }
    for Route { account, senders, clients, logins } in routes.iter().filter(|route| route.has_conditions()) {
        let lists = [
            ("from", senders.iter().map(ToString::to_string).collect::<Vec<_>>()),
            ("of clients at", clients.iter().map(ToString::to_string).collect()),
            ("of clients that log in as", logins.clone()),
        ];
        let parts = lists.iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(words, names)| format!("{words} {}", names.join(" or "))).collect();
        tell("route", &format!("mail {} goes through \"{account}\"", parts.join(", ")))?;
    }
    tell("route", &format!("all other mail goes through \"{default}\""))?;
    for account in &config.accounts {
        if let Some(fallback) = &account.fallback {
            tell("fallback", &format!("while \"{}\" cannot send, \"{fallback}\" does", account.name))?;
        }
    }
    Ok(())
}

fn tell(step: &str, words: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{step:14} {words}")?)
}

/// A relay that is running has the addresses already, as it should.
fn check_listeners(config: &Config, running: bool) -> Result<(), Failure> {
    for settings in &config.listeners {
        let who = settings.allow.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let address = &settings.address;
        match listener::bind(settings) {
            Ok(_) => tell("listener", &format!("{address} is free; {who} may send there without login"))?,
            Err(BindError::InUse(_)) if running => {
                tell("listener", &format!("{address} is served by the relay that is running; {who} may send there"))?;
            }
            Err(error) => return Err(StartError::from(error).into()),
        }
    }
    Ok(())
}

fn check_spool(config: &Config, running: bool) -> Result<(), Failure> {
    let folder = config.spool.display();
    if let Some(warning) = sqlite::place::warning(&config.spool) {
        tell("warning", &warning)?;
    }
    if running {
        SqliteSpool::open_beside(&config.spool)?;
        return tell("spool", &format!("{folder} is in use by the relay that is running"));
    }
    match SqliteSpool::open_beside(&config.spool) {
        Ok(spool) => spool.close(),
        Err(OpenError::Missing(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // The spool itself is made by the relay, as the user that the relay runs as.
    let whole = std::path::absolute(&config.spool)?;
    let nearest = whole.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let written = tempfile::tempfile_in(nearest).and_then(|mut file| {
        file.write_all(b"smarthost")?;
        file.sync_all()
    });
    written.map_err(|reason| OpenError::Folder { path: nearest.to_owned(), reason })?;
    tell("spool", &format!("{folder} can be written, and what is written is synced"))
}

async fn check_login(config: &Config, account: &AccountSettings, trust: Trust) -> Result<(), Failure> {
    let began = Instant::now();
    let endpoint = daemon::endpoint(config, account, trust);
    let server = format!("{}:{}", account.host, account.port);
    let addresses = timeout(LOGIN_DEADLINE, tokio::net::lookup_host((account.host.as_str(), account.port))).await;
    match addresses {
        Ok(Ok(addresses)) => {
            let addresses: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            tell("name", &format!("{} is {}", account.host, addresses.join(", ")))?;
        }
        Ok(Err(error)) => return Err(Failure::Unavailable(format!("{}: {error}. Is there a network?", account.host))),
        Err(_) => return Err(Failure::Unavailable(format!("{}: the name service does not answer", account.host))),
    }
    let mut gmail = Gmail::new(endpoint, daemon::credentials(account));
    match timeout(LOGIN_DEADLINE, gmail.try_login()).await {
        Ok(Ok(())) => tell(
            "Gmail",
            &format!("{server} takes the login of {} ({} ms)", account.user, began.elapsed().as_millis()),
        )?,
        Ok(Err(trouble)) => return Err(Failure::Unavailable(format!("{}\n  {}", trouble.reason, trouble.cure))),
        Err(_) => return Err(Failure::Unavailable(format!("{server} does not answer"))),
    }
    gmail.close().await;
    Ok(())
}
