//! A recorded conversation as a transcript, in the form of `tests/smtp`: what the client said, what was replied, and no secret.
//!
//! Pure. Bytes go in as they were read, replies as they were written; text comes out a turn at a time, so that it can be followed.
//! Which lines are content is known from the replies, not from a second session. Where a line may be a password (behind AUTH, until
//! the next command) a password of ours stands in its place, well-formed where that was, so that a replay goes the same way.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::smtp::command;

/// What stands in the place of secrets: a user `user` with the password `password`.
const PLAIN: &str = "AHVzZXIAcGFzc3dvcmQ=";
const USER: &str = "dXNlcg==";
const PASSWORD: &str = "cGFzc3dvcmQ=";
const MASKED: &str = "masked";

/// Of a line without an end that is kept before it is written as it is.
const PARTIAL_BYTES_MAX: usize = 64 * 1024;
/// Of the content of one message; what is longer is left out, in whole lines.
const CONTENT_BYTES_MAX: usize = 64 * 1024;

const VERBS: [&str; 12] =
    ["HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT", "STARTTLS", "EXPN"];

/// Words behind AUTH that are no secrets; another one may be a password without the word that belongs before it.
const MECHANISMS: [&str; 11] = [
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "DIGEST-MD5",
    "NTLM",
    "GSSAPI",
    "XOAUTH2",
    "OAUTHBEARER",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "EXTERNAL",
];

/// Writes down one conversation.
#[derive(Debug)]
pub struct Transcript {
    /// Whether content is wanted.
    content: bool,
    /// LF may end a message: the client is listed for that, and has said no line with CR LF.
    lf_ends: bool,
    /// The beginning of a line whose end did not come in yet.
    partial: Vec<u8>,
    replies: Vec<u8>,
    talk: Talk,
    /// The handshake was done behind the replies that are not written yet.
    encrypted: bool,
    stored: usize,
    text: String,
}

/// What the client's next line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Command,
    /// AUTH was said, and since then so many lines that are no commands.
    Secret(usize),
    /// So many bytes of content were there, and so many of them were left out.
    Content {
        bytes: usize,
        left_out: usize,
    },
}

impl Transcript {
    /// Begins one. `title` says whose it is, `given` are the settings that matter, each a line of a transcript.
    #[must_use]
    pub fn new(title: &str, given: &[String], content: bool) -> Transcript {
        let mut text = format!("# {title}\n");
        for line in given {
            let _ = writeln!(text, "given {line}");
        }
        let (partial, replies) = (Vec::new(), Vec::new());
        let lf_ends = given.iter().any(|line| line == "lf_only");
        Transcript { content, lf_ends, partial, replies, talk: Talk::Command, encrypted: false, stored: 0, text }
    }

    /// Replies were written.
    pub fn said(&mut self, replies: &[u8]) {
        self.replies.extend_from_slice(replies);
    }

    /// The client shook hands: what it says from now on comes through TLS.
    pub fn encrypted(&mut self) {
        self.encrypted = true;
    }

    /// Bytes were read, and everything that they caused was said; or nothing was read, and the replies came by themselves: the
    /// greeting, or our last word.
    pub fn heard(&mut self, bytes: &[u8]) {
        let replies = std::mem::take(&mut self.replies);
        let replies = String::from_utf8_lossy(&replies).into_owned();
        if bytes.is_empty() && replies.starts_with("421") {
            self.flush();
            self.text.push_str(if replies.starts_with("421 4.4.2") { "when silence\n" } else { "when stop\n" });
        }
        self.read(bytes, is_content_asked(bytes, &self.partial, &replies));
        self.write_replies(&replies);
        if std::mem::take(&mut self.encrypted) {
            self.text.push_str("when encrypted\n");
        }
    }

    /// What was written since the last time.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// The end. `by_us`: we closed the connection.
    pub fn finish(&mut self, by_us: bool) {
        let replies = std::mem::take(&mut self.replies);
        self.write_replies(&String::from_utf8_lossy(&replies));
        self.flush();
        let _ = writeln!(self.text, "then stored {}\nthen {}", self.stored, if by_us { "closed" } else { "open" });
    }

