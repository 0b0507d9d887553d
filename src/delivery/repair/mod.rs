//! Repair: what arrived becomes what Gmail takes.
//!
//! Pure and total: no sockets, files, clock or randomness, no errors. The same stored message and settings give
//! the same bytes on every attempt. It streams: memory holds the header and a constant, whatever the body's size.
//!
//! The stored content is read twice, in the same or other pieces: [`Survey`] learns what is wrong and makes a
//! [`Plan`], [`Repair`] carries it out.
//!
//! Guarantees for any input: CRLF line ends and no other CR or LF, no NUL, one CRLF at the end, one empty line
//! between header and body, exactly one `From` with one address, `Date`, `Message-ID` and our `Received`, and no
//! line above 998 octets. The one exception: lines of signed and encrypted parts (`multipart/signed`,
//! `multipart/encrypted`, `application/pkcs7-mime`) keep their length, since a change would break them. Long lines
//! elsewhere are encoded so that the decoded content stays the same; only where there is no content to speak of
//! (between parts), or an unknown encoding, or more structure than `structure` follows, are they cut.
//! Repairing what was repaired adds a `Received` and changes nothing else.

mod body;
mod border;
mod fields;
mod head;
mod line_ends;
mod long_lines;
pub mod mailboxes;
mod parameters;
mod required;
mod sender;
mod structure;

use std::sync::Arc;

pub use border::may_begin_header;

use body::{Findings, Rewriter};
use line_ends::{LineEnds, Lines, LoneCr};
use structure::{Entity, Walk};

use crate::mail::{Address, Message};
use crate::policy::Pattern;

/// What the header of one message may take. A larger one cannot arrive; what is behind it counts as body.
const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// What repair has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What we call ourselves: a host name.
    pub hostname: String,
    /// The account's own address, in the spelling that Gmail knows.
    pub account_address: Address,
    pub from: FromRule,
    /// Further addresses that Gmail has confirmed for the account.
    pub send_as: Vec<Pattern>,
}

/// What becomes of a `From` that the account may not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromRule {
    /// The account's address takes its place.
    Rewrite,
    /// It stays; it is only made a valid one.
    Keep,
}

/// What is to be sent, decided.
#[derive(Debug)]
pub struct Plan {
    /// The repaired header with the empty line behind it.
    pub header: Vec<u8>,
    /// Octets that will be sent: exactly, or about where parts are encoded anew.
    pub size: u64,
    /// Some octet is above 127 (RFC 6152).
    pub eight_bit: bool,
    /// A header field keeps an address that is not ASCII (RFC 6531).
    pub smtputf8: bool,
    /// What was done, for people.
    pub changes: Vec<&'static str>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Nothing is wrong: the bytes from this place on are sent as they are.
    AsReceived { from: u64 },
    /// Canonical lines from this place on; these parts are encoded anew.
    Rewritten { from: u64, lone_cr: LoneCr, entity: Entity, parts: Vec<u32> },
}

/// Reads a stored message for the first time.
///
/// Whether a CR without an LF ends a line is known only at the end, so until an LF shows up both readings are kept.
#[derive(Debug)]
pub struct Survey {
    as_line_end: Option<Reading>,
    as_blank: Reading,
    /// The last byte was the first LF. One at the very end does not count: it came with the end of the data.
    after_lf: bool,
}

impl Default for Survey {
    fn default() -> Survey {
        Survey::new()
    }
}

impl Survey {
    /// Begins a message.
    #[must_use]
    pub fn new() -> Survey {
        let as_line_end = Some(Reading::new(LoneCr::LineEnd));
        Survey { as_line_end, as_blank: Reading::new(LoneCr::Blank), after_lf: false }
    }

    /// Reads the next piece of the stored content.
    pub fn read(&mut self, piece: &[u8]) {
        if let Some(reading) = &mut self.as_line_end {
            let lf = memchr::memchr(b'\n', piece);
            if self.after_lf && !piece.is_empty() || lf.is_some_and(|at| at + 1 < piece.len()) {
                self.as_line_end = None;
            } else {
                self.after_lf |= lf.is_some();
                reading.read(piece);
            }
        }
        self.as_blank.read(piece);
    }

    /// Decides what is to be sent.
    #[must_use]
    pub fn finish(self, settings: &Settings, message: &Message) -> Plan {
        self.as_line_end.unwrap_or(self.as_blank).finish(settings, message)
    }
}

/// The message as it is read with one meaning of CR.
#[derive(Debug)]
struct Reading {
    line_ends: LineEnds,
    intake: Intake,
}

/// Lines on their way into the header or the body.
#[derive(Debug)]
struct Intake {
    /// Octets in canonical lines so far.
    size: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The header may still go on; its last line begins at `line_at`.
    Header {
        block: Vec<u8>,
        line_at: usize,
    },
    Body(Box<InBody>),
}

#[derive(Debug)]
struct InBody {
    fields: Vec<u8>,
    /// Where the body begins, in canonical octets.
    from: u64,
    /// What had to be guessed about the border.
    change: Option<&'static str>,
    entity: Entity,
    walk: Walk<Findings>,
}

impl Reading {
    fn new(lone_cr: LoneCr) -> Reading {
        let place = Place::Header { block: Vec::new(), line_at: 0 };
        Reading { line_ends: LineEnds::new(lone_cr), intake: Intake { size: 0, place } }
    }

    fn read(&mut self, piece: &[u8]) {
        self.line_ends.read(piece, &mut self.intake);
    }

