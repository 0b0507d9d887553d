//! Lists of addresses in header fields (RFC 5322 §3.4), read the way that programs write them.
//!
//! Linear in the length of the list, however comments are nested and quotes are left open, and never fails: what
//! is no address is an entry without one.

use crate::mail::Address;
use crate::mail::header::{FieldWriter, WORD_BYTES_MAX, encoded_words, is_encoded_word, must_be_encoded, words};

/// A display name longer than this is written as encoded words, which can be folded.
const QUOTED_BYTES_MAX: usize = 200;
/// An address literal is shorter.
const LITERAL_BYTES_MAX: usize = 64;

/// What an entry of a list ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Comma,
    /// It was the name of a group.
    Colon,
    Semicolon,
    List,
}

/// One entry of a list.
#[derive(Clone, Debug)]
pub struct Mailbox<'a> {
    /// All of it, as written.
    source: &'a str,
    /// The words before the address, or all words where there is none.
    phrase: Vec<Token<'a>>,
    comment: Option<&'a str>,
    /// The address as written, without angle brackets.
    spec: Option<&'a str>,
    in_brackets: bool,
    /// Something other than a comment stands behind the address.
    trailed: bool,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Comment,
    Angle,
    Mark(End),
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
    start: usize,
    end: usize,
}

/// Cuts a list into tokens. A bracket that is never closed is a character like others, and no later one is
/// looked for: this keeps it linear.
#[derive(Debug)]
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    quotes: bool,
    comments: bool,
    angles: bool,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0, quotes: true, comments: true, angles: true }
    }

    /// The kind and length of the token that `rest` begins with.
    fn measure(&mut self, rest: &str) -> (Kind, usize) {
        let closed = match rest.as_bytes().first() {
            Some(b',') => return (Kind::Mark(End::Comma), 1),
            Some(b':') => return (Kind::Mark(End::Colon), 1),
            Some(b';') => return (Kind::Mark(End::Semicolon), 1),
            Some(b'"') if self.quotes => (Kind::Quoted, quoted_length(rest), &mut self.quotes),
            Some(b'(') if self.comments => (Kind::Comment, comment_length(rest), &mut self.comments),
            Some(b'=') if rest.starts_with("=?") => return (Kind::Word, self.encoded_word_length(rest)),
            Some(b'<') if self.angles => (Kind::Angle, rest.find('>').map(|at| at + 1), &mut self.angles),
            _ => return (Kind::Word, self.word_length(rest)),
        };
        match closed {
            (kind, Some(length), _) => (kind, length),
            (_, None, still) => {
                *still = false;
                (Kind::Word, self.word_length(rest))
            }
        }
    }

    /// Encoded words in lists may not hold commas, colons or brackets (RFC 2047 §5, rule 3), but some do.
    fn encoded_word_length(&self, rest: &str) -> usize {
        let near = rest.get(..rest.floor_char_boundary(WORD_BYTES_MAX)).unwrap_or_default();
        let word = near.split([' ', '\t']).next().unwrap_or_default();
        let text_at = word.match_indices('?').nth(2).map(|(at, _)| at + 1);
        let end = text_at.and_then(|at| Some(at + word.get(at..)?.find("?=")? + 2));
        end.unwrap_or_else(|| self.word_length(rest))
    }

    fn word_length(&self, rest: &str) -> usize {
        let mut literal_until = 0;
        for (at, c) in rest.char_indices() {
            if at < literal_until {
                continue;
            }
            let ends = match c {
                ' ' | '\t' | ',' | ':' | ';' => true,
                '"' => self.quotes,
                '(' => self.comments,
                '<' => self.angles,
                _ => false,
            };
            if ends && at > 0 {
                return at;
            }
            if c == '[' {
                let near = rest.as_bytes().iter().skip(at).take(LITERAL_BYTES_MAX);
                literal_until = at + near.clone().position(|&byte| byte == b']').unwrap_or(0);
            }
        }
        rest.len()
    }
}

fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn comment_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.text.get(self.at..)?;
        let trimmed = rest.trim_start_matches([' ', '\t']);
        let start = self.at + (rest.len() - trimmed.len());
        if trimmed.is_empty() {
            return None;
        }
        let (kind, length) = self.measure(trimmed);
        self.at = start + length;
        let text = self.text.get(start..self.at)?;
        Some(Token { kind, text, start, end: self.at })
    }
}

