//! What is told to no single role: the accounts and the log. The settings of each role are its own types.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tracing::Level;

use crate::delivery::repair::FromRule;
use crate::log::Format;
use crate::mail::Address;
use crate::policy::{Pattern, Route};
use crate::upstream::connect::TlsMode;

/// A Gmail account that mail is sent through.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// What it is called in the log and in the queue.
    pub name: String,
    /// Its Gmail address, which is the name to log in with.
    pub user: Address,
    /// Without the blanks that Google shows it with.
    pub app_password: SecretString,
    /// A host name or an IP address.
    pub host: String,
    pub port: u16,
    pub tls: TlsMode,
    /// A PEM file with one more trusted root.
    pub ca_file: Option<PathBuf>,
    /// How many at the same time.
    pub connections: usize,
    /// Recipients in any 24 hours.
    pub daily_limit: u32,
    pub from: FromRule,
    /// Addresses that Gmail has confirmed for this account.
    pub send_as: Vec<Pattern>,
    /// The mail that is meant for it.
    pub route: Route,
    /// The account that sends its mail while it cannot, by name.
    pub fallback: Option<String>,
}

/// How long the spool keeps what nobody is owed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// At least a day, since what was sent in the last 24 hours is counted from it.
    pub history: Duration,
    /// Of messages that are settled; `None`: it goes at once.
    pub content: Option<Duration>,
}

/// How the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub format: Format,
    /// What is less important than this is left out.
    pub level: Level,
}