    fn finish(mut self, settings: &Settings, message: &Message) -> Plan {
        self.line_ends.finish(&mut self.intake);
        let size = self.intake.size;
        let InBody { fields, from, change, entity, walk } = self.intake.into_body();
        let findings = walk.finish();
        let mut head = required::repair(&fields, &entity, &findings, settings, message);
        head.changes.extend(change);
        if self.line_ends.altered() {
            head.changes.push("made every line end CRLF, and removed what is neither text nor line end");
        }
        if findings.too_long {
            head.changes.push("shortened long lines in the body");
        }
        let smtputf8 = !head.bytes.is_ascii();
        let body = if self.line_ends.altered() || findings.too_long {
            Body::Rewritten { from, lone_cr: self.line_ends.lone_cr(), entity, parts: findings.parts }
        } else {
            Body::AsReceived { from }
        };
        Plan {
            size: head.bytes.len() as u64 + (size - from) + findings.growth,
            eight_bit: smtputf8 || findings.eight_bit,
            smtputf8,
            header: head.bytes,
            changes: head.changes,
            body,
        }
    }
}

impl Intake {
    /// Ends the header, if it has not ended yet.
    fn into_body(mut self) -> InBody {
        if let Place::Header { block, .. } = &mut self.place {
            self.place = Place::Body(Box::new(InBody::open(std::mem::take(block))));
        }
        match self.place {
            Place::Body(body) => *body,
            Place::Header { block, .. } => InBody::open(block),
        }
    }
}

impl InBody {
    /// Finds the border in the beginning of a message, and begins the body with what is behind it.
    fn open(mut block: Vec<u8>) -> InBody {
        let border = border::find(&block);
        let rest = block.split_off(border.body_at.min(block.len()));
        let fields = block.get(border.fields.clone()).unwrap_or_default().to_vec();
        let entity = Entity::of(&fields);
        let mut walk = Walk::new(entity.clone(), Findings::default());
        for line in rest.split_inclusive(|&byte| byte == b'\n') {
            let text = line.strip_suffix(b"\r\n");
            walk.text(text.unwrap_or(line));
            if text.is_some() {
                walk.line_end();
            }
        }
        InBody { fields, from: border.body_at as u64, change: border.change, entity, walk }
    }
}

impl Lines for Intake {
    fn text(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.place {
            Place::Body(body) => body.walk.text(bytes),
            Place::Header { block, .. } => {
                block.extend_from_slice(bytes);
                if block.len() > HEADER_BYTES_MAX {
                    self.place = Place::Body(Box::new(InBody::open(std::mem::take(block))));
                }
            }
        }
    }

    fn line_end(&mut self) {
        self.size += 2;
        match &mut self.place {
            Place::Body(body) => body.walk.line_end(),
            Place::Header { block, line_at } => {
                let line = block.get(*line_at..).unwrap_or_default();
                let ends = line.is_empty() || *line_at == 0 && !may_begin_header(line);
                block.extend_from_slice(b"\r\n");
                *line_at = block.len();
                if ends {
                    self.place = Place::Body(Box::new(InBody::open(std::mem::take(block))));
                }
            }
        }
    }
}

/// Reads a stored message for the second time, and writes what is to be sent.
#[derive(Debug)]
pub struct Repair {
    plan: Arc<Plan>,
    begun: bool,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// This many octets are still to be skipped; the rest goes as it is.
    Copy {
        skip: u64,
    },
    Rewrite {
        line_ends: LineEnds,
        lines: Box<Skipping>,
    },
}

/// Lines without the header, which the plan has.
#[derive(Debug)]
struct Skipping {
    skip: u64,
    walk: Walk<Rewriter>,
}

impl Lines for Skipping {
    fn text(&mut self, bytes: &[u8]) {
        let rest = skip(bytes, &mut self.skip);
        if !rest.is_empty() {
            self.walk.text(rest);
        }
    }

    fn line_end(&mut self) {
        if self.skip == 0 {
            self.walk.line_end();
        }
        self.skip = self.skip.saturating_sub(2);
    }
}

/// What is left of `bytes` when those to be skipped are gone.
fn skip<'a>(bytes: &'a [u8], skip: &mut u64) -> &'a [u8] {
    let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len());
    *skip -= skipped as u64;
    bytes.get(skipped..).unwrap_or_default()
}

impl Repair {
    /// Begins to write.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Repair {
        let work = match &plan.body {
            Body::AsReceived { from } => Work::Copy { skip: *from },
            Body::Rewritten { from, lone_cr, entity, parts } => {
                let walk = Walk::new(entity.clone(), Rewriter::new(parts));
                let lines = Box::new(Skipping { skip: *from, walk });
                Work::Rewrite { line_ends: LineEnds::new(*lone_cr), lines }
            }
        };
        Repair { plan, begun: false, work }
    }

    /// Reads the next piece of the stored content, and appends to `out` what becomes of it.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.begin(out);
        match &mut self.work {
            Work::Copy { skip: left } => out.extend_from_slice(skip(piece, left)),
            Work::Rewrite { line_ends, lines } => {
                std::mem::swap(out, &mut lines.walk.visitor.out);
                line_ends.read(piece, &mut **lines);
                std::mem::swap(out, &mut lines.walk.visitor.out);
            }
        }
    }

    /// Appends the end.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.begin(out);
        if let Work::Rewrite { mut line_ends, mut lines } = self.work {
            std::mem::swap(out, &mut lines.walk.visitor.out);
            line_ends.finish(&mut *lines);
            *out = lines.walk.finish().out;
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&self.plan.header);
        }
    }
}
