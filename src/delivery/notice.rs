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
    pub fn addressees(&self, sender: &ReversePath) -> Vec<Address> {
        let Some(sender) = sender.address() else { return Vec::new() };
        let reachable = sender.can_receive() || self.policy.recipients.redirect_all.is_some();
        match self.policy.recipients(Path::Mailbox(sender.clone())) {
            Ok(allowed) if reachable => allowed.into_iter().map(|recipient| recipient.address).collect(),
            _ => vec![self.account.clone()],
        }
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
        let to = self.addressees(&message.submission.envelope.reverse_path);
        if to.is_empty() {
            return None;
        }
        let content = self.content(message, failures, header, &to);
        let submission = Submission {
            envelope: Envelope {
                smtputf8: to.iter().any(Address::needs_smtputf8),
                recipients: to.into_iter().map(Recipient::from).collect(),
                reverse_path: ReversePath::Null,
            },
            client: Client::ourselves(),
            protocol: Protocol::Local,
            account: message.submission.account.clone(),
            received: self.at,
        };
        Some((submission, Bytes::from(content)))
    }

    fn content(
        &self,
        message: &Message,
        failures: &[(&Recipient, &Outcome)],
        header: &[u8],
        to: &[Address],
    ) -> Vec<u8> {
        let boundary = format!("report-{}", message.id);
        let to = to.iter().map(|address| format!("<{address}>")).collect::<Vec<_>>().join(",\r\n ");
        let mut text = format!(
            "From: \"Mail Delivery System\" <{}>\r\nTo: {to}\r\nSubject: Undelivered mail: {}\r\n\
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
            for original in &recipient.originals {
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
            // There may be one (RFC 3464 §2.3.1).
            if let Some(original) = recipient.originals.first() {
                let _ = write!(text, "Original-Recipient: {}\r\n", typed(original));
            }
            let _ = write!(
                text,
                "Final-Recipient: {}\r\nAction: failed\r\nStatus: {}\r\n",
                typed(&recipient.address),
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

/// An address with its type, `utf-8` where it is not ASCII. `message/delivery-status` is plain ASCII even then
/// (RFC 6533 §3).
fn typed(address: &Address) -> String {
    let text = address.to_string();
    if !address.needs_smtputf8() {
        return format!("rfc822;{text}");
    }
    let plain = |c: char| c.is_ascii_graphic() && !['\\', '+', '='].contains(&c);
    text.chars().fold("utf-8;".to_owned(), |mut typed, c| {
        let _ = if plain(c) { write!(typed, "{c}") } else { write!(typed, "\\x{{{:X}}}", u32::from(c)) };
        typed
    })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::mail::{Enhanced, MessageId};
    use crate::policy::{Limits, Pattern, Recipients, Routes};

    const HEADER: &[u8] = b"From: ups@cellar.local\nSubject:  Battery low \nX-Long: a\n\n";

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn policy() -> Policy {
        let recipients = Recipients {
            default_domain: None,
            alias: BTreeMap::new(),
            redirect_all: None,
            allow: vec![Pattern::Everybody],
        };
        let (hostname, routes) = ("relay.example.net".to_owned(), Routes::only("home"));
        Policy { hostname, limits: Limits::default(), recipients, routes }
    }

    fn message(from: &str) -> Message {
        let reverse_path = match from {
            "" => ReversePath::Null,
            from => ReversePath::Mailbox(address(from)),
        };
        Message {
            id: MessageId::from_number(77),
            submission: Submission {
                envelope: Envelope { reverse_path, recipients: Vec::new(), smtputf8: false },
                client: Client { helo: "ups".to_owned(), ip: Some([192, 0, 2, 7].into()), login: None },
                protocol: Protocol::Esmtp,
                account: "home".to_owned(),
                received: Timestamp::from_second(1_700_000_000).unwrap(),
            },
            size: 100,
            owed: Vec::new(),
            attempts: 3,
            patience_ms: 0,
            uncertain: false,
            content: None,
        }
    }

    fn refused() -> Outcome {
        Outcome::Refused(Why::Reply(Reply::new(550, Enhanced(5, 1, 1), "The email account does not exist.")))
    }

    fn report(
        policy: &Policy,
        from: &str,
        to: &Recipient,
        outcome: &Outcome,
        header: &[u8],
    ) -> Option<(Submission, String)> {
        let account = address("me@gmail.com");
        let reporter = Reporter { policy, account: &account, at: Timestamp::from_second(1_700_000_600).unwrap() };
        let (submission, content) = reporter.report(&message(from), &[(to, outcome)], header)?;
        Some((submission, String::from_utf8(content.to_vec()).unwrap()))
    }

    fn text(to: &Recipient, outcome: &Outcome, header: &[u8]) -> String {
        report(&policy(), "root@example.org", to, outcome, header).unwrap().1
    }

    #[test]
    fn a_refusal_is_reported_in_words_and_in_fields() {
        let to = Recipient { address: address("gone@gmail.com"), originals: vec![address("root@localhost")] };
        let golden = include_str!("../../tests/notices/refused.eml").replace('\n', "\r\n");
        let report = text(&to, &refused(), HEADER);
        // The returned header keeps the line ends it came with.
        assert_eq!(report.replace("\r\n", "\n").replace('\n', "\r\n"), golden);
    }

    #[test]
    fn what_was_given_up_is_reported_with_its_last_reason() {
        let expired = Outcome::Expired(Why::NoAnswer("no answer within 60 seconds (RCPT)".to_owned()));
        let golden = include_str!("../../tests/notices/expired.eml").replace('\n', "\r\n");
        let report = text(&address("jörg@example.com").into(), &expired, b"X: no subject\r\n\r\n");
        assert_eq!(report, golden);
    }

    #[test]
    fn reports_go_to_the_sender_if_mail_can_arrive_there_else_to_the_account() {
        let mut policy = policy();
        let addressee = |policy: &Policy, from: &str| {
            let told = report(policy, from, &address("x@example.com").into(), &refused(), HEADER);
            told.map(|(submission, _)| submission.envelope.recipients[0].address.to_string())
        };
        let me = Some("me@gmail.com".to_owned());
        assert_eq!(addressee(&policy, "root@example.org").as_deref(), Some("root@example.org"));
        assert_eq!(addressee(&policy, "ups@cellar.local"), me);
        assert_eq!(addressee(&policy, "ups@[192.0.2.1]"), me);
        assert_eq!(addressee(&policy, ""), None, "no report about a report (RFC 5321 §4.5.5)");
        policy.recipients.allow = vec![Pattern::Domain("gmail.com".to_owned())];
        assert_eq!(addressee(&policy, "root@example.org"), me, "where mail may not go, no report goes");
        policy.recipients.redirect_all = Some(address("all@gmail.com"));
        assert_eq!(addressee(&policy, "ups@cellar.local").as_deref(), Some("all@gmail.com"));
    }

    #[test]
    fn a_report_is_mail_from_nobody_through_the_same_account() {
        let (submission, _) =
            report(&policy(), "root@example.org", &address("x@example.com").into(), &refused(), HEADER).unwrap();
        assert_eq!(submission.envelope.reverse_path, ReversePath::Null);
        assert_eq!((submission.account.as_str(), submission.protocol), ("home", Protocol::Local));
        assert_eq!(submission.client, Client::ourselves());
        assert_eq!(submission.received, Timestamp::from_second(1_700_000_600).unwrap());
    }

    #[test]
    fn status_codes_are_permanent_and_true() {
        let reply = |code, enhanced| Outcome::Refused(Why::Reply(Reply::new(code, enhanced, "no")));
        let timeout = Outcome::Expired(Why::Reply(Reply::new(451, Enhanced(4, 3, 0), "later")));
        assert_eq!(status_code(&reply(550, Enhanced(5, 7, 1))), "5.7.1");
        assert_eq!(status_code(&reply(550, Enhanced(4, 7, 1))), "5.0.0", "what failed is no transient failure");
        assert_eq!(status_code(&Outcome::Refused(Why::Reply(Reply::plain(550, "no")))), "5.0.0");
        assert_eq!(status_code(&timeout), "4.4.7");
    }

    #[test]
    fn a_strange_header_does_not_break_a_report() {
        let mut endless = b"Subject: ok\r\n".to_vec();
        endless.extend(b"X-Filler: 0123456789\r\n".repeat(5000));
        let report = text(&address("x@example.com").into(), &refused(), &endless);
        assert!(report.len() < HEADER_BYTES_MAX + 4096 && report.ends_with("\r\n--report-000000000002d--\r\n"));
        assert!(report.contains("\r\nSubject: Undelivered mail: ok\r\n"));
        for header in [&b"\xff\xfe"[..], b"", b"\r\n", b"subject\r\n", b"Subject: \xc3\xbc\r\n", b"Subject:\r\n"] {
            let account = address("me@gmail.com");
            let policy = policy();
            let reporter = Reporter { policy: &policy, account: &account, at: Timestamp::UNIX_EPOCH };
            let (to, outcome) = (Recipient::from(address("x@example.com")), refused());
            let (_, content) = reporter.report(&message("a@example.org"), &[(&to, &outcome)], header).unwrap();
            let content = String::from_utf8_lossy(&content).into_owned();
            assert!(content.contains("Subject: Undelivered mail: (without a subject)\r\n"), "{content}");
        }
    }

    #[test]
    fn long_replies_are_folded_and_lose_nothing() {
        let words = "word ".repeat(60) + &"x".repeat(200);
        let folded = folded(&words);
        assert!(folded.lines().all(|line| line.len() <= 201));
        assert_eq!(folded.replace("\r\n ", " "), words);
    }
}
