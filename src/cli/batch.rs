//! A message as a file that any mail server can read: the commands that would hand it in (batch SMTP, RFC 2442).
//!
//! `sendmail -bs < ID.bsmtp` gives it to another mail server. What only we have a use for stands behind NOOP, which
//! ignores it (RFC 5321 §4.1.1.9). The content is that of the spool, byte for byte; only dots are stuffed. Pure but
//! for the reader and the writer that are handed in.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use crate::mail::stuffing::Stuffing;
use crate::mail::{Address, Client, Envelope, MessageId, Protocol, Recipient, ReversePath, Submission, Timestamp};
use crate::spool::Restored;

/// What stands before the words of ours behind NOOP.
const OURS: &str = "NOOP smarthost ";
/// A line of commands is no longer than this: an address has 320 bytes at the most, and our own words few more.
const COMMAND_BYTES_MAX: u64 = 64 * 1024;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("line {line}: expected {expected}, found \"{found}\"")]
    Command { line: usize, expected: &'static str, found: String },
    #[error("the content has {found} bytes instead of {expected}: the file is not whole")]
    Size { expected: u64, found: u64 },
    #[error("the file ends before the message does")]
    Cut,
}

/// What a file says before the content.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub restored: Restored,
    /// In bytes, where it was told.
    pub size: Option<u64>,
}

/// Writes everything before the content.
///
/// # Errors
/// As the writer says.
pub fn write_head(out: &mut impl Write, hostname: &str, head: &Head) -> io::Result<()> {
    let Restored { id, submission, attempts, held } = &head.restored;
    let ours = json!({
        "id": id.to_string(),
        "received": submission.received.to_string(),
        "account": submission.account,
        "helo": submission.client.helo,
        "ip": submission.client.ip.map(|ip| ip.to_string()),
        "login": submission.client.login,
        "protocol": submission.protocol.as_str(),
        "attempts": attempts,
        "held": held,
        "size": head.size,
    });
    let envelope = &submission.envelope;
    let smtputf8 = if envelope.smtputf8 { " SMTPUTF8" } else { "" };
    write!(out, "EHLO {hostname}\r\n{OURS}{ours}\r\nMAIL FROM:<{}>{smtputf8}\r\n", envelope.reverse_path)?;
    for recipient in &envelope.recipients {
        for original in &recipient.originals {
            write!(out, "{OURS}{}\r\n", json!({ "original": original.to_string() }))?;
        }
        write!(out, "RCPT TO:<{}>\r\n", recipient.address)?;
    }
    write!(out, "DATA\r\n")
}

/// Writes a piece of the content.
///
/// # Errors
/// As the writer says.
pub fn write_piece(out: &mut impl Write, stuffing: &mut Stuffing, piece: &[u8]) -> io::Result<()> {
    out.write_all(&stuffing.stuff(piece))
}

/// Writes what stands behind the content.
///
/// # Errors
/// As the writer says.
pub fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b".\r\nQUIT\r\n")
}

/// Reads everything before the content. What a file of another program does not tell is that of `usual`.
///
/// # Errors
/// The line that is wrong, and what should be there.
pub fn read_head(input: &mut impl BufRead, usual: Restored) -> Result<Head, BatchError> {
    let mut head = Head { restored: usual, size: None };
    let mut originals = Vec::new();
    for line in 1.. {
        let text = read_command(input)?.ok_or(BatchError::Cut)?;
        let wrong = |expected| BatchError::Command { line, expected, found: text.escape_debug().to_string() };
        let envelope = &mut head.restored.submission.envelope;
        match text.to_ascii_uppercase().as_str() {
            "DATA" if envelope.recipients.is_empty() => return Err(wrong("RCPT TO:<address> before it")),
            "DATA" => return Ok(head),
            command if command.starts_with("MAIL FROM:") => {
                let (path, parameters) = path(&text).ok_or_else(|| wrong("MAIL FROM:<address>"))?;
                envelope.smtputf8 = parameters.to_ascii_uppercase().contains("SMTPUTF8");
                envelope.reverse_path = reverse_path(path).ok_or_else(|| wrong("an address of a sender"))?;
            }
            command if command.starts_with("RCPT TO:") => {
                let address = path(&text).and_then(|(path, _)| path.parse::<Address>().ok());
                let address = address.ok_or_else(|| wrong("RCPT TO:<address>"))?;
                envelope.recipients.push(Recipient { address, originals: std::mem::take(&mut originals) });
            }
            _ => match text.strip_prefix(OURS) {
                Some(words) => {
                    let words: Value = serde_json::from_str(words).map_err(|_| wrong("JSON of smarthost"))?;
                    originals.extend(words["original"].as_str().and_then(|text| text.parse::<Address>().ok()));
                    take_ours(&words, &mut head).ok_or_else(|| wrong("the words of a smarthost that exported it"))?;
                }
                None if ["HELO", "EHLO", "NOOP", "RSET"].iter().any(|word| starts_with(&text, word)) => {}
                None => return Err(wrong("a command such as MAIL, RCPT or DATA")),
            },
        }
    }
    Err(BatchError::Cut)
}

