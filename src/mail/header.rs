//! Header fields in raw bytes: found, read and written.
//!
//! Touches nothing. Reading never fails: what is no field is told apart from what is, and the bytes are there
//! as they came. What is written is legal whatever it was given: no line longer than [`LINE_BYTES_MAX`], no
//! line of blanks only, no control character that could begin a new field, and nothing but ASCII unless a
//! caller says so word by word.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Octets in a line without its line end (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
pub const LINE_BYTES_MAX: usize = 998;
/// Characters a line should have at most (RFC 5322 §2.1.1).
const LINE_BYTES_WANTED: usize = 78;
/// A word longer than this is not put on a line of its own: with the longest name before it, it would not fit.
pub const WORD_BYTES_MAX: usize = 700;
/// Longer names exist in no mail, and Gmail takes none above 1 KB (gmail.md, section 6).
const NAME_BYTES_MAX: usize = 256;
/// Octets of text in one encoded word: 60 characters of Base64 and 12 around them, below the 75 of RFC 2047 §2.
const ENCODED_WORD_BYTES: usize = 45;

/// One field as it stands in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without the blanks that some programs put before the colon.
    pub name: &'a str,
    /// What stands behind the colon, folded as it came, with its line end.
    pub value: &'a [u8],
    /// All of it, from the first letter of the name to the line end.
    pub raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// Reads one entry of a header; `None` where it cannot be a field (RFC 5322 §2.2, §4.5 for blanks before the
    /// colon).
    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Option<Field<'a>> {
        let line = raw.get(..memchr::memchr(b'\n', raw).unwrap_or(raw.len()))?;
        let (before, _) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        let value = raw.get(before.len() + 1..)?;
        let name = std::str::from_utf8(before).ok()?.trim_end_matches([' ', '\t']);
        let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|b| b.is_ascii_graphic());
        fits.then_some(Field { name, value, raw })
    }

    /// Whether this is its name, in whatever case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value in one line and as text.
    #[must_use]
    pub fn text(&self) -> String {
        let line: Vec<u8> = self.value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        decode(&line).trim_matches([' ', '\t']).to_owned()
    }
}

/// Raw octets as text: UTF-8 where they are, else windows-1252, which takes every octet (D: the charset of the
/// firmware that knows of none).
#[must_use]
pub fn decode(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(raw).0,
    }
}

/// Parts content as it was received into its header and what follows the first empty line. Without one, all of it
/// is header.
#[must_use]
pub fn split(content: &[u8]) -> (&[u8], &[u8]) {
    let mut line_at = 0;
    for line_end in memchr::memchr_iter(b'\n', content) {
        if matches!(&content[line_at..line_end], b"" | b"\r") {
            return (&content[..line_at], &content[line_end + 1..]);
        }
        line_at = line_end + 1;
    }
    (content, &[])
}

/// The entries of a header in their order, fields or not, each with its continuation lines. Ends at the first
/// empty line.
pub fn entries(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = line_length(rest);
        if matches!(rest.get(..end)?, b"" | b"\n" | b"\r\n") {
            return None;
        }
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end += rest.get(end..).map_or(0, line_length);
        }
        let (entry, behind) = rest.split_at_checked(end)?;
        rest = behind;
        Some(entry)
    })
}

/// Length of the first line with its line end.
fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

/// The fields of a header in their order; what is no field is passed over.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    entries(header).filter_map(Field::parse)
}

/// The first field of this name.
#[must_use]
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// Whether any line is longer than mail allows.
#[must_use]
pub fn has_long_line(text: &[u8]) -> bool {
    let content = |line: &[u8]| line.trim_suffix_line_end().len();
    text.split_inclusive(|&byte| byte == b'\n').any(|line| content(line) > LINE_BYTES_MAX)
}

/// Takes a line end off.
trait TrimLineEnd {
    fn trim_suffix_line_end(&self) -> &[u8];
}

