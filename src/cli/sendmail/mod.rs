//! `smarthost sendmail`: takes the place of `/usr/sbin/sendmail`, also under that name.
//!
//! A message goes through the same session as everybody's, straight into the spool, so that it is safe whether or not the relay
//! runs; a relay that runs finds it there within a second. Only root and the owner of the spool may write there. For everybody
//! else the way in is a listener, as for any client of this machine.

pub mod arguments;
mod compose;
mod door;
mod status;
mod user;

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use self::arguments::{Sending, Wish};
use self::compose::{END, Head, Lines};
use self::door::Door;
use super::{Failure, Global, queue};
use crate::config::{self, HandIn, HandInError};
use crate::listener::Local;
use crate::mail::Reply;
use crate::mail::stuffing::Stuffing;
use crate::policy::Limits;
use crate::smtp;
use crate::spool::sqlite::{OpenError, SqliteSpool};

/// What is read at once.
const PIECE_BYTES: usize = 64 * 1024;

const HELP: &str = "\
Hands a message in: sendmail [OPTION]... [RECIPIENT]..., the message on standard input

  -t              read recipients from To, Cc and Bcc, besides those on the command line
  -i, -oi         a line with a lone dot does not end the message
  -f, -r ADDRESS  the sender of the envelope; '' is nobody
  -F NAME         the name of the sender, where the message has no From
  -bm             hand in a message (this is so without it, too)
  -bs             speak SMTP on standard input and output
  -bp             show what waits, as `mailq` does
  -bi             do nothing, as `newaliases` does: aliases are in the configuration
  --              no options behind this

Options of other mailers are passed over. It ends with 0 once the message is safe on disk, 75 where the caller should try again,
64 without recipients, 65 for a message that cannot be taken, 67 or 77 for recipients that are refused, 78 for a wrong configuration.
";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// As for `/usr/sbin/sendmail`: `-t -i -f ADDRESS -F NAME -bm -bs -bp`; `smarthost sendmail --help` lists them.
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

pub async fn run(global: &Global, options: &Options) -> Result<(), Failure> {
    match arguments::read(&options.arguments) {
        Wish::Help => Ok(write!(io::stdout(), "{HELP}")?),
        Wish::Queue => queue::run(global, &queue::Command::List { json: false, account: None }).await,
        Wish::Aliases => Ok(writeln!(
            io::stdout(),
            "Nothing to do: aliases are in [recipients] of the configuration, as they stand."
        )?),
        Wish::Refused(words) => Err(Failure::Mailer(status::USAGE, words)),
        Wish::Session => speak(global).await,
        Wish::Send(sending) => send(global, &sending).await,
    }
}

/// What a caller may know of the configuration, and the spool where he may use it.
struct House {
    known: Result<HandIn, HandInError>,
    spool: Result<SqliteSpool, String>,
}

impl House {
    fn look(global: &Global) -> House {
        let known = config::load_hand_in(global.config.as_deref(), &global.environment());
        let spool = known.as_ref().map_err(ToString::to_string).and_then(open_spool);
        House { known, spool }
    }

    fn limits(&self) -> Limits {
        self.known.as_ref().map(|known| known.policy.limits.clone()).unwrap_or_default()
    }

    /// What a name without a domain gets, if only in a header.
    fn domain(&self, global: &Global) -> String {
        match &self.known {
            Ok(HandIn { policy, .. }) => policy.recipients.default_domain.as_ref().unwrap_or(&policy.hostname).clone(),
            Err(_) => global.environment().machine_name,
        }
    }

    fn listeners(&self, global: &Global) -> Vec<String> {
        match &self.known {
            Ok(known) => known.listeners.iter().map(|listener| listener.address.clone()).collect(),
            Err(_) => config::usual_listeners(&global.environment()),
        }
    }

    /// The spool, else the first listener that answers.
    async fn open(&self, global: &Global) -> Result<Door<'_>, Failure> {
        let why = match (&self.spool, &self.known) {
            (Ok(spool), Ok(known)) => {
                return Ok(Door::to_spool(smtp::Settings { policy: known.policy.clone() }, spool).await);
            }
            (Err(why), _) => why.clone(),
            (Ok(_), Err(why)) => why.to_string(),
        };
        let listeners = self.listeners(global);
        for address in &listeners {
            if let Ok(connection) = door::connect(address).await {
                return Ok(Door::Listener(connection));
            }
        }
        let status = if let Err(HandInError::Mistakes(_)) = self.known { status::CONFIG } else { status::TRY_AGAIN };
        Err(Failure::Mailer(
            status,
            format!("{why}; and no relay answers at {}. Start it: smarthost run", listeners.join(", ")),
        ))
    }

    fn close(self) {
        if let Ok(spool) = self.spool {
            spool.close();
        }
    }
}

