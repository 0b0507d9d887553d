//! Bytes into command lines and content: the two machines of `smtp::line` against models that see everything at once.

use std::borrow::Cow;

use memchr::memmem;
use smarthost::mail::stuffing::Stuffing;
use smarthost::smtp::line::{Dots, Line, LineEnd, Lines};

use super::{choices, cut};

/// As `smtp::line` has it.
const LINE_BYTES_MAX: usize = 64 * 1024;

pub fn holds(input: &[u8]) {
    let ([limit, seed], text) = choices(input);
    let limit = usize::from(limit);
    let whole = lines_of(limit, &[text]);
    assert_eq!(lines_of(limit, &cut(text, seed)), whole, "lines depend on the cut");
    assert_eq!(lines_of(limit, &text.chunks(1).collect::<Vec<_>>()), whole, "lines depend on the cut");
    assert_eq!(whole, lines_of_model(limit, text));
    for end in [LineEnd::CrLf, LineEnd::Lf] {
        let whole = content_of(end, &[text]);
        assert_eq!(content_of(end, &cut(text, seed)), whole, "content depends on the cut");
        assert_eq!(content_of(end, &text.chunks(1).collect::<Vec<_>>()), whole, "content depends on the cut");
        compare_content(end, text, &whole);
    }
    stuffing_is_undone(text, seed);
}

/// What was told of each line, and how it ended.
type Told = (Vec<u8>, &'static str);

fn lines_of(limit: usize, pieces: &[&[u8]]) -> Vec<Told> {
    let mut lines = Lines::new(limit);
    let mut told = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while let Some(line) = lines.next(&mut rest) {
            told.push(match line {
                Line::Whole(text, LineEnd::CrLf) => (text.into_owned(), "crlf"),
                Line::Whole(text, LineEnd::Lf) => (text.into_owned(), "lf"),
                Line::TooLong(start) => (start.into_owned(), "too long"),
                Line::Endless => {
                    told.push((Vec::new(), "endless"));
                    return told;
                }
            });
        }
    }
    told
}

/// The same, with all of the text in view.
fn lines_of_model(limit: usize, text: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    for raw in text.split_inclusive(|&byte| byte == b'\n') {
        let line = raw.strip_suffix(b"\n");
        let start = &raw[..raw.len().min(limit + 2)];
        match line {
            _ if !start.ends_with(b"\n") && start.len() == limit + 2 => {
                told.push((start.to_vec(), "too long"));
                if line.map_or(raw.len(), <[u8]>::len) >= LINE_BYTES_MAX {
                    told.push((Vec::new(), "endless"));
                    return told;
                }
            }
            None => {}
            Some(line) => {
                let (line, end) = line.strip_suffix(b"\r").map_or((line, "lf"), |line| (line, "crlf"));
                told.push((line.to_vec(), if line.len() > limit { "too long" } else { end }));
            }
        }
    }
    told
}

/// The content, and what stands behind the end of data once that came in.
type Content = (Vec<u8>, Option<Vec<u8>>);

fn content_of(end: LineEnd, pieces: &[&[u8]]) -> Content {
    let mut dots = Dots::behind(end);
    let (mut content, mut behind) = (Vec::new(), None);
    for piece in pieces {
        match &mut behind {
            Some(behind) => Vec::extend_from_slice(behind, piece),
            None => behind = dots.unstuff(piece, |run| content.extend_from_slice(run)).map(<[u8]>::to_vec),
        }
    }
    (content, behind)
}

/// RFC 5321 §4.1.1.4: the first CR LF `.` CR LF ends the data, and nothing else does.
fn compare_content(end: LineEnd, text: &[u8], (content, behind): &Content) {
    let framed: Cow<[u8]> = match end {
        LineEnd::CrLf => [b"\r\n", text].concat().into(),
        LineEnd::Lf => text.into(),
    };
    let ends_at = memmem::find(&framed, b"\r\n.\r\n");
    let expected_behind = ends_at.map(|at| &framed[at + 5..]);
    assert_eq!(behind.as_deref(), expected_behind, "the end of data is elsewhere");
    let Some(at) = ends_at else { return };
    // The line end before the dot belongs to the content, but for the one that was put in front here.
    let in_front = framed.len() - text.len();
    let stuffed = framed.get(in_front..at + 2).unwrap_or_default();
    assert_eq!(*content, unstuffed_model(end, stuffed), "content is altered");
}

fn unstuffed_model(end: LineEnd, stuffed: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut behind_crlf = end == LineEnd::CrLf;
    for line in stuffed.split_inclusive(|&byte| byte == b'\n') {
        // Behind a bare LF only a doubled dot was stuffed. A dot alone on a line that ends otherwise is text.
        let is_lone = matches!(line, b".\n") || line.starts_with(b".\r\r");
        let is_stuffed = if behind_crlf { line.starts_with(b".") && !is_lone } else { line.starts_with(b"..") };
        content.extend_from_slice(&line[usize::from(is_stuffed)..]);
        behind_crlf = line.ends_with(b"\r\n");
    }
    content
}

/// No content can end itself, and all of it comes back.
fn stuffing_is_undone(text: &[u8], seed: u8) {
    let mut content = text.to_vec();
    content.extend_from_slice(b"\r\n");
    let mut stuffing = Stuffing::default();
    let mut sent: Vec<u8> = cut(&content, seed).into_iter().flat_map(|piece| stuffing.stuff(piece)).collect();
    sent.extend_from_slice(b".\r\nQUIT\r\n");
    let (received, behind) = content_of(LineEnd::CrLf, &[&sent]);
    assert_eq!(behind.as_deref(), Some(&b"QUIT\r\n"[..]), "content ended itself");
    assert_eq!(received, content, "content was altered on its way");
}
