//! smarthost: a small SMTP server that old software can talk to, and that hands everything on to Gmail.
//!
//! In reading order: [`mail`] is the vocabulary, [`policy`] the rules, [`smtp`] the conversation with a client,
//! [`listener`] its sockets. [`spool`] keeps what was accepted, [`delivery`] repairs it and sees it through
//! [`upstream`] to Gmail. [`event`] is what may be told about all this, [`log`] writes it down. [`config`] reads the
//! settings, [`daemon`] joins the parts, [`cli`] is what people type. [`standin`] plays Gmail for the demonstration
//! and the tests; [`clock`] is the one place that knows the time.

// No panic can be reached from input. Tests may stop where they cannot go on; these are for the program alone.
#![warn(
    clippy::unwrap_used,
    clippy::panic,
    clippy::todo,
    clippy::dbg_macro,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod event;
pub mod listener;
pub mod log;
pub mod mail;
pub mod policy;
pub mod smtp;
pub mod spool;
pub mod standin;
pub mod upstream;