/// Opens the spool, where the caller may write into it so that the relay can read it. A spool that is missing is only made where
/// the configuration says so: what somebody's own folder happens to be is no place for mail that nobody would find.
fn open_spool(known: &HandIn) -> Result<SqliteSpool, String> {
    let folder = &known.spool;
    let caller = rustix::process::geteuid().as_raw();
    if let Ok(owner) = folder.metadata().map(|folder| folder.uid())
        && caller != 0
        && caller != owner
    {
        return Err(format!(
            "the spool {} belongs to another user, so mail has to come in through a listener",
            folder.display()
        ));
    }
    let opened = match SqliteSpool::open_beside(folder) {
        Err(OpenError::Missing(_)) if known.spool_is_given => SqliteSpool::open_or_make_beside(folder),
        opened => opened,
    };
    opened.map_err(|error| error.to_string())
}

/// Standard input, read by a thread of its own: nothing else can be interrupted while it waits.
struct Text(mpsc::Receiver<io::Result<Vec<u8>>>);

impl Text {
    fn of_stdin() -> Text {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::spawn(move || {
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = io::stdin().read(&mut piece).map(|count| {
                    piece.truncate(count);
                    piece
                });
                match read {
                    Ok(piece) if piece.is_empty() => return,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => {
                        let failed = read.is_err();
                        if sender.blocking_send(read).is_err() || failed {
                            return;
                        }
                    }
                }
            }
        });
        Text(receiver)
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let unreadable = |error| Failure::Mailer(status::IO, format!("the message cannot be read: {error}"));
        self.0.recv().await.transpose().map_err(unreadable)
    }
}

/// The message on its way in: first its head, whole, then the rest.
struct Message {
    text: Text,
    lines: Option<Lines>,
}

impl Message {
    /// The next piece in lines of mail; `None` behind the last one.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(mut lines) = self.lines.take() else { return Ok(None) };
        let piece = if lines.is_ended() { None } else { self.text.next().await? };
        let Some(piece) = piece else { return Ok(Some(lines.finish().to_vec())) };
        let read = lines.read(&piece);
        self.lines = Some(lines);
        Ok(Some(read))
    }

    /// Everything up to the end of the header, and perhaps more; no more than the limit and a piece.
    async fn head(&mut self, bytes_max: usize) -> Result<Head, Failure> {
        let mut head = Head::default();
        while head.bytes() <= bytes_max
            && let Some(piece) = self.next().await?
        {
            if head.read(&piece) {
                break;
            }
        }
        Ok(head)
    }
}

async fn send(global: &Global, sending: &Sending) -> Result<(), Failure> {
    if sending.recipients.is_empty() && !sending.read_recipients {
        return Err(Failure::Mailer(status::USAGE, "no recipient is given; name one, or say -t".to_owned()));
    }
    let house = House::look(global);
    let mut message = Message { text: Text::of_stdin(), lines: Some(Lines::new(sending.keep_dots)) };
    let head = message.head(house.limits().header_bytes).await?;
    let letter = Letter::address(sending, head, &house.domain(global))?;
    let mut door = house.open(global).await?;
    let sent = letter.hand_in(&mut door, &mut message).await;
    drop(door);
    house.close();
    sent
}

/// A message with its envelope.
struct Letter {
    user: String,
    from: String,
    recipients: Vec<String>,
    head: Vec<u8>,
}

impl Letter {
    fn address(sending: &Sending, head: Head, domain: &str) -> Result<Letter, Failure> {
        let user = user::name();
        let given = sending.from.as_deref().map(|from| match compose::addresses(from).into_iter().next() {
            Some(address) => address,
            None => from.trim().trim_matches(['<', '>']).to_owned(),
        });
        let from = given.unwrap_or_else(|| user.clone());
        let mut recipients: Vec<String> = sending.recipients.iter().flat_map(|list| named(list)).collect();
        if sending.read_recipients {
            recipients.extend(head.recipients());
        }
        if recipients.is_empty() {
            return Err(Failure::Mailer(
                status::USAGE,
                "the header names no recipient, and nor does the command line".into(),
            ));
        }
        let author = if from.is_empty() { &user } else { &from };
        let author = if author.contains('@') { author.clone() } else { format!("{author}@{domain}") };
        let head = head.with_author(sending.full_name.as_deref(), &author);
        Ok(Letter { user, from, recipients, head })
    }

    async fn hand_in(self, door: &mut Door<'_>, message: &mut Message) -> Result<(), Failure> {
        let lost = |error: io::Error| Failure::Mailer(status::TRY_AGAIN, format!("the relay is gone: {error}"));
        expect(&door.reply().await.map_err(lost)?)?;
        expect(&door.say(format!("EHLO {}\r\n", self.user).as_bytes()).await.map_err(lost)?)?;
        let is_ascii = self.from.is_ascii() && self.recipients.iter().all(|to| to.is_ascii());
        let smtputf8 = if is_ascii { "" } else { " SMTPUTF8" };
        let command = command("MAIL FROM", &self.from, smtputf8)?;
        expect(&door.say(command.as_bytes()).await.map_err(lost)?)?;
        let refused = self.name_recipients(door).await?;
        if let Err(failure) = expect(&door.say(b"DATA\r\n").await.map_err(lost)?) {
            return Err(refused.unwrap_or(failure));
        }
        expect(&self.write(door, message).await?)?;
        let _ = door.say(b"QUIT\r\n").await;
        refused.map_or(Ok(()), Err)
    }

