//! `relay.toml` and the environment, turned into the settings of each role.
//!
//! Touches the file system, but only to read: the file itself, and the files with secrets that it names. It
//! guarantees that a [`Config`] can be worked with: every value is in its range, and no listener is open to
//! strangers by accident. It fails with all [`Mistakes`] at once, each with its line, what was found and what is
//! allowed; no secret is ever in one. The names are those of the documentation; [`keys`] lists them.
//!
//! To add a setting: its name to [`keys`], its field to [`settings`], a line that reads it, a line in
//! `relay.example.toml`, and a mistake in `tests/config`.

mod account;
pub mod container;
mod document;
pub mod environment;
mod hand_in;
pub mod keys;
mod listen;
mod report;
mod routes;
pub mod settings;
mod tls;
mod trace;
mod user;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::Level;

use crate::delivery::ledger::DAY;
use crate::delivery::schedule::{OnUncertain, Patience};
use crate::listener;
use crate::listener::tls::CertificateFiles;
use crate::log::Format;
use crate::mail::Address;
use crate::policy::{AliasKey, Limits, Pattern, Policy, Recipients};

use document::{Document, Given};
pub use environment::Environment;
pub use hand_in::{HandIn, HandInError, load_hand_in, usual_listeners};
pub use report::Mistakes;
use report::Report;
pub use settings::{AccountSettings, Keep, LogSettings};

/// Everything the program is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<listener::Settings>,
    /// There where a listener has TLS.
    pub tls: Option<CertificateFiles>,
    /// With our own name and the names of the accounts.
    pub policy: Policy,
    /// At least one, in the order of the file.
    pub accounts: Vec<AccountSettings>,
    /// The folder of the spool; it may not exist yet.
    pub spool: PathBuf,
    pub keep: Keep,
    /// Whose conversations are written down.
    pub traces: Vec<listener::trace::Want>,
    pub retry: Patience,
    pub log: LogSettings,
}

/// A configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// What the operator should know, in the order of the file.
    pub warnings: Vec<String>,
    /// The file; `None` where the environment alone did.
    pub source: Option<PathBuf>,
}

/// Reads the configuration: `path`, else the file that `SMARTHOST_CONFIG` names, else the first of the usual files
/// that is there, else no file at all. Variables win over the file.
///
/// # Errors
/// All mistakes at once; a file that cannot be read is one of them.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Loaded, Mistakes> {
    let source = find(path, environment);
    let text = source.as_deref().map_or(Ok(String::new()), read)?;
    let mut report = Report::new(source.as_deref().unwrap_or(Path::new("")).display().to_string(), &text);
    let document = Document::parse(&text, source.as_deref(), environment, &mut report);
    let config = document.and_then(|document| assemble(&document, &mut report));
    warn_of_misspelt_variables(environment, &mut report);
    let warnings = report.finish()?;
    let config = config.ok_or_else(|| Mistakes(vec![INCOMPLETE.to_owned()]))?;
    Ok(Loaded { config, warnings, source })
}

/// Reads only where the spool is, for those who look after the queue: they need neither an account nor its password.
///
/// # Errors
/// What is wrong with the file as a whole, or with that setting.
pub fn load_spool_path(path: Option<&Path>, environment: &Environment) -> Result<PathBuf, Mistakes> {
    let source = find(path, environment);
    let text = source.as_deref().map_or(Ok(String::new()), read)?;
    let mut report = Report::new(source.as_deref().unwrap_or(Path::new("")).display().to_string(), &text);
    let mut of_all = Report::new(String::new(), &text);
    let Some(document) = Document::parse(&text, source.as_deref(), environment, &mut of_all) else {
        return Err(of_all.finish().err().unwrap_or(Mistakes(vec![INCOMPLETE.to_owned()])));
    };
    let folder = spool(&document, &mut report);
    report.finish()?;
    folder.ok_or_else(|| Mistakes(vec![INCOMPLETE.to_owned()]))
}

/// Every way to no configuration has left a mistake, so this is never told.
const INCOMPLETE: &str = "the configuration is incomplete";

fn find(path: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = path.map(Path::to_owned).or_else(|| environment.variable(keys::FILE_VARIABLE).map(PathBuf::from));
    // A file that we may not look at is there: reading it will say so.
    named.or_else(|| environment.usual_files.iter().find(|file| file.try_exists().unwrap_or(true)).cloned())
}

/// More than anybody writes by hand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

fn read(path: &Path) -> Result<String, Mistakes> {
    let unreadable = |error| Mistakes(vec![format!("{} cannot be read: {error}", path.display())]);
    read_text(path, FILE_BYTES_MAX).map_err(unreadable)
}

