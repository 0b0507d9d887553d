//! Stories through the real program: a device hands mail in, a stand-in for Gmail takes it or does not, an operator
//! looks on. One function a story, by theme in the modules.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod account;
mod commands;
mod delivery;
mod lifecycle;
mod moving;
mod observed;
mod queue;
mod replies;
mod standing;
mod uncertain;

use mailparse::{MailHeaderMap, ParsedMail};

/// A field of a message as a person reads it.
fn field(message: &ParsedMail<'_>, name: &str) -> String {
    message.headers.get_first_value(name).unwrap_or_default()
}

/// The subject of what Gmail got.
fn subject(content: &[u8]) -> String {
    field(&mailparse::parse_mail(content).expect("it can be parsed"), "Subject")
}
