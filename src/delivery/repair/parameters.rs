//! `Content-Type` and `Content-Disposition`: a word and its parameters (RFC 2045 §5.1, RFC 2183), read the way
//! that firmware writes them.

use crate::mail::header::{FieldWriter, WORD_BYTES_MAX, words};

/// Longer types exist nowhere.
const KIND_BYTES_MAX: usize = 200;
/// Octets of a value in one piece of a divided parameter (RFC 2231 §3), before they are escaped.
const PIECE_BYTES: usize = 18;

/// A field with parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameterised<'a> {
    /// `text/plain`, `attachment`.
    pub kind: &'a str,
    parameters: Vec<Parameter<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Parameter<'a> {
    name: &'a str,
    /// As written, with its quotes.
    value: &'a str,
}

impl<'a> Parameterised<'a> {
    /// Reads a value in one line; `None` where it does not begin with a type. A `Content-Type` must have a slash.
    #[must_use]
    pub fn parse(text: &'a str, slash: bool) -> Option<Parameterised<'a>> {
        let mut pieces = split_at_semicolons(text);
        let first = pieces.next()?;
        let kind = first.split_once('(').map_or(first, |(before, _)| before).trim_matches([' ', '\t']);
        let has_slash = kind.split_once('/').is_some_and(|(kind, subkind)| is_token(kind) && is_token(subkind));
        let fits = kind.len() <= KIND_BYTES_MAX && (has_slash || !slash && is_token(kind));
        let parameters = pieces.map(Parameter::parse).filter(|parameter| !parameter.is_empty()).collect();
        fits.then_some(Parameterised { kind, parameters })
    }

    /// What a parameter means, without its quotes.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let found = self.parameters.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))?;
        Some(unquote(found.value))
    }

    /// Whether the boundary must be put in quotes: it is not, and holds what a boundary or a token may not hold
    /// (RFC 2046 §5.1.1, RFC 2045 §5.1).
    #[must_use]
    pub fn has_bare_boundary(&self) -> bool {
        self.parameters.iter().any(Parameter::is_bare_boundary)
    }

    /// Writes the field anew. Parameters that are not ASCII, or too long for a line, are encoded (RFC 2231).
    #[must_use]
    pub fn write(&self, name: &str) -> Vec<u8> {
        let mut field = FieldWriter::new(name);
        field.word(" ", self.kind);
        for parameter in &self.parameters {
            field.word("", ";");
            parameter.write(&mut field);
        }
        field.finish()
    }
}

impl<'a> Parameter<'a> {
    fn parse(text: &'a str) -> Parameter<'a> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Parameter { name: name.trim_matches([' ', '\t']), value: value.trim_matches([' ', '\t']) }
    }

    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.value.is_empty()
    }

    fn is_bare_boundary(&self) -> bool {
        let is_harmless = |c: char| c.is_ascii_alphanumeric() || "'+_.-".contains(c);
        self.name.eq_ignore_ascii_case("boundary")
            && !self.value.starts_with('"')
            && self.value.is_ascii()
            && !self.value.chars().all(is_harmless)
    }

    fn write(&self, field: &mut FieldWriter) {
        if self.is_bare_boundary() {
            let quoted = self.value.replace('\\', "\\\\").replace('"', "\\\"");
            return self.write_plain(&format!("boundary=\"{quoted}\""), field);
        }
        let plain = if self.value.is_empty() { self.name.to_owned() } else { format!("{}={}", self.name, self.value) };
        self.write_plain(&plain, field);
    }

    fn write_plain(&self, plain: &str, field: &mut FieldWriter) {
        if plain.is_ascii() && words(plain).all(|(_, word)| word.len() < WORD_BYTES_MAX) {
            field.words(plain);
        } else {
            self.write_encoded(field);
        }
    }

    /// One piece is a charset and escapes; several are numbered (RFC 2231 §3, §4).
    fn write_encoded(&self, field: &mut FieldWriter) {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name: String = self.name.chars().filter(is_plain).take(KIND_BYTES_MAX).collect();
        let value = unquote(self.value);
        let mut rest = value.as_str();
        let mut number = 0;
        let single = rest.len() <= PIECE_BYTES;
        while number == 0 || !rest.is_empty() {
            let (now, later) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            let charset = if number == 0 { "utf-8''" } else { "" };
            let place = if single { String::new() } else { format!("*{number}") };
            let end = if later.is_empty() { "" } else { ";" };
            field.word(" ", &format!("{name}{place}*={charset}{}{end}", escape(now)));
            rest = later;
            number += 1;
        }
    }
}

/// Splits where no quotes protect. Quotes that are never closed protect to the end.
fn split_at_semicolons(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            ';' => return !quoted,
            _ => {}
        }
        false
    })
}

/// Takes the quotes off, and what stands behind them.
fn unquote(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => plain.extend(characters.next()),
            _ => plain.push(c),
        }
    }
    plain
}

/// RFC 2045 §5.1.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_firmware_writes_them() {
        for (text, kind, boundary) in [
            ("multipart/mixed; boundary=#b#", "multipart/mixed", Some("#b#")),
            ("multipart/mixed;boundary=\"a;b\\\"c\" ; x", "multipart/mixed", Some("a;b\"c")),
            ("multipart/mixed (comment) ; BOUNDARY = open", "multipart/mixed", Some("open")),
            ("multipart/mixed; boundary=\"never closed; x=y", "multipart/mixed", Some("never closed; x=y")),
            ("text/plain;", "text/plain", None),
        ] {
            let parsed = Parameterised::parse(text, true).unwrap();
            assert_eq!((parsed.kind, parsed.get("boundary").as_deref()), (kind, boundary));
        }
        for text in ["", "text", "tëxt/plain", "; x=y", "a b/c"] {
            assert_eq!(Parameterised::parse(text, true), None, "{text}");
        }
    }

    #[test]
    fn file_names_survive() {
        for name in ["отчёт за ноябрь.pdf", "ü", &"x".repeat(3000), "a b.pdf"] {
            let text = format!("attachment; filename=\"{name}\"; size=3");
            let field = Parameterised::parse(&text, false).unwrap().write("Content-Disposition");
            assert!(field.is_ascii() && !crate::mail::header::has_long_line(&field));
            let value = String::from_utf8(field).unwrap().replace("\r\n", "").split_off("Content-Disposition:".len());
            let read = mailparse::parse_content_disposition(&value);
            assert_eq!(read.params.get("filename").map(String::as_str), Some(name));
            assert_eq!(read.params.get("size").map(String::as_str), Some("3"));
        }
    }
}
