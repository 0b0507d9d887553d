//! The report about a message that could not be delivered (RFC 3464), and who gets it. Pure.
//!
//! A report is an ordinary message from nobody: its reverse-path is null, so no report is ever made about it
//! (RFC 5321 §4.5.5). It returns the header of the message, not its content.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::mail::{
    Address, Client, Envelope, Message, Outcome, Path, Protocol, Recipient, Reply, ReversePath, Submission, Timestamp,
    Why,
};
use crate::policy::Policy;

/// Of the returned header; what is longer is cut at a line end.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What a report has to know besides the message.
#[derive(Clone, Debug)]
pub struct Reporter<'a> {
    pub policy: &'a Policy,
    /// The mailbox of the account: author of reports, and the last resort to send one to.
    pub account: &'a Address,
    pub at: Timestamp,
}

impl Reporter<'_> {
    /// Whom to tell that a message from `sender` failed: the sender, if mail to that address can arrive and may be
    /// sent, else the account itself, which somebody reads. Nobody, for a message that is itself a report.
    #[must_use]
    pub fn addressee(&self, sender: &ReversePath) -> Option<Address> {
        let sender = sender.address()?;
        let reachable = sender.can_receive() || self.policy.recipients.redirect_all.is_some();
        let allowed = self.policy.recipient(Path::Mailbox(sender.clone())).ok().filter(|_| reachable);
        Some(allowed.map_or_else(|| self.account.clone(), |recipient| recipient.address))
    }

    /// The report about the recipients in `failures`, ready to be accepted; `header` is the header of the message
    /// as it was received. `None` where nobody is to be told.
    #[must_use]
    pub fn report(
        &self,
        message: &Message,
        failures: &[(&Recipient, &Outcome)],
        header: &[u8],
    ) -> Option<(Submission, Bytes)> {
        let to = self.addressee(&message.submission.envelope.reverse_path)?;
        let content = self.content(message, failures, header, &to);
        let submission = Submission {
            envelope: Envelope {
                smtputf8: to.needs_smtputf8(),
                recipients: vec![Recipient::from(to)],
                reverse_path: ReversePath::Null,
            },
            client: Client::ourselves(),
            protocol: Protocol::Local,
            account: message.submission.account.clone(),
            received: self.at,
        };
        Some((submission, Bytes::from(content)))
    }

    fn content(&self, message: &Message, failures: &[(&Recipient, &Outcome)], header: &[u8], to: &Address) -> Vec<u8> {
        let boundary = format!("report-{}", message.id);
        let mut text = format!(
            "From: \"Mail Delivery System\" <{}>\r\nTo: <{to}>\r\nSubject: Undelivered mail: {}\r\n\
             Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n",
            self.account,
            subject(header),
        );
        let _ = write!(
            text,
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n",
            self.words(message, failures),
            self.status(message, failures),
        );
        let mut content = text.into_bytes();
        content.extend_from_slice(shortened(header));
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }

    /// What a person reads first.
    fn words(&self, message: &Message, failures: &[(&Recipient, &Outcome)]) -> String {
        let Submission { client, received, .. } = &message.submission;
        let mut text = format!(
            "This is the mail relay {}. A message that {client} handed in on {} could not be delivered\r\n\
             to everybody. Nothing more will be tried for:\r\n",
            self.policy.hostname,
            received.strftime("%Y-%m-%d at %H:%M UTC"),
        );
        for (recipient, outcome) in failures {
            let _ = write!(text, "\r\n    {}\r\n", recipient.address);
            if let Some(original) = &recipient.original {
                let _ = write!(text, "    (it was sent to {original})\r\n");
            }
            let said = match outcome {
                Outcome::Refused(Why::Reply(_)) => "Gmail refused it",
                Outcome::Expired(_) => "Tried for as long as the settings allow; the last reason",
                _ => "The reason",
            };
            let _ = write!(text, "    {said}: {}\r\n", outcome.reason());
        }
        let _ = write!(text, "\r\nThe relay knows the message as {}. Its header is below.\r\n", message.id);
        text
    }

    /// The fields of RFC 3464 §2, for machines.
    fn status(&self, message: &Message, failures: &[(&Recipient, &Outcome)]) -> String {
        let date = |time: Timestamp| time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
        let mut text = format!(
            "Reporting-MTA: dns; {}\r\nArrival-Date: {}\r\n",
            self.policy.hostname,
            date(message.submission.received)
        );
        for (recipient, outcome) in failures {
            text += "\r\n";
            if let Some(original) = &recipient.original {
                let _ = write!(text, "Original-Recipient: {};{original}\r\n", address_type(original));
            }
            let _ = write!(
                text,
                "Final-Recipient: {};{}\r\nAction: failed\r\nStatus: {}\r\n",
                address_type(&recipient.address),
                recipient.address,
                status_code(outcome)
            );
            if let Some(reply) = reply_of(outcome) {
                let _ = write!(text, "Diagnostic-Code: smtp; {}\r\n", folded(&reply.to_string()));
            }
            let _ = write!(text, "Last-Attempt-Date: {}\r\n", date(self.at));
        }
        text
    }
}

/// `rfc822`, or `utf-8` where the address is not ASCII (RFC 6533 §3).
fn address_type(address: &Address) -> &'static str {
    if address.needs_smtputf8() { "utf-8" } else { "rfc822" }
}

fn reply_of(outcome: &Outcome) -> Option<&Reply> {
    match outcome {
        Outcome::Refused(Why::Reply(reply)) | Outcome::Expired(Why::Reply(reply)) => Some(reply),
        _ => None,
    }
}

/// Gmail's own enhanced code where it gave a permanent one; for what was given up, "delivery time expired"
/// (RFC 3463 §3.5).
fn status_code(outcome: &Outcome) -> String {
    let given = reply_of(outcome).and_then(Reply::enhanced).filter(|enhanced| enhanced.0 == 5);
    match (outcome, given) {
        (Outcome::Expired(_), _) => "4.4.7".to_owned(),
        (_, Some(enhanced)) => enhanced.to_string(),
        _ => "5.0.0".to_owned(),
    }
}

/// The subject of the message, as it stands there, where it is plain and short enough to stand again.
fn subject(header: &[u8]) -> String {
    let header = String::from_utf8_lossy(shortened(header));
    let line = header.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim_end().eq_ignore_ascii_case("subject").then(|| value.trim().to_owned())
    });
    line.filter(|subject| {
        subject.is_ascii() && !subject.contains(char::is_control) && (1..=200).contains(&subject.len())
    })
    .unwrap_or_else(|| "(without a subject)".to_owned())
}

fn shortened(header: &[u8]) -> &[u8] {
    if header.len() <= HEADER_BYTES_MAX {
        return header;
    }
    let kept = &header[..HEADER_BYTES_MAX];
    memchr::memrchr(b'\n', kept).map_or(kept, |end| &kept[..=end])
}

/// A long reply in lines of a readable length.
fn folded(words: &str) -> String {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 70 => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\r\n ")
}
