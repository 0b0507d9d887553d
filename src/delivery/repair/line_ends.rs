//! Line ends: whatever a message uses, everything behind this module sees lines.
//!
//! Canonical is CRLF and nothing else: no CR or LF alone, no NUL, and the last line has its end. Everything that
//! goes to Gmail passes here, since an LF or CR of a client's could otherwise end the data there
//! (reliability-security.md, section 3).

/// Where lines go.
pub trait Lines {
    /// A stretch of a line: never empty, without CR, LF or NUL.
    fn text(&mut self, bytes: &[u8]);
    /// The end of the line.
    fn line_end(&mut self);
}

/// What a CR without an LF means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoneCr {
    /// A blank; the usual case.
    Blank,
    /// The end of a line, in a message that has no other line ends (legacy-clients.md, section 6).
    LineEnd,
}

/// Cuts a message into lines, piece by piece.
#[derive(Debug)]
pub struct LineEnds {
    lone_cr: LoneCr,
    /// CRs that came last, of which nobody knows yet whether an LF follows. (`LoneCr::Blank`)
    held: u64,
    /// A CR came last, and has ended its line. (`LoneCr::LineEnd`)
    after_cr: bool,
    /// Something stands in the line so far.
    open: bool,
    /// The message was not canonical.
    altered: bool,
}

impl LineEnds {
    /// Begins a message.
    #[must_use]
    pub fn new(lone_cr: LoneCr) -> LineEnds {
        LineEnds { lone_cr, held: 0, after_cr: false, open: false, altered: false }
    }

    /// What a lone CR means here.
    #[must_use]
    pub fn lone_cr(&self) -> LoneCr {
        self.lone_cr
    }

    /// Whether what went on so far differs from what came in.
    #[must_use]
    pub fn altered(&self) -> bool {
        self.altered
    }

    /// Passes a piece on as lines.
    pub fn read(&mut self, piece: &[u8], lines: &mut impl Lines) {
        let mut rest = piece;
        while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
            let (text, behind) = rest.split_at(at);
            self.text(text, lines);
            rest = match behind {
                [b'\r', b'\n', rest @ ..] if self.held == 0 && !self.after_cr => {
                    self.end_line(lines);
                    rest
                }
                [b'\r', rest @ ..] => {
                    self.carriage_return(lines);
                    rest
                }
                [b'\n', rest @ ..] => {
                    self.line_feed(lines);
                    rest
                }
                // A NUL. It is as if it had never been there, also between a CR and an LF.
                [_, rest @ ..] => {
                    self.altered = true;
                    rest
                }
                [] => &[],
            };
        }
        self.text(rest, lines);
    }

    /// Ends the last line, where it has no end yet.
    pub fn finish(&mut self, lines: &mut impl Lines) {
        self.altered |= self.held > 0 || self.after_cr || self.open;
        if self.held > 0 || self.open {
            self.held = 0;
            self.end_line(lines);
        }
    }

    fn text(&mut self, text: &[u8], lines: &mut impl Lines) {
        if text.is_empty() {
            return;
        }
        self.altered |= self.held > 0 || self.after_cr;
        self.after_cr = false;
        for _ in 0..std::mem::take(&mut self.held) {
            lines.text(b" ");
        }
        self.open = true;
        lines.text(text);
    }

    fn carriage_return(&mut self, lines: &mut impl Lines) {
        match self.lone_cr {
            LoneCr::Blank => self.held += 1,
            LoneCr::LineEnd => {
                self.altered |= self.after_cr;
                self.after_cr = true;
                self.end_line(lines);
            }
        }
    }

    fn line_feed(&mut self, lines: &mut impl Lines) {
        if std::mem::take(&mut self.after_cr) {
            return;
        }
        // CR CR LF, which some libraries make of CRLF, is one line end.
        self.altered |= std::mem::take(&mut self.held) != 1;
        self.end_line(lines);
    }

    fn end_line(&mut self, lines: &mut impl Lines) {
        self.open = false;
        lines.line_end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Lines for Vec<u8> {
        fn text(&mut self, bytes: &[u8]) {
            self.extend_from_slice(bytes);
        }
        fn line_end(&mut self) {
            self.extend_from_slice(b"\r\n");
        }
    }

    fn canonical(lone_cr: LoneCr, message: &[u8], piece: usize) -> (String, bool) {
        let mut line_ends = LineEnds::new(lone_cr);
        let mut out = Vec::new();
        message.chunks(piece).for_each(|piece| line_ends.read(piece, &mut out));
        line_ends.finish(&mut out);
        (String::from_utf8(out).unwrap(), line_ends.altered())
    }

    #[test]
    fn every_line_end_becomes_crlf_however_the_message_is_cut() {
        use LoneCr::{Blank, LineEnd};
        for (lone_cr, message, expected, altered) in [
            (Blank, "", "", false),
            (Blank, "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", false),
            (Blank, "a\nb\n", "a\r\nb\r\n", true),
            (Blank, "a\r\r\nb\r\n", "a\r\nb\r\n", true),
            (Blank, "a\rb\r\n", "a b\r\n", true),
            (Blank, "a\r\rb\r\n", "a  b\r\n", true),
            (Blank, "a\r\n.\r", "a\r\n.\r\n", true),
            (Blank, "a", "a\r\n", true),
            (Blank, "a\0b\r\0\n\0.\r\n", "ab\r\n.\r\n", true),
            (Blank, "\n\r\n\r", "\r\n\r\n\r\n", true),
            (LineEnd, "a\rb\r\rc", "a\r\nb\r\n\r\nc\r\n", true),
            (LineEnd, "a\rb\r\n", "a\r\nb\r\n", true),
            (LineEnd, "a\r\n", "a\r\n", false),
            (LineEnd, "a\r", "a\r\n", true),
            (LineEnd, "a\n", "a\r\n", true),
        ] {
            for piece in 1..=message.len().max(1) {
                let found = canonical(lone_cr, message.as_bytes(), piece);
                assert_eq!(found, (expected.to_owned(), altered), "{message:?} by {piece}");
            }
        }
    }
}
