//! The accounts together: which one takes what, which is the default, and which stands in for another.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::account::Written;
use super::document::{Raw, Table};
use super::listen;
use super::report::{Report, one_of};
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
pub fn join(accounts: &[Written<'_>], report: &mut Report) -> Routes {
    report_doubles(accounts, report);
    let mut told = HashSet::new();
    for account in accounts {
        check_fallback(account, accounts, &mut told, report);
    }
    let default = default(accounts, report).map(|account| account.name.clone()).unwrap_or_default();
    Routes { routes: accounts.iter().map(|account| account.route.clone()).collect(), default }
}

fn report_doubles(accounts: &[Written<'_>], report: &mut Report) {
    let (mut names, mut users) = (HashSet::new(), HashSet::new());
    for Written { table, name, user, .. } in accounts {
        let Some(user) = user else { continue };
        let new_user = users.insert(user);
        if !names.insert(name) {
            report.mistake(table.at, format!("two accounts are called \"{name}\"; give each a name of its own"));
        } else if !new_user {
            report.warning(
                table.at,
                format!(
                    "two accounts log in as {user}; each counts its own daily_limit, but Gmail counts both together"
                ),
            );
        }
    }
}

fn find<'a, 'b>(accounts: &'a [Written<'b>], name: &str) -> Option<&'a Written<'b>> {
    accounts.iter().find(|account| account.name == name)
}

/// A circle would have no end. It is `told` once, with all who are in it.
fn check_fallback<'a>(
    account: &'a Written<'_>,
    accounts: &'a [Written<'_>],
    told: &mut HashSet<&'a str>,
    report: &mut Report,
) {
    let Some(given) = account.table.given("fallback") else { return };
    let first = account.name.as_str();
    let mut chain = vec![first];
    let mut next = account.fallback.as_deref();
    while let Some(name) = next {
        let Some(account) = find(accounts, name) else {
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
        next = account.fallback.as_deref();
    }
}

fn expected_instead(name: &str, accounts: &[Written<'_>]) -> String {
    let names: BTreeSet<&str> =
        accounts.iter().map(|account| account.name.as_str()).filter(|other| *other != name).collect();
    if names.is_empty() { "there is no other account".to_owned() } else { format!("expected {}", one_of(names)) }
}

/// The account without conditions that is nobody's fallback; else one that is; else the first.
fn default<'a>(accounts: &'a [Written<'_>], report: &mut Report) -> Option<&'a Written<'a>> {
    let fallbacks: HashSet<&str> = accounts.iter().filter_map(|account| account.fallback.as_deref()).collect();
    let open: Vec<&Written<'_>> = accounts.iter().filter(|account| !account.route.has_conditions()).collect();
    let mut own = open.iter().filter(|account| !fallbacks.contains(account.name.as_str()));
    let first = own.next();
    for further in own {
        let (name, default) = (&further.name, first.map_or("", |first| first.name.as_str()));
        report.mistake(
            further.table.at,
            format!(
                "nothing would go through the account \"{name}\": everything that fits nowhere else goes through \"{default}\"; \
                 say what is meant for it with senders, clients or logins, or name it as a fallback"
            ),
        );
    }
    first.copied().or(open.first().copied()).or(accounts.first())
}
