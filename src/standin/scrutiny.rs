//! The strict reader: what Gmail refuses a message for, and what RFC 5322 forbids besides.
//!
//! Pure. Everything that the relay promises to repair is refused here, so a message that passes proves the repair.

use std::borrow::Cow;

use mailparse::MailAddr;

use super::content::{Content, Flaw, HEADER_BYTES_MAX};
use super::words;
use crate::mail::Address;

/// RFC 5322 §3.6: at most one of each.
const ONCE_ONLY: [&str; 11] =
    ["From", "Sender", "Reply-To", "To", "Cc", "Message-ID", "In-Reply-To", "References", "Subject", "Date", "Bcc"];
/// gmail.md, section 6: header limits and hops.
const FIELDS_MAX: usize = 5000;
const SUBJECT_BYTES_MAX: usize = 998;
const MESSAGE_ID_BYTES_MAX: usize = 500;
const HOPS_MAX: usize = 50;

/// What the client asked for in MAIL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
}

/// Judges a complete message.
///
/// # Errors
/// Gmail's words for the first thing that is wrong with it.
pub(super) fn judge(content: &Content, asked: Asked) -> Result<(), Cow<'static, str>> {
    if content.is_too_large() {
        return Err(words::TOO_LARGE.into());
    }
    let what = match content.flaw() {
        Some(Flaw::BareCr) => "A CR stands without its LF",
        Some(Flaw::BareLf) => "An LF stands without its CR",
        Some(Flaw::Nul) => "There is a NUL character",
        Some(Flaw::LongLine) => "A line is too long",
        None if content.is_eight_bit() && !asked.eight_bit => "There is 8-bit content without BODY=8BITMIME",
        None => return judge_header(content.header(), asked),
    };
    Err(words::not_compliant(what).into())
}

fn judge_header(header: &[u8], asked: Asked) -> Result<(), Cow<'static, str>> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(words::HEADER_TOO_LARGE.into());
    }
    let refuse = |what: &str| Err(words::not_compliant(what).into());
    let text = match std::str::from_utf8(header) {
        Ok(text) if asked.smtputf8 || text.is_ascii() => text,
        Ok(_) => return refuse("There are Unicode characters in a header without SMTPUTF8"),
        Err(_) => return refuse("A header is not UTF-8"),
    };
    let fields = Fields::read(text).ok_or(words::MALFORMED)?;
    if let Some(name) = fields.named_twice() {
        return refuse(&format!("There are multiple {name} headers"));
    }
    if fields.count > FIELDS_MAX || fields.first("Subject").is_some_and(|subject| subject.len() > SUBJECT_BYTES_MAX) {
        return Err(words::HEADER_TOO_LARGE.into());
    }
    if fields.hops > HOPS_MAX {
        return Err(words::TOO_MANY_HOPS.into());
    }
    if fields.first("Bcc").is_some() {
        return refuse("The Bcc header must not be sent");
    }
    match fields.first("From").map(senders) {
        None => return refuse("'From' header is missing"),
        Some(0) => return refuse("'From' header has non compliant address"),
        Some(1) => {}
        Some(_) => return refuse("Messages with multiple addresses in From: header are not accepted"),
    }
    if !fields.first("Message-ID").is_some_and(is_message_id) {
        return refuse("Messages missing a valid Message-ID header are not accepted");
    }
    if fields.first("Date").is_none() {
        return refuse("'Date' header is missing");
    }
    Ok(())
}

