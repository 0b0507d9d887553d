//! The conversation with a client: the way in which bytes are cut is never seen, replies are whole and legal, and
//! nothing is handed to the store that breaks a limit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use smarthost::mail::{Address, Refusal, Submission, Timestamp};
use smarthost::policy::{AliasKey, Limits, Pattern, Policy, Recipients, Routes};
use smarthost::smtp::{Action, Auth, FURTHER_PIECE_BYTES, Input, Offer, Session, Settings};
use smarthost::spool::sqlite::SqliteSpool;
use smarthost::spool::{Accepted, Content, Spool};

use super::{assert_printable, choices, cut, folder};

pub fn holds(input: &[u8]) {
    let ([rules, answers, seed, offered], said) = choices(input);
    let offer = offer(offered);
    let settings = settings(rules);
    let whole = play(&settings, offer, answers, &[said]);
    whole.is_legal(&settings.policy.limits);
    assert_eq!(play(&settings, offer, answers, &cut(said, seed)), whole, "the cut is seen");
    assert_eq!(play(&settings, offer, answers, &said.chunks(1).collect::<Vec<_>>()), whole, "the cut is seen");
}

/// What the listener offers; STARTTLS only to a client far away, who must not log in without it.
fn offer(choice: u8) -> Offer {
    let auth = [Auth::Off, Auth::Any, Auth::Required, Auth::Required][usize::from(choice % 4)];
    Offer { auth, lf_only: choice & 4 != 0, starttls: choice & 8 != 0 }
}

/// Small limits, so that short inputs reach them. Each bit of `rules` is a choice.
fn settings(rules: u8) -> Arc<Settings> {
    let chosen = |bit: u8| rules & (1 << bit) != 0;
    let limits = Limits {
        command_bytes: if chosen(0) { 60 } else { 510 },
        message_bytes: if chosen(1) { 150 } else { 1_000_000 },
        header_bytes: if chosen(2) { 100 } else { 10_000 },
        hops: 2,
        errors: if chosen(3) { 2 } else { 20 },
        recipients: if chosen(4) { 3 } else { 100 },
        ..Limits::default()
    };
    let root: Address = "root@example.com".parse().unwrap();
    let recipients = Recipients {
        default_domain: chosen(5).then(|| "example.com".into()),
        alias: BTreeMap::from([(AliasKey::Local("root".into()), vec![root.clone()])]),
        redirect_all: chosen(6).then_some(root),
        allow: if chosen(7) { vec![Pattern::Domain("example.com".into())] } else { vec![Pattern::Everybody] },
    };
    Arc::new(Settings {
        policy: Policy { hostname: "relay.test".into(), limits, recipients, routes: Routes::only("home") },
    })
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Everything that a client and the store see of a session.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    replies: String,
    offered: Vec<(Submission, Vec<u8>)>,
    log: Vec<(Refusal, String)>,
    closed: bool,
    pieces: Vec<u8>,
    offers_tls: bool,
    checks_logins: bool,
}

/// Two bits of `answers` are what the store says to one message, in turn.
fn play(settings: &Arc<Settings>, offer: Offer, answers: u8, pieces: &[&[u8]]) -> Seen {
    let (mut session, greeting) = Session::new(Arc::clone(settings), offer, Some(CLIENT));
    let checks_logins = offer.auth == Auth::Required;
    let mut seen = Seen { offers_tls: offer.starttls, checks_logins, ..Seen::default() };
    seen.carry_out(&mut session, answers, greeting);
    for piece in pieces {
        let actions = session.advance(Timestamp::UNIX_EPOCH, Input::Bytes(piece));
        seen.carry_out(&mut session, answers, actions);
    }
    let last = session.advance(Timestamp::UNIX_EPOCH, if answers & 1 == 0 { Input::Silence } else { Input::Stop });
    seen.carry_out(&mut session, answers, last);
    assert!(seen.closed, "neither silence nor the end of the relay ends a session");
    seen
}

impl Seen {
    fn carry_out(&mut self, session: &mut Session, answers: u8, mut actions: Vec<Action>) {
        while !actions.is_empty() {
            let mut answer = None;
            let mut sent = false;
            for action in actions {
                assert!(!self.closed && answer.is_none(), "nothing comes behind {action:?}");
                let was_sent = std::mem::replace(&mut sent, matches!(action, Action::Send(_)));
                assert!(!(was_sent && sent), "replies leave in one piece");
                answer = self.carry_out_one(action, answers);
            }
            actions = match answer {
                Some(Asked::Store(answer)) => self.answer(session, answer),
                Some(Asked::Login(answer)) => session.advance(Timestamp::UNIX_EPOCH, Input::Verified(answer)),
                None => Vec::new(),
            };
        }
    }

