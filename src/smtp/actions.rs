//! The actions that one step of a session causes, in their order.
//!
//! Touches nothing. Replies are gathered, so that they leave in one piece (legacy-clients.md, section 1: a greeting
//! in two segments hung a client); they are written before anything that takes time, or ends the connection.

use std::mem;

use bytes::Bytes;

use super::{Action, Credentials, Parting};
use crate::mail::{Refusal, Submission};

/// Collects what is to be done.
#[derive(Debug, Default)]
pub struct Actions {
    /// Replies not yet in the list.
    replies: Vec<u8>,
    list: Vec<Action>,
}

impl Actions {
    /// Says something: whole lines, without the last line end.
    pub fn say(&mut self, reply: &str) {
        self.replies.extend_from_slice(reply.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    /// Hands on a piece of content.
    pub fn append(&mut self, piece: Bytes) {
        self.then(Action::Append(piece));
    }

    /// Takes back the pieces handed on.
    pub fn discard(&mut self) {
        self.then(Action::Discard);
    }

    /// Asks for the message to be stored.
    pub fn store(&mut self, submission: Submission, rest: Bytes) {
        self.then(Action::Store { submission: Box::new(submission), rest });
    }

    /// Asks for a login to be checked.
    pub fn verify(&mut self, credentials: Credentials) {
        self.then(Action::Verify(Box::new(credentials)));
    }

    /// Begins the handshake.
    pub fn encrypt(&mut self) {
        self.then(Action::Encrypt);
    }

    /// Tells the log. It does not separate replies: nobody can see which of the two came first.
    pub fn log(&mut self, refusal: Refusal, command: String) {
        self.list.push(Action::Log { refusal, command });
    }

    /// Ends the connection.
    pub fn close(&mut self, parting: Parting) {
        self.then(Action::Close(parting));
    }

    /// All of it, in order.
    #[must_use]
    pub fn into_list(mut self) -> Vec<Action> {
        self.flush();
        self.list
    }

    fn then(&mut self, action: Action) {
        self.flush();
        self.list.push(action);
    }

    fn flush(&mut self) {
        if !self.replies.is_empty() {
            self.list.push(Action::Send(mem::take(&mut self.replies)));
        }
    }
}