fn starts_with(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// What is told of the message as a whole, as far as it is there; `None` where it cannot be what we wrote.
fn take_ours(words: &Value, head: &mut Head) -> Option<()> {
    let Some(id) = words["id"].as_str() else { return Some(()) };
    let restored = &mut head.restored;
    restored.id = id.parse().ok()?;
    restored.attempts = words["attempts"].as_u64()?.try_into().ok()?;
    restored.held = words["held"].as_bool()?;
    let submission = &mut restored.submission;
    submission.received = words["received"].as_str()?.parse().ok()?;
    words["account"].as_str()?.clone_into(&mut submission.account);
    submission.protocol = Protocol::from_word(words["protocol"].as_str()?);
    let ip = words["ip"].as_str().map(str::parse).transpose().ok()?;
    let login = words["login"].as_str().map(str::to_owned);
    submission.client = Client { helo: words["helo"].as_str()?.to_owned(), ip, login };
    head.size = words["size"].as_u64();
    Some(())
}

/// What stands between the angle brackets, and what follows them.
fn path(command: &str) -> Option<(&str, &str)> {
    let (_, rest) = command.split_once(':')?;
    rest.trim_start().strip_prefix('<')?.rsplit_once('>')
}

fn reverse_path(text: &str) -> Option<ReversePath> {
    if text.is_empty() { Some(ReversePath::Null) } else { text.parse().ok().map(ReversePath::Mailbox) }
}

/// One line without its end, or `None` at the end of the file.
fn read_command(input: &mut impl BufRead) -> Result<Option<String>, BatchError> {
    let mut bytes = Vec::new();
    io::Read::take(&mut *input, COMMAND_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok((!bytes.is_empty()).then(|| text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads the content, once [`read_head`] has read what is before it.
#[derive(Debug)]
pub struct ContentReader<R> {
    input: R,
    ended: bool,
}

impl<R: BufRead> ContentReader<R> {
    pub fn new(input: R) -> ContentReader<R> {
        ContentReader { input, ended: false }
    }

    /// Up to `bytes_max` bytes, and a line more; nothing at the end.
    ///
    /// # Errors
    /// Where the file ends before the content does.
    pub fn next(&mut self, bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        let (mut piece, mut line) = (Vec::new(), Vec::new());
        while !self.ended && piece.len() < bytes_max {
            line.clear();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                return Err(BatchError::Cut);
            }
            match line.strip_prefix(b".") {
                Some(b"\r\n" | b"\n") => self.ended = true,
                Some(unstuffed) => piece.extend_from_slice(unstuffed),
                None => piece.extend_from_slice(&line),
            }
        }
        Ok(piece)
    }
}

/// What is known of a message in a file that tells no more than its envelope.
#[must_use]
pub fn unknown(id: MessageId, account: &str, now: Timestamp) -> Restored {
    let envelope = Envelope { reverse_path: ReversePath::Null, recipients: Vec::new(), smtputf8: false };
    let client = Client::ourselves();
    let submission =
        Submission { envelope, client, protocol: Protocol::Smtp, account: account.to_owned(), received: now };
    Restored { id, submission, attempts: 0, held: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Restored {
        unknown(MessageId::from_number(7), "home", Timestamp::UNIX_EPOCH)
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn head() -> Head {
        let mut restored = usual();
        restored.id = "6h0es7vmky204".parse().unwrap();
        restored.attempts = 3;
        restored.held = true;
        let submission = &mut restored.submission;
        submission.received = Timestamp::from_second(1_700_000_000).unwrap();
        submission.client = Client {
            helo: "ups \"cellar\"".to_owned(),
            ip: Some([192, 0, 2, 7].into()),
            login: Some("ups".to_owned()),
        };
        submission.envelope.reverse_path = ReversePath::Mailbox(address("ups@example.org"));
        submission.envelope.smtputf8 = true;
        let originals = vec![address("root@localhost"), address("ups@localhost")];
        submission.envelope.recipients =
            vec![Recipient { address: address("a@example.com"), originals }, address("b@example.com").into()];
        Head { restored, size: Some(11) }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let content = b"one\r\n.\r\n..two\n.\nthree\r\n";
        let mut file = Vec::new();
        write_head(&mut file, "relay.example.net", &head()).unwrap();
        write_piece(&mut file, &mut Stuffing::default(), content).unwrap();
        write_end(&mut file).unwrap();
        let mut input = file.as_slice();
        assert_eq!(read_head(&mut input, usual()).unwrap(), head());
        for bytes_max in [1, 4, 1000] {
            let (mut reader, mut read) = (ContentReader::new(input), Vec::new());
            loop {
                match reader.next(bytes_max).unwrap() {
                    piece if piece.is_empty() => break,
                    piece => read.extend(piece),
                }
            }
            assert_eq!(read, content);
        }
    }

    #[test]
    fn a_file_of_another_program_is_read() {
        let mut file = &b"HELO there\nMAIL FROM:<>\nRCPT TO: <a@example.com> NOTIFY=NEVER\nDATA\nSubject: x\n\n.\n"[..];
        let head = read_head(&mut file, usual()).unwrap();
        assert_eq!(head.restored.submission.envelope.recipients, [address("a@example.com").into()]);
        assert_eq!((head.restored.id, head.size), (usual().id, None));
        assert_eq!(ContentReader::new(file).next(1000).unwrap(), b"Subject: x\n\n");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        let wrong = |text: &str| read_head(&mut text.as_bytes(), usual()).unwrap_err().to_string();
        assert_eq!(wrong("HELO x\r\nRCPT TO:<a b>\r\n"), "line 2: expected RCPT TO:<address>, found \"RCPT TO:<a b>\"");
        assert_eq!(wrong("DATA\r\n"), "line 1: expected RCPT TO:<address> before it, found \"DATA\"");
        assert!(wrong("From: me\r\n").contains("a command such as MAIL"));
        assert!(wrong("NOOP smarthost {\"id\":\"nonsense\"}\r\n").starts_with("line 1: expected the words"));
        assert_eq!(wrong("HELO x\r\n"), "the file ends before the message does");
        assert!(matches!(ContentReader::new(&b"half a line"[..]).next(100), Err(BatchError::Cut)));
    }
}