    fn write_replies(&mut self, replies: &str) {
        for line in replies.lines() {
            let line = match line.strip_prefix("250 2.0.0 Queued as ") {
                Some(_) => {
                    self.stored += 1;
                    "250 2.0.0 Queued as ID"
                }
                None => line,
            };
            let _ = writeln!(self.text, "S: {line}");
        }
        // The last word of the relay tells whether it waits for content.
        match (replies.lines().next_back(), self.talk) {
            (Some(last), Talk::Content { .. }) if !last.starts_with("354") => self.talk = Talk::Command,
            (Some(last), Talk::Command | Talk::Secret(_)) if last.starts_with("354") => {
                self.talk = Talk::Content { bytes: 0, left_out: 0 };
            }
            _ => {}
        }
    }

    fn read(&mut self, bytes: &[u8], content_asked: bool) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                self.line(&line, content_asked);
            } else if self.partial.len() > PARTIAL_BYTES_MAX {
                self.flush();
            }
        }
    }

    /// A line that has no end, as it is.
    fn flush(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            self.line(&line, false);
        }
    }

    fn line(&mut self, line: &[u8], content_asked: bool) {
        match self.talk {
            Talk::Content { bytes, left_out } => self.content_line(line, bytes, left_out),
            talk => {
                self.lf_ends &= !line.ends_with(b"\r\n");
                let (line, next) = mask(line, talk);
                write_line(&mut self.text, &line);
                let is_data = verb(&line) == "DATA" && content_asked;
                self.talk = if is_data { Talk::Content { bytes: 0, left_out: 0 } } else { next };
            }
        }
    }

    fn content_line(&mut self, line: &[u8], bytes: usize, left_out: usize) {
        if line == if self.lf_ends { &b".\n"[..] } else { b".\r\n" } {
            if left_out > 0 {
                let _ = writeln!(self.text, "# {left_out} bytes of content are left out here");
            }
            write_line(&mut self.text, line);
            self.talk = Talk::Command;
            return;
        }
        let fits = self.content && left_out == 0 && bytes + line.len() <= CONTENT_BYTES_MAX;
        if fits {
            write_line(&mut self.text, line);
        }
        let left_out = if fits { 0 } else { left_out + line.len() };
        self.talk = Talk::Content { bytes: bytes + line.len(), left_out };
    }
}

/// Whether every DATA in these lines was answered with 354. Where only some were, none counts: what is content then is shown as
/// commands are, which hides too much rather than too little.
fn is_content_asked(bytes: &[u8], partial: &[u8], replies: &str) -> bool {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    let whole = |(at, line): (usize, &[u8])| if at == 0 { [partial, line].concat() } else { line.to_vec() };
    let asked = lines.filter(|line| verb(&whole(*line)) == "DATA").count();
    let granted = replies.lines().filter(|line| line.starts_with("354")).count();
    granted > 0 && granted >= asked
}

/// The first word of a command, in capitals.
fn verb(line: &[u8]) -> String {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    String::from_utf8_lossy(line.get(..end.min(16)).unwrap_or_default()).to_ascii_uppercase()
}

/// The line without a secret, and what the next one is.
fn mask(line: &[u8], talk: Talk) -> (Vec<u8>, Talk) {
    let verb = verb(line);
    match talk {
        Talk::Secret(count) if verb != "AUTH" && !VERBS.contains(&verb.as_str()) => {
            (mask_answer(line, count), Talk::Secret(count.saturating_add(1)))
        }
        _ if command::is_meant_as_auth(line) => (mask_auth(line), Talk::Secret(0)),
        _ => (line.to_vec(), Talk::Command),
    }
}

/// `AUTH PLAIN …`: what stands behind the mechanism is a secret in each of them.
fn mask_auth(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let (words, end) = apart(&text);
    let mut parts = words.split_ascii_whitespace();
    let (verb, mechanism) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let rest: Vec<&str> = parts.collect();
    let is_mechanism = mechanism.is_empty() || MECHANISMS.iter().any(|known| known.eq_ignore_ascii_case(mechanism));
    let shown = match rest.as_slice() {
        // Not heard as AUTH, so it is not shown as AUTH.
        _ if words.get(..4).is_none_or(|start| start != verb) => MASKED.to_owned(),
        _ if !is_mechanism => format!("{verb} {MASKED}"),
        [] => words.trim_end().to_owned(),
        [only] if *only == "=" || *only == "*" => format!("{verb} {mechanism} {only}"),
        [first, ..] => {
            let usual = if mechanism.eq_ignore_ascii_case("PLAIN") { PLAIN } else { USER };
            let secret = if BASE64.decode(first).is_ok() && rest.len() == 1 { usual } else { MASKED };
            format!("{verb} {mechanism} {secret}")
        }
    };
    [shown.as_bytes(), end.as_bytes()].concat()
}

