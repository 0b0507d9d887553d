//! The dialogue with Gmail, stage by stage, on lettre's connection over our own TLS stream.
//!
//! lettre reads replies; everything else is here: MAIL, each RCPT and DATA leave in one flight where PIPELINING is
//! offered (RFC 2920), content is streamed, every step has a deadline, and each recipient has an outcome of its own.
//! The connection is kept between messages, since logins are scarce (gmail.md, section 1.4).
//!
//! Every failure ends in outcomes that are [`Outcome::Deferred`] or [`Outcome::Uncertain`], unless Gmail refused the
//! message or a recipient in so many words.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::connect::{Endpoint, GREETING_DEADLINE, Setback, TlsMode};
use super::credentials::Credentials;
use super::fault::Fault;
use super::trouble::Trouble;
use super::verdict::{Stage, Verdict, judge};
use super::wire::Wire;
use super::{Consignment, Dispatch, Outgoing, Upstream};
use crate::mail::stuffing::Stuffing;
use crate::mail::{Address, Outcome, Reply, Why};

/// Recipients in one transaction (gmail.md, section 4).
const RECIPIENTS_MAX: usize = 100;
/// How often the others are named again because Gmail hung up over one recipient: each time costs a login.
const HANG_UPS_MAX: u32 = 3;
/// Deadlines of RFC 5321 §4.5.3.2, in its order.
const MAIL_DEADLINE: Duration = Duration::from_mins(5);
const RCPT_DEADLINE: Duration = Duration::from_mins(5);
const DATA_DEADLINE: Duration = Duration::from_mins(2);
const PIECE_DEADLINE: Duration = Duration::from_mins(3);
const DOT_DEADLINE: Duration = Duration::from_mins(10);
const AUTH_DEADLINE: Duration = Duration::from_mins(2);
/// For MAIL, all RCPTs and DATA of one transaction together, and for all pieces of one content.
const ENVELOPE_DEADLINE: Duration = Duration::from_mins(15);
const CONTENT_DEADLINE: Duration = Duration::from_mins(75);
/// After this time no further transaction of the same message is begun. With the two above, and the dot, an attempt
/// has its end.
const BEGIN_DEADLINE: Duration = Duration::from_hours(2);
const QUIT_DEADLINE: Duration = Duration::from_secs(2);
/// For a reply that is already there, if there is one.
const LAST_WORDS_DEADLINE: Duration = Duration::from_secs(2);
/// How long a connection is kept without work, and how old and used it may become (gmail.md, section 1.4).
const IDLE_MAX: Duration = Duration::from_mins(1);
const AGE_MAX: Duration = Duration::from_mins(50);
const MESSAGES_MAX: u32 = 100;

/// One account at Gmail, over at most one connection.
#[derive(Debug)]
pub struct Gmail {
    endpoint: Endpoint,
    credentials: Credentials,
    connection: Option<Connection>,
}

struct Connection {
    smtp: AsyncSmtpConnection,
    wire: Wire,
    offers: Offers,
    opened: Instant,
    used: Instant,
    messages: u32,
    /// Nothing of an earlier transaction is left on it.
    fit: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection {{ {} messages }}", self.messages)
    }
}

/// What the reply to EHLO offers, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each keyword is offered or not, whatever the others are")]
struct Offers {
    pipelining: bool,
    size: bool,
    eight_bit: bool,
    smtputf8: bool,
}

impl Offers {
    /// Keywords stand at the start of each line, in any case (RFC 5321 §4.1.1.1).
    fn read(heard: &str) -> Offers {
        let mut offers = Offers::default();
        for line in heard.lines().filter_map(|line| line.get(4..)) {
            match line.split(' ').next().unwrap_or("").to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "SIZE" => offers.size = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                _ => {}
            }
        }
        offers
    }
}

