//! Real mail clients hand mail in, and what Gmail gets is compared part by part with what they were given.
//!
//! The clients are those of Debian: swaks, curl, msmtp, and smtplib of python3. One that is missing fails its tests.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

mod program;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailparse::{MailAddr, MailHeaderMap, ParsedMail, addrparse_header};

use program::{Gmail, Relay, outcome_of};

const ATTACHMENT_BYTES: usize = 10_000_000;

/// What a person gives to a client.
struct Mail {
    sender: &'static str,
    subject: &'static str,
    text: &'static str,
    attachment: Option<Vec<u8>>,
    /// Whether the message says what it consists of. Without it there is only text.
    mime: bool,
}

fn plain() -> Mail {
    let text = "Toner is low.\n.A line with a dot, and one with a dot alone:\n.\n\nFrom here on, all is well.\n";
    Mail { sender: "Printer", subject: "Toner", text, attachment: None, mime: false }
}

/// Bytes of all kinds, the same on every run.
fn attachment() -> Mail {
    let mut random = fastrand::Rng::with_seed(25);
    let bytes = std::iter::repeat_with(|| random.u8(..)).take(ATTACHMENT_BYTES).collect();
    Mail { sender: "Scanner", subject: "A scan", text: "See below.\n", attachment: Some(bytes), mime: true }
}

fn utf8(mime: bool) -> Mail {
    let text = "Die Küche meldet: 21 °C, Grüße aus Łódź.\nΌλα καλά. 一切都好。 🙂\n";
    Mail {
        sender: "Küchenthermometer Łódź", subject: "Wärme: 21 °C, όλα καλά 🙂", text, attachment: None, mime
    }
}

impl Mail {
    /// The message as a script would write it: LF line ends, 8-bit text where it is needed.
    fn message(&self) -> Vec<u8> {
        let mut message = format!("From: \"{}\" <printer@nas.local>\nTo: you@example.com\n", self.sender);
        let _ = writeln!(message, "Subject: {}", self.subject);
        let text_type = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
        match &self.attachment {
            None if self.mime => {
                let _ = write!(message, "MIME-Version: 1.0\n{text_type}\n{}", self.text);
            }
            None => {
                let _ = write!(message, "\n{}", self.text);
            }
            Some(bytes) => {
                let _ = write!(
                    message,
                    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=part\n\n\
                     --part\n{text_type}\n{}\n--part\nContent-Type: application/octet-stream\n\
                     Content-Disposition: attachment; filename=scan.bin\nContent-Transfer-Encoding: base64\n\n",
                    self.text
                );
                for line in STANDARD.encode(bytes).as_bytes().chunks(76) {
                    message += &String::from_utf8_lossy(line);
                    message.push('\n');
                }
                message += "--part--\n";
            }
        }
        message.into_bytes()
    }
}

/// A place for the files of a client, and the relay's port.
struct Desk {
    folder: PathBuf,
    port: u16,
}

