//! One header field made legal: ASCII, no line too long, no line of blanks.
//!
//! A field that is legal keeps its bytes, since signatures cover them. What a field means decides how it may be
//! written: free text can be encoded, an address or an identifier cannot. A structured field that cannot be made
//! legal stays readable as `X-Invalid-…`, free text.

use std::borrow::Cow;

use super::mailboxes;
use super::parameters::Parameterised;
use super::structure::may_be_encoding;
use crate::mail::header::{self, Field, FieldWriter, WORD_BYTES_MAX};

pub const ENCODING: &str = "Content-Transfer-Encoding";
pub const CONTENT_TYPE: &str = "Content-Type";

const ADDRESSES: [&str; 11] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Disposition-Notification-To",
    "Return-Receipt-To",
];
const STRUCTURED: [&str; 15] = [
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    ENCODING,
    "Content-ID",
    "Received",
    "DKIM-Signature",
    "Authentication-Results",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
    "Resent-Date",
    "Resent-Message-ID",
];

/// What a field's value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Addresses,
    ContentType,
    Disposition,
    Structured,
}

impl Shape {
    fn of(name: &str) -> Shape {
        let is_in = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        match () {
            () if is_in(&ADDRESSES) => Shape::Addresses,
            () if is_in(&[CONTENT_TYPE]) => Shape::ContentType,
            () if is_in(&["Content-Disposition"]) => Shape::Disposition,
            () if is_in(&STRUCTURED) => Shape::Structured,
            () => Shape::Text,
        }
    }
}

/// A field that is legal now.
#[derive(Debug)]
pub struct Tidy<'a> {
    pub name: Cow<'a, str>,
    pub bytes: Cow<'a, [u8]>,
    /// What was wrong with it.
    pub change: Option<&'static str>,
}

/// Makes one entry of a header legal.
#[must_use]
pub fn tidy(entry: &[u8]) -> Tidy<'_> {
    let Some(field) = Field::parse(entry) else {
        let line: Vec<u8> = entry.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        return invalid("Header", &header::decode(&line), "kept a line that is no header field as X-Invalid-Header");
    };
    let shape = Shape::of(field.name);
    let change = match fault(&field, shape) {
        None => return Tidy { name: field.name.into(), bytes: entry.into(), change: None },
        Some(Fault::Blanks) => return without_blanks(&field),
        Some(Fault::Raw) => "encoded raw characters in the header",
        Some(Fault::Boundary) => "put the boundary in quotes",
        Some(Fault::Long) => "folded a long header line",
        Some(Fault::NoType) => "kept a Content-Type that is none as X-Invalid-Content-Type",
        Some(Fault::NoEncoding) => {
            let change = "kept a Content-Transfer-Encoding that is none as X-Invalid-Content-Transfer-Encoding";
            return invalid(field.name, &field.text(), change);
        }
    };
    match rewrite(&field, shape) {
        Some(bytes) => Tidy { name: field.name.into(), bytes: bytes.into(), change: Some(change) },
        None if change == "folded a long header line" => {
            invalid(field.name, &field.text(), "kept a header field that cannot be folded as X-Invalid")
        }
        None => invalid(field.name, &field.text(), change),
    }
}

fn invalid<'a>(name: &str, text: &str, change: &'static str) -> Tidy<'a> {
    let name = format!("X-Invalid-{name}");
    let bytes = header::write(&name, text).into();
    Tidy { name: name.into(), bytes, change: Some(change) }
}

enum Fault {
    /// Blanks before the colon, or a line of blanks only.
    Blanks,
    Raw,
    Long,
    Boundary,
    NoType,
    NoEncoding,
}

fn fault(field: &Field<'_>, shape: Shape) -> Option<Fault> {
    let is_raw = match shape {
        Shape::Addresses => !field.raw.is_ascii() && !may_stay_raw(field),
        _ => !field.raw.is_ascii(),
    };
    if shape == Shape::ContentType && !field.text().is_empty() {
        match Parameterised::parse(&field.text(), true) {
            None => return Some(Fault::NoType),
            Some(content) if content.has_bare_boundary() => return Some(Fault::Boundary),
            Some(_) => {}
        }
    }
    match () {
        () if field.is(ENCODING) && !may_be_encoding(&field.text()) => Some(Fault::NoEncoding),
        () if is_raw => Some(Fault::Raw),
        () if header::has_long_line(field.raw) => Some(Fault::Long),
        () if field.raw.get(field.name.len()) != Some(&b':') || continuations(field).any(is_blank) => {
            Some(Fault::Blanks)
        }
        () => None,
    }
}

/// Raw UTF-8 may stay in an address: nothing else can stand for it (RFC 6531 §3.7.1).
fn may_stay_raw(field: &Field<'_>) -> bool {
    std::str::from_utf8(field.value).is_ok() && mailboxes::only_addresses_are_raw(&field.text())
}

fn continuations<'a>(field: &Field<'a>) -> impl Iterator<Item = &'a [u8]> {
    field.value.split_inclusive(|&byte| byte == b'\n').skip(1)
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

fn without_blanks<'a>(field: &Field<'a>) -> Tidy<'a> {
    let first = field.value.split_inclusive(|&byte| byte == b'\n').take(1);
    let mut bytes = [field.name.as_bytes(), b":"].concat();
    first.chain(continuations(field).filter(|line| !is_blank(line))).for_each(|line| bytes.extend_from_slice(line));
    Tidy { name: field.name.into(), bytes: bytes.into(), change: Some("removed stray blanks from the header") }
}

/// The field written anew; `None` where that is not possible.
fn rewrite(field: &Field<'_>, shape: Shape) -> Option<Vec<u8>> {
    let text = field.text();
    match shape {
        Shape::Text => Some(header::write(field.name, &text)),
        Shape::Addresses => mailboxes::write(field.name, &text),
        Shape::ContentType | Shape::Disposition => {
            Some(Parameterised::parse(&text, shape == Shape::ContentType)?.write(field.name))
        }
        Shape::Structured if !text.is_ascii() => Some(header::write(field.name, &text)),
        Shape::Structured => {
            let mut written = FieldWriter::new(field.name);
            header::words(&text).all(|(_, word)| word.len() <= WORD_BYTES_MAX).then(|| written.words(&text))?;
            Some(written.finish())
        }
    }
}
