//! The ways to make long lines legal, each of which leaves the decoded content as it was.
//!
//! One [`Shortener`] rewrites one part. It streams: it keeps a column and a few octets, whatever the part's size.

use crate::mail::header::LINE_BYTES_MAX;

/// Characters in an encoded line (RFC 2045 §6.7 rule 5, §6.8).
const ENCODED_LINE: usize = 76;
/// From here on the octets of a line that may have to be cut are held back, to find a good place.
const BREAK_FROM: usize = LINE_BYTES_MAX - 8;

/// What is done about long lines in a stretch of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The part is encoded as quoted-printable, and its header says so.
    Encode,
    /// The part is quoted-printable: soft line breaks.
    SoftBreak,
    /// The part is Base64: wrapped anew.
    Rewrap,
    /// Nobody reads it as content, or nobody could say how: the line is cut. The last resort.
    Cut,
    /// Signed or encrypted: its bytes are left alone, and the next server may refuse them.
    Leave,
}

/// Rewrites the lines of one part.
#[derive(Debug)]
pub struct Shortener {
    remedy: Remedy,
    column: usize,
    /// Octets that cannot be written before the next one is known: `=` and what follows it where soft breaks are
    /// put in, one blank where text is encoded, the end of a line that may have to be cut.
    pending: Vec<u8>,
    /// The line began with a soft break.
    continued: bool,
}

impl Shortener {
    /// Begins a part.
    #[must_use]
    pub fn new(remedy: Remedy) -> Shortener {
        Shortener { remedy, column: 0, pending: Vec::new(), continued: false }
    }

    /// Writes a stretch of a line.
    pub fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        match self.remedy {
            Remedy::Leave => out.extend_from_slice(text),
            Remedy::Cut => text.iter().for_each(|&byte| self.cut(byte, out)),
            Remedy::Rewrap => text.iter().for_each(|&byte| self.rewrap(byte, out)),
            Remedy::Encode => text.iter().for_each(|&byte| self.encode(byte, out)),
            Remedy::SoftBreak => text.iter().for_each(|&byte| self.soft_break(byte, out)),
        }
    }

    /// Writes a line end, where the encoding keeps it.
    pub fn line_end(&mut self, out: &mut Vec<u8>) {
        match (self.remedy, self.pending.as_slice()) {
            (Remedy::Rewrap, _) => return,
            // A blank at the end of a line would be lost on the way (RFC 2045 §6.7 rule 3).
            (Remedy::Encode, &[blank]) => self.escaped(blank, out),
            _ => out.extend_from_slice(&self.pending),
        }
        self.pending.clear();
        self.end_line(out);
    }

    /// Ends the part.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.remedy == Remedy::Rewrap && self.column > 0 {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.column = 0;
        self.continued = false;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.column += bytes.len();
    }

    /// Cuts not inside a character, and not where what follows could be taken for a boundary.
    fn cut(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.column < BREAK_FROM {
            return self.put(&[byte], out);
        }
        self.pending.push(byte);
        if self.column + self.pending.len() > LINE_BYTES_MAX {
            let pending = std::mem::take(&mut self.pending);
            let good = |&byte: &u8| byte != b'-' && byte & 0xC0 != 0x80;
            let (line, next) = pending.split_at(pending.iter().rposition(good).unwrap_or(pending.len() - 1));
            self.put(line, out);
            self.end_line(out);
            self.put(if next.starts_with(b"-") { b" " } else { b"" }, out);
            self.put(next, out);
        }
    }

    /// Whatever is no Base64 is passed over, as a decoder does (RFC 2045 §6.8).
    fn rewrap(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=') {
            if self.column == ENCODED_LINE {
                self.end_line(out);
            }
            self.put(&[byte], out);
        }
    }

    fn encode(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let Some(blank) = self.pending.pop() {
            self.unit(&[blank], out);
        }
        match byte {
            b' ' | b'\t' => self.pending.push(byte),
            b'=' | ..=b' ' | 127.. => self.escaped(byte, out),
            _ => self.unit(&[byte], out),
        }
    }

    /// Keeps `=XX` together.
    fn soft_break(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.pending.is_empty() && byte != b'=' {
            return self.unit(&[byte], out);
        }
        self.pending.push(byte);
        if self.pending.len() == 3 {
            let escape = std::mem::take(&mut self.pending);
            self.unit(&escape, out);
        }
    }

    fn escaped(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.unit(format!("={byte:02X}").as_bytes(), out);
    }

    /// Writes what must stay in one line, after a soft break where there is no room.
    fn unit(&mut self, unit: &[u8], out: &mut Vec<u8>) {
        if self.column + unit.len() >= ENCODED_LINE {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
            self.continued = true;
        }
        // A line that began elsewhere in the text must not look like a boundary here.
        let hyphen = self.continued && self.column == 0 && unit == b"-";
        self.put(if hyphen { b"=2D" } else { unit }, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(remedy: Remedy, text: &str) -> String {
        let mut shortener = Shortener::new(remedy);
        let mut out = Vec::new();
        for line in text.split_terminator("\r\n") {
            shortener.text(line.as_bytes(), &mut out);
            shortener.line_end(&mut out);
        }
        shortener.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn longest(text: &str) -> usize {
        text.lines().map(str::len).max().unwrap_or(0)
    }

    #[test]
    fn encoded_text_decodes_to_what_it_was() {
        for text in ["a=b ü\t\r\n \r\nend \r\n", &format!("{}\r\n-x\r\n", "-".repeat(3000)), &"=ü ".repeat(2000)] {
            let text = format!("{}\r\n", text.trim_end_matches("\r\n"));
            let encoded = rewrite(Remedy::Encode, &text);
            assert!(longest(&encoded) <= 76 && encoded.is_ascii(), "{encoded}");
            let message = format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{encoded}");
            let parsed = mailparse::parse_mail(message.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(parsed.get_body_raw().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn soft_breaks_keep_escapes_whole() {
        let long = format!("{}=C3=BC ends=\r\nhere\r\n", "=3D-".repeat(900));
        let broken = rewrite(Remedy::SoftBreak, &long);
        assert!(longest(&broken) <= 76);
        let decoded = |text: &str| {
            let message = format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{text}");
            mailparse::parse_mail(message.as_bytes()).unwrap().get_body_raw().unwrap()
        };
        assert_eq!(decoded(&broken), decoded(&long));
        assert_eq!(rewrite(Remedy::SoftBreak, &broken), broken);
    }

    #[test]
    fn base64_is_wrapped_without_what_is_no_base64() {
        let long = format!("{} !\r\n\r\nBBBB\r\n", "AAAA".repeat(300));
        let wrapped = rewrite(Remedy::Rewrap, &long);
        assert_eq!(longest(&wrapped), 76);
        assert_eq!(wrapped.replace("\r\n", ""), format!("{}BBBB", "AAAA".repeat(300)));
    }

    #[test]
    fn a_cut_spares_characters_and_makes_no_boundary() {
        let cut = rewrite(Remedy::Cut, &format!("{}{}\r\n", "ü".repeat(2000), "-".repeat(3000)));
        assert!(longest(&cut) <= LINE_BYTES_MAX && !cut.contains('\u{fffd}') && !cut.contains("\n-"));
        let legal = format!("{}\r\n", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(rewrite(Remedy::Cut, &legal), legal);
    }
}
