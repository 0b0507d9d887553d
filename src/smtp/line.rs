//! Bytes into lines: command lines as they end, and message content without the dots that transparency put in.
//!
//! Touches nothing. Two small machines that may be fed in pieces of any size and give the same result for every
//! cut. Memory is bounded by the longest command line allowed; content is handed on at once and in long runs.
//!
//! A lone LF ends a line of text, because many libraries send it, but takes no part in the end of data: only
//! CR LF `.` CR LF is that (RFC 5321 §4.1.1.4; reliability-security.md, section 3 for what else was once believed). The
//! exception is a client that is listed for it and has said every line with LF alone (legacy-clients.md, section 6).

use std::borrow::Cow;
use std::mem;

use memchr::{memchr, memmem};

/// A client that sends this many bytes without a line end is not speaking SMTP.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    CrLf,
    /// LF without CR.
    Lf,
}

/// What came out of the bytes of a client that sends commands.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its end.
    Whole(Cow<'a, [u8]>, LineEnd),
    /// A line over the limit; this is how it began. What follows until its end is skipped.
    TooLong(Cow<'a, [u8]>),
    /// A line that was too long, and still did not end.
    Endless,
}

/// Cuts bytes into command lines. A line ends at LF; one CR before it belongs to the end.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Bytes allowed in a line, without its end.
    limit: usize,
    /// The beginning of a line whose end did not come in yet.
    partial: Vec<u8>,
    /// Bytes seen of a line that is being skipped.
    skipped: Option<usize>,
}

impl Lines {
    /// Lines of at most `limit` bytes, without their ends.
    #[must_use]
    pub fn new(limit: usize) -> Lines {
        Lines { limit, partial: Vec::new(), skipped: None }
    }

    /// The next line, if it is complete. Moves `input` behind what was taken.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Line<'a>> {
        if let Some(seen) = self.skipped {
            let room = LINE_BYTES_MAX.saturating_sub(seen);
            match take_line(input, room) {
                Taken::Line(_) => self.skipped = None,
                Taken::Part(part) => {
                    self.skipped = Some(seen + part.len());
                    return None;
                }
                Taken::Full(_) => return Some(Line::Endless),
            }
        }
        // The longest line that is allowed, with its CR and LF.
        let room = self.limit.saturating_add(2).saturating_sub(self.partial.len());
        match take_line(input, room) {
            Taken::Line(part) => Some(self.judge(part)),
            Taken::Part(part) => {
                self.partial.extend_from_slice(part);
                None
            }
            Taken::Full(part) => {
                let start = self.join(part);
                self.skipped = Some(start.len());
                Some(Line::TooLong(start))
            }
        }
    }

    fn judge<'a>(&mut self, part: &'a [u8]) -> Line<'a> {
        let mut line = self.join(part);
        let end = if line.last() == Some(&b'\r') { LineEnd::CrLf } else { LineEnd::Lf };
        if end == LineEnd::CrLf {
            match &mut line {
                Cow::Borrowed(bytes) => *bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes),
                Cow::Owned(bytes) => bytes.truncate(bytes.len() - 1),
            }
        }
        if line.len() > self.limit { Line::TooLong(line) } else { Line::Whole(line, end) }
    }

    fn join<'a>(&mut self, part: &'a [u8]) -> Cow<'a, [u8]> {
        if self.partial.is_empty() {
            return Cow::Borrowed(part);
        }
        self.partial.extend_from_slice(part);
        Cow::Owned(mem::take(&mut self.partial))
    }
}

/// What could be taken from the front of the input.
enum Taken<'a> {
    /// Everything before an LF, which was taken too.
    Line(&'a [u8]),
    /// All there is: the line goes on in the next input.
    Part(&'a [u8]),
    /// As much as there was room for, and no LF in it.
    Full(&'a [u8]),
}

fn take_line<'a>(input: &mut &'a [u8], room: usize) -> Taken<'a> {
    let window = input.get(..room).unwrap_or(input);
    if let Some(at) = memchr(b'\n', window) {
        let (line, rest) = input.split_at(at);
        *input = rest.strip_prefix(b"\n").unwrap_or(rest);
        return Taken::Line(line);
    }
    let (part, rest) = input.split_at(window.len());
    *input = rest;
    if part.len() < room { Taken::Part(part) } else { Taken::Full(part) }
}

/// Takes content out of its transparent form (RFC 5321 §4.5.2) and finds its end.
///
/// Everything but dots is kept as it came: line ends, stray CRs and NULs are the business of `delivery::repair`.
#[derive(Clone, Debug)]
pub struct Dots {
    place: Place,
    /// Whether LF `.` LF is the end, and nothing else.
    lf_ends: bool,
    /// It came in where it is not.
    lf_ended_nothing: bool,
}

/// Where in the text the next byte stands. Bytes that may belong to the end of data are held back.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a line.
    Inside,
    /// In a line, behind a CR.
    Cr,
    /// At the start of a line.
    Start(LineEnd),
    /// Behind a dot that starts a line, held back.
    Dot(LineEnd),
    /// Behind CR LF `.` CR; dot and CR are held back.
    DotCr,
}