/// A whole file of at most so many bytes: a path may lead to a device that never ends.
fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(bytes_max);
    file.read_to_string(&mut text)?;
    if file.limit() == 0 { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

fn warn_of_misspelt_variables(environment: &Environment, report: &mut Report) {
    for name in environment.variables.keys() {
        if let Some(meant) = keys::misspelt_variable(name) {
            report.warning(None, format!("{name} is no setting; did you mean {meant}?"));
        }
    }
}

fn assemble(document: &Document<'_>, report: &mut Report) -> Option<Config> {
    let hostname = hostname(document, report);
    let listeners = listen::read(document, report);
    let tls = tls::read(document, report);
    let written = account::written(document, report);
    let routes = routes::join(&written, report);
    let accounts = account::read(&written, document, report);
    let recipients = recipients(document, report);
    let limits = limits(document, report);
    let retry = retry(document, report);
    let log = log(document, report);
    let spool = spool(document, report);
    let keep = keep(document, report);
    let traces = trace::read(document, spool.as_deref(), report);
    let policy = Policy { hostname, limits, recipients, routes };
    if let (Some(steps), Some(alias)) = (policy.endless_alias(), document.table("[recipients]").given("alias")) {
        let steps: Vec<String> = steps.iter().map(Address::to_string).collect();
        report.mistake(alias.at, format!("{} comes to no end: {}", alias.name, steps.join(" → ")));
    }
    Some(Config { listeners, tls, policy, accounts: accounts?, spool: spool?, keep, traces, retry, log })
}

impl Config {
    /// An account by its name; the default one where nobody is called so.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&AccountSettings> {
        let of_name = |name: &str| self.accounts.iter().find(|account| account.name == name);
        of_name(name).or_else(|| of_name(&self.policy.routes.default))
    }

    /// The account of all mail that no other is meant for.
    #[must_use]
    pub fn default_account(&self) -> Option<&AccountSettings> {
        self.account(&self.policy.routes.default)
    }
}

fn hostname(document: &Document<'_>, report: &mut Report) -> String {
    let Some(given) = document.top().given("hostname") else {
        return value::name_from_machine(&document.environment.machine_name);
    };
    let name = given.read(value::our_name, report).unwrap_or_default();
    if !name.is_empty() && !name.contains('.') {
        let advice = "has no dot; other mail servers expect a name such as \"relay.example.net\"";
        report.warning(given.at, format!("{} \"{name}\" {advice}", given.name));
    }
    name
}

fn recipients(document: &Document<'_>, report: &mut Report) -> Recipients {
    let table = document.table("[recipients]");
    let mut alias = BTreeMap::new();
    for (key, target) in table.given("alias").map(|alias| alias.entries(report)).unwrap_or_default() {
        insert_alias(&mut alias, key, &target, report);
    }
    let redirect_all = table.given("redirect_all").and_then(|given| Some((given.read(value::address, report)?, given)));
    let allow = table.list_of_some("allow", value::pattern, report);
    if let (Some((address, given)), Some(allow)) = (&redirect_all, &allow)
        && !allow.iter().any(|pattern| pattern.matches(address))
    {
        given.wrong("recipients.allow does not let mail go there", report);
    }
    Recipients {
        default_domain: table.read("default_domain", value::domain, report),
        alias,
        redirect_all: redirect_all.map(|(address, _)| address),
        allow: allow.unwrap_or_else(|| vec![Pattern::Everybody]),
    }
}

fn insert_alias(alias: &mut BTreeMap<AliasKey, Vec<Address>>, key: &str, given: &Given<'_>, report: &mut Report) {
    let targets = alias_targets(given, report);
    match (value::alias_key(key), targets) {
        (Err(expected), _) => report.mistake(given.at, format!("{} names nobody; {expected}", given.name)),
        (Ok(_), None) => {}
        (Ok(key), Some(targets)) => {
            if alias.insert(key, targets).is_some() {
                report.mistake(given.at, format!("{} is there twice: case does not matter", given.name));
            }
        }
    }
}

/// One address, or a list of some.
fn alias_targets(given: &Given<'_>, report: &mut Report) -> Option<Vec<Address>> {
    if !given.raw.is_list() {
        return given.read(value::address, report).map(|address| vec![address]);
    }
    let items = given.items(report)?;
    if items.is_empty() {
        report.mistake(given.at, format!("{} is empty; name whom the mail goes to", given.name));
        return None;
    }
    // All of them first, so that all mistakes are told.
    items.iter().map(|item| item.read(value::address, report)).collect::<Vec<_>>().into_iter().collect()
}

