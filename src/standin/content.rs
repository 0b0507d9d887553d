//! The content of one message as it comes in: where it ends, without its stuffed dots, and what is wrong in it.
//!
//! Pure. The end is `CRLF . CRLF` and nothing else (RFC 5321 §4.1.1.4), so no other sequence can smuggle a second
//! message; every bare CR or LF is found. Takes bytes in any pieces, in linear time and in long runs.

use memchr::memchr3;

/// Gmail's limit on all header fields together (gmail.md, section 6). A longer header is not kept.
pub(super) const HEADER_BYTES_MAX: usize = 500 * 1024;

/// The first thing found that no message may have on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    BareCr,
    BareLf,
    Nul,
    LongLine,
}

/// How content is transferred, which decides what a dot means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// DATA: dots are stuffed, and one alone is the end.
    Dots,
    /// BDAT: bytes are what they are (RFC 3030 §2).
    Chunks,
}

/// Content, as far as it came in.
#[derive(Debug)]
pub(super) struct Content {
    /// Everything, or the header alone.
    kept: Vec<u8>,
    keep_body: bool,
    size: u64,
    size_max: u64,
    /// How much of `kept` is header, with its blank line, once that is known.
    header_bytes: Option<usize>,
    /// Of the line that is being read, without stuffing.
    line_bytes: usize,
    /// Something of this line was read already, be it a stuffed dot.
    in_line: bool,
    line_bytes_max: usize,
    transfer: Transfer,
    flaw: Option<Flaw>,
    eight_bit: bool,
}

impl Content {
    /// Of a message that is to be at most `size_max` bytes, in lines of at most `line_bytes_max` without their ends.
    pub fn new(keep_body: bool, size_max: u64, line_bytes_max: usize) -> Content {
        Content {
            kept: Vec::new(),
            keep_body,
            size: 0,
            size_max,
            header_bytes: None,
            line_bytes: 0,
            in_line: false,
            line_bytes_max,
            transfer: Transfer::Dots,
            flaw: None,
            eight_bit: false,
        }
    }

