//! Where mail goes, through the real program: which account takes what, which one helps out, what a reload makes of mail
//! that waits, and how those who get it see whom it was meant for. Each account has a stand-in for Gmail of its own.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod choice;
mod fallback;
mod originals;
mod reload;

use std::fmt::Write as _;

use serde_json::Value;
use smarthost::standin::{Options, Received};

use program::device::{Device, message};
use program::{Gmail, Relay, gmail};

/// A Gmail where one user may log in.
fn gmail_of(user: &str) -> Gmail {
    Gmail::with(Options { user: user.to_owned(), ..Options::default() })
}

/// A relay that is not started yet, whose accounts are all in its file.
fn relay() -> Relay {
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    for name in ["USER", "APP_PASSWORD", "HOST", "PORT", "TLS", "CA_FILE"] {
        relay.unset(&format!("GMAIL_{name}"));
    }
    relay
}

/// The section of an account whose user is `name` at example.com; `more` are further lines of it.
fn account(relay: &Relay, gmail: &Gmail, name: &str, more: &str) -> String {
    account_with(relay, gmail, name, gmail::APP_PASSWORD, more)
}

fn account_with(relay: &Relay, gmail: &Gmail, name: &str, password: &str, more: &str) -> String {
    let user = gmail.user();
    let ca_file = relay.write(&format!("{}.pem", user.replace('@', "-")), gmail.ca_pem());
    let mut text = format!("[[account]]\nname = \"{name}\"\nuser = \"{user}\"\napp_password = \"{password}\"\n");
    let port = gmail.ports().implicit;
    let _ =
        write!(text, "host = \"localhost\"\nport = {port}\ntls = \"implicit\"\nca_file = \"{}\"\n", ca_file.display());
    text + more + "\n"
}

/// Hands a message in from this sender.
fn send(relay: &Relay, from: &str, subject: &str) -> String {
    let mut device = Device::connect(relay.port());
    device.order("HELO printer");
    let id = device.send(from, &["you@example.com"], &message(subject));
    device.order("QUIT");
    id
}

/// The subjects of what Gmail got, sorted.
fn subjects(received: &[Received]) -> Vec<String> {
    let mut subjects: Vec<String> = received.iter().map(|message| field(message, "Subject")).collect();
    subjects.sort();
    subjects
}

/// A field as it stands in the header.
fn field(message: &Received, name: &str) -> String {
    let text = String::from_utf8_lossy(&message.content);
    let begin = format!("{name}: ");
    text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default().to_owned()
}

/// How one account stands, by `status`.
fn standing(relay: &Relay, name: &str) -> Value {
    let status: Value = serde_json::from_str(&relay.ask(&["status", "--json"])).expect("status is JSON");
    let accounts = status["accounts"].as_array().expect("there are accounts");
    accounts.iter().find(|account| account["account"] == name).expect("the account is there").clone()
}
