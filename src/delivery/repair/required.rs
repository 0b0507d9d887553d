//! What every header must have, made fit for Gmail (RFC 6409 §8 allows a submission server these changes, RFC 5322
//! §3.6 and gmail.md, section 6, say what is wanted): our `Received`, a date, an id, an author, what the body is.
//!
//! A value that had to go stays readable as `X-Original-…`.

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use super::body::Findings;
use super::fields::{CONTENT_TYPE, ENCODING};
use super::head::{Head, Repaired};
use super::structure::Entity;
use super::{Settings, sender};
use crate::mail::{Envelope, Message, Protocol, Submission, header};

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
    asked_for(&mut head, &message.submission.envelope);
    mime(&mut head, entity, body);
    head.finish(received(settings, message))
}

/// Shows whom the client asked for, where aliases or `redirect_all` made somebody else of it: the reader of a mailbox
/// that everything comes to wants to know. Not where some were asked for otherwise: they would learn of blind copies.
fn asked_for(head: &mut Head<'_>, envelope: &Envelope) {
    let Some((first, others)) = envelope.recipients.split_first() else { return };
    if others.iter().all(|other| other.originals == first.originals) {
        for original in &first.originals {
            let field = header::write("X-Original-To", &original.to_string());
            head.add(field, "said in X-Original-To whom the client asked for");
        }
    }
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
    let has_content = encode || raw || head.has_content_field();
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
