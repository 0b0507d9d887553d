//! Plays every dialogue in `tests/smtp` against the session and a real store, cut in five ways: a client's turn at
//! a time, everything at once, by line, byte by byte, and at random places. Replies, log and stored mail must be
//! the same each time.
//!
//! A transcript is a text of lines:
//!
//! | line | meaning |
//! | --- | --- |
//! | `# …` | why this dialogue matters, with its sources |
//! | `given KEY VALUE` | a setting: a limit by its name, `default_domain`, `alias FROM TO`, `redirect_all`, `allow` |
//! | `given spool full`, `given spool failed` | the store refuses everything |
//! | `given auth any`, `given auth required` | what becomes of AUTH; `scanner` has the password `secret`, `user` has `password` |
//! | `given lf_only` | the client may end its lines with LF alone |
//! | `given client local`, `given encrypted` | the client is on this machine; it begins with TLS |
//! | `given stop while storing` | the relay is told to stop while the store is asked |
//! | `C: TEXT` | the client says this line; `\r\n` is added |
//! | `C! TEXT` | the client sends exactly these bytes |
//! | `C* N TEXT` | as `C:`, N times; `{n}` counts from 1 |
//! | `S: TEXT` | exactly this line is replied; the id in a 250 is written `ID` |
//! | `S~ TEXT` | the reply line begins so |
//! | `S* N TEXT` | as `S:`, N times |
//! | `when silence`, `when stop` | the client says nothing for too long; the relay is to stop |
//! | `given starttls`, `when encrypted` | STARTTLS is offered; the handshake that was asked for is done |
//! | `when reconnected` | the client is gone, and comes back with a new connection |
//! | `then stored N` | so many messages are in the store: every transcript says so |
//! | `then N from A`, `to A, B`, `client C`, `login L`, `by P`, `size N`, `content TEXT` | what the Nth of them is |
//! | `then closed`, `then open` | whether the session has ended the connection |
//! | `then logged TEXT`, `then not logged TEXT` | whether some entry of the log holds this |
//!
//! In what the client says and in checks, `\r \n \t \0 \\ \xNN` are bytes, and `\{N TEXT}` is the text N times.
//!
//! In every dialogue each reply that refuses stands beside exactly one log entry, and no entry without one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, wherever in it")]

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;
use smarthost::mail::{Address, Message, MessageId, Refusal, Submission, Timestamp};
use smarthost::policy::{AliasKey, Limits, Pattern, Policy, Recipients, Routes};
use smarthost::smtp::{Action, Auth, Credentials, Input, Offer, Session, Settings};
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{AcceptError, Accepted, Claim, Content, Lease, Spool, Upload};

/// One thing that happens in a transcript.
#[derive(Clone, Debug)]
enum Step {
    Client(Vec<u8>),
    Silence,
    Stop,
    Encrypt,
    Reconnect,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Client(bytes) => write!(f, "{}", bytes[..bytes.len().min(500)].escape_ascii()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A turn of the client, and what is replied to it.
#[derive(Debug)]
struct Turn {
    step: Step,
    replies: Vec<Expected>,
}

#[derive(Debug)]
enum Expected {
    Exactly(String),
    Beginning(String),
}

/// What the store does in a transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Store {
    #[default]
    Works,
    Full,
    Failed,
    /// And the relay stops meanwhile.
    Slow,
}

#[derive(Debug)]
struct Transcript {
    policy: Policy,
    offer: Offer,
    is_local: bool,
    is_encrypted: bool,
    store: Store,
    turns: Vec<Turn>,
    checks: Vec<String>,
}

/// What a session was waiting for.
enum Answer {
    Stored(Result<Accepted, Refusal>),
    Verified(Result<(), Refusal>),
}

/// The one user of these dialogues, and the one who stands in recordings in the place of all.
fn verify(credentials: &Credentials) -> Result<(), Refusal> {
    let users: [(&str, &[u8]); 2] = [("scanner", b"secret"), ("user", b"password")];
    let is_right = users.contains(&(credentials.name.as_str(), credentials.password.expose_secret()));
    is_right.then_some(()).ok_or(Refusal::LoginFailed(credentials.name.clone()))
}

/// How the bytes of a client are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Turns,
    Whole,
    Lines,
    Bytes,
    Random(u64),
}

/// What came of it.
#[derive(Debug, Default, PartialEq)]
struct Played {
    /// One list for each turn, where it was cut so; otherwise all in one.
    replies: Vec<Vec<String>>,
    log: Vec<String>,
    stored: Vec<Stored>,
    closed: bool,
}

