//! Everything worth a log line: one enum, and one place that writes it.
//!
//! Names and keys are stable (docs/log.md); the sentence behind them is not. An event holds no secret: the
//! types that do cannot be put here, and commands of clients come without arguments that could be one.

use tracing::{debug, error, info, warn};

use crate::mail::{MessageId, Timestamp};

/// What happened. The fields are the keys of the log line.
#[derive(Debug)]
pub enum Event<'a> {
    /// Every listener is bound.
    Ready {
        addresses: &'a str,
    },
    /// The daemon is ending.
    Stopping {
        reason: &'a str,
    },
    /// The configuration was read again.
    Reloaded {
        changes: &'a str,
    },
    Connected {
        client: &'a str,
    },
    Disconnected {
        client: &'a str,
        messages: u64,
    },
    Accepted {
        id: MessageId,
        client: &'a str,
        /// What the client called itself with AUTH.
        login: Option<&'a str>,
        from: &'a str,
        to: &'a str,
        size: u64,
    },
    Rejected {
        client: &'a str,
        reply: &'a str,
        command: &'a str,
        reason: &'a str,
    },
    /// A client could not begin TLS: why, and what to change.
    TlsFailed {
        client: &'a str,
        reason: &'a str,
        cure: &'a str,
    },
    Delivered {
        id: MessageId,
        to: &'a str,
        account: &'a str,
        reply: &'a str,
        attempts: u32,
        delay_ms: i64,
    },
    Deferred {
        id: MessageId,
        to: &'a str,
        account: &'a str,
        reply: &'a str,
        next_try: Timestamp,
    },
    Refused {
        id: MessageId,
        to: &'a str,
        account: &'a str,
        reply: &'a str,
    },
    Uncertain {
        id: MessageId,
        to: &'a str,
        account: &'a str,
        reply: &'a str,
        /// `None`: not before an operator releases it.
        next_try: Option<Timestamp>,
    },
    Expired {
        id: MessageId,
        to: &'a str,
        account: &'a str,
        reply: &'a str,
    },
    /// What an account's state has become, why, and what to do.
    Account {
        account: &'a str,
        state: &'a str,
        reason: &'a str,
        cure: &'a str,
    },
    /// The store cannot be trusted any more; no mail is taken until a restart.
    SpoolBroken {
        reason: &'a str,
    },
    /// The store could not do something; it may later.
    SpoolFailed {
        reason: &'a str,
    },
    /// Something in the configuration that works but should not be so.
    Warning {
        warning: &'a str,
    },
    /// Our mistake. One connection or one attempt ended by it.
    Bug {
        reason: &'a str,
    },
}

/// Writes an event to the log.
pub fn log(event: &Event<'_>) {
    use Event as E;
    match *event {
        E::Ready { addresses } => info!(event = "ready", addresses, "ready on {addresses}"),
        E::Stopping { reason } => info!(event = "stopping", reason, "stopping: {reason}"),
        E::Reloaded { changes } => info!(event = "reloaded", changes, "configuration read again: {changes}"),
        E::Connected { client } => debug!(event = "connected", client),
        E::Disconnected { client, messages } => debug!(event = "disconnected", client, messages),
        E::Accepted { id, client, login, from, to, size } => {
            info!(event = "accepted", %id, client, login, from, to, size);
        }
        E::Rejected { client, reply, command, reason } => {
            info!(event = "rejected", client, reply, command, reason);
        }
        E::TlsFailed { client, reason, cure } => warn!(event = "tls_failed", client, reason, cure),
        E::Delivered { id, to, account, reply, attempts, delay_ms } => {
            info!(event = "delivered", %id, to, account, reply, attempts, delay_ms);
        }
        E::Deferred { id, to, account, reply, next_try } => {
            info!(event = "deferred", %id, to, account, reply, next_try = seconds(next_try));
        }
        E::Refused { id, to, account, reply } => warn!(event = "refused", %id, to, account, reply),
        E::Uncertain { id, to, account, reply, next_try } => {
            warn!(event = "uncertain", %id, to, account, reply, next_try = next_try.map(seconds));
        }
        E::Expired { id, to, account, reply } => warn!(event = "expired", %id, to, account, reply),
        E::Account { account, state: state @ "working", reason, cure } => {
            info!(event = "account", account, state, reason, cure);
        }
        E::Account { account, state, reason, cure } => warn!(event = "account", account, state, reason, cure),
        E::SpoolBroken { reason } => {
            error!(event = "spool_broken", reason, "no mail is taken until a restart: {reason}");
        }
        E::SpoolFailed { reason } => error!(event = "spool_failed", reason),
        E::Warning { warning } => warn!(event = "warning", warning),
        E::Bug { reason } => error!(event = "bug", reason),
    }
}

/// Whole seconds are as exact as a time ahead needs to be.
fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}
