//! The Gmail accounts and their passwords. No value of a password ever comes into a message.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::mail::Address;

use super::document::{Document, Given, Table, looks_like_app_password};
use super::read_text;
use super::report::{Offset, Report};
use super::settings::AccountSettings;
use super::{routes, value};
use crate::delivery::repair::FromRule;
use crate::policy::Route;
use crate::upstream::connect::TlsMode;

const HEADER: &str = "[[account]]";

const NO_ACCOUNT: &str = "there is no Gmail account to send with: set GMAIL_USER and GMAIL_APP_PASSWORD, or write \
    [[account]] with user and app_password into relay.toml; an app password is made at \
    https://myaccount.google.com/apppasswords";

/// The name of the systemd credential (systemd.exec, `LoadCredential=`).
const CREDENTIAL: &str = "gmail_app_password";

const DEFAULT_HOST: &str = "smtp.gmail.com";
const DEFAULT_PORT: u16 = 465;
const DEFAULT_CONNECTIONS: usize = 2;
/// What Gmail allows a private account (`gmail.md`, section 4).
const DEFAULT_DAILY_LIMIT: u32 = 500;

/// An account but for its secret and the way to Gmail, and where it is written.
pub struct Written<'a> {
    pub table: Table<'a>,
    pub name: String,
    pub user: Option<Address>,
    pub route: Route,
    pub fallback: Option<String>,
}

/// All accounts. Variables stand for one, so where there are several the file alone counts.
pub fn written<'a>(document: &'a Document<'_>, report: &mut Report) -> Vec<Written<'a>> {
    let tables = document.tables(HEADER);
    if tables.len() < 2 {
        let table = tables.first().copied().unwrap_or_else(|| document.absent(HEADER));
        return vec![write_down(table, report)];
    }
    for variable in tables.first().map(Table::variables).unwrap_or_default() {
        let count = tables.len();
        report.mistake(
            None,
            format!(
                "{variable} is set, but there are {count} [[account]] in the file, and it does not say for which; unset it"
            ),
        );
    }
    tables.into_iter().map(|table| write_down(table.without_environment(), report)).collect()
}

fn write_down<'a>(table: Table<'a>, report: &mut Report) -> Written<'a> {
    let user = table.read("user", value::address, report);
    let name = table.read("name", value::label, report);
    let name = name.or_else(|| Some(user.as_ref()?.to_string())).unwrap_or_default();
    let route = routes::route(table, &name, report);
    Written { table, name, user, route, fallback: table.read("fallback", value::label, report) }
}