/// A message as it came back out of the store.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    submission: Submission,
    content: Vec<u8>,
}

#[tokio::test]
async fn every_transcript_plays_the_same_however_it_is_cut() {
    // Another target includes this file for `play`; once is enough.
    if module_path!() != "transcripts" {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        check(&name, &Transcript::parse(&name, &text)).await;
    }
}

/// Plays one that came from elsewhere.
#[allow(dead_code, reason = "for tests that record")]
pub async fn play(name: &str, text: &str) {
    check(name, &Transcript::parse(name, text)).await;
}

async fn check(name: &str, transcript: &Transcript) {
    let folder = tempfile::tempdir().unwrap();
    let spool = SqliteSpool::open(folder.path(), now()).unwrap();
    let mut leases = Vec::new();
    let by_turns = Player::play(transcript, Cut::Turns, &spool, &mut leases).await;
    transcript.compare(name, &by_turns);
    let once = Played { replies: vec![by_turns.replies.concat()], ..by_turns };
    for cut in [Cut::Whole, Cut::Lines, Cut::Bytes, Cut::Random(1), Cut::Random(2)] {
        let mut played = Player::play(transcript, cut, &spool, &mut leases).await;
        played.replies = vec![played.replies.concat()];
        assert_eq!(played, once, "{name}, cut by {cut:?}");
    }
    drop(leases);
    spool.close();
}

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn connect(transcript: &Transcript) -> (Session, Vec<Action>) {
    let settings = Arc::new(Settings { policy: transcript.policy.clone() });
    let ip = if transcript.is_local { "127.0.0.1" } else { "192.0.2.7" };
    let begin = if transcript.is_encrypted { Session::inside_tls } else { Session::new };
    begin(settings, transcript.offer, Some(ip.parse().unwrap()))
}

/// Carries out what a session wants, as the listener does.
struct Player<'a> {
    store: Store,
    spool: &'a SqliteSpool,
    session: Session,
    upload: Option<Result<Upload, AcceptError>>,
    played: Played,
    ids: Vec<MessageId>,
    /// Asked for, and not done yet.
    handshake: bool,
}

