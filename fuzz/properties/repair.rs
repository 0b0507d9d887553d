//! Repair: whatever a client sent, Gmail gets a legal message, the same one each time, with the body that was sent.

use std::sync::Arc;

use memchr::memmem;
use smarthost::delivery::repair::{FromRule, Plan, Repair, Settings, Survey};
use smarthost::mail::header::{self, LINE_BYTES_MAX};
use smarthost::mail::stuffing::Stuffing;
use smarthost::mail::{
    Address, Client, Envelope, Message, MessageId, Protocol, Recipient, ReversePath, Submission, Timestamp,
};
use smarthost::policy::Pattern;
use smarthost::smtp::line::{Dots, LineEnd};

use super::{choices, cut};

/// What must be kept as it is, however long its lines are.
const SEALED: [&str; 3] = ["multipart/signed", "multipart/encrypted", "pkcs7-mime"];

pub fn holds(input: &[u8]) {
    let ([rules, seed], text) = choices(input);
    let case = Case::of(rules);
    let sent = case.repair(&[text]);
    let again = case.repair(&cut(text, seed));
    assert!(again.bytes == sent.bytes, "what is sent depends on the cut");
    assert_eq!(again.plan.changes, sent.plan.changes);
    sent.is_legal();
    sent.header_is_legal();
    sent.plan_is_true();
    cannot_end_itself(&sent.bytes);
    body_is_kept(text, &sent);
    case.stays_repaired(&sent);
}

/// One message and the settings it is repaired with. Each bit of the number is a choice.
#[derive(Debug)]
pub struct Case {
    settings: Settings,
    message: Message,
}

impl Case {
    #[must_use]
    pub fn of(rules: u8) -> Case {
        let chosen = |bit: u8| rules & (1 << bit) != 0;
        let settings = Settings {
            hostname: "relay.example.net".to_owned(),
            account_address: "Me@gmail.com".parse().unwrap(),
            from: if chosen(0) { FromRule::Keep } else { FromRule::Rewrite },
            send_as: if chosen(1) { vec![Pattern::Domain("example.com".to_owned())] } else { Vec::new() },
        };
        let sender: Address = "ups@example.com".parse().unwrap();
        let recipient: Address = "you@example.org".parse().unwrap();
        let submission = Submission {
            envelope: Envelope {
                reverse_path: if chosen(2) { ReversePath::Null } else { ReversePath::Mailbox(sender) },
                recipients: vec![Recipient::from(recipient)],
                smtputf8: false,
            },
            client: Client { helo: "nas.local".to_owned(), ip: Some([192, 0, 2, 5].into()), login: None },
            protocol: if chosen(3) { Protocol::Local } else { Protocol::Esmtp },
            account: "home".to_owned(),
            received: Timestamp::from_second(if chosen(4) { 1_000 } else { 1_768_471_200 }).unwrap(),
        };
        Case { settings, message: message(submission) }
    }

    /// Repairs a message that comes in these pieces.
    #[must_use]
    pub fn repair(&self, pieces: &[&[u8]]) -> Sent {
        let mut survey = Survey::new();
        for piece in pieces {
            survey.read(piece);
        }
        let plan = Arc::new(survey.finish(&self.settings, &self.message));
        let mut repair = Repair::new(Arc::clone(&plan));
        let mut bytes = Vec::new();
        for piece in pieces {
            repair.push(piece, &mut bytes);
        }
        repair.finish(&mut bytes);
        Sent { bytes, plan }
    }

    /// Repaired again, it gets a `Received` more and is otherwise the same.
    fn stays_repaired(&self, sent: &Sent) {
        let again = self.repair(&[&sent.bytes]).bytes;
        let received = header::entries(&again).next().map_or(0, <[u8]>::len);
        let rest = &again[received..];
        let first = rest.iter().zip(&sent.bytes).position(|(a, b)| a != b).unwrap_or(rest.len());
        let near = |text: &[u8]| {
            text[first.saturating_sub(100).min(text.len())..text.len().min(first + 100)].escape_ascii().to_string()
        };
        assert!(rest == sent.bytes, "it changes again:\n{}\n{}", near(&sent.bytes), near(rest));
    }
}

fn message(submission: Submission) -> Message {
    Message {
        id: MessageId::from_number(0x0123_4567_89ab_cdef),
        submission,
        size: 0,
        owed: Vec::new(),
        attempts: 0,
        patience_ms: 0,
        uncertain: false,
        content: None,
    }
}

/// What Gmail gets.
#[derive(Debug)]
pub struct Sent {
    pub bytes: Vec<u8>,
    pub plan: Arc<Plan>,
}

