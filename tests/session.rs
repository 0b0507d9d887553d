//! What must hold for every dialogue, and not only for those in `tests/smtp`: the session agrees with a model of six
//! lines on every order of commands, and the way in which bytes are cut is never seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, wherever in it")]

use std::sync::Arc;

use smarthost::mail::{Refusal, Submission, Timestamp};
use smarthost::policy::{Limits, Pattern, Policy, Recipients, Routes};
use smarthost::smtp::{Action, Input, Offer, Session, Settings};

/// Everything that a client and the store see of a session; the store refuses what it is given.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    replies: String,
    offered: Vec<(Submission, Vec<u8>)>,
    log: Vec<(Refusal, String)>,
    closed: bool,
    pieces: Vec<u8>,
}

impl Seen {
    fn carry_out(&mut self, session: &mut Session, mut actions: Vec<Action>) {
        while let Some(action) = (!actions.is_empty()).then(|| actions.remove(0)) {
            match action {
                Action::Send(replies) => self.replies.push_str(str::from_utf8(&replies).unwrap()),
                Action::Append(piece) => self.pieces.extend_from_slice(&piece),
                Action::Discard => self.pieces.clear(),
                Action::Log { refusal, command } => self.log.push((refusal, command)),
                Action::Close => self.closed = true,
                Action::Store { submission, rest } => {
                    let mut content = std::mem::take(&mut self.pieces);
                    content.extend_from_slice(&rest);
                    self.offered.push((*submission, content));
                    assert_eq!(actions, [], "a session waits for the store");
                    let answer = Input::Stored(Err(Refusal::SpoolFailed("test".into())));
                    actions = session.advance(Timestamp::UNIX_EPOCH, answer);
                }
            }
        }
    }
}

fn settings() -> Arc<Settings> {
    let limits = Limits {
        command_bytes: 60,
        message_bytes: 150,
        header_bytes: 100,
        hops: 1,
        errors: 50,
        recipients: 3,
        ..Limits::default()
    };
    let recipients = Recipients {
        default_domain: None,
        alias: std::collections::BTreeMap::new(),
        redirect_all: None,
        allow: vec![Pattern::Domain("good".into())],
    };
    Arc::new(Settings {
        policy: Policy { hostname: "relay.test".into(), limits, recipients, routes: Routes::only("home") },
    })
}

fn play<'a>(settings: &Arc<Settings>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut session, greeting) = Session::new(Arc::clone(settings), Offer::default(), None);
    let mut seen = Seen::default();
    seen.carry_out(&mut session, greeting);
    for piece in pieces {
        let actions = session.advance(Timestamp::UNIX_EPOCH, Input::Bytes(piece));
        seen.carry_out(&mut session, actions);
    }
    seen
}

/// The model: whether a message is begun, and what became of its recipients.
#[derive(Clone, Copy, PartialEq)]
enum Model {
    Ready,
    Begun,
    Refused,
    Addressed,
}

/// What the client says, and by what code and state the model answers.
fn answer(model: Model, line: &str) -> (u16, Model) {
    match (line, model) {
        ("EHLO x" | "HELO x" | "RSET", _) => (250, Model::Ready),
        ("NOOP", _) => (250, model),
        ("AUTH PLAIN AGEAYg==", _) => (502, model),
        ("MAIL FROM:<a@b>", Model::Ready) => (250, Model::Begun),
        ("RCPT TO:<@good>", Model::Begun) => (501, Model::Refused),
        ("MAIL FROM:<a@b" | "RCPT TO:<@good>", _) => (501, model),
        ("RCPT TO:<a@bad>", Model::Begun) => (550, Model::Refused),
        ("RCPT TO:<a@bad>", Model::Refused | Model::Addressed) => (550, model),
        ("RCPT TO:<a@good>", Model::Begun | Model::Refused | Model::Addressed) => (250, Model::Addressed),
        ("DATA", Model::Refused) => (554, model),
        ("DATA", Model::Addressed) => (354, Model::Ready),
        _ => (503, model),
    }
}

