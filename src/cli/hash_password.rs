//! `smarthost hash-password`: what to write under `[[user]]` for a password.

use std::io::{self, IsTerminal, Write};

use secrecy::{ExposeSecret, SecretString};

use super::Failure;
use crate::listener::PasswordHash;

/// Asks twice on a terminal, without showing it; otherwise the first line of standard input is the password. It is never
/// an argument, which every user of the machine could read.
pub fn run() -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() { ask()? } else { read()? };
    if password.expose_secret().is_empty() {
        return Err(Failure::BadInput("the password is empty".to_owned()));
    }
    let hash = PasswordHash::of(password.expose_secret().as_bytes());
    let hash = hash.map_err(|reason| Failure::Io(io::Error::other(reason)))?;
    Ok(writeln!(io::stdout(), "{hash}")?)
}

fn ask() -> Result<SecretString, Failure> {
    let ask = |prompt| rpassword::prompt_password(prompt).map(SecretString::from);
    let first = ask("Password: ")?;
    let again = ask("The same again: ")?;
    if first.expose_secret() == again.expose_secret() {
        Ok(first)
    } else {
        Err(Failure::BadInput("the two are not the same".to_owned()))
    }
}

fn read() -> Result<SecretString, Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).into())
}