impl Sent {
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.bytes[..self.plan.header.len()]
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.plan.header.len()..]
    }

    /// Whether some part is signed or encrypted, by its words: then its lines may be of any length.
    fn is_sealed(&self) -> bool {
        let text = String::from_utf8_lossy(&self.bytes).to_lowercase();
        SEALED.iter().any(|kind| text.contains(kind))
    }

    /// RFC 5321 §2.3.8 and §4.5.3.1.6.
    fn is_legal(&self) {
        let bytes = &self.bytes;
        assert!(bytes.ends_with(b"\r\n") && !bytes.contains(&0));
        let any_length = self.is_sealed();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = line.strip_suffix(b"\r\n").expect("an LF stands behind a CR");
            assert!(!text.contains(&b'\r'), "a CR stands alone");
            assert!(any_length || text.len() <= LINE_BYTES_MAX, "a line has {} bytes", text.len());
        }
    }

    fn header_is_legal(&self) {
        let header = self.header();
        let block = header.strip_suffix(b"\r\n").expect("an empty line ends the header");
        assert!(memmem::find(block, b"\r\n\r\n").is_none(), "an empty line stands in the header");
        assert!(block.starts_with(b"Received: "));
        assert_eq!(block.is_ascii(), !self.plan.smtputf8);
        assert!(std::str::from_utf8(block).is_ok(), "the header is not UTF-8");
        let entries: Vec<&[u8]> = header::entries(block).collect();
        assert_eq!(entries.concat(), block);
        let fields: Vec<header::Field> = header::fields(block).collect();
        assert_eq!(fields.len(), entries.len(), "some line is no field");
        let lines = block.split_inclusive(|&byte| byte == b'\n');
        assert!(lines.into_iter().all(|line| line.len() <= LINE_BYTES_MAX + 2 && !line.trim_ascii().is_empty()));
        let count = |wanted: &str| fields.iter().filter(|field| field.is(wanted)).count();
        for once in ["From", "Date", "Message-ID"] {
            assert_eq!(count(once), 1, "{once} in\n{}", String::from_utf8_lossy(block));
        }
        for most_once in ["To", "Cc", "Subject", "Sender", "Reply-To", "MIME-Version", "Content-Type"] {
            assert!(count(most_once) <= 1, "{most_once}");
        }
        assert!(count("To") + count("Cc") > 0, "nobody is named");
        assert_eq!(count("Bcc") + count("Resent-Bcc") + count("Return-Path"), 0);
    }

    fn plan_is_true(&self) {
        assert_eq!(self.bytes[..self.plan.header.len()], self.plan.header);
        assert!(self.plan.eight_bit || self.bytes.is_ascii(), "8-bit octets are not announced");
        if !self.shortened() {
            assert_eq!(self.plan.size, self.bytes.len() as u64, "another size is announced");
        }
    }

    /// Whether some line of the body was too long.
    #[must_use]
    pub fn shortened(&self) -> bool {
        self.plan.changes.iter().any(|change| change.contains("long lines in the body"))
    }
}

/// The receiver finds the end where we put it, and nowhere before (reliability-security.md, section 3).
fn cannot_end_itself(content: &[u8]) {
    let mut wire = Stuffing::default().stuff(content);
    wire.extend_from_slice(b".\r\nQUIT\r\n");
    let mut received = Vec::new();
    let behind = Dots::behind(LineEnd::CrLf).unstuff(&wire, |run| received.extend_from_slice(run));
    assert_eq!(behind, Some(&b"QUIT\r\n"[..]), "the message ends itself");
    assert!(received == content);
    // Servers that take a bare LF for a line end, or a bare CR, find no end earlier either.
    let ends = memmem::find_iter(&wire, b"\n.\r").count() + memmem::find_iter(&wire, b"\n.\n").count();
    assert!(ends == 1 && memmem::find(&wire, b"\r.").is_none(), "some server would see an end");
}

/// Where no line was too long, the body is that of the sender in canonical lines, octet for octet.
fn body_is_kept(text: &[u8], sent: &Sent) {
    if sent.shortened() {
        return;
    }
    let canonical = canonical(text);
    assert!(canonical.ends_with(sent.body()), "the body is altered");
}

/// Line ends as `line_ends` promises them, in another way: with all of the text in view.
#[must_use]
pub fn canonical(text: &[u8]) -> Vec<u8> {
    // CR is a line end where there is no LF, but for one at the very end, which came with the end of the data.
    let cr_ends_lines = memchr::memchr(b'\n', text).is_none_or(|at| at + 1 == text.len());
    let text: Vec<u8> = text.iter().copied().filter(|&byte| byte != 0).collect();
    let mut out = Vec::new();
    let mut rest = text.as_slice();
    while let Some((&byte, behind)) = rest.split_first() {
        let crs = rest.iter().take_while(|&&byte| byte == b'\r').count();
        rest = match (crs, cr_ends_lines) {
            (0, _) if byte == b'\n' => {
                out.extend_from_slice(b"\r\n");
                behind
            }
            (0, _) => {
                out.push(byte);
                behind
            }
            (_, true) => {
                out.extend_from_slice(b"\r\n");
                behind.strip_prefix(b"\n").unwrap_or(behind)
            }
            (_, false) => match &rest[crs..] {
                [b'\n', behind @ ..] => {
                    out.extend_from_slice(b"\r\n");
                    behind
                }
                [] => {
                    out.extend_from_slice(b"\r\n");
                    &[]
                }
                behind => {
                    out.resize(out.len() + crs, b' ');
                    behind
                }
            },
        };
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}
