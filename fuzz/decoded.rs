//! What a message says, as a parser of somebody else's reads it: repair must not change that.
//!
//! The sender's message is first brought into canonical lines, since those are what repair promises to begin with. Where
//! that is still no orderly message, the two may read it differently, and nothing is compared: what "the content" was
//! is then a guess of ours (`delivery::repair::border`), and `properties::repair` sees to it that no text is lost.

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};
use smarthost::mail::header::{self, Field};

use crate::properties::repair::{Case, Sent, canonical};

/// Fields that say how the body is to be read.
const CONTENT_FIELDS: [&str; 2] = ["Content-Type", "Content-Transfer-Encoding"];
/// Encodings that repair knows how to keep (RFC 2045 §6). Lines in any other are cut.
const ENCODINGS: [&str; 5] = ["7bit", "8bit", "binary", "quoted-printable", "base64"];

pub fn holds(input: &[u8]) {
    let (rules, text) = input.split_first().unwrap_or((&0, &[]));
    let text = text.get(1..).unwrap_or_default();
    let original = canonical(text);
    let (head, _) = header::split(&original);
    if !is_orderly(head, &original) {
        return;
    }
    let sent = Case::of(*rules).repair(&[text]);
    subject_is_kept(head, sent.header());
    let (before, after) = (content_fields_alone(&original), content_fields_alone(&sent.bytes));
    if !inner_headers_are_closed(&before) || !inner_headers_are_closed(&after) {
        return;
    }
    let parser = MessageParser::default();
    let (Some(before), Some(after)) = (parser.parse(&before), parser.parse(&after)) else { return };
    let did = |what: &str| sent.plan.changes.iter().any(|change| change.contains(what));
    // Raw octets of a sender that names no charset are given one; no parser could read them before.
    let had_charset = !did("which charset") || std::str::from_utf8(&original).is_ok();
    // A type that is none, or a boundary with blanks and no quotes, is read in as many ways as there are parsers.
    let has_clear_type = !did("a Content-Type that is none") && !did("boundary in quotes");
    let may_be_compared = !sent.shortened() || has_clear_encodings(&original) && parts_are_orderly(&before);
    if had_charset && has_clear_type && may_be_compared {
        content_is_kept(&original, &sent, &before, &after);
    }
}

/// Every line up to the first empty one belongs to a field, none that matters is there twice, and none is in doubt.
fn is_orderly(head: &[u8], original: &[u8]) -> bool {
    let fields: Vec<Field> = header::fields(head).collect();
    let count = |name: &str| fields.iter().filter(|field| field.is(name)).count();
    fields.len() == header::entries(head).count()
        && head.len() < original.len()
        && std::str::from_utf8(head).is_ok()
        && !head.starts_with(b"\xef\xbb\xbf")
        && !head.split(|&byte| byte == b'\n').any(|line| line.trim_ascii().is_empty() && line.len() > 1)
        && CONTENT_FIELDS.iter().all(|name| count(name) <= 1)
        && fields.iter().any(|field| field.is("Subject") || field.is("From"))
        && count("Subject") <= 1
        && fields.iter().all(|field| field.raw.get(field.name.len()) == Some(&b':'))
}

/// The same of the parts: each has a header and an empty line behind it, and each container ends where it says so.
fn parts_are_orderly(message: &Message<'_>) -> bool {
    let original = &message.raw_message;
    let mut boundaries = Vec::new();
    headers_are_closed(original)
        && part_headers_are_closed(message, &mut boundaries)
        && is_nested(original, &boundaries)
}

/// Behind each line that may be a boundary stands a header, and an empty line ends it.
fn headers_are_closed(original: &[u8]) -> bool {
    let boundaries = memchr::memmem::find_iter(original, b"\n--").map(|at| at + 1);
    boundaries.into_iter().all(|at| {
        let line = &original[at..];
        let (line, behind) = line.split_at(memchr::memchr(b'\n', line).map_or(line.len(), |end| end + 1));
        let (head, _) = header::split(behind);
        line.trim_ascii_end().ends_with(b"--")
            || head.len() < behind.len() && header::entries(head).all(|entry| Field::parse(entry).is_some())
    })
}

/// No boundary ends the header of a message within the message: an assertion of the other parser may fail there.
fn inner_headers_are_closed(message: &[u8]) -> bool {
    let text = message.to_ascii_lowercase();
    memchr::memmem::find(&text, b"/digest").is_none()
        && memchr::memmem::find_iter(&text, b"message/").all(|at| {
            let (_, inner) = header::split(&text[at..]);
            let (head, _) = header::split(inner);
            !head.starts_with(b"--") && memchr::memmem::find(head, b"\n--").is_none()
        })
}

/// And so it is of each header that the other parser sees. Collects the boundaries that it goes by.
fn part_headers_are_closed(message: &Message<'_>, boundaries: &mut Vec<Vec<u8>>) -> bool {
    message.parts.iter().enumerate().all(|(place, part)| {
        let boundary = part.content_type().and_then(|kind| kind.attribute("boundary"));
        boundaries.extend(boundary.map(|boundary| format!("--{boundary}").into_bytes()));
        let header = message.raw_message.get(part.offset_header as usize..part.offset_body as usize);
        let header = header.unwrap_or_default();
        let fields: Vec<&[u8]> = header::entries(header).collect();
        let is_closed = header.len() == fields.concat().len() + 2 && header.ends_with(b"\r\n");
        let inner_is_closed = match &part.body {
            PartType::Message(inner) => part_headers_are_closed(inner, boundaries),
            _ => true,
        };
        (place == 0 || is_closed) && fields.iter().all(|field| Field::parse(field).is_some()) && inner_is_closed
    })
}