/// What a transaction came to.
enum Transacted {
    /// Each recipient has its outcome, or is to be named again in another transaction.
    Answered { outcomes: Vec<(u32, Outcome)>, again: Vec<(u32, Address)>, trouble: Option<Trouble> },
    /// The same, and those who are to be named again were too many at once.
    TooMany { outcomes: Vec<(u32, Outcome)>, again: Vec<(u32, Address)> },
    /// Gmail closed the connection over one recipient, and said why; the others are to be named again on another.
    HungUp { outcomes: Vec<(u32, Outcome)>, again: Vec<(u32, Address)> },
    /// It broke off before the final dot: nobody has got anything.
    Broken(Setback),
    /// It broke off behind the final dot: nobody can know.
    Unknown(Fault),
}

impl Gmail {
    /// Connects when there is something to send, not before.
    #[must_use]
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Gmail {
        Gmail { endpoint, credentials, connection: None }
    }

    /// Connects and logs in, and nothing else.
    ///
    /// # Errors
    /// What went wrong, and what to do.
    pub async fn try_login(&mut self) -> Result<(), Trouble> {
        if self.connection.is_none() {
            self.connection = Some(self.connect().await.map_err(|setback| setback.trouble())?);
        }
        Ok(())
    }

    /// Ends the kept connection, where it is not fit for another message.
    async fn quit_if_unfit(&mut self) {
        let fit = self.connection.as_ref().is_some_and(|connection| {
            connection.fit
                && connection.messages < MESSAGES_MAX
                && connection.opened.elapsed() < AGE_MAX
                && connection.used.elapsed() < IDLE_MAX
                && connection.wire.is_quiet()
        });
        if !fit {
            self.close().await;
        }
    }

    async fn connect(&self) -> Result<Connection, Setback> {
        let wire = self.endpoint.open().await?;
        let name = ClientId::Domain(self.endpoint.hostname.clone());
        let greeted =
            timeout(GREETING_DEADLINE, AsyncSmtpConnection::connect_with_transport(Box::new(wire.clone()), &name));
        let greeted = greeted.await;
        let heard = wire.take_heard();
        // With STARTTLS the greeting was heard before.
        let greeted_before = heard.starts_with("220") || self.endpoint.tls == TlsMode::Starttls;
        let stage = if greeted_before { Stage::Ehlo } else { Stage::Greeting };
        let mut smtp = match greeted {
            Ok(Ok(smtp)) => smtp,
            Ok(Err(error)) => return Err(no_reply(stage, &error)),
            Err(_) => return Err(Fault::late(stage, GREETING_DEADLINE).into()),
        };
        self.log_in(&mut smtp).await?;
        let now = Instant::now();
        Ok(Connection { smtp, wire, offers: Offers::read(&heard), opened: now, used: now, messages: 0, fit: true })
    }

    async fn log_in(&self, smtp: &mut AsyncSmtpConnection) -> Result<(), Setback> {
        let command = self.credentials.auth_plain();
        let reply = ask(smtp, Stage::Auth, AUTH_DEADLINE, command.expose_secret()).await?;
        if reply.code() == 235 { Ok(()) } else { Err(Setback::Said(Stage::Auth, reply)) }
    }

    /// One transaction, on a new connection if the kept one turns out to be stale before anything was achieved on
    /// it: that counts as nothing (gmail.md, section 1.4).
    async fn transact(
        &mut self,
        consignment: &Consignment,
        group: &[(u32, Address)],
        content: &mut dyn Outgoing,
    ) -> Transacted {
        self.quit_if_unfit().await;
        if let Some(connection) = &mut self.connection {
            content.rewind().await;
            match connection.transact(consignment, group, content).await {
                Transacted::Broken(setback) if setback.is_stale() => self.connection = None,
                done => return done,
            }
        }
        let connection = match self.connect().await {
            Ok(connection) => self.connection.insert(connection),
            Err(setback) => return Transacted::Broken(setback),
        };
        content.rewind().await;
        connection.transact(consignment, group, content).await
    }
}

