//! Where the header of a message ends, when the message does not say it properly.
//!
//! Guessing is for text that would otherwise be hidden from the reader: header fields show in no mail program, a
//! body does. The rules, in this order (legacy-clients.md, section 7):
//!
//! 1. A byte order mark in front, and a first line `From …` or `>From …` out of an mbox file, are dropped.
//! 2. A first line that cannot be a field: everything is body.
//! 3. The first empty line ends the header.
//! 4. A later line that cannot be a field, with a field known to mail behind it: a stray line in the header.
//!    With none behind it, the body begins here: somebody forgot the empty line.
//! 5. A block without any known field that no empty line ends, and what follows it, is text that looks like
//!    fields (`ERROR: disk full`), so everything is body.

use std::ops::Range;

use crate::mail::header::Field;

/// Fields by which a header is recognised; every `X-`, `Content-`, `List-` and `Resent-` field is another.
const KNOWN: [&str; 19] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Received",
    "Return-Path",
    "DKIM-Signature",
    "Importance",
    "Priority",
    "User-Agent",
    "Auto-Submitted",
];
const KNOWN_PREFIXES: [&str; 4] = ["X-", "Content-", "List-", "Resent-"];

/// Where the parts of a message stand, counted from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Border {
    /// The header, without the empty line.
    pub fields: Range<usize>,
    /// The first byte of the body.
    pub body_at: usize,
    /// What was done about it, for people.
    pub change: Option<&'static str>,
}

impl Border {
    fn new(fields: Range<usize>, body_at: usize, closed: bool) -> Border {
        let change = match (fields.start, closed) {
            (1.., _) => Some("left out an mbox line or a byte order mark in front"),
            (0, false) => Some("separated header and body, which came without an empty line between them"),
            (0, true) => None,
        };
        Border { fields, body_at, change }
    }
}

/// Whether a message that begins with this line has a header at all.
#[must_use]
pub fn may_begin_header(first_line: &[u8]) -> bool {
    let line = first_line.get(mark_length(first_line)..).unwrap_or_default();
    line.is_empty() || is_mbox_line(line) || Field::parse(line).is_some()
}

/// Finds the border in the beginning of a message: all of it up to the first empty line, or to its end, in
/// canonical lines.
#[must_use]
pub fn find(block: &[u8]) -> Border {
    let start = beginning(block);
    let mut known = false;
    let mut stray = None;
    let mut at = start;
    let mut closed_at = None;
    for line in block.get(start..).unwrap_or_default().split_inclusive(|&byte| byte == b'\n') {
        let Some(content) = line.strip_suffix(b"\r\n") else {
            stray = stray.or(Some(at));
            break;
        };
        if content.is_empty() {
            closed_at = Some(at);
            break;
        }
        let continues = at > start && matches!(content.first(), Some(b' ' | b'\t'));
        match Field::parse(line) {
            _ if continues => {}
            Some(field) if is_known(field.name) => (known, stray) = (true, None),
            Some(_) => {}
            None if at == start => return Border::new(start..start, start, false),
            None => stray = stray.or(Some(at)),
        }
        at += line.len();
    }
    match (stray, closed_at) {
        (None, Some(end)) => Border::new(start..end, end + 2, true),
        _ if !known => Border::new(start..start, start, false),
        (Some(end), _) => Border::new(start..end, end, false),
        (None, None) => Border::new(start..at, at, false),
    }
}

fn is_known(name: &str) -> bool {
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) || KNOWN_PREFIXES.iter().any(begins)
}

/// Where the first line stands that counts.
fn beginning(block: &[u8]) -> usize {
    let mark = mark_length(block);
    let rest = block.get(mark..).unwrap_or_default();
    let line = rest.get(..memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)).unwrap_or_default();
    mark + if is_mbox_line(line) { line.len() } else { 0 }
}

fn mark_length(block: &[u8]) -> usize {
    if block.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

fn is_mbox_line(line: &[u8]) -> bool {
    (line.starts_with(b"From ") || line.starts_with(b">From ")) && Field::parse(line).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_loses_no_text() {
        for (message, header, body) in [
            ("Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n", "body\r\n"),
            ("Foo: x\r\n\r\nbody\r\n", "Foo: x\r\n", "body\r\n"),
            ("\r\nbody\r\n", "", "body\r\n"),
            ("disk full\r\n", "", "disk full\r\n"),
            (" Subject: x\r\n\r\n", "", " Subject: x\r\n\r\n"),
            ("ERROR: disk full\r\n", "", "ERROR: disk full\r\n"),
            ("ERROR: disk full\r\non nas\r\n\r\nx\r\n", "", "ERROR: disk full\r\non nas\r\n\r\nx\r\n"),
            ("Subject: x\r\nTo: y\r\n", "Subject: x\r\nTo: y\r\n", ""),
            ("Subject: x\r\nHello,\r\n\r\nyou\r\n", "Subject: x\r\n", "Hello,\r\n\r\nyou\r\n"),
            ("Subject: x\r\nstray\r\nTo: y\r\n\r\nb\r\n", "Subject: x\r\nstray\r\nTo: y\r\n", "b\r\n"),
            ("From a@b Mon\r\nSubject: x\r\n\r\nb\r\n", "Subject: x\r\n", "b\r\n"),
            (">From a@b Mon\r\ntext\r\n", "", "text\r\n"),
            ("From : a@b\r\n\r\nb\r\n", "From : a@b\r\n", "b\r\n"),
            ("\u{feff}Subject: x\r\n\r\nb\r\n", "Subject: x\r\n", "b\r\n"),
            ("Subject: x\r\n folded\r\n \r\nb\r\n", "Subject: x\r\n folded\r\n \r\n", "b\r\n"),
            ("", "", ""),
        ] {
            let border = find(message.as_bytes());
            assert_eq!((&message[border.fields.clone()], &message[border.body_at..]), (header, body), "{message:?}");
        }
    }
}