/// An answer to a challenge: a name and then a password, or both in one.
fn mask_answer(line: &[u8], count: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let (word, end) = apart(&text);
    let shown = match BASE64.decode(word.trim()) {
        _ if matches!(word.trim(), "" | "*") => word,
        Ok(plain) if plain.contains(&0) => PLAIN,
        Ok(_) if count.is_multiple_of(2) => USER,
        Ok(_) => PASSWORD,
        Err(_) => MASKED,
    };
    [shown.as_bytes(), end.as_bytes()].concat()
}

/// A line and its end.
fn apart(line: &str) -> (&str, &str) {
    let text = line.trim_end_matches(['\r', '\n']);
    (text, line.get(text.len()..).unwrap_or_default())
}

/// `C: ` where the line ends as mail has it, else `C! `.
fn write_line(out: &mut String, line: &[u8]) {
    if let Some(text) = line.strip_suffix(b"\r\n") {
        out.push_str(if text.is_empty() { "C:" } else { "C: " });
        escape(out, text);
    } else {
        out.push_str("C! ");
        escape(out, line);
    }
    out.push('\n');
}

/// Every byte that an editor might change is written as an escape.
fn escape(out: &mut String, bytes: &[u8]) {
    let last = bytes.len().saturating_sub(1);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\0' => out.push_str("\\0"),
                c if c.is_control() || !c.is_ascii() && !c.is_alphanumeric() => {
                    let mut bytes = [0; 4];
                    c.encode_utf8(&mut bytes).bytes().for_each(|byte| escape_byte(out, byte));
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape_byte(out, byte));
    }
    if bytes.get(last) == Some(&b' ') {
        out.pop();
        out.push_str("\\x20");
    }
}

