//! Who the message is from: exactly one address, and one that Gmail will not replace.
//!
//! Gmail puts the account's own address in the place of any other that it does not know (gmail.md, section 6).
//! Doing it here keeps the display name, and the old address where an answer can still find it.

use super::head::Head;
use super::mailboxes::{self, Mailbox, mailboxes};
use super::{FromRule, Settings};
use crate::mail::header::FieldWriter;
use crate::mail::{Address, Envelope};
use crate::policy::Pattern;

/// What the header says about the author.
#[derive(Debug, Default)]
struct Author {
    /// Empty where it has no display name.
    name: Vec<String>,
    address: Option<Address>,
    /// The address as written.
    spec: String,
    /// `From` stands once, in good form, with this one address.
    well_formed: bool,
    /// More than one address was named.
    several: bool,
}

/// Leaves one `From` with one address, and a `Sender` and `Reply-To` that go with it.
pub fn settle(head: &mut Head<'_>, settings: &Settings, envelope: &Envelope) {
    let author = author(head);
    let Some(old) = author.address.clone().or_else(|| envelope.reverse_path.address().cloned()) else {
        head.remove("Sender");
        return write_from(head, &author, &settings.account_address, "added the missing From");
    };
    let (new, spelled) = address_for(&old, settings);
    let rewritten = !is_same(&new, &old);
    if author.well_formed && !rewritten && (!spelled || author.spec == new.to_string()) {
        return check_sender(head);
    }
    let author = Author { name: display_name(author.name, &old, rewritten), ..author };
    if rewritten {
        write_from(head, &author, &new, "put the account's address into From");
        head.remove("Sender");
        reply_to(head, &old);
    } else {
        write_from(head, &author, &new, "made From one valid address");
        check_sender(head);
    }
}

fn author(head: &Head<'_>) -> Author {
    let mut author = Author::default();
    let mut fields = 0;
    let mut entries = 0;
    let mut addresses = 0;
    for text in head.texts("From") {
        fields += 1;
        for mailbox in mailboxes(&text) {
            entries += 1;
            addresses += usize::from(!mailbox.is_empty());
            take(&mut author, &mailbox);
        }
    }
    author.several = fields > 1 || addresses > 1;
    author.well_formed &= entries == 1;
    author
}

/// The first usable address counts, with its name; before there is one, the first name does.
fn take(author: &mut Author, mailbox: &Mailbox<'_>) {
    if author.address.is_some() || mailbox.is_empty() {
        return;
    }
    author.address = mailbox.address();
    if author.address.is_some() || author.name.is_empty() {
        author.name = mailbox.name();
    }
    author.spec = mailbox.spec().unwrap_or_default().into();
    author.well_formed = mailbox.is_well_formed();
}

/// The address that `From` is to have, and whether its spelling matters: Gmail replaces an address that differs
/// only in the case of a letter from the one it knows.
fn address_for(old: &Address, settings: &Settings) -> (Address, bool) {
    let account = &settings.account_address;
    let known = settings.send_as.iter().find(|pattern| pattern.matches(old));
    match (settings.from, known) {
        _ if is_same(account, old) => (account.clone(), true),
        (_, Some(Pattern::Address(spelled))) => (spelled.clone(), true),
        (FromRule::Keep, _) | (_, Some(_)) => (old.clone(), false),
        (FromRule::Rewrite, None) => (account.clone(), true),
    }
}

fn is_same(one: &Address, other: &Address) -> bool {
    Pattern::Address(one.clone()).matches(other)
}

/// Where there is no name, the old address says who it was.
fn display_name(name: Vec<String>, old: &Address, rewritten: bool) -> Vec<String> {
    match (name.is_empty(), rewritten) {
        (true, true) => mailboxes::name(&old.to_string()),
        _ => name,
    }
}

fn write_from(head: &mut Head<'_>, author: &Author, address: &Address, change: &'static str) {
    let mut field = FieldWriter::new("From");
    author.name.iter().for_each(|word| field.word(" ", word));
    let bare = author.name.is_empty() && !address.to_string().starts_with('"');
    let spec = if bare { address.to_string() } else { format!("<{address}>") };
    field.words(&spec);
    let same = author.address.as_ref().is_some_and(|old| is_same(old, address));
    if same && !author.several {
        head.note(change);
        head.replace("From", field.finish());
    } else {
        head.keep_as("X-Original-From", "From");
        head.add(field.finish(), change);
    }
}

fn reply_to(head: &mut Head<'_>, old: &Address) {
    // An address that needs SMTPUTF8 would keep the message from servers that do not offer it.
    if !head.has("Reply-To") && old.can_receive() && !old.needs_smtputf8() {
        let mut field = FieldWriter::new("Reply-To");
        field.words(&old.to_string());
        head.add(field.finish(), "put the sender's address into Reply-To");
    }
}

/// `Sender` is one mailbox or nothing (RFC 5322 §3.6.2).
fn check_sender(head: &mut Head<'_>) {
    let usable = head.texts("Sender").all(|text| {
        let mut named = mailboxes(&text);
        named.next().is_some_and(|mailbox| mailbox.is_well_formed()) && named.next().is_none()
    });
    if !usable {
        head.remove("Sender");
        head.note("left out a Sender that is no address");
    }
}
