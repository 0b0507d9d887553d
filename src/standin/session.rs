//! One conversation, held the way Gmail holds it (gmail.md, sections 1, 2 and 5), unless the script says otherwise.
//!
//! Ends in every case: by QUIT, by a refusal that closes, by a fault on order, by silence, or when the client goes.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::command::{self, Move, Verb};
use super::content::Content;
use super::ledger::{Received, Transcript, lock};
use super::script::Fault;
use super::scrutiny::{self, Asked};
use super::wire::Wire;
use super::{House, Mode, Options, login, words};
use crate::mail::Timestamp;

/// Words of Gmail's, with `\n` between lines.
pub(super) type Said = Cow<'static, str>;

/// Commands without a login, after which Gmail loses its patience.
const STRAYS_MAX: u32 = 20;

/// What comes next from the client.
#[derive(Debug, Default)]
enum Expect {
    #[default]
    Command,
    Content,
    /// Nothing: BDAT LAST made the content complete.
    Complete,
}

/// A message on its way in.
struct Transaction {
    mail_from: String,
    mail_parameters: Vec<String>,
    recipients: Vec<String>,
    asked: Asked,
    /// There from DATA, or the first BDAT, on.
    content: Option<Content>,
}

/// One connection and where its conversation stands.
pub(super) struct Session {
    house: Arc<House>,
    wire: Wire,
    mode: Mode,
    peer: IpAddr,
    number: u64,
    /// What stands before `- gsmtp` in each reply.
    mark: String,
    transcript: Option<Transcript>,
    greeted: bool,
    logged_in: bool,
    strays: u32,
    transaction: Option<Transaction>,
    expect: Expect,
    /// To be said instead of the next good reply.
    scripted: Option<String>,
    /// The connection dies after so many bytes of content.
    cut: Option<usize>,
}

/// Holds one conversation, to its end.
pub(super) async fn run(house: Arc<House>, socket: TcpStream, peer: IpAddr, mode: Mode) {
    let (number, transcript) = house.ledger.open();
    if let Ok(wire) = Wire::new(socket, house.options.idle_timeout) {
        let mark = format!("41be03b00d2f7-{number:08x}sm{number}");
        let mut session = Session {
            house: Arc::clone(&house),
            wire,
            mode,
            peer,
            number,
            mark,
            transcript,
            greeted: false,
            logged_in: false,
            strays: 0,
            transaction: None,
            expect: Expect::Command,
            scripted: None,
            cut: None,
        };
        session.converse().await;
    }
    house.ledger.count(&house.ledger.counters.closed);
}

impl Session {
    pub fn options(&self) -> &Options {
        &self.house.options
    }

