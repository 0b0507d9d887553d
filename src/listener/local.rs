//! A program of this machine that hands its mail in without a socket: the same session and the same way into the spool as
//! for any client, fed by function calls.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::intake::Intake;
use crate::clock::now;
use crate::mail::{Client, Refusal};
use crate::smtp::{Action, Input, Offer, Session, Settings};
use crate::spool::Spool;

/// Where such a program is.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A conversation that goes on inside this process.
pub struct Local<'a> {
    session: Session,
    intake: Intake<'a>,
    closed: bool,
}

impl std::fmt::Debug for Local<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Local {{ {}, {:?} }}", self.intake.client, self.session)
    }
}

impl<'a> Local<'a> {
    /// Begins one; the second value is the greeting.
    pub async fn begin(settings: Arc<Settings>, spool: &'a dyn Spool) -> (Local<'a>, Vec<u8>) {
        let client = Client { helo: String::new(), ip: Some(HERE), login: None };
        let (session, greeting) = Session::new(settings, Offer::default(), Some(HERE));
        let mut local = Local { session, intake: Intake::new(client, spool), closed: false };
        let greeting = local.carry_out(greeting).await;
        (local, greeting)
    }

    /// Takes bytes of the client, or its silence, and returns what is replied: a 250 behind content only once the message
    /// is on stable storage.
    pub async fn hear(&mut self, input: Input<'_>) -> Vec<u8> {
        let actions = self.session.advance(now(), input);
        self.carry_out(actions).await
    }

    /// Whether nothing will be heard any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    async fn carry_out(&mut self, actions: Vec<Action>) -> Vec<u8> {
        let mut replies = Vec::new();
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(said) => replies.extend(said),
                Action::Append(piece) => self.intake.append(piece).await,
                Action::Discard => self.intake.forget(),
                Action::Store { submission, rest } => {
                    let stored = self.intake.store(*submission, rest).await;
                    actions.extend(self.session.advance(now(), Input::Stored(stored)));
                }
                // Who has an account on this machine is not asked for another one.
                Action::Verify(credentials) => {
                    let refusal = Refusal::LoginFailed(credentials.name);
                    actions.extend(self.session.advance(now(), Input::Verified(Err(refusal))));
                }
                Action::Log { refusal, command } => self.intake.log_refusal(&refusal, &command),
                // Never offered here.
                Action::Encrypt => {}
                Action::Close(_) => self.closed = true,
            }
        }
        replies
    }
}