impl Player<'_> {
    async fn play(transcript: &Transcript, cut: Cut, spool: &SqliteSpool, leases: &mut Vec<Lease>) -> Played {
        let (session, greeting) = connect(transcript);
        let played = Played { replies: vec![Vec::new()], ..Played::default() };
        let mut conversation =
            Player { store: transcript.store, spool, session, upload: None, played, ids: Vec::new(), handshake: false };
        conversation.carry_out(greeting).await;
        for step in cut.apply(&transcript.turns) {
            if cut == Cut::Turns {
                conversation.played.replies.push(Vec::new());
            }
            let actions = match step {
                Step::Client(bytes) => conversation.session.advance(now(), Input::Bytes(&bytes)),
                Step::Silence => conversation.session.advance(now(), Input::Silence),
                Step::Stop => conversation.session.advance(now(), Input::Stop),
                Step::Encrypt => conversation.encrypt(),
                Step::Reconnect => conversation.reconnect(transcript),
            };
            conversation.carry_out(actions).await;
        }
        conversation.read_back(leases).await
    }

    fn encrypt(&mut self) -> Vec<Action> {
        assert!(std::mem::take(&mut self.handshake), "nobody asked for TLS");
        self.session.advance(now(), Input::Encrypted)
    }

    fn reconnect(&mut self, transcript: &Transcript) -> Vec<Action> {
        let (session, greeting) = connect(transcript);
        self.session = session;
        self.upload = None;
        self.played.closed = false;
        greeting
    }

    async fn carry_out(&mut self, mut actions: Vec<Action>) {
        while let Some(answer) = self.carry_out_until_asked(actions).await {
            if self.store == Store::Slow {
                assert_eq!(self.session.advance(now(), Input::Stop), [], "the answer of the store comes first");
            }
            actions = match answer {
                Answer::Stored(answer) => self.session.advance(now(), Input::Stored(answer)),
                Answer::Verified(answer) => self.session.advance(now(), Input::Verified(answer)),
            };
        }
    }

    /// Returns the answer, once something was asked.
    async fn carry_out_until_asked(&mut self, actions: Vec<Action>) -> Option<Answer> {
        let mut answer = None;
        let mut sent = false;
        for action in actions {
            assert!(!self.played.closed && answer.is_none(), "nothing comes behind {action:?}");
            let was_sent = std::mem::replace(&mut sent, matches!(action, Action::Send(_)));
            assert!(!(was_sent && sent), "replies leave in one piece");
            match action {
                Action::Send(replies) => self.hear(&replies),
                Action::Append(piece) => self.append(piece).await,
                Action::Discard => self.upload = None,
                Action::Store { submission, rest } => {
                    answer = Some(Answer::Stored(self.accept(*submission, rest).await));
                }
                Action::Verify(credentials) => answer = Some(Answer::Verified(verify(&credentials))),
                Action::Encrypt => self.handshake = true,
                Action::Log { refusal, command } => self.played.log.push(format!("{command}: {refusal}")),
                Action::Close(_) => self.played.closed = true,
            }
        }
        answer
    }

    fn hear(&mut self, replies: &[u8]) {
        let text = str::from_utf8(replies).expect("replies are UTF-8");
        for line in text.strip_suffix("\r\n").expect("replies are whole lines").split("\r\n") {
            let line = match line.strip_prefix("250 2.0.0 Queued as ") {
                Some(id) => {
                    self.ids.push(id.parse().expect("a message id"));
                    "250 2.0.0 Queued as ID"
                }
                None => line,
            };
            self.played.replies.last_mut().unwrap().push(line.to_owned());
        }
    }

    async fn append(&mut self, piece: bytes::Bytes) {
        let mut upload = match self.upload.take() {
            Some(Ok(upload)) => upload,
            Some(failed) => return self.upload = Some(failed),
            None => self.spool.upload(now()),
        };
        let added = self.spool.append(&mut upload, piece).await;
        self.upload = Some(added.map(|()| upload));
    }

    async fn accept(&mut self, submission: Submission, rest: bytes::Bytes) -> Result<Accepted, Refusal> {
        match self.store {
            Store::Full => return Err(Refusal::SpoolFull("5 MiB free".into())),
            Store::Failed => return Err(Refusal::SpoolFailed("disk I/O error".into())),
            Store::Works | Store::Slow => {}
        }
        if self.upload.is_none() {
            let accepted = self.spool.accept(submission, Content::Memory(rest)).await;
            return Ok(accepted.expect("the store works"));
        }
        self.append(rest).await;
        let upload = self.upload.take().unwrap().expect("the store works");
        Ok(self.spool.accept(submission, Content::Uploaded(upload)).await.expect("the store works"))
    }

    /// What the store holds now must be exactly what was answered with 250.
    async fn read_back(mut self, leases: &mut Vec<Lease>) -> Played {
        let mut found = Vec::new();
        while let Claim::Leased(lease) = self.spool.claim("home", now()).await.unwrap() {
            let content = self.content(&lease.message).await;
            assert_eq!(lease.message.size, content.len() as u64);
            found.push((lease.message.id, Stored { submission: lease.message.submission.clone(), content }));
            leases.push(*lease);
        }
        found.sort_by_key(|(id, _)| self.ids.iter().position(|answered| answered == id));
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), self.ids);
        self.played.stored = found.into_iter().map(|(_, stored)| stored).collect();
        self.played
    }

    async fn content(&self, message: &Message) -> Vec<u8> {
        let mut content = Vec::new();
        for index in 0.. {
            match self.spool.piece(message.id, index).await.unwrap() {
                Some(piece) => content.extend_from_slice(&piece),
                None => break,
            }
        }
        content
    }
}

impl Cut {
    fn apply(self, turns: &[Turn]) -> Vec<Step> {
        let mut random = fastrand::Rng::with_seed(if let Cut::Random(seed) = self { seed } else { 0 });
        let mut steps = Vec::new();
        for turn in turns {
            match (&turn.step, steps.last_mut()) {
                (Step::Client(bytes), Some(Step::Client(before))) if self != Cut::Turns => {
                    Vec::extend_from_slice(before, bytes);
                }
                (step, _) => steps.push(step.clone()),
            }
        }
        steps.into_iter().flat_map(|step| self.cut(step, &mut random)).collect()
    }

    fn cut(self, step: Step, random: &mut fastrand::Rng) -> Vec<Step> {
        let Step::Client(bytes) = step else {
            return vec![step];
        };
        let pieces: Vec<Vec<u8>> = match self {
            Cut::Turns | Cut::Whole => vec![bytes],
            Cut::Lines => bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
            Cut::Bytes => bytes.chunks(1).map(<[u8]>::to_vec).collect(),
            Cut::Random(_) => {
                let (mut rest, mut pieces) = (bytes.as_slice(), Vec::new());
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(random.usize(0..=rest.len().min(300)));
                    pieces.push(piece.to_vec());
                    rest = behind;
                }
                pieces
            }
        };
        pieces.into_iter().map(Step::Client).collect()
    }
}

