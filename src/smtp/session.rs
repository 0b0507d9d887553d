//! One connection: which command is in its place when, and what it does.
//!
//! Touches nothing. A state holds exactly what is true in it, so that nothing of one transaction can be left over
//! for the next. What the client said about itself is not part of a transaction. Whatever is refused becomes its
//! reply and one entry of the log in one place, `refuse`; nothing a client sends can do more harm than end its connection.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use super::actions::Actions;
use super::command::{self, Command, Mail};
use super::content::{Incoming, Progress};
use super::line::{Line, LineEnd, Lines};
use super::login::{Credentials, Exchange, Manner, Request, Step};
use super::{Action, Auth, Input, Offer, Parting};
use crate::mail::{
    Address, Client, Enhanced, Envelope, Path, Protocol, Recipient, Refusal, ReversePath, Submission, Timestamp,
};
use crate::policy::Policy;
use crate::spool::Accepted;

/// How a TLS connection begins: the record type of a handshake, and the first byte of every version (RFC 8446 §5.1).
const TLS_START: &[u8] = b"\x16\x03";
/// How the PROXY protocol, version 2, begins.
const PROXY_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const HELP: &str = "214 2.0.0 Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT";
const LOGGED_IN: &str = "235 2.7.0 Logged in";
const GO_AHEAD: &str = "354 Go ahead, end with a dot on a line of its own";

/// What the log says where content was refused, and no command.
const END_OF_DATA: &str = "(end of data)";
/// What the log says instead of a line that may hold a password.
const NOT_SHOWN: &str = "(not shown, it follows AUTH)";

/// Failed logins in one connection before it is closed.
const FAILED_LOGINS_MAX: usize = 3;

/// Everything a session has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub policy: Policy,
}

/// The conversation with one client.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Arc<Settings>,
    offer: Offer,
    client: Client,
    /// What the greeting of the client makes of the protocol: SMTP or ESMTP.
    protocol: Protocol,
    /// The client speaks through TLS.
    encrypted: bool,
    /// The client tried to log in where that is not offered. What it says next may be its password.
    secrets_may_follow: bool,
    /// Errors against the protocol so far.
    errors: usize,
    failed_logins: usize,
    /// It may speak with LF alone, and has said nothing else.
    lf_only: bool,
    lines: Lines,
    state: State,
}

/// Where the conversation stands.
#[derive(Clone, Debug)]
enum State {
    /// Nothing was heard but these bytes, with which another protocol may begin.
    Opening(Vec<u8>),
    /// Commands are heard, and no message is begun.
    Ready,
    /// MAIL was accepted.
    Mail(Transaction),
    /// DATA was accepted: content comes in.
    Data(Transaction, Incoming),
    /// A login is under way. Where nothing depends on it, it may come in the middle of a message.
    Login(Exchange, Option<Transaction>),
    /// Something was asked. What the client said meanwhile is looked at when the answer is there; or never, where the
    /// relay is to stop.
    Waiting { asked: Asked, unread: Vec<u8>, stopping: bool },
    /// STARTTLS was accepted: nothing may be heard before the handshake (reliability-security.md, section 4).
    Encrypting,
    /// Nothing will be heard any more.
    Closed,
}

/// What is waited for.
#[derive(Clone, Debug)]
enum Asked {
    /// Whether the message is stored.
    Store,
    /// Whether this is one of the users.
    Login(String),
}

/// One message, before its content.
#[derive(Clone, Debug)]
struct Transaction {
    reverse_path: ReversePath,
    smtputf8: bool,
    recipients: Vec<Recipient>,
    /// The addresses of `recipients`, and where those are.
    known: BTreeMap<Address, usize>,
    /// Some recipient was refused.
    refused_some: bool,
}

/// A reply of one or more lines, without the last line end.
type Said = Cow<'static, str>;