/// The fields of a header that something depends on.
struct Fields<'a> {
    /// The first value of each of [`ONCE_ONLY`], and how often it was named.
    once_only: [(Option<&'a str>, usize); ONCE_ONLY.len()],
    count: usize,
    /// `Received` fields.
    hops: usize,
}

impl<'a> Fields<'a> {
    /// `None` where a line is neither a field nor the rest of one.
    fn read(header: &'a str) -> Option<Fields<'a>> {
        let mut fields = Fields { once_only: [(None, 0); ONCE_ONLY.len()], count: 0, hops: 0 };
        let mut rest = header.strip_suffix("\r\n\r\n").or_else(|| header.strip_suffix("\r\n"))?;
        while !rest.is_empty() {
            let (field, behind) = split_field(rest);
            rest = behind;
            let (name, value) = field.split_once(':')?;
            // RFC 5322 §2.2: printable, no blank even before the colon.
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            fields.count += 1;
            fields.note(name, value);
        }
        Some(fields)
    }

    fn note(&mut self, name: &str, value: &'a str) {
        self.hops += usize::from(name.eq_ignore_ascii_case("Received"));
        let known = ONCE_ONLY.iter().position(|known| known.eq_ignore_ascii_case(name));
        if let Some((first, times)) = known.and_then(|place| self.once_only.get_mut(place)) {
            first.get_or_insert(value);
            *times += 1;
        }
    }

    fn named_twice(&self) -> Option<&'static str> {
        ONCE_ONLY.iter().zip(&self.once_only).find(|(_, (_, times))| *times > 1).map(|(name, _)| *name)
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        ONCE_ONLY.iter().zip(&self.once_only).find(|(known, _)| **known == name).and_then(|(_, (value, _))| *value)
    }
}

/// The first field with its folded lines, and what stands behind it.
fn split_field(header: &str) -> (&str, &str) {
    for (at, _) in header.match_indices("\r\n") {
        let behind = &header[at + 2..];
        if !behind.starts_with([' ', '\t']) {
            return (&header[..at], behind);
        }
    }
    (header, "")
}

/// How many addresses a From field names; 0 where it is not a list of addresses.
fn senders(value: &str) -> usize {
    let Ok(list) = mailparse::addrparse(&value.replace("\r\n", "")) else {
        return 0;
    };
    let usable = |entry: &MailAddr| match entry {
        MailAddr::Single(single) => single.addr.parse::<Address>().is_ok(),
        MailAddr::Group(_) => false,
    };
    if list.iter().all(usable) { list.len() } else { 0 }
}

/// `<left@right>`; what Gmail was seen to replace as invalid is invalid here (gmail.md, section 6).
fn is_message_id(value: &str) -> bool {
    let value = value.trim();
    let inside = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
    let Some((left, right)) = inside.split_once('@') else {
        return false;
    };
    let sound =
        |part: &str| !part.is_empty() && !part.ends_with('.') && part.bytes().all(|byte| byte.is_ascii_graphic());
    sound(left) && sound(right) && !right.contains('@') && value.len() <= MESSAGE_ID_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "From: A <a@example.com>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n";

    fn verdict(wire: &str, asked: Asked) -> String {
        let mut content = Content::new(false, 10_000_000, 998);
        assert!(content.feed(format!("{wire}\r\n.\r\n").as_bytes()).1);
        judge(&content, asked).err().unwrap_or_default().into_owned()
    }

    #[test]
    fn a_good_message_passes() {
        assert_eq!(verdict(&format!("{GOOD}Subject: long\r\n and folded\r\n\r\nbody"), Asked::default()), "");
        assert_eq!(verdict(GOOD, Asked::default()), "");
    }

    #[test]
    fn everything_the_relay_has_to_repair_is_refused() {
        let with = |extra: &str| format!("{GOOD}{extra}\r\n\r\nbody");
        let without = |line: &str| {
            GOOD.split_inclusive("\r\n").filter(|field| !field.starts_with(line)).collect::<String>() + "\r\nbody"
        };
        let hops = "Received: from a by b\r\n".repeat(51);
        let many = "X: y\r\n".repeat(5001);
        for (message, words) in [
            (without("From"), "'From' header is missing"),
            (without("Date"), "'Date' header is missing"),
            (without("Message-ID"), "missing a valid Message-ID"),
            (GOOD.replace("<1@example.com>", "1@example.com"), "missing a valid Message-ID"),
            (GOOD.replace("<1@example.com>", "<1@example@com>"), "missing a valid Message-ID"),
            (GOOD.replace("A <a@example.com>", "root"), "non compliant address"),
            (GOOD.replace("A <a@example.com>", "a@example.com, b@example.com"), "multiple addresses"),
            (with("from: b@example.com"), "multiple From headers"),
            (with("Subject: a\r\nSUBJECT: b"), "multiple Subject headers"),
            (with("Bcc: c@example.com"), "Bcc header"),
            (with("Subject: \u{e4}"), "8-bit content without BODY=8BITMIME"),
            (with("Subject: a\nX: b"), "LF stands without"),
            (with("Subject: a\rX: b"), "CR stands without"),
            (with("Subject: a\0"), "NUL"),
            (with(&format!("X: {}", "y".repeat(1000))), "line is too long"),
            (with(&format!("Subject: {}\r\n {}", "y".repeat(900), "y".repeat(900))), "552 5.3.4"),
            (with(hops.trim_end()), "554 5.4.6"),
            (with(many.trim_end()), "552 5.3.4"),
            (with("no field"), "554 5.6.0"),
            (with("Name : value"), "554 5.6.0"),
            (format!("\r\n{GOOD}"), "'From' header is missing"),
        ] {
            let found = verdict(&message, Asked::default());
            assert!(found.contains(words), "{words:?} expected for {message:?}, got {found:?}");
        }
    }

    #[test]
    fn unicode_passes_where_it_was_asked_for() {
        let message = format!("{GOOD}Subject: \u{e4}\r\n\r\nbody");
        let eight_bit = Asked { eight_bit: true, smtputf8: false };
        assert!(verdict(&message, eight_bit).contains("without SMTPUTF8"));
        assert_eq!(verdict(&message, Asked { smtputf8: true, ..eight_bit }), "");
    }
}