/// The settings of each. `None`: there is a mistake.
pub fn read(accounts: &[Written<'_>], document: &Document<'_>, report: &mut Report) -> Option<Vec<AccountSettings>> {
    let [Written { table, .. }, ..] = accounts else { return None };
    let is_given = ["user", "app_password", "app_password_file"].iter().any(|key| table.given(key).is_some());
    if !table.is_written() && !is_given {
        report.mistake(None, NO_ACCOUNT);
        return None;
    }
    let alone = accounts.len() == 1;
    let read = accounts.iter().map(|account| read_one(account, document, alone, report));
    // All of them first, so that all mistakes are told.
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_one(
    account: &Written<'_>,
    document: &Document<'_>,
    alone: bool,
    report: &mut Report,
) -> Option<AccountSettings> {
    let Written { table, name, user, route, fallback } = account;
    let table = *table;
    require_user(table, report);
    let app_password = app_password(table, document, alone, report);
    let port = table.read("port", value::port, report).unwrap_or(DEFAULT_PORT);
    let tls = tls_mode(table, port, report);
    let host = table.read("host", value::host, report).unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let ca_file = ca_file(table, document.folder(), report);
    let connections = value::count("a number of connections", 1..=100);
    let daily_limit = value::number("a number of recipients", 1..=1_000_000);
    let from = value::choice(&[("rewrite", FromRule::Rewrite), ("keep", FromRule::Keep)]);
    let connections = table.read("connections", connections, report).unwrap_or(DEFAULT_CONNECTIONS);
    let daily_limit = table.read("daily_limit", daily_limit, report).unwrap_or(DEFAULT_DAILY_LIMIT);
    let from = table.read("from", from, report).unwrap_or(FromRule::Rewrite);
    let send_as = table.list("send_as", value::pattern, report).unwrap_or_default();
    Some(AccountSettings {
        name: name.clone(),
        user: user.clone()?,
        app_password: app_password?,
        host,
        port,
        tls,
        ca_file,
        connections,
        daily_limit,
        from,
        send_as,
        route: route.clone(),
        fallback: fallback.clone(),
    })
}

fn require_user(table: Table<'_>, report: &mut Report) {
    match table.given("user") {
        Some(_) => {}
        None if table.is_written() => {
            report.mistake(table.at, "[[account]] has no user; write user = \"me@gmail.com\", or set GMAIL_USER");
        }
        None => {
            report.mistake(None, "GMAIL_USER is not set; it is the Gmail address that the app password belongs to");
        }
    }
}

/// 465 and 587 say how TLS begins; the wrong way round there is only garbage (`gmail.md`, section 7). For another
/// port the file must say it. With variables alone there is always an answer: from the first byte.
fn tls_mode(table: Table<'_>, port: u16, report: &mut Report) -> TlsMode {
    let modes = value::choice(&[("implicit", TlsMode::Implicit), ("starttls", TlsMode::Starttls)]);
    let by_port = match port {
        465 => Some((TlsMode::Implicit, "port 465 has TLS on connect: \"implicit\"")),
        587 => Some((TlsMode::Starttls, "port 587 begins TLS by command: \"starttls\"")),
        _ => None,
    };
    let Some(given) = table.given("tls") else {
        let port = table.given("port").filter(|port| !port.is_from_environment());
        if let (Some(given), None) = (port, by_port) {
            given
                .wrong("for a port other than 465 and 587, tls = \"implicit\" or tls = \"starttls\" is needed", report);
        }
        return by_port.map_or(TlsMode::Implicit, |(mode, _)| mode);
    };
    let mode = given.read(modes, report);
    match (mode, by_port) {
        (Some(mode), Some((needed, why))) if mode != needed => {
            given.wrong(why, report);
            needed
        }
        (mode, by_port) => mode.or(by_port.map(|(mode, _)| mode)).unwrap_or(TlsMode::Implicit),
    }
}

fn ca_file(table: Table<'_>, folder: &Path, report: &mut Report) -> Option<PathBuf> {
    let given = table.given("ca_file")?;
    let path = given.read(value::path(folder), report)?;
    if let Err(error) = File::open(&path) {
        given.wrong(&format!("it cannot be read: {error}"), report);
    }
    Some(path)
}

/// From a variable, else from the file, else from systemd.
fn app_password(table: Table<'_>, document: &Document<'_>, alone: bool, report: &mut Report) -> Option<SecretString> {
    match (table.given("app_password"), table.given("app_password_file")) {
        (Some(text), Some(file)) if text.is_from_environment() == file.is_from_environment() => {
            report.mistake(text.at, format!("{} and {} are both given; keep one of them", text.name, file.name));
            None
        }
        (Some(text), file) if file.is_none() || text.is_from_environment() => password_of_text(&text, document, report),
        (_, Some(file)) => password_of_file(&file, document, report),
        _ if alone => password_of_systemd(table, document, report),
        // The one credential cannot be the password of several accounts.
        _ => {
            report.mistake(table.at, NO_PASSWORD_OF_SEVERAL);
            None
        }
    }
}

fn password_of_text(given: &Given<'_>, document: &Document<'_>, report: &mut Report) -> Option<SecretString> {
    if let Some(file) = document.file.filter(|_| !given.is_from_environment()) {
        warn_of_readers(file, OTHERS, given.at, report);
    }
    let Some(text) = given.raw.text() else {
        report.mistake(given.at, format!("{} is not a text; write the app password in quotes", given.name));
        return None;
    };
    password(text, &given.name, given.at, report)
}

fn password_of_file(given: &Given<'_>, document: &Document<'_>, report: &mut Report) -> Option<SecretString> {
    let path = given.read(value::path(document.folder()), report)?;
    match read_secret(&path) {
        Ok(text) => {
            warn_of_readers(&path, GROUP_OR_OTHERS, given.at, report);
            password(text.expose_secret(), &given.name, given.at, report)
        }
        Err(error) => {
            given.wrong(&format!("it cannot be read: {error}"), report);
            None
        }
    }
}

/// The credential folder is private to the service, so nobody else has to be feared there.
fn password_of_systemd(table: Table<'_>, document: &Document<'_>, report: &mut Report) -> Option<SecretString> {
    let folder = document.environment.variable("CREDENTIALS_DIRECTORY");
    let path = folder.map(|folder| Path::new(folder).join(CREDENTIAL)).filter(|path| path.exists());
    let Some(path) = path else {
        report.mistake(table.at, no_password(table));
        return None;
    };
    match read_secret(&path) {
        Ok(text) => password(text.expose_secret(), &format!("credential {CREDENTIAL}"), None, report),
        Err(error) => {
            report.mistake(None, format!("credential {CREDENTIAL} cannot be read: {error}"));
            None
        }
    }
}

const NO_PASSWORD_OF_SEVERAL: &str = "[[account]] has no app_password; write app_password = \"…\" or app_password_file = \"…\"; \
    an app password is made at https://myaccount.google.com/apppasswords";

fn no_password(table: Table<'_>) -> &'static str {
    if table.is_written() {
        "[[account]] has no app_password; write app_password = \"…\" or app_password_file = \"…\", or set \
         GMAIL_APP_PASSWORD; an app password is made at https://myaccount.google.com/apppasswords"
    } else {
        "GMAIL_USER is set, but neither GMAIL_APP_PASSWORD nor GMAIL_APP_PASSWORD_FILE is; an app password is made \
         at https://myaccount.google.com/apppasswords"
    }
}

/// A password file holds one line; whatever is longer than this is something else.
const SECRET_BYTES_MAX: u64 = 4096;

fn read_secret(path: &Path) -> io::Result<SecretString> {
    read_text(path, SECRET_BYTES_MAX).map(SecretString::from)
}

/// Blanks do not matter: Google shows the password in four groups (`gmail.md`, section 2.1).
fn password(text: &str, name: &str, at: Offset, report: &mut Report) -> Option<SecretString> {
    let plain: String = text.split_whitespace().collect();
    if plain.is_empty() || plain.contains(char::is_control) {
        let fault = if plain.is_empty() { "holds no password" } else { "holds a control character" };
        report.mistake(at, format!("{name} {fault}"));
        return None;
    }
    if !looks_like_app_password(&plain) {
        report.warning(
            at,
            format!(
                "{name} does not look like an app password, which has 16 letters; the password of the Google account \
                 itself will not work; an app password is made at https://myaccount.google.com/apppasswords"
            ),
        );
    }
    Some(SecretString::from(plain))
}

const OTHERS: u32 = 0o004;
const GROUP_OR_OTHERS: u32 = 0o044;

/// Warns where those of `readers` may read a file with a secret.
fn warn_of_readers(path: &Path, readers: u32, at: Offset, report: &mut Report) {
    let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & readers != 0 {
        let (path, mode) = (path.display(), mode & 0o777);
        report.warning(
            at,
            format!("{path} holds a password and can be read by others (mode {mode:o}); run: chmod 600 {path}"),
        );
    }
}