/// The entries of a list in one line.
pub fn mailboxes(text: &str) -> impl Iterator<Item = Mailbox<'_>> {
    let mut tokens = Tokens::new(text);
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut entry = Vec::new();
        for token in tokens.by_ref() {
            match token.kind {
                Kind::Mark(end) => return Some(Mailbox::new(text, &entry, end)),
                _ => entry.push(token),
            }
        }
        done = true;
        Some(Mailbox::new(text, &entry, End::List))
    })
}

impl<'a> Mailbox<'a> {
    fn new(text: &'a str, tokens: &[Token<'a>], end: End) -> Mailbox<'a> {
        let range = tokens.first().zip(tokens.last()).map(|(first, last)| first.start..last.end);
        let source = range.and_then(|range| text.get(range)).unwrap_or_default();
        let comment = tokens.iter().find(|token| token.kind == Kind::Comment).map(|token| token.text);
        let angle = tokens.iter().position(|token| token.kind == Kind::Angle);
        let (spec, before, behind) = match (angle, bare_address(text, tokens)) {
            (Some(place), _) => (tokens.get(place).map(|token| route_address(token.text)), place, place + 1),
            (None, Some((spec, first, last))) => (Some(spec), first, last + 1),
            (None, None) => (None, tokens.len(), tokens.len()),
        };
        let is_phrase = |token: &&Token| matches!(token.kind, Kind::Word | Kind::Quoted);
        let phrase = tokens.iter().take(before).filter(is_phrase).copied().collect();
        let trailed = tokens.iter().skip(behind).any(|token| token.kind != Kind::Comment);
        Mailbox { source, phrase, comment, spec, in_brackets: angle.is_some(), trailed, end }
    }

    /// The address, where there is a usable one.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.spec?.parse().ok()
    }

    /// Whether nothing stands here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// Whether it is one address written as RFC 5322 asks (§3.4, with the dots of §4.1), and so that simple
    /// programs understand it: quotes in an address want brackets around it.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let is_atom = |token: &Token| token.kind == Kind::Quoted || token.text.chars().all(|c| is_atext(c) || c == '.');
        let is_plain = |spec: &str, address: &Address| spec.eq_ignore_ascii_case(&address.to_string());
        self.spec.zip(self.address()).is_some_and(|(spec, address)| is_plain(spec, &address))
            && (self.in_brackets || self.phrase.is_empty() && !self.source.starts_with('"'))
            && self.phrase.iter().all(is_atom)
            && !self.trailed
            && !matches!(self.end, End::Colon | End::Semicolon)
    }

    /// The address as written.
    #[must_use]
    pub fn spec(&self) -> Option<&'a str> {
        self.spec
    }

    /// A name without a domain, as in `root` and `root (Cron Daemon)`: an address only where mail is handed in by programs of
    /// this machine.
    #[must_use]
    pub fn lone_word(&self) -> Option<&'a str> {
        let lone = self.spec.is_none() && self.phrase.len() == 1 && self.end != End::Colon;
        self.phrase.first().filter(|_| lone).map(|token| token.text)
    }

    /// The display name, or the comment that serves as one, as words that can stand in a header. In
    /// `root (Cron Daemon)` it is the comment: the word is half an address.
    #[must_use]
    pub fn name(&self) -> Vec<String> {
        let mut name = Name::default();
        let is_half = self.spec.is_none() && self.phrase.len() == 1 && self.comment.is_some();
        for token in self.phrase.iter().filter(|_| !is_half) {
            match token.kind {
                Kind::Quoted => name.plain(&unquote(token.text)),
                _ if is_encoded_word(token.text) => name.encoded(token.text),
                _ => name.plain(token.text),
            }
        }
        if name.is_empty() {
            let inside = self.comment.and_then(|comment| comment.get(1..comment.len() - 1)).unwrap_or_default();
            for (_, word) in words(inside) {
                if is_encoded_word(word) { name.encoded(word) } else { name.plain(&unescape(word)) }
            }
        }
        name.finish()
    }
}

/// `<@hop:a@b>` without its brackets and its route (RFC 5322 §4.4).
fn route_address(angle: &str) -> &str {
    let inside = angle.trim_start_matches('<').trim_end_matches('>').trim_matches([' ', '\t']);
    match inside.split_once(':') {
        Some((route, address)) if route.starts_with('@') => address,
        _ => inside,
    }
}

