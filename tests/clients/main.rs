//! Real mail programs hand mail in, and what Gmail gets is compared part by part with what they were given.
//!
//! `table` lists them, `scripts` holds one small script each, and `mails` the five things that every one of them is asked to
//! send. `docs/clients.md` shows the table; how to write it again stands at `page`.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod changes;
mod compare;
mod desk;
mod encryption;
mod mails;
mod others;
mod page;
mod table;

use mails::{Kind, Mail};
use program::{Gmail, Relay, Said};
use table::{Client, Connections};

use desk::Desk;

/// The status of `private-root.sh` where it cannot do its work.
const MAY_NOT_MOUNT: i32 = 99;

/// Lets a client send all that it can, and sees that Gmail gets the same.
fn prove(client: &Client) {
    if table::is_left_out(client.name, client.package) {
        return;
    }
    let gmail = Gmail::start();
    let mut relay = Relay::new(&gmail);
    relay.set("SMARTHOST_DEFAULT_DOMAIN", "example.com");
    relay.set("SMARTHOST_LOG_LEVEL", "debug");
    relay.start();
    let desk = Desk::new(&relay);
    for kind in Kind::ALL.into_iter().filter(|kind| !client.lacks.contains(kind)) {
        let (mail, before) = (Mail::of(kind), gmail.received().len());
        let said = desk.run(client.script, &mail);
        if may_not_mount(client.name, &said) {
            return;
        }
        prove_one(client, &mail, &said, &gmail, before);
        if kind == Kind::Many && client.many == Connections::One {
            let fits = |event: &serde_json::Value| event["messages"] == mails::MANY;
            relay.log().wait_for_one("disconnected", fits);
        }
    }
    let log = relay.stop();
    let text = log.text();
    let is_complaint = |line: &&str| ["\"error\"", "\"warn\"", "\"rejected\""].iter().any(|word| line.contains(word));
    let complaints: Vec<&str> = text.lines().filter(is_complaint).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    if !client.encryption.is_empty() {
        encryption::prove(client);
    }
}

fn may_not_mount(client: &str, said: &Said) -> bool {
    let is_so = said.status == MAY_NOT_MOUNT;
    if is_so {
        eprintln!("skipped: {client} is not tested, for this process may not mount anything");
    }
    is_so
}

fn prove_one(client: &Client, mail: &Mail, said: &Said, gmail: &Gmail, before: usize) {
    assert_eq!(said.status, 0, "{} cannot send {:?}: {}{}", client.name, mail.kind, said.stdout, said.stderr);
    let copies = if client.parts_recipients { mail.recipients().len() } else { 1 };
    let received = gmail.wait_for((before + mail.times * copies) as u64).split_off(before);
    assert_eq!(received.len(), mail.times * copies, "{} sent {:?}", client.name, mail.kind);
    compare::all(client, mail, &received);
}
