//! The header of a message, made fit for Gmail (RFC 6409 §8 allows a submission server these changes, RFC 5322
//! §3.6 and gmail.md, section 6, say what is wanted).
//!
//! Fields keep their order and, where nothing is wrong with them, their bytes. What is added stands on top: our
//! `Received` first. A value that had to go stays readable as `X-Original-…`.

use std::borrow::Cow;

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use super::body::Findings;
use super::fields::{self, CONTENT_TYPE, ENCODING, Tidy};
use super::structure::Entity;
use super::{Settings, mailboxes, sender};
use crate::mail::header::{self, Field};
use crate::mail::{Message, Protocol, Submission};

/// Fields that may stand once (RFC 5322 §3.6, RFC 2045). `From`, `To` and `Cc` have rules of their own.
const ONCE: [&str; 10] = [
    "Date",
    "Sender",
    "Reply-To",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "MIME-Version",
    CONTENT_TYPE,
    ENCODING,
];
/// Fields that mean nothing, or harm, when they are empty.
const NEVER_EMPTY: [&str; 12] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    CONTENT_TYPE,
    ENCODING,
];
/// Gmail takes no longer ones (gmail.md, section 6).
const MESSAGE_ID_BYTES_MAX: usize = 500;
/// Longer values are no dates.
const DATE_BYTES_MAX: usize = 100;
/// A clock that says less has not been set (legacy-clients.md, section 7): 2000-01-01 for theirs, 2020-01-01 for
/// ours.
const SENDER_CLOCK_MIN: Timestamp = Timestamp::constant(946_684_800, 0);
const OUR_CLOCK_MIN: Timestamp = Timestamp::constant(1_577_836_800, 0);
/// How far a sender's clock may be ahead of ours.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The header being repaired.
#[derive(Debug, Default)]
pub struct Head<'a> {
    lines: Vec<Line<'a>>,
    added: Vec<Vec<u8>>,
    changes: Vec<&'static str>,
}

#[derive(Debug)]
struct Line<'a> {
    name: Cow<'a, str>,
    bytes: Cow<'a, [u8]>,
}

impl Line<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn text(&self) -> String {
        Field::parse(&self.bytes).map(|field| field.text()).unwrap_or_default()
    }
}

/// The repaired header with its empty line, and what was done to it.
#[derive(Debug)]
pub struct Repaired {
    pub bytes: Vec<u8>,
    pub changes: Vec<&'static str>,
}

/// Repairs `block`, the header as received in canonical lines.
#[must_use]
pub fn repair(block: &[u8], entity: &Entity, body: &Findings, settings: &Settings, message: &Message) -> Repaired {
    let mut head = Head::read(block);
    head.merge("To", "X-Invalid-To");
    head.merge("Cc", "X-Invalid-Cc");
    date(&mut head, message.submission.received);
    message_id(&mut head, settings, message);
    sender::settle(&mut head, settings, &message.submission.envelope);
    if !head.has("To") && !head.has("Cc") {
        head.add(b"To: undisclosed-recipients:;\r\n".to_vec(), "said that the recipients are not disclosed");
    }
    mime(&mut head, entity, body);
    head.finish(received(settings, message))
}

impl<'a> Head<'a> {
    /// Takes the fields that may stay, and makes each of them legal.
    fn read(block: &'a [u8]) -> Head<'a> {
        let mut head = Head::default();
        let mut seen = [false; ONCE.len()];
        for entry in header::entries(block) {
            if let Some(change) = Field::parse(entry).and_then(|field| unwanted(&field, &mut seen)) {
                head.note(change);
                continue;
            }
            let Tidy { name, bytes, change } = fields::tidy(entry);
            if let Some(change) = change {
                head.note(change);
            }
            head.lines.push(Line { name, bytes });
        }
        head
    }

    /// Remembers what was done, for `queue show`.
    pub fn note(&mut self, change: &'static str) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// Puts a field on top, below those added before.
    pub fn add(&mut self, field: Vec<u8>, change: &'static str) {
        self.note(change);
        self.added.push(field);
    }

    /// Whether the field is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.is(name))
    }

    /// The values of all fields of this name.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = String> {
        self.lines.iter().filter(move |line| line.is(name)).map(Line::text)
    }

    /// Takes out all fields of this name.
    pub fn remove(&mut self, name: &str) {
        self.lines.retain(|line| !line.is(name));
    }

    /// Puts `field` in the place of the first field of this name.
    pub fn replace(&mut self, name: &str, field: Vec<u8>) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.is(name)) {
            line.bytes = field.into();
        }
    }

    /// Keeps the fields of this name under another one, where they are free text.
    pub fn keep_as(&mut self, original: &'static str, name: &str) {
        for line in self.lines.iter_mut().filter(|line| line.is(name)) {
            line.bytes = header::write(original, &line.text()).into();
            line.name = original.into();
        }
    }

    /// Makes one field of several. What cannot be a list of addresses is kept as `invalid`.
    fn merge(&mut self, name: &str, invalid: &'static str) {
        let texts: Vec<String> = self.texts(name).collect();
        if texts.len() < 2 {
            return;
        }
        let Some(merged) = mailboxes::write(name, &texts.join(", ")) else {
            return self.keep_as(invalid, name);
        };
        let mut first = true;
        self.lines.retain(|line| !line.is(name) || std::mem::take(&mut first));
        self.replace(name, merged);
        self.note("merged doubled recipient fields");
    }

    fn finish(self, received: Vec<u8>) -> Repaired {
        let mut bytes = received;
        self.added.iter().for_each(|field| bytes.extend_from_slice(field));
        self.lines.iter().for_each(|line| bytes.extend_from_slice(&line.bytes));
        bytes.extend_from_slice(b"\r\n");
        Repaired { bytes, changes: self.changes }
    }
}