/// Every boundary is there, ends once, and no other container goes on meanwhile. Within a line it stands nowhere: the
/// other parser would find it there too.
fn is_nested(original: &[u8], boundaries: &[Vec<u8>]) -> bool {
    let begins_line = |at: usize| at > 0 && original[at - 1] == b'\n';
    if boundaries.iter().any(|boundary| !memchr::memmem::find_iter(original, boundary).all(begins_line)) {
        return false;
    }
    let (mut open, mut ended): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for line in original.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end) {
        let known: Vec<&Vec<u8>> = boundaries.iter().filter(|boundary| line.starts_with(boundary)).collect();
        let (boundary, ends) = match known[..] {
            [] => continue,
            [boundary] if line == boundary => (boundary.as_slice(), false),
            [boundary] if line.strip_prefix(boundary.as_slice()) == Some(b"--") => (boundary.as_slice(), true),
            _ => return false,
        };
        match (open.last(), ends) {
            (Some(&innermost), true) if innermost == boundary => ended.extend(open.pop()),
            (Some(&innermost), false) if innermost == boundary => {}
            (_, false) if !open.contains(&boundary) && !ended.contains(&boundary) => open.push(boundary),
            _ => return false,
        }
    }
    open.is_empty() && ended.len() == boundaries.len()
}

/// Without the fields that do not matter here: the other parser passes over what follows some that break the rules.
fn content_fields_alone(message: &[u8]) -> Vec<u8> {
    let (head, body) = header::split(message);
    let is_content = |field: &Field| field.name.to_ascii_lowercase().starts_with("content-");
    let fields: Vec<&[u8]> = header::fields(head).filter(is_content).map(|field| field.raw).collect();
    [b"MIME-Version: 1.0\r\n", fields.concat().as_slice(), b"\r\n", body].concat()
}

fn subject_is_kept(before: &[u8], after: &[u8]) {
    let Some(before) = header::find(before, "Subject") else { return };
    let after = header::find(after, "Subject").expect("there is still a subject");
    // What an encoded word of the sender's means where it breaks the rules is anybody's guess.
    if memchr::memmem::find(before.raw, b"=?").is_none() {
        assert_eq!(subject(after.raw), subject(before.raw), "the subject is altered");
    }
}

fn subject(field: &[u8]) -> Option<String> {
    let message = [field, b"\r\n"].concat();
    MessageParser::default().parse(&message)?.subject().map(without_blanks)
}

fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
}

fn content_is_kept(original: &[u8], sent: &Sent, before: &Message<'_>, after: &Message<'_>) {
    let strict = !sent.shortened() || is_of_known_encoding(original) && !has_lost_container(before);
    let (before, after) = (leaves(before, strict), leaves(after, strict));
    for (before, after) in before.iter().zip(&after) {
        // What breaks the rules of its encoding has no content that all agree on.
        let (Some(before), Some(after)) = (before, after) else { continue };
        assert!(before == after, "a part is altered:\n{before:?}\n{after:?}");
    }
    assert_eq!(after.len(), before.len(), "there are more or fewer parts");
}

fn is_of_known_encoding(original: &[u8]) -> bool {
    encodings(original).iter().all(|said| ENCODINGS.contains(&said.as_str()))
}

/// A known encoding with something behind it is that encoding to some parsers, and none to others.
fn has_clear_encodings(original: &[u8]) -> bool {
    let is_clear = |said: &String| ENCODINGS.iter().all(|known| said == known || !said.starts_with(known));
    encodings(original).iter().all(is_clear)
}

fn encodings(original: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(original).to_ascii_lowercase();
    let behind = text.match_indices("content-transfer-encoding").map(|(at, name)| &text[at + name.len()..]);
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    behind.map(|text| first_line(text).trim_start_matches(':').trim_matches([' ', '\t', '\r']).to_owned()).collect()
}

/// A container whose parts nobody can tell apart.
fn has_lost_container(message: &Message<'_>) -> bool {
    message.parts.iter().any(|part| {
        let is_container = part.content_type().is_some_and(|kind| kind.ctype().eq_ignore_ascii_case("multipart"));
        let inner = if let PartType::Message(inner) = &part.body { has_lost_container(inner) } else { false };
        inner || is_container && !matches!(part.body, PartType::Multipart(_))
    })
}

/// The decoded content of all parts, as far as it can be decoded. Unless it is `strict`, blanks and line ends do not count: where a
/// line could only be cut, they are what was added.
fn leaves(message: &Message<'_>, strict: bool) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for part in &message.parts {
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) => found.extend(leaves(inner, strict)),
            _ => found.push((!part.is_encoding_problem).then(|| content(part, strict))),
        }
    }
    found
}

/// As text, in which octets that are none are all alike: whether a part is text is not always said.
fn content(part: &MessagePart<'_>, strict: bool) -> String {
    let content = String::from_utf8_lossy(part.contents());
    if strict { content.trim_end().to_owned() } else { without_blanks(&content) }
}
