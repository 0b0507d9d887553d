//! The MIME structure of a body, walked line by line (RFC 2046 §5.1).
//!
//! Keeps the open boundaries and the header of the part at hand, nothing else. What lies deeper than
//! [`DEPTH_MAX`], behind [`PARTS_MAX`] parts or in a header of more than [`PART_HEADER_MAX`] is taken as it
//! comes, without structure. Never fails.

use super::line_ends::Lines;
use super::long_lines::Remedy;
use super::parameters::Parameterised;
use crate::mail::header::{self, Field};

/// Containers within containers.
const DEPTH_MAX: usize = 32;
/// Parts in one message.
const PARTS_MAX: u32 = 4096;
/// Octets in the header of one part.
const PART_HEADER_MAX: usize = 64 * 1024;
/// A longer name of an encoding is as good as none.
const ENCODING_BYTES_MAX: usize = 100;
/// RFC 2046 allows 70; some programs know no limit.
const BOUNDARY_BYTES_MAX: usize = 256;

/// What a header says about the content below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entity {
    /// `multipart/*` with its boundary.
    Multipart(Vec<u8>),
    /// A message within the message.
    Message,
    /// Content, with what is done about its long lines.
    Leaf(Remedy),
}

impl Entity {
    /// Reads the header of a message or a part.
    #[must_use]
    pub fn of(header: &[u8]) -> Entity {
        let text = content_type(header).map(|field| field.text()).unwrap_or_default();
        let remedy = encoding_remedy(header);
        let Some(content) = Parameterised::parse(&text, true) else {
            return Entity::Leaf(remedy);
        };
        let kind = content.kind.to_ascii_lowercase();
        match kind.as_str() {
            "multipart/signed" | "multipart/encrypted" | "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
                Entity::Leaf(Remedy::Leave)
            }
            "message/rfc822" | "message/global" | "message/news" if remedy == Remedy::Encode => Entity::Message,
            _ if !kind.starts_with("multipart/") => Entity::Leaf(remedy),
            _ => {
                match content.get("boundary").map(|boundary| boundary.trim_end_matches([' ', '\t']).as_bytes().to_vec())
                {
                    Some(boundary) if (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) => Entity::Multipart(boundary),
                    _ => Entity::Leaf(Remedy::Cut),
                }
            }
        }
    }
}

/// The `Content-Type` that counts: the first that says anything.
fn content_type(header: &[u8]) -> Option<Field<'_>> {
    header::fields(header).find(|field| field.is("Content-Type") && !field.text().is_empty())
}

/// Whether this can be the name of an encoding. What cannot, does not stay in the header under that name: written anew
/// it could look like one.
#[must_use]
pub fn may_be_encoding(text: &str) -> bool {
    text.is_ascii() && text.len() <= ENCODING_BYTES_MAX
}

fn encoding_remedy(header: &[u8]) -> Remedy {
    let said = |field: &Field<'_>| field.is("Content-Transfer-Encoding") && !field.text().is_empty();
    let encoding = header::fields(header).find(said).map(|field| field.text().to_ascii_lowercase());
    let encoding = encoding.filter(|text| may_be_encoding(text));
    let word = encoding.as_deref().and_then(|text| text.split([' ', '\t', ';', '(']).next());
    match word {
        None | Some("7bit" | "8bit" | "binary" | "7-bit" | "8-bit") => Remedy::Encode,
        Some("quoted-printable") => Remedy::SoftBreak,
        Some("base64") => Remedy::Rewrap,
        Some(_) => Remedy::Cut,
    }
}

/// A stretch of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Counts the parts as they come; the message itself is 0.
    pub part: u32,
    /// What is to be done about its long lines.
    pub remedy: Remedy,
}

/// What belongs to no part: boundaries, and the text before the first and behind the last.
const BETWEEN: Region = Region { part: 0, remedy: Remedy::Cut };

/// Who wants to know.
pub trait Visitor {
    /// The header of a part, up to the empty line; `closed` says whether there is one. `region` is what follows.
    fn header(&mut self, region: Region, header: &[u8], closed: bool);
    /// A new stretch begins, and the one before ends.
    fn begin(&mut self, region: Region);
    /// A stretch of a line.
    fn text(&mut self, bytes: &[u8]);
    /// The end of a line.
    fn line_end(&mut self);
}

#[derive(Debug)]
struct Open {
    boundary: Vec<u8>,
    /// How deep the parts between its boundaries lie.
    depth: usize,
}

#[derive(Debug)]
enum State {
    /// In the header of a part; the last line begins at `line_at`.
    Header { header: Vec<u8>, line_at: usize },
    /// In content, or between parts.
    Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    /// The line began with a hyphen and may be a boundary; it is kept back.
    Undecided,
    InLine,
}

/// Walks a body, and shows it to a [`Visitor`].
#[derive(Debug)]
pub struct Walk<V> {
    pub visitor: V,
    open: Vec<Open>,
    depth: usize,
    parts: u32,
    state: State,
    place: Place,
    kept: Vec<u8>,
}