/// Why a field is left out.
fn unwanted(field: &Field<'_>, seen: &mut [bool; ONCE.len()]) -> Option<&'static str> {
    if field.is("Bcc") || field.is("Resent-Bcc") {
        return Some("left out Bcc");
    }
    if field.is("Return-Path") {
        return Some("left out Return-Path, which is for the last server to write");
    }
    if NEVER_EMPTY.iter().any(|name| field.is(name)) && field.text().is_empty() {
        return Some("left out an empty field");
    }
    let place = ONCE.iter().position(|name| field.is(name))?;
    let seen = seen.get_mut(place)?;
    std::mem::replace(seen, true).then_some("left out the second of a field that may stand once")
}

/// `Received` as RFC 5321 §4.4 wants it. Without the recipient: others would learn of blind copies.
fn received(settings: &Settings, message: &Message) -> Vec<u8> {
    let Submission { client, protocol, received, .. } = &message.submission;
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    let usable = (1..=255).contains(&client.helo.len()) && is_name(&client.helo);
    let helo = if usable { &client.helo } else { "unknown" };
    let from = match client.ip.map(|ip| ip.to_canonical()) {
        _ if *protocol == Protocol::Local => String::new(),
        None => format!("from {helo}\r\n\t"),
        Some(std::net::IpAddr::V4(ip)) => format!("from {helo} ([{ip}])\r\n\t"),
        Some(std::net::IpAddr::V6(ip)) => format!("from {helo} ([IPv6:{ip}])\r\n\t"),
    };
    let (hostname, with, id) = (&settings.hostname, protocol.as_str(), message.id);
    format!("Received: {from}by {hostname} with {with} id {id};\r\n\t{}\r\n", date_text(*received)).into_bytes()
}

/// RFC 5322 §3.3.
fn date_text(time: Timestamp) -> String {
    let time = time.max(Timestamp::UNIX_EPOCH).to_zoned(jiff::tz::TimeZone::UTC);
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn date(head: &mut Head<'_>, received: Timestamp) {
    let change = match head.texts("Date").next().map(|text| date_parse(&text)) {
        None => "added the missing Date",
        Some(None) => "replaced a Date that is none",
        Some(Some(date)) if is_believable(date, received) => return,
        Some(Some(_)) => "replaced a Date from a clock that is wrong",
    };
    head.keep_as("X-Original-Date", "Date");
    head.add(format!("Date: {}\r\n", date_text(received)).into_bytes(), change);
}

/// Where our own clock has not been set either, theirs is as good.
fn is_believable(date: Timestamp, received: Timestamp) -> bool {
    let ahead = date.duration_since(received) > AHEAD_MAX;
    received < OUR_CLOCK_MIN || date >= SENDER_CLOCK_MIN && !ahead
}

/// Reads a date the way mail programs do, not the way RFC 5322 asks.
fn date_parse(text: &str) -> Option<Timestamp> {
    if text.len() > DATE_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    let strict = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok();
    strict.or_else(|| {
        // The lenient parser counts through the years.
        let is_sane = text.split(|c: char| !c.is_ascii_digit()).all(|number| number.len() <= 4);
        let seconds = is_sane.then(|| mailparse::dateparse(text).ok())??;
        Timestamp::from_second(seconds).ok()
    })
}

fn message_id(head: &mut Head<'_>, settings: &Settings, message: &Message) {
    let change = match head.texts("Message-ID").next() {
        None => "added the missing Message-ID",
        Some(text) if is_message_id(&text) => return,
        Some(_) => "replaced an invalid Message-ID",
    };
    head.keep_as("X-Original-Message-ID", "Message-ID");
    head.add(format!("Message-ID: <{}@{}>\r\n", message.id, settings.hostname).into_bytes(), change);
}

/// What Gmail leaves as it is (gmail.md, section 6).
fn is_message_id(text: &str) -> bool {
    let inside = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let is_plain = |part: &str| {
        let fits = part.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'@'));
        fits && !part.is_empty() && !part.ends_with('.')
    };
    text.len() <= MESSAGE_ID_BYTES_MAX
        && inside.and_then(|inside| inside.split_once('@')).is_some_and(|(id, host)| is_plain(id) && is_plain(host))
}

/// Says what the body is, where the message does not (RFC 2045).
fn mime(head: &mut Head<'_>, entity: &Entity, body: &Findings) {
    let encode = body.parts.first() == Some(&0) && *entity == Entity::Leaf(super::long_lines::Remedy::Encode);
    let raw = body.raw_charset.is_some() && !encode;
    let is_content = |name: &str| name.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("Content-"));
    let has_content = encode || raw || head.lines.iter().any(|line| is_content(&line.name));
    if has_content && !head.has("MIME-Version") {
        head.add(b"MIME-Version: 1.0\r\n".to_vec(), "added the missing MIME-Version");
    }
    if (encode || raw) && !head.has(CONTENT_TYPE) {
        let charset = body.raw_charset.unwrap_or("utf-8");
        let field = format!("{CONTENT_TYPE}: text/plain; charset={charset}\r\n");
        head.add(field.into_bytes(), "said in which charset the text is");
    }
    if encode {
        head.remove(ENCODING);
        let change = "encoded the text as quoted-printable, because a line was too long";
        head.add(header::write(ENCODING, "quoted-printable"), change);
    } else if raw && !head.has(ENCODING) {
        head.add(header::write(ENCODING, "8bit"), "said that the text is 8-bit");
    }
}