#[async_trait]
impl Upstream for Gmail {
    async fn deliver(&mut self, consignment: &Consignment, content: &mut dyn Outgoing) -> Dispatch {
        let mut waiting: VecDeque<(u32, Address)> = consignment.recipients.iter().cloned().collect();
        let mut dispatch = Dispatch { outcomes: Vec::with_capacity(waiting.len()), trouble: None };
        let began = Instant::now();
        let (mut at_once, mut hang_ups) = (RECIPIENTS_MAX, 0);
        while !waiting.is_empty() && dispatch.trouble.is_none() && began.elapsed() < BEGIN_DEADLINE {
            let group: Vec<_> = waiting.drain(..waiting.len().min(at_once)).collect();
            match self.transact(consignment, &group, content).await {
                Transacted::Answered { outcomes, again, trouble } => {
                    dispatch.outcomes.extend(outcomes);
                    dispatch.trouble = trouble;
                    waiting.extend(again);
                }
                Transacted::TooMany { outcomes, again } => {
                    at_once = (group.len() / 2).max(1);
                    dispatch.outcomes.extend(outcomes);
                    waiting.extend(again);
                }
                Transacted::HungUp { outcomes, again } => {
                    self.connection = None;
                    dispatch.outcomes.extend(outcomes);
                    waiting.extend(again);
                    hang_ups += 1;
                    if hang_ups > HANG_UPS_MAX {
                        break;
                    }
                }
                Transacted::Broken(setback) => {
                    self.connection = None;
                    dispatch.trouble = setback.is_about_the_account().then(|| setback.trouble());
                    dispatch.outcomes.extend(same(&group, &setback.outcome(consignment.first_try)));
                    break;
                }
                Transacted::Unknown(fault) => {
                    self.connection = None;
                    let why = Why::NoAnswer(format!("the message was sent, but the answer never came: {fault}"));
                    dispatch.outcomes.extend(same(&group, &Outcome::Uncertain(why)));
                    break;
                }
            }
        }
        let untried: Vec<_> = waiting.into();
        // What kept the others from being tried: the last thing that was not a success, else the time it took.
        let reason = dispatch.outcomes.last().filter(|(_, outcome)| !matches!(outcome, Outcome::Delivered(_)));
        let why = reason.map_or_else(|| "it is not their turn yet".to_owned(), |(_, outcome)| outcome.reason());
        dispatch.outcomes.extend(same(&untried, &Outcome::Deferred(Why::NoAnswer(why))));
        dispatch
    }

    fn idle_left(&self) -> Option<Duration> {
        self.connection.as_ref().map(|connection| IDLE_MAX.saturating_sub(connection.used.elapsed()))
    }

    async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.quit().await;
        }
    }
}

fn same(group: &[(u32, Address)], outcome: &Outcome) -> Vec<(u32, Outcome)> {
    group.iter().map(|(place, _)| (*place, outcome.clone())).collect()
}

impl Setback {
    /// A kept connection that Gmail has closed meanwhile says so in the answer to the next command, or not at all.
    fn is_stale(&self) -> bool {
        match self {
            Setback::NoAnswer(Fault::Closed { stage: Stage::Mail, .. }) => true,
            Setback::Said(Stage::Mail, reply) => judge(Stage::Mail, reply).verdict == Verdict::Reconnect,
            _ => false,
        }
    }

    /// Before the first word about a message, everything is about the account or the way to Gmail.
    fn is_about_the_account(&self) -> bool {
        match self {
            Setback::NoAnswer(fault) => fault.meets_every_message(),
            Setback::Said(stage, reply) => !stage.is_about_mail() || judge(*stage, reply).trouble(reply).is_some(),
        }
    }

    fn trouble(&self) -> Trouble {
        match self {
            Setback::NoAnswer(fault) => fault.trouble(),
            Setback::Said(stage, reply) => judge(*stage, reply).trouble_before_mail(reply),
        }
    }

    fn outcome(&self, first_try: bool) -> Outcome {
        match self {
            Setback::NoAnswer(fault) => Outcome::Deferred(Why::NoAnswer(fault.to_string())),
            Setback::Said(stage, reply) => judge(*stage, reply).outcome(reply, first_try),
        }
    }
}

impl Connection {
    async fn quit(mut self) {
        // Without waiting for long: the goodbye is a courtesy.
        let _ = timeout(QUIT_DEADLINE, self.smtp.command("QUIT\r\n")).await;
    }