impl<V: Visitor> Walk<V> {
    /// Begins the body of a message that is `entity`.
    pub fn new(entity: Entity, visitor: V) -> Walk<V> {
        let state = State::Content;
        let mut walk =
            Walk { visitor, open: Vec::new(), depth: 0, parts: 0, state, place: Place::LineStart, kept: Vec::new() };
        walk.enter(entity);
        walk
    }

    /// Ends the body.
    pub fn finish(mut self) -> V {
        self.end_header(false);
        self.visitor.begin(BETWEEN);
        self.visitor
    }

    /// Begins what stands below a header.
    fn enter(&mut self, entity: Entity) {
        match self.bounded(entity) {
            Entity::Multipart(boundary) => {
                self.depth += 1;
                self.open.push(Open { boundary, depth: self.depth });
                self.visitor.begin(BETWEEN);
            }
            Entity::Message => {
                self.depth += 1;
                self.begin_header();
            }
            Entity::Leaf(remedy) => self.visitor.begin(Region { part: self.parts, remedy }),
        }
    }

    /// The entity, or one without structure where it lies too deep.
    fn bounded(&self, entity: Entity) -> Entity {
        match entity {
            Entity::Leaf(_) => entity,
            _ if self.depth < DEPTH_MAX => entity,
            _ => Entity::Leaf(Remedy::Cut),
        }
    }

    fn begin_header(&mut self) {
        self.state = State::Header { header: Vec::new(), line_at: 0 };
    }

    /// Ends the header of a part, if one is open, and begins its content.
    fn end_header(&mut self, closed: bool) {
        let State::Header { header, .. } = std::mem::replace(&mut self.state, State::Content) else {
            return;
        };
        self.parts += 1;
        let entity = self.bounded(Entity::of(&header));
        let remedy = if let Entity::Leaf(remedy) = entity { remedy } else { Remedy::Cut };
        self.visitor.header(Region { part: self.parts, remedy }, &header, closed);
        self.enter(entity);
    }

    fn pass(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Content => self.visitor.text(bytes),
            State::Header { header, line_at } => {
                header.extend_from_slice(bytes);
                if header.len() > PART_HEADER_MAX {
                    let rest = header.split_off(*line_at);
                    self.end_header(false);
                    self.pass(&rest);
                }
            }
        }
    }

    fn pass_line_end(&mut self) {
        let State::Header { header, line_at } = &mut self.state else {
            return self.visitor.line_end();
        };
        let line = header.split_off(*line_at);
        if line.is_empty() {
            return self.end_header(true);
        }
        let continues = *line_at > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if continues || Field::parse(&line).is_some() {
            header.extend_from_slice(&line);
            header.extend_from_slice(b"\r\n");
            *line_at = header.len();
        } else {
            // Somebody forgot the empty line: this is text already.
            self.end_header(false);
            self.pass(&line);
            self.pass_line_end();
        }
    }

    /// Keeps a line back for as long as it may be a boundary.
    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        let possible = self.kept.len() <= BOUNDARY_BYTES_MAX + 80 && self.kept.get(1).is_none_or(|&byte| byte == b'-');
        self.place = Place::Undecided;
        if !possible {
            self.place = Place::InLine;
            let line = std::mem::take(&mut self.kept);
            self.pass(&line);
        }
    }

    /// Which container a line belongs to, and whether it closes it. The innermost wins.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.trim_ascii_end().strip_prefix(b"--")?;
        self.open.iter().enumerate().rev().find_map(|(place, open)| match line.strip_prefix(&*open.boundary)? {
            b"" => Some((place, false)),
            b"--" => Some((place, true)),
            _ => None,
        })
    }

    fn pass_boundary(&mut self, line: &[u8], place: usize, closes: bool) {
        self.end_header(false);
        self.state = State::Content;
        self.visitor.begin(BETWEEN);
        self.visitor.text(line);
        self.visitor.line_end();
        self.open.truncate(if closes { place } else { place + 1 });
        self.depth = self.open.last().map_or(0, |open| open.depth);
        if !closes && self.parts < PARTS_MAX {
            self.begin_header();
        }
    }
}

impl<V: Visitor> Lines for Walk<V> {
    fn text(&mut self, bytes: &[u8]) {
        match self.place {
            Place::InLine => self.pass(bytes),
            Place::LineStart if self.open.is_empty() || !bytes.starts_with(b"-") => {
                self.place = Place::InLine;
                self.pass(bytes);
            }
            Place::LineStart | Place::Undecided => self.keep(bytes),
        }
    }

    fn line_end(&mut self) {
        if std::mem::replace(&mut self.place, Place::LineStart) != Place::Undecided {
            return self.pass_line_end();
        }
        let line = std::mem::take(&mut self.kept);
        if let Some((place, closes)) = self.boundary(&line) {
            self.pass_boundary(&line, place, closes);
        } else {
            self.pass(&line);
            self.pass_line_end();
        }
    }
}
