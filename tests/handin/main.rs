//! Programs of this machine hand mail in, by `smarthost sendmail` and by the names that packages link to it: with the real
//! program, while the relay runs, while it is stopped, and from users who may not touch its spool.

#![allow(clippy::panic, reason = "this is how a test ends that found something wrong")]

#[path = "../program/mod.rs"]
mod program;

mod callers;
mod refused;
mod strangers;
mod survival;
mod traced;
#[path = "../transcripts.rs"]
mod transcripts;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use program::{Gmail, PROGRAM, Relay, Said, outcome_of};

/// What every message of these tests may look like.
const TEXT: &str = "Subject: Hello\n\nA line.\n";

/// A relay that qualifies names, not started yet.
fn relay(gmail: &Gmail) -> Relay {
    let mut relay = Relay::new(gmail);
    relay.set("SMARTHOST_DEFAULT_DOMAIN", "example.com");
    relay
}

/// The program under another name, as packages link it.
fn link(relay: &Relay, name: &str) -> PathBuf {
    let path = relay.folder().join(name);
    if !path.exists() {
        symlink(PROGRAM, &path).expect("the folder is ours");
    }
    path
}

/// The mailer, called with these arguments and this text on standard input.
fn mailer(relay: &Relay, arguments: &[&str], text: &[u8]) -> Command {
    let mut program = relay.program_at(&link(relay, "sendmail"), arguments);
    program.stdin(text_file(text));
    program
}

fn text_file(text: &[u8]) -> File {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let path = folder.path().join("text");
    fs::write(&path, text).expect("the folder is ours");
    File::open(path).expect("it was just written")
}

/// Calls the mailer, to its end.
fn sendmail(relay: &Relay, arguments: &[&str], text: &str) -> Said {
    outcome_of(mailer(relay, arguments, text.as_bytes()))
}

/// The same where it has to be well, and so to say nothing: cron would mail every word of it.
fn sends(relay: &Relay, arguments: &[&str], text: &str) {
    let said = sendmail(relay, arguments, text);
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""), "{arguments:?}");
}
