//! From what a program writes to a mailer, to what goes over the wire: where the message ends, who is to get it, and a From with
//! the name that `-F` gives.
//!
//! Pure, and bounded: of a message only its header is ever held.

use crate::delivery::repair::{mailboxes, may_begin_header};
use crate::mail::header::{self, fields};

/// Cuts a text at its end and gives its lines the ends of mail. Both CR LF and LF end a line of a program's output.
#[derive(Debug)]
pub struct Lines {
    keep_dots: bool,
    line: Line,
}

/// How far the current line has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing of it is there.
    Start,
    /// A dot, which may be all of it.
    Dot,
    /// A dot and CR.
    DotCr,
    /// Something else; whether the last byte was CR.
    Within { cr: bool },
    /// The lone dot was there.
    Ended,
}

impl Lines {
    #[must_use]
    pub fn new(keep_dots: bool) -> Lines {
        Lines { keep_dots, line: Line::Start }
    }

    /// Whether a line with a lone dot has ended the message.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.line == Line::Ended
    }

    /// The next piece, with CR LF at the end of every line. A dot that may be the end is kept back.
    pub fn read(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + piece.len() / 16 + 2);
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            if let Line::Within { cr } = self.line {
                rest = self.within(cr, rest, &mut out);
                continue;
            }
            rest = rest.get(1..).unwrap_or_default();
            self.line = match (self.line, byte) {
                (Line::Start, b'.') if !self.keep_dots => Line::Dot,
                (Line::Dot, b'\r') => Line::DotCr,
                (Line::Dot | Line::DotCr, b'\n') | (Line::Ended, _) => Line::Ended,
                (before, _) => {
                    out.extend_from_slice(match before {
                        Line::Dot => b".",
                        Line::DotCr => b".\r",
                        _ => b"",
                    });
                    Lines::byte(byte, before == Line::DotCr, &mut out)
                }
            };
        }
        out
    }

    /// One byte of a line that is text.
    fn byte(byte: u8, cr: bool, out: &mut Vec<u8>) -> Line {
        if byte == b'\n' {
            out.extend_from_slice(if cr { b"\n" } else { b"\r\n" });
            return Line::Start;
        }
        out.push(byte);
        Line::Within { cr: byte == b'\r' }
    }

    /// The rest of a line that is text, in one go. Returns what is behind it.
    fn within<'a>(&mut self, cr: bool, piece: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', piece) else {
            out.extend_from_slice(piece);
            self.line = Line::Within { cr: piece.ends_with(b"\r") };
            return &[];
        };
        let (text, behind) = piece.split_at(end);
        out.extend_from_slice(text);
        let cr = if text.is_empty() { cr } else { text.ends_with(b"\r") };
        self.line = Lines::byte(b'\n', cr, out);
        behind.get(1..).unwrap_or_default()
    }

    /// What is still missing where the text is over: a lone dot without a line end is one, too.
    pub fn finish(self) -> &'static [u8] {
        match self.line {
            Line::Start | Line::Ended | Line::Dot | Line::DotCr => b"",
            Line::Within { cr: true } => b"\n",
            Line::Within { cr: false } => b"\r\n",
        }
    }
}

/// A message from its first byte, until its header is over.
#[derive(Debug, Default)]
pub struct Head {
    /// In lines that end in CR LF.
    bytes: Vec<u8>,
    /// So many were looked at.
    seen: usize,
}

impl Head {
    /// Adds what came. Tells whether the header is over by now.
    pub fn read(&mut self, piece: &[u8]) -> bool {
        self.bytes.extend_from_slice(piece);
        let first_line = memchr::memchr(b'\n', &self.bytes);
        if first_line.is_some_and(|end| !may_begin_header(self.bytes.get(..end).unwrap_or_default())) {
            return true;
        }
        let from = self.seen.saturating_sub(3);
        self.seen = self.bytes.len();
        self.bytes.starts_with(b"\r\n") || memchr::memmem::find(&self.bytes[from..], b"\r\n\r\n").is_some()
    }

    /// So many are there.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The fields, where the message has any: a text whose first line is no field has none.
    fn header(&self) -> &[u8] {
        let first_line = self.bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if may_begin_header(first_line) { header::split(&self.bytes).0 } else { &[] }
    }

    /// Everybody whom the header names: To, Cc and Bcc, or those of Resent- fields where there are any (RFC 5322 §3.6.6).
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        let header = self.header();
        let of = |names: &[&str]| -> Vec<String> {
            let named = fields(header).filter(|field| names.iter().any(|name| field.is(name)));
            named.flat_map(|field| addresses(&field.text())).collect()
        };
        let again = of(&["Resent-To", "Resent-Cc", "Resent-Bcc"]);
        if again.is_empty() { of(&["To", "Cc", "Bcc"]) } else { again }
    }

    /// All of it, with a From of this name where there is none.
    #[must_use]
    pub fn with_author(self, name: Option<&str>, address: &str) -> Vec<u8> {
        let Some(name) = name.filter(|_| !fields(self.header()).any(|field| field.is("From"))) else {
            return self.bytes;
        };
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == ' ');
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        let name = if is_plain { name } else { format!("\"{escaped}\"") };
        let mut bytes = mailboxes::write("From", &format!("{name} <{address}>")).unwrap_or_default();
        let has_header = !self.header().is_empty() || self.bytes.starts_with(b"\r\n");
        let is_mbox_line = self.bytes.starts_with(b"From ");
        let front = if is_mbox_line { memchr::memchr(b'\n', &self.bytes).map_or(0, |end| end + 1) } else { 0 };
        if !has_header {
            bytes.extend_from_slice(b"\r\n");
        }
        let (before, behind) = self.bytes.split_at(front);
        [before, &bytes, behind].concat()
    }
}

