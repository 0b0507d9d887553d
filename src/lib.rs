//! smarthost: a small SMTP server that old software can talk to, and that hands everything on to Gmail.
//!
//! In reading order: [`mail`] is the vocabulary, [`policy`] the rules, [`smtp`] the conversation with a client,
//! [`listener`] its sockets. [`spool`] keeps what was accepted, [`delivery`] repairs it and sees it through
//! [`upstream`] to Gmail. [`config`] reads the settings, [`daemon`] joins the parts, [`cli`] is what people type.
//! [`standin`] plays Gmail for the demonstration and the tests.

pub mod mail;
pub mod policy;
// smtp
pub mod spool;
