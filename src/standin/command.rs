//! Commands as the client writes them: which one it is, and whether its names and addresses may be sent to Gmail.
//!
//! Pure. Stricter than most servers, since what the relay writes has no excuse.

use std::net::IpAddr;

use super::script::Stage;
use super::session::Said;
use super::words;
use crate::mail::Address;

/// What the client may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    Unknown,
}

impl Verb {
    pub fn read(word: &str) -> Verb {
        match word.to_ascii_uppercase().as_str() {
            "EHLO" => Verb::Ehlo,
            "HELO" => Verb::Helo,
            "STARTTLS" => Verb::Starttls,
            "AUTH" => Verb::Auth,
            "MAIL" => Verb::Mail,
            "RCPT" => Verb::Rcpt,
            "DATA" => Verb::Data,
            "BDAT" => Verb::Bdat,
            "RSET" => Verb::Rset,
            "NOOP" => Verb::Noop,
            "QUIT" => Verb::Quit,
            "VRFY" => Verb::Vrfy,
            "HELP" => Verb::Help,
            _ => Verb::Unknown,
        }
    }
}

/// One thing that happens, and has to be answered.
#[derive(Debug)]
pub(super) enum Move {
    Connect,
    Greet,
    Command(Verb, String),
    /// The content is complete.
    Dot,
}

impl Move {
    pub fn stage(&self) -> Stage {
        match self {
            Move::Connect => Stage::Connect,
            Move::Greet => Stage::Greeting,
            Move::Dot => Stage::Dot,
            Move::Command(verb, _) => match verb {
                Verb::Ehlo | Verb::Helo => Stage::Ehlo,
                Verb::Starttls => Stage::Starttls,
                Verb::Auth => Stage::Auth,
                Verb::Mail => Stage::Mail,
                Verb::Rcpt => Stage::Rcpt,
                Verb::Data => Stage::Data,
                Verb::Rset => Stage::Rset,
                Verb::Noop => Stage::Noop,
                Verb::Quit => Stage::Quit,
                Verb::Bdat | Verb::Vrfy | Verb::Help | Verb::Unknown => Stage::Other,
            },
        }
    }
}

/// gmail.md, section 1.3: what Gmail does not want to be greeted with.
pub(super) fn check_hello(argument: &str, refuse_localhost: bool) -> Result<(), Said> {
    let name = argument.trim_end_matches(' ');
    if name.is_empty() {
        return Err(words::EHLO_EMPTY.into());
    }
    if refuse_localhost && (name.eq_ignore_ascii_case("localhost") || name == "[127.0.0.1]") {
        return Err(words::EHLO_LOCALHOST.into());
    }
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fits = match literal {
        Some(literal) => literal.trim_start_matches("IPv6:").parse::<IpAddr>().is_ok(),
        None => name.split('.').all(is_label),
    };
    if fits { Ok(()) } else { Err(words::bad_ehlo(name).into()) }
}

/// RFC 1123 §2.1; an underscore is no part of a host name.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Splits `FROM:<path> parameters`; nothing may stand between the colon and the path (RFC 5321 §4.1.1.2).
pub(super) fn split_path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (found, rest) = argument.split_at_checked(keyword.len())?;
    let rest = rest.strip_prefix('<').filter(|_| found.eq_ignore_ascii_case(keyword))?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|c| {
        let special = !std::mem::take(&mut escaped);
        match c {
            '"' if special => quoted = !quoted,
            '\\' if special && quoted => escaped = true,
            '>' => return !quoted,
            _ => {}
        }
        false
    })?;
    let (path, parameters) = (&rest[..end], &rest[end + 1..]);
    (parameters.is_empty() || parameters.starts_with(' ')).then_some((path, parameters.trim()))
}

/// Whether `path` is an address that may go over the wire as it stands.
pub(super) fn is_mailbox(path: &str, smtputf8: bool) -> bool {
    let written = path.parse::<Address>().map(|address| address.to_string());
    written.is_ok_and(|written| written.eq_ignore_ascii_case(path)) && (smtputf8 || path.is_ascii())
}