    async fn converse(&mut self) {
        match self.hold_conversation().await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => self.say_marked(words::TIMEOUT),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.say_marked(words::SYNTAX),
            Err(error) => self.note('*', &error.to_string()),
        }
        self.wire.close().await;
    }

    async fn hold_conversation(&mut self) -> io::Result<()> {
        for step in [Move::Connect, Move::Greet] {
            if self.play(step).await?.is_break() {
                return Ok(());
            }
        }
        loop {
            let step = self.next_move().await?;
            if self.play(step).await?.is_break() {
                return Ok(());
            }
        }
    }

    async fn next_move(&mut self) -> io::Result<Move> {
        match std::mem::take(&mut self.expect) {
            Expect::Command => self.read_command().await,
            Expect::Content => self.read_content().await.map(|()| Move::Dot),
            Expect::Complete => Ok(Move::Dot),
        }
    }

    async fn read_command(&mut self) -> io::Result<Move> {
        let line = self.wire.line().await?;
        self.house.ledger.counters.commands.fetch_add(1, Ordering::Relaxed);
        let text = match std::str::from_utf8(&line) {
            Ok(text) if !text.contains(char::is_control) => text,
            _ => {
                self.note('C', "(a line that is not printable UTF-8)");
                return Ok(Move::Command(Verb::Unknown, String::new()));
            }
        };
        let (word, argument) = text.split_once(' ').unwrap_or((text, ""));
        let verb = Verb::read(word);
        match (verb, argument.split_once(' ')) {
            (Verb::Auth, Some((mechanism, _))) => self.note('C', &format!("{word} {mechanism} ***")),
            _ => self.note('C', text),
        }
        Ok(Move::Command(verb, argument.to_owned()))
    }

    async fn read_content(&mut self) -> io::Result<()> {
        let Some(content) = self.transaction.as_mut().and_then(|transaction| transaction.content.as_mut()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let cut = self.cut.take();
        let mut left = cut.unwrap_or(usize::MAX);
        let mut complete = false;
        let eat = |bytes: &[u8]| {
            let offered = &bytes[..bytes.len().min(left)];
            let (taken, end) = content.feed(offered);
            let spent = offered.len() == left;
            left -= taken;
            complete = end;
            (taken, end || spent)
        };
        self.wire.feed(eat).await?;
        let size = content.size();
        self.note('C', &format!("({size} bytes of content)"));
        if complete {
            return Ok(());
        }
        self.wire.drop_dead().await?;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "content cut off, as ordered"))
    }

    /// Does what the script says at this place, or else what Gmail does.
    async fn play(&mut self, step: Move) -> io::Result<ControlFlow<()>> {
        let turn = self.house.script.turn(step.stage(), || self.matchable(&step));
        if !turn.delay.is_zero() {
            self.wire.hold(turn.delay);
        }
        let Some(fault) = turn.fault else {
            return self.perform(step).await;
        };
        self.note('*', &format!("{fault:?}"));
        match fault {
            Fault::DelayThen(_) => return self.perform(step).await,
            Fault::CutContentAfter(bytes) => {
                self.cut = Some(bytes);
                return self.perform(step).await;
            }
            Fault::Reply(text) if text.starts_with(['2', '3']) && !matches!(step, Move::Connect) => {
                self.scripted = Some(text);
                let flow = self.perform(step).await;
                self.scripted = None;
                return flow;
            }
            Fault::Reply(text) => {
                self.leave_undone(&step);
                self.say(&text);
                return Ok(ControlFlow::Continue(()));
            }
            Fault::Garbage => {
                self.leave_undone(&step);
                self.wire.say(b"\x16\x03\x01\xff\xfe no reply \0\x1b[31m\r\n");
                return Ok(ControlFlow::Continue(()));
            }
            Fault::AnswerThenClose(text) => {
                self.leave_undone(&step);
                self.say(&text);
            }
            // Here and below: whether it would go on does not matter, for it ends.
            Fault::CloseAfter => {
                let _ = self.perform(step).await?;
            }
            Fault::LoseReply => {
                self.wire.flush().await?;
                let _ = self.perform(step).await?;
                self.wire.unsay();
                self.wire.drop_dead().await?;
            }
            Fault::CloseBefore => self.wire.drop_dead().await?,
            Fault::Silent => {
                self.house.ledger.count(&self.house.ledger.counters.silences);
                self.wire.keep_silent().await?;
            }
            Fault::EndlessReply => self.babble(b"250-and another thing\r\n").await?,
            Fault::EndlessLine => self.babble(b"250-and another thing, ").await?,
        }
        Ok(ControlFlow::Break(()))
    }

    /// What rules may look into.
    fn matchable(&self, step: &Move) -> String {
        let envelope = || match &self.transaction {
            Some(transaction) => format!("{} {}", transaction.mail_from, transaction.recipients.join(" ")),
            None => String::new(),
        };
        match step {
            Move::Connect | Move::Greet => self.mode.word().to_owned(),
            Move::Command(Verb::Data, _) | Move::Dot => envelope(),
            Move::Command(_, argument) => argument.clone(),
        }
    }

    /// A refused message is gone; any other command leaves no trace.
    fn leave_undone(&mut self, step: &Move) {
        if matches!(step, Move::Dot) {
            self.transaction = None;
            self.house.ledger.count(&self.house.ledger.counters.refused);
        }
    }

    async fn babble(&mut self, line: &[u8]) -> io::Result<()> {
        let block = line.repeat(1000);
        loop {
            self.wire.say(&block);
            self.wire.flush().await?;
        }
    }

    async fn perform(&mut self, step: Move) -> io::Result<ControlFlow<()>> {
        let (verb, argument) = match step {
            Move::Connect => {
                if self.mode == Mode::Implicit {
                    self.wire.encrypt(&self.house.acceptor).await?;
                }
                return Ok(ControlFlow::Continue(()));
            }
            Move::Greet => {
                self.say_marked("220 smtp.gmail.com ESMTP");
                return Ok(ControlFlow::Continue(()));
            }
            Move::Dot => {
                let said = self.finish().await;
                self.say_marked(&said);
                return Ok(ControlFlow::Continue(()));
            }
            Move::Command(verb, argument) => (verb, argument),
        };
        if !self.logged_in {
            self.strays += 1;
            if self.strays > STRAYS_MAX {
                self.say_marked(words::TOO_CHATTY);
                return Ok(ControlFlow::Break(()));
            }
        }
        let answer = match verb {
            Verb::Ehlo | Verb::Helo => return Ok(self.hello(verb, &argument)),
            Verb::Starttls => return self.starttls(&argument).await,
            Verb::Data => return Ok(self.data()),
            Verb::Auth => {
                self.authenticate(&argument).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Verb::Bdat => match self.chunk(&argument).await? {
                Some(answer) => answer,
                None => return Ok(ControlFlow::Continue(())),
            },
            Verb::Mail => self.mail(&argument).unwrap_or_else(|refused| refused),
            Verb::Rcpt => self.recipient(&argument).unwrap_or_else(|refused| refused),
            Verb::Rset => {
                self.transaction = None;
                words::FLUSHED.into()
            }
            Verb::Noop => words::OK.into(),
            Verb::Vrfy => words::TRY_MY_BEST.into(),
            Verb::Help => words::HELP.into(),
            Verb::Unknown => words::UNKNOWN_COMMAND.into(),
            Verb::Quit => {
                self.say_marked(words::BYE);
                return Ok(ControlFlow::Break(()));
            }
        };
        self.say_marked(&answer);
        Ok(ControlFlow::Continue(()))
    }

    fn hello(&mut self, verb: Verb, argument: &str) -> ControlFlow<()> {
        if let Err(refused) = command::check_hello(argument, self.options().refuse_localhost) {
            self.say_marked(&refused);
            return ControlFlow::Break(());
        }
        self.greeted = true;
        self.transaction = None;
        let mut lines = vec![format!("smtp.gmail.com at your service, [{}]", self.peer)];
        if verb == Verb::Ehlo {
            lines.extend(self.options().extensions(self.wire.is_encrypted()));
        }
        let last = lines.len().saturating_sub(1);
        let lines = lines.iter().enumerate().map(|(place, line)| {
            let mark = if place == last { ' ' } else { '-' };
            format!("250{mark}{line}")
        });
        self.say(&lines.collect::<Vec<_>>().join("\n"));
        ControlFlow::Continue(())
    }

    async fn starttls(&mut self, argument: &str) -> io::Result<ControlFlow<()>> {
        let refusal = if self.wire.is_encrypted() {
            words::STARTTLS_TWICE
        } else if !argument.is_empty() {
            words::STARTTLS_ARGUMENT
        } else if self.wire.has_input() {
            // Whatever stands behind it would be taken for something said under TLS (CVE-2011-0411).
            self.say_marked(words::STARTTLS_PIPELINED);
            return Ok(ControlFlow::Break(()));
        } else {
            self.say(words::READY_FOR_TLS);
            self.wire.encrypt(&self.house.acceptor).await?;
            (self.greeted, self.transaction) = (false, None);
            return Ok(ControlFlow::Continue(()));
        };
        self.say_marked(refusal);
        Ok(ControlFlow::Continue(()))
    }

    async fn authenticate(&mut self, argument: &str) -> io::Result<()> {
        let refusal = match () {
            () if !self.greeted => words::EHLO_FIRST,
            () if !self.wire.is_encrypted() => words::STARTTLS_FIRST,
            () if self.logged_in => words::AUTH_TWICE,
            () => return self.log_in(argument).await,
        };
        self.say_marked(refusal);
        Ok(())
    }

    async fn log_in(&mut self, argument: &str) -> io::Result<()> {
        // The script's words are for the outcome, not for what is asked on the way.
        let scripted = self.scripted.take();
        let outcome = login::exchange(self, argument).await?;
        self.scripted = scripted;
        self.logged_in = outcome.is_ok();
        let counters = &self.house.ledger.counters;
        self.house.ledger.count(if self.logged_in { &counters.logins } else { &counters.failed_logins });
        match outcome {
            Ok(()) => self.say(words::AUTH_ACCEPTED),
            Err(refused) => self.say_marked(refused),
        }
        Ok(())
    }

    /// Says `prompt` and returns the client's answer, which no transcript shows.
    pub async fn ask(&mut self, prompt: &str) -> io::Result<String> {
        self.say(prompt);
        let line = self.wire.line().await?;
        self.note('C', "***");
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Whether mail may be handed in now.
    fn check_standing(&self) -> Result<(), Said> {
        match () {
            () if !self.greeted => Err(words::EHLO_FIRST.into()),
            () if !self.wire.is_encrypted() => Err(words::STARTTLS_FIRST.into()),
            () if !self.logged_in => Err(words::AUTH_REQUIRED.into()),
            () => Ok(()),
        }
    }

    fn mail(&mut self, argument: &str) -> Result<Said, Said> {
        self.check_standing()?;
        if self.transaction.is_some() {
            return Err(words::MAIL_TWICE.into());
        }
        let (path, parameters) = command::split_path(argument, "FROM:").ok_or(words::SYNTAX)?;
        let mut asked = Asked::default();
        for parameter in parameters.split_whitespace() {
            self.read_parameter(parameter, &mut asked)?;
        }
        if !path.is_empty() && !command::is_mailbox(path, asked.smtputf8) {
            return Err(words::bad_sender(path).into());
        }
        self.transaction = Some(Transaction {
            mail_from: path.to_owned(),
            mail_parameters: parameters.split_whitespace().map(str::to_owned).collect(),
            recipients: Vec::new(),
            asked,
            content: None,
        });
        Ok(words::SENDER_OK.into())
    }

    /// One parameter of MAIL; those of extensions that are not offered are errors (RFC 5321 §4.1.1.11).
    fn read_parameter(&self, parameter: &str, asked: &mut Asked) -> Result<(), Said> {
        let offers = |extension: &str| !self.options().leave_out.iter().any(|left_out| left_out == extension);
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", size) if offers("SIZE") => {
                let size: u64 = size.parse().map_err(|_| words::SYNTAX)?;
                if size > self.options().size_max {
                    return Err(words::TOO_LARGE.into());
                }
            }
            ("BODY", "8BITMIME") if offers("8BITMIME") => asked.eight_bit = true,
            ("BODY", "7BIT") if offers("8BITMIME") => {}
            ("SMTPUTF8", "") if offers("SMTPUTF8") => asked.smtputf8 = true,
            ("AUTH", "<>") if offers("AUTH") => {}
            _ => return Err(words::SYNTAX.into()),
        }
        Ok(())
    }

    fn recipient(&mut self, argument: &str) -> Result<Said, Said> {
        self.check_standing()?;
        let recipients_max = self.options().recipients_max;
        let transaction = self.transaction.as_mut().ok_or(words::MAIL_FIRST)?;
        let (path, parameters) = command::split_path(argument, "TO:").ok_or(words::SYNTAX)?;
        if !parameters.is_empty() {
            return Err(words::SYNTAX.into());
        }
        if !command::is_mailbox(path, transaction.asked.smtputf8) {
            return Err(words::bad_recipient(path).into());
        }
        let domain = path.rsplit('@').next().unwrap_or_default();
        if !domain.contains('.') || domain.starts_with('[') {
            return Err(words::no_such_domain(domain).into());
        }
        if transaction.recipients.len() >= recipients_max {
            return Err(words::TOO_MANY_RECIPIENTS.into());
        }
        transaction.recipients.push(path.to_owned());
        Ok(words::RECIPIENT_OK.into())
    }

    /// The transaction, where content may follow.
    fn ready_for_content(&mut self) -> Result<&mut Transaction, Said> {
        self.check_standing()?;
        let transaction = self.transaction.as_mut().ok_or(words::MAIL_FIRST)?;
        if transaction.recipients.is_empty() { Err(words::RCPT_FIRST.into()) } else { Ok(transaction) }
    }

    fn data(&mut self) -> ControlFlow<()> {
        let content = self.house.new_content();
        let early = self.wire.has_input();
        let begun = match self.ready_for_content() {
            Err(refused) => Err(refused),
            Ok(transaction) if transaction.content.is_some() => Err(words::DATA_AFTER_BDAT.into()),
            // Content is for those who were told to go ahead (RFC 2920 §3.1).
            Ok(_) if early => {
                self.say_marked(words::EARLY_CONTENT);
                return ControlFlow::Break(());
            }
            Ok(transaction) => {
                transaction.content = Some(content);
                Ok(())
            }
        };
        match begun {
            Ok(()) => {
                self.expect = Expect::Content;
                self.say_marked(words::GO_AHEAD);
            }
            Err(refused) => self.say_marked(&refused),
        }
        ControlFlow::Continue(())
    }

    /// BDAT (RFC 3030): the bytes follow at once and have to be read, whatever the answer. The last chunk is answered
    /// when the message was judged.
    async fn chunk(&mut self, argument: &str) -> io::Result<Option<Said>> {
        let mut given = argument.split_whitespace();
        let Some(mut left) = given.next().and_then(|size| size.parse::<usize>().ok()) else {
            return Ok(Some(words::SYNTAX.into()));
        };
        let last = given.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        let mut begun = self.ready_for_content().map(|transaction| transaction.content.take());
        let mut content = begun.as_mut().ok().and_then(Option::take).unwrap_or_else(|| self.house.new_content());
        let eat = |bytes: &[u8]| {
            let (taken, complete) = content.feed_chunk(bytes, left);
            left -= taken;
            (taken, complete)
        };
        self.wire.feed(eat).await?;
        if let Err(refused) = begun {
            return Ok(Some(refused));
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.content = Some(content);
        }
        if last {
            self.expect = Expect::Complete;
        }
        Ok((!last).then(|| words::OK.into()))
    }

    /// Judges a complete message, and keeps it.
    async fn finish(&mut self) -> Said {
        let Some(Transaction { mail_from, mail_parameters, recipients, asked, content: Some(content) }) =
            self.transaction.take()
        else {
            return words::MAIL_FIRST.into();
        };
        let ledger = &self.house.ledger;
        if let Err(refused) = scrutiny::judge(&content, asked) {
            ledger.count(&ledger.counters.refused);
            return refused;
        }
        let size = content.size();
        let at = now();
        let content = Bytes::from(content.into_bytes());
        let message = Received { mail_from, mail_parameters, recipients, content, session: self.number, at };
        if let Some(folder) = &self.house.folder
            && folder.write(&message).await.is_err()
        {
            return "451 4.3.0 Mail server temporarily rejected message.".into();
        }
        ledger.record(message, size);
        format!("250 2.0.0 OK  {}", at.as_second()).into()
    }

    fn say_marked(&mut self, words: &str) {
        let marked = format!("{words} {} - gsmtp", self.mark);
        self.say(&marked);
    }

    /// Answers; `\n` ends a line. The script's words stand in for a good answer.
    fn say(&mut self, words: &str) {
        let scripted = if words.starts_with(['2', '3']) { self.scripted.take() } else { None };
        let words = scripted.as_deref().unwrap_or(words);
        for line in words.split('\n') {
            self.note('S', line);
            self.wire.say(line.as_bytes());
            self.wire.say(b"\r\n");
        }
    }

    fn note(&self, who: char, line: &str) {
        if let Some(transcript) = &self.transcript {
            let mut text = lock(transcript);
            text.extend([who, ':', ' ']);
            text.push_str(line);
            text.push('\n');
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the stand-in is a server of its own, and stamps what it receives")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
