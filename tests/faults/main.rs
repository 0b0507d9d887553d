//! What must not lose mail, send it twice or end the relay: each fault is really caused, to the real program.
//!
//! The clients keep a record of what they were promised, and the stand-in for Gmail one of what arrived; the two are
//! compared with what waits in the queue.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod calls;
mod client;
mod clock;
mod damage;
mod descriptors;
mod full;
mod kill;
mod large;
mod mount;
mod place;
mod stop;
mod strace;

/// The subject of what Gmail got.
fn subject(content: &[u8]) -> String {
    use mailparse::MailHeaderMap as _;
    let parsed = mailparse::parse_mail(content).expect("it can be parsed");
    parsed.headers.get_first_value("Subject").unwrap_or_default()
}