fn limits(document: &Document<'_>, report: &mut Report) -> Limits {
    let table = document.table("[limits]");
    let usual = Limits::default();
    let message_bytes = table.read("message_size", value::size, report).unwrap_or(usual.message_bytes);
    if message_bytes > usual.message_bytes {
        let at = table.given("message_size").and_then(|given| given.at);
        let more = format!(
            "limits.message_size is more than Gmail takes: what is over {} bytes will bounce",
            usual.message_bytes
        );
        report.warning(at, more);
    }
    let recipients = value::count("a number of recipients", 1..=100_000);
    let connections = value::count("a number of connections", 1..=100_000);
    let count = |key, what, range, usual, report: &mut Report| {
        table.read(key, value::count(what, range), report).unwrap_or(usual)
    };
    let seconds = |key, usual, report: &mut Report| {
        table.read(key, value::duration, report).map_or(usual, |duration| duration.as_secs())
    };
    Limits {
        message_bytes,
        recipients: table.read("recipients", recipients, report).unwrap_or(usual.recipients),
        connections: table.read("connections", &connections, report).unwrap_or(usual.connections),
        connections_per_client: table
            .read("connections_per_client", &connections, report)
            .unwrap_or(usual.connections_per_client),
        messages_per_minute: table.read(
            "messages_per_minute",
            value::number("a number of messages", 1..=1_000_000),
            report,
        ),
        bytes_per_minute: table.read("size_per_minute", value::size, report),
        header_bytes: count("header_size", "a number of bytes", 1024..=16 * 1024 * 1024, usual.header_bytes, report),
        command_bytes: count("command_size", "a number of bytes", 512..=16 * 1024, usual.command_bytes, report),
        errors: count("errors", "a number of errors", 1..=1000, usual.errors, report),
        hops: count("hops", "a number of hops", 1..=100, usual.hops, report),
        idle_timeout_s: seconds("silence", usual.idle_timeout_s, report),
        idle_when_full_s: seconds("silence_when_full", usual.idle_when_full_s, report),
        rate_when_full_bytes_s: table
            .read("rate_when_full", value::size, report)
            .unwrap_or(usual.rate_when_full_bytes_s),
        spool_share_percent: table
            .read("spool_share", value::number("a number of percent", 1..=100), report)
            .and_then(|percent| u8::try_from(percent).ok())
            .unwrap_or(usual.spool_share_percent),
    }
}

/// Where only one of the two waits is given, the default of the other makes room for it.
fn retry(document: &Document<'_>, report: &mut Report) -> Patience {
    const FIRST: Duration = Duration::from_secs(30);
    const LONGEST: Duration = Duration::from_hours(1);
    const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);
    let table = document.table("[retry]");
    let on_uncertain = value::choice(&[("retry", OnUncertain::Retry), ("hold", OnUncertain::Hold)]);
    let first = table.read("first", value::duration, report);
    let longest = table.read("longest", value::duration, report);
    let give_up_after = table.read("give_up_after", value::duration, report);
    if let (Some(first), Some(longest), Some(given)) = (first, longest, table.given("longest"))
        && first > longest
    {
        given.wrong("expected at least as much as retry.first", report);
    }
    Patience {
        first: first.unwrap_or(longest.unwrap_or(LONGEST).min(FIRST)),
        longest: longest.unwrap_or(first.unwrap_or(FIRST).max(LONGEST)),
        give_up_after: give_up_after.unwrap_or(GIVE_UP_AFTER),
        on_uncertain: table.read("on_uncertain", on_uncertain, report).unwrap_or(OnUncertain::Retry),
    }
}

fn log(document: &Document<'_>, report: &mut Report) -> LogSettings {
    let table = document.table("[log]");
    let format = value::choice(&[("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)]);
    let level = value::choice(&[
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ]);
    LogSettings {
        format: table.read("format", format, report).unwrap_or(Format::Auto),
        level: table.read("level", level, report).unwrap_or(Level::INFO),
    }
}

fn spool(document: &Document<'_>, report: &mut Report) -> Option<PathBuf> {
    if let Some(given) = document.table("[spool]").given("path") {
        return given.read(value::path(document.folder()), report);
    }
    let usual = usual_spool(document.environment);
    if usual.is_none() {
        report.mistake(None, "there is no folder to keep mail in: set SMARTHOST_SPOOL, or write [spool] with path");
    }
    usual
}

fn keep(document: &Document<'_>, report: &mut Report) -> Keep {
    const HISTORY: Duration = Duration::from_hours(30 * 24);
    let table = document.table("[spool]");
    let history = table.read("keep_history", value::duration, report).unwrap_or(HISTORY);
    if let Some(given) = table.given("keep_history").filter(|_| history < DAY) {
        given.wrong("expected at least 1d: what was sent in the last 24 hours is counted from it", report);
    }
    Keep { history, content: table.read("keep_content", value::duration, report) }
}

/// The folder systemd made for us, else that of the system, else the user's (XDG base directories).
fn usual_spool(environment: &Environment) -> Option<PathBuf> {
    let absolute = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    // Several folders are separated by colons (systemd.exec, `StateDirectory=`); the first is ours.
    let of_systemd = || environment.variable("STATE_DIRECTORY").and_then(|paths| absolute(paths.split(':').next()?));
    let of_system = || environment.system_spool_usable.then(|| PathBuf::from(environment::SYSTEM_SPOOL));
    let of_user = || {
        let named = environment.variable("XDG_STATE_HOME").and_then(absolute);
        let state = named.or_else(|| Some(absolute(environment.variable("HOME")?)?.join(".local/state")))?;
        Some(state.join("smarthost"))
    };
    of_systemd().or_else(of_system).or_else(of_user)
}