impl Transcript {
    fn parse(name: &str, text: &str) -> Transcript {
        let mut transcript = Transcript {
            policy: policy(),
            offer: Offer::default(),
            is_local: false,
            is_encrypted: false,
            store: Store::Works,
            turns: Vec::new(),
            checks: Vec::new(),
        };
        // What is replied before the client says anything.
        transcript.turns.push(Turn { step: Step::Client(Vec::new()), replies: Vec::new() });
        for (number, line) in text.lines().enumerate() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            let place = format!("{name}:{}", number + 1);
            match mark {
                "" | "#" => {}
                "given" => transcript.give(&place, rest.trim()),
                "C:" => transcript.say([unescape(rest), b"\r\n".to_vec()].concat()),
                "C!" => transcript.say(unescape(rest)),
                "C*" => repeated(rest).for_each(|line| transcript.say([unescape(&line), b"\r\n".to_vec()].concat())),
                "S:" => transcript.expect(Expected::Exactly(rest.to_owned())),
                "S~" => transcript.expect(Expected::Beginning(rest.to_owned())),
                "S*" => repeated(rest).for_each(|line| transcript.expect(Expected::Exactly(line))),
                "when" if rest == "silence" => transcript.happen(Step::Silence),
                "when" if rest == "stop" => transcript.happen(Step::Stop),
                "when" if rest == "encrypted" => transcript.happen(Step::Encrypt),
                "when" if rest == "reconnected" => transcript.happen(Step::Reconnect),
                "then" => transcript.checks.push(rest.trim().to_owned()),
                _ => panic!("{place}: what does {line:?} mean?"),
            }
        }
        let says = transcript.checks.iter().any(|check| check.starts_with("stored "));
        assert!(says, "{name} never says what was stored");
        transcript
    }

    fn happen(&mut self, step: Step) {
        self.turns.push(Turn { step, replies: Vec::new() });
    }

    fn say(&mut self, bytes: Vec<u8>) {
        match self.turns.last_mut() {
            Some(Turn { step: Step::Client(said), replies }) if replies.is_empty() => said.extend(bytes),
            _ => self.happen(Step::Client(bytes)),
        }
    }

    fn expect(&mut self, expected: Expected) {
        self.turns.last_mut().unwrap().replies.push(expected);
    }

    fn give(&mut self, place: &str, setting: &str) {
        let words: Vec<&str> = setting.split_whitespace().collect();
        let number = || words[1].parse::<usize>().unwrap();
        let Policy { limits, recipients, .. } = &mut self.policy;
        match words[0] {
            "hostname" => words[1].clone_into(&mut self.policy.hostname),
            "message_bytes" => limits.message_bytes = words[1].parse().unwrap(),
            "header_bytes" => limits.header_bytes = number(),
            "command_bytes" => limits.command_bytes = number(),
            "recipients" => limits.recipients = number(),
            "errors" => limits.errors = number(),
            "hops" => limits.hops = number(),
            "default_domain" => recipients.default_domain = Some(words[1].to_owned()),
            "redirect_all" => recipients.redirect_all = Some(words[1].parse().unwrap()),
            "alias" => {
                let targets = words[2..].iter().map(|word| word.parse().unwrap()).collect();
                recipients.alias.insert(alias_key(words[1]), targets);
            }
            "allow" => recipients.allow = words[1..].iter().map(|word| pattern(word)).collect(),
            _ => match setting {
                "starttls" => self.offer.starttls = true,
                "encrypted" => self.is_encrypted = true,
                "client local" => self.is_local = true,
                "spool full" => self.store = Store::Full,
                "spool failed" => self.store = Store::Failed,
                "auth any" => self.offer.auth = Auth::Any,
                "auth required" => self.offer.auth = Auth::Required,
                "lf_only" => self.offer.lf_only = true,
                "stop while storing" => self.store = Store::Slow,
                _ => panic!("{place}: no setting is called {setting:?}"),
            },
        }
    }

    /// Compares what came of a play by turns with what stands in the transcript.
    fn compare(&self, name: &str, played: &Played) {
        // The greeting comes before the first turn, which is what follows it.
        let mut replies = played.replies.clone();
        let greeting = replies.remove(0);
        replies[0].splice(0..0, greeting);
        for (turn, replies) in self.turns.iter().zip(&replies) {
            let fits = turn.replies.len() == replies.len()
                && turn.replies.iter().zip(replies).all(|(expected, reply)| expected.fits(reply));
            assert!(fits, "{name}: {} was answered with {replies:#?}", turn.step);
        }
        let refused = replies.concat().iter().filter(|reply| reply.starts_with(['4', '5'])).count();
        assert_eq!(played.log.len(), refused, "{name}: every refusal is logged once: {:#?}", played.log);
        for entry in &played.log {
            assert!(!entry.chars().any(char::is_control), "{name}: {entry:?}");
        }
        for check in &self.checks {
            assert!(played.fulfils(check), "{name}: not so: {check}\n{played:#?}");
        }
    }
}