    /// Returns why the first of those is refused who are. Mail to the others goes on, as from any client.
    async fn name_recipients(&self, door: &mut Door<'_>) -> Result<Option<Failure>, Failure> {
        let mut refused: Option<(u8, Vec<String>)> = None;
        for to in &self.recipients {
            let reply = match command("RCPT TO", to, "") {
                Ok(command) => door.say(command.as_bytes()).await.map_err(Failure::Io)?,
                Err(_) => Reply::received(501, "5.1.3 This is no address"),
            };
            match status::of(&reply) {
                status::OK => {}
                status::TRY_AGAIN => return Err(Failure::Mailer(status::TRY_AGAIN, format!("{to}: {reply}"))),
                status => refused.get_or_insert((status, Vec::new())).1.push(format!("{to}: {reply}")),
            }
        }
        Ok(refused.map(|(status, words)| Failure::Mailer(status, words.join("\nsmarthost: "))))
    }

    /// Sends the content; returns what is said to it.
    async fn write(&self, door: &mut Door<'_>, message: &mut Message) -> Result<Reply, Failure> {
        let lost = |error: io::Error| Failure::Mailer(status::TRY_AGAIN, format!("the relay is gone: {error}"));
        let mut stuffing = Stuffing::default();
        let mut piece = Some(self.head.clone());
        while let Some(text) = piece {
            // A message that is far too large is refused before its end.
            if door.write(&stuffing.stuff(&text)).await.is_err() || door.is_closed() {
                return door.reply().await.map_err(lost);
            }
            piece = message.next().await?;
        }
        door.say(END).await.map_err(lost)
    }
}

/// The addresses in an argument; all of it where there is none, so that it is refused by its name.
fn named(list: &str) -> Vec<String> {
    let is_one_line = !list.chars().any(char::is_control);
    let addresses = if is_one_line { compose::addresses(list) } else { Vec::new() };
    if addresses.is_empty() { vec![list.trim().to_owned()] } else { addresses }
}

/// A command with a path in it, which must not end it.
fn command(verb: &str, address: &str, parameters: &str) -> Result<String, Failure> {
    if address.chars().any(|c| c.is_control() || matches!(c, '<' | '>')) {
        return Err(Failure::Mailer(status::DATA, format!("\"{}\" is no address", address.escape_debug())));
    }
    Ok(format!("{verb}:<{address}>{parameters}\r\n"))
}

fn expect(reply: &Reply) -> Result<(), Failure> {
    match status::of(reply) {
        status::OK => Ok(()),
        status => Err(Failure::Mailer(status, format!("the message is not taken: {reply}"))),
    }
}

/// `-bs`: a client that speaks SMTP to us instead of to a socket.
async fn speak(global: &Global) -> Result<(), Failure> {
    let house = House::look(global);
    let silence = Duration::from_secs(house.limits().idle_timeout_s);
    let mut text = Text::of_stdin();
    match house.open(global).await? {
        Door::Spool(mut local, greeting) => speak_here(&mut local, &greeting, &mut text, silence).await?,
        Door::Listener(connection) => pass_on(connection, &mut text).await?,
    }
    house.close();
    Ok(())
}

fn print(replies: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(replies)?;
    out.flush()
}

async fn speak_here(local: &mut Local<'_>, greeting: &[u8], text: &mut Text, silence: Duration) -> Result<(), Failure> {
    print(greeting)?;
    while !local.is_closed() {
        let replies = match timeout(silence, text.next()).await {
            Ok(Ok(Some(piece))) => local.hear(smtp::Input::Bytes(&piece)).await,
            Ok(Ok(None)) => break,
            Ok(Err(failure)) => return Err(failure),
            Err(_) => local.hear(smtp::Input::Silence).await,
        };
        print(&replies)?;
    }
    Ok(())
}

/// The same through a listener, which does the talking.
async fn pass_on(connection: door::Connection, text: &mut Text) -> Result<(), Failure> {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
    let (mut from_relay, mut to_relay) = tokio::io::split(connection);
    let mut from_relay = tokio::io::BufReader::new(&mut from_relay);
    let mut more = true;
    loop {
        tokio::select! {
            heard = from_relay.fill_buf() => {
                let heard = heard?;
                if heard.is_empty() {
                    return Ok(());
                }
                print(heard)?;
                let count = heard.len();
                from_relay.consume(count);
            }
            piece = text.next(), if more => {
                if let Some(piece) = piece? {
                    to_relay.write_all(&piece).await?;
                    to_relay.flush().await?;
                } else {
                    to_relay.shutdown().await?;
                    more = false;
                }
            }
        }
    }
}