impl TrimLineEnd for [u8] {
    fn trim_suffix_line_end(&self) -> &[u8] {
        let line = self.strip_suffix(b"\n").unwrap_or(self);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

/// One field being written, folded at blanks (RFC 5322 §2.2.3).
#[derive(Debug)]
pub struct FieldWriter {
    written: String,
    /// Length of the line so far.
    column: usize,
    empty: bool,
}

impl FieldWriter {
    /// Begins a field. `name` is one of ours or came out of a [`Field`].
    #[must_use]
    pub fn new(name: &str) -> FieldWriter {
        FieldWriter { written: format!("{name}:"), column: name.len() + 1, empty: true }
    }

    /// Adds a word as it is. The line may be broken before `blank`, or nowhere if that is empty. Words are at
    /// most [`WORD_BYTES_MAX`] long and hold no line end; those joined without a blank count as one.
    pub fn word(&mut self, blank: &str, word: &str) {
        let blank = if self.empty || blank.len() > LINE_BYTES_WANTED { " " } else { blank };
        let end = self.column + blank.len() + word.len();
        let limit = if self.empty { LINE_BYTES_MAX } else { LINE_BYTES_WANTED };
        if end > limit && !blank.is_empty() {
            self.written.push_str("\r\n");
            self.column = 0;
        }
        self.written.push_str(blank);
        self.written.push_str(word);
        self.column += blank.len() + word.len();
        self.empty = false;
    }

    /// Adds the words of a text as they are.
    pub fn words(&mut self, text: &str) {
        for (blank, word) in words(text) {
            self.word(if blank.is_empty() { " " } else { blank }, word);
        }
    }

    /// Adds free text. Words that are not ASCII, or too long for a line, become encoded words (RFC 2047 §5).
    pub fn text(&mut self, text: &str) {
        let mut run = String::new();
        let mut before = "";
        for (blank, word) in words(text) {
            if must_be_encoded(word) {
                // Blanks between encoded words vanish when they are read (RFC 2047 §6.2), so they go inside.
                let inside = !run.is_empty() || is_encoded_word(before);
                run.push_str(if inside { blank } else { "" });
                run.push_str(word);
            } else {
                if is_encoded_word(word) && !run.is_empty() {
                    run.push_str(blank);
                }
                self.encoded(&std::mem::take(&mut run));
                self.word(if blank.is_empty() { " " } else { blank }, word);
            }
            before = word;
        }
        self.encoded(&run);
    }

    fn encoded(&mut self, text: &str) {
        for word in encoded_words(text) {
            self.word(" ", &word);
        }
    }

    /// The whole field with its line end.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.written.push_str("\r\n");
        self.written.into_bytes()
    }
}

/// Writes a field of free text.
#[must_use]
pub fn write(name: &str, text: &str) -> Vec<u8> {
    let mut field = FieldWriter::new(name);
    field.text(text);
    field.finish()
}

/// The words of a text with the blanks before each. Line ends, form feeds and NUL count as one blank: a folded line
/// that holds nothing else would look empty.
pub fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_gap = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0c' | '\0');
    let mut rest = text;
    std::iter::from_fn(move || {
        let (gap, behind) = rest.split_at(rest.find(|c| !is_gap(c))?);
        let (word, behind) = behind.split_at(behind.find(is_gap).unwrap_or(behind.len()));
        rest = behind;
        let is_blank = gap.bytes().all(|byte| matches!(byte, b' ' | b'\t'));
        Some((if is_blank { gap } else { " " }, word))
    })
}

/// Whether a word cannot stand in a header as it is.
#[must_use]
pub fn must_be_encoded(word: &str) -> bool {
    !word.is_ascii() || word.len() > WORD_BYTES_MAX
}

/// Whether a word is an encoded word already, by its outside (RFC 2047 §2).
#[must_use]
pub fn is_encoded_word(word: &str) -> bool {
    word.len() > 6 && word.starts_with("=?") && word.ends_with("?=") && word.len() <= WORD_BYTES_MAX
}

/// The encoded words that together say `text`; none for an empty one.
pub fn encoded_words(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (now, later) = rest.split_at(rest.floor_char_boundary(ENCODED_WORD_BYTES));
        rest = later;
        (!now.is_empty()).then(|| format!("=?utf-8?B?{}?=", BASE64.encode(now)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_from_other_lines() {
        let header = "Subject : a\r\n b\r\nno field\r\nX-Y:c\n\tü\r\n: x\r\n\r\nBody: no\r\n".as_bytes();
        let found: Vec<_> = fields(header).map(|field| (field.name, field.text())).collect();
        assert_eq!(found, [("Subject", "a b".to_owned()), ("X-Y", "c\tü".to_owned())]);
        assert_eq!(entries(header).map(<[u8]>::len).sum::<usize>(), header.len() - "\r\nBody: no\r\n".len());
        assert_eq!(find(header, "x-y").map(|field| field.value), Some("c\n\tü\r\n".as_bytes()));
    }

    #[test]
    fn what_is_written_is_legal_and_reads_back() {
        let long = "x".repeat(5000);
        let many = "word ".repeat(1000);
        for text in ["", "plain", "Größe  und Maß", "=?utf-8?q?x?= ü =?utf-8?q?y?=", "a ü b ü c", &long, &many] {
            let field = write("Subject", text);
            assert!(field.is_ascii() && !has_long_line(&field), "{text}");
            assert!(field.split(|&b| b == b'\n').skip(1).all(|line| line.is_empty() || line.len() > 2), "{text}");
            let (parsed, _) = mailparse::parse_header(&field).unwrap();
            let (meant, _) = mailparse::parse_header(b"x: =?utf-8?q?x?=").unwrap();
            assert_eq!(meant.get_value(), "x");
            let expected = text.replace("=?utf-8?q?", "").replace("?=", "");
            assert_eq!(parsed.get_value().trim_end(), expected.trim_end(), "{text}");
        }
    }

    #[test]
    fn text_cannot_begin_a_new_field() {
        assert_eq!(write("Subject", "a\r\nBcc: x@y\0\r\n\r\n"), b"Subject: a Bcc: x@y\r\n");
    }

    #[test]
    fn a_form_feed_fills_no_line() {
        let written = write("Subject", &format!("{} \x0c {}", "x".repeat(77), "x".repeat(77)));
        assert!(written.split(|&byte| byte == b'\n').all(|line| line.is_empty() || !line.trim_ascii().is_empty()));
    }

    #[test]
    fn octets_that_are_no_utf8_are_windows_1252() {
        assert_eq!(Field::parse(b"X: gr\xfc\xdfe \x80\r\n").unwrap().text(), "grüße €");
    }
}
