//! What was given to the client, beside what came of it.

use std::collections::BTreeSet;

use mailparse::{MailAddr, MailHeaderMap, ParsedMail, addrparse_header};
use smarthost::standin::Received;

use super::mails::Mail;
use super::table::Client;

pub fn all(client: &Client, mail: &Mail, received: &[Received]) {
    let mut owed: BTreeSet<(String, &str)> = BTreeSet::new();
    for number in 1..=mail.times {
        owed.extend(mail.recipients().into_iter().map(|recipient| (mail.subject(number), recipient)));
    }
    for message in received {
        assert_eq!(message.mail_from, "me@gmail.com");
        let parsed = mailparse::parse_mail(&message.content).expect("it can be parsed");
        let subject = parsed.headers.get_first_value("Subject").unwrap_or_default();
        for recipient in &message.recipients {
            let is_owed = owed.remove(&(subject.clone(), recipient.as_str()));
            assert!(is_owed, "{subject:?} came to {recipient}, who was not meant or has it already");
        }
        header(mail, &parsed);
        body(client, mail, &parsed);
    }
    assert!(owed.is_empty(), "this did not come: {owed:?}");
}

fn addresses(parsed: &ParsedMail<'_>, field: &str) -> Vec<(Option<String>, String)> {
    let Some(header) = parsed.headers.get_first_header(field) else { return Vec::new() };
    let list = addrparse_header(header).expect("these are addresses");
    let single = list.iter().map(|address| match address {
        MailAddr::Single(one) => (one.display_name.clone(), one.addr.clone()),
        MailAddr::Group(group) => panic!("{group:?}"),
    });
    single.collect()
}

/// A field of a message, or nothing.
pub fn field(message: &Received, name: &str) -> String {
    let parsed = mailparse::parse_mail(&message.content).expect("it can be parsed");
    parsed.headers.get_first_value(name).unwrap_or_default()
}

/// Who wrote it, to whom; and that nobody sees who else got it.
fn header(mail: &Mail, parsed: &ParsedMail<'_>) {
    assert_eq!(addresses(parsed, "From"), [(Some(mail.name.to_owned()), "me@gmail.com".to_owned())]);
    let shown = |field| addresses(parsed, field).into_iter().map(|(_, address)| address).collect::<Vec<_>>();
    assert_eq!((shown("To"), shown("Cc")), (owned(mail.to), owned(mail.cc)), "{:?}", parsed.headers);
    let header = String::from_utf8_lossy(parsed.get_headers().get_raw_bytes()).into_owned();
    for hidden in mail.bcc {
        assert!(!header.contains(hidden), "{hidden} can be seen:\n{header}");
    }
}

fn owned(addresses: &[&str]) -> Vec<String> {
    addresses.iter().map(|&address| address.to_owned()).collect()
}

fn body(client: &Client, mail: &Mail, parsed: &ParsedMail<'_>) {
    let leaves: Vec<&ParsedMail<'_>> = parsed.parts().filter(|part| part.subparts.is_empty()).collect();
    let text = leaves[0].get_body().expect("the text can be decoded").replace("\r\n", "\n");
    let expected = (client.text)(&mail.text);
    let lines = text.trim_end().lines().zip(expected.trim_end().lines());
    for (got, given) in lines {
        assert_eq!(got, given, "a line of the text");
    }
    assert_eq!(text.trim_end().lines().count(), expected.trim_end().lines().count(), "the lines of {text}");
    match &mail.attachment {
        None => assert_eq!(leaves.len(), 1, "there are other parts"),
        Some(sent) => {
            assert_eq!(leaves.len(), 2, "a text and an attachment");
            let got = leaves[1].get_body_raw().expect("the attachment can be decoded");
            assert!(got == *sent, "the attachment changed: {} bytes came of {}", got.len(), sent.len());
            let disposed = leaves[1].get_content_disposition().params.remove("filename");
            let name = disposed.or_else(|| leaves[1].ctype.params.get("name").cloned());
            assert_eq!(name.as_deref(), Some("scan.bin"));
        }
    }
}
