//! Which account takes a message: by its sender, its client or its login. Pure.

use ipnet::IpNet;

use super::{Pattern, Policy};
use crate::mail::{Client, ReversePath};

/// One account, and the mail that is meant for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The account's name.
    pub account: String,
    /// Of the envelope.
    pub senders: Vec<Pattern>,
    pub clients: Vec<IpNet>,
    /// In lower case: names that clients log in with.
    pub logins: Vec<String>,
}

impl Route {
    /// To an account that is meant for no mail in particular.
    #[must_use]
    pub fn to(account: &str) -> Route {
        Route { account: account.to_owned(), senders: Vec::new(), clients: Vec::new(), logins: Vec::new() }
    }

    /// Whether it asks for something. One that does not is the default, or somebody's fallback.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        !(self.senders.is_empty() && self.clients.is_empty() && self.logins.is_empty())
    }

    /// Whether the message is one of those. Each list that is there has to hold; one entry of it is enough.
    fn fits(&self, sender: &ReversePath, client: &Client) -> bool {
        let of_sender = |pattern: &Pattern| match sender.address() {
            Some(address) => pattern.matches(address),
            None => *pattern == Pattern::Everybody,
        };
        let of_client = |network: &IpNet| client.ip.is_some_and(|ip| network.contains(&ip.to_canonical()));
        let of_login = |login: &String| client.login.as_ref().is_some_and(|own| own.to_lowercase() == *login);
        self.has_conditions()
            && (self.senders.is_empty() || self.senders.iter().any(of_sender))
            && (self.clients.is_empty() || self.clients.iter().any(of_client))
            && (self.logins.is_empty() || self.logins.iter().any(of_login))
    }
}

/// The accounts, and how mail comes to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// One for each account, in the order of the file: the first that fits counts.
    pub routes: Vec<Route>,
    /// The account of all other mail.
    pub default: String,
}

impl Routes {
    /// Everything through one account.
    #[must_use]
    pub fn only(account: &str) -> Routes {
        Routes { routes: vec![Route::to(account)], default: account.to_owned() }
    }

    /// The name of every account.
    #[must_use]
    pub fn accounts(&self) -> Vec<String> {
        self.routes.iter().map(|route| route.account.clone()).collect()
    }
}

impl Policy {
    /// The account that takes a message from this sender and client.
    #[must_use]
    pub fn account(&self, sender: &ReversePath, client: &Client) -> &str {
        let Routes { routes, default } = &self.routes;
        routes.iter().find(|route| route.fits(sender, client)).map_or(default, |route| &route.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(account: &str, senders: &[&str], clients: &[&str], logins: &[&str]) -> Route {
        let pattern = |text: &&str| match text.strip_prefix("*@") {
            _ if *text == "*" => Pattern::Everybody,
            Some(domain) => Pattern::Domain(domain.to_owned()),
            None => Pattern::Address(text.parse().unwrap()),
        };
        Route {
            account: account.to_owned(),
            senders: senders.iter().map(pattern).collect(),
            clients: clients.iter().map(|text| text.parse().unwrap()).collect(),
            logins: logins.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn the_first_route_that_fits_counts() {
        let routes = vec![
            Route::to("home"),
            route("work", &["*@a.example", "Alerts@b.example"], &[], &[]),
            route("print", &[], &["192.168.1.0/24", "2001:db8::/32"], &[]),
            route("scan", &[], &[], &["scanner"]),
            route("strict", &["*@c.example"], &["10.0.0.0/8"], &["nas"]),
            route("reports", &["*"], &["10.9.9.9/32"], &[]),
        ];
        let policy =
            Policy { routes: Routes { routes, default: "home".to_owned() }, ..crate::policy::tests::policy(&[]) };
        for (sender, ip, login, account) in [
            ("x@a.example", "10.0.0.1", "", "work"),
            ("ALERTS@B.example", "10.0.0.1", "", "work"),
            ("other@b.example", "10.0.0.1", "", "home"),
            ("x@sub.a.example", "10.0.0.1", "", "home"),
            ("x@a.example", "192.168.1.7", "scanner", "work"),
            ("x@z.example", "192.168.1.7", "scanner", "print"),
            ("x@z.example", "::ffff:192.168.1.7", "", "print"),
            ("x@z.example", "2001:db8::1", "", "print"),
            ("x@z.example", "10.0.0.1", "Scanner", "scan"),
            ("x@c.example", "10.0.0.1", "nas", "strict"),
            ("x@c.example", "10.0.0.1", "", "home"),
            ("x@c.example", "11.0.0.1", "nas", "home"),
            ("", "10.0.0.1", "", "home"),
            ("", "10.9.9.9", "", "reports"),
            ("", "", "", "home"),
        ] {
            let reverse_path = match sender {
                "" => ReversePath::Null,
                sender => ReversePath::Mailbox(sender.parse().unwrap()),
            };
            let login = Some(login.to_owned()).filter(|login| !login.is_empty());
            let client = Client { helo: String::new(), ip: ip.parse().ok(), login };
            assert_eq!(policy.account(&reverse_path, &client), account, "{sender} {client} {:?}", client.login);
        }
    }
}