const LINES: [&str; 11] = [
    "EHLO x",
    "HELO x",
    "MAIL FROM:<a@b>",
    "MAIL FROM:<a@b",
    "RCPT TO:<a@good>",
    "RCPT TO:<@good>",
    "RCPT TO:<a@bad>",
    "DATA",
    "RSET",
    "NOOP",
    "AUTH PLAIN AGEAYg==",
];

/// Every order of up to five commands (reliability-security.md, case 58; a login is not offered).
#[test]
fn the_session_agrees_with_its_model() {
    let settings = settings();
    let length = 5;
    for number in 0..LINES.len().pow(length) {
        let lines = (0..length).map(|place| LINES[number / LINES.len().pow(place) % LINES.len()]);
        let mut model = Model::Ready;
        let (mut said, mut expected) = (String::new(), vec![220]);
        for line in lines {
            let (code, next) = answer(model, line);
            model = next;
            said.extend([line, "\r\n"]);
            expected.push(code);
            if code == 354 {
                said.push_str(".\r\n");
                expected.push(451);
            }
        }
        let seen = play(&settings, [said.as_bytes()]);
        let last_lines = seen.replies.lines().filter(|line| line.as_bytes()[3] == b' ');
        let codes: Vec<u16> = last_lines.map(|line| line[..3].parse().unwrap()).collect();
        assert_eq!(codes, expected, "{said}");
        assert!(seen.log.iter().all(|(refusal, command)| !format!("{refusal:?}{command}").contains("AGEAYg")));
    }
}

/// How a message begins.
const BEGINNING: &[u8] = b"MAIL FROM:<a@b>\r\nRCPT TO:<a@good>\r\nDATA\r\n";

/// Fragments out of which dialogues are made that go wrong in every way.
const FRAGMENTS: [&[u8]; 30] = [
    b"EHLO x\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<a@b> SIZE=200\r\n",
    b"RCPT TO:<a@good>\r\n",
    b"RCPT TO:<a@good>\n",
    b"RCPT TO:<a@good>,<b@good>\r\n",
    b"RCPT TO:<a@good>\r",
    b"DATA\r\n",
    b"DATA\n",
    BEGINNING,
    b"MAIL FROM:<a@b>\r\nRCPT TO:<a@good>\r\nDATA\n",
    b"\r\n.\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b"\n.\n",
    b"\r\n..",
    b"\r.\r",
    b"Received: x\r\n",
    b"Received: y\n",
    b"Subject: x\r\n\r\n",
    b"a text of some length that goes on and on and on and on and on and on",
    b"\0",
    b"\xff",
    b"\r",
    b"\n",
    b"AUTH LOGIN\r\n",
    b"\x16",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"GET / HTTP/1.1\r\n",
    b"QUIT\r\n",
];

#[test]
fn the_same_bytes_cause_the_same_however_they_are_cut() {
    let settings = settings();
    let mut random = fastrand::Rng::with_seed(4);
    let mut offered = 0;
    for _ in 0..20_000 {
        let mut fragments = vec![if random.bool() { BEGINNING } else { b"" }];
        fragments.extend((0..random.usize(1..25)).map(|_| FRAGMENTS[random.usize(0..FRAGMENTS.len())]));
        let said = fragments.concat();
        let whole = play(&settings, [said.as_slice()]);
        assert_eq!(play(&settings, fragments), whole, "{}", said.escape_ascii());
        assert_eq!(play(&settings, said.chunks(1)), whole, "{}", said.escape_ascii());
        let step = random.usize(2..20);
        assert_eq!(play(&settings, said.chunks(step)), whole, "{}", said.escape_ascii());
        offered += whole.offered.len();
    }
    assert!(offered > 5_000, "most dialogues should get somewhere, {offered} messages did");
}
