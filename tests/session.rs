//! What must hold for every dialogue, and not only for those in `tests/smtp`: the session agrees with a model of a few
//! lines on every order of commands, and the way in which bytes are cut is never seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, wherever in it")]

use std::sync::Arc;

use smarthost::mail::{Refusal, Submission, Timestamp};
use smarthost::policy::{Limits, Pattern, Policy, Recipients, Routes};
use smarthost::smtp::{Action, Auth, Input, Offer, Session, Settings};

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
                Action::Encrypt => panic!("it is not offered"),
                Action::Log { refusal, command } => self.log.push((refusal, command)),
                Action::Close(_) => self.closed = true,
                Action::Verify(credentials) => {
                    assert_eq!(actions, [], "a session waits for the answer");
                    let right = credentials.name == "a";
                    let answer = right.then_some(()).ok_or(Refusal::LoginFailed(credentials.name));
                    actions = session.advance(Timestamp::UNIX_EPOCH, Input::Verified(answer));
                }
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

fn play<'a>(settings: &Arc<Settings>, offer: Offer, pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut session, greeting) = Session::new(Arc::clone(settings), offer, None);
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
        ("QUIT", _) => (221, model),
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

const LINES: [&str; 12] = [
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
    "QUIT",
];

/// The codes of what is replied; of a reply of many lines, that of the last.
fn codes(replies: &str) -> Vec<u16> {
    let last_lines = replies.lines().filter(|line| line.as_bytes()[3] == b' ');
    last_lines.map(|line| line[..3].parse().unwrap()).collect()
}

/// A conversation that can go on in several ways.
#[derive(Clone)]
struct Branch {
    session: Session,
    model: Model,
    said: Vec<&'static str>,
}

impl Branch {
    fn go_on(&self, line: &'static str) -> Branch {
        let mut branch = self.clone();
        branch.said.push(line);
        let (code, model) = answer(self.model, line);
        branch.model = model;
        branch.hears(&format!("{line}\r\n"), &[code]);
        if code == 354 {
            branch.hears(".\r\n", &[451]);
        }
        branch
    }

    fn hears(&mut self, bytes: &str, expected: &[u16]) {
        let mut seen = Seen::default();
        let actions = self.session.advance(Timestamp::UNIX_EPOCH, Input::Bytes(bytes.as_bytes()));
        seen.carry_out(&mut self.session, actions);
        assert_eq!(codes(&seen.replies), expected, "{:?}", self.said);
        if bytes.starts_with("AUTH") {
            assert!(!format!("{:?}", seen.log).contains("AGEAYg"), "{:?}", self.said);
        }
        assert_eq!(seen.closed, expected == [221], "{:?}", self.said);
    }

    /// Every way to go on with up to so many commands. Returns how many there were.
    fn go_everywhere(&self, commands: usize) -> usize {
        if commands == 0 || self.said.last() == Some(&"QUIT") {
            return 0;
        }
        LINES.iter().map(|line| 1 + self.go_on(line).go_everywhere(commands - 1)).sum()
    }
}