/// An address without brackets, and the tokens that make it up: the last word with an `@`, and what touches it.
fn bare_address<'a>(text: &'a str, tokens: &[Token<'a>]) -> Option<(&'a str, usize, usize)> {
    let at = tokens.iter().rposition(|token| token.kind == Kind::Word && token.text.contains('@'))?;
    let is_part = |token: &Token| matches!(token.kind, Kind::Word | Kind::Quoted);
    let touches = |pair: &[Token<'_>]| matches!(pair, [a, b] if a.end == b.start && is_part(a) && is_part(b));
    let before = tokens.get(..=at)?.windows(2).rev().take_while(|pair| touches(pair)).count();
    let behind = tokens.get(at..)?.windows(2).take_while(|pair| touches(pair)).count();
    let (first, last) = (at - before, at + behind);
    let spec = text.get(tokens.get(first)?.start..tokens.get(last)?.end)?;
    (!spec.contains(['<', '>'])).then_some((spec, first, last))
}

fn unquote(quoted: &str) -> String {
    unescape(quoted.get(1..quoted.len() - 1).unwrap_or_default())
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    plain
}

/// RFC 5322 §3.2.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// A display name being put together.
#[derive(Debug, Default)]
struct Name {
    written: Vec<String>,
    plain: String,
    after_encoded: bool,
}

impl Name {
    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.plain.is_empty()
    }

    fn plain(&mut self, text: &str) {
        if !self.plain.is_empty() && !text.is_empty() {
            self.plain.push(' ');
        }
        self.plain.extend(text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }));
    }

    /// Takes an encoded word, with what it may not hold escaped (RFC 2047 §5, rule 3). One that no line would hold then is
    /// text: those of mail programs have 75 characters.
    fn encoded(&mut self, word: &str) {
        let escaped = |byte: u8| if is_atext(byte.into()) { char::from(byte).into() } else { format!("={byte:02X}") };
        let escaped: String = word.bytes().map(escaped).collect();
        if escaped.len() >= WORD_BYTES_MAX {
            return self.plain(word);
        }
        self.flush(true);
        self.written.push(escaped);
        self.after_encoded = true;
    }

    fn finish(mut self) -> Vec<String> {
        self.flush(false);
        self.written
    }

    fn flush(&mut self, before_encoded: bool) {
        let plain = std::mem::take(&mut self.plain);
        let text = plain.trim_matches([' ', '\t']);
        if text.is_empty() {
            return;
        }
        if text.is_ascii() && text.len() <= QUOTED_BYTES_MAX {
            self.written.extend(phrase(text));
        } else {
            // Blanks between encoded words vanish when they are read (RFC 2047 §6.2).
            let before = if self.after_encoded { " " } else { "" };
            let behind = if before_encoded { " " } else { "" };
            self.written.extend(encoded_words(&format!("{before}{text}{behind}")));
        }
        self.after_encoded = false;
    }
}

/// A text as a display name, in words that can stand in a header.
#[must_use]
pub fn name(text: &str) -> Vec<String> {
    let mut name = Name::default();
    name.plain(text);
    name.finish()
}

/// Atoms where they will do, else one quoted string.
fn phrase(text: &str) -> Vec<String> {
    let is_plain = text.chars().all(|c| is_atext(c) || c == ' ') && !text.contains("=?");
    if is_plain {
        return text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    }
    let quoted: String =
        text.chars().flat_map(|c| [matches!(c, '"' | '\\').then_some('\\'), Some(c)]).flatten().collect();
    vec![format!("\"{quoted}\"")]
}

/// Whether a list needs no encoding: whatever is not ASCII in it is part of an address.
#[must_use]
pub fn only_addresses_are_raw(text: &str) -> bool {
    let raw = |text: &str| text.bytes().filter(|byte| !byte.is_ascii()).count();
    raw(text) == mailboxes(text).filter_map(|mailbox| mailbox.spec).map(raw).sum::<usize>()
}

/// Writes a list anew, folded between and inside its entries. Names and comments that are not ASCII are encoded
/// (RFC 2047 §5), addresses never. `None` where some word is too long for a line: it can be no address.
#[must_use]
pub fn write(name: &str, list: &str) -> Option<Vec<u8>> {
    let mut field = FieldWriter::new(name);
    let mut separator = false;
    let mut in_group = false;
    for mailbox in mailboxes(list) {
        if !mailbox.is_empty() {
            if separator {
                field.word("", ",");
            }
            write_mailbox(&mailbox, &mut field)?;
            separator = true;
        }
        match mailbox.end {
            End::Colon if !mailbox.is_empty() && !in_group => {
                field.word("", ":");
                (in_group, separator) = (true, false);
            }
            End::Semicolon if in_group => {
                field.word("", ";");
                (in_group, separator) = (false, true);
            }
            _ => {}
        }
    }
    Some(field.finish())
}