fn escape_byte(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(turns: &[(&str, &str)], content: bool) -> String {
        let mut transcript = Transcript::new("t", &[], content);
        for (heard, said) in turns {
            transcript.said(said.replace('\n', "\r\n").as_bytes());
            transcript.heard(heard.as_bytes());
        }
        transcript.finish(false);
        transcript.take()
    }

    #[test]
    fn a_conversation_is_written_as_it_went() {
        let turns = [
            ("MAIL FROM:<a@b>\r\nRCPT T", "250 ok\n"),
            ("O:<c@d>\nDATA\r\nAUTH is no command here\r\n.\r\nQU", "250 ok\n354 go\n250 2.0.0 Queued as 6h0\n"),
            ("IT \t\r\n", "221 bye\n"),
        ];
        assert_eq!(
            recorded(&turns, true),
            "# t\nC: MAIL FROM:<a@b>\nS: 250 ok\nC! RCPT TO:<c@d>\\n\nC: DATA\nC: AUTH is no command here\nC: .\n\
             S: 250 ok\nS: 354 go\nS: 250 2.0.0 Queued as ID\nC: QUIT \\t\nS: 221 bye\nthen stored 1\nthen open\n"
        );
    }

    #[test]
    fn what_follows_a_message_that_lf_ended_is_no_content() {
        let secret = BASE64.encode("\0me\0secret");
        for (given, is_masked) in [(&["lf_only".to_owned()][..], true), (&[], false)] {
            let mut transcript = Transcript::new("t", given, false);
            transcript.said(b"250 ok\r\n354 go\r\n250 2.0.0 Queued as 6h0\r\n");
            transcript.heard(format!("MAIL FROM:<a@b>\nDATA\nx\n.\nAUTH PLAIN {secret}\nQUIT\n").as_bytes());
            let text = transcript.take();
            assert_eq!(text.contains(&format!("C! .\\n\nC! AUTH PLAIN {PLAIN}\\n\nC! QUIT\\n\n")), is_masked, "{text}");
            assert!(!text.contains(&secret) && !text.contains("C! x"), "{text}");
        }
        let mut crlf = Transcript::new("t", &["lf_only".to_owned()], false);
        crlf.said(b"354 go\r\n");
        crlf.heard(b"DATA\r\nx\n.\ny\r\n.\r\nQUIT\r\n");
        let text = crlf.take();
        assert!(!text.contains(": y") && text.contains("C: .\nC: QUIT\n"), "{text}");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        let mut out = String::new();
        for line in [&b"\xff\0\\ \x1b[1m \r\n"[..], "é\u{200b}\r\n".as_bytes(), b"\r\n", b"x\ry"] {
            write_line(&mut out, line);
        }
        assert_eq!(out, "C: \\xff\\0\\\\ \\x1b[1m\\x20\nC: é\\xe2\\x80\\x8b\nC:\nC! x\\ry\n");
    }

    #[test]
    fn no_secret_is_ever_written() {
        let secret = BASE64.encode("\0me\0secret");
        let (user, password) = (BASE64.encode("me"), BASE64.encode("secret"));
        for (heard, shown) in [
            (format!("AUTH PLAIN {secret}\r\n"), format!("C: AUTH PLAIN {PLAIN}\n")),
            (format!("auth  plain  {secret} x\r\n"), format!("C: auth plain {MASKED}\n")),
            (format!("AUTH PLAIN\r\n{secret}\r\n"), format!("C: AUTH PLAIN\nC: {PLAIN}\n")),
            (format!("AUTH LOGIN\r\n{user}\r\n{password}\r\n"), format!("C: AUTH LOGIN\nC: {USER}\nC: {PASSWORD}\n")),
            (
                format!("AUTH LOGIN {user}\n{password}\nRSET\r\n"),
                format!("C! AUTH LOGIN {USER}\\n\nC! {USER}\\n\nC: RSET\n"),
            ),
            ("AUTH LOGIN\r\nme\r\nsecret\r\n".to_owned(), format!("C: AUTH LOGIN\nC: {MASKED}\nC: {MASKED}\n")),
            (format!("  AUTH PLAIN {secret}\r\n{password}\r\n"), format!("C: {MASKED}\nC: {USER}\n")),
            (format!("AUTH=PLAIN {secret}\r\n"), format!("C: {MASKED}\n")),
            (format!("AUTH {password}\r\n"), format!("C: AUTH {MASKED}\n")),
            (format!("AUTH XOAUTH2 {password}\r\n*\r\n"), format!("C: AUTH XOAUTH2 {USER}\nC: *\n")),
        ] {
            let text = recorded(&[(&heard, "502 5.5.1 no\n")], true);
            assert_eq!(text, format!("# t\n{shown}S: 502 5.5.1 no\nthen stored 0\nthen open\n"), "{heard}");
            assert!(!text.contains(&password) && !text.contains(&secret) && !text.contains("secret"));
        }
        let cut_off = recorded(&[(&format!("AUTH LOGIN\r\n{password}"), "334 VXNlcm5hbWU6\n")], true);
        assert!(cut_off.contains(&format!("C! {USER}\n")) && !cut_off.contains(&password), "{cut_off}");
    }

    #[test]
    fn content_is_bounded_or_left_out() {
        let long = format!("{}\r\n", "x".repeat(998)).repeat(100);
        let turns = |text: &str| [("DATA\r\n".to_owned(), "354 go\n"), (format!("{text}.\r\n"), "250 ok\n")];
        for (text, content, lines, note) in
            [("a\r\n.b\r\n", true, 2, ""), ("a\r\n.b\r\n", false, 0, "# 7 bytes"), (&long, true, 65, "# 35000 bytes")]
        {
            let turns = turns(text);
            let turns: Vec<(&str, &str)> = turns.iter().map(|(heard, said)| (heard.as_str(), *said)).collect();
            let recorded = recorded(&turns, content);
            assert_eq!(recorded.matches("\nC: ").count(), lines + 2, "{recorded}");
            assert!(recorded.contains(note) && recorded.len() < 80_000);
        }
    }

    #[test]
    fn silence_and_the_stop_of_the_relay_are_told() {
        assert!(
            recorded(&[("RCPT", ""), ("", "421 4.4.2 Silent\n")], true).contains("C! RCPT\nwhen silence\nS: 421 4.4.2")
        );
        assert!(recorded(&[("", "421 4.3.2 Stop\n")], true).contains("\nwhen stop\nS: 421 4.3.2"));
    }
}