impl Expected {
    fn fits(&self, reply: &str) -> bool {
        match self {
            Expected::Exactly(text) => reply == text,
            Expected::Beginning(text) => reply.starts_with(text),
        }
    }
}

impl Played {
    fn fulfils(&self, check: &str) -> bool {
        let (word, rest) = check.split_once(' ').unwrap_or((check, ""));
        let logged = |text: &str| {
            let text = String::from_utf8(unescape(text)).unwrap();
            self.log.iter().any(|entry| entry.contains(&text))
        };
        match word {
            "stored" => self.stored.len().to_string() == rest,
            "closed" => self.closed,
            "open" => !self.closed,
            "logged" => logged(rest),
            "not" => !logged(rest.strip_prefix("logged ").unwrap()),
            number => {
                let place = number.parse::<usize>().unwrap_or_else(|_| panic!("what does {check:?} mean?"));
                self.stored.get(place - 1).is_some_and(|stored| stored.fulfils(rest))
            }
        }
    }
}

impl Stored {
    fn fulfils(&self, check: &str) -> bool {
        let (word, value) = check.split_once(' ').unwrap_or((check, ""));
        let envelope = &self.submission.envelope;
        let shown = match word {
            "from" => format!("<{}>", envelope.reverse_path),
            "to" => envelope.recipients.iter().map(|to| to.address.to_string()).collect::<Vec<_>>().join(", "),
            "recipients" => envelope.recipients.len().to_string(),
            "smtputf8" => envelope.smtputf8.to_string(),
            "client" => self.submission.client.to_string(),
            "login" => self.submission.client.login.clone().unwrap_or_default(),
            "by" => self.submission.protocol.as_str().to_owned(),
            "size" => self.content.len().to_string(),
            "content" => return self.content == unescape(value),
            _ => panic!("what does {check:?} mean?"),
        };
        shown.as_bytes() == unescape(value)
    }
}

/// `N TEXT`, N times, with the count in place of `{n}`.
fn repeated(text: &str) -> impl Iterator<Item = String> {
    let (times, text) = text.split_once(' ').expect("a number and a text");
    let times: usize = times.parse().expect("a number");
    (1..=times).map(|n| text.replace("{n}", &n.to_string()))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (escaped, behind) = rest[at + 1..].split_at(1);
        rest = behind;
        match escaped {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, behind) = rest.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = behind;
            }
            "{" => {
                let (inside, behind) = rest.split_once('}').expect("a closing brace");
                repeated(inside).for_each(|text| bytes.extend(unescape(&text)));
                rest = behind;
            }
            _ => panic!("no escape \\{escaped}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn policy() -> Policy {
    let recipients = Recipients {
        default_domain: None,
        alias: std::collections::BTreeMap::new(),
        redirect_all: None,
        allow: vec![Pattern::Everybody],
    };
    Policy { hostname: "relay.test".into(), limits: Limits::default(), recipients, routes: Routes::only("home") }
}

fn alias_key(text: &str) -> AliasKey {
    match (text.strip_prefix("*@"), text.contains('@')) {
        (Some(domain), _) => AliasKey::Domain(domain.into()),
        (None, true) => AliasKey::Address(text.parse().unwrap()),
        (None, false) => AliasKey::Local(text.into()),
    }
}

fn pattern(text: &str) -> Pattern {
    match text.strip_prefix("*@") {
        Some(domain) => Pattern::Domain(domain.into()),
        None if text == "*" => Pattern::Everybody,
        None => Pattern::Address(text.parse::<Address>().unwrap()),
    }
}