    async fn transact(
        &mut self,
        consignment: &Consignment,
        group: &[(u32, Address)],
        content: &mut dyn Outgoing,
    ) -> Transacted {
        // Until it has come to its end: whoever breaks it off leaves a transaction open.
        self.fit = false;
        let envelope = match timeout(ENVELOPE_DEADLINE, self.send_envelope(consignment, group)).await {
            Ok(Ok(envelope)) => envelope,
            Ok(Err(setback)) => return Transacted::Broken(setback),
            Err(_) => return Transacted::Broken(Fault::late(Stage::Rcpt, ENVELOPE_DEADLINE).into()),
        };
        self.used = Instant::now();
        let Envelope { mut outcomes, again, accepted, data, trouble, hung_up } = envelope;
        if hung_up {
            let again = group.iter().filter(|(place, _)| outcomes.iter().all(|(other, _)| other != place));
            return Transacted::HungUp { again: again.cloned().collect(), outcomes };
        }
        let (stage, reply) = match data {
            _ if accepted.is_empty() => {
                // With nobody to send to there is no progress, and naming the rest again would be for ever.
                outcomes
                    .extend(again.into_iter().map(|(place, _, reply)| (place, Outcome::Deferred(Why::Reply(reply)))));
                self.end_without_recipients(data.as_ref()).await;
                return Transacted::Answered { outcomes, again: Vec::new(), trouble };
            }
            Some(data) if data.code() == 354 => match self.send_content(content).await {
                Ok(reply) => {
                    self.fit = true;
                    (Stage::Dot, reply)
                }
                Err(Transfer::Broken(setback)) => return Transacted::Broken(setback),
                Err(Transfer::Unknown(fault)) => return Transacted::Unknown(fault),
            },
            // The replies are out of step: this one belongs to something else, and the content was not asked for.
            Some(data) if data.is_positive() => {
                return Transacted::Broken(Fault::protocol(&format!("{data} in answer to DATA")).into());
            }
            Some(data) => {
                self.reset().await;
                (Stage::Data, data)
            }
            None => return Transacted::Broken(Fault::Protocol("no answer to DATA".to_owned()).into()),
        };
        self.messages += 1;
        self.used = Instant::now();
        let judgement = judge(stage, &reply);
        let mut again: Vec<_> = again.into_iter().map(|(place, address, _)| (place, address)).collect();
        if judgement.verdict == Verdict::Split && accepted.len() > 1 {
            again.extend(accepted);
            return Transacted::TooMany { outcomes, again };
        }
        outcomes.extend(same(&accepted, &judgement.outcome(&reply, consignment.first_try)));
        Transacted::Answered { outcomes, again, trouble: judgement.trouble(&reply).or(trouble) }
    }

    /// MAIL, every RCPT, and DATA: in one flight where that is offered, one by one otherwise.
    async fn send_envelope(
        &mut self,
        consignment: &Consignment,
        group: &[(u32, Address)],
    ) -> Result<Envelope, Setback> {
        let mail = self.mail_command(consignment)?;
        let rcpt = group.iter().map(|(_, address)| format!("RCPT TO:<{address}>\r\n"));
        let smtp = &mut self.smtp;
        let pipelined = self.offers.pipelining;
        let mut later: VecDeque<String> = rcpt.chain(["DATA\r\n".to_owned()]).collect();
        let first = if pipelined { later.drain(..).fold(mail, |flight, command| flight + &command) } else { mail };
        let reply = ask(smtp, Stage::Mail, MAIL_DEADLINE, &first).await?;
        let mail_refused = (reply.code() / 100 != 2).then_some(reply);
        if let (Some(reply), false) = (&mail_refused, pipelined) {
            return Err(Setback::Said(Stage::Mail, reply.clone()));
        }
        let mut envelope = Envelope::default();
        for (place, address) in group {
            let reply = match later.pop_front() {
                Some(command) => ask(smtp, Stage::Rcpt, RCPT_DEADLINE, &command).await,
                None => hear(smtp, Stage::Rcpt, RCPT_DEADLINE).await,
            };
            match reply {
                // It closes the connection (RFC 5321 §3.8), whatever else is still to be heard.
                Ok(reply) if reply.code() == 421 => {
                    if judge(Stage::Rcpt, &reply).trouble(&reply).is_some() {
                        return Err(Setback::Said(Stage::Rcpt, reply));
                    }
                    envelope.hung_up = mail_refused.is_none();
                    envelope.record(*place, address, reply, consignment.first_try);
                    break;
                }
                Ok(reply) => envelope.record(*place, address, reply, consignment.first_try),
                // What was said to MAIL is the reason; that the line is dead behind it adds nothing.
                Err(_) if mail_refused.is_some() => break,
                Err(setback) => return Err(setback),
            }
        }
        if let Some(reply) = mail_refused {
            // The connection is of no more use: its remaining replies are not worth waiting for.
            return Err(Setback::Said(Stage::Mail, reply));
        }
        if envelope.hung_up {
            return Ok(envelope);
        }
        envelope.data = match later.pop_front() {
            Some(_) if envelope.accepted.is_empty() => None,
            Some(command) => Some(ask(smtp, Stage::Data, DATA_DEADLINE, &command).await?),
            None => Some(hear(smtp, Stage::Data, DATA_DEADLINE).await?),
        };
        Ok(envelope)
    }

