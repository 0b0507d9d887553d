//! What a program of this machine has to know that only hands mail in: it may lack the right, the variables and the credentials
//! to read what the relay reads.

use std::path::{Path, PathBuf};

use super::document::Document;
use super::environment::{Environment, SYSTEM_SPOOL};
use super::report::{Mistakes, Report};
use super::{
    FILE_BYTES_MAX, INCOMPLETE, account, find, hostname, limits, listen, read_text, recipients, routes, spool,
};
use crate::listener;
use crate::policy::Policy;

/// The rules, and the ways in.
#[derive(Clone, Debug)]
pub struct HandIn {
    pub policy: Policy,
    pub listeners: Vec<listener::Settings>,
    pub spool: PathBuf,
    /// Whether somebody wrote down where the spool is.
    pub spool_is_given: bool,
}

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum HandInError {
    #[error("{path} cannot be read: {reason}")]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error("{}", .0.0.join("\nsmarthost: "))]
    Mistakes(Mistakes),
}

/// Reads the configuration but for the account and its secret.
///
/// # Errors
/// Where the file may not be read, or something in it is wrong that matters here.
pub fn load_hand_in(path: Option<&Path>, environment: &Environment) -> Result<HandIn, HandInError> {
    let mut environment = environment.clone();
    // Where the relay keeps mail does not depend on what this caller may do.
    environment.system_spool_usable |= Path::new(SYSTEM_SPOOL).exists();
    let source = find(path, &environment);
    let text = match &source {
        Some(path) => {
            read_text(path, FILE_BYTES_MAX).map_err(|reason| HandInError::Unreadable { path: path.clone(), reason })?
        }
        None => String::new(),
    };
    let mut report = Report::new(source.as_deref().unwrap_or(Path::new("")).display().to_string(), &text);
    let document = Document::parse(&text, source.as_deref(), &environment, &mut report);
    let known = document.and_then(|document| assemble(&document, &text, &mut report));
    report.finish().map_err(HandInError::Mistakes)?;
    known.ok_or_else(|| HandInError::Mistakes(Mistakes(vec![INCOMPLETE.to_owned()])))
}

fn assemble(document: &Document<'_>, text: &str, report: &mut Report) -> Option<HandIn> {
    // Mail of an account that is called otherwise, or not there, is adopted by the relay.
    let mut of_accounts = Report::new(String::new(), text);
    let routes = routes::join(&account::written(document, &mut of_accounts), &mut of_accounts);
    Some(HandIn {
        policy: Policy {
            hostname: hostname(document, report),
            limits: limits(document, report),
            recipients: recipients(document, report),
            routes,
        },
        listeners: listen::read(document, report),
        spool: spool(document, report)?,
        spool_is_given: document.table("[spool]").given("path").is_some(),
    })
}

/// Where the relay listens, as far as a caller can tell who may not read the configuration.
#[must_use]
pub fn usual_listeners(environment: &Environment) -> Vec<String> {
    let addresses = environment.variable("SMARTHOST_LISTEN").unwrap_or("localhost:25");
    addresses.split(',').map(|address| address.trim().to_owned()).collect()
}