impl Session {
    /// Begins the conversation with the client at `client_ip`. The greeting goes out at once and in one line: both
    /// matter to real devices (legacy-clients.md, section 1).
    #[must_use]
    pub fn new(settings: Arc<Settings>, offer: Offer, client_ip: Option<IpAddr>) -> (Session, Vec<Action>) {
        let mut out = Actions::default();
        out.say(&format!("220 {} ESMTP smarthost", settings.policy.hostname));
        let lines = Lines::new(settings.policy.limits.command_bytes);
        let client = Client { helo: String::new(), ip: client_ip, login: None };
        let state = State::Opening(Vec::new());
        let protocol = Protocol::Smtp;
        let session = Session {
            settings,
            offer,
            client,
            protocol,
            encrypted: false,
            secrets_may_follow: false,
            errors: 0,
            failed_logins: 0,
            lf_only: offer.lf_only,
            lines,
            state,
        };
        (session, out.into_list())
    }

    /// The same, where the client has begun with TLS.
    #[must_use]
    pub fn inside_tls(settings: Arc<Settings>, offer: Offer, client_ip: Option<IpAddr>) -> (Session, Vec<Action>) {
        let (session, greeting) = Session::new(settings, offer, client_ip);
        (Session { encrypted: true, ..session }, greeting)
    }

    /// Takes what happened at `now`, and returns what is to be done about it.
    pub fn advance(&mut self, now: Timestamp, input: Input<'_>) -> Vec<Action> {
        let mut out = Actions::default();
        match (input, &mut self.state) {
            (_, State::Closed) => {}
            (Input::Bytes(bytes), _) => self.read(now, bytes, &mut out),
            (Input::Stored(answer), State::Waiting { asked: Asked::Store, unread, stopping }) => {
                let (unread, stopping) = (mem::take(unread), *stopping);
                self.answer(answer, &mut out);
                self.go_on(now, &unread, stopping, &mut out);
            }
            (Input::Verified(answer), State::Waiting { asked: Asked::Login(name), unread, stopping }) => {
                let (name, unread, stopping) = (mem::take(name), mem::take(unread), *stopping);
                self.answer_login(name, answer, &mut out);
                self.go_on(now, &unread, stopping, &mut out);
            }
            (Input::Encrypted, State::Encrypting) => self.begin_anew(),
            (Input::Stop, State::Waiting { stopping, .. }) => *stopping = true,
            // While something is asked, it is us who are silent.
            (Input::Silence | Input::Slow, State::Waiting { .. })
            | (Input::Stored(_) | Input::Verified(_) | Input::Encrypted, _) => {}
            (Input::Silence, _) => self.give_up(Refusal::Silent(self.settings.policy.limits.idle_timeout_s), &mut out),
            (Input::Slow, _) => self.give_up(Refusal::TooSlow, &mut out),
            (Input::Stop, _) => self.leave(Refusal::Stopping, &mut out),
        }
        if matches!(self.state, State::Encrypting) {
            out.encrypt();
        }
        out.into_list()
    }

    /// Forgets all that was said in the clear: anybody may have said it (RFC 3207 §4.2).
    fn begin_anew(&mut self) {
        self.encrypted = true;
        self.client = Client { helo: String::new(), ip: self.client.ip, login: None };
        self.protocol = Protocol::Smtp;
        self.secrets_may_follow = false;
        self.lines = Lines::new(self.settings.policy.limits.command_bytes);
        self.enter(State::Ready);
    }

    /// The one place where the state changes. Returns the state before.
    fn enter(&mut self, state: State) -> State {
        mem::replace(&mut self.state, state)
    }

    /// Looks at what came in while something was asked.
    fn go_on(&mut self, now: Timestamp, unread: &[u8], stopping: bool, out: &mut Actions) {
        if stopping {
            self.leave(Refusal::Stopping, out);
        } else {
            self.read(now, unread, out);
        }
    }