    fn mail_command(&self, consignment: &Consignment) -> Result<String, Setback> {
        let lacks = |what| Err(Fault::Lacks(what).into());
        let mut command = format!("MAIL FROM:<{}>", consignment.reverse_path);
        if self.offers.size {
            command = format!("{command} SIZE={}", consignment.size);
        }
        if consignment.eight_bit {
            if !self.offers.eight_bit {
                return lacks("8BITMIME");
            }
            command += " BODY=8BITMIME";
        }
        if consignment.smtputf8 {
            if !self.offers.smtputf8 {
                return lacks("SMTPUTF8");
            }
            command += " SMTPUTF8";
        }
        Ok(command + "\r\n")
    }

    /// Sends the content and the final dot, the dot in the same write as the last piece.
    async fn send_content(&mut self, content: &mut dyn Outgoing) -> Result<Reply, Transfer> {
        let began = Instant::now();
        let mut stuffing = Stuffing::default();
        let mut piece = next_piece(content).await?;
        while let Some(bytes) = piece {
            piece = next_piece(content).await?;
            let mut wire_bytes = stuffing.stuff(&bytes);
            let last = piece.is_none();
            if last {
                wire_bytes.extend_from_slice(b".\r\n");
                content.before_the_end().await.map_err(|words| Transfer::Broken(Fault::Spool(words).into()))?;
            }
            let deadline = PIECE_DEADLINE.min(CONTENT_DEADLINE.saturating_sub(began.elapsed()));
            let fault = match timeout(deadline, send(&mut self.wire, &wire_bytes, last)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Fault::Closed { stage: Stage::Dot, reason: error.to_string() },
                Err(_) => Fault::late(Stage::Dot, deadline),
            };
            return match hear(&mut self.smtp, Stage::Dot, LAST_WORDS_DEADLINE).await {
                // It had enough before the end, and said so before it closed the connection.
                Ok(reply) if !reply.is_positive() => Ok(reply),
                _ if last => Err(Transfer::Unknown(fault)),
                _ => Err(Transfer::Broken(fault.into())),
            };
        }
        hear(&mut self.smtp, Stage::Dot, DOT_DEADLINE).await.map_err(|setback| match setback {
            Setback::NoAnswer(fault) => Transfer::Unknown(fault),
            said @ Setback::Said(..) => Transfer::Broken(said),
        })
    }

    /// DATA was sent together with recipients who were all refused. A server that wants content all the same gets
    /// an empty one, which it must not deliver (RFC 2920 §3.1).
    async fn end_without_recipients(&mut self, data: Option<&Reply>) {
        if data.is_some_and(|data| data.code() == 354) {
            let empty = ask(&mut self.smtp, Stage::Dot, DATA_DEADLINE, ".\r\n").await;
            if empty.is_err() {
                return;
            }
        }
        self.reset().await;
    }

