//! `smarthost check`: tries everything the configuration names, step by step, without sending anything.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Failure, Global};
use crate::clock::now;
use crate::config::{AccountSettings, Config, Loaded, container};
use crate::daemon::{self, StartError};
use crate::listener::{self, BindError, Settings};
use crate::policy::{Allow, Route, Routes};
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
        let (address, who) = (&settings.address, who_may_send(settings));
        match listener::bind(settings) {
            Ok(_) => tell("listener", &format!("{address} is free; {who}"))?,
            Err(BindError::InUse(_)) if running => {
                tell("listener", &format!("{address} is served by the relay that is running; {who}"))?;
            }
            Err(error) => return Err(StartError::from(error).into()),
        }
        if let Some(warning) = bridge_warning(settings, container::is_around_us(), &container::gateways()) {
            tell("warning", &format!("{address}: {warning}"))?;
        }
    }
    check_certificate(config)
}

fn who_may_send(settings: &Settings) -> String {
    let list = |allow: &Allow| {
        let except = allow.except.iter().map(|ip| format!("but not {ip}, the gateway of this container"));
        allow.networks.iter().map(ToString::to_string).chain(except).collect::<Vec<_>>().join(", ")
    };
    let allowed = list(&settings.allow);
    match (&settings.proxy_from, settings.host.is_unix()) {
        (None, true) => "every program of this machine that may open it may send there without login".to_owned(),
        (None, false) => format!("{allowed} may send there without login"),
        (Some(_), true) => format!("a proxy on this machine says who is there; {allowed} may send without login"),
        (Some(from), false) => {
            format!("a proxy at {} says who is there; {allowed} may send without login", list(from))
        }
    }
}

/// Behind a published port everybody may look like the bridge (reliability-security.md, section 8).
fn bridge_warning(settings: &Settings, in_container: bool, gateways: &[IpAddr]) -> Option<String> {
    let bridge = gateways.iter().find(|gateway| settings.allow.admits(**gateway))?;
    let is_met = in_container && !settings.host.is_loopback() && settings.proxy_from.is_none();
    is_met.then(|| {
        format!(
            "clients that come through a published port may all look like {bridge}, strangers too, and it may send. \
             Publish the port for this machine alone (-p 127.0.0.1:25:25), or share the host's network"
        )
    })
}

fn check_certificate(config: &Config) -> Result<(), Failure> {
    let Some(certificate) = daemon::read_certificate(config).map_err(StartError::from)? else { return Ok(()) };
    let names = if certificate.names.is_empty() { "no name".to_owned() } else { certificate.names.join(", ") };
    tell("certificate", &format!("for {names}; good until {}", certificate.ends.strftime("%Y-%m-%d")))?;
    certificate.warnings(now()).iter().try_for_each(|warning| tell("warning", warning))
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
