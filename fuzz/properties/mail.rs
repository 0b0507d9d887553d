//! Addresses and header fields: what is read can be written, and what is written is legal.

use smarthost::mail::header::{self, Field, LINE_BYTES_MAX};
use smarthost::mail::{Address, Enhanced, MessageId};

use super::assert_printable;

pub fn holds(input: &[u8]) {
    let text = header::decode(input);
    text.lines().for_each(an_address);
    a_header(input);
    for name in ["Subject", "X", &"N".repeat(256)] {
        a_written_field(name, &text);
    }
    words(&text);
}

fn an_address(text: &str) {
    let Ok(address) = text.parse::<Address>() else { return };
    let written = address.to_string();
    assert_printable(&written);
    assert_eq!(written.parse(), Ok(address.clone()), "{written} does not mean itself");
    assert!(!address.local().is_empty() && address.local().len() <= 64, "{written}");
    assert!(!address.domain().is_empty() && address.domain().len() <= 255, "{written}");
    assert_eq!(Address::new(address.local(), address.domain()), Ok(address), "{written}");
}

fn a_header(block: &[u8]) {
    let (head, body) = header::split(block);
    assert!(block.starts_with(head) && block.ends_with(body));
    let entries: Vec<&[u8]> = header::entries(block).collect();
    assert!(head.starts_with(&entries.concat()), "an entry is none of the header");
    assert!(entries.iter().all(|entry| !entry.is_empty()));
    for entry in entries {
        let Some(field) = Field::parse(entry) else { continue };
        assert!(!field.name.is_empty() && field.name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!field.text().contains(['\r', '\n']));
        a_written_field(field.name, &field.text());
    }
}

/// Legal whatever the text: ASCII, no long line, no line of blanks, and one field only.
fn a_written_field(name: &str, text: &str) {
    let written = header::write(name, text);
    assert!(written.is_ascii() && !header::has_long_line(&written), "{}", written.escape_ascii());
    let mut lines = written.split_inclusive(|&byte| byte == b'\n');
    assert!(lines.all(|line| line.ends_with(b"\r\n") && line.len() <= LINE_BYTES_MAX + 2));
    let bare = written.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count();
    assert_eq!(bare, 2 * written.split(|&byte| byte == b'\n').count() - 2, "{}", written.escape_ascii());
    assert_eq!(header::entries(&written).count(), 1, "{} holds another field", written.escape_ascii());
    let field = Field::parse(&written).expect("a field was written");
    assert_eq!(field.name, name);
    let folded = written.split_inclusive(|&byte| byte == b'\n').skip(1);
    assert!(folded.into_iter().all(|line| !line.trim_ascii().is_empty()), "{}", written.escape_ascii());
}

fn words(text: &str) {
    for (blank, word) in header::words(text) {
        assert!(!word.is_empty() && blank.chars().all(|c| c == ' ' || c == '\t'));
        if let Some(code) = Enhanced::parse(word) {
            assert_eq!(Enhanced::parse(&code.to_string()), Some(code));
        }
        if let Ok(id) = word.parse::<MessageId>() {
            assert_eq!(id.to_string().parse::<MessageId>().ok(), Some(id), "{word}");
        }
    }
}