    /// Forgets a transaction. Where that does not work the connection is good for nothing more.
    async fn reset(&mut self) {
        let reset = ask(&mut self.smtp, Stage::Mail, MAIL_DEADLINE, "RSET\r\n").await;
        self.fit = reset.is_ok_and(|reply| reply.code() == 250);
    }
}

/// Why there is no answer to the final dot.
enum Transfer {
    Broken(Setback),
    Unknown(Fault),
}

async fn next_piece(content: &mut dyn Outgoing) -> Result<Option<Bytes>, Transfer> {
    content.next().await.map_err(|words| Transfer::Broken(Fault::Spool(words).into()))
}

async fn send(wire: &mut Wire, bytes: &[u8], last: bool) -> std::io::Result<()> {
    wire.write_all(bytes).await?;
    if last { wire.flush().await } else { Ok(()) }
}

/// What was said about the envelope.
#[derive(Default)]
struct Envelope {
    outcomes: Vec<(u32, Outcome)>,
    /// To be named again in another transaction, with what was said.
    again: Vec<(u32, Address, Reply)>,
    accepted: Vec<(u32, Address)>,
    data: Option<Reply>,
    /// What an answer to RCPT said of the account.
    trouble: Option<Trouble>,
    /// The last one answered was the one over whom Gmail closed the connection.
    hung_up: bool,
}

impl Envelope {
    fn record(&mut self, place: u32, address: &Address, reply: Reply, first_try: bool) {
        let judgement = judge(Stage::Rcpt, &reply);
        self.trouble = self.trouble.take().or_else(|| judgement.trouble(&reply));
        match judgement.verdict {
            Verdict::Delivered => self.accepted.push((place, address.clone())),
            Verdict::Split => self.again.push((place, address.clone(), reply)),
            _ => self.outcomes.push((place, judgement.outcome(&reply, first_try))),
        }
    }
}

/// Says something and waits for the answer. A refusal is an answer like any other.
async fn ask(
    smtp: &mut AsyncSmtpConnection,
    stage: Stage,
    deadline: Duration,
    command: &str,
) -> Result<Reply, Setback> {
    match timeout(deadline, smtp.command(command)).await {
        Ok(answer) => reply_of(stage, answer),
        Err(_) => Err(Fault::late(stage, deadline).into()),
    }
}

/// Waits for an answer to something said before.
async fn hear(smtp: &mut AsyncSmtpConnection, stage: Stage, deadline: Duration) -> Result<Reply, Setback> {
    match timeout(deadline, smtp.read_response()).await {
        Ok(answer) => reply_of(stage, answer),
        Err(_) => Err(Fault::late(stage, deadline).into()),
    }
}

fn reply_of(stage: Stage, answer: Result<Response, lettre::transport::smtp::Error>) -> Result<Reply, Setback> {
    match answer {
        Ok(response) => {
            let words: Vec<&str> = response.message().collect();
            Ok(Reply::received(response.code().into(), &words.join(" ")))
        }
        Err(error) => match no_reply(stage, &error) {
            Setback::Said(_, reply) => Ok(reply),
            setback @ Setback::NoAnswer(_) => Err(setback),
        },
    }
}

/// lettre makes an error of a refusal; this takes the reply out again. Anything else means that there was none.
fn no_reply(stage: Stage, error: &lettre::transport::smtp::Error) -> Setback {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error.status() {
        Some(code) => Setback::Said(stage, Reply::received(code.into(), &cause)),
        // lettre calls the end of the connection an incomplete response.
        None if error.is_response() && !cause.contains("incomplete") => Fault::protocol(&cause).into(),
        None => Fault::Closed { stage, reason: cause }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_from_the_lines_of_the_reply() {
        let heard = "220 smtp.gmail.com ESMTP\r\n250-smtp.gmail.com at your service\r\n250-SIZE 35882577\r\n\
                     250-8bitmime\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n";
        assert_eq!(Offers::read(heard), Offers { pipelining: true, size: true, eight_bit: true, smtputf8: true });
        assert_eq!(Offers::read("220 x\r\n250 x\r\n"), Offers::default());
    }
}
