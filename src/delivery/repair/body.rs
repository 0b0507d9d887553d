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
    /// Some line is too long that may be changed, or a header field of a part is.
    pub too_long: bool,
    /// The parts to be encoded anew, in ascending order.
    pub parts: Vec<u32>,
    /// Octets above 127 will be sent.
    pub eight_bit: bool,
    /// A message without parts came with octets above 127: the charset that they are in.
    pub raw_charset: Option<&'static str>,
    /// How much encoding will add, about.
    pub growth: u64,
    utf8: Utf8,
    stretch: Option<Stretch>,
}

/// One region on its way.
#[derive(Debug)]
struct Stretch {
    region: Region,
    bytes: u64,
    /// Length of the line so far.
    line: usize,
    too_long: bool,
    /// It holds octets above 127.
    high: bool,
}

impl Findings {
    fn end_stretch(&mut self) {
        let Some(Stretch { region, bytes, too_long, high, .. }) = self.stretch.take() else { return };
        if high && region.part == 0 && region.remedy == Remedy::Encode {
            self.raw_charset = Some(if self.utf8.is_valid() { "utf-8" } else { "windows-1252" });
        }
        let encoded = too_long && matches!(region.remedy, Remedy::Encode | Remedy::Rewrap);
        self.eight_bit |= high && !encoded;
        self.too_long |= too_long && region.remedy != Remedy::Leave;
        if too_long && !matches!(region.remedy, Remedy::Leave | Remedy::Cut) {
            self.parts.push(region.part);
            // A soft break for each line; escapes for raw octets may double the size.
            self.growth += if high { bytes } else { bytes / 25 };
        }
    }
}

impl Visitor for Findings {
    fn header(&mut self, _: Region, header: &[u8], _: bool) {
        self.end_stretch();
        self.too_long |= header::has_long_line(header);
        self.eight_bit |= !header.is_ascii();
    }

    fn begin(&mut self, region: Region) {
        self.end_stretch();
        self.stretch = Some(Stretch { region, bytes: 0, line: 0, too_long: false, high: false });
    }

    fn text(&mut self, text: &[u8]) {
        let Some(stretch) = &mut self.stretch else { return };
        let high = !text.is_ascii();
        stretch.line += text.len();
        stretch.bytes += text.len() as u64;
        stretch.high |= high;
        if stretch.region.part == 0 && (high || self.utf8.is_open()) {
            self.utf8.read(text);
        }
    }

    fn line_end(&mut self) {
        let Some(stretch) = &mut self.stretch else { return };
        stretch.too_long |= stretch.line > LINE_BYTES_MAX;
        stretch.line = 0;
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
