//! The header of a message under repair: its fields, as they may be changed.
//!
//! Fields keep their order and, where nothing is wrong with them, their bytes. What is added stands on top.

use std::borrow::Cow;

use super::fields::{self, CONTENT_TYPE, ENCODING, Tidy};
use super::mailboxes;
use crate::mail::header::{self, Field};

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

impl<'a> Head<'a> {
    /// Takes the fields that may stay, and makes each of them legal.
    pub fn read(block: &'a [u8]) -> Head<'a> {
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

    /// Whether some field describes the body (RFC 2045 §3).
    pub fn has_content_field(&self) -> bool {
        let is_content = |name: &str| name.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("Content-"));
        self.lines.iter().any(|line| is_content(&line.name))
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
    pub fn merge(&mut self, name: &str, invalid: &'static str) {
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

    /// The header as it is sent, our `Received` first, with the empty line behind it.
    pub fn finish(self, received: Vec<u8>) -> Repaired {
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
