//! The content of one message while it comes in: counted, judged, and handed on in pieces.
//!
//! Touches nothing. A message that is refused is still read to its true end, since what is left of it would
//! otherwise be taken for commands; only at twice the limit is that too much to ask. Memory is bounded by
//! [`FURTHER_PIECE_BYTES`], whatever the size.

use bytes::Bytes;
use memchr::memchr;

use super::actions::Actions;
use super::line::{Dots, LineEnd};
use super::{FIRST_PIECE_BYTES, FURTHER_PIECE_BYTES};
use crate::mail::Refusal;
use crate::mail::header::Field;
use crate::policy::Limits;

/// As much of a header line is looked at: more than the longest name of a field in use.
const FIELD_START_BYTES: usize = 128;

/// How far a message has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The end of data has not come in yet.
    More,
    /// It has; this stands behind it.
    Ended(&'a [u8]),
    /// More than twice as much as allowed has come in, and no end.
    Endless,
}

/// Content on its way in.
#[derive(Clone, Debug)]
pub struct Incoming {
    dots: Dots,
    kept: Kept,
}

/// What is kept of it.
#[derive(Clone, Debug)]
struct Kept {
    /// Bytes so far, without the dots of transparency.
    bytes: u64,
    /// The header, until it is over.
    header: Option<Header>,
    fate: Fate,
}

/// Whether the message can still be taken.
#[derive(Clone, Debug)]
enum Fate {
    Good { gathered: Vec<u8>, pieces_given: bool },
    Refused(Refusal),
}

impl Incoming {
    /// Content behind a DATA command whose line ended so. `lf_only`: so did all lines, and the client may do that.
    #[must_use]
    pub fn behind(end: LineEnd, lf_only: bool) -> Incoming {
        let dots = if lf_only { Dots::of_lf_only() } else { Dots::behind(end) };
        let fate = Fate::Good { gathered: Vec::new(), pieces_given: false };
        Incoming { dots, kept: Kept { bytes: 0, header: Some(Header::default()), fate } }
    }

    /// Whether LF `.` LF came in and ended nothing.
    #[must_use]
    pub fn lf_ended_nothing(&self) -> bool {
        self.dots.lf_ended_nothing()
    }

    /// Takes bytes of the client.
    pub fn take<'a>(&mut self, input: &'a [u8], limits: &Limits, out: &mut Actions) -> Progress<'a> {
        let kept = &mut self.kept;
        let behind = self.dots.unstuff(input, |run| kept.add(run, limits, out));
        match behind {
            _ if kept.bytes > limits.message_bytes.saturating_mul(2) => Progress::Endless,
            Some(behind) => Progress::Ended(behind),
            None => Progress::More,
        }
    }

    /// What is to be stored behind the pieces given so far.
    ///
    /// # Errors
    /// Why the message cannot be taken.
    pub fn finish(self) -> Result<Bytes, Refusal> {
        match self.kept.fate {
            Fate::Good { gathered, .. } => Ok(gathered.into()),
            Fate::Refused(refusal) => Err(refusal),
        }
    }

    /// Gives up on a message that will not end.
    pub fn abandon(self, out: &mut Actions) {
        if let Fate::Good { pieces_given: true, .. } = self.kept.fate {
            out.discard();
        }
    }
}

impl Kept {
    fn add(&mut self, run: &[u8], limits: &Limits, out: &mut Actions) {
        let room = limits.message_bytes.saturating_sub(self.bytes);
        self.bytes += run.len() as u64;
        // What fits is judged before what does not, so that the answer does not depend on how the bytes were cut.
        let fitting = usize::try_from(room).ok().and_then(|room| run.get(..room)).unwrap_or(run);
        if let Err(refusal) = self.read_header(fitting, limits) {
            self.refuse(refusal, out);
        } else if fitting.len() < run.len() {
            self.refuse(Refusal::MessageTooLarge(limits.message_bytes), out);
        }
        if let Fate::Good { gathered, pieces_given } = &mut self.fate {
            gather(fitting, gathered, pieces_given, out);
        }
    }

    fn read_header(&mut self, run: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let is_over = self.header.as_mut().map_or(Ok(false), |header| header.read(run, limits))?;
        if is_over {
            self.header = None;
        }
        Ok(())
    }

    /// The first reason counts.
    fn refuse(&mut self, refusal: Refusal, out: &mut Actions) {
        if let Fate::Good { pieces_given, .. } = self.fate {
            if pieces_given {
                out.discard();
            }
            self.header = None;
            self.fate = Fate::Refused(refusal);
        }
    }
}

/// Adds `run` to what is gathered; a piece is given on when it is full and something follows.
fn gather(mut run: &[u8], gathered: &mut Vec<u8>, pieces_given: &mut bool, out: &mut Actions) {
    while !run.is_empty() {
        let full = if *pieces_given { FURTHER_PIECE_BYTES } else { FIRST_PIECE_BYTES };
        if gathered.len() == full {
            *pieces_given = true;
            let piece = std::mem::replace(gathered, Vec::with_capacity(FURTHER_PIECE_BYTES));
            out.append(piece.into());
            continue;
        }
        let (fitting, rest) = run.split_at(run.len().min(full - gathered.len()));
        gathered.extend_from_slice(fitting);
        run = rest;
    }
}