    /// Returns what is answered, once something is asked. An action that is new here belongs into this `match`.
    fn carry_out_one(&mut self, action: Action, answers: u8) -> Option<Asked> {
        match action {
            Action::Send(replies) => self.replies.push_str(str::from_utf8(&replies).expect("replies are UTF-8")),
            Action::Append(piece) => {
                assert!(piece.len() <= FURTHER_PIECE_BYTES);
                self.pieces.extend_from_slice(&piece);
            }
            Action::Discard => self.pieces.clear(),
            Action::Log { refusal, command } => self.log.push((refusal, command)),
            // It never ends here: what follows came in the clear, wherever it is cut.
            Action::Encrypt => assert!(self.offers_tls, "TLS is not offered here"),
            Action::Verify(credentials) => {
                assert!(self.checks_logins, "nobody has to log in here");
                let is_right = credentials.name.len() % 2 == 1;
                return Some(Asked::Login(is_right.then_some(()).ok_or(Refusal::LoginFailed(credentials.name))));
            }
            Action::Close(_) => self.closed = true,
            Action::Store { submission, rest } => {
                assert!(rest.len() <= FURTHER_PIECE_BYTES);
                let content = [std::mem::take(&mut self.pieces), rest.to_vec()].concat();
                let turn = u8::try_from(self.offered.len() % 4).unwrap();
                self.offered.push((*submission, content));
                return Some(Asked::Store(Answer::of(answers >> (2 * turn))));
            }
        }
        None
    }

    fn answer(&mut self, session: &mut Session, answer: Answer) -> Vec<Action> {
        let submission = &self.offered.last().expect("something was offered").0;
        let stored = match answer {
            Answer::Takes | Answer::TakesLate => Ok(accepted(submission)),
            Answer::IsFull => Err(Refusal::SpoolFull("5 MiB free".into())),
            Answer::Fails => Err(Refusal::SpoolFailed("disk I/O error".into())),
        };
        if answer == Answer::TakesLate {
            let early = session.advance(Timestamp::UNIX_EPOCH, Input::Silence);
            assert_eq!(early, [], "while the store is asked, it is us who are silent");
            let early = session.advance(Timestamp::UNIX_EPOCH, Input::Stop);
            assert_eq!(early, [], "the answer of the store comes first");
        }
        let id = stored.as_ref().ok().map(|accepted| accepted.id().to_string());
        let mut actions = session.advance(Timestamp::UNIX_EPOCH, Input::Stored(stored));
        if let Some(id) = id {
            hide_id(&mut actions, &id);
        }
        actions
    }

    fn is_legal(&self, limits: &Limits) {
        let lines: Vec<&str> = self.replies.split_inclusive("\r\n").collect();
        for line in &lines {
            assert!(line.len() <= 512, "RFC 5321 §4.5.3.1.5: {line}");
            let text = line.strip_suffix("\r\n").expect("replies are whole lines");
            assert_printable(text);
            assert!(text.as_bytes()[..3].iter().all(u8::is_ascii_digit) && [b' ', b'-'].contains(&text.as_bytes()[3]));
        }
        let refusals = lines.iter().filter(|line| line.starts_with(['4', '5'])).count();
        assert_eq!(refusals, self.log.len(), "each refusal is logged once: {}", self.replies);
        for (refusal, command) in &self.log {
            assert_printable(command);
            assert_printable(&refusal.to_string());
        }
        for (submission, content) in &self.offered {
            let recipients = &submission.envelope.recipients;
            assert!((1..=limits.recipients).contains(&recipients.len()));
            assert!(
                recipients
                    .iter()
                    .enumerate()
                    .all(|(place, one)| { recipients[..place].iter().all(|other| other.address != one.address) })
            );
            assert!(content.len() as u64 <= limits.message_bytes);
            assert!(content.is_empty() || content.ends_with(b"\n"), "content ends within a line");
            assert!(submission.client.helo.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

/// What a session waits for.
enum Asked {
    Store(Answer),
    Login(Result<(), Refusal>),
}

/// What the store says to one message.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Takes,
    /// And the relay is told to stop meanwhile.
    TakesLate,
    IsFull,
    Fails,
}

impl Answer {
    fn of(bits: u8) -> Answer {
        [Answer::Takes, Answer::Fails, Answer::IsFull, Answer::TakesLate][usize::from(bits % 4)]
    }
}

/// Ids differ from one message to the next.
fn hide_id(actions: &mut [Action], id: &str) {
    for action in actions {
        if let Action::Send(replies) = action {
            let text = String::from_utf8_lossy(replies).replacen(id, "ID", 1);
            *replies = text.into_bytes();
        }
    }
}

/// Messages after which a new store is begun, so that none grows without bounds.
const STORE_MESSAGES_MAX: usize = 20_000;

/// Only a store makes the proof that a message is stored, so there is one, in memory where that can be had.
struct Store {
    spool: SqliteSpool,
    messages: usize,
    _folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Store {
    fn new() -> Store {
        let folder = folder();
        let spool = SqliteSpool::open(folder.path(), Timestamp::UNIX_EPOCH).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Store { spool, messages: 0, _folder: folder, runtime }
    }
}

thread_local! {
    static STORE: RefCell<Option<Store>> = const { RefCell::new(None) };
}

fn accepted(submission: &Submission) -> Accepted {
    STORE.with_borrow_mut(|store| {
        store.take_if(|store| store.messages >= STORE_MESSAGES_MAX);
        let store = store.get_or_insert_with(Store::new);
        store.messages += 1;
        let content = Content::Memory(Bytes::from_static(b"x\r\n"));
        store.runtime.block_on(store.spool.accept(submission.clone(), content)).expect("the store takes it")
    })
}
