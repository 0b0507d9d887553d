//! The listener's door through the real program: TLS, Unix sockets, proxies, and who may come in at all. One function a
//! story, by theme in the modules.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod allow;
mod authority;
mod certificates;
mod failures;
mod netns;
mod proxy;
mod talk;
mod tls;
mod unix;

use program::{Gmail, Relay};

/// A relay that runs under this configuration; its account and its spool come from variables.
fn relay_with(gmail: &Gmail, config: &str) -> Relay {
    let mut relay = relay_not_started(gmail, config);
    relay.start();
    relay
}

fn relay_not_started(gmail: &Gmail, config: &str) -> Relay {
    let mut relay = Relay::new(gmail);
    relay.unset("SMARTHOST_LISTEN");
    relay.write_config(config);
    relay
}

/// The value of a key of an event.
fn text<'a>(event: &'a serde_json::Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}