    /// All bytes seen so far, without stuffing; may be over the limit.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn is_too_large(&self) -> bool {
        self.size > self.size_max
    }

    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// The header with its blank line; everything there is, where there is no blank line.
    pub fn header(&self) -> &[u8] {
        &self.kept[..self.header_bytes.unwrap_or(self.kept.len())]
    }

    /// Header and body, where the body is kept at all.
    pub fn into_bytes(self) -> Vec<u8> {
        self.kept
    }

    /// Takes bytes of a chunk that is `left` bytes long. Returns how many it took, and whether the chunk is complete.
    pub fn feed_chunk(&mut self, bytes: &[u8], left: usize) -> (usize, bool) {
        self.transfer = Transfer::Chunks;
        let offered = &bytes[..bytes.len().min(left)];
        let (mut taken, _) = self.feed(offered);
        // A CR that ends the chunk waits for an LF that only the next chunk can bring; chunks of ours end in lines.
        if taken < offered.len() && offered.len() == left {
            self.flaw.get_or_insert(Flaw::BareCr);
            self.take(&offered[taken..]);
            taken = offered.len();
        }
        (taken, taken == left)
    }

    /// Takes bytes. Returns how many it took, and whether the content is complete; the last two bytes may be left over
    /// until it is known what follows them.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        // Bytes from `run` up to `at` are content that still has to be taken.
        let (mut run, mut at) = (0, 0);
        loop {
            if !self.in_line && self.transfer == Transfer::Dots && bytes.get(at) == Some(&b'.') {
                match &bytes[at + 1..] {
                    [b'\r', b'\n', ..] => {
                        self.take(&bytes[run..at]);
                        return (at + 3, true);
                    }
                    [] | [b'\r'] => break,
                    _ => {
                        self.take(&bytes[run..at]);
                        self.in_line = true;
                        at += 1;
                        run = at;
                    }
                }
            }
            let Some(distance) = memchr3(b'\r', b'\n', 0, &bytes[at..]) else {
                self.lengthen(bytes.len() - at);
                at = bytes.len();
                break;
            };
            self.lengthen(distance);
            at += distance;
            match (bytes[at], bytes.get(at + 1)) {
                (b'\r', None) => break,
                (b'\r', Some(b'\n')) => {
                    at += 2;
                    if self.end_line() {
                        self.take(&bytes[run..at]);
                        run = at;
                        self.header_bytes = Some(self.kept.len());
                    }
                }
                (found, _) => {
                    self.flaw.get_or_insert(match found {
                        b'\r' => Flaw::BareCr,
                        b'\n' => Flaw::BareLf,
                        _ => Flaw::Nul,
                    });
                    self.lengthen(1);
                    at += 1;
                }
            }
        }
        self.take(&bytes[run..at]);
        (at, false)
    }

    fn lengthen(&mut self, bytes: usize) {
        self.line_bytes += bytes;
        self.in_line |= bytes > 0;
    }

    /// Returns whether this was the blank line that ends the header.
    fn end_line(&mut self) -> bool {
        if self.line_bytes > self.line_bytes_max {
            self.flaw.get_or_insert(Flaw::LongLine);
        }
        let blank = !self.in_line;
        self.line_bytes = 0;
        self.in_line = false;
        blank && self.header_bytes.is_none()
    }

    fn take(&mut self, run: &[u8]) {
        self.size += run.len() as u64;
        self.eight_bit |= !run.is_ascii();
        let wanted = match self.header_bytes {
            None => self.keep_body || self.kept.len() <= HEADER_BYTES_MAX,
            Some(_) => self.keep_body,
        };
        if wanted && !self.is_too_large() {
            self.kept.extend_from_slice(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `piece` bytes; returns what was kept, the flaw, and what follows the end.
    fn read(wire: &[u8], piece: usize) -> Option<(Vec<u8>, Option<Flaw>, usize)> {
        let mut content = Content::new(true, u64::MAX, 998);
        let mut start = 0;
        let mut end = 0;
        while end < wire.len() {
            end = (end + piece).min(wire.len());
            let (taken, complete) = content.feed(&wire[start..end]);
            start += taken;
            if complete {
                return Some((content.kept.clone(), content.flaw, wire.len() - start));
            }
        }
        None
    }

    #[test]
    fn dots_are_unstuffed_and_the_end_is_found_however_the_bytes_are_cut() {
        let wire = b"a: b\r\n\r\n..\r\n...x\r\n.y\r\nz.\r\n.\r\nQUIT\r\n";
        for piece in 1..=wire.len() {
            let (kept, flaw, _) = read(wire, piece).unwrap();
            assert_eq!(kept, b"a: b\r\n\r\n.\r\n..x\r\ny\r\nz.\r\n", "pieces of {piece}");
            assert_eq!(flaw, None);
        }
        assert_eq!(read(wire, wire.len()).unwrap().2, b"QUIT\r\n".len());
    }

    #[test]
    fn nothing_but_a_dot_between_whole_line_ends_is_the_end() {
        for (smuggled, flaw) in [
            (&b"\n.\n"[..], Flaw::BareLf),
            (b"\n.\r\n", Flaw::BareLf),
            (b"\r.\r\n", Flaw::BareCr),
            (b"\r.\r", Flaw::BareCr),
            (b"\r\n.\n", Flaw::BareLf),
            (b"\r\n.\rx", Flaw::BareCr),
            (b"\r\n\0.\r\n", Flaw::Nul),
            (b"\r\n.\0\r\n", Flaw::Nul),
            (b"\r\n.\r\r\n", Flaw::BareCr),
        ] {
            let wire = [b"a: b\r\n\r\nx", smuggled, b"MAIL\r\n.\r\n"].concat();
            for piece in 1..=wire.len() {
                let (_, found, rest) = read(&wire, piece).unwrap();
                assert_eq!((found, rest), (Some(flaw), 0), "{smuggled:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn long_lines_are_found_without_their_stuffing() {
        let wire = |letters: usize| [b"..".as_slice(), &vec![b'x'; letters], b"\r\n.\r\n"].concat();
        assert_eq!(read(&wire(997), 64).unwrap().1, None);
        assert_eq!(read(&wire(998), 64).unwrap().1, Some(Flaw::LongLine));
    }

    #[test]
    fn counts_go_on_where_nothing_but_the_header_is_kept() {
        let mut content = Content::new(false, u64::MAX, 998);
        assert!(content.feed(b"a: b\r\n\r\nbody \xff\r\n.\r\n").1);
        assert_eq!((content.size(), content.kept.as_slice(), content.eight_bit), (16, &b"a: b\r\n\r\n"[..], true));
    }

    #[test]
    fn chunks_have_no_dots_to_unstuff() {
        let mut content = Content::new(true, u64::MAX, 998);
        assert_eq!(content.feed_chunk(b"..\r\n.\r\nBDAT", 7), (7, true));
        assert_eq!(content.into_bytes(), b"..\r\n.\r\n");
    }
}