impl Dots {
    /// Content that starts behind a DATA command whose line ended so. Only a CR LF there can be the first half of
    /// an end of data.
    #[must_use]
    pub fn behind(end: LineEnd) -> Dots {
        Dots { place: Place::Start(end), lf_ends: false, lf_ended_nothing: false }
    }

    /// The same of a client that has said everything with LF alone, and may end its messages so.
    #[must_use]
    pub fn of_lf_only() -> Dots {
        Dots { place: Place::Start(LineEnd::Lf), lf_ends: true, lf_ended_nothing: false }
    }

    /// Whether LF `.` LF came in and was text: the client may wait for an answer to it.
    #[must_use]
    pub fn lf_ended_nothing(&self) -> bool {
        self.lf_ended_nothing
    }

    /// Gives the content in `input` to `keep`, in as few runs as possible. Returns what stands behind the end of
    /// data, once that came in; then this is used up.
    pub fn unstuff<'a>(&mut self, input: &'a [u8], mut keep: impl FnMut(&[u8])) -> Option<&'a [u8]> {
        let mut rest = input;
        while let Some((&byte, behind)) = rest.split_first() {
            self.place = match (self.place, byte) {
                (Place::Start(end), b'.') => {
                    rest = behind;
                    Place::Dot(end)
                }
                (Place::Dot(LineEnd::CrLf), b'\r') => {
                    rest = behind;
                    Place::DotCr
                }
                (Place::DotCr, b'\n') => return Some(behind),
                (Place::Dot(LineEnd::Lf), b'\n') if self.lf_ends => return Some(behind),
                // CR CR LF is a line end that some programs write by mistake: a lone dot before it is text.
                (Place::DotCr, b'\r') => {
                    keep(b".\r");
                    Place::Cr
                }
                (Place::DotCr, _) => {
                    keep(b"\r");
                    Place::Cr
                }
                // A lone dot in front of a bare LF is text.
                (Place::Dot(LineEnd::CrLf), b'\n') => {
                    keep(b".");
                    Place::Inside
                }
                // Behind a bare LF only libraries that stuff there too double a dot (legacy-clients.md, section 6).
                (Place::Dot(LineEnd::CrLf), _) | (Place::Dot(LineEnd::Lf), b'.') => Place::Inside,
                (Place::Dot(LineEnd::Lf), _) => {
                    self.lf_ended_nothing |= byte == b'\n';
                    keep(b".");
                    Place::Inside
                }
                (place @ (Place::Inside | Place::Cr | Place::Start(_)), _) => {
                    let (run, behind) = text_run(rest);
                    keep(run);
                    rest = behind;
                    match place_behind(run, place) {
                        Place::Start(_) if self.lf_ends => Place::Start(LineEnd::Lf),
                        place => place,
                    }
                }
            };
        }
        None
    }
}

/// Splits behind the first LF that a dot follows: nothing before it needs a look.
fn text_run(text: &[u8]) -> (&[u8], &[u8]) {
    match memmem::find(text, b"\n.") {
        Some(at) => text.split_at(at + 1),
        None => (text, &[]),
    }
}