/// Follows a header to its end, counts its bytes and its `Received` fields.
#[derive(Clone, Debug, Default)]
struct Header {
    bytes: usize,
    hops: usize,
    /// Lines that were seen to be part of it.
    lines: usize,
    /// How the current line begins.
    start: Vec<u8>,
}

impl Header {
    /// Returns whether the header is over.
    fn read(&mut self, mut run: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        while !run.is_empty() {
            let line_end = memchr(b'\n', run).map_or(run.len(), |at| at + 1);
            let unseen = FIELD_START_BYTES - self.start.len();
            let (part, rest) = run.split_at(if unseen > 0 { line_end.min(unseen) } else { line_end });
            self.bytes += part.len();
            if self.bytes > limits.header_bytes {
                return Err(Refusal::HeaderTooLarge(limits.header_bytes));
            }
            self.start.extend_from_slice(&part[..part.len().min(unseen)]);
            if self.is_over() {
                return Ok(true);
            }
            if part.ends_with(b"\n") {
                self.end_line(limits)?;
            }
            run = rest;
        }
        Ok(false)
    }

    /// A blank line ends the header. Where the very first line is no field, there is none: scripts send such text.
    fn is_over(&self) -> bool {
        let is_whole = self.start.ends_with(b"\n");
        let is_blank = is_whole && self.start.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        let is_known = is_whole || self.start.len() == FIELD_START_BYTES;
        is_blank || (self.lines == 0 && is_known && !begins_header(&self.start))
    }

    fn end_line(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.lines += 1;
        if Field::parse(&self.start).is_some_and(|field| field.is("Received")) {
            self.hops += 1;
        }
        self.start.clear();
        if self.hops > limits.hops { Err(Refusal::TooManyHops(limits.hops)) } else { Ok(()) }
    }
}

/// A field, or the line by which mailboxes in a file begin a message.
fn begins_header(line: &[u8]) -> bool {
    Field::parse(line).is_some() || line.starts_with(b"From ") || line.starts_with(b">From ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Action;

    fn limits() -> Limits {
        Limits { message_bytes: 1000, header_bytes: 300, hops: 2, ..Limits::default() }
    }

    /// How a message ends: its size, or the reason why it was refused.
    fn judged(content: &[u8], cut: usize) -> Result<usize, Refusal> {
        let mut incoming = Incoming::behind(LineEnd::CrLf, false);
        let mut out = Actions::default();
        for piece in content.chunks(cut).chain([&b"\r\n.\r\n"[..]]) {
            incoming.take(piece, &limits(), &mut out);
        }
        incoming.finish().map(|rest| rest.len())
    }

    #[test]
    fn limits_of_size_header_and_hops() {
        let too_many_hops = b"Received: a\r\nreceived : b\r\nSubject: x\r\n y\r\nRECEIVED: c\r\n\r\n".to_vec();
        let in_body = b"Received: a\r\nReceived: b\r\n\r\nReceived: c\r\nReceived: d\r\n".to_vec();
        let folded = b"X: a\r\n Received: b\r\n Received: c\r\nX-Received: d\r\n Received: e\r\n".to_vec();
        let mbox = b"From a@b today\nReceived: a\nReceived: b\nReceived: c\n\n".to_vec();
        let long_header = format!("X: {}\r\n\r\n", "y".repeat(400)).into_bytes();
        let long_first_line = format!("{}\r\n\r\n", "y".repeat(400)).into_bytes();
        let long_body = format!("X: y\r\n\r\n{}", "y".repeat(500)).into_bytes();
        let no_header = format!("disk full\r\n{}", "Received: z\r\n".repeat(50)).into_bytes();
        let too_long = format!("X: y\r\n\r\n{}", "Received: z\r\n".repeat(80)).into_bytes();
        for (content, expected) in [
            (too_many_hops, Some(Refusal::TooManyHops(2))),
            (in_body, None),
            (folded, None),
            (mbox, Some(Refusal::TooManyHops(2))),
            (long_header, Some(Refusal::HeaderTooLarge(300))),
            (long_first_line, None),
            (long_body, None),
            (no_header, None),
            (too_long, Some(Refusal::MessageTooLarge(1000))),
        ] {
            for cut in [1, 7, 128, content.len()] {
                assert_eq!(judged(&content, cut).err(), expected, "{}", content.escape_ascii());
            }
        }
    }

    #[test]
    fn large_content_leaves_in_whole_pieces() {
        let limits = Limits::default();
        let (first, further) = (FIRST_PIECE_BYTES, FURTHER_PIECE_BYTES);
        for (size, pieces) in [
            (first, &[][..]),
            (first + 1, &[first]),
            (first + further, &[first]),
            (first + 2 * further, &[first, further]),
        ] {
            let content = vec![b'x'; size - 2];
            let mut incoming = Incoming::behind(LineEnd::CrLf, false);
            let mut out = Actions::default();
            incoming.take(&content, &limits, &mut out);
            assert_eq!(incoming.take(b"\r\n.\r\nQUIT", &limits, &mut out), Progress::Ended(b"QUIT"));
            let given = out.into_list();
            assert_eq!(given.len(), pieces.len());
            for (action, bytes) in given.iter().zip(pieces) {
                assert!(matches!(action, Action::Append(piece) if piece.len() == *bytes));
            }
            let rest = incoming.finish().expect("it is within the limits");
            assert_eq!(rest.len() + pieces.iter().sum::<usize>(), size);
        }
    }
}
