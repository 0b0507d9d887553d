//! The body: what must be changed in it, and the change itself.
//!
//! [`Findings`] looks on while the body is walked for the first time, [`Rewriter`] writes it when it is walked for
//! the second. A part is re-encoded only where one of its lines is too long; every other byte stays.

use super::fields;
use super::long_lines::{Remedy, Shortener};
use super::structure::{Region, Visitor};
use crate::mail::header::{self, Field, LINE_BYTES_MAX};

/// What the first walk learned.
#[derive(Debug, Default)]
pub struct Findings {
    /// Some line is too long, or a header field of a part is.
    pub too_long: bool,
    /// The parts that have such a line, in ascending order. At most one for each part.
    pub parts: Vec<u32>,
    /// Octets above 127 will be sent.
    pub eight_bit: bool,
    /// The content of a message without parts has such octets, as it came.
    pub whole_is_eight_bit: bool,
    /// And they are UTF-8.
    pub whole_is_utf8: bool,
    /// How much encoding will add, about.
    pub growth: u64,
    utf8: Utf8,
    region: Option<Region>,
    line: usize,
    part_too_long: bool,
    part_high: bool,
    part_bytes: u64,
}

impl Findings {
    fn end_region(&mut self) {
        let Some(region) = self.region.take() else { return };
        let whole = region.part == 0 && region.remedy == Remedy::Encode;
        if whole {
            self.whole_is_eight_bit = self.part_high;
            self.whole_is_utf8 = self.utf8.is_valid();
        }
        self.too_long |= self.part_too_long && region.remedy != Remedy::Leave;
        let encoded = self.part_too_long && matches!(region.remedy, Remedy::Encode | Remedy::Rewrap);
        self.eight_bit |= self.part_high && !encoded;
        if self.part_too_long && !matches!(region.remedy, Remedy::Leave | Remedy::Cut) {
            self.parts.push(region.part);
            // Soft breaks, and an escape of two more octets for each octet above 127.
            self.growth += self.part_bytes / if self.part_high { 1 } else { 25 };
        }
    }
}

impl Visitor for Findings {
    fn header(&mut self, _: Region, header: &[u8], _: bool) {
        self.end_region();
        self.too_long |= header::has_long_line(header);
        self.eight_bit |= !header.is_ascii();
    }

    fn begin(&mut self, region: Region) {
        self.end_region();
        self.region = Some(region);
        (self.line, self.part_too_long, self.part_high, self.part_bytes) = (0, false, false, 0);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.line += bytes.len();
        self.part_bytes += bytes.len() as u64;
        let high = !bytes.is_ascii();
        self.part_high |= high;
        if self.region.is_some_and(|region| region.part == 0) && (high || self.utf8.is_open()) {
            self.utf8.read(bytes);
        }
    }

    fn line_end(&mut self) {
        self.part_too_long |= self.line > LINE_BYTES_MAX;
        self.line = 0;
        self.utf8.line_end();
    }
}

/// Tells UTF-8 from other text that comes in pieces.
#[derive(Debug, Default)]
struct Utf8 {
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
    broken: bool,
}

impl Utf8 {
    fn is_open(&self) -> bool {
        !self.begun.is_empty()
    }

    fn is_valid(&self) -> bool {
        !self.broken && !self.is_open()
    }

    fn read(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let (true, Some((&byte, behind))) = (self.is_open(), rest.split_first()) {
            self.begun.push(byte);
            self.judge_begun();
            rest = behind;
        }
        self.check(rest);
    }

    fn judge_begun(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        self.check(&begun);
    }

    fn check(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            self.broken = error.error_len().is_some();
            self.begun = bytes.get(error.valid_up_to()..).unwrap_or_default().to_vec();
        }
        if self.broken {
            self.begun.clear();
        }
    }

    fn line_end(&mut self) {
        self.broken |= self.is_open();
        self.begun.clear();
    }
}

/// Writes the body anew.
#[derive(Debug)]
pub struct Rewriter {
    /// Where it is written to.
    pub out: Vec<u8>,
    /// Parts to be re-encoded that have not come yet, the next one last.
    parts: Vec<u32>,
    /// `None` where the lines stay as they are.
    shortener: Option<Shortener>,
}

impl Rewriter {
    /// `parts` as in [`Findings::parts`].
    #[must_use]
    pub fn new(parts: &[u32]) -> Rewriter {
        Rewriter { out: Vec::new(), parts: parts.iter().rev().copied().collect(), shortener: None }
    }

    fn is_wanted(&self, region: Region) -> bool {
        match region.remedy {
            Remedy::Leave => false,
            Remedy::Cut => true,
            Remedy::Encode | Remedy::SoftBreak | Remedy::Rewrap => self.parts.last() == Some(&region.part),
        }
    }

    fn end_region(&mut self) {
        if let Some(shortener) = self.shortener.take() {
            shortener.finish(&mut self.out);
        }
    }
}

impl Visitor for Rewriter {
    fn header(&mut self, region: Region, header: &[u8], closed: bool) {
        self.end_region();
        let encode = region.remedy == Remedy::Encode && self.is_wanted(region);
        for entry in header::entries(header) {
            let is_encoding = Field::parse(entry).is_some_and(|field| field.is(fields::ENCODING));
            match (encode && is_encoding, header::has_long_line(entry)) {
                (true, _) => {}
                (false, true) => self.out.extend_from_slice(&fields::tidy(entry).bytes),
                (false, false) => self.out.extend_from_slice(entry),
            }
        }
        if encode {
            self.out.extend_from_slice(&header::write(fields::ENCODING, "quoted-printable"));
        }
        if closed || encode {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    fn begin(&mut self, region: Region) {
        self.end_region();
        if self.is_wanted(region) {
            self.shortener = Some(Shortener::new(region.remedy));
            if region.remedy != Remedy::Cut {
                self.parts.pop();
            }
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        match &mut self.shortener {
            Some(shortener) => shortener.text(bytes, &mut self.out),
            None => self.out.extend_from_slice(bytes),
        }
    }

    fn line_end(&mut self) {
        match &mut self.shortener {
            Some(shortener) => shortener.line_end(&mut self.out),
            None => self.out.extend_from_slice(b"\r\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_is_known_however_it_is_cut() {
        for (text, valid) in [
            ("grüße €😀".as_bytes(), true),
            (b"gr\xfc\xdfe", false),
            (b"\xe2\x82", false),
            (b"\xe2\x82\xe2\x82\xac", false),
            (b"\xf0\x9f\x98\x80", true),
        ] {
            for piece in 1..=text.len() {
                let mut utf8 = Utf8::default();
                text.chunks(piece).for_each(|piece| utf8.read(piece));
                utf8.line_end();
                assert_eq!(utf8.is_valid(), valid, "{text:?} by {piece}");
            }
        }
    }
}
