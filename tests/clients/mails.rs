//! What every client is asked to send.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// So many messages are sent one after the other.
pub const MANY: usize = 20;

const ATTACHMENT_BYTES: usize = 300_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Utf8,
    Attachment,
    Recipients,
    Many,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Text, Kind::Utf8, Kind::Attachment, Kind::Recipients, Kind::Many];
}

/// What a person gives to a client.
pub struct Mail {
    pub kind: Kind,
    /// The sender's name, as people see it.
    pub name: &'static str,
    subject: &'static str,
    pub text: String,
    pub attachment: Option<Vec<u8>>,
    pub to: &'static [&'static str],
    pub cc: &'static [&'static str],
    pub bcc: &'static [&'static str],
    /// With a number behind the subject, if more than one.
    pub times: usize,
}

pub const FROM: &str = "printer@nas.local";

impl Mail {
    pub fn of(kind: Kind) -> Mail {
        let text = "Toner is low.\n\nPlease order some.\n".to_owned();
        let plain = Mail {
            kind,
            name: "Printer",
            subject: "Toner",
            text,
            attachment: None,
            to: &["you@example.com"],
            cc: &[],
            bcc: &[],
            times: 1,
        };
        match kind {
            Kind::Text => plain,
            Kind::Utf8 => Mail {
                name: "Küchenthermometer Łódź",
                subject: "Wärme: 21 °C, όλα καλά 🙂",
                text: "Die Küche meldet: 21 °C, Grüße aus Łódź.\nΌλα καλά. 一切都好。 🙂\n".to_owned(),
                ..plain
            },
            Kind::Attachment => {
                Mail { name: "Scanner", subject: "A scan", text: awkward(), attachment: Some(bytes()), ..plain }
            }
            Kind::Recipients => Mail {
                to: &["one@example.com", "two@example.org"],
                cc: &["three@example.com"],
                bcc: &["four@example.net"],
                ..plain
            },
            Kind::Many => Mail { subject: "Reading", times: MANY, ..plain },
        }
    }

    /// The subject of the message with this number, from 1 on.
    pub fn subject(&self, number: usize) -> String {
        if self.times == 1 { self.subject.to_owned() } else { format!("{} {number}", self.subject) }
    }

    pub fn recipients(&self) -> Vec<&'static str> {
        [self.to, self.cc, self.bcc].concat()
    }

    /// The message as a script writes it: LF line ends, 8-bit text where it is needed, no MIME where there is only text.
    pub fn message(&self, number: usize) -> Vec<u8> {
        let mut message = format!("From: \"{}\" <{FROM}>\nTo: {}\n", self.name, self.to.join(", "));
        for (field, addresses) in [("Cc", self.cc), ("Bcc", self.bcc)] {
            if !addresses.is_empty() {
                let _ = writeln!(message, "{field}: {}", addresses.join(", "));
            }
        }
        let _ = writeln!(message, "Subject: {}", self.subject(number));
        match &self.attachment {
            None => message = message + "\n" + &self.text,
            Some(bytes) => message += &multipart(&self.text, bytes),
        }
        message.into_bytes()
    }
}

/// Lines that begin with a dot, a dot alone, and a line longer than mail allows.
fn awkward() -> String {
    let long = "over and over again, ".repeat(100);
    format!(
        "See below.\n.A line with a dot\n..and with two, and one alone:\n.\n{long}end\nFrom here on, all is well.\n"
    )
}

/// Bytes of all kinds, the same on every run, with what would end a message among them.
fn bytes() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(25);
    let begin = b"\r\n.\r\n\n.\n\0";
    begin.iter().copied().chain(std::iter::repeat_with(|| random.u8(..)).take(ATTACHMENT_BYTES)).collect()
}

fn multipart(text: &str, attachment: &[u8]) -> String {
    let mut body = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=part\n\n\
         --part\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n\
         --part\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=scan.bin\n\
         Content-Transfer-Encoding: base64\n\n"
    );
    for line in STANDARD.encode(attachment).as_bytes().chunks(76) {
        body += &String::from_utf8_lossy(line);
        body.push('\n');
    }
    body + "--part--\n"
}
