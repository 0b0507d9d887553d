//! Transparency: a line that begins with a dot gets one more, so that no content can end itself (RFC 5321 §4.5.2).

use memchr::memmem;

/// Stuffs content that comes in pieces. Every line feed ends a line.
#[derive(Debug)]
pub struct Stuffing {
    at_line_start: bool,
}

impl Default for Stuffing {
    fn default() -> Stuffing {
        Stuffing { at_line_start: true }
    }
}

impl Stuffing {
    /// The piece as it goes over the wire, with some room behind it for the final dot.
    pub fn stuff(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 64);
        if self.at_line_start && piece.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut copied = 0;
        for line_end in memmem::find_iter(piece, b"\n.") {
            out.extend_from_slice(&piece[copied..line_end + 2]);
            out.push(b'.');
            copied = line_end + 2;
        }
        out.extend_from_slice(&piece[copied..]);
        self.at_line_start = piece.last().map_or(self.at_line_start, |&last| last == b'\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_content_is_cut_the_same_goes_out() {
        let content = b".\r\n..\r\na.b\r\n.c\r\n\r\n.\r\nend\r\n";
        let stuffed = b"..\r\n...\r\na.b\r\n..c\r\n\r\n..\r\nend\r\n";
        for size in 1..=content.len() {
            let mut stuffing = Stuffing::default();
            let out: Vec<u8> = content.chunks(size).flat_map(|piece| stuffing.stuff(piece)).collect();
            assert_eq!(out, stuffed, "in pieces of {size}");
        }
    }
}