fn write_mailbox(mailbox: &Mailbox<'_>, field: &mut FieldWriter) -> Option<()> {
    if mailbox.source.is_ascii() {
        if words(mailbox.source).any(|(_, word)| word.len() >= WORD_BYTES_MAX) {
            return None;
        }
        field.words(mailbox.source);
        return Some(());
    }
    mailbox.name().iter().for_each(|word| field.word(" ", word));
    let Some(spec) = mailbox.spec else { return Some(()) };
    if spec.len() + 3 >= WORD_BYTES_MAX {
        return None;
    }
    field.words(&format!("<{spec}>"));
    if let (false, Some(comment)) = (mailbox.phrase.is_empty(), mailbox.comment) {
        write_comment(comment, field);
    }
    Some(())
}

/// Encoded words may stand inside the parentheses of a comment (RFC 2047 §5, rule 2).
fn write_comment(comment: &str, field: &mut FieldWriter) {
    if words(comment).all(|(_, word)| !must_be_encoded(word)) {
        return field.words(comment);
    }
    let inside = words(comment.trim_matches(['(', ')'])).map(|(_, word)| unescape(word)).collect::<Vec<_>>();
    let mut encoded: Vec<String> = encoded_words(&inside.join(" ")).collect();
    if let Some(first) = encoded.first_mut() {
        first.insert(0, '(');
    }
    if let Some(last) = encoded.last_mut() {
        last.push(')');
    }
    for word in &encoded {
        field.word(" ", word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let shown = |mailbox: Mailbox| (mailbox.name().join(" "), mailbox.spec().unwrap_or("-").to_owned());
        mailboxes(text).filter(|mailbox| !mailbox.is_empty()).map(shown).collect()
    }

    #[test]
    fn lists_are_read_as_programs_write_them() {
        for (text, expected) in [
            ("a@b", &[("", "a@b")][..]),
            ("A B <a@b>, c@d", &[("A B", "a@b"), ("", "c@d")]),
            ("\"A, B\" <a@b>", &[("\"A, B\"", "a@b")]),
            ("<a@b>(c@d)", &[("\"c@d\"", "a@b")]),
            ("root (Cron Daemon)", &[("Cron Daemon", "-")]),
            ("a@b (Cron (x) Daemon)", &[("\"Cron (x) Daemon\"", "a@b")]),
            ("group: a@b, c@d;", &[("group", "-"), ("", "a@b"), ("", "c@d")]),
            ("\"a b\"@c", &[("", "\"a b\"@c")]),
            ("Foo a@b", &[("Foo", "a@b")]),
            ("\"open <a@b>", &[("\"\\\"open\"", "a@b")]),
            ("<@x,@y:a@b>", &[("", "a@b")]),
            ("ups@[IPv6:2001:db8::1]", &[("", "ups@[IPv6:2001:db8::1]")]),
            ("=?utf-8?q?x?= ü <a@b>", &[("=?utf-8?q?x?= =?utf-8?B?IMO8?=", "a@b")]),
            ("=?utf-8?Q?x,:_y@z?= <a@b>", &[("=?utf-8?Q?x=2C=3A_y=40z?=", "a@b")]),
            ("HP: Scanner <a@b>", &[("HP", "-"), ("Scanner", "a@b")]),
            ("", &[]),
            (",;:", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|&(name, spec)| (name.to_owned(), spec.to_owned())).collect();
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_are_written_legally() {
        let many = "someone@example.com,".repeat(300);
        for (text, expected) in [
            ("Jörg <j@x>, b@c", Some("To: =?utf-8?B?SsO2cmc=?= <j@x>, b@c\r\n")),
            ("ü: a@b;, Käse", Some("To: =?utf-8?B?w7w=?=: a@b;, =?utf-8?B?S8Okc2U=?=\r\n")),
            ("x <grüße@b>", Some("To: x <grüße@b>\r\n")),
            ("A <a@ü> (é)", Some("To: A <a@ü> (=?utf-8?B?w6k=?=)\r\n")),
            (&"x".repeat(2000), None),
        ] {
            assert_eq!(write("To", text).map(|field| String::from_utf8(field).unwrap()).as_deref(), expected);
        }
        let field = write("To", &many).unwrap();
        assert!(!crate::mail::header::has_long_line(&field));
        assert_eq!(String::from_utf8(field).unwrap().matches("someone@example.com").count(), 300);
    }

    #[test]
    fn hostile_lists_take_linear_time() {
        for text in ["(", "\"", "<", "\\\"", "((\\", "@[", ",", ":", ";", "a@", "()", "\"\"", "<>", "=?", "ü("] {
            let text = text.repeat(200_000);
            let words: usize = mailboxes(&text).map(|mailbox| mailbox.name().len()).sum();
            assert!(words <= text.len());
            let _ = write("To", &text);
        }
    }
}
