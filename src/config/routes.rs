//! The accounts together: which one takes what, which is the default, and which stands in for another.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::account::Written;
use super::document::{Raw, Table};
use super::listen;
use super::report::{Report, one_of};
use super::settings::AccountSettings;
use super::value::{self, Judged};
use crate::policy::{Route, Routes};

/// The mail that an account is meant for, as its section says.
pub fn route(table: Table<'_>, account: &str, report: &mut Report) -> Route {
    let login = |raw| value::label(raw).map(|name| name.to_lowercase());
    Route {
        account: account.to_owned(),
        senders: table.list_of_some("senders", value::pattern, report).unwrap_or_default(),
        clients: table.list_of_some("clients", network, report).unwrap_or_default(),
        logins: table.list_of_some("logins", login, report).unwrap_or_default(),
    }
}

/// Some clients. No word stands for networks here: those that need it have addresses that their owner knows.
fn network(raw: Raw<'_>) -> Judged<IpNet> {
    let text = raw.text().unwrap_or_default();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map(listen::canonical);
    network.map_err(|_| r#"expected a network or address such as "192.168.1.0/24""#.to_owned())
}

/// Joins the accounts, and reports what does not fit together.
pub fn join(accounts: &[Written<'_>], report: &mut Report) -> Option<Routes> {
    report_doubles(accounts, report);
    let mut told = HashSet::new();
    for account in accounts {
        check_fallback(account, accounts, &mut told, report);
    }
    let default = default(accounts, report)?;
    let routes = accounts.iter().map(|account| account.settings.route.clone()).collect();
    Some(Routes { routes, default: default.name.clone() })
}

fn report_doubles(accounts: &[Written<'_>], report: &mut Report) {
    let (mut names, mut users) = (HashSet::new(), HashSet::new());
    for Written { settings, table } in accounts {
        let new_user = users.insert(&settings.user);
        if !names.insert(&settings.name) {
            let name = &settings.name;
            report.mistake(table.at, format!("two accounts are called \"{name}\"; give each a name of its own"));
        } else if !new_user {
            let user = &settings.user;
            report.warning(
                table.at,
                format!(
                    "two accounts log in as {user}; each counts its own daily_limit, but Gmail counts both together"
                ),
            );
        }
    }
}

fn find<'a>(accounts: &'a [Written<'_>], name: &str) -> Option<&'a AccountSettings> {
    accounts.iter().map(|account| &account.settings).find(|settings| settings.name == name)
}

/// A circle would have no end. It is `told` once, with all who are in it.
fn check_fallback<'a>(
    account: &'a Written<'_>,
    accounts: &'a [Written<'_>],
    told: &mut HashSet<&'a str>,
    report: &mut Report,
) {
    let Some(given) = account.table.given("fallback") else { return };
    let first = account.settings.name.as_str();
    let mut chain = vec![first];
    let mut next = account.settings.fallback.as_deref();
    while let Some(name) = next {
        let Some(settings) = find(accounts, name) else {
            // A later link is told where it is written.
            if chain.len() == 1 {
                given.wrong(&expected_instead(first, accounts), report);
            }
            return;
        };
        let is_circle = name == first;
        if is_circle && !told.contains(first) {
            given.wrong(&format!("this goes in a circle: {} → {first}", chain.join(" → ")), report);
            told.extend(&chain);
        }
        if is_circle || chain.contains(&name) {
            return;
        }
        chain.push(name);
        next = settings.fallback.as_deref();
    }
}

fn expected_instead(name: &str, accounts: &[Written<'_>]) -> String {
    let names = accounts.iter().map(|account| account.settings.name.as_str()).filter(|other| *other != name);
    match names.clone().next() {
        Some(_) => format!("expected {}", one_of(names)),
        None => "there is no other account".to_owned(),
    }
}

/// The account without conditions that is nobody's fallback; else one that is; else the first.
fn default<'a>(accounts: &'a [Written<'_>], report: &mut Report) -> Option<&'a AccountSettings> {
    let fallbacks: HashSet<&str> = accounts.iter().filter_map(|account| account.settings.fallback.as_deref()).collect();
    let open: Vec<&Written<'_>> = accounts.iter().filter(|account| !account.settings.route.has_conditions()).collect();
    let mut own = open.iter().filter(|account| !fallbacks.contains(account.settings.name.as_str()));
    let first = own.next();
    for further in own {
        let (name, default) = (&further.settings.name, first.map_or("", |first| first.settings.name.as_str()));
        report.mistake(
            further.table.at,
            format!(
                "nothing would go through the account \"{name}\": everything that fits nowhere else goes through \"{default}\"; \
                 say what is meant for it with senders, clients or logins, or name it as a fallback"
            ),
        );
    }
    first.copied().or(open.first().copied()).or(accounts.first()).map(|account| &account.settings)
}