/// Every order of up to six commands (reliability-security.md, case 58; a login is not offered). Behind QUIT nothing is
/// heard any more.
#[test]
fn the_session_agrees_with_its_model() {
    let (session, _) = Session::new(settings(), Offer::default(), None);
    let start = Branch { session, model: Model::Ready, said: Vec::new() };
    let branches: Vec<Branch> = LINES.iter().map(|line| start.go_on(line)).collect();
    let followed: usize = std::thread::scope(|scope| {
        let halves = branches.chunks(LINES.len() / 2);
        let threads: Vec<_> = halves
            .map(|half| scope.spawn(move || half.iter().map(|branch| branch.go_everywhere(5)).sum::<usize>()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let all: usize = (0..6).map(|before| LINES.len() * (LINES.len() - 1).pow(before)).sum();
    assert_eq!(followed + LINES.len(), all);
}

/// The same with long dialogues that are cut at random: a client may say several commands at once, and half of one
/// (reliability-security.md, case 60).
#[test]
fn the_session_agrees_with_its_model_however_commands_are_pipelined() {
    let settings = settings();
    let mut random = fastrand::Rng::with_seed(60);
    for _ in 0..20_000 {
        let mut model = Model::Ready;
        let (mut said, mut expected) = (Vec::new(), vec![220]);
        for _ in 0..random.usize(1..30) {
            let line = LINES[random.usize(..LINES.len() - 1)];
            let (code, next) = answer(model, line);
            model = next;
            said.extend_from_slice(format!("{line}\r\n").as_bytes());
            expected.push(code);
            if code == 354 {
                said.extend_from_slice(b"x\r\n.\r\n");
                expected.push(451);
            }
        }
        let mut pieces = Vec::new();
        let mut rest = said.as_slice();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(random.usize(1..=rest.len().min(80)));
            pieces.push(piece);
            rest = behind;
        }
        let seen = play(&settings, Offer::default(), pieces);
        assert_eq!(codes(&seen.replies), expected, "{}", said.escape_ascii());
        assert!(seen.log.iter().all(|(refusal, command)| !format!("{refusal:?}{command}").contains("AGEAYg")));
    }
}

/// How a message begins.
const BEGINNING: &[u8] = b"MAIL FROM:<a@b>\r\nRCPT TO:<a@good>\r\nDATA\r\n";

/// Fragments out of which dialogues are made that go wrong in every way.
const FRAGMENTS: [&[u8]; 35] = [
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH PLAIN\n",
    b"YQ==\r\n",
    b"YQ==\n",
    b"*\r\n",
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
        let auth = [Auth::Off, Auth::Any, Auth::Required][random.usize(0..3)];
        let offer = Offer { auth, lf_only: random.bool(), starttls: false };
        let play = |pieces: Vec<&[u8]>| play(&settings, offer, pieces);
        let whole = play(vec![said.as_slice()]);
        assert_eq!(play(fragments), whole, "{}", said.escape_ascii());
        assert_eq!(play(said.chunks(1).collect()), whole, "{}", said.escape_ascii());
        let step = random.usize(2..20);
        assert_eq!(play(said.chunks(step).collect()), whole, "{}", said.escape_ascii());
        offered += whole.offered.len();
    }
    assert!(offered > 3_000, "most dialogues should get somewhere, {offered} messages did");
}

/// What a smuggler puts between two messages (reliability-security.md, section 3.2), all but the one that holds the end
/// of data.
const SMUGGLING: [&str; 12] = [
    "\n.\n",
    "\n.\r\n",
    "\r.\r\n",
    "\r.\r",
    "\n.\r",
    "\r.\n",
    "\r\n.\n",
    "\r\n.\r",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
];

/// In two segments, whatever the byte between them (case 47).
#[test]
fn no_smuggled_message_is_heard_wherever_it_is_cut() {
    let Settings { mut policy } = settings().as_ref().clone();
    policy.limits = Limits::default();
    let settings = Arc::new(Settings { policy });
    let smuggled = "MAIL FROM:<s@x>\r\nRCPT TO:<t@good>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";
    for sequence in SMUGGLING {
        let content = format!("Subject: x\r\n\r\nfirst{sequence}{smuggled}");
        let said = [BEGINNING, content.as_bytes()].concat();
        let whole = play(&settings, Offer::default(), [said.as_slice()]);
        assert_eq!(codes(&whole.replies), [220, 250, 250, 354, 451], "{}", sequence.escape_debug());
        for at in 0..=said.len() {
            let (first, second) = said.split_at(at);
            assert_eq!(
                play(&settings, Offer::default(), [first, second]),
                whole,
                "{}, cut at {at}",
                sequence.escape_debug()
            );
        }
    }
}

/// The one that holds it ends there for everybody, and what follows is a second message (case 46).
#[test]
fn the_end_of_data_ends_a_message_wherever_it_is_cut() {
    let settings = settings();
    let said = [BEGINNING, b"first\r\r\n.\r\n", BEGINNING, b"second\r\n.\r\n"].concat();
    for at in 0..=said.len() {
        let (first, second) = said.split_at(at);
        let seen = play(&settings, Offer::default(), [first, second]);
        assert_eq!(codes(&seen.replies), [220, 250, 250, 354, 451, 250, 250, 354, 451], "cut at {at}");
        assert_eq!(seen.offered.len(), 2, "cut at {at}");
        assert_eq!((&*seen.offered[0].1, &*seen.offered[1].1), (&b"first\r\r\n"[..], &b"second\r\n"[..]));
    }
}