    fn read(&mut self, now: Timestamp, mut bytes: &[u8], out: &mut Actions) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Opening(_) => self.open(now, &mut bytes, out),
                State::Ready | State::Mail(_) | State::Login(..) => {
                    if let Some(line) = self.lines.next(&mut bytes) {
                        self.hear(&line, out);
                    }
                }
                State::Data(_, incoming) => {
                    let progress = incoming.take(bytes, &self.settings.policy.limits, out);
                    bytes = if let Progress::Ended(behind) = progress { behind } else { &[] };
                    match progress {
                        Progress::More => {}
                        Progress::Ended(_) => self.end_data(now, out),
                        Progress::Endless => self.end_endless(out),
                    }
                }
                State::Waiting { unread, .. } => {
                    unread.extend_from_slice(bytes);
                    return;
                }
                State::Encrypting => return self.refuse(Refusal::PlaintextAfterStarttls, String::new(), out),
                State::Closed => return,
            }
        }
    }

    /// The first bytes tell whether this is mail at all (reliability-security.md, section 6).
    fn open(&mut self, now: Timestamp, bytes: &mut &[u8], out: &mut Actions) {
        let State::Opening(heard) = &mut self.state else { return };
        let (first, rest) = bytes.split_at(1);
        heard.extend_from_slice(first);
        *bytes = rest;
        if heard == TLS_START {
            self.refuse(Refusal::TlsInTheClear, command::shown(TLS_START), out);
        } else if heard == PROXY_START {
            self.refuse(Refusal::ForeignProtocol("the PROXY protocol"), command::shown(PROXY_START), out);
        } else if !TLS_START.starts_with(heard) && !PROXY_START.starts_with(heard) {
            let heard = mem::take(heard);
            self.enter(State::Ready);
            self.read(now, &heard, out);
        }
    }

    fn hear(&mut self, line: &Line<'_>, out: &mut Actions) {
        self.lf_only &= matches!(line, Line::Whole(_, LineEnd::Lf));
        if let State::Login(..) = self.state {
            return self.hear_login(line, out);
        }
        let (text, parsed) = match line {
            // Some scripts send a line end too many; an answer would be taken for that to their next command.
            Line::Whole(text, _) if text.is_empty() => return,
            Line::Whole(text, end) => (text, self.parse(text, *end)),
            Line::TooLong(start) => (start, Err(Refusal::LineTooLong(self.settings.policy.limits.command_bytes))),
            Line::Endless => return self.close(out),
        };
        let is_secret = mem::take(&mut self.secrets_may_follow) && parsed.is_err();
        let answer = match parsed {
            Ok(Command::Auth(request)) => match self.begin_login(request, out) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            parsed => parsed.and_then(|command| self.obey(command)),
        };
        match answer {
            Ok(said) => {
                out.say(&said);
                if matches!(self.state, State::Closed) {
                    out.close(Parting::Quit);
                }
            }
            Err(refusal) => {
                if let State::Mail(transaction) = &mut self.state {
                    transaction.refused_some |= command::is_verb(text, "RCPT");
                }
                self.secrets_may_follow = is_secret || command::is_meant_as_auth(text);
                let (refusal, shown) = if is_secret { conceal(refusal) } else { (refusal, command::shown(text)) };
                self.refuse(refusal, shown, out);
            }
        }
    }

    fn parse(&self, text: &[u8], end: LineEnd) -> Result<Command, Refusal> {
        if self.offer.auth == Auth::Off && command::is_verb(text, "AUTH") {
            return Err(Refusal::NotOffered("AUTH"));
        }
        if self.must_encrypt() && command::is_verb(text, "AUTH") {
            return Err(Refusal::LoginNeedsTls);
        }
        command::parse(text, end)
    }

    /// Carries a command out, or leaves everything as it is.
    fn obey(&mut self, command: Command) -> Result<Said, Refusal> {
        let state = self.enter(State::Closed);
        let (state, answer) = self.step(state, command);
        self.enter(state);
        answer
    }

    /// Which command is in its place when.
    fn step(&mut self, state: State, command: Command) -> (State, Result<Said, Refusal>) {
        match (state, command) {
            // A greeting resets, however often it comes (RFC 5321 §4.1.4).
            (_, Command::Helo(name)) => (State::Ready, Ok(self.greet(name, Protocol::Smtp))),
            (_, Command::Ehlo(name)) => (State::Ready, Ok(self.greet(name, Protocol::Esmtp))),
            (_, Command::Rset) => (State::Ready, Ok("250 2.0.0 OK".into())),
            (_, Command::Quit) => (State::Closed, Ok("221 2.0.0 Goodbye".into())),
            (state, Command::Starttls) if self.encrypted => {
                (state, Err(Refusal::OutOfOrder("STARTTLS", "TLS is in use already")))
            }
            (state, Command::Starttls) if !self.offer.starttls => (state, Err(Refusal::NotOffered("STARTTLS"))),
            (_, Command::Starttls) => (State::Encrypting, Ok("220 2.0.0 Go ahead with TLS".into())),
            (state, Command::Noop) => (state, Ok("250 2.0.0 OK".into())),
            // curl asks this and stops at a refusal (legacy-clients.md, section 3.3).
            (state, Command::Vrfy) => (state, Ok("252 2.0.0 Cannot verify it, send a message and see".into())),
            (state, Command::Help) => (state, Ok(HELP.into())),
            (State::Mail(begun), Command::Mail(_)) => {
                (State::Mail(begun), Err(Refusal::OutOfOrder("MAIL", "A message is already begun; RSET forgets it")))
            }
            // Many scripts send MAIL without any greeting (legacy-clients.md, section 2).
            (state, Command::Mail(mail)) => match self.begin(mail) {
                Ok(transaction) => (State::Mail(transaction), Ok("250 2.1.0 Sender accepted".into())),
                Err(refusal) => (state, Err(refusal)),
            },
            (state, Command::Auth(_)) => (state, Err(Refusal::NotOffered("AUTH"))),
            (State::Mail(mut transaction), Command::Rcpt(paths)) => {
                let answer = self.add_recipients(&mut transaction, paths);
                (State::Mail(transaction), answer)
            }
            (state, Command::Rcpt(_)) => (state, Err(Refusal::OutOfOrder("RCPT", "Name the sender first, with MAIL"))),
            (State::Mail(transaction), Command::Data(end)) => match transaction.check_recipients() {
                Ok(()) => (State::Data(transaction, Incoming::behind(end, self.lf_only)), Ok(GO_AHEAD.into())),
                Err(refusal) => (State::Mail(transaction), Err(refusal)),
            },
            (state, Command::Data(_)) => (state, Err(Refusal::OutOfOrder("DATA", "Name the sender first, with MAIL"))),
        }
    }

    /// Whether a login would give a password of ours to whoever listens on the way, and need not. It is not shown by EHLO
    /// then, so that no client tries: what it would say first is the password. Programs of this machine send nothing out.
    fn must_encrypt(&self) -> bool {
        let is_far = self.client.ip.is_some_and(|ip| !ip.to_canonical().is_loopback());
        self.offer.auth == Auth::Required && self.offer.starttls && !self.encrypted && is_far
    }

    /// Begins a login. Where it is checked there is one at most, and none within a message, since no message begins
    /// before it (RFC 4954 §4).
    fn begin_login(&mut self, request: Request, out: &mut Actions) -> Result<(), Refusal> {
        if self.offer.auth == Auth::Required && self.client.login.is_some() {
            return Err(Refusal::OutOfOrder("AUTH", "You are logged in already"));
        }
        let transaction =
            if let State::Mail(transaction) = self.enter(State::Ready) { Some(transaction) } else { None };
        let (exchange, step) = request.begin(self.manner());
        self.follow_login(exchange, step, transaction, out);
        Ok(())
    }

    fn hear_login(&mut self, line: &Line<'_>, out: &mut Actions) {
        let State::Login(mut exchange, transaction) = self.enter(State::Ready) else { return };
        let refusal = match line {
            Line::Whole(answer, _) if answer.trim_ascii() == b"*" => Refusal::LoginCancelled,
            Line::Whole(answer, _) => {
                let step = exchange.hear(answer, self.manner());
                return self.follow_login(exchange, step, transaction, out);
            }
            Line::TooLong(_) => Refusal::LineTooLong(self.settings.policy.limits.command_bytes),
            Line::Endless => return self.close(out),
        };
        self.end_login(refusal, transaction, out);
    }

    fn follow_login(&mut self, exchange: Exchange, step: Step, transaction: Option<Transaction>, out: &mut Actions) {
        match step {
            Step::Ask(prompt) => {
                self.enter(State::Login(exchange, transaction));
                out.say(prompt);
            }
            Step::Unreadable => self.end_login(Refusal::LoginUnreadable, transaction, out),
            Step::Done(credentials) if self.offer.auth == Auth::Required => {
                let asked = Asked::Login(credentials.name.clone());
                self.enter(State::Waiting { asked, unread: Vec::new(), stopping: false });
                out.verify(credentials);
            }
            Step::Done(Credentials { name, .. }) => {
                self.client.login = Some(name).filter(|name| !name.is_empty());
                self.resume(transaction);
                out.say(LOGGED_IN);
            }
        }
    }

    /// A login that came to nothing. What the client says next may still be meant for it.
    fn end_login(&mut self, refusal: Refusal, transaction: Option<Transaction>, out: &mut Actions) {
        self.resume(transaction);
        self.secrets_may_follow = true;
        self.refuse(refusal, "AUTH".into(), out);
    }

    fn resume(&mut self, transaction: Option<Transaction>) {
        self.enter(transaction.map_or(State::Ready, State::Mail));
    }

    fn answer_login(&mut self, name: String, answer: Result<(), Refusal>, out: &mut Actions) {
        self.enter(State::Ready);
        match answer {
            Ok(()) => {
                self.client.login = Some(name);
                out.say(LOGGED_IN);
            }
            Err(refusal) => {
                self.failed_logins += 1;
                let is_last = self.failed_logins >= FAILED_LOGINS_MAX;
                let refusal = if is_last { Refusal::TooManyLogins(self.failed_logins) } else { refusal };
                self.end_login(refusal, None, out);
            }
        }
    }

    /// Where a login is not checked, nothing depends on what was said.
    fn manner(&self) -> Manner {
        if self.offer.auth == Auth::Required { Manner::Strict } else { Manner::Liberal }
    }

    fn greet(&mut self, name: String, protocol: Protocol) -> Said {
        self.client.helo = name;
        self.protocol = protocol;
        let Policy { hostname, limits, .. } = &self.settings.policy;
        match protocol {
            Protocol::Smtp => format!("250 {hostname}").into(),
            _ => format!(
                "250-{hostname}\r\n250-PIPELINING\r\n250-SIZE {}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
                 {}{}250 ENHANCEDSTATUSCODES",
                limits.message_bytes,
                if self.offer.starttls && !self.encrypted { "250-STARTTLS\r\n" } else { "" },
                if self.offer.auth == Auth::Off || self.must_encrypt() { "" } else { "250-AUTH PLAIN LOGIN\r\n" }
            )
            .into(),
        }
    }

    fn begin(&self, mail: Mail) -> Result<Transaction, Refusal> {
        if self.offer.auth == Auth::Required && self.client.login.is_none() {
            return Err(Refusal::LoginRequired);
        }
        let Policy { limits, .. } = &self.settings.policy;
        if mail.size.is_some_and(|size| size > limits.message_bytes) {
            return Err(Refusal::MessageTooLarge(limits.message_bytes));
        }
        Ok(Transaction {
            reverse_path: self.settings.policy.sender(mail.path)?,
            smtputf8: mail.smtputf8,
            recipients: Vec::new(),
            known: BTreeMap::new(),
            refused_some: false,
        })
    }

    /// Adds all recipients of one RCPT, or none.
    fn add_recipients(&self, transaction: &mut Transaction, paths: Vec<Path>) -> Result<Said, Refusal> {
        let Policy { limits, .. } = &self.settings.policy;
        let named = paths.into_iter().map(|path| self.settings.policy.recipients(path));
        let named = named.collect::<Result<Vec<_>, _>>()?.concat();
        let new = named.iter().filter(|recipient| !transaction.known.contains_key(&recipient.address));
        if transaction.recipients.len() + new.count() > limits.recipients {
            return Err(Refusal::TooManyRecipients(limits.recipients));
        }
        for recipient in named {
            transaction.add(recipient);
        }
        Ok("250 2.1.5 Recipient accepted".into())
    }

    fn end_data(&mut self, now: Timestamp, out: &mut Actions) {
        let State::Data(transaction, incoming) = self.enter(State::Ready) else { return };
        match incoming.finish() {
            Ok(rest) => {
                self.enter(State::Waiting { asked: Asked::Store, unread: Vec::new(), stopping: false });
                out.store(self.submission(transaction, now), rest);
            }
            Err(refusal) => self.refuse(refusal, END_OF_DATA.into(), out),
        }
    }

    /// There is no end of data to wait for: the connection ends with the refusal.
    fn end_endless(&mut self, out: &mut Actions) {
        let State::Data(_, incoming) = self.enter(State::Ready) else { return };
        if let Err(refusal) = incoming.finish() {
            self.refuse(refusal, END_OF_DATA.into(), out);
        }
        self.close(out);
    }

    fn submission(&self, transaction: Transaction, received: Timestamp) -> Submission {
        let Transaction { reverse_path, smtputf8, recipients, .. } = transaction;
        let mut addresses = recipients.iter().map(|recipient| &recipient.address).chain(reverse_path.address());
        let needs_smtputf8 = addresses.any(Address::needs_smtputf8);
        // Under `any` a login proves nothing, so the field does not claim one.
        let has_logged_in = self.offer.auth == Auth::Required && self.client.login.is_some();
        let protocol = self.protocol.with(smtputf8, self.encrypted, has_logged_in);
        Submission {
            account: self.settings.policy.account(&reverse_path, &self.client).to_owned(),
            envelope: Envelope { reverse_path, recipients, smtputf8: smtputf8 || needs_smtputf8 },
            client: self.client.clone(),
            protocol,
            received,
        }
    }

    fn answer(&mut self, answer: Result<Accepted, Refusal>, out: &mut Actions) {
        self.enter(State::Ready);
        match answer {
            Ok(accepted) => out.say(&format!("250 2.0.0 Queued as {}", accepted.id())),
            Err(refusal) => self.refuse(refusal, END_OF_DATA.into(), out),
        }
    }

    fn refuse(&mut self, refusal: Refusal, command: String, out: &mut Actions) {
        let refusal = self.count(refusal);
        let reply = refusal.reply();
        out.say(&reply.to_string());
        out.log(refusal, command);
        // 421 says that the connection ends (RFC 5321 §3.8).
        if reply.code() == 421 {
            self.close(out);
        }
    }

    /// Only what no mail client would say counts: errors against the protocol (X.5.Z of RFC 3463). To close the
    /// connection over a list of bad recipients would lose the good ones too, every time the client tries again.
    fn count(&mut self, refusal: Refusal) -> Refusal {
        let limit = self.settings.policy.limits.errors;
        if matches!(refusal.reply().enhanced(), Some(Enhanced(5, 5, _))) {
            self.errors += 1;
        }
        if self.errors > limit { Refusal::TooManyErrors(limit) } else { refusal }
    }

    /// Whether the client has said LF `.` LF where that ends nothing, and no end of data since (legacy-clients.md, section 6).
    pub fn waits_behind_lf(&self) -> bool {
        matches!(&self.state, State::Data(_, incoming) if incoming.lf_ended_nothing())
    }

    /// Waits no longer for a client. It may be waiting for us.
    fn give_up(&mut self, why: Refusal, out: &mut Actions) {
        self.leave(if self.waits_behind_lf() { Refusal::LfEndsNothing(why.into()) } else { why }, out);
    }

    /// Ends the connection from our side, whatever goes on.
    fn leave(&mut self, refusal: Refusal, out: &mut Actions) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if let State::Data(_, incoming) = self.enter(State::Ready) {
            incoming.abandon(out);
        }
        self.refuse(refusal, String::new(), out);
    }

    fn close(&mut self, out: &mut Actions) {
        if !matches!(self.enter(State::Closed), State::Closed) {
            out.close(Parting::Ours);
        }
    }
}

impl Transaction {
    /// Adds a recipient; one that is there already is only asked for in one more way.
    fn add(&mut self, recipient: Recipient) {
        if let Some(known) = self.known.get(&recipient.address).and_then(|place| self.recipients.get_mut(*place)) {
            return known.join(recipient);
        }
        self.known.insert(recipient.address.clone(), self.recipients.len());
        self.recipients.push(recipient);
    }

    fn check_recipients(&self) -> Result<(), Refusal> {
        match (self.recipients.is_empty(), self.refused_some) {
            (false, _) => Ok(()),
            (true, true) => Err(Refusal::NoRecipient),
            (true, false) => Err(Refusal::OutOfOrder("DATA", "Name a recipient first, with RCPT")),
        }
    }
}

/// A refused line that may be a password: neither the reason nor the text may show it.
fn conceal(refusal: Refusal) -> (Refusal, String) {
    let refusal = match refusal {
        Refusal::UnknownCommand(_) => Refusal::UnknownCommand(NOT_SHOWN.into()),
        other => other,
    };
    (refusal, NOT_SHOWN.into())
}