fn place_behind(run: &[u8], before: Place) -> Place {
    match run {
        [.., b'\r', b'\n'] => Place::Start(LineEnd::CrLf),
        [b'\n'] if matches!(before, Place::Cr) => Place::Start(LineEnd::CrLf),
        [.., b'\n'] => Place::Start(LineEnd::Lf),
        [.., b'\r'] => Place::Cr,
        _ => Place::Inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that came out of `pieces`: what was told, and how each line ended.
    fn lines_of(limit: usize, pieces: &[&[u8]]) -> Vec<(String, &'static str)> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = lines.next(&mut input) {
                let shown = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
                match line {
                    Line::Whole(text, LineEnd::CrLf) => found.push((shown(text), "crlf")),
                    Line::Whole(text, LineEnd::Lf) => found.push((shown(text), "lf")),
                    Line::TooLong(start) => found.push((shown(start), "too long")),
                    Line::Endless => {
                        found.push((String::new(), "endless"));
                        return found;
                    }
                }
            }
        }
        found
    }

    fn content_of(pieces: &[&[u8]]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut dots = Dots::behind(LineEnd::CrLf);
        let (mut content, mut behind) = (Vec::new(), None);
        for piece in pieces {
            match &mut behind {
                Some(behind) => Vec::extend_from_slice(behind, piece),
                None => behind = dots.unstuff(piece, |run| content.extend_from_slice(run)).map(<[u8]>::to_vec),
            }
        }
        (content, behind)
    }

    /// Cuts `bytes` at random places; empty pieces happen.
    fn cut<'a>(bytes: &'a [u8], random: &mut fastrand::Rng) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = (0..random.usize(0..8)).map(|_| random.usize(0..=bytes.len())).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for place in places {
            pieces.push(&bytes[start..place]);
            start = place;
        }
        pieces.push(&bytes[start..]);
        pieces
    }

    fn random_bytes(random: &mut fastrand::Rng) -> Vec<u8> {
        (0..random.usize(0..60)).map(|_| b"\r\n\n..\0ab"[random.usize(0..8)]).collect()
    }

    #[test]
    fn lines_end_at_lf_and_long_ones_are_told_once() {
        let told = lines_of(4, &[b"abcd\r\nabc\n\r\nabcde\r\nab\rcd\nx\r\nabcd\rx\r\nlast"]);
        let expected = [
            ("abcd", "crlf"),
            ("abc", "lf"),
            ("", "crlf"),
            ("abcde\r", "too long"),
            ("ab\rcd", "too long"),
            ("x", "crlf"),
            ("abcd\rx", "too long"),
        ];
        let told: Vec<_> = told.iter().map(|(text, end)| (text.as_str(), *end)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_line_without_end_ends_the_patience() {
        let endless = vec![b'x'; LINE_BYTES_MAX];
        let told: Vec<_> = lines_of(4, &[&endless]).into_iter().map(|(_, end)| end).collect();
        assert_eq!(told, ["too long", "endless"]);
        let mut long = vec![b'x'; LINE_BYTES_MAX - 1];
        long.extend_from_slice(b"\nNOOP\n");
        let told: Vec<_> = lines_of(4, &[&long]).into_iter().map(|(_, end)| end).collect();
        assert_eq!(told, ["too long", "lf"]);
    }

    #[test]
    fn the_same_bytes_give_the_same_lines_however_they_are_cut() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let bytes = random_bytes(&mut random);
            assert_eq!(lines_of(5, &cut(&bytes, &mut random)), lines_of(5, &[&bytes]), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_content_however_they_are_cut() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..50_000 {
            let bytes = random_bytes(&mut random);
            assert_eq!(content_of(&cut(&bytes, &mut random)), content_of(&[&bytes]), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_was_stuffed_comes_out_as_it_was() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let (mut canonical, mut stuffed) = (String::new(), String::new());
            for _ in 0..random.usize(0..8) {
                let line = ["", ".", "..", "a", ".a", "a."][random.usize(0..6)];
                canonical.extend([line, "\r\n"]);
                stuffed.extend([if line.starts_with('.') { "." } else { "" }, line, "\r\n"]);
            }
            let sent = format!("{stuffed}.\r\nQUIT\r\n");
            let (content, behind) = content_of(&cut(sent.as_bytes(), &mut random));
            assert_eq!(String::from_utf8_lossy(&content), canonical);
            assert_eq!(behind.as_deref(), Some(&b"QUIT\r\n"[..]));
        }
    }

    #[test]
    fn dots_at_line_starts() {
        for (sent, kept) in [
            (&b".\r\n"[..], &b""[..]),
            (b"..x\r\n.\r\n", b".x\r\n"),
            (b".x\r\n.\r\n", b"x\r\n"),
            (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
            (b"a\n..b\r\n.\r\n", b"a\n.b\r\n"),
            (b"a\n.b\r\n.\r\n", b"a\n.b\r\n"),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n.\nb\r\n"),
            (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n.\r\r\nb\r\n"),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
            (b"a\r\n\0.\r\nb\r\n.\r\n", b"a\r\n\0.\r\nb\r\n"),
            (b"a\r\r\n.\r\n", b"a\r\r\n"),
            (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n"),
        ] {
            let expected = (kept.to_vec(), Some(Vec::new()));
            assert_eq!(content_of(&[sent]), expected, "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn who_speaks_with_lf_alone_ends_so_too() {
        for (sent, kept) in [
            (&b".\nQUIT\n"[..], &b""[..]),
            (b"a\n.\nQUIT\n", b"a\n"),
            (b"a\r\n.\nQUIT\n", b"a\r\n"),
            (b"a\r\n.\r\nb\r.\r\n.\nQUIT\n", b"a\r\n.\r\nb\r.\r\n"),
            (b"a\n..\n.b\n.\rc\n.\nQUIT\n", b"a\n.\n.b\n.\rc\n"),
        ] {
            for at in 0..sent.len() - 5 {
                let (mut dots, mut content, mut behind) = (Dots::of_lf_only(), Vec::new(), None);
                for piece in [&sent[..at], &sent[at..]] {
                    behind = dots.unstuff(piece, |run| content.extend_from_slice(run));
                }
                assert_eq!((content.as_slice(), behind), (kept, Some(&b"QUIT\n"[..])), "{}", sent.escape_ascii());
            }
        }
    }

    #[test]
    fn behind_a_data_command_with_bare_lf_the_first_dot_ends_nothing() {
        let mut dots = Dots::behind(LineEnd::Lf);
        let mut content = Vec::new();
        assert_eq!(dots.unstuff(b".\r\n", |run| content.extend_from_slice(run)), None);
        assert_eq!(content, b".\r\n");
    }
}