/// The addresses of a list, as written: an argument, or the value of a field.
#[must_use]
pub fn addresses(list: &str) -> Vec<String> {
    let spec = |mailbox: &mailboxes::Mailbox<'_>| mailbox.spec().or_else(|| mailbox.lone_word()).map(str::to_owned);
    mailboxes::mailboxes(list).filter_map(|mailbox| spec(&mailbox)).filter(|spec| !spec.is_empty()).collect()
}

/// Behind content whose last line has ended.
pub const END: &[u8] = b".\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &[u8], keep_dots: bool, size: usize) -> Vec<u8> {
        let mut lines = Lines::new(keep_dots);
        let mut out: Vec<u8> = text.chunks(size).flat_map(|piece| lines.read(piece)).collect();
        out.extend_from_slice(lines.finish());
        out
    }

    #[test]
    fn a_lone_dot_ends_unless_dots_are_kept_and_lines_end_in_crlf() {
        for (text, stopped, kept) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\r\nb", b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a\n.\nb\n", b"a\r\n", b"a\r\n.\r\nb\r\n"),
            (b"a\r\n.\r\nb\n", b"a\r\n", b"a\r\n.\r\nb\r\n"),
            (b"a\n.", b"a\r\n", b"a\r\n.\r\n"),
            (b".\nb\n", b"", b".\r\nb\r\n"),
            (b"..\n.b\n.\rx\n", b"..\r\n.b\r\n.\rx\r\n", b"..\r\n.b\r\n.\rx\r\n"),
            (b"", b"", b""),
            (b"\n\n", b"\r\n\r\n", b"\r\n\r\n"),
            (b"a\r", b"a\r\n", b"a\r\n"),
            (b"a\r\r\nb\rc\n", b"a\r\r\nb\rc\r\n", b"a\r\r\nb\rc\r\n"),
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(cut(text, false, size).escape_ascii().to_string(), stopped.escape_ascii().to_string());
                assert_eq!(cut(text, true, size).escape_ascii().to_string(), kept.escape_ascii().to_string());
            }
        }
    }

    fn head(text: &str) -> Head {
        let mut head = Head::default();
        head.read(text.replace('\n', "\r\n").as_bytes());
        head
    }

    #[test]
    fn recipients_are_those_of_the_header() {
        for (text, expected) in [
            ("To: a@b.c\nCc: X <d@e.f>, \"Y, Z\" <g@h.i>\nbcc: j@k.l\n\nTo: no@b.c\n", "a@b.c d@e.f g@h.i j@k.l"),
            ("To: friends: a@b.c, d@e.f;, root\n\n", "a@b.c d@e.f root"),
            ("To: undisclosed-recipients:;\n\n", ""),
            ("To: a@b.c,\n\td@e.f\nSubject: x\n", "a@b.c d@e.f"),
            ("To: Grüße <grüße@example.org>, =?utf-8?q?=C3=A4?= <a@b.c>\n\n", "grüße@example.org a@b.c"),
            ("To: root (Cron Daemon)\n\n", "root"),
            ("To: a@b.c\nResent-To: d@e.f\n\n", "d@e.f"),
            ("disk full\nTo: a@b.c\n", ""),
            ("To:\n\n", ""),
        ] {
            assert_eq!(head(text).recipients().join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_name_makes_an_author_where_there_is_none() {
        let with = |text: &str, name| String::from_utf8(head(text).with_author(name, "me@here")).unwrap();
        assert_eq!(with("From: x\n\nb\n", Some("N")), "From: x\r\n\r\nb\r\n");
        assert_eq!(with("To: x\n\nb\n", None), "To: x\r\n\r\nb\r\n");
        assert_eq!(with("To: x\n\nb\n", Some("A B")), "From: A B <me@here>\r\nTo: x\r\n\r\nb\r\n");
        assert_eq!(with("b\n", Some("N")), "From: N <me@here>\r\n\r\nb\r\n");
        assert_eq!(with("", Some("N")), "From: N <me@here>\r\n\r\n");
        assert_eq!(with("\nb\n", Some("N")), "From: N <me@here>\r\n\r\nb\r\n");
        assert_eq!(with("From x y\nTo: x\n\n", Some("N")), "From x y\r\nFrom: N <me@here>\r\nTo: x\r\n\r\n");
        assert!(with("To: x\n\n", Some("é\r\nBcc: y")).starts_with("From: =?"));
    }

    #[test]
    fn a_header_is_over_at_its_empty_line_however_it_is_cut() {
        let text = b"To: a\r\nX: y\r\n\r\nbody";
        for size in 1..text.len() {
            let mut head = Head::default();
            let read = text.chunks(size).take_while(|piece| !head.read(piece)).count() * size;
            assert!(read < text.len() && head.bytes() >= 15, "cut by {size}");
        }
        assert!(!Head::default().read(b"To: a\r\n") && Head::default().read(b"no header\r\n"));
        assert!(Head::default().read(b"\r\nbody"));
    }
}