impl Desk {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, bytes).expect("the folder is ours");
        path
    }

    /// A program of this package, which reads nobody's settings.
    fn client(&self, program: &str, package: &str) -> Command {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(found.is_ok(), "{program} is not installed: apt-get install {package}");
        let mut command = Command::new(program);
        command.env("HOME", &self.folder).env("LC_ALL", "C.UTF-8").current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn swaks(desk: &Desk, mail: &Mail) -> Command {
    let mut command = desk.client("swaks", "swaks");
    command.args(["--server", "127.0.0.1", "--port", &desk.port.to_string(), "--ehlo", "printer"]);
    command.args(["--from", "printer@nas.local", "--to", "you@example.com"]);
    command.args(["--h-From", &format!("\"{}\" <printer@nas.local>", mail.sender), "--h-Subject", mail.subject]);
    command.arg("--body").arg(argument_of_file(&desk.file("body.txt", mail.text.as_bytes())));
    if let Some(bytes) = &mail.attachment {
        command.args(["--attach-type", "application/octet-stream", "--attach-name", "scan.bin", "--attach"]);
        command.arg(argument_of_file(&desk.file("scan.bin", bytes)));
    }
    command
}

fn argument_of_file(path: &Path) -> String {
    format!("@{}", path.display())
}

const SMTPLIB: &str = r#"
import smtplib, sys
from email.headerregistry import Address
from email.message import EmailMessage

port, sender, subject, text, attachment, message = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", int(port), local_hostname="printer") as smtp:
    if message:
        smtp.sendmail("printer@nas.local", ["you@example.com"], open(message, "rb").read())
    else:
        mail = EmailMessage()
        mail["From"] = Address(sender, "printer", "nas.local")
        mail["To"] = "you@example.com"
        mail["Subject"] = subject
        mail.set_content(text)
        if attachment:
            content = open(attachment, "rb").read()
            mail.add_attachment(content, maintype="application", subtype="octet-stream", filename="scan.bin")
        smtp.send_message(mail)
"#;

fn smtplib(desk: &Desk, mail: &Mail) -> Command {
    let mut command = desk.client("python3", "python3");
    command.args(["-c", SMTPLIB, &desk.port.to_string(), mail.sender, mail.subject, mail.text]);
    match &mail.attachment {
        Some(bytes) => command.arg(desk.file("scan.bin", bytes)),
        None => command.arg(""),
    };
    if mail.mime {
        command.arg("")
    } else {
        command.arg(desk.file("message.eml", &mail.message()))
    };
    command
}

fn curl(desk: &Desk, mail: &Mail) -> Command {
    let mut command = desk.client("curl", "curl");
    command.args(["-q", "-sS", "--mail-from", "printer@nas.local", "--mail-rcpt", "you@example.com"]);
    match &mail.attachment {
        None => {
            command.arg("--upload-file").arg(desk.file("message.eml", &mail.message()));
        }
        Some(bytes) => {
            let text = desk.file("body.txt", mail.text.as_bytes());
            let scan = desk.file("scan.bin", bytes);
            command.args(["-H", &format!("From: \"{}\" <printer@nas.local>", mail.sender)]);
            command.args(["-H", "To: you@example.com", "-H", &format!("Subject: {}", mail.subject)]);
            command.args(["-F", &format!("=<{};type=text/plain", text.display())]);
            command.args(["-F", &format!("=@{};type=application/octet-stream;encoder=base64", scan.display())]);
        }
    }
    command.arg(format!("smtp://127.0.0.1:{}/printer", desk.port));
    command
}

fn msmtp(desk: &Desk, mail: &Mail) -> Command {
    let mut command = desk.client("msmtp", "msmtp");
    command.args(["--host=127.0.0.1", &format!("--port={}", desk.port), "--auth=off", "--tls=off"]);
    command.args(["--domain=printer", "--from=printer@nas.local", "you@example.com"]);
    let message = desk.file("message.eml", &mail.message());
    command.stdin(fs::File::open(message).expect("it was just written"));
    command
}

/// Sends it through the running relay, and sees that Gmail gets the same.
fn arrives_as_it_was_sent(client: fn(&Desk, &Mail) -> Command, mail: &Mail) {
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let desk = Desk { folder: relay.folder().to_owned(), port: relay.port() };
    let said = outcome_of(client(&desk, mail));
    assert_eq!(said.status, 0, "{said:?}");
    let received = gmail.wait_for(1).remove(0);
    assert_eq!(
        (received.mail_from.as_str(), received.recipients.as_slice()),
        ("me@gmail.com", &["you@example.com".into()][..])
    );
    compare(&mailparse::parse_mail(&received.content).expect("it can be parsed"), mail);
    relay.stop();
    assert_eq!(gmail.counts().messages, 1);
}

fn compare(parsed: &ParsedMail<'_>, mail: &Mail) {
    let headers = parsed.get_headers();
    assert_eq!(headers.get_first_value("Subject").as_deref(), Some(mail.subject));
    let from = addrparse_header(headers.get_first_header("From").expect("there is a From")).expect("it is an address");
    let [MailAddr::Single(sender)] = &from[..] else { panic!("{from:?}") };
    assert_eq!((sender.display_name.as_deref(), sender.addr.as_str()), (Some(mail.sender), "me@gmail.com"));

    let leaves: Vec<&ParsedMail<'_>> = parsed.parts().filter(|part| part.subparts.is_empty()).collect();
    let kinds: Vec<&str> = leaves.iter().map(|part| part.ctype.mimetype.as_str()).collect();
    let text = leaves[0].get_body().expect("the text can be decoded");
    assert_eq!(text.replace("\r\n", "\n").trim_end(), mail.text.trim_end());
    match &mail.attachment {
        None => assert_eq!(kinds, ["text/plain"]),
        Some(sent) => {
            assert_eq!(kinds, ["text/plain", "application/octet-stream"]);
            let got = leaves[1].get_body_raw().expect("the attachment can be decoded");
            assert!(got == *sent, "the attachment changed: {} bytes came of {}", got.len(), sent.len());
            let name = leaves[1].get_content_disposition().params.remove("filename");
            assert_eq!(name.as_deref(), Some("scan.bin"));
        }
    }
}

#[test]
fn swaks_sends_plain_text() {
    arrives_as_it_was_sent(swaks, &plain());
}

#[test]
fn swaks_sends_an_attachment() {
    arrives_as_it_was_sent(swaks, &attachment());
}

#[test]
fn swaks_sends_utf_8_without_mime() {
    arrives_as_it_was_sent(swaks, &utf8(false));
}

#[test]
fn smtplib_sends_plain_text() {
    arrives_as_it_was_sent(smtplib, &plain());
}

#[test]
fn smtplib_sends_an_attachment() {
    arrives_as_it_was_sent(smtplib, &attachment());
}

#[test]
fn smtplib_sends_utf_8() {
    arrives_as_it_was_sent(smtplib, &utf8(true));
}

#[test]
fn smtplib_sends_utf_8_without_mime() {
    arrives_as_it_was_sent(smtplib, &utf8(false));
}

#[test]
fn curl_sends_plain_text() {
    arrives_as_it_was_sent(curl, &plain());
}

#[test]
fn curl_sends_an_attachment() {
    arrives_as_it_was_sent(curl, &attachment());
}

#[test]
fn curl_sends_utf_8() {
    arrives_as_it_was_sent(curl, &utf8(true));
}

#[test]
fn curl_sends_utf_8_without_mime() {
    arrives_as_it_was_sent(curl, &utf8(false));
}

#[test]
fn msmtp_sends_plain_text() {
    arrives_as_it_was_sent(msmtp, &plain());
}

#[test]
fn msmtp_sends_an_attachment() {
    arrives_as_it_was_sent(msmtp, &attachment());
}

#[test]
fn msmtp_sends_utf_8() {
    arrives_as_it_was_sent(msmtp, &utf8(true));
}

#[test]
fn msmtp_sends_utf_8_without_mime() {
    arrives_as_it_was_sent(msmtp, &utf8(false));
}
